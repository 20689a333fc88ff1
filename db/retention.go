package db

import (
	"context"
	"database/sql/driver"
	"strings"
	"time"

	"teahouse/chat"
)

// RetainRule says how much is kept of the topics that match the Pattern: a
// topic's whole name, or the beginning of one and a "*".
type RetainRule struct {
	Pattern string
	chat.Retention
}

func (r RetainRule) matches(topic string) bool {
	if begin, ok := strings.CutSuffix(r.Pattern, "*"); ok {
		return strings.HasPrefix(topic, begin)
	}
	return r.Pattern == topic
}

// retention returns the rule that holds for a topic.
func (s *Store) retention(topic string) chat.Retention {
	for _, r := range s.opts.Retain {
		if r.matches(topic) {
			return r.Retention
		}
	}
	return chat.Retention{}
}

const (
	pruneRows  = 256                   // rows removed in one transaction
	pruneDefer = 20 * time.Millisecond // how long a bite of it gives way to others
	topicsPage = 500
)

// tend does from time to time what must be done, until the store is closed.
func (s *Store) tend() {
	s.tendFiles(s.recoverFiles)
	var prune <-chan time.Time
	if s.opts.PruneEvery > 0 {
		t := time.NewTicker(s.opts.PruneEvery)
		defer t.Stop()
		prune = t.C
	}
	seal := time.NewTicker(sealEvery)
	defer seal.Stop()
	sealed := int64(0)
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-s.files.kick:
			s.tendFiles(s.freeBlobs)
		case <-sweep.C:
			s.tendFiles(s.SweepFiles)
		case <-seal.C:
			head, err := s.sealNow(s.life, sealed)
			if err == nil {
				sealed = head
			} else if s.life.Err() == nil {
				s.log.Warn("the seal could not be renewed", "err", err)
			}
		case <-prune:
			n, err := s.Prune(s.life)
			if err != nil && s.life.Err() == nil {
				s.log.Error("retention failed", "err", err)
			} else if n > 0 {
				s.log.Info("retention removed old events", "events", n)
			}
		}
	}
}

// Prune does one pass of retention over all topics, sessions and answers and
// returns how many events it removed. It works in small bites and gives way
// to writers. Only one runs at a time.
func (s *Store) Prune(ctx context.Context) (int, error) {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	now := s.clock()
	err := s.sweep(ctx, s.opts.KeepSessions, now, `DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE ended > 0 AND ended < ? LIMIT ?)`)
	if err != nil {
		return 0, err
	}
	err = s.sweep(ctx, s.opts.KeepAnswers, now, `DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE at < ? LIMIT ?)`)
	if err != nil {
		return 0, err
	}
	if err := s.pruneDeliveries(ctx, now); err != nil || len(s.opts.Retain) == 0 {
		return 0, err
	}
	upTo, err := s.indexedUpTo(ctx)
	if err != nil {
		return 0, err
	}
	p := pruner{s: s, now: now, upTo: upTo, cutoffs: make(map[time.Duration]int64)}
	removed := 0
	for id := int64(0); ; {
		topics, err := p.topics(ctx, id)
		if err != nil || len(topics) == 0 {
			if err == nil {
				s.counted = upTo
			}
			return removed, err
		}
		for _, t := range topics {
			n, err := p.topic(ctx, t.id, s.retention(t.name))
			removed += n
			if err != nil {
				return removed, err
			}
		}
		id = topics[len(topics)-1].id
	}
}

// sweep removes rows that are older than keep, in bites.
func (s *Store) sweep(ctx context.Context, keep time.Duration, now time.Time, statement string) error {
	if keep < 0 {
		return nil
	}
	for {
		n := int64(0)
		err := s.whenQuiet(ctx, func(w *writer) (err error) {
			return w.unsynced(func() error {
				n, err = w.c.exec(statement, now.Add(-keep).UnixMilli(), int64(pruneRows))
				return err
			})
		})
		if err != nil || n < pruneRows {
			return err
		}
	}
}

// whenQuiet runs a chore as soon as nobody else waits for the writer, or
// after pruneDefer at any rate.
func (s *Store) whenQuiet(ctx context.Context, f func(*writer) error) error {
	for began := time.Now(); ; {
		done := false
		err := s.chore(ctx, func(w *writer) error {
			if len(s.queue) > 0 && time.Since(began) < pruneDefer {
				return nil
			}
			done = true
			return f(w)
		})
		if err != nil || done {
			return err
		}
		pause := time.NewTimer(pruneDefer / 10)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return gaveUp(ctx)
		}
	}
}

// indexedUpTo writes the indexes and returns the Seq up to which they are
// complete: what retention removes must not be waiting to be indexed.
func (s *Store) indexedUpTo(ctx context.Context) (upTo int64, err error) {
	first := true
	for {
		more := false
		err := s.whenQuiet(ctx, func(w *writer) error {
			if first {
				first, upTo = false, w.tail.head
			}
			for range 4 {
				if more = w.complete() < upTo; more && !w.bite() {
					upTo = w.complete()
					more = false
				}
				if !more {
					break
				}
			}
			return nil
		})
		if err != nil || !more {
			return upTo, err
		}
	}
}

// pruner is one pass of retention.
type pruner struct {
	s       *Store
	now     time.Time
	upTo    int64                   // nothing above it is removed
	cutoffs map[time.Duration]int64 // age -> Seq of the newest event that is as old
}

type topicName struct {
	id   int64
	name string
}

func (p *pruner) topics(ctx context.Context, after int64) (topics []topicName, err error) {
	err = p.s.read(ctx, func(c *conn) error {
		return c.query(`SELECT id, name FROM topics WHERE id > ? ORDER BY id LIMIT ?`, func(row []driver.Value) error {
			topics = append(topics, topicName{integer(row[0]), text(row[1])})
			return nil
		}, after, int64(topicsPage))
	})
	return topics, err
}

// topic removes what r does not keep of one topic.
func (p *pruner) topic(ctx context.Context, id int64, r chat.Retention) (removed int, err error) {
	if r == (chat.Retention{}) {
		return 0, nil
	}
	cut := int64(0)
	err = p.s.read(ctx, func(c *conn) (err error) {
		if r.Age > 0 {
			if cut, err = p.cutoff(c, r.Age); err != nil {
				return err
			}
		}
		if r.Count > 0 {
			newest, _, err := c.one(`SELECT max(seq) FROM topic_events WHERE topic_id = ?`, id)
			if err != nil {
				return err
			}
			// Without a new event since the last pass there are not too many.
			if newest > p.s.counted {
				seq, _, err := c.one(`SELECT seq FROM topic_events WHERE topic_id = ? AND seq <= ? ORDER BY seq DESC LIMIT 1 OFFSET ?`, id, p.upTo, int64(r.Count))
				if err != nil {
					return err
				}
				cut = max(cut, seq)
			}
		}
		if cut = min(cut, p.upTo); cut > 0 {
			first, found, err := c.one(`SELECT seq FROM topic_events WHERE topic_id = ? AND seq <= ? LIMIT 1`, id, cut)
			if err != nil || !found || first > cut {
				cut = 0
				return err
			}
		}
		return nil
	})
	for err == nil && cut > 0 {
		n := 0
		err = p.s.whenQuiet(ctx, func(w *writer) (err error) {
			n, err = w.remove(id, cut)
			return err
		})
		removed += n
		if n < pruneRows {
			break
		}
	}
	return removed, err
}

// cutoff finds the newest event that is older than age. At rises with Seq,
// so a few looks into the log are enough.
func (p *pruner) cutoff(c *conn, age time.Duration) (int64, error) {
	if cut, ok := p.cutoffs[age]; ok {
		return cut, nil
	}
	before := p.now.Add(-age).UnixMilli()
	low, high := int64(0), p.upTo // low is old enough, or nothing; above high nothing is
	for low < high {
		mid := low + (high-low+1)/2
		// The newest event at or below mid stands for it.
		seq, at := int64(0), int64(0)
		err := c.query(`SELECT seq, at FROM events WHERE seq <= ? ORDER BY seq DESC LIMIT 1`, func(row []driver.Value) error {
			seq, at = integer(row[0]), integer(row[1])
			return nil
		}, mid)
		if err != nil {
			return 0, err
		}
		if at < before {
			low = mid
		} else {
			high = seq - 1
		}
	}
	p.cutoffs[age] = low
	return low, nil
}

type prunedRow struct {
	seq  int64
	hash driver.Value // NULL without a key
}

// remove takes the oldest events up to cut out of a topic, at most pruneRows.
func (w *writer) remove(id, cut int64) (n int, err error) {
	freed := false
	err = w.unsynced(func() error {
		var rows []prunedRow
		err := w.c.query(`SELECT e.seq, e.key_hash FROM topic_events i CROSS JOIN events e ON e.seq = i.seq
			WHERE i.topic_id = ? AND i.seq <= ? ORDER BY i.seq LIMIT ?`, func(r []driver.Value) error {
			rows = append(rows, prunedRow{seq: integer(r[0]), hash: r[1]})
			return nil
		}, id, cut, int64(pruneRows))
		if n = len(rows); err != nil || n == 0 {
			return err
		}
		for _, r := range rows {
			if r.hash != nil {
				if _, err := w.c.exec(`DELETE FROM event_keys WHERE hash = ? AND seq = ?`, r.hash, r.seq); err != nil {
					return err
				}
			}
			if _, err := w.c.exec(`DELETE FROM events WHERE seq = ?`, r.seq); err != nil {
				return err
			}
		}
		if freed, err = w.c.unreferRange(rows); err != nil {
			return err
		}
		last := rows[n-1].seq
		if _, err := w.c.exec(`DELETE FROM topic_events WHERE topic_id = ? AND seq <= ?`, id, last); err != nil {
			return err
		}
		if _, err := w.c.exec(`UPDATE topics SET pruned = max(pruned, ?) WHERE id = ?`, last, id); err != nil {
			return err
		}
		// Whatever is removed, the log never goes back.
		_, err = w.c.exec(`UPDATE log SET floor = ? WHERE floor < ?`, last, last)
		return err
	})
	if err != nil {
		n = 0
	} else if freed {
		poke(w.s.files.kick)
	}
	return n, err
}
