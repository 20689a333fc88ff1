package api_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/api"
)

func basic(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, c := range []struct {
		name, auth string
		key, keys  int // status for an API key's call, for an operator's
	}{
		{"an API key", "Bearer " + testKey, 200, 403},
		{"an API key, written otherwise", "bearer  " + testKey, 200, 403},
		{"the local key", "Bearer " + localKey, 200, 200},
		{"the operator", basic("operator", testPassword), 200, 200},
		{"nobody", "", 401, 401},
		{"a wrong key", "Bearer tk_wrong", 401, 401},
		{"an empty key", "Bearer ", 401, 401},
		{"a wrong user", basic("admin", testPassword), 401, 401},
		{"a wrong password", basic("operator", "x"), 401, 401},
		{"an empty password", basic("operator", ""), 401, 401},
		{"not base64", "Basic ?", 401, 401},
		{"another scheme", "Digest x", 401, 401},
	} {
		h.store.fail = nil
		h.clock.forward(time.Minute) // the guard of wrong tries is another test's
		r := h.ask("GET", "/api/v1/sessions", "", "Authorization", c.auth)
		equal(t, c.name+" with a key's call", r.Code, c.key)
		if c.key == 401 {
			r.problem(401, chat.CodeUnauthorized)
			equal(t, "challenge", r.Header().Get("WWW-Authenticate"), `Bearer realm="teahouse"`)
		}
		r = h.ask("GET", "/api/v1/keys", "", "Authorization", c.auth)
		equal(t, c.name+" with an operator's call", r.Code, c.keys)
		if c.keys == 403 {
			r.problem(403, chat.CodeForbidden)
		}
	}
	r := h.ask("GET", "/api/v1/backup", "", "Authorization", "", "Accept", "text/html,*/*")
	if got := strings.Join(r.Header().Values("WWW-Authenticate"), "; "); !strings.Contains(got, "Basic") {
		t.Errorf("a person in a browser is not asked for the password: %s", got)
	}
}

func TestBrowsersDoNotActForOtherSites(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	body := `{"name":"x"}`
	h.ask("POST", "http://192.168.0.2:8040/api/v1/keys", body, append(operator(), "Origin", "http://192.168.0.2:8040")...).ok(201, nil)
	h.ask("POST", "http://192.168.0.2:8040/api/v1/keys", body, append(operator(), "Origin", "http://evil.example")...).problem(403, chat.CodeForbidden)
	h.ask("POST", "/api/v1/keys", body, append(operator(), "Sec-Fetch-Site", "cross-site")...).problem(403, chat.CodeForbidden)
}

func TestGuessingIsSlow(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	wrong := func(i int) *reply {
		auth := basic("operator", fmt.Sprint("guess ", i))
		if i%2 == 0 {
			auth = fmt.Sprintf("Bearer tk_%d", i)
		}
		return h.ask("GET", "/api/v1/keys", "", "Authorization", auth)
	}
	for i := range 10 {
		wrong(i).problem(401, chat.CodeUnauthorized)
	}
	for i := range 2 {
		r := wrong(i)
		p := r.problem(429, chat.CodeRateLimited)
		if p.RetryMS <= 0 || p.RetryMS > 6000 {
			t.Errorf("retry_ms %d", p.RetryMS)
		}
		equal(t, "Retry-After", r.Header().Get("Retry-After"), "6")
	}
	// Now not even the right password is looked at, but keys, which cannot be
	// guessed, are: one backend must not lock out another.
	h.ask("GET", "/api/v1/keys", "", operator()...).problem(429, chat.CodeRateLimited)
	h.ask("GET", "/api/v1/sessions", "").ok(200, nil)
	h.ask("GET", "/api/v1/keys", "", "Authorization", "Bearer "+localKey).ok(200, nil)

	h.clock.forward(6 * time.Second)
	h.ask("GET", "/api/v1/keys", "", operator()...).ok(200, nil)
	// Who was right is known again at once, even after more wrong ones.
	for i := range 20 {
		wrong(i)
	}
	h.ask("GET", "/api/v1/keys", "", operator()...).ok(200, nil)
}

func TestGuardKnowsNetworks(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	addr := ""
	h.opts.Addr = func(*http.Request) string { return addr }
	h.restart()
	try := func(from string) int {
		addr = from
		return h.ask("GET", "/api/v1/sessions", "", "Authorization", "Bearer x").Code
	}
	for i := range 10 {
		equal(t, "a first try", try(fmt.Sprintf("2001:db8::%d", i)), 401)
	}
	equal(t, "the same network", try("2001:db8::ffff"), 429)
	equal(t, "another network", try("2001:db8:0:1::1"), 401)
	equal(t, "IPv4", try("10.0.0.1"), 401)
	for i := range 9000 { // more than are remembered
		equal(t, "a first try", try(fmt.Sprintf("10.1.%d.%d", i/250, i%250)), 401)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var made api.NewKey
	h.ask("POST", "/api/v1/keys", `{"name":"shop"}`, operator()...).ok(201, &made)
	if !strings.HasPrefix(made.Key, made.ID) || len(made.Key) != 35 || len(made.ID) != 11 || made.CreatedAt != begin.UnixMilli() {
		t.Fatalf("%+v", made)
	}
	auth := []string{"Authorization", "Bearer " + made.Key}
	h.ask("GET", "/api/v1/sessions", "", auth...).ok(200, nil)
	h.api.Close() // waits for the note of its use

	var list struct{ Keys []api.KeyInfo }
	r := h.ask("GET", "/api/v1/keys", "", operator()...).ok(200, &list)
	equal(t, "keys", len(list.Keys), 2)
	equal(t, "listed", list.Keys[1], api.KeyInfo{ID: made.ID, Name: "shop", CreatedAt: begin.UnixMilli(), LastUsedAt: begin.UnixMilli()})
	if strings.Contains(r.Body.String(), made.Key) {
		t.Error("the list shows a key")
	}
	for _, k := range h.store.keys {
		if s := fmt.Sprintf("%q %+v", k.Hash, k); strings.Contains(s, made.Key) {
			t.Error("the store has a key in plain")
		}
	}
	h.ask("DELETE", "/api/v1/keys/"+made.ID, "", operator()...).ok(204, nil)
	h.ask("DELETE", "/api/v1/keys/"+made.ID, "", operator()...).ok(204, nil)
	h.ask("DELETE", "/api/v1/keys/tk_nothing", "", operator()...).problem(404, chat.CodeNotFound)
	h.ask("GET", "/api/v1/sessions", "", auth...).problem(401, chat.CodeUnauthorized)
	h.ask("GET", "/api/v1/sessions", "").ok(200, nil)
	h.ask("GET", "/api/v1/keys", "", operator()...).ok(200, &list)
	equal(t, "revoked", list.Keys[1].RevokedAt, begin.UnixMilli())

	for _, body := range []string{`{}`, `{"name":""}`, `{"name":"  "}`, `{"name":"` + strings.Repeat("x", 101) + `"}`} {
		h.ask("POST", "/api/v1/keys", body, operator()...).problem(400, chat.CodeBadRequest)
	}
}

func TestLastUseIsNotedOnceAMinute(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 5 {
		h.ask("GET", "/api/v1/sessions", "").ok(200, nil)
	}
	h.api.Close()
	equal(t, "notes", h.store.uses, 1)
	h.clock.forward(59 * time.Second)
	h.ask("GET", "/api/v1/sessions", "").ok(200, nil)
	h.api.Close()
	equal(t, "notes", h.store.uses, 1)
	h.clock.forward(time.Second)
	h.ask("GET", "/api/v1/sessions", "").ok(200, nil)
	h.api.Close()
	equal(t, "notes", h.store.uses, 2)
	h.restart() // a new process knows it from the store
	h.ask("GET", "/api/v1/sessions", "").ok(200, nil)
	h.api.Close()
	equal(t, "notes", h.store.uses, 2)
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := newMemory()
	boot := func(given api.Secrets) api.Secrets {
		t.Helper()
		made, err := api.Bootstrap(ctx, m, given, begin)
		must(t, err)
		return made
	}
	made := boot(api.Secrets{})
	if len(made.Password) != 19 || len(made.APIKey) != 35 {
		t.Fatalf("%+v", made)
	}
	equal(t, "at the second start", boot(api.Secrets{}), api.Secrets{})
	before := string(m.settings["operator_password"])
	equal(t, "the same password given", boot(api.Secrets{Password: made.Password}), api.Secrets{})
	equal(t, "its hash", string(m.settings["operator_password"]), before)

	long := strings.Repeat("very long ", 30) + "pässwörd"
	equal(t, "given", boot(api.Secrets{Password: long, APIKey: "my-own-key"}), api.Secrets{})
	equal(t, "given again", boot(api.Secrets{Password: long, APIKey: "my-own-key"}), api.Secrets{})
	equal(t, "keys", len(m.order), 2)
	for _, id := range m.order {
		if strings.Contains(id, "my-own-key") {
			t.Error("the id of a given key shows it")
		}
	}

	h := newHouse(t)
	h.opts.Store, h.store = m, m
	h.restart()
	for _, c := range []struct {
		auth   string
		status int
	}{
		{"Bearer " + made.APIKey, 403}, {"Bearer my-own-key", 403},
		{basic("operator", long), 200}, {basic("operator", long[:len(long)-1]), 401}, {basic("operator", made.Password), 401},
	} {
		equal(t, c.auth, h.ask("GET", "/api/v1/keys", "", "Authorization", c.auth).Code, c.status)
	}

	// Revoked, and yet given at the next start: given counts.
	_, err := m.RevokeKey(ctx, m.order[1], 5)
	must(t, err)
	h.ask("GET", "/api/v1/sessions", "", "Authorization", "Bearer my-own-key").problem(401, chat.CodeUnauthorized)
	boot(api.Secrets{APIKey: "my-own-key"})
	h.ask("GET", "/api/v1/sessions", "", "Authorization", "Bearer my-own-key").ok(200, nil)
	// A key that begins like another one does not take its place.
	boot(api.Secrets{APIKey: made.APIKey[:34] + "7"})
	boot(api.Secrets{APIKey: made.APIKey[:34] + "6"})
	h.ask("GET", "/api/v1/sessions", "", "Authorization", "Bearer "+made.APIKey).ok(200, nil)

	for _, bad := range []api.Secrets{{Password: " x"}, {APIKey: "a b"}, {APIKey: "é"}, {APIKey: "a\n"}} {
		if _, err := api.Bootstrap(ctx, m, bad, begin); chat.CodeOf(err) != chat.CodeBadRequest {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	m.fail = chat.Errorf(chat.CodeStorageFull, "full")
	if _, err := api.Bootstrap(ctx, m, api.Secrets{}, begin); chat.CodeOf(err) != chat.CodeStorageFull {
		t.Error(err)
	}
}
