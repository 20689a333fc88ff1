package chat

import (
	"encoding/json"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// link is one connection: the socket, whoever speaks over it.
type link struct {
	hub   *Hub
	conn  *websocket.Conn // reads only: all writes go through out
	gate  *gate
	out   outbox
	auth  Authenticator // where the opening brings none
	addr  string
	agent string
	seen  atomic.Int64 // the hub's clock when something last came from it

	// turn is held while a frame is carried out, or whatever else makes
	// another client of this connection; before Hub.mu.
	turn   sync.Mutex
	client atomic.Pointer[Client]
	idle   *time.Timer // what happens if the first frame does not come; nil: nothing
	watch  atomic.Pointer[chan struct{}]

	refusals *rate.Limiter // the read loop's
}

// Client is one user's device on a connection. The connection's read loop
// (read.go) decodes and carries out commands one by one; the hub and the
// catch-up queue frames to its outbox. Most connections have one Client for
// all their life; see replace.
type Client struct {
	*link
	manner   atomic.Pointer[manner]
	protocol string        // that its opening names
	auth     Authenticator // nil: the link's
	opened   int64         // ms since 1970 UTC

	// Set by hello, before the client is in the hub's maps; never changed.
	session string
	user    string
	device  string
	proved  bool      // that it is this user
	proof   int64     // seconds since 1970 UTC until when, 0 as long as it is there
	expires int64     // seconds since 1970 UTC when its token runs out, 0 never
	foreign bool      // its position was of another log
	resumed places    // where the same client ended before; the read loop's
	secret  *[32]byte // what it showed with its name, as claimed.shown; nil: nothing
	owns    bool      // the name is claimed by that

	hello atomic.Bool
	talks atomic.Int32 // how many talks it has joined by itself

	endedAt atomic.Int64 // ms since 1970 UTC, 0 while it is connected

	sure sureness

	// For the wheel's goroutine only.
	pinged   int64 // when it was asked for a sign of life that it owes; 0: it owes none
	pingedAt int64 // when it was asked last
	beatAt   int64
	// For the hub's own goroutine only: it sent an event of this very batch.
	sentNow bool

	mu       sync.Mutex // after topic.mu, before outbox.mu
	subs     []*subscription
	behind   []*subscription
	catching bool
	gone     bool
	reason   Code
	since    time.Time           // when it fell behind
	own      map[string]*ownSend // by topic and key: what it sent, until its ack is told and no replay runs

	// The read loop's: sends that came together and are not appended yet.
	pending    []Event
	pendingIDs []json.RawMessage

	limiter  *rate.Limiter // the read loop's
	signals  *rate.Limiter
	asked    *[asksKinds]bucket
	wrong    int                  // bad frames so far; the read loop's
	admitted map[string]*roomLock // whose codes it has given, by topic; the read loop's
}

// manner is how a client is spoken with. It changes while the client is there
// only by an opening that Keeps it.
type manner struct {
	codec   Dialect  // decodes
	dialect *dialect // encodes
	rules   Rules
}

func (c *Client) dialect() *dialect { return c.manner.Load().dialect }

func (c *Client) rules() *Rules { return &c.manner.Load().rules }

// sub returns the subscription to a topic, or nil.
func (c *Client) sub(topic string) *subscription {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subLocked(topic)
}

func (c *Client) subLocked(topic string) *subscription {
	for _, s := range c.subs {
		if s.topic.name == topic {
			return s
		}
	}
	return nil
}

// start says where a subscription begins.
type start struct {
	after int64
	quiet bool   // it is not counted as present
	live  bool   // from now on, without a replay; where no joined is told that says what now is, only if after is now
	reset string // the position does not join on: why
}

// follow subscribes the client to a topic, after what it followed of it before
// has ended. When it returns, joined has been queued (with head and online
// filled in) and the replay comes after it.
func (c *Client) follow(name string, at start, joined *Reply) {
	if old := c.sub(name); old != nil {
		c.unfollow(old)
	}
	for {
		t := c.hub.topicFor(name)
		done := c.betweenTalks(name)
		s := &subscription{client: c, topic: t, index: -1, reset: at.reset, quiet: at.quiet}
		if at.reset == "" { // else it is no place in this log
			s.cursor.Store(at.after)
			s.sure.Store(at.after)
		}
		if joined != nil {
			joined.After = at.after
		}
		c.mu.Lock()
		if c.gone || c.subLocked(name) != nil {
			c.mu.Unlock()
			done()
			return
		}
		c.subs = append(c.subs, s)
		c.tellOwn(name)
		if strings.HasPrefix(name, TalkPrefix) {
			c.talks.Add(1)
		}
		c.mu.Unlock()
		flush, ok := t.attach(c.hub, s, at.live, joined)
		if !ok { // while the inbox is held up: or it would leave out what nobody tells
			c.drop(s)
		}
		done()
		if ok {
			c.hub.flushNow(c, flush)
			return
		}
	}
}

// betweenTalks holds up everything that may tell a talk's events to the client,
// so that the talk comes either by the inbox or by itself, with no event told
// by both or by neither. The caller calls done. For other topics there is
// nothing to hold up.
func (c *Client) betweenTalks(name string) (done func()) {
	if !strings.HasPrefix(name, TalkPrefix) {
		return func() {}
	}
	inbox := c.sub(Inbox(c.user))
	if inbox == nil {
		return func() {}
	}
	c.hub.talks.Lock()    // the hub's round tells a talk and the inbox one after the other
	inbox.topic.mu.Lock() // the inbox's replay
	return func() {
		inbox.topic.mu.Unlock()
		c.hub.talks.Unlock()
	}
}

// unfollow ends a subscription.
func (c *Client) unfollow(s *subscription) {
	done := c.betweenTalks(s.topic.name)
	c.drop(s) // from now on a talk comes by the inbox again
	s.topic.detach(c.hub, s)
	done()
	c.mu.Lock()
	acks := c.takeAcks(s, math.MaxInt64)
	c.mu.Unlock()
	c.hub.flushNow(c, c.out.push(acks))
}

func (c *Client) drop(s *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, x := range c.subs {
		if x == s {
			c.subs = append(c.subs[:i], c.subs[i+1:]...)
			if strings.HasPrefix(s.topic.name, TalkPrefix) {
				c.talks.Add(-1)
			}
			return
		}
	}
}

// reply queues a reply and writes it if nobody else is writing.
func (c *Client) reply(r *Reply) {
	c.hub.flushNow(c, c.out.push(c.dialect().replyFrame(r)))
}

// close tells the client why and closes the connection. A second call does
// nothing.
func (c *Client) close(err *Error) {
	c.mu.Lock()
	if c.reason == "" {
		c.reason = err.Code
	}
	c.mu.Unlock()
	frame := closeFrame(err.Code.Verdict().Close, err.Message)
	c.hub.flushNow(c, c.out.finish(frame, c.hub.opts.CloseWait))
}

// writers lends writers to goroutines that flush now and then.
var writers = sync.Pool{New: func() any { return newWriter() }}

// flushNow writes what a client has queued, if flush is set.
func (h *Hub) flushNow(c *Client, flush bool) {
	if flush {
		w := writers.Get().(*writer)
		c.out.flush(w)
		writers.Put(w)
	}
}

func (h *Hub) flushAll(dirty []*Client) {
	if len(dirty) == 0 {
		return
	}
	w := writers.Get().(*writer)
	for _, c := range dirty {
		c.out.flush(w)
	}
	writers.Put(w)
}
