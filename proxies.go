package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// proxies are the addresses of proxies whose word about a client's address
// counts. Anybody can write such a header; only who stands in between knows.
type proxies []netip.Prefix

// parseProxies reads the values of --trusted-proxy: addresses, networks, or
// "loopback" and "private".
func parseProxies(values []string) (p proxies, err error) {
	for _, v := range values {
		switch v = strings.TrimSpace(v); v {
		case "", "none":
		case "loopback":
			p = append(p, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
		case "private":
			for _, net := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} {
				p = append(p, netip.MustParsePrefix(net))
			}
		default:
			prefix, err := netip.ParsePrefix(v)
			if err != nil {
				addr, aerr := netip.ParseAddr(v)
				if aerr != nil {
					return nil, usage("--trusted-proxy %q is neither an address (192.0.2.7) nor a network (192.0.2.0/24), nor loopback, private or none", v)
				}
				prefix = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen())
			}
			p = append(p, prefix.Masked())
		}
	}
	return p, nil
}

func (p proxies) trust(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// client returns the address of who asks, without a port. If the other end of
// the connection is a trusted proxy, it is the last address in X-Forwarded-For
// that no trusted proxy wrote of another one, or X-Real-IP where there is
// none.
func (p proxies) client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	peer, err := netip.ParseAddr(host)
	if err != nil || !p.trust(peer.Unmap()) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	found := peer
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			break // whoever wrote this, nothing before it can be believed
		}
		found = hop
		if !p.trust(hop) {
			return hop.String()
		}
	}
	if found == peer {
		if hop, ok := parseHop(r.Header.Get("X-Real-IP")); ok {
			found = hop
		}
	}
	return found.Unmap().String()
}

// parseHop reads an address as proxies write it: some add a port.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}
