package wire

import "teahouse/chat"

// typed is the protocol of a chat page that says {"type":…,"text":…} and is
// told {"type":…,"data":…}, its own lines too: it shows them only then. It
// evals what it gets and makes HTML of data.
type typed struct {
	topic string
	html  bool
}

var _ chat.Dialect = typed{}

// kindWelcome is the kind of the signal that somebody introduced themselves.
const kindWelcome = "welcome"

// typed opens a connection of such a page. It is named only where the URL
// does; the page itself never says who it is.
func (c *Compat) typed(h chat.Handshake) chat.Opening {
	d := typed{roomTopic(h), isBrowser(h)}
	user := userOf(h, "user_id", "user")
	return chat.Opening{
		Protocol: "typed",
		Dialect:  d,
		Commands: []chat.Command{
			c.hello(h, user),
			{Op: chat.OpJoin, Topic: d.topic, Recent: c.Recent, Quiet: user == ""},
		},
		Rules: chat.Rules{Echo: true, Lenient: true, Secretless: true, Resume: true},
	}
}

// Name implements chat.Dialect.
func (d typed) Name() string {
	if d.html {
		return "typed+html"
	}
	return "typed"
}

// Decode implements chat.Dialect.
func (d typed) Decode(frame []byte) (chat.Command, error) {
	kind, text := typedFrame(frame)
	if text == nil {
		text = []byte("null")
	}
	switch kind {
	case "connect":
		name := ""
		if !isNull(text) {
			name = plainText(text)
		}
		body := appendQuoted([]byte(`{"text":`), name, false)
		return chat.Command{Op: chat.OpSignal, Topic: d.topic, Kind: kindWelcome, Body: append(body, '}')}, nil
	case "message":
		return chat.Command{Op: chat.OpSend, Topic: d.topic, Body: textBody(text, "typed")}, nil
	}
	return chat.Command{}, nil
}

// typedFrame returns the type and the text of a frame; "" and nil where they
// are missing.
func typedFrame(frame []byte) (kind string, text []byte) {
	if !isObject(frame) {
		return "", nil
	}
	members(frame, func(name, value []byte) {
		switch string(name) {
		case "type":
			kind = ""
			if isString(value) {
				kind = unquote(value)
			}
		case "text":
			text = value
		}
	})
	return kind, text
}

// AppendEvent implements chat.Dialect.
func (d typed) AppendEvent(dst []byte, e *chat.Event) []byte {
	if unseen(e) {
		return dst
	}
	l, ok := readShown(e)
	if !ok {
		return dst
	}
	dst = append(dst, `{"type":"message","data":`...)
	switch {
	case l.sentVia("typed") && l.data != nil:
		dst = appendValue(dst, l.data, d.html)
	case l.sentVia("typed"), e.From == "":
		dst = appendValue(dst, l.text, d.html)
	default:
		dst = appendQuoted(dst, e.From+": "+unquote(l.text), d.html)
	}
	return append(dst, '}')
}

// AppendReply implements chat.Dialect.
func (d typed) AppendReply(dst []byte, r *chat.Reply) []byte {
	if r.Op != chat.ReplySignal || r.Kind != kindWelcome {
		return dst
	}
	l := readLine(&chat.Event{Body: r.Body})
	if l.text == nil {
		return dst
	}
	dst = append(dst, `{"type":"connect","data":`...)
	dst = appendQuoted(dst, "Welcome "+unquote(l.text)+" to join us", d.html)
	return append(dst, '}')
}
