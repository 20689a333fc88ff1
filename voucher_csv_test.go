package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"teahouse/chat"
)

// tableOf is a CSV file of n vouchers.
func tableOf(n int) string {
	var b strings.Builder
	b.WriteString("券名,持券人,编号,过期时间,备注\r\n")
	for i := range n {
		fmt.Fprintf(&b, "奶茶两杯,alice,%d,2099-12-31 23:59,\"少糖, 去冰\"\r\n", i)
	}
	return b.String()
}

func TestVoucherTables(t *testing.T) {
	t.Parallel()
	data, dir := t.TempDir(), t.TempDir()
	h := open(t, data)
	alice, _ := enter(t, h.ws(), "alice")
	do := func(args ...string) (int, string, string) {
		t.Helper()
		return command(t, append([]string{"voucher", args[0], "--data=" + data}, args[1:]...)...)
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("good.csv", tableOf(450))
	code, out, errs := do("import", good)
	if code != exitOK || errs != "" || !strings.HasPrefix(out, "450 vouchers issued, batch ") || strings.Contains(out, "before") {
		t.Fatalf("import: %d %q %q", code, out, errs)
	}
	alice.expect("the last voucher", func(f frame) bool { return strings.Contains(string(f.Body), `"ref":"449"`) })
	if n := len(alice.all("event", "user:alice")); n != 450 {
		t.Errorf("alice was told %d events", n)
	}
	if code, out, _ := do("import", good); code != exitOK || !strings.Contains(out, "imported before") {
		t.Errorf("the same file again: %d %q", code, out)
	}
	if code, out, _ := do("import", "--key=second", file("three.csv", tableOf(3))); code != exitOK || !strings.HasPrefix(out, "3 vouchers") {
		t.Errorf("with a key: %d %q", code, out)
	}
	bad := "name,owner\ntea,alice\n" + strings.Repeat("tea,\n", 120)
	code, out, errs = do("import", file("bad.csv", bad))
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	if code != exitRefused || out != "" || len(lines) != 101 || !strings.HasPrefix(lines[0], "line 3: owner") || !strings.Contains(lines[100], "nothing was imported: 120 rows are wrong") {
		t.Errorf("a bad file: %d %q, %d lines: %.300s", code, out, len(lines), errs)
	}
	for want, args := range map[string][]string{
		"name one file": {"import"}, "cannot be read": {"import", filepath.Join(dir, "none.csv")}, "key_reused": {"import", "--key=second", good},
		"one file: teahouse voucher export": {"export", "a", "b"}, "exists already": {"export", good}, "bad_request": {"export", "--status=lost"},
	} {
		if code, out, errs := do(args...); code == exitOK || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%v: %d %q %q; want %q", args, code, out, errs, want)
		}
	}
	path := filepath.Join(dir, "out.csv")
	if code, out, errs := do("export", "--owner=alice", path); code != exitOK || out+errs != "" {
		t.Fatalf("export: %d %q %q", code, out, errs)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, out, _ := do("export", "--owner=alice"); out != string(b) {
		t.Errorf("to standard output come %d bytes; the file has %d", len(out), len(b))
	}
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(b, []byte("\ufeff")))).ReadAll()
	if err != nil || len(rows) != 454 || rows[453][1] != "奶茶两杯" || rows[453][4] != "0" || rows[453][6] != "少糖, 去冰" || rows[453][5] != "2099-12-31 23:59:00" {
		t.Errorf("%d rows, %v: %q", len(rows), err, rows[len(rows)-1])
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".teahouse*")); err != nil || len(left) != 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	m := &meter{w: &b}
	m.show("issuing", 50, 100)
	m.show("issuing", 51, 100) // too soon
	m.show("issuing", 100, 100)
	m.done()
	if got := strings.Split(b.String(), "\r"); len(got) != 5 || got[1] != "issuing [###############...............]  50 % " || !strings.Contains(got[2], "100 %") || strings.TrimSpace(got[3]) != "" {
		t.Errorf("%q", got)
	}
	newMeter(&b).show("x", 1, 1) // no terminal
	if strings.Contains(b.String(), "x") {
		t.Errorf("%q", b.String())
	}
}

// The server is killed while it issues what was imported: all of it is issued,
// and nothing twice, though the file is sent again and again.
func TestImportKilled(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	dir := t.TempDir()
	h := spawn(t, dir)
	const count = 12 * chat.ImportChunk
	send := func() (s chat.ImportState, ok bool) {
		a, err := h.send("POST", "/api/v1/vouchers/import", tableOf(count), "Idempotency-Key", "monday")
		if err != nil {
			return s, false
		}
		if a.status != http.StatusAccepted {
			t.Fatalf("import: %d %s", a.status, a.body)
		}
		a.into(t, &s)
		return s, true
	}
	state, ok := send()
	if !ok || state.Count != count {
		t.Fatalf("%+v", state)
	}
	kills := 0
	for at := 0; at < count; at = state.Issued {
		limit := at + rng.IntN(4*chat.ImportChunk)
		eventually(t, "more of the import", func() bool {
			h.get("/api/v1/vouchers/imports/"+state.Batch, &state)
			return state.Issued > limit || state.Issued == count
		})
		if state.Issued < count {
			kills++
		}
		h.kill()
		h = spawn(t, dir)
		if s, ok := send(); !ok || s.Batch != state.Batch || s.Issued < state.Issued {
			t.Fatalf("after the kill: %+v; before it: %+v", s, state)
		}
	}
	seen := map[string]int{}
	for cursor := ""; ; {
		var page struct {
			Vouchers []voucher
			Cursor   string
		}
		h.get("/api/v1/vouchers?limit=500&batch="+state.Batch+"&cursor="+cursor, &page)
		for _, v := range page.Vouchers {
			seen[v.Ref]++
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	told := map[string]int{}
	for _, f := range h.history("user:alice") {
		var v voucher
		if err := json.Unmarshal(f.Body, &v); err != nil {
			t.Fatal(err)
		}
		told[v.Ref]++
	}
	for i := range count {
		if ref := fmt.Sprint(i); seen[ref] != 1 || told[ref] != 1 {
			t.Errorf("row %d was issued %d times and told %d times", i, seen[ref], told[ref])
		}
	}
	if len(seen) != count || len(told) != count {
		t.Errorf("%d vouchers, %d told of, after %d kills", len(seen), len(told), kills)
	}
	t.Logf("%d kills", kills)
	h.stop()
}
