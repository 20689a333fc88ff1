package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

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
