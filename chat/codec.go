package chat

import "encoding/json"

// Op says what a client asks for.
type Op uint8

// What a client can ask for. OpNone is a frame that asks for nothing: a sign
// of life.
const (
	OpNone Op = iota
	OpHello
	OpJoin
	OpLeave
	OpSend
	OpHistory
	OpPresence
	OpSignal
	OpPing
	// OpEcho has Body, which need not be JSON, answered to the sender alone.
	OpEcho
	// OpBecome goes on with another opening, which then decodes the same
	// frame again: the first frame has told which protocol this is.
	OpBecome
	// OpVouchers lists the user's own vouchers.
	OpVouchers
	// OpProtect gives a room a code, or takes it away.
	OpProtect
	OpTopics
	OpMark
	OpSearch
)

// Command is one decoded frame of a client: what it asks for, and the fields
// that this needs. A Decode copies what it keeps: the frame's memory is used
// again.
type Command struct {
	Op       Op
	ID       json.RawMessage // the client's own id of the request, a JSON number or string echoed as it came; nil if it gave none
	User     string          // hello
	Token    string          // hello
	Secret   string          // hello: what the name belongs to, where clients name themselves
	Code     string          // join: of a room that has one; protect: "" for none
	Device   string          // hello
	Position *Position       // hello, when it comes back
	Topic    string          // hello: a room to join once it succeeded, as a join with Recent and Quiet would; without an answer, and "" for none
	Epoch    string          // join: the log that After speaks of; "" means the one of the hello
	After    *int64          // join: replay what follows this Seq
	Recent   int             // join, hello with a Topic: replay the newest so many
	Key      string          // send
	Kind     string          // send, signal
	Body     json.RawMessage // send, signal, echo
	Quiet    bool            // join, hello with a Topic: without being announced or counted as present
	Become   *Opening        // become
	Status   string          // vouchers: only those in this state
	Cursor   string          // vouchers: of the page before
	Before   int64           // history, search
	Limit    int             // history, search, vouchers
	Text     string          // search: what to look for
	Read     *int64          // mark: up to where; nil leaves it
	Muted    *bool           // mark; nil leaves it
	Kept     *bool           // mark; nil leaves it
}

// ReplyOp says what the server tells.
type ReplyOp uint8

// What the server tells, beside events.
const (
	ReplyWelcome ReplyOp = iota + 1
	ReplyJoined
	ReplyLeft
	ReplyAck
	ReplyHistory
	ReplyPresence
	ReplySignal
	ReplyOnline
	ReplyReset
	ReplyPong
	ReplyError
	ReplyEcho
	ReplyBeat
	ReplyVouchers
	ReplyProtected
	ReplyTopics
	ReplyMarked
	ReplySearch
)

// Why a client's position does not join on to what follows.
const (
	ResetEpoch     = "epoch"     // the position is of another log
	ResetRetention = "retention" // what followed it was removed
	ResetLimit     = "limit"     // too much follows it
)

// Reply is what the server tells one client, or all of a topic, beside events.
type Reply struct {
	Op       ReplyOp
	ID       json.RawMessage // of the request that it answers
	Topic    string
	User     string // welcome, online; pong: who the connection is, "" before hello
	Session  string // welcome
	Position Position
	PingMS   int64 // welcome: the server pings at least this often
	RecallMS int64 // welcome: how long a message can be recalled; 0: not at all
	Limits   *Limits
	Claimed  *bool    // welcome: whether the name is the secret's; nil if no secret was given, or none counts
	Locked   bool     // joined: the room has a code
	Head     int64    // joined: every event up to this Seq is old news or follows in the replay
	Count    int      // joined: how many users are online in the topic
	Online   bool     // online
	Key      string   // ack
	Seq      int64    // ack
	At       int64    // ack, beat, vouchers: ms since 1970 UTC
	Again    bool     // ack: it does not stand in its event's place: that was told, is told by itself, or was skipped
	From     string   // signal
	Kind     string   // signal
	Body     []byte   // signal; echo: what was said
	Events   []Event  // history, search: oldest first
	More     bool     // history: older ones exist; presence: not all are named; search: not all was looked at
	Before   int64    // search: go on with what is below this Seq
	Users    []string // presence, sorted
	Reason   string   // reset
	After    int64    // reset, joined: what follows begins after this Seq
	For      Op       // error: what was asked for
	Err      *Error   // error

	Vouchers []OwnVoucher // vouchers, newest first
	Cursor   string       // vouchers: of the next page, "" at the end
	Mark     *Mark        // marked
	Topics   []TopicState // topics
}

// Dialect is one wire protocol: a pair of pure functions. It keeps no state;
// equal names mean equal frames, so that the hub encodes an event once for
// each name, whatever the number of clients.
type Dialect interface {
	// Name identifies the encoding, for example "native".
	Name() string
	// Decode reads one text frame, which is valid UTF-8. A Command's Body is
	// one valid JSON value. An error is an *Error that is told to the client.
	Decode(frame []byte) (Command, error)
	// AppendEvent appends the frame's text for an event, or nothing where
	// the dialect does not show it.
	AppendEvent(dst []byte, e *Event) []byte
	// AppendReply appends the frame's text for a reply, or nothing where the
	// dialect does not show it.
	AppendReply(dst []byte, r *Reply) []byte
}
