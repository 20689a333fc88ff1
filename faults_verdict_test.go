package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// verdict holds what each client noted against the log.
func verdict(t *testing.T, h *house, both []*chatter, pushes *pusher) {
	t.Helper()
	for _, text := range pushes.bad {
		t.Error(text)
	}
	shared := []string{"room:lobby", "dm:alice:bob"}
	logs := make(map[string][]frame)
	for _, topic := range shared {
		logs[topic] = h.history(topic)
	}
	for _, c := range both {
		inbox := "user:" + c.user
		logs[inbox] = h.history(inbox)
		same(t, "pushes in "+inbox, []int{len(logs[inbox])}, pushes.pushed)
		for topic, log := range logs {
			if topic != inbox && !slices.Contains(shared, topic) {
				continue
			}
			var n int
			for deadline := time.Now().Add(patience / 3); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
				if n = ask[progress](t, c, "progress").Heard[topic]; n >= len(log) {
					break
				}
			}
		}
		notes := readNotes(t, c)
		for _, topic := range append([]string{inbox}, shared...) {
			notes.heard(t, c, topic, logs[topic])
		}
		// What the places, which are written now and then, did not hold yet may
		// come again. It is little.
		if notes.again > notes.total/4 {
			t.Errorf("%s was told %d of %d events again after a reload", c.user, notes.again, notes.total)
		}
		if notes.kept == 0 && c.reloads > 1 {
			t.Errorf("nothing of %s waited to be sent at any reload: this run does not test what it is for", c.user)
		}
		for _, topic := range shared {
			notes.said(t, c, topic, logs[topic])
			notes.pages(t, c, topic, logs[topic])
		}
		for _, f := range notes.faults {
			t.Errorf("%s, life %d: %s", c.user, f.life, f.text)
		}
		for _, text := range c.proxy.complaints() {
			t.Error(text)
		}
		same(t, "living sockets of "+c.user, []int{c.proxy.alive()}, 1)
		n, links := c.proxy.count()
		var kinds []string
		for b := range breakages {
			kinds = append(kinds, fmt.Sprintf("%d %s", c.proxy.struck[b].Load(), b))
		}
		t.Logf("%s: %d faults (%s) in %d connections; %d reloads with %d sends waiting, %d of %d events told again after them; %d of a talk that was not open; %d pages of history; %d acks before older events; errors %v, states %v",
			c.user, n, strings.Join(kinds, ", "), links, c.reloads, notes.kept, notes.again, notes.total, notes.aside, notes.asked, c.proxy.early(), notes.errors, notes.states)
	}
	eventually(t, "one session for each client and no ghost", func() bool { return len(h.sessions("")) == len(both) })
	t.Logf("%d messages in the room, %d in the talk, %d pushes", len(logs[shared[0]]), len(logs[shared[1]]), pushes.pushed)
}

// notes are what a talker has written down.
type notes struct {
	all    [][]json.RawMessage
	faults []struct {
		life int
		text string
	}
	errors, states map[string]int
	total, again   int // events that were told
	asked, aside   int
	kept           int // sends that waited at a reload
}

func readNotes(t *testing.T, c *chatter) *notes {
	t.Helper()
	n := &notes{all: ask[[][]json.RawMessage](t, c, "report"), errors: make(map[string]int), states: make(map[string]int)}
	n.each("fault", func(life int, f []json.RawMessage) {
		n.faults = append(n.faults, struct {
			life int
			text string
		}{life, word[string](f[0])})
	})
	n.each("kept", func(_ int, f []json.RawMessage) { n.kept += word[int](f[0]) })
	n.each("aside", func(int, []json.RawMessage) { n.aside++ })
	for what, counts := range map[string]map[string]int{"error": n.errors, "unanswered": n.errors, "state": n.states} {
		n.each(what, func(_ int, f []json.RawMessage) { counts[what+" "+word[string](f[0])]++ })
	}
	return n
}

// word reads one field of a note; what is not there is the zero value.
func word[T any](raw json.RawMessage) (v T) {
	_ = json.Unmarshal(raw, &v)
	return v
}

// each calls fn for each note of one kind, in their order.
func (n *notes) each(what string, fn func(life int, fields []json.RawMessage)) {
	for _, note := range n.all {
		if word[string](note[0]) == what {
			fn(word[int](note[1]), note[2:])
		}
	}
}

// heard: in each life every event of the log comes once and in its order, from
// where the life before ended; over all lives none is missing.
func (n *notes) heard(t *testing.T, c *chatter, topic string, log []frame) {
	t.Helper()
	stored := make(map[int64]frame, len(log))
	for _, f := range log {
		stored[f.Seq] = f
	}
	seen := make(map[int64]int)
	last := make(map[int]int64)
	complaints := 0
	complain := func(format string, args ...any) {
		if complaints++; complaints <= 5 {
			t.Errorf("%s in %s: "+format, append([]any{c.user, topic}, args...)...)
		}
	}
	place := make(map[int]int) // life -> index in the log of what must come next; 0: anything
	index := make(map[int64]int, len(log))
	for i, f := range log {
		index[f.Seq] = i
	}
	top := int64(0) // of the lives before
	current := 0
	n.each("heard", func(life int, f []json.RawMessage) {
		if word[string](f[0]) != topic {
			return
		}
		n.total++
		seq, from, key, text := word[int64](f[1]), word[string](f[2]), word[string](f[3]), word[string](f[5])
		want, ok := stored[seq]
		if !ok {
			complain("%d %q is not in the log", seq, text)
			return
		}
		if want.From != from || want.Key != key || textOf(want) != text || want.Kind != word[string](f[4]) {
			complain("%d is told as %q %s by %s, the log says %q %s by %s", seq, text, key, from, textOf(want), want.Key, want.From)
		}
		if life != current {
			current = life
			for s := range seen {
				top = max(top, s)
			}
		}
		if seq <= last[life] {
			complain("life %d: %d comes after %d", life, seq, last[life])
		}
		if next, ok := place[life]; ok && index[seq] != next {
			complain("life %d: %d comes after %d; the log has %d there", life, seq, last[life], log[min(next, len(log)-1)].Seq)
		}
		if last[life] == 0 && life > 1 && seq > top {
			// The first of a life joins on to the last of those before.
			if i := index[seq]; i > 0 && log[i-1].Seq > top {
				complain("life %d begins with %d, the lives before ended with %d: %d is passed over", life, seq, top, log[i-1].Seq)
			}
		}
		last[life] = seq
		place[life] = index[seq] + 1
		if seen[seq]++; seen[seq] > 1 {
			n.again++
		}
	})
	if complaints > 5 {
		t.Errorf("%s in %s: %d more", c.user, topic, complaints-5)
	}
	var missing []int64
	for _, f := range log {
		if seen[f.Seq] == 0 {
			missing = append(missing, f.Seq)
		}
	}
	if len(missing) > 0 {
		t.Errorf("%s in %s: %d of %d events were not told: %v", c.user, topic, len(missing), len(log), clip(missing))
	}
}

// said: the log has each own message once, in the order in which it was said,
// at the place of which the client was told.
func (n *notes) said(t *testing.T, c *chatter, topic string, log []frame) {
	t.Helper()
	want := 0
	n.each("said", func(_ int, f []json.RawMessage) {
		if word[string](f[0]) == topic {
			want++
		}
	})
	at := make(map[int]int64)
	next, keys := 0, make(map[string]bool)
	for _, f := range log {
		if keys[f.From+" "+f.Key] {
			t.Errorf("the key %s of %s stands twice in %s", f.Key, f.From, topic)
		}
		keys[f.From+" "+f.Key] = true
		if f.From != c.user {
			continue
		}
		var i int
		if _, err := fmt.Sscanf(textOf(f), c.user+" %d", &i); err != nil || f.Key == "" {
			t.Errorf("%s holds %q with the key %q", topic, textOf(f), f.Key)
		}
		if i != next {
			t.Errorf("in %s %s has said %d after %d", topic, c.user, i, next-1)
		}
		next = i + 1
		at[i] = f.Seq
	}
	same(t, fmt.Sprintf("what %s has said in %s, in the log", c.user, topic), []int{len(at)}, want)
	n.each("acked", func(life int, f []json.RawMessage) {
		if i, seq := word[int](f[1]), word[int64](f[2]); word[string](f[0]) == topic && at[i] != seq {
			t.Errorf("%s, life %d: %d in %s was acknowledged as %d, and stands at %d", c.user, life, i, topic, seq, at[i])
		}
	})
}

// pages: what history answered is what the log has there.
func (n *notes) pages(t *testing.T, c *chatter, topic string, log []frame) {
	t.Helper()
	var seqs []int64
	for _, f := range log {
		seqs = append(seqs, f.Seq)
	}
	n.each("page", func(life int, f []json.RawMessage) {
		if word[string](f[0]) != topic {
			return
		}
		n.asked++
		to, _ := slices.BinarySearch(seqs, word[int64](f[1]))
		from := max(0, to-word[int](f[2]))
		if got := word[[]int64](f[3]); !slices.Equal(got, seqs[from:to]) || word[bool](f[4]) != (from > 0) {
			t.Errorf("%s, life %d: history of %s before %s: %v more %s; the log has %v", c.user, life, topic, f[1], got, f[4], seqs[from:to])
		}
	})
}
