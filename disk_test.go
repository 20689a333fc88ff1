package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

	// The log says what happened, not what was said.
	if log := h.stderr.String(); !strings.Contains(log, "storage_full") || strings.Contains(log, text[:100]) {
		t.Errorf("the server's log: %.2000s", log)
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
