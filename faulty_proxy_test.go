package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
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

// link is one connection of the client.
type link struct {
	p      *faultyProxy
	k      int
	near   *net.TCPConn // to the client
	faults []fault
	mute   [2]atomic.Bool // what is said in this direction is not passed on
	said   dialogue
	passed [2]atomic.Int64 // messages that came

	once sync.Once
	dead chan struct{} // the client has closed it, or it is broken for it

	mu    sync.Mutex
	far   *net.TCPConn // to the server
	until time.Time    // nothing passes before
	torn  bool
}

func (l *link) alive() bool {
	select {
	case <-l.dead:
		return false
	default:
		return true
	}
}

func (l *link) die() { l.once.Do(func() { close(l.dead) }) }

// tear ends both sides at once.
func (l *link) tear(reset bool) {
	l.die()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.torn = true
	for _, c := range []*net.TCPConn{l.near, l.far} {
		if c == nil {
			continue
		}
		if reset {
			_ = c.SetLinger(0)
		}
		c.Close()
	}
}

// dial connects to the server.
func (l *link) dial() bool {
	c, err := net.Dial("tcp", l.p.target)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.torn {
		c.Close()
		return false
	}
	l.far = c.(*net.TCPConn)
	return true
}

func (l *link) pass() {
	defer l.tear(false)
	if len(l.faults) > 0 {
		switch f := l.faults[0]; f.what {
		case refuses:
			l.strikes(f)
			l.p.shut(f.long)
			l.tear(true)
			return
		case gateways:
			if _, err := readHead(bufio.NewReader(l.near)); err != nil {
				return
			}
			l.strikes(f)
			_, _ = io.WriteString(l.near, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
			l.drain()
			return
		}
	}
	if !l.dial() { // there is no server at the moment
		l.tear(true)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.pump(up, l.near, l.far) })
	both.Go(func() { l.pump(down, l.far, l.near) })
	both.Wait()
}

// drain waits for the client to take what was said and to go. A socket that is
// closed with something unread is reset, and what was said before is lost.
func (l *link) drain() {
	l.die()
	_ = l.near.CloseWrite()
	_ = l.near.SetReadDeadline(time.Now().Add(overlap))
	_, _ = io.Copy(io.Discard, l.near)
}

// pump passes on one direction, message by message.
func (l *link) pump(dir direction, from, to *net.TCPConn) {
	r := bufio.NewReader(from)
	framed := true
	for n := 0; ; n++ {
		var m []byte
		var err error
		switch {
		case n == 0:
			m, err = readHead(r)
			framed = dir == up || bytes.HasPrefix(m, []byte("HTTP/1.1 101 "))
		case framed:
			m, err = readFrame(r)
		default: // the handshake was refused; what follows is for people
			m = make([]byte, 1<<10)
			var got int
			got, err = r.Read(m)
			m = m[:got]
		}
		if err != nil {
			l.ended(dir, to, err)
			return
		}
		if n > 0 && framed {
			if text := l.said.hear(dir, m); text != "" {
				l.p.complain("%s, connection %d: %s", l.p.name, l.k, text)
			}
		}
		l.passed[dir].Add(1)
		l.trace(dir, n, m)
		gone := dir == up && n > 0 && m[0]&0x0f == closeFrame
		if !l.message(dir, n, m, to) {
			return
		}
		if gone {
			l.die()
			if l.mute[up].Load() || l.mute[down].Load() {
				l.p.sleep(lingering)
				l.tear(true)
				return
			}
		}
	}
}

// ended passes on the end of one side.
func (l *link) ended(dir direction, to *net.TCPConn, err error) {
	if dir == up {
		l.die()
		if l.mute[up].Load() || l.mute[down].Load() {
			l.p.sleep(lingering) // the server has not noticed yet
			l.tear(true)
			return
		}
	} else if l.mute[down].Load() {
		return // the client hears of nothing, of no end either
	}
	if err != io.EOF {
		l.tear(true)
		return
	}
	_ = to.CloseWrite()
	if dir == down {
		l.die()
		_ = l.near.SetReadDeadline(time.Now().Add(overlap))
	}
}

// message passes on one message with the faults that are planned for it; false
// if the connection is over.
func (l *link) message(dir direction, n int, m []byte, to *net.TCPConn) bool {
	sent := 0
	for _, f := range l.faults {
		if f.dir != dir || f.n != n || f.what == refuses || f.what == gateways {
			continue
		}
		if l.p.calm.Load() || !l.alive() {
			break // not any more, or the client has gone already
		}
		upto := 0
		switch f.at {
		case within:
			upto = len(m) / 2
		case after:
			upto = len(m)
		}
		if !l.write(dir, m[sent:max(sent, upto)], to) {
			return false
		}
		sent = max(sent, upto)
		l.strikes(f)
		if !l.strike(f) {
			return false
		}
	}
	return l.write(dir, m[sent:], to)
}

func (l *link) write(dir direction, b []byte, to *net.TCPConn) bool {
	for {
		l.mu.Lock()
		wait := time.Until(l.until)
		l.mu.Unlock()
		if wait <= 0 {
			break
		}
		l.p.sleep(wait)
		if l.stopped() {
			return false
		}
	}
	if l.mute[dir].Load() || len(b) == 0 {
		return true
	}
	_, err := to.Write(b)
	return err == nil || dir == down // who speaks is heard to its end: the client's tells that it has gone
}

func (l *link) stopped() bool {
	select {
	case <-l.p.over:
		return true
	default:
		return false
	}
}

func (l *link) strikes(f fault) {
	l.p.struck[f.what].Add(1)
	if l.p.onStrike != nil {
		l.p.wg.Go(func() { l.p.onStrike(f) })
	}
	if tracing {
		fmt.Fprintf(os.Stderr, "%s %d    %s\n", l.p.name, l.k, f)
	}
}

// strike lets a fault take place; false if the connection is over.
func (l *link) strike(f fault) bool {
	switch f.what {
	case delays:
		if f.hold == nil {
			l.p.sleep(f.long)
			break
		}
		select {
		case <-f.hold:
		case <-l.p.over:
		}
	case stalls:
		l.mu.Lock()
		l.until = time.Now().Add(f.long)
		l.mu.Unlock()
	case cuts:
		l.tear(true)
	case ends:
		l.mute[up].Store(true)
		l.mute[down].Store(true)
		l.mu.Lock()
		_ = l.far.CloseWrite()
		l.mu.Unlock()
		l.die()
		_ = l.near.CloseWrite()
		_ = l.near.SetReadDeadline(time.Now().Add(overlap))
	case silences, deafens:
		l.mute[up].Store(f.what == silences)
		l.mute[down].Store(true)
		l.p.wg.Go(func() {
			select {
			case <-l.dead:
			case <-l.p.over:
			case <-time.After(impatience):
				l.p.complain("%s has not noticed in %s that nothing comes on connection %d", l.p.name, impatience, l.k)
			}
		})
	case closes:
		reason := "by the proxy"
		m := append([]byte{0x80 | closeFrame, byte(2 + len(reason))}, byte(f.code>>8), byte(f.code))
		_, _ = l.near.Write(append(m, reason...))
		l.die() // it is the client's to make another now
		f.what = f.then
		return l.strike(f)
	}
	return f.what != cuts && !l.stopped()
}
