package dnssd

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"time"
)

// The times of RFC 6762.
const (
	probes        = 3
	probeEvery    = 250 * time.Millisecond // 8.1; also the longest wait before the first
	announcements = 2
	announceEvery = time.Second            // 8.3
	yieldFor      = time.Second            // 8.2: whoever loses to another prober
	recordEvery   = time.Second            // 6: for all to hear
	defendEvery   = 250 * time.Millisecond // 6: the same, to answer a probe
	sharedDelay   = 20 * time.Millisecond  // 6: others may answer as well
	sharedJitter  = 100 * time.Millisecond

	// Somebody who takes every name does not make us busy.
	quickNames = 5
	nameWait   = time.Minute
	numberMax  = 999
)

// responder is the service's state, and what was said of it where. One
// goroutine uses it.
type responder struct {
	service Service
	options Options
	number  int  // of the name: the second, third … if others have those before
	failing bool // Failed was told

	// Of a run.
	link   link
	lans   []*lan
	zone   *zone
	probed int       // probes sent; below probes the name is not ours yet
	told   int       // announcements sent; at 0 nothing is answered
	next   time.Time // of the next probe or announcement; zero: none
}

// lan is what is going on in one network.
type lan struct {
	Network
	last    [8]time.Time // when each record was told to all
	pending records      // to be told to all
	due     time.Time    // of the pending ones
	every   time.Duration
}

// begin starts a run with probing.
func (r *responder) begin(now time.Time, l link, networks []Network) (err error) {
	r.link, r.lans = l, nil
	for _, n := range networks {
		r.lans = append(r.lans, &lan{Network: n})
	}
	if r.zone, err = newZone(r.service, r.number); err != nil {
		return err
	}
	r.probe(now.Add(rand.N(probeEvery))) // 8.1: all that a power cut started do not ask at once
	return nil
}

// probe begins to ask whether the name is free.
func (r *responder) probe(at time.Time) {
	r.probed, r.told, r.next = 0, 0, at
	for _, l := range r.lans {
		l.pending = 0
	}
}

// wake is when there is something to do, at the latest at the given time.
func (r *responder) wake(at time.Time) time.Time {
	if !r.next.IsZero() && r.next.Before(at) {
		at = r.next
	}
	for _, l := range r.lans {
		if l.pending != 0 && l.due.Before(at) {
			at = l.due
		}
	}
	return at
}

// proceed sends the probe or announcement that is due.
func (r *responder) proceed(now time.Time) error {
	if r.next.IsZero() || now.Before(r.next) {
		return nil
	}
	if r.probed < probes {
		var failed error
		reached := 0
		for _, l := range r.lans {
			if err := send(r.link, r.zone.probe(), l.Network, group); err != nil {
				failed = errors.Join(failed, err)
			} else {
				reached++
			}
		}
		if reached == 0 {
			return failed
		}
		r.probed++
		r.next = now.Add(probeEvery)
		return nil
	}
	for _, l := range r.lans {
		l.tell(r, all, now)
	}
	if r.told == 0 {
		r.failing = false
		if r.options.Announced != nil {
			networks := make([]Network, len(r.lans))
			for i, l := range r.lans {
				networks[i] = l.Network
			}
			r.options.Announced(r.zone.label, networks)
		}
	}
	r.told++
	r.next = now.Add(announceEvery)
	if r.told == announcements {
		r.next = time.Time{}
	}
	return nil
}

// tell says records to all in the network. If that fails, the network is about
// to go away, or what is said is asked for again.
func (l *lan) tell(r *responder, set records, now time.Time) {
	if send(r.link, r.zone.response(set, l.Addrs, manner{}), l.Network, group) != nil {
		return
	}
	for one := range (set | additional(set)).each {
		l.last[index(one)] = now
	}
	l.pending &^= set
}

func index(one records) int { return bits.TrailingZeros8(uint8(one)) }

// goodbye takes back what was announced.
func (r *responder) goodbye() {
	if r.told == 0 {
		return
	}
	for _, l := range r.lans {
		_ = send(r.link, r.zone.response(announced, l.Addrs, manner{goodbye: true}), l.Network, group)
	}
}

// hear takes a packet from the network.
func (r *responder) hear(now time.Time, in incoming) error {
	m, ok := parse(in.packet)
	if !ok {
		return nil
	}
	near := false
	for _, l := range r.lans {
		if !l.near(in.from.Addr()) { // 11: whoever is far away has no business here
			continue
		}
		near = true
		if !m.response && r.told > 0 {
			r.answer(now, l, m, in.from)
		}
	}
	switch {
	case !near:
	case m.response:
		if in.from.Port() != port {
			break // 6
		}
		for _, a := range m.answers {
			if r.zone.foreign(a) {
				return r.lose(now)
			}
		}
	case r.told == 0 && len(sorted(m.authorities, r.zone.own)) > 0 && r.zone.precedes(m.authorities) < 0:
		r.probe(now.Add(yieldFor)) // who was stronger will answer the next probe
	}
	return nil
}

func (l *lan) near(from netip.Addr) bool {
	for _, a := range l.Addrs {
		if a.Contains(from) {
			return true
		}
	}
	return false
}

// lose is called when another service has our name: while we asked for it, it
// is the other's; if it was ours, ask anew (9), which only one of us survives.
func (r *responder) lose(now time.Time) (err error) {
	if r.told > 0 {
		r.probe(now)
		return nil
	}
	r.number++
	if r.number > numberMax {
		r.number = 1
	}
	if r.zone, err = newZone(r.service, r.number); err != nil {
		return err
	}
	if r.number > quickNames {
		now = now.Add(nameWait)
	}
	r.probe(now)
	return nil
}

// answer answers a question, or schedules that.
func (r *responder) answer(now time.Time, l *lan, m message, from netip.AddrPort) {
	var want, alone records
	for _, q := range m.questions {
		set := r.zone.answers(q)
		want |= set
		if q.Class&topBit != 0 {
			alone |= set
		}
	}
	for _, a := range m.answers {
		want &^= r.zone.known(a, l.Addrs)
	}
	if want == 0 {
		return
	}
	if from.Port() != port { // 6.7: a plain DNS client
		msg := r.zone.response(want, l.Addrs, manner{legacy: true})
		msg.ID, msg.Questions = m.id, m.questions
		_ = send(r.link, msg, l.Network, from)
		return
	}
	alone &= want
	for one := range alone.each { // 5.4: now and then all shall hear it
		if now.Sub(l.last[index(one)]) > one.recently() {
			alone &^= one
		}
	}
	if alone != 0 {
		_ = send(r.link, r.zone.response(alone, l.Addrs, manner{}), l.Network, from)
	}
	if want &^= alone; want == 0 {
		return
	}
	due, every := now, recordEvery
	switch {
	case len(sorted(m.authorities, r.zone.own)) > 0:
		every = defendEvery // somebody is about to take the name
	case want&shared != 0:
		due = now.Add(sharedDelay + rand.N(sharedJitter))
	}
	if l.pending == 0 || due.Before(l.due) {
		l.due = due
	}
	if l.pending == 0 || every < l.every {
		l.every = every
	}
	l.pending |= want
}

// flush tells what is due, no record more often than it may be.
func (r *responder) flush(now time.Time) {
	for _, l := range r.lans {
		if l.pending == 0 || now.Before(l.due) {
			continue
		}
		var ready records
		var due time.Time
		for one := range l.pending.each {
			if free := l.last[index(one)].Add(l.every); !now.Before(free) {
				ready |= one
			} else if due.IsZero() || free.Before(due) {
				due = free
			}
		}
		if ready != 0 {
			l.tell(r, ready, now)
		}
		if l.pending &^= ready; l.pending != 0 {
			l.due = due
		}
	}
}
