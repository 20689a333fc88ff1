package chat

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Code is a stable name for what went wrong. A program decides by it, a person
// reads the Message.
type Code string

// The codes of the core. What each leads to stands in the table below.
const (
	CodeInternal     Code = "internal"
	CodeBadFrame     Code = "bad_frame"
	CodeBadRequest   Code = "bad_request"
	CodeBadTopic     Code = "bad_topic"
	CodeBadUser      Code = "bad_user"
	CodeTooLarge     Code = "too_large"
	CodeHelloFirst   Code = "hello_first"
	CodeUnauthorized Code = "unauthorized"
	CodeBadToken     Code = "bad_token"
	CodeTokenExpired Code = "token_expired"
	CodeForbidden    Code = "forbidden"
	CodeKicked       Code = "kicked"
	CodeNotFound     Code = "not_found"
	CodeNotJoined    Code = "not_joined"
	CodeTooMany      Code = "too_many_topics"
	CodeRateLimited  Code = "rate_limited"
	CodeKeyReused    Code = "key_reused"
	CodeSlow         Code = "slow"
	CodePingTimeout  Code = "ping_timeout"
	CodeGoingAway    Code = "going_away"
	CodeBusy         Code = "busy"
	CodeStorageFull  Code = "storage_full"
	CodeStorage      Code = "storage_failed"
	CodeRecallLate   Code = "recall_too_late"
	CodeTooManyKept  Code = "too_many_kept"
	CodeStaffExists  Code = "staff_exists"
	CodeSignIn       Code = "sign_in_failed"
	CodeNeeded       Code = "code_needed"
	CodeBadCode      Code = "bad_code"
	CodeNameTaken    Code = "name_taken"

	CodeFileUnknown   Code = "file_unknown"
	CodeFileGone      Code = "file_gone"
	CodeFileInUse     Code = "file_in_use"
	CodeFileTooLarge  Code = "file_too_large"
	CodeFilesFull     Code = "files_full"
	CodeUploadUnknown Code = "upload_unknown"
	CodeUploadOffset  Code = "upload_offset"
	CodeUploadBusy    Code = "upload_busy"
	CodeUploadCut     Code = "upload_cut"

	CodeVoucherUnknown     Code = "voucher_unknown"
	CodeVoucherRedeemed    Code = "voucher_redeemed"
	CodeVoucherVoid        Code = "voucher_void"
	CodeVoucherExpired     Code = "voucher_expired"
	CodeVoucherNotRedeemed Code = "voucher_not_redeemed"
	CodeVoucherNotYours    Code = "voucher_not_yours"
	CodeReverseLate        Code = "voucher_reverse_late"
	CodeReverseLimit       Code = "voucher_reverse_limit"
	CodePassStale          Code = "pass_stale"
	CodePassRequired       Code = "pass_required"
)

// Verdict is what a code leads to outside.
type Verdict struct {
	Status int  // HTTP status
	Close  int  // WebSocket close code when the connection ends by it; 4000–4099 come back, 4100–4199 fix something first
	Retry  bool // the same request may succeed later without a change
}

// verdicts is the one table: code -> HTTP status, close code, may-retry.
var verdicts = map[Code]Verdict{
	CodeInternal:     {http.StatusInternalServerError, 4010, true},
	CodeBadFrame:     {http.StatusBadRequest, 4102, false},
	CodeBadRequest:   {http.StatusBadRequest, 4102, false},
	CodeBadTopic:     {http.StatusBadRequest, 4102, false},
	CodeBadUser:      {http.StatusBadRequest, 4103, false},
	CodeTooLarge:     {http.StatusRequestEntityTooLarge, 4104, false},
	CodeHelloFirst:   {http.StatusBadRequest, 4105, false},
	CodeUnauthorized: {http.StatusUnauthorized, 4100, false},
	CodeBadToken:     {http.StatusUnauthorized, 4100, false},
	CodeTokenExpired: {http.StatusUnauthorized, 4106, false},
	CodeForbidden:    {http.StatusForbidden, 4107, false},
	CodeKicked:       {http.StatusForbidden, 4101, false},
	CodeNotFound:     {http.StatusNotFound, 4102, false},
	CodeNotJoined:    {http.StatusConflict, 4102, false},
	CodeTooMany:      {http.StatusConflict, 4108, false},
	CodeRateLimited:  {http.StatusTooManyRequests, 4005, true},
	CodeKeyReused:    {http.StatusConflict, 4102, false},
	CodeSlow:         {http.StatusServiceUnavailable, 4000, true},
	CodePingTimeout:  {http.StatusServiceUnavailable, 4001, true},
	CodeGoingAway:    {http.StatusServiceUnavailable, 4002, true},
	CodeBusy:         {http.StatusServiceUnavailable, 4003, true},
	CodeStorageFull:  {http.StatusInsufficientStorage, 4004, true},
	CodeStorage:      {http.StatusServiceUnavailable, 4004, true},
	CodeRecallLate:   {http.StatusConflict, 4102, false},
	CodeTooManyKept:  {http.StatusConflict, 4102, false},
	CodeStaffExists:  {http.StatusConflict, 4102, false},
	CodeSignIn:       {http.StatusUnauthorized, 4100, false},
	CodeNeeded:       {http.StatusForbidden, 4109, false},
	CodeBadCode:      {http.StatusForbidden, 4109, false},
	CodeNameTaken:    {http.StatusConflict, 4110, false},

	CodeFileUnknown:   {http.StatusNotFound, 4102, false},
	CodeFileGone:      {http.StatusGone, 4102, false},
	CodeFileInUse:     {http.StatusConflict, 4102, false},
	CodeFileTooLarge:  {http.StatusRequestEntityTooLarge, 4104, false},
	CodeFilesFull:     {http.StatusInsufficientStorage, 4004, true},
	CodeUploadUnknown: {http.StatusNotFound, 4102, false},
	CodeUploadOffset:  {http.StatusConflict, 4102, true},
	CodeUploadBusy:    {http.StatusLocked, 4102, true},
	CodeUploadCut:     {http.StatusServiceUnavailable, 4003, true},

	CodeVoucherUnknown:     {http.StatusNotFound, 4102, false},
	CodeVoucherRedeemed:    {http.StatusConflict, 4102, false},
	CodeVoucherVoid:        {http.StatusConflict, 4102, false},
	CodeVoucherExpired:     {http.StatusGone, 4102, false},
	CodeVoucherNotRedeemed: {http.StatusConflict, 4102, false},
	CodeVoucherNotYours:    {http.StatusForbidden, 4102, false},
	CodeReverseLate:        {http.StatusConflict, 4102, false},
	CodeReverseLimit:       {http.StatusConflict, 4102, false},
	CodePassStale:          {http.StatusConflict, 4102, false},
	CodePassRequired:       {http.StatusConflict, 4102, false},
}

// Verdict returns what the code leads to; an unknown code counts as internal.
func (c Code) Verdict() Verdict {
	if v, ok := verdicts[c]; ok {
		return v
	}
	return verdicts[CodeInternal]
}

// Error is the one error type that may be shown outside. Message is a sentence
// that says what was wrong and what to do. Never match an error by its text.
type Error struct {
	Code    Code
	Message string
	Retry   time.Duration // when to try again, 0 if that is not known
	Voucher *Voucher      // the one that it is about, as it is; nil for none
	Pass    *PassMiss     // what was wrong with a voucher's pass; nil for nothing
	Err     error         // the cause, for the log only; it is never shown outside
}

// Errorf makes an Error with a formatted sentence.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Code) + ": " + e.Message + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// AsError returns err as an Error. What is not one becomes "internal", with
// err as its cause, so that nothing of the inside is shown outside.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeInternal, Message: "something went wrong on the server; try again", Err: err}
}

// CodeOf returns the code of err, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	return AsError(err).Code
}
