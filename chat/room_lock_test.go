package chat

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func newLocks(now *time.Time) *roomLocks {
	var r roomLocks
	r.init(func() time.Time { return *now })
	return &r
}

// kept is a lock as it is after a restart.
func kept(t *testing.T, r *roomLocks, topic, code string) *roomLock {
	t.Helper()
	lock, err := r.make(t.Context(), topic, code)
	if err != nil {
		t.Fatal(err)
	}
	return &roomLock{hash: lock.hash}
}

// TestCodesAreGuessedSlowly: an address has some tries at once and then one a
// minute, a room some more from all addresses, and while that is used up the
// right code is refused as well, or refusing would tell it.
func TestCodesAreGuessedSlowly(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	r := newLocks(&now)
	const topic, code = "room:den", "tea at four"
	lock := kept(t, r, topic, code)
	from := func(n int) netip.Prefix { return Network(fmt.Sprintf("10.0.0.%d", n)) }
	try := func(code string, n int) Code { return CodeOf(r.check(t.Context(), lock, topic, code, from(n))) }
	for i := range codeBurst {
		if got := try(fmt.Sprint("wrong", i), 1); got != CodeBadCode {
			t.Fatalf("guess %d: %s", i, got)
		}
	}
	if got := try(code, 1); got != CodeRateLimited {
		t.Errorf("the right code after all tries are used up: %q", got)
	}
	if got := try(code, 2); got != "" { // known from now on: compared without the slow hash
		t.Errorf("another address: %q", got)
	}
	if got := try(code, 1); got != CodeRateLimited {
		t.Errorf("the right code, known: %q", got)
	}
	err := AsError(r.check(t.Context(), lock, topic, code, from(1)))
	if err.Retry <= 0 || err.Retry > codeEvery || strings.Contains(err.Message, code) {
		t.Errorf("told to wait %s: %s", err.Retry, err.Message)
	}
	now = now.Add(err.Retry)
	if got := try(code, 1); got != "" {
		t.Errorf("the right code after the wait: %q", got)
	}
	if got := try("wrong", 1); got != CodeBadCode {
		t.Errorf("one more guess after the wait: %q", got)
	}
	if got := try("wrong", 1); got != CodeRateLimited {
		t.Errorf("and another one: %q", got)
	}
	answered := 0
	for n := 3; n < 200; n++ {
		if try("wrong", n) == CodeBadCode {
			answered++
		}
	}
	if most := roomCodeBurst; answered == 0 || answered > most {
		t.Errorf("%d guesses from many addresses were answered, at most %d may be", answered, most)
	}
	if got := CodeOf(r.check(t.Context(), kept(t, r, "room:other", code), "room:other", code, from(250))); got != "" {
		t.Errorf("another room: %q", got)
	}
	if got := try(strings.Repeat("茶", 100_000), 251); got != CodeRateLimited {
		t.Errorf("a very long one: %q", got)
	}
}

// TestCodesGuessedAtOnce: many guesses at once are no more than one after
// another, also while the code is not known yet.
func TestCodesGuessedAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	r := newLocks(&now)
	lock := kept(t, r, "room:den", "0042")
	var mu sync.Mutex
	counts := make(map[Code]int)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			got := CodeOf(r.check(t.Context(), lock, "room:den", fmt.Sprint(9000+i), netip.Prefix{}))
			mu.Lock()
			counts[got]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if counts[CodeBadCode] != codeBurst || counts[CodeRateLimited] != 100-codeBurst {
		t.Errorf("%v", counts)
	}
}

// TestCodesOfACrowd: after a restart all that come back with the right code
// are let in, and one of them pays for the slow hash.
func TestCodesOfACrowd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	r := newLocks(&now)
	lock := kept(t, r, "room:den", "tea at four")
	var wg sync.WaitGroup
	for range 300 {
		wg.Go(func() {
			if err := r.check(t.Context(), lock, "room:den", "tea at four", netip.Prefix{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	lock.hash = nil // nobody needs it any more
	if err := r.check(t.Context(), lock, "room:den", "ｔｅａ ａｔ ｆｏｕｒ", netip.Prefix{}); err != nil {
		t.Errorf("wide letters: %v", err)
	}
	if err := r.check(t.Context(), lock, "room:den", "Tea at four", netip.Prefix{}); CodeOf(err) != CodeBadCode {
		t.Errorf("capital letters: %v", err)
	}
}

func TestCodeForms(t *testing.T) {
	t.Parallel()
	for code, good := range map[string]bool{
		"1234": true, "茶室暗号": true, strings.Repeat("x", 64): true, strings.Repeat("茶", 64): true, "👩‍🔧 tea": true, "１２３４": true,
		"123": false, strings.Repeat("x", 65): false, " 1234": false, "1234 ": false, "12\n34": false, "12\u202e34": false, "\xff\xfe\xfd\xfc": false, "　1234": false,
	} {
		if err := checkCode(code); (err == nil) != good || err != nil && CodeOf(err) != CodeBadRequest {
			t.Errorf("%q: %v", code, err)
		}
	}
}

// TestTriesAreBounded: many places do not fill the memory, and those that have
// tries left come first to be forgotten.
func TestTriesAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	tr := NewTries[int](func() time.Time { return now }, 2, time.Minute)
	for range 3 {
		tr.Take(-1)
	}
	now = now.Add(30 * time.Second)
	for i := range 3 * triesMax {
		if i%(triesMax/4) == 0 {
			now = now.Add(time.Minute)
			tr.Take(-1) // goes on trying
			tr.Take(-1)
		}
		tr.Take(i)
	}
	if len(tr.all) > triesMax {
		t.Errorf("%d places are remembered", len(tr.all))
	}
	if tr.Wait(-1) == 0 {
		t.Error("who tries on is forgotten")
	}
	if got := tr.Wait(-2); got != 0 {
		t.Errorf("who never tried waits %s", got)
	}
}

func TestFoldName(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"Alice", "alice", "ALICE", "ａｌｉｃｅ", "ali\u200dce", "𝓐lice", "alice\ufe0f"},
		{"Straße", "STRASSE", "strasse"},
		{"José", "Jose\u0301", "JOSÉ"},
		{"爱丽丝 7", "爱丽丝  ７", "爱丽丝 ⑦"},
		{"ﬁn", "FIN"},
	} {
		for _, name := range same {
			if FoldName(name) != FoldName(same[0]) {
				t.Errorf("%q and %q are not the same: %q and %q", name, same[0], FoldName(name), FoldName(same[0]))
			}
			if f := FoldName(name); FoldName(f) != f {
				t.Errorf("%q folded twice is %q, once %q", name, FoldName(f), f)
			}
		}
	}
	for _, other := range []string{"Alic", "Alice2", "A lice", "爱丽丝", "愛麗絲"} {
		if FoldName(other) == FoldName("Alice") {
			t.Errorf("%q is taken for Alice", other)
		}
	}
}

// FuzzFoldName: folding is stable, or a claim could be missed.
func FuzzFoldName(f *testing.F) {
	for _, s := range []string{"Alice", "ǅ", "İ", "ß", "ΑΣ", "\u0345", "ᾳ", "ﬃ", "ـ", "a\u0300\u0301", "👩‍🔧", "\u1fb3\u0345"} {
		f.Add(s)
	}
	limits := DefaultLimits()
	f.Fuzz(func(t *testing.T, name string) {
		if limits.CheckUser(name) != nil {
			return
		}
		once := FoldName(name)
		if twice := FoldName(once); twice != once {
			t.Errorf("%q folds to %q and that to %q", name, once, twice)
		}
	})
}
