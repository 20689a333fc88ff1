package wire

import (
	"encoding/json"
	"strconv"
	"strings"

	"teahouse/chat"
)

// voucher is the protocol of a mini-program's page that waits for its vouchers
// to be scanned. It speaks like a room's client and is heard and announced as
// one. But it parses what messages holds, and throws at anything that is not a
// JSON object with "id" and "status": so it gets those and nothing else.
type voucher struct{ room }

var _ chat.Dialect = voucher{}

// voucher opens a connection of such a page. It gets nothing old: it asks its
// own server for the state when it is opened.
func (c *Compat) voucher(h chat.Handshake) chat.Opening {
	o := c.room(h)
	o.Protocol = "voucher"
	o.Dialect = voucher{room{topic: roomTopic(h)}}
	for i := range o.Commands {
		o.Commands[i].Recent = 0
	}
	return o
}

// Name implements chat.Dialect.
func (voucher) Name() string { return "voucher" }

// AppendEvent implements chat.Dialect.
func (voucher) AppendEvent(dst []byte, e *chat.Event) []byte {
	if unseen(e) {
		return dst
	}
	if isVoucherKind(e) {
		return appendVoucher(dst, e, false)
	}
	var status []byte
	if l := readLine(e); l.text != nil {
		if says := unquote(l.text); isVoucherState([]byte(says)) {
			status = appendValue(nil, l.text, false)
		}
	} else if !inRoom(e) && isVoucherState(e.Body) {
		status = appendQuoted(nil, string(e.Body), false)
	}
	if status == nil {
		return dst
	}
	return append(append(appendFrom(dst, e.From, false), status...), '}')
}

// AppendReply implements chat.Dialect.
func (voucher) AppendReply(dst []byte, _ *chat.Reply) []byte { return dst }

// isVoucherState reports a JSON object with "id" and "status".
func isVoucherState(v []byte) bool {
	if !isObject(v) {
		return false
	}
	id, status := false, false
	members(v, func(name, _ []byte) {
		switch string(name) {
		case "id":
			id = true
		case "status":
			status = true
		}
	})
	return id && status
}

// isVoucherKind reports an event that tells of a voucher of ours.
func isVoucherKind(e *chat.Event) bool {
	return !inRoom(e) && strings.HasPrefix(e.Kind, "voucher.")
}

// appendVoucher appends what happened to a voucher. Its id is the one that the
// site knows it by; who did it is told where that is known.
func appendVoucher(dst []byte, e *chat.Event, html bool) []byte {
	var v chat.Voucher
	if json.Unmarshal(e.Body, &v) != nil {
		return dst
	}
	id := v.Ref
	if id == "" {
		id = v.Code
	}
	status := 2
	switch v.Status {
	case chat.VoucherRedeemed:
		status = 1
	case chat.VoucherIssued:
		status = 0
	}
	state := append([]byte(nil), `{"id":`...)
	if isPlainNumber(id) {
		state = append(state, id...)
	} else {
		state = appendQuoted(state, id, false)
	}
	state = strconv.AppendInt(append(state, `,"status":`...), int64(status), 10)
	from := e.From
	if from == "" && v.Status == chat.VoucherRedeemed {
		from = v.RedeemedBy
	}
	dst = appendFrom(dst, from, html)
	return append(appendQuoted(dst, string(append(state, '}')), html), '}')
}

// isPlainNumber reports the text of a whole number that a JavaScript number
// holds exactly and writes in the same way.
func isPlainNumber(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && n > -1<<53 && n < 1<<53 && strconv.FormatInt(n, 10) == s
}
