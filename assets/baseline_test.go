package assets

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
)

// What the pages may ask of a browser, and of a person.

// WeChat's own browser is years behind: what it does not know would leave a
// page without its layout. dvh is allowed after the same with vh.
func TestStylesForOldBrowsers(t *testing.T) {
	t.Parallel()
	for name, body := range newBundle(files).raw {
		if path.Ext(name) != ".css" {
			continue
		}
		css := string(body)
		if m := regexp.MustCompile(`[\s;{]inset:|:has\(|:is\(|:where\(|@container|@layer|color-mix\(|(?m)^\s*&`).FindString(css); m != "" {
			t.Errorf("%s: %q", name, m)
		}
		for _, m := range regexp.MustCompile(`([\w-]+): ?[^;{}]*\d(?:dvh|svh|lvh)\b`).FindAllStringSubmatchIndex(css, -1) {
			property := css[m[2]:m[3]]
			rule := css[strings.LastIndexByte(css[:m[0]], '{'):m[0]]
			if !regexp.MustCompile(`(?:^|[{;\s])` + property + `: ?[^;{}]*\dvh`).MatchString(rule) {
				t.Errorf("%s: %s without a fall-back", name, css[m[0]:m[1]])
			}
		}
	}
}

// WeChat's own browser understands ES2020 and what came with it. Code that is
// no newer stays the same when it is made older.
func TestScriptsForOldBrowsers(t *testing.T) {
	t.Parallel()
	// What came later and is not defined here. replaceChildren is: see dom.js.
	newer := regexp.MustCompile(`\.(?:at|replaceAll|findLast|findLastIndex|toSorted|toReversed|toSpliced|groupBy|union|checkVisibility|showModal|showPopover)\(|` +
		`\b(?:Object\.hasOwn|structuredClone|Promise\.(?:any|withResolvers)|WeakRef|randomUUID|requestIdleCallback|OffscreenCanvas|AbortSignal\.(?:any|timeout)|Intl\.Segmenter)\b|` +
		`\(\?<[=!]|/[a-z]*[dv][a-z]*\.(?:test|exec)\(`)
	older := func(name string, body []byte, target api.Target) string {
		out := api.Transform(string(body), api.TransformOptions{Target: target})
		for _, m := range out.Errors {
			t.Errorf("%s: %s", name, m.Text)
		}
		return string(out.Code)
	}
	looked := 0
	for name, body := range newBundle(files).raw {
		if path.Ext(name) != ".js" {
			continue
		}
		looked++
		now, then := strings.Split(older(name, body, api.ESNext), "\n"), strings.Split(older(name, body, api.ES2020), "\n")
		for i := range now {
			if i >= len(then) || now[i] != then[i] {
				t.Errorf("%s has what is newer than ES2020: %s", name, now[i])
				break
			}
		}
		if strings.HasPrefix(name, "vendor/") { // they look before they use
			continue
		}
		if m := newer.FindString(strings.Join(now, "\n")); m != "" { // without its comments
			t.Errorf("%s has what came after ES2020: %s", name, m)
		}
	}
	if looked < 40 {
		t.Errorf("only %d scripts were looked at", looked)
	}
}

// Who wants no motion gets none: whatever moves does so where nothing was said
// against it, and no script moves anything.
func TestStillWhereMotionIsReduced(t *testing.T) {
	t.Parallel()
	moves := regexp.MustCompile(`\b(?:animation|transition)(?:-[a-z]+)?:|scroll-behavior: *smooth`)
	inScript := regexp.MustCompile(`behavior: *'smooth'|\.animate\(|\.style\.(?:transition|animation)`)
	const allowed = "@media (prefers-reduced-motion: no-preference) {"
	seen := 0
	for name, body := range newBundle(files).raw {
		source := string(body)
		switch path.Ext(name) {
		case ".css":
			for {
				before, after, ok := strings.Cut(source, allowed)
				if m := moves.FindString(before); m != "" {
					t.Errorf("%s has %s outside of %s", name, m, allowed)
				}
				if !ok {
					break
				}
				seen++
				_, source, ok = strings.Cut(after, "\n}\n")
				if !ok {
					t.Fatalf("%s: where does %s end?", name, allowed)
				}
			}
		case ".js":
			if m := inScript.FindString(source); m != "" {
				t.Errorf("%s has %s", name, m)
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d blocks of motion were found", seen)
	}
}
