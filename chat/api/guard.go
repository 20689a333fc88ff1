package api

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// A guard makes guessing slow: each address has some wrong tries at once and
// then one in a while.
const (
	guardBurst = 10
	guardEvery = 6 * time.Second
	guardMax   = 4096 // addresses remembered
)

type guard struct {
	now func() time.Time

	mu    sync.Mutex
	tries map[netip.Prefix]*rate.Limiter
}

func newGuard(now func() time.Time) *guard {
	return &guard{now: now, tries: make(map[netip.Prefix]*rate.Limiter)}
}

// failed notes a wrong try and returns how long the address must wait, 0 if
// it may be told yet that it was wrong.
func (g *guard) failed(addr string) time.Duration {
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	key := network(addr)
	l := g.tries[key]
	if l == nil {
		g.makeRoom(now)
		l = rate.NewLimiter(rate.Every(guardEvery), guardBurst)
		g.tries[key] = l
	}
	if l.AllowN(now, 1) {
		return 0
	}
	short := 1 - l.TokensAt(now)
	return max(time.Duration(short*float64(guardEvery)), time.Second)
}

// forgive forgets the wrong tries of an address.
func (g *guard) forgive(addr string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.tries, network(addr))
}

// makeRoom keeps the map bounded: those go that have all their tries again,
// and then any, down to three quarters, so that it is seldom done.
func (g *guard) makeRoom(now time.Time) {
	if len(g.tries) < guardMax {
		return
	}
	for k, l := range g.tries {
		if l.TokensAt(now) >= guardBurst {
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
