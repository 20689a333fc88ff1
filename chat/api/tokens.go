package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
	"github.com/golang-jwt/jwt/v5"
)

// How long a client token is good for.
const (
	DefaultTTL = 24 * time.Hour
	MaxTTL     = 366 * 24 * time.Hour
)

const (
	tokenIssuer   = "teahouse"
	tokenLeeway   = 30 * time.Second // between our clock and the one that issued it
	settingSecret = "token_secret"
)

// Settings keeps small values by name.
type Settings interface {
	Setting(ctx context.Context, name string) (value []byte, ok bool, err error)
	PutSetting(ctx context.Context, name string, value []byte) error
}

// Tokens issues and verifies client tokens: JWTs, signed by HS256 with this
// house's secret. A client shows one in its hello when the server runs with
// --auth token. It may be used from many goroutines.
type Tokens struct {
	secret []byte
	now    func() time.Time
	parser *jwt.Parser // of clients' tokens
	staff  *jwt.Parser
}

// HouseSecret returns 32 random bytes that are made at the first start and kept
// as the setting of this name.
func HouseSecret(ctx context.Context, s Settings, name string) ([]byte, error) {
	secret, ok, err := s.Setting(ctx, name)
	if err != nil || ok && len(secret) >= 32 {
		return secret, err
	}
	secret = make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	return secret, s.PutSetting(ctx, name, secret)
}

// NewTokens returns the Tokens of this house. Its secret is made at the first
// start and kept as a setting. now is the clock; nil means time.Now.
func NewTokens(ctx context.Context, s Settings, now func() time.Time) (*Tokens, error) {
	secret, err := HouseSecret(ctx, s, settingSecret)
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	parser := func(issuer string) *jwt.Parser {
		return jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), // the token does not choose
			jwt.WithIssuer(issuer),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(tokenLeeway),
			jwt.WithTimeFunc(now),
		)
	}
	return &Tokens{secret: secret, now: now, parser: parser(tokenIssuer), staff: parser(staffIssuer)}, nil
}

// Issue returns a token for the user. A ttl of 0 means DefaultTTL.
func (t *Tokens) Issue(user string, ttl time.Duration) (token string, expires time.Time, err error) {
	if ttl == 0 {
		ttl = DefaultTTL
	}
	if ttl < time.Second || ttl > MaxTTL {
		return "", time.Time{}, chat.Errorf(chat.CodeBadRequest, "a token is good for at least a second and at most %d days", MaxTTL/(24*time.Hour))
	}
	if user == "" {
		return "", time.Time{}, chat.Errorf(chat.CodeBadUser, "the user id is empty")
	}
	at := t.now().Truncate(time.Second)
	expires = at.Add(ttl).Truncate(time.Second)
	token, err = t.sign(user, at, expires)
	return token, expires, err
}

// sign depends on nothing else than its arguments and the secret: that is how
// a repeated request gets the same token without its being kept anywhere.
func (t *Tokens) sign(user string, at, expires time.Time) (string, error) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer: tokenIssuer, Subject: user,
		IssuedAt: jwt.NewNumericDate(at), ExpiresAt: jwt.NewNumericDate(expires),
	}).SignedString(t.secret)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return token, nil
}

// Verify returns whose token it is and when it ends. A token that is not good
// is a *chat.Error with CodeBadToken or CodeTokenExpired.
func (t *Tokens) Verify(token string) (user string, expires time.Time, err error) {
	var claims jwt.RegisteredClaims
	_, err = t.parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return t.secret, nil })
	switch {
	// The signature is checked first: what comes here as expired is genuine.
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidIssuer):
		e := chat.Errorf(chat.CodeTokenExpired, "the token has expired; get a new one")
		e.Err = err
		return "", time.Time{}, e
	case err != nil:
		e := chat.Errorf(chat.CodeBadToken, "the token is not one of this server; get a new one")
		e.Err = err
		return "", time.Time{}, e
	case claims.Subject == "":
		return "", time.Time{}, chat.Errorf(chat.CodeBadToken, "the token names no user; get a new one")
	}
	return claims.Subject, claims.ExpiresAt.Time, nil
}

// TokenRequest asks for a client token.
type TokenRequest struct {
	User string `json:"user" doc:"Whose token" example:"alice"`
	TTL  int64  `json:"ttl_s,omitempty" minimum:"1" maximum:"31622400" default:"86400" doc:"For how many seconds it is good"`
}

// Token is a client token.
type Token struct {
	Token     string `json:"token" doc:"The JWT, for the hello of a client or the query of a legacy one"`
	User      string `json:"user"`
	IssuedAt  int64  `json:"issued_at" doc:"Milliseconds since 1970 UTC"`
	ExpiresAt int64  `json:"expires_at" doc:"Milliseconds since 1970 UTC"`
}

type tokenInput struct {
	IdempotencyHeader
	Body TokenRequest
}

type tokenOutput struct{ Body Token }

func (a *API) registerTokens() {
	register(a, roleKey, huma.Operation{
		OperationID: "issueToken", Method: http.MethodPost, Path: "/api/v1/tokens", Tags: []string{"Tokens"},
		Summary:      "Issue a client token",
		Description:  "A signed token (JWT, HS256) with which a client may say hello as this user when the server runs with `--auth token`.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout, Metadata: map[string]any{metaVault: tokenVault{a.opts.Tokens}},
	}, func(ctx context.Context, in *tokenInput) (*tokenOutput, error) {
		if err := a.opts.Hub.Limits().CheckUser(in.Body.User); err != nil {
			return nil, err
		}
		ttl := time.Duration(in.Body.TTL) * time.Second
		token, expires, err := a.opts.Tokens.Issue(in.Body.User, ttl)
		if err != nil {
			return nil, err
		}
		return &tokenOutput{Token{
			Token: token, User: in.Body.User,
			IssuedAt: expires.Add(-ttl).UnixMilli(), ExpiresAt: expires.UnixMilli(),
		}}, nil
	})
}
