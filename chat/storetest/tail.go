package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"teahouse/chat"
)

// tailing runs Tail until the test says stop and keeps what it delivers.
type tailing struct {
	mu      sync.Mutex
	events  []chat.Event
	arrived chan struct{}
	cancel  context.CancelFunc
	ended   chan error
}

func startTail(t *testing.T, s chat.Store, after int64) *tailing {
	ctx, cancel := context.WithCancel(deadline(t))
	x := &tailing{arrived: make(chan struct{}, 1), cancel: cancel, ended: make(chan error, 1)}
	go func() {
		x.ended <- s.Tail(ctx, after, func(batch []chat.Event) error {
			if len(batch) == 0 {
				t.Errorf("Tail delivered an empty batch")
			}
			x.mu.Lock()
			x.events = append(x.events, batch...)
			x.mu.Unlock()
			select {
			case x.arrived <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	return x
}

// upTo waits until an event with this Seq has come and returns all so far.
func (x *tailing) upTo(t *testing.T, seq int64) []chat.Event {
	t.Helper()
	ctx := deadline(t)
	for {
		x.mu.Lock()
		events := append([]chat.Event(nil), x.events...)
		x.mu.Unlock()
		if n := len(events); n > 0 && events[n-1].Seq >= seq {
			return events
		}
		select {
		case <-x.arrived:
		case err := <-x.ended:
			t.Fatalf("Tail ended with %v before event %d", err, seq)
		case <-ctx.Done():
			t.Fatalf("Tail delivered %d events, not up to %d", len(events), seq)
		}
	}
}

func (x *tailing) stop(t *testing.T) {
	t.Helper()
	x.cancel()
	if err := <-x.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Tail ended with %v, want the context's error", err)
	}
}

func testTailFromStart(t *testing.T, open Open) {
	s, reopen := open(t)
	_, all := fill(t, s, 3000)
	for _, from := range []int{0, 1, 1500, len(all)} {
		after := int64(0)
		if from > 0 {
			after = all[from-1].Seq
		}
		x := startTail(t, s, after)
		more := add(t, s, event("room:0", "u", "", len(all)), event("room:1", "u", "", len(all)))
		all = append(all, more...)
		same(t, fmt.Sprint("Tail from ", from), x.upTo(t, more[1].Seq), all[from:])
		x.stop(t)
	}
	s = reopen()
	x := startTail(t, s, all[10].Seq)
	same(t, "Tail after a restart", x.upTo(t, all[len(all)-1].Seq), all[11:])
	x.stop(t)
}

// write lets several writers append at once and returns when all is done.
func write(t *testing.T, s chat.Store, writers, calls int) {
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range calls {
				batch := make([]chat.Event, 1+(i*7+w)%5)
				for j := range batch {
					batch[j] = event(fmt.Sprintf("room:%d", (w+j)%3), fmt.Sprint("u", w), fmt.Sprintf("%d-%d", i, j), i)
				}
				if _, err := s.Append(t.Context(), batch...); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func testTailConcurrent(t *testing.T, open Open) {
	s, _ := open(t)
	x := startTail(t, s, 0)
	write(t, s, 8, 120)
	end := head(t, s).Seq
	got := x.upTo(t, end)
	x.stop(t)
	same(t, "Tail under load", got, replay(t, s, 0, 1<<20, "room:0", "room:1", "room:2"))
}

// A Tail that begins while others append misses nothing and gets nothing twice.
func testTailLate(t *testing.T, open Open) {
	s, _ := open(t)
	var wg sync.WaitGroup
	wg.Go(func() { write(t, s, 6, 150) })
	for range 10 {
		after := head(t, s).Seq
		x := startTail(t, s, after)
		mark := add(t, s, event("room:0", "mark", "", 0))
		got := x.upTo(t, mark[0].Seq)
		x.stop(t)
		for len(got) > 0 && got[len(got)-1].Seq > mark[0].Seq {
			got = got[:len(got)-1]
		}
		want := replay(t, s, after, 1<<20, "room:0", "room:1", "room:2")
		for len(want) > 0 && want[len(want)-1].Seq > mark[0].Seq {
			want = want[:len(want)-1]
		}
		same(t, "a late Tail", got, want)
	}
	wg.Wait()
}

func testTailEnds(t *testing.T, open Open) {
	s, _ := open(t)
	add(t, s, event("room:a", "u", "", 1))
	no := errors.New("no more")
	if err := s.Tail(deadline(t), 0, func([]chat.Event) error { return no }); !errors.Is(err, no) {
		t.Errorf("Tail returned %v, want what deliver did", err)
	}
	// After it ended, nothing waits for it, and another may begin.
	for range 40 {
		batch := make([]chat.Event, 500)
		for i := range batch {
			batch[i] = event("room:a", "u", "", i)
		}
		add(t, s, batch...)
	}
	x := startTail(t, s, head(t, s).Seq)
	mark := add(t, s, event("room:a", "u", "", 2))
	same(t, "the next Tail", x.upTo(t, mark[0].Seq), mark)
	x.stop(t)
}

// A slow reader slows the writers and loses nothing.
func testTailSlow(t *testing.T, open Open) {
	s, _ := open(t)
	gate, first := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var got []chat.Event
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	const total = 15000
	ended := make(chan error, 1)
	go func() {
		ended <- s.Tail(ctx, 0, func(batch []chat.Event) error {
			once.Do(func() { close(first) })
			<-gate
			if got = append(got, batch...); len(got) == total {
				cancel()
			}
			return nil
		})
	}()
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := range total / 3 / 500 {
				batch := make([]chat.Event, 500)
				for j := range batch {
					batch[j] = event("room:a", fmt.Sprint(w), "", i)
				}
				if _, err := s.Append(t.Context(), batch...); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
		})
	}
	<-first
	close(gate)
	wg.Wait()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Tail ended with %v", err)
	}
	same(t, "a slow Tail", got, replay(t, s, 0, 1<<20, "room:a"))
}

func testOrigin(t *testing.T, open Open) {
	s, reopen := open(t)
	a, b := event("room:a", "u", "k", 1), event("room:a", "u", "", 2)
	a.Origin, b.Origin = 77, 78
	first := add(t, s, a, b)
	if first[0].Origin != 77 || first[1].Origin != 78 {
		t.Errorf("Append returned the Origins %d and %d", first[0].Origin, first[1].Origin)
	}
	x := startTail(t, s, 0) // what came before it keeps its Origin, too
	a.Origin = 79
	again := add(t, s, a)
	if again[0].Origin != 0 || again[0].Seq != first[0].Seq {
		t.Errorf("a repeat returned %v with Origin %d", again[0], again[0].Origin)
	}
	// Twice in one call: the first has its Origin, the repeat none.
	c := event("room:a", "u", "c", 3)
	c.Origin = 80
	pair := add(t, s, c, c)
	if pair[0].Origin != 80 || pair[1].Origin != 0 || pair[0].Seq != pair[1].Seq {
		t.Errorf("a repeat in one call returned Origins %d and %d", pair[0].Origin, pair[1].Origin)
	}
	end := add(t, s, event("room:a", "u", "", 4))
	got := x.upTo(t, end[0].Seq)
	x.stop(t)
	var origins []uint64
	for _, e := range got {
		origins = append(origins, e.Origin)
	}
	if fmt.Sprint(origins) != "[77 78 80 0]" {
		t.Errorf("Tail delivered the Origins %v", origins)
	}
	for range 2 {
		for _, e := range replay(t, s, 0, 10, "room:a") {
			if e.Origin != 0 {
				t.Errorf("Origin %d was kept", e.Origin)
			}
		}
		s = reopen()
	}
}
