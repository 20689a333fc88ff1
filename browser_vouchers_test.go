package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/mdp/qrterminal/v3"
)

// TestVoucherPages is an owner's page and a staff page side by side, in a real
// browser: what the one shows is photographed, and read by the other one.
func TestVoucherPages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	dir, addr := staffed(t, "Ann", "1 号门", "Bob", "吧台"), freePort(t)
	h := spawn(t, dir, "--addr="+addr, "--auth=token")
	issue := func(name string, more ...any) string {
		order := map[string]any{"name": name, "owner": "alice"}
		for i := 0; i < len(more); i += 2 {
			order[more[i].(string)] = more[i+1]
		}
		return h.issue(order)[0].Code
	}
	first := issue("两杯茶", "note", "少糖")

	alice := inHand(t, chromium, h.url+"/vouchers#token="+h.token("alice"), "alice")
	alice.says("#list", "两杯茶")
	if got := eval[string](alice, `location.href`); got != h.url+"/vouchers" {
		t.Errorf("the address still says %s", got)
	}
	ann, bob := atDesk(t, chromium, h, "Ann"), atDesk(t, chromium, h, "Bob")

	// The code on alice's screen, as a photo in the hand of Ann.
	alice.reads("the list")
	ann.reads("the desk")
	alice.shoot("owner-list")
	alice.opens(first)
	alice.reads("a voucher")
	alice.shoot("owner-code")
	photo := alice.photo("#card-qr")
	ann.photographs(photo)
	ann.verdict("good", "redeemed")
	ann.reads("a good answer")
	ann.says("#verdict-name", "两杯茶")
	ann.says("#verdict-facts", "少糖")
	alice.card("redeemed")
	alice.says("#card-facts", "1 号门")
	alice.says("#told", "两杯茶")
	alice.shoot("owner-redeemed")
	if v := h.voucher(first); v.RedeemedBy != "Ann" || v.Station != "1 号门" {
		t.Errorf("the voucher: %+v", v)
	}

	// The same one twice: the page that did it asks nothing, another one is
	// told who did it and where.
	asked := ann.counts()
	ann.photographs(photo)
	ann.says("#verdict-late", "同一张券")
	if n := ann.asked() - asked; n != 0 {
		t.Errorf("the same photo twice made %d more requests", n)
	}
	bob.photographs(photo)
	bob.verdict("bad", "refused")
	for _, want := range []string{"1 号门", "Ann", "alice"} {
		bob.says("#verdict-facts", want)
	}
	bob.says("#verdict-title", "已经核销过")
	bob.shoot("staff-twice")
	bob.closes()

	// A screenshot of ten minutes ago.
	second := issue("半价券")
	alice.back()
	alice.says("#list", "半价券")
	alice.shoot("owner-second")
	bob.photographs(drawn(t, second+"."+passOf(alice.secret(second), time.Now().Add(-10*time.Minute))))
	bob.verdict("bad", "refused")
	bob.says("#verdict-title", "动态码过时了")
	bob.shoot("staff-stale")
	bob.closes()

	// Slips are caught before anything is asked.
	asked = bob.counts()
	wrong := second[:27] + string("23456789ACDEFGHJKMNPQRTVWXY"[(strings.IndexByte("23456789ACDEFGHJKMNPQRTVWXY", second[27])+1)%27])
	bob.types(wrong)
	bob.says("#code-error", "输错了")
	bob.shoot("staff-slip")
	if n := bob.asked() - asked; n != 0 {
		t.Errorf("a slip made %d requests", n)
	}

	// The server is gone: what is known is shown, and nothing is redeemed.
	alice.opens(second)
	h.kill()
	alice.comes("the page to say that it is alone", `!document.querySelector('#old').hidden`, `document.querySelector('#link-text').textContent`)
	bob.photographs(alice.photo("#card-qr"))
	bob.verdict("wait", "waiting")
	bob.says("#verdict-title", "还没有核销")
	bob.shoot("staff-offline")
	bob.closes()
	bob.says("#waiting-text", "1 张券还没有核销")
	alice.card("issued")
	h = spawn(t, dir, "--addr="+addr, "--auth=token")
	bob.verdict("good", "redeemed")
	bob.says("#verdict-late", "现在核销成功")
	bob.shoot("staff-late")
	alice.card("redeemed")
	alice.says("#card-facts", "吧台")
	bob.closes()

	// A scan that had no answer outlives the page.
	third := issue("第三杯")
	eval[bool](ann, `(window.fetch = () => Promise.reject(new TypeError('no network')), true)`)
	ann.closes()
	ann.types(third)
	ann.verdict("wait", "waiting")
	ann.do("reload", chromedp.Reload())
	ann.verdict("good", "redeemed")
	ann.says("#verdict-late", "现在核销成功")
	ann.closes()
	var log struct{ Log []struct{ Action string } }
	h.get("/api/v1/vouchers/"+third, &log)
	if len(log.Log) != 2 {
		t.Errorf("the log of the third: %+v", log)
	}

	// Undone: the owner sees that it is good again.
	ann.comes("the undo", `document.querySelector('[data-scan="`+third+`"] .undo')`, `document.querySelector('#recent').innerText`)
	eval[bool](ann, `(document.querySelector('[data-scan="`+third+`"] .undo').click(), true)`)
	ann.shoot("staff-undo")
	ann.do("say why", chromedp.SendKeys(chromedp.CSS("#reason"), "点错了\r"))
	ann.says(`[data-scan="`+third+`"] .became`, "已撤销")
	alice.back()
	alice.comes("the voucher to be good again", `document.querySelector('[data-code="`+third+`"][data-status="issued"]')`, `document.querySelector('#list').innerText`)
	ann.shoot("staff-recent")

	// It expires before the eyes of its owner.
	soon := issue("马上过期", "expires_at", time.Now().Add(3*time.Second).UnixMilli())
	alice.comes("the fourth", `document.querySelector('[data-code="`+soon+`"]')`, `document.querySelector('#list').innerText`)
	alice.opens(soon)
	alice.card("expired")
	alice.shoot("owner-expired")
}

// TestVoucherPageAlone: an owner's page without a token, what it says of the
// time when nobody looked, and what it shows without the server.
func TestVoucherPageAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	dir, addr := t.TempDir(), freePort(t)
	h := spawn(t, dir, "--addr="+addr)
	issue := func(name string) string {
		return h.issue(map[string]any{"name": name, "owner": "alice", "note": strings.Repeat("<img src=x onerror=window.hit=1> 🍵 ", 20)})[0].Code
	}
	redeem := func(code string) {
		if status, r := h.change(code, "redeem", map[string]any{"by": "Ann", "station": "1 号门", "key": "k"}); status != 200 {
			t.Fatalf("redeem: %d %+v", status, r)
		}
	}
	const evil = `<b onclick="window.hit=1">茶</b> 🍵`
	first, second, third := issue(evil), issue("二"), issue("三")
	alice := inHand(t, chromium, h.url+"/vouchers", "alice")
	alice.enters("alice")
	alice.says("#list", evil)
	if eval[bool](alice, `!!window.hit || !!document.querySelector('#list b b, #list img')`) {
		t.Error("a voucher's name or note became HTML")
	}

	// The name is this browser's: another one does not get the list.
	thief := inHand(t, chromium, h.url+"/vouchers", "a thief")
	thief.enters("alice")
	thief.says("#door-error", "alice")
	if eval[bool](thief, `document.body.textContent.includes('三') || Object.keys(localStorage).some(k => k.includes('vouchers'))`) {
		t.Error("the thief sees alice's vouchers")
	}
	// Who can prove nothing at all is told so, and how to do it.
	nobody := inHand(t, chromium, h.url+"/vouchers", "nobody")
	nobody.waits("#name")
	eval[bool](nobody, `(Storage.prototype.setItem = () => { throw new Error('forbidden') }, true)`)
	nobody.enters("bob")
	nobody.says("#old-text", "链接")
	nobody.shoot("owner-not-proved")

	// What happened while nobody looked.
	alice.do("go away", chromedp.Navigate("about:blank"))
	redeem(first)
	if status, r := h.change(second, "void", map[string]any{"by": "Ann", "reason": "sold out", "key": "k"}); status != 200 {
		t.Fatalf("void: %d %+v", status, r)
	}
	fourth := issue("四")
	alice.do("come back", chromedp.Navigate(h.url+"/vouchers"))
	for _, want := range []string{evil + "」已核销：1 号门", "「二」已作废"} {
		alice.says("#news-list", want)
	}
	alice.comes("the new one", `document.querySelector('[data-code="`+fourth+`"]')`, `document.querySelector('#list').innerText`)
	alice.shoot("owner-news")
	alice.do("look at the news", chromedp.Click(chromedp.CSS("#news-seen")), chromedp.WaitNotVisible(chromedp.CSS("#news")))

	// The server is gone: the code still turns, and the page says how old it is.
	alice.opens(third)
	h.kill()
	alice.comes("the page to say that it is alone", `!document.querySelector('#old').hidden`, `document.querySelector('#link-text').textContent`)
	had := eval[string](alice, `document.querySelector('#card-qr').dataset.text`)
	eval[bool](alice, `(real => (Date.now = () => real() + 30000, true))(Date.now.bind(Date))`)
	alice.comes("another pass", `(text => text.length === 35 && text !== '`+had+`')(document.querySelector('#card-qr').dataset.text)`, `document.querySelector('#card-qr').dataset.text`)
	alice.back()
	alice.says("#old-text", "连不上服务器")
	alice.says("#list", "四")
	alice.shoot("owner-offline")
	h = spawn(t, dir, "--addr="+addr)
	// The clock that was set meanwhile is put right by the server's.
	alice.state("live")
	redeem(third)
	alice.card("redeemed")
}

// enters comes in by name.
func (p tab) enters(name string) {
	p.t.Helper()
	p.waits("#name")
	eval[bool](p, fmt.Sprintf(`(document.querySelector('#name').value = %q, document.querySelector('#enter').click(), true)`, name))
}

// atDesk opens the staff page and signs in.
func atDesk(t *testing.T, browser context.Context, h *house, name string) tab {
	t.Helper()
	p := inHand(t, browser, h.url+"/staff", name)
	p.waits("#name")
	p.signIn(name, staffPIN)
	p.waits("#code")
	return p
}

// voucher reads one.
func (h *house) voucher(code string) voucher {
	h.t.Helper()
	var out struct{ Voucher voucher }
	h.get("/api/v1/vouchers/"+code, &out)
	return out.Voucher
}

// opens shows a voucher large, on the owner's page.
func (p tab) opens(code string) {
	p.t.Helper()
	p.comes("the voucher", `document.querySelector('[data-code="`+code+`"]')`, `document.querySelector('#list').innerText`)
	eval[bool](p, `(document.querySelector('[data-code="`+code+`"]').click(), true)`)
	p.waits("#card")
}

// back leaves it again.
func (p tab) back() {
	p.t.Helper()
	p.do("go back", chromedp.Click(chromedp.CSS("#card-back")), chromedp.WaitNotVisible(chromedp.CSS("#card")))
}

// card waits until the voucher that is shown large is in this state.
func (p tab) card(status string) {
	p.t.Helper()
	p.comes("the card to be "+status, `(c => c && !c.hidden && c.dataset.status === '`+status+`')(document.querySelector('#card'))`, `document.querySelector('#card').innerText`)
}

// photo is what stands on the screen there, pixel by pixel.
func (p tab) photo(css string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	p.comes("a code in "+css, fmt.Sprintf(`document.querySelector('%s svg')`, css), `document.body.innerText`)
	// A tab behind another one may not be painted.
	devtools(p, "come to the front", page.BringToFront, cdp.Empty{})
	shot, err := chromedp.Run(ctx, chromedp.Screenshot(chromedp.CSS(css)))
	if err != nil {
		p.t.Fatal(err)
	}
	return keep(p.t, shot)
}

func keep(t *testing.T, png []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "photo.png")
	if err := os.WriteFile(file, png, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// drawn is a photo of a QR code that no page showed, made by another library
// than theirs.
func drawn(t *testing.T, text string) string {
	t.Helper()
	var made strings.Builder
	qrterminal.GenerateWithConfig(text, qrterminal.Config{Level: qrterminal.M, Writer: &made, BlackChar: "#", WhiteChar: ".", QuietZone: 4})
	rows := strings.Fields(made.String())
	const module = 8
	img := image.NewGray(image.Rect(0, 0, module*len(rows[0]), module*len(rows)))
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			if rows[y/module][x/module] == '.' {
				img.SetGray(x, y, color.Gray{Y: 255})
			}
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return keep(t, out.Bytes())
}

// secret is what the owner's page makes a voucher's pass of.
func (p tab) secret(code string) []byte {
	p.t.Helper()
	find := fmt.Sprintf(`(JSON.parse(localStorage.getItem('teahouse.vouchers.alice')).vouchers.find(v => v.code === %q) || {}).pass`, code)
	p.comes("the secret of the pass", find, `localStorage.getItem('teahouse.vouchers.alice')`)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(eval[string](p, find))
	if err != nil {
		p.t.Fatal(err)
	}
	return secret
}

// passOf is RFC 6238, written once more.
func passOf(secret []byte, at time.Time) string {
	mac := hmac.New(sha1.New, secret)
	_ = binary.Write(mac, binary.BigEndian, uint64(at.Unix()/30))
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

// photographs gives the staff page a photo, as its camera would.
func (p tab) photographs(file string) {
	p.t.Helper()
	p.closes()
	p.do("take a photo", chromedp.SetUploadFiles(chromedp.CSS("#file"), []string{file}))
}

// closes takes an answer off the staff page's screen.
func (p tab) closes() {
	p.t.Helper()
	p.comes("the answer to go", `(() => {
		const verdict = document.querySelector('#verdict')
		if (!verdict.hidden) document.querySelector('#verdict-next').click()
		return verdict.hidden
	})()`, `document.querySelector('#verdict').innerText`)
}

// counts begins to count the page's requests and returns how many there were.
func (p tab) counts() int {
	p.t.Helper()
	return eval[int](p, `(window.asked === undefined && (window.asked = 0, window.plain = window.fetch, window.fetch = (...a) => (window.asked++, window.plain(...a))), window.asked)`)
}

func (p tab) asked() int {
	p.t.Helper()
	return eval[int](p, `window.asked`)
}
