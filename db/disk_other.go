//go:build !unix || solaris || illumos || netbsd || openbsd

package db

// freeBytes is not known here; SQLite's own "full" must do.
func freeBytes(string) (int64, bool) { return 0, false }
