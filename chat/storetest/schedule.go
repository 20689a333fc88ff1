package storetest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"teahouse/chat"
)

// soon is a moment from now, in ms since 1970 UTC.
func soon(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }

// testExpires: what has expired is told once, by Tail, and never repeated.
func testExpires(t *testing.T, open Open) {
	s, reopen := open(t)
	var all, lasting []chat.Event
	for i := range 300 {
		e := event(fmt.Sprintf("room:%d", i%2), "u", fmt.Sprint("k", i), i)
		switch i % 3 {
		case 0:
			e.Expires = soon(-time.Second)
		case 1:
			e.Expires = soon(time.Hour)
		}
		e = add(t, s, e)[0]
		all = append(all, e)
		if i%3 != 0 {
			lasting = append(lasting, e)
		}
	}
	check := func() {
		t.Helper()
		var zero []chat.Event
		for _, e := range lasting {
			if e.Topic == "room:0" {
				zero = append(zero, e)
			}
		}
		same(t, "Replay of both", replay(t, s, 0, 1000, "room:0", "room:1"), lasting)
		same(t, "a page", replay(t, s, 0, 50, "room:0", "room:1"), lasting[:50])
		same(t, "Replay of one", replay(t, s, 0, 1000, "room:0"), zero)
		before, err := s.Before(t.Context(), "room:0", 0, 30)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "Before", before, zero[len(zero)-30:])
		// Its key goes on to hold.
		if again := add(t, s, event("room:0", "u", "k0", 999))[0]; again.Seq != all[0].Seq {
			t.Errorf("the key of an expired event made event %d", again.Seq)
		}
		same(t, "Tail", tail(t, s, 0, all[len(all)-1].Seq), all)
	}
	check()
	s = reopen()
	check()
}

// testExpiresMany: pages are full although nearly everything has expired.
func testExpiresMany(t *testing.T, open Open) {
	s, reopen := open(t)
	var batch, lasting []chat.Event
	for i := range 3000 {
		e := event("room:a", "u", "", i)
		if i%100 != 50 {
			e.Expires = soon(-time.Second)
		}
		batch = append(batch, e)
	}
	for _, e := range add(t, s, batch...) {
		if e.Expires == 0 {
			lasting = append(lasting, e)
		}
	}
	for range 2 {
		for _, limit := range []int{1, 7, 29, 30, 31} {
			same(t, "Replay", replay(t, s, 0, limit, "room:a"), lasting[:min(limit, len(lasting))])
			got, err := s.Before(t.Context(), "room:a", 0, limit)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "Before", got, lasting[max(0, len(lasting)-limit):])
		}
		if got := replay(t, s, lasting[29].Seq, 10, "room:a"); len(got) != 0 {
			t.Errorf("after the last one there is %v", got)
		}
		s = reopen()
	}
}

func wish(in time.Duration, key string, topics ...string) chat.Scheduled {
	return chat.Scheduled{Due: soon(in), Topics: topics, Event: event("", "shop", key, 1)}
}

func schedule(t *testing.T, s chat.Store, w chat.Scheduled) []chat.Delivery {
	t.Helper()
	out, err := s.Schedule(t.Context(), w)
	if err != nil || len(out) != len(w.Topics) {
		t.Fatalf("Schedule: %d deliveries, %v", len(out), err)
	}
	return out
}

func appendDue(t *testing.T, s chat.Store, limit int) (int, int64) {
	t.Helper()
	taken, next, err := s.AppendDue(t.Context(), limit)
	if err != nil {
		t.Fatalf("AppendDue: %v", err)
	}
	return taken, next
}

// testSchedule: what is scheduled survives a restart, comes when it is due, in
// order, and is not heard of before.
func testSchedule(t *testing.T, open Open) {
	s, reopen := open(t)
	if taken, next := appendDue(t, s, 10); taken != 0 || next != 0 {
		t.Errorf("an empty schedule: %d, %d", taken, next)
	}
	far := wish(time.Hour, "", "user:a")
	out := schedule(t, s, far)
	if d := out[0]; d.Duplicate || d.Scheduled == "" || d.Due != far.Due || d.Event.Seq != 0 || d.Event.Topic != "user:a" {
		t.Errorf("scheduled: %+v", d)
	}
	second, first := wish(-time.Second, "", "user:a", "user:b"), wish(-2*time.Second, "", "user:a")
	second.Event.Body, first.Event.Body = []byte(`{"n":2}`), []byte(`{"n":1}`)
	schedule(t, s, second)
	schedule(t, s, first)
	if got := replay(t, s, 0, 10, "user:a", "user:b"); len(got) != 0 {
		t.Errorf("before AppendDue: %v", got)
	}
	s = reopen()
	if taken, next := appendDue(t, s, 10); taken != 3 || next != far.Due {
		t.Errorf("AppendDue took %d, the next is at %d; want 3 and %d", taken, next, far.Due)
	}
	got := replay(t, s, 0, 10, "user:a", "user:b")
	if len(got) != 3 || number(t, got[0]) != 1 || number(t, got[1]) != 2 || got[1].Topic != "user:a" || got[2].Topic != "user:b" {
		t.Fatalf("appended: %v", got)
	}
	if e := got[0]; e.From != "shop" || e.Kind != "message" || e.At == 0 || got[1].At != got[2].At {
		t.Errorf("the first: %v at %d", e, e.At)
	}
	same(t, "Tail", tail(t, s, 0, got[2].Seq), got)
	if taken, _ := appendDue(t, s, 10); taken != 0 {
		t.Errorf("a second time %d are appended", taken)
	}
	list, err := s.Scheduled(t.Context(), chat.ScheduledQuery{})
	if err != nil || len(list) != 1 || list[0].ID != out[0].Scheduled {
		t.Fatalf("what is left: %v, %v", list, err)
	}
	for _, want := range []bool{true, false} {
		if found, err := s.Unschedule(t.Context(), list[0].ID); found != want || err != nil {
			t.Errorf("Unschedule: %v, %v; want %v", found, err, want)
		}
	}
	s = reopen()
	if taken, next := appendDue(t, s, 10); taken != 0 || next != 0 {
		t.Errorf("after the cancel: %d, %d", taken, next)
	}
}

// testScheduleKeys: the same key never makes a second event, whichever of the
// two came first.
func testScheduleKeys(t *testing.T, open Open) {
	s, reopen := open(t)
	logged := add(t, s, event("user:a", "shop", "k", 7))[0]
	w := wish(-time.Second, "k", "user:a", "user:b", "user:b", "user:c")
	out := schedule(t, s, w)
	if d := out[0]; !d.Duplicate || d.Scheduled != "" || !equal(d.Event, logged) {
		t.Errorf("in the log already: %+v", d)
	}
	id := out[1].Scheduled
	if out[1].Duplicate || id == "" || !out[2].Duplicate || out[2].Scheduled != id || out[3].Duplicate || out[3].Scheduled != id {
		t.Errorf("the others: %+v", out[1:])
	}
	for range 2 {
		again := wish(time.Hour, "k", "user:c", "user:d")
		again.Event.Body = []byte(`{"n":99}`)
		out = schedule(t, s, again)
		if d := out[0]; !d.Duplicate || d.Scheduled != id || d.Due != w.Due || number(t, d.Event) != 1 {
			t.Errorf("scheduled already: %+v", d)
		}
		s = reopen()
	}
	if !out[1].Duplicate {
		t.Errorf("the second time: %+v", out[1])
	}
	other := wish(time.Hour, "k", "user:c") // another sender's key is another key
	other.Event.From = "bar"
	if d := schedule(t, s, other)[0]; d.Duplicate {
		t.Errorf("another sender: %+v", d)
	}
	list, err := s.Scheduled(t.Context(), chat.ScheduledQuery{From: "shop", Key: "k"})
	if err != nil || len(list) != 2 || !slices.Equal(list[0].Topics, []string{"user:b", "user:c"}) || list[0].Count != 2 || !slices.Equal(list[1].Topics, []string{"user:d"}) {
		t.Errorf("by key: %+v, %v", list, err)
	}
	// It comes into the log by another way: then the schedule leaves it.
	b := add(t, s, event("user:b", "shop", "k", 8))[0]
	if taken, _ := appendDue(t, s, 10); taken != 2 {
		t.Errorf("AppendDue took %d", taken)
	}
	same(t, "user:b", replay(t, s, 0, 10, "user:b"), []chat.Event{b})
	if got := replay(t, s, 0, 10, "user:c"); len(got) != 1 || number(t, got[0]) != 1 {
		t.Errorf("user:c: %v", got)
	}
	if d := schedule(t, s, wish(time.Hour, "k", "user:c"))[0]; !d.Duplicate || d.Event.Seq == 0 || d.Scheduled != "" {
		t.Errorf("after it was appended: %+v", d)
	}
}

// testScheduleList: pages in the order in which things will come.
func testScheduleList(t *testing.T, open Open) {
	s, _ := open(t)
	base := soon(time.Hour)
	for i := range 25 {
		w := wish(0, fmt.Sprint("k", i), "room:a", "room:b", "room:c")
		w.Due = base + int64(i*7%25/5) // five at each moment
		schedule(t, s, w)
	}
	var all []chat.Scheduled
	for q := (chat.ScheduledQuery{Limit: 4, Names: 2}); ; {
		page, err := s.Scheduled(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
		q.Due, q.N = page[len(page)-1].Due, page[len(page)-1].N
	}
	if len(all) != 25 {
		t.Fatalf("%d are listed", len(all))
	}
	for i, w := range all {
		if i > 0 && soonest(all[i-1], w) >= 0 {
			t.Errorf("%d of %d after %d of %d", w.N, w.Due, all[i-1].N, all[i-1].Due)
		}
		if w.Count != 3 || len(w.Topics) == 0 || len(w.Topics) > 2 || w.Topics[0] != "room:a" || w.Made == 0 || w.Event.Kind != "message" || w.ID == "" {
			t.Errorf("%+v", w)
		}
	}
	one, err := s.Scheduled(t.Context(), chat.ScheduledQuery{ID: all[3].ID})
	if err != nil || len(one) != 1 || one[0].N != all[3].N || len(one[0].Topics) != 3 {
		t.Errorf("by id: %+v, %v", one, err)
	}
}

// testScheduleConcurrent: many who do everything at once make one event of a key.
func testScheduleConcurrent(t *testing.T, open Open) {
	s, _ := open(t)
	var wg sync.WaitGroup
	var fresh atomic.Int64
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				out, err := s.Schedule(t.Context(), wish(-time.Second, fmt.Sprint("k", i), "room:a", "room:b"))
				if err != nil {
					t.Error(err)
					return
				}
				for _, d := range out {
					if !d.Duplicate {
						fresh.Add(1)
					}
				}
				if g%2 == 0 {
					if _, _, err := s.AppendDue(t.Context(), 3); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for taken := 1; taken > 0; {
		taken, _ = appendDue(t, s, 1000)
	}
	if n := len(replay(t, s, 0, 1000, "room:a", "room:b")); n != 40 || fresh.Load() != 40 {
		t.Errorf("%d events, %d of them were scheduled as new; want 40", n, fresh.Load())
	}
}

// tail reads what Tail delivers after a Seq, up to one.
func tail(t *testing.T, s chat.Store, after, upTo int64) []chat.Event {
	t.Helper()
	x := startTail(t, s, after)
	defer x.stop(t)
	return x.upTo(t, upTo)
}
