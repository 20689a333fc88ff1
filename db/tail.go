package db

import (
	"sync"

	"teahouse/chat"
)

// chunkSize is how many events one piece of the memory tail holds.
const chunkSize = 256

// chunk is a piece of the tail. An entry is written once, before it is
// published, and never changed: readers need the lock to learn how far they
// may look, not to look.
type chunk struct {
	events [chunkSize]chat.Event
	prev   [chunkSize]int64  // the place of the topic's event before this one, -1 if it is not in memory
	hash   [chunkSize]uint64 // of the key, for the writer
}

// tail holds the events that are committed but not indexed yet, whole, so
// that a read is the index up to the watermark and the tail above it. The
// writer adds to it and cuts it; everybody reads.
type tail struct {
	mu      sync.RWMutex
	chunks  []*chunk
	base    int64            // the place of chunks[0].events[0]
	start   int64            // the place of the oldest event that is not indexed
	end     int64            // the place after the newest published event
	bytes   int              // of the events from start on
	topics  map[string]int64 // the place of a topic's newest event
	indexed int64            // the watermark: events up to this Seq are in the index
	head    int64            // every event up to this Seq is durable

	// keys leads from a key's hash to the place of its event. It is the
	// writer's own and needs no lock; it may already hold staged events.
	keys map[uint64]int64
}

func newTail() *tail {
	return &tail{topics: make(map[string]int64), keys: make(map[uint64]int64)}
}

// size estimates the memory that an event takes.
func size(e *chat.Event) int {
	return 160 + len(e.Topic) + len(e.Kind) + len(e.From) + len(e.Key) + len(e.Body)
}

// at returns the event at a place that the view or the writer knows to be there.
func at(chunks []*chunk, base, place int64) *chat.Event {
	i := place - base
	return &chunks[i/chunkSize].events[i%chunkSize]
}

// stage puts an event at the given place, at or after end, without publishing it.
// Only the writer calls it.
func (t *tail) stage(place int64, e chat.Event, hash uint64) {
	i := place - t.base
	if int(i/chunkSize) == len(t.chunks) {
		t.mu.Lock() // a view copies the slice's header
		t.chunks = append(t.chunks, new(chunk))
		t.mu.Unlock()
	}
	c := t.chunks[i/chunkSize]
	c.events[i%chunkSize], c.hash[i%chunkSize] = e, hash
}

// publish makes the staged events up to end visible and moves the head.
func (t *tail) publish(end, head int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := t.end; p < end; p++ {
		i := p - t.base
		c := t.chunks[i/chunkSize]
		e := &c.events[i%chunkSize]
		e.Origin = 0
		prev, ok := t.topics[e.Topic]
		if !ok {
			prev = -1
		}
		c.prev[i%chunkSize] = prev
		t.topics[e.Topic] = p
		t.bytes += size(e)
	}
	t.end = end
	t.head = max(t.head, head)
}

// cut drops the oldest n events, which the index holds up to watermark now.
func (t *tail) cut(n int64, watermark int64) {
	for p := t.start; p < t.start+n; p++ {
		i := p - t.base
		h := t.chunks[i/chunkSize].hash[i%chunkSize]
		if q, ok := t.keys[h]; ok && q == p {
			delete(t.keys, h)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := t.start; p < t.start+n; p++ {
		e := at(t.chunks, t.base, p)
		if t.topics[e.Topic] == p {
			delete(t.topics, e.Topic)
		}
		t.bytes -= size(e)
	}
	t.start += n
	t.indexed = watermark
	if drop := (t.start - t.base) / chunkSize; drop > 0 {
		t.chunks = append([]*chunk(nil), t.chunks[drop:]...)
		t.base += drop * chunkSize
	}
}

// view is what a reader sees of the tail without holding the lock.
type view struct {
	chunks           []*chunk
	base, start, end int64
	indexed, head    int64
	last             []int64 // per topic asked for: the place of its newest event, -1 without one
}

func (t *tail) view(topics ...string) view {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v := view{chunks: t.chunks, base: t.base, start: t.start, end: t.end, indexed: t.indexed, head: t.head}
	if len(topics) > 0 {
		v.last = make([]int64, len(topics))
		for i, name := range topics {
			p, ok := t.topics[name]
			if !ok {
				p = -1
			}
			v.last[i] = p
		}
	}
	return v
}

func (v *view) event(place int64) *chat.Event { return at(v.chunks, v.base, place) }

// back walks a topic's events in the tail, the newest first, while f says so.
func (v *view) back(topic int, f func(place int64, e *chat.Event) bool) {
	for p := v.last[topic]; p >= v.start; {
		i := p - v.base
		c := v.chunks[i/chunkSize]
		if !f(p, &c.events[i%chunkSize]) {
			return
		}
		p = c.prev[i%chunkSize]
	}
}

func (t *tail) len() int64 { return t.end - t.start }

// find looks a key up among the events in memory, staged ones up to end included.
func (t *tail) find(hash uint64, e *chat.Event, end int64) (place int64, found bool) {
	p, ok := t.keys[hash]
	if !ok {
		return 0, false
	}
	if sameKey(at(t.chunks, t.base, p), e) {
		return p, true
	}
	// Two keys with one hash: the map holds only the newer, so look at all.
	for p := end - 1; p >= t.start; p-- {
		if sameKey(at(t.chunks, t.base, p), e) {
			return p, true
		}
	}
	return 0, false
}

func sameKey(a, b *chat.Event) bool {
	return a.Key == b.Key && a.Topic == b.Topic && a.From == b.From
}
