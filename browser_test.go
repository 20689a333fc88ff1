package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestBrowser is the chat page in a real browser.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	t.Run("two pages", func(t *testing.T) { twoPages(t, chromium) })
	t.Run("markup is text", func(t *testing.T) { markupIsText(t, chromium) })
}

// twoPages: two people chat, the server is killed and comes back, and both
// see each message once and in one order, also what was written meanwhile.
func twoPages(t *testing.T, chromium context.Context) {
	dir, addr := t.TempDir(), freePort(t)
	h := spawn(t, dir, "--addr="+addr)
	alice := visit(t, chromium, h.url+"/", "爱丽丝")
	bob := visit(t, chromium, h.url+"/", "bob")
	alice.write("茶好了")
	bob.sees("茶好了")
	bob.write("coming")
	alice.sees("茶好了", "coming")

	h.kill()
	bob.state("waiting")
	alice.state("waiting")
	bob.write("is it down?")
	var unsent []shown
	eventually(t, "the unsent message in bob's page", func() bool {
		unsent = bob.messages()
		return len(unsent) == 3
	})
	if unsent[2].Seq != "" || unsent[2].Text != "is it down?" {
		t.Errorf("the unsent message: %+v", unsent[2])
	}
	h = spawn(t, dir, "--addr="+addr)
	alice.state("live")
	bob.state("live")
	want := []string{"茶好了", "coming", "is it down?"}
	alice.sees(want...)
	alice.write("it is back")
	want = append(want, "it is back")
	same(t, "what the two see", alice.sees(want...), bob.sees(want...)...)
	if log := h.history(lobby); len(log) != len(want) {
		t.Errorf("the log holds %d events", len(log))
	}
	// A page that is opened anew shows the same.
	alice.do("reload", chromedp.Reload())
	alice.state("live")
	same(t, "what a new page shows", alice.sees(want...), bob.sees(want...)...)
}

// markupIsText: what people write and call themselves is never HTML.
func markupIsText(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	const name = `<b onclick="window.hit=1">M</b>`
	evil, _ := enter(t, h.ws(), name)
	evil.join(lobby)
	alice := visit(t, chromium, h.url+"/", "alice")
	texts := []string{
		`<img src=x onerror="window.hit=1">`,
		`<script>window.hit=1</script>`,
		`"><svg/onload=window.hit=1>`,
		`&lt;b&gt;`,
		`javascript:window.hit=1`,
	}
	for i, text := range texts {
		evil.post(lobby, fmt.Sprint(i), text)
	}
	if got := alice.sees(texts...); got[0].From != name {
		t.Errorf("the name is shown as %q", got[0].From)
	}
	evil.ask("send", "topic", lobby, "kind", "odd", "key", "odd", "body", map[string]string{texts[0]: texts[1]})
	evil.say("signal", "topic", lobby, "body", map[string]bool{"typing": true})
	alice.write(texts[0])
	eventually(t, "alice's own message", func() bool { return len(alice.messages()) == len(texts)+2 })
	alice.do("see who is here", chromedp.Click(chromedp.CSS("#online")))
	// What an image's onerror would do comes after a moment: an image of our
	// own that fails as well comes after those.
	page := eval[struct {
		Hit   *int
		Tags  int
		Names string
		Odd   string
	}](alice, `new Promise(done => {
		const last = new Image()
		last.onerror = () => done({
			Hit: window.hit,
			Tags: document.querySelectorAll('[data-message] img[src=x], [data-message] script, [data-message] b, #people-list b[onclick]').length,
			Names: document.querySelector('#people-list').textContent,
			Odd: document.querySelector('[data-key="odd"]').textContent})
		last.src = '/no/such/image'
	})`, chromedp.EvalAwaitPromise)
	if page.Hit != nil || page.Tags != 0 || !strings.Contains(page.Names, name) {
		t.Errorf("the page: %+v", page)
	}
	if !strings.Contains(page.Odd, texts[1]) {
		t.Errorf("an unknown kind is shown as %q", page.Odd)
	}
}

// browser starts a Chromium and returns its context.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		needed(t, "there is no Chromium here")
	}
	dir, err := os.MkdirTemp("", "teahouse-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the browser may still write for a moment
		eventually(t, "the browser's folder to go", func() bool { return os.RemoveAll(dir) == nil })
	})
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(dir),
		chromedp.NoSandbox, // it refuses to start with one as root
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("use-fake-device-for-media-stream", true), // a camera, and a microphone that hums
		chromedp.Flag("use-fake-ui-for-media-stream", true),     // pages may use them
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Env("HOME="+dir),
		chromedp.WSURLReadTimeout(patience),
	), more...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("the browser did not start: %v", err)
	}
	return ctx
}

// tab is one person's page.
type tab struct {
	t   *testing.T
	who string
	ctx context.Context
}

// visit opens the chat page in a tab of its own, whose storage is its own too,
// and comes in.
func visit(t *testing.T, browser context.Context, url, name string) tab {
	t.Helper()
	return visitAt(t, browser, url, name, 1280, 800)
}

// phone is the size of the view of a common one.
const phoneWidth, phoneHeight = 390, 844

// visitAt is visit with a view of that size; a narrow one is a phone's, with a
// touch screen.
func visitAt(t *testing.T, browser context.Context, url, name string, width, height int64) tab {
	t.Helper()
	p := blankTab(t, browser, name, width, height)
	p.comeIn(url)
	return p
}

// blankTab is a tab with a storage of its own that shows nothing yet.
func blankTab(t *testing.T, browser context.Context, name string, width, height int64) tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	p := tab{t, name, ctx}
	if width < 500 {
		p.do("be a phone", chromedp.EmulateViewport(width, height, chromedp.EmulateMobile, chromedp.EmulateTouch))
	} else {
		p.do("have a size", chromedp.EmulateViewport(width, height))
	}
	return p
}

// comeIn gives the name at the door.
func (p tab) comeIn(url string) {
	p.t.Helper()
	field := chromedp.CSS("#name")
	p.do("come in", chromedp.Navigate(url), chromedp.WaitVisible(field), chromedp.SendKeys(field, p.who), chromedp.Click(chromedp.CSS("#enter")))
	p.state("live")
}

func (p tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%s in the page of %s: %v", what, p.who, err)
	}
}

// eval reads a value of the page.
func eval[T any](p tab, script string, opts ...chromedp.EvaluateOption) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, opts...))
	if err != nil {
		p.t.Fatalf("in the page of %s: %v: %s", p.who, err, script)
	}
	return v
}

// state waits for the connection's state, as the page shows it.
func (p tab) state(want string) {
	p.t.Helper()
	p.do("state "+want, chromedp.WaitVisible(chromedp.CSS(`[data-state="`+want+`"]`)))
}

func (p tab) write(text string) {
	p.t.Helper()
	p.do("write", chromedp.SendKeys(chromedp.CSS("#composer"), text), chromedp.Click(chromedp.CSS("#send")))
}

// shown is one message in the page.
type shown struct {
	Key, Seq, Text, From string
}

func (p tab) messages() []shown {
	p.t.Helper()
	return eval[[]shown](p, `[...document.querySelectorAll('[data-message]')].map(n => ({
		Key: n.dataset.key || '', Seq: n.dataset.seq || '',
		Text: (n.querySelector('.bubble') || n).textContent, From: (n.querySelector('.from') || n).textContent}))`)
}

// sees waits until the page shows these texts in this order, each once, and
// each with its place in the log.
func (p tab) sees(want ...string) []shown {
	p.t.Helper()
	var got []shown
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		got = p.messages()
		var texts []string
		for _, m := range got {
			if m.Seq != "" && m.Key != "" {
				texts = append(texts, m.Text)
			}
		}
		if len(got) == len(texts) && slices.Equal(texts, want) {
			return got
		}
		<-time.After(50 * time.Millisecond)
	}
	p.t.Fatalf("%s sees %+v; want %q", p.who, got, want)
	return nil
}

// freePort finds a port that nobody gets by asking for any, so that it is
// still free when the server comes back to it.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}
