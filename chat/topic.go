package chat

import (
	"strings"
	"sync"
	"sync/atomic"
)

// topic is the live side of a stream: who follows it here, and its newest
// events in encoded form.
type topic struct {
	name string

	mu   sync.Mutex
	dead bool // removed from the hub's map: look again
	// last is the Seq up to which the hub has told this topic everything.
	last int64
	subs []*subscription
	// users counts the connections of each user, in rooms only: inboxes and
	// talks are followed without asking, so who is online is who is connected.
	users map[string]int
	// recent holds the newest events, oldest first; it is complete after
	// recentFrom. Its bytes count against the hub's budget.
	recent     []recentEvent
	recentFrom int64
	usedAt     int64 // the hub's clock in seconds, for removal when idle
	// recalled is the Seq of the newest event told here that took a message
	// back. It is changed under topic.mu and Hub.talks, read under either.
	recalled int64
	// joined keeps the last piece of recent frames that a replay asked for.
	joinedKey joinedKey
	joined    []byte
}

// isInbox reports whether this is a user's inbox, which carries the user's
// talks as well.
func (t *topic) isInbox() bool { return strings.HasPrefix(t.name, InboxPrefix) }

// elsewhere reports whether an event of an inbox comes to the client by
// another subscription: it has joined that talk by itself.
func (s *subscription) elsewhere(e *Event) bool {
	return e.Topic != s.topic.name && s.client.talks.Load() > 0 && s.client.sub(e.Topic) != nil
}

type joinedKey struct {
	dialect  int
	from, to int64 // the first and the last Seq
}

// recentEvent is an event with its frames, one for each dialect that asked for
// it, by the hub's number of the dialect.
type recentEvent struct {
	event  Event
	frames [][]byte
}

// subscription is one client in one topic: a cursor in the log.
type subscription struct {
	client *Client
	topic  *topic
	index  int // in topic.subs, guarded by topic.mu; -1 before it is there
	// live is guarded by topic.mu. A live subscription is handed events by
	// the hub; one that is behind reads the log itself (catchup.go).
	live bool
	// reset is the reason to tell before the replay; it is the catch-up's.
	reset string
	// checked says that the position joins on to the log; the catch-up's.
	checked bool
	// cursor is the Seq up to which everything was queued. Only the hub (live)
	// or the catch-up (behind) moves it; others may read it.
	cursor atomic.Int64
	// sure is the Seq up to which a client without positions surely has
	// everything (resume.go); own are events after it that it sent itself,
	// guarded by Client.mu.
	sure atomic.Int64
	own  []int64
	// removed is guarded by topic.mu: the client left or is gone.
	removed bool
	quiet   bool // it is not counted among the topic's users
}

// attach adds the subscription and queues joined, if there is one, before
// anything of the topic can be queued. It reports false if the topic is dead.
// A presence change is announced to the others. flush says that the client has
// something to write.
func (t *topic) attach(h *Hub, s *subscription, live bool, joined *Reply) (flush, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead {
		return false, false
	}
	if s.removed { // the client went away meanwhile
		return false, true
	}
	s.index = len(t.subs)
	t.subs = append(t.subs, s)
	t.usedAt = h.now.Load()
	if t.users != nil && !s.quiet {
		t.users[s.client.user]++
		if t.users[s.client.user] == 1 {
			t.announce(h, s.client.user, true)
		}
	}
	// All that the hub's round covers is durable. A live follower begins
	// there, told "head": what of it is not handed out yet it will skip.
	head := h.round.covers.Load()
	live = live && (joined != nil || head == s.cursor.Load())
	if live {
		s.live = true
		s.cursor.Store(head)
		s.sure.Store(head)
	}
	if joined != nil {
		joined.Head, joined.Count = head, len(t.users)
		if live {
			joined.After = head
		}
		flush = s.client.out.push(s.client.dialect().replyFrame(joined))
	}
	if !live {
		s.client.catchUp(s)
	}
	return flush, true
}

// detach removes the subscription; doing it twice is harmless.
func (t *topic) detach(h *Hub, s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.removed {
		return
	}
	s.removed, s.live = true, false
	if s.index < 0 {
		return
	}
	last := len(t.subs) - 1
	t.subs[s.index] = t.subs[last]
	t.subs[s.index].index = s.index
	t.subs[last] = nil
	t.subs = t.subs[:last]
	if cap(t.subs) > 64 && len(t.subs) < cap(t.subs)/4 {
		t.subs = append(make([]*subscription, 0, 2*len(t.subs)), t.subs...)
	}
	if t.users != nil && !s.quiet {
		t.users[s.client.user]--
		if t.users[s.client.user] == 0 {
			delete(t.users, s.client.user)
			t.announce(h, s.client.user, false)
		}
	}
	t.usedAt = h.now.Load()
}

// announce tells the others that a user's first device came or its last one
// went. In a very full topic nobody is told: the answer would be quadratic;
// "presence" still answers. It is written a little later: when a crowd comes
// or goes, each of the others gets it in few writes. The caller holds t.mu.
func (t *topic) announce(h *Hub, user string, online bool) {
	if len(t.users) > h.opts.PresenceMax {
		return
	}
	h.later.add(t.tell(&Reply{Op: ReplyOnline, Topic: t.name, User: user, Online: online},
		func(c *Client) bool { return c.user != user }, (*outbox).pushLate))
}

// tell queues a reply that is not an event to the subscribers that want it;
// who lags does not get it. It returns those to flush. The caller holds t.mu.
func (t *topic) tell(r *Reply, want func(*Client) bool, push func(*outbox, []byte) bool) (dirty []*Client) {
	var frames [][]byte
	for _, s := range t.subs {
		c := s.client
		if !want(c) {
			continue
		}
		d := c.dialect()
		for len(frames) <= d.number {
			frames = append(frames, nil)
		}
		if frames[d.number] == nil {
			frames[d.number] = d.replyFrame(r)
		}
		if f := frames[d.number]; len(f) > 0 && push(&c.out, f) {
			dirty = append(dirty, c)
		}
	}
	return dirty
}

// frame returns the entry's frame for a dialect, made on first use. It is
// empty where the dialect does not show the event. The caller holds topic.mu.
func (e *recentEvent) frame(d *dialect) []byte {
	if len(e.frames) <= d.number || e.frames[d.number] == nil {
		e.setFrame(d, d.eventFrame(&e.event))
	}
	return e.frames[d.number]
}

func (e *recentEvent) setFrame(d *dialect, frame []byte) {
	for len(e.frames) <= d.number {
		e.frames = append(e.frames, nil)
	}
	e.frames[d.number] = frame
}
