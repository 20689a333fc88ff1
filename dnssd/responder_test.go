package dnssd

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	typesName = "_services._dns-sd._udp.local."
	listName  = "_teahouse._tcp.local."
	ownName   = "Teahouse on pi._teahouse._tcp.local."
	hostName  = "teahouse-abc.local."
)

// TestAnnounce: three probes, two announcements, silence, and a goodbye.
func TestAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ether
		began := time.Now()
		c := e.start(t, tea, nic(1, "lan0", "10.0.0.5/24"))
		time.Sleep(time.Minute)
		said := e.since(0)
		if len(said) != 5 {
			t.Fatalf("%d packets: %v", len(said), said)
		}
		for i, p := range said[:3] {
			q := p.msg.Questions
			if p.msg.Response || len(q) != 1 || q[0].Name.String() != ownName || q[0].Type != dnsmessage.TypeALL || q[0].Class != dnsmessage.ClassINET|topBit {
				t.Errorf("probe %d: %+v", i, p.msg)
			}
			if srv, h, ok := has[*dnsmessage.SRVResource](p.msg.Authorities, ownName); !ok || srv.Port != 8040 || h.Class != dnsmessage.ClassINET {
				t.Errorf("probe %d says not what it wants: %+v", i, p.msg.Authorities)
			}
			if i > 0 && p.at.Sub(said[i-1].at) != 250*time.Millisecond {
				t.Errorf("probe %d came %s after the one before", i, p.at.Sub(said[i-1].at))
			}
		}
		if first := said[0].at.Sub(began); first > 250*time.Millisecond {
			t.Errorf("the first probe came after %s", first)
		}
		if a, b := said[3].at.Sub(said[2].at), said[4].at.Sub(said[3].at); a != 250*time.Millisecond || b != time.Second {
			t.Errorf("announcements after %s and %s", a, b)
		}
		for _, p := range said[3:] {
			whole(t, p.msg.Answers, false)
			if !p.msg.Response || !p.msg.Authoritative || p.msg.ID != 0 || len(p.msg.Questions) != 0 || p.to != group {
				t.Errorf("announcement: %+v", p.msg)
			}
		}
		if got := c.called(); !slices.Equal(got, []string{"Teahouse on pi"}) {
			t.Errorf("the names: %q", got)
		}
		n := e.mark()
		c.stop()
		bye := e.since(n)
		if len(bye) != 1 {
			t.Fatalf("at the end: %v", bye)
		}
		for _, r := range bye[0].msg.Answers {
			if r.Header.TTL != 0 {
				t.Errorf("the goodbye keeps %+v", r)
			}
		}
		if _, _, ok := has[*dnsmessage.PTRResource](bye[0].msg.Answers, listName); !ok || !bye[0].msg.Response {
			t.Errorf("the goodbye: %+v", bye[0].msg)
		}
		if _, _, ok := has[*dnsmessage.PTRResource](bye[0].msg.Answers, typesName); ok {
			t.Error("the goodbye takes the type away from other servers")
		}
	})
}

// whole looks for everything about the service.
func whole(t *testing.T, rs []dnsmessage.Resource, legacy bool) {
	t.Helper()
	unique, ttl := dnsmessage.ClassINET|topBit, uint32(120)
	if legacy {
		unique, ttl = dnsmessage.ClassINET, 10
	}
	if ptr, h, ok := has[*dnsmessage.PTRResource](rs, listName); !ok || ptr.PTR.String() != ownName || h.Class != dnsmessage.ClassINET || !legacy && h.TTL != 4500 {
		t.Errorf("PTR %+v %+v", ptr, h)
	}
	if srv, h, ok := has[*dnsmessage.SRVResource](rs, ownName); !ok || srv.Port != 8040 || srv.Target.String() != hostName || h.Class != unique || h.TTL != ttl {
		t.Errorf("SRV %+v %+v", srv, h)
	}
	if txt, h, ok := has[*dnsmessage.TXTResource](rs, ownName); !ok || !slices.Equal(txt.TXT, tea.Text) || h.Class != unique {
		t.Errorf("TXT %+v %+v", txt, h)
	}
	if a, h, ok := has[*dnsmessage.AResource](rs, hostName); !ok || a.A != [4]byte{10, 0, 0, 5} || h.Class != unique || h.TTL != ttl {
		t.Errorf("A %+v %+v", a, h)
	}
}

// settled starts a service and lets it be for ten minutes.
func settled(t *testing.T, e *ether) *computer {
	c := e.start(t, tea, nic(1, "lan0", "10.0.0.5/24"))
	time.Sleep(10 * time.Minute)
	return c
}

func TestAnswers(t *testing.T) {
	nsecOf := func(n string, types ...byte) *dnsmessage.UnknownResource {
		return &dnsmessage.UnknownResource{Type: 47, Data: append(wire(name(n)), append([]byte{0, byte(len(types))}, types...)...)}
	}
	for _, tt := range []struct {
		name     string
		question string
		typ      dnsmessage.Type
		owner    string
		want     []dnsmessage.ResourceBody // the answers
		more     int                       // additional records
	}{
		{"list", listName, dnsmessage.TypePTR, listName, []dnsmessage.ResourceBody{&dnsmessage.PTRResource{PTR: name(ownName)}}, 4},
		{"list in capitals", "_TeaHouse._TCP.Local.", dnsmessage.TypePTR, listName, []dnsmessage.ResourceBody{&dnsmessage.PTRResource{PTR: name(ownName)}}, 4},
		{"any of the list", listName, dnsmessage.TypeALL, listName, []dnsmessage.ResourceBody{&dnsmessage.PTRResource{PTR: name(ownName)}}, 4},
		{"types", typesName, dnsmessage.TypePTR, typesName, []dnsmessage.ResourceBody{&dnsmessage.PTRResource{PTR: name(listName)}}, 0},
		{"SRV", ownName, dnsmessage.TypeSRV, ownName, []dnsmessage.ResourceBody{&dnsmessage.SRVResource{Port: 8040, Target: name(hostName)}}, 2},
		{"TXT", ownName, dnsmessage.TypeTXT, ownName, []dnsmessage.ResourceBody{&dnsmessage.TXTResource{TXT: tea.Text}}, 0},
		{"any of the instance", ownName, dnsmessage.TypeALL, ownName, []dnsmessage.ResourceBody{&dnsmessage.SRVResource{Port: 8040, Target: name(hostName)}, &dnsmessage.TXTResource{TXT: tea.Text}}, 2},
		{"no address of the instance", ownName, dnsmessage.TypeA, ownName, []dnsmessage.ResourceBody{nsecOf(ownName, 0, 0, 0x80, 0, 0x40)}, 0},
		{"A", hostName, dnsmessage.TypeA, hostName, []dnsmessage.ResourceBody{&dnsmessage.AResource{A: [4]byte{10, 0, 0, 5}}}, 0},
		{"no AAAA", hostName, dnsmessage.TypeAAAA, hostName, []dnsmessage.ResourceBody{nsecOf(hostName, 0x40)}, 1},
		{"another type", "_http._tcp.local.", dnsmessage.TypePTR, "", nil, 0},
		{"another instance", "Tea on pi._teahouse._tcp.local.", dnsmessage.TypeSRV, "", nil, 0},
		{"the list's address", listName, dnsmessage.TypeA, "", nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var e ether
				settled(t, &e)
				asked := time.Now()
				got := e.ask(t, phone, question(tt.question, tt.typ), 5*time.Second)
				if tt.want == nil {
					if len(got) != 0 {
						t.Errorf("answered: %v", got)
					}
					return
				}
				if len(got) != 1 || got[0].to != group || len(got[0].msg.Additionals) != tt.more {
					t.Fatalf("%v", got)
				}
				// Others may answer for the type as well.
				delay := got[0].at.Sub(asked)
				if isShared := tt.owner == listName || tt.owner == typesName; isShared && (delay < 20*time.Millisecond || delay > 120*time.Millisecond) || !isShared && delay != 0 {
					t.Errorf("answered after %s", delay)
				}
				var bodies []dnsmessage.ResourceBody
				for _, r := range got[0].msg.Answers {
					bodies = append(bodies, r.Body)
					if r.Header.Name.String() != tt.owner {
						t.Errorf("the name %s", r.Header.Name)
					}
				}
				if !reflect.DeepEqual(bodies, tt.want) {
					t.Errorf("got  %+v\nwant %+v", got[0].msg.Answers, tt.want)
				}
			})
		})
	}
}

// TestKnownAnswers: who knows us is not told again, who knows another is.
func TestKnownAnswers(t *testing.T) {
	known := func(target string, ttl uint32) dnsmessage.Message {
		m := question(listName, dnsmessage.TypePTR)
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name(listName), Class: dnsmessage.ClassINET, TTL: ttl}, Body: &dnsmessage.PTRResource{PTR: name(target)}}}
		return m
	}
	for _, tt := range []struct {
		name string
		msg  dnsmessage.Message
		want int
	}{
		{"us", known(ownName, 4000), 0},
		{"us, for not much longer", known(ownName, 2000), 1},
		{"another server", known("Teahouse on pc._teahouse._tcp.local.", 4000), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var e ether
				settled(t, &e)
				if got := e.ask(t, phone, tt.msg, 5*time.Second); len(got) != tt.want {
					t.Errorf("%d answers: %v", len(got), got)
				}
			})
		})
	}
}

// TestManyAsk: a record is not said to all more than once a second, however
// many ask for it, and all hear it.
func TestManyAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ether
		settled(t, &e)
		n := e.mark()
		asked := 0
		for range 300 {
			time.Sleep(10 * time.Millisecond)
			e.ask(t, phone, question(listName, dnsmessage.TypePTR), 0)
			asked++
		}
		time.Sleep(3 * time.Second)
		var at []time.Time
		for _, p := range e.since(n) {
			if p.msg.Response {
				at = append(at, p.at)
			}
		}
		if len(at) < 3 || len(at) > 5 {
			t.Errorf("%d answers to %d questions in 3 s", len(at), asked)
		}
		for i := 1; i < len(at); i++ {
			if at[i].Sub(at[i-1]) < time.Second {
				t.Errorf("two answers within %s", at[i].Sub(at[i-1]))
			}
		}
	})
}

// TestAskAlone: who asks to be answered alone is, if all have heard it lately.
func TestAskAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ether
		settled(t, &e)
		alone := question(ownName, dnsmessage.TypeSRV)
		alone.Questions[0].Class |= topBit
		for i, want := range []netip.AddrPort{group, phone} { // ten minutes are more than a quarter of 120 s
			got := e.ask(t, phone, alone, 2*time.Second)
			if len(got) != 1 || got[0].to != want {
				t.Errorf("answer %d: %v; want it to go to %s", i, got, want)
			}
		}
	})
}

// TestPlainClient: one that asks from another port, such as dig, is answered
// like by a DNS server.
func TestPlainClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ether
		settled(t, &e)
		dig := netip.MustParseAddrPort("10.0.0.77:40000")
		msg := question(listName, dnsmessage.TypePTR)
		msg.ID = 4711
		got := e.ask(t, dig, msg, 2*time.Second)
		if len(got) != 1 || got[0].to != dig || got[0].msg.ID != 4711 || !slices.Equal(got[0].msg.Questions, msg.Questions) {
			t.Fatalf("%v", got)
		}
		whole(t, slices.Concat(got[0].msg.Answers, got[0].msg.Additionals), true)
		if got[0].msg.Answers[0].Header.TTL != 10 {
			t.Errorf("TTL %d", got[0].msg.Answers[0].Header.TTL)
		}
	})
}

// TestStrangers: packets from outside of the LAN, from wrong ports, and what
// is no DNS change nothing.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ether
		c := settled(t, &e)
		for _, from := range []string{"8.8.8.8:5353", "10.0.1.77:5353", "192.168.5.9:40000"} {
			if got := e.ask(t, netip.MustParseAddrPort(from), question(listName, dnsmessage.TypePTR), 2*time.Second); len(got) != 0 {
				t.Errorf("%s was answered: %v", from, got)
			}
		}
		theirs := tea
		theirs.Host = "evil"
		z, err := newZone(theirs, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{"10.0.0.66:40000", "8.8.8.8:5353"} {
			if got := e.ask(t, netip.MustParseAddrPort(from), z.response(ownSRV, nil, manner{}), 5*time.Second); len(got) != 0 {
				t.Errorf("%s disturbed: %v", from, got)
			}
		}
		if got := c.called(); len(got) != 1 {
			t.Errorf("the names: %q", got)
		}
	})
}

// TestSameName: two servers of the same name, whose computers got power at the
// same time or one after the other, end up with two names.
func TestSameName(t *testing.T) {
	for _, gap := range []time.Duration{0, 300 * time.Millisecond, 700 * time.Millisecond, time.Hour} {
		t.Run(gap.String(), func(t *testing.T) {
			for range 20 {
				synctest.Test(t, func(t *testing.T) {
					var e ether
					one := e.start(t, tea, nic(1, "lan0", "10.0.0.5/24"))
					time.Sleep(gap)
					other := tea
					other.Host, other.Port = "teahouse-xyz", 9000
					two := e.start(t, other, nic(1, "wlan0", "10.0.0.6/24"))
					three := e.start(t, Service{Instance: tea.Instance, Type: tea.Type, Host: "teahouse-third", Port: 8040}, nic(3, "eth1", "10.0.0.7/24"))
					time.Sleep(time.Minute)
					last := func(c *computer) string { n := c.called(); return n[len(n)-1] }
					names := []string{last(one), last(two), last(three)}
					if gap == time.Hour && names[0] != tea.Instance {
						t.Errorf("the one that was first lost its name: %q", names)
					}
					slices.Sort(names)
					if !slices.Equal(names, []string{"Teahouse on pi", "Teahouse on pi (2)", "Teahouse on pi (3)"}) {
						t.Errorf("the names: %q", names)
					}
					// All three are found.
					got := e.ask(t, phone, question(listName, dnsmessage.TypePTR), 5*time.Second)
					if len(got) != 3 {
						t.Errorf("%d answers", len(got))
					}
				})
			}
		})
	}
}

// TestTwoInterfacesOfOneLAN: a computer that is in a LAN twice hears itself,
// and is nobody else.
func TestTwoInterfacesOfOneLAN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ether
		c := e.start(t, tea, nic(1, "lan0", "10.0.0.5/24"), nic(2, "wlan0", "10.0.0.6/24"))
		time.Sleep(time.Hour)
		if got := c.called(); !slices.Equal(got, []string{"Teahouse on pi"}) {
			t.Errorf("the names: %q", got)
		}
		if said := e.since(0); len(said) != 10 {
			t.Errorf("%d packets in an hour", len(said))
		}
	})
}

// TestNetworksComeAndGo: each network is told the address that it can reach,
// and no socket is open while there is none.
func TestNetworksComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ether
		c := e.start(t, tea)
		time.Sleep(time.Hour)
		if len(e.since(0)) != 0 || len(e.ports) != 0 {
			t.Error("without a network there is a socket")
		}
		set := func(ns ...Network) []spoken {
			c.set(ns...)
			n := e.mark()
			time.Sleep(15 * time.Second)
			return e.since(n)
		}
		set(nic(1, "lan0", "10.0.0.5/24"))
		both := set(nic(1, "lan0", "10.0.0.5/24"), nic(2, "wlan0", "192.168.5.8/24"))
		for _, p := range both {
			if !p.msg.Response {
				continue
			}
			a, _, ok := has[*dnsmessage.AResource](p.msg.Answers, hostName)
			if want := map[string][4]byte{"lan0": {10, 0, 0, 5}, "wlan0": {192, 168, 5, 8}}[p.via]; !ok || a.A != want {
				t.Errorf("at %s the address is %v", p.via, a)
			}
		}
		if len(both) != 10 {
			t.Errorf("%d packets when a network came", len(both))
		}
		asked := e.ask(t, netip.MustParseAddrPort("192.168.5.77:5353"), question(hostName, dnsmessage.TypeA), time.Second)
		if len(asked) != 1 || asked[0].via != "wlan0" {
			t.Errorf("%v", asked)
		}
		set()
		if len(e.ports) != 0 {
			t.Error("the networks have gone, the socket has not")
		}
		if got := set(nic(1, "lan0", "10.0.0.9/24")); len(got) != 5 {
			t.Errorf("%d packets with a new address", len(got))
		}
	})
}

// TestFailures are told once, and do not last.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e ether
		c := e.start(t, tea)
		c.hamper(errTaken, nil)
		c.set(nic(1, "lan0", "10.0.0.5/24"))
		time.Sleep(5 * time.Minute)
		c.hamper(nil, errBroken)
		time.Sleep(5 * time.Minute)
		if names, failures := c.called(), c.failed(); len(failures) != 1 || !errors.Is(failures[0], errTaken) || len(names) != 0 {
			t.Fatalf("failures %v, announced %q", failures, names)
		}
		c.hamper(nil, nil)
		time.Sleep(2 * time.Minute)
		if names, failures := c.called(), c.failed(); len(names) != 1 || len(failures) != 1 {
			t.Fatalf("announced %q, failures %v", names, failures)
		}
		c.hamper(nil, errBroken)
		e.ports[0].Close()
		time.Sleep(2 * time.Minute)
		if failures := c.failed(); len(failures) != 2 {
			t.Errorf("failures %v", failures)
		}
		if n := len(e.ports); n != 0 {
			t.Errorf("%d sockets are open", n)
		}
	})
}

// TestBadService: what cannot be announced anywhere is refused at once.
func TestBadService(t *testing.T) {
	for _, change := range []func(*Service){
		func(s *Service) { s.Instance = "" },
		func(s *Service) { s.Instance = "a.b" },
		func(s *Service) { s.Instance = string(make([]byte, 64)) },
		func(s *Service) { s.Text = []string{string(make([]byte, 256))} },
		func(s *Service) { s.Host = string(slices.Repeat([]byte("x"), 260)) },
	} {
		s := tea
		change(&s)
		if err := Announce(t.Context(), s, Options{}); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}
