package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestStaffPage is /staff in a real browser.
func TestStaffPage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	h := open(t, t.TempDir())
	h.staff("Ann", "1 号门")
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

	v := h.issue(map[string]any{"name": "两杯茶 <b>🍵</b>", "owner": "alice", "note": "no sugar"})[0]
	ann.types(v.Code[:27])
	ann.says("#code-error", "27")
	ann.types(v.Code)
	ann.verdict("good", "redeemed")
	ann.says("#verdict-name", "两杯茶 <b>🍵</b>")
	ann.says("#verdict-facts", "alice")
	ann.shoot("staff-good")
}

const staffPIN = "246810"

// staff makes an account whose PIN is staffPIN.
func (h *house) staff(name, station string) {
	h.t.Helper()
	if a := h.call("POST", "/api/v1/staff", map[string]any{"name": name, "station": station, "pin": staffPIN}); a.status != 201 {
		h.t.Fatalf("staff: %d %s", a.status, a.body)
	}
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
	eval[bool](p, `(localStorage.setItem('teahouse.lang', 'zh'), location.reload(), true)`)
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
