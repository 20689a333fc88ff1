package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"teahouse/chat"
)

// fill appends n events in calls of uneven size to a few topics and returns
// them by topic and all together.
func fill(t *testing.T, s chat.Store, n int) (byTopic map[string][]chat.Event, all []chat.Event) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	byTopic = make(map[string][]chat.Event)
	for len(all) < n {
		batch := make([]chat.Event, min(1+r.IntN(400), n-len(all)))
		for i := range batch {
			batch[i] = event(fmt.Sprintf("room:%d", r.IntN(4)), "u", "", len(all)+i)
		}
		all = append(all, add(t, s, batch...)...)
	}
	for _, e := range all {
		byTopic[e.Topic] = append(byTopic[e.Topic], e)
	}
	return byTopic, all
}

// twice runs check on what is partly in memory and partly not, then after a restart.
func twice(t *testing.T, open Open, n int, check func(t *testing.T, s chat.Store, byTopic map[string][]chat.Event, all []chat.Event)) {
	s, reopen := open(t)
	byTopic, all := fill(t, s, n)
	check(t, s, byTopic, all)
	s = reopen()
	check(t, s, byTopic, all)
}

func testReplay(t *testing.T, open Open) {
	twice(t, open, 5000, func(t *testing.T, s chat.Store, byTopic map[string][]chat.Event, all []chat.Event) {
		for topic, want := range byTopic {
			same(t, "the whole topic", replay(t, s, 0, len(all), topic), want)
			for i := 0; i < len(want); i += 211 {
				page := want[i+1 : min(i+1+50, len(want))]
				same(t, "a page", replay(t, s, want[i].Seq, 50, topic), page)
			}
			after, got := int64(0), []chat.Event(nil)
			for {
				p := replay(t, s, after, 777, topic)
				if len(p) == 0 {
					break
				}
				got, after = append(got, p...), p[len(p)-1].Seq
			}
			same(t, "page by page", got, want)
		}
		if got := replay(t, s, 0, 10, "room:none"); len(got) != 0 {
			t.Errorf("a topic that was never written has %v", got)
		}
		if got := replay(t, s, 0, 10); len(got) != 0 {
			t.Errorf("no topics have %v", got)
		}
		if got := replay(t, s, 0, 0, "room:0"); len(got) != 0 {
			t.Errorf("limit 0 returned %v", got)
		}
		if got := replay(t, s, all[len(all)-1].Seq+1000, 10, "room:0"); len(got) != 0 {
			t.Errorf("above the head there is %v", got)
		}
	})
}

func testReplaySeveral(t *testing.T, open Open) {
	twice(t, open, 5000, func(t *testing.T, s chat.Store, byTopic map[string][]chat.Event, all []chat.Event) {
		same(t, "all topics", replay(t, s, 0, len(all)+1, "room:0", "room:1", "room:2", "room:3"), all)
		same(t, "a topic named twice", replay(t, s, 0, len(all), "room:1", "room:1"), byTopic["room:1"])
		var two []chat.Event
		for _, e := range all {
			if e.Topic == "room:3" || e.Topic == "room:1" {
				two = append(two, e)
			}
		}
		topics := []string{"room:3", "room:none", "room:1"}
		for i := 0; i < len(two); i += 301 {
			same(t, "a page of two", replay(t, s, two[i].Seq, 120, topics...), two[i+1:min(i+1+120, len(two))])
		}
		same(t, "the end of two", replay(t, s, two[len(two)-2].Seq, 10, topics...), two[len(two)-1:])
	})
}

func testBefore(t *testing.T, open Open) {
	twice(t, open, 5000, func(t *testing.T, s chat.Store, byTopic map[string][]chat.Event, all []chat.Event) {
		for topic, want := range byTopic {
			before := func(seq int64, limit int) []chat.Event {
				t.Helper()
				got, err := s.Before(t.Context(), topic, seq, limit)
				if err != nil {
					t.Fatalf("Before: %v", err)
				}
				return got
			}
			same(t, "the newest", before(0, 30), want[len(want)-30:])
			same(t, "the newest by a high seq", before(all[len(all)-1].Seq+10, 30), want[len(want)-30:])
			same(t, "all", before(-1, len(all)), want)
			for i := 0; i < len(want); i += 211 {
				same(t, "a page", before(want[i].Seq, 50), want[max(0, i-50):i])
			}
			var got []chat.Event
			for seq := int64(0); ; seq = got[0].Seq {
				p := before(seq, 777)
				if len(p) == 0 {
					break
				}
				got = append(slices.Clone(p), got...)
			}
			same(t, "page by page", got, want)
			if got := before(0, 0); len(got) != 0 {
				t.Errorf("limit 0 returned %v", got)
			}
		}
	})
}

func testBacklog(t *testing.T, open Open) {
	twice(t, open, 5000, func(t *testing.T, s chat.Store, byTopic map[string][]chat.Event, all []chat.Event) {
		for topic, want := range byTopic {
			for i := 0; i < len(want); i += 111 {
				for _, most := range []int{0, 10, 1000} {
					b, err := s.Backlog(t.Context(), topic, want[i].Seq, most)
					if n := min(len(want)-1-i, most+1); err != nil || b.Events != n || b.Pruned {
						t.Fatalf("Backlog after event %d of %d, up to %d: %+v, %v; want %d", i, len(want), most, b, err, n)
					}
				}
			}
		}
		if b, err := s.Backlog(t.Context(), "room:none", 0, 10); err != nil || b != (chat.Backlog{}) {
			t.Errorf("Backlog of an unknown topic: %+v, %v", b, err)
		}
	})
}

// Whatever is in the making, a reader sees each topic without a hole: all
// that was acknowledged before it asked.
func testReadWhileAppending(t *testing.T, open Open) {
	s, _ := open(t)
	const writers, each = 4, 50
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		reading.Go(func() {
			for stop := false; !stop; {
				select {
				case <-done:
					stop = true // once more, for the whole
				default:
				}
				for w := range writers {
					topic := fmt.Sprintf("room:%d", w)
					got, err := s.Replay(t.Context(), []string{topic}, 0, 1<<20)
					if err != nil {
						t.Errorf("Replay: %v", err)
						return
					}
					for i, e := range got {
						if number(t, e) != i {
							t.Errorf("event %d of %s is number %d", i, topic, number(t, e))
							return
						}
					}
					last, err := s.Before(t.Context(), topic, 0, 1)
					if err != nil || len(got) > 0 && (len(last) != 1 || last[0].Seq < got[len(got)-1].Seq) {
						t.Errorf("Before returned %v, %v after a replay up to %d", last, err, got[len(got)-1].Seq)
					}
				}
			}
		})
	}
	for w := range writers {
		writing.Go(func() {
			for i := 0; i < each*20; i += 20 {
				batch := make([]chat.Event, 20)
				for j := range batch {
					batch[j] = event(fmt.Sprintf("room:%d", w), "u", fmt.Sprint(i+j), i+j)
				}
				if _, err := s.Append(t.Context(), batch...); err != nil {
					t.Errorf("Append: %v", err)
					return
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
}

func testTalks(t *testing.T, open Open) {
	s, reopen := open(t)
	talks := func(user string, after int64) []string {
		t.Helper()
		got, err := s.Talks(t.Context(), user, after)
		if err != nil {
			t.Fatalf("Talks: %v", err)
		}
		slices.Sort(got)
		return got
	}
	ab, ac, odd := chat.Talk("ann", "bob"), chat.Talk("ann", "cid"), chat.Talk("a:n%", "bob")
	first := add(t, s, event(ab, "ann", "", 1), event("room:a", "ann", "", 2), event(chat.Inbox("ann"), "", "", 3))
	second := add(t, s, event(ac, "cid", "", 4), event(odd, "bob", "", 5))
	for range 2 {
		for _, want := range []struct {
			user  string
			after int64
			names []string
		}{
			{"ann", 0, []string{ab, ac}},
			{"ann", first[0].Seq, []string{ac}},
			{"ann", second[1].Seq, nil},
			{"bob", 0, []string{odd, ab}},
			{"a:n%", 0, []string{odd}},
			{"cid", 0, []string{ac}},
			{"dora", 0, nil},
		} {
			got := talks(want.user, want.after)
			slices.Sort(want.names)
			if !slices.Equal(got, want.names) {
				t.Errorf("the talks of %s after %d are %q, want %q", want.user, want.after, got, want.names)
			}
		}
		s = reopen()
	}
	later := add(t, s, event(ab, "bob", "", 6))
	if got := talks("ann", later[0].Seq-1); !slices.Equal(got, []string{ab}) {
		t.Errorf("after a restart the newest talk is %q", got)
	}
}
