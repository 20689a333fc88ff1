package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
)

// Agenda is the part of chat.Store in which events wait for their time.
type Agenda interface {
	Scheduled(ctx context.Context, q chat.ScheduledQuery) ([]chat.Scheduled, error)
	Unschedule(ctx context.Context, id string) (bool, error)
}

// ScheduledEvent is an event that comes later, to one topic or to many.
type ScheduledEvent struct {
	ID     string          `json:"id"`
	At     int64           `json:"at" doc:"When it is due, milliseconds since 1970 UTC"`
	MadeAt int64           `json:"made_at" doc:"When it was scheduled, milliseconds since 1970 UTC"`
	Count  int             `json:"count" doc:"To how many topics it goes"`
	Topics []string        `json:"topics" nullable:"false" doc:"They, the first 100 of them"`
	Kind   string          `json:"kind"`
	From   string          `json:"from" doc:"The user in whose name it is sent; empty for the house itself"`
	Key    string          `json:"key,omitempty" doc:"The sender's key for it"`
	Body   json.RawMessage `json:"body" doc:"Any JSON value"`
	TTL    int64           `json:"ttl_s,omitempty" doc:"So many seconds after at it is not repeated any more"`
}

// ScheduledPage is a part of what comes later.
type ScheduledPage struct {
	Scheduled []ScheduledEvent `json:"scheduled" nullable:"false" doc:"In the order in which it will come"`
	Cursor    string           `json:"cursor,omitempty" doc:"Of the next page; missing on the last one"`
}

type scheduledInput struct {
	Cursor string `query:"cursor" doc:"The next page: what the one before gave as cursor"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many at most"`
}

type scheduledOutput struct{ Body ScheduledPage }

type cancelInput struct {
	ID string `path:"id" doc:"What is scheduled, by the id that publish answered"`
}

// namedTopics is how many topics a list names of each entry.
const namedTopics = 100

func (a *API) registerScheduled() {
	const path, tag = "/api/v1/scheduled", "Events"
	register(a, roleKey, huma.Operation{
		OperationID: "listScheduled", Method: http.MethodGet, Path: path, Tags: []string{tag},
		Summary: "List what is scheduled",
	}, a.listScheduled)
	register(a, roleKey, huma.Operation{
		OperationID: "cancelScheduled", Method: http.MethodDelete, Path: path + "/{id}", Tags: []string{tag},
		Summary: "Cancel what is scheduled",
		Description: "None of its recipients will get it. After its time this is a 404: it has been delivered. " +
			"Its key is free again, except for a request with the same Idempotency-Key, which gets its first answer.",
		DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *cancelInput) (*struct{}, error) {
		found, err := a.opts.Store.Unschedule(ctx, in.ID)
		if err == nil && !found {
			err = chat.Errorf(chat.CodeNotFound, "nothing with the id %q is scheduled; it may have been delivered or cancelled already", in.ID)
		}
		return nil, err
	})
}

func (a *API) listScheduled(ctx context.Context, in *scheduledInput) (*scheduledOutput, error) {
	q := chat.ScheduledQuery{Limit: in.Limit + 1, Names: namedTopics}
	if in.Cursor != "" {
		due, n, _ := strings.Cut(in.Cursor, ".")
		var errs [2]error
		q.Due, errs[0] = strconv.ParseInt(due, cursorBase, 64)
		q.N, errs[1] = strconv.ParseInt(n, cursorBase, 64)
		if errors.Join(errs[:]...) != nil || q.Due <= 0 || q.N <= 0 {
			return nil, chat.Errorf(chat.CodeBadRequest, "this is not a cursor of this list; begin without one")
		}
	}
	list, err := a.opts.Store.Scheduled(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &scheduledOutput{ScheduledPage{Scheduled: []ScheduledEvent{}}}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		last := list[in.Limit-1]
		out.Body.Cursor = strconv.FormatInt(last.Due, cursorBase) + "." + strconv.FormatInt(last.N, cursorBase)
	}
	for _, s := range list {
		e := ScheduledEvent{
			ID: s.ID, At: s.Due, MadeAt: s.Made, Count: s.Count, Topics: s.Topics,
			Kind: s.Event.Kind, From: s.Event.From, Key: s.Event.Key, Body: s.Event.Body,
		}
		if s.Event.Expires != 0 {
			e.TTL = (s.Event.Expires - s.Due) / 1000
		}
		out.Body.Scheduled = append(out.Body.Scheduled, e)
	}
	return out, nil
}

// cursorBase is that of the numbers in cursors.
const cursorBase = 36
