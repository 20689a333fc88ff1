//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// liveScenario is a load of messages over connections that stay.
type liveScenario struct {
	name     string
	rooms    int
	each     int // clients in each room
	pubs     int // of these, how many publish
	inflight int // messages of each publisher on the way
	win      window
	old      bool // by the frames of the old Swoole server: see room.go
}

var liveScenarios = []liveScenario{
	{"fan4x4", 1, 1000, 4, 4, untilAck, false},
	{"fan1", 1, 1000, 1, 1, untilAll, false},
	{"fan1ack", 1, 1000, 1, 1, untilAck, false},
	{"fan5k4x4", 1, 5000, 4, 4, untilAck, false},
	{"fan5k", 1, 5000, 1, 1, untilAll, false},
	{"rooms", 200, 5, 5, 1, untilAck, false},
	{"room4x4", 1, 1000, 4, 4, untilDelivered, true},
	{"room1", 1, 1000, 1, 1, untilDelivered, true},
}

// width is how many connects are on the way at a time, for all servers.
const width = 256

// runLive measures one server once.
func runLive(ctx context.Context, t target, sc liveScenario, warm, span time.Duration) (sample, error) {
	p, err := t.start(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	g, err := newGenerator(ctx, p.addr)
	if err != nil {
		return nil, err
	}
	defer g.close()
	if _, err := g.connect(t.specs(sc.rooms, sc.each), width, 2*time.Minute); err != nil {
		return nil, explain(err, p)
	}
	g.quiet(200*time.Millisecond, 20*time.Second) // who is online has been told to all

	var who []int
	for r := range sc.rooms {
		for k := range sc.pubs {
			// Spread over the room: a server walks its members in some order,
			// and a publisher who is always first would hide its queue.
			who = append(who, r*sc.each+k*sc.each/sc.pubs)
		}
	}
	g.publish(who, func(i int) numbered { return t.msg(i, roomName(g.clients[i].room)) }, sc.inflight, sc.win)
	g.start()
	g.spin(warm)
	before, cpu0, own0, look := g.counters, p.cpu(), ownCPU(), lookAround(p.pids()...)
	g.timing = true
	g.spin(span)
	after, cpu1, own1, others, took := g.counters, p.cpu(), ownCPU(), look.others(), look.seconds()
	g.timing, g.sending = false, false
	backlog := g.sent*(sc.each-1) - g.events
	done := g.until(20*time.Second, func() bool {
		return g.lost > 0 || (t.silent || g.acks >= g.sent) && g.events >= g.sent*(sc.each-1)
	})
	if err := p.alive(); err != nil {
		return nil, err
	}
	events := float64(after.events - before.events)
	if events == 0 {
		return nil, explain(fmt.Errorf("nothing was delivered; first error: %q", g.firstErr), p)
	}
	s := sample{
		"deliveries": events / took,
		"cpu":        (cpu1 - cpu0).Seconds() / events * 1e6,
		"gencpu":     (own1 - own0).Seconds() / events * 1e6,
		"cores":      (cpu1 - cpu0).Seconds() / took,
		"others":     others,
		"perread":    events / float64(max(after.reads-before.reads, 1)),
		"backlog":    float64(backlog),
		"lost":       float64(g.lost),
		"online":     float64(g.online),
	}
	if !t.silent {
		s["acks"] = float64(after.acks-before.acks) / took
		s["ack50"], s["ack99"] = ms(percentile(g.lat, 50)), ms(percentile(g.lat, 99))
	}
	if missing := g.sent*(sc.each-1) - g.events; !done || missing != 0 {
		s["missing"] = float64(missing)
	}
	return s, nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// explain adds the server's last words to an error.
func explain(err error, p *proc) error {
	if end := p.alive(); end != nil {
		return fmt.Errorf("%w; %w", err, end)
	}
	if s := p.stderr.String(); s != "" {
		return fmt.Errorf("%w; the server said: %s", err, s)
	}
	return err
}

// runIdle connects many clients in small rooms and looks at what they cost
// while nobody speaks.
func runIdle(ctx context.Context, t target, conns int, settle time.Duration) (sample, error) {
	const each = 10
	p, err := t.start(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	if !sleep(ctx, settle/2) {
		return nil, ctx.Err()
	}
	empty, err := p.rss()
	if err != nil {
		return nil, err
	}
	g, err := newGenerator(ctx, p.addr)
	if err != nil {
		return nil, err
	}
	defer g.close()
	n := conns / each * each
	specs := t.specs(n/each, each)
	cpu0, look := p.cpu(), lookAround(p.pids()...)
	took, err := g.connect(specs, width, 2*time.Minute)
	if err != nil {
		return nil, explain(err, p)
	}
	cpu1, others := p.cpu(), look.others()
	g.spin(settle) // answers pings, if there are any
	full, err := p.rss()
	if err != nil {
		return nil, err
	}
	if g.lost > 0 {
		return nil, explain(fmt.Errorf("%d of %d idle clients were cut: %s", g.lost, n, g.firstErr), p)
	}
	return sample{
		"rss":      float64(empty) / 1e6,
		"perconn":  float64(full-empty) / float64(n) / 1000,
		"connects": float64(n) / took.Seconds(),
		"others":   others,
		"cpu":      (cpu1 - cpu0).Seconds() / float64(n) * 1e6,
	}, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
