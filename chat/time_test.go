package chat_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"teahouse/chat"
)

// bubble runs a test with a house on pipes, in fake time.
func bubble(t *testing.T, o houseOptions, test func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.pipes = true
		h := newHouse(t, o)
		test(t, h)
		h.stop()
	})
}

// mute has a client answer no pings, as if its network were gone.
func (g *guest) mute() { g.conn.SetPingHandler(func(string) error { return nil }) }

func TestPulledNetworkIsNoticed(t *testing.T) {
	t.Parallel()
	bubble(t, houseOptions{}, func(t *testing.T, h *house) {
		a, _ := h.hello("alice", "")
		a.join("room:r", "")
		b, _ := h.hello("bob", "")
		b.mute()
		b.join("room:r", "")
		a.want("online")
		pulled := time.Now()
		go func() { // bob's socket takes what comes and answers nothing
			for {
				if _, err := b.next(); err != nil {
					return
				}
			}
		}()
		f := a.want("online") // alice answers pings in ReadMessage
		if f.User != "bob" || string(f.Count) != "false" {
			t.Fatalf("got %+v", f)
		}
		if d := time.Since(pulled); d > 40*time.Second || d < 30*time.Second {
			t.Fatalf("gone after %v", d)
		}
		if s := h.hub.Stats(); s.Sessions != 1 || s.Connections != 1 {
			t.Fatalf("%+v", s)
		}
		a.conn.Close()
	})
}

func TestSilentClientsStayWhileTheyAnswerPings(t *testing.T) {
	t.Parallel()
	bubble(t, houseOptions{}, func(t *testing.T, h *house) {
		a, _ := h.hello("alice", "")
		pings := 0
		a.conn.SetPingHandler(func(data string) error {
			pings++
			return a.conn.WriteControl(10, []byte(data), time.Now().Add(time.Second)) // pong
		})
		go func() {
			time.Sleep(10 * time.Minute) // fake time
			h.publish("user:alice", 1)
		}()
		a.want("event")
		if pings < 24 || pings > 26 {
			t.Fatalf("%d pings in 10 minutes", pings)
		}
		a.conn.Close()
	})
}

func TestHelloMustCome(t *testing.T) {
	t.Parallel()
	bubble(t, houseOptions{}, func(t *testing.T, h *house) {
		begun := time.Now()
		g := h.connect()
		if _, err := g.next(); err == nil {
			t.Fatal("told something without a hello")
		}
		if d := time.Since(begun); d < 9*time.Second || d > 12*time.Second {
			t.Fatalf("closed after %v", d)
		}
	})
}

func TestTokenRunsOut(t *testing.T) {
	t.Parallel()
	auth := func(_ context.Context, user, token string) (chat.Identity, error) {
		if token != "good" {
			return chat.Identity{}, chat.Errorf(chat.CodeBadToken, "no")
		}
		return chat.Identity{User: user, Expires: time.Now().Add(90 * time.Second)}, nil
	}
	bubble(t, houseOptions{auth: auth}, func(t *testing.T, h *house) {
		begun := time.Now()
		g, _ := h.hello("alice", `"token":"good"`)
		if c := g.wantClose(); c.Code != 4106 {
			t.Fatalf("got %v", c)
		}
		if d := time.Since(begun); d < 89*time.Second || d > 92*time.Second {
			t.Fatalf("closed after %v", d)
		}
		g = h.connect()
		g.say(`{"op":"hello","user":"alice","token":"bad"}`)
		if c := g.wantClose(); c.Code != 4100 {
			t.Fatalf("got %v", c)
		}
	})
}

func TestSocketThatTakesNothingIsClosed(t *testing.T) {
	t.Parallel()
	bubble(t, houseOptions{}, func(t *testing.T, h *house) {
		h.hello("slow", "") // reads its welcome and nothing more: a pipe has no buffer
		begun := time.Now()
		h.publish("user:slow", 1)
		for h.hub.Stats().Connections > 0 {
			time.Sleep(time.Second) // fake time
		}
		if d := time.Since(begun); d < 14*time.Second || d > 17*time.Second {
			t.Fatalf("closed after %v", d)
		}
	})
}

func TestBehindForTooLong(t *testing.T) {
	t.Parallel()
	bubble(t, houseOptions{hub: chat.HubOptions{QueueBytes: 2000, RecentBytes: 1, Page: 5, PingWait: time.Hour}}, func(t *testing.T, h *house) {
		h.publish("room:r", 2000)
		g, _ := h.hello("slow", "")
		g.join("room:r", `"after":0`)
		begun := time.Now()
		last := int64(0)
		for {
			time.Sleep(time.Second) // fake time: one event a second
			f, err := g.next()
			if err != nil {
				break
			}
			if f.Op != "event" || f.Seq != last+1 {
				t.Fatalf("got %+v after %d", f, last)
			}
			last = f.Seq
		}
		if d := time.Since(begun); d < 2*time.Minute || d > 4*time.Minute {
			t.Fatalf("closed after %v, at %d", d, last)
		}
		if h.hub.Stats().Slow == 0 {
			t.Fatal("not counted as slow")
		}
	})
}

func TestSessionsAreTouched(t *testing.T) {
	t.Parallel()
	bubble(t, houseOptions{}, func(t *testing.T, h *house) {
		g, w := h.hello("alice", "")
		g.join("room:r", "")
		stored := func() chat.Session {
			s, err := h.store.Sessions(t.Context(), chat.SessionQuery{User: "alice"})
			if err != nil || len(s) != 1 || s[0].ID != w.Session {
				t.Fatalf("%v %+v", err, s)
			}
			return s[0]
		}
		time.Sleep(time.Second)
		first := stored()
		if first.Ended != 0 || first.Opened == 0 {
			t.Fatalf("%+v", first)
		}
		h.publish("room:r", 3)
		for range 3 {
			g.want("event")
		}
		time.Sleep(5 * time.Second)
		g.quiet()
		time.Sleep(time.Minute)
		if s := stored(); s.LastSeen <= first.LastSeen || s.Topics["room:r"] != 3 {
			t.Fatalf("%+v, before %+v", s, first)
		}
		g.conn.Close()
		time.Sleep(time.Second)
		if s := stored(); s.Ended == 0 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestIdleTopicsAreForgotten(t *testing.T) {
	t.Parallel()
	bubble(t, houseOptions{}, func(t *testing.T, h *house) {
		for i := range 20 {
			g, _ := h.hello(fmt.Sprint("u", i), "")
			g.join(fmt.Sprint("room:", i), "")
			g.conn.Close()
		}
		time.Sleep(15 * time.Minute)
		if s := h.hub.Stats(); s.Topics != 0 {
			t.Fatalf("%+v", s)
		}
	})
}
