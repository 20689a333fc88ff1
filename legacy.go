package main

import (
	"net/http"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"teahouse/chat"
	"teahouse/chat/wire"
)

// legacyOptions are the flags of serve that concern the protocols of other
// servers, checked.
type legacyOptions struct {
	on   bool
	wire wire.Compat
}

func legacyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "compat", Value: true, Usage: "serve clients that were written for other servers (docs/dialects.md); false turns it off"},
		&cli.StringFlag{Name: "root-dialect", Value: "auto", Usage: "the `PROTOCOL` of WebSockets without a path: " + strings.Join(wire.Names(), ", ") + "; auto finds out"},
		&cli.IntFlag{Name: "compat-recent", Value: 50, Usage: "recent lines that a fresh page of an old client gets, where its protocol is a chat"},
		&cli.StringFlag{Name: "echo-mode", Value: "hello", Usage: "what echo answers: hello (hello TEXT) or ack (a fixed sentence, and a greeting each 10 s)"},
		&cli.StringFlag{Name: "event-key", Usage: "the `KEY` that tokens of the event protocol are made with: md5(ID + KEY)"},
		&cli.StringFlag{Name: "event-key-file", Usage: "`FILE` that holds the event key"},
	}
}

func legacyOptionsFrom(c *cli.Context, open bool) (o legacyOptions, err error) {
	o = legacyOptions{on: c.Bool("compat"), wire: wire.Compat{Recent: c.Int("compat-recent"), Open: open}}
	if root := c.String("root-dialect"); root != "auto" {
		if !slices.Contains(wire.Names(), root) {
			return o, usage("--root-dialect is %q; it can be auto, %s", root, strings.Join(wire.Names(), ", "))
		}
		o.wire.Root = root
	}
	if o.wire.Recent < 0 || o.wire.Recent > 500 {
		return o, usage("--compat-recent is %d; it can be 0 to 500", o.wire.Recent)
	}
	switch mode := c.String("echo-mode"); mode {
	case "hello":
	case "ack":
		o.wire.EchoMode = mode
	default:
		return o, usage("--echo-mode is %q; it can be hello or ack", mode)
	}
	o.wire.EventKey, err = secret(c, "event-key")
	return o, err
}

// legacyRoutes mounts the protocols of other servers, each at its own path,
// and returns the handler of WebSockets that come without one. Whose page it
// is is not asked: those pages live on other hosts by design, and no cookie
// ever counts. Where they are off, it says so.
func legacyRoutes(mux *http.ServeMux, hub *chat.Hub, o legacyOptions, auth chat.Authenticator, addr func(*http.Request) string) http.Handler {
	if !o.on {
		off := refusal("this server does not serve clients of other servers: --compat=false; its own WebSocket is at /ws")
		mux.Handle("/compat/", off)
		return off
	}
	speaks := func(name string) http.Handler {
		return hub.Handler(chat.ServerOptions{
			Authenticate: auth, ClientAddr: addr,
			Open: func(h chat.Handshake) chat.Opening {
				opening, _ := o.wire.Opening(name, h)
				return opening
			},
		})
	}
	for _, name := range wire.Names() {
		mux.Handle("GET /compat/"+name, speaks(name))
	}
	mux.Handle("/compat/", refusal("there are WebSockets here at /compat/"+strings.Join(wire.Names(), ", /compat/")+" and nothing else"))
	return speaks("root")
}

// refusal answers that there is nothing, and why.
func refusal(why string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, why, http.StatusNotFound) })
}

// upgrades sends WebSockets without a path to sockets, all else to pages. One
// whose Upgrade header was dropped by a proxy is known by its key: it is told,
// and not shown a page.
func upgrades(sockets, pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" && (strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-WebSocket-Key") != "") {
			sockets.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}
