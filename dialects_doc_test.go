package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"teahouse/chat/wire"
)

// docs/dialects.md shows what the clients of older servers and this one say to
// each other. Its sessions are played against the program: each client hears
// exactly what stands there, byte by byte, in that order, and nothing else.
//
// A session is a fenced block, ```session NAME. One thing a line:
//
//	# …                      a comment; nothing is compared
//	server FLAGS             how the server is started; first, if at all
//	server restarts
//	X opens PATH             a client connects
//	X opens PATH as HEADER: VALUE
//	X> FRAME                 it says
//	X< FRAME                 it hears
//	X is silent              what it said is stored, and it hears nothing
//	X is silent for 1s
//	X closes                 in order
//	X closed CODE            by the server, with a reason
//	http> METHOD PATH BODY   a backend asks, with the API key
//	http< STATUS BODY        and is answered
//
// A word in angle brackets with a hyphen, like <guest-1>, is what the server
// chose, the same wherever it stands again; … is anything.

var (
	legacySession = regexp.MustCompile("(?s)\n```session ([a-z-]+)\n(.*?)```\n")
	legacyLine    = regexp.MustCompile(`^(\w+)(> ?|< ?| )(.*)$`)
	legacyName    = regexp.MustCompile(`<[a-z]+-[a-z0-9]+>|…`)
)

// legacySessions returns a document's sessions by name, in their order.
func legacySessions(t *testing.T, file string) (names []string, sessions map[string]string) {
	t.Helper()
	sessions = make(map[string]string)
	for _, m := range legacySession.FindAllStringSubmatch(document(t, file), -1) {
		if sessions[m[1]] != "" {
			t.Fatalf("%s has two sessions %s", file, m[1])
		}
		names = append(names, m[1])
		sessions[m[1]] = m[2]
	}
	return names, sessions
}

func TestLegacySessions(t *testing.T) {
	t.Parallel()
	names, sessions := legacySessions(t, "docs/dialects.md")
	for _, protocol := range append(wire.Names(), "root") {
		if sessions[protocol] == "" {
			t.Errorf("docs/dialects.md has no session of %s", protocol)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			playLegacy(t, sessions[name])
		})
	}
}

// TestLegacySessionsTranslated: both documents show the same, but for what is
// said to the reader.
func TestLegacySessionsTranslated(t *testing.T) {
	t.Parallel()
	bare := func(session string) string {
		var b strings.Builder
		for line := range strings.Lines(session) {
			if !strings.HasPrefix(line, "#") {
				b.WriteString(line)
			}
		}
		return b.String()
	}
	names, english := legacySessions(t, "docs/dialects.md")
	others, chinese := legacySessions(t, "docs/dialects.zh-CN.md")
	same(t, "the sessions of docs/dialects.zh-CN.md", others, names...)
	for _, name := range names {
		if got, want := bare(chinese[name]), bare(english[name]); got != want {
			t.Errorf("the session %s of docs/dialects.zh-CN.md is another one; got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// legacyPlay is a session while it is played.
type legacyPlay struct {
	t      *testing.T
	h      *house
	guests map[string]*legacyGuest
	known  map[string]string // what the names in angle brackets stand for
	answer answer            // of the last call
	fences int
}

func playLegacy(t *testing.T, session string) {
	p := &legacyPlay{t: t, guests: make(map[string]*legacyGuest), known: make(map[string]string)}
	data := t.TempDir()
	var flags []string
	for line := range strings.Lines(session) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		m := legacyLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("the session has a line of no known form: %s", line)
		}
		who, does, rest := m[1], strings.TrimSpace(m[2]), m[3]
		switch {
		case who == "server" && rest != "restarts":
			flags = strings.Fields(rest)
			continue
		case p.h == nil:
			p.h = open(t, data, flags...)
		}
		switch {
		case who == "server":
			for who := range p.guests {
				p.settle(who)
			}
			p.h.stop()
			p.h = open(t, data, flags...)
			clear(p.guests)
		case who == "http" && does == ">":
			p.call(rest)
		case who == "http":
			p.matches(line, rest, fmt.Sprintf("%d %s", p.answer.status, strings.TrimSpace(string(p.answer.body))))
		case does == ">":
			p.guest(line, who).sayRaw(p.filled(rest))
		case does == "<":
			p.matches(line, rest, p.guest(line, who).expect("frame", func(frame) bool { return true }).raw)
		default:
			p.act(line, who, rest)
		}
	}
	if len(p.guests) == 0 {
		t.Fatal("nobody was left to ask")
	}
	for who := range p.guests {
		p.silent(who)
	}
}

func (p *legacyPlay) guest(line, who string) *legacyGuest {
	p.t.Helper()
	if p.guests[who] == nil {
		p.t.Fatalf("%s is not connected: %s", who, line)
	}
	return p.guests[who]
}

// act is a line without a frame.
func (p *legacyPlay) act(line, who, rest string) {
	p.t.Helper()
	word, rest, _ := strings.Cut(rest, " ")
	if (p.guests[who] == nil) != (word == "opens") {
		p.t.Fatalf("%s is not connected, or is already: %s", who, line)
	}
	switch word {
	case "opens":
		path, header, _ := strings.Cut(rest, " as ")
		name, value, _ := strings.Cut(header, ": ")
		headers := make(http.Header)
		if name != "" {
			headers.Set(name, value)
		}
		p.guests[who] = dialLegacy(p.t, "ws"+strings.TrimPrefix(p.h.url, "http")+p.filled(path), headers)
		p.fence(who, true)
	case "is":
		if d, err := time.ParseDuration(strings.TrimPrefix(rest, "silent for ")); err == nil {
			<-time.After(d)
		} else if rest != "silent" {
			p.t.Fatalf("how long? %s", line)
		}
		p.silent(who)
	case "closes":
		p.settle(who)
		p.guests[who].bye()
		delete(p.guests, who)
	case "closed":
		if code, reason := p.guests[who].ending(); fmt.Sprint(code) != rest || reason == "" {
			p.t.Fatalf("the document says %s, but it was closed with %d %q", line, code, reason)
		}
		delete(p.guests, who)
	default:
		p.t.Fatalf("what is this? %s", line)
	}
}

// fence waits until all that a client said before is carried out, and all that
// was queued to it before has come: pings are answered in their turn, and what
// came with the first one is stored before the second one is read. The client
// may be refused instead, if that is to be shown.
func (p *legacyPlay) fence(who string, orRefused bool) {
	p.t.Helper()
	g := p.guest("fence", who)
	for range 2 {
		p.fences++
		want := fmt.Sprintf("fence %d", p.fences)
		if err := g.conn.WriteControl(websocket.PingMessage, []byte(want), time.Now().Add(patience)); err != nil && !orRefused {
			p.t.Fatalf("%s: %v", who, err)
		}
		g.wait("pong", func() bool {
			return orRefused && g.over || len(g.pongs) > 0 && g.pongs[len(g.pongs)-1] == want
		})
	}
}

// settle waits until the server knows what a client has: of what came in the
// last moment before a connection ends nobody may know whether it arrived, and
// then it is told again. The server asks by a ping 50 ms after it told something
// that may be missed; whether it did, the client cannot know.
func (p *legacyPlay) settle(who string) {
	p.t.Helper()
	g := p.guest("settle", who)
	asked := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.asked >= len(g.heard)
	}
	for until := time.Now().Add(300 * time.Millisecond); !asked() && time.Now().Before(until); {
		<-time.After(5 * time.Millisecond)
	}
	p.silent(who) // our answer has arrived, too
}

// silent fails if a client heard what does not stand in the session.
func (p *legacyPlay) silent(who string) {
	p.t.Helper()
	p.fence(who, false)
	g := p.guests[who]
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.heard[g.read:] {
		p.t.Errorf("%s hears what the document does not say: %s", who, f.raw)
	}
}

func (p *legacyPlay) call(request string) {
	p.t.Helper()
	method, rest, _ := strings.Cut(p.filled(request), " ")
	path, body, _ := strings.Cut(rest, " ")
	var headers []string
	if body != "" && body[0] != '{' {
		headers = []string{"Content-Type", "application/x-www-form-urlencoded"}
	}
	p.answer = p.h.call(method, path, body, headers...)
}

// filled puts the values of names into what is said.
func (p *legacyPlay) filled(text string) string {
	return legacyName.ReplaceAllStringFunc(text, func(name string) string {
		if v, ok := p.known[name]; ok {
			return v
		}
		return name
	})
}

// matches compares what stands in the document with what came, and learns what
// the names stand for.
func (p *legacyPlay) matches(line, shown, got string) {
	p.t.Helper()
	var pattern strings.Builder
	var names []string
	at := 0
	for _, m := range legacyName.FindAllStringIndex(shown, -1) {
		pattern.WriteString(regexp.QuoteMeta(shown[at:m[0]]))
		at = m[1]
		switch name := shown[m[0]:m[1]]; {
		case name == "…":
			pattern.WriteString(`.*`)
		case p.known[name] != "":
			pattern.WriteString(regexp.QuoteMeta(p.known[name]))
		default:
			pattern.WriteString(`([\w.-]+)`)
			names = append(names, name)
		}
	}
	pattern.WriteString(regexp.QuoteMeta(shown[at:]))
	m := regexp.MustCompile(`(?s)^` + pattern.String() + `$`).FindStringSubmatch(got)
	if m == nil {
		p.t.Fatalf("the document says\n%s\nbut it is\n%s", line, got)
	}
	for i, name := range names {
		p.known[name] = m[i+1]
	}
}

// legacyGuest is a guest that came like a client of another server.
type legacyGuest struct {
	*guest
	asked int // how much it had heard when the server last pinged
}

// dialLegacy connects with the headers of such a client, and without a word.
func dialLegacy(t testing.TB, addr string, header http.Header) *legacyGuest {
	t.Helper()
	d := websocket.Dialer{HandshakeTimeout: patience}
	conn, res, err := d.Dial(addr, header)
	if err != nil {
		status := ""
		if res != nil {
			status = res.Status
		}
		t.Fatalf("dial %s: %v %s", addr, err, status)
	}
	g := &legacyGuest{guest: &guest{t: t, conn: conn, news: make(chan struct{}), done: make(chan struct{})}}
	conn.SetPongHandler(func(data string) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.pongs = append(g.pongs, data)
		g.tell()
		return nil
	})
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		g.mu.Lock()
		g.asked = len(g.heard)
		g.mu.Unlock()
		return answer(data)
	})
	go g.listen()
	t.Cleanup(g.hangUp)
	return g
}
