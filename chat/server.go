package chat

import (
	"bufio"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// ServerOptions says how connections of one dialect are taken in.
type ServerOptions struct {
	Dialect      Dialect
	Authenticate Authenticator                // nil: Open
	CheckOrigin  func(r *http.Request) bool   // nil: every page may connect
	ClientAddr   func(r *http.Request) string // nil: the peer's address
}

// readBuffer is what a connection keeps for reading, in bytes: a chat line
// fits, and idle connections cost little.
const readBuffer = 1024

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
	d := h.dialectFor(o.Dialect)
	upgrader := websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second,
		ReadBufferSize:   readBuffer,
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
		h.serve(conn, hw.gate, &Client{dialect: d, auth: o.Authenticate, addr: o.ClientAddr(r), agent: agent})
	})
}

// serve takes over an upgraded connection.
func (h *Hub) serve(conn *websocket.Conn, g *gate, c *Client) {
	// From here on the library only reads: see gate.
	g.shut.Store(true)
	now := time.Now()
	c.hub, c.conn, c.opened = h, conn, now.UnixMilli()
	c.out = outbox{conn: g.Conn, raw: tryConn(g.Conn), limit: h.opts.QueueBytes, stall: h.opts.StallMax, owner: c}
	c.seen.Store(h.now.Load())
	g.beforeRead = c.sendPending
	h.mu.Lock()
	if h.commands.closed() {
		h.mu.Unlock()
		_ = g.Conn.Close()
		return
	}
	h.conns[c] = true
	h.open.Add(1)
	h.mu.Unlock()
	h.wheel.add(c, int64(min(h.opts.HelloWait, h.opts.PingEvery).Seconds()))
	go c.read()
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
	w.gate = &gate{Conn: conn}
	return w.gate, rw, nil
}

// gate swallows what the WebSocket library would write by itself after the
// handshake (closes for protocol errors): it does not know of the outbox and
// could cut another frame in two.
type gate struct {
	net.Conn
	shut atomic.Bool
	// beforeRead is called before a read that may have to wait: all that came
	// with the last one has been decoded.
	beforeRead func() error
}

func (g *gate) Read(p []byte) (int, error) {
	if g.beforeRead != nil {
		if err := g.beforeRead(); err != nil {
			return 0, err
		}
	}
	return g.Conn.Read(p)
}

func (g *gate) Write(p []byte) (int, error) {
	if g.shut.Load() {
		return len(p), nil
	}
	return g.Conn.Write(p)
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
