package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// oldRoomHTML is a chat page of the old kind on another host: it makes HTML of
// what it gets, its heartbeat is "[object Object]", and it comes back for ever
// without clearing.
const oldRoomHTML = `<!doctype html><meta charset=utf-8><body><div id=log></div><script>
var ws
function connect() {
	ws = new WebSocket('ws://HOST/?user_id=' + location.hash.slice(1))
	ws.onopen = function () { window.opens = (window.opens || 0) + 1 }
	ws.onmessage = function (e) {
		var o = JSON.parse(e.data)
		if (o.messages == '我上线啦!' || o.messages == '我下线啦!') return
		show(o.from_user + ': ' + o.messages)
	}
	ws.onclose = function () { setTimeout(connect, 500) }
}
function show(html) { document.getElementById('log').innerHTML += '<p>' + html + '</p>' }
function say(text) { show('me: ' + text); ws.send(JSON.stringify({message: text})) }
setInterval(function () { if (ws.readyState == 1) ws.send({type: 'ping'}) }, 300)
connect()
</script>`

// oldTypedHTML introduces itself, evals what it gets, and makes HTML of it.
const oldTypedHTML = `<!doctype html><meta charset=utf-8><body><div id=log></div><script>
var ws = new WebSocket('ws://HOST')
ws.onopen = function () { window.opens = 1; ws.send(JSON.stringify({type: 'connect', text: '‘tom'})) }
ws.onmessage = function (e) {
	var o = eval('(' + e.data + ')')
	document.getElementById('log').innerHTML += '<p>' + o.data + '</p>'
}
function say(text) { ws.send(JSON.stringify({type: 'message', text: text})) }
</script>`

// TestLegacyBrowser: old pages in a real browser, from another host. A reload
// shows the recent lines, a break of the network only what was missed, and
// nobody's line is HTML.
func TestLegacyBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	dir, addr := t.TempDir(), freePort(t)
	h := spawn(t, dir, "--addr="+addr)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		html := map[string]string{"/room": oldRoomHTML, "/typed": oldTypedHTML}[r.URL.Path]
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(strings.ReplaceAll(html, "HOST", addr)))
	}))
	defer site.Close()
	visitOld := func(who, path string) tab {
		ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
		t.Cleanup(cancel)
		if err := chromedp.Do(ctx); err != nil {
			t.Fatal(err)
		}
		p := tab{t, who, ctx}
		p.do("open", chromedp.Navigate(site.URL+path))
		eventually(t, who+" to be in", func() bool { return eval[int](p, "window.opens || 0") > 0 })
		return p
	}
	shows := func(p tab, want ...string) {
		t.Helper()
		text := ""
		deadline := time.Now().Add(15 * time.Second)
		for time.Now().Before(deadline) {
			text = eval[string](p, `[...document.querySelectorAll('#log p')].map(n => n.textContent).join('|')`)
			if text == strings.Join(want, "|") {
				return
			}
			<-time.After(50 * time.Millisecond)
		}
		t.Fatalf("%s shows %q\nwant %q", p.who, text, strings.Join(want, "|"))
	}
	alice, bob := visitOld("alice", "/room#alice"), visitOld("bob", "/room#bob")
	tom := visitOld("tom", "/typed")
	shows(tom, "Welcome ‘tom to join us")
	eventually(t, "both in the room", func() bool { return len(h.sessions("")) == 3 })
	const evil = `<img src=x onerror=window.hit=1>`
	eval[any](alice, `say('hi')`)
	shows(bob, "alice: hi")
	eval[any](bob, "say(`"+`<b>\u2028</b>`+"`)")
	shows(alice, "me: hi", "bob: <b>\u2028</b>")
	h.say(lobby, map[string]string{"text": evil})
	shows(alice, "me: hi", "bob: <b>\u2028</b>", "false: "+evil)
	shows(tom, "Welcome ‘tom to join us", "alice: hi", "bob: <b>\u2028</b>", evil)

	// A reload: an empty page, so all of it again.
	alice.do("reload", chromedp.Reload())
	shows(alice, "alice: hi", "bob: <b>\u2028</b>", "false: "+evil)

	// The server is killed: the pages show what they missed, and nothing twice.
	time.Sleep(500 * time.Millisecond)
	h.kill()
	h = spawn(t, dir, "--addr="+addr)
	h.say(lobby, map[string]string{"text": "missed"})
	shows(alice, "alice: hi", "bob: <b>\u2028</b>", "false: "+evil, "false: missed")
	eval[any](alice, `say('back')`)
	shows(alice, "alice: hi", "bob: <b>\u2028</b>", "false: "+evil, "false: missed", "me: back")
	eventually(t, "bob's line", func() bool {
		return strings.HasSuffix(eval[string](bob, `document.querySelector('#log').textContent`), "back")
	})
	if got := eval[string](bob, `[...document.querySelectorAll('#log p')].map(n => n.textContent).join('|')`); got != "alice: hi|me: \u2028|false: "+evil+"|false: missed|alice: back" {
		t.Errorf("bob shows %q", got)
	}
	for p, tags := range map[tab]string{alice: "img, b", bob: "img", tom: "img, b"} { // bob's own page made his own line bold
		if eval[bool](p, "window.hit === 1 || [...document.querySelectorAll('#log')].some(n => n.querySelector('"+tags+"'))") {
			t.Errorf("the page of %s took a line for HTML", p.who)
		}
	}
}
