package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"

	"teahouse/chat"
)

var errBusy = errors.New("the database is busy")

// eventColumns are what readEvent takes, from events e and topics t. The body
// is kept as text for whoever looks at the file, and read as bytes.
const eventColumns = `e.seq, t.name, e.at, e.kind, e.sender, e.key, CAST(e.body AS BLOB), e.expires`

func readEvent(row []driver.Value) chat.Event {
	return chat.Event{Seq: integer(row[0]), Topic: text(row[1]), At: integer(row[2]), Kind: text(row[3]),
		From: text(row[4]), Key: text(row[5]), Body: body(blob(row[6])), Expires: integer(row[7])}
}

// read lends one of the few read-only connections to f.
func (s *Store) read(ctx context.Context, f func(*conn) error) error {
	if ctx.Err() != nil {
		return gaveUp(ctx)
	}
	select {
	case <-s.stopped:
		return errClosed()
	default:
	}
	var c *conn
	select {
	case c = <-s.readers:
	default:
		select {
		case c = <-s.readers:
		case <-ctx.Done():
			return gaveUp(ctx)
		case <-s.stopped:
			return errClosed()
		}
	}
	defer func() { s.readers <- c }()
	if c.dc == nil { // a slot that has not been used yet
		fresh, err := dial(s.path, true, "query_only(1)")
		if err != nil {
			return s.fault(err)
		}
		*c = *fresh
	}
	return s.fault(f(c))
}

const maxPage = 1 << 20

func page(limit int) int { return min(max(limit, 0), maxPage) }

// Replay implements chat.Store. Few events expire, so they are left out page
// by page, rather than asked for by each statement.
func (s *Store) Replay(ctx context.Context, topics []string, after int64, limit int) ([]chat.Event, error) {
	limit = page(limit)
	var out []chat.Event
	for {
		events, err := s.replay(ctx, topics, after, limit)
		if err != nil {
			return nil, err
		}
		full := len(events) == limit && limit > 0
		if full {
			after = events[limit-1].Seq
		}
		if events = s.repeatable(events); out == nil {
			out = events
		} else {
			out = append(out, events...)
		}
		if !full || len(out) >= limit {
			return out[:min(len(out), limit)], nil
		}
	}
}

// replay is Replay with what has expired: what the index holds up to the
// watermark, and the memory tail above it, both as they were at one moment.
func (s *Store) replay(ctx context.Context, topics []string, after int64, limit int) ([]chat.Event, error) {
	if len(topics) > 1 {
		topics = slices.Compact(slices.Sorted(slices.Values(topics)))
	}
	if ctx.Err() != nil {
		return nil, gaveUp(ctx)
	}
	v := s.tail.view(topics...)
	if limit == 0 || len(topics) == 0 || after >= v.head {
		return nil, nil
	}
	// What is not indexed of all topics, and whether the indexes matter at all.
	var fresh []int64
	indexed := false
	for i := range topics {
		fresh = append(fresh, above(v.seqs[i], after)...)
		indexed = indexed || after < v.upTo(i)
	}
	if len(topics) > 1 {
		slices.Sort(fresh)
	}
	if !indexed {
		if events, ok := v.recent(fresh[:min(len(fresh), limit)]); ok {
			return events, nil
		}
	}
	var events []chat.Event
	err := s.read(ctx, func(c *conn) (err error) {
		if len(topics) == 1 {
			if events, err = replayOne(c, topics[0], after, v.upTo(0), limit); err != nil {
				return err
			}
			fresh, err := s.fetch(c, &v, fresh[:min(len(fresh), limit-len(events))])
			events = append(events, fresh...)
			return err
		}
		seqs, err := mergeIndexes(c, topics, after, &v, limit)
		if err != nil {
			return err
		}
		seqs = append(seqs, fresh...)
		slices.Sort(seqs)
		events, err = s.fetch(c, &v, seqs[:min(len(seqs), limit)])
		return err
	})
	return events, err
}

// recent returns the events if all of them are in memory.
func (v *view) recent(seqs []int64) ([]chat.Event, bool) {
	events := make([]chat.Event, 0, len(seqs))
	for _, seq := range seqs {
		e := v.event(seq)
		if e == nil {
			return nil, false
		}
		events = append(events, *e)
	}
	return events, true
}

func replayOne(c *conn, topic string, after, upTo int64, limit int) (events []chat.Event, err error) {
	err = c.query(`SELECT `+eventColumns+` FROM topics t CROSS JOIN topic_events i ON i.topic_id = t.id CROSS JOIN events e ON e.seq = i.seq
		WHERE t.name = ? AND i.seq > ? AND i.seq <= ? ORDER BY i.seq LIMIT ?`,
		func(row []driver.Value) error {
			events = append(events, readEvent(row))
			return nil
		}, topic, after, upTo, int64(limit))
	return events, err
}

// cursor walks one topic's index, a page at a time.
type cursor struct {
	id   int64
	upTo int64
	seqs []int64
	more bool
}

const cursorPage = 64

func (cu *cursor) fill(c *conn, after int64) error {
	cu.seqs = cu.seqs[:0]
	err := c.query(`SELECT seq FROM topic_events WHERE topic_id = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?`,
		func(row []driver.Value) error {
			cu.seqs = append(cu.seqs, integer(row[0]))
			return nil
		}, cu.id, after, cu.upTo, int64(cursorPage))
	cu.more = len(cu.seqs) == cursorPage
	return err
}

// mergeIndexes returns the lowest Seqs above after in the indexes of several
// topics, at least limit of them if there are so many. A topic with a long
// past costs no more than what is returned of it.
func mergeIndexes(c *conn, topics []string, after int64, v *view, limit int) ([]int64, error) {
	var cursors []*cursor
	for i, name := range topics {
		if after >= v.upTo(i) {
			continue
		}
		id, found, err := c.one(`SELECT id FROM topics WHERE name = ?`, name)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		cu := &cursor{id: id, upTo: v.upTo(i)}
		if err := cu.fill(c, after); err != nil {
			return nil, err
		}
		if len(cu.seqs) > 0 {
			cursors = append(cursors, cu)
		}
	}
	var seqs []int64
	for len(seqs) < limit && len(cursors) > 0 {
		// Everything up to the lowest end of a page that has more is complete.
		bound := v.head
		for _, cu := range cursors {
			if cu.more {
				bound = min(bound, cu.seqs[len(cu.seqs)-1])
			}
		}
		for _, cu := range cursors {
			done := len(cu.seqs) - len(above(cu.seqs, bound))
			seqs = append(seqs, cu.seqs[:done]...)
			cu.seqs = cu.seqs[done:]
			if len(cu.seqs) == 0 && cu.more {
				if err := cu.fill(c, bound); err != nil {
					return nil, err
				}
			}
		}
		cursors = slices.DeleteFunc(cursors, func(cu *cursor) bool { return len(cu.seqs) == 0 })
	}
	return seqs, nil
}

const (
	fetchOne  = `SELECT ` + eventColumns + ` FROM events e JOIN topics t ON t.id = e.topic_id WHERE e.seq = ?`
	fetchSize = 32
)

var fetchMany = strings.Replace(fetchOne, "= ?", "IN (?"+strings.Repeat(", ?", fetchSize-1)+") ORDER BY e.seq", 1)

// fetch returns the events with these rising Seqs, from memory or the file.
func (s *Store) fetch(c *conn, v *view, seqs []int64) ([]chat.Event, error) {
	events := make([]chat.Event, 0, len(seqs))
	old := len(below(seqs, v.start))
	keep := func(row []driver.Value) error {
		events = append(events, readEvent(row))
		return nil
	}
	args := make([]driver.Value, fetchSize)
	for todo := seqs[:old]; len(todo) > 0; {
		n := min(len(todo), fetchSize)
		for i := range args {
			args[i] = todo[min(i, n-1)]
		}
		todo = todo[n:]
		if err := c.query(fetchMany, keep, args...); err != nil {
			return nil, err
		}
	}
	for _, seq := range seqs[old:] {
		events = append(events, *v.event(seq))
	}
	return events, nil
}

// repeatable leaves out what has expired.
func (s *Store) repeatable(events []chat.Event) []chat.Event {
	now := s.clock().UnixMilli()
	return slices.DeleteFunc(events, func(e chat.Event) bool { return e.Expired(now) })
}

// Before implements chat.Store.
func (s *Store) Before(ctx context.Context, topic string, seq int64, limit int) ([]chat.Event, error) {
	limit = page(limit)
	var out []chat.Event
	for {
		events, err := s.before(ctx, topic, seq, limit)
		if err != nil {
			return nil, err
		}
		full := len(events) == limit && limit > 0
		if full {
			seq = events[0].Seq
		}
		if events = s.repeatable(events); out == nil {
			out = events
		} else {
			out = append(events, out...)
		}
		if !full || len(out) >= limit {
			return out[max(0, len(out)-limit):], nil
		}
	}
}

// before is Before with what has expired.
func (s *Store) before(ctx context.Context, topic string, seq int64, limit int) ([]chat.Event, error) {
	if ctx.Err() != nil {
		return nil, gaveUp(ctx)
	}
	v := s.tail.view(topic)
	if seq <= 0 {
		seq = v.head + 1
	}
	if limit == 0 {
		return nil, nil
	}
	fresh := below(v.seqs[0], seq)
	fresh = fresh[max(0, len(fresh)-limit):]
	if len(fresh) == limit {
		if events, ok := v.recent(fresh); ok {
			return events, nil
		}
	}
	var events []chat.Event
	err := s.read(ctx, func(c *conn) error {
		if len(fresh) < limit {
			err := c.query(`SELECT `+eventColumns+` FROM topics t CROSS JOIN topic_events i ON i.topic_id = t.id CROSS JOIN events e ON e.seq = i.seq
				WHERE t.name = ? AND i.seq < ? AND i.seq <= ? ORDER BY i.seq DESC LIMIT ?`,
				func(row []driver.Value) error {
					events = append(events, readEvent(row))
					return nil
				}, topic, seq, v.upTo(0), int64(limit-len(fresh)))
			if err != nil {
				return err
			}
		}
		slices.Reverse(events)
		newer, err := s.fetch(c, &v, fresh)
		events = append(events, newer...)
		return err
	})
	return events, err
}

// Backlog implements chat.Store.
func (s *Store) Backlog(ctx context.Context, topic string, after int64, most int) (chat.Backlog, error) {
	if ctx.Err() != nil {
		return chat.Backlog{}, gaveUp(ctx)
	}
	after = max(after, 0)
	want := page(most) + 1
	v := s.tail.view(topic)
	b := chat.Backlog{Events: min(want, len(above(v.seqs[0], after)))}
	if after >= v.upTo(0) {
		return b, nil // only what is indexed is ever removed
	}
	err := s.read(ctx, func(c *conn) error {
		id, pruned := int64(0), int64(0)
		err := c.query(`SELECT id, pruned FROM topics WHERE name = ?`, func(row []driver.Value) error {
			id, pruned = integer(row[0]), integer(row[1])
			return nil
		}, topic)
		if err != nil || id == 0 {
			return err
		}
		b.Pruned = pruned > after
		if b.Events == want {
			return nil
		}
		n, _, err := c.one(`SELECT count(*) FROM (SELECT 1 FROM topic_events WHERE topic_id = ? AND seq > ? AND seq <= ? LIMIT ?)`,
			id, after, v.upTo(0), int64(want-b.Events))
		b.Events += int(n)
		return err
	})
	return b, err
}

// Head implements chat.Store.
func (s *Store) Head(ctx context.Context) (chat.Position, error) {
	if ctx.Err() != nil {
		return chat.Position{}, gaveUp(ctx)
	}
	return chat.Position{Epoch: s.epoch, Seq: s.tail.view().head}, nil
}

// Talks implements chat.Store; the topics come in the order of their names.
func (s *Store) Talks(ctx context.Context, user string, after int64) ([]string, error) {
	var names, found []string
	var ids []int64
	err := s.read(ctx, func(c *conn) error {
		err := c.query(`SELECT t.id, t.name FROM talk_members m JOIN topics t ON t.id = m.topic_id WHERE m.user = ? ORDER BY t.name`,
			func(row []driver.Value) error {
				ids, names = append(ids, integer(row[0])), append(names, text(row[1]))
				return nil
			}, user)
		if err != nil {
			return err
		}
		// The tail is looked at first: what leaves it meanwhile is in the index.
		v := s.tail.view(names...)
		for i, name := range names {
			if seqs := v.seqs[i]; len(seqs) > 0 && seqs[len(seqs)-1] > after {
				found = append(found, name)
				continue
			}
			_, ok, err := c.one(`SELECT seq FROM topic_events WHERE topic_id = ? AND seq > ? LIMIT 1`, ids[i], after)
			if err != nil {
				return err
			}
			if ok {
				found = append(found, name)
			}
		}
		return nil
	})
	return found, err
}
