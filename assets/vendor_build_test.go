package assets

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
)

// What other people wrote and the pages use is embedded as one file for each
// purpose, made of the packages that sdktest/package.json pins, and committed.
const revendor = "go test ./assets -run TestVendorBuilds -update"

// vendorBuild is one file of web/vendor.
type vendorBuild struct {
	file    string
	entry   string   // the module it is made of
	name    string   // the package, for the banner
	licence string   // the package's own, beside the file
	limit   int      // bytes after gzip -9: what a phone downloads for it
	browser []string // packages in it that do what every browser can: sdktest/browser stands for them
}

var vendorBuilds = []vendorBuild{
	{
		file: "qr-make.js", name: "qr", licence: "LICENSE-qr", limit: 6_500,
		entry: "export {encodeQR} from 'qr'",
	},
	{
		file: "qr-read.js", name: "qr", licence: "LICENSE-qr", limit: 16_000,
		entry: "export {decodeQR} from 'qr/decode.js'",
	},
	{
		file: "hmac-sha1.js", name: "@noble/hashes", licence: "LICENSE-noble-hashes", limit: 3_000,
		entry: "import {hmac} from '@noble/hashes/hmac.js'\nimport {sha1} from '@noble/hashes/legacy.js'\n" +
			"export const hmacSHA1 = (key, message) => hmac(sha1, key, message)",
	},
	{
		// Without what it has for Node, React Native, streams and for uploads in parallel places.
		file: "tus.js", name: "tus-js-client", licence: "LICENSE-tus-js-client", limit: 6_000, browser: []string{"url-parse", "js-base64"},
		entry: `import Base from 'tus-js-client/lib/upload.js'
import Stack from 'tus-js-client/lib/browser/httpStack.js'
import Source from 'tus-js-client/lib/browser/sources/FileSource.js'
const ours = {...Base.defaultOptions, httpStack: new Stack(), fileReader: {openFile: async (file) => new Source(file)}}
export class Upload extends Base {
  constructor(file, options) {
    super(file, {...ours, ...options})
  }
  static terminate(url, options) {
    return Base.terminate(url, {...ours, ...options})
  }
}`,
	},
}

// TestVendorBuilds makes them and compares them with what is committed.
func TestVendorBuilds(t *testing.T) {
	t.Parallel()
	tool(t, "qr/index.js") // skips where the packages are not installed
	for _, b := range vendorBuilds {
		root := filepath.Join("sdktest", "node_modules", filepath.FromSlash(b.name))
		var about struct{ Version, License string }
		raw, err := os.ReadFile(filepath.Join(root, "package.json"))
		if err == nil {
			err = json.Unmarshal(raw, &about)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join("web", "vendor", b.licence)); err != nil {
			t.Error(err)
		}
		alias := map[string]string{}
		for _, name := range b.browser {
			alias[name] = "./sdktest/browser/" + name + ".js"
		}
		result := api.Build(api.BuildOptions{
			Alias:  alias,
			Stdin:  &api.StdinOptions{Contents: b.entry, ResolveDir: "sdktest"},
			Bundle: true, Format: api.FormatESModule, Target: api.ES2020, Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsNone,
			MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true,
			Banner: map[string]string{"js": "/*! " + b.name + " " + about.Version + ", MIT license: see " + b.licence + ". Made by " + revendor + " */"},
		})
		for _, m := range append(result.Errors, result.Warnings...) {
			t.Errorf("%s: %s %+v", b.file, m.Text, m.Location)
		}
		if len(result.OutputFiles) != 1 {
			t.Fatalf("%s: %d files came of it", b.file, len(result.OutputFiles))
		}
		made, file := result.OutputFiles[0].Contents, filepath.Join("web", "vendor", b.file)
		have, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(have, made) {
			if !*update {
				t.Errorf("assets/%s is not made of %s %s; run %q and commit what it writes (%v)", filepath.ToSlash(file), b.name, about.Version, revendor, err)
			} else if err := os.WriteFile(file, made, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		size := gzipped(t, made)
		t.Logf("%s: %s %s, %d bytes, %d compressed, of %d allowed", b.file, b.name, about.Version, len(made), size, b.limit)
		if size > b.limit {
			t.Errorf("%s has %d bytes compressed, more than %d", b.file, size, b.limit)
		}
	}
}
