package chat

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// recorder writes sessions to the store a little later than they change, many
// in one transaction: who is online, since when, and how far each has read.
// What is lost of it in a crash is repaired by the sweep at the next start;
// a position that is too old costs a duplicate, never a loss.
type recorder struct {
	hub  *Hub
	mu   sync.Mutex
	todo map[*Client]bool // true: it has ended
	rows []Session        // to be written as they are, after that
	wake chan struct{}
}

// recordDelay collects changes, so that a thousand who connect at once are a
// few transactions.
const recordDelay = 100 * time.Millisecond

// recordRetry is how long to wait after the store failed.
const recordRetry = 5 * time.Second

// recordBatch is how many sessions go into one transaction; more would make
// chat lines wait behind it.
const recordBatch = 200

func newRecorder(h *Hub) *recorder {
	return &recorder{hub: h, todo: make(map[*Client]bool), wake: make(chan struct{}, 1)}
}

// note has a session written soon.
func (r *recorder) note(c *Client, ended bool) {
	r.mu.Lock()
	r.todo[c] = r.todo[c] || ended
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// put has sessions of clients that are gone written soon.
func (r *recorder) put(sessions ...Session) {
	if len(sessions) == 0 {
		return
	}
	r.mu.Lock()
	r.rows = append(r.rows, sessions...)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *recorder) run(ctx context.Context) {
	touch := time.NewTicker(r.hub.opts.TouchEvery)
	defer touch.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-touch.C:
			r.noteLively()
		case <-r.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(recordDelay):
			}
			if !r.write(ctx) {
				select { // a full disk is not filled by trying
				case <-ctx.Done():
					return
				case <-time.After(recordRetry):
				}
			}
		}
	}
}

// noteLively notes those from whom something came since the last touch.
func (r *recorder) noteLively() {
	since := time.Now().Add(-r.hub.opts.TouchEvery).Unix()
	r.hub.mu.RLock()
	defer r.hub.mu.RUnlock()
	for _, c := range r.hub.clients {
		if c.seen.Load() >= since {
			r.note(c, false)
		}
	}
}

// write writes all that was noted. What fails is noted again; it reports
// whether all went well.
func (r *recorder) write(ctx context.Context) bool {
	r.mu.Lock()
	todo, rows := r.todo, r.rows
	r.todo, r.rows = make(map[*Client]bool), nil
	r.mu.Unlock()
	now := time.Now().UnixMilli()
	clients := make([]*Client, 0, len(todo))
	for c := range todo {
		clients = append(clients, c)
	}
	for batch := range slices.Chunk(clients, recordBatch) {
		sessions := make([]Session, len(batch))
		for i, c := range batch {
			sessions[i] = c.record()
			if todo[c] {
				sessions[i].Ended = cmp.Or(c.endedAt.Load(), now)
			}
		}
		if err := r.hub.store.SaveSessions(ctx, sessions...); err != nil {
			r.hub.log.Error("sessions were not recorded", "err", err)
			for c, ended := range todo {
				r.note(c, ended)
			}
			r.put(rows...)
			return false
		}
		for _, c := range batch {
			delete(todo, c)
		}
	}
	if err := r.hub.store.SaveSessions(ctx, rows...); err != nil {
		r.hub.log.Error("sessions were not recorded", "err", err)
		r.put(rows...)
		return false
	}
	return true
}

// record returns the session as it is now, as online.
func (c *Client) record() Session {
	silent := c.hub.now.Load() - c.seen.Load()
	s := Session{
		ID: c.session, User: c.user, Device: c.device, Dialect: c.protocol,
		Addr: c.addr, Agent: c.agent, Opened: c.opened,
		LastSeen: max(time.Now().UnixMilli()-silent*1000, c.opened), Epoch: c.hub.epoch,
	}
	switch {
	case c.sure.taken.Load(): // nobody is to be resumed by it again
	case c.rules().Resume:
		s.Topics = c.surePlaces().topics
	default:
		s.Topics = make(map[string]int64, 2)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.Reason = c.reason
	for _, sub := range c.subs {
		if s.Topics != nil && !c.rules().Resume {
			s.Topics[sub.topic.name] = sub.cursor.Load()
		}
	}
	return s
}

// Sessions lists sessions: those online as they are at this moment, the ended
// ones from the store.
func (h *Hub) Sessions(ctx context.Context, q SessionQuery) ([]Session, error) {
	if q.Limit <= 0 {
		q.Limit = 1000
	}
	var out []Session
	h.mu.RLock()
	for _, c := range h.clients {
		if q.User == "" || q.User == c.user {
			out = append(out, c.record())
		}
	}
	h.mu.RUnlock()
	if !q.Online {
		stored, err := h.store.Sessions(ctx, q)
		if err != nil {
			return nil, err
		}
		live := make(map[string]bool, len(out))
		for _, s := range out {
			live[s.ID] = true
		}
		for _, s := range stored {
			if !live[s.ID] {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(a, b Session) int { return int(b.Opened - a.Opened) })
	return out[:min(len(out), q.Limit)], nil
}

// Kick ends a live session: its client is told not to come back by itself. It
// reports false if there is no such session here.
func (h *Hub) Kick(session, reason string) bool {
	h.mu.RLock()
	c := h.clients[session]
	h.mu.RUnlock()
	if c == nil {
		return false
	}
	if reason == "" {
		reason = "this session was ended by the operator"
	}
	c.close(Errorf(CodeKicked, "%s", reason))
	return true
}
