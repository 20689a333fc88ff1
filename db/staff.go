package db

import (
	"context"
	"database/sql/driver"

	"teahouse/chat"
)

const staffColumns = `SELECT name, station, pin_hash, stamp, created_at, changed_at FROM staff`

func (s *Store) staff(ctx context.Context, query string, args ...driver.Value) (list []chat.Staff, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(query, func(row []driver.Value) error {
			list = append(list, chat.Staff{Name: text(row[0]), Station: text(row[1]), PINHash: blob(row[2]), Stamp: text(row[3]),
				CreatedAt: integer(row[4]), ChangedAt: integer(row[5])})
			return nil
		}, args...)
	})
	return list, err
}

// Staff lists all accounts by name.
func (s *Store) Staff(ctx context.Context) ([]chat.Staff, error) {
	return s.staff(ctx, staffColumns+` ORDER BY name`)
}

// StaffByName finds an account.
func (s *Store) StaffByName(ctx context.Context, name string) (x chat.Staff, found bool, err error) {
	list, err := s.staff(ctx, staffColumns+` WHERE name = ?`, name)
	if err != nil || len(list) == 0 {
		return x, false, err
	}
	return list[0], true, nil
}

// AddStaff keeps a new account; false if there is one with this name.
func (s *Store) AddStaff(ctx context.Context, x chat.Staff) (added bool, err error) {
	err = s.run(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO staff (name, station, pin_hash, stamp, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING`,
			x.Name, x.Station, some(x.PINHash), x.Stamp, x.CreatedAt, x.ChangedAt)
		added = n > 0
		return err
	})
	return added, err
}

// ChangeStaff replaces an account; false if there is none with this name.
func (s *Store) ChangeStaff(ctx context.Context, x chat.Staff) (found bool, err error) {
	err = s.run(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE staff SET station = ?, pin_hash = ?, stamp = ?, changed_at = ? WHERE name = ?`,
			x.Station, some(x.PINHash), x.Stamp, x.ChangedAt, x.Name)
		found = n > 0
		return err
	})
	return found, err
}

// RemoveStaff ends an account; false if there is none with this name.
func (s *Store) RemoveStaff(ctx context.Context, name string) (found bool, err error) {
	err = s.run(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM staff WHERE name = ?`, name)
		found = n > 0
		return err
	})
	return found, err
}
