package main

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestBrowserPace measures, and asserts nothing: how fast a page is depends on
// what else the machine does. TEAHOUSE_TEST_PACE=1 go test -run TestBrowserPace -v .
// The last numbers stand in docs/design.md.
func TestBrowserPace(t *testing.T) {
	if os.Getenv("TEAHOUSE_TEST_PACE") == "" {
		t.Skip("a measurement: set TEAHOUSE_TEST_PACE=1")
	}
	chromium := browser(t)
	h := spawn(t, t.TempDir(), "--send-rate=0")
	fillRoom(t, h, lobby, 10_000)
	t.Run("arriving", func(t *testing.T) { paceOfArriving(t, chromium, h) })
	t.Run("scrolling", func(t *testing.T) { paceOfScrolling(t, chromium, h) })
}

func paceOfArriving(t *testing.T, chromium context.Context, h *house) {
	for _, link := range []struct {
		name string
		slow slowLink
	}{
		{"Wi-Fi, 40 ms, 10 Mbit/s", slowLink{40 * time.Millisecond, 10e6 / 8}},
		{"4G, 100 ms, 5 Mbit/s", slowLink{100 * time.Millisecond, 5e6 / 8}},
		{"slow 4G, 150 ms, 1.6 Mbit/s", slowLink{150 * time.Millisecond, 1.6e6 / 8}},
	} {
		addr := link.slow.listen(t, h.host())
		for _, visit := range []string{"first visit", "next visit"} {
			best := 0.0
			for range 5 {
				p := blankTab(t, chromium, "alice", phoneWidth, phoneHeight)
				p.do("know the name", chromedp.Navigate("http://"+addr+"/healthz"))
				eval[bool](p, `localStorage.setItem('teahouse.name', 'alice '+Math.random().toString(36).slice(2)), true`)
				if visit == "next visit" {
					p.do("a visit before", chromedp.Navigate("http://"+addr+"/#room=lobby"))
					p.ends(longLine(9_999))
					p.do("away", chromedp.Navigate("about:blank"))
				}
				p.slowCPU(4)
				p.do("come", chromedp.Navigate("http://"+addr+"/#room=lobby"))
				// It is not asked all the time: that would cost the slowed CPU more than the page does.
				took := eval[float64](p, `new Promise(done => {
					const look = () => (mark => mark ? done(mark.startTime) : setTimeout(look, 300))(performance.getEntriesByName('first message')[0])
					look()
				})`, chromedp.EvalAwaitPromise)
				p.slowCPU(1) // else it goes on to cost the others something
				p.do("away", chromedp.Navigate("about:blank"))
				if best == 0 || took < best {
					best = took
				}
			}
			t.Logf("first message, CPU four times slower, %s, %s: %.0f ms", link.name, visit, best)
		}
	}
}

func paceOfScrolling(t *testing.T, chromium context.Context, h *house) {
	p := visitAt(t, chromium, h.url+"/", "bob", phoneWidth, phoneHeight)
	p.ends(longLine(9_999))
	p.slowCPU(4)
	pace := eval[struct {
		Messages, Most, Nodes int
		Seconds               float64
		Frames, Long          int
		Worst                 float64
	}](p, `new Promise(async done => {
		const scroller = document.querySelector('#scroll')
		const out = {Messages: 0, Most: 0, Nodes: 0, Seconds: 0, Frames: 0, Long: 0, Worst: 0}
		const seen = new Set()
		const began = performance.now()
		let last = began
		const step = now => {
			if (out.Frames++) {
				out.Worst = Math.max(out.Worst, now - last)
				if (now - last > 50) out.Long++
			}
			last = now
			const nodes = document.querySelectorAll('[data-message]')
			for (const n of nodes) seen.add(n.dataset.seq)
			out.Most = Math.max(out.Most, nodes.length)
			scroller.scrollTop -= 900
			if (seen.size < 9990 && now - began < 50000) return requestAnimationFrame(step)
			out.Messages = seen.size
			out.Nodes = document.querySelectorAll('*').length
			out.Seconds = (now - began) / 1000
			done(out)
		}
		requestAnimationFrame(step)
	})`, chromedp.EvalAwaitPromise)
	t.Logf("10,000 messages scrolled up by 900 px a frame, CPU four times slower: %+v", pace)
}

func (p tab) slowCPU(times float64) {
	devtools(p, "slow down", emulation.SetCPUThrottlingRate, emulation.SetCPUThrottlingRateParams{Rate: times})
}

// slowLink is a network between the browser and the server: what Chromium can
// throttle by itself leaves out WebSockets and the TCP handshake.
type slowLink struct {
	trip time.Duration // there and back
	rate float64       // bytes a second, each way and connection
}

// listen lays the link before the server and returns its address.
func (s slowLink) listen(t *testing.T, server string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				<-time.After(s.trip) // the handshake
				far, err := net.Dial("tcp", server)
				if err != nil {
					near.Close()
					return
				}
				go s.carry(far, near)
				s.carry(near, far)
			}()
		}
	}()
	return l.Addr().String()
}

// carry brings bytes over the link, half a trip late and not faster than it is.
func (s slowLink) carry(to, from net.Conn) {
	type piece struct {
		bytes []byte
		at    time.Time
	}
	pieces := make(chan piece, 1000)
	go func() {
		defer close(pieces)
		free := time.Now() // when the link has sent what is on it
		for {
			buf := make([]byte, 4096)
			n, err := from.Read(buf)
			if n > 0 {
				now := time.Now()
				if free.Before(now) {
					free = now
				}
				free = free.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
				pieces <- piece{buf[:n], free.Add(s.trip / 2)}
			}
			if err != nil {
				return
			}
		}
	}()
	defer to.Close()
	for p := range pieces {
		<-time.After(time.Until(p.at))
		if _, err := to.Write(p.bytes); err != nil {
			_, _ = io.Copy(io.Discard, from)
			return
		}
	}
}
