package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	part := path + ".part"
	os.Remove(part)
	defer os.Remove(part)
	select {
	case <-s.closing:
		return errClosed()
	default:
	}
	s.workers.Add(1)
	defer s.workers.Done()
	c, err := dial(s.path, true)
	if err != nil {
		return s.fault(err)
	}
	defer c.close()
	if err := c.interruptible(ctx, func() error { return vacuumInto(c, part) }); err != nil {
		return err
	}
	b, err := dial(part, false)
	if err != nil {
		return err
	}
	_, err = b.exec(`UPDATE log SET epoch = '', boot = '', stopped = 'clean'`)
	if err = errors.Join(err, b.close()); err != nil {
		return err
	}
	if err := os.Link(part, path); err != nil { // unlike a rename it does not overwrite
		if os.IsExist(err) {
			return err
		}
		if err := os.Rename(part, path); err != nil {
			return err
		}
	}
	return syncFile(path)
}
