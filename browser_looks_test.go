package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// TestLooks brings the chat page into its main states, on a phone in Chinese
// and on a desktop in English, and looks at each in light and dark: nothing
// that axe-core calls serious, nothing wider than the view.
//
// `go test -run TestLooks . -update` keeps the pictures of the READMEs in docs/images.
func TestLooks(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	t.Run("phone", func(t *testing.T) {
		t.Parallel()
		theLooks(t, chromium, chinese, phoneWidth, phoneHeight)
	})
	t.Run("desktop", func(t *testing.T) {
		t.Parallel()
		theLooks(t, chromium, english, 1280, 800)
	})
}

// scene is what is said while the pictures are taken.
type scene struct {
	lang             string
	me               string
	a, b, c          string
	room, other, hid string
	lines            []string // of a, b, a, b, c
	quote, mention   string
	regret           string
	unsent           string
}

var chinese = scene{
	lang: "zh", me: "小林", a: "阿明", b: "陈姐", c: "老周", room: "后厨", other: "值班表", hid: "财务",
	lines: []string{"早！今天的绿豆汤熬好了 🍵", "辛苦啦\n菜单在这里：https://canteen.example/menu。", "👍👍", "扫码机的地址是 `192.168.1.5:8040`", "十二点前备好三十份，二楼会议室要。"},
	quote: "收到，十一点半送上去。", mention: "你看下二楼的空调？", regret: "发错了", unsent: "网断了也能先写着",
}

var english = scene{
	lang: "en", me: "Lin", a: "Ming", b: "Chen", c: "Zhou", room: "kitchen", other: "shifts", hid: "accounts",
	lines: []string{"Good morning! The soup is ready 🍵", "Thank you!\nThe menu: https://canteen.example/menu.", "👍👍", "The scanner is at `192.168.1.5:8040`", "Thirty portions for the meeting room by twelve, please."},
	quote: "I will bring them up at half past eleven.", mention: "could you look at the fan upstairs?", regret: "wrong room", unsent: "written while the network is gone",
}

func theLooks(t *testing.T, chromium context.Context, s scene, width, height int64) {
	dir, addr := t.TempDir(), freePort(t)
	h := spawn(t, dir, "--addr="+addr, "--send-rate=0")
	topic := "room:" + s.room

	// The door, and a room where nobody has spoken yet.
	p := blankTab(t, chromium, s.me, width, height)
	p.do("open the page", chromedp.Navigate(h.url+"/"), chromedp.WaitVisible(chromedp.CSS("#name")))
	p.until("the size", fmt.Sprintf("innerWidth === %d && innerWidth === document.documentElement.clientWidth", width))
	if eval[string](p, `document.documentElement.lang.slice(0, 2)`) != s.lang {
		p.click("#door [data-lang]")
	}
	p.look("door")
	p.do("come in", chromedp.SendKeys(chromedp.CSS("#name"), s.me), chromedp.Click(chromedp.CSS("#enter")))
	p.state("live")
	p.until("an empty room", `!document.querySelector('#empty').hidden`)
	p.look("empty")

	// Others talk.
	ming, _ := enter(t, h.ws(), s.a)
	chen, _ := enter(t, h.ws(), s.b)
	zhou, _ := enter(t, h.ws(), s.c)
	for _, c := range []*guest{ming, chen, zhou} {
		c.join(topic)
	}
	ming.post(topic, "1", s.lines[0])
	chen.post(topic, "2", s.lines[1])
	ming.post(topic, "3", s.lines[2])
	chen.post(topic, "4", s.lines[3])
	zhou.post(topic, "5", s.lines[4])
	p.do("go to the room", chromedp.Navigate(h.url+"/#room="+s.room))
	p.seesKey("5")
	if width < 500 {
		p.press(`[data-key="5"] .bubble`)
		p.tap("#menu [role=menuitem]")
	} else {
		p.menu(`[data-key="5"]`, "Reply")
	}
	p.until("it is being answered", `!document.querySelector('#replying').hidden`)
	p.write(s.quote)
	chen.sayBody(topic, "6", map[string]any{"text": "@" + s.me + " " + s.mention, "mentions": []string{s.me}})
	slip := zhou.post(topic, "7", s.regret)
	zhou.ask("send", "topic", topic, "kind", "message.recalled", "key", "8", "body", map[string]any{"seq": slip.Seq})
	photo := h.picture("tea.png", 640, 400)
	ming.sayBody(topic, "9", map[string]any{"text": "tea.png", "file": photo})
	// Elsewhere as well: unread lines, and one that mentions.
	chen.join("room:" + s.other)
	for _, room := range []string{s.other, s.hid} {
		eval[bool](p, `(location.hash = '#room=' + encodeURIComponent(`+jsText(room)+`), true)`)
		p.until("the room "+room, `document.querySelector('#room-name').textContent === `+jsText(room))
	}
	p.do("go back", chromedp.Navigate(h.url+"/#room="+s.room))
	p.seesKey("9")
	p.until("the picture", `(i => i && i.complete && i.naturalWidth > 0)(document.querySelector('[data-key="9"] img:not(.avatar)'))`)
	chen.post("room:"+s.other, "10", s.lines[0])
	chen.sayBody("room:"+s.other, "11", map[string]any{"text": "@" + s.me + " " + s.mention, "mentions": []string{s.me}})
	ming.say("signal", "topic", topic, "body", map[string]bool{"typing": true})
	p.look("busy")

	if width < 500 {
		p.click("#back")
		p.until("the list of rooms", `document.querySelector('#house').dataset.view === 'rooms'`)
		p.look("rooms")
		p.do("go back", chromedp.Navigate(h.url+"/#room="+s.room))
		p.seesKey("9")
		p.click("#online")
		p.until("the people", `!document.querySelector('#people').hidden`)
		p.look("people")
		p.key("\x1b")
	}
	p.click("#share-button")
	p.until("the code", `document.querySelector('#qr svg')`)
	p.look("share")
	p.key("\x1b")
	p.click("#search-button")
	p.do("search", chromedp.SendKeys(chromedp.CSS("#search-text"), s.lines[4][:6]+"\r"))
	p.until("a hit", `document.querySelector('#hits li')`)
	p.look("search")
	p.key("\x1b")
	p.click(`[data-key="9"] img:not(.avatar)`)
	p.until("the picture in front", `document.querySelector('dialog[open] img, [role=dialog]:not([hidden]) img')`)
	p.look("picture")
	p.key("\x1b")
	p.do("go to the list", chromedp.Navigate(h.url+"/#rooms"))
	p.click("#settings-button")
	p.until("the settings", `!document.querySelector('#settings').hidden`)
	p.look("settings")
	p.key("\x1b")
	p.click("#new-room")
	p.until("the form", `!document.querySelector('#new').hidden`)
	p.look("new-room")
	p.key("\x1b")

	// A room that wants a code, and a name that is another's.
	zhou.ask("protect", "topic", "room:"+s.hid, "code", "tea-leaf")
	stranger := blankTab(t, chromium, s.c+"2", width, height)
	stranger.do("open the page", chromedp.Navigate(h.url+"/#room="+s.hid), chromedp.WaitVisible(chromedp.CSS("#name")))
	if eval[string](stranger, `document.documentElement.lang.slice(0, 2)`) != s.lang {
		stranger.click("#door [data-lang]")
	}
	stranger.do("a name that is taken", chromedp.SendKeys(chromedp.CSS("#name"), s.me), chromedp.Click(chromedp.CSS("#enter")))
	stranger.until("the refusal", `document.querySelector('#door-error').textContent.length > 5`)
	stranger.look("name-taken")
	eval[bool](stranger, `(document.querySelector('#name').value = '', true)`)
	stranger.do("another name", chromedp.SendKeys(chromedp.CSS("#name"), s.c+"2"), chromedp.Click(chromedp.CSS("#enter")))
	stranger.until("the gate", `!document.querySelector('#gate').hidden`)
	stranger.do("a wrong code", chromedp.SendKeys(chromedp.CSS("#gate-code"), "green-leaf\r"))
	stranger.until("the refusal", `document.querySelector('#gate-error').textContent.length > 3`)
	stranger.look("code")

	// The server is gone.
	p.do("go to the room", chromedp.Navigate(h.url+"/#room="+s.room))
	p.seesKey("9")
	h.kill()
	p.state("waiting")
	p.write(s.unsent)
	p.until("what waits", `document.querySelector('[data-status="sending"]')`)
	p.look("offline")
	const moves = `document.getAnimations().filter(a => a.playState === 'running').length`
	p.until("something that moves", moves)
	devtools(p, "want no motion", emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}})
	p.until("nothing that moves", moves+` === 0`)
}

// picture uploads a made one and returns what a message says of it.
func (h *house) picture(name string, width, height int) map[string]any {
	h.t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			fx, fy := float64(x)/float64(width)-.5, float64(y)/float64(height)-.55
			r := math.Hypot(fx*1.6, fy)
			switch {
			case r < .22:
				img.Set(x, y, color.RGBA{uint8(150 - 60*r), uint8(110 - 90*r), 40, 255}) // tea
			case r < .27:
				img.Set(x, y, color.RGBA{245, 243, 236, 255}) // the cup
			default:
				img.Set(x, y, color.RGBA{uint8(120 + 60*fy), uint8(86 + 40*fx), 62, 255})
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		h.t.Fatal(err)
	}
	a := h.uploadWhole(name, b.Bytes())
	var file struct {
		ID, Name, Type string
		Size           int64
	}
	if err := json.Unmarshal(a.body, &file); err != nil || file.ID == "" {
		h.t.Fatalf("%d %s", a.status, a.body)
	}
	return map[string]any{"id": file.ID, "name": file.Name, "type": file.Type, "size": file.Size, "width": width, "height": height}
}

// kept are the pictures that the READMEs show.
var kept = []string{
	"desktop-busy", "desktop-busy-dark", "desktop-offline",
	"phone-empty", "phone-busy", "phone-busy-dark", "phone-rooms", "phone-people", "phone-picture", "phone-offline", "phone-name-taken", "phone-code",
}

// look says what is wrong with what the page shows, in light and in dark.
func (p tab) look(state string) {
	p.t.Helper()
	const rest = `document.fonts.ready.then(() => new Promise(requestAnimationFrame)).then(() => Promise.all(document.getAnimations()
		.filter(a => a.effect.getTiming().iterations !== Infinity).map(a => a.finished.catch(() => 0)))).then(() => true)`
	for _, theme := range []string{"light", "dark"} {
		eval[bool](p, `(document.documentElement.dataset.theme = `+jsText(theme)+`, true)`)
		eval[bool](p, rest, chromedp.EvalAwaitPromise) // colours fade into each other
		for _, v := range p.axe(theme == "dark") {
			p.t.Errorf("%s, %s: %s", state, theme, v)
		}
		if wide := eval[int](p, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); wide > 0 {
			p.t.Errorf("%s: %d pixels wider than the view", state, wide)
		}
		p.shoot(filepath.Base(p.t.Name()) + "-" + state + "-" + theme)
		name := filepath.Base(p.t.Name()) + "-" + state + map[string]string{"dark": "-dark"}[theme]
		if slices.Contains(kept, name) {
			p.forDocs("chat-" + name)
		}
	}
	eval[bool](p, `(delete document.documentElement.dataset.theme, true)`)
}

// reads says what keeps some people from reading the page as it is.
func (p tab) reads(state string) {
	p.t.Helper()
	for _, v := range p.axe(false) {
		p.t.Errorf("%s: %s", state, v)
	}
}

// axe returns what axe-core finds serious or critical; of the contrast only, if
// that is all that may be different.
func (p tab) axe(contrast bool) []string {
	p.t.Helper()
	if !eval[bool](p, `typeof axe === 'object'`) {
		file := filepath.Join("assets", "sdktest", "node_modules", "axe-core", "axe.min.js")
		script, err := os.ReadFile(file)
		if err != nil {
			needed(p.t, "axe-core is not installed: run npm ci in assets/sdktest")
		}
		eval[bool](p, string(script)+"\n;true")
	}
	type finding struct {
		ID, Impact, Help string
		Nodes            []string
	}
	rules := "{}"
	if contrast {
		rules = `{type: 'rule', values: ['color-contrast']}`
	}
	found := eval[[]finding](p, `axe.run(document, {resultTypes: ['violations'], ...(r => r.type ? {runOnly: r} : {})(`+rules+`)}).then(r => r.violations.map(v => ({
		ID: v.id, Impact: v.impact || '', Help: v.help, Nodes: v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0] ? n.any[0].message : ''))})))`, chromedp.EvalAwaitPromise)
	var out []string
	for _, f := range found {
		said := fmt.Sprintf("%s (%s): %s: %q", f.ID, f.Impact, f.Help, f.Nodes)
		if f.Impact == "serious" || f.Impact == "critical" {
			out = append(out, said)
		} else {
			p.t.Logf("minor: %s", said)
		}
	}
	return out
}

// forDocs keeps a picture for the documents, if that is asked for.
func (p tab) forDocs(name string) {
	p.t.Helper()
	if !*update {
		return
	}
	quality := int64(70)
	p.do("take a picture", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		r, err := cdp.Call(ctx, target, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatWebp, Quality: &quality})
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join("docs", "images", name+".webp"), r.Data, 0o644)
	}))
}
