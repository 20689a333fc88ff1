package api

import (
	"context"
	"sync"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"teahouse/chat"
)

// uploadLocks let one request at a time at an upload. A client that comes back
// takes it over from the request that still waits for the bytes of its broken
// connection. tusd has such a lock, too, but its way to break a request off
// is a data race (v2.8.0: context.go reads body while writeChunk sets it).
type uploadLocks struct {
	mu   sync.Mutex
	held map[string]*uploadLock
}

type uploadLock struct {
	locks *uploadLocks
	id    string
	body  *pacedBody
	done  chan struct{}
}

var _ handler.Locker = (*uploadLocks)(nil)

// NewLock is for tusd.
func (l *uploadLocks) NewLock(id string) (handler.Lock, error) {
	return &uploadLock{locks: l, id: id, done: make(chan struct{})}, nil
}

type bodyKey struct{}

// Lock is for tusd.
func (l *uploadLock) Lock(ctx context.Context, _ func()) error {
	l.body, _ = ctx.Value(bodyKey{}).(*pacedBody)
	for {
		l.locks.mu.Lock()
		other := l.locks.held[l.id]
		if other == nil {
			l.locks.held[l.id] = l
			l.locks.mu.Unlock()
			return nil
		}
		l.locks.mu.Unlock()
		if other.body != nil {
			other.body.breakOff(uploadBusy())
		}
		select {
		case <-other.done:
		case <-ctx.Done():
			return handler.ErrLockTimeout
		}
	}
}

// Unlock is for tusd.
func (l *uploadLock) Unlock() error {
	l.locks.mu.Lock()
	delete(l.locks.held, l.id)
	l.locks.mu.Unlock()
	close(l.done)
	return nil
}

func uploadBusy() error {
	return retryIn(2*time.Second, chat.CodeUploadBusy, "another request sends this upload at the moment; ask with HEAD and go on from there")
}

func stopsNow() error {
	return retryIn(2*time.Second, chat.CodeGoingAway, "the server is stopping; what came is kept, so go on in a moment")
}
