package db

import (
	"cmp"
	"database/sql/driver"
	"slices"
	"strings"
	"time"

	"teahouse/chat"
)

// The two indexes of the log are written behind. What makes an index dear is
// not its rows but the pages they fall on: a key's hash falls on a page of
// its own nearly every time. So rows are collected in memory, in groups that
// lie near each other on the disk, and written group by group, in bites so
// small that no commit waits for long. After a crash they are collected
// again from the rows of the log above log.indexed.
const (
	windowEvents = 65536 // under load so many rows of an index wait in memory
	groups       = 64
	biteRows     = 256  // rows in one transaction
	sweepRows    = 4096 // rows of a group that are put in order at once
)

// row is one entry of an index that is to be written.
type row struct {
	topic *topicTail // or nil, for the index of keys
	hash  uint64
	seq   int64
}

// behind is an index that is written behind.
type behind struct {
	groups  [groups][]row // rows that wait, by rising Seq
	waiting int
	next    int   // the group whose turn comes next
	sweep   []row // rows of one group in the order of the index, of which
	done    int   // so many are written
	oldest  int64 // the lowest Seq of the sweep
}

func (b *behind) add(group int, r row) {
	b.groups[group] = append(b.groups[group], r)
	b.waiting++
}

// complete is the Seq up to which everything is written, once n more rows of
// the sweep are.
func (b *behind) complete(head int64, n int) int64 {
	upTo := head
	if b.done+n < len(b.sweep) {
		upTo = min(upTo, b.oldest-1)
	}
	for _, g := range b.groups {
		if len(g) > 0 {
			upTo = min(upTo, g[0].seq-1)
		}
	}
	return upTo
}

// bite returns the rows to be written next, at most biteRows, none if none wait.
func (b *behind) bite(order func(a, b row) int) []row {
	if b.done == len(b.sweep) {
		b.sweep, b.done = b.sweep[:0], 0
		for range groups {
			g := b.groups[b.next]
			if len(g) > 0 {
				n := min(len(g), sweepRows)
				b.oldest = g[0].seq
				b.sweep = append(b.sweep, g[:n]...)
				if n == len(g) {
					b.groups[b.next] = g[:0]
				} else {
					b.groups[b.next] = g[n:]
				}
				slices.SortFunc(b.sweep, order)
				break
			}
			b.next = (b.next + 1) % groups
		}
		b.next = (b.next + 1) % groups
	}
	return b.sweep[b.done:min(len(b.sweep), b.done+biteRows)]
}

// written says that the rows of the last bite are on their way to the disk.
func (b *behind) written(n int) {
	b.done += n
	b.waiting -= n
}

var insertSizes = [...]int{64, 8, 1}

// insertTexts are statements for so many rows at once.
func insertTexts(into string) (texts [len(insertSizes)]string) {
	for i, n := range insertSizes {
		texts[i] = "INSERT OR IGNORE INTO " + into + " VALUES (?, ?)" + strings.Repeat(", (?, ?)", n-1)
	}
	return texts
}

var (
	insertTopicEvents = insertTexts("topic_events (topic_id, seq)")
	insertEventKeys   = insertTexts("event_keys (hash, seq)")
)

func (w *writer) insert(texts *[len(insertSizes)]string, rows []row) error {
	for i, size := range insertSizes {
		for len(rows) >= size {
			args := w.args[:0]
			for _, r := range rows[:size] {
				if r.topic != nil {
					args = append(args, r.topic.id, r.seq)
				} else {
					args = append(args, int64(r.hash), r.seq)
				}
			}
			w.args = args
			if _, err := w.c.exec(texts[i], args...); err != nil {
				return err
			}
			rows = rows[size:]
		}
	}
	return nil
}

func orderTopics(a, b row) int {
	if c := cmp.Compare(a.topic.id, b.topic.id); c != 0 {
		return c
	}
	return cmp.Compare(a.seq, b.seq)
}

func orderKeys(a, b row) int {
	if c := cmp.Compare(int64(a.hash), int64(b.hash)); c != 0 {
		return c
	}
	return cmp.Compare(a.seq, b.seq)
}

// topicGroup puts topics that were made one after another together, keyGroup
// hashes that are near each other.
func topicGroup(id int64) int  { return int(id>>4) % groups }
func keyGroup(hash uint64) int { return int(hash >> 58) }

// complete is the Seq up to which both indexes hold everything.
func (w *writer) complete() int64 {
	return min(w.topicRows.complete(w.tail.head, 0), w.keyRows.complete(w.tail.head, 0))
}

// index writes rows behind: under load as many as came in above the window.
func (w *writer) index() {
	for w.topicRows.waiting > w.s.opts.window || w.keyRows.waiting > w.s.opts.window {
		if !w.bite() {
			return
		}
	}
}

// indexAll writes all rows that wait. It stops early, and says so, when
// somebody waits for the writer, unless it must end.
func (w *writer) indexAll(mustEnd bool) bool {
	for w.topicRows.waiting > 0 || w.keyRows.waiting > 0 {
		if !mustEnd && len(w.s.queue) > 0 || !w.bite() {
			return false
		}
	}
	return true
}

// bite writes some rows of each index in one transaction. It is not synced:
// the next commit syncs it along, and what is lost before is done again.
func (w *writer) bite() bool {
	if time.Since(w.indexBroken) < 5*time.Second {
		return false
	}
	topics, keys := w.topicRows.bite(orderTopics), w.keyRows.bite(orderKeys)
	complete := w.indexed
	err := w.unsynced(func() error {
		if err := w.insert(&insertTopicEvents, topics); err != nil {
			return err
		}
		if err := w.insert(&insertEventKeys, keys); err != nil {
			return err
		}
		complete = min(w.topicRows.complete(w.tail.head, len(topics)), w.keyRows.complete(w.tail.head, len(keys)))
		if complete < w.indexed+sweepRows && complete != w.tail.head {
			complete = w.indexed // not worth a page
			return nil
		}
		_, err := w.c.exec(`UPDATE log SET indexed = ?`, complete)
		return err
	})
	if err != nil {
		w.indexBroken = time.Now()
		w.s.log.Error("the index could not be written; trying again in 5 s", "err", err)
		return false
	}
	w.indexed = complete
	for _, r := range keys {
		if w.keys[r.hash] == r.seq {
			delete(w.keys, r.hash)
		}
	}
	w.tail.indexed(topics)
	w.topicRows.written(len(topics))
	w.keyRows.written(len(keys))
	return true
}

// unsynced runs f in a transaction that does not wait for the disk.
func (w *writer) unsynced(f func() error) error {
	if err := w.relax(); err != nil {
		return err
	}
	defer w.strict() // if it fails, the next commit tries, or fails, too
	err := w.c.atomically(f)
	w.doubt(err)
	return err
}

// relax makes commits not wait for the disk, until strict.
func (w *writer) relax() error {
	if !w.s.full || w.lax {
		return nil
	}
	w.lax = true
	return w.c.script("PRAGMA synchronous = NORMAL")
}

// strict makes each commit wait for the disk again.
func (w *writer) strict() error {
	if !w.lax {
		return nil
	}
	err := w.c.script("PRAGMA synchronous = FULL")
	w.lax = err != nil
	return err
}

// inMemory returns the events, at most a few, that have a key with this hash
// which is not in the index on the disk yet, staged ones included.
func (w *writer) inMemory(hash uint64, e *chat.Event, staged int64) (*chat.Event, error) {
	seq, ok := w.keys[hash]
	if !ok {
		return nil, nil
	}
	x, err := w.event(seq)
	if err != nil || x != nil && sameKey(x, e) {
		return x, err
	}
	// Two keys with one hash, which nobody meets by chance: the map knows only
	// the newer, so look at all.
	for seq := w.tail.head + 1; seq <= staged; seq++ {
		if x := w.tail.staged(seq); sameKey(x, e) {
			return x, nil
		}
	}
	for _, rows := range [...][]row{w.keyRows.groups[keyGroup(hash)], w.keyRows.sweep[w.keyRows.done:]} {
		for _, r := range rows {
			if r.hash != hash {
				continue
			}
			if x, err := w.event(r.seq); err != nil || x != nil && sameKey(x, e) {
				return x, err
			}
		}
	}
	return nil, nil
}

// event returns an event, staged, recent or from the file; nil if it was removed.
func (w *writer) event(seq int64) (x *chat.Event, err error) {
	if seq >= w.tail.start {
		return w.tail.staged(seq), nil
	}
	err = w.c.query(fetchOne, func(row []driver.Value) error {
		e := readEvent(row)
		x = &e
		return nil
	}, seq)
	return x, err
}

func sameKey(a, b *chat.Event) bool {
	return a.Key == b.Key && a.Topic == b.Topic && a.From == b.From
}

// collect notes a committed event whose index rows are to be written. The
// key is in w.keys already.
func (w *writer) collect(x *topicTail, hash uint64, keyed bool, seq int64) {
	w.topicRows.add(topicGroup(x.id), row{topic: x, seq: seq})
	if keyed {
		w.keyRows.add(keyGroup(hash), row{hash: hash, seq: seq})
	}
}

// rest uses a quiet moment, and reports whether there is more to do later. A
// few rows may wait longer: written together they cost the disk less.
func (w *writer) rest() bool {
	tainted := w.scrub()
	quiet := w.sinceRest < restEvents
	w.sinceRest = 0
	if !quiet || w.waiting() < restRows && time.Since(w.restedAt) < restAtLast || !w.indexAll(false) {
		return true
	}
	w.restedAt = time.Now()
	w.checkpoint(true)
	if w.sinceShrink > windowEvents/4 {
		// What a busy time took is given back.
		w.sinceShrink = 0
		w.topicRows, w.keyRows, w.keys = behind{}, behind{}, make(map[uint64]int64)
		w.tail.shrink()
		if err := w.c.script("PRAGMA shrink_memory"); err != nil {
			w.s.log.Warn("memory could not be given back", "err", err)
		}
	}
	return tainted
}

const (
	restEvery  = time.Second
	restEvents = 8192 // with fewer events since the last look the moment is quiet
	restRows   = 512
	restAtLast = time.Minute
)

// waiting is how many rows are not in an index yet.
func (w *writer) waiting() int { return w.topicRows.waiting + w.keyRows.waiting }
