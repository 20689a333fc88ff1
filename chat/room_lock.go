package chat

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"
)

// roomLock is one code of one room. Another code makes another lock: who has
// given the code is remembered by its lock.
type roomLock struct {
	hash []byte
	// known recognises the code quickly once it was given: see fingerprint.
	known atomic.Pointer[[32]byte]
}

// roomLocks are the rooms with a code. Asking whether a room has one costs no
// lock: it is done for each send.
type roomLocks struct {
	all  atomic.Pointer[map[string]*roomLock] // by topic; replaced, never changed
	salt [32]byte                             // of this process
	slow chan struct{}                        // a slot: one slow check at a time, however many guess

	mu    sync.Mutex // held while a code is compared and what was wrong is counted; a leaf
	addrs *Tries[netip.Prefix]
	rooms *Tries[string]
	sets  *Tries[netip.Prefix]
}

func (r *roomLocks) init(now func() time.Time) {
	_, _ = rand.Read(r.salt[:]) // never fails
	r.slow = make(chan struct{}, 1)
	r.all.Store(&map[string]*roomLock{})
	r.addrs = NewTries[netip.Prefix](now, codeBurst, codeEvery)
	r.rooms = NewTries[string](now, roomCodeBurst, roomCodeEvery)
	r.sets = NewTries[netip.Prefix](now, protectBurst, protectEvery)
}

func (r *roomLocks) load(codes []RoomCode) {
	all := make(map[string]*roomLock, len(codes))
	for _, c := range codes {
		all[c.Topic] = &roomLock{hash: c.Hash}
	}
	r.all.Store(&all)
}

// of returns the lock of a room, nil if it has no code.
func (r *roomLocks) of(topic string) *roomLock { return (*r.all.Load())[topic] }

// replace gives a room another lock, nil for none. The caller holds
// doors.changing.
func (r *roomLocks) replace(topic string, lock *roomLock) {
	all := maps.Clone(*r.all.Load())
	if lock == nil {
		delete(all, topic)
	} else {
		all[topic] = lock
	}
	r.all.Store(&all)
}

// tidyCode is the form in which a code is compared: what an input method wrote
// in wide letters or digits is the same code.
func tidyCode(code string) string { return norm.NFKC.String(code) }

// checkCode refuses what cannot be a code.
func checkCode(code string) error {
	switch n := utf8.RuneCountInString(tidyCode(code)); {
	case n < MinRoomCode || n > MaxRoomCode:
		return Errorf(CodeBadRequest, "the code has %d characters; it needs %d to %d", n, MinRoomCode, MaxRoomCode)
	case strings.TrimSpace(code) != code:
		return Errorf(CodeBadRequest, "the code begins or ends with a space")
	}
	return checkText("code", code, MinRoomCode, MaxRoomCode*utf8.UTFMax, false)
}

// bcryptCost is that of the other passwords: some 50 ms on a server and 300 on
// a small board. Tests take less.
var bcryptCost = bcrypt.DefaultCost

// stretchCode makes any code fit into bcrypt's 72 bytes.
func stretchCode(code string) []byte {
	sum := sha256.Sum256([]byte("teahouse room code\x00" + tidyCode(code)))
	return base64.RawStdEncoding.AppendEncode(nil, sum[:])
}

// fingerprint recognises a code without the slow hash, as long as this process
// lives: after a restart a crowd comes back at once, and each room's code is
// hashed once and not for each of them.
func (r *roomLocks) fingerprint(topic, code string) (f [32]byte) {
	m := hmac.New(sha256.New, r.salt[:])
	m.Write([]byte(topic + "\x00" + tidyCode(code)))
	m.Sum(f[:0])
	return f
}

// make hashes a code into a new lock.
func (r *roomLocks) make(ctx context.Context, topic, code string) (*roomLock, error) {
	if err := checkCode(code); err != nil {
		return nil, err
	}
	leave, err := r.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	hash, err := bcrypt.GenerateFromPassword(stretchCode(code), bcryptCost)
	if err != nil {
		return nil, err
	}
	lock, f := &roomLock{hash: hash}, r.fingerprint(topic, code)
	lock.known.Store(&f)
	return lock, nil
}

func (r *roomLocks) turn(ctx context.Context) (leave func(), err error) {
	select {
	case r.slow <- struct{}{}:
		return func() { <-r.slow }, nil
	case <-ctx.Done():
		return nil, goingAway(0)
	}
}

// check refuses a code that does not open the lock. Who has tried too often is
// refused without a look.
func (r *roomLocks) check(ctx context.Context, lock *roomLock, topic, code string, from netip.Prefix) error {
	if utf8.RuneCountInString(code) > 4*MaxRoomCode { // not worth a hash
		return r.verdict(topic, from, func() bool { return false })
	}
	f := r.fingerprint(topic, code)
	if known := lock.known.Load(); known != nil {
		return r.verdict(topic, from, func() bool { return hmac.Equal(f[:], known[:]) })
	}
	if err := r.limited(topic, from); err != nil { // nor waits in the queue
		return err
	}
	leave, err := r.turn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if known := lock.known.Load(); known != nil { // somebody else was first
		return r.verdict(topic, from, func() bool { return hmac.Equal(f[:], known[:]) })
	}
	if err := r.limited(topic, from); err != nil {
		return err
	}
	right := bcrypt.CompareHashAndPassword(lock.hash, stretchCode(code)) == nil
	if right {
		lock.known.Store(&f)
	}
	return r.verdict(topic, from, func() bool { return right })
}

// verdict refuses what is wrong and counts it. Looking, comparing and counting
// are one: of many guesses at once no more are answered than one after another.
func (r *roomLocks) verdict(topic string, from netip.Prefix, right func() bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.limited(topic, from); err != nil {
		return err
	}
	if right() {
		return nil
	}
	r.addrs.Take(from)
	r.rooms.Take(topic)
	return Errorf(CodeBadCode, "this is not the code of the room; ask who gave it to you")
}

// limited refuses who has tried too often.
func (r *roomLocks) limited(topic string, from netip.Prefix) error {
	if wait := max(r.addrs.Wait(from), r.rooms.Wait(topic)); wait > 0 {
		return tooOften(wait, "too many wrong codes; try again in %d s", int(wait.Seconds())+1)
	}
	return nil
}
