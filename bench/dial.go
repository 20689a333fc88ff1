//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

var errStuck = errors.New("the clients did not become ready in time")

// dialSpec is one client to be.
type dialSpec struct {
	room  int
	hello []byte // sent after the 101; nil: live at once
	http  []byte
}

// perSource is how many connections leave from one 127.0.0.x; there are
// about 28,000 ports to each, and some may be in TIME_WAIT.
const perSource = 8000

// connect opens the clients and waits until all are live, with at most
// width of them on the way at a time.
func (g *generator) connect(specs []dialSpec, width int, limit time.Duration) (time.Duration, error) {
	g.began = time.Now()
	first := len(g.clients)
	// Grown at once: nothing may move while pointers into it are held.
	g.clients = append(g.clients, make([]client, len(specs))...)
	for i := range g.clients[first:] {
		g.clients[first+i].state = stGone
	}
	dialed, base := 0, g.live
	for g.live-base < len(specs) {
		for dialed < len(specs) && dialed-(g.live-base) < width {
			if err := g.dial(first+dialed, specs[dialed]); err != nil {
				return 0, err
			}
			dialed++
			if dialed%32 == 0 {
				g.poll(0) // answer those who are waiting
			}
		}
		g.poll(50 * time.Millisecond)
		if g.lost > 0 || g.errors > 0 {
			return 0, fmt.Errorf("while connecting: %d lost, %d errors %s", g.lost, g.errors, g.firstErr)
		}
		if time.Since(g.began) > limit || g.ctx.Err() != nil {
			return 0, fmt.Errorf("%w: %d of %d live", errStuck, g.live-base, len(specs))
		}
	}
	return time.Since(g.began), nil
}

func (g *generator) dial(i int, s dialSpec) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c := &g.clients[i]
	*c = client{fd: fd, room: s.room, hello: s.hello, began: time.Now()}
	src := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + i/perSource)}}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		// The port is chosen at connect, from all that are free to this destination.
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, src),
		unix.Connect(fd, &unix.SockaddrInet4{Addr: g.addr.Addr().As4(), Port: int(g.addr.Port())}),
		unix.SetNonblock(fd, true),
	)
	if err != nil {
		return err
	}
	if _, errno := rawWrite(fd, s.http); errno != 0 {
		return errno
	}
	return unix.EpollCtl(g.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)})
}

// upgraded looks for the end of the server's answer and returns what follows
// it, or nil when there is more to come.
func (g *generator) upgraded(c *client, b []byte) []byte {
	if !c.begun && !bytes.HasPrefix(b, []byte("HTTP/1.1 101")) {
		g.fail("no upgrade: " + string(b[:min(200, len(b))]))
		g.gone(c)
		return nil
	}
	c.begun = true
	for i, x := range b {
		switch {
		case x == "\r\n\r\n"[c.crlf]:
			c.crlf++
		case x == '\r':
			c.crlf = 1
		default:
			c.crlf = 0
		}
		if c.crlf == 4 {
			if c.hello == nil {
				c.state = stLive
				g.live++
			} else {
				c.state = stJoin
				if _, errno := rawWrite(c.fd, c.hello); errno != 0 {
					g.gone(c)
					return nil
				}
			}
			return b[i+1:]
		}
	}
	return nil
}
