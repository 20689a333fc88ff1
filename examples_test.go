package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The examples are run as they lie there: their page scripts and templates
// under shims of wx and uni (assets/sdktest/mini.mjs) that fail, sleep and die
// as the platforms do, against the real program. The scripts are in
// assets/sdktest/examples.

// update is the one command that brings a new build of the SDK into
// the examples: go test -run TestExamplesHoldTheSDK . -update
var update = flag.Bool("update", false, "write anew what is made: the examples' copies of the SDK, the pictures in docs")

// sdkCopies are whole, so that a folder can be opened in the vendor's tools at
// once; this is where each comes from.
var sdkCopies = map[string]string{
	"examples/miniprogram/lib/teahouse.js": "assets/sdk/cjs/teahouse.js", // a mini-program requires CommonJS
	"examples/uniapp/lib/teahouse.js":      "assets/sdk/teahouse.js",
}

func TestExamplesHoldTheSDK(t *testing.T) {
	t.Parallel()
	for to, from := range sdkCopies {
		want, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(to, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(to); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not %s (%v). Bring it over: go test -run TestExamplesHoldTheSDK . -update", to, from, err)
		}
	}
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestExamplesAreWhole reads what the vendors' tools read first: each page
// that is named is there, and nothing is there that is not named.
func TestExamplesAreWhole(t *testing.T) {
	t.Parallel()
	exists := func(name string) {
		t.Helper()
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}

	const mini = "examples/miniprogram/"
	var project struct {
		CompileType, AppID, LibVersion, MiniprogramRoot string
	}
	readJSON(t, mini+"project.config.json", &project)
	if project.CompileType != "miniprogram" || project.AppID == "" || project.LibVersion == "" {
		t.Errorf("project.config.json: %+v", project)
	}
	exists(filepath.Join(mini, project.MiniprogramRoot, "app.js"))
	var app struct {
		Pages  []string
		TabBar struct {
			List []struct{ PagePath, Text string }
		}
	}
	readJSON(t, mini+"app.json", &app)
	for _, page := range app.Pages {
		for _, ext := range []string{".js", ".wxml", ".wxss", ".json"} {
			exists(mini + page + ext)
		}
		var config map[string]any
		readJSON(t, mini+page+".json", &config)
	}
	for _, tab := range app.TabBar.List {
		if !slices.Contains(app.Pages, tab.PagePath) || tab.Text == "" {
			t.Errorf("the tab %+v is no page", tab)
		}
	}
	found, _ := filepath.Glob(mini + "pages/*/*.wxml")
	if len(found) != len(app.Pages) || len(found) == 0 {
		t.Errorf("%d pages are named in app.json, %d are there", len(app.Pages), len(found))
	}

	const uni = "examples/uniapp/"
	var manifest struct{ VueVersion string }
	readJSON(t, uni+"manifest.json", &manifest)
	if manifest.VueVersion != "3" {
		t.Errorf("manifest.json is for Vue %q", manifest.VueVersion)
	}
	var pages struct {
		Pages []struct {
			Path  string
			Style struct{ NavigationBarTitleText string }
		}
		TabBar struct {
			List []struct{ PagePath, Text string }
		}
	}
	readJSON(t, uni+"pages.json", &pages)
	var paths []string
	for _, page := range pages.Pages {
		exists(uni + page.Path + ".vue")
		paths = append(paths, page.Path)
		if page.Style.NavigationBarTitleText == "" {
			t.Errorf("the page %s has no title", page.Path)
		}
	}
	for _, tab := range pages.TabBar.List {
		if !slices.Contains(paths, tab.PagePath) || tab.Text == "" {
			t.Errorf("the tab %+v is no page", tab)
		}
	}
	if found, _ := filepath.Glob(uni + "pages/*.vue"); len(found) != len(paths) || len(found) == 0 {
		t.Errorf("%d pages are named in pages.json, %d are there", len(paths), len(found))
	}
}

// TestExamplesUseTheSDKOnly: nothing is required or imported but the files of
// the folder, and Vue, which is uni-app's own.
func TestExamplesUseTheSDKOnly(t *testing.T) {
	t.Parallel()
	uses := regexp.MustCompile(`(?:\brequire\(|\bfrom |\bimport )\s*['"]([^'"]+)['"]`)
	seen := 0
	err := filepath.WalkDir("examples", func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".js", ".vue"}, filepath.Ext(name)) || sdkCopies[filepath.ToSlash(name)] != "" {
			return err
		}
		b, err := os.ReadFile(name)
		for _, m := range uses.FindAllStringSubmatch(string(b), -1) {
			seen++
			if !strings.HasPrefix(m[1], "./") && !strings.HasPrefix(m[1], "../") && m[1] != "vue" {
				t.Errorf("%s uses %s", name, m[1])
			}
		}
		return err
	})
	if err != nil || seen < 10 {
		t.Errorf("%d uses were found (%v)", seen, err)
	}
}

// nodeTools returns Node, if what the scripts use is installed.
func nodeTools(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		needed(t, "Node.js is not installed")
	}
	for _, name := range []string{"ws", "vue", "@vue/compiler-core", "typescript"} {
		if _, err := os.Stat(filepath.Join("assets/sdktest/node_modules", name)); err != nil {
			needed(t, "%s is not installed: run npm ci in assets/sdktest", name)
		}
	}
	return node
}

// TestExamples plays the examples. Each script has a server of its own, which
// it may kill and start again.
func TestExamples(t *testing.T) {
	t.Parallel()
	node := nodeTools(t)
	scripts, err := filepath.Glob("assets/sdktest/examples/*.test.mjs")
	if err != nil || len(scripts) < 4 {
		t.Fatalf("the scripts are %v (%v)", scripts, err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".test.mjs"), func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			h := spawn(t, filepath.Join(data, "0"), "--send-rate=0")
			addr := "--addr=" + h.host()

			// The script asks by HTTP; what it asks is done here, by the test's
			// own goroutine.
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			type order struct {
				what string
				done chan struct{}
			}
			orders := make(chan order)
			control := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				o := order{r.URL.Path, make(chan struct{})}
				select {
				case orders <- o:
					<-o.done
				case <-ctx.Done():
				}
			}))
			defer control.Close()

			cmd := exec.CommandContext(ctx, node, "--experimental-vm-modules", "--no-warnings", "--test-reporter=tap", script)
			dieWithParent(cmd)
			cmd.Env = append(os.Environ(), "TEAHOUSE_URL="+h.url, "TEAHOUSE_KEY="+testKey, "TEAHOUSE_CONTROL="+control.URL, "TZ=Asia/Shanghai")
			var out output
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			for logs := 1; ; {
				select {
				case o := <-orders:
					switch o.what {
					case "/kill":
						h.kill()
					case "/start":
						h = spawn(t, h.data, "--send-rate=0", addr)
					case "/strict": // refuses what it took before
						h = spawn(t, h.data, "--send-rate=0", "--max-body=100", addr)
					case "/fresh": // another log at the same address
						h = spawn(t, filepath.Join(data, fmt.Sprint(logs)), "--send-rate=0", addr)
						logs++
					default:
						t.Errorf("the script asks for %s", o.what)
					}
					close(o.done)
				case err := <-ended:
					passed := regexp.MustCompile(`(?m)^# pass (\d+)$`).FindStringSubmatch(out.String())
					if err != nil || passed == nil || passed[1] == "0" {
						t.Fatalf("%v\n%s", err, &out)
					}
					t.Logf("%s tests passed", passed[1])
					return
				}
			}
		})
	}
}
