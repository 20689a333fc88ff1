package main

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A faultyProxy stands between one client and a server. It knows the messages
// of a WebSocket, so that it can break a connection exactly before, within or
// after the n-th of them, in each direction. What it breaks, a plan says.

// direction is who speaks.
type direction int

const (
	up   direction = iota // the client
	down                  // the server
)

func (d direction) String() string { return [...]string{"up", "down"}[d] }

// place is where in a message something breaks.
type spot int

const (
	before spot = iota
	within
	after
)

func (s spot) String() string { return [...]string{"before", "within", "after"}[s] }

// breakage is what breaks.
type breakage int

const (
	// These two let a connection live.
	delays breakage = iota // the message waits, and those behind it
	stalls                 // both directions wait

	// These end it, at once or when the client notices.
	cuts     // a reset on both sides
	ends     // an orderly end of the TCP connection, without a close frame
	silences // nothing is passed on, nothing closed
	deafens  // the client hears nothing more; the server still hears the client
	closes   // the server's close frame, and then, by `then`, one of the three above

	// These are instead of a connection.
	refuses  // reset at once, and nobody listens for a while
	gateways // the handshake is answered by 502

	breakages
)

func (b breakage) String() string {
	return [...]string{"delays", "stalls", "cuts", "ends", "silences", "deafens", "closes", "refuses", "gateways"}[b]
}

// fault is one thing that breaks in one connection. Message 0 is the
// handshake: the request, and its answer. Those after it are frames.
type fault struct {
	what breakage
	dir  direction
	n    int
	at   spot
	long time.Duration // of delays, stalls and refuses
	hold chan struct{} // instead of long: delays until it is closed
	code uint16        // of closes
	then breakage      // of closes
}

func (f fault) String() string {
	s := fmt.Sprintf("%s %s %s %d", f.what, f.at, f.dir, f.n)
	if f.what == closes {
		s += fmt.Sprintf(" with %d, then %s", f.code, f.then)
	}
	if f.long > 0 {
		s += fmt.Sprintf(" for %s", f.long)
	}
	return s
}

const (
	// overlap is how long the proxy may take to see that the client closed a
	// socket before it made the next. It is all the scheduler's.
	overlap = 2 * time.Second
	// impatience is how long a client may take to notice silence. By its own,
	// fast clock it is more than a minute.
	impatience = 8 * time.Second
	// A socket from which the client has gone lingers so long where nothing is
	// passed on: the server still takes it for a living one.
	lingering = 300 * time.Millisecond
)

type faultyProxy struct {
	t        testing.TB
	name     string
	addr     string
	target   string
	plan     func(link int) []fault
	calm     atomic.Bool // nothing breaks any more
	struck   [breakages]atomic.Int64
	onStrike func(fault) // may be nil

	mu       sync.Mutex
	listener net.Listener
	links    []*link
	closed   bool
	bad      []string // what the client, or the server, must not do
	over     chan struct{}
	wg       sync.WaitGroup
}

func newFaultyProxy(t testing.TB, name, target string, plan func(link int) []fault) *faultyProxy {
	t.Helper()
	p := &faultyProxy{t: t, name: name, target: target, plan: plan, over: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
	p.listen(l)
	t.Cleanup(p.close)
	return p
}

func (p *faultyProxy) close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	p.listener.Close()
	links := slices.Clone(p.links)
	p.mu.Unlock()
	close(p.over)
	for _, l := range links {
		l.tear(true)
	}
	p.wg.Wait()
}

// listen accepts until the listener is closed.
func (p *faultyProxy) listen(l net.Listener) {
	p.listener = l
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.accept(c)
		}
	})
}

// shut lets nobody in for a while: who comes is refused by the system.
func (p *faultyProxy) shut(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.listener.Close()
	p.wg.Go(func() {
		p.sleep(d)
		deadline := time.Now().Add(patience)
		for {
			l, err := net.Listen("tcp", p.addr)
			p.mu.Lock()
			if err == nil && p.closed {
				l.Close()
			}
			if p.closed || err == nil {
				if !p.closed {
					p.listen(l)
				}
				p.mu.Unlock()
				return
			}
			p.mu.Unlock()
			if time.Now().After(deadline) {
				p.t.Errorf("the proxy of %s cannot listen again: %v", p.name, err)
				return
			}
			p.sleep(10 * time.Millisecond)
		}
	})
}

// unrest lets things break from now on, first the connections that there are.
func (p *faultyProxy) unrest() {
	p.calm.Store(false)
	p.mu.Lock()
	links := slices.Clone(p.links)
	p.mu.Unlock()
	for _, l := range links {
		if l.alive() {
			p.struck[cuts].Add(1)
			l.tear(true)
		}
	}
}

func (p *faultyProxy) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.over:
	}
}

func (p *faultyProxy) accept(near net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		near.Close()
		return
	}
	l := &link{p: p, k: len(p.links), near: near.(*net.TCPConn), dead: make(chan struct{})}
	if !p.calm.Load() {
		l.faults = p.plan(l.k)
	}
	for _, old := range p.links {
		if old.alive() {
			p.wg.Go(func() { p.watch(old, l) })
		}
	}
	p.links = append(p.links, l)
	p.wg.Go(l.pass)
}

// watch sees to it that a client lets go of its old socket.
func (p *faultyProxy) watch(old, next *link) {
	select {
	case <-old.dead:
	case <-p.over:
	case <-time.After(overlap):
		p.complain("%s has opened socket %d and not closed socket %d", p.name, next.k, old.k)
	}
}

func (p *faultyProxy) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.bad) < 10 {
		p.bad = append(p.bad, fmt.Sprintf(format, args...))
	}
}

// complaints are what the client or the server has done that it must not.
func (p *faultyProxy) complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.bad)
}

// alive counts the sockets that the client has not closed, and that are not
// broken for it either.
func (p *faultyProxy) alive() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		if l.alive() {
			n++
		}
	}
	return n
}

// count tells how many faults took place, and how many connections there were.
func (p *faultyProxy) count() (faults, links int) {
	for i := range p.struck {
		faults += int(p.struck[i].Load())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return faults, len(p.links)
}

// early counts the acks that came before older events.
func (p *faultyProxy) early() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.said.mu.Lock()
		n += l.said.early
		l.said.mu.Unlock()
	}
	return n
}
