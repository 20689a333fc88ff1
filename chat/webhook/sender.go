// Package webhook tells other servers of events over HTTP, by Standard
// Webhooks 1.0. What is to be told waits in the Store, which queues it in the
// transaction that appends the event; a Sender takes it from there.
//
// Each delivery is made at least once, until three days are over. Of one lane
// (a voucher, or else a topic) an endpoint is told in order: the next waits
// until the one before is delivered or given up. The message's id is the same
// for each attempt.
//
// Goroutines: Run decides, and there is one for each request that is out.
package webhook

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"teahouse/chat"
)

// Store keeps the endpoints and the queue.
type Store interface {
	// Webhooks lists the endpoints with their secrets.
	Webhooks(ctx context.Context) ([]chat.Webhook, error)
	// EditWebhook changes one as one step; CodeNotFound if there is none.
	EditWebhook(ctx context.Context, id string, edit func(*chat.Webhook) error) (chat.Webhook, error)
	// WebhookWork is sent to when there may be something new to do.
	WebhookWork() <-chan struct{}
	// DueDeliveries returns what is to be tried now, at most one of each lane,
	// and when the next other one will be, in ms since 1970 UTC, 0 if unknown.
	DueDeliveries(ctx context.Context, webhook string, limit int) (list []chat.WebhookDelivery, next int64, err error)
	// SettleDelivery keeps the outcome of an attempt; after the last one the
	// next of the lane is due.
	SettleDelivery(ctx context.Context, a chat.WebhookAttempt) error
	// GiveUpDeliveries ends what waits since a time or longer, and returns how
	// many.
	GiveUpDeliveries(ctx context.Context, webhook string, since int64, why string) (int, error)
}

// Options is what a Sender is made of. Only Store is required.
type Options struct {
	Store  Store
	Agent  string           // User-Agent of the requests
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: slog.Default()
	// Transport makes the requests; nil is one that refuses private addresses
	// to endpoints that may not be there.
	Transport http.RoundTripper
}

// Sender makes the deliveries. Make it with New, let Run work.
type Sender struct {
	opts            Options
	store           Store
	log             *slog.Logger
	public, private *http.Client
	wake            chan struct{}
	flight          sync.WaitGroup
	keep            time.Duration // keepTrying

	mu    sync.Mutex
	paces map[string]*pace // by endpoint
	out   int              // requests on their way
	turn  int              // who is served first: each in turn
}

// New returns a Sender.
func New(o Options) *Sender {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Agent == "" {
		o.Agent = "Teahouse"
	}
	s := &Sender{opts: o, store: o.Store, log: o.Logger, keep: keepTrying, wake: make(chan struct{}, 1), paces: make(map[string]*pace)}
	if o.Transport != nil {
		s.public = client(o.Transport)
		s.private = s.public
	} else {
		s.public, s.private = client(transport(false)), client(transport(true))
	}
	return s
}

// Run delivers until ctx ends. Requests that are out then have a moment to
// come to their end; what is broken off is made again after the next start.
func (s *Sender) Run(ctx context.Context) {
	out, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer s.public.CloseIdleConnections()
	defer s.private.CloseIdleConnections()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			last := time.AfterFunc(lastWords, stop)
			defer last.Stop()
			s.flight.Wait()
			return
		case <-s.store.WebhookWork():
		case <-s.wake:
		case <-timer.C:
		}
		wait, err := s.dispatch(ctx, out)
		if err != nil && ctx.Err() == nil {
			if !failing {
				s.log.Error("the queue of the webhooks cannot be read; trying again until it works", "err", err)
			}
			wait = storeWait
		}
		failing = err != nil
		timer.Reset(wait)
	}
}

func (s *Sender) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pace returns what is known of an endpoint. Call it with the lock held.
func (s *Sender) pace(id string) *pace {
	p := s.paces[id]
	if p == nil {
		p = newPace()
		s.paces[id] = p
	}
	return p
}

// Hurry ends an endpoint's pause: somebody changed something there and wants
// to see it.
func (s *Sender) Hurry(id string) {
	s.mu.Lock()
	s.pace(id).until = time.Time{}
	s.mu.Unlock()
	s.wakeUp()
}

// dispatch begins what may begin now, and returns how long there is nothing to
// do unless it is woken.
func (s *Sender) dispatch(ctx, out context.Context) (time.Duration, error) {
	hooks, err := s.store.Webhooks(ctx)
	if err != nil {
		return 0, err
	}
	s.forget(hooks)
	wait := look
	s.turn++
	for i := range hooks {
		w := hooks[(i+s.turn)%len(hooks)]
		if w.DisabledAt > 0 {
			continue
		}
		now := s.opts.Now()
		s.mu.Lock()
		p := s.pace(w.ID)
		// As it is before the queue is read: what comes back meanwhile is in
		// the queue as it was, and must not go out again.
		flying := maps.Clone(p.flying)
		free, pause := min(p.window-len(flying), mostAtAll-s.out), p.until.Sub(now)
		s.mu.Unlock()
		if pause > 0 {
			wait = min(wait, pause)
			continue
		}
		if free <= 0 {
			continue // whoever comes back wakes us
		}
		due, next, err := s.store.DueDeliveries(ctx, w.ID, free+len(flying))
		if err != nil {
			return 0, err
		}
		if next > 0 {
			wait = min(wait, max(time.UnixMilli(next).Sub(now), time.Millisecond))
		}
		for _, d := range due {
			if _, ok := flying[d.Event.Seq]; !ok && free > 0 {
				s.begin(out, w, d)
				free--
			}
		}
	}
	return wait, nil
}

// forget drops what was known of endpoints that are gone.
func (s *Sender) forget(hooks []chat.Webhook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[string]bool, len(hooks))
	for _, w := range hooks {
		known[w.ID] = true
	}
	for id, p := range s.paces {
		if !known[id] && len(p.flying) == 0 {
			delete(s.paces, id)
		}
	}
}

// begin makes an attempt in a goroutine of its own.
func (s *Sender) begin(ctx context.Context, w chat.Webhook, d chat.WebhookDelivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pace(w.ID)
	p.flying[d.Event.Seq] = struct{}{}
	s.out++
	s.flight.Go(func() {
		defer s.wakeUp()
		s.attempt(ctx, &w, &d)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(p.flying, d.Event.Seq)
		s.out--
	})
}

// attempt makes one request and keeps what came of it.
func (s *Sender) attempt(ctx context.Context, w *chat.Webhook, d *chat.WebhookDelivery) {
	sent := s.opts.Now()
	b, err := body(&d.Event)
	if len(d.Event.Body) == 0 || err != nil {
		s.settle(ctx, chat.WebhookAttempt{Webhook: w.ID, Seq: d.Event.Seq, State: chat.WebhookFailed, At: sent.UnixMilli(),
			Error: "the event is not in the log any more: retention (--retain) removed it before it could be told"})
		return
	}
	a := s.post(ctx, w, d.Message, b)
	if ctx.Err() != nil && a.status == 0 {
		return // broken off by us: nothing is known
	}
	now := s.opts.Now()
	out := chat.WebhookAttempt{Webhook: w.ID, Seq: d.Event.Seq, At: now.UnixMilli(), Status: a.status, Error: a.problem}
	switch old := now.UnixMilli()-d.Since >= s.keep.Milliseconds(); {
	case a.problem == "":
		out.State = chat.WebhookDelivered
		s.settle(ctx, out)
		s.succeeded(ctx, w, now)
		return
	case old, a.status == http.StatusGone:
		out.State = chat.WebhookFailed
		s.log.Warn("a webhook's delivery was given up", "webhook", w.ID, "event", d.Event.Seq, "kind", d.Event.Kind, "attempts", d.Attempts+1, "err", a.problem)
	default:
		last := lastRetry
		if a.away() {
			last = lastPause // it will be taken as soon as somebody is there
		}
		out.State = chat.WebhookWaiting
		out.Due = now.Add(max(backoff(d.Attempts+1, firstRetry, last), a.retryAfter)).UnixMilli()
	}
	s.failed(ctx, w, sent, now, a) // first: else the next of the lane would go out meanwhile
	s.settle(ctx, out)
	if since := now.Add(-s.keep).UnixMilli(); out.State == chat.WebhookFailed && w.FailingSince > 0 && w.FailingSince <= since {
		// Nothing has succeeded for as long: the others have had their time.
		n, err := s.store.GiveUpDeliveries(ctx, w.ID, since, "nothing could be delivered for three days; at last "+a.problem)
		if err != nil {
			s.log.Error("what a webhook does not take cannot be given up", "webhook", w.ID, "err", err)
		} else if n > 0 {
			s.log.Warn("deliveries of a webhook were given up: it has not answered well for so long", "webhook", w.ID, "deliveries", n)
		}
	}
}

// settle keeps an outcome. It must not be forgotten, or the receiver would be
// told again: so it is tried until the store takes it.
func (s *Sender) settle(ctx context.Context, a chat.WebhookAttempt) {
	for failed := false; ; failed = true {
		err := s.store.SettleDelivery(ctx, a)
		if err == nil || ctx.Err() != nil || chat.CodeOf(err) == chat.CodeGoingAway {
			return
		}
		if !failed {
			s.log.Error("the outcome of a webhook's delivery could not be kept; trying again until it works", "webhook", a.Webhook, "event", a.Seq, "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(storeWait):
		}
	}
}

// succeeded notes that an endpoint works.
func (s *Sender) succeeded(ctx context.Context, w *chat.Webhook, now time.Time) {
	s.mu.Lock()
	p := s.pace(w.ID)
	works := p.streak > 0 || w.FailingSince > 0
	p.succeeded()
	s.mu.Unlock()
	if !works {
		return
	}
	s.edit(ctx, w, func(x *chat.Webhook) {
		if x.FailingSince > 0 {
			s.log.Info("a webhook works again", "webhook", w.ID, "after", now.Sub(time.UnixMilli(x.FailingSince)).Round(time.Second))
		}
		x.FailingSince = 0
	})
}

// failed notes that an endpoint does not, and disables it if it wants that.
func (s *Sender) failed(ctx context.Context, w *chat.Webhook, sent, now time.Time, a answer) {
	s.mu.Lock()
	first := s.pace(w.ID).failed(sent, now, a.retryAfter)
	s.mu.Unlock()
	switch {
	case a.status == http.StatusGone:
		disabled := false
		s.edit(ctx, w, func(x *chat.Webhook) {
			// Of the same URL only: the operator may have given it another one.
			if disabled = x.DisabledAt == 0 && x.URL == w.URL; disabled {
				x.DisabledAt, x.DisabledWhy = now.UnixMilli(), "it answered 410 Gone"
			}
		})
		if disabled {
			s.log.Error("a webhook was disabled: it answered 410 Gone; nothing is queued for it until it is enabled again", "webhook", w.ID)
		}
	case first && w.FailingSince == 0:
		s.log.Warn("a webhook fails; trying again", "webhook", w.ID, "err", a.problem)
		s.edit(ctx, w, func(x *chat.Webhook) {
			if x.FailingSince == 0 {
				x.FailingSince = now.UnixMilli()
			}
		})
	}
}

func (s *Sender) edit(ctx context.Context, w *chat.Webhook, change func(*chat.Webhook)) {
	_, err := s.store.EditWebhook(ctx, w.ID, func(x *chat.Webhook) error {
		change(x)
		return nil
	})
	if err != nil && chat.CodeOf(err) != chat.CodeNotFound && !errors.Is(err, context.Canceled) {
		s.log.Error("a webhook's state could not be kept", "webhook", w.ID, "err", err)
	}
}

// Ping sends an endpoint an event of type "ping", now, once, whatever its
// state. It returns what it answered with, why that is no success ("" if it is
// one), and how long it took.
func (s *Sender) Ping(ctx context.Context, w chat.Webhook) (status int, problem string, took time.Duration) {
	data, _ := json.Marshal(map[string]string{"webhook": w.ID})
	began := s.opts.Now()
	b, err := body(&chat.Event{Kind: "ping", At: began.UnixMilli(), Body: data})
	if err != nil {
		return 0, "the ping cannot be written", 0
	}
	a := s.post(ctx, &w, "msg_ping_"+strings.ToLower(rand.Text()[:16]), b)
	return a.status, a.problem, s.opts.Now().Sub(began)
}
