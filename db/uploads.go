package db

import (
	"context"
	"crypto/sha256"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"teahouse/chat"
)

const (
	// uploadStep is how many bytes may come before they are synced and noted:
	// what has to be sent again at most after a crash.
	uploadStep   = 1 << 20
	uploadBuffer = 64 << 10

	// noteTimeout is how long the writer may take for what is noted when the
	// request itself may have ended already.
	noteTimeout = 30 * time.Second
)

// BeginUpload keeps an upload that is to come: ID, Name, Declared, Size,
// Uploader and Owner are the caller's. It fails with CodeFilesFull if the
// quota does not hold it, with CodeStorageFull if the disk would not, and with
// CodeRateLimited if its Owner has too much unfinished already.
func (s *Store) BeginUpload(ctx context.Context, u chat.Upload, l chat.UploadLimits) error {
	f := &s.files
	f.mu.Lock()
	defer f.mu.Unlock()
	if used := f.used.Load() + f.reserved.Load(); u.Size > f.quota-used {
		return chat.Errorf(chat.CodeFilesFull, "there is no room for this file: all files together may take %d bytes (--files-quota) and %d are taken; older ones go with their messages, or the operator removes some", f.quota, used)
	}
	if err := s.diskRoom(f.reserved.Load() + u.Size); err != nil {
		return err
	}
	err := s.run(ctx, func(t *tx) error {
		var count, bytes int64
		err := t.query(`SELECT count(*), sum(size - offset) FROM uploads WHERE owner = ?`, func(row []driver.Value) error {
			count, bytes = integer(row[0]), integer(row[1])
			return nil
		}, u.Owner)
		if err != nil {
			return err
		}
		if l.Count > 0 && count >= int64(l.Count) || l.Bytes > 0 && count > 0 && bytes+u.Size > l.Bytes {
			return &chat.Error{Code: chat.CodeRateLimited, Retry: 10 * time.Second,
				Message: "too much is being uploaded from here at once; finish or cancel the others first"}
		}
		_, err = t.exec(`INSERT INTO uploads (id, name, declared, size, offset, uploader, owner, at, touched) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?)`,
			u.ID, u.Name, u.Declared, u.Size, u.Uploader, u.Owner, t.at, t.at)
		return err
	})
	if err == nil {
		f.reserved.Add(u.Size)
	}
	return err
}

// diskRoom refuses what would leave less of the disk than the log needs.
func (s *Store) diskRoom(bytes int64) error {
	free, ok := freeBytes(s.files.dir)
	if !ok || free-bytes >= s.opts.FilesReserve {
		return nil
	}
	return &chat.Error{Code: chat.CodeStorageFull, Retry: time.Minute,
		Message: "the server's disk is (nearly) full, so no files are taken; messages go on, and files do again when there is space"}
}

func uploadUnknown() error {
	return chat.Errorf(chat.CodeUploadUnknown, "there is no such upload (any more): it was cancelled, or nothing came for a day; begin a new one")
}

// Upload returns how far an upload has come, or CodeUploadUnknown.
func (s *Store) Upload(ctx context.Context, id string) (u chat.Upload, err error) {
	found := false
	err = s.read(ctx, func(c *conn) error {
		return c.query(`SELECT id, name, declared, size, offset, uploader, owner, at FROM uploads WHERE id = ?`, func(row []driver.Value) error {
			u = chat.Upload{ID: text(row[0]), Name: text(row[1]), Declared: text(row[2]), Size: integer(row[3]), Offset: integer(row[4]),
				Uploader: text(row[5]), Owner: text(row[6]), At: integer(row[7])}
			found = true
			return nil
		}, id)
	})
	if err == nil && !found {
		err = uploadUnknown()
	}
	if err != nil || u.Offset == 0 {
		return u, err
	}
	// A database that was put back may know of bytes that are not here.
	info, err := os.Stat(s.files.incoming(id))
	if errors.Is(err, fs.ErrNotExist) {
		u.Offset = 0
		return u, nil
	}
	if err != nil {
		return u, s.fault(err)
	}
	u.Offset = min(u.Offset, info.Size())
	return u, nil
}

// WriteUpload adds what src gives to an upload, at the offset where it stands,
// and returns how many bytes are on the disk and noted. It takes no more than
// the upload is to have. Only one call at a time may write an upload. Bytes
// that came before src failed are kept.
func (s *Store) WriteUpload(ctx context.Context, id string, offset int64, src io.Reader) (written int64, err error) {
	u, err := s.Upload(ctx, id)
	if err != nil {
		return 0, err
	}
	if offset != u.Offset {
		return 0, chat.Errorf(chat.CodeUploadOffset, "the upload stands at %d, not at %d; ask with HEAD and go on from there", u.Offset, offset)
	}
	w, err := os.OpenFile(s.files.incoming(id), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return 0, s.fault(err)
	}
	defer func() {
		if cerr := w.Close(); err == nil {
			err = s.fault(cerr)
		}
	}()
	// What a crash left behind the noted place may not be whole.
	if err := w.Truncate(offset); err != nil {
		return 0, s.fault(err)
	}
	if _, err := w.Seek(offset, io.SeekStart); err != nil {
		return 0, s.fault(err)
	}
	src = io.LimitReader(src, u.Size-offset)
	buf := make([]byte, min(uploadBuffer, max(u.Size-offset, 1)))
	for {
		n, readErr, err := fill(w, src, buf)
		if err == nil && n > 0 {
			if err = s.diskRoom(0); err == nil {
				err = s.note(ctx, w, id, offset+written+n)
			}
		}
		if err != nil {
			// Give back what this call cannot keep: it may be what filled the disk.
			_ = w.Truncate(offset + written)
			return written, s.fault(err)
		}
		written += n
		if readErr == io.EOF {
			return written, nil
		}
		if readErr != nil {
			return written, readErr
		}
	}
}

// fill copies about a step.
func fill(w io.Writer, src io.Reader, buf []byte) (n int64, readErr, err error) {
	for n < uploadStep {
		m, readErr := src.Read(buf)
		if m > 0 {
			if _, err := w.Write(buf[:m]); err != nil {
				return n, nil, err
			}
			n += int64(m)
		}
		if readErr != nil {
			return n, readErr, nil
		}
	}
	return n, nil, nil
}

// note syncs what came and writes down how far it goes. It is done even if
// the request has ended: that is when it matters.
func (s *Store) note(ctx context.Context, w *os.File, id string, offset int64) error {
	if err := w.Sync(); err != nil {
		return err
	}
	killPoint("bytes are synced")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	return s.run(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE uploads SET offset = ?, touched = ? WHERE id = ?`, offset, t.at, id)
		if err == nil && n == 0 {
			err = uploadUnknown()
		}
		return err
	})
}

// EndUpload makes what came of an upload all of it, where its size was only
// an upper bound.
func (s *Store) EndUpload(ctx context.Context, id string) error {
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	size, offset := int64(0), int64(0)
	err := s.run(ctx, func(t *tx) error {
		err := t.query(`SELECT size, offset FROM uploads WHERE id = ?`, func(row []driver.Value) error {
			size, offset = integer(row[0]), integer(row[1])
			return nil
		}, id)
		if err != nil {
			return err
		}
		_, err = t.exec(`UPDATE uploads SET size = offset WHERE id = ?`, id)
		return err
	})
	if err == nil {
		s.files.reserved.Add(offset - size)
	}
	return err
}

// FinishUpload makes a file of an upload that is complete. Once it is one,
// this returns the file.
func (s *Store) FinishUpload(ctx context.Context, id string) (chat.File, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	f, err := s.finishUpload(ctx, id)
	if err != nil { // another call may have been quicker
		if known, kerr := s.File(ctx, id); kerr == nil {
			return known, nil
		}
	}
	return f, err
}

func (s *Store) finishUpload(ctx context.Context, id string) (f chat.File, err error) {
	u, err := s.Upload(ctx, id)
	if err != nil {
		return f, err
	}
	if u.Offset != u.Size {
		return f, chat.Errorf(chat.CodeUploadOffset, "the upload is not complete: %d of %d bytes are here", u.Offset, u.Size)
	}
	path := s.files.incoming(id)
	if u.Size == 0 { // nothing was ever written
		if err := makeEmpty(path); err != nil {
			return f, s.fault(err)
		}
	}
	hash, head, err := digest(path)
	if err != nil {
		return f, s.fault(err)
	}
	f = chat.File{ID: id, Hash: hash, Name: u.Name, Type: chat.FileType(head, u.Declared), Size: u.Size, Uploader: u.Uploader}
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	if err := s.files.place(path, &f); err != nil {
		return f, s.fault(err)
	}
	killPoint("the blob is in its place")
	fresh, err := s.addFile(ctx, &f)
	if err != nil {
		return f, err
	}
	s.files.reserved.Add(-u.Size)
	if fresh {
		s.files.used.Add(f.Size)
	}
	killPoint("the file is known")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("what is left of an upload was not removed; the next start does it", "err", err)
	}
	return f, nil
}

// addFile writes the rows of a file whose blob is on the disk. fresh says that
// its content was not known before.
func (s *Store) addFile(ctx context.Context, f *chat.File) (fresh bool, err error) {
	err = s.run(ctx, func(t *tx) error {
		f.At = t.at
		n, err := t.exec(`DELETE FROM uploads WHERE id = ?`, f.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return uploadUnknown()
		}
		_, known, err := t.one(`SELECT 1 FROM blobs WHERE hash = ?`, f.Hash[:])
		if err != nil {
			return err
		}
		fresh = !known
		if _, err := t.exec(`INSERT INTO blobs (hash, size, files) VALUES (?, ?, 1) ON CONFLICT (hash) DO UPDATE SET files = files + 1`, f.Hash[:], f.Size); err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO files (id, hash, name, type, size, uploader, at, loose) VALUES (?, ?, ?, ?, ?, ?, ?, 1)`,
			f.ID, f.Hash[:], f.Name, f.Type, f.Size, f.Uploader, f.At)
		return err
	})
	return fresh, err
}

// place puts the content at path where its blob belongs, unless it is there
// already. Where the file system can, both names stay: should the row not
// come about, the upload is still whole.
func (f *files) place(path string, file *chat.File) error {
	blob := f.blob(file.Hash[:])
	if info, err := os.Stat(blob); err == nil && info.Size() == file.Size {
		return nil
	}
	dir := filepath.Dir(blob)
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := syncDir(f.dir); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := os.Remove(blob); err != nil && !errors.Is(err, fs.ErrNotExist) { // of another size: it was damaged
		return err
	}
	if err := os.Link(path, blob); err != nil {
		if err := os.Rename(path, blob); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

func makeEmpty(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// digest returns the hash of a file, and how it begins.
func digest(path string) (sum [32]byte, head []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, nil, err
	}
	defer f.Close()
	head = make([]byte, chat.FileHead)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return sum, nil, err
	}
	head = head[:n]
	h := sha256.New()
	h.Write(head)
	if _, err := io.CopyBuffer(h, f, make([]byte, uploadBuffer)); err != nil {
		return sum, nil, err
	}
	h.Sum(sum[:0])
	return sum, head, nil
}

// DropUpload forgets an upload and what came of it.
func (s *Store) DropUpload(ctx context.Context, id string) error {
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	size := int64(0)
	err := s.run(ctx, func(t *tx) error {
		n, found, err := t.one(`DELETE FROM uploads WHERE id = ? RETURNING size`, id)
		if err == nil && !found {
			err = uploadUnknown()
		}
		size = n
		return err
	})
	if err != nil {
		return err
	}
	s.files.reserved.Add(-size)
	killPoint("the upload is forgotten")
	if err := os.Remove(s.files.incoming(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("what came of an upload was not removed; the next start does it", "err", err)
	}
	return nil
}
