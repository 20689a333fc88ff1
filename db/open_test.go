package db

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"teahouse/chat"
	"teahouse/migrations"
)

// refused fails unless Open fails for this reason, in one sentence.
func refused(t *testing.T, o Options, want Reason) *OpenError {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err == nil {
		s.Close()
		t.Fatalf("Open succeeded, want %s", want)
	}
	var e *OpenError
	if !errors.As(err, &e) {
		t.Fatalf("Open failed with %T: %v", err, err)
	}
	if e.Reason != want {
		t.Fatalf("Open failed for %s, want %s: %v", e.Reason, want, err)
	}
	if strings.Contains(e.Error(), "\n") || !strings.Contains(e.Error(), o.Dir) {
		t.Errorf("not one sentence that names the place: %s", e)
	}
	return e
}

// written returns the folder of a store that was closed with some events in it.
func written(t testing.TB, events int) string {
	t.Helper()
	dir := t.TempDir()
	s := openIn(t, dir)
	batch := make([]chat.Event, events)
	for i := range batch {
		batch[i] = message(fmt.Sprintf("room:%d", i%5), "u", fmt.Sprint(i), i)
	}
	add(t, s, batch...)
	shut(t, s)
	return dir
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "data ?#%20")
	s := openIn(t, dir)
	add(t, s, message("room:a", "u", "", 1))
	for name, want := range map[string]os.FileMode{"": 0o700, fileName: 0o600, fileName + "-wal": 0o600, fileName + "-shm": 0o600, sealName: 0o600, lockName: 0o600} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := fi.Mode().Perm(); got != want {
			t.Errorf("%q has the mode %o, want %o", name, got, want)
		}
	}
}

func TestLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir)
	e := refused(t, options(dir), Locked)
	if e.PID != os.Getpid() {
		t.Errorf("the lock names the pid %d, want %d", e.PID, os.Getpid())
	}
	shut(t, s)
	openIn(t, dir)
}

func TestNotWritable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, options(filepath.Join(file, "data")), NotWritable)
	if os.Geteuid() != 0 {
		dir := written(t, 10)
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(dir, 0o700)
		os.Remove(filepath.Join(dir, lockName))
		refused(t, options(dir), NotWritable)
		refused(t, options(filepath.Join(dir, "data")), NotWritable)
	}
}

func TestBadDurability(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), options(t.TempDir(), func(o *Options) { o.Durability = "some" })); err == nil {
		t.Error("durability some was accepted")
	}
}

func TestNotOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	other, err := dial(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(other.script("CREATE TABLE t (x); PRAGMA user_version = 1"), other.close()); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	refused(t, options(dir), Foreign)
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("a database of another program was changed")
	}
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	dir := written(t, 3000)
	whole, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	put := func(t *testing.T, b []byte) Options {
		dir := copyFolder(t, dir, t.TempDir())
		if err := os.WriteFile(filepath.Join(dir, fileName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return options(dir)
	}
	for name, b := range map[string][]byte{
		"text":      []byte("this is a shopping list, not a database\n"),
		"one byte":  {'S'},
		"header":    append([]byte("SQLITE format 3"), whole[15:]...),
		"half":      whole[:len(whole)/2/4096*4096],
		"page one":  whole[:4096],
		"odd end":   whole[:len(whole)-1000],
		"no schema": append(bytes.Clone(whole[:100]), bytes.Repeat([]byte{0xff}, len(whole)-100)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := put(t, b)
			e := refused(t, o, Damaged)
			if !strings.Contains(e.Error(), "backup") {
				t.Errorf("it does not say where to look for help: %v", e)
			}
			if got, _ := os.ReadFile(e.Path); !bytes.Equal(got, b) {
				t.Errorf("the damaged file was changed")
			}
		})
	}
	// Whatever is flipped: it is refused, or a call fails with a code, or it
	// does not matter. It does not crash.
	t.Run("flipped", func(t *testing.T) {
		t.Parallel()
		random := rand.New(rand.NewPCG(5, 6))
		rounds := 60
		if testing.Short() || slow {
			rounds = 10
		}
		for range rounds {
			b := bytes.Clone(whole)
			for range 1 + random.IntN(40) {
				page := random.IntN(len(b) / 4096)
				b[page*4096+random.IntN([]int{100, 4096}[random.IntN(2)])] ^= byte(1 + random.IntN(255))
			}
			o := put(t, b)
			s, err := Open(t.Context(), o)
			if err != nil {
				var e *OpenError
				if !errors.As(err, &e) {
					t.Errorf("Open failed with %T: %v", err, err)
				}
				continue
			}
			for topic := range 5 {
				name := fmt.Sprintf("room:%d", topic)
				for what, call := range map[string]func() error{
					"Replay":  func() error { _, err := s.Replay(t.Context(), []string{name}, 0, 1<<20); return err },
					"Before":  func() error { _, err := s.Before(t.Context(), name, 0, 1<<20); return err },
					"Backlog": func() error { _, err := s.Backlog(t.Context(), name, 0, 1<<20); return err },
					"Append":  func() error { _, err := s.Append(t.Context(), message(name, "u", fmt.Sprint(topic), -1)); return err },
				} {
					if c := chat.CodeOf(call()); c != "" && c != chat.CodeStorage {
						t.Errorf("%s of a damaged file: %s", what, c)
					}
				}
			}
			s.Close()
		}
	})
}

func TestNewerSchema(t *testing.T) {
	t.Parallel()
	dir := written(t, 10)
	c, err := dial(filepath.Join(dir, fileName), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.script("PRAGMA user_version = 99"), c.close()); err != nil {
		t.Fatal(err)
	}
	e := refused(t, options(dir), NewerSchema)
	if e.Have != 99 || e.Want != schema(t) {
		t.Errorf("have %d, want %d", e.Have, e.Want)
	}
}

// schema is the newest schema that the program knows.
func schema(t *testing.T) int {
	t.Helper()
	steps, err := migrations.FS.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	return len(steps)
}

// step2 returns the real migrations and one more.
func step2(t *testing.T, sql string) fstest.MapFS {
	t.Helper()
	from := fstest.MapFS{}
	names, err := migrations.FS.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := migrations.FS.ReadFile(n.Name())
		if err != nil {
			t.Fatal(err)
		}
		from[n.Name()] = &fstest.MapFile{Data: b}
	}
	from[fmt.Sprintf("%04d_more.sql", len(names)+1)] = &fstest.MapFile{Data: []byte(sql)}
	return from
}

func copies(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, fileName+".v*.bak"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestMigration(t *testing.T) {
	t.Parallel()
	dir := written(t, 10)
	if got := copies(t, dir); len(got) != 0 {
		t.Errorf("a new file was copied before an upgrade: %v", got)
	}
	// One that fails in the middle leaves everything as it was.
	bad := step2(t, "CREATE TABLE more (x TEXT) STRICT; INSERT INTO more VALUES ('a'); INSERT INTO nowhere VALUES (1);")
	refused(t, options(dir, func(o *Options) { o.Migrations = bad }), Failed)
	s := openIn(t, dir)
	if got := replay(t, s, "room:1"); len(got) != 2 {
		t.Errorf("after a failed migration: %v", got)
	}
	epoch := position(t, s).Epoch
	shut(t, s)
	kept := copies(t, dir)
	if len(kept) != 1 {
		t.Fatalf("the copies are %v", kept)
	}
	fi, err := os.Stat(kept[0])
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the copy's mode is %v, %v", fi.Mode(), err)
	}

	good := func(o *Options) {
		o.Migrations = step2(t, "CREATE TABLE more (x TEXT) STRICT; INSERT INTO more VALUES ('a');")
		o.Clock = func() time.Time { return time.UnixMilli(1e12) }
	}
	s = openIn(t, dir, good)
	if got := position(t, s).Epoch; got != epoch {
		t.Errorf("a migration renewed the epoch")
	}
	if got := replay(t, s, "room:1"); len(got) != 2 {
		t.Errorf("after a migration: %v", got)
	}
	n := int64(0)
	err = s.read(t.Context(), func(c *conn) (err error) {
		n, _, err = c.one("SELECT count(*) FROM more")
		return err
	})
	if n != 1 || err != nil {
		t.Errorf("the migration wrote %d rows: %v", n, err)
	}
	shut(t, s)
	if got := copies(t, dir); len(got) != 2 {
		t.Fatalf("the copies are %v", got)
	}
	e := refused(t, options(dir), NewerSchema)
	if e.Have != schema(t)+1 || e.Want != schema(t) {
		t.Errorf("have %d, want %d", e.Have, e.Want)
	}
	// The copy is the way back, and is noticed as one.
	for _, name := range copies(t, dir) {
		if strings.Contains(name, "20010909T014640") {
			copyFile(t, name, filepath.Join(dir, fileName))
		}
	}
	s = openIn(t, dir)
	if got := replay(t, s, "room:1"); len(got) != 2 {
		t.Errorf("in the copy: %v", got)
	}
	if got := position(t, s).Epoch; got == epoch {
		t.Errorf("the copy put back has the same epoch")
	}
}

func TestMigrationNumbers(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]fstest.MapFS{
		"gap":       {"0001_a.sql": {}, "0003_b.sql": {}},
		"twice":     {"0001_a.sql": {}, "0001_b.sql": {}},
		"no number": {"a.sql": {}},
	} {
		if _, err := readSteps(from); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if steps, err := readSteps(migrations.FS); err != nil || len(steps) == 0 {
		t.Errorf("the real ones: %v, %v", steps, err)
	}
}
