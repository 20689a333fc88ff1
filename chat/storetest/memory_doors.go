package storetest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"teahouse/chat"
)

// Doors is a chat.Doors that forgets. The zero value is empty. It passes
// RunDoors.
type Doors struct {
	mu     sync.Mutex
	codes  map[string]chat.RoomCode
	claims map[string]chat.Claim
	fail   error
	writes int
}

var _ chat.Doors = (*Doors)(nil)

// SetFail makes every write fail with err, until it is nil again.
func (d *Doors) SetFail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

// Writes says how many writes there were.
func (d *Doors) Writes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// write is what all writes have in common.
func (d *Doors) write(ctx context.Context, do func()) error {
	if err := gaveUp(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes++
	if d.fail != nil {
		return d.fail
	}
	if d.codes == nil {
		d.codes, d.claims = make(map[string]chat.RoomCode), make(map[string]chat.Claim)
	}
	do()
	return nil
}

// RoomCodes implements chat.Doors.
func (d *Doors) RoomCodes(context.Context) ([]chat.RoomCode, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.SortedFunc(maps.Values(d.codes), func(a, b chat.RoomCode) int { return cmp.Compare(a.Topic, b.Topic) }), nil
}

// PutRoomCode implements chat.Doors.
func (d *Doors) PutRoomCode(ctx context.Context, r chat.RoomCode) error {
	return d.write(ctx, func() { d.codes[r.Topic] = r })
}

// DropRoomCode implements chat.Doors.
func (d *Doors) DropRoomCode(ctx context.Context, topic string) error {
	return d.write(ctx, func() { delete(d.codes, topic) })
}

// Claims implements chat.Doors.
func (d *Doors) Claims(context.Context) ([]chat.Claim, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.SortedFunc(maps.Values(d.claims), func(a, b chat.Claim) int { return cmp.Compare(a.Fold, b.Fold) }), nil
}

// PutClaim implements chat.Doors.
func (d *Doors) PutClaim(ctx context.Context, c chat.Claim) error {
	return d.write(ctx, func() { d.claims[c.Fold] = c })
}

// UseClaims implements chat.Doors.
func (d *Doors) UseClaims(ctx context.Context, at int64, folds ...string) error {
	return d.write(ctx, func() {
		for _, fold := range folds {
			if c, ok := d.claims[fold]; ok {
				c.UsedAt = max(c.UsedAt, at)
				d.claims[fold] = c
			}
		}
	})
}

// DropClaims implements chat.Doors.
func (d *Doors) DropClaims(ctx context.Context, until int64, folds ...string) error {
	return d.write(ctx, func() {
		for _, fold := range folds {
			if d.claims[fold].UsedAt <= until {
				delete(d.claims, fold)
			}
		}
	})
}
