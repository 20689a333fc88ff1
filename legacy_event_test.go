package main

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

const eventKey = "s3cret"

// eventToken is the token of an id, as the apps' server makes it.
func eventToken(id string) string {
	sum := md5.Sum([]byte(id + eventKey))
	return hex.EncodeToString(sum[:])
}

func eventLogin(u, token, uuid string) string {
	return fmt.Sprintf(`{"event":"login","data":{"u":%q,"token":%q},"uuid":%s}`, u, token, uuid)
}

func respon(uuid string, fault int, body string) string {
	return fmt.Sprintf(`{"type":"respon","event":%s,"data":{"error":%d,"body":%q}}`, uuid, fault, body)
}

func TestLegacyEvent(t *testing.T) {
	t.Parallel()
	script := strings.NewReplacer("TOKEN6", eventToken("6"), "TOKEN9", eventToken("9")).Replace(`
		app opens
		app> {"event":"ping","uuid":1790000000123.25}
		app< {"type":"respon","event":1790000000123.25,"data":{"error":1,"body":"PING检查连接不可用"}}
		app> {"event":"login","data":{"u":"user:6","token":"wrong"},"uuid":1790000000124}
		app< {"type":"respon","event":1790000000124,"data":{"error":1,"body":"连接密钥错误"}}
		app> {"event":"login","data":{"u":"user:6","token":"TOKEN9"},"uuid":1}
		app< {"type":"respon","event":1,"data":{"error":1,"body":"连接密钥错误"}}
		app> {"event":"login","data":{"u":"wizard:6","token":"TOKEN6"},"uuid":2}
		app< {"type":"respon","event":2,"data":{"error":1,"body":"不明身份"}}
		app> {"event":"login","data":"user:6","uuid":3}
		app< {"type":"respon","event":3,"data":{"error":1,"body":"出现错误,登录失败"}}
		app> {"event":"login","uuid":4}
		app< {"type":"respon","event":4,"data":{"error":1,"body":"出现错误,登录失败"}}
		POST user:6 app {"event":"chat1","msg":"before the login"}
		app silent
		app> {"event":"login","data":{"u":"user:6","token":"TOKEN6"},"uuid":1790000000125}
		app< {"type":"respon","event":1790000000125,"data":{"error":0,"body":"登录成功"}}
		app< {"event":"chat1","msg":"before the login","to":"user:6","type":"app"}
		app proves
		app> {"event":"ping","uuid":12345678901234567890.125}
		app< {"type":"respon","event":12345678901234567890.125,"data":{"error":0,"body":"PING检查连接可用"}}
		# All devices of a user, each with its own user as the recipient.
		phone opens ; User-Agent: phone
		phone> {"event":"login","data":{"u":"user:6","token":"TOKEN6"},"uuid":1}
		phone< {"type":"respon","event":1,"data":{"error":0,"body":"登录成功"}}
		POST user:6 app {"event":"user_tabbar","msg":{"n":1.50},"badge":3,"to":"user:6,user:9"}
		app< {"event":"user_tabbar","msg":{"n":1.50},"to":"user:6","type":"app","badge":3}
		phone< {"event":"user_tabbar","msg":{"n":1.50},"to":"user:6","type":"app","badge":3}
		# Signs of life.
		app> {"event":"response","uuid":1790000000.123}
		app> {"event":"chatlobby","data":{"message":"no room"},"uuid":9}
		app> {"event":"dance","uuid":9}
		app> [object Object]
		app>
		app> 7
		app silent
		# A new login binds anew, and only there.
		phone> {"event":"login","data":{"u":"user:9","token":"TOKEN9"},"uuid":1}
		phone< {"type":"respon","event":1,"data":{"error":0,"body":"登录成功"}}
		POST user:6 app {"event":"chat1","msg":0}
		POST user:9 app {"event":"chat2","msg":"reload"}
		app< {"event":"chat1","msg":0,"to":"user:6","type":"app"}
		phone< {"event":"chat2","msg":"reload","to":"user:9","type":"app"}
		# A refused login leaves who is bound as it was.
		phone> {"event":"login","data":{"u":"user:6","token":"wrong"},"uuid":1}
		phone< {"type":"respon","event":1,"data":{"error":1,"body":"连接密钥错误"}}
		POST user:9 app {"event":"chat2","msg":"still 9"}
		phone< {"event":"chat2","msg":"still 9","to":"user:9","type":"app"}
		phone leaves
		app silent
	`)
	everywhere(t, "event", script, "--event-key="+eventKey)
}

// TestLegacyEventRoom is our extension: the lines of a room, both ways.
func TestLegacyEventRoom(t *testing.T) {
	t.Parallel()
	everywhere(t, "event", `
		app opens ?room=tea
		app> {"event":"chattea","data":{"message":"too early"},"uuid":1}
		app> {"event":"ping","uuid":2}
		app< {"type":"respon","event":2,"data":{"error":1,"body":"PING检查连接不可用"}}
		app> {"event":"login","data":{"u":"user:6","token":"any"},"uuid":3}
		app< {"type":"respon","event":3,"data":{"error":0,"body":"登录成功"}}
		two opens ?room=tea
		two> {"event":"login","data":{"u":"user:9","token":"any"},"uuid":1}
		two< {"type":"respon","event":1,"data":{"error":0,"body":"登录成功"}}
		app> {"event":"chattea","data":{"message":"hi \u2028"},"uuid":4.5}
		app< {"type":"respon","event":4.5,"data":{"error":0,"body":"发送成功"}}
		two< {"type":"app","event":"chattea","msg":"hi \u2028","from":"6"}
		two> {"event":"chatlobby","data":{"message":"not my room"},"uuid":5}
		app silent
		two silent
	`)
}

// TestLegacyEventToken: in token mode a key is needed; in open mode any token
// will do, unless there is a key.
func TestLegacyEventToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		flags []string
		token string
		fault int
	}{
		{[]string{"--auth=token"}, eventToken("6"), 1},
		{[]string{"--auth=token", "--event-key=" + eventKey}, eventToken("6"), 0},
		{[]string{"--auth=token", "--event-key=" + eventKey}, "", 1},
		{nil, "", 0},
		{[]string{"--event-key=" + eventKey}, "", 1},
	} {
		h := open(t, t.TempDir(), c.flags...)
		app := h.old("/")
		app.says(eventLogin("user:6", c.token, "1"))
		if got := app.next(); !strings.Contains(got, fmt.Sprintf(`"error":%d`, c.fault)) {
			t.Errorf("%v %q: %s", c.flags, c.token, got)
		}
		if strings.Contains(h.stderr.String(), eventKey) {
			t.Errorf("the key is in the log")
		}
	}
}

// TestLegacyEventBeat: the server pings each 20 s, also who has not logged in
// and logs in late, and closes nobody for that.
func TestLegacyEventBeat(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 32 seconds")
	}
	t.Parallel()
	h := open(t, t.TempDir())
	late := h.old("/")
	app := h.old("/compat/event")
	app.says(eventLogin("user:6", "any", "1"))
	app.hears(respon("1", 0, "登录成功"))
	began := time.Now()
	beat := app.next()
	if took := time.Since(began); took < 17*time.Second || took > 23*time.Second {
		t.Errorf("the first ping came after %s", took)
	}
	var ping struct {
		Type string
		UUID json.Number
	}
	if err := json.Unmarshal([]byte(beat), &ping); err != nil || ping.Type != "ping" || !strings.Contains(ping.UUID.String(), ".") {
		t.Errorf("the ping is %s: %v", beat, err)
	}
	if at, _ := ping.UUID.Float64(); at < float64(began.Unix()) || at > float64(time.Now().Unix()+1) {
		t.Errorf("the ping is from another time: %s", beat)
	}
	app.says(`{"event":"response","uuid":` + ping.UUID.String() + `}`)
	time.Sleep(time.Until(began.Add(31 * time.Second)))
	late.says(eventLogin("user:9", "any", "2"))
	late.hears(respon("2", 0, "登录成功"))
	app.settled()
	if got := app.rest(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
