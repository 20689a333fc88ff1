package wire

import (
	"slices"

	"teahouse/chat"
)

// room is the protocol of a chat page, and of pages that a backend pushes
// "messages" to: {"message":X} comes, {"from_user":U,"messages":X} goes. The
// page prints its own lines itself.
type room struct {
	topic string
	// html: the page makes HTML of what it gets.
	html bool
	// mixed: it may also be a page that waits for vouchers, which knows them
	// in their short form only.
	mixed bool
}

var _ chat.Dialect = room{}

// room opens a connection of a chat page. Who has no name is kept, hears
// nothing and may speak, as nobody. Where clients may not name themselves, a
// token says who it is.
func (c *Compat) room(h chat.Handshake) chat.Opening {
	d := room{topic: roomTopic(h), html: isBrowser(h) && !isMiniProgram(h)}
	user := userOf(h, "user_id")
	if user == "" && c.Open {
		return chat.Opening{Protocol: "room", Dialect: d, Rules: chat.Rules{Nameless: true, Lenient: true, Secretless: true, HelloWait: -1}}
	}
	return chat.Opening{
		Protocol: "room",
		Dialect:  d,
		Commands: []chat.Command{
			c.hello(h, user),
			{Op: chat.OpJoin, Topic: d.topic, Recent: c.Recent},
		},
		Rules: chat.Rules{Lenient: true, Secretless: true, Resume: true, Sockets: roomSockets},
	}
}

// roomSockets is how many connections one device may pile up: some clients
// come back without closing the old one.
const roomSockets = 3

// Name implements chat.Dialect.
func (d room) Name() string {
	name := "room"
	if d.mixed {
		name += "+voucher"
	}
	if d.html {
		name += "+html"
	}
	return name
}

// Decode implements chat.Dialect. What is no message is a sign of life; the
// page's heartbeat is "[object Object]".
func (d room) Decode(frame []byte) (chat.Command, error) {
	if !isObject(frame) {
		return chat.Command{}, nil
	}
	var message, to []byte
	members(frame, func(name, value []byte) {
		switch string(name) {
		case "message":
			message = value
		case "to_user_id":
			to = value
		}
	})
	if message == nil || isNull(message) {
		return chat.Command{}, nil
	}
	topic := d.topic
	switch user, ok := addressee(to); {
	case !ok: // whoever is meant, it is not everybody
		return chat.Command{}, nil
	case user != "":
		topic = chat.Inbox(user)
	}
	return chat.Command{Op: chat.OpSend, Topic: topic, Body: textBody(message, "")}, nil
}

// addressee returns the user that a message is for, "" for all. It is false
// for what can be neither.
func addressee(v []byte) (user string, ok bool) {
	switch {
	case v == nil || isNull(v) || string(v) == "false":
		return "", true
	case isString(v) || isNumber(v):
		if user = plainText(v); user == "0" {
			user = ""
		}
		return user, true
	}
	return "", false
}

// AppendEvent implements chat.Dialect. A room shows what has a text, or is a
// message; an inbox everything, as text or as JSON in a string.
func (d room) AppendEvent(dst []byte, e *chat.Event) []byte {
	if unseen(e) {
		return dst
	}
	if d.mixed && isVoucherKind(e) {
		return appendVoucher(dst, e, d.html)
	}
	l, ok := readShown(e)
	switch {
	case ok:
	case inRoom(e):
		return dst
	default:
		l.text = appendQuoted(nil, string(e.Body), false)
	}
	dst = appendFrom(dst, e.From, d.html)
	if l.data != nil && !isNull(l.data) {
		dst = appendValue(dst, l.data, d.html)
	} else {
		dst = appendValue(dst, l.text, d.html)
	}
	return append(dst, '}')
}

// appendFrom appends a frame's beginning up to the value of messages. Nobody
// is called false.
func appendFrom(dst []byte, from string, html bool) []byte {
	dst = append(dst, `{"from_user":`...)
	if from == "" {
		dst = append(dst, "false"...)
	} else {
		dst = appendQuoted(dst, from, html)
	}
	return append(dst, `,"messages":`...)
}

// AppendReply implements chat.Dialect.
func (d room) AppendReply(dst []byte, r *chat.Reply) []byte {
	if r.Op != chat.ReplyOnline {
		return dst
	}
	dst = appendFrom(dst, r.User, d.html)
	if r.Online {
		return append(dst, `"我上线啦!"}`...)
	}
	return append(dst, `"我下线啦!"}`...)
}

// firstRoom is a room's client of which the first frame tells whether it waits
// for vouchers: that one's heartbeat is {"type":"ping"}. It has joined by then,
// so it stays who it is.
type firstRoom struct {
	room
	rules chat.Rules
}

// Decode implements chat.Dialect.
func (d firstRoom) Decode(frame []byte) (chat.Command, error) {
	next := chat.Opening{Protocol: "room", Keep: true, Rules: d.rules}
	if is := d.room; isPing(frame) {
		next.Dialect = voucher{is}
	} else {
		is.mixed = false
		next.Dialect = is
	}
	return chat.Command{Op: chat.OpBecome, Become: &next}, nil
}

// isPing reports the frame {"type":"ping"}, however it is spaced.
func isPing(frame []byte) bool {
	if len(frame) > 100 || !isObject(frame) {
		return false
	}
	var names []string
	ping := false
	members(frame, func(name, value []byte) {
		names = append(names, string(name))
		ping = isString(value) && unquote(value) == "ping"
	})
	return ping && slices.Equal(names, []string{"type"})
}
