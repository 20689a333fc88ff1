package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// What the server does not take, and whom it does not let in.

// TestErrors: what is wrong is told by a stable code, and the connection goes on.
func TestErrors(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--send-rate=0")
	alice, _ := enter(t, h.ws(), "alice")
	body := map[string]string{"text": "x"}
	for _, tt := range []struct {
		code, op string
		fields   []any
	}{
		{"bad_frame", "dance", nil},
		{"bad_frame", "", nil},
		{"bad_frame", "hello", []any{"user", "alice"}},
		{"bad_frame", "send", []any{"topic", lobby}},
		{"bad_frame", "send", []any{"topic", lobby, "kind", "no spaces", "body", body}},
		{"bad_frame", "send", []any{"topic", lobby, "key", strings.Repeat("k", 129), "body", body}},
		{"bad_topic", "send", []any{"topic", "lobby", "body", body}},
		{"bad_topic", "join", []any{"topic", "room:"}},
		{"bad_topic", "join", []any{"topic", "room:\u202e"}},
		{"bad_topic", "join", []any{"topic", "room:" + strings.Repeat("x", 124)}},
		{"bad_topic", "join", []any{"topic", "dm:bob:alice"}},
		{"bad_topic", "history", []any{"topic", ""}},
		{"forbidden", "join", []any{"topic", "user:bob"}},
		{"forbidden", "join", []any{"topic", "dm:bob:carol"}},
		{"forbidden", "history", []any{"topic", "dm:bob:carol"}},
		{"forbidden", "presence", []any{"topic", "user:bob"}},
		{"forbidden", "send", []any{"topic", "dm:bob:carol", "body", body}},
		{"forbidden", "send", []any{"topic", lobby, "kind", "voucher.issued", "body", body}},
		{"too_large", "send", []any{"topic", lobby, "body", strings.Repeat("x", 16<<10)}},
	} {
		alice.refused(tt.code, tt.op, tt.fields...)
	}
	alice.sayRaw(`{"op":"join","id":`)
	if f := alice.expect("error", func(f frame) bool { return f.Op == "error" && f.ID == nil }); f.Code != "bad_frame" {
		t.Errorf("bad JSON: %s", f)
	}
	_ = alice.conn.WriteMessage(websocket.BinaryMessage, []byte(`{"op":"ping"}`))
	if f := alice.expect("error", func(f frame) bool { return f.Op == "error" && f.ID == nil }); f.Code != "bad_frame" {
		t.Errorf("a binary frame: %s", f)
	}
	alice.post(lobby, "fits", strings.Repeat("x", 16<<10-len(`{"text":""}`)))
	if log := h.history(lobby); len(log) != 1 || len(log[0].Body) != 16<<10 {
		t.Errorf("the log holds %d events after all the errors; want the one that just fits", len(log))
	}
}

// TestClosed: what ends the connection, with which code.
func TestClosed(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	t.Run("frame too large", func(t *testing.T) {
		alice, _ := enter(t, h.ws(), "alice")
		alice.sayRaw(`{"op":"ping","x":"` + strings.Repeat("x", 64<<10) + `"}`)
		alice.closedWith(4104)
	})
	t.Run("no hello", func(t *testing.T) {
		alice := dial(t, h.ws())
		alice.say("join", "topic", lobby)
		alice.closedWith(4105)
	})
	for _, user := range []string{" alice", strings.Repeat("a", 65), "a\tb", "a\u202eb"} {
		t.Run(fmt.Sprintf("user %.10q", user), func(t *testing.T) {
			alice := dial(t, h.ws())
			alice.say("hello", "user", user)
			alice.closedWith(4103)
		})
	}
	t.Run("too much nonsense", func(t *testing.T) {
		alice, _ := enter(t, h.ws(), "alice")
		for range 30 {
			alice.sayRaw("GET / HTTP/1.1")
		}
		alice.closedWith(4102)
	})
	t.Run("not UTF-8", func(t *testing.T) {
		alice, _ := enter(t, h.ws(), "alice")
		alice.sayRaw("{\"op\":\"ping\",\"x\":\"\xff\"}")
		alice.closedWith(websocket.CloseInvalidFramePayloadData)
	})
	eventually(t, "why alice's sessions ended", func() bool {
		var ended []string
		for _, s := range h.sessions("all=true&user=alice") {
			if !s.Online {
				ended = append(ended, s.Reason)
			}
		}
		slices.Sort(ended)
		return slices.Equal(ended, []string{"", "bad_frame", "too_large"})
	})
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice")
	body := map[string]string{"text": "x"}
	for i := range 60 { // without waiting for the answers
		alice.say("send", "id", 1000+i, "topic", lobby, "key", fmt.Sprint(i), "body", body)
	}
	alice.say("ping", "id", 2000)
	alice.expect("pong", func(f frame) bool { return f.Op == "pong" })
	acks := 0
	var limited *frame
	for i := range 60 {
		f := alice.answerTo(1000 + i)
		if f.Op == "ack" {
			acks++
		} else if f.Code != "rate_limited" || f.RetryMS < 1 || f.RetryMS > 150 {
			t.Fatalf("over the limit: %s", f)
		} else {
			limited = &f
		}
	}
	if acks < 20 || acks == 60 || limited == nil {
		t.Fatalf("%d of 60 sends at once were taken; want the burst of 20 and a few more", acks)
	}
	// Who waits as told is served.
	<-time.After(time.Duration(limited.RetryMS) * time.Millisecond)
	alice.post(lobby, "59", "x")
	if got := len(h.history(lobby)); got < acks || got > acks+1 {
		t.Errorf("the log holds %d events, %d were acknowledged", got, acks+1)
	}
}

// TestTokenMode: only who shows a token of this server gets in.
func TestTokenMode(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--auth=token")
	token := func(user string, ttl int) string {
		a := h.call("POST", "/api/v1/tokens", map[string]any{"user": user, "ttl_s": ttl})
		if a.status != http.StatusOK {
			t.Fatalf("token: %d %s", a.status, a.body)
		}
		var out struct {
			Token, User string
			ExpiresAt   int64 `json:"expires_at"`
		}
		a.into(t, &out)
		if left := out.ExpiresAt - time.Now().UnixMilli(); out.User != user || left > int64(ttl)*1000 || left < int64(ttl-2)*1000 {
			t.Errorf("token: %s", a.body)
		}
		return out.Token
	}
	good := token("alice", 3600)
	alice, _ := enter(t, h.ws(), "alice", "token", good)
	alice.post(lobby, "a", "in")
	nameless := dial(t, h.ws())
	if w := nameless.ask("hello", "token", good); w.Op != "welcome" || w.User != "alice" {
		t.Errorf("the token's own user: %s", w)
	}
	parts := strings.Split(good, ".")
	other := strings.Split(token("bob", 3600), ".")
	for name, hello := range map[string][]any{
		"none":              {"user", "alice"},
		"rubbish":           {"user", "alice", "token", "abc"},
		"wrong user":        {"user", "bob", "token", good},
		"another signature": {"token", parts[0] + "." + parts[1] + "." + other[2]},
		"no signature":      {"token", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + parts[1] + "."},
		"of another server": {"token", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJ0ZWFob3VzZSIsInN1YiI6ImFsaWNlIiwiZXhwIjo0MTAyNDQ0ODAwfQ.RivrZrPl_JyhLuUhMXpQSXTwgwBTTkXQeKkTuUOxwlQ"},
	} {
		g := dial(t, h.ws())
		g.say("hello", hello...)
		if code, reason := g.ending(); code != 4100 || reason == "" {
			t.Errorf("%s: closed with %d %q", name, code, reason)
		}
	}
	if testing.Short() {
		return
	}
	// The connection ends with its token, some seconds later at most.
	short, _ := enter(t, h.ws(), "carol", "token", token("carol", 1))
	short.closedWith(4106)
	eventually(t, "nobody but alice", func() bool { return len(h.sessions("")) == 2 && len(h.sessions("user=alice")) == 2 })
}

// TestTokenExpires: an old token is refused at the door, after the half minute
// that clocks may differ by.
func TestTokenExpires(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	t.Parallel()
	h := open(t, t.TempDir(), "--auth=token")
	var out struct{ Token string }
	h.call("POST", "/api/v1/tokens", map[string]any{"user": "alice", "ttl_s": 1}).into(t, &out)
	// A second, half a minute that clocks may differ by, ten seconds until a connection's end is noticed; the rest is
	// for a busy machine.
	deadline := time.Now().Add(60 * time.Second)
	for {
		g := dial(t, h.ws())
		g.say("hello", "token", out.Token)
		if code, _ := g.ending(); code != 4106 {
			t.Fatalf("closed with %d; want 4106", code)
		}
		if len(g.heard) == 0 {
			return // not even welcomed
		}
		if time.Now().After(deadline) {
			t.Fatal("a token of one second is still good after a minute")
		}
	}
}

// TestForeignPage: in open mode a page of another site cannot use a visitor's
// browser to get in.
func TestForeignPage(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--allow-origin=https://shop.example")
	for origin, want := range map[string]int{
		"":                      http.StatusSwitchingProtocols,
		h.url:                   http.StatusSwitchingProtocols,
		"http://192.168.1.7":    http.StatusSwitchingProtocols,
		"https://shop.example":  http.StatusSwitchingProtocols,
		"https://evil.example":  http.StatusForbidden,
		"https://127.0.0.1.com": http.StatusForbidden,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		conn, res, err := websocket.DefaultDialer.Dial(h.ws(), header)
		if err == nil {
			conn.Close()
		}
		if res == nil || res.StatusCode != want {
			t.Errorf("a page of %q: %v %v; want %d", origin, res, err, want)
		}
	}
}

func TestTooManyTopics(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--max-topics=2")
	alice, _ := enter(t, h.ws(), "alice")
	alice.join("room:1")
	alice.join("room:2")
	alice.refused("too_many_topics", "join", "topic", "room:3")
	alice.join("room:1", "recent", 5) // again is no other one
	alice.ask("leave", "topic", "room:2")
	alice.join("room:3")
}
