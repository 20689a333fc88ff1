package db

import (
	"context"
	"database/sql/driver"
	"strings"

	"teahouse/chat"
)

const (
	markColumns = `SELECT user, topic, read, muted, kept FROM marks WHERE user = ?`
	oneMark     = markColumns + ` AND topic = ?`
	allMarks    = markColumns + ` ORDER BY topic`
	writeMark   = `INSERT INTO marks (user, topic, read, muted, kept, at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (user, topic) DO UPDATE SET read = excluded.read, muted = excluded.muted, kept = excluded.kept, at = excluded.at`

	// Talks do not count.
	countMarks = `SELECT count(*) FROM marks WHERE user = ? AND substr(topic, 1, 3) <> 'dm:'`
	dropMark   = `DELETE FROM marks WHERE user = ?1 AND topic = (SELECT topic FROM marks
		WHERE user = ?1 AND substr(topic, 1, 3) <> 'dm:' AND kept = 0 AND muted = 0 ORDER BY at LIMIT 1)`
)

func (c *conn) marks(query string, args ...driver.Value) (list []chat.Mark, err error) {
	err = c.query(query, func(row []driver.Value) error {
		list = append(list, chat.Mark{User: text(row[0]), Topic: text(row[1]), Read: integer(row[2]), Muted: integer(row[3]) != 0, Kept: integer(row[4]) != 0})
		return nil
	}, args...)
	return list, err
}

// Mark implements chat.Store. Alone it does not wait for the disk; with others
// it is written in their transaction.
func (s *Store) Mark(ctx context.Context, changes ...chat.MarkChange) (out []chat.Marked, err error) {
	if len(changes) == 0 {
		return nil, nil
	}
	err = s.submit(ctx, &op{lax: true, do: func(t *tx) error {
		out = make([]chat.Marked, len(changes))
		for i := range changes {
			m, err := t.mark(&changes[i])
			if e := chat.AsError(err); err != nil && e.Code != chat.CodeInternal {
				out[i].Err = e
			} else if err != nil {
				return err
			}
			out[i].Mark = m
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// mark makes one change. An *Error is a refusal.
func (t *tx) mark(c *chat.MarkChange) (chat.Mark, error) {
	head, err := t.newest(c.Topic)
	if err != nil {
		return chat.Mark{}, err
	}
	talk := strings.HasPrefix(c.Topic, chat.TalkPrefix)
	if talk && head == 0 {
		return chat.Mark{}, chat.NoSuchTalk()
	}
	had, err := t.marks(oneMark, c.User, c.Topic)
	if err != nil {
		return chat.Mark{}, err
	}
	was := chat.NewMark(c.User, c.Topic)
	if len(had) > 0 {
		was = had[0]
	} else if !talk {
		if err := t.roomForMark(c.User); err != nil {
			return chat.Mark{}, err
		}
	}
	m := c.Apply(was, head)
	if len(had) > 0 && m == was {
		return m, nil
	}
	w := t.w
	w.markedAt = max(w.markedAt+1, t.at*1000)
	_, err = t.exec(writeMark, m.User, m.Topic, m.Read, bit(m.Muted), bit(m.Kept), w.markedAt)
	return m, err
}

// roomForMark makes room for one more mark of a user's rooms.
func (t *tx) roomForMark(user string) error {
	n, _, err := t.one(countMarks, user)
	if err != nil || n < chat.MarksMost {
		return err
	}
	dropped, err := t.exec(dropMark, user)
	if err == nil && dropped == 0 {
		return chat.TooManyMarks()
	}
	return err
}

// newest returns the Seq of a topic's newest event that was committed before
// this transaction, 0 if there is none.
func (t *tx) newest(topic string) (int64, error) {
	if x, ok := t.w.tail.topics[topic]; ok && len(x.seqs) > 0 {
		return x.seqs[len(x.seqs)-1], nil
	}
	seq, _, err := t.one(`SELECT i.seq FROM topics t CROSS JOIN topic_events i ON i.topic_id = t.id WHERE t.name = ? ORDER BY i.seq DESC LIMIT 1`, topic)
	return seq, err
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Marks implements chat.Store.
func (s *Store) Marks(ctx context.Context, user string) (list []chat.Mark, err error) {
	err = s.read(ctx, func(c *conn) error {
		list, err = c.marks(allMarks, user)
		return err
	})
	return list, err
}
