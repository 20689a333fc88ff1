package wire

import "teahouse/chat"

// relay is the protocol of a server that hands every frame to all others: any
// text comes, and goes as one JSON string. Nothing else is told.
type relay struct{ topic string }

var _ chat.Dialect = relay{}

// relay opens a connection of such a client. Its frames can be signals, so it
// gets nothing old; who has no name is not announced either.
func (c *Compat) relay(h chat.Handshake) chat.Opening {
	d := relay{roomTopic(h)}
	user := userOf(h, "user_id", "user")
	return chat.Opening{
		Protocol: "relay",
		Dialect:  d,
		Commands: []chat.Command{
			c.hello(h, user),
			{Op: chat.OpJoin, Topic: d.topic, Quiet: user == ""},
		},
		Rules: chat.Rules{Lenient: true, Secretless: true, Resume: true},
	}
}

// Name implements chat.Dialect.
func (relay) Name() string { return "relay" }

// Decode implements chat.Dialect.
func (d relay) Decode(frame []byte) (chat.Command, error) {
	body := append(make([]byte, 0, len(frame)+len(frame)/8+32), `{"text":`...)
	body = appendQuoted(body, string(frame), false)
	return chat.Command{Op: chat.OpSend, Topic: d.topic, Body: append(body, `,"via":"relay"}`...)}, nil
}

// AppendEvent implements chat.Dialect. What was said in another protocol is
// the text of a JSON object, so that clients see who said it.
func (relay) AppendEvent(dst []byte, e *chat.Event) []byte {
	if unseen(e) {
		return dst
	}
	l, ok := readShown(e)
	if !ok {
		return dst
	}
	if l.sentVia("relay") {
		return appendValue(dst, l.text, false)
	}
	said := appendQuoted([]byte(`{"from":`), e.From, false)
	said = appendValue(append(said, `,"text":`...), l.text, false)
	return appendQuoted(dst, string(append(said, '}')), false)
}

// AppendReply implements chat.Dialect.
func (relay) AppendReply(dst []byte, _ *chat.Reply) []byte { return dst }
