package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
)

type httpRequest = http.Request

// hire makes an account and signs in with it.
func (h *house) hire(name, station, pin string) (auth []string, in api.SignedIn) {
	h.t.Helper()
	h.ask("POST", "/api/v1/staff", fmt.Sprintf(`{"name":%q,"station":%q,"pin":%q}`, name, station, pin)).ok(201, nil)
	return h.signIn(name, pin)
}

func (h *house) signIn(name, pin string) (auth []string, in api.SignedIn) {
	h.t.Helper()
	h.trySignIn(name, pin).ok(200, &in)
	return []string{"Authorization", "Bearer " + in.Token}, in
}

func (h *house) trySignIn(name, pin string) *reply {
	h.t.Helper()
	return h.ask("POST", "/api/v1/staff/sign-in", fmt.Sprintf(`{"name":%q,"pin":%q}`, name, pin), "Authorization", "")
}

func TestStaffRedeem(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	ann, in := h.hire("Ann", "Gate 1", "123456")
	equal(t, "who", in.Staff, api.StaffBadge{Name: "Ann", Station: "Gate 1"})
	equal(t, "until", in.ExpiresAt, begin.Add(12*time.Hour).UnixMilli())
	kim, _ := h.hire("Kim", "", "a long password")
	list := h.issue(`{"name":"x","owner":"alice","count":2}`)
	code := list[0].Code

	var out api.ChangedVoucher
	h.change(code, "redeem", `{"by":"Boss","station":"Mars","key":"k"}`, ann...).ok(200, &out)
	if v := out.Voucher; v.RedeemedBy != "Ann" || v.Station != "Gate 1" || !out.First {
		t.Errorf("who and where are not the account's: %+v", v)
	}
	h.change(code, "redeem", `{"key":"k"}`, ann...).ok(200, &out)
	equal(t, "first", out.First, false)
	// Another one with the same key is another one.
	p := h.change(code, "redeem", `{"by":"Ann","station":"Gate 1","key":"k"}`, kim...).problem(409, chat.CodeVoucherRedeemed)
	equal(t, "by", p.RedeemedBy, "Ann")
	var one api.VoucherWithLog
	h.ask("GET", "/api/v1/vouchers/"+code, "", kim...).ok(200, &one)
	equal(t, "log", len(one.Log), 2)

	h.change(code, "reverse", `{"by":"Ann","reason":"mine","key":"r"}`, kim...).problem(403, chat.CodeVoucherNotYours)
	h.clock.forward(25 * time.Hour)
	ann, _ = h.signIn("Ann", "123456")
	h.signIn("Kim", "a long password")
	h.change(code, "reverse", `{"reason":"slip","key":"r"}`, ann...).problem(409, chat.CodeReverseLate)
	h.change(list[1].Code, "redeem", `{"key":"k"}`, ann...).ok(200, nil)
	h.change(list[1].Code, "reverse", `{"reason":"slip","key":"r"}`, ann...).ok(200, &out)
	equal(t, "state", out.Voucher.Status, "issued")

	for _, r := range []*reply{
		h.ask("GET", "/api/v1/vouchers", "", ann...), h.change(code, "void", `{"reason":"x","key":"v"}`, ann...), h.ask("POST", "/api/v1/vouchers", `{"name":"x","owner":"ann"}`, ann...),
		h.ask("GET", "/api/v1/staff", "", ann...), h.ask("PATCH", "/api/v1/staff/Kim", `{"pin":"654321"}`, ann...), h.ask("DELETE", "/api/v1/staff/Kim", "", ann...),
		h.ask("POST", "/api/v1/staff", `{"name":"x","pin":"123456"}`, ann...), h.ask("GET", "/api/v1/sessions", "", ann...), h.ask("POST", "/api/v1/tokens", `{"user":"x"}`, ann...),
		h.ask("GET", "/api/v1/topics/user:alice/events", "", ann...), h.ask("POST", "/api/v1/events", `{"topic":"room:a","body":1}`, ann...), h.ask("GET", "/api/v1/keys", "", ann...),
	} {
		r.problem(403, chat.CodeForbidden)
	}
	// Neither token is the other one.
	if _, _, err := h.opts.Tokens.Verify(strings.TrimPrefix(ann[1], "Bearer ")); chat.CodeOf(err) != chat.CodeBadToken {
		t.Errorf("a staff token lets say hello: %v", err)
	}
	h.ask("GET", "/api/v1/vouchers/"+code, "", h.client("Ann")...).problem(403, chat.CodeForbidden)
}

func TestStaffTokensEnd(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	code := h.issue(`{"name":"x","owner":"alice"}`)[0].Code
	read := func(auth []string) *reply { return h.ask("GET", "/api/v1/vouchers/"+code, "", auth...) }
	ann, _ := h.hire("Ann", "Gate 1", "123456")
	read(ann).ok(200, nil)
	for _, body := range []string{`{"station":"Bar"}`, `{"pin":"654321"}`, `{"station":"","pin":"123456"}`} {
		h.ask("PATCH", "/api/v1/staff/Ann", body).ok(200, nil)
		read(ann).problem(401, chat.CodeBadToken)
		pin := "123456"
		if strings.Contains(body, "654321") {
			pin = "654321"
			h.trySignIn("Ann", "123456").problem(401, chat.CodeSignIn)
		} else if h.trySignIn("Ann", pin).Code != 200 {
			pin = "654321"
		}
		ann, _ = h.signIn("Ann", pin)
		read(ann).ok(200, nil)
	}
	h.ask("DELETE", "/api/v1/staff/Ann", "").ok(204, nil)
	read(ann).problem(401, chat.CodeBadToken)
	h.trySignIn("Ann", "123456").problem(401, chat.CodeSignIn)
	h.ask("DELETE", "/api/v1/staff/Ann", "").problem(404, chat.CodeNotFound)
	h.ask("PATCH", "/api/v1/staff/Ann", `{"pin":"654321"}`).problem(404, chat.CodeNotFound)
	// One with the same name is another account.
	again, _ := h.hire("Ann", "Gate 1", "123456")
	read(ann).problem(401, chat.CodeBadToken)
	read(again).ok(200, nil)
	h.clock.forward(12*time.Hour + 31*time.Second)
	read(again).problem(401, chat.CodeTokenExpired)
	h.clock.forward(-time.Hour)
	// What is made up, or of another house.
	other, err := api.NewTokens(t.Context(), newMemory(), h.clock.now)
	must(t, err)
	foreign, _, err := other.Issue("Ann", 0)
	must(t, err)
	for _, token := range []string{again[1][7:] + "x", foreign, "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ0ZWFob3VzZSBzdGFmZiIsInN1YiI6IkFubiJ9."} {
		read([]string{"Authorization", "Bearer " + token}).problem(401, chat.CodeBadToken)
	}
}

func TestStaffAccounts(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	for _, body := range []string{
		`{"name":"Ann"}`, `{"name":"Ann","pin":"12345"}`, `{"name":"Ann","pin":" 123456"}`, `{"name":"Ann","pin":"` + strings.Repeat("1", 129) + `"}`,
		`{"name":" ","pin":"123456"}`, `{"name":"` + strings.Repeat("x", 65) + `","pin":"123456"}`, `{"name":"a\u202eb","pin":"123456"}`, `{"name":"Ann","pin":123456}`,
		`{"name":"Ann","pin":"123456","station":"` + strings.Repeat("x", 65) + `"}`,
	} {
		r := h.ask("POST", "/api/v1/staff", body)
		r.problem(400, chat.CodeBadRequest)
	}
	h.ask("POST", "/api/v1/staff", `{"name":" 王 芳 ","station":"Gate 1","pin":"123456"}`, "Idempotency-Key", "k").ok(201, nil)
	h.ask("POST", "/api/v1/staff", `{"name":" 王 芳 ","station":"Gate 1","pin":"123456"}`, "Idempotency-Key", "k").ok(201, nil)
	h.ask("POST", "/api/v1/staff", `{"name":" 王 芳 ","station":"Gate 2","pin":"123456"}`, "Idempotency-Key", "k").problem(409, chat.CodeKeyReused)
	h.ask("POST", "/api/v1/staff", `{"name":"王 芳","pin":"999999"}`).problem(409, chat.CodeStaffExists)
	h.ask("PATCH", "/api/v1/staff/%E7%8E%8B%20%E8%8A%B3", `{"station":"Bar"}`).ok(200, nil)
	h.ask("PATCH", "/api/v1/staff/%E7%8E%8B%20%E8%8A%B3", `{}`).problem(400, chat.CodeBadRequest)
	h.ask("PATCH", "/api/v1/staff/%E7%8E%8B%20%E8%8A%B3", `{"pin":"1"}`).problem(400, chat.CodeBadRequest)
	var list struct{ Staff []api.StaffInfo }
	r := h.ask("GET", "/api/v1/staff", "").ok(200, &list)
	equal(t, "staff", len(list.Staff), 1)
	equal(t, "listed", list.Staff[0], api.StaffInfo{Name: "王 芳", Station: "Bar", CreatedAt: begin.UnixMilli(), ChangedAt: begin.UnixMilli()})
	if strings.Contains(r.Body.String(), "hash") || strings.Contains(r.Body.String(), "stamp") {
		t.Errorf("the list shows too much: %s", r.Body)
	}
	h.ask("GET", "/api/v1/staff", "", "Authorization", "").problem(401, chat.CodeUnauthorized)
	// Nothing that is kept tells the PIN, not even as a plain hash.
	for _, s := range h.store.vouchers.staff {
		if strings.Contains(string(s.PINHash), "123456") || !strings.HasPrefix(string(s.PINHash), "$2") {
			t.Errorf("the PIN is kept as %s", s.PINHash)
		}
	}
	// The answer's place knows the request by what is not the PIN.
	h.ask("POST", "/api/v1/staff", `{"name":" 王 芳 ","station":"Gate 1","PIN":"654321"}`, "Idempotency-Key", "k").ok(201, nil)
	if strings.Contains(h.log.String(), "123456") {
		t.Error("the log tells a PIN")
	}
}

func TestStaffGuessing(t *testing.T) {
	t.Parallel()
	h := newShop(t)
	addr := "10.0.0.1"
	h.opts.Addr = func(*http.Request) string { return addr }
	h.restart()
	h.hire("Ann", "Gate 1", "123456")
	for i := range 10 {
		h.trySignIn("Ann", fmt.Sprint("00000", i)).problem(401, chat.CodeSignIn)
	}
	h.trySignIn("Ann", "123456").problem(429, chat.CodeRateLimited) // not even looked at
	h.trySignIn("Nobody", "123456").problem(429, chat.CodeRateLimited)
	// From elsewhere the account is as slow, and others are not.
	addr = "10.0.0.2"
	p := h.trySignIn("Ann", "123456").problem(429, chat.CodeRateLimited)
	if p.RetryMS < 50_000 || p.RetryMS > 60_000 {
		t.Errorf("retry_ms %d", p.RetryMS)
	}
	h.hire("Kim", "", "123456")
	h.clock.forward(time.Minute)
	h.signIn("Ann", "123456")
	for i := range 9 { // all is forgiven who knows the PIN
		h.trySignIn("Ann", fmt.Sprint("00000", i)).problem(401, chat.CodeSignIn)
	}
	h.signIn("Ann", "123456")
	// A new PIN lets in at once, who was kept out by another's guesses.
	addr = "10.0.0.3"
	for i := range 10 {
		h.trySignIn("Ann", fmt.Sprint("00000", i)).problem(401, chat.CodeSignIn)
	}
	addr = "10.0.0.4"
	h.trySignIn("Ann", "123456").problem(429, chat.CodeRateLimited)
	h.ask("PATCH", "/api/v1/staff/Ann", `{"pin":"222222"}`).ok(200, nil)
	h.signIn("Ann", "222222")
	addr = "10.0.0.5"
	for _, body := range []string{`{}`, `{"name":"Ann"}`, `[]`} {
		h.ask("POST", "/api/v1/staff/sign-in", body, "Authorization", "").problem(400, chat.CodeBadRequest)
	}
	h.trySignIn("nobody-special", "secret-typed-here").problem(401, chat.CodeSignIn)
	if log := h.log.String(); !strings.Contains(log, "account=Ann") || strings.Contains(log, "nobody-special") || strings.Contains(log, "secret-typed-here") || strings.Contains(log, "123456") {
		t.Errorf("the log: %s", log)
	}
	// An Idempotency-Key opens nothing.
	in := h.ask("POST", "/api/v1/staff/sign-in", `{"name":"Ann","pin":"222222"}`, "Authorization", "", "Idempotency-Key", "1").ok(200, nil)
	if len(h.store.answers) != 0 || in.Header().Get("Idempotency-Replayed") != "" {
		t.Errorf("%d answers to sign-ins are kept", len(h.store.answers))
	}
}
