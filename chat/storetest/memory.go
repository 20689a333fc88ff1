package storetest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"teahouse/chat"
)

// Memory is a chat.Store that forgets: for tests of what stands on a Store.
// It passes Run. Make it with NewMemory.
type Memory struct {
	clock func() time.Time

	mu       sync.Mutex
	epoch    string
	events   []chat.Event
	keys     map[[3]string]int // index in events
	pruned   map[string]int64
	sessions map[string]chat.Session
	agenda   agenda
	grown    chan struct{} // closed and replaced at each append
	fail     error
	vouchers []kept // by ID, from 1
	imports  []*imported
	marks    []chat.Mark // the one marked last comes last
}

var _ chat.Store = (*Memory)(nil)

// NewMemory returns an empty Memory. clock nil is time.Now.
func NewMemory(clock func() time.Time) *Memory {
	if clock == nil {
		clock = time.Now
	}
	return &Memory{
		clock: clock, epoch: rand.Text()[:16], keys: make(map[[3]string]int), pruned: make(map[string]int64),
		sessions: make(map[string]chat.Session), grown: make(chan struct{}),
	}
}

// gaveUp returns an error if ctx has ended.
func gaveUp(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return &chat.Error{Code: chat.CodeBusy, Message: "given up", Err: ctx.Err()}
}

// Reopen does what a restart does to a Store: whoever was online is not any more.
func (m *Memory) Reopen() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, s := range m.sessions {
		if s.Ended == 0 {
			s.Ended, s.Reason = s.LastSeen, chat.CodeGoingAway
			m.sessions[id] = s
		}
	}
	return m
}

// SetFail makes every Append fail with err, until it is nil again.
func (m *Memory) SetFail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

// Prune removes the topic's events with Seq <= upTo, as retention does.
func (m *Memory) Prune(topic string, upTo int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.events {
		if e := &m.events[i]; e.Topic == topic && e.Seq <= upTo && e.Seq > m.pruned[topic] {
			m.pruned[topic] = e.Seq // what Tail has still to hand out stays for it
			delete(m.keys, [3]string{e.Topic, e.From, e.Key})
		}
	}
}

// Append implements chat.Store.
func (m *Memory) Append(ctx context.Context, events ...chat.Event) ([]chat.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	if m.fail != nil {
		return nil, m.fail
	}
	return m.append(events), nil
}

// append is Append for who holds m.mu.
func (m *Memory) append(events []chat.Event) []chat.Event {
	at := m.clock().UnixMilli()
	if n := len(m.events); n > 0 {
		at = max(at, m.events[n-1].At)
	}
	out := make([]chat.Event, len(events))
	for i, e := range events {
		key := [3]string{e.Topic, e.From, e.Key}
		if first, ok := m.keys[key]; ok && e.Key != "" {
			out[i] = m.events[first]
			out[i].Origin = 0
			continue
		}
		e.Seq, e.At = int64(len(m.events))+1, at
		e.Body = slices.Clone(e.Body)
		out[i] = e
		if e.Key != "" {
			m.keys[key] = len(m.events)
		}
		m.events = append(m.events, e)
	}
	close(m.grown)
	m.grown = make(chan struct{})
	return out
}

func (m *Memory) pick(want func(*chat.Event) bool) (out []chat.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.events {
		if e := m.events[i]; e.Seq > m.pruned[e.Topic] && want(&e) {
			e.Origin = 0
			out = append(out, e)
		}
	}
	return out
}

// Replay implements chat.Store.
func (m *Memory) Replay(ctx context.Context, topics []string, after int64, limit int) ([]chat.Event, error) {
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	now := m.clock().UnixMilli()
	out := m.pick(func(e *chat.Event) bool {
		return e.Seq > after && !e.Expired(now) && slices.Contains(topics, e.Topic)
	})
	return out[:min(len(out), max(limit, 0))], nil
}

// Before implements chat.Store.
func (m *Memory) Before(ctx context.Context, topic string, seq int64, limit int) ([]chat.Event, error) {
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	now := m.clock().UnixMilli()
	out := m.pick(func(e *chat.Event) bool {
		return e.Topic == topic && !e.Expired(now) && (seq <= 0 || e.Seq < seq)
	})
	return out[max(0, len(out)-max(limit, 0)):], nil
}

// Backlog implements chat.Store.
func (m *Memory) Backlog(ctx context.Context, topic string, after int64, max int) (chat.Backlog, error) {
	if err := gaveUp(ctx); err != nil {
		return chat.Backlog{}, err
	}
	out := m.pick(func(e *chat.Event) bool { return e.Topic == topic && e.Seq > after })
	m.mu.Lock()
	defer m.mu.Unlock()
	return chat.Backlog{Events: min(len(out), max+1), Pruned: m.pruned[topic] > after}, nil
}

// Tail implements chat.Store.
func (m *Memory) Tail(ctx context.Context, after int64, deliver func([]chat.Event) error) error {
	for {
		m.mu.Lock()
		var batch []chat.Event
		for i := sort.Search(len(m.events), func(i int) bool { return m.events[i].Seq > after }); i < len(m.events); i++ {
			batch = append(batch, m.events[i])
		}
		grown := m.grown
		m.mu.Unlock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(batch) > 0 {
			after = batch[len(batch)-1].Seq
			if err := deliver(batch); err != nil {
				return err
			}
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Head implements chat.Store.
func (m *Memory) Head(ctx context.Context) (chat.Position, error) {
	if err := gaveUp(ctx); err != nil {
		return chat.Position{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return chat.Position{Epoch: m.epoch, Seq: int64(len(m.events))}, nil
}

// Talks implements chat.Store.
func (m *Memory) Talks(ctx context.Context, user string, after int64) ([]string, error) {
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	for _, e := range m.pick(func(e *chat.Event) bool { return e.Seq > after && strings.HasPrefix(e.Topic, chat.TalkPrefix) }) {
		if a, b, ok := chat.TalkMembers(e.Topic); ok && (a == user || b == user) {
			seen[e.Topic] = true
		}
	}
	out := make([]string, 0, len(seen))
	for t := range seen {
		out = append(out, t)
	}
	slices.Sort(out)
	return out, nil
}

// SaveSessions implements chat.Store.
func (m *Memory) SaveSessions(ctx context.Context, sessions ...chat.Session) error {
	if err := gaveUp(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range sessions {
		b, _ := json.Marshal(s)
		var c chat.Session // a deep copy
		_ = json.Unmarshal(b, &c)
		m.sessions[s.ID] = c
	}
	return nil
}

// Sessions implements chat.Store.
func (m *Memory) Sessions(ctx context.Context, q chat.SessionQuery) ([]chat.Session, error) {
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []chat.Session
	for _, s := range m.sessions {
		if (q.User == "" || s.User == q.User) && (!q.Online || s.Ended == 0) &&
			(q.Since.IsZero() || s.Ended == 0 || s.Ended >= q.Since.UnixMilli()) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b chat.Session) int { return int(b.Opened - a.Opened) })
	if q.Limit <= 0 {
		q.Limit = 1000
	}
	return out[:min(len(out), q.Limit)], nil
}
