package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"teahouse/chat"
)

// A transcript is what a protocol's server and client say to each other,
// written by hand from the description of the old server. One thing a line:
//
//	# …                     a comment
//	with K=V …              how the server is set: recent, key, roles, open, echo, root
//	header NAME: VALUE      of the next handshake
//	open NAME ?QUERY        a connection begins
//	idle                    it goes on as it does when it has said nothing
//	> FRAME                 the client says
//	= …                     what the core is asked for by that, or by the opening
//	event TOPIC KIND FROM BODY   the log has it; FROM - is nobody
//	reply OP …              what else the core tells: see (*transcript).reply
//	< FRAME                 the client is told, byte by byte
//	silent                  the client is told nothing
//
// A word with a q behind it, like >q, has a Go string behind that.
type transcript struct {
	t       *testing.T
	compat  Compat
	header  http.Header
	opening chat.Opening
	did     []string // what the core was asked for, and is not expected yet
	heard   []string // what the client was told, and is not expected yet
	where   string
}

func TestTranscripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "*.transcript"))
	if err != nil {
		t.Fatal(err)
	}
	have := make(map[string]bool)
	for _, file := range files {
		have[strings.TrimSuffix(filepath.Base(file), ".transcript")] = true
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			play(t, file, string(b))
		})
	}
	for _, name := range append(Names(), rootName) {
		if !have[name] {
			t.Errorf("there is no testdata/%s.transcript", name)
		}
	}
}

func play(t *testing.T, file, text string) {
	p := &transcript{t: t, compat: Compat{Open: true, Recent: 50}, header: make(http.Header)}
	checks := 0
	for i, l := range strings.Split(text, "\n") {
		word, rest, _ := strings.Cut(l, " ")
		if word == "" || word == "#" {
			continue
		}
		if word != "=" && word != "=q" && word != "<" && word != "silent" {
			p.settle()
		} else {
			checks++
		}
		p.where = fmt.Sprintf("%s:%d", file, i+1)
		if strings.HasSuffix(word, "q") {
			s, err := strconv.Unquote(rest)
			if err != nil {
				t.Fatalf("%s: %s", p.where, err)
			}
			word, rest = strings.TrimSuffix(word, "q"), s
		}
		switch word {
		case "with":
			p.with(rest)
		case "header":
			name, value, _ := strings.Cut(rest, ": ")
			p.header.Set(name, value)
		case "open":
			p.open(rest)
		case "idle":
			if p.opening.Rules.Then == nil {
				t.Fatalf("%s: it waits for ever", p.where)
			}
			p.begin(p.opening.Rules.Then())
		case ">":
			p.says([]byte(rest))
		case "event":
			f := strings.SplitN(rest, " ", 4)
			from := f[2]
			if from == "-" {
				from = ""
			}
			if !json.Valid([]byte(f[3])) {
				t.Fatalf("%s: the body is not JSON", p.where)
			}
			p.told(p.opening.Dialect.AppendEvent(nil, &chat.Event{Topic: f[0], Kind: f[1], From: from, Body: json.RawMessage(f[3])}))
		case "reply":
			p.told(p.opening.Dialect.AppendReply(nil, p.reply(rest)))
		case "=":
			p.expect(&p.did, rest)
		case "<":
			p.expect(&p.heard, rest)
		case "silent":
			if len(p.heard) > 0 {
				t.Errorf("%s: the client is told %s", p.where, p.heard[0])
			}
			p.heard = nil
		default:
			t.Fatalf("%s: what is %q?", p.where, word)
		}
	}
	p.settle()
	if checks < 3 {
		t.Errorf("%s: it expects nothing", file)
	}
}

// settle complains of what happened and was not expected.
func (p *transcript) settle() {
	p.t.Helper()
	for _, l := range p.did {
		p.t.Errorf("%s: unexpected: = %s", p.where, l)
	}
	for _, l := range p.heard {
		p.t.Errorf("%s: unexpected: < %s", p.where, l)
	}
	p.did, p.heard = nil, nil
}

func (p *transcript) expect(got *[]string, want string) {
	p.t.Helper()
	if len(*got) == 0 {
		p.t.Errorf("%s: nothing happens; expected %s", p.where, want)
		return
	}
	if (*got)[0] != want {
		p.t.Errorf("%s:\ngot  %s\nwant %s", p.where, (*got)[0], want)
	}
	*got = (*got)[1:]
}

func (p *transcript) with(settings string) {
	for _, s := range strings.Fields(settings) {
		name, value, _ := strings.Cut(s, "=")
		switch name {
		case "recent":
			p.compat.Recent, _ = strconv.Atoi(value)
		case "key":
			p.compat.EventKey = value
		case "roles":
			p.compat.EventRoles = strings.FieldsFunc(value, func(r rune) bool { return r == ',' })
		case "open":
			p.compat.Open = value == "true"
		case "echo":
			p.compat.EchoMode = value
		case "root":
			p.compat.Root = value
		default:
			p.t.Fatalf("%s: what is %s?", p.where, name)
		}
	}
}

func (p *transcript) open(rest string) {
	name, query, _ := strings.Cut(rest, " ")
	q, err := url.ParseQuery(strings.TrimPrefix(query, "?"))
	if err != nil {
		p.t.Fatalf("%s: %s", p.where, err)
	}
	compat := p.compat // what is set later is for later connections
	o, ok := compat.Opening(name, chat.Handshake{Query: q, Header: p.header})
	if !ok {
		p.t.Fatalf("%s: there is no %s", p.where, name)
	}
	p.header = make(http.Header)
	p.begin(o)
}

func (p *transcript) begin(o chat.Opening) {
	p.opening = o
	d := o.Protocol + " " + o.Dialect.Name()
	if o.Keep {
		d += " keep"
	}
	r := o.Rules
	for _, f := range []struct {
		name string
		set  bool
	}{{"echo", r.Echo}, {"lenient", r.Lenient}, {"nameless", r.Nameless}, {"rebind", r.Rebind}, {"resume", r.Resume}, {"missed", r.Missed}} {
		if f.set {
			d += " " + f.name
		}
	}
	if r.Sockets != 0 {
		d += fmt.Sprintf(" sockets=%d", r.Sockets)
	}
	if r.Beat != 0 {
		d += fmt.Sprintf(" beat=%s", r.Beat)
	}
	if r.HelloWait < 0 {
		d += " waits"
	}
	if r.Idle != 0 {
		d += fmt.Sprintf(" idle=%s", r.Idle)
	}
	p.did = append(p.did, d)
	if o.Keep && o.Commands != nil {
		p.t.Errorf("%s: who stays who it is says nothing anew", p.where)
	}
	for _, c := range o.Commands {
		p.command(c, nil)
	}
}

func (p *transcript) says(frame []byte) {
	for range 3 {
		given := bytes.Clone(frame)
		c, err := p.opening.Dialect.Decode(given)
		for i := range given {
			given[i] = '!' // the memory is used again
		}
		if c.Op != chat.OpBecome {
			p.command(c, err)
			return
		}
		if err != nil || c.Become == nil {
			p.t.Fatalf("%s: become %v, %v", p.where, c.Become, err)
		}
		p.begin(*c.Become)
	}
	p.t.Fatalf("%s: it becomes for ever", p.where)
}

var opNames = map[chat.Op]string{
	chat.OpNone: "nothing", chat.OpHello: "hello", chat.OpJoin: "join", chat.OpLeave: "leave", chat.OpSend: "send",
	chat.OpSignal: "signal", chat.OpPing: "ping", chat.OpEcho: "echo",
}

// command notes what the core is asked for. A hello's token is checked as the
// core would.
func (p *transcript) command(c chat.Command, err error) {
	var b strings.Builder
	b.WriteString(opNames[c.Op])
	show := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, " %s=%s", name, value)
		}
	}
	show("id", string(c.ID))
	show("user", c.User)
	show("token", c.Token)
	show("topic", c.Topic)
	if c.Recent > 0 {
		show("recent", strconv.Itoa(c.Recent))
	}
	if c.Quiet {
		b.WriteString(" quiet")
	}
	show("kind", c.Kind)
	if c.Op == chat.OpEcho || c.Body != nil {
		fmt.Fprintf(&b, " %s", c.Body)
	}
	if (c.Op == chat.OpSend || c.Op == chat.OpSignal) && err == nil && !json.Valid(c.Body) {
		p.t.Errorf("%s: the body is not JSON: %s", p.where, c.Body)
	}
	if c.Op == chat.OpHello && c.Device == "" {
		p.t.Errorf("%s: the device has no name", p.where)
	}
	if err == nil && c.Op == chat.OpHello && p.opening.Authenticate != nil {
		who, refused := p.opening.Authenticate(context.Background(), c.User, c.Token)
		if err = refused; err == nil {
			fmt.Fprintf(&b, " is %s", who.User)
		}
	}
	p.did = append(p.did, b.String())
	if err != nil {
		p.told(p.opening.Dialect.AppendReply(nil, &chat.Reply{Op: chat.ReplyError, For: c.Op, ID: c.ID, Err: chat.AsError(err)}))
	}
}

// reply makes what the core tells.
func (p *transcript) reply(rest string) *chat.Reply {
	f := strings.Fields(rest)
	arg := func(i int) string {
		if i >= len(f) || f[i] == "-" {
			return ""
		}
		return f[i]
	}
	r := &chat.Reply{}
	switch f[0] {
	case "welcome": // ID USER
		r.Op, r.ID, r.User = chat.ReplyWelcome, json.RawMessage(arg(1)), arg(2)
	case "joined":
		r.Op, r.Topic = chat.ReplyJoined, arg(1)
	case "ack": // ID
		r.Op, r.ID = chat.ReplyAck, json.RawMessage(arg(1))
	case "pong": // ID USER
		r.Op, r.ID, r.User = chat.ReplyPong, json.RawMessage(arg(1)), arg(2)
	case "online", "offline": // TOPIC USER
		r.Op, r.Topic, r.User, r.Online = chat.ReplyOnline, arg(1), arg(2), f[0] == "online"
	case "signal": // TOPIC KIND FROM BODY
		r.Op, r.Topic, r.Kind, r.From = chat.ReplySignal, arg(1), arg(2), arg(3)
		r.Body = []byte(strings.SplitN(rest, " ", 5)[4])
	case "error": // FOR ID CODE
		for op, name := range opNames {
			if name == arg(1) {
				r.For = op
			}
		}
		r.Op, r.ID, r.Err = chat.ReplyError, json.RawMessage(arg(2)), chat.Errorf(chat.Code(arg(3)), "what went wrong")
	case "reset": // TOPIC
		r.Op, r.Topic, r.Reason = chat.ReplyReset, arg(1), chat.ResetLimit
	case "echo": // TEXT
		r.Op, r.Body = chat.ReplyEcho, []byte(strings.TrimPrefix(rest[4:], " "))
	case "beat": // MS
		r.Op = chat.ReplyBeat
		r.At, _ = strconv.ParseInt(arg(1), 10, 64)
	default:
		p.t.Fatalf("%s: what is %s?", p.where, f[0])
	}
	return r
}

func (p *transcript) told(frame []byte) {
	if len(frame) == 0 {
		return
	}
	if !utf8.Valid(frame) {
		p.t.Errorf("%s: not UTF-8: %q", p.where, frame)
	}
	p.heard = append(p.heard, string(frame))
}
