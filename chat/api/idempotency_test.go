package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
)

const lobby = `{"topic":"room:lobby","body":1}`

func (r *reply) replayed(want bool) *reply {
	r.t.Helper()
	if got := r.Header().Get("Idempotency-Replayed") == "true"; got != want {
		r.t.Fatalf("replayed %v: %d %s", got, r.Code, r.Body)
	}
	return r
}

func TestTheFirstAnswerAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first := h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").ok(200, nil).replayed(false)
	for range 2 {
		again := h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").ok(200, nil).replayed(true)
		equal(t, "answer", again.Body.String(), first.Body.String())
		equal(t, "type", again.Header().Get("Content-Type"), first.Header().Get("Content-Type"))
		h.restart()
	}
	equal(t, "events", len(h.store.events), 1)
	h.ask("POST", "/api/v1/events", `{"topic":"room:lobby","body":2}`, "Idempotency-Key", "a").problem(409, chat.CodeKeyReused)
	h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "b").ok(200, nil).replayed(false)
	// The key belongs to its caller and its path.
	h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a", "Authorization", "Bearer "+localKey).ok(200, nil).replayed(false)
	h.ask("POST", "/api/v1/tokens", `{"user":"x"}`, "Idempotency-Key", "a").ok(200, nil).replayed(false)
	equal(t, "events", len(h.store.events), 3)
	// It is for POST only.
	h.ask("GET", "/api/v1/sessions", "", "Idempotency-Key", "a").ok(200, nil).replayed(false)

	h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", strings.Repeat("x", 255)).ok(200, nil)
	h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", strings.Repeat("x", 256)).problem(400, chat.CodeBadRequest)
	h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a\tb").problem(400, chat.CodeBadRequest)
}

func TestWhichAnswersAreKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bad := `{"topic":"nowhere","body":1}`
	h.ask("POST", "/api/v1/events", bad, "Idempotency-Key", "a").replayed(false).problem(400, chat.CodeBadTopic)
	h.ask("POST", "/api/v1/events", bad, "Idempotency-Key", "a").replayed(true).problem(400, chat.CodeBadTopic)
	for i, code := range []chat.Code{chat.CodeStorageFull, chat.CodeGoingAway, chat.CodeInternal, chat.CodeRateLimited} {
		key := fmt.Sprint("b", i)
		h.store.fail = nil
		h.ask("GET", "/api/v1/sessions", "").ok(200, nil)
		h.opts.Hub = failingHub{h.store, chat.Errorf(code, "no")}
		h.restart()
		h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", key).replayed(false).problem(code.Verdict().Status, code)
		h.opts.Hub = h.store
		h.restart()
		h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", key).replayed(false).ok(200, nil)
		h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", key).replayed(true).ok(200, nil)
	}
	n := len(h.store.answers)
	h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "c", "Authorization", "").problem(401, chat.CodeUnauthorized)
	h.ask("POST", "/api/v1/keys", `{"name":"x"}`, "Idempotency-Key", "c").problem(403, chat.CodeForbidden)
	equal(t, "answers", len(h.store.answers), n)
}

// failingHub fails to publish.
type failingHub struct {
	*memory
	err error
}

func (f failingHub) Publish(_ context.Context, _ []chat.Event) ([]chat.Delivery, error) {
	return nil, f.err
}

// A crash between the append and the keeping of its answer must not double
// the event, nor hide that the second request is another one.
func TestCrashBeforeTheAnswerIsKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.answered = errors.New("the disk is gone")
	h.ask("POST", "/api/v1/events", `{"to":["a","b"],"body":{"x":1}}`, "Idempotency-Key", "k").ok(200, nil)
	if !strings.Contains(h.log.String(), "the disk is gone") {
		t.Error("not logged: ", h.log)
	}
	h.store.answered = nil
	h.restart()
	h.ask("POST", "/api/v1/events", `{"to":["a","b"],"body":{"x":2}}`, "Idempotency-Key", "k").problem(409, chat.CodeKeyReused)
	h.store.answers = map[string]chat.Answer{}
	var out api.Published
	h.ask("POST", "/api/v1/events", `{"to":["a","b"],"body":{"x":1}}`, "Idempotency-Key", "k").ok(200, &out)
	equal(t, "events", len(h.store.events), 2)
	equal(t, "second", out.Events[1], api.PublishedEvent{Topic: "user:b", Seq: 2, Duplicate: true})
	// Another caller's same key makes its own event.
	h.ask("POST", "/api/v1/events", `{"to":["a"],"body":{"x":1}}`, "Idempotency-Key", "k", "Authorization", "Bearer "+localKey).ok(200, nil)
	equal(t, "events", len(h.store.events), 3)
	// A key of its own counts more than the derived one.
	h.ask("POST", "/api/v1/events", `{"to":["a"],"body":1,"key":"mine"}`, "Idempotency-Key", "l").ok(200, nil)
	equal(t, "key", h.store.events[3].Key, "mine")
}

func TestTheSecondWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.entered, h.store.gate = make(chan struct{}, 8), make(chan struct{})
	var wg sync.WaitGroup
	replies := make([]*reply, 8)
	ask := func(i int) {
		body := lobby
		if i == 7 {
			body = `{"topic":"room:lobby","body":7}`
		}
		wg.Go(func() { replies[i] = h.ask("POST", "/api/v1/events", body, "Idempotency-Key", "a") })
	}
	ask(0)
	<-h.store.entered
	for i := 1; i < 8; i++ {
		ask(i)
	}
	close(h.store.gate)
	wg.Wait()
	equal(t, "calls", h.store.calls, 1)
	for i, r := range replies[:7] {
		r.ok(200, nil).replayed(i > 0)
		equal(t, "answer", r.Body.String(), replies[0].Body.String())
	}
	replies[7].problem(409, chat.CodeKeyReused)
}

func TestTheSecondDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.store.entered, h.store.gate = make(chan struct{}, 1), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").ok(200, nil) })
		<-h.store.entered
		p := h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").problem(503, chat.CodeBusy)
		equal(t, "retry_ms", p.RetryMS, 1000)
		close(h.store.gate)
		wg.Wait()
		h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").ok(200, nil).replayed(true)
	})
}

// Who does not wait for the answer may still ask for it later.
func TestTheAnswerIsKeptForWhoWentAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.entered, h.store.gate = make(chan struct{}, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := httptest.NewRequestWithContext(ctx, "POST", "/api/v1/events", strings.NewReader(lobby))
		r.Header.Set("Authorization", "Bearer "+testKey)
		r.Header.Set("Idempotency-Key", "a")
		h.mux.ServeHTTP(httptest.NewRecorder(), r)
	}()
	<-h.store.entered
	cancel()
	close(h.store.gate)
	<-done
	h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").ok(200, nil).replayed(true)
}

func TestACallDoesNotLastForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.opts.Hub = hangingHub{h.store}
		h.restart()
		h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").problem(503, chat.CodeBusy)
		h.opts.Hub = h.store
		h.restart()
		h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").ok(200, nil).replayed(false)
	})
}

// hangingHub publishes never.
type hangingHub struct{ *memory }

func (hangingHub) Publish(ctx context.Context, _ []chat.Event) ([]chat.Delivery, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAPanicLetsTheNextOneIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.panics = true
	p := h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").problem(500, chat.CodeInternal)
	if s := fmt.Sprint(p); strings.Contains(s, "secret") {
		t.Error(s)
	}
	if !strings.Contains(h.log.String(), "a secret of the inside") || !strings.Contains(h.log.String(), p.RequestID) {
		t.Error("not in the log: ", h.log)
	}
	h.store.panics = false
	h.ask("POST", "/api/v1/events", lobby, "Idempotency-Key", "a").ok(200, nil).replayed(false)
}

func TestSecretsAreNotKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var first, again api.Token
	h.ask("POST", "/api/v1/tokens", `{"user":"alice","ttl_s":60}`, "Idempotency-Key", "a").ok(200, &first)
	h.clock.forward(5 * time.Second)
	h.restart()
	h.ask("POST", "/api/v1/tokens", `{"user":"alice","ttl_s":60}`, "Idempotency-Key", "a").ok(200, &again).replayed(true)
	equal(t, "token", again, first)

	var key api.NewKey
	h.ask("POST", "/api/v1/keys", `{"name":"x"}`, append(operator(), "Idempotency-Key", "a")...).ok(201, &key)
	p := h.ask("POST", "/api/v1/keys", `{"name":"x"}`, append(operator(), "Idempotency-Key", "a")...).problem(409, chat.CodeKeyReused)
	if !strings.Contains(p.Detail, "shown") {
		t.Error(p.Detail)
	}
	h.api.Close() // what runs behind the requests is done now
	equal(t, "keys", len(h.store.keys), 2)
	for _, a := range h.store.answers {
		for _, secret := range []string{first.Token, key.Key, strings.TrimPrefix(key.Key, key.ID)} {
			if strings.Contains(string(a.Body), secret) {
				t.Errorf("kept: %s", a.Body)
			}
		}
	}
}
