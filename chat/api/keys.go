package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"teahouse/chat"

	"github.com/danielgtaylor/huma/v2"
)

// Keys keeps the API keys.
type Keys interface {
	// Keys lists all, revoked ones too, oldest first.
	Keys(ctx context.Context) ([]chat.APIKey, error)
	// PutKey keeps a new key, or changes the one with the same ID.
	PutKey(ctx context.Context, k chat.APIKey) error
	// RevokeKey ends a key; false if there is none with this id. One that was
	// revoked before stays as it is.
	RevokeKey(ctx context.Context, id string, at int64) (bool, error)
	// UseKey notes when a key was last used.
	UseKey(ctx context.Context, id string, at int64) error
	// KeyByHash finds a key, also a revoked one.
	KeyByHash(ctx context.Context, hash [32]byte) (chat.APIKey, bool, error)
}

const (
	keyPrefix = "tk_"
	keyShown  = 8 // characters of a key that its id shows
)

// alphabet is base32 in small letters, which are read and typed more easily.
var alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newKey makes an API key of 160 random bits.
func newKey() string {
	var b [20]byte
	_, _ = rand.Read(b[:])
	return keyPrefix + alphabet.EncodeToString(b[:])
}

// keyID names a key in lists. Of one that we made it is the beginning, 40 of
// its 160 bits; one that was given shows nothing of itself.
func keyID(key string) string {
	if rest, ok := strings.CutPrefix(key, keyPrefix); ok && len(rest) == 32 {
		return key[:len(keyPrefix)+keyShown]
	}
	return hiddenID(key)
}

// hiddenID is an id that shows nothing of the key.
func hiddenID(key string) string {
	sum := sha256.Sum256([]byte("id of an API key\x00" + key))
	return "given_" + alphabet.EncodeToString(sum[:5])
}

// KeyInfo is what is known of an API key.
type KeyInfo struct {
	ID         string `json:"id" doc:"How the key begins"`
	Name       string `json:"name"`
	CreatedAt  int64  `json:"created_at" doc:"Milliseconds since 1970 UTC"`
	RevokedAt  int64  `json:"revoked_at,omitempty" doc:"Milliseconds since 1970 UTC; since then it is refused"`
	LastUsedAt int64  `json:"last_used_at,omitempty" doc:"Milliseconds since 1970 UTC, exact to a minute"`
}

// NewKey is an API key that was just made: the only time that it is shown.
type NewKey struct {
	KeyInfo
	Key string `json:"key" doc:"The key. It is not kept here and cannot be shown again"`
}

type keyInput struct {
	IdempotencyHeader
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100" doc:"What it is for" example:"shop backend"`
	}
}

type keyOutput struct{ Body NewKey }

type keysOutput struct {
	Body struct {
		Keys []KeyInfo `json:"keys" nullable:"false" doc:"Oldest first"`
	}
}

type revokeInput struct {
	ID string `path:"id" doc:"The key's id"`
}

func (a *API) registerKeys() {
	const path, tag = "/api/v1/keys", "Keys"
	register(a, roleOperator, huma.Operation{
		OperationID: "createKey", Method: http.MethodPost, Path: path, Tags: []string{tag},
		Summary:      "Make an API key",
		Description:  "The key is in this answer and nowhere else: only its hash is kept. Therefore the same request again is a 409 and not the same answer.",
		MaxBodyBytes: smallBody, BodyReadTimeout: callTimeout,
		DefaultStatus: http.StatusCreated,
		Metadata:      map[string]any{metaVault: keyVault{}},
	}, func(ctx context.Context, in *keyInput) (*keyOutput, error) {
		name := strings.TrimSpace(in.Body.Name)
		if name == "" || !utf8.ValidString(name) {
			return nil, chat.Errorf(chat.CodeBadRequest, "the name of the key is empty; say what it is for")
		}
		key := newKey()
		k := newAPIKey(key, name, a.opts.Now())
		if err := a.opts.Store.PutKey(ctx, k); err != nil {
			return nil, err
		}
		return &keyOutput{NewKey{KeyInfo: infoOf(k), Key: key}}, nil
	})
	register(a, roleOperator, huma.Operation{
		OperationID: "listKeys", Method: http.MethodGet, Path: path, Tags: []string{tag},
		Summary: "List the API keys",
	}, func(ctx context.Context, _ *struct{}) (*keysOutput, error) {
		keys, err := a.opts.Store.Keys(ctx)
		if err != nil {
			return nil, err
		}
		out := &keysOutput{}
		out.Body.Keys = make([]KeyInfo, len(keys))
		for i, k := range keys {
			out.Body.Keys[i] = infoOf(k)
			out.Body.Keys[i].LastUsedAt = max(k.LastUsedAt, a.uses.last(k.ID))
		}
		return out, nil
	})
	register(a, roleOperator, huma.Operation{
		OperationID: "revokeKey", Method: http.MethodDelete, Path: path + "/{id}", Tags: []string{tag},
		Summary:       "Revoke an API key",
		Description:   "From now on it is refused. It stays in the list.",
		DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *revokeInput) (*struct{}, error) {
		ok, err := a.opts.Store.RevokeKey(ctx, in.ID, a.opts.Now().UnixMilli())
		if err == nil && !ok {
			err = chat.Errorf(chat.CodeNotFound, "there is no API key with the id %q", in.ID)
		}
		return nil, err
	})
}

func infoOf(k chat.APIKey) KeyInfo {
	return KeyInfo{ID: k.ID, Name: k.Name, CreatedAt: k.CreatedAt, RevokedAt: k.RevokedAt, LastUsedAt: k.LastUsedAt}
}

func newAPIKey(key, name string, now time.Time) chat.APIKey {
	return chat.APIKey{ID: keyID(key), Name: name, Hash: sha256.Sum256([]byte(key)), CreatedAt: now.UnixMilli()}
}

// keyUses notes when keys are used: in the store at most once a minute for
// each, and behind the request, which does not wait for it.
type keyUses struct {
	mu    sync.Mutex
	noted map[string]int64
	wg    sync.WaitGroup
}

func (u *keyUses) used(a *API, k chat.APIKey) {
	now := a.opts.Now().UnixMilli()
	u.mu.Lock()
	defer u.mu.Unlock()
	if now-max(u.noted[k.ID], k.LastUsedAt) < time.Minute.Milliseconds() {
		return
	}
	if u.noted == nil {
		u.noted = make(map[string]int64)
	}
	u.noted[k.ID] = now
	u.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		if err := a.opts.Store.UseKey(ctx, k.ID, now); err != nil {
			a.opts.Logger.Warn("last use of an API key not noted", "key", k.ID, "err", err)
		}
	})
}

func (u *keyUses) last(id string) int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.noted[id]
}

func (u *keyUses) wait() { u.wg.Wait() }
