package chat

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Where a client without positions begins when it comes back: at the places of
// the same client that ended within ResumeWithin, that is dead and does not
// know it, or that the last process knew.

// clientKey tells clients without positions apart, as far as they let us.
type clientKey struct{ protocol, user, device string }

func (c *Client) key() clientKey { return clientKey{c.protocol, c.user, c.device} }

// awayList holds the clients without positions that ended within ResumeWithin.
// Those of the last process stand in the store.
type awayList struct {
	mu      sync.Mutex
	clients map[clientKey][]awayClient // oldest first
}

type awayClient struct {
	session Session // as it was recorded
	places  places
}

// awayMax is how many are kept of one client: it may have several pages.
const awayMax = 8

func (a *awayList) add(c *Client) {
	if !c.rules().Resume || !c.sure.claimed.CompareAndSwap(false, true) {
		return
	}
	x := awayClient{c.record(), c.surePlaces()}
	x.session.Ended = c.endedAt.Load()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.clients == nil {
		a.clients = make(map[clientKey][]awayClient)
	}
	list := append(a.clients[c.key()], x)
	a.clients[c.key()] = list[max(0, len(list)-awayMax):]
}

// take removes and returns the one that comes back. Which one it is of several
// is not known: it is taken for the one that got the least, since a line twice
// is better than a line lost; and for a page that was left, the last one, only
// if there is no other. The session is returned as it is to be recorded from
// now on: nobody is to be resumed by it again.
func (a *awayList) take(key clientKey, now int64) (places, Session, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	best := -1
	list := a.clients[key]
	for i := range list {
		x := &list[i].places
		switch {
		case list[i].session.Ended < now-ResumeWithin.Milliseconds():
		case best < 0, list[best].places.left, !x.left && x.less(list[best].places):
			best = i
		}
	}
	if best < 0 {
		return places{}, Session{}, false
	}
	found, session := list[best].places, list[best].session
	session.Topics = nil
	if a.clients[key] = slices.Delete(list, best, best+1); len(list) == 1 {
		delete(a.clients, key)
	}
	return found, session, true
}

// tidy forgets those that are away for too long.
func (a *awayList) tidy(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, list := range a.clients {
		list = slices.DeleteFunc(list, func(x awayClient) bool { return x.session.Ended < now-ResumeWithin.Milliseconds() })
		if a.clients[key] = list; len(list) == 0 {
			delete(a.clients, key)
		}
	}
}

// resume finds out where the same client ended, and so where its inbox begins;
// otherwise is where it begins if there was none.
func (c *Client) resume(otherwise start) (start, error) {
	ctx := c.hub.ctx
	at, ok := c.takeOver()
	if !ok {
		var taken Session
		if at, taken, ok = c.hub.away.take(c.key(), time.Now().UnixMilli()); ok {
			c.hub.rec.put(taken)
		}
	}
	if !ok {
		var err error
		if at, err = c.fromStore(ctx); err != nil {
			return otherwise, err
		}
	}
	c.resumed = at
	if seq, ok := at.seq(Inbox(c.user)); ok {
		return c.beginAt(seq, at.epoch), nil
	}
	if !c.rules().Missed {
		return otherwise, nil
	}
	return c.missed(ctx)
}

// beginAt is begin for a position that was kept here.
func (c *Client) beginAt(seq int64, epoch string) start {
	if epoch != c.hub.epoch { // the log is another one: nobody knows what was missed
		return start{after: c.hub.round.covers.Load(), live: true}
	}
	return start{after: seq}
}

// aliveWithin is how long a connection may take to show that it lives.
const aliveWithin = time.Second

// takeOver looks for a connection of the same client that is dead and does not
// know it yet: the client comes back before the server noticed that it was
// gone. It ends, and its places are the new one's.
func (c *Client) takeOver() (places, bool) {
	h := c.hub
	h.mu.RLock()
	var same []*Client
	for _, x := range h.byUser[c.user] {
		if x.rules().Resume && x.key() == c.key() && !x.sure.taken.Load() {
			same = append(same, x)
		}
	}
	h.mu.RUnlock()
	if len(same) == 0 {
		return places{}, false
	}
	dead := make(chan *Client, len(same))
	var asked sync.WaitGroup
	for _, x := range same {
		asked.Go(func() {
			if !x.alive() {
				dead <- x
			}
		})
	}
	asked.Wait()
	close(dead)
	var ended []*Client
	var least []places
	for x := range dead {
		x.out.fail()
		p := x.surePlaces()
		i := slices.IndexFunc(least, p.less) // see awayList.take
		if i < 0 {
			i = len(least)
		}
		ended, least = slices.Insert(ended, i, x), slices.Insert(least, i, p)
	}
	for i, x := range ended {
		if x.sure.claimed.CompareAndSwap(false, true) {
			x.sure.taken.Store(true)
			return least[i], true
		}
	}
	return places{}, false
}

// alive pings and waits for any sign of life.
func (c *Client) alive() bool {
	w := make(chan struct{})
	heard := &w
	if !c.watch.CompareAndSwap(nil, heard) {
		if heard = c.watch.Load(); heard == nil {
			return true // just now
		}
	}
	c.hub.flushNow(c, c.out.push(pingFrame))
	select {
	case <-*heard:
		return true
	case <-time.After(aliveWithin):
		return false
	case <-c.hub.ctx.Done():
		return true
	}
}

// fromStore looks for the client among the sessions of the last process; the
// places are empty if it is not there.
func (c *Client) fromStore(ctx context.Context) (places, error) {
	began := c.hub.since.UnixMilli()
	sessions, err := c.hub.store.Sessions(ctx, SessionQuery{User: c.user, Since: time.Now().Add(-ResumeWithin), Limit: 100})
	if err != nil {
		return places{}, err
	}
	sessions = slices.DeleteFunc(sessions, func(s Session) bool {
		return s.Ended == 0 || s.Opened >= began || len(s.Topics) == 0 ||
			s.Dialect != c.protocol || s.Device != c.device || s.Epoch != c.hub.epoch
	})
	ended := int64(0)
	for i := range sessions {
		ended = max(ended, sessions[i].Ended)
	}
	var last *Session
	var at places
	for i := range sessions {
		// Of those that were there at the end of the process it is not known
		// which one comes back: see awayList.take.
		s := &sessions[i]
		if s.Ended < ended-(c.hub.opts.TouchEvery+c.hub.opts.PingEvery).Milliseconds() {
			continue
		}
		if p := (places{epoch: s.Epoch, topics: s.Topics}); last == nil || p.less(at) {
			last, at = s, p
		}
	}
	if last == nil {
		return places{}, nil
	}
	last.Topics = nil // it is resumed once
	return at, c.hub.store.SaveSessions(ctx, *last)
}

// missed says where the inbox of a client begins that was never here, or not
// lately: after what the user was told on any connection in its dialect; if
// there never was one, on any.
func (c *Client) missed(ctx context.Context) (start, error) {
	inbox := Inbox(c.user)
	sessions, err := c.hub.Sessions(ctx, SessionQuery{User: c.user, Limit: 1000})
	if err != nil {
		return start{}, err
	}
	told, never := start{}, start{}
	here := false
	for i := range sessions {
		switch x := &sessions[i]; {
		case x.ID == c.session || x.Epoch != c.hub.epoch:
		case x.Dialect == c.protocol:
			here = true
			told.after = max(told.after, x.Topics[inbox])
		default:
			never.after = max(never.after, x.Topics[inbox])
		}
	}
	if here {
		return told, nil
	}
	return never, nil
}
