package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"teahouse/chat"
	"teahouse/db"
)

// A position that does not join on to the log is noticed: because an older copy
// was put back, because events were removed, because too many follow.

// copyDatabase copies the database as it lies there, with its WAL.
func copyDatabase(t testing.TB, from, to string) {
	t.Helper()
	for _, name := range []string{"teahouse.db", "teahouse.db-wal"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestRestored: an older copy of the database in its place is another log, and
// clients that come back with a position of the lost one are told so.
func TestRestored(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// older makes a copy in a folder, while the server runs or not.
		running bool
		older   func(t *testing.T, data, to string)
	}{
		{"backup command", true, func(t *testing.T, data, to string) {
			code, out, errs := command(t, "backup", "--data="+data, filepath.Join(to, "teahouse.db"))
			if code != exitOK || !strings.Contains(out, "bytes") {
				t.Fatalf("backup: %d %s %s", code, out, errs)
			}
			if code, _, errs := command(t, "backup", "--data="+data, filepath.Join(to, "teahouse.db")); code != exitUsage || !strings.Contains(errs, "exists") {
				t.Errorf("a backup over a file: %d %s", code, errs)
			}
		}},
		{"backup command without a server", false, func(t *testing.T, data, to string) {
			if code, out, errs := command(t, "backup", "--data="+data, filepath.Join(to, "teahouse.db")); code != exitOK {
				t.Fatalf("backup: %d %s %s", code, out, errs)
			}
		}},
		{"files of a stopped server", false, copyTest},
		{"files of a running server", true, copyTest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data, copied := t.TempDir(), t.TempDir()
			h := open(t, data)
			alice, w := enter(t, h.ws(), "alice")
			alice.post(lobby, "1", "kept")
			alice.post("user:alice", "note", "kept")
			kept := alice.post(lobby, "2", "kept").Seq
			if !tt.running {
				h.stop()
			}
			tt.older(t, data, copied)
			if !tt.running {
				h = open(t, data)
				alice, _ = enter(t, h.ws(), "alice")
			}
			alice.post(lobby, "3", "lost")
			at := alice.post(lobby, "4", "lost").Seq
			if h.stop() != exitOK {
				t.Fatal(h.stderr)
			}
			for _, name := range []string{"teahouse.db", "teahouse.db-wal", "teahouse.db-shm"} {
				_ = os.Remove(filepath.Join(data, name))
			}
			copyDatabase(t, copied, data)

			h = open(t, data)
			alice, back := enter(t, h.ws(), "alice", "position", position{w.Position.Epoch, at})
			if back.Position.Epoch == w.Position.Epoch {
				t.Fatalf("the epoch is the same: %s", back)
			}
			alice.join(lobby, "after", at)
			alice.expectEvent(lobby, "2")
			for _, topic := range []string{lobby, "user:alice"} {
				if r := alice.all("reset", topic); len(r) != 1 || r[0].Reason != "epoch" {
					t.Errorf("resets in %s: %v", topic, r)
				}
			}
			same(t, "the newest page", alice.keys(lobby), "1", "2")
			bob, _ := enter(t, h.ws(), "bob")
			if f := bob.post(lobby, "b", "goes on"); f.Seq <= kept {
				t.Errorf("the seq does not rise: %d after %d", f.Seq, kept)
			}
			// The new epoch stays.
			if h.stop() != exitOK {
				t.Fatal(h.stderr)
			}
			h = open(t, data)
			if _, w := enter(t, h.ws(), "alice"); w.Position.Epoch != back.Position.Epoch {
				t.Errorf("another start, another epoch: %s after %s", w, back)
			}
			var keys []string
			for _, f := range h.history(lobby) {
				keys = append(keys, f.Key)
			}
			same(t, "the log", keys, "1", "2", "b")
			h.stop()
		})
	}
}

func copyTest(t *testing.T, data, to string) { copyDatabase(t, data, to) }

// TestBackupAfterCrash: a killed server leaves word of itself behind; the
// backup command sees that nobody answers there.
func TestBackupAfterCrash(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := spawn(t, data)
	alice, _ := enter(t, h.ws(), "alice")
	alice.post(lobby, "1", "x")
	h.kill()
	file := filepath.Join(t.TempDir(), "copy.db")
	if code, _, errs := command(t, "backup", "--data="+data, file); code != exitOK {
		t.Errorf("backup: %d %s", code, errs)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 || entries[0].Name() != "copy.db" {
		t.Errorf("beside the backup: %v %v", entries, err)
	}
}

// TestReset: a position that does not join on to the log is noticed.
func TestReset(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--send-rate=0", "--replay-max=50")
	alice, w := enter(t, h.ws(), "alice")
	var first, last int64
	for i := range 60 {
		last = alice.post(lobby, fmt.Sprint(i), "x").Seq
		if i == 0 {
			first = last
		}
	}
	h.call("POST", "/api/v1/events", map[string]any{"topic": "user:bob", "key": "n", "body": 1})
	here := w.Position.Epoch

	// begins checks that a reset comes first and then a page up to the newest.
	begins := func(name string, bob *guest, topic, reason, lastKey string) {
		t.Helper()
		bob.expectEvent(topic, lastKey)
		resets := bob.all("reset", topic)
		if len(resets) != 1 || resets[0].Reason != reason {
			t.Errorf("%s: resets %v; want one with reason %s", name, resets, reason)
			return
		}
		events := bob.all("event", topic)
		bob.mu.Lock()
		defer bob.mu.Unlock()
		for _, f := range bob.heard {
			if f.Op == "event" && f.Topic == topic {
				t.Errorf("%s: an event before the reset: %s", name, f)
			}
			if f.Op == "reset" && f.Topic == topic {
				break
			}
		}
		if events[0].Seq <= resets[0].After {
			t.Errorf("%s: %s and then %s", name, resets[0], events[0])
		}
	}
	for _, tt := range []struct {
		name         string
		hello        position
		join         []any
		inbox, lobby string // the reasons
	}{
		{"a foreign epoch in the hello", position{"ELSEWHERE", first}, []any{"after", last}, "epoch", "epoch"},
		{"a foreign epoch in the join", position{here, last}, []any{"after", last, "epoch", "ELSEWHERE"}, "", "epoch"},
		{"beyond the end of the log", position{here, last + 1000}, []any{"after", last + 1000}, "epoch", "epoch"},
		{"too far behind", position{here, last}, []any{"after", first}, "", "limit"},
		{"just near enough", position{here, last}, []any{"after", last - 50}, "", ""},
		{"a foreign hello, but the join is of this log", position{"ELSEWHERE", 1}, []any{"after", last - 5, "epoch", here}, "epoch", ""},
	} {
		bob, _ := enter(t, h.ws(), "bob", "position", tt.hello)
		bob.join(lobby, tt.join...)
		if tt.inbox != "" {
			begins(tt.name, bob, "user:bob", tt.inbox, "n")
		}
		if tt.lobby != "" {
			begins(tt.name, bob, lobby, tt.lobby, "59")
		} else {
			bob.expectEvent(lobby, "59")
			bob.settled()
			if r := bob.all("reset", lobby); len(r) != 0 {
				t.Errorf("%s: %v", tt.name, r)
			}
		}
		bob.hangUp()
	}
}

// TestRetention: what is no longer kept is not missed in silence.
func TestRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir, "--send-rate=0")
	alice, w := enter(t, h.ws(), "alice")
	first := alice.post(lobby, "0", "x").Seq
	for i := range 40 {
		alice.post(lobby, fmt.Sprint(i+1), "x")
	}
	h.stop()
	// A pass of retention comes every few minutes only: not waited for here.
	store, err := db.Open(t.Context(), db.Options{Dir: dir, Retain: []db.RetainRule{{Pattern: "room:*", Retention: chat.Retention{Count: 10}}}})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := store.Prune(t.Context()); err != nil || n != 31 {
		t.Errorf("%d events were removed: %v", n, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir, "--send-rate=0")
	kept := h.history(lobby)
	if len(kept) != 10 || kept[9].Key != "40" {
		t.Fatalf("kept: %v", kept)
	}
	bob, _ := enter(t, h.ws(), "bob", "position", position{w.Position.Epoch, first})
	bob.join(lobby, "after", first)
	bob.expectEvent(lobby, "40")
	if r := bob.all("reset", lobby); len(r) != 1 || r[0].Reason != "retention" {
		t.Errorf("resets: %v", r)
	}
	follows(t, h, bob.all("event", lobby), lobby, 0)
	if f := bob.ask("history", "topic", lobby, "before", kept[0].Seq); len(f.Events) != 0 || f.More {
		t.Errorf("history before what is kept: %s", f)
	}
}
