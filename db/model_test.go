package db

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"teahouse/chat"
)

// model is what a Store should be: a list.
type model struct {
	events []chat.Event     // by Seq
	pruned map[string]int64 // topic -> the highest Seq removed
	head   int64
}

func (m *model) find(e chat.Event) (chat.Event, bool) {
	for _, x := range m.events {
		if e.Key != "" && x.Key == e.Key && x.Topic == e.Topic && x.From == e.From {
			return x, true
		}
	}
	return e, false
}

func (m *model) of(topics []string, from, to int64) (events []chat.Event) {
	for _, e := range m.events {
		if e.Seq > from && e.Seq < to && slices.Contains(topics, e.Topic) {
			events = append(events, e)
		}
	}
	return events
}

func alike(a, b chat.Event) bool {
	return a.Seq == b.Seq && a.At == b.At && a.Kind == b.Kind && a.Expires == b.Expires && sameKey(&a, &b) && string(a.Body) == string(b.Body)
}

// A store with so little memory that every event soon goes through all its
// stations does what a list does, whatever is asked of it, over clean and
// unclean stops.
func TestModel(t *testing.T) {
	t.Parallel()
	topics := []string{"room:a", "room:b", "room:c", "user:x", "dm:a:b"}
	rapid.Check(t, func(rt *rapid.T) {
		var now atomic.Int64
		now.Store(1e12)
		o := Options{
			Clock: func() time.Time { return time.UnixMilli(now.Load()) },
			Retain: []RetainRule{{"room:a", chat.Retention{Count: 20}}, {"room:b", chat.Retention{Age: time.Minute}},
				{"room:c", chat.Retention{Age: 10 * time.Minute, Count: 50}}},
			window: rapid.IntRange(1, 60).Draw(rt, "window"),
			recent: rapid.IntRange(1, 40).Draw(rt, "recent"),
		}
		folder := folders(rt)
		dir := folder()
		open := func() *Store {
			o.Dir = dir
			s, err := Open(t.Context(), options(dir, func(opts *Options) {
				o.Logger, o.PruneEvery = opts.Logger, opts.PruneEvery
				*opts = o
			}))
			if err != nil {
				rt.Fatalf("Open: %v", err)
			}
			return s
		}
		s := open()
		defer func() { s.Close() }()
		epoch := position(t, s).Epoch
		m := &model{pruned: make(map[string]int64)}
		alive := func(events []chat.Event) []chat.Event {
			return slices.DeleteFunc(events, func(e chat.Event) bool { return e.Expired(now.Load()) })
		}
		aTopic := rapid.SampledFrom(topics)
		aSeq := func(rt *rapid.T) int64 { return rapid.Int64Range(-1, m.head+2).Draw(rt, "seq") }
		check := func(rt *rapid.T, what string, got, want []chat.Event) {
			if !slices.EqualFunc(got, want, alike) {
				rt.Fatalf("%s:\ngot  %v\nwant %v", what, got, want)
			}
		}
		n := 0
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				if p := position(t, s); p.Seq != m.head || p.Epoch != epoch {
					rt.Fatalf("the head is %v, want %d in %s", p, m.head, epoch)
				}
			},
			"append": func(rt *rapid.T) {
				batch := make([]chat.Event, rapid.IntRange(1, 30).Draw(rt, "n"))
				for i := range batch {
					n++
					batch[i] = message(aTopic.Draw(rt, "topic"), fmt.Sprint("u", n%3), "", n)
					if k := rapid.IntRange(0, 400).Draw(rt, "key"); k > 0 {
						batch[i].Key = fmt.Sprint(k)
					}
					if ttl := rapid.Int64Range(-1, 3).Draw(rt, "ttl"); ttl > 0 {
						batch[i].Expires = now.Load() + ttl*100_000
					}
				}
				out, err := s.Append(t.Context(), batch...)
				if err != nil || len(out) != len(batch) {
					rt.Fatalf("Append: %d events, %v", len(out), err)
				}
				for i, e := range batch {
					want, there := m.find(e)
					if !there {
						want.Seq, want.At = m.head+1, now.Load()
						m.head++
						m.events = append(m.events, want)
					}
					check(rt, "Append", out[i:i+1], []chat.Event{want})
				}
			},
			"recall": func(rt *rapid.T) {
				if len(m.events) == 0 {
					return
				}
				i := rapid.IntRange(0, len(m.events)-1).Draw(rt, "event")
				e := &m.events[i]
				r, err := chat.NewRecall(chat.Event{Topic: e.Topic, From: e.From, Body: fmt.Appendf(nil, `{"seq":%d}`, e.Seq)}, 1e6*time.Hour)
				if err != nil {
					rt.Fatal(err)
				}
				told, err := s.Recall(t.Context(), r)
				if e.Kind != chat.KindMessage {
					if chat.CodeOf(err) != chat.CodeForbidden {
						rt.Fatalf("Recall of %v: %v, %v", e, told, err)
					}
					return
				}
				if err != nil {
					rt.Fatalf("Recall of %v: %v", e, err)
				}
				m.head++
				e.Body = chat.RecalledBody()
				want := r.Event
				want.Seq, want.At = m.head, now.Load()
				check(rt, "Recall", []chat.Event{told}, []chat.Event{want})
				m.events = append(m.events, told)
			},
			"replay": func(rt *rapid.T) {
				of := rapid.SliceOfNDistinct(aTopic, 1, 3, rapid.ID).Draw(rt, "topics")
				after, limit := aSeq(rt), rapid.IntRange(0, 100).Draw(rt, "limit")
				got, err := s.Replay(t.Context(), of, after, limit)
				if err != nil {
					rt.Fatal(err)
				}
				want := alive(m.of(of, after, 1<<60))
				check(rt, fmt.Sprint("Replay of ", of, after, limit), got, want[:min(limit, len(want))])
			},
			"before": func(rt *rapid.T) {
				of := aTopic.Draw(rt, "topic")
				seq, limit := aSeq(rt), rapid.IntRange(0, 100).Draw(rt, "limit")
				got, err := s.Before(t.Context(), of, seq, limit)
				if err != nil {
					rt.Fatal(err)
				}
				if seq <= 0 {
					seq = 1 << 60
				}
				want := alive(m.of([]string{of}, 0, seq))
				check(rt, fmt.Sprint("Before of ", of, seq, limit), got, want[max(0, len(want)-limit):])
			},
			"backlog": func(rt *rapid.T) {
				of, after, most := aTopic.Draw(rt, "topic"), aSeq(rt), rapid.IntRange(0, 40).Draw(rt, "max")
				got, err := s.Backlog(t.Context(), of, after, most)
				want := chat.Backlog{Events: min(most+1, len(m.of([]string{of}, after, 1<<60))), Pruned: m.pruned[of] > max(after, 0)}
				if err != nil || got != want {
					rt.Fatalf("Backlog of %s after %d: %+v, %v; want %+v", of, after, got, err, want)
				}
			},
			"talks": func(rt *rapid.T) {
				after := aSeq(rt)
				got, err := s.Talks(t.Context(), "b", after)
				if want := len(m.of([]string{"dm:a:b"}, after, 1<<60)) > 0; err != nil || (len(got) == 1) != want {
					rt.Fatalf("Talks after %d: %v, %v", after, got, err)
				}
			},
			"tail": func(rt *rapid.T) {
				after := aSeq(rt)
				want := m.of(topics, after, 1<<60)
				if len(want) == 0 {
					return
				}
				var got []chat.Event
				s.Tail(t.Context(), after, func(b []chat.Event) error {
					if got = append(got, b...); len(got) >= len(want) {
						return os.ErrClosed
					}
					return nil
				})
				check(rt, fmt.Sprint("Tail after ", after), got, want)
			},
			"index": func(rt *rapid.T) {
				if err := s.chore(t.Context(), func(w *writer) error { w.bite(); return nil }); err != nil {
					rt.Fatal(err)
				}
			},
			"time passes": func(rt *rapid.T) { now.Add(rapid.Int64Range(0, 200_000).Draw(rt, "ms")) },
			"prune": func(rt *rapid.T) {
				if _, err := s.Prune(t.Context()); err != nil {
					rt.Fatal(err)
				}
				for i, topic := range []string{"room:a", "room:b", "room:c"} {
					keep := o.Retain[i].Retention
					all := m.of([]string{topic}, 0, 1<<60)
					drop := 0
					for j, e := range all {
						if keep.Age > 0 && e.At < now.Load()-keep.Age.Milliseconds() || keep.Count > 0 && j < len(all)-keep.Count {
							drop = j + 1
							m.pruned[topic] = e.Seq
						}
					}
					gone := all[:drop]
					m.events = slices.DeleteFunc(m.events, func(e chat.Event) bool {
						return slices.ContainsFunc(gone, func(g chat.Event) bool { return g.Seq == e.Seq })
					})
				}
			},
			"restart": func(rt *rapid.T) {
				if err := s.Close(); err != nil {
					rt.Fatalf("Close: %v", err)
				}
				s = open()
			},
			"crash": func(rt *rapid.T) {
				_, release := hold(t, s) // after a recall the writer may empty the WAL at any time
				next := copyFolder(t, dir, folder())
				release()
				s.Close()
				dir = next
				s = open()
			},
		})
		consistent(t, s)
	})
}

// folders returns what makes folders that are gone when the check of one
// random case has ended.
func folders(rt *rapid.T) func() string {
	return func() string {
		d, err := os.MkdirTemp("", "model")
		if err != nil {
			rt.Fatal(err)
		}
		rt.Cleanup(func() { os.RemoveAll(d) })
		return d
	}
}
