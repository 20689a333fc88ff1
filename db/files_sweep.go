package db

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"teahouse/chat"
)

const (
	sweepEvery = 5 * time.Minute
	sweepFiles = 64 // removed in one transaction
)

// tendFiles does what concerns files, and logs what failed: the next time
// tries again.
func (s *Store) tendFiles(f func(context.Context) error) {
	if err := f(s.life); err != nil && s.life.Err() == nil {
		s.log.Error("files could not be tidied; it is tried again", "err", err)
	}
}

// SweepFiles removes uploads to which nothing was added for chat.FileGrace,
// files that no event referred to in that time, and blobs that no file has.
func (s *Store) SweepFiles(ctx context.Context) error {
	before := s.clock().Add(-chat.FileGrace).UnixMilli()
	var stale []string
	err := s.read(ctx, func(c *conn) error {
		return c.query(`SELECT id FROM uploads WHERE touched < ?`, func(row []driver.Value) error {
			stale = append(stale, text(row[0]))
			return nil
		}, before)
	})
	if err != nil {
		return err
	}
	for _, id := range stale {
		if err := s.DropUpload(ctx, id); err != nil && chat.CodeOf(err) != chat.CodeUploadUnknown {
			return err
		}
	}
	for {
		n, err := s.dropLoose(ctx, before)
		if err != nil {
			return err
		}
		if n < sweepFiles {
			return s.freeBlobs(ctx)
		}
	}
}

func (s *Store) dropLoose(ctx context.Context, before int64) (n int, err error) {
	var loose []int64
	const query = `SELECT n FROM files WHERE loose = 1 AND at < ? ORDER BY at LIMIT ?`
	each := func(row []driver.Value) error {
		loose = append(loose, integer(row[0]))
		return nil
	}
	err = s.read(ctx, func(c *conn) error { return c.query(query, each, before, int64(sweepFiles)) })
	if err != nil || len(loose) == 0 {
		return 0, err
	}
	err = s.whenQuiet(ctx, func(w *writer) error {
		return w.unsynced(func() error {
			loose = loose[:0] // an event may refer to one by now
			if err := w.c.query(query, each, before, int64(sweepFiles)); err != nil {
				return err
			}
			for _, n := range loose {
				if err := w.c.dropFile(n); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return len(loose), err
}

// freeBlobs takes away the blobs that no file has.
func (s *Store) freeBlobs(ctx context.Context) error {
	for {
		var free [][]byte
		err := s.read(ctx, func(c *conn) error {
			return c.query(`SELECT hash FROM blobs WHERE files = 0 LIMIT ?`, func(row []driver.Value) error {
				free = append(free, blob(row[0]))
				return nil
			}, int64(sweepFiles))
		})
		if err != nil {
			return err
		}
		for _, hash := range free {
			if err := s.freeBlob(ctx, hash); err != nil {
				return err
			}
		}
		if len(free) < sweepFiles {
			return nil
		}
	}
}

func (s *Store) freeBlob(ctx context.Context, hash []byte) error {
	s.files.mu.Lock() // no upload brings it back meanwhile
	defer s.files.mu.Unlock()
	_, free, err := s.one(ctx, `SELECT 1 FROM blobs WHERE hash = ? AND files = 0`, hash)
	if err != nil || !free {
		return err
	}
	if err := os.Remove(s.files.blob(hash)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	killPoint("the blob is away")
	size := int64(0)
	err = s.run(ctx, func(t *tx) (err error) {
		size, _, err = t.one(`DELETE FROM blobs WHERE hash = ? AND files = 0 RETURNING size`, hash)
		return err
	})
	if err == nil {
		s.files.used.Add(-size)
	}
	return err
}

// one reads one number.
func (s *Store) one(ctx context.Context, query string, args ...driver.Value) (n int64, found bool, err error) {
	err = s.read(ctx, func(c *conn) error {
		n, found, err = c.one(query, args...)
		return err
	})
	return n, found, err
}

// recoverFiles does at the start what a crash left undone: it finishes uploads
// of which all had come, and removes bytes that nobody knows of.
func (s *Store) recoverFiles(ctx context.Context) error {
	var whole []string
	err := s.read(ctx, func(c *conn) error {
		return c.query(`SELECT id FROM uploads WHERE offset = size`, func(row []driver.Value) error {
			whole = append(whole, text(row[0]))
			return nil
		})
	})
	if err != nil {
		return err
	}
	for _, id := range whole {
		if _, err := s.FinishUpload(ctx, id); err != nil {
			s.log.Warn("an upload that had come whole could not be finished; whoever sends it may try again", "err", err)
		}
	}
	if s.renewed {
		// Another database was put here. Should it turn out to be the wrong
		// one, the files of the right one must still be there.
		s.log.Warn("files that the database does not know are kept until the next start, because the database was put back")
		return s.SweepFiles(ctx)
	}
	if err := s.removeStrangers(ctx); err != nil {
		return err
	}
	return s.SweepFiles(ctx)
}

// removeStrangers removes files from the folder that no row speaks of.
func (s *Store) removeStrangers(ctx context.Context) error {
	folders, err := os.ReadDir(s.files.dir)
	if err != nil {
		return err
	}
	removed := 0
	for _, folder := range folders {
		if !folder.IsDir() {
			continue
		}
		entries, err := os.ReadDir(filepath.Join(s.files.dir, folder.Name()))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if ctx.Err() != nil {
				return nil
			}
			gone, err := s.removeStranger(ctx, folder.Name(), e.Name())
			if err != nil {
				return err
			}
			if gone {
				removed++
			}
		}
	}
	if removed > 0 {
		s.log.Info("removed bytes of files that a crash had left behind", "files", removed)
	}
	return nil
}

// removeStranger looks only at names that we give.
func (s *Store) removeStranger(ctx context.Context, folder, name string) (gone bool, err error) {
	s.files.mu.Lock()
	defer s.files.mu.Unlock()
	var known bool
	if folder == incomingFolder {
		if !chat.ValidFileID(name) {
			return false, nil
		}
		_, known, err = s.one(ctx, `SELECT 1 FROM uploads WHERE id = ?`, name)
	} else {
		hash, herr := hex.DecodeString(name)
		if herr != nil || len(hash) != 32 || name[:2] != folder {
			return false, nil
		}
		_, known, err = s.one(ctx, `SELECT 1 FROM blobs WHERE hash = ?`, hash)
	}
	if err != nil || known {
		return false, err
	}
	err = os.Remove(filepath.Join(s.files.dir, folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
