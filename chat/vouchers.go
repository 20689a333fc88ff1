package chat

import (
	"context"
	"time"
)

// Issue makes vouchers and tells their owner. An error is an *Error and means
// that none was made.
func (h *Hub) Issue(ctx context.Context, o VoucherOrder) (vouchers []Voucher, err error) {
	if err := o.Check(h.opts.Limits); err != nil {
		return nil, err
	}
	err = h.command(func() error {
		vouchers, err = h.store.Issue(ctx, o)
		return err
	})
	if err == nil && o.ExpiresAt > 0 {
		h.vouchersDue()
	}
	return vouchers, err
}

// ChangeVoucher redeems, reverses or withdraws a voucher and tells its owner.
// The code is as somebody typed it or a QR code holds it. When it returns without an error the
// change is durable; with one, an *Error, it was not made now.
func (h *Hub) ChangeVoucher(ctx context.Context, code string, a VoucherAct) (c VoucherChange, err error) {
	if code, err = h.passes.Read(code, &a); err != nil {
		return c, err
	}
	if err := a.Check(); err != nil {
		return c, err
	}
	a.Window = h.opts.ReverseWindow
	err = h.command(func() error {
		c, err = h.store.Change(ctx, code, a)
		return err
	})
	if err == nil && c.Voucher.Status == VoucherIssued && c.Voucher.ExpiresAt > 0 {
		h.vouchersDue() // it may be due already
	}
	return c, err
}

// command lets do write to the store unless the hub is stopping, which waits
// for it. What went wrong with the store is logged.
func (h *Hub) command(do func() error) error {
	if err := h.Ready(); err != nil {
		return err
	}
	if err := h.commands.enter(); err != nil {
		return err
	}
	defer h.commands.leave()
	err := do()
	if err != nil && CodeOf(err).Verdict().Status >= 500 {
		h.stats.failures.Add(1)
		return h.logged(err)
	}
	return err
}

const (
	expirePage  = 200         // vouchers that expire in one transaction
	expireLook  = time.Minute // the clock may have been set meanwhile: look so often at least
	expirePause = 5 * time.Millisecond
)

// vouchersDue wakes expireVouchers: there is a voucher whose time it may not
// know.
func (h *Hub) vouchersDue() {
	select {
	case h.due <- struct{}{}:
	default:
	}
}

// expireVouchers expires vouchers at their time, and at the start those whose
// time came while nobody was there. It does not decide whether one can still
// be redeemed: that does the transaction that tries.
func (h *Hub) expireVouchers(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := expirePause
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-h.due:
		}
		n, next, err := h.store.Expire(ctx, expirePage)
		wait := expireLook
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				h.log.Error("vouchers that are due could not be expired; trying again", "err", err)
			}
			pause = min(2*pause, expireLook)
			wait = max(pause, AsError(err).Retry)
		case n > 0:
			pause, wait = expirePause, 0
		case next > 0:
			// The store's clock may be another one than this: if what is due
			// here is not due there, ask again, and less and less often.
			if wait = min(time.Until(time.UnixMilli(next)), expireLook); wait > 0 {
				pause = expirePause
			} else {
				pause = min(2*pause, time.Second)
			}
			wait = max(wait, pause)
		}
		failing = err != nil
		timer.Reset(wait)
	}
}
