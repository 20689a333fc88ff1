package db

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"teahouse/chat"
)

func endpoint(id string) chat.Webhook {
	return chat.Webhook{ID: id, URL: "https://shop.example/", Kinds: []string{"*"}, Topics: []string{"*"}, Secret: make([]byte, 32), CreatedAt: 1}
}

func deliveriesOf(t *testing.T, s *Store, id string, state chat.WebhookState) []chat.WebhookDelivery {
	t.Helper()
	list, err := s.Deliveries(t.Context(), chat.WebhookQuery{Webhook: id, State: state, Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// What is in the log is in the queue, and nothing else is: an operation that
// fails leaves nothing, one that repeats another adds nothing.
func TestQueuedWithItsEvent(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	add(t, s, message("room:a", "u", "before", 0))
	if err := s.AddWebhook(t.Context(), endpoint("h")); err != nil {
		t.Fatal(err)
	}
	add(t, s, message("room:a", "u", "before", 0), message("room:a", "u", "1", 1))
	add(t, s, message("room:a", "u", "1", 1))
	// Failures within a transaction that carries others.
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if i%2 == 0 {
				add(t, s, message("room:b", "u", fmt.Sprint(i), i))
				return
			}
			err := s.run(context.Background(), func(x *tx) error {
				if err := x.append(message("room:b", "u", fmt.Sprint(i), i)); err != nil {
					return err
				}
				return chat.Errorf(chat.CodeBadRequest, "no")
			})
			if chat.CodeOf(err) != chat.CodeBadRequest {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want := make(map[int64]bool)
	for _, e := range append(replay(t, s, "room:a")[1:], replay(t, s, "room:b")...) {
		want[e.Seq] = true
	}
	list := deliveriesOf(t, s, "h", "")
	for _, d := range list {
		if !want[d.Event.Seq] || d.State != chat.WebhookWaiting || d.Message != fmt.Sprintf("msg_%s_%d", position(t, s).Epoch, d.Event.Seq) {
			t.Errorf("queued: %+v", d)
		}
	}
	if len(list) != len(want) || len(want) != 21 {
		t.Errorf("%d queued, %d in the log", len(list), len(want))
	}
	// One of each lane is due, and the next when that has ended.
	for n := range 3 {
		due, _, err := s.DueDeliveries(t.Context(), "h", 10)
		if err != nil || len(due) != 2-min(n, 1) {
			t.Fatalf("due: %+v, %v", due, err)
		}
		for _, d := range due {
			if d.Lane == "room:b" && n > 0 {
				continue
			}
			if string(d.Event.Body) == "" {
				t.Errorf("without a body: %+v", d)
			}
			if err := s.SettleDelivery(t.Context(), chat.WebhookAttempt{Webhook: "h", Seq: d.Event.Seq, State: chat.WebhookDelivered, Status: 200}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Endpoints come and go while events are written: each event is queued for
// those that there are, and nothing is left of one that went.
func TestWebhooksComeAndGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					add(t, s, message("room:a", fmt.Sprint(w), fmt.Sprint(n), n))
				}
			}
		})
	}
	for n := range 6 {
		id := fmt.Sprint("h", n)
		if err := s.AddWebhook(t.Context(), endpoint(id)); err != nil {
			t.Fatal(err)
		}
		add(t, s, message("room:a", "main", fmt.Sprint("here", n), n))
		if n%2 == 0 {
			if ok, err := s.RemoveWebhook(t.Context(), id); err != nil || !ok {
				t.Fatal(ok, err)
			}
			if left := deliveriesOf(t, s, id, ""); len(left) > 0 {
				t.Errorf("%d deliveries are left", len(left))
			}
			continue
		}
		if _, err := s.EditWebhook(t.Context(), id, func(w *chat.Webhook) error { w.DisabledAt = 1; return nil }); err != nil {
			t.Fatal(err)
		}
		before := len(deliveriesOf(t, s, id, ""))
		add(t, s, message("room:a", "main", fmt.Sprint("gone", n), n))
		if after := len(deliveriesOf(t, s, id, "")); before == 0 || after != before {
			t.Errorf("%d queued before it was disabled, %d afterwards", before, after)
		}
	}
	close(stop)
	wg.Wait()
	consistent(t, s)
}

// The list is bounded, by age and by number; what waits for an endpoint that
// is disabled ends after three days.
func TestDeliveriesKept(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_000)
	s := openIn(t, t.TempDir(), func(o *Options) {
		o.Clock = func() time.Time { return now }
		o.PruneEvery, o.deliveries = -1, 60
	})
	for _, id := range []string{"a", "b"} {
		if err := s.AddWebhook(t.Context(), endpoint(id)); err != nil {
			t.Fatal(err)
		}
	}
	end := func(from, to int, state chat.WebhookState) {
		t.Helper()
		for i := from; i < to; i++ {
			add(t, s, message("room:a", "u", fmt.Sprint(i), i))
			now = now.Add(time.Millisecond)
			if err := s.SettleDelivery(t.Context(), chat.WebhookAttempt{Webhook: "a", Seq: position(t, s).Seq, State: state}); err != nil {
				t.Fatal(err)
			}
		}
	}
	counts := func(id string, want ...int) {
		t.Helper()
		if _, err := s.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, state := range []chat.WebhookState{chat.WebhookWaiting, chat.WebhookDelivered, chat.WebhookFailed} {
			if got := len(deliveriesOf(t, s, id, state)); got != want[i] {
				t.Errorf("%s has %d %s, want %d", id, got, state, want[i])
			}
		}
	}
	end(0, 5, chat.WebhookFailed)
	end(5, 10, chat.WebhookDelivered)
	counts("a", 0, 5, 5)
	counts("b", 10, 0, 0)
	now = now.Add(keepDelivered + time.Hour)
	counts("a", 0, 0, 5)
	end(10, 80, chat.WebhookDelivered)
	counts("a", 0, 60, 5)
	counts("b", 80, 0, 0)
	if _, err := s.EditWebhook(t.Context(), "b", func(w *chat.Webhook) error { w.DisabledAt = now.UnixMilli(); return nil }); err != nil {
		t.Fatal(err)
	}
	counts("b", 70, 0, 10)
	now = now.Add(keepPaused + time.Hour)
	counts("b", 0, 0, 60) // of both together
	now = now.Add(keepFailed + time.Hour)
	counts("a", 0, 0, 0)
	counts("b", 0, 0, 0)
}
