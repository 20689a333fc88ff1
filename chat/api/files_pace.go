package api

import (
	"context"
	"io"
	"net/http"
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
}

// paced prepares a request whose body is long. It is broken off when stopping
// ends, until done is called.
func paced(w http.ResponseWriter, r *http.Request, stopping context.Context) (done func() bool) {
	b := &pacedBody{ReadCloser: r.Body, rc: http.NewResponseController(w)}
	b.goOn()
	r.Body = b
	return context.AfterFunc(stopping, func() { _ = b.rc.SetReadDeadline(time.Now()) })
}

func (b *pacedBody) goOn() {
	b.left = paceStretch
	now := time.Now()
	_ = b.rc.SetReadDeadline(now.Add(paceEvery))
	_ = b.rc.SetWriteDeadline(now.Add(2 * paceEvery)) // the answer's own
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
