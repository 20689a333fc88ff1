package chat_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

// FuzzResume drives the position and resume state machine with seeded
// scenarios: events in several topics, clients that are cut off anywhere,
// come back with what they hold, read slowly, send, leave and join; retention
// that removes what they have not seen. A client must never see an event
// twice or out of order, and never miss one without a reset.
func FuzzResume(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(seed, uint8(seed*20))
	}
	f.Fuzz(func(t *testing.T, seed uint64, shape uint8) { resume(t, seed, shape) })
}

func TestResumeScenarios(t *testing.T) {
	t.Parallel()
	n := 60
	if testing.Short() {
		n = 10
	}
	for i := range n {
		resume(t, rand.Uint64(), uint8(i))
	}
}

// traveller is a client that keeps a position for each topic.
type traveller struct {
	*guest
	user   string
	cursor map[string]int64 // the last seq it holds, by topic
	seen   map[string][]int64
	keys   []string // what it sent, for saying it again
	talks  bool     // it has joined the talk by itself
}

var resumeTopics = []string{"room:a", "room:b", "dm:u0:u1"}

func resume(t *testing.T, seed uint64, shape uint8) {
	rnd := rand.New(rand.NewPCG(seed, uint64(shape)))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d shape %d", seed, shape)
		}
	}()
	h := newHouse(t, houseOptions{hub: chat.HubOptions{
		Limits: fast(), Page: 1 + rnd.IntN(8), ReplayMax: 20 + rnd.IntN(100),
		QueueBytes: 200 + rnd.IntN(4000), RecentBytes: 1 + rnd.IntN(20000), Replays: 1 + rnd.IntN(3),
	}})
	defer h.stop()
	travellers := make([]*traveller, 3)
	for i := range travellers {
		travellers[i] = &traveller{user: fmt.Sprint("u", i), cursor: map[string]int64{}, seen: map[string][]int64{}}
	}
	// Somebody talks all the time, so that catching up has to race the live
	// stream.
	var talking sync.WaitGroup
	topics := make([]string, 100+rnd.IntN(200))
	for i := range topics {
		topics[i] = resumeTopics[rnd.IntN(len(resumeTopics))]
	}
	talking.Go(func() {
		for _, topic := range topics {
			_, _ = h.hub.Publish(t.Context(), []chat.Event{{Topic: topic, Kind: "message", Body: []byte("1")}})
		}
	})
	defer talking.Wait()
	key := 0
	for range 30 + rnd.IntN(30) {
		c := travellers[rnd.IntN(len(travellers))]
		switch rnd.IntN(8) {
		case 0, 1:
			h.publish(resumeTopics[rnd.IntN(len(resumeTopics))], 1+rnd.IntN(30))
		case 2: // cut off
			if c.guest != nil {
				c.conn.Close()
				c.guest = nil
			}
		case 3:
			if c.guest == nil {
				c.comeBack(h, rnd)
			}
		case 4, 5:
			if c.guest == nil {
				continue
			}
			if n := len(c.keys); n > 0 && rnd.IntN(4) == 0 {
				c.say("%s", c.keys[rnd.IntN(n)])
				continue
			}
			key++
			topic := resumeTopics[rnd.IntN(len(resumeTopics))]
			if c.user == "u2" {
				topic = resumeTopics[rnd.IntN(2)]
			}
			c.keys = append(c.keys, fmt.Sprintf(`{"op":"send","id":%d,"topic":%q,"key":"k%d","body":1}`, key, topic, key))
			c.say("%s", c.keys[len(c.keys)-1])
		case 6: // read a little
			if c.guest != nil {
				for range rnd.IntN(6) {
					c.say(`{"op":"ping","id":1}`)
					if !c.readUntilPong(t) {
						break
					}
				}
			}
		case 7:
			if c.guest != nil && c.user != "u2" && rnd.IntN(2) == 0 {
				c.say(`{"op":"join","id":3,"topic":"dm:u0:u1","after":%d}`, c.cursor["dm:u0:u1"])
			}
			if rnd.IntN(4) == 0 {
				head, _ := h.store.Head(t.Context())
				h.store.Prune(resumeTopics[rnd.IntN(2)], rnd.Int64N(head.Seq+1))
			}
		}
		if t.Failed() {
			return
		}
	}
	defer func() {
		for _, c := range travellers {
			if c.guest != nil {
				c.conn.Close()
			}
		}
	}()
	talking.Wait()
	// In the end everybody comes back and reads up to the head of each topic.
	for _, c := range travellers {
		if c.guest == nil {
			c.comeBack(h, rnd)
		}
		for _, topic := range resumeTopics {
			if strings.HasPrefix(topic, "dm:") && c.user == "u2" {
				continue
			}
			newest := int64(0)
			if events, _ := h.store.Before(t.Context(), topic, 0, 1); len(events) > 0 {
				newest = events[0].Seq
			}
			_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			for c.cursor[topic] < newest && !t.Failed() {
				f, err := c.next()
				if err != nil {
					t.Errorf("%s: %s: %d of %d, joined %t: %v; seen %v", c.user, topic, c.cursor[topic], newest, c.talks, err, c.seen[topic])
					return
				}
				c.take(t, f)
			}
			c.compare(t, h, topic)
		}
	}
}

// comeBack connects with the position that the client holds.
func (c *traveller) comeBack(h *house, rnd *rand.Rand) {
	head, _ := h.store.Head(h.t.Context())
	position := ""
	if at, ok := c.cursor["position"]; ok {
		position = fmt.Sprintf(`"position":{"epoch":%q,"seq":%d}`, head.Epoch, at)
	}
	var w frame
	c.guest, w = h.hello(c.user, position)
	c.talks = false
	// By the inbox it had the talk up to there, however far a join then came.
	c.cursor["dm:u0:u1"] = max(c.cursor["dm:u0:u1"], c.cursor["position"])
	if position == "" {
		// From here on nothing of its talks may be missed.
		c.cursor["position"], c.cursor["first"] = w.Position.Seq, w.Position.Seq
		c.cursor["dm:u0:u1"] = w.Position.Seq
	}
	for _, room := range resumeTopics[:2] {
		if _, ok := c.cursor[room]; !ok {
			c.cursor[room] = 0
		}
		c.say(`{"op":"join","id":2,"topic":%q,"after":%d}`, room, c.cursor[room])
	}
}

func (c *traveller) readUntilPong(t *testing.T) bool {
	for {
		f, err := c.next()
		if err != nil {
			var closed *websocket.CloseError
			if !errors.As(err, &closed) || closed.Code >= 4100 {
				t.Errorf("%s: %v", c.user, err)
			}
			c.guest = nil
			return false
		}
		if f.Op == "pong" {
			return true
		}
		c.take(t, f)
	}
}

// take is what a client does with a frame.
func (c *traveller) take(t *testing.T, f frame) {
	switch f.Op {
	case "event", "ack":
		if f.Again {
			return // the event has come, or comes, in its place
		}
		stream := f.Topic
		if strings.HasPrefix(f.Topic, "dm:") && !c.talks { // inbox and talks have one position
			stream = "position"
		}
		if f.Seq <= c.cursor[stream] {
			t.Errorf("%s: %s: %s %d after %d of %s", c.user, f.Topic, f.Op, f.Seq, c.cursor[stream], stream)
		}
		c.cursor[stream] = f.Seq
		c.cursor[f.Topic] = max(f.Seq, c.cursor[f.Topic])
		c.seen[f.Topic] = append(c.seen[f.Topic], f.Seq)
	case "joined":
		if strings.HasPrefix(f.Topic, "dm:") {
			c.talks, c.cursor[f.Topic] = true, f.After
		}
	case "reset":
		if f.After < c.cursor[f.Topic] && f.Reason != "epoch" {
			t.Errorf("%s: %s: reset to %d behind the cursor %d", c.user, f.Topic, f.After, c.cursor[f.Topic])
		}
		if strings.HasPrefix(f.Topic, "user:") {
			c.cursor["position"] = f.After
			if c.talks {
				return
			}
			f.Topic = "dm:u0:u1"
		}
		c.seen[f.Topic] = append(c.seen[f.Topic], -f.After)
		c.cursor[f.Topic] = f.After
	case "error":
		t.Errorf("%s: %s %s", c.user, f.Code, f.Message)
	}
}

// compare holds what the client saw of a topic against the log: everything
// that is still there, but for what a reset skipped.
func (c *traveller) compare(t *testing.T, h *house, topic string) {
	t.Helper()
	log, _ := h.store.Before(t.Context(), topic, 0, 1<<20)
	seen, skipped := map[int64]bool{}, int64(0)
	for _, seq := range c.seen[topic] {
		if seq < 0 {
			skipped = -seq
		}
		seen[seq] = true
	}
	first := int64(0)
	if strings.HasPrefix(topic, "dm:") {
		first = c.cursor["first"] // the end of the log at its first hello
	}
	for _, e := range log {
		if e.Seq > first && e.Seq > skipped && !seen[e.Seq] && e.Seq <= c.cursor[topic] {
			t.Errorf("%s: %s: event %d of %q was missed", c.user, topic, e.Seq, e.From)
		}
	}
}

// racingStore lets something happen between a replay's read of the log and
// what the catch-up makes of it.
type racingStore struct {
	*storetest.Memory
	meanwhile func()
}

func (s *racingStore) Replay(ctx context.Context, topics []string, after int64, limit int) ([]chat.Event, error) {
	events, err := s.Memory.Replay(ctx, topics, after, limit)
	s.meanwhile()
	return events, err
}

func TestWhatIsToldDuringAReplayIsNotMissed(t *testing.T) {
	t.Parallel()
	store := &racingStore{}
	h := newHouse(t, houseOptions{
		hub:  chat.HubOptions{RecentBytes: 1, Page: 4},
		wrap: func(m *storetest.Memory) chat.Store { store.Memory = m; return store },
	})
	left := 6
	store.meanwhile = func() {
		if left > 0 {
			left--
			h.publish("room:r", 1) // returns when the hub has told it
		}
	}
	h.publish("room:r", 3)
	g, _ := h.hello("alice", "")
	g.join("room:r", `"after":0`)
	for seq := int64(1); seq <= 9; seq++ {
		if f := g.want("event"); f.Seq != seq {
			t.Fatalf("got %+v, want %d", f, seq)
		}
	}
	h.publish("room:r", 1)
	if f := g.want("event"); f.Seq != 10 {
		t.Fatalf("got %+v", f)
	}
	g.quiet()
}
