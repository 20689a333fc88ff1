package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func came(user string) string { return `{"from_user":"` + user + `","messages":"我上线啦!"}` }
func went(user string) string { return `{"from_user":"` + user + `","messages":"我下线啦!"}` }

// TestLegacyPulled: who is gone without a word is gone for the others within
// 40 s, whatever the protocol; until then nobody says so.
func TestLegacyPulled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 36 seconds")
	}
	t.Parallel()
	h := open(t, t.TempDir())
	wire := newRelay(t, func() (string, error) { return h.host(), nil }, nil)
	var gone []string
	witness := h.old("/compat/room?user_id=witness")
	witness.settled()
	enters := func(user, path string, first ...string) {
		c, err := dialOld(t, "ws://"+wire.addr()+path)
		if err != nil {
			t.Fatal(err)
		}
		c.says(first...)
		witness.hears(came(user))
		gone = append(gone, went(user))
	}
	enters("room", "/?user_id=room")
	enters("voucher", "/compat/voucher?user_id=voucher")
	enters("relay", "/compat/relay?user=relay")
	enters("typed", "/?user=typed", `{"type":"connect","text":"typed"}`)
	enters("6", "/?room=lobby", eventLogin("user:6", "any", "1"))
	stays := h.old("/compat/room?user_id=stays")
	witness.hears(came("stays"))
	pulled := time.Now()
	wire.freeze()
	for len(gone) > 0 {
		frame := witness.next()
		took, found := time.Since(pulled), false
		for i, g := range gone {
			if g == frame {
				gone, found = append(gone[:i:i], gone[i+1:]...), true
				break
			}
		}
		// Who is asked for a sign of life in the very moment has 11 s for it.
		if !found || took < 10*time.Second || took > 40*time.Second {
			t.Errorf("%s after %s", frame, took)
		}
	}
	h.settle(witness, stays)
	if got := witness.rest(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := h.sessions(""); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// TestLegacyNoGhosts: a kill leaves no ghosts, and nobody speaks in another
// one's name after it; what is no client is no news.
func TestLegacyNoGhosts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := spawn(t, dir)
	alice := h.old("/compat/room?user_id=alice")
	alice.settled()
	h.old("/compat/room?user_id=bob").settled()
	alice.hears(came("bob"))
	time.Sleep(300 * time.Millisecond) // in the file
	h.kill()

	h = spawn(t, dir)
	carol, dave := h.old("/?user_id=carol"), h.old("/?user_id=dave")
	h.settle(carol, dave)
	for _, c := range []*oldClient{carol, dave} {
		for _, frame := range c.rest() {
			if frame != came("carol") && frame != came("dave") {
				t.Errorf("heard of a ghost: %s", frame)
			}
		}
	}
	dave.says(`{"message":"it is me"}`)
	carol.hears(`{"from_user":"dave","messages":"it is me"}`)
	// No clients: pages, scans, handshakes that end half way, nobodies.
	for _, path := range []string{"/", "/?user_id=get", "/compat/room?user_id=get", "/healthz", "/favicon.ico"} {
		h.call("GET", path, nil)
	}
	for _, scan := range []string{"", "\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n", "\x16\x03\x01", "POST /?user_id=x HTTP/1.1\r\n"} {
		conn, err := net.Dial("tcp", h.host())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, scan)
		conn.Close()
	}
	for _, path := range []string{"/?user_id=", "/?user_id=0", "/compat/room", "/compat/voucher?&user_id=", "/compat/typed", "/compat/relay", "/compat/echo", "/compat/event", "/"} {
		c := h.old(path)
		c.settled()
		c.breaks(strings.HasSuffix(path, "/"))
	}
	h.settle(carol, dave)
	if got := append(carol.rest(), dave.rest()...); len(got) != 0 {
		t.Errorf("%q", got)
	}
	// Those who were there before are back under their own names.
	h.old("/compat/room?user_id=bob").settled()
	carol.hears(came("bob"))
	dave.breaks(true)
	carol.hears(went("dave"))
	if log := h.history(lobby); len(log) != 1 {
		t.Errorf("presence is no event: %v", log)
	}
}

// TestLegacyPile: a page that forgets its sockets has the newest three; nobody
// hears of it, and what happens it is told on those.
func TestLegacyPile(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	witness := h.old("/compat/room?user_id=witness")
	witness.settled()
	for _, path := range []string{"/compat/voucher?&user_id=6", "/?user_id=room"} {
		user := path[strings.LastIndex(path, "=")+1:]
		var piled []*oldClient
		for range 8 {
			c := h.old(path, "User-Agent", "MicroMessenger")
			c.settled()
			piled = append(piled, c)
		}
		other := h.old(path, "User-Agent", "another device")
		other.settled()
		for i, c := range piled[:5] {
			if reason := c.closedWith(1000); reason == "" {
				t.Errorf("%s %d: closed without a reason", path, i)
			}
		}
		h.publish("user:"+user, "message", map[string]any{"text": `{"id":7,"status":1}`})
		for _, c := range append(piled[5:], other) {
			c.hears(`{"from_user":false,"messages":"{\"id\":7,\"status\":1}"}`)
		}
		witness.hears(came(user))
		h.settle(witness)
		if got := witness.rest(); len(got) != 0 {
			t.Errorf("%s: %q", path, got)
		}
		for _, c := range append(piled[5:], other) {
			c.breaks(true)
		}
		witness.hears(went(user))
	}
}
