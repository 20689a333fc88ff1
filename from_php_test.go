package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// docs/from-php.md is what somebody does who leaves an old server. Its commands
// start, its snippets push, and what it says that clients see is what they see.

var fromPHP = []string{"docs/from-php.md", "docs/from-php.zh-CN.md"}

// fenced returns the blocks of a language in a document.
func fenced(t *testing.T, file, language string) (blocks []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```\n").FindAllStringSubmatch(document(t, file), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestFromPHPCommands starts the server with every command line of the pages,
// on free ports and in a folder of its own.
func TestFromPHPCommands(t *testing.T) {
	t.Parallel()
	ports := regexp.MustCompile(`^(127\.0\.0\.1)?:[0-9]+$`)
	lines := make(map[string][]string) // by command line, where it stands
	for _, file := range append(fromPHP, "README.md", "README.zh-CN.md") {
		found := regexp.MustCompile("(?m)^(teahouse serve [^|`]*)$|`(teahouse serve [^`]*)`").FindAllStringSubmatch(document(t, file), -1)
		for _, m := range found {
			line := strings.TrimSpace(m[1] + m[2])
			lines[line] = append(lines[line], file)
		}
		if len(found) == 0 {
			t.Errorf("%s starts nothing", file)
		}
	}
	if len(lines) < 8 {
		t.Errorf("only %d command lines: %v", len(lines), lines)
	}
	for line, files := range lines {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data := filepath.Join(dir, "data")
			key := filepath.Join(dir, "event.key")
			if err := os.WriteFile(key, []byte("s3cret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			args := strings.Fields(line)[2:]
			var flags []string
			for i := 0; i < len(args); i++ {
				flag, value, joined := strings.Cut(args[i], "=")
				if !strings.HasPrefix(flag, "--") {
					t.Fatalf("%v: what is %s?", files, args[i])
				}
				if !joined && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
					i++
					value = args[i]
				}
				switch flag {
				case "--addr", "--push-addr":
					if !ports.MatchString(value) {
						t.Errorf("%v: %s %s is no address for this page", files, flag, value)
					}
					value = "127.0.0.1:0"
				case "--event-key-file":
					value = key
				case "--data":
					value = data
				}
				flags = append(flags, flag+"="+value)
			}
			h := open(t, data, flags...)
			if a := h.call("GET", "/readyz", nil); a.status != http.StatusOK {
				t.Errorf("%v: not ready: %d %s", files, a.status, a.body)
			}
		})
	}
}

// TestFromPHPPush runs the snippets, and looks at what old clients hear.
func TestFromPHPPush(t *testing.T) {
	t.Parallel()
	for _, file := range fromPHP {
		for _, by := range []struct {
			language, program, holds, what string
			check                          []string
		}{
			{"sh", "sh", "curl ", "curl", []string{"-c", "curl --version"}},
			{"php", "php", "curl_init", "PHP with its curl extension", []string{"-r", `exit(extension_loaded("curl") ? 0 : 1);`}},
		} {
			t.Run(filepath.Base(file)+"."+by.language, func(t *testing.T) {
				t.Parallel()
				if err := exec.CommandContext(t.Context(), by.program, by.check...).Run(); err != nil {
					needed(t, "%s cannot be run here: %v", by.what, err)
				}
				script := ""
				for _, b := range fenced(t, file, by.language) {
					if strings.Contains(b, by.holds) {
						script += b
					}
				}
				playPush(t, file, by.program, script)
			})
		}
	}
}

func playPush(t *testing.T, file, program, script string) {
	h := open(t, t.TempDir())
	const here = "http://127.0.0.1:8040"
	if strings.Count(script, here) != 1 {
		t.Fatalf("the snippet does not call %s once:\n%s", here, script)
	}
	name := filepath.Join(t.TempDir(), "snippet")
	if err := os.WriteFile(name, []byte(strings.ReplaceAll(script, here, h.url)), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "ws" + strings.TrimPrefix(h.url, "http")
	room := dialLegacy(t, at+"/?user_id=6", nil)
	typed := dialLegacy(t, at+"/compat/typed?user=6", nil)
	app := dialLegacy(t, at+"/compat/event", nil)
	app.sayRaw(`{"event":"login","data":{"u":"user:6","token":"any"},"uuid":1}`)
	app.expect("the login's answer", func(f frame) bool { return strings.Contains(f.raw, "登录成功") })
	other := dialLegacy(t, at+"/?user_id=7", nil)
	for who, g := range map[string]*legacyGuest{"room": room, "typed": typed, "other": other} {
		(&legacyPlay{t: t, h: h, guests: map[string]*legacyGuest{who: g}}).fence(who, false)
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, name)
	dieWithParent(cmd)
	cmd.Env = append(os.Environ(), "TEAHOUSE_API_KEY="+testKey)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	if got := string(out); program == "php" && got != "3\n" || program == "sh" && !strings.HasSuffix(strings.TrimSpace(got), `"online":3}`) {
		t.Errorf("it does not say that three connections have it: %s", got)
	}
	// What the page says that they see.
	text := document(t, file)
	for what, g := range map[string]*legacyGuest{`{"from_user":false,`: room, `{"type":"message","data":`: typed, `{"type":"app",`: app} {
		shown := regexp.MustCompile("`(" + regexp.QuoteMeta(what) + "[^`]*)`").FindStringSubmatch(text)
		if shown == nil {
			t.Errorf("%s does not show the frame %s…", file, what)
			continue
		}
		var want, got any
		if err := json.Unmarshal([]byte(shown[1]), &want); err != nil {
			t.Fatalf("%s: %v: %s", file, err, shown[1])
		}
		g.expect(shown[1], func(f frame) bool { // PHP escapes what is not ASCII
			return json.Unmarshal([]byte(f.raw), &got) == nil && reflect.DeepEqual(got, want)
		})
	}
	(&legacyPlay{t: t, h: h, guests: map[string]*legacyGuest{"other": other}}).silent("other")

	// Without the key nothing is pushed, and the snippet says so.
	cmd = exec.CommandContext(ctx, program, name)
	dieWithParent(cmd)
	cmd.Env = append(os.Environ(), "TEAHOUSE_API_KEY=wrong")
	out, err = cmd.CombinedOutput()
	if !strings.Contains(string(out), "unauthorized") || program == "php" && err == nil {
		t.Errorf("with a wrong key it says %s (%v)", out, err)
	}
}

// TestFromPHPPortBusy: an old server that still runs is told of, with the code
// that the page names.
func TestFromPHPPortBusy(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	code, _, stderr := command(t, "serve", "--addr="+l.Addr().String(), "--data="+t.TempDir(), "--announce=false")
	if code != exitPortBusy || !strings.Contains(document(t, fromPHP[0]), "ends with code 3") || exitPortBusy != 3 {
		t.Errorf("code %d: %s", code, stderr)
	}
}
