package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"teahouse/dnssd"
)

// serviceType is what mini-programs and apps in the LAN look for.
const serviceType = "_teahouse._tcp"

// announce tells the LAN where the server is, in the background, until stop is
// called, which takes it back first. A listener that no LAN reaches is not
// announced.
func announce(ctx context.Context, o *serveOptions, listening *net.TCPAddr, log *slog.Logger) (stop func()) {
	ip := listening.AddrPort().Addr().Unmap()
	if !o.announce || ip.IsLoopback() {
		return func() {}
	}
	if !ip.IsUnspecified() && !ip.Is4() {
		log.Info("not announced in the LAN: that needs an IPv4 address; --addr :8040 listens at all")
		return func() {}
	}
	host, _ := os.Hostname()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		failed := func(err error) {
			log.Warn("not announced in the LAN: apps there need this server's address typed in; free UDP port 5353 and let multicast pass (see docs/operations.md), or switch this off by --announce=false", "err", err)
		}
		err := dnssd.Announce(ctx, lanService(host, listening.Port, o.tokens, version()), dnssd.Options{
			Networks:  func() ([]dnssd.Network, error) { return lansOf(ip) },
			Announced: func(name string, in []dnssd.Network) { logAnnounced(log, name, in) },
			Failed:    failed,
		})
		if err != nil {
			failed(err)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// lanService is what is announced. Everybody in the LAN reads it.
func lanService(host string, port int, tokens bool, version string) dnssd.Service {
	auth := "open"
	if tokens {
		auth = "token"
	}
	name := "Teahouse"
	if host, _, _ = strings.Cut(host, "."); host != "" && host != "localhost" {
		name += " on " + host
	}
	return dnssd.Service{
		Instance: dnssd.Label(name),
		Type:     serviceType,
		// Not the computer's own name: that belongs to the system's responder.
		Host: "teahouse-" + strings.ToLower(rand.Text()[:12]),
		Port: uint16(port),
		Text: []string{"path=/ws", "auth=" + auth, "version=" + version},
	}
}

// lansOf returns the LANs in which a listener at ip is reached.
func lansOf(ip netip.Addr) ([]dnssd.Network, error) {
	lans, err := dnssd.LANs()
	if ip.IsUnspecified() || err != nil {
		return lans, err
	}
	for i := range lans {
		lans[i].Addrs = slices.DeleteFunc(lans[i].Addrs, func(p netip.Prefix) bool { return p.Addr() != ip })
	}
	return slices.DeleteFunc(lans, func(n dnssd.Network) bool { return len(n.Addrs) == 0 }), nil
}

func logAnnounced(log *slog.Logger, name string, in []dnssd.Network) {
	var names []string
	for _, n := range in {
		names = append(names, n.Interface.Name)
	}
	log.Info("announced in the LAN", "type", serviceType, "name", name, "interfaces", strings.Join(names, ","))
}
