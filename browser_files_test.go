package main

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestBrowserFiles is pictures, files and voice messages in a real browser.
func TestBrowserFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	t.Parallel()
	chromium := browser(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, context.Context)
	}{
		{"chosen, shown, sent, seen large", filesChosen},
		{"pasted and dropped", filesPasted},
		{"a photo taken on its side, with a token", photoOnItsSide},
		{"too large", filesTooLarge},
		{"a restart of the server", fileOverRestart},
		{"a reload of the page", fileOverReload},
		{"cancelled", fileCancelled},
		{"no room", fileNoRoom},
		{"voice", voiceMessage},
		{"behind a panel's nginx", fileThroughNginx},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, chromium) })
	}
}

// noisyPNG is a picture that no compression makes small: about 3 bytes a pixel.
func noisyPNG(t *testing.T, width, height int) []byte {
	t.Helper()
	random := rand.New(rand.NewPCG(1, uint64(width)))
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			v := random.Uint32()
			m.SetRGBA(x, y, color.RGBA{uint8(v), uint8(v >> 8), uint8(v >> 16), 255})
		}
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// onDisk writes a file that a page can choose.
func onDisk(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// chooses picks files as by the dialog.
func (p tab) chooses(paths ...string) {
	p.t.Helper()
	p.do("choose files", chromedp.SetUploadFiles(chromedp.CSS("#pick-file"), paths, chromedp.NodeReady))
	p.until("the files in the tray", fmt.Sprintf(`document.querySelectorAll('#tray .tile').length === %d`, len(paths)))
}

// holdsAfter lets that many pieces of uploads out of the page, and keeps the
// next ones until letGo, or until the page is another one. window.sent has the
// sizes of all that went.
func (p tab) holdsAfter(pieces int) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`(() => {
		const send = XMLHttpRequest.prototype.send
		const held = []
		let left = %d
		window.sent = []
		window.letGo = () => { left = Infinity; held.splice(0).forEach((go) => go()) }
		XMLHttpRequest.prototype.send = function (body) {
			const go = () => {
				if (body) window.sent.push(body.size)
				send.call(this, body)
			}
			if (body && left-- <= 0) held.push(go)
			else go()
		}
		return true
	})()`, pieces))
}

func (p tab) letGo() {
	p.t.Helper()
	eval[bool](p, `(window.letGo(), true)`)
}

// fileBody is what a message says of its file.
type fileBody struct {
	Text string
	File struct {
		ID, Name, Type, Thumb string
		Size, Width, Height   int64
		Duration              int64 `json:"duration_ms"`
	}
}

// lastFile waits for n messages with files in the lobby and returns them.
func (h *house) filesOf(n int) []fileBody {
	h.t.Helper()
	var out []fileBody
	eventually(h.t, fmt.Sprint(n, " files in the log"), func() bool {
		out = nil
		for _, e := range h.history(lobby) {
			var b fileBody
			e.bodyInto(h.t, &b)
			if b.File.ID != "" {
				out = append(out, b)
			}
		}
		return len(out) >= n
	})
	if len(out) != n {
		h.t.Fatalf("%d files in the log, want %d", len(out), n)
	}
	return out
}

// content is a file as the server gives it.
func (h *house) content(id string) []byte {
	h.t.Helper()
	r, err := http.Get(h.url + "/files/" + id + "/x")
	if err != nil {
		h.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		h.t.Fatalf("%d, %v", r.StatusCode, err)
	}
	return b
}

// fileThroughNginx: behind the proxy that a panel sets up, whose requests may
// have 1 MB, the page is https, talks and sends what is larger.
func fileThroughNginx(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0", "--ping-every=2s")
	n := startNginx(t, h.host(), h.host())
	large := noisyPNG(t, 1200, 800)
	if len(large) < 2<<20 {
		t.Fatalf("the picture has only %d bytes", len(large))
	}
	p := blankTab(t, chromium, "alice", phoneWidth, phoneHeight)
	devtools(p, "trust the proxy", security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
	p.comeIn("https://" + n.secure + "/#room=lobby")
	p.chooses(onDisk(t, "view.png", large))
	p.click("#send")
	p.until("it is a message", `document.querySelector('.msg.own[data-seq] .pic img') && !document.querySelector('.upload')`)
	if got := h.content(h.filesOf(1)[0].File.ID); !bytes.Equal(got, large) {
		t.Errorf("%d bytes arrived of %d", len(got), len(large))
	}
	p.do("come again", chromedp.Reload())
	p.until("the picture by way of the proxy", `(i => i && i.complete && i.naturalWidth === 640)(document.querySelector('.msg .pic img'))`)
	p.state("live")
	p.until("it is connected by the first socket", `window.earlySocket === null && isSecureContext`)
}

func filesChosen(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	large := noisyPNG(t, 900, 600)
	small := noisyPNG(t, 40, 30)
	note := []byte("just a text, but named as a page")
	alice := visit(t, chromium, h.url+"/", "alice")
	bob := visitAt(t, chromium, h.url+"/#room=lobby", "bob", phoneWidth, phoneHeight)
	alice.chooses(onDisk(t, "view 茶.png", large), onDisk(t, "dot.png", small), onDisk(t, "page<b>.html", note))
	alice.until("the picture is shown small, and its size", `document.querySelector('#tray img') && document.querySelector('#tray .tile-size').textContent === '1.6 MB'`)
	alice.do("write", chromedp.SendKeys(chromedp.CSS("#composer"), "the view"))
	alice.shoot("tray-1280")
	alice.click("#send")
	bob.until("two pictures and a file", `document.querySelectorAll('.msg .pic img').length === 2 && document.querySelectorAll('.msg a.card-file').length === 1`)
	alice.until("they are messages", `document.querySelectorAll('.msg.own[data-seq]').length === 3 && !document.querySelector('.upload')`)
	files := map[string]fileBody{}
	var order []string
	for _, f := range h.filesOf(3) {
		files[f.File.Name] = f
		order = append(order, f.File.Name)
	}
	same(t, "the order", order, "view 茶.png", "dot.png", "page<b>.html")
	view := files["view 茶.png"]
	if view.Text != "the view" || view.File.Width != 900 || view.File.Height != 600 || view.File.Thumb == "" || view.File.Type != "image/png" || view.File.Size != int64(len(large)) {
		t.Errorf("the picture: %+v", view)
	}
	if !bytes.Equal(h.content(view.File.ID), large) {
		t.Error("the picture is not what was sent")
	}
	if thumb := h.content(view.File.Thumb); len(thumb) >= len(large)/2 {
		t.Errorf("the small picture has %d bytes of %d", len(thumb), len(large))
	}
	if dot := files["dot.png"]; dot.File.Thumb != "" || dot.File.Width != 40 || dot.Text != "dot.png" {
		t.Errorf("the tiny picture: %+v", dot)
	}
	bob.until("the picture has its place, and is the small one", `(() => {
		const i = [...document.querySelectorAll('.msg .pic img')].find(i => i.alt.startsWith('view'))
		return i.complete && i.naturalWidth === 640 && i.getAttribute('src').includes('`+view.File.Thumb+`') && i.width === 280 && Math.abs(i.height - 187) < 2
	})()`)
	bob.shoot("pictures-390")
	alice.shoot("pictures-1280")
	// Large, and back by the keyboard.
	bob.tap(`.pic[aria-label*="view"]`)
	bob.until("the picture in full", `document.querySelector('#viewer img').complete && document.querySelector('#viewer img').naturalWidth === 900 && document.querySelector('#viewer a[download]').getAttribute('href').includes('`+view.File.ID+`')`)
	bob.shoot("viewer-390")
	bob.key(kb.Escape)
	bob.until("closed, and the focus is back", `!document.querySelector('#viewer') && document.activeElement.classList.contains('pic')`)
	if href := eval[string](bob, `document.querySelector('a.card-file').getAttribute('href')`); !strings.HasPrefix(href, "/files/"+files["page<b>.html"].File.ID+"/") {
		t.Errorf("the file is at %q", href)
	}
}

func filesPasted(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	p := visit(t, chromium, h.url+"/", "alice")
	const file = `await (async () => {
		const c = document.createElement('canvas')
		c.width = 300; c.height = 200
		c.getContext('2d').fillRect(10, 10, 100, 100)
		const data = new DataTransfer()
		data.items.add(new File([await new Promise(r => c.toBlob(r, 'image/png'))], 'image.png', {type: 'image/png'}))
		return data
	})()`
	eval[bool](p, `(async () => {
		const data = `+file+`
		const paste = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})
		return !document.querySelector('#composer').dispatchEvent(paste)
	})()`, chromedp.EvalAwaitPromise)
	p.until("the pasted picture", `document.querySelectorAll('#tray .tile img').length === 1`)
	eval[bool](p, `(async () => {
		const data = `+file+`
		const talk = document.querySelector('#talk')
		talk.dispatchEvent(new DragEvent('dragenter', {dataTransfer: data, bubbles: true, cancelable: true}))
		return talk.dispatchEvent(new DragEvent('dragover', {dataTransfer: data, bubbles: true, cancelable: true}))
	})()`, chromedp.EvalAwaitPromise)
	p.until("the place to drop it", `!document.querySelector('#drop').hidden`)
	p.shoot("drop-1280")
	eval[bool](p, `(async () => {
		const data = `+file+`
		return document.querySelector('#messages').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}))
	})()`, chromedp.EvalAwaitPromise)
	p.until("the dropped one", `document.querySelector('#drop').hidden && document.querySelectorAll('#tray .tile img').length === 2`)
	// One is taken out again, by the keyboard.
	p.do("take the first out", chromedp.Focus(chromedp.CSS("#tray .tile-remove")))
	p.key(kb.Enter)
	p.until("one is left", `document.querySelectorAll('#tray .tile').length === 1`)
	p.key(kb.Enter)
	if f := h.filesOf(1)[0]; f.File.Width != 300 || f.File.Height != 200 {
		t.Errorf("the picture: %+v", f)
	}
	// What an office program puts in besides its text is not meant.
	eval[bool](p, `(async () => {
		const data = `+file+`
		data.setData('text/plain', 'cells')
		return document.querySelector('#composer').dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true}))
	})()`, chromedp.EvalAwaitPromise)
	p.until("no picture of a text", `document.querySelector('#tray').hidden`)
}

// photoOnItsSide: a camera's photo says by EXIF how to turn it. It is sent where
// a token is needed.
func photoOnItsSide(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--auth=token")
	random := rand.New(rand.NewPCG(1, 2))
	m := image.NewRGBA(image.Rect(0, 0, 600, 300))
	for y := range 300 {
		for x := range 600 {
			noise := uint8(random.Uint32() % 90)
			c := color.RGBA{200 - noise, noise, noise, 255} // red at the left
			if x >= 300 {
				c.R, c.B = c.B, c.R // blue at the right
			}
			m.SetRGBA(x, y, c)
		}
	}
	var plain bytes.Buffer
	if err := jpeg.Encode(&plain, m, &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	// After the JPEG's start an APP1 segment: a TIFF directory of one entry, orientation 6 (the left side is the top).
	tiff := "MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
	exif := "Exif\x00\x00" + tiff
	photo := append([]byte("\xff\xd8\xff\xe1"), byte((len(exif)+2)>>8), byte(len(exif)+2))
	photo = append(append(photo, exif...), plain.Bytes()[2:]...)

	p := blankTab(t, chromium, "alice", phoneWidth, phoneHeight)
	p.do("come in", chromedp.Navigate(h.url+"/#room=lobby&token="+h.token("alice")))
	p.state("live")
	p.tap("#attach")
	p.until("where a phone takes files from", `[...document.querySelectorAll('#menu [role=menuitem]')].map(n => n.textContent).join() === 'Pictures,Camera,File' &&
		document.querySelector('#pick-camera').getAttribute('capture') === 'environment'`)
	p.key(kb.Escape)
	p.chooses(onDisk(t, "photo.jpg", photo))
	p.tap("#send")
	f := h.filesOf(1)[0]
	if f.File.Width != 300 || f.File.Height != 600 || f.File.Type != "image/jpeg" {
		t.Errorf("the photo: %+v", f)
	}
	small, err := jpeg.Decode(bytes.NewReader(h.content(f.File.Thumb)))
	if err != nil {
		t.Fatal(err)
	}
	if size := small.Bounds().Size(); size != image.Pt(300, 600) {
		t.Errorf("the small one is %v", size)
	}
	top, _, _, _ := small.At(150, 100).RGBA()
	_, _, bottom, _ := small.At(150, 500).RGBA()
	if top < 0x7000 || bottom < 0x7000 {
		t.Errorf("the top's red is %x, the bottom's blue %x", top, bottom)
	}
	p.until("it is shown upright", `(() => { const i = document.querySelector('.msg[data-seq] .pic img'); return i && i.complete && i.naturalHeight === 600 })()`)
	p.shoot("photo-390")
}

func filesTooLarge(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--max-upload=100kB")
	p := visitAt(t, chromium, h.url+"/#room=lobby", "alice", phoneWidth, phoneHeight)
	p.do("choose", chromedp.SetUploadFiles(chromedp.CSS("#pick-file"), []string{
		onDisk(t, "big.bin", make([]byte, 100_001)), onDisk(t, "ok.txt", []byte("fits")), onDisk(t, "empty.txt", nil),
	}, chromedp.NodeReady))
	p.until("what fits is taken, and the rest is named with the reason", `document.querySelectorAll('#tray .tile').length === 1 &&
		document.querySelector('#composer-error').textContent === '“big.bin” is too large: 100 kB. A file may have 100 kB.\n“empty.txt” is empty.'`)
	p.shoot("toolarge-390")
}

// fileOverRestart: the server is killed in the middle of an upload and comes
// back; what had arrived is not sent again, and the message comes once.
func fileOverRestart(t *testing.T, chromium context.Context) {
	dir, addr := t.TempDir(), freePort(t)
	h := spawn(t, dir, "--addr="+addr)
	content := noisyPNG(t, 1100, 800) // 2.6 MB, in 6 pieces
	p := visit(t, chromium, h.url+"/", "alice")
	p.chooses(onDisk(t, "long.png", content))
	p.holdsAfter(4)
	p.click("#send")
	p.until("more than half is there", `document.querySelector('.upload progress') && document.querySelector('.upload progress').value > 0.5`)
	p.shoot("uploading-1280")
	h.kill()
	p.letGo()
	p.until("it waits for the network", `document.querySelector('[data-upload=offline]')`)
	p.shoot("upload-offline-1280")
	if part := eval[float64](p, `document.querySelector('.upload progress').value`); part < 0.5 {
		t.Errorf("it forgot what was sent: %v", part)
	}
	eval[bool](p, `(window.sent = [], true)`)
	h = spawn(t, dir, "--addr="+addr)
	f := h.filesOf(1)[0]
	if !bytes.Equal(h.content(f.File.ID), content) || f.File.Name != "long.png" {
		t.Errorf("what came: %+v", f)
	}
	p.until("it is a message", `document.querySelectorAll('.msg.own[data-seq] .pic').length === 1 && !document.querySelector('.upload')`)
	// The thumb is in it as well, so the bound is generous.
	if again := eval[float64](p, `window.sent.reduce((a, b) => a + b, 0)`); again > 0.75*float64(len(content)) {
		t.Errorf("%.0f of %d bytes were sent after the restart", again, len(content))
	}
}

// fileOverReload: the page is reloaded in the middle of an upload.
func fileOverReload(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	content := noisyPNG(t, 1100, 800)
	p := visit(t, chromium, h.url+"/", "alice")
	p.chooses(onDisk(t, "long.png", content))
	p.do("write", chromedp.SendKeys(chromedp.CSS("#composer"), "caption"))
	p.holdsAfter(3)
	p.click("#send")
	p.until("some is there", `document.querySelector('.upload progress') && document.querySelector('.upload progress').value > 0.3`)
	p.do("reload", chromedp.Reload())
	p.state("live")
	p.until("it goes on, and says so", `document.querySelector('.upload progress, .msg.own[data-seq]')`)
	f := h.filesOf(1)[0]
	if f.Text != "caption" || !bytes.Equal(h.content(f.File.ID), content) {
		t.Errorf("what came: %+v", f)
	}
	p.until("it is a message", `document.querySelectorAll('.msg.own[data-seq] .pic').length === 1 && !document.querySelector('.upload')`)
	p.do("reload", chromedp.Reload())
	p.state("live")
	p.until("and still one", `document.querySelectorAll('.msg.own[data-seq] .pic').length === 1 && !document.querySelector('.upload')`)
	h.filesOf(1)
}

func fileCancelled(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	p := visit(t, chromium, h.url+"/", "alice")
	p.chooses(onDisk(t, "long.png", noisyPNG(t, 1100, 800)))
	p.do("write", chromedp.SendKeys(chromedp.CSS("#composer"), "caption"))
	p.holdsAfter(2)
	p.click("#send")
	p.until("some is there", `document.querySelector('.upload progress') && document.querySelector('.upload progress').value > 0.2`)
	p.click(".upload-cancel")
	p.until("it is gone, and its caption is back", `!document.querySelector('[data-message]') && document.querySelector('#composer').value === 'caption'`)
	p.write(" alone")
	p.sees("caption alone")
	p.do("reload", chromedp.Reload())
	p.state("live")
	p.sees("caption alone")
}

// fileNoRoom: the server has no room for it. The reason is told, and it can be
// tried again or given up.
func fileNoRoom(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--max-upload=100kB", "--files-quota=100kB")
	p := visitAt(t, chromium, h.url+"/#room=lobby", "alice", phoneWidth, phoneHeight)
	p.chooses(onDisk(t, "first.bin", make([]byte, 60_000)))
	p.click("#send")
	h.filesOf(1)
	other := append([]byte("another"), make([]byte, 60_000)...) // the same content would need no room
	p.chooses(onDisk(t, "second.bin", other))
	p.click("#send")
	const failed = `document.querySelector('[data-status=failed] .meta') && document.querySelector('[data-status=failed] .meta').textContent.includes('no room')`
	p.until("the reason", failed)
	p.shoot("upload-failed-390")
	p.tap("[data-act=retry]")
	p.until("it is tried, and refused again", failed)
	p.tap("[data-act=discard]")
	p.until("it is gone", `document.querySelectorAll('[data-message]').length === 1`)
}

// voiceMessage records what the browser's own test microphone hums.
func voiceMessage(t *testing.T, chromium context.Context) {
	h := open(t, t.TempDir(), "--send-rate=0")
	alice := visit(t, chromium, h.url+"/", "alice")
	bob := visitAt(t, chromium, h.url+"/#room=lobby", "bob", phoneWidth, phoneHeight)
	alice.click("#record")
	alice.until("it records, and hears something", `document.querySelector('.record-time') && document.querySelector('.record-time').textContent !== '0:00' && parseFloat(document.querySelector('.record-level span').style.width) > 0`)
	alice.shoot("recording-1280")
	alice.key(kb.Escape)
	alice.until("it is cancelled", `document.querySelector('#recorder').hidden && document.activeElement.id === 'record'`)
	alice.click("#record")
	alice.until("it records", `document.querySelector('.record-time') && document.querySelector('.record-time').textContent !== '0:00'`)
	alice.click(".record-stop")
	alice.until("it can be listened to", `document.querySelector('#recorder .voice-play')`)
	alice.shoot("listen-1280")
	alice.click("#recorder .record-send")
	f := h.filesOf(1)[0]
	if f.File.Duration < 900 || f.File.Duration > 60_000 || !strings.HasPrefix(f.File.Type, "audio/") {
		t.Errorf("the voice message: %+v", f)
	}
	bob.until("it came", `document.querySelector('.msg .voice-play')`)
	bob.tap(".msg .voice-play")
	bob.until("it plays, or has played", `document.querySelector('.voice.on') || parseFloat(document.querySelector('.voice-bar span').style.width) > 0`)
	bob.shoot("voice-390")
	if note := eval[bool](bob, `document.querySelector('.voice-note').hidden`); !note {
		t.Error("the browser could not play what it recorded")
	}
}
