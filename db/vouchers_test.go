package db

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"teahouse/chat"
)

func redeem(by, key string) chat.VoucherAct {
	return chat.VoucherAct{Do: chat.ActionRedeemed, By: by, Key: key, Window: time.Hour}
}

func issued(t testing.TB, s *Store, count int) []chat.Voucher {
	t.Helper()
	out, err := s.Issue(t.Context(), chat.VoucherOrder{Name: "tea", Owner: "ann", Count: count, By: "shop", Batch: fmt.Sprint("batch ", count)})
	if err != nil {
		t.Fatalf("Issue: %v", err)
	}
	return out
}

// A file of the version before vouchers opens, and has everything.
func TestVouchersMigration(t *testing.T) {
	t.Parallel()
	dir := anOldFile(t, 1, "user:ann")
	s := openIn(t, dir)
	if got := replay(t, s, "user:ann"); len(got) != 1 || position(t, s).Seq != 1 {
		t.Errorf("after the upgrade: %v", got)
	}
	v := issued(t, s, 1)[0]
	if _, err := s.Change(t.Context(), v.Code, redeem("eve", "1")); err != nil {
		t.Fatal(err)
	}
	if got := replay(t, s, "user:ann"); len(got) != 3 || got[2].Kind != "voucher.redeemed" {
		t.Errorf("the inbox: %v", got)
	}
	if len(copies(t, dir)) != 1 {
		t.Errorf("no copy was made before the upgrade")
	}
}

// Redemptions that come together share commits, and one that is refused harms
// no other.
func TestVouchersGroupCommit(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	const callers, each = 64, 10
	list := issued(t, s, callers*each/2) // every voucher is tried twice
	queued, release := hold(t, s)
	before := s.Stats().Commits
	var good, refused atomic.Int64
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				_, err := s.Change(t.Context(), list[(c*each+i)%len(list)].Code, redeem(fmt.Sprint("staff", c), "k"))
				switch {
				case err == nil:
					good.Add(1)
				case chat.CodeOf(err) == chat.CodeVoucherRedeemed:
					refused.Add(1)
				default:
					t.Errorf("Change: %v", err)
				}
			}
		})
	}
	queued(callers)
	release()
	wg.Wait()
	if good.Load() != int64(len(list)) || refused.Load() != int64(len(list)) {
		t.Errorf("%d of %d redeemed, %d refused", good.Load(), len(list), refused.Load())
	}
	if n := s.Stats().Commits - before; n > callers*each/4 {
		t.Errorf("%d attempts took %d commits", callers*each, n)
	}
	if got := len(replay(t, s, "user:ann")); got != 2*len(list) {
		t.Errorf("the inbox has %d events for %d vouchers", got, len(list))
	}
	consistent(t, s)
}

// A change and its event are kept both or not at all, wherever the copy of
// the folder is taken.
func TestVouchersCrash(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	list := issued(t, s, 300)
	var acked atomic.Int64
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := c; i < len(list); i += 4 {
				if _, err := s.Change(t.Context(), list[i].Code, redeem("eve", "k")); err != nil {
					t.Errorf("Change: %v", err)
				}
				acked.Add(1)
			}
		})
	}
	var crashes []*Store
	var least []int64
	for acked.Load() < 250 {
		n := acked.Load()
		crashes = append(crashes, openIn(t, crash(t, s)))
		least = append(least, n)
		if len(crashes) == 5 {
			break
		}
	}
	wg.Wait()
	for i, c := range crashes {
		redeemed, err := c.Vouchers(t.Context(), chat.VoucherQuery{Status: chat.VoucherRedeemed, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		for _, e := range replay(t, c, "user:ann") {
			if e.Kind == "voucher.redeemed" {
				told++
			}
		}
		if told != len(redeemed) || int64(told) < least[i] {
			t.Errorf("after crash %d: %d redeemed, %d told, %d acknowledged", i, len(redeemed), told, least[i])
		}
	}
}

// simple is what a voucher should be: a few variables. It knows nothing of
// chat's rules; what is written here is what the contract says.
type simple struct {
	status    string
	by        string
	at        int64
	reversals int
	expires   int64
	done      map[string]string // request -> the status that it led to
}

// request does what the contract says and returns the outcome: "first",
// "again", or a code.
func (m *simple) request(do, by, key string, own bool, window, now int64) string {
	if _, ok := m.done[do+by+key]; ok {
		return "again"
	}
	over := m.expires > 0 && now >= m.expires
	switch {
	case m.status == "void":
		return "voucher_void"
	case m.status == "expired", m.status == "issued" && over:
		return "voucher_expired"
	case m.status == "redeemed" && (do == "redeemed" || do == "void"):
		return "voucher_redeemed"
	case m.status == "issued" && do == "reversed":
		return "voucher_not_redeemed"
	case do == "reversed" && own && m.by != by:
		return "voucher_not_yours"
	case do == "reversed" && now > m.at+window:
		return "voucher_reverse_late"
	case do == "reversed" && m.reversals == 10:
		return "voucher_reverse_limit"
	}
	m.status = map[string]string{"redeemed": "redeemed", "reversed": "issued", "void": "void"}[do]
	switch do {
	case "redeemed":
		m.by, m.at = by, now
	case "reversed":
		m.by, m.at = "", 0
		m.reversals++
	}
	m.done[do+by+key] = m.status
	return "first"
}

// One voucher does what a few variables do, whatever is asked of it, as time
// passes, over stops and crashes.
func TestVouchersModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var now atomic.Int64
		now.Store(1e12)
		folder := folders(rt)
		dir := folder()
		open := func() *Store {
			s, err := Open(t.Context(), options(dir, func(o *Options) {
				o.Clock = func() time.Time { return time.UnixMilli(now.Load()) }
				o.Durability = Normal
			}))
			if err != nil {
				rt.Fatalf("Open: %v", err)
			}
			return s
		}
		s := open()
		defer func() { s.Close() }()
		m := &simple{status: "issued", done: map[string]string{}}
		if rapid.Bool().Draw(rt, "expires") {
			m.expires = 1e12 + rapid.Int64Range(1, 500_000).Draw(rt, "in")
		}
		list, err := s.Issue(t.Context(), chat.VoucherOrder{Name: "tea", Owner: "ann", Count: 1, ExpiresAt: m.expires, By: "shop", Batch: "b"})
		if err != nil {
			rt.Fatal(err)
		}
		code := list[0].Code
		events := []string{"voucher.issued"}
		who, keys := rapid.SampledFrom([]string{"eve", "kim"}), rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "a", "b", "c", "d", "e", "f"})
		ask := func(do string) func(*rapid.T) {
			return func(rt *rapid.T) {
				by, key := who.Draw(rt, "by"), keys.Draw(rt, "key")
				own, window := do == "reversed" && rapid.Bool().Draw(rt, "own"), int64(100_000)
				want := m.request(do, by, key, own, window, now.Load())
				c, err := s.Change(t.Context(), code, chat.VoucherAct{Do: chat.VoucherAction(do), By: by, Key: key, Own: own, Window: time.Duration(window) * time.Millisecond})
				got := string(chat.CodeOf(err))
				switch {
				case err == nil && c.First:
					got = "first"
					events = append(events, "voucher."+do)
				case err == nil:
					got = "again"
				}
				if got != want || err == nil && string(c.Voucher.Status) != m.done[do+by+key] {
					rt.Fatalf("%s by %s with %s: %s %+v; want %s", do, by, key, got, c, want)
				}
			}
		}
		actions := map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				v, log, err := s.Voucher(t.Context(), code)
				if err != nil || string(v.Status) != m.status || v.RedeemedBy != m.by || v.RedeemedAt != m.at || len(log) != len(events) {
					rt.Fatalf("the voucher is %+v with a log of %d, %v; want %+v and %d", v, len(log), err, m, len(events))
				}
				told, err := s.Replay(t.Context(), []string{"user:ann"}, 0, 1000)
				if err != nil || !slices.EqualFunc(told, events, func(e chat.Event, kind string) bool { return e.Kind == kind }) {
					rt.Fatalf("told %v, %v; want %v", told, err, events)
				}
			},
			"redeem": ask("redeemed"), "redeem too": ask("redeemed"), "reverse": ask("reversed"), "reverse too": ask("reversed"), "void": func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "seldom") == 0 {
					ask("void")(rt)
				}
			},
			"time passes": func(rt *rapid.T) { now.Add(rapid.Int64Range(0, 60_000).Draw(rt, "ms")) },
			"expire": func(rt *rapid.T) {
				n, next, err := s.Expire(t.Context(), 10)
				over := m.status == "issued" && m.expires > 0
				due := over && now.Load() >= m.expires
				if err != nil || (n == 1) != due || (next != 0) != (over && !due) {
					rt.Fatalf("Expire: %d, %d, %v; the model %+v at %d", n, next, err, m, now.Load())
				}
				if due {
					m.status = "expired"
					events = append(events, "voucher.expired")
				}
			},
			"restart": func(rt *rapid.T) {
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s = open()
			},
			"crash": func(rt *rapid.T) {
				next := copyFolder(t, dir, folder())
				s.Close()
				dir = next
				s = open()
			},
		}
		rt.Repeat(actions)
	})
}

func staffOf(t *testing.T, s *Store) string {
	t.Helper()
	list, err := s.Staff(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, x := range list {
		out = append(out, fmt.Sprintf("%s@%s %s %s %d %d", x.Name, x.Station, x.PINHash, x.Stamp, x.CreatedAt, x.ChangedAt))
	}
	return strings.Join(out, "; ")
}

func TestStaff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openIn(t, dir)
	ann, bob := chat.Staff{Name: "ann", Station: "gate", PINHash: []byte("h1"), Stamp: "s1", CreatedAt: 5}, chat.Staff{Name: "Bob 王", PINHash: []byte("h2"), Stamp: "s2", CreatedAt: 6}
	for _, x := range []chat.Staff{ann, bob} {
		if ok, err := s.AddStaff(t.Context(), x); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	if ok, err := s.AddStaff(t.Context(), ann); ok || err != nil {
		t.Errorf("a second ann: %v, %v", ok, err)
	}
	ann.Station, ann.Stamp, ann.ChangedAt = "bar", "s3", 9
	if ok, err := s.ChangeStaff(t.Context(), ann); err != nil || !ok {
		t.Fatal(ok, err)
	}
	if ok, err := s.ChangeStaff(t.Context(), chat.Staff{Name: "nobody"}); ok || err != nil {
		t.Errorf("nobody was changed: %v, %v", ok, err)
	}
	shut(t, s)
	s = openIn(t, dir)
	if got := staffOf(t, s); got != "Bob 王@ h2 s2 6 0; ann@bar h1 s3 5 9" {
		t.Errorf("kept: %s", got)
	}
	for _, want := range []bool{true, false} {
		if ok, err := s.RemoveStaff(t.Context(), "Bob 王"); ok != want || err != nil {
			t.Errorf("removed: %v, %v", ok, err)
		}
	}
	if _, ok, err := s.StaffByName(t.Context(), "Bob 王"); ok || err != nil {
		t.Errorf("found after the removal: %v, %v", ok, err)
	}
	if x, ok, err := s.StaffByName(t.Context(), "ann"); !ok || err != nil || x.Station != "bar" {
		t.Errorf("ann: %+v, %v, %v", x, ok, err)
	}
}
