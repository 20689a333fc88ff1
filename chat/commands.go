package chat

import (
	"context"
	"slices"
	"strings"
)

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
	case OpVouchers:
		return c.doVouchers(cmd)
	case OpProtect:
		return c.doProtect(cmd)
	case OpPing:
		c.reply(&Reply{Op: ReplyPong, ID: cmd.ID, User: c.user})
	case OpTopics:
		return c.doTopics(cmd)
	case OpMark:
		return c.doMark(cmd)
	case OpSearch:
		return c.doSearch(cmd)
	case OpEcho:
		c.reply(&Reply{Op: ReplyEcho, ID: cmd.ID, Body: cmd.Body})
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
	return c.mayEnter(topic)
}

func (c *Client) doJoin(cmd *Command) error {
	if err := c.showCode(cmd.Topic, cmd.Code); err != nil {
		return err
	}
	if err := c.mayRead(cmd.Topic); err != nil {
		return err
	}
	at := start{live: true}
	if seq, ok := c.resumed.seq(cmd.Topic); ok && cmd.After == nil {
		cmd.After, cmd.Epoch = &seq, c.resumed.epoch
		if !c.resumed.left { // what it shows already it has shown
			cmd.Recent = 0
		}
	}
	if cmd.After != nil {
		at = c.begin(*cmd.After, cmd.Epoch)
	}
	if cmd.Recent > 0 && at.reset == "" {
		covers := c.hub.round.covers.Load()
		events, err := c.hub.readLog(func(ctx context.Context) ([]Event, error) {
			return c.hub.store.Before(ctx, cmd.Topic, 0, min(cmd.Recent, 500))
		})
		if err != nil {
			return err
		}
		if len(events) > 0 && (cmd.After == nil || events[0].Seq <= at.after) {
			at = start{after: events[0].Seq - 1}
		} else if cmd.After == nil && len(events) == 0 {
			at = start{after: covers} // what came since that look is recent too
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
	at.quiet = cmd.Quiet
	c.follow(cmd.Topic, at, &Reply{Op: ReplyJoined, ID: cmd.ID, Topic: cmd.Topic, Locked: c.hub.doors.rooms.of(cmd.Topic) != nil})
	if c.mayEnter(cmd.Topic) != nil { // it got another code at this moment
		c.putOut(c.sub(cmd.Topic))
	}
	return nil
}

// begin turns a client's position in a topic into a start. Positions of
// another log, and those beyond the end of this one, are reset.
func (c *Client) begin(after int64, epoch string) start {
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
		c.unfollow(s)
	}
	c.reply(&Reply{Op: ReplyLeft, ID: cmd.ID, Topic: cmd.Topic})
	return nil
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
	return c.answerFresh(c.hub.replays, func(ctx context.Context) (*Reply, []string, error) {
		events, err := c.hub.store.Before(ctx, cmd.Topic, cmd.Before, limit+1)
		if err != nil {
			return nil, nil, err
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
		return &Reply{Op: ReplyHistory, ID: cmd.ID, Topic: cmd.Topic, Events: events, More: more}, []string{cmd.Topic}, nil
	})
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
	var members []string
	if a, b, ok := TalkMembers(topic); ok {
		members = slices.Compact([]string{a, b})
	} else if u, ok := strings.CutPrefix(topic, InboxPrefix); ok {
		members = []string{u}
	}
	for _, u := range members {
		if len(h.byUser[u]) > 0 {
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
	dirty := s.topic.tell(&Reply{Op: ReplySignal, Topic: cmd.Topic, From: c.user, Kind: cmd.Kind, Body: cmd.Body},
		func(x *Client) bool { return x != c || c.rules().Echo }, (*outbox).pushDroppable)
	s.topic.mu.Unlock()
	c.hub.stats.signals.Add(1)
	c.hub.flushAll(dirty)
	return nil
}
