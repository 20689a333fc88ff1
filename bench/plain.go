//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// The plain hub: what one writes after reading gorilla's chat example. Two
// goroutines and a channel of 256 slots for each connection, one hub
// goroutine, a ping ticker, one write for each message. PreparedMessage saves
// it the encoding; it stores nothing. It differs from the example in rooms
// (?room=), and in that the sender gets {"op":"ack"} in place of its own
// message, so that all servers of the bench send the same number of frames. To
// who comes with ?user_id= it speaks the frames of the old Swoole server
// instead, which acknowledges nothing.

const (
	plainWriteWait  = 10 * time.Second
	plainPongWait   = 60 * time.Second
	plainPingPeriod = plainPongWait * 9 / 10
)

type plainMsg struct {
	from *plainClient
	data []byte
}

type plainHub struct {
	rooms      map[string]map[*plainClient]bool
	broadcast  chan plainMsg
	register   chan *plainClient
	unregister chan *plainClient
	ack        *websocket.PreparedMessage
}

type plainClient struct {
	hub  *plainHub
	room string
	user string // "" unless it speaks the old server's frames
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
}

func newPlainHub() (*plainHub, error) {
	ack, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte(tinyAck))
	if err != nil {
		return nil, err
	}
	return &plainHub{
		rooms:      make(map[string]map[*plainClient]bool),
		broadcast:  make(chan plainMsg),
		register:   make(chan *plainClient),
		unregister: make(chan *plainClient),
		ack:        ack,
	}, nil
}

func (h *plainHub) run(ctx context.Context) {
	drop := func(c *plainClient) {
		if h.rooms[c.room][c] {
			delete(h.rooms[c.room], c)
			close(c.send)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-h.register:
			if h.rooms[c.room] == nil {
				h.rooms[c.room] = make(map[*plainClient]bool)
			}
			h.rooms[c.room][c] = true
		case c := <-h.unregister:
			drop(c)
		case m := <-h.broadcast:
			pm, err := websocket.NewPreparedMessage(websocket.TextMessage, m.data)
			if err != nil {
				continue
			}
			for c := range h.rooms[m.from.room] {
				out := pm
				if c == m.from && c.user != "" {
					continue
				} else if c == m.from {
					out = h.ack
				}
				select {
				case c.send <- out:
				default: // as the example does: who lags is cut
					drop(c)
				}
			}
		}
	}
}

func (c *plainClient) readPump(ctx context.Context) {
	defer func() {
		select {
		case c.hub.unregister <- c:
		case <-ctx.Done():
		}
		c.conn.Close()
	}()
	c.conn.SetReadLimit(64 << 10)
	c.conn.SetReadDeadline(time.Now().Add(plainPongWait))
	c.conn.SetPongHandler(func(string) error {
		return c.conn.SetReadDeadline(time.Now().Add(plainPongWait))
	})
	for {
		_, data, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		if c.user != "" {
			if data = oldFrame(c.user, data); data == nil {
				continue
			}
		}
		select {
		case c.hub.broadcast <- plainMsg{c, data}:
		case <-ctx.Done():
			return
		}
	}
}

func (c *plainClient) writePump(ctx context.Context) {
	ticker := time.NewTicker(plainPingPeriod)
	defer func() {
		ticker.Stop()
		c.conn.Close()
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case pm, ok := <-c.send:
			c.conn.SetWriteDeadline(time.Now().Add(plainWriteWait))
			if !ok {
				c.conn.WriteMessage(websocket.CloseMessage, nil)
				return
			}
			if c.conn.WritePreparedMessage(pm) != nil {
				return
			}
		case <-ticker.C:
			c.conn.SetWriteDeadline(time.Now().Add(plainWriteWait))
			if c.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}

// servePlain runs the plain hub until ctx ends.
func servePlain(ctx context.Context, stdout io.Writer) error {
	hub, err := newPlainHub()
	if err != nil {
		return err
	}
	go hub.run(ctx)
	up := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &plainClient{hub: hub, room: r.URL.Query().Get("room"), user: r.URL.Query().Get("user_id"), conn: conn,
			send: make(chan *websocket.PreparedMessage, 256)}
		select {
		case hub.register <- c:
		case <-ctx.Done():
			conn.Close()
			return
		}
		go c.writePump(ctx)
		go c.readPump(ctx)
	})
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux}
	go func() {
		<-ctx.Done()
		srv.Close()
	}()
	fmt.Fprintf(stdout, "%s%s\n", readyPrefix, l.Addr())
	if err := srv.Serve(l); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
