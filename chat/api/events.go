package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
)

// PublishRequest is an event for one topic, or for the inboxes of users.
type PublishRequest struct {
	Topic string          `json:"topic,omitempty" nullable:"true" doc:"Where to: room:NAME, user:ID or dm:A:B. Either this or to" example:"room:lobby"`
	To    []string        `json:"to,omitempty" minItems:"1" maxItems:"10000" doc:"Or: to the inboxes of these users, each once"`
	Kind  string          `json:"kind,omitempty" nullable:"true" default:"message" doc:"What the body is: letters, digits, '.', '_' and '-'"`
	From  string          `json:"from,omitempty" nullable:"true" doc:"The user in whose name it is sent; the house itself without it"`
	Body  json.RawMessage `json:"body" doc:"Any JSON value of up to 16 KiB"`
	Key   string          `json:"key,omitempty" nullable:"true" doc:"The sender's key for this event: the same key never makes a second event in a topic. Derived from Idempotency-Key if that is given and this is not"`
	TTL   int64           `json:"ttl_s,omitempty" nullable:"true" minimum:"1" maximum:"315360000" doc:"After so many seconds, counted from its delivery or from at, the event is neither replayed to those who come back nor shown in history; never without it. Who is live gets it in any case"`
	At    int64           `json:"at,omitempty" nullable:"true" doc:"Deliver it then, milliseconds since 1970 UTC; at once if that has passed. The answer names what is scheduled" example:"1795253000000"`
}

// Published says what became of a PublishRequest.
type Published struct {
	Events []PublishedEvent `json:"events" nullable:"false" doc:"In the order of the recipients"`
	Online int              `json:"online" doc:"To how many live connections all of them went"`
	// Scheduled is set if something of it comes later.
	Scheduled *Schedule `json:"scheduled,omitempty" doc:"What is to come later. It can be listed and cancelled at /api/v1/scheduled until then"`
}

// Schedule names what comes later.
type Schedule struct {
	ID string `json:"id"`
	At int64  `json:"at" doc:"When, milliseconds since 1970 UTC"`
}

// PublishedEvent is one event that is in the log now, or is scheduled.
type PublishedEvent struct {
	Topic     string `json:"topic"`
	Seq       int64  `json:"seq,omitempty" doc:"It is stored: its place in the log. Missing only if it is scheduled"`
	Online    int    `json:"online" doc:"To how many live connections it went"`
	Duplicate bool   `json:"duplicate,omitempty" doc:"It was there already, by its key: this is the first one's place, and it was not sent again"`
	Scheduled string `json:"scheduled,omitempty" doc:"It comes later: the id of what is scheduled"`
}

type publishInput struct {
	IdempotencyHeader
	Body PublishRequest
}

type publishOutput struct{ Body Published }

func (a *API) registerEvents() {
	register(a, roleKey, huma.Operation{
		OperationID: "publish", Method: http.MethodPost, Path: "/api/v1/events", Tags: []string{"Events"},
		Summary: "Publish an event",
		Description: "Appends an event to the log, in a topic or in the inboxes of up to 10,000 users, and hands it to those who are online. " +
			"When this answers, the event is durable; who is offline gets it on coming back. All recipients get it, or none. " +
			"With `at` it comes later, also after a restart.",
		MaxBodyBytes: eventsBody, BodyReadTimeout: callTimeout,
	}, a.publish)
}

func (a *API) publish(ctx context.Context, in *publishInput) (*publishOutput, error) {
	events, derived, err := a.events(ctx, &in.Body)
	if err != nil {
		return nil, err
	}
	deliveries, err := a.deliver(ctx, &in.Body, events)
	if err != nil {
		return nil, logged(callOf(ctx), err)
	}
	out := &publishOutput{Published{Events: make([]PublishedEvent, len(deliveries))}}
	for i, d := range deliveries {
		// A crash may have come between the append and the keeping of its
		// answer: then it shows only here that the body is another one.
		if derived && d.Duplicate && (d.Event.Kind != events[i].Kind || !bytes.Equal(d.Event.Body, events[i].Body) || d.Scheduled != "" && d.Due != in.Body.At) {
			return nil, chat.Errorf(chat.CodeKeyReused, "this %s was used with another body; take a new one for a new request", headerKey)
		}
		out.Body.Events[i] = PublishedEvent{Topic: d.Event.Topic, Seq: d.Event.Seq, Online: d.Online, Duplicate: d.Duplicate, Scheduled: d.Scheduled}
		out.Body.Online += d.Online
		// Of several, which have one key, what this call has added is named.
		if d.Scheduled != "" && (out.Body.Scheduled == nil || !d.Duplicate) {
			out.Body.Scheduled = &Schedule{ID: d.Scheduled, At: d.Due}
		}
	}
	return out, nil
}

// maxLater is how far ahead an event can be scheduled. A time in microseconds
// is beyond it, one in seconds is before minAt: both are mistakes.
const (
	maxLater = 10 * 366 * 24 * time.Hour
	minAt    = 100_000_000_000 // in 1973
)

// deliver publishes the events, or schedules them.
func (a *API) deliver(ctx context.Context, in *PublishRequest, events []chat.Event) ([]chat.Delivery, error) {
	now := a.opts.Now()
	later := in.At > now.UnixMilli()
	switch {
	case in.At != 0 && in.At < minAt:
		return nil, chat.Errorf(chat.CodeBadRequest, "at is %d; it counts milliseconds since 1970 UTC, not seconds", in.At)
	case in.At > now.Add(maxLater).UnixMilli():
		return nil, chat.Errorf(chat.CodeBadRequest, "at is %d; it counts milliseconds since 1970 UTC, and may be up to ten years ahead", in.At)
	}
	if in.TTL > 0 {
		expires := now.UnixMilli() + in.TTL*1000
		if later {
			expires = in.At + in.TTL*1000
		}
		for i := range events {
			events[i].Expires = expires
		}
	}
	if !later {
		return a.opts.Hub.Publish(ctx, events)
	}
	s := chat.Scheduled{Due: in.At, Event: events[0], Topics: make([]string, len(events))}
	s.Event.Topic = ""
	for i := range events {
		s.Topics[i] = events[i].Topic
	}
	return a.opts.Hub.Schedule(ctx, s)
}

// events makes the events that the request asks for; derived says that their
// key comes from the request's idempotency key.
func (a *API) events(ctx context.Context, in *PublishRequest) (events []chat.Event, derived bool, err error) {
	limits := a.opts.Hub.Limits()
	var body bytes.Buffer
	if len(in.Body) > 0 {
		if err := json.Compact(&body, in.Body); err != nil {
			return nil, false, chat.Errorf(chat.CodeBadRequest, "the body is not a JSON value")
		}
	}
	proto := chat.Event{Kind: in.Kind, From: in.From, Key: in.Key, Body: body.Bytes()}
	if c := callOf(ctx); proto.Key == "" && c.once != "" {
		proto.Key, derived = "idem."+c.once[:26], true // 130 bits; it goes to every client
	}
	var topics []string
	switch {
	case in.Topic != "" && in.To != nil || in.Topic == "" && in.To == nil:
		return nil, false, chat.Errorf(chat.CodeBadRequest, `name either a "topic" or, in "to", the users whose inboxes it goes to`)
	case in.Topic != "":
		topics = []string{in.Topic}
	default:
		seen := make(map[string]bool, len(in.To))
		for i, user := range in.To {
			if err := limits.CheckUser(user); err != nil {
				return nil, false, chat.Errorf(chat.CodeBadUser, "to[%d]: %s", i, chat.AsError(err).Message)
			}
			if !seen[user] {
				seen[user] = true
				topics = append(topics, chat.Inbox(user))
			}
		}
	}
	events = make([]chat.Event, len(topics))
	for i, topic := range topics {
		events[i] = proto
		events[i].Topic = topic
		if i > 0 { // the rest is the same for all
			err = limits.CheckTopic(topic)
		} else {
			err = limits.CheckEvent(&events[i])
		}
		if err != nil {
			return nil, false, err
		}
	}
	return events, derived, nil
}
