package db

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"teahouse/chat"
)

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	ctx := t.Context()
	a := chat.APIKey{ID: "tk_a", Name: "till ☕", Hash: sha256.Sum256([]byte("a")), CreatedAt: 10}
	b := chat.APIKey{ID: "tk_b", Name: "", Hash: sha256.Sum256([]byte("b")), CreatedAt: 5}
	for _, k := range []chat.APIKey{a, b} {
		if err := s.PutKey(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	twin := chat.APIKey{ID: "tk_c", Hash: a.Hash}
	if err := s.PutKey(ctx, twin); chat.CodeOf(err) != chat.CodeBadRequest {
		t.Errorf("one hash under two ids: %v", err)
	}
	check := func(want ...chat.APIKey) {
		t.Helper()
		got, err := s.Keys(ctx)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Keys: %+v, %v; want %+v", got, err, want)
		}
		for _, k := range want {
			if got, ok, err := s.KeyByHash(ctx, k.Hash); got != k || !ok || err != nil {
				t.Errorf("KeyByHash: %+v, %v, %v; want %+v", got, ok, err, k)
			}
		}
	}
	check(b, a)
	if _, ok, err := s.KeyByHash(ctx, sha256.Sum256([]byte("c"))); ok || err != nil {
		t.Errorf("an unknown key: %v, %v", ok, err)
	}
	for _, at := range []int64{50, 40, 60} {
		if err := s.UseKey(ctx, "tk_a", at); err != nil {
			t.Error(err)
		}
	}
	a.LastUsedAt, a.Name = 60, "new name"
	if err := s.PutKey(ctx, a); err != nil {
		t.Error(err)
	}
	for _, at := range []int64{70, 80} {
		if ok, err := s.RevokeKey(ctx, "tk_b", at); !ok || err != nil {
			t.Errorf("RevokeKey: %v, %v", ok, err)
		}
	}
	b.RevokedAt = 70
	if ok, err := s.RevokeKey(ctx, "tk_c", 70); ok || err != nil {
		t.Errorf("RevokeKey of an unknown key: %v, %v", ok, err)
	}
	check(b, a)
	shut(t, s)
	s = openIn(t, s.opts.Dir)
	check(b, a)
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := openIn(t, t.TempDir())
	ctx := t.Context()
	if v, ok, err := s.Setting(ctx, "x"); v != nil || ok || err != nil {
		t.Errorf("a missing setting: %v, %v, %v", v, ok, err)
	}
	for _, want := range [][]byte{[]byte("one"), {0, 255, 0}, {}, nil, []byte("two")} {
		if err := s.PutSetting(ctx, "x", want); err != nil {
			t.Fatal(err)
		}
		if v, ok, err := s.Setting(ctx, "x"); !bytes.Equal(v, want) || !ok || err != nil {
			t.Errorf("Setting: %v, %v, %v; want %v", v, ok, err, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1e12)
	s := openIn(t, t.TempDir(), func(o *Options) { o.Clock = func() time.Time { return now } })
	ctx := t.Context()
	if _, ok, err := s.Answer(ctx, "k"); ok || err != nil {
		t.Errorf("a missing answer: %v, %v", ok, err)
	}
	var wg sync.WaitGroup
	kept := make([]chat.Answer, 10)
	for i := range kept {
		wg.Go(func() {
			a := chat.Answer{Request: sha256.Sum256(fmt.Append(nil, i)), Status: 200 + i, ContentType: "text/plain", Body: fmt.Append(nil, i), At: now.UnixMilli()}
			var err error
			if kept[i], err = s.PutAnswer(ctx, "k", a); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, ok, err := s.Answer(ctx, "k")
	if !ok || err != nil || got.Status != 200+int(got.Body[0]-'0') {
		t.Errorf("Answer: %+v, %v, %v", got, ok, err)
	}
	for _, k := range kept {
		if !reflect.DeepEqual(k, got) {
			t.Errorf("one was told %+v, another %+v", k, got)
		}
	}
	empty := chat.Answer{Status: 204, At: now.Add(-48*time.Hour - 1).UnixMilli()}
	if _, err := s.PutAnswer(ctx, "old", empty); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(ctx); err != nil {
		t.Fatal(err)
	}
	_, there, _ := s.Answer(ctx, "k")
	_, old, _ := s.Answer(ctx, "old")
	if !there || old {
		t.Errorf("after a sweep: the new one is there: %v, the old one: %v", there, old)
	}
}
