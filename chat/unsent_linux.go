package chat

import (
	"syscall"
	"unsafe"
)

// unacknowledged returns how many bytes the peer's TCP has not acknowledged
// yet (tcp(7), SIOCOUTQ); 1 if that cannot be told.
func unacknowledged(raw syscall.RawConn) int {
	n := int32(1)
	_ = raw.Control(func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	})
	return int(n)
}
