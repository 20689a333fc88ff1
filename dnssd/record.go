package dnssd

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// records is a set of the records that a zone has.
type records uint8

const (
	typesPTR records = 1 << iota // _services._dns-sd._udp.local -> the type
	listPTR                      // the type -> the instance
	ownSRV                       // the instance -> host and port
	ownTXT
	ownNSEC // the instance has SRV and TXT, and nothing else
	hostA
	hostNSEC // the host has A, and nothing else

	all = typesPTR | listPTR | ownSRV | ownTXT | hostA
	// announced are the records that come and go with the service. Others may
	// have the same types record.
	announced = listPTR | ownSRV | ownTXT | hostA
	// shared are those that several computers may have at once.
	shared = typesPTR | listPTR
)

const (
	typeNSEC   dnsmessage.Type  = 47
	topBit     dnsmessage.Class = 1 << 15 // of a question: answer me alone; of a record: forget older ones
	legacyTTL                   = 10      // seconds; RFC 6762, 6.7
	hostTTL                     = 120     // of what names a host, or is in its name
	serviceTTL                  = 75 * 60
)

func (r records) ttl() uint32 {
	if r&(typesPTR|listPTR|ownTXT) != 0 {
		return serviceTTL
	}
	return hostTTL
}

// recently is how long ago a record must have been told to all for an answer
// to one alone to do (RFC 6762, 5.4).
func (r records) recently() time.Duration { return time.Duration(r.ttl()) * time.Second / 4 }

func (r records) each(yield func(records) bool) {
	for one := typesPTR; one <= hostNSEC; one <<= 1 {
		if r&one != 0 && !yield(one) {
			return
		}
	}
}

func same(a, b dnsmessage.Name) bool { return strings.EqualFold(a.String(), b.String()) }

// answers returns the records that answer a question.
func (z *zone) answers(q dnsmessage.Question) records {
	if c := q.Class &^ topBit; c != dnsmessage.ClassINET && c != dnsmessage.ClassANY {
		return 0
	}
	is := func(t dnsmessage.Type) bool { return q.Type == t || q.Type == dnsmessage.TypeALL }
	switch {
	case same(q.Name, z.types) && is(dnsmessage.TypePTR):
		return typesPTR
	case same(q.Name, z.list) && is(dnsmessage.TypePTR):
		return listPTR
	case same(q.Name, z.own):
		switch q.Type {
		case dnsmessage.TypeSRV:
			return ownSRV
		case dnsmessage.TypeTXT:
			return ownTXT
		case dnsmessage.TypeALL:
			return ownSRV | ownTXT
		}
		return ownNSEC
	case same(q.Name, z.host):
		if is(dnsmessage.TypeA) {
			return hostA
		}
		// To say that there is none spares who asks the wait for an answer.
		return hostNSEC
	}
	return 0
}

// additional returns what who gets the answers will ask next.
func additional(answers records) records {
	var more records
	if answers&listPTR != 0 {
		more |= ownSRV | ownTXT | hostA | hostNSEC
	}
	if answers&ownSRV != 0 {
		more |= hostA | hostNSEC
	}
	if answers&hostNSEC != 0 {
		more |= hostA
	}
	return more &^ answers
}

// manner is how records are told.
type manner struct {
	legacy  bool // to a plain DNS client
	goodbye bool
	probe   bool
}

// resources writes records out, as they are in one network.
func (z *zone) resources(set records, addrs []netip.Prefix, m manner) (out []dnsmessage.Resource) {
	for one := range set.each {
		ttl := one.ttl()
		switch {
		case m.goodbye:
			ttl = 0
		case m.legacy:
			ttl = min(ttl, legacyTTL)
		}
		class := dnsmessage.ClassINET
		if one&shared == 0 && !m.legacy && !m.probe {
			class |= topBit
		}
		add := func(name dnsmessage.Name, body dnsmessage.ResourceBody) {
			out = append(out, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Class: class, TTL: ttl}, Body: body})
		}
		switch one {
		case typesPTR:
			add(z.types, &dnsmessage.PTRResource{PTR: z.list})
		case listPTR:
			add(z.list, &dnsmessage.PTRResource{PTR: z.own})
		case ownSRV:
			add(z.own, &dnsmessage.SRVResource{Port: z.Port, Target: z.host})
		case ownTXT:
			add(z.own, &dnsmessage.TXTResource{TXT: z.text()})
		case ownNSEC:
			add(z.own, nsec(z.own, dnsmessage.TypeTXT, dnsmessage.TypeSRV))
		case hostA:
			for _, a := range addrs {
				add(z.host, &dnsmessage.AResource{A: a.Addr().As4()})
			}
		case hostNSEC:
			add(z.host, nsec(z.host, dnsmessage.TypeA))
		}
	}
	return out
}

// text is the service's text; a TXT record without any string is not legal.
func (z *zone) text() []string {
	if len(z.Text) == 0 {
		return []string{""}
	}
	return z.Text
}

// response is the message that tells records to all, or to one.
func (z *zone) response(answers records, addrs []netip.Prefix, m manner) dnsmessage.Message {
	msg := dnsmessage.Message{
		Header:  dnsmessage.Header{Response: true, Authoritative: true},
		Answers: z.resources(answers, addrs, m),
	}
	if !m.goodbye {
		msg.Additionals = z.resources(additional(answers), addrs, m)
	}
	return msg
}

// probe is the question whether the instance's name is free (RFC 6762, 8.1).
func (z *zone) probe() dnsmessage.Message {
	return dnsmessage.Message{
		Questions:   []dnsmessage.Question{{Name: z.own, Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET | topBit}},
		Authorities: z.resources(ownSRV|ownTXT, nil, manner{probe: true}),
	}
}

// known returns which of the zone's records a resource says, if it will be
// remembered for long enough (RFC 6762, 7.1).
func (z *zone) known(r dnsmessage.Resource, addrs []netip.Prefix) records {
	var one records
	switch b := r.Body.(type) {
	case *dnsmessage.PTRResource:
		switch {
		case same(r.Header.Name, z.types) && same(b.PTR, z.list):
			one = typesPTR
		case same(r.Header.Name, z.list) && same(b.PTR, z.own):
			one = listPTR
		}
	case *dnsmessage.SRVResource:
		if same(r.Header.Name, z.own) && !z.foreign(r) {
			one = ownSRV
		}
	case *dnsmessage.TXTResource:
		if same(r.Header.Name, z.own) && slices.Equal(b.TXT, z.text()) {
			one = ownTXT
		}
	case *dnsmessage.AResource:
		if same(r.Header.Name, z.host) && len(addrs) == 1 && addrs[0].Addr().As4() == b.A {
			one = hostA
		}
	}
	if r.Header.TTL < one.ttl()/2 {
		return 0
	}
	return one
}

// foreign says whether a resource shows that another service has the
// instance's name.
func (z *zone) foreign(r dnsmessage.Resource) bool {
	b, ok := r.Body.(*dnsmessage.SRVResource)
	return ok && same(r.Header.Name, z.own) && (b.Port != z.Port || !same(b.Target, z.host))
}

// precedes compares what two who want the instance's name say in their probes
// (RFC 6762, 8.2): -1 if ours gives way to theirs, 0 if they are the same.
func (z *zone) precedes(theirs []dnsmessage.Resource) int {
	return slices.CompareFunc(sorted(z.probe().Authorities, z.own), sorted(theirs, z.own), bytes.Compare)
}

// sorted brings the records of a name into the order of RFC 6762, 8.2, each as
// its class, type and data.
func sorted(rs []dnsmessage.Resource, name dnsmessage.Name) (out [][]byte) {
	for _, r := range rs {
		if !same(r.Header.Name, name) {
			continue
		}
		var raw []byte
		switch b := r.Body.(type) {
		case *dnsmessage.SRVResource:
			raw = []byte{0, 1, 0, byte(dnsmessage.TypeSRV), byte(b.Priority >> 8), byte(b.Priority), byte(b.Weight >> 8), byte(b.Weight), byte(b.Port >> 8), byte(b.Port)}
			raw = append(raw, wire(b.Target)...)
		case *dnsmessage.TXTResource:
			raw = []byte{0, 1, 0, byte(dnsmessage.TypeTXT)}
			for _, t := range b.TXT {
				raw = append(append(raw, byte(len(t))), t...)
			}
		default:
			continue
		}
		out = append(out, raw)
	}
	slices.SortFunc(out, bytes.Compare)
	return out
}

// nsec says that a name has records of some types and of no other. The types
// are below 256 and rise.
func nsec(name dnsmessage.Name, types ...dnsmessage.Type) dnsmessage.ResourceBody {
	bits := make([]byte, types[len(types)-1]/8+1)
	for _, t := range types {
		bits[t/8] |= 0x80 >> (t % 8)
	}
	data := append(wire(name), 0, byte(len(bits)))
	return &dnsmessage.UnknownResource{Type: typeNSEC, Data: append(data, bits...)}
}

// wire is a name as it stands in a message, not shortened.
func wire(name dnsmessage.Name) (out []byte) {
	for label := range strings.SplitSeq(strings.TrimSuffix(name.String(), "."), ".") {
		out = append(append(out, byte(len(label))), label...)
	}
	return append(out, 0)
}
