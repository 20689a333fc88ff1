package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Voucher is a thing that can be redeemed once. It is also the body of the
// events that tell of it.
type Voucher struct {
	ID         int64         `json:"-"` // its place in the order of issue, for paging
	Code       string        `json:"code" doc:"What is shown and scanned: 28 letters and digits, the last one a check character. For people, write it in groups of seven"`
	Ref        string        `json:"ref,omitempty" doc:"The caller's own id of it"`
	Name       string        `json:"name" doc:"What it is for"`
	Owner      string        `json:"owner" doc:"The user whose it is"`
	Status     VoucherStatus `json:"status" enum:"issued,redeemed,void,expired"`
	Batch      string        `json:"batch" doc:"Which call issued it"`
	Note       string        `json:"note"`
	IssuedAt   int64         `json:"issued_at" doc:"Milliseconds since 1970 UTC"`
	ExpiresAt  int64         `json:"expires_at,omitempty" doc:"From then on it is worth nothing, milliseconds since 1970 UTC"`
	RedeemedAt int64         `json:"redeemed_at,omitempty" doc:"Milliseconds since 1970 UTC"`
	RedeemedBy string        `json:"redeemed_by,omitempty" doc:"Who redeemed it"`
	Station    string        `json:"station,omitempty" doc:"Where it was redeemed"`
}

// VoucherStatus is the state that a voucher is in.
type VoucherStatus string

// The states: issued -> redeemed, void or expired; redeemed -> issued by a
// reversal.
const (
	VoucherIssued   VoucherStatus = "issued"
	VoucherRedeemed VoucherStatus = "redeemed"
	VoucherVoid     VoucherStatus = "void"
	VoucherExpired  VoucherStatus = "expired"
)

// VoucherAction is something that was done to a voucher. Its event's kind is
// "voucher." and the action.
type VoucherAction string

// The actions.
const (
	ActionIssued   VoucherAction = "issued"
	ActionRedeemed VoucherAction = "redeemed"
	ActionReversed VoucherAction = "reversed"
	ActionVoid     VoucherAction = "void"
	ActionExpired  VoucherAction = "expired"
)

// VoucherEntry is one line of a voucher's log: who did what, when, where, and
// in which state it was before.
type VoucherEntry struct {
	At      int64         `json:"at" doc:"Milliseconds since 1970 UTC"`
	Action  VoucherAction `json:"action" enum:"issued,redeemed,reversed,void,expired"`
	From    VoucherStatus `json:"from,omitempty" doc:"The state before; missing at the issue"`
	By      string        `json:"by,omitempty" doc:"Who; missing where nobody did it: it expired"`
	Station string        `json:"station,omitempty" doc:"Where"`
	Reason  string        `json:"reason,omitempty"`
	Key     string        `json:"-"` // of the request
	// What was shown: see VoucherAct.
	PassAt    int64 `json:"pass_at,omitempty" doc:"Of a redemption with a rotating pass: when that began to be shown, milliseconds since 1970 UTC"`
	ScannedAt int64 `json:"scanned_at,omitempty" doc:"Of a scan that was sent later: when it was made, by the clock of the device, milliseconds since 1970 UTC"`
}

// VoucherOrder asks for new vouchers, which differ in their codes only.
type VoucherOrder struct {
	Name, Owner, Ref, Note string
	Count                  int
	ExpiresAt              int64  // ms since 1970 UTC; 0: never
	By                     string // who issues them
	// Batch names the order. The same order with the same Batch again gets
	// the vouchers of the first time.
	Batch string
}

// VoucherAct asks for a change of one voucher.
type VoucherAct struct {
	Do      VoucherAction // ActionRedeemed, ActionReversed or ActionVoid
	By      string        // who asks
	Station string        // where
	Reason  string        // of a reversal or a withdrawal
	// Key names the request: the same Do, By and Key on the same voucher is
	// the same request, and gets its first outcome again.
	Key    string
	Own    bool          // a reversal of one's own redemption only
	Window time.Duration // a reversal this long after the redemption at most

	// Of a redemption: the rotating pass that was shown with the code, "" for
	// a plain code, and when it was scanned, ms since 1970 UTC, 0 for now.
	Pass      string
	ScannedAt int64
	Exempt    bool // a plain code does in any case: an operator's word
	// Refuse is why this cannot be done now, whatever the voucher's state; nil
	// for nothing. Neither a repeat nor a refusal by the state heeds it.
	Refuse *Error

	passAt int64 // of a right pass: its time
}

// VoucherChange is the outcome of a VoucherAct.
type VoucherChange struct {
	Voucher Voucher // as the change left it
	Entry   VoucherEntry
	First   bool // it was made now; false: the same request had made it before
}

// The bounds of what a voucher holds. Texts are counted in characters.
const (
	MaxVoucherCount     = 1000
	MaxVoucherReversals = 10
	maxVoucherName      = 100
	maxVoucherNote      = 1000
	maxVoucherRef       = 100
	maxVoucherWho       = 64
	maxVoucherReason    = 300
	maxVoucherKey       = 128 // bytes
	maxVoucherTime      = 253402300799999
)

// Check trims the order's texts and refuses what cannot be issued. Whether it
// would have expired already is for Make to say, who knows the time.
func (o *VoucherOrder) Check(l Limits) error {
	for _, s := range []*string{&o.Name, &o.Ref, &o.Note} {
		*s = strings.TrimSpace(*s)
	}
	if err := l.CheckUser(o.Owner); err != nil {
		return Errorf(CodeBadUser, "owner: %s", AsError(err).Message)
	}
	if err := l.CheckTopic(Inbox(o.Owner)); err != nil {
		return Errorf(CodeBadUser, "owner: the id is too long for an inbox")
	}
	if o.Count < 1 || o.Count > MaxVoucherCount {
		return Errorf(CodeBadRequest, "count is %d; one call issues 1 to %d vouchers", o.Count, MaxVoucherCount)
	}
	switch {
	case o.ExpiresAt < 0 || o.ExpiresAt > maxVoucherTime:
		return Errorf(CodeBadRequest, "expires_at is not a time in milliseconds since 1970 UTC")
	case o.ExpiresAt > 0 && o.ExpiresAt < 1e11:
		return Errorf(CodeBadRequest, "expires_at %d lies in the year %d; it is in milliseconds since 1970 UTC, not in seconds",
			o.ExpiresAt, time.UnixMilli(o.ExpiresAt).UTC().Year())
	}
	if o.Batch == "" || len(o.Batch) > maxVoucherKey {
		return Errorf(CodeInternal, "the order has no batch")
	}
	return firstError(
		checkText("name", o.Name, 1, maxVoucherName, false),
		checkText("ref", o.Ref, 0, maxVoucherRef, false),
		checkText("note", o.Note, 0, maxVoucherNote, true),
		checkText("by", o.By, 1, maxVoucherWho, false),
	)
}

// Make returns the order's vouchers, issued at the time.
func (o *VoucherOrder) Make(at int64) ([]Voucher, error) {
	if o.ExpiresAt > 0 && o.ExpiresAt <= at {
		return nil, Errorf(CodeBadRequest, "expires_at %d lies in the past: it is %d now", o.ExpiresAt, at)
	}
	vouchers := make([]Voucher, o.Count)
	for i := range vouchers {
		vouchers[i] = o.make(at)
	}
	return vouchers, nil
}

// make is one of the order's vouchers.
func (o *VoucherOrder) make(at int64) Voucher {
	return Voucher{Code: NewVoucherCode(), Ref: o.Ref, Name: o.Name, Owner: o.Owner, Status: VoucherIssued,
		Batch: o.Batch, Note: o.Note, IssuedAt: at, ExpiresAt: o.ExpiresAt}
}

// Again returns the vouchers of the order's batch, which was issued before, or
// refuses if that was another order.
func (o *VoucherOrder) Again(first []Voucher) ([]Voucher, error) {
	v := first[0]
	if len(first) != o.Count || v.Name != o.Name || v.Owner != o.Owner || v.Ref != o.Ref || v.Note != o.Note || v.ExpiresAt != o.ExpiresAt {
		return nil, Errorf(CodeKeyReused, "other vouchers were issued under this key; take a new one for a new request")
	}
	return first, nil
}

// Check trims the act's texts and refuses what cannot be asked.
func (a *VoucherAct) Check() error {
	for _, s := range []*string{&a.By, &a.Station, &a.Reason} {
		*s = strings.TrimSpace(*s)
	}
	least := 0
	if a.Do != ActionRedeemed {
		least = 1 // whoever reads the log will ask why
	}
	switch {
	case a.Key == "":
		return Errorf(CodeBadRequest, "the key is missing: name the request by a key of your own, so that it can be repeated without harm")
	case len(a.Key) > maxVoucherKey || !utf8.ValidString(a.Key):
		return Errorf(CodeBadRequest, "the key must be at most %d bytes of UTF-8", maxVoucherKey)
	}
	return firstError(
		checkText("by", a.By, 1, maxVoucherWho, false),
		checkText("station", a.Station, 0, maxVoucherWho, false),
		checkText("reason", a.Reason, least, maxVoucherReason, true),
	)
}

// Apply decides what becomes of the act at the time, with log being all that
// was done to the voucher before. It changes nothing.
func (v Voucher) Apply(log []VoucherEntry, a VoucherAct, at int64) (VoucherChange, error) {
	reversals := 0
	for _, e := range log {
		if e.Action == a.Do && e.By == a.By && e.Key == a.Key {
			return VoucherChange{Voucher: v.after(e), Entry: e}, nil
		}
		if e.Action == ActionReversed {
			reversals++
		}
	}
	refuse := func(code Code, format string, args ...any) (VoucherChange, error) {
		e := Errorf(code, format, args...)
		e.Voucher = &v
		return VoucherChange{}, e
	}
	switch {
	case v.Status == VoucherVoid:
		return refuse(CodeVoucherVoid, "this voucher was withdrawn: it is void")
	case v.Status == VoucherExpired || v.Due(at):
		v.Status = VoucherExpired
		return refuse(CodeVoucherExpired, "this voucher expired on %s", clockTime(v.ExpiresAt))
	case v.Status == VoucherRedeemed && a.Do != ActionReversed:
		return refuse(CodeVoucherRedeemed, "this voucher was redeemed already, %s", v.redemption())
	case v.Status == VoucherIssued && a.Do == ActionReversed:
		return refuse(CodeVoucherNotRedeemed, "this voucher is not redeemed, so there is nothing to reverse")
	}
	if a.Do == ActionReversed {
		switch {
		case a.Own && v.RedeemedBy != a.By:
			return refuse(CodeVoucherNotYours, "this voucher was redeemed %s, and only they or an operator may reverse that", v.redemption())
		case at-v.RedeemedAt > a.Window.Milliseconds():
			return refuse(CodeReverseLate, "this voucher was redeemed %s; that can be reversed within %s only", v.redemption(), hours(a.Window))
		case reversals >= MaxVoucherReversals:
			return refuse(CodeReverseLimit, "this voucher was reversed %d times already, and more is not allowed", reversals)
		}
	}
	if a.Refuse != nil {
		e := *a.Refuse
		e.Voucher = &v
		return VoucherChange{}, &e
	}
	if a.Do == ActionRedeemed && a.passAt > 0 && usedPass(log, a.passAt) {
		c, err := refuse(CodePassStale, "this pass has redeemed the voucher before, and that was undone; wait for the next one, half a minute at most, and scan it again")
		AsError(err).Pass = &PassMiss{Used: true}
		return c, err
	}
	e := VoucherEntry{At: at, Action: a.Do, From: v.Status, By: a.By, Station: a.Station, Reason: a.Reason, Key: a.Key,
		PassAt: a.passAt, ScannedAt: a.ScannedAt}
	return VoucherChange{Voucher: v.after(e), Entry: e, First: true}, nil
}

// usedPass reports that the pass of that time, or a later one, has redeemed
// the voucher: a pass counts once (RFC 6238, section 5.2).
func usedPass(log []VoucherEntry, at int64) bool {
	for _, e := range log {
		if e.PassAt >= at {
			return true
		}
	}
	return false
}

// Due reports that an issued voucher's time is over.
func (v Voucher) Due(at int64) bool {
	return v.Status == VoucherIssued && v.ExpiresAt > 0 && at >= v.ExpiresAt
}

// Expire is the change of a voucher that is Due.
func (v Voucher) Expire(at int64) VoucherChange {
	e := VoucherEntry{At: at, Action: ActionExpired, From: v.Status}
	return VoucherChange{Voucher: v.after(e), Entry: e, First: true}
}

// Issued is the change by which a voucher of the order came to be.
func (o *VoucherOrder) Issued(v Voucher) VoucherChange {
	return VoucherChange{Voucher: v, Entry: VoucherEntry{At: v.IssuedAt, Action: ActionIssued, By: o.By}, First: true}
}

// after is the voucher as the entry left it.
func (v Voucher) after(e VoucherEntry) Voucher {
	v.RedeemedAt, v.RedeemedBy, v.Station = 0, "", ""
	switch e.Action {
	case ActionRedeemed:
		v.Status, v.RedeemedAt, v.RedeemedBy, v.Station = VoucherRedeemed, e.At, e.By, e.Station
	case ActionReversed, ActionIssued:
		v.Status = VoucherIssued
	case ActionVoid:
		v.Status = VoucherVoid
	case ActionExpired:
		v.Status = VoucherExpired
	}
	return v
}

// redemption says who, where and when.
func (v Voucher) redemption() string {
	where := ""
	if v.Station != "" {
		where = " at " + v.Station
	}
	return fmt.Sprintf("by %s%s on %s", v.RedeemedBy, where, clockTime(v.RedeemedAt))
}

// clockTime is a time as the house's clocks show it.
func clockTime(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05") }

// hours writes a duration without the minutes and seconds that it has not.
func hours(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Event is the event that tells the owner of the change. A Store appends it
// in the transaction that makes the change.
func (c VoucherChange) Event() Event {
	body, err := json.Marshal(c.Voucher)
	if err != nil {
		panic(err) // strings and numbers
	}
	return Event{Topic: Inbox(c.Voucher.Owner), Kind: "voucher." + string(c.Entry.Action), Body: body}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkText refuses a text that could not be shown harmlessly everywhere, or
// is too long. What it holds is text and never markup; < and & are characters
// like others.
func checkText(what, s string, least, most int, lines bool) error {
	n := utf8.RuneCountInString(s)
	switch {
	case n < least:
		return Errorf(CodeBadRequest, "%s is missing", what)
	case n > most:
		return Errorf(CodeBadRequest, "%s has %d characters; at most %d are allowed", what, n, most)
	case !utf8.ValidString(s):
		return Errorf(CodeBadRequest, "%s is not valid UTF-8", what)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) && !joiner(r) && !(lines && (r == '\n' || r == '\t')) {
			return Errorf(CodeBadRequest, "%s holds the character %U, which is not shown or changes how the rest is shown; leave it out", what, r)
		}
	}
	return nil
}
