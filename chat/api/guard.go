package api

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Wrong keys and passwords of an address: some at once, then one in a while.
const (
	guardBurst = 10
	guardEvery = 6 * time.Second
	guardMax   = 4096 // places remembered
)

// guard makes guessing slow: each place, an address or an account, has some
// wrong tries at once and then one in a while.
type guard[K comparable] struct {
	now   func() time.Time
	burst int
	every time.Duration

	mu    sync.Mutex
	tries map[K]*rate.Limiter
}

func newGuard[K comparable](now func() time.Time, burst int, every time.Duration) *guard[K] {
	return &guard[K]{now: now, burst: burst, every: every, tries: make(map[K]*rate.Limiter)}
}

// failed notes a wrong try and returns how long the place must wait, 0 if it
// may be told yet that it was wrong.
func (g *guard[K]) failed(key K) time.Duration {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.tries[key]
	if l == nil {
		g.makeRoom(now)
		l = rate.NewLimiter(rate.Every(g.every), g.burst)
		g.tries[key] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	short := 1 - l.TokensAt(now)
	return max(time.Duration(short*float64(g.every)), time.Second)
}

// blocked returns how long the place must wait until its next try is looked
// at, 0 if it need not. It costs nothing.
func (g *guard[K]) blocked(key K) time.Duration {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.tries[key]; l != nil {
		if short := 1 - l.TokensAt(now); short > 0 {
			return max(time.Duration(short*float64(g.every)), time.Second)
		}
	}
	return 0
}

// giveBack takes one wrong try of a place back: it was none.
func (g *guard[K]) giveBack(key K) {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if l := g.tries[key]; l != nil {
		l.AllowN(now, -1)
	}
}

// forgive forgets the wrong tries of a place.
func (g *guard[K]) forgive(key K) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tries, key)
}

// makeRoom keeps the map bounded: those go that have all their tries again,
// and then any, down to three quarters, so that it is seldom done.
func (g *guard[K]) makeRoom(now time.Time) {
	if len(g.tries) < guardMax {
		return
	}
	for k, l := range g.tries {
		if l.TokensAt(now) >= float64(g.burst) {
			delete(g.tries, k)
		}
	}
	for k := range g.tries {
		if len(g.tries) <= guardMax*3/4 {
			return
		}
		delete(g.tries, k)
	}
}

// network is what one guesser has for itself: an IPv4 address or an IPv6 /64.
// What is not an address shares one place.
func network(addr string) netip.Prefix {
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
