package api_test

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"teahouse/chat"
	"teahouse/chat/api"
)

const png = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"

// Whatever was uploaded under whatever name: nothing of it is run or sniffed,
// only what is an image, audio or video by its content is shown, and the
// headers say the name and nothing else.
func TestHostileFiles(t *testing.T) {
	t.Parallel()
	h, _ := withFiles(t)
	h.opts.Uploads.Max = 100_000
	h.restart()
	const script = "<script>alert(document.domain)</script>"
	for _, c := range []struct {
		what, name, declared, content string
		serves, calls                 string // type, and name in the headers
	}{
		{"an svg with a script", "logo.svg", "image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">` + script + `</svg>`, chat.PlainFile, "logo.svg"},
		{"an svg called png", "logo.png", "image/png", `<svg xmlns="http://www.w3.org/2000/svg">` + script + `</svg>`, chat.PlainFile, "logo.png"},
		{"a page called png", "cat.png", "image/png", "<!DOCTYPE html>" + script, chat.PlainFile, "cat.png"},
		{"a page", "index.html", "text/html", "<html>" + script, chat.PlainFile, "index.html"},
		{"a script", "x.js", "text/javascript", "alert(1)", chat.PlainFile, "x.js"},
		{"an image that is a page, too", "cat.html", "text/html", png + script, "image/png", "cat.html"},
		{"a gif that is a script, too", "cat.js", "text/javascript", "GIF89a/*\x00\x00\x00\x00*/=1;alert(1)//", "image/gif", "cat.js"},
		{"a jpeg that is an archive, too", "a.jar", "application/java-archive", "\xff\xd8\xff\xe0\x00\x10JFIFPK\x03\x04", "image/jpeg", "a.jar"},
		{"a pdf", "a.pdf", "application/pdf", "%PDF-1.7 /JS (app.alert(1))", chat.PlainFile, "a.pdf"},
		{"an xml style sheet", "a.xml", "text/xml", `<?xml version="1.0"?><?xml-stylesheet href="x"?><a/>`, chat.PlainFile, "a.xml"},
		{"a type that ends the header", "a.png", "image/png\r\nX-Evil: 1", png, "image/png", "a.png"},
		{"a name with quotes", `a"; filename="b.exe`, "", "x", chat.PlainFile, `a"; filename="b.exe`},
		{"a name with lines", "a\r\nX-Evil: 1\r\n\r\n<script>.png", "", png, "image/png", "a  X-Evil: 1    <script>.png"},
		{"a name that turns round", "photo\u202egnp.exe", "", "MZ", chat.PlainFile, "photognp.exe"},
		{"a name with folders", "../../../etc/passwd", "", "x", chat.PlainFile, "passwd"},
		{"a name with other folders", `..\..\windows\win.ini`, "", "x", chat.PlainFile, "win.ini"},
		{"a name of nothing", "..", "", "x", chat.PlainFile, "file"},
		{"a name with escapes", "%2e%2e%2f%00a%0d%0aX-Evil.txt", "", "x", chat.PlainFile, "2e%2e%2f%00a%0d%0aX-Evil.txt"},
		{"a long name", strings.Repeat("茶", 10_000) + ".png", "", png, "image/png", ""},
		{"a name in Chinese with an emoji", "会议 记录 🍵.txt", "", "x", chat.PlainFile, "会议 记录 🍵.txt"},
	} {
		var f api.FileInfo
		h.tus("POST", "/api/v1/uploads", c.content, "Upload-Length", strconv.Itoa(len(c.content)), "Upload-Metadata", metadata(c.name, c.declared),
			"Content-Type", "application/offset+octet-stream").ok(201, &f)
		if f.Type != c.serves {
			t.Errorf("%s is %s, want %s", c.what, f.Type, c.serves)
		}
		for _, target := range []string{f.URL, "/files/" + f.ID + "/x.html", "/files/" + f.ID, f.URL + "?download"} {
			r := h.ask("GET", target, "", "Authorization", "").ok(200, nil)
			if r.Body.String() != c.content {
				t.Errorf("%s: the content is another", c.what)
			}
			head := r.Header()
			for name, want := range map[string]string{
				"Content-Type": c.serves, "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "cross-origin", "X-Evil": "",
				"Content-Security-Policy": "default-src 'none'; img-src 'self'; media-src 'self'; frame-ancestors 'none'; sandbox",
			} {
				if got := strings.Join(head.Values(name), "|"); got != want {
					t.Errorf("%s: %s is %q, want %q", c.what, name, got, want)
				}
			}
			raw := head.Get("Content-Disposition")
			kind, params, err := mime.ParseMediaType(raw)
			want := "inline"
			if c.serves == chat.PlainFile || strings.HasSuffix(target, "?download") {
				want = "attachment"
			}
			if err != nil || kind != want {
				t.Errorf("%s: Content-Disposition %q: %s, %v; want %s", c.what, raw, kind, err, want)
			}
			if c.calls != "" && !strings.HasPrefix(c.what, "a name with escapes") && params["filename"] != c.calls {
				t.Errorf("%s: saved as %q, want %q (%q)", c.what, params["filename"], c.calls, raw)
			}
			if len(raw) > 1200 || strings.ContainsFunc(raw, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
				t.Errorf("%s: Content-Disposition %q", c.what, raw)
			}
		}
	}
}

func TestFileRanges(t *testing.T) {
	t.Parallel()
	h, _ := withFiles(t)
	f := h.kept("a.txt", "0123456789")
	tag := h.ask("GET", f.URL, "").ok(200, nil).Header().Get("ETag")
	for _, c := range []struct {
		ask, want, body string
		status          int
	}{
		{"bytes=0-3", "bytes 0-3/10", "0123", 206},
		{"bytes=4-", "bytes 4-9/10", "456789", 206},
		{"bytes=-2", "bytes 8-9/10", "89", 206},
		{"bytes=9-100", "bytes 9-9/10", "9", 206},
		{"bytes=10-", "bytes */10", "", 416},
		{"bytes=x", "", "", 416},
		{"lines=1-2", "", "", 416},
		{"bytes=0-9,0-9,0-9", "", "0123456789", 200}, // more than all of it: all of it, once
	} {
		r := h.ask("GET", f.URL, "", "Range", c.ask).ok(c.status, nil)
		equal(t, c.ask, r.Header().Get("Content-Range"), c.want)
		if c.body != "" {
			equal(t, c.ask, r.Body.String(), c.body)
		}
		equal(t, "nosniff", r.Header().Get("X-Content-Type-Options"), "nosniff")
	}
	two := h.ask("GET", f.URL, "", "Range", "bytes=0-0,9-9").ok(206, nil)
	if kind, _, _ := mime.ParseMediaType(two.Header().Get("Content-Type")); kind != "multipart/byteranges" {
		t.Errorf("two ranges are a %s", kind)
	}
	r := h.ask("HEAD", f.URL, "").ok(200, nil)
	equal(t, "length", r.Header().Get("Content-Length"), "10")
	equal(t, "body", r.Body.Len(), 0)
	h.ask("GET", f.URL, "", "If-None-Match", tag).ok(304, nil)
	equal(t, "a range of another content", h.ask("GET", f.URL, "", "Range", "bytes=0-3", "If-Range", `"other"`).ok(200, nil).Body.String(), "0123456789")
	h.ask("GET", f.URL, "", "Range", "bytes=0-3", "If-Range", tag).ok(206, nil)
	if got := r.Header().Get("Cache-Control"); !strings.HasPrefix(got, "private, max-age=") {
		t.Errorf("Cache-Control: %s", got)
	}
}

func TestFileAddresses(t *testing.T) {
	t.Parallel()
	h, _ := withFiles(t)
	f := h.kept("a.txt", "hello")
	for _, target := range []string{"/files/", "/files/x", "/files/" + strings.ToUpper(f.ID) + "/a.txt", "/files/" + chat.NewFileID() + "/a.txt"} {
		r := h.ask("GET", target, "")
		r.problem(404, chat.CodeFileUnknown)
		equal(t, "cache of "+target, r.Header().Get("Cache-Control"), "no-store")
	}
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		r := h.ask(method, f.URL, "x")
		r.problem(http.StatusMethodNotAllowed, chat.CodeBadRequest)
		equal(t, "allow", r.Header().Get("Allow"), "GET, HEAD")
	}
	r := h.ask("OPTIONS", f.URL, "", "Origin", "https://shop.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "range").ok(204, nil)
	if !strings.Contains(r.Header().Get("Access-Control-Allow-Headers"), "Range") || r.Header().Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("a page may not ask for ranges: %v", r.Header())
	}
}
