package chat

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// round is the working memory of one dispatch, and the goroutines that share
// its flush. Except for covers, only the hub's own goroutine uses it.
type round struct {
	// covers is the newest Seq that the hub has been given. All up to it is
	// durable; all up to it is told when the round ends.
	covers atomic.Int64

	dirty   []*Client // who has something queued to flush
	origins []*origin // who waits for the topic's events, by their index
	chunks  [][]byte  // the topic's events in one piece, by the dialect's number
	groups  map[string][]Event
	order   []string

	writer  *writer
	next    atomic.Int64 // the next index of dirty to be flushed
	work    chan struct{}
	working sync.WaitGroup
	workers sync.WaitGroup
}

// flushGrain is how many sockets a flusher takes at a time; a round with fewer
// is not worth waking another goroutine.
const flushGrain = 16

func (r *round) init() {
	r.writer = newWriter()
	r.groups = make(map[string][]Event)
	r.work = make(chan struct{})
	for range runtime.GOMAXPROCS(0) - 1 {
		r.workers.Go(func() {
			w := newWriter()
			for range r.work {
				r.flushSome(w)
				r.working.Done()
			}
		})
	}
}

func (r *round) stop() {
	close(r.work)
	r.workers.Wait()
}

// byTopic calls each with the events of one topic after the other, in the
// order in which the topics first appear.
func (r *round) byTopic(batch []Event, each func([]Event)) {
	same := 1
	for same < len(batch) && batch[same].Topic == batch[0].Topic {
		same++
	}
	if same == len(batch) {
		each(batch)
		return
	}
	r.order = r.order[:0]
	for _, e := range batch {
		g := r.groups[e.Topic]
		if len(g) == 0 {
			r.order = append(r.order, e.Topic)
		}
		r.groups[e.Topic] = append(g, e)
	}
	for _, name := range r.order {
		each(r.groups[name])
		clear(r.groups[name])
		r.groups[name] = r.groups[name][:0]
	}
	if len(r.groups) > 4096 { // names come and go; their slices need not stay
		clear(r.groups)
	}
}

// queue queues a frame whatever the bound.
func (r *round) queue(c *Client, frame []byte) {
	if c.out.push(frame) {
		r.dirty = append(r.dirty, c)
	}
}

// flush writes to all dirty clients, with as many goroutines as are worth it,
// and returns when each socket has taken what it takes at once.
func (r *round) flush() {
	r.next.Store(0)
	for n := len(r.dirty) - flushGrain; n > 0; n -= flushGrain {
		r.working.Add(1)
		select {
		case r.work <- struct{}{}:
			continue
		default: // all are awake
			r.working.Done()
		}
		break
	}
	r.flushSome(r.writer)
	r.working.Wait()
	clear(r.dirty)
}

func (r *round) flushSome(w *writer) {
	for {
		to := int(r.next.Add(flushGrain))
		from := to - flushGrain
		if from >= len(r.dirty) {
			return
		}
		for _, c := range r.dirty[from:min(to, len(r.dirty))] {
			c.out.flush(w)
		}
		// A flush is one system call after the other: let those in who read
		// and store the next messages, or there will be little to put together
		// in the next round.
		runtime.Gosched()
	}
}

// recentQueue remembers in which order events came into the topics' memory, so
// that the oldest leave first when the budget is used up.
type recentQueue struct {
	bytes   atomic.Int64
	entries []recentRef
	head    int
}

type recentRef struct {
	topic *topic
	seq   int64
	bytes int
}

func (q *recentQueue) add(t *topic, seq int64, bytes int) {
	q.entries = append(q.entries, recentRef{t, seq, bytes})
	q.bytes.Add(int64(bytes))
}

func (q *recentQueue) trim(budget int) {
	for q.head < len(q.entries) && q.bytes.Load() > int64(budget) {
		r := q.entries[q.head]
		q.entries[q.head] = recentRef{}
		q.head++
		q.bytes.Add(-int64(r.bytes))
		r.topic.mu.Lock()
		if recent := r.topic.recent; len(recent) > 0 && recent[0].event.Seq == r.seq {
			recent[0] = recentEvent{}
			r.topic.recent = recent[1:]
			r.topic.recentFrom = max(r.topic.recentFrom, r.seq)
		}
		r.topic.mu.Unlock()
	}
	if q.head > 1024 && q.head > len(q.entries)/2 {
		q.entries = append(q.entries[:0:0], q.entries[q.head:]...)
		q.head = 0
	}
}

// originTable leads from an event's Origin to whoever waits for it.
type originTable struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*origin
}

// origin is somebody who waits for an event that was appended: a client for
// its ack, or a call of Publish.
type origin struct {
	client *Client
	id     []byte // of the client's request
	acked  bool   // the hub's own goroutine
	call   *publishCall
	index  int // in the call
}

func (t *originTable) add(o *origin) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.waiting[t.last] = o
	return t.last
}

// take removes and returns who waits, or nil.
func (t *originTable) take(tag uint64) *origin {
	if tag == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.waiting[tag]
	delete(t.waiting, tag)
	return o
}
