package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	textFrame  = 1
	closeFrame = 8
)

// readFrame reads one WebSocket frame, as it is on the wire (RFC 6455, 5.2).
func readFrame(r *bufio.Reader) ([]byte, error) {
	m := make([]byte, 2, 256)
	if _, err := io.ReadFull(r, m); err != nil {
		return nil, err
	}
	masked, size := m[1]&0x80 != 0, uint64(m[1]&0x7f)
	more := 0
	switch size {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	m = append(m, make([]byte, more)...)
	if _, err := io.ReadFull(r, m[2:]); err != nil {
		return nil, err
	}
	switch size {
	case 126:
		size = uint64(binary.BigEndian.Uint16(m[2:]))
	case 127:
		size = binary.BigEndian.Uint64(m[2:])
	}
	if size > 1<<24 {
		return nil, fmt.Errorf("a frame of %d bytes", size)
	}
	if masked {
		size += 4
	}
	head := len(m)
	m = append(m, make([]byte, size)...)
	_, err := io.ReadFull(r, m[head:])
	return m, err
}

// payload returns what a whole frame carries, unmasked.
func payload(m []byte) []byte {
	at := 2
	switch m[1] & 0x7f {
	case 126:
		at = 4
	case 127:
		at = 10
	}
	if m[1]&0x80 == 0 {
		return m[at:]
	}
	mask, text := m[at:at+4], slices.Clone(m[at+4:])
	for i := range text {
		text[i] ^= mask[i%4]
	}
	return text
}

// readHead reads a request or an answer of the handshake up to its empty line.
func readHead(r *bufio.Reader) ([]byte, error) {
	var m []byte
	for len(m) < http.DefaultMaxHeaderBytes {
		line, err := r.ReadBytes('\n')
		m = append(m, line...)
		if err != nil {
			return m, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			return m, nil
		}
	}
	return nil, fmt.Errorf("a head of more than %d bytes", len(m))
}

// dialogue holds the server to its promise for one connection, so that it is
// plain whose fault it is when a client goes wrong: each topic's events and
// acks come in the order of seq, none twice.
type dialogue struct {
	mu    sync.Mutex
	began int64
	inbox string
	told  map[string]int64 // stream -> the last seq
	bad   bool             // what follows a mistake looks wrong as well
	early int              // acks of repeated sends that came before older events
}

// hear takes note of a message and returns what is wrong with it.
func (d *dialogue) hear(dir direction, m []byte) string {
	if m[0] != 0x80|textFrame {
		return ""
	}
	var f struct {
		Op, Topic, User string
		Seq, After      int64
		Again           bool
		Position        *position
	}
	text := payload(m)
	if json.Unmarshal(text, &f) != nil {
		return fmt.Sprintf("%s says %q", dir, text)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bad {
		return ""
	}
	if dir == up {
		if f.Op == "hello" {
			d.began = -1
			if f.Position != nil {
				d.began = f.Position.Seq
			}
		}
		return ""
	}
	switch f.Op {
	case "welcome":
		if d.began < 0 {
			d.began = f.Position.Seq
		}
		d.inbox = "user:" + f.User
		d.told = map[string]int64{d.inbox: d.began}
	case "joined", "reset":
		d.told[f.Topic] = f.After
	case "left":
		delete(d.told, f.Topic)
	case "event", "ack":
		stream := f.Topic
		if _, joined := d.told[stream]; !joined && strings.HasPrefix(stream, "dm:") {
			stream = d.inbox
		}
		last, follows := d.told[stream]
		if f.Again || !follows && f.Op == "ack" {
			if follows && f.Seq > last {
				d.early++
			}
			return ""
		}
		if !follows || f.Seq <= last {
			d.bad = true
			return fmt.Sprintf("the server tells %.200s after %d", text, last)
		}
		d.told[stream] = f.Seq
	}
	return ""
}

// tracing prints every message: TEAHOUSE_TEST_TRACE=1.
var tracing = os.Getenv("TEAHOUSE_TEST_TRACE") != ""

func (l *link) trace(dir direction, n int, m []byte) {
	if !tracing {
		return
	}
	text, _, _ := strings.Cut(string(m), "\r\n")
	if n > 0 && len(m) >= 2 {
		text = fmt.Sprintf("%d %q", m[0]&0x0f, payload(m))
	}
	fmt.Fprintf(os.Stderr, "%s %s %d %-4s %3d %.400s\n", time.Now().Format("05.000"), l.p.name, l.k, dir, n, text)
}
