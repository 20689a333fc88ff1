package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"teahouse/chat"
)

func asError(err error, to **chat.Error) bool {
	return errors.As(err, to) && (*to).Message != ""
}

// fuzzDecode: whatever comes, a decoder answers with a command that is fit to
// be carried out, and keeps nothing of the frame.
func fuzzDecode(f *testing.F, d chat.Dialect, check func(t *testing.T, frame []byte, c chat.Command, err error)) {
	for _, frame := range transcriptLines(f, ">") {
		f.Add([]byte(frame))
	}
	f.Add([]byte(strings.Repeat("[", 20000)))
	f.Add([]byte(`{"message":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + "}"))
	f.Add([]byte("{\"message\":\"\\ud800\u2028\\u003c\"}"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if !utf8.Valid(frame) {
			return // the core closes these
		}
		given := bytes.Clone(frame)
		c, err := d.Decode(given)
		body, id := bytes.Clone(c.Body), bytes.Clone(c.ID)
		for i := range given {
			given[i] = 0xff
		}
		if !bytes.Equal(body, c.Body) || !bytes.Equal(id, c.ID) || !utf8.ValidString(c.User+c.Token+c.Topic) {
			t.Fatalf("%q: it keeps memory of the frame", frame)
		}
		if e := (*chat.Error)(nil); err != nil && !asError(err, &e) {
			t.Fatalf("%q: %v", frame, err)
		}
		if c.ID != nil && !json.Valid(c.ID) {
			t.Fatalf("%q: the id is %q", frame, c.ID)
		}
		if err == nil && (c.Op == chat.OpSend || c.Op == chat.OpSignal) {
			if !json.Valid(c.Body) || !utf8.Valid(c.Body) || !bytes.Equal(compact(c.Body), c.Body) || c.Topic == "" {
				t.Fatalf("%q: %q to %q", frame, c.Body, c.Topic)
			}
			if l := readLine(&chat.Event{Kind: chat.KindMessage, Body: c.Body}); l.text == nil {
				t.Fatalf("%q: %q says nothing", frame, c.Body)
			}
		}
		check(t, frame, c, err)
	})
}

// object returns the members of a frame, as the library reads them.
func fields(frame []byte) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(frame, &m) != nil {
		return nil
	}
	return m
}

// sameJSON compares values as JSON, with the digits of numbers.
func sameJSON(a, b []byte) bool {
	norm := func(v []byte) string {
		d := json.NewDecoder(bytes.NewReader(v))
		d.UseNumber()
		var x any
		if d.Decode(&x) != nil {
			return "broken " + string(v)
		}
		s, _ := json.Marshal(x)
		return string(s)
	}
	return norm(a) == norm(b)
}

// checkRoomCommand holds a room's command against the library's reading.
func checkRoomCommand(t *testing.T, frame []byte, c chat.Command, err error) {
	message, ok := fields(frame)["message"]
	if err != nil || c.Op != chat.OpNone && c.Op != chat.OpSend || c.ID != nil {
		t.Fatalf("%q: %d, %v", frame, c.Op, err)
	}
	if c.Op == chat.OpSend != (ok && string(message) != "null") && fields(frame)["to_user_id"] == nil {
		t.Fatalf("%q: %d", frame, c.Op)
	}
	if c.Op != chat.OpSend {
		return
	}
	// All others are told what was said.
	e := chat.Event{Topic: "room:lobby", Kind: chat.KindMessage, From: "a", Body: c.Body}
	if told := fields((room{}).AppendEvent(nil, &e)); !sameJSON(told["messages"], message) {
		t.Fatalf("%q: %q becomes %q", frame, message, told["messages"])
	}
}

func FuzzRoomDecode(f *testing.F) {
	fuzzDecode(f, room{topic: "room:lobby"}, checkRoomCommand)
}

func FuzzVoucherDecode(f *testing.F) {
	fuzzDecode(f, voucher{room{topic: "room:lobby"}}, checkRoomCommand)
}

func FuzzRelayDecode(f *testing.F) {
	fuzzDecode(f, relay{"room:lobby"}, func(t *testing.T, frame []byte, c chat.Command, err error) {
		if err != nil || c.Op != chat.OpSend {
			t.Fatalf("%q: %d, %v", frame, c.Op, err)
		}
		told := (relay{}).AppendEvent(nil, &chat.Event{Topic: "room:lobby", Kind: chat.KindMessage, From: "a", Body: c.Body})
		var s string
		if json.Unmarshal(told, &s) != nil || s != string(frame) {
			t.Fatalf("%q becomes %q", frame, told)
		}
	})
}

func FuzzEchoDecode(f *testing.F) {
	fuzzDecode(f, echo{}, func(t *testing.T, frame []byte, c chat.Command, err error) {
		told := (echo{}).AppendReply(nil, &chat.Reply{Op: chat.ReplyEcho, Body: c.Body})
		if err != nil || c.Op != chat.OpEcho || string(told) != "hello "+string(frame) {
			t.Fatalf("%q: %d, %v, %q", frame, c.Op, err, told)
		}
	})
}

func FuzzTypedDecode(f *testing.F) {
	fuzzDecode(f, typed{topic: "room:lobby"}, func(t *testing.T, frame []byte, c chat.Command, err error) {
		if err != nil {
			t.Fatalf("%q: %v", frame, err)
		}
		kind := string(fields(frame)["type"])
		switch text := fields(frame)["text"]; c.Op {
		case chat.OpSend:
			if text == nil {
				text = []byte("null")
			}
			e := chat.Event{Topic: "room:lobby", Kind: chat.KindMessage, From: "a", Body: c.Body}
			if told := fields((typed{}).AppendEvent(nil, &e)); !sameJSON(told["data"], text) {
				t.Fatalf("%q: %q becomes %q", frame, text, told["data"])
			}
		case chat.OpSignal:
			told := (typed{}).AppendReply(nil, &chat.Reply{Op: chat.ReplySignal, Kind: c.Kind, Body: c.Body})
			if string(fields(told)["type"]) != `"connect"` {
				t.Fatalf("%q: %q", frame, told)
			}
		default:
			if kind == `"connect"` || kind == `"message"` {
				t.Fatalf("%q: %d", frame, c.Op)
			}
		}
	})
}

func FuzzEventDecode(f *testing.F) {
	o, _ := (&Compat{Open: true, EventRoles: []string{"user", "shop"}}).Opening("event", handshake("room=tea"))
	fuzzDecode(f, o.Dialect, func(t *testing.T, frame []byte, c chat.Command, err error) {
		r := &chat.Reply{ID: c.ID, Op: chat.ReplyWelcome, For: c.Op}
		if err != nil {
			r.Op, r.Err = chat.ReplyError, chat.AsError(err)
		}
		told := fields(o.Dialect.AppendReply(nil, r))
		switch id := fields(frame)["uuid"]; {
		case c.Op == chat.OpNone && err == nil:
		case told == nil:
			t.Fatalf("%q: no answer", frame)
		case c.ID != nil && !bytes.Equal(id, c.ID):
			t.Fatalf("%q: the uuid is %s, not %s", frame, c.ID, id)
		case c.ID == nil && isNumber(id) && len(id) <= maxID:
			t.Fatalf("%q: the uuid is lost", frame)
		}
		if d := o.Dialect.(event); c.Op == chat.OpHello && err == nil {
			var u string
			_ = json.Unmarshal(fields(fields(frame)["data"])["u"], &u)
			if d.addressOf(c.User) != u || !strings.HasSuffix(u, ":"+d.idOf(c.User)) {
				t.Fatalf("%q: %q is %q", frame, u, c.User)
			}
		}
	})
}

// FuzzRootDecode: every first frame finds its protocol, and every further one
// is decoded by that.
func FuzzRootDecode(f *testing.F) {
	compat := &Compat{Open: true}
	o, _ := compat.Opening("root", handshake(""))
	first, _ := compat.Opening("root", handshake("user_id=alice"))
	openings := []chat.Opening{o, o.Rules.Then(), first}
	fuzzDecode(f, o.Dialect, func(t *testing.T, frame []byte, _ chat.Command, _ error) {
		for _, o := range openings {
			c, err := o.Dialect.Decode(frame)
			if err != nil || c.Op != chat.OpBecome || c.Become == nil {
				t.Fatalf("%q: %d, %v", frame, c.Op, err)
			}
			if c, _ = c.Become.Dialect.Decode(frame); c.Op == chat.OpBecome {
				t.Fatalf("%q: becomes %s and then something else", frame, c.Become.Dialect.Name())
			}
		}
	})
}

// fuzzEncode: whatever an event holds, its frame is one of the protocol's.
func fuzzEncode(f *testing.F, dialects []chat.Dialect, check func(t *testing.T, d chat.Dialect, e *chat.Event, frame []byte)) {
	for _, e := range transcriptEvents(f) {
		f.Add(e.Topic, e.Kind, e.From, []byte(e.Body))
	}
	f.Add("user:a", chat.KindMessage, "a", []byte(`{"text":"\ud800\u003c\u2028"}`))
	f.Add("room:a", chat.KindMessage, "a", []byte(`{"text":"{\"a\":\"\\u003c\"}","data":{"a":"\u003c"},"via":"typed"}`))
	f.Fuzz(func(t *testing.T, topic, kind, from string, body []byte) {
		if !json.Valid(body) || !utf8.Valid(body) || !utf8.ValidString(topic+kind+from) {
			return
		}
		e := &chat.Event{Topic: topic, Kind: kind, From: from, Body: compact(body)}
		kept := bytes.Clone(e.Body)
		for _, d := range dialects {
			frame := d.AppendEvent([]byte("before"), e)
			frame, ok := bytes.CutPrefix(frame, []byte("before"))
			if !ok || !bytes.Equal(kept, e.Body) {
				t.Fatalf("%s: it writes over what is not its own", d.Name())
			}
			if len(frame) == 0 {
				continue
			}
			if !json.Valid(frame) || !utf8.Valid(frame) || bytes.ContainsAny(frame, "\u2028\u2029\n\x00") {
				t.Fatalf("%s: %q", d.Name(), frame)
			}
			if strings.HasSuffix(d.Name(), "+html") {
				noHTML(t, frame, 2)
			}
			check(t, d, e, frame)
		}
	})
}

// noHTML fails if a string of the value, or of what is JSON in a string, has a
// tag in it.
func noHTML(t *testing.T, v []byte, depth int) {
	t.Helper()
	var x any
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	if d.Decode(&x) != nil {
		return
	}
	var walk func(x any)
	walk = func(x any) {
		switch x := x.(type) {
		case string:
			if strings.ContainsAny(x, "<>") {
				t.Fatalf("HTML in %q", v)
			}
			if depth > 1 {
				noHTML(t, []byte(x), depth-1)
			}
		case []any:
			for _, y := range x {
				walk(y)
			}
		case map[string]any:
			for k, y := range x {
				walk(k)
				walk(y)
			}
		}
	}
	walk(x)
}

func FuzzRoomEncode(f *testing.F) {
	dialects := []chat.Dialect{room{}, room{html: true}, room{mixed: true}, room{html: true, mixed: true}}
	fuzzEncode(f, dialects, func(t *testing.T, d chat.Dialect, e *chat.Event, frame []byte) {
		m := fields(frame)
		if len(m) != 2 || m["messages"] == nil || !isString(m["from_user"]) && string(m["from_user"]) != "false" {
			t.Fatalf("%s: %s", d.Name(), frame)
		}
		body := fields(e.Body)
		if d.Name() != "room" || !isString(body["text"]) {
			return
		}
		want := body["text"]
		if data := body["data"]; data != nil && unquote(want) == string(data) && string(data) != "null" {
			want = data
		}
		if !sameJSON(m["messages"], want) {
			t.Fatalf("%s: %s", e.Body, frame)
		}
	})
}

func FuzzVoucherEncode(f *testing.F) {
	fuzzEncode(f, []chat.Dialect{voucher{}}, func(t *testing.T, _ chat.Dialect, _ *chat.Event, frame []byte) {
		var says string
		if json.Unmarshal(fields(frame)["messages"], &says) != nil {
			t.Fatalf("%s", frame)
		}
		if m := fields([]byte(says)); m["id"] == nil || m["status"] == nil {
			t.Fatalf("%s", frame)
		}
	})
}

func FuzzRelayEncode(f *testing.F) {
	fuzzEncode(f, []chat.Dialect{relay{}}, func(t *testing.T, _ chat.Dialect, e *chat.Event, frame []byte) {
		var says string
		if json.Unmarshal(frame, &says) != nil {
			t.Fatalf("%s", frame)
		}
		if via := fields(e.Body)["via"]; !isString(via) || unquote(via) != "relay" {
			if m := fields([]byte(says)); !isString(m["from"]) || !isString(m["text"]) || unquote(m["from"]) != e.From {
				t.Fatalf("%s", frame)
			}
		}
	})
}

func FuzzTypedEncode(f *testing.F) {
	fuzzEncode(f, []chat.Dialect{typed{}, typed{html: true}}, func(t *testing.T, _ chat.Dialect, _ *chat.Event, frame []byte) {
		if m := fields(frame); len(m) != 2 || string(m["type"]) != `"message"` || m["data"] == nil {
			t.Fatalf("%s", frame)
		}
	})
}

func FuzzEventEncode(f *testing.F) {
	o, _ := (&Compat{EventRoles: []string{"user", "shop"}}).Opening("event", chat.Handshake{})
	fuzzEncode(f, []chat.Dialect{o.Dialect}, func(t *testing.T, _ chat.Dialect, e *chat.Event, frame []byte) {
		m := fields(frame)
		if string(m["type"]) != `"app"` || !isString(m["event"]) || m["msg"] == nil {
			t.Fatalf("%s", frame)
		}
		if !inRoom(e) && (!isString(m["to"]) || !strings.Contains(unquote(m["to"]), ":")) {
			t.Fatalf("%s", frame)
		}
	})
}

// FuzzCompatReplies: what the core tells beside events makes frames too.
func FuzzCompatReplies(f *testing.F) {
	f.Add("alice", "room:lobby", kindWelcome, []byte(`{"text":"‘tom"}`), []byte("1"), int64(1790000000123))
	f.Add("<b>\u2028", "room:<", kindWelcome, []byte(`"\u003c"`), []byte(`"\u2028"`), int64(0))
	var dialects []chat.Dialect
	for _, o := range variants() {
		dialects = append(dialects, o.Dialect)
	}
	f.Fuzz(func(t *testing.T, user, topic, kind string, body, id []byte, at int64) {
		if !json.Valid(body) || !utf8.Valid(body) || !utf8.Valid(id) || at < 0 {
			return
		}
		id = plainID(id)
		if id != nil && !json.Valid(id) {
			return
		}
		for _, d := range dialects {
			for op := chat.ReplyWelcome; op <= chat.ReplyBeat; op++ {
				for _, what := range []chat.Op{chat.OpHello, chat.OpSend, chat.OpJoin} {
					b := d.AppendReply(nil, &chat.Reply{
						Op: op, ID: id, User: user, Topic: topic, From: user, Kind: kind, Body: compact(body), At: at,
						For: what, Err: chat.Errorf(chat.CodeBadFrame, "%s", user),
					})
					if len(b) == 0 || strings.HasPrefix(d.Name(), "echo") {
						continue
					}
					if !json.Valid(b) || !utf8.Valid(b) || bytes.ContainsAny(b, "\u2028\u2029") {
						t.Fatalf("%s: reply %d: %q", d.Name(), op, b)
					}
					if strings.HasSuffix(d.Name(), "+html") {
						noHTML(t, b, 1)
					}
				}
			}
		}
	})
}
