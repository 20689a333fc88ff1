package api_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.clock.forward(999 * time.Millisecond) // seconds are all that a JWT knows
	tokens := h.opts.Tokens
	code := func(token string, want chat.Code) {
		t.Helper()
		user, _, err := tokens.Verify(token)
		if chat.CodeOf(err) != want || (user != "") != (want == "") {
			t.Errorf("%s: %q, %v; want %q", token, user, err, want)
		}
	}
	token, expires, err := tokens.Issue("張三 O'Neil", time.Hour)
	must(t, err)
	equal(t, "expires", expires, begin.Add(time.Hour))
	user, until, err := tokens.Verify(token)
	must(t, err)
	equal(t, "user", user, "張三 O'Neil")
	equal(t, "until", until.UnixMilli(), expires.UnixMilli())

	// The secret outlives the process, and another house has another one.
	again, err := api.NewTokens(t.Context(), h.store, h.clock.now)
	must(t, err)
	if _, _, err = again.Verify(token); err != nil {
		t.Error(err)
	}
	other, err := api.NewTokens(t.Context(), newMemory(), h.clock.now)
	must(t, err)
	foreign, _, err := other.Issue("alice", 0)
	must(t, err)
	code(foreign, chat.CodeBadToken)

	head, claims, sign := split(token)
	enc := base64.RawURLEncoding.EncodeToString
	code("", chat.CodeBadToken)
	code("x.y.z", chat.CodeBadToken)
	code(head+"."+claims+".", chat.CodeBadToken)
	code(enc([]byte(`{"alg":"none","typ":"JWT"}`))+"."+claims+".", chat.CodeBadToken)
	code(enc([]byte(`{"alg":"HS512","typ":"JWT"}`))+"."+claims+"."+sign, chat.CodeBadToken)
	code(head+"."+enc([]byte(`{"iss":"teahouse","sub":"root","exp":9999999999}`))+"."+sign, chat.CodeBadToken)
	code(head+"."+enc([]byte(`{"iss":"teahouse","sub":"root","exp":1}`))+"."+sign, chat.CodeBadToken)

	h.clock.forward(time.Hour + 29*time.Second)
	code(token, "")
	h.clock.forward(time.Second)
	code(token, chat.CodeTokenExpired)
	h.clock.forward(-2 * time.Hour)
	code(token, chat.CodeBadToken) // issued in the future

	for _, ttl := range []time.Duration{-1, time.Millisecond, api.MaxTTL + 1} {
		if _, _, err := tokens.Issue("alice", ttl); chat.CodeOf(err) != chat.CodeBadRequest {
			t.Errorf("%v: %v", ttl, err)
		}
	}
	if _, _, err := tokens.Issue("", 0); chat.CodeOf(err) != chat.CodeBadUser {
		t.Error(err)
	}
}

func split(token string) (head, claims, sign string) {
	p := strings.Split(token, ".")
	return p[0], p[1], p[2]
}

func TestIssueToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var out api.Token
	h.ask("POST", "/api/v1/tokens", `{"user":"alice"}`).ok(200, &out)
	equal(t, "expires", out.ExpiresAt, begin.Add(24*time.Hour).UnixMilli())
	equal(t, "issued", out.IssuedAt, begin.UnixMilli())
	user, _, err := h.opts.Tokens.Verify(out.Token)
	must(t, err)
	equal(t, "user", user, "alice")
	h.ask("POST", "/api/v1/tokens", `{"user":"alice","ttl_s":31622400}`).ok(200, &out)
	equal(t, "expires", out.ExpiresAt, begin.Add(366*24*time.Hour).UnixMilli())

	for ttl, code := range map[string]chat.Code{"31622401": chat.CodeBadRequest, "0": chat.CodeBadRequest, "-1": chat.CodeBadRequest, `"1h"`: chat.CodeBadRequest} {
		h.ask("POST", "/api/v1/tokens", fmt.Sprintf(`{"user":"alice","ttl_s":%s}`, ttl)).problem(400, code)
	}
	h.ask("POST", "/api/v1/tokens", `{"user":""}`).problem(400, chat.CodeBadUser)
	h.ask("POST", "/api/v1/tokens", `{}`).problem(400, chat.CodeBadRequest)
}
