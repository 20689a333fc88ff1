// Package db keeps the log and what belongs to it in one SQLite file. It is
// the chat.Store of a single process; no other package knows SQLite.
//
// One goroutine owns the writing connection. Whatever queued up while it
// committed is its next transaction (group commit), so one sync is paid for
// by many. A commit only appends to the table of events. Its two indexes (by
// topic, by idempotency key) are written behind in bulk; what they lack is
// listed in memory, so that a topic is its index and, above that, its list.
// The newest events are in memory whole as well.
//
// Goroutines of an open Store: the writer (writer.go), the copier of the WAL
// (checkpoint.go), and one that tends retention, files and the seal (retention.go).
// Locks: feed.mu before tail.mu; neither is held while SQLite works. files.mu
// (files.go) is held while its holder waits for the writer, who never takes it.
package db

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"teahouse/chat"
)

var _ chat.Store = (*Store)(nil)

// The names of the two promises that a Store can make.
const (
	Full   = "full"   // what is acknowledged survives power loss
	Normal = "normal" // what is acknowledged survives a crash of the program; power loss may take the last moments
)

// Options says where and how a Store keeps its file. Only Dir must be set.
type Options struct {
	Dir        string           // the data folder; it is made if its parent exists or can be made
	Durability string           // Full (also "") or Normal
	Clock      func() time.Time // for every timestamp; time.Now if nil
	Retain     []RetainRule     // the first that matches a topic holds; none keeps everything
	Logger     *slog.Logger     // slog.Default() if nil

	PruneEvery   time.Duration // between two passes of retention; 0 is 5 minutes, negative never
	KeepSessions time.Duration // how long an ended session is kept; 0 is 30 days, negative for ever
	KeepAnswers  time.Duration // how long an answer to an Idempotency-Key is kept; 0 is 48 hours, negative for ever

	FilesQuota   int64 // bytes that files may take in all, unfinished uploads included
	FilesReserve int64 // bytes of the disk that files leave free; 0 is 32 MiB, negative none

	Migrations fs.FS // instead of the embedded ones, for tests

	window, recent int           // instead of windowEvents and recentEvents, for tests
	scrub          time.Duration // instead of scrubEvery, for tests
	deliveries     int           // instead of keepDeliveries, for tests
}

// Store is a chat.Store in one SQLite file. It has the capabilities Backup,
// Stats, Prune, the API keys, the settings, the idempotent answers and the files
// besides.
type Store struct {
	opts  Options
	path  string
	full  bool
	clock func() time.Time
	log   *slog.Logger
	lock  *flock.Flock
	epoch string
	boot  string
	tail  *tail
	feed  feed
	files files
	stats counters

	readers chan *conn
	queue   chan *op
	closing chan struct{} // closed when Close begins
	stopped chan struct{} // closed when the writer has ended
	ending  sync.Once
	ended   error
	life    context.Context // ends when Close begins
	die     context.CancelFunc
	long    sync.RWMutex // held for reading by what uses a connection of its own
	renewed bool         // this open gave the log a new epoch
	pruning sync.Mutex
	counted int64 // guarded by pruning: up to here every topic's events were counted
	orphans bool  // guarded by pruning: deliveries of endpoints that are gone were looked for
	workers sync.WaitGroup
	writer  *writer

	hookWork chan struct{} // see WebhookWork
}

// readerConns is how many reads can run at once.
const readerConns = 4

// Append implements chat.Store. The bodies are copied: the caller may use
// its buffers again.
func (s *Store) Append(ctx context.Context, events ...chat.Event) ([]chat.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	o := &op{events: append([]chat.Event(nil), events...)}
	n := 0
	for i := range o.events {
		n += len(o.events[i].Body)
	}
	bodies := make([]byte, 0, n)
	for i := range o.events {
		e := &o.events[i]
		at := len(bodies)
		bodies = append(bodies, e.Body...)
		e.Body = bodies[at:len(bodies):len(bodies)]
	}
	o.bytes, o.hashes = prepare(o.events)
	if err := s.submit(ctx, o); err != nil {
		return nil, err
	}
	return o.events, nil
}

// until returns a context that also ends when the store closes.
func (s *Store) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(errClosed()) })
	return ctx, func() { stop(); cancel(nil) }
}

// Close stops taking calls, commits what is queued, indexes the tail, empties
// the WAL and gives the file free. It may be called more than once; each call
// returns the first one's outcome.
func (s *Store) Close() error {
	s.ending.Do(func() {
		s.die()
		close(s.closing)
		<-s.stopped
		s.long.Lock() // whoever is within has been told to give up
		defer s.long.Unlock()
		s.workers.Wait()
		for range readerConns {
			if c := <-s.readers; c.dc != nil {
				c.close()
			}
		}
		s.ended = s.writer.finish()
		s.ended = errors.Join(s.ended, s.lock.Close())
	})
	return s.ended
}

// finish ends the writer's work after its goroutine has ended.
func (w *writer) finish() error {
	w.indexBroken = time.Time{}
	var errs []error
	if !w.indexAll(true) {
		errs = append(errs, errors.New("the index could not be written; the next start does it"))
	}
	_, err := w.c.exec(`UPDATE log SET stopped = 'clean'`)
	errs = append(errs, err)
	if err == nil {
		errs = append(errs, w.truncateWAL())
	}
	errs = append(errs, w.c.close())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return writeSeal(w.s.opts.Dir, seal{Boot: w.s.boot, Head: w.tail.head})
}
