package chat

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// allow takes one of the connection's sends or signals.
func (c *Client) allow(l **rate.Limiter) error {
	limits := c.hub.opts.Limits
	if limits.SendRate <= 0 {
		return nil
	}
	if *l == nil {
		*l = rate.NewLimiter(rate.Limit(limits.SendRate), max(limits.SendBurst, 1))
	}
	now := time.Now()
	r := (*l).ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		if c.rules().Lenient { // it knows of no limit: it is read more slowly
			select {
			case <-time.After(wait):
				return nil
			case <-c.hub.ctx.Done():
			}
		}
		r.CancelAt(now)
		e := Errorf(CodeRateLimited, "at most %g messages a second; try again in %d ms", limits.SendRate, wait.Milliseconds()+1)
		e.Retry = wait
		return e
	}
	return nil
}

// houseKind reports a kind that only the house may say.
func houseKind(kind string) bool {
	return strings.HasPrefix(kind, "voucher.") || strings.HasPrefix(kind, "system.")
}

func (c *Client) doSend(cmd *Command) error {
	if err := c.allow(&c.limiter); err != nil {
		return err
	}
	e := Event{Topic: cmd.Topic, Kind: cmd.Kind, From: c.user, Key: cmd.Key, Body: cmd.Body}
	if e.Kind == "" {
		e.Kind = KindMessage
	}
	if e.Key == "" { // a key of our own, so that a replay can be told from an echo
		e.Key = "s-" + randomID()
	}
	if err := c.hub.opts.Limits.checkDecoded(&e); err != nil {
		return err
	}
	if houseKind(e.Kind) {
		return Errorf(CodeForbidden, "only the server may send events of kind %q", e.Kind)
	}
	if strings.HasPrefix(e.Topic, TalkPrefix) {
		if err := c.mayRead(e.Topic); err != nil {
			return err
		}
	} else if err := c.mayEnter(e.Topic); err != nil {
		return err
	}
	if e.Kind == KindRecalled {
		return c.recall(e, cmd.ID)
	}
	c.pending = append(c.pending, e)
	c.pendingIDs = append(c.pendingIDs, cmd.ID)
	if len(c.pending) == maxPending {
		c.sendPending()
	}
	return nil
}

// maxPending is how many sends of one connection are appended together.
const maxPending = 32

// sendPending appends the sends that came in one piece, in one call: a client
// that sends several at once does not wait for a commit between them. What
// fails is told for each.
func (c *Client) sendPending() {
	if len(c.pending) == 0 {
		return
	}
	h, events, ids := c.hub, c.pending, c.pendingIDs
	defer func() {
		clear(events)
		clear(ids)
		c.pending, c.pendingIDs = events[:0], ids[:0]
		if cap(events) > 4 { // idle connections keep little
			c.pending, c.pendingIDs = nil, nil
		}
	}()
	err := h.commands.enter()
	if err == nil {
		err = c.append(events, ids, h.store.Append)
		h.commands.leave()
	}
	if err != nil {
		for _, id := range ids {
			c.fail(OpSend, id, AsError(err))
		}
	}
}

// append has the events put into the log and sees to it that each is acked.
func (c *Client) append(events []Event, ids []json.RawMessage, put func(context.Context, ...Event) ([]Event, error)) error {
	h := c.hub
	if c.rules().Echo { // its own events come to it like anybody's
		_, err := put(h.ctx, events...)
		if err != nil {
			h.stats.failures.Add(int64(len(events)))
		}
		return h.logged(err)
	}
	for i := range events {
		c.sending(events[i].Topic, events[i].Key, ids[i])
		events[i].Origin = h.origins.add(&origin{client: c, id: ids[i]})
	}
	// Not the connection's context: a send that was read is carried out, so
	// that its outcome is known even if the sender is gone by then.
	stored, err := put(h.ctx, events...)
	if err != nil {
		if CodeOf(err).Verdict().Status >= 500 {
			h.stats.failures.Add(int64(len(events)))
		}
		for i := range events {
			h.origins.take(events[i].Origin)
			c.notSent(events[i].Topic, events[i].Key, ids[i])
		}
		return h.logged(err)
	}
	for i := range stored {
		if stored[i].Origin != 0 {
			continue // the hub tells the ack, in its place among the topic's events
		}
		// It was in the log already.
		h.origins.take(events[i].Origin)
		if !c.notSent(events[i].Topic, events[i].Key, ids[i]) {
			h.flushNow(c, c.out.push(c.ackFrame(ids[i], &stored[i], true)))
		}
	}
	return nil
}

// logged logs what a failed write was about, without what it said.
func (h *Hub) logged(err error) error {
	if err == nil {
		return nil
	}
	e := AsError(err)
	if e.Code == CodeInternal || e.Code == CodeStorage || e.Code == CodeStorageFull {
		h.log.Error("an event was not stored", "code", e.Code, "err", err)
	}
	return err
}
