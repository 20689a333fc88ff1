package chat_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

const codeCharacters = "23456789ACDEFGHJKMNPQRTVWXY"

func TestVoucherCodes(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	used := make(map[rune]int)
	for range 3000 {
		code := chat.NewVoucherCode()
		if len(code) != 28 || seen[code] {
			t.Fatalf("%s: %d characters, or twice", code, len(code))
		}
		seen[code] = true
		for _, r := range code[:27] {
			used[r]++
		}
		shown := chat.ShowVoucherCode(code)
		if len(shown) > 32 || strings.Count(shown, "-") != 3 {
			t.Fatalf("shown as %s", shown)
		}
		if got, err := chat.ParseVoucherCode(shown); got != code || err != nil {
			t.Fatalf("%s is read as %q, %v", shown, got, err)
		}
	}
	// 3,000 × 27 characters: each of the 27 about 3,000 times.
	for _, r := range codeCharacters {
		if used[r] < 2600 || used[r] > 3400 {
			t.Errorf("%c occurs %d times", r, used[r])
		}
	}
	if len(used) != len(codeCharacters) {
		t.Errorf("%d characters are used: %v", len(used), used)
	}
}

// Every wrong character, every swap of two, each lost or doubled one is
// caught: by the check character or by the length.
func TestVoucherCodeSlips(t *testing.T) {
	t.Parallel()
	for range 50 {
		code := []byte(chat.NewVoucherCode())
		caught := func(slip []byte) {
			t.Helper()
			got, err := chat.ParseVoucherCode(string(slip))
			if e := chat.AsError(err); err == nil || got != "" || e.Code != chat.CodeVoucherUnknown {
				t.Fatalf("%s for %s is read as %q, %v", slip, code, got, err)
			}
		}
		for i := range code {
			for _, c := range codeCharacters {
				if slip := slices.Clone(code); byte(c) != code[i] {
					slip[i] = byte(c)
					caught(slip)
				}
			}
			for j := range i {
				if slip := slices.Clone(code); code[i] != code[j] {
					slip[i], slip[j] = code[j], code[i]
					caught(slip)
				}
			}
			caught(slices.Delete(slices.Clone(code), i, i+1))
			caught(slices.Insert(slices.Clone(code), i, code[i]))
		}
	}
}

func TestVoucherCodeForgiving(t *testing.T) {
	t.Parallel()
	const code = "QV5827ACDEFGHJKMNPQRTVWXY22C"
	if got, err := chat.ParseVoucherCode(code); got != code || err != nil {
		t.Fatalf("the code of this test: %q, %v", got, err)
	}
	full := strings.Map(func(r rune) rune {
		if r >= '!' && r <= '~' {
			return r - '!' + '！'
		}
		return r
	}, code)
	for _, s := range []string{
		"qv5827acdefghjkmnpqrtvwxy22c", " QV5827A-CDEFGHJ-KMNPQRT-VWXY22C\n", "QV58 27AC DEFG HJKM NPQR TVWX Y22C",
		"OUSBZ7acdefghjkmnpqrtvwxyzzC", "0vs8z7ACDEFGHJKMNPoRTuWXY2zc", "\ufeffQV5827A–CDEFGHJ—KMNPQRT‐VWXY22C", full, strings.ToLower(full),
		"Q V 5 8 2 7 A C D E F G H J K M N P Q R T V W X Y 2 2 C",
	} {
		if got, err := chat.ParseVoucherCode(s); got != code || err != nil {
			t.Errorf("%q is read as %q, %v", s, got, err)
		}
	}
	for s, word := range map[string]string{
		"": "28 letters", "QV5827A": "28 letters", code + "2": "28 letters", strings.Repeat("2", 300): "too long",
		"1" + code[1:]: "never holds", "i" + code[1:]: "never holds", "L" + code[1:]: "never holds",
		"https://example.org/v/" + code: "letters and digits", "茶" + code: "letters and digits", "Q" + code[:27]: "mistyped", "\xff" + code: "letters",
	} {
		if _, err := chat.ParseVoucherCode(s); chat.CodeOf(err) != chat.CodeVoucherUnknown || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v; want %q", s, err, word)
		}
	}
}

func FuzzVoucherCode(f *testing.F) {
	for _, s := range []string{"QV5827ACDEFGHJKMNPQRTVWXY22C", " qv5827a-cdefghj-kmnpqrt-vwxy22c", "ＱＶ5827", "1", "\xff", "QV5827A–CDEFGHJ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		code, err := chat.ParseVoucherCode(s)
		if err != nil {
			if code != "" || chat.CodeOf(err) != chat.CodeVoucherUnknown {
				t.Fatalf("%q: %q, %v", s, code, err)
			}
			return
		}
		if len(code) != 28 || strings.Trim(code, codeCharacters) != "" {
			t.Fatalf("%q is read as %q", s, code)
		}
		// What was read is read as itself, in every dress.
		for _, again := range []string{code, chat.ShowVoucherCode(code), strings.ToLower(code), s + " ", "-" + s} {
			if got, err := chat.ParseVoucherCode(again); len(again) <= 256 && (got != code || err != nil) {
				t.Fatalf("%q of %q is read as %q, %v", again, s, got, err)
			}
		}
	})
}

func TestVoucherOrderLimits(t *testing.T) {
	t.Parallel()
	good := chat.VoucherOrder{Name: " Tea ", Owner: "ann", Count: 1, By: "shop", Batch: "b"}
	limits := chat.DefaultLimits()
	for _, f := range []func(*chat.VoucherOrder){
		func(o *chat.VoucherOrder) {},
		func(o *chat.VoucherOrder) { o.Count = 1000 },
		func(o *chat.VoucherOrder) { o.Name = `<img src=x onerror=alert(1)> 🧋👩‍🍳 مرحبا &"'` },
		func(o *chat.VoucherOrder) { o.Name = strings.Repeat("茶", 100) },
		func(o *chat.VoucherOrder) { o.Note = strings.Repeat("<", 999) + "\n" },
		func(o *chat.VoucherOrder) { o.Ref = "81"; o.ExpiresAt = 1e12 },
	} {
		o := good
		f(&o)
		if err := o.Check(limits); err != nil || strings.TrimSpace(o.Name) != o.Name {
			t.Errorf("%.60q: %v", o.Name, err)
		}
		if list, err := o.Make(1); err != nil || len(list[0].Note) != len(o.Note) {
			t.Error(err)
		}
	}
	for word, f := range map[string]func(*chat.VoucherOrder){
		"name is missing":     func(o *chat.VoucherOrder) { o.Name = " \t" },
		"name has 10000":      func(o *chat.VoucherOrder) { o.Name = strings.Repeat("x", 10000) },
		"note has 1001":       func(o *chat.VoucherOrder) { o.Note = strings.Repeat("茶", 1001) },
		"ref has 101":         func(o *chat.VoucherOrder) { o.Ref = strings.Repeat("x", 101) },
		"U+202E":              func(o *chat.VoucherOrder) { o.Name = "tea\u202eelbuod" },
		"note holds":          func(o *chat.VoucherOrder) { o.Note = "a\x00" },
		"valid UTF-8":         func(o *chat.VoucherOrder) { o.Name = "a\xff" },
		"1 to 1000":           func(o *chat.VoucherOrder) { o.Count = 1001 },
		"count is 0":          func(o *chat.VoucherOrder) { o.Count = 0 },
		"owner: the user id ": func(o *chat.VoucherOrder) { o.Owner = "" },
		"in milliseconds":     func(o *chat.VoucherOrder) { o.ExpiresAt = 1_800_000_000 },
		"not a time":          func(o *chat.VoucherOrder) { o.ExpiresAt = -1 },
		"by is missing":       func(o *chat.VoucherOrder) { o.By = "" },
	} {
		o := good
		f(&o)
		if err := o.Check(limits); err == nil || !strings.Contains(err.Error(), word) || chat.CodeOf(err).Verdict().Status != 400 {
			t.Errorf("%v; want %q", err, word)
		}
	}
	o := good
	o.ExpiresAt = 1e12
	if _, err := o.Make(1e12); chat.CodeOf(err) != chat.CodeBadRequest || !strings.Contains(err.Error(), "in the past") {
		t.Error(err)
	}
	// The largest there can be goes into an event.
	o = chat.VoucherOrder{Name: strings.Repeat("<", 100), Ref: strings.Repeat("<", 100), Note: strings.Repeat("<", 1000), Owner: strings.Repeat("x", 64), Count: 1, Batch: strings.Repeat("<", 128)}
	list, err := o.Make(1)
	if err != nil {
		t.Fatal(err)
	}
	list[0].Station, list[0].RedeemedBy = strings.Repeat("<", 64), strings.Repeat("<", 64)
	if e := (chat.VoucherChange{Voucher: list[0]}).Event(); len(e.Body) > limits.Body {
		t.Errorf("an event of %d bytes", len(e.Body))
	}
}

func TestVoucherActLimits(t *testing.T) {
	t.Parallel()
	for word, a := range map[string]chat.VoucherAct{
		"":                    {Do: chat.ActionRedeemed, By: " eve ", Key: "k"},
		"key is missing":      {Do: chat.ActionRedeemed, By: "eve"},
		"128 bytes":           {Do: chat.ActionRedeemed, By: "eve", Key: strings.Repeat("k", 129)},
		"by is missing":       {Do: chat.ActionRedeemed, Key: "k"},
		"by has 65":           {Do: chat.ActionRedeemed, Key: "k", By: strings.Repeat("x", 65)},
		"station has 65":      {Do: chat.ActionRedeemed, Key: "k", By: "eve", Station: strings.Repeat("x", 65)},
		"reason is missing":   {Do: chat.ActionVoid, Key: "k", By: "eve"},
		"reason has 301":      {Do: chat.ActionReversed, Key: "k", By: "eve", Reason: strings.Repeat("x", 301)},
		"reason holds the ch": {Do: chat.ActionReversed, Key: "k", By: "eve", Reason: "\x1b[31m"},
	} {
		err := a.Check()
		if (err == nil) != (word == "") || err != nil && !strings.Contains(err.Error(), word) {
			t.Errorf("%v; want %q", err, word)
		}
	}
}

// dueTold waits for the next event of a voucher and returns its kind.
func dueTold(t *testing.T, g *guest) (string, chat.Voucher) {
	t.Helper()
	f := g.want("event")
	var v chat.Voucher
	if err := json.Unmarshal(f.Body, &v); err != nil {
		t.Fatal(err)
	}
	return f.Kind, v
}

// lastTold reads the newest event of an inbox.
func lastTold(t *testing.T, h *house, owner string) (kind string, v chat.Voucher) {
	t.Helper()
	events, err := h.store.Before(t.Context(), chat.Inbox(owner), 0, 1)
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	if err := json.Unmarshal(events[0].Body, &v); err != nil {
		t.Fatal(err)
	}
	return events[0].Kind, v
}

// Nobody looks, and yet the owner is told at the very moment; also of what
// fell due while the house was closed, and after the clock was set.
func TestVouchersExpireByThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		h := newHouse(t, houseOptions{store: store, pipes: true})
		order := func(owner string, in time.Duration, count int) chat.VoucherOrder {
			return chat.VoucherOrder{Name: "tea", Owner: owner, Count: count, By: "shop", Batch: owner + in.String(), ExpiresAt: time.Now().Add(in).UnixMilli()}
		}
		issue := func(o chat.VoucherOrder) []chat.Voucher {
			t.Helper()
			list, err := h.hub.Issue(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		ann, _ := h.hello("ann", "")
		late, soon := order("ann", 3*time.Hour, 1), order("ann", 90*time.Second, 1)
		issue(late)
		if kind, _ := dueTold(t, ann); kind != "voucher.issued" {
			t.Fatal(kind)
		}
		issue(soon) // earlier than what is waited for
		dueTold(t, ann)
		for _, o := range []chat.VoucherOrder{soon, late} {
			kind, v := dueTold(t, ann)
			if now := time.Now().UnixMilli(); kind != "voucher.expired" || v.Status != chat.VoucherExpired || v.ExpiresAt != o.ExpiresAt || now < o.ExpiresAt || now > o.ExpiresAt+20 {
				t.Errorf("%s %+v at %d", kind, v, now-o.ExpiresAt)
			}
		}
		// More than one transaction's worth at once.
		crowd := issue(order("crowd", time.Minute, 450))
		time.Sleep(time.Minute + 100*time.Millisecond)
		synctest.Wait()
		if left, err := store.Vouchers(t.Context(), chat.VoucherQuery{Owner: "crowd", Status: chat.VoucherExpired, Limit: 1000}); err != nil || len(left) != len(crowd) {
			t.Errorf("%d of %d expired, %v", len(left), len(crowd), err)
		}
		// A reversal after the time: it is issued again, and expires at once.
		v := issue(order("bob", time.Minute, 1))[0]
		if _, err := h.hub.ChangeVoucher(t.Context(), v.Code, chat.VoucherAct{Do: chat.ActionRedeemed, By: "eve", Key: "1"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, err := h.hub.ChangeVoucher(t.Context(), v.Code, chat.VoucherAct{Do: chat.ActionReversed, By: "eve", Key: "2", Reason: "slip"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		if v, _, _ := store.Voucher(t.Context(), v.Code); v.Status != chat.VoucherExpired {
			t.Errorf("after a late reversal it is %s", v.Status)
		}
		// The store fails for a while.
		issue(order("cem", time.Minute, 1))
		store.SetFail(&chat.Error{Code: chat.CodeStorageFull, Message: "full", Retry: 5 * time.Second})
		time.Sleep(3 * time.Minute)
		store.SetFail(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n, next, err := store.Expire(t.Context(), 10); n != 0 || next != 0 || err != nil {
			t.Errorf("%d had not expired after the store was well again; next %d, %v", n, next, err)
		}
		issue(order("ann", time.Hour, 2))
		ann.conn.Close()
		h.stop()

		// While nobody is there.
		if _, err := h.hub.Issue(t.Context(), order("x", time.Hour, 1)); chat.CodeOf(err) != chat.CodeGoingAway {
			t.Errorf("a stopped house issues: %v", err)
		}
		time.Sleep(2 * time.Hour)
		h = newHouse(t, houseOptions{store: store, pipes: true})
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if list, err := store.Vouchers(t.Context(), chat.VoucherQuery{Owner: "ann", Status: chat.VoucherExpired}); err != nil || len(list) != 4 {
			t.Errorf("after the downtime %d are expired, %v", len(list), err)
		}
		h.stop()
	})
}

// What a code is typed like, what window holds: the hub's part of a change.
func TestHubChangesVouchers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, houseOptions{pipes: true, hub: chat.HubOptions{ReverseWindow: time.Hour}})
		list, err := h.hub.Issue(t.Context(), chat.VoucherOrder{Name: "tea", Owner: "ann", Count: 1, By: "shop", Batch: "b"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the hub has told of it: ann begins after it
		ann, _ := h.hello("ann", "")
		do := func(what chat.VoucherAction, key string) error {
			_, err := h.hub.ChangeVoucher(t.Context(), strings.ToLower(chat.ShowVoucherCode(list[0].Code)),
				chat.VoucherAct{Do: what, By: "eve", Key: key, Reason: "x", Window: 1000 * time.Hour})
			return err
		}
		if err := do(chat.ActionRedeemed, "1"); err != nil {
			t.Fatal(err)
		}
		if kind, v := dueTold(t, ann); kind != "voucher.redeemed" || v.RedeemedBy != "eve" || v.RedeemedAt != time.Now().UnixMilli() {
			t.Errorf("told %s %+v", kind, v)
		}
		time.Sleep(time.Hour)
		if err := do(chat.ActionReversed, "2"); err != nil {
			t.Errorf("within the window: %v", err)
		}
		ann.conn.Close()
		if kind, v := lastTold(t, h, "ann"); kind != "voucher.reversed" || v.RedeemedBy != "" {
			t.Errorf("told %s %+v", kind, v)
		}
		if err := do(chat.ActionRedeemed, "3"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour + time.Millisecond)
		if err := do(chat.ActionReversed, "4"); chat.CodeOf(err) != chat.CodeReverseLate || !strings.Contains(err.Error(), "within 1h only") {
			t.Errorf("after the window: %v", err)
		}
		h.stop()
	})
}
