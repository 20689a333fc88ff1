package chat

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// Mark is what is kept for a user of one topic, the same on all devices.
type Mark struct {
	User  string
	Topic string
	Read  int64 // all up to this Seq has been read
	Muted bool  // no notifications
	Kept  bool  // it is in the user's list
}

// NewMark returns what holds until a user marks a topic: nothing was read, and
// of all topics only talks are in the list by themselves.
func NewMark(user, topic string) Mark {
	return Mark{User: user, Topic: topic, Kept: strings.HasPrefix(topic, TalkPrefix)}
}

// MarkChange is what a user changes of a Mark; what is nil stays.
type MarkChange struct {
	User, Topic string
	Read        *int64
	Muted, Kept *bool
}

// Apply returns the mark after the change. The place does not fall, and is not
// behind the topic's head.
func (c *MarkChange) Apply(m Mark, head int64) Mark {
	if c.Read != nil {
		m.Read = max(m.Read, min(*c.Read, head))
	}
	if c.Muted != nil {
		m.Muted = *c.Muted
	}
	if c.Kept != nil {
		m.Kept = *c.Kept
	}
	return m
}

// MarksMost is how many marks of rooms are kept for a user. Talks are counted
// by nobody: each holds what somebody said.
const MarksMost = 500

// Marked is what became of a MarkChange: the mark as it is now, or an *Error.
type Marked struct {
	Mark
	Err error
}

// NoSuchTalk is the error of a mark of a talk that holds nothing.
func NoSuchTalk() *Error {
	return Errorf(CodeNotFound, "nothing has been said in this talk; it can be marked when something has")
}

// TooManyMarks is the error of a mark for which no other can make room.
func TooManyMarks() *Error {
	return Errorf(CodeTooManyKept, "a user can keep %d rooms; leave one first", MarksMost)
}

// markCall is a mark that a connection waits for.
type markCall struct {
	client *Client
	id     json.RawMessage
	change MarkChange
	done   chan struct{}
}

// markTogether is how many marks are written in one transaction, at most.
const markTogether = 256

func (c *Client) doMark(cmd *Command) error {
	if err := c.may(asksMarks); err != nil {
		return err
	}
	// A room whose code one does not know (any more) can be muted, and taken
	// off the list; a place in it would tell how far it goes.
	if err := c.mayRead(cmd.Topic); err != nil && (CodeOf(err) != CodeNeeded || cmd.Read != nil) {
		return err
	}
	h := c.hub
	if err := h.commands.enter(); err != nil {
		return err
	}
	defer h.commands.leave()
	call := &markCall{client: c, id: cmd.ID, done: make(chan struct{}),
		change: MarkChange{User: c.user, Topic: cmd.Topic, Read: cmd.Read, Muted: cmd.Muted, Kept: cmd.Kept}}
	select {
	case h.marks <- call:
		select {
		case <-call.done:
		case <-h.done:
		}
	case <-h.done:
	}
	return nil
}

// keepMarks writes marks, those that wait together, and tells of them: so all
// devices of a user are told of them in the order in which they were written.
func (h *Hub) keepMarks(ctx context.Context) {
	for {
		var calls []*markCall
		select {
		case <-ctx.Done():
			return
		case call := <-h.marks:
			calls = append(calls, call)
		}
		for more := true; more && len(calls) < markTogether; {
			select {
			case call := <-h.marks:
				calls = append(calls, call)
			default:
				more = false
			}
		}
		changes := make([]MarkChange, len(calls))
		for i, call := range calls {
			changes[i] = call.change
		}
		marked, err := h.store.Mark(ctx, changes...)
		if err != nil {
			_ = h.logged(err)
		}
		for i, call := range calls {
			e := err
			if e == nil {
				e = marked[i].Err
			}
			if e != nil {
				call.client.fail(OpMark, call.id, AsError(e))
			} else {
				h.tellMark(call, &marked[i].Mark)
			}
			close(call.done)
		}
	}
}

// tellMark answers the device that marked and tells the user's others.
func (h *Hub) tellMark(call *markCall, m *Mark) {
	h.mu.RLock()
	devices := append([]*Client(nil), h.byUser[m.User]...)
	h.mu.RUnlock()
	call.client.reply(&Reply{Op: ReplyMarked, ID: call.id, Topic: m.Topic, Mark: m})
	for _, c := range devices {
		if c != call.client {
			c.reply(&Reply{Op: ReplyMarked, Topic: m.Topic, Mark: m})
		}
	}
}

// asks names what a connection asks for that costs more than a frame.
type asks int

const (
	asksMarks asks = iota
	asksTopics
	asksSearch
	asksKinds
)

// askRates bounds them for one connection: how many a second, and at once.
var askRates = [asksKinds]struct{ rate, burst int }{
	asksMarks:  {10, 40},
	asksTopics: {2, 10},
	asksSearch: {4, 10},
}

// bucket says how many may still come at once.
type bucket struct {
	left float64
	at   time.Time
}

// may takes one of what a connection may ask for. Who asks too often is told
// when to ask again.
func (c *Client) may(what asks) error {
	if c.hub.opts.Limits.SendRate <= 0 {
		return nil
	}
	if c.asked == nil {
		c.asked = new([asksKinds]bucket)
	}
	b, r, now := &c.asked[what], askRates[what], time.Now()
	if b.at.IsZero() {
		b.left = float64(r.burst)
	} else {
		b.left = min(float64(r.burst), b.left+now.Sub(b.at).Seconds()*float64(r.rate))
	}
	b.at = now
	if b.left >= 1 {
		b.left--
		return nil
	}
	wait := time.Duration((1 - b.left) / float64(r.rate) * float64(time.Second))
	e := Errorf(CodeRateLimited, "at most %d of these a second; try again in %d ms", r.rate, wait.Milliseconds()+1)
	e.Retry = wait
	return e
}
