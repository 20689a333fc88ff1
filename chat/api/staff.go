package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/crypto/bcrypt"
)

// Staff keeps the accounts of those who redeem vouchers.
type Staff interface {
	// Staff lists all accounts by name.
	Staff(ctx context.Context) ([]chat.Staff, error)
	// StaffByName finds an account.
	StaffByName(ctx context.Context, name string) (chat.Staff, bool, error)
	// AddStaff keeps a new account; false if there is one with this name.
	AddStaff(ctx context.Context, s chat.Staff) (bool, error)
	// ChangeStaff replaces an account, RemoveStaff ends one; false if there is
	// none with this name.
	ChangeStaff(ctx context.Context, s chat.Staff) (bool, error)
	RemoveStaff(ctx context.Context, name string) (bool, error)
}

const (
	minPIN = 6
	maxPIN = 128 // characters
)

// Wrong PINs of one account, from wherever they come: ten at once and then one
// a minute are a thousandth of all six-digit PINs in a day.
const (
	pinBurst = 10
	pinEvery = time.Minute
)

// StaffInfo is what is known of an account.
type StaffInfo struct {
	Name      string `json:"name"`
	Station   string `json:"station"`
	CreatedAt int64  `json:"created_at" doc:"Milliseconds since 1970 UTC"`
	ChangedAt int64  `json:"changed_at,omitempty" doc:"Milliseconds since 1970 UTC: when station or PIN were last changed"`
}

// NewStaff asks for an account.
type NewStaff struct {
	Name    string `json:"name" doc:"With which they sign in, and which stands in the log of what they redeem, up to 64 characters" example:"Ann"`
	Station string `json:"station,omitempty" nullable:"true" doc:"Where they work, up to 64 characters" example:"Gate 1"`
	PIN     string `json:"pin" doc:"A PIN or password of at least 6 characters" example:"a PIN"`
}

// StaffChange is what is to be changed of an account. What is missing stays.
type StaffChange struct {
	Station *string `json:"station,omitempty" doc:"Where they work"`
	PIN     *string `json:"pin,omitempty" doc:"A PIN or password of at least 6 characters"`
}

// SignIn asks for a staff token.
type SignIn struct {
	Name string `json:"name" example:"Ann"`
	PIN  string `json:"pin" example:"a PIN"`
}

// SignedIn is a staff token.
type SignedIn struct {
	Token     string     `json:"token" doc:"For Authorization: Bearer. It is good for reading, redeeming and reversing vouchers by their code"`
	Staff     StaffBadge `json:"staff"`
	ExpiresAt int64      `json:"expires_at" doc:"Milliseconds since 1970 UTC"`
}

// StaffBadge says who has signed in, and where.
type StaffBadge struct {
	Name    string `json:"name"`
	Station string `json:"station"`
}

type newStaffInput struct {
	IdempotencyHeader
	Body NewStaff
}

type changeStaffInput struct {
	Name string `path:"name" doc:"The account"`
	Body StaffChange
}

type removeStaffInput struct {
	Name string `path:"name" doc:"The account"`
}

type signInInput struct{ Body SignIn }

type staffOutput struct{ Body StaffInfo }

type staffListOutput struct {
	Body struct {
		Staff []StaffInfo `json:"staff" nullable:"false" doc:"By name"`
	}
}

type signInOutput struct{ Body SignedIn }

func (a *API) registerStaff() {
	const path, tag = "/api/v1/staff", "Staff"
	register(a, roleKey, huma.Operation{
		OperationID: "createStaff", Method: http.MethodPost, Path: path, Tags: []string{tag},
		Summary:      "Make an account for staff",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout, DefaultStatus: http.StatusCreated,
		Metadata: map[string]any{metaSecret: "pin"},
	}, a.createStaff)
	register(a, roleKey, huma.Operation{
		OperationID: "listStaff", Method: http.MethodGet, Path: path, Tags: []string{tag},
		Summary: "List the accounts of staff",
	}, func(ctx context.Context, _ *struct{}) (*staffListOutput, error) {
		list, err := a.opts.Store.Staff(ctx)
		if err != nil {
			return nil, err
		}
		out := &staffListOutput{}
		out.Body.Staff = make([]StaffInfo, len(list))
		for i, s := range list {
			out.Body.Staff[i] = staffInfo(s)
		}
		return out, nil
	})
	register(a, roleKey, huma.Operation{
		OperationID: "changeStaff", Method: http.MethodPatch, Path: path + "/{name}", Tags: []string{tag},
		Summary:      "Change the station or the PIN of an account",
		Description:  "Whoever is signed in with it must sign in again.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
	}, a.changeStaff)
	register(a, roleKey, huma.Operation{
		OperationID: "removeStaff", Method: http.MethodDelete, Path: path + "/{name}", Tags: []string{tag},
		Summary:       "Remove an account",
		Description:   "Whoever is signed in with it is refused from now on. What they redeemed stays as it is.",
		DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *removeStaffInput) (*struct{}, error) {
		a.pins.changing.Lock()
		defer a.pins.changing.Unlock()
		ok, err := a.opts.Store.RemoveStaff(ctx, in.Name)
		if err == nil && !ok {
			err = noStaff(in.Name)
		}
		return nil, err
	})
	register(a, roleNone, huma.Operation{
		OperationID: "signIn", Method: http.MethodPost, Path: path + "/sign-in", Tags: []string{tag},
		Summary:      "Sign in as staff",
		Description:  "Needs no key. Wrong PINs are limited for each account and each address.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
	}, a.signIn)
}

func staffInfo(s chat.Staff) StaffInfo {
	return StaffInfo{Name: s.Name, Station: s.Station, CreatedAt: s.CreatedAt, ChangedAt: s.ChangedAt}
}

func noStaff(name string) error {
	return chat.Errorf(chat.CodeNotFound, "there is no staff account %q", name)
}

func (a *API) createStaff(ctx context.Context, in *newStaffInput) (*staffOutput, error) {
	s := chat.Staff{Name: strings.TrimSpace(in.Body.Name), Station: strings.TrimSpace(in.Body.Station), Stamp: newStamp(), CreatedAt: a.opts.Now().UnixMilli()}
	if err := s.Check(); err != nil {
		return nil, err
	}
	var err error
	if s.PINHash, err = a.pins.hash(ctx, in.Body.PIN); err != nil {
		return nil, err
	}
	ok, err := a.opts.Store.AddStaff(ctx, s)
	if err == nil && !ok {
		err = chat.Errorf(chat.CodeStaffExists, "there is a staff account %q already; change its PIN, or choose another name", s.Name)
	}
	if err != nil {
		return nil, err
	}
	return &staffOutput{staffInfo(s)}, nil
}

func (a *API) changeStaff(ctx context.Context, in *changeStaffInput) (*staffOutput, error) {
	if in.Body.Station == nil && in.Body.PIN == nil {
		return nil, chat.Errorf(chat.CodeBadRequest, "say what to change: station, pin or both")
	}
	var hash []byte
	if in.Body.PIN != nil {
		var err error
		if hash, err = a.pins.hash(ctx, *in.Body.PIN); err != nil {
			return nil, err
		}
	}
	// Read and written as one, so that of two changes at once none is lost.
	a.pins.changing.Lock()
	defer a.pins.changing.Unlock()
	s, ok, err := a.opts.Store.StaffByName(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, noStaff(in.Name)
	}
	if in.Body.Station != nil {
		s.Station = strings.TrimSpace(*in.Body.Station)
	}
	if hash != nil {
		s.PINHash = hash
		a.pins.accounts.Forget(s.Name)
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	s.Stamp, s.ChangedAt = newStamp(), a.opts.Now().UnixMilli()
	if ok, err = a.opts.Store.ChangeStaff(ctx, s); err != nil {
		return nil, err
	}
	if !ok {
		return nil, noStaff(in.Name)
	}
	return &staffOutput{staffInfo(s)}, nil
}

func (a *API) signIn(ctx context.Context, in *signInInput) (*signInOutput, error) {
	c := callOf(ctx)
	s, found, err := a.opts.Store.StaffByName(ctx, strings.TrimSpace(in.Body.Name))
	if err != nil {
		return nil, err
	}
	// Paid for before the slow check, and given back if right: many guesses at
	// once do not get more than one after another.
	wait := a.guard.Take(chat.Network(c.addr))
	if found && wait == 0 {
		wait = a.pins.accounts.Take(s.Name)
	}
	if wait > 0 {
		return nil, retryIn(wait, chat.CodeRateLimited, "too many wrong names or PINs; wait a moment")
	}
	right, err := a.pins.right(ctx, s.PINHash, in.Body.PIN)
	if err != nil {
		return nil, err
	}
	if !right || !found {
		// The name only where it is one: people type PINs into the wrong field.
		a.opts.Logger.Info("a sign-in of staff failed", "request", c.id, "account", s.Name, "addr", c.addr)
		return nil, chat.Errorf(chat.CodeSignIn, "the name or the PIN is wrong")
	}
	a.guard.Forget(chat.Network(c.addr))
	a.pins.accounts.Forget(s.Name)
	token, expires, err := a.opts.Tokens.signStaff(s.Name, s.Stamp)
	if err != nil {
		return nil, err
	}
	return &signInOutput{SignedIn{Token: token, Staff: StaffBadge{s.Name, s.Station}, ExpiresAt: expires.UnixMilli()}}, nil
}

// newStamp marks one state of an account.
func newStamp() string { return randomText(10) }

// randomText is n random bytes in letters and digits.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return alphabet.EncodeToString(b)
}

// pinCheck makes and checks the hashes of PINs: by bcrypt, like the operator's
// password (see bcryptCost), one at a time however many guess.
type pinCheck struct {
	slow     chan struct{}
	accounts *chat.Tries[string]
	changing sync.Mutex // held while an account is read and written again
	nobody   func() []byte
}

func (p *pinCheck) init(now func() time.Time) {
	p.slow = make(chan struct{}, 1)
	p.accounts = chat.NewTries[string](now, pinBurst, pinEvery)
	p.nobody = sync.OnceValue(func() []byte {
		hash, _ := bcrypt.GenerateFromPassword(stretchPIN(randomText(10)), bcryptCost)
		return hash
	})
}

// stretchPIN makes any PIN fit into bcrypt's 72 bytes.
func stretchPIN(pin string) []byte {
	sum := sha256.Sum256([]byte("teahouse staff PIN\x00" + pin))
	return base64.RawStdEncoding.AppendEncode(nil, sum[:])
}

func (p *pinCheck) turn(ctx context.Context) (leave func(), err error) {
	select {
	case p.slow <- struct{}{}:
		return func() { <-p.slow }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hash refuses what is no PIN.
func (p *pinCheck) hash(ctx context.Context, pin string) ([]byte, error) {
	switch n := utf8.RuneCountInString(pin); {
	case n < minPIN || n > maxPIN:
		return nil, chat.Errorf(chat.CodeBadRequest, "the PIN has %d characters; it needs at least %d digits, or a password of up to %d characters", n, minPIN, maxPIN)
	case strings.TrimSpace(pin) != pin:
		return nil, chat.Errorf(chat.CodeBadRequest, "the PIN begins or ends with a space")
	}
	leave, err := p.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return bcrypt.GenerateFromPassword(stretchPIN(pin), bcryptCost)
}

// right takes as long for an account that does not exist (a nil hash).
func (p *pinCheck) right(ctx context.Context, hash []byte, pin string) (bool, error) {
	leave, err := p.turn(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	if hash == nil {
		hash = p.nobody()
	}
	return bcrypt.CompareHashAndPassword(hash, stretchPIN(pin)) == nil, nil
}
