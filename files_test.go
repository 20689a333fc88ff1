package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"path/filepath"
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

// tus does one request of the tus protocol.
func (h *house) tus(method, path string, body io.Reader, headers ...string) (*http.Response, []byte) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if method == "PATCH" {
		req.Header.Set("Content-Type", "application/offset+octet-stream")
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
	req, err := http.NewRequestWithContext(h.t.Context(), "GET", h.url+url, nil)
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
