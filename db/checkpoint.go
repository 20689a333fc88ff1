package db

// checkpoint copies the WAL back into the database.
func (w *writer) checkpoint(idle bool) {
}

// truncateWAL copies the whole WAL back and empties it. It fails while a
// reader holds it.
func (w *writer) truncateWAL() error {
	busy, _, err := w.c.one("PRAGMA wal_checkpoint(TRUNCATE)")
	if err == nil && busy != 0 {
		err = errBusy
	}
	return err
}
