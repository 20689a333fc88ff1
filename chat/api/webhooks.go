package api

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
)

// Webhooks keeps the endpoints that are told of events, and the queue.
type Webhooks interface {
	Webhooks(ctx context.Context) ([]chat.Webhook, error)
	AddWebhook(ctx context.Context, w chat.Webhook) error
	// EditWebhook changes one as one step; CodeNotFound if there is none.
	EditWebhook(ctx context.Context, id string, edit func(*chat.Webhook) error) (chat.Webhook, error)
	// RemoveWebhook ends one with its deliveries; false if there is none.
	RemoveWebhook(ctx context.Context, id string) (bool, error)
	WebhookQueue(ctx context.Context, id string) (chat.WebhookQueue, error)
	Deliveries(ctx context.Context, q chat.WebhookQuery) ([]chat.WebhookDelivery, error)
	// Resend has a delivery tried again, ResendFailed all that were given up.
	Resend(ctx context.Context, id string, seq int64) (chat.WebhookDelivery, error)
	ResendFailed(ctx context.Context, id string) (int, error)
}

// Courier makes the deliveries: *webhook.Sender.
type Courier interface {
	// Ping sends a test event now, once, and says what came of it.
	Ping(ctx context.Context, w chat.Webhook) (status int, problem string, took time.Duration)
	// Hurry ends an endpoint's pause after failures.
	Hurry(id string)
}

const (
	secretPrefix = "whsec_"
	secretBytes  = 32

	// oldSecretFor is how long the secret before signs as well.
	oldSecretFor = 24 * time.Hour
)

// WebhookInfo is an endpoint as it is shown: without its secret.
type WebhookInfo struct {
	ID           string   `json:"id"`
	URL          string   `json:"url"`
	Events       []string `json:"events" nullable:"false" doc:"Kinds of events, each whole or as a beginning and *"`
	Topics       []string `json:"topics" nullable:"false" doc:"Where events that are no voucher's are told from"`
	AllowPrivate bool     `json:"allow_private" doc:"It may be at an address of this computer or of a private network"`
	Note         string   `json:"note"`
	Status       string   `json:"status" enum:"active,failing,disabled"`
	CreatedAt    int64    `json:"created_at" doc:"Milliseconds since 1970 UTC, like all times"`
	FailingSince int64    `json:"failing_since,omitempty" doc:"Since then no attempt has succeeded"`
	DisabledAt   int64    `json:"disabled_at,omitempty" doc:"Since then nothing is queued for it"`
	DisabledWhy  string   `json:"disabled_why,omitempty"`
	Waiting      int      `json:"waiting" doc:"Deliveries that are not made yet"`
	Failed       int      `json:"failed" doc:"Deliveries that were given up, as far as they are kept"`
	DeliveredAt  int64    `json:"delivered_at,omitempty" doc:"The last success"`
}

// NewWebhook asks for an endpoint.
type NewWebhook struct {
	URL          string   `json:"url" doc:"What is called: http or https" example:"https://shop.example/teahouse.php"`
	Events       []string `json:"events,omitempty" nullable:"true" doc:"Kinds of events, each whole or as a beginning and *. Without them: voucher.*" example:"[\"voucher.*\"]"`
	Topics       []string `json:"topics,omitempty" nullable:"true" doc:"Where events that are no voucher's are told from, as in room:lobby or room:*. Vouchers are told of whoever owns them"`
	AllowPrivate bool     `json:"allow_private,omitempty" doc:"It may be at an address of this computer (127.0.0.1) or of a private network"`
	Note         string   `json:"note,omitempty" nullable:"true" doc:"What it is for, up to 100 characters"`
	Secret       string   `json:"secret,omitempty" nullable:"true" doc:"With which requests are signed: whsec_ and the base64 of 24 to 64 random bytes. One is made if it is missing"`
}

// WebhookChange is what is to be changed. What is missing stays.
type WebhookChange struct {
	URL          *string   `json:"url,omitempty"`
	Events       *[]string `json:"events,omitempty"`
	Topics       *[]string `json:"topics,omitempty"`
	AllowPrivate *bool     `json:"allow_private,omitempty"`
	Note         *string   `json:"note,omitempty"`
	Enabled      *bool     `json:"enabled,omitempty" doc:"false: nothing is queued from now on, and what waits waits; true: on again"`
}

// WebhookSecret is an endpoint and its secret, the only time that it is shown.
type WebhookSecret struct {
	Webhook  WebhookInfo `json:"webhook"`
	Secret   string      `json:"secret" doc:"For the receiver, to check signatures with (Standard Webhooks). It cannot be shown again"`
	OldUntil int64       `json:"old_until,omitempty" doc:"Until then the secret before signs as well"`
}

// WebhookPing is what a test event was answered with.
type WebhookPing struct {
	OK     bool   `json:"ok"`
	Status int    `json:"status,omitempty" doc:"The HTTP status; missing if there was no answer"`
	Error  string `json:"error,omitempty"`
	TookMS int64  `json:"took_ms"`
}

// WebhookDelivery is one event for one endpoint.
type WebhookDelivery struct {
	Seq       int64             `json:"seq" doc:"Of the event; it names the delivery"`
	WebhookID string            `json:"webhook_id" doc:"The header webhook-id of each attempt"`
	Event     string            `json:"event" doc:"The event's kind"`
	Topic     string            `json:"topic"`
	Voucher   string            `json:"voucher,omitempty" doc:"The code of the voucher that it is about"`
	At        int64             `json:"at" doc:"When it happened"`
	State     chat.WebhookState `json:"state" enum:"waiting,delivered,failed"`
	Attempts  int               `json:"attempts"`
	TriedAt   int64             `json:"tried_at,omitempty"`
	NextAt    int64             `json:"next_at,omitempty" doc:"When it is tried next; missing while it waits for the one before of the same voucher, and at the end"`
	Status    int               `json:"status,omitempty" doc:"What the last attempt was answered with"`
	Error     string            `json:"error,omitempty" doc:"Why the last attempt was no success"`
	EndedAt   int64             `json:"ended_at,omitempty"`
}

// WebhookDeliveries is a part of a list.
type WebhookDeliveries struct {
	Deliveries []WebhookDelivery `json:"deliveries" nullable:"false" doc:"Newest event first"`
	Cursor     string            `json:"cursor,omitempty" doc:"Of the next page; missing on the last one"`
}

// Resent is how many deliveries are tried again.
type Resent struct {
	Count int `json:"count"`
}

type newWebhookInput struct {
	IdempotencyHeader
	Body NewWebhook
}

type webhookInput struct {
	ID string `path:"id" doc:"The webhook"`
}

type webhookPost struct {
	IdempotencyHeader
	ID string `path:"id" doc:"The webhook"`
}

type changeWebhookInput struct {
	ID   string `path:"id" doc:"The webhook"`
	Body WebhookChange
}

type resendInput struct {
	IdempotencyHeader
	ID  string `path:"id" doc:"The webhook"`
	Seq int64  `path:"seq" doc:"The event"`
}

type deliveriesInput struct {
	ID     string `path:"id" doc:"The webhook"`
	State  string `query:"state" enum:"waiting,delivered,failed" doc:"Only these"`
	Cursor string `query:"cursor" doc:"The next page: what the one before gave as cursor"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many at most"`
}

type (
	webhookOutput       struct{ Body WebhookInfo }
	webhookSecretOutput struct{ Body WebhookSecret }
	webhookPingOutput   struct{ Body WebhookPing }
	deliveryOutput      struct{ Body WebhookDelivery }
	deliveriesOutput    struct{ Body WebhookDeliveries }
	resentOutput        struct{ Body Resent }
	webhooksOutput      struct {
		Body struct {
			Webhooks []WebhookInfo `json:"webhooks" nullable:"false" doc:"Oldest first"`
		}
	}
)

func (a *API) registerWebhooks() {
	const path, tag = "/api/v1/webhooks", "Webhooks"
	register(a, roleOperator, huma.Operation{
		OperationID: "createWebhook", Method: http.MethodPost, Path: path, Tags: []string{tag},
		Summary: "Have a URL told of events",
		Description: "Each event is a POST, signed as Standard Webhooks says (webhook-id, webhook-timestamp, webhook-signature). What happens to one voucher is told in order. " +
			"A 2xx within 15 s is a success; anything else is tried again for three days, less and less often; 410 disables the webhook. " +
			"The secret is in this answer and nowhere else, so the same request again is a 409. " +
			"Addresses of this computer and of private networks are refused unless allow_private is set.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout, DefaultStatus: http.StatusCreated,
		Metadata: map[string]any{metaVault: webhookVault{}, metaSecret: "secret"},
	}, a.createWebhook)
	register(a, roleKey, huma.Operation{
		OperationID: "listWebhooks", Method: http.MethodGet, Path: path, Tags: []string{tag},
		Summary: "List the webhooks",
	}, func(ctx context.Context, _ *struct{}) (*webhooksOutput, error) {
		list, err := a.opts.Store.Webhooks(ctx)
		out := &webhooksOutput{}
		out.Body.Webhooks = make([]WebhookInfo, len(list))
		for i := range list {
			if err == nil {
				out.Body.Webhooks[i], err = a.webhookInfo(ctx, &list[i])
			}
		}
		return out, err
	})
	register(a, roleOperator, huma.Operation{
		OperationID: "changeWebhook", Method: http.MethodPatch, Path: path + "/{id}", Tags: []string{tag},
		Summary:      "Change, enable or disable a webhook",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
	}, a.changeWebhook)
	register(a, roleOperator, huma.Operation{
		OperationID: "removeWebhook", Method: http.MethodDelete, Path: path + "/{id}", Tags: []string{tag},
		Summary:       "Remove a webhook",
		Description:   "What waits for it is dropped.",
		DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *webhookInput) (*struct{}, error) {
		ok, err := a.opts.Store.RemoveWebhook(ctx, in.ID)
		if err == nil && !ok {
			err = noWebhook(in.ID)
		}
		return nil, err
	})
	register(a, roleOperator, huma.Operation{
		OperationID: "rotateWebhookSecret", Method: http.MethodPost, Path: path + "/{id}/rotate", Tags: []string{tag},
		Summary:      "Replace a webhook's secret",
		Description:  "For 24 hours requests are signed with both, so that the receiver can be changed in between.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
		Metadata: map[string]any{metaVault: webhookVault{}},
	}, a.rotateWebhook)
	register(a, roleKey, huma.Operation{
		OperationID: "pingWebhook", Method: http.MethodPost, Path: path + "/{id}/ping", Tags: []string{tag},
		Summary:      "Send a test event",
		Description:  "An event of type ping, at once and once, also to a webhook that is disabled. The answer says what came of it.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
	}, func(ctx context.Context, in *webhookPost) (*webhookPingOutput, error) {
		w, err := a.webhook(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		if a.opts.Courier == nil {
			return nil, chat.Errorf(chat.CodeBusy, "this server sends no webhooks")
		}
		status, problem, took := a.opts.Courier.Ping(ctx, *w)
		return &webhookPingOutput{WebhookPing{OK: problem == "", Status: status, Error: problem, TookMS: took.Milliseconds()}}, nil
	})
	register(a, roleKey, huma.Operation{
		OperationID: "listWebhookDeliveries", Method: http.MethodGet, Path: path + "/{id}/deliveries", Tags: []string{tag},
		Summary:     "List a webhook's deliveries",
		Description: "What was delivered is kept for 3 days, what was given up for 30, and of each the newest 10,000.",
	}, a.listDeliveries)
	register(a, roleKey, huma.Operation{
		OperationID: "resendWebhookDelivery", Method: http.MethodPost, Path: path + "/{id}/deliveries/{seq}/resend", Tags: []string{tag},
		Summary:      "Send an event again",
		Description:  "With the webhook-id that it had. What waits is tried at once; what has ended is tried like a new one.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
	}, func(ctx context.Context, in *resendInput) (*deliveryOutput, error) {
		d, err := a.opts.Store.Resend(ctx, in.ID, in.Seq)
		if err != nil {
			return nil, err
		}
		a.hurry(in.ID)
		return &deliveryOutput{deliveryInfo(&d)}, nil
	})
	register(a, roleKey, huma.Operation{
		OperationID: "resendFailedWebhookDeliveries", Method: http.MethodPost, Path: path + "/{id}/resend-failed", Tags: []string{tag},
		Summary:      "Send all again that was given up",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
	}, func(ctx context.Context, in *webhookPost) (*resentOutput, error) {
		if _, err := a.webhook(ctx, in.ID); err != nil {
			return nil, err
		}
		n, err := a.opts.Store.ResendFailed(ctx, in.ID)
		a.hurry(in.ID)
		return &resentOutput{Resent{n}}, err
	})
}

func noWebhook(id string) error {
	return chat.Errorf(chat.CodeNotFound, "there is no webhook with the id %q; list them to see the ids", id)
}

func (a *API) webhook(ctx context.Context, id string) (*chat.Webhook, error) {
	list, err := a.opts.Store.Webhooks(ctx)
	for i := range list {
		if list[i].ID == id {
			return &list[i], err
		}
	}
	if err == nil {
		err = noWebhook(id)
	}
	return nil, err
}

func (a *API) hurry(id string) {
	if a.opts.Courier != nil {
		a.opts.Courier.Hurry(id)
	}
}

func (a *API) webhookInfo(ctx context.Context, w *chat.Webhook) (WebhookInfo, error) {
	q, err := a.opts.Store.WebhookQueue(ctx, w.ID)
	i := WebhookInfo{ID: w.ID, URL: w.URL, Events: list(w.Kinds), Topics: list(w.Topics), AllowPrivate: w.Private, Note: w.Note, Status: "active",
		CreatedAt: w.CreatedAt, FailingSince: w.FailingSince, DisabledAt: w.DisabledAt, DisabledWhy: w.DisabledWhy,
		Waiting: q.Waiting, Failed: q.Failed, DeliveredAt: q.DeliveredAt}
	switch {
	case w.DisabledAt > 0:
		i.Status = "disabled"
	case w.FailingSince > 0:
		i.Status = "failing"
	}
	return i, err
}

// list is never null.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func deliveryInfo(d *chat.WebhookDelivery) WebhookDelivery {
	e := &d.Event
	i := WebhookDelivery{Seq: e.Seq, WebhookID: d.Message, Event: e.Kind, Topic: e.Topic, At: e.At, State: d.State, Attempts: d.Attempts,
		TriedAt: d.TriedAt, NextAt: d.Due, Status: d.Status, Error: d.Error, EndedAt: d.EndedAt}
	if d.Lane != e.Topic {
		i.Voucher = d.Lane
	}
	return i
}

func newSecret() []byte {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b)
	return b
}

func showSecret(b []byte) string { return secretPrefix + base64.StdEncoding.EncodeToString(b) }

func (a *API) createWebhook(ctx context.Context, in *newWebhookInput) (*webhookSecretOutput, error) {
	b := &in.Body
	w := chat.Webhook{ID: "wh_" + strings.ToLower(rand.Text()[:12]), URL: b.URL, Note: b.Note, Kinds: b.Events, Topics: b.Topics,
		Private: b.AllowPrivate, Secret: newSecret(), CreatedAt: a.opts.Now().UnixMilli()}
	if len(w.Kinds) == 0 {
		w.Kinds = []string{"voucher.*"}
	}
	if b.Secret != "" {
		var err error
		rest, ok := strings.CutPrefix(b.Secret, secretPrefix)
		if w.Secret, err = base64.StdEncoding.DecodeString(rest); err != nil || !ok {
			return nil, chat.Errorf(chat.CodeBadRequest, "the secret must be whsec_ and base64; leave it out, and one is made")
		}
	}
	if err := w.Check(); err != nil {
		return nil, err
	}
	if err := a.opts.Store.AddWebhook(ctx, w); err != nil {
		return nil, err
	}
	info, err := a.webhookInfo(ctx, &w)
	return &webhookSecretOutput{WebhookSecret{Webhook: info, Secret: showSecret(w.Secret)}}, err
}

func (a *API) changeWebhook(ctx context.Context, in *changeWebhookInput) (*webhookOutput, error) {
	b := &in.Body
	w, err := a.opts.Store.EditWebhook(ctx, in.ID, func(w *chat.Webhook) error {
		set(&w.URL, b.URL)
		set(&w.Kinds, b.Events)
		set(&w.Topics, b.Topics)
		set(&w.Private, b.AllowPrivate)
		set(&w.Note, b.Note)
		switch {
		case b.Enabled == nil:
		case *b.Enabled:
			w.DisabledAt, w.DisabledWhy, w.FailingSince = 0, "", 0
		case w.DisabledAt == 0:
			w.DisabledAt, w.DisabledWhy = a.opts.Now().UnixMilli(), "by the operator"
		}
		return w.Check()
	})
	if err != nil {
		return nil, err
	}
	a.hurry(in.ID)
	info, err := a.webhookInfo(ctx, &w)
	return &webhookOutput{info}, err
}

// set changes what is named.
func set[T any](place *T, to *T) {
	if to != nil {
		*place = *to
	}
}

func (a *API) rotateWebhook(ctx context.Context, in *webhookPost) (*webhookSecretOutput, error) {
	w, err := a.opts.Store.EditWebhook(ctx, in.ID, func(w *chat.Webhook) error {
		w.OldSecret, w.OldUntil = w.Secret, a.opts.Now().Add(oldSecretFor).UnixMilli()
		w.Secret = newSecret()
		return nil
	})
	if err != nil {
		return nil, err
	}
	info, err := a.webhookInfo(ctx, &w)
	return &webhookSecretOutput{WebhookSecret{Webhook: info, Secret: showSecret(w.Secret), OldUntil: w.OldUntil}}, err
}

func (a *API) listDeliveries(ctx context.Context, in *deliveriesInput) (*deliveriesOutput, error) {
	if _, err := a.webhook(ctx, in.ID); err != nil {
		return nil, err
	}
	q := chat.WebhookQuery{Webhook: in.ID, State: chat.WebhookState(in.State), Limit: in.Limit + 1}
	if in.Cursor != "" {
		before, err := strconv.ParseInt(in.Cursor, cursorBase, 64)
		if err != nil || before <= 0 {
			return nil, chat.Errorf(chat.CodeBadRequest, "this is not a cursor of this list; begin without one")
		}
		q.Before = before
	}
	deliveries, err := a.opts.Store.Deliveries(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &deliveriesOutput{WebhookDeliveries{Deliveries: []WebhookDelivery{}}}
	if len(deliveries) > in.Limit {
		deliveries = deliveries[:in.Limit]
		out.Body.Cursor = strconv.FormatInt(deliveries[in.Limit-1].Event.Seq, cursorBase)
	}
	for i := range deliveries {
		out.Body.Deliveries = append(out.Body.Deliveries, deliveryInfo(&deliveries[i]))
	}
	return out, nil
}

// webhookVault keeps nothing of an answer with a webhook's secret.
type webhookVault struct{}

func (webhookVault) keep([]byte) ([]byte, error) { return nil, nil }

func (webhookVault) give([]byte) ([]byte, error) {
	return nil, chat.Errorf(chat.CodeKeyReused, "this very request was answered before, with a secret that is not shown twice. If it is lost, rotate the webhook's secret with a new %s", headerKey)
}
