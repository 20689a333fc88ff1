package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"sync"

	"teahouse/chat"
)

const (
	feedEvents = 8192 // the writer waits while the Tail has so many events before it
	tailPage   = 1000 // events that Tail reads from the file at once
)

// feed hands committed batches from the writer to the one Tail reader.
type feed struct {
	mu       sync.Mutex
	attached bool
	batches  [][]chat.Event
	held     int           // events in batches
	more     chan struct{} // a token when there is a batch to take
	room     chan struct{} // a token when a batch was taken or the reader has left
}

func (f *feed) init() {
	f.more, f.room = make(chan struct{}, 1), make(chan struct{}, 1)
}

// put is called by the writer with mu held, before the events are published.
func (f *feed) put(t *tx) {
	if !f.attached {
		return
	}
	batch := t.fresh()
	f.batches = append(f.batches, batch)
	f.held += len(batch)
	poke(f.more)
}

// wait holds the writer back while the reader is too far behind.
func (f *feed) wait(closing <-chan struct{}) {
	for {
		f.mu.Lock()
		full := f.attached && f.held >= feedEvents
		f.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-f.room:
		case <-closing: // what is still queued is bounded: hold it all
			return
		}
	}
}

// take returns all that waits as one batch, nil if there is none: the hub
// hands out in one round what was committed during the last one, and so sends
// it in one write to each socket.
func (f *feed) take() []chat.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.batches) == 0 {
		return nil
	}
	batch := f.batches[0]
	if len(f.batches) > 1 {
		batch = slices.Concat(f.batches...)
	}
	clear(f.batches)
	f.batches, f.held = f.batches[:0], 0
	poke(f.room)
	return batch
}

func (f *feed) detach() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attached, f.batches, f.held = false, nil, 0
	poke(f.room)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Tail implements chat.Store. A second reader at the same time is refused. As
// the writer waits for a slow reader, deliver must not wait for the writer: it
// must not call what writes.
func (s *Store) Tail(ctx context.Context, after int64, deliver func([]chat.Event) error) error {
	err := s.follow(ctx, after, deliver)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctx.Err()
	}
	return err
}

func (s *Store) follow(ctx context.Context, after int64, deliver func([]chat.Event) error) error {
	// Catch up from the file first, so that as little as can be is held in
	// memory meanwhile; then attach, and read what came in between.
	after, err := s.catchUp(ctx, after, 0, deliver)
	if err != nil {
		return err
	}
	f := &s.feed
	f.mu.Lock()
	if f.attached {
		f.mu.Unlock()
		return chat.Errorf(chat.CodeInternal, "the log has a Tail reader already")
	}
	f.attached = true
	head := s.tail.view().head
	f.mu.Unlock()
	defer f.detach()
	if after, err = s.catchUp(ctx, after, head, deliver); err != nil {
		return err
	}
	for {
		batch := f.take()
		if batch == nil {
			select {
			case <-f.more:
				continue
			case <-ctx.Done():
				return ctx.Err()
			case <-s.stopped:
				if batch = f.take(); batch == nil {
					return errClosed()
				}
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for len(batch) > 0 && batch[0].Seq <= after {
			batch = batch[1:] // after lies ahead of the log
		}
		if len(batch) == 0 {
			continue
		}
		if err := deliver(batch); err != nil {
			return err
		}
	}
}

// catchUp delivers from the file what lies above after, up to head, or to
// about the newest event with head 0.
func (s *Store) catchUp(ctx context.Context, after, head int64, deliver func([]chat.Event) error) (int64, error) {
	for {
		if ctx.Err() != nil {
			return after, ctx.Err()
		}
		v := s.tail.view()
		upTo := head
		if head == 0 {
			upTo = v.head
		}
		if after >= upTo {
			return after, nil
		}
		var events []chat.Event
		err := s.read(ctx, func(c *conn) error {
			return c.query(`SELECT `+eventColumns+` FROM events e JOIN topics t ON t.id = e.topic_id WHERE e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?`,
				func(row []driver.Value) error {
					e := readEvent(row)
					e.Origin = v.origin(e.Seq)
					events = append(events, e)
					return nil
				}, after, upTo, int64(tailPage))
		})
		if err != nil {
			return after, err
		}
		if len(events) > 0 {
			if err := deliver(events); err != nil {
				return after, err
			}
			after = events[len(events)-1].Seq
		}
		if len(events) < tailPage {
			return after, nil
		}
	}
}
