package db

import (
	"context"
	"database/sql/driver"

	"teahouse/chat"
)

var _ chat.Doors = (*Store)(nil)

// RoomCodes implements chat.Doors.
func (s *Store) RoomCodes(ctx context.Context) (list []chat.RoomCode, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(`SELECT topic, hash, set_by, set_at FROM room_codes ORDER BY topic`, func(row []driver.Value) error {
			list = append(list, chat.RoomCode{Topic: text(row[0]), Hash: blob(row[1]), SetBy: text(row[2]), SetAt: integer(row[3])})
			return nil
		})
	})
	return list, err
}

// PutRoomCode implements chat.Doors.
func (s *Store) PutRoomCode(ctx context.Context, r chat.RoomCode) error {
	return s.run(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO room_codes (topic, hash, set_by, set_at) VALUES (?, ?, ?, ?)
			ON CONFLICT (topic) DO UPDATE SET hash = excluded.hash, set_by = excluded.set_by, set_at = excluded.set_at`,
			r.Topic, some(r.Hash), r.SetBy, r.SetAt)
		return err
	})
}

// DropRoomCode implements chat.Doors.
func (s *Store) DropRoomCode(ctx context.Context, topic string) error {
	return s.run(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM room_codes WHERE topic = ?`, topic)
		return err
	})
}

// Claims implements chat.Doors.
func (s *Store) Claims(ctx context.Context) (list []chat.Claim, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(`SELECT fold, name, salt, hash, made_at, used_at FROM claims ORDER BY fold`, func(row []driver.Value) error {
			list = append(list, chat.Claim{Fold: text(row[0]), Name: text(row[1]), Salt: blob(row[2]), Hash: blob(row[3]),
				MadeAt: integer(row[4]), UsedAt: integer(row[5])})
			return nil
		})
	})
	return list, err
}

// PutClaim implements chat.Doors.
func (s *Store) PutClaim(ctx context.Context, c chat.Claim) error {
	return s.run(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO claims (fold, name, salt, hash, made_at, used_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (fold) DO UPDATE SET name = excluded.name, salt = excluded.salt, hash = excluded.hash,
			made_at = excluded.made_at, used_at = excluded.used_at`,
			c.Fold, c.Name, some(c.Salt), some(c.Hash), c.MadeAt, c.UsedAt)
		return err
	})
}

// UseClaims implements chat.Doors.
func (s *Store) UseClaims(ctx context.Context, at int64, folds ...string) error {
	return s.run(ctx, func(t *tx) error {
		for _, fold := range folds {
			if _, err := t.exec(`UPDATE claims SET used_at = max(used_at, ?) WHERE fold = ?`, at, fold); err != nil {
				return err
			}
		}
		return nil
	})
}

// DropClaims implements chat.Doors.
func (s *Store) DropClaims(ctx context.Context, until int64, folds ...string) error {
	return s.run(ctx, func(t *tx) error {
		for _, fold := range folds {
			if _, err := t.exec(`DELETE FROM claims WHERE fold = ? AND used_at <= ?`, fold, until); err != nil {
				return err
			}
		}
		return nil
	})
}
