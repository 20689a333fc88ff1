package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
	"teahouse/db"
)

// hooks is what memory has of webhooks: a database.
type hooks interface{ api.Webhooks }

// courier sends nothing.
type courier struct {
	pinged  []chat.Webhook
	hurried []string
	problem string
}

func (c *courier) Ping(_ context.Context, w chat.Webhook) (int, string, time.Duration) {
	c.pinged = append(c.pinged, w)
	if c.problem != "" {
		return http.StatusTeapot, c.problem, time.Second
	}
	return http.StatusNoContent, "", 20 * time.Millisecond
}

func (c *courier) Hurry(id string) { c.hurried = append(c.hurried, id) }

func webhookHouse(t *testing.T) (*house, *db.Store, *courier) {
	h := newHouse(t)
	s, err := db.Open(t.Context(), db.Options{Dir: t.TempDir(), Clock: h.clock.now})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	c := &courier{}
	h.store.hooks, h.opts.Courier = s, c
	h.restart()
	return h, s, c
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	h, store, courier := webhookHouse(t)
	op := operator()
	var made api.WebhookSecret
	h.ask("POST", "/api/v1/webhooks", `{"url":" https://shop.example/hook.php ","note":"shop"}`, op...).ok(201, &made)
	w := made.Webhook
	if !strings.HasPrefix(made.Secret, "whsec_") || len(made.Secret) < 40 || w.URL != "https://shop.example/hook.php" || w.Status != "active" ||
		strings.Join(w.Events, " ") != "voucher.*" || w.AllowPrivate || w.Topics == nil {
		t.Fatalf("made: %+v", made)
	}
	// An API key may look and send again, and not say where events go.
	h.ask("POST", "/api/v1/webhooks", `{"url":"https://shop.example"}`).problem(403, chat.CodeForbidden)
	h.ask("DELETE", "/api/v1/webhooks/"+w.ID, "").problem(403, chat.CodeForbidden)
	list := h.ask("GET", "/api/v1/webhooks", "").ok(200, nil)
	if body := list.Body.String(); !strings.Contains(body, w.ID) || strings.Contains(body, "secret") || strings.Contains(body, made.Secret[10:30]) {
		t.Errorf("the list: %s", body)
	}

	v, err := store.Issue(t.Context(), chat.VoucherOrder{Name: "tea", Owner: "alice", Count: 3, By: "shop", Batch: "b"})
	must(t, err)
	var page api.WebhookDeliveries
	h.ask("GET", "/api/v1/webhooks/"+w.ID+"/deliveries?limit=2&state=waiting", "").ok(200, &page)
	if len(page.Deliveries) != 2 || page.Cursor == "" || page.Deliveries[0].Voucher != v[2].Code || page.Deliveries[0].Event != "voucher.issued" ||
		page.Deliveries[0].State != "waiting" || page.Deliveries[0].NextAt != begin.UnixMilli() || !strings.HasPrefix(page.Deliveries[0].WebhookID, "msg_") {
		t.Fatalf("the first page: %+v", page)
	}
	h.ask("GET", "/api/v1/webhooks/"+w.ID+"/deliveries?limit=2&cursor="+page.Cursor, "").ok(200, &page)
	if len(page.Deliveries) != 1 || page.Deliveries[0].Voucher != v[0].Code {
		t.Fatalf("the second page: %+v", page)
	}
	h.ask("GET", "/api/v1/webhooks/"+w.ID+"/deliveries?cursor=%25", "").problem(400, chat.CodeBadRequest)
	h.ask("GET", "/api/v1/webhooks/wh_none/deliveries", "").problem(404, chat.CodeNotFound)

	// One is given up, and sent again.
	must(t, store.SettleDelivery(t.Context(), chat.WebhookAttempt{Webhook: w.ID, Seq: 1, State: chat.WebhookFailed, At: 5, Status: 500, Error: "it answered 500"}))
	var info struct{ Webhooks []api.WebhookInfo }
	h.ask("GET", "/api/v1/webhooks", "").ok(200, &info)
	equal(t, "failed", info.Webhooks[0].Failed, 1)
	equal(t, "waiting", info.Webhooks[0].Waiting, 2)
	var again api.WebhookDelivery
	h.ask("POST", "/api/v1/webhooks/"+w.ID+"/deliveries/1/resend", "").ok(200, &again)
	if again.State != "waiting" || again.NextAt == 0 || again.Attempts != 1 || again.Error != "it answered 500" {
		t.Errorf("sent again: %+v", again)
	}
	h.ask("POST", "/api/v1/webhooks/"+w.ID+"/deliveries/99/resend", "").problem(404, chat.CodeNotFound)
	must(t, store.SettleDelivery(t.Context(), chat.WebhookAttempt{Webhook: w.ID, Seq: 2, State: chat.WebhookFailed}))
	var count api.Resent
	h.ask("POST", "/api/v1/webhooks/"+w.ID+"/resend-failed", "").ok(200, &count)
	equal(t, "sent again", count.Count, 1)
	equal(t, "hurried", strings.Join(courier.hurried, " "), w.ID+" "+w.ID)

	// A ping, good and bad.
	var ping api.WebhookPing
	h.ask("POST", "/api/v1/webhooks/"+w.ID+"/ping", "").ok(200, &ping)
	equal(t, "ping", ping, api.WebhookPing{OK: true, Status: 204, TookMS: 20})
	courier.problem = "it answered 418 I'm a teapot"
	h.ask("POST", "/api/v1/webhooks/"+w.ID+"/ping", "").ok(200, &ping)
	equal(t, "ping", ping, api.WebhookPing{Status: 418, Error: courier.problem, TookMS: 1000})

	// The secret is replaced; the one before signs for a day.
	var rotated api.WebhookSecret
	h.ask("POST", "/api/v1/webhooks/"+w.ID+"/rotate", "", op...).ok(200, &rotated)
	kept, err := store.Webhooks(t.Context())
	must(t, err)
	if rotated.Secret == made.Secret || rotated.OldUntil != begin.Add(24*time.Hour).UnixMilli() || len(kept[0].OldSecret) != 32 || string(kept[0].OldSecret) == string(kept[0].Secret) {
		t.Errorf("rotated: %+v", rotated)
	}

	// Disabled and enabled.
	var changed api.WebhookInfo
	h.ask("PATCH", "/api/v1/webhooks/"+w.ID, `{"enabled":false,"events":["voucher.redeemed"]}`, op...).ok(200, &changed)
	if changed.Status != "disabled" || changed.DisabledWhy != "by the operator" || changed.Events[0] != "voucher.redeemed" || changed.Waiting != 3 {
		t.Errorf("disabled: %+v", changed)
	}
	h.ask("PATCH", "/api/v1/webhooks/"+w.ID, `{"enabled":true,"url":"http://127.0.0.1/x"}`, op...).problem(400, chat.CodeBadRequest)
	changed = api.WebhookInfo{}
	h.ask("PATCH", "/api/v1/webhooks/"+w.ID, `{"enabled":true,"url":"http://127.0.0.1/x","allow_private":true}`, op...).ok(200, &changed)
	if changed.Status != "active" || changed.DisabledWhy != "" || changed.URL != "http://127.0.0.1/x" {
		t.Errorf("enabled: %+v", changed)
	}
	h.ask("PATCH", "/api/v1/webhooks/wh_none", `{"enabled":true}`, op...).problem(404, chat.CodeNotFound)

	h.ask("DELETE", "/api/v1/webhooks/"+w.ID, "", op...).ok(204, nil)
	h.ask("DELETE", "/api/v1/webhooks/"+w.ID, "", op...).problem(404, chat.CodeNotFound)
	deliveries, err := store.Deliveries(t.Context(), chat.WebhookQuery{Webhook: w.ID})
	must(t, err)
	equal(t, "deliveries of who is gone", len(deliveries), 0)
	if log := h.log.String(); strings.Contains(log, "whsec_") || strings.Contains(log, made.Secret[10:30]) {
		t.Errorf("the log tells the secret: %s", log)
	}
}

// What cannot be an endpoint is refused with a reason.
func TestWebhookRefused(t *testing.T) {
	t.Parallel()
	h, _, _ := webhookHouse(t)
	for body, says := range map[string]string{
		`{"url":"shop.example"}`:                                                             "a whole one",
		`{"url":"ftp://shop.example"}`:                                                       "a whole one",
		`{"url":"https:///x"}`:                                                               "a whole one",
		`{"url":"https://shop.example/a b"}`:                                                 "a whole one",
		`{"url":"https://me:pass@shop.example"}`:                                             "leave name and password out",
		`{"url":"https://shop.example/#x"}`:                                                  "from # on",
		`{"url":"http://127.0.0.1/x"}`:                                                       "--allow-private",
		`{"url":"http://[::1]:80/x"}`:                                                        "--allow-private",
		`{"url":"http://[::ffff:10.0.0.1]/x"}`:                                               "--allow-private",
		`{"url":"http://LOCALHOST/x"}`:                                                       "--allow-private",
		`{"url":"http://192.168.1.4/x"}`:                                                     "--allow-private",
		`{"url":"http://169.254.169.254/x"}`:                                                 "--allow-private",
		`{"url":"https://shop.example","events":["message"]}`:                                "say in topics",
		`{"url":"https://shop.example","events":["message"],"topics":["lobby"]}`:             "begins neither",
		`{"url":"https://shop.example","events":["vou*cher"]}`:                               "neither a name nor",
		`{"url":"https://shop.example","events":["a\nb"]}`:                                   "neither a name nor",
		`{"url":"https://shop.example","secret":"hunter2hunter2hunter2hunter2"}`:             "must be whsec_",
		`{"url":"https://shop.example","secret":"whsec_c2hvcnQ="}`:                           "24 to 64",
		`{"url":"https://shop.example","note":"` + strings.Repeat("n", 101) + `"}`:           "at most 100",
		`{"url":"https://shop.example/` + strings.Repeat("n", 1000) + `"}`:                   "at most 1000",
		`{"url":"https://shop.example","events":[` + strings.Repeat(`"a",`, 50) + `"b"]}`:    "at most 50",
		`{"url":"https://shop.example","events":["voucher.*"],"topics":["room:a*b"]}`:        "neither a name nor",
		`{"url":"https://shop.example","events":["voucher.*"],"topics":["\u202eroom:evil"]}`: "neither a name nor",
	} {
		if p := h.ask("POST", "/api/v1/webhooks", body, operator()...).problem(400, chat.CodeBadRequest); !strings.Contains(p.Detail, says) {
			t.Errorf("%s: %s", body, p.Detail)
		}
	}
	// The secret is shown once, also to who repeats the request.
	body := `{"url":"https://shop.example/a","secret":"whsec_` + strings.Repeat("QUJD", 10) + `"}`
	once := append(operator(), "Idempotency-Key", "1")
	h.ask("POST", "/api/v1/webhooks", body, once...).ok(201, nil)
	h.ask("POST", "/api/v1/webhooks", body, once...).problem(409, chat.CodeKeyReused)
	for _, a := range h.store.answers {
		if strings.Contains(string(a.Body), "whsec_") {
			t.Errorf("kept: %s", a.Body)
		}
	}
	for range chat.MaxWebhooks - 1 {
		h.ask("POST", "/api/v1/webhooks", `{"url":"https://shop.example/a"}`, operator()...).ok(201, nil)
	}
	h.ask("POST", "/api/v1/webhooks", `{"url":"https://shop.example/a"}`, operator()...).problem(400, chat.CodeBadRequest)
	var out struct{ Webhooks []json.RawMessage }
	h.ask("GET", "/api/v1/webhooks", "").ok(200, &out)
	equal(t, "webhooks", len(out.Webhooks), chat.MaxWebhooks)
}
