package db

import (
	"context"
	"time"

	"teahouse/chat"
)

// How long a delivery that has ended is kept for the list, and how many of all
// endpoints together. What was given up is kept longer: somebody may want to
// send it again.
const (
	keepDelivered  = 3 * 24 * time.Hour
	keepFailed     = 30 * 24 * time.Hour
	keepDeliveries = 10_000

	// keepPaused is how long what waits for an endpoint that is disabled goes
	// on to wait.
	keepPaused = 3 * 24 * time.Hour
)

// pruneDeliveries bounds the list of deliveries.
func (s *Store) pruneDeliveries(ctx context.Context, now time.Time) error {
	before := func(d time.Duration) int64 { return now.Add(-d).UnixMilli() }
	// A process may have been killed while it removed an endpoint.
	if !s.orphans {
		if err := s.bites(ctx, `DELETE FROM webhook_deliveries WHERE rowid IN (SELECT rowid FROM webhook_deliveries WHERE webhook NOT IN (SELECT id FROM webhooks) LIMIT ?)`); err != nil {
			return err
		}
		s.orphans = true
	}
	err := s.bites(ctx, `UPDATE webhook_deliveries SET state = 'failed', due = 0, ended_at = ?, error = 'the webhook was disabled for three days'
		WHERE rowid IN (SELECT rowid FROM webhook_deliveries WHERE state = 'waiting' AND since < ? AND webhook IN (SELECT id FROM webhooks WHERE disabled_at > 0) LIMIT ?)`,
		now.UnixMilli(), before(keepPaused))
	if err != nil {
		return err
	}
	for state, cutoff := range map[chat.WebhookState]int64{chat.WebhookDelivered: before(keepDelivered), chat.WebhookFailed: before(keepFailed)} {
		err := s.bites(ctx, `DELETE FROM webhook_deliveries WHERE rowid IN (SELECT rowid FROM webhook_deliveries WHERE state = ? AND ended_at > 0 AND ended_at < ? LIMIT ?)`, string(state), cutoff)
		if err == nil { // LIMIT OFFSET, COUNT
			err = s.bites(ctx, `DELETE FROM webhook_deliveries WHERE rowid IN (SELECT rowid FROM webhook_deliveries WHERE state = ? AND ended_at > 0 ORDER BY ended_at DESC, rowid DESC LIMIT ?, ?)`,
				string(state), int64(s.opts.deliveries))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
