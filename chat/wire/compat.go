package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"teahouse/chat"
)

// Compat configures the legacy protocols: those of other servers, whose
// clients go on as they are (docs/dialects.md).
type Compat struct {
	Recent     int      // how many recent lines a fresh page gets, in the protocols that are chat
	EventKey   string   // what logins of "event" are signed with; "" for none
	EventRoles []string // the roles that "event" knows; the first is that of our own users [user]
	Open       bool     // clients may name themselves
	EchoMode   string   // what "echo" does where the URL does not say: "" or "ack"
	Root       string   // the protocol at the root path; "" chooses by the first frame
}

// protocols are the legacy protocols. One more is a file with its opening, a
// line here and a transcript in testdata.
var protocols = []struct {
	name string
	open func(*Compat, chat.Handshake) chat.Opening
}{
	{"room", (*Compat).room},
	{"voucher", (*Compat).voucher},
	{"relay", (*Compat).relay},
	{"echo", (*Compat).echo},
	{"typed", (*Compat).typed},
	{"event", (*Compat).event},
}

// rootName is the opening that chooses one of the protocols.
const rootName = "root"

// Names returns the legacy protocols, each of which has a path of its own.
func Names() []string {
	names := make([]string, len(protocols))
	for i, p := range protocols {
		names[i] = p.name
	}
	return names
}

// Opening returns how a connection of the protocol begins; "root" chooses
// one. It is false if there is no such protocol, and then for Compat.Root too.
func (c *Compat) Opening(name string, h chat.Handshake) (chat.Opening, bool) {
	if name == rootName {
		if c.Root == "" {
			return c.root(h), true
		}
		name = c.Root
	}
	for _, p := range protocols {
		if p.name == name {
			return p.open(c, h), true
		}
	}
	return chat.Opening{}, false
}

// roomTopic returns the topic of the room that a client is in.
func roomTopic(h chat.Handshake) string {
	room := h.Query.Get("room")
	if room == "" {
		room = chat.Lobby
	}
	return chat.RoomPrefix + room
}

// userOf returns the name in the URL, the first of the parameters that is one.
// "" and "0" are none: PHP takes both for false.
func userOf(h chat.Handshake, parameters ...string) string {
	for _, p := range parameters {
		if u := strings.TrimSpace(h.Query.Get(p)); u != "" && u != "0" {
			return u
		}
	}
	return ""
}

// hello returns what a client with the name says by its URL and headers.
func (c *Compat) hello(h chat.Handshake, user string) chat.Command {
	hello := chat.Command{Op: chat.OpHello, User: user, Device: deviceOf(h)}
	if !c.Open {
		hello.Token = h.Query.Get("token")
	}
	return hello
}

// miniProgram begins the Referer of what runs in WeChat.
const miniProgram = "https://servicewechat.com/"

func isMiniProgram(h chat.Handshake) bool {
	return strings.HasPrefix(h.Header.Get("Referer"), miniProgram)
}

// isBrowser reports that the client is a page: only browsers say an Origin.
func isBrowser(h chat.Handshake) bool { return h.Header.Get("Origin") != "" }

// deviceOf tells a user's devices apart, as far as their headers do: the same
// device has the same name when it comes back, also from another network. Pages
// in different rooms are different ones: none goes on where another one ended.
func deviceOf(h chat.Handshake) string {
	app := ""
	if rest, ok := strings.CutPrefix(h.Header.Get("Referer"), miniProgram); ok {
		app, _, _ = strings.Cut(rest, "/") // what follows is its version
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{
		h.Header.Get("User-Agent"), h.Header.Get("Accept-Language"), h.Header.Get("Origin"), app, roomTopic(h),
	}, "\x00")))
	return hex.EncodeToString(sum[:6])
}

// textBody returns the body of a chat line with the value as its text, which
// every client can show. What is not a string stands as "data" beside it, so
// that its type is kept. via names the protocol that needs to know its own
// lines again, "" for none.
func textBody(v []byte, via string) json.RawMessage {
	v = compact(v)
	b := append(make([]byte, 0, 2*len(v)+40), `{"text":`...)
	switch {
	case isString(v):
		b = append(b, v...)
	case isNull(v):
		b = append(b, `"","data":null`...)
	default:
		b = append(append(appendQuoted(b, string(v), false), `,"data":`...), v...)
	}
	if via != "" {
		b = append(append(append(b, `,"via":"`...), via...), '"')
	}
	return append(b, '}')
}

// line is what an event says to people, as it stands in its body; parts that
// are not there are nil. It is textBody backwards, for bodies of anybody.
type line struct {
	text []byte // a JSON string
	data []byte // the value whose text that is
	via  []byte // a JSON string
}

// readLine finds the line in an event. There is none where the body is no
// text: a body that is not an object with a string "text", nor a string.
func readLine(e *chat.Event) (l line) {
	if isString(e.Body) {
		return line{text: e.Body}
	}
	members(e.Body, func(name, value []byte) {
		switch string(name) {
		case "text":
			l.text = value
		case "data":
			l.data = value
		case "via":
			l.via = value
		}
	})
	if !isString(l.text) {
		return line{}
	}
	if !says(l.text, l.data) && !(isNull(l.data) && len(l.text) == 2) {
		l.data = nil
	}
	return l
}

// readShown is readLine for clients that show lines and nothing else. A
// message without a text is shown as the JSON that it is; other kinds are
// shown only if they have one.
func readShown(e *chat.Event) (l line, ok bool) {
	l = readLine(e)
	if l.text == nil && e.Kind == chat.KindMessage {
		l.text = appendQuoted(nil, string(e.Body), false)
	}
	return l, l.text != nil
}

// unseen reports what old clients have no word for: that a message was
// recalled, and a recalled message. What they have printed stays.
func unseen(e *chat.Event) bool { return e.Kind == chat.KindRecalled || e.Recalled() }

func inRoom(e *chat.Event) bool { return strings.HasPrefix(e.Topic, chat.RoomPrefix) }

// sentVia reports that a line was said in the protocol.
func (l *line) sentVia(protocol string) bool {
	return len(l.via) == len(protocol)+2 && bytes.Equal(l.via[1:len(l.via)-1], []byte(protocol))
}

// plainID returns a request's id as it is echoed: nil for none, and for what
// is neither a number nor a string.
func plainID(v []byte) json.RawMessage {
	if len(v) == 0 || isNull(v) || !goodID(v) {
		return nil
	}
	return slices.Clone(v)
}
