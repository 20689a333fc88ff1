package db

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"teahouse/chat"
)

// hour is a clock that a test moves.
type hour struct{ ms atomic.Int64 }

func newHour() *hour {
	h := &hour{}
	h.ms.Store(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixMilli())
	return h
}

func (h *hour) now() time.Time       { return time.UnixMilli(h.ms.Load()) }
func (h *hour) pass(d time.Duration) { h.ms.Add(d.Milliseconds()) }

func withFiles(h *hour) func(*Options) {
	return func(o *Options) {
		o.FilesQuota, o.FilesReserve, o.Clock = 1<<20, -1, h.now
	}
}

// put uploads a file whole.
func put(t testing.TB, s *Store, name string, content []byte) chat.File {
	t.Helper()
	id := chat.NewFileID()
	if err := s.BeginUpload(t.Context(), chat.Upload{ID: id, Name: name, Size: int64(len(content))}, chat.UploadLimits{}); err != nil {
		t.Fatalf("BeginUpload: %v", err)
	}
	if n, err := s.WriteUpload(t.Context(), id, 0, bytes.NewReader(content)); err != nil || n != int64(len(content)) {
		t.Fatalf("WriteUpload: %d, %v", n, err)
	}
	f, err := s.FinishUpload(t.Context(), id)
	if err != nil {
		t.Fatalf("FinishUpload: %v", err)
	}
	return f
}

// got reads a file back.
func got(t testing.TB, s *Store, id string) ([]byte, error) {
	t.Helper()
	_, r, err := s.OpenFile(t.Context(), id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b, nil
}

func holds(t testing.TB, s *Store, id string, want []byte) {
	t.Helper()
	if b, err := got(t, s, id); err != nil || !bytes.Equal(b, want) {
		t.Errorf("file %s: %d bytes, %v; want %d", id, len(b), err, len(want))
	}
}

// gone waits until neither row nor blob is left of a file.
func gone(t testing.TB, s *Store, f chat.File) {
	t.Helper()
	if _, err := s.File(t.Context(), f.ID); chat.CodeOf(err) != chat.CodeFileUnknown {
		t.Errorf("File after its end: %v", err)
	}
	eventually(t, "the blob goes", func() bool {
		_, err := os.Stat(s.files.blob(f.Hash[:]))
		return errors.Is(err, fs.ErrNotExist)
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// withFile is a message that refers to files.
func withFile(topic, id, thumb string) chat.Event {
	body, _ := json.Marshal(map[string]any{"text": "x", "file": map[string]string{"id": id, "thumb": thumb}})
	return chat.Event{Topic: topic, Kind: "message", From: "alice", Body: body}
}

func appendOne(t testing.TB, s *Store, e chat.Event) chat.Event {
	t.Helper()
	out, err := s.Append(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func totals(t testing.TB, s *Store) chat.FileTotals {
	t.Helper()
	x, err := s.FileTotals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// onDisk lists what lies in the folder.
func onDisk(t testing.TB, s *Store) (blobs, incoming []string) {
	t.Helper()
	err := filepath.WalkDir(s.files.dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if filepath.Base(filepath.Dir(p)) == incomingFolder {
				incoming = append(incoming, d.Name())
			} else {
				blobs = append(blobs, d.Name())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return blobs, incoming
}

func TestFileRoundTrip(t *testing.T) {
	t.Parallel()
	h := newHour()
	s := openIn(t, t.TempDir(), withFiles(h))
	content := []byte("\xff\xd8\xff" + strings.Repeat("picture", 100))
	f := put(t, s, "a.jpg", content)
	if f.Type != "image/jpeg" || f.Hash != sha256.Sum256(content) || f.Size != int64(len(content)) || f.At != h.ms.Load() {
		t.Errorf("the file is %+v", f)
	}
	holds(t, s, f.ID, content)
	again := put(t, s, "b.jpg", content)
	if blobs, incoming := onDisk(t, s); len(blobs) != 1 || len(incoming) != 0 {
		t.Errorf("two files with one content are %v on the disk, and %v", blobs, incoming)
	}
	if x := totals(t, s); x.Files != 2 || x.Bytes != f.Size || x.UploadBytes != 0 || x.Uploads != 0 || x.Quota != 1<<20 {
		t.Errorf("totals %+v", x)
	}
	if again, err := s.FinishUpload(t.Context(), f.ID); err != nil || again.ID != f.ID || again.Name != "a.jpg" {
		t.Errorf("finishing once more: %+v, %v", again, err)
	}
	list, err := s.Files(t.Context(), chat.FileQuery{})
	if err != nil || len(list) != 2 || list[0].ID != again.ID || list[1].ID != f.ID {
		t.Errorf("the list is %+v, %v", list, err)
	}
	if list, err := s.Files(t.Context(), chat.FileQuery{Before: list[0].N, Limit: 5}); err != nil || len(list) != 1 || list[0].ID != f.ID {
		t.Errorf("the second page is %+v, %v", list, err)
	}
	if err := s.RemoveFile(t.Context(), f.ID, false); err != nil {
		t.Fatal(err)
	}
	holds(t, s, again.ID, content)
	if err := s.RemoveFile(t.Context(), again.ID, false); err != nil {
		t.Fatal(err)
	}
	gone(t, s, again)
	eventually(t, "the bytes are free", func() bool { return totals(t, s).Bytes == 0 })
	if err := s.RemoveFile(t.Context(), f.ID, false); chat.CodeOf(err) != chat.CodeFileUnknown {
		t.Errorf("removing it once more: %v", err)
	}
}

func TestFileOfNothing(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir(), withFiles(newHour()))
	id := chat.NewFileID()
	if err := s.BeginUpload(t.Context(), chat.Upload{ID: id, Name: "e"}, chat.UploadLimits{}); err != nil {
		t.Fatal(err)
	}
	f, err := s.FinishUpload(t.Context(), id)
	if err != nil || f.Size != 0 || f.Type != chat.PlainFile {
		t.Fatalf("%+v, %v", f, err)
	}
	holds(t, s, id, nil)
}

// An upload whose source breaks goes on where it broke.
func TestUploadGoesOn(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir(), withFiles(newHour()), func(o *Options) { o.FilesQuota = 64 << 20 })
	content := bytes.Repeat([]byte("0123456789abcdef"), 3<<20/16+5)
	id := chat.NewFileID()
	if err := s.BeginUpload(t.Context(), chat.Upload{ID: id, Size: int64(len(content))}, chat.UploadLimits{}); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the network broke")
	cut := 2<<20 + 12345
	n, err := s.WriteUpload(t.Context(), id, 0, io.MultiReader(bytes.NewReader(content[:cut]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || n != int64(cut) {
		t.Fatalf("cut at %d: %d, %v", cut, n, err)
	}
	u, err := s.Upload(t.Context(), id)
	if err != nil || u.Offset != int64(cut) {
		t.Fatalf("it stands at %d, %v", u.Offset, err)
	}
	if _, err := s.WriteUpload(t.Context(), id, 5, strings.NewReader("x")); chat.CodeOf(err) != chat.CodeUploadOffset {
		t.Errorf("a wrong offset: %v", err)
	}
	if _, err := s.FinishUpload(t.Context(), id); chat.CodeOf(err) != chat.CodeUploadOffset {
		t.Errorf("finished too early: %v", err)
	}
	// More than it is to have is not taken.
	n, err = s.WriteUpload(t.Context(), id, int64(cut), io.MultiReader(bytes.NewReader(content[cut:]), strings.NewReader("more")))
	if err != nil || n != int64(len(content)-cut) {
		t.Fatalf("the rest: %d, %v", n, err)
	}
	if _, err := s.FinishUpload(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	holds(t, s, id, content)
}

// What a file is referred to by decides how long it stays.
func TestFileGoesWithItsEvents(t *testing.T) {
	t.Parallel()
	h := newHour()
	s := openIn(t, t.TempDir(), withFiles(h), func(o *Options) {
		o.Retain = []RetainRule{{Pattern: "room:short", Retention: chat.Retention{Age: time.Hour}}}
	})
	picture, thumb := put(t, s, "p", []byte("picture")), put(t, s, "t", []byte("thumb"))
	both, loose := put(t, s, "b", []byte("both")), put(t, s, "l", []byte("loose"))
	appendOne(t, s, withFile("room:short", picture.ID, thumb.ID))
	appendOne(t, s, withFile("room:short", both.ID, ""))
	recalled := appendOne(t, s, withFile("room:long", both.ID, chat.NewFileID()))
	if f, err := s.File(t.Context(), both.ID); err != nil || f.Refs != 2 {
		t.Errorf("refs: %+v, %v", f, err)
	}
	if err := s.RemoveFile(t.Context(), both.ID, false); chat.CodeOf(err) != chat.CodeFileInUse {
		t.Errorf("removing a file in use: %v", err)
	}
	sweep(t, s)
	for _, f := range []chat.File{picture, thumb, both, loose} {
		if _, err := got(t, s, f.ID); err != nil {
			t.Errorf("%s went too early: %v", f.Name, err)
		}
	}
	h.pass(chat.FileGrace + time.Second)
	sweep(t, s)
	gone(t, s, loose)
	holds(t, s, picture.ID, []byte("picture"))
	if _, err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone(t, s, picture)
	gone(t, s, thumb)
	holds(t, s, both.ID, []byte("both"))
	if err := s.run(t.Context(), func(t *tx) error { return t.unrefer(recalled.Seq) }); err != nil {
		t.Fatal(err)
	}
	gone(t, s, both)
	if n, _, err := s.one(t.Context(), `SELECT count(*) FROM file_refs`); err != nil || n != 0 {
		t.Errorf("%d references are left, %v", n, err)
	}
}

func sweep(t testing.TB, s *Store) {
	t.Helper()
	if err := s.SweepFiles(t.Context()); err != nil {
		t.Fatalf("SweepFiles: %v", err)
	}
}

// A file that a scheduled event is to refer to waits with it.
func TestFileOfScheduledEvent(t *testing.T) {
	t.Parallel()
	h := newHour()
	s := openIn(t, t.TempDir(), withFiles(h))
	stays, goes := put(t, s, "s", []byte("stays")), put(t, s, "g", []byte("goes"))
	due := h.now().Add(3 * chat.FileGrace).UnixMilli()
	schedule := func(f chat.File) string {
		e := withFile("", f.ID, "")
		out, err := s.Schedule(t.Context(), chat.Scheduled{Due: due, Topics: []string{"room:a", "room:b"}, Event: e})
		if err != nil {
			t.Fatal(err)
		}
		return out[0].Scheduled
	}
	schedule(stays)
	cancelled := schedule(goes)
	h.pass(2 * chat.FileGrace)
	sweep(t, s)
	holds(t, s, goes.ID, []byte("goes"))
	if ok, err := s.Unschedule(t.Context(), cancelled); err != nil || !ok {
		t.Fatal(ok, err)
	}
	gone(t, s, goes)
	h.pass(2 * chat.FileGrace)
	if n, _, err := s.AppendDue(t.Context(), 100); err != nil || n != 2 {
		t.Fatal(n, err)
	}
	sweep(t, s)
	holds(t, s, stays.ID, []byte("stays"))
	if f, err := s.File(t.Context(), stays.ID); err != nil || f.Refs != 2 {
		t.Errorf("%+v, %v", f, err)
	}
}

// An upload to which nothing is added is forgotten after a day, counted from
// the last bytes.
func TestStaleUploadGoes(t *testing.T) {
	t.Parallel()
	h := newHour()
	s := openIn(t, t.TempDir(), withFiles(h))
	id := chat.NewFileID()
	if err := s.BeginUpload(t.Context(), chat.Upload{ID: id, Size: 10}, chat.UploadLimits{}); err != nil {
		t.Fatal(err)
	}
	h.pass(chat.FileGrace - time.Second)
	if _, err := s.WriteUpload(t.Context(), id, 0, strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	h.pass(chat.FileGrace)
	sweep(t, s)
	if u, err := s.Upload(t.Context(), id); err != nil || u.Offset != 5 {
		t.Fatalf("it went too early: %+v, %v", u, err)
	}
	h.pass(time.Second)
	sweep(t, s)
	if _, err := s.Upload(t.Context(), id); chat.CodeOf(err) != chat.CodeUploadUnknown {
		t.Errorf("it is still there: %v", err)
	}
	if _, incoming := onDisk(t, s); len(incoming) != 0 || totals(t, s).UploadBytes != 0 {
		t.Errorf("%v is left, and %d bytes are set aside", incoming, totals(t, s).UploadBytes)
	}
}

func TestFilesQuota(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir(), withFiles(newHour()), func(o *Options) { o.FilesQuota = 100 })
	begin := func(size int64) (string, error) {
		id := chat.NewFileID()
		return id, s.BeginUpload(t.Context(), chat.Upload{ID: id, Size: size}, chat.UploadLimits{})
	}
	full := func(size int64) {
		t.Helper()
		if _, err := begin(size); chat.CodeOf(err) != chat.CodeFilesFull {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	full(101)
	put(t, s, "a", bytes.Repeat([]byte("a"), 60))
	full(41)
	id, err := begin(40)
	if err != nil {
		t.Fatal(err)
	}
	full(1)
	if err := s.DropUpload(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	// Content that is there already takes nothing once it is known to be.
	if id, err = begin(30); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteUpload(t.Context(), id, 0, strings.NewReader("short")); err != nil {
		t.Fatal(err)
	}
	if err := s.EndUpload(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if f, err := s.FinishUpload(t.Context(), id); err != nil || f.Size != 5 {
		t.Fatal(f, err)
	}
	if x := totals(t, s); x.Bytes != 65 || x.UploadBytes != 0 {
		t.Errorf("%+v", x)
	}
	full(36)
	put(t, s, "rest", bytes.Repeat([]byte("r"), 35))
	full(1)
}

// Many finish the same content at once, while its other files come and go.
func TestSameContentAtOnce(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir(), withFiles(newHour()))
	content := []byte(strings.Repeat("same", 1000))
	var wg sync.WaitGroup
	var mu sync.Mutex
	var kept []chat.File
	for w := range 8 {
		wg.Go(func() {
			for i := range 6 {
				f := put(t, s, fmt.Sprint(w, i), content)
				if i%2 == 0 {
					if err := s.RemoveFile(t.Context(), f.ID, false); err != nil {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				kept = append(kept, f)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	sweep(t, s)
	for _, f := range kept {
		holds(t, s, f.ID, content)
	}
	if blobs, incoming := onDisk(t, s); len(blobs) != 1 || len(incoming) != 0 {
		t.Errorf("%v and %v are on the disk", blobs, incoming)
	}
	if x := totals(t, s); x.Bytes != int64(len(content)) || x.UploadBytes != 0 || x.Files != int64(len(kept)) {
		t.Errorf("%+v", x)
	}
}

// A database that was put back without the files says so; the same content
// sent again mends it. And nothing of the folder is removed at that start.
func TestFilesNotPutBack(t *testing.T) {
	t.Parallel()
	h := newHour()
	dir := t.TempDir()
	s := openIn(t, dir, withFiles(h))
	f := put(t, s, "a", []byte("content"))
	appendOne(t, s, withFile("room:a", f.ID, ""))
	id := chat.NewFileID()
	if err := s.BeginUpload(t.Context(), chat.Upload{ID: id, Size: 10}, chat.UploadLimits{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteUpload(t.Context(), id, 0, strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	copyFile(t, backup, filepath.Join(other, fileName))
	stranger := filepath.Join(other, filesFolder, "ab", "ab"+strings.Repeat("0", 62))
	if err := os.MkdirAll(filepath.Dir(stranger), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stranger, []byte("of a newer database"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), options(other, withFiles(h)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got(t, r, f.ID); chat.CodeOf(err) != chat.CodeFileGone {
		t.Errorf("a file without content: %v", err)
	}
	if u, err := r.Upload(t.Context(), id); err != nil || u.Offset != 0 {
		t.Errorf("an upload without its bytes: %+v, %v", u, err)
	}
	put(t, r, "again", []byte("content"))
	holds(t, r, f.ID, []byte("content"))
	shut(t, r)
	if _, err := os.Stat(stranger); err != nil {
		t.Errorf("what the put-back database does not know went at once: %v", err)
	}
	r = openIn(t, other, withFiles(h))
	eventually(t, "the stranger goes at the next start", func() bool {
		_, err := os.Stat(stranger)
		return errors.Is(err, fs.ErrNotExist)
	})
	holds(t, r, f.ID, []byte("content"))
}

func TestUploadLimits(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir(), withFiles(newHour()))
	begin := func(owner string, size int64) error {
		return s.BeginUpload(context.Background(), chat.Upload{ID: chat.NewFileID(), Size: size, Owner: owner}, chat.UploadLimits{Count: 3, Bytes: 100})
	}
	for i, x := range []struct {
		owner string
		size  int64
		ok    bool
	}{{"a", 500, true}, {"a", 1, false}, {"b", 60, true}, {"b", 41, false}, {"b", 40, true}, {"c", 1, true}, {"c", 1, true}, {"c", 1, true}, {"c", 1, false}} {
		if err := begin(x.owner, x.size); (err == nil) != x.ok || err != nil && chat.CodeOf(err) != chat.CodeRateLimited {
			t.Errorf("%d: %v", i, err)
		}
	}
}
