//go:build unix

package chat

import (
	"net"
	"syscall"
)

// tryConn returns the raw connection of a socket that can be written without
// blocking, or nil.
func tryConn(c net.Conn) syscall.RawConn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// writeSome writes as much as the socket takes now; a full socket is no error.
func writeSome(fd uintptr, b []byte) (n int, err error) {
	for n < len(b) {
		m, err := writeOnce(fd, b[n:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return n, nil
		case err != nil:
			return n, err
		default:
			n += m
		}
	}
	return n, nil
}
