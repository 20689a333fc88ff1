package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The HTTP side, its essentials: chat/api has the details.

func TestPages(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	for path, want := range map[string]string{
		"/":                  "text/html",
		"/sdk/teahouse.js":   "text/javascript",
		"/openapi.json":      "json",
		"/docs":              "text/html",
		"/healthz":           "",
		"/readyz":            "",
		"/metrics":           "text/plain",
		"/docs?x=1":          "text/html",
		"/sdk/teahouse.js?1": "text/javascript",
	} {
		a := h.call("GET", path, nil, "Authorization", "")
		if a.status != http.StatusOK || !strings.Contains(a.header.Get("Content-Type"), want) {
			t.Errorf("GET %s: %d %s", path, a.status, a.header.Get("Content-Type"))
		}
		if strings.Contains(want, "html") && strings.Contains(string(a.body), "https://") && strings.Contains(string(a.body), "<script src=\"https") {
			t.Errorf("GET %s needs the internet", path)
		}
	}
	if a := h.call("GET", "/no/such/page", nil); a.status != http.StatusNotFound {
		t.Errorf("GET of nothing: %d", a.status)
	}
	if a := h.call("GET", "/ws", nil); a.status != http.StatusUpgradeRequired {
		t.Errorf("GET /ws without an upgrade: %d %s", a.status, a.body)
	}
	if a := h.call("GET", "/api/v1/nothing", nil); a.status != http.StatusNotFound || a.problem(t) != "not_found" {
		t.Errorf("an unknown call: %d %s", a.status, a.body)
	}
}

func TestEventsOverHTTP(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice")
	alice.join(lobby)
	type published struct {
		Events []struct {
			Topic  string
			Seq    int64
			Online int
		}
		Online int
	}
	push := func(key, text string) (out published, a answer) {
		a = h.call("POST", "/api/v1/events", map[string]any{"topic": lobby, "kind": "notice", "body": map[string]string{"text": text}}, "Idempotency-Key", key)
		if a.status == http.StatusOK {
			a.into(t, &out)
		}
		return out, a
	}
	first, a := push("k1", "one")
	if len(first.Events) != 1 || first.Events[0].Topic != lobby || first.Online != 1 {
		t.Fatalf("publish: %d %s", a.status, a.body)
	}
	e := alice.expect("the event", func(f frame) bool { return f.Op == "event" })
	if e.Seq != first.Events[0].Seq || e.From != "" || e.Kind != "notice" || string(e.Body) != `{"text":"one"}` {
		t.Errorf("event: %s", e)
	}
	if again, a := push("k1", "one"); len(again.Events) != 1 || again.Events[0].Seq != e.Seq {
		t.Errorf("the same key and body: %d %s", a.status, a.body)
	}
	if _, a := push("k1", "two"); a.status != http.StatusConflict || a.problem(t) != "key_reused" {
		t.Errorf("the same key with another body: %d %s", a.status, a.body)
	}
	push("k2", "two")
	alice.expect("the next event", func(f frame) bool { return f.Op == "event" && f.Seq > e.Seq })
	if n := len(alice.all("event", lobby)); n != 2 {
		t.Errorf("alice got %d events", n)
	}

	for i := range 5 {
		alice.post(lobby, fmt.Sprint(i), "x")
	}
	var page struct {
		Events []frame
		More   bool
		Epoch  string
	}
	path := "/api/v1/topics/" + lobby + "/events"
	h.get(path+"?limit=3", &page)
	if len(page.Events) != 3 || !page.More || page.Events[2].Key != "4" || page.Epoch == "" {
		t.Errorf("the newest page: %+v", page)
	}
	h.get(fmt.Sprintf("%s?limit=500&before=%d", path, page.Events[0].Seq), &page)
	if len(page.Events) != 4 || page.More || page.Events[0].Seq != e.Seq {
		t.Errorf("the page before it: %+v", page)
	}
	h.get(fmt.Sprintf("%s?after=%d", path, e.Seq), &page)
	if len(page.Events) != 6 || page.More {
		t.Errorf("what came after the first: %+v", page)
	}
	for _, tt := range []struct {
		method, path, auth string
		body               any
		status             int
		code               string
	}{
		{"POST", "/api/v1/events", "", `{}`, 401, "unauthorized"},
		{"POST", "/api/v1/events", "Bearer wrong", `{}`, 401, "unauthorized"},
		{"POST", "/api/v1/events", "Bearer " + testKey, `{"topic":`, 400, "bad_request"},
		{"POST", "/api/v1/events", "Bearer " + testKey, `{"kind":"x","body":1}`, 400, "bad_request"},
		{"POST", "/api/v1/events", "Bearer " + testKey, `{"topic":"lobby","body":1}`, 400, "bad_topic"},
		{"POST", "/api/v1/events", "Bearer " + testKey, `{"to":[" "],"body":1}`, 400, "bad_user"},
		{"POST", "/api/v1/events", "Bearer " + testKey, map[string]any{"topic": lobby, "body": strings.Repeat("x", 17<<10)}, 413, "too_large"},
		{"GET", path + "?limit=501", "Bearer " + testKey, nil, 400, "bad_request"},
		{"DELETE", "/api/v1/sessions/nobody", "Bearer " + testKey, nil, 404, "not_found"},
		{"POST", "/api/v1/tokens", "Bearer " + testKey, `{"user":""}`, 400, "bad_user"},
		{"POST", "/api/v1/keys", "Bearer " + testKey, `{"name":"x"}`, 403, "forbidden"},
	} {
		a := h.call(tt.method, tt.path, tt.body, "Authorization", tt.auth)
		if a.status != tt.status || a.problem(t) != tt.code {
			t.Errorf("%s %s %.40v: %d %s; want %d %s", tt.method, tt.path, tt.body, a.status, a.body, tt.status, tt.code)
		}
	}
}

// TestKick: an operator ends a session; its client must not come back by itself.
func TestKick(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, w := enter(t, h.ws(), "alice", "device", "web-1")
	other, _ := enter(t, h.ws(), "alice")
	enter(t, h.ws(), "bob")
	online := h.sessions("user=alice")
	if len(online) != 2 || len(h.sessions("")) != 3 {
		t.Fatalf("online: %+v", online)
	}
	for _, s := range online {
		if s.ID == w.Session && (s.User != "alice" || s.Device != "web-1" || s.Dialect != "native" || s.Addr != "127.0.0.1" || !s.Online || s.OpenedAt == 0 || s.LastSeen < s.OpenedAt) {
			t.Errorf("alice's session: %+v", s)
		}
	}
	if a := h.call("DELETE", "/api/v1/sessions/"+w.Session, nil); a.status != http.StatusNoContent {
		t.Fatalf("kick: %d %s", a.status, a.body)
	}
	alice.closedWith(4101)
	other.settled()
	eventually(t, "the end of alice's session on record", func() bool {
		for _, s := range h.sessions("user=alice&all=true") {
			if s.ID == w.Session {
				return !s.Online && s.Reason == "kicked" && s.EndedAt >= s.OpenedAt
			}
		}
		return false
	})
	if left := h.sessions("user=alice"); len(left) != 1 || left[0].ID == w.Session {
		t.Errorf("alice's other device: %+v", left)
	}
}
