package chat

import (
	"context"
	"sync"
	"time"
)

// laterQueue holds clients for whom something may wait a little: to be told
// who came and who went, or to be asked how far they have got.
type laterQueue struct {
	mu      sync.Mutex
	clients []*Client
	wake    chan struct{}
}

// laterDelay is how long presence may wait to be written with what follows.
// Anything else that is written to the client takes it along at once.
const laterDelay = 50 * time.Millisecond

func newLaterQueue() *laterQueue { return &laterQueue{wake: make(chan struct{}, 1)} }

// add notes clients.
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

// run has do look after what waits in the queue, all of it together, delay
// after the first.
func (q *laterQueue) run(ctx context.Context, delay time.Duration, do func([]*Client)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		q.mu.Lock()
		clients := q.clients
		q.clients = nil
		q.mu.Unlock()
		do(clients)
	}
}
