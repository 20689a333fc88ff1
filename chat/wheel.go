package chat

import (
	"sync"
	"time"
)

// wheel is the one timer of all connections. Each sits in the slot of the
// second in which it has to be looked at; nothing is set or stopped when a
// frame comes, since a look at a lively connection only moves it on.
type wheel struct {
	mu    sync.Mutex
	now   int64 // seconds; slots up to it have been visited
	slots [wheelSlots][]*Client
}

// wheelSlots is more than the longest wait, in seconds.
const wheelSlots = 64

func newWheel(now int64) *wheel { return &wheel{now: now} }

// add has a client looked at in so many seconds, 1 to wheelSlots-1.
func (w *wheel) add(c *Client, seconds int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := (w.now + min(max(seconds, 1), wheelSlots-1)) % wheelSlots
	w.slots[at] = append(w.slots[at], c)
}

// advance visits everybody whose time has come. look returns in how many
// seconds to look again, or 0 for never.
func (w *wheel) advance(now int64, look func(c *Client, now int64) int64) {
	w.mu.Lock()
	if now-w.now > wheelSlots { // the machine slept: visit each once
		w.now = now - wheelSlots
	}
	for w.now < now {
		w.now++
		due := w.slots[w.now%wheelSlots]
		w.slots[w.now%wheelSlots] = nil
		w.mu.Unlock()
		for _, c := range due {
			if again := look(c, now); again > 0 {
				w.add(c, again)
			}
		}
		w.mu.Lock()
	}
	w.mu.Unlock()
}

// check is what the wheel does with a connection: close one that never says
// hello, one whose token ran out and one that is dead; ping one that is silent.
func (h *Hub) check(c *Client, now int64) (again int64) {
	every, wait := int64(h.opts.PingEvery.Seconds()), int64(h.opts.PingWait.Seconds())
	c.mu.Lock()
	gone := c.gone
	c.mu.Unlock()
	if gone {
		return 0
	}
	if wait := int64(c.helloWait().Seconds()); c.helloWait() >= 0 && !c.hello.Load() {
		age := now - c.seen.Load()
		if age < wait {
			return wait - age
		}
		c.close(Errorf(CodeHelloFirst, "no hello came within %d s", wait))
		return 0
	}
	beat := int64(c.rules().Beat.Seconds())
	if beat > 0 && c.beatAt == 0 {
		c.beatAt = now + beat
	}
	if beat > 0 && now >= c.beatAt {
		c.beatAt = now + beat
		h.flushNow(c, c.out.pushDroppable(c.dialect().replyFrame(&Reply{Op: ReplyBeat, At: time.Now().UnixMilli()})))
	}
	var left int64
	if c.expires > 0 {
		left = c.expires - time.Now().Unix()
	}
	if c.expires > 0 && left <= 0 {
		c.close(Errorf(CodeTokenExpired, "the token has run out; come back with a new one"))
		return 0
	}
	next := every - (now - c.seen.Load())
	if c.rules().Lenient { // a proxy may cut where the server is silent
		next = min(next, every-(now-c.pingedAt))
	}
	switch {
	case c.pinged > 0 && c.seen.Load() < c.pinged && now-c.pinged >= wait:
		// A dead network takes no close frame; a slow client may still.
		h.log.Debug("ping timeout", "session", c.session)
		c.close(Errorf(CodePingTimeout, "nothing came for %d s; come back with your position", now-c.seen.Load()))
		c.out.fail()
		return 0
	case c.pinged > 0 && c.seen.Load() < c.pinged:
		next = wait - (now - c.pinged)
	case next <= 0:
		c.pinged, c.pingedAt = now, now
		h.flushNow(c, c.out.pushDroppable(pingFrame))
		next = min(wait, every)
	default:
		c.pinged = 0
	}
	if c.expires > 0 {
		next = min(next, left)
	}
	if beat > 0 {
		next = min(next, c.beatAt-now)
	}
	return max(next, 1)
}

// helloWait is how long the client may stay without a hello; negative: for
// ever.
func (c *Client) helloWait() time.Duration {
	if c.rules().HelloWait != 0 {
		return c.rules().HelloWait
	}
	return c.hub.opts.HelloWait
}

// firstLook is in how many seconds a new client is to be looked at.
func (c *Client) firstLook() int64 {
	look := c.hub.opts.PingEvery
	if w := c.helloWait(); w > 0 {
		look = min(look, w)
	}
	if b := c.rules().Beat; b > 0 {
		look = min(look, b)
	}
	return int64(look.Seconds())
}

var pingFrame = appendFrame(nil, framePing, nil)
