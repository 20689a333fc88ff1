package storetest

import (
	"context"
	"slices"
	"strings"

	"teahouse/chat"
)

// Recall implements chat.Store.
func (m *Memory) Recall(ctx context.Context, r chat.Recall) (chat.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := gaveUp(ctx); err != nil {
		return chat.Event{}, err
	}
	if m.fail != nil {
		return chat.Event{}, m.fail
	}
	if _, ok := m.keys[[3]string{r.Event.Topic, r.Event.From, r.Event.Key}]; ok && r.Event.Key != "" {
		return m.append([]chat.Event{r.Event})[0], nil
	}
	i := int(r.Seq) - 1
	var message *chat.Event
	if i < len(m.events) && r.Seq > m.pruned[m.events[i].Topic] {
		message = &m.events[i]
	}
	if err := r.Check(message, m.now()); err != nil {
		return chat.Event{}, err
	}
	m.events[i].Body = chat.RecalledBody()
	return m.append([]chat.Event{r.Event})[0], nil
}

// now is the time of the next event, for who holds m.mu.
func (m *Memory) now() int64 {
	at := m.clock().UnixMilli()
	if n := len(m.events); n > 0 {
		at = max(at, m.events[n-1].At)
	}
	return at
}

// Mark implements chat.Store.
func (m *Memory) Mark(ctx context.Context, changes ...chat.MarkChange) ([]chat.Marked, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	out := make([]chat.Marked, len(changes))
	for i := range changes {
		out[i] = m.mark(&changes[i])
	}
	return out, nil
}

func (m *Memory) mark(c *chat.MarkChange) chat.Marked {
	head := int64(0)
	for i := range m.events {
		if e := &m.events[i]; e.Topic == c.Topic && e.Seq > m.pruned[c.Topic] {
			head = e.Seq
		}
	}
	talk := strings.HasPrefix(c.Topic, chat.TalkPrefix)
	if talk && head == 0 {
		return chat.Marked{Err: chat.NoSuchTalk()}
	}
	i := slices.IndexFunc(m.marks, func(x chat.Mark) bool { return x.User == c.User && x.Topic == c.Topic })
	if i >= 0 {
		mark := c.Apply(m.marks[i], head)
		if mark != m.marks[i] {
			m.marks = append(slices.Delete(m.marks, i, i+1), mark)
		}
		return chat.Marked{Mark: mark}
	}
	if !talk && m.full(c.User) {
		return chat.Marked{Err: chat.TooManyMarks()}
	}
	m.marks = append(m.marks, c.Apply(chat.NewMark(c.User, c.Topic), head))
	return chat.Marked{Mark: m.marks[len(m.marks)-1]}
}

// full makes room for one more mark of a room, and reports that it cannot.
func (m *Memory) full(user string) bool {
	count, idle := 0, -1
	for i, x := range m.marks {
		if x.User == user && !strings.HasPrefix(x.Topic, chat.TalkPrefix) {
			count++
			if idle < 0 && !x.Kept && !x.Muted {
				idle = i
			}
		}
	}
	if count < chat.MarksMost {
		return false
	}
	if idle >= 0 {
		m.marks = slices.Delete(m.marks, idle, idle+1)
	}
	return idle < 0
}

// Marks implements chat.Store.
func (m *Memory) Marks(ctx context.Context, user string) (marks []chat.Mark, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := gaveUp(ctx); err != nil {
		return nil, err
	}
	for _, x := range m.marks {
		if x.User == user {
			marks = append(marks, x)
		}
	}
	slices.SortFunc(marks, func(a, b chat.Mark) int { return strings.Compare(a.Topic, b.Topic) })
	return marks, nil
}
