package wire

import (
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"teahouse/chat"
)

func handshake(query string, headers ...string) chat.Handshake {
	q, err := url.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	h := chat.Handshake{Query: q, Header: make(http.Header)}
	for i := 0; i < len(headers); i += 2 {
		h.Header.Set(headers[i], headers[i+1])
	}
	return h
}

func TestUnknownProtocols(t *testing.T) {
	t.Parallel()
	c := Compat{Open: true}
	for _, name := range []string{"", "native", "Room", "room+html"} {
		if _, ok := c.Opening(name, chat.Handshake{}); ok {
			t.Errorf("%q opens something", name)
		}
	}
	if _, ok := (&Compat{Root: "tea"}).Opening("root", chat.Handshake{}); ok {
		t.Error("a root that is no protocol opens something")
	}
	if _, ok := (&Compat{Root: "root"}).Opening("root", chat.Handshake{}); ok {
		t.Error("a root that is the root opens something")
	}
	for _, name := range append(Names(), rootName) { // without a query and headers
		o, ok := c.Opening(name, chat.Handshake{})
		if !ok || o.Dialect == nil || o.Protocol == "" || !o.Rules.Lenient {
			t.Errorf("%s opens %+v", name, o)
		}
	}
}

func TestDeviceOf(t *testing.T) {
	t.Parallel()
	phone := []string{"User-Agent", "Phone/1", "Accept-Language", "zh-CN", "X-Forwarded-For", "10.0.0.1", "Sec-WebSocket-Key", "a"}
	same := []string{"User-Agent", "Phone/1", "Accept-Language", "zh-CN", "X-Forwarded-For", "10.9.9.9", "Sec-WebSocket-Key", "b"}
	if deviceOf(handshake("", phone...)) != deviceOf(handshake("user_id=x", same...)) {
		t.Error("the same device in another network is another device")
	}
	mini := func(path string) string {
		return deviceOf(handshake("", "User-Agent", "Phone/1", "Accept-Language", "zh-CN", "Referer", miniProgram+path))
	}
	if mini("wx1/12/page-frame.html") != mini("wx1/13/page-frame.html") {
		t.Error("an update of a mini-program makes another device of it")
	}
	all := []string{
		deviceOf(chat.Handshake{}), deviceOf(handshake("", phone...)), mini("wx1/12/page-frame.html"), mini("wx2/12/page-frame.html"),
		deviceOf(handshake("", "User-Agent", "Desk/1", "Accept-Language", "zh-CN")),
		deviceOf(handshake("", "User-Agent", "Phone/1", "Accept-Language", "zh-CN", "Origin", "https://a.example")),
	}
	slices.Sort(all)
	if len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("different devices have one name: %v", all)
	}
	for _, d := range all {
		if len(d) == 0 || len(d) > 64 {
			t.Errorf("the device %q", d)
		}
	}
}

// variants are openings that differ in all that a client can make different.
func variants() []chat.Opening {
	c := &Compat{Open: true, Recent: 50}
	closed := &Compat{EventRoles: []string{"user"}, EventKey: "k"}
	var all []chat.Opening
	add := func(o chat.Opening, ok bool) {
		if ok {
			all = append(all, o)
		}
		if o.Rules.Then != nil {
			all = append(all, o.Rules.Then())
		}
	}
	for _, query := range []string{"", "user_id=alice", "user=bob&room=tea", "user_id=0&mode=ack&room=%3Ctea%3E"} {
		for _, headers := range [][]string{nil, {"Origin", "https://old.example"}, {"Referer", miniProgram + "wx1/1/page-frame.html"}} {
			for _, name := range append(Names(), rootName) {
				add(c.Opening(name, handshake(query, headers...)))
				add(closed.Opening(name, handshake(query, headers...)))
			}
		}
	}
	// What they go on as.
	for _, o := range slices.Clone(all) {
		for _, frame := range []string{`{"type":"ping"}`, `{"a":1}`, `{"event":"x","uuid":1}`, `{"type":"connect","text":"x"}`, "x"} {
			if cmd, _ := o.Dialect.Decode([]byte(frame)); cmd.Op == chat.OpBecome {
				all = append(all, *cmd.Become)
			}
		}
	}
	return all
}

// TestEqualNamesEqualFrames: the hub encodes an event once for each name,
// whoever of the clients comes first.
func TestEqualNamesEqualFrames(t *testing.T) {
	t.Parallel()
	frames := make(map[string]string)
	for _, o := range variants() {
		var b []byte
		for _, e := range transcriptEvents(t) {
			b = append(o.Dialect.AppendEvent(b, &e), '\n')
		}
		for op := chat.ReplyWelcome; op <= chat.ReplyBeat; op++ {
			b = o.Dialect.AppendReply(b, &chat.Reply{
				Op: op, ID: json.RawMessage("1"), Topic: "room:tea", User: "<bob>", From: "bob", Kind: kindWelcome, At: 1,
				Body: []byte(`{"text":"<b>"}`), Err: chat.Errorf(chat.CodeBadToken, "no"), For: chat.OpHello,
			})
			b = append(b, '\n')
		}
		name := o.Dialect.Name()
		if first, ok := frames[name]; ok && first != string(b) {
			t.Errorf("two dialects called %s differ:\n%s\n%s", name, first, b)
		}
		frames[name] = string(b)
	}
	want := []string{
		"echo", "echo+ack", "event", "relay", "room", "room+html", "room+voucher", "room+voucher+html", "root",
		"typed", "typed+html", "voucher",
	}
	if names := slices.Sorted(maps.Keys(frames)); !slices.Equal(names, want) {
		t.Errorf("seen were %v, want %v", names, want)
	}
}

// transcriptLines returns what stands behind a word in all transcripts.
func transcriptLines(t testing.TB, word string) (lines []string) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.transcript"))
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.SplitSeq(string(b), "\n") {
			if rest, ok := strings.CutPrefix(l, word+" "); ok {
				lines = append(lines, rest)
			}
		}
	}
	return lines
}

func transcriptEvents(t testing.TB) (events []chat.Event) {
	for _, l := range transcriptLines(t, "event") {
		f := strings.SplitN(l, " ", 4)
		events = append(events, chat.Event{Topic: f[0], Kind: f[1], From: strings.TrimPrefix(f[2], "-"), Body: json.RawMessage(f[3])})
	}
	return events
}

// TestHostileFrames: what is made to hurt costs no more than its length.
func TestHostileFrames(t *testing.T) { // alone, because it counts memory
	const size = 1 << 19
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	frames := map[string]string{
		"brackets":        fill("["),
		"balanced":        strings.Repeat("[", size/2) + strings.Repeat("]", size/2),
		"deep enough":     `{"message":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `,"text":` + strings.Repeat("[", 900) + strings.Repeat("]", 900) + "}",
		"objects":         fill(`{"message":`),
		"a number":        `{"message":1` + fill("0") + `,"uuid":1` + fill("0") + `}`,
		"a float":         `{"event":"ping","uuid":0.` + fill("7") + `}`,
		"members":         `{` + fill(`"message":1,`) + `"message":2}`,
		"names":           `{"type":"ping",` + fill(`"\u0074ype":"ping",`) + `"type":"ping"}`,
		"escapes":         `{"message":"` + fill(`\u003c`) + `","type":"message","text":"` + fill(`\\u003c`) + `"}`,
		"surrogates":      `{"message":"` + fill(`\ud800`) + `"}`,
		"quotes":          fill(`"`),
		"backslashes":     fill(`\`),
		"controls":        fill("\x00"),
		"separators":      `{"message":"` + fill("\u2028") + `"}`,
		"spaces":          fill(" "),
		"an inner object": `{"event":"login","uuid":1,"data":{` + fill(`"u":"user:6",`) + `"token":"` + fill("t") + `"}}`,
		"a login":         `{"event":"login","uuid":1,"data":{"u":"user:` + fill(":") + `"}}`,
		"nothing":         "",
		"a BOM":           "\ufeff{}",
		"the page's":      "[object Object]",
	}
	one := make(map[string]chat.Opening)
	for _, o := range variants() {
		one[fmt.Sprintf("%T %s", o.Dialect, o.Dialect.Name())] = o
	}
	var before, after runtime.MemStats
	for name, frame := range frames {
		for _, o := range one {
			given := []byte(frame)
			runtime.ReadMemStats(&before)
			began := time.Now()
			c, err := o.Dialect.Decode(given)
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			// A control character is six in JSON, and memory that grows to
			// hold them is five times that.
			if n := after.TotalAlloc - before.TotalAlloc; n > uint64(32*len(frame)+200<<10) {
				t.Errorf("%s to %s: %d bytes allocated for %d", name, o.Dialect.Name(), n, len(frame))
			}
			if took > 20*time.Second {
				t.Errorf("%s to %s took %s", name, o.Dialect.Name(), took)
			}
			if e := (*chat.Error)(nil); err != nil && !asError(err, &e) {
				t.Errorf("%s to %s: %v", name, o.Dialect.Name(), err)
			}
			if c.Body != nil && c.Op != chat.OpEcho && !json.Valid(c.Body) {
				t.Errorf("%s to %s: the body is not JSON", name, o.Dialect.Name())
			}
		}
	}
}

func TestAppendQuoted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ s, plain, html string }{
		{"", `""`, `""`},
		{"茶 🍵", `"茶 🍵"`, `"茶 🍵"`},
		{"a\"b\\c/\n\r\t\x00\x1f\x7f", `"a\"b\\c/\n\r\t\u0000\u001f` + "\x7f\"", `"a\"b\\c/\n\r\t\u0000\u001f` + "\x7f\""},
		{"\u2028\u2029‧", `"\u2028\u2029‧"`, `"\u2028\u2029‧"`},
		{"\xff\xe2\x80", `"\ufffd\ufffd\ufffd"`, `"\ufffd\ufffd\ufffd"`},
		{`<a href="x">&amp;`, `"<a href=\"x\">&amp;"`, `"&lt;a href=\"x\"&gt;&amp;amp;"`},
		{`\u003c`, `"\\u003c"`, `"\\u003c"`}, // a text, no JSON
		{`["\u003c\u003E\u0026\u0027\u003"]`, `["\u003c\u003E\u0026\u0027\u003"]`, `["&lt;&gt;&amp;\u0027\u003"]`},
		{`["\\u003c"]`, `["\\u003c"]`, `["\\u003c"]`},
		{`["\\\u003c"]`, `["\\\u003c"]`, `["\\&lt;"]`},
		{`["\u003c\\u003c\u003c"]`, `["\u003c\\u003c\u003c"]`, `["&lt;\\u003c&lt;"]`},
	} {
		plain, escaped := string(appendQuoted([]byte("x"), c.s, false)), string(appendQuoted([]byte("x"), c.s, true))
		if strings.HasPrefix(c.plain, "[") { // what the text is, not how it is quoted
			if unquote([]byte(plain[1:])) != c.plain || unquote([]byte(escaped[1:])) != c.html {
				t.Errorf("%q: got %s and %s", c.s, plain, escaped)
			}
			continue
		}
		if plain != "x"+c.plain || escaped != "x"+c.html {
			t.Errorf("%q: got %s and %s", c.s, plain, escaped)
		}
	}
}

func FuzzUnquote(f *testing.F) {
	for _, s := range []string{`""`, `"a"`, `"\"\\\/\b\f\n\r\t"`, `"\u003C\ud83c\udf75"`, `"\ud83c"`, `"\ud83c\u0041"`, `"\udf75\ud83c"`, `"\ud83c\ud83c\udf75"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, literal []byte) {
		unquote(literal) // whatever it is
		var want string
		if !isString(literal) || !utf8.Valid(literal) || json.Unmarshal(literal, &want) != nil || literal[len(literal)-1] != '"' {
			return
		}
		if got := unquote(literal); got != want {
			t.Fatalf("%q: got %q, want %q", literal, got, want)
		}
	})
}

func FuzzAppendQuoted(f *testing.F) {
	for _, s := range []string{"", "a", "<&>", "\u2028", "\xff", `{"a":"\u003c"}`, `["\\\u003e"]`, "\\", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := string([]rune(s)) // each wrong byte becomes U+FFFD
		plain, escaped := appendQuoted(nil, s, false), appendQuoted(nil, s, true)
		var p, e string
		if json.Unmarshal(plain, &p) != nil || json.Unmarshal(escaped, &e) != nil || !utf8.Valid(plain) || !utf8.Valid(escaped) {
			t.Fatalf("%q: got %q and %q", s, plain, escaped)
		}
		if p != want {
			t.Fatalf("%q became %q", s, p)
		}
		if strings.ContainsAny(e, "<>") || strings.ContainsAny(string(plain)+string(escaped), "\u2028\u2029") {
			t.Fatalf("%q: got %q and %q", s, plain, escaped)
		}
		if !isJSONText(s) && html.UnescapeString(e) != html.UnescapeString(html.EscapeString(want)) {
			t.Fatalf("%q became %q", s, e)
		}
		if json.Valid([]byte(s)) && utf8.ValidString(s) && !json.Valid([]byte(e)) {
			t.Fatalf("%q is JSON and %q is not", s, e)
		}
	})
}

// BenchmarkRoomAppendEvent is on the road of every line to a crowd.
func BenchmarkRoomAppendEvent(b *testing.B) {
	plain := chat.Event{Topic: "room:lobby", Kind: chat.KindMessage, From: "alice", Body: json.RawMessage(`{"text":"一杯龙井茶, please, and some of the green cakes"}`)}
	quoted := plain
	quoted.Body = json.RawMessage(`{"text":"{\"id\":7,\"note\":\"<b>\"}","data":{"id":7,"note":"<b>"}}`)
	for _, bench := range []struct {
		name string
		d    chat.Dialect
		e    *chat.Event
	}{{"text", room{}, &plain}, {"html", room{html: true}, &plain}, {"data", room{}, &quoted}, {"html data", room{html: true}, &quoted}, {"native", Native{}, &plain}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				dst = bench.d.AppendEvent(dst[:0], bench.e)
			}
		})
	}
}
