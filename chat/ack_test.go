package chat_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

// TestAckDuringReplay: an ack stands in its event's place also while a replay
// runs: what is older comes first, though the event was stored long before
// the replay came by.
func TestAckDuringReplay(t *testing.T) {
	t.Parallel()
	h, g, read := heldReplay(t)
	g.say(`{"op":"send","id":7,"topic":"room:r","key":"mine","body":1}`)
	told(t, h, 4)
	h.publish("room:r", 1)
	close(read)
	for _, seq := range []int64{1, 2, 3, 4, 6} { // 5 is elsewhere
		f, err := g.next()
		if err != nil || f.Seq != seq || (f.Op == "ack") != (seq == 4) {
			t.Fatalf("%+v %v, want seq %d", f, err, seq)
		}
		if f.Op == "ack" && (f.Again || f.ID != 7 || f.Key != "mine") {
			t.Errorf("the ack: %+v", f)
		}
	}
	g.say(`{"op":"send","id":8,"topic":"room:r","key":"mine","body":1}`)
	if f := g.want("ack"); f.Seq != 4 || !f.Again || f.ID != 8 {
		t.Errorf("the ack of a repeated send: %+v", f)
	}
	g.quiet()
}

// TestAckOfALeftTopic: who leaves before the replay came to its own event gets
// the ack all the same.
func TestAckOfALeftTopic(t *testing.T) {
	t.Parallel()
	h, g, read := heldReplay(t)
	g.say(`{"op":"send","id":7,"topic":"room:r","key":"mine","body":1}`)
	told(t, h, 4)
	g.say(`{"op":"leave","id":9,"topic":"room:r"}`)
	if f := g.want("ack"); f.Seq != 4 || f.ID != 7 {
		t.Errorf("the ack: %+v", f)
	}
	g.want("left")
	close(read)
	g.say(`{"op":"ping","id":10}`)
	for {
		f, err := g.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Op == "pong" {
			break
		}
		if f.Seq >= 4 {
			t.Errorf("after it left: %+v", f)
		}
	}
}

// heldReplay is a house whose log holds three events of room:r, and a guest
// who has joined it from the beginning; its replay stands still in the read of
// the log until the channel is closed.
func heldReplay(t *testing.T) (*house, *guest, chan struct{}) {
	t.Helper()
	store := &racingStore{}
	h := newHouse(t, houseOptions{
		hub:  chat.HubOptions{RecentBytes: 1, Page: 4, Limits: fast()},
		wrap: func(m *storetest.Memory) chat.Store { store.Memory = m; return store },
	})
	h.publish("room:r", 3)
	read := make(chan struct{})
	reading := make(chan struct{}, 100)
	store.meanwhile = func() {
		reading <- struct{}{}
		<-read
	}
	g, _ := h.hello("alice", "")
	g.say(`{"op":"join","id":2,"topic":"room:r","after":0}`)
	g.want("joined")
	select {
	case <-reading:
	case <-time.After(10 * time.Second):
		t.Fatal("no replay began")
	}
	return h, g, read
}

// told waits until the hub has told everything up to seq.
func told(t *testing.T, h *house, seq int64) {
	t.Helper()
	for range 1000 {
		if head, err := h.store.Head(t.Context()); err != nil {
			t.Fatal(err)
		} else if head.Seq >= seq {
			h.publish("room:elsewhere", 1) // returns when it is told, and all before it
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("seq %d was not stored", seq)
}

// TestJoinAfterAndRecent: with both, the replay begins at the earlier of the
// two, so that a page is full and nothing missed is left out.
func TestJoinAfterAndRecent(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	h.publish("room:r", 10)
	for _, c := range []struct {
		at    string
		first int64
	}{
		{`"after":2,"recent":3`, 3},
		{`"after":9,"recent":3`, 8},
		{`"after":7,"recent":3`, 8},
		{`"after":10,"recent":20`, 1},
		{`"after":0,"recent":1`, 1},
	} {
		g, _ := h.hello("alice", "")
		g.say(`{"op":"join","id":2,"topic":"room:r",%s}`, c.at)
		if f := g.want("joined"); f.After != c.first-1 {
			t.Errorf("%s: joined after %d", c.at, f.After)
		}
		for seq := c.first; seq <= 10; seq++ {
			if f := g.want("event"); f.Seq != seq {
				t.Fatalf("%s: got %d, want %d", c.at, f.Seq, seq)
			}
		}
		g.quiet()
	}
	// A place of another log is reset, whatever was asked beside it.
	g, _ := h.hello("alice", `"position":{"epoch":"gone","seq":5}`)
	g.want("reset")
	g.say(`{"op":"join","id":2,"topic":"room:r","after":2,"recent":3}`)
	g.want("joined")
	if f := g.want("reset"); f.Reason != "epoch" {
		t.Errorf("%+v", f)
	}
}

// firstLook runs something after the first read of the newest events.
type firstLook struct {
	*storetest.Memory
	then atomic.Pointer[func()]
}

func (s *firstLook) Before(ctx context.Context, topic string, seq int64, limit int) ([]chat.Event, error) {
	events, err := s.Memory.Before(ctx, topic, seq, limit)
	if then := s.then.Swap(nil); then != nil {
		(*then)()
	}
	return events, err
}

// TestJoinRecentOfAnEmptyRoom: what is said first in a room while somebody
// joins it is recent, too.
func TestJoinRecentOfAnEmptyRoom(t *testing.T) {
	t.Parallel()
	store := &firstLook{}
	h := newHouse(t, houseOptions{wrap: func(m *storetest.Memory) chat.Store { store.Memory = m; return store }})
	g, _ := h.hello("alice", "")
	first := func() { h.publish("room:r", 1) }
	store.then.Store(&first)
	g.join("room:r", `"recent":5`)
	if f := g.want("event"); f.Seq != 1 {
		t.Fatalf("got %+v", f)
	}
	h.publish("room:r", 1)
	if f := g.want("event"); f.Seq != 2 {
		t.Fatalf("got %+v", f)
	}
	g.quiet()
}

// TestAckBeforeReset: who comes with the place of another log and sends at once
// is told the ack in its place in this log, whatever number the place had.
func TestAckBeforeReset(t *testing.T) {
	t.Parallel()
	for range 50 {
		h := newHouse(t, houseOptions{hub: chat.HubOptions{Limits: fast()}})
		g, _ := h.hello("alice", `"position":{"epoch":"gone","seq":100}`)
		g.want("reset")
		g.say(`{"op":"join","id":2,"topic":"room:r","after":100}`)
		g.say(`{"op":"send","id":7,"topic":"room:r","key":"mine","body":1}`)
		g.want("joined")
		for acked, reset := false, false; !acked; {
			f, err := g.next()
			switch {
			case err != nil:
				t.Fatal(err)
			case f.Op == "reset":
				reset = true
			case f.Op != "ack" || f.Again || !reset:
				t.Fatalf("%+v, after the reset: %t", f, reset)
			default:
				acked = true
			}
		}
		g.conn.Close()
		h.stop()
	}
}
