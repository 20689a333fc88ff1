package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// maxWrong is how many frames that make no sense a connection may send before
// it is closed.
const maxWrong = 20

// frameBuffers lends memory for one incoming message.
var frameBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// read is the connection's read loop. A command is carried out before the next
// one is read: that is the back-pressure on who sends too much.
func (l *link) read() {
	defer l.leave()
	l.conn.SetPingHandler(func(data string) error {
		l.hub.flushNow(l.client.Load(), l.out.push(appendFrame(nil, framePong, []byte(data))))
		l.heard()
		return nil
	})
	l.conn.SetPongHandler(func(data string) error {
		l.heard()
		l.client.Load().ponged(data)
		return nil
	})
	l.conn.SetCloseHandler(func(int, string) error { return nil })
	for {
		err := l.gate.await()
		if err == nil {
			err = l.readOne()
		}
		if err != nil {
			l.client.Load().ended(err)
			return
		}
	}
}

// heard notes that something came: the connection lives.
func (l *link) heard() {
	l.seen.Store(l.hub.now.Load())
	if l.watch.Load() != nil {
		if w := l.watch.Swap(nil); w != nil {
			close(*w)
		}
	}
}

// ended answers what ended the read loop, where an answer can still arrive.
func (c *Client) ended(err error) {
	c.sendPending() // what came before the fault is carried out
	var fault *Error
	var closed *websocket.CloseError
	var netErr net.Error
	switch {
	case errors.As(err, &fault):
		c.close(fault)
	case errors.As(err, &closed):
		c.sure.left.Store(closed.Code == websocket.CloseGoingAway)
		c.endedCleanly()
		code := closed.Code
		if code == websocket.CloseNoStatusReceived {
			code = websocket.CloseNormalClosure
		}
		if code != websocket.CloseAbnormalClosure { // no close frame came: EOF
			c.hub.flushNow(c, c.out.finish(closeFrame(code, ""), 0))
		}
		return
	case errors.Is(err, errClosing):
	case errors.Is(err, io.EOF):
		c.endedCleanly()
		return
	case errors.As(err, &netErr), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return
	case errors.Is(err, errNotUTF8):
		c.hub.flushNow(c, c.out.finish(closeFrame(websocket.CloseInvalidFramePayloadData, "a text frame must be valid UTF-8"), c.hub.opts.CloseWait))
	default: // the library found the peer to break RFC 6455
		c.hub.flushNow(c, c.out.finish(closeFrame(websocket.CloseProtocolError, strings.TrimPrefix(err.Error(), "websocket: ")), c.hub.opts.CloseWait))
	}
	// Let the peer read the reason before the socket goes: see outbox.idle.
	_, _ = io.Copy(io.Discard, io.LimitReader(c.out.conn, 1<<20))
}

// errClosing ends the read loop of a connection that has been told goodbye.
var errClosing = errors.New("closing")

var errNotUTF8 = errors.New("text frame is not valid UTF-8")

// readOne reads and carries out one message. An error ends the connection.
func (l *link) readOne() error {
	kind, r, err := l.conn.NextReader()
	if err != nil {
		return err
	}
	buf := frameBuffers.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= 64<<10 {
			frameBuffers.Put(buf)
		}
	}()
	limit := l.hub.opts.Limits.Frame
	if _, err := buf.ReadFrom(io.LimitReader(r, int64(limit)+1)); err != nil {
		return err
	}
	l.heard()
	if buf.Len() > limit {
		return Errorf(CodeTooLarge, "the frame is longer than %d bytes", limit)
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	if l.idle != nil {
		l.idle.Stop()
		l.idle = nil
	}
	return l.client.Load().take(kind, buf.Bytes())
}

// take carries out one frame.
func (c *Client) take(kind int, frame []byte) error {
	switch {
	case kind != websocket.TextMessage:
		return c.refuse(OpNone, nil, Errorf(CodeBadFrame, "send JSON in text frames, not binary ones"))
	case !utf8.Valid(frame):
		return errNotUTF8
	}
	cmd, err := c.manner.Load().codec.Decode(frame)
	if err != nil {
		return c.refuse(cmd.Op, cmd.ID, AsError(err))
	}
	switch cmd.Op {
	case OpNone:
		return nil
	case OpBecome:
		n, err := c.become(*cmd.Become)
		if err != nil {
			return err
		}
		return n.take(kind, frame)
	case OpHello, OpPing, OpEcho:
	case OpSend:
		if !c.hello.Load() && !c.rules().Nameless {
			return c.sayHello()
		}
	default:
		if !c.hello.Load() {
			return c.sayHello()
		}
	}
	// Who does not read what it asked for has to wait with asking more.
	if !c.out.waitRoom() {
		return errClosing
	}
	if cmd.Op != OpSend { // what was sent before comes first
		c.sendPending()
	}
	if err := c.do(&cmd); err != nil {
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return fatal.Err
		}
		c.fail(cmd.Op, cmd.ID, AsError(err))
	}
	return nil
}

// sayHello refuses a command before hello.
func (c *Client) sayHello() error {
	if c.rules().Lenient {
		return nil
	}
	return Errorf(CodeHelloFirst, `say hello first: {"op":"hello","id":1,"user":"…"}`)
}

// fatalError is an error that ends the connection instead of one command.
type fatalError struct{ Err *Error }

func (e *fatalError) Error() string { return e.Err.Error() }

// refuse tells a client that a frame made no sense, and ends the connection
// when there are too many of them.
func (c *Client) refuse(op Op, id json.RawMessage, err *Error) error {
	if c.wrong++; c.wrong >= maxWrong && !c.rules().Lenient {
		return err
	}
	c.fail(op, id, err)
	return nil
}

// fail tells a client what became of what it asked for.
func (c *Client) fail(op Op, id json.RawMessage, err *Error) {
	if err.Code == CodeInternal {
		c.hub.log.Error("command failed", "session", c.session, "err", err.Err)
	}
	frame := c.dialect().replyFrame(&Reply{Op: ReplyError, ID: id, For: op, Err: err})
	if len(frame) == 0 && op == OpSend && err.Code != CodeBadTopic && err.Code != CodeForbidden {
		// Its protocol has no word for "your line is lost": closing says so.
		c.close(err)
		return
	}
	c.hub.flushNow(c, c.out.push(frame))
}
