package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// coming returns who came to and went from a room, as a guest was told it.
func coming(g *guest, topic string) (out []string) {
	for _, f := range g.all("online", topic) {
		sign := "+"
		if string(f.Online) == "false" {
			sign = "-"
		}
		out = append(out, sign+f.User)
	}
	return out
}

// TestPresence: a user comes with the first device and goes with the last one.
func TestPresence(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice")
	if f := alice.join(lobby); string(f.Online) != "1" {
		t.Errorf("alice alone: %s", f)
	}
	users := func() []string { return alice.ask("presence", "topic", lobby).Users }
	web, _ := enter(t, h.ws(), "bob", "device", "web")
	alice.settled()
	same(t, "who is in the house but not in the room", users(), "alice")
	web.join(lobby)
	phone, _ := enter(t, h.ws(), "bob", "device", "phone")
	if f := phone.join(lobby); string(f.Online) != "2" {
		t.Errorf("bob's second device is no second user: %s", f)
	}
	carol, _ := enter(t, h.ws(), "carol")
	carol.join(lobby)
	same(t, "with carol", users(), "alice", "bob", "carol")
	web.hangUp()
	eventually(t, "the server to notice", func() bool { return len(h.sessions("user=bob")) == 1 })
	same(t, "bob has a device left", users(), "alice", "bob", "carol")
	phone.bye()
	eventually(t, "bob's end", func() bool { return len(users()) == 2 })
	carol.ask("leave", "topic", lobby)
	same(t, "who is left", users(), "alice")
	same(t, "what alice was told", coming(alice, lobby), "+bob", "+carol", "-bob", "-carol")
	same(t, "what carol was told", coming(carol, lobby), "-bob")
	// Presence is never news from the log.
	if log := h.history(lobby); len(log) != 0 {
		t.Errorf("the room's log: %v", log)
	}
}

// TestNobodyIsThere: what is no client is no presence.
func TestNobodyIsThere(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice")
	alice.join(lobby)
	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/ws", "/sdk/teahouse.js", "/api/v1/sessions"} {
		h.call("GET", path, nil)
	}
	bare, err := net.Dial("tcp", h.host())
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	silent := dial(t, h.ws()) // upgraded, but says no hello
	half, err := net.Dial("tcp", h.host())
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	fmt.Fprintf(half, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
	bob, _ := enter(t, h.ws(), "bob") // whoever is served now comes after all that
	bob.join(lobby)
	alice.expectOp("online", lobby)
	same(t, "who came", coming(alice, lobby), "+bob")
	if got := h.sessions("all=true"); len(got) != 2 {
		t.Errorf("sessions: %+v; want alice's and bob's", got)
	}
	same(t, "who is there", alice.ask("presence", "topic", lobby).Users, "alice", "bob")
	silent.hangUp()
	alice.settled()
	same(t, "who came and went", coming(alice, lobby), "+bob")
}

// TestNoGhosts: after a crash nobody is online who is not, and who was there
// is still known.
func TestNoGhosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := spawn(t, dir)
	start := time.Now().UnixMilli()
	alice, w := enter(t, h.ws(), "alice", "device", "web")
	alice.join(lobby)
	bob, _ := enter(t, h.ws(), "bob")
	bob.join(lobby)
	eventually(t, "alice's session in the file", func() bool {
		for _, name := range []string{"teahouse.db-wal", "teahouse.db"} {
			b, _ := os.ReadFile(filepath.Join(dir, name))
			if bytes.Contains(b, []byte(w.Session)) {
				return true
			}
		}
		return false
	})
	h.kill()
	if code, _ := alice.ending(); code != 0 {
		t.Errorf("a killed server said goodbye with %d", code)
	}
	end := time.Now().UnixMilli()

	h = spawn(t, dir)
	if got := h.sessions(""); len(got) != 0 {
		t.Errorf("ghosts: %+v", got)
	}
	old := h.sessions("user=alice&all=true")
	if len(old) != 1 || old[0].ID != w.Session || old[0].Device != "web" || old[0].Online || old[0].LastSeen < start || old[0].LastSeen > end || old[0].EndedAt < start {
		t.Errorf("alice was last seen between %d and %d: %+v", start, end, old)
	}
	carol, _ := enter(t, h.ws(), "carol")
	if f := carol.join(lobby); string(f.Online) != "1" {
		t.Errorf("carol is alone: %s", f)
	}
	same(t, "who is there", carol.ask("presence", "topic", lobby).Users, "carol")
	alice, _ = enter(t, h.ws(), "alice")
	alice.join(lobby)
	carol.expectOp("online", lobby)
	same(t, "who came", coming(carol, lobby), "+alice")
	if code := h.stop(); code != exitOK {
		t.Errorf("stop: %d: %s", code, h.stderr)
	}

	// An orderly stop ends sessions too, with its reason.
	h = spawn(t, dir)
	if got := h.sessions("user=carol&all=true"); len(got) != 1 || got[0].Online || got[0].Reason != "going_away" {
		t.Errorf("carol's session after the stop: %+v", got)
	}
}

// TestPulledPlug: a client whose network goes away without a word is gone for
// the others within 40 seconds.
func TestPulledPlug(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 40 seconds")
	}
	t.Parallel()
	h := open(t, t.TempDir())
	wire := newRelay(t, func() (string, error) { return h.host(), nil }, nil)
	alice, _ := enter(t, h.ws(), "alice")
	alice.join(lobby)
	bob, _ := enter(t, "ws://"+wire.addr()+"/ws", "bob")
	bob.join(lobby)
	bob.settled()
	pulled := time.Now()
	wire.freeze()
	alice.expectOp("online", lobby) // bob came
	f := frame{}
	deadline := time.After(45 * time.Second)
	for f.User == "" {
		alice.mu.Lock()
		for _, x := range alice.heard {
			if x.Op == "online" && string(x.Online) == "false" {
				f = x
			}
		}
		news := alice.news
		alice.mu.Unlock()
		if f.User != "" {
			break
		}
		select {
		case <-news:
		case <-deadline:
			t.Fatal("bob is still there after 45 s")
		}
	}
	if took := time.Since(pulled); f.User != "bob" || took > 40*time.Second {
		t.Errorf("%s after %s", f, took)
	} else {
		t.Logf("bob was gone after %.1f s", took.Seconds())
	}
	if got := h.sessions(""); len(got) != 1 || got[0].User != "alice" {
		t.Errorf("online: %+v", got)
	}
	eventually(t, "bob's end on record", func() bool {
		old := h.sessions("user=bob&all=true")
		return len(old) == 1 && old[0].Reason == "ping_timeout"
	})
}
