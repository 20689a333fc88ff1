// Package storetest is the suite that every chat.Store must pass. It knows
// nothing but the contract in chat/store.go.
package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"teahouse/chat"
)

// Open makes a new, empty Store for one test and closes it when the test
// ends. reopen ends it as a stop of the program does, opens it again and
// returns it; the one before is not used any more.
type Open func(t *testing.T) (store chat.Store, reopen func() chat.Store)

// Run holds the Stores that open makes to the contract. The tests run in
// parallel and take a few seconds.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"Order", testOrder},
		{"Times", testTimes},
		{"Reopen", testReopen},
		{"ManyReopens", testManyReopens},
		{"Keys", testKeys},
		{"KeysWithinOneCall", testKeysWithinOneCall},
		{"KeysOverTime", testKeysOverTime},
		{"KeysConcurrent", testKeysConcurrent},
		{"AllOrNone", testAllOrNone},
		{"BodyIsCopied", testBodyIsCopied},
		{"StrangeText", testStrangeText},
		{"Replay", testReplay},
		{"ReplaySeveral", testReplaySeveral},
		{"Before", testBefore},
		{"Backlog", testBacklog},
		{"ReadWhileAppending", testReadWhileAppending},
		{"TailFromStart", testTailFromStart},
		{"TailConcurrent", testTailConcurrent},
		{"TailLate", testTailLate},
		{"TailEnds", testTailEnds},
		{"TailSlow", testTailSlow},
		{"Origin", testOrigin},
		{"Talks", testTalks},
		{"Expires", testExpires},
		{"ExpiresMany", testExpiresMany},
		{"Schedule", testSchedule},
		{"ScheduleKeys", testScheduleKeys},
		{"ScheduleList", testScheduleList},
		{"ScheduleConcurrent", testScheduleConcurrent},
		{"Recall", testRecall},
		{"RecallRefused", testRecallRefused},
		{"RecallAgain", testRecallAgain},
		{"RecallOld", testRecallOld},
		{"RecallTail", testRecallTail},
		{"Marks", testMarks},
		{"MarksBound", testMarksBound},
		{"MarksConcurrent", testMarksConcurrent},
		{"Sessions", testSessions},
		{"SessionsReopen", testSessionsReopen},
		{"VoucherIssue", testVoucherIssue},
		{"VoucherChanges", testVoucherChanges},
		{"VoucherKeys", testVoucherKeys},
		{"VoucherConcurrent", testVoucherConcurrent},
		{"VoucherEvents", testVoucherEvents},
		{"VoucherExpire", testVoucherExpire},
		{"VoucherList", testVoucherList},
		{"VoucherImport", testVoucherImport},
		{"Cancelled", testCancelled},
		{"Epoch", testEpoch},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open)
		})
	}
}

// event makes an event with a body that tells it from others.
func event(topic, from, key string, n int) chat.Event {
	return chat.Event{Topic: topic, Kind: "message", From: from, Key: key, Body: json.RawMessage(fmt.Sprintf(`{"n":%d}`, n))}
}

func number(t *testing.T, e chat.Event) int {
	t.Helper()
	var body struct{ N int }
	if err := json.Unmarshal(e.Body, &body); err != nil {
		t.Fatalf("the body of %v is %q: %v", e, e.Body, err)
	}
	return body.N
}

func add(t *testing.T, s chat.Store, events ...chat.Event) []chat.Event {
	t.Helper()
	out, err := s.Append(t.Context(), events...)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	if len(out) != len(events) {
		t.Fatalf("Append of %d events returned %d", len(events), len(out))
	}
	return out
}

func replay(t *testing.T, s chat.Store, after int64, limit int, topics ...string) []chat.Event {
	t.Helper()
	out, err := s.Replay(t.Context(), topics, after, limit)
	if err != nil {
		t.Fatalf("Replay: %v", err)
	}
	return out
}

func head(t *testing.T, s chat.Store) chat.Position {
	t.Helper()
	p, err := s.Head(t.Context())
	if err != nil {
		t.Fatalf("Head: %v", err)
	}
	return p
}

// same fails unless the two are equal in all that is kept.
func same(t *testing.T, what string, got, want []chat.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: got %d events, want %d\ngot  %v\nwant %v", what, len(got), len(want), got, want)
	}
	for i := range got {
		if !equal(got[i], want[i]) {
			t.Fatalf("%s: event %d is %v at %d body %s, want %v at %d body %s",
				what, i, got[i], got[i].At, got[i].Body, want[i], want[i].At, want[i].Body)
		}
	}
}

func equal(a, b chat.Event) bool {
	return a.Seq == b.Seq && a.Topic == b.Topic && a.Kind == b.Kind && a.From == b.From && a.Key == b.Key &&
		a.At == b.At && a.Expires == b.Expires && string(a.Body) == string(b.Body)
}

// rising fails unless the Seqs rise strictly from above after.
func rising(t *testing.T, events []chat.Event, after int64) {
	t.Helper()
	for _, e := range events {
		if e.Seq <= after {
			t.Fatalf("Seq %d comes after %d", e.Seq, after)
		}
		after = e.Seq
	}
}

// deadline is a context that ends a test that hangs.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
