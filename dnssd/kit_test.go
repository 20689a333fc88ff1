package dnssd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// The tests put responders into a LAN that exists in memory only, and in
// bubble time.

// ether is a LAN: what one says to the group, all hear.
type ether struct {
	mu    sync.Mutex
	ports []*adapter
	log   []spoken
}

// spoken is a packet that was sent.
type spoken struct {
	at       time.Time
	from, to netip.AddrPort
	via      string
	msg      dnsmessage.Message
}

func (s spoken) String() string {
	var names []string
	for _, r := range slices.Concat(s.msg.Answers, s.msg.Additionals) {
		names = append(names, fmt.Sprintf("%s %s %d", r.Header.Name, r.Header.Type, r.Header.TTL))
	}
	return fmt.Sprintf("%s: %s -> %s, response %t, %q", s.at.Format("04:05.000"), s.from, s.to, s.msg.Response, names)
}

// adapter is a computer's way into LANs; it is the link of its responder.
type adapter struct {
	lan    *ether
	own    []netip.Addr
	in     chan incoming
	closed chan struct{}
	once   sync.Once
	refuse func() error // of writing
}

func (e *ether) plug(refuse func() error, own ...netip.Addr) *adapter {
	a := &adapter{lan: e, own: own, refuse: refuse, in: make(chan incoming, 100), closed: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ports = append(e.ports, a)
	return a
}

// say delivers a packet.
func (e *ether) say(packet []byte, from, to netip.AddrPort, via string) {
	var msg dnsmessage.Message
	if err := msg.Unpack(packet); err != nil {
		panic(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = append(e.log, spoken{time.Now(), from, to, via, msg})
	for _, p := range e.ports {
		if to == group || slices.Contains(p.own, to.Addr()) {
			select {
			case p.in <- incoming{slices.Clone(packet), from}:
			default:
				panic("nobody reads")
			}
		}
	}
}

func (a *adapter) Read(packet []byte) (int, netip.AddrPort, error) {
	select {
	case in := <-a.in:
		return copy(packet, in.packet), in.from, nil
	case <-a.closed:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (a *adapter) Write(packet []byte, via Network, to netip.AddrPort) error {
	if err := a.refuse(); err != nil {
		return err
	}
	a.lan.say(packet, netip.AddrPortFrom(via.Addrs[0].Addr(), port), to, via.Interface.Name)
	return nil
}

func (a *adapter) Close() error {
	a.once.Do(func() { close(a.closed) })
	a.lan.mu.Lock()
	defer a.lan.mu.Unlock()
	a.lan.ports = slices.DeleteFunc(a.lan.ports, func(p *adapter) bool { return p == a })
	return nil
}

// since returns what was sent from a point of the log on.
func (e *ether) since(n int) []spoken {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.log[n:])
}

func (e *ether) mark() int { return len(e.since(0)) }

// computer is one with a service.
type computer struct {
	mu       sync.Mutex
	networks []Network
	names    []string // that it was announced under
	failures []error
	taken    error // why no socket can be opened
	broken   error // why nothing can be written
	stop     func()
}

func nic(index int, name string, addrs ...string) Network {
	n := Network{Interface: net.Interface{Index: index, Name: name}}
	for _, a := range addrs {
		n.Addrs = append(n.Addrs, netip.MustParsePrefix(a))
	}
	return n
}

var tea = Service{Instance: "Teahouse on pi", Type: "_teahouse._tcp", Host: "teahouse-abc", Port: 8040, Text: []string{"path=/ws", "auth=open"}}

// start announces a service in e.
func (e *ether) start(t *testing.T, s Service, networks ...Network) *computer {
	t.Helper()
	c := &computer{networks: networks}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Announce(ctx, s, Options{
			Networks: func() ([]Network, error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				return slices.Clone(c.networks), nil
			},
			Announced: func(name string, _ []Network) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.names = append(c.names, name)
			},
			Failed: func(err error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.failures = append(c.failures, err)
			},
			listen: func(ns []Network) (link, []Network, error) {
				var own []netip.Addr
				for _, n := range ns {
					for _, a := range n.Addrs {
						own = append(own, a.Addr())
					}
				}
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.taken != nil {
					return nil, nil, c.taken
				}
				return e.plug(c.writable, own...), ns, nil
			},
		})
	}()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Announce: %v", err)
		}
	})
	t.Cleanup(c.stop)
	return c
}

// set changes the networks.
func (c *computer) set(networks ...Network) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.networks = networks
}

// hamper makes opening sockets, or writing to them, fail.
func (c *computer) hamper(taken, broken error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken, c.broken = taken, broken
}

func (c *computer) writable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

func (c *computer) failed() []error {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.failures)
}

func (c *computer) called() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.names)
}

func name(s string) dnsmessage.Name { return dnsmessage.MustNewName(s) }

// phone asks.
var phone = netip.MustParseAddrPort("10.0.0.77:5353")

func question(n string, t dnsmessage.Type) dnsmessage.Message {
	return dnsmessage.Message{Questions: []dnsmessage.Question{{Name: name(n), Type: t, Class: dnsmessage.ClassINET}}}
}

// ask sends a message from somewhere to the group, and returns what is sent in
// the following seconds by anybody else.
func (e *ether) ask(t *testing.T, from netip.AddrPort, msg dnsmessage.Message, wait time.Duration) []spoken {
	t.Helper()
	packet, err := msg.Pack()
	if err != nil {
		t.Fatal(err)
	}
	n := e.mark()
	e.say(packet, from, group, "")
	time.Sleep(wait)
	return e.since(n + 1)
}

// has finds a record.
func has[B dnsmessage.ResourceBody](rs []dnsmessage.Resource, owner string) (body B, header dnsmessage.ResourceHeader, ok bool) {
	for _, r := range rs {
		if b, is := r.Body.(B); is && r.Header.Name.String() == owner {
			return b, r.Header, true
		}
	}
	return body, header, false
}

var (
	errBroken = errors.New("the network is unreachable")
	errTaken  = errors.New("the port is taken")
)
