package chat

import (
	"context"
	"strings"
	"time"
)

// Bounds of a room's code, in characters.
const (
	MinRoomCode = 4
	MaxRoomCode = 64
)

// Lobby is the room of those who name none. No client can give it a code.
const Lobby = "lobby"

// Wrong codes, some at once and then one in a while: from one address, and
// into one room from wherever. Of a million codes who has one address finds the
// right one in a year on average, and who has very many of them in four months.
// One address alone cannot use up what a room has.
const (
	codeBurst     = 10
	codeEvery     = time.Minute
	roomCodeBurst = 20
	roomCodeEvery = 20 * time.Second
)

// Codes that one address may set, some at once and then one in a while; and
// in how many rooms there may be one before no more are taken from clients.
const (
	protectBurst = 30
	protectEvery = 2 * time.Minute
	maxRoomCodes = 20_000
)

// aloneMax is how many events of its own user a room without a code may hold
// to be given one: all of them are looked at.
const aloneMax = 1000

// codeNeeded tells a client that it has to give a code first.
func codeNeeded() *Error {
	return Errorf(CodeNeeded, "this room has a code: join it with the code first")
}

// mayEnter says whether a client may read and speak in a room: anybody where
// it has no code, and otherwise who has given the present code on this
// connection. Other topics are not looked at.
func (c *Client) mayEnter(topic string) error {
	if lock := c.hub.doors.rooms.of(topic); lock != nil && c.admitted[topic] != lock {
		return codeNeeded()
	}
	return nil
}

// showCode takes a code that a client gives with its join. Where none is
// needed, or none is given, it does nothing: mayEnter decides.
func (c *Client) showCode(topic, code string) error {
	lock := c.hub.doors.rooms.of(topic)
	if lock == nil || code == "" || c.admitted[topic] == lock {
		return nil
	}
	err := c.hub.doors.rooms.check(c.hub.ctx, lock, topic, code, Network(c.addr))
	if err != nil {
		c.hub.log.Info("a room's code was refused", "topic", topic, "user", c.user, "addr", c.addr, "code", CodeOf(err))
		return err
	}
	c.admit(topic, lock)
	return nil
}

func (c *Client) admit(topic string, lock *roomLock) {
	if c.admitted == nil {
		c.admitted = make(map[string]*roomLock)
	}
	c.admitted[topic] = lock
}

// doProtect gives a room a code, another one, or none.
func (c *Client) doProtect(cmd *Command) error {
	h, topic := c.hub, cmd.Topic
	if err := c.allow(&c.limiter); err != nil {
		return err
	}
	if err := h.checkRoom(topic); err != nil {
		return err
	}
	if topic == RoomPrefix+Lobby {
		return Errorf(CodeForbidden, "the lobby is for everybody; only the operator can give it a code")
	}
	if err := h.commands.enter(); err != nil {
		return err
	}
	defer h.commands.leave()
	h.doors.changing.Lock()
	defer h.doors.changing.Unlock()
	old := h.doors.rooms.of(topic)
	switch {
	case old != nil && c.admitted[topic] != old:
		return Errorf(CodeNeeded, "this room has a code: join it with the present code before you change it")
	case old == nil && cmd.Code != "":
		if err := c.alone(topic); err != nil {
			return err
		}
	}
	if old != nil || cmd.Code != "" {
		if wait := h.doors.rooms.sets.Take(Network(c.addr)); wait > 0 {
			return tooOften(wait, "too many codes were set from this address; try again in %d s", int(wait.Seconds())+1)
		}
		if old == nil && len(*h.doors.rooms.all.Load()) >= maxRoomCodes {
			return Errorf(CodeForbidden, "there are too many rooms with a code here; the operator can take away some")
		}
		lock, err := h.setCode(h.ctx, topic, cmd.Code, c.user)
		if err != nil {
			return h.logged(err)
		}
		if lock != nil {
			c.admit(topic, lock)
			h.emptyRoom(topic, c)
		}
	}
	c.reply(&Reply{Op: ReplyProtected, ID: cmd.ID, Topic: topic})
	return nil
}

// alone refuses a room in which somebody else has said something, or may have.
func (c *Client) alone(topic string) error {
	others := Errorf(CodeForbidden, "only a room in which nobody else has said anything can be given a code; make a new room")
	backlog, err := c.hub.store.Backlog(c.hub.ctx, topic, 0, aloneMax)
	if err != nil {
		return err
	}
	if backlog.Pruned || backlog.Events > aloneMax {
		return others
	}
	for before, page := int64(0), 200; ; {
		events, err := c.hub.readLog(func(ctx context.Context) ([]Event, error) {
			return c.hub.store.Before(ctx, topic, before, page)
		})
		if err != nil {
			return err
		}
		for i := range events {
			if events[i].From != c.user {
				return others
			}
		}
		if len(events) < page {
			return nil
		}
		before = events[0].Seq
	}
}

// SetRoomCode gives a room a code on behalf of the operator, in place of
// another one; who is in the room is put out, and needs it to come in again.
func (h *Hub) SetRoomCode(ctx context.Context, topic, code string) error {
	if code == "" {
		return Errorf(CodeBadRequest, "the code is empty; it needs %d to %d characters", MinRoomCode, MaxRoomCode)
	}
	if err := h.checkRoom(topic); err != nil {
		return err
	}
	if err := h.commands.enter(); err != nil {
		return err
	}
	defer h.commands.leave()
	h.doors.changing.Lock()
	defer h.doors.changing.Unlock()
	if _, err := h.setCode(ctx, topic, code, ""); err != nil {
		return h.logged(err)
	}
	h.emptyRoom(topic, nil)
	return nil
}

// DropRoomCode takes the code of a room away; false if it has none.
func (h *Hub) DropRoomCode(ctx context.Context, topic string) (bool, error) {
	if err := h.checkRoom(topic); err != nil {
		return false, err
	}
	if err := h.commands.enter(); err != nil {
		return false, err
	}
	defer h.commands.leave()
	h.doors.changing.Lock()
	defer h.doors.changing.Unlock()
	if h.doors.rooms.of(topic) == nil {
		return false, nil
	}
	_, err := h.setCode(ctx, topic, "", "")
	return err == nil, h.logged(err)
}

// RoomCodes lists the rooms with a code, by Topic, without what recognises it.
func (h *Hub) RoomCodes(ctx context.Context) ([]RoomCode, error) {
	if h.doors.store == nil {
		return nil, errNoDoors()
	}
	list, err := h.doors.store.RoomCodes(ctx)
	for i := range list {
		list[i].Hash = nil
	}
	return list, h.logged(err)
}

// checkRoom refuses what cannot have a code.
func (h *Hub) checkRoom(topic string) error {
	if h.doors.store == nil {
		return errNoDoors()
	}
	if err := h.opts.Limits.CheckTopic(topic); err != nil {
		return err
	}
	if !strings.HasPrefix(topic, RoomPrefix) {
		return Errorf(CodeBadTopic, "only a room can have a code: room:NAME")
	}
	return nil
}

// setCode keeps a room's code, "" for none, and has it hold. The caller holds
// doors.changing.
func (h *Hub) setCode(ctx context.Context, topic, code, by string) (*roomLock, error) {
	if code == "" {
		if err := h.doors.store.DropRoomCode(ctx, topic); err != nil {
			return nil, err
		}
		h.doors.rooms.replace(topic, nil)
		h.log.Info("a room has no code any more", "topic", topic, "by", by)
		return nil, nil
	}
	lock, err := h.doors.rooms.make(ctx, topic, code)
	if err != nil {
		return nil, err
	}
	err = h.doors.store.PutRoomCode(ctx, RoomCode{Topic: topic, Hash: lock.hash, SetBy: by, SetAt: h.opts.Now().UnixMilli()})
	if err != nil {
		return nil, err
	}
	h.doors.rooms.replace(topic, lock)
	h.log.Info("a room has a new code", "topic", topic, "by", by)
	return lock, nil
}

// emptyRoom puts everybody out of a room whose lock is new, but one. Who joins
// at this moment with the old one sees by itself that it does not hold any
// more: see doJoin.
func (h *Hub) emptyRoom(topic string, but *Client) {
	h.mu.RLock()
	t := h.topics[topic]
	h.mu.RUnlock()
	if t == nil {
		return
	}
	t.mu.Lock()
	subs := append([]*subscription(nil), t.subs...)
	t.mu.Unlock()
	for _, s := range subs {
		if s.client != but {
			s.client.putOut(s)
		}
	}
}

// putOut ends a client's stay in a room that has another code now. A protocol
// that has no word for it is told by the end of the connection.
func (c *Client) putOut(s *subscription) {
	if s == nil || c.sub(s.topic.name) != s {
		return // it has gone by itself
	}
	c.unfollow(s)
	err := Errorf(CodeNeeded, "this room has a new code: join it again with the code")
	frame := c.dialect().replyFrame(&Reply{Op: ReplyError, Topic: s.topic.name, For: OpJoin, Err: err})
	if len(frame) == 0 {
		c.close(err)
		return
	}
	c.hub.flushNow(c, c.out.push(frame))
}
