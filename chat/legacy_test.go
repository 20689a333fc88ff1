package chat_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

// What protocols without positions need of the core, by one that exists in
// tests only: a frame is a line to the room, "USER: TEXT" is told, "+USER" and
// "-USER" tell who comes and goes, "?" is a ping, "@USER" a hello.
type plain struct{ keep *chat.Opening }

func (plain) Name() string { return "plain" }

func (p plain) Decode(frame []byte) (chat.Command, error) {
	switch text := string(frame); {
	case text == "":
		return chat.Command{}, nil
	case text == "?":
		return chat.Command{Op: chat.OpPing}, nil
	case text == "junk":
		return chat.Command{}, chat.Errorf(chat.CodeBadFrame, "junk")
	case text == "become":
		return chat.Command{Op: chat.OpBecome, Become: p.keep}, nil
	case text[0] == '@':
		user, token, _ := strings.Cut(text[1:], " ")
		return chat.Command{Op: chat.OpHello, ID: json.RawMessage("1"), User: user, Token: token}, nil
	default:
		body, _ := json.Marshal(text)
		return chat.Command{Op: chat.OpSend, Topic: "room:r", Body: body}, nil
	}
}

func (plain) AppendEvent(dst []byte, e *chat.Event) []byte {
	if e.Kind == "hidden" {
		return dst
	}
	var text any
	_ = json.Unmarshal(e.Body, &text)
	return fmt.Appendf(dst, "%s: %v", e.From, text)
}

func (plain) AppendReply(dst []byte, r *chat.Reply) []byte {
	switch r.Op {
	case chat.ReplyOnline:
		if r.Online {
			return append(append(dst, '+'), r.User...)
		}
		return append(append(dst, '-'), r.User...)
	case chat.ReplyPong:
		return append(dst, "pong "+r.User...)
	case chat.ReplyBeat:
		return append(dst, "beat"...)
	case chat.ReplyWelcome:
		if len(r.ID) > 0 { // it was said by a frame, and not by the URL
			return append(dst, "welcome "+r.User...)
		}
	case chat.ReplyError:
		if r.For == chat.OpHello {
			return append(append(dst, "refused "...), r.Err.Code...)
		}
	}
	return dst
}

// plainOpening is how a chat page begins: a name in the URL, the recent lines.
func plainOpening(h chat.Handshake) chat.Opening {
	q := h.Query
	return chat.Opening{
		Dialect: plain{},
		Commands: []chat.Command{
			{Op: chat.OpHello, User: q.Get("user"), Device: q.Get("device")},
			{Op: chat.OpJoin, Topic: "room:r", Recent: 3},
		},
		Rules: chat.Rules{Lenient: true, Resume: true, Sockets: 3, Echo: q.Has("echo")},
	}
}

// caller is a client of that protocol. It reads all the time.
type caller struct {
	t     *testing.T
	conn  *websocket.Conn
	mu    sync.Mutex
	told  []string
	dead  bool          // it answers no pings
	lag   time.Duration // before it answers one
	ping  time.Time     // the last one
	hush  time.Duration // the longest time without one
	asked atomic.Int32  // pings
	end   error
	gone  chan struct{}
}

func (h *house) call(query string) *caller {
	h.t.Helper()
	d := websocket.Dialer{NetDialContext: h.dial, HandshakeTimeout: 5 * time.Second}
	conn, _, err := d.Dial(h.url+"?"+query, http.Header{})
	if err != nil {
		h.t.Fatal(err)
	}
	c := &caller{t: h.t, conn: conn, ping: time.Now(), gone: make(chan struct{})}
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		c.asked.Add(1)
		c.mu.Lock()
		c.hush, c.ping = max(c.hush, time.Since(c.ping)), time.Now()
		lag := c.lag
		c.mu.Unlock()
		if c.silent() {
			return nil
		}
		if lag > 0 {
			time.AfterFunc(lag, func() { _ = answer(data) })
			return nil
		}
		return answer(data)
	})
	sayBye := conn.CloseHandler()
	conn.SetCloseHandler(func(code int, text string) error {
		if c.silent() {
			return nil
		}
		return sayBye(code, text)
	})
	go func() {
		defer close(c.gone)
		for {
			_, b, err := conn.ReadMessage()
			c.mu.Lock()
			if c.end = err; err == nil && !c.dead {
				c.told = append(c.told, string(b))
			}
			c.mu.Unlock()
			if err != nil {
				if !c.silent() {
					_ = conn.Close()
				}
				return
			}
		}
	}()
	h.t.Cleanup(func() {
		_ = conn.Close()
		<-c.gone
	})
	return c
}

func (c *caller) says(lines ...string) {
	for _, line := range lines {
		_ = c.conn.WriteMessage(websocket.TextMessage, []byte(line))
	}
}

// heard returns what was told since the last time.
func (c *caller) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.told
	c.told = nil
	return told
}

// dies goes silent: nothing is read, nothing answered, nothing closed.
func (c *caller) dies() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
}

func (c *caller) silent() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

// code is the close code that ended the connection, 0 if it was none.
func (c *caller) code() int {
	<-c.gone
	if e, ok := c.end.(*websocket.CloseError); ok {
		return e.Code
	}
	return 0
}

// leaves says goodbye with a code.
func (c *caller) leaves(code int) {
	_ = c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
	<-c.gone
}

// plainBubble is a house of plain clients in fake time, in which 200 ms are
// enough for everything that does not wait.
func plainBubble(t *testing.T, o houseOptions, test func(t *testing.T, h *house)) {
	t.Helper()
	if o.open == nil {
		o.open = plainOpening
	}
	bubble(t, o, test)
}

const moment = 300 * time.Millisecond

func (c *caller) expects(want ...string) {
	c.t.Helper()
	time.Sleep(moment)
	if got := c.heard(); !slices.Equal(got, want) {
		c.t.Fatalf("told %q, want %q", got, want)
	}
}

func (h *house) line(texts ...string) {
	h.t.Helper()
	for _, text := range texts {
		body, _ := json.Marshal(text)
		if _, err := h.hub.Publish(h.t.Context(), []chat.Event{{Topic: "room:r", Kind: "message", From: "house", Body: body}}); err != nil {
			h.t.Fatal(err)
		}
	}
}

// TestLegacyResume: who comes back gets what was missed, once, and the own
// lines not again, however the connection ended and however long it took the
// server to notice.
func TestLegacyResume(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"cut", "pulled", "closed"} {
		for _, away := range []time.Duration{moment, 5 * time.Second, 30 * time.Second, 40 * time.Second, 9*time.Minute + 50*time.Second, 11 * time.Minute} {
			t.Run(fmt.Sprint(end, away), func(t *testing.T) {
				t.Parallel()
				plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
					h.line("before 1", "before 2", "before 3", "before 4")
					a := h.call("user=alice&device=web")
					a.expects("house: before 2", "house: before 3", "house: before 4")
					h.line("seen")
					a.says("mine")
					a.expects("house: seen")
					a.says("mine too")
					time.Sleep(moment)
					switch end {
					case "cut":
						_ = a.conn.NetConn().Close()
					case "pulled":
						a.dies()
					case "closed":
						a.leaves(websocket.CloseNormalClosure)
					}
					h.line("missed 1", "missed 2", "missed 3", "missed 4")
					time.Sleep(away)
					a = h.call("user=alice&device=web")
					time.Sleep(2 * time.Second) // whether the old one is dead takes a second to find out
					want := []string{"house: missed 1", "house: missed 2", "house: missed 3", "house: missed 4"}
					if ended := away; end == "pulled" {
						ended = max(0, away-34*time.Second)
						if ended > chat.ResumeWithin {
							want = want[1:]
						}
					} else if ended > chat.ResumeWithin {
						want = want[1:]
					}
					a.expects(want...)
					h.line("live")
					a.expects("house: live")
				})
			})
		}
	}
}

// TestLegacyOwnLines: what the client said itself while it was being asked
// how far it has got is not told to it when it comes back.
func TestLegacyOwnLines(t *testing.T) {
	t.Parallel()
	plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
		a := h.call("user=alice")
		time.Sleep(moment)
		h.line("one")
		a.expects("house: one")
		a.dies()
		h.line("unsure")
		a.says("mine 1", "mine 2")
		time.Sleep(moment)
		h.line("missed")
		_ = a.conn.NetConn().Close()
		time.Sleep(time.Second)
		a = h.call("user=alice")
		a.expects("house: unsure", "house: missed")
		// The same is true of what it said in answer, before the pong came.
		h.line("two")
		a.says("mine 3")
		a.expects("house: two")
		_ = a.conn.NetConn().Close()
		time.Sleep(time.Second)
		a = h.call("user=alice")
		a.expects()
	})
}

// TestLegacyRestart: another process goes on where the first one ended.
func TestLegacyRestart(t *testing.T) {
	t.Parallel()
	var store *storetest.Memory
	plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
		store = h.store
		a, b := h.call("user=alice"), h.call("user=bob")
		time.Sleep(moment)
		a.heard()
		h.line("one")
		a.expects("house: one")
		a.says("mine")
		time.Sleep(moment)
		// It came back once before the restart: what it missed then is not
		// told again after it.
		_ = a.conn.NetConn().Close()
		time.Sleep(time.Second)
		h.line("gap")
		a = h.call("user=alice")
		a.expects("house: gap")
		b.dies()
		h.line("two")
		a.expects("house: two")
		h.stop()
		if code := a.code(); code != 4002 {
			t.Errorf("closed with %d", code)
		}
		o := houseOptions{store: store, pipes: true, open: plainOpening}
		next := newHouse(t, o)
		next.line("three")
		time.Sleep(30 * time.Second)
		a = next.call("user=alice")
		time.Sleep(time.Second)
		a.expects("house: three")
		b = next.call("user=bob")
		b.expects("house: two", "house: three")
		a.heard()
		// It is resumed once: a second page of the same user is a new one.
		c := next.call("user=alice")
		c.expects("house: gap", "house: two", "house: three")
		next.stop()
	})
}

// TestLegacyTabs: of several pages of one user and device it is not known
// which one comes back. Then a line twice is better than a line lost.
func TestLegacyTabs(t *testing.T) {
	t.Parallel()
	plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
		a, b := h.call("user=alice"), h.call("user=alice")
		time.Sleep(moment)
		h.line("one")
		a.expects("house: one")
		_ = a.conn.NetConn().Close()
		time.Sleep(moment)
		h.line("two")
		time.Sleep(moment)
		if got := b.heard(); !slices.Equal(got, []string{"house: one", "house: two"}) {
			t.Errorf("the second tab: %q", got)
		}
		_ = b.conn.NetConn().Close()
		time.Sleep(time.Second)
		h.line("three")
		a = h.call("user=alice") // whichever this is
		a.expects("house: two", "house: three")
		b = h.call("user=alice")
		b.expects("house: three")
		h.line("four")
		a.expects("house: four")
		b.expects("house: four")
		// A third one, opened while both are there, is a fresh page.
		c := h.call("user=alice")
		c.expects("house: two", "house: three", "house: four")
	})
}

// TestLegacyReload: a browser that leaves a page says so. What comes back is
// an empty page, which wants more than what it missed.
func TestLegacyReload(t *testing.T) {
	t.Parallel()
	plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
		a := h.call("user=alice")
		time.Sleep(moment)
		h.line("one", "two", "three", "four")
		a.expects("house: one", "house: two", "house: three", "house: four")
		a.leaves(websocket.CloseGoingAway)
		h.line("five")
		a = h.call("user=alice")
		a.expects("house: three", "house: four", "house: five")
		// More was missed than a fresh page gets: then all of it.
		a.leaves(websocket.CloseGoingAway)
		h.line("six", "seven", "eight", "nine")
		a = h.call("user=alice")
		a.expects("house: six", "house: seven", "house: eight", "house: nine")
		// A page that was left does not stand in for one that was cut off.
		b := h.call("user=alice")
		time.Sleep(moment)
		_ = a.conn.NetConn().Close()
		time.Sleep(moment)
		b.leaves(websocket.CloseGoingAway)
		time.Sleep(moment)
		h.line("ten")
		a = h.call("user=alice")
		a.expects("house: ten")
	})
}

// TestLegacyOwnLinesRestart: an own line that was said before the pong came is
// not told after a restart either, although only places are kept.
func TestLegacyOwnLinesRestart(t *testing.T) {
	t.Parallel()
	var store *storetest.Memory
	plainBubble(t, houseOptions{}, func(t *testing.T, h *house) {
		store = h.store
		a := h.call("user=alice")
		time.Sleep(moment)
		a.mu.Lock()
		a.lag = 100 * time.Millisecond
		a.mu.Unlock()
		h.line("one")
		time.Sleep(100 * time.Millisecond) // the ping has come
		a.says("mine")
		a.expects("house: one")
		a.dies()
		h.line("two")
		time.Sleep(time.Second)
		h.stop()
		next := newHouse(t, houseOptions{store: store, pipes: true, open: plainOpening})
		a = next.call("user=alice")
		a.expects("house: two")
		next.stop()
	})
}
