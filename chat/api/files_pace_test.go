package api_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
	"teahouse/db"
)

// pipes is a listener whose connections are pipes, so that time can be the
// test's own.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial() net.Conn {
	near, far := net.Pipe()
	p.conns <- far
	return near
}

// served runs f in a bubble of time with a server in it.
func served(t *testing.T, f func(t *testing.T, h *house, store *db.Store, p *pipes)) {
	synctest.Test(t, func(t *testing.T) {
		h, store := withFiles(t, func(_ *db.Options, o *api.FileOptions) { o.Max = 90_000 })
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		server := &http.Server{Handler: h.mux, IdleTimeout: time.Minute}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := server.Serve(p); !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}()
		defer func() {
			_ = server.Close()
			<-ended
			time.Sleep(time.Second) // what tusd leaves running ends by itself
		}()
		f(t, h, store, p)
	})
}

// patch begins to send a body of so many bytes.
func patch(t *testing.T, p *pipes, at string, offset, size int) net.Conn {
	t.Helper()
	c := p.dial()
	_, err := fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: example.com\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: %d\r\nContent-Length: %d\r\nContent-Type: application/offset+octet-stream\r\n\r\n", at, offset, size)
	must(t, err)
	return c
}

// answered reads the answer and closes the connection.
func answered(t *testing.T, c net.Conn) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	b, err := io.ReadAll(res.Body)
	must(t, err)
	must(t, c.Close())
	return res, string(b)
}

// A phone that is slow, but goes on, is waited for: here more than four minutes.
func TestSlowUploadIsTaken(t *testing.T) {
	t.Parallel()
	served(t, func(t *testing.T, h *house, _ *db.Store, p *pipes) {
		const piece = 16 << 10
		at := h.begun(5 * piece)
		c := patch(t, p, at, 0, 5*piece)
		for range 5 {
			time.Sleep(50 * time.Second)
			_, err := io.WriteString(c, strings.Repeat("x", piece))
			must(t, err)
		}
		res, body := answered(t, c)
		if res.StatusCode != 200 {
			t.Errorf("%s: %s", res.Status, body)
		}
	})
}

// One that sends a byte now and then is not: it would hold the connection for
// ever. What came is kept.
func TestTricklingUploadIsCut(t *testing.T) {
	t.Parallel()
	served(t, func(t *testing.T, h *house, store *db.Store, p *pipes) {
		at := h.begun(80_000)
		c := patch(t, p, at, 0, 80_000)
		began := time.Now()
		over := make(chan struct{})
		go func() {
			defer close(over)
			for {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		}()
		res, body := answered(t, c)
		<-over
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("it was cut after %s", took)
		}
		if res.StatusCode != 503 || !strings.Contains(body, string(chat.CodeUploadCut)) {
			t.Errorf("%s: %s", res.Status, body)
		}
		u, err := store.Upload(t.Context(), path.Base(at))
		if err != nil || u.Offset < 5 || u.Offset > 8 {
			t.Errorf("%+v, %v", u, err)
		}
	})
}

// A client that comes back while the server still waits for its broken
// connection goes on at once.
func TestUploadIsTakenOver(t *testing.T) {
	t.Parallel()
	served(t, func(t *testing.T, h *house, _ *db.Store, p *pipes) {
		at := h.begun(10)
		lost := patch(t, p, at, 0, 10)
		_, err := io.WriteString(lost, "hello")
		must(t, err)
		synctest.Wait()
		began := time.Now()
		ask := p.dial()
		_, err = fmt.Fprintf(ask, "HEAD %s HTTP/1.1\r\nHost: example.com\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n\r\n", at)
		must(t, err)
		end := make(chan struct{})
		go func() { // nobody is left to read it; a pipe wants it read
			defer close(end)
			_, _ = io.Copy(io.Discard, lost)
		}()
		res, err := http.ReadResponse(bufio.NewReader(ask), &http.Request{Method: "HEAD"})
		must(t, err)
		must(t, ask.Close())
		if n, err := strconv.Atoi(res.Header.Get("Upload-Offset")); err != nil || n != 5 || time.Since(began) > 5*time.Second {
			t.Errorf("it stands at %d, %v, after %s", n, err, time.Since(began))
		}
		must(t, lost.Close())
		<-end
		c := patch(t, p, at, 5, 5)
		_, err = io.WriteString(c, "world")
		must(t, err)
		if res, body := answered(t, c); res.StatusCode != 200 {
			t.Errorf("%s: %s", res.Status, body)
		}
	})
}

// One that does not read what it asked for is given up, and its file closed.
func TestStalledDownloadIsCut(t *testing.T) {
	t.Parallel()
	served(t, func(t *testing.T, h *house, _ *db.Store, p *pipes) {
		f := h.kept("a", strings.Repeat("x", 80_000))
		c := p.dial()
		_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: example.com\r\n\r\n", f.URL)
		must(t, err)
		b := make([]byte, 1000)
		_, err = io.ReadFull(c, b)
		must(t, err)
		time.Sleep(3 * time.Minute)
		n, err := io.Copy(io.Discard, c)
		if n >= 79_000 {
			t.Errorf("after three minutes %d bytes more came, %v", n, err)
		}
		must(t, c.Close())

		// A slow reader gets it all.
		c = p.dial()
		_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n", f.URL)
		must(t, err)
		total := 0
		for err == nil {
			var n int
			n, err = io.ReadFull(c, b)
			total += n
			time.Sleep(3 * time.Second)
		}
		if total < 80_000 {
			t.Errorf("a slow reader got %d bytes, %v", total, err)
		}
		must(t, c.Close())
	})
}
