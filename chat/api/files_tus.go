package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog"

	"teahouse/chat"
)

// newTus makes the handler of the tus protocol over our store.
func (d *fileDoor) newTus() http.Handler {
	c := handler.NewStoreComposer()
	c.UseCore(tusStore{d})
	c.UseTerminater(tusStore{d})
	c.UseLocker(&uploadLocks{held: make(map[string]*uploadLock)})
	tus, err := handler.NewHandler(handler.Config{
		StoreComposer:             c,
		MaxSize:                   max(d.opts.Max, 1),
		BasePath:                  uploadsPath + "/",
		DisableDownload:           true,
		Cors:                      &handler.CorsConfig{Disable: true}, // see preflight
		Logger:                    slog.New(silent{}),                 // it would log the ids, which are secrets
		PreFinishResponseCallback: d.finished,
		// Our store finishes what it began whatever becomes of the request, so
		// its context need not live on.
		GracefulRequestCompletionTimeout: time.Millisecond,
	})
	if err != nil {
		panic(err) // the configuration is ours
	}
	return http.StripPrefix(uploadsPath, tus)
}

// silent is a log that nobody reads.
type silent struct{}

func (silent) Enabled(context.Context, slog.Level) bool  { return false }
func (silent) Handle(context.Context, slog.Record) error { return nil }
func (s silent) WithAttrs([]slog.Attr) slog.Handler      { return s }
func (s silent) WithGroup(string) slog.Handler           { return s }

// upload answers for /api/v1/uploads and what is below it.
func (d *fileDoor) upload(w http.ResponseWriter, r *http.Request) {
	callOf(r.Context()).operation = "upload"
	if d.preflight(w, r, "POST, HEAD, PATCH, DELETE, OPTIONS") {
		return
	}
	// Where PATCH or DELETE do not get through, a POST says that it is one.
	if method := r.Header.Get("X-HTTP-Method-Override"); method != "" && r.Method == http.MethodPost {
		r.Method = strings.ToUpper(method)
		r.Header.Del("X-HTTP-Method-Override")
	}
	tw := &tusWriter{ResponseWriter: w, door: d, request: r}
	defer tw.end()
	if r.Method == http.MethodOptions {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		d.tus.ServeHTTP(tw, r.WithContext(ctx))
		return
	}
	id := strings.Trim(strings.TrimPrefix(r.URL.Path, uploadsPath), "/")
	if id != "" && !chat.ValidFileID(id) {
		d.refuse(w, r, chat.Errorf(chat.CodeUploadUnknown, "there is no such upload: the id is not one of ours"))
		return
	}
	s, done, err := d.sends(r)
	if err != nil {
		if r.ContentLength != 0 && r.Method != http.MethodHead {
			w.Header().Set("Connection", "close")
		}
		d.refuse(w, r, err)
		return
	}
	defer done()
	body, end := paced(w, r, d.api.stopping)
	defer end()
	tw.body = body
	ctx, cancel := context.WithCancel(context.WithValue(context.WithValue(r.Context(), senderKey{}, s), bodyKey{}, body))
	defer cancel() // tusd's goroutines wait for it
	d.tus.ServeHTTP(tw, r.WithContext(ctx))
}

// finished adds the file to the last answer of an upload.
func (d *fileDoor) finished(hook handler.HookEvent) (handler.HTTPResponse, error) {
	f, err := d.store.File(hook.Context, hook.Upload.ID)
	if err != nil {
		return handler.HTTPResponse{}, d.tusError(hook.Context, err)
	}
	b, _ := json.Marshal(fileInfo(f))
	answer := handler.HTTPResponse{Body: string(b) + "\n", Header: handler.HTTPHeader{"Content-Type": "application/json"}}
	if hook.HTTPRequest.Method == http.MethodPatch {
		answer.StatusCode = http.StatusOK // where 204 would be, which has no body
	}
	return answer, nil
}

// tusStore is our store as tusd sees one.
type tusStore struct{ door *fileDoor }

var (
	_ handler.DataStore           = tusStore{}
	_ handler.TerminaterDataStore = tusStore{}
)

// tusUpload is one upload, or the file that has become of it.
type tusUpload struct {
	door *fileDoor
	chat.Upload
	file bool
}

// NewUpload is for tusd.
func (t tusStore) NewUpload(ctx context.Context, info handler.FileInfo) (handler.Upload, error) {
	u := &tusUpload{door: t.door, Upload: chat.Upload{Name: info.MetaData["filename"], Declared: info.MetaData["filetype"], Size: info.Size}}
	if err := t.door.begin(ctx, senderOf(ctx), &u.Upload); err != nil {
		return nil, t.door.tusError(ctx, err)
	}
	return u, nil
}

// GetUpload is for tusd. One that has come whole and could not be finished
// then is finished now.
func (t tusStore) GetUpload(ctx context.Context, id string) (handler.Upload, error) {
	u, err := t.door.store.Upload(ctx, id)
	if err == nil && u.Offset == u.Size && senderOf(ctx).may(u.Uploader) {
		if _, err = t.door.store.FinishUpload(ctx, id); err == nil {
			err = chat.Errorf(chat.CodeUploadUnknown, "")
		}
	}
	up := &tusUpload{door: t.door, Upload: u}
	if chat.CodeOf(err) == chat.CodeUploadUnknown {
		if f, ferr := t.door.store.File(ctx, id); ferr == nil {
			up.Upload = chat.Upload{ID: f.ID, Name: f.Name, Declared: f.Type, Size: f.Size, Offset: f.Size, Uploader: f.Uploader}
			up.file, err = true, nil
		}
	}
	if err == nil && !senderOf(ctx).may(up.Uploader) {
		err = chat.Errorf(chat.CodeUploadUnknown, "there is no such upload of yours")
	}
	if err != nil {
		return nil, t.door.tusError(ctx, err)
	}
	return up, nil
}

// AsTerminatableUpload is for tusd.
func (t tusStore) AsTerminatableUpload(u handler.Upload) handler.TerminatableUpload {
	return u.(*tusUpload)
}

// GetInfo is for tusd.
func (u *tusUpload) GetInfo(context.Context) (handler.FileInfo, error) {
	return handler.FileInfo{ID: u.ID, Size: u.Size, Offset: u.Offset,
		MetaData: handler.MetaData{"filename": u.Name, "filetype": u.Declared}}, nil
}

// WriteChunk is for tusd. What src failed with, tusd knows itself.
func (u *tusUpload) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	n, err := u.door.store.WriteUpload(ctx, u.ID, offset, src)
	if err != nil {
		return n, u.door.tusError(ctx, err)
	}
	return n, nil
}

// FinishUpload is for tusd.
func (u *tusUpload) FinishUpload(ctx context.Context) error {
	if _, err := u.door.store.FinishUpload(ctx, u.ID); err != nil {
		return u.door.tusError(ctx, err)
	}
	return nil
}

// Terminate is for tusd. To cancel what was just finished is to remove it.
func (u *tusUpload) Terminate(ctx context.Context) (err error) {
	if u.file {
		err = u.door.removeBy(ctx, senderOf(ctx), u.ID)
	} else {
		err = u.door.store.DropUpload(ctx, u.ID)
	}
	if err != nil {
		return u.door.tusError(ctx, err)
	}
	return nil
}

// GetReader is for tusd, which is told not to offer it.
func (u *tusUpload) GetReader(context.Context) (io.ReadCloser, error) {
	return nil, handler.ErrNotImplemented
}

// tusError carries one of our errors through tusd; tusWriter makes a problem
// of it.
func (d *fileDoor) tusError(ctx context.Context, err error) error {
	if chat.CodeOf(err) == chat.CodeBusy && d.api.stopping.Err() != nil {
		err = stopsNow()
	}
	p := fail(ctx, err)
	b, _ := json.Marshal(p)
	h := handler.HTTPHeader{"Content-Type": problemType}
	for k := range p.GetHeaders() {
		h[k] = p.GetHeaders().Get(k)
	}
	return handler.Error{ErrorCode: "TEAHOUSE", Message: p.Detail, HTTPResponse: handler.HTTPResponse{StatusCode: p.Status, Body: string(b) + "\n", Header: h}}
}

// tusWriter makes tusd's answers ours: problems instead of plain texts, and
// addresses without the host, which a proxy may know better. The deadlines are
// those of pacedBody and not tusd's, which one byte a minute would move on.
type tusWriter struct {
	http.ResponseWriter
	door    *fileDoor
	request *http.Request
	body    *pacedBody
	status  int // of an error whose text is held back
	text    []byte
}

// Unwrap is for http.ResponseController.
func (w *tusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// SetReadDeadline is for http.ResponseController.
func (w *tusWriter) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is for http.ResponseController.
func (w *tusWriter) SetWriteDeadline(time.Time) error { return nil }

// WriteHeader implements http.ResponseWriter.
func (w *tusWriter) WriteHeader(status int) {
	h := w.Header()
	if at, err := url.Parse(h.Get("Location")); err == nil && at.Host != "" {
		h.Set("Location", at.EscapedPath())
	}
	if status >= 400 && h.Get("Content-Type") != problemType && w.request.Method != http.MethodHead {
		w.status = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *tusWriter) Write(b []byte) (int, error) {
	if w.status != 0 {
		w.text = append(w.text, b...)
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// end writes the error that was held back.
func (w *tusWriter) end() {
	if w.status == 0 {
		return
	}
	w.Header().Del("Content-Length")
	writeProblem(w.ResponseWriter, w.request, w.problem())
}

// problem says in our words what tusd found.
func (w *tusWriter) problem() error {
	code, message, _ := strings.Cut(strings.TrimSpace(string(w.text)), ": ")
	switch code {
	case handler.ErrMaxSizeExceeded.ErrorCode:
		return w.door.tooLarge()
	case handler.ErrSizeExceeded.ErrorCode:
		return chat.Errorf(chat.CodeFileTooLarge, "more bytes came than the upload was to have; begin a new one with the right Upload-Length")
	case handler.ErrMismatchOffset.ErrorCode:
		return chat.Errorf(chat.CodeUploadOffset, "the upload does not stand at this Upload-Offset; ask with HEAD and go on from there")
	case handler.ErrLockTimeout.ErrorCode:
		return uploadBusy()
	case handler.ErrReadTimeout.ErrorCode, handler.ErrConnectionReset.ErrorCode, handler.ErrUnexpectedEOF.ErrorCode:
		if why := w.body.broken(); why != nil {
			return why
		}
		return retryIn(time.Second, chat.CodeUploadCut, "the bytes stopped coming; what came is kept, so ask with HEAD and go on from there")
	}
	if w.status >= 500 && w.status != http.StatusNotImplemented {
		return &chat.Error{Code: chat.CodeInternal, Err: errors.New(string(w.text))}
	}
	if message == "" {
		message = code
	}
	p := callOf(w.request.Context()).problem(chat.Errorf(chat.CodeBadRequest, "this is not as tus 1.0 has it: %s", message))
	p.Title, p.Status = http.StatusText(w.status), w.status
	return p
}
