package db

import (
	"context"
	"database/sql/driver"

	"teahouse/chat"
)

const importState = `SELECT batch, count, issued, at, hash FROM voucher_imports WHERE batch = ?`

// imported reads the state of an import, and the hash of its rows.
func (c *conn) imported(batch string) (s chat.ImportState, hash string, found bool, err error) {
	err = c.query(importState, func(row []driver.Value) error {
		s = chat.ImportState{Batch: text(row[0]), Count: int(integer(row[1])), Issued: int(integer(row[2])), At: integer(row[3])}
		hash, found = string(blob(row[4])), true
		return nil
	}, batch)
	return s, hash, found, err
}

// Import implements chat.Store.
func (s *Store) Import(ctx context.Context, i chat.VoucherImport) (state chat.ImportState, err error) {
	chunks, hash := i.Chunks() // in the caller's goroutine
	err = s.run(ctx, func(t *tx) error {
		first, was, found, err := t.imported(i.Batch)
		if err != nil {
			return err
		}
		if found {
			if was != string(hash[:]) {
				return chat.ErrImportReused()
			}
			state = first
			return nil
		}
		id, _, err := t.one(`INSERT INTO voucher_imports (batch, hash, by, at, count, issued) VALUES (?, ?, ?, ?, ?, 0) RETURNING id`,
			i.Batch, hash[:], i.By, t.at, int64(len(i.Rows)))
		if err != nil {
			return err
		}
		for _, rows := range chunks {
			if _, err := t.exec(`INSERT INTO voucher_import_rows (import_id, rows) VALUES (?, ?)`, id, string(rows)); err != nil {
				return err
			}
		}
		state = chat.ImportState{Batch: i.Batch, Count: len(i.Rows), At: t.at}
		return nil
	})
	if err != nil {
		return chat.ImportState{}, err
	}
	return state, nil
}

// ImportState implements chat.Store.
func (s *Store) ImportState(ctx context.Context, batch string) (state chat.ImportState, err error) {
	err = s.read(ctx, func(c *conn) error {
		var found bool
		if state, _, found, err = c.imported(batch); err == nil && !found {
			err = chat.Errorf(chat.CodeNotFound, "there is no import of this batch")
		}
		return err
	})
	return state, err
}

// IssueImported implements chat.Store. As long as nothing waits it only reads.
func (s *Store) IssueImported(ctx context.Context) (issued int, err error) {
	waits := false
	err = s.read(ctx, func(c *conn) error {
		_, waits, err = c.one(`SELECT 1 FROM voucher_import_rows LIMIT 1`)
		return err
	})
	if err != nil || !waits {
		return 0, err
	}
	err = s.run(ctx, func(t *tx) error {
		issued = 0
		var i chat.VoucherImport
		var n, id int64
		var rows string
		err := t.query(`SELECT r.n, r.import_id, r.rows, i.batch, i.by FROM voucher_import_rows r JOIN voucher_imports i ON i.id = r.import_id ORDER BY r.n LIMIT 1`,
			func(row []driver.Value) error {
				n, id, rows = integer(row[0]), integer(row[1]), text(row[2])
				i.Batch, i.By = text(row[3]), text(row[4])
				return nil
			})
		if err != nil || rows == "" {
			return err
		}
		list, err := i.Make([]byte(rows), t.at)
		if err != nil {
			return err
		}
		for _, c := range list {
			if err := t.issue(&c); err != nil {
				return err
			}
		}
		if _, err := t.exec(`DELETE FROM voucher_import_rows WHERE n = ?`, n); err != nil {
			return err
		}
		issued = len(list)
		_, err = t.exec(`UPDATE voucher_imports SET issued = issued + ? WHERE id = ?`, int64(issued), id)
		return err
	})
	if err != nil {
		return 0, err
	}
	return issued, nil
}
