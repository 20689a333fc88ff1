//go:build linux

package main

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// Whoever speaks the old server's frames is measured by the same client: it
// sees every delivery, and takes nobody's coming for one.
func TestRoomScenarios(t *testing.T) {
	t.Parallel()
	// The servers die with the thread that started them.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := oldServer(serveIn(t, sidePlain, 0))
	if err != nil {
		t.Fatal(err)
	}
	targets := []target{old}
	if !testing.Short() {
		binary := filepath.Join(t.TempDir(), "teahouse")
		if err := buildOurs(t.Context(), binary); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir() // one for both: none must find what another one left
		targets = append(targets, oursByRoom(binary, dir), oursByNative(binary, dir), oursByRoom(binary, dir))
	}
	for _, sc := range liveScenarios {
		if !sc.old {
			continue
		}
		sc.each = 20
		for _, target := range targets {
			s, err := runLive(t.Context(), target, sc, 20*time.Millisecond, 200*time.Millisecond)
			if err != nil {
				t.Fatalf("%s, %s: %v", sc.name, target.name, err)
			}
			if s["deliveries"] == 0 || s["missing"] != 0 || s["lost"] != 0 {
				t.Errorf("%s, %s: %v", sc.name, target.name, s)
			}
			if most := float64(sc.pubs * sc.inflight * (sc.each - 1)); s["backlog"] > most {
				t.Errorf("%s, %s: %.0f deliveries were on the way, at most %.0f may be", sc.name, target.name, s["backlog"], most)
			}
			if _, acks := s["acks"]; acks == target.silent {
				t.Errorf("%s, %s: acks %v", sc.name, target.name, s)
			}
			if came := s["online"]; target.name != sideOld && came != 20*19/2 {
				t.Errorf("%s, %s: %.0f comings were told to 20 who came one by one", sc.name, target.name, came)
			}
		}
	}
	for _, bad := range []string{"", "localhost", "127.0.0.1:1,x", "127.0.0.1:1,999999999"} {
		if _, err := oldServer(bad); err == nil {
			t.Errorf("-old %q is taken", bad)
		}
	}
}

func TestOldFrames(t *testing.T) {
	t.Parallel()
	m := roomClient(target{}).msg(0, "")
	if n := len(m.buf) - 6; n != len(`{"message":""}`)+len(oldText) || len(`{"text":"`+oldText+`"}`) != bodyBytes {
		t.Errorf("a line of %d bytes", n)
	}
	said := string(m.buf[6:])
	for said, want := range map[string]string{
		said:                 `{"from_user":"b7","messages":"` + oldText + `"}`,
		`{"message":5}`:      `{"from_user":"b7","messages":5}`,
		`{"message":null}`:   "",
		`{"type":"ping"}`:    "",
		`[object Object]`:    "",
		`{"message":{"a":1}`: "",
	} {
		if got := string(oldFrame("b7", []byte(said))); got != want {
			t.Errorf("%s becomes %s, want %s", said, got, want)
		}
	}
	for payload, want := range map[string]what{
		string(oldFrame("b7", []byte(said))):                           isEvent,
		`{"from_user":"b1234","messages":"我上线啦!"}`:                     isOnline,
		`{"from_user":"b1234","messages":"\u6211\u4e0a\u7ebf\u5566!"}`: isOnline,
		`{"from_user":"b1234","messages":"我下线啦!"}`:                     isOnline,
	} {
		cut := frame{op: opText, size: len(payload), head: []byte(payload[:headLen])}
		if got := classify(cut); got != want {
			t.Errorf("%s: %d, want %d", payload, got, want)
		}
	}
}
