package storetest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"teahouse/chat"
)

func testOrder(t *testing.T, open Open) {
	s, _ := open(t)
	last := head(t, s).Seq
	for i := range 50 {
		out := add(t, s, event("room:a", "u", "", i), event("room:b", "u", "", i))
		rising(t, out, last)
		last = out[1].Seq
		if got := head(t, s).Seq; got != last {
			t.Fatalf("the head is %d after an append of %d", got, last)
		}
	}
	if out, err := s.Append(t.Context()); err != nil || len(out) != 0 {
		t.Errorf("an append of nothing returned %v, %v", out, err)
	}
}

func testTimes(t *testing.T, open Open) {
	s, _ := open(t)
	var at int64
	for i := range 20 {
		out := add(t, s, event("room:a", "u", "", i), event("room:a", "u", "", i))
		if out[0].At <= 0 || out[0].At < at || out[1].At != out[0].At {
			t.Fatalf("At of one append is %d and %d after %d", out[0].At, out[1].At, at)
		}
		at = out[0].At
	}
}

func testReopen(t *testing.T, open Open) {
	s, reopen := open(t)
	var want []chat.Event
	for i := range 30 {
		want = append(want, add(t, s, event("room:a", "u", fmt.Sprint(i), i))...)
	}
	before := head(t, s)
	s = reopen()
	same(t, "after a restart", replay(t, s, 0, 100, "room:a"), want)
	if got := head(t, s); got.Epoch != before.Epoch || got.Seq < before.Seq {
		t.Errorf("the head is %v after a restart, %v before it", got, before)
	}
	next := add(t, s, event("room:a", "u", "", 30))
	if next[0].Seq <= before.Seq {
		t.Errorf("Seq %d was given after %d", next[0].Seq, before.Seq)
	}
}

func testManyReopens(t *testing.T, open Open) {
	s, reopen := open(t)
	var want []chat.Event
	for i := range 5 {
		want = append(want, add(t, s, event("room:a", "u", "", i), event("room:b", "u", "", i))[0])
		s = reopen()
	}
	same(t, "after restarts", replay(t, s, 0, 100, "room:a"), want)
	rising(t, replay(t, s, 0, 100, "room:a", "room:b"), 0)
}

func testKeys(t *testing.T, open Open) {
	s, reopen := open(t)
	first := add(t, s, event("room:a", "u", "k", 1))
	for range 2 {
		again := add(t, s, event("room:a", "u", "k", 2))
		same(t, "the same key again", again, first)
		// Another topic, another sender, another key: each is an event of its own.
		for _, e := range []chat.Event{event("room:b", "u", "k", 3), event("room:a", "v", "k", 4), event("room:a", "u", "K", 5)} {
			if out := add(t, s, e); out[0].Seq == first[0].Seq || number(t, out[0]) != number(t, e) {
				t.Errorf("%v was taken for %v", e, first[0])
			}
		}
		// No key: never the same.
		a, b := add(t, s, event("room:a", "u", "", 6)), add(t, s, event("room:a", "u", "", 6))
		if a[0].Seq == b[0].Seq {
			t.Errorf("two events without a key became one")
		}
		s = reopen()
	}
	// Names that run together must not be taken for each other.
	a := add(t, s, event("room:x", "yz", "k", 7))
	b := add(t, s, event("room:xy", "z", "k", 8))
	if a[0].Seq == b[0].Seq {
		t.Errorf("(room:x, yz) and (room:xy, z) became one")
	}
}

func testKeysWithinOneCall(t *testing.T, open Open) {
	s, _ := open(t)
	out := add(t, s, event("room:a", "u", "k", 1), event("room:a", "u", "k", 2), event("room:a", "u", "l", 3))
	same(t, "a key twice in one call", out[1:2], out[:1])
	same(t, "the log", replay(t, s, 0, 10, "room:a"), []chat.Event{out[0], out[2]})
}

// Keys are known after so many events that no memory of recent ones helps.
func testKeysOverTime(t *testing.T, open Open) {
	s, reopen := open(t)
	const rounds, each = 12, 1000
	var firsts []chat.Event
	for r := range rounds {
		batch := make([]chat.Event, each)
		for i := range batch {
			batch[i] = event(fmt.Sprintf("room:%d", i%10), "u", fmt.Sprintf("%d-%d", r, i), r*each+i)
		}
		firsts = append(firsts, add(t, s, batch...)...)
	}
	check := func(when string) {
		t.Helper()
		before := head(t, s).Seq
		for i := 0; i < len(firsts); i += 97 {
			e := firsts[i]
			same(t, when, add(t, s, event(e.Topic, e.From, e.Key, -1)), firsts[i:i+1])
		}
		if got := head(t, s).Seq; got != before {
			t.Fatalf("%s: repeats moved the head from %d to %d", when, before, got)
		}
	}
	check("in the same run")
	s = reopen()
	check("after a restart")
}

// Many callers with the same keys at once: one event each, and all are told of it.
func testKeysConcurrent(t *testing.T, open Open) {
	s, _ := open(t)
	const callers, keys = 16, 40
	got := make([][]chat.Event, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for k := range keys {
				out, err := s.Append(t.Context(), event("room:a", "u", fmt.Sprint(k), c))
				if err != nil {
					t.Errorf("Append: %v", err)
					return
				}
				got[c] = append(got[c], out...)
			}
		})
	}
	wg.Wait()
	for c := range got {
		same(t, "what another caller was told", got[c], got[0])
	}
	if all := replay(t, s, 0, 1000, "room:a"); len(all) != keys {
		t.Errorf("%d keys made %d events", keys, len(all))
	}
}

// What one call appends stands together, whole or not at all.
func testAllOrNone(t *testing.T, open Open) {
	s, reopen := open(t)
	const callers, calls, each = 8, 20, 5
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for n := range calls {
				ctx, cancel := context.WithCancel(t.Context())
				if n%3 == 0 {
					go cancel() // it may or may not come in time
				}
				batch := make([]chat.Event, each)
				for i := range batch {
					batch[i] = event(fmt.Sprintf("room:%d", i), fmt.Sprint("u", c), fmt.Sprint(n), i)
				}
				out, err := s.Append(ctx, batch...)
				cancel()
				if err != nil {
					// It was not written, so the same keys make new events.
					before := head(t, s).Seq
					out = add(t, s, batch...)
					if out[0].Seq <= before {
						t.Errorf("an append that failed with %v was written", err)
					}
				}
				for i := 1; i < each; i++ {
					if out[i].Seq != out[i-1].Seq+1 {
						t.Errorf("one call got the Seqs %d and %d", out[i-1].Seq, out[i].Seq)
					}
				}
			}
		})
	}
	wg.Wait()
	s = reopen()
	for i := range each {
		if got := replay(t, s, 0, 1000, fmt.Sprintf("room:%d", i)); len(got) != callers*calls {
			t.Errorf("room:%d has %d events, want %d", i, len(got), callers*calls)
		}
	}
}

func testBodyIsCopied(t *testing.T, open Open) {
	s, _ := open(t)
	e := event("room:a", "u", "k", 1)
	first := add(t, s, e)
	for i := range e.Body {
		e.Body[i] = 'x'
	}
	if got := replay(t, s, 0, 10, "room:a"); number(t, got[0]) != 1 || number(t, first[0]) != 1 {
		t.Errorf("the body changed with the caller's buffer: %s", got[0].Body)
	}
}

func testStrangeText(t *testing.T, open Open) {
	s, reopen := open(t)
	var want []chat.Event
	for i, text := range []string{"'; DROP TABLE events; --", "a\x00b", "日本語 ☕ 👩‍👩‍👧", "%_\\", "Ⅷ\u200d"} {
		e := event("room:"+text, text, text, i)
		e.Body = []byte(`{"n":` + fmt.Sprint(i) + `,"t":"☕ 日本語 \u0000 \u2028"}`)
		want = append(want, add(t, s, e)...)
	}
	s = reopen()
	for _, w := range want {
		same(t, "strange text", replay(t, s, 0, 10, w.Topic), []chat.Event{w})
		same(t, "a strange key again", add(t, s, w), []chat.Event{w})
	}
}

func testCancelled(t *testing.T, open Open) {
	s, _ := open(t)
	add(t, s, event("room:a", "u", "", 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Append":       func() error { _, err := s.Append(ctx, event("room:a", "u", "", 1)); return err },
		"Replay":       func() error { _, err := s.Replay(ctx, []string{"room:a"}, 0, 10); return err },
		"Before":       func() error { _, err := s.Before(ctx, "room:a", 0, 10); return err },
		"Backlog":      func() error { _, err := s.Backlog(ctx, "room:a", 0, 10); return err },
		"Head":         func() error { _, err := s.Head(ctx); return err },
		"Talks":        func() error { _, err := s.Talks(ctx, "u", 0); return err },
		"SaveSessions": func() error { return s.SaveSessions(ctx, chat.Session{ID: "x"}) },
		"Sessions":     func() error { _, err := s.Sessions(ctx, chat.SessionQuery{}); return err },
	} {
		if err := call(); err == nil {
			t.Errorf("%s with a cancelled context succeeded", name)
		} else if !chat.CodeOf(err).Verdict().Retry {
			t.Errorf("%s with a cancelled context: %v says not to try again", name, err)
		}
	}
	if got := replay(t, s, 0, 10, "room:a"); len(got) != 1 {
		t.Errorf("a cancelled append left %v", got)
	}
	if got, err := s.Sessions(t.Context(), chat.SessionQuery{}); err != nil || len(got) != 0 {
		t.Errorf("a cancelled save left %v, %v", got, err)
	}
}

func testEpoch(t *testing.T, open Open) {
	s, reopen := open(t)
	other, _ := open(t)
	a, b := head(t, s), head(t, other)
	if a.Epoch == "" || a.Epoch == b.Epoch {
		t.Errorf("the epochs of two logs are %q and %q", a.Epoch, b.Epoch)
	}
	for range 3 {
		s = reopen()
		if got := head(t, s); got.Epoch != a.Epoch {
			t.Fatalf("the epoch changed by a restart from %q to %q", a.Epoch, got.Epoch)
		}
		add(t, s, event("room:a", "u", "", 1))
	}
}
