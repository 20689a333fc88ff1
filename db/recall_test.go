package db

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
)

// secret is a body with a text that can be found in a file's bytes, also when
// parts of it are left.
func secret(i, length int) chat.Event {
	mark := fmt.Sprintf("<%d>", i)
	return chat.Event{Topic: "room:r", Kind: chat.KindMessage, From: "alice", Key: fmt.Sprint("k", i),
		Body: []byte(`{"text":"` + strings.Repeat(mark, 1+length/len(mark)) + `"}`)}
}

func recall(t *testing.T, s *Store, e chat.Event) {
	t.Helper()
	r, err := chat.NewRecall(chat.Event{Topic: e.Topic, From: e.From, Key: "r" + e.Key, Body: fmt.Appendf(nil, `{"seq":%d}`, e.Seq)}, time.Hour)
	if err == nil {
		_, err = s.Recall(t.Context(), r)
	}
	if err != nil {
		t.Fatalf("Recall of %v: %v", e, err)
	}
}

// remains returns which of the texts are left in any file of the folder.
func remains(t *testing.T, dir string, list []chat.Event) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for i := range list {
			mark := list[i].Body[9 : bytes.IndexByte(list[i].Body, '>')+1]
			if n := bytes.Count(b, mark); n > 0 {
				found = append(found, fmt.Sprintf("%s %d times in %s", mark, n, filepath.Base(path)))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// What was recalled is in no file any more, wherever it lay: alone on a page,
// among others, over several pages, in a page that was split since, or that
// retention took rows from, in the memory of the log or long out of it; and
// what was not recalled is all there.
func TestRecalledTextIsGoneFromTheFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(t.Context(), options(dir, func(o *Options) {
		o.recent = 300
		o.Retain = []RetainRule{{"room:pruned", chat.Retention{Count: 10}}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	rnd := rand.New(rand.NewPCG(1, 2))
	var list, taken, kept []chat.Event
	n := 0
	said := func(count, length int) {
		for range count {
			n++
			batch := []chat.Event{secret(n, length)}
			for range rnd.IntN(4) {
				batch = append(batch, message("room:pruned", "bob", "", n))
			}
			out, err := s.Append(t.Context(), batch...)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, out[0])
		}
	}
	take := func() {
		for i, e := range list {
			if i%3 != 2 {
				recall(t, s, e)
				taken = append(taken, e)
			} else {
				kept = append(kept, e)
			}
		}
		list = nil
	}
	for _, length := range []int{1, 5, 20, 300, 1500, 4000, 9000, 16000} {
		said(12, length)
	}
	take() // at once
	for _, length := range []int{16000, 1, 700, 3, 5000} {
		said(40, length)
	}
	if _, err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	take() // after what lay between was removed
	said(30, 200)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left := remains(t, dir, list); len(left) != len(list) {
		t.Fatalf("before their recall %d of %d texts are found: the test sees nothing", len(left), len(list))
	}
	if s, err = Open(t.Context(), options(dir)); err != nil {
		t.Fatal(err)
	}
	take()
	if err := s.chore(t.Context(), func(w *writer) error { return w.truncateWAL() }); err != nil {
		t.Fatal(err)
	}
	if left := remains(t, dir, taken); len(left) > 0 {
		t.Errorf("of %d recalled texts %d are left:\n%s", len(taken), len(left), strings.Join(left, "\n"))
	}
	if left := remains(t, dir, kept); len(left) != len(kept) {
		t.Errorf("of %d texts that were not recalled %d are there", len(kept), len(left))
	}
	consistent(t, s)
}

// Nobody needs to empty the WAL: that happens by itself, in a quiet moment and
// in one that is not.
func TestTheWALForgetsWhatWasRecalled(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprint("busy ", busy), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, err := Open(t.Context(), options(dir, func(o *Options) { o.scrub = 300 * time.Millisecond }))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var list []chat.Event
			for i := range 5 {
				out, err := s.Append(t.Context(), secret(i, 100*i))
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, out...)
			}
			if len(remains(t, dir, list)) == 0 {
				t.Fatal("the texts are nowhere: the test sees nothing")
			}
			for _, e := range list {
				recall(t, s, e)
			}
			for end := time.Now().Add(time.Minute); ; {
				if busy {
					if _, err := s.Append(t.Context(), message("room:busy", "bob", "", 1)); err != nil {
						t.Fatal(err)
					}
				} else {
					time.Sleep(20 * time.Millisecond)
				}
				left := remains(t, dir, list)
				if len(left) == 0 {
					return
				}
				if time.Now().After(end) {
					t.Fatalf("a minute later there is %v", left)
				}
			}
		})
	}
}

// A mark alone does not wait for the disk, and what is said with it does.
func TestMarksRideAlong(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	level := func() (n int64) {
		t.Helper()
		err := s.chore(t.Context(), func(w *writer) (err error) {
			n, _, err = w.c.one("PRAGMA synchronous")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	read := int64(1)
	one := chat.MarkChange{User: "alice", Topic: "room:r", Read: &read}
	if _, err := s.Mark(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if got := level(); got != 1 {
		t.Errorf("after a mark synchronous is %d, want 1 (NORMAL)", got)
	}
	if _, err := s.Append(t.Context(), message("room:r", "bob", "", 1)); err != nil {
		t.Fatal(err)
	}
	if got := level(); got != 2 {
		t.Errorf("after a message synchronous is %d, want 2 (FULL)", got)
	}
	// Both in one transaction.
	mark := &op{lax: true, do: func(t *tx) error { _, err := t.mark(&one); return err }}
	said := &op{events: []chat.Event{message("room:r", "bob", "", 2)}}
	said.bytes, said.hashes = prepare(said.events)
	err = s.chore(t.Context(), func(w *writer) error {
		if err := w.relax(); err != nil {
			return err
		}
		before := w.s.stats.commits.Load()
		if err := w.transact([]*op{mark, said}); err != nil {
			return err
		}
		if n := w.s.stats.commits.Load() - before; n != 1 || w.lax {
			t.Errorf("%d commits, lax %v", n, w.lax)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
