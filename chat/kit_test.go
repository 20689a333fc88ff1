package chat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"teahouse/chat"
	"teahouse/chat/storetest"
	"teahouse/chat/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipes is a listener whose connections are pipes in memory, so that a hub, its
// sockets and its clients can live in a synctest bubble.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- a:
		return b, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// house is a hub with a memory store behind a real HTTP server.
type house struct {
	t     *testing.T
	store *storetest.Memory
	hub   *chat.Hub
	url   string
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	stop  func()
}

type houseOptions struct {
	hub   chat.HubOptions
	auth  chat.Authenticator
	open  func(chat.Handshake) chat.Opening
	store *storetest.Memory
	pipes bool // for synctest
	wrap  func(*storetest.Memory) chat.Store
}

func newHouse(t *testing.T, o houseOptions) *house {
	t.Helper()
	h := &house{t: t, store: o.store, url: "ws://house/ws"}
	if h.store == nil {
		h.store = storetest.NewMemory(nil)
	}
	if o.hub.Logger == nil {
		o.hub.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	var store chat.Store = h.store
	if o.wrap != nil {
		store = o.wrap(h.store)
	}
	h.hub = chat.NewHub(store, o.hub)
	handler := h.hub.Handler(chat.ServerOptions{Dialect: wire.Native{}, Authenticate: o.auth, Open: o.open})
	var l net.Listener
	if o.pipes {
		p := newPipes()
		l, h.dial = p, p.dial
	} else {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		h.url = "ws://" + l.Addr().String() + "/ws"
	}
	server := &http.Server{Handler: handler}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	ran := make(chan error, 1)
	go func() { ran <- h.hub.Run(context.Background()) }()
	<-h.hub.Started()
	var once sync.Once
	h.stop = func() {
		once.Do(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := h.hub.Shutdown(ctx); err != nil {
				t.Errorf("shutdown: %v", err)
			}
			_ = server.Close()
			if err := <-ran; err != nil {
				t.Errorf("run: %v", err)
			}
			wg.Wait()
		})
	}
	t.Cleanup(h.stop)
	return h
}

// frame is what a client is told.
type frame struct {
	Op       string          `json:"op"`
	ID       int             `json:"id"`
	User     string          `json:"user"`
	Session  string          `json:"session"`
	Position chat.Position   `json:"position"`
	Topic    string          `json:"topic"`
	Head     int64           `json:"head"`
	Count    json.RawMessage `json:"online"`
	Seq      int64           `json:"seq"`
	Again    bool            `json:"again"`
	Kind     string          `json:"kind"`
	From     string          `json:"from"`
	Key      string          `json:"key"`
	Body     json.RawMessage `json:"body"`
	Events   []frame         `json:"events"`
	More     bool            `json:"more"`
	Users    []string        `json:"users"`
	Reason   string          `json:"reason"`
	After    int64           `json:"after"`
	Code     string          `json:"code"`
	Message  string          `json:"message"`
	RetryMS  int64           `json:"retry_ms"`
	Claimed  *bool           `json:"claimed"`
	Locked   bool            `json:"locked"`
	Topics   json.RawMessage `json:"topics"`
}

// guest is a native client.
type guest struct {
	t    *testing.T
	conn *websocket.Conn
}

func (h *house) connect() *guest {
	h.t.Helper()
	d := websocket.Dialer{NetDialContext: h.dial, HandshakeTimeout: 5 * time.Second}
	conn, _, err := d.Dial(h.url, nil)
	if err != nil {
		h.t.Fatalf("connect: %v", err)
	}
	g := &guest{t: h.t, conn: conn}
	h.t.Cleanup(func() { _ = conn.Close() })
	return g
}

// hello connects and says hello; extra is more of the frame, as in
// `"position":{…}`.
func (h *house) hello(user, extra string) (*guest, frame) {
	h.t.Helper()
	g := h.connect()
	if extra != "" {
		extra = "," + extra
	}
	g.say(`{"op":"hello","id":1,"user":%q%s}`, user, extra)
	return g, g.want("welcome")
}

func (g *guest) say(format string, args ...any) {
	g.t.Helper()
	if err := g.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, args...)); err != nil {
		g.t.Fatalf("write: %v", err)
	}
}

func (g *guest) next() (frame, error) {
	_, b, err := g.conn.ReadMessage()
	if err != nil {
		return frame{}, err
	}
	var f frame
	if err := json.Unmarshal(b, &f); err != nil {
		g.t.Fatalf("the server sent %q: %v", b, err)
	}
	return f, nil
}

// want returns the next frame, which must have this op.
func (g *guest) want(op string) frame {
	g.t.Helper()
	f, err := g.next()
	if err != nil {
		g.t.Fatalf("waiting for %s: %v", op, err)
	}
	if f.Op != op {
		g.t.Fatalf("got %+v, want op %s", f, op)
	}
	return f
}

// wantClose reads until the connection ends and returns the close code.
func (g *guest) wantClose() *websocket.CloseError {
	g.t.Helper()
	for {
		_, err := g.next()
		if err == nil {
			continue
		}
		if c, ok := err.(*websocket.CloseError); ok {
			return c
		}
		g.t.Fatalf("ended without a close frame: %v", err)
	}
}

// quiet checks that nothing has been said: a ping is answered first.
func (g *guest) quiet() {
	g.t.Helper()
	g.say(`{"op":"ping","id":99}`)
	if f := g.want("pong"); f.ID != 99 {
		g.t.Fatalf("got %+v", f)
	}
}

func (g *guest) join(topic, extra string) frame {
	g.t.Helper()
	if extra != "" {
		extra = "," + extra
	}
	g.say(`{"op":"join","id":2,"topic":%q%s}`, topic, extra)
	return g.want("joined")
}

// send sends and returns the ack, which must be the next frame.
func (g *guest) send(topic, key, text string) frame {
	g.t.Helper()
	g.say(`{"op":"send","id":3,"topic":%q,"key":%q,"kind":"message","body":{"text":%q}}`, topic, key, text)
	return g.want("ack")
}

func (h *house) publish(topic string, n int) {
	h.t.Helper()
	for i := range n {
		if _, err := h.hub.Publish(context.Background(), []chat.Event{{
			Topic: topic, Kind: "message", Body: fmt.Appendf(nil, `{"n":%d}`, i),
		}}); err != nil {
			h.t.Fatalf("publish: %v", err)
		}
	}
}
