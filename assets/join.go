package assets

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// A page's modules go out as one file, and so do its style sheets: on a phone
// each file costs a round trip of the radio, and a browser asks for six at a
// time. The files themselves stay as they are edited; they are put together
// here, when the program starts.

var (
	pageModule = regexp.MustCompile(`<script type="module" src="\./([^"]+)"></script>`)
	pageStyle  = regexp.MustCompile(`<link rel="stylesheet" href="\./([^"]+)">\n?`)

	// The forms of import and export that our modules use; any other is refused.
	importing  = regexp.MustCompile(`^import\s+(?:(\{[^}]*\}|\*\s+as\s+\w+)\s+from\s+)?'([^']+)';?[ \t]*$`)
	exporting  = regexp.MustCompile(`^export ((?:async )?(?:function\*?|class|const) ([\w$]+))`)
	exportList = regexp.MustCompile(`export\s*\{([^}]*)\};?\s*$`)
	leftOver   = regexp.MustCompile(`^(?:import\b[^(]|export\b)`)
)

// joined returns an HTML file with one script and one style sheet in the place
// of all.
func (b *bundle) joined(name string) []byte {
	html := b.text(name)
	base := strings.TrimSuffix(name, ".html")
	if m := pageModule.FindSubmatch(html); m != nil {
		js := b.put(base+".js", b.script(string(m[1])))
		html = pageModule.ReplaceAll(html, []byte(`<script type="module" src="/assets/`+js.hashed+`"></script>`))
	}
	if sheets := pageStyle.FindAllSubmatch(html, -1); len(sheets) > 0 {
		var all []byte
		for _, m := range sheets {
			all = append(all, b.rewrite(string(m[1]))...)
		}
		css := b.put(base+".css", all)
		first := true
		html = pageStyle.ReplaceAllFunc(html, func([]byte) []byte {
			if !first {
				return nil
			}
			first = false
			return []byte(`<link rel="stylesheet" href="/assets/` + css.hashed + `">` + "\n")
		})
	}
	return html
}

// put keeps a file that was made. Its key cannot be the name of a file.
func (b *bundle) put(name string, body []byte) *asset {
	a := newAsset(name, body)
	a.name = "joined:" + name
	b.assets[a.name] = a
	return a
}

// script puts a module and all that it imports into one. Each becomes a
// function that is called once and returns what the module exports; those that
// others import come first, as in the browser's own order.
func (b *bundle) script(entry string) []byte {
	var out bytes.Buffer
	places := map[string]string{} // module -> the name of its exports
	var add func(name string, open []string) string
	add = func(name string, open []string) string {
		if at := places[name]; at != "" {
			return at
		}
		for _, n := range open {
			if n == name {
				panic(fmt.Sprintf("assets: the modules %v import each other in a circle", append(open, name)))
			}
		}
		var code, exports []string
		for _, line := range statements(b.source(name)) {
			if m := importing.FindStringSubmatch(line); m != nil {
				from := add(resolve(name, m[2]), append(open, name))
				switch what := m[1]; {
				case what == "":
				case what[0] == '*':
					code = append(code, "const "+strings.TrimSpace(what[strings.Index(what, "as")+2:])+" = "+from)
				default:
					code = append(code, "const "+strings.ReplaceAll(what, " as ", ": ")+" = "+from)
				}
			} else if m := exporting.FindStringSubmatch(line); m != nil {
				exports = append(exports, m[2])
				code = append(code, strings.TrimPrefix(line, "export "))
			} else if m := exportList.FindStringSubmatchIndex(line); m != nil {
				code = append(code, line[:m[0]])
				for part := range strings.SplitSeq(line[m[2]:m[3]], ",") {
					inside, outside, renamed := strings.Cut(strings.TrimSpace(part), " as ")
					if renamed {
						inside = outside + ": " + inside
					}
					exports = append(exports, inside)
				}
			} else if leftOver.MatchString(line) {
				panic(fmt.Sprintf("assets: %s has an import or export of a form that join.go does not know: %s", name, line))
			} else {
				code = append(code, line)
			}
		}
		at := fmt.Sprintf("$%d", len(places))
		places[name] = at
		fmt.Fprintf(&out, "// %s\nconst %s = (() => {\n%s\nreturn {%s}\n})()\n", name, at, strings.TrimSpace(strings.Join(code, "\n")), strings.Join(exports, ", "))
		return at
	}
	add(entry, nil)
	return b.rewritten(out.Bytes())
}

// statements cuts a module where an import or export begins or ends a line, so
// that the slow look is taken at these lines only.
func statements(source []byte) []string {
	var out []string
	rest := string(source)
	plain := 0 // the beginning of what is neither, in rest
	for at := 0; at < len(rest); {
		end := strings.IndexByte(rest[at:], '\n')
		if end < 0 {
			end = len(rest) - at
		}
		line := rest[at : at+end]
		special := strings.HasPrefix(line, "import") || strings.HasPrefix(line, "export") || len(line) > 200 && strings.Contains(line, "export{")
		if !special {
			at += end + 1
			continue
		}
		if at > plain {
			out = append(out, rest[plain:at-1])
		}
		if strings.HasPrefix(line, "import") && strings.Contains(line, "{") && !strings.Contains(line, "}") { // over several lines
			close := strings.IndexByte(rest[at:], '}')
			if close < 0 {
				panic("assets: an import that does not end: " + line)
			}
			more := strings.IndexByte(rest[at+close:], '\n')
			if more < 0 {
				more = len(rest) - at - close
			}
			end = close + more
		}
		out = append(out, rest[at:at+end])
		at += end + 1
		plain = at
	}
	if plain < len(rest) {
		out = append(out, rest[plain:])
	}
	return out
}

// comments are those that have lines of their own; a licence begins otherwise.
var comments = regexp.MustCompile(`(?m)^[ \t]*(?://.*|/\*\*(?s:.*?)\*/[ \t]*)\n`)

// source is a module as it goes into a joined script: of the SDK the small
// form, of ours without the comments. They are a fifth of what a phone would
// fetch.
func (b *bundle) source(name string) []byte {
	if small := strings.TrimSuffix(name, ".js") + ".min.js"; b.sdk[name] && b.sdk[small] {
		name = small
	}
	if b.sdk[name] || strings.HasPrefix(name, "vendor/") {
		return b.text(name)
	}
	return comments.ReplaceAll(b.text(name), nil)
}

func (b *bundle) text(name string) []byte {
	raw, ok := b.raw[name]
	if !ok {
		panic("assets: there is no file " + name)
	}
	return raw
}

// resolve finds what a module means by "./NAME" or "../sdk/NAME".
func resolve(from, target string) string {
	if sdk, ok := strings.CutPrefix(target, "../sdk/"); ok {
		return sdk
	}
	return path.Join(path.Dir(from), target)
}
