package api_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"teahouse/chat"
	"teahouse/chat/api"
)

// gates are a hub's doors in two maps.
type gates struct {
	codes map[string]string // by topic
	names map[string]bool
}

func (m *memory) SetRoomCode(_ context.Context, topic, code string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(code) < chat.MinRoomCode {
		return chat.Errorf(chat.CodeBadRequest, "the code is too short")
	}
	if m.gates.codes == nil {
		m.gates.codes = make(map[string]string)
	}
	m.gates.codes[topic] = code
	return m.fail
}

func (m *memory) DropRoomCode(_ context.Context, topic string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, had := m.gates.codes[topic]
	delete(m.gates.codes, topic)
	return had, m.fail
}

func (m *memory) FreeName(_ context.Context, name string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := m.gates.names[name]
	delete(m.gates.names, name)
	return had, m.fail
}

func (m *memory) RoomCodes(context.Context) (list []chat.RoomCode, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic := range m.gates.codes {
		list = append(list, chat.RoomCode{Topic: topic, SetBy: "alice", SetAt: 7})
	}
	return list, m.fail
}

func (m *memory) Claims(name string, limit int) (list []chat.Claim, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range m.gates.names {
		if name == "" || name == n {
			list = append(list, chat.Claim{Name: n, MadeAt: 7, UsedAt: int64(limit)})
		}
	}
	return list, m.fail
}

// TestDoors: a forgotten code is replaced or taken away, a claimed name freed,
// by who may; and no code stands in an answer or in the log.
func TestDoors(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.gates.names = map[string]bool{"爱丽丝/7": true}
	const room = "/api/v1/rooms/%E8%8C%B6%2F%E5%AE%A4%201/code"
	if got := h.ask("PUT", room, `{"code":"tea at four"}`).ok(204, nil).Body.Len(); got != 0 {
		t.Errorf("%d bytes are answered", got)
	}
	equal(t, "the code", h.store.gates.codes["room:茶/室 1"], "tea at four")
	h.ask("PUT", room, `{"code":"tea at five"}`, operator()...).ok(204, nil)
	for _, body := range []string{`{"code":"abc"}`, `{}`, `{"code":7}`, `["tea at six"]`, `tea`, ``} {
		h.ask("PUT", room, body).problem(400, chat.CodeBadRequest)
	}
	equal(t, "the code", h.store.gates.codes["room:茶/室 1"], "tea at five")
	equal(t, "the rooms", strings.TrimSpace(h.ask("GET", "/api/v1/rooms/codes", "").ok(200, nil).Body.String()),
		`{"rooms":[{"name":"茶/室 1","set_by":"alice","set_at":7}]}`)
	equal(t, "the names", strings.TrimSpace(h.ask("GET", "/api/v1/names?limit=9", "").ok(200, nil).Body.String()),
		`{"names":[{"name":"爱丽丝/7","claimed_at":7,"used_at":9}]}`)
	equal(t, "another name", strings.TrimSpace(h.ask("GET", "/api/v1/names?name=bob", "").ok(200, nil).Body.String()), `{"names":[]}`)
	h.ask("GET", "/api/v1/names?limit=0", "").problem(400, chat.CodeBadRequest)
	h.ask("DELETE", room, "").ok(204, nil)
	h.ask("DELETE", room, "").problem(404, chat.CodeNotFound)
	h.ask("DELETE", "/api/v1/names/%E7%88%B1%E4%B8%BD%E4%B8%9D%2F7", "").ok(204, nil)
	h.ask("DELETE", "/api/v1/names/%E7%88%B1%E4%B8%BD%E4%B8%9D%2F7", "").problem(404, chat.CodeNotFound)

	for _, call := range [][2]string{{"PUT", room}, {"DELETE", room}, {"DELETE", "/api/v1/names/x"}, {"GET", "/api/v1/names"}, {"GET", "/api/v1/rooms/codes"}} {
		h.ask(call[0], call[1], `{"code":"tea at six"}`, "Authorization", "").problem(401, chat.CodeUnauthorized)
		h.ask(call[0], call[1], `{"code":"tea at six"}`, "Authorization", "Bearer nonsense").problem(401, chat.CodeUnauthorized)
		if call[0] == "GET" {
			continue // a foreign page cannot read the answer
		}
		foreign := append(operator(), "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
		h.ask(call[0], call[1], `{"code":"tea at six"}`, foreign...).problem(403, chat.CodeForbidden)
	}
	if got := h.log.String(); strings.Contains(got, "tea at") {
		t.Errorf("the log tells a code: %s", got)
	}
}

// TestDoorsClient: the client says the same.
func TestDoorsClient(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.store.gates.names = map[string]bool{"a/b": true}
	server := httptest.NewServer(h.mux)
	t.Cleanup(server.Close)
	c := &api.Client{URL: server.URL, Key: testKey}
	must(t, c.SetRoomCode(t.Context(), "a/b ?", "tea at four"))
	equal(t, "the code", h.store.gates.codes["room:a/b ?"], "tea at four")
	rooms, err := c.RoomCodes(t.Context())
	must(t, err)
	equal(t, "the rooms", fmt.Sprint(rooms), "[{a/b ? alice 7}]")
	names, err := c.Names(t.Context(), "a/b", 9)
	must(t, err)
	equal(t, "the names", fmt.Sprint(names), "[{a/b 7 9}]")
	must(t, c.DropRoomCode(t.Context(), "a/b ?"))
	equal(t, "twice", chat.CodeOf(c.DropRoomCode(t.Context(), "a/b ?")), chat.CodeNotFound)
	must(t, c.FreeName(t.Context(), "a/b"))
	equal(t, "twice", chat.CodeOf(c.FreeName(t.Context(), "a/b")), chat.CodeNotFound)
}
