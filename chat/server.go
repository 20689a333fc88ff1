package chat

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// ServerOptions says how connections of one dialect are taken in.
type ServerOptions struct {
	Dialect      Dialect                      // for every connection, unless Open is set
	Open         func(Handshake) Opening      // how a connection begins; nil: with Dialect
	Authenticate Authenticator                // nil: Open
	CheckOrigin  func(r *http.Request) bool   // nil: every page may connect
	ClientAddr   func(r *http.Request) string // nil: the peer's address
}

// readBuffer is what a connection keeps for reading, in bytes. What arrives is
// read with a lent buffer (gate.await), so it may be as small as the library
// accepts.
const readBuffer = 512

// Handler returns the handler that upgrades requests to connections of the
// dialect (RFC 6455). It returns after the upgrade, so that the HTTP server's
// goroutine and buffers do not stay for the connection's life.
func (h *Hub) Handler(o ServerOptions) http.Handler {
	if o.Authenticate == nil {
		o.Authenticate = Open
	}
	if o.CheckOrigin == nil {
		o.CheckOrigin = func(*http.Request) bool { return true }
	}
	if o.ClientAddr == nil {
		o.ClientAddr = peerAddr
	}
	if o.Open == nil {
		o.Open = func(Handshake) Opening { return Opening{Dialect: o.Dialect} }
	}
	upgrader := websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		WriteBufferPool:  &sync.Pool{}, // it writes nothing after the handshake
		CheckOrigin:      o.CheckOrigin,
		Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
			if status == http.StatusForbidden {
				h.log.Warn("a page of another site was refused; allow it with --allow-origin", "origin", r.Header.Get("Origin"))
			}
			http.Error(w, "this is a WebSocket address: "+reason.Error(), status)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.Ready(); err != nil {
			w.Header().Set("Retry-After", "2")
			http.Error(w, AsError(err).Message, http.StatusServiceUnavailable)
			return
		}
		if !websocket.IsWebSocketUpgrade(r) {
			w.Header().Set("Upgrade", "websocket")
			http.Error(w, "this is a WebSocket address; a proxy in between must pass on the Upgrade and Connection headers", http.StatusUpgradeRequired)
			return
		}
		hw := &hijacker{ResponseWriter: w}
		conn, err := upgrader.Upgrade(hw, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		agent := r.UserAgent()
		if len(agent) > 200 {
			agent = strings.ToValidUTF8(agent[:200], "")
		}
		l := &link{auth: o.Authenticate, addr: o.ClientAddr(r), agent: agent}
		h.serve(conn, hw.gate, l, o.Open(Handshake{Query: r.URL.Query(), Header: r.Header}))
	})
}

// serve takes over an upgraded connection.
func (h *Hub) serve(conn *websocket.Conn, g *gate, l *link, o Opening) {
	// From here on the library only reads: see gate.
	g.shut.Store(true)
	l.hub, l.conn, l.gate = h, conn, g
	l.out = outbox{conn: g.Conn, raw: g.raw, limit: h.opts.QueueBytes, stall: h.opts.StallMax, owner: l}
	l.seen.Store(h.now.Load())
	g.beforeRead = func() { l.client.Load().sendPending() }
	c := l.newClient(o)
	l.client.Store(c)
	h.mu.Lock()
	if h.commands.closed() {
		h.mu.Unlock()
		_ = g.Conn.Close()
		return
	}
	h.conns[c] = true
	h.open.Add(1)
	h.mu.Unlock()
	h.wheel.add(c, c.firstLook())
	go func() {
		l.turn.Lock()
		err := c.begins(o.Commands)
		l.turn.Unlock()
		if err != nil {
			c.ended(err)
			l.leave()
			return
		}
		l.read()
	}()
}

func peerAddr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// hijacker puts a gate between the library and the connection.
type hijacker struct {
	http.ResponseWriter
	gate *gate
}

func (w *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.gate = &gate{Conn: conn, raw: tryConn(conn)}
	w.gate.try = w.gate.readAhead
	// A client need not wait for our answer before it says hello.
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	w.gate.ahead = append([]byte(nil), early...)
	w.gate.br = bufio.NewReaderSize(w.gate, readBuffer)
	return w.gate, bufio.NewReadWriter(w.gate.br, rw.Writer), nil
}

// gate stands between the WebSocket library and the connection. It swallows
// what the library would write by itself after the handshake (closes for
// protocol errors): that does not know of the outbox and could cut another
// frame in two. And it waits for what comes in a way that costs an idle
// connection little.
type gate struct {
	net.Conn
	raw  syscall.RawConn // nil where nothing can be tried without blocking
	shut atomic.Bool
	br   *bufio.Reader // the library's
	try  func(fd uintptr) bool

	ahead []byte  // read already, and not asked for yet
	lent  *[]byte // of which ahead is a part
	err   error   // what reading ahead met

	// beforeRead is called before a read that may have to wait: all that came
	// with the last one has been decoded.
	beforeRead func()
}

func (g *gate) Write(p []byte) (int, error) {
	if g.shut.Load() {
		return len(p), nil
	}
	return g.Conn.Write(p)
}

func (g *gate) Read(p []byte) (int, error) {
	if len(g.ahead) == 0 {
		if g.beforeRead != nil {
			g.beforeRead()
		}
		return g.Conn.Read(p)
	}
	n := copy(p, g.ahead)
	if g.ahead = g.ahead[n:]; len(g.ahead) == 0 {
		g.ahead = nil
		if g.lent != nil {
			readBuffers.Put(g.lent)
			g.lent = nil
		}
	}
	return n, nil
}

// readBuffers lends what a socket's bytes are read into once they are there.
var readBuffers = sync.Pool{New: func() any { b := make([]byte, 4096); return &b }}

// await waits until there is something to read. The wait is not deep in the
// library but here, with no buffer: the stack of a goroutine that waits is
// most of what an idle connection costs, and the collector halves it only
// while little of it is in use.
func (g *gate) await() error {
	if g.raw == nil || len(g.ahead) > 0 || g.br.Buffered() > 0 {
		return nil
	}
	g.beforeRead()
	g.err = nil
	if err := g.raw.Read(g.try); err != nil {
		return err
	}
	return g.err
}

// readAhead reads what is there; false is to wait for more.
func (g *gate) readAhead(fd uintptr) bool {
	b := readBuffers.Get().(*[]byte)
	n, err := readOnce(fd, *b)
	for err == syscall.EINTR {
		n, err = readOnce(fd, *b)
	}
	if n > 0 {
		g.lent, g.ahead = b, (*b)[:n]
		return true
	}
	readBuffers.Put(b)
	switch {
	case err == syscall.EAGAIN:
		return false
	case err == nil:
		err = io.EOF
	}
	g.err = err
	return true
}

// LocalOrigins returns a CheckOrigin for servers where clients name
// themselves: pages of this very host (on any port), of loopback and private
// addresses, mini-programs, and clients that are no browser may connect, and
// pages of the origins given ("https://example.org", or "*" for all). So a
// page somewhere on the internet cannot make a visitor's browser speak to a
// server in the visitor's own network.
func LocalOrigins(allowed ...string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		origin := r.Header.Get("Origin")
		if origin == "" || origin == "null" && r.Header.Get("Sec-Fetch-Site") == "" {
			return true
		}
		for _, a := range allowed {
			if a == "*" || strings.EqualFold(a, origin) {
				return true
			}
		}
		u, err := url.Parse(origin)
		if err != nil {
			return false
		}
		host := u.Hostname()
		own := r.Host
		if h, _, err := net.SplitHostPort(own); err == nil {
			own = h
		}
		if strings.EqualFold(host, strings.Trim(own, "[]")) || host == "localhost" || strings.HasSuffix(host, ".local") ||
			host == "servicewechat.com" {
			return true
		}
		ip, err := netip.ParseAddr(host)
		return err == nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast())
	}
}
