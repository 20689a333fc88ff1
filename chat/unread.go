package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
)

// TopicState is one topic of a user's list.
type TopicState struct {
	Mark
	Head    int64  // Seq of the newest event, 0 if there is none
	Unread  int    // messages of others above Read, without recalled ones, up to unreadMost
	More    bool   // there are, or may be, more than Unread
	Mention bool   // one of these names the user in body.mentions
	Last    *Event // the newest message; nil if none was found
	Locked  bool   // the user may not read it now: of the rest nothing is told but the Mark
}

const (
	unreadMost = 99     // messages that are counted
	unreadLook = 400    // events of one topic that are looked at for it
	unreadAll  = 20_000 // and of all topics of one call: what is over is answered with More
	unreadPage = 100
)

// doTopics answers with the rooms that the user keeps, and the talks.
func (c *Client) doTopics(cmd *Command) error {
	if err := c.may(asksTopics); err != nil {
		return err
	}
	return c.answerFresh(c.hub.looks, func(ctx context.Context) (*Reply, []string, error) {
		states, err := c.hub.topicStates(ctx, c.user, c.mayRead)
		if err != nil {
			return nil, nil, err
		}
		names := make([]string, len(states))
		for i := range states {
			names[i] = states[i].Topic
		}
		return &Reply{Op: ReplyTopics, ID: cmd.ID, Topics: states}, names, nil
	})
}

// topicStates returns the user's list, in the order of the topics' names. Of what
// the user may not read it says nothing but the mark.
func (h *Hub) topicStates(ctx context.Context, user string, mayRead func(topic string) error) ([]TopicState, error) {
	marks, err := h.store.Marks(ctx, user)
	if err != nil {
		return nil, err
	}
	talks, err := h.store.Talks(ctx, user, 0)
	if err != nil {
		return nil, err
	}
	var states []TopicState
	marked := make(map[string]Mark, len(marks))
	for _, m := range marks {
		marked[m.Topic] = m
		if m.Kept && m.Topic != Inbox(user) && !slices.Contains(talks, m.Topic) {
			states = append(states, TopicState{Mark: m})
		}
	}
	for _, talk := range talks {
		m, ok := marked[talk]
		if !ok {
			m = NewMark(user, talk)
		}
		states = append(states, TopicState{Mark: m})
	}
	slices.SortFunc(states, func(a, b TopicState) int { return bytes.Compare([]byte(a.Topic), []byte(b.Topic)) })
	budget := unreadAll
	for i := range states {
		if mayRead(states[i].Topic) != nil {
			states[i].Locked = true
			continue
		}
		if err := h.look(ctx, &states[i], &budget); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// look finds the newest message of a topic and what the user has not read,
// from the newest event backwards. It takes what it looked at off the budget.
func (h *Hub) look(ctx context.Context, s *TopicState, budget *int) error {
	before, most := int64(0), min(unreadLook, max(*budget, 1))
	for looked, page := 0, min(4, most); looked < most; page = min(unreadPage, most-looked) {
		events, err := h.store.Before(ctx, s.Topic, before, page)
		if err != nil {
			return err
		}
		looked += len(events)
		*budget -= len(events)
		for i := len(events) - 1; i >= 0; i-- {
			e := &events[i]
			s.Head = max(s.Head, e.Seq)
			if e.Kind != KindMessage {
				continue
			}
			if s.Last == nil {
				s.Last = e
			}
			if e.Seq <= s.Read {
				return nil
			}
			if e.From == s.User || e.Recalled() {
				continue
			}
			if s.Unread == unreadMost {
				s.More = true
				return nil
			}
			s.Unread++
			s.Mention = s.Mention || mentions(e, s.User)
		}
		if len(events) < page {
			return nil
		}
		if before = events[0].Seq; before <= s.Read && s.Last != nil {
			return nil
		}
	}
	s.More = before > s.Read+1
	return nil
}

// mentions reports whether a message names the user in its body.
func mentions(e *Event, user string) bool {
	if !bytes.Contains(e.Body, []byte(`"mentions"`)) {
		return false
	}
	var body struct {
		Mentions []string `json:"mentions"`
	}
	_ = json.Unmarshal(e.Body, &body) // a body may be anything
	return slices.Contains(body.Mentions, user)
}
