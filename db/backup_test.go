package db

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"teahouse/chat"
)

func TestBackup(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	want := add(t, s, message("room:a", "u", "k", 1), message("room:a", "u", "l", 2))
	if err := s.PutSetting(t.Context(), "name", []byte("value")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	// Others write meanwhile.
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			add(t, s, message("room:b", "u", "", n))
		}
	})
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatalf("Backup: %v", err)
	}
	stop()
	wg.Wait()
	if err := s.Backup(t.Context(), path); err == nil {
		t.Error("a backup was overwritten")
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the backup's mode: %v, %v", fi, err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 1 {
		t.Errorf("beside the backup there is more: %v", names)
	}

	b := openIn(t, dir)
	if got := replay(t, b, "room:a"); len(got) != 2 || got[1].Seq != want[1].Seq {
		t.Errorf("the backup holds %v", got)
	}
	if again := add(t, b, message("room:a", "u", "k", 9)); again[0].Seq != want[0].Seq {
		t.Errorf("the backup does not know a key: %v", again)
	}
	if v, ok, err := b.Setting(t.Context(), "name"); string(v) != "value" || !ok || err != nil {
		t.Errorf("the backup's setting: %q, %v, %v", v, ok, err)
	}
	epoch := position(t, b).Epoch
	if epoch == "" || epoch == position(t, s).Epoch {
		t.Errorf("the backup's epoch is %q", epoch)
	}
	consistent(t, b)
	shut(t, b)
	b = openIn(t, dir)
	if got := position(t, b).Epoch; got != epoch {
		t.Errorf("the backup's epoch changed again")
	}
	consistent(t, s)
}

func TestBackupRefused(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	add(t, s, message("room:a", "u", "", 1))
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Backup(ctx, filepath.Join(dir, "b")); chat.CodeOf(err) != chat.CodeBusy {
		t.Errorf("a cancelled backup: %v", err)
	}
	if err := s.Backup(t.Context(), filepath.Join(dir, "no", "b")); err == nil {
		t.Error("a backup to a missing folder succeeded")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 0 {
		t.Errorf("it left %v", names)
	}
}

// The ways in which another file can come to stand where ours was.
func TestEpochOfCopies(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		renewed bool
		do      func(t *testing.T, dir, other string)
	}{
		"nothing": {false, func(*testing.T, string, string) {}},
		"the same file again": {false, func(t *testing.T, dir, other string) {
			copyFolder(t, dir, other)
			copyFile(t, filepath.Join(other, fileName), filepath.Join(dir, fileName))
		}},
		"moved with its seal": {false, func(t *testing.T, dir, other string) {
			copyFolder(t, dir, other)
			os.RemoveAll(dir)
			os.Mkdir(dir, 0o700)
			copyFolder(t, other, dir)
		}},
		"an older one": {true, func(t *testing.T, dir, other string) {
			copyFolder(t, dir, other)
			s := openIn(t, dir)
			add(t, s, message("room:a", "u", "", 2))
			shut(t, s)
			copyFile(t, filepath.Join(other, fileName), filepath.Join(dir, fileName))
		}},
		"an older one without new events": {true, func(t *testing.T, dir, other string) {
			copyFolder(t, dir, other)
			shut(t, openIn(t, dir))
			copyFile(t, filepath.Join(other, fileName), filepath.Join(dir, fileName))
		}},
		"one copied while it ran": {true, func(t *testing.T, dir, other string) {
			s := openIn(t, dir)
			copyFolder(t, dir, other)
			add(t, s, message("room:a", "u", "", 2))
			shut(t, s)
			copyFile(t, filepath.Join(other, fileName), filepath.Join(dir, fileName))
			copyFile(t, filepath.Join(other, fileName+"-wal"), filepath.Join(dir, fileName+"-wal"))
		}},
		"one copied while it ran, then killed": {true, func(t *testing.T, dir, other string) {
			s := openIn(t, dir)
			copyFolder(t, dir, other)
			add(t, s, message("room:a", "u", "", 2))
			if _, err := s.sealNow(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			killed := crash(t, s)
			shut(t, s)
			copyFolder(t, killed, dir)
			copyFile(t, filepath.Join(other, fileName), filepath.Join(dir, fileName))
			copyFile(t, filepath.Join(other, fileName+"-wal"), filepath.Join(dir, fileName+"-wal"))
		}},
		"no seal": {true, func(t *testing.T, dir, other string) {
			os.Remove(filepath.Join(dir, sealName))
		}},
		"a broken seal": {true, func(t *testing.T, dir, other string) {
			os.WriteFile(filepath.Join(dir, sealName), []byte("{"), 0o600)
		}},
	} {
		for _, durability := range []string{Full, Normal} {
			t.Run(name+" "+durability, func(t *testing.T) {
				t.Parallel()
				dir, set := t.TempDir(), func(o *Options) { o.Durability = durability }
				s := openIn(t, dir, set)
				add(t, s, message("room:a", "u", "k", 1))
				epoch := position(t, s).Epoch
				shut(t, s)
				test.do(t, dir, t.TempDir())
				s = openIn(t, dir, set)
				got := position(t, s).Epoch
				if renewed := got != epoch; renewed != test.renewed {
					t.Errorf("renewed: %v, want %v", renewed, test.renewed)
				}
				if n := len(replay(t, s, "room:a")); n != 1 {
					t.Errorf("the log has %d events", n)
				}
				shut(t, s)
				s = openIn(t, dir, set)
				if again := position(t, s).Epoch; again != got {
					t.Errorf("the epoch changed once more")
				}
			})
		}
	}
}
