package webhook

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"teahouse/chat"
)

var errDown = errors.New("the receiver is down")

// What happens to one voucher arrives in its order, whatever fails between;
// other vouchers do not wait for it.
func TestOrder(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("shop")
		codes := w.issue(3)
		a, b, c := codes[0], codes[1], codes[2]
		synctest.Wait()
		// The redemption of a is refused three times.
		refuse := 3
		w.set(func(r *receiver) {
			r.reply = func(_ int, g *got) (int, http.Header, error) {
				if g.payload.Data.Code == a && g.payload.Type == "voucher.redeemed" && refuse > 0 {
					refuse--
					return http.StatusInternalServerError, nil, nil
				}
				return http.StatusOK, nil, nil
			}
		})
		for _, do := range []chat.VoucherAction{chat.ActionRedeemed, chat.ActionReversed, chat.ActionVoid} {
			for _, code := range codes {
				w.change(code, do)
			}
		}
		w.within(5*time.Second, "the others", func() bool { return len(w.taken(b)) == 4 && len(w.taken(c)) == 4 })
		if n := len(w.taken(a)); n != 1 {
			t.Errorf("a voucher's later events went before the one that waits: %v", w.taken(a))
		}
		w.within(time.Minute, "all", func() bool { return w.settled("shop") })
		for _, code := range codes {
			w.equal("the order of a voucher", w.taken(code), "[issued redeemed reversed void]")
		}
		// The same message's id for each attempt, another one for each event.
		ids := make(map[string]int)
		for _, g := range w.got(a) {
			ids[g.message]++
		}
		var times []int
		for _, n := range ids {
			times = append(times, n)
		}
		slices.Sort(times)
		w.equal("attempts of each message", times, "[1 1 1 4]")
		if h := w.hook("shop"); h.FailingSince != 0 || h.DisabledAt != 0 {
			t.Errorf("it works, and is said not to: %+v", h)
		}
	})
}

// The receiver is away for an hour, and our server is restarted meanwhile. All
// of it arrives, in order; the receiver meets few requests while it is away,
// and one after another when it is back.
func TestOutage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("shop")
		codes := w.issue(40)
		w.set(func(r *receiver) { r.takes = 20 * time.Millisecond })
		w.within(2*time.Second, "a start without trouble", func() bool { return w.settled("shop") })
		w.equal("requests at once", w.most, mostTogether)
		away := true
		w.set(func(r *receiver) {
			r.all = nil
			r.reply = func(int, *got) (int, http.Header, error) {
				if away {
					return 0, nil, errDown
				}
				return http.StatusOK, nil, nil
			}
		})
		began := time.Now()
		codes = append(codes, w.issue(6)...)
		time.Sleep(time.Second)
		w.set(func(r *receiver) { r.most = 0 })
		for time.Since(began) < time.Hour {
			codes = append(codes, w.issue(6)...)
			w.change(codes[len(codes)-1], chat.ActionRedeemed)
			time.Sleep(3 * time.Minute)
			if d := time.Since(began); d > 30*time.Minute && d < 34*time.Minute {
				w.restart()
			}
		}
		requests := len(w.got(""))
		if requests < 30 || requests > 100 {
			t.Errorf("%d requests in the hour", requests)
		}
		w.equal("requests at once", w.most, 1)
		if h := w.hook("shop"); time.UnixMilli(h.FailingSince).Sub(began) > 2*time.Second {
			t.Errorf("it fails since %s and not %s", time.UnixMilli(h.FailingSince), began)
		}
		queue, err := w.store.WebhookQueue(t.Context(), "shop")
		w.must(err)
		w.equal("waiting", queue.Waiting, len(codes)-40+20)

		w.set(func(*receiver) { away = false })
		took := w.within(3*time.Minute, "everything", func() bool { return w.settled("shop") })
		t.Logf("%d requests while it was away; %d events arrived in %s", requests, queue.Waiting, took)
		for _, code := range codes[40:] {
			if got := strings.Join(w.taken(code), " "); got != "issued" && got != "issued redeemed" {
				t.Errorf("a voucher's events arrived as %q", got)
			}
		}
		w.equal("delivered", len(w.deliveries("shop", chat.WebhookDelivered)), queue.Waiting+40)
		after := w.got("")[requests:]
		for i, g := range after[:growEvery] {
			if i > 0 && g.at.Sub(after[i-1].at) < 20*time.Millisecond {
				t.Errorf("request %d after the outage came %s after the one before", i, g.at.Sub(after[i-1].at))
			}
		}
		if w.most > mostTogether {
			t.Errorf("%d requests at once", w.most)
		}
		w.equal("failing since", w.hook("shop").FailingSince, 0)
	})
}

// What nobody was there to take is taken within a minute or so of somebody's
// return, however long that was; what was refused waits longer.
func TestBackSoon(t *testing.T) {
	for name, c := range map[string]struct {
		status   int
		err      error
		requests int
		back     time.Duration
	}{
		"away":        {0, errDown, 110, lastPause * 5 / 4},
		"bad gateway": {http.StatusBadGateway, nil, 110, lastPause * 5 / 4},
		"broken":      {http.StatusInternalServerError, nil, 13, lastRetry * 5 / 4},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.add("shop")
				w.set(func(r *receiver) { r.reply = func(int, *got) (int, http.Header, error) { return c.status, nil, c.err } })
				w.issue(1)
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if n := len(w.got("")); n < c.requests || n > c.requests*3/2 {
					t.Errorf("%d requests in two hours", n)
				}
				w.set(func(r *receiver) { r.reply = nil })
				w.within(c.back+time.Second, "it", func() bool { return w.settled("shop") })
			})
		})
	}
}

// What never succeeds is tried less and less often, for three days, and then
// given up; what waited behind it is told.
func TestGivenUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("shop")
		w.set(func(r *receiver) {
			r.reply = func(_ int, g *got) (int, http.Header, error) {
				if g.payload.Type == "voucher.issued" && g.payload.Seq == 1 {
					return http.StatusBadRequest, nil, nil
				}
				return http.StatusOK, nil, nil
			}
		})
		began := time.Now()
		code := w.issue(1)[0]
		w.change(code, chat.ActionRedeemed)
		for range 12 {
			w.issue(1) // the endpoint works
			time.Sleep(6*time.Hour - 2*time.Minute)
		}
		if w.settled("shop") {
			t.Fatal("given up before three days were over")
		}
		w.equal("taken", w.taken(code), "[]")
		w.within(4*time.Hour, "to be given up", func() bool { return w.settled("shop") })
		w.equal("taken", w.taken(code), "[redeemed]")
		if d := time.Since(began); d < keepTrying || d > keepTrying+lastRetry*5/4+time.Hour {
			t.Errorf("it was given up after %s", d)
		}
		failed := w.deliveries("shop", chat.WebhookFailed)
		if len(failed) != 1 || failed[0].Status != 400 || failed[0].Error != "it answered 400 Bad Request" || failed[0].Event.Seq != 1 {
			t.Fatalf("given up: %+v", failed)
		}
		// Each wait is twice the one before, a quarter more or less, up to a
		// quarter of an hour.
		var waits []time.Duration
		attempts := slices.DeleteFunc(w.got(code), func(g got) bool { return g.payload.Seq != 1 })
		for i := 1; i < len(attempts); i++ {
			waits = append(waits, attempts[i].at.Sub(attempts[i-1].at))
		}
		w.equal("attempts", failed[0].Attempts, len(attempts))
		different := make(map[time.Duration]bool)
		for i, d := range waits {
			want := min(firstRetry<<min(i, 20), lastRetry)
			if d < want*3/4 || d > want*5/4+2*lastPause {
				t.Errorf("wait %d was %s, want about %s", i+1, d, want)
			}
			different[d.Round(time.Second)] = true
		}
		if len(different) < len(waits)/2 {
			t.Errorf("without chance: %v", waits)
		}
		if h := w.hook("shop"); h.DisabledAt != 0 {
			t.Errorf("one event disabled the endpoint: %+v", h)
		}

		// Somebody has mended the receiver, and sends it again.
		w.set(func(r *receiver) { r.reply = nil })
		_, err := w.store.Resend(t.Context(), "shop", 1)
		w.must(err)
		w.within(time.Minute, "the one that is sent again", func() bool { return w.settled("shop") })
		w.equal("taken", w.taken(code), "[redeemed issued]")
	})
}

// Who is away for days (here for hours: a request a minute adds up): what was
// tried for so long is given up, all at once, and what is younger is still told.
func TestAwayForDays(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sender.keep = 3 * time.Hour
		w.add("shop")
		away := true
		w.set(func(r *receiver) {
			r.reply = func(int, *got) (int, http.Header, error) {
				if away {
					return 0, nil, errDown
				}
				return http.StatusOK, nil, nil
			}
		})
		old := w.issue(40)
		time.Sleep(time.Hour)
		w.change(old[0], chat.ActionRedeemed)
		young := w.issue(3)
		time.Sleep(2*time.Hour + 10*time.Minute)
		synctest.Wait()
		w.equal("given up", len(w.deliveries("shop", chat.WebhookFailed)), len(old))
		w.equal("waiting", len(w.deliveries("shop", chat.WebhookWaiting)), len(young)+1)
		if n := len(w.got("")); n > 220 || n < 140 {
			t.Errorf("%d requests", n)
		}
		w.set(func(r *receiver) { away, r.all = false, nil })
		w.within(5*time.Minute, "the rest", func() bool { return w.settled("shop") })
		w.equal("taken", w.taken(old[0]), "[redeemed]")
		for _, code := range young {
			w.equal("taken", w.taken(code), "[issued]")
		}
		// All that was given up, again.
		n, err := w.store.ResendFailed(t.Context(), "shop")
		w.must(err)
		w.equal("sent again", n, len(old))
		w.within(5*time.Minute, "what is sent again", func() bool { return w.settled("shop") })
		for _, code := range old[1:] {
			w.equal("taken", w.taken(code), "[issued]")
		}
	})
}

// 410 disables an endpoint, and tells the operator. What waits then goes on
// waiting for three days; what comes meanwhile is not queued.
func TestGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("shop")
		w.add("other")
		w.set(func(r *receiver) {
			r.reply = func(_ int, g *got) (int, http.Header, error) {
				if g.path == "/shop" {
					return http.StatusGone, nil, nil
				}
				return http.StatusOK, nil, nil
			}
		})
		first := w.issue(3)
		w.within(time.Second, "410", func() bool { return w.hook("shop").DisabledAt > 0 })
		synctest.Wait()
		w.equal("why", w.hook("shop").DisabledWhy, "it answered 410 Gone")
		if log := w.log.String(); strings.Count(log, "a webhook was disabled") != 1 || !strings.Contains(log, "webhook=shop") {
			t.Errorf("the log says %s", log)
		}
		later := w.issue(2)
		time.Sleep(time.Hour)
		synctest.Wait()
		requests := func() (n int) {
			for _, g := range w.got("") {
				if g.path == "/shop" {
					n++
				}
			}
			return n
		}
		w.equal("requests", requests(), 1)
		w.equal("of another endpoint", len(w.deliveries("other", chat.WebhookDelivered)), 5)

		w.set(func(r *receiver) { r.reply, r.all = nil, nil })
		_, err := w.store.EditWebhook(t.Context(), "shop", func(h *chat.Webhook) error {
			h.DisabledAt, h.FailingSince = 0, 0
			return nil
		})
		w.must(err)
		w.sender.Hurry("shop")
		w.within(time.Minute, "what waited", func() bool { return w.settled("shop") })
		w.equal("what waited", requests(), 2) // one of three was answered 410, and is given up
		w.equal("given up", len(w.deliveries("shop", chat.WebhookFailed)), 1)
		_, _ = first, later
	})
}

// A receiver that asks for time gets it, within bounds.
func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		header      string
		least, most time.Duration
	}{
		{"90", 90 * time.Second, 92 * time.Second},
		{"Sat, 01 Jan 2000 00:10:00 GMT", 10 * time.Minute, 10*time.Minute + 2*time.Second},
		{"999999999", mostRetryAfter, mostRetryAfter + 2*time.Second},
		{"-5", 3 * time.Second, 8 * time.Second},
		{"soon", 3 * time.Second, 8 * time.Second},
		{"Sat, 01 Jan 1990 00:10:00 GMT", 3 * time.Second, 8 * time.Second},
	} {
		t.Run(c.header, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.add("shop")
				w.set(func(r *receiver) {
					r.reply = func(n int, _ *got) (int, http.Header, error) {
						if n == 1 {
							return http.StatusServiceUnavailable, http.Header{"Retry-After": {c.header}}, nil
						}
						return http.StatusOK, nil, nil
					}
				})
				w.issue(2)
				w.within(2*time.Hour, "both", func() bool { return w.settled("shop") })
				all := w.got("")
				if d := all[len(all)-1].at.Sub(all[0].at); d < c.least || d > c.most {
					t.Errorf("the first one was told after %s", d)
				}
				if d := all[1].at.Sub(all[0].at); c.least >= time.Minute && d < c.least {
					t.Errorf("another one was told after %s", d)
				}
			})
		})
	}
}

// An endpoint that does not answer holds nobody else up, and is not waited for
// longer than agreed. A stop breaks its request off; the next start makes it
// again, with the same id.
func TestSlow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("slow")
		w.add("quick")
		w.set(func(r *receiver) {
			r.takes = time.Hour
			r.reply = func(_ int, g *got) (int, http.Header, error) {
				if r.takes = time.Hour; g.path == "/quick" {
					r.takes = 0
				}
				return http.StatusOK, nil, nil
			}
		})
		w.issue(40)
		time.Sleep(timeout - 2*lastWords)
		synctest.Wait()
		if n := len(w.deliveries("quick", chat.WebhookDelivered)); n != 40 {
			t.Errorf("%d of 40 told", n)
		}
		began := time.Now()
		w.restart()
		if d := time.Since(began); d > 2*lastWords {
			t.Errorf("the stop took %s", d)
		}
		time.Sleep(timeout + time.Second)
		synctest.Wait()
		var slow []got
		for _, g := range w.got("") {
			if g.path == "/slow" {
				slow = append(slow, g)
			}
		}
		if len(slow) < 2 || slow[0].message != slow[1].message {
			t.Fatalf("after the restart another message came first: %+v", slow)
		}
		list := w.deliveries("slow", "")
		if d := list[len(list)-1]; d.State != chat.WebhookWaiting || d.Attempts != 1 || d.Error != "it did not answer within 15s" {
			t.Errorf("the first of the list: %+v", d)
		}
	})
}

// Many vouchers are told a few at a time, and more when it goes well.
func TestTogether(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("shop")
		w.set(func(r *receiver) { r.takes = 10 * time.Millisecond })
		w.issue(100)
		w.within(10*time.Second, "all", func() bool { return w.settled("shop") })
		w.equal("requests at once", w.most, mostTogether)
		w.equal("requests", len(w.got("")), 100)
	})
}

// Which events are told: those of vouchers that really changed, and of what
// people say only what was asked for.
func TestWanted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		said := func(topic, kind, from string) {
			_, err := w.store.Append(t.Context(), chat.Event{Topic: topic, Kind: kind, From: from, Body: []byte(`{"text":"` + topic + `"}`)})
			w.must(err)
		}
		w.issue(1)
		said("room:lobby", "message", "alice")
		w.equal("queued without an endpoint", len(w.deliveries("shop", "")), 0)

		w.add("redeemed", func(h *chat.Webhook) { h.Kinds = []string{"voucher.redeemed"} })
		w.add("lobby", func(h *chat.Webhook) { h.Kinds, h.Topics = []string{"message"}, []string{"room:lobby", "room:tea*"} })
		w.add("all", func(h *chat.Webhook) { h.Kinds, h.Topics = []string{"*"}, []string{"*"} })
		code := w.issue(1)[0]
		w.change(code, chat.ActionRedeemed)
		said("room:lobby", "message", "alice")
		said("room:lobby", "like", "alice")
		said("room:teahouse", "message", "bob")
		said("room:other", "message", "alice")
		said("dm:alice:bob", "message", "alice")
		said("user:alice", "voucher.redeemed", "") // published by a backend: no voucher was
		w.within(time.Second, "all", func() bool { return w.settled("all") && w.settled("lobby") && w.settled("redeemed") })
		told := make(map[string][]string)
		for _, g := range w.got("") {
			what := g.payload.Type
			if g.payload.Data.Text != "" {
				what += "/" + g.payload.Data.Text + "/" + g.payload.From
			}
			told[g.path] = append(told[g.path], what)
		}
		slices.Sort(told["/all"])
		w.equal("redeemed", told["/redeemed"], "[voucher.redeemed]")
		w.equal("lobby", told["/lobby"], "[message/room:lobby/alice message/room:teahouse/bob]")
		w.equal("all", told["/all"], "[like/room:lobby/alice message/dm:alice:bob/alice message/room:lobby/alice message/room:other/alice message/room:teahouse/bob voucher.issued voucher.redeemed]")
	})
}

// What was recalled before it could be told is told without its words, and
// they are nowhere in the queue. What retention removed is given up.
func TestRecalledBeforeItWasTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.add("shop", func(h *chat.Webhook) { h.Kinds, h.Topics = []string{"message"}, []string{"room:*"} })
		w.set(func(r *receiver) {
			r.reply = func(int, *got) (int, http.Header, error) { return 0, nil, errDown }
		})
		say := func(topic string) chat.Event {
			out, err := w.store.Append(t.Context(), chat.Event{Topic: topic, Kind: "message", From: "alice", Body: []byte(`{"text":"the words that were not meant"}`)})
			w.must(err)
			return out[0]
		}
		m := say("room:lobby")
		_, err := w.store.Recall(t.Context(), chat.Recall{Event: chat.Event{Topic: "room:lobby", Kind: "message.recalled", From: "alice", Body: []byte(`{"seq":1}`)}, Seq: m.Seq, Window: time.Hour})
		w.must(err)
		for _, d := range w.deliveries("shop", "") {
			if len(d.Event.Body) > 0 {
				t.Errorf("the queue holds %s", d.Event.Body)
			}
		}
		w.set(func(r *receiver) { r.all, r.reply = nil, nil })
		w.within(2*time.Minute, "it", func() bool { return w.settled("shop") })
		if g := w.got(""); len(g) != 1 || g[0].payload.Type != "message" || g[0].payload.Data.Text != "" || !g[0].payload.Data.Recalled {
			t.Errorf("told: %+v", g)
		}

		w.set(func(r *receiver) {
			r.all, r.reply = nil, func(int, *got) (int, http.Header, error) { return 0, nil, errDown }
		})
		say("room:short")
		time.Sleep(61 * time.Minute)
		synctest.Wait()
		if list := w.deliveries("shop", chat.WebhookFailed); len(list) != 1 || !strings.Contains(list[0].Error, "retention") {
			t.Errorf("what retention removed: %+v", w.deliveries("shop", ""))
		}
	})
}

// While a secret is replaced both sign; afterwards the new one alone.
func TestRotation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		fresh := []byte("another secret of thirty two byt")
		w.add("shop", func(h *chat.Webhook) {
			h.Secret, h.OldSecret, h.OldUntil = fresh, secret, time.Now().Add(time.Hour).UnixMilli()
		})
		w.set(func(r *receiver) { r.verify = [][]byte{secret, fresh} })
		w.issue(1)
		w.within(time.Second, "one with two signatures", func() bool { return w.settled("shop") })
		time.Sleep(time.Hour)
		w.set(func(r *receiver) { r.verify = [][]byte{fresh} })
		status, problem, _ := w.sender.Ping(t.Context(), w.hook("shop"))
		if status != http.StatusNoContent || problem != "" {
			t.Errorf("ping: %d %s", status, problem)
		}
		if g := w.got(""); len(g) != 2 || g[1].payload.Type != "ping" || !strings.HasPrefix(g[1].message, "msg_ping_") {
			t.Errorf("the receiver got %+v", g)
		}
	})
}
