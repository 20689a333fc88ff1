package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"teahouse/chat"
)

// The documents say what is true: the session in docs/protocol.md is replayed
// against the program, and its tables are held against the code's.

func document(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var (
	sessionBlock = regexp.MustCompile("(?s)\n```session\n(.*?)```\n")
	sessionLine  = regexp.MustCompile(`^([a-z])(> | < |< | connects$| closes$| closed )(.*)$`)
	bareName     = regexp.MustCompile(`:(<[a-z0-9-]+>)`) // in the place of a number
	aName        = regexp.MustCompile(`^<[a-z0-9-]+>$`)
)

// TestProtocolSession plays the session that docs/protocol.md shows, line by
// line: each connection hears exactly what stands there, in that order, and
// nothing else.
func TestProtocolSession(t *testing.T) {
	t.Parallel()
	block := sessionBlock.FindStringSubmatch(document(t, "docs/protocol.md"))
	if block == nil {
		t.Fatal("docs/protocol.md has no session")
	}
	h := open(t, t.TempDir())
	p := player{names: make(map[string]any)}
	guests := make(map[string]*guest)
	next := func(who string) string {
		t.Helper()
		return guests[who].expect("frame", func(frame) bool { return true }).raw
	}
	for line := range strings.Lines(block[1]) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		m := sessionLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("the session has a line of no known form: %s", line)
		}
		who, does, rest := m[1], strings.TrimSpace(m[2]), m[3]
		if (guests[who] == nil) != (does == "connects") {
			t.Fatalf("%s is not connected, or is already: %s", who, line)
		}
		switch does {
		case "connects":
			guests[who] = dial(t, h.ws())
		case ">":
			guests[who].sayRaw(p.said(t, rest))
		case "<":
			got := next(who)
			if !p.matches(p.parse(t, rest), p.parse(t, got)) {
				t.Fatalf("the document says\n%s\nbut %s hears\n%s", line, who, got)
			}
		case "closes":
			guests[who].bye()
			delete(guests, who)
		case "closed":
			code, reason := guests[who].ending()
			if want := p.parse(t, rest); json.Number(strconv.Itoa(code)) != want || reason == "" {
				t.Fatalf("the document says %s, but it was closed with %d %q", line, code, reason)
			}
			delete(guests, who)
		}
	}
	if len(guests) == 0 {
		t.Fatal("nobody was left to ask")
	}
	for who, g := range guests {
		g.sayRaw(`{"op":"ping","id":"the end"}`)
		if got := next(who); got != `{"op":"pong","id":"the end"}` {
			t.Errorf("%s hears what the document does not say: %s", who, got)
		}
	}
}

// player remembers what the names in angle brackets stand for.
type player struct{ names map[string]any }

func (p *player) parse(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(bareName.ReplaceAllString(text, `:"$1"`)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("not JSON: %v: %s", err, text)
	}
	return v
}

// said puts the names' values into what a client says.
func (p *player) said(t *testing.T, text string) string {
	t.Helper()
	for name, v := range p.names {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, `"`+name+`"`, string(b))
	}
	return text
}

// matches compares what the document shows with what was heard.
func (p *player) matches(shown, heard any) bool {
	switch s := shown.(type) {
	case string:
		if s == "…" {
			return true
		}
		if aName.MatchString(s) {
			if v, ok := p.names[s]; ok {
				return v == heard
			}
			switch heard.(type) {
			case string, json.Number:
				p.names[s] = heard
				return true
			}
			return false
		}
		return s == heard
	case map[string]any:
		h, ok := heard.(map[string]any)
		if !ok || len(h) != len(s) {
			return false
		}
		for name, v := range s {
			if got, ok := h[name]; !ok || !p.matches(v, got) {
				return false
			}
		}
		return true
	case []any:
		h, ok := heard.([]any)
		return ok && slices.EqualFunc(s, h, p.matches)
	}
	return shown == heard
}

// TestProtocolCodes holds the tables of codes against the code's own.
func TestProtocolCodes(t *testing.T) {
	t.Parallel()
	doc := document(t, "docs/protocol.md")
	source := document(t, "chat/errors.go")
	codes := regexp.MustCompile(`(?m)^\tCode\w+\s+Code = "(\w+)"`).FindAllStringSubmatch(source, -1)
	if len(codes) < 20 {
		t.Fatalf("found only %d codes in chat/errors.go", len(codes))
	}
	// Those that only HTTP knows; docs/http.md has them.
	http := document(t, "docs/http.md")
	for _, c := range codes {
		if !strings.Contains(doc, "`"+c[1]+"`") && !strings.Contains(http, "`"+c[1]+"`") {
			t.Errorf("the code %s stands in no document", c[1])
		}
	}
	rows := regexp.MustCompile(`(?m)^\| (4\d\d\d) \| ([^|]*) \|`).FindAllStringSubmatch(doc, -1)
	shown := make(map[string]bool)
	for _, row := range rows {
		shown[row[1]] = true
		for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[2], -1) {
			if got := strconv.Itoa(chat.Code(name[1]).Verdict().Close); got != row[1] {
				t.Errorf("docs/protocol.md gives %s the close code %s; it has %s", name[1], row[1], got)
			}
		}
	}
	for _, c := range codes {
		if code := strconv.Itoa(chat.Code(c[1]).Verdict().Close); !shown[code] {
			t.Errorf("docs/protocol.md does not have the close code %s of %s", code, c[1])
		}
	}
}

// TestDocumentedFlags looks for every flag of serve in both READMEs.
func TestDocumentedFlags(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		doc := document(t, name)
		for _, f := range serveCommand(io.Discard, io.Discard).Flags {
			if flag := "`--" + f.Names()[0] + "`"; !strings.Contains(doc, flag) {
				t.Errorf("%s does not have %s", name, flag)
			}
		}
	}
}

// TestDocumentedCommands runs no command; it looks that each is named in both READMEs.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		doc := []byte(document(t, name))
		for _, c := range append(remoteCommands(), versionCommand()) {
			if !bytes.Contains(doc, []byte("teahouse "+c.Name)) && !bytes.Contains(doc, []byte("go run . "+c.Name)) {
				t.Errorf("%s does not name the command %s", name, c.Name)
			}
		}
	}
}
