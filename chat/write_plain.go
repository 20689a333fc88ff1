//go:build unix && (!linux || 386 || s390x)

package chat

import "syscall"

// writeOnce hands bytes to a socket that does not block.
func writeOnce(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }

// readOnce reads what is there, without waiting.
func readOnce(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }
