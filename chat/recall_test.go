package chat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

const gone = `{"recalled":true}`

// recall says a recall and returns the answer. Before it others may come and
// go, or recall as well.
func (g *guest) recall(topic, key string, seq int64) frame {
	g.t.Helper()
	g.say(`{"op":"send","id":7,"topic":%q,"key":%q,"kind":"message.recalled","body":{"seq":%d,"more":"x"}}`, topic, key, seq)
	for {
		switch f, err := g.next(); {
		case err != nil:
			g.t.Fatalf("waiting for the answer to a recall: %v", err)
		case f.ID == 7:
			return f
		case f.Op != "online" && f.Kind != chat.KindRecalled:
			g.t.Fatalf("the recall was answered by %+v", f)
		}
	}
}

func (f frame) takesBack(seq int64) bool {
	return f.Op == "event" && f.Kind == chat.KindRecalled && string(f.Body) == fmt.Sprintf(`{"seq":%d}`, seq)
}

func TestRecall(t *testing.T) {
	t.Parallel()
	var later atomic.Int64 // ns after the real clock
	store := storetest.NewMemory(func() time.Time { return time.Now().Add(time.Duration(later.Load())) })
	h := newHouse(t, houseOptions{store: store, hub: chat.HubOptions{Limits: fast()}})
	a, _ := h.hello("alice", `"device":"phone"`)
	a.join("room:r", "")
	a2, _ := h.hello("alice", `"device":"desk"`)
	a2.join("room:r", "")
	b, _ := h.hello("bob", "")
	b.join("room:r", "")
	a.want("online")
	a2.want("online")
	first, second := a.send("room:r", "k1", "secret"), a.send("room:r", "k2", "kept")
	for _, g := range []*guest{a2, b} {
		g.want("event")
		g.want("event")
	}
	if f := b.recall("room:r", "b1", first.Seq); f.Code != "forbidden" {
		t.Errorf("another's message: %+v", f)
	}
	if f := a.recall("room:other", "b2", first.Seq); f.Code != "not_found" {
		t.Errorf("of another topic: %+v", f)
	}
	if f := a.recall("room:r", "b3", 0); f.Code != "bad_request" {
		t.Errorf("of nothing: %+v", f)
	}
	ack := a.recall("room:r", "r1", first.Seq)
	if ack.Op != "ack" || ack.Seq != second.Seq+1 || ack.Again {
		t.Fatalf("the recall was answered by %+v", ack)
	}
	for _, g := range []*guest{a2, b} {
		if f := g.want("event"); !f.takesBack(first.Seq) || f.Seq != ack.Seq || f.From != "alice" || f.Key != "r1" {
			t.Errorf("told %+v", f)
		}
	}
	// The memory of the topic, the log, and whoever comes later.
	b.say(`{"op":"history","id":4,"topic":"room:r","before":%d,"limit":2}`, ack.Seq)
	if f := b.want("history"); len(f.Events) != 2 || string(f.Events[0].Body) != gone || string(f.Events[1].Body) != `{"text":"kept"}` {
		t.Errorf("history %+v", f.Events)
	}
	for _, from := range []string{`"after":0`, `"recent":10`} {
		c, _ := h.hello("carol", "")
		c.join("room:r", from)
		if f := c.want("event"); f.Seq != first.Seq || string(f.Body) != gone {
			t.Errorf("%s: replayed %+v %s", from, f, f.Body)
		}
		c.want("event")
		if f := c.want("event"); !f.takesBack(first.Seq) {
			t.Errorf("%s: replayed %+v", from, f)
		}
		_ = c.conn.Close()
	}
	// The outbox repeats it; another device has another key; then it is too late.
	if f := a.recall("room:r", "r1", first.Seq); f.Seq != ack.Seq || !f.Again {
		t.Errorf("again: %+v", f)
	}
	if f := a2.recall("room:r", "r2", first.Seq); f.Op != "ack" || f.Seq <= ack.Seq {
		t.Errorf("the other device: %+v", f)
	}
	later.Store(int64(2*time.Minute + time.Second))
	if f := a.recall("room:r", "r3", second.Seq); f.Code != "recall_too_late" {
		t.Errorf("too late: %+v", f)
	}
	if f := a.recall("room:r", "r1", first.Seq); f.Seq != ack.Seq || !f.Again {
		t.Errorf("again, when it is too late: %+v", f)
	}
}

func TestRecallIsSwitchedOff(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{hub: chat.HubOptions{RecallWindow: -1}})
	a, _ := h.hello("alice", "")
	ack := a.send("room:r", "k1", "hi")
	if f := a.recall("room:r", "r1", ack.Seq); f.Code != "forbidden" {
		t.Errorf("got %+v", f)
	}
	_, err := h.hub.Publish(t.Context(), []chat.Event{{Topic: "room:r", Kind: chat.KindRecalled, From: "alice", Body: []byte(`{"seq":1}`)}})
	if chat.CodeOf(err) != chat.CodeForbidden {
		t.Errorf("a backend published a recall: %v", err)
	}
}

// slowReads is a store whose reads can be held up after they have read.
type slowReads struct {
	*storetest.Memory
	mu   sync.Mutex
	hold chan struct{} // nil: reads go through
	read chan struct{} // a token for each that is held
}

func (s *slowReads) after(events []chat.Event, err error) ([]chat.Event, error) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold != nil {
		s.read <- struct{}{}
		<-hold
	}
	return events, err
}

func (s *slowReads) set(hold chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = hold
}

func (s *slowReads) Replay(ctx context.Context, topics []string, after int64, limit int) ([]chat.Event, error) {
	return s.after(s.Memory.Replay(ctx, topics, after, limit))
}

func (s *slowReads) Before(ctx context.Context, topic string, seq int64, limit int) ([]chat.Event, error) {
	return s.after(s.Memory.Before(ctx, topic, seq, limit))
}

// What was read before the recall and would be told after it is read again:
// replays, histories, searches and lists, of a room and of a talk.
func TestNobodyIsToldATextAfterItsRecall(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{"room:r", "dm:alice:bob"} {
		for what, ask := range map[string]string{
			"replay":  `{"op":"join","id":2,"topic":%q,"after":0}`,
			"history": `{"op":"history","id":2,"topic":%q}`,
			"search":  `{"op":"search","id":2,"topic":%q,"text":"secret"}`,
			"topics":  `{"op":"topics","id":2,"x":%q}`,
		} {
			t.Run(what+" "+topic, func(t *testing.T) {
				t.Parallel()
				slow := &slowReads{read: make(chan struct{}, 100)}
				memory := storetest.NewMemory(nil)
				slow.Memory = memory
				// Before the hub runs: it has nothing of it in memory.
				said, err := memory.Append(t.Context(), chat.Event{Topic: topic, Kind: "message", From: "alice", Key: "k1", Body: []byte(`{"text":"secret"}`)})
				if err != nil {
					t.Fatal(err)
				}
				h := newHouse(t, houseOptions{hub: chat.HubOptions{Limits: fast()}, store: memory, wrap: func(*storetest.Memory) chat.Store { return slow }})
				a, _ := h.hello("alice", "")
				b, _ := h.hello("bob", "")
				if topic == "room:r" {
					b.say(`{"op":"mark","id":1,"topic":"room:r","kept":true}`)
					b.want("marked")
					if what != "replay" {
						b.join("room:r", "")
					}
				}
				hold := make(chan struct{})
				slow.set(hold)
				b.say(ask, topic)
				if what == "replay" {
					b.want("joined")
				}
				<-slow.read
				slow.set(nil)
				if f := a.recall(topic, "r1", said[0].Seq); f.Op != "ack" {
					t.Fatalf("recall: %+v", f)
				}
				told := false
				if what != "replay" { // the recall is told first
					if f := b.want("event"); !f.takesBack(said[0].Seq) {
						t.Fatalf("got %+v", f)
					}
					told = true
				}
				close(hold)
				for range 3 {
					_, raw, err := b.conn.ReadMessage()
					if err != nil {
						t.Fatal(err)
					}
					if strings.Contains(string(raw), "secret") {
						t.Fatalf("after the recall bob hears %s", raw)
					}
					var f frame
					if err := json.Unmarshal(raw, &f); err != nil {
						t.Fatal(err)
					}
					told = told || f.takesBack(said[0].Seq)
					if f.Op == what || what == "replay" && told {
						break
					}
				}
				if !told {
					t.Error("the recall was not told")
				}
				b.quiet()
			})
		}
	}
}

// Recalls while everybody reads, comes and goes: whoever was told a recall is
// never told its text afterwards, and the log has none.
func TestRecallsInACrowd(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{hub: chat.HubOptions{Limits: fast(), RecentBytes: 6000, Page: 7}})
	const n = 150
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		g, _ := h.hello(fmt.Sprint("reader", i), "")
		wg.Go(func() {
			for k := 0; ; k++ {
				select {
				case <-stop:
					return
				default:
				}
				g.say(`{"op":"join","id":2,"topic":"room:r","after":%d}`, k%40)
				back := make(map[int64]bool)
				g.say(`{"op":"history","id":3,"topic":"room:r","limit":200}`)
				// A join says everything anew: what was told in it is told in it.
				for done := 0; done < 2; {
					f, err := g.next()
					if err != nil {
						t.Errorf("reader: %v", err)
						return
					}
					switch f.Op {
					case "joined":
						back = make(map[int64]bool)
						done++
					case "history":
						for _, e := range f.Events {
							if back[e.Seq] && string(e.Body) != gone {
								t.Errorf("history has %d after its recall: %s", e.Seq, e.Body)
							}
						}
						done++
					case "event":
						if back[f.Seq] {
							t.Errorf("%d comes after its recall", f.Seq)
						}
						if f.Kind == chat.KindRecalled {
							var body struct{ Seq int64 }
							_ = json.Unmarshal(f.Body, &body)
							back[body.Seq] = true
						}
					}
				}
			}
		})
	}
	a, _ := h.hello("alice", "")
	for i := range n {
		ack := a.send("room:r", fmt.Sprint("k", i), "secret")
		if f := a.recall("room:r", fmt.Sprint("r", i), ack.Seq); f.Op != "ack" {
			t.Fatalf("recall: %+v", f)
		}
	}
	close(stop)
	wg.Wait()
	list, err := h.store.Replay(t.Context(), []string{"room:r"}, 0, 10*n)
	if err != nil || len(list) != 2*n {
		t.Fatalf("the log has %d events, %v", len(list), err)
	}
	for _, e := range list {
		if strings.Contains(string(e.Body), "secret") {
			t.Fatalf("the log has %s", e.Body)
		}
	}
}
