package api_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"teahouse/chat"
	"teahouse/chat/api"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The description is a file under version control, so that a change of the
// API is seen in review. Write it anew: go test ./chat/api -run OpenAPI -update
func TestOpenAPIIsCurrent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.opts.Version = "dev"
	h.restart()
	const golden = "testdata/openapi.json"
	got := h.ask("GET", "/openapi.json", "", "Authorization", "").ok(200, nil).Body.Bytes()
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not current; look at the change and run: go test ./chat/api -run OpenAPI -update", golden)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string           `json:"operationId"`
			Responses   map[string]any   `json:"responses"`
			Security    []map[string]any `json:"security"`
		}
	}
	must(t, json.Unmarshal(got, &doc))
	for path, ops := range doc.Paths {
		for method, op := range ops {
			if op.OperationID == "" || len(op.Security) == 0 || op.Responses["default"] == nil || len(op.Responses) < 2 {
				t.Errorf("%s %s is not described whole: %+v", method, path, op)
			}
		}
	}
	yaml := h.ask("GET", "/openapi.yaml", "", "Authorization", "").ok(200, nil).Body.String()
	if !strings.Contains(yaml, "operationId: publish") {
		t.Error("the YAML form is another document")
	}
}

func TestDocsNeedNoInternet(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := h.ask("GET", "/docs", "", "Authorization", "").ok(200, nil)
	page := r.Body.String()
	if strings.Contains(page, "//") {
		t.Errorf("the page names another site: %s", page)
	}
	for part := range strings.SplitSeq(page, `"`) {
		if !strings.HasPrefix(part, "/") {
			continue
		}
		r := h.ask("GET", part, "", "Authorization", "").ok(200, nil)
		if r.Body.Len() == 0 || r.Header().Get("Content-Type") == "" {
			t.Errorf("%s: %d bytes of %q", part, r.Body.Len(), r.Header().Get("Content-Type"))
		}
		equal(t, part+" for who cannot unpack", r.Header().Get("Content-Encoding"), "")
		r = h.ask("GET", part, "", "Accept-Encoding", "gzip, br")
		if r.Header().Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			must(t, err)
			_, err = io.Copy(io.Discard, z)
			must(t, err)
		}
	}
	for _, file := range []string{"/docs/nothing.js", "/docs/embed.go", "/docs/..%2fdocs.go"} {
		equal(t, file, h.ask("GET", file, "").Code, 404)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	get := func(path string, status int, body string) {
		t.Helper()
		r := h.ask("GET", path, "", "Authorization", "").ok(status, nil)
		equal(t, path, r.Body.String(), body+"\n")
	}
	get("/healthz", 200, "ok")
	get("/readyz", 200, "ok")
	h.store.ready = chat.Errorf(chat.CodeGoingAway, "the server is stopping")
	get("/healthz", 200, "ok")
	get("/readyz", 503, "the server is stopping")
	h.store.ready = errors.New("a secret of the inside")
	get("/readyz", 503, "not ready")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.ask("POST", "/api/v1/events", lobby).ok(200, nil)
	h.ask("GET", "/api/v1/nothing", "")
	get := func(addr string, header ...string) *reply {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.RemoteAddr = addr
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		h.mux.ServeHTTP(w, r)
		return &reply{t, w, r}
	}
	text := get("127.0.0.1:5000").ok(200, nil).Body.String()
	for _, line := range []string{
		"teahouse_connections 3", "teahouse_events_delivered_total 12345", "teahouse_ready 1",
		`teahouse_build_info{version="v1.2.3"} 1`, "teahouse_store_wal_bytes 4096",
		`teahouse_store_commit_events_bucket{le="1"} 5`, `teahouse_store_commit_events_bucket{le="2048"} 6`,
		`teahouse_store_commit_events_bucket{le="+Inf"} 7`, "teahouse_store_commit_events_sum 9",
		`teahouse_http_requests_total{operation="publish",status="200"} 1`,
		`teahouse_http_requests_total{operation="unknown",status="404"} 1`,
		"go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("no %s", line)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	must(t, err)
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "teahouse_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	get("[::1]:5000").ok(200, nil)
	get("[::ffff:127.0.0.1]:5000").ok(200, nil)
	get("192.168.0.9:5000").problem(401, chat.CodeUnauthorized)
	get("127.0.0.1:5000", "X-Forwarded-For", "203.0.113.9").problem(401, chat.CodeUnauthorized)
	get("192.168.0.9:5000", "Authorization", "Bearer "+testKey).ok(200, nil)
	get("192.168.0.9:5000", "Authorization", "Bearer x").problem(401, chat.CodeUnauthorized)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, path := range []string{"/api/", "/api/v1", "/api/v1/", "/api/v2/events", "/api/v1/topics/room:a", "/api/v1/events/1"} {
		h.ask("GET", path, "", "Authorization", "").problem(404, chat.CodeNotFound)
	}
	r := h.ask("PUT", "/api/v1/events", "{}")
	r.problem(405, chat.CodeBadRequest)
	equal(t, "Allow", r.Header().Get("Allow"), "POST")
	r = h.ask("PATCH", "/api/v1/keys", "{}")
	r.problem(405, chat.CodeBadRequest)
	equal(t, "Allow", r.Header().Get("Allow"), "GET, HEAD, POST")
	h.ask("OPTIONS", "/api/v1/keys", "").problem(405, chat.CodeBadRequest)
	h.ask("HEAD", "/api/v1/sessions", "").ok(200, nil)
}

func TestProblemsInTheReadersLanguage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for header, chinese := range map[string]bool{
		"": false, "en": false, "zh": true, "zh-CN,zh;q=0.9,en;q=0.8": true, "ZH-Hant-TW": true, "en-US,en;q=0.9,zh;q=0.8": false,
		"de,zh;q=0.5": true, "de": false, "*": false, "zh;q=0": false, "zh;q=x": false, "en,zh": false, "zh,en": true, ";;,,=": false,
	} {
		p := h.ask("DELETE", "/api/v1/sessions/x", "", "Accept-Language", header).problem(404, chat.CodeNotFound)
		equal(t, header, p.Title == "未找到", chinese)
		equal(t, header, strings.Contains(p.Detail, "不存在"), chinese)
	}
	p := h.ask("POST", "/api/v1/events", `{"topic":"nowhere","body":1}`, "Accept-Language", "zh").problem(400, chat.CodeBadTopic)
	if !strings.Contains(p.Detail, "主题") || !strings.Contains(p.Detail, "room:, user: or dm:") {
		t.Errorf("not precise: %s", p.Detail)
	}
	h.ask("GET", "/api/v1/nothing", "", "Accept-Language", "zh").problem(404, chat.CodeNotFound)
	h.ask("GET", "/api/v1/keys", "", "Accept-Language", "zh", "Authorization", "").problem(401, chat.CodeUnauthorized)
}

func TestInternalErrorsStayInside(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.fail = errors.New("a secret of the inside")
	for _, path := range []string{"/api/v1/sessions", "/api/v1/topics/room:a/events"} {
		h.log.Reset()
		// The key is looked up in the failing store already.
		p := h.ask("GET", path, "", "Authorization", "Bearer "+localKey).problem(500, chat.CodeInternal)
		if strings.Contains(p.Detail, "secret") {
			t.Error(p.Detail)
		}
		if n := strings.Count(h.log.String(), "a secret of the inside"); n != 1 || !strings.Contains(h.log.String(), "request="+p.RequestID) {
			t.Errorf("logged %d times: %s", n, h.log)
		}
	}
	h.ask("GET", "/api/v1/sessions", "").problem(500, chat.CodeInternal)
	h.store.fail = chat.Errorf(chat.CodeStorage, "the disk is gone; try again")
	p := h.ask("GET", "/api/v1/sessions", "", "Authorization", "Bearer "+localKey).problem(503, chat.CodeStorage)
	equal(t, "detail", p.Detail, "the disk is gone; try again")
	r := h.ask("POST", "/api/v1/events", lobby, "Authorization", "Bearer "+localKey)
	equal(t, "request_id of what the hub logs", r.problem(503, chat.CodeStorage).RequestID, "")
}

func TestBackup(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.backup = bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	r := h.ask("GET", "/api/v1/backup", "", operator()...).ok(200, nil)
	equal(t, "copy", bytes.Equal(r.Body.Bytes(), h.store.backup), true)
	equal(t, "name", r.Header().Get("Content-Disposition"), "attachment; filename=teahouse-20260304-050607.db")
	equal(t, "length", r.Header().Get("Content-Length"), "3200000")
	h.ask("GET", "/api/v1/backup", "").problem(403, chat.CodeForbidden)
	for _, err := range []error{errors.New("/secret/path: no"), chat.Errorf(chat.CodeStorageFull, "the disk is full")} {
		h.opts.Store = failingBackup{h.store, err}
		h.restart()
		r = h.ask("GET", "/api/v1/backup", "", operator()...)
		if r.Code < 500 || strings.Contains(r.Body.String(), "secret") {
			t.Errorf("%d %s", r.Code, r.Body)
		}
	}
	left, err := os.ReadDir(h.dir)
	must(t, err)
	equal(t, "left in the folder", len(left), 0)

	// What a crash left goes away at the next start; nothing else does.
	must(t, os.Mkdir(filepath.Join(h.dir, "backup-being-sent-123"), 0o700))
	must(t, os.WriteFile(filepath.Join(h.dir, "backup-being-sent-123", "backup.db"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(h.dir, "teahouse.db"), nil, 0o600))
	h.restart()
	left, err = os.ReadDir(h.dir)
	must(t, err)
	if len(left) != 1 || left[0].Name() != "teahouse.db" {
		t.Errorf("left: %v", left)
	}
}

func TestOneBackupAtATime(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	slow := slowBackup{h.store, make(chan struct{}), make(chan struct{})}
	h.opts.Store = slow
	h.restart()
	var wg sync.WaitGroup
	wg.Go(func() { h.ask("GET", "/api/v1/backup", "", "Authorization", "Bearer "+localKey).ok(200, nil) })
	<-slow.entered
	p := h.ask("GET", "/api/v1/backup", "", "Authorization", "Bearer "+localKey).problem(503, chat.CodeBusy)
	equal(t, "retry_ms", p.RetryMS, 10_000)
	close(slow.gate)
	wg.Wait()
}

type slowBackup struct {
	*memory
	entered, gate chan struct{}
}

func (s slowBackup) Backup(ctx context.Context, path string) error {
	close(s.entered)
	<-s.gate
	return s.memory.Backup(ctx, path)
}

type failingBackup struct {
	*memory
	err error
}

func (f failingBackup) Backup(context.Context, string) error { return f.err }

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	long := `{"user":"` + strings.Repeat("x", 70<<10) + `"}`
	h.ask("POST", "/api/v1/tokens", long).problem(413, chat.CodeTooLarge)
	h.ask("POST", "/api/v1/tokens", long, "Idempotency-Key", "a").problem(413, chat.CodeTooLarge)
	equal(t, "answers", len(h.store.answers), 0)
}

func TestClient(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.backup = []byte("SQLite format 3")
	srv := httptest.NewServer(h.mux)
	defer srv.Close()
	ctx := t.Context()
	c := &api.Client{URL: srv.URL + "/", Key: localKey, HTTP: srv.Client()}
	out, err := c.Publish(ctx, api.PublishRequest{Topic: "room:lobby", Body: json.RawMessage(`{"text":"hi"}`)})
	must(t, err)
	equal(t, "published", out.Events[0].Topic, "room:lobby")
	token, err := c.IssueToken(ctx, "alice", 0)
	must(t, err)
	equal(t, "user", token.User, "alice")
	key, err := c.CreateKey(ctx, "shop")
	must(t, err)
	keys, err := c.ListKeys(ctx)
	must(t, err)
	equal(t, "keys", len(keys), 2)
	must(t, c.RevokeKey(ctx, key.ID))
	var buf bytes.Buffer
	n, err := c.Backup(ctx, &buf)
	must(t, err)
	equal(t, "backup", buf.String(), "SQLite format 3")
	equal(t, "size", n, 15)

	code := func(err error, want chat.Code, words string) {
		t.Helper()
		var e *chat.Error
		if !errors.As(err, &e) || e.Code != want || !strings.Contains(e.Message, words) {
			t.Errorf("%v; want %s with %q", err, want, words)
		}
	}
	_, err = c.Publish(ctx, api.PublishRequest{Topic: "lobby", Body: json.RawMessage(`1`)})
	code(err, chat.CodeBadTopic, "room:")
	code(c.RevokeKey(ctx, "a/b c%"), chat.CodeNotFound, `"a/b c%"`)
	_, err = (&api.Client{URL: srv.URL, Key: key.Key}).ListKeys(ctx)
	code(err, chat.CodeUnauthorized, "revoked")
	_, err = c.IssueToken(ctx, "alice", api.MaxTTL+1e9)
	code(err, chat.CodeBadRequest, "ttl_s")
	_, err = c.IssueToken(ctx, "alice", 1)
	code(err, chat.CodeBadRequest, "second")

	_, err = (&api.Client{URL: "not a url\n"}).ListKeys(ctx)
	code(err, chat.CodeBadRequest, "http://")
	other := httptest.NewServer(http.NotFoundHandler())
	_, err = (&api.Client{URL: other.URL}).ListKeys(ctx)
	code(err, chat.CodeBadRequest, "not a Teahouse")
	other.Close()
	_, err = (&api.Client{URL: other.URL}).ListKeys(ctx)
	code(err, chat.CodeBusy, "is `teahouse serve` running")
	short := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	}))
	defer short.Close()
	_, err = (&api.Client{URL: short.URL}).Backup(ctx, io.Discard)
	code(err, chat.CodeStorage, "whole")
}
