package chat

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Bounds of a secret, in characters. It is made by a program and not thought
// out by a person: 16 random characters cannot be guessed.
const (
	MinSecret = 16
	MaxSecret = 128
)

// ClaimKept is how long a claim holds after it was last used.
const ClaimKept = 30 * 24 * time.Hour

// ClaimNoted is how often it is written down which claims are in use.
const ClaimNoted = time.Hour

// Names that one address may claim, some at once and then one in a while; wrong
// secrets of one address; and how many claims there may be.
const (
	claimBurst  = 30
	claimEvery  = 2 * time.Minute
	secretBurst = 20
	secretEvery = 10 * time.Second
	maxClaims   = 50_000
)

// claimed are the names that belong to somebody.
type claimed struct {
	now  func() time.Time
	salt [32]byte // of this process

	mu    sync.Mutex // a leaf
	all   map[string]*Claim
	used  map[string]bool // by Fold: used since that was last written down
	made  *Tries[netip.Prefix]
	wrong *Tries[netip.Prefix]
}

func (d *claimed) init(now func() time.Time) {
	_, _ = rand.Read(d.salt[:]) // never fails
	d.now = now
	d.all, d.used = make(map[string]*Claim), make(map[string]bool)
	d.made = NewTries[netip.Prefix](now, claimBurst, claimEvery)
	d.wrong = NewTries[netip.Prefix](now, secretBurst, secretEvery)
}

func (d *claimed) load(claims []Claim) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range claims {
		d.all[c.Fold] = &c
	}
}

// FoldName returns what all names have in common that are taken for the same:
// those that differ by case, by the width or style of their letters, by
// invisible characters or by how many spaces stand between words. Letters of
// different scripts that look alike are not the same.
func FoldName(name string) string {
	name = strings.Map(func(r rune) rune {
		if joiner(r) {
			return -1
		}
		return r
	}, norm.NFKC.String(name))
	name = norm.NFKC.String(cases.Fold().String(name))
	return strings.Join(strings.Fields(name), " ")
}

// hashSecret is what is kept of a secret. A fast hash is enough: a secret is
// random and not a password, and each client that comes back shows it.
func hashSecret(salt []byte, secret string) []byte {
	h := sha256.New()
	h.Write(salt)
	h.Write([]byte("teahouse name\x00" + secret))
	return h.Sum(nil)
}

// shown recognises a secret as long as this process lives, also one that no
// claim was made with.
func (d *claimed) shown(secret string) *[32]byte {
	var sum [32]byte
	m := hmac.New(sha256.New, d.salt[:])
	m.Write([]byte(secret))
	m.Sum(sum[:0])
	return &sum
}

// find returns the claim of a name that still holds. The caller holds mu.
func (d *claimed) find(fold string) *Claim {
	c := d.all[fold]
	if c == nil || d.now().UnixMilli()-c.UsedAt >= ClaimKept.Milliseconds() {
		return nil
	}
	return c
}

// use notes that a claim is in use. The caller holds mu.
func (d *claimed) use(c *Claim) {
	// Never back: the clock of a small computer may be years behind at first.
	c.UsedAt = max(c.UsedAt, d.now().UnixMilli())
	d.used[c.Fold] = true
}

// checkSecret refuses what cannot be a secret.
func checkSecret(secret string) error {
	if n := utf8.RuneCountInString(secret); n < MinSecret || n > MaxSecret {
		return Errorf(CodeBadFrame, "the secret has %d characters; it needs %d to %d random ones", n, MinSecret, MaxSecret)
	}
	return nil
}

// nameTaken tells a client that it cannot have a name.
func nameTaken(name string) error {
	return Errorf(CodeNameTaken, "the name %.64q belongs to somebody else here; choose another one", name)
}

// bear decides whether a client may have the name that it gave itself, and
// claims the name for its secret.
func (c *Client) bear(who *Identity, secret string) error {
	d := &c.hub.doors.claims
	if c.hub.doors.store == nil || !who.SelfNamed {
		return nil
	}
	fold := FoldName(who.User)
	if secret == "" {
		d.mu.Lock()
		defer d.mu.Unlock()
		if claim := d.find(fold); claim != nil && (claim.Name == who.User || !c.rules().Secretless) {
			return nameTaken(who.User)
		}
		return nil
	}
	if err := checkSecret(secret); err != nil {
		return err
	}
	who.secret = d.shown(secret)
	right, err := d.show(fold, who.User, secret, Network(c.addr))
	if right || err != nil {
		who.owns = right
		return err
	}
	who.owns, err = c.claim(who, fold, secret)
	return err
}

// show shows the secret of a name that is claimed; right is false without an
// error where the name is free.
func (d *claimed) show(fold, name, secret string, from netip.Prefix) (right bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	claim := d.find(fold)
	if claim == nil {
		return false, nil
	}
	if wait := d.wrong.Wait(from); wait > 0 {
		return false, tooOften(wait, "too many wrong secrets from this address; try again in %d s", int(wait.Seconds())+1)
	}
	if !hmac.Equal(claim.Hash, hashSecret(claim.Salt, secret)) {
		d.wrong.Take(from)
		return false, nameTaken(name)
	}
	d.use(claim)
	return true, nil
}

// claim claims a free name. Where that cannot be, because older clients use
// the name or too many were claimed, the client may come in without: made is
// false, and the name stays free for all.
func (c *Client) claim(who *Identity, fold, secret string) (made bool, err error) {
	h, d := c.hub, &c.hub.doors.claims
	switch use, err := h.used(c, who, fold); {
	case err != nil:
		return false, err
	case use == usedBySomebody:
		return false, Errorf(CodeNameTaken, "somebody is here as %.64q and has not shown a secret; choose another name, or end that connection first", who.User)
	case use == usedSecretless:
		return false, nil
	}
	if err := h.commands.enter(); err != nil {
		return false, err
	}
	defer h.commands.leave()
	now := d.now().UnixMilli()
	claim := &Claim{Fold: fold, Name: who.User, Salt: make([]byte, 16), MadeAt: now, UsedAt: now}
	_, _ = rand.Read(claim.Salt) // never fails
	claim.Hash = hashSecret(claim.Salt, secret)
	d.mu.Lock()
	if other := d.find(fold); other != nil { // at this very moment
		right := hmac.Equal(other.Hash, hashSecret(other.Salt, secret))
		d.mu.Unlock()
		if !right {
			return false, nameTaken(who.User)
		}
		return true, nil
	}
	if len(d.all) >= maxClaims || d.made.Take(Network(c.addr)) > 0 {
		d.mu.Unlock()
		h.log.Warn("a name was not claimed: too many were", "addr", c.addr)
		return false, nil
	}
	d.all[fold] = claim // so that of two at once one is refused
	kept := *claim
	d.mu.Unlock()
	if err := h.doors.store.PutClaim(h.ctx, kept); err != nil {
		d.mu.Lock()
		if d.all[fold] == claim {
			delete(d.all, fold)
		}
		d.mu.Unlock()
		h.log.Error("a claimed name was not kept", "err", err)
		return false, nil
	}
	return true, nil
}

// How a free name is used that somebody wants to claim.
type use int

const (
	unused         use = iota
	usedSecretless     // by a client that cannot show a secret, now or lately
	usedBySomebody     // by a connection that could, and did not, or showed another one
)

// used says who uses a name that is not claimed, besides who has the same
// secret.
func (h *Hub) used(c *Client, who *Identity, fold string) (found use, err error) {
	h.mu.RLock()
	for user, clients := range h.byUser {
		if FoldName(user) != fold {
			continue
		}
		for _, x := range clients {
			switch {
			case x.link == c.link, x.secret != nil && *x.secret == *who.secret:
			case x.rules().Secretless:
				found = max(found, usedSecretless)
			default:
				found = usedBySomebody
			}
		}
	}
	h.mu.RUnlock()
	if found != unused {
		return found, nil
	}
	sessions, err := h.store.Sessions(h.ctx, SessionQuery{User: who.User, Since: h.opts.Now().Add(-ClaimKept)})
	if err != nil {
		return unused, h.logged(err)
	}
	if slices.ContainsFunc(sessions, func(s Session) bool { return s.Dialect != c.protocol }) {
		return usedSecretless, nil
	}
	return unused, nil
}

// FreeName ends the claim of a name, and of its look-alikes; false if there is
// none. Who has the secret and is still here, or comes first, can claim it
// again.
func (h *Hub) FreeName(ctx context.Context, name string) (bool, error) {
	if h.doors.store == nil {
		return false, errNoDoors()
	}
	d, fold := &h.doors.claims, FoldName(name)
	d.mu.Lock()
	claim := d.all[fold]
	d.mu.Unlock()
	if claim == nil {
		return false, nil
	}
	if err := h.doors.store.DropClaims(ctx, math.MaxInt64, fold); err != nil {
		return false, h.logged(err)
	}
	d.mu.Lock()
	if d.all[fold] == claim {
		delete(d.all, fold)
	}
	d.mu.Unlock()
	h.log.Info("a name is free again", "name", claim.Name)
	return true, nil
}

// Claims lists the names that are claimed, the last used first and at most limit
// of them, without what recognises their secrets; with a name only the claim of
// it or of a look-alike. A claim that is in use was used at most ClaimNoted ago.
func (h *Hub) Claims(name string, limit int) ([]Claim, error) {
	if h.doors.store == nil {
		return nil, errNoDoors()
	}
	d, only := &h.doors.claims, FoldName(name)
	var list []Claim
	d.mu.Lock()
	for fold := range d.all {
		if c := d.find(fold); c != nil && (name == "" || fold == only) {
			list = append(list, Claim{Fold: fold, Name: c.Name, MadeAt: c.MadeAt, UsedAt: c.UsedAt})
		}
	}
	d.mu.Unlock()
	slices.SortFunc(list, func(a, b Claim) int {
		return cmp.Or(cmp.Compare(b.UsedAt, a.UsedAt), cmp.Compare(a.Fold, b.Fold))
	})
	return list[:min(len(list), limit)], nil
}

// tend writes down now and then which claims are in use, and forgets those
// that have not been for too long.
func (d *doors) tend(ctx context.Context) {
	if d.store == nil {
		return
	}
	t := time.NewTicker(ClaimNoted)
	defer t.Stop()
	for {
		if err := d.noteClaims(ctx); err != nil && ctx.Err() == nil {
			d.hub.log.Error("the use of claimed names was not written down", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// claimBatch is how many claims go into one transaction; more would make chat
// lines wait behind it.
const claimBatch = 200

func (d *doors) noteClaims(ctx context.Context) error {
	d.hub.mu.RLock()
	var here []string
	for _, c := range d.hub.clients {
		if c.owns {
			here = append(here, c.user)
		}
	}
	d.hub.mu.RUnlock()
	n := &d.claims
	n.mu.Lock()
	for _, name := range here {
		if claim := n.all[FoldName(name)]; claim != nil {
			n.use(claim)
		}
	}
	var used, over []string
	for fold := range n.used {
		used = append(used, fold)
	}
	clear(n.used)
	for fold := range n.all {
		if n.find(fold) == nil {
			over = append(over, fold)
			delete(n.all, fold)
		}
	}
	at := n.now().UnixMilli()
	until := at - ClaimKept.Milliseconds() // so that one that is made meanwhile stays
	n.mu.Unlock()
	for batch := range slices.Chunk(used, claimBatch) {
		if err := d.store.UseClaims(ctx, at, batch...); err != nil {
			return err
		}
	}
	for batch := range slices.Chunk(over, claimBatch) {
		if err := d.store.DropClaims(ctx, until, batch...); err != nil {
			return err
		}
	}
	return nil
}
