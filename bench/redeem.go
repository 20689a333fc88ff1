//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"teahouse/chat"
)

// Redemptions over HTTP, as staff make them, and how soon the owners see them.

const (
	owners      = 1000
	redeemRate  = 200 // a second
	redeemConns = 32  // that the paced calls take in turn: enough that none waits
	redeemers   = 64  // clients with one call in flight each

	// How many redemptions a second there are vouchers for: by HTTP, and in the
	// bare store.
	callsMost, changesMost = 30_000, 40_000

	sideBare = "bare"
)

// caller is a connection that redeems one voucher after another. Of an answer
// only status and length are looked at.
type caller struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

func dialCallers(addr string, n int) (list []*caller, err error) {
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return list, err
		}
		list = append(list, &caller{conn: c, in: bufio.NewReaderSize(c, 4096)})
	}
	return list, nil
}

// request makes the bytes that redeem a voucher.
func (c *caller) request(code string, k int) []byte {
	body := fmt.Sprintf(`{"by":"Ann","station":"Gate 1","key":"scan-%d"}`, firstNumber+k)
	c.out = fmt.Appendf(c.out[:0], "POST /api/v1/vouchers/%s/redeem HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		code, benchKey, len(body), body)
	return c.out
}

// call sends a request and awaits its answer, which must be a 200.
func (c *caller) call(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	status, length := "", -1
	for {
		b, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		b = bytes.TrimRight(b, "\r\n")
		name, value, _ := bytes.Cut(b, []byte(": "))
		switch {
		case status == "":
			status = string(b)
		case len(b) == 0:
			if status != "HTTP/1.1 200 OK" || length < 0 {
				return fmt.Errorf("a redemption was answered %q", status)
			}
			_, err := c.in.Discard(length)
			return err
		case bytes.EqualFold(name, []byte("Content-Length")):
			length, _ = strconv.Atoi(string(value))
		}
	}
}

// issue has the server issue n vouchers, count in a call, the calls' owners in
// turn.
func issue(ctx context.Context, addr string, n, count int) (codes []string, err error) {
	type page struct{ Vouchers []struct{ Code string } }
	calls := (n + count - 1) / count
	lists, errs := make([]page, calls), make([]error, calls)
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 8 {
		wg.Go(func() {
			for i := int(next.Add(1) - 1); i < calls; i = int(next.Add(1) - 1) {
				body := fmt.Sprintf(`{"name":"Two teas","owner":"u%d","count":%d}`, i%owners, count)
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/api/v1/vouchers", bytes.NewReader([]byte(body)))
				if err == nil {
					req.Header.Set("Authorization", "Bearer "+benchKey)
					var res *http.Response
					if res, err = http.DefaultClient.Do(req); err == nil {
						err = json.NewDecoder(res.Body).Decode(&lists[i])
						res.Body.Close()
					}
				}
				errs[i] = err
			}
		})
	}
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
	for _, l := range lists {
		for _, v := range l.Vouchers {
			codes = append(codes, v.Code)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(codes) < n {
		return nil, fmt.Errorf("%d of %d vouchers were issued", len(codes), n)
	}
	return codes, nil
}

// runRedeem: so many redemptions a second, whatever becomes of them, while the
// owners are connected. The clock starts when the call is written and stops
// when its owner's socket has the frame.
func runRedeem(ctx context.Context, t target, span time.Duration) (sample, error) {
	p, err := t.start(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	warm := min(span/2, time.Second)
	n := int((warm+span).Seconds()*redeemRate) + 1
	codes, err := issue(ctx, p.addr, n, 1) // the owner of code i is i modulo owners
	if err != nil {
		return nil, explain(err, p)
	}
	g, err := newGenerator(ctx, p.addr)
	if err != nil {
		return nil, err
	}
	defer g.close()
	if _, err := g.connect(t.specs(owners, 1), width, 2*time.Minute); err != nil { // client i is u<i>
		return nil, explain(err, p)
	}
	g.quiet(200*time.Millisecond, 20*time.Second)
	callers, err := dialCallers(p.addr, redeemConns)
	if err != nil {
		return nil, err
	}
	began := make([]atomic.Int64, owners) // ns since the start of the load: an owner's next redemption is seconds away
	var seen, answered []time.Duration
	origin := time.Now()
	timing := func(at time.Duration) bool { return at >= warm }
	g.heard = func(owner int) {
		now := time.Since(origin)
		if at := time.Duration(began[owner].Swap(0)); at > 0 && timing(at) {
			seen = append(seen, now-at)
		}
	}
	var mu sync.Mutex
	var failed error
	var next atomic.Int64
	var calls sync.WaitGroup
	for _, c := range callers {
		calls.Go(func() {
			defer c.conn.Close()
			for {
				i := int(next.Add(1) - 1)
				if i >= n || ctx.Err() != nil {
					return
				}
				request := c.request(codes[i], i)
				time.Sleep(time.Until(origin.Add(time.Duration(i) * time.Second / redeemRate)))
				at := max(time.Since(origin), 1)
				began[i%owners].Store(int64(at))
				err := c.call(request)
				took := time.Since(origin) - at
				mu.Lock()
				if err != nil {
					failed = errors.Join(failed, err)
				} else if timing(at) {
					answered = append(answered, took)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	g.spin(warm)
	cpu0, own0, look := p.cpu(), ownCPU(), lookAround(p.pids()...)
	g.spin(span)
	cpu, own, others := p.cpu()-cpu0, ownCPU()-own0, look.others()
	all := make(chan struct{})
	go func() { calls.Wait(); close(all) }()
	g.until(20*time.Second, func() bool {
		select {
		case <-all:
			return !slices.ContainsFunc(owing(began), func(ns int64) bool { return ns > 0 })
		default:
			return false
		}
	})
	if failed != nil {
		return nil, explain(failed, p)
	}
	count := float64(max(len(answered), 1))
	s := sample{
		"persecond": count / span.Seconds(),
		"p50":       ms(percentile(seen, 50)), "p99": ms(percentile(seen, 99)),
		"call50": ms(percentile(answered, 50)), "call99": ms(percentile(answered, 99)),
		"cpu": cpu.Seconds() / count * 1e6, "gencpu": own.Seconds() / count * 1e6,
		"others": others, "lost": float64(g.lost),
	}
	if missing := len(answered) - len(seen); missing != 0 {
		s["missing"] = float64(missing)
	}
	return s, nil
}

func owing(began []atomic.Int64) []int64 {
	list := make([]int64, len(began))
	for i := range began {
		list[i] = began[i].Load()
	}
	return list
}

// runRedeemers: clients that each have one redemption in flight, always.
func runRedeemers(ctx context.Context, t target, span time.Duration) (sample, error) {
	p, err := t.start(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	warm := min(span/4, time.Second)
	codes, err := issue(ctx, p.addr, int((warm+span).Seconds()*callsMost), chat.MaxVoucherCount)
	if err != nil {
		return nil, explain(err, p)
	}
	callers, err := dialCallers(p.addr, redeemers)
	if err != nil {
		return nil, err
	}
	s, err := redeemAll(ctx, codes, redeemers, 0, warm, span, p.pids(), func(worker int, code string, k int) error {
		return callers[worker].call(callers[worker].request(code, k))
	})
	for _, c := range callers {
		c.conn.Close()
	}
	if err != nil {
		return nil, explain(err, p)
	}
	return s, nil
}

// redeemAll lets workers redeem the vouchers, each one after another.
// With a rate they make so many calls a second, and the wait for a call's turn
// is not part of it.
func redeemAll(ctx context.Context, codes []string, workers, rate int, warm, span time.Duration, pids []int, redeem func(worker int, code string, k int) error) (sample, error) {
	began := time.Now()
	from, to := began.Add(warm), began.Add(warm+span)
	lat, errs := make([][]time.Duration, workers), make([]error, workers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			own := make([]time.Duration, 0, 1<<10)
			for ctx.Err() == nil {
				k := int(next.Add(1) - 1)
				if rate > 0 {
					time.Sleep(time.Until(began.Add(time.Duration(k) * time.Second / time.Duration(rate))))
				}
				t0 := time.Now()
				if t0.After(to) {
					break
				}
				if k >= len(codes) {
					errs[w] = errors.New("the vouchers did not last")
					break
				}
				if errs[w] = redeem(w, codes[k], k); errs[w] != nil {
					break
				}
				if t0.After(from) {
					own = append(own, time.Since(t0))
				}
			}
			lat[w] = own
		})
	}
	sleep(ctx, warm)
	used := ownCPU // of the bare store, which is this process
	if len(pids) > 0 {
		used = func() time.Duration { return sumCPU(pids) }
	}
	cpu0, look := used(), lookAround(pids...)
	wg.Wait()
	cpu, others := used()-cpu0, look.others()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return commitSample(lat, span, cpu, others), nil
}

// redeemer is the part of the store that is measured here.
type redeemer interface {
	Issue(ctx context.Context, o chat.VoucherOrder) ([]chat.Voucher, error)
	Change(ctx context.Context, code string, a chat.VoucherAct) (chat.VoucherChange, error)
}

// hammerVouchers redeems vouchers in the bare store: with a rate so many a
// second, else as many as the writers can, each with one in flight.
func hammerVouchers(ctx context.Context, store redeemer, writers, rate int, span time.Duration) (sample, error) {
	warm := min(span/4, time.Second)
	need := int((warm + span).Seconds() * changesMost)
	if rate > 0 {
		need = int((warm+span).Seconds()*float64(rate)) + writers
	}
	var codes []string
	for i := 0; len(codes) < need; i++ {
		list, err := store.Issue(ctx, chat.VoucherOrder{Name: "Two teas", Owner: "u" + strconv.Itoa(i%owners), Count: min(chat.MaxVoucherCount, need-len(codes)), By: "bench", Batch: strconv.Itoa(i)})
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			codes = append(codes, v.Code)
		}
	}
	sleep(ctx, time.Second) // what was issued is indexed
	return redeemAll(ctx, codes, writers, rate, warm, span, nil, func(_ int, code string, k int) error {
		_, err := store.Change(ctx, code, chat.VoucherAct{Do: chat.ActionRedeemed, By: "Ann", Station: "Gate 1", Key: "scan-" + strconv.Itoa(firstNumber+k)})
		return err
	})
}
