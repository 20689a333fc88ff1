package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

// listed is an entry of the list of topics.
type listed struct {
	Topic, Last         string
	Read, Head          int64
	Unread              int
	More, Mention       bool
	Muted, Kept, Locked bool
}

func (g *guest) topics() (list []listed) {
	g.t.Helper()
	g.say(`{"op":"topics","id":5}`)
	_, raw, err := g.conn.ReadMessage()
	if err != nil {
		g.t.Fatal(err)
	}
	var f struct {
		Op, Code string
		Topics   []struct {
			listed
			Last *frame
		}
	}
	if err := json.Unmarshal(raw, &f); err != nil || f.Op != "topics" {
		g.t.Fatalf("topics were answered by %s, %v", raw, err)
	}
	for _, t := range f.Topics {
		if t.Last != nil {
			t.listed.Last = string(t.Last.Body)
		}
		list = append(list, t.listed)
	}
	return list
}

func (g *guest) mark(topic, what string) frame {
	g.t.Helper()
	g.say(`{"op":"mark","id":6,"topic":%q,%s}`, topic, what)
	f, err := g.next()
	if err != nil || f.ID != 6 {
		g.t.Fatalf("the mark was answered by %+v, %v", f, err)
	}
	return f
}

func TestMarksAndTopics(t *testing.T) {
	t.Parallel()
	store := storetest.NewMemory(nil)
	h := newHouse(t, houseOptions{store: store, hub: chat.HubOptions{Limits: fast()}})
	phone, _ := h.hello("alice", "")
	desk, _ := h.hello("alice", "")
	b, _ := h.hello("bob", "")
	if list := phone.topics(); len(list) != 0 {
		t.Fatalf("in the beginning there is %+v", list)
	}
	post := func(topic, key, body string) int64 {
		t.Helper()
		b.say(`{"op":"send","id":3,"topic":%q,"key":%q,"body":%s}`, topic, key, body)
		return b.want("ack").Seq
	}
	one := post("room:r", "1", `{"text":"one"}`)
	two := post("room:r", "2", `{"text":"two","mentions":["carol","alice"]}`)
	post("room:r", "3", `{"text":"three"}`)
	if f := b.recall("room:r", "4", two+1); f.Op != "ack" {
		t.Fatal(f)
	}
	b.say(`{"op":"send","id":3,"topic":"room:r","key":"5","kind":"order","body":{"text":"an order"}}`)
	head := b.want("ack").Seq
	dm := post("dm:alice:bob", "6", `"psst"`)
	phone.want("event")
	desk.want("event")

	if f := phone.mark("room:r", `"kept":true`); f.Op != "marked" {
		t.Fatal(f)
	}
	desk.want("marked")
	if f := phone.mark("room:empty", `"kept":true,"muted":true`); f.Op != "marked" {
		t.Fatal(f)
	}
	desk.want("marked")
	talk := listed{Topic: "dm:alice:bob", Head: dm, Unread: 1, Kept: true, Last: `"psst"`}
	empty := listed{Topic: "room:empty", Kept: true, Muted: true}
	room := listed{Topic: "room:r", Head: head, Unread: 2, Mention: true, Kept: true, Last: gone}
	want := func(g *guest, list ...listed) {
		t.Helper()
		if got := g.topics(); !slices.Equal(got, list) {
			t.Fatalf("the list is\n%+v, want\n%+v", got, list)
		}
	}
	want(desk, talk, empty, room)
	phone.mark("room:r", fmt.Sprintf(`"read":%d`, one))
	if f := desk.want("marked"); f.ID != 0 || f.Topic != "room:r" {
		t.Fatalf("the other device hears %+v", f)
	}
	room.Read, room.Unread = one, 1
	want(desk, talk, empty, room)
	phone.mark("room:r", fmt.Sprintf(`"read":%d`, two))
	desk.want("marked")
	room.Read, room.Unread, room.Mention = two, 0, false
	want(phone, talk, empty, room)
	desk.mark("room:empty", `"kept":false`)
	phone.want("marked")
	want(phone, talk, room)

	// What one sends oneself is not unread; who has no list has none.
	if mine := b.topics(); len(mine) != 1 || mine[0].Unread != 0 || mine[0].Topic != "dm:alice:bob" {
		t.Errorf("bob's list is %+v", mine)
	}
	// What one may not read one cannot mark or search.
	for what, code := range map[string]string{
		`{"op":"mark","id":6,"topic":"user:bob","read":1}`:                          "forbidden",
		`{"op":"mark","id":6,"topic":"dm:bob:carol","read":1}`:                      "forbidden",
		`{"op":"mark","id":6,"topic":"dm:alice:carol","read":1}`:                    "not_found",
		`{"op":"mark","id":6,"topic":"nothing","read":1}`:                           "bad_topic",
		`{"op":"search","id":6,"topic":"dm:bob:carol","text":"x"}`:                  "forbidden",
		`{"op":"search","id":6,"topic":"room:r","text":"  "}`:                       "bad_request",
		`{"op":"search","id":6,"topic":"room:r","text":"` + repeat("x", 201) + `"}`: "bad_request",
	} {
		phone.say("%s", what)
		if f, err := phone.next(); err != nil || f.Code != code {
			t.Errorf("%s was answered by %+v, %v", what, f, err)
		}
	}
	h.stop()
	again := newHouse(t, houseOptions{store: store.Reopen()})
	late, _ := again.hello("alice", "")
	want(late, talk, room)
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }

// Counting stops at 99, and looking at 400 events.
func TestUnreadIsBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	a, _ := h.hello("alice", "")
	a.mark("room:r", `"kept":true`)
	unread := func() (int, bool) {
		l := a.topics()[0]
		return l.Unread, l.More
	}
	h.publish("room:r", 99)
	if n, more := unread(); n != 99 || more {
		t.Errorf("of 99 there are %d, more %v", n, more)
	}
	h.publish("room:r", 1)
	if n, more := unread(); n != 99 || !more {
		t.Errorf("of 100 there are %d, more %v", n, more)
	}
	a.mark("room:r", `"read":100`)
	for range 500 {
		if _, err := h.hub.Publish(t.Context(), []chat.Event{{Topic: "room:r", Kind: "note", Body: []byte("1")}}); err != nil {
			t.Fatal(err)
		}
	}
	if l := a.topics()[0]; l.Unread != 0 || !l.More || l.Head != 600 || l.Last != "" {
		t.Errorf("behind 500 notes the list says %+v", l)
	}
	a.mark("room:r", `"read":600`)
	if l := a.topics()[0]; l.Unread != 0 || l.More {
		t.Errorf("read to the end the list says %+v", l)
	}
}

// All devices hear of marks in one order, whoever makes them: at the end they
// agree with each other and with the store.
func TestDevicesAgreeOnMarks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{hub: chat.HubOptions{Limits: fast()}})
	h.publish("room:r", 300)
	const devices, each = 4, 50
	guests := make([]*guest, devices)
	for i := range guests {
		guests[i], _ = h.hello("alice", "")
	}
	heard := make([][]string, devices)
	var wg sync.WaitGroup
	for i, g := range guests {
		wg.Go(func() {
			for k := range each {
				g.say(`{"op":"mark","id":%d,"topic":"room:r","read":%d,"muted":%v}`, k+1, 4*k+i, (k+i)%3 == 0)
			}
		})
		wg.Go(func() {
			for range devices * each {
				_, raw, err := g.conn.ReadMessage()
				var m struct {
					Op    string
					Read  int64
					Muted bool
				}
				if err != nil || json.Unmarshal(raw, &m) != nil || m.Op != "marked" {
					t.Errorf("heard %s, %v", raw, err)
					return
				}
				heard[i] = append(heard[i], fmt.Sprint(m.Read, m.Muted))
			}
		})
	}
	wg.Wait()
	marks, err := h.store.Marks(t.Context(), "alice")
	if err != nil || len(marks) != 1 {
		t.Fatal(marks, err)
	}
	for i := range heard {
		if !slices.Equal(heard[i], heard[0]) {
			t.Errorf("device %d heard another order:\n%v\n%v", i, heard[i], heard[0])
		}
	}
	if last := fmt.Sprint(marks[0].Read, marks[0].Muted); heard[0][len(heard[0])-1] != last {
		t.Errorf("the last mark was %s, kept is %s", heard[0][len(heard[0])-1], last)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{hub: chat.HubOptions{Limits: fast()}})
	a, _ := h.hello("alice", "")
	for i, body := range []string{`{"text":"Green TEA"}`, `{"text":"coffee"}`, `"tea"`, `{"text":["tea"]}`, `{"text":"绿茶 Ärger"}`, `{"text":"tea\u00e9"}`, `{"other":"tea"}`, `{"text":"100% tea*"}`} {
		a.say(`{"op":"send","id":3,"topic":"room:r","key":"k%d","body":%s}`, i, body)
		a.want("ack")
	}
	a.say(`{"op":"send","id":3,"topic":"room:r","key":"n","kind":"note","body":{"text":"tea"}}`)
	a.want("ack")
	a.send("room:r", "back", "tea that is gone")
	a.recall("room:r", "r", 10)
	find := func(text, more string) (seqs []int64, before int64, rest bool) {
		t.Helper()
		a.say(`{"op":"search","id":8,"topic":"room:r","text":%q%s}`, text, more)
		_, raw, err := a.conn.ReadMessage()
		var f struct {
			Op     string
			Events []frame
			Before int64
			More   bool
		}
		if err != nil || json.Unmarshal(raw, &f) != nil || f.Op != "search" {
			t.Fatalf("got %s, %v", raw, err)
		}
		for _, e := range f.Events {
			seqs = append(seqs, e.Seq)
		}
		return seqs, f.Before, f.More
	}
	for text, want := range map[string][]int64{
		"tea": {1, 6, 8}, " TeA ": {1, 6, 8}, "ärger": {5}, "茶": {5}, "TEAÉ": {6}, "%": {8}, "*": {8}, "none": nil, "gone": nil,
	} {
		if got, _, more := find(text, ""); !slices.Equal(got, want) || more {
			t.Errorf("%q is found at %v, more %v; want %v", text, got, more, want)
		}
	}
	got, before, more := find("tea", `,"limit":2`)
	if !slices.Equal(got, []int64{6, 8}) || before != 6 || !more {
		t.Errorf("the first page is %v, before %d, more %v", got, before, more)
	}
	if got, _, more = find("tea", `,"limit":2,"before":6`); !slices.Equal(got, []int64{1}) || more {
		t.Errorf("the second page is %v, more %v", got, more)
	}
	// One call does not look at everything; all together do.
	h.publish("room:r", 6000)
	calls, found := 0, []int64(nil)
	for before, more = 0, true; more; calls++ {
		if got, before, more = find("green", fmt.Sprintf(`,"before":%d`, before)); len(got) > 0 {
			found = append(found, got...)
		}
		if calls > 1000 {
			t.Fatal("the search does not end")
		}
	}
	if calls < 2 || !slices.Equal(found, []int64{1}) {
		t.Errorf("%d calls found %v", calls, found)
	}
}

// Who asks too often is told when to ask again, and then may.
func TestAskingIsLimited(t *testing.T) {
	t.Parallel()
	for ask, burst := range map[string]int{
		`{"op":"mark","id":6,"topic":"room:r","read":1}`:       40,
		`{"op":"topics","id":6}`:                               10,
		`{"op":"search","id":6,"topic":"room:r","text":"tea"}`: 10,
	} {
		t.Run(ask, func(t *testing.T) {
			t.Parallel()
			bubble(t, houseOptions{}, func(t *testing.T, h *house) {
				a, _ := h.hello("alice", "")
				for i := range burst {
					a.say("%s", ask)
					if f, err := a.next(); err != nil || f.Op == "error" {
						t.Fatalf("number %d was answered by %+v, %v", i, f, err)
					}
				}
				for range 2 {
					a.say("%s", ask)
					f := a.want("error")
					if f.Code != "rate_limited" || f.RetryMS <= 0 {
						t.Fatalf("too many are answered by %+v", f)
					}
					time.Sleep(time.Duration(f.RetryMS) * time.Millisecond)
					a.say("%s", ask)
					if f, err := a.next(); err != nil || f.Op == "error" {
						t.Fatalf("after the wait: %+v, %v", f, err)
					}
				}
				_ = a.conn.Close()
			})
		})
	}
}
