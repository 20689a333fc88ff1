package wire

import (
	"encoding/json"
	"strings"
	"time"

	"teahouse/chat"
)

// root is no protocol: it waits for the first frame to tell which one the
// client speaks, since all old clients come to the same path. It says nothing.
type root struct {
	compat    *Compat
	handshake chat.Handshake
}

var _ chat.Dialect = root{}

// rootIdle is how long a client may say nothing before it is taken for one
// that only listens.
const rootIdle = time.Second

// root opens a connection of which the protocol is not known, as far as the
// handshake does not tell: a name in the URL is a room's.
func (c *Compat) root(h chat.Handshake) chat.Opening {
	switch {
	case userOf(h, "user_id") != "" && isMiniProgram(h):
		return c.voucher(h)
	case userOf(h, "user_id") != "":
		o := c.room(h)
		first := firstRoom{o.Dialect.(room), o.Rules}
		first.mixed = true
		o.Dialect = first
		return o
	}
	d := root{c, h}
	o := chat.Opening{Protocol: rootName, Dialect: d, Rules: chat.Rules{Lenient: true, Secretless: true, HelloWait: -1}}
	// Who says user_id without a name is a room's client, and hears nothing.
	if c.Open && !h.Query.Has("user_id") {
		o.Rules.Idle = rootIdle
		o.Rules.Then = func() chat.Opening {
			o := c.relay(h)
			o.Dialect = listening{o.Dialect, d}
			return o
		}
	}
	return o
}

// Name implements chat.Dialect.
func (root) Name() string { return rootName }

// Decode implements chat.Dialect.
func (d root) Decode(frame []byte) (chat.Command, error) {
	o, _ := d.compat.Opening(d.choose(frame), d.handshake)
	return chat.Command{Op: chat.OpBecome, Become: &o}, nil
}

// choose returns the protocol that a first frame belongs to.
func (d root) choose(frame []byte) string {
	named := d.handshake.Query.Has("user_id")
	switch {
	case isPing(frame), named && strings.TrimSpace(string(frame)) == "[object Object]":
		return "room"
	case !json.Valid(frame):
		return "echo"
	}
	is := make(map[string]bool)
	members(frame, func(name, _ []byte) {
		switch n := string(name); n {
		case "event", "uuid", "text", "message":
			is[n] = true
		}
	})
	kind, _ := typedFrame(frame)
	switch {
	case is["event"] && is["uuid"]:
		return "event"
	case is["text"] && (kind == "connect" || kind == "message"):
		return "typed"
	case named && is["message"]:
		return "room"
	}
	return "relay"
}

// AppendEvent implements chat.Dialect.
func (root) AppendEvent(dst []byte, _ *chat.Event) []byte { return dst }

// AppendReply implements chat.Dialect.
func (root) AppendReply(dst []byte, _ *chat.Reply) []byte { return dst }

// listening is a client that has said nothing yet and is taken for one that
// never will: it hears what relay's clients hear. Its first frame still tells.
type listening struct {
	chat.Dialect
	root root
}

// Decode implements chat.Dialect.
func (d listening) Decode(frame []byte) (chat.Command, error) {
	if d.root.choose(frame) != "relay" {
		return d.root.Decode(frame)
	}
	o := d.root.compat.relay(d.root.handshake)
	o.Keep, o.Commands = true, nil
	return chat.Command{Op: chat.OpBecome, Become: &o}, nil
}
