package db

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"teahouse/chat"
	"teahouse/migrations"
)

const (
	fileName = "teahouse.db"
	lockName = "teahouse.lock"

	// appID marks the file as ours ("TeaH"), in its header.
	appID = 0x54656148

	// lostAtMost is how far the Seq is moved on after an open with Normal
	// durability that did not end well: power loss may have taken events that
	// were acknowledged, and their numbers must not be given twice.
	lostAtMost = 1 << 20
)

// Open opens or makes the database in o.Dir and takes it for this process.
// It fails with an *OpenError.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	path := filepath.Join(o.Dir, fileName)
	defer func() { err = openError(path, err) }()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := newStore(o, path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, openError(path, err)
	}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.lock.Close()
		}
	}()
	if err := s.checkFile(); err != nil {
		return nil, err
	}
	c, err := dialWriter(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if err := migrate(c, path, s.opts.Migrations, s.clock, s.log); err != nil {
		return nil, err
	}
	s.writer = &writer{s: s, c: c, tail: s.tail, topics: make(map[string]int64), keys: make(map[uint64]int64),
		copier: copier{s: s, kick: make(chan int64, 1)}}
	if err := s.writer.start(); err != nil {
		return nil, err
	}
	if err := s.openFiles(c); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.stopped)
		s.writer.loop()
	}()
	s.workers.Go(s.writer.copier.run)
	s.workers.Go(s.tend)
	return s, nil
}

func newStore(o Options, path string) (*Store, error) {
	switch o.Durability {
	case "":
		o.Durability = Full
	case Full, Normal:
	default:
		return nil, fmt.Errorf("durability is %q; it can be %q or %q", o.Durability, Full, Normal)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Migrations == nil {
		o.Migrations = migrations.FS
	}
	o.PruneEvery = cmp.Or(o.PruneEvery, 5*time.Minute)
	o.KeepSessions = cmp.Or(o.KeepSessions, 30*24*time.Hour)
	o.KeepAnswers = cmp.Or(o.KeepAnswers, 48*time.Hour)
	o.FilesReserve = cmp.Or(o.FilesReserve, filesReserve)
	o.window = cmp.Or(o.window, windowEvents)
	o.recent = cmp.Or(o.recent, recentEvents)
	o.scrub = cmp.Or(o.scrub, scrubEvery)
	o.deliveries = cmp.Or(o.deliveries, keepDeliveries)
	s := &Store{
		opts: o, path: path, full: o.Durability == Full, clock: o.Clock, log: o.Logger,
		lock: flock.New(filepath.Join(o.Dir, lockName), flock.SetPermissions(0o600)), tail: newTail(int64(o.recent)),
		readers: make(chan *conn, readerConns), queue: make(chan *op, queueLen),
		closing: make(chan struct{}), stopped: make(chan struct{}), hookWork: make(chan struct{}, 1),
	}
	for range readerConns {
		s.readers <- &conn{}
	}
	s.feed.init()
	s.initFiles()
	s.life, s.die = context.WithCancel(context.Background())
	return s, nil
}

// takeLock makes this process the only one that has the file open.
func (s *Store) takeLock() error {
	ok, err := s.lock.TryLock()
	if err != nil {
		return err
	}
	if !ok {
		b, _ := os.ReadFile(s.lock.Path())
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b)))
		return &OpenError{Reason: Locked, Path: s.path, PID: pid}
	}
	// The pid is a help for whoever meets the lock; the lock itself is what counts.
	_ = os.WriteFile(s.lock.Path(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	return nil
}

// checkFile refuses, before SQLite touches it, a file that is not ours, and
// makes a missing one, so that nobody else may read it.
func (s *Store) checkFile() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [100]byte
	n, err := io.ReadFull(f, head[:])
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return nil // new
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	if _, err := os.Stat(s.path + "-journal"); err == nil {
		return nil // its making was cut short: SQLite takes that back first
	}
	if n < len(head) || !bytes.HasPrefix(head[:], []byte("SQLite format 3\x00")) {
		return &OpenError{Reason: Damaged, Path: s.path, Err: errors.New("it is not an SQLite database")}
	}
	if binary.BigEndian.Uint32(head[68:]) != appID {
		return &OpenError{Reason: Foreign, Path: s.path}
	}
	// With a WAL the file may rightly be behind; without one it is whole.
	if wal, err := os.Stat(s.path + "-wal"); err != nil || wal.Size() == 0 {
		pageSize, pages := int64(binary.BigEndian.Uint16(head[16:])), int64(binary.BigEndian.Uint32(head[28:]))
		if fi, err := f.Stat(); err == nil && fi.Size() < pages*pageSize {
			return &OpenError{Reason: Damaged, Path: s.path, Err: fmt.Errorf("its end is missing: it has %d of %d bytes", fi.Size(), pages*pageSize)}
		}
	}
	return nil
}

// dialWriter opens the writing connection. The file's mark is written before
// the journal becomes a WAL, so that it stands in the file itself at once.
func dialWriter(path string) (*conn, error) {
	c, err := dial(path, false, "foreign_keys(1)", "synchronous(FULL)", "temp_store(MEMORY)", "cache_size(-16000)")
	if err != nil {
		return nil, err
	}
	err = func() error {
		id, _, err := c.one("PRAGMA application_id")
		if err == nil && id == 0 {
			err = c.script(fmt.Sprintf("PRAGMA application_id = %d", appID))
		} else if err == nil && id != appID {
			err = &OpenError{Reason: Foreign, Path: path}
		}
		if err != nil {
			return err
		}
		mode := ""
		if err := c.query("PRAGMA journal_mode = WAL", func(row []driver.Value) error {
			mode = text(row[0])
			return nil
		}); err != nil {
			return err
		}
		if mode != "wal" {
			return fmt.Errorf("the file system cannot share memory between connections (journal mode %q)", mode)
		}
		return c.script(fmt.Sprintf("PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = %d", walKept))
	}()
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// start reads where the log stands, gives this open its id, and fills the
// memory tail.
func (w *writer) start() error {
	s := w.s
	var boot, stopped string
	var floor, newest int64
	err := w.c.query(`SELECT epoch, boot, stopped, indexed, floor FROM log`, func(row []driver.Value) error {
		s.epoch, boot, stopped = text(row[0]), text(row[1]), text(row[2])
		w.indexed, floor = integer(row[3]), integer(row[4])
		return nil
	})
	if err != nil {
		return err
	}
	err = w.c.query(`SELECT seq, at FROM events ORDER BY seq DESC LIMIT 1`, func(row []driver.Value) error {
		newest, w.lastAt = integer(row[0]), integer(row[1])
		return nil
	})
	if err != nil {
		return err
	}
	head := max(newest, floor)
	if head, err = s.begin(boot, stopped, head, floor); err != nil {
		return err
	}
	if !s.full {
		if err := w.c.script("PRAGMA synchronous = NORMAL"); err != nil {
			return err
		}
	}
	s.tail.reset(head)
	if err := w.recollect(); err != nil {
		return err
	}
	if err := w.loadHooks(); err != nil {
		return err
	}
	return w.sweepSessions()
}

// recollect notes what the indexes lack. After a clean stop that is nothing.
func (w *writer) recollect() error {
	ids := make(map[int64]*topicTail)
	err := w.c.query(`SELECT seq, topic_id, key_hash FROM events WHERE seq > ? ORDER BY seq`, func(r []driver.Value) error {
		seq, id := integer(r[0]), integer(r[1])
		x, ok := ids[id]
		if !ok {
			x = &topicTail{id: id}
			ids[id] = x
		}
		x.seqs = append(x.seqs, seq)
		hash, keyed := r[2].(int64)
		if keyed {
			w.keys[uint64(hash)] = seq
		}
		w.collect(x, uint64(hash), keyed, seq)
		return nil
	}, w.indexed)
	if err != nil {
		return err
	}
	for id, x := range ids {
		err := w.c.query(`SELECT name FROM topics WHERE id = ?`, func(r []driver.Value) error {
			x.name = text(r[0])
			return nil
		}, id)
		if err != nil {
			return err
		}
		w.tail.topics[x.name] = x
	}
	return nil
}

// begin decides whether this is still the log that it was, and makes the
// open known to the seal and the database, in the order that seal explains.
func (s *Store) begin(boot, stopped string, head, floor int64) (int64, error) {
	old, err := readSeal(s.opts.Dir)
	if err != nil {
		return 0, err
	}
	renew := ""
	switch {
	case s.epoch == "" && boot == "" && head == 0:
		s.epoch = newID() // a new file
	case s.epoch == "":
		renew = "it was restored from a backup"
	case !old.accepts(boot, head) && old.Boot == "" && old.Next == "":
		renew = "its seal is missing, so it came from another place"
	case !old.accepts(boot, head):
		renew = "an older copy of it was put in its place"
	}
	if renew != "" {
		s.epoch, s.renewed = newID(), true
		s.log.Warn("the log has a new epoch: clients read the newest page again", "because", renew, "epoch", s.epoch, "head", head)
	}
	s.boot = newID()
	killPoint("before the seal")
	if renew == "" && boot != old.Boot { // the last open got as far as Next
		old.Boot, old.Head = boot, 0
	}
	old.Next = s.boot
	if err := writeSeal(s.opts.Dir, old); err != nil {
		return 0, err
	}
	killPoint("between the seal and the database")
	if stopped == Normal {
		head += lostAtMost
		floor = head
	}
	err = s.writer.c.atomically(func() error {
		_, err := s.writer.c.exec(`UPDATE log SET epoch = ?, boot = ?, stopped = ?, floor = ?`, s.epoch, s.boot, s.opts.Durability, floor)
		return err
	})
	if err != nil {
		return 0, err
	}
	killPoint("after the database")
	err = writeSeal(s.opts.Dir, seal{Boot: s.boot, Head: head})
	killPoint("after the seal")
	return head, err
}

// killPoint lets a test end the process at a place.
var killPoint = func(string) {}

// sweepSessions ends the sessions that the last process left open.
func (w *writer) sweepSessions() error {
	_, err := w.c.exec(`UPDATE sessions SET ended = max(last_seen, 1), reason = ? WHERE ended = 0`, string(chat.CodeGoingAway))
	return err
}
