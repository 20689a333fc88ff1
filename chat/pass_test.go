package chat_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

// RFC 6238, appendix B, for SHA-1. Its codes have eight digits, of which ours
// are the last six.
func TestPassRFC6238(t *testing.T) {
	t.Parallel()
	secret := base32.StdEncoding.EncodeToString([]byte("12345678901234567890"))
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got, err := chat.PassAt(secret, time.Unix(at, 0)); got != want[2:] || err != nil {
			t.Errorf("at %d: %s, %v; want %s", at, got, err, want[2:])
		}
	}
	if _, err := chat.PassAt("not base32!", time.Now()); err == nil {
		t.Error("what is no secret makes a pass")
	}
}

// passCode is a code whose passes differ from each other within hours of the
// desk's time, as they do not for all codes: there are but a million.
const passCode = "QV5827ACDEFGHJKMNPQRTVWXY22C"

// passDesk reads codes at a time that a test sets.
type passDesk struct {
	*chat.Passes
	at     time.Time
	secret string
	code   string
}

func newPassDesk(t *testing.T, mode chat.PassMode) *passDesk {
	d := &passDesk{at: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), code: passCode}
	d.Passes = chat.NewPasses(chat.PassOptions{Mode: mode, Key: []byte("the key of this house, 32 bytes."), Clock: func() time.Time { return d.at }})
	d.secret = d.Secret(chat.Voucher{Code: d.code, Status: chat.VoucherIssued})
	return d
}

func (d *passDesk) pass(off time.Duration) string {
	p, err := chat.PassAt(d.secret, d.at.Add(off))
	if err != nil {
		panic(err)
	}
	return p
}

// show is what becomes of a redemption with this pass.
func (d *passDesk) show(t *testing.T, a chat.VoucherAct) (chat.VoucherEntry, *chat.Error) {
	t.Helper()
	a.Do, a.By, a.Key = chat.ActionRedeemed, "eve", "k"
	code, err := d.Read(d.code, &a)
	if err != nil || code != d.code {
		t.Fatalf("%q, %v", code, err)
	}
	c, err := chat.Voucher{Code: code, Status: chat.VoucherIssued}.Apply(nil, a, d.at.UnixMilli())
	if err == nil {
		return c.Entry, nil
	}
	return c.Entry, chat.AsError(err)
}

// A pass counts in its own half minute and one step on either side, and is
// told from one of another time, which is told from one of no time.
func TestPassSkew(t *testing.T) {
	t.Parallel()
	d := newPassDesk(t, chat.PassOptional)
	step := d.at.Truncate(chat.PassStep)
	for _, c := range []struct {
		off   time.Duration
		right bool
		clock bool
	}{
		{0, true, false}, {-chat.PassStep, true, false}, {chat.PassStep, true, false},
		{-2 * chat.PassStep, false, false}, {2 * chat.PassStep, false, true},
		{-time.Hour, false, false}, {time.Hour, false, true}, {-8 * time.Hour, false, false}, {13 * time.Hour, false, true},
	} {
		e, err := d.show(t, chat.VoucherAct{Pass: d.pass(c.off)})
		switch {
		case c.right && (err != nil || e.PassAt != step.Add(c.off).UnixMilli()):
			t.Errorf("%s: %+v, %v", c.off, e, err)
		case !c.right && (err == nil || err.Code != chat.CodePassStale || !err.Pass.Known || err.Pass.Off != c.off || err.Pass.Clock != c.clock || err.Pass.Guess() || err.Voucher == nil):
			t.Errorf("%s: %+v, %v", c.off, err, err)
		case !c.right && strings.Contains(err.Message, "check the server's clock") != c.clock:
			t.Errorf("%s: staff are told %q", c.off, err.Message)
		}
	}
	if _, err := d.show(t, chat.VoucherAct{Pass: d.pass(-2 * chat.PassStep)}); err == nil || !strings.Contains(err.Message, "1m old") {
		t.Errorf("%v", err)
	}
	// What no time makes: one that is none of all within reach.
	made := map[string]bool{}
	for off := -chat.PassReach; off <= chat.PassReach; off += chat.PassStep {
		made[d.pass(off)] = true
	}
	for n := 0; ; n++ {
		if p := fmt.Sprintf("%06d", n); !made[p] {
			if _, err := d.show(t, chat.VoucherAct{Pass: p}); err == nil || err.Code != chat.CodePassStale || !err.Pass.Guess() || err.Pass.Clock {
				t.Errorf("a guess: %v", err)
			}
			break
		}
	}
	// Each voucher has its own secret, and another house has others.
	if s := d.Secret(chat.Voucher{Code: chat.NewVoucherCode(), Status: chat.VoucherIssued}); s == d.secret || len(s) != 32 {
		t.Errorf("the secret of another voucher: %s", s)
	}
	if s := chat.NewPasses(chat.PassOptions{}).Secret(chat.Voucher{Code: d.code, Status: chat.VoucherIssued}); s == d.secret || len(s) != 32 {
		t.Errorf("the secret of another house: %s", s)
	}
	for _, status := range []chat.VoucherStatus{chat.VoucherRedeemed, chat.VoucherVoid, chat.VoucherExpired} {
		if s := d.Secret(chat.Voucher{Code: d.code, Status: status}); s != "" {
			t.Errorf("a voucher that is %s has the secret %s", status, s)
		}
	}
}

func TestPassModes(t *testing.T) {
	t.Parallel()
	for mode, want := range map[chat.PassMode][4]chat.Code{ // plain, an operator's plain, right, wrong
		chat.PassOptional: {"", "", "", chat.CodePassStale},
		chat.PassRequired: {chat.CodePassRequired, "", "", chat.CodePassStale},
		chat.PassOff:      {},
	} {
		d := newPassDesk(t, mode)
		if mode == chat.PassOff {
			if d.secret != "" {
				t.Errorf("a secret is told where passes are off: %s", d.secret)
			}
			d.secret = newPassDesk(t, chat.PassOptional).secret
		}
		for i, a := range []chat.VoucherAct{{}, {Exempt: true}, {Pass: d.pass(0)}, {Pass: d.pass(-time.Hour)}} {
			e, err := d.show(t, a)
			code := chat.Code("")
			if err != nil {
				code = err.Code
			}
			if code != want[i] || (e.PassAt != 0) != (i == 2 && mode != chat.PassOff) {
				t.Errorf("%s, %d: %+v, %v; want %q", mode, i, e, err, want[i])
			}
		}
	}
}

// How a pass is written: behind the code, by another hand, wrongly.
func TestPassWritten(t *testing.T) {
	t.Parallel()
	d := newPassDesk(t, chat.PassRequired)
	right := d.pass(0)
	code := d.code
	wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, right)
	for _, c := range []struct {
		typed, pass string
		want        chat.Code
	}{
		{code + "." + right, "", ""}, {strings.ToLower(chat.ShowVoucherCode(code)) + " . " + right, "", ""}, {code + "．" + wide, "", ""},
		{code, right[:3] + " " + right[3:], ""}, {code, wide, ""}, {code + "." + right, right, ""},
		{code + ".", "", chat.CodePassRequired}, {code + "." + right, "000000x", chat.CodeBadRequest}, {code + "." + right, d.pass(-time.Hour), chat.CodeBadRequest},
		{code, right[:5], chat.CodeBadRequest}, {code, right + "0", chat.CodeBadRequest}, {code, "12345x", chat.CodeBadRequest}, {code + "." + right + "." + right, "", chat.CodeBadRequest},
	} {
		d.code = code
		a := chat.VoucherAct{Do: chat.ActionRedeemed, By: "eve", Key: "k", Pass: c.pass}
		got, err := d.Read(c.typed, &a)
		if err != nil || got != code {
			t.Errorf("%q is read as %q, %v", c.typed, got, err)
			continue
		}
		_, err = chat.Voucher{Code: got, Status: chat.VoucherIssued}.Apply(nil, a, 1)
		if chat.CodeOf(err) != c.want {
			t.Errorf("%q with %q: %v; want %q", c.typed, c.pass, err, c.want)
		}
	}
	for _, typed := range []string{"." + right, right, code[1:] + "." + right} {
		if got, err := d.Read(typed, &chat.VoucherAct{Do: chat.ActionRedeemed}); chat.CodeOf(err) != chat.CodeVoucherUnknown {
			t.Errorf("%q is read as %q, %v", typed, got, err)
		}
	}
}

// A scan that is sent later counts as of its time, within bounds.
func TestPassScannedBefore(t *testing.T) {
	t.Parallel()
	d := newPassDesk(t, chat.PassRequired)
	scan := func(age time.Duration, pass string) (chat.VoucherEntry, *chat.Error) {
		return d.show(t, chat.VoucherAct{Pass: pass, ScannedAt: d.at.Add(-age).UnixMilli()})
	}
	for _, age := range []time.Duration{0, 2 * time.Minute, chat.ScanLife, -time.Minute} {
		if e, err := scan(age, d.pass(-age)); err != nil || e.ScannedAt != d.at.Add(-age).UnixMilli() || e.PassAt == 0 {
			t.Errorf("a scan of %s ago: %+v, %v", age, e, err)
		}
	}
	for _, age := range []time.Duration{chat.ScanLife + time.Second, -time.Minute - time.Millisecond} {
		if _, err := scan(age, d.pass(-age)); err == nil || err.Code != chat.CodeBadRequest || !strings.Contains(err.Message, "scanned_at") {
			t.Errorf("a scan of %s ago: %v", age, err)
		}
	}
	// A picture that was an hour old when it was scanned.
	if _, err := scan(2*time.Hour, d.pass(-3*time.Hour)); err == nil || err.Code != chat.CodePassStale || err.Pass.Off != -time.Hour {
		t.Errorf("%v", err)
	}
	if _, err := scan(time.Hour, ""); err == nil || err.Code != chat.CodePassRequired {
		t.Errorf("%v", err)
	}
	if e, err := newPassDesk(t, chat.PassOptional).show(t, chat.VoucherAct{ScannedAt: d.at.UnixMilli()}); err != nil || e.ScannedAt == 0 {
		t.Errorf("a plain code that is sent later: %+v, %v", e, err)
	}
}

// leaping is a clock that a test sets, and that goes on by itself.
type leaping struct{ by atomic.Int64 }

func (c *leaping) now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

func (c *leaping) leap(by time.Duration) { c.by.Add(int64(by)) }

// logBook is a log that is read while it is written.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// passHouse has vouchers of ann's; of one it returns what is needed to redeem it.
func passHouse(t *testing.T, clock *leaping, log *logBook, mode chat.PassMode) (h *house, code, secret string) {
	passes := chat.NewPasses(chat.PassOptions{Mode: mode, Key: []byte("key"), Clock: clock.now})
	h = newHouse(t, houseOptions{pipes: true, hub: chat.HubOptions{Passes: passes, Logger: slog.New(slog.NewTextHandler(log, nil))}})
	list, err := h.hub.Issue(t.Context(), chat.VoucherOrder{Name: "tea", Owner: "ann", Count: 8, By: "shop", Batch: "b"})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list { // one of which no pass comes twice within these hours
		seen := map[string]bool{}
		secret = passes.Secret(v)
		for off := -90 * time.Minute; off <= 150*time.Minute; off += chat.PassStep {
			p, _ := chat.PassAt(secret, time.Now().Add(off))
			seen[p] = true
		}
		if code = v.Code; len(seen) == 481 {
			break
		}
	}
	return h, code, secret
}

func redeemWith(t *testing.T, h *house, code, pass, key string) (chat.VoucherChange, error) {
	t.Helper()
	return h.hub.ChangeVoucher(t.Context(), code, chat.VoucherAct{Do: chat.ActionRedeemed, By: "eve", Key: key, Pass: pass})
}

// The same request gets its first answer, whatever has become of its pass; a
// pass redeems once.
func TestPassOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBook
		h, code, secret := passHouse(t, &leaping{}, &log, chat.PassRequired)
		pass := func() string { p, _ := chat.PassAt(secret, time.Now()); return p }
		first := pass()
		if c, err := redeemWith(t, h, code, first, "1"); err != nil || !c.First {
			t.Fatal(c, err)
		}
		time.Sleep(10 * time.Minute)
		for _, p := range []string{first, "", "000000", "x"} {
			if c, err := redeemWith(t, h, code, p, "1"); err != nil || c.First {
				t.Errorf("the same request with the pass %q: %+v, %v", p, c, err)
			}
		}
		// What the voucher is comes before what the pass is.
		if _, err := redeemWith(t, h, code, first, "2"); chat.CodeOf(err) != chat.CodeVoucherRedeemed {
			t.Errorf("another request with an old pass: %v", err)
		}
		undo := func(key string) {
			t.Helper()
			if _, err := h.hub.ChangeVoucher(t.Context(), code, chat.VoucherAct{Do: chat.ActionReversed, By: "eve", Key: key, Reason: "slip", Pass: "junk"}); err != nil {
				t.Fatal(err)
			}
		}
		undo("u1")
		second := pass()
		if _, err := redeemWith(t, h, code, second, "3"); err != nil {
			t.Fatal(err)
		}
		undo("u2")
		if _, err := redeemWith(t, h, code, second, "4"); chat.CodeOf(err) != chat.CodePassStale || !chat.AsError(err).Pass.Used || chat.AsError(err).Pass.Guess() {
			t.Errorf("a pass redeems twice: %v", err)
		}
		time.Sleep(chat.PassStep)
		if _, err := redeemWith(t, h, code, pass(), "5"); err != nil {
			t.Errorf("the next pass: %v", err)
		}
		for _, p := range []string{first, second, pass()} {
			if strings.Contains(log.String(), p) {
				t.Errorf("the log tells a pass: %s", log.String())
			}
		}
		h.stop()
	})
}

// The clock is set by an hour: that is logged once, and staff are told by
// whoever's pass no longer fits.
func TestPassClockLeaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, by := range []time.Duration{time.Hour, -time.Hour} {
			var log logBook
			var clock leaping
			h, code, secret := passHouse(t, &clock, &log, chat.PassOptional)
			time.Sleep(time.Hour)
			if n := strings.Count(log.String(), "clock leapt"); n != 0 {
				t.Fatalf("a leap that was none: %s", log.String())
			}
			if leap, ok := h.hub.ClockLeap(); ok {
				t.Errorf("a leap that was none: %+v", leap)
			}
			clock.leap(by)
			time.Sleep(3 * time.Second)
			if n := strings.Count(log.String(), "clock leapt"); n != 1 || !strings.Contains(log.String(), "by="+by.String()) {
				t.Errorf("after a leap by %s the log says %s", by, log.String())
			}
			if leap, ok := h.hub.ClockLeap(); !ok || leap.By != by {
				t.Errorf("the leap is told as %+v, %t", leap, ok)
			}
			p, _ := chat.PassAt(secret, time.Now()) // of a page that knows nothing of it
			_, err := redeemWith(t, h, code, p, "1")
			if e := chat.AsError(err); e.Code != chat.CodePassStale || !e.Pass.Clock || (e.Pass.Off+by).Abs() > chat.PassStep || !strings.Contains(e.Message, "check the server's clock") {
				t.Errorf("after a leap by %s: %v", by, err)
			}
			p, _ = chat.PassAt(secret, clock.now().Add(-10*time.Minute)) // a picture is a picture
			if _, err := redeemWith(t, h, code, p, "2"); chat.CodeOf(err) != chat.CodePassStale || chat.AsError(err).Pass.Clock {
				t.Errorf("an old pass after a leap: %v", err)
			}
			clock.leap(-by)
			time.Sleep(3 * time.Second)
			if leap, ok := h.hub.ClockLeap(); ok {
				t.Errorf("told although it was taken back: %+v", leap)
			}
			p, _ = chat.PassAt(secret, time.Now())
			if _, err := redeemWith(t, h, code, p, "3"); err != nil {
				t.Errorf("with the clock right again: %v", err)
			}
			clock.leap(by)
			time.Sleep(3 * time.Second)
			if _, ok := h.hub.ClockLeap(); !ok {
				t.Error("the second leap is not told")
			}
			time.Sleep(time.Hour)
			if leap, ok := h.hub.ClockLeap(); ok {
				t.Errorf("told after an hour: %+v", leap)
			}
			h.stop()
		}
	})
}

// The owner's own list, page by page, with the secrets; for nobody else.
func TestOwnVouchers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		passes := chat.NewPasses(chat.PassOptions{Key: []byte("key")})
		until := time.Now().Add(20 * time.Second)
		h := newHouse(t, houseOptions{pipes: true, store: storetest.NewMemory(nil), hub: chat.HubOptions{Passes: passes},
			auth: func(_ context.Context, user, token string) (chat.Identity, error) {
				return chat.Identity{User: user, Proved: token != "", Proof: until}, nil
			}})
		var all []chat.Voucher
		for _, owner := range []string{"ann", "bob"} {
			list, err := h.hub.Issue(t.Context(), chat.VoucherOrder{Name: "tea", Owner: owner, Count: 5, By: "shop", Batch: owner})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, list...)
		}
		if _, err := redeemWith(t, h, all[2].Code, "", "1"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		g, _ := h.hello("ann", `"token":"t"`)
		type answer struct {
			Op       string
			ID       int
			Vouchers []chat.OwnVoucher
			Cursor   string
			Now      int64
			Code     string
		}
		ask := func(g *guest, more string) (a answer) {
			t.Helper()
			g.say(`{"op":"vouchers","id":7%s}`, more)
			_, b, err := g.conn.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &a); err != nil || a.ID != 7 {
				t.Fatalf("%s: %v", b, err)
			}
			if bytes.Contains(b, []byte("null")) {
				t.Errorf("an answer with null: %s", b)
			}
			return a
		}
		cursor, left := "", all[:5]
		for _, page := range []int{2, 2, 1} {
			a := ask(g, fmt.Sprintf(`,"limit":2,"cursor":%q`, cursor))
			if a.Op != "vouchers" || len(a.Vouchers) != page || a.Now != time.Now().UnixMilli() || (a.Cursor == "") != (page == 1) {
				t.Fatalf("%+v", a)
			}
			for _, v := range a.Vouchers {
				want := left[len(left)-1]
				left = left[:len(left)-1]
				if v.Code != want.Code || v.Owner != "ann" || (v.Code == all[2].Code) != (v.Status == chat.VoucherRedeemed) || v.Pass != passes.Secret(v.Voucher) {
					t.Errorf("%+v; want %s", v, want.Code)
				}
			}
			cursor = a.Cursor
		}
		if a := ask(g, `,"status":"redeemed"`); len(a.Vouchers) != 1 || a.Vouchers[0].Code != all[2].Code || a.Vouchers[0].Pass != "" {
			t.Errorf("%+v", a)
		}
		if a := ask(g, `,"status":"void"`); a.Vouchers == nil || len(a.Vouchers) != 0 {
			t.Errorf("%+v", a)
		}
		for more, want := range map[string]string{`,"status":"lost"`: "bad_request", `,"cursor":"-1"`: "bad_request", `,"cursor":"!"`: "bad_request"} {
			if a := ask(g, more); a.Op != "error" || a.Code != want {
				t.Errorf("%s: %+v", more, a)
			}
		}
		guest, _ := h.hello("ann", "") // who merely says so
		for _, more := range []string{"", `,"owner":"bob"`, `,"user":"bob","limit":500`} {
			if a := ask(guest, more); a.Op != "error" || a.Code != "unauthorized" || a.Vouchers != nil {
				t.Errorf("a guest asks for %q: %+v", more, a)
			}
		}
		if a := ask(g, `,"owner":"bob","user":"bob"`); len(a.Vouchers) != 5 || a.Vouchers[0].Owner != "ann" {
			t.Errorf("ann asks for bob's: %+v", a)
		}
		time.Sleep(20 * time.Second) // what was proved then is not proved for ever
		if a := ask(g, ""); a.Code != "unauthorized" {
			t.Errorf("after the token's end: %+v", a)
		}
		g.conn.Close()
		guest.conn.Close()
		h.stop()
	})
}
