package db

import (
	"slices"
	"sync"

	"teahouse/chat"
)

const (
	recentEvents = 8192    // so many of the newest events are held whole,
	recentBytes  = 8 << 20 // if they are not more than this

	chunkSize = 256 // events in one piece of the memory
)

// chunk is a piece of the recent events. An entry is written once, before it
// is published, and never changed: readers need the lock to learn how far
// they may look, not to look.
type chunk struct {
	events [chunkSize]chat.Event
	origin [chunkSize]uint64 // taken out of the events, for a Tail that comes late
	bytes  int
}

// tail is what memory knows of the newest part of the log: the recent events
// themselves, and the place of every event that is not in the index on the
// disk yet. So a topic is its index and, above that, its list here. The
// writer changes it; everybody reads.
type tail struct {
	mu     sync.RWMutex
	head   int64 // every event up to this Seq is durable
	topics map[string]*topicTail

	// The recent events have the Seqs from start up to head, without a gap:
	// there are gaps between two opens of a file only.
	chunks []*chunk
	base   int64 // Seq of the first entry of chunks[0]
	start  int64
	bytes  int
	recent int64 // how many are kept
}

// topicTail lists the events of one topic that are not indexed yet. All of
// the topic that is older is in the index.
type topicTail struct {
	id   int64
	name string
	seqs []int64 // rising; only added to and cut at the front, so that a reader may keep it
}

func newTail(recent int64) *tail {
	return &tail{recent: recent, topics: make(map[string]*topicTail)}
}

// reset sets where the log stands, before there are readers.
func (t *tail) reset(head int64) {
	t.head, t.base, t.start = head, head+1, head+1
}

// size estimates the memory that an event takes.
func size(e *chat.Event) int {
	return 160 + len(e.Topic) + len(e.Kind) + len(e.From) + len(e.Key) + len(e.Body)
}

// stage keeps an event above the head without publishing it. Writer only.
func (t *tail) stage(e chat.Event) {
	i := e.Seq - t.base
	if int(i/chunkSize) == len(t.chunks) {
		t.mu.Lock() // a view copies the slice's header
		t.chunks = append(t.chunks, new(chunk))
		t.mu.Unlock()
	}
	t.chunks[i/chunkSize].events[i%chunkSize] = e
}

// staged returns an event that is in memory, perhaps not published yet. Writer only.
func (t *tail) staged(seq int64) *chat.Event {
	i := seq - t.base
	return &t.chunks[i/chunkSize].events[i%chunkSize]
}

// publish makes the staged events up to head visible; ids are their topics'.
func (t *tail) publish(head int64, ids []int64, filed func(*topicTail, *chat.Event)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, id := range ids {
		e := t.staged(t.head + 1 + int64(n))
		c := t.chunks[(e.Seq-t.base)/chunkSize]
		c.origin[(e.Seq-t.base)%chunkSize], e.Origin = e.Origin, 0
		filed(t.file(e.Topic, id, e.Seq), e)
		size := size(e)
		c.bytes += size
		t.bytes += size
	}
	t.head = head
	for drop := 0; ; drop++ {
		n := t.head + 1 - t.start
		if n <= t.recent && t.bytes <= recentBytes || n <= chunkSize {
			if drop > 0 {
				t.chunks = slices.Clone(t.chunks[drop:])
				t.base += int64(drop * chunkSize)
			}
			return
		}
		t.bytes -= t.chunks[drop].bytes
		t.start += chunkSize
	}
}

// file notes an event that is not indexed.
func (t *tail) file(topic string, id, seq int64) *topicTail {
	x, ok := t.topics[topic]
	if !ok {
		x = &topicTail{id: id, name: topic}
		t.topics[topic] = x
	}
	x.seqs = append(x.seqs, seq)
	return x
}

// shrink gives back the memory of a list that was long and is empty now.
func (t *tail) shrink() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.topics) == 0 {
		t.topics = make(map[string]*topicTail)
	}
}

// indexed forgets the oldest entry of each row's topic: it is in the index now.
func (t *tail) indexed(rows []row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range rows {
		if x := r.topic; len(x.seqs) > 1 {
			x.seqs = x.seqs[1:]
		} else {
			x.seqs = nil
			delete(t.topics, x.name)
		}
	}
}

// view is what a reader sees of the tail at one moment, without the lock.
type view struct {
	head   int64
	seqs   [][]int64 // for each topic asked for, what is not indexed
	chunks []*chunk
	base   int64
	start  int64
}

func (t *tail) view(topics ...string) view {
	t.mu.RLock()
	defer t.mu.RUnlock()
	v := view{head: t.head, chunks: t.chunks, base: t.base, start: t.start}
	if len(topics) > 0 {
		v.seqs = make([][]int64, len(topics))
		for i, name := range topics {
			if x, ok := t.topics[name]; ok {
				v.seqs[i] = x.seqs
			}
		}
	}
	return v
}

// upTo is the Seq up to which the topic's index is complete in this view.
func (v *view) upTo(topic int) int64 {
	if s := v.seqs[topic]; len(s) > 0 {
		return s[0] - 1
	}
	return v.head
}

// event returns a recent event, nil if it is not in memory.
func (v *view) event(seq int64) *chat.Event {
	if seq < v.start || seq > v.head {
		return nil
	}
	i := seq - v.base
	return &v.chunks[i/chunkSize].events[i%chunkSize]
}

// origin returns the Origin of a recent event, 0 of all others.
func (v *view) origin(seq int64) uint64 {
	if seq < v.start || seq > v.head {
		return 0
	}
	i := seq - v.base
	return v.chunks[i/chunkSize].origin[i%chunkSize]
}

// above returns the part of a rising list that is above seq.
func above(seqs []int64, seq int64) []int64 {
	i, found := slices.BinarySearch(seqs, seq)
	if found {
		i++
	}
	return seqs[i:]
}

// below returns the part of a rising list that is below seq.
func below(seqs []int64, seq int64) []int64 {
	i, _ := slices.BinarySearch(seqs, seq)
	return seqs[:i]
}
