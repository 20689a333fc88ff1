package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// position is a place in the log, as the protocol writes it.
type position struct {
	Epoch string `json:"epoch"`
	Seq   int64  `json:"seq"`
}

// frame is anything that the server says, and an event of the HTTP API.
type frame struct {
	Op       string
	ID       json.RawMessage
	Topic    string
	Seq      int64
	Kind     string
	From     string
	Key      string
	Body     json.RawMessage
	At       int64
	User     string
	Session  string
	Position position
	PingMS   int64 `json:"ping_ms"`
	Limits   map[string]float64
	Head     int64
	Online   json.RawMessage // joined: how many; online: whether
	Events   []frame
	More     bool
	Users    []string
	Reason   string
	After    int64
	Code     string
	Message  string
	RetryMS  int64 `json:"retry_ms"`

	raw string
}

func (f frame) String() string { return f.raw }

// guest is one client: it speaks the native protocol and records all that it is told.
type guest struct {
	t    testing.TB
	conn *websocket.Conn

	mu     sync.Mutex
	heard  []frame
	pongs  []string      // of control frames
	news   chan struct{} // closed at the next change
	over   bool
	code   int // of the close frame; 0 if the connection just broke
	reason string
	read   int // heard up to here was looked at by expect
	nextID int
	sayMu  sync.Mutex
	done   chan struct{}
}

// dial connects without a hello. addr is the WebSocket's.
func dial(t testing.TB, addr string) *guest {
	t.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience}
	conn, res, err := d.Dial(addr, nil)
	if err != nil {
		if res != nil {
			b, _ := io.ReadAll(res.Body)
			t.Fatalf("dial: %v: %s %s", err, res.Status, b)
		}
		t.Fatalf("dial: %v", err)
	}
	c := &guest{t: t, conn: conn, news: make(chan struct{}), done: make(chan struct{})}
	conn.SetPongHandler(func(data string) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pongs = append(c.pongs, data)
		c.tell()
		return nil
	})
	go c.listen()
	t.Cleanup(c.hangUp)
	return c
}

// enter connects and says hello as the user. extra are pairs of further fields.
func enter(t testing.TB, addr, user string, extra ...any) (*guest, frame) {
	t.Helper()
	c := dial(t, addr)
	w := c.ask("hello", append([]any{"user", user}, extra...)...)
	if w.Op != "welcome" || w.User != user {
		t.Fatalf("%s was not welcomed: %s", user, w)
	}
	return c, w
}

func (c *guest) listen() {
	defer close(c.done)
	defer c.conn.Close() // the library has answered a close frame by then
	for {
		_, b, err := c.conn.ReadMessage()
		f := frame{raw: string(b)}
		if err == nil {
			if err := json.Unmarshal(b, &f); err != nil {
				f.Op = "not JSON: " + err.Error()
			}
		}
		c.mu.Lock()
		if err != nil {
			c.over = true
			var closed *websocket.CloseError
			if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
				c.code, c.reason = closed.Code, closed.Text
			}
		} else {
			c.heard = append(c.heard, f)
		}
		c.tell()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// tell wakes who waits. The caller holds mu.
func (c *guest) tell() {
	close(c.news)
	c.news = make(chan struct{})
}

// wait waits until ok, which is called with mu held, says yes.
func (c *guest) wait(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		if ok() {
			c.mu.Unlock()
			return
		}
		news, over := c.news, c.over
		told := fmt.Sprintf("; heard so far: %s", c.tail())
		if over {
			told = fmt.Sprintf("; closed with %d %q%s", c.code, c.reason, told)
		}
		c.mu.Unlock()
		if over {
			c.t.Fatalf("no %s before the connection ended%s", what, told)
		}
		select {
		case <-news:
		case <-deadline.C:
			c.t.Fatalf("no %s in %s%s", what, patience, told)
		}
	}
}

// tail shows the last few frames. The caller holds mu.
func (c *guest) tail() string {
	var b strings.Builder
	for _, f := range c.heard[max(0, len(c.heard)-6):] {
		fmt.Fprintf(&b, "\n\t%.300s", f.raw)
	}
	return b.String()
}

// expect waits for a frame that matches, beginning where the last expect
// ended. What comes before it is passed over; the record keeps it.
func (c *guest) expect(what string, match func(frame) bool) (found frame) {
	c.t.Helper()
	c.wait(what, func() bool {
		for c.read < len(c.heard) {
			c.read++
			if match(c.heard[c.read-1]) {
				found = c.heard[c.read-1]
				return true
			}
		}
		return false
	})
	return found
}

// expectOp waits for a frame of a topic.
func (c *guest) expectOp(op, topic string) frame {
	c.t.Helper()
	return c.expect(op+" of "+topic, func(f frame) bool { return f.Op == op && f.Topic == topic })
}

// expectEvent waits for the event with a key.
func (c *guest) expectEvent(topic, key string) frame {
	c.t.Helper()
	return c.expect("event "+key+" in "+topic, func(f frame) bool { return f.Op == "event" && f.Topic == topic && f.Key == key })
}

// say sends one frame; fields come in pairs.
func (c *guest) say(op string, fields ...any) {
	c.t.Helper()
	m := map[string]any{"op": op}
	for i := 0; i+1 < len(fields); i += 2 {
		m[fields[i].(string)] = fields[i+1]
	}
	b, err := json.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	c.sayRaw(string(b))
}

func (c *guest) sayRaw(text string) {
	c.sayMu.Lock()
	defer c.sayMu.Unlock()
	// An error shows in what is read: a close frame may be on its way.
	_ = c.conn.WriteMessage(websocket.TextMessage, []byte(text))
}

// ask sends a frame with an id and waits for the frame that answers it.
func (c *guest) ask(op string, fields ...any) frame {
	c.t.Helper()
	c.nextID++
	c.say(op, append(fields, "id", c.nextID)...)
	return c.answerTo(c.nextID)
}

// answerTo waits for the frame with an id, wherever it stands.
func (c *guest) answerTo(id int) (answer frame) {
	c.t.Helper()
	want := fmt.Sprint(id)
	c.wait("answer to request "+want, func() bool {
		for _, f := range c.heard {
			if string(f.ID) == want {
				answer = f
				return true
			}
		}
		return false
	})
	return answer
}

// join follows a topic; fields are after, recent, epoch.
func (c *guest) join(topic string, fields ...any) frame {
	c.t.Helper()
	f := c.ask("join", append([]any{"topic", topic}, fields...)...)
	if f.Op != "joined" || f.Topic != topic {
		c.t.Fatalf("join %s: %s", topic, f)
	}
	return f
}

// post sends a message and returns its ack.
func (c *guest) post(topic, key, text string) frame {
	c.t.Helper()
	f := c.ask("send", "topic", topic, "key", key, "kind", "message", "body", map[string]string{"text": text})
	if f.Op != "ack" || f.Key != key || f.Seq <= 0 {
		c.t.Fatalf("send %s to %s: %s", key, topic, f)
	}
	return f
}

// refused asks for what must be refused with the code.
func (c *guest) refused(code, op string, fields ...any) frame {
	c.t.Helper()
	f := c.ask(op, fields...)
	if f.Op != "error" || f.Code != code || f.Message == "" {
		c.t.Errorf("%s %v: %s and not the error %s", op, fields, f, code)
	}
	return f
}

// all returns what was heard so far with the op in the topic.
func (c *guest) all(op, topic string) (out []frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.heard {
		if f.Op == op && f.Topic == topic {
			out = append(out, f)
		}
	}
	return out
}

// keys returns the keys of the events heard in a topic.
func (c *guest) keys(topic string) (out []string) {
	for _, f := range c.all("event", topic) {
		out = append(out, f.Key)
	}
	return out
}

// settled makes sure that what was to be told before has been heard: pongs
// come in turn behind it.
func (c *guest) settled() {
	c.t.Helper()
	if f := c.ask("ping"); f.Op != "pong" {
		c.t.Fatalf("ping: %s", f)
	}
}

// ending waits for the end of the connection and returns the close code, 0
// if there was none, and its reason.
func (c *guest) ending() (code int, reason string) {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatalf("the connection was not closed")
	}
	return c.code, c.reason
}

// closedWith checks how the server closes the connection.
func (c *guest) closedWith(code int) {
	c.t.Helper()
	if got, reason := c.ending(); got != code || reason == "" {
		c.t.Errorf("closed with %d %q; want %d and a reason", got, reason, code)
	}
}

// hangUp breaks the connection without a goodbye.
func (c *guest) hangUp() {
	if tcp, ok := c.conn.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.conn.Close()
	<-c.done
}

// bye closes the connection in order.
func (c *guest) bye() {
	c.sayMu.Lock()
	_ = c.conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
	c.sayMu.Unlock()
	<-c.done
}

// same compares two lists for a test.
func same[T comparable](t testing.TB, what string, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
