package db

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"teahouse/migrations"
)

// tempDir is t.TempDir for a round of rapid.
func tempDir(t *rapid.T) (dir string, clean func()) {
	dir, err := os.MkdirTemp("", "db")
	if err != nil {
		t.Fatal(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// anOldFile returns a folder as the version with so many migrations left it,
// with one event in a topic, of the key "k". Today's code cannot write into an
// old schema, so the event is written by hand.
func anOldFile(t *testing.T, steps int, topic string) string {
	t.Helper()
	dir := t.TempDir()
	old := fstest.MapFS{}
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names[:steps] {
		b, err := migrations.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		old[name] = &fstest.MapFile{Data: b}
	}
	s := openIn(t, dir, func(o *Options) { o.Migrations = old })
	err = s.chore(t.Context(), func(w *writer) error {
		return w.c.script(fmt.Sprintf(`INSERT INTO topics (id, name) VALUES (1, '%s');
			INSERT INTO events (seq, topic_id, key_hash, at, kind, sender, key, body) VALUES (1, 1, %d, 1000, 'message', '', 'k', '{"n":1}')`,
			topic, int64(keyHash(topic, "", "k"))))
	})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	return dir
}
