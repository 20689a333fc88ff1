package chat_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"teahouse/chat"
	"teahouse/chat/storetest"
	"teahouse/chat/wire"
)

// doorsHouse is a house that keeps codes and claims.
func doorsHouse(t *testing.T, o houseOptions) *house {
	t.Helper()
	if o.hub.Doors == nil {
		o.hub.Doors = &storetest.Doors{}
	}
	return newHouse(t, o)
}

func asFastAsYouLike() chat.Limits {
	l := chat.DefaultLimits()
	l.SendRate = 0
	return l
}

// fails says something and wants the error that answers it.
func (g *guest) fails(code chat.Code, format string, args ...any) frame {
	g.t.Helper()
	g.say(format, args...)
	f := g.told("error")
	if f.Code != string(code) || f.Message == "" {
		g.t.Fatalf("got %+v, want the code %s", f, code)
	}
	return f
}

func (g *guest) protect(topic, code string) {
	g.t.Helper()
	g.say(`{"op":"protect","id":7,"topic":%q,"code":%q}`, topic, code)
	if f := g.told("protected"); f.ID != 7 || f.Topic != topic {
		g.t.Fatalf("got %+v", f)
	}
}

// told returns the next frame but for those of who comes and goes, which may
// come a little later; it must have this op.
func (g *guest) told(op string) frame {
	g.t.Helper()
	for {
		f, err := g.next()
		if err != nil || f.Op != "online" && f.Op != op {
			g.t.Fatalf("got %+v, %v, want op %s", f, err, op)
		}
		if f.Op == op {
			return f
		}
	}
}

// hush checks that nothing has been told but who comes and goes.
func (g *guest) hush() {
	g.t.Helper()
	g.say(`{"op":"ping","id":99}`)
	g.told("pong")
}

const den = "room:den"

// TestRoomCode: without the code nothing of a room is told, and nothing can be
// said in it.
func TestRoomCode(t *testing.T) {
	t.Parallel()
	h := doorsHouse(t, houseOptions{})
	a, _ := h.hello("alice", "")
	if f := a.join(den, ""); f.Locked {
		t.Error("a room without a code is locked")
	}
	a.send(den, "1", "a secret")
	a.protect(den, "tea at four")
	a.quiet()
	a.send(den, "2", "still here")

	b, _ := h.hello("bob", "")
	for _, say := range []string{
		`{"op":"join","id":2,"topic":"room:den","recent":50}`,
		`{"op":"join","id":2,"topic":"room:den","after":0,"code":""}`,
		`{"op":"history","id":2,"topic":"room:den"}`,
		`{"op":"presence","id":2,"topic":"room:den"}`,
		`{"op":"send","id":2,"topic":"room:den","key":"k","body":{"text":"hi"}}`,
		`{"op":"protect","id":2,"topic":"room:den","code":"another"}`,
		`{"op":"protect","id":2,"topic":"room:den","code":""}`,
	} {
		if f := b.fails(chat.CodeNeeded, "%s", say); f.ID != 2 || strings.Contains(f.Message, "tea at four") {
			t.Errorf("%s: %+v", say, f)
		}
	}
	// It can be kept, muted and left, but not read: not by a search, not by a list.
	b.say(`{"op":"mark","id":2,"topic":"room:den","kept":true,"muted":true}`)
	b.told("marked")
	b.say(`{"op":"topics","id":2}`)
	if f := b.told("topics"); !bytes.Contains(f.Topics, []byte(`"locked":true`)) || bytes.Contains(f.Topics, []byte("secret")) || bytes.Contains(f.Topics, []byte(`"head":1`)) {
		t.Errorf("the list tells %s", f.Topics)
	}
	b.fails(chat.CodeNeeded, `{"op":"mark","id":2,"topic":"room:den","read":1}`)
	b.fails(chat.CodeNeeded, `{"op":"search","id":2,"topic":"room:den","text":"secret"}`)
	b.fails(chat.CodeNeeded, `{"op":"send","id":2,"topic":"room:den","kind":"message.recalled","body":{"seq":1}}`)
	b.say(`{"op":"mark","id":2,"topic":"room:den","kept":false}`)
	b.told("marked")
	b.fails(chat.CodeNotJoined, `{"op":"signal","id":2,"topic":"room:den","body":1}`)
	b.fails(chat.CodeBadCode, `{"op":"join","id":2,"topic":"room:den","recent":50,"code":"Tea at four"}`)
	b.fails(chat.CodeNeeded, `{"op":"history","id":2,"topic":"room:den"}`)
	a.quiet() // nobody came

	if f := b.join(den, `"recent":50,"code":"tea at four"`); !f.Locked {
		t.Error("a room with a code is not shown as one")
	}
	for _, want := range []string{"1", "2"} {
		if f := b.want("event"); f.Key != want {
			t.Errorf("got %+v", f)
		}
	}
	b.send(den, "3", "hi")
	a.told("event")
	b.say(`{"op":"presence","id":2,"topic":"room:den"}`)
	if f := b.told("presence"); len(f.Users) != 2 {
		t.Errorf("got %+v", f)
	}
	// What was given holds as long as the connection.
	b.say(`{"op":"leave","id":3,"topic":"room:den"}`)
	b.told("left")
	b.say(`{"op":"history","id":3,"topic":"room:den"}`)
	b.told("history")
	b.join(den, "")
	b2, _ := h.hello("bob", "")
	b2.fails(chat.CodeNeeded, `{"op":"join","id":2,"topic":"room:den"}`)

	// A backend reads and writes as before.
	if _, err := h.hub.Publish(context.Background(), []chat.Event{{Topic: den, Kind: "message", Body: []byte(`{}`)}}); err != nil {
		t.Error(err)
	}
	a.told("event")
}

// TestRoomCodeChange: a new code holds at once, for everybody but who set it.
func TestRoomCodeChange(t *testing.T) {
	t.Parallel()
	h := doorsHouse(t, houseOptions{})
	in := func(user string) *guest {
		g, _ := h.hello(user, "")
		g.join(den, `"code":"first code"`)
		return g
	}
	a, _ := h.hello("alice", "")
	a.join(den, "")
	early, _ := h.hello("early", "") // before there was a code
	early.join(den, "")
	a.protect(den, "first code")
	if f := early.told("error"); f.Code != string(chat.CodeNeeded) || f.Topic != den || f.ID != 0 {
		t.Errorf("who was in is told %+v", f)
	}
	a2, b := in("alice"), in("bob")

	b.protect(den, "second code") // who has given the code may change it
	for _, g := range []*guest{a, a2} {
		if f := g.told("error"); f.Code != string(chat.CodeNeeded) || f.Topic != den {
			t.Errorf("who was in is told %+v", f)
		}
		g.fails(chat.CodeNeeded, `{"op":"send","id":2,"topic":"room:den","key":"k","body":1}`)
		g.fails(chat.CodeBadCode, `{"op":"join","id":2,"topic":"room:den","code":"first code"}`)
	}
	b.say(`{"op":"presence","id":2,"topic":"room:den"}`)
	if f := b.told("presence"); len(f.Users) != 1 || f.Users[0] != "bob" {
		t.Errorf("in the room are %v", f.Users)
	}
	b.say(`{"op":"send","id":3,"topic":"room:den","key":"1","body":{"text":"among us"}}`)
	b.told("ack")
	a.hush()
	a2.hush()
	a.join(den, `"recent":10,"code":"second code"`)
	a.told("event")

	// Without a code it is for all again, and nobody is put out.
	a.protect(den, "")
	a.protect(den, "") // again: nothing to do
	b.hush()
	a2.join(den, "")
	a2.send(den, "2", "hello")
	b.told("event")
}

// TestRoomCodeMayBeSet: by who is alone in what was said in a room.
func TestRoomCodeMayBeSet(t *testing.T) {
	t.Parallel()
	h := doorsHouse(t, houseOptions{hub: chat.HubOptions{Limits: asFastAsYouLike()}})
	a, _ := h.hello("alice", "")
	b, _ := h.hello("bob", "")
	refused := func(code chat.Code, topic, c string) {
		t.Helper()
		a.fails(code, `{"op":"protect","id":1,"topic":%q,"code":%q}`, topic, c)
	}
	refused(chat.CodeForbidden, "room:lobby", "open sesame")
	refused(chat.CodeBadTopic, "dm:alice:bob", "open sesame")
	refused(chat.CodeBadTopic, "user:alice", "open sesame")
	refused(chat.CodeBadTopic, "den", "open sesame")
	refused(chat.CodeBadRequest, "room:new", "123")
	refused(chat.CodeBadRequest, "room:new", strings.Repeat("1", 65))
	a.fails(chat.CodeBadFrame, `{"op":"protect","id":1,"topic":"room:new"}`)

	b.send("room:bobs", "1", "mine")
	refused(chat.CodeForbidden, "room:bobs", "open sesame")
	a.send("room:both", "1", "mine")
	b.send("room:both", "1", "ours")
	for i := range 250 {
		a.send("room:both", fmt.Sprint("m", i), "mine")
	}
	refused(chat.CodeForbidden, "room:both", "open sesame")
	h.publish("room:house", 1)
	refused(chat.CodeForbidden, "room:house", "open sesame")
	a.send("room:pruned", "1", "who knows what was before")
	h.store.Prune("room:pruned", 1<<50)
	refused(chat.CodeForbidden, "room:pruned", "open sesame")

	for i := range 250 {
		a.send("room:alone", fmt.Sprint("m", i), "mine")
	}
	a.protect("room:alone", "open sesame")
	a.send("room:alone", "in", "and I am in it")
	b.fails(chat.CodeNeeded, `{"op":"send","id":1,"topic":"room:alone","body":1}`)

	// One who sets codes for ever is stopped, and told for how long.
	for i := 0; ; i++ {
		a.say(`{"op":"protect","id":1,"topic":"room:%d","code":"open sesame"}`, i)
		f, err := a.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Op == "error" {
			if f.Code != string(chat.CodeRateLimited) || f.RetryMS <= 0 || i < 20 {
				t.Errorf("after %d rooms: %+v", i, f)
			}
			break
		}
		if i > 50 {
			t.Fatal("nobody stops it")
		}
	}

	// Where the store cannot keep it, it is not said to be kept.
	plain := newHouse(t, houseOptions{})
	c, _ := plain.hello("carol", "")
	c.fails(chat.CodeForbidden, `{"op":"protect","id":1,"topic":"room:den","code":"open sesame"}`)
}

// TestRoomCodeStored: a code that was not stored does not hold, one that was
// holds after a restart; the operator can set and drop it.
func TestRoomCodeStored(t *testing.T) {
	t.Parallel()
	doors, store := &storetest.Doors{}, storetest.NewMemory(nil)
	h := doorsHouse(t, houseOptions{hub: chat.HubOptions{Doors: doors, CloseWait: 10 * time.Millisecond}, store: store})
	a, _ := h.hello("alice", "")
	doors.SetFail(chat.Errorf(chat.CodeStorageFull, "the disk is full"))
	a.fails(chat.CodeStorageFull, `{"op":"protect","id":1,"topic":"room:den","code":"open sesame"}`)
	b, _ := h.hello("bob", "")
	b.join(den, "")
	doors.SetFail(nil)
	a.protect(den, "open sesame")
	b.want("error")
	h.stop()

	h = doorsHouse(t, houseOptions{hub: chat.HubOptions{Doors: doors, CloseWait: 10 * time.Millisecond}, store: store.Reopen()})
	var wg sync.WaitGroup
	for i := range 50 { // all come back at once
		g, _ := h.hello(fmt.Sprint("guest", i), "")
		wg.Go(func() {
			if err := g.conn.WriteMessage(websocket.TextMessage, []byte(`{"op":"join","id":2,"topic":"room:den","code":"open sesame"}`)); err != nil {
				t.Error(err)
			}
			if f, err := g.next(); err != nil || f.Op != "joined" {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
	wg.Wait()
	b, _ = h.hello("bob", "")
	b.fails(chat.CodeNeeded, `{"op":"join","id":2,"topic":"room:den"}`)
	ctx := context.Background()
	for topic, code := range map[string]chat.Code{"room:den": chat.CodeBadRequest, "dm:a:b": chat.CodeBadTopic, "": chat.CodeBadTopic} {
		c := "open sesame"
		if code == chat.CodeBadRequest {
			c = "123"
		}
		if err := h.hub.SetRoomCode(ctx, topic, c); chat.CodeOf(err) != code {
			t.Errorf("%q: %v", topic, err)
		}
	}
	if err := h.hub.SetRoomCode(ctx, den, ""); chat.CodeOf(err) != chat.CodeBadRequest {
		t.Errorf("an empty code: %v", err)
	}
	if err := h.hub.SetRoomCode(ctx, den, "a new one"); err != nil {
		t.Fatal(err)
	}
	if users, _ := h.hub.Online(den, 10); len(users) != 0 {
		t.Errorf("still in: %v", users)
	}
	b.fails(chat.CodeBadCode, `{"op":"join","id":2,"topic":"room:den","code":"open sesame"}`)
	b.join(den, `"code":"a new one"`)
	for _, had := range []bool{true, false} {
		if got, err := h.hub.DropRoomCode(ctx, den); got != had || err != nil {
			t.Errorf("DropRoomCode: %v, %v; want %v", got, err, had)
		}
	}
	c, _ := h.hello("carol", "")
	c.join(den, "")
	if err := h.hub.SetRoomCode(ctx, "room:lobby", "members only"); err != nil { // the operator may
		t.Error(err)
	}
	c.fails(chat.CodeNeeded, `{"op":"join","id":2,"topic":"room:lobby"}`)
	h.stop()
	if err := h.hub.SetRoomCode(ctx, den, "a new one"); chat.CodeOf(err) != chat.CodeGoingAway {
		t.Errorf("after the end: %v", err)
	}
}

// slowPages is a store of which a read of a page can be held up.
type slowPages struct {
	chat.Store
	reading, goOn chan struct{}
}

func (s *slowPages) Before(ctx context.Context, topic string, seq int64, limit int) ([]chat.Event, error) {
	if topic == den {
		s.reading <- struct{}{}
		<-s.goOn
	}
	return s.Store.Before(ctx, topic, seq, limit)
}

// TestRoomCodeBetween: who has shown a code, and is not in yet when it changes,
// is put out as well.
func TestRoomCodeBetween(t *testing.T) {
	t.Parallel()
	pages := &slowPages{reading: make(chan struct{}), goOn: make(chan struct{})}
	h := doorsHouse(t, houseOptions{wrap: func(m *storetest.Memory) chat.Store {
		pages.Store = m
		return pages
	}})
	if err := h.hub.SetRoomCode(t.Context(), den, "first code"); err != nil {
		t.Fatal(err)
	}
	b, _ := h.hello("bob", "")
	b.say(`{"op":"join","id":2,"topic":"room:den","recent":50,"code":"first code"}`)
	<-pages.reading
	if err := h.hub.SetRoomCode(t.Context(), den, "second code"); err != nil {
		t.Fatal(err)
	}
	close(pages.goOn)
	b.want("joined")
	h.publish(den, 1)
	if f := b.want("error"); f.Code != string(chat.CodeNeeded) || f.Topic != den {
		t.Errorf("got %+v", f)
	}
	b.quiet()
}

// TestRoomCodeRace: whoever joins with the old code at the moment of a change
// hears nothing of what is said after it.
func TestRoomCodeRace(t *testing.T) {
	t.Parallel()
	h := doorsHouse(t, houseOptions{hub: chat.HubOptions{Limits: asFastAsYouLike()}})
	a, _ := h.hello("alice", "")
	a.protect(den, "code 0")
	for round := range 10 {
		var guests []*guest
		for i := range 8 {
			g, _ := h.hello(fmt.Sprint("guest", i), "")
			guests = append(guests, g)
		}
		var wg sync.WaitGroup
		for i, g := range guests {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Microsecond)
				if err := g.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"op":"join","id":2,"topic":"room:den","code":"code %d"}`, round)); err != nil {
					t.Error(err)
				}
			})
		}
		a.protect(den, fmt.Sprintf("code %d", round+1))
		a.send(den, fmt.Sprint("after", round), "nobody but me")
		wg.Wait()
		for _, g := range guests {
			g.say(`{"op":"ping","id":99}`)
			for {
				f, err := g.next()
				if err != nil {
					t.Fatal(err)
				}
				if f.Op == "event" {
					t.Fatalf("who had the old code hears %+v", f)
				}
				if f.Op == "pong" {
					break
				}
			}
			_ = g.conn.Close()
		}
	}
}

// TestRoomCodeGuessed: guessing is slow, and the clock gives tries back.
func TestRoomCodeGuessed(t *testing.T) {
	t.Parallel()
	bubble(t, houseOptions{hub: chat.HubOptions{Doors: &storetest.Doors{}}}, func(t *testing.T, h *house) {
		a, _ := h.hello("alice", "")
		a.protect(den, "0042")
		b, _ := h.hello("bob", "")
		for i := 0; ; i++ {
			b.say(`{"op":"join","id":2,"topic":"room:den","code":"%04d"}`, 9000+i)
			f := b.want("error")
			if f.Code == string(chat.CodeBadCode) {
				continue
			}
			if f.Code != string(chat.CodeRateLimited) || f.RetryMS <= 0 || i > 20 {
				t.Fatalf("guess %d: %+v", i, f)
			}
			// Another connection from there is no way out.
			_ = b.conn.Close()
			b, _ = h.hello("bob2", "")
			b.fails(chat.CodeRateLimited, `{"op":"join","id":2,"topic":"room:den","code":"0042"}`)
			_, _ = a.conn.Close(), b.conn.Close() // nobody reads meanwhile
			time.Sleep(time.Duration(f.RetryMS) * time.Millisecond)
			b, _ = h.hello("bob", "")
			b.join(den, `"code":"0042"`)
			_ = b.conn.Close()
			break
		}
	})
}

// TestRoomCodeMute: a client whose protocol has no word for it is put out by
// the end of its connection, and does not get in.
func TestRoomCodeMute(t *testing.T) {
	t.Parallel()
	h := doorsHouse(t, houseOptions{open: func(hs chat.Handshake) chat.Opening {
		if hs.Query.Get("user") == "" {
			return chat.Opening{Dialect: wire.Native{}}
		}
		o := plainOpening(hs)
		o.Commands[1].Topic = den
		return o
	}})
	a, _ := h.hello("alice", "")
	a.join(den, "")
	mute := h.call("user=old")
	a.want("online") // it is in
	a.protect(den, "open sesame")
	want := chat.CodeNeeded.Verdict().Close
	if got := mute.code(); got != want {
		t.Errorf("who was in is closed with %d", got)
	}
	if got := h.call("user=other").code(); got != want {
		t.Errorf("who comes is closed with %d", got)
	}
}
