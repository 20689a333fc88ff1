package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	printedPassword = regexp.MustCompile(`(?m)^operator's password: (\S+)$`)
	printedKey      = regexp.MustCompile(`(?m)^API key: +(\S+)$`)
)

// TestFirstStart: the secrets are shown once, and are nowhere else in plain.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	begin := func() *house {
		h := &house{t: t, data: data}
		h.launch(child(serveArgs(data, []string{"--log-level=debug", "--auth=token"})))
		return h
	}
	h := begin()
	password, key := printedPassword.FindStringSubmatch(h.stderr.String()), printedKey.FindStringSubmatch(h.stderr.String())
	if password == nil || key == nil || len(password[1]) < 16 || len(key[1]) < 32 {
		t.Fatalf("the first start printed %q", h.stderr)
	}
	if a := h.call("GET", "/api/v1/sessions", nil, "Authorization", "Bearer "+key[1]); a.status != 200 {
		t.Errorf("the printed key: %d %s", a.status, a.body)
	}
	if a := h.call("GET", "/api/v1/sessions", nil, "Authorization", "Bearer "+key[1]+"x"); a.status != 401 {
		t.Errorf("another key: %d %s", a.status, a.body)
	}
	basic := func(h *house) int {
		a := h.call("GET", "/api/v1/keys", nil, "Authorization", basicAuth("operator", password[1]))
		return a.status
	}
	if got := basic(h); got != 200 {
		t.Errorf("the printed password: %d", got)
	}
	// Use every secret that there is.
	var made struct{ Key string }
	h.call("POST", "/api/v1/keys", `{"name":"shop"}`, "Authorization", basicAuth("operator", password[1]), "Idempotency-Key", "make-a-key").into(t, &made)
	var token struct{ Token string }
	a := h.call("POST", "/api/v1/tokens", `{"user":"alice"}`, "Authorization", "Bearer "+made.Key, "Idempotency-Key", "make-a-token")
	a.into(t, &token)
	if again := h.call("POST", "/api/v1/tokens", `{"user":"alice"}`, "Authorization", "Bearer "+made.Key, "Idempotency-Key", "make-a-token"); !bytes.Equal(again.body, a.body) {
		t.Errorf("the same request again: %s after %s", again.body, a.body)
	}
	alice, _ := enter(t, h.ws(), "alice", "token", token.Token)
	alice.post(lobby, "said-in-plain", "x")
	if code := h.stop(); code != exitOK {
		t.Fatalf("stop: %d %s", code, h.stderr)
	}

	secrets := map[string]string{"password": password[1], "API key": key[1], "made key": made.Key, "token": token.Token}
	for name, secret := range secrets {
		want := 0
		if name == "password" || name == "API key" {
			want = 1
		}
		if got := strings.Count(h.stderr.String()+h.stdout.String(), secret); got != want {
			t.Errorf("the %s is printed %d times; want %d", name, got, want)
		}
	}
	h = begin()
	if s := h.stderr.String(); printedPassword.MatchString(s) || printedKey.MatchString(s) {
		t.Errorf("the second start prints secrets: %s", s)
	}
	if got := basic(h); got != 200 {
		t.Errorf("the password after a restart: %d", got)
	}
	// Looked for while it runs and after a crash: nothing is tidied away then.
	h.kill()
	files, inPlain := 0, false
	err := filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may read %s: %s", d.Name(), info.Mode())
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		inPlain = inPlain || bytes.Contains(b, []byte("said-in-plain"))
		for name, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("the %s stands in %s", name, d.Name())
			}
			if strings.Contains(h.stderr.String(), secret) {
				t.Errorf("the %s stands in the log", name)
			}
		}
		return nil
	})
	if err != nil || files < 2 || !inPlain {
		t.Errorf("%d files were looked through, found what was said: %v, err %v", files, inPlain, err)
	}
}

// TestGivenSecrets: who names the secrets is not shown them.
func TestGivenSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte("from-a-file-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	h := &house{t: t, data: data}
	h.launch(child(serveArgs(data, []string{"--admin-password-file=" + file, "--log-level=debug"}), "TEAHOUSE_API_KEY=from-the-environment"))
	if a := h.call("GET", "/api/v1/keys", nil, "Authorization", basicAuth("operator", "from-a-file-1")); a.status != 200 {
		t.Errorf("the given password: %d %s", a.status, a.body)
	}
	if a := h.call("GET", "/api/v1/sessions", nil, "Authorization", "Bearer from-the-environment"); a.status != 200 {
		t.Errorf("the given key: %d %s", a.status, a.body)
	}
	h.stop()
	if s := h.stdout.String() + h.stderr.String(); strings.Contains(s, "from-") || printedKey.MatchString(s) || printedPassword.MatchString(s) {
		t.Errorf("printed: %s", s)
	}
}
