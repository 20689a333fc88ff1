package api_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
)

func (m *memory) Schedule(ctx context.Context, s chat.Scheduled) ([]chat.Delivery, error) {
	if m.fail != nil {
		return nil, m.fail
	}
	return m.agenda.Schedule(ctx, s)
}

func (m *memory) Scheduled(ctx context.Context, q chat.ScheduledQuery) ([]chat.Scheduled, error) {
	if m.fail != nil {
		return nil, m.fail
	}
	return m.agenda.Scheduled(ctx, q)
}

func (m *memory) Unschedule(ctx context.Context, id string) (bool, error) {
	return m.agenda.Unschedule(ctx, id)
}

func at(d time.Duration) int64 { return begin.Add(d).UnixMilli() }

func TestTimeToLive(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.ask("POST", "/api/v1/events", `{"to":["alice","bob"],"body":1,"ttl_s":60}`).ok(200, nil)
	h.ask("POST", "/api/v1/events", `{"to":["alice"],"body":1,"ttl_s":null,"at":null}`).ok(200, nil)
	// A time that has passed is now, and the time to live counts from now.
	h.ask("POST", "/api/v1/events", fmt.Sprintf(`{"topic":"room:a","body":1,"ttl_s":5,"at":%d}`, at(-time.Hour))).ok(200, nil)
	for i, want := range []int64{at(time.Minute), at(time.Minute), 0, at(5 * time.Second)} {
		equal(t, fmt.Sprint("expiry of ", i), h.store.events[i].Expires, want)
	}
	for _, ttl := range []string{"0", "-1", "1.5", `"60"`, "315360001", "1e99"} {
		h.ask("POST", "/api/v1/events", `{"topic":"room:a","body":1,"ttl_s":`+ttl+`}`).problem(400, chat.CodeBadRequest)
	}
	equal(t, "events", len(h.store.events), 4)
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var out api.Published
	body := fmt.Sprintf(`{"to":["alice","bob"],"kind":"reminder","body":{"text" : "茶"},"key":"k1","ttl_s":60,"at":%d}`, at(time.Hour))
	r := h.ask("POST", "/api/v1/events", body).ok(200, &out)
	id := out.Scheduled.ID
	equal(t, "answer", strings.TrimSpace(r.Body.String()), fmt.Sprintf(
		`{"events":[{"topic":"user:alice","online":0,"scheduled":%q},{"topic":"user:bob","online":0,"scheduled":%q}],"online":0,"scheduled":{"id":%q,"at":%d}}`,
		id, id, id, at(time.Hour)))
	equal(t, "published", len(h.store.events), 0)

	// The same key again, with one more recipient: only that one is new.
	var again api.Published
	h.ask("POST", "/api/v1/events", strings.Replace(body, `"bob"`, `"bob","carol"`, 1)).ok(200, &again)
	equal(t, "first", again.Events[0], api.PublishedEvent{Topic: "user:alice", Scheduled: id, Duplicate: true})
	equal(t, "third", again.Events[2], api.PublishedEvent{Topic: "user:carol", Scheduled: again.Scheduled.ID})
	if again.Scheduled.ID == id {
		t.Errorf("carol's is %q as well", id)
	}

	var list api.ScheduledPage
	h.ask("GET", "/api/v1/scheduled", "").ok(200, &list)
	equal(t, "listed", len(list.Scheduled), 2)
	e := list.Scheduled[0]
	equal(t, "entry", fmt.Sprint(e.ID, e.At, e.MadeAt, e.Count, e.Topics, e.Kind, e.From, e.Key, string(e.Body), e.TTL),
		fmt.Sprint(id, at(time.Hour), begin.UnixMilli(), 2, []string{"user:alice", "user:bob"}, "reminder", "", "k1", `{"text":"茶"}`, 60))

	h.ask("DELETE", "/api/v1/scheduled/"+id, "").ok(204, nil)
	h.ask("DELETE", "/api/v1/scheduled/"+id, "").problem(404, chat.CodeNotFound)
	h.ask("DELETE", "/api/v1/scheduled/nonsense", "").problem(404, chat.CodeNotFound)
	h.ask("GET", "/api/v1/scheduled", "").ok(200, &list)
	equal(t, "left", len(list.Scheduled), 1)
	equal(t, "whose", list.Scheduled[0].ID, again.Scheduled.ID)
}

func TestScheduledPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 7 {
		h.ask("POST", "/api/v1/events", fmt.Sprintf(`{"topic":"room:a","body":%d,"at":%d}`, i, at(time.Duration(1+i%2)*time.Minute))).ok(200, nil)
	}
	var got []string
	query := "?limit=3"
	for {
		var page api.ScheduledPage
		h.ask("GET", "/api/v1/scheduled"+query, "").ok(200, &page)
		for _, e := range page.Scheduled {
			got = append(got, string(e.Body))
		}
		if page.Cursor == "" {
			break
		}
		query = "?limit=3&cursor=" + url.QueryEscape(page.Cursor)
	}
	equal(t, "order", strings.Join(got, ""), "0246135")
	for _, cursor := range []string{"x", ".", "1.", ".1", "-1.1", "1.1.1", "%00", strings.Repeat("9", 99)} {
		h.ask("GET", "/api/v1/scheduled?cursor="+cursor, "").problem(400, chat.CodeBadRequest)
	}
	r := h.ask("GET", "/api/v1/scheduled", "", "Authorization", "Bearer wrong")
	r.problem(401, chat.CodeUnauthorized)
	h.ask("DELETE", "/api/v1/scheduled/x", "", "Authorization", "").problem(401, chat.CodeUnauthorized)
}

// TestScheduleOnce: an Idempotency-Key holds for what comes later too, also
// when the answer was lost in a crash.
func TestScheduleOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	body := func(n int, d time.Duration) string {
		return fmt.Sprintf(`{"to":["alice"],"body":%d,"at":%d}`, n, at(d))
	}
	h.store.answered = context.DeadlineExceeded // the answer cannot be kept
	var out, again api.Published
	h.ask("POST", "/api/v1/events", body(1, time.Hour), "Idempotency-Key", "x").ok(200, &out)
	h.store.answered = nil
	h.ask("POST", "/api/v1/events", body(2, time.Hour), "Idempotency-Key", "x").problem(409, chat.CodeKeyReused)
	h = &house{t: t, store: h.store, clock: h.clock, log: h.log, opts: h.opts, api: h.api, mux: h.mux}
	h.store.answers = map[string]chat.Answer{}
	h.ask("POST", "/api/v1/events", body(1, 2*time.Hour), "Idempotency-Key", "x").problem(409, chat.CodeKeyReused)
	h.store.answers = map[string]chat.Answer{}
	r := h.ask("POST", "/api/v1/events", body(1, time.Hour), "Idempotency-Key", "x").ok(200, &again)
	equal(t, "id", again.Scheduled.ID, out.Scheduled.ID)
	equal(t, "duplicate", again.Events[0].Duplicate, true)
	equal(t, "replayed", r.Header().Get("Idempotency-Replayed"), "")
	r = h.ask("POST", "/api/v1/events", body(1, time.Hour), "Idempotency-Key", "x").ok(200, &again)
	equal(t, "replayed", r.Header().Get("Idempotency-Replayed"), "true")
	var list api.ScheduledPage
	h.ask("GET", "/api/v1/scheduled", "").ok(200, &list)
	equal(t, "scheduled", len(list.Scheduled), 1)
}

func TestScheduleRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, when := range []string{
		"1795253000", // seconds
		"1795253000000000", "9223372036854775807", "-5", "1.5", `"tomorrow"`, "1e30",
	} {
		p := h.ask("POST", "/api/v1/events", `{"topic":"room:a","body":1,"at":`+when+`}`).problem(400, chat.CodeBadRequest)
		if when == "1795253000" && !strings.Contains(p.Detail, "milliseconds") {
			t.Errorf("the sentence for seconds: %s", p.Detail)
		}
	}
	h.ask("POST", "/api/v1/events", fmt.Sprintf(`{"topic":"nonsense","body":1,"at":%d}`, at(time.Hour))).problem(400, chat.CodeBadTopic)
	h.store.fail = chat.Errorf(chat.CodeStorageFull, "full")
	h.ask("GET", "/api/v1/scheduled", "").ok(507, nil)
	h.store.fail = nil
	var list api.ScheduledPage
	h.ask("GET", "/api/v1/scheduled", "").ok(200, &list)
	equal(t, "scheduled", len(list.Scheduled), 0)
}
