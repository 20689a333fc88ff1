package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// arrows are which of our packages each one may import (docs/design.md). What
// stands here is drawn there; an import that is not here needs a decision.
var arrows = map[string][]string{
	".":              {"chat", "chat/wire", "chat/api", "chat/webhook", "db", "dnssd", "assets", "migrations"},
	"db":             {"chat", "migrations"},
	"chat":           {},
	"chat/wire":      {"chat"},
	"chat/api":       {"chat"},
	"chat/webhook":   {"chat"},
	"chat/storetest": {"chat"},
	"dnssd":          {},
	"assets":         {},
	"migrations":     {},
	"bench":          {"chat", "db"},
}

// rooms are the packages in which each foreign library may be used.
var rooms = map[string][]string{
	"github.com/gorilla/websocket":        {"chat", "bench"},
	"golang.org/x/time":                   {"chat", "chat/api"},
	"golang.org/x/net":                    {"dnssd"},
	"golang.org/x/sys":                    {"bench"},
	"modernc.org/sqlite":                  {"db"},
	"github.com/gofrs/flock":              {"db"},
	"github.com/urfave/cli/v2":            {"."},
	"github.com/mdp/qrterminal/v3":        {"."},
	"golang.org/x/term":                   {"."},
	"github.com/danielgtaylor/huma/v2":    {"chat/api"},
	"github.com/golang-jwt/jwt/v5":        {"chat/api"},
	"github.com/prometheus/client_golang": {"chat/api"},
	"github.com/swaggest/swgui":           {"chat/api"},
	"golang.org/x/crypto":                 {"chat", "chat/api"},
	"golang.org/x/text":                   {"chat", "chat/api"},
	"github.com/tus/tusd/v2":              {"chat/api"},
	"golang.org/x/exp":                    {"chat/api"}, // tusd takes its logger from there
}

// vague are names that say nothing of what a package is for: a helper lives
// beside its user.
var vague = []string{"util", "utils", "common", "types", "models", "helpers", "helper", "misc", "shared", "base", "lib"}

// TestArrows holds the imports of the whole tree against the design. Test
// files may import what they need.
func TestArrows(t *testing.T) {
	t.Parallel()
	found := make(map[string]bool)
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		if name := d.Name(); d.IsDir() {
			if file != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules" ||
				file == "examples") { // apps of other platforms, by their habits
				return fs.SkipDir
			}
			if slices.Contains(vague, name) {
				t.Errorf("the folder %s has a name that says nothing", file)
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		here := path.Dir(file)
		found[here] = true
		allowed, known := arrows[here]
		if !known {
			t.Errorf("%s: the package %s has no place in the design", file, here)
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		if slices.Contains(vague, parsed.Name.Name) {
			t.Errorf("%s: the package's name %s says nothing", file, parsed.Name.Name)
		}
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			first, _, _ := strings.Cut(name, "/")
			switch {
			case first == "teahouse":
				if to := strings.TrimPrefix(name, "teahouse/"); !slices.Contains(allowed, to) {
					t.Errorf("%s imports %s; there is no arrow %s -> %s", file, name, here, to)
				}
			case name == "C":
				t.Errorf("%s uses cgo; the program is built without it", file)
			case strings.Contains(first, "."):
				if lib := libraryOf(name); lib == "" {
					t.Errorf("%s imports %s, which has no room yet", file, name)
				} else if !slices.Contains(rooms[lib], here) {
					t.Errorf("%s imports %s; its room is %v", file, name, rooms[lib])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, here := range slices.Sorted(maps.Keys(arrows)) {
		if !found[here] {
			t.Errorf("the package %s of the design is missing", here)
		}
	}
}

// libraryOf returns the library to which a package belongs, or "".
func libraryOf(name string) string {
	for lib := range rooms {
		if name == lib || strings.HasPrefix(name, lib+"/") {
			return lib
		}
	}
	return ""
}
