package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Nothing acknowledged is lost, nothing comes twice, and the order is one for
// all: whatever breaks.

// little are flags by which the server keeps next to nothing in memory: who
// comes back is served from the log, and who does not read for a moment falls
// behind.
var little = []string{"--send-rate=0", "--recent-bytes=2000", "--queue-bytes=4000"}

// TestKilled: the server is killed under load, again and again.
func TestKilled(t *testing.T) {
	t.Parallel()
	killed(t, number("ROUNDS", 50, 5))
}

// TestKilledNormal: normal durability may lose something when the power goes,
// but nothing in a crash of the program.
func TestKilledNormal(t *testing.T) {
	t.Parallel()
	killed(t, number("ROUNDS_NORMAL", 8, 2), "--durability=normal")
}

func killed(t *testing.T, rounds int, flags ...string) {
	rng := seeded(t)
	dir := t.TempDir()
	p := newPlace()
	start := func(round int) *house {
		args := slices.Concat(flags, little)
		if round%2 == 1 {
			args = slices.Concat(flags, []string{"--send-rate=0"})
		}
		h := spawn(t, dir, args...)
		p.set(h.host())
		return h
	}
	h := start(0)
	c := newCrowd(t, rng, 20, p)
	for round := range rounds {
		// Some die while everybody is coming back, some in full swing.
		c.acknowledged(rng.IntN(120))
		h.kill()
		p.set("")
		h = start(round + 1)
	}
	c.finish(h)
	c.leave()
	if code := h.stop(); code != exitOK {
		t.Errorf("stop: %d: %s", code, h.stderr)
	}
}

// TestCut: connections break at any byte, in either direction.
func TestCut(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	h := open(t, t.TempDir(), little...)
	var mu sync.Mutex
	plan := rand.New(rand.NewPCG(rng.Uint64(), 2))
	r := newRelay(t, func() (string, error) { return h.host(), nil }, func() cut {
		mu.Lock()
		defer mu.Unlock()
		bytes := func() int { return int(math.Exp(plan.Float64() * math.Log(60_000))) }
		c := cut{reset: plan.IntN(2) == 0}
		switch plan.IntN(3) {
		case 0:
			c.up = bytes()
		case 1:
			c.down = bytes()
		default:
			c.up, c.down = bytes(), bytes()
		}
		return c
	})
	c := newCrowd(t, rng, 20, r.place())
	cuts := int64(number("CUTS", 400, 80))
	eventually(t, "the cuts", func() bool { return r.cuts.Load() >= cuts })
	r.calm.Store(true)
	c.finish(h)
	t.Logf("%d connections were cut", r.cuts.Load())
	c.leave()
}

// flood sends n messages to a room from so many connections, and returns when
// all are acknowledged.
func flood(t testing.TB, h *house, room string, connections, n, size int) {
	t.Helper()
	var wg sync.WaitGroup
	text := strings.Repeat("x", size)
	for i := range connections {
		wg.Go(func() {
			conn, _, err := websocket.DefaultDialer.Dial(h.ws(), nil)
			if err != nil {
				t.Errorf("flood: %v", err)
				return
			}
			defer conn.Close()
			_ = conn.WriteJSON(map[string]any{"op": "hello", "user": fmt.Sprintf("flood-%d", i)})
			acks := 0
			for sent := 0; acks < n/connections; {
				for ; sent < n/connections && sent < acks+16; sent++ {
					_ = conn.WriteJSON(map[string]any{"op": "send", "topic": room, "body": map[string]string{"text": text}})
				}
				_, b, err := conn.ReadMessage()
				switch {
				case err != nil:
					t.Errorf("flood: %v", err)
					return
				case strings.HasPrefix(string(b), `{"op":"ack"`):
					acks++
				case strings.HasPrefix(string(b), `{"op":"error"`):
					t.Errorf("flood: %s", b)
					return
				}
			}
		})
	}
	wg.Wait()
}

// follows holds what a guest was told in a room, after a position, against
// the log.
func follows(t testing.TB, h *house, told []frame, room string, after int64) {
	t.Helper()
	var want []frame
	for _, f := range h.history(room) {
		if f.Seq > after {
			want = append(want, f)
		}
	}
	if len(told) != len(want) {
		t.Errorf("%d events were told of %d", len(told), len(want))
	}
	for i := range min(len(told), len(want)) {
		if told[i].Seq != want[i].Seq || string(told[i].Body) != string(want[i].Body) {
			t.Fatalf("event %d of %d is %.200s; want %d", i, len(want), told[i], want[i].Seq)
		}
	}
}

// TestFarBehind: a reader comes back 10,000 events later, while others go on.
func TestFarBehind(t *testing.T) {
	t.Parallel()
	events := number("BEHIND", 10_000, 2_000)
	h := open(t, t.TempDir(), "--send-rate=0", "--recent-bytes=65536") // so that the log itself is read
	bob, w := enter(t, h.ws(), "bob")
	bob.join(lobby)
	seq := bob.post(lobby, "b", "back soon").Seq
	bob.hangUp()
	flood(t, h, lobby, 20, events, 50)

	var publishing sync.WaitGroup
	publishing.Go(func() { flood(t, h, lobby, 4, events/5, 50) })
	bob, _ = enter(t, h.ws(), "bob", "position", position{w.Position.Epoch, seq})
	bob.join(lobby, "after", seq)
	publishing.Wait()
	h.call("POST", "/api/v1/events", map[string]any{"topic": lobby, "key": "last", "body": 1})
	bob.expectEvent(lobby, "last")
	follows(t, h, bob.all("event", lobby), lobby, seq)
	if n := len(bob.all("event", lobby)); n != events+events/5+1 {
		t.Errorf("%d events", n)
	}
	if resets := bob.all("reset", lobby); len(resets) != 0 {
		t.Errorf("resets: %v", resets)
	}
}

// TestSlowReader: who does not read for a while holds up nobody, and is then
// served from the log.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--send-rate=0", "--queue-bytes=16384", "--recent-bytes=65536")
	dialer := websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		conn, err := net.Dial(network, addr)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(64 << 10) // and no more
		}
		return conn, err
	}}
	slow, _, err := dialer.Dial(h.ws(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	_ = slow.WriteJSON(map[string]any{"op": "hello", "user": "slow"})
	_ = slow.WriteJSON(map[string]any{"op": "join", "topic": lobby})
	quick, _ := enter(t, h.ws(), "quick")
	eventually(t, "the slow one's arrival", func() bool { return len(quick.ask("presence", "topic", lobby).Users) == 1 })
	for h.metric("teahouse_slow_clients_total") == 0 { // more than the sockets hold
		flood(t, h, lobby, 20, 500, 1000)
	}
	flood(t, h, lobby, 20, 500, 1000)
	quick.join(lobby)
	h.call("POST", "/api/v1/events", map[string]any{"topic": lobby, "key": "last", "body": 1})
	quick.expectEvent(lobby, "last")
	if h.metric("teahouse_subscriptions_behind") != 1 {
		t.Errorf("the slow reader is not behind: the test proves nothing")
	}

	var told []frame
	_ = slow.SetReadDeadline(time.Now().Add(patience))
	for len(told) == 0 || told[len(told)-1].Key != "last" {
		_, b, err := slow.ReadMessage()
		if err != nil {
			t.Fatalf("after %d events: %v", len(told), err)
		}
		f := frame{raw: string(b)}
		if err := json.Unmarshal(b, &f); err != nil {
			t.Fatal(err)
		}
		switch f.Op {
		case "event":
			told = append(told, f)
		case "reset", "error":
			t.Fatalf("the slow reader was told %s", f)
		}
	}
	follows(t, h, told, lobby, 0)
}

// TestStopUnderLoad: a stop in order says goodbye to everybody, loses nothing
// and ends well.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	dir := t.TempDir()
	p := newPlace()
	c := (*crowd)(nil)
	for range number("STOPS", 3, 1) {
		h := spawn(t, dir, "--send-rate=0")
		p.set(h.host())
		if c == nil {
			c = newCrowd(t, rng, 20, p)
		}
		eventually(t, "everybody", func() bool { return c.open.Load() == 20 })
		c.acknowledged(200)
		p.set("")
		if code := h.stop(); code != exitOK {
			t.Errorf("the stop ended with code %d: %s", code, h.stderr)
		}
		eventually(t, "the end of all connections", func() bool { return c.open.Load() == 0 })
		for _, m := range c.members {
			m.mu.Lock()
			for code, n := range m.endings {
				if code != 4002 {
					t.Errorf("%s: %d connections ended with %d; want 4002", m.user, n, code)
				}
			}
			m.mu.Unlock()
		}
	}
	h := spawn(t, dir, "--send-rate=0")
	p.set(h.host())
	c.finish(h)
	c.leave()
}

// TestStopCutOff: a client that is not there any more does not hold up a stop
// for longer than the operator allows, and the exit code tells.
func TestStopCutOff(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--stop-timeout=300ms")
	wire := newRelay(t, func() (string, error) { return h.host(), nil }, nil)
	bob, _ := enter(t, "ws://"+wire.addr()+"/ws", "bob")
	bob.join(lobby)
	wire.freeze()
	alice, _ := enter(t, h.ws(), "alice")
	alice.post(lobby, "1", "x")
	if code := h.stop(); code != exitCutOff || !strings.Contains(h.stderr.String(), "--stop-timeout") {
		t.Errorf("the stop ended with code %d: %s", code, h.stderr)
	}
	alice.closedWith(4002)
	h = open(t, h.data)
	if log := h.history(lobby); len(log) != 1 {
		t.Errorf("the log: %v", log)
	}
}
