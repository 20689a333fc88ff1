package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"teahouse/chat"
)

// Reason says why the database could not be opened.
type Reason string

// The reasons. Each wants something else of the operator.
const (
	NotWritable Reason = "not_writable" // the folder is missing, not ours, or on a read-only disk
	DiskFull    Reason = "disk_full"
	Locked      Reason = "locked"       // another process has it
	Damaged     Reason = "damaged"      // not a database, or malformed
	Foreign     Reason = "foreign"      // a database, but of another program
	NewerSchema Reason = "newer_schema" // written by a newer version of this program
	Failed      Reason = "failed"       // anything else
)

// OpenError is what Open fails with.
type OpenError struct {
	Reason Reason
	Path   string // the file or folder it is about
	PID    int    // Locked: the process that has it, 0 if that is not known
	Have   int    // NewerSchema: the file's schema
	Want   int    // NewerSchema: the newest schema that this program knows
	Err    error  // the cause
}

func (e *OpenError) Unwrap() error { return e.Err }

// Error is one sentence that says what to do.
func (e *OpenError) Error() string {
	switch e.Reason {
	case NotWritable:
		return fmt.Sprintf("the data folder %s cannot be written: %s; make it writable for this user or name another one with --data", filepath.Dir(e.Path), cause(e.Err, e.Path))
	case DiskFull:
		return fmt.Sprintf("the disk that holds %s is full; free some space and start again", e.Path)
	case Locked:
		who := "another process"
		if e.PID > 0 {
			who = fmt.Sprintf("another process (pid %d)", e.PID)
		}
		return fmt.Sprintf("%s is in use by %s; stop it first or name another folder with --data", e.Path, who)
	case Damaged:
		return fmt.Sprintf("the database %s is damaged: %s; move it away and put a backup in its place (a copy from before the last upgrade may stand beside it as %s)",
			e.Path, cause(e.Err, e.Path), filepath.Base(e.Path)+".v*.bak")
	case Foreign:
		return fmt.Sprintf("%s is a database of another program and was left untouched; name another folder with --data", e.Path)
	case NewerSchema:
		return fmt.Sprintf("the database %s was written by a newer version of this program (its schema is %d, this program knows up to %d); install that version, or put back the copy from before the upgrade", e.Path, e.Have, e.Want)
	}
	return fmt.Sprintf("the database %s cannot be opened: %s", e.Path, cause(e.Err, e.Path))
}

func cause(err error, path string) string {
	if err == nil {
		return path
	}
	return err.Error()
}

// openError finds the reason in what went wrong with path.
func openError(path string, err error) error {
	var already *OpenError
	if err == nil || errors.As(err, &already) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	reason := Failed
	switch {
	case diskFull(path, err):
		reason = DiskFull
	case errors.Is(err, os.ErrPermission), errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		reason = NotWritable
	default:
		switch primary(err) {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT:
			reason = Damaged
		case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
			reason = NotWritable
		case sqlite3.SQLITE_BUSY:
			reason = Locked
		}
	}
	return &OpenError{Reason: reason, Path: path, Err: err}
}

// code returns SQLite's extended result code, 0 if err is not SQLite's.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func primary(err error) int { return code(err) & 0xff }

// diskFull reports that err came of a full disk. SQLite says SQLITE_FULL only
// where a write failed; a file that cannot be grown (the WAL's index) is an
// I/O error, so the disk itself is asked as well.
func diskFull(path string, err error) bool {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), primary(err) == sqlite3.SQLITE_FULL:
		return true
	case primary(err) == sqlite3.SQLITE_IOERR, primary(err) == sqlite3.SQLITE_CANTOPEN:
		free, ok := freeBytes(filepath.Dir(path))
		return ok && free < 128<<10
	}
	return false
}

// fault makes an error of a running store presentable.
func (s *Store) fault(err error) error {
	var e *chat.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return err
	case diskFull(s.path, err):
		return &chat.Error{Code: chat.CodeStorageFull, Retry: 5 * time.Second, Err: err,
			Message: "the server's disk is full, so nothing new can be stored; it goes on by itself when there is space again"}
	case primary(err) == sqlite3.SQLITE_CORRUPT, primary(err) == sqlite3.SQLITE_NOTADB:
		return &chat.Error{Code: chat.CodeStorage, Retry: time.Minute, Err: err,
			Message: "the server's database is damaged; its operator must put back a backup"}
	}
	return &chat.Error{Code: chat.CodeStorage, Retry: 5 * time.Second, Err: err,
		Message: "the server could not use its storage; try again"}
}

// gaveUp is the error of a call whose context ended before anything was done.
func gaveUp(ctx context.Context) error {
	return &chat.Error{Code: chat.CodeBusy, Err: context.Cause(ctx),
		Message: "the request was given up before anything was done; try again"}
}

func errClosed() error {
	return chat.Errorf(chat.CodeGoingAway, "the server is stopping; try again in a moment")
}
