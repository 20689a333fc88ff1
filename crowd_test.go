package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A crowd is clients that chat as fast as they are acknowledged, come back
// whenever the connection or the server is gone, and note all that they were
// told. At the end the notes are compared with the log: see finish.
//
// Each member does what the protocol asks of a client: it repeats what was not
// acknowledged with the same key, and comes back to each room with the seq of
// the last event that it got there. An ack does not move this position, since
// events before it may still be on their way, but it counts as having seen
// the own message.
type crowd struct {
	t       testing.TB
	place   *place
	members []*member
	rooms   []string
	acks    atomic.Int64 // of members
	open    atomic.Int64 // connections that were welcomed and have not ended
	quiet   atomic.Bool  // nothing new is said
	mu      sync.Mutex
	pushed  map[string][]int64 // text -> its seq in each inbox
	nudge   chan struct{}
	enough  chan struct{} // closed: no more pushes
	pushing chan struct{} // closed when there is none under way
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// place is where the server is at the moment.
type place struct {
	mu    sync.Mutex
	host  string
	moved chan struct{}
}

func newPlace() *place { return &place{moved: make(chan struct{})} }

// set moves the place; "" while there is no server.
func (p *place) set(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.host = host
	close(p.moved)
	p.moved = make(chan struct{})
}

// host waits until there is a server.
func (p *place) get(ctx context.Context) (string, error) {
	for {
		p.mu.Lock()
		host, moved := p.host, p.moved
		p.mu.Unlock()
		if host != "" {
			return host, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// member is one client of a crowd.
type member struct {
	crowd *crowd
	user  string
	rooms []string
	talk  string
	most  int // sends under way at once
	rng   *rand.Rand

	mu       sync.Mutex
	epoch    string
	base     int64                       // where the inbox began
	at       map[string]int64            // stream -> the last event
	seen     map[string]map[int64]string // topic -> seq -> whose message: events and acks merged
	waiting  []*note                     // in the order in which they were first sent
	acked    map[string]int64            // "topic key" -> seq
	said     int
	sessions int
	endings  map[int]int // close code -> how often; 0: broken off
	faults   []string
}

// note is a message of one's own that is not acknowledged yet.
type note struct {
	topic, key, text string
	session          int // in which it was first sent
}

// newCrowd lets n users, an even number, chat in three rooms, of which each
// follows one to three, and in talks of two, which nobody joins.
func newCrowd(t testing.TB, rng *rand.Rand, n int, p *place) *crowd {
	ctx, cancel := context.WithCancel(context.Background())
	c := &crowd{t: t, place: p, rooms: []string{"room:a", "room:b", "room:c"}, pushed: make(map[string][]int64), nudge: make(chan struct{}, 1),
		enough: make(chan struct{}), pushing: make(chan struct{}), cancel: cancel}
	for i := range n {
		other := fmt.Sprintf("user-%02d", (i^1)%n)
		m := &member{
			crowd: c, user: fmt.Sprintf("user-%02d", i), most: []int{1, 2, 3, 12}[i%4], rng: rand.New(rand.NewPCG(rng.Uint64(), 1)),
			at: make(map[string]int64), seen: make(map[string]map[int64]string), acked: make(map[string]int64), endings: make(map[int]int),
		}
		for k := range 1 + i%3 {
			m.rooms = append(m.rooms, c.rooms[(i+k)%3])
		}
		m.talk = fmt.Sprintf("dm:%s:%s", min(m.user, other), max(m.user, other))
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		c.wg.Go(func() { m.live(ctx) })
	}
	c.wg.Go(func() { c.backend(ctx) })
	t.Cleanup(c.leave)
	return c
}

// leave ends all members.
func (c *crowd) leave() {
	c.cancel()
	c.wg.Wait()
}

// live connects again and again.
func (m *member) live(ctx context.Context) {
	for ctx.Err() == nil {
		host, err := m.crowd.place.get(ctx)
		if err != nil {
			return
		}
		conn, _, err := (&websocket.Dialer{HandshakeTimeout: patience}).DialContext(ctx, "ws://"+host+"/ws", nil)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		m.session(conn)
		stop()
		conn.Close()
	}
}

func (m *member) fault(format string, args ...any) {
	if len(m.faults) < 10 {
		m.faults = append(m.faults, fmt.Sprintf("session %d: ", m.sessions)+fmt.Sprintf(format, args...))
	}
}

// session is one connection from the hello to its end.
func (m *member) session(conn *websocket.Conn) {
	say := func(v any) { _ = conn.WriteJSON(v) } // an error shows when reading
	m.mu.Lock()
	m.sessions++
	hello := map[string]any{"op": "hello", "id": 1, "user": m.user}
	inbox := "user:" + m.user
	if m.epoch != "" {
		hello["position"] = position{m.epoch, max(m.base, m.at[inbox])}
	}
	m.mu.Unlock()
	say(hello)
	welcomed := false
	last := make(map[string]int64) // stream -> the last seq told on this connection
	for {
		var f frame
		_, b, err := conn.ReadMessage()
		m.mu.Lock()
		if err != nil {
			if welcomed {
				code := 0
				var closed *websocket.CloseError
				if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
					code = closed.Code
				}
				m.endings[code]++
				m.crowd.open.Add(-1)
			}
			m.mu.Unlock()
			return
		}
		if err := json.Unmarshal(b, &f); err != nil {
			m.fault("%v: %s", err, b)
		}
		f.raw = string(b)
		switch f.Op {
		case "welcome":
			welcomed = true
			m.crowd.open.Add(1)
			m.enter(f, say)
		case "event":
			stream := m.stream(f.Topic)
			if f.Seq <= last[stream] {
				m.fault("out of order after %d: %s", last[stream], f)
			}
			last[stream] = f.Seq
			m.event(f)
		case "ack":
			m.ack(f, say)
		case "error":
			// What the server could not do just now is repeated when it is back.
			if f.Code != "going_away" {
				m.fault("refused: %s", f)
			}
		case "joined", "online", "live":
		default:
			m.fault("unexpected: %s", f)
		}
		m.mu.Unlock()
	}
}

// enter is what a welcomed member says: the rooms, what was not acknowledged,
// something new. The caller holds mu, here and below.
func (m *member) enter(f frame, say func(any)) {
	if m.epoch == "" {
		m.epoch, m.base = f.Position.Epoch, f.Position.Seq
	} else if m.epoch != f.Position.Epoch {
		m.fault("another epoch: %s", f)
	}
	for _, room := range m.rooms {
		say(map[string]any{"op": "join", "id": 2, "topic": room, "after": m.at[room], "epoch": m.epoch})
	}
	for _, n := range m.waiting {
		m.send(n, say)
	}
	for len(m.waiting) < m.most && !m.crowd.quiet.Load() {
		m.chat(say)
	}
}

func (m *member) chat(say func(any)) {
	m.said++
	key := fmt.Sprintf("%s-%d", m.user, m.said)
	n := &note{topic: append(m.rooms, m.talk)[m.rng.IntN(len(m.rooms)+1)], key: key, session: m.sessions,
		text: key + strings.Repeat(" 茶", m.rng.IntN(60))}
	m.waiting = append(m.waiting, n)
	m.send(n, say)
}

func (m *member) send(n *note, say func(any)) {
	say(map[string]any{"op": "send", "id": n.key, "topic": n.topic, "key": n.key, "kind": "message", "body": map[string]string{"text": n.text}})
}

// stream is what has a position of its own: a room, or the inbox together with
// the talks.
func (m *member) stream(topic string) string {
	if topic == m.talk {
		return "user:" + m.user
	}
	return topic
}

func (m *member) event(f frame) {
	stream := m.stream(f.Topic)
	if stream != "user:"+m.user && !slices.Contains(m.rooms, f.Topic) {
		m.fault("not joined: %s", f)
	}
	if f.Seq <= m.at[stream] {
		m.fault("told again after %d: %s", m.at[stream], f)
	}
	m.at[stream] = f.Seq
	m.see(f.Topic, f.Seq, f.From+" "+textOf(f))
	if f.From != m.user {
		return
	}
	for _, n := range m.waiting {
		if n.key == f.Key && n.session == m.sessions {
			m.fault("the connection that sent it got the event: %s", f)
		}
	}
	if seq, ok := m.acked[f.Topic+" "+f.Key]; ok && seq != f.Seq {
		m.fault("acknowledged as %d: %s", seq, f)
	}
}

func (m *member) ack(f frame, say func(any)) {
	i := slices.IndexFunc(m.waiting, func(n *note) bool { return n.key == f.Key })
	if i < 0 {
		m.fault("an ack that nobody waits for: %s", f)
		return
	}
	n := m.waiting[i]
	m.waiting = slices.Delete(m.waiting, i, i+1)
	m.acked[n.topic+" "+n.key] = f.Seq
	m.see(n.topic, f.Seq, m.user+" "+n.text)
	if m.crowd.acks.Add(1)%15 == 0 {
		select {
		case m.crowd.nudge <- struct{}{}:
		default:
		}
	}
	if !m.crowd.quiet.Load() && len(m.waiting) < m.most {
		m.chat(say)
	}
}

func (m *member) see(topic string, seq int64, what string) {
	if m.seen[topic] == nil {
		m.seen[topic] = make(map[int64]string)
	}
	if before, ok := m.seen[topic][seq]; ok && before != what {
		m.fault("%d in %s was %q and is %q", seq, topic, before, what)
	}
	m.seen[topic][seq] = what
}

func textOf(f frame) string {
	var body struct{ Text string }
	_ = json.Unmarshal(f.Body, &body)
	return body.Text
}

// backend pushes to all inboxes now and then, over HTTP, until each push is
// answered.
func (c *crowd) backend(ctx context.Context) {
	defer close(c.pushing)
	var users []string
	for _, m := range c.members {
		users = append(users, m.user)
	}
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-c.enough:
			return
		case <-c.nudge:
		}
		text := fmt.Sprintf("push %d", i)
		request := map[string]any{"to": users, "kind": "notice", "body": map[string]string{"text": text}}
		var headers []string
		if i%2 == 0 {
			request["key"] = text
		} else {
			headers = []string{"Idempotency-Key", text}
		}
		for {
			host, err := c.place.get(ctx)
			if err != nil {
				return
			}
			a, err := (&house{url: "http://" + host}).send("POST", "/api/v1/events", request, headers...)
			if err != nil || a.status == 503 {
				continue
			}
			var out struct{ Events []struct{ Seq int64 } }
			if a.status != 200 || json.Unmarshal(a.body, &out) != nil || len(out.Events) != len(users) {
				c.t.Errorf("push: %d %s", a.status, a.body)
				return
			}
			var seqs []int64
			for _, e := range out.Events {
				seqs = append(seqs, e.Seq)
			}
			c.mu.Lock()
			c.pushed[text] = seqs
			c.mu.Unlock()
			break
		}
	}
}

// acknowledged waits for so many more acks.
func (c *crowd) acknowledged(more int) {
	c.t.Helper()
	want := c.acks.Load() + int64(more)
	eventually(c.t, fmt.Sprintf("%d more acks", more), func() bool { return c.acks.Load() >= want })
}

// finish lets what is under way arrive, and proves that nothing was lost,
// doubled or put in another order: each member saw each log as it is.
func (c *crowd) finish(h *house) {
	t := c.t
	t.Helper()
	c.quiet.Store(true)
	for _, m := range c.members {
		eventually(t, m.user+"'s acks", func() bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			return len(m.waiting) == 0 && m.sessions > 0 || len(m.faults) > 0
		})
	}
	close(c.enough)
	select {
	case <-c.pushing:
	case <-time.After(patience):
		t.Fatal("a push is not answered")
	}
	logs := make(map[string][]frame)
	for _, room := range c.rooms {
		logs[room] = h.history(room)
	}
	for _, m := range c.members {
		logs[m.talk] = h.history(m.talk)
	}
	acks, sessions := 0, 0
	stored := make(map[string]int64) // "topic user key" -> seq
	for topic, log := range logs {
		c.check(topic, log, stored)
	}
	for _, m := range c.members {
		inbox := "user:" + m.user
		logs[inbox] = h.history(inbox)
		for _, topic := range append([]string{inbox, m.talk}, m.rooms...) {
			log := logs[topic]
			if m.stream(topic) == inbox { // what was before the first hello is not told
				log = slices.DeleteFunc(slices.Clone(log), func(f frame) bool { return f.Seq <= m.base })
			}
			m.compare(topic, log)
		}
		m.mu.Lock()
		for name, seq := range m.acked {
			topic, key, _ := strings.Cut(name, " ")
			if got := stored[topic+" "+m.user+" "+key]; got != seq {
				t.Errorf("%s of %s was acknowledged as %d; the log has it as %d", name, m.user, seq, got)
			}
		}
		for _, fault := range m.faults {
			t.Errorf("%s: %s", m.user, fault)
		}
		acks += len(m.acked)
		sessions += m.sessions
		m.mu.Unlock()
	}
	if len(stored) != acks {
		t.Errorf("the log holds %d events of the members; they had %d acknowledged", len(stored), acks)
	}
	c.mu.Lock()
	pushed := maps.Clone(c.pushed)
	c.mu.Unlock()
	for text, seqs := range pushed {
		for i, m := range c.members {
			var got []int64
			for _, f := range logs["user:"+m.user] {
				if textOf(f) == text {
					got = append(got, f.Seq)
				}
			}
			same(t, text+" in the inbox of "+m.user, got, seqs[i])
		}
	}
	eventually(t, "one session for each member and no ghost", func() bool { return len(h.sessions("")) == len(c.members) })
	t.Logf("%d events acknowledged, %d pushes, %d connections", acks, len(pushed), sessions)
}

// check holds one topic's log to what must be true of any, and notes where
// each key stands.
func (c *crowd) check(topic string, log []frame, stored map[string]int64) {
	before := int64(0)
	last := make(map[string]int)
	for _, f := range log {
		if f.Seq <= before {
			c.t.Errorf("the log of %s does not rise: %d after %d", topic, f.Seq, before)
		}
		before = f.Seq
		name := topic + " " + f.From + " " + f.Key
		if first, twice := stored[name]; twice {
			c.t.Errorf("the log holds %s twice: %d and %d", name, first, f.Seq)
		}
		stored[name] = f.Seq
		// What one says stands there in the order in which it was said.
		var said int
		if _, err := fmt.Sscanf(f.Key, f.From+"-%d", &said); err != nil || said <= last[f.From] {
			c.t.Errorf("%s stands after %d: %v", name, last[f.From], err)
		}
		last[f.From] = said
	}
}

// compare waits until a member was told as much as the log holds, and then
// holds each event against it.
func (m *member) compare(topic string, log []frame) {
	t := m.crowd.t
	deadline := time.Now().Add(patience / 2)
	for tick := time.Millisecond; time.Now().Before(deadline); tick = min(2*tick, 50*time.Millisecond) {
		m.mu.Lock()
		n := len(m.seen[topic])
		m.mu.Unlock()
		if n >= len(log) {
			break
		}
		<-time.After(tick)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	got := slices.Sorted(maps.Keys(m.seen[topic]))
	want := make([]int64, len(log))
	for i, f := range log {
		want[i] = f.Seq
		if what, ok := m.seen[topic][f.Seq]; ok && what != f.From+" "+textOf(f) {
			t.Errorf("%s was told %q as %d of %s; the log says %s: %q", m.user, what, f.Seq, topic, f.From, textOf(f))
		}
	}
	if slices.Equal(got, want) {
		return
	}
	missing := slices.DeleteFunc(slices.Clone(want), func(s int64) bool { _, ok := slices.BinarySearch(got, s); return ok })
	extra := slices.DeleteFunc(slices.Clone(got), func(s int64) bool { _, ok := slices.BinarySearch(want, s); return ok })
	t.Errorf("%s in %s: %d of %d events; not told: %v; not in the log: %v", m.user, topic, len(got), len(want), clip(missing), clip(extra))
}

func clip(s []int64) []int64 { return s[:min(len(s), 10)] }

// place is where clients find the relay.
func (r *relay) place() *place {
	p := newPlace()
	p.set(r.listener.Addr().(*net.TCPAddr).String())
	return p
}
