package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestBrowserMessages is what is inside a message, and the place where one
// writes, in a real browser: on a desktop and on a phone.
func TestBrowserMessages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	h := open(t, t.TempDir(), "--send-rate=0")
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context, *house)
	}{
		{"what a text holds", textHolds},
		{"odd bodies are harmless", oddBodies},
		{"reply and jump", replyAndJump},
		{"recall and edit again", recallAndEdit},
		{"mention", mentionSomebody},
		{"an input method", inputMethod},
		{"copy", copyText},
		{"drafts", drafts},
		{"too long", tooLong},
		{"a phone's keys and fingers", phoneKeys},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, chromium, h) })
	}
	t.Run("an outbox over the end of the page", func(t *testing.T) { outboxOverReload(t, chromium) })
}

// aRoom is a room of the test's own, and a client in it.
func aRoom(t *testing.T, h *house, user string) (url, topic string, c *guest) {
	t.Helper()
	name := strings.ReplaceAll(t.Name(), "/", "-")
	name = "room" + name[strings.LastIndex(name, "-")+1:]
	topic = "room:" + name
	c, _ = enter(t, h.ws(), user)
	c.join(topic)
	return h.url + "/#room=" + name, topic, c
}

// say sends a message's whole body.
func (c *guest) sayBody(topic, key string, body any) {
	c.t.Helper()
	c.ask("send", "topic", topic, "kind", "message", "key", key, "body", body)
}

func textHolds(t *testing.T, chromium context.Context, h *house) {
	url, topic, bob := aRoom(t, h, "bob-texts")
	bob.sayBody(topic, "links", map[string]any{"text": "看https://a.example/x_(y)。javascript:alert(1) \"http://b.example\"\nftp://c.example http://u:p@d.example"})
	bob.sayBody(topic, "code", map[string]any{"text": "run `ls  -l`:\n```sh\nif x; then\n    y\nfi\n```\n<b>end</b>"})
	bob.sayBody(topic, "emoji", map[string]any{"text": "👩‍👩‍👧‍👦🇨🇳👍🏽"})
	bob.sayBody(topic, "notemoji", map[string]any{"text": "👍 ok"})
	bob.sayBody(topic, "long", map[string]any{"text": strings.Repeat("y", 900)})
	p := visit(t, chromium, url, "alice-texts")
	for _, size := range [][2]int64{{1280, 800}, {390, 844}} {
		p.size(size[0], size[1])
		p.seesKey("long")
		got := eval[struct {
			Links, Rels, Targets []string
			Inline, Block, After string
			Emoji, Plain         bool
			Wide                 bool
		}](p, `(() => {
			const at = (key) => document.querySelector('[data-key="' + key + '"]')
			const links = [...at('links').querySelectorAll('a')]
			return {
				Links: links.map(a => a.getAttribute('href')), Rels: links.map(a => a.rel), Targets: links.map(a => a.target),
				Inline: at('code').querySelector('.bubble > code').textContent, Block: at('code').querySelector('pre > code').textContent,
				After: at('code').querySelector('.bubble').lastChild.textContent,
				Emoji: at('emoji').querySelector('.said').classList.contains('emoji'), Plain: !at('notemoji').querySelector('.said').classList.contains('emoji'),
				Wide: document.querySelector('#scroll').scrollWidth > document.querySelector('#scroll').clientWidth,
			}
		})()`)
		if want := "https://a.example/x_(y) http://b.example/"; strings.Join(got.Links, " ") != want {
			t.Errorf("links: %q; want %q", got.Links, want)
		}
		for i := range got.Links {
			if got.Rels[i] != "noopener noreferrer nofollow" || got.Targets[i] != "_blank" {
				t.Errorf("link %d: rel %q, target %q", i, got.Rels[i], got.Targets[i])
			}
		}
		if got.Inline != "ls  -l" || got.Block != "if x; then\n    y\nfi" || got.After != "<b>end</b>" {
			t.Errorf("code: %+v", got)
		}
		if !got.Emoji || !got.Plain || got.Wide {
			t.Errorf("%d wide: %+v", size[0], got)
		}
		p.shoot(fmt.Sprintf("texts-%d", size[0]))
	}
}

// oddBodies: whatever stands in a body, each message has its line and none breaks the page.
func oddBodies(t *testing.T, chromium context.Context, h *house) {
	url, topic, bob := aRoom(t, h, "bob-odd")
	const evil = `"><img src=x onerror="window.hit=1">`
	bodies := []any{
		7, "text", true, []int{1}, map[string]any{}, map[string]any{"text": 7}, map[string]any{"text": nil, "file": "x"},
		map[string]any{"text": "a", "reply": "x", "mentions": "x", "file": []int{1}},
		map[string]any{"text": evil, "reply": map[string]any{"seq": 1, "from": evil, "text": evil}, "mentions": []any{evil, 7, nil}},
		map[string]any{"text": evil, "file": map[string]any{"id": "../../api", "name": evil, "type": "image/svg+xml", "size": -1, "width": "x"}},
		map[string]any{"text": evil, "file": map[string]any{"id": "abcdefghijklmnopqrstuvwxyz", "name": "../" + evil, "type": "text/html", "size": 1e300}},
		map[string]any{"text": "p", "file": map[string]any{"id": "abcdefghijklmnopqrstuvwxyz", "name": json.RawMessage(`"\ud800"`), "type": "image/png", "width": 1e9, "height": 1, "thumb": "javascript:alert(1)"}},
		map[string]any{"text": "v", "file": map[string]any{"id": "abcdefghijklmnopqrstuvwxyz", "name": "v", "type": "audio/webm", "duration_ms": 1}},
		map[string]any{"recalled": true, "text": "still here"},
	}
	for i, body := range bodies {
		bob.sayBody(topic, fmt.Sprint("odd", i), body)
	}
	push := func(kind, key string, body any) {
		h.call("POST", "/api/v1/events", map[string]any{"topic": topic, "kind": kind, "key": key, "body": body})
	}
	push("voucher.issued", "voucher", map[string]any{"name": "一杯龙井", "code": "ABCDEFGHJKMNPQRSTUVWXYZ23456"})
	push("tea.ready", "kind", map[string]any{"text": "pushed " + evil})
	bob.post(topic, "last", "end")
	p := visit(t, chromium, url, "alice-odd")
	p.seesKey("last")
	got := eval[struct {
		Hit     *int
		Images  int
		Lines   int
		Voucher string
		Pushed  string
		Gone    string
		Hrefs   []string
	}](p, `new Promise(done => {
		const at = (key) => document.querySelector('[data-key="' + key + '"]')
		const hrefs = [...document.querySelectorAll('#messages a, #messages img, #messages audio')].map(n => n.getAttribute('href') || n.getAttribute('src'))
		const last = new Image()
		const texts = [...document.querySelectorAll('[data-message]')].map(n => n.dataset.key)
		if (!at('odd13') || !at('kind') || !at('voucher')) return done({Voucher: texts.join(), Hrefs: hrefs})
		last.onerror = () => done({Hit: window.hit, Images: document.querySelectorAll('#messages img[src=x]').length,
			Lines: document.querySelectorAll('[data-message]').length, Voucher: at('voucher').textContent, Pushed: at('kind').textContent,
			Gone: at('odd13').textContent, Hrefs: hrefs})
		last.src = '/no/such/image'
	})`, chromedp.EvalAwaitPromise)
	if got.Hit != nil || got.Images != 0 || got.Lines != len(bodies)+3 {
		t.Errorf("the page: %+v", got)
	}
	if !strings.Contains(got.Voucher, "一杯龙井") || strings.Contains(got.Voucher, "ABCDEFGH") {
		t.Errorf("a voucher is shown as %q", got.Voucher)
	}
	if !strings.Contains(got.Pushed, "pushed") || strings.Contains(got.Gone, "still here") {
		t.Errorf("%q, %q", got.Pushed, got.Gone)
	}
	for _, href := range got.Hrefs {
		if href != "" && !strings.HasPrefix(href, "/files/abcdefghijklmnopqrstuvwxyz/") {
			t.Errorf("the page leads to %q", href)
		}
	}
	p.shoot("odd")
}

func replyAndJump(t *testing.T, chromium context.Context, h *house) {
	url, topic, bob := aRoom(t, h, "bob-reply")
	bob.post(topic, "first", "谁要喝茶？")
	for i := range 120 {
		bob.post(topic, fmt.Sprint("fill", i), fmt.Sprint("line ", i))
	}
	bob.post(topic, "asked", "还有谁？")
	p := visit(t, chromium, url, "alice-reply")
	p.size(1280, 800)
	p.seesKey("asked")
	// By the keyboard alone: into the list, the newest message, its menu, the first entry.
	p.do("go to the list", chromedp.Focus(chromedp.CSS("#scroll")))
	p.key(kb.Enter)
	p.until("the newest message has the focus", `document.activeElement.dataset.key === 'asked'`)
	p.key(kb.Enter)
	p.until("the menu's first entry has the focus", `document.activeElement.getAttribute('role') === 'menuitem' && document.activeElement.closest('[role=menu]').id === 'menu'`)
	p.shoot("menu-1280")
	p.key(kb.Escape)
	p.until("the focus is back", `!document.querySelector('#menu') && document.activeElement.dataset.key === 'asked'`)
	p.key(kb.Enter)
	p.key(kb.Enter)
	p.until("it is being answered", `!document.querySelector('#replying').hidden && document.activeElement.id === 'composer' && document.querySelector('#replying-text').textContent === '还有谁？'`)
	p.shoot("replying-1280")
	p.write("我")
	p.until("the answer with its quote", `[...document.querySelectorAll('.msg.own[data-seq] .quote-text')].some(q => q.textContent === '还有谁？')`)
	log := h.history(topic)
	answer := log[len(log)-1]
	var body struct {
		Text  string
		Reply struct {
			Seq        int64
			From, Text string
		}
	}
	answer.bodyInto(t, &body)
	if body.Text != "我" || body.Reply.From != "bob-reply" || body.Reply.Text != "还有谁？" || body.Reply.Seq != log[len(log)-2].Seq {
		t.Errorf("the answer's body: %+v", body)
	}
	// A quote of something far back leads there.
	bob.sayBody(topic, "quotes", map[string]any{"text": "about that", "reply": map[string]any{"seq": h.seqOf(topic, "first"), "from": "bob-reply", "text": "谁要喝茶？"}})
	p.seesKey("quotes")
	p.click(`[data-key="quotes"] .quote`)
	p.until("the first message in view", `(() => {
		const n = document.querySelector('[data-key="first"]')
		if (!n) return false
		const a = n.getBoundingClientRect(), b = document.querySelector('#scroll').getBoundingClientRect()
		return a.bottom > b.top && a.top < b.bottom
	})()`)
}

func recallAndEdit(t *testing.T, chromium context.Context, h *house) {
	url, topic, _ := aRoom(t, h, "bob-recall")
	alice := visit(t, chromium, url, "alice-recall")
	other := visit(t, chromium, url, "carol-recall")
	alice.size(1280, 800)
	other.size(390, 844)
	alice.write("a secret 秘密")
	other.until("the message", `[...document.querySelectorAll('.bubble')].some(b => b.textContent === 'a secret 秘密')`)
	// It cannot be taken back by anybody else.
	other.press(".bubble")
	other.until("the menu", `!!document.querySelector('#menu')`)
	if entries := eval[string](other, `document.querySelector('#menu').textContent`); strings.Contains(entries, "Take back") {
		t.Errorf("another's message has the entries %q", entries)
	}
	other.shoot("menu-390")
	alice.until("it is sent", `!!document.querySelector('.msg.own[data-seq]')`)
	alice.menu(".msg.own", "Take back")
	const shown = `document.querySelectorAll('[data-message]').length === 1 && !!document.querySelector('.msg.gone') && !document.querySelector('#messages').textContent.includes('secret')`
	alice.until("it is gone", shown)
	other.until("it is gone for the other one, who had the menu open", shown)
	other.do("reload", chromedp.Reload())
	other.state("live")
	other.until("it is gone after a reload", shown)
	for _, e := range h.history(topic) {
		if strings.Contains(string(e.Body), "secret") {
			t.Errorf("the log still says %s", e.Body)
		}
	}
	alice.shoot("recalled-1280")
	alice.do("reload", chromedp.Reload())
	alice.state("live")
	alice.until("it can be edited again, also after a reload", `!!document.querySelector('.edit-again')`)
	alice.click(".edit-again")
	alice.until("the text is back where one writes", `document.querySelector('#composer').value === 'a secret 秘密'`)
}

func mentionSomebody(t *testing.T, chromium context.Context, h *house) {
	url, topic, _ := aRoom(t, h, "bob the builder")
	alice := visit(t, chromium, url, "alice-mention")
	bob := visit(t, chromium, url, "bobby")
	alice.size(1280, 800)
	alice.until("all are known", `document.querySelector('#online-count').textContent === '3'`)
	alice.do("type", chromedp.SendKeys(chromedp.CSS("#composer"), "hi @Bob"))
	alice.until("two names are offered", `[...document.querySelectorAll('#mentions li')].map(n => n.lastChild.textContent).join() === 'bob the builder,bobby'`)
	alice.shoot("mentions-1280")
	alice.key(kb.ArrowDown)
	alice.until("the second is chosen", `document.querySelector('#composer').getAttribute('aria-activedescendant') === document.querySelector('#mentions [aria-selected=true]').id && document.querySelector('#mentions [aria-selected=true]').textContent.endsWith('bobby')`)
	alice.key(kb.Enter)
	alice.until("it stands there", `document.querySelector('#composer').value === 'hi @bobby ' && document.querySelector('#mentions').hidden`)
	alice.key("now")
	alice.key(kb.Enter)
	bob.until("bob is called", `document.querySelector('.msg.calls .call.mine') && document.querySelector('.msg.calls .call.mine').textContent === '@bobby'`)
	var body struct{ Mentions []string }
	log := h.history(topic)
	log[len(log)-1].bodyInto(t, &body)
	same(t, "mentions", body.Mentions, "bobby")
	// On a phone, by touch.
	bob.size(390, 844)
	bob.do("type", chromedp.SendKeys(chromedp.CSS("#composer"), "@the b"))
	bob.until("nobody is called like that", `document.querySelector('#mentions').hidden`)
	eval[string](bob, `document.querySelector('#composer').value = ''`)
	bob.do("type anew", chromedp.SendKeys(chromedp.CSS("#composer"), "@build"))
	bob.until("one name is offered", `document.querySelectorAll('#mentions li').length === 1`)
	bob.shoot("mentions-390")
	bob.tap("#mentions li")
	bob.until("it stands there, and the keyboard stays", `document.querySelector('#composer').value === '@bob the builder ' && document.activeElement.id === 'composer'`)
}

// inputMethod types as Chinese input methods do: what Enter ends is the
// composing, not the message.
func inputMethod(t *testing.T, chromium context.Context, h *house) {
	url, topic, _ := aRoom(t, h, "bob-ime")
	p := visit(t, chromium, url, "alice-ime")
	p.size(1280, 800)
	p.do("focus", chromedp.Focus(chromedp.CSS("#composer")))
	compose := func(text string) {
		p.t.Helper()
		end := int64(len([]rune(text)))
		devtools(p, "compose", input.ImeSetComposition, input.ImeSetCompositionParams{Text: text, SelectionStart: end, SelectionEnd: end})
	}
	compose("cha")
	// The key goes to the input method: the page sees 229.
	enter := func(code int64) {
		p.t.Helper()
		for _, typ := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeRawKeyDown, input.DispatchKeyEventTypeKeyUp} {
			devtools(p, "Enter", input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: typ, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: code})
		}
	}
	enter(229)
	p.until("it is still being composed", `document.querySelector('#composer').value === 'cha'`)
	devtools(p, "choose", input.InsertText, input.InsertTextParams{Text: "茶"})
	// Safari: the composing ends, then comes the key that ended it.
	eval[int](p, `(() => {
		const box = document.querySelector('#composer')
		box.dispatchEvent(new CompositionEvent('compositionstart', {bubbles: true}))
		box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, cancelable: true, isComposing: true}))
		box.dispatchEvent(new CompositionEvent('compositionend', {bubbles: true, data: '茶'}))
		box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', keyCode: 229, bubbles: true, cancelable: true}))
		return 1
	})()`)
	p.until("nothing is sent", `document.querySelector('#composer').value === '茶' && !document.querySelector('[data-message]')`)
	p.key(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierShift))
	p.key("好")
	eventually(t, "the message that Enter sends", func() bool {
		p.key(kb.Enter)
		return len(p.messages()) > 0
	})
	p.sees("茶\n好")
	if log := h.history(topic); len(log) != 1 {
		t.Errorf("%d events", len(log))
	}
}

// copyText: what is copied is what was written.
func copyText(t *testing.T, chromium context.Context, h *house) {
	url, topic, bob := aRoom(t, h, "bob-copy")
	const said = "茶:\n```\n<b>  two  </b>\n```"
	bob.post(topic, "said", said)
	p := visit(t, chromium, url, "alice-copy")
	p.seesKey("said")
	eval[bool](p, `(navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve() }, true)`)
	p.menu(`[data-key="said"]`, "Copy")
	p.until("it was copied", `window.copied !== undefined`)
	if got := eval[string](p, `window.copied`); got != said {
		t.Errorf("copied %q", got)
	}
	p.until("it is said so", `document.querySelector('#toast').textContent !== ''`)
}

func drafts(t *testing.T, chromium context.Context, h *house) {
	url, topic, bob := aRoom(t, h, "bob-draft")
	bob.post(topic, "q", "a question")
	p := visit(t, chromium, url, "alice-draft")
	p.size(1280, 800)
	p.seesKey("q")
	p.menu(`[data-key="q"]`, "Reply")
	p.do("type", chromedp.SendKeys(chromedp.CSS("#composer"), "half a thought"))
	eval[int](p, `location.hash = '#room=elsewhere'; 1`)
	p.until("nothing is written there", `document.querySelector('#room-name').textContent === 'elsewhere' && document.querySelector('#composer').value === '' && document.querySelector('#replying').hidden`)
	p.do("type", chromedp.SendKeys(chromedp.CSS("#composer"), "another"))
	p.do("come back", chromedp.Navigate(url))
	p.do("reload", chromedp.Reload())
	p.state("live")
	p.until("the draft is back, with what it answers", `document.querySelector('#composer').value === 'half a thought' && document.querySelector('#replying-text').textContent === 'a question'`)
	p.click("#send")
	p.until("it is sent", `!!document.querySelector('.msg.own .quote') && document.querySelector('#replying').hidden`)
	p.do("reload", chromedp.Reload())
	p.state("live")
	p.seesKey("q")
	p.until("the draft is gone", `document.querySelector('#composer').value === ''`)
}

func tooLong(t *testing.T, chromium context.Context, h *house) {
	url, topic, _ := aRoom(t, h, "bob-long")
	p := visit(t, chromium, url, "alice-long")
	p.size(390, 844)
	fill := func(n int) {
		eval[int](p, fmt.Sprintf(`(() => { const box = document.querySelector('#composer'); box.value = '茶'.repeat(%d); box.dispatchEvent(new InputEvent('input', {bubbles: true})); return 1 })()`, n))
	}
	fill(100)
	p.until("no counter", `document.querySelector('#counter').hidden`)
	fill(5000)
	p.until("what is left", `document.querySelector('#counter').textContent === '`+fmt.Sprint(16384-15000-len(`{"text":""}`))+` bytes left'`)
	fill(5500)
	p.until("how much it is too long", `document.querySelector('#counter').textContent.startsWith('`+fmt.Sprint(16500+len(`{"text":""}`)-16384)+` bytes too long')`)
	p.shoot("toolong-390")
	p.click("#send")
	p.until("it was not sent, and is still there", `document.querySelector('#composer-error').textContent.includes('too long') && document.querySelector('#composer').value.length === 5500`)
	fill(5457)
	p.until("just fits", `document.querySelector('#counter').textContent === '2 bytes left'`)
	p.click("#send")
	eventually(t, "what just fits in the log", func() bool { return len(h.history(topic)) == 1 })
}

// outboxOverReload: what was written while nobody answered is sent when the page
// comes again, once.
func outboxOverReload(t *testing.T, chromium context.Context) {
	dir, addr := t.TempDir(), freePort(t)
	h := spawn(t, dir, "--addr="+addr)
	p := visit(t, chromium, h.url+"/", "alice")
	p.write("one")
	p.sees("one")
	h.kill()
	p.state("waiting")
	p.write("two")
	p.write("three")
	p.until("both wait", `document.querySelectorAll('[data-status=sending]').length === 2`)
	p.shoot("outbox-1280")
	p.do("close the page", chromedp.Navigate("about:blank"))
	h = spawn(t, dir, "--addr="+addr)
	p.do("open it again", chromedp.Navigate(h.url+"/"))
	p.sees("one", "two", "three")
	if log := h.history(lobby); len(log) != 3 {
		t.Errorf("%d events in the log", len(log))
	}
}

func phoneKeys(t *testing.T, chromium context.Context, h *house) {
	url, topic, bob := aRoom(t, h, "bob-phone")
	bob.post(topic, "q", "wer?")
	p := visit(t, chromium, url, "alice-phone")
	p.size(390, 844)
	p.do("reload", chromedp.Reload())
	p.state("live")
	p.seesKey("q")
	p.do("type", chromedp.SendKeys(chromedp.CSS("#composer"), "one"))
	p.key(kb.Enter)
	p.key("two")
	p.until("Enter breaks the line", `document.querySelector('#composer').value === 'one\ntwo' && document.querySelector('#composer').enterKeyHint === 'enter'`)
	p.tap("#send")
	p.until("the button sends", `[...document.querySelectorAll('.msg.own .bubble')].some(b => b.textContent === 'one\ntwo')`)
	// A long press opens the menu; the finger's end presses nothing.
	p.press(`[data-key="q"] .bubble`)
	p.until("the menu", `document.querySelectorAll('#menu [role=menuitem]').length >= 2`)
	p.tap("#menu [role=menuitem]")
	p.until("it is being answered", `!document.querySelector('#replying').hidden`)
	p.shoot("replying-390")
	p.tap("#replying-cancel")
	p.until("or not", `document.querySelector('#replying').hidden`)
}

// bodyInto reads what an event says.
func (f frame) bodyInto(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(f.Body, v); err != nil {
		t.Fatalf("%v: %s", err, f.Body)
	}
}

// seqOf is the place of the event with this key.
func (h *house) seqOf(topic, key string) int64 {
	h.t.Helper()
	for _, e := range h.history(topic) {
		if e.Key == key {
			return e.Seq
		}
	}
	h.t.Fatalf("there is no event %s in %s", key, topic)
	return 0
}
