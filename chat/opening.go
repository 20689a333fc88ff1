package chat

import (
	"net/http"
	"net/url"
	"time"
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
	// connection; who sends too fast is slowed down instead of refused.
	Lenient bool
	// Nameless: it may send without a hello. Its events are from nobody.
	Nameless bool
	// Rebind: hello may fail, and may be said again, by another user too.
	Rebind bool
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
