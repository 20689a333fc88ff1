package dnssd

import (
	"net"
	"net/netip"
	"regexp"
)

// virtual are interfaces of containers and virtual machines on this computer:
// nobody's phone is there. docker0 and br-<id> are Docker's; a router's br-lan
// or br0 is a real LAN.
var virtual = regexp.MustCompile(`^(docker|veth|virbr|vmnet|vboxnet|lxcbr|lxdbr|podman|cni|flannel|cali|kube)|^br-[0-9a-f]{12}$|^vEthernet \((Default Switch|WSL)`)

// LANs returns the networks in which a service may be announced: interfaces
// that are up and speak multicast, and whose IPv4 addresses are all private or
// link-local.
func LANs() ([]Network, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var lans []Network
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has gone away meanwhile
		}
		if own := reachable(i, addrs); len(own) > 0 {
			lans = append(lans, Network{Interface: i, Addrs: own})
		}
	}
	return lans, nil
}

// reachable returns an interface's addresses in a LAN, or none if it does not
// belong to one.
func reachable(i net.Interface, addrs []net.Addr) []netip.Prefix {
	const want, not = net.FlagUp | net.FlagMulticast, net.FlagLoopback | net.FlagPointToPoint
	if i.Flags&want != want || i.Flags&not != 0 || virtual.MatchString(i.Name) {
		return nil
	}
	var private, linkLocal []netip.Prefix
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(n.IP)
		if ip = ip.Unmap(); !ok || !ip.Is4() {
			continue // homes have public IPv6 addresses; they say nothing
		}
		bits, _ := n.Mask.Size()
		p := netip.PrefixFrom(ip, bits)
		switch {
		case ip.IsLinkLocalUnicast():
			linkLocal = append(linkLocal, p)
		case ip.IsPrivate():
			// Alone with its router, as some clouds give addresses, there is
			// nobody to tell.
			if bits < 31 {
				private = append(private, p)
			}
		default:
			return nil // a public address: this is not a LAN
		}
	}
	if len(private) > 0 {
		return private // whoever has none of those cannot be reached anyway
	}
	return linkLocal
}
