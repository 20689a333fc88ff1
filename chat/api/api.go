package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Hub is the live side, as far as this package needs it: *chat.Hub.
type Hub interface {
	Doors
	// Issue makes vouchers, and ChangeVoucher redeems, reverses or withdraws
	// one; each tells the owner.
	Issue(ctx context.Context, o chat.VoucherOrder) ([]chat.Voucher, error)
	ChangeVoucher(ctx context.Context, code string, a chat.VoucherAct) (chat.VoucherChange, error)
	// ClockLeap tells whether the server's clock was set lately.
	ClockLeap() (chat.ClockLeap, bool)
	// Import takes many vouchers in, all or none, to be issued from now on.
	Import(ctx context.Context, i chat.VoucherImport) (chat.ImportState, error)
	// Publish appends the events, all or none, and hands them to the live
	// connections. The deliveries come in the order of the events.
	Publish(ctx context.Context, events []chat.Event) ([]chat.Delivery, error)
	// Schedule keeps an event for later, for each of its topics.
	Schedule(ctx context.Context, s chat.Scheduled) ([]chat.Delivery, error)
	// Kick ends a live session; false if it is not live here.
	Kick(session, reason string) bool
	// Sessions lists sessions: the live state merged with the stored one.
	Sessions(ctx context.Context, q chat.SessionQuery) ([]chat.Session, error)
	// Ready returns nil, or why the hub serves nobody.
	Ready() error
	Stats() chat.HubStats
	Limits() chat.Limits
}

// Log is the part of chat.Store that history is read from.
type Log interface {
	Replay(ctx context.Context, topics []string, after int64, limit int) ([]chat.Event, error)
	Before(ctx context.Context, topic string, seq int64, limit int) ([]chat.Event, error)
	Head(ctx context.Context) (chat.Position, error)
}

// Store is what this package keeps and reads besides the hub.
type Store interface {
	Log
	Agenda
	Vouchers
	Staff
	Webhooks
	Settings
	Keys
	Answers
	Backuper
}

// Options is what an API is made of. Hub, Store and Tokens are required.
type Options struct {
	Hub    Hub
	Store  Store
	Tokens *Tokens
	// Courier sends the webhooks; nil: this server sends none.
	Courier Courier
	// LocalKey is made anew at each start for the command line on the same
	// machine; it acts as the operator. "" is none.
	LocalKey string
	// Folder is where a backup is made before it is sent: the data folder.
	Folder string
	// Files keeps what is uploaded, within Uploads; nil is no files.
	Files   Files
	Uploads FileOptions
	// Version stands in the API's description and in the metrics.
	Version string
	// Addr returns the address of who asks. nil takes it from the connection,
	// which is right unless a trusted proxy stands in front.
	Addr func(*http.Request) string
	// StoreStats returns the store's counters for /metrics; nil is none.
	StoreStats func() StoreStats
	Logger     *slog.Logger     // nil: slog.Default()
	Now        func() time.Time // nil: time.Now
}

// API is the HTTP API. Make it with New, mount it with Register.
type API struct {
	opts   Options
	mux    *http.ServeMux // patterns of huma's operations, all with a method
	huma   huma.API
	guard  *chat.Tries[netip.Prefix] // wrong keys, passwords and PINs, by address
	pass   passwordCheck
	pins   pinCheck
	codes  codeGuard
	passes passGuard
	cross  map[string]bool  // patterns of what pages of other sites may call
	large  map[string]int64 // patterns of what takes larger bodies: how large
	uses   keyUses
	flight inflight
	spec   document
	docs   docs
	stats  metrics

	backup    sync.Mutex // held while one is made and sent
	importing sync.Mutex // held while one is read: its rows are in memory

	files    *fileDoor       // nil without Options.Files
	stopping context.Context // ends with Stop
	stop     context.CancelFunc
}

// Bounds of a request. A call to 10,000 users with long ids in another script
// is about 1.4 MB, escaped.
const (
	eventsBody  = 2 << 20
	smallBody   = 64 << 10
	callTimeout = 30 * time.Second
)

// New returns the API.
func New(o Options) (*API, error) {
	if o.Hub == nil || o.Store == nil || o.Tokens == nil {
		return nil, errors.New("api: Hub, Store and Tokens are required")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Addr == nil {
		o.Addr = peerAddr
	}
	a := &API{opts: o, mux: http.NewServeMux(), cross: make(map[string]bool), large: make(map[string]int64),
		guard: chat.NewTries[netip.Prefix](o.Now, guardBurst, guardEvery)}
	a.stopping, a.stop = context.WithCancel(context.Background())
	if o.Files != nil {
		a.files = newFileDoor(a)
	}
	a.pass.init()
	a.pins.init(o.Now)
	a.codes.init(o.Now)
	a.passes.init(o.Now)
	a.stats.init(a)
	if err := sweepBackups(o.Folder); err != nil {
		return nil, fmt.Errorf("api: remove left-over backups: %w", err)
	}
	a.huma = humago.New(a.mux, config(o.Version))
	a.huma.UseMiddleware(a.authenticate, a.once)
	a.registerEvents()
	a.registerScheduled()
	a.registerTopics()
	a.registerVouchers()
	a.registerVoucherFiles()
	a.registerStaff()
	a.registerSessions()
	a.registerDoors()
	a.registerTokens()
	a.registerKeys()
	a.registerBackup()
	a.registerFiles()
	a.registerWebhooks()
	tidy(a.huma.OpenAPI())
	a.spec.init(a.huma.OpenAPI(), o.Logger)
	return a, nil
}

// Register mounts the API: /api/, /openapi.json, /openapi.yaml, /docs,
// /healthz, /readyz and /metrics. The patterns that serve the API itself have
// no method, so that a wrong one gets a problem; a catch-all beside them must
// have none either ("/" and not "GET /"), or ServeMux sees a conflict.
func (a *API) Register(mux *http.ServeMux) {
	mux.Handle("/api/", a)
	if a.files != nil {
		a.files.register(mux)
	}
	mux.HandleFunc("GET /openapi.json", a.openAPIJSON)
	mux.HandleFunc("GET /openapi.yaml", a.openAPIYAML)
	mux.HandleFunc("GET /docs", a.docs.index)
	mux.HandleFunc("GET /docs/{file}", a.docs.file)
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /metrics", a.metrics)
}

// Stop breaks off uploads and downloads, which may take long: uploads go on
// after the next start. Call it when the server begins to stop.
func (a *API) Stop() { a.stop() }

// Close waits for what still runs behind finished requests. Call it after the
// HTTP server has stopped and before the store is closed.
func (a *API) Close() { a.uses.wait() }

// call is what is known of one request; it travels in its context.
type call struct {
	api       *API
	id        string // for the log and the caller
	addr      string
	chinese   bool
	operation string
	caller    caller
	once      string // derived from an Idempotency-Key, "" without one
	logged    bool   // what went wrong stands in the log already
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

// with returns r with a call in its context.
func (a *API) with(r *http.Request) (*http.Request, *call) {
	var id [8]byte
	_, _ = rand.Read(id[:])
	c := &call{
		api: a, id: hex.EncodeToString(id[:]), addr: a.opts.Addr(r),
		chinese: prefersChinese(r.Header.Get("Accept-Language")),
	}
	return r.WithContext(context.WithValue(r.Context(), callKey{}, c)), c
}

// ServeHTTP serves all of /api/.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, c := a.with(r)
	sw := &statusWriter{ResponseWriter: w}
	h := w.Header()
	h.Set("X-Request-Id", c.id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	defer func() { a.stats.count(c.operation, sw.status) }()
	defer func() {
		if v := recover(); v != nil {
			a.survive(v, sw, r)
		}
	}()

	if r.Method == http.MethodOptions && a.preflight(sw, r) {
		return
	}
	handler, pattern := a.mux.Handler(r)
	limit, patience := int64(eventsBody+1), 2*callTimeout
	if large := a.large[pattern]; large > 0 {
		limit, patience = large+1, importPatience
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
	}
	if a.cross[pattern] {
		allowAnyOrigin(h)
	}
	if pattern == "" {
		a.unknown(sw, r, handler)
		return
	}
	// The write deadline keeps a caller that does not read from holding on to
	// its answer for ever; a backup sets its own.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		// Bodies are JSON whatever they are called: `curl -d` and old PHP code
		// call it a form. Cross-site requests are refused where a browser
		// could send credentials by itself, in authenticate.
		r.Header.Set("Content-Type", "application/json")
	}
	a.mux.ServeHTTP(sw, r)
}

// direct serves what is no operation of huma, because bytes stream there.
func (a *API) direct(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, c := a.with(r)
		sw := &statusWriter{ResponseWriter: w}
		sw.Header().Set("X-Request-Id", c.id)
		sw.Header().Set("X-Content-Type-Options", "nosniff")
		defer func() { a.stats.count(c.operation, sw.status) }()
		defer func() {
			if v := recover(); v != nil {
				a.survive(v, sw, r)
			}
		}()
		h(sw, r)
	})
}

// survive answers for a handler that panicked with v.
func (a *API) survive(v any, sw *statusWriter, r *http.Request) {
	c := callOf(r.Context())
	if v == http.ErrAbortHandler {
		panic(v) // meant: the connection is cut, so that the caller sees it
	}
	if err, ok := v.(error); ok && sw.status != 0 && !isRuntime(err) {
		// huma panics when an answer cannot be written: nobody reads it.
		a.opts.Logger.Debug("answer not sent", "request", c.id, "operation", c.operation, "err", err)
		panic(http.ErrAbortHandler)
	}
	a.opts.Logger.Error("request panicked", "request", c.id, "operation", c.operation, "panic", v, "stack", string(debug.Stack()))
	if sw.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeProblem(sw, r, chat.Errorf(chat.CodeInternal, ""))
}

// unknown answers for a path or method that no operation has.
func (a *API) unknown(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	probe := &recorder{header: http.Header{}}
	handler.ServeHTTP(probe, r)
	switch probe.status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", probe.header.Get("Allow"))
		p := callOf(r.Context()).problem(chat.Errorf(chat.CodeBadRequest, "%s is not possible here; try %s", r.Method, probe.header.Get("Allow")))
		p.Title, p.Status = http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed
		writeProblem(w, r, p)
	case http.StatusNotFound:
		writeProblem(w, r, chat.Errorf(chat.CodeNotFound, "there is no %s; /openapi.json and /docs list what there is", r.URL.Path))
	default:
		handler.ServeHTTP(w, r)
	}
}

func isRuntime(err error) bool {
	var r runtime.Error
	return errors.As(err, &r)
}

// register adds an operation that needs a role. Its errors leave as problems.
func register[I, O any](a *API, need role, op huma.Operation, fn func(context.Context, *I) (*O, error)) {
	if op.Metadata == nil {
		op.Metadata = map[string]any{}
	}
	op.Metadata[metaRole] = need
	also, _ := op.Metadata[metaAlso].([]role)
	op.Security = need.security(also)
	if need == roleNone || also != nil {
		a.cross[op.Method+" "+op.Path] = true
	}
	if large, ok := op.Metadata[metaLarge].(int64); ok {
		a.large[op.Method+" "+op.Path] = large
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		out, err := fn(ctx, in)
		if err != nil {
			return nil, fail(ctx, err)
		}
		return out, nil
	})
}

// peerAddr is the address of the other end of the connection.
func peerAddr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// statusWriter remembers the status for the metrics.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
