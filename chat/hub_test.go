package chat_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"teahouse/chat"
)

func TestSenderGetsAckOthersGetEvent(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	a, _ := h.hello("alice", `"device":"phone"`)
	a2, _ := h.hello("alice", `"device":"desk"`)
	b, _ := h.hello("bob", "")
	a.join("room:lobby", "")
	a2.join("room:lobby", "")
	b.join("room:lobby", "")
	if f := a.want("online"); f.User != "bob" {
		t.Fatalf("got %+v", f)
	}
	a2.want("online")
	ack := a.send("room:lobby", "k1", "hi")
	if ack.Seq != 1 || ack.ID != 3 || ack.Key != "k1" {
		t.Fatalf("ack %+v", ack)
	}
	for _, g := range []*guest{a2, b} {
		if f := g.want("event"); f.Seq != 1 || f.From != "alice" || f.Key != "k1" || string(f.Body) != `{"text":"hi"}` {
			t.Fatalf("event %+v", f)
		}
	}
	if again := a.send("room:lobby", "k1", "hi"); again.Seq != 1 {
		t.Fatalf("the same key made %+v", again)
	}
	a.quiet()
	b.quiet()
}

func TestAckComesInItsPlace(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{hub: chat.HubOptions{Limits: fast()}})
	a, _ := h.hello("alice", "")
	a.join("room:r", "")
	const each = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range each {
			_, _ = h.hub.Publish(context.Background(), []chat.Event{{Topic: "room:r", Kind: "message", Body: []byte("1")}})
		}
	}()
	for i := range each {
		a.say(`{"op":"send","id":3,"topic":"room:r","key":"k%d","body":%d}`, i, i)
	}
	last := int64(0)
	for range 2 * each {
		f, err := a.next()
		if err != nil {
			t.Fatal(err)
		}
		if (f.Op != "ack" && f.Op != "event") || f.Seq <= last {
			t.Fatalf("after seq %d came %+v", last, f)
		}
		last = f.Seq
	}
	<-done
}

func fast() chat.Limits {
	l := chat.DefaultLimits()
	l.SendRate = 0
	return l
}

func TestResume(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	a, w := h.hello("alice", "")
	a.join("room:r", "")
	h.publish("room:r", 5)
	for i := range 3 {
		if f := a.want("event"); f.Seq != int64(i+1) {
			t.Fatalf("got %+v", f)
		}
	}
	a.conn.Close()
	h.publish("user:alice", 2)
	h.publish("room:r", 5)
	b, _ := h.hello("alice", fmt.Sprintf(`"position":{"epoch":%q,"seq":3}`, w.Position.Epoch))
	for _, seq := range []int64{6, 7} {
		if f := b.want("event"); f.Seq != seq || f.Topic != "user:alice" {
			t.Fatalf("got %+v, want inbox event %d", f, seq)
		}
	}
	if j := b.join("room:r", `"after":3`); j.Head != 12 {
		t.Fatalf("joined %+v", j)
	}
	for _, seq := range []int64{4, 5, 8, 9, 10, 11, 12} {
		if f := b.want("event"); f.Seq != seq {
			t.Fatalf("got %+v, want %d", f, seq)
		}
	}
	h.publish("room:r", 1)
	if f := b.want("event"); f.Seq != 13 {
		t.Fatalf("got %+v", f)
	}
	c, _ := h.hello("carl", "")
	c.join("room:r", `"recent":2`)
	for _, seq := range []int64{12, 13} {
		if f := c.want("event"); f.Seq != seq {
			t.Fatalf("got %+v, want %d", f, seq)
		}
	}
	c.quiet()
}

func TestWithoutPositionNothingIsReplayed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	h.publish("user:alice", 3)
	a, w := h.hello("alice", "")
	if w.Position.Seq != 3 {
		t.Fatalf("welcome %+v", w)
	}
	a.quiet()
	a.say(`{"op":"history","id":5,"topic":"user:alice","limit":2}`)
	f := a.want("history")
	if len(f.Events) != 2 || f.Events[0].Seq != 2 || !f.More {
		t.Fatalf("history %+v", f)
	}
	a.say(`{"op":"history","id":6,"topic":"user:alice","before":2}`)
	if f = a.want("history"); len(f.Events) != 1 || f.More {
		t.Fatalf("history %+v", f)
	}
}

func TestResets(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{hub: chat.HubOptions{ReplayMax: 10, Page: 4, RecentBytes: 1}})
	h.publish("room:r", 30)
	_, w := h.hello("x", "")
	for _, c := range []struct {
		name, position, join string
		reason               string
		first                int64
	}{
		{"foreign epoch", `"position":{"epoch":"another","seq":20}`, `"after":25`, "epoch", 27},
		{"beyond the end", ``, `"after":31`, "epoch", 27},
		{"too far behind", ``, `"after":5`, "limit", 27},
		{"foreign epoch of the join", ``, `"after":29,"epoch":"another"`, "epoch", 27},
		{"joins on", ``, `"after":21`, "", 22},
		{"from the beginning of another log", `"position":{"epoch":"another","seq":0}`, `"after":25`, "epoch", 27},
	} {
		g, _ := h.hello("y", c.position)
		if strings.Contains(c.position, "20") {
			if f := g.want("reset"); f.Topic != "user:y" || f.Reason != "epoch" {
				t.Fatalf("%s: got %+v", c.name, f)
			}
		}
		g.join("room:r", c.join)
		if c.reason != "" {
			if f := g.want("reset"); f.Reason != c.reason || f.After != c.first-1 || f.Topic != "room:r" {
				t.Fatalf("%s: got %+v", c.name, f)
			}
		}
		for seq := c.first; seq <= 30; seq++ {
			if f := g.want("event"); f.Seq != seq {
				t.Fatalf("%s: got %+v, want %d", c.name, f, seq)
			}
		}
		g.quiet()
		g.conn.Close()
	}
	h.store.Prune("room:r", 25)
	g, _ := h.hello("y", fmt.Sprintf(`"position":{"epoch":%q,"seq":22}`, w.Position.Epoch))
	g.join("room:r", `"after":22`)
	if f := g.want("reset"); f.Reason != "retention" || f.After != 26 {
		t.Fatalf("got %+v", f)
	}
}

func TestSlowReaderIsServedFromTheLog(t *testing.T) {
	t.Parallel()
	// On a busy machine the slow one may take no byte for long: that is not what is looked at.
	h := newHouse(t, houseOptions{hub: chat.HubOptions{QueueBytes: 8 << 10, RecentBytes: 64 << 10, Page: 20, Limits: fast(),
		StallMax: 5 * time.Minute, BehindMax: 5 * time.Minute}})
	slow, _ := h.hello("slow", "")
	slow.join("room:r", "")
	quick, _ := h.hello("quick", "")
	quick.join("room:r", "")
	slow.want("online")
	body := `"` + strings.Repeat("x", 8000) + `"`
	const n = 2000 // 16 MB: more than the kernel buffers on loopback
	go func() {
		for range n {
			_, _ = h.hub.Publish(context.Background(), []chat.Event{{Topic: "room:r", Kind: "message", Body: []byte(body)}})
		}
	}()
	for i := range n {
		if f := quick.want("event"); f.Seq != int64(i+1) {
			t.Fatalf("quick got %d, want %d", f.Seq, i+1)
		}
	}
	if h.hub.Stats().Slow == 0 {
		t.Fatal("the slow reader never fell behind: the test shows nothing")
	}
	// While behind it sends too: its own line comes as an ack only.
	slow.say(`{"op":"send","id":7,"topic":"room:r","key":"mine","body":1}`)
	for i := range n {
		if f := slow.want("event"); f.Seq != int64(i+1) {
			t.Fatalf("slow got %+v after %d", f, i)
		}
	}
	if f := slow.want("ack"); f.Seq != n+1 || f.Again {
		t.Fatalf("acked %+v", f)
	}
	slow.quiet()
	h.publish("room:r", 1)
	if f := slow.want("event"); f.Seq != n+2 {
		t.Fatalf("got %+v", f)
	}
}

func TestTalk(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	talk := chat.Talk("bob", "alice")
	if talk != "dm:alice:bob" {
		t.Fatal(talk)
	}
	a, _ := h.hello("alice", "")
	b, w := h.hello("bob", "")
	a.send(talk, "1", "hello bob")
	if f := b.want("event"); f.Topic != talk || f.Seq != 1 {
		t.Fatalf("got %+v", f)
	}
	a.say(`{"op":"presence","id":4,"topic":%q}`, talk)
	if f := a.want("presence"); fmt.Sprint(f.Users) != "[alice bob]" {
		t.Fatalf("got %+v", f)
	}
	b.send(talk, "1", "hello alice") // another sender's key is another key
	if f := a.want("event"); f.Seq != 2 {
		t.Fatalf("got %+v", f)
	}
	b.conn.Close()
	a.send(talk, "2", "are you there?")
	b, _ = h.hello("bob", fmt.Sprintf(`"position":{"epoch":%q,"seq":2}`, w.Position.Epoch))
	if f := b.want("event"); f.Seq != 3 {
		t.Fatalf("got %+v", f)
	}
	b.quiet()
	c, _ := h.hello("carl", "")
	c.say(`{"op":"join","id":2,"topic":%q}`, talk)
	if f := c.want("error"); f.Code != "forbidden" || f.ID != 2 {
		t.Fatalf("got %+v", f)
	}
	c.say(`{"op":"send","id":3,"topic":%q,"key":"x","body":1}`, talk)
	if f := c.want("error"); f.Code != "forbidden" {
		t.Fatalf("got %+v", f)
	}
	c.say(`{"op":"history","id":3,"topic":"user:bob"}`)
	if f := c.want("error"); f.Code != "forbidden" {
		t.Fatalf("got %+v", f)
	}
	c.say(`{"op":"send","id":3,"topic":"user:bob","key":"x","kind":"voucher.redeemed","body":1}`)
	if f := c.want("error"); f.Code != "forbidden" {
		t.Fatalf("got %+v", f)
	}
	c.quiet()
}

func TestPresence(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	a, _ := h.hello("alice", "")
	if j := a.join("room:r", ""); string(j.Count) != "1" {
		t.Fatalf("joined %+v", j)
	}
	b1, _ := h.hello("bob", "")
	b2, _ := h.hello("bob", "")
	b1.join("room:r", "")
	if f := a.want("online"); f.User != "bob" || string(f.Count) != "true" {
		t.Fatalf("got %+v", f)
	}
	if j := b2.join("room:r", ""); string(j.Count) != "2" {
		t.Fatalf("joined %+v", j)
	}
	a.say(`{"op":"presence","id":4,"topic":"room:r"}`)
	if f := a.want("presence"); fmt.Sprint(f.Users) != "[alice bob]" {
		t.Fatalf("got %+v", f)
	}
	b1.conn.Close() // without a goodbye
	b2.say(`{"op":"signal","topic":"room:r","body":{"typing":true}}`)
	if f := a.want("signal"); f.From != "bob" || string(f.Body) != `{"typing":true}` {
		t.Fatalf("got %+v", f)
	}
	b2.say(`{"op":"leave","id":9,"topic":"room:r"}`)
	b2.want("left")
	if f := a.want("online"); f.User != "bob" || string(f.Count) != "false" {
		t.Fatalf("got %+v", f)
	}
	b2.say(`{"op":"signal","topic":"room:r","body":1}`)
	if f := b2.want("error"); f.Code != "not_joined" {
		t.Fatalf("got %+v", f)
	}
}

func TestWrongFrames(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	g := h.connect()
	g.say(`{"op":"join","id":1,"topic":"room:r"}`)
	if c := g.wantClose(); c.Code != 4105 {
		t.Fatalf("got %v", c)
	}
	g, _ = h.hello("alice", "")
	for frame, code := range map[string]string{
		`{`: "bad_frame", `[]`: "bad_frame", `{"op":"dance","id":1}`: "bad_frame", `{"id":1}`: "bad_frame",
		`{"op":"join","topic":"lobby"}`:                                               "bad_topic",
		`{"op":"join","topic":"room:"}`:                                               "bad_topic",
		`{"op":"join","topic":7}`:                                                     "bad_frame",
		`{"op":"send","topic":"room:a"}`:                                              "bad_frame",
		`{"op":"join","topic":"dm:b:a"}`:                                              "bad_topic",
		`{"op":"hello","user":"other"}`:                                               "bad_frame",
		`{"op":"leave","topic":"user:alice"}`:                                         "forbidden",
		`{"op":"send","topic":"room:a","kind":"no spaces","body":1}`:                  "bad_frame",
		`{"op":"send","topic":"room:a","body":"` + strings.Repeat("y", 17<<10) + `"}`: "too_large",
	} {
		g.say("%s", frame)
		if f := g.want("error"); f.Code != code || f.Message == "" {
			t.Fatalf("%.60s: got %+v", frame, f)
		}
	}
	g.quiet()
	g.say(`{"op":"ping","pad":"%s"}`, strings.Repeat("x", 70<<10))
	if c := g.wantClose(); c.Code != 4104 {
		t.Fatalf("got %v", c)
	}
	g, _ = h.hello("alice", "")
	_ = g.conn.WriteMessage(websocket.TextMessage, []byte("\xff"))
	if c := g.wantClose(); c.Code != websocket.CloseInvalidFramePayloadData {
		t.Fatalf("got %v", c)
	}
	g, _ = h.hello("alice", "")
	for range 20 {
		g.say("nonsense")
	}
	if c := g.wantClose(); c.Code != 4102 {
		t.Fatalf("got %v", c)
	}
	g = h.connect()
	g.say(`{"op":"hello","user":"a\u0007b"}`)
	if c := g.wantClose(); c.Code != 4103 {
		t.Fatalf("got %v", c)
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	l := chat.DefaultLimits()
	l.SendRate, l.SendBurst = 0.001, 2
	h := newHouse(t, houseOptions{hub: chat.HubOptions{Limits: l}})
	g, _ := h.hello("alice", "")
	g.send("room:r", "1", "a")
	g.send("room:r", "2", "b")
	g.say(`{"op":"send","id":4,"topic":"room:r","key":"3","body":1}`)
	if f := g.want("error"); f.Code != "rate_limited" || f.RetryMS < 1000 || f.ID != 4 {
		t.Fatalf("got %+v", f)
	}
	g.quiet()
}

func TestStorageFailureIsTold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	g, _ := h.hello("alice", "")
	g.join("room:r", "")
	h.store.SetFail(&chat.Error{Code: chat.CodeStorageFull, Message: "the disk is full"})
	g.say(`{"op":"send","id":4,"topic":"room:r","key":"3","body":1}`)
	if f := g.want("error"); f.Code != "storage_full" {
		t.Fatalf("got %+v", f)
	}
	if _, err := h.hub.Publish(context.Background(), []chat.Event{{Topic: "room:r", Kind: "x", Body: []byte("1")}}); chat.CodeOf(err) != chat.CodeStorageFull {
		t.Fatal(err)
	}
	h.store.SetFail(errors.New("secret detail"))
	g.say(`{"op":"send","id":4,"topic":"room:r","key":"3","body":1}`)
	if f := g.want("error"); f.Code != "internal" || strings.Contains(f.Message, "secret") {
		t.Fatalf("got %+v", f)
	}
	h.store.SetFail(nil)
	if f := g.send("room:r", "3", "again"); f.Seq != 1 {
		t.Fatalf("got %+v", f)
	}
}

func TestKickAndSessions(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	g, w := h.hello("alice", `"device":"phone"`)
	g.join("room:r", "")
	s, err := h.hub.Sessions(context.Background(), chat.SessionQuery{User: "alice", Online: true})
	if err != nil || len(s) != 1 || s[0].ID != w.Session || s[0].Device != "phone" || s[0].Dialect != "native" || len(s[0].Topics) != 2 {
		t.Fatalf("%v %+v", err, s)
	}
	if h.hub.Kick("nobody", "") || !h.hub.Kick(w.Session, "") {
		t.Fatal("kick")
	}
	if c := g.wantClose(); c.Code != 4101 {
		t.Fatalf("got %v", c)
	}
	h.stop()
	s, err = h.store.Sessions(context.Background(), chat.SessionQuery{})
	if err != nil || len(s) != 1 || s[0].Ended == 0 || s[0].Reason != chat.CodeKicked {
		t.Fatalf("%v %+v", err, s)
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	a, _ := h.hello("alice", "")
	h.hello("alice", "")
	e := chat.Event{Topic: "user:alice", Kind: "push", Key: "k", Body: []byte(`"hi"`)}
	other := e
	other.Topic = "user:bob"
	d, err := h.hub.Publish(context.Background(), []chat.Event{e, other})
	if err != nil || d[0].Online != 2 || d[1].Online != 0 || d[0].Event.Seq != 1 || d[0].Duplicate {
		t.Fatalf("%v %+v", err, d)
	}
	if f := a.want("event"); f.Kind != "push" || f.From != "" {
		t.Fatalf("got %+v", f)
	}
	d, err = h.hub.Publish(context.Background(), []chat.Event{e})
	if err != nil || !d[0].Duplicate || d[0].Event.Seq != 1 || d[0].Online != 0 {
		t.Fatalf("%v %+v", err, d)
	}
	a.quiet()
}

func TestShutdownFinishesWhatItTook(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{hub: chat.HubOptions{Limits: fast()}})
	g, _ := h.hello("alice", "")
	g.join("room:r", "")
	const n = 50
	for i := range n {
		g.say(`{"op":"send","id":%d,"topic":"room:r","key":"k%d","body":1}`, i, i)
	}
	g.want("ack")
	done := make(chan struct{})
	go func() { h.stop(); close(done) }()
	acked := int64(1)
	for {
		f, err := g.next()
		if err != nil {
			var c *websocket.CloseError
			if !errors.As(err, &c) || c.Code != 4002 || !strings.Contains(c.Text, "come back") {
				t.Fatalf("ended with %v", err)
			}
			break
		}
		if f.Op == "ack" {
			acked++
		} else if f.Op != "error" || f.Code != "going_away" {
			t.Fatalf("got %+v", f)
		}
	}
	<-done
	head, _ := h.store.Head(context.Background())
	if head.Seq != acked {
		t.Fatalf("%d stored, %d acked", head.Seq, acked)
	}
	if err := h.hub.Ready(); chat.CodeOf(err) != chat.CodeGoingAway {
		t.Fatal(err)
	}
}

func TestBytesOfAFrameAreNotMixed(t *testing.T) {
	t.Parallel()
	// Control frames, replies and events come from different goroutines; the
	// library at the other end would see any mixture as a protocol error.
	h := newHouse(t, houseOptions{hub: chat.HubOptions{Limits: fast(), QueueBytes: 4 << 10}})
	g, _ := h.hello("alice", "")
	g.join("room:r", "")
	go func() {
		for range 500 {
			_, _ = h.hub.Publish(context.Background(), []chat.Event{{Topic: "room:r", Kind: "message", Body: []byte("1")}})
		}
	}()
	go func() {
		for range 200 {
			_ = g.conn.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second))
		}
	}()
	for i := range 500 {
		if f := g.want("event"); f.Seq != int64(i+1) {
			t.Fatalf("got %+v", f)
		}
	}
}
