package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// asked is what a client wanted of a voucher, and heard what it was told.
type asked struct {
	code string // of the voucher; its history is checked by itself
	do   string // issue, redeem, reverse, void or read
	by   string
	key  string
}

type heard struct {
	status string // 200: the state that this led to, or that was read
	by     string // who has redeemed it, by the voucher or the refusal
	code   string // of a refusal
}

// oneVoucher is the model: what is known of one voucher, as text. It is
// written by the contract and shares nothing with the program.
//
//	STATE|BY|REVERSALS|request=outcome,…
//
// A request is done once; again it gets its first outcome.
func oneVoucher(broken string) porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			byCode := map[string][]porcupine.Operation{}
			var codes []string
			for _, o := range history {
				code := o.Input.(asked).code
				if byCode[code] == nil {
					codes = append(codes, code)
				}
				byCode[code] = append(byCode[code], o)
			}
			var out [][]porcupine.Operation
			for _, code := range codes {
				out = append(out, byCode[code])
			}
			return out
		},
		Init: func() any { return "|||" },
		Step: func(state, input, output any) (bool, any) {
			f := strings.Split(state.(string), "|")
			is, by, reversals, done := f[0], f[1], f[2], f[3]
			in, out := input.(asked), output.(heard)
			if in.do == "issue" {
				if is == "" {
					return out == heard{status: "issued"}, "issued||" + "|"
				}
				return out == heard{status: "issued"}, state // the same order again: its first answer
			}
			if in.do == "read" {
				return out == heard{status: is, by: by}, state
			}
			request := in.do + " " + in.by + " " + in.key
			for _, d := range strings.Split(done, ",") {
				if name, first, _ := strings.Cut(d, "="); name == request {
					return out.code == "" && out.status+" "+out.by == first, state
				}
			}
			refusal := ""
			switch {
			case is == "void":
				refusal = "voucher_void"
			case is == "redeemed" && in.do != "reverse" && broken != "redeems twice":
				refusal = "voucher_redeemed"
			case is == "issued" && in.do == "reverse":
				refusal = "voucher_not_redeemed"
			case in.do == "reverse" && len(reversals) == 10:
				refusal = "voucher_reverse_limit"
			}
			if refusal != "" {
				return out.code == refusal && out.by == by, state
			}
			switch in.do {
			case "redeem":
				is, by = "redeemed", in.by
			case "reverse":
				if is, by = "issued", ""; broken == "a reversal gives nothing back" {
					is = "void"
				}
				reversals += "x"
			case "void":
				is = "void"
			}
			done += request + "=" + is + " " + by + ","
			return out == heard{status: is, by: by}, strings.Join([]string{is, by, reversals, done}, "|")
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

// recorder keeps the history of all clients.
type recorder struct {
	began time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func (r *recorder) add(client int, in asked, called time.Duration, out heard) {
	returned := time.Since(r.began)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, porcupine.Operation{ClientId: client, Input: in, Call: int64(called), Output: out, Return: int64(returned)})
}

// desk is a client of real HTTP that asks until it is answered: one operation
// lasts from its first try to its answer, whatever died in between.
type desk struct {
	t      *testing.T
	id     int
	place  *place
	record *recorder
	lost   int
}

func (d *desk) call(ctx context.Context, method, path string, body any, headers ...string) (answer, bool) {
	for {
		host, err := d.place.get(ctx)
		if err != nil {
			d.t.Error(err)
			return answer{}, false
		}
		a, err := (&house{t: d.t, url: "http://" + host}).send(method, path, body, headers...)
		if err == nil && a.status < 500 {
			return a, true
		}
		d.lost++
	}
}

func (d *desk) do(ctx context.Context, in asked) {
	called := time.Since(d.record.began)
	var a answer
	var ok bool
	path := "/api/v1/vouchers/" + in.code
	if in.do == "read" {
		a, ok = d.call(ctx, "GET", path, nil)
	} else {
		a, ok = d.call(ctx, "POST", path+"/"+in.do, map[string]any{"by": in.by, "key": in.key, "reason": "because"})
	}
	if !ok {
		return
	}
	var r redeemed
	if err := json.Unmarshal(a.body, &r); err != nil {
		d.t.Errorf("%s: %v", a.body, err)
		return
	}
	out := heard{code: r.Code, by: r.RedeemedBy}
	if r.Code == "" {
		out = heard{status: r.Voucher.Status, by: r.Voucher.RedeemedBy}
	}
	d.record.add(d.id, in, called, out)
}

// The history of many clients that issue, redeem, reverse, withdraw and read
// the same vouchers at once, with kills between, is one that a single clerk
// could have made, who does one thing after another.
func TestVouchersLinearizable(t *testing.T) {
	t.Parallel()
	rng := seeded(t)
	const clients, vouchers, each, kills = 6, 10, 36, 4
	dir := t.TempDir()
	p := newPlace()
	h := spawn(t, dir)
	p.set(h.host())
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	r := &recorder{began: time.Now()}

	// All want the same vouchers issued at once; all get the same ones.
	codes := make([][]string, clients)
	desks := make([]*desk, clients)
	var wg sync.WaitGroup
	for c := range clients {
		desks[c] = &desk{t: t, id: c, place: p, record: r}
		wg.Go(func() {
			called := time.Since(r.began)
			a, ok := desks[c].call(ctx, "POST", "/api/v1/vouchers", map[string]any{"name": "tea", "owner": "alice", "count": vouchers}, "Idempotency-Key", "order-1")
			var out struct{ Vouchers []voucher }
			if !ok || json.Unmarshal(a.body, &out) != nil || len(out.Vouchers) != vouchers {
				t.Errorf("issue: %d %s", a.status, a.body)
				return
			}
			for _, v := range out.Vouchers {
				codes[c] = append(codes[c], v.Code)
				r.add(c, asked{code: v.Code, do: "issue"}, called, heard{status: v.Status, by: v.RedeemedBy})
			}
		})
	}
	p.set("")
	h.kill()
	h = spawn(t, dir)
	p.set(h.host())
	wg.Wait()
	for c := range clients {
		if !slices.Equal(codes[c], codes[0]) || len(codes[c]) != vouchers {
			t.Fatalf("one order issued %v and %v", codes[0], codes[c])
		}
	}
	for c, d := range desks {
		own := rand.New(rand.NewPCG(rng.Uint64(), uint64(c)))
		wg.Go(func() {
			for i := range each {
				in := asked{code: codes[0][own.IntN(vouchers)], by: fmt.Sprint("staff-", c)}
				switch n := own.IntN(100); {
				case n < 45:
					in.do = "redeem"
				case n < 75:
					in.do = "reverse"
				case n < 77:
					in.do = "void"
				default:
					in.do, in.by = "read", ""
				}
				if in.do != "read" {
					if in.key = fmt.Sprint(i); own.IntN(4) == 0 {
						in.key = fmt.Sprint(own.IntN(i + 1)) // a request of before, perhaps
					}
				}
				d.do(ctx, in)
			}
		})
	}
	recorded := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.ops)
	}
	first := recorded()
	for k := range kills {
		at := first + (clients*each)*(k+1)/(kills+1) + rng.IntN(8)
		eventually(t, "the moment to die", func() bool { return recorded() >= at })
		p.set("")
		h.kill()
		h = spawn(t, dir)
		p.set(h.host())
	}
	wg.Wait()
	lost := 0
	for _, d := range desks {
		lost += d.lost
	}
	for _, code := range codes[0] { // so that something is, in the end
		desks[0].do(ctx, asked{code: code, do: "redeem", by: "staff-last", key: "last"})
	}
	for _, code := range codes[0] {
		desks[0].do(ctx, asked{code: code, do: "read"})
	}
	if recorded() != first+clients*each+2*vouchers {
		t.Fatalf("%d operations were recorded", recorded())
	}
	t.Logf("%d operations, %d tries lost to %d kills", recorded(), lost, kills+1)

	judge := func(what string, m porcupine.Model, ops []porcupine.Operation, want porcupine.CheckResult) {
		t.Helper()
		if got := porcupine.CheckOperationsTimeout(m, ops, patience); got != want {
			t.Errorf("%s: %s; want %s", what, got, want)
			if want == porcupine.Ok {
				for _, o := range ops {
					t.Logf("%d %d..%d %s", o.ClientId, o.Call, o.Return, m.DescribeOperation(o.Input, o.Output))
				}
			}
		}
	}
	judge("the history", oneVoucher(""), r.ops, porcupine.Ok)

	// The judge sees what is wrong: rules that are not ours, and histories in
	// which something was done twice, or lost.
	judge("by the rule that a voucher is redeemed twice", oneVoucher("redeems twice"), r.ops, porcupine.Illegal)
	judge("by the rule that a reversal gives nothing back", oneVoucher("a reversal gives nothing back"), r.ops, porcupine.Illegal)
	forged := func(what string, which func(i int, in asked, out heard) bool, as func(in asked, out heard) heard) {
		t.Helper()
		ops := slices.Clone(r.ops)
		for i, o := range ops {
			if in, out := o.Input.(asked), o.Output.(heard); which(i, in, out) {
				ops[i].Output = as(in, out)
				judge(what, oneVoucher(""), ops, porcupine.Illegal)
				return
			}
		}
		t.Errorf("%s: the history has no such operation", what)
	}
	times := map[asked]int{}
	for _, o := range r.ops {
		times[o.Input.(asked)]++
	}
	last := func(i int, _ asked, out heard) bool { return i >= len(r.ops)-vouchers && out.status == "redeemed" }
	forged("a refused redemption that succeeds", func(_ int, in asked, out heard) bool {
		return in.do == "redeem" && out.code == "voucher_redeemed" && times[in] == 1
	}, func(in asked, _ heard) heard { return heard{status: "redeemed", by: in.by} })
	forged("an acknowledged redemption that is lost", last, func(asked, heard) heard { return heard{status: "issued"} })
	forged("a redemption by nobody", last, func(asked, heard) heard { return heard{status: "redeemed", by: "nobody"} })
	h.stop()
}
