package dnssd

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func pack(t testing.TB, m dnsmessage.Message) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// dotted replaces a letter in a packet's names by a dot, which is legal there
// and which the library does not read.
func dotted(packet []byte) []byte {
	for i, b := range packet {
		if b == '#' {
			packet[i] = '.'
		}
	}
	return packet
}

// TestForeignNames: a question about a printer whose name has a dot does not
// hide the one about us beside it, nor does an answer.
func TestForeignNames(t *testing.T) {
	t.Parallel()
	printer := name("LaserJet 4#2._ipp._tcp.local.")
	ptr := func(n dnsmessage.Name, to dnsmessage.Name) dnsmessage.Resource {
		return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: n, Class: dnsmessage.ClassINET, TTL: 4500}, Body: &dnsmessage.PTRResource{PTR: to}}
	}
	q := question("LaserJet 4#2._ipp._tcp.local.", dnsmessage.TypeSRV)
	q.Questions = append(q.Questions, question(listName, dnsmessage.TypePTR).Questions...)
	q.Answers = []dnsmessage.Resource{
		ptr(name("_ipp._tcp.local."), printer),
		{Header: dnsmessage.ResourceHeader{Name: printer, Class: dnsmessage.ClassINET, TTL: 100}, Body: &dnsmessage.SRVResource{Target: printer}},
		ptr(name(listName), name(ownName)),
	}
	m, ok := parse(dotted(pack(t, q)))
	if !ok || len(m.questions) != 1 || m.questions[0].Name.String() != listName {
		t.Errorf("the questions: %+v", m.questions)
	}
	if len(m.answers) != 1 || m.answers[0].Header.Name.String() != listName {
		t.Errorf("the answers: %+v", m.answers)
	}
	// Whoever answers may put what matters into the additional records.
	r := dnsmessage.Message{Header: dnsmessage.Header{Response: true}, Answers: []dnsmessage.Resource{ptr(name("_ipp._tcp.local."), printer)}}
	r.Additionals = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name(ownName), Class: dnsmessage.ClassINET | topBit, TTL: 120}, Body: &dnsmessage.SRVResource{Port: 1, Target: name("x.local.")}}}
	z, err := newZone(tea, 1)
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := parse(dotted(pack(t, r))); !ok || len(m.answers) != 1 || !z.foreign(m.answers[0]) {
		t.Errorf("%+v", m)
	}
}

// nowhere is a link that leads nowhere.
type nowhere struct{ link }

func (nowhere) Write([]byte, Network, netip.AddrPort) error { return nil }

// FuzzHear: no packet from the LAN brings the responder down, and its name
// stays a name.
func FuzzHear(f *testing.F) {
	z, err := newZone(tea, 1)
	if err != nil {
		f.Fatal(err)
	}
	other := tea
	other.Host = "other"
	theirs, err := newZone(other, 1)
	if err != nil {
		f.Fatal(err)
	}
	net := nic(1, "lan0", "10.0.0.5/24")
	for _, m := range []dnsmessage.Message{
		z.probe(), theirs.probe(),
		z.response(all, net.Addrs, manner{}), theirs.response(all|ownNSEC|hostNSEC, net.Addrs, manner{}),
		question(listName, dnsmessage.TypePTR), question(ownName, dnsmessage.TypeALL),
	} {
		f.Add(pack(f, m), false)
		f.Add(pack(f, m), true)
	}
	f.Add([]byte("\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xc0\x0c"), true)
	f.Fuzz(func(t *testing.T, packet []byte, ours bool) {
		r := &responder{service: tea, number: 1}
		now := time.Now()
		if err := r.begin(now, nowhere{}, []Network{net}); err != nil {
			t.Fatal(err)
		}
		for range probes + announcements {
			if ours {
				now = now.Add(time.Second)
				if err := r.proceed(now); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, from := range []netip.AddrPort{phone, netip.MustParseAddrPort("10.0.0.77:99")} {
			if err := r.hear(now, incoming{packet, from}); err != nil {
				t.Fatal(err)
			}
		}
		r.flush(now.Add(time.Minute))
		if err := r.proceed(now.Add(2 * time.Minute)); err != nil {
			t.Fatal(err)
		}
	})
}
