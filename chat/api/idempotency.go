package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Answers keeps the first answer to each idempotent request.
type Answers interface {
	// Answer returns the answer kept under key, ok false if there is none.
	Answer(ctx context.Context, key string) (a chat.Answer, ok bool, err error)
	// PutAnswer keeps a under key unless there is one: the first writer wins,
	// and the answer that is kept now is returned.
	PutAnswer(ctx context.Context, key string, a chat.Answer) (chat.Answer, error)
}

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotency-Replayed"
	maxKey         = 255
	metaVault      = "vault"
	metaSecret     = "secret" // the name of a member of the body that no hash of ours may tell
)

// IdempotencyHeader is embedded in the input of every POST, for its description; the
// middleware does the work.
type IdempotencyHeader struct {
	Key string `header:"Idempotency-Key" maxLength:"255" doc:"Makes it safe to send this request again: the same key and body get the first answer again, with the header Idempotency-Replayed; the same key with another body is a 409 key_reused. Any text of up to 255 characters, for example a UUID."`
}

// A vault keeps an answer with a secret in it without the secret. An
// operation names its own in Metadata[metaVault].
type vault interface {
	// keep returns what may be stored of a successful answer's body.
	keep(body []byte) ([]byte, error)
	// give makes the answer of what keep returned.
	give(kept []byte) ([]byte, error)
}

// inflight holds the requests with a key that run now.
type inflight struct {
	mu   sync.Mutex
	runs map[string]chan struct{} // closed when it has ended
}

// enter waits until nobody else is at key and then returns the way out.
func (f *inflight) enter(ctx context.Context, key string) (leave func(), err error) {
	for {
		f.mu.Lock()
		other, busy := f.runs[key]
		if !busy {
			if f.runs == nil {
				f.runs = make(map[string]chan struct{})
			}
			done := make(chan struct{})
			f.runs[key] = done
			f.mu.Unlock()
			return func() {
				f.mu.Lock()
				delete(f.runs, key)
				f.mu.Unlock()
				close(done)
			}, nil
		}
		f.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, retryIn(time.Second, chat.CodeBusy, "the first request with this %s is still running; try again", headerKey)
		}
	}
}

// once answers a POST with an Idempotency-Key that was answered before with
// that answer. The key belongs to its caller and path.
func (a *API) once(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	key := r.Header.Get(headerKey)
	if r.Method != http.MethodPost || key == "" || ctx.Operation().Metadata[metaRole] == roleNone || ctx.Operation().Metadata[metaLarge] != nil {
		next(ctx)
		return
	}
	if len(key) > maxKey || strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		writeProblem(w, r, chat.Errorf(chat.CodeBadRequest, "the %s may have up to %d printable characters", headerKey, maxKey))
		return
	}
	op := ctx.Operation()
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(callTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, op.MaxBodyBytes))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			err = chat.Errorf(chat.CodeTooLarge, "the request is larger than this call allows")
		} else {
			err = &chat.Error{Code: chat.CodeBadRequest, Message: "the request's body did not arrive whole", Err: err}
		}
		writeProblem(w, r, err)
		return
	}
	c := callOf(r.Context())
	place := onceKey(c.caller.id, r.URL.EscapedPath(), key)
	wait, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	leave, err := a.flight.enter(wait, place)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	defer leave()

	vault, _ := op.Metadata[metaVault].(vault)
	secret, _ := op.Metadata[metaSecret].(string)
	request := sha256.Sum256(without(secret, body))
	first, ok, err := a.opts.Store.Answer(r.Context(), place)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	if ok {
		replay(w, r, vault, first, request)
		return
	}

	c.once = place
	again := r.WithContext(ctx.Context())
	again.Body = io.NopCloser(bytes.NewReader(body))
	rec := &recorder{header: w.Header()}
	next(humago.NewContext(op, again, rec))
	// The outcome is kept even if the caller is gone by now.
	if err := a.keep(context.WithoutCancel(r.Context()), place, vault, request, rec); err != nil {
		// The operation itself has succeeded: better told than hidden. Events
		// cannot be doubled anyway, their keys are derived.
		a.opts.Logger.Error("answer not kept for its idempotency key", "request", c.id, "operation", c.operation, "err", err)
	}
	w.WriteHeader(rec.status)
	_, _ = w.Write(rec.body.Bytes())
}

// without returns a body without its secret member, if it has one: a PIN is
// short, and its hash would tell it to whoever reads the database.
func without(secret string, body []byte) []byte {
	if secret == "" {
		return body
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil {
		return nil // refused anyway
	}
	for name := range members {
		if strings.EqualFold(name, secret) {
			delete(members, name)
		}
	}
	body, _ = json.Marshal(members)
	return body
}

// replay gives the first answer again, or refuses if it was to another body.
func replay(w http.ResponseWriter, r *http.Request, v vault, first chat.Answer, request [32]byte) {
	if first.Request != request {
		writeProblem(w, r, chat.Errorf(chat.CodeKeyReused, "this %s was used with another body; take a new one for a new request", headerKey))
		return
	}
	body := first.Body
	if v != nil && first.Status < 300 {
		var err error
		if body, err = v.give(body); err != nil {
			writeProblem(w, r, err)
			return
		}
	}
	w.Header().Set(headerReplayed, "true")
	kind := "application/json"
	if first.Status >= 400 {
		kind = problemType
	}
	w.Header().Set("Content-Type", cmp.Or(first.ContentType, kind))
	w.WriteHeader(first.Status)
	_, _ = w.Write(body)
}

// keep stores the answer if it is a final one: what is the server's fault, or
// passes by itself, may turn out otherwise the next time.
func (a *API) keep(ctx context.Context, place string, v vault, request [32]byte, rec *recorder) error {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	switch s := rec.status; {
	case s >= 500, s < 200, s == http.StatusUnauthorized, s == http.StatusTooManyRequests, s == http.StatusRequestTimeout:
		return nil
	}
	body := rec.body.Bytes()
	if v != nil && rec.status < 300 {
		var err error
		if body, err = v.keep(body); err != nil {
			return err
		}
	}
	_, err := a.opts.Store.PutAnswer(ctx, place, chat.Answer{
		Request: request, Status: rec.status, ContentType: rec.header.Get("Content-Type"),
		Body: body, At: a.opts.Now().UnixMilli(),
	})
	return err
}

// onceKey names the place of an answer: a hash, because the parts may be long
// and because what callers use as keys is nobody's business.
func onceKey(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_ = binary.Write(h, binary.BigEndian, uint32(len(p)))
		_, _ = io.WriteString(h, p)
	}
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil))
}

// recorder takes an answer instead of the network.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.body.Write(b)
}

// tokenVault keeps whose token it is and from when to when; the same token
// can be signed again from that.
type tokenVault struct{ tokens *Tokens }

func (tokenVault) keep(body []byte) ([]byte, error) {
	var t Token
	if err := json.Unmarshal(body, &t); err != nil {
		return nil, err
	}
	t.Token = ""
	return json.Marshal(t)
}

func (v tokenVault) give(kept []byte) ([]byte, error) {
	var t Token
	if err := json.Unmarshal(kept, &t); err != nil {
		return nil, err
	}
	var err error
	if t.Token, err = v.tokens.sign(t.User, time.UnixMilli(t.IssuedAt), time.UnixMilli(t.ExpiresAt)); err != nil {
		return nil, err
	}
	b, err := json.Marshal(t)
	return append(b, '\n'), err
}

// keyVault keeps nothing of a new API key: it is shown once.
type keyVault struct{}

func (keyVault) keep([]byte) ([]byte, error) { return nil, nil }

func (keyVault) give([]byte) ([]byte, error) {
	return nil, chat.Errorf(chat.CodeKeyReused, "an API key was made by this very request; it was shown then and is not kept. If it is lost, revoke it and make another one with a new %s", headerKey)
}
