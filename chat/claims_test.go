package chat_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"teahouse/chat"
	"teahouse/chat/storetest"
	"teahouse/chat/wire"
)

const (
	aliceSecret = `"secret":"alice-secret-0123456789"`
	otherSecret = `"secret":"other-secret-0123456789"`
)

// claims says hello with a secret and returns whether the name is claimed.
func (h *house) claims(user, secret string) (*guest, bool) {
	h.t.Helper()
	g, w := h.hello(user, secret)
	if w.Claimed == nil {
		h.t.Fatalf("a hello with a secret is not told whether the name is claimed: %+v", w)
	}
	return g, *w.Claimed
}

func (h *house) claimed(user, secret string) *guest {
	h.t.Helper()
	g, yes := h.claims(user, secret)
	if !yes {
		h.t.Fatalf("%s is not claimed", user)
	}
	return g
}

// refusedName says hello and wants to be refused because of the name.
func (h *house) refusedName(user, extra string) {
	h.t.Helper()
	h.refused(chat.CodeNameTaken, user, extra)
}

func (h *house) refused(code chat.Code, user, extra string) {
	h.t.Helper()
	g := h.connect()
	if extra != "" {
		extra = "," + extra
	}
	g.say(`{"op":"hello","id":1,"user":%q%s}`, user, extra)
	if _, _, err := g.conn.NextReader(); err == nil { // what else it could be is a welcome
		h.t.Fatalf("%s is let in", user)
	}
	if got := g.wantClose(); got.Code != code.Verdict().Close || got.Text == "" || strings.Contains(got.Text, "secret-0") {
		h.t.Errorf("%s is closed with %d %q, want %s", user, got.Code, got.Text, code)
	}
}

// clock is a clock that a test moves.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) now() time.Time        { return time.UnixMilli(c.ms.Load()) }
func (c *clock) pass(by time.Duration) { c.ms.Add(by.Milliseconds()) }

// TestClaim: a name belongs to who has its secret, with all its look-alikes;
// names that nobody claimed are free for all.
func TestClaim(t *testing.T) {
	t.Parallel()
	h := doorsHouse(t, houseOptions{})
	if _, w := h.hello("bob", ""); w.Claimed != nil {
		t.Error("who gave no secret is told of claims")
	}
	_, w := h.hello("bob", "") // any number of them
	if w.User != "bob" {
		t.Errorf("got %+v", w)
	}
	a := h.claimed("Alice", aliceSecret)
	h.claimed("Alice", aliceSecret) // another device
	h.claimed("alice", aliceSecret) // written otherwise
	for _, name := range []string{"Alice", "alice", "ＡＬＩＣＥ", "Ali\u200dce"} {
		h.refusedName(name, "")
		h.refusedName(name, otherSecret)
	}
	h.claimed("Alic", otherSecret)
	a.hush() // nobody was put out

	h.refused(chat.CodeBadFrame, "carol", `"secret":"fifteen chars.."`)
	h.refused(chat.CodeBadFrame, "carol", `"secret":"`+strings.Repeat("x", 129)+`"`)
	h.claimed("carol", `"secret":"`+strings.Repeat("茶", 128)+`"`)
	if _, w := h.hello("", aliceSecret); w.Claimed != nil || !strings.HasPrefix(w.User, "guest-") {
		t.Errorf("a guest with a secret: %+v", w)
	}

	// A name that somebody uses without a secret is not taken away.
	h.refusedName("BOB", otherSecret)
}

// TestClaimNotYours: where names are proved, secrets count nothing.
func TestClaimNotYours(t *testing.T) {
	t.Parallel()
	doors := &storetest.Doors{}
	open := doorsHouse(t, houseOptions{hub: chat.HubOptions{Doors: doors}})
	_ = open.claimed("alice", aliceSecret).conn.Close()
	open.stop()
	h := doorsHouse(t, houseOptions{hub: chat.HubOptions{Doors: doors}, auth: func(_ context.Context, user, _ string) (chat.Identity, error) {
		return chat.Identity{User: user}, nil
	}})
	for _, secret := range []string{"", otherSecret, `"secret":"short"`} {
		if _, w := h.hello("alice", secret); w.Claimed != nil {
			t.Errorf("%s: %+v", secret, w)
		}
	}
	if got := doors.Writes(); got != 1 {
		t.Errorf("%d writes", got)
	}
}

// TestClaimKept: a claim holds over restarts and for 30 days after its last
// use; who stays connected uses it.
func TestClaimKept(t *testing.T) {
	t.Parallel()
	clock, doors := newClock(), &storetest.Doors{}
	house := func() *house {
		return doorsHouse(t, houseOptions{hub: chat.HubOptions{Doors: doors, Now: clock.now, CloseWait: time.Millisecond}})
	}
	h := house()
	_ = h.claimed("alice", aliceSecret).conn.Close()
	h.stop()
	clock.pass(29 * 24 * time.Hour)
	h = house()
	h.refusedName("alice", otherSecret)
	_ = h.claimed("alice", aliceSecret).conn.Close()
	clock.pass(29 * 24 * time.Hour)
	h.refusedName("alice", "")
	if err := h.hub.NoteClaims(t.Context()); err != nil { // what it does each hour
		t.Fatal(err)
	}
	stays := h.claimed("alice", aliceSecret)
	if err := h.hub.NoteClaims(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock.pass(40 * 24 * time.Hour)
	if err := h.hub.NoteClaims(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.refusedName("alice", otherSecret)
	_ = stays.conn.Close()
	h.stop()

	h = house() // the use was written down
	h.refusedName("alice", otherSecret)
	clock.pass(30 * 24 * time.Hour)
	if err := h.hub.NoteClaims(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := doors.Claims(t.Context()); len(got) != 0 {
		t.Errorf("still kept: %+v", got)
	}
	_ = h.claimed("alice", otherSecret).conn.Close()
	h.refusedName("alice", aliceSecret)

	// A clock that runs backwards takes nothing away.
	clock.pass(-365 * 24 * time.Hour)
	_ = h.claimed("alice", otherSecret).conn.Close()
	if err := h.hub.NoteClaims(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock.pass(366 * 24 * time.Hour)
	h.refusedName("alice", aliceSecret)
}

// TestClaimFreed: the operator can end a claim, by any way to write the name.
func TestClaimFreed(t *testing.T) {
	t.Parallel()
	doors := &storetest.Doors{}
	h := doorsHouse(t, houseOptions{hub: chat.HubOptions{Doors: doors, CloseWait: time.Millisecond}})
	_ = h.claimed("Alice", aliceSecret).conn.Close()
	for _, had := range []bool{true, false} {
		if got, err := h.hub.FreeName(t.Context(), "ALICE"); got != had || err != nil {
			t.Errorf("FreeName: %v, %v; want %v", got, err, had)
		}
	}
	h.stop()
	h = doorsHouse(t, houseOptions{hub: chat.HubOptions{Doors: doors}})
	h.hello("alice", "")
}

// TestClaimBounded: one address cannot claim all names; who comes after that
// is let in without.
func TestClaimBounded(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := doorsHouse(t, houseOptions{hub: chat.HubOptions{Now: clock.now}})
	n := 0
	for ; n < 100; n++ {
		g, yes := h.claims(fmt.Sprint("name", n), aliceSecret)
		_ = g.conn.Close()
		if !yes {
			break
		}
	}
	if n < 10 || n > 60 {
		t.Errorf("%d names were claimed at once", n)
	}
	last := fmt.Sprint("name", n)
	h.hello(last, "") // it is free
	h.refusedName("name0", "")
	clock.pass(time.Hour)
	again := 0
	for ; again < 100; again++ {
		g, yes := h.claims(fmt.Sprint("later", again), aliceSecret)
		_ = g.conn.Close()
		if !yes {
			break
		}
	}
	if again == 0 || again > 60 {
		t.Errorf("%d more an hour later", again)
	}
	// Who is not claimed comes back to a connection of its own that is not
	// known to be dead yet.
	g, _ := h.claims("later-still", otherSecret)
	h.claims("later-still", otherSecret)
	g.hush()
}

// TestClaimAtOnce: of two that claim a name at the same moment one gets it.
func TestClaimAtOnce(t *testing.T) {
	t.Parallel()
	h := doorsHouse(t, houseOptions{})
	for round := range 10 {
		var in, out atomic.Int32
		var wg sync.WaitGroup
		var guests []*guest
		for range 6 {
			guests = append(guests, h.connect())
		}
		for i, g := range guests {
			wg.Go(func() {
				g.say(`{"op":"hello","user":"name%d","secret":"secret-of-the-guest-%d"}`, round, i)
				if f, err := g.next(); err != nil {
					out.Add(1)
				} else if f.Claimed != nil && *f.Claimed {
					in.Add(1)
				}
			})
		}
		wg.Wait()
		if in.Load() != 1 || out.Load() != 5 {
			t.Errorf("%d have the name, %d were refused", in.Load(), out.Load())
		}
	}
}

// TestClaimNotStored: what cannot be kept is not promised, and nobody is kept
// out by it.
func TestClaimNotStored(t *testing.T) {
	t.Parallel()
	doors := &storetest.Doors{}
	h := doorsHouse(t, houseOptions{hub: chat.HubOptions{Doors: doors}})
	doors.SetFail(chat.Errorf(chat.CodeStorageFull, "the disk is full"))
	g, yes := h.claims("alice", aliceSecret)
	if yes {
		t.Error("it is said to be claimed")
	}
	_ = g.conn.Close()
	if _, err := h.hub.FreeName(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	doors.SetFail(nil)
	h.claimed("alice", aliceSecret)
	doors.SetFail(chat.Errorf(chat.CodeStorageFull, "the disk is full"))
	if _, err := h.hub.FreeName(t.Context(), "alice"); chat.CodeOf(err) != chat.CodeStorageFull {
		t.Error(err)
	}
	h.refusedName("alice", otherSecret)
}

// TestClaimGuessed: wrong secrets are limited, too.
func TestClaimGuessed(t *testing.T) {
	t.Parallel()
	clock := newClock()
	h := doorsHouse(t, houseOptions{hub: chat.HubOptions{Now: clock.now}})
	h.claimed("alice", aliceSecret)
	for range 20 {
		h.refusedName("alice", otherSecret)
	}
	h.refused(chat.CodeRateLimited, "alice", otherSecret)
	h.refused(chat.CodeRateLimited, "alice", aliceSecret)
	clock.pass(10 * time.Second)
	h.claimed("alice", aliceSecret)
}

// TestClaimOldClients: a client that can show no secret keeps its name from
// being claimed, now and for a month; a claimed name it cannot have.
func TestClaimOldClients(t *testing.T) {
	t.Parallel()
	open := func(hs chat.Handshake) chat.Opening {
		if hs.Query.Get("user") == "" {
			return chat.Opening{Dialect: wire.Native{}}
		}
		o := plainOpening(hs)
		o.Rules.Secretless = true
		return o
	}
	clock, store := newClock(), storetest.NewMemory(nil)
	h := doorsHouse(t, houseOptions{open: open, store: store, hub: chat.HubOptions{Now: clock.now, CloseWait: time.Millisecond}})
	clock.ms.Store(time.Now().UnixMilli()) // sessions have the real time
	seen := func(user string) {
		eventually(t, func() bool {
			list, err := h.hub.Sessions(t.Context(), chat.SessionQuery{User: user, Online: true})
			return err == nil && len(list) == 1
		})
	}
	old := h.call("user=old")
	seen("old")
	g, yes := h.claims("OLD", aliceSecret)
	if yes {
		t.Error("a name in use by an old client is claimed")
	}
	_ = g.conn.Close()
	old.leaves(1000)
	eventually(t, func() bool {
		list, err := store.Sessions(t.Context(), chat.SessionQuery{User: "old"})
		return err == nil && len(list) == 1 && list[0].Ended > 0
	})
	if g, yes = h.claims("old", aliceSecret); yes {
		t.Error("a name that an old client used lately is claimed")
	}
	_ = g.conn.Close()
	h.call("user=old").leaves(1000)

	h.claimed("New", aliceSecret)
	if got, want := h.call("user=New").code(), chat.CodeNameTaken.Verdict().Close; got != want {
		t.Errorf("an old client with a claimed name is closed with %d, want %d", got, want)
	}
	alike := h.call("user=new") // another user, who looks like that one
	seen("new")
	alike.leaves(1000)
}

// eventually waits until ok holds.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
