package api

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/crypto/bcrypt"
)

// Wrong keys and passwords of an address: some at once, then one in a while.
const (
	guardBurst = 10
	guardEvery = 6 * time.Second
)

// role is what a caller may do. An operator may do what a key may; a client
// and staff may only what names them in its Metadata.
type role int

const (
	roleNone     role = iota
	roleClient        // has a client's token: somebody who owns vouchers
	roleStaff         // has signed in to redeem vouchers
	roleKey           // holds an API key: a backend
	roleOperator      // knows the operator's password, or sits at the machine
)

const (
	metaRole     = "role"
	metaAlso     = "also" // []role, besides those from metaRole on
	operatorName = "operator"
	schemeKey    = "key"
	schemeBasic  = "operator"
	schemeStaff  = "staff"
	schemeClient = "client"
)

// security is how the role, and those that may also, stand in the OpenAPI document.
func (r role) security(also []role) []map[string][]string {
	switch r {
	case roleNone:
		return []map[string][]string{{}} // said, and not forgotten
	case roleOperator:
		return []map[string][]string{{schemeBasic: {}}}
	}
	list := []map[string][]string{{schemeKey: {}}, {schemeBasic: {}}}
	for _, r := range also {
		switch r {
		case roleStaff:
			list = append(list, map[string][]string{schemeStaff: {}})
		case roleClient:
			list = append(list, map[string][]string{schemeClient: {}})
		}
	}
	return list
}

// caller is who asks.
type caller struct {
	id    string // of the key, or operatorName: what idempotency keys belong to
	role  role
	staff chat.Staff // of roleStaff
	user  string     // of roleClient
}

// authenticate lets those pass who have the role that the operation needs.
func (a *API) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	op := ctx.Operation()
	c := callOf(r.Context())
	c.operation = op.OperationID
	need, _ := op.Metadata[metaRole].(role)
	also, _ := op.Metadata[metaAlso].([]role)
	if need == roleNone {
		next(ctx)
		return
	}
	who, err := a.identify(r)
	switch {
	case err != nil && r.Header.Get("Authorization") == "" && slices.Contains(also, roleClient):
		a.challenge(w, r, need, chat.Errorf(chat.CodeUnauthorized, "show a client's token (Authorization: Bearer TOKEN) to see its user's vouchers; "+
			"in open mode a name alone proves nothing. Your site's backend gets tokens from /api/v1/tokens"))
	case err != nil && r.Header.Get("Authorization") == "" && slices.Contains(also, roleStaff):
		a.challenge(w, r, need, chat.Errorf(chat.CodeUnauthorized, "sign in at /api/v1/staff/sign-in first, or send an API key: Authorization: Bearer KEY"))
	case err != nil:
		a.challenge(w, r, need, err)
	case who.role < need && slices.Contains(also, who.role):
		c.caller = who
		next(ctx)
	case who.role == roleClient:
		writeProblem(w, r, chat.Errorf(chat.CodeForbidden, "a client's token may only list its own user's vouchers here"))
	case who.role == roleStaff:
		writeProblem(w, r, chat.Errorf(chat.CodeForbidden, "staff may read, redeem and reverse a voucher by its code, and nothing else"))
	case who.role < need:
		writeProblem(w, r, chat.Errorf(chat.CodeForbidden, "an API key may not do this: log in as %s with the operator's password (HTTP Basic)", operatorName))
	default:
		c.caller = who
		next(ctx)
	}
}

// challenge refuses and says what would be accepted.
func (a *API) challenge(w http.ResponseWriter, r *http.Request, need role, err error) {
	if chat.CodeOf(err) == chat.CodeUnauthorized {
		w.Header().Add("WWW-Authenticate", `Bearer realm="teahouse"`)
		// A Basic challenge makes a browser ask for the password: right for a
		// person who follows a link, a nuisance for a page's own fetch.
		if need == roleOperator && strings.Contains(r.Header.Get("Accept"), "text/html") {
			w.Header().Add("WWW-Authenticate", `Basic realm="teahouse operator", charset="UTF-8"`)
		}
	}
	writeProblem(w, r, err)
}

// identify says who asks, by the Authorization header.
func (a *API) identify(r *http.Request) (caller, error) {
	scheme, value, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	value = strings.TrimSpace(value)
	switch {
	case scheme == "":
		return caller{}, chat.Errorf(chat.CodeUnauthorized, "send an API key: Authorization: Bearer KEY")
	case strings.EqualFold(scheme, "Bearer") && looksSigned(value):
		return a.byToken(r, value)
	case strings.EqualFold(scheme, "Bearer"):
		return a.byKey(r, value)
	case strings.EqualFold(scheme, "Basic"):
		return a.byPassword(r)
	}
	return caller{}, chat.Errorf(chat.CodeUnauthorized, "the Authorization scheme %q is not known here; use Bearer with an API key", scheme)
}

// byKey accepts an API key or the local key. A right key passes however many
// wrong ones came from the same address: a key cannot be guessed, and one
// backend behind a shared address must not be able to lock out another.
func (a *API) byKey(r *http.Request, key string) (caller, error) {
	hash := sha256.Sum256([]byte(key))
	if a.opts.LocalKey != "" {
		local := sha256.Sum256([]byte(a.opts.LocalKey))
		if subtle.ConstantTimeCompare(hash[:], local[:]) == 1 {
			return caller{id: operatorName, role: roleOperator}, nil
		}
	}
	k, ok, err := a.opts.Store.KeyByHash(r.Context(), hash)
	if err != nil {
		return caller{}, err
	}
	if ok && k.RevokedAt == 0 && subtle.ConstantTimeCompare(hash[:], k.Hash[:]) == 1 {
		a.uses.used(a, k)
		return caller{id: k.ID, role: roleKey}, nil
	}
	if wait := a.guard.Take(chat.Network(a.opts.Addr(r))); wait > 0 {
		return caller{}, retryIn(wait, chat.CodeRateLimited, "too many wrong keys or passwords from this address; try again later")
	}
	if ok && k.RevokedAt != 0 {
		return caller{}, chat.Errorf(chat.CodeUnauthorized, "this API key was revoked")
	}
	return caller{}, chat.Errorf(chat.CodeUnauthorized, "this API key is not known here")
}

// looksSigned tells a token from a key, most likely.
func looksSigned(value string) bool {
	return strings.HasPrefix(value, "eyJ") && strings.Count(value, ".") == 2
}

// byToken accepts a client's token or that of staff whose account is still as
// it was when they signed in.
func (a *API) byToken(r *http.Request, token string) (caller, error) {
	user, _, err := a.opts.Tokens.Verify(token)
	if err == nil {
		return caller{id: "user:" + user, role: roleClient, user: user}, nil
	}
	if chat.CodeOf(err) == chat.CodeTokenExpired {
		return caller{}, err
	}
	name, stamp, err := a.opts.Tokens.verifyStaff(token)
	if chat.CodeOf(err) == chat.CodeTokenExpired {
		return caller{}, err
	}
	if err != nil {
		who, kerr := a.byKey(r, token) // a key that was given may look like anything
		if kerr != nil && chat.CodeOf(kerr) == chat.CodeUnauthorized {
			kerr = err
		}
		return who, kerr
	}
	staff, ok, err := a.opts.Store.StaffByName(r.Context(), name)
	if err != nil {
		return caller{}, err
	}
	if !ok || staff.Stamp != stamp {
		return caller{}, chat.Errorf(chat.CodeBadToken, "this staff account was changed or removed since; sign in again")
	}
	return caller{id: "staff:" + name, role: roleStaff, staff: staff}, nil
}

// sameSite refuses what a browser sends on behalf of another site.
var sameSite = http.NewCrossOriginProtection()

// byPassword accepts the operator's password over HTTP Basic.
func (a *API) byPassword(r *http.Request) (caller, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return caller{}, chat.Errorf(chat.CodeUnauthorized, "the Authorization header is not valid HTTP Basic")
	}
	// Browsers add remembered passwords to every request by themselves, also
	// to those that another site's page makes.
	if err := sameSite.Check(r); err != nil {
		return caller{}, chat.Errorf(chat.CodeForbidden, "the request comes from another site's page")
	}
	right, err := a.pass.check(r.Context(), a, user, password, a.opts.Addr(r))
	if err != nil {
		return caller{}, err
	}
	if !right {
		return caller{}, chat.Errorf(chat.CodeUnauthorized, "the user must be %q, with the operator's password", operatorName)
	}
	return caller{id: operatorName, role: roleOperator}, nil
}

const settingPassword = "operator_password"

// bcryptCost makes a check take some 50 ms on a server and 300 on a small
// board. bcrypt and not argon2id because of its memory: a few kilobytes each,
// where the whole program is to fit into 30 MB. Tests take less.
var bcryptCost = bcrypt.DefaultCost

// stretch makes any password fit into bcrypt's 72 bytes.
func stretch(password string) []byte {
	sum := sha256.Sum256([]byte("teahouse operator password\x00" + password))
	return base64.RawStdEncoding.AppendEncode(nil, sum[:])
}

func hashPassword(password string) ([]byte, error) {
	return bcrypt.GenerateFromPassword(stretch(password), bcryptCost)
}

func rightPassword(hash []byte, password string) bool {
	return bcrypt.CompareHashAndPassword(hash, stretch(password)) == nil
}

// passwordCheck checks the operator's password, slowly for guesses and fast
// for who was right before: it keeps a fingerprint of the last right pair of
// stored hash and password, made with a salt that lives as long as the process.
type passwordCheck struct {
	salt [32]byte
	slow chan struct{} // a slot: one bcrypt at a time, however many guess

	mu   sync.Mutex
	last [32]byte
	any  bool
}

func (p *passwordCheck) init() {
	_, _ = rand.Read(p.salt[:])
	p.slow = make(chan struct{}, 1)
}

func (p *passwordCheck) fingerprint(hash []byte, password string) (f [32]byte) {
	m := hmac.New(sha256.New, p.salt[:])
	m.Write(hash)
	m.Write([]byte(password))
	m.Sum(f[:0])
	return f
}

// check reports whether the password is right. Too many wrong ones from an
// address, and even a right one is not looked at for a while.
func (p *passwordCheck) check(ctx context.Context, a *API, user, password, addr string) (bool, error) {
	hash, ok, err := a.opts.Store.Setting(ctx, settingPassword)
	if err != nil {
		return false, err
	}
	f := p.fingerprint(hash, password)
	p.mu.Lock()
	known := p.any && subtle.ConstantTimeCompare(f[:], p.last[:]) == 1
	p.mu.Unlock()
	if known && ok && user == operatorName {
		return true, nil
	}
	// A place is paid for before the slow check, and given back if right:
	// many guesses at once do not get more than one after another.
	if wait := a.guard.Take(chat.Network(addr)); wait > 0 {
		return false, retryIn(wait, chat.CodeRateLimited, "too many wrong keys or passwords from this address; try again later")
	}
	select {
	case p.slow <- struct{}{}:
		defer func() { <-p.slow }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if !ok || !rightPassword(hash, password) || user != operatorName {
		return false, nil
	}
	a.guard.Forget(chat.Network(addr))
	p.mu.Lock()
	p.last, p.any = f, true
	p.mu.Unlock()
	return true, nil
}
