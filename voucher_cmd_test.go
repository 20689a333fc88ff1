package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVoucherCommands: vouchers and staff from the command line.
func TestVoucherCommands(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	h := open(t, data, "--reverse-window=1h")
	with := commands{t, func(args ...string) (int, string, string) {
		t.Helper()
		at := 1 // the flags go before the arguments
		if args[0] == "voucher" || args[0] == "staff" {
			at = 2
		}
		return command(t, append(append(append([]string{}, args[:at]...), "--data="+data), args[at:]...)...)
	}}
	ok, fails := with.ok, with.fails
	has := func(out string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("%q does not hold %q", out, w)
			}
		}
	}
	codes := strings.Fields(ok("voucher", "issue", "--owner=alice", "--count=3", "--ref=81", "--expires=30d", "--note=no sugar", "Two", "teas"))
	if len(codes) != 3 || len(codes[0]) != 31 {
		t.Fatalf("issued: %v", codes)
	}
	code := codes[0]
	has(ok("voucher", "show", code), code, "issued", "Two teas", "alice", "81", "no sugar")
	has(ok("voucher", "redeem", "--by=Ann", "--station=Gate 1", "--key=k", strings.ToLower(code)), "redeemed: Two teas, of alice")
	has(ok("voucher", "redeem", "--by=Ann", "--station=Gate 1", "--key=k", code), "done before")
	fails(exitRefused, "by Ann at Gate 1 on", "voucher", "redeem", code)
	has(ok("voucher", "reverse", "--reason=slip", strings.ReplaceAll(code, "-", " ")), "issued: Two teas")
	has(ok("voucher", "void", "--by=Boss", "--reason=sold out", code), "void: Two teas")
	fails(exitRefused, "voucher_void", "voucher", "redeem", code)
	has(ok("voucher", "show", code), "redeemed", "Gate 1", "slip", "reversed", "sold out", "Boss", "operator")
	has(ok("voucher", "redeem", codes[1]), "redeemed")

	lines := func(args ...string) int {
		return strings.Count(ok(append([]string{"voucher", "list"}, args...)...), "\n")
	}
	ok("voucher", "issue", "--owner=bob", "--count=1000", "--expires="+time.Now().AddDate(1, 0, 0).Format(time.DateOnly), "tea")
	for want, args := range map[int][]string{
		1003: {"--limit=0"}, 100: nil, 3: {"--owner=alice"}, 1: {"--owner=alice", "--status=void"}, 501: {"--limit=501"}, 0: {"--owner=carol"},
	} {
		if got := lines(args...); got != want {
			t.Errorf("%v lists %d vouchers; want %d", args, got, want)
		}
	}
	once := []string{"voucher", "issue", "--owner=carol", "--key=order-82", "tea"}
	if first, again := ok(once...), ok(once...); first != again || lines("--owner=carol") != 1 {
		t.Errorf("the same command issued %s and %s", first, again)
	}
	fails(exitRefused, "key_reused", "voucher", "issue", "--owner=carol", "--key=order-82", "cake")
	fails(exitUsage, "--owner", "voucher", "issue", "tea")
	fails(exitUsage, "--owner", "voucher", "issue", "--owner=alice")
	fails(exitUsage, "1 to 1000", "voucher", "issue", "--owner=alice", "--count=0", "tea")
	fails(exitUsage, "--expires", "voucher", "issue", "--owner=alice", "--expires=soon", "tea")
	fails(exitUsage, "before the name", "voucher", "issue", "--owner=alice", "tea", "--count=2")
	fails(exitRefused, "in the past", "voucher", "issue", "--owner=alice", "--expires=2020-01-01", "tea")
	fails(exitUsage, "CODE", "voucher", "show")
	fails(exitUsage, "--reason", "voucher", "void", code)
	fails(exitUsage, "before the code", "voucher", "redeem", code, "--by=Ann")
	fails(exitRefused, "mistyped", "voucher", "show", code[1:]+code[:1])
	fails(exitRefused, "bad_request", "voucher", "list", "--status=lost")

	pin := ok("staff", "add", "--station=Gate 1", "Ann Lee")
	if len(pin) != 8 {
		t.Errorf("the made PIN: %q", pin)
	}
	signIn := func(pin string) int {
		return h.call("POST", "/api/v1/staff/sign-in", map[string]string{"name": "Ann Lee", "pin": pin}, "Authorization", "").status
	}
	if got := signIn(pin); got != 200 {
		t.Errorf("sign-in: %d", got)
	}
	fails(exitRefused, "staff_exists", "staff", "add", "Ann Lee")
	file := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(file, []byte("654321\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := ok("staff", "pin", "--pin-file="+file, "--station=Bar", "Ann Lee"); out != "" {
		t.Errorf("a given PIN is printed: %s", out)
	}
	if old, now := signIn(pin), signIn("654321"); old != 401 || now != 200 {
		t.Errorf("the old PIN: %d, the new one: %d", old, now)
	}
	has(ok("staff", "list"), "Ann Lee", "Bar")
	fails(exitRefused, "6 digits", "staff", "add", "--pin=123", "Kim")
	fails(exitUsage, "staff remove NAME", "staff", "remove")
	ok("staff", "remove", "Ann Lee")
	fails(exitRefused, "not_found", "staff", "remove", "Ann Lee")
	fails(exitRefused, "not_found", "staff", "pin", "Ann Lee")
	if got := signIn("654321"); got != 401 {
		t.Errorf("a removed account signs in: %d", got)
	}
}

func TestParseExpiry(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("", 8*3600)
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, zone)
	for s, want := range map[string]time.Time{
		"30d": time.Date(2026, 4, 3, 5, 6, 7, 0, zone), "12h": now.Add(12 * time.Hour), "90m": now.Add(90 * time.Minute),
		"2026-03-04": time.Date(2026, 3, 5, 0, 0, 0, 0, zone), "2027-01-31T18:00:00+08:00": time.Date(2027, 1, 31, 18, 0, 0, 0, zone),
	} {
		if got, err := parseExpiry(s, now); err != nil || got != want.UnixMilli() {
			t.Errorf("%s: %v, %v; want %v", s, time.UnixMilli(got).In(zone), err, want)
		}
	}
	for _, s := range []string{"soon", "-1h", "0", "d", "2026-13-01"} {
		if got, err := parseExpiry(s, now); err == nil {
			t.Errorf("%s: %v", s, got)
		}
	}
}
