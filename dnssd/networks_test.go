package dnssd

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"unicode/utf8"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestReachable: which interfaces are in a LAN.
func TestReachable(t *testing.T) {
	t.Parallel()
	const lan = net.FlagUp | net.FlagMulticast | net.FlagBroadcast | net.FlagRunning
	for _, tt := range []struct {
		name  string
		flags net.Flags
		addrs string
		want  string
	}{
		{"eth0", lan, "192.168.1.20/24 fe80::1/64 2001:db8::5/64", "[192.168.1.20/24]"},
		{"wlan0", lan, "10.1.2.3/8", "[10.1.2.3/8]"},
		{"br-lan", lan, "192.168.8.1/24", "[192.168.8.1/24]"},
		{"br0", lan, "172.16.0.9/16 10.0.0.1/24", "[172.16.0.9/16 10.0.0.1/24]"},
		{"Wi-Fi", lan, "169.254.7.7/16", "[169.254.7.7/16]"},
		{"eth0", lan, "169.254.7.7/16 192.168.1.20/24", "[192.168.1.20/24]"},
		{"vEthernet (External)", lan, "192.168.1.20/24", "[192.168.1.20/24]"},

		{"eth0", lan, "203.0.113.9/24", "[]"},                  // public
		{"eth0", lan, "203.0.113.9/24 10.19.0.5/16", "[]"},     // a VPS with an inner address beside
		{"eth0", lan, "10.128.0.2/32", "[]"},                   // a VPS that sees its router only
		{"eth0", lan, "100.64.3.4/10", "[]"},                   // shared by a provider's customers
		{"eth0", lan, "2001:db8::5/64 fd00::5/64", "[]"},       // nothing of IPv4
		{"eth0", lan, "", "[]"},                                // no address yet
		{"eth0", lan &^ net.FlagUp, "192.168.1.20/24", "[]"},   // down
		{"eth0", lan &^ net.FlagMulticast, "10.0.0.1/8", "[]"}, // cannot
		{"lo", lan | net.FlagLoopback, "127.0.0.1/8 10.0.0.1/8", "[]"},
		{"wg0", lan | net.FlagPointToPoint, "10.8.0.2/24", "[]"},
		{"docker0", lan, "172.17.0.1/16", "[]"},
		{"br-0123456789ab", lan, "172.18.0.1/16", "[]"},
		{"veth12ab34c", lan, "169.254.1.1/16", "[]"},
		{"virbr0", lan, "192.168.122.1/24", "[]"},
		{"vEthernet (WSL (Hyper-V firewall))", lan, "172.28.0.1/20", "[]"},
		{"vEthernet (Default Switch)", lan, "172.29.0.1/20", "[]"},
	} {
		t.Run(tt.name+" "+tt.addrs, func(t *testing.T) {
			var addrs []net.Addr
			for f := range strings.FieldsSeq(tt.addrs) {
				ip, n, err := net.ParseCIDR(f)
				if err != nil {
					t.Fatal(err)
				}
				addrs = append(addrs, &net.IPNet{IP: ip, Mask: n.Mask})
			}
			if got := fmt.Sprint(reachable(net.Interface{Name: tt.name, Flags: tt.flags}, addrs)); got != tt.want {
				t.Errorf("%s; want %s", got, tt.want)
			}
		})
	}
}

// TestLANs: the system answers at all, and loopback is no LAN.
func TestLANs(t *testing.T) {
	t.Parallel()
	lans, err := LANs()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range lans {
		if n.Interface.Flags&net.FlagLoopback != 0 || len(n.Addrs) == 0 {
			t.Errorf("%+v", n)
		}
	}
}

func TestLabel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Teahouse on pi":                "Teahouse on pi",
		"Teahouse on box.example.org":   "Teahouse on box-example-org",
		" Tea\thouse\x00\n on\xff pi  ": "Teahouse on pi",
		"Teahouse on 茶馆的服务器":            "Teahouse on 茶馆的服务器",
		strings.Repeat("茶", 30):         strings.Repeat("茶", 19), // 57 bytes
		strings.Repeat("x", 56) + "茶":   strings.Repeat("x", 56),
		strings.Repeat("x", 56) + " y":  strings.Repeat("x", 56),
	} {
		got := Label(in)
		if got != want || !utf8.ValidString(got) {
			t.Errorf("%q becomes %q; want %q", in, got, want)
		}
		s := tea
		s.Instance = got
		for _, number := range []int{1, numberMax} {
			if _, err := newZone(s, number); err != nil {
				t.Errorf("%q as number %d: %v", in, number, err)
			}
		}
	}
}
