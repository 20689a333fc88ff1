package db

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"teahouse/chat"
)

// clock is a clock that a test sets.
type clock struct{ ms atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(1e12)
	return c
}

func TestRetention(t *testing.T) {
	t.Parallel()
	time := newClock()
	const hour = 60 * 60 * 1e9
	dir := t.TempDir()
	set := func(o *Options) {
		o.Clock = time.now
		o.Retain = []RetainRule{
			{Pattern: "room:keep"},
			{Pattern: "room:short", Retention: chat.Retention{Count: 3}},
			{Pattern: "room:*", Retention: chat.Retention{Age: 2 * hour, Count: 600}},
			{Pattern: "user:*", Retention: chat.Retention{Age: hour}},
		}
	}
	s := openIn(t, dir, set)
	fill := func(n int) {
		for i := 0; i < n; i += 50 {
			var batch []chat.Event
			for j := range 50 {
				for _, topic := range []string{"room:keep", "room:short", "room:a", "user:u", "dm:a:b"} {
					batch = append(batch, message(topic, "u", fmt.Sprint(time.ms.Load(), i+j), i+j))
				}
			}
			add(t, s, batch...)
		}
	}
	expect := func(when string, want map[string]int) {
		t.Helper()
		for topic, n := range want {
			got := replay(t, s, topic)
			if len(got) != n {
				t.Errorf("%s %s has %d events, want %d", when, topic, len(got), n)
			}
			all, err := s.Before(t.Context(), topic, 0, 1<<20)
			if err != nil || len(all) != len(got) {
				t.Errorf("%s %s: Before returned %d events, %v", when, topic, len(all), err)
			}
			first := int64(0)
			if len(got) > 0 {
				first = got[0].Seq
			}
			b, err := s.Backlog(t.Context(), topic, 0, 1<<20)
			if pruned := n < 1000; err != nil || b.Pruned != pruned || b.Events != n {
				t.Errorf("%s Backlog of %s from 0: %+v, %v", when, topic, b, err)
			}
			// Whoever was as far as the first that is left has missed nothing.
			if b, err := s.Backlog(t.Context(), topic, first, 1<<20); n > 0 && (err != nil || b.Pruned || b.Events != n-1) {
				t.Errorf("%s Backlog of %s from %d: %+v, %v", when, topic, first, b, err)
			}
			if n > 0 && n < 1000 {
				if b, err := s.Backlog(t.Context(), topic, first-6, 10); err != nil || !b.Pruned {
					t.Errorf("%s Backlog of %s from %d: %+v, %v", when, topic, first-6, b, err)
				}
			}
		}
	}
	prune := func() int {
		t.Helper()
		n, err := s.Prune(t.Context())
		if err != nil {
			t.Fatalf("Prune: %v", err)
		}
		return n
	}
	fill(1000)
	head := position(t, s).Seq
	if n := prune(); n != 997+400 {
		t.Errorf("Prune removed %d events", n)
	}
	expect("by count", map[string]int{"room:keep": 1000, "room:short": 3, "room:a": 600, "user:u": 1000, "dm:a:b": 1000})
	if n := prune(); n != 0 {
		t.Errorf("the next Prune removed %d events", n)
	}
	time.advance(hour + 1e6)
	fill(200)
	if n := prune(); n != 200+200+1000 {
		t.Errorf("Prune removed %d events", n)
	}
	expect("by age", map[string]int{"room:keep": 1200, "room:short": 3, "room:a": 600, "user:u": 200, "dm:a:b": 1200})
	// A key that was removed is new again; one that is there is not.
	old := add(t, s, message("room:a", "u", fmt.Sprint(int64(1e12), 0), -1), message("room:keep", "u", fmt.Sprint(int64(1e12), 0), -1))
	if old[0].Seq <= head || old[1].Seq > head {
		t.Errorf("a removed key became %d, a kept one %d; the head was %d", old[0].Seq, old[1].Seq, head)
	}
	time.advance(3 * hour)
	prune()
	expect("at the end", map[string]int{"room:keep": 1200, "room:short": 3, "room:a": 0, "user:u": 0, "dm:a:b": 1200})
	consistent(t, s)
	shut(t, s)
	s = openIn(t, dir, set)
	expect("after a restart", map[string]int{"room:keep": 1200, "room:short": 3, "room:a": 0, "user:u": 0, "dm:a:b": 1200})
}

// The log's head does not go back when everything is removed.
func TestRetentionOfAll(t *testing.T) {
	t.Parallel()
	time := newClock()
	dir := t.TempDir()
	set := func(o *Options) {
		o.Clock, o.Retain = time.now, []RetainRule{{Pattern: "*", Retention: chat.Retention{Age: 1e9}}}
	}
	s := openIn(t, dir, set)
	for range 3 {
		for i := range 10 {
			add(t, s, message("room:a", "u", "", i), message("room:b", "u", "", i))
		}
		before := position(t, s)
		time.advance(2e9)
		if n, err := s.Prune(t.Context()); n != 20 || err != nil {
			t.Fatalf("Prune: %d, %v", n, err)
		}
		shut(t, s)
		s = openIn(t, dir, set)
		if got := position(t, s); got != before {
			t.Errorf("after everything was removed the head is %v, before it was %v", got, before)
		}
		if e := add(t, s, message("room:c", "u", "", 1)); e[0].Seq <= before.Seq {
			t.Errorf("Seq %d was given after %d", e[0].Seq, before.Seq)
		}
		time.advance(2e9)
		if n, err := s.Prune(t.Context()); n != 1 || err != nil {
			t.Fatalf("Prune: %d, %v", n, err)
		}
	}
}

// Retention and appends do not disturb each other.
func TestRetentionUnderLoad(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir(), func(o *Options) {
		o.Retain = []RetainRule{{Pattern: "room:*", Retention: chat.Retention{Count: 100}}}
		o.window = 500
	})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Prune(t.Context()); err != nil {
				t.Errorf("Prune: %v", err)
				return
			}
		}
	})
	var writers sync.WaitGroup
	for w := range 5 {
		writers.Go(func() {
			for i := range 100 {
				var batch []chat.Event
				for j := range 10 {
					batch = append(batch, message(fmt.Sprintf("room:%d", w%2), fmt.Sprint(w), fmt.Sprint(i, j), i))
				}
				add(t, s, batch...)
			}
		})
	}
	writers.Wait()
	stop()
	wg.Wait()
	if _, err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"room:0", "room:1"} {
		if n := len(replay(t, s, topic)); n != 100 {
			t.Errorf("%s has %d events", topic, n)
		}
	}
	consistent(t, s)
}

func TestSessionsSwept(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := openIn(t, t.TempDir(), func(o *Options) { o.Clock, o.KeepSessions = clock.now, 10*time.Minute })
	now := clock.ms.Load()
	var list []chat.Session
	for i := range 600 {
		list = append(list, chat.Session{ID: fmt.Sprint("old", i), User: "u", Opened: 1, LastSeen: 2, Ended: now - 10*60*1000 - 1})
	}
	list = append(list, chat.Session{ID: "new", User: "u", Opened: 1, Ended: now - 10*60*1000 + 1}, chat.Session{ID: "online", User: "u", Opened: 1})
	if err := s.SaveSessions(t.Context(), list...); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Sessions(t.Context(), chat.SessionQuery{})
	if err != nil || len(got) != 2 || got[0].ID != "new" || got[1].ID != "online" {
		t.Errorf("left are %v, %v", got, err)
	}
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, topic string
		want           bool
	}{
		{"*", "room:a", true}, {"room:*", "room:a", true}, {"room:*", "user:a", false},
		{"room:a", "room:a", true}, {"room:a", "room:ab", false}, {"room:a*", "room:ab", true}, {"", "room:a", false},
	} {
		if got := (RetainRule{Pattern: test.pattern}).matches(test.topic); got != test.want {
			t.Errorf("%q matches %q: %v", test.pattern, test.topic, got)
		}
	}
}
