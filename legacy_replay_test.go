package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLegacyReplay: pages that hold no positions are cut off, while things
// happen and the server may be restarted or killed. When they are back they
// show just what they missed, once; their own lines are not told to them.
func TestLegacyReplay(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"goodbye", "end", "reset", "pulled"} {
		for _, meanwhile := range []string{"nothing", "stopped", "killed"} {
			t.Run(end+"/"+meanwhile, func(t *testing.T) {
				t.Parallel()
				replayPages(t, end, meanwhile)
			})
		}
	}
}

func replayPages(t *testing.T, end, meanwhile string) {
	dir := t.TempDir()
	start := func() *house {
		if meanwhile == "killed" {
			return spawn(t, dir, "--stop-timeout=4s")
		}
		return open(t, dir, "--stop-timeout=4s")
	}
	h := start()
	network := &route{}
	wire := newRelay(t, func() (string, error) { return h.host(), nil }, nil)
	network.set(wire.addr())
	h.say(lobby, map[string]string{"text": "old"}) // before them: fresh pages of a chat get it
	alice := roomPage(t, network, "/?user_id=alice").start()
	tab := roomPage(t, network, "/?user_id=alice").start() // another one of hers, in the same browser
	page := roomPage(t, network, "/compat/room?user_id=page", "User-Agent", "old phone").start()
	typed := typedPage(t, network, "/compat/typed?user=typed").start()
	relay := relayPage(t, network, "/compat/relay?user=relay").start()
	app := eventApp(t, network, "/", "6").start()
	vouchers := voucherPage(t, network, "/?&user_id=8").start()
	all := map[string]*oldPage{"alice": alice, "tab": tab, "page": page, "typed": typed, "relay": relay, "app": app, "vouchers": vouchers}
	there := func(opens int) {
		t.Helper()
		for name, p := range all {
			eventually(t, fmt.Sprint(name, " to be in"), func() bool { _, n := p.now(); return n == opens })
		}
		eventually(t, "their sessions", func() bool { return len(h.sessions("")) == len(all) })
		eventually(t, "the login", func() bool { return strings.Count(app.shows(), "in") == opens })
		c := make([]*oldClient, 0, len(all))
		for _, p := range all {
			s, _ := p.now()
			c = append(c, s)
		}
		h.settle(c...)
	}
	say := func(texts ...string) {
		for _, text := range texts {
			h.say(lobby, map[string]string{"text": text})
		}
	}
	push := func(text string) { h.publish("user:6", "app", map[string]any{"event": "chat1", "msg": text}) }
	voucher := func(id, status string) {
		h.publish("user:8", "voucher."+status, map[string]any{"code": "C" + id, "ref": id, "status": status})
	}
	want := func(shows map[string]string) {
		t.Helper()
		for name, text := range shows {
			p := all[name]
			shows := func() string { // the inbox has its own order
				return strings.Replace(p.shows(), " inbox", "", 1)
			}
			deadline := time.Now().Add(10 * time.Second)
			for shows() != text && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
			}
			if got := shows(); got != text {
				t.Errorf("%s shows %q\nwant %q", name, got, text)
			}
			if err := p.threw(); err != nil {
				t.Errorf("%s threw %v", name, err)
			}
		}
	}
	there(1)
	say("1", "2")
	push("p1")
	voucher("7", "issued")
	want(map[string]string{"alice": "old 1 2", "tab": "old 1 2", "app": "in p1", "vouchers": "7=0"})
	alice.says("mine")
	want(map[string]string{
		"alice": "old 1 2 mine", "tab": "old 1 2 mine", "page": "old 1 2 mine", "typed": "old 1 2 mine", "relay": "1 2 mine",
		"app": "in p1", "vouchers": "7=0",
	})
	// What the server knows of them must have come into the file before it is
	// killed. What is said in the last quarter of a second may come twice.
	time.Sleep(500 * time.Millisecond)

	network.set("")
	if end == "pulled" {
		wire.freeze()
	}
	for _, p := range all {
		switch c, _ := p.now(); end {
		case "goodbye":
			c.leaves(1000)
		case "reset":
			c.breaks(true)
		default:
			c.breaks(false)
		}
	}
	if end != "pulled" {
		eventually(t, "their end", func() bool { return len(h.sessions("")) == 0 })
	}
	say("3", "4")
	push("p2")
	voucher("7", "redeemed")
	switch meanwhile {
	case "stopped":
		h.stop()
		h = start()
	case "killed":
		h.kill()
		h = start()
	}
	say("5")
	h.publish("user:alice", "message", map[string]string{"text": "inbox"})
	push("p3")
	voucher("9", "issued")
	network.set(h.host())
	there(2)
	say("6")
	want(map[string]string{
		"alice": "old 1 2 mine 3 4 5 6", "tab": "old 1 2 mine 3 4 5 6",
		"page":  "old 1 2 mine 3 4 5 6",
		"typed": "old 1 2 mine 3 4 5 6", "relay": "1 2 mine 3 4 5 6", "app": "in p1 in p2 p3", "vouchers": "7=0 7=1 9=0",
	})
	time.Sleep(100 * time.Millisecond) // and nothing after that
	for name, n := range map[string]int{"alice": 9, "tab": 9, "page": 8, "typed": 8, "relay": 7, "app": 5, "vouchers": 3} {
		if got := all[name].shows(); len(strings.Fields(got)) != n || strings.Contains(got, "inbox") != (name == "alice" || name == "tab") {
			t.Errorf("%s shows %q", name, all[name].shows())
		}
	}
	alice.says("mine again")
	want(map[string]string{"page": "old 1 2 mine 3 4 5 6 mine again"})
}

// TestLegacyRoomsApart: two pages of one browser in different rooms are cut
// off together and come back one after the other; neither goes on where the
// other one ended.
func TestLegacyRoomsApart(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	say := func(text string) {
		h.say("room:tea", map[string]string{"text": text})
		h.say("room:milk", map[string]string{"text": text})
	}
	say("old")
	want := "old"
	for _, reset := range []bool{true, false} {
		want += " 1 2 3" // the second ones get the first ones' as recent lines
		routes, pages := map[string]*route{}, map[string]*oldPage{}
		for _, room := range []string{"tea", "milk"} {
			routes[room] = &route{}
			routes[room].set(h.host())
			pages[room] = roomPage(t, routes[room], fmt.Sprintf("/?user_id=u%t&room=%s", reset, room)).start()
		}
		shows := func(room, want string) {
			t.Helper()
			eventually(t, room+" to show "+want, func() bool { return strings.HasSuffix(pages[room].shows(), want) })
		}
		say("1")
		for room, p := range pages {
			shows(room, "1")
			c, _ := p.now()
			c.proves()
			routes[room].set("")
			c.breaks(reset)
		}
		eventually(t, "their end", func() bool { return len(h.sessions("")) == 0 })
		say("2")
		for _, room := range []string{"milk", "tea"} { // not the one that got the least
			routes[room].set(h.host())
			shows(room, "2")
		}
		say("3")
		for room, p := range pages {
			shows(room, "3")
			if got := p.shows(); got != want {
				t.Errorf("%s shows %q; want %q", room, got, want)
			}
			routes[room].set("")
			c, _ := p.now()
			c.leaves(1000)
		}
	}
}
