package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"teahouse/assets"
)

// A stage is where the SDK plays: a Node process, or a page in Chromium. Both
// run the scripts of assets/sdktest/real.
type stage interface {
	// call has the script do something, and waits for its answer.
	call(what string, args ...any) (json.RawMessage, error)
	// reload throws the client away as a page that is killed does, and begins
	// anew with what the storage holds.
	reload() error
	// hush lets what comes after a reload be quiet as well.
	hush() error
}

// ask calls and reads the answer.
func ask[T any](t testing.TB, s stage, what string, args ...any) (v T) {
	t.Helper()
	raw, err := s.call(what, args...)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return v
}

// reply is what the scripts answer.
type reply struct {
	ID    int
	Value json.RawMessage
	Error string
}

func (r reply) result() (json.RawMessage, error) {
	if r.Error != "" {
		return nil, errors.New(r.Error)
	}
	return r.Value, nil
}

// sdkFile is the client that is tested. TEAHOUSE_TEST_SDK names another, for
// example one that was broken on purpose.
func sdkFile(t testing.TB) string {
	file := os.Getenv("TEAHOUSE_TEST_SDK")
	if file == "" {
		file = filepath.Join("assets", "sdk", "teahouse.js")
	}
	file, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// nodeStage is a Node process; its calls are lines on its standard input.
type nodeStage struct {
	in     io.WriteCloser
	stderr *output
	ended  chan struct{}

	mu      sync.Mutex
	last    int
	waiting map[int]chan reply
}

func newNodeStage(t testing.TB) stage {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		needed(t, "there is no Node.js here")
	}
	if _, err := os.Stat(filepath.Join("assets", "sdktest", "node_modules", "ws")); err != nil {
		needed(t, "what the tests of the SDK use in Node is not installed: run npm ci in assets/sdktest")
	}
	cmd := exec.Command(node, filepath.Join("assets", "sdktest", "real", "node.mjs"), sdkFile(t))
	dieWithParent(cmd)
	s := &nodeStage{stderr: &output{}, ended: make(chan struct{}), waiting: make(map[int]chan reply)}
	cmd.Stderr = s.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read(out, cmd)
	t.Cleanup(func() {
		s.in.Close()
		select {
		case <-s.ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-s.ended
		}
		if text := s.stderr.String(); text != "" {
			t.Errorf("Node says: %s", text)
		}
	})
	return s
}

// read takes the answers.
func (s *nodeStage) read(out io.Reader, cmd *exec.Cmd) {
	defer close(s.ended)
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			break
		}
		var a reply
		if err := json.Unmarshal(line, &a); err != nil {
			fmt.Fprintf(s.stderr, "not an answer: %s", line)
			continue
		}
		s.mu.Lock()
		done := s.waiting[a.ID]
		delete(s.waiting, a.ID)
		s.mu.Unlock()
		if done != nil {
			done <- a
		}
	}
	_ = cmd.Wait()
}

func (s *nodeStage) call(what string, args ...any) (json.RawMessage, error) {
	if args == nil {
		args = []any{}
	}
	s.mu.Lock()
	s.last++
	id, done := s.last, make(chan reply, 1)
	s.waiting[id] = done
	line, err := json.Marshal(map[string]any{"id": id, "call": what, "args": args})
	if err == nil {
		_, err = s.in.Write(append(line, '\n'))
	}
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, s.stderr)
	}
	select {
	case a := <-done:
		return a.result()
	case <-s.ended:
		return nil, fmt.Errorf("Node has ended: %s", s.stderr)
	case <-time.After(patience):
		return nil, fmt.Errorf("no answer from Node in %s: %s", patience, s.stderr)
	}
}

func (s *nodeStage) reload() error {
	_, err := s.call("reload")
	return err
}

func (s *nodeStage) hush() error {
	_, err := s.call("quiet")
	return err
}

// pageStage is a page in Chromium, in a tab with a storage of its own.
type pageStage struct{ ctx context.Context }

// newPageStage opens a page from a little server of the test's own.
func newPageStage(t testing.TB, chromium context.Context) stage {
	t.Helper()
	files := http.NewServeMux()
	files.Handle("/sdktest/real/", http.StripPrefix("/sdktest", http.FileServer(http.Dir(filepath.Join("assets", "sdktest")))))
	files.Handle("/sdk/", assets.Handler())
	if os.Getenv("TEAHOUSE_TEST_SDK") != "" {
		files.HandleFunc("/sdk/teahouse.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, sdkFile(t)) })
	}
	server := httptest.NewServer(files)
	t.Cleanup(server.Close)
	ctx, cancel := chromedp.NewContext(chromium, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	s := &pageStage{ctx}
	if err := s.do(chromedp.Navigate(server.URL + "/sdktest/real/page.html")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, text := range ask[[]string](t, s, "mistakes") {
			t.Errorf("the page says: %s", text)
		}
	})
	return s
}

func (s *pageStage) do(steps ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, steps...)
}

func (s *pageStage) call(what string, args ...any) (json.RawMessage, error) {
	list, err := json.Marshal(append([]any{what}, args...))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	// The answer is a string, so that what the page says arrives as it is.
	script := fmt.Sprintf("stage(...%s).then(a => JSON.stringify(a))", bytes.TrimSpace(list))
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	if err != nil {
		return nil, err
	}
	var a reply
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&a); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return a.result()
}

func (s *pageStage) reload() error { return s.do(chromedp.Reload()) }

func (s *pageStage) hush() error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`localStorage.setItem('quiet', ''), true`))
	if err == nil {
		_, err = s.call("quiet")
	}
	return err
}
