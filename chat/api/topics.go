package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
)

// Event is an event as the native protocol shows it.
type Event struct {
	Topic string          `json:"topic"`
	Seq   int64           `json:"seq" doc:"Its place in the log, for after and before"`
	Kind  string          `json:"kind"`
	From  string          `json:"from" doc:"The user who sent it; empty for the house itself"`
	Key   string          `json:"key,omitempty" doc:"The sender's key for it"`
	Body  json.RawMessage `json:"body" doc:"Any JSON value"`
	At    int64           `json:"at" doc:"Milliseconds since 1970 UTC"`
}

// History is a page of a topic's events.
type History struct {
	Events []Event `json:"events" nullable:"false" doc:"Newest last"`
	More   bool    `json:"more" doc:"There are more in the direction of paging: newer ones with after, older ones otherwise"`
	Epoch  string  `json:"epoch" doc:"Names this log. With another epoch than the last time, a restored backup or a new database, a remembered seq means nothing: begin anew"`
}

// seqParam is a parameter of which 0 is not the same as its absence.
type seqParam struct {
	seq int64
	set bool
}

// Schema is for huma.
func (seqParam) Schema(huma.Registry) *huma.Schema {
	lowest := 0.0
	return &huma.Schema{Type: huma.TypeInteger, Format: "int64", Minimum: &lowest}
}

// Receiver is for huma.
func (s *seqParam) Receiver() reflect.Value { return reflect.ValueOf(&s.seq).Elem() }

// OnParamSet is for huma.
func (s *seqParam) OnParamSet(set bool, _ any) { s.set = set }

type historyInput struct {
	Topic  string   `path:"topic" doc:"The topic, URL-escaped" example:"room:lobby"`
	After  seqParam `query:"after" doc:"Pages forwards: the oldest events above this seq; 0 from the beginning"`
	Before seqParam `query:"before" doc:"Pages backwards: the newest events below this seq"`
	Limit  int      `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many at most"`
}

type historyOutput struct{ Body History }

func (a *API) registerTopics() {
	register(a, roleKey, huma.Operation{
		OperationID: "history", Method: http.MethodGet, Path: "/api/v1/topics/{topic}/events", Tags: []string{"Events"},
		Summary:     "Read a topic's history",
		Description: "The newest page without `after` and `before`. Both together: the events between the two, oldest first.",
	}, a.history)
}

func (a *API) history(ctx context.Context, in *historyInput) (*historyOutput, error) {
	if err := a.opts.Hub.Limits().CheckTopic(in.Topic); err != nil {
		return nil, err
	}
	head, err := a.opts.Store.Head(ctx)
	if err != nil {
		return nil, err
	}
	// One more than asked for shows whether there are more.
	var page []chat.Event
	var more bool
	if in.After.set {
		page, err = a.opts.Store.Replay(ctx, []string{in.Topic}, in.After.seq, in.Limit+1)
		if in.Before.set {
			for i := range page {
				if page[i].Seq >= in.Before.seq {
					page = page[:i]
					break
				}
			}
		}
		if more = len(page) > in.Limit; more {
			page = page[:in.Limit]
		}
	} else if before := in.Before.seq; !in.Before.set || before > 1 { // below 1 there is nothing
		if !in.Before.set {
			before = 0 // from the newest on
		}
		page, err = a.opts.Store.Before(ctx, in.Topic, before, in.Limit+1)
		if more = len(page) > in.Limit; more {
			page = page[len(page)-in.Limit:]
		}
	}
	if err != nil {
		return nil, err
	}
	out := &historyOutput{History{Events: make([]Event, len(page)), More: more, Epoch: head.Epoch}}
	for i, e := range page {
		out.Body.Events[i] = Event{Topic: e.Topic, Seq: e.Seq, Kind: e.Kind, From: e.From, Key: e.Key, Body: e.Body, At: e.At}
	}
	return out, nil
}
