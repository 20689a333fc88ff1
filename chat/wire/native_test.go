package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update writes it anew):\n%s", path, got)
	}
}

// decoded shows a command for the golden file: its fields that are set.
func decoded(c chat.Command, err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "op %d", c.Op)
	show := func(name string, v any, zero bool) {
		if !zero {
			fmt.Fprintf(&b, " %s=%v", name, v)
		}
	}
	show("id", string(c.ID), c.ID == nil)
	show("user", c.User, c.User == "")
	show("token", c.Token, c.Token == "")
	show("secret", c.Secret, c.Secret == "")
	show("code", c.Code, c.Code == "")
	show("device", c.Device, c.Device == "")
	if c.Position != nil {
		show("position", *c.Position, false)
	}
	show("topic", c.Topic, c.Topic == "")
	show("epoch", c.Epoch, c.Epoch == "")
	if c.After != nil {
		show("after", *c.After, false)
	}
	show("recent", c.Recent, c.Recent == 0)
	show("key", c.Key, c.Key == "")
	show("kind", c.Kind, c.Kind == "")
	show("body", string(c.Body), c.Body == nil)
	show("before", c.Before, c.Before == 0)
	show("limit", c.Limit, c.Limit == 0)
	show("text", c.Text, c.Text == "")
	if c.Read != nil {
		show("read", *c.Read, false)
	}
	if c.Muted != nil {
		show("muted", *c.Muted, false)
	}
	if c.Kept != nil {
		show("kept", *c.Kept, false)
	}
	if err != nil {
		fmt.Fprintf(&b, " error: %v", err)
	}
	return b.String()
}

// nativeFrames are the lines of testdata/native.frames.
func nativeFrames(t testing.TB) []string {
	b, err := os.ReadFile(filepath.Join("testdata", "native.frames"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func TestNativeDecode(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	for _, f := range nativeFrames(t) {
		fmt.Fprintf(&out, "%s\n\t%s\n", f, decoded(Native{}.Decode([]byte(f))))
	}
	golden(t, "native.decoded", out.Bytes())
}

func TestNativeDecodeKeepsNothingOfTheFrame(t *testing.T) {
	t.Parallel()
	frame := []byte(`{"op":"send","id":"x1","topic":"room:a","key":"k","body":{"text":"hi"}}`)
	c, err := Native{}.Decode(frame)
	if err != nil {
		t.Fatal(err)
	}
	for i := range frame {
		frame[i] = '!'
	}
	if string(c.ID) != `"x1"` || string(c.Body) != `{"text":"hi"}` || c.Topic != "room:a" {
		t.Fatalf("got %s %s %s", c.ID, c.Body, c.Topic)
	}
}

func TestNativeEncode(t *testing.T) {
	t.Parallel()
	limits := chat.DefaultLimits()
	event := chat.Event{Seq: 58, Topic: "room:lobby", Kind: "message", From: "alice", Key: "c-81", Body: []byte(`{"text":"hi"}`), At: 1790000000000}
	odd := chat.Event{Seq: 59, Topic: "room:\"茶\\", Kind: "message", From: "a<b>&\u2028\x7f", Body: []byte(`"\u2028"`), At: 1}
	id := json.RawMessage("4")
	var out bytes.Buffer
	line := func(b []byte) {
		if !json.Valid(b) {
			t.Errorf("not JSON: %s", b)
		}
		out.Write(append(b, '\n'))
	}
	for _, e := range []chat.Event{event, odd} {
		line(Native{}.AppendEvent(nil, &e))
	}
	for _, r := range []chat.Reply{
		{Op: chat.ReplyWelcome, ID: json.RawMessage(`"h"`), User: "alice", Session: "S", Position: chat.Position{Epoch: "E", Seq: 57}, PingMS: 25000, Limits: &limits, RecallMS: 120_000},
		{Op: chat.ReplyWelcome, ID: id, User: "alice", Session: "S", Position: chat.Position{Epoch: "E", Seq: 57}, PingMS: 25000, Claimed: new(false)},
		{Op: chat.ReplyJoined, ID: id, Topic: "room:lobby", Head: 57, Count: 3},
		{Op: chat.ReplyJoined, ID: id, Topic: "room:den", Head: 57, Count: 3, Locked: true},
		{Op: chat.ReplyProtected, ID: id, Topic: "room:\"den"},
		{Op: chat.ReplyError, Topic: "room:den", For: chat.OpJoin, Err: &chat.Error{Code: chat.CodeNeeded, Message: "come in"}},
		{Op: chat.ReplyLeft, ID: id, Topic: "room:lobby"},
		{Op: chat.ReplyAck, ID: id, Topic: "room:lobby", Key: "c-81", Seq: 58, At: 1790000000000},
		{Op: chat.ReplyAck, ID: id, Topic: "room:lobby", Key: "c-81", Seq: 58, At: 1790000000000, Again: true},
		{Op: chat.ReplyHistory, ID: id, Topic: "room:lobby", Events: []chat.Event{event, odd}, More: true},
		{Op: chat.ReplyHistory, Topic: "room:lobby"},
		{Op: chat.ReplyPresence, ID: id, Topic: "room:lobby", Users: []string{"alice", "bob"}},
		{Op: chat.ReplySignal, Topic: "room:lobby", From: "alice", Body: []byte(`{"typing":true}`)},
		{Op: chat.ReplyOnline, Topic: "room:lobby", User: "alice", Online: true},
		{Op: chat.ReplyReset, Topic: "room:lobby", Reason: chat.ResetEpoch, After: 12},
		{Op: chat.ReplySearch, ID: id, Topic: "room:lobby", Events: []chat.Event{event, odd}, Before: 41, More: true},
		{Op: chat.ReplySearch, Topic: "room:lobby"},
		{Op: chat.ReplyMarked, ID: id, Topic: "room:lobby", Mark: &chat.Mark{User: "alice", Topic: "room:lobby", Read: 57, Kept: true}},
		{Op: chat.ReplyMarked, Topic: "dm:alice:bob", Mark: &chat.Mark{Muted: true}},
		{Op: chat.ReplyTopics, ID: id, Topics: []chat.TopicState{
			{Mark: chat.Mark{Topic: odd.Topic, Read: 41, Kept: true}, Head: 60, Unread: 99, More: true, Mention: true, Last: &odd},
			{Mark: chat.Mark{Topic: "room:empty", Muted: true}, Locked: true},
		}},
		{Op: chat.ReplyTopics},
		{Op: chat.ReplyPong, ID: id},
		{Op: chat.ReplyError, ID: id, Err: &chat.Error{Code: chat.CodeRateLimited, Message: "slowly", Retry: 799 * time.Millisecond, Err: errors.New("hidden")}},
	} {
		line(Native{}.AppendReply(nil, &r))
	}
	golden(t, "native.encoded", out.Bytes())
	if strings.Contains(out.String(), "hidden") {
		t.Error("a cause is shown outside")
	}
	if got := (Native{}).AppendReply([]byte("x"), &chat.Reply{}); string(got) != "x" {
		t.Errorf("an unknown reply made %q", got)
	}
}

// FuzzNativeDecode: whatever comes in, the decoder answers with a command or
// an *chat.Error, and what it accepts is fit to be sent on.
func FuzzNativeDecode(f *testing.F) {
	for _, frame := range nativeFrames(f) {
		f.Add([]byte(frame))
	}
	f.Add([]byte(strings.Repeat("[", 20000)))
	f.Fuzz(func(t *testing.T, frame []byte) {
		c, err := Native{}.Decode(frame)
		if err != nil {
			var e *chat.Error
			if !errors.As(err, &e) || e.Message == "" {
				t.Fatalf("%q: %v", frame, err)
			}
		}
		reply := Native{}.AppendReply(nil, &chat.Reply{Op: chat.ReplyPong, ID: c.ID})
		if !json.Valid(reply) {
			t.Fatalf("%q: its id makes the reply %s", frame, reply)
		}
		if err == nil && (c.Op == chat.OpSend || c.Op == chat.OpSignal) && !json.Valid(c.Body) {
			t.Fatalf("%q: body %q", frame, c.Body)
		}
	})
}

// FuzzAppendString: our fast path says the same as the library.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "茶馆", "\u2028", "a\"b\\c", "<&>", "\xff\xfe", "é", "\x00", "👩‍🔧"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got := appendString(nil, s)
		var a, b string
		if json.Unmarshal(want, &a) != nil || json.Unmarshal(got, &b) != nil || a != b {
			t.Fatalf("%q: got %s, want %s", s, got, want)
		}
		if bytes.Contains(got, []byte("\u2028")) || bytes.Contains(got, []byte("<")) {
			t.Fatalf("%q: not escaped: %s", s, got)
		}
	})
}
