package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
)

// The files of the test that kills: one that an event refers to, one that is
// to be removed, one that comes and one that is cancelled.
var (
	crashKept    = bytes.Repeat([]byte("kept"), 1000)
	crashRemoved = bytes.Repeat([]byte("removed"), 1000)
	crashComes   = bytes.Repeat([]byte("comes"), uploadStep/5+1000)
)

const crashQuota = 16 << 20

// filesChild lets files come and go, and is killed on the way. It tells the
// ids of its uploads.
func filesChild(dir string) {
	killAt(os.Getenv("TEAHOUSE_DB_POINT"))
	s, err := Open(context.Background(), options(dir, func(o *Options) { o.FilesQuota, o.FilesReserve = crashQuota, -1 }))
	if err != nil {
		fmt.Println("error", err)
		return
	}
	ctx := context.Background()
	comes, cancelled := chat.NewFileID(), chat.NewFileID()
	fmt.Println(comes)
	errs := []error{
		s.BeginUpload(ctx, chat.Upload{ID: cancelled, Size: 10}, chat.UploadLimits{}),
		s.BeginUpload(ctx, chat.Upload{ID: comes, Size: int64(len(crashComes))}, chat.UploadLimits{}),
	}
	_, err = s.WriteUpload(ctx, comes, 0, bytes.NewReader(crashComes))
	errs = append(errs, err)
	_, err = s.FinishUpload(ctx, comes)
	errs = append(errs, err)
	_, err = s.WriteUpload(ctx, cancelled, 0, strings.NewReader("hello"))
	errs = append(errs, err, s.DropUpload(ctx, cancelled), s.RemoveFile(ctx, os.Getenv("TEAHOUSE_DB_FILE"), false), s.SweepFiles(ctx))
	fmt.Println("error: lived", errors.Join(errs...))
}

// The process is killed at each step of what happens to files. What an event
// refers to is there afterwards; an upload goes on or is a file; and in the
// end nothing is left that nobody knows of.
func TestKilledWhileFilesComeAndGo(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"bytes are synced", "the blob is in its place", "the file is known", "the upload is forgotten", "the blob is away"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			set := func(o *Options) { o.FilesQuota, o.FilesReserve = crashQuota, -1 }
			s, err := Open(t.Context(), options(dir, set))
			if err != nil {
				t.Fatal(err)
			}
			kept, removed := put(t, s, "kept", crashKept), put(t, s, "removed", crashRemoved)
			appendOne(t, s, withFile("room:a", kept.ID, ""))
			shut(t, s)

			out, err := childCommand(t, "files", dir, "TEAHOUSE_DB_POINT="+point, "TEAHOUSE_DB_FILE="+removed.ID).Output()
			comes, rest, _ := strings.Cut(string(out), "\n")
			if err == nil || rest != "" || !chat.ValidFileID(comes) {
				t.Fatalf("the child was not killed: %q, %v", out, err)
			}

			if s, err = Open(t.Context(), options(dir, set)); err != nil {
				t.Fatal(err)
			}
			holds(t, s, kept.ID, crashKept)
			if point == "bytes are synced" { // the first step of it was not noted
				u, err := s.Upload(t.Context(), comes)
				if err != nil || u.Offset != 0 {
					t.Errorf("the upload is %+v, %v", u, err)
				}
				if _, err := s.WriteUpload(t.Context(), comes, 0, bytes.NewReader(crashComes)); err != nil {
					t.Error(err)
				}
				if _, err := s.FinishUpload(t.Context(), comes); err != nil {
					t.Error(err)
				}
			}
			eventually(t, "what came is a file", func() bool {
				_, err := s.File(t.Context(), comes)
				return err == nil
			})
			holds(t, s, comes, crashComes)
			shut(t, s)

			// Two days later.
			s = openIn(t, dir, set, func(o *Options) { o.Clock = func() time.Time { return time.Now().Add(48 * time.Hour) } })
			eventually(t, "the folder is tidy", func() bool {
				blobs, incoming := onDisk(t, s)
				return len(blobs) == 1 && len(incoming) == 0
			})
			holds(t, s, kept.ID, crashKept)
			eventually(t, "and so is the database", func() bool {
				x := totals(t, s)
				return x == chat.FileTotals{Files: 1, Bytes: kept.Size, Quota: crashQuota}
			})
		})
	}
}

// Files come, are referred to, lose it, go and come again, over restarts. At
// any time what a model says is there is there, and its bytes are counted once.
func TestFilesAgainstModel(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	h, dir := newHour(), t.TempDir()
	set := func(o *Options) { withFiles(h)(o); o.Durability = Normal }
	s, err := Open(t.Context(), options(dir, set))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { shut(t, s) }()
	type file struct {
		chat.File
		content []byte
		ever    bool // it was referred to
	}
	files := make(map[string]*file)
	events := make(map[int64][]string)
	ids := func() (list []string) {
		for id := range files {
			list = append(list, id)
		}
		slices.Sort(list)
		return list
	}
	pick := func() string {
		if list := ids(); len(list) > 0 && random.IntN(8) > 0 {
			return list[random.IntN(len(list))]
		}
		return chat.NewFileID()
	}
	settle := func() { // what has lost its last event goes
		used := make(map[string]bool)
		for _, refs := range events {
			for _, id := range refs {
				used[id] = true
			}
		}
		for id, f := range files {
			if f.ever && !used[id] {
				delete(files, id)
			}
		}
	}
	for step := range 250 {
		switch random.IntN(8) {
		case 0, 1:
			content := bytes.Repeat([]byte{byte(random.IntN(6))}, 100+random.IntN(3))
			f := put(t, s, "f", content)
			files[f.ID] = &file{File: f, content: content}
		case 2, 3:
			a, b := pick(), pick()
			e := appendOne(t, s, withFile("room:a", a, b))
			for _, id := range []string{a, b} {
				if f := files[id]; f != nil {
					f.ever = true
					if !slices.Contains(events[e.Seq], id) {
						events[e.Seq] = append(events[e.Seq], id)
					}
				}
			}
		case 4:
			for seq := range events {
				if err := s.run(t.Context(), func(t *tx) error { return t.unrefer(seq) }); err != nil {
					t.Fatal(err)
				}
				delete(events, seq)
				break
			}
			settle()
		case 5:
			id := pick()
			used := slices.ContainsFunc(slices.Collect(func(yield func([]string) bool) {
				for _, refs := range events {
					if !yield(refs) {
						return
					}
				}
			}), func(refs []string) bool { return slices.Contains(refs, id) })
			want := chat.Code("")
			switch {
			case files[id] == nil:
				want = chat.CodeFileUnknown
			case used:
				want = chat.CodeFileInUse
			}
			if err := s.RemoveFile(t.Context(), id, false); chat.CodeOf(err) != want {
				t.Fatalf("step %d: removing: %v, want %s", step, err, want)
			}
			if want == "" {
				delete(files, id)
			}
		case 6:
			h.pass(time.Duration(random.Int64N(int64(chat.FileGrace))))
			sweep(t, s)
			for id, f := range files {
				if !f.ever && f.At < h.now().Add(-chat.FileGrace).UnixMilli() {
					delete(files, id)
				}
			}
		case 7:
			if random.IntN(4) == 0 {
				shut(t, s)
				if s, err = Open(t.Context(), options(dir, set)); err != nil {
					t.Fatal(err)
				}
				// The start sweeps, too; let it, so that the model knows when.
				sweep(t, s)
				for id, f := range files {
					if !f.ever && f.At < h.now().Add(-chat.FileGrace).UnixMilli() {
						delete(files, id)
					}
				}
			}
		}
		if step%10 != 9 {
			continue
		}
		sweep(t, s)
		for id, f := range files {
			if !f.ever && f.At < h.now().Add(-chat.FileGrace).UnixMilli() {
				delete(files, id)
			}
		}
		list, err := s.Files(t.Context(), chat.FileQuery{Limit: 1000})
		if err != nil || len(list) != len(files) {
			t.Fatalf("step %d: %d files, %v; the model has %d", step, len(list), err, len(files))
		}
		contents := make(map[string]bool)
		bytes := int64(0)
		for id, f := range files {
			holds(t, s, id, f.content)
			if !contents[string(f.content)] {
				contents[string(f.content)] = true
				bytes += f.Size
			}
		}
		if x := totals(t, s); x.Bytes != bytes {
			t.Fatalf("step %d: %d bytes are counted, the model has %d", step, x.Bytes, bytes)
		}
		if blobs, incoming := onDisk(t, s); len(blobs) != len(contents) || len(incoming) != 0 {
			t.Fatalf("step %d: %d blobs for %d contents, and %v", step, len(blobs), len(contents), incoming)
		}
	}
}

// Bytes that nobody knows of go at the start; what has no name of ours stays.
func TestStrangersGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := newHour()
	s := openIn(t, dir, withFiles(h))
	f := put(t, s, "a", []byte("content"))
	shut(t, s)
	known := filepath.Base(s.files.blob(f.Hash[:]))
	for name, ours := range map[string]bool{
		filepath.Join(known[:2], known[:2]+strings.Repeat("0", 62)): true, filepath.Join("00", strings.Repeat("0", 64)): true,
		filepath.Join(incomingFolder, chat.NewFileID()): true,
		filepath.Join("00", "notes.txt"):                false, filepath.Join(incomingFolder, "README"): false, "README": false,
		filepath.Join("01", strings.Repeat("0", 64)): false, // not where it would be ours
	} {
		path := filepath.Join(dir, filesFolder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := os.Stat(path); (err == nil) == ours {
				t.Errorf("%s: ours %v, %v", name, ours, err)
			}
		})
	}
	s = openIn(t, dir, withFiles(h))
	eventually(t, "three strangers go", func() bool {
		blobs, incoming := onDisk(t, s)
		return len(blobs)+len(incoming) == 1+4
	})
	holds(t, s, f.ID, []byte("content"))
}
