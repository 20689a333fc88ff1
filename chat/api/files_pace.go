package api

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// A request that brings or takes many bytes has no deadline for all of it: a
// phone in a bad place may need an hour. But in each minute some must move, or
// a few clients that send one byte a minute would hold connections for ever.
const (
	paceEvery   = time.Minute
	paceStretch = 16 << 10 // bytes that must come in that time
)

// pacedBody moves the deadlines on with each stretch that has come.
type pacedBody struct {
	io.ReadCloser
	rc   *http.ResponseController
	left int

	mu  sync.Mutex
	why error // it was broken off
}

// paced prepares a request whose body is long. It is broken off when stopping
// ends, until done is called.
func paced(w http.ResponseWriter, r *http.Request, stopping context.Context) (b *pacedBody, done func() bool) {
	b = &pacedBody{ReadCloser: r.Body, rc: http.NewResponseController(w)}
	b.goOn()
	r.Body = b
	return b, context.AfterFunc(stopping, func() { b.breakOff(stopsNow()) })
}

func (b *pacedBody) goOn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why != nil {
		return
	}
	b.left = paceStretch
	now := time.Now()
	_ = b.rc.SetReadDeadline(now.Add(paceEvery))
	_ = b.rc.SetWriteDeadline(now.Add(2 * paceEvery)) // the answer's own
}

// breakOff ends the body, even in the middle of a wait for it.
func (b *pacedBody) breakOff(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.why == nil {
		b.why = why
		_ = b.rc.SetReadDeadline(time.Now())
	}
}

// broken returns why it was broken off, nil if it was not.
func (b *pacedBody) broken() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.why
}

func (b *pacedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left <= 0 && err == nil {
		b.goOn()
	}
	return n, err
}

// pacedWriter moves the deadline on with each piece that was taken.
type pacedWriter struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (w *pacedWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		_ = w.rc.SetWriteDeadline(time.Now().Add(paceEvery))
		m := 0
		m, err = w.ResponseWriter.Write(p[:min(len(p), paceStretch)])
		n, p = n+m, p[m:]
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
