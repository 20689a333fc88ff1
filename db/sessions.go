package db

import (
	"context"
	"database/sql/driver"
	"encoding/json"

	"teahouse/chat"
)

const saveSession = `INSERT INTO sessions (id, user, device, dialect, addr, agent, opened, last_seen, ended, reason, epoch, topics)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (id) DO UPDATE SET user = excluded.user, device = excluded.device, dialect = excluded.dialect, addr = excluded.addr,
	agent = excluded.agent, opened = excluded.opened, last_seen = excluded.last_seen, ended = excluded.ended, reason = excluded.reason,
	epoch = excluded.epoch, topics = excluded.topics`

// touchSession writes what changes while a session lasts; no index holds it.
const touchSession = `UPDATE sessions SET device = ?, dialect = ?, addr = ?, agent = ?, last_seen = ?, reason = ?, epoch = ?, topics = ?
	WHERE id = ? AND user = ? AND opened = ? AND ended = ?`

// SaveSessions implements chat.Store.
func (s *Store) SaveSessions(ctx context.Context, sessions ...chat.Session) error {
	if len(sessions) == 0 {
		return nil
	}
	topics := make([]string, len(sessions))
	for i := range sessions {
		b, err := json.Marshal(sessions[i].Topics)
		if err != nil {
			return err
		}
		topics[i] = string(b)
	}
	sessions = append([]chat.Session(nil), sessions...)
	return s.run(ctx, func(t *tx) error {
		for i := range sessions {
			x := &sessions[i]
			n, err := t.exec(touchSession, x.Device, x.Dialect, x.Addr, x.Agent, x.LastSeen, string(x.Reason), x.Epoch, topics[i],
				x.ID, x.User, x.Opened, x.Ended)
			if err != nil {
				return err
			}
			if n > 0 {
				continue
			}
			_, err = t.exec(saveSession, x.ID, x.User, x.Device, x.Dialect, x.Addr, x.Agent, x.Opened, x.LastSeen, x.Ended,
				string(x.Reason), x.Epoch, topics[i])
			if err != nil {
				return err
			}
		}
		return nil
	})
}

const sessionColumns = `SELECT id, user, device, dialect, addr, agent, opened, last_seen, ended, reason, epoch, topics FROM sessions`

// Sessions implements chat.Store.
func (s *Store) Sessions(ctx context.Context, q chat.SessionQuery) ([]chat.Session, error) {
	where, args := " WHERE 1", []driver.Value(nil)
	if q.User != "" {
		where, args = where+" AND user = ?", append(args, q.User)
	}
	switch {
	case q.Online:
		where += " AND ended = 0"
	case !q.Since.IsZero():
		where, args = where+" AND (ended = 0 OR ended >= ?)", append(args, q.Since.UnixMilli())
	}
	if q.Limit <= 0 {
		q.Limit = 1000
	}
	args = append(args, int64(q.Limit))
	var sessions []chat.Session
	err := s.read(ctx, func(c *conn) error {
		return c.query(sessionColumns+where+" ORDER BY opened DESC, id LIMIT ?", func(row []driver.Value) error {
			x := chat.Session{ID: text(row[0]), User: text(row[1]), Device: text(row[2]), Dialect: text(row[3]), Addr: text(row[4]),
				Agent: text(row[5]), Opened: integer(row[6]), LastSeen: integer(row[7]), Ended: integer(row[8]),
				Reason: chat.Code(text(row[9])), Epoch: text(row[10])}
			if err := json.Unmarshal([]byte(text(row[11])), &x.Topics); err != nil {
				return err
			}
			sessions = append(sessions, x)
			return nil
		}, args...)
	})
	return sessions, err
}
