package chat

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// PassMode says what the rotating pass of a voucher is for.
type PassMode string

// A pass is a one-time number that the owner's device shows beside the code,
// so that a picture of the screen is soon worth nothing.
const (
	PassOptional PassMode = "optional" // a plain code does, but a pass that is given must be right
	PassRequired PassMode = "required" // a plain code does not
	PassOff      PassMode = "off"      // nobody gets a secret, and a pass is not looked at
)

// The numbers of RFC 6238: HMAC-SHA1, T0 = 0, and these. They are what
// authenticator apps and libraries in all languages take by default.
const (
	PassStep   = 30 * time.Second // one pass lasts so long
	passDigits = 6
	passRange  = 1_000_000
	passSkew   = 1 // steps before and after in which a pass still counts
	passBytes  = 20
)

// PassReach is how far from its time a pass is looked for, so that it can be
// said by how much a clock is wrong: any time zone taken for another is in it.
const PassReach = 14 * time.Hour

// ScanLife is how old a scan may be that comes with its own time: as long as
// staff stay signed in.
const ScanLife = 12 * time.Hour

// PassOptions is what Passes are made of.
type PassOptions struct {
	Mode  PassMode         // "": PassOptional
	Key   []byte           // of the house, from which all secrets come; nil: made now, and gone at the end
	Clock func() time.Time // the wall clock; nil: time.Now
}

// Passes makes and checks rotating passes. A voucher's secret is not kept but
// derived from the house's key and the voucher's code (RFC 6238, R5 and R6,
// allow for it): vouchers of any age have one, nothing is written for it, and
// a backup holds what is needed as it holds the key.
type Passes struct {
	mode  PassMode
	key   []byte
	clock clockWatch
}

// NewPasses returns the Passes of a house.
func NewPasses(o PassOptions) *Passes {
	p := &Passes{mode: cmp.Or(o.Mode, PassOptional), key: o.Key}
	if len(p.key) == 0 {
		p.key = make([]byte, 32)
		_, _ = rand.Read(p.key) // never fails
	}
	p.clock.init(o.Clock)
	return p
}

// secret is the voucher's own secret.
func (p *Passes) secret(code string) []byte {
	m := hmac.New(sha256.New, p.key)
	m.Write([]byte("teahouse voucher pass\x00"))
	m.Write([]byte(code))
	return m.Sum(nil)[:passBytes]
}

var passEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// Secret is the voucher's secret in base32, as its owner's device is told it;
// "" where there is nothing to show.
func (p *Passes) Secret(v Voucher) string {
	if p.mode == PassOff || v.Status != VoucherIssued {
		return ""
	}
	return passEncoding.EncodeToString(p.secret(v.Code))
}

// PassAt is the pass that a secret in base32 makes at a time, as the owner's
// page shows it.
func PassAt(secret string, at time.Time) (string, error) {
	key, err := passEncoding.DecodeString(strings.TrimRight(strings.ToUpper(secret), "="))
	if err != nil {
		return "", fmt.Errorf("the secret of a pass is base32: %w", err)
	}
	return fmt.Sprintf("%0*d", passDigits, passNumbers(key)(at.UnixMilli()/PassStep.Milliseconds())), nil
}

// passNumbers makes the passes of a secret, by their steps (RFC 4226, section
// 5.3, over RFC 6238's counter). A library would be ten times as long as this,
// and none searches a stretch of steps with one key.
func passNumbers(secret []byte) func(step int64) uint32 {
	m := hmac.New(sha1.New, secret)
	var sum [sha1.Size]byte
	var counter [8]byte
	return func(step int64) uint32 {
		binary.BigEndian.PutUint64(counter[:], uint64(step))
		m.Reset()
		m.Write(counter[:])
		s := m.Sum(sum[:0])
		return binary.BigEndian.Uint32(s[s[len(s)-1]&15:]) & 0x7fffffff % passRange
	}
}

// PassMiss says what was wrong with a pass.
type PassMiss struct {
	// Off is how far the pass's own time is from the one at which it was
	// shown, to a step; below 0 it is from the past. Only if Known.
	Off   time.Duration
	Known bool  // it is one of this voucher's, within PassReach
	Clock bool  // a clock must be wrong
	Used  bool  // it was right, but it has redeemed the voucher before
	Now   int64 // the server's clock, ms since 1970 UTC
}

// Guess reports that the pass may be a try to guess it.
func (m *PassMiss) Guess() bool { return !m.Known && !m.Used }

// Read reads a code as ParseVoucherCode does, and says in the act what is to
// be said of the pass that was shown with it.
func (p *Passes) Read(typed string, a *VoucherAct) (code string, err error) {
	if code, err = ParseVoucherCode(typed); err != nil {
		return "", err
	}
	if _, pass := splitPass(typed); a.Pass == "" {
		a.Pass = pass
	} else if pass != "" && pass != a.Pass && a.Refuse == nil {
		a.Refuse = Errorf(CodeBadRequest, "one pass stands behind the code and another one in the request; send the one that was scanned")
	}
	p.look(code, a)
	return code, nil
}

func (p *Passes) look(code string, a *VoucherAct) {
	if a.Refuse != nil {
		return // not even looked at
	}
	if a.Do != ActionRedeemed {
		a.Pass, a.ScannedAt = "", 0
		return
	}
	now := p.clock.now()
	at := now
	if a.ScannedAt != 0 {
		at = time.UnixMilli(a.ScannedAt)
		if early, late := now.Sub(at), at.Sub(now); early > ScanLife || late > PassStep*(passSkew+1) {
			a.Refuse = Errorf(CodeBadRequest, "scanned_at is %s, and it is %s here; a scan can be sent up to %s later, by the server's clock: set the device's clock, or scan again",
				clockTime(a.ScannedAt), clockTime(now.UnixMilli()), hours(ScanLife))
			return
		}
	}
	var err error
	if a.Pass, err = cleanPass(a.Pass); err != nil {
		a.Refuse = AsError(err)
		return
	}
	switch {
	case p.mode == PassOff:
		a.Pass = ""
		return
	case a.Pass == "" && p.mode == PassRequired && !a.Exempt:
		a.Refuse = Errorf(CodePassRequired, "the code alone is not enough here: scan the QR code on the owner's own page, where it changes every half minute; a picture or a print of it does not do")
		return
	case a.Pass == "":
		return
	}
	shown, miss := p.check(code, a.Pass, at)
	if miss == nil {
		a.passAt = shown
		return
	}
	miss.Now = now.UnixMilli()
	miss.Clock = miss.Known && (miss.Off > 0 || p.clock.explains(miss.Off))
	a.Refuse = &Error{Code: CodePassStale, Message: miss.sentence(), Pass: miss}
}

// sentence tells staff what to do.
func (m *PassMiss) sentence() string {
	switch off := m.Off.Abs(); {
	case m.Clock && m.Off > 0:
		return fmt.Sprintf("this pass is %s ahead of the server's clock, which shows %s: check the server's clock, then that of the owner's phone", hours(off), clockTime(m.Now))
	case m.Clock:
		return fmt.Sprintf("this pass is %s behind the server's clock, which was set meanwhile and shows %s: check the server's clock, and let the owner open the page anew", hours(off), clockTime(m.Now))
	case m.Known:
		return fmt.Sprintf("this QR code is %s old: it is a picture, or a page that stands still. Ask for the owner's own page, where it changes every half minute, and scan that", hours(off))
	}
	return "the pass is not one of this voucher, or it is old: ask for the owner's own page, where it changes every half minute, and scan that"
}

// check finds the time of a pass, in ms since 1970 UTC, as it is shown at the
// given time; or how it misses that.
func (p *Passes) check(code, pass string, at time.Time) (shown int64, miss *PassMiss) {
	n, err := strconv.ParseUint(pass, 10, 32)
	if err != nil {
		return 0, &PassMiss{} // it is clean: this does not happen
	}
	number := passNumbers(p.secret(code))
	now := at.UnixMilli() / PassStep.Milliseconds()
	for off := int64(0); off <= int64(PassReach/PassStep); off++ {
		for _, off := range []int64{-off, off} {
			step := now + off
			if step < 0 || subtle.ConstantTimeEq(int32(number(step)), int32(n)) == 0 {
				continue
			}
			if max(off, -off) <= passSkew {
				return step * PassStep.Milliseconds(), nil
			}
			return 0, &PassMiss{Off: time.Duration(off) * PassStep, Known: true}
		}
	}
	return 0, &PassMiss{}
}

// splitPass takes what a QR code holds apart: the voucher's code and, after a
// dot, its pass of that moment, if it has one.
func splitPass(s string) (code, pass string) {
	at := strings.IndexAny(s, ".．")
	if at < 0 {
		return s, ""
	}
	return s[:at], strings.TrimLeft(s[at:], ".．")
}

// cleanPass reads a pass as people type it and scanners send it.
func cleanPass(s string) (string, error) {
	var b strings.Builder
	for _, r := range s {
		if r >= '０' && r <= '９' { // full-width, from an input method
			r -= '０' - '0'
		}
		switch {
		case unicode.IsSpace(r):
		case r >= '0' && r <= '9' && b.Len() < passDigits:
			b.WriteRune(r)
		default:
			return "", Errorf(CodeBadRequest, "the pass is not the six digits that stand in the QR code after the voucher's code and a dot")
		}
	}
	if n := b.Len(); n != 0 && n != passDigits {
		return "", Errorf(CodeBadRequest, "the pass has %d digits; it needs %d", n, passDigits)
	}
	return b.String(), nil
}
