package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"teahouse/chat/api"
	"teahouse/chat/wire"
)

// pushOptions are the flags of serve that concern the form push of the event
// protocol, checked.
type pushOptions struct {
	addr   string   // of the listener that needs no key; "" for none
	roles  []string // the first is that of our own users
	events []string // what may be pushed besides the usual
}

func (o *pushOptions) read(c *cli.Context, legacy bool) error {
	o.addr = c.String("push-addr")
	if o.addr != "" {
		if !legacy {
			return usage("--push-addr takes the pushes of the event protocol, which --compat=false turns off; leave one of the two out")
		}
		host, _, err := net.SplitHostPort(o.addr)
		if err != nil {
			return usage("--push-addr %q is not HOST:PORT; write 127.0.0.1:6001", o.addr)
		}
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
			return usage("--push-addr %q would take pushes without a key from other computers; it must be an address of this one alone, for example 127.0.0.1:6001 (backends elsewhere push to --addr, with an API key)", o.addr)
		}
	}
	var err error
	if o.roles, err = nameList("event-roles", c.StringSlice("event-roles"), ":,*"); err != nil {
		return err
	}
	if len(o.roles) == 0 {
		return usage("--event-roles names no role; write user, or several: user,admin")
	}
	o.events, err = nameList("event-push", c.StringSlice("event-push"), ",")
	return err
}

// nameList trims the values of a flag that takes a list of names.
func nameList(flag string, values []string, forbidden string) (names []string, err error) {
	for _, v := range values {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		if strings.ContainsAny(v, forbidden+" \t\r\n\"") || strings.Contains(strings.TrimSuffix(v, "*"), "*") {
			return nil, usage("--%s: %q is not a name", flag, v)
		}
		names = append(names, v)
	}
	return names, nil
}

// handler returns the handler of form pushes; open takes them without a key.
func (o *pushOptions) handler(web *api.API, open bool) http.Handler {
	names := &wire.Compat{EventRoles: o.roles}
	return web.Push(api.PushOptions{User: names.EventUser, Events: o.events, Open: open})
}

// mount serves form pushes with a key where the event protocol has them.
func (o *pushOptions) mount(mux *http.ServeMux, web *api.API) {
	h := o.handler(web, false)
	mux.Handle("POST /{$}", h)
	mux.Handle("POST /compat/event", h)
}

// pushPort is the listener that takes pushes without a key. Its zero value is
// none.
type pushPort struct {
	listener net.Listener
	server   *http.Server
	failed   chan error // never gets one if there is no listener
}

func (o *pushOptions) listen() (p pushPort, err error) {
	p.failed = make(chan error, 1)
	if o.addr == "" {
		return p, nil
	}
	p.listener, err = net.Listen("tcp", o.addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return p, exitf(exitPortBusy, words[language()].pushBusy, o.addr)
	case err != nil:
		return p, usage("cannot listen at %s: %w; --push-addr takes HOST:PORT with an address of this computer alone and a port above 1023, for example 127.0.0.1:6001", o.addr, err)
	}
	// What "localhost" means is up to this computer's own tables.
	if ip := p.listener.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		p.close()
		return p, usage("--push-addr %q is %s here, which other computers can reach; write 127.0.0.1:6001", o.addr, ip)
	}
	return p, nil
}

// serve begins to answer, at any path, as the old server's port did.
func (p *pushPort) serve(h http.Handler, o *serveOptions, log *slog.Logger) {
	if p.listener == nil {
		return
	}
	p.server = &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			p.failed <- fmt.Errorf("the listener for pushes stopped by itself: %w", err)
		}
	}()
	fmt.Fprintf(o.stdout, words[o.language].push+"\n", localURL(p.listener.Addr()))
}

// shutdown closes the listener at once, and tells when what runs has ended.
func (p *pushPort) shutdown(ctx context.Context) <-chan error {
	done := make(chan error, 1)
	if p.server == nil {
		done <- nil
		return done
	}
	go func() {
		err := p.server.Shutdown(ctx)
		if err != nil {
			_ = p.server.Close()
		}
		done <- err
	}()
	return done
}

func (p *pushPort) close() {
	if p.listener != nil {
		_ = p.listener.Close()
	}
}
