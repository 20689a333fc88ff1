package db

import (
	"database/sql/driver"
	"fmt"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
)

// A checkpoint copies pages from the WAL to the database and syncs it, which
// takes as long as many commits. So a goroutine with a connection of its own,
// the copier, does nearly all of it beside the writer. It never catches up
// with a writer that goes on, and the WAL can begin anew only when all of it
// is copied; that last, small part the writer does itself.
const (
	copyPages   = 1000            // so many new pages (of 4 KiB) are worth a copy
	finishPages = 250             // with no more than so many left the writer does the rest
	walPages    = 4000            // the WAL should begin anew when it is longer,
	walTooLong  = 4 * walPages    // and here the writer waits for readers, a moment, if they are what prevents it
	walKept     = walPages * 4096 // bytes of the file that are kept for the next round
)

type copier struct {
	s    *Store
	kick chan int64 // pages that the writer has written so far
	busy atomic.Bool
	upTo atomic.Int64 // so many of them are copied
}

func (k *copier) run() {
	var c *conn
	defer func() {
		if c != nil {
			c.close()
		}
	}()
	for {
		select {
		case <-k.s.closing:
			return
		case upTo := <-k.kick:
			err := func() (err error) {
				if c == nil {
					if c, err = dial(k.s.path, false, "wal_autocheckpoint(0)", "cache_size(-100)"); err != nil {
						return err
					}
				}
				_, _, err = walCheckpoint(c, "PASSIVE")
				return err
			}()
			if err != nil {
				// Nothing is lost by it: the WAL grows meanwhile.
				k.s.log.Warn("the WAL could not be copied back", "err", err)
			} else {
				k.upTo.Store(upTo)
			}
			k.busy.Store(false)
		}
	}
}

// walCheckpoint returns how many frames the WAL holds and how many of them
// are not copied back.
func walCheckpoint(c *conn, mode string) (frames, left int64, err error) {
	err = c.query("PRAGMA wal_checkpoint("+mode+")", func(row []driver.Value) error {
		frames, left = integer(row[1]), integer(row[1])-integer(row[2])
		if integer(row[0]) != 0 {
			left = max(left, 1)
		}
		return nil
	})
	return frames, left, err
}

// checkpoint sees to it that the WAL is copied back and does not grow for ever.
func (w *writer) checkpoint(idle bool) {
	w.scrub()
	written := w.pagesWritten()
	left := written - w.copier.upTo.Load()
	long := written - w.walBegan
	switch {
	case w.copier.busy.Load():
	case idle && left > finishPages:
		w.finishWAL(written, "PASSIVE")
	case long >= walPages && (left <= finishPages || long >= 2*walPages) && time.Since(w.walTried) > 100*time.Millisecond:
		w.finishWAL(written, "PASSIVE")
	case left >= copyPages && time.Since(w.walTried) > 100*time.Millisecond || long >= walPages && left > finishPages:
		w.copier.busy.Store(true)
		w.copier.kick <- written
	}
}

// finishWAL copies back what is left, so that the next commit begins the WAL anew.
func (w *writer) finishWAL(written int64, mode string) {
	frames, left, err := walCheckpoint(w.c, mode)
	w.walTried = time.Now()
	if err == nil && left > 0 && frames > walTooLong {
		// A reader holds it. Ours are short: wait for them, and let them not
		// come in again meanwhile; but not for a long one, such as a backup.
		_, left, err = w.patiently(50*time.Millisecond, "RESTART")
	}
	if err != nil {
		w.s.log.Warn("the WAL could not be copied back", "err", err)
		return
	}
	if left == 0 {
		w.walBegan = written
		w.copier.upTo.Store(written)
	}
}

// truncateWAL copies the whole WAL back and empties it.
func (w *writer) truncateWAL() error {
	_, left, err := w.patiently(time.Second, "TRUNCATE")
	if err == nil && left > 0 {
		err = errBusy
	}
	return err
}

// patiently runs a checkpoint that waits for readers at most so long.
func (w *writer) patiently(wait time.Duration, mode string) (frames, left int64, err error) {
	if err := w.c.script(fmt.Sprintf("PRAGMA busy_timeout = %d", wait.Milliseconds())); err != nil {
		return 0, 0, err
	}
	defer w.c.script(fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()))
	return walCheckpoint(w.c, mode)
}

// pagesWritten counts the pages that the writer has put into the WAL.
func (w *writer) pagesWritten() int64 {
	if n, _, err := w.c.dc.(sqlite.DBStatus).Status(sqlite.DBStatusCacheWrite, true); err == nil {
		w.walPages += int64(n)
	}
	return w.walPages
}
