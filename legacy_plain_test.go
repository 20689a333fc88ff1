package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestLegacyRelay: what its client does with a frame is done here too: it
// drops the first space and a BOM, then it parses JSON.
func TestLegacyRelay(t *testing.T) {
	t.Parallel()
	const script = `
		tom opens
		tom> {"hello":1}
		tom silent
		tim opens
		tim> {"hello":2}
		tom< "{\"hello\":2}"
		tim silent
		tom> {"a":1}
		tim< "{\"a\":1}"
		tom> hello world
		tim< "hello world"
		tom>
		tim< ""
		tom> "quoted \u2028"
		tim< "\"quoted \\u2028\""
		tom> [object Object]
		tim< "[object Object]"
		tom>  two  spaces
		tim< " two  spaces"
		tom> </script>茶🍵
		tim< "</script>茶🍵"
		tom silent
		# Somebody who only listens, and heard nothing old.
		ear opens
		ear listens
		tim skips
		tom skips
		tom> {"to":"all"}
		ear< "{\"to\":\"all\"}"
		tim< "{\"to\":\"all\"}"
		# No joining or leaving lines; a ping of the client is no line.
		tim leaves
		ear breaks
		tom silent
		other opens ?room=other
		other> {"in":"another room"}
		tom silent
	`
	everywhere(t, "relay", script)
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		h := open(t, t.TempDir())
		tom, tim := h.old("/compat/relay"), h.old("/compat/relay")
		h.settle(tom, tim)
		for _, said := range []string{`{"a":1}`, " x", "\ufeffBOM", "a\u2028b\u2029c", "\x00\x1f\x7f\n\r\t\\", strings.Repeat("茶", 3000)} {
			tom.says(said)
			frame := tim.next()
			if strings.ContainsAny(frame, "\u2028\u2029") {
				t.Errorf("%q has what eval does not bear", frame)
			}
			if i := strings.Index(frame, " "); i >= 0 && strings.TrimSpace(said) == said { // its first space is dropped
				frame = frame[:i] + frame[i+1:]
			}
			var got string
			if err := json.Unmarshal([]byte(strings.TrimPrefix(frame, "\ufeff")), &got); err != nil || got != said {
				t.Errorf("%q came as %q: %v", said, got, err)
			}
		}
		// A close frame is answered.
		tim.leaves(websocket.CloseNormalClosure)
		tim.closedWith(websocket.CloseNormalClosure)
		// A half-closed, dead or unfinished one is no line either.
		tom.settled()
		h.old("/compat/relay").breaks(true)
		h.settle(tom)
		if got := tom.rest(); len(got) != 0 {
			t.Errorf("%q", got)
		}
	})
}

func TestLegacyEcho(t *testing.T) {
	t.Parallel()
	everywhere(t, "echo", `
		tom opens
		tom> tom
		tom< hello tom
		tim opens
		tim silent
		tom> {"a": "<b>"}  
		tom< hello {"a": "<b>"}  
		tom>
		tom< hello 
		tom> 茶🍵 [object Object]
		tom< hello 茶🍵 [object Object]
		tim silent
		tim> tim
		tim< hello tim
		# The URL chooses the other variant.
		ack opens ?mode=ack
		ack> one
		ack< 服务器已经收到了你的消息
		ack> {"two":2}
		ack< 服务器已经收到了你的消息
	`)
	t.Run("ack", func(t *testing.T) {
		t.Parallel()
		h := open(t, t.TempDir(), "--root-dialect=echo", "--echo-mode=ack")
		h.play("/", `
			tom opens
			tom> hi
			tom< 服务器已经收到了你的消息
			one opens ?mode=hello
			one> hi
			one< hello hi
		`)
		c := h.old("/")
		opened := time.Now()
		for range 2 {
			if got := c.next(); got != "你好!" {
				t.Errorf("the greeting is %q", got)
			}
		}
		if took := time.Since(opened); took < 18*time.Second || took > 23*time.Second {
			t.Errorf("two greetings took %s", took)
		}
	})
	t.Run("quiet", func(t *testing.T) { // it is in no room and has no name
		t.Parallel()
		h := open(t, t.TempDir())
		page := h.old("/compat/room?user_id=page")
		page.settled()
		c := h.old("/compat/echo")
		c.says("x")
		c.hears("hello x")
		page.says(`{"message":"hi"}`)
		h.say("user:tom", map[string]string{"text": "hi"})
		h.settle(page, c)
		if got := append(page.rest(), c.rest()...); len(got) != 0 {
			t.Errorf("%q", got)
		}
		if got := h.sessions(""); len(got) != 1 {
			t.Errorf("sessions: %+v", got)
		}
	})
}

func TestLegacyTyped(t *testing.T) {
	t.Parallel()
	everywhere(t, "typed", `
		tom opens
		tom> {"type":"connect","text":"‘tom"}
		tom< {"type":"connect","data":"Welcome ‘tom to join us"}
		tim opens
		tim> {"type":"connect","text":"tim <b>"}
		tim< {"type":"connect","data":"Welcome tim <b> to join us"}
		tom< {"type":"connect","data":"Welcome tim <b> to join us"}
		tom> {"type":"message","text":"hi"}
		tom< {"type":"message","data":"hi"}
		tim< {"type":"message","data":"hi"}
		tim> {"type":"message"}
		tom< {"type":"message","data":null}
		tim< {"type":"message","data":null}
		tim> {"type":"message","text":5}
		tom< {"type":"message","data":5}
		tim< {"type":"message","data":5}
		tim> {"type":"message","text":{"a":[1]}}
		tom< {"type":"message","data":{"a":[1]}}
		tim< {"type":"message","data":{"a":[1]}}
		tom> {"type":"message","text":""}
		tom< {"type":"message","data":""}
		tim< {"type":"message","data":""}
		# Unknown types and junk: silence, the connection stays.
		tom> {"type":"shout","text":"x"}
		tom> {"text":"x"}
		tom> [1]
		tom> junk
		tom>
		tom> {"type":["message"],"text":"x"}
		tom silent
		tim silent
		# A page, which evals and makes HTML.
		page opens ; Origin: https://old.example
		page> {"type":"connect","text":"page"}
		page skips
		tom< {"type":"connect","data":"Welcome page to join us"}
		tim< {"type":"connect","data":"Welcome page to join us"}
		tom> {"type":"message","text":"<i>\u2028</i>"}
		page< {"type":"message","data":"&lt;i&gt;\u2028&lt;/i&gt;"}
		tom< {"type":"message","data":"<i>\u2028</i>"}
		tim< {"type":"message","data":"<i>\u2028</i>"}
		tom leaves
		tim breaks
		page silent
	`)
}

// TestLegacyTypedRaw: U+2028 is escaped also where it came as it is.
func TestLegacyTypedRaw(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	c := h.old("/compat/typed")
	c.says("{\"type\":\"message\",\"text\":\"a\u2028b\u2029c\"}")
	c.hears(`{"type":"message","data":"a\u2028b\u2029c"}`)
	c.says("{\"type\":\"connect\",\"text\":\"a\u2028b\"}")
	c.hears(`{"type":"connect","data":"Welcome a\u2028b to join us"}`)
}

// TestLegacyEarly: an old client need not wait for the handshake's answer.
func TestLegacyEarly(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	conn, err := net.Dial("tcp", h.host())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A masked text frame "tom" right behind the request.
	_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
		"\x81\x83\x00\x00\x00\x00tom"))
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	var got strings.Builder
	buf := make([]byte, 1024)
	for !strings.Contains(got.String(), "\x81\x09hello tom") {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.Write(buf[:n])
	}
}
