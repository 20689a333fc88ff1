package api_test

import (
	"context"
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
	h.ask("DELETE", room, "").ok(204, nil)
	h.ask("DELETE", room, "").problem(404, chat.CodeNotFound)
	h.ask("DELETE", "/api/v1/names/%E7%88%B1%E4%B8%BD%E4%B8%9D%2F7", "").ok(204, nil)
	h.ask("DELETE", "/api/v1/names/%E7%88%B1%E4%B8%BD%E4%B8%9D%2F7", "").problem(404, chat.CodeNotFound)

	for _, call := range [][2]string{{"PUT", room}, {"DELETE", room}, {"DELETE", "/api/v1/names/x"}} {
		h.ask(call[0], call[1], `{"code":"tea at six"}`, "Authorization", "").problem(401, chat.CodeUnauthorized)
		h.ask(call[0], call[1], `{"code":"tea at six"}`, "Authorization", "Bearer nonsense").problem(401, chat.CodeUnauthorized)
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
	must(t, c.DropRoomCode(t.Context(), "a/b ?"))
	equal(t, "twice", chat.CodeOf(c.DropRoomCode(t.Context(), "a/b ?")), chat.CodeNotFound)
	must(t, c.FreeName(t.Context(), "a/b"))
	equal(t, "twice", chat.CodeOf(c.FreeName(t.Context(), "a/b")), chat.CodeNotFound)
}
