package db

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"teahouse/chat"
)

// A file of the version before pushes with a time opens, has everything, and
// its keys hold.
func TestScheduleMigration(t *testing.T) {
	t.Parallel()
	dir := anOldFile(t, 2, "room:a")
	s := openIn(t, dir)
	old := replay(t, s, "room:a")
	if len(old) != 1 || old[0].Key != "k" || old[0].Expires != 0 || old[0].At != 1000 {
		t.Fatalf("after the upgrade: %v", old)
	}
	if again := add(t, s, message("room:a", "", "k", 2))[0]; again.Seq != 1 {
		t.Errorf("the same key made event %d", again.Seq)
	}
	e := message("room:a", "", "", 3)
	e.Expires = time.Now().Add(time.Hour).UnixMilli()
	add(t, s, e)
	if got := replay(t, s, "room:a"); len(got) != 2 || got[1].Expires != e.Expires {
		t.Errorf("with one that expires: %v", got)
	}
	if len(copies(t, dir)) != 1 {
		t.Errorf("no copy was made before the upgrade")
	}
}

func later(due int64, key string, topics ...string) chat.Scheduled {
	return chat.Scheduled{Due: due, Topics: topics, Event: chat.Event{Kind: "message", Key: key, Body: []byte(`{"n":1}`)}}
}

// Whatever is scheduled, cancelled, published meanwhile and lost in crashes:
// every event with a key comes once, not before its time, and whole calls come
// together.
func TestScheduleModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var now atomic.Int64
		now.Store(1e12)
		dir, clean := tempDir(rt)
		defer clean()
		open := func(dir string) *Store {
			s, err := Open(t.Context(), options(dir, func(o *Options) {
				o.Clock = func() time.Time { return time.UnixMilli(now.Load()) }
				o.window, o.recent, o.Durability = 5, 5, Normal
			}))
			if err != nil {
				rt.Fatal(err)
			}
			return s
		}
		s := open(dir)
		defer func() { s.Close() }()
		type wish struct {
			chat.Scheduled
			gone bool // delivered or cancelled
		}
		var wishes []*wish
		placed := map[[2]string]string{} // topic and key -> the id of the wish, or "log"
		topics := []string{"room:a", "room:b", "user:c"}
		expected := map[string]int{} // topic -> events
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				for _, topic := range topics {
					if got, err := s.Replay(t.Context(), []string{topic}, 0, 1<<20); err != nil || len(got) != expected[topic] {
						rt.Fatalf("%s has %d events and should have %d: %v %v", topic, len(got), expected[topic], got, err)
					}
				}
				list, err := s.Scheduled(t.Context(), chat.ScheduledQuery{Limit: 1000})
				if err != nil {
					rt.Fatal(err)
				}
				waiting := 0
				for _, w := range wishes {
					if !w.gone {
						waiting++
					}
				}
				if len(list) != waiting || !slices.IsSortedFunc(list, func(a, b chat.Scheduled) int { return int(a.Due - b.Due) }) {
					rt.Fatalf("%d are scheduled, want %d: %v", len(list), waiting, list)
				}
			},
			"schedule": func(rt *rapid.T) {
				key := rapid.SampledFrom([]string{"", "k1", "k2", "k3", "k4"}).Draw(rt, "key")
				to := rapid.SliceOfNDistinct(rapid.SampledFrom(topics), 1, 3, rapid.ID).Draw(rt, "topics")
				w := &wish{Scheduled: later(now.Load()+rapid.Int64Range(-5, 50).Draw(rt, "in"), key, to...)}
				out, err := s.Schedule(t.Context(), w.Scheduled)
				if err != nil || len(out) != len(to) {
					rt.Fatalf("Schedule: %v %v", out, err)
				}
				w.Topics = nil
				for i, d := range out {
					at := placed[[2]string{to[i], key}]
					if key != "" && at != "" {
						if !d.Duplicate || at == "log" && (d.Scheduled != "" || d.Event.Seq == 0) || at != "log" && d.Scheduled != at {
							rt.Fatalf("%s %s is at %q, and Schedule says %+v", to[i], key, at, d)
						}
						continue
					}
					if d.Duplicate || d.Scheduled == "" || d.Event.Seq != 0 || d.Due != w.Due {
						rt.Fatalf("new: %+v", d)
					}
					w.ID = d.Scheduled
					w.Topics = append(w.Topics, to[i])
					if key != "" {
						placed[[2]string{to[i], key}] = w.ID
					}
				}
				if len(w.Topics) > 0 {
					wishes = append(wishes, w)
				}
			},
			"cancel": func(rt *rapid.T) {
				if len(wishes) == 0 {
					return
				}
				w := rapid.SampledFrom(wishes).Draw(rt, "wish")
				found, err := s.Unschedule(t.Context(), w.ID)
				if err != nil || found == w.gone {
					rt.Fatalf("Unschedule: %v %v of %+v", found, err, w)
				}
				if !w.gone {
					for _, topic := range w.Topics {
						if k := [2]string{topic, w.Event.Key}; placed[k] == w.ID {
							delete(placed, k)
						}
					}
				}
				w.gone = true
			},
			"publish": func(rt *rapid.T) { // passes the schedule by, as a client's send does
				key := rapid.SampledFrom([]string{"k1", "k2"}).Draw(rt, "key")
				topic := rapid.SampledFrom(topics).Draw(rt, "topic")
				if _, err := s.Append(t.Context(), message(topic, "", key, 9)); err != nil {
					rt.Fatal(err)
				}
				if placed[[2]string{topic, key}] != "log" {
					expected[topic]++
				}
				placed[[2]string{topic, key}] = "log"
			},
			"deliver": func(rt *rapid.T) {
				limit := rapid.IntRange(1, 5).Draw(rt, "limit")
				taken, next, err := s.AppendDue(t.Context(), limit)
				if err != nil {
					rt.Fatal(err)
				}
				due := slices.DeleteFunc(slices.Clone(wishes), func(w *wish) bool { return w.gone })
				slices.SortStableFunc(due, func(a, b *wish) int { return int(a.Due - b.Due) })
				n := 0
				for len(due) > 0 && due[0].Due <= now.Load() && (n == 0 || n+len(due[0].Topics) <= limit) {
					n += len(due[0].Topics)
					due[0].gone = true
					for _, topic := range due[0].Topics {
						k := [2]string{topic, due[0].Event.Key}
						if due[0].Event.Key == "" || placed[k] != "log" {
							expected[topic]++
							placed[k] = "log"
						}
					}
					due = due[1:]
				}
				want := int64(0)
				if len(due) > 0 {
					want = due[0].Due
				}
				if taken != n || next != want {
					rt.Fatalf("AppendDue of %d took %d, the next is due at %d; want %d and %d", limit, taken, next, n, want)
				}
			},
			"time passes": func(rt *rapid.T) { now.Add(rapid.Int64Range(0, 40).Draw(rt, "ms")) },
			"restart": func(rt *rapid.T) {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open(dir)
			},
			"crash": func(rt *rapid.T) {
				next, clean := tempDir(rt)
				rt.Cleanup(clean)
				copyFolder(t, dir, next)
				s.Close()
				dir = next
				s = open(dir)
			},
		})
	})
}

// What one call asked for is not split, whatever else is due; a large one
// does not take the small ones with it.
func TestScheduleTogether(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(1e12)
	s := openIn(t, t.TempDir(), func(o *Options) { o.Clock = func() time.Time { return time.UnixMilli(now.Load()) } })
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf("user:u%04d", i)
	}
	for _, w := range []chat.Scheduled{later(1e12+10, "", "room:a"), later(1e12+20, "k", many...), later(1e12+30, "", "room:a"), later(1e12+40, "", "room:a")} {
		if _, err := s.Schedule(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if taken, next, err := s.AppendDue(t.Context(), 100); taken != 0 || next != 1e12+10 || err != nil {
		t.Fatalf("before its time: %d, %d, %v", taken, next, err)
	}
	list, err := s.Scheduled(t.Context(), chat.ScheduledQuery{Names: 3})
	if err != nil || len(list) != 4 || list[1].Count != 5000 || !slices.Equal(list[1].Topics, many[:3]) || len(list[0].Topics) != 1 {
		t.Fatalf("the list: %v, %v", list, err)
	}
	now.Store(1e12 + 100)
	commits := s.Stats().Commits
	for i, want := range []int{1, 5000, 2, 0} {
		if taken, _, err := s.AppendDue(t.Context(), 100); taken != want || err != nil {
			t.Errorf("round %d took %d, %v; want %d", i, taken, err, want)
		}
	}
	if n := s.Stats().Commits - commits; n != 3 {
		t.Errorf("it took %d commits", n)
	}
	if got := replay(t, s, "user:u4999"); len(got) != 1 || got[0].At != 1e12+100 || got[0].Key != "k" {
		t.Errorf("the last one's inbox: %v", got)
	}
}

// What is useless by the time that it can be delivered is dropped.
func TestScheduleExpires(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(1e12)
	dir := t.TempDir()
	var log strings.Builder
	clock := func(o *Options) {
		o.Clock = func() time.Time { return time.UnixMilli(now.Load()) }
		o.Logger = logTo(&log)
	}
	s := openIn(t, dir, clock)
	short, long := later(1e12+1000, "short", "room:a"), later(1e12+1000, "long", "room:a")
	short.Event.Expires, long.Event.Expires = 1e12+2000, 1e12+9000
	for _, w := range []chat.Scheduled{short, long} {
		if _, err := s.Schedule(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, s)
	now.Store(1e12 + 2000)
	s = openIn(t, dir, clock)
	if taken, next, err := s.AppendDue(t.Context(), 10); taken != 2 || next != 0 || err != nil {
		t.Errorf("took %d, next %d, %v", taken, next, err)
	}
	if got := replay(t, s, "room:a"); len(got) != 1 || got[0].Key != "long" || got[0].Expires != 1e12+9000 {
		t.Errorf("the room: %v", got)
	}
	if !strings.Contains(log.String(), "dropped") {
		t.Errorf("nobody is told: %q", log.String())
	}
	now.Store(1e12 + 9000)
	if got := replay(t, s, "room:a"); len(got) != 0 {
		t.Errorf("after its time: %v", got)
	}
}
