//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// target is one of the servers that are compared: how to start it and what
// its clients say. Everything else is the same for all.
type target struct {
	name  string
	start func(ctx context.Context, keep int) (*proc, error)
	http  func(i int, room string) []byte
	// hello is what a client says after the 101, as one write; nil for the
	// reference servers, whose URL says it all. after < 0: no replay.
	hello func(i int, room, epoch string, after int64) []byte
	msg   func(i int, room string) numbered
	// silent servers acknowledge nothing.
	silent bool
}

const (
	sideOurs  = "ours"
	sidePlain = "plain"
	sideFloor = "floor"
)

// bodyBytes is how long a message is: for ours its body, for the reference
// servers the whole payload. So ours, which adds seq, sender and time to what
// it delivers, moves about twice the bytes of the others.
const bodyBytes = 100

func upgradeRequest(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
}

// filled is JSON of bodyBytes length.
func filled(before, after string) string { return padded(before, after, bodyBytes) }

func padded(before, after string, n int) string {
	return before + strings.Repeat("x", max(n-len(before)-len(after), 0)) + after
}

// reference is a server that this program is itself, under another command.
func reference(name, self string, size int) target {
	return target{
		name: name,
		start: func(ctx context.Context, keep int) (*proc, error) {
			return startProc(ctx, self, "serve-"+name, strconv.Itoa(keep))
		},
		http: func(_ int, room string) []byte { return upgradeRequest("/ws?room=" + room) },
		msg: func(int, string) numbered {
			return newNumbered(padded(`{"op":"event","id":`+placeholder+`,"text":"`, `"}`, size))
		},
	}
}

// ours is Teahouse as it is shipped: durable, with history. Only the rate
// limit is off. Each start has a fresh data folder in dir.
func ours(binary, dir string) target {
	data := "" // of the last start
	return target{
		name: sideOurs,
		start: func(ctx context.Context, _ int) (*proc, error) {
			os.RemoveAll(data)
			var err error
			if data, err = os.MkdirTemp(dir, "data-"); err != nil {
				return nil, err
			}
			return startOurs(ctx, binary, data)
		},
		http:  func(int, string) []byte { return upgradeRequest("/ws") },
		hello: helloOurs,
		msg: func(_ int, room string) numbered {
			return newNumbered(fmt.Sprintf(`{"op":"send","id":%s,"topic":"room:%s","key":"k-%s","kind":"message","body":%s}`,
				placeholder, room, placeholder, filled(`{"text":"`, `"}`)))
		},
	}
}

const benchKey = "bench-key-0123456789abcdef0123456789"

func startOurs(ctx context.Context, binary, data string) (*proc, error) {
	return startProc(ctx, binary, "serve", "--addr", "127.0.0.1:0", "--data", data, "--auth", "open",
		"--send-rate", "0", "--api-key", benchKey, "--admin-password", "bench-password-0123")
}

// helloOurs pipelines hello and join, as the contract allows.
func helloOurs(i int, room, epoch string, after int64) []byte {
	hello := fmt.Sprintf(`{"op":"hello","id":1,"user":"u%d","device":"d"}`, i)
	join := fmt.Sprintf(`{"op":"join","id":2,"topic":"room:%s"}`, room)
	if after >= 0 {
		hello = fmt.Sprintf(`{"op":"hello","id":1,"user":"u%d","device":"d","position":{"epoch":%q,"seq":%d}}`, i, epoch, after)
		join = fmt.Sprintf(`{"op":"join","id":2,"topic":"room:%s","after":%d}`, room, after)
	}
	return appendMasked(appendMasked(nil, opText, []byte(hello)), opText, []byte(join))
}

// specs are the clients of rooms, in the order of the rooms.
func (t *target) specs(rooms, each int) []dialSpec {
	s := make([]dialSpec, 0, rooms*each)
	for r := range rooms {
		for range each {
			d := dialSpec{room: r, http: t.http(len(s), roomName(r))}
			if t.hello != nil {
				d.hello = t.hello(len(s), roomName(r), "", -1)
			}
			s = append(s, d)
		}
	}
	return s
}

func roomName(r int) string { return "bench" + strconv.Itoa(r) }
