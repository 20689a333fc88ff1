package chat

import (
	"context"
	"sync"
	"time"
)

// RoomCode is what is kept of a room with a code: never the code itself, only
// what recognises it.
type RoomCode struct {
	Topic string
	Hash  []byte // see hashCode
	SetBy string // the user who set it, "" for the operator
	SetAt int64  // ms since 1970 UTC
}

// Claim is a name that belongs to whoever has a secret: only what recognises
// that is kept.
type Claim struct {
	Fold   string // what all look-alikes of the name have in common; the key
	Name   string // as it was claimed
	Salt   []byte
	Hash   []byte // see hashSecret
	MadeAt int64  // ms since 1970 UTC
	UsedAt int64  // ms since 1970 UTC, exact to ClaimNoted
}

// Doors keeps which rooms have a code and which names are claimed. It is a
// capability that a Store may have besides: the hub reads all of it when it
// starts, and from then on only writes. A method that returns without an error
// has made what it did durable.
type Doors interface {
	// RoomCodes lists all rooms with a code, by Topic.
	RoomCodes(ctx context.Context) ([]RoomCode, error)
	// PutRoomCode keeps the code of a room, in place of an older one.
	PutRoomCode(ctx context.Context, r RoomCode) error
	// DropRoomCode forgets the code of a room, if it has one.
	DropRoomCode(ctx context.Context, topic string) error

	// Claims lists all claimed names, by Fold.
	Claims(ctx context.Context) ([]Claim, error)
	// PutClaim keeps a claim, in place of an older one of the same Fold.
	PutClaim(ctx context.Context, c Claim) error
	// UseClaims notes that claims were used at a time, unless they were later;
	// those that are not there are left out.
	UseClaims(ctx context.Context, at int64, folds ...string) error
	// DropClaims forgets those of the claims that were last used at or before
	// the time until.
	DropClaims(ctx context.Context, until int64, folds ...string) error
}

// doors is the hub's side of Doors.
type doors struct {
	hub   *Hub
	store Doors // nil: no room has a code, and no name belongs to anybody

	rooms    roomLocks
	claims   claimed
	changing sync.Mutex // held while a code is set, over the store's write; before hub.mu
}

// errNoDoors is told where the store cannot keep codes and claims.
func errNoDoors() error {
	return Errorf(CodeForbidden, "this server keeps neither codes of rooms nor names")
}

func (d *doors) init(h *Hub) {
	d.hub, d.store = h, h.opts.Doors
	d.rooms.init(h.opts.Now)
	d.claims.init(h.opts.Now)
}

// load reads what is kept.
func (d *doors) load(ctx context.Context) error {
	if d.store == nil {
		return nil
	}
	codes, err := d.store.RoomCodes(ctx)
	if err != nil {
		return err
	}
	names, err := d.store.Claims(ctx)
	if err != nil {
		return err
	}
	d.rooms.load(codes)
	d.claims.load(names)
	return nil
}

// tooOften refuses for so long.
func tooOften(wait time.Duration, format string, args ...any) error {
	e := Errorf(CodeRateLimited, format, args...)
	e.Retry = wait
	return e
}
