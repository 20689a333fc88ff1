//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/url"
	"runtime"

	"golang.org/x/sys/unix"
)

// The floor: one thread, one epoll, and nothing that is not needed to get the
// bytes out. What came in during one look at epoll is encoded once for each
// room, and each member gets all of it in one non-blocking write. It stores
// nothing (but, when asked, the last frames of each room, for the replay).
// It is not a server anyone should run: it is the least that the kernel asks
// for the job, and so what the others are measured against.

// tinyAck is what the reference servers answer to a sender, where Teahouse
// answers with its ack: in place of the message that the others get.
const tinyAck = `{"op":"ack"}`

type floorServer struct {
	ep, lfd, stopfd int
	keep            int // frames kept for each room
	conns           []floorConn
	rooms           map[string]*floorRoom
	dirty           []*floorRoom
	buf, scratch    []byte
	ack             []byte
}

// floorConn is found by its descriptor and small, because there may be ten
// thousand idle ones; what only a busy one needs hangs on more.
type floorConn struct {
	room *floorRoom // nil until the handshake is done
	at   int32      // index in room.members
	open bool
	more *floorMore
}

type floorMore struct {
	in, out []byte
	own     []span // its own frames in the room's batch
	armed   bool   // EPOLLOUT is on
}

type span struct{ from, to int }

type floorRoom struct {
	members []int32
	batch   []byte   // frames of this look at epoll
	last    [][]byte // ring of kept frames
	next    int
	dirty   bool
}

func newFloor(keep int) (*floorServer, string, error) {
	f := &floorServer{keep: keep, rooms: make(map[string]*floorRoom), buf: make([]byte, 256<<10)}
	f.ack = appendFrame(nil, []byte(tinyAck))
	var err error
	if f.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, "", err
	}
	if f.stopfd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, "", err
	}
	f.lfd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, "", err
	}
	// Accepted sockets inherit it: no call for each connection.
	if err := unix.SetsockoptInt(f.lfd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return nil, "", err
	}
	if err := unix.Bind(f.lfd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, "", err
	}
	if err := unix.Listen(f.lfd, 4096); err != nil {
		return nil, "", err
	}
	sa, err := unix.Getsockname(f.lfd)
	if err != nil {
		return nil, "", err
	}
	for _, fd := range []int{f.lfd, f.stopfd} {
		if err := f.ctl(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
			return nil, "", err
		}
	}
	return f, fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port), nil
}

func (f *floorServer) ctl(op, fd int, events uint32) error {
	return unix.EpollCtl(f.ep, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// stop makes run return; it may be called from any goroutine.
func (f *floorServer) stop() {
	unix.Write(f.stopfd, binary.NativeEndian.AppendUint64(nil, 1))
}

func (f *floorServer) run() error {
	runtime.LockOSThread()
	defer f.close()
	events := make([]unix.EpollEvent, 1024)
	for {
		n, err := unix.EpollWait(f.ep, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, ev := range events[:max(n, 0)] {
			switch fd := int(ev.Fd); {
			case fd == f.stopfd:
				return nil
			case fd == f.lfd:
				f.accept()
			default:
				if ev.Events&unix.EPOLLOUT != 0 {
					f.drain(fd)
				}
				if ev.Events&^uint32(unix.EPOLLOUT) != 0 && f.conns[fd].open {
					f.read(fd)
				}
			}
		}
		for _, r := range f.dirty {
			f.flush(r)
		}
		f.dirty = f.dirty[:0]
	}
}

func (f *floorServer) close() {
	for fd := range f.conns {
		if f.conns[fd].open {
			unix.Close(fd)
		}
	}
	unix.Close(f.lfd)
	unix.Close(f.stopfd)
	unix.Close(f.ep)
}

func (f *floorServer) accept() {
	for range 64 { // then look at the others again
		fd, _, err := unix.Accept4(f.lfd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		for len(f.conns) <= fd {
			f.conns = append(f.conns, floorConn{})
		}
		f.conns[fd] = floorConn{open: true}
		if f.ctl(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN) != nil {
			f.drop(fd)
		}
	}
}

func (f *floorServer) drop(fd int) {
	c := &f.conns[fd]
	if !c.open {
		return
	}
	if r := c.room; r != nil {
		end := len(r.members) - 1
		r.members[c.at] = r.members[end]
		f.conns[r.members[c.at]].at = c.at
		r.members = r.members[:end]
	}
	f.conns[fd] = floorConn{}
	unix.Close(fd)
}

func (c *floorConn) busy() *floorMore {
	if c.more == nil {
		c.more = new(floorMore)
	}
	return c.more
}

func (f *floorServer) read(fd int) {
	c := &f.conns[fd]
	have := 0
	if c.more != nil && len(c.more.in) > 0 {
		have = copy(f.buf, c.more.in)
		c.more.in = c.more.in[:0]
	}
	n, errno := rawRead(fd, f.buf[have:])
	if errno == unix.EAGAIN {
		n = 0
	} else if errno != 0 || n == 0 {
		f.drop(fd)
		return
	}
	b := f.buf[:have+n]
	if c.room == nil {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			c.busy().in = append(c.busy().in, b...)
			return
		}
		if !f.welcome(fd, b[:end+2]) {
			f.drop(fd)
			return
		}
		b = b[end+4:]
	}
	for len(b) > 0 && c.open {
		used := f.take(fd, b)
		if used < 0 {
			f.drop(fd)
			return
		}
		if used == 0 {
			c.busy().in = append(c.busy().in, b...)
			return
		}
		b = b[used:]
	}
}

// welcome answers the handshake and adds the connection to its room; kept
// frames go out with the answer, in the same write.
func (f *floorServer) welcome(fd int, req []byte) bool {
	line, rest, _ := bytes.Cut(req, []byte("\r\n"))
	parts := bytes.Split(line, []byte(" "))
	key := headerValue(rest, "sec-websocket-key")
	if len(parts) != 3 || len(key) == 0 {
		return false
	}
	u, err := url.ParseRequestURI(string(parts[1]))
	if err != nil {
		return false
	}
	name := u.Query().Get("room")
	r := f.rooms[name]
	if r == nil {
		r = new(floorRoom)
		f.rooms[name] = r
	}
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	out := append(f.scratch[:0], "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	out = base64.StdEncoding.AppendEncode(out, sum[:])
	out = append(out, "\r\n\r\n"...)
	for i := range r.last {
		out = append(out, r.last[(r.next+i)%len(r.last)]...)
	}
	f.scratch = out
	c := &f.conns[fd]
	c.room, c.at = r, int32(len(r.members))
	r.members = append(r.members, int32(fd))
	f.send(fd, out)
	return true
}

func headerValue(h []byte, name string) []byte {
	for len(h) > 0 {
		var line []byte
		line, h, _ = bytes.Cut(h, []byte("\r\n"))
		if k, v, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(k, []byte(name)) {
			return bytes.TrimSpace(v)
		}
	}
	return nil
}

// take reads one client frame off b and returns its length: 0 when it is not
// all there yet, -1 when the connection must go.
func (f *floorServer) take(fd int, b []byte) int {
	h, n := header(b)
	if h == 0 || len(b) < h+4+n {
		if n > len(f.buf)/2 {
			return -1
		}
		return 0
	}
	mask, payload := b[h:h+4], b[h+4:h+4+n]
	if m := binary.NativeEndian.Uint32(mask); m != 0 {
		for i := range payload {
			payload[i] ^= mask[i&3]
		}
	}
	c := &f.conns[fd]
	switch b[0] & 0x0f {
	case opText:
		r, more := c.room, c.busy()
		from := len(r.batch)
		r.batch = appendFrame(r.batch, payload)
		more.own = append(more.own, span{from, len(r.batch)})
		f.remember(r, r.batch[from:])
		if !r.dirty {
			r.dirty = true
			f.dirty = append(f.dirty, r)
		}
	case opPing:
		f.send(fd, append(appendHeader(nil, 0x80|opPong, 0, n), payload...))
	case opClose:
		return -1
	}
	return h + 4 + n
}

func (f *floorServer) remember(r *floorRoom, fr []byte) {
	if f.keep == 0 {
		return
	}
	if len(r.last) < f.keep {
		r.last = append(r.last, bytes.Clone(fr))
		return
	}
	r.last[r.next] = append(r.last[r.next][:0], fr...)
	r.next = (r.next + 1) % f.keep
}

// flush sends a room's batch to its members, and to those who wrote part of
// it the rest of it and an ack for each of theirs.
func (f *floorServer) flush(r *floorRoom) {
	for i := 0; i < len(r.members); i++ {
		fd := int(r.members[i])
		c := &f.conns[fd]
		out := r.batch
		if c.more != nil && len(c.more.own) > 0 {
			out = f.scratch[:0]
			at := 0
			for _, s := range c.more.own {
				out = append(append(out, r.batch[at:s.from]...), f.ack...)
				at = s.to
			}
			out = append(out, r.batch[at:]...)
			f.scratch = out
			c.more.own = c.more.own[:0]
		}
		if !f.send(fd, out) {
			i-- // another member stands there now
		}
	}
	r.batch, r.dirty = r.batch[:0], false
}

// send writes b without blocking; what does not fit waits for EPOLLOUT.
// It reports whether the connection is still there.
func (f *floorServer) send(fd int, b []byte) bool {
	c := &f.conns[fd]
	if c.more == nil || len(c.more.out) == 0 {
		n, errno := rawWrite(fd, b)
		if errno != 0 && errno != unix.EAGAIN {
			f.drop(fd)
			return false
		}
		if n == len(b) {
			return true
		}
		b = b[max(n, 0):]
	}
	m := c.busy()
	m.out = append(m.out, b...)
	if !m.armed {
		m.armed = true
		return f.ctl(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN|unix.EPOLLOUT) == nil
	}
	return true
}

func (f *floorServer) drain(fd int) {
	m := f.conns[fd].more
	if m == nil {
		return
	}
	n, errno := rawWrite(fd, m.out)
	if errno != 0 && errno != unix.EAGAIN {
		f.drop(fd)
		return
	}
	m.out = m.out[:copy(m.out, m.out[max(n, 0):])]
	if len(m.out) == 0 {
		m.armed = false
		f.ctl(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN)
	}
}

// serveFloor runs the floor until ctx ends.
func serveFloor(ctx context.Context, stdout io.Writer, keep int) error {
	f, addr, err := newFloor(keep)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, f.stop)()
	fmt.Fprintf(stdout, "%s%s\n", readyPrefix, addr)
	return f.run()
}
