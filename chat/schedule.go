package chat

import (
	"context"
	"sync"
	"time"
)

const (
	// dueTogether is how many due events are appended at once, at most. One
	// call's recipients are never split.
	dueTogether = 2048
	// dueLook is how long the scheduler sleeps at most. A timer counts by the
	// monotonic clock, and a small computer may set its clock after the start.
	dueLook = 20 * time.Second
	// dueRetry is how long to wait after the store failed.
	dueRetry = 5 * time.Second
	// duePause keeps the scheduler from running hot if the store's clock is
	// behind this one.
	duePause = 10 * time.Millisecond
)

// scheduler knows when the next scheduled event is due.
type scheduler struct {
	mu   sync.Mutex
	next int64 // ms since 1970 UTC; 0: nothing is scheduled
	// noted counts what was scheduled: what the store said of "the next one"
	// before that is old news.
	noted uint64
	wake  chan struct{}
}

// newScheduler returns one that does not know yet: it looks at once.
func newScheduler() *scheduler { return &scheduler{next: 1, wake: make(chan struct{}, 1)} }

// note says that something was scheduled.
func (s *scheduler) note(due int64) {
	s.mu.Lock()
	s.noted++
	sooner := s.next == 0 || due < s.next
	if sooner {
		s.next = due
	}
	s.mu.Unlock()
	if sooner {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *scheduler) look() (noted uint64, next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.noted, s.next
}

// set keeps what the store said, unless something was scheduled since then.
func (s *scheduler) set(next int64, noted uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noted != noted {
		return false
	}
	s.next = next
	return true
}

// deliverDue appends what is due, until ctx ends or the hub stops. What came
// due while no server ran is appended at once.
func (h *Hub) deliverDue(ctx context.Context) {
	failed := false
	for {
		noted, _ := h.sched.look()
		taken, next, err := h.appendDue(ctx)
		if ctx.Err() != nil || CodeOf(err) == CodeGoingAway {
			return
		}
		pause := dueLook
		switch {
		case err != nil:
			if !failed {
				h.stats.failures.Add(1)
				h.log.Error("scheduled events could not be appended; trying again until it works", "err", err)
			}
			failed, pause = true, dueRetry
		case !h.sched.set(next, noted):
			continue
		default:
			failed = false
			if next != 0 {
				pause = min(pause, time.Until(time.UnixMilli(next)))
			}
			if taken == 0 {
				pause = max(pause, duePause)
			}
		}
		timer := time.NewTimer(pause)
		rung := timer.C
		if err == nil && next == 0 {
			rung = nil // until something is scheduled
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-rung:
		case <-h.sched.wake:
			timer.Stop()
		}
	}
}

func (h *Hub) appendDue(ctx context.Context) (int, int64, error) {
	if err := h.commands.enter(); err != nil {
		return 0, 0, err
	}
	defer h.commands.leave()
	return h.store.AppendDue(ctx, dueTogether)
}

// Schedule keeps an event for later, for each of s.Topics, and returns when
// that is durable. Where the event is there already by its key, in the log or
// among what is scheduled, the delivery is a Duplicate that says where. An
// error is an *Error and means that nothing was scheduled.
func (h *Hub) Schedule(ctx context.Context, s Scheduled) ([]Delivery, error) {
	if err := h.Ready(); err != nil {
		return nil, err
	}
	events := make([]Event, len(s.Topics))
	for i, topic := range s.Topics {
		events[i] = s.Event
		events[i].Topic = topic
	}
	if err := h.checkBatch(events); err != nil {
		return nil, err
	}
	if err := h.commands.enter(); err != nil {
		return nil, err
	}
	defer h.commands.leave()
	out, err := h.store.Schedule(ctx, s)
	if err != nil {
		h.stats.failures.Add(1)
		return nil, h.logged(err)
	}
	h.sched.note(s.Due)
	return out, nil
}

// waiting returns, by their index, those of the events that are scheduled: an
// event with a key that is to come later is not sent now as well. It is a
// look, not a lock: what is scheduled in this very moment is published too,
// and the schedule then finds it in the log and leaves it.
func (h *Hub) waiting(ctx context.Context, events []Event) (map[int]Delivery, error) {
	if _, next := h.sched.look(); next == 0 {
		return nil, nil
	}
	type sender struct{ from, key string }
	known := make(map[sender]map[string]*Scheduled)
	var found map[int]Delivery
	for i := range events {
		e := &events[i]
		if e.Key == "" {
			continue
		}
		by := sender{e.From, e.Key}
		topics, ok := known[by]
		if !ok {
			list, err := h.store.Scheduled(ctx, ScheduledQuery{From: e.From, Key: e.Key, Limit: 1 << 20})
			if err != nil {
				return nil, h.logged(err)
			}
			topics = make(map[string]*Scheduled)
			for i := range list {
				for _, t := range list[i].Topics {
					topics[t] = &list[i]
				}
			}
			known[by] = topics
		}
		if s := topics[e.Topic]; s != nil {
			if found == nil {
				found = make(map[int]Delivery)
			}
			d := Delivery{Event: s.Event, Duplicate: true, Scheduled: s.ID, Due: s.Due}
			d.Event.Topic = e.Topic
			found[i] = d
		}
	}
	return found, nil
}

// publishRest publishes those of the events that are not waiting.
func (h *Hub) publishRest(ctx context.Context, events []Event, waiting map[int]Delivery) ([]Delivery, error) {
	rest := make([]Event, 0, len(events))
	for i := range events {
		if _, ok := waiting[i]; !ok {
			rest = append(rest, events[i])
		}
	}
	var sent []Delivery
	if len(rest) > 0 {
		var err error
		if sent, err = h.publish(ctx, rest); err != nil {
			return nil, err
		}
	}
	out := make([]Delivery, len(events))
	for i := range events {
		if d, ok := waiting[i]; ok {
			out[i] = d
		} else {
			out[i], sent = sent[0], sent[1:]
		}
	}
	return out, nil
}
