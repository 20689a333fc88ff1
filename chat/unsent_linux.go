package chat

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unacknowledged returns how many bytes the peer's TCP has not acknowledged
// yet (tcp(7), SIOCOUTQ); 1 if that cannot be told.
func unacknowledged(raw syscall.RawConn) (n int) {
	n = 1
	_ = raw.Control(func(fd uintptr) {
		if q, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			n = q
		}
	})
	return n
}
