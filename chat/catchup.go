package chat

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"strings"
	"time"
)

// Catching up and slow readers are one thing: a subscription that is not live
// is behind, and its client's catch-up goroutine serves it from the log, page
// by page, as fast as the socket takes it. Under the topic's lock it looks
// whether the head has been reached; then the subscription is live. So there
// is no buffer of what comes meanwhile, no merge, no duplicate and no gap.

// catchUp begins to serve a subscription from the log. Its topic's lock may be
// held.
func (c *Client) catchUp(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	c.hub.stats.behind.Add(1)
	s.checked = false
	c.behind = append(c.behind, s)
	if !c.catching {
		c.catching = true
		c.since = time.Now()
		go c.runCatchUp()
	}
}

// runCatchUp serves the topics that are behind in turn, a page each.
func (c *Client) runCatchUp() {
	for {
		c.mu.Lock()
		if c.gone {
			c.hub.stats.behind.Add(-int64(len(c.behind)))
			c.behind = nil
		}
		if len(c.behind) == 0 {
			c.behind, c.catching = nil, false
			c.forgetTold()
			c.mu.Unlock()
			return
		}
		s := c.behind[0]
		c.behind = c.behind[1:]
		late := time.Since(c.since) > c.hub.opts.BehindMax
		c.mu.Unlock()
		done := true
		if !c.out.waitRoom() {
			// The connection is closing; what is left it gets when it is back.
		} else if late {
			c.hub.stats.slow.Add(1)
			c.close(Errorf(CodeSlow, "this connection reads too slowly; come back with your position"))
		} else if d, err := c.replayPage(s); err != nil {
			if c.hub.ctx.Err() == nil {
				c.hub.log.Error("replay failed", "topic", s.topic.name, "session", c.session, "err", err)
				c.close(Errorf(CodeStorage, "the log could not be read; come back with your position"))
			}
		} else {
			done = d
		}
		if done {
			c.hub.stats.behind.Add(-1)
			continue
		}
		c.mu.Lock()
		c.behind = append(c.behind, s)
		c.mu.Unlock()
	}
}

// replayPage queues the next page of a subscription. done means that it is
// live or has ended.
func (c *Client) replayPage(s *subscription) (done bool, err error) {
	h, t := c.hub, s.topic
	if !s.checked {
		if err := c.checkPosition(s); err != nil {
			return false, err
		}
		s.checked = true
	}
	// All up to covers is durable, so a read of the log that begins now sees it.
	covers := h.round.covers.Load()
	if done, ok := c.replayRecent(s); ok {
		h.flushNow(c, c.out.claim())
		return done, nil
	}
	after := s.cursor.Load()
	events, err := h.readLog(func(ctx context.Context) ([]Event, error) {
		names, err := h.names(ctx, t, after)
		if err != nil {
			return nil, err
		}
		return h.store.Replay(ctx, names, after, h.opts.Page)
	})
	if err != nil {
		return false, err
	}
	frames, bytes, more := make([][]byte, 0, len(events)), 0, len(events) == h.opts.Page
	for i := range events {
		if bytes > h.opts.QueueBytes {
			more = true
			break
		}
		if events[i].Seq > covers && t.isInbox() {
			// An older event may stand in a talk that names did not know of
			// yet. This one comes live or with the next page.
			more = false
			break
		}
		frame := c.dialect().eventFrame(&events[i])
		frames, bytes = append(frames, frame), bytes+len(frame)
	}
	done = s.tellPage(events, frames, covers, more)
	h.flushNow(c, c.out.claim())
	return done, nil
}

// tellPage queues the frames of a page's first events. done means that nothing
// more is to be read: the subscription is live now, or ended meanwhile.
func (s *subscription) tellPage(events []Event, frames [][]byte, covers int64, more bool) (done bool) {
	c, t := s.client, s.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.removed { // and "left" was said: nothing may follow it
		return true
	}
	if t.recalled > covers { // the page may hold what was recalled while it was read: read it again
		return false
	}
	replayed := 0
	for i, frame := range frames {
		if frame = c.replayed(s, &events[i], frame); len(frame) > 0 {
			c.out.queue(frame)
			c.delivered()
			replayed++
		}
		s.cursor.Store(events[i].Seq)
	}
	c.hub.stats.replayed.Add(int64(replayed))
	if more {
		return false
	}
	reached := max(s.cursor.Load(), covers)
	if t.last > reached {
		return false
	}
	s.cursor.Store(reached)
	s.live = true
	return true
}

// replayRecent serves a subscription from the topic's memory. ok is false if
// that does not reach back far enough.
func (c *Client) replayRecent(s *subscription) (done, ok bool) {
	t := s.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.removed {
		return true, true
	}
	cursor := s.cursor.Load()
	if cursor < t.recentFrom {
		return false, false
	}
	i := sort.Search(len(t.recent), func(i int) bool { return t.recent[i].event.Seq > cursor })
	page := t.recent[i:]
	bytes := 0
	for n := range page {
		if bytes += len(page[n].event.Body); n == c.hub.opts.Page || bytes > c.hub.opts.QueueBytes && n > 0 {
			page = page[:n]
			break
		}
	}
	if len(page) > 0 {
		c.out.queue(c.joinRecent(s, page))
		c.hub.stats.replayed.Add(int64(len(page)))
		c.delivered()
		s.cursor.Store(page[len(page)-1].event.Seq)
	}
	if i+len(page) < len(t.recent) {
		return false, true
	}
	s.cursor.Store(max(s.cursor.Load(), t.last))
	s.live = true
	return true, true
}

// joinRecent returns the entries' frames in one piece. Many who come back at
// once ask for the same ones, so the last answer is kept. The caller holds
// t.mu.
func (c *Client) joinRecent(s *subscription, page []recentEvent) []byte {
	t, d := s.topic, c.dialect()
	now := int64(0) // asked for only if something can expire
	for i := range page {
		if page[i].event.Expires != 0 {
			now = time.Now().UnixMilli()
			break
		}
	}
	key := joinedKey{d.number, page[0].event.Seq, page[len(page)-1].event.Seq}
	c.mu.Lock()
	mine := now != 0 || len(c.own)+len(c.resumed.own) > 0 || t.isInbox() && c.talks.Load() > 0 // not everything is for it, or not for long
	c.mu.Unlock()
	if !mine && t.joinedKey == key && t.joined != nil {
		return t.joined
	}
	size := 0
	for i := range page {
		size += len(page[i].frame(d))
	}
	joined := make([]byte, 0, size)
	for i := range page {
		e := &page[i]
		if e.event.Expired(now) {
			continue
		}
		if mine {
			joined = append(joined, c.replayed(s, &e.event, e.frame(d))...)
		} else {
			joined = append(joined, e.frame(d)...)
		}
	}
	if !mine {
		t.joinedKey, t.joined = key, joined
	}
	return joined
}

// checkPosition finds out whether a position joins on to the log. If it does
// not, a reset is told and the replay begins at the newest page.
func (c *Client) checkPosition(s *subscription) error {
	h, t := c.hub, s.topic
	after := s.cursor.Load()
	if s.reset == "" {
		t.mu.Lock()
		inMemory := after >= t.recentFrom && len(t.recent) <= h.opts.ReplayMax
		t.mu.Unlock()
		if inMemory {
			return nil
		}
		var b Backlog
		_, err := h.readLog(func(ctx context.Context) (_ []Event, err error) {
			b, err = h.backlog(ctx, t, after)
			return nil, err
		})
		switch {
		case err != nil:
			return err
		case b.Pruned:
			s.reset = ResetRetention
		case b.Events > h.opts.ReplayMax:
			s.reset = ResetLimit
		default:
			return nil
		}
	}
	covers := h.round.covers.Load()
	newest, err := h.readLog(func(ctx context.Context) ([]Event, error) { return h.newest(ctx, t) })
	if err != nil {
		return err
	}
	from := covers
	if len(newest) > 0 {
		from = newest[0].Seq - 1
	}
	h.stats.resets.Add(1)
	c.out.queue(c.dialect().replyFrame(&Reply{Op: ReplyReset, Topic: t.name, Reason: s.reset, After: from}))
	c.mu.Lock() // see leaveAck
	s.cursor.Store(from)
	acks := c.takeAcks(s, from)
	c.mu.Unlock()
	c.out.queue(acks)
	s.reset = ""
	return nil
}

// names returns the topics whose events a topic's followers get: for an inbox
// also the talks that hold something after the position.
func (h *Hub) names(ctx context.Context, t *topic, after int64) ([]string, error) {
	names := []string{t.name}
	if !t.isInbox() {
		return names, nil
	}
	talks, err := h.store.Talks(ctx, strings.TrimPrefix(t.name, InboxPrefix), after)
	return append(names, talks...), err
}

// newest returns the newest page of what a topic's followers get.
func (h *Hub) newest(ctx context.Context, t *topic) ([]Event, error) {
	page, err := h.store.Before(ctx, t.name, 0, h.opts.Page)
	if err != nil || !t.isInbox() {
		return page, err
	}
	after := int64(0) // older talks have no place in a full page
	if len(page) == h.opts.Page {
		after = page[0].Seq
	}
	names, err := h.names(ctx, t, after)
	if err != nil {
		return nil, err
	}
	for _, name := range names[1:] {
		talk, err := h.store.Before(ctx, name, 0, h.opts.Page)
		if err != nil {
			return nil, err
		}
		page = append(page, talk...)
		slices.SortFunc(page, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
		page = page[max(0, len(page)-h.opts.Page):]
	}
	return page, nil
}

// backlog says what a follower of the topic has before it.
func (h *Hub) backlog(ctx context.Context, t *topic, after int64) (all Backlog, err error) {
	names, err := h.names(ctx, t, after)
	for _, name := range names {
		if err != nil {
			break
		}
		var b Backlog
		b, err = h.store.Backlog(ctx, name, after, h.opts.ReplayMax)
		all.Events += b.Events
		all.Pruned = all.Pruned || b.Pruned
	}
	return all, err
}

// readLog runs one read of the log within the bound on how many run at once.
func (h *Hub) readLog(read func(context.Context) ([]Event, error)) (events []Event, err error) {
	err = h.within(h.replays, func(ctx context.Context) error {
		events, err = read(ctx)
		return err
	})
	return events, err
}

// within runs do when one of the slots is free.
func (h *Hub) within(slots chan struct{}, do func(context.Context) error) error {
	select {
	case slots <- struct{}{}:
	case <-h.ctx.Done():
		return h.ctx.Err()
	}
	defer func() { <-slots }()
	return do(h.ctx)
}
