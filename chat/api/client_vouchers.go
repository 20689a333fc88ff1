package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"teahouse/chat"
)

// IssueVouchers issues vouchers. The same request with the same key again gets
// the same ones; "" is none.
func (c *Client) IssueVouchers(ctx context.Context, r IssueRequest, key string) ([]chat.Voucher, error) {
	var out IssuedVouchers
	var header []string
	if key != "" {
		header = []string{headerKey, key}
	}
	err := c.call(ctx, http.MethodPost, "vouchers", r, &out, header...)
	return out.Vouchers, err
}

// Voucher reads a voucher with its log.
func (c *Client) Voucher(ctx context.Context, code string) (out VoucherWithLog, err error) {
	err = c.call(ctx, http.MethodGet, "vouchers/"+url.PathEscape(code), nil, &out)
	return out, err
}

// Redeem redeems a voucher.
func (c *Client) Redeem(ctx context.Context, code string, r RedeemRequest) (out ChangedVoucher, err error) {
	err = c.call(ctx, http.MethodPost, "vouchers/"+url.PathEscape(code)+"/redeem", r, &out)
	return out, err
}

// Reverse undoes a redemption.
func (c *Client) Reverse(ctx context.Context, code string, r UndoRequest) (out ChangedVoucher, err error) {
	err = c.call(ctx, http.MethodPost, "vouchers/"+url.PathEscape(code)+"/reverse", r, &out)
	return out, err
}

// Void withdraws a voucher.
func (c *Client) Void(ctx context.Context, code string, r UndoRequest) (out ChangedVoucher, err error) {
	err = c.call(ctx, http.MethodPost, "vouchers/"+url.PathEscape(code)+"/void", r, &out)
	return out, err
}

// ListVouchers reads one page of vouchers. Empty fields do not filter; cursor
// is what the page before gave.
func (c *Client) ListVouchers(ctx context.Context, q chat.VoucherQuery, cursor string) (out VoucherPage, err error) {
	v := url.Values{}
	for name, value := range map[string]string{"owner": q.Owner, "status": string(q.Status), "batch": q.Batch, "cursor": cursor} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	err = c.call(ctx, http.MethodGet, "vouchers?"+v.Encode(), nil, &out)
	return out, err
}

// AddStaff makes an account for staff.
func (c *Client) AddStaff(ctx context.Context, s NewStaff) error {
	return c.call(ctx, http.MethodPost, "staff", s, nil)
}

// ListStaff lists the accounts of staff.
func (c *Client) ListStaff(ctx context.Context) ([]StaffInfo, error) {
	var out struct{ Staff []StaffInfo }
	err := c.call(ctx, http.MethodGet, "staff", nil, &out)
	return out.Staff, err
}

// ChangeStaff changes an account.
func (c *Client) ChangeStaff(ctx context.Context, name string, s StaffChange) error {
	return c.call(ctx, http.MethodPatch, "staff/"+url.PathEscape(name), s, nil)
}

// RemoveStaff removes an account.
func (c *Client) RemoveStaff(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "staff/"+url.PathEscape(name), nil, nil)
}
