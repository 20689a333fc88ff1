// Package assets holds the web pages and the JavaScript SDK, embedded, and
// serves them. There is no build step: a page's files refer to each other as
// "./chat.js" or "../sdk/teahouse.js", as an editor and Node understand it,
// and Handler rewrites that to names that carry a hash of the content, so that
// a browser may keep each file for ever and still never shows an old one.
package assets

import (
	"compress/gzip"
	"embed"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

//go:embed web sdk
var files embed.FS

// The pages, by their path. Each is one HTML file of web/.
var pages = map[string]string{
	"/":         "index.html",
	"/vouchers": "vouchers.html",
	"/staff":    "staff.html",
}

// contentPolicy allows the page's own files and its own server, nothing
// inline and no other host. ws: and wss: stand beside 'self' because older
// browsers do not count a WebSocket of the same host as 'self'; blob: is what
// the person chose or recorded and has not sent yet.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"media-src 'self' blob:; connect-src 'self' ws: wss:; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

const (
	forever = "public, max-age=31536000, immutable"
	askMe   = "no-cache" // keep it, but ask each time whether it is still the same
)

// packed is the SDK as npm takes it: npm install http://HOST:PORT/sdk/teahouse-sdk.tgz
const packed = "teahouse-sdk.tgz"

// Handler serves the pages, /assets/NAME.HASH.EXT, and the SDK's package at
// /sdk/NAME and as a whole. What the pages use is put together, hashed and
// rewritten here, once; each file is compressed when it is first asked for,
// since most are parts or for developers. It panics if the embedded files refer to one that is
// missing, which a test would have seen.
func Handler() http.Handler {
	b := newBundle(files)
	h := make(handler)
	for path, name := range pages {
		page := b.page(name)
		h[path] = sync.OnceValue(func() *response { return page.served(gzip.NewWriter(nil), askMe) })
	}
	for _, a := range b.assets {
		h["/assets/"+a.hashed] = sync.OnceValue(func() *response { return a.served(gzip.NewWriter(nil), forever) })
	}
	for name := range b.sdk {
		h["/sdk/"+name] = sync.OnceValue(func() *response { return newAsset(name, b.raw[name]).shared() })
	}
	h["/sdk/"+packed] = sync.OnceValue(func() *response { return newAsset(packed, b.pack()).shared() })
	return h
}

// handler has the one response of each path.
type handler map[string]func() *response

// response is one file as it goes out. anyOrigin lets other sites' pages
// import it.
type response struct {
	plain, zipped     []byte
	mime, etag, cache string
	anyOrigin         bool
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "same-origin")
	answer := h[r.URL.Path]
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD work here", http.StatusMethodNotAllowed)
		return
	}
	answer().serve(w, r)
}

func (f *response) serve(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Type", f.mime)
	head.Set("Cache-Control", f.cache)
	head.Set("Content-Security-Policy", contentPolicy)
	head.Set("Vary", "Accept-Encoding")
	if f.anyOrigin {
		head.Set("Access-Control-Allow-Origin", "*")
	}
	body, etag := f.plain, f.etag
	if f.zipped != nil && acceptsGzip(r.Header.Values("Accept-Encoding")) {
		body, etag = f.zipped, f.etag+"-gz"
		head.Set("Content-Encoding", "gzip")
	}
	tag := `"` + etag + `"`
	head.Set("ETag", tag)
	if asked := r.Header.Get("If-None-Match"); asked == "*" || strings.Contains(asked, tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	head.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body) // whoever went away does not want to hear of it
	}
}

// acceptsGzip reports whether a client that says so takes gzip.
func acceptsGzip(values []string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			coding, params, _ := strings.Cut(part, ";")
			if !strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				continue
			}
			q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			return !ok || strings.Trim(q, "0.") != ""
		}
	}
	return false
}
