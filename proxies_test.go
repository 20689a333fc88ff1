package main

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestClientAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, trusted, peer, forwarded, real, want string
	}{
		{"no proxy", "loopback", "192.0.2.1:1000", "", "", "192.0.2.1"},
		{"anybody can write a header", "loopback", "192.0.2.1:1000", "203.0.113.9", "203.0.113.9", "192.0.2.1"},
		{"a proxy on this computer", "loopback", "127.0.0.1:1000", "203.0.113.9", "", "203.0.113.9"},
		{"over IPv6", "loopback", "[::1]:1000", "2001:db8::7", "", "2001:db8::7"},
		{"mapped", "loopback", "[::ffff:127.0.0.1]:1000", "203.0.113.9", "", "203.0.113.9"},
		{"the client's own lie stands first", "loopback", "127.0.0.1:1000", "10.0.0.1, 203.0.113.9", "", "203.0.113.9"},
		{"two proxies", "loopback,192.0.2.0/24", "127.0.0.1:1000", "203.0.113.9, 192.0.2.7", "", "203.0.113.9"},
		{"all trusted: the first", "loopback,private", "127.0.0.1:1000", "10.1.2.3, 10.0.0.1", "", "10.1.2.3"},
		{"junk ends it", "loopback,private", "127.0.0.1:1000", "203.0.113.9, unknown, 10.0.0.1", "", "10.0.0.1"},
		{"with a port", "loopback", "127.0.0.1:1000", "203.0.113.9:4711", "", "203.0.113.9"},
		{"real IP", "loopback", "127.0.0.1:1000", "", "203.0.113.9", "203.0.113.9"},
		{"real IP junk", "loopback", "127.0.0.1:1000", "", "me", "127.0.0.1"},
		{"none", "none", "127.0.0.1:1000", "203.0.113.9", "203.0.113.9", "127.0.0.1"},
		{"one address", "192.0.2.7", "192.0.2.7:1", "203.0.113.9", "", "203.0.113.9"},
	} {
		p, err := parseProxies(strings.Split(c.trusted, ","))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.peer
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if c.real != "" {
			r.Header.Set("X-Real-IP", c.real)
		}
		if got := p.client(r); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
