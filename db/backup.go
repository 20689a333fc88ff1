package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"teahouse/chat"
)

// vacuumInto writes a whole, compact and synced copy to path, which must not exist.
func vacuumInto(c *conn, path string) error {
	if err := makeFile(path); err != nil {
		return err
	}
	_, err := c.exec("VACUUM INTO ?", path)
	if err == nil {
		err = syncFile(path)
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}

// makeFile makes an empty file that nobody else may read; SQLite fills it.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// Backup writes a copy of the whole database, as it is at this moment, to
// path, which must not exist; appends go on meanwhile. The copy has no epoch:
// whoever opens it gets a new one, so that clients notice. When Backup
// returns without an error the copy is on the disk.
func (s *Store) Backup(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s exists already; a backup never overwrites", path)
	}
	s.long.RLock()
	defer s.long.RUnlock()
	if s.life.Err() != nil {
		return errClosed()
	}
	ctx, cancel := s.until(ctx)
	defer cancel()
	if ctx.Err() != nil {
		return gaveUp(ctx)
	}
	part := path + ".part"
	os.Remove(part)
	defer os.Remove(part)
	if err := s.copyTo(ctx, part); err != nil {
		if ctx.Err() != nil {
			return gaveUp(ctx)
		}
		if diskFull(part, err) {
			return &chat.Error{Code: chat.CodeStorageFull, Message: "there is no room for the backup", Err: err}
		}
		return err
	}
	if err := os.Link(part, path); err != nil { // unlike a rename it does not overwrite
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s exists already; a backup never overwrites", path)
		}
		if err := os.Rename(part, path); err != nil { // a file system without links
			return err
		}
	}
	return syncFile(path)
}

// copyTo makes the copy and takes its epoch away.
func (s *Store) copyTo(ctx context.Context, path string) error {
	c, err := dial(s.path, true)
	if err != nil {
		return err
	}
	c.ctx = ctx
	if err := errors.Join(vacuumInto(c, path), c.close()); err != nil {
		return err
	}
	b, err := dial(path, false)
	if err != nil {
		return err
	}
	_, err = b.exec(`UPDATE log SET epoch = '', boot = '', stopped = 'clean'`)
	return errors.Join(err, b.close())
}
