package chat_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"teahouse/chat"
)

// TestLegacyPresence: a pulled network is news within 40 s; a second device, a
// client without a name and one that only looks are none.
func TestLegacyPresence(t *testing.T) {
	t.Parallel()
	open := func(h chat.Handshake) chat.Opening {
		o := plainOpening(h)
		if h.Query.Has("quiet") {
			o.Commands[1].Quiet = true
		}
		if h.Query.Get("user") == "" {
			o.Commands, o.Rules.Nameless, o.Rules.HelloWait = nil, true, -1
		}
		return o
	}
	plainBubble(t, houseOptions{open: open}, func(t *testing.T, h *house) {
		a := h.call("user=alice")
		a.expects() // in the room before he comes
		b := h.call("user=bob")
		a.expects("+bob")
		b2 := h.call("user=bob&device=phone")
		quiet, nameless := h.call("user=quiet&quiet"), h.call("")
		a.expects()
		nameless.says("hello")
		a.expects(": hello")
		nameless.expects()
		quiet.expects(": hello")
		quiet.leaves(websocket.CloseNormalClosure)
		nameless.leaves(websocket.CloseNormalClosure)
		b2.leaves(websocket.CloseNormalClosure)
		a.expects()
		pulled := time.Now()
		b.dies()
		for time.Since(pulled) < time.Minute {
			time.Sleep(moment)
			if got := a.heard(); len(got) > 0 {
				if !slices.Equal(got, []string{"-bob"}) || time.Since(pulled) > 40*time.Second {
					t.Errorf("%q after %s", got, time.Since(pulled))
				}
				return
			}
		}
		t.Error("bob never goes")
	})
}

// TestLegacySockets: sockets that pile up for one device are closed quietly,
// the newest stay; a user's other devices are not counted.
func TestLegacySockets(t *testing.T) {
	t.Parallel()
	plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
		w := h.call("user=witness")
		w.expects() // in the room before she comes
		var piled []*caller
		phone := h.call("user=alice&device=phone")
		w.expects("+alice")
		for range 10 {
			piled = append(piled, h.call("user=alice&device=web"))
			time.Sleep(moment)
		}
		for i, c := range piled[:7] {
			if code := c.code(); code != websocket.CloseNormalClosure {
				t.Errorf("socket %d ended with %d", i, code)
			}
		}
		if s := h.hub.Stats(); s.Sessions != 5 {
			t.Errorf("%d sessions", s.Sessions)
		}
		w.expects() // quietly
		h.line("tea")
		for _, c := range append(piled[7:], phone) {
			c.expects("house: tea")
		}
	})
}

// TestLegacyHelloWait: who may stay without a hello stays, and is pinged.
func TestLegacyHelloWait(t *testing.T) {
	t.Parallel()
	open := func(chat.Handshake) chat.Opening {
		return chat.Opening{Dialect: plain{}, Rules: chat.Rules{Lenient: true, HelloWait: -1, Beat: 20 * time.Second}}
	}
	plainBubble(t, houseOptions{open: open}, func(t *testing.T, h *house) {
		a := h.call("")
		dead := h.call("")
		dead.dies()
		time.Sleep(time.Hour + 5*time.Second) // between two beats
		if got := a.heard(); len(got) < 178 || len(got) > 180 || got[0] != "beat" {
			t.Errorf("%d beats in an hour", len(got))
		}
		a.says("nothing before hello", "?")
		a.expects("pong ")
		if s := h.hub.Stats(); s.Connections != 1 {
			t.Errorf("%d connections", s.Connections)
		}
	})
}

// TestLegacyIdle: who says nothing becomes a listener; a first frame in the
// very moment counts once.
func TestLegacyIdle(t *testing.T) {
	t.Parallel()
	open := func(h chat.Handshake) chat.Opening {
		listener := func() chat.Opening { return plainOpening(h) }
		o := listener()
		return chat.Opening{
			Dialect: plain{&o},
			Rules:   chat.Rules{Lenient: true, HelloWait: -1, Idle: time.Second, Then: listener},
		}
	}
	plainBubble(t, houseOptions{open: open}, func(t *testing.T, h *house) {
		a, b := h.call("user=alice"), h.call("user=bob")
		h.line("before")
		b.says("?")
		b.expects("pong ")
		a.expects()
		time.Sleep(time.Second)
		a.expects("house: before")
		h.line("after")
		a.expects("house: after")
		b.expects() // it had spoken
		if s := h.hub.Stats(); s.Sessions != 1 || s.Connections != 2 {
			t.Errorf("%+v", s)
		}
		// One that is gone before is nobody.
		gone := h.call("user=gone")
		_ = gone.conn.NetConn().Close()
		time.Sleep(2 * time.Second)
		a.expects()
	})
}

// TestLegacyRefused: who is refused again and again is told so each time, and
// closed when it becomes too much; who tries at an old client's pace never is.
func TestLegacyRefused(t *testing.T) {
	t.Parallel()
	open := func(chat.Handshake) chat.Opening {
		return chat.Opening{
			Dialect: plain{},
			Authenticate: func(_ context.Context, user, token string) (chat.Identity, error) {
				if token != "good" {
					return chat.Identity{}, chat.Errorf(chat.CodeBadToken, "no")
				}
				return chat.Identity{User: user}, nil
			},
			Rules: chat.Rules{Lenient: true, Rebind: true, HelloWait: -1},
		}
	}
	plainBubble(t, houseOptions{open: open}, func(t *testing.T, h *house) {
		slow, quick := h.call(""), h.call("")
		for range 2000 {
			slow.says("@alice bad")
			time.Sleep(5 * time.Second)
		}
		if got := slow.heard(); len(got) != 2000 {
			t.Fatalf("%d refusals of 2000", len(got))
		}
		slow.says("@alice good")
		slow.expects("welcome alice")
		begun := time.Now()
		go quick.says(slices.Repeat([]string{"@alice bad"}, 10_000)...)
		if code := quick.code(); code != 4005 {
			t.Errorf("closed with %d: %v", code, quick.end)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("after %s", took)
		}
		if n := len(quick.heard()); n < 10 || n > 100 {
			t.Errorf("%d refusals before", n)
		}
		// Nobody is banned: the next connection is let in.
		again := h.call("")
		again.says("@alice good")
		again.expects("welcome alice")
	})
}

// TestLegacyPace: who sends too fast is slowed down, and nothing is lost; the
// others go on meanwhile, and it is not taken for dead.
func TestLegacyPace(t *testing.T) {
	t.Parallel()
	plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
		a := h.call("user=alice")
		a.expects() // in the room before he comes
		b := h.call("user=bob")
		a.expects("+bob")
		begun := time.Now()
		var lines, want []string
		for n := range 1000 {
			lines = append(lines, fmt.Sprint("line ", n))
			want = append(want, "alice: "+lines[n])
		}
		go a.says(lines...)
		time.Sleep(time.Second)
		b.says("me too")
		time.Sleep(moment)
		if got := b.heard(); len(got) < 20 || len(got) > 40 {
			t.Errorf("%d lines in a second", len(got))
		} else {
			want = want[len(got):]
		}
		for len(want) > 0 {
			time.Sleep(moment)
			got := b.heard()
			if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
				t.Fatalf("%q of %q", got, want)
			}
			want = want[len(got):]
			if time.Since(begun) > 5*time.Minute {
				t.Fatalf("%d lines never came", len(want))
			}
		}
		if took := time.Since(begun); took < 90*time.Second {
			t.Errorf("1000 lines in %s", took)
		}
		a.expects("bob: me too")
	})
}

// TestLegacyOdd: what makes no sense never ends a lenient connection, but for
// what cannot be read on: that is closed with a reason.
func TestLegacyOdd(t *testing.T) {
	t.Parallel()
	plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
		a := h.call("user=alice")
		for range 100 {
			a.says("junk", "")
			_ = a.conn.WriteMessage(websocket.BinaryMessage, []byte{0xff, 0})
		}
		a.says("?")
		a.expects("pong alice")
		for _, c := range []struct {
			frame string
			code  int
		}{{"\xff\xfe", 1007}, {strings.Repeat("x", 1<<20), 4104}, {strings.Repeat("x", 20<<10), 4104}} {
			b := h.call("user=bob")
			go b.says(c.frame)
			if code := b.code(); code != c.code {
				t.Errorf("%.10q: closed with %d: %v", c.frame, code, b.end)
			} else if b.end.(*websocket.CloseError).Text == "" {
				t.Errorf("%.10q: no reason", c.frame)
			}
		}
		time.Sleep(moment)
		a.heard()
		a.says("?")
		a.expects("pong alice")
	})
}

// TestLegacyPinged: who says something all the time is pinged all the same,
// because proxies look at what the server says.
func TestLegacyPinged(t *testing.T) {
	t.Parallel()
	plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
		a := h.call("user=alice")
		for range 20 { // 200 s
			time.Sleep(10 * time.Second)
			a.says("?") // makes no sense: a sign of life
		}
		if pings := a.asked.Load(); pings < 200/25-1 {
			t.Errorf("%d pings in 200 s", pings)
		}
	})
}

// TestLegacyPings: the server is never silent for longer than a proxy bears,
// whether the client talks or not, and whatever it was told a proxy bears.
func TestLegacyPings(t *testing.T) {
	t.Parallel()
	for every, most := range map[time.Duration]time.Duration{0: 25 * time.Second, 2 * time.Second: 3 * time.Second, 40 * time.Second: 41 * time.Second} {
		for _, talks := range []bool{false, true} {
			plainBubble(t, houseOptions{hub: chat.HubOptions{PingEvery: every}}, func(t *testing.T, h *house) {
				a := h.call("user=alice")
				for range 40 {
					time.Sleep(15 * time.Second)
					if talks {
						a.says("") // a heartbeat
					}
				}
				a.mu.Lock()
				defer a.mu.Unlock()
				if hush := max(a.hush, time.Since(a.ping)); hush > most {
					t.Errorf("every %s, talks %t: silent for %s", every, talks, hush)
				}
			})
		}
	}
}
