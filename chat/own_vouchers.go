package chat

import (
	"context"
	"encoding/json"
	"strconv"
	"time"
)

// OwnVoucher is a voucher as its owner's devices are told of it.
type OwnVoucher struct {
	Voucher
	// Pass is the secret of its rotating pass (RFC 6238) in base32, while it
	// is issued. Nobody else is told, and no other way leads to it.
	Pass string `json:"pass,omitempty"`
}

const cursorBase = 36

// VoucherCursor names the place in a list after this voucher.
func VoucherCursor(v Voucher) string { return strconv.FormatInt(v.ID, cursorBase) }

// ParseVoucherCursor returns the ID before which a page goes on; 0, which is
// the beginning, for "".
func ParseVoucherCursor(s string) (before int64, err error) {
	if s == "" {
		return 0, nil
	}
	before, err = strconv.ParseInt(s, cursorBase, 64)
	if err != nil || before <= 0 {
		return 0, Errorf(CodeBadRequest, "this is not a cursor of this list; begin without one")
	}
	return before, nil
}

// doVouchers lists the user's own vouchers. A name alone proves nothing: who
// took another's could read the secrets by which the other's passes are made.
func (c *Client) doVouchers(cmd *Command) error {
	if !c.proved || c.proof > 0 && time.Now().Unix() >= c.proof {
		return Errorf(CodeUnauthorized, "show a client's token in hello to see your vouchers; in open mode a name alone proves nothing")
	}
	status := VoucherStatus(cmd.Status)
	switch status {
	case "", VoucherIssued, VoucherRedeemed, VoucherVoid, VoucherExpired:
	default:
		return Errorf(CodeBadRequest, "status is %.32q; it can be issued, redeemed, void or expired", cmd.Status)
	}
	before, err := ParseVoucherCursor(cmd.Cursor)
	if err != nil {
		return err
	}
	limit := cmd.Limit
	if limit <= 0 {
		limit = 50
	}
	limit = min(limit, 200)
	var list []Voucher
	_, err = c.hub.readLog(func(ctx context.Context) (_ []Event, err error) {
		list, err = c.hub.store.Vouchers(ctx, VoucherQuery{Owner: c.user, Status: status, Before: before, Limit: limit + 1})
		return nil, err
	})
	if err != nil {
		return c.hub.logged(err)
	}
	r := &Reply{Op: ReplyVouchers, ID: cmd.ID, Vouchers: make([]OwnVoucher, 0, len(list)), At: c.hub.passes.clock.now().UnixMilli()}
	size := 0
	for i, v := range list {
		body, _ := json.Marshal(v) // strings and numbers
		if size += len(body); i > 0 && (i == limit || size > historyBytes) {
			r.Cursor = VoucherCursor(list[i-1])
			break
		}
		r.Vouchers = append(r.Vouchers, OwnVoucher{v, c.hub.passes.Secret(v)})
	}
	c.reply(r)
	return nil
}
