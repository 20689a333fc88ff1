package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// hostileGround is a server with two who only want to talk, and to whom
// nothing may happen.
type hostileGround struct {
	*house
	page  *oldClient
	quick *guest
	n     int
}

func newHostileGround(t *testing.T, flags ...string) *hostileGround {
	h := open(t, t.TempDir(), flags...)
	g := &hostileGround{house: h, page: h.old("/compat/room?user_id=page&room=quiet")}
	g.page.settled()
	g.quick, _ = enter(t, h.ws(), "quick")
	return g
}

// goesOn checks that the two still talk, and without waiting.
func (g *hostileGround) goesOn(when string) {
	g.t.Helper()
	g.n++
	text, begun := fmt.Sprint("line ", g.n), time.Now()
	g.quick.post("room:quiet", text, text)
	g.page.hears(fmt.Sprintf(`{"from_user":"quick","messages":%q}`, text))
	if took := time.Since(begun); took > 3*time.Second {
		g.t.Errorf("%s: a line took %s", when, took)
	}
}

// attackers are one client for each protocol and place that has spoken, so
// that the root knows what it is; what it answered has been read.
func (g *hostileGround) attackers() map[string]*oldClient {
	g.t.Helper()
	all := make(map[string]*oldClient)
	for protocol, hello := range map[string]string{
		"room":    `{"type":"ping"}`,
		"voucher": `{"type":"ping"}`,
		"relay":   `{"a":1}`,
		"echo":    "tom",
		"typed":   `{"type":"connect","text":"t"}`,
		"event":   `{"event":"ping","uuid":1}`,
	} {
		for _, path := range []string{"/compat/" + protocol, "/"} {
			query := ""
			if protocol == "room" || protocol == "voucher" {
				query = "?user_id=" + protocol
			}
			c := g.old(path+query, "User-Agent", protocol+path) // none is another one's device
			c.says(hello)
			c.settled()
			all[protocol+" at "+path] = c
		}
	}
	silent := g.old("/")
	all["nobody at /"] = silent
	g.settle(silent)
	for _, c := range all {
		c.rest()
	}
	return all
}

// TestLegacyHostile: what makes no sense is borne, or the connection is closed
// with a reason; others notice nothing.
func TestLegacyHostile(t *testing.T) {
	t.Parallel()
	g := newHostileGround(t, "--send-rate=0")
	closed := func(what string, code int, kind int, frame []byte) {
		t.Helper()
		for name, c := range g.attackers() {
			c.write(kind, frame)
			c.await(patience, func() bool { return c.over })
			if c.code != code || c.reason == "" {
				t.Errorf("%s, %s: closed with %d %q; want %d", what, name, c.code, c.reason, code)
			}
		}
		g.goesOn(what)
	}
	closed("invalid UTF-8", 1007, websocket.TextMessage, []byte("{\"message\":\"\xff\xfe\"}"))
	closed("a surrogate in UTF-8", 1007, websocket.TextMessage, []byte("\xed\xa0\x80"))
	closed("1 MB", 4104, websocket.TextMessage, []byte(`{"message":"`+strings.Repeat("x", 1<<20)+`"}`))
	closed("a million brackets", 4104, websocket.TextMessage, []byte(strings.Repeat("[", 1_000_000)))
	closed("1 MB of a binary frame", 4104, websocket.BinaryMessage, make([]byte, 1<<20))

	for what, frame := range map[string]string{
		"brackets":        strings.Repeat("[", 12_000),
		"closed brackets": strings.Repeat("[", 6_000) + strings.Repeat("]", 6_000),
		"braces":          strings.Repeat(`{"a":`, 2_000) + "1" + strings.Repeat("}", 2_000),
		"a huge number":   `{"message":` + strings.Repeat("9", 3_000) + `,"uuid":` + strings.Repeat("1", 3_000) + `e999999,"event":"ping"}`,
		"20 digits":       `{"event":"ping","uuid":0.12345678901234567890}`,
		"object Object":   "[object Object]",
		"escapes":         `{"message":"\ud800\udfff\u0000\u2028","type":"message","text":"\ud800"}`,
		"duplicate names": `{"type":"ping","type":"message","text":1,"text":null,"message":1,"message":null}`,
		"NUL":             "\x00",
		"BOM":             "\ufeff{\"message\":\"x\"}",
		"SQL":             `{"message":"'; DROP TABLE events; --"}`,
	} {
		for name, c := range g.attackers() {
			c.says(frame)
			c.settled() // it is still there
			for _, got := range c.rest() {
				if !validText(got) {
					t.Errorf("%s, %s: heard %.200q", what, name, got)
				}
			}
			if strings.HasPrefix(name, "event") && what == "20 digits" {
				c.says(frame)
				c.hears(respon("0.12345678901234567890", 1, "PING检查连接不可用"))
			}
		}
		g.goesOn(what)
	}
	for name, c := range g.attackers() {
		for _, b := range [][]byte{nil, {0}, {0xff, 0xfe}, []byte(`{"message":"x"}`)} {
			c.write(websocket.BinaryMessage, b)
		}
		c.settled()
		if got := c.rest(); len(got) != 0 {
			t.Errorf("binary frames, %s: %q", name, got)
		}
		// A frame that RFC 6455 does not know.
		c.writes.Lock()
		_, _ = c.conn.NetConn().Write([]byte{0x83, 0x80, 0, 0, 0, 0})
		c.writes.Unlock()
		c.await(patience, func() bool { return c.over })
		if c.code != websocket.CloseProtocolError {
			t.Errorf("opcode 3, %s: closed with %d %q", name, c.code, c.reason)
		}
	}
	g.goesOn("binary frames")
	if got := g.stderr.String(); strings.Contains(got, "panic") || strings.Contains(got, "level=ERROR") {
		t.Errorf("the log: %s", got)
	}
}

func validText(s string) bool { return strings.ToValidUTF8(s, "") == s }

// TestLegacyDeep: where the operator allows frames so long, a million brackets
// cost no more than their length.
func TestLegacyDeep(t *testing.T) {
	t.Parallel()
	g := newHostileGround(t, "--max-frame=4194304", "--max-body=4194304", "--queue-bytes=33554432", "--send-rate=0")
	for what, frame := range map[string]string{
		"open":   strings.Repeat("[", 1_000_000),
		"closed": strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000),
		"inside": `{"event":"login","type":"message","text":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `,"uuid":1}`,
		"quotes": `{"message":"` + strings.Repeat(`\"`, 500_000) + `"}`,
	} {
		begun := time.Now()
		for name, c := range g.attackers() {
			if strings.HasPrefix(name, "relay") || strings.HasPrefix(name, "nobody") { // others would hear it for long
				continue
			}
			c.says(frame)
			c.settled()
			c.breaks(true)
		}
		g.goesOn(what)
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("%s took %s", what, took)
		}
	}
}

// TestLegacyRefusedLogins: ten thousand refused logins end in bounded time,
// harm nobody, and ban nobody.
func TestLegacyRefusedLogins(t *testing.T) {
	t.Parallel()
	g := newHostileGround(t, "--event-key="+eventKey)
	begun := time.Now()
	var last *oldClient
	answered, sockets := 0, 0
	for sent := 0; sent < 10_000; sockets++ {
		last = g.old("/compat/event")
		for range 500 {
			last.says(eventLogin("user:6", fmt.Sprint("guess ", sent), "1"))
			sent++
		}
		if reason := last.closedWith(4005); !strings.Contains(reason, "login") {
			t.Errorf("closed with %q", reason)
		}
		for _, got := range last.rest() {
			if answered++; got != respon("1", 1, "连接密钥错误") {
				t.Errorf("answered %q", got)
			}
		}
	}
	if answered < 10*sockets || answered > 100*sockets {
		t.Errorf("%d answers on %d connections", answered, sockets)
	}
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	g.goesOn("after them")
	good := g.old("/compat/event")
	good.says(eventLogin("user:6", eventToken("6"), "2"))
	good.hears(respon("2", 0, "登录成功"))
	if got := g.stderr.String(); strings.Contains(got, "guess") || strings.Contains(got, eventToken("6")) {
		t.Errorf("tokens in the log: %.500s", got)
	}
}

// TestLegacyFast: who sends faster than the limit is slowed down; nothing is
// lost, refused or out of order, and the others do not wait.
func TestLegacyFast(t *testing.T) {
	t.Parallel()
	g := newHostileGround(t, "--send-rate=100", "--send-burst=20")
	ear := g.old("/compat/relay?room=loud")
	ear.settled()
	senders := map[string]*oldClient{
		"room":  g.old("/compat/room?user_id=room&room=loud"),
		"relay": g.old("/?room=loud"),
		"typed": g.old("/compat/typed?room=loud&user=typed"),
		"event": g.old("/compat/event?room=loud"),
	}
	senders["event"].says(eventLogin("user:6", "any", "0"))
	senders["event"].hears(respon("0", 0, "登录成功"))
	form := map[string]string{
		"room":  `{"message":"room %d"}`,
		"relay": `["relay %d"]`,
		"typed": `{"type":"message","text":"typed %d"}`,
		"event": `{"event":"chatloud","data":{"message":"event %d"},"uuid":1}`,
	}
	const lines = 220
	begun := time.Now()
	for name, c := range senders {
		go func() {
			for n := range lines {
				c.says(fmt.Sprintf(form[name], n))
			}
		}()
	}
	g.goesOn("meanwhile")
	next := make(map[string]int)
	for range lines * len(senders) {
		got := ear.next()
		for name := range senders {
			if _, rest, ok := strings.Cut(got, name+" "); ok {
				n := -1
				_, _ = fmt.Sscan(rest[:strings.IndexAny(rest, `\"`)], &n)
				if n != next[name] {
					t.Fatalf("%s: line %d after %d: %s", name, n, next[name]-1, got)
				}
				next[name]++
			}
		}
	}
	if took := time.Since(begun); took < 1900*time.Millisecond {
		t.Errorf("%d lines each in %s: nobody was slowed down", lines, took)
	}
	for name, c := range senders {
		if next[name] != lines {
			t.Errorf("%s: %d lines of %d", name, next[name], lines)
		}
		c.settled() // and it is still there
	}
	g.goesOn("after them")
}
