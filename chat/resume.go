package chat

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Some clients hold no positions: they show what they get, cannot drop what
// comes twice, and when they come back they only say who they are. For these
// (Rules.Resume) the hub keeps how far each has surely got, and lets the next
// connection of the same client begin there.
//
// What was written to a socket may never have arrived: the network was pulled,
// and TCP tells of it half a minute later. So after something was delivered
// the client is sent a ping; the pong proves that it has what came before.
// That is where it will be resumed. Where it stays unknown whether something
// arrived, it is told again: a line twice is better than a line lost.

// places is where a client ended: the last Seq that it surely has, by topic.
type places struct {
	epoch  string
	topics map[string]int64
	own    []int64 // events after these that it sent itself
}

func (p places) seq(topic string) (int64, bool) {
	seq, ok := p.topics[topic]
	return seq, ok
}

// sureness is how far a client without positions has surely got.
type sureness struct {
	waits atomic.Bool // something was delivered, and a ping is to ask for it
	taken atomic.Bool // another connection went on from here

	mu     sync.Mutex
	number int                     // of the last ping
	asked  map[*subscription]int64 // the cursors before it; nil: none is under way
	more   bool                    // something was delivered after it
}

// probeDelay collects deliveries, so that a busy room is asked for in few
// pings.
const probeDelay = 50 * time.Millisecond

// delivered notes that something was queued to the client.
func (c *Client) delivered() {
	if c.rules().Resume && c.sure.waits.CompareAndSwap(false, true) {
		c.hub.probes.add([]*Client{c})
	}
}

// probe asks the client whether it has what was delivered.
func (c *Client) probe() {
	c.sure.mu.Lock()
	defer c.sure.mu.Unlock()
	c.sure.waits.Store(false)
	if c.sure.asked != nil {
		c.sure.more = true
		return
	}
	c.sure.more = false
	c.sure.number++
	// A cursor moves after its event was queued: what it covers stands in
	// the queue before the ping.
	c.sure.asked = c.cursors()
	ping := appendFrame(nil, framePing, strconv.AppendInt(nil, int64(c.sure.number), 10))
	c.hub.flushNow(c, c.out.push(ping))
}

func probeAll(clients []*Client) {
	for _, c := range clients {
		c.probe()
	}
}

func (c *Client) cursors() map[*subscription]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := make(map[*subscription]int64, len(c.subs))
	for _, s := range c.subs {
		at[s] = s.cursor.Load()
	}
	return at
}

// ponged takes the answer to a ping.
func (c *Client) ponged(data string) {
	if !c.rules().Resume {
		return
	}
	c.sure.mu.Lock()
	defer c.sure.mu.Unlock()
	if c.sure.asked == nil || data != strconv.Itoa(c.sure.number) {
		return
	}
	for s, seq := range c.sure.asked {
		s.surely(seq)
	}
	c.sure.asked = nil
	c.hub.rec.note(c, false)
	if c.sure.more && c.sure.waits.CompareAndSwap(false, true) {
		c.hub.probes.add([]*Client{c})
	}
}

// endedCleanly is called when the client has ended the connection in order. If
// nothing is left unwritten or unacknowledged by its side's TCP, or it answers
// our goodbye, it has got everything.
func (c *Client) endedCleanly() {
	if c.rules().Resume && c.out.arrived() {
		for s, seq := range c.cursors() {
			s.surely(seq)
		}
	}
}

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
	at     int64 // when it ended, ms since 1970 UTC
	places places
}

// awayMax is how many are kept of one client: it may have several pages.
const awayMax = 8

func (a *awayList) add(c *Client) {
	if !c.rules().Resume || c.sure.taken.Load() {
		return
	}
	x := awayClient{c.endedAt.Load(), c.surePlaces()}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.clients == nil {
		a.clients = make(map[clientKey][]awayClient)
	}
	list := append(a.clients[c.key()], x)
	a.clients[c.key()] = list[max(0, len(list)-awayMax):]
}

// take removes and returns the one that ended last.
func (a *awayList) take(key clientKey, now int64) (places, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.clients[key]
	if len(list) == 0 || list[len(list)-1].at < now-ResumeWithin.Milliseconds() {
		return places{}, false
	}
	x := list[len(list)-1]
	if a.clients[key] = list[:len(list)-1]; len(list) == 1 {
		delete(a.clients, key)
	}
	return x.places, true
}

// tidy forgets those that are away for too long.
func (a *awayList) tidy(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, list := range a.clients {
		list = slices.DeleteFunc(list, func(x awayClient) bool { return x.at < now-ResumeWithin.Milliseconds() })
		if a.clients[key] = list; len(list) == 0 {
			delete(a.clients, key)
		}
	}
}

// surePlaces returns how far the client has surely got.
func (c *Client) surePlaces() places {
	p := places{epoch: c.hub.epoch, topics: make(map[string]int64, 2)}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subs {
		p.topics[s.topic.name] = s.sure.Load()
		p.own = append(p.own, s.own...)
	}
	return p
}

// ownMax is how many of its own lines a client's place remembers beyond what
// it surely has.
const ownMax = 64

// saidItself notes that an event which the follower sent has its place in the
// stream: it needs no telling. live: all before it was told live. The caller
// holds topic.mu and Client.mu.
func (s *subscription) saidItself(seq int64, live bool) {
	if !s.client.rules().Resume {
		return
	}
	if live && s.sure.Load() == s.cursor.Load() { // nothing else is unsure
		s.sure.Store(seq)
		s.client.hub.rec.note(s.client, false)
		return
	}
	s.own = append(s.own, seq)
	s.own = s.own[max(0, len(s.own)-ownMax):]
}

// surely notes that the client has everything up to seq.
func (s *subscription) surely(seq int64) {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	s.sure.Store(max(seq, s.sure.Load()))
	s.own = slices.DeleteFunc(s.own, func(own int64) bool { return own <= seq })
}

// resume finds out where the same client ended, and so where its inbox begins;
// otherwise is where it begins if there was none.
func (c *Client) resume(otherwise start) (start, error) {
	ctx := c.hub.ctx
	at, ok := c.takeOver()
	if !ok {
		at, ok = c.hub.away.take(c.key(), time.Now().UnixMilli())
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
		if x.rules().Resume && x.key() == c.key() {
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
	var newest *Client
	for x := range dead {
		x.out.fail()
		if newest == nil || x.opened > newest.opened {
			newest = x
		}
	}
	if newest == nil {
		return places{}, false
	}
	// It is taken over: it must not be found again among those that left.
	newest.sure.taken.Store(true)
	return newest.surePlaces(), true
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
	var last *Session
	for i := range sessions {
		s := &sessions[i]
		if s.Ended == 0 || s.Opened >= began || len(s.Topics) == 0 ||
			s.Dialect != c.protocol || s.Device != c.device || s.Epoch != c.hub.epoch {
			continue
		}
		if last == nil || s.Ended > last.Ended {
			last = s
		}
	}
	if last == nil {
		return places{}, nil
	}
	at := places{epoch: last.Epoch, topics: last.Topics}
	last.Topics = nil // it is resumed once
	return at, c.hub.store.SaveSessions(ctx, *last)
}

// missed says where the inbox of a client begins that was never here, or not
// lately: after what the user was told on any connection.
func (c *Client) missed(ctx context.Context) (start, error) {
	inbox := Inbox(c.user)
	sessions, err := c.hub.Sessions(ctx, SessionQuery{User: c.user, Limit: 1000})
	if err != nil {
		return start{}, err
	}
	s := start{}
	for i := range sessions {
		if sessions[i].ID != c.session && sessions[i].Epoch == c.hub.epoch {
			s.after = max(s.after, sessions[i].Topics[inbox])
		}
	}
	return s, nil
}
