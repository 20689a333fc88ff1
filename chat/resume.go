package chat

import (
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
	// left: a browser left the page. What comes back shows nothing yet, so it
	// gets the recent lines as well.
	left bool
}

// less reports that p is behind q.
func (p places) less(q places) bool {
	sum := func(p places) (n int64) {
		for _, seq := range p.topics {
			n += seq
		}
		return n
	}
	return sum(p) < sum(q)
}

func (p places) seq(topic string) (int64, bool) {
	seq, ok := p.topics[topic]
	return seq, ok
}

// sureness is how far a client without positions has surely got.
type sureness struct {
	waits  atomic.Bool // something was delivered, and a ping is to ask for it
	unsure atomic.Bool // of something that was delivered it is not known whether it arrived
	left   atomic.Bool // see places
	taken  atomic.Bool // another connection went on from here

	// claimed is set by who hands on its places: the list of those that are
	// away, or one that takes them over.
	claimed atomic.Bool

	mu      sync.Mutex
	number  int                     // of the last ping
	asked   map[*subscription]int64 // the cursors before it; nil: none is under way
	askedAt time.Time
	more    bool // something was delivered after it
}

// probeDelay collects deliveries, so that a busy room is asked for in few
// pings.
const probeDelay = 50 * time.Millisecond

// delivered notes that something was queued to the client. The cursor moves
// afterwards: while nothing is unsure, all that it covers has arrived.
func (c *Client) delivered() {
	if !c.rules().Resume {
		return
	}
	if c.sure.waits.CompareAndSwap(false, true) {
		c.hub.probes.add([]*Client{c})
	}
	c.sure.unsure.Store(true) // after waits: see ponged
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
	c.sure.asked, c.sure.askedAt = c.cursors(), time.Now()
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
	switch {
	case !c.sure.more:
		// What the cursors cover since the ping is the client's own, or not
		// shown to it; unless something was delivered in this very moment.
		at := c.cursors()
		c.sure.unsure.Store(false)
		if c.sure.waits.Load() {
			c.sure.unsure.Store(true)
			break
		}
		for s, seq := range at {
			s.surely(seq)
		}
	case c.sure.waits.CompareAndSwap(false, true):
		c.hub.probes.add([]*Client{c})
	}
	c.hub.rec.note(c, false)
}

// silentAfter is how long a ping may be without an answer before an end of the
// connection is taken for that of a network.
const silentAfter = 2 * time.Second

// endedCleanly is called when the client has ended the connection in order. If
// nothing is left unwritten or unacknowledged by its side's TCP, or it answers
// our goodbye, it has got everything; unless it had answered nothing for a
// while: then it may be a proxy that ends and acknowledges, for a client whose
// network is gone.
func (c *Client) endedCleanly() {
	if !c.rules().Resume {
		return
	}
	c.sure.mu.Lock()
	silent := c.sure.asked != nil && time.Since(c.sure.askedAt) > silentAfter
	c.sure.mu.Unlock()
	arrived := !silent && c.out.arrived()
	// Its TCP may be about to acknowledge what was written a moment ago.
	for i := 0; i < 5 && !silent && !arrived; i++ {
		time.Sleep(10 * time.Millisecond)
		arrived = c.out.arrived()
	}
	if arrived {
		for s, seq := range c.cursors() {
			s.surely(seq)
		}
	}
}

// surePlaces returns how far the client has surely got.
func (c *Client) surePlaces() places {
	p := places{epoch: c.hub.epoch, topics: make(map[string]int64, 2), left: c.sure.left.Load()}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.subs {
		p.topics[s.topic.name] = s.cursor.Load()
	}
	if !c.sure.unsure.Load() { // after the cursors: see delivered
		return p
	}
	for _, s := range c.subs {
		p.topics[s.topic.name] = s.sure.Load()
		if !p.left {
			p.own = append(p.own, s.own...)
		}
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
	if live && !s.client.sure.unsure.Load() {
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
