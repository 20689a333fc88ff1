package assets

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func get(t *testing.T, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHandlerAnswers(t *testing.T) {
	t.Parallel()
	h := Handler()
	tests := []struct {
		method, target string
		status         int
		mime, cache    string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", askMe},
		{"HEAD", "/", 200, "text/html; charset=utf-8", askMe},
		{"GET", "/?room=x", 200, "text/html; charset=utf-8", askMe},
		{"GET", "/sdk/teahouse.js", 200, "text/javascript; charset=utf-8", askMe},
		{"GET", "/sdk/teahouse.min.js", 200, "text/javascript; charset=utf-8", askMe},
		{"GET", "/sdk/teahouse.global.js", 200, "text/javascript; charset=utf-8", askMe},
		{"GET", "/sdk/cjs/teahouse.js", 200, "text/javascript; charset=utf-8", askMe},
		{"GET", "/sdk/teahouse.d.ts", 200, "text/plain; charset=utf-8", askMe},
		{"HEAD", "/sdk/README.md", 200, "text/markdown; charset=utf-8", askMe},
		{"GET", "/sdk/README.zh-CN.md", 200, "text/markdown; charset=utf-8", askMe},
		{"GET", "/sdk/LICENSE", 200, "text/plain; charset=utf-8", askMe},
		{"GET", "/sdk/package.json", 200, "application/json", askMe},
		{"GET", "/sdk/teahouse-sdk.tgz", 200, "application/gzip", askMe},
		{"GET", "/index.html", 404, "", ""},
		{"GET", "/assets/", 404, "", ""},
		{"GET", "/assets/chat.js", 404, "", ""},
		{"GET", "/assets/chat.0000000000000000.js", 404, "", ""},
		{"GET", "/sdk/", 404, "", ""},
		{"GET", "/sdk/cjs", 404, "", ""},
		{"GET", "/sdk/cjs/../teahouse.js", 404, "", ""},
		{"GET", "/sdk/../assets.go", 404, "", ""},
		{"GET", "//", 404, "", ""},
		{"POST", "/", 405, "", ""},
		{"DELETE", "/sdk/teahouse.js", 405, "", ""},
	}
	for _, tt := range tests {
		r := get(t, h, tt.method, tt.target)
		body := text(t, r)
		if r.StatusCode != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.target, r.StatusCode, tt.status)
		}
		if got := r.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s %s: X-Content-Type-Options %q", tt.method, tt.target, got)
		}
		if got := r.Header.Get("Referrer-Policy"); got != "same-origin" {
			t.Errorf("%s %s: Referrer-Policy %q", tt.method, tt.target, got)
		}
		if tt.status != 200 {
			continue
		}
		if got := r.Header.Get("Content-Type"); got != tt.mime {
			t.Errorf("%s %s: Content-Type %q, want %q", tt.method, tt.target, got, tt.mime)
		}
		if got := r.Header.Get("Cache-Control"); got != tt.cache {
			t.Errorf("%s %s: Cache-Control %q, want %q", tt.method, tt.target, got, tt.cache)
		}
		if tt.method == "HEAD" && body != "" {
			t.Errorf("HEAD %s has a body", tt.target)
		}
		if r.Header.Get("Content-Length") == "0" || r.Header.Get("Content-Length") == "" {
			t.Errorf("%s %s: Content-Length %q", tt.method, tt.target, r.Header.Get("Content-Length"))
		}
	}
}

// reached returns the assets that a page leads to, by their names with hashes.
func reached(b *bundle, page string) map[string]*asset {
	body := b.page(page).body
	byName := map[string]*asset{}
	for _, a := range b.assets {
		byName["/assets/"+a.hashed] = a
	}
	seen := map[string]*asset{}
	ref := regexp.MustCompile(`/assets/[^"'()\s]+`)
	var visit func(body []byte)
	visit = func(body []byte) {
		for _, target := range ref.FindAllString(string(body), -1) {
			if _, known := seen[target]; !known {
				seen[target] = byName[target]
				visit(byName[target].body)
			}
		}
	}
	visit(body)
	return seen
}

// Everything that the pages lead to is there, under a name of its content.
func TestReferencesResolve(t *testing.T) {
	t.Parallel()
	h := Handler()
	b := newBundle(files)
	for _, name := range pages {
		for target := range reached(b, name) {
			r := get(t, h, "GET", target)
			if r.StatusCode != 200 {
				t.Errorf("%s: %s: status %d", name, target, r.StatusCode)
			}
			if got := r.Header.Get("Cache-Control"); got != forever {
				t.Errorf("%s: %s: Cache-Control %q", name, target, got)
			}
			if !regexp.MustCompile(`\.[0-9a-f]{16}\.\w+$`).MatchString(target) {
				t.Errorf("%s: %s has no hash in its name", name, target)
			}
		}
	}
}

// A page is its HTML, one script and one style sheet: whatever else it needs at
// once would cost another round trip.
func TestPageIsThreeFiles(t *testing.T) {
	t.Parallel()
	b := newBundle(files)
	for _, name := range pages {
		page := string(b.page(name).body)
		scripts := regexp.MustCompile(`<script type="module" src="([^"]+)">`).FindAllStringSubmatch(page, -1)
		if len(scripts) != 1 || strings.Count(page, `rel="stylesheet"`) != 1 || strings.Contains(page, "modulepreload") {
			t.Fatalf("%s: scripts %q, %d style sheets", name, scripts, strings.Count(page, `rel="stylesheet"`))
		}
		script := string(reached(b, name)[scripts[0][1]].body)
		if m := regexp.MustCompile(`(?m)^\s*(import|export)\b[^(].*`).FindString(script); m != "" {
			t.Errorf("%s: the script says %q", name, m)
		}
	}
}

// A module that is fetched later may not be part of the page's script too:
// there would be two of it.
func TestLaterModulesStandAlone(t *testing.T) {
	t.Parallel()
	b := newBundle(files)
	for _, name := range pages {
		for _, a := range reached(b, name) {
			if path.Ext(a.name) != ".js" || a == b.assets["joined:"+strings.TrimSuffix(name, ".html")+".js"] {
				continue
			}
			for _, m := range regexp.MustCompile(`(?m)^import .*/assets/([^"']+)`).FindAllStringSubmatch(string(a.body), -1) {
				for part, own := range b.assets {
					if own.hashed == m[1] && strings.Contains(string(b.assets["joined:"+strings.TrimSuffix(name, ".html")+".js"].body), "// "+part+"\n") {
						t.Errorf("%s: %s is fetched later and imports %s, which is in the page's script", name, a.name, part)
					}
				}
			}
		}
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	tree := func(more map[string]string) fstest.MapFS {
		all := fstest.MapFS{
			"web/index.html": {Data: []byte(`<link rel="stylesheet" href="./a.css">` + "\n" + `<link rel="stylesheet" href="./b.css">` + "\n" + `<script type="module" src="./a.js"></script>`)},
			"web/a.css":      {Data: []byte("a{}")},
			"web/b.css":      {Data: []byte("b{}")},
			"web/a.js":       {Data: []byte("import {one, two as deux} from './b.js'\nimport * as s from '../sdk/s.js'\nimport './c.js'\nconsole.log(one, deux, s.x)")},
			"web/b.js":       {Data: []byte("import {x} from '../sdk/s.js'\nexport const one = x\nexport async function two() { return import('./later.js') }")},
			"web/c.js":       {Data: []byte("// What it is.\n/**\n * For whom.\n */\nexport class C {}")},
			"web/later.js":   {Data: []byte("export const late = 1")},
			"sdk/s.js":       {Data: []byte("const long = 1\nexport {long as x}")},
			"sdk/s.min.js":   {Data: []byte("let y=1;export{y as x};")},
		}
		for name, body := range more {
			all[name] = &fstest.MapFile{Data: []byte(body)}
		}
		return all
	}
	b := newBundle(tree(nil))
	page := string(b.page("index.html").body)
	js, css := b.assets["joined:index.js"], b.assets["joined:index.css"]
	if want := `<link rel="stylesheet" href="/assets/` + css.hashed + `">` + "\n" + `<script type="module" src="/assets/` + js.hashed + `"></script>`; page != want {
		t.Errorf("the page is %s, want %s", page, want)
	}
	if string(css.body) != "a{}b{}" {
		t.Errorf("the style sheet is %s", css.body)
	}
	want := "// s.js\nconst $0 = (() => {\nlet y=1;\nreturn {x: y}\n})()\n" +
		"// b.js\nconst $1 = (() => {\nconst {x} = $0\nconst one = x\nasync function two() { return import('/assets/" + b.assets["later.js"].hashed + "') }\nreturn {one, two}\n})()\n" +
		"// c.js\nconst $2 = (() => {\nclass C {}\nreturn {C}\n})()\n" +
		"// a.js\nconst $3 = (() => {\nconst {one, two: deux} = $1\nconst s = $0\nconsole.log(one, deux, s.x)\nreturn {}\n})()\n"
	if string(js.body) != want {
		t.Errorf("the script is\n%s\nwant\n%s", js.body, want)
	}
	for what, more := range map[string]map[string]string{
		"a default export":          {"web/c.js": "export default 1"},
		"an export that changes":    {"web/c.js": "export let n = 1"},
		"an import of another form": {"web/c.js": "import d from './later.js'"},
		"a missing module":          {"web/c.js": "import './d.js'"},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was accepted", what)
				}
			}()
			newBundle(tree(more)).page("index.html")
		}()
	}
}

func TestHashFollowsContent(t *testing.T) {
	t.Parallel()
	tree := func(deep string) fstest.MapFS {
		return fstest.MapFS{
			"web/index.html": {Data: []byte(`<script src="./a.js">`)},
			"web/a.js":       {Data: []byte(`import './b.js'; import {x} from "../sdk/s.js"`)},
			"web/b.js":       {Data: []byte(deep)},
			"web/other.css":  {Data: []byte(`b { color: red }`)},
			"sdk/s.js":       {Data: []byte(`// import {x} from './s.js'`)},
		}
	}
	one, same, two := newBundle(tree("1")), newBundle(tree("1")), newBundle(tree("2"))
	for name, a := range one.assets {
		if same.assets[name].hashed != a.hashed {
			t.Errorf("%s has another name although nothing changed", name)
		}
		changed := two.assets[name].hashed != a.hashed
		if want := name == "a.js" || name == "b.js"; changed != want {
			t.Errorf("%s: name changed is %v, want %v", name, changed, want)
		}
	}
	if got, want := string(one.assets["a.js"].body), "import '/assets/"+one.assets["b.js"].hashed+`'; import {x} from "/assets/`+one.assets["s.js"].hashed+`"`; got != want {
		t.Errorf("a.js became %s, want %s", got, want)
	}
	if got := string(one.page("index.html").body); got != `<script src="/assets/`+one.assets["a.js"].hashed+`">` {
		t.Errorf("index.html became %s", got)
	}
	if got := string(one.assets["s.js"].body); got != `// import {x} from './s.js'` {
		t.Errorf("the SDK was changed: %s", got)
	}
}

func TestBundleRefuses(t *testing.T) {
	t.Parallel()
	for name, tree := range map[string]fstest.MapFS{
		"a missing file": {"web/a.js": {Data: []byte(`import './b.js'`)}, "sdk/s.js": {}},
		"a circle":       {"web/a.js": {Data: []byte(`import './b.js'`)}, "web/b.js": {Data: []byte(`import './a.js'`)}, "sdk/s.js": {}},
		"one name twice": {"web/a.js": {}, "sdk/a.js": {}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was accepted", name)
				}
			}()
			newBundle(tree)
		}()
	}
}

func TestGzipAndETag(t *testing.T) {
	t.Parallel()
	h := Handler()
	plain := get(t, h, "GET", "/sdk/teahouse.js")
	body := text(t, plain)
	if plain.Header.Get("Content-Encoding") != "" {
		t.Error("compressed without being asked")
	}
	zipped := get(t, h, "GET", "/sdk/teahouse.js", "Accept-Encoding", "br, gzip;q=0.8")
	if got := zipped.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("Content-Encoding %q", got)
	}
	if zipped.Header.Get("Vary") != "Accept-Encoding" || plain.Header.Get("Vary") != "Accept-Encoding" {
		t.Error("no Vary: Accept-Encoding")
	}
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	unzipped, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if string(unzipped) != body {
		t.Error("the compressed body is another one")
	}
	if get(t, h, "GET", "/", "Accept-Encoding", "gzip;q=0").Header.Get("Content-Encoding") != "" {
		t.Error("compressed although refused")
	}
	tags := []string{plain.Header.Get("ETag"), zipped.Header.Get("ETag")}
	if tags[0] == tags[1] || !strings.HasPrefix(tags[0], `"`) {
		t.Errorf("ETags %q", tags)
	}
	for i, enc := range []string{"", "gzip"} {
		again := get(t, h, "GET", "/sdk/teahouse.js", "Accept-Encoding", enc, "If-None-Match", `"x", W/`+tags[i])
		if again.StatusCode != 304 || text(t, again) != "" || again.Header.Get("ETag") != tags[i] {
			t.Errorf("If-None-Match with %q: status %d", enc, again.StatusCode)
		}
	}
	if get(t, h, "GET", "/sdk/teahouse.js", "If-None-Match", `"x"`).StatusCode != 200 {
		t.Error("another ETag was taken for this one")
	}
}

func TestSDKMayBeUsedElsewhere(t *testing.T) {
	t.Parallel()
	h := Handler()
	for name := range newBundle(files).sdk {
		r := get(t, h, "GET", "/sdk/"+name, "Accept-Encoding", "gzip")
		if got := r.Header.Get("Access-Control-Allow-Origin"); r.StatusCode != 200 || got != "*" {
			t.Errorf("%s: status %d, Access-Control-Allow-Origin %q", name, r.StatusCode, got)
		}
		if strings.HasPrefix(name, "teahouse.") && r.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s is not compressed", name)
		}
	}
	// The same files, and the same bytes each time.
	packed := text(t, get(t, h, "GET", "/sdk/"+packed))
	if again := newBundle(files).pack(); string(again) != packed {
		t.Error("the package is another one each time")
	}
	if got := get(t, h, "GET", "/").Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("the page: Access-Control-Allow-Origin %q", got)
	}
}

// The policy allows nothing inline, and the page asks for nothing that it forbids.
func TestNothingInlineAndNoOtherHost(t *testing.T) {
	t.Parallel()
	policy := get(t, Handler(), "GET", "/").Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self' ws: wss:", "media-src 'self' blob:", "frame-ancestors 'self'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s", want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy says unsafe: %s", policy)
	}
	forbidden := map[string]*regexp.Regexp{
		"another host": regexp.MustCompile(`(?i)\b(?:https?:|wss?:)?//[a-z0-9-]+\.[a-z]{2,}`),
		"HTML from text": regexp.MustCompile(
			`\b(innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|srcdoc|DOMParser|eval\(|new Function)\b`),
		"an inline script, style or handler": regexp.MustCompile(`(?i)<script(?:>| [^>]*[^"]>)|<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+="`),
	}
	namespace := regexp.MustCompile(`http://www\.w3\.org/2000/svg`) // a name, never fetched
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(name, "sdk/") && path.Ext(name) != ".js" || path.Ext(name) == "" {
			return err // documents and licences
		}
		if strings.HasPrefix(path.Base(name), "LICENSE") {
			return nil // names its author's site
		}
		body, err := fs.ReadFile(files, name)
		body = namespace.ReplaceAll(body, nil)
		for what, re := range forbidden {
			if what == "an inline script, style or handler" && path.Ext(name) != ".html" {
				continue
			}
			if m := re.Find(body); m != nil {
				t.Errorf("%s has %s: %s", name, what, m)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The colours of the dark look stand twice, for the system's choice and for
// the reader's.
func TestBothDarkLooksAreOne(t *testing.T) {
	t.Parallel()
	css := string(newBundle(files).raw["base.css"])
	colours := func(head string) []string {
		_, rest, ok := strings.Cut(css, head)
		body, _, _ := strings.Cut(rest, "}")
		if !ok {
			t.Fatalf("base.css has no %s", head)
		}
		return regexp.MustCompile(`--[\w-]+: [^;]+`).FindAllString(body, -1)
	}
	system, chosen := colours(":root:not([data-theme=light]) {"), colours(":root[data-theme=dark] {")
	if len(system) < 20 || strings.Join(system, ";") != strings.Join(chosen, ";") {
		t.Errorf("the system's dark:\n%s\nthe chosen one:\n%s", system, chosen)
	}
}

// The manifest's icons are what it says they are.
func TestIcons(t *testing.T) {
	t.Parallel()
	b := newBundle(files)
	var manifest struct {
		Icons []struct{ Src, Sizes, Type, Purpose string }
	}
	if err := json.Unmarshal(b.assets["app.webmanifest"].body, &manifest); err != nil {
		t.Fatal(err)
	}
	h := Handler()
	purposes := map[string]bool{}
	for _, icon := range manifest.Icons {
		r := get(t, h, "GET", icon.Src)
		purposes[icon.Purpose+" "+icon.Sizes] = true
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != icon.Type {
			t.Errorf("%s: %d %s", icon.Src, r.StatusCode, r.Header.Get("Content-Type"))
		}
		if icon.Type != "image/png" {
			continue
		}
		c, err := png.DecodeConfig(r.Body)
		if got := fmt.Sprintf("%dx%d", c.Width, c.Height); err != nil || got != icon.Sizes {
			t.Errorf("%s is %s, not %s: %v", icon.Src, got, icon.Sizes, err)
		}
	}
	if !purposes["any 192x192"] || !purposes["any 512x512"] || !purposes["maskable 512x512"] {
		t.Errorf("the icons are for %v", purposes)
	}
}

// The pages are for phones on bad networks. (The SDK's own limit: TestSDKBuilds.)
func TestSizes(t *testing.T) {
	t.Parallel()
	b := newBundle(files)
	z := gzip.NewWriter(nil)
	size := func(a *asset) int {
		r := a.served(z, forever)
		if r.zipped != nil {
			return len(r.zipped)
		}
		return len(r.plain)
	}
	for url, name := range pages {
		all := size(b.page(name))
		for _, a := range reached(b, name) {
			all += size(a)
		}
		if all > 150_000 {
			t.Errorf("%s and all that it leads to have %d bytes compressed, more than 150 kB", url, all)
		}
		t.Logf("%s: %d bytes compressed", url, all)
	}
}

// What the files add to the start of the program: about 2 ms.
func BenchmarkHandler(b *testing.B) {
	for b.Loop() {
		Handler()
	}
}
