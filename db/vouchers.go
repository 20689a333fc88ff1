package db

import (
	"context"
	"database/sql/driver"

	"teahouse/chat"
)

const (
	voucherColumns = `SELECT id, code, ref, name, owner, status, batch, note, issued_at, expires_at, redeemed_at, redeemed_by, station FROM vouchers`
	voucherByCode  = voucherColumns + ` WHERE code = ?`
	voucherLog     = `SELECT at, action, before, by, station, reason, key, pass_at, scanned_at FROM voucher_log WHERE voucher_id = ? ORDER BY n`
	nextDue        = `SELECT expires_at FROM vouchers WHERE status = 'issued' AND expires_at > 0 ORDER BY expires_at LIMIT 1`
)

func readVoucher(row []driver.Value) chat.Voucher {
	return chat.Voucher{ID: integer(row[0]), Code: text(row[1]), Ref: text(row[2]), Name: text(row[3]), Owner: text(row[4]),
		Status: chat.VoucherStatus(text(row[5])), Batch: text(row[6]), Note: text(row[7]), IssuedAt: integer(row[8]),
		ExpiresAt: integer(row[9]), RedeemedAt: integer(row[10]), RedeemedBy: text(row[11]), Station: text(row[12])}
}

// vouchers runs a query of voucherColumns.
func (c *conn) vouchers(query string, args ...driver.Value) (list []chat.Voucher, err error) {
	err = c.query(query, func(row []driver.Value) error {
		list = append(list, readVoucher(row))
		return nil
	}, args...)
	return list, err
}

// voucher reads a voucher with its log.
func (c *conn) voucher(code string) (v chat.Voucher, log []chat.VoucherEntry, err error) {
	list, err := c.vouchers(voucherByCode, code)
	if err != nil {
		return v, nil, err
	}
	if len(list) == 0 {
		return v, nil, chat.Errorf(chat.CodeVoucherUnknown, "there is no voucher with this code")
	}
	err = c.query(voucherLog, func(row []driver.Value) error {
		log = append(log, chat.VoucherEntry{At: integer(row[0]), Action: chat.VoucherAction(text(row[1])), From: chat.VoucherStatus(text(row[2])),
			By: text(row[3]), Station: text(row[4]), Reason: text(row[5]), Key: text(row[6]),
			PassAt: integer(row[7]), ScannedAt: integer(row[8])})
		return nil
	}, list[0].ID)
	return list[0], log, err
}

// record writes line n of the log of the voucher with this id, and the event.
func (t *tx) record(id int64, n int, c chat.VoucherChange) error {
	e := c.Entry
	_, err := t.exec(`INSERT INTO voucher_log (voucher_id, n, at, action, before, by, station, reason, key, pass_at, scanned_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, int64(n), e.At, string(e.Action), string(e.From), e.By, e.Station, e.Reason, e.Key, e.PassAt, e.ScannedAt)
	if err != nil {
		return err
	}
	event := []chat.Event{c.Event()}
	if err := t.append(event...); err != nil {
		return err
	}
	return t.tellVoucher(&event[0], c.Voucher.Code)
}

// issue writes a new voucher, its log and its event, and fills in its ID.
func (t *tx) issue(c *chat.VoucherChange) (err error) {
	v := &c.Voucher
	v.ID, _, err = t.one(`INSERT INTO vouchers (code, ref, name, owner, status, batch, note, issued_at, expires_at, redeemed_at, redeemed_by, station)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', '') RETURNING id`,
		v.Code, v.Ref, v.Name, v.Owner, string(v.Status), v.Batch, v.Note, v.IssuedAt, v.ExpiresAt)
	if err != nil {
		return err
	}
	return t.record(v.ID, 1, *c)
}

// change writes a voucher's new state, its log and its event.
func (t *tx) change(n int, c chat.VoucherChange) error {
	v := c.Voucher
	_, err := t.exec(`UPDATE vouchers SET status = ?, redeemed_at = ?, redeemed_by = ?, station = ? WHERE id = ?`,
		string(v.Status), v.RedeemedAt, v.RedeemedBy, v.Station, v.ID)
	if err != nil {
		return err
	}
	return t.record(v.ID, n, c)
}

// Issue implements chat.Store.
func (s *Store) Issue(ctx context.Context, o chat.VoucherOrder) (out []chat.Voucher, err error) {
	err = s.run(ctx, func(t *tx) error {
		first, err := t.vouchers(voucherColumns+` WHERE batch = ? ORDER BY id`, o.Batch)
		if err != nil {
			return err
		}
		if len(first) > 0 {
			out, err = o.Again(first)
			return err
		}
		if out, err = o.Make(t.at); err != nil {
			return err
		}
		for i := range out {
			c := o.Issued(out[i])
			if err := t.issue(&c); err != nil {
				return err
			}
			out[i] = c.Voucher
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Change implements chat.Store.
func (s *Store) Change(ctx context.Context, code string, a chat.VoucherAct) (c chat.VoucherChange, err error) {
	err = s.run(ctx, func(t *tx) error {
		v, log, err := t.voucher(code)
		if err != nil {
			return err
		}
		if c, err = v.Apply(log, a, t.at); err != nil || !c.First {
			return err
		}
		return t.change(len(log)+1, c)
	})
	if err != nil {
		return chat.VoucherChange{}, err
	}
	return c, nil
}

// Expire implements chat.Store. As long as nothing is due it only reads.
func (s *Store) Expire(ctx context.Context, limit int) (expired int, next int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		next, _, err = c.one(nextDue)
		return err
	})
	if err != nil || next == 0 || next > s.clock().UnixMilli() {
		return 0, next, err
	}
	err = s.run(ctx, func(t *tx) error {
		expired = 0
		due, err := t.vouchers(voucherColumns+` WHERE status = 'issued' AND expires_at > 0 AND expires_at <= ? ORDER BY expires_at, id LIMIT ?`, t.at, int64(limit))
		if err != nil {
			return err
		}
		for _, v := range due {
			n, _, err := t.one(`SELECT count(*) FROM voucher_log WHERE voucher_id = ?`, v.ID)
			if err != nil {
				return err
			}
			if err := t.change(int(n)+1, v.Expire(t.at)); err != nil {
				return err
			}
		}
		expired = len(due)
		next, _, err = t.one(nextDue)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	return expired, next, nil
}

// Voucher implements chat.Store.
func (s *Store) Voucher(ctx context.Context, code string) (v chat.Voucher, log []chat.VoucherEntry, err error) {
	err = s.read(ctx, func(c *conn) error {
		// Two statements, one moment: the row must not be newer than the log.
		if _, err := c.exec("BEGIN"); err != nil {
			return err
		}
		defer c.exec("COMMIT")
		v, log, err = c.voucher(code)
		return err
	})
	if err != nil {
		return chat.Voucher{}, nil, err
	}
	return v, log, nil
}

// Vouchers implements chat.Store.
func (s *Store) Vouchers(ctx context.Context, q chat.VoucherQuery) (list []chat.Voucher, err error) {
	where, args := " WHERE 1", []driver.Value(nil)
	// The narrowest one chooses the index; a + keeps SQLite from another.
	plus := ""
	for _, f := range []struct{ column, value string }{{"batch", q.Batch}, {"owner", q.Owner}, {"status", string(q.Status)}} {
		if f.value != "" {
			where, args = where+" AND "+plus+f.column+" = ?", append(args, f.value)
			plus = "+"
		}
	}
	if q.Before > 0 {
		where, args = where+" AND id < ?", append(args, q.Before)
	}
	if q.Limit <= 0 {
		q.Limit = 50
	}
	args = append(args, int64(q.Limit))
	err = s.read(ctx, func(c *conn) error {
		list, err = c.vouchers(voucherColumns+where+" ORDER BY id DESC LIMIT ?", args...)
		return err
	})
	return list, err
}
