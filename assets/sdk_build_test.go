package assets

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
)

// The builds of the SDK are made by the test that checks them and committed,
// so that neither the program nor whoever downloads a file needs a toolchain.
var update = flag.Bool("update", false, "make the builds of the SDK anew")

const (
	rebuild = "go test ./assets -run TestSDKBuilds -update"

	// sdkLimit is what one user of the SDK downloads at most: the minified
	// module after gzip -9. What it cannot hold is not in the SDK.
	sdkLimit = 10_000
)

// sdkBuild is one file made from teahouse.js.
type sdkBuild struct {
	file    string
	options api.BuildOptions
	minify  bool
}

// sdkBuilds are what is made from teahouse.js, beside it.
var sdkBuilds = []sdkBuild{
	{file: "teahouse.min.js", minify: true, options: api.BuildOptions{Format: api.FormatESModule, Target: api.ES2020}},
	// For a <script> in whatever browser an old phone or a till has.
	{file: "teahouse.global.js", minify: true, options: api.BuildOptions{Format: api.FormatIIFE, Target: api.ES2015, GlobalName: "Teahouse"}},
	// For require: a mini-program's, with its old JavaScript, and Node's, which
	// finds the names by the annotation that the platform asks for.
	{file: "cjs/teahouse.js", options: api.BuildOptions{Format: api.FormatCommonJS, Target: api.ES2015, Platform: api.PlatformNode}},
}

// sdkCopies are what each format needs besides, by name.
func sdkCopies(types []byte) map[string][]byte {
	return map[string][]byte{
		"cjs/package.json": []byte("{\"type\": \"commonjs\"}\n"),
		// Where a mini-program looks for require('teahouse-sdk').
		"cjs/index.js": []byte("// Made by " + rebuild + "\nmodule.exports = require('./teahouse.js')\n"),
		// To TypeScript the types of a module and of a CommonJS file are two things.
		"cjs/teahouse.d.ts": append([]byte("// Made from ../teahouse.d.ts by "+rebuild+"\n"), types...),
		"cjs/index.d.ts":    []byte("// Made by " + rebuild + "\nexport * from './teahouse.js'\n"),
	}
}

func (b sdkBuild) run(t *testing.T) []byte {
	t.Helper()
	o := b.options
	o.EntryPoints = []string{"sdk/teahouse.js"}
	o.Bundle = true // it has no imports; this is what gives it a format
	o.Charset = api.CharsetUTF8
	o.LegalComments = api.LegalCommentsNone
	o.MinifyWhitespace, o.MinifyIdentifiers, o.MinifySyntax = b.minify, b.minify, b.minify
	made := "/*! teahouse-sdk, MIT license */"
	if !b.minify {
		made = "// teahouse-sdk, MIT license. Made from teahouse.js by " + rebuild
	}
	o.Banner = map[string]string{"js": made}
	result := api.Build(o)
	for _, m := range append(result.Errors, result.Warnings...) {
		t.Errorf("%s: %s %+v", b.file, m.Text, m.Location)
	}
	if len(result.OutputFiles) != 1 {
		t.Fatalf("%s: %d files came of it", b.file, len(result.OutputFiles))
	}
	return result.OutputFiles[0].Contents
}

// TestSDKBuilds makes the builds and compares them with what is committed.
func TestSDKBuilds(t *testing.T) {
	t.Parallel()
	types, err := os.ReadFile("sdk/teahouse.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	want := sdkCopies(types)
	for _, b := range sdkBuilds {
		want[b.file] = b.run(t)
	}
	if t.Failed() {
		return
	}
	for name, content := range want {
		file := filepath.Join("sdk", filepath.FromSlash(name))
		have, err := os.ReadFile(file)
		if err == nil && bytes.Equal(have, content) {
			continue
		}
		if !*update {
			t.Errorf("assets/%s is not made of the teahouse.js or teahouse.d.ts that stands here; run %q and commit what it writes (%v)", filepath.ToSlash(file), rebuild, err)
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range sdkBuilds {
		if !b.minify {
			continue
		}
		size := gzipped(t, want[b.file])
		t.Logf("%s: %d bytes, %d compressed, of %d allowed", b.file, len(want[b.file]), size, sdkLimit)
		if size > sdkLimit {
			t.Errorf("%s has %d bytes compressed, more than %d: what the SDK cannot hold is not in it", b.file, size, sdkLimit)
		}
	}
}

// A mini-program's developer may turn every helper of the tools off: nothing
// in the CommonJS build may be newer than its target, nor load anything.
func TestSDKCommonJSIsPlain(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("sdk/cjs/teahouse.js")
	if err != nil {
		t.Fatal(err)
	}
	result := api.Transform(string(b), api.TransformOptions{Target: api.ES2015, LegalComments: api.LegalCommentsNone, LogLevel: api.LogLevelSilent})
	if len(result.Errors) > 0 {
		t.Fatalf("it is not JavaScript: %v", result.Errors)
	}
	// What is new is rewritten by a transform, so the transform of old code is
	// the same as one that rewrites nothing.
	same := api.Transform(string(b), api.TransformOptions{Target: api.ESNext, LegalComments: api.LegalCommentsNone})
	if !bytes.Equal(result.Code, same.Code) {
		t.Error("the CommonJS build has JavaScript newer than ES2015")
	}
	// It is one file: nothing is required by it.
	loads := api.Build(api.BuildOptions{EntryPoints: []string{"sdk/cjs/teahouse.js"}, Bundle: true, External: []string{"*"}, Metafile: true})
	var meta struct {
		Inputs map[string]struct{ Imports []struct{ Path string } }
	}
	if err := json.Unmarshal([]byte(loads.Metafile), &meta); err != nil || len(meta.Inputs) != 1 {
		t.Fatalf("%v: %s", err, loads.Metafile)
	}
	for _, in := range meta.Inputs {
		for _, i := range in.Imports {
			t.Errorf("the CommonJS build loads %s, which a mini-program does not have", i.Path)
		}
	}
}

// gzipped is the size after gzip -9.
func gzipped(t *testing.T, b []byte) int {
	t.Helper()
	var zipped bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(b)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return zipped.Len()
}
