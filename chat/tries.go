package chat

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Tries counts what may be done only so often from one place, an address or an
// account: some at once, and then one each while. So guessing is slow. It is
// safe for use by many goroutines; places that have all their tries again are
// forgotten.
type Tries[K comparable] struct {
	now   func() time.Time
	burst int
	every time.Duration

	mu  sync.Mutex
	all map[K]*rate.Limiter
}

// triesMax is how many places are remembered.
const triesMax = 4096

// NewTries allows each place burst tries at once and then one each every, by
// the clock now.
func NewTries[K comparable](now func() time.Time, burst int, every time.Duration) *Tries[K] {
	return &Tries[K]{now: now, burst: burst, every: every, all: make(map[K]*rate.Limiter)}
}

// Take takes one of the place's tries and returns 0; or, if it has none, how
// long it must wait, at least a second.
func (t *Tries[K]) Take(key K) time.Duration {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.all[key]
	if l == nil {
		t.tidy(now)
		l = rate.NewLimiter(rate.Every(t.every), t.burst)
		t.all[key] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	return t.short(l.TokensAt(now))
}

// Wait returns how long the place must wait for its next try, 0 if it need
// not. It takes none.
func (t *Tries[K]) Wait(key K) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.all[key]
	if l == nil {
		return 0
	}
	return t.short(l.TokensAt(t.now()))
}

func (t *Tries[K]) short(tokens float64) time.Duration {
	if tokens >= 1 {
		return 0
	}
	return max(time.Duration((1-tokens)*float64(t.every)), time.Second)
}

// GiveBack takes one Take of a place back: it was none.
func (t *Tries[K]) GiveBack(key K) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.all[key]; l != nil {
		l.AllowN(now, -1)
	}
}

// Forget gives a place all its tries again.
func (t *Tries[K]) Forget(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, key)
}

// tidy keeps the map bounded. The caller holds mu.
func (t *Tries[K]) tidy(now time.Time) {
	if len(t.all) < triesMax {
		return
	}
	for k, l := range t.all {
		if l.TokensAt(now) >= float64(t.burst) {
			delete(t.all, k)
		}
	}
	for k := range t.all { // any, down to three quarters, so that it is seldom done
		if len(t.all) <= triesMax*3/4 {
			return
		}
		delete(t.all, k)
	}
}

// Network is what one guesser has for itself: an IPv4 address or an IPv6 /64.
// What is not an address shares one place.
func Network(addr string) netip.Prefix {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}
	}
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}
