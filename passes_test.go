package main

import (
	"bytes"
	"encoding/base32"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
)

// ownVouchers is the answer to the op of that name.
type ownVouchers struct {
	Vouchers []struct {
		voucher
		Pass string
	}
	Cursor string
	Now    int64
}

func (c *guest) ownVouchers(fields ...any) (out ownVouchers) {
	c.t.Helper()
	f := c.ask("vouchers", fields...)
	if err := json.Unmarshal([]byte(f.raw), &out); err != nil || f.Op != "vouchers" {
		c.t.Fatalf("vouchers: %s", f.raw)
	}
	return out
}

// pass is what the owner's page shows now.
func showPass(t testing.TB, secret string, off time.Duration) string {
	t.Helper()
	p, err := chat.PassAt(secret, time.Now().Add(off))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The owner alone is told the secret of a pass, whatever else tells of the
// voucher; a redemption by it is told to all of the owner's devices, in all
// protocols, and it stands in a backup without being written anywhere.
func TestPassSecretStaysWithTheOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir, "--log-level=debug", "--voucher-pass=required")
	token := h.token("alice")
	owner, _ := enter(t, h.ws(), "alice", "token", token)
	phone, _ := enter(t, h.ws(), "alice")
	old := map[string]*oldClient{}
	for _, name := range []string{"room", "voucher", "relay", "typed", "echo"} {
		old[name] = h.old("/compat/" + name + "?user_id=alice&user=alice")
	}
	old["root"] = h.old("/?&user_id=alice")
	old["event"] = h.old("/compat/event")
	old["event"].says(eventLogin("user:alice", "any", "1"))
	h.settle(old["room"], old["voucher"], old["typed"], old["root"])
	eventually(t, "the login", func() bool { return len(h.sessions("?user=alice&online=true")) >= 7 })

	v := h.issue(map[string]any{"name": "Two teas", "owner": "alice", "ref": 81})[0]
	own := owner.ownVouchers()
	if len(own.Vouchers) != 1 || own.Vouchers[0].Code != v.Code || len(own.Vouchers[0].Pass) != 32 || own.Cursor != "" || own.Now < v.IssuedAt {
		t.Fatalf("the owner's list: %+v", own)
	}
	secret := own.Vouchers[0].Pass

	var in struct{ Token string }
	h.call("POST", "/api/v1/staff", map[string]any{"name": "Ann", "station": "Gate 1", "pin": "246810"})
	h.call("POST", "/api/v1/staff/sign-in", map[string]any{"name": "Ann", "pin": "246810"}, "Authorization", "").into(t, &in)
	staff := []string{"Authorization", "Bearer " + in.Token}
	var answers []string
	change := func(code, what string, body map[string]any, want int, problem string, who ...string) {
		t.Helper()
		a := h.call("POST", "/api/v1/vouchers/"+code+"/"+what, body, who...)
		answers = append(answers, string(a.body))
		if a.status != want || problem != "" && a.problem(t) != problem {
			t.Fatalf("%s: %d %s; want %d %s", what, a.status, a.body, want, problem)
		}
	}
	change(v.Code, "redeem", map[string]any{"key": "1"}, 409, "pass_required", staff...)
	stale := showPass(t, secret, -time.Hour)
	change(v.Code+"."+stale, "redeem", map[string]any{"key": "1"}, 409, "pass_stale", staff...)
	shown := showPass(t, secret, 0)
	change(v.Code+"."+shown, "redeem", map[string]any{"key": "1"}, 200, "", staff...)

	for _, g := range []*guest{owner, phone} {
		f := g.expect("the redemption", func(f frame) bool { return f.Op == "event" && f.Kind == "voucher.redeemed" })
		var told voucher
		if err := json.Unmarshal(f.Body, &told); err != nil || told.Code != v.Code || told.RedeemedBy != "Ann" || told.Station != "Gate 1" {
			t.Errorf("told %s", f.raw)
		}
	}
	// What the two old shapes show is their own; see docs/dialects.md.
	tells := func(name, what string) {
		t.Helper()
		c := old[name]
		if !c.await(patience, func() bool { return strings.Contains(strings.Join(c.heard, "\n"), what) }) {
			t.Errorf("%s is not told %s; it heard %q", name, what, c.heard)
		}
	}
	tells("voucher", `{"from_user":"Ann","messages":"{\"id\":81,\"status\":1}"}`)
	tells("root", `{"from_user":"Ann","messages":"{\"id\":81,\"status\":1}"}`)
	tells("event", `"event":"voucher"`)
	tells("event", `"status":"redeemed"`)

	if got := owner.ownVouchers("status", "redeemed"); len(got.Vouchers) != 1 || got.Vouchers[0].Pass != "" {
		t.Errorf("redeemed: %+v", got)
	}
	change(v.Code, "reverse", map[string]any{"key": "2", "reason": "slip"}, 200, "", staff...)
	change(v.Code, "redeem", map[string]any{"key": "3", "pass": shown}, 409, "pass_stale", staff...)

	// Guests, and others who have proved who they are.
	stranger, _ := enter(t, h.ws(), "alice")
	mallory, _ := enter(t, h.ws(), "mallory", "token", h.token("mallory"))
	thief, _ := enter(t, h.ws(), "alice", "token", h.token("mallory"))
	forger, _ := enter(t, h.ws(), "alice", "token", token[:len(token)-4]+"AAAA")
	for _, fields := range [][]any{nil, {"owner", "alice"}, {"user", "alice"}, {"topic", "user:alice"}} {
		stranger.refused("unauthorized", "vouchers", fields...)
		thief.refused("unauthorized", "vouchers", fields...)
		forger.refused("unauthorized", "vouchers", fields...)
		if got := mallory.ownVouchers(fields...); len(got.Vouchers) != 0 {
			t.Errorf("mallory sees %+v", got)
		}
	}
	named := dial(t, h.ws())
	if w := named.ask("hello", "token", token); w.User != "alice" || len(named.ownVouchers().Vouchers) != 1 {
		t.Errorf("a token without a name: %s", w.raw)
	}

	// Nobody else was told: not a page, not a call, not a command, not the log
	// and not the folder.
	raw, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	look := func(where string, b []byte) {
		t.Helper()
		for _, s := range [][]byte{[]byte(secret), []byte(strings.ToLower(secret)), raw} {
			if bytes.Contains(b, s) {
				t.Errorf("%s tells the secret", where)
			}
		}
	}
	for _, path := range []string{
		"/api/v1/vouchers", "/api/v1/vouchers/" + v.Code, "/api/v1/topics/user:alice/events", "/api/v1/sessions", "/api/v1/staff", "/api/v1/keys",
		"/openapi.json", "/metrics", "/api/v1/backup",
	} {
		a := h.call("GET", path, nil)
		if path == "/api/v1/backup" || path == "/api/v1/keys" {
			a = h.call("GET", path, nil, "Authorization", basicAuth("operator", testPassword))
		}
		if a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		look(path, a.body)
	}
	look("the owner's list over HTTP", h.call("GET", "/api/v1/vouchers", nil, "Authorization", "Bearer "+token).body)
	for _, args := range [][]string{{"voucher", "show", "--data=" + dir, v.Code}, {"voucher", "list", "--data=" + dir}, {"token", "--data=" + dir, "--user=alice"}} {
		_, out, errs := command(t, args...)
		look(strings.Join(args, " "), []byte(out+errs))
	}
	for _, c := range []*guest{phone, stranger, mallory, thief, forger} {
		c.settled()
		c.mu.Lock()
		for _, f := range c.heard {
			look("a frame", []byte(f.raw))
		}
		c.mu.Unlock()
	}
	for _, f := range append(owner.all("event", "user:alice"), owner.all("event", "")...) {
		look("an event", []byte(f.raw))
	}
	for name, c := range old {
		c.await(0, func() bool {
			look(name, []byte(strings.Join(c.heard, "\n")))
			return true
		})
	}
	look("an answer", []byte(strings.Join(answers, "\n")))
	if h.stop() != exitOK {
		t.Fatal(h.stderr)
	}
	look("the log", []byte(h.stderr.String()))
	for _, pass := range []string{stale, shown} {
		for line := range strings.Lines(h.stderr.String()) {
			if strings.Contains(line, v.Code) || strings.Contains(line, "."+pass) || strings.Contains(line, "pass="+pass) {
				t.Errorf("the log tells a pass or the code: %s", line)
			}
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		look(path, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	// After a restart the pages' passes go on.
	h = open(t, dir, "--voucher-pass=required")
	change(v.Code, "redeem", map[string]any{"key": "4", "pass": showPass(t, secret, chat.PassStep)}, 200, "", staff...)
}

// A page goes on with the passes of a house that was restored from a backup,
// and a house without passes tells no secrets.
func TestPassAfterRestore(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--auth=token")
	alice, _ := enter(t, h.ws(), "alice", "token", h.token("alice"))
	v := h.issue(map[string]any{"name": "tea", "owner": "alice", "count": 2})
	own := alice.ownVouchers("limit", 1)
	if own.Cursor == "" || len(own.Vouchers) != 1 || own.Vouchers[0].Code != v[1].Code {
		t.Fatalf("%+v", own)
	}
	own = alice.ownVouchers("cursor", own.Cursor)
	secret := own.Vouchers[0].Pass
	alice.refused("bad_request", "vouchers", "status", "lost")
	alice.refused("bad_request", "vouchers", "cursor", "?")
	dir := t.TempDir()
	a := h.call("GET", "/api/v1/backup", nil, "Authorization", basicAuth("operator", testPassword))
	if err := os.WriteFile(filepath.Join(dir, "teahouse.db"), a.body, 0o600); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir, "--auth=token", "--voucher-pass=required")
	if status, r := h.change(v[0].Code, "redeem", map[string]any{"by": "Ann", "key": "k", "pass": showPass(t, secret, 0)}); status != http.StatusOK {
		t.Errorf("a pass after the restore: %d %+v", status, r)
	}
	h.stop()
	h = open(t, dir, "--auth=token", "--voucher-pass=off")
	alice, _ = enter(t, h.ws(), "alice", "token", h.token("alice"))
	if own := alice.ownVouchers("status", "issued"); len(own.Vouchers) != 1 || own.Vouchers[0].Pass != "" {
		t.Errorf("without passes: %+v", own)
	}
	if status, r := h.change(v[1].Code, "redeem", map[string]any{"by": "Ann", "key": "k", "pass": "000000"}); status != http.StatusOK {
		t.Errorf("a pass where there are none: %d %+v", status, r)
	}
}
