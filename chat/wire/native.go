// Package wire holds the wire protocols: pairs of pure functions between
// frames and the core's commands, events and replies.
package wire

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"teahouse/chat"
)

// Native is the protocol of /ws: one JSON object in each text frame, both ways
// (docs/protocol.md).
type Native struct{}

var _ chat.Dialect = Native{}

// Name implements chat.Dialect.
func (Native) Name() string { return "native" }

// nativeFrame is what a client may say. Unknown fields are ignored.
type nativeFrame struct {
	Op       string          `json:"op"`
	ID       json.RawMessage `json:"id"`
	User     string          `json:"user"`
	Token    string          `json:"token"`
	Secret   string          `json:"secret"`
	Code     *string         `json:"code"`
	Device   string          `json:"device"`
	Position *chat.Position  `json:"position"`
	Topic    string          `json:"topic"`
	Epoch    string          `json:"epoch"`
	After    *int64          `json:"after"`
	Recent   int             `json:"recent"`
	Key      string          `json:"key"`
	Kind     string          `json:"kind"`
	Body     json.RawMessage `json:"body"`
	Before   int64           `json:"before"`
	Limit    int             `json:"limit"`
	Status   string          `json:"status"`
	Cursor   string          `json:"cursor"`
	Text     string          `json:"text"`
	Read     *int64          `json:"read"`
	Muted    *bool           `json:"muted"`
	Kept     *bool           `json:"kept"`
}

var nativeOps = map[string]chat.Op{
	"hello": chat.OpHello, "join": chat.OpJoin, "leave": chat.OpLeave, "send": chat.OpSend,
	"history": chat.OpHistory, "presence": chat.OpPresence, "signal": chat.OpSignal, "ping": chat.OpPing,
	"vouchers": chat.OpVouchers,
	"protect":  chat.OpProtect,
	"topics":   chat.OpTopics, "mark": chat.OpMark, "search": chat.OpSearch,
}

// maxID bounds a request's id, in bytes of JSON.
const maxID = 64

// Decode implements chat.Dialect. An error's Command has the ID where that
// could be read, so that the client can tell which frame was wrong.
func (Native) Decode(frame []byte) (chat.Command, error) {
	var f nativeFrame
	if err := json.Unmarshal(frame, &f); err != nil {
		id := f.ID
		if !goodID(id) {
			id = nil
		}
		return chat.Command{ID: id}, badJSON(frame, err)
	}
	if !goodID(f.ID) {
		return chat.Command{}, chat.Errorf(chat.CodeBadFrame, "id must be a number or a string of at most %d bytes", maxID)
	}
	if string(f.ID) == "null" {
		f.ID = nil
	}
	op, ok := nativeOps[f.Op]
	c := chat.Command{
		Op: op, ID: f.ID, User: f.User, Token: f.Token, Device: f.Device, Position: f.Position,
		Topic: f.Topic, Epoch: f.Epoch, After: f.After, Recent: f.Recent,
		Key: f.Key, Kind: f.Kind, Body: f.Body, Before: f.Before, Limit: f.Limit,
		Status: f.Status, Cursor: f.Cursor, Secret: f.Secret,
		Text: f.Text, Read: f.Read, Muted: f.Muted, Kept: f.Kept,
	}
	if f.Code != nil {
		c.Code = *f.Code
	}
	switch {
	case f.Op == "":
		return c, chat.Errorf(chat.CodeBadFrame, `the frame has no "op"; the first one is {"op":"hello","id":1,"user":"…"}`)
	case !ok:
		return c, chat.Errorf(chat.CodeBadFrame, "the op %.32q is not known", f.Op)
	case op == chat.OpProtect && f.Code == nil:
		return c, chat.Errorf(chat.CodeBadFrame, `protect needs a "code", or "" to take it away`)
	case op == chat.OpSend || op == chat.OpSignal:
		if c.Body == nil {
			return c, chat.Errorf(chat.CodeBadFrame, `a %s needs a "body", for example {"text":"hi"}`, f.Op)
		}
		c.Body = compact(c.Body)
	}
	return c, nil
}

// badJSON says what is wrong with a frame in words that help its author.
func badJSON(frame []byte, err error) error {
	if typ, ok := err.(*json.UnmarshalTypeError); ok && typ.Field != "" {
		return chat.Errorf(chat.CodeBadFrame, "the field %q cannot be a %s", typ.Field, typ.Value)
	}
	if t := bytes.TrimLeft(frame, " \t\r\n"); len(t) == 0 || t[0] != '{' {
		return chat.Errorf(chat.CodeBadFrame, "a frame must be one JSON object")
	}
	return chat.Errorf(chat.CodeBadFrame, "the frame is not valid JSON: %s", err)
}

// goodID accepts no id, null, a number or a string that is not too long.
func goodID(id json.RawMessage) bool {
	if len(id) == 0 || string(id) == "null" {
		return true
	}
	c := id[0]
	return len(id) <= maxID && (c == '"' || c == '-' || c >= '0' && c <= '9')
}

// compact takes the white space out of a valid JSON value.
func compact(v json.RawMessage) json.RawMessage {
	if !bytes.ContainsAny(v, " \t\r\n") {
		return v
	}
	var b bytes.Buffer
	if json.Compact(&b, v) != nil {
		return v
	}
	return b.Bytes()
}

// AppendEvent implements chat.Dialect.
func (Native) AppendEvent(dst []byte, e *chat.Event) []byte {
	return appendEvent(append(dst, `{"op":"event",`...), e)
}

// appendEvent appends an event's fields and the closing brace.
func appendEvent(dst []byte, e *chat.Event) []byte {
	dst = append(dst, `"topic":`...)
	dst = appendString(dst, e.Topic)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendInt(dst, e.Seq, 10)
	dst = append(dst, `,"kind":`...)
	dst = appendString(dst, e.Kind)
	dst = append(dst, `,"from":`...)
	dst = appendString(dst, e.From)
	if e.Key != "" {
		dst = append(dst, `,"key":`...)
		dst = appendString(dst, e.Key)
	}
	dst = append(dst, `,"body":`...)
	dst = append(dst, e.Body...)
	dst = append(dst, `,"at":`...)
	dst = strconv.AppendInt(dst, e.At, 10)
	return append(dst, '}')
}

// AppendReply implements chat.Dialect.
func (Native) AppendReply(dst []byte, r *chat.Reply) []byte {
	b := object{append(dst, '{')}
	switch r.Op {
	case chat.ReplyWelcome:
		b.op("welcome", r.ID)
		b.str("user", r.User)
		b.str("session", r.Session)
		b.name("position")
		b.b = append(b.b, `{"epoch":`...)
		b.b = appendString(b.b, r.Position.Epoch)
		b.num("seq", r.Position.Seq)
		b.b = append(b.b, '}')
		b.num("ping_ms", r.PingMS)
		if l := r.Limits; l != nil {
			b.name("limits")
			b.b = append(b.b, `{"frame":`...)
			b.b = strconv.AppendInt(b.b, int64(l.Frame), 10)
			b.num("body", int64(l.Body))
			b.num("user", int64(l.User))
			b.num("topic", int64(l.Topic))
			b.num("key", int64(l.Key))
			b.num("kind", int64(l.Kind))
			b.name("send_rate")
			b.b = strconv.AppendFloat(b.b, l.SendRate, 'f', -1, 64)
			b.num("send_burst", int64(l.SendBurst))
			b.num("topics", int64(l.Topics))
			b.num("recall_ms", r.RecallMS)
			b.b = append(b.b, '}')
		}
		if r.Claimed != nil {
			b.bool("claimed", *r.Claimed)
		}
	case chat.ReplyJoined:
		b.op("joined", r.ID)
		b.str("topic", r.Topic)
		b.num("head", r.Head)
		b.num("after", r.After)
		b.num("online", int64(r.Count))
		if r.Locked {
			b.bool("locked", true)
		}
	case chat.ReplyLeft:
		b.op("left", r.ID)
		b.str("topic", r.Topic)
	case chat.ReplyAck:
		b.op("ack", r.ID)
		b.str("topic", r.Topic)
		b.str("key", r.Key)
		b.num("seq", r.Seq)
		b.num("at", r.At)
		if r.Again {
			b.bool("again", true)
		}
	case chat.ReplyHistory:
		b.op("history", r.ID)
		b.str("topic", r.Topic)
		b.events(r.Events)
		b.bool("more", r.More)
	case chat.ReplySearch:
		b.op("search", r.ID)
		b.str("topic", r.Topic)
		b.events(r.Events)
		b.num("before", r.Before)
		b.bool("more", r.More)
	case chat.ReplyTopics:
		b.op("topics", r.ID)
		b.b = append(b.b, `,"topics":[`...)
		for i := range r.Topics {
			if i > 0 {
				b.b = append(b.b, ',')
			}
			b.topic(&r.Topics[i])
		}
		b.b = append(b.b, ']')
	case chat.ReplyMarked:
		b.op("marked", r.ID)
		b.str("topic", r.Topic)
		b.mark(r.Mark)
	case chat.ReplyPresence:
		b.op("presence", r.ID)
		b.str("topic", r.Topic)
		b.any("users", r.Users)
		b.bool("more", r.More)
	case chat.ReplySignal:
		b.op("signal", nil)
		b.str("topic", r.Topic)
		b.str("from", r.From)
		b.b = append(append(b.b, `,"body":`...), r.Body...)
	case chat.ReplyOnline:
		b.op("online", nil)
		b.str("topic", r.Topic)
		b.str("user", r.User)
		b.bool("online", r.Online)
	case chat.ReplyReset:
		b.op("reset", nil)
		b.str("topic", r.Topic)
		b.str("reason", r.Reason)
		b.num("after", r.After)
	case chat.ReplyVouchers:
		b.op("vouchers", r.ID)
		b.any("vouchers", r.Vouchers)
		if r.Cursor != "" {
			b.str("cursor", r.Cursor)
		}
		b.num("now", r.At)
	case chat.ReplyPong:
		b.op("pong", r.ID)
	case chat.ReplyProtected:
		b.op("protected", r.ID)
		b.str("topic", r.Topic)
	case chat.ReplyError:
		b.op("error", r.ID)
		if r.Topic != "" {
			b.str("topic", r.Topic)
		}
		b.str("code", string(r.Err.Code))
		b.str("message", r.Err.Message)
		if r.Err.Retry > 0 {
			b.num("retry_ms", r.Err.Retry.Milliseconds()+1)
		}
	default:
		return dst
	}
	return append(b.b, '}')
}

// object appends the members of a JSON object.
type object struct{ b []byte }

func (o *object) op(name string, id json.RawMessage) {
	o.b = append(append(append(o.b, `"op":"`...), name...), '"')
	if len(id) > 0 {
		o.b = append(append(o.b, `,"id":`...), id...)
	}
}

func (o *object) name(name string) {
	o.b = append(append(append(o.b, ',', '"'), name...), '"', ':')
}

func (o *object) str(name, v string) {
	o.name(name)
	o.b = appendString(o.b, v)
}

func (o *object) num(name string, v int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, v, 10)
}

func (o *object) bool(name string, v bool) {
	o.name(name)
	o.b = strconv.AppendBool(o.b, v)
}

// events appends a list of events.
func (o *object) events(events []chat.Event) {
	o.b = append(o.b, `,"events":[`...)
	for i := range events {
		if i > 0 {
			o.b = append(o.b, ',')
		}
		o.b = appendEvent(append(o.b, '{'), &events[i])
	}
	o.b = append(o.b, ']')
}

// mark appends what a user keeps of a topic.
func (o *object) mark(m *chat.Mark) {
	o.num("read", m.Read)
	o.bool("muted", m.Muted)
	o.bool("kept", m.Kept)
}

// topic appends an entry of a user's list.
func (o *object) topic(t *chat.TopicState) {
	o.b = appendString(append(o.b, `{"topic":`...), t.Topic)
	o.mark(&t.Mark)
	o.num("head", t.Head)
	o.num("unread", int64(t.Unread))
	o.bool("more", t.More)
	o.bool("mention", t.Mention)
	if t.Locked {
		o.bool("locked", true)
	}
	if t.Last != nil {
		o.b = appendEvent(append(o.b, `,"last":{`...), t.Last)
	}
	o.b = append(o.b, '}')
}

// any is for what is small and rare.
func (o *object) any(name string, v any) {
	o.name(name)
	j, err := json.Marshal(v)
	if err != nil {
		j = []byte("null") // the callers' values always marshal
	}
	o.b = append(o.b, j...)
}

// appendString appends s as a JSON string. What is plain, as most is, is
// copied; the rest goes the library's way, which also escapes U+2028, U+2029
// and what HTML could trip over.
func appendString(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c == 0x7f {
			return appendEscaped(dst, s)
		} else if c >= utf8.RuneSelf && c == 0xe2 { // may begin U+2028 or U+2029
			return appendEscaped(dst, s)
		}
	}
	if !utf8.ValidString(s) {
		return appendEscaped(dst, s)
	}
	return append(append(append(dst, '"'), s...), '"')
}

func appendEscaped(dst []byte, s string) []byte {
	j, _ := json.Marshal(s) // a string always marshals
	return append(dst, j...)
}
