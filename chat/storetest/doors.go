package storetest

import (
	"context"
	"reflect"
	"testing"

	"teahouse/chat"
)

// RunDoors holds a chat.Doors to its contract. open makes a new, empty one;
// reopen ends it as a stop of the program does and opens it again.
func RunDoors(t *testing.T, open func(t *testing.T) (d chat.Doors, reopen func() chat.Doors)) {
	t.Run("RoomCodes", func(t *testing.T) {
		t.Parallel()
		d, reopen := open(t)
		ctx := t.Context()
		holds := func(want ...chat.RoomCode) {
			t.Helper()
			got, err := d.RoomCodes(ctx)
			if err != nil || len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v, %v; want %+v", got, err, want)
			}
		}
		holds()
		a := chat.RoomCode{Topic: "room:a", Hash: []byte("\x00one"), SetBy: "ann", SetAt: 1}
		b := chat.RoomCode{Topic: "room:茶室 '\"", Hash: []byte("two"), SetAt: 2}
		done(t, d.PutRoomCode(ctx, b), d.PutRoomCode(ctx, a))
		holds(a, b)
		a.Hash, a.SetBy, a.SetAt = []byte("three"), "", 3
		done(t, d.PutRoomCode(ctx, a))
		d = reopen()
		holds(a, b)
		done(t, d.DropRoomCode(ctx, "room:b"), d.DropRoomCode(ctx, b.Topic), d.DropRoomCode(ctx, b.Topic))
		holds(a)
		d = reopen()
		holds(a)
		ended(t, func(ctx context.Context) error { return d.PutRoomCode(ctx, b) })
		holds(a)
	})
	t.Run("Claims", func(t *testing.T) {
		t.Parallel()
		d, reopen := open(t)
		ctx := t.Context()
		holds := func(want ...chat.Claim) {
			t.Helper()
			got, err := d.Claims(ctx)
			if err != nil || len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v, %v; want %+v", got, err, want)
			}
		}
		holds()
		a := chat.Claim{Fold: "alice", Name: "Alice", Salt: []byte{0, 1}, Hash: []byte("h"), MadeAt: 5, UsedAt: 6}
		b := chat.Claim{Fold: "爱丽丝", Name: "爱丽丝", Salt: []byte{2}, Hash: []byte("g"), MadeAt: 7, UsedAt: 8}
		done(t, d.PutClaim(ctx, b), d.PutClaim(ctx, a))
		holds(a, b)
		a.Name, a.Salt, a.Hash, a.MadeAt, a.UsedAt = "ALICE", []byte{9}, []byte("i"), 10, 11
		done(t, d.PutClaim(ctx, a), d.UseClaims(ctx, 20, "爱丽丝", "nobody"), d.UseClaims(ctx, 3, "alice"))
		b.UsedAt = 20
		d = reopen()
		holds(a, b)
		done(t, d.DropClaims(ctx, 19, "alice", "爱丽丝", "nobody"))
		holds(b)
		done(t, d.DropClaims(ctx, 20, "爱丽丝"), d.UseClaims(ctx, 30), d.DropClaims(ctx, 30))
		holds()
		ended(t, func(ctx context.Context) error { return d.PutClaim(ctx, a) })
		d = reopen()
		holds()
	})
}

func done(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// ended checks that a write whose context has ended is not done.
func ended(t *testing.T, write func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := write(ctx); err == nil {
		t.Fatal("a write was done for nobody")
	}
}
