package storetest

import (
	"reflect"
	"testing"
	"time"

	"teahouse/chat"
)

func session(id, user string, opened int64) chat.Session {
	return chat.Session{ID: id, User: user, Device: "web-1", Dialect: "native", Addr: "192.0.2.7", Agent: "Mozilla/5.0 ☕",
		Opened: opened, LastSeen: opened + 5, Epoch: "e1", Topics: map[string]int64{"room:a": 41, "user:" + user: 7}}
}

func sessions(t *testing.T, s chat.Store, q chat.SessionQuery) []chat.Session {
	t.Helper()
	got, err := s.Sessions(t.Context(), q)
	if err != nil {
		t.Fatalf("Sessions: %v", err)
	}
	return got
}

func save(t *testing.T, s chat.Store, list ...chat.Session) {
	t.Helper()
	if err := s.SaveSessions(t.Context(), list...); err != nil {
		t.Fatalf("SaveSessions: %v", err)
	}
}

func ids(list []chat.Session) (ids string) {
	for _, x := range list {
		ids += x.ID
	}
	return ids
}

func testSessions(t *testing.T, open Open) {
	s, _ := open(t)
	if got := sessions(t, s, chat.SessionQuery{}); len(got) != 0 {
		t.Fatalf("a new store has the sessions %v", got)
	}
	a, b, c := session("a", "ann", 1000), session("b", "bob", 2000), session("c", "ann", 3000)
	save(t, s, a, b, c)
	save(t, s)
	if got := sessions(t, s, chat.SessionQuery{}); !reflect.DeepEqual(got, []chat.Session{c, b, a}) {
		t.Fatalf("Sessions: %+v", got)
	}
	// Each is written whole.
	a.LastSeen, a.Ended, a.Reason, a.Device = 9000, 9001, chat.CodeKicked, "other"
	a.Topics = map[string]int64{"room:b": 99}
	b.Ended, b.Topics = 5000, nil
	save(t, s, a, b)
	got := sessions(t, s, chat.SessionQuery{User: "ann"})
	if !reflect.DeepEqual(got, []chat.Session{c, a}) {
		t.Fatalf("Sessions of ann: %+v", got)
	}
	for _, q := range []struct {
		query chat.SessionQuery
		want  string
	}{
		{chat.SessionQuery{}, "cba"},
		{chat.SessionQuery{Limit: 2}, "cb"},
		{chat.SessionQuery{Online: true}, "c"},
		{chat.SessionQuery{User: "bob", Online: true}, ""},
		{chat.SessionQuery{User: "bob"}, "b"},
		{chat.SessionQuery{Since: time.UnixMilli(5000)}, "cba"},
		{chat.SessionQuery{Since: time.UnixMilli(5001)}, "ca"},
		{chat.SessionQuery{User: "ann", Since: time.UnixMilli(9002)}, "c"},
	} {
		if got := ids(sessions(t, s, q.query)); got != q.want {
			t.Errorf("%+v selected %q, want %q", q.query, got, q.want)
		}
	}
}

func testSessionsReopen(t *testing.T, open Open) {
	s, reopen := open(t)
	a, b := session("a", "ann", 1000), session("b", "bob", 2000)
	b.Ended = 2500
	save(t, s, a, b)
	s = reopen()
	// Nobody is online in a store that was just opened: what was left open
	// ended when it was last seen.
	if got := sessions(t, s, chat.SessionQuery{Online: true}); len(got) != 0 {
		t.Errorf("after a restart there are %v online", got)
	}
	a.Ended, a.Reason = a.LastSeen, chat.CodeGoingAway
	if got := sessions(t, s, chat.SessionQuery{}); !reflect.DeepEqual(got, []chat.Session{b, a}) {
		t.Errorf("after a restart: %+v", got)
	}
}
