//go:build unix && !solaris && !illumos && !netbsd && !openbsd

package db

import "syscall"

// freeBytes returns how much this user may still write to the disk of dir.
func freeBytes(dir string) (int64, bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
