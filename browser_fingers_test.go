package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// What people do with a page: look at it, press its keys, touch it.

// size makes the page a phone's (with touch, below 500 pixels) or a desktop's.
func (p tab) size(width, height int64) {
	p.t.Helper()
	opts := []chromedp.EmulateViewportOption{}
	if width < 500 {
		opts = append(opts, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	p.do("size", chromedp.EmulateViewport(width, height, opts...))
}

func (p tab) key(keys string, opts ...chromedp.KeyOption) {
	p.t.Helper()
	p.do(fmt.Sprintf("press %q", keys), chromedp.KeyEvent(keys, opts...))
}

func (p tab) click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// until waits until the page finds this true.
func (p tab) until(what, script string) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for !eval[bool](p, "!!("+script+")") {
		if time.Now().After(deadline) {
			p.t.Fatalf("the page of %s never had: %s (%s)\n%s", p.who, what, script, eval[string](p, "document.querySelector('#talk').innerText"))
		}
		<-time.After(30 * time.Millisecond)
	}
}

// seesKey waits for the message with this key.
func (p tab) seesKey(key string) {
	p.t.Helper()
	p.until("the message "+key, `document.querySelector('[data-message][data-key="`+key+`"]')`)
}

// menu chooses an entry of a message's menu, by mouse.
func (p tab) menu(message, entry string) {
	p.t.Helper()
	x, y := p.middle(message + " .said")
	p.do("hover", chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, x, y))
	p.click(message + " .more")
	p.until("the entry "+entry, `[...document.querySelectorAll('#menu [role=menuitem]')].some(n => n.textContent === `+jsText(entry)+`)`)
	eval[int](p, `[...document.querySelectorAll('#menu [role=menuitem]')].find(n => n.textContent === `+jsText(entry)+`).click(); 1`)
}

// middle is where the first element of this selector is, once it is there.
func (p tab) middle(selector string) (x, y float64) {
	p.t.Helper()
	p.until(selector, "document.querySelector("+jsText(selector)+")")
	at := eval[[2]float64](p, `(() => {
		const n = document.querySelector(`+jsText(selector)+`)
		n.scrollIntoView({block: 'nearest'})
		const r = n.getBoundingClientRect()
		return [r.left + Math.min(r.width / 2, 40), r.top + r.height / 2]
	})()`)
	return at[0], at[1]
}

func (p tab) tap(selector string) {
	p.t.Helper()
	x, y := p.middle(selector)
	p.do("tap "+selector, chromedp.TapXY(x, y))
}

// press holds a finger on it for as long as a menu takes to open.
func (p tab) press(selector string) {
	p.t.Helper()
	x, y := p.middle(selector)
	p.finger(input.DispatchTouchEventTypeTouchStart, &input.TouchPoint{X: x, Y: y})
	p.until("the menu of a long press", `document.querySelector('#menu')`)
	p.finger(input.DispatchTouchEventTypeTouchEnd)
}

// drag moves a finger down the page by so many pixels a frame.
func (p tab) drag(selector string, from, to, step float64) {
	p.t.Helper()
	box := eval[[2]float64](p, `(r => [r.left + r.width / 2, r.top])(document.querySelector(`+jsText(selector)+`).getBoundingClientRect())`)
	at := func(y float64) *input.TouchPoint { return &input.TouchPoint{X: box[0], Y: box[1] + y} }
	p.finger(input.DispatchTouchEventTypeTouchStart, at(from))
	for y := from + 20; y <= to; y += step { // far enough at once to be no long press
		p.finger(input.DispatchTouchEventTypeTouchMove, at(y))
		eval[int](p, `new Promise(done => requestAnimationFrame(() => done(0)))`, chromedp.EvalAwaitPromise)
	}
	p.finger(input.DispatchTouchEventTypeTouchEnd)
	// What it set in motion comes to rest.
	eval[int](p, `new Promise(async done => {
		const n = document.querySelector(`+jsText(selector)+`)
		for (let was = -1, still = 0; still < 5; was = n.scrollTop) {
			await new Promise(requestAnimationFrame)
			still = n.scrollTop === was ? still + 1 : 0
		}
		done(0)
	})`, chromedp.EvalAwaitPromise)
}

func (p tab) finger(typ input.DispatchTouchEventType, points ...*input.TouchPoint) {
	p.t.Helper()
	if points == nil {
		points = []*input.TouchPoint{}
	}
	devtools(p, string(typ), input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: typ, TouchPoints: points})
}

// devtools has the browser do what no action of chromedp's does.
func devtools[P, R any](p tab, what string, command cdp.Command[P, R], params P) {
	p.t.Helper()
	p.do(what, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, command, params)
		return err
	}))
}

// jsText is a string as JavaScript writes it.
func jsText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}
