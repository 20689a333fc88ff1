package main

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay stands between clients and a server, and breaks connections: it cuts
// them after so many bytes, or holds on to them without passing on a byte, as
// a network does from which the plug was pulled.
type relay struct {
	listener net.Listener
	target   func() (string, error) // HOST:PORT of the server
	plan     func() cut             // for each new connection; nil: none is cut
	calm     atomic.Bool            // from now on none is cut
	cuts     atomic.Int64

	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
	frozen chan struct{}
	thaw   sync.Once
	over   chan struct{}
	wg     sync.WaitGroup
}

// cut says after how many bytes a connection breaks in each direction.
type cut struct {
	up, down int
	reset    bool // by a reset, and not by an orderly end
}

func newRelay(t testing.TB, target func() (string, error), plan func() cut) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: target, plan: plan, conns: make(map[net.Conn]bool), frozen: make(chan struct{}), over: make(chan struct{})}
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.pass(c) })
		}
	})
	t.Cleanup(func() {
		close(r.over)
		l.Close()
		r.mu.Lock()
		r.closed = true
		for c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

// freeze stops passing on anything, and closes nothing.
func (r *relay) freeze() { r.thaw.Do(func() { close(r.frozen) }) }

// hold notes a connection; false if the test is over.
func (r *relay) hold(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		c.Close()
		return false
	}
	r.conns[c] = true
	return true
}

func (r *relay) drop(c net.Conn, reset bool) {
	if tcp, ok := c.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// pass connects to the server and copies both ways.
func (r *relay) pass(near net.Conn) {
	if !r.hold(near) {
		return
	}
	defer r.drop(near, false)
	host, err := r.target()
	if err != nil {
		return
	}
	far, err := net.Dial("tcp", host)
	if err != nil || !r.hold(far) {
		return
	}
	defer r.drop(far, false)
	var c cut
	if r.plan != nil && !r.calm.Load() {
		c = r.plan()
	}
	broken := func() {
		r.cuts.Add(1)
		r.drop(near, c.reset)
		r.drop(far, c.reset)
	}
	var both sync.WaitGroup
	both.Go(func() { r.copy(far, near, c.up, broken) })
	both.Go(func() { r.copy(near, far, c.down, broken) })
	both.Wait()
}

// copy passes on bytes until the end, or until limit of them have passed
// unless that is 0.
func (r *relay) copy(to, from net.Conn, limit int, broken func()) {
	buf := make([]byte, 8<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-r.frozen:
			<-r.over
			return
		default:
		}
		if limit > 0 && n >= limit {
			_, _ = to.Write(buf[:limit])
			broken()
			return
		}
		limit = max(0, limit-n)
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		}
	}
}
