package chat

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// Identity is who a client proved to be.
type Identity struct {
	User    string
	Expires time.Time // when the proof runs out; zero means never
	Proved  bool      // and not merely said: may be told what nobody else may know
	Proof   time.Time // until when it counts as proved, if that ends before Expires; zero means as long
	// SelfNamed: nothing was proved; the client says who it is. Claimed names
	// are kept from it unless it shows their secret.
	SelfNamed bool

	secret *[32]byte // see Client
	owns   bool
}

// Authenticator decides who a client is, from the name that it gives itself
// and its token. An error is an *Error that is told to it.
type Authenticator func(ctx context.Context, user, token string) (Identity, error)

// Open lets clients name themselves; who does not gets a guest's name.
func Open(_ context.Context, user, _ string) (Identity, error) {
	if user == "" {
		return Identity{User: "guest-" + strings.ToLower(randomID()[:6])}, nil
	}
	return Identity{User: user, SelfNamed: true}, nil
}

// randomID returns 26 characters with 128 bits of randomness.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, says crypto/rand
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
}

// maxDevice bounds what a device calls itself, in bytes.
const maxDevice = 64

func (c *Client) doHello(cmd *Command) error {
	who, err := c.identify(cmd)
	if err != nil {
		if c.rules().Rebind && !c.link.mayBeRefused() {
			return &fatalError{Errorf(CodeRateLimited, "too many logins were refused; come back with the right token")}
		}
		if c.rules().Rebind || c.hello.Load() {
			return err
		}
		return &fatalError{AsError(err)}
	}
	if c.hello.Load() {
		c = c.replace(Opening{Protocol: c.protocol, Dialect: c.manner.Load().codec, Authenticate: c.auth, Rules: *c.rules()})
	}
	h := c.hub
	c.user, c.device, c.session = who.User, cmd.Device, randomID()
	c.proved = who.Proved
	if !who.Proof.IsZero() {
		c.proof = who.Proof.Unix()
	}
	c.secret, c.owns = who.secret, who.owns
	c.proved = c.proved || c.owns
	if !who.Expires.IsZero() {
		c.expires = who.Expires.Unix()
	}
	head := h.round.covers.Load()
	inbox := start{after: head, live: true}
	if p := cmd.Position; p != nil {
		c.foreign = p.Epoch != "" && p.Epoch != h.epoch
		inbox = c.begin(p.Seq, p.Epoch)
	} else if c.rules().Resume {
		if inbox, err = c.resume(inbox); err != nil {
			return &fatalError{AsError(h.logged(err))}
		}
	}
	if !h.enter(c) {
		return &fatalError{goingAway(0)}
	}
	limits := h.opts.Limits
	welcome := &Reply{
		Op: ReplyWelcome, ID: cmd.ID, User: c.user, Session: c.session,
		Position: Position{h.epoch, head},
		PingMS:   (h.opts.PingEvery + time.Second).Milliseconds(), Limits: &limits,
		RecallMS: max(h.opts.RecallWindow, 0).Milliseconds(),
	}
	if c.secret != nil {
		welcome.Claimed = &c.owns
	}
	c.reply(welcome)
	c.hello.Store(true)
	c.follow(Inbox(c.user), inbox, nil)
	if c.rules().Sockets > 0 {
		c.pruneSockets()
	}
	if cmd.Topic != "" {
		return c.doJoin(&Command{Op: OpJoin, Topic: cmd.Topic, Recent: cmd.Recent, Quiet: cmd.Quiet})
	}
	return nil
}

// Some clients say hello again for ever when they are refused, every few
// seconds. That harms nobody; who does it faster is trying tokens.
const (
	refusedRate  = 1 // a second
	refusedBurst = 20
)

// mayBeRefused reports whether one more hello of the connection may fail.
func (l *link) mayBeRefused() bool {
	if l.refusals == nil {
		l.refusals = rate.NewLimiter(refusedRate, refusedBurst)
	}
	return l.refusals.Allow()
}

// identify finds out who says hello.
func (c *Client) identify(cmd *Command) (Identity, error) {
	if c.hello.Load() && !c.rules().Rebind {
		return Identity{}, Errorf(CodeBadFrame, "hello was said already")
	}
	auth := c.auth
	if auth == nil {
		auth = c.link.auth
	}
	who, err := auth(c.hub.ctx, cmd.User, cmd.Token)
	if err != nil {
		return who, err
	}
	if err := c.hub.opts.Limits.CheckUser(who.User); err != nil {
		return who, err
	}
	if len(cmd.Device) > maxDevice {
		return who, Errorf(CodeBadFrame, "the device is %d bytes long; at most %d are allowed", len(cmd.Device), maxDevice)
	}
	if err := c.mayEnter(cmd.Topic); err != nil { // before it is told that it is in
		return who, err
	}
	err = c.bear(&who, cmd.Secret)
	return who, err
}

// enter puts a client that said hello into the hub's maps. It reports false
// while the hub stops.
func (h *Hub) enter(c *Client) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.commands.closed() {
		return false
	}
	h.clients[c.session] = c
	h.byUser[c.user] = append(h.byUser[c.user], c)
	h.stats.sessions.Add(1)
	h.rec.note(c, false)
	return true
}

// leave ends a connection with its client. The read loop calls it last.
func (l *link) leave() {
	l.out.fail()
	c := l.client.Load()
	c.retire()
	l.hub.mu.Lock()
	delete(l.hub.conns, c)
	l.hub.mu.Unlock()
	l.hub.open.Done()
}

// retire ends a client: it follows nothing, is in no map, and its session is
// recorded as ended. The connection may go on with another one.
func (c *Client) retire() {
	h := c.hub
	c.mu.Lock()
	c.gone = true
	subs := append([]*subscription(nil), c.subs...)
	c.mu.Unlock()
	if c.hello.Load() {
		c.endedAt.Store(time.Now().UnixMilli())
		h.mu.Lock()
		delete(h.clients, c.session)
		peers := h.byUser[c.user]
		for i, x := range peers {
			if x == c {
				peers = append(peers[:i:i], peers[i+1:]...)
				break
			}
		}
		if len(peers) == 0 {
			delete(h.byUser, c.user)
		} else {
			h.byUser[c.user] = peers
		}
		h.rec.note(c, true)
		// After the note: who takes it from there notes that as well. Under mu:
		// who comes back finds it here or there.
		h.away.add(c)
		h.mu.Unlock()
	}
	for _, s := range subs {
		s.topic.detach(h, s)
	}
}
