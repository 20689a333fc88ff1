package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The tests of this package are black box: they start the whole program and
// speak to it as clients, backends and operators do. A house is one running
// server: in this process (open), where the race detector and the leak check
// see it, or in a process of its own (spawn), where it can be killed.

const (
	// childMark makes the test binary be the program.
	childMark = "TEAHOUSE_TEST_BE_THE_PROGRAM"

	testKey      = "key-of-the-tests-0123456789"
	testPassword = "password-of-the-tests"

	// patience is how long a test waits for what must come. It is used up only
	// when something is broken.
	patience = time.Minute
)

func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		main()
		return
	}
	// The machine's own settings must not reach the tests.
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "LC_") || strings.HasPrefix(name, "TEAHOUSE_") && !strings.HasPrefix(name, "TEAHOUSE_TEST_") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("LANG", "C.UTF-8")
	// Some tests wait for most of a minute, and most wait more than they
	// compute: more of them at once than there are processors.
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		_ = flag.Set("test.parallel", strconv.Itoa(4+2*runtime.GOMAXPROCS(0)))
	}
	goleak.VerifyTestMain(m)
}

// needed skips a test that this machine cannot run, except in CI: there it
// must be able to.
func needed(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("cannot run in CI: "+format, args...)
	}
	t.Skipf(format, args...)
}

// number is a count that a developer may change by TEAHOUSE_TEST_name.
func number(name string, normal, short int) int {
	if n, err := strconv.Atoi(os.Getenv("TEAHOUSE_TEST_" + name)); err == nil {
		return n
	}
	if testing.Short() {
		return short
	}
	return normal
}

// seeded returns the test's own random numbers; the seed is logged, and
// TEAHOUSE_TEST_SEED plays them again.
func seeded(t testing.TB) *rand.Rand {
	seed, err := strconv.ParseUint(os.Getenv("TEAHOUSE_TEST_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("replay with TEAHOUSE_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// eventually waits until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.Millisecond; !ok(); tick = min(2*tick, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
		<-time.After(tick)
	}
}

// output collects what a program prints.
type output struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	wrote func() // called after each piece, if it is set
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wrote != nil {
		defer o.wrote()
	}
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// house is one running server.
type house struct {
	t              testing.TB
	url            string // http://HOST:PORT
	data           string
	stdout, stderr *output
	ask            func() // begins a stop in order
	cmd            *exec.Cmd
	ended          chan struct{}
	code           int // after ended
}

// serveArgs is the command line of a test's server. Later flags win. Tests do
// not speak to the LAN of who runs them.
func serveArgs(data string, args []string) []string {
	return append([]string{"teahouse", "serve", "--addr=127.0.0.1:0", "--data=" + data, "--qr=never", "--announce=false"}, args...)
}

// furniture is the files of a data folder in which the tests' secrets are kept
// and nothing has been said yet. Hashing a password is slow by intention, and
// much more so under the race detector: once is enough.
var furniture = sync.OnceValues(func() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "teahouse-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var ready output
	ready.wrote = cancel // as soon as it is ready it may stop
	var stderr output
	if code := run(ctx, serveArgs(dir, []string{"--api-key=" + testKey, "--admin-password=" + testPassword}), &ready, &stderr); code != exitOK {
		return nil, fmt.Errorf("code %d: %s", code, &stderr)
	}
	files := make(map[string][]byte)
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err == nil && !e.IsDir() { // the folder of files is empty, and made again
			files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name()))
		}
	}
	return files, err
})

// furnish lays the tests' secrets into a new data folder.
func furnish(t testing.TB, data string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(data, "teahouse.db")); err == nil {
		return
	}
	files, err := furniture()
	if err == nil {
		err = os.MkdirAll(data, 0o700)
	}
	for name, b := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(data, name), b, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// open starts a server in this process, with the tests' secrets.
func open(t testing.TB, data string, args ...string) *house {
	t.Helper()
	furnish(t, data)
	ctx, cancel := context.WithCancel(context.Background())
	h := &house{t: t, data: data, stdout: &output{}, stderr: &output{}, ask: cancel, ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		h.code = run(ctx, serveArgs(data, args), h.stdout, h.stderr)
	}()
	t.Cleanup(func() { h.stop() })
	h.await()
	return h
}

// child is the program in a process of its own, not started yet.
func child(args []string, env ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self)
	cmd.Args = args
	cmd.Env = append(os.Environ(), childMark+"=1")
	cmd.Env = append(cmd.Env, env...)
	dieWithParent(cmd)
	return cmd
}

// spawn starts a server in a process of its own, with the tests' secrets.
func spawn(t testing.TB, data string, args ...string) *house {
	t.Helper()
	furnish(t, data)
	h := &house{t: t, data: data}
	h.launch(child(serveArgs(data, args)))
	return h
}

// launch starts a server in a process of its own.
func (h *house) launch(cmd *exec.Cmd) {
	h.t.Helper()
	h.cmd, h.stdout, h.stderr, h.ended = cmd, &output{}, &output{}, make(chan struct{})
	cmd.Stdout, cmd.Stderr = h.stdout, h.stderr
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.ask = func() { _ = cmd.Process.Signal(syscall.SIGTERM) }
	go func() {
		defer close(h.ended)
		_ = cmd.Wait()
		h.code = cmd.ProcessState.ExitCode() // -1 if it was killed
		if strings.Contains(h.stderr.String(), "DATA RACE") {
			h.t.Errorf("the server's process has a data race: %s", h.stderr)
		}
	}()
	h.t.Cleanup(h.kill)
	h.await()
}

// await waits for the ready line, which must be the first on standard output.
func (h *house) await() {
	h.t.Helper()
	eventually(h.t, "the ready line", func() bool {
		select {
		case <-h.ended:
			h.t.Fatalf("the server ended with code %d before it was ready: %s", h.code, h.stderr)
		default:
		}
		line, _, whole := strings.Cut(h.stdout.String(), "\n")
		if !whole {
			return false
		}
		var ok bool
		if h.url, ok = strings.CutPrefix(line, "listening on "); !ok || !strings.HasPrefix(h.url, "http://127.0.0.1:") {
			h.t.Fatalf("the first line is %q and not the ready line", line)
		}
		return true
	})
}

// stop ends the server in order and returns its exit code.
func (h *house) stop() int {
	h.t.Helper()
	h.ask()
	select {
	case <-h.ended:
	case <-time.After(patience):
		h.t.Fatalf("the server did not stop: %s", h.stderr)
	}
	return h.code
}

// kill ends the server's process like a crash would.
func (h *house) kill() {
	_ = h.cmd.Process.Kill()
	<-h.ended
}

func (h *house) ws() string { return "ws" + strings.TrimPrefix(h.url, "http") + "/ws" }

func (h *house) host() string { return strings.TrimPrefix(h.url, "http://") }

// backend is the HTTP client of the tests. It keeps no connection, so that a
// restarted server is not met through an old one and nothing is left over.
var backend = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// answer is what an HTTP call gave.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("the answer %q: %v", a.body, err)
	}
}

// problem returns the code of a problem+json answer.
func (a answer) problem(t testing.TB) string {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("the error's content type is %q: %s", got, a.body)
	}
	var p struct {
		Code   string
		Detail string
		Status int
	}
	a.into(t, &p)
	if p.Detail == "" || p.Status != a.status {
		t.Errorf("the problem has no sentence or another status than %d: %s", a.status, a.body)
	}
	return p.Code
}

// send makes a call with the tests' API key; headers come in pairs.
func (h *house) send(method, path string, body any, headers ...string) (answer, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		in = bytes.NewReader(j)
	}
	req, err := http.NewRequest(method, h.url+path, in)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+testKey)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := backend.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}, err
}

// basicAuth is the Authorization of a person with a password.
func basicAuth(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// call is send for a test's own goroutine: it must be answered.
func (h *house) call(method, path string, body any, headers ...string) answer {
	h.t.Helper()
	a, err := h.send(method, path, body, headers...)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// get reads a good answer into v.
func (h *house) get(path string, v any) {
	h.t.Helper()
	a := h.call("GET", path, nil)
	if a.status != http.StatusOK {
		h.t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	a.into(h.t, v)
}

// history reads all of a topic's events, page by page.
func (h *house) history(topic string) []frame {
	h.t.Helper()
	var all []frame
	after := int64(0)
	for {
		var page struct {
			Events []frame
			More   bool
		}
		h.get(fmt.Sprintf("/api/v1/topics/%s/events?limit=500&after=%d", url.PathEscape(topic), after), &page)
		all = append(all, page.Events...)
		if !page.More {
			return all
		}
		after = all[len(all)-1].Seq
	}
}

// session is a row of GET /api/v1/sessions.
type session struct {
	ID, User, Device, Dialect, Addr, Reason string
	OpenedAt                                int64 `json:"opened_at"`
	LastSeen                                int64 `json:"last_seen"`
	EndedAt                                 int64 `json:"ended_at"`
	Online                                  bool
}

func (h *house) sessions(query string) []session {
	h.t.Helper()
	var out struct{ Sessions []session }
	h.get("/api/v1/sessions?"+query, &out)
	return out.Sessions
}

// metric reads one number of /metrics.
func (h *house) metric(name string) float64 {
	h.t.Helper()
	for line := range strings.Lines(string(h.call("GET", "/metrics", nil).body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				h.t.Fatal(err)
			}
			return n
		}
	}
	h.t.Fatalf("there is no metric %s", name)
	return 0
}

// command runs another command of the program, in this process.
func command(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, err output
	code = run(ctx, append([]string{"teahouse"}, args...), &out, &err)
	return code, out.String(), err.String()
}

// commands are the commands of a data folder; do runs one.
type commands struct {
	t  *testing.T
	do func(args ...string) (code int, stdout, stderr string)
}

// ok is what a command prints that succeeds.
func (c commands) ok(args ...string) string {
	c.t.Helper()
	code, out, errs := c.do(args...)
	if code != exitOK || errs != "" {
		c.t.Errorf("%v: %d %s %s", args, code, out, errs)
	}
	return strings.TrimSpace(out)
}

// fails runs a command that must end with this code and one sentence that
// holds the word.
func (c commands) fails(code int, word string, args ...string) {
	c.t.Helper()
	got, out, errs := c.do(args...)
	if got != code || out != "" || !strings.Contains(errs, word) {
		c.t.Errorf("%v: %d %q %q; want %d and %q", args, got, out, errs, code, word)
	}
	oneSentence(c.t, errs)
}

// token gets a client's token from the server.
func (h *house) token(user string) string {
	h.t.Helper()
	var out struct{ Token string }
	h.call("POST", "/api/v1/tokens", map[string]any{"user": user}).into(h.t, &out)
	return out.Token
}
