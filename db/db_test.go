package db

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

func TestMain(m *testing.M) {
	if what := os.Getenv("TEAHOUSE_DB_CHILD"); what != "" {
		child(what)
		return
	}
	flag.Parse()
	if slow {
		flag.Set("rapid.checks", "15")
	}
	goleak.VerifyTestMain(m)
}

func options(dir string, change ...func(*Options)) Options {
	o := Options{Dir: dir, Logger: slog.New(slog.DiscardHandler), PruneEvery: -1}
	for _, f := range change {
		f(&o)
	}
	return o
}

// openIn opens the store in dir and closes it when the test ends.
func openIn(t testing.TB, dir string, change ...func(*Options)) *Store {
	t.Helper()
	s, err := Open(t.Context(), options(dir, change...))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { shut(t, s) })
	return s
}

func shut(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// crash returns a folder that looks like that of s after a kill -9.
func crash(t testing.TB, s *Store) string {
	t.Helper()
	return copyFolder(t, s.opts.Dir, t.TempDir())
}

func copyFolder(t testing.TB, from, to string) string {
	t.Helper()
	for _, name := range []string{fileName, fileName + "-wal", sealName} {
		copyFile(t, filepath.Join(from, name), filepath.Join(to, name))
	}
	return to
}

// copyFile copies a file; what is missing there is removed here.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if os.IsNotExist(err) {
		os.Remove(to)
		return
	}
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func message(topic, from, key string, n int) chat.Event {
	return chat.Event{Topic: topic, Kind: "message", From: from, Key: key, Body: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))}
}

func add(t testing.TB, s *Store, events ...chat.Event) []chat.Event {
	t.Helper()
	out, err := s.Append(t.Context(), events...)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return out
}

func replay(t testing.TB, s *Store, topic string) []chat.Event {
	t.Helper()
	out, err := s.Replay(t.Context(), []string{topic}, 0, 1<<20)
	if err != nil {
		t.Fatalf("Replay: %v", err)
	}
	return out
}

func position(t testing.TB, s *Store) chat.Position {
	t.Helper()
	p, err := s.Head(t.Context())
	if err != nil {
		t.Fatalf("Head: %v", err)
	}
	return p
}

func seqs(events []chat.Event) []int64 {
	var seqs []int64
	for _, e := range events {
		seqs = append(seqs, e.Seq)
	}
	return seqs
}

func TestStore(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"Default": func(*Options) {},
		// Little memory: everything meets the index on the disk.
		"Small": func(o *Options) { o.Durability, o.window, o.recent = Normal, 500, 300 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) (chat.Store, func() chat.Store) {
				dir := t.TempDir()
				s := openIn(t, dir, change)
				return s, func() chat.Store {
					shut(t, s)
					s = openIn(t, dir, change)
					return s
				}
			})
		})
	}
}

// hold keeps the writer busy until release is called, so that what is
// submitted meanwhile meets in one batch. queued waits for that.
func hold(t *testing.T, s *Store) (queued func(n int), release func()) {
	t.Helper()
	holding, free := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- s.chore(t.Context(), func(*writer) error {
			close(holding)
			<-free
			return nil
		})
	}()
	<-holding
	return func(n int) {
			for len(s.queue) < n {
				runtime.Gosched() // nothing tells of it
			}
		}, func() {
			close(free)
			if err := <-ended; err != nil {
				t.Errorf("the chore: %v", err)
			}
		}
}

func TestGroupCommit(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	before := s.Stats()
	queued, release := hold(t, s)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { add(t, s, message("room:a", fmt.Sprint(i), "k", i)) })
	}
	queued(50)
	if n := s.Stats().Queue; n != 50 {
		t.Errorf("Stats.Queue is %d, want 50", n)
	}
	release()
	wg.Wait()
	st := s.Stats()
	if got := st.Commits - before.Commits; got != 1 {
		t.Errorf("50 appends that waited together took %d commits", got)
	}
	if st.Events-before.Events != 50 || st.Batches[64] != 1 || st.LastCommit <= 0 || st.WAL <= 0 {
		t.Errorf("Stats: %+v", st)
	}
	at := map[int64]bool{}
	for _, e := range replay(t, s, "room:a") {
		at[e.At] = true
	}
	if len(at) != 1 {
		t.Errorf("one transaction has %d timestamps", len(at))
	}
}

// One op that SQLite refuses fails alone; those that were in its batch are
// done, each as it was wished.
func TestBadOpFailsAlone(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	first := add(t, s, message("room:a", "u", "old", 1))
	queued, release := hold(t, s)
	var wg sync.WaitGroup
	results := make([][]chat.Event, 6)
	for i := range results {
		wg.Go(func() {
			// Two with the same new key: one of them takes what the other wrote.
			results[i] = add(t, s, message("room:a", "u", fmt.Sprint("new", i/2), i), message("room:a", "u", "old", i), message("room:new", "u", "", i))
		})
	}
	queued(6)
	wg.Go(func() {
		err := s.run(t.Context(), func(t *tx) error {
			if err := t.append(message("room:b", "u", "", 1)); err != nil {
				return err
			}
			_, err := t.exec(`INSERT INTO log (id, epoch, boot, stopped, indexed, floor) VALUES (2, '', '', '', 0, 0)`)
			return err
		})
		if chat.CodeOf(err) != chat.CodeStorage {
			t.Errorf("the bad op: %v", err)
		}
	})
	wg.Go(func() {
		err := s.run(t.Context(), func(t *tx) error {
			if err := t.append(message("room:b", "u", "", 2)); err != nil {
				return err
			}
			return chat.Errorf(chat.CodeForbidden, "no")
		})
		if chat.CodeOf(err) != chat.CodeForbidden {
			t.Errorf("the refused op: %v", err)
		}
	})
	wg.Go(func() {
		events := []chat.Event{message("room:c", "u", "k", 3)}
		err := s.run(t.Context(), func(t *tx) error { return t.append(events...) })
		if err != nil || events[0].Seq == 0 {
			t.Errorf("the good op: %v, %v", events, err)
		}
	})
	queued(9)
	release()
	wg.Wait()
	for i, out := range results {
		if out[1].Seq != first[0].Seq || string(out[1].Body) != string(first[0].Body) {
			t.Errorf("result %d: the old key became %v", i, out[1])
		}
		if other := results[i^1]; out[0].Seq != other[0].Seq || string(out[0].Body) != string(other[0].Body) {
			t.Errorf("one new key became %v and %v", out[0], other[0])
		}
	}
	for topic, n := range map[string]int{"room:a": 4, "room:b": 0, "room:c": 1, "room:new": 6} {
		if got := replay(t, s, topic); len(got) != n {
			t.Errorf("%s has %d events, want %d: %v", topic, len(got), n, got)
		}
	}
	// The same after a restart: nothing of the failed ops is in the file.
	dir := crash(t, s)
	again := openIn(t, dir)
	for topic, n := range map[string]int{"room:a": 4, "room:b": 0, "room:c": 1, "room:new": 6} {
		if got := replay(t, again, topic); len(got) != n {
			t.Errorf("after a crash %s has %d events, want %d", topic, len(got), n)
		}
	}
}

func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(1_000_000)
	dir := t.TempDir()
	set := func(o *Options) { o.Clock = func() time.Time { return time.UnixMilli(now.Load()) } }
	s := openIn(t, dir, set)
	if e := add(t, s, message("room:a", "u", "", 1)); e[0].At != 1_000_000 {
		t.Errorf("At is %d", e[0].At)
	}
	now.Store(900_000)
	if e := add(t, s, message("room:a", "u", "", 2)); e[0].At != 1_000_000 {
		t.Errorf("with the clock set back At is %d", e[0].At)
	}
	shut(t, s)
	s = openIn(t, dir, set)
	if e := add(t, s, message("room:a", "u", "", 3)); e[0].At != 1_000_000 {
		t.Errorf("after a restart At is %d", e[0].At)
	}
	now.Store(2_000_000)
	if e := add(t, s, message("room:a", "u", "", 4)); e[0].At != 2_000_000 {
		t.Errorf("At is %d", e[0].At)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	add(t, s, message("room:a", "u", "", 1))
	tailed := make(chan error, 1)
	got := make(chan []chat.Event, 10)
	go func() {
		tailed <- s.Tail(t.Context(), 0, func(b []chat.Event) error { got <- b; return nil })
	}()
	<-got
	// What is queued when Close begins is written, and reaches the Tail.
	queued, release := hold(t, s)
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() { add(t, s, message("room:a", "u", "", i)) })
	}
	queued(5)
	wg.Go(func() { shut(t, s) })
	<-s.closing
	release()
	wg.Wait()
	n := 0
	for n < 5 {
		n += len(<-got)
	}
	if err := <-tailed; chat.CodeOf(err) != chat.CodeGoingAway {
		t.Errorf("Tail of a closed store: %v", err)
	}
	shut(t, s)
	for name, call := range map[string]func() error{
		"Append":       func() error { _, err := s.Append(t.Context(), message("room:a", "u", "", 1)); return err },
		"Replay":       func() error { _, err := s.Replay(t.Context(), []string{"room:a"}, 0, 10); return err },
		"SaveSessions": func() error { return s.SaveSessions(t.Context(), chat.Session{ID: "x"}) },
		"Prune":        func() error { _, err := s.Prune(t.Context()); return err },
		"Backup":       func() error { return s.Backup(t.Context(), filepath.Join(t.TempDir(), "b")) },
	} {
		if err := call(); chat.CodeOf(err) != chat.CodeGoingAway && chat.CodeOf(err) != chat.CodeBusy {
			t.Errorf("%s of a closed store: %v", name, err)
		}
	}
	if _, err := os.Stat(s.path + "-wal"); !os.IsNotExist(err) {
		t.Errorf("a closed store leaves its WAL: %v", err)
	}
	s = openIn(t, s.opts.Dir)
	if n := len(replay(t, s, "room:a")); n != 6 {
		t.Errorf("after Close there are %d events", n)
	}
}

// A second Tail is refused rather than taking the first one's events.
func TestOneTail(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	add(t, s, message("room:a", "u", "", 1))
	first := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		n := 0
		ended <- s.Tail(t.Context(), 0, func(b []chat.Event) error {
			if n += len(b); n == 1 {
				close(first)
				return nil
			}
			return io.EOF
		})
	}()
	<-first
	for !attached(s) {
		runtime.Gosched()
	}
	if err := s.Tail(t.Context(), 0, func([]chat.Event) error { return nil }); chat.CodeOf(err) != chat.CodeInternal {
		t.Errorf("a second Tail: %v", err)
	}
	add(t, s, message("room:a", "u", "", 2))
	if err := <-ended; err != io.EOF {
		t.Errorf("the first Tail: %v", err)
	}
}

func attached(s *Store) bool {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	return s.feed.attached
}
