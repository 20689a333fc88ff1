package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"
)

// Vouchers is the part of chat.Store that vouchers are read from.
type Vouchers interface {
	Voucher(ctx context.Context, code string) (chat.Voucher, []chat.VoucherEntry, error)
	Vouchers(ctx context.Context, q chat.VoucherQuery) ([]chat.Voucher, error)
	ImportState(ctx context.Context, batch string) (chat.ImportState, error)
}

// Ref is the caller's own id of a voucher. It is kept as text; a number is
// accepted as well, as data bases have it.
type Ref string

// Schema is for huma.
func (Ref) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeInteger}}}
}

// UnmarshalJSON reads a text or a whole number.
func (r *Ref) UnmarshalJSON(b []byte) error {
	var s string
	if len(b) > 0 && b[0] != '"' && !bytes.Equal(b, []byte("null")) {
		s = string(b)
	} else if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*r = Ref(s)
	return nil
}

// IssueRequest asks for new vouchers.
type IssueRequest struct {
	Name      string `json:"name" doc:"What it is for, up to 100 characters of text" example:"Two teas"`
	Owner     string `json:"owner" doc:"The user whose it is, and in whose inbox its events are told" example:"alice"`
	Count     int    `json:"count,omitempty" minimum:"1" maximum:"1000" default:"1" doc:"How many; they differ in their codes only"`
	Ref       Ref    `json:"ref,omitempty" doc:"Your own id of it, up to 100 characters or a whole number"`
	ExpiresAt int64  `json:"expires_at,omitempty" doc:"From then on it is worth nothing, milliseconds since 1970 UTC; never without it"`
	Note      string `json:"note,omitempty" nullable:"true" doc:"Up to 1,000 characters of text"`
}

// IssuedVouchers are those that one call issued.
type IssuedVouchers struct {
	Vouchers []chat.Voucher `json:"vouchers" nullable:"false"`
}

// RedeemRequest says who redeems a voucher, and where.
type RedeemRequest struct {
	By      string `json:"by,omitempty" nullable:"true" doc:"Who, up to 64 characters. Needed with an API key; staff are known by their token, and what stands here does not count" example:"Ann"`
	Station string `json:"station,omitempty" nullable:"true" doc:"Where, up to 64 characters. Of staff it is their account's" example:"Gate 1"`
	Key     string `json:"key,omitempty" nullable:"true" doc:"Names this request, up to 128 bytes: the same by and key get the same answer again. Make one for each scan. Derived from Idempotency-Key if that is given and this is not"`
	Pass    string `json:"pass,omitempty" nullable:"true" doc:"The rotating pass that was shown with the code: the six digits behind the dot in the QR code. The code in the path may carry it as well, as CODE.NNNNNN" example:"287082"`
	// Scanned is for scans that could not be sent at once.
	Scanned int64 `json:"scanned_at,omitempty" nullable:"true" doc:"When it was scanned, if it is sent later, up to 12 hours: the pass is held against this time, milliseconds since 1970 UTC. It stands in the log"`
}

// UndoRequest says who reverses a redemption or withdraws a voucher, and why.
type UndoRequest struct {
	By     string `json:"by,omitempty" nullable:"true" doc:"Who, up to 64 characters. Needed with an API key"`
	Reason string `json:"reason,omitempty" nullable:"true" doc:"Why, up to 300 characters. It stays in the log"`
	Key    string `json:"key,omitempty" nullable:"true" doc:"Names this request, as with redeem"`
}

// ChangedVoucher is the outcome of a change.
type ChangedVoucher struct {
	Voucher chat.Voucher `json:"voucher" doc:"As the change left it"`
	First   bool         `json:"first" doc:"Whether it was done now; false: the same request had done it before"`
	Notice  string       `json:"notice,omitempty" doc:"What staff should see to, in the language of Accept-Language: the server's clock was set lately"`
}

// VoucherWithLog is a voucher with all that was done to it.
type VoucherWithLog struct {
	Voucher chat.Voucher        `json:"voucher"`
	Log     []chat.VoucherEntry `json:"log" nullable:"false" doc:"Oldest first"`
	Notice  string              `json:"notice,omitempty" doc:"What staff should see to, as with redeem"`
}

// VoucherPage is a part of a list.
type VoucherPage struct {
	Vouchers []chat.Voucher `json:"vouchers" nullable:"false" doc:"Newest first"`
	Cursor   string         `json:"cursor,omitempty" doc:"Of the next page; missing on the last one"`
}

type issueInput struct {
	IdempotencyHeader
	Body IssueRequest
}

type redeemInput struct {
	IdempotencyHeader
	Code string `path:"code" doc:"The voucher's code, as it was scanned or typed"`
	Body RedeemRequest
}

type undoInput struct {
	IdempotencyHeader
	Code string `path:"code" doc:"The voucher's code, as it was scanned or typed"`
	Body UndoRequest
}

type voucherInput struct {
	Code string `path:"code" doc:"The voucher's code, as it was scanned or typed"`
}

type vouchersInput struct {
	Owner  string `query:"owner" doc:"Only this user's. With a client's token it is that user in any case"`
	Status string `query:"status" enum:"issued,redeemed,void,expired" doc:"Only those in this state"`
	Batch  string `query:"batch" doc:"Only those that this call issued"`
	Cursor string `query:"cursor" doc:"The next page: what the one before gave as cursor"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"How many at most"`
}

type issueOutput struct{ Body IssuedVouchers }
type changeOutput struct{ Body ChangedVoucher }
type voucherOutput struct{ Body VoucherWithLog }
type vouchersOutput struct{ Body VoucherPage }

func (a *API) registerVouchers() {
	const path, tag = "/api/v1/vouchers", "Vouchers"
	register(a, roleKey, huma.Operation{
		OperationID: "issueVouchers", Method: http.MethodPost, Path: path, Tags: []string{tag},
		Summary: "Issue vouchers",
		Description: "Makes up to 1,000 vouchers, all or none, and tells their owner of each (`voucher.issued`). " +
			"Send an Idempotency-Key: the same request again, also after a crash, gets the same vouchers.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
	}, a.issueVouchers)
	register(a, roleKey, huma.Operation{
		OperationID: "listVouchers", Method: http.MethodGet, Path: path, Tags: []string{tag},
		Summary:     "List vouchers",
		Description: "Newest first. With a client's token only that user's own.",
		Metadata:    map[string]any{metaAlso: []role{roleClient}},
	}, a.listVouchers)
	register(a, roleKey, huma.Operation{
		OperationID: "readVoucher", Method: http.MethodGet, Path: path + "/{code}", Tags: []string{tag},
		Summary:  "Read a voucher and its log",
		Metadata: map[string]any{metaAlso: []role{roleStaff}},
	}, a.readVoucher)
	register(a, roleKey, huma.Operation{
		OperationID: "redeemVoucher", Method: http.MethodPost, Path: path + "/{code}/redeem", Tags: []string{tag},
		Summary: "Redeem a voucher",
		Description: "Exactly one request redeems a voucher, however many try. Its owner is told at once (`voucher.redeemed`). " +
			"Who does not know whether it arrived sends it again with the same key. " +
			"A pass that is old is a 409 `pass_stale`; where `--voucher-pass` requires one, a plain code is a 409 `pass_required`, except for the operator.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
		Metadata: map[string]any{metaAlso: []role{roleStaff}},
	}, func(ctx context.Context, in *redeemInput) (*changeOutput, error) {
		return a.changeVoucher(ctx, in.Code, chat.VoucherAct{Do: chat.ActionRedeemed, By: in.Body.By, Station: in.Body.Station, Key: in.Body.Key,
			Pass: in.Body.Pass, ScannedAt: in.Body.Scanned})
	})
	register(a, roleKey, huma.Operation{
		OperationID: "reverseVoucher", Method: http.MethodPost, Path: path + "/{code}/reverse", Tags: []string{tag},
		Summary: "Undo a redemption",
		Description: "The voucher is as if it had not been redeemed, and its owner is told (`voucher.reversed`). Only for some time after the redemption " +
			"(`--reverse-window`), and at most 10 times for one voucher. Staff may reverse what they redeemed themselves.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
		Metadata: map[string]any{metaAlso: []role{roleStaff}},
	}, func(ctx context.Context, in *undoInput) (*changeOutput, error) {
		return a.changeVoucher(ctx, in.Code, chat.VoucherAct{Do: chat.ActionReversed, By: in.Body.By, Reason: in.Body.Reason, Key: in.Body.Key})
	})
	register(a, roleKey, huma.Operation{
		OperationID: "voidVoucher", Method: http.MethodPost, Path: path + "/{code}/void", Tags: []string{tag},
		Summary:      "Withdraw a voucher",
		Description:  "It is worth nothing from now on, and its owner is told (`voucher.void`). What is redeemed must be reversed first.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
	}, func(ctx context.Context, in *undoInput) (*changeOutput, error) {
		return a.changeVoucher(ctx, in.Code, chat.VoucherAct{Do: chat.ActionVoid, By: in.Body.By, Reason: in.Body.Reason, Key: in.Body.Key})
	})
}

func (a *API) issueVouchers(ctx context.Context, in *issueInput) (*issueOutput, error) {
	c := callOf(ctx)
	o := chat.VoucherOrder{
		Name: in.Body.Name, Owner: in.Body.Owner, Ref: string(in.Body.Ref), Note: in.Body.Note, Count: in.Body.Count,
		ExpiresAt: in.Body.ExpiresAt, By: c.caller.id, Batch: newBatch(),
	}
	if c.once != "" {
		// Named by the idempotency key, so that a crash between the issue and
		// the keeping of its answer cannot double it.
		o.Batch = derived(c)
	}
	vouchers, err := a.opts.Hub.Issue(ctx, o)
	if err != nil {
		return nil, logged(c, err)
	}
	return &issueOutput{IssuedVouchers{vouchers}}, nil
}

func (a *API) changeVoucher(ctx context.Context, code string, act chat.VoucherAct) (*changeOutput, error) {
	c := callOf(ctx)
	if c.caller.role == roleStaff {
		act.By, act.Station, act.Own = c.caller.staff.Name, c.caller.staff.Station, true
	}
	if act.Key == "" && c.once != "" {
		act.Key = derived(c)
	}
	act.Exempt = c.caller.role == roleOperator
	change, err := a.guarded(ctx, c, code, act)
	if err != nil {
		return nil, a.notFound(c, logged(c, err))
	}
	return &changeOutput{ChangedVoucher{change.Voucher, change.First, a.clockNotice(c)}}, nil
}

func (a *API) readVoucher(ctx context.Context, in *voucherInput) (*voucherOutput, error) {
	code, err := chat.ParseVoucherCode(in.Code)
	if err != nil {
		return nil, a.notFound(callOf(ctx), err)
	}
	v, log, err := a.opts.Store.Voucher(ctx, code)
	if err != nil {
		return nil, a.notFound(callOf(ctx), err)
	}
	return &voucherOutput{VoucherWithLog{v, log, a.clockNotice(callOf(ctx))}}, nil
}

func (a *API) listVouchers(ctx context.Context, in *vouchersInput) (*vouchersOutput, error) {
	q := chat.VoucherQuery{Owner: in.Owner, Status: chat.VoucherStatus(in.Status), Batch: in.Batch, Limit: in.Limit + 1}
	if c := callOf(ctx); c.caller.role == roleClient {
		q.Owner = c.caller.user
	}
	if q.Owner != "" {
		if err := a.opts.Hub.Limits().CheckUser(q.Owner); err != nil {
			return nil, err
		}
	}
	var err error
	if q.Before, err = chat.ParseVoucherCursor(in.Cursor); err != nil {
		return nil, err
	}
	list, err := a.opts.Store.Vouchers(ctx, q)
	if err != nil {
		return nil, err
	}
	out := &vouchersOutput{VoucherPage{Vouchers: list}}
	if len(list) > in.Limit {
		out.Body.Vouchers = list[:in.Limit]
		out.Body.Cursor = chat.VoucherCursor(list[in.Limit-1])
	}
	if list == nil {
		out.Body.Vouchers = []chat.Voucher{}
	}
	return out, nil
}

// derived is a key that a request's Idempotency-Key stands for.
func derived(c *call) string { return "idem." + c.once[:26] } // 130 bits

// newBatch names the vouchers of one call.
func newBatch() string { return randomText(10) }

// logged notes that the hub has logged what went wrong with its store.
func logged(c *call, err error) error {
	c.logged = chat.CodeOf(err).Verdict().Status >= 500
	return err
}

// Codes cannot be guessed, but nobody should be able to try for long: unknown
// codes of an address, and of a caller wherever they ask from. A right code
// always passes, so that nobody can keep others from redeeming.
const (
	codeBurst = 20
	codeEvery = 3 * time.Second
)

type codeGuard struct {
	addrs   *chat.Tries[string]
	callers *chat.Tries[string]
	log     *rate.Limiter // lines for refusals: not as many as there are requests
}

func (g *codeGuard) init(now func() time.Time) {
	g.addrs, g.callers = chat.NewTries[string](now, codeBurst, codeEvery), chat.NewTries[string](now, codeBurst, codeEvery)
	g.log = rate.NewLimiter(rate.Every(time.Second), 10)
}

// notFound counts an unknown code, and answers 429 instead of 404 when there
// were too many. The log does not tell the code: it may be a good one with a
// slip of the finger.
func (a *API) notFound(c *call, err error) error {
	if chat.CodeOf(err) != chat.CodeVoucherUnknown {
		return err
	}
	wait := max(a.codes.addrs.Take(chat.Network(c.addr).String()), a.codes.callers.Take(c.caller.id))
	if wait == 0 {
		a.opts.Logger.Info("a voucher was asked for by a code that is not known", "request", c.id, "caller", c.caller.id, "addr", c.addr)
		return err
	}
	if a.codes.log.AllowN(a.opts.Now(), 1) {
		a.opts.Logger.Warn("too many unknown voucher codes", "request", c.id, "caller", c.caller.id, "addr", c.addr)
	}
	return retryIn(wait, chat.CodeRateLimited, "too many unknown voucher codes; wait a moment, and look at the code again")
}
