//go:build linux

package main

import (
	"context"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The load generator: one thread, one epoll, one read buffer for all. It has
// to be cheap because it shares the machine with what it measures: for a
// delivered frame it looks at the header and ten bytes. Everything that it
// sends is encoded beforehand.

// window says when a publisher may send the next message.
type window uint8

const (
	// untilAck: when the server has acknowledged. For Teahouse that means
	// fsynced; the reference servers say it when they have passed it on.
	untilAck window = iota
	// untilAll: when moreover every other member has got it. Then nothing
	// can be waiting, so nothing can be coalesced by anyone.
	untilAll
	// untilDelivered: when as many of its messages as it may have on the way
	// have been delivered to all others, counted over all: for servers that
	// acknowledge nothing.
	untilDelivered
)

const (
	stUpgrade = iota // the 101 is awaited
	stJoin           // hello and join are sent
	stLive
	stGone
)

type client struct {
	fd     int
	state  uint8
	crlf   uint8 // how far into \r\n\r\n
	begun  bool  // the beginning of the answer was seen
	room   int
	got    int
	hello  []byte
	began  time.Time
	pub    *publisher
	walker walker
}

type publisher struct {
	msg     numbered
	sent    int
	flying  int
	times   []time.Time // ring: when those in flight were sent
	pending []byte      // what the socket did not take
	mark    int         // deliveries to await, with untilAll
}

// counters are what has been seen so far; the difference of two is a window.
type counters struct {
	events, acks, online, other, errors, lost int
	sent, reads                               int
}

type generator struct {
	ctx     context.Context
	ep      int
	addr    netip.AddrPort
	buf     []byte
	out     []byte
	evs     []unix.EpollEvent
	clients []client
	pubs    []int
	counters
	win      window
	inflight int
	sending  bool
	lat      []time.Duration // ack latencies while timing
	timing   bool
	live     int
	want     int             // deliveries that make a client complete; 0: off
	doneAt   []time.Duration // since its begin
	began    time.Time
	firstErr string
	heard    func(room int) // called for each event, if it is set
}

func newGenerator(ctx context.Context, addr string) (*generator, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &generator{ctx: ctx, ep: ep, addr: ap,
		buf: make([]byte, 256<<10), evs: make([]unix.EpollEvent, 512), lat: make([]time.Duration, 0, 1<<20)}, nil
}

// close ends all connections hard, so that no port stays in TIME_WAIT.
func (g *generator) close() {
	g.hangUp()
	unix.Close(g.ep)
}

// hangUp ends all connections and forgets the clients.
func (g *generator) hangUp() {
	for i := range g.clients {
		if c := &g.clients[i]; c.state != stGone {
			unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			unix.Close(c.fd)
		}
	}
	g.clients, g.pubs, g.live, g.sending = nil, nil, 0, false
}

// poll handles what epoll has, waiting for it at most as long as told.
func (g *generator) poll(wait time.Duration) int {
	n, err := unix.EpollWait(g.ep, g.evs, int(wait.Milliseconds()))
	if err != nil {
		return 0
	}
	for _, ev := range g.evs[:n] {
		c := &g.clients[ev.Fd]
		if ev.Events&unix.EPOLLOUT != 0 && c.pub != nil {
			g.write(c, nil)
		}
		g.read(c)
	}
	if g.win != untilAck && g.sending {
		for _, i := range g.pubs {
			g.refill(&g.clients[i])
		}
	}
	return n
}

func (g *generator) read(c *client) {
	if c.state == stGone {
		return
	}
	n, errno := rawRead(c.fd, g.buf)
	if errno == unix.EAGAIN || errno == unix.EINTR {
		return
	}
	if errno != 0 || n == 0 {
		g.gone(c)
		return
	}
	g.reads++
	b := g.buf[:n]
	if c.state == stUpgrade {
		if b = g.upgraded(c, b); b == nil {
			return
		}
	}
	for len(b) > 0 {
		f, rest, ok := c.walker.next(b)
		if !ok {
			break
		}
		b = rest
		if f.op == opText {
			g.text(c, f)
		} else {
			g.control(c, f)
		}
	}
	if c.pub != nil && g.sending {
		g.refill(c)
	}
}

func (g *generator) text(c *client, f frame) {
	switch classify(f) {
	case isEvent:
		g.events++
		c.got++
		if g.heard != nil {
			g.heard(c.room)
		}
		if c.got == g.want {
			g.doneAt = append(g.doneAt, time.Since(g.began))
		}
	case isAck:
		g.acks++
		if p := c.pub; p != nil && p.flying > 0 {
			if g.timing {
				g.lat = append(g.lat, time.Since(p.times[(p.sent-p.flying)%len(p.times)]))
			}
			p.flying--
		}
	case isOnline:
		g.online++
	case isJoined:
		if c.state == stJoin {
			c.state = stLive
			g.live++
		}
	case isError:
		g.fail(string(f.head))
	default:
		g.other++
	}
}

func (g *generator) control(c *client, f frame) {
	switch f.op {
	case opPing:
		rawWrite(c.fd, appendMasked(nil, opPong, f.head))
	case opClose:
		if len(f.head) > 2 {
			g.fail("closed: " + string(f.head[2:]))
		}
		g.gone(c)
	}
}

func (g *generator) fail(s string) {
	g.errors++
	if g.firstErr == "" {
		g.firstErr = s
	}
}

func (g *generator) gone(c *client) {
	if c.state == stGone {
		return
	}
	if c.state == stLive {
		g.live--
	}
	c.state = stGone
	g.lost++
	unix.Close(c.fd)
}

// publish makes these clients publishers.
func (g *generator) publish(who []int, msg func(i int) numbered, inflight int, win window) {
	g.pubs, g.inflight, g.win = who, inflight, win
	for _, i := range who {
		g.clients[i].pub = &publisher{msg: msg(i), times: make([]time.Time, inflight)}
	}
}

func (g *generator) start() {
	g.sending = true
	for _, i := range g.pubs {
		g.refill(&g.clients[i])
	}
}

// refill sends as many messages as the window allows, in one write.
func (g *generator) refill(c *client) {
	p := c.pub
	n := g.inflight - p.flying
	if g.win == untilDelivered { // one room
		n = g.inflight + g.events/(len(g.clients)-1)/len(g.pubs) - p.sent
	}
	if n <= 0 || c.state != stLive || len(p.pending) > 0 {
		return
	}
	if g.win == untilAll {
		if g.events < p.mark {
			return
		}
		p.mark = g.events + n*(len(g.clients)-1) // one room, one publisher
	}
	now := time.Now()
	g.out = g.out[:0]
	for range n {
		g.out = p.msg.appendTo(g.out, p.sent)
		p.times[p.sent%len(p.times)] = now
		p.sent++
	}
	p.flying += n
	g.sent += n
	g.write(c, g.out)
}

func (g *generator) write(c *client, b []byte) {
	p := c.pub
	if len(p.pending) > 0 {
		b = append(p.pending, b...)
	}
	n, errno := rawWrite(c.fd, b)
	if errno != 0 && errno != syscall.EAGAIN {
		g.gone(c)
		return
	}
	rest := b[max(n, 0):]
	events := uint32(unix.EPOLLIN)
	if len(rest) > 0 {
		events |= unix.EPOLLOUT
	} else if len(p.pending) == 0 {
		return
	}
	p.pending = append(p.pending[:0:0], rest...)
	unix.EpollCtl(g.ep, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.index(g))})
}

func (c *client) index(g *generator) int {
	for i := range g.clients {
		if &g.clients[i] == c {
			return i
		}
	}
	return -1
}

// spin runs the load for a while.
func (g *generator) spin(d time.Duration) {
	for end := time.Now().Add(d); g.ctx.Err() == nil; {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		g.poll(min(left+time.Millisecond, 50*time.Millisecond))
	}
}

// until polls until done says so, or the time is over.
func (g *generator) until(limit time.Duration, done func() bool) bool {
	for end := time.Now().Add(limit); !done(); {
		if time.Now().After(end) || g.ctx.Err() != nil {
			return false
		}
		g.poll(20 * time.Millisecond)
	}
	return true
}

// quiet polls until nothing has come for a while.
func (g *generator) quiet(still, limit time.Duration) bool {
	last := time.Now()
	return g.until(limit, func() bool {
		if g.poll(10*time.Millisecond) > 0 {
			last = time.Now()
		}
		return time.Since(last) >= still
	})
}
