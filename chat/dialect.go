package chat

import "sync"

// dialect is a Dialect with the hub's number for it and the framing.
type dialect struct {
	Dialect
	number int
}

// scratch lends buffers for a frame's text, whose length the header needs.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

func (d *dialect) frame(text func([]byte) []byte) []byte {
	p := scratch.Get().(*[]byte)
	b := text((*p)[:0])
	f := []byte{} // not nil: nil means "not made yet"
	if len(b) > 0 {
		f = appendFrame(make([]byte, 0, len(b)+10), frameText, b)
	}
	if cap(b) <= 64<<10 {
		*p = b
		scratch.Put(p)
	}
	return f
}

func (d *dialect) replyFrame(r *Reply) []byte {
	return d.frame(func(b []byte) []byte { return d.AppendReply(b, r) })
}

func (d *dialect) eventFrame(e *Event) []byte {
	return d.frame(func(b []byte) []byte { return d.AppendEvent(b, e) })
}
