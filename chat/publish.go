package chat

import (
	"context"
	"sync"
)

// Delivery says what became of one published event.
type Delivery struct {
	Event     Event
	Online    int    // to how many live connections it was handed; 0 for a duplicate
	Duplicate bool   // the same (Topic, From, Key) was there already: Event is the first one
	Scheduled string // it is not in the log yet, Event.Seq is 0: the ID of what is Scheduled
	Due       int64  // if it is: when it will be appended, ms since 1970 UTC
}

// publishCall waits until the hub has told all events of one Publish.
type publishCall struct {
	mu     sync.Mutex
	left   int
	online []int
	done   chan struct{}
}

func (p *publishCall) told(index, online int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.online[index] = online
	if p.left--; p.left == 0 {
		close(p.done)
	}
}

// Publish appends events on behalf of the house or of a backend and returns
// when they are durable and have been handed to the live connections. An event
// that is scheduled, by its Topic, From and Key, is left to that. Kinds are not
// restricted. An error is an *Error and means that nothing was stored.
func (h *Hub) Publish(ctx context.Context, events []Event) ([]Delivery, error) {
	if err := h.Ready(); err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, nil
	}
	waiting, err := h.waiting(ctx, events)
	switch {
	case err != nil:
		return nil, err
	case waiting != nil:
		return h.publishRest(ctx, events, waiting)
	}
	return h.publish(ctx, events)
}

func (h *Hub) publish(ctx context.Context, events []Event) ([]Delivery, error) {
	events = append([]Event(nil), events...)
	call := &publishCall{online: make([]int, len(events)), done: make(chan struct{})}
	if err := h.checkBatch(events); err != nil {
		return nil, err
	}
	if err := h.commands.enter(); err != nil {
		return nil, err
	}
	defer h.commands.leave()
	for i := range events {
		events[i].Origin = h.origins.add(&origin{call: call, index: i})
	}
	// Guard against "all told" before the duplicates are known.
	call.left = len(events) + 1
	stored, err := h.store.Append(ctx, events...)
	if err != nil {
		for i := range events {
			h.origins.take(events[i].Origin)
		}
		h.stats.failures.Add(1)
		return nil, h.logged(err)
	}
	out := make([]Delivery, len(events))
	call.mu.Lock()
	call.left--
	for i := range stored {
		out[i] = Delivery{Event: stored[i], Duplicate: stored[i].Origin == 0}
		if out[i].Duplicate && h.origins.take(events[i].Origin) != nil {
			call.left--
		}
	}
	if call.left == 0 {
		close(call.done)
	}
	call.mu.Unlock()
	select {
	case <-call.done:
	case <-h.done: // it is stored; nobody is left to hand it to
	}
	call.mu.Lock()
	defer call.mu.Unlock()
	for i := range out {
		out[i].Online = call.online[i]
		out[i].Event.Origin = 0
	}
	return out, nil
}

// maxPublish bounds the bodies of one Publish together, in bytes: each is
// stored for itself, in one transaction.
const maxPublish = 32 << 20

func (h *Hub) checkBatch(events []Event) error {
	total := 0
	var checked []byte // a call to many has the same body for all
	for i := range events {
		e := events[i]
		if total += len(e.Body); total > maxPublish {
			return Errorf(CodeTooLarge, "the bodies for all recipients together are over %d MiB; send to fewer at once", maxPublish>>20)
		}
		if len(e.Body) > 0 && len(e.Body) == len(checked) && &e.Body[0] == &checked[0] {
			e.Body = []byte("0")
		}
		if err := h.opts.Limits.CheckEvent(&e); err != nil {
			return err
		}
		checked = events[i].Body
	}
	return nil
}

// commandGate lets commands in until it is shut, and knows when the last one
// has left.
type commandGate struct {
	mu    sync.Mutex
	shut  bool
	count int
	empty chan struct{}
}

func (g *commandGate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return goingAway(0)
	}
	g.count++
	return nil
}

func (g *commandGate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count--; g.count == 0 && g.shut {
		close(g.empty)
	}
}

func (g *commandGate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shut
}

// close lets nobody in any more and returns a channel that is closed when all
// have left.
func (g *commandGate) close() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.shut = true
		g.empty = make(chan struct{})
		if g.count == 0 {
			close(g.empty)
		}
	}
	return g.empty
}
