package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// tongue is one protocol in the common room: how a line is said in it, and how
// a line of another one looks.
type tongue struct {
	name  string
	user  string // as the others see it; a guest's is not known before
	say   func(text string)
	shown func(from *tongue, text string) string // the frame that is heard of it
	old   *oldClient
	guest *guest
	html  bool
}

// next returns the next line that was heard.
func (x *tongue) next() string {
	if x.old != nil {
		return x.old.next()
	}
	e := x.guest.expect("a line", func(f frame) bool { return f.Op == "event" })
	return e.From + ": " + string(e.Body)
}

// quoted is a JSON string without more escapes than needed.
func quoted(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// TestLegacyTongues: in one room each hears all others, in its own shape.
func TestLegacyTongues(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"path", "root"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir(), "--send-rate=0", "--compat-recent=0")
			path := func(name string) string {
				if place == "root" {
					return "/"
				}
				return "/compat/" + name
			}
			escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
			esc := func(x *tongue, s string) string {
				if x.html {
					return escape.Replace(s)
				}
				return s
			}
			var all []*tongue
			add := func(x *tongue) *tongue { all = append(all, x); return x }
			room := func(name, user string, html bool, headers ...string) {
				x := add(&tongue{name: name, user: user, html: html, old: h.old(path("room")+"?user_id="+user, headers...)})
				x.say = func(text string) { x.old.says(`{"message":` + quoted(text) + `}`) }
				x.shown = func(from *tongue, text string) string {
					return `{"from_user":` + quoted(esc(x, from.user)) + `,"messages":` + quoted(esc(x, text)) + `}`
				}
			}
			typed := func(name string, html bool, headers ...string) {
				x := add(&tongue{name: name, html: html, old: h.old(path("typed")+"?user="+name, headers...)})
				x.user = name
				x.old.says(`{"type":"connect","text":"` + name + `"}`)
				x.say = func(text string) { x.old.says(`{"type":"message","text":` + quoted(text) + `}`) }
				x.shown = func(from *tongue, text string) string {
					if !strings.HasPrefix(from.name, "typed") {
						text = from.user + ": " + text
					}
					return `{"type":"message","data":` + quoted(esc(x, text)) + `}`
				}
			}
			relay := func(name string, headers ...string) {
				x := add(&tongue{name: name, user: name, old: h.old(path("relay")+"?user="+name, headers...)})
				if place == "root" { // until it has said something it only listens
					h.awaitSilent(x.old)
				}
				// What it says is JSON, so that the root knows it; the others
				// see it as text.
				x.say = func(text string) { x.old.says(quoted(text)) }
				x.shown = func(from *tongue, text string) string {
					if strings.HasPrefix(from.name, "relay") {
						return quoted(quoted(text))
					}
					return quoted(`{"from":` + quoted(from.user) + `,"text":` + quoted(text) + `}`)
				}
			}
			event := func(name, user string) {
				x := add(&tongue{name: name, user: user, old: h.old(path("event") + "?room=lobby")})
				x.old.says(eventLogin("user:"+user, "any", "1"))
				x.say = func(text string) {
					x.old.says(`{"event":"chatlobby","data":{"message":` + quoted(text) + `},"uuid":2.5}`)
				}
				x.shown = func(from *tongue, text string) string {
					return `{"type":"app","event":"chatlobby","msg":` + quoted(text) + `,"from":` + quoted(from.user) + `}`
				}
			}
			native := func(name string) {
				x := add(&tongue{name: name, user: name})
				x.guest, _ = enter(t, h.ws(), name)
				x.guest.join(lobby)
				n := 0
				x.say = func(text string) {
					n++
					x.guest.sayRaw(fmt.Sprintf(`{"op":"send","id":%d,"topic":%q,"body":{"text":%s}}`, 1000+n, lobby, quoted(text)))
					x.guest.answerTo(1000 + n)
				}
				x.shown = func(from *tongue, text string) string {
					if !strings.HasPrefix(from.name, "relay") && !strings.HasPrefix(from.name, "typed") {
						return from.user + `: {"text":` + quoted(text) + `}`
					}
					if via := strings.TrimRight(from.name, "12"); via != "" {
						return from.user + `: {"text":` + quoted(text) + `,"via":"` + via + `"}`
					}
					return ""
				}
			}
			relay("relay1")
			relay("relay2")
			room("room1", "阿明", false)
			room("room2", "page", true, "Origin", "https://old.example")
			typed("typed1", false)
			typed("typed2", true, "Origin", "https://old.example")
			event("event1", "6")
			event("event2", "9")
			native("native1")
			native("native2")
			var clients []*oldClient
			for _, x := range all {
				if x.old != nil {
					clients = append(clients, x.old)
				}
			}
			h.settle(clients...) // who came has been told
			for _, x := range all {
				if x.old != nil {
					x.old.rest()
				}
			}
			for _, text := range []string{"hi", `<b>"tea" & \ 茶</b>`, "two\nlines"} {
				for _, from := range all {
					from.say(text)
					for _, x := range all {
						said := text
						if strings.HasPrefix(from.name, "relay") && !strings.HasPrefix(x.name, "relay") {
							said = quoted(text) // a relay's client sent JSON
						}
						switch {
						case x != from:
							if got, want := x.next(), x.shown(from, said); got != want {
								t.Errorf("%s -> %s: %s\nwant %s", from.name, x.name, got, want)
							}
						case strings.HasPrefix(x.name, "typed"): // it shows its own line only then
							x.old.hears(x.shown(x, text))
						case strings.HasPrefix(x.name, "event"):
							x.old.hears(respon("2.5", 0, "发送成功"))
						}
					}
				}
			}
			// And nothing else has come to anybody.
			h.settle(clients...)
			for _, x := range all {
				if x.old != nil {
					if got := x.old.rest(); len(got) != 0 {
						t.Errorf("%s heard more: %q", x.name, got)
					}
					continue
				}
				x.guest.settled()
				if n := len(x.guest.all("event", lobby)); n != 3*(len(all)-1)+h.anybody(x.guest) {
					t.Errorf("%s heard %d lines", x.name, n)
				}
			}
		})
	}
}

// anybody counts the lines of awaitSilent that a guest was told.
func (h *house) anybody(g *guest) (n int) {
	for _, f := range g.all("event", lobby) {
		if f.From == "" {
			n++
		}
	}
	return n
}

// TestLegacyTokens: where clients need a token, the old ones bring it in their
// URL, and are who it says.
func TestLegacyTokens(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--auth=token")
	alice := h.token("alice")
	for _, path := range []string{"/compat/room?user_id=alice", "/compat/room", "/compat/voucher?user_id=alice", "/compat/relay", "/compat/typed", "/?user_id=alice"} {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		c := h.old(path + sep + "token=" + alice)
		c.settled()
		if got := h.sessions(""); len(got) != 1 || got[0].User != "alice" {
			t.Errorf("%s: %+v", path, got)
		}
		c.leaves(1000)
		eventually(t, "its end", func() bool { return len(h.sessions("")) == 0 })
		for _, wrong := range []string{"", sep + "token=" + h.token("bob") + "x", sep + "token="} {
			if reason := h.old(path + wrong).closedWith(4100); reason == "" {
				t.Errorf("%s%s: closed without a reason", path, wrong)
			}
		}
		if strings.Contains(path, "alice") {
			h.old(path + sep + "token=" + h.token("bob")).closedWith(4100)
		}
	}
	// The first frame of a protocol without a name in its URL.
	c := h.old("/?token=" + alice)
	c.says(`{"type":"message","text":"hi"}`)
	c.hears(`{"type":"message","data":"hi"}`)
	h.old("/").says("tom")
	bad := h.old("/")
	bad.says(`{"type":"message","text":"hi"}`)
	bad.closedWith(4100)
	if log := h.history(lobby); len(log) != 1 || log[0].From != "alice" {
		t.Errorf("%v", log)
	}
}
