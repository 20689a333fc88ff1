package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// topicList is the answer to "topics".
func (c *guest) topicList() string {
	c.t.Helper()
	var f struct {
		Topics []struct {
			Topic  string
			Read   int64
			Unread int
			Muted  bool
			Kept   bool
			Last   *frame
		}
	}
	a := c.ask("topics")
	if err := json.Unmarshal([]byte(a.raw), &f); err != nil || a.Op != "topics" {
		c.t.Fatalf("topics: %s", a)
	}
	var b strings.Builder
	for _, t := range f.Topics {
		last := "nothing"
		if t.Last != nil {
			last = string(t.Last.Body)
		}
		fmt.Fprintf(&b, "%s read %d unread %d muted %v kept %v last %s\n", t.Topic, t.Read, t.Unread, t.Muted, t.Kept, last)
	}
	return b.String()
}

// takeBack recalls a message and returns the answer.
func (c *guest) takeBack(topic string, seq int64) frame {
	c.t.Helper()
	return c.ask("send", "topic", topic, "key", fmt.Sprint("recall-", seq), "kind", "message.recalled", "body", map[string]int64{"seq": seq})
}

// Two devices of a user agree on what was read, kept and muted; also when the
// server was killed in between.
func TestDevicesAgreeAfterAKill(t *testing.T) {
	t.Parallel()
	h := spawn(t, t.TempDir())
	bob, _ := enter(t, h.ws(), "bob")
	phone, _ := enter(t, h.ws(), "alice", "device", "phone")
	desk, _ := enter(t, h.ws(), "alice", "device", "desk")
	one, two := bob.post(lobby, "b-1", "one").Seq, bob.post(lobby, "b-2", "two").Seq
	talk := bob.post("dm:alice:bob", "b-3", "psst").Seq
	bob.post(lobby, "b-4", "three")
	for i, mark := range []struct {
		by, other *guest
		fields    []any
	}{
		{phone, desk, []any{"topic", lobby, "read", one, "kept", true}},
		{desk, phone, []any{"topic", lobby, "read", two}},
		{phone, desk, []any{"topic", "room:tea", "kept", true, "muted", true}},
		{desk, phone, []any{"topic", "dm:alice:bob", "read", talk + 100}},
	} {
		a := mark.by.ask("mark", mark.fields...)
		told := mark.other.expect("the other device's mark", func(f frame) bool { return f.Op == "marked" && f.ID == nil })
		if a.Op != "marked" || strings.Replace(a.raw, fmt.Sprintf(`"id":%s,`, a.ID), "", 1) != told.raw {
			t.Fatalf("mark %d was answered by %s, and the other device heard %s", i, a, told)
		}
	}
	want := fmt.Sprintf("dm:alice:bob read %d unread 0 muted false kept true last {\"text\":\"psst\"}\n", talk) +
		fmt.Sprintf("room:lobby read %d unread 1 muted false kept true last {\"text\":\"three\"}\n", two) +
		"room:tea read 0 unread 0 muted true kept true last nothing\n"
	for _, c := range []*guest{phone, desk} {
		if got := c.topicList(); got != want {
			t.Fatalf("the list is\n%swant\n%s", got, want)
		}
	}
	h.kill()
	h = spawn(t, h.data)
	again, _ := enter(t, h.ws(), "alice")
	if got := again.topicList(); got != want {
		t.Fatalf("after the kill the list is\n%swant\n%s", got, want)
	}
	if got := bobsList(t, h); got != strings.SplitAfter(strings.Replace(want, fmt.Sprint("read ", talk), "read 0", 1), "\n")[0] {
		t.Errorf("bob's list is %s", got)
	}
}

func bobsList(t *testing.T, h *house) string {
	t.Helper()
	bob, _ := enter(t, h.ws(), "bob")
	return bob.topicList()
}

// A recall reaches the sender's other device and everybody else, is in the log
// before and after a kill, and the text is nowhere in the data folder.
func TestRecallIsForEverybody(t *testing.T) {
	t.Parallel()
	h := spawn(t, t.TempDir())
	phone, _ := enter(t, h.ws(), "alice", "device", "phone")
	desk, _ := enter(t, h.ws(), "alice", "device", "desk")
	bob, _ := enter(t, h.ws(), "bob")
	for _, c := range []*guest{phone, desk, bob} {
		c.join(lobby)
	}
	const secret = "the-secret-of-the-longjing"
	type said struct {
		topic string
		seq   int64
		gone  frame
	}
	var all []said
	for i, topic := range []string{lobby, "dm:alice:bob", "user:bob"} {
		all = append(all, said{topic: topic, seq: phone.post(topic, fmt.Sprint("a-", i), secret+strings.Repeat(" tea", 2000*i)).Seq})
		bob.expectOp("event", topic)
	}
	for i := range all {
		s := &all[i]
		if s.gone = phone.takeBack(s.topic, s.seq); s.gone.Op != "ack" {
			t.Fatalf("the recall in %s: %s", s.topic, s.gone)
		}
		for who, c := range map[string]*guest{"bob": bob, "desk": desk} {
			if who == "desk" && s.topic == "user:bob" {
				continue
			}
			e := c.expectEvent(s.topic, fmt.Sprint("recall-", s.seq))
			if e.Kind != "message.recalled" || e.From != "alice" || string(e.Body) != fmt.Sprintf(`{"seq":%d}`, s.seq) || e.Seq != s.gone.Seq {
				t.Errorf("%s hears %s", who, e)
			}
		}
	}
	bob.refused("forbidden", "send", "topic", lobby, "kind", "message.recalled", "body", map[string]int64{"seq": phone.post(lobby, "a-9", "kept").Seq})
	log := func() {
		t.Helper()
		for _, s := range all {
			list := h.history(s.topic)
			if len(list) < 2 || string(list[0].Body) != `{"recalled":true}` || list[0].Seq != s.seq || list[0].From != "alice" ||
				list[1].Kind != "message.recalled" || list[1].Seq != s.gone.Seq {
				t.Errorf("the log of %s is %s", s.topic, list)
			}
		}
	}
	log()
	h.kill()
	h = spawn(t, h.data)
	log()
	// An outbox that did not hear of it says it again.
	late, _ := enter(t, h.ws(), "alice")
	if a := late.takeBack(lobby, all[0].seq); a.Op != "ack" || a.Seq != all[0].gone.Seq {
		t.Errorf("again: %s", a)
	}
	if code := h.stop(); code != 0 {
		t.Fatalf("the server ended with %d", code)
	}
	found := false
	err := filepath.WalkDir(h.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s still has the text", filepath.Base(path))
		}
		found = found || bytes.Contains(b, []byte(`{"text":"kept"}`))
		return err
	})
	if err != nil || !found {
		t.Errorf("the data folder: %v; what was not recalled is there: %v", err, found)
	}
	if strings.Contains(h.stderr.String(), secret) {
		t.Error("the log of the program has the text")
	}
}

// Clients of older servers have no word for it: they hear nothing, and what
// they get later of the past leaves the message out.
func TestOldClientsHearNothingOfARecall(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--compat-recent=10", "--send-rate=0")
	alice, _ := enter(t, h.ws(), "alice")
	paths := map[string]string{
		"room": "/compat/room?user_id=bob", "typed": "/compat/typed?user_id=tom", "relay": "/compat/relay?user_id=ria",
		"voucher": "/compat/voucher?user_id=vic", "event": "/compat/event?room=lobby",
	}
	connect := func(name string) *oldClient {
		c := h.old(paths[name])
		if name == "event" {
			c.says(`{"event":"login","data":{"u":"user:eva","token":""},"uuid":1}`)
		}
		return c
	}
	there := make(map[string]*oldClient)
	var everybody []*oldClient
	for name := range paths {
		there[name] = connect(name)
		everybody = append(everybody, there[name])
	}
	h.settle(everybody...)
	for _, c := range everybody {
		c.rest()
	}
	topics := []string{lobby, "user:bob", "user:eva", "dm:alice:bob", "dm:alice:eva", "user:vic"}
	for i, topic := range topics {
		seq := alice.post(topic, fmt.Sprint("a-", i), "secret").Seq
		if a := alice.takeBack(topic, seq); a.Op != "ack" {
			t.Fatalf("%s: %s", topic, a)
		}
	}
	h.settle(everybody...)
	for name, c := range there {
		said := c.rest()
		for _, line := range said {
			if !strings.Contains(line, "secret") && !strings.Contains(line, "上线") {
				t.Errorf("%s hears %s", name, line)
			}
		}
		if name != "voucher" && len(said) == 0 {
			t.Errorf("%s heard nothing at all: the test sees nothing", name)
		}
	}
	alice.post(lobby, "a-last", "good evening")
	for name := range paths {
		fresh := connect(name)
		h.settle(fresh)
		for _, line := range fresh.rest() {
			for _, odd := range []string{"secret", "recalled", `"seq"`, "undefined"} {
				if strings.Contains(line, odd) {
					t.Errorf("%s comes later and hears %s", name, line)
				}
			}
		}
	}
}

func TestRecallWindow(t *testing.T) {
	t.Parallel()
	for window, want := range map[string]string{"0": "forbidden", "1ms": "recall_too_late"} {
		t.Run(window, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir(), "--send-rate=0", "--recall-window="+window)
			alice, _ := enter(t, h.ws(), "alice")
			said := alice.post(lobby, "a-1", "hi")
			tick := 0
			eventually(t, "the window to be over", func() bool {
				tick++
				return alice.post(lobby, fmt.Sprint("tick-", tick), "the clock goes on").At > said.At+1
			})
			alice.refused(want, "send", "topic", lobby, "kind", "message.recalled", "body", map[string]int64{"seq": said.Seq})
			if list := h.history(lobby); string(list[0].Body) != `{"text":"hi"}` {
				t.Errorf("the message is %s", list[0].Body)
			}
		})
	}
}
