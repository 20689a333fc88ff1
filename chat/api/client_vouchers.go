package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// RowErrors are the wrong rows of an import, by their lines. It is the Err of
// the *chat.Error that refuses it.
type RowErrors []FieldError

func (r RowErrors) Error() string { return fmt.Sprintf("%d wrong rows", len(r)) }

func rowErrors(list []FieldError) error {
	if len(list) == 0 {
		return nil
	}
	return RowErrors(list)
}

// ImportVouchers sends a CSV file. The same file
// with the same key again is the same import; "" is none.
func (c *Client) ImportVouchers(ctx context.Context, file io.Reader, key string) (out chat.ImportState, err error) {
	header := []string{"Content-Type", "text/csv"}
	if key != "" {
		header = append(header, headerKey, key)
	}
	res, err := c.send(ctx, http.MethodPost, "vouchers/import", file, header...)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, c.stranger(err)
	}
	return out, nil
}

// Import says how far an import is.
func (c *Client) Import(ctx context.Context, batch string) (out chat.ImportState, err error) {
	err = c.call(ctx, http.MethodGet, "vouchers/imports/"+url.PathEscape(batch), nil, &out)
	return out, err
}

// ExportVouchers writes vouchers to w as a CSV file; empty fields of q do not
// filter. It is an error if not all arrived.
func (c *Client) ExportVouchers(ctx context.Context, q chat.VoucherQuery, w io.Writer) error {
	v := url.Values{}
	for name, value := range map[string]string{"owner": q.Owner, "status": string(q.Status), "batch": q.Batch} {
		if value != "" {
			v.Set(name, value)
		}
	}
	res, err := c.do(ctx, http.MethodGet, "vouchers/export?"+v.Encode(), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return &chat.Error{Code: chat.CodeStorage, Message: "the list did not arrive whole; do not use what was written", Err: err}
	}
	return nil
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
