package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The JavaScript SDK as others get it: packed by npm, installed into an empty
// project, and used there as its README says, against the real program.

// tools is where npm ci put what the tests use.
const tools = "assets/sdktest/node_modules"

// packageProject is an empty project in which the SDK's package is installed,
// and beside it what a user would have installed as well.
func packageProject(t *testing.T) (dir, tarball string) {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			needed(t, "%s is not installed", name)
		}
	}
	beside := []string{"ws", "vue", "@vue", "@types", "csstype"}
	for _, name := range append(beside, "typescript") {
		if _, err := os.Stat(filepath.Join(tools, name)); err != nil {
			needed(t, "%s is not installed: run npm ci in assets/sdktest", name)
		}
	}
	top := t.TempDir()
	dir = filepath.Join(top, "project")
	write(t, dir, "package.json", `{"private": true}`)
	npm := func(args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "npm", append(args, "--offline", "--no-audit", "--no-fund", "--no-update-notifier", "--cache="+filepath.Join(top, "cache"))...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm %s: %v\n%s", args, err, out)
		}
	}
	sdk, err := filepath.Abs("assets/sdk")
	if err != nil {
		t.Fatal(err)
	}
	npm("pack", sdk, "--pack-destination="+top)
	packed, _ := filepath.Glob(filepath.Join(top, "teahouse-sdk-*.tgz"))
	if len(packed) != 1 {
		t.Fatalf("npm pack made %q", packed)
	}
	npm("install", packed[0])
	entries, err := os.ReadDir(filepath.Join(dir, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "teahouse-sdk" && !strings.HasPrefix(e.Name(), ".") {
			t.Errorf("installing the SDK installed %s; it depends on nothing", e.Name())
		}
	}
	for _, name := range beside {
		from, err := filepath.Abs(filepath.Join(tools, name))
		if err == nil {
			err = os.Symlink(from, filepath.Join(dir, "node_modules", name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir, packed[0]
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, name)
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err == nil {
		err = os.WriteFile(file, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// script runs a Node script of the project and returns what it prints.
func script(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "node", args...)
	dieWithParent(cmd)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// compile checks a project by the TypeScript compiler.
func compile(t *testing.T, dir, config string) {
	t.Helper()
	tsc, err := filepath.Abs(filepath.Join(tools, "typescript/bin/tsc"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := script(ctx, dir, nil, tsc, "--pretty", "false", "-p", config); err != nil {
		t.Errorf("%s: %v\n%s", config, err, out)
	}
}

func TestSDKPackage(t *testing.T) {
	t.Parallel()
	dir, tarball := packageProject(t)
	t.Run("talk", func(t *testing.T) { t.Parallel(); packageTalks(t, dir) })
	t.Run("types", func(t *testing.T) { t.Parallel(); packageTypes(t, dir) })
	t.Run("served", func(t *testing.T) { t.Parallel(); packageServed(t, tarball) })
	t.Run("mini-program", func(t *testing.T) { t.Parallel(); packageMini(t, dir) })
}

// packageTalks: a CommonJS script and an ES module talk to each other.
func packageTalks(t *testing.T, dir string) {
	const talk = `
const [url, user, other] = process.argv.slice(2)
const tea = connect({url, user, WebSocket})
const room = tea.room('lobby')
room.on('message', async (e) => {
	if (e.from !== other) return
	console.log(e.from + ' says ' + e.body.text)
	await sent
	tea.close()
})
const sent = room.send({text: 'hello from ' + user})
sent.then(({seq}) => console.log('sent as ' + seq))
`
	write(t, dir, "common.cjs", "const {connect} = require('teahouse-sdk')\nconst WebSocket = require('ws')\n"+talk)
	write(t, dir, "module.mjs", "import {connect} from 'teahouse-sdk'\nimport WebSocket from 'ws'\n"+talk)
	h := open(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	type end struct {
		out string
		err error
	}
	common := make(chan end, 1)
	go func() {
		out, err := script(ctx, dir, nil, "common.cjs", h.url, "alice", "bob")
		common <- end{out, err}
	}()
	out, err := script(ctx, dir, nil, "module.mjs", h.url, "bob", "alice")
	for who, e := range map[string]end{"alice": <-common, "bob": {out, err}} {
		other := map[string]string{"alice": "bob", "bob": "alice"}[who]
		// A script that ends by itself left neither a socket nor a timer behind.
		if e.err != nil || !strings.Contains(e.out, other+" says hello from "+other+"\n") || !strings.Contains(e.out, "sent as ") {
			t.Errorf("%s: %v\n%s", who, e.err, e.out)
		}
	}
	if log := h.history(lobby); len(log) != 2 {
		t.Errorf("the log holds %d events", len(log))
	}
}

// packageTypes: TypeScript finds the types of each format, in the ways in
// which projects look for them.
func packageTypes(t *testing.T, dir string) {
	const use = `
const tea: Client = connect({url: '192.168.1.5:8040', user: 'alice'})
tea.room('lobby').on('message', (e) => { const seq: number = e.seq; void seq })
// @ts-expect-error: these are the types, and not any
tea.rooms('lobby')
`
	const named = "import {connect, type Client} from 'teahouse-sdk'\n"
	write(t, dir, "typed/module.mts", named+use)
	write(t, dir, "typed/common.cts", named+use)
	write(t, dir, "typed/required.cts", "import sdk = require('teahouse-sdk')\nconst {connect} = sdk\ntype Client = sdk.Client\n"+use+"export {}\n")
	write(t, dir, "typed/bundled.ts", named+use)
	write(t, dir, "typed/mini.ts", "import {connect, type Client} from 'teahouse-sdk'\n"+use)
	const strict = `"strict": true, "noEmit": true, "skipLibCheck": false, "types": [], "target": "es2020"`
	write(t, dir, "typed/node16.json", `{"compilerOptions": {`+strict+`, "module": "node16", "moduleResolution": "node16"}, "files": ["module.mts", "common.cts", "required.cts"]}`)
	write(t, dir, "typed/bundler.json", `{"compilerOptions": {`+strict+`, "module": "esnext", "moduleResolution": "bundler"}, "files": ["bundled.ts", "mini.ts"]}`)
	compile(t, dir, "typed/node16.json")
	compile(t, dir, "typed/bundler.json")
}

// packageServed: the server hands out the same package that npm packs.
func packageServed(t *testing.T, tarball string) {
	h := open(t, t.TempDir())
	a := h.call("GET", "/sdk/teahouse-sdk.tgz", nil)
	if a.status != http.StatusOK {
		t.Fatalf("status %d", a.status)
	}
	served := untar(t, bytes.NewReader(a.body))
	f, err := os.Open(tarball)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := untar(t, f)
	if got, want := slices.Sorted(maps.Keys(served)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Errorf("served are %q, npm packs %q", got, want)
	}
	for name := range want {
		if served[name] != want[name] {
			t.Errorf("%s is another one", name)
		}
	}
	for _, name := range []string{"LICENSE", "README.md", "README.zh-CN.md", "package.json", "teahouse.js", "teahouse.d.ts", "cjs/teahouse.js"} {
		if want["package/"+name] == "" {
			t.Errorf("the package lacks %s", name)
		}
	}
}

func untar(t *testing.T, r io.Reader) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for tape := tar.NewReader(z); ; {
		head, err := tape.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tape)
		if err != nil {
			t.Fatal(err)
		}
		files[head.Name] = string(b)
	}
}

// packageMini does what WeChat's developer tool does when it builds npm
// packages: it copies the folder that the field names, where index.js is what
// is required by the package's name.
func packageMini(t *testing.T, dir string) {
	from := filepath.Join(dir, "node_modules/teahouse-sdk")
	var manifest struct{ Miniprogram string }
	b, err := os.ReadFile(filepath.Join(from, "package.json"))
	if err == nil {
		err = json.Unmarshal(b, &manifest)
	}
	if err != nil || manifest.Miniprogram == "" {
		t.Fatalf("%v: %s", err, b)
	}
	to := filepath.Join(t.TempDir(), "miniprogram_npm/teahouse-sdk")
	if err := os.CopyFS(to, os.DirFS(filepath.Join(from, manifest.Miniprogram))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := script(ctx, dir, nil, "-e", `
		const sdk = require(process.argv[1])
		const wx = {connectSocket() {}, getStorageSync: () => '', setStorageSync() {}, removeStorageSync() {}, onAppShow() {}, offAppShow() {}}
		const tea = sdk.connect({url: '192.168.1.5:8040', user: 'alice', platform: sdk.mini(wx)})
		tea.close()
		console.log(tea.state.name)`, filepath.Join(to, "index.js"))
	if err != nil || out != "closed\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// example is a block of the README that says how it is run.
type example struct{ lang, name, code string }

var (
	codeBlock = regexp.MustCompile("(?ms)^```(\\S+)(?: run=(\\S+))?\n(.*?)^```$")
	comment   = regexp.MustCompile(`(?m)(^|\s+)//.*$|<!--.*?-->|/\*.*?\*/`)
)

// readme returns the examples of one language's README. Each block of code must
// say how it is run; only a template cannot be.
func readme(t *testing.T, file string) []example {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []example
	seen := make(map[string]bool)
	for _, m := range codeBlock.FindAllStringSubmatch(string(b), -1) {
		e := example{m[1], m[2], m[3]}
		if e.lang != "vue" && (e.name == "" || seen[e.name]) {
			t.Errorf("%s: this block of code has no name of its own (run=NAME), so no test runs it:\n%s", file, e.code)
		}
		seen[e.name] = true
		all = append(all, e)
	}
	if len(all) < 20 {
		t.Errorf("%s has %d examples; were they not found?", file, len(all))
	}
	return all
}

// TestSDKReadmes: both languages have the same code, but for its comments.
func TestSDKReadmes(t *testing.T) {
	t.Parallel()
	english, chinese := readme(t, "assets/sdk/README.md"), readme(t, "assets/sdk/README.zh-CN.md")
	bare := func(e example) example {
		e.code = comment.ReplaceAllString(e.code, "")
		return e
	}
	for i := range max(len(english), len(chinese)) {
		if i >= len(english) || i >= len(chinese) {
			t.Fatalf("the English README has %d blocks of code, the Chinese one %d", len(english), len(chinese))
		}
		if a, b := bare(english[i]), bare(chinese[i]); a != b {
			t.Errorf("the two READMEs have other code in block %d:\n%+v\n%+v", i+1, a, b)
		}
	}
}

// readmeServers are the flags of the servers of examples that need some.
var readmeServers = map[string][]string{
	"token": {"--auth=token"},
	"reset": {"--replay-max=3"},
}

// TestSDKExamples runs each example of the README, in the project that has the
// package, against a server of its own. What each must do stands in
// assets/sdktest/readme.
func TestSDKExamples(t *testing.T) {
	t.Parallel()
	dir, _ := packageProject(t)
	runner, err := filepath.Abs("assets/sdktest/readme/examples.mjs")
	if err != nil {
		t.Fatal(err)
	}
	typed := []string{`"react.tsx"`, `"types.ts"`}
	for _, e := range readme(t, "assets/sdk/README.md") {
		switch {
		case e.name == "":
		case e.lang == "ts" || e.lang == "tsx":
			file := `"` + e.name + "." + e.lang + `"`
			if !slices.Contains(typed, file) {
				t.Errorf("nothing compiles the example %s", file)
			}
			write(t, dir, "compiled/"+strings.Trim(file, `"`), e.code)
		case e.lang == "html":
			t.Run(e.name, func(t *testing.T) { t.Parallel(); exampleInBrowser(t, e) })
		case e.lang == "js":
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				h := open(t, t.TempDir(), append([]string{"--send-rate=0"}, readmeServers[e.name]...)...)
				// What the example needs beside it must not meet another's.
				own := filepath.Join(dir, e.name)
				write(t, own, "example.txt", "")
				if err := os.Symlink(filepath.Join(dir, "node_modules"), filepath.Join(own, "node_modules")); err != nil {
					t.Fatal(err)
				}
				for _, file := range readme(t, "assets/sdk/README.md") {
					code := h.addressed(file.code)
					write(t, own, file.name+".mjs", strings.ReplaceAll(code, "'./teahouse.js'", "'teahouse-sdk'"))
					write(t, own, file.name+".cjs", code)
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				out, err := script(ctx, own, []string{"TEAHOUSE_URL=" + h.url, "TEAHOUSE_KEY=" + testKey}, runner, own, e.name)
				if err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		default:
			t.Errorf("nothing runs the example %s, in %s", e.name, e.lang)
		}
	}
	write(t, dir, "compiled/tsconfig.json", `{"compilerOptions": {"strict": true, "noEmit": true, "target": "es2020",
		"lib": ["es2020", "dom"], "types": [], "module": "esnext", "moduleResolution": "bundler", "jsx": "react-jsx"},
		"files": [`+strings.Join(typed, ", ")+`]}`)
	compile(t, filepath.Join(dir, "compiled"), "tsconfig.json")
}

// addressed puts the server's address where an example has one.
func (h *house) addressed(code string) string {
	return strings.NewReplacer("https://tea.example", h.url, "http://192.168.1.5:8040", h.url, "192.168.1.5:8040", h.host()).Replace(code)
}

// exampleInBrowser opens an example's page, which another web server delivers,
// and talks to it.
func exampleInBrowser(t *testing.T, e example) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	chromium := browser(t)
	h := open(t, t.TempDir(), readmeServers[e.name]...)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, h.addressed(e.code))
	}))
	defer site.Close()
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	defer cancel()
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	page := tab{t, e.name, ctx}
	page.do("open", chromedp.Navigate(site.URL))
	shows := func(selector, want string) {
		t.Helper()
		eventually(t, want+" to be shown", func() bool {
			return strings.Contains(eval[string](page, `document.querySelector('`+selector+`').textContent`), want)
		})
	}
	switch e.name {
	case "module":
		shows("#state", "live")
	case "page":
		bob, _ := enter(t, h.ws(), "bob")
		bob.join(lobby)
		bob.post(lobby, "b-1", "<b>the tea is ready</b>")
		shows("#list", "bob: <b>the tea is ready</b>")
		page.do("answer", chromedp.SendKeys(chromedp.CSS("#text"), "coming"), chromedp.Click(chromedp.CSS("button")))
		shows("#list", ": coming")
		if body := bob.expect("the answer", func(f frame) bool { return f.Op == "event" && strings.HasPrefix(f.From, "guest-") }).raw; !strings.Contains(body, "coming") {
			t.Errorf("bob got %s", body)
		}
	default:
		t.Errorf("nothing looks at the page %s", e.name)
	}
}
