package chat

import (
	"crypto/rand"
	"strings"
	"unicode"
)

// A voucher's code is 27 random characters and a check character.
//
// The alphabet has no two characters that are taken for each other: of O, 0
// and Q, of I, L and 1, of B and 8, S and 5, Z and 2, U and V at most one is
// in it. 27 of its characters are 128.2 bits.
//
// The check is that of the ISBN-10 (ISO 2108:1992), with the prime 29 for 11:
// the values of the characters, each times its place from 1 to 28, add up to
// a multiple of 29. All weights are different and none is a multiple of the
// prime, so that it catches every single wrong character and every swap of
// two different ones, neighbours or not. A remainder that has no character
// (27, 28) does not occur: such a code is not given out.
const (
	codeAlphabet = "23456789ACDEFGHJKMNPQRTVWXY"
	codeLen      = 28
	codePrime    = 29
	codeGroup    = 7 // in sevens: 31 characters in print
	codeInput    = 256
)

// codeValues is the value of each character, also of those that are read as
// another one; -1 of what does not belong into a code.
var codeValues = func() (values [128]int8) {
	for i := range values {
		values[i] = -1
	}
	for i, c := range codeAlphabet {
		values[c] = int8(i)
	}
	for as, c := range map[rune]string{'8': "B", '5': "S", '2': "Z", 'V': "U", 'Q': "O0"} {
		for _, c := range c {
			values[c] = values[as]
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		values[unicode.ToLower(c)] = values[c]
	}
	return values
}()

// NewVoucherCode makes a code.
func NewVoucherCode() string {
	var random [2 * codeLen]byte
	for {
		_, _ = rand.Read(random[:]) // never fails
		code, sum := make([]byte, 0, codeLen), 0
		for _, b := range random {
			const n = len(codeAlphabet)
			if int(b) >= 256/n*n {
				continue // so that each character is as likely
			}
			sum += (len(code) + 1) * (int(b) % n)
			if code = append(code, codeAlphabet[int(b)%n]); len(code) == codeLen-1 {
				break
			}
		}
		// The last weight is 28, which is -1: the check's value is the sum.
		if check := sum % codePrime; len(code) == codeLen-1 && check < len(codeAlphabet) {
			return string(append(code, codeAlphabet[check]))
		}
	}
}

// ParseVoucherCode reads a code as people type it and scanners send it: case,
// spaces, hyphens and full-width characters do not matter, and what looks like
// a character of the alphabet is taken for it. A pass behind a dot, as QR codes
// have it, is left out. What cannot be a code is a CodeVoucherUnknown that says
// what is wrong.
func ParseVoucherCode(s string) (string, error) {
	if len(s) > codeInput {
		return "", Errorf(CodeVoucherUnknown, "this is not a voucher's code: it is too long")
	}
	s, _ = splitPass(s)
	code, sum := make([]byte, 0, codeLen), 0
	for _, r := range s {
		if r >= '！' && r <= '～' { // full-width, from an input method
			r -= '！' - '!'
		}
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || r == '\u00ad' || r == '\u200b' || r == '\ufeff' || r == '−' {
			continue
		}
		v := -1
		if r < 128 {
			v = int(codeValues[r])
		}
		switch {
		case v < 0 && strings.ContainsRune("1IiLl", r):
			return "", Errorf(CodeVoucherUnknown, "a voucher's code never holds 1, I or L; look at it again")
		case v < 0:
			return "", Errorf(CodeVoucherUnknown, "this is not a voucher's code: that has only letters and digits")
		}
		code = append(code, codeAlphabet[v])
		sum += len(code) * v
	}
	switch {
	case len(code) != codeLen:
		return "", Errorf(CodeVoucherUnknown, "a voucher's code has %d letters and digits, and this has %d", codeLen, len(code))
	case sum%codePrime != 0:
		return "", Errorf(CodeVoucherUnknown, "the code is mistyped: one of its characters is wrong, or two are swapped; look at it again")
	}
	return string(code), nil
}

// ShowVoucherCode writes a code in groups, for people.
func ShowVoucherCode(code string) string {
	var b strings.Builder
	for i := 0; i < len(code); i += codeGroup {
		if i > 0 {
			b.WriteByte('-')
		}
		b.WriteString(code[i:min(i+codeGroup, len(code))])
	}
	return b.String()
}
