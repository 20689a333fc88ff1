package chat

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// goingAway asks a client to come back after a delay, which differs between
// clients so that they do not all come at once.
func goingAway(delay time.Duration) *Error {
	e := Errorf(CodeGoingAway, "the server is stopping or restarting; come back in a moment")
	if delay > 0 {
		e = Errorf(CodeGoingAway, "the server is stopping or restarting; come back in %d ms", delay.Milliseconds())
		e.Retry = delay
	}
	return e
}

// Shutdown ends the hub in order: no new connection and no new command;
// appends that run are finished and handed out; queues are flushed; everybody
// is asked to come back; sessions are recorded. What is not done when ctx ends
// is cut off: then it returns ctx's error. Run returns afterwards. The store
// stays open.
func (h *Hub) Shutdown(ctx context.Context) error {
	errs := []error{h.settle(ctx)}
	h.mu.RLock()
	clients := make([]*Client, 0, len(h.conns))
	for c := range h.conns {
		clients = append(clients, c)
	}
	h.mu.RUnlock()
	for _, c := range clients {
		c.close(goingAway(200*time.Millisecond + rand.N(3*time.Second)))
	}
	gone := make(chan struct{})
	go func() {
		h.open.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		errs = append(errs, ctx.Err())
		for _, c := range clients {
			c.out.fail()
		}
		<-gone
	}
	// ctx may be used up, but the sessions that just ended are worth a moment.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	h.rec.write(last)
	h.cancel()
	return errors.Join(errs...)
}

// settle lets the commands that run finish and the hub hand out what they
// stored.
func (h *Hub) settle(ctx context.Context) error {
	h.mu.Lock()
	empty := h.commands.close() // under mu: nobody enters the maps after this
	h.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
		return ctx.Err()
	}
	head, err := h.store.Head(ctx)
	if err != nil {
		return err
	}
	for h.told.Load() < head.Seq {
		select {
		case <-time.After(time.Millisecond):
		case <-h.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
