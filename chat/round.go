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
	origins []*origin // who waits for an event, by its index in the batch
	online  []int     // to how many connections an event goes, likewise
	chunks  [][]byte  // the stream's events in one piece, by the dialect's number
	byName  map[string]*stream
	order   []*stream

	writer  *writer
	next    atomic.Int64 // the next index of dirty to be flushed
	work    chan struct{}
	working sync.WaitGroup
	workers sync.WaitGroup
}

const (
	// flushGrain is how many sockets a flusher takes at a time.
	flushGrain = 16
	// flushShare is how many sockets are worth another goroutine. One alone
	// leaves the other processors to those who read and store, and to the
	// readers at the other end.
	flushShare = 2048
)

func (r *round) init() {
	r.writer = newWriter()
	r.byName = make(map[string]*stream)
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

// stream is what a batch holds for the followers of one topic.
type stream struct {
	name   string
	events []Event
	index  []int // of each event in the batch
}

// begin finds out who waits for the events of a batch.
func (r *round) begin(batch []Event, origins *originTable) {
	r.dirty = r.dirty[:0]
	r.origins, r.online = r.origins[:0], r.online[:0]
	for i := range batch {
		o := origins.take(batch[i].Origin)
		if o != nil && o.client != nil {
			o.client.sentNow = true
		}
		r.origins = append(r.origins, o)
		r.online = append(r.online, 0)
	}
}

// streams sorts a batch by who follows it, each in the order of Seq. What is
// said in a talk also goes into the inboxes of its two members: they follow it
// without asking, and inbox and talks have one position together.
func (r *round) streams(batch []Event) []*stream {
	if len(r.byName) > 4096 { // names come and go; their memory need not stay
		clear(r.byName)
	}
	for _, s := range r.order {
		clear(s.events)
		s.events, s.index = s.events[:0], s.index[:0]
	}
	r.order = r.order[:0]
	add := func(name string, i int) {
		s := r.byName[name]
		if s == nil {
			s = &stream{name: name}
			r.byName[name] = s
		}
		if len(s.events) == 0 {
			r.order = append(r.order, s)
		}
		s.events, s.index = append(s.events, batch[i]), append(s.index, i)
	}
	for i := range batch {
		add(batch[i].Topic, i)
		if a, b, ok := TalkMembers(batch[i].Topic); ok {
			add(Inbox(a), i)
			if a != b {
				add(Inbox(b), i)
			}
		}
	}
	return r.order
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
	for n := len(r.dirty) - flushShare; n > 0; n -= flushShare {
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
