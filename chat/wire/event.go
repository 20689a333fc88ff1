package wire

import (
	"context"
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"teahouse/chat"
)

// event is the protocol of apps that log in, say that they are there, and wait
// for what a backend pushes. Requests are {"event":…,"data":…,"uuid":N} and
// are answered with the same N, as it came.
type event struct {
	roles []string // never empty; the first is that of our own users
	// topic is the room that it asked for, "" for none.
	topic string
	// hello is what a login says besides who it is.
	hello chat.Command
}

var _ chat.Dialect = event{}

const (
	eventBeat = 20 * time.Second

	// kindApp is the kind of what was pushed: its body is the frame, except
	// for whom it is.
	kindApp = "app"
)

// event opens a connection of such an app. It logs in when it likes to, and
// again and again if it is refused. What is pushed while it is away waits.
func (c *Compat) event(h chat.Handshake) chat.Opening {
	d := c.eventDialect()
	d.hello = chat.Command{Op: chat.OpHello, Device: deviceOf(h)}
	if h.Query.Get("room") != "" {
		d.topic = roomTopic(h)
		d.hello.Topic = d.topic
	}
	return chat.Opening{
		Protocol:     "event",
		Dialect:      d,
		Authenticate: c.eventAuthenticator(d),
		Rules: chat.Rules{
			Lenient: true, Secretless: true, Rebind: true, Resume: true, Missed: true,
			Beat: eventBeat, HelloWait: -1,
		},
	}
}

func (c *Compat) eventDialect() event {
	if len(c.EventRoles) == 0 {
		return event{roles: []string{"user"}}
	}
	return event{roles: c.EventRoles}
}

// eventAuthenticator checks a login's token: the MD5 of the id, without the
// role, and the key. Its weakness is that of the clients, which exist.
func (c *Compat) eventAuthenticator(d event) chat.Authenticator {
	key, open := c.EventKey, c.Open
	return func(_ context.Context, user, token string) (chat.Identity, error) {
		switch {
		case key != "":
			sum := md5.Sum([]byte(d.idOf(user) + key))
			want := hex.EncodeToString(sum[:])
			if subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(token))) != 1 {
				return chat.Identity{}, chat.Errorf(chat.CodeBadToken, "the token is not the MD5 of the id and the key")
			}
		case !open:
			return chat.Identity{}, chat.Errorf(chat.CodeBadToken, "logins need --event-key, which is not set")
		}
		return chat.Identity{User: user, SelfNamed: key == ""}, nil
	}
}

// userOf returns our name for an id in a role: its own for our users, and
// ROLE:ID for the others. No two of them have the same.
func (d event) userOf(role, id string) (string, error) {
	for i, known := range d.roles {
		if role != known {
			continue
		}
		if i > 0 {
			return role + ":" + id, nil
		}
		if d.role(id) != "" {
			return "", chat.Errorf(chat.CodeBadUser, "the id %.64q begins with the name of a role", id)
		}
		return id, nil
	}
	return "", chat.Errorf(chat.CodeBadUser, "the role %.64q is not known", role)
}

// EventUser returns our name for ROLE:ID, as backends of "event" name a
// recipient.
func (c *Compat) EventUser(address string) (string, error) {
	role, id, ok := strings.Cut(address, ":")
	if !ok || role == "" || id == "" {
		return "", chat.Errorf(chat.CodeBadUser, "the recipient %.64q is not ROLE:ID", address)
	}
	return c.eventDialect().userOf(role, id)
}

// role returns the role in our name for a user, "" for our own.
func (d event) role(user string) string {
	role, _, ok := strings.Cut(user, ":")
	for _, known := range d.roles[1:] {
		if ok && role == known {
			return role
		}
	}
	return ""
}

// idOf is userOf backwards: the id without its role.
func (d event) idOf(user string) string {
	if role := d.role(user); role != "" {
		return user[len(role)+1:]
	}
	return user
}

// addressOf is userOf backwards: ROLE:ID.
func (d event) addressOf(user string) string {
	if d.role(user) != "" {
		return user
	}
	return d.roles[0] + ":" + user
}

// Name implements chat.Dialect.
func (event) Name() string { return "event" }

// Decode implements chat.Dialect.
func (d event) Decode(frame []byte) (chat.Command, error) {
	if !isObject(frame) {
		return chat.Command{}, nil
	}
	var what string
	var data, id []byte
	members(frame, func(name, value []byte) {
		switch string(name) {
		case "event":
			what = ""
			if isString(value) {
				what = unquote(value)
			}
		case "data":
			data = value
		case "uuid":
			id = value
		}
	})
	switch {
	case what == "login":
		c := d.hello
		c.ID = plainID(id)
		var err error
		c.User, c.Token, err = d.login(data)
		return c, err
	case what == "ping":
		return chat.Command{Op: chat.OpPing, ID: plainID(id)}, nil
	case d.topic != "" && what == eventOf(d.topic):
		c := chat.Command{Op: chat.OpSend, ID: plainID(id), Topic: d.topic}
		var message []byte
		members(data, func(name, value []byte) {
			if string(name) == "message" {
				message = value
			}
		})
		if message == nil || isNull(message) {
			return c, chat.Errorf(chat.CodeBadFrame, `the data needs a "message"`)
		}
		c.Body = textBody(message, "")
		return c, nil
	}
	return chat.Command{}, nil
}

// login reads who logs in from a login's data.
func (d event) login(data []byte) (user, token string, err error) {
	var u string
	members(data, func(name, value []byte) {
		switch string(name) {
		case "u":
			u = ""
			if isString(value) {
				u = unquote(value)
			}
		case "token":
			token = ""
			if isString(value) || isNumber(value) {
				token = plainText(value)
			}
		}
	})
	role, id, ok := strings.Cut(u, ":")
	if !ok || role == "" || id == "" {
		return "", "", chat.Errorf(chat.CodeBadFrame, `a login's data needs "u", ROLE:ID, and "token"`)
	}
	user, err = d.userOf(role, id)
	return user, token, err
}

// eventOf returns what the lines of a room are called.
func eventOf(topic string) string { return "chat" + strings.TrimPrefix(topic, chat.RoomPrefix) }

// AppendEvent implements chat.Dialect.
func (d event) AppendEvent(dst []byte, e *chat.Event) []byte {
	if unseen(e) {
		return dst
	}
	if inRoom(e) {
		l, ok := readShown(e)
		if !ok {
			return dst
		}
		dst = appendQuoted(append(dst, `{"type":"app","event":`...), eventOf(e.Topic), false)
		dst = appendValue(append(dst, `,"msg":`...), l.text, false)
		dst = appendQuoted(append(dst, `,"from":`...), e.From, false)
		return append(dst, '}')
	}
	to := d.addressOf(recipient(e))
	if e.Kind == kindApp && e.From == "" { // what clients send is not what was pushed
		if pushed, ok := appendPushed(dst, e.Body, to); ok {
			return pushed
		}
	}
	name, msg := e.Kind, []byte(e.Body)
	if isVoucherKind(e) {
		name = "voucher"
	} else if l := readLine(e); l.data != nil {
		msg = l.data
	} else if l.text != nil {
		msg = l.text
	}
	dst = appendQuoted(append(dst, `{"type":"app","event":`...), name, false)
	dst = appendValue(append(dst, `,"msg":`...), msg, false)
	dst = appendQuoted(append(dst, `,"to":`...), to, false)
	if e.From != "" {
		dst = appendQuoted(append(dst, `,"from":`...), e.From, false)
	}
	return append(dst, '}')
}

// appendPushed appends what was pushed, for its recipient. It is false if the
// body is not of that form.
func appendPushed(dst, body []byte, to string) ([]byte, bool) {
	var what, msg []byte
	members(body, func(name, value []byte) {
		switch string(name) {
		case "event":
			what = value
		case "msg":
			msg = value
		}
	})
	if !isString(what) {
		return dst, false
	}
	if msg == nil {
		msg = []byte("null")
	}
	dst = appendValue(append(dst, `{"event":`...), what, false)
	dst = appendValue(append(dst, `,"msg":`...), msg, false)
	dst = appendQuoted(append(dst, `,"to":`...), to, false)
	dst = append(dst, `,"type":"app"`...)
	members(body, func(name, value []byte) {
		switch string(name) {
		case "event", "msg", "to", "type":
		default:
			dst = append(appendQuoted(append(dst, ','), string(name), false), ':')
			dst = appendValue(dst, value, false)
		}
	})
	return append(dst, '}'), true
}

// recipient returns the user whom an event is for: whose inbox it is, or who
// of a talk's two did not say it.
func recipient(e *chat.Event) string {
	a, b, ok := chat.TalkMembers(e.Topic)
	switch {
	case !ok:
		return strings.TrimPrefix(e.Topic, chat.InboxPrefix)
	case a == e.From:
		return b
	}
	return a
}

// AppendReply implements chat.Dialect.
func (event) AppendReply(dst []byte, r *chat.Reply) []byte {
	switch r.Op {
	case chat.ReplyWelcome:
		return appendRespond(dst, r.ID, 0, "登录成功")
	case chat.ReplyPong:
		if r.User == "" {
			return appendRespond(dst, r.ID, 1, "PING检查连接不可用")
		}
		return appendRespond(dst, r.ID, 0, "PING检查连接可用")
	case chat.ReplyAck:
		return appendRespond(dst, r.ID, 0, "发送成功")
	case chat.ReplyError:
		switch r.For {
		case chat.OpHello:
			return appendRespond(dst, r.ID, 1, refusal(r.Err.Code))
		case chat.OpSend:
			return appendRespond(dst, r.ID, 1, r.Err.Message)
		}
	case chat.ReplyBeat:
		dst = strconv.AppendInt(append(dst, `{"type":"ping","uuid":`...), r.At/1000, 10)
		dst = append(dst, '.')
		ms := r.At % 1000
		return append(dst, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), '}')
	}
	return dst
}

// refusal says why a login failed, in the words that the clients know.
func refusal(code chat.Code) string {
	switch code {
	case chat.CodeBadToken, chat.CodeTokenExpired, chat.CodeUnauthorized:
		return "连接密钥错误"
	case chat.CodeBadUser:
		return "不明身份"
	}
	return "出现错误,登录失败"
}

// appendRespond appends the answer to a request.
func appendRespond(dst []byte, id json.RawMessage, code byte, body string) []byte {
	dst = append(dst, `{"type":"respon","event":`...)
	if len(id) == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = appendValue(dst, id, false)
	}
	dst = append(dst, `,"data":{"error":`...)
	dst = append(append(dst, '0'+code), `,"body":`...)
	return append(appendQuoted(dst, body, false), `}}`...)
}
