package api

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
	"unicode"

	"teahouse/chat"
)

// Secrets are what the operator and the first backend know. Each may be "".
type Secrets struct {
	Password string // the operator's
	APIKey   string
}

// SecretStore is what Bootstrap needs of the store.
type SecretStore interface {
	Settings
	Keys
}

// Bootstrap sees to it that there are an operator's password and an API key.
// What is given is kept (its hash), and is what counts from now on: the
// password in place of an older one, the key besides the others. What is not
// given and not there yet is made, and returned in plain for the only time.
func Bootstrap(ctx context.Context, s SecretStore, given Secrets, now time.Time) (made Secrets, err error) {
	if made.Password, err = bootstrapPassword(ctx, s, given.Password); err != nil {
		return Secrets{}, err
	}
	if made.APIKey, err = bootstrapKey(ctx, s, given.APIKey, now); err != nil {
		return Secrets{}, err
	}
	return made, nil
}

func bootstrapPassword(ctx context.Context, s Settings, given string) (made string, err error) {
	hash, ok, err := s.Setting(ctx, settingPassword)
	if err != nil {
		return "", err
	}
	password := given
	switch {
	case given == "" && ok, given != "" && ok && rightPassword(hash, given):
		return "", nil
	case given == "":
		made = newPassword()
		password = made
	case strings.TrimSpace(given) != given:
		return "", chat.Errorf(chat.CodeBadRequest, "the operator's password begins or ends with a space")
	}
	if hash, err = hashPassword(password); err != nil {
		return "", err
	}
	return made, s.PutSetting(ctx, settingPassword, hash)
}

func bootstrapKey(ctx context.Context, s Keys, given string, now time.Time) (made string, err error) {
	keys, err := s.Keys(ctx)
	if err != nil {
		return "", err
	}
	if given == "" {
		if len(keys) > 0 { // also if all were revoked: then that was meant
			return "", nil
		}
		made = newKey()
		return made, s.PutKey(ctx, newAPIKey(made, "first start", now))
	}
	if strings.ContainsFunc(given, func(r rune) bool { return r > unicode.MaxASCII || r <= ' ' || r == 0x7f }) {
		return "", chat.Errorf(chat.CodeBadRequest, "the API key may hold only ASCII letters, digits and signs, without spaces: it travels in a header")
	}
	k := newAPIKey(given, "given at start", now)
	for _, old := range keys {
		switch {
		case old.Hash == k.Hash && old.RevokedAt == 0:
			return "", nil
		case old.Hash == k.Hash: // revoked, but still given: given counts
			old.RevokedAt = 0
			return "", s.PutKey(ctx, old)
		case old.ID == k.ID: // another key that begins alike
			k.ID = hiddenID(given)
		}
	}
	return "", s.PutKey(ctx, k)
}

// newPassword makes a password of 80 random bits that can be read out loud.
func newPassword() string {
	var b [10]byte
	_, _ = rand.Read(b[:])
	p := alphabet.EncodeToString(b[:])
	return p[:4] + "-" + p[4:8] + "-" + p[8:12] + "-" + p[12:]
}
