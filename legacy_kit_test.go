package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// oldClient is a connection of a client that was written for another server.
// It records what it is told and, like all of them, has its library answer
// pings.
type oldClient struct {
	t    testing.TB
	conn *websocket.Conn

	mu     sync.Mutex
	heard  []string
	read   int // heard up to here was looked at
	pings  int // of the server
	proved int // heard up to here was there when the last of them came
	pongs  map[string]bool
	asked  int
	over   bool
	code   int
	reason string
	news   chan struct{} // closed at the next change
	writes sync.Mutex
}

// old opens a WebSocket of the server at a path; headers come in pairs.
func (h *house) old(path string, headers ...string) *oldClient {
	h.t.Helper()
	c, err := dialOld(h.t, "ws://"+h.host()+path, headers...)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func dialOld(t testing.TB, url string, headers ...string) (*oldClient, error) {
	return dialOldBy(t, &websocket.Dialer{HandshakeTimeout: patience}, url, headers...)
}

func dialOldBy(t testing.TB, d *websocket.Dialer, url string, headers ...string) (*oldClient, error) {
	header := make(http.Header)
	for i := 0; i+1 < len(headers); i += 2 {
		header.Set(headers[i], headers[i+1])
	}
	conn, res, err := d.Dial(url, header)
	if err != nil {
		if res != nil {
			b, _ := io.ReadAll(res.Body)
			return nil, fmt.Errorf("%s: %w: %s: %.200s", url, err, res.Status, b)
		}
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	c := &oldClient{t: t, conn: conn, pongs: make(map[string]bool), news: make(chan struct{})}
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		c.mu.Lock()
		c.pings, c.proved = c.pings+1, len(c.heard)
		c.tell()
		c.mu.Unlock()
		c.writes.Lock()
		defer c.writes.Unlock()
		return answer(data)
	})
	conn.SetPongHandler(func(data string) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.pongs[data] = true
		c.tell()
		return nil
	})
	var reading sync.WaitGroup
	reading.Go(c.listen)
	t.Cleanup(func() {
		conn.Close()
		reading.Wait()
	})
	return c, nil
}

func (c *oldClient) listen() {
	defer c.conn.Close()
	for {
		kind, b, err := c.conn.ReadMessage()
		c.mu.Lock()
		switch {
		case err != nil:
			c.over = true
			var closed *websocket.CloseError
			if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
				c.code, c.reason = closed.Code, closed.Text
			}
		case kind == websocket.BinaryMessage:
			c.heard = append(c.heard, "a binary frame: "+string(b))
		default:
			c.heard = append(c.heard, string(b))
		}
		c.tell()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// tell wakes who waits. The caller holds mu.
func (c *oldClient) tell() {
	close(c.news)
	c.news = make(chan struct{})
}

// await waits until ok, which is called with mu held, says yes. It is false if
// the connection ended before, or it took too long.
func (c *oldClient) await(limit time.Duration, ok func() bool) bool {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		if ok() {
			c.mu.Unlock()
			return true
		}
		news, over := c.news, c.over
		c.mu.Unlock()
		if over {
			return false
		}
		select {
		case <-news:
		case <-deadline.C:
			return false
		}
	}
}

// next returns the next frame that was not looked at.
func (c *oldClient) next() string {
	c.t.Helper()
	frame := ""
	if !c.await(patience, func() bool {
		if c.read == len(c.heard) {
			return false
		}
		frame = c.heard[c.read]
		c.read++
		return true
	}) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.t.Fatalf("no frame came; over: %t %d %q; heard: %.2000q", c.over, c.code, c.reason, c.heard)
	}
	return frame
}

// hears checks the next frames.
func (c *oldClient) hears(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.next(); got != w {
			c.t.Fatalf("heard %q\nand not %q", got, w)
		}
	}
}

// rest returns what was heard and not looked at. Only what is settled has come.
func (c *oldClient) rest() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	rest := c.heard[c.read:]
	c.read = len(c.heard)
	return rest
}

// says sends text frames. That it fails shows in what is heard.
func (c *oldClient) says(texts ...string) {
	for _, text := range texts {
		c.write(websocket.TextMessage, []byte(text))
	}
}

func (c *oldClient) write(kind int, b []byte) {
	c.writes.Lock()
	defer c.writes.Unlock()
	_ = c.conn.WriteMessage(kind, b)
}

// settled waits for the answer to a ping: whatever was queued for this
// connection before has come, and what it said has been read.
func (c *oldClient) settled() {
	c.t.Helper()
	for range 2 { // before the second one is read, what was said is stored
		c.mu.Lock()
		c.asked++
		data := fmt.Sprint("settled ", c.asked)
		c.mu.Unlock()
		c.write(websocket.PingMessage, []byte(data))
		if !c.await(patience, func() bool { return c.pongs[data] }) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.t.Fatalf("no pong came; over: %t %d %q; heard: %.2000q", c.over, c.code, c.reason, c.heard)
		}
	}
}

// proves waits until the server has asked whether all that was heard arrived,
// and was told.
func (c *oldClient) proves() {
	c.t.Helper()
	if !c.await(patience, func() bool { return c.proved == len(c.heard) }) {
		c.t.Fatal("the server does not ask how far this client has got")
	}
	c.settled()
}

// closedWith waits for the connection's end and checks its close code.
func (c *oldClient) closedWith(code int) string {
	c.t.Helper()
	c.await(patience, func() bool { return c.over })
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over || c.code != code {
		c.t.Fatalf("over: %t with %d %q; want %d; heard: %.2000q", c.over, c.code, c.reason, code, c.heard)
	}
	return c.reason
}

// leaves closes the connection in order, with a code; 0: without one.
func (c *oldClient) leaves(code int) {
	c.t.Helper()
	frame := websocket.FormatCloseMessage(code, "")
	if code == 0 {
		frame = nil
	}
	c.write(websocket.CloseMessage, frame)
	c.await(patience, func() bool { return c.over })
}

// breaks ends the connection without a word, by a reset if that is asked for.
func (c *oldClient) breaks(reset bool) {
	if tcp, ok := c.conn.NetConn().(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = c.conn.NetConn().Close()
}

// settle waits until all that the clients said has been told.
func (h *house) settle(clients ...*oldClient) {
	h.t.Helper()
	for _, c := range clients {
		c.settled()
	}
	// It returns when the hub has handed it out, and all that was before it.
	h.say("room:of nobody", map[string]string{"text": "settle"})
	for _, c := range clients {
		c.settled()
	}
}

// say publishes a body by the HTTP API.
func (h *house) say(topic string, body any) { h.publish(topic, "message", body) }

func (h *house) publish(topic, kind string, body any) {
	h.t.Helper()
	a := h.call("POST", "/api/v1/events", map[string]any{"topic": topic, "kind": kind, "body": body})
	if a.status/100 != 2 {
		h.t.Fatalf("publish to %s: %d %s", topic, a.status, a.body)
	}
}

// play plays a conversation with clients that come to one path. Its lines:
//
//	alice opens ?user_id=alice   with the headers that follow after "; "
//	alice> TEXT                  she says it
//	alice< TEXT                  the next that she hears
//	alice silent                 nothing more has come so far
//	alice skips                  passes over what has come so far
//	alice proves                 the server knows that she has the event that she heard last
//	alice leaves                 closes in order
//	alice breaks                 goes without a word
//	POST TOPIC KIND BODY         by the HTTP API
//
// In the end everybody is silent.
func (h *house) play(path, script string) map[string]*oldClient {
	h.t.Helper()
	clients := make(map[string]*oldClient)
	there := func() (all []*oldClient) {
		for _, c := range clients {
			all = append(all, c)
		}
		return all
	}
	n := 0
	silent := func(name string) {
		h.t.Helper()
		if got := clients[name].rest(); len(got) != 0 {
			h.t.Fatalf("line %d: %s should have heard nothing: %q", n, name, got)
		}
	}
	for line := range strings.Lines(script) {
		n++
		line = strings.TrimSuffix(strings.TrimLeft(line, "\t"), "\n")
		switch who, what, _ := strings.Cut(line, " "); {
		case line == "" || strings.HasPrefix(line, "#"):
		case who == "POST":
			part := strings.SplitN(what, " ", 3)
			a := h.call("POST", "/api/v1/events", `{"topic":"`+part[0]+`","kind":"`+part[1]+`","body":`+part[2]+`}`)
			if a.status/100 != 2 {
				h.t.Fatalf("line %d: %s: %d %s", n, line, a.status, a.body)
			}
		case strings.HasSuffix(who, ">"):
			clients[strings.TrimSuffix(who, ">")].says(what)
		case strings.HasSuffix(who, "<"):
			if got := clients[strings.TrimSuffix(who, "<")].next(); got != what {
				h.t.Fatalf("line %d: %s %q\nwant %q", n, who, got, what)
			}
		case strings.HasPrefix(what, "opens"):
			query, header, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(what, "opens"), " "), "; ")
			var headers []string
			if header != "" {
				name, value, _ := strings.Cut(header, ": ")
				headers = []string{name, value}
			}
			clients[who] = h.old(path+query, headers...)
			clients[who].settled() // it is in
		case what == "listens":
			h.awaitSilent(clients[who])
		case what == "silent":
			h.settle(there()...)
			silent(who)
		case what == "proves":
			clients[who].proves()
		case what == "skips":
			h.settle(there()...)
			clients[who].rest()
		case what == "leaves":
			clients[who].leaves(websocket.CloseNormalClosure)
			delete(clients, who)
		case what == "breaks":
			clients[who].breaks(true)
			delete(clients, who)
		default:
			h.t.Fatalf("line %d is not understood: %s", n, line)
		}
	}
	n++
	h.settle(there()...)
	for name := range clients {
		silent(name)
	}
	return clients
}

// awaitSilent waits until somebody who came to the root path, and says
// nothing, is taken for a listener.
func (h *house) awaitSilent(c *oldClient) {
	h.t.Helper()
	eventually(h.t, "a listener without a first frame", func() bool {
		h.say(lobby, map[string]string{"text": "anybody?"})
		c.settled()
		return len(c.rest()) > 0
	})
}
