package api_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"teahouse/chat"
	"teahouse/chat/api"
)

func TestPublish(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.online["user:alice"], h.store.online["user:bob"] = 2, 1

	r := h.ask("POST", "/api/v1/events", `{"topic":"room:lobby","body":{"text" : "<hi> & 你好"},"unknown":1}`).ok(200, nil)
	equal(t, "answer", strings.TrimSpace(r.Body.String()), `{"events":[{"topic":"room:lobby","seq":1,"online":0}],"online":0}`)
	e := h.store.events[0]
	equal(t, "event", fmt.Sprintf("%s %s %q %q %s", e.Topic, e.Kind, e.From, e.Key, e.Body), `room:lobby message "" "" {"text":"<hi> & 你好"}`)

	r = h.ask("POST", "/api/v1/events", `{"to":["alice","bob","alice"],"kind":"order.paid","from":"shop","key":"k1","body":null}`).ok(200, nil)
	equal(t, "answer", strings.TrimSpace(r.Body.String()), `{"events":[{"topic":"user:alice","seq":2,"online":2},{"topic":"user:bob","seq":3,"online":1}],"online":3}`)
	e = h.store.events[2]
	equal(t, "event", fmt.Sprintf("%s %s %q %q %s", e.Topic, e.Kind, e.From, e.Key, e.Body), `user:bob order.paid "shop" "k1" null`)

	// The same key again: the first event, and nobody is told.
	var out api.Published
	h.ask("POST", "/api/v1/events", `{"to":["bob"],"kind":"order.paid","from":"shop","key":"k1","body":null}`).ok(200, &out)
	equal(t, "again", out.Events[0], api.PublishedEvent{Topic: "user:bob", Seq: 3, Duplicate: true})

	for _, body := range []string{`0`, `"x"`, `[]`, `[1,{"a":[]}]`, `false`, `{}`, `-1.5e3`} {
		h.ask("POST", "/api/v1/events", `{"topic":"room:lobby","body":`+body+`}`).ok(200, nil)
		equal(t, "body", string(h.store.events[len(h.store.events)-1].Body), body)
	}
	// Some languages send null for what they do not mean to say.
	h.ask("POST", "/api/v1/events", `{"topic":null,"to":["alice"],"kind":null,"from":null,"key":null,"body":1}`).ok(200, nil)
	h.ask("POST", "/api/v1/events", `{"topic":"room:lobby","to":null,"body":1}`).ok(200, nil)
	// However the caller's HTTP library calls JSON.
	for _, ct := range []string{"", "application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"} {
		h.ask("POST", "/api/v1/events", `{"topic":"room:lobby","body":1}`, "Content-Type", ct).ok(200, nil)
	}
}

func TestPublishToMany(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	to := make([]string, 10_000)
	for i := range to {
		to[i] = fmt.Sprintf("%s%05d", strings.Repeat("茶", 19), i) // 62 bytes each
	}
	ask := func(to []string) *reply {
		b, err := json.Marshal(map[string]any{"to": to, "body": strings.Repeat("x", 16<<10-2)})
		must(t, err)
		return h.ask("POST", "/api/v1/events", string(b))
	}
	var out api.Published
	ask(to).ok(200, &out)
	equal(t, "events", len(out.Events), 10_000)
	equal(t, "last", out.Events[9999].Topic, "user:"+to[9999])
	ask(append(to, "one more")).problem(400, chat.CodeBadRequest)
	ask([]string{}).problem(400, chat.CodeBadRequest)
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, c := range []struct {
		body   string
		status int
		code   chat.Code
	}{
		{``, 400, chat.CodeBadRequest},
		{`{`, 400, chat.CodeBadRequest},
		{`[]`, 400, chat.CodeBadRequest},
		{`"x"`, 400, chat.CodeBadRequest},
		{`a=b&c=d`, 400, chat.CodeBadRequest},
		{`{}`, 400, chat.CodeBadRequest},
		{`{"body":1}`, 400, chat.CodeBadRequest},
		{`{"topic":"room:a"}`, 400, chat.CodeBadRequest},
		{`{"topic":"room:a","to":["b"],"body":1}`, 400, chat.CodeBadRequest},
		{`{"topic":"room:a","to":[],"body":1}`, 400, chat.CodeBadRequest},
		{`{"topic":5,"body":1}`, 400, chat.CodeBadRequest},
		{`{"to":"alice","body":1}`, 400, chat.CodeBadRequest},
		{`{"to":["alice",7],"body":1}`, 400, chat.CodeBadRequest},
		{`{"topic":"lobby","body":1}`, 400, chat.CodeBadTopic},
		{`{"topic":"room:","body":1}`, 400, chat.CodeBadTopic},
		{`{"to":["ok",""],"body":1}`, 400, chat.CodeBadUser},
		{`{"to":["` + strings.Repeat("x", 65) + `"],"body":1}`, 400, chat.CodeBadUser},
		{`{"topic":"room:a","from":" x","body":1}`, 400, chat.CodeBadUser},
		{`{"topic":"room:a","kind":"a b","body":1}`, 400, chat.CodeBadRequest},
		{`{"topic":"room:a","key":"` + strings.Repeat("k", 129) + `","body":1}`, 400, chat.CodeBadRequest},
		{`{"topic":"room:a","body":"` + strings.Repeat("x", 16<<10) + `"}`, 413, chat.CodeTooLarge},
		{`{"topic":"room:a","body":"` + strings.Repeat("x", 2<<20) + `"}`, 413, chat.CodeTooLarge},
		{`{"topic":"room:a","body":"` + strings.Repeat("x", 4<<20) + `"}`, 413, chat.CodeTooLarge},
		{"{\"topic\":\"room:a\",\"body\":\"\xff\"}", 400, chat.CodeBadRequest},
	} {
		for _, key := range []string{"", "some key " + c.body[:min(len(c.body), 99)]} {
			if !utf8.ValidString(key) {
				continue
			}
			h.ask("POST", "/api/v1/events", c.body, "Idempotency-Key", key).problem(c.status, c.code)
		}
	}
	equal(t, "calls of Publish", h.store.calls, 0)

	p := h.ask("POST", "/api/v1/events", `{"topic":5,"body":1,"to":[7]}`).problem(400, chat.CodeBadRequest)
	if len(p.Errors) < 2 || !strings.HasPrefix(p.Errors[0].Location, "body.") || !strings.Contains(p.Detail, p.Errors[0].Message) {
		t.Errorf("errors: %+v", p)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := 1; i <= 120; i++ { // odd seqs to the lobby
		topic := "room:lobby"
		if i%2 == 0 {
			topic = "room:other"
		}
		h.ask("POST", "/api/v1/events", fmt.Sprintf(`{"topic":%q,"key":"k%d","from":"alice","body":{"n":%d}}`, topic, i, i)).ok(200, nil)
	}
	page := func(query string, first, last int64, n int, more bool) {
		t.Helper()
		var out api.History
		h.ask("GET", "/api/v1/topics/room:lobby/events"+query, "").ok(200, &out)
		if len(out.Events) != n || out.More != more || out.Epoch != "e1" {
			t.Fatalf("%s: %d events, more %v, epoch %q", query, len(out.Events), out.More, out.Epoch)
		}
		if n > 0 && (out.Events[0].Seq != first || out.Events[n-1].Seq != last) {
			t.Fatalf("%s: from %d to %d", query, out.Events[0].Seq, out.Events[n-1].Seq)
		}
	}
	page("", 21, 119, 50, true)
	page("?limit=60", 1, 119, 60, false)
	page("?limit=500", 1, 119, 60, false)
	page("?limit=1", 119, 119, 1, true)
	page("?before=21", 1, 19, 10, false)
	page("?before=21&limit=4", 13, 19, 4, true)
	page("?before=1", 0, 0, 0, false)
	page("?before=0", 0, 0, 0, false)
	page("?after=0", 1, 99, 50, true)
	page("?after=99", 101, 119, 10, false)
	page("?after=99&limit=10", 101, 119, 10, false)
	page("?after=99&limit=9", 101, 117, 9, true)
	page("?after=119", 0, 0, 0, false)
	page("?after=9007199254740991", 0, 0, 0, false)
	page("?after=10&before=20", 11, 19, 5, false)
	page("?after=10&before=20&limit=2", 11, 13, 2, true)
	page("?after=&before=&limit=", 21, 119, 50, true)

	r := h.ask("GET", "/api/v1/topics/room:lobby/events?limit=1", "").ok(200, nil)
	equal(t, "shape", strings.TrimSpace(r.Body.String()),
		`{"events":[{"topic":"room:lobby","seq":119,"kind":"message","from":"alice","key":"k119","body":{"n":119},"at":1772600767000}],"more":true,"epoch":"e1"}`)
	r = h.ask("GET", "/api/v1/topics/room:nobody/events", "").ok(200, nil)
	equal(t, "empty", strings.TrimSpace(r.Body.String()), `{"events":[],"more":false,"epoch":"e1"}`)

	for _, q := range []string{"?limit=0", "?limit=501", "?limit=x", "?limit=-1", "?after=-1", "?after=x", "?before=1.5"} {
		h.ask("GET", "/api/v1/topics/room:lobby/events"+q, "").problem(400, chat.CodeBadRequest)
	}
	h.ask("GET", "/api/v1/topics/lobby/events", "").problem(400, chat.CodeBadTopic)
}

func TestTopicNamesInPaths(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, topic := range []string{
		"room:lobby", "room:a/b", "room:a//b", "room:../..", "room:.", "room:100%", "room:%2F", "room:茶馆", "room:a b",
		"room:a?b#c", "room:a+b", "room:é🍵", "user:張三/李四", "dm:a%3Ab:c", "room:{topic}", `room:"quoted"`, "room:a;b&c=d",
	} {
		b, err := json.Marshal(map[string]any{"topic": topic, "body": 1})
		must(t, err)
		h.ask("POST", "/api/v1/events", string(b)).ok(200, nil)
		var out api.History
		h.ask("GET", "/api/v1/topics/"+url.PathEscape(topic)+"/events", "").ok(200, &out)
		if len(out.Events) != 1 || out.Events[0].Topic != topic {
			t.Errorf("%s: %+v", topic, out)
		}
		all := ""
		for i := range len(topic) {
			all += fmt.Sprintf("%%%02X", topic[i])
		}
		h.ask("GET", "/api/v1/topics/"+all+"/events", "").ok(200, &out)
		if len(out.Events) != 1 || out.Events[0].Topic != topic {
			t.Errorf("%s as %s: %+v", topic, all, out)
		}
	}
	h.ask("GET", "/api/v1/topics/room%3Alobby/events", "").ok(200, nil)
}

func TestSessions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.sessions = []chat.Session{
		{ID: "s2", User: "bob", Device: "web-1", Dialect: "native", Addr: "192.168.0.7", Agent: "curl", Opened: 5, LastSeen: 6},
		{ID: "s1", User: "alice", Opened: 3, LastSeen: 4, Ended: 7, Reason: chat.CodePingTimeout},
	}
	r := h.ask("GET", "/api/v1/sessions", "").ok(200, nil)
	equal(t, "online", strings.TrimSpace(r.Body.String()),
		`{"sessions":[{"id":"s2","user":"bob","device":"web-1","dialect":"native","addr":"192.168.0.7","agent":"curl","opened_at":5,"last_seen":6,"online":true}]}`)
	r = h.ask("GET", "/api/v1/sessions?all=true&user=alice", "").ok(200, nil)
	equal(t, "ended", strings.TrimSpace(r.Body.String()),
		`{"sessions":[{"id":"s1","user":"alice","device":"","dialect":"","addr":"","agent":"","opened_at":3,"last_seen":4,"ended_at":7,"reason":"ping_timeout","online":false}]}`)
	r = h.ask("GET", "/api/v1/sessions?user=nobody", "").ok(200, nil)
	equal(t, "none", strings.TrimSpace(r.Body.String()), `{"sessions":[]}`)
	h.ask("GET", "/api/v1/sessions?user=%00", "").problem(400, chat.CodeBadUser)

	r = h.ask("DELETE", "/api/v1/sessions/s2?reason=too+loud", "").ok(204, nil)
	equal(t, "body of a 204", r.Body.Len(), 0)
	equal(t, "reason", h.store.kicked["s2"], "too loud")
	h.ask("DELETE", "/api/v1/sessions/s2", "").problem(404, chat.CodeNotFound)
	h.ask("DELETE", "/api/v1/sessions/s1", "").problem(404, chat.CodeNotFound)
}
