package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// The JavaScript client against the real server, through a network that breaks
// at every point of the protocol: nothing is lost, nothing comes twice, and the
// order is one for all.

const (
	talkerScale = 30   // the SDK's clock runs so much faster
	calmScale   = 20   // when nothing breaks any more, a slow machine is no fault
	fixedSeed   = 1965 // of the run that is the same each time
)

// seedOf is the seed of a run; TEAHOUSE_TEST_SEED plays another one again. What
// breaks is the same then, and what is said and when; how the machine mixes it
// is not.
func seedOf(normal uint64) uint64 {
	if seed, err := strconv.ParseUint(os.Getenv("TEAHOUSE_TEST_SEED"), 10, 64); err == nil {
		return seed
	}
	return normal
}

// randomSeed is short, since people type it.
func randomSeed() uint64 { return rand.Uint64N(1_000_000) }

func TestFaultsNode(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand faults take their time")
	}
	t.Parallel()
	t.Run("fixed", func(t *testing.T) {
		t.Parallel()
		talkers(t, seedOf(fixedSeed), newNodeStage(t), newNodeStage(t))
	})
	t.Run("random", func(t *testing.T) {
		t.Parallel()
		talkers(t, seedOf(randomSeed()), newNodeStage(t), newNodeStage(t))
	})
}

func TestFaultsChromium(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand faults take their time")
	}
	t.Parallel()
	chromium := browser(t)
	talkers(t, seedOf(randomSeed()), newPageStage(t, chromium), newPageStage(t, chromium))
}

// chatter is one client of the run, with all that stands between it and the
// server.
type chatter struct {
	stage
	user, other string
	proxy       *faultyProxy
	reloads     int
}

// progress is what a talker says of itself.
type progress struct {
	Life, Waiting, Outbox int
	State                 string
	Heard, Said           map[string]int
}

// talkers is the run: alice and bob talk all the time, while connections break,
// the server is killed and pages are reloaded.
func talkers(t *testing.T, seed uint64, stages ...stage) {
	t.Logf("replay with TEAHOUSE_TEST_SEED=%d go test -run %s .", seed, t.Name())
	rng := rand.New(rand.NewPCG(seed, 0))
	dir, addr := t.TempDir(), freePort(t)
	start := func(round int) *house {
		flags := []string{"--send-rate=0", "--addr=" + addr}
		if round%2 == 1 { // sends are refused for a moment, again and again
			flags = []string{"--send-rate=40", "--send-burst=4", "--addr=" + addr}
		}
		if round%4 > 0 { // a replay is many small pages: much can happen before its end
			flags = append(flags, "--recent-bytes=300", "--queue-bytes=300")
		}
		return spawn(t, dir, flags...)
	}
	h := start(0)
	both := []*chatter{{user: "alice", other: "bob"}, {user: "bob", other: "alice"}}
	for i, c := range both {
		c.stage = stages[i]
		c.proxy = newFaultyProxy(t, fmt.Sprint(c.user, " ", seed), addr, func(link int) []fault { return plan(seed, i, link) })
		c.proxy.calm.Store(true)
		who := map[string]any{"url": "ws://" + c.proxy.addr, "user": c.user, "other": c.other, "seed": rng.Int32(), "scale": talkerScale}
		if _, err := c.call("talk", who); err != nil {
			t.Fatal(err)
		}
	}
	// Both are in before the first fault: where an inbox begins is where its
	// user first came in.
	for _, c := range both {
		eventually(t, c.user+" to be live", func() bool { return ask[progress](t, c, "progress").State == "live" })
	}
	backend := newBackend(h, rng.Uint64())
	t.Cleanup(backend.stop)
	for _, c := range both {
		c.proxy.unrest()
		if _, err := c.call("speak"); err != nil {
			t.Fatal(err)
		}
	}

	began := time.Now()
	want, kills, round := number("FAULTS", 1000, 0), number("KILLS", 10, 0), 0
	stops, reloads := number("STOPS", 2, 0), number("RELOADS", 24, 0)
	// What happens, and after how many faults.
	type act struct {
		after int
		what  string
		who   *chatter
	}
	var acts []act
	spread := func(n int, what string, who *chatter) {
		for i := range n {
			acts = append(acts, act{(i*want + rng.IntN(want)) / n, what, who})
		}
	}
	spread(kills, "kill", nil)
	spread(stops, "stop", nil)
	for _, c := range both {
		spread(reloads/2, "reload", c)
	}
	slices.SortStableFunc(acts, func(a, b act) int { return a.after - b.after })
	faults := func() (n int) {
		for _, c := range both {
			f, _ := c.proxy.count()
			n += f
		}
		return n
	}
	// On a machine that is busy with other things the faults may not come in
	// time. Then the run is a shorter one; what it is held to stays the same.
	wait := patience
	reach := func(n int) {
		for end := time.Now().Add(wait); faults() < n; <-time.After(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Logf("only %d faults, instead of %d, after %s", faults(), n, time.Since(began).Round(time.Second))
				wait = time.Second
				return
			}
		}
	}
	for _, a := range acts {
		reach(a.after)
		switch a.what {
		case "kill", "stop":
			if a.what == "kill" {
				h.kill()
			} else if code := h.stop(); code != exitOK {
				t.Errorf("the server stopped with code %d: %s", code, h.stderr)
			}
			<-time.After(time.Duration(rng.IntN(50)) * time.Millisecond)
			round++
			h = start(round)
		case "reload":
			a.who.reloads++
			if err := a.who.reload(); err != nil {
				t.Fatal(err)
			}
		}
	}
	reach(want)
	t.Logf("%d faults after %s", faults(), time.Since(began).Round(time.Millisecond))

	// From now on nothing breaks. What is broken already the clients must
	// notice by themselves.
	for _, c := range both {
		c.proxy.calm.Store(true)
		if err := c.hush(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.call("slower", calmScale); err != nil {
			t.Fatal(err)
		}
	}
	backend.stop()
	for _, c := range both {
		var p progress
		eventually(t, c.user+" to have sent all", func() bool {
			p = ask[progress](t, c, "progress")
			return p.State == "live" && p.Waiting == 0 && p.Outbox == 0
		})
	}
	verdict(t, h, both, backend)
	t.Logf("in all %s", time.Since(began).Round(time.Millisecond))
}

// plan is what breaks in the link-th connection of a client: some things that
// it outlives, and one that it does not.
func plan(seed uint64, client, link int) []fault {
	rng := rand.New(rand.NewPCG(seed, 1+uint64(client)<<32+uint64(link)))
	ms := func(from, to int) time.Duration {
		return time.Duration(from+rng.IntN(to-from)) * time.Millisecond
	}
	// Much happens in the first few messages; later ones are like each other.
	where := func() fault {
		return fault{dir: direction(rng.IntN(2)), n: int(math.Exp(rng.Float64()*math.Log(40))) - 1, at: spot(rng.IntN(3))}
	}
	var faults []fault
	for range rng.IntN(4) {
		f := where()
		f.what, f.long = delays, ms(2, 30)
		if rng.IntN(2) == 0 {
			f.what, f.long = stalls, ms(2, 60)
		}
		if rng.IntN(30) == 0 {
			f.long = ms(100, 300) // as long as a client waits for a sign of life
		}
		faults = append(faults, f)
	}
	f := where()
	endings := []breakage{cuts, cuts, cuts, ends, ends, ends, silences}
	switch n := rng.IntN(100); {
	case n < 40:
		f.what = cuts
	case n < 60:
		f.what = ends
	case n < 62:
		f.what = silences
	case n < 64:
		f.what = deafens
	case n < 84:
		f.what, f.then = closes, endings[rng.IntN(len(endings))]
		f.dir, f.n = down, max(1, f.n)
		if f.at == within {
			f.at = before
		}
		f.code = []uint16{4000, 4001, 4002, 4003, 4004, 4005, 4010, 1001, 1011, 1012}[rng.IntN(10)]
	case n < 89:
		return []fault{{what: refuses, long: ms(1, 40)}}
	case n < 95:
		// What is said late arrives, its ack does not, and much came before it
		// that the client has not heard.
		f.dir, f.n, f.at = up, 5+rng.IntN(20), before
		f.what = deafens
		faults = append(faults, f)
		f.what, f.long = delays, ms(60, 250)
		faults = append(faults, f)
		f.what, f.long, f.at = cuts, 0, after
	default:
		return []fault{{what: gateways}}
	}
	faults = append(faults, f)
	// In the order in which they come.
	slices.SortStableFunc(faults, func(a, b fault) int {
		if a.n != b.n {
			return a.n - b.n
		}
		return int(a.at) - int(b.at)
	})
	return faults
}

// pusher pushes into both inboxes over HTTP, until each push is answered.
type pusher struct {
	h      *house
	rng    *rand.Rand
	over   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
	pushed int // after stop
	bad    []string
}

func newBackend(h *house, seed uint64) *pusher {
	p := &pusher{h: &house{url: h.url}, rng: rand.New(rand.NewPCG(seed, 0)), over: make(chan struct{})}
	p.wg.Go(p.run)
	return p
}

func (p *pusher) stop() {
	p.once.Do(func() { close(p.over) })
	p.wg.Wait()
}

func (p *pusher) run() {
	for {
		text := fmt.Sprintf("push %d", p.pushed)
		request := map[string]any{"to": []string{"alice", "bob"}, "kind": "notice", "key": text, "body": map[string]string{"text": text}}
		for deadline := time.Now().Add(patience); ; <-time.After(20 * time.Millisecond) {
			a, err := p.h.send("POST", "/api/v1/events", request)
			if err == nil && a.status == 200 {
				break
			}
			if err == nil && a.status != 503 || time.Now().After(deadline) {
				p.bad = append(p.bad, fmt.Sprintf("%s: %v %d %s", text, err, a.status, a.body))
				return
			}
		}
		p.pushed++
		select {
		case <-p.over:
			return
		case <-time.After(time.Duration(5+p.rng.IntN(60)) * time.Millisecond):
		}
	}
}
