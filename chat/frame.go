package chat

import (
	"encoding/binary"
	"unicode/utf8"
)

// The frames that the server writes (RFC 6455, section 5.2) are made here and
// not by the WebSocket library, because an event's frame is made once and
// goes to many sockets, and because many frames leave in one system call.
// Server frames are not masked and never fragmented.
const (
	frameText  = 0x81
	frameClose = 0x88
	framePing  = 0x89
	framePong  = 0x8a

	maxControl = 125 // RFC 6455, section 5.5
)

// appendFrame appends a frame with the given first byte.
func appendFrame(dst []byte, first byte, payload []byte) []byte {
	dst = append(dst, first)
	switch n := len(payload); {
	case n <= 125:
		dst = append(dst, byte(n))
	case n <= 0xffff:
		dst = append(dst, 126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, payload...)
}

// closeFrame makes a close frame. A reason that is too long for a control
// frame is cut at a rune's border.
func closeFrame(code int, reason string) []byte {
	if len(reason) > maxControl-2 {
		reason = reason[:maxControl-2]
		for !utf8.ValidString(reason) {
			reason = reason[:len(reason)-1]
		}
	}
	p := binary.BigEndian.AppendUint16(make([]byte, 0, maxControl), uint16(code))
	return appendFrame(nil, frameClose, append(p, reason...))
}
