package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"teahouse/chat"

	"golang.org/x/time/rate"
)

// A pass has six digits, of which three are right at a time. A voucher has
// five wrong ones at once and then one each half minute: a day of guessing
// finds it once in a hundred times. What was shown before, or by a clock that
// is wrong, is no guess and costs nothing.
const (
	passBurst = 5
	passEvery = 30 * time.Second
)

type passGuard struct {
	vouchers       *chat.Tries[string]
	addrs, callers *chat.Tries[string] // as for codes
	log            *rate.Limiter
}

func (g *passGuard) init(now func() time.Time) {
	g.vouchers = chat.NewTries[string](now, passBurst, passEvery)
	g.addrs, g.callers = chat.NewTries[string](now, codeBurst, codeEvery), chat.NewTries[string](now, codeBurst, codeEvery)
	g.log = rate.NewLimiter(rate.Every(time.Second), 10)
}

// guarded changes a voucher, with passes that are guessed being limited. The
// voucher's try is paid for before the pass is looked at, so that many at once
// do not get more than one after another. A repeat of what was done is
// answered in any case, and so is what needs no look at the pass.
func (a *API) guarded(ctx context.Context, c *call, code string, act chat.VoucherAct) (chat.VoucherChange, error) {
	place, err := chat.ParseVoucherCode(code)
	if err != nil || act.Do != chat.ActionRedeemed || act.Pass == "" && !strings.ContainsAny(code, ".．") {
		return a.opts.Hub.ChangeVoucher(ctx, code, act)
	}
	g, addr := &a.passes, chat.Network(c.addr).String()
	wait := max(g.addrs.Wait(addr), g.callers.Wait(c.caller.id))
	paid := false
	if wait == 0 {
		wait = g.vouchers.Take(place)
		paid = wait == 0
	}
	if wait > 0 {
		act.Refuse = retryIn(wait, chat.CodeRateLimited, "too many wrong passes; wait a moment, and scan the QR code on the owner's own page")
	}
	change, err := a.opts.Hub.ChangeVoucher(ctx, code, act)
	var guess bool
	if e := (*chat.Error)(nil); errors.As(err, &e) {
		guess = e.Pass != nil && e.Pass.Guess()
	}
	switch {
	case guess:
		g.addrs.Take(addr)
		g.callers.Take(c.caller.id)
	case paid:
		g.vouchers.GiveBack(place)
	}
	// Neither the pass nor the code: who reads the log may not redeem by it.
	switch {
	case guess && g.log.AllowN(a.opts.Now(), 1):
		a.opts.Logger.Info("a voucher was shown with a wrong pass", "request", c.id, "caller", c.caller.id, "addr", c.addr)
	case wait > 0 && chat.CodeOf(err) == chat.CodeRateLimited && g.log.AllowN(a.opts.Now(), 1):
		a.opts.Logger.Warn("too many wrong voucher passes", "request", c.id, "caller", c.caller.id, "addr", c.addr)
	}
	return change, err
}

// clockNotice tells staff that the server's clock was set lately, for what
// they scan goes by it.
func (a *API) clockNotice(c *call) string {
	leap, ok := a.opts.Hub.ClockLeap()
	switch by := leap.By.Abs().String(); {
	case !ok:
		return ""
	case c.chinese && leap.By > 0:
		return fmt.Sprintf("服务器的时钟在 %s 往前跳了 %s（也可能是电脑休眠过），请检查服务器的时钟。", timeZH(leap.At.UnixMilli()), lengthZH(leap.By))
	case c.chinese:
		return fmt.Sprintf("服务器的时钟在 %s 往回跳了 %s，请检查服务器的时钟。", timeZH(leap.At.UnixMilli()), lengthZH(leap.By))
	case leap.By > 0:
		return fmt.Sprintf("the server's clock leapt %s ahead, to %s, or the computer slept: check the server's clock", by, leap.At.Format(time.DateTime))
	default:
		return fmt.Sprintf("the server's clock went back by %s, to %s: check the server's clock", by, leap.At.Format(time.DateTime))
	}
}

// passZH says to staff what was wrong with a pass.
func passZH(m *chat.PassMiss) string {
	switch {
	case m.Used:
		return "这个动态码已经用过一次（那次核销后来被撤销了）。请等下一个动态码出现（最多半分钟），再扫一次。"
	case m.Clock && m.Off > 0:
		return fmt.Sprintf("这个动态码比服务器的时钟快 %s，服务器现在显示 %s。请检查服务器的时钟，再检查顾客手机的时间。", lengthZH(m.Off), timeZH(m.Now))
	case m.Clock:
		return fmt.Sprintf("这个动态码比服务器的时钟慢 %s，而服务器的时钟刚刚被改过，现在显示 %s。请检查服务器的时钟，并让顾客重新打开券的页面。", lengthZH(m.Off), timeZH(m.Now))
	case m.Known:
		return fmt.Sprintf("这个二维码是 %s前的：可能是截图，或者页面停住了。请顾客打开自己的券页面（二维码每半分钟会变），再扫一次。", lengthZH(m.Off))
	}
	return "动态码不对，或者早已过期。请顾客打开自己的券页面（二维码每半分钟会变），再扫一次。"
}

// lengthZH is a length of time in words, to the second.
func lengthZH(d time.Duration) string {
	d = d.Abs().Round(time.Second)
	var b strings.Builder
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, " 小时"}, {time.Minute, " 分钟"}, {time.Second, " 秒"}} {
		if n := d / unit.of; n > 0 {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d -= n * unit.of
		}
	}
	if b.Len() == 0 {
		return "0 秒"
	}
	return b.String()
}
