package chat

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// Handshake is what a dialect may know of the request that opened a
// connection, as data.
type Handshake struct {
	Query  url.Values
	Header http.Header
}

// Opening is how a connection begins: its protocol, what it asks for without
// saying it, and what the core does otherwise than for a native client. A
// native client says hello by itself, so its Opening is its Dialect alone.
type Opening struct {
	// Protocol names what the client was written for: what Resume, Missed and
	// Sockets tell clients apart by, and what its session is kept under. It is
	// that of the opening in which hello was said, also when another Keep
	// follows. "" means the Dialect's Name.
	Protocol string
	// Keep is for an opening that another one goes on with: the connection
	// stays who it is, what it said and joined holds, Commands are not carried
	// out; only the Dialect and the Rules are others from now on. Without it
	// the connection begins again as one that has said nothing.
	Keep bool
	// Dialect encodes, and decodes what this very connection says. Where
	// decoding depends on the connection (its room, its user), that stands in
	// the Dialect's fields; encoding must depend on the Name only.
	Dialect Dialect
	// Commands are carried out before the first frame. If one fails the
	// connection is closed with the reason.
	Commands []Command
	// Authenticate decides who a hello is; nil: as ServerOptions say.
	Authenticate Authenticator
	Rules        Rules
}

// Rules are what a protocol that was made for another server needs of the
// core. The zero value is a native client's.
type Rules struct {
	// Echo: the connection is told its own events like anybody's, and no acks.
	Echo bool
	// Lenient: what makes no sense is a sign of life and does not close the
	// connection; who sends too fast is slowed down instead of refused; and it
	// is pinged each HubOptions.PingEvery also while it talks.
	Lenient bool
	// Nameless: it may send without a hello. Its events are from nobody.
	Nameless bool
	// Rebind: hello may fail, and may be said again, by another user too.
	Rebind bool
	// Secretless: the protocol has no place for the secret of a claimed name:
	// its users' names cannot be claimed by others while they are used, and
	// look-alikes of claimed names are not refused to them.
	Secretless bool
	// Resume: the client holds no position. When the same one (dialect, user,
	// device) comes back within ResumeWithin, its inbox and what it joins
	// begin where it ended.
	Resume bool
	// Missed: if it cannot be resumed, its inbox begins after what any
	// connection of the user in this dialect was told, so that what came
	// while nobody was there is not lost.
	Missed bool
	// Sockets: how many connections one device of a user may have; when there
	// are more, the oldest are closed quietly. 0: any number.
	Sockets int
	// Beat: the dialect is given a ReplyBeat so often to say something
	// unasked; whole seconds. 0: never.
	Beat time.Duration
	// HelloWait: how long it may stay without a hello. 0: HubOptions.HelloWait;
	// negative: for ever.
	HelloWait time.Duration
	// Idle and Then: a connection that has said nothing for so long goes on
	// with another opening. Whole seconds; 0: never.
	Idle time.Duration
	Then func() Opening
}

// ResumeWithin is how long a client without positions of its own may be away
// and still get what it missed.
const ResumeWithin = 10 * time.Minute

// newClient makes the connection's next client.
func (l *link) newClient(o Opening) *Client {
	c := &Client{link: l, protocol: cmp.Or(o.Protocol, o.Dialect.Name()), auth: o.Authenticate, opened: time.Now().UnixMilli()}
	c.speak(o)
	if o.Rules.Beat > 0 {
		c.beatAt = l.hub.now.Load() + int64(o.Rules.Beat.Seconds())
	}
	return c
}

// speak has the client spoken with as the opening says.
func (c *Client) speak(o Opening) {
	c.manner.Store(&manner{codec: o.Dialect, dialect: c.hub.dialectFor(o.Dialect), rules: o.Rules})
}

// begins carries out what an opening asks for, and has the clock started for
// the first frame. An error ends the connection. The caller holds turn.
func (c *Client) begins(commands []Command) error {
	if c.rules().Then != nil {
		c.idle = time.AfterFunc(c.rules().Idle, c.link.goIdle)
	}
	for i := range commands {
		err := c.do(&commands[i])
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fatal.Err
		}
		if err != nil {
			return AsError(err)
		}
	}
	return nil
}

// replace ends a client and goes on with another one on the same connection:
// the first frame told what it speaks, or it said who it is once more. What
// either of them is never changes, so nobody who holds it has to look twice.
// The caller holds turn.
func (c *Client) replace(o Opening) *Client {
	h, n := c.hub, c.link.newClient(o)
	c.retire()
	h.mu.Lock()
	delete(h.conns, c)
	h.conns[n] = true
	c.link.client.Store(n)
	h.mu.Unlock()
	h.wheel.add(n, n.firstLook())
	return n
}

// goIdle is for a connection that has said nothing for so long that it goes on
// otherwise.
func (l *link) goIdle() {
	l.turn.Lock()
	defer l.turn.Unlock()
	c := l.client.Load()
	c.mu.Lock()
	gone := c.gone
	c.mu.Unlock()
	if l.idle == nil || gone { // a frame was faster, or the end
		return
	}
	l.idle = nil
	if n, err := c.become(c.rules().Then()); err != nil {
		n.close(AsError(err))
	}
}

// become goes on with another opening. The caller holds turn.
func (c *Client) become(o Opening) (*Client, error) {
	if o.Keep {
		c.speak(o)
		return c, nil
	}
	n := c.replace(o)
	return n, n.begins(o.Commands)
}

// pruneSockets closes the oldest connections of the same device where there
// are more than its protocol's rules allow: some clients open a new one and
// forget the old one.
func (c *Client) pruneSockets() {
	h := c.hub
	h.mu.RLock()
	var same []*Client
	for _, x := range h.byUser[c.user] {
		if x.key() == c.key() {
			same = append(same, x)
		}
	}
	h.mu.RUnlock()
	for len(same) > c.rules().Sockets { // byUser is in the order of coming
		x := same[0]
		same = same[1:]
		h.flushNow(x, x.out.finish(closeFrame(websocket.CloseNormalClosure, "a newer connection of this device took its place"), h.opts.CloseWait))
	}
}
