package db

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"teahouse/chat"
)

// The queue of what is told to other servers. A delivery is written in the
// transaction that appends its event (tell); the writer knows the endpoints,
// so that without one nothing is done.

const (
	webhookColumns = `SELECT id, url, note, kinds, topics, private, secret, old_secret, old_until, created_at, failing_since, disabled_at, disabled_why FROM webhooks`

	deliveryColumns = `SELECT webhook, seq, message, lane, topic, kind, sender, at, state, since, due, attempts, tried_at, status, error, ended_at, CAST(body AS BLOB) FROM webhook_deliveries`

	insertDelivery = `INSERT INTO webhook_deliveries (webhook, seq, message, lane, topic, kind, sender, at, state, since, due, attempts, tried_at, status, error, ended_at, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?, 0, 0, 0, '', 0, ?)`

	// laneBusy finds out whether one must wait for another; nextInLane lets the
	// next one be tried.
	laneBusy   = `SELECT 1 FROM webhook_deliveries WHERE webhook = ? AND lane = ? AND state = 'waiting' LIMIT 1`
	nextInLane = `UPDATE webhook_deliveries SET due = ? WHERE due = 0 AND webhook = ? AND
		seq = (SELECT min(seq) FROM webhook_deliveries WHERE webhook = ? AND lane = ? AND state = 'waiting')`
)

func readWebhook(row []driver.Value) chat.Webhook {
	w := chat.Webhook{ID: text(row[0]), URL: text(row[1]), Note: text(row[2]), Kinds: lines(text(row[3])), Topics: lines(text(row[4])),
		Private: integer(row[5]) != 0, Secret: blob(row[6]), OldSecret: blob(row[7]), OldUntil: integer(row[8]), CreatedAt: integer(row[9]),
		FailingSince: integer(row[10]), DisabledAt: integer(row[11]), DisabledWhy: text(row[12])}
	if len(w.OldSecret) == 0 {
		w.OldSecret = nil
	}
	return w
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

func readDelivery(row []driver.Value) chat.WebhookDelivery {
	return chat.WebhookDelivery{Webhook: text(row[0]), Message: text(row[2]), Lane: text(row[3]),
		Event: chat.Event{Seq: integer(row[1]), Topic: text(row[4]), Kind: text(row[5]), From: text(row[6]), At: integer(row[7]), Body: blob(row[16])},
		State: chat.WebhookState(text(row[8])), Since: integer(row[9]), Due: integer(row[10]), Attempts: int(integer(row[11])),
		TriedAt: integer(row[12]), Status: int(integer(row[13])), Error: text(row[14]), EndedAt: integer(row[15])}
}

func (c *conn) webhooks(query string, args ...driver.Value) (list []chat.Webhook, err error) {
	err = c.query(query, func(row []driver.Value) error {
		list = append(list, readWebhook(row))
		return nil
	}, args...)
	return list, err
}

func (c *conn) deliveries(query string, args ...driver.Value) (list []chat.WebhookDelivery, err error) {
	err = c.query(query, func(row []driver.Value) error {
		list = append(list, readDelivery(row))
		return nil
	}, args...)
	return list, err
}

// loadHooks notes which endpoints are to be told.
func (w *writer) loadHooks() error {
	// Tests of migrations open a schema that does not have them yet.
	_, known, err := w.c.one(`SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'webhooks'`)
	if err != nil || !known {
		return err
	}
	w.hooks, err = w.c.webhooks(webhookColumns + ` WHERE disabled_at = 0 ORDER BY created_at, id`)
	return err
}

// tell queues an event that was just written, for the endpoints that want it.
func (t *tx) tell(e *chat.Event) error {
	for i := range t.w.hooks {
		if h := &t.w.hooks[i]; h.Wants(e) {
			if err := t.enqueue(h, e, e.Topic, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellVoucher does the same for the event of a voucher's change. What has only
// its kind never comes here.
func (t *tx) tellVoucher(e *chat.Event, code string) error {
	for i := range t.w.hooks {
		if h := &t.w.hooks[i]; h.WantsVoucher(e.Kind) {
			if err := t.enqueue(h, e, code, string(e.Body)); err != nil {
				return err
			}
		}
	}
	return nil
}

// enqueue queues an event. What people said is not copied, so that a recall
// finds it in one place only: it is read from the log when it is sent.
func (t *tx) enqueue(h *chat.Webhook, e *chat.Event, lane, body string) error {
	_, busy, err := t.one(laneBusy, h.ID, lane)
	if err != nil {
		return err
	}
	due := t.at
	if busy {
		due = 0
	}
	// The epoch, so that a restored log never gives another event a name that
	// the receiver has seen.
	message := fmt.Sprintf("msg_%s_%d", t.w.s.epoch, e.Seq)
	_, err = t.exec(insertDelivery, h.ID, e.Seq, message, lane, e.Topic, e.Kind, e.From, e.At, t.at, due, body)
	t.told = true
	return err
}

// WebhookWork is sent to when there may be something new to do for who sends:
// an event, an endpoint, a wish. One sender may listen.
func (s *Store) WebhookWork() <-chan struct{} { return s.hookWork }

func (s *Store) wakeWebhooks() {
	select {
	case s.hookWork <- struct{}{}:
	default:
	}
}

// Webhooks lists the endpoints with their secrets, the oldest first.
func (s *Store) Webhooks(ctx context.Context) (list []chat.Webhook, err error) {
	err = s.read(ctx, func(c *conn) error {
		list, err = c.webhooks(webhookColumns + ` ORDER BY created_at, id`)
		return err
	})
	return list, err
}

// changeWebhooks changes the table of endpoints between two transactions, so
// that each event is written by a writer that knows exactly the ones there are.
func (s *Store) changeWebhooks(ctx context.Context, do func(*conn) error) error {
	err := s.chore(ctx, func(w *writer) error {
		if err := errors.Join(w.strict(), w.mend()); err != nil {
			return err
		}
		err := w.c.atomically(func() error { return do(w.c) })
		w.doubt(err)
		return errors.Join(err, w.loadHooks())
	})
	s.wakeWebhooks()
	return err
}

func (c *conn) putWebhook(w chat.Webhook) error {
	_, err := c.exec(`INSERT INTO webhooks (id, url, note, kinds, topics, private, secret, old_secret, old_until, created_at, failing_since, disabled_at, disabled_why)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET url = excluded.url, note = excluded.note, kinds = excluded.kinds,
		topics = excluded.topics, private = excluded.private, secret = excluded.secret, old_secret = excluded.old_secret, old_until = excluded.old_until,
		failing_since = excluded.failing_since, disabled_at = excluded.disabled_at, disabled_why = excluded.disabled_why`,
		w.ID, w.URL, w.Note, strings.Join(w.Kinds, "\n"), strings.Join(w.Topics, "\n"), bit(w.Private), some(w.Secret), some(w.OldSecret), w.OldUntil,
		w.CreatedAt, w.FailingSince, w.DisabledAt, w.DisabledWhy)
	return err
}

// AddWebhook keeps a new endpoint. From then on events are queued for it.
func (s *Store) AddWebhook(ctx context.Context, w chat.Webhook) error {
	return s.changeWebhooks(ctx, func(c *conn) error {
		n, _, err := c.one(`SELECT count(*) FROM webhooks`)
		if err != nil {
			return err
		}
		if n >= chat.MaxWebhooks {
			return chat.Errorf(chat.CodeBadRequest, "there are %d webhooks already; remove one first", n)
		}
		return c.putWebhook(w)
	})
}

// EditWebhook lets edit change an endpoint, as one step, and returns what it
// made of it. Without one of this id it is a CodeNotFound.
func (s *Store) EditWebhook(ctx context.Context, id string, edit func(*chat.Webhook) error) (w chat.Webhook, err error) {
	err = s.changeWebhooks(ctx, func(c *conn) error {
		list, err := c.webhooks(webhookColumns+` WHERE id = ?`, id)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return noWebhook(id)
		}
		w = list[0]
		if err := edit(&w); err != nil {
			return err
		}
		return c.putWebhook(w)
	})
	return w, err
}

func noWebhook(id string) error {
	return chat.Errorf(chat.CodeNotFound, "there is no webhook with the id %q; list them to see the ids", id)
}

// RemoveWebhook ends an endpoint and forgets its deliveries; false if there is
// none with this id.
func (s *Store) RemoveWebhook(ctx context.Context, id string) (found bool, err error) {
	err = s.changeWebhooks(ctx, func(c *conn) error {
		n, err := c.exec(`DELETE FROM webhooks WHERE id = ?`, id)
		found = n > 0
		return err
	})
	if err != nil || !found {
		return false, err
	}
	return true, s.forgetDeliveries(ctx, id)
}

// forgetDeliveries removes all of an endpoint that is gone, in bites.
func (s *Store) forgetDeliveries(ctx context.Context, id string) error {
	return s.bites(ctx, `DELETE FROM webhook_deliveries WHERE rowid IN (SELECT rowid FROM webhook_deliveries WHERE webhook = ? LIMIT ?)`, id)
}

// bites runs a statement whose last argument is how many rows it may change,
// until there are fewer, giving way to others.
func (s *Store) bites(ctx context.Context, statement string, args ...driver.Value) error {
	args = append(slices.Clip(args), int64(pruneRows))
	for n := int64(pruneRows); n == pruneRows; {
		err := s.whenQuiet(ctx, func(w *writer) (err error) {
			return w.unsynced(func() error {
				n, err = w.c.exec(statement, args...)
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// DueDeliveries returns the deliveries of an endpoint that are to be tried
// now, those that have waited longest first, and when the next other one will
// be, in ms since 1970 UTC, 0 if none is known. No two are of one lane. An
// event that retention has removed has no body.
func (s *Store) DueDeliveries(ctx context.Context, webhook string, limit int) (list []chat.WebhookDelivery, next int64, err error) {
	now := s.clock().UnixMilli()
	err = s.read(ctx, func(c *conn) error {
		list, err = c.deliveries(deliveryColumns+` WHERE webhook = ? AND due > 0 AND due <= ? ORDER BY due, seq LIMIT ?`, webhook, now, int64(limit))
		for i := range list {
			if e := &list[i].Event; err == nil && len(e.Body) == 0 {
				err = c.query(`SELECT CAST(body AS BLOB) FROM events WHERE seq = ?`, func(row []driver.Value) error {
					e.Body = body(blob(row[0]))
					return nil
				}, e.Seq)
			}
		}
		if err == nil {
			next, _, err = c.one(`SELECT min(due) FROM webhook_deliveries WHERE webhook = ? AND due > 0 AND due > ?`, webhook, now)
		}
		return err
	})
	return list, next, err
}

// SettleDelivery keeps the outcome of an attempt. After the last one the next
// of the lane is due, in the same transaction. What is not waiting any more
// stays as it is.
func (s *Store) SettleDelivery(ctx context.Context, a chat.WebhookAttempt) error {
	err := s.run(ctx, func(t *tx) error {
		lane, ended := "", int64(0)
		if a.State != chat.WebhookWaiting {
			a.Due, ended = 0, t.at
		}
		err := t.query(`UPDATE webhook_deliveries SET state = ?, due = ?, attempts = attempts + 1, tried_at = ?, status = ?, error = ?, ended_at = ?
			WHERE webhook = ? AND seq = ? AND state = 'waiting' RETURNING lane`, func(row []driver.Value) error {
			lane = text(row[0])
			return nil
		}, string(a.State), a.Due, a.At, int64(a.Status), a.Error, ended, a.Webhook, a.Seq)
		if err != nil || ended == 0 || lane == "" {
			return err
		}
		_, err = t.exec(nextInLane, t.at, a.Webhook, a.Webhook, lane)
		return err
	})
	s.wakeWebhooks()
	return err
}

// GiveUpDeliveries ends what waits since a time or longer without another
// attempt, the oldest first, and returns how many.
func (s *Store) GiveUpDeliveries(ctx context.Context, webhook string, since int64, why string) (int, error) {
	return s.changeDeliveries(ctx, ` WHERE webhook = ? AND state = 'waiting' AND since <= ? ORDER BY seq LIMIT ?`, []driver.Value{webhook, since}, func(t *tx, d chat.WebhookDelivery) error {
		_, err := t.exec(`UPDATE webhook_deliveries SET state = 'failed', due = 0, ended_at = ?, error = ? WHERE webhook = ? AND seq = ?`, t.at, why, webhook, d.Event.Seq)
		if err == nil {
			_, err = t.exec(nextInLane, t.at, webhook, webhook, d.Lane)
		}
		return err
	})
}

// Resend has a delivery tried again: one that has ended from the beginning,
// one that waits at once, as far as its lane allows. It returns it as it is
// then; without it it is a CodeNotFound.
func (s *Store) Resend(ctx context.Context, webhook string, seq int64) (d chat.WebhookDelivery, err error) {
	one := func(c *conn) error {
		list, err := c.deliveries(deliveryColumns+` WHERE webhook = ? AND seq = ?`, webhook, seq)
		if err == nil && len(list) == 0 {
			err = chat.Errorf(chat.CodeNotFound, "event %d is not in the list of this webhook's deliveries; it never was, or it is too old", seq)
		}
		if err == nil {
			d = list[0]
		}
		return err
	}
	err = s.run(ctx, func(t *tx) error {
		if err := one(t.conn); err != nil {
			return err
		}
		if d.State != chat.WebhookWaiting {
			if err := t.again(d); err != nil {
				return err
			}
		} else if _, err := t.exec(`UPDATE webhook_deliveries SET due = ? WHERE webhook = ? AND lane = ? AND due > 0`, t.at, webhook, d.Lane); err != nil {
			return err
		}
		return one(t.conn)
	})
	s.wakeWebhooks()
	return d, err
}

// again puts an ended delivery back into its lane.
func (t *tx) again(d chat.WebhookDelivery) error {
	_, busy, err := t.one(laneBusy, d.Webhook, d.Lane)
	if err != nil {
		return err
	}
	due := t.at
	if busy {
		due = 0
	}
	_, err = t.exec(`UPDATE webhook_deliveries SET state = 'waiting', since = ?, due = ?, ended_at = 0 WHERE webhook = ? AND seq = ?`,
		t.at, due, d.Webhook, d.Event.Seq)
	return err
}

// ResendFailed puts back all that was given up, the oldest first, and returns
// how many.
func (s *Store) ResendFailed(ctx context.Context, webhook string) (int, error) {
	return s.changeDeliveries(ctx, ` WHERE webhook = ? AND state = 'failed' ORDER BY seq LIMIT ?`, []driver.Value{webhook}, (*tx).again)
}

// together is how many deliveries are changed in one transaction.
const together = 500

// changeDeliveries changes all deliveries that a condition selects, which must
// not hold for them afterwards, and returns how many. The condition ends with
// the LIMIT of one transaction.
func (s *Store) changeDeliveries(ctx context.Context, where string, args []driver.Value, change func(*tx, chat.WebhookDelivery) error) (count int, err error) {
	defer s.wakeWebhooks()
	for {
		n := 0
		err := s.run(ctx, func(t *tx) error {
			list, err := t.deliveries(deliveryColumns+where, append(slices.Clone(args), int64(together))...)
			n = len(list)
			for i := 0; err == nil && i < n; i++ {
				err = change(t, list[i])
			}
			return err
		})
		if err != nil {
			return count, err
		}
		if count += n; n < together {
			return count, nil
		}
	}
}

// Deliveries lists deliveries.
func (s *Store) Deliveries(ctx context.Context, q chat.WebhookQuery) (list []chat.WebhookDelivery, err error) {
	query, args := deliveryColumns+` WHERE webhook = ?`, []driver.Value{q.Webhook}
	if q.State != "" {
		query, args = query+` AND state = ?`, append(args, string(q.State))
	}
	if q.Before > 0 {
		query, args = query+` AND seq < ?`, append(args, q.Before)
	}
	if q.Limit <= 0 {
		q.Limit = 50
	}
	args = append(args, int64(q.Limit))
	err = s.read(ctx, func(c *conn) error {
		list, err = c.deliveries(query+` ORDER BY seq DESC LIMIT ?`, args...)
		return err
	})
	return list, err
}

// WebhookQueue says how an endpoint's deliveries stand.
func (s *Store) WebhookQueue(ctx context.Context, webhook string) (q chat.WebhookQueue, err error) {
	err = s.read(ctx, func(c *conn) error {
		waiting, _, err := c.one(`SELECT count(*) FROM webhook_deliveries WHERE webhook = ? AND state = 'waiting'`, webhook)
		if err != nil {
			return err
		}
		failed, _, err := c.one(`SELECT count(*) FROM webhook_deliveries WHERE state = 'failed' AND ended_at > 0 AND +webhook = ?`, webhook)
		if err != nil {
			return err
		}
		q.Waiting, q.Failed = int(waiting), int(failed)
		q.DeliveredAt, _, err = c.one(`SELECT max(ended_at) FROM webhook_deliveries WHERE state = 'delivered' AND ended_at > 0 AND +webhook = ?`, webhook)
		return err
	})
	return q, err
}
