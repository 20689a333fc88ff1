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

// read is the client's read loop. A command is carried out before the next one
// is read: that is the back-pressure on who sends too much.
func (c *Client) read() {
	defer c.leave()
	c.conn.SetPingHandler(func(data string) error {
		c.hub.flushNow(c, c.out.push(appendFrame(nil, framePong, []byte(data))))
		c.seen.Store(c.hub.now.Load())
		return nil
	})
	c.conn.SetPongHandler(func(string) error { c.seen.Store(c.hub.now.Load()); return nil })
	c.conn.SetCloseHandler(func(int, string) error { return nil })
	for {
		err := c.gate.await()
		if err == nil {
			err = c.readOne()
		}
		if err != nil {
			c.ended(err)
			return
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
		code := closed.Code
		if code == websocket.CloseNoStatusReceived {
			code = websocket.CloseNormalClosure
		}
		if code != websocket.CloseAbnormalClosure { // no close frame came: EOF
			c.hub.flushNow(c, c.out.finish(closeFrame(code, ""), 0))
		}
		return
	case errors.Is(err, errClosing):
	case errors.As(err, &netErr), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
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
func (c *Client) readOne() error {
	kind, r, err := c.conn.NextReader()
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
	limit := c.hub.opts.Limits.Frame
	if _, err := buf.ReadFrom(io.LimitReader(r, int64(limit)+1)); err != nil {
		return err
	}
	c.seen.Store(c.hub.now.Load())
	switch {
	case buf.Len() > limit:
		return Errorf(CodeTooLarge, "the frame is longer than %d bytes", limit)
	case kind != websocket.TextMessage:
		return c.refuse(nil, Errorf(CodeBadFrame, "send JSON in text frames, not binary ones"))
	case !utf8.Valid(buf.Bytes()):
		return errNotUTF8
	}
	cmd, err := c.dialect.Decode(buf.Bytes())
	if err != nil {
		return c.refuse(cmd.ID, AsError(err))
	}
	if cmd.Op == OpNone {
		return nil
	}
	if cmd.Op != OpHello && cmd.Op != OpPing && !c.hello.Load() {
		return Errorf(CodeHelloFirst, `say hello first: {"op":"hello","id":1,"user":"…"}`)
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
		c.fail(cmd.ID, AsError(err))
	}
	return nil
}

// fatalError is an error that ends the connection instead of one command.
type fatalError struct{ Err *Error }

func (e *fatalError) Error() string { return e.Err.Error() }

// refuse tells a client that a frame made no sense, and ends the connection
// when there are too many of them.
func (c *Client) refuse(id json.RawMessage, err *Error) error {
	if c.wrong++; c.wrong >= maxWrong {
		return err
	}
	c.fail(id, err)
	return nil
}

func (c *Client) fail(id json.RawMessage, err *Error) {
	if err.Code == CodeInternal {
		c.hub.log.Error("command failed", "session", c.session, "err", err.Err)
	}
	c.reply(&Reply{Op: ReplyError, ID: id, Err: err})
}
