package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/bcrypt"

	"teahouse/chat"
	"teahouse/db"
)

// TestStaffPage is /staff in a real browser.
func TestStaffPage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	h := open(t, staffed(t, "Ann", "1 号门"))
	ann := inHand(t, chromium, h.url+"/staff", "Ann")

	// A wrong PIN, then the right one.
	ann.waits("#name")
	ann.shoot("staff-door")
	ann.signIn("Ann", "000000")
	ann.says("#door-error", "不正确")
	ann.signIn("Ann", staffPIN)
	ann.waits("#code")
	ann.says("#station", "1 号门")
	ann.shoot("staff-desk")

	issue := func(name string) string {
		return h.issue(map[string]any{"name": name, "owner": "alice", "note": "no sugar"})[0].Code
	}
	first := issue("两杯茶 <b>🍵</b>")
	ann.types(first[:27])
	ann.says("#code-error", "27")
	ann.types(strings.ToLower(chat.ShowVoucherCode(first)))
	ann.verdict("good", "redeemed")
	ann.says("#verdict-name", "两杯茶 <b>🍵</b>")
	ann.says("#verdict-facts", "alice")
	ann.shoot("staff-good")

	// A scanner is a keyboard, and nobody clicked anything: over the answer to
	// the one before, with Enter twice.
	second := issue("third hand")
	ann.do("scan", chromedp.KeyEvent(second+"\r\r"))
	ann.verdict("good", "redeemed")
	ann.says("#verdict-name", "third hand")
	ann.closes()
	// With an input method that swallows the letters, and another layout.
	for i, key := range []string{`'Process'`, `/[A-Z]/.test(c) ? 'абвгдежзийклмнопрстуфхцчшщ'[c.charCodeAt(0) - 65] : '&é"#(-è_çà'[c]`} {
		name := fmt.Sprint("layout ", i)
		eval[bool](ann, fmt.Sprintf(`[...%q].map(c => [%s, /\d/.test(c) ? 'Digit' + c : 'Key' + c]).concat([['Enter', 'Enter']]).forEach(([key, code]) =>
			document.body.dispatchEvent(new KeyboardEvent('keydown', {key, code, bubbles: true, cancelable: true}))) || true`, issue(name), key))
		ann.verdict("good", "redeemed")
		ann.says("#verdict-name", name)
		ann.closes()
	}
	ann.do("scan something else", chromedp.KeyEvent("6901234567892\r"))
	ann.says("#code-error", "1、I、L")

	// The account is changed: the scan waits for who signs in again.
	third := issue("another station")
	if a := h.call("PATCH", "/api/v1/staff/Ann", map[string]any{"station": "吧台"}); a.status != 200 {
		t.Fatalf("the new station: %d %s", a.status, a.body)
	}
	eval[bool](ann, `(document.querySelector('#code').value = '`+third+`', document.querySelector('#code-form button').click(), true)`)
	ann.waits("#door")
	ann.says("#door-error", "重新登录")
	ann.verdict("wait", "waiting")
	ann.closes()
	ann.signIn("Ann", staffPIN)
	ann.verdict("good", "redeemed")
	ann.says("#verdict-name", "another station")
	ann.says("#station", "吧台")
	ann.closes()

	// Who signs out leaves nothing behind.
	ann.do("sign out", chromedp.Click(chromedp.CSS("#leave")))
	ann.waits("#door")
	if kept := eval[string](ann, `Object.keys(localStorage).filter(k => k.includes('staff')).join()`); kept != "" {
		t.Errorf("after signing out the browser keeps %s", kept)
	}
	for code, times := range map[string]int{first: 2, second: 2, third: 2} {
		var log struct{ Log []struct{ Action string } }
		if h.get("/api/v1/vouchers/"+code, &log); len(log.Log) != times {
			t.Errorf("the log of %s: %+v", code, log.Log)
		}
	}
}

// TestStaffCamera: a voucher held before the camera; and what is left of the
// pages on plain http in a LAN, where a browser gives them neither camera nor
// cryptography.
func TestStaffCamera(t *testing.T) {
	if testing.Short() {
		t.Skip("starts two browsers")
	}
	t.Parallel()
	h := open(t, staffed(t, "Ann", "1 号门"), "--auth=token")
	codes := h.issue(map[string]any{"name": "茶", "owner": "alice", "count": 2})
	tea := "http://tea.test:" + h.host()[strings.LastIndexByte(h.host(), ':')+1:]
	video := filepath.Join(t.TempDir(), "camera.y4m")
	chromium := browser(t, chromedp.Flag("host-resolver-rules", "MAP tea.test 127.0.0.1"), chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-file-for-fake-video-capture", video))

	alice := inHand(t, chromium, tea+"/vouchers#token="+h.token("alice"), "alice")
	alice.opens(codes[0].Code)
	far := inHand(t, chromium, tea+"/staff", "Ann, on plain http")
	far.waits("#name")
	far.signIn("Ann", staffPIN)
	far.waits("#photo")
	if eval[bool](far, `isSecureContext || !!crypto.subtle || !document.querySelector('#camera').hidden`) {
		t.Error("plain http passes for a secure context")
	}
	far.says("#scan-note", "https")
	far.shoot("staff-plain")
	// The pass is made there, too.
	far.photographs(alice.photo("#card-qr"))
	far.verdict("good", "redeemed")
	if text := eval[string](alice, `document.querySelector('#card-qr').dataset.text`); len(text) != len(codes[0].Code)+7 {
		t.Errorf("the QR code held %q", text)
	}
	alice.card("redeemed")

	// The browser opens the file when the page opens the camera.
	film(t, video, drawn(t, codes[1].Code))
	ann := atDesk(t, chromium, h, "Ann")
	ann.do("open the camera", chromedp.Click(chromedp.CSS("#camera")))
	ann.verdict("good", "redeemed")
	ann.shoot("staff-camera-good")
	ann.closes()
	ann.waits("#video")
	ann.shoot("staff-camera")
	// It is still held there: that is no second scan.
	asked := ann.counts()
	<-time.After(time.Second)
	if eval[bool](ann, `!document.querySelector('#verdict').hidden`) || ann.asked() != asked {
		t.Error("the same voucher, still before the camera, was scanned again")
	}
	ann.do("close the camera", chromedp.Click(chromedp.CSS("#camera")), chromedp.WaitNotVisible(chromedp.CSS("#view")))

}

// film makes a video of a photo: what a camera sees that is held before it.
func film(t *testing.T, file, photo string) {
	t.Helper()
	raw, err := os.ReadFile(photo)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	const width, height, side = 640, 480, 300
	frame := bytes.Repeat([]byte{150}, width*height)
	b := img.Bounds()
	for y := range side {
		for x := range side {
			at := color.GrayModel.Convert(img.At(b.Min.X+x*b.Dx()/side, b.Min.Y+y*b.Dy()/side)).(color.Gray)
			frame[(y+90)*width+x+170] = at.Y/2 + 60 // no screen is as black, no paper as white
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420jpeg\n", width, height)
	for range 4 {
		out.WriteString("FRAME\n")
		out.Write(frame)
		out.Write(bytes.Repeat([]byte{128}, width*height/2))
	}
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

const staffPIN = "246810"

// staff makes an account whose PIN is staffPIN.
func (h *house) staff(name, station string) {
	h.t.Helper()
	if a := h.call("POST", "/api/v1/staff", map[string]any{"name": name, "station": station, "pin": staffPIN}); a.status != 201 {
		h.t.Fatalf("staff: %d %s", a.status, a.body)
	}
}

// staffed is a new data folder with accounts of staff, names and stations in
// turn, whose PIN is staffPIN. Their hashes are cheap ones: a good one takes
// seconds under the race detector. The API's own tests look at those.
func staffed(t *testing.T, accounts ...string) string {
	t.Helper()
	dir := t.TempDir()
	furnish(t, dir)
	store, err := db.Open(t.Context(), db.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("teahouse staff PIN\x00" + staffPIN)) // as chat/api has it
	hash, err := bcrypt.GenerateFromPassword([]byte(base64.RawStdEncoding.EncodeToString(sum[:])), bcrypt.MinCost)
	for i := 0; i < len(accounts) && err == nil; i += 2 {
		_, err = store.AddStaff(t.Context(), chat.Staff{Name: accounts[i], Station: accounts[i+1], PINHash: hash, Stamp: "made", CreatedAt: 1})
	}
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// inHand opens a page of its own, of a phone's size, with Chinese as language.
func inHand(t *testing.T, browser context.Context, url, who string) tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulateTouch)); err != nil {
		t.Fatal(err)
	}
	p := tab{t, who, ctx}
	p.do("open the page", chromedp.Navigate(url))
	eval[bool](p, `(localStorage.setItem('teahouse.lang', 'zh'), true)`)
	p.do("open it in Chinese", chromedp.Reload())
	return p
}

func (p tab) signIn(name, pin string) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`(document.querySelector('#name').value = %q, document.querySelector('#pin').value = %q, document.querySelector('#enter').click(), true)`, name, pin))
}

// types writes a code into the field and presses Enter.
func (p tab) types(code string) {
	p.t.Helper()
	eval[bool](p, `(document.querySelector('#code').value = '', true)`)
	p.do("type a code", chromedp.SendKeys(chromedp.CSS("#code"), code+"\r"))
}

// waits waits until something is to be seen.
func (p tab) waits(css string) {
	p.t.Helper()
	p.do("wait for "+css, chromedp.WaitVisible(chromedp.CSS(css)))
}

// says waits until an element's text holds want.
func (p tab) says(css, want string) {
	p.t.Helper()
	p.comes(fmt.Sprintf("%q in %s", want, css), fmt.Sprintf(`(document.querySelector(%q) || {textContent: ''}).textContent.includes(%q)`, css, want),
		fmt.Sprintf(`(document.querySelector(%q) || document.body).textContent`, css))
}

// comes waits until a condition holds in the page; where it does not, it logs
// what look gives.
func (p tab) comes(what, condition, look string) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for !eval[bool](p, `!!(`+condition+`)`) {
		if time.Now().After(deadline) {
			p.t.Fatalf("the page of %s: waited for %s; there is %q", p.who, what, eval[string](p, `String(`+look+`)`))
		}
		<-time.After(20 * time.Millisecond)
	}
}

// verdict waits for the answer to a scan.
func (p tab) verdict(mood, state string) {
	p.t.Helper()
	p.comes("the verdict "+mood+" "+state, fmt.Sprintf(`(v => v && !v.hidden && v.dataset.mood === %q && v.dataset.state === %q)(document.querySelector('#verdict'))`, mood, state),
		`document.querySelector('#verdict').hidden + ' ' + document.querySelector('#verdict').innerText + document.querySelector('#code-error').textContent + document.querySelector('#scan-note').textContent`)
}

// shoot keeps a picture of the page, for who wants to look:
// TEAHOUSE_TEST_SHOTS=FOLDER.
func (p tab) shoot(name string) {
	p.t.Helper()
	dir := os.Getenv("TEAHOUSE_TEST_SHOTS")
	if dir == "" {
		return
	}
	<-time.After(500 * time.Millisecond) // what moves has come to rest
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		p.t.Error(err)
	}
}
