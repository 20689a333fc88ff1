package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
)

const problemType = "application/problem+json"

// Problem is what every failed call answers, by RFC 9457. A program decides
// by Code, a person reads Detail.
type Problem struct {
	Title     string       `json:"title" doc:"What sort of problem this is, in a few words" example:"Not found"`
	Status    int          `json:"status" doc:"The HTTP status again" example:"404"`
	Code      chat.Code    `json:"code" doc:"Stable name of the problem; decide by this one" example:"not_found"`
	Detail    string       `json:"detail" doc:"A sentence that says what was wrong and what to do, in the language of Accept-Language (en or zh)"`
	RetryMS   int64        `json:"retry_ms,omitempty" doc:"When to try again, in milliseconds from now, if that is known"`
	RequestID string       `json:"request_id,omitempty" doc:"Under this id the server's log has the cause"`
	Errors    []FieldError `json:"errors,omitempty" doc:"What was wrong with which part of the request"`

	RedeemedBy string        `json:"redeemed_by,omitempty" doc:"Of a voucher that is redeemed: by whom"`
	Station    string        `json:"station,omitempty" doc:"Of a voucher that is redeemed: where"`
	RedeemedAt int64         `json:"redeemed_at,omitempty" doc:"Of a voucher that is redeemed: when, milliseconds since 1970 UTC"`
	Voucher    *chat.Voucher `json:"voucher,omitempty" doc:"The voucher that it is about, as it is"`

	PassOff    *int64 `json:"pass_off_ms,omitempty" doc:"Of a pass_stale, if the pass is one of this voucher's at another time: how far that is from the time at which it was shown, in milliseconds; below 0 it is from the past"`
	CheckClock bool   `json:"check_clock,omitempty" doc:"A clock must be wrong: have that of the server checked first"`

	cause error // for the log and never shown
}

// FieldError says what was wrong with one part of a request.
type FieldError struct {
	Location string `json:"location,omitempty" doc:"Which part" example:"body.to[3]"`
	Message  string `json:"message" doc:"What was wrong with it"`
}

var _ huma.StatusError = (*Problem)(nil)
var _ huma.ContentTypeFilter = (*Problem)(nil)
var _ huma.HeadersError = (*Problem)(nil)

func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus is for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is for huma.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders is for huma.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.RetryMS > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(float64(p.RetryMS)/1000)), 10))
	}
	return h
}

// huma makes its own errors through these package variables; there is no other
// way to give them our shape. This package is huma's only user.
func init() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return humaProblem(&call{}, status, msg, errs)
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
		c := callOf(ctx.Context())
		p := humaProblem(c, status, msg, errs)
		c.log(ctx.Context(), p)
		return p
	}
}

// humaProblem turns what huma found wrong with a request into a Problem.
func humaProblem(c *call, status int, msg string, errs []error) *Problem {
	var own *chat.Error
	for _, err := range errs {
		if errors.As(err, &own) {
			return c.problem(own)
		}
	}
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return c.problem(chat.Errorf(chat.CodeTooLarge, "the request is larger than this call allows"))
	case status == http.StatusRequestTimeout:
		p := c.problem(chat.Errorf(chat.CodeBadRequest, "the request's body did not arrive in time"))
		p.Status = status
		return p
	case status >= 500:
		return c.problem(&chat.Error{Code: chat.CodeInternal, Err: errors.Join(append([]error{errors.New(msg)}, errs...)...)})
	}
	var fields []FieldError
	for _, err := range errs {
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			// The value that huma would add may be the whole request: left out.
			fields = append(fields, FieldError{Location: d.ErrorDetail().Location, Message: d.ErrorDetail().Message})
		} else if err != nil {
			fields = append(fields, FieldError{Message: err.Error()})
		}
	}
	detail := msg
	if len(fields) > 0 {
		detail = "the request is not valid: " + strings.TrimPrefix(fields[0].Location+": ", ": ") + fields[0].Message
	}
	p := c.problem(chat.Errorf(chat.CodeBadRequest, "%s", detail))
	p.Errors = fields
	if status == http.StatusUnsupportedMediaType || status == http.StatusNotAcceptable {
		p.Status = status
	}
	return p
}

// problem turns any error into what the caller of c may see of it.
func (c *call) problem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	e := chat.AsError(err)
	if errors.Is(err, context.DeadlineExceeded) && e.Code == chat.CodeInternal {
		e = &chat.Error{Code: chat.CodeBusy, Message: "the server took too long; try again", Err: err}
	}
	code := e.Code
	if code == chat.CodeBadFrame {
		code = chat.CodeBadRequest // there are no frames over HTTP
	}
	w := wordsOf(code)
	p = &Problem{
		Title: w.title, Status: code.Verdict().Status, Code: code,
		Detail: cmp.Or(e.Message, w.detail), RetryMS: e.Retry.Milliseconds(), cause: e.Err,
	}
	if code == chat.CodeInternal {
		p.Detail = w.detail // a message of the inside stays inside
	}
	if v := e.Voucher; v != nil {
		p.RedeemedBy, p.Station, p.RedeemedAt, p.Voucher = v.RedeemedBy, v.Station, v.RedeemedAt, v
	}
	if m := e.Pass; m != nil && m.Known {
		off := m.Off.Milliseconds()
		p.PassOff, p.CheckClock = &off, m.Clock
	}
	if c.chinese && w.titleZH != "" {
		p.Title, p.Detail = w.titleZH, w.detailZH
		if w.voucherZH != nil && e.Voucher != nil {
			p.Detail = w.voucherZH(e.Voucher)
		}
		if e.Pass != nil {
			p.Detail = passZH(e.Pass)
		}
		if w.precise && e.Message != "" {
			p.Detail += "（" + e.Message + "）"
		}
	}
	if p.Status >= 500 && !c.logged {
		p.RequestID = c.id
	}
	return p
}

// log writes a problem of the server's own making to the log: once, here at
// the edge. What callers do wrong is not logged, nor that they went away.
func (c *call) log(ctx context.Context, p *Problem) {
	if c.api == nil || c.logged || p.Status < 500 || p.Code == chat.CodeGoingAway {
		return
	}
	switch p.Code {
	case chat.CodeBusy, chat.CodeFilesFull, chat.CodeUploadCut, chat.CodeStorageFull:
		if p.cause == nil { // nothing broke; fileDoor tells of full disks, and not each time
			return
		}
	}
	if errors.Is(p.cause, context.Canceled) && ctx.Err() != nil {
		return
	}
	c.api.opts.Logger.LogAttrs(ctx, slog.LevelError, "request failed",
		slog.String("request", c.id), slog.String("operation", c.operation),
		slog.String("code", string(p.Code)), slog.Any("err", p.cause))
}

// fail turns an operation's error into its problem, logging it if it is ours.
func fail(ctx context.Context, err error) *Problem {
	c := callOf(ctx)
	p := c.problem(err)
	c.log(ctx, p)
	return p
}

// writeProblem answers with err from outside of a huma operation.
func writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := fail(r.Context(), err)
	b, merr := json.Marshal(p)
	if merr != nil {
		b = []byte(`{"title":"Internal error","status":500,"code":"internal","detail":"try again"}`)
	}
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(b, '\n'))
}

// retryIn is an Error that says when to come back.
func retryIn(d time.Duration, code chat.Code, format string, args ...any) *chat.Error {
	return &chat.Error{Code: code, Message: fmt.Sprintf(format, args...), Retry: d}
}
