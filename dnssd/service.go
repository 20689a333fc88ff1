package dnssd

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/dns/dnsmessage"
)

// Service is what is announced.
type Service struct {
	Instance string // for people: any text; see Label
	Type     string // as in _http._tcp
	Host     string // one label, without .local; nobody else in the LAN has it
	Port     uint16
	Text     []string // KEY=VALUE, none longer than 255 bytes
}

// Network is an interface and the addresses under which the computers of its
// LAN reach this one.
type Network struct {
	Interface net.Interface
	Addrs     []netip.Prefix
}

const (
	labelMax    = 63 // bytes; RFC 1035
	numberSpace = 6  // bytes that a label leaves free for " (999)"
)

// Label makes text fit for an instance's name: one line of UTF-8 that leaves
// room for a number in DNS's 63 bytes. A dot is legal in such a name, but the
// message library cannot write it.
func Label(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError || unicode.IsControl(r):
			return -1
		case r == '.':
			return '-'
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	for len(text) > labelMax-numberSpace {
		_, last := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-last]
	}
	return strings.TrimSpace(text)
}

// zone is the service under one name.
type zone struct {
	Service
	label                  string // the instance with its number
	types, list, own, host dnsmessage.Name
}

// newZone gives the service its first name, or its second, and so on, when
// others in the LAN have those before.
func newZone(s Service, number int) (*zone, error) {
	z := &zone{Service: s, label: s.Instance}
	if number > 1 {
		z.label = fmt.Sprintf("%s (%d)", s.Instance, number)
	}
	if s.Instance == "" || len(z.label) > labelMax || strings.Contains(z.label, ".") {
		return nil, fmt.Errorf("%q cannot be the name of a service", z.label)
	}
	for _, t := range s.Text {
		if len(t) > 255 {
			return nil, fmt.Errorf("the service's text %.20q… has more than 255 bytes", t)
		}
	}
	var err error
	name := func(s string) dnsmessage.Name {
		n, e := dnsmessage.NewName(s)
		if e != nil && err == nil {
			err = fmt.Errorf("%q cannot be a name in DNS: %w", s, e)
		}
		return n
	}
	z.types = name("_services._dns-sd._udp.local.")
	z.list = name(s.Type + ".local.")
	z.own = name(z.label + "." + s.Type + ".local.")
	z.host = name(s.Host + ".local.")
	return z, err
}
