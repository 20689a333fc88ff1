package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is acknowledged is kept: on a full disk, and where an operator puts
// back an older copy.

// TestFullDisk: a full disk loses nothing that was acknowledged, says what is
// the matter, and is survived without a restart.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := tmpfs(t, "size=24m")
	h := spawn(t, filepath.Join(disk, "data"), "--send-rate=0", "--durability=full")
	alice, _ := enter(t, h.ws(), "alice")
	bob, _ := enter(t, h.ws(), "bob")
	bob.join(lobby)
	acked := make(map[string]int64)
	text := strings.Repeat("x", 8000)
	send := func(key string) frame {
		f := alice.ask("send", "topic", lobby, "key", key, "body", map[string]string{"text": text})
		if f.Op == "ack" {
			acked[key] = f.Seq
		}
		return f
	}
	for i := range 20 {
		if f := send(fmt.Sprintf("before-%d", i)); f.Op != "ack" {
			t.Fatal(f)
		}
	}
	var refused []string
	until := func(name string, count int) {
		t.Helper()
		for i := 0; len(refused) < count; i++ {
			key := fmt.Sprintf("%s-%d", name, i)
			f := send(key)
			if f.Op == "ack" {
				if i > 5000 {
					t.Fatal("the disk does not get full")
				}
				continue
			}
			if f.Op != "error" || f.Code != "storage_full" || f.RetryMS <= 0 || f.Message == "" {
				t.Fatalf("on a full disk: %s", f)
			}
			refused = append(refused, key)
		}
	}
	ballast := fill(t, disk, 0)
	until("full", 10)
	// The rest goes on.
	alice.settled()
	if page := alice.ask("history", "topic", lobby); page.Op != "history" || len(page.Events) == 0 {
		t.Errorf("history on a full disk: %s", page)
	}
	a := h.call("POST", "/api/v1/events", map[string]any{"topic": lobby, "key": "http", "body": map[string]string{"text": text}})
	if a.status != http.StatusInsufficientStorage || a.problem(t) != "storage_full" {
		t.Errorf("POST on a full disk: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/healthz", "/"} {
		if a := h.call("GET", path, nil); a.status != http.StatusOK {
			t.Errorf("GET %s on a full disk: %d", path, a.status)
		}
	}

	// There is space again: what was refused is taken, without a restart.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for _, key := range refused {
		eventually(t, "an ack when there is space", func() bool {
			f := send(key)
			if f.Op != "ack" && f.Code != "storage_full" && f.Code != "storage_failed" {
				t.Fatalf("after the full disk: %s", f)
			}
			return f.Op == "ack"
		})
	}
	bob.expectEvent(lobby, refused[len(refused)-1])
	follows(t, h, bob.all("event", lobby), lobby, 0)

	// And once more, with a crash on the full disk.
	ballast = fill(t, disk, 0)
	until("again", 15)
	h.kill()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	h = spawn(t, filepath.Join(disk, "data"), "--send-rate=0")
	log := h.history(lobby)
	kept := make(map[string]int64)
	for _, f := range log {
		if kept[f.Key] != 0 {
			t.Errorf("%s is there twice", f.Key)
		}
		kept[f.Key] = f.Seq
	}
	for key, seq := range acked {
		if kept[key] != seq {
			t.Errorf("%s was acknowledged as %d and is %d after the restart", key, seq, kept[key])
		}
	}
	if len(kept) != len(acked) {
		t.Errorf("%d events are kept, %d were acknowledged", len(kept), len(acked))
	}
	alice, _ = enter(t, h.ws(), "alice")
	alice.post(lobby, "after", "it goes on")
	if code := h.stop(); code != exitOK {
		t.Errorf("stop: %d: %s", code, h.stderr)
	}
}

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
