package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Backuper makes a consistent copy of the database in a new file.
type Backuper interface {
	Backup(ctx context.Context, path string) error
}

const (
	backupFolder = "backup-being-sent-" // the beginning of a temporary folder's name
	backupChunk  = 1 << 20
	backupStall  = time.Minute // for one chunk, then the connection is given up
)

type backupOutput struct{ Body func(huma.Context) }

func (a *API) registerBackup() {
	op := huma.Operation{
		OperationID: "backup", Method: http.MethodGet, Path: "/api/v1/backup", Tags: []string{"Operations"},
		Summary:     "Download a backup",
		Description: "A consistent copy of the database as it is now, while everything goes on. It is made beside the database first, so there must be room for it.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The SQLite database",
			Content:     map[string]*huma.MediaType{"application/vnd.sqlite3": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		}},
	}
	register(a, roleOperator, op, func(context.Context, *struct{}) (*backupOutput, error) {
		// The work is done in Body: a large copy takes longer than a call may.
		return &backupOutput{func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			a.sendBackup(w, r)
		}}, nil
	})
}

func (a *API) sendBackup(w http.ResponseWriter, r *http.Request) {
	if !a.backup.TryLock() {
		writeProblem(w, r, retryIn(10*time.Second, chat.CodeBusy, "another backup is being made; try again when it is done"))
		return
	}
	defer a.backup.Unlock()
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Time{})
	f, size, remove, err := a.makeBackup(r.Context())
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	defer remove()
	h := w.Header()
	h.Set("Content-Type", "application/vnd.sqlite3")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	name := "teahouse-" + a.opts.Now().UTC().Format("20060102-150405") + ".db"
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	w.WriteHeader(http.StatusOK)
	for size > 0 {
		_ = rc.SetWriteDeadline(time.Now().Add(backupStall))
		n, err := io.CopyN(w, f, min(size, backupChunk))
		size -= n
		if err != nil {
			// Too late for a problem: the cut connection tells the caller.
			a.opts.Logger.Warn("backup not sent", "request", callOf(r.Context()).id, "left", size, "err", err)
			panic(http.ErrAbortHandler)
		}
	}
}

// makeBackup makes the copy and opens it; remove closes and deletes it.
func (a *API) makeBackup(ctx context.Context) (f *os.File, size int64, remove func(), err error) {
	dir, err := os.MkdirTemp(a.opts.Folder, backupFolder)
	if err != nil {
		return nil, 0, nil, noBackup(err)
	}
	remove = func() {
		if f != nil {
			_ = f.Close()
		}
		if err := os.RemoveAll(dir); err != nil {
			a.opts.Logger.Warn("temporary backup not removed", "err", err)
		}
	}
	path := filepath.Join(dir, "backup.db")
	if err = a.opts.Store.Backup(ctx, path); err == nil {
		f, err = os.Open(path)
	}
	var info os.FileInfo
	if err == nil {
		info, err = f.Stat()
	}
	if err != nil {
		remove()
		return nil, 0, nil, noBackup(err)
	}
	return f, info.Size(), remove, nil
}

// noBackup gives an error of the file system a sentence; the store's own
// errors have one.
func noBackup(err error) error {
	var e *chat.Error
	if errors.As(err, &e) {
		return err
	}
	return &chat.Error{Code: chat.CodeStorage, Message: "the copy for the backup could not be made; is there room for it?", Err: err}
}

// sweepBackups removes what a crash in the middle of a backup left.
func sweepBackups(folder string) error {
	if folder == "" {
		return nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), backupFolder) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(folder, e.Name())))
		}
	}
	return err
}
