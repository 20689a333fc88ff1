package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestLegacyRoot: at the root path the URL, the headers and the first frame
// tell which protocol it is. What each speaks there is shown by everywhere;
// here it is what decides.
func TestLegacyRoot(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	page := h.old("/compat/room?user_id=page") // sees what the others do
	page.settled()
	for _, c := range []struct {
		name, query, referer, first string
		answer                      string // to it
		room                        string // to the page, after its name
		dialect                     string // "": no session
	}{
		{name: "event", first: eventLogin("user:6", "any", "1790000000123"), answer: respon("1790000000123", 0, "登录成功"), dialect: "event"},
		{name: "event's ping", first: `{"uuid":1.5,"event":"ping"}`, answer: respon("1.5", 1, "PING检查连接不可用")},
		{name: "typed", first: `{"type":"connect","text":"‘tom"}`, answer: `{"type":"connect","data":"Welcome ‘tom to join us"}`, dialect: "typed"},
		{name: "typed's line", first: `{"type":"message","text":"hi"}`, answer: `{"type":"message","data":"hi"}`, room: `"hi"`, dialect: "typed"},
		{name: "relay", first: `{"a":1}`, room: `"{\"a\":1}"`, dialect: "relay"},
		{name: "relay, a number", first: `5`, room: `"5"`, dialect: "relay"},
		{name: "relay, not quite event", first: `{"event":"login"}`, room: `"{\"event\":\"login\"}"`, dialect: "relay"},
		{name: "relay, not quite typed", first: `{"type":"shout","text":"x"}`, room: `"{\"type\":\"shout\",\"text\":\"x\"}"`, dialect: "relay"},
		{name: "echo", first: "tom", answer: "hello tom"},
		{name: "echo, nothing", first: "", answer: "hello "},
		{name: "echo, broken JSON", first: `{"a":`, answer: `hello {"a":`},
		{name: "echo ack", query: "?mode=ack", first: "tom", answer: "服务器已经收到了你的消息"},
		{name: "room", query: "?user_id=u", first: `{"message":"hi"}`, room: `"hi"`, dialect: "room"},
		{name: "room, whatever it says", query: "?&user_id=u", first: `{"type":"connect","text":"x"}`, dialect: "room"},
		{name: "room's heartbeat", query: "?user_id=u", first: "[object Object]", dialect: "room"},
		{name: "room, nobody", query: "?user_id=", first: `{"message":"hi"}`, room: `"hi"`},
		{name: "voucher by its referer", query: "?&user_id=v", referer: "https://servicewechat.com/wx1/2/page-frame.html", first: `{"message":"hi"}`, room: `"hi"`, dialect: "voucher"},
		{name: "another referer", query: "?&user_id=v", referer: "https://servicewechat.com.evil.example/", first: `{"message":"hi"}`, room: `"hi"`, dialect: "room"},
		{name: "a voucher's ping without a name", first: `{"type":"ping"}`},
	} {
		headers := []string{"User-Agent", c.name} // nobody comes back as another
		if c.referer != "" {
			headers = append(headers, "Referer", c.referer)
		}
		x := h.old("/"+c.query, headers...)
		if !strings.Contains(c.query, "user_id=u") && !strings.Contains(c.query, "user_id=v") {
			x.settled()
			if got := x.rest(); len(got) != 0 {
				t.Errorf("%s: it was told %q before it spoke", c.name, got)
			}
		}
		x.says(c.first)
		if c.answer != "" {
			last := x.next()
			for last != c.answer && strings.HasPrefix(last, `{"type":"message"`) { // recent lines
				last = x.next()
			}
			if last != c.answer {
				t.Errorf("%s: answered %q", c.name, last)
			}
		}
		h.settle(x, page)
		var said []string
		for _, frame := range page.rest() {
			if _, what, _ := strings.Cut(frame, `"messages":`); !strings.Contains(what, "我上线啦!") {
				said = append(said, strings.TrimSuffix(what, "}"))
			}
		}
		if strings.Join(said, " ") != c.room {
			t.Errorf("%s: the room heard %q and not %q", c.name, said, c.room)
		}
		dialect := ""
		for _, s := range h.sessions("") {
			if s.User != "page" {
				dialect += s.Dialect
			}
		}
		if dialect != c.dialect {
			t.Errorf("%s: the session speaks %q", c.name, dialect)
		}
		x.breaks(false)
		eventually(t, "its end", func() bool { return len(h.sessions("")) == 1 })
		h.settle(page)
		page.rest()
	}
}

// TestLegacyRootListens: who says nothing hears what relay's clients hear,
// after a second; and only where names need no proof.
func TestLegacyRootListens(t *testing.T) {
	t.Parallel()
	h, tokens := open(t, t.TempDir()), open(t, t.TempDir(), "--auth=token")
	opened := time.Now()
	ear, deaf, nobody := h.old("/"), tokens.old("/"), h.old("/?user_id=0")
	h.say(lobby, map[string]string{"text": "old"})
	h.awaitSilent(ear)
	if took := time.Since(opened); took < 900*time.Millisecond {
		t.Errorf("it listens after %s", took)
	}
	h.say(lobby, map[string]string{"text": "hi"})
	ear.hears(`"{\"from\":\"\",\"text\":\"hi\"}"`)
	time.Sleep(time.Until(opened.Add(2 * time.Second)))
	tokens.say(lobby, map[string]string{"text": "hi"})
	tokens.settle(deaf)
	h.settle(nobody)
	if got := append(deaf.rest(), nobody.rest()...); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if got := tokens.sessions(""); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	// Its first frame still decides.
	for first, answer := range map[string]string{
		eventLogin("user:6", "any", "7"):    respon("7", 0, "登录成功"),
		`{"type":"connect","text":"late"}`:  `{"type":"connect","data":"Welcome late to join us"}`,
		"tom":                               "hello tom",
		`{"event":"ping","uuid":12}`:        respon("12", 1, "PING检查连接不可用"),
		`{"type":"connect","text":"later"}`: `{"type":"connect","data":"Welcome later to join us"}`,
	} {
		c := h.old("/")
		h.awaitSilent(c)
		c.says(first)
		for c.next() != answer { // recent lines may come before
		}
	}
	// A relay's client hears on without a gap or a repetition.
	other := h.old("/")
	h.awaitSilent(other)
	h.settle(ear, other)
	ear.rest()
	other.rest()
	other.says(`{"a":1}`, `{"a":2}`)
	ear.hears(`"{\"a\":1}"`, `"{\"a\":2}"`)
	ear.says(`{"b":1}`)
	other.hears(`"{\"b\":1}"`)
	h.settle(ear, other)
	if got := append(ear.rest(), other.rest()...); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestLegacyRootFixed: the operator's choice is not argued with.
func TestLegacyRootFixed(t *testing.T) {
	t.Parallel()
	for dialect, c := range map[string]struct{ says, hears string }{
		"room":    {`{"message":"x"}`, ""},
		"voucher": {`{"type":"ping"}`, ""},
		"relay":   {"tom", ""},
		"echo":    {`{"event":"ping","uuid":1}`, `hello {"event":"ping","uuid":1}`},
		"typed":   {`{"type":"message","text":"x"}`, `{"type":"message","data":"x"}`},
		"event":   {`{"event":"ping","uuid":1}`, respon("1", 1, "PING检查连接不可用")},
	} {
		h := open(t, t.TempDir(), "--root-dialect="+dialect)
		x := h.old("/?user_id=x")
		x.says(c.says)
		if c.hears != "" {
			x.hears(c.hears)
		}
		x.settled()
		want := dialect
		if dialect == "echo" || dialect == "event" {
			want = ""
		}
		got := ""
		for _, s := range h.sessions("") {
			got += s.Dialect
		}
		if got != want {
			t.Errorf("%s: the session speaks %q", dialect, got)
		}
		// Its own path is not touched by that.
		y := h.old("/compat/echo")
		y.says("y")
		y.hears("hello y")
	}
	for _, args := range [][]string{{"--root-dialect=native"}, {"--root-dialect="}, {"--echo-mode=loud"}, {"--compat-recent=-1"}, {"--compat-recent=501"}} {
		code, _, stderr := command(t, append([]string{"serve", "--data", t.TempDir()}, args...)...)
		if flag, _, _ := strings.Cut(args[0], "="); code != exitUsage || !strings.Contains(stderr, flag) {
			t.Errorf("%v: %d %s", args, code, stderr)
		}
	}
}

// TestLegacyHTTP: the pages are where they were, and who comes to the wrong
// door is told.
func TestLegacyHTTP(t *testing.T) {
	t.Parallel()
	on, off := open(t, t.TempDir()), open(t, t.TempDir(), "--compat=false")
	for _, h := range []*house{on, off} {
		for _, path := range []string{"/", "/?user_id=alice"} {
			if a := h.call("GET", path, nil); a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				t.Errorf("GET %s: %d %v", path, a.status, a.header)
			}
		}
		if a := h.call("GET", "/compat/nothing", nil); a.status != 404 {
			t.Errorf("an unknown protocol: %d %s", a.status, a.body)
		}
	}
	for _, name := range []string{"room", "voucher", "relay", "echo", "typed", "event"} {
		if a := on.call("GET", "/compat/"+name, nil); a.status != 426 || !strings.Contains(string(a.body), "proxy") {
			t.Errorf("%s without an upgrade: %d %s", name, a.status, a.body)
		}
		if a := off.call("GET", "/compat/"+name, nil); a.status != 404 || !strings.Contains(string(a.body), "--compat") {
			t.Errorf("%s where it is off: %d %s", name, a.status, a.body)
		}
		_, err := dialOld(t, fmt.Sprintf("ws://%s/compat/%s?user_id=alice", off.host(), name))
		if err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("%s where it is off: %v", name, err)
		}
	}
	_, err := dialOld(t, "ws://"+off.host()+"/?user_id=alice")
	if err == nil || !strings.Contains(err.Error(), "404") || !strings.Contains(err.Error(), "/ws") {
		t.Errorf("the root where it is off: %v", err)
	}
	// A proxy that drops the Upgrade header leaves the rest of the handshake.
	if a := on.call("GET", "/", nil, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version", "13"); a.status != 426 {
		t.Errorf("without its Upgrade header: %d", a.status)
	}
	// The native one goes on.
	if c, _, err := websocket.DefaultDialer.Dial(off.ws(), nil); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	if got := on.sessions("all=true"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
