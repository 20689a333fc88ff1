package db

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"teahouse/chat"
)

// smallDisk mounts a memory disk of so many bytes.
func smallDisk(t *testing.T, size int) (dir string, remount func(flags uintptr, size int)) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("a small disk cannot be mounted: %v", err)
		}
		t.Skipf("a small disk cannot be mounted here (it needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir, func(flags uintptr, size int) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, fmt.Sprintf("size=%d", size)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, durability := range []string{Full, Normal} {
		t.Run(durability, func(t *testing.T) {
			t.Parallel()
			dir, remount := smallDisk(t, 2<<20)
			set := func(o *Options) { o.Durability, o.window, o.recent = durability, 500, 500 }
			s := openIn(t, dir, set)
			var mu sync.Mutex
			acked := make(map[string]int64)
			failed := make(map[string]bool)
			// fill appends from several callers until each has met the full disk.
			fill := func(round string, most int) (full int) {
				var wg sync.WaitGroup
				for w := range 4 {
					wg.Go(func() {
						for n := range most {
							key := fmt.Sprint(round, w, n)
							e := message("room:a", "u", key, n)
							e.Body = []byte(`"` + strings.Repeat("x", 1500) + `"`)
							out, err := s.Append(t.Context(), e)
							mu.Lock()
							if err == nil {
								acked[key] = out[0].Seq
								mu.Unlock()
								continue
							}
							failed[key] = true
							full++
							mu.Unlock()
							if code := chat.CodeOf(err); code != chat.CodeStorageFull || !strings.Contains(chat.AsError(err).Message, "disk is full") {
								t.Errorf("a full disk: %v", err)
							}
							return
						}
					})
				}
				wg.Wait()
				return full
			}
			check := func(when string) {
				t.Helper()
				there := make(map[string]int64)
				last := int64(0)
				for _, e := range replay(t, s, "room:a") {
					if _, twice := there[e.Key]; twice || e.Seq <= last {
						t.Errorf("%s: %v after %d", when, e, last)
					}
					there[e.Key], last = e.Seq, e.Seq
				}
				for key, seq := range acked {
					if there[key] != seq {
						t.Fatalf("%s: %s was acknowledged as %d and is there as %d", when, key, seq, there[key])
					}
				}
				for key := range failed {
					if seq, ok := there[key]; ok {
						t.Errorf("%s: %s failed and is there as %d", when, key, seq)
					}
				}
			}
			for round, size := range []int{6 << 20, 12 << 20} {
				if n := fill(fmt.Sprint("full", round), 10000); n != 4 {
					t.Fatalf("%d of 4 callers met the full disk", n)
				}
				check("full")
				err := s.SaveSessions(t.Context(), chat.Session{ID: "x", Agent: strings.Repeat("x", 100<<10)})
				if chat.CodeOf(err) != chat.CodeStorageFull {
					t.Errorf("SaveSessions on a full disk: %v", err)
				}
				if err := s.Backup(t.Context(), filepath.Join(dir, "backup")); err == nil {
					t.Errorf("a backup fitted on a full disk")
				}
				dead := crash(t, s) // read it as the next process would, elsewhere
				live := s
				s = openIn(t, dead, set)
				check("full, after a crash")
				shut(t, s)
				s = live
				remount(0, size)
				if n := fill(fmt.Sprint("space", round), 50); n != 0 {
					t.Errorf("with space again %d callers failed", n)
				}
				check("with space again")
			}
			shut(t, s)
			s = openIn(t, dir, set)
			check("after a restart")
			consistent(t, s)
		})
	}
}

func TestOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	dir, remount := smallDisk(t, 1<<20)
	ballast := filepath.Join(dir, "ballast")
	fill := func() {
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		f.Close()
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	fill()
	refused(t, options(data), DiskFull)
	remount(0, 2<<20)
	s := openIn(t, data)
	want := add(t, s, message("room:a", "u", "", 1))
	epoch := position(t, s).Epoch
	shut(t, s)
	fill()
	refused(t, options(data), DiskFull)
	os.Remove(ballast)
	s = openIn(t, data)
	if got := replay(t, s, "room:a"); len(got) != 1 || got[0].Seq != want[0].Seq || position(t, s).Epoch != epoch {
		t.Errorf("after a start that failed on a full disk the log holds %v at %v", got, position(t, s))
	}
}

func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	dir, remount := smallDisk(t, 4<<20)
	data := filepath.Join(dir, "data")
	s := openIn(t, data)
	add(t, s, message("room:a", "u", "", 1))
	shut(t, s)
	remount(syscall.MS_RDONLY, 4<<20)
	refused(t, options(data), NotWritable)
	refused(t, options(filepath.Join(dir, "new")), NotWritable)
	os.Remove(filepath.Join(data, lockName))
	remount(0, 4<<20)
	openIn(t, data)
}

// What the writer could not index on a full disk it indexes later.
func TestIndexAfterFullDisk(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	for i := range 20 {
		add(t, s, message("room:a", "u", fmt.Sprint(i), i))
	}
	err := s.chore(t.Context(), func(w *writer) error {
		if _, err := w.c.exec("PRAGMA query_only = 1"); err != nil {
			return err
		}
		if w.bite() {
			t.Error("it was indexed on a connection that cannot write")
		}
		if w.bite() {
			t.Error("it was tried again at once")
		}
		w.indexBroken = time.Time{}
		w.unsure = true // as after a sync that failed
		return w.c.script("PRAGMA query_only = 0")
	})
	if err != nil {
		t.Fatal(err)
	}
	if again := add(t, s, message("room:a", "u", "3", 9)); again[0].Seq != 4 {
		t.Errorf("a key that is not indexed became %v", again[0])
	}
	if _, err := s.indexedUpTo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again := add(t, s, message("room:a", "u", "3", 9)); again[0].Seq != 4 {
		t.Errorf("a key that is indexed became %v", again[0])
	}
	consistent(t, s)
}

// Files stop before the disk is full, so that messages go on; and when it is
// full all the same, nothing is lost and both go on with space again.
func TestFilesOnFullDisk(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	for name, reserve := range map[string]int64{"with a reserve": 2 << 20, "without": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, remount := smallDisk(t, 10<<20)
			s := openIn(t, dir, func(o *Options) { o.FilesQuota, o.FilesReserve = 64<<20, reserve })
			kept := put(t, s, "kept", []byte("kept"))
			appendOne(t, s, withFile("room:a", kept.ID, ""))
			id := chat.NewFileID()
			if err := s.BeginUpload(t.Context(), chat.Upload{ID: id, Size: int64(len(content))}, chat.UploadLimits{}); err != nil {
				t.Fatal(err)
			}
			if err := s.BeginUpload(t.Context(), chat.Upload{ID: chat.NewFileID(), Size: 9 << 20}, chat.UploadLimits{}); reserve > 0 && chat.CodeOf(err) != chat.CodeStorageFull {
				t.Errorf("an upload that would fill the disk: %v", err)
			}
			// Somebody else takes the rest of it.
			other := filepath.Join(dir, "other")
			if err := os.WriteFile(other, make([]byte, 6<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			n, err := s.WriteUpload(t.Context(), id, 0, bytes.NewReader(content))
			if chat.CodeOf(err) != chat.CodeStorageFull {
				t.Fatalf("a full disk: %d, %v", n, err)
			}
			if u, err := s.Upload(t.Context(), id); err != nil || u.Offset != n {
				t.Errorf("%d bytes were kept by its word, and %+v, %v", n, u, err)
			}
			if reserve > 0 { // that is what it is for
				for range 50 {
					appendOne(t, s, message("room:a", "u", "", 1))
				}
			}
			holds(t, s, kept.ID, []byte("kept"))
			if err := os.Remove(other); err != nil {
				t.Fatal(err)
			}
			remount(0, 24<<20)
			rest, err := s.WriteUpload(t.Context(), id, n, bytes.NewReader(content[n:]))
			if err != nil || n+rest != int64(len(content)) {
				t.Fatalf("with space again: %d, %v", rest, err)
			}
			if _, err := s.FinishUpload(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			holds(t, s, id, content)
			appendOne(t, s, message("room:a", "u", "", 2))
		})
	}
}
