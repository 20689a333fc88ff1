package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Vouchers as backends, staff and owners meet them. chat/api, db and
// chat/storetest have the details.

type voucher struct {
	Code, Ref, Name, Owner, Status, Batch, Note string
	RedeemedBy                                  string `json:"redeemed_by"`
	Station                                     string
	IssuedAt                                    int64 `json:"issued_at"`
	ExpiresAt                                   int64 `json:"expires_at"`
	RedeemedAt                                  int64 `json:"redeemed_at"`
}

// redeemed is an answer to a change, or its refusal.
type redeemed struct {
	Voucher    voucher
	First      bool
	Code       string
	Detail     string
	RedeemedBy string `json:"redeemed_by"`
	Station    string
	RedeemedAt int64 `json:"redeemed_at"`
}

func (h *house) issue(order map[string]any) []voucher {
	h.t.Helper()
	a := h.call("POST", "/api/v1/vouchers", order)
	if a.status != http.StatusOK {
		h.t.Fatalf("issue: %d %s", a.status, a.body)
	}
	var out struct{ Vouchers []voucher }
	a.into(h.t, &out)
	return out.Vouchers
}

func (h *house) change(code, what string, body map[string]any, headers ...string) (int, redeemed) {
	h.t.Helper()
	a := h.call("POST", "/api/v1/vouchers/"+code+"/"+what, body, headers...)
	var r redeemed
	a.into(h.t, &r)
	return a.status, r
}

// A member of staff scans, and all of the owner's devices say so; nobody else's.
func TestVoucherSeenAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), "--auth=token")
	phone, w := enter(t, h.ws(), "alice", "token", h.token("alice"))
	laptop, _ := enter(t, h.ws(), "alice", "token", h.token("alice"))
	bob, _ := enter(t, h.ws(), "bob", "token", h.token("bob"))
	if a := h.call("POST", "/api/v1/staff", map[string]any{"name": "Ann", "station": "Gate 1", "pin": "246810"}); a.status != http.StatusCreated {
		t.Fatalf("staff: %d %s", a.status, a.body)
	}
	v := h.issue(map[string]any{"name": "Two teas", "owner": "alice", "ref": 81})[0]
	told := func(g *guest, kind string) voucher {
		t.Helper()
		f := g.expect(kind, func(f frame) bool { return f.Op == "event" && f.Kind == kind })
		var v voucher
		if err := json.Unmarshal(f.Body, &v); err != nil || f.Topic != "user:alice" || f.From != "" {
			t.Errorf("told %s: %v", f, err)
		}
		return v
	}
	told(phone, "voucher.issued")
	var in struct{ Token string }
	h.call("POST", "/api/v1/staff/sign-in", map[string]any{"name": "Ann", "pin": "246810"}, "Authorization", "", "Origin", "https://servicewechat.com").into(t, &in)
	status, r := h.change(v.Code, "redeem", map[string]any{"key": "scan-1"}, "Authorization", "Bearer "+in.Token)
	if status != http.StatusOK || !r.First || r.Voucher.RedeemedBy != "Ann" || r.Voucher.Station != "Gate 1" {
		t.Fatalf("redeem: %d %+v", status, r)
	}
	for _, g := range []*guest{phone, laptop} {
		if got := told(g, "voucher.redeemed"); got != r.Voucher {
			t.Errorf("told %+v; redeemed was %+v", got, r.Voucher)
		}
	}
	h.change(v.Code, "reverse", map[string]any{"key": "undo-1", "reason": "slip"}, "Authorization", "Bearer "+in.Token)
	told(phone, "voucher.reversed")
	bob.settled()
	if n := len(bob.all("event", "user:alice")) + len(bob.all("event", "user:bob")); n != 0 {
		t.Errorf("bob was told %d events", n)
	}

	// The owner reads the list with the token of the WebSocket, a guest does not.
	list := func(auth string) (int, []voucher) {
		a := h.call("GET", "/api/v1/vouchers?owner=alice", nil, "Authorization", auth)
		var out struct{ Vouchers []voucher }
		a.into(t, &out)
		return a.status, out.Vouchers
	}
	if status, got := list("Bearer " + h.token("alice")); status != 200 || len(got) != 1 || got[0].Code != v.Code {
		t.Errorf("alice's list: %d %+v", status, got)
	}
	if status, got := list("Bearer " + h.token("bob")); status != 200 || len(got) != 0 {
		t.Errorf("bob's list: %d %+v", status, got)
	}
	for _, auth := range []string{"", "Bearer x", "Bearer " + in.Token} {
		if status, got := list(auth); status/100 != 4 || len(got) != 0 {
			t.Errorf("a list for %.12q: %d %+v", auth, status, got)
		}
	}
	// Coming back by position brings what was missed of vouchers, too.
	phone.hangUp()
	h.change(v.Code, "void", map[string]any{"by": "boss", "reason": "sold out", "key": "v"})
	phone, _ = enter(t, h.ws(), "alice", "token", h.token("alice"), "position", w.Position)
	if got := told(phone, "voucher.void"); got.Status != "void" {
		t.Errorf("told %+v", got)
	}
	// A staff token is no client's token.
	eve := dial(t, h.ws())
	eve.say("hello", "user", "Ann", "token", in.Token)
	eve.closedWith(4100)
	for _, secret := range []string{"246810", v.Code, in.Token} {
		if strings.Contains(h.stderr.String(), secret) {
			t.Errorf("the log tells %s", secret)
		}
	}
}

// 500 at once: one.
func TestVoucherRedeemedOnce(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	alice, _ := enter(t, h.ws(), "alice")
	v := h.issue(map[string]any{"name": "tea", "owner": "alice"})[0]
	tries := number("REDEMPTIONS", 500, 100)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, MaxConnsPerHost: 100}, Timeout: patience}
	defer client.CloseIdleConnections()
	answers := make(chan redeemed, tries)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range tries {
		wg.Go(func() {
			<-start
			body := fmt.Sprintf(`{"by":"staff %d","key":"k"}`, i)
			req, _ := http.NewRequest("POST", h.url+"/api/v1/vouchers/"+v.Code+"/redeem", strings.NewReader(body))
			req.Header.Set("Authorization", "Bearer "+testKey)
			res, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			var r redeemed
			if err := json.NewDecoder(res.Body).Decode(&r); err != nil {
				t.Error(err)
			}
			answers <- r
		})
	}
	close(start)
	wg.Wait()
	close(answers)
	winner, refused := "", 0
	var others []redeemed
	for r := range answers {
		switch {
		case r.First && winner == "":
			winner = r.Voucher.RedeemedBy
		case r.Code == "voucher_redeemed":
			refused++
			others = append(others, r)
		default:
			t.Errorf("a second success, or another refusal: %+v", r)
		}
	}
	if winner == "" || refused != tries-1 {
		t.Errorf("redeemed by %q, refused to %d of %d", winner, refused, tries)
	}
	for _, r := range others {
		if r.RedeemedBy != winner || r.RedeemedAt == 0 || !strings.Contains(r.Detail, winner) {
			t.Errorf("a refusal names %q: %+v", r.RedeemedBy, r)
		}
	}
	h.call("POST", "/api/v1/events", map[string]any{"to": []string{"alice"}, "key": "last", "body": 1})
	alice.expectEvent("user:alice", "last")
	if n := len(alice.all("event", "user:alice")); n != 3 { // issued, redeemed, last
		t.Errorf("alice was told %d events", n)
	}
}

// plainProgram returns the program as it is shipped, for tests that start it
// so often that the race detector's cost in it would be all they do. The tests
// themselves and the other servers go on under it.
func plainProgram(t testing.TB) (start func(data string) *house) {
	t.Helper()
	racing := false
	if info, ok := debug.ReadBuildInfo(); ok {
		racing = slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
	}
	if !racing {
		return func(data string) *house { return spawn(t, data) }
	}
	binary := filepath.Join(t.TempDir(), "teahouse")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return func(data string) *house {
		t.Helper()
		furnish(t, data)
		h := &house{t: t, data: data}
		cmd := exec.Command(binary, serveArgs(data, nil)[1:]...)
		dieWithParent(cmd)
		h.launch(cmd)
		return h
	}
}

// The server is killed a hundred times in the middle of redemptions: never two
// for a voucher, and none that was acknowledged is lost. Everybody repeats what
// was not answered, with the same key.
func TestVouchersKilled(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	rounds, each, workers := number("VOUCHER_ROUNDS", 100, 5), 12, 4
	dir := t.TempDir()
	p := newPlace()
	start := plainProgram(t)
	h := start(dir)
	p.set(h.host())

	winners := make(map[string]string) // code -> who was told so
	for round := range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		list := h.issue(map[string]any{"name": "tea", "owner": "alice", "count": each})
		told := make([]map[string]string, workers) // what each worker was told: who redeemed it
		var answers atomic.Int64
		var wg sync.WaitGroup
		for w := range workers {
			told[w] = make(map[string]string)
			order := rand.New(rand.NewPCG(rng.Uint64(), 3)).Perm(each)
			wg.Go(func() {
				me := fmt.Sprintf("staff %d", w)
				for _, i := range order {
					for {
						host, err := p.get(ctx)
						if err != nil {
							t.Error(err)
							return
						}
						at := &house{t: t, url: "http://" + host}
						a, err := at.send("POST", "/api/v1/vouchers/"+list[i].Code+"/redeem", map[string]any{"by": me, "key": fmt.Sprint("scan ", round)})
						var r redeemed
						if err != nil || a.status >= 500 || json.Unmarshal(a.body, &r) != nil {
							continue // not known: again
						}
						switch a.status {
						case http.StatusOK:
							told[w][list[i].Code] = r.Voucher.RedeemedBy
						case http.StatusConflict:
							if told[w][list[i].Code] = r.RedeemedBy; r.RedeemedBy == me {
								t.Errorf("%s asked again with the same key and was refused: %s", me, r.Detail)
							}
						default:
							t.Errorf("%d %s", a.status, a.body)
							return
						}
						answers.Add(1)
						break
					}
				}
			})
		}
		limit := int64(rng.IntN(each * workers))
		eventually(t, "the moment to die", func() bool { return answers.Load() >= limit })
		p.set("")
		h.kill()
		h = start(dir)
		p.set(h.host())
		wg.Wait()
		for _, v := range list {
			for w := range workers {
				who := told[w][v.Code]
				if winners[v.Code] == "" {
					winners[v.Code] = who
				}
				if who == "" || who != winners[v.Code] {
					t.Errorf("round %d: a voucher was redeemed by %q and by %q", round, winners[v.Code], who)
				}
			}
			// The same request again is told the same again, after the crash too.
			status, r := h.change(v.Code, "redeem", map[string]any{"by": winners[v.Code], "key": fmt.Sprint("scan ", round)})
			if status != http.StatusOK || r.First || r.Voucher.RedeemedBy != winners[v.Code] {
				t.Errorf("round %d: the winner asks again: %d %+v", round, status, r)
			}
		}
	}
	events := make(map[string]int)
	for _, f := range h.history("user:alice") {
		var v voucher
		if err := json.Unmarshal(f.Body, &v); err != nil {
			t.Fatal(err)
		}
		if f.Kind == "voucher.redeemed" {
			events[v.Code]++
			if v.RedeemedBy != winners[v.Code] {
				t.Errorf("the inbox says %q, staff were told %q", v.RedeemedBy, winners[v.Code])
			}
		}
	}
	kept := 0
	for cursor := ""; ; {
		var page struct {
			Vouchers []voucher
			Cursor   string
		}
		h.get("/api/v1/vouchers?limit=500&cursor="+cursor, &page)
		for _, v := range page.Vouchers {
			if kept++; v.Status != "redeemed" || v.RedeemedBy != winners[v.Code] || events[v.Code] != 1 {
				t.Errorf("kept %+v with %d events; %s was told so", v, events[v.Code], winners[v.Code])
			}
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if len(winners) != rounds*each || kept != len(winners) {
		t.Errorf("%d vouchers, %d kept", len(winners), kept)
	}
	h.stop()
}

// What fell due while the server was down is told when it is back, without
// anybody asking; and nobody redeems it in between.
func TestVoucherExpiresWhileDown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	_, w := enter(t, h.ws(), "alice")
	v := h.issue(map[string]any{"name": "tea", "owner": "alice", "expires_at": time.Now().Add(500 * time.Millisecond).UnixMilli()})[0]
	if h.stop() != exitOK {
		t.Fatal(h.stderr)
	}
	time.Sleep(time.Until(time.UnixMilli(v.ExpiresAt)))
	h = open(t, dir)
	if status, r := h.change(v.Code, "redeem", map[string]any{"by": "Ann", "key": "k"}); status != http.StatusGone || r.Code != "voucher_expired" {
		t.Errorf("redeem: %d %+v", status, r)
	}
	alice, _ := enter(t, h.ws(), "alice", "position", w.Position)
	alice.expect("the end of the voucher", func(f frame) bool { return f.Op == "event" && f.Kind == "voucher.expired" })
}
