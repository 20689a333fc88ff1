package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLANService: what everybody in the LAN may read.
func TestLANService(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"pi":                      "Teahouse on pi",
		"pi.example.org":          "Teahouse on pi",
		"":                        "Teahouse",
		"localhost":               "Teahouse",
		"localhost.localdomain":   "Teahouse",
		"茶馆":                      "Teahouse on 茶馆",
		strings.Repeat("box", 40): "Teahouse on " + strings.Repeat("box", 15),
	} {
		s := lanService(host, 8040, false, "v1.2.3")
		if s.Instance != want || len(s.Instance) > 63 || !utf8.ValidString(s.Instance) {
			t.Errorf("%q: %q", host, s.Instance)
		}
	}
	open, tokens := lanService("pi", 8040, false, "v1.2.3"), lanService("pi", 9000, true, "v1.2.3")
	if !slices.Equal(open.Text, []string{"path=/ws", "auth=open", "version=v1.2.3"}) || open.Port != 8040 {
		t.Errorf("%+v", open)
	}
	if !slices.Equal(tokens.Text, []string{"path=/ws", "auth=token", "version=v1.2.3"}) || tokens.Port != 9000 {
		t.Errorf("%+v", tokens)
	}
	if open.Host == tokens.Host || !strings.HasPrefix(open.Host, "teahouse-") {
		t.Errorf("two servers are the hosts %s and %s", open.Host, tokens.Host)
	}
}
