package chat_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"teahouse/chat"
)

func in(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }

func (h *house) schedule(d time.Duration, key string, topics ...string) []chat.Delivery {
	h.t.Helper()
	out, err := h.hub.Schedule(context.Background(), chat.Scheduled{
		Due: in(d), Topics: topics, Event: chat.Event{Kind: "message", From: "shop", Key: key, Body: []byte(`{"n":1}`)},
	})
	if err != nil {
		h.t.Fatalf("schedule: %v", err)
	}
	return out
}

// TestExpired: an event with a time to live is told to who is live, and
// repeated to others only within it; what stands around it has no gap.
func TestExpired(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]chat.HubOptions{"from memory": {}, "from the log": {RecentBytes: 1}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, houseOptions{hub: opts}, func(t *testing.T, h *house) {
				live, w := h.hello("alice", "")
				for i := range 6 {
					e := chat.Event{Topic: "user:alice", Kind: "message", Body: fmt.Appendf(nil, `{"n":%d}`, i)}
					if i%2 == 0 {
						e.Expires = in(time.Minute)
					}
					if i == 4 { // nobody could be told in time: it is told once all the same
						e.Expires = in(-time.Minute)
					}
					if _, err := h.hub.Publish(t.Context(), []chat.Event{e}); err != nil {
						t.Fatal(err)
					}
					if f := live.want("event"); string(f.Body) != string(e.Body) {
						t.Fatalf("live: %+v", f)
					}
				}
				live.conn.Close() // it would not answer pings while time passes
				back := func(want ...int) {
					t.Helper()
					g, _ := h.hello("alice", fmt.Sprintf(`"position":{"epoch":%q,"seq":%d}`, w.Position.Epoch, w.Position.Seq))
					for _, n := range want {
						if f := g.want("event"); string(f.Body) != fmt.Sprintf(`{"n":%d}`, n) {
							t.Fatalf("want %d, got %+v", n, f)
						}
					}
					g.quiet()
					g.say(`{"op":"history","id":5,"topic":"user:alice"}`)
					if f := g.want("history"); len(f.Events) != len(want) {
						t.Fatalf("history: %+v", f)
					}
					g.conn.Close()
				}
				back(0, 1, 2, 3, 5)
				time.Sleep(time.Minute - time.Millisecond)
				back(0, 1, 2, 3, 5) // from the piece that was put together for the last one
				time.Sleep(time.Millisecond)
				back(1, 3, 5)
				h.publish("user:alice", 1)
				back(1, 3, 5, 0)
			})
		})
	}
}

// TestScheduled: it comes to the millisecond, to who is live and into the log,
// and its key is one event whatever is said meanwhile.
func TestScheduled(t *testing.T) {
	t.Parallel()
	bubble(t, houseOptions{}, func(t *testing.T, h *house) {
		alice, _ := h.hello("alice", "")
		began := time.Now()
		first := h.schedule(time.Hour, "k", "user:alice", "user:bob")
		sooner := h.schedule(time.Minute, "", "user:alice")
		if first[0].Scheduled != first[1].Scheduled || first[0].Scheduled == sooner[0].Scheduled {
			t.Fatalf("%+v, %+v", first, sooner)
		}
		alice.quiet()
		if f := alice.want("event"); time.Since(began) != time.Minute || f.Kind != "message" {
			t.Fatalf("after %v: %+v", time.Since(began), f)
		}
		// The same event again, now: it is one that comes later.
		out, err := h.hub.Publish(t.Context(), []chat.Event{
			{Topic: "user:carol", Kind: "message", From: "shop", Key: "k", Body: []byte(`2`)},
			{Topic: "user:alice", Kind: "message", From: "shop", Key: "k", Body: []byte(`2`)},
			{Topic: "user:alice", Kind: "message", From: "shop", Key: "another", Body: []byte(`3`)},
			{Topic: "user:bob", Kind: "message", From: "shop", Key: "k", Body: []byte(`2`)},
		})
		if err != nil || len(out) != 4 {
			t.Fatal(out, err)
		}
		for i, want := range []string{"", first[0].Scheduled, "", first[0].Scheduled} {
			d := out[i]
			if d.Scheduled != want || d.Duplicate != (want != "") || (d.Event.Seq == 0) != (want != "") {
				t.Errorf("delivery %d: %+v", i, d)
			}
		}
		if out[2].Online != 1 || out[1].Due != first[0].Due || string(out[1].Event.Body) != `{"n":1}` || out[3].Event.Topic != "user:bob" {
			t.Errorf("deliveries: %+v", out)
		}
		if f := alice.want("event"); f.Key != "another" {
			t.Fatalf("got %+v", f)
		}
		f := alice.want("event")
		if f.Key != "k" || time.Since(began) != time.Hour || string(f.Body) != `{"n":1}` {
			t.Fatalf("after %v: %+v", time.Since(began), f)
		}
		// And once more when it is in the log.
		for range 2 {
			if d := h.schedule(time.Hour, "k", "user:alice")[0]; !d.Duplicate || d.Event.Seq != f.Seq || d.Scheduled != "" {
				t.Errorf("again: %+v", d)
			}
		}
		alice.conn.Close()
		time.Sleep(3 * time.Hour)
		all, err := h.store.Replay(t.Context(), []string{"user:alice", "user:bob", "user:carol"}, 0, 100)
		if err != nil || len(all) != 5 {
			t.Errorf("in the end: %v, %v", all, err)
		}
	})
}

// TestScheduledWhileDown: what was due while no server ran comes at the start;
// what is due during a stop waits for the next one.
func TestScheduledWhileDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, houseOptions{pipes: true})
		h.schedule(time.Minute, "a", "user:alice")
		h.schedule(2*time.Minute, "b", "user:alice", "user:bob")
		h.schedule(time.Hour, "c", "user:alice")
		h.stop()
		time.Sleep(10 * time.Minute)
		inbox := func() []chat.Event {
			events, err := h.store.Before(t.Context(), "user:alice", 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			return events
		}
		if got := inbox(); len(got) != 0 {
			t.Fatalf("a hub that has stopped appends %v", got)
		}
		h = newHouse(t, houseOptions{pipes: true, store: h.store.Reopen()})
		synctest.Wait()
		if got := inbox(); len(got) != 2 || got[0].Key != "a" || got[1].Key != "b" || got[0].At != got[1].At {
			t.Fatalf("after the start: %v", got)
		}
		// A store that fails for a while delays, and loses nothing.
		time.Sleep(49*time.Minute + 59*time.Second)
		h.store.SetFail(chat.Errorf(chat.CodeStorageFull, "full"))
		time.Sleep(time.Minute)
		if got := inbox(); len(got) != 2 {
			t.Fatalf("%v", got)
		}
		h.store.SetFail(nil)
		time.Sleep(6 * time.Second)
		if got := inbox(); len(got) != 3 || got[2].Key != "c" {
			t.Fatalf("when the disk has space again: %v", got)
		}
		if n := h.hub.Stats().Failures; n != 1 {
			t.Errorf("%d failures are counted", n)
		}
		h.stop()
	})
}

// TestScheduleRefuses: what could not be appended is refused at once.
func TestScheduleRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	good := chat.Event{Kind: "message", Body: []byte(`1`)}
	for code, s := range map[chat.Code]chat.Scheduled{
		chat.CodeBadTopic: {Topics: []string{"user:a", "nonsense"}, Event: good},
		chat.CodeBadFrame: {Topics: []string{"user:a"}, Event: chat.Event{Kind: "message", Body: []byte(`{`)}},
		chat.CodeTooLarge: {Topics: []string{"user:a"}, Event: chat.Event{Kind: "message", Body: make([]byte, 20<<10)}},
	} {
		s.Due = in(time.Hour)
		if _, err := h.hub.Schedule(t.Context(), s); chat.CodeOf(err) != code {
			t.Errorf("want %s, got %v", code, err)
		}
	}
	if list, err := h.store.Scheduled(t.Context(), chat.ScheduledQuery{}); err != nil || len(list) != 0 {
		t.Errorf("scheduled: %v, %v", list, err)
	}
	h.stop()
	if _, err := h.hub.Schedule(t.Context(), chat.Scheduled{Due: in(0), Topics: []string{"user:a"}, Event: good}); chat.CodeOf(err) != chat.CodeGoingAway {
		t.Errorf("after the stop: %v", err)
	}
}
