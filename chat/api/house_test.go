package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
	"teahouse/chat/storetest"
)

const (
	testKey      = "tk_abcdefghijklmnopqrstuvwxyz234567"
	testPassword = "correct horse battery staple"
	localKey     = "local-key-of-this-start"
)

// begin is when tests take place.
var begin = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// memory is a store and a hub in a few maps.
type memory struct {
	hooks // a real store, where a test needs one

	mu       sync.Mutex
	events   []chat.Event
	settings map[string][]byte
	keys     map[string]chat.APIKey
	order    []string
	answers  map[string]chat.Answer
	sessions []chat.Session
	online   map[string]int // topic -> connections
	kicked   map[string]string
	uses     int
	backup   []byte

	fail     error         // what everything fails with
	ready    error         // what Ready says
	answered error         // what PutAnswer fails with
	entered  chan struct{} // Publish says here that it has begun
	gate     chan struct{} // and goes on when this is closed
	calls    int           // of Publish
	panics   bool
	vouchers vouchers
	gates    gates
	agenda   *storetest.Memory // what is scheduled
}

func newMemory() *memory {
	return &memory{
		settings: map[string][]byte{}, keys: map[string]chat.APIKey{}, answers: map[string]chat.Answer{},
		online: map[string]int{}, kicked: map[string]string{},
	}
}

func (m *memory) Publish(ctx context.Context, events []chat.Event) ([]chat.Delivery, error) {
	if m.entered != nil {
		m.entered <- struct{}{}
	}
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.panics {
		panic("a secret of the inside")
	}
	if m.fail != nil {
		return nil, m.fail
	}
	out := make([]chat.Delivery, len(events))
	for i, e := range events {
		j := slices.IndexFunc(m.events, func(o chat.Event) bool {
			return e.Key != "" && o.Key == e.Key && o.Topic == e.Topic && o.From == e.From
		})
		if j >= 0 {
			out[i] = chat.Delivery{Event: m.events[j], Duplicate: true}
			continue
		}
		e.Seq, e.At = int64(len(m.events)+1), begin.UnixMilli()
		m.events = append(m.events, e)
		out[i] = chat.Delivery{Event: e, Online: m.online[e.Topic]}
	}
	return out, nil
}

func (m *memory) Kick(id, reason string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.sessions, func(s chat.Session) bool { return s.ID == id && s.Ended == 0 })
	if i >= 0 {
		m.sessions[i].Ended, m.sessions[i].Reason = begin.UnixMilli(), chat.CodeKicked
		m.kicked[id] = reason
	}
	return i >= 0
}

func (m *memory) Sessions(_ context.Context, q chat.SessionQuery) ([]chat.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []chat.Session
	for _, s := range m.sessions {
		if (q.User == "" || q.User == s.User) && (!q.Online || s.Ended == 0) && len(out) < q.Limit {
			out = append(out, s)
		}
	}
	return out, m.fail
}

func (m *memory) Ready() error         { return m.ready }
func (m *memory) Limits() chat.Limits  { return chat.DefaultLimits() }
func (m *memory) Stats() chat.HubStats { return chat.HubStats{Connections: 3, Delivered: 12345} }

func (m *memory) Replay(_ context.Context, topics []string, after int64, limit int) ([]chat.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []chat.Event
	for _, e := range m.events {
		if slices.Contains(topics, e.Topic) && e.Seq > after && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, m.fail
}

func (m *memory) Before(_ context.Context, topic string, seq int64, limit int) ([]chat.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []chat.Event
	for _, e := range slices.Backward(m.events) {
		if e.Topic == topic && (seq <= 0 || e.Seq < seq) && len(out) < limit {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out, m.fail
}

func (m *memory) Head(context.Context) (chat.Position, error) {
	return chat.Position{Epoch: "e1", Seq: int64(len(m.events))}, m.fail
}

func (m *memory) Setting(_ context.Context, name string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.settings[name]
	return v, ok, m.fail
}

func (m *memory) PutSetting(_ context.Context, name string, v []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings[name] = slices.Clone(v)
	return m.fail
}

func (m *memory) Keys(context.Context) ([]chat.APIKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []chat.APIKey
	for _, id := range m.order {
		out = append(out, m.keys[id])
	}
	return out, m.fail
}

func (m *memory) PutKey(_ context.Context, k chat.APIKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.keys[k.ID]; !ok {
		m.order = append(m.order, k.ID)
	}
	m.keys[k.ID] = k
	return m.fail
}

func (m *memory) RevokeKey(_ context.Context, id string, at int64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[id]
	if ok && k.RevokedAt == 0 {
		k.RevokedAt = at
		m.keys[id] = k
	}
	return ok, m.fail
}

func (m *memory) UseKey(_ context.Context, id string, at int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.keys[id]
	k.LastUsedAt = at
	m.keys[id] = k
	m.uses++
	return nil
}

func (m *memory) KeyByHash(_ context.Context, hash [32]byte) (chat.APIKey, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range maps.Values(m.keys) {
		if k.Hash == hash {
			return k, true, m.fail
		}
	}
	return chat.APIKey{}, false, m.fail
}

func (m *memory) Answer(_ context.Context, key string) (chat.Answer, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.answers[key]
	return a, ok, m.fail
}

func (m *memory) PutAnswer(ctx context.Context, key string, a chat.Answer) (chat.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.answered != nil {
		return chat.Answer{}, m.answered
	}
	if err := ctx.Err(); err != nil {
		return chat.Answer{}, err
	}
	if _, ok := m.answers[key]; !ok {
		a.Body = slices.Clone(a.Body)
		m.answers[key] = a
	}
	return m.answers[key], nil
}

func (m *memory) Backup(_ context.Context, path string) error {
	if m.fail != nil {
		return m.fail
	}
	return os.WriteFile(path, m.backup, 0o600)
}

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// house is an API with what stands behind it.
type house struct {
	t     *testing.T
	store *memory
	clock *clock
	api   *api.API
	mux   *http.ServeMux
	log   *bytes.Buffer
	dir   string
	opts  api.Options
}

// the hash of a password takes its time: once for all tests.
var passwordHash = sync.OnceValue(func() []byte {
	m := newMemory()
	if _, err := api.Bootstrap(context.Background(), m, api.Secrets{Password: testPassword, APIKey: testKey}, begin); err != nil {
		panic(err)
	}
	return m.settings["operator_password"]
})

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, store: newMemory(), clock: &clock{at: begin}, log: &bytes.Buffer{}, dir: t.TempDir()}
	h.store.agenda = storetest.NewMemory(h.clock.now)
	h.store.settings["operator_password"] = passwordHash()
	must(t, bootstrapKey(h.store))
	tokens, err := api.NewTokens(t.Context(), h.store, h.clock.now)
	must(t, err)
	h.opts = api.Options{
		Hub: h.store, Store: h.store, Tokens: tokens, LocalKey: localKey, Folder: h.dir, Version: "v1.2.3",
		Logger: slog.New(slog.NewTextHandler(h.log, nil)), Now: h.clock.now,
		StoreStats: func() api.StoreStats {
			return api.StoreStats{Commits: 7, Events: 9, Batches: map[int64]int64{1: 5, 2: 1, 4096: 1}, WAL: 4096}
		},
	}
	h.restart()
	return h
}

func bootstrapKey(m *memory) error {
	_, err := api.Bootstrap(context.Background(), m, api.Secrets{APIKey: testKey}, begin)
	return err
}

// restart begins a new process over the same store.
func (h *house) restart() {
	h.t.Helper()
	a, err := api.New(h.opts)
	must(h.t, err)
	h.t.Cleanup(a.Close)
	h.api, h.mux = a, http.NewServeMux()
	a.Register(h.mux)
}

// ask sends a request with the API key; header are pairs, and an
// Authorization of "" takes the key away.
func (h *house) ask(method, target, body string, header ...string) *reply {
	h.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(h.t.Context(), method, target, in)
	r.Header.Set("Authorization", "Bearer "+testKey)
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	return &reply{h.t, w, r}
}

// operator returns the headers of one who knows the password.
func operator() []string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth("operator", testPassword)
	return []string{"Authorization", r.Header.Get("Authorization")}
}

type reply struct {
	t *testing.T
	*httptest.ResponseRecorder
	request *http.Request
}

// ok checks the status and decodes the body into out.
func (r *reply) ok(status int, out any) *reply {
	r.t.Helper()
	if r.Code != status {
		r.t.Fatalf("%s %s: status %d and not %d: %s", r.request.Method, r.request.URL, r.Code, status, r.Body)
	}
	if out != nil {
		if err := json.Unmarshal(r.Body.Bytes(), out); err != nil {
			r.t.Fatalf("%s %s: %v in %s", r.request.Method, r.request.URL, err, r.Body)
		}
	}
	return r
}

// problem checks that it is one, by RFC 9457, with this status and code.
func (r *reply) problem(status int, code chat.Code) api.Problem {
	r.t.Helper()
	var p api.Problem
	r.ok(status, &p)
	if p.Code != code || p.Status != status || p.Title == "" || p.Detail == "" {
		r.t.Fatalf("%s %s: code %q and not %q, or not complete: %s", r.request.Method, r.request.URL, p.Code, code, r.Body)
	}
	if got := r.Header().Get("Content-Type"); got != "application/problem+json" {
		r.t.Fatalf("Content-Type of a problem: %s", got)
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
