package chat

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// HubOptions sets a Hub's bounds. Zero fields take the defaults in brackets.
type HubOptions struct {
	Limits      Limits        // what one client may send [DefaultLimits]
	QueueBytes  int           // bytes that may wait before one socket; beyond, the client falls behind and is served from the log [256 KiB]
	RecentBytes int           // bytes of recent events kept encoded in memory [32 MiB]
	ReplayMax   int           // events that one resume may replay; beyond, it is reset to the newest page [20,000]
	Replays     int           // how many log reads for replays and history run at once [4 for each processor]
	Page        int           // events read from the log at a time, and the newest page after a reset [200]
	PresenceMax int           // above so many users, coming and going is not announced in a topic [500]
	PingEvery   time.Duration // a connection that is silent for so long is pinged [24 s]
	PingWait    time.Duration // and closed when it stays silent for so long after that [11 s]
	HelloWait   time.Duration // how long a new connection may take to say hello [10 s]
	BehindMax   time.Duration // how long a client may stay behind before it is told to come back [2 min]
	StallMax    time.Duration // how long a full socket may take no byte before it is closed [15 s]
	CloseWait   time.Duration // how long a client may take to answer the close frame [3 s]
	TouchEvery  time.Duration // how often last-seen times and positions of live sessions are saved [60 s]

	Passes        *Passes          // of the vouchers [optional ones, with a key of this run]
	ReverseWindow time.Duration    // how long after it a redemption can be reversed [24 h]
	RecallWindow  time.Duration    // how long after it a message can be recalled; negative: not at all [2 min]
	Doors         Doors            // keeps codes of rooms and claimed names [none: no room has a code, and no name belongs to anybody]
	Now           func() time.Time // the clock of what is kept with a date of the hub's own [time.Now]
	Logger        *slog.Logger     // [slog.Default()]
}

func (o HubOptions) withDefaults() HubOptions {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	setInt := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	setInt(&o.QueueBytes, 256<<10)
	setInt(&o.RecentBytes, 32<<20)
	setInt(&o.ReplayMax, 20_000)
	setInt(&o.Replays, 4*runtime.GOMAXPROCS(0))
	setInt(&o.Page, 200)
	setInt(&o.PresenceMax, 500)
	setDur := func(p *time.Duration, v time.Duration) {
		if *p <= 0 {
			*p = v
		}
	}
	setDur(&o.PingEvery, 24*time.Second)
	setDur(&o.PingWait, 11*time.Second)
	setDur(&o.HelloWait, 10*time.Second)
	setDur(&o.BehindMax, 2*time.Minute)
	setDur(&o.StallMax, 15*time.Second)
	setDur(&o.CloseWait, 3*time.Second)
	setDur(&o.TouchEvery, time.Minute)
	setDur(&o.ReverseWindow, 24*time.Hour)
	if o.Passes == nil {
		o.Passes = NewPasses(PassOptions{})
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.RecallWindow == 0 {
		o.RecallWindow = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// Hub reads the log and hands each event to the clients that follow its
// topic. doc.go has the map.
type Hub struct {
	store Store
	opts  HubOptions
	log   *slog.Logger

	epoch string
	// told is the Seq up to which every event was handed to its topic.
	told atomic.Int64
	// now is a coarse clock for what is checked often: seconds, by the
	// monotonic clock, so that a small computer which sets its clock after
	// the start does not take everybody for dead. It began as Unix time.
	now   atomic.Int64
	since time.Time

	mu       sync.RWMutex // guards the maps below; before topic.mu, before outbox.mu
	topics   map[string]*topic
	clients  map[string]*Client   // by session, after hello
	byUser   map[string][]*Client // after hello
	conns    map[*Client]bool     // all, from the upgrade on
	dialects map[string]*dialect  // by name

	// talks is held while a round is told, and while a talk is joined or left:
	// a round tells a talk's event in the talk and in the inbox.
	talks sync.Mutex

	origins originTable
	wheel   *wheel
	sched   *scheduler
	replays chan struct{} // a slot for each log read that may run at once
	looks   chan struct{} // the same for searches and lists of topics, which take longer: replays do not wait for them
	rec     *recorder
	later   *laterQueue
	probes  *laterQueue // clients that are to be asked how far they have got
	away    awayList
	passes  *Passes
	doors   doors
	marks   chan *markCall
	imports chan struct{} // holds a token when something was imported
	due     chan struct{} // holds a token when a voucher may be due earlier than expireVouchers knows

	// The hub's own goroutine and no other uses these.
	recent recentQueue
	round  round

	// ctx ends when the hub has stopped; what a client asked for runs in it,
	// so that its outcome does not depend on the client staying.
	ctx      context.Context
	cancel   context.CancelFunc
	commands commandGate
	open     sync.WaitGroup // clients whose read loop runs
	ready    atomic.Bool
	stats    hubStats
	started  chan struct{} // closed when clients are served
	done     chan struct{} // closed when Run has ended
}

type hubStats struct {
	published, delivered, replayed, resets, slow, signals atomic.Int64
	behind                                                atomic.Int64
	sessions                                              atomic.Int64
	failures                                              atomic.Int64
}

// HubStats are counters since the start, and gauges of now.
type HubStats struct {
	Connections int   // gauge: open WebSockets
	Sessions    int   // gauge: those that said hello
	Topics      int   // gauge: topics in memory
	Behind      int   // gauge: subscriptions that are being served from the log
	RecentBytes int   // gauge: bytes of recent events kept encoded
	Told        int64 // gauge: the Seq up to which all was handed out
	Published   int64 // events that the hub read from the log
	Delivered   int64 // frames of events queued to live clients
	Replayed    int64 // frames of events queued from the log
	Resets      int64 // positions that did not join on
	Slow        int64 // clients that fell behind or were closed for being slow
	Signals     int64 // signals passed on
	Failures    int64 // appends that failed
	Opened      int64 // sessions opened
}

// NewHub returns a hub over the store. Run starts it.
func NewHub(store Store, opts HubOptions) *Hub {
	opts = opts.withDefaults()
	h := &Hub{
		store: store, opts: opts, log: opts.Logger,
		topics:   make(map[string]*topic),
		clients:  make(map[string]*Client),
		byUser:   make(map[string][]*Client),
		conns:    make(map[*Client]bool),
		dialects: make(map[string]*dialect),
		replays:  make(chan struct{}, opts.Replays),
		looks:    make(chan struct{}, max(1, opts.Replays/4)),
		passes:   opts.Passes,
		imports:  make(chan struct{}, 1),
		due:      make(chan struct{}, 1),
		marks:    make(chan *markCall, markTogether),
		started:  make(chan struct{}),
		done:     make(chan struct{}),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.origins.waiting = make(map[uint64]*origin)
	h.sched = newScheduler()
	h.since = time.Now()
	h.now.Store(h.since.Unix())
	h.wheel = newWheel(h.now.Load())
	h.rec = newRecorder(h)
	h.later, h.probes = newLaterQueue(), newLaterQueue()
	h.round.init()
	h.doors.init(h)
	return h
}

// Run reads the log and serves until ctx ends or the store fails. Shutdown
// ends it in order.
func (h *Hub) Run(ctx context.Context) error {
	defer close(h.done)
	defer h.round.stop()
	head, err := h.store.Head(ctx)
	if err != nil {
		return err
	}
	if err := h.doors.load(ctx); err != nil {
		return err
	}
	h.epoch = head.Epoch
	h.told.Store(head.Seq)
	h.round.covers.Store(head.Seq)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	var wg sync.WaitGroup
	wg.Go(func() { h.deliverDue(ctx) })
	wg.Go(func() { h.tick(ctx) })
	wg.Go(func() { h.rec.run(ctx) })
	wg.Go(func() { h.later.run(ctx, laterDelay, h.flushAll) })
	wg.Go(func() { h.probes.run(ctx, probeDelay, probeAll) })
	wg.Go(func() { h.expireVouchers(ctx) })
	wg.Go(func() { h.issueImports(ctx) })
	wg.Go(func() { h.doors.tend(ctx) })
	wg.Go(func() { h.keepMarks(ctx) })
	h.ready.Store(true)
	close(h.started)
	err = h.store.Tail(ctx, head.Seq, func(batch []Event) error {
		h.dispatch(batch)
		return nil
	})
	h.ready.Store(false)
	cancel()
	wg.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// tick drives the coarse clock and the timer wheel.
func (h *Hub) tick(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	crowd := crowd{collected: -crowdSize} // the start takes memory like one
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			now := h.since.Unix() + int64(time.Since(h.since)/time.Second)
			h.now.Store(now)
			h.wheel.advance(now, h.check)
			h.passes.clock.look(h.log)
			h.mu.RLock()
			open := len(h.conns)
			h.mu.RUnlock()
			if crowd.settled(open) {
				// The first collection halves the stacks that connecting
				// needed, the second halves them again.
				runtime.GC()
				debug.FreeOSMemory()
			}
			if now%60 == 0 {
				h.dropIdleTopics(now)
				h.away.tidy(time.Now().UnixMilli())
			}
		}
	}
}

// crowd notices when many have come or gone and it is quiet again: then the
// memory that this took is given back at once. It matters on small machines,
// where most connections do nothing most of the time.
type crowd struct{ last, collected, quiet int }

const (
	crowdSize  = 500 // connections more or less than at the last time
	crowdQuiet = 1   // seconds without a large change
)

// settled is called once a second with the number of connections.
func (c *crowd) settled(open int) bool {
	if abs(open-c.last) > crowdSize/50 {
		c.quiet = 0
	} else {
		c.quiet++
	}
	c.last = open
	if c.quiet < crowdQuiet || abs(open-c.collected) < crowdSize {
		return false
	}
	c.collected = open
	return true
}

func abs(n int) int { return max(n, -n) }

// Started is closed when Run serves clients. It stays open if Run fails.
func (h *Hub) Started() <-chan struct{} { return h.started }

// Ready returns nil when clients are served, and an *Error otherwise.
func (h *Hub) Ready() error {
	if h.commands.closed() {
		return Errorf(CodeGoingAway, "the server is stopping")
	}
	if !h.ready.Load() {
		return Errorf(CodeBusy, "the server is starting")
	}
	return nil
}

// Limits returns what a client may send.
func (h *Hub) Limits() Limits { return h.opts.Limits }

// Stats returns the counters.
func (h *Hub) Stats() HubStats {
	h.mu.RLock()
	conns, sessions, topics := len(h.conns), len(h.clients), len(h.topics)
	h.mu.RUnlock()
	s := &h.stats
	return HubStats{
		Connections: conns, Sessions: sessions, Topics: topics,
		Behind: int(s.behind.Load()), RecentBytes: int(h.recent.bytes.Load()), Told: h.told.Load(),
		Published: s.published.Load(), Delivered: s.delivered.Load(), Replayed: s.replayed.Load(),
		Resets: s.resets.Load(), Slow: s.slow.Load(), Signals: s.signals.Load(),
		Failures: s.failures.Load(), Opened: s.sessions.Load(),
	}
}

// topicFor returns the live side of a topic, made if it is not there.
func (h *Hub) topicFor(name string) *topic {
	h.mu.RLock()
	t := h.topics[name]
	h.mu.RUnlock()
	if t != nil {
		return t
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if t = h.topics[name]; t != nil {
		return t
	}
	t = &topic{name: name, usedAt: h.now.Load()}
	if strings.HasPrefix(name, RoomPrefix) {
		t.users = make(map[string]int)
	}
	// The hub may be in the middle of a round, and a topic that appears now
	// may miss what the round holds for it. So all that the round covers counts
	// as told: who joins live begins there, who joins behind reads the log.
	t.last = h.round.covers.Load()
	t.recentFrom = t.last
	h.topics[name] = t
	return t
}

// topicIdle is how long a topic without followers keeps its recent events, for
// those who come back after a break of the network, in seconds.
const topicIdle = 600

func (h *Hub) dropIdleTopics(now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, t := range h.topics {
		t.mu.Lock()
		if len(t.subs) == 0 && (len(t.recent) == 0 || now-t.usedAt > topicIdle) {
			t.dead = true
			t.recent = nil // its entries in the queue find nothing to drop
			delete(h.topics, name)
		}
		t.mu.Unlock()
	}
}

// dialectFor returns the hub's entry for a dialect.
func (h *Hub) dialectFor(d Dialect) *dialect {
	h.mu.RLock()
	known := h.dialects[d.Name()]
	h.mu.RUnlock()
	if known != nil {
		return known
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if known = h.dialects[d.Name()]; known == nil {
		known = &dialect{Dialect: d, number: len(h.dialects)}
		h.dialects[d.Name()] = known
	}
	return known
}
