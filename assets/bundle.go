package assets

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
)

// asset is one file with its references rewritten.
type asset struct {
	name   string // chat.js
	hashed string // chat.0a1b2c3d4e.js
	hash   string
	body   []byte
}

// bundle is all that is embedded. Names are unique over web/ and sdk/, because
// they share /assets/.
type bundle struct {
	raw    map[string][]byte // by the path within web/ or sdk/
	assets map[string]*asset // all of web/, and of sdk/ what these refer to
	sdk    map[string]bool   // the SDK's files: not rewritten, and served under a name that stays too
	open   []string          // the files being rewritten, to notice a circle
}

func newBundle(files fs.FS) *bundle {
	b := &bundle{raw: map[string][]byte{}, assets: map[string]*asset{}, sdk: map[string]bool{}}
	for _, dir := range []string{"web", "sdk"} {
		must(fs.WalkDir(files, dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name := strings.TrimPrefix(file, dir+"/")
			if _, twice := b.raw[name]; twice {
				panic("assets: two files are named " + name)
			}
			if dir == "sdk" {
				b.sdk[name] = true
			}
			b.raw[name], err = fs.ReadFile(files, file)
			return err
		}))
	}
	for name := range b.raw {
		// A licence goes with the program and no page asks for it.
		if ext := path.Ext(name); ext != ".html" && ext != "" && !b.sdk[name] {
			b.asset(name)
		}
	}
	return b
}

func newAsset(name string, body []byte) *asset {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:8])
	ext := path.Ext(name)
	return &asset{name: name, hash: hash, hashed: strings.TrimSuffix(name, ext) + "." + hash + ext, body: body}
}

// page returns an HTML file, rewritten. It has no hashed name of its own.
func (b *bundle) page(name string) *asset {
	return newAsset(name, b.rewritten(b.joined(name)))
}

// asset returns the named file after those it refers to: its own hash covers
// theirs, so that a change deep down changes every name above it.
func (b *bundle) asset(name string) *asset {
	if a := b.assets[name]; a != nil {
		return a
	}
	for _, n := range b.open {
		if n == name {
			panic(fmt.Sprintf("assets: the files %v refer to each other in a circle", append(b.open, name)))
		}
	}
	b.open = append(b.open, name)
	a := newAsset(name, b.rewrite(name))
	b.open = b.open[:len(b.open)-1]
	b.assets[name] = a
	return a
}

// rewrite gives every quoted "./NAME" and "../sdk/NAME" of a text file its
// hashed name. In the SDK's comments they are examples and stay.
func (b *bundle) rewrite(name string) []byte {
	raw := b.text(name)
	if b.sdk[name] || !rewritten[path.Ext(name)] {
		return raw
	}
	return b.rewritten(raw)
}

func (b *bundle) rewritten(raw []byte) []byte {
	var out []byte
	for {
		i := bytes.IndexAny(raw, `"'(`)
		if i < 0 {
			return append(out, raw...)
		}
		out, raw = append(out, raw[:i+1]...), raw[i+1:]
		prefix := 0
		for _, p := range []string{"./", "../sdk/"} {
			if bytes.HasPrefix(raw, []byte(p)) {
				prefix = len(p)
			}
		}
		end := bytes.IndexAny(raw, "\"')\n")
		if prefix == 0 || end < prefix {
			continue
		}
		out = append(out, "/assets/"+b.asset(string(raw[prefix:end])).hashed...)
		raw = raw[end:]
	}
}

var rewritten = map[string]bool{".html": true, ".css": true, ".js": true, ".webmanifest": true}

var mimes = map[string]string{
	".html":        "text/html; charset=utf-8",
	".css":         "text/css; charset=utf-8",
	".js":          "text/javascript; charset=utf-8",
	".svg":         "image/svg+xml",
	".png":         "image/png",
	".webmanifest": "application/manifest+json",
	// The rest of the SDK's package, which people open in a browser as well.
	".ts":   "text/plain; charset=utf-8", // nothing is registered for it
	".md":   "text/markdown; charset=utf-8",
	".json": "application/json",
	".tgz":  "application/gzip",
	"":      "text/plain; charset=utf-8", // LICENSE
}

func (a *asset) served(z *gzip.Writer, cache string) *response {
	mime := mimes[path.Ext(a.name)]
	if mime == "" {
		panic("assets: no content type for " + a.name)
	}
	r := &response{plain: a.body, mime: mime, etag: a.hash, cache: cache}
	var zipped bytes.Buffer
	z.Reset(&zipped)
	_, err := z.Write(a.body)
	must(err)
	must(z.Close())
	if zipped.Len() < len(a.body) {
		r.zipped = zipped.Bytes()
	}
	return r
}

// shared is a file of the SDK as it goes out: other sites' pages may import it,
// and its name is the same in the next version.
func (a *asset) shared() *response {
	r := a.served(gzip.NewWriter(nil), askMe)
	r.anyOrigin = true
	return r
}

// pack returns the SDK as npm's own command would pack it. The bytes depend on
// the files alone, since a project that installs it keeps their hash.
func (b *bundle) pack() []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	tape := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(b.sdk)) {
		must(tape.WriteHeader(&tar.Header{
			Name: "package/" + name, Mode: 0o644, Size: int64(len(b.raw[name])),
			ModTime: time.Date(1985, 10, 26, 8, 15, 0, 0, time.UTC), // npm's own
		}))
		_, err := tape.Write(b.raw[name])
		must(err)
	}
	must(tape.Close())
	must(z.Close())
	return out.Bytes()
}

// must is for what can only go wrong if the program was built wrongly.
func must(err error) {
	if err != nil {
		panic("assets: " + err.Error())
	}
}
