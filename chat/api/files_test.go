package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"teahouse/chat"
	"teahouse/chat/api"
	"teahouse/db"
)

const (
	maxFile = 1000
	quota   = 100_000
)

// withFiles gives a house files, kept by the real store.
func withFiles(t *testing.T, change ...func(*db.Options, *api.FileOptions)) (*house, *db.Store) {
	t.Helper()
	h := newHouse(t)
	o := db.Options{Dir: t.TempDir(), Durability: db.Normal, Clock: h.clock.now, FilesQuota: quota, FilesReserve: -1, PruneEvery: -1, Logger: slog.New(slog.DiscardHandler)}
	h.opts.Uploads = api.FileOptions{Max: maxFile, Quota: quota, CheckOrigin: chat.LocalOrigins("https://shop.example")}
	for _, f := range change {
		f(&o, &h.opts.Uploads)
	}
	store, err := db.Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	h.opts.Files = store
	h.restart()
	return h, store
}

func metadata(name, kind string) string {
	return "filename " + base64.StdEncoding.EncodeToString([]byte(name)) + ",filetype " + base64.StdEncoding.EncodeToString([]byte(kind))
}

// tus is ask for anybody, with what every request of the protocol has.
func (h *house) tus(method, target, body string, header ...string) *reply {
	h.t.Helper()
	if method == "PATCH" {
		header = append([]string{"Content-Type", "application/offset+octet-stream"}, header...)
	}
	return h.ask(method, target, body, append([]string{"Authorization", "", "Tus-Resumable", "1.0.0"}, header...)...)
}

// begun begins an upload of so many bytes and returns where it is.
func (h *house) begun(size int, header ...string) string {
	h.t.Helper()
	r := h.tus("POST", "/api/v1/uploads", "", append([]string{"Upload-Length", strconv.Itoa(size), "Upload-Metadata", metadata("a.txt", "")}, header...)...).ok(201, nil)
	at := r.Header().Get("Location")
	if !strings.HasPrefix(at, "/api/v1/uploads/") || !chat.ValidFileID(path.Base(at)) {
		h.t.Fatalf("Location: %q", at)
	}
	return at
}

// form makes a form with one file.
func form(name, kind, content string) (body, header string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	_ = w.WriteField("note", "a field before the file")
	head := textproto.MIMEHeader{}
	head.Set("Content-Disposition", mime.FormatMediaType("form-data", map[string]string{"name": "file", "filename": name}))
	head.Set("Content-Type", kind)
	part, _ := w.CreatePart(head)
	_, _ = io.WriteString(part, content)
	_ = w.Close()
	return b.String(), w.FormDataContentType()
}

// posted uploads a file in one piece.
func (h *house) posted(name, kind, content string, header ...string) *reply {
	h.t.Helper()
	body, formType := form(name, kind, content)
	return h.ask("POST", "/api/v1/files", body, append([]string{"Authorization", "", "Content-Type", formType}, header...)...)
}

// kept is posted for what must be taken.
func (h *house) kept(name, content string, header ...string) (f api.FileInfo) {
	h.t.Helper()
	h.posted(name, "", content, header...).ok(201, &f)
	return f
}

// nothingLeft checks that refused uploads left no bytes behind.
func nothingLeft(t *testing.T, s *db.Store, h *house, files int64) {
	t.Helper()
	totals, err := s.FileTotals(t.Context())
	must(t, err)
	if totals.Uploads != 0 || totals.UploadBytes != 0 || totals.Files != files {
		t.Errorf("totals %+v, want %d files", totals, files)
	}
}

func TestTusByHand(t *testing.T) {
	t.Parallel()
	h, store := withFiles(t)
	at := h.begun(10)
	id := path.Base(at)
	r := h.tus("PATCH", at, "hello", "Upload-Offset", "0").ok(204, nil)
	equal(t, "offset", r.Header().Get("Upload-Offset"), "5")
	r = h.tus("HEAD", at, "").ok(200, nil)
	equal(t, "offset", r.Header().Get("Upload-Offset"), "5")
	equal(t, "length", r.Header().Get("Upload-Length"), "10")
	equal(t, "cache", r.Header().Get("Cache-Control"), "no-store")
	h.ask("GET", "/api/v1/files/"+id, "", "Authorization", "").problem(404, chat.CodeFileUnknown)
	h.tus("PATCH", at, "hello", "Upload-Offset", "4").problem(409, chat.CodeUploadOffset)
	h.tus("PATCH", at, "hello", "Upload-Offset", "x").problem(400, chat.CodeBadRequest)
	h.tus("PATCH", at, "hello", "Upload-Offset", "5", "Content-Type", "text/plain").problem(400, chat.CodeBadRequest)
	h.tus("PATCH", at, "hello!", "Upload-Offset", "5").problem(413, chat.CodeFileTooLarge)
	h.tus("PATCH", at, "hello", "Upload-Offset", "5", "Tus-Resumable", "0.9").problem(412, chat.CodeBadRequest)
	h.tus("GET", at, "").problem(405, chat.CodeBadRequest)
	equal(t, "offset", h.tus("HEAD", at, "").Header().Get("Upload-Offset"), "5")
	var f, again api.FileInfo
	h.tus("PATCH", at, "world", "Upload-Offset", "5").ok(200, &f)
	equal(t, "file", f, api.FileInfo{ID: id, Name: "a.txt", Type: chat.PlainFile, Size: 10, URL: "/files/" + id + "/a.txt"})
	// The last answer may be lost: all that is asked afterwards agrees.
	equal(t, "offset", h.tus("HEAD", at, "").ok(200, nil).Header().Get("Upload-Offset"), "10")
	h.tus("PATCH", at, "", "Upload-Offset", "10").ok(204, nil)
	h.ask("GET", "/api/v1/files/"+id, "", "Authorization", "").ok(200, &again)
	equal(t, "file", again, f)
	equal(t, "content", h.ask("GET", f.URL, "").ok(200, nil).Body.String(), "helloworld")

	h.tus("POST", "/api/v1/uploads", "", "Upload-Length", strconv.Itoa(maxFile+1)).problem(413, chat.CodeFileTooLarge)
	h.tus("POST", "/api/v1/uploads", "", "Upload-Length", "-1").problem(400, chat.CodeBadRequest)
	h.tus("POST", "/api/v1/uploads", "").problem(400, chat.CodeBadRequest)
	h.tus("POST", "/api/v1/uploads", "", "Upload-Defer-Length", "1").problem(501, chat.CodeBadRequest)
	h.tus("PUT", "/api/v1/uploads", "").problem(405, chat.CodeBadRequest)
	h.tus("PATCH", "/api/v1/uploads/"+chat.NewFileID(), "x", "Upload-Offset", "0").problem(404, chat.CodeUploadUnknown)
	h.tus("PATCH", "/api/v1/uploads/../../x", "x", "Upload-Offset", "0")
	h.tus("PATCH", "/api/v1/uploads/short", "x", "Upload-Offset", "0").problem(404, chat.CodeUploadUnknown)
	h.tus("HEAD", "/api/v1/uploads/"+chat.NewFileID(), "").ok(404, nil)

	// All in one request, nothing at all, and as an old proxy passes it on.
	h.tus("POST", "/api/v1/uploads", "12345", "Upload-Length", "5", "Content-Type", "application/offset+octet-stream").ok(201, &f)
	equal(t, "content", h.ask("GET", f.URL, "").ok(200, nil).Body.String(), "12345")
	h.tus("POST", "/api/v1/uploads", "", "Upload-Length", "0").ok(201, &f)
	equal(t, "size", f.Size, 0)
	at = h.begun(3)
	h.tus("POST", at, "abc", "X-HTTP-Method-Override", "PATCH", "Upload-Offset", "0", "Content-Type", "application/offset+octet-stream").ok(200, &f)
	equal(t, "content", h.ask("GET", f.URL, "").ok(200, nil).Body.String(), "abc")

	// Cancelled, in the middle and at the end.
	at = h.begun(10)
	h.tus("PATCH", at, "hello", "Upload-Offset", "0").ok(204, nil)
	h.tus("DELETE", at, "").ok(204, nil)
	h.tus("HEAD", at, "").ok(404, nil)
	h.tus("DELETE", at, "").problem(404, chat.CodeUploadUnknown)
	at = h.begun(3)
	h.tus("PATCH", at, "xyz", "Upload-Offset", "0").ok(200, &f)
	h.tus("DELETE", at, "").ok(204, nil)
	h.ask("GET", f.URL, "").problem(404, chat.CodeFileUnknown)
	nothingLeft(t, store, h, 4)

	r = h.tus("OPTIONS", "/api/v1/uploads", "").ok(200, nil)
	equal(t, "limit", r.Header().Get("Tus-Max-Size"), strconv.Itoa(maxFile))
	equal(t, "extensions", r.Header().Get("Tus-Extension"), "creation,creation-with-upload,termination")
	if log := h.log.String(); strings.Contains(log, id) {
		t.Errorf("the log has a file's id: %s", log)
	}
}

func TestUploadInOnePiece(t *testing.T) {
	t.Parallel()
	h, store := withFiles(t)
	var f api.FileInfo
	r := h.posted("茶.txt", "text/plain", "hello").ok(201, &f)
	equal(t, "location", r.Header().Get("Location"), "/api/v1/files/"+f.ID)
	equal(t, "name", f.Name, "茶.txt")
	equal(t, "content", h.ask("GET", f.URL, "").ok(200, nil).Body.String(), "hello")
	h.posted("empty", "", "").ok(201, &f)
	h.posted("most", "", strings.Repeat("x", maxFile)).ok(201, &f)
	equal(t, "size", f.Size, maxFile)
	h.posted("more", "", strings.Repeat("x", maxFile+1)).problem(413, chat.CodeFileTooLarge)
	h.posted("much more", "", strings.Repeat("x", 2<<20)).problem(413, chat.CodeFileTooLarge)
	h.ask("POST", "/api/v1/files", "{}", "Content-Type", "application/json").problem(400, chat.CodeBadRequest)
	body, kind := form("cut.txt", "", "hello")
	h.ask("POST", "/api/v1/files", body[:len(body)-10], "Content-Type", kind).problem(400, chat.CodeBadRequest)
	h.ask("POST", "/api/v1/files", body[:strings.Index(body, "hello")+2], "Content-Type", kind).problem(400, chat.CodeBadRequest)
	h.ask("POST", "/api/v1/files", "--"+strings.SplitN(kind, "boundary=", 2)[1]+"--\r\n", "Content-Type", kind).problem(400, chat.CodeBadRequest)
	nothingLeft(t, store, h, 3)
}

// In open mode those may upload whose pages may open the WebSocket.
func TestWhoMayUploadInOpenMode(t *testing.T) {
	t.Parallel()
	h, _ := withFiles(t)
	for origin, ok := range map[string]bool{
		"": true, "http://example.com": true /* the request's own host */, "http://192.168.1.7:8040": true, "http://localhost:3000": true,
		"https://shop.example": true, "https://servicewechat.com": true,
		"https://evil.example": false, "https://shop.example.evil.example": false, "http://8.8.8.8": false,
	} {
		for what, r := range map[string]*reply{
			"tus":  h.tus("POST", "/api/v1/uploads", "", "Upload-Length", "1", "Origin", origin),
			"form": h.posted("a", "", "x", "Origin", origin),
		} {
			if ok {
				r.ok(201, nil)
			} else if p := r.problem(403, chat.CodeForbidden); !strings.Contains(p.Detail, "--allow-origin") {
				t.Errorf("%s: %s", what, p.Detail)
			}
		}
	}
	f := h.kept("a", "x")
	h.ask("DELETE", "/api/v1/files/"+f.ID, "", "Authorization", "", "Origin", "https://evil.example").problem(403, chat.CodeForbidden)
	// Who proves who it is may come from anywhere.
	h.posted("a", "", "x", "Origin", "https://evil.example", "Authorization", "Bearer "+testKey).ok(201, nil)
	h.posted("a", "", "x", "Authorization", "Bearer wrong").problem(401, chat.CodeUnauthorized)
	// A browser asks first; it is told what it may send and read.
	for _, at := range []string{"/api/v1/uploads", "/api/v1/uploads/" + chat.NewFileID(), "/api/v1/files", "/api/v1/files/" + f.ID} {
		r := h.ask("OPTIONS", at, "", "Authorization", "", "Origin", "https://shop.example", "Access-Control-Request-Method", "PATCH").ok(204, nil)
		for name, wants := range map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "Upload-Offset", "Access-Control-Expose-Headers": "Location"} {
			if got := r.Header().Get(name); !strings.Contains(got, wants) {
				t.Errorf("%s: %s is %q", at, name, got)
			}
		}
		if r.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: a browser may send its cookies", at)
		}
	}
}

func TestWhoMayUploadWithTokens(t *testing.T) {
	t.Parallel()
	h, _ := withFiles(t, func(_ *db.Options, o *api.FileOptions) { o.Tokens = true })
	h.begunRefused(401, chat.CodeUnauthorized)
	h.posted("a", "", "x").problem(401, chat.CodeUnauthorized)
	alice, bob := h.bearer("alice"), h.bearer("bob")
	at := h.begun(4, "Authorization", alice, "Origin", "https://evil.example")
	h.tus("PATCH", at, "ab", "Upload-Offset", "0", "Authorization", alice).ok(204, nil)
	// Another one, who learnt the id, cannot go on, look or cancel.
	h.tus("PATCH", at, "xx", "Upload-Offset", "2", "Authorization", bob).problem(404, chat.CodeUploadUnknown)
	h.tus("HEAD", at, "", "Authorization", bob).ok(404, nil)
	h.tus("DELETE", at, "", "Authorization", bob).problem(404, chat.CodeUploadUnknown)
	h.tus("HEAD", at, "").ok(401, nil)
	var f api.FileInfo
	h.tus("PATCH", at, "cd", "Upload-Offset", "2", "Authorization", alice).ok(200, &f)
	equal(t, "content", h.ask("GET", f.URL, "", "Authorization", "").ok(200, nil).Body.String(), "abcd")
	h.ask("DELETE", "/api/v1/files/"+f.ID, "", "Authorization", bob).problem(403, chat.CodeForbidden)
	h.ask("DELETE", "/api/v1/files/"+f.ID, "", "Authorization", "").problem(401, chat.CodeUnauthorized)
	h.ask("DELETE", "/api/v1/files/"+f.ID, "", "Authorization", alice).ok(204, nil)
	h.ask("GET", f.URL, "").problem(404, chat.CodeFileUnknown)
	f = h.kept("key", "y", "Authorization", "Bearer "+testKey)
	var page api.FilePage
	h.ask("GET", "/api/v1/files", "", operator()...).ok(200, &page)
	if len(page.Files) != 1 || !strings.HasPrefix(page.Files[0].Uploader, "key:") {
		t.Errorf("%+v", page)
	}
}

func (h *house) begunRefused(status int, code chat.Code, header ...string) {
	h.t.Helper()
	h.tus("POST", "/api/v1/uploads", "", append([]string{"Upload-Length", "1"}, header...)...).problem(status, code)
}

func (h *house) bearer(user string) string {
	h.t.Helper()
	var token api.Token
	h.ask("POST", "/api/v1/tokens", `{"user":"`+user+`"}`).ok(200, &token)
	return "Bearer " + token.Token
}

// A file goes when it is told to, and not when a message needs it.
func TestDeleteFile(t *testing.T) {
	t.Parallel()
	h, store := withFiles(t)
	f := h.kept("a.txt", "hello")
	body, _ := json.Marshal(map[string]any{"text": "a.txt", "file": f})
	_, err := store.Append(t.Context(), chat.Event{Topic: "room:a", Kind: "message", From: "alice", Body: body})
	must(t, err)
	h.ask("DELETE", "/api/v1/files/"+f.ID, "", "Authorization", "").problem(409, chat.CodeFileInUse)
	h.ask("DELETE", "/api/v1/files/"+f.ID, "").problem(409, chat.CodeFileInUse)
	h.tus("DELETE", "/api/v1/uploads/"+f.ID, "").problem(409, chat.CodeFileInUse)
	h.ask("GET", f.URL, "").ok(200, nil)
	h.ask("DELETE", "/api/v1/files/"+f.ID, "", operator()...).ok(204, nil)
	h.ask("GET", f.URL, "").problem(404, chat.CodeFileUnknown)
	h.ask("DELETE", "/api/v1/files/"+f.ID, "", operator()...).problem(404, chat.CodeFileUnknown)
	h.ask("DELETE", "/api/v1/files/nothing", "", operator()...).problem(404, chat.CodeFileUnknown)
}

func TestListFiles(t *testing.T) {
	t.Parallel()
	h, _ := withFiles(t)
	var files []api.FileInfo
	for i := range 5 {
		files = append(files, h.kept(fmt.Sprint(i), fmt.Sprint("content", i/2)))
	}
	h.begun(100)
	var page api.FilePage
	h.ask("GET", "/api/v1/files", "").problem(403, chat.CodeForbidden)
	h.ask("GET", "/api/v1/files", "", "Authorization", "").problem(401, chat.CodeUnauthorized)
	h.ask("GET", "/api/v1/files?cursor=x", "", operator()...).problem(400, chat.CodeBadRequest)
	cursor := ""
	for i := 4; i >= 0; i -= 2 {
		page = api.FilePage{}
		h.ask("GET", "/api/v1/files?limit=2&cursor="+cursor, "", operator()...).ok(200, &page)
		equal(t, "newest first", page.Files[0].FileInfo, files[i])
		cursor = page.Cursor
	}
	equal(t, "the last cursor", cursor, "")
	equal(t, "totals", page.Totals, api.FileTotals{Files: 5, Bytes: 3 * 8, Quota: quota, Uploads: 1, UploadBytes: 100})
}

// One address cannot take it all; others, and backends, are not held up.
func TestUploadsOfOneAddress(t *testing.T) {
	t.Parallel()
	h, _ := withFiles(t, func(_ *db.Options, o *api.FileOptions) { o.Quota = 100 * quota })
	count := 0
	for ; count < 200; count++ {
		if r := h.posted("a", "", "x"); r.Code != 201 {
			p := r.problem(429, chat.CodeRateLimited)
			if p.RetryMS <= 0 || r.Header().Get("Retry-After") == "" {
				t.Errorf("when to come back is not said: %+v", p)
			}
			break
		}
	}
	equal(t, "uploads at once", count, 60)
	h.posted("a", "", "x", "Authorization", "Bearer "+testKey).ok(201, nil)
	h.clock.forward(shortly)
	h.posted("a", "", "x").ok(201, nil)

	// By bytes: an eighth of the quota.
	h, store := withFiles(t)
	bytes := 0
	for {
		r := h.posted("a", "", strings.Repeat(strconv.Itoa(bytes%10), maxFile))
		if r.Code != 201 {
			r.problem(429, chat.CodeRateLimited)
			break
		}
		bytes += maxFile
	}
	if bytes < quota/8-maxFile || bytes > quota/8+2*maxFile {
		t.Errorf("%d bytes of a quota of %d came from one address at once", bytes, quota)
	}
	nothingLeft(t, store, h, int64(bytes/maxFile))

	// Unfinished ones.
	h, _ = withFiles(t, func(_ *db.Options, o *api.FileOptions) { o.Quota = 100 * quota })
	for range 40 {
		h.begun(1)
	}
	h.begunRefused(429, chat.CodeRateLimited)
}

const shortly = 2e9 // in nanoseconds

func TestQuotaOverHTTP(t *testing.T) {
	t.Parallel()
	h, store := withFiles(t, func(o *db.Options, _ *api.FileOptions) { o.FilesQuota = 2500 })
	key := []string{"Authorization", "Bearer " + testKey}
	h.kept("a", strings.Repeat("a", maxFile), key...)
	h.kept("b", strings.Repeat("b", maxFile), key...)
	p := h.posted("c", "", strings.Repeat("c", maxFile), key...).problem(507, chat.CodeFilesFull)
	if !strings.Contains(p.Detail, "2500") || !strings.Contains(p.Detail, "2000") {
		t.Errorf("the sentence does not say how full: %s", p.Detail)
	}
	h.begunRefused(507, chat.CodeFilesFull, "Upload-Length", "501")
	at := h.begun(500, key...)
	h.begunRefused(507, chat.CodeFilesFull)
	h.tus("DELETE", at, "", key...).ok(204, nil)
	nothingLeft(t, store, h, 2)
	zh := h.posted("c", "", strings.Repeat("c", maxFile), append(key, "Accept-Language", "zh-CN")...).problem(507, chat.CodeFilesFull)
	if !strings.Contains(zh.Detail, "空间已满") {
		t.Errorf("in Chinese: %s", zh.Detail)
	}
}

// A disk that is nearly full takes no files, so that messages go on.
func TestDiskNearlyFull(t *testing.T) {
	t.Parallel()
	h, store := withFiles(t, func(o *db.Options, _ *api.FileOptions) { o.FilesReserve = 1 << 60 })
	h.posted("a", "", "x").problem(507, chat.CodeStorageFull)
	h.begunRefused(507, chat.CodeStorageFull)
	nothingLeft(t, store, h, 0)
	_, err := store.Append(t.Context(), chat.Event{Topic: "room:a", Kind: "message", From: "alice", Body: []byte(`{"text":"hi"}`)})
	must(t, err)
}

func TestNoFilesTaken(t *testing.T) {
	t.Parallel()
	h, _ := withFiles(t, func(_ *db.Options, o *api.FileOptions) { o.Max = 0 })
	h.posted("a", "", "x").problem(403, chat.CodeForbidden)
	h.begunRefused(403, chat.CodeForbidden)
	h.opts.Files = nil
	h.restart()
	h.ask("GET", "/api/v1/files/"+chat.NewFileID(), "").problem(404, chat.CodeNotFound)
	h.ask("GET", "/api/v1/files", "", operator()...).problem(404, chat.CodeNotFound)
}

// The hub's readiness holds for uploads, too.
func TestUploadWhileStopping(t *testing.T) {
	t.Parallel()
	h, _ := withFiles(t)
	h.store.ready = chat.Errorf(chat.CodeGoingAway, "the server is stopping")
	h.posted("a", "", "x").problem(503, chat.CodeGoingAway)
	h.begunRefused(503, chat.CodeGoingAway)
}

// A database that was put back without its files answers, and does not fail.
func TestFileWithoutContent(t *testing.T) {
	t.Parallel()
	dir := ""
	h, _ := withFiles(t, func(o *db.Options, _ *api.FileOptions) { dir = o.Dir })
	f := h.kept("a.txt", "hello")
	found := 0
	must(t, filepath.WalkDir(filepath.Join(dir, "files"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found++
			err = os.Remove(p)
		}
		return err
	}))
	equal(t, "blobs", found, 1)
	h.ask("GET", f.URL, "").problem(410, chat.CodeFileGone)
	h.ask("GET", "/api/v1/files/"+f.ID, "").ok(200, nil)
	g := h.kept("b.txt", "hello") // sending it again mends it
	equal(t, "content", h.ask("GET", f.URL, "").ok(200, nil).Body.String(), "hello")
	equal(t, "content", h.ask("GET", g.URL, "").ok(200, nil).Body.String(), "hello")
}

// A server that stops breaks off what is being sent, and keeps what came.
func TestStopBreaksUploadsOff(t *testing.T) {
	t.Parallel()
	h, store := withFiles(t)
	server := httptest.NewServer(h.mux)
	defer server.Close()
	at := h.begun(10)
	r, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequestWithContext(t.Context(), "PATCH", server.URL+at, r)
	must(t, err)
	req.ContentLength = 10
	for k, v := range map[string]string{"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"} {
		req.Header.Set(k, v)
	}
	go func() {
		_, _ = io.WriteString(w, "hello")
		h.api.Stop() // once it is handed to the transport; it may be on its way
	}()
	res, err := server.Client().Do(req)
	if err != nil { // the answer may be lost in the cut
		var none *http.Response
		equal(t, "answer", res, none)
	} else {
		defer res.Body.Close()
		var p api.Problem
		if derr := json.NewDecoder(res.Body).Decode(&p); derr != nil || p.Code != chat.CodeGoingAway {
			t.Errorf("%s %+v, %v", res.Status, p, derr)
		}
	}
	u, err := store.Upload(t.Context(), path.Base(at))
	if err != nil || u.Offset != 0 && u.Offset != 5 {
		t.Errorf("%+v, %v", u, err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		t.Error("what came was lost")
	}
}
