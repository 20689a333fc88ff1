package db

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"teahouse/chat"
)

// Files are rows here and bytes in the folder files/ beside the database. What
// a row refers to is on the disk before the row is, and goes after it: a crash
// at any point leaves bytes without a row at worst, and those are looked for
// at the next start.

const (
	filesFolder    = "files"
	incomingFolder = "incoming" // of filesFolder: what is still coming
	filesReserve   = 32 << 20   // bytes of the disk that files leave free: the log needs them
)

// files is the folder and what is known of it.
type files struct {
	dir   string
	quota int64
	kick  chan struct{} // a token when there may be blobs to take away

	// mu is held from before a blob appears or disappears in the folder until
	// its row says so. It is taken before anything waits for the writer.
	mu       sync.Mutex
	used     atomic.Int64 // bytes of all blobs; changed with mu held
	reserved atomic.Int64 // bytes that unfinished uploads are to have; changed with mu held
}

func (s *Store) initFiles() {
	s.files.dir = filepath.Join(s.opts.Dir, filesFolder)
	s.files.quota = s.opts.FilesQuota
	s.files.kick = make(chan struct{}, 1)
}

// openFiles makes the folder and reads how much is in it.
func (s *Store) openFiles(c *conn) error {
	if err := os.MkdirAll(filepath.Join(s.files.dir, incomingFolder), 0o700); err != nil {
		return err
	}
	_, any, err := c.one(`SELECT 1 FROM sqlite_schema WHERE name = 'uploads'`)
	if err != nil || !any { // a schema from before there were files, as tests open it
		return err
	}
	used, _, err := c.one(`SELECT sum(size) FROM blobs`)
	if err != nil {
		return err
	}
	reserved, _, err := c.one(`SELECT sum(size) FROM uploads`)
	s.files.used.Store(used)
	s.files.reserved.Store(reserved)
	return err
}

func (f *files) blob(hash []byte) string {
	name := hex.EncodeToString(hash)
	return filepath.Join(f.dir, name[:2], name)
}

func (f *files) incoming(id string) string { return filepath.Join(f.dir, incomingFolder, id) }

const fileColumns = `SELECT f.n, f.id, f.hash, f.name, f.type, f.size, f.uploader, f.at,
	(SELECT count(*) FROM file_refs r WHERE r.file = f.n) FROM files f`

func readFile(row []driver.Value) chat.File {
	f := chat.File{N: integer(row[0]), ID: text(row[1]), Name: text(row[3]), Type: text(row[4]), Size: integer(row[5]),
		Uploader: text(row[6]), At: integer(row[7]), Refs: int(integer(row[8]))}
	copy(f.Hash[:], blob(row[2]))
	return f
}

func fileUnknown() error {
	return chat.Errorf(chat.CodeFileUnknown, "there is no such file (any more): a file goes with the message that it was in, and one that was never sent goes after a day")
}

// File returns what is known of a file, or CodeFileUnknown.
func (s *Store) File(ctx context.Context, id string) (f chat.File, err error) {
	found := false
	err = s.read(ctx, func(c *conn) error {
		return c.query(fileColumns+` WHERE f.id = ?`, func(row []driver.Value) error {
			f, found = readFile(row), true
			return nil
		}, id)
	})
	if err == nil && !found {
		err = fileUnknown()
	}
	return f, err
}

// Files lists files, the newest first.
func (s *Store) Files(ctx context.Context, q chat.FileQuery) (list []chat.File, err error) {
	if q.Before <= 0 {
		q.Before = 1 << 62
	}
	if q.Limit <= 0 {
		q.Limit = 50
	}
	err = s.read(ctx, func(c *conn) error {
		return c.query(fileColumns+` WHERE f.n < ? ORDER BY f.n DESC LIMIT ?`, func(row []driver.Value) error {
			list = append(list, readFile(row))
			return nil
		}, q.Before, int64(q.Limit))
	})
	return list, err
}

// FileTotals returns what all files together take.
func (s *Store) FileTotals(ctx context.Context) (t chat.FileTotals, err error) {
	err = s.read(ctx, func(c *conn) error {
		if t.Files, _, err = c.one(`SELECT count(*) FROM files`); err != nil {
			return err
		}
		t.Uploads, _, err = c.one(`SELECT count(*) FROM uploads`)
		return err
	})
	t.Bytes, t.UploadBytes, t.Quota = s.files.used.Load(), s.files.reserved.Load(), s.files.quota
	return t, err
}

// OpenFile opens a file's content for reading. It is CodeFileGone if the
// content is not where the row says, as when a database was put back without
// the folder.
func (s *Store) OpenFile(ctx context.Context, id string) (chat.File, *os.File, error) {
	f, err := s.File(ctx, id)
	if err != nil {
		return f, nil, err
	}
	r, err := os.Open(s.files.blob(f.Hash[:]))
	if err == nil {
		var info fs.FileInfo
		if info, err = r.Stat(); err == nil && info.Size() == f.Size {
			return f, r, nil
		}
		r.Close()
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		if _, err := s.File(ctx, id); err != nil { // it was removed in between
			return f, nil, err
		}
		return f, nil, chat.Errorf(chat.CodeFileGone, "this file is known here, but its content is not on the server's disk: its operator must put back the folder files, which belongs to the backup of the database")
	}
	return f, nil, s.fault(err)
}

// RemoveFile removes a file. One that an event refers to is CodeFileInUse,
// unless referred says that it goes, too.
func (s *Store) RemoveFile(ctx context.Context, id string, referred bool) error {
	err := s.run(ctx, func(t *tx) error {
		n, found, err := t.one(`SELECT n FROM files WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if !found {
			return fileUnknown()
		}
		if _, used, err := t.one(`SELECT 1 FROM file_refs WHERE file = ? LIMIT 1`, n); err != nil {
			return err
		} else if used && !referred {
			return chat.Errorf(chat.CodeFileInUse, "a message refers to this file; recall the message, or let the operator remove the file")
		}
		if _, err := t.exec(`DELETE FROM file_refs WHERE file = ?`, n); err != nil {
			return err
		}
		return t.dropFile(n)
	})
	if err == nil {
		poke(s.files.kick)
	}
	return err
}

// refer notes which files an event refers to. One that does not exist is left
// out: the text is what matters.
func (c *conn) refer(seq int64, ids []string) error {
	for _, id := range ids {
		n, err := c.exec(`INSERT OR IGNORE INTO file_refs (seq, file) SELECT ?, n FROM files WHERE id = ?`, seq, id)
		if err != nil {
			return err
		}
		if n > 0 {
			if _, err := c.exec(`UPDATE files SET loose = 0 WHERE id = ? AND loose = 1`, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// unrefer takes away what an event referred to. A file to which no other one
// does goes with it. freed says that there are blobs to take away once this is
// committed.
func (c *conn) unrefer(seq int64) (freed bool, err error) {
	var ids []int64
	err = c.query(`SELECT file FROM file_refs WHERE seq = ?`, func(row []driver.Value) error {
		ids = append(ids, integer(row[0]))
		return nil
	}, seq)
	if err != nil || len(ids) == 0 {
		return false, err
	}
	if _, err := c.exec(`DELETE FROM file_refs WHERE seq = ?`, seq); err != nil {
		return false, err
	}
	for _, n := range ids {
		if _, used, err := c.one(`SELECT 1 FROM file_refs WHERE file = ? LIMIT 1`, n); err != nil {
			return freed, err
		} else if used {
			continue
		}
		if err := c.dropFile(n); err != nil {
			return freed, err
		}
		freed = true
	}
	return freed, nil
}

// unrefer is for what takes a body away: the file goes with it, and its blob
// soon after the commit.
func (t *tx) unrefer(seq int64) error {
	freed, err := t.conn.unrefer(seq)
	t.freed = t.freed || freed
	return err
}

// dropFile removes a file's row; its blob is taken away later.
func (c *conn) dropFile(n int64) error {
	if _, err := c.exec(`UPDATE blobs SET files = files - 1 WHERE hash = (SELECT hash FROM files WHERE n = ?)`, n); err != nil {
		return err
	}
	_, err := c.exec(`DELETE FROM files WHERE n = ?`, n)
	return err
}

// unreferRange is unrefer for pruned events, which seldom refer to anything:
// one look at what lies between the first and the last tells.
func (c *conn) unreferRange(rows []prunedRow) (freed bool, err error) {
	pruned := make(map[int64]bool)
	err = c.query(`SELECT DISTINCT seq FROM file_refs WHERE seq BETWEEN ? AND ?`, func(row []driver.Value) error {
		pruned[integer(row[0])] = true
		return nil
	}, rows[0].seq, rows[len(rows)-1].seq)
	if err != nil || len(pruned) == 0 {
		return false, err
	}
	for _, r := range rows {
		if !pruned[r.seq] {
			continue
		}
		f, err := c.unrefer(r.seq)
		if err != nil {
			return freed, err
		}
		freed = freed || f
	}
	return freed, nil
}
