package api

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/crypto/bcrypt"
)

// role is what a caller may do. Each may do what the one before may.
type role int

const (
	roleNone     role = iota
	roleKey           // holds an API key: a backend
	roleOperator      // knows the operator's password, or sits at the machine
)

const (
	metaRole     = "role"
	operatorName = "operator"
	schemeKey    = "key"
	schemeBasic  = "operator"
)

// security is how the role stands in the OpenAPI document.
func (r role) security() []map[string][]string {
	if r == roleOperator {
		return []map[string][]string{{schemeBasic: {}}}
	}
	return []map[string][]string{{schemeKey: {}}, {schemeBasic: {}}}
}

// caller is who asks.
type caller struct {
	id   string // of the key, or operatorName: what idempotency keys belong to
	role role
}

// authenticate lets those pass who have the role that the operation needs.
func (a *API) authenticate(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	op := ctx.Operation()
	c := callOf(r.Context())
	c.operation = op.OperationID
	need, _ := op.Metadata[metaRole].(role)
	who, err := a.identify(r)
	switch {
	case err != nil:
		a.challenge(w, r, need, err)
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
			return caller{operatorName, roleOperator}, nil
		}
	}
	k, ok, err := a.opts.Store.KeyByHash(r.Context(), hash)
	if err != nil {
		return caller{}, err
	}
	if ok && k.RevokedAt == 0 && subtle.ConstantTimeCompare(hash[:], k.Hash[:]) == 1 {
		a.uses.used(a, k)
		return caller{k.ID, roleKey}, nil
	}
	if wait := a.guard.failed(a.opts.Addr(r)); wait > 0 {
		return caller{}, retryIn(wait, chat.CodeRateLimited, "too many wrong keys or passwords from this address; try again later")
	}
	if ok && k.RevokedAt != 0 {
		return caller{}, chat.Errorf(chat.CodeUnauthorized, "this API key was revoked")
	}
	return caller{}, chat.Errorf(chat.CodeUnauthorized, "this API key is not known here")
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
	return caller{operatorName, roleOperator}, nil
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
	if wait := a.guard.failed(addr); wait > 0 {
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
	a.guard.forgive(addr)
	p.mu.Lock()
	p.last, p.any = f, true
	p.mu.Unlock()
	return true, nil
}
