package chat

// dispatch hands one committed batch to the topics and then flushes everybody
// who has something new. The next batch waits for the flush: what is committed
// meanwhile goes out together in the next round, in one write for each socket.
// It is the hub's own goroutine; it never waits for a client.
func (h *Hub) dispatch(batch []Event) {
	if len(batch) == 0 {
		return
	}
	newest := batch[len(batch)-1].Seq
	h.round.covers.Store(newest)
	h.stats.published.Add(int64(len(batch)))
	h.round.dirty = h.round.dirty[:0]
	h.round.byTopic(batch, h.dispatchTopic)
	h.told.Store(newest)
	h.recent.trim(h.opts.RecentBytes)
	h.round.flush()
}

// dispatchTopic hands the events of one topic, in Seq order, to its followers,
// and tells those who wait for one of these events.
func (h *Hub) dispatchTopic(events []Event) {
	name := events[0].Topic
	h.followTalk(name)
	h.mu.RLock()
	t := h.topics[name]
	h.mu.RUnlock()

	origins := h.round.origins[:0]
	for i := range events {
		o := h.origins.take(events[i].Origin)
		if o != nil && o.client != nil {
			o.client.sentNow = true
		}
		origins = append(origins, o)
	}
	h.round.origins = origins

	online := 0
	if t != nil {
		online = h.tellTopic(t, events)
	}
	for i, o := range origins {
		switch {
		case o == nil:
		case o.client == nil:
			o.call.told(o.index, online)
		default:
			if !o.acked { // it does not follow this topic live
				h.round.queue(o.client, o.client.acked(o.id, &events[i]))
			}
			o.client.sentNow = false
		}
		origins[i] = nil
	}
}

// tellTopic encodes the events once for each dialect and queues them. It
// returns how many connections follow the topic.
func (h *Hub) tellTopic(t *topic, events []Event) (online int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	newest := events[len(events)-1].Seq
	t.last = newest
	t.usedAt = h.now.Load()
	t.joined = nil
	base := len(t.recent)
	for i := range events {
		e := recentEvent{event: events[i], bytes: 256 + 2*len(events[i].Body) + len(events[i].Topic)}
		e.event.Origin = 0
		t.recent = append(t.recent, e)
		h.recent.add(t, events[i].Seq, e.bytes)
	}
	entries := t.recent[base:]
	chunks := h.round.chunks[:0]
	delivered := 0
	for _, s := range t.subs {
		if !s.live {
			continue
		}
		c, d := s.client, s.client.dialect
		if c.sentNow || s.cursor.Load() >= events[0].Seq {
			delivered += h.tellOne(s, entries)
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
			if flush {
				h.round.dirty = append(h.round.dirty, c)
			}
		}
		s.cursor.Store(newest)
	}
	clear(chunks)
	h.round.chunks = chunks
	h.stats.delivered.Add(int64(delivered))
	return len(t.subs)
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
// nothing at or below its cursor. The caller holds topic.mu.
func (h *Hub) tellOne(s *subscription, entries []recentEvent) (delivered int) {
	c := s.client
	cursor := s.cursor.Load()
	for i := range entries {
		e := &entries[i]
		if o := h.round.origins[i]; o != nil && o.client == c {
			o.acked = true
			h.round.queue(c, c.acked(o.id, &e.event))
		} else if e.event.Seq > cursor {
			if frame := e.frame(c.dialect); len(frame) > 0 {
				ok, flush := c.out.pushBounded(frame)
				if !ok {
					h.fallBehind(s)
					return delivered
				}
				delivered++
				if flush {
					h.round.dirty = append(h.round.dirty, c)
				}
			}
		} else {
			continue
		}
		s.cursor.Store(max(cursor, e.event.Seq))
	}
	return delivered
}

// fallBehind takes a follower off the live stream: its queue is full. What it
// misses it gets from the log, by the same way as one that comes back. The
// caller holds topic.mu.
func (h *Hub) fallBehind(s *subscription) {
	s.live = false
	h.stats.slow.Add(1)
	s.client.catchUp(s)
}
