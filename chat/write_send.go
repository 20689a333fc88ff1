//go:build linux && !386 && !s390x

package chat

import (
	"syscall"
	"unsafe"
)

// writeOnce hands bytes to a socket that does not block. It is send(2) and not
// write(2), which asks the file system layer first, and it does not tell Go's
// scheduler: the call takes some microseconds and never waits.
func writeOnce(fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// readOnce reads what is there, without waiting.
func readOnce(fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
