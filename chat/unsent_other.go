//go:build !linux

package chat

import "syscall"

// unacknowledged is not known here.
func unacknowledged(syscall.RawConn) int { return 1 }
