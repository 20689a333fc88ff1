package db

import (
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"strings"

	"teahouse/chat"
)

// tx is the transaction that the writer has open, as an op sees it.
type tx struct {
	*conn
	w      *writer
	at     int64                   // the one timestamp of this transaction, ms
	head   int64                   // Seq of the newest event, staged ones included
	count  int                     // events staged
	ids    []int64                 // their topics
	hashes []uint64                // their keys' hashes
	names  []string                // topics made
	known  map[uint64][]chat.Event // what the index says of the keys of this batch
	asked  map[uint64]struct{}     // the hashes that known answers for
	first  []replaced              // events that gave way to a first one of this very transaction
	freed  bool                    // files went: there may be blobs to take away
	told   bool                    // a delivery to a webhook was queued

	recalled []int64 // Seqs of messages whose body is gone from the log
}

// replaced remembers an op's own event, for the case that the transaction is
// tried again in smaller ones.
type replaced struct {
	in  *chat.Event
	was chat.Event
}

// savepoint is what to go back to within a transaction.
type savepoint struct{ count, names, recalled int }

func (t *tx) begin(w *writer) {
	now := w.s.clock().UnixMilli()
	clear(t.first)
	*t = tx{conn: w.c, w: w, at: max(now, w.lastAt), head: w.tail.head,
		ids: t.ids[:0], hashes: t.hashes[:0], names: t.names[:0], known: t.known, asked: t.asked, first: t.first[:0],
		recalled: t.recalled[:0]}
	if t.asked == nil {
		t.known, t.asked = make(map[uint64][]chat.Event), make(map[uint64]struct{})
	}
	if len(w.topics) >= topicsKept {
		clear(w.topics)
	}
	clear(t.known)
	clear(t.asked)
}

// apply runs the ops one after another. What it returns is SQLite's error.
func (t *tx) apply(ops []*op) error {
	if err := t.lookUp(ops); err != nil {
		return err
	}
	for _, o := range ops {
		var err error
		if o.do == nil {
			err = t.write(o.events, o.hashes)
		} else {
			err = t.alone(o.do)
		}
		if e := (*chat.Error)(nil); errors.As(err, &e) {
			o.err = err
		} else if err != nil {
			return err
		}
	}
	return nil
}

// alone runs do and undoes what it wrote if it fails by its own judgement.
func (t *tx) alone(do func(*tx) error) error {
	if _, err := t.exec("SAVEPOINT op"); err != nil {
		return err
	}
	m := savepoint{t.count, len(t.names), len(t.recalled)}
	err := do(t)
	if e := (*chat.Error)(nil); errors.As(err, &e) {
		if _, err := t.exec("ROLLBACK TO op"); err != nil {
			return err
		}
		t.undo(m)
	} else if err != nil {
		return err
	}
	if _, err2 := t.exec("RELEASE op"); err2 != nil {
		return err2
	}
	return err
}

// append adds events to the log within this transaction and fills in their
// Seq and At; one that is there already becomes the first one.
func (t *tx) append(events ...chat.Event) error {
	_, hashes := prepare(events)
	return t.write(events, hashes)
}

// undo forgets what was staged after m; SQLite has rolled it back.
func (t *tx) undo(m savepoint) {
	t.recalled = t.recalled[:m.recalled]
	for t.count > m.count {
		t.count--
		if h := t.hashes[t.count]; t.w.keys[h] == t.head {
			delete(t.w.keys, h)
		}
		t.head--
	}
	t.ids, t.hashes = t.ids[:t.count], t.hashes[:t.count]
	if m == (savepoint{}) {
		for _, r := range t.first {
			*r.in = r.was
		}
	}
	for _, name := range t.names[m.names:] {
		delete(t.w.topics, name)
	}
	t.names = t.names[:m.names]
}

// fresh returns the staged events with their Origins, for the Tail; publish
// takes the Origins away.
func (t *tx) fresh() []chat.Event {
	events := make([]chat.Event, t.count)
	for i := range events {
		events[i] = *t.w.tail.staged(t.head - int64(t.count) + 1 + int64(i))
	}
	return events
}

// topicsKept is how many topics' ids the writer remembers.
const topicsKept = 1 << 16

const insertEvent = `INSERT INTO events (seq, topic_id, key_hash, at, kind, sender, key, body, expires) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`

// write adds the events to the log, or finds them there.
func (t *tx) write(events []chat.Event, hashes []uint64) error {
	tl := t.w.tail
	for i := range events {
		e := &events[i]
		h := hashes[i]
		var hash driver.Value
		if e.Key != "" {
			if x, err := t.w.inMemory(h, e, t.head); err != nil {
				return err
			} else if x != nil {
				if x.Seq > tl.head {
					t.first = append(t.first, replaced{e, *e})
				}
				*e = *x
				e.Origin = 0
				continue
			}
			first, ok, err := t.indexed(h, e)
			if err != nil {
				return err
			}
			if ok {
				*e = first
				continue
			}
			hash = int64(h)
		}
		id, err := t.topic(e.Topic)
		if err != nil {
			return err
		}
		e.Seq, e.At = t.head+1, t.at
		if _, err := t.exec(insertEvent, e.Seq, id, hash, e.At, e.Kind, e.From, e.Key, string(e.Body), e.Expires); err != nil {
			return err
		}
		if files := chat.FileRefs(e.Body); files != nil {
			if err := t.refer(e.Seq, files); err != nil {
				return err
			}
		}
		tl.stage(*e)
		if e.Key != "" {
			t.w.keys[h] = e.Seq
		}
		t.ids, t.hashes = append(t.ids, id), append(t.hashes, h)
		t.head++
		t.count++
		if len(t.w.hooks) > 0 {
			if err := t.tell(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// topic returns the id of a topic, and makes it when this is its first event.
func (t *tx) topic(name string) (int64, error) {
	if id, ok := t.w.topics[name]; ok {
		return id, nil
	}
	id, found, err := t.one(`SELECT id FROM topics WHERE name = ?`, name)
	if err != nil {
		return 0, err
	}
	if !found {
		if id, _, err = t.one(`INSERT INTO topics (name) VALUES (?) RETURNING id`, name); err != nil {
			return 0, err
		}
		if a, b, ok := chat.TalkMembers(name); ok {
			for _, user := range []string{a, b} {
				if _, err := t.exec(`INSERT OR IGNORE INTO talk_members (user, topic_id) VALUES (?, ?)`, user, id); err != nil {
					return 0, err
				}
			}
		}
		t.names = append(t.names, name)
	}
	t.w.topics[name] = id
	return id, nil
}

// lookUp asks the index about all keys of the batch that are not in memory,
// in few statements.
func (t *tx) lookUp(ops []*op) error {
	var ask []uint64
	for _, o := range ops {
		for i := range o.events {
			e := &o.events[i]
			if e.Key == "" {
				continue
			}
			h := o.hashes[i]
			if _, ok := t.w.keys[h]; ok {
				continue // there, or another key with the same hash: asked alone then
			}
			if _, ok := t.asked[h]; ok {
				continue
			}
			t.asked[h] = struct{}{}
			ask = append(ask, h)
		}
	}
	return t.ask(ask)
}

// lookUpSizes are how many hashes one statement asks for; the last is filled up.
var lookUpSizes = [...]int{1, 8, 64}

var lookUpText = func() (texts [len(lookUpSizes)]string) {
	for i, n := range lookUpSizes {
		texts[i] = `SELECT k.hash, ` + eventColumns + ` FROM event_keys k JOIN events e ON e.seq = k.seq JOIN topics t ON t.id = e.topic_id
			WHERE k.hash IN (?` + strings.Repeat(`, ?`, n-1) + `) ORDER BY k.seq`
	}
	return texts
}()

func (t *tx) ask(hashes []uint64) error {
	for len(hashes) > 0 {
		size := 0
		for size < len(lookUpSizes)-1 && lookUpSizes[size] < len(hashes) {
			size++
		}
		args := make([]driver.Value, lookUpSizes[size])
		n := min(len(args), len(hashes))
		for i := range args {
			args[i] = int64(hashes[min(i, n-1)])
		}
		hashes = hashes[n:]
		err := t.query(lookUpText[size], func(row []driver.Value) error {
			h := uint64(integer(row[0]))
			t.known[h] = append(t.known[h], readEvent(row[1:]))
			return nil
		}, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// indexed looks a key up in the index.
func (t *tx) indexed(h uint64, e *chat.Event) (first chat.Event, found bool, err error) {
	if _, ok := t.asked[h]; !ok {
		t.asked[h] = struct{}{}
		if err := t.ask([]uint64{h}); err != nil {
			return first, false, err
		}
	}
	for i := range t.known[h] {
		if k := &t.known[h][i]; sameKey(k, e) {
			return *k, true, nil
		}
	}
	return first, false, nil
}

// keyHash is what the index knows a key by. It must never change: it is in
// the file. Two keys may share it, so whoever finds one compares the columns.
func keyHash(topic, from, key string) uint64 {
	var buf [12 + 128 + 64 + 128]byte
	b := buf[:0]
	for _, s := range [...]string{topic, from, key} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:8])
}

// prepare sums up what the writer needs to know of events, in the caller's goroutine.
func prepare(events []chat.Event) (bytes int, hashes []uint64) {
	hashes = make([]uint64, len(events))
	for i := range events {
		e := &events[i]
		bytes += size(e)
		if e.Key != "" {
			hashes[i] = keyHash(e.Topic, e.From, e.Key)
		}
	}
	return bytes, hashes
}
