package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"teahouse/chat"
)

// nowhere fails if a text stands in the log or anywhere in the data folder.
func (h *house) nowhere(secrets ...string) {
	h.t.Helper()
	look := func(where string, b []byte) {
		for _, s := range secrets {
			if bytes.Contains(b, []byte(s)) {
				h.t.Errorf("%q stands in %s", s, where)
			}
		}
	}
	look("the log", []byte(h.stderr.String()))
	err := filepath.WalkDir(h.data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		look(path, b)
		return err
	})
	if err != nil {
		h.t.Error(err)
	}
}

// TestRoomsWithACode: a room's code holds over a restart, a forgotten one is
// replaced by the operator, and it stands nowhere.
func TestRoomsWithACode(t *testing.T) {
	t.Parallel()
	const den = "room:den"
	data := t.TempDir()
	h := open(t, data)
	a, _ := enter(t, h.ws(), "alice")
	a.join(den)
	a.post(den, "1", "among us")
	if f := a.ask("protect", "topic", den, "code", "tea-at-four"); f.Op != "protected" {
		t.Fatal(f)
	}
	a.bye()
	h.stop()
	h.nowhere("tea-at-four")

	h = open(t, data)
	a, _ = enter(t, h.ws(), "alice")
	b, _ := enter(t, h.ws(), "bob")
	for _, op := range []string{"join", "history", "presence", "protect"} {
		b.refused("code_needed", op, "topic", den, "recent", 50, "code", "")
	}
	b.refused("code_needed", "send", "topic", den, "key", "k", "body", "let me in")
	b.refused("bad_code", "join", "topic", den, "code", "tea-at-five")
	b.join(den, "recent", 50, "code", "tea-at-four")
	b.expectEvent(den, "1")
	h.say(den, map[string]string{"text": "from the backend"})
	b.expect("what a backend says", func(f frame) bool { return f.Op == "event" && f.From == "" })
	if got := len(h.history(den)); got != 2 {
		t.Errorf("a backend reads %d events", got)
	}

	if got := h.call("PUT", "/api/v1/rooms/den/code", `{"code":"tea-at-six"}`); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.expect("to be put out", func(f frame) bool { return f.Op == "error" && f.Topic == den && f.Code == "code_needed" })
	a.refused("bad_code", "join", "topic", den, "code", "tea-at-four")
	a.join(den, "code", "tea-at-six")
	if got := h.call("DELETE", "/api/v1/rooms/den/code", nil); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	b.join(den)
	if got := h.call("DELETE", "/api/v1/rooms/den/code", nil).problem(t); got != "not_found" {
		t.Error(got)
	}
	h.stop()
	h.nowhere("tea-at-four", "tea-at-five", "tea-at-six")
}

// oldDoors is how a client of each old protocol comes as a user into a room.
var oldDoors = []struct {
	protocol, query string
	first           []string // what it says at first, with the user in place of USER
	unmoved         bool     // it has no users and no rooms
	answered        string   // how a refusal begins where it does not end the connection
}{
	{protocol: "room", query: "?user_id=USER&room=ROOM"},
	{protocol: "voucher", query: "?user_id=USER&room=ROOM"},
	{protocol: "relay", query: "?user=USER&room=ROOM"},
	{protocol: "typed", query: "?user=USER&room=ROOM"},
	{protocol: "event", query: "?room=ROOM", first: []string{`{"event":"login","data":{"u":"user:USER","token":"x"},"uuid":1}`},
		answered: `{"type":"respon","event":1,"data":{"error":1,`},
	{protocol: "echo", query: "?room=ROOM", first: []string{"here is USER"}, unmoved: true},
}

// comes opens a connection of the protocol and says what it says at first.
func (h *house) comes(i int, user, room string) *oldClient {
	h.t.Helper()
	d, r := oldDoors[i], strings.NewReplacer("USER", user, "ROOM", room)
	c := h.old("/compat/" + d.protocol + r.Replace(d.query))
	for _, text := range d.first {
		c.says(r.Replace(text))
	}
	return c
}

// turnedAway checks that the client is refused as its protocol refuses.
func (h *house) turnedAway(i int, c *oldClient, code chat.Code) {
	h.t.Helper()
	switch d := oldDoors[i]; {
	case d.unmoved:
		if got := c.next(); !strings.HasPrefix(got, "hello here is") {
			h.t.Errorf("%s hears %q", d.protocol, got)
		}
	case d.answered != "":
		if got := c.next(); !strings.HasPrefix(got, d.answered) {
			h.t.Errorf("%s hears %q", d.protocol, got)
		}
		c.settled() // and may try again
		if rest := c.rest(); len(rest) > 0 {
			h.t.Errorf("%s hears more: %q", d.protocol, rest)
		}
	default:
		if reason := c.closedWith(code.Verdict().Close); reason == "" {
			h.t.Errorf("%s is not told why", d.protocol)
		}
	}
}

// TestDoorsOfOldClients: clients that can give neither a code nor a secret are
// refused as their protocols refuse, and go on where there is none.
func TestDoorsOfOldClients(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	a, _ := enter(t, h.ws(), "alice")
	a.join("room:den")
	inside := make(map[int]*oldClient)
	for i, d := range oldDoors { // they are in before there is a code
		inside[i] = h.comes(i, "u-"+d.protocol, "den")
		inside[i].settled()
		inside[i].rest()
	}
	eventually(t, "all to be in", func() bool { return len(a.ask("presence", "topic", "room:den").Users) == len(oldDoors) })
	if f := a.ask("protect", "topic", "room:den", "code", "tea-at-four"); f.Op != "protected" {
		t.Fatal(f)
	}
	for i, d := range oldDoors {
		if c := inside[i]; d.unmoved {
			c.says("again")
			c.hears("hello again")
		} else if reason := c.closedWith(chat.CodeNeeded.Verdict().Close); reason == "" {
			t.Errorf("%s is not told why it is put out", d.protocol)
		}
		h.turnedAway(i, h.comes(i, "u-"+d.protocol, "den"), chat.CodeNeeded)
	}
	if got := a.ask("presence", "topic", "room:den").Users; !slices.Equal(got, []string{"alice"}) {
		t.Errorf("in the room are %v", got)
	}
	// Nobody without a name speaks there either, and hears that it is refused.
	nobody := h.old("/compat/room?room=den")
	nobody.says(`{"message":"let me in"}`)
	nobody.closedWith(chat.CodeNeeded.Verdict().Close)
	if got := h.history("room:den"); len(got) != 0 {
		t.Errorf("said in the room: %v", got)
	}

	// A name that they use stays free for all, one that is claimed they cannot have.
	for i, d := range oldDoors {
		if d.unmoved {
			continue
		}
		if _, w := enter(t, h.ws(), "u-"+d.protocol, "secret", "0123456789-random"); !strings.Contains(w.raw, `"claimed":false`) {
			t.Errorf("%s: the name is claimed: %s", d.protocol, w)
		}
		h.comes(i, "u-"+d.protocol, "hall").settled()
	}
	eventually(t, "all to be in the hall", func() bool { return len(a.ask("presence", "topic", "room:hall").Users) == len(oldDoors)-1 })
	d, w := enter(t, h.ws(), "Dora", "secret", "0123456789-random")
	if !strings.Contains(w.raw, `"claimed":true`) {
		t.Fatal(w)
	}
	for i := range oldDoors {
		h.turnedAway(i, h.comes(i, "Dora", "hall"), chat.CodeNameTaken)
	}
	h.old("/?user_id=Dora").closedWith(chat.CodeNameTaken.Verdict().Close)
	d.settled()
}

// TestClaimedNames: a claim holds over a restart, until the operator ends it;
// its secret stands nowhere, and a token needs none.
func TestClaimedNames(t *testing.T) {
	t.Parallel()
	const secret, other = "kq3x-random-7hqe-9vw2", "somebody-else-entirely"
	data := t.TempDir()
	h := open(t, data)
	a, w := enter(t, h.ws(), "Alice", "secret", secret)
	if !strings.Contains(w.raw, `"claimed":true`) {
		t.Fatal(w)
	}
	a.bye()
	h.stop()
	h.nowhere(secret)

	h = open(t, data)
	refused := func(fields ...any) {
		t.Helper()
		g := dial(t, h.ws())
		g.say("hello", fields...)
		code, reason := g.ending()
		if code != chat.CodeNameTaken.Verdict().Close || reason == "" {
			t.Errorf("%v: closed with %d %q", fields, code, reason)
		}
	}
	refused("user", "Alice")
	refused("user", "alice", "secret", other)
	refused("user", "ａｌｉｃｅ")
	a, _ = enter(t, h.ws(), "Alice", "secret", secret)
	a.bye()
	b, _ := enter(t, h.ws(), "Alice", "token", h.token("Alice")) // the site's backend says who it is
	b.bye()
	if got := h.call("DELETE", "/api/v1/names/ALICE", nil); got.status != 204 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := h.call("DELETE", "/api/v1/names/ALICE", nil).problem(t); got != "not_found" {
		t.Error(got)
	}
	eventually(t, "the others to be gone", func() bool { return len(h.sessions("user=Alice")) == 0 })
	if _, w := enter(t, h.ws(), "Alice", "secret", other); !strings.Contains(w.raw, `"claimed":true`) {
		t.Error(w)
	}
	h.stop()
	h.nowhere(secret, other)

	h = open(t, data, "--auth=token") // there, secrets mean nothing
	if _, w := enter(t, h.ws(), "Alice", "token", h.token("Alice"), "secret", "short"); strings.Contains(w.raw, "claimed") {
		t.Error(w)
	}
}
