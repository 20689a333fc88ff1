package chat

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// An ack stands in its event's place: before it the connection has been told
// everything older of the topic. A live follower gets it from the hub, in the
// round that tells the event (tellOne). One that is behind gets it from its
// replay, where that meets the event. Who does not follow the topic has no
// place in it and gets the ack at once. So does a repeated send, whose event
// was in the log already, and one whose place a reset has skipped: these acks
// say Again.

// ownSend is an event that the connection sent.
type ownSend struct {
	id    json.RawMessage // of the request
	sends int             // how many requests of it wait for the store and the hub
	told  bool            // its ack has been told; a replay leaves the event out
	met   bool            // a replay has told it and so answered one request that still waits
	left  *subscription   // whose replay is to tell the ack; nil: nobody's yet
	event Event           // what the ack is about, if left is set; without its body
}

func ownKey(topic, key string) string { return topic + "\x00" + key }

// sending notes an event that is about to be appended: a replay may meet it
// before the hub hears of it.
func (c *Client) sending(topic, key string, id json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		c.own = make(map[string]*ownSend, 1)
	}
	k := ownKey(topic, key)
	if c.own[k] == nil {
		c.own[k] = &ownSend{id: id}
	}
	c.own[k].sends++
}

// notSent forgets a request whose event was not appended by it. told says that
// a replay has met the event meanwhile and answered this request.
func (c *Client) notSent(topic, key string, id json.RawMessage) (told bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := ownKey(topic, key)
	o := c.own[k]
	o.sends--
	c.settle(k, o)
	return o.answered(id)
}

// answered reports that a replay has answered a request, once.
func (o *ownSend) answered(id []byte) bool {
	yes := o.met && bytes.Equal(o.id, id)
	o.met = o.met && !yes
	return yes
}

// settle forgets an own send that nobody asks for any more: no request of it
// waits, and its event is told or was not stored by it. The caller holds c.mu.
func (c *Client) settle(k string, o *ownSend) {
	if o.sends == 0 && (!o.told && o.left == nil || o.told && !c.catching) {
		delete(c.own, k)
	}
}

// ack returns the ack of an event that the hub tells, or nothing if a replay
// has told it. late: the follower is past its place.
func (c *Client) ack(id []byte, e *Event, late bool) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := ownKey(e.Topic, e.Key)
	o := c.own[k]
	o.sends--
	o.told = true
	c.settle(k, o)
	if o.answered(id) {
		return nil
	}
	return c.ackFrame(id, e, late)
}

// leaveAck leaves the ack of an event to the replay of a subscription that is
// behind. It reports false if that is past the event: it has told the ack, or
// a reset took it over the event.
func (c *Client) leaveAck(s *subscription, e *Event) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.cursor.Load() >= e.Seq {
		return false
	}
	o := c.own[ownKey(e.Topic, e.Key)]
	o.sends--
	if o.met {
		o.met = false
	} else {
		o.left = s
		o.event = Event{Topic: e.Topic, Key: e.Key, Seq: e.Seq, At: e.At}
	}
	return true
}

// replayed returns what a subscription's replay tells of an event: its frame,
// or the ack in its place if this connection sent it. It is nothing if that
// has been told, or the event comes by another subscription.
func (c *Client) replayed(s *subscription, e *Event, frame []byte) []byte {
	elsewhere := s.elsewhere(e)
	if slices.Contains(c.resumed.own, e.Seq) {
		return nil
	}
	var o *ownSend
	if e.From == c.user && e.Key != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		o = c.own[ownKey(e.Topic, e.Key)]
	}
	switch {
	case o == nil && !elsewhere:
		return frame
	case o == nil || o.told, elsewhere && o.left != s:
		return nil
	case elsewhere: // it was left to this replay before the talk was joined
		delete(c.own, ownKey(e.Topic, e.Key))
		return c.ackFrame(o.id, e, true)
	}
	s.saidItself(e.Seq, false)
	// What was left to a replay waits no more for the hub.
	o.told, o.met, o.left = true, o.left == nil, nil
	return c.ackFrame(o.id, e, false)
}

// takeAcks returns the acks that were left to a subscription's replay and that
// it will not come by any more: those up to a Seq. The caller holds c.mu.
func (c *Client) takeAcks(s *subscription, upTo int64) (frames []byte) {
	for k, o := range c.own {
		if o.left != s || o.told || o.event.Seq > upTo {
			continue
		}
		o.told, o.left = true, nil
		frames = append(frames, c.ackFrame(o.id, &o.event, true)...)
		c.settle(k, o)
	}
	return frames
}

// tellOwn is for a topic that is joined: it begins anew at the place that was
// asked for, so what stands after it is told, whether its ack was told before
// or not. The caller holds c.mu.
func (c *Client) tellOwn(topic string) {
	for k, o := range c.own {
		if !o.told || !strings.HasPrefix(k, ownKey(topic, "")) {
			continue
		}
		if o.sends == 0 {
			delete(c.own, k)
		} else { // the hub has still to come by
			o.told = false
		}
	}
}

// forgetTold forgets the own sends that only a running replay had to know of.
// The caller holds c.mu.
func (c *Client) forgetTold() {
	for k, o := range c.own {
		c.settle(k, o)
	}
}

func (c *Client) ackFrame(id []byte, e *Event, again bool) []byte {
	return c.dialect().replyFrame(&Reply{Op: ReplyAck, ID: id, Topic: e.Topic, Key: e.Key, Seq: e.Seq, At: e.At, Again: again})
}
