package api_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
)

// aUser is the rule of the event protocol with the roles user and admin.
func aUser(address string) (string, error) {
	role, id, _ := strings.Cut(address, ":")
	switch {
	case id == "":
	case role == "user":
		return id, nil
	case role == "admin":
		return address, nil
	}
	return "", errors.New("no")
}

const aForm = "application/x-www-form-urlencoded"

// push posts to the form push. header are pairs, as in ask.
func (h *house) push(o api.PushOptions, target, kind, body string, header ...string) *reply {
	h.t.Helper()
	if o.User == nil {
		o.User = aUser
	}
	r := httptest.NewRequestWithContext(h.t.Context(), "POST", target, strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.api.Push(o).ServeHTTP(w, r)
	return &reply{h.t, w, r}
}

var bearer = []string{"Authorization", "Bearer " + testKey}

// said checks the answer, which is text.
func (r *reply) said(status int, text string) *reply {
	r.t.Helper()
	if got := r.Body.String(); r.Code != status || got != text && !(text == "fail: " && strings.HasPrefix(got, text)) {
		r.t.Fatalf("%d %q; want %d %q", r.Code, got, status, text)
	}
	equal(r.t, "type", r.Header().Get("Content-Type"), "text/plain; charset=utf-8")
	return r
}

// got takes what was published meanwhile, as lines of topic and body.
func (h *house) got() string {
	var b strings.Builder
	for _, e := range h.store.events {
		if e.Kind != "app" || e.From != "" || e.Key != "" && !strings.HasPrefix(e.Key, "idem.") || !json.Valid(e.Body) {
			h.t.Errorf("event %v with body %s", e, e.Body)
		}
		fmt.Fprintf(&b, "%s %s\n", strings.TrimPrefix(e.Topic, "user:"), e.Body)
	}
	h.store.events = nil
	return b.String()
}

func parts(fields ...string) (kind, body string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = w.WriteField(fields[i], fields[i+1])
	}
	f, _ := w.CreateFormFile("upload", "a.txt")
	_, _ = f.Write([]byte("a file is nobody's business"))
	_ = w.Close()
	return w.FormDataContentType(), b.String()
}

// TestPushForms: the three forms of one push make the same events.
func TestPushForms(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	want := `6 {"event":"chat1","msg":"reload","tab":"2","type":"app"}` + "\n" + `admin:7 {"event":"chat1","msg":"reload","tab":"2","type":"app"}` + "\n"
	kind, body := parts("event", "chat1", "msg", "reload", "to", "user:6,admin:7", "tab", "2", "type", "other")
	for _, c := range [][2]string{
		{aForm, "event=chat1&msg=reload&to=user%3A6%2Cadmin:7&tab=2&type=app"},
		{aForm + "; charset=UTF-8", "event=chat1&msg=reload&to=user:6,admin:7&tab=2"},
		{"", "event=chat1&msg=reload&to=user:6,admin:7&tab=2"},
		{kind, body},
		{"application/json", `{"event":"chat1","msg":"reload","to":"user:6,admin:7","tab":"2","type":"x"}`},
		{"application/json; charset=utf-8", ` {"to":["user:6","admin:7"],"tab":"2","msg":"reload","event":"chat0","event":"chat1"} `},
		{aForm, `{"event":"chat1","msg":"reload","to":{"1":"user:6","5":"admin:7"},"tab":"2"}`},
	} {
		h.push(api.PushOptions{}, "/", c[0], c[1], bearer...).said(200, "ok")
		equal(t, c[0]+" "+c[1], h.got(), want)
	}
}

func TestPushRecipients(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, c := range []struct {
		to      string // urlencoded fields
		want    string
		skipped string
	}{
		{"to=user:6", "6", ""},
		{"to=,user:6,,", "6", ""},
		{"to=online:user:6", "6", ""},
		{"to=online:user:6,online:admin:7,user:8", "6 admin:7 8", ""},
		{"to=" + url.QueryEscape(" user:6 , user:7 "), "6 7", ""},
		{"to[]=user:6&to[]=user:7", "6 7", ""},
		{"to%5B%5D=user:6&to%5B%5D=online:user:7", "6 7", ""},
		{"to[0]=user:6&to[1]=user:7,user:8", "6 7 8", ""},
		{"to[a]=user:6&to[b]=user:7", "6 7", ""},
		{"to=user:6,user:6,online:user:6", "6", ""},
		{"to=user:" + url.QueryEscape("张三"), "张三", ""},
		{"to=user:a:b", "a:b", ""},
		{"to=user:6,shop:7,8,user:", "6", "3"},
		{"to=user:6,user:" + strings.Repeat("x", 65), "6", "1"},
		{"to=user:6,user:a%07b", "6", "1"},
	} {
		r := h.push(api.PushOptions{}, "/", aForm, "event=chat1&msg=x&"+c.to, bearer...).said(200, "ok")
		var got []string
		for line := range strings.Lines(h.got()) {
			user, _, _ := strings.Cut(line, " ")
			got = append(got, user)
		}
		equal(t, c.to, strings.Join(got, " "), c.want)
		equal(t, "skipped of "+c.to, r.Header().Get("X-Teahouse-Skipped"), c.skipped)
	}
	for _, to := range []string{"", "to=", "to=,,,", "to=%20", "to=online:", "to[]=", "x[to]=user:6", "to[a][b]=user:6", "to=shop:7", "to=6"} {
		r := h.push(api.PushOptions{}, "/", aForm, "event=chat1&msg=x&"+to, bearer...).said(400, "fail")
		if r.Header().Get("X-Teahouse-Reason") == "" {
			t.Errorf("%q is refused without a reason", to)
		}
	}
	for _, to := range []string{`6`, `null`, `[]`, `{}`, `[6]`, `[["user:6"]]`, `true`} {
		h.push(api.PushOptions{}, "/", "application/json", `{"event":"chat1","to":`+to+`}`, bearer...).said(400, "fail")
	}
	equal(t, "published", h.got(), "")
}

// TestPushBody: msg is decoded, numbers stay what they are, and all else that
// was posted goes along, but neither the recipients nor a key.
func TestPushBody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	deep := strings.Repeat("[", 512) + strings.Repeat("]", 512)
	long := strings.Repeat(`\u00e9`, 100)
	for _, c := range []struct{ msg, want string }{
		{`reload`, `"reload"`}, {`0`, `0`}, {`null`, `"null"`}, {``, `""`}, {`true`, `true`}, {`-1.50`, `-1.50`},
		{`12345678901234567890.10`, `12345678901234567890.10`}, {`{"a":[1, 2]}`, `{"a":[1,2]}`}, {`"x"`, `"x"`}, {`[]`, `[]`},
		{` 7 `, `7`}, {`{"a":`, `"{\"a\":"`}, {`07`, `"07"`}, {`<b>&"`, `"<b>&\""`}, {"a\u2028b", `"a\u2028b"`}, {"你好", `"你好"`},
		{deep, deep}, {"[" + deep + "]", `"[` + deep + `]"`}, {`"[[{` + long + `"`, `"[[{` + long + `"`}, {`+/%41=`, `"+/%41="`},
	} {
		kind, multi := parts("event", "chat1", "to", "user:6", "msg", c.msg)
		asJSON, _ := json.Marshal(map[string]string{"event": "chat1", "to": "user:6", "msg": c.msg})
		for _, p := range [][2]string{{aForm, "event=chat1&to=user:6&msg=" + url.QueryEscape(c.msg)}, {kind, multi}, {"application/json", string(asJSON)}} {
			h.push(api.PushOptions{}, "/", p[0], p[1], bearer...).said(200, "ok")
			equal(t, "msg "+c.msg, h.got(), `6 {"event":"chat1","msg":`+c.want+`,"type":"app"}`+"\n")
		}
	}
	for body, want := range map[string]string{
		"a=1&a=2":                        `"msg":null,"a":"2"`,
		"a[]=1&a[]=2":                    `"msg":null,"a":["1","2"]`,
		"a[5]=1&a[]=2":                   `"msg":null,"a":{"5":"1","6":"2"}`,
		"a[b][c]=1&a[b][]=2&x=%zz+%4":    `"msg":null,"a":{"b":{"c":"1","0":"2"}},"x":"%zz %4"`,
		"msg[a]=1":                       `"msg":{"a":"1"}`,
		"a[b=1&[c]=2&=3&d":               `"msg":null,"a[b":"1","[c]":"2","":"3","d":""`,
		"a=1&a[b]=2&c[d]=1&c=3":          `"msg":null,"a":{"b":"2"},"c":"3"`,
		"key=" + testKey + "&n=1":        `"msg":null,"n":"1"`,
		"key=the+app's+own&n=1":          `"msg":null,"n":"1"`,
		"key[a]=1&type=x&type[a]=1&on=1": `"msg":null,"on":"1"`,
	} {
		h.push(api.PushOptions{}, "/", aForm, "event=chat1&to=user:6&"+body, bearer...).said(200, "ok")
		equal(t, body, h.got(), `6 {"event":"chat1",`+want+`,"type":"app"}`+"\n")
	}
	h.push(api.PushOptions{}, "/", "application/json", `{"event":"chat1","to":"user:6","msg":{"n":1e2 },"x":[1.0,12345678901234567890],"y":null,"key":5}`, bearer...).said(200, "ok")
	equal(t, "JSON", h.got(), `6 {"event":"chat1","msg":{"n":1e2},"x":[1.0,12345678901234567890],"y":null,"type":"app"}`+"\n")
}

func TestPushEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := api.PushOptions{Events: []string{"order", "shop_*"}}
	for name, want := range map[string]string{
		"user_tabbar": "ok", "chat": "ok", "chat1": "ok", "chat_群": "ok", "order": "ok", "shop_": "ok", "shop_7": "ok",
		"": "fail", "Chat": "fail", "user_tabbar2": "fail", "orders": "fail", "shop": "fail", "xchat": "fail", "*": "fail",
	} {
		r := h.push(o, "/", aForm, "to=user:6&event="+url.QueryEscape(name), bearer...).said(200, want)
		if got := h.got() != ""; got != (want == "ok") || got == (r.Header().Get("X-Teahouse-Reason") != "") {
			t.Errorf("%s: published %v, reason %q", name, got, r.Header().Get("X-Teahouse-Reason"))
		}
	}
	h.push(o, "/", aForm, "to=user:6&event[]=chat", bearer...).said(200, "fail")
	h.push(o, "/", "application/json", `{"to":"user:6","event":5}`, bearer...).said(200, "fail")
	h.push(o, "/", "application/json", `{"to":"user:6"}`, bearer...).said(200, "fail")
}

func TestPushKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const good = "event=chat1&msg=x&to=user:6"
	kind, multi := parts("event", "chat1", "to", "user:6", "key", testKey)
	h.push(api.PushOptions{}, "/", aForm, good, bearer...).said(200, "ok")
	h.push(api.PushOptions{}, "/?key="+testKey, aForm, good).said(200, "ok")
	h.push(api.PushOptions{}, "/", aForm, good+"&key="+testKey).said(200, "ok")
	h.push(api.PushOptions{}, "/", kind, multi).said(200, "ok")
	h.push(api.PushOptions{}, "/", "application/json", `{"event":"chat1","to":"user:6","key":"`+testKey+`"}`).said(200, "ok")
	h.push(api.PushOptions{}, "/", aForm, good, operator()...).said(200, "ok")
	if got := h.got(); strings.Contains(got, testKey) || strings.Count(got, "\n") != 6 {
		t.Errorf("published %s", got)
	}
	token, _, err := h.opts.Tokens.Issue("alice", 0)
	must(t, err)
	h.push(api.PushOptions{}, "/", aForm, good, "Authorization", "Bearer "+token).said(403, "fail: ")
	for _, c := range [][]string{
		{"/", good}, {"/", good + "&key="}, {"/", good + "&key=wrong"}, {"/", good + "&key[]=" + testKey}, {"/?key=wrong", good + "&key=" + testKey},
		{"/", good, "Authorization", "Bearer wrong"}, {"/?key=" + testKey, good, "Authorization", "Bearer wrong"}, {"/", good, "Authorization", "Digest x"},
	} {
		r := h.push(api.PushOptions{}, c[0], aForm, c[1], c[2:]...).said(401, "fail: ")
		if r.Header().Get("WWW-Authenticate") == "" {
			t.Error("no challenge")
		}
	}
	for range 20 {
		h.push(api.PushOptions{}, "/", aForm, good+"&key=guess")
	}
	r := h.push(api.PushOptions{}, "/", aForm, good+"&key=guess").said(429, "fail: ")
	if r.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	h.push(api.PushOptions{}, "/", aForm, good+"&key="+testKey).said(200, "ok") // a right one always passes
	h.got()

	// The listener of this machine alone.
	open := api.PushOptions{Open: true}
	h.push(open, "/push/any/path", aForm, good).said(200, "ok")
	h.push(open, "/", aForm, good+"&key=x", "Authorization", "Bearer wrong").said(200, "ok")
	equal(t, "open", strings.Count(h.got(), "\n"), 2)
	for _, header := range []string{"Origin", "Sec-Fetch-Site", "X-Forwarded-For", "X-Real-IP", "Forwarded"} {
		h.push(open, "/", aForm, good, header, "http://127.0.0.1:6001").said(403, "fail: ")
	}
	if strings.Contains(h.log.String(), testKey) || strings.Contains(h.log.String(), "guess") {
		t.Errorf("a key is in the log: %s", h.log)
	}
	equal(t, "refused ones that were published", h.got(), "")
}

// TestPushHostile: whatever is posted gets a clear answer, and nothing is stored.
func TestPushHostile(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	to := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "user:%d,", i)
		}
		return b.String()
	}
	kind, multi := parts("event", "chat1", "to", "user:6", "msg", "x")
	const form, js = "event=chat1&to=user:6&", `{"event":"chat1","to":"user:6",`
	for name, c := range map[string]struct {
		kind, body string
		status     int
	}{
		"1 MB of text":            {aForm, form + "msg=" + strings.Repeat("x", 1<<20), 413},
		"1 MB in a field":         {aForm, form + "x=" + strings.Repeat("x", 1<<20), 413},
		"4 MB":                    {aForm, form + "msg=" + strings.Repeat("x", 4<<20), 413},
		"4 MB of JSON":            {"application/json", js + `"msg":"` + strings.Repeat("x", 4<<20) + `"}`, 413},
		"4 MB multipart":          {kind, strings.Replace(multi, "\r\nx\r\n", "\r\n"+strings.Repeat("x", 4<<20)+"\r\n", 1), 413},
		"100,000 recipients":      {aForm, "event=chat1&msg=x&to=" + to(100_000), 413},
		"100,000 in JSON":         {"application/json", `{"event":"chat1","to":"` + to(100_000) + `"}`, 413},
		"10,001 recipients":       {aForm, "event=chat1&msg=x&to=" + to(10_001), 413},
		"a million fields":        {aForm, form + strings.Repeat("a&", 1_000_000), 413},
		"deep JSON":               {"application/json", js + `"x":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + "}", 400},
		"deep names":              {aForm, form + "a" + strings.Repeat("[b]", 100) + "=1", 400},
		"deep message":            {aForm, form + "msg=" + strings.Repeat("[", 500_000), 413},
		"invalid UTF-8":           {aForm, form + "msg=%ff%fe", 400},
		"GBK":                     {aForm, form + "msg=\xc4\xe3\xba\xc3", 400},
		"invalid UTF-8 in a name": {aForm, form + "%ff=1", 400},
		"invalid UTF-8 in JSON":   {"application/json", js + "\"msg\":\"\xff\"}", 400},
		"a JSON array":            {"application/json", `[` + js + `"x":1}]`, 400},
		"broken JSON":             {"application/json", js, 400},
		"more than JSON":          {"application/json", js + `"x":1}{}`, 400},
		"empty JSON":              {"application/json", ``, 400},
		"no boundary":             {"multipart/form-data", multi, 400},
		"cut multipart":           {kind, multi[:len(multi)/2], 400},
		"not multipart":           {kind, "event=chat1&to=user:6", 400},
	} {
		r := h.push(api.PushOptions{}, "/", c.kind, c.body, bearer...)
		if got := r.Body.String(); r.Code != c.status || !strings.HasPrefix(got, "fail: ") || len(got) > 300 {
			t.Errorf("%s: %d %.300q, want %d", name, r.Code, got, c.status)
		}
		// With the key inside, which cannot be found in such a body.
		if r := h.push(api.PushOptions{}, "/", c.kind, c.body); r.Code < 400 {
			t.Errorf("%s without a key: %d %s", name, r.Code, r.Body)
		}
	}
	equal(t, "published", h.got(), "")
	h.push(api.PushOptions{}, "/", aForm, "event=chat1&msg=x&to="+to(10_000), bearer...).said(200, "ok")
	equal(t, "10,000 recipients", strings.Count(h.got(), "\n"), 10_000)

	for err, status := range map[*chat.Error]int{
		chat.Errorf(chat.CodeStorageFull, "full"): 507, chat.Errorf(chat.CodeGoingAway, "stopping"): 503, chat.Errorf(chat.CodeInternal, "a secret"): 500,
	} {
		h.store.fail = err
		r := h.push(api.PushOptions{Open: true}, "/", aForm, form).said(status, "fail: ")
		if strings.Contains(r.Body.String(), "secret") {
			t.Errorf("the inside is shown: %s", r.Body)
		}
	}
	h.store.fail, h.store.panics = nil, true
	h.push(api.PushOptions{Open: true}, "/", aForm, form).said(500, "fail: ")
	h.store.panics = false

	r := httptest.NewRequest("GET", "/", nil)
	w := httptest.NewRecorder()
	h.api.Push(api.PushOptions{User: aUser, Open: true}).ServeHTTP(w, r)
	(&reply{t, w, r}).said(http.StatusMethodNotAllowed, "fail: ")
}

func TestPushOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const good = "event=chat1&msg=x&to=user:6,user:7"
	once := append([]string{"Idempotency-Key", "order-81"}, bearer...)
	for range 3 {
		h.push(api.PushOptions{}, "/", aForm, good, once...).said(200, "ok")
	}
	equal(t, "events", len(h.store.events), 2)
	h.push(api.PushOptions{}, "/", aForm, good+"&more=1", once...).said(409, "fail: ")
	h.push(api.PushOptions{}, "/", aForm, good, bearer...).said(200, "ok")
	equal(t, "events", len(h.store.events), 4)
}

// FuzzPush: whatever is posted is answered, and what is published is JSON that
// holds what the protocol promises.
func FuzzPush(f *testing.F) {
	kind, multi := parts("event", "chat1", "to", "user:6", "msg", `{"a":1}`)
	f.Add(kind, multi)
	f.Add(aForm, "event=chat1&msg=%7B%22a%22:1%7D&to[]=user:6&a[b][]=1&a[b][x]=2")
	f.Add("application/json", `{"event":"chat1","msg":"{}","to":{"a":"user:6"},"x":[1]}`)
	f.Add("", `[a=1&[]=2&a[=3&a]=4&to=online:user:1,,`)
	m := newMemory()
	tokens, err := api.NewTokens(f.Context(), m, func() time.Time { return begin })
	if err != nil {
		f.Fatal(err)
	}
	a, err := api.New(api.Options{Hub: m, Store: m, Tokens: tokens, Folder: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	pushes := a.Push(api.PushOptions{User: aUser, Open: true})
	f.Fuzz(func(t *testing.T, kind, body string) {
		m.events = nil
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		pushes.ServeHTTP(w, r)
		if got := w.Body.String(); w.Code >= 500 || got != "ok" && got != "fail" && !strings.HasPrefix(got, "fail: ") || (got == "ok") != (len(m.events) > 0) || got == "ok" && w.Code != 200 {
			t.Fatalf("%d %q", w.Code, got)
		}
		for _, e := range m.events {
			var v map[string]json.RawMessage
			if err := json.Unmarshal(e.Body, &v); err != nil || string(v["type"]) != `"app"` || v["event"] == nil || v["msg"] == nil || v["to"] != nil || v["key"] != nil {
				t.Fatalf("%v: %s (%v)", e, e.Body, err)
			}
			if err := chat.DefaultLimits().CheckEvent(&e); err != nil {
				t.Fatalf("%s: %v", e.Body, err)
			}
		}
	})
}
