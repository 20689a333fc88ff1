package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestBrowserRooms is the shell of the chat page in a real browser: rooms and
// people, what was read, the list of messages, the address.
func TestBrowserRooms(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"a phone":        phoneWalk,
		"a desktop":      deskWalk,
		"two devices":    twoDevices,
		"a code":         roomWithCode,
		"a taken name":   takenName,
		"a link asks":    linkAsks,
		"a long history": longHistory,
		"notifications":  notifications,
		"another log":    anotherLog,
	} {
		t.Run(name, func(t *testing.T) { test(t, chromium) })
	}
}

// fill writes into a field, instead of what stands there.
func (p tab) fill(selector, text string) {
	p.t.Helper()
	p.do("look for "+selector, chromedp.WaitVisible(chromedp.CSS(selector)))
	eval[bool](p, fmt.Sprintf(`document.querySelector(%q).value = '', true`, selector))
	p.do("fill "+selector, chromedp.SendKeys(chromedp.CSS(selector), text))
}

// text is what an element shows.
func (p tab) text(selector string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf(`(document.querySelector(%q) || {textContent: ''}).textContent`, selector))
}

// row is a line of the list of rooms.
func (p tab) row(topic string) string { return fmt.Sprintf(`#rooms [data-topic="%s"]`, topic) }

// unread waits until the list of rooms shows so many unread messages; "" is none.
func (p tab) unread(topic, want string) {
	p.t.Helper()
	p.until(topic+" with "+want+" unread", fmt.Sprintf(`(n => n && (n.querySelector('.unread') || {textContent: ''}).textContent === %q)(document.querySelector('%s'))`, want, p.row(topic)))
}

// lines waits until the messages in the page end with these texts.
func (p tab) ends(want ...string) {
	p.t.Helper()
	var got []string
	eventually(p.t, fmt.Sprintf("%s to see %q at the end", p.who, want), func() bool {
		got = nil
		for _, m := range p.messages() {
			got = append(got, m.Text)
		}
		return len(got) >= len(want) && slices.Equal(got[len(got)-len(want):], want)
	})
}

// phoneWalk: on a phone the list of rooms and the open room are screens, and
// the phone's own back leads from one to the other.
func phoneWalk(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	bob, _ := enter(t, h.ws(), "bob")
	bob.join(lobby)
	bob.join("room:厨房")
	bob.post("room:厨房", "k1", "饺子好了")
	bob.post(lobby, "l1", "welcome")

	// Who is new comes into the lobby, or where the link leads.
	alice := visitAt(t, chromium, h.url+"/", "alice", phoneWidth, phoneHeight)
	alice.ends("welcome")
	if eval[bool](alice, `!!document.querySelector('#side').offsetParent`) {
		t.Error("the list of rooms is beside the room on a phone")
	}
	alice.do("go back", chromedp.NavigateBack())
	alice.until("the list of rooms", `document.querySelector('#side').offsetParent && !document.querySelector('#talk').offsetParent`)

	// Another room by its name; what is typed there is of that room.
	alice.click("#new-room")
	alice.do("go in without a name", chromedp.Click(chromedp.CSS("#new-form button[type=submit]")))
	alice.until("a complaint", `document.querySelector('#new-error').textContent && document.querySelector('#new-name').getAttribute('aria-invalid')`)
	alice.fill("#new-name", "厨房")
	alice.do("go in", chromedp.Click(chromedp.CSS("#new-form button[type=submit]")))
	alice.ends("饺子好了")
	alice.write("马上来")
	alice.ends("饺子好了", "马上来")
	bob.post("room:厨房", "k2", "<b>快</b>")
	alice.ends("马上来", "<b>快</b>")

	alice.click("#back")
	alice.until("the newest line", fmt.Sprintf(`(document.querySelector('%s .row-line') || {}).textContent === 'bob: <b>快</b>'`, alice.row("room:厨房")))
	// What comes now is counted, in the list and in the title.
	bob.post("room:厨房", "k3", "凉了")
	bob.post("room:厨房", "k4", "alice?")
	bob.ask("send", "topic", "room:厨房", "key", "k5", "body", map[string]any{"text": "@alice !", "mentions": []string{"alice"}})
	alice.unread("room:厨房", "3")
	alice.until("the mention", fmt.Sprintf(`document.querySelector('%s[data-mention] .mention')`, alice.row("room:厨房")))
	alice.until("the title", `document.title.startsWith('(3) ')`)
	alice.click(alice.row("room:厨房"))
	alice.ends("凉了", "alice?", "@alice !")
	alice.until("the line above the new ones", `(n => n && n.closest('[data-message]').querySelector('.bubble').textContent === '凉了')(document.querySelector('.fresh'))`)
	alice.do("go back", chromedp.NavigateBack())
	alice.unread("room:厨房", "")
	alice.until("the title without a number", `!/\d/.test(document.title)`)

	// A link from outside lies above the list as well.
	alice.do("reload", chromedp.Navigate(h.url+"/#room=lobby"), chromedp.Reload())
	alice.state("live")
	alice.ends("welcome")
	alice.click("#back")
	alice.until("the list of rooms", `document.querySelector('#side').offsetParent && location.hash === '#rooms'`)

	// With text of twice the size nothing sticks out at the side.
	for _, screen := range []string{"", alice.row(lobby), "#online", "#share-button", "#search-button"} {
		eval[bool](alice, `document.documentElement.style.fontSize = '200%', true`)
		if screen != "" {
			alice.do("open "+screen, chromedp.Click(chromedp.CSS(screen)))
		}
		if wide := eval[string](alice, `[...document.querySelectorAll('#house *')].filter(n => n.offsetParent && n.getBoundingClientRect().right > innerWidth + 1 && !n.closest('.sr'))
			.map(n => n.tagName + '#' + n.id + '.' + n.className).join(' ')`); wide != "" {
			t.Errorf("text of twice the size on %q: %s", screen, wide)
		}
		if screen == "#online" || screen == "#share-button" {
			alice.do("escape", chromedp.KeyEvent(kb.Escape))
		}
	}
	eval[bool](alice, `document.documentElement.style.fontSize = '', true`)
	alice.do("escape", chromedp.KeyEvent(kb.Escape))
	alice.click("#back")

	// To leave is for all devices.
	alice.click(alice.row("room:厨房"))
	alice.click("#share-button")
	alice.until("the QR code of the link", `document.querySelector('#qr svg[role=img]') && document.querySelector('#share-link').value === location.origin + '/#room=' + encodeURIComponent('厨房')`)
	alice.click("#leave-room")
	alice.until("the list without the room", fmt.Sprintf(`document.querySelector('#side').offsetParent && !document.querySelector('%s')`, alice.row("room:厨房")))
	alice.do("reload", chromedp.Reload())
	alice.state("live")
	alice.until("the lobby", fmt.Sprintf(`(document.querySelector('%s .row-line') || {}).textContent`, alice.row(lobby)))
	if eval[bool](alice, fmt.Sprintf(`!!document.querySelector('%s')`, alice.row("room:厨房"))) {
		t.Error("the room that was left is back")
	}
}

// deskWalk: rooms at the left, people at the right; a talk with one of them;
// the keyboard.
func deskWalk(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	alice := visit(t, chromium, h.url+"/", "alice")
	alice.until("what stands in an empty room", `document.querySelector('#empty').offsetParent`)
	bob := visit(t, chromium, h.url+"/", "bob")
	if !eval[bool](alice, `['#side', '#talk', '#people'].map(s => document.querySelector(s).getBoundingClientRect())
		.every((box, i, all) => box.width > 100 && (!i || box.left >= all[i - 1].right))`) {
		t.Error("rooms, talk and people do not stand side by side")
	}
	alice.until("bob among the people", `document.querySelector('#people-list [data-name=bob]') && document.querySelector('#room-sub').textContent === '2 people here'`)
	// A second device of bob changes nothing, and bob is here until the last one went.
	second, _ := enter(t, h.ws(), "carl")
	second.join(lobby)
	alice.until("carl", `document.querySelector('#online-count').textContent === '3'`)
	again, _ := enter(t, h.ws(), "carl")
	again.join(lobby)
	second.hangUp()
	again.say("signal", "topic", lobby, "body", map[string]bool{"typing": true})
	alice.until("carl typing", `document.querySelector('#typing').textContent === 'carl is typing…'`)
	if got := alice.text("#online-count"); got != "3" {
		t.Errorf("%s people with a second device of one", got)
	}
	again.hangUp()
	alice.until("carl gone", `document.querySelector('#online-count').textContent === '2' && !document.querySelector('#typing').textContent`)

	// A talk: from the list of people, and the other one is told in the list of rooms.
	alice.click("#people-list [data-name=bob]")
	alice.click("#person-talk")
	alice.until("the talk", `document.querySelector('#room-name').textContent === 'bob' && location.hash === '#talk=bob'`)
	alice.until("bob online", `document.querySelector('#room-sub').textContent === 'online'`)
	alice.write("just you")
	bob.unread("dm:alice:bob", "1")
	bob.click(bob.row("dm:alice:bob"))
	bob.ends("just you")
	bob.write("and you")
	alice.ends("just you", "and you")

	// Arrows in the list of rooms, Escape for what is open.
	eval[bool](alice, `document.querySelector('#rooms a').focus(), true`)
	alice.do("down", chromedp.KeyEvent(kb.ArrowDown))
	alice.until("the second row", `document.activeElement === document.querySelectorAll('#rooms a')[1]`)
	alice.do("enter", chromedp.KeyEvent(kb.Enter))
	alice.until("the lobby", `document.querySelector('#room-name').textContent === 'Lobby'`)
	alice.click("#settings-button")
	alice.until("the settings", `document.querySelector('#settings').contains(document.activeElement)`)
	for range 12 {
		alice.do("tab", chromedp.KeyEvent(kb.Tab))
	}
	if !eval[bool](alice, `document.querySelector('#settings').contains(document.activeElement)`) {
		t.Error("the focus leaves an open panel")
	}
	alice.do("escape", chromedp.KeyEvent(kb.Escape))
	alice.until("no settings", `document.querySelector('#settings').hidden && document.activeElement.id === 'settings-button'`)

	// Both languages and both looks, without a reload and after one.
	alice.click("#settings-button")
	eval[bool](alice, `[['#set-lang', 'zh'], ['#set-theme', 'dark']].map(([s, value]) => {
		document.querySelector(s).value = value
		document.querySelector(s).dispatchEvent(new Event('change'))
	}), true`)
	alice.until("Chinese", `document.documentElement.lang === 'zh-CN' && document.querySelector('#room-name').textContent === '大堂' && document.title === '大堂 · 茶馆'`)
	alice.do("reload", chromedp.Reload())
	alice.state("live")
	alice.until("dark Chinese", `document.querySelector('#room-name').textContent === '大堂' && getComputedStyle(document.body).backgroundColor === 'rgb(27, 26, 23)'`)
	if hosts := eval[[]string](alice, `[...new Set(performance.getEntriesByType('resource').map(e => new URL(e.name).host))]`); len(hosts) != 1 || hosts[0] != h.host() {
		t.Errorf("the page asked %q", hosts)
	}
}

// twoDevices: what is read on one is read on the other, and a muted room is
// muted on both; the counts are the server's after a reload too.
func twoDevices(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	bob, _ := enter(t, h.ws(), "bob")
	bob.join("room:a")
	bob.post("room:a", "0", "first")
	// The desktop is hers by the link that her phone shows.
	phone := visitAt(t, chromium, h.url+"/#room=a", "alice", phoneWidth, phoneHeight)
	phone.ends("first")
	phone.do("go to the list", chromedp.Navigate(h.url+"/#rooms"))
	phone.click("#settings-button")
	phone.click("#other-device")
	phone.until("the code", `document.querySelector('#device-qr svg')`)
	phone.shoot("other-device")
	link := eval[string](phone, `document.querySelector('#device-link').value`)
	phone.key(kb.Escape)
	phone.do("back to the room", chromedp.Navigate(h.url+"/#room=a"))
	desk := blankTab(t, chromium, "alice", 1280, 800)
	desk.do("open the link", chromedp.Navigate(link))
	desk.state("live")
	if at := eval[string](desk, `location.href`); strings.Contains(at, "secret") || strings.Contains(at, "name=") {
		t.Errorf("the secret stays in the address: %s", at)
	}
	desk.until("the other device's room", fmt.Sprintf(`document.querySelector('%s')`, desk.row("room:a")))

	phone.click("#back")
	for i := range 3 {
		bob.post("room:a", fmt.Sprint("n", i), fmt.Sprint("news ", i))
	}
	phone.unread("room:a", "3")
	desk.unread("room:a", "3")
	desk.click(desk.row("room:a"))
	desk.ends("news 2")
	phone.unread("room:a", "")
	phone.click(phone.row("room:a"))
	phone.click("#share-button")
	phone.click("label.switch")
	phone.until("muted", `!document.querySelector('#room-notify').checked`)
	desk.until("muted there too", fmt.Sprintf(`document.querySelector('%s[data-muted]')`, desk.row("room:a")))
	desk.click(desk.row(lobby))
	phone.do("go away", chromedp.Navigate("about:blank"))
	bob.post("room:a", "m", "quiet")
	desk.unread("room:a", "1")
	if title := eval[string](desk, `document.title`); strings.Contains(title, "1") {
		t.Errorf("a muted room counts in the title: %s", title)
	}
	desk.do("reload", chromedp.Reload())
	desk.state("live")
	desk.unread("room:a", "1")
}

// roomWithCode: a room that is made with a code asks others for it.
func roomWithCode(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	alice := visit(t, chromium, h.url+"/", "alice")
	alice.click("#new-room")
	alice.fill("#new-name", "cellar")
	alice.fill("#new-code", "123")
	alice.do("go in", chromedp.Click(chromedp.CSS("#new-form button[type=submit]")))
	alice.until("a complaint", `document.querySelector('#new-error').textContent`)
	alice.fill("#new-code", "oolong")
	alice.do("go in", chromedp.Click(chromedp.CSS("#new-form button[type=submit]")))
	alice.until("the code is set", `document.querySelector('#toast').textContent === 'The room has its code now.'`)
	if name := alice.text("#room-name"); name != "cellar" {
		t.Fatalf("alice made the room %q", name)
	}
	alice.write("secret tea")

	bob := visitAt(t, chromium, h.url+"/#room=cellar", "bob", phoneWidth, phoneHeight)
	bob.until("the gate", `document.querySelector('#gate').offsetParent && !document.querySelector('#foot').offsetParent`)
	bob.fill("#gate-code", "wrong")
	bob.do("try", chromedp.Click(chromedp.CSS("#gate button[type=submit]")))
	bob.until("it is wrong", `document.querySelector('#gate-error').textContent === 'That code is not right. Please ask again.'`)
	bob.fill("#gate-code", "oolong")
	bob.do("try", chromedp.Click(chromedp.CSS("#gate button[type=submit]")))
	bob.ends("secret tea")
	// It is known on this device from now on.
	bob.do("reload", chromedp.Reload())
	bob.ends("secret tea")
	if !eval[bool](bob, `earlySocket === null`) {
		t.Error("the socket that was opened early was not taken")
	}
}

// takenName: a name is whose browser came with it first; the other one is told
// so at the door and comes in with another.
func takenName(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir())
	visit(t, chromium, h.url+"/", "alice")
	other := blankTab(t, chromium, "alice", phoneWidth, phoneHeight)
	name := chromedp.CSS("#name")
	other.do("come in", chromedp.Navigate(h.url+"/"), chromedp.WaitVisible(name), chromedp.SendKeys(name, "alice"), chromedp.Click(chromedp.CSS("#enter")))
	other.until("the reason", `document.querySelector('#door').offsetParent && /^Somebody else has the name alice/.test(document.querySelector('#door-error').textContent)`)
	other.fill("#name", "alice 2")
	other.click("#enter")
	other.state("live")
}

// linkAsks: a link to another name is not followed before one says so, and the
// name that one had may be kept.
func linkAsks(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir())
	alice := visit(t, chromium, h.url+"/", "alice")
	alice.click("#settings-button")
	alice.click("#other-device")
	alice.until("the link", `document.querySelector('#device-link').value`)
	link := eval[string](alice, `document.querySelector('#device-link').value`)
	bob := visitAt(t, chromium, h.url+"/", "bob", phoneWidth, phoneHeight)
	had := eval[string](bob, `localStorage.getItem('teahouse.secret')`)
	name := chromedp.CSS("#name")
	bob.do("open the link", chromedp.Navigate(link), chromedp.WaitVisible(name))
	bob.until("the question", `/alice/.test(document.querySelector('#door-hint').textContent) && /bob/.test(document.querySelector('#door-hint').textContent)`)
	bob.shoot("link-asks")
	bob.fill("#name", "bob")
	bob.click("#enter")
	bob.state("live")
	if now := eval[string](bob, `localStorage.getItem('teahouse.secret')`); now != had {
		t.Error("he kept his name and lost its secret")
	}
	bob.do("open the link", chromedp.Navigate(link), chromedp.WaitVisible(name), chromedp.Click(chromedp.CSS("#enter")))
	bob.state("live")
	bob.until("the other name", `localStorage.getItem('teahouse.name') === 'alice' && localStorage.getItem('teahouse.secret') === `+jsText(link[strings.LastIndex(link, "=")+1:]))
}

// longHistory: of a long history only what is near is in the page, and what is
// read stays where it is while older pages come; search leads far back.
func longHistory(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	const many = 500
	fillRoom(t, h, lobby, many)
	// Older pages come late, so that the reader is at the oldest one before.
	far := slowLink{400 * time.Millisecond, 1e6}.listen(t, h.host())
	alice := visitAt(t, chromium, "http://"+far+"/", "alice", phoneWidth, phoneHeight)
	alice.ends(longLine(many - 1))

	// Who moves a finger slowly is not taken back to the end at each of its steps.
	const way = `(s => s.scrollHeight - s.scrollTop - s.clientHeight)(document.querySelector('#scroll'))`
	for _, step := range []float64{4, 0.7} {
		alice.drag("#scroll", 100, 300, step)
		if gap := eval[float64](alice, way); gap < 150 {
			t.Errorf("a finger that moved up by 200 px, %v in each frame, is %v px from the end", step, gap)
		}
		eval[bool](alice, `(document.querySelector('#newer').click(), true)`)
	}
	walk := eval[struct {
		Jump    float64 // px by which a message moved that should have stayed
		Most    int     // messages in the DOM at once
		Steps   int
		Missing string
	}](alice, `new Promise(async done => {
		const scroller = document.querySelector('#scroll')
		const frame = () => new Promise(requestAnimationFrame)
		const find = text => [...document.querySelectorAll('[data-message]')].find(n => n.querySelector('.bubble').textContent === text)
		const out = {Jump: 0, Most: 0, Steps: 0, Missing: ''}
		const seen = new Set()
		for (; out.Steps < 1500 && !seen.has('0'); out.Steps++) {
			const nodes = [...document.querySelectorAll('[data-message]')]
			for (const n of nodes) seen.add(n.querySelector('.bubble').textContent.split(' ')[1])
			out.Most = Math.max(out.Most, nodes.length)
			const edge = scroller.getBoundingClientRect().top
			const held = nodes.find(n => n.getBoundingClientRect().bottom > edge + 1)
			const seq = held.dataset.seq
			scroller.scrollTop -= 500
			const text = (n) => n.querySelector('.said').getBoundingClientRect().top
			const at = text(held)
			await frame()
			await frame()
			const now = document.querySelector('[data-seq="' + seq + '"]')
			out.Jump = Math.max(out.Jump, now ? Math.abs(text(now) - at) : 9999)
		}
		for (let i = 0; i < `+fmt.Sprint(many)+`; i++) if (!seen.has(String(i))) out.Missing += i + ' '
		done(out)
	})`, chromedp.EvalAwaitPromise)
	if walk.Jump > 1.5 || walk.Most > 80 || walk.Missing != "" {
		t.Errorf("scrolling up: %+v", walk)
	}

	// From the beginning back to the end by the button, and far back again by a search.
	alice.click("#newer")
	alice.ends(longLine(many - 1))
	alice.click("#search-button")
	alice.fill("#search-text", "LINE 37 TEA")
	alice.until("the hit", `document.querySelectorAll('#hits button').length === 1 && document.querySelector('#hits mark').textContent === 'line 37 tea'`)
	alice.click("#hits button")
	alice.until("the message", `(n => n && n.querySelector('.bubble').textContent.startsWith('line 37 ') && (box => box.top > 0 && box.bottom < innerHeight)(n.getBoundingClientRect()))(document.querySelector('.flash'))`)
	alice.fill("#search-text", "no such thing")
	alice.until("that nothing was found", `document.querySelector('#search-state').textContent === 'Nothing found.'`)
	alice.do("escape", chromedp.KeyEvent(kb.Escape))
	alice.until("no search", `document.querySelector('#search').hidden`)

	// What is said meanwhile waits below, without moving what is read.
	bob, _ := enter(t, h.ws(), "bob")
	bob.join(lobby)
	before := eval[float64](alice, `document.querySelector('.flash').getBoundingClientRect().top`)
	bob.post(lobby, "b1", "meanwhile")
	alice.until("one new message", `document.querySelector('#newer').textContent === '1 new message'`)
	if after := eval[float64](alice, `document.querySelector('.flash').getBoundingClientRect().top`); after-before > 1.5 || before-after > 1.5 {
		t.Errorf("what is read moved from %v to %v", before, after)
	}
	alice.click("#newer")
	alice.ends("meanwhile")
	alice.until("it is read", `document.querySelector('#newer').hidden`)

	// A fresh page that looks far back fetches what is between.
	alice.do("reload", chromedp.Reload())
	alice.ends("meanwhile")
	alice.click("#search-button")
	alice.fill("#search-text", "line 5 tea")
	alice.click("#hits button")
	alice.until("the message", `(document.querySelector('.flash .bubble') || {textContent: ''}).textContent.startsWith('line 5 ')`)
}

// longLine is one of a history whose lines have many heights.
func longLine(i int) string { return fmt.Sprintf("line %d %stea", i, strings.Repeat("tea ", i*7%40)) }

// fillRoom has many lines said in a room.
func fillRoom(t *testing.T, h *house, topic string, many int) {
	t.Helper()
	guest, _ := enter(t, h.ws(), "guest")
	guest.join(topic)
	for i := range many - 1 {
		guest.say("send", "topic", topic, "key", fmt.Sprint("line-", i), "body", map[string]string{"text": longLine(i)})
	}
	guest.post(topic, "last", longLine(many-1))
}

// notifications: for who looks away; not of a muted room, but of a mention
// there. The browser's own window for them is replaced by a list.
func notifications(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	alice := visit(t, chromium, h.url+"/#room=a", "alice")
	alice.click("#settings-button")
	eval[bool](alice, `document.hasFocus = () => false, window.notes = [], window.Notification = class {
		static requestPermission() { Notification.permission = 'granted'; return Promise.resolve('granted') }
		constructor(title, {body, tag}) { notes.push(this); this.line = [title, body, tag].join('|') }
		close() {}
	}, Notification.permission = 'default', true`)
	alice.click("#settings label.switch")
	alice.until("that they are on", `document.querySelector('#set-notify').checked && document.querySelector('#notify-hint').textContent.startsWith('You are told')`)
	alice.do("escape", chromedp.KeyEvent(kb.Escape))
	alice.click(alice.row(lobby))
	alice.until("the lobby", `location.hash === '#room=lobby'`)
	bob, _ := enter(t, h.ws(), "bob")
	bob.join("room:a")
	bob.post("room:a", "1", "tea?")
	alice.until("the first", `notes.length === 1 && notes[0].line === 'a|bob: tea?|room:a'`)
	eval[bool](alice, `notes[0].onclick(), true`)
	alice.until("its room", `location.hash === '#room=a'`)
	alice.click("#share-button")
	alice.click("#share label.switch")
	alice.do("escape", chromedp.KeyEvent(kb.Escape))
	alice.until("muted", fmt.Sprintf(`document.querySelector('%s[data-muted]')`, alice.row("room:a")))
	bob.post("room:a", "2", "still there?")
	alice.ends("tea?", "still there?")
	bob.ask("send", "topic", "room:a", "key", "3", "body", map[string]any{"text": "@alice tea!", "mentions": []string{"alice"}})
	alice.until("the mention alone", `notes.length === 2 && notes[1].line === 'bob mentioned you in a|bob: @alice tea!|room:a'`)
	alice.write("coming")
	alice.ends("@alice tea!", "coming")
	if n := eval[int](alice, `notes.length`); n != 2 {
		t.Errorf("%d notifications after a message of one's own", n)
	}
	eval[bool](alice, `Notification.permission = 'denied', true`)
	alice.click("#settings-button")
	alice.until("that the browser forbids them", `!document.querySelector('#set-notify').checked && document.querySelector('#notify-hint').textContent.startsWith('The browser forbids')`)
}

// anotherLog: the server comes back with another database; the page shows what
// is in that one, says why, and forgets what it had. Meanwhile it says how it
// stands, and one can ask it to try at once.
func anotherLog(t *testing.T, chromium context.Context) {
	addr := freePort(t)
	h := spawn(t, t.TempDir(), "--addr="+addr)
	alice := visit(t, chromium, h.url+"/", "alice")
	alice.write("in the old one")
	alice.ends("in the old one")
	h.kill()
	alice.state("waiting")
	alice.until("the time of the next try", `/^(next try in \d+ s|trying…)$/.test(document.querySelector('#state-count').textContent) && document.querySelector('#retry').textContent === 'Try now'`)
	alice.write("written meanwhile")
	_ = spawn(t, t.TempDir(), "--addr="+addr)
	eval[bool](alice, `document.querySelector('#retry').click(), true`)
	alice.state("live")
	alice.until("the new log alone", `(all => all.length === 1 && all[0].querySelector('.bubble').textContent === 'written meanwhile' && all[0].dataset.seq)([...document.querySelectorAll('[data-message]')])`)
	alice.until("the reason", `document.querySelector('.notice').textContent.startsWith('The server’s data was replaced.')`)
}
