package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"
)

// maxWrong is how many frames that make no sense a connection may send before
// it is closed.
const maxWrong = 20

// frameBuffers lends memory for one incoming message.
var frameBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// read is the client's read loop. A command is carried out before the next one
// is read: that is the back-pressure on who sends too much.
func (c *Client) read() {
	defer c.leave()
	c.conn.SetPingHandler(func(data string) error {
		c.hub.flushNow(c, c.out.push(appendFrame(nil, framePong, []byte(data))))
		c.seen.Store(c.hub.now.Load())
		return nil
	})
	c.conn.SetPongHandler(func(string) error { c.seen.Store(c.hub.now.Load()); return nil })
	c.conn.SetCloseHandler(func(int, string) error { return nil })
	for {
		if err := c.readOne(); err != nil {
			c.ended(err)
			return
		}
	}
}

// ended answers what ended the read loop, where an answer can still arrive.
func (c *Client) ended(err error) {
	_ = c.sendPending() // what came before the fault is carried out
	var fault *Error
	var closed *websocket.CloseError
	var netErr net.Error
	switch {
	case errors.As(err, &fault):
		c.close(fault)
	case errors.As(err, &closed):
		code := closed.Code
		if code == websocket.CloseNoStatusReceived {
			code = websocket.CloseNormalClosure
		}
		if code != websocket.CloseAbnormalClosure { // no close frame came: EOF
			c.hub.flushNow(c, c.out.finish(closeFrame(code, ""), 0))
		}
		return
	case errors.Is(err, errClosing):
	case errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return
	case errors.Is(err, errNotUTF8):
		c.hub.flushNow(c, c.out.finish(closeFrame(websocket.CloseInvalidFramePayloadData, "a text frame must be valid UTF-8"), c.hub.opts.CloseWait))
	default: // the library found the peer to break RFC 6455
		c.hub.flushNow(c, c.out.finish(closeFrame(websocket.CloseProtocolError, strings.TrimPrefix(err.Error(), "websocket: ")), c.hub.opts.CloseWait))
	}
	// Let the peer read the reason before the socket goes: see outbox.idle.
	_, _ = io.Copy(io.Discard, io.LimitReader(c.out.conn, 1<<20))
}

// errClosing ends the read loop of a connection that has been told goodbye.
var errClosing = errors.New("closing")

var errNotUTF8 = errors.New("text frame is not valid UTF-8")

// readOne reads and carries out one message. An error ends the connection.
func (c *Client) readOne() error {
	kind, r, err := c.conn.NextReader()
	if err != nil {
		return err
	}
	buf := frameBuffers.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= 64<<10 {
			frameBuffers.Put(buf)
		}
	}()
	limit := c.hub.opts.Limits.Frame
	if _, err := buf.ReadFrom(io.LimitReader(r, int64(limit)+1)); err != nil {
		return err
	}
	c.seen.Store(c.hub.now.Load())
	switch {
	case buf.Len() > limit:
		return Errorf(CodeTooLarge, "the frame is longer than %d bytes", limit)
	case kind != websocket.TextMessage:
		return c.refuse(nil, Errorf(CodeBadFrame, "send JSON in text frames, not binary ones"))
	case !utf8.Valid(buf.Bytes()):
		return errNotUTF8
	}
	cmd, err := c.dialect.Decode(buf.Bytes())
	if err != nil {
		return c.refuse(cmd.ID, AsError(err))
	}
	if cmd.Op == OpNone {
		return nil
	}
	if cmd.Op != OpHello && cmd.Op != OpPing && !c.hello.Load() {
		return Errorf(CodeHelloFirst, `say hello first: {"op":"hello","id":1,"user":"…"}`)
	}
	// Who does not read what it asked for has to wait with asking more.
	if !c.out.waitRoom() {
		return errClosing
	}
	if cmd.Op != OpSend { // what was sent before comes first
		if err := c.sendPending(); err != nil {
			return err
		}
	}
	if err := c.do(&cmd); err != nil {
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fatal.Err
		}
		c.fail(cmd.ID, AsError(err))
	}
	return nil
}

// fatalError is an error that ends the connection instead of one command.
type fatalError struct{ Err *Error }

func (e *fatalError) Error() string { return e.Err.Error() }

// refuse tells a client that a frame made no sense, and ends the connection
// when there are too many of them.
func (c *Client) refuse(id json.RawMessage, err *Error) error {
	if c.wrong++; c.wrong >= maxWrong {
		return err
	}
	c.fail(id, err)
	return nil
}

func (c *Client) fail(id json.RawMessage, err *Error) {
	if err.Code == CodeInternal {
		c.hub.log.Error("command failed", "session", c.session, "err", err.Err)
	}
	c.reply(&Reply{Op: ReplyError, ID: id, Err: err})
}

func (c *Client) do(cmd *Command) error {
	switch cmd.Op {
	case OpHello:
		return c.doHello(cmd)
	case OpJoin:
		return c.doJoin(cmd)
	case OpLeave:
		return c.doLeave(cmd)
	case OpSend:
		return c.doSend(cmd)
	case OpHistory:
		return c.doHistory(cmd)
	case OpPresence:
		return c.doPresence(cmd)
	case OpSignal:
		return c.doSignal(cmd)
	case OpPing:
		c.reply(&Reply{Op: ReplyPong, ID: cmd.ID})
	}
	return nil
}

// mayRead says whether the user may follow a topic and read its history.
func (c *Client) mayRead(topic string) error {
	if err := c.hub.opts.Limits.CheckTopic(topic); err != nil {
		return err
	}
	switch {
	case strings.HasPrefix(topic, InboxPrefix) && topic != Inbox(c.user):
		return Errorf(CodeForbidden, "the inbox of another user cannot be read")
	case strings.HasPrefix(topic, TalkPrefix):
		if a, b, _ := TalkMembers(topic); a != c.user && b != c.user {
			return Errorf(CodeForbidden, "only its two members can read a talk")
		}
	}
	return nil
}

func (c *Client) doJoin(cmd *Command) error {
	if err := c.mayRead(cmd.Topic); err != nil {
		return err
	}
	at := start{live: true}
	switch {
	case cmd.After != nil:
		at = c.begin(*cmd.After, cmd.Epoch, cmd.Topic)
	case cmd.Recent > 0:
		events, err := c.hub.readLog(func(ctx context.Context) ([]Event, error) {
			return c.hub.store.Before(ctx, cmd.Topic, 0, min(cmd.Recent, 500))
		})
		if err != nil {
			return err
		}
		if len(events) > 0 {
			at = start{after: events[0].Seq - 1}
		}
	}
	if c.sub(cmd.Topic) == nil {
		c.mu.Lock()
		n := len(c.subs)
		c.mu.Unlock()
		if n > c.hub.opts.Limits.Topics { // one more than allowed: the inbox does not count
			return Errorf(CodeTooMany, "one connection may follow %d topics; leave one first", c.hub.opts.Limits.Topics)
		}
	}
	dirty, _ := c.follow(cmd.Topic, at, &Reply{Op: ReplyJoined, ID: cmd.ID, Topic: cmd.Topic})
	c.hub.flushAll(dirty)
	return nil
}

// begin turns a client's position in a topic into a start. Positions of
// another log, and those beyond the end of this one, are reset.
func (c *Client) begin(after int64, epoch, topic string) start {
	s := start{after: max(after, 0)}
	if after <= 0 {
		return s // from the beginning on: that is in every log
	}
	if epoch != "" && epoch != c.hub.epoch || epoch == "" && c.foreign || c.hub.beyond(after) {
		s.reset = ResetEpoch
	}
	return s
}

// beyond reports that a position is behind the end of the log. A replay reads
// the log itself, so a client may know more than the hub was given yet.
func (h *Hub) beyond(seq int64) bool {
	if seq <= h.round.covers.Load() {
		return false
	}
	head, err := h.store.Head(h.ctx)
	return err != nil || seq > head.Seq
}

func (c *Client) doLeave(cmd *Command) error {
	s := c.sub(cmd.Topic)
	if cmd.Topic == Inbox(c.user) {
		return Errorf(CodeForbidden, "the own inbox cannot be left")
	}
	if s != nil {
		c.hub.flushAll(c.unfollow(s))
	}
	c.reply(&Reply{Op: ReplyLeft, ID: cmd.ID, Topic: cmd.Topic})
	return nil
}

// allow takes one of the connection's sends or signals.
func (c *Client) allow(l **rate.Limiter) error {
	limits := c.hub.opts.Limits
	if limits.SendRate <= 0 {
		return nil
	}
	if *l == nil {
		*l = rate.NewLimiter(rate.Limit(limits.SendRate), max(limits.SendBurst, 1))
	}
	now := time.Now()
	r := (*l).ReserveN(now, 1)
	if wait := r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		e := Errorf(CodeRateLimited, "at most %g messages a second; try again in %d ms", limits.SendRate, wait.Milliseconds()+1)
		e.Retry = wait
		return e
	}
	return nil
}

// houseKinds are the kinds that only the house may say.
func houseKind(kind string) bool {
	return strings.HasPrefix(kind, "voucher.") || strings.HasPrefix(kind, "system.")
}

func (c *Client) doSend(cmd *Command) error {
	if err := c.allow(&c.limiter); err != nil {
		return err
	}
	e := Event{Topic: cmd.Topic, Kind: cmd.Kind, From: c.user, Key: cmd.Key, Body: cmd.Body}
	if e.Kind == "" {
		e.Kind = "message"
	}
	if e.Key == "" { // a key of our own, so that a replay can be told from an echo
		e.Key = "s-" + randomID()
	}
	if err := c.hub.opts.Limits.checkDecoded(&e); err != nil {
		return err
	}
	if houseKind(e.Kind) {
		return Errorf(CodeForbidden, "only the server may send events of kind %q", e.Kind)
	}
	if strings.HasPrefix(e.Topic, TalkPrefix) {
		if err := c.mayRead(e.Topic); err != nil {
			return err
		}
	}
	c.pending = append(c.pending, e)
	c.pendingIDs = append(c.pendingIDs, cmd.ID)
	if len(c.pending) == maxPending {
		return c.sendPending()
	}
	return nil
}

// maxPending is how many sends of one connection are appended together.
const maxPending = 32

// sendPending appends the sends that came in one piece, in one call: a client
// that sends several at once does not wait for a commit between them. What
// fails is told for each.
func (c *Client) sendPending() error {
	if len(c.pending) == 0 {
		return nil
	}
	h, events, ids := c.hub, c.pending, c.pendingIDs
	defer func() {
		clear(events)
		clear(ids)
		c.pending, c.pendingIDs = events[:0], ids[:0]
		if cap(events) > 4 { // idle connections keep little
			c.pending, c.pendingIDs = nil, nil
		}
	}()
	err := h.commands.enter()
	if err == nil {
		err = c.append(events, ids)
		h.commands.leave()
	}
	for i := range events {
		if err != nil {
			c.fail(ids[i], AsError(err))
		}
	}
	return nil
}

func (c *Client) append(events []Event, ids []json.RawMessage) error {
	h := c.hub
	for i := range events {
		c.sending(events[i].Topic, events[i].Key)
		events[i].Origin = h.origins.add(&origin{client: c, id: ids[i]})
	}
	// Not the connection's context: a send that was read is carried out, so
	// that its outcome is known even if the sender is gone by then.
	stored, err := h.store.Append(h.ctx, events...)
	if err != nil {
		h.stats.failures.Add(int64(len(events)))
		for i := range events {
			h.origins.take(events[i].Origin)
			c.notSent(events[i].Topic, events[i].Key)
		}
		return h.logged(err)
	}
	for i := range stored {
		if stored[i].Origin != 0 {
			continue // the hub tells the ack, in its place among the topic's events
		}
		// It was in the log already.
		h.origins.take(events[i].Origin)
		c.notSent(events[i].Topic, events[i].Key)
		h.flushNow(c, c.out.push(c.ackFrame(ids[i], &stored[i])))
	}
	return nil
}

// logged logs what a failed write was about, without what it said.
func (h *Hub) logged(err error) error {
	e := AsError(err)
	if e.Code == CodeInternal || e.Code == CodeStorage || e.Code == CodeStorageFull {
		h.log.Error("an event was not stored", "code", e.Code, "err", err)
	}
	return err
}

// historyBytes bounds the bodies in one answer.
const historyBytes = 1 << 20

func (c *Client) doHistory(cmd *Command) error {
	if err := c.mayRead(cmd.Topic); err != nil {
		return err
	}
	limit := cmd.Limit
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 500)
	events, err := c.hub.readLog(func(ctx context.Context) ([]Event, error) {
		return c.hub.store.Before(ctx, cmd.Topic, cmd.Before, limit+1)
	})
	if err != nil {
		return c.hub.logged(err)
	}
	more := len(events) > limit
	if more {
		events = events[len(events)-limit:]
	}
	size := 0
	for i := len(events) - 1; i >= 0; i-- {
		if size += len(events[i].Body); size > historyBytes {
			events, more = events[i+1:], true
			break
		}
	}
	c.reply(&Reply{Op: ReplyHistory, ID: cmd.ID, Topic: cmd.Topic, Events: events, More: more})
	return nil
}

// presenceMax bounds the names in one answer.
const presenceMax = 1000

func (c *Client) doPresence(cmd *Command) error {
	if err := c.mayRead(cmd.Topic); err != nil {
		return err
	}
	users, more := c.hub.Online(cmd.Topic, presenceMax)
	c.reply(&Reply{Op: ReplyPresence, ID: cmd.ID, Topic: cmd.Topic, Users: users, More: more})
	return nil
}

// Online returns the users who follow a room now, or who of the members of a
// talk or an inbox is connected: sorted, at most limit; more says that there
// are others.
func (h *Hub) Online(topic string, limit int) (users []string, more bool) {
	users = []string{}
	h.mu.RLock()
	defer h.mu.RUnlock()
	a, b, _ := TalkMembers(topic)
	for _, u := range slices.Compact([]string{a, b, strings.TrimPrefix(topic, InboxPrefix)}) {
		if len(h.byUser[u]) > 0 && !strings.HasPrefix(topic, RoomPrefix) {
			users = append(users, u)
		}
	}
	if t := h.topics[topic]; t != nil {
		t.mu.Lock()
		for u := range t.users {
			users = append(users, u)
		}
		t.mu.Unlock()
	}
	slices.Sort(users)
	if len(users) > limit {
		return users[:limit], true
	}
	return users, false
}

func (c *Client) doSignal(cmd *Command) error {
	if err := c.allow(&c.signals); err != nil {
		return err
	}
	s := c.sub(cmd.Topic)
	if s == nil {
		return Errorf(CodeNotJoined, "join the topic before you signal to it")
	}
	if len(cmd.Body) > c.hub.opts.Limits.Body {
		return Errorf(CodeTooLarge, "the body is %d bytes long; at most %d are allowed", len(cmd.Body), c.hub.opts.Limits.Body)
	}
	s.topic.mu.Lock()
	dirty := s.topic.tell(&Reply{Op: ReplySignal, Topic: cmd.Topic, From: c.user, Body: cmd.Body},
		func(x *Client) bool { return x != c })
	s.topic.mu.Unlock()
	c.hub.stats.signals.Add(1)
	c.hub.flushAll(dirty)
	return nil
}
