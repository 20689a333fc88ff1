package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// What the person at the terminal sees of a start.

// oneSentence checks that a failure is told in one line without a trace of the
// program's inside.
func oneSentence(t testing.TB, stderr string) {
	t.Helper()
	text, ok := strings.CutSuffix(stderr, "\n")
	if !ok || !strings.HasPrefix(text, "teahouse: ") || strings.Contains(text, "\n") {
		t.Errorf("stderr is not one sentence: %q", stderr)
	}
	for _, bad := range []string{"goroutine ", "panic", ".go:", "0x", "%!", "<nil>", "SQL logic"} {
		if strings.Contains(text, bad) {
			t.Errorf("stderr holds %q: %q", bad, stderr)
		}
	}
}

// patch changes bytes in the middle of a file.
func patch(t testing.TB, file string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// The places of two numbers in the head of an SQLite file.
const (
	headSchema = 60 // PRAGMA user_version
	headOwner  = 68 // PRAGMA application_id
)

// used makes a data folder in which a server ran and was stopped.
func used(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	h := open(t, dir)
	alice, _ := enter(t, h.ws(), "alice")
	alice.post(lobby, "1", strings.Repeat("x", 9000))
	if code := h.stop(); code != exitOK {
		t.Fatalf("stop: %d %s", code, h.stderr)
	}
	return dir
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	file := func(dir string) string { return filepath.Join(dir, "teahouse.db") }
	for _, tt := range []struct {
		name  string
		args  func(t *testing.T) []string
		code  int
		words []string // what the sentence must hold: what is wrong, and what to do
	}{
		{"busy port", func(t *testing.T) []string {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return []string{"--addr=" + l.Addr().String(), "--data=" + t.TempDir()}
		}, exitPortBusy, []string{"127.0.0.1:", "--addr"}},
		{"a file in the folder's place", func(t *testing.T) []string {
			name := filepath.Join(t.TempDir(), "data")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"--data=" + name}
		}, exitNotWritable, []string{"data", "--data"}},
		{"read-only folder", func(t *testing.T) []string {
			return []string{"--data=" + tmpfs(t, "ro")}
		}, exitNotWritable, []string{"--data"}},
		{"read-only disk with a database", func(t *testing.T) []string {
			disk := tmpfs(t, "size=16m")
			copyDatabase(t, used(t), disk)
			remount(t, disk, "ro")
			return []string{"--data=" + disk}
		}, exitNotWritable, []string{"--data"}},
		{"folder in a missing place", func(t *testing.T) []string {
			return []string{"--data=/proc/nowhere/data"}
		}, exitNotWritable, []string{"/proc/nowhere", "--data"}},
		{"full disk, new folder", func(t *testing.T) []string {
			return []string{"--data=" + tmpfs(t, "size=16k")}
		}, exitDiskFull, []string{"full", "space"}},
		{"full disk, old database", func(t *testing.T) []string {
			disk := tmpfs(t, "size=16m")
			copyDatabase(t, used(t), disk)
			fill(t, disk, 0)
			return []string{"--data=" + disk}
		}, exitDiskFull, []string{"full", "space"}},
		{"locked by another process", func(t *testing.T) []string {
			dir := t.TempDir()
			h := spawn(t, dir)
			t.Cleanup(func() { h.stop() })
			return []string{"--data=" + dir}
		}, exitLocked, []string{"use", "stop", "--data"}},
		{"not a database", func(t *testing.T) []string {
			dir := t.TempDir()
			if err := os.WriteFile(file(dir), bytes.Repeat([]byte("tea "), 5000), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"--data=" + dir}
		}, exitDamaged, []string{"damaged", "backup"}},
		{"a few bytes only", func(t *testing.T) []string {
			dir := t.TempDir()
			if err := os.WriteFile(file(dir), []byte("SQLite format 3\x00"), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"--data=" + dir}
		}, exitDamaged, []string{"damaged", "backup"}},
		{"damaged first page", func(t *testing.T) []string {
			dir := used(t)
			patch(t, file(dir), 100, bytes.Repeat([]byte{0xa5}, 1000))
			return []string{"--data=" + dir}
		}, exitDamaged, []string{"damaged", "backup"}},
		{"damaged pages", func(t *testing.T) []string {
			dir := used(t)
			info, err := os.Stat(file(dir))
			if err != nil {
				t.Fatal(err)
			}
			patch(t, file(dir), 4096, bytes.Repeat([]byte{0xa5}, int(info.Size())-4096))
			return []string{"--data=" + dir}
		}, exitDamaged, []string{"damaged", "backup"}},
		{"another program's database", func(t *testing.T) []string {
			dir := used(t)
			patch(t, file(dir), headOwner, binary.BigEndian.AppendUint32(nil, 0x47504b47))
			return []string{"--data=" + dir}
		}, exitDamaged, []string{"another program", "untouched", "--data"}},
		{"newer schema", func(t *testing.T) []string {
			dir := used(t)
			patch(t, file(dir), headSchema, binary.BigEndian.AppendUint32(nil, 9999))
			return []string{"--data=" + dir}
		}, exitNewerSchema, []string{"newer version", "9999", "install"}},
		{"unknown flag", func(*testing.T) []string { return []string{"--no-such-flag"} }, exitUsage, []string{"no-such-flag", "--help"}},
		{"an argument", func(*testing.T) []string { return []string{"data"} }, exitUsage, []string{`"data"`, "--name=value"}},
		{"bad address", func(*testing.T) []string { return []string{"--addr=8040"} }, exitUsage, []string{"8040", "HOST:PORT", ":8040"}},
		{"address of another computer", func(*testing.T) []string { return []string{"--addr=192.0.2.1:8040"} }, exitUsage, []string{"192.0.2.1", "--addr"}},
		{"bad port", func(*testing.T) []string { return []string{"--addr=:99999"} }, exitUsage, []string{"99999", "--addr"}},
		{"bad auth", func(*testing.T) []string { return []string{"--auth=ldap"} }, exitUsage, []string{"ldap", "open", "token"}},
		{"bad durability", func(*testing.T) []string { return []string{"--durability=some"} }, exitUsage, []string{"some", "full", "normal"}},
		{"bad number", func(*testing.T) []string { return []string{"--send-burst=many"} }, exitUsage, []string{"many", "send-burst"}},
		{"number out of range", func(*testing.T) []string { return []string{"--queue-bytes=0"} }, exitUsage, []string{"--queue-bytes", "above 0"}},
		{"body above frame", func(*testing.T) []string { return []string{"--max-body=100000"} }, exitUsage, []string{"--max-body", "--max-frame"}},
		{"bad recall window", func(*testing.T) []string { return []string{"--recall-window=-1s"} }, exitUsage, []string{"--recall-window", "2m"}},
		{"bad retention", func(*testing.T) []string { return []string{"--retain=room:*"} }, exitUsage, []string{"--retain", "30d/10000"}},
		{"bad log level", func(*testing.T) []string { return []string{"--log-level=loud"} }, exitUsage, []string{"loud", "debug"}},
		{"secret twice", func(*testing.T) []string { return []string{"--api-key=a", "--api-key-file=b"} }, exitUsage, []string{"--api-key", "not both"}},
		{"secret's file missing", func(*testing.T) []string { return []string{"--admin-password-file=/no/such/file"} }, exitUsage, []string{"--admin-password-file", "/no/such/file"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := serveArgs(t.TempDir(), tt.args(t))
			code, out, errs := command(t, args[1:]...)
			if code != tt.code {
				t.Errorf("exit code %d; want %d", code, tt.code)
			}
			if out != "" {
				t.Errorf("stdout: %q", out)
			}
			oneSentence(t, errs)
			for _, w := range tt.words {
				if !strings.Contains(errs, w) {
					t.Errorf("%q does not hold %q", errs, w)
				}
			}
			t.Log(strings.TrimSpace(errs))
		})
	}
}

// TestStartFailsInChinese: an operator with a Chinese locale is told in
// Chinese. The ready line stays as it is: programs wait for it.
func TestStartFailsInChinese(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	notADatabase := t.TempDir()
	if err := os.WriteFile(filepath.Join(notADatabase, "teahouse.db"), bytes.Repeat([]byte("tea "), 50), 0o600); err != nil {
		t.Fatal(err)
	}
	newer, foreign, locked := used(t), used(t), t.TempDir()
	patch(t, filepath.Join(newer, "teahouse.db"), headSchema, binary.BigEndian.AppendUint32(nil, 9999))
	patch(t, filepath.Join(foreign, "teahouse.db"), headOwner, binary.BigEndian.AppendUint32(nil, 1))
	h := spawn(t, locked)
	always := func(args ...string) func(testing.TB) []string {
		return func(testing.TB) []string { return args }
	}
	for _, tt := range []struct {
		name string
		args func(t testing.TB) []string
		code int
	}{
		{"busy port", always("--addr=" + busy.Addr().String()), exitPortBusy},
		{"missing folder", always("--data=/proc/nowhere"), exitNotWritable},
		{"locked", always("--data=" + h.data), exitLocked},
		{"damaged", always("--data=" + notADatabase), exitDamaged},
		{"foreign", always("--data=" + foreign), exitDamaged},
		{"newer", always("--data=" + newer), exitNewerSchema},
		{"full disk", func(t testing.TB) []string { return []string{"--data=" + tmpfs(t, "size=16k")} }, exitDiskFull},
		{"bad address", always("--addr=192.0.2.1:8040"), exitUsage},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := child(serveArgs(t.TempDir(), tt.args(t)), "LANG=zh_CN.UTF-8")
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			_ = cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != tt.code || out.Len() > 0 {
				t.Errorf("exit code %d, want %d; stdout %q", got, tt.code, &out)
			}
			oneSentence(t, errs.String())
			han := strings.ContainsFunc(errs.String(), func(r rune) bool { return unicode.Is(unicode.Han, r) })
			if !han || !strings.ContainsAny(errs.String(), ";；") {
				t.Errorf("not in Chinese, or without what to do: %q", &errs)
			}
			t.Log(strings.TrimSpace(errs.String()))
		})
	}
}

// TestGreeting: the page's address for phones, and its QR code.
func TestGreeting(t *testing.T) {
	t.Parallel()
	lan := ""
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			lan = n.IP.String()
		}
	}
	h := open(t, t.TempDir(), "--addr=:0", "--qr=always")
	eventually(t, "the greeting", func() bool { return strings.Count(h.stdout.String(), "\n") > 1 })
	h.stop()
	ready, rest, _ := strings.Cut(h.stdout.String(), "\n")
	if ready != "listening on "+h.url {
		t.Errorf("the first line: %q", ready)
	}
	if lan == "" {
		if strings.Contains(rest, "http://") {
			t.Errorf("without a network: %s", rest)
		}
		t.Skip("this computer has no network: no address to show")
	}
	_, port, _ := strings.Cut(h.host(), ":")
	if page := "http://" + lan + ":" + port + "/"; !strings.Contains(rest, page) || !strings.Contains(rest, "▄") {
		t.Errorf("want %s and a QR code: %s", page, rest)
	}

	alone := open(t, t.TempDir(), "--qr=always")
	eventually(t, "the greeting", func() bool { return strings.Count(alone.stdout.String(), "\n") > 1 })
	if s := alone.stdout.String(); strings.Contains(s, "▄") || !strings.Contains(s, "only this computer") {
		t.Errorf("on loopback: %s", s)
	}
}
