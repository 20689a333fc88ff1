package api

import (
	"errors"
	"fmt"
	"time"

	"teahouse/chat"

	"github.com/golang-jwt/jwt/v5"
)

// staffTTL is how long staff are signed in: a long shift.
const staffTTL = 12 * time.Hour

// staffIssuer tells a staff token from a client's, which has the same secret.
const staffIssuer = "teahouse staff"

// staffClaims are what a staff token says. Stamp is the account's: a change of
// the account makes all its tokens worthless.
type staffClaims struct {
	jwt.RegisteredClaims
	Stamp string `json:"stamp"`
}

// signStaff returns a token for an account.
func (t *Tokens) signStaff(name, stamp string) (token string, expires time.Time, err error) {
	at := t.now().Truncate(time.Second)
	expires = at.Add(staffTTL)
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, staffClaims{
		RegisteredClaims: jwt.RegisteredClaims{Issuer: staffIssuer, Subject: name, IssuedAt: jwt.NewNumericDate(at), ExpiresAt: jwt.NewNumericDate(expires)},
		Stamp:            stamp,
	}).SignedString(t.secret)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a staff token: %w", err)
	}
	return token, expires, nil
}

// verifyStaff returns whose token it is, and the stamp that the account had.
func (t *Tokens) verifyStaff(token string) (name, stamp string, err error) {
	var claims staffClaims
	_, err = t.staff.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return t.secret, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return "", "", &chat.Error{Code: chat.CodeTokenExpired, Message: "you were signed in for long enough; sign in again", Err: err}
	case err != nil:
		return "", "", &chat.Error{Code: chat.CodeBadToken, Message: "the token is not one of this server; get a new one", Err: err}
	}
	return claims.Subject, claims.Stamp, nil
}
