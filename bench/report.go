//go:build linux

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// goal is one bound that the project has set itself.
type goal struct {
	of    string // ratio to plain, floor or beside; "" for the value itself
	least bool
	bound float64
}

// row is one line of the table: one metric of one scenario.
type row struct {
	scenario, metric string
	label            string
	beside           *ref // another measurement of ours, or of Redis
	goals            []goal
}

// ref names a measurement outside the row.
type ref struct{ name, scenario, side, metric string }

func atLeast(of string, v float64) goal { return goal{of, true, v} }
func atMost(of string, v float64) goal  { return goal{of, false, v} }

const (
	besideOne = "other"
	itself    = ""
)

// rows is the whole table, with the goals of the project.
var rows = []row{
	{"fan4x4", "deliveries", "fan-out 1,000, 4 publishers × 4 in flight: deliveries/s", nil, []goal{atLeast(sidePlain, 3), atLeast(sideFloor, 0.6)}},
	{"fan4x4", "cpu", "— server CPU s per million deliveries", nil, []goal{atMost(sidePlain, 1.0/3)}},
	{"fan4x4", "ack99", "— ack p99, ms", nil, nil},
	{"fan1", "deliveries", "fan-out 1,000, 1 × 1 in flight until all have it: deliveries/s", nil, nil},
	{"fan1", "cpu", "— server CPU s per million deliveries", nil, []goal{atMost(sideFloor, 1.25)}},
	{"fan1ack", "deliveries", "fan-out 1,000, 1 × 1 in flight until the ack: deliveries/s", nil, nil},
	{"fan1ack", "cpu", "— server CPU s per million deliveries", nil, []goal{atMost(sideFloor, 1.25)}},
	{"fan5k4x4", "deliveries", "fan-out 5,000, 4 × 4 in flight: deliveries/s", &ref{"at 1,000", "fan4x4", sideOurs, "deliveries"}, []goal{atLeast(besideOne, 0.8)}},
	{"fan5k4x4", "cpu", "— server CPU s per million deliveries", nil, nil},
	{"fan5k", "deliveries", "fan-out 5,000, 1 × 1 until all have it: deliveries/s", &ref{"at 1,000", "fan1", sideOurs, "deliveries"}, []goal{atLeast(besideOne, 0.8)}},
	{"fan5k", "cpu", "— server CPU s per million deliveries", nil, nil},
	{"rooms", "deliveries", "200 rooms of 5, each 1 in flight: deliveries/s", nil, []goal{atLeast(sidePlain, 2)}},
	{"rooms", "cpu", "— server CPU s per million deliveries", nil, nil},
	{"rooms", "acks", "— acknowledged messages/s", &ref{"bare store", "store1000", sideOurs, "persecond"}, []goal{atLeast(besideOne, 0.8)}},
	{"rooms", "ack99", "— ack p99, ms", &ref{"bare commit", "store1000", sideOurs, "p99"}, []goal{atMost(besideOne, 2)}},
	{"room4x4", "deliveries", "old server's frames, 1,000 in a room, 4 × 4 in flight: deliveries/s", &ref{"native", "room4x4", sideNative, "deliveries"}, nil},
	{"room4x4", "cpu", "— server CPU s per million deliveries", &ref{"native", "room4x4", sideNative, "cpu"}, nil},
	{"room1", "deliveries", "old server's frames, 1 × 1 in flight until all have it: deliveries/s", &ref{"native", "room1", sideNative, "deliveries"}, nil},
	{"room1", "cpu", "— server CPU s per million deliveries", &ref{"native", "room1", sideNative, "cpu"}, nil},
	{"room4x4", "deliveries", "the old server itself, 4 × 4 in flight: deliveries/s", &ref{"old server", "room4x4", sideOld, "deliveries"}, nil},
	{"room4x4", "cpu", "— server CPU s per million deliveries", &ref{"old server", "room4x4", sideOld, "cpu"}, nil},
	{"room1", "deliveries", "the old server itself, 1 × 1 in flight: deliveries/s", &ref{"old server", "room1", sideOld, "deliveries"}, nil},
	{"room1", "cpu", "— server CPU s per million deliveries", &ref{"old server", "room1", sideOld, "cpu"}, nil},
	{"store1", "persecond", "bare store, 50 writers, 1 topic: events/s", &ref{"Redis XADD", "store1", "redis", "persecond"}, []goal{atLeast(besideOne, 1)}},
	{"store1", "p99", "— p99, ms", &ref{"Redis XADD", "store1", "redis", "p99"}, nil},
	{"store50", "persecond", "bare store, 50 writers, 50 topics: events/s", &ref{"Redis XADD", "store50", "redis", "persecond"}, []goal{atLeast(besideOne, 1)}},
	{"store50", "p99", "— p99, ms", &ref{"Redis XADD", "store50", "redis", "p99"}, nil},
	{"redeem", "p99", "200 redemptions/s, 1,000 owners connected: from the call to its owner's frame, p99, ms", &ref{"bare commit", "redeem", sideBare, "p99"}, nil},
	{"redeem", "p50", "— p50, ms", &ref{"bare commit", "redeem", sideBare, "p50"}, nil},
	{"redeem", "call99", "— to the answer of the call, p99, ms", &ref{"bare commit", "redeem", sideBare, "p99"}, nil},
	{"redeem64", "persecond", "64 clients that redeem: redemptions/s", &ref{"bare store", "redeem64", sideBare, "persecond"}, nil},
	{"redeem64", "p99", "— p99, ms", &ref{"bare store", "redeem64", sideBare, "p99"}, nil},
	{"idle", "perconn", "10,000 idle connections: RSS for each, kB", nil, []goal{atMost(itself, 10)}},
	{"idle", "connects", "— connects/s (ours with hello and join)", nil, []goal{atLeast(sidePlain, 1)}},
	{"idle", "rss", "whole program idle: RSS, MB", nil, []goal{atMost(itself, 30)}},
	{"start", "ready", "start to ready with a million events, ms", nil, []goal{atMost(itself, 300)}},
	{"replay", "p99", "1,000 come back at once, 50 missed each: p99 to complete, ms", nil, []goal{atMost(sideFloor, 2)}},
	{"replay", "cpu", "— server CPU, ms", nil, nil},
}

// report prints the one table. Markdown, so that it can be kept as it is.
func report(w io.Writer, b book) {
	fmt.Fprintln(w, "| scenario | ours | plain hub | floor | other | ours/plain | ours/floor | ours/other | goal | reached |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|--:|--:|---|---|")
	for _, r := range rows {
		if len(b[r.scenario]) == 0 {
			continue
		}
		if r.beside != nil && r.beside.side == sideOld && len(b[r.scenario][sideOld]) == 0 {
			continue
		}
		v := map[string]float64{}
		for _, side := range []string{sideOurs, sidePlain, sideFloor} {
			if x, ok := b.get(r.scenario, side, r.metric); ok {
				v[side] = x
			}
		}
		other := ""
		if r.beside != nil {
			if x, ok := b.get(r.beside.scenario, r.beside.side, r.beside.metric); ok {
				v[besideOne] = x
				other = r.beside.name + " " + number(x)
			} else if r.beside.side == "redis" {
				other = "no redis-server here"
			}
		}
		var goals, reached []string
		for _, g := range r.goals {
			goals = append(goals, g.String())
			reached = append(reached, g.check(v))
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.label,
			cell(v, sideOurs), cell(v, sidePlain), cell(v, sideFloor), other,
			ratio(v, sidePlain), ratio(v, sideFloor), ratio(v, besideOne),
			strings.Join(goals, "; "), strings.Join(reached, "; "))
	}
}

func (g goal) String() string {
	s := "≤ "
	if g.least {
		s = "≥ "
	}
	s += strconv.FormatFloat(g.bound, 'g', 3, 64)
	if g.of != itself {
		s = g.of + " " + s
	}
	return s
}

// check says whether the goal is reached, and "" when it cannot be told.
func (g goal) check(v map[string]float64) string {
	x, ok := v[sideOurs]
	if g.of != itself {
		x, ok = quotient(v, g.of)
	}
	switch {
	case !ok:
		return "?"
	case g.least && x >= g.bound || !g.least && x <= g.bound:
		return "yes"
	}
	return "**no**"
}

func quotient(v map[string]float64, of string) (float64, bool) {
	a, okA := v[sideOurs]
	b, okB := v[of]
	return a / b, okA && okB && b != 0
}

func ratio(v map[string]float64, of string) string {
	if q, ok := quotient(v, of); ok {
		return strconv.FormatFloat(q, 'f', 2, 64)
	}
	return ""
}

func cell(v map[string]float64, side string) string {
	if x, ok := v[side]; ok {
		return number(x)
	}
	return ""
}

// number prints three significant digits or a grouped integer.
func number(x float64) string {
	if x > -1000 && x < 1000 {
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	s := strconv.FormatFloat(x, 'f', 0, 64)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
