package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"teahouse/chat"
)

// fileDoor serves uploads and downloads.
type fileDoor struct {
	api    *API
	store  Files
	opts   FileOptions
	tus    http.Handler
	budget budget

	full rate.Sometimes // when the log is told of no room: anybody may try often

	mu     sync.Mutex
	active map[string]int // owner -> upload requests under way
}

const (
	// Of one owner, an address or a user, at once: a phone sends nine pictures
	// with their thumbs, and holds far fewer connections.
	uploadsAtOnce  = 40
	requestsAtOnce = 16

	// What one owner may begin: so many uploads at once and one a second, and
	// an eighth of the quota in a quarter of an hour. One device needs two
	// hours to fill it.
	uploadBurst  = 60
	quotaShare   = 8
	shareRefills = 15 * time.Minute
)

func newFileDoor(a *API) *fileDoor {
	o := a.opts.Uploads
	if o.CheckOrigin == nil {
		o.CheckOrigin = func(*http.Request) bool { return true }
	}
	d := &fileDoor{api: a, full: rate.Sometimes{Interval: time.Minute}, store: a.opts.Files, opts: o, active: make(map[string]int)}
	d.budget = budget{now: a.opts.Now, places: make(map[string]*allowance), burst: max(o.Quota/quotaShare, 2*o.Max)}
	d.tus = d.newTus()
	return d
}

// register mounts what is no operation of huma.
func (d *fileDoor) register(mux *http.ServeMux) {
	a := d.api
	uploads := a.direct(d.upload)
	mux.Handle(uploadsPath, uploads)
	mux.Handle(uploadsPath+"/", uploads)
	whole := a.direct(d.whole)
	mux.Handle("POST "+filesPath, whole)
	mux.Handle("OPTIONS "+filesPath, whole)
	remove := a.direct(d.remove)
	mux.Handle("DELETE "+filesPath+"/{id}", remove)
	mux.Handle("OPTIONS "+filesPath+"/{id}", remove)
	mux.Handle("/files/", a.direct(d.serve))
}

// sender is who uploads.
type sender struct {
	caller
	uploader string // as in chat.File
	owner    string // against whom uploads are counted
}

// free reports who is not bounded: a backend.
func (s *sender) free() bool { return s.role >= roleKey }

type senderKey struct{}

func senderOf(ctx context.Context) *sender {
	if s, ok := ctx.Value(senderKey{}).(*sender); ok {
		return s
	}
	return &sender{}
}

// admit says who uploads, or why not. In open mode the rule is that of the
// WebSocket: pages that may connect may upload.
func (d *fileDoor) admit(r *http.Request) (*sender, error) {
	s := &sender{}
	if r.Header.Get("Authorization") != "" {
		who, err := d.api.identify(r)
		if err != nil {
			return nil, err
		}
		s.caller = who
	}
	switch s.role {
	case roleOperator:
		s.uploader = operatorName
	case roleKey:
		s.uploader = "key:" + s.id
	case roleClient:
		s.uploader = s.id
	case roleStaff:
		return nil, chat.Errorf(chat.CodeForbidden, "a staff token is for vouchers, not for files")
	default:
		if d.opts.Tokens {
			return nil, chat.Errorf(chat.CodeUnauthorized, "this server needs a client's token to upload: Authorization: Bearer TOKEN; your site's backend gets one from /api/v1/tokens")
		}
		if !d.opts.CheckOrigin(r) {
			return nil, chat.Errorf(chat.CodeForbidden, "pages of this site may not upload here; the operator allows them with --allow-origin, as for the WebSocket")
		}
		s.owner = "addr:" + chat.Network(d.api.opts.Addr(r)).String()
	}
	if s.owner == "" {
		s.owner = s.uploader
	}
	callOf(r.Context()).caller = s.caller
	return s, nil
}

// sends is admit for requests that bring bytes. done must be called after.
func (d *fileDoor) sends(r *http.Request) (s *sender, done func(), err error) {
	if err := d.api.opts.Hub.Ready(); err != nil {
		return nil, nil, err
	}
	if s, err = d.admit(r); err != nil {
		return nil, nil, err
	}
	if d.opts.Max <= 0 {
		return nil, nil, chat.Errorf(chat.CodeForbidden, "this server takes no files (--max-upload is 0)")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !s.free() && d.active[s.owner] >= requestsAtOnce {
		return nil, nil, retryIn(2*time.Second, chat.CodeRateLimited, "too many uploads run from here at once; wait for one to end")
	}
	d.active[s.owner]++
	return s, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.active[s.owner]--; d.active[s.owner] == 0 {
			delete(d.active, s.owner)
		}
	}, nil
}

// begin keeps an upload that is to come.
func (d *fileDoor) begin(ctx context.Context, s *sender, u *chat.Upload) error {
	if u.Size > d.opts.Max {
		return d.tooLarge()
	}
	var limits chat.UploadLimits
	if !s.free() {
		if wait := d.budget.take(s.owner, u.Size); wait > 0 {
			return retryIn(wait, chat.CodeRateLimited, "too many files, or too large ones, came from here lately; try again in %s", wait.Round(time.Second))
		}
		limits = chat.UploadLimits{Count: uploadsAtOnce, Bytes: max(4*d.opts.Max, 64<<20)}
	}
	u.ID, u.Uploader, u.Owner = chat.NewFileID(), s.uploader, s.owner
	u.Name = chat.CleanFileName(u.Name)
	if len(u.Declared) > 100 {
		u.Declared = ""
	}
	err := d.store.BeginUpload(ctx, *u, limits)
	if code := chat.CodeOf(err); code == chat.CodeFilesFull || code == chat.CodeStorageFull {
		d.full.Do(func() {
			d.api.opts.Logger.Warn("a file was refused, because there is no room for it", "code", code, "err", err)
		})
	}
	return err
}

func (d *fileDoor) tooLarge() error {
	return chat.Errorf(chat.CodeFileTooLarge, "a file may have at most %d bytes here (--max-upload)", d.opts.Max)
}

// may reports whether s may go on with or cancel what uploader began. What
// began without a name belongs to whoever knows its id.
func (s *sender) may(uploader string) bool {
	return uploader == "" || uploader == s.uploader || s.free()
}

// remove answers DELETE for a file.
func (d *fileDoor) remove(w http.ResponseWriter, r *http.Request) {
	callOf(r.Context()).operation = "deleteFile"
	if d.preflight(w, r, "GET, HEAD, DELETE") {
		return
	}
	s, err := d.admit(r)
	if err == nil {
		err = d.removeBy(r.Context(), s, r.PathValue("id"))
	}
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (d *fileDoor) removeBy(ctx context.Context, s *sender, id string) error {
	f, err := d.find(ctx, id)
	if err != nil {
		return err
	}
	if !s.may(f.Uploader) {
		return chat.Errorf(chat.CodeForbidden, "only whoever uploaded this file, or the operator, may remove it")
	}
	return d.store.RemoveFile(ctx, id, s.role == roleOperator)
}

// refuse answers with a problem, and with a challenge if that would help.
func (d *fileDoor) refuse(w http.ResponseWriter, r *http.Request, err error) {
	d.api.challenge(w, r, roleClient, err)
}

// preflight sets what lets pages of other sites read the answers, and answers
// a browser that asks whether a page may make the call. It is told yes: the
// call itself is looked at. No cookie or remembered password counts.
func (d *fileDoor) preflight(w http.ResponseWriter, r *http.Request, methods string) bool {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Location, Upload-Offset, Upload-Length, Upload-Metadata, Tus-Version, Tus-Resumable, Tus-Max-Size, Tus-Extension, Retry-After, X-Request-Id")
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept-Language, Tus-Resumable, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, Upload-Concat, X-HTTP-Method-Override, X-Requested-With, X-Request-Id")
	h.Set("Access-Control-Max-Age", "7200")
	if r.Header.Get("Access-Control-Request-Method") == "" {
		return false // not a browser's question: tus clients ask what there is
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// budget bounds what each owner may begin in a time.
type budget struct {
	now   func() time.Time
	burst int64 // bytes

	mu     sync.Mutex
	places map[string]*allowance
}

type allowance struct{ uploads, kilobytes *rate.Limiter }

// take pays for an upload of so many bytes, or returns how long to wait.
func (b *budget) take(owner string, bytes int64) time.Duration {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.places[owner]
	if p == nil {
		b.makeRoom(now)
		kilobytes := int(min(b.burst/1024+1, 1<<30))
		p = &allowance{rate.NewLimiter(1, uploadBurst), rate.NewLimiter(rate.Limit(float64(kilobytes)/shareRefills.Seconds()), kilobytes)}
		b.places[owner] = p
	}
	one := p.uploads.ReserveN(now, 1)
	all := p.kilobytes.ReserveN(now, int((bytes+1023)/1024))
	wait := max(one.DelayFrom(now), all.DelayFrom(now))
	if wait > 0 {
		all.CancelAt(now)
		one.CancelAt(now)
	}
	return wait
}

// placesMax is how many addresses are remembered.
const placesMax = 4096

// makeRoom keeps the map bounded, as chat.Tries does.
func (b *budget) makeRoom(now time.Time) {
	if len(b.places) < placesMax {
		return
	}
	for k, p := range b.places {
		if p.kilobytes.TokensAt(now) >= float64(p.kilobytes.Burst()) {
			delete(b.places, k)
		}
	}
	for k := range b.places {
		if len(b.places) <= placesMax*3/4 {
			return
		}
		delete(b.places, k)
	}
}
