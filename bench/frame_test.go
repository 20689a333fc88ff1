//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// The walker must find the same frames however the stream is cut.
func TestWalkerFindsFramesHoweverCut(t *testing.T) {
	t.Parallel()
	payloads := []string{
		"",
		`{"op":"ack"}`,
		`{"op":"event","seq":1}`,
		strings.Repeat("a", 125),
		strings.Repeat("b", 126),
		strings.Repeat("c", 300),
		strings.Repeat("d", 70000),
		`{"op":"joined"}`,
	}
	var stream []byte
	for _, p := range payloads {
		stream = appendFrame(stream, []byte(p))
	}
	for _, piece := range []int{1, 2, 3, 7, 64, 127, 128, 1000, 65536, len(stream)} {
		t.Run(fmt.Sprint(piece), func(t *testing.T) {
			t.Parallel()
			var w walker
			var got []frame
			for rest := stream; len(rest) > 0; {
				b := rest[:min(piece, len(rest))]
				rest = rest[len(b):]
				for len(b) > 0 {
					f, after, ok := w.next(b)
					if !ok {
						break
					}
					f.head = bytes.Clone(f.head)
					got = append(got, f)
					b = after
				}
			}
			if len(got) != len(payloads) {
				t.Fatalf("%d frames, want %d", len(got), len(payloads))
			}
			for i, f := range got {
				p := payloads[i]
				if f.op != opText || f.size != len(p) {
					t.Errorf("frame %d: op %d size %d, want text of %d", i, f.op, f.size, len(p))
				}
				if short := p[:min(headLen, len(p))]; !strings.HasPrefix(p, string(f.head)) || len(f.head) < len(short) {
					t.Errorf("frame %d: head %.40q of %.40q", i, f.head, p)
				}
			}
		})
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for head, want := range map[string]what{
		`{"op":"event","to`:  isEvent,
		`{"op":"error","id"`: isError,
		`{"op":"ack","id":4`: isAck,
		tinyAck:              isAck,
		`{"op":"joined","i`:  isJoined,
		`{"op":"online","t`:  isOnline,
		`{"op":"welcome","`:  isOther,
		`{"op":"pong"}`:      isOther,
		`hello`:              isOther,
		``:                   isOther,
	} {
		if got := classify(frame{op: opText, size: len(head), head: []byte(head)}); got != want {
			t.Errorf("%s: %d, want %d", head, got, want)
		}
	}
}

func TestNumberedCountsInPlace(t *testing.T) {
	t.Parallel()
	n := newNumbered(`{"id":` + placeholder + `,"key":"k` + placeholder + `"}`)
	got := n.appendTo(n.appendTo(nil, 7), 41)
	want := appendMasked(nil, opText, []byte(`{"id":1000000007,"key":"k1000000007"}`))
	want = appendMasked(want, opText, []byte(`{"id":1000000041,"key":"k1000000041"}`))
	if !bytes.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Messages are as long as the method says.
func TestMessagesHaveTheirLength(t *testing.T) {
	t.Parallel()
	if n := len(filled(`{"text":"`, `"}`)); n != bodyBytes {
		t.Errorf("body of %d bytes", n)
	}
	ref := reference(sideFloor, "", bodyBytes)
	m := ref.msg(0, "x")
	if n := len(m.buf) - 6; n != bodyBytes {
		t.Errorf("reference payload of %d bytes", n)
	}
}
