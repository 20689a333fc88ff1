//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// serveIn runs a reference server in this process and returns its address.
func serveIn(t *testing.T, name string, keep int) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		defer pw.Close()
		if name == sidePlain {
			done <- servePlain(ctx, pw)
		} else {
			done <- serveFloor(ctx, pw, keep)
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(pr).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(strings.TrimSpace(line), readyPrefix)
}

func dialRoom(t *testing.T, addr, room string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/ws?room="+room, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	return c
}

func say(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	_, b, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Both reference servers do the same job: the others get the message, in
// order, the sender gets an ack, another room gets nothing.
func TestReferenceServersDeliverInOrder(t *testing.T) {
	t.Parallel()
	for _, name := range []string{sidePlain, sideFloor} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := serveIn(t, name, 0)
			a, b, c := dialRoom(t, addr, "one"), dialRoom(t, addr, "one"), dialRoom(t, addr, "one")
			other := dialRoom(t, addr, "two")
			// A round from each, so that all are known to be members.
			for _, from := range []*websocket.Conn{a, b, c} {
				say(t, from, "here")
				for hear(t, from) != tinyAck {
				}
			}
			say(t, other, "elsewhere")
			if got := hear(t, other); got != tinyAck {
				t.Errorf("the other room heard %q", got)
			}
			const n = 200
			go func() {
				for i := range n {
					a.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "message %d", i))
				}
			}()
			for _, to := range []*websocket.Conn{b, c} {
				got := hear(t, to)
				for got == "here" {
					got = hear(t, to)
				}
				for i := range n {
					if i > 0 {
						got = hear(t, to)
					}
					if want := fmt.Sprintf("message %d", i); got != want {
						t.Fatalf("heard %q, want %q", got, want)
					}
				}
			}
			acks := 0
			for acks < n {
				if hear(t, a) == tinyAck {
					acks++
				}
			}
		})
	}
}

// The floor's memory: who comes later gets the last frames at once.
func TestFloorReplaysWhatItKept(t *testing.T) {
	t.Parallel()
	addr := serveIn(t, sideFloor, 3)
	a := dialRoom(t, addr, "one")
	for i := range 5 {
		say(t, a, fmt.Sprint(i))
		hear(t, a)
	}
	b := dialRoom(t, addr, "one")
	for i := 2; i < 5; i++ {
		if got := hear(t, b); got != fmt.Sprint(i) {
			t.Errorf("heard %q, want %d", got, i)
		}
	}
}

// The generator sees every delivery and every ack, and nothing twice.
func TestGeneratorCountsEverything(t *testing.T) {
	t.Parallel()
	for _, name := range []string{sidePlain, sideFloor} {
		for _, win := range []window{untilAck, untilAll} {
			t.Run(fmt.Sprint(name, win), func(t *testing.T) {
				t.Parallel()
				addr := serveIn(t, name, 0)
				g, err := newGenerator(t.Context(), addr)
				if err != nil {
					t.Fatal(err)
				}
				defer g.close()
				const rooms, each = 3, 4
				ref := reference(name, "", bodyBytes)
				nrooms, pubs := rooms, []int{0, 1, 5, 11}
				if win == untilAll { // one room and one publisher
					nrooms, pubs = 1, []int{2}
				}
				if _, err := g.connect(ref.specs(nrooms, each), 4, 10*time.Second); err != nil {
					t.Fatal(err)
				}
				g.quiet(20*time.Millisecond, time.Second)
				g.publish(pubs, func(int) numbered { return ref.msg(0, "") }, 2, win)
				g.timing = true
				g.start()
				g.until(5*time.Second, func() bool { return g.acks > 100 })
				g.sending = false
				if !g.until(5*time.Second, func() bool { return g.acks == g.sent && g.events == g.sent*(each-1) }) {
					t.Errorf("sent %d: %d acks, %d deliveries", g.sent, g.acks, g.events)
				}
				g.quiet(20*time.Millisecond, time.Second)
				if g.acks != g.sent || g.events != g.sent*(each-1) || g.lost+g.errors+g.other > 0 || len(g.lat) != g.acks {
					t.Errorf("sent %d: %+v, %d latencies", g.sent, g.counters, len(g.lat))
				}
			})
		}
	}
}
