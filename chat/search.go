package chat

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	searchText = 200                    // bytes of what is looked for
	searchLook = 5000                   // events that one call looks at, at most,
	searchTime = 200 * time.Millisecond // or as many as it manages in about this time
	searchPage = 200
)

// doSearch answers with messages whose text contains what is asked for. It
// looks at a part of the topic only, from the newest on; the client goes on
// from there.
func (c *Client) doSearch(cmd *Command) error {
	if err := c.may(asksSearch); err != nil {
		return err
	}
	if err := c.mayRead(cmd.Topic); err != nil {
		return err
	}
	what := fold(strings.TrimSpace(cmd.Text))
	switch {
	case what == "":
		return Errorf(CodeBadRequest, `a search needs a "text" to look for`)
	case len(what) > searchText:
		return Errorf(CodeBadRequest, "the text to look for is %d bytes long; at most %d are allowed", len(what), searchText)
	}
	limit := cmd.Limit
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 500)
	return c.answerFresh(c.hub.looks, func(ctx context.Context) (*Reply, []string, error) {
		r := &Reply{Op: ReplySearch, ID: cmd.ID, Topic: cmd.Topic}
		err := c.hub.search(ctx, r, what, cmd.Before, limit)
		return r, []string{cmd.Topic}, err
	})
}

// search fills a reply with what it finds below a Seq, 0 for the whole topic.
func (h *Hub) search(ctx context.Context, r *Reply, what string, before int64, limit int) error {
	began, size := time.Now(), 0
	for looked := 0; ; {
		events, err := h.store.Before(ctx, r.Topic, before, searchPage)
		if err != nil {
			return err
		}
		looked += len(events)
		for i := len(events) - 1; i >= 0; i-- {
			e := &events[i]
			if !says(e, what) {
				continue
			}
			if len(r.Events) == limit || size+len(e.Body) > historyBytes && size > 0 {
				r.Before, r.More = r.Events[len(r.Events)-1].Seq, true
				slices.Reverse(r.Events)
				return nil
			}
			size += len(e.Body)
			r.Events = append(r.Events, *e)
		}
		if len(events) > 0 {
			before = events[0].Seq
		}
		if r.More = len(events) == searchPage; !r.More || looked >= searchLook || time.Since(began) > searchTime {
			r.Before = max(before, 0)
			slices.Reverse(r.Events)
			return nil
		}
	}
}

// says reports whether a message's text contains what, which is folded.
func says(e *Event, what string) bool {
	if e.Kind != KindMessage || e.Recalled() {
		return false
	}
	var body struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(e.Body, &body) != nil && body.Text == "" {
		return false // a body may be anything
	}
	return strings.Contains(fold(body.Text), what)
}

// fold makes texts that differ in upper and lower case the same.
func fold(s string) string {
	for i := range len(s) {
		if b := s[i]; b >= utf8.RuneSelf || b >= 'A' && b <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}
