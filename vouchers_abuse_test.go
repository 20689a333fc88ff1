package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hostile are texts that somebody may give a voucher as its name or note. What
// is refused is refused by all ways in, with a reason; what is taken is the
// same text by all ways out.
var hostile = []struct {
	text          string
	name, note    string // what the refusal says; "" is taken
	shownByTables string // "" is the text itself
}{
	{text: `<script>alert(1)</script>`},
	{text: `"><img src=x onerror=alert(1)>`},
	{text: `</title><svg/onload=alert(1)>`},
	{text: `&lt;b&gt; {{7*7}} ${7*7} %s %n %00`},
	{text: `'; DROP TABLE vouchers; --`},
	{text: "奶茶　两杯（少糖）"}, // with an ideographic space
	{text: "👨‍👩‍👧‍👦 🏳️‍🌈 🍵"},
	{text: "שובר לתה"}, {text: "قسيمة شاي"},
	{text: "e\u0301" + strings.Repeat("\u0336", 60)},
	{text: `=HYPERLINK("http://example.org","x")`, shownByTables: `'=HYPERLINK("http://example.org","x")`},
	{text: "@SUM(A1:A9)", shownByTables: "'@SUM(A1:A9)"},
	{text: "+86 10", shownByTables: "'+86 10"},
	{text: "tea\u202eeert", name: "U+202E", note: "U+202E"},
	{text: "tea\u200f", name: "U+200F", note: "U+200F"},
	{text: "\u2066tea\u2069", name: "U+2066", note: "U+2066"},
	{text: "te\u200ba", name: "U+200B", note: "U+200B"},
	{text: "tea\x1b[31m", name: "U+001B", note: "U+001B"},
	{text: "tea\x07", name: "U+0007", note: "U+0007"},
	{text: "two\nlines", name: "U+000A"},
	{text: strings.Repeat("茶", 101), name: "101 characters"},
	{text: strings.Repeat("茶", 1000), name: "1000 characters"},
	{text: strings.Repeat("🍵", 10_000), name: "10000 characters", note: "10000 characters"},
	{text: strings.Repeat("a", 10_000), name: "10000 characters", note: "10000 characters"},
	{text: " \t ", name: "missing"},
}

func TestVoucherTexts(t *testing.T) {
	t.Parallel()
	data, dir := t.TempDir(), t.TempDir()
	h := open(t, data)
	alice, _ := enter(t, h.ws(), "alice")
	given := map[string]string{} // by what a table shows -> what was given
	taken := 0
	try := func(what, text, want string, give func(name, note string) (ok bool, reason string)) {
		t.Helper()
		name, note := text, "n"
		if what == "note" {
			name, note = "v", text
		}
		ok, reason := give(name, note)
		switch {
		case ok != (want == ""):
			t.Errorf("%s %.60q: taken is %t: %s; want %q", what, text, ok, reason, want)
		case !ok && (!strings.Contains(reason, want) || len(reason) > 1000):
			t.Errorf("%s %.60q is refused with %.300q; want %q", what, text, reason, want)
		}
		if ok {
			taken++
		}
	}
	for _, c := range hostile {
		shown := c.text
		if c.shownByTables != "" {
			shown = c.shownByTables
		}
		given[strings.TrimSpace(shown)] = strings.TrimSpace(c.text)
		for what, want := range map[string]string{"name": c.name, "note": c.note} {
			try(what, c.text, want, func(name, note string) (bool, string) {
				a := h.call("POST", "/api/v1/vouchers", map[string]any{"name": name, "note": note, "owner": "alice", "ref": "api"})
				return a.status == http.StatusOK, string(a.body)
			})
			try(what, c.text, want, func(name, note string) (bool, string) {
				code, _, errs := command(t, "voucher", "issue", "--data="+data, "--owner=alice", "--ref=cli", "--note="+note, "--", name)
				return code == exitOK, errs
			})
			try(what, c.text, want, func(name, note string) (bool, string) {
				var b bytes.Buffer
				w := csv.NewWriter(&b)
				if err := w.WriteAll([][]string{{"name", "owner", "ref", "note"}, {name, "alice", "csv", note}}); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(dir, "t.csv")
				if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
				code, _, errs := command(t, "voucher", "import", "--data="+data, path)
				return code == exitOK, errs
			})
		}
	}
	// The same text by all ways out: the list, the event, the table.
	var page struct{ Vouchers []voucher }
	h.get("/api/v1/vouchers?limit=500", &page)
	alice.wait("the vouchers", func() bool {
		n := 0
		for _, f := range alice.heard {
			if f.Kind == "voucher.issued" {
				n++
			}
		}
		return n == taken
	})
	texts := map[string]int{}
	for _, v := range page.Vouchers {
		texts["name "+v.Name]++
		texts["note "+v.Note]++
	}
	for _, f := range alice.all("event", "user:alice") {
		var v voucher
		if err := json.Unmarshal(f.Body, &v); err != nil {
			t.Fatal(err)
		}
		texts["name "+v.Name]--
		texts["note "+v.Note]--
		if strings.ContainsAny(f.raw, "<>&") {
			t.Errorf("a frame holds markup: %s", f.raw)
		}
	}
	for text, n := range texts {
		if n != 0 {
			t.Errorf("%q: %d more in the list than were told", text, n)
		}
	}
	for _, c := range hostile {
		text := strings.TrimSpace(c.text)
		if n := count(page.Vouchers, func(v voucher) bool { return v.Name == text }); c.name == "" && n != 3 {
			t.Errorf("%d vouchers have the name %q", n, text)
		}
		if n := count(page.Vouchers, func(v voucher) bool { return v.Note == text }); c.note == "" && text != "" && n != 3 {
			t.Errorf("%d vouchers have the note %q", n, text)
		}
	}
	_, table, _ := command(t, "voucher", "export", "--data="+data)
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(table, "\ufeff"))).ReadAll()
	if err != nil || len(rows) != taken+1 || len(page.Vouchers) != taken {
		t.Fatalf("%d rows and %d vouchers; %d were taken: %v", len(rows), len(page.Vouchers), taken, err)
	}
	for _, row := range rows[1:] {
		for _, cell := range []string{row[1], row[6]} {
			if _, ok := given[cell]; !ok && cell != "v" && cell != "n" {
				t.Errorf("the table shows %q", cell)
			}
		}
	}
	// A terminal is shown lines, and nothing that it would obey.
	code, list, errs := command(t, "voucher", "list", "--data="+data, "--limit=0")
	if code != exitOK || errs != "" || strings.Count(list, "\n") != taken+1 || strings.ContainsAny(list, "\x1b\x07\r") {
		t.Errorf("the list has %d lines: %q", strings.Count(list, "\n"), errs)
	}
}

func count[T any](list []T, ok func(T) bool) (n int) {
	for _, x := range list {
		if ok(x) {
			n++
		}
	}
	return n
}

// A guest sees nobody's vouchers: by no call, no op and no old protocol, in
// neither mode.
func TestVouchersOfOthers(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"open", "token"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir(), "--auth="+mode)
			code := h.issue(map[string]any{"name": "tea", "owner": "alice"})[0].Code
			mine := h.token("mallory")
			mallory, _ := enter(t, h.ws(), "mallory", "token", mine)
			for _, op := range []string{"join", "history", "search"} {
				mallory.refused("forbidden", op, "topic", "user:alice", "recent", 10, "text", "tea")
			}
			if got := mallory.ownVouchers("owner", "alice", "user", "alice"); len(got.Vouchers) != 0 {
				t.Errorf("mallory's own: %+v", got)
			}
			all := []string{}
			for _, path := range []string{
				"/api/v1/vouchers", "/api/v1/vouchers?owner=alice", "/api/v1/vouchers/" + code, "/api/v1/vouchers/export", "/api/v1/vouchers/imports/x",
				"/api/v1/topics/user:alice/events",
			} {
				for _, auth := range []string{"", "Bearer " + mine, "Bearer x", "Basic eDp4"} {
					a := h.call("GET", path, nil, "Authorization", auth)
					listed, _, _ := strings.Cut(path, "?")
					if ok := auth == "Bearer "+mine && listed == "/api/v1/vouchers"; (a.status == http.StatusOK) != ok {
						t.Errorf("%s with %.10q: %d %s", path, auth, a.status, a.body)
					}
					all = append(all, string(a.body))
				}
			}
			clients := []*oldClient{}
			if mode == "open" {
				stranger, _ := enter(t, h.ws(), "stranger")
				stranger.refused("unauthorized", "vouchers")
				stranger.refused("forbidden", "history", "topic", "user:alice")
				for _, path := range []string{"/compat/room?user_id=mallory", "/compat/voucher?user_id=mallory", "/?&user_id=mallory", "/compat/typed", "/compat/relay", "/compat/event"} {
					c := h.old(path)
					c.says(eventLogin("user:mallory", "any", "1"), `{"op":"vouchers","id":1}`, `{"event":"vouchers","data":{"owner":"alice"},"uuid":2}`)
					clients = append(clients, c)
				}
			}
			h.change(code, "redeem", map[string]any{"by": "Ann", "key": "k"})
			mallory.settled()
			mallory.mu.Lock()
			for _, f := range mallory.heard {
				all = append(all, f.raw)
			}
			mallory.mu.Unlock()
			for _, c := range clients {
				c.settled()
				c.await(0, func() bool { all = append(all, c.heard...); return true })
			}
			for _, s := range all {
				if strings.Contains(s, code) || strings.Contains(s, code[:14]) {
					t.Errorf("mallory is told %s", s)
				}
			}
		})
	}
}
