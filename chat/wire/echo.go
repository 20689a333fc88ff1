package wire

import (
	"bytes"
	"time"

	"teahouse/chat"
)

// echo is the protocol of a greeting server: plain text, answered to its
// sender alone. It knows no rooms and no users.
type echo struct {
	// ack: every message gets the same answer, and every connection a
	// greeting now and then.
	ack bool
}

var _ chat.Dialect = echo{}

const (
	echoAnswer   = "服务器已经收到了你的消息"
	echoGreeting = "你好!"
	echoEvery    = 10 * time.Second
	echoAck      = "ack" // the mode of answers that are all the same
)

// echo opens a connection of such a client.
func (c *Compat) echo(h chat.Handshake) chat.Opening {
	mode := h.Query.Get("mode")
	if mode == "" {
		mode = c.EchoMode
	}
	o := chat.Opening{Protocol: "echo", Dialect: echo{}, Rules: chat.Rules{Lenient: true, Secretless: true, HelloWait: -1}}
	if mode == echoAck {
		o.Dialect = echo{ack: true}
		o.Rules.Beat = echoEvery
	}
	return o
}

// Name implements chat.Dialect.
func (d echo) Name() string {
	if d.ack {
		return "echo+ack"
	}
	return "echo"
}

// Decode implements chat.Dialect.
func (echo) Decode(frame []byte) (chat.Command, error) {
	return chat.Command{Op: chat.OpEcho, Body: bytes.Clone(frame)}, nil
}

// AppendEvent implements chat.Dialect.
func (echo) AppendEvent(dst []byte, _ *chat.Event) []byte { return dst }

// AppendReply implements chat.Dialect.
func (d echo) AppendReply(dst []byte, r *chat.Reply) []byte {
	switch {
	case r.Op == chat.ReplyEcho && d.ack:
		return append(dst, echoAnswer...)
	case r.Op == chat.ReplyEcho:
		return append(append(dst, "hello "...), r.Body...)
	case r.Op == chat.ReplyBeat && d.ack:
		return append(dst, echoGreeting...)
	}
	return dst
}
