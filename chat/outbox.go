package chat

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// outbox is the queue of encoded frames before one socket, bounded in bytes.
// It is empty and has no memory of its own while there is nothing to write.
//
// Whoever finds it not being written writes it, without blocking; only when
// the socket is full a goroutine of its own (drain) takes over until all is
// written. A frame is never cut by another one: there is one writer at a time.
type outbox struct {
	conn  net.Conn
	raw   syscall.RawConn // nil where a write cannot be tried without blocking
	limit int             // bytes
	owner *link           // a full socket that takes bytes again is its sign of life; may be nil
	stall time.Duration   // how long a full socket may stay full

	mu      sync.Mutex
	chunks  [][]byte // each one frame or several whole frames; shared, never changed
	bytes   int
	writing bool // somebody writes, or drain runs
	dirty   bool // on somebody's list for flushing
	late    bool // on the list for flushing later
	broken  bool
	last    bool          // half-close the socket when all is written
	roomy   chan struct{} // closed when there is room again; nil while nobody waits
	lastCap time.Duration // how long the peer may take to answer the close frame
}

// push queues a frame whatever the bound: its producer waits for room before
// it makes the next one. It reports whether the caller has to flush.
func (o *outbox) push(frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.put(frame)
}

// queue queues a frame like push, for a caller that queues more and then
// claims the flush.
func (o *outbox) queue(frame []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(frame)
}

// claim reports whether there is something to flush and nobody is at it.
func (o *outbox) claim() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.chunks) > 0 && !o.writing && !o.broken
}

// pushBounded queues a frame only within the bound. An empty queue takes any.
func (o *outbox) pushBounded(frame []byte) (ok, flush bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes > 0 && o.bytes+len(frame) > o.limit {
		return false, false
	}
	return true, o.put(frame)
}

// pushDroppable queues a frame that nobody misses, only while half the bound
// is free.
func (o *outbox) pushDroppable(frame []byte) (flush bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes > o.limit/2 {
		return false
	}
	return o.put(frame)
}

// pushLate is pushDroppable for a frame that may wait for the next flush. It
// reports whether the caller has to see to one.
func (o *outbox) pushLate(frame []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes > o.limit/2 || !o.add(frame) || o.late {
		return false
	}
	o.late = true
	return true
}

// put queues a frame and reports whether the caller has to flush: nobody
// writes or is going to. The caller holds mu.
func (o *outbox) put(frame []byte) (flush bool) {
	if !o.add(frame) || o.writing || o.dirty {
		return false
	}
	o.dirty = true
	return true
}

// add queues a frame. It reports false if there is nothing to queue, or nobody
// to write it to any more. The caller holds mu.
func (o *outbox) add(frame []byte) bool {
	if o.broken || o.last || len(frame) == 0 {
		return false
	}
	o.chunks = append(o.chunks, frame)
	o.bytes += len(frame)
	return true
}

// finish queues the last frame; when it is written the socket is half-closed
// and the peer has answer time to say goodbye. It reports whether the caller
// has to flush.
func (o *outbox) finish(frame []byte, answer time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken || o.last {
		return false
	}
	flush := o.put(frame)
	o.last, o.lastCap = true, answer
	return flush
}

// flush writes what is queued as far as the socket takes it at once.
func (o *outbox) flush(w *writer) {
	o.mu.Lock()
	o.dirty, o.late = false, false
	if o.writing || o.broken || len(o.chunks) == 0 {
		o.mu.Unlock()
		return
	}
	o.writing = true
	if o.raw == nil {
		o.mu.Unlock()
		go o.drain()
		return
	}
	for {
		chunks := o.chunks
		o.chunks = nil
		o.mu.Unlock()
		n, all, err := w.write(o.raw, chunks)
		o.mu.Lock()
		o.bytes -= n
		if err != nil {
			o.breakLocked()
			o.mu.Unlock()
			return
		}
		if !all {
			o.chunks = append(rest(chunks, n), o.chunks...)
			o.mu.Unlock()
			go o.drain()
			return
		}
		if len(o.chunks) == 0 {
			if cap(chunks) <= 4 {
				clear(chunks)
				o.chunks = chunks[:0]
			}
			o.idle()
			o.mu.Unlock()
			return
		}
	}
}

// drainPiece is how much must go out within the stall time, in bytes.
const drainPiece = 16 << 10

// drain writes until the queue is empty, blocking on a full socket.
func (o *outbox) drain() {
	buf := make([]byte, 0, drainPiece)
	o.mu.Lock()
	for !o.broken && len(o.chunks) > 0 {
		buf = buf[:0]
		for len(o.chunks) > 0 && len(buf) < drainPiece {
			n := min(len(o.chunks[0]), drainPiece-len(buf))
			buf = append(buf, o.chunks[0][:n]...)
			if o.chunks[0] = o.chunks[0][n:]; len(o.chunks[0]) == 0 {
				o.chunks[0] = nil
				o.chunks = o.chunks[1:]
			}
		}
		o.mu.Unlock()
		begun := time.Now()
		err := o.conn.SetWriteDeadline(begun.Add(o.stall))
		if err == nil {
			_, err = o.conn.Write(buf)
		}
		o.mu.Lock()
		o.bytes -= len(buf)
		if err != nil {
			o.breakLocked()
			break
		}
		if o.owner != nil && (o.raw != nil || time.Since(begun) > 10*time.Millisecond) {
			o.owner.seen.Store(o.owner.hub.now.Load())
		}
		o.roomLocked()
	}
	if !o.broken {
		o.chunks = nil
		// Later writes are tried without a deadline: they do not block.
		_ = o.conn.SetWriteDeadline(time.Time{})
		o.idle()
	}
	o.mu.Unlock()
}

// idle ends a writer's turn: the queue is empty. The caller holds mu.
func (o *outbox) idle() {
	o.writing = false
	o.roomLocked()
	if o.last {
		// Closing at once could make the kernel throw away the close frame
		// when the peer is still sending: say "no more" and let it answer.
		if c, ok := o.conn.(interface{ CloseWrite() error }); ok && o.lastCap > 0 {
			_ = o.conn.SetReadDeadline(time.Now().Add(o.lastCap))
			_ = c.CloseWrite()
		} else {
			o.breakLocked()
		}
	}
}

// rest returns what of the chunks is left after n bytes.
func rest(chunks [][]byte, n int) [][]byte {
	for len(chunks) > 0 && n >= len(chunks[0]) {
		n -= len(chunks[0])
		chunks = chunks[1:]
	}
	if len(chunks) > 0 {
		chunks[0] = chunks[0][n:]
	}
	return chunks
}

// arrived reports that all that was queued has been written and has reached
// the peer's side of TCP, or that it answers our goodbye.
func (o *outbox) arrived() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last || len(o.chunks) == 0 && !o.writing && o.raw != nil && unacknowledged(o.raw) == 0
}

// fail closes the socket; what is queued is dropped. The log has it.
func (o *outbox) fail() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.breakLocked()
}

func (o *outbox) breakLocked() {
	o.broken = true
	o.chunks, o.bytes = nil, 0
	_ = o.conn.Close()
	o.roomLocked()
}

func (o *outbox) roomLocked() {
	if o.roomy != nil && (o.broken || o.bytes <= o.limit/2) {
		close(o.roomy)
		o.roomy = nil
	}
}

// waitRoom blocks until half of the bound is free. It reports false if the
// socket is closed. It ends: a socket that stays full is closed by drain.
func (o *outbox) waitRoom() bool {
	for {
		o.mu.Lock()
		if o.broken || o.last || o.bytes <= o.limit/2 {
			ok := !o.broken && !o.last
			o.mu.Unlock()
			return ok
		}
		if o.roomy == nil {
			o.roomy = make(chan struct{})
		}
		wait := o.roomy
		o.mu.Unlock()
		<-wait
	}
}

// writer tries writes without blocking and joins small frames before it asks
// the kernel. One belongs to each goroutine that flushes.
type writer struct {
	joined []byte
	todo   []byte
	done   int
	err    error
	try    func(fd uintptr)
}

const writerBytes = 64 << 10

func newWriter() *writer {
	w := &writer{}
	w.try = func(fd uintptr) { w.done, w.err = writeSome(fd, w.todo) }
	return w
}

// write hands the chunks to the socket. all is false when the socket is full;
// n bytes were taken.
func (w *writer) write(raw syscall.RawConn, chunks [][]byte) (n int, all bool, err error) {
	for len(chunks) > 0 {
		w.todo = chunks[0]
		if len(chunks) > 1 && len(chunks[0]) < writerBytes/2 {
			if w.joined == nil {
				w.joined = make([]byte, 0, writerBytes)
			}
			w.todo = w.joined[:0]
			for len(chunks) > 0 && (len(w.todo) == 0 || len(w.todo)+len(chunks[0]) <= writerBytes) {
				w.todo = append(w.todo, chunks[0]...)
				chunks = chunks[1:]
			}
		} else {
			chunks = chunks[1:]
		}
		size := len(w.todo)
		w.done, w.err = 0, nil
		// Control and not Write: nothing waits here, so the poller need not know.
		if err := raw.Control(w.try); err != nil {
			w.todo = nil
			return n, false, err
		}
		w.todo = nil
		n += w.done
		if w.err != nil {
			return n, false, w.err
		}
		if w.done < size {
			return n, false, nil
		}
	}
	return n, true, nil
}
