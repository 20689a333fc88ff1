package db

import (
	"time"
)

const (
	tailEvents = 8192    // more than so many events,
	tailBytes  = 8 << 20 // or so many bytes, do not stay out of the index
	biteEvents = 1024    // events that are indexed in one transaction
	idleAfter  = time.Second
)

// index writes the index of the oldest events behind, in bites, while the
// tail is over its bounds, or whole. It reports whether it did all it should.
func (w *writer) index(whole bool) bool {
	for w.tail.len() >= tailEvents || w.tail.bytes >= tailBytes || whole && w.tail.len() > 0 {
		if time.Since(w.indexBroken) < 5*time.Second {
			return false
		}
		if err := w.bite(min(w.tail.len(), biteEvents)); err != nil {
			w.indexBroken = time.Now()
			w.s.log.Error("the index could not be written; trying again in 5 s", "err", err)
			return false
		}
		if whole && len(w.s.queue) > 0 {
			return false // somebody waits
		}
	}
	return true
}

// bite indexes the oldest n events of the tail. It is not synced: the next
// commit syncs it along, and what is lost before is done again.
func (w *writer) bite(n int64) error {
	t := w.tail
	from, to := t.indexed, at(t.chunks, t.base, t.start+n-1).Seq
	if w.s.full {
		if err := w.c.script("PRAGMA synchronous = NORMAL"); err != nil {
			return err
		}
		defer w.c.script("PRAGMA synchronous = FULL")
	}
	err := w.c.atomically(func() error {
		_, err := w.c.exec(`INSERT INTO topic_events (topic_id, seq) SELECT topic_id, seq FROM events WHERE seq > ? AND seq <= ? ORDER BY topic_id, seq`, from, to)
		if err != nil {
			return err
		}
		_, err = w.c.exec(`INSERT INTO event_keys (hash, seq) SELECT key_hash, seq FROM events WHERE seq > ? AND seq <= ? AND key_hash IS NOT NULL ORDER BY key_hash, seq`, from, to)
		if err != nil {
			return err
		}
		_, err = w.c.exec(`UPDATE log SET indexed = ?`, to)
		return err
	})
	if err == nil {
		t.cut(n, to)
	}
	return err
}

// idle uses a quiet moment: everything is indexed, the WAL copied back.
func (w *writer) idle() {
	if w.index(true) {
		w.checkpoint(true)
	}
}
