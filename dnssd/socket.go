package dnssd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// port is multicast DNS's.
const port = 5353

// group is where everybody in the LAN listens.
var group = netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 251}), port)

// link is how messages come and go. Only one goroutine writes.
type link interface {
	Read(packet []byte) (n int, from netip.AddrPort, err error)
	Write(packet []byte, via Network, to netip.AddrPort) error
	Close() error
}

// socket is the link of the real world: one socket for all networks, because
// Windows does not say by which interface a packet came.
type socket struct {
	conn   *net.UDPConn
	packet *ipv4.PacketConn
}

// listen opens the socket, and returns those of the networks that it can use.
func listen(networks []Network) (link, []Network, error) {
	// Go listens on all addresses, and shares the port with the system's own
	// responder, if the address is a group's. Which one is of no importance.
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(224, 0, 0, 0), Port: port})
	if err != nil {
		return nil, nil, fmt.Errorf("UDP port %d cannot be used: %w", port, err)
	}
	s := &socket{conn: conn, packet: ipv4.NewPacketConn(conn)}
	// 255 shows old implementations that a packet is from their own network.
	// Other programs on this computer hear us too, such as a second server.
	_ = s.packet.SetMulticastTTL(255)
	_ = s.packet.SetTTL(255)
	_ = s.packet.SetMulticastLoopback(true)
	var usable []Network
	var failed error
	for _, n := range networks {
		if err := s.packet.JoinGroup(&n.Interface, net.UDPAddrFromAddrPort(group)); err != nil {
			failed = errors.Join(failed, fmt.Errorf("no multicast at %s: %w", n.Interface.Name, err))
			continue
		}
		usable = append(usable, n)
	}
	if len(usable) == 0 {
		conn.Close()
		return nil, nil, failed
	}
	return s, usable, nil
}

func (s *socket) Read(packet []byte) (int, netip.AddrPort, error) {
	n, from, err := s.conn.ReadFromUDPAddrPort(packet)
	return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
}

func (s *socket) Write(packet []byte, via Network, to netip.AddrPort) error {
	if to == group {
		if err := s.packet.SetMulticastInterface(&via.Interface); err != nil {
			return err
		}
	}
	_, err := s.conn.WriteToUDPAddrPort(packet, to)
	return err
}

func (s *socket) Close() error { return s.conn.Close() }
