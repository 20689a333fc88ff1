package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"teahouse/chat"
	"teahouse/db"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is the key of the tests' endpoints.
var secret = []byte("0123456789abcdef0123456789abcdef")

// got is one request as the receiver saw it.
type got struct {
	at      time.Time
	path    string
	message string
	payload struct {
		Type string
		Seq  int64
		From string
		Data struct {
			Code, Text string
			Recalled   bool
		}
	}
	status int
}

// receiver is the other server. What it is sent must be signed; an official
// library checks that.
type receiver struct {
	t      *testing.T
	mu     sync.Mutex
	reply  func(n int, g *got) (status int, header http.Header, err error) // n counts from 1
	takes  time.Duration                                                   // how long it works on a request
	all    []got
	now    int // requests that it works on
	most   int
	verify [][]byte // secrets, each of which must find its signature
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	for _, key := range r.verify {
		w, err := standardwebhooks.NewWebhookRaw(key)
		if err == nil {
			err = w.Verify(b, req.Header)
		}
		if err != nil {
			r.t.Errorf("the signature %q: %v", req.Header.Get("Webhook-Signature"), err)
		}
	}
	g := got{at: time.Now(), path: req.URL.Path, message: req.Header.Get("Webhook-Id")}
	if err := json.Unmarshal(b, &g.payload); err != nil {
		r.t.Errorf("the payload %s: %v", b, err)
	}
	r.mu.Lock()
	r.now++
	r.most = max(r.most, r.now)
	n := len(r.all) + 1
	header := http.Header{}
	var fault error
	g.status = http.StatusNoContent
	if r.reply != nil {
		g.status, header, fault = r.reply(n, &g)
	}
	r.all = append(r.all, g)
	takes := r.takes
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.now--
		r.mu.Unlock()
	}()
	select {
	case <-time.After(takes):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	if fault != nil {
		return nil, fault
	}
	return &http.Response{StatusCode: g.status, Header: header, Body: io.NopCloser(strings.NewReader("an answer")), Request: req}, nil
}

func (r *receiver) set(change func(*receiver)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

// got returns the requests so far, of one voucher if a code is named.
func (r *receiver) got(code string) []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.all), func(g got) bool { return code != "" && g.payload.Data.Code != code })
}

// taken returns the types of one voucher's events in the order in which the
// receiver took them.
func (r *receiver) taken(code string) (types []string) {
	for _, g := range r.got(code) {
		if g.status/100 == 2 {
			types = append(types, strings.TrimPrefix(g.payload.Type, "voucher."))
		}
	}
	return types
}

// journal is what is logged.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// world is a store, a sender and a receiver, in a bubble of time.
type world struct {
	t     *testing.T
	dir   string
	store *db.Store
	*receiver
	sender *Sender
	batch  int
	log    journal
	stop   func()
}

// inWorld runs a test in a bubble.
func inWorld(t *testing.T, test func(*testing.T, *world)) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dir: dir, receiver: &receiver{t: t, verify: [][]byte{secret}}}
		w.start()
		defer func() { w.stop() }()
		test(t, w)
	})
}

func (w *world) start() {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(&w.log, nil))
	s, err := db.Open(w.t.Context(), db.Options{Dir: w.dir, Logger: log,
		Retain: []db.RetainRule{{Pattern: "room:short", Retention: chat.Retention{Age: 30 * time.Minute}}}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
	w.sender = New(Options{Store: s, Transport: w.receiver, Logger: log})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.sender.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// add makes an endpoint.
func (w *world) add(id string, change ...func(*chat.Webhook)) {
	w.t.Helper()
	h := chat.Webhook{ID: id, URL: "https://shop.example/" + id, Kinds: []string{"voucher.*"}, Secret: secret, CreatedAt: time.Now().UnixMilli()}
	for _, c := range change {
		c(&h)
	}
	w.must(h.Check())
	w.must(w.store.AddWebhook(w.t.Context(), h))
}

func (w *world) hook(id string) chat.Webhook {
	w.t.Helper()
	list, err := w.store.Webhooks(w.t.Context())
	w.must(err)
	i := slices.IndexFunc(list, func(h chat.Webhook) bool { return h.ID == id })
	if i < 0 {
		w.t.Fatalf("there is no %s in %v", id, list)
	}
	return list[i]
}

func (w *world) issue(count int) (codes []string) {
	w.t.Helper()
	w.batch++
	list, err := w.store.Issue(w.t.Context(), chat.VoucherOrder{Name: "tea", Owner: "alice", Count: count, By: "shop", Batch: fmt.Sprint(w.batch)})
	w.must(err)
	for _, v := range list {
		codes = append(codes, v.Code)
	}
	return codes
}

func (w *world) change(code string, do chat.VoucherAction) {
	w.t.Helper()
	_, err := w.store.Change(w.t.Context(), code, chat.VoucherAct{Do: do, By: "Ann", Reason: "because", Key: fmt.Sprint(do, time.Now().UnixNano()), Window: time.Hour})
	w.must(err)
	time.Sleep(time.Millisecond)
}

func (w *world) deliveries(id string, state chat.WebhookState) []chat.WebhookDelivery {
	w.t.Helper()
	list, err := w.store.Deliveries(w.t.Context(), chat.WebhookQuery{Webhook: id, State: state, Limit: 1 << 20})
	w.must(err)
	return list
}

// settled reports that nothing waits.
func (w *world) settled(id string) bool {
	w.t.Helper()
	synctest.Wait()
	return len(w.deliveries(id, chat.WebhookWaiting)) == 0
}

// within lets time pass until ok, at most so long.
func (w *world) within(most time.Duration, what string, ok func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > most {
			w.t.Fatalf("not within %s: %s\n%s", most, what, w.log.String())
		}
		time.Sleep(max(most/500, 20*time.Millisecond))
		synctest.Wait()
	}
	return time.Since(began)
}

func (w *world) equal(what string, got, want any) {
	w.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("%s: %v, want %v", what, got, want)
	}
}
