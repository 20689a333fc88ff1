package db

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"teahouse/chat"
)

// Only index bites and chores may go without a sync; every commit after one waits
// for the disk again.
func TestSynchronous(t *testing.T) {
	t.Parallel()
	for durability, want := range map[string]int64{Full: 2, Normal: 1} {
		s := openIn(t, t.TempDir(), func(o *Options) { o.Durability, o.window = durability, 10 })
		for i := range 200 {
			add(t, s, message("room:a", "u", fmt.Sprint(i), i))
			if i%50 == 0 {
				if _, err := s.Prune(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			err := s.chore(t.Context(), func(w *writer) error {
				got, _, err := w.c.one("PRAGMA synchronous")
				if got != want || w.lax {
					t.Errorf("%s: synchronous is %d after %d appends", durability, got, i)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if st := s.Stats(); st.Unindexed > 11 {
			t.Errorf("%d events wait to be indexed", st.Unindexed)
		}
	}
}

// The WAL stays small under load that never ends, and becomes small again
// after a reader has held it for long.
func TestWALBounded(t *testing.T) {
	if slow {
		t.Skip("150 MB are written, and nothing races in it: TestStore does that")
	}
	t.Parallel()
	s := openIn(t, t.TempDir())
	fill := func(megabytes int) {
		batch := make([]chat.Event, 64)
		for i := range batch {
			batch[i] = message("room:a", "u", "", i)
			batch[i].Body = []byte(`"` + strings.Repeat("x", 16<<10) + `"`)
		}
		for range megabytes {
			add(t, s, batch...)
		}
	}
	fill(60)
	if wal := s.Stats().WAL; wal > 3*walKept {
		t.Errorf("after 60 MB the WAL has %d MB", wal>>20)
	}
	c, err := dial(s.path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	for _, q := range []string{"BEGIN", "SELECT count(*) FROM topics"} {
		if _, err := c.exec(q); err != nil {
			t.Fatal(err)
		}
	}
	fill(60)
	if wal := s.Stats().WAL; wal < 50<<20 {
		t.Errorf("with a reader that holds it the WAL has %d MB: the test shows nothing", wal>>20)
	}
	if _, err := c.exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	fill(30)
	if wal := s.Stats().WAL; wal > 3*walKept {
		t.Errorf("after the reader has gone the WAL has %d MB", wal>>20)
	}
}

// Two keys with the same hash stay two keys. Nobody can make one on purpose
// that the test could use, so the hash is put in by hand.
func TestHashCollision(t *testing.T) {
	t.Parallel()
	for _, window := range []int{1, windowEvents} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			set := func(o *Options) { o.window, o.recent = window, 1 }
			s := openIn(t, dir, set)
			put := func(key string, n int) chat.Event {
				t.Helper()
				o := &op{events: []chat.Event{message("room:a", "u", key, n)}, hashes: []uint64{42}}
				if err := s.submit(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				return o.events[0]
			}
			var first []chat.Event
			for round := range 3 {
				for i := range 300 {
					e := put(fmt.Sprint("k", i%3), round*300+i)
					if len(first) < 3 {
						first = append(first, e)
					} else if e.Seq != first[i%3].Seq || string(e.Body) != string(first[i%3].Body) {
						t.Fatalf("%v instead of %v", e, first[i%3])
					}
					if round == 0 && i == 2 {
						for n := range 600 {
							add(t, s, message("room:b", "u", "", n))
						}
					}
				}
				shut(t, s)
				s = openIn(t, dir, set)
			}
			if got := seqs(replay(t, s, "room:a")); !slices.Equal(got, seqs(first)) {
				t.Errorf("the log has %v, want %v", got, seqs(first))
			}
		})
	}
}
