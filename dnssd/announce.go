package dnssd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	lookEvery  = 10 * time.Second // for interfaces that come and go
	retryAfter = time.Minute      // when announcing failed
	packetMax  = 9000             // RFC 6762, 17
	readErrors = 10               // in a row, until the socket is taken for broken
)

// Options of Announce.
type Options struct {
	// Networks are where to announce; LANs by default. It is asked again every
	// few seconds.
	Networks func() ([]Network, error)
	// Announced is told the name that the service got, and where.
	Announced func(name string, networks []Network)
	// Failed is told why the service is not announced, once until it is. It is
	// tried again by itself.
	Failed func(error)

	listen func([]Network) (link, []Network, error)
}

// errMoved ends a run because the networks are others now.
var errMoved = errors.New("the networks have changed")

// Announce announces a service until ctx ends, and then takes it back. It
// returns an error only for a service that cannot be announced anywhere.
func Announce(ctx context.Context, s Service, o Options) error {
	if _, err := newZone(s, 1); err != nil {
		return err
	}
	if o.Networks == nil {
		o.Networks = LANs
	}
	if o.listen == nil {
		o.listen = listen
	}
	r := &responder{service: s, options: o, number: 1}
	for {
		networks, err := o.Networks()
		if err == nil && len(networks) > 0 {
			err = r.run(ctx, networks)
		}
		wait := lookEvery
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errMoved):
			continue
		case err != nil:
			wait = retryAfter
			if !r.failing && o.Failed != nil {
				o.Failed(err)
			}
			r.failing = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// incoming is a packet and its sender.
type incoming struct {
	packet []byte
	from   netip.AddrPort
}

// run announces the service in the given networks until ctx ends, they change,
// or the socket breaks.
func (r *responder) run(ctx context.Context, networks []Network) error {
	link, usable, err := r.options.listen(networks)
	if err != nil {
		return err
	}
	heard, broken, done := make(chan incoming), make(chan error, 1), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() { broken <- readAll(link, heard, done) })
	defer reader.Wait()
	defer link.Close()
	defer close(done)

	now := time.Now()
	if err := r.begin(now, link, usable); err != nil {
		return err
	}
	look := now.Add(lookEvery)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.goodbye()
			return nil
		case in := <-heard:
			err = r.hear(time.Now(), in)
		case err = <-broken:
		case <-timer.C:
		}
		if err != nil {
			return err
		}
		now = time.Now()
		if err := r.proceed(now); err != nil {
			return err
		}
		r.flush(now)
		if !now.Before(look) {
			look = now.Add(lookEvery)
			if fresh, err := r.options.Networks(); err != nil || !slices.EqualFunc(fresh, networks, sameNetwork) {
				return errors.Join(err, errMoved)
			}
		}
		timer.Reset(r.wake(look).Sub(now))
	}
}

// readAll hands over what comes in, until the link is closed or broken.
func readAll(l link, heard chan<- incoming, done <-chan struct{}) error {
	buf := make([]byte, packetMax)
	for failed := 0; ; {
		n, from, err := l.Read(buf)
		if err != nil {
			// Windows reports here that an answer found nobody.
			if failed++; errors.Is(err, net.ErrClosed) || failed >= readErrors {
				return err
			}
			continue
		}
		failed = 0
		select {
		case heard <- incoming{slices.Clone(buf[:n]), from}:
		case <-done:
			return nil
		}
	}
}

func sameNetwork(a, b Network) bool {
	return a.Interface.Index == b.Interface.Index && a.Interface.Name == b.Interface.Name && slices.Equal(a.Addrs, b.Addrs)
}

// send writes a message to all in a network, or to one.
func send(l link, msg dnsmessage.Message, via Network, to netip.AddrPort) error {
	packet, err := msg.Pack()
	if err != nil {
		return err
	}
	return l.Write(packet, via, to)
}
