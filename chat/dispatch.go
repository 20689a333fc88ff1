package chat

// dispatch hands one committed batch to the topics and then flushes everybody
// who has something new. The next batch waits for the flush: what is committed
// meanwhile goes out together in the next round, in one write for each socket.
// It is the hub's own goroutine; it never waits for a client.
func (h *Hub) dispatch(batch []Event) {
	if len(batch) == 0 {
		return
	}
	r := &h.round
	newest := batch[len(batch)-1].Seq
	r.covers.Store(newest)
	h.stats.published.Add(int64(len(batch)))
	r.begin(batch, &h.origins)
	h.talks.Lock()
	for _, g := range r.streams(batch) {
		h.mu.RLock()
		t := h.topics[g.name]
		h.mu.RUnlock()
		if t != nil {
			h.tellTopic(t, g)
		}
	}
	h.talks.Unlock()
	for i, o := range r.origins {
		switch {
		case o == nil:
		case o.client == nil:
			o.call.told(o.index, r.online[i])
		default:
			if !o.acked { // it does not follow the topic
				r.queue(o.client, o.client.ack(o.id, &batch[i], false))
			}
			o.client.sentNow = false
		}
	}
	h.told.Store(newest)
	h.recent.trim(h.opts.RecentBytes)
	r.flush()
}

// tellTopic encodes the events of one stream once for each dialect and queues
// them to its followers.
func (h *Hub) tellTopic(t *topic, g *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	events := g.events
	newest := events[len(events)-1].Seq
	t.last = newest
	t.usedAt = h.now.Load()
	t.joined = nil
	base := len(t.recent)
	for i := range events {
		e := recentEvent{event: events[i]}
		e.event.Origin = 0
		t.recent = append(t.recent, e)
		// The body, a frame with it, and what stands around them.
		h.recent.add(t, e.event.Seq, 256+2*len(e.event.Body)+len(e.event.Topic))
		h.round.online[g.index[i]] += len(t.subs)
	}
	t.forgetRecalled(events)
	entries := t.recent[base:]
	chunks := h.round.chunks[:0]
	delivered := 0
	for _, s := range t.subs {
		c, d := s.client, s.client.dialect()
		if !s.live {
			if c.sentNow {
				h.leaveAcks(s, entries, g.index)
			}
			continue
		}
		if c.sentNow || s.cursor.Load() >= events[0].Seq || t.isInbox() && c.talks.Load() > 0 {
			delivered += h.tellOne(s, entries, g)
			continue
		}
		for len(chunks) <= d.number {
			chunks = append(chunks, nil)
		}
		if chunks[d.number] == nil {
			chunks[d.number] = joinFrames(entries, d)
		}
		if len(chunks[d.number]) > 0 {
			ok, flush := c.out.pushBounded(chunks[d.number])
			if !ok {
				h.fallBehind(s)
				continue
			}
			delivered += len(entries)
			c.delivered()
			if flush {
				h.round.dirty = append(h.round.dirty, c)
			}
		}
		s.cursor.Store(newest)
	}
	clear(chunks)
	h.round.chunks = chunks
	h.stats.delivered.Add(int64(delivered))
}

// joinFrames makes the entries' frames for a dialect in one piece of memory,
// so that a socket which gets them all gets them in one write without copying.
func joinFrames(entries []recentEvent, d *dialect) []byte {
	if len(entries) == 1 {
		return entries[0].frame(d)
	}
	joined := make([]byte, 0, 300*len(entries))
	var text []byte
	ends := make([]int, len(entries))
	for i := range entries {
		if text = d.AppendEvent(text[:0], &entries[i].event); len(text) > 0 {
			joined = appendFrame(joined, frameText, text)
		}
		ends[i] = len(joined)
	}
	from := 0
	for i := range entries {
		entries[i].setFrame(d, joined[from:ends[i]:ends[i]])
		from = ends[i]
	}
	return joined
}

// tellOne is the slow way to a live follower that does not get all of the
// entries: in the place of an event that it sent itself it gets the ack, and
// nothing at or below its cursor, nor what comes to it by another subscription.
// The caller holds topic.mu.
func (h *Hub) tellOne(s *subscription, entries []recentEvent, g *stream) (delivered int) {
	c := s.client
	cursor := s.cursor.Load()
	for i := range entries {
		e := &entries[i]
		o := h.round.origins[g.index[i]]
		switch {
		case s.elsewhere(&e.event):
			h.round.online[g.index[i]]--
		case o != nil && o.client == c:
			if !o.acked {
				o.acked = true
				h.round.queue(c, c.ack(o.id, &e.event, e.event.Seq <= cursor))
				c.mu.Lock()
				s.saidItself(e.event.Seq, true)
				c.mu.Unlock()
			}
		case e.event.Seq > cursor:
			if frame := e.frame(c.dialect()); len(frame) > 0 {
				ok, flush := c.out.pushBounded(frame)
				if !ok {
					h.fallBehind(s)
					h.leaveAcks(s, entries[i:], g.index[i:])
					return delivered
				}
				delivered++
				c.delivered()
				if flush {
					h.round.dirty = append(h.round.dirty, c)
				}
			}
		}
		s.cursor.Store(max(cursor, e.event.Seq))
	}
	return delivered
}

// leaveAcks leaves to a follower's replay what it is to be told of its own
// sends. The caller holds topic.mu.
func (h *Hub) leaveAcks(s *subscription, entries []recentEvent, index []int) {
	for i := range entries {
		e := &entries[i].event
		o := h.round.origins[index[i]]
		if o != nil && o.client == s.client && !o.acked && !s.elsewhere(e) {
			o.acked = true
			if !s.client.leaveAck(s, e) {
				h.round.queue(s.client, s.client.ack(o.id, e, true))
			}
		}
	}
}

// fallBehind takes a follower off the live stream: its queue is full. What it
// misses it gets from the log, by the same way as one that comes back. The
// caller holds topic.mu.
func (h *Hub) fallBehind(s *subscription) {
	s.live = false
	h.stats.slow.Add(1)
	s.client.catchUp(s)
}
