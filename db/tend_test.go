package db

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"teahouse/chat"
)

// What a Store does by itself as time passes: the index is completed in a
// quiet moment, the seal learns of the head, retention runs. The time is the
// bubble's, so that the hours take no time.
func TestTend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), options(dir, func(o *Options) {
			o.PruneEvery = 5 * time.Minute
			o.Retain = []RetainRule{{Pattern: "room:*", Retention: chat.Retention{Age: time.Hour}}}
		}))
		if err != nil {
			t.Fatal(err)
		}
		defer shut(t, s)
		// passes lets time pass and all that is due then be done.
		passes := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		fill := func(events int) {
			var batch []chat.Event
			for i := range events {
				batch = append(batch, message(fmt.Sprint("room:", i%30), "u", fmt.Sprint(time.Now().UnixNano(), i), i))
			}
			add(t, s, batch...)
		}
		unindexed := func(when string, want int64) {
			t.Helper()
			if got := s.Stats().Unindexed; got != want {
				t.Errorf("%s %d events wait to be indexed, want %d", when, got, want)
			}
		}
		passes(2 * time.Minute)
		fill(9000)
		unindexed("at once", 9000)
		passes(restEvery)
		unindexed("while it is not quiet", 9000)
		passes(restEvery)
		unindexed("in a quiet moment", 0)
		fill(10)
		passes(5 * restEvery)
		unindexed("as long as they are few", 10)
		passes(restAtLast)
		unindexed("after a minute", 0)
		consistent(t, s)

		passes(sealEvery)
		head := position(t, s).Seq
		if l, err := readSeal(dir); err != nil || l.Head != head || l.Boot != s.boot {
			t.Errorf("the seal says %+v, %v; the head is %d", l, err, head)
		}
		passes(50 * time.Minute)
		if n := len(replay(t, s, "room:0")); n != 301 {
			t.Errorf("within the hour the topic has %d events", n)
		}
		passes(20 * time.Minute)
		if n := len(replay(t, s, "room:0")); n != 0 {
			t.Errorf("after the hour the topic has %d events", n)
		}
		if got := position(t, s).Seq; got != head {
			t.Errorf("the head went from %d to %d", head, got)
		}
		consistent(t, s)
	})
}
