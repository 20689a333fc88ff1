package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Event is one entry of the log. Everything that a person sees live is an
// Event; there is no second road.
type Event struct {
	// Seq is the place in the log, from 1. It rises strictly over the whole
	// log and over restarts; gaps are legal. It stays below 2^53, so that
	// JavaScript can hold it.
	Seq int64
	// Topic names the stream: "room:NAME", "user:ID" or "dm:A:B".
	Topic string
	// Kind says what the body is: "message", "voucher.redeemed", …
	Kind string
	// From is the user who sent it, or "" for the house itself.
	From string
	// Key is the sender's idempotency key. The same (Topic, From, Key) never
	// makes a second event; "" makes one every time.
	Key string
	// Body is one valid JSON value, compact, at most Limits.Body bytes.
	Body json.RawMessage
	// At is the server's clock at the commit, milliseconds since 1970 UTC.
	At int64
	// Expires is when the event stops to be repeated, milliseconds since 1970
	// UTC; 0 is never. From then on replays and histories leave it out. Those
	// who are live when it is appended are told it in any case.
	Expires int64

	// Origin is a tag of this process that a Store hands from Append to Tail
	// unchanged and does not keep: it leads the hub back to whoever waits for
	// this very event. 0 means nobody does.
	Origin uint64
}

// Expired reports that the event is not to be repeated at the time now, in
// milliseconds since 1970 UTC.
func (e *Event) Expired(now int64) bool { return e.Expires != 0 && e.Expires <= now }

// Position is a place in one particular log. Epoch names the log: a new file
// or a restored backup has another one, so that an old position is noticed.
type Position struct {
	Epoch string `json:"epoch"`
	Seq   int64  `json:"seq"`
}

// Limits bounds what one client may send. All sizes are bytes.
type Limits struct {
	Frame     int     // one WebSocket message
	Body      int     // Event.Body
	User      int     // a user id
	Topic     int     // a topic's name
	Key       int     // an idempotency key
	Kind      int     // an event's kind
	SendRate  float64 // sends a second for one connection; 0 is no limit
	SendBurst int     // how many sends may come at once
	Topics    int     // topics that one connection may follow
}

// DefaultLimits returns the limits that the protocol documents.
func DefaultLimits() Limits {
	return Limits{
		Frame: 64 << 10, Body: 16 << 10, User: 64, Topic: 128, Key: 128, Kind: 64,
		SendRate: 10, SendBurst: 20, Topics: 200,
	}
}

// The prefixes of the three sorts of topic.
const (
	RoomPrefix  = "room:"
	InboxPrefix = "user:"
	TalkPrefix  = "dm:"
)

// Inbox returns the topic that all devices of a user follow.
func Inbox(user string) string { return InboxPrefix + user }

// Talk returns the topic of the talk between two users. It is the same
// whichever is named first; "%" and ":" in an id are escaped as in a URL, so
// that the two can be told apart again.
func Talk(a, b string) string {
	if b < a {
		a, b = b, a
	}
	return TalkPrefix + talkEscape.Replace(a) + ":" + talkEscape.Replace(b)
}

var (
	talkEscape   = strings.NewReplacer("%", "%25", ":", "%3A")
	talkUnescape = strings.NewReplacer("%25", "%", "%3A", ":")
)

// TalkMembers returns the two users of a talk, in the order of its name, or
// ok false if topic is not the canonical name of a talk.
func TalkMembers(topic string) (a, b string, ok bool) {
	rest, ok := strings.CutPrefix(topic, TalkPrefix)
	if !ok {
		return "", "", false
	}
	a, b, ok = strings.Cut(rest, ":")
	if !ok {
		return "", "", false
	}
	a, b = talkUnescape.Replace(a), talkUnescape.Replace(b)
	return a, b, a != "" && b != "" && Talk(a, b) == topic
}

// CheckUser refuses what cannot be a user id: it is 1 to l.User bytes of
// printable UTF-8 and does not begin or end with a space.
func (l Limits) CheckUser(user string) error {
	return checkName("user id", user, l.User)
}

// CheckTopic refuses what cannot be a topic: "room:", "user:" or "dm:" and a
// name, at most l.Topic bytes of printable UTF-8.
func (l Limits) CheckTopic(topic string) error {
	if len(topic) > l.Topic {
		return Errorf(CodeBadTopic, "the topic is %d bytes long; at most %d are allowed", len(topic), l.Topic)
	}
	for _, p := range []string{RoomPrefix, InboxPrefix} {
		if name, ok := strings.CutPrefix(topic, p); ok {
			if err := checkName("name after "+p, name, l.Topic); err != nil {
				return Errorf(CodeBadTopic, "%s", err.(*Error).Message)
			}
			return nil
		}
	}
	if strings.HasPrefix(topic, TalkPrefix) {
		a, b, ok := TalkMembers(topic)
		if !ok {
			return Errorf(CodeBadTopic, "a talk is named dm:A:B with the smaller user id first, and with %% and : in an id written as %%25 and %%3A")
		}
		if l.CheckUser(a) != nil || l.CheckUser(b) != nil {
			return Errorf(CodeBadTopic, "a talk's two names must be user ids")
		}
		return nil
	}
	return Errorf(CodeBadTopic, "a topic begins with room:, user: or dm:, for example room:lobby")
}

func checkName(what, s string, limit int) error {
	switch {
	case s == "":
		return Errorf(CodeBadUser, "the %s is empty", what)
	case len(s) > limit:
		return Errorf(CodeBadUser, "the %s is %d bytes long; at most %d are allowed", what, len(s), limit)
	case !utf8.ValidString(s):
		return Errorf(CodeBadUser, "the %s is not valid UTF-8", what)
	case strings.TrimSpace(s) != s:
		return Errorf(CodeBadUser, "the %s begins or ends with a space", what)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) && !joiner(r) {
			return Errorf(CodeBadUser, "the %s holds the unprintable character %U", what, r)
		}
	}
	return nil
}

// joiner reports the invisible characters that emoji and Indic or Persian
// names need, and that cannot reorder what stands around them.
func joiner(r rune) bool { return r == 0x200D || r == 0x200C || (r >= 0xFE00 && r <= 0xFE0F) }

// CheckEvent refuses an event that may not enter the log. Seq, At and Origin
// are not looked at.
func (l Limits) CheckEvent(e *Event) error {
	if err := l.checkDecoded(e); err != nil {
		return err
	}
	if !json.Valid(e.Body) {
		return Errorf(CodeBadFrame, "the body is not a JSON value")
	}
	if !utf8.Valid(e.Body) {
		return Errorf(CodeBadFrame, "the body is not valid UTF-8")
	}
	if e.Kind == KindRecalled {
		return Errorf(CodeForbidden, "an event of kind %q is made by recalling a message, which only its sender can", e.Kind)
	}
	return nil
}

// checkDecoded is CheckEvent for a body that a Dialect has decoded from valid
// UTF-8: reading it once is enough.
func (l Limits) checkDecoded(e *Event) error {
	if err := l.CheckTopic(e.Topic); err != nil {
		return err
	}
	if e.From != "" {
		if err := l.CheckUser(e.From); err != nil {
			return err
		}
	}
	if e.Kind == "" || len(e.Kind) > l.Kind {
		return Errorf(CodeBadFrame, "the kind must have 1 to %d bytes, for example \"message\"", l.Kind)
	}
	for _, r := range e.Kind {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-') {
			return Errorf(CodeBadFrame, "the kind %q may hold only letters, digits, '.', '_' and '-'", e.Kind)
		}
	}
	if len(e.Key) > l.Key {
		return Errorf(CodeBadFrame, "the key is %d bytes long; at most %d are allowed", len(e.Key), l.Key)
	}
	if !utf8.ValidString(e.Key) {
		return Errorf(CodeBadFrame, "the key is not valid UTF-8")
	}
	if len(e.Body) > l.Body {
		return Errorf(CodeTooLarge, "the body is %d bytes long; at most %d are allowed", len(e.Body), l.Body)
	}
	return nil
}

// String shows an event for a test's failure message, without its body.
func (e Event) String() string {
	return fmt.Sprintf("%d %s %s from %q key %q", e.Seq, e.Topic, e.Kind, e.From, e.Key)
}
