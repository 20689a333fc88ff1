package db

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"strings"

	"teahouse/chat"
)

const (
	scheduledColumns = `SELECT n, id, due, made, kind, sender, key, expires, count, topics, CAST(body AS BLOB) FROM scheduled`
	nextScheduled    = `SELECT due FROM scheduled ORDER BY due LIMIT 1`

	// dueBytes is about how much is appended in one transaction, as long as
	// it is not the wish of one call.
	dueBytes = batchBytes

	// nameBytes is more than a topic usually has.
	nameBytes = 256
)

func readScheduled(row []driver.Value) chat.Scheduled {
	return chat.Scheduled{N: integer(row[0]), ID: text(row[1]), Due: integer(row[2]), Made: integer(row[3]), Count: int(integer(row[8])),
		Topics: strings.Split(text(row[9]), "\n"),
		Event:  chat.Event{Kind: text(row[4]), From: text(row[5]), Key: text(row[6]), Expires: integer(row[7]), Body: blob(row[10])}}
}

// scheduled runs a query of scheduledColumns.
func (c *conn) scheduled(query string, args ...driver.Value) (list []chat.Scheduled, err error) {
	err = c.query(query, func(row []driver.Value) error {
		list = append(list, readScheduled(row))
		return nil
	}, args...)
	return list, err
}

// Schedule implements chat.Store.
func (s *Store) Schedule(ctx context.Context, in chat.Scheduled) (out []chat.Delivery, err error) {
	all := eventsOf(&in)
	_, hashes := prepare(all)
	err = s.run(ctx, func(t *tx) error {
		out = make([]chat.Delivery, len(all))
		waiting := make(map[string]*chat.Scheduled) // by topic
		if in.Event.Key != "" {
			list, err := t.scheduled(scheduledColumns+` WHERE key = ? AND sender = ? AND key <> ''`, in.Event.Key, in.Event.From)
			if err != nil {
				return err
			}
			for i := range list {
				for _, topic := range list[i].Topics {
					waiting[topic] = &list[i]
				}
			}
			if err := t.lookUp([]*op{{events: all, hashes: hashes}}); err != nil {
				return err
			}
		}
		row := in
		row.ID, row.Made, row.Topics = rand.Text()[:16], t.at, nil
		for i := range all {
			e := all[i]
			if e.Key != "" {
				if first, err := t.find(hashes[i], &e); err != nil {
					return err
				} else if first != nil {
					out[i] = chat.Delivery{Event: *first, Duplicate: true}
					out[i].Event.Origin = 0
					continue
				}
				if w := waiting[e.Topic]; w != nil {
					first := w.Event
					first.Topic = e.Topic
					out[i] = chat.Delivery{Event: first, Duplicate: true, Scheduled: w.ID, Due: w.Due}
					continue
				}
				waiting[e.Topic] = &row
			}
			out[i] = chat.Delivery{Event: e, Scheduled: row.ID, Due: row.Due}
			row.Topics = append(row.Topics, e.Topic)
		}
		if len(row.Topics) == 0 {
			return nil
		}
		e := &row.Event
		n, _, err := t.one(`INSERT INTO scheduled (id, due, made, kind, sender, key, expires, count, topics, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING n`,
			row.ID, row.Due, row.Made, e.Kind, e.From, e.Key, e.Expires, int64(len(row.Topics)), strings.Join(row.Topics, "\n"), string(e.Body))
		if err != nil {
			return err
		}
		return t.refer(-n, chat.FileRefs(e.Body)) // so that the file waits with it
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// eventsOf makes the events that are to be appended.
func eventsOf(s *chat.Scheduled) []chat.Event {
	events := make([]chat.Event, len(s.Topics))
	for i, topic := range s.Topics {
		events[i] = s.Event
		events[i].Topic = topic
	}
	return events
}

// find returns the event of the log that has this event's key, nil if there is none.
func (t *tx) find(hash uint64, e *chat.Event) (*chat.Event, error) {
	x, err := t.w.inMemory(hash, e, t.head)
	if err != nil || x != nil {
		return x, err
	}
	first, ok, err := t.indexed(hash, e)
	if err != nil || !ok {
		return nil, err
	}
	return &first, nil
}

// AppendDue implements chat.Store. As long as nothing is due it only reads.
func (s *Store) AppendDue(ctx context.Context, limit int) (taken int, next int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		next, _, err = c.one(nextScheduled)
		return err
	})
	if err != nil || next == 0 || next > s.clock().UnixMilli() {
		return 0, next, err
	}
	dropped := 0
	err = s.run(ctx, func(t *tx) error {
		taken, dropped = 0, 0
		rows, err := t.dueRows(limit)
		if err != nil {
			return err
		}
		var events []chat.Event
		for _, n := range rows {
			list, err := t.scheduled(scheduledColumns+` WHERE n = ?`, n)
			if err != nil {
				return err
			}
			for i := range list {
				taken += list[i].Count
				if list[i].Event.Expired(t.at) {
					dropped += list[i].Count
				} else {
					events = append(events, eventsOf(&list[i])...)
				}
			}
			if _, err := t.exec(`DELETE FROM scheduled WHERE n = ?`, n); err != nil {
				return err
			}
		}
		_, hashes := prepare(events)
		if err := t.lookUp([]*op{{events: events, hashes: hashes}}); err != nil {
			return err
		}
		if err := t.write(events, hashes); err != nil {
			return err
		}
		for _, n := range rows { // now that the events refer to the files themselves
			if err := t.unrefer(-n); err != nil {
				return err
			}
		}
		next, _, err = t.one(nextScheduled)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if dropped > 0 {
		s.log.Warn("scheduled events were dropped: when they could be delivered, their time to live was over", "events", dropped)
	}
	return taken, next, nil
}

// dueRows returns which rows are due and may be appended together.
func (t *tx) dueRows(limit int) (rows []int64, err error) {
	count, bytes, full := int64(0), int64(0), false
	err = t.query(`SELECT n, count, count * length(CAST(body AS BLOB)) FROM scheduled WHERE due <= ? ORDER BY due, n LIMIT ?`,
		func(row []driver.Value) error {
			count, bytes = count+integer(row[1]), bytes+integer(row[2])
			full = full || len(rows) > 0 && (count > int64(limit) || bytes > dueBytes)
			if !full {
				rows = append(rows, integer(row[0]))
			}
			return nil
		}, t.at, int64(max(limit, 1)))
	return rows, err
}

// Scheduled implements chat.Store.
func (s *Store) Scheduled(ctx context.Context, q chat.ScheduledQuery) (list []chat.Scheduled, err error) {
	query, args := scheduledColumns, []driver.Value(nil)
	if q.Names > 0 { // of a call to thousands not all needs to be read
		query = strings.Replace(query, "topics", "substr(topics, 1, ?)", 1)
		args = append(args, int64(q.Names)*nameBytes)
	}
	query += " WHERE (due, n) > (?, ?)"
	args = append(args, q.Due, q.N)
	if q.Key != "" {
		query += " AND key = ? AND sender = ? AND key <> ''"
		args = append(args, q.Key, q.From)
	}
	if q.ID != "" {
		query += " AND id = ?"
		args = append(args, q.ID)
	}
	if q.Limit <= 0 {
		q.Limit = 50
	}
	args = append(args, int64(q.Limit))
	err = s.read(ctx, func(c *conn) error {
		list, err = c.scheduled(query+" ORDER BY due, n LIMIT ?", args...)
		return err
	})
	for i := range list {
		x := &list[i]
		if q.Names > 0 && len(x.Topics) > q.Names {
			x.Topics = x.Topics[:q.Names]
		} else if q.Names > 0 && len(x.Topics) < x.Count {
			x.Topics = x.Topics[:len(x.Topics)-1] // the last may be cut short
		}
	}
	return list, err
}

// Unschedule implements chat.Store.
func (s *Store) Unschedule(ctx context.Context, id string) (found bool, err error) {
	err = s.run(ctx, func(t *tx) error {
		n, ok, err := t.one(`DELETE FROM scheduled WHERE id = ? RETURNING n`, id)
		if found = ok; err != nil || !ok {
			return err
		}
		return t.unrefer(-n)
	})
	return found, err
}
