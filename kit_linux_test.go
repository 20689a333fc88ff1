package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// dieWithParent is for systems that can end a child with its parent. Linux
// means the parent's thread by that (prctl(2), PR_SET_PDEATHSIG), and tests in
// network namespaces end threads: they would take other tests' servers along.
func dieWithParent(*exec.Cmd) {}

// tmpfs mounts a small file system of the given size and options, for the
// time of the test.
func tmpfs(t testing.TB, options string) string {
	t.Helper()
	dir := t.TempDir()
	var flags uintptr
	if options == "ro" {
		flags, options = syscall.MS_RDONLY, ""
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		needed(t, "mounting a tmpfs needs root and its capabilities: %v", err)
	}
	t.Cleanup(func() {
		// A process that another test starts at this moment holds our files
		// until it has become the other program.
		var err error
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
			if err = syscall.Unmount(dir, 0); err == nil {
				return
			}
		}
		_ = syscall.Unmount(dir, syscall.MNT_DETACH)
		t.Errorf("somebody still uses the disk: unmount: %v", err)
	})
	return dir
}

// remount changes the options of a mounted tmpfs.
func remount(t testing.TB, dir, options string) {
	t.Helper()
	flags := uintptr(syscall.MS_REMOUNT)
	if options == "ro" {
		flags |= syscall.MS_RDONLY
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, ""); err != nil {
		t.Fatal(err)
	}
}

// fill leaves the file system of dir with less than spare bytes, by a file
// that it returns.
func fill(t testing.TB, dir string, spare int64) (ballast string) {
	t.Helper()
	ballast = filepath.Join(dir, "ballast")
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		free := int64(st.Bavail)*int64(st.Bsize) - spare
		if free <= 0 {
			return ballast
		}
		_, err := f.Write(make([]byte, min(free, 1<<20)))
		if errors.Is(err, syscall.ENOSPC) {
			return ballast
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
