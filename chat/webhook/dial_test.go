package webhook

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"teahouse/chat"
)

// Which addresses an endpoint may be at.
func TestMayDial(t *testing.T) {
	t.Parallel()
	for addr, may := range map[string]string{ // without and with allow_private
		"93.184.216.34": "yes yes", "2606:2800:220:1:248:1893:25c8:1946": "yes yes", "1.1.1.1": "yes yes", "::ffff:93.184.216.34": "yes yes",
		"127.0.0.1": "no yes", "127.8.8.8": "no yes", "::1": "no yes", "::ffff:127.0.0.1": "no yes",
		"10.1.2.3": "no yes", "172.16.0.1": "no yes", "172.31.255.255": "no yes", "172.32.0.1": "yes yes", "192.168.1.1": "no yes", "::ffff:192.168.1.1": "no yes",
		"fd12:3456::1": "no yes", "100.64.0.1": "no yes", "100.127.255.255": "no yes", "100.128.0.1": "yes yes",
		"169.254.1.1": "no yes", "fe80::1%eth0": "no yes", "64:ff9b::7f00:1": "no yes", "2002:7f00:1::": "no yes", "::127.0.0.1": "no yes",
		"0.1.2.3": "no yes", "198.18.0.1": "no yes", "240.0.0.1": "no yes", "255.255.255.255": "no yes",
		"0.0.0.0": "no no", "::": "no no", "224.0.0.1": "no no", "ff02::1": "no no",
		"169.254.169.254": "no no", "::ffff:169.254.169.254": "no no", "fd00:ec2::254": "no no", "100.100.100.200": "no no",
	} {
		got := make([]string, 2)
		for i, private := range []bool{false, true} {
			got[i] = "yes"
			if mayDial(netip.MustParseAddr(addr), private) != nil {
				got[i] = "no"
			}
		}
		if s := strings.Join(got, " "); s != may {
			t.Errorf("%s: %s, want %s", addr, s, may)
		}
	}
}

// The real way out: the address is judged when it is dialled, after the name
// was looked up; redirects are not followed; what is answered is bounded; what
// goes wrong is said without the URL.
func TestPost(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { reached.Add(1) })
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/ok?and=secret", http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 32<<10)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	server := httptest.NewServer(mux)
	defer server.Close()
	secure := httptest.NewUnstartedServer(mux)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	gone := httptest.NewServer(mux)
	gone.Close()
	s := New(Options{})
	defer s.public.CloseIdleConnections()
	defer s.private.CloseIdleConnections()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	for _, c := range []struct {
		url     string
		private bool
		problem string
	}{
		{server.URL + "/ok", true, ""},
		{server.URL + "/ok", false, "its address 127.0.0.1 is of this computer or a private network"},
		{"http://localhost" + port + "/ok", false, "is of this computer or a private network"}, // a name that leads there
		{"http://localhost" + port + "/ok", true, ""},
		{server.URL + "/elsewhere?token=secret", true, "307 Temporary Redirect, and redirects are not followed"},
		{server.URL + "/endless", true, ""},
		{server.URL + "/none?token=secret", true, "it answered 404 Not Found"},
		{server.URL + "/cut?token=secret", true, "it closed the connection without an answer"},
		{gone.URL + "/ok?token=secret", true, "nothing listens there"},
		{secure.URL + "/ok?token=secret", true, "its certificate is not good"},
		{"http://no-such-host.invalid/?token=secret", false, "its host name"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		a := s.post(ctx, &chat.Webhook{URL: c.url, Private: c.private, Secret: secret}, "msg_1", []byte(`{}`))
		cancel()
		if c.problem == "" && a.problem != "" || !strings.Contains(a.problem, c.problem) || strings.Contains(a.problem, "secret") {
			t.Errorf("%s (private %v): %q, want %q", c.url, c.private, a.problem, c.problem)
		}
	}
	if n := reached.Load(); n != 2 {
		t.Errorf("the receiver was reached %d times, want 2", n)
	}
}
