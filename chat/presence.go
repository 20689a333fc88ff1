package chat

import (
	"context"
	"sync"
	"time"
)

// laterQueue holds clients that have something to write which may wait a
// little: who came and who went.
type laterQueue struct {
	mu      sync.Mutex
	clients []*Client
	wake    chan struct{}
}

// laterDelay is how long presence may wait to be written with what follows.
// Anything else that is written to the client takes it along at once.
const laterDelay = 50 * time.Millisecond

// add notes clients to be flushed.
func (q *laterQueue) add(clients []*Client) {
	if len(clients) == 0 {
		return
	}
	q.mu.Lock()
	q.clients = append(q.clients, clients...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// flushLater writes what waits in the queue, all of it together.
func (h *Hub) flushLater(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.later.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(laterDelay):
		}
		h.later.mu.Lock()
		clients := h.later.clients
		h.later.clients = nil
		h.later.mu.Unlock()
		h.flushAll(clients)
	}
}
