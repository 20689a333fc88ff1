package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

// The native protocol, from end to end.

const lobby = "room:lobby"

func TestHello(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice := dial(t, h.ws())
	alice.sayRaw(`{"op":"hello","id":"first","user":"alice","device":"web-1","unknown":[1,{}]}`)
	w := alice.expect("welcome", func(f frame) bool { return f.Op == "welcome" })
	if string(w.ID) != `"first"` || w.User != "alice" || len(w.Session) < 20 || w.PingMS != 25000 {
		t.Errorf("welcome: %s", w)
	}
	if w.Position.Epoch == "" || w.Position.Seq != 0 {
		t.Errorf("the position in an empty log: %s", w)
	}
	for name, want := range map[string]float64{"frame": 65536, "body": 16384, "user": 64, "topic": 128, "send_rate": 10, "send_burst": 20} {
		if w.Limits[name] != want {
			t.Errorf("limit %s: %v, want %v", name, w.Limits[name], want)
		}
	}
	_, other := enter(t, h.ws(), "alice")
	if other.Session == w.Session || other.Position.Epoch != w.Position.Epoch {
		t.Errorf("a second session: %s after %s", other, w)
	}
	name := strings.Repeat("茶", 19) + " 🍵"
	if _, w := enter(t, h.ws(), name); w.User != name {
		t.Errorf("a name in Chinese came back as %q", w.User)
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice", "device", "web")
	phone, _ := enter(t, h.ws(), "alice", "device", "phone")
	bob, _ := enter(t, h.ws(), "bob")
	for _, g := range []*guest{alice, phone, bob} {
		g.join(lobby)
	}
	before := time.Now().UnixMilli()
	ack := alice.ask("send", "topic", lobby, "key", "c-81", "kind", "message", "body", map[string]any{"text": `hi <&> "茶" \u2028`})
	if ack.Op != "ack" || ack.Key != "c-81" || ack.Seq < 1 || ack.At < before || ack.At > time.Now().UnixMilli() {
		t.Fatalf("ack: %s", ack)
	}
	for _, g := range []*guest{bob, phone} {
		e := g.expectEvent(lobby, "c-81")
		if e.Seq != ack.Seq || e.At != ack.At || e.Kind != "message" || e.From != "alice" {
			t.Errorf("event: %s after %s", e, ack)
		}
		var body map[string]string
		if err := json.Unmarshal(e.Body, &body); err != nil || body["text"] != `hi <&> "茶" \u2028` {
			t.Errorf("body %s: %v", e.Body, err)
		}
	}
	// What others said has come through after it: so nothing is on its way.
	next := bob.post(lobby, "b-1", "hello")
	if next.Seq <= ack.Seq {
		t.Errorf("the seq does not rise: %d after %d", next.Seq, ack.Seq)
	}
	for _, g := range []*guest{alice, phone} {
		g.expectEvent(lobby, "b-1")
	}
	same(t, "the sending connection got events", alice.keys(lobby), "b-1")
	same(t, "the sender's other device got events", phone.keys(lobby), "c-81", "b-1")
	same(t, "bob got events", bob.keys(lobby), "c-81")
	if acks := alice.all("ack", lobby); len(acks) != 1 {
		t.Errorf("acks: %v", acks)
	}

	// Who follows the room no longer, or never did, may send to it all the same.
	phone.ask("leave", "topic", lobby)
	if f := phone.ask("send", "topic", lobby, "body", 1); f.Op != "ack" {
		t.Errorf("send without a key or a kind: %s", f)
	}
	e := bob.expect("alice's event without a key", func(f frame) bool { return f.Op == "event" && string(f.Body) == "1" })
	if e.Kind != "message" || e.From != "alice" {
		t.Errorf("event: %s", e)
	}
}

func TestSameKeySameEvent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	alice, _ := enter(t, h.ws(), "alice")
	bob, _ := enter(t, h.ws(), "bob")
	bob.join(lobby)
	first := alice.post(lobby, "k", "one")
	again := alice.post(lobby, "k", "another text changes nothing")
	if again.Seq != first.Seq || again.At != first.At {
		t.Errorf("the same key again: %s after %s", again, first)
	}
	other, _ := enter(t, h.ws(), "alice")
	if f := other.post(lobby, "k", "one"); f.Seq != first.Seq {
		t.Errorf("the same key from another device: %s after %s", f, first)
	}
	if f := alice.post("room:kitchen", "k", "one"); f.Seq <= first.Seq {
		t.Errorf("the same key in another room is another event: %s", f)
	}
	if f := bob.post(lobby, "k", "one"); f.Seq <= first.Seq {
		t.Errorf("the same key of another user is another event: %s", f)
	}
	if code := h.stop(); code != exitOK {
		t.Fatalf("stop: code %d: %s", code, h.stderr)
	}
	h = open(t, dir)
	alice, _ = enter(t, h.ws(), "alice")
	if f := alice.post(lobby, "k", "one"); f.Seq != first.Seq || f.At != first.At {
		t.Errorf("the same key after a restart: %s after %s", f, first)
	}
	alice.post(lobby, "k2", "two")
	var senders []string
	for _, e := range h.history(lobby) {
		senders = append(senders, e.From+" "+e.Key)
	}
	same(t, "the room's log", senders, "alice k", "bob k", "alice k2")
}

func TestHistoryInPages(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--send-rate=0")
	alice, _ := enter(t, h.ws(), "alice")
	for i := range 12 {
		alice.post(lobby, fmt.Sprint(i), "x")
		alice.post("room:elsewhere", fmt.Sprint(i), "x")
	}
	bob, _ := enter(t, h.ws(), "bob")
	var keys []string
	before := int64(0)
	for _, want := range []int{5, 5, 2} {
		fields := []any{"topic", lobby, "limit", 5}
		if before > 0 {
			fields = append(fields, "before", before)
		}
		page := bob.ask("history", fields...)
		if page.Op != "history" || len(page.Events) != want || page.More != (want == 5) {
			t.Fatalf("page: %s", page)
		}
		var part []string
		for _, e := range page.Events {
			part = append(part, e.Key)
			if e.Topic != lobby || e.From != "alice" || e.At == 0 {
				t.Errorf("event in a page: %+v", e)
			}
		}
		keys = append(part, keys...)
		before = page.Events[0].Seq
	}
	same(t, "the pages", keys, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11")
	if page := bob.ask("history", "topic", "room:never"); len(page.Events) != 0 || page.More || !strings.Contains(page.raw, `"events":[]`) {
		t.Errorf("the history of an unknown room: %s", page)
	}
	if got := bob.all("event", lobby); len(got) != 0 {
		t.Errorf("history is told as live events: %v", got)
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--send-rate=0")
	alice, _ := enter(t, h.ws(), "alice")
	for i, tt := range []struct {
		name   string
		fields func(seqs []int64) []any
		want   []string
	}{
		{"plain", func([]int64) []any { return nil }, []string{"live"}},
		{"after the third", func(seqs []int64) []any { return []any{"after", seqs[2]} }, []string{"3", "4", "5", "live"}},
		{"after the last", func(seqs []int64) []any { return []any{"after", seqs[5]} }, []string{"live"}},
		{"after nothing", func([]int64) []any { return []any{"after", 0} }, []string{"0", "1", "2", "3", "4", "5", "live"}},
		{"recent", func([]int64) []any { return []any{"recent", 2} }, []string{"4", "5", "live"}},
		{"recent, more than there are", func([]int64) []any { return []any{"recent", 50} }, []string{"0", "1", "2", "3", "4", "5", "live"}},
	} {
		room := fmt.Sprintf("room:%d", i)
		var seqs []int64
		for k := range 6 {
			seqs = append(seqs, alice.post(room, fmt.Sprint(k), "x").Seq)
		}
		bob, w := enter(t, h.ws(), "bob")
		joined := bob.join(room, tt.fields(seqs)...)
		if joined.Head < seqs[5] || joined.Head < w.Position.Seq || string(joined.Online) != "1" {
			t.Errorf("%s: %s; want a head of %d at least, and 1 online", tt.name, joined, seqs[5])
		}
		alice.post(room, "live", "x")
		bob.expectEvent(room, "live")
		same(t, tt.name, bob.keys(room), tt.want...)
		// Joining again begins anew.
		bob.join(room, "after", seqs[4])
		alice.post(room, "more", "x")
		bob.expectEvent(room, "more")
		same(t, tt.name+", joined again", bob.keys(room), append(tt.want, "5", "live", "more")...)
	}
}

func TestLeave(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice")
	bob, _ := enter(t, h.ws(), "bob")
	alice.join(lobby)
	bob.join(lobby)
	bob.join("room:kitchen")
	alice.expectOp("online", lobby)
	if f := bob.ask("leave", "topic", lobby); f.Op != "left" || f.Topic != lobby {
		t.Errorf("leave: %s", f)
	}
	if f := alice.expectOp("online", lobby); f.User != "bob" || string(f.Online) != "false" {
		t.Errorf("who left: %s", f)
	}
	alice.post(lobby, "a", "bob does not hear this")
	alice.post("room:kitchen", "b", "but this")
	bob.expectEvent("room:kitchen", "b")
	if got := bob.all("event", lobby); len(got) != 0 {
		t.Errorf("events after the leave: %v", got)
	}
	if f := bob.ask("leave", "topic", "room:never"); f.Op != "left" {
		t.Errorf("leaving a room that was not joined: %s", f)
	}
	bob.refused("forbidden", "leave", "topic", "user:bob")
	bob.join(lobby, "after", 0)
	bob.expectEvent(lobby, "a")
}

func TestSignal(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice")
	phone, _ := enter(t, h.ws(), "alice")
	bob, _ := enter(t, h.ws(), "bob")
	alice.refused("not_joined", "signal", "topic", lobby, "body", map[string]bool{"typing": true})
	for _, g := range []*guest{alice, phone, bob} {
		g.join(lobby)
	}
	alice.say("signal", "topic", lobby, "body", map[string]bool{"typing": true})
	for _, g := range []*guest{bob, phone} {
		if f := g.expectOp("signal", lobby); f.From != "alice" || string(f.Body) != `{"typing":true}` || f.Seq != 0 {
			t.Errorf("signal: %s", f)
		}
	}
	bob.post(lobby, "b", "after the signal")
	alice.expectEvent(lobby, "b")
	if got := alice.all("signal", lobby); len(got) != 0 {
		t.Errorf("the signal came back to its sender: %v", got)
	}
	carol, _ := enter(t, h.ws(), "carol")
	carol.join(lobby, "after", 0)
	carol.expectEvent(lobby, "b")
	carol.settled()
	same(t, "what carol was told", carol.keys(lobby), "b")
	if got := carol.all("signal", lobby); len(got) != 0 {
		t.Errorf("a signal was kept: %v", got)
	}
	if log := h.history(lobby); len(log) != 1 {
		t.Errorf("the room's log: %v", log)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice := dial(t, h.ws())
	alice.say("ping") // also before the hello
	if f := alice.expect("pong", func(f frame) bool { return f.Op == "pong" }); f.raw != `{"op":"pong"}` {
		t.Errorf("pong: %s", f)
	}
	if f := alice.ask("ping"); f.Op != "pong" {
		t.Errorf("pong with an id: %s", f)
	}
	if err := alice.conn.WriteControl(websocket.PingMessage, []byte("茶"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	alice.wait("pong in a control frame", func() bool { return slices.Contains(alice.pongs, "茶") })
	alice.ask("hello", "user", "alice")
	alice.bye()
	if code, _ := alice.ending(); code != websocket.CloseNormalClosure {
		t.Errorf("a goodbye was answered with %d", code)
	}
}

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

// TestInbox: every user follows the own inbox without asking, and gets what
// came meanwhile when coming back with a position.
func TestInbox(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice")
	bob, w := enter(t, h.ws(), "bob")
	phone, _ := enter(t, h.ws(), "bob")
	push := func(key string) (online int) {
		a := h.call("POST", "/api/v1/events", map[string]any{"to": []string{"bob", "carol"}, "kind": "notice", "key": key, "body": map[string]string{"text": key}})
		if a.status != http.StatusOK {
			t.Fatalf("push: %d %s", a.status, a.body)
		}
		var out struct{ Online int }
		a.into(t, &out)
		return out.Online
	}
	if n := push("one"); n != 2 {
		t.Errorf("the push went to %d connections, bob has 2", n)
	}
	e := bob.expectEvent("user:bob", "one")
	if e.Kind != "notice" || e.From != "" || string(e.Body) != `{"text":"one"}` || e.Seq <= w.Position.Seq {
		t.Errorf("event: %s", e)
	}
	phone.expectEvent("user:bob", "one")
	bob.bye()
	phone.bye()
	if n := push("two"); n != 0 {
		t.Errorf("the push went to %d connections, nobody is there", n)
	}
	push("three")
	bob, _ = enter(t, h.ws(), "bob", "position", position{w.Position.Epoch, e.Seq})
	bob.expectEvent("user:bob", "three")
	push("four")
	bob.expectEvent("user:bob", "four")
	same(t, "bob, back with his position, got", bob.keys("user:bob"), "two", "three", "four")
	same(t, "alice got", alice.keys("user:bob"))

	fresh, _ := enter(t, h.ws(), "bob")
	push("five")
	fresh.expectEvent("user:bob", "five")
	same(t, "bob without a position got", fresh.keys("user:bob"), "five")
	if page := fresh.ask("history", "topic", "user:bob"); len(page.Events) != 5 {
		t.Errorf("the inbox's history: %s", page)
	}
}

// TestTalk: a talk reaches its two members and nobody else, without joining.
func TestTalk(t *testing.T) {
	t.Parallel()
	const talk = "dm:alice:bob"
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice")
	phone, _ := enter(t, h.ws(), "alice")
	bob, w := enter(t, h.ws(), "bob")
	carol, _ := enter(t, h.ws(), "carol")
	first := alice.post(talk, "a1", "hi bob")
	for _, g := range []*guest{bob, phone} {
		if e := g.expectEvent(talk, "a1"); e.Seq != first.Seq || e.From != "alice" {
			t.Errorf("event: %s", e)
		}
	}
	bob.post(talk, "b1", "hi alice")
	alice.expectEvent(talk, "b1")
	phone.expectEvent(talk, "b1")
	carol.refused("forbidden", "join", "topic", talk)
	carol.settled()
	if got := carol.all("event", talk); len(got) != 0 {
		t.Errorf("carol got %v", got)
	}
	bob.bye()
	alice.post(talk, "a2", "are you there?")
	alice.post(talk, "a3", "hello?")
	bob, _ = enter(t, h.ws(), "bob", "position", position{w.Position.Epoch, first.Seq})
	bob.expectEvent(talk, "a3")
	alice.post(talk, "a4", "there you are")
	bob.expectEvent(talk, "a4")
	same(t, "bob, back with his position, got", bob.keys(talk), "b1", "a2", "a3", "a4")

	// A name with a colon is told apart from the talk's own.
	odd, _ := enter(t, h.ws(), "x:y")
	carol.post("dm:carol:x%3Ay", "c1", "hi")
	odd.expectEvent("dm:carol:x%3Ay", "c1")
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
	deadline := time.Now().Add(40 * time.Second)
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
			t.Fatal("a token of one second is still good after forty")
		}
	}
}

// TestNothingIsLeft: whatever clients do, a server that has stopped leaves no
// goroutine and no open file behind. It does not run beside the others.
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	furnish(t, dir)
	files := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("cannot count open files here: %v", err)
		}
		return len(entries)
	}
	before, already := files(), goleak.IgnoreCurrent()
	t.Run("house", func(t *testing.T) { // its cleanup ends the guests
		h := open(t, dir)
		dial(t, h.ws())
		dial(t, h.ws()).say("join", "topic", lobby)
		dial(t, h.ws()).sayRaw("{")
		for i := range 20 {
			g, w := enter(t, h.ws(), fmt.Sprintf("user-%d", i%7))
			g.join(lobby, "after", 0)
			g.join("room:"+fmt.Sprint(i), "recent", 5)
			g.post(lobby, fmt.Sprint(i), "x")
			switch i % 5 {
			case 0:
				g.hangUp()
			case 1:
				g.bye()
			case 2:
				h.call("DELETE", "/api/v1/sessions/"+w.Session, nil)
			case 3:
				g.sayRaw(strings.Repeat("x", 100_000))
			}
		}
		h.call("POST", "/api/v1/events", map[string]any{"to": []string{"user-1", "nobody"}, "body": 1}, "Idempotency-Key", "k")
		if code := h.stop(); code != exitOK {
			t.Errorf("stop: %d: %s", code, h.stderr)
		}
	})
	goleak.VerifyNone(t, already)
	if now := files(); now > before {
		t.Errorf("%d files are open; %d were before", now, before)
	}
}
