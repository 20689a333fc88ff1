package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Webhooks as a backend meets them. chat/webhook has the pace, the order and
// the days, in a bubble of time.

// told is one request that a backend took.
type told struct {
	id, kind, code string
	seq            int64
}

// shop is a backend that is told of events. It checks signatures by the
// standard's own library.
type shop struct {
	t       *testing.T
	url     string
	mu      sync.Mutex
	secrets []string
	status  int
	all     []told
}

func newShop(t *testing.T) *shop {
	s := &shop{t: t, status: http.StatusOK}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL + "/hook"
	return s
}

func (s *shop) set(status int, secrets ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.secrets = status, secrets
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // our server was killed while it sent
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		check, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = check.Verify(body, r.Header)
		}
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			s.t.Errorf("%s %v: %v", r.Method, r.Header, err)
		}
	}
	var p struct {
		Type string
		Seq  int64
		Data struct{ Code string }
	}
	if err := json.Unmarshal(body, &p); err != nil {
		s.t.Errorf("%v: %s", err, body)
	}
	if s.status == http.StatusOK {
		s.all = append(s.all, told{r.Header.Get("Webhook-Id"), p.Type, p.Data.Code, p.Seq})
	}
	w.WriteHeader(s.status)
}

func (s *shop) told() []told {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

// TestWebhookCommands: a webhook from the command line, from its making to its
// end.
func TestWebhookCommands(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := open(t, data)
	shop := newShop(t)
	with := commands{t, func(args ...string) (int, string, string) {
		t.Helper()
		return command(t, append([]string{"webhook", args[0], "--data=" + data}, args[1:]...)...)
	}}
	ok, fails := with.ok, with.fails
	fails(exitRefused, "--allow-private", "add", shop.url)
	fails(exitUsage, "URL", "add")
	id, secret, _ := strings.Cut(ok("add", "--allow-private", "--note=the shop", shop.url), "\n")
	shop.set(http.StatusOK, secret)
	if !strings.HasPrefix(id, "wh_") || !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("made: %q %q", id, secret)
	}
	if out := ok("ping", id); !strings.HasPrefix(out, "200 in ") {
		t.Errorf("ping: %s", out)
	}
	v := h.issue(map[string]any{"name": "tea", "owner": "alice", "count": 2})
	h.change(v[0].Code, "redeem", map[string]any{"by": "Ann", "key": "1"})
	h.change(v[0].Code, "reverse", map[string]any{"by": "Ann", "key": "1", "reason": "slip"})
	of := func(code string) (kinds []string) {
		for _, e := range shop.told() {
			if e.code == code {
				kinds = append(kinds, e.kind)
			}
		}
		return kinds
	}
	eventually(t, "all events", func() bool { return len(of(v[0].Code)) == 3 && len(of(v[1].Code)) == 1 })
	if got := fmt.Sprint(of(v[0].Code)); got != "[voucher.issued voucher.redeemed voucher.reversed]" {
		t.Errorf("told %s", got)
	}
	eventually(t, "the list to say so", func() bool { return strings.Count(ok("deliveries", id), "delivered") == 4 })
	if out := ok("list"); !strings.Contains(out, shop.url) || !strings.Contains(out, "active") || !strings.Contains(out, "the shop") || strings.Contains(out, "whsec") {
		t.Errorf("the list: %s", out)
	}
	// Once more: the same message.
	first := shop.told()[1]
	ok("resend", id, fmt.Sprint(first.seq))
	eventually(t, "the one that is sent again", func() bool { return len(shop.told()) == 6 })
	if again := shop.told()[5]; again != first {
		t.Errorf("sent again: %+v, the first one was %+v", again, first)
	}
	fails(exitRefused, "not_found", "resend", id, "99999")
	fails(exitUsage, "deliveries ID", "resend", id)
	if out := ok("resend", "--failed", id); out != "0 events are sent again" {
		t.Errorf("resend --failed: %s", out)
	}
	// For a day both secrets are good.
	fresh := ok("rotate", id)
	shop.set(http.StatusOK, secret, fresh)
	ok("ping", id)
	if fresh == secret {
		t.Error("the secret is the old one")
	}
	// 410 ends it, and both the list and the log say so.
	shop.set(http.StatusGone)
	h.issue(map[string]any{"name": "tea", "owner": "alice"})
	eventually(t, "410", func() bool { return strings.Contains(ok("list"), "disabled") })
	if out := ok("list"); !strings.Contains(out, "it answered 410 Gone") || !strings.Contains(h.stderr.String(), "a webhook was disabled") {
		t.Errorf("the list: %s; the log: %s", out, h.stderr)
	}
	fails(exitRefused, "410", "ping", id)
	shop.set(http.StatusOK, fresh)
	ok("enable", id)
	h.issue(map[string]any{"name": "tea", "owner": "bob"})
	eventually(t, "the next one", func() bool { return len(shop.told()) == 8 })
	ok("disable", id)
	if out := ok("list"); !strings.Contains(out, "by the operator") {
		t.Errorf("the list: %s", out)
	}
	ok("remove", id)
	fails(exitRefused, "not_found", "remove", id)
	fails(exitUsage, "remove ID", "remove")
	if log := h.stderr.String(); strings.Contains(log, "whsec") || strings.Contains(log, secret[6:30]) {
		t.Errorf("the log tells the secret: %s", log)
	}
}

// Our server is killed again and again while vouchers change and a backend is
// told of it. In the end the backend has been told every event, those of one
// voucher in their order; what it was told twice had the same id.
func TestWebhookKilled(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	data := t.TempDir()
	shop := newShop(t)
	h := spawn(t, data)
	var made struct{ Secret string }
	a := h.call("POST", "/api/v1/webhooks", map[string]any{"url": shop.url, "allow_private": true}, "Authorization", basicAuth("operator", testPassword))
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	a.into(t, &made)
	shop.set(http.StatusOK, made.Secret)

	for round := range number("WEBHOOK_KILLS", 5, 2) {
		var wg sync.WaitGroup
		for worker := range 4 {
			seed := random.Uint64()
			wg.Go(func() {
				random := rand.New(rand.NewPCG(seed, 0))
				for n := 0; ; n++ {
					var out struct{ Vouchers []voucher }
					a, err := h.send("POST", "/api/v1/vouchers", map[string]any{"name": "tea", "owner": fmt.Sprint("u", worker), "count": 1 + random.IntN(5)})
					if err != nil {
						return // killed
					}
					if a.status != http.StatusOK || json.Unmarshal(a.body, &out) != nil {
						t.Errorf("issue: %d %s", a.status, a.body)
						return
					}
					for _, v := range out.Vouchers {
						for i, what := range []string{"redeem", "reverse", "redeem"}[:random.IntN(4)] {
							if _, err := h.send("POST", "/api/v1/vouchers/"+v.Code+"/"+what, map[string]any{"by": "Ann", "reason": "slip", "key": fmt.Sprint(round, n, i)}); err != nil {
								return
							}
						}
					}
				}
			})
		}
		enough := len(shop.told()) + 40 + random.IntN(80)
		eventually(t, "some events", func() bool { return len(shop.told()) >= enough })
		h.kill()
		wg.Wait()
		h = spawn(t, data)
	}
	var list struct {
		Webhooks []struct {
			Waiting, Failed int
			Status          string
		}
	}
	eventually(t, "all to be told", func() bool {
		h.get("/api/v1/webhooks", &list)
		return list.Webhooks[0].Waiting == 0
	})
	if w := list.Webhooks[0]; w.Failed != 0 || w.Status != "active" {
		t.Errorf("in the end: %+v", w)
	}

	// What happened, by the log that clients read.
	happened := make(map[string][]told) // by code
	events := 0
	for worker := range 4 {
		for _, f := range h.history(fmt.Sprint("user:u", worker)) {
			var v voucher
			if err := json.Unmarshal(f.Body, &v); err != nil {
				t.Fatal(err)
			}
			happened[v.Code] = append(happened[v.Code], told{kind: f.Kind, code: v.Code, seq: f.Seq})
			events++
		}
	}
	ids, twice := make(map[string]int64), 0
	heard := make(map[string][]told)
	for _, e := range shop.told() {
		if seq, again := ids[e.id]; again {
			if twice++; seq != e.seq {
				t.Fatalf("%s is of two events, %d and %d", e.id, seq, e.seq)
			}
			if list := heard[e.code]; list[len(list)-1].seq != e.seq {
				t.Errorf("%s: event %d was told again after %+v", e.code, e.seq, list)
			}
			continue
		}
		ids[e.id] = e.seq
		e.id = ""
		heard[e.code] = append(heard[e.code], e)
	}
	t.Logf("%d events, %d of them told again", events, twice)
	if len(ids) != events {
		t.Errorf("%d events were told of %d", len(ids), events)
	}
	for code, want := range happened {
		if !slices.Equal(heard[code], want) {
			t.Errorf("%s: told %+v, happened %+v", code, heard[code], want)
		}
	}
}

// TestWebhookPHP runs the receiver of docs/vouchers.md.
func TestWebhookPHP(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "php", "--version").Run(); err != nil {
		needed(t, "PHP cannot be run here: %v", err)
	}
	for _, file := range []string{"docs/vouchers.md", "docs/vouchers.zh-CN.md"} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			blocks := slices.DeleteFunc(fenced(t, file, "php"), func(b string) bool { return !strings.Contains(b, "WEBHOOK_SIGNATURE") })
			if len(blocks) != 1 || strings.Count(blocks[0], "\n") > 16 {
				t.Fatalf("the receiver: %q", blocks)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "teahouse.php"), []byte(blocks[0]), 0o600); err != nil {
				t.Fatal(err)
			}
			h := open(t, t.TempDir())
			secret := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("key"), 10))
			url := servePHP(t, dir, "TEAHOUSE_WEBHOOK_SECRET="+secret) + "/teahouse.php"
			a := h.call("POST", "/api/v1/webhooks", map[string]any{"url": url, "allow_private": true, "secret": secret}, "Authorization", basicAuth("operator", testPassword))
			if a.status != http.StatusCreated {
				t.Fatalf("%d %s", a.status, a.body)
			}
			v := h.issue(map[string]any{"name": "tea", "owner": "alice", "ref": "81"})[0]
			h.change(v.Code, "redeem", map[string]any{"by": "Ann", "key": "1"})
			written := func() string {
				b, _ := os.ReadFile(filepath.Join(dir, "vouchers.log"))
				return string(b)
			}
			eventually(t, "two lines", func() bool { return strings.Count(written(), "\n") == 2 })
			if got := written(); !strings.Contains(got, " voucher.issued 81 ") || !strings.Contains(strings.SplitAfter(got, "\n")[1], " voucher.redeemed 81 ") {
				t.Errorf("it wrote %q", got)
			}
			// What is not signed, or signed long ago, is refused.
			body := []byte(`{"type":"voucher.redeemed","data":{"ref":"82"}}`)
			for what, at := range map[string]time.Time{"forged": time.Now(), "old": time.Now().Add(-10 * time.Minute), "good": time.Now()} {
				sign, err := standardwebhooks.NewWebhook(secret)
				if err != nil {
					t.Fatal(err)
				}
				signature, _ := sign.Sign("msg_1", at, body)
				if what == "forged" {
					signature = "v1,AAAA v1," + base64.StdEncoding.EncodeToString(make([]byte, 32)) + " v1a," + signature[3:]
				}
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
				req.Header.Set("Webhook-Id", "msg_1")
				req.Header.Set("Webhook-Timestamp", fmt.Sprint(at.Unix()))
				req.Header.Set("Webhook-Signature", signature)
				res, err := backend.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if good := res.StatusCode/100 == 2; good != (what == "good") || !good && res.StatusCode != http.StatusUnauthorized {
					t.Errorf("a %s one is answered %d", what, res.StatusCode)
				}
			}
		})
	}
}

// servePHP runs PHP's own server in a folder and returns its URL.
func servePHP(t *testing.T, dir string, env ...string) string {
	t.Helper()
	for try := 0; ; try++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		cmd := exec.Command("php", "-S", addr, "-t", dir)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), env...)
		var out output
		cmd.Stdout, cmd.Stderr = &out, &out
		dieWithParent(cmd)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait()
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
		})
		up := false
		eventually(t, "PHP's server", func() bool {
			select {
			case <-ended:
				return true
			default:
			}
			up = strings.Contains(out.String(), ") started")
			return up
		})
		if up {
			return "http://" + addr
		}
		if try == 5 {
			t.Fatalf("PHP's server does not start: %s", &out)
		}
	}
}
