package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"teahouse/chat"
)

const (
	queueLen    = 4096 // operations that may wait; who comes then waits to wait
	batchEvents = 2048 // no more is taken into a transaction once it holds so many events,
	batchBytes  = 4 << 20
	batchOps    = 4096
)

// op is one caller's wish. Either events is set, a plain append, or do is,
// anything else that writes. An op that fails with a *chat.Error fails alone;
// do may be run a second time, after what it wrote was taken back.
type op struct {
	events []chat.Event
	hashes []uint64 // of the events' keys, 0 without one
	bytes  int
	do     func(*tx) error
	lax    bool                // power loss may take it: alone it does not wait for the disk
	chore  func(*writer) error // instead of both: the writer's own work, outside of a transaction
	err    error
	state  atomic.Int32
	done   chan struct{} // holds one token when err and events are the outcome
}

// The states of an op: only who moves it away from queued decides its fate.
const (
	queued int32 = iota
	taken
	abandoned
)

// submit queues the op and waits for its outcome. A context that ends while
// the op is queued takes it back; after that the outcome is waited for.
func (s *Store) submit(ctx context.Context, o *op) error {
	o.done = make(chan struct{}, 1)
	if ctx.Err() != nil {
		return gaveUp(ctx)
	}
	select {
	case <-s.closing:
		return errClosed()
	default:
	}
	select {
	case s.queue <- o:
	case <-ctx.Done():
		return gaveUp(ctx)
	case <-s.closing:
		return errClosed()
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		if o.state.CompareAndSwap(queued, abandoned) {
			return gaveUp(ctx)
		}
	case <-s.stopped:
		// It slipped into the queue after the writer had drained it.
		if o.state.CompareAndSwap(queued, abandoned) {
			return errClosed()
		}
	}
	<-o.done
	return o.err
}

// run submits work that is not a plain append. What it wrote is undone when
// it returns an error; it may be run a second time then.
func (s *Store) run(ctx context.Context, do func(*tx) error) error {
	return s.submit(ctx, &op{do: do})
}

// chore lets the writer do something between two transactions.
func (s *Store) chore(ctx context.Context, f func(*writer) error) error {
	return s.submit(ctx, &op{chore: f})
}

// writer owns the writing connection. One goroutine runs it.
type writer struct {
	s      *Store
	c      *conn
	tail   *tail
	batch  []*op
	chores []*op
	tx     tx

	topics map[string]int64 // name -> id of topics written lately

	// What the indexes on the disk do not hold yet.
	topicRows, keyRows behind
	keys               map[uint64]int64 // a key's hash -> Seq of its event
	indexed            int64            // log.indexed: below it nothing waits
	sinceRest          int              // events since rest looked last
	restedAt           time.Time        // when everything was written last
	sinceShrink        int              // events since memory was given back
	lax                bool             // commits do not wait for the disk now
	hooks              []chat.Webhook   // that are told of events, see tell
	args               []driver.Value

	lastAt int64 // At of the newest event: the clock may go back, At does not

	markedAt int64     // when a mark was changed last, see the table
	tainted  bool      // the WAL may hold what was recalled
	scrubbed time.Time // when the writer last tried to empty it for that

	copier      copier
	walPages    int64     // pages written to the WAL, see pagesWritten
	walBegan    int64     // pages written when the WAL last began anew
	walTried    time.Time // when the writer last tried to let it begin anew
	unsure      bool      // a sync failed: what the WAL holds on the disk is not known
	indexBroken time.Time
}

// loop drains the queue, commit by commit, until the store is closed.
func (w *writer) loop() {
	rest := time.NewTicker(restEvery)
	defer rest.Stop()
	resting := true // there is nothing to do in a quiet moment
	for {
		var first *op
		select {
		case first = <-w.s.queue:
		default:
			select {
			case first = <-w.s.queue:
			case <-rest.C:
				if resting = !w.rest(); resting {
					rest.Stop()
				}
				w.s.stats.unindexed.Store(int64(w.topicRows.waiting))
				continue
			case <-w.s.closing:
				w.drain()
				return
			}
		}
		w.s.feed.wait(w.s.closing)
		w.gather(first)
		w.commit()
		w.index()
		w.checkpoint(false)
		w.s.stats.unindexed.Store(int64(w.topicRows.waiting))
		if resting {
			resting = false
			rest.Reset(restEvery)
		}
	}
}

// drain commits what was queued before the store began to close.
func (w *writer) drain() {
	for {
		select {
		case first := <-w.s.queue:
			w.gather(first)
			w.commit()
		default:
			return
		}
	}
}

// gather takes what queued during the last commit, without waiting for more.
func (w *writer) gather(first *op) {
	clear(w.batch)
	w.batch = w.batch[:0]
	events, bytes := 0, 0
	take := func(o *op) {
		if o.state.CompareAndSwap(queued, taken) {
			w.batch = append(w.batch, o)
			events += len(o.events)
			bytes += o.bytes
		}
	}
	take(first)
	for events < batchEvents && bytes < batchBytes && len(w.batch) < batchOps {
		select {
		case o := <-w.s.queue:
			take(o)
		default:
			return
		}
	}
}

// commit writes the batch in one transaction and wakes each caller with its
// own outcome. If SQLite refuses the batch, each op is tried alone, so that a
// bad one harms nobody else.
func (w *writer) commit() {
	w.batch = slices.DeleteFunc(w.batch, func(o *op) bool {
		if o.chore != nil {
			w.chores = append(w.chores, o)
		}
		return o.chore != nil
	})
	defer w.runChores() // after the batch: others wait for that
	if len(w.batch) == 0 {
		return
	}
	began := time.Now()
	err := w.transact(w.batch)
	if err != nil && len(w.batch) > 1 {
		for i := range w.batch {
			if err := w.transact(w.batch[i : i+1]); err != nil {
				w.batch[i].err = w.s.fault(err)
				if diskFull(w.s.path, err) { // it is full for all; do not try each
					for _, o := range w.batch[i+1:] {
						o.err = w.s.fault(err)
						o.done <- struct{}{}
					}
					w.batch[i].done <- struct{}{}
					break
				}
			}
			w.batch[i].done <- struct{}{}
		}
	} else {
		for _, o := range w.batch {
			if err != nil {
				o.err = w.s.fault(err)
			}
			o.done <- struct{}{}
		}
	}
	if err != nil {
		w.s.log.Error("a commit failed", "err", err, "ops", len(w.batch))
	}
	w.s.stats.commitTook.Store(int64(time.Since(began)))
}

func (w *writer) runChores() {
	for _, o := range w.chores {
		o.err = w.s.fault(o.chore(w))
		o.done <- struct{}{}
	}
	clear(w.chores)
	w.chores = w.chores[:0]
}

// transact runs the ops in one transaction and publishes their events. An
// error is SQLite's, and then nothing was written; an op's own error is in
// the op.
func (w *writer) transact(ops []*op) error {
	durable := w.strict
	if !slices.ContainsFunc(ops, func(o *op) bool { return !o.lax }) {
		durable = w.relax
	}
	if err := errors.Join(durable(), w.mend()); err != nil {
		return err
	}
	if w.waiting() > 8*windowEvents {
		return errors.New("the index has not kept up") // it is broken: see the log
	}
	t := &w.tx
	t.begin(w)
	for _, o := range ops {
		o.err = nil
	}
	if _, err := w.c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := t.apply(ops)
	if err == nil {
		_, err = w.c.exec("COMMIT")
	}
	if err != nil {
		w.doubt(err)
		w.c.exec("ROLLBACK") // SQLite may have done it already: then this fails, and rightly
		t.undo(savepoint{})
		return err
	}
	w.publish(t)
	return nil
}

// publish shows the committed events to readers and to the Tail.
func (w *writer) publish(t *tx) {
	w.s.stats.commits.Add(1)
	if t.freed {
		poke(w.s.files.kick)
	}
	if t.count == 0 {
		return
	}
	w.s.stats.observe(t.count)
	w.lastAt = t.at
	if t.told {
		defer w.s.wakeWebhooks()
	}
	w.s.stats.events.Add(int64(t.count))
	f := &w.s.feed
	f.mu.Lock() // so that a Tail that begins now knows exactly what is live
	defer f.mu.Unlock()
	if len(t.recalled) > 0 {
		w.tail.blank(t.recalled)
		w.tainted = true
	}
	f.put(t)
	n := 0
	w.tail.publish(t.head, t.ids, func(x *topicTail, e *chat.Event) {
		w.collect(x, t.hashes[n], e.Key != "", e.Seq)
		n++
	})
	w.sinceRest += n
	w.sinceShrink += n
}

// doubt notes when an error means that it is not known what the disk holds.
func (w *writer) doubt(err error) {
	if code(err) == sqlite3.SQLITE_IOERR_FSYNC {
		w.unsure = true
	}
}

// mend makes sure, after a sync that failed, that nothing rests on what the
// WAL then held: it is copied into the database, synced and emptied.
func (w *writer) mend() error {
	if !w.unsure {
		return nil
	}
	if err := w.truncateWAL(); err != nil {
		return err
	}
	w.unsure = false
	return nil
}
