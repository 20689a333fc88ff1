package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCommands: the commands that speak to the running server.
func TestCommands(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := open(t, data, "--auth=token")
	ok := func(args ...string) string {
		t.Helper()
		code, out, errs := command(t, args...)
		if code != exitOK || errs != "" {
			t.Errorf("%v: %d %s %s", args, code, out, errs)
		}
		return strings.TrimSpace(out)
	}
	fails := func(code int, word string, args ...string) {
		t.Helper()
		got, out, errs := command(t, args...)
		if got != code || out != "" || !strings.Contains(errs, word) {
			t.Errorf("%v: %d %q %q; want %d and %q", args, got, out, errs, code, word)
		}
		oneSentence(t, errs)
	}
	if v := ok("version"); !strings.HasPrefix(v, "teahouse ") {
		t.Errorf("version: %q", v)
	}
	token := ok("token", "--data="+data, "--user=bob", "--ttl=1h")
	bob, _ := enter(t, h.ws(), "bob", "token", token)
	link := ok("token", "--data="+data, "--user=bob", "--page=vouchers", "--base=https://tea.example/")
	if rest, found := strings.CutPrefix(link, "https://tea.example/vouchers#token="); !found || strings.Count(rest, ".") != 2 {
		t.Errorf("the link: %s", link)
	}
	if code, link, note := command(t, "token", "--data="+data, "--user=bob", "--page=chat"); code != exitOK || !strings.HasPrefix(link, h.url+"/#token=") || !strings.Contains(note, "--base") {
		t.Errorf("the link to the chat page: %d %s %s", code, link, note)
	}
	fails(exitUsage, "vouchers or chat", "token", "--data="+data, "--user=bob", "--page=shop")
	fails(exitUsage, "--base", "token", "--data="+data, "--user=bob", "--page=chat", "--base=tea")
	if out := ok("push", "--data="+data, "--user=bob", "--key=p1", "the tea", "is ready"); !strings.Contains(out, "user:bob") || !strings.Contains(out, "to 1 connection") {
		t.Errorf("push: %q", out)
	}
	if e := bob.expectEvent("user:bob", "p1"); string(e.Body) != `{"text":"the tea is ready"}` || e.From != "" {
		t.Errorf("event: %s", e)
	}
	ok("push", "--data="+data, "--topic="+lobby, "--kind=sale", "--from=carol", "--json", `{"price":3}`)
	if log := h.history(lobby); len(log) != 1 || log[0].Kind != "sale" || log[0].From != "carol" || string(log[0].Body) != `{"price":3}` {
		t.Errorf("the log: %v", log)
	}

	key := ok("key", "create", "--data="+data, "shop", "backend")
	authorized := func() int {
		return h.call("GET", "/api/v1/sessions", nil, "Authorization", "Bearer "+key).status
	}
	if got := authorized(); got != 200 {
		t.Errorf("the made key: %d", got)
	}
	list := ok("key", "list", "--data="+data)
	id := regexp.MustCompile(`(?m)^(\S+) +shop backend`).FindStringSubmatch(list)
	if id == nil || strings.Contains(list, key) {
		t.Fatalf("key list: %s", list)
	}
	// From elsewhere, with the key and without the folder.
	if out := ok("push", "--url="+h.url, "--api-key="+key, "--user=bob", "hello"); !strings.Contains(out, "user:bob") {
		t.Errorf("push from elsewhere: %q", out)
	}
	fails(exitRefused, "forbidden", "key", "list", "--url="+h.url, "--api-key="+key)
	ok("key", "revoke", "--data="+data, id[1])
	if got := authorized(); got != 401 {
		t.Errorf("the revoked key: %d", got)
	}
	fails(exitRefused, "unauthorized", "push", "--url="+h.url, "--api-key="+key, "--user=bob", "hello")
	fails(exitRefused, "not_found", "key", "revoke", "--data="+data, "tk_nobody")
	fails(exitRefused, "bad_user", "token", "--data="+data, "--user= ")
	fails(exitUsage, "--user", "push", "--data="+data, "hello")
	fails(exitUsage, "key create NAME", "key", "create", "--data="+data)
	fails(exitUsage, "backup FILE", "backup", "--data="+data)
	fails(exitUsage, "user", "token", "--data="+data)
	fails(exitUsage, "no command", "dance")
	if h.stop() != exitOK {
		t.Fatal(h.stderr)
	}
	fails(exitUnreachable, "teahouse serve", "push", "--data="+data, "--user=bob", "hello")
	fails(exitUnreachable, h.url, "push", "--url="+h.url, "--api-key="+key, "--user=bob", "hello")
	if b, err := os.ReadFile(filepath.Join(data, "local.json")); err == nil {
		t.Errorf("the local key outlived the server: %s", b)
	}
}
