package api_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
)

// newPassShop is a shop with one voucher; pass is what its owner's page shows
// at a time from now.
func newPassShop(t *testing.T, mode chat.PassMode) (h *house, code string, pass func(off time.Duration) string) {
	t.Helper()
	h = newHouse(t)
	h.store.vouchers.mode = mode
	h.store.clocked(h.clock.now)
	for _, v := range h.issue(`{"name":"x","owner":"alice","count":8}`) {
		code, pass = v.Code, h.passOf(v.Code)
		seen := map[string]bool{} // there are but a million: take one that has no pass twice within these hours
		for off := -2 * time.Hour; off <= 2*time.Hour; off += chat.PassStep {
			seen[pass(off)] = true
		}
		if len(seen) == 481 {
			break
		}
	}
	return h, code, pass
}

func (h *house) passOf(code string) func(off time.Duration) string {
	secret := h.store.vouchers.passes.Secret(chat.Voucher{Code: code, Status: chat.VoucherIssued})
	return func(off time.Duration) string {
		h.t.Helper()
		p, err := chat.PassAt(secret, h.clock.now().Add(off))
		must(h.t, err)
		return p
	}
}

// guess shows a voucher with a pass that is wrong at any time near.
func (h *house) guess(code string, who ...string) *reply {
	h.t.Helper()
	for {
		pass := fmt.Sprintf("%06d", rand.IntN(1_000_000))
		r := h.change(code, "redeem", fmt.Sprintf(`{"by":"Boss","key":"guess","pass":%q}`, pass), who...)
		if r.Code == 200 {
			h.t.Error("a pass was guessed, which happens once in 300,000 times")
			return r
		}
		if !strings.Contains(r.Body.String(), "pass_off_ms") { // that was one of another time: no guess
			return r
		}
	}
}

func TestVoucherPasses(t *testing.T) {
	t.Parallel()
	h, code, pass := newPassShop(t, chat.PassRequired)
	ann, _ := h.hire("Ann", "Gate 1", "123456")
	redeem := func(code, key, pass string, who ...string) *reply {
		t.Helper()
		return h.change(code, "redeem", fmt.Sprintf(`{"by":"Ann","key":%q,"pass":%q}`, key, pass), who...)
	}
	redeem(code, "1", "", ann...).problem(409, chat.CodePassRequired)
	p := redeem(code, "1", "", append(ann, "Accept-Language", "zh")...).problem(409, chat.CodePassRequired)
	if !strings.Contains(p.Detail, "截图或打印件不行") || p.Voucher == nil || p.Voucher.Name != "x" {
		t.Errorf("what staff are told: %+v", p)
	}
	p = redeem(code, "1", pass(-5*time.Minute), ann...).problem(409, chat.CodePassStale)
	if p.PassOff == nil || *p.PassOff != -300_000 || p.CheckClock || !strings.Contains(p.Detail, "is 5m old") {
		t.Errorf("what staff are told: %+v", p)
	}
	p = redeem(code, "1", pass(-5*time.Minute), append(ann, "Accept-Language", "zh")...).problem(409, chat.CodePassStale)
	if p.Detail != "这个二维码是 5 分钟前的：可能是截图，或者页面停住了。请顾客打开自己的券页面（二维码每半分钟会变），再扫一次。" {
		t.Errorf("what staff are told: %+v", p)
	}
	p = redeem(code, "1", pass(90*time.Minute), ann...).problem(409, chat.CodePassStale)
	if p.PassOff == nil || *p.PassOff != 5_400_000 || !p.CheckClock || !strings.Contains(p.Detail, "is 1h30m ahead of the server's clock") || !strings.Contains(p.Detail, "check the server's clock") {
		t.Errorf("what staff are told: %+v", p)
	}
	if p := redeem(code, "1", pass(90*time.Minute), append(ann, "Accept-Language", "zh")...).problem(409, chat.CodePassStale); !strings.Contains(p.Detail, "快 1 小时 30 分钟") || !strings.Contains(p.Detail, "请检查服务器的时钟") {
		t.Errorf("what staff are told: %+v", p)
	}
	p = h.guess(code, ann...).problem(409, chat.CodePassStale)
	if p.PassOff != nil || p.CheckClock {
		t.Errorf("what staff are told: %+v", p)
	}
	for _, body := range []string{`{"key":"1","pass":"12"}`, `{"key":"1","pass":12}`, `{"key":"1","pass":"` + strings.Repeat("1", 1000) + `"}`, `{"key":"1","scanned_at":1}`, `{"key":"1","scanned_at":"x"}`, fmt.Sprintf(`{"key":"1","scanned_at":%d}`, begin.Add(-13*time.Hour).UnixMilli())} {
		h.change(code, "redeem", body, ann...).problem(400, chat.CodeBadRequest)
	}

	var out api.ChangedVoucher
	now := pass(0)
	h.ask("GET", "/api/v1/vouchers/"+code+"."+now, "", ann...).ok(200, nil)
	redeem(code+"."+now, "1", "", ann...).ok(200, &out)
	equal(t, "first", out.First, true)
	h.clock.forward(time.Hour)
	redeem(code+"."+now, "1", "", ann...).ok(200, &out)
	equal(t, "first", out.First, false)
	redeem(code, "2", now, ann...).problem(409, chat.CodeVoucherRedeemed)
	// A pass counts once.
	h.change(code, "reverse", `{"reason":"slip","key":"u"}`, ann...).ok(200, nil)
	redeem(code, "3", pass(0), ann...).ok(200, nil)
	h.change(code, "reverse", `{"reason":"slip","key":"u2"}`, ann...).ok(200, nil)
	if p := redeem(code, "4", pass(0), ann...).problem(409, chat.CodePassStale); p.PassOff != nil || !strings.Contains(p.Detail, "wait for the next one") {
		t.Errorf("what staff are told: %+v", p)
	}
	if p := redeem(code, "4", pass(0), append(ann, "Accept-Language", "zh")...).problem(409, chat.CodePassStale); !strings.Contains(p.Detail, "等下一个") {
		t.Errorf("what staff are told: %+v", p)
	}
	// A scan of before, and what the log keeps of it.
	scanned, shown := h.clock.now().Add(31*time.Second), pass(31*time.Second)
	h.clock.forward(time.Hour)
	redeem(code, "4", shown, ann...).problem(409, chat.CodePassStale)
	h.change(code, "redeem", fmt.Sprintf(`{"key":"4","pass":%q,"scanned_at":%d}`, shown, scanned.UnixMilli()), ann...).ok(200, nil)
	var one api.VoucherWithLog
	h.ask("GET", "/api/v1/vouchers/"+code, "", ann...).ok(200, &one)
	last := one.Log[len(one.Log)-1]
	if last.ScannedAt != scanned.UnixMilli() || last.PassAt != scanned.Truncate(chat.PassStep).UnixMilli() || last.At != h.clock.now().UnixMilli() || one.Log[0].PassAt != 0 {
		t.Errorf("the log: %+v", one.Log)
	}
	// An operator may in any case; a backend's key may not.
	second := h.issue(`{"name":"y","owner":"alice"}`)[0].Code
	redeem(second, "1", "").problem(409, chat.CodePassRequired)
	redeem(second, "1", "", "Authorization", "Bearer "+localKey).ok(200, nil)
	for _, secret := range []string{now, shown, code, "NNNNNN"} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log tells %s: %s", secret, h.log)
		}
	}
}

// Six digits cannot be guessed: not of one voucher, not of many, not by many
// at once. Who shows an old picture, or has a wrong clock, is no guesser.
func TestVoucherPassGuessing(t *testing.T) {
	t.Parallel()
	addr := "10.0.0.1"
	h, code, pass := newPassShop(t, chat.PassOptional)
	h.opts.Addr = func(*http.Request) string { return addr }
	h.restart()
	ann, _ := h.hire("Ann", "Gate 1", "123456")
	kim, _ := h.hire("Kim", "Gate 2", "123456")
	redeem := func(code, key, pass string, who ...string) *reply {
		t.Helper()
		return h.change(code, "redeem", fmt.Sprintf(`{"by":"Boss","key":%q,"pass":%q}`, key, pass), who...)
	}
	for range 50 {
		redeem(code, "1", pass(-time.Hour), ann...).problem(409, chat.CodePassStale)
		redeem(code, "1", pass(time.Hour), ann...).problem(409, chat.CodePassStale)
	}
	for range 5 {
		h.guess(code, ann...).problem(409, chat.CodePassStale)
	}
	// Not even the right one is looked at now, from wherever it comes: but the
	// code alone does where that is enough, and others' vouchers do.
	p := redeem(code, "1", pass(0), ann...).problem(429, chat.CodeRateLimited)
	if p.RetryMS < 25_000 || p.RetryMS > 30_000 || p.Voucher == nil {
		t.Errorf("%+v", p)
	}
	addr = "10.0.0.2"
	redeem(code, "1", pass(0), kim...).problem(429, chat.CodeRateLimited)
	redeem(code, "1", pass(0)).problem(429, chat.CodeRateLimited)
	other := h.issue(`{"name":"y","owner":"alice"}`)[0].Code
	redeem(other, "1", h.passOf(other)(0), kim...).ok(200, nil)
	h.clock.forward(30 * time.Second)
	redeem(code, "1", pass(0), ann...).ok(200, nil)
	// What was done is told again even to those who must wait.
	var out api.ChangedVoucher
	h.change(code, "reverse", `{"by":"Boss","reason":"slip","key":"u"}`).ok(200, nil)
	for range 5 {
		h.guess(code, ann...)
	}
	redeem(code, "2", pass(chat.PassStep), ann...).problem(429, chat.CodeRateLimited)
	redeem(code, "1", pass(0), ann...).ok(200, &out)
	equal(t, "first", out.First, false)
	redeem(code, "3", "", ann...).ok(200, nil)

	// Many vouchers, by one member of staff or from one address.
	for name, who := range map[string][]string{"staff": ann, "address": nil} {
		h.clock.forward(time.Hour)
		tried, key := 0, "Authorization"
		list := h.issue(`{"name":"z","owner":"alice","count":30}`)
		for i, v := range list {
			auth := who
			if name == "staff" {
				addr = fmt.Sprint("10.1.0.", i)
			} else {
				addr = "10.2.0.1"
				auth = []string{key, "Bearer " + testKey}
				if i%2 == 0 {
					auth = kim
				}
			}
			if h.guess(v.Code, auth...).Code == 409 {
				tried++
			}
		}
		if tried != 20 {
			t.Errorf("%s: %d guesses were looked at", name, tried)
		}
		if name == "staff" {
			ann, _ = h.signIn("Ann", "123456")
			who = ann
		} else {
			who = []string{key, "Bearer " + testKey}
		}
		v := list[29]
		redeem(v.Code, "g", h.passOf(v.Code)(0), who...).problem(429, chat.CodeRateLimited)
		h.clock.forward(4 * time.Second)
		redeem(v.Code, "g", h.passOf(v.Code)(0), who...).ok(200, nil)
	}
	for _, line := range strings.Split(h.log.String(), "\n") {
		if strings.Contains(line, code) || strings.Contains(line, pass(0)) {
			t.Errorf("the log tells too much: %s", line)
		}
	}
	if log := h.log.String(); !strings.Contains(log, `"a voucher was shown with a wrong pass" request=`) || !strings.Contains(log, "caller=staff:Ann addr=10.0.0.1") || !strings.Contains(log, "too many wrong voucher passes") {
		t.Errorf("the log: %s", log)
	}
}

// Many guesses at once are no more than one after another.
func TestVoucherPassGuessingAtOnce(t *testing.T) {
	t.Parallel()
	h, code, pass := newPassShop(t, chat.PassRequired)
	answers := make(chan int)
	for range 40 {
		go func() { answers <- h.guess(code).Code }()
	}
	count := map[int]int{}
	for range 40 {
		count[<-answers]++
	}
	if count[409] != 5 || count[429] != 35 {
		t.Errorf("answers: %v", count)
	}
	h.change(code, "redeem", fmt.Sprintf(`{"by":"Boss","key":"k","pass":%q}`, pass(0))).problem(429, chat.CodeRateLimited)
}

// Staff are told that the server's clock leapt.
func TestClockNotice(t *testing.T) {
	t.Parallel()
	h, code, _ := newPassShop(t, chat.PassOptional)
	ann, _ := h.hire("Ann", "Gate 1", "123456")
	read := func(more ...string) (out api.VoucherWithLog) {
		t.Helper()
		h.ask("GET", "/api/v1/vouchers/"+code, "", append(ann, more...)...).ok(200, &out)
		return out
	}
	equal(t, "the notice", read().Notice, "")
	for _, by := range []time.Duration{-time.Hour, 90 * time.Minute} {
		h.store.vouchers.leap = &chat.ClockLeap{By: by, At: begin}
		for lang, want := range map[string]string{"en": "check the server's clock", "zh-CN": "请检查服务器的时钟"} {
			if n := read("Accept-Language", lang).Notice; !strings.Contains(n, want) {
				t.Errorf("%s: %q", lang, n)
			}
		}
	}
	var out api.ChangedVoucher
	h.change(code, "redeem", `{"key":"k"}`, ann...).ok(200, &out)
	if !strings.Contains(out.Notice, "1h30m") {
		t.Errorf("the notice: %q", out.Notice)
	}
}
