//go:build linux

package main

import (
	"encoding/binary"
	"strconv"
)

// WebSocket opcodes the bench meets.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

// headLen is how much of a payload a walker keeps when a frame arrives in
// pieces. Enough for {"op":"event" and its like; nobody reads further.
const headLen = 16

// frame is what the walker tells about one frame: its head is the whole
// payload when that lay in one piece in the read buffer, else the first
// headLen bytes of it. It is valid until the next read.
type frame struct {
	op   byte
	size int
	head []byte
}

// walker finds the frames in what a server sent (unmasked). It looks at the
// headers only and jumps over the payloads: a generator that parsed what is
// delivered to it would use more CPU than the server that it measures.
// The zero value is ready; it survives frames cut at any byte.
type walker struct {
	left  int // payload bytes of the current frame still to come
	size  int // payload length of the current frame
	op    byte
	hn    uint8 // header bytes kept so far
	pn    uint8 // head bytes kept so far
	inPay bool
	hdr   [10]byte
	pre   [headLen]byte
}

// next takes one frame off b and returns what follows it. ok is false when b
// ends inside a frame; then all of b has been taken.
func (w *walker) next(b []byte) (f frame, rest []byte, ok bool) {
	if w.hn == 0 && !w.inPay { // the usual case: the frame starts in b
		if h, n := header(b); h > 0 && len(b) >= h+n {
			return frame{op: b[0] & 0x0f, size: n, head: b[h : h+n]}, b[h+n:], true
		}
	}
	for !w.inPay {
		if len(b) == 0 {
			return frame{}, nil, false
		}
		w.hdr[w.hn] = b[0]
		w.hn++
		b = b[1:]
		if h, n := header(w.hdr[:w.hn]); h > 0 {
			w.inPay, w.size, w.left, w.op, w.pn = true, n, n, w.hdr[0]&0x0f, 0
		}
	}
	k := min(w.left, len(b))
	w.pn += uint8(copy(w.pre[w.pn:], b[:k]))
	w.left -= k
	b = b[k:]
	if w.left > 0 {
		return frame{}, nil, false
	}
	w.inPay, w.hn = false, 0
	return frame{op: w.op, size: w.size, head: w.pre[:w.pn]}, b, true
}

// header reads the header of an unmasked frame: its length and the length of
// the payload, or 0 when b is too short to tell.
func header(b []byte) (hlen, n int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch n = int(b[1] & 0x7f); n {
	case 126:
		if len(b) < 4 {
			return 0, 0
		}
		return 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return 0, 0
		}
		return 10, int(binary.BigEndian.Uint64(b[2:]))
	}
	return 2, n
}

// what classifies a text frame of any of the three servers by its first
// bytes. The reference servers are made to speak alike: publishers send them
// payloads that begin {"op":"event" and they acknowledge with {"op":"ack"}.
type what uint8

const (
	isOther what = iota
	isEvent
	isAck
	isJoined
	isOnline
	isError
)

func classify(f frame) what {
	head := f.head
	if isOld(head) {
		return classifyOld(f)
	}
	if len(head) < 10 || head[2] != 'o' || head[5] != ':' {
		return isOther
	}
	switch head[7] {
	case 'e':
		if head[8] == 'v' {
			return isEvent
		}
		return isError
	case 'a':
		return isAck
	case 'j':
		return isJoined
	case 'o':
		return isOnline
	}
	return isOther
}

// appendFrame appends one unmasked text frame, as a server sends it.
func appendFrame(dst, payload []byte) []byte {
	dst = appendHeader(dst, 0x80|opText, 0, len(payload))
	return append(dst, payload...)
}

// appendMasked appends one client frame. The mask is four zero bytes: legal,
// and the generator need not touch the payload.
func appendMasked(dst []byte, op byte, payload []byte) []byte {
	dst = appendHeader(dst, 0x80|op, 0x80, len(payload))
	dst = append(dst, 0, 0, 0, 0)
	return append(dst, payload...)
}

func appendHeader(dst []byte, b0, mask byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, b0, mask|byte(n))
	case n < 1<<16:
		return append(dst, b0, mask|126, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, b0, mask|127), uint64(n))
}

// numbered is a client frame with a counter in it, encoded once; only the
// digits change from message to message. Ten digits from firstNumber on, so
// that the length never does.
type numbered struct {
	buf []byte
	at  []int // where the counter stands
}

const (
	firstNumber = 1_000_000_000
	placeholder = "1000000000"
)

func newNumbered(payload string) numbered {
	n := numbered{buf: appendMasked(nil, opText, []byte(payload))}
	for i := 0; i+len(placeholder) <= len(n.buf); i++ {
		if string(n.buf[i:i+len(placeholder)]) == placeholder {
			n.at = append(n.at, i)
		}
	}
	return n
}

// appendTo appends the frame with the number k in it.
func (n *numbered) appendTo(dst []byte, k int) []byte {
	base := len(dst)
	dst = append(dst, n.buf...)
	var digits [20]byte
	d := strconv.AppendInt(digits[:0], int64(firstNumber+k), 10)
	for _, at := range n.at {
		copy(dst[base+at:], d)
	}
	return dst
}
