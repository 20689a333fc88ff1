package db

import (
	"context"
	"database/sql/driver"

	"teahouse/chat"
)

const keyColumns = `SELECT id, name, hash, created_at, revoked_at, last_used_at FROM api_keys`

func readKey(row []driver.Value) chat.APIKey {
	k := chat.APIKey{ID: text(row[0]), Name: text(row[1]), CreatedAt: integer(row[3]), RevokedAt: integer(row[4]), LastUsedAt: integer(row[5])}
	copy(k.Hash[:], blob(row[2]))
	return k
}

// Keys lists all API keys, revoked ones too, oldest first.
func (s *Store) Keys(ctx context.Context) ([]chat.APIKey, error) {
	var keys []chat.APIKey
	err := s.read(ctx, func(c *conn) error {
		return c.query(keyColumns+` ORDER BY created_at, id`, func(row []driver.Value) error {
			keys = append(keys, readKey(row))
			return nil
		})
	})
	return keys, err
}

// KeyByHash finds an API key by the SHA-256 of the key itself, also a revoked one.
func (s *Store) KeyByHash(ctx context.Context, hash [32]byte) (k chat.APIKey, found bool, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(keyColumns+` WHERE hash = ?`, func(row []driver.Value) error {
			k, found = readKey(row), true
			return nil
		}, hash[:])
	})
	return k, found, err
}

// PutKey keeps a new API key, or changes the one with the same ID. Another
// key with the same hash is a CodeBadRequest.
func (s *Store) PutKey(ctx context.Context, k chat.APIKey) error {
	return s.run(ctx, func(t *tx) error {
		_, taken, err := t.one(`SELECT 1 FROM api_keys WHERE hash = ? AND id <> ?`, k.Hash[:], k.ID)
		if err != nil {
			return err
		}
		if taken {
			return chat.Errorf(chat.CodeBadRequest, "this API key exists already under another id")
		}
		_, err = t.exec(`INSERT INTO api_keys (id, name, hash, created_at, revoked_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, hash = excluded.hash, created_at = excluded.created_at,
			revoked_at = excluded.revoked_at, last_used_at = excluded.last_used_at`,
			k.ID, k.Name, k.Hash[:], k.CreatedAt, k.RevokedAt, k.LastUsedAt)
		return err
	})
}

// RevokeKey ends an API key; false if there is none with this id. One that
// was revoked before keeps its time.
func (s *Store) RevokeKey(ctx context.Context, id string, at int64) (found bool, err error) {
	err = s.run(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE api_keys SET revoked_at = iif(revoked_at = 0, ?, revoked_at) WHERE id = ?`, at, id)
		found = n > 0
		return err
	})
	return found, err
}

// UseKey notes when an API key was last used.
func (s *Store) UseKey(ctx context.Context, id string, at int64) error {
	return s.run(ctx, func(t *tx) error {
		_, err := t.exec(`UPDATE api_keys SET last_used_at = ? WHERE id = ? AND last_used_at < ?`, at, id, at)
		return err
	})
}

// Setting returns a value that PutSetting kept.
func (s *Store) Setting(ctx context.Context, name string) (value []byte, found bool, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(`SELECT value FROM settings WHERE name = ?`, func(row []driver.Value) error {
			value, found = blob(row[0]), true
			return nil
		}, name)
	})
	return value, found, err
}

// PutSetting keeps a value under a name, in place of an older one.
func (s *Store) PutSetting(ctx context.Context, name string, value []byte) error {
	return s.run(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, some(value))
		return err
	})
}

// some returns an empty slice for nil, which the driver would take for NULL.
func some(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

const selectAnswer = `SELECT request_hash, status, content_type, answer, at FROM idempotency WHERE key = ?`

func readAnswer(row []driver.Value) chat.Answer {
	a := chat.Answer{Status: int(integer(row[1])), ContentType: text(row[2]), Body: blob(row[3]), At: integer(row[4])}
	copy(a.Request[:], blob(row[0]))
	return a
}

// Answer returns the answer kept under an idempotency key, found false if
// there is none. It is kept for Options.KeepAnswers.
func (s *Store) Answer(ctx context.Context, key string) (a chat.Answer, found bool, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(selectAnswer, func(row []driver.Value) error {
			a, found = readAnswer(row), true
			return nil
		}, key)
	})
	return a, found, err
}

// PutAnswer keeps a under an idempotency key unless there is an answer
// already: the first writer wins, and what is kept now is returned.
func (s *Store) PutAnswer(ctx context.Context, key string, a chat.Answer) (kept chat.Answer, err error) {
	err = s.run(ctx, func(t *tx) error {
		kept = a
		n, err := t.exec(`INSERT INTO idempotency (key, request_hash, status, content_type, answer, at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING`,
			key, a.Request[:], int64(a.Status), a.ContentType, some(a.Body), a.At)
		if err != nil || n > 0 {
			return err
		}
		return t.query(selectAnswer, func(row []driver.Value) error {
			kept = readAnswer(row)
			return nil
		}, key)
	})
	return kept, err
}
