package storetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"

	"teahouse/chat"
)

// agenda is what a Memory is to append later.
type agenda struct {
	last int64            // N of the newest one
	list []chat.Scheduled // in the order in which they will come
}

// Schedule implements chat.Store.
func (m *Memory) Schedule(ctx context.Context, s chat.Scheduled) ([]chat.Delivery, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	if m.fail != nil {
		return nil, m.fail
	}
	s.ID, s.N, s.Made = rand.Text()[:16], m.agenda.last+1, m.clock().UnixMilli()
	s.Event.Body = slices.Clone(s.Event.Body)
	topics := s.Topics
	s.Topics = nil
	out := make([]chat.Delivery, len(topics))
	for i, topic := range topics {
		out[i] = m.place(&s, topic)
		if !out[i].Duplicate {
			s.Topics = append(s.Topics, topic)
		}
	}
	if s.Count = len(s.Topics); s.Count > 0 {
		m.agenda.last = s.N
		at, _ := slices.BinarySearchFunc(m.agenda.list, s, soonest)
		m.agenda.list = slices.Insert(m.agenda.list, at, s)
	}
	return out, nil
}

func soonest(a, b chat.Scheduled) int {
	return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.N, b.N))
}

// place finds the event, or says where it will be.
func (m *Memory) place(s *chat.Scheduled, topic string) chat.Delivery {
	if key := s.Event.Key; key != "" {
		if i, ok := m.keys[[3]string{topic, s.Event.From, key}]; ok {
			first := m.events[i]
			first.Origin = 0
			return chat.Delivery{Event: first, Duplicate: true}
		}
		for _, x := range m.agenda.list {
			if x.Event.Key == key && x.Event.From == s.Event.From && slices.Contains(x.Topics, topic) {
				return delivery(&x, topic, true)
			}
		}
		if slices.Contains(s.Topics, topic) {
			return delivery(s, topic, true)
		}
	}
	return delivery(s, topic, false)
}

func delivery(s *chat.Scheduled, topic string, duplicate bool) chat.Delivery {
	d := chat.Delivery{Event: s.Event, Duplicate: duplicate, Scheduled: s.ID, Due: s.Due}
	d.Event.Topic = topic
	return d
}

// AppendDue implements chat.Store.
func (m *Memory) AppendDue(ctx context.Context, limit int) (taken int, next int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := gaveUp(ctx); err != nil {
		return 0, 0, err
	}
	if m.fail != nil {
		return 0, 0, m.fail
	}
	now := m.clock().UnixMilli()
	var events []chat.Event
	n := 0
	for _, s := range m.agenda.list {
		if s.Due > now || n > 0 && taken+s.Count > limit {
			break
		}
		n++
		taken += s.Count
		for _, topic := range s.Topics {
			if e := s.Event; !e.Expired(now) {
				e.Topic = topic
				events = append(events, e)
			}
		}
	}
	if len(events) > 0 {
		m.append(events)
	}
	m.agenda.list = slices.Delete(m.agenda.list, 0, n)
	if len(m.agenda.list) > 0 {
		next = m.agenda.list[0].Due
	}
	return taken, next, nil
}

// Scheduled implements chat.Store.
func (m *Memory) Scheduled(ctx context.Context, q chat.ScheduledQuery) ([]chat.Scheduled, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	var out []chat.Scheduled
	for _, s := range m.agenda.list {
		if len(out) == cmp.Or(q.Limit, 50) {
			break
		}
		if q.ID != "" && q.ID != s.ID || q.Key != "" && (q.Key != s.Event.Key || q.From != s.Event.From) ||
			soonest(s, chat.Scheduled{Due: q.Due, N: q.N}) <= 0 {
			continue
		}
		s.Topics = slices.Clone(s.Topics)
		if q.Names > 0 {
			s.Topics = s.Topics[:min(q.Names, len(s.Topics))]
		}
		out = append(out, s)
	}
	return out, nil
}

// Unschedule implements chat.Store.
func (m *Memory) Unschedule(ctx context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := gaveUp(ctx); err != nil {
		return false, err
	}
	i := slices.IndexFunc(m.agenda.list, func(s chat.Scheduled) bool { return s.ID == id })
	if i >= 0 {
		m.agenda.list = slices.Delete(m.agenda.list, i, i+1)
	}
	return i >= 0, nil
}
