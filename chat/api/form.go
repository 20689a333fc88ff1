package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"teahouse/chat"
)

// A form is what PHP backends post: urlencoded (http_build_query), multipart
// (what its curl makes of an array) or JSON. Names with brackets are arrays
// and objects, as PHP reads them: a[]=1&a[]=2, a[0]=1, a[b][c]=1.
//
// The root is a formValue with items. A value is a text, or JSON, or has items.
type formValue struct {
	text  string
	json  json.RawMessage       // of a JSON post
	names []string              // in the order in which they came first
	items map[string]*formValue // nil for a leaf
	next  int                   // the index that a[] takes
}

const (
	formParts = 20_000 // fields, elements of arrays counted each
	formDepth = 64     // brackets of a name, and what PHP allows
)

func badForm(format string, args ...any) *chat.Error {
	return chat.Errorf(chat.CodeBadRequest, format, args...)
}

// readForm reads a request's body, which is bounded by its caller.
func readForm(r *http.Request) (*formValue, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	form := &formValue{items: make(map[string]*formValue)}
	if err == nil && kind == "multipart/form-data" {
		if params["boundary"] == "" {
			return nil, badForm("the Content-Type names no boundary between the parts")
		}
		return form, form.readMultipart(multipart.NewReader(r.Body, params["boundary"]))
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, unread(err)
	}
	// Some call a JSON post a form, as `curl -d` does, and a form nothing.
	if kind == "application/json" || strings.HasSuffix(kind, "+json") || bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return form, form.readJSON(body)
	}
	return form, form.readQuery(string(body))
}

// unread explains why a body did not arrive.
func unread(err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return chat.Errorf(chat.CodeTooLarge, "the request is larger than %d bytes", large.Limit)
	default:
		return &chat.Error{Code: chat.CodeBadRequest, Message: "the request's body did not arrive whole", Err: err}
	}
}

// readQuery reads a urlencoded body. Like PHP it takes a % that begins no
// escape as it stands.
func (f *formValue) readQuery(body string) error {
	n := 0
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		if n++; n > formParts {
			return tooManyParts()
		}
		name, value, _ := strings.Cut(pair, "=")
		if err := f.set(unescape(name), &formValue{text: unescape(value)}); err != nil {
			return err
		}
	}
	return nil
}

func tooManyParts() error {
	return chat.Errorf(chat.CodeTooLarge, "the form has more than %d fields; send to fewer at once", formParts)
}

func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			b = append(b, byte(n))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return string(b)
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// readMultipart reads a multipart body. Files are passed over.
func (f *formValue) readMultipart(parts *multipart.Reader) error {
	for n := 0; ; n++ {
		part, err := parts.NextPart()
		if err == io.EOF {
			return nil
		}
		if n >= formParts {
			return tooManyParts()
		}
		if err == nil && (part.FileName() != "" || part.FormName() == "") {
			continue
		}
		var value []byte
		if err == nil {
			value, err = io.ReadAll(part)
		}
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return unread(err)
		}
		if err != nil {
			return &chat.Error{Code: chat.CodeBadRequest, Message: "the multipart body is not complete", Err: err}
		}
		if err := f.set(part.FormName(), &formValue{text: string(value)}); err != nil {
			return err
		}
	}
}

// readJSON reads an object. Its values stay as they are.
func (f *formValue) readJSON(body []byte) error {
	if !utf8.Valid(body) {
		return badForm("the body is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return badForm("the body is not a JSON object")
	}
	for n := 0; d.More(); n++ {
		t, err := d.Token()
		name, ok := t.(string)
		var raw json.RawMessage
		if err == nil && ok {
			err = d.Decode(&raw)
		}
		if err != nil || !ok {
			return badForm("the body is not a JSON object")
		}
		if n >= formParts {
			return tooManyParts()
		}
		f.put(name, &formValue{json: raw})
	}
	if _, err := d.Token(); err != nil {
		return badForm("the body is not a JSON object")
	}
	if _, err := d.Token(); err != io.EOF {
		return badForm("something follows the JSON object")
	}
	return nil
}

// set keeps a field of a form under its name, brackets and all. What has the
// same name replaces what came before.
func (f *formValue) set(name string, v *formValue) error {
	if !utf8.ValidString(name) || !utf8.ValidString(v.text) {
		return badForm("the field %q is not valid UTF-8", strings.ToValidUTF8(name[:min(len(name), 64)], "?"))
	}
	base, rest := name, ""
	if i := strings.IndexByte(name, '['); i > 0 && strings.IndexByte(name[i:], ']') > 0 {
		base, rest = name[:i], name[i:]
	}
	at, key := f, base
	for depth := 0; ; depth++ {
		if depth > formDepth {
			return badForm("the name of a field has more than %d brackets", formDepth)
		}
		end := strings.IndexByte(rest, ']')
		if !strings.HasPrefix(rest, "[") || end < 0 {
			break // what follows the last bracket PHP drops as well
		}
		inner := at.items[key]
		if inner == nil || inner.items == nil {
			inner = &formValue{items: make(map[string]*formValue)}
			at.put(key, inner)
		}
		at, key, rest = inner, rest[1:end], rest[end+1:]
		if key == "" {
			key = strconv.Itoa(at.next)
		}
	}
	at.put(key, v)
	return nil
}

func (f *formValue) put(name string, v *formValue) {
	if _, ok := f.items[name]; !ok {
		f.names = append(f.names, name)
	}
	f.items[name] = v
	if n, err := strconv.Atoi(name); err == nil && n >= f.next && n < 1<<31 && strconv.Itoa(n) == name {
		f.next = n + 1
	}
}

// plain returns a field that is a text.
func (f *formValue) plain(name string) (string, bool) {
	v := f.items[name]
	switch {
	case v == nil || v.items != nil:
		return "", false
	case v.json == nil:
		return v.text, true
	}
	var s string
	if len(v.json) == 0 || v.json[0] != '"' || json.Unmarshal(v.json, &s) != nil {
		return "", false
	}
	return s, true
}

// texts returns a field's texts: itself, or those of an array's elements or of
// an object's values (what PHP makes of an array that is no list). What is
// neither is left out.
func (f *formValue) texts(name string) (list []string) {
	v := f.items[name]
	if v != nil && len(v.json) > 0 {
		switch v.json[0] {
		case '[':
			var elements []json.RawMessage
			if json.Unmarshal(v.json, &elements) != nil {
				return nil
			}
			v = &formValue{items: make(map[string]*formValue)}
			for i, e := range elements {
				v.put(strconv.Itoa(i), &formValue{json: e})
			}
		case '{':
			v = &formValue{items: make(map[string]*formValue)}
			if v.readJSON(f.items[name].json) != nil {
				return nil
			}
		}
	}
	if v == nil || v.items == nil {
		if text, ok := f.plain(name); ok {
			list = append(list, text)
		}
		return list
	}
	for _, name := range v.names {
		if text, ok := v.plain(name); ok {
			list = append(list, text)
		}
	}
	return list
}

// appendJSON appends the value as JSON. An array whose indexes are 0, 1, 2 … is
// a list, any other an object: what PHP's json_encode does.
func (f *formValue) appendJSON(dst []byte) []byte {
	switch {
	case f.items == nil && f.json == nil:
		return appendText(dst, f.text)
	case f.items == nil:
		var b bytes.Buffer
		if json.Compact(&b, f.json) != nil {
			return append(dst, "null"...)
		}
		return append(dst, b.Bytes()...)
	}
	list := true
	for i, name := range f.names {
		list = list && name == strconv.Itoa(i)
	}
	open, end := byte('{'), byte('}')
	if list {
		open, end = '[', ']'
	}
	dst = append(dst, open)
	for i, name := range f.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		if !list {
			dst = append(appendText(dst, name), ':')
		}
		dst = f.items[name].appendJSON(dst)
	}
	return append(dst, end)
}

// appendText appends a text as a JSON string.
func appendText(dst []byte, s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// appendDecoded appends a text as what PHP's json_decode makes of it, or as
// itself if that is null.
func appendDecoded(dst []byte, s string) []byte {
	b := []byte(strings.Trim(s, " \t\r\n"))
	if string(b) == "null" || !json.Valid(b) || depth(b) > 512 {
		return appendText(dst, s)
	}
	return (&formValue{json: b}).appendJSON(dst)
}

// depth returns how deep the arrays and objects of a JSON value stand in each other.
func depth(b []byte) (deepest int) {
	now, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
}
