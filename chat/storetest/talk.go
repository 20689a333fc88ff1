package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"teahouse/chat"
)

// takeBack recalls as alice does, with a long window.
func takeBack(t *testing.T, s chat.Store, topic string, seq int64, key string) chat.Event {
	t.Helper()
	e, err := s.Recall(t.Context(), recallOf(topic, "alice", seq, key, time.Hour))
	if err != nil {
		t.Fatalf("Recall of %d: %v", seq, err)
	}
	return e
}

func recallOf(topic, from string, seq int64, key string, window time.Duration) chat.Recall {
	r, err := chat.NewRecall(chat.Event{Topic: topic, From: from, Key: key, Body: fmt.Appendf(nil, `{"seq":%d}`, seq)}, window)
	if err != nil {
		panic(err)
	}
	return r
}

// read returns an event by each way of reading; they must agree.
func read(t *testing.T, s chat.Store, topic string, seq int64) chat.Event {
	t.Helper()
	one := replay(t, s, seq-1, 1, topic)
	two, err := s.Before(t.Context(), topic, seq+1, 1)
	if err != nil {
		t.Fatal(err)
	}
	many := replay(t, s, seq-1, 1, topic, "room:elsewhere")
	same(t, "Before", two, one)
	same(t, "Replay of two topics", many, one)
	if len(one) != 1 || one[0].Seq != seq {
		t.Fatalf("there is no event %d: %v", seq, one)
	}
	return one[0]
}

func testRecall(t *testing.T, open Open) {
	s, reopen := open(t)
	list := add(t, s, event("room:a", "alice", "k1", 1), event("room:a", "bob", "k2", 2), event("dm:alice:bob", "alice", "k3", 3), event("room:a", "alice", "", 4))
	for i, n := range []int{0, 2, 3} {
		m := list[n]
		told := takeBack(t, s, m.Topic, m.Seq, fmt.Sprint("r", i))
		want := chat.Event{Seq: told.Seq, Topic: m.Topic, Kind: chat.KindRecalled, From: "alice", Key: fmt.Sprint("r", i), Body: fmt.Appendf(nil, `{"seq":%d}`, m.Seq), At: told.At}
		if told.Seq <= list[3].Seq || told.At < m.At || !equal(told, want) {
			t.Fatalf("Recall returned %v at %d: %s", told, told.At, told.Body)
		}
		list[n].Body = chat.RecalledBody()
		list = append(list, told)
		if gone := read(t, s, m.Topic, m.Seq); !gone.Recalled() || !equal(gone, list[n]) {
			t.Fatalf("the message is %v: %s", gone, gone.Body)
		}
	}
	// The key of the message goes on to hold.
	if again := add(t, s, event("room:a", "alice", "k1", 1)); again[0].Seq != list[0].Seq {
		t.Fatalf("the key of a recalled message made %v", again[0])
	}
	for range 2 {
		same(t, "all", replay(t, s, 0, 100, "room:a", "dm:alice:bob"), list)
		s = reopen()
	}
}

func testRecallRefused(t *testing.T, open Open) {
	s, _ := open(t)
	list := add(t, s, event("room:a", "alice", "k1", 1), event("room:b", "alice", "k2", 2), event("room:a", "bob", "k3", 3),
		chat.Event{Topic: "room:a", Kind: "order", From: "alice", Body: json.RawMessage(`{"n":4}`)}, event("room:a", "", "", 5))
	at := head(t, s)
	for what, c := range map[string]struct {
		recall chat.Recall
		code   chat.Code
	}{
		"another's":           {recallOf("room:a", "alice", list[2].Seq, "a", time.Hour), chat.CodeForbidden},
		"the house's":         {recallOf("room:a", "alice", list[4].Seq, "b", time.Hour), chat.CodeForbidden},
		"no message":          {recallOf("room:a", "alice", list[3].Seq, "c", time.Hour), chat.CodeForbidden},
		"of another topic":    {recallOf("room:a", "alice", list[1].Seq, "d", time.Hour), chat.CodeNotFound},
		"not there":           {recallOf("room:a", "alice", at.Seq+7, "e", time.Hour), chat.CodeNotFound},
		"far away":            {recallOf("room:a", "alice", 1<<52, "f", time.Hour), chat.CodeNotFound},
		"a topic that is not": {recallOf("room:none", "alice", list[0].Seq, "g", time.Hour), chat.CodeNotFound},
		"too late":            {recallOf("room:a", "alice", list[0].Seq, "h", -time.Hour), chat.CodeRecallLate},
	} {
		if e, err := s.Recall(t.Context(), c.recall); chat.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v; want %s", what, e, err, c.code)
		}
	}
	if head(t, s) != at {
		t.Errorf("what was refused moved the head from %v to %v", at, head(t, s))
	}
	same(t, "all", replay(t, s, 0, 100, "room:a", "room:b"), list)
}

// The outbox repeats a recall until it is acked, also when its time is over.
func testRecallAgain(t *testing.T, open Open) {
	s, reopen := open(t)
	list := add(t, s, event("room:a", "alice", "k1", 1), event("room:a", "alice", "k2", 2))
	first := takeBack(t, s, "room:a", list[0].Seq, "r1")
	at := head(t, s)
	for range 2 {
		r := recallOf("room:a", "alice", list[0].Seq, "r1", -time.Hour)
		r.Event.Origin = 7
		if again, err := s.Recall(t.Context(), r); err != nil || !equal(again, first) || again.Origin != 0 {
			t.Fatalf("again: %v, %v; want %v", again, err, first)
		}
		if head(t, s) != at {
			t.Fatalf("the head is %v, was %v", head(t, s), at)
		}
		s = reopen()
	}
	// Another device has another key: the log says both.
	second := takeBack(t, s, "room:a", list[0].Seq, "r2")
	if second.Seq <= first.Seq {
		t.Fatalf("the second one is %v", second)
	}
	// A key that was a message's is that message.
	if e, err := s.Recall(t.Context(), recallOf("room:a", "alice", list[1].Seq, "k2", time.Hour)); err != nil || !equal(e, list[1]) {
		t.Fatalf("with a message's key: %v, %v", e, err)
	}
	var wg sync.WaitGroup
	seqs := make([]int64, 20)
	for i := range seqs {
		wg.Go(func() {
			e, err := s.Recall(deadline(t), recallOf("room:a", "alice", list[1].Seq, "r3", time.Hour))
			if err != nil {
				t.Errorf("Recall: %v", err)
			}
			seqs[i] = e.Seq
		})
	}
	wg.Wait()
	if slices.Sort(seqs); seqs[0] != seqs[len(seqs)-1] {
		t.Fatalf("one key made events %v", seqs)
	}
}

// What was said long ago, and lies elsewhere than what was said now, is
// recalled as well; bodies of all lengths.
func testRecallOld(t *testing.T, open Open) {
	s, reopen := open(t)
	bodies := []string{`1`, `""`, `"x"`, `{"text":"a"}`, `{"recalled":false}`, `{"text":"茶"}`}
	for _, n := range []int{20, 300, 3000, 4080, 9000, 16000} {
		bodies = append(bodies, `{"text":"`+string(bytes.Repeat([]byte("t"), n))+`"}`)
	}
	var list []chat.Event
	for i, b := range bodies {
		list = append(list, add(t, s, chat.Event{Topic: "room:old", Kind: chat.KindMessage, From: "alice", Key: fmt.Sprint("k", i), Body: json.RawMessage(b)})[0])
		add(t, s, event("room:between", "alice", "", i))
	}
	s = reopen()
	var batch []chat.Event
	for i := range 1000 {
		batch = append(batch, event("room:new", "bob", "", i))
	}
	for range 3 {
		add(t, s, batch...)
	}
	for i, e := range list {
		takeBack(t, s, "room:old", e.Seq, fmt.Sprint("r", i))
		list[i].Body = chat.RecalledBody()
		if gone := read(t, s, "room:old", e.Seq); !equal(gone, list[i]) {
			t.Fatalf("%s became %v: %q", bodies[i], gone, gone.Body)
		}
	}
	s = reopen()
	same(t, "what is old", replay(t, s, 0, len(list), "room:old"), list)
	if n := number(t, replay(t, s, 0, 1, "room:between")[0]); n != 0 {
		t.Fatalf("what lies between is %d", n)
	}
}

// Whoever reads after the Tail told of a recall does not see the text.
func testRecallTail(t *testing.T, open Open) {
	s, _ := open(t)
	const n = 60
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	done := make(chan error, 1)
	told := 0
	go func() {
		done <- s.Tail(ctx, 0, func(batch []chat.Event) error {
			for _, e := range batch {
				if e.Kind != chat.KindRecalled {
					continue
				}
				var body struct{ Seq int64 }
				if err := json.Unmarshal(e.Body, &body); err != nil {
					return err
				}
				got, err := s.Replay(ctx, []string{"room:a"}, body.Seq-1, 1)
				if err != nil || len(got) != 1 || !got[0].Recalled() {
					return fmt.Errorf("after the recall of %d: %v, %v", body.Seq, got, err)
				}
				if told++; told == n {
					return errEnough
				}
			}
			return nil
		})
	}()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			key := fmt.Sprint("k", i)
			e, err := s.Append(ctx, event("room:a", "alice", key, i))
			if err == nil {
				_, err = s.Recall(ctx, recallOf("room:a", "alice", e[0].Seq, "r"+key, time.Hour))
			}
			if err != nil {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if err := <-done; !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
}

var errEnough = errors.New("enough")

// set makes a change; what is nil stays.
func set(user, topic string, read int64, flags ...bool) chat.MarkChange {
	c := chat.MarkChange{User: user, Topic: topic}
	if read >= 0 {
		c.Read = &read
	}
	if len(flags) > 0 {
		c.Kept = &flags[0]
	}
	if len(flags) > 1 {
		c.Muted = &flags[1]
	}
	return c
}

func testMarks(t *testing.T, open Open) {
	s, reopen := open(t)
	list := add(t, s, event("room:a", "bob", "", 1), event("room:b", "bob", "", 2), event("room:a", "bob", "", 3), event("dm:alice:bob", "bob", "", 4))
	a1, a3, talk := list[0].Seq, list[2].Seq, list[3].Seq
	mark := func(c chat.MarkChange, want chat.Mark) {
		t.Helper()
		out, err := s.Mark(t.Context(), c)
		if err != nil || len(out) != 1 || out[0].Err != nil || out[0].Mark != want {
			t.Fatalf("Mark: %+v, %v; want %+v", out, err, want)
		}
	}
	room := chat.Mark{User: "alice", Topic: "room:a"}
	with := func(m chat.Mark, read int64, kept, muted bool) chat.Mark {
		m.Read, m.Kept, m.Muted = read, kept, muted
		return m
	}
	mark(set("alice", "room:a", a1), with(room, a1, false, false))
	mark(set("alice", "room:a", -1, true), with(room, a1, true, false))
	mark(set("alice", "room:a", 0, true, true), with(room, a1, true, true)) // it does not fall
	mark(set("alice", "room:a", 1<<50), with(room, a3, true, true))         // nor rise above the head
	mark(set("alice", "room:a", -1, false, false), with(room, a3, false, false))
	mark(set("alice", "room:a", -1), with(room, a3, false, false)) // only asks
	mark(set("alice", "room:none", 5, true), chat.Mark{User: "alice", Topic: "room:none", Kept: true})
	dm := chat.Mark{User: "alice", Topic: "dm:alice:bob"}
	mark(set("alice", "dm:alice:bob", talk), with(dm, talk, true, false)) // talks are kept by themselves
	mark(set("bob", "dm:alice:bob", -1, false), chat.Mark{User: "bob", Topic: "dm:alice:bob"})
	if out, err := s.Mark(t.Context(), set("alice", "dm:alice:carol", 1), set("alice", "room:b", 2, true)); err != nil ||
		chat.CodeOf(out[0].Err) != chat.CodeNotFound || out[1].Err != nil || out[1].Read != list[1].Seq {
		t.Fatalf("a talk without events: %+v, %v", out, err)
	}
	// What was kept is there after a restart, by topic.
	for range 2 {
		got, err := s.Marks(t.Context(), "alice")
		want := []chat.Mark{with(dm, talk, true, false), with(room, a3, false, false),
			{User: "alice", Topic: "room:b", Read: list[1].Seq, Kept: true}, {User: "alice", Topic: "room:none", Kept: true}}
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("Marks: %+v, %v", got, err)
		}
		if nobody, err := s.Marks(t.Context(), "carol"); err != nil || len(nobody) != 0 {
			t.Fatalf("Marks of carol: %v, %v", nobody, err)
		}
		s = reopen()
	}
}

func testMarksBound(t *testing.T, open Open) {
	s, _ := open(t)
	add(t, s, event("dm:alice:bob", "bob", "", 1))
	var changes []chat.MarkChange
	for i := range chat.MarksMost {
		changes = append(changes, set("alice", fmt.Sprint("room:", i), 0, i >= 2)) // the first two are not kept
	}
	out, err := s.Mark(t.Context(), changes...)
	if err != nil || slices.ContainsFunc(out, func(m chat.Marked) bool { return m.Err != nil }) {
		t.Fatalf("Mark: %v", err)
	}
	// Of what is not kept the one marked longest ago gives way.
	out, err = s.Mark(t.Context(), set("alice", "room:0", -1, false, true), set("alice", "room:0", -1, false, false),
		set("alice", "room:x", 0, true), set("alice", "room:y", 0, false, true), set("alice", "room:z", 0, true),
		set("alice", "room:7", -1, false), set("alice", "room:z", 0, true), set("alice", "dm:alice:bob", 9), set("bob", "room:z", 0, true))
	if err != nil {
		t.Fatal(err)
	}
	var codes []chat.Code
	for _, m := range out {
		codes = append(codes, chat.CodeOf(m.Err))
	}
	if want := []chat.Code{"", "", "", "", chat.CodeTooManyKept, "", "", "", ""}; !slices.Equal(codes, want) {
		t.Fatalf("the outcomes are %q, want %q", codes, want)
	}
	marks, err := s.Marks(t.Context(), "alice")
	if err != nil || len(marks) != chat.MarksMost+1 {
		t.Fatalf("there are %d marks, %v", len(marks), err)
	}
	has := func(topic string) bool {
		return slices.ContainsFunc(marks, func(m chat.Mark) bool { return m.Topic == topic })
	}
	for topic, want := range map[string]bool{"room:0": false, "room:1": false, "room:x": true, "room:y": true, "room:7": false, "room:z": true, "room:8": true} {
		if has(topic) != want {
			t.Errorf("%s is marked: %v", topic, has(topic))
		}
	}
}

// The place is the highest that anybody said, and nobody is told less than
// what was there before.
func testMarksConcurrent(t *testing.T, open Open) {
	s, _ := open(t)
	const n = 200
	var batch []chat.Event
	for i := range n {
		batch = append(batch, event("room:a", "bob", "", i))
	}
	list := add(t, s, batch...)
	var wg sync.WaitGroup
	for d := range 4 {
		wg.Go(func() {
			for i := d; i < n; i += 4 {
				seq := list[i].Seq
				out, err := s.Mark(deadline(t), set("alice", "room:a", seq), set(fmt.Sprint("u", i), "room:a", seq, true))
				if err != nil || out[0].Err != nil || out[0].Read < seq || out[1].Read != seq {
					t.Errorf("Mark of %d: %+v, %v", seq, out, err)
				}
			}
		})
		wg.Go(func() { add(t, s, event("room:b", "bob", "", d)) })
	}
	wg.Wait()
	if marks, err := s.Marks(t.Context(), "alice"); err != nil || len(marks) != 1 || marks[0].Read != list[n-1].Seq {
		t.Fatalf("Marks: %+v, %v", marks, err)
	}
}
