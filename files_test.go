package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fileInfo is what the server tells of a file.
type fileInfo struct {
	ID, Name, Type, URL string
	Size                int64
}

// exchange does one request, as it is.
func (h *house) exchange(method, path string, body io.Reader, headers ...string) (*http.Response, []byte) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := backend.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res, b
}

// tus does one request of the tus protocol.
func (h *house) tus(method, path string, body io.Reader, headers ...string) (*http.Response, []byte) {
	h.t.Helper()
	headers = append([]string{"Tus-Resumable", "1.0.0"}, headers...)
	if method == "PATCH" {
		headers = append(headers, "Content-Type", "application/offset+octet-stream")
	}
	return h.exchange(method, path, body, headers...)
}

// beginUpload begins an upload and returns its path.
func (h *house) beginUpload(name string, size int) string {
	h.t.Helper()
	res, b := h.tus("POST", "/api/v1/uploads", nil, "Upload-Length", strconv.Itoa(size),
		"Upload-Metadata", "filename "+base64.StdEncoding.EncodeToString([]byte(name)))
	at := res.Header.Get("Location")
	if res.StatusCode != http.StatusCreated || !strings.HasPrefix(at, "/api/v1/uploads/") {
		h.t.Fatalf("the upload was not begun: %s, Location %q, %s", res.Status, at, b)
	}
	return at
}

// offset asks how far an upload has come.
func (h *house) offset(at string) int {
	h.t.Helper()
	res, _ := h.tus("HEAD", at, nil)
	n, err := strconv.Atoi(res.Header.Get("Upload-Offset"))
	if err != nil {
		h.t.Fatalf("HEAD %s: %s, Upload-Offset %q", at, res.Status, res.Header.Get("Upload-Offset"))
	}
	return n
}

// uploadWhole posts a form with one file.
func (h *house) uploadWhole(name string, content []byte, headers ...string) answer {
	h.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, _ := form.CreateFormFile("file", name)
	_, _ = part.Write(content)
	_ = form.Close()
	req, err := http.NewRequestWithContext(h.t.Context(), "POST", h.url+"/api/v1/files", &body)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := backend.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}
}

// file reads a file.
func (h *house) file(url string, headers ...string) (*http.Response, []byte) {
	h.t.Helper()
	return h.exchange("GET", url, nil, headers...)
}

// The server is killed in the middle of an upload. After its next start the
// upload goes on, and the file has the same bytes.
func TestUploadOutlivesKill(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := spawn(t, data)
	random := seeded(t)
	content := make([]byte, 5<<20+12345)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	at := h.beginUpload("big.bin", len(content))
	for kills := range 2 {
		from := h.offset(at)
		// A request that does not end by itself.
		r, w := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), "PATCH", h.url+at, r)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = int64(len(content) - from)
		req.Header.Set("Tus-Resumable", "1.0.0")
		req.Header.Set("Upload-Offset", strconv.Itoa(from))
		req.Header.Set("Content-Type", "application/offset+octet-stream")
		var sending sync.WaitGroup
		sending.Go(func() { _, _ = w.Write(content[from : from+2<<20-777]) })
		sending.Go(func() {
			if res, err := backend.Do(req); err == nil {
				res.Body.Close()
			}
		})
		eventually(t, "bytes come", func() bool { return uploadedTo(h, at) > from+1<<20+1<<17 }) // so that the first step is noted
		h.kill()
		r.Close()
		sending.Wait()
		h = spawn(t, data)
		if n := h.offset(at); n < from+1<<20 {
			t.Fatalf("after kill %d the upload stands at %d, and began at %d", kills+1, n, from)
		}
	}
	from := h.offset(at)
	res, b := h.tus("PATCH", at, bytes.NewReader(content[from:]), "Upload-Offset", strconv.Itoa(from))
	var f fileInfo
	answer{res.StatusCode, res.Header, b}.into(t, &f)
	if res.StatusCode != http.StatusOK || f.Size != int64(len(content)) || f.Name != "big.bin" {
		t.Fatalf("the last answer is %s %s", res.Status, b)
	}
	if res, got := h.file(f.URL); !bytes.Equal(got, content) {
		t.Errorf("%s, and %d bytes that are not those that were sent", res.Status, len(got))
	}
	if h.stop() != exitOK {
		t.Error("the stop failed")
	}
}

// uploadedTo says how far an upload has come without a request, which would
// take it over.
func uploadedTo(h *house, at string) int {
	info, err := os.Stat(filepath.Join(h.data, "files", "incoming", path.Base(at)))
	if err != nil {
		return 0
	}
	return int(info.Size())
}

// The commands of docs/http.md about files, as they stand there.
func TestDocumentedUploads(t *testing.T) {
	t.Parallel()
	shell, err := exec.LookPath("sh")
	if err == nil {
		_, err = exec.LookPath("curl")
	}
	if err != nil {
		needed(t, "the commands need sh and curl: %v", err)
	}
	_, section, _ := strings.Cut(document(t, "docs/http.md"), "\n## Files\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)\n```sh\n(.*?)```\n").FindAllStringSubmatch(section, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	h := open(t, t.TempDir())
	dir := t.TempDir()
	picture := []byte("\xff\xd8\xff\xe0 tea")
	if err := os.WriteFile(filepath.Join(dir, "tea.jpg"), picture, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		name, kind string
		content    []byte
	}{{"tea.jpg", "image/jpeg", picture}, {"tea.txt", "application/octet-stream", []byte("helloworld")}} {
		cmd := exec.CommandContext(t.Context(), shell, "-euc", blocks[i][1])
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TEAHOUSE_URL="+h.url, "TEAHOUSE_API_KEY="+testKey, "no_proxy=*")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if i == 1 && !strings.Contains(strings.ToLower(string(out)), "upload-offset: 5") {
			t.Errorf("HEAD does not say where the upload stands: %s", out)
		}
		var f fileInfo
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		answer{body: []byte(lines[len(lines)-1])}.into(t, &f)
		if f.Name != want.name || f.Type != want.kind {
			t.Errorf("%+v", f)
		}
		if _, got := h.file(f.URL); !bytes.Equal(got, want.content) {
			t.Errorf("%s holds %q", f.Name, got)
		}
	}
}

// A picture goes with its message: recalled, it is gone from the disk. And a
// backup says that files are not in it.
func TestFileGoesWithItsMessage(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := open(t, data)
	content := []byte("\xff\xd8\xff\xe0 a picture")
	var f, thumb fileInfo
	h.uploadWhole("p.jpg", content).into(t, &f)
	h.uploadWhole("t.jpg", content[:6]).into(t, &thumb)
	alice, _ := enter(t, h.ws(), "alice")
	sent := alice.ask("send", "topic", "room:lobby", "key", "p-1", "body",
		map[string]any{"text": "p.jpg", "file": map[string]any{"id": f.ID, "thumb": thumb.ID, "name": f.Name}})
	if a := h.call("DELETE", "/api/v1/files/"+f.ID, nil); a.status != http.StatusConflict || a.problem(t) != "file_in_use" {
		t.Errorf("a file in a message was removed: %d %s", a.status, a.body)
	}
	code, stdout, stderr := command(t, "backup", "--data="+data, filepath.Join(t.TempDir(), "backup.db"))
	if code != exitOK || !strings.Contains(stdout, filepath.Join(data, "files")) {
		t.Errorf("backup: %d %s %s", code, stdout, stderr)
	}
	if ack := alice.takeBack("room:lobby", sent.Seq); ack.Op != "ack" {
		t.Fatalf("not recalled: %s", ack)
	}
	for _, x := range []fileInfo{f, thumb} {
		if res, b := h.file(x.URL); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s is still there: %s %s", x.Name, res.Status, b)
		}
	}
	eventually(t, "the bytes go from the disk", func() bool { return len(filesUnder(t, data)) == 0 })
	eventually(t, "they are not counted any more", func() bool { return h.metric("teahouse_files_bytes") == 0 })
}

// filesUnder lists what lies in the folder of files.
func filesUnder(t testing.TB, data string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(data, "files"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		if errors.Is(err, fs.ErrNotExist) { // it went while we looked
			err = nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// The connection breaks again and again, also without a word. Each time the
// upload goes on where the server says, and in the end the bytes are the same.
func TestUploadOverBrokenConnections(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	random := seeded(t)
	content := make([]byte, 3<<20+321)
	for i := range content {
		content[i] = byte(random.Uint32())
	}
	at := h.beginUpload("cut.bin", len(content))
	var left []net.Conn // broken for the client, and open for the server
	for range 12 {
		from := h.offset(at)
		conn, err := net.Dial("tcp", h.host())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: %s\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: %d\r\nContent-Length: %d\r\n"+
			"Content-Type: application/offset+octet-stream\r\n\r\n", at, h.host(), from, len(content)-from)
		_, _ = conn.Write(content[from:min(len(content)-1, from+random.IntN(400<<10))])
		switch random.IntN(3) {
		case 0: // with a reset
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		case 1:
			conn.Close()
		default:
			left = append(left, conn)
		}
	}
	from := h.offset(at)
	if from == 0 {
		t.Error("nothing of all that was kept")
	}
	var f fileInfo
	for try := 0; ; try++ { // a request that was broken off may still hold it
		from = h.offset(at)
		res, b := h.tus("PATCH", at, bytes.NewReader(content[from:]), "Upload-Offset", strconv.Itoa(from))
		if res.StatusCode == http.StatusOK {
			answer{res.StatusCode, res.Header, b}.into(t, &f)
			break
		}
		if res.StatusCode != http.StatusConflict || try == 10 {
			t.Fatalf("the rest from %d: %s %s", from, res.Status, b)
		}
	}
	if res, got := h.file(f.URL); !bytes.Equal(got, content) {
		t.Errorf("%s, and %d bytes that are not those that were sent", res.Status, len(got))
	}
	for _, conn := range left {
		conn.Close()
	}
}

// A stop does not wait for a slow upload: it is told, and goes on afterwards.
func TestStopDoesNotWaitForUploads(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := open(t, data)
	at := h.beginUpload("slow.bin", 10)
	conn, err := net.Dial("tcp", h.host())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: %s\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: 10\r\n"+
		"Content-Type: application/offset+octet-stream\r\n\r\nhello", at, h.host())
	eventually(t, "bytes come", func() bool { return uploadedTo(h, at) == 5 })
	if code := h.stop(); code != exitOK {
		t.Errorf("the stop was cut off: code %d", code)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the upload was told %v, %v", res, err)
	} else {
		res.Body.Close()
	}
	h = open(t, data)
	res, b := h.tus("PATCH", at, strings.NewReader("world"), "Upload-Offset", strconv.Itoa(h.offset(at)))
	var f fileInfo
	answer{res.StatusCode, res.Header, b}.into(t, &f)
	if _, got := h.file(f.URL); string(got) != "helloworld" {
		t.Errorf("%q", got)
	}
}

// What is wrong with the sizes is said at the start.
func TestFileFlags(t *testing.T) {
	t.Parallel()
	for _, c := range [][]string{
		{"--max-upload=much", "--max-upload"},
		{"--files-quota=10MB", "--files-quota"}, // less than one file may have
	} {
		code, _, stderr := command(t, append([]string{"serve", "--addr=127.0.0.1:0", "--data=" + t.TempDir()}, c[0])...)
		if code != exitUsage || !strings.Contains(stderr, c[1]) {
			t.Errorf("%s: %d %s", c[0], code, stderr)
		}
	}
	h := open(t, t.TempDir(), "--max-upload=1KB", "--files-quota=1.5KB")
	key := []string{"Authorization", "Bearer " + testKey}
	if a := h.uploadWhole("b", make([]byte, 1001), key...); a.problem(t) != "file_too_large" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.uploadWhole("a", make([]byte, 1000), key...); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.uploadWhole("c", bytes.Repeat([]byte("c"), 600), key...); a.problem(t) != "files_full" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := h.metric("teahouse_files_quota_bytes"); n != 1500 {
		t.Errorf("the quota is %v", n)
	}
}

// In token mode a client uploads with its token, and nobody without.
func TestUploadInTokenMode(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--auth=token")
	if a := h.uploadWhole("a", []byte("x")); a.status != http.StatusUnauthorized || a.problem(t) != "unauthorized" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.uploadWhole("a", []byte("x"), "Authorization", "Bearer "+h.token("alice")); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
}
