package chat

import (
	"context"
	"encoding/json"
	"slices"
	"sort"
	"time"
)

// KindMessage is the kind of a chat line; KindRecalled that of the event which
// takes one back. Its body is {"seq":N}.
const (
	KindMessage  = "message"
	KindRecalled = "message.recalled"
)

// recalledBody is what the body of a recalled message becomes.
const recalledBody = `{"recalled":true}`

// RecalledBody returns the body of a recalled message: {"recalled":true}.
func RecalledBody() json.RawMessage { return json.RawMessage(recalledBody) }

// Recalled reports a message of which the text was taken back.
func (e *Event) Recalled() bool { return e.Kind == KindMessage && string(e.Body) == recalledBody }

// Recall takes back a message: its text is gone, and an event tells of it.
type Recall struct {
	Event  Event         // what is appended: its Topic is the message's and its From the one who recalls
	Seq    int64         // of the message
	Window time.Duration // how long after it was sent a message can be recalled
}

// NewRecall returns the recall that an event of KindRecalled asks for. The
// error is an *Error that says what a body must be.
func NewRecall(e Event, window time.Duration) (Recall, error) {
	var body struct {
		Seq int64 `json:"seq"`
	}
	if err := json.Unmarshal(e.Body, &body); err != nil || body.Seq <= 0 {
		return Recall{}, Errorf(CodeBadRequest, `a recall's body names the message by its seq: {"seq":41}`)
	}
	e.Kind, e.Body = KindRecalled, recallBody(body.Seq)
	return Recall{Event: e, Seq: body.Seq, Window: window}, nil
}

func recallBody(seq int64) json.RawMessage {
	b, _ := json.Marshal(map[string]int64{"seq": seq})
	return b
}

// Check says whether the message, nil if there is none of this Seq, can be
// recalled at the time now, in ms since 1970 UTC. An error is an *Error.
func (r *Recall) Check(message *Event, now int64) error {
	switch {
	case message == nil || message.Topic != r.Event.Topic:
		return Errorf(CodeNotFound, "there is no message %d in this topic, or it is no longer kept", r.Seq)
	case message.Kind != KindMessage:
		return Errorf(CodeForbidden, "only messages can be recalled; %d is of kind %q", r.Seq, message.Kind)
	case message.From != r.Event.From:
		return Errorf(CodeForbidden, "a message can be recalled only by who sent it")
	case now > message.At+r.Window.Milliseconds():
		return Errorf(CodeRecallLate, "a message can be recalled for %s after it was sent; that time is over", r.Window)
	}
	return nil
}

// recall carries out a send of KindRecalled. Sends before it come first.
func (c *Client) recall(e Event, id json.RawMessage) error {
	window := c.hub.opts.RecallWindow
	if window <= 0 {
		return Errorf(CodeForbidden, "this server lets nobody recall a message")
	}
	r, err := NewRecall(e, window)
	if err != nil {
		return err
	}
	c.sendPending()
	if err := c.hub.commands.enter(); err != nil {
		return err
	}
	defer c.hub.commands.leave()
	return c.append([]Event{r.Event}, []json.RawMessage{id}, func(ctx context.Context, events ...Event) ([]Event, error) {
		r.Event = events[0] // with its Origin
		e, err := c.hub.store.Recall(ctx, r)
		return []Event{e}, err
	})
}

// forgetRecalled takes the texts out of the topic's memory of which the events
// tell that they were recalled. The caller holds topic.mu and Hub.talks.
func (t *topic) forgetRecalled(events []Event) {
	for i := range events {
		if events[i].Kind != KindRecalled {
			continue
		}
		r, err := NewRecall(events[i], 0)
		if err != nil {
			continue // no Store appends such a one
		}
		t.recalled = events[i].Seq
		at := sort.Search(len(t.recent), func(i int) bool { return t.recent[i].event.Seq >= r.Seq })
		if at < len(t.recent) && t.recent[at].event.Seq == r.Seq {
			t.recent[at].event.Body = RecalledBody()
			t.recent[at].frames = nil
		}
	}
}

// answerFresh reads from the log what a reply tells of these topics, and
// queues it; slots bound how many read at once. What is recalled while it reads
// is not told after the recall: then it reads again.
func (c *Client) answerFresh(slots chan struct{}, read func(context.Context) (r *Reply, topics []string, err error)) error {
	h := c.hub
	for {
		// All up to here is durable, so a read that begins now knows of its recalls.
		covers := h.round.covers.Load()
		var r *Reply
		var topics []string
		err := h.within(slots, func(ctx context.Context) (err error) {
			r, topics, err = read(ctx)
			return err
		})
		if err != nil {
			return h.logged(err)
		}
		frame := c.dialect().replyFrame(r)
		h.talks.Lock()
		flush := false
		stale := slices.ContainsFunc(append(topics, Inbox(c.user)), func(name string) bool {
			h.mu.RLock()
			t := h.topics[name]
			h.mu.RUnlock()
			return t != nil && t.recalled > covers
		})
		if !stale {
			flush = c.out.push(frame)
		}
		h.talks.Unlock()
		if !stale {
			h.flushNow(c, flush)
			return nil
		}
	}
}
