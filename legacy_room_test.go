package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// everywhere plays a conversation at the protocol's own path, at the root path
// where the server has to find out, and at a root path that is fixed.
func everywhere(t *testing.T, protocol, script string, flags ...string) {
	for _, place := range []struct {
		name, path string
		flags      []string
	}{
		{"path", "/compat/" + protocol, nil},
		{"root", "/", nil},
		{"fixed", "/", []string{"--root-dialect=" + protocol}},
	} {
		t.Run(place.name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir(), append(place.flags, flags...)...)
			h.play(place.path, script)
		})
	}
}

func TestLegacyRoom(t *testing.T) {
	t.Parallel()
	everywhere(t, "room", `
		alice opens ?user_id=alice
		bob opens ?&user_id=bob
		alice< {"from_user":"bob","messages":"我上线啦!"}
		bob silent
		# Each line goes to all but the sending connection, its type kept.
		bob> {"message":"hi"}
		alice< {"from_user":"bob","messages":"hi"}
		bob> {"message":""}
		alice< {"from_user":"bob","messages":""}
		bob> {"message":5}
		alice< {"from_user":"bob","messages":5}
		bob> {"message":false}
		alice< {"from_user":"bob","messages":false}
		bob> {"message":{"a":[1,2.50,"茶"]}}
		alice< {"from_user":"bob","messages":{"a":[1,2.50,"茶"]}}
		bob> {"message":12345678901234567890.12345678901234567890}
		alice< {"from_user":"bob","messages":12345678901234567890.12345678901234567890}
		bob silent
		# The sender's other device gets it; its coming is no news.
		phone opens ?user_id=alice; User-Agent: phone
		bob silent
		phone skips
		alice> {"message":"both of me"}
		bob< {"from_user":"alice","messages":"both of me"}
		phone< {"from_user":"alice","messages":"both of me"}
		alice silent
		# Signs of life are not answered.
		alice> [object Object]
		alice> {"type":"ping"}
		alice> {"message":null}
		alice> 5
		alice> "text"
		alice> [{"message":"x"}]
		alice>
		alice> not JSON
		alice> {"message":"x"
		alice silent
		bob silent
		phone silent
		# One user alone, on all devices; "" and "0" are nobody's name.
		bob> {"to_user_id":"alice","message":"psst"}
		alice< {"from_user":"bob","messages":"psst"}
		phone< {"from_user":"bob","messages":"psst"}
		carol opens ?user_id=carol
		alice< {"from_user":"carol","messages":"我上线啦!"}
		phone< {"from_user":"carol","messages":"我上线啦!"}
		bob< {"from_user":"carol","messages":"我上线啦!"}
		bob> {"to_user_id":"0","message":{"to":"all"}}
		alice< {"from_user":"bob","messages":{"to":"all"}}
		phone< {"from_user":"bob","messages":{"to":"all"}}
		# What carol got of the past, and nothing of what was for alice alone.
		carol< {"from_user":"bob","messages":"hi"}
		carol< {"from_user":"bob","messages":""}
		carol< {"from_user":"bob","messages":5}
		carol< {"from_user":"bob","messages":false}
		carol< {"from_user":"bob","messages":{"a":[1,2.50,"茶"]}}
		carol< {"from_user":"bob","messages":12345678901234567890.12345678901234567890}
		carol< {"from_user":"alice","messages":"both of me"}
		carol< {"from_user":"bob","messages":{"to":"all"}}
		carol silent
		# An inbox: the text, or the body as a JSON string.
		POST user:alice message {"text":"order 7 is ready"}
		alice< {"from_user":false,"messages":"order 7 is ready"}
		phone< {"from_user":false,"messages":"order 7 is ready"}
		POST user:alice order {"id":7}
		alice< {"from_user":false,"messages":"{\"id\":7}"}
		phone< {"from_user":false,"messages":"{\"id\":7}"}
		# Without a name: kept, never receives, may send. Nobody hears of it.
		nameless opens ?user_id=
		zero opens ?user_id=0
		nameless> [object Object]
		nameless> {"message":"who am I"}
		alice< {"from_user":false,"messages":"who am I"}
		phone< {"from_user":false,"messages":"who am I"}
		bob< {"from_user":false,"messages":"who am I"}
		carol< {"from_user":false,"messages":"who am I"}
		zero silent
		nameless leaves
		zero breaks
		# Another room.
		tea opens ?user_id=alice&room=tea; User-Agent: tea
		tea> {"message":"another room"}
		alice silent
		bob silent
		tea leaves
		# The last device going is news, a cut one too.
		phone leaves
		bob silent
		alice leaves
		bob< {"from_user":"alice","messages":"我下线啦!"}
		carol< {"from_user":"alice","messages":"我下线啦!"}
		carol breaks
		bob< {"from_user":"carol","messages":"我下线啦!"}
	`)
}

// TestLegacyRoomBrowser: a page makes HTML of what it gets; only pages say an
// Origin, and any of them may come.
func TestLegacyRoomBrowser(t *testing.T) {
	t.Parallel()
	everywhere(t, "room", `
		page opens ?user_id=page; Origin: https://old.example
		bot opens ?user_id=<bot>
		page< {"from_user":"&lt;bot&gt;","messages":"我上线啦!"}
		bot> {"message":"<img src=x onerror=\"alert('&')\"> \u003cb\u003e"}
		page< {"from_user":"&lt;bot&gt;","messages":"&lt;img src=x onerror=\"alert('&amp;')\"&gt; &lt;b&gt;"}
		bot> {"message":{"<k>":"</script>"}}
		page< {"from_user":"&lt;bot&gt;","messages":{"&lt;k&gt;":"&lt;/script&gt;"}}
		page> {"message":"<b>&amp;</b>"}
		bot< {"from_user":"page","messages":"<b>&amp;</b>"}
		page> {"message":"{\"id\":7,\"status\":\"'quotes' stay\"}"}
		bot< {"from_user":"page","messages":"{\"id\":7,\"status\":\"'quotes' stay\"}"}
		bot> {"message":"{\"id\":7,\"by\":\"'quotes' stay\"}"}
		page< {"from_user":"&lt;bot&gt;","messages":"{\"id\":7,\"by\":\"'quotes' stay\"}"}
	`)
}

// TestLegacyRecent: how many recent lines a fresh page gets.
func TestLegacyRecent(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]int{"": 50, "--compat-recent=3": 3, "--compat-recent=0": 0} {
		h := open(t, t.TempDir(), "--send-rate=0", "--log-level=info", "--compat-recent=50")
		if flag != "" {
			h.stop()
			h = open(t, h.data, "--send-rate=0", flag)
		}
		for n := range 60 {
			h.say(lobby, map[string]any{"text": string(rune('A'+n%26)) + strings.Repeat("x", n)})
		}
		for path, of := range map[string]int{"room?user_id=a": want, "typed": want, "relay": 0, "voucher?user_id=b": 0, "event?room=lobby": 0, "echo": 0} {
			c := h.old("/compat/" + path)
			if strings.HasPrefix(path, "event") {
				c.says(`{"event":"login","data":{"u":"user:6","token":"x"},"uuid":1}`)
				c.hears(`{"type":"respon","event":1,"data":{"error":0,"body":"登录成功"}}`)
			}
			h.settle(c)
			got := c.rest()
			if len(got) != of {
				t.Errorf("%s: a fresh %s got %d old lines; want %d", flag, path, len(got), of)
			} else if of > 0 && !strings.Contains(got[of-1], "H"+strings.Repeat("x", 59)) {
				t.Errorf("%s: the last line of %s is %s", flag, path, got[of-1])
			}
		}
	}
}

// mini is what a mini-program's requests look like.
const mini = "Referer: https://servicewechat.com/wx0123456789abcdef/42/page-frame.html"

func TestLegacyVoucher(t *testing.T) {
	t.Parallel()
	everywhere(t, "voucher", strings.ReplaceAll(`
		wang opens ?&user_id=6; MINI
		li opens ?&user_id=9; MINI
		wang silent
		# The old clients told each other so.
		li> {"message":"{\"id\":7,\"status\":1}"}
		wang< {"from_user":"9","messages":"{\"id\":7,\"status\":1}"}
		li silent
		# Any other line would make the page throw.
		li> {"message":"hi"}
		li> {"message":"{\"id\":7}"}
		li> {"message":"[{\"id\":7,\"status\":1}]"}
		li> {"message":{"id":7}}
		li> {"type":"ping"}
		wang silent
		li silent
		# Its inbox.
		POST user:6 voucher.redeemed {"code":"C7","ref":"7","status":"redeemed","redeemed_by":"till-1"}
		wang< {"from_user":"till-1","messages":"{\"id\":7,\"status\":1}"}
		POST user:6 voucher.issued {"code":"C7","ref":"A-7","status":"issued"}
		wang< {"from_user":false,"messages":"{\"id\":\"A-7\",\"status\":0}"}
		POST user:6 voucher.void {"code":"C7","ref":"7","status":"void"}
		wang< {"from_user":false,"messages":"{\"id\":7,\"status\":2}"}
		POST user:6 order {"id":7}
		POST user:6 message {"text":"hi"}
		wang silent
		li> {"to_user_id":"6","message":"{\"id\":8,\"status\":1}"}
		wang< {"from_user":"9","messages":"{\"id\":8,\"status\":1}"}
		# Somebody new gets nothing of all that.
		zhao opens ?&user_id=10; MINI
		zhao silent
		li leaves
		wang silent
	`, "MINI", mini))
}

// TestLegacyVoucherHeard: such a page is announced in the room and heard there.
func TestLegacyVoucherHeard(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	page := h.old("/compat/room?user_id=page")
	page.settled()
	v := h.old("/?&user_id=6", "Referer", strings.TrimPrefix(mini, "Referer: "))
	page.hears(`{"from_user":"6","messages":"我上线啦!"}`)
	v.says(`{"message":"hello"}`)
	page.hears(`{"from_user":"6","messages":"hello"}`)
	page.says(`{"message":"not for it"}`)
	h.settle(page, v)
	if got := append(v.rest(), page.rest()...); len(got) != 0 {
		t.Errorf("%q", got)
	}
	v.leaves(0)
	page.hears(`{"from_user":"6","messages":"我下线啦!"}`)
	// Where the headers do not tell, the first frame does.
	v = h.old("/?&user_id=6")
	v.says(`{"type":"ping"}`)
	v.settled()
	v.rest()
	page.says(`{"message":"not for it"}`)
	h.publish("user:6", "voucher.redeemed", map[string]any{"code": "C", "ref": "7", "status": "redeemed"})
	h.settle(page, v)
	if got := v.rest(); len(got) != 1 || got[0] != `{"from_user":false,"messages":"{\"id\":7,\"status\":1}"}` {
		t.Errorf("%q", got)
	}
}

// TestLegacyVoucherLife: a page that shows a real voucher is told what happens
// to it, and by whom.
func TestLegacyVoucherLife(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	page := h.old("/compat/voucher?&user_id=6")
	page.settled()
	issue := func(fields map[string]any) string {
		fields["name"], fields["owner"] = "乌龙茶", "6"
		a := h.call("POST", "/api/v1/vouchers", fields)
		var out struct{ Vouchers []struct{ Code string } }
		a.into(t, &out)
		if len(out.Vouchers) != 1 {
			t.Fatalf("issue: %d %s", a.status, a.body)
		}
		return out.Vouchers[0].Code
	}
	act := func(code, act string, fields map[string]any) {
		t.Helper()
		if a := h.call("POST", "/api/v1/vouchers/"+code+"/"+act, fields); a.status != 200 {
			t.Fatalf("%s: %d %s", act, a.status, a.body)
		}
	}
	code := issue(map[string]any{"ref": "7"})
	page.hears(`{"from_user":false,"messages":"{\"id\":7,\"status\":0}"}`)
	act(code, "redeem", map[string]any{"by": "till-1", "key": "k1"})
	page.hears(`{"from_user":"till-1","messages":"{\"id\":7,\"status\":1}"}`)
	act(code, "redeem", map[string]any{"by": "till-1", "key": "k1"})
	act(code, "reverse", map[string]any{"by": "boss", "reason": "wrong one", "key": "k2"})
	if got := page.next(); !strings.HasSuffix(got, `"messages":"{\"id\":7,\"status\":0}"}`) {
		t.Errorf("reversed: %s", got)
	}
	act(code, "void", map[string]any{"by": "boss", "reason": "sold out", "key": "k3"})
	if got := page.next(); !strings.HasSuffix(got, `"messages":"{\"id\":7,\"status\":2}"}`) {
		t.Errorf("void: %s", got)
	}
	issue(map[string]any{"ref": "8", "expires_at": time.Now().Add(300 * time.Millisecond).UnixMilli()})
	page.hears(`{"from_user":false,"messages":"{\"id\":8,\"status\":0}"}`, `{"from_user":false,"messages":"{\"id\":8,\"status\":2}"}`)
	for _, frame := range page.heard { // as the page does
		var outer struct{ Messages string }
		var inner struct {
			ID     json.RawMessage
			Status *int
		}
		if json.Unmarshal([]byte(frame), &outer) != nil || json.Unmarshal([]byte(outer.Messages), &inner) != nil || inner.ID == nil || inner.Status == nil {
			t.Errorf("the page would throw at %s", frame)
		}
	}
}
