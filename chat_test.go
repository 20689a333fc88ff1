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
	carol.post("dm:bob:carol", "c1", "a talk that bob does not know")
	h.call("POST", "/api/v1/events", map[string]any{"to": []string{"bob"}, "key": "n1", "body": 1})
	alice.post(talk, "a3", "hello?")
	bob, _ = enter(t, h.ws(), "bob", "position", position{w.Position.Epoch, first.Seq})
	bob.expectEvent(talk, "a3")
	alice.post(talk, "a4", "there you are")
	bob.expectEvent(talk, "a4")
	// Inbox and talks are one stream: one position serves for all of them.
	var got []string
	bob.mu.Lock()
	for _, f := range bob.heard {
		if f.Op == "event" {
			got = append(got, f.Key)
		}
	}
	bob.mu.Unlock()
	same(t, "bob, back with his position, got", got, "b1", "a2", "c1", "n1", "a3", "a4")

	// A name with a colon is told apart from the talk's own.
	odd, _ := enter(t, h.ws(), "x:y")
	carol.post("dm:carol:x%3Ay", "c2", "hi")
	odd.expectEvent("dm:carol:x%3Ay", "c2")
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
