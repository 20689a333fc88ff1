package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// What the legacy protocols need of JSON. Their frames are looked at where
// they lie instead of being unmarshalled: names are told apart by case and the
// last of two equal ones counts, as in PHP and JavaScript, values keep the
// form in which they came, and nothing nests deeper than the library allows.

// isObject reports that v is one valid JSON object and nothing else.
func isObject(v []byte) bool {
	i := skipSpace(v, 0)
	return i < len(v) && v[i] == '{' && json.Valid(v)
}

// members calls f for each member of a valid JSON object, with its name and
// its value as they stand there, in their order. What is not an object has
// none.
func members(v []byte, f func(name, value []byte)) {
	i := skipSpace(v, 0)
	if i >= len(v) || v[i] != '{' {
		return
	}
	i++
	for {
		i = skipSpace(v, i)
		if i >= len(v) || v[i] != '"' {
			return
		}
		end := skipString(v, i)
		name := v[i:end]
		if bytes.IndexByte(name, '\\') >= 0 {
			name = []byte(unquote(name))
		} else {
			name = name[1 : len(name)-1]
		}
		if i = skipSpace(v, end); i >= len(v) || v[i] != ':' {
			return
		}
		i = skipSpace(v, i+1)
		end = skipValue(v, i)
		f(name, v[i:end])
		if i = skipSpace(v, end); i >= len(v) || v[i] != ',' {
			return
		}
		i++
	}
}

func skipSpace(v []byte, i int) int {
	for i < len(v) && (v[i] == ' ' || v[i] == '\t' || v[i] == '\n' || v[i] == '\r') {
		i++
	}
	return i
}

// skipString returns what is behind the string that begins at i.
func skipString(v []byte, i int) int {
	for i++; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(v)
}

// skipValue returns what is behind the value that begins at i.
func skipValue(v []byte, i int) int {
	for depth := 0; i < len(v); i++ {
		switch v[i] {
		case '"':
			if i = skipString(v, i); depth == 0 {
				return i
			}
			i--
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 { // of what is around a number or a word
				return i
			} else if depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return len(v)
}

func isString(v []byte) bool { return len(v) >= 2 && v[0] == '"' }

func isNumber(v []byte) bool {
	return len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9')
}

func isNull(v []byte) bool { return string(v) == "null" }

// unquote returns what a valid JSON string says. A half of a surrogate pair
// becomes U+FFFD.
func unquote(literal []byte) string {
	if len(literal) < 2 {
		return ""
	}
	v := literal[1 : len(literal)-1]
	i := bytes.IndexByte(v, '\\')
	if i < 0 {
		return string(v)
	}
	said := make([]byte, 0, len(v))
	for ; i >= 0 && i+1 < len(v); i = bytes.IndexByte(v, '\\') {
		said = append(said, v[:i]...)
		b := v[i+1]
		v = v[i+2:]
		switch b {
		case 'b':
			said = append(said, '\b')
		case 'f':
			said = append(said, '\f')
		case 'n':
			said = append(said, '\n')
		case 'r':
			said = append(said, '\r')
		case 't':
			said = append(said, '\t')
		case 'u':
			var r rune
			if r, v = hexRune(v); utf16.IsSurrogate(r) {
				pair := utf8.RuneError
				if len(v) >= 6 && v[0] == '\\' && v[1] == 'u' {
					low, after := hexRune(v[2:])
					if pair = utf16.DecodeRune(r, low); pair != utf8.RuneError {
						v = after
					}
				}
				r = pair
			}
			said = utf8.AppendRune(said, r)
		default:
			said = append(said, b)
		}
	}
	return string(append(said, v...))
}

// hexRune reads the four hexadecimal digits that v begins with.
func hexRune(v []byte) (r rune, rest []byte) {
	if len(v) < 4 {
		return utf8.RuneError, nil
	}
	for _, b := range v[:4] {
		switch {
		case b >= 'a':
			b -= 'a' - 10
		case b >= 'A':
			b -= 'A' - 10
		default:
			b -= '0'
		}
		r = r<<4 | rune(b)
	}
	return r, v[4:]
}

// says reports whether a JSON string says text.
func says(literal, text []byte) bool {
	if len(literal) < len(text)+2 {
		return false
	}
	if bytes.IndexByte(literal, '\\') < 0 {
		return bytes.Equal(literal[1:len(literal)-1], text)
	}
	return unquote(literal) == string(text)
}

// plainText returns what a value looks like as text: a string is what it says.
func plainText(v []byte) string {
	if isString(v) {
		return unquote(v)
	}
	return string(compact(v))
}

// appendQuoted appends s as a JSON string. Only what must be escaped is, and
// U+2028 and U+2029: a client that evals its frames would trip over these.
// With html, "&", "<" and ">" are written as HTML does, because the client
// makes HTML of it; see entity for what is JSON in itself.
func appendQuoted(dst []byte, s string, html bool) []byte {
	const hex = "0123456789abcdef"
	inner := html && isJSONText(s)
	slashes := 0 // how many backslashes stand before i
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		b := s[i]
		size, with := 1, ""
		switch {
		case b == '"':
			with = `\"`
		case b == '\\':
			with = `\\`
			if inner && slashes%2 == 0 {
				if e := entity(s[i:]); e != "" {
					size, with = 6, e
				}
			}
		case b == '\n':
			with = `\n`
		case b == '\r':
			with = `\r`
		case b == '\t':
			with = `\t`
		case b < 0x20:
			dst = append(append(dst, s[from:i]...), '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
			from = i + 1
		case html && b == '&':
			with = "&amp;"
		case html && b == '<':
			with = "&lt;"
		case html && b == '>':
			with = "&gt;"
		case b >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			size = n
			switch {
			case r == utf8.RuneError && n == 1:
				with = `\ufffd`
			case r == '\u2028':
				with = `\u2028`
			case r == '\u2029':
				with = `\u2029`
			}
		}
		if b == '\\' && size == 1 {
			slashes++
		} else {
			slashes = 0
		}
		if with != "" {
			dst = append(append(dst, s[from:i]...), with...)
			from = i + size
		}
		i += size
	}
	return append(append(dst, s[from:]...), '"')
}

// isJSONText reports that a text may be JSON itself, which some clients parse
// before they make HTML of it.
func isJSONText(s string) bool {
	s = strings.TrimLeft(s, " \t\r\n")
	return s != "" && (s[0] == '{' || s[0] == '[' || s[0] == '"')
}

// entity returns the HTML for an escape that a JSON text begins with, \u003c
// and the like, or "": once the text is parsed it would be a "<".
func entity(s string) string {
	if len(s) < 6 || s[1] != 'u' || s[2] != '0' || s[3] != '0' {
		return ""
	}
	switch s[4:6] {
	case "3c", "3C":
		return "&lt;"
	case "3e", "3E":
		return "&gt;"
	case "26":
		return "&amp;"
	}
	return ""
}

// appendValue appends a valid JSON value as it stands, except for what
// appendQuoted would write differently in its strings.
func appendValue(dst, v []byte, html bool) []byte {
	if !html {
		return appendLines(dst, v)
	}
	for len(v) > 0 {
		i := bytes.IndexByte(v, '"')
		if i < 0 {
			break
		}
		end := skipString(v, i)
		dst = append(dst, v[:i]...)
		dst = appendHTML(dst, v[i:end])
		v = v[end:]
	}
	return append(dst, v...)
}

// appendHTML appends one JSON string with HTML's characters escaped, however
// they are written in it.
func appendHTML(dst, literal []byte) []byte {
	for i, b := range literal {
		if b == '\\' || b == '&' || b == '<' || b == '>' || b == 0xe2 && i+2 < len(literal) && literal[i+1] == 0x80 {
			return appendQuoted(dst, unquote(literal), true)
		}
	}
	return append(dst, literal...)
}

// appendLines appends v with U+2028 and U+2029 escaped. Outside of strings
// valid JSON has neither.
func appendLines(dst, v []byte) []byte {
	for {
		i := bytes.Index(v, []byte("\xe2\x80"))
		if i < 0 || i+2 >= len(v) {
			return append(dst, v...)
		}
		dst = append(dst, v[:i]...)
		switch v[i+2] {
		case 0xa8:
			dst = append(dst, `\u2028`...)
		case 0xa9:
			dst = append(dst, `\u2029`...)
		default:
			dst = append(dst, v[i:i+3]...)
		}
		v = v[i+3:]
	}
}
