package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"teahouse/chat"
)

// window is what reversals of these tests may use.
const window = time.Hour

func order(owner string, count int) chat.VoucherOrder {
	return chat.VoucherOrder{Name: "Tea for two ☕", Owner: owner, Ref: "81", Note: "no sugar\n<b>", Count: count, By: "shop", Batch: "batch of " + owner}
}

func issue(t *testing.T, s chat.Store, o chat.VoucherOrder) []chat.Voucher {
	t.Helper()
	out, err := s.Issue(t.Context(), o)
	if err != nil || len(out) != o.Count {
		t.Fatalf("Issue: %d of %d vouchers, %v", len(out), o.Count, err)
	}
	return out
}

func act(do chat.VoucherAction, by, key string) chat.VoucherAct {
	a := chat.VoucherAct{Do: do, By: by, Key: key, Window: window}
	if do == chat.ActionRedeemed {
		a.Station = "gate of " + by
	} else {
		a.Reason = "because"
	}
	return a
}

// change must be made now.
func change(t *testing.T, s chat.Store, code string, a chat.VoucherAct) chat.VoucherChange {
	t.Helper()
	c, err := s.Change(t.Context(), code, a)
	if err != nil || !c.First {
		t.Fatalf("%s by %s: first %v, %v", a.Do, a.By, c.First, err)
	}
	return c
}

// refused must not be made, for this reason.
func refused(t *testing.T, s chat.Store, code string, a chat.VoucherAct, want chat.Code) *chat.Error {
	t.Helper()
	before := head(t, s).Seq
	c, err := s.Change(t.Context(), code, a)
	if chat.CodeOf(err) != want || c != (chat.VoucherChange{}) {
		t.Fatalf("%s by %s: %+v, %v; want %s", a.Do, a.By, c, err, want)
	}
	if after := head(t, s).Seq; after != before {
		t.Fatalf("a refused change moved the head from %d to %d", before, after)
	}
	return chat.AsError(err)
}

func voucher(t *testing.T, s chat.Store, code string) (chat.Voucher, []chat.VoucherEntry) {
	t.Helper()
	v, log, err := s.Voucher(t.Context(), code)
	if err != nil {
		t.Fatalf("Voucher: %v", err)
	}
	return v, log
}

// told is what the owner's inbox says, and that each body is the voucher.
func told(t *testing.T, s chat.Store, owner string) (kinds []string, last chat.Voucher) {
	t.Helper()
	for _, e := range replay(t, s, 0, 1<<20, chat.Inbox(owner)) {
		var v chat.Voucher
		if err := json.Unmarshal(e.Body, &v); err != nil || v.Code == "" || v.Owner != owner || e.From != "" {
			t.Fatalf("the event %v has the body %s: %v", e, e.Body, err)
		}
		kinds, last = append(kinds, strings.TrimPrefix(e.Kind, "voucher.")), v
	}
	return kinds, last
}

func testVoucherIssue(t *testing.T, open Open) {
	s, reopen := open(t)
	o := order("ann", 3)
	o.ExpiresAt = time.Now().Add(time.Hour).UnixMilli()
	list := issue(t, s, o)
	codes := make(map[string]bool)
	for _, v := range list {
		if _, err := chat.ParseVoucherCode(v.Code); err != nil || codes[v.Code] {
			t.Errorf("the code %s: twice, or %v", v.Code, err)
		}
		codes[v.Code] = true
		want := chat.Voucher{ID: v.ID, Code: v.Code, Ref: o.Ref, Name: o.Name, Owner: o.Owner, Status: chat.VoucherIssued, Batch: o.Batch,
			Note: o.Note, IssuedAt: v.IssuedAt, ExpiresAt: o.ExpiresAt}
		if v != want || v.IssuedAt != list[0].IssuedAt || v.IssuedAt == 0 {
			t.Errorf("issued %+v; want %+v", v, want)
		}
	}
	for range 2 {
		for _, v := range list {
			got, log := voucher(t, s, v.Code)
			if got != v || !reflect.DeepEqual(log, []chat.VoucherEntry{{At: v.IssuedAt, Action: chat.ActionIssued, By: "shop"}}) {
				t.Errorf("kept %+v with the log %+v; want %+v", got, log, v)
			}
		}
		// The same order again is the same vouchers, another one in its name is refused.
		before := head(t, s).Seq
		if again := issue(t, s, o); !reflect.DeepEqual(again, list) {
			t.Errorf("the same order again: %+v", again)
		}
		for _, f := range []func(*chat.VoucherOrder){
			func(o *chat.VoucherOrder) { o.Name = "x" }, func(o *chat.VoucherOrder) { o.Owner = "bob" }, func(o *chat.VoucherOrder) { o.Ref = "" },
			func(o *chat.VoucherOrder) { o.Note = "" }, func(o *chat.VoucherOrder) { o.Count = 2 }, func(o *chat.VoucherOrder) { o.ExpiresAt++ },
		} {
			other := o
			f(&other)
			if out, err := s.Issue(t.Context(), other); chat.CodeOf(err) != chat.CodeKeyReused || out != nil {
				t.Errorf("another order with this batch: %v, %v", out, err)
			}
		}
		if after := head(t, s).Seq; after != before {
			t.Errorf("the head went from %d to %d", before, after)
		}
		s = reopen()
	}
	late := order("bob", 1)
	late.ExpiresAt = list[0].IssuedAt
	if out, err := s.Issue(t.Context(), late); chat.CodeOf(err) != chat.CodeBadRequest || out != nil {
		t.Errorf("an order that expired already: %v, %v", out, err)
	}
	if _, _, err := s.Voucher(t.Context(), chat.NewVoucherCode()); chat.CodeOf(err) != chat.CodeVoucherUnknown {
		t.Errorf("a code that was not given out: %v", err)
	}
	refused(t, s, chat.NewVoucherCode(), act(chat.ActionRedeemed, "eve", "1"), chat.CodeVoucherUnknown)
}

func testVoucherChanges(t *testing.T, open Open) {
	s, reopen := open(t)
	v := issue(t, s, order("ann", 1))[0]
	refused(t, s, v.Code, act(chat.ActionReversed, "boss", "r0"), chat.CodeVoucherNotRedeemed)
	c := change(t, s, v.Code, act(chat.ActionRedeemed, "eve", "k1"))
	want := v
	want.Status, want.RedeemedAt, want.RedeemedBy, want.Station = chat.VoucherRedeemed, c.Entry.At, "eve", "gate of eve"
	if c.Voucher != want || c.Entry.From != chat.VoucherIssued || c.Entry.At < v.IssuedAt {
		t.Errorf("redeemed: %+v", c)
	}
	s = reopen()
	e := refused(t, s, v.Code, act(chat.ActionRedeemed, "kim", "k2"), chat.CodeVoucherRedeemed)
	if e.Voucher == nil || *e.Voucher != want || !strings.Contains(e.Message, "by eve at gate of eve on ") {
		t.Errorf("the refusal does not say who and where: %+v", e)
	}
	refused(t, s, v.Code, act(chat.ActionVoid, "boss", "v0"), chat.CodeVoucherRedeemed)
	own := act(chat.ActionReversed, "kim", "r1")
	own.Own = true
	refused(t, s, v.Code, own, chat.CodeVoucherNotYours)
	late := act(chat.ActionReversed, "boss", "r2")
	late.Window = -time.Hour
	refused(t, s, v.Code, late, chat.CodeReverseLate)
	for i := range chat.MaxVoucherReversals {
		own := act(chat.ActionReversed, "eve", fmt.Sprint("r", i))
		own.Own = true
		if c := change(t, s, v.Code, own); c.Voucher != v || c.Entry.From != chat.VoucherRedeemed {
			t.Fatalf("reversed: %+v; want %+v", c, v)
		}
		change(t, s, v.Code, act(chat.ActionRedeemed, "eve", fmt.Sprint("again", i)))
	}
	refused(t, s, v.Code, act(chat.ActionReversed, "boss", "r99"), chat.CodeReverseLimit)
	got, log := voucher(t, s, v.Code)
	if got.Status != chat.VoucherRedeemed || len(log) != 2+2*chat.MaxVoucherReversals {
		t.Errorf("kept: %+v, a log of %d", got, len(log))
	}
	for i := 1; i < len(log); i++ {
		if log[i].At < log[i-1].At || log[i].From == "" || log[i].By != "eve" || log[i].Key == "" {
			t.Errorf("line %d of the log: %+v", i, log[i])
		}
	}
	o := order("bob", 1)
	v = issue(t, s, o)[0]
	c = change(t, s, v.Code, act(chat.ActionVoid, "boss", "v1"))
	if want := v; c.Voucher.Status != chat.VoucherVoid || c.Entry.Reason != "because" || c.Voucher.Code != want.Code {
		t.Errorf("void: %+v", c)
	}
	s = reopen()
	for _, do := range []chat.VoucherAction{chat.ActionRedeemed, chat.ActionReversed, chat.ActionVoid} {
		refused(t, s, v.Code, act(do, "boss", "other"), chat.CodeVoucherVoid)
	}
}

// The same request gets its first outcome, whatever happened since; the same
// key of another request is another request.
func testVoucherKeys(t *testing.T, open Open) {
	s, reopen := open(t)
	list := issue(t, s, order("ann", 2))
	v := list[0]
	again := func(a chat.VoucherAct, first chat.VoucherChange) {
		t.Helper()
		before := head(t, s).Seq
		c, err := s.Change(t.Context(), v.Code, a)
		if err != nil || c.First || c.Voucher != first.Voucher || c.Entry != first.Entry || head(t, s).Seq != before {
			t.Fatalf("%s again: %+v, %v; want %+v", a.Do, c, err, first)
		}
	}
	redeem, reverse, void := act(chat.ActionRedeemed, "eve", "k"), act(chat.ActionReversed, "eve", "k"), act(chat.ActionVoid, "eve", "k")
	redeemed := change(t, s, v.Code, redeem)
	again(redeem, redeemed)
	elsewhere := redeem
	elsewhere.Station = ""
	again(elsewhere, redeemed)
	change(t, s, list[1].Code, redeem) // the same key for another voucher
	for _, f := range []func(*chat.VoucherAct){
		func(a *chat.VoucherAct) { a.Key = "K" }, func(a *chat.VoucherAct) { a.By = "kim" },
	} {
		other := redeem
		f(&other)
		refused(t, s, v.Code, other, chat.CodeVoucherRedeemed)
	}
	reversed := change(t, s, v.Code, reverse) // for another operation
	again(reverse, reversed)
	again(redeem, redeemed) // a late repeat does not redeem again
	s = reopen()
	again(redeem, redeemed)
	again(reverse, reversed)
	voided := change(t, s, v.Code, void)
	again(void, voided)
	again(redeem, redeemed)
	again(reverse, reversed)
	kinds, last := told(t, s, "ann")
	if want := []string{"issued", "issued", "redeemed", "redeemed", "reversed", "void"}; !reflect.DeepEqual(kinds, want) || last.Status != chat.VoucherVoid {
		t.Errorf("the inbox: %v, %+v", kinds, last)
	}
}

// However many try at once: one redeems each voucher, and every repeat of its
// request is told so.
func testVoucherConcurrent(t *testing.T, open Open) {
	s, _ := open(t)
	const vouchers, callers = 12, 16
	list := issue(t, s, order("ann", vouchers))
	var mu sync.Mutex
	firsts, repeats := make(map[string]int), make(map[string]int)
	var wg sync.WaitGroup
	for c := range callers {
		for range 2 {
			wg.Go(func() {
				for i := range list {
					v := list[(i+c)%len(list)]
					got, err := s.Change(t.Context(), v.Code, act(chat.ActionRedeemed, fmt.Sprint("staff", c), "k"))
					mu.Lock()
					switch {
					case err == nil && got.First:
						firsts[v.Code]++
					case err == nil:
						repeats[v.Code]++
					case chat.CodeOf(err) != chat.CodeVoucherRedeemed:
						t.Errorf("Change: %v", err)
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for _, v := range list {
		if firsts[v.Code] != 1 || repeats[v.Code] != 1 {
			t.Errorf("a voucher was redeemed %d times and repeated %d times", firsts[v.Code], repeats[v.Code])
		}
	}
	if kinds, _ := told(t, s, "ann"); len(kinds) != 2*vouchers {
		t.Errorf("%d events", len(kinds))
	}
}

// Events of vouchers come through Tail like all others, each with the
// voucher as its change left it.
func testVoucherEvents(t *testing.T, open Open) {
	s, _ := open(t)
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	events := make(chan chat.Event, 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Tail(ctx, 0, func(batch []chat.Event) error {
			for _, e := range batch {
				events <- e
			}
			return nil
		})
	})
	next := func(kind string, want chat.Voucher) {
		t.Helper()
		select {
		case e := <-events:
			want.ID = 0
			var v chat.Voucher
			if err := json.Unmarshal(e.Body, &v); err != nil || e.Kind != kind || e.Topic != "user:ann" || v != want || e.Seq == 0 || e.At == 0 {
				t.Errorf("told %v %s at %d: %v; want %s %+v", e, e.Body, e.At, err, kind, want)
			}
		case <-ctx.Done():
			t.Fatalf("%s was not told", kind)
		}
	}
	v := issue(t, s, order("ann", 1))[0]
	next("voucher.issued", v)
	next("voucher.redeemed", change(t, s, v.Code, act(chat.ActionRedeemed, "eve", "1")).Voucher)
	next("voucher.reversed", change(t, s, v.Code, act(chat.ActionReversed, "eve", "2")).Voucher)
	next("voucher.void", change(t, s, v.Code, act(chat.ActionVoid, "eve", "3")).Voucher)
	cancel()
	wg.Wait()
}

func expire(t *testing.T, s chat.Store, limit int) (int, int64) {
	t.Helper()
	n, next, err := s.Expire(t.Context(), limit)
	if err != nil {
		t.Fatalf("Expire: %v", err)
	}
	return n, next
}

// until lets time pass. The Stores of this suite use the clock of the machine.
func until(ms int64) { time.Sleep(time.Until(time.UnixMilli(ms))) }

func testVoucherExpire(t *testing.T, open Open) {
	s, reopen := open(t)
	if n, next := expire(t, s, 10); n != 0 || next != 0 {
		t.Errorf("in an empty store %d expired, the next at %d", n, next)
	}
	issue(t, s, order("never", 1))
	soon, later := order("ann", 5), order("bob", 1)
	soon.ExpiresAt = time.Now().Add(300 * time.Millisecond).UnixMilli()
	later.ExpiresAt = soon.ExpiresAt + 3_600_000
	list := issue(t, s, soon)
	issue(t, s, later)
	change(t, s, list[0].Code, act(chat.ActionRedeemed, "eve", "1"))
	change(t, s, list[1].Code, act(chat.ActionVoid, "eve", "1"))
	change(t, s, list[4].Code, act(chat.ActionRedeemed, "eve", "1"))
	if n, next := expire(t, s, 10); n != 0 || next != soon.ExpiresAt {
		t.Errorf("before the time %d expired, the next at %d; want %d", n, next, soon.ExpiresAt)
	}
	until(soon.ExpiresAt)
	// The rule is in the transaction: nobody has come by yet.
	for _, do := range []chat.VoucherAction{chat.ActionRedeemed, chat.ActionReversed, chat.ActionVoid} {
		if e := refused(t, s, list[2].Code, act(do, "eve", "2"), chat.CodeVoucherExpired); e.Voucher.Status != chat.VoucherExpired {
			t.Errorf("the refusal's voucher: %+v", e.Voucher)
		}
	}
	s = reopen()
	if n, next := expire(t, s, 1); n != 1 || next != soon.ExpiresAt {
		t.Errorf("%d expired of at most one, the next at %d", n, next)
	}
	if n, next := expire(t, s, 10); n != 1 || next != later.ExpiresAt {
		t.Errorf("%d expired, the next at %d; want 1, %d", n, next, later.ExpiresAt)
	}
	if n, _ := expire(t, s, 10); n != 0 {
		t.Errorf("%d expired again", n)
	}
	for i, want := range []chat.VoucherStatus{chat.VoucherRedeemed, chat.VoucherVoid, chat.VoucherExpired, chat.VoucherExpired, chat.VoucherRedeemed} {
		v, log := voucher(t, s, list[i].Code)
		if v.Status != want {
			t.Errorf("voucher %d is %s; want %s", i, v.Status, want)
		}
		if last := log[len(log)-1]; want == chat.VoucherExpired && (len(log) != 2 || last.Action != chat.ActionExpired || last.At < soon.ExpiresAt || last.From != chat.VoucherIssued) {
			t.Errorf("the log of voucher %d: %+v", i, log)
		}
	}
	refused(t, s, list[2].Code, act(chat.ActionRedeemed, "eve", "2"), chat.CodeVoucherExpired)
	// A reversal after the time gives nothing back but the truth.
	change(t, s, list[4].Code, act(chat.ActionReversed, "eve", "9"))
	refused(t, s, list[4].Code, act(chat.ActionRedeemed, "eve", "10"), chat.CodeVoucherExpired)
	if n, _ := expire(t, s, 10); n != 1 {
		t.Errorf("%d expired after the reversal", n)
	}
	kinds, last := told(t, s, "ann")
	if want := []string{"issued", "issued", "issued", "issued", "issued", "redeemed", "void", "redeemed", "expired", "expired", "reversed", "expired"}; !reflect.DeepEqual(kinds, want) {
		t.Errorf("the inbox: %v", kinds)
	}
	if last.Status != chat.VoucherExpired {
		t.Errorf("the last event's voucher: %+v", last)
	}
}

func testVoucherList(t *testing.T, open Open) {
	s, _ := open(t)
	var all []chat.Voucher // oldest first
	for i := range 12 {
		o := order([]string{"ann", "bob", "cem"}[i%3], 5)
		o.Batch = fmt.Sprint("b", i)
		for j, v := range issue(t, s, o) {
			switch j {
			case 1:
				v = change(t, s, v.Code, act(chat.ActionRedeemed, "eve", "1")).Voucher
			case 2:
				v = change(t, s, v.Code, act(chat.ActionVoid, "eve", "1")).Voucher
			}
			all = append(all, v)
		}
	}
	list := func(q chat.VoucherQuery) []chat.Voucher {
		t.Helper()
		out, err := s.Vouchers(t.Context(), q)
		if err != nil {
			t.Fatalf("Vouchers: %v", err)
		}
		return out
	}
	for _, q := range []chat.VoucherQuery{
		{}, {Owner: "ann"}, {Owner: "nobody"}, {Status: chat.VoucherIssued}, {Status: chat.VoucherExpired}, {Batch: "b3"}, {Batch: "none"},
		{Owner: "bob", Status: chat.VoucherRedeemed}, {Owner: "ann", Batch: "b3", Status: chat.VoucherVoid}, {Owner: "bob", Batch: "b3"},
	} {
		var want []chat.Voucher
		for i := len(all) - 1; i >= 0; i-- {
			if v := all[i]; (q.Owner == "" || q.Owner == v.Owner) && (q.Status == "" || q.Status == v.Status) && (q.Batch == "" || q.Batch == v.Batch) {
				want = append(want, v)
			}
		}
		for _, limit := range []int{0, 1, 7, 500} {
			q.Limit, q.Before = limit, 0
			var got []chat.Voucher
			for {
				page := list(q)
				if most := limit; limit == 0 && len(page) > 50 || limit > 0 && len(page) > most {
					t.Fatalf("%+v: a page of %d", q, len(page))
				}
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
				q.Before = page[len(page)-1].ID
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v: %d vouchers; want %d\ngot  %v\nwant %v", q, len(got), len(want), got, want)
			}
		}
	}
}

// An import is taken in whole, and issued chunk by chunk in its order, also
// after the store was closed in between; the same again is the first one.
func testVoucherImport(t *testing.T, open Open) {
	s, reopen := open(t)
	issueNext := func() int {
		t.Helper()
		n, err := s.IssueImported(t.Context())
		if err != nil {
			t.Fatalf("IssueImported: %v", err)
		}
		return n
	}
	if n := issueNext(); n != 0 {
		t.Errorf("%d issued, and nothing was imported", n)
	}
	imports := []chat.VoucherImport{{Batch: "first", By: "shop"}, {Batch: "second", By: "shop"}}
	const first, second = 2*chat.ImportChunk + 7, 3
	soon := time.Now().Add(time.Hour).UnixMilli()
	for i := range first {
		imports[0].Rows = append(imports[0].Rows, chat.VoucherRow{Name: fmt.Sprint("tea <b> 茶 ", i), Owner: []string{"ann", "bob"}[i%2], Ref: fmt.Sprint(i), Note: "a\nb", ExpiresAt: soon})
	}
	for i := range second {
		imports[1].Rows = append(imports[1].Rows, chat.VoucherRow{Name: fmt.Sprint("cake ", i), Owner: "ann", ExpiresAt: 1_000_000_000_000}) // long over
	}
	state := func(batch string, count, issued int) {
		t.Helper()
		got, err := s.ImportState(t.Context(), batch)
		if want := (chat.ImportState{Batch: batch, Count: count, Issued: issued, At: got.At}); err != nil || got != want || got.At == 0 {
			t.Errorf("the state is %+v, %v; want %+v", got, err, want)
		}
	}
	take := func(i chat.VoucherImport, issued int) {
		t.Helper()
		got, err := s.Import(t.Context(), i)
		if err != nil || got.Batch != i.Batch || got.Count != len(i.Rows) || got.Issued != issued {
			t.Fatalf("Import: %+v, %v", got, err)
		}
	}
	before := head(t, s).Seq
	for _, i := range imports {
		take(i, 0)
		state(i.Batch, len(i.Rows), 0)
	}
	if after := head(t, s).Seq; after != before {
		t.Errorf("taking in moved the head from %d to %d", before, after)
	}
	if _, err := s.ImportState(t.Context(), "third"); chat.CodeOf(err) != chat.CodeNotFound {
		t.Errorf("an import that never was: %v", err)
	}
	for _, want := range []int{chat.ImportChunk, chat.ImportChunk, 7, second, 0} {
		if n := issueNext(); n != want {
			t.Fatalf("%d issued; want %d", n, want)
		}
		s = reopen()
		other := imports[0]
		other.Rows = slices.Clone(other.Rows)
		other.Rows[first-1].Note = "x"
		for _, o := range []chat.VoucherImport{other, {Batch: "first", By: "shop", Rows: other.Rows[:1]}} {
			if _, err := s.Import(t.Context(), o); chat.CodeOf(err) != chat.CodeKeyReused {
				t.Errorf("another import in its name: %v", err)
			}
		}
	}
	take(imports[0], first)
	take(imports[1], second)
	state("first", first, first)
	if n := issueNext(); n != 0 {
		t.Errorf("%d issued again", n)
	}
	list, err := s.Vouchers(t.Context(), chat.VoucherQuery{Batch: "first", Limit: 1000})
	if err != nil || len(list) != first {
		t.Fatalf("%d vouchers, %v", len(list), err)
	}
	for i, v := range list {
		r := imports[0].Rows[first-1-i]
		_, log := voucher(t, s, v.Code)
		if v.Name != r.Name || v.Owner != r.Owner || v.Ref != r.Ref || v.Note != r.Note || v.ExpiresAt != soon || v.Status != chat.VoucherIssued || len(log) != 1 || log[0].By != "shop" {
			t.Fatalf("issued %+v with the log %+v; asked for was %+v", v, log, r)
		}
	}
	if kinds, _ := told(t, s, "bob"); len(kinds) != first/2 {
		t.Errorf("bob is told of %d", len(kinds))
	}
	if n, _ := expire(t, s, 10); n != second {
		t.Errorf("%d expire at once", n)
	}
}
