package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// hostileTexts are what people might call themselves and write if they wanted
// a page to do something: one a line.
//
//go:embed testdata/xss.txt
var hostileTexts string

const hostileSVG = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="window.xss=1"><script>window.xss=1</script><image href="/xss-hit"/></svg>`

// TestBrowserHostile shows texts that want to be HTML in every place of every
// page where somebody else's text is shown: nothing is executed, nothing is
// asked of the network, and each is there as it was written.
func TestBrowserHostile(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	h := open(t, t.TempDir(), "--send-rate=0")
	texts := strings.Split(strings.TrimSpace(hostileTexts), "\n")
	t.Run("chat", func(t *testing.T) {
		t.Parallel()
		hostileChat(t, chromium, h, texts)
	})
	t.Run("vouchers", func(t *testing.T) {
		t.Parallel()
		hostileVouchers(t, chromium, h, texts)
	})
}

// name makes a name of a text, as long as one may be.
func asName(text string, most int) string {
	for len(text) > most {
		r := []rune(text)
		text = string(r[:len(r)-1])
	}
	return strings.TrimSpace(text)
}

func hostileChat(t *testing.T, chromium context.Context, h *house, texts []string) {
	svg := h.uploadWhole(`"><img src=x onerror=window.xss=1>.svg`, []byte(hostileSVG))
	disguised := h.uploadWhole("page.png", []byte("<html><script>window.xss=1</script>"))
	var drawing, markup map[string]any
	for a, file := range map[*answer]*map[string]any{&svg: &drawing, &disguised: &markup} {
		if err := json.Unmarshal(a.body, file); err != nil || (*file)["id"] == nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		delete(*file, "url")
	}
	p := watched(t, chromium, "alice", 1280, 800)
	p.comeIn(h.url + "/#room=hostile")
	const topic = "room:hostile"
	var names []string
	for i, text := range texts {
		name := asName(fmt.Sprint(i%10, text), 60)
		names = append(names, name)
		c, _ := enter(t, h.ws(), name)
		c.join(topic)
		c.post(topic, fmt.Sprint("text-", i), text)
		body := map[string]any{
			"text": "```" + text + "```\n`" + text + "` @" + name + " " + text, "mentions": []string{"alice", text},
			"reply": map[string]any{"seq": 1, "from": text, "text": text},
		}
		c.sayBody(topic, fmt.Sprint("body-", i), body)
		file := map[string]any{"id": drawing["id"], "type": "image/svg+xml", "size": 10, "name": text, "width": 40, "height": 40, "thumb": markup["id"]}
		switch i % 4 {
		case 1: // it lies about what it is
			file["type"], file["id"] = "image/png", markup["id"]
		case 2:
			file["id"], file["thumb"] = text, text
		case 3:
			file["type"] = text
		}
		c.sayBody(topic, fmt.Sprint("file-", i), map[string]any{"text": text, "file": file})
		c.ask("send", "topic", topic, "key", fmt.Sprint("kind-", i), "kind", "odd.kind", "body", map[string]any{text: text})
		c.say("signal", "topic", topic, "body", map[string]any{"typing": true})
		// Rooms and talks with such names, in the list.
		c.post("room:"+asName(text, 100), "1", text)
		if talk := asName(fmt.Sprint("t", i, text), 30); i < 12 {
			who, _ := enter(t, h.ws(), talk)
			who.ask("send", "topic", talkOf("alice", talk), "key", "1", "kind", "message", "body", map[string]string{"text": text})
			who.hangUp()
		}
	}
	last := len(texts) - 1
	p.seesKey(fmt.Sprint("kind-", last))
	p.unharmed("the room")
	// All of the history passes by, each text as it was written.
	shown := make(map[string]string)
	for range 60 {
		for _, m := range p.messages() {
			shown[m.Key] = m.Text
		}
		if eval[bool](p, `(s => { s.scrollTop -= s.clientHeight * 0.8; return s.scrollTop <= 0 })(document.querySelector('#scroll'))`) {
			break
		}
		eval[bool](p, `new Promise(done => setTimeout(() => done(true), 60))`, chromedp.EvalAwaitPromise)
		p.unharmed("the history")
	}
	p.until("the first text", `document.querySelector('[data-key="text-0"]')`)
	p.unharmed("the beginning")
	for _, m := range p.messages() {
		shown[m.Key] = m.Text
	}
	for i, text := range texts {
		if got := shown[fmt.Sprint("text-", i)]; got != text {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	people := eval[string](p, `document.querySelector('#people-list').textContent`)
	for _, name := range names {
		if !strings.Contains(people, name) {
			t.Errorf("%q is not among the people", name)
		}
	}
	// A person's card, the search, the share panel, the rooms.
	eval[bool](p, `(document.querySelector('#people-list [data-user], #people-list button, #people-list li').click(), true)`)
	p.unharmed("a person")
	p.key("\x1b")
	p.click("#search-button")
	p.do("search", chromedp.SendKeys(chromedp.CSS("#search-text"), "xss\r"))
	p.until("hits", `document.querySelectorAll('#hits li').length > 5`)
	p.unharmed("the hits")
	p.key("\x1b")
	for _, text := range texts[:6] {
		room := asName(text, 100)
		eval[bool](p, `(location.hash = '#room=' + encodeURIComponent(`+jsText(room)+`), true)`)
		p.until("the room "+room, `document.querySelector('#room-name').textContent === `+jsText(room))
		p.write(text)
		eval[bool](p, `(document.querySelector('#share-button').click(), true)`)
		p.until("the link", `document.querySelector('#share-link').value.includes('room=')`)
		p.unharmed("the room " + room)
		p.key("\x1b")
	}
	eval[bool](p, `(location.hash = '#room=' + encodeURIComponent('a'), true)`)
	p.until("talks in the list", `document.querySelectorAll('#rooms [data-topic^="dm:"]').length >= 12`)
	p.unharmed("the list")
	// Who calls himself so.
	for _, text := range []string{texts[0], texts[2], texts[5]} {
		q := watched(t, chromium, asName("me"+text, 60), phoneWidth, phoneHeight)
		q.comeIn(h.url + "/#room=hostile")
		q.seesKey(fmt.Sprint("kind-", last))
		q.write("me " + text)
		eval[bool](q, `(location.hash = '#rooms', true)`)
		q.click("#settings-button")
		q.until("the own name", `document.querySelector('#me').textContent === `+jsText(q.who))
		q.unharmed("a hostile name")
	}
	// Addresses that say such things.
	for _, text := range texts {
		p.do("open an address", chromedp.Navigate(h.url+"/?x="+fmt.Sprint(len(text))+"#room="+escaped(text)+"&talk="))
		p.unharmed("the address " + text)
	}
}

func hostileVouchers(t *testing.T, chromium context.Context, h *house, texts []string) {
	var codes []string
	for _, text := range texts {
		v := h.issue(map[string]any{"name": asName(text, 90), "owner": "victor", "ref": asName(text, 90), "note": text})[0]
		codes = append(codes, v.Code)
	}
	h.staff(asName(texts[2], 60), asName(texts[0], 60))
	p := watched(t, chromium, "victor", phoneWidth, phoneHeight)
	p.do("open the page", chromedp.Navigate(h.url+"/vouchers"))
	p.enters("victor")
	for _, code := range codes {
		p.comes("the voucher", `document.querySelector('[data-code="`+code+`"]')`, `document.body.innerText`)
	}
	p.unharmed("the list")
	desk := watched(t, chromium, "desk", phoneWidth, phoneHeight)
	desk.do("open the page", chromedp.Navigate(h.url+"/staff"))
	desk.waits("#name")
	desk.signIn(asName(texts[2], 60), staffPIN)
	desk.waits("#code")
	for i, code := range codes[:5] {
		p.opens(code)
		p.unharmed("a card")
		desk.types(code)
		desk.verdict("good", "redeemed")
		desk.unharmed("redeemed")
		p.card("redeemed")
		p.unharmed("a redeemed card")
		p.back()
		desk.closes()
		if i == 0 {
			h.change(codes[6], "void", map[string]any{"by": asName(texts[3], 60), "reason": texts[3], "key": "k"})
			desk.types(codes[6])
			desk.verdict("bad", "refused")
			desk.unharmed("refused")
			desk.closes()
		}
	}
	p.unharmed("the list at the end")
	desk.unharmed("the last scans")
}

// watched is a page that notes what a hostile text could have made it do.
func watched(t *testing.T, chromium context.Context, who string, width, height int64) tab {
	t.Helper()
	p := blankTab(t, chromium, who, width, height)
	devtools(p, "watch", page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `
			window.refused = []
			document.addEventListener('securitypolicyviolation', (e) => refused.push(e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sample), true)
			for (const name of ['alert', 'confirm', 'prompt', 'open']) window[name] = () => { window.xss = name }
			performance.setResourceTimingBufferSize(5000)`})
	return p
}

// unharmed says what became true that must not. A picture may be asked for by
// its id, whatever its name.
func (p tab) unharmed(where string) {
	p.t.Helper()
	got := eval[struct {
		XSS     any
		Refused []string
		Asked   []string
		Tags    []string
		Handled []string
	}](p, `({
		XSS: window.xss === undefined ? null : window.xss,
		Refused: window.refused || ['nobody watches'],
		Asked: performance.getEntriesByType('resource').map(e => e.name).filter(u => (/xss/.test(u) && !/\/files\/[a-z2-7]{26}\/[^/]*$/.test(u)) || (new URL(u).host !== location.host && !/^(data|blob):/.test(u))),
		Tags: [...document.querySelectorAll('iframe, object, embed, base, math, style, body script, [srcdoc], link[href*=xss], a[href^="javascript:" i], a[href^="data:" i]')].map(n => n.outerHTML.slice(0, 200)).filter(s => !/^<script type="module" src=/.test(s)),
		Handled: [...document.querySelectorAll('*')].flatMap(n => [...n.attributes].filter(a => /^on/i.test(a.name)).map(a => n.tagName + ' ' + a.name)),
	})`)
	if got.XSS != nil || len(got.Refused)+len(got.Asked)+len(got.Tags)+len(got.Handled) > 0 {
		p.t.Errorf("%s, in the page of %q: %+v", where, p.who, got)
	}
}

// talkOf names the topic of two.
func talkOf(a, b string) string {
	names := []string{a, b}
	slices.Sort(names)
	escape := strings.NewReplacer("%", "%25", ":", "%3A")
	return "dm:" + escape.Replace(names[0]) + ":" + escape.Replace(names[1])
}

func escaped(s string) string {
	return strings.NewReplacer("%", "%25", "#", "%23", "&", "%26", "+", "%2B", " ", "%20", `"`, "%22", "<", "%3C", ">", "%3E").Replace(s)
}
