//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// The scenarios room4x4 and room1 speak the frames of the old Swoole server:
// {"message":X} goes in, {"from_user":U,"messages":X} comes out, to all but the
// sender, and nothing is acknowledged. So that server, Teahouse in its place
// and a plain hub are measured by the same client; and Teahouse's own protocol
// under the same load.

const (
	// sideNative is ours by its own protocol, in the scenarios of this file.
	sideNative = "native"
	// sideOld is a running server that the bench did not start.
	sideOld = "old"
)

// oldText is what clients say: as a body of the log it has bodyBytes.
var oldText = placeholder + strings.Repeat("x", bodyBytes-len(`{"text":""}`)-len(placeholder))

// roomClient is what a client of the old server opens and says. Ours knows it
// by its URL, as it would a real one; ?room= is for those who know rooms.
func roomClient(t target) target {
	t.http = func(i int, room string) []byte {
		return upgradeRequest(fmt.Sprintf("/?user_id=b%d&room=%s", i, room))
	}
	t.hello = nil
	t.msg = func(int, string) numbered { return newNumbered(`{"message":"` + oldText + `"}`) }
	t.silent = true
	return t
}

func oursByRoom(binary, dir string) target { return roomClient(ours(binary, dir)) }

// oursByNative is ours under the load of this file: its acks are counted, but
// its publishers do not wait for them.
func oursByNative(binary, dir string) target {
	t := ours(binary, dir)
	t.name = sideNative
	return t
}

func plainByRoom(self string) target { return roomClient(reference(sidePlain, self, bodyBytes)) }

// oldServer is a server that runs already, from HOST:PORT[,PID…].
func oldServer(arg string) (target, error) {
	parts := strings.Split(arg, ",")
	if _, err := netip.ParseAddrPort(parts[0]); err != nil {
		return target{}, fmt.Errorf("-old: %q is not an address like 127.0.0.1:8040", parts[0])
	}
	var pids []int
	for _, s := range parts[1:] {
		pid, err := strconv.Atoi(s)
		if err != nil || cpuClock(pid) == 0 {
			return target{}, fmt.Errorf("-old: there is no process %q", s)
		}
		pids = append(pids, pid)
	}
	return roomClient(target{
		name: sideOld,
		start: func(context.Context, int) (*proc, error) {
			return &proc{addr: parts[0], others: pids}, nil
		},
	}), nil
}

// isOld reports a frame of the old server by its first bytes.
func isOld(head []byte) bool { return bytes.HasPrefix(head, []byte(`{"from_`)) }

// classifyOld tells lines from who came and who went: by the length, since a
// frame that was cut shows its first bytes only.
func classifyOld(f frame) what {
	if f.size < len(`{"from_user":"","messages":""}`)+len(oldText) {
		return isOnline
	}
	return isEvent
}

// oldFrame is what the old server makes of what a client says, and nil of what
// is no message.
func oldFrame(user string, said []byte) []byte {
	var in struct{ Message json.RawMessage }
	if json.Unmarshal(said, &in) != nil || in.Message == nil || string(in.Message) == "null" {
		return nil
	}
	out, err := json.Marshal(struct {
		FromUser string          `json:"from_user"`
		Messages json.RawMessage `json:"messages"`
	}{user, in.Message})
	if err != nil {
		return nil
	}
	return out
}
