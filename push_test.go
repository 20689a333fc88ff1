package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pushed is the answer to a push.
type pushed struct {
	Events []struct {
		Topic, Scheduled string
		Seq              int64
		Online           int
		Duplicate        bool
	}
	Online    int
	Scheduled struct {
		ID string
		At int64
	}
}

func (h *house) push(body map[string]any) (out pushed) {
	h.t.Helper()
	a := h.call("POST", "/api/v1/events", body)
	if a.status != http.StatusOK {
		h.t.Fatalf("push: %d %s", a.status, a.body)
	}
	a.into(h.t, &out)
	return out
}

// TestPushToThousand: one call, one append, and for each user whether it is
// stored and to how many live connections it went, within bounds of time and
// memory.
func TestPushToThousand(t *testing.T) {
	t.Parallel()
	h := spawn(t, t.TempDir())
	devices := map[string]int{"u0003": 1, "u0500": 3, "u0999": 2}
	var guests []*guest
	for user, n := range devices {
		for range n {
			g, _ := enter(t, h.ws(), user)
			guests = append(guests, g)
		}
	}
	enter(t, h.ws(), "somebody else")
	users := make([]string, 1000)
	for i := range users {
		users[i] = fmt.Sprintf("u%04d", i)
	}
	text := strings.Repeat("茶", 5000) // 15 kB for each
	began := time.Now()
	out := h.push(map[string]any{"to": users, "kind": "notice", "key": "k1", "body": map[string]string{"text": text}})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if len(out.Events) != 1000 || out.Online != 6 {
		t.Fatalf("%d events, %d online", len(out.Events), out.Online)
	}
	for i, e := range out.Events {
		if e.Topic != "user:"+users[i] || e.Seq != out.Events[0].Seq+int64(i) || e.Online != devices[users[i]] || e.Duplicate || e.Scheduled != "" {
			t.Fatalf("event %d: %+v", i, e)
		}
	}
	for _, g := range guests {
		if f := g.expect("the push", func(f frame) bool { return f.Op == "event" }); f.Kind != "notice" || len(f.Body) < len(text) {
			t.Errorf("got %.100s", f)
		}
	}
	first, last := h.history("user:u0000"), h.history("user:u0999")
	if len(first) != 1 || len(last) != 1 || first[0].At != last[0].At {
		t.Errorf("not one append: %d and %d events", len(first), len(last))
	}
	again := h.push(map[string]any{"to": users, "kind": "notice", "key": "k1", "body": map[string]string{"text": text}})
	if again.Online != 0 || !again.Events[999].Duplicate || again.Events[999].Seq != out.Events[999].Seq {
		t.Errorf("the same again: %+v", again.Events[999])
	}
	// Most of it is the race detector, where that is on.
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid)); err == nil {
		m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
		if m == nil {
			t.Fatalf("%s", status)
		}
		if kb, _ := strconv.Atoi(string(m[1])); kb > 400_000 {
			t.Errorf("the server used %d kB at its most", kb)
		} else {
			t.Logf("%d kB at its most", kb)
		}
	}
}

// TestTimeToLive: over a restart as well.
func TestTimeToLive(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := spawn(t, data)
	alice, w := enter(t, h.ws(), "alice")
	h.push(map[string]any{"to": []string{"alice"}, "body": "short", "ttl_s": 1})
	h.push(map[string]any{"to": []string{"alice"}, "body": "long", "ttl_s": 3600})
	for _, want := range []string{`"short"`, `"long"`} {
		if f := alice.expect("an event", func(f frame) bool { return f.Op == "event" }); string(f.Body) != want {
			t.Errorf("got %s, want %s", f, want)
		}
	}
	eventually(t, "the end of the short one", func() bool { return len(h.history("user:alice")) == 1 })
	for range 2 {
		back, _ := enter(t, h.ws(), "alice", "position", w.Position)
		if f := back.expect("an event", func(f frame) bool { return f.Op == "event" }); string(f.Body) != `"long"` {
			t.Errorf("after coming back: %s", f)
		}
		h.kill()
		h = spawn(t, data)
	}
}

// TestScheduledSurvivesKills: whenever the server dies, everything scheduled
// is delivered once, not before its time; what was cancelled never.
func TestScheduledSurvivesKills(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	data := t.TempDir()
	h := spawn(t, data)
	const events = 300
	begin := time.Now()
	at := make(map[string]int64) // body -> when
	var ids []string
	topics := []string{"user:alice", "user:bob", "room:lobby"}
	for i := range events {
		when := begin.Add(time.Duration(1000+random.IntN(5000)) * time.Millisecond).UnixMilli()
		body := map[string]any{"body": strconv.Itoa(i), "at": when}
		if i%3 == 0 {
			body["to"] = []string{"alice", "bob"}
		} else {
			body["topic"] = topics[i%len(topics)]
		}
		if i%2 == 0 {
			body["key"] = fmt.Sprint("k", i)
		}
		out := h.push(body)
		at[strconv.Itoa(i)] = when
		if out.Scheduled.ID != "" { // the machine may be slow: then it was due at once
			ids = append(ids, out.Scheduled.ID)
		}
	}
	far := h.push(map[string]any{"topic": "room:lobby", "body": "far", "at": time.Now().Add(time.Hour).UnixMilli(), "key": "far"})
	never := h.push(map[string]any{"topic": "room:lobby", "body": "never", "at": time.Now().Add(5 * time.Second).UnixMilli()})
	if a := h.call("DELETE", "/api/v1/scheduled/"+never.Scheduled.ID, nil); a.status != http.StatusNoContent {
		t.Fatalf("cancel: %d %s", a.status, a.body)
	}
	rounds := 0
	for end := begin.Add(6500 * time.Millisecond); time.Now().Before(end); rounds++ {
		<-time.After(time.Duration(random.IntN(700)) * time.Millisecond)
		h.kill()
		h = spawn(t, data)
	}
	var list struct{ Scheduled []struct{ ID string } }
	eventually(t, "the last delivery", func() bool {
		h.get("/api/v1/scheduled?limit=500", &list)
		return len(list.Scheduled) == 1 && list.Scheduled[0].ID == far.Scheduled.ID
	})
	t.Logf("%d kills, %d of %d were scheduled", rounds, len(ids), events)
	total := 0
	for _, topic := range topics {
		seen := make(map[string]bool)
		for _, f := range h.history(topic) {
			body, err := strconv.Unquote(string(f.Body))
			if err != nil || seen[body] || f.At < at[body] {
				t.Errorf("%s: %s at %d, which was for %d; seen before: %v", topic, f.Body, f.At, at[body], seen[body])
			}
			seen[body] = true
			total++
		}
	}
	if want := events + events/3; total != want {
		t.Errorf("%d events were delivered, want %d", total, want)
	}
	// Keys go on to hold, for what was delivered and for what is to come.
	out := h.push(map[string]any{"to": []string{"alice", "bob"}, "body": "x", "key": "k0", "at": time.Now().Add(time.Hour).UnixMilli()})
	if e := out.Events[0]; !e.Duplicate || e.Seq == 0 || e.Scheduled != "" {
		t.Errorf("a key that was delivered: %+v", e)
	}
	out = h.push(map[string]any{"topic": "room:lobby", "body": "x", "key": "far"})
	if e := out.Events[0]; !e.Duplicate || e.Scheduled != far.Scheduled.ID || e.Seq != 0 || out.Scheduled != far.Scheduled {
		t.Errorf("a key that is scheduled: %+v", e)
	}
	if a := h.call("DELETE", "/api/v1/scheduled/"+ids[random.IntN(len(ids))], nil); a.status != http.StatusNotFound || a.problem(t) != "not_found" {
		t.Errorf("cancelling what was delivered: %d %s", a.status, a.body)
	}
}

// form posts fields as a backend does, without the API key.
func form(t testing.TB, to string, fields url.Values) (int, string) {
	t.Helper()
	res, err := backend.PostForm(to, fields)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

var pushPortLine = regexp.MustCompile(`push to (http://\S+) without a key`)

// TestFormPush: the old backend's POST reaches the old client's devices, with
// its own address alone, over the main port with a key and over the one of
// this computer without.
func TestFormPush(t *testing.T) {
	t.Parallel()
	h := spawn(t, t.TempDir(), "--log-level=debug", "--push-addr=127.0.0.1:0", "--event-roles=user,admin", "--event-push=order_*")
	var m []string
	eventually(t, "the second line", func() bool {
		m = pushPortLine.FindStringSubmatch(h.stdout.String())
		return m != nil
	})
	port := m[1]
	login := func(u string) *guest {
		t.Helper()
		g := dial(t, strings.TrimSuffix(h.ws(), "/ws")+"/")
		g.sayRaw(fmt.Sprintf(`{"event":"login","data":{"u":%q,"token":"x"},"uuid":1600000000001}`, u))
		g.expect("the answer", func(f frame) bool { return strings.Contains(f.raw, `"登录成功"`) })
		return g
	}
	phone, web, admin := login("user:6"), login("user:6"), login("admin:7")
	fields := url.Values{"event": {"chat1"}, "msg": {`{"n":12345678901234567890}`}, "to": {"user:6,online:admin:7,user:8"}, "tab": {"<2>"}}
	for _, to := range []string{h.url + "/?key=" + testKey, h.url + "/compat/event?key=" + testKey, port + "/", port + "/any/path?key=" + testKey} {
		if status, body := form(t, to, fields); status != 200 || body != "ok" {
			t.Fatalf("POST %s: %d %s", to, status, body)
		}
		for g, u := range map[*guest]string{phone: "user:6", web: "user:6", admin: "admin:7"} {
			f := g.expect("the push", func(f frame) bool { return strings.Contains(f.raw, `"app"`) })
			for _, want := range []string{`"event":"chat1"`, `"msg":{"n":12345678901234567890}`, `"to":"` + u + `"`, `"type":"app"`, `"tab":"`} {
				if !strings.Contains(f.raw, want) {
					t.Errorf("%s got %s, without %s", u, f.raw, want)
				}
			}
			if strings.Contains(f.raw, "user:8") || strings.Contains(f.raw, testKey) {
				t.Errorf("%s got %s", u, f.raw)
			}
		}
	}
	for _, c := range []struct {
		to     string
		fields url.Values
		status int
		body   string
	}{
		{h.url + "/?key=not-this-one", fields, 401, "fail: "},
		{h.url + "/", fields, 401, "fail: "},
		{h.url + "/", url.Values{"event": {"chat1"}, "to": {"user:6"}, "key": {"secret-of-a-form"}}, 401, "fail: "},
		{port + "/", url.Values{"event": {"order_81"}, "to": {"user:6"}}, 200, "ok"},
		{port + "/", url.Values{"event": {"order"}, "to": {"user:6"}}, 200, "fail"},
		{port + "/", url.Values{"event": {"chat1"}, "to": {","}}, 400, "fail"},
		{port + "/", url.Values{"event": {"chat1"}, "to": {"shop:6"}}, 400, "fail"},
	} {
		status, body := form(t, c.to, c.fields)
		if status != c.status || body != c.body && !(c.body == "fail: " && strings.HasPrefix(body, c.body)) {
			t.Errorf("POST %s %v: %d %s", c.to, c.fields, status, body)
		}
	}
	// Nothing else is disturbed.
	if a := h.call("GET", "/", nil); a.status != 200 || !strings.Contains(a.header.Get("Content-Type"), "text/html") {
		t.Errorf("GET /: %d %s", a.status, a.header.Get("Content-Type"))
	}
	if a := h.call("POST", "/api/v1/events", map[string]any{"topic": lobby, "body": 1}); a.status != 200 {
		t.Errorf("POST /api/v1/events: %d %s", a.status, a.body)
	}
	if a := h.call("POST", "/nowhere", "a=1"); a.status == 200 {
		t.Errorf("POST of a page that is not there: %d %s", a.status, a.body)
	}
	// It waits for who was away, over a kill.
	before := len(h.history("user:8"))
	if before != 4 {
		t.Errorf("the inbox of user 8 has %d events", before)
	}
	log := h.stderr.String() + h.stdout.String()
	h.kill()
	for _, secret := range []string{testKey, "not-this-one", "secret-of-a-form"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q stands in the log: %s", secret, log)
		}
	}
}

// TestFormPushOff: with --compat=false nobody pushes by a form.
func TestFormPushOff(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--compat=false")
	for _, path := range []string{"/", "/compat/event"} {
		if status, body := form(t, h.url+path+"?key="+testKey, url.Values{"event": {"chat1"}, "to": {"user:6"}}); status == 200 || body == "ok" {
			t.Errorf("POST %s: %d %s", path, status, body)
		}
	}
	if got := h.history("user:6"); len(got) != 0 {
		t.Errorf("the inbox: %v", got)
	}
}

// TestPushFlags: what cannot be is refused in a sentence, by its exit code.
func TestPushFlags(t *testing.T) {
	t.Parallel()
	busy := open(t, t.TempDir())
	for _, tt := range []struct {
		args  []string
		code  int
		words []string
	}{
		{[]string{"--push-addr=0.0.0.0:6001"}, exitUsage, []string{"0.0.0.0:6001", "127.0.0.1:6001", "without a key"}},
		{[]string{"--push-addr=:6001"}, exitUsage, []string{":6001", "127.0.0.1:6001"}},
		{[]string{"--push-addr=192.0.2.1:6001"}, exitUsage, []string{"192.0.2.1", "--addr"}},
		{[]string{"--push-addr=example.org:6001"}, exitUsage, []string{"example.org"}},
		{[]string{"--push-addr=6001"}, exitUsage, []string{"HOST:PORT"}},
		{[]string{"--push-addr=127.0.0.1:99999"}, exitUsage, []string{"99999", "--push-addr"}},
		{[]string{"--push-addr=" + busy.host()}, exitPortBusy, []string{busy.host(), "--push-addr"}},
		{[]string{"--push-addr=127.0.0.1:0", "--compat=false"}, exitUsage, []string{"--compat", "--push-addr"}},
		{[]string{"--event-roles="}, exitUsage, []string{"--event-roles", "user"}},
		{[]string{"--event-roles=user:x"}, exitUsage, []string{"--event-roles", "user:x"}},
		{[]string{"--event-push=a*b"}, exitUsage, []string{"--event-push", "a*b"}},
	} {
		args := serveArgs(t.TempDir(), tt.args)
		code, out, errs := command(t, args[1:]...)
		if code != tt.code || out != "" {
			t.Errorf("%v: code %d, %q; want %d", tt.args, code, out, tt.code)
		}
		oneSentence(t, errs)
		for _, w := range tt.words {
			if !strings.Contains(errs, w) {
				t.Errorf("%v: %q does not hold %q", tt.args, errs, w)
			}
		}
	}
}
