package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"teahouse/assets"
	"teahouse/chat"
	"teahouse/chat/api"
	"teahouse/chat/webhook"
	"teahouse/chat/wire"
	"teahouse/db"
)

// serveOptions are the flags of serve, checked.
type serveOptions struct {
	addr, data     string
	tokens         bool
	durability     string
	secrets        api.Secrets
	limits         chat.Limits
	retain         []db.RetainRule
	allowOrigin    []string
	push           pushOptions
	queue, recent  int
	replayMax      int
	stopWait       time.Duration
	pingEvery      time.Duration
	reverseWindow  time.Duration
	maxUpload      int64
	filesQuota     int64
	passMode       chat.PassMode
	recallWindow   time.Duration
	qr             string
	legacy         legacyOptions
	proxies        proxies
	announce       bool
	level          slog.Level
	stdout, stderr io.Writer
	language       string
}

func serveCommand(stdout, stderr io.Writer) *cli.Command {
	d := chat.DefaultLimits()
	return &cli.Command{
		Name:  "serve",
		Usage: "run the server",
		Description: "Serves the chat page, the WebSocket, clients of older servers and the HTTP API\n" +
			"on one port, and keeps everything in the data folder. Ctrl-C or SIGTERM stops it in order.",
		Flags: withEnv(append([]cli.Flag{
			&cli.StringFlag{Name: "addr", Value: ":8040", Usage: "listen at `HOST:PORT`; port 0 picks a free one"},
			&cli.StringFlag{Name: "data", Value: "./data", Usage: "`FOLDER` of the database and whatever else is kept"},
			&cli.StringFlag{Name: "auth", Value: "open", Usage: "`MODE`: open (a client names itself) or token (a client needs a signed token)"},
			&cli.StringFlag{Name: "durability", Value: db.Full, Usage: "`LEVEL`: full (what is acknowledged survives power loss) or normal (faster on SD cards; power loss may take the last moments)"},
			&cli.StringFlag{Name: "admin-password", Usage: "the operator's `PASSWORD`; made and printed once if none is kept"},
			&cli.StringFlag{Name: "admin-password-file", Usage: "`FILE` that holds the operator's password"},
			&cli.StringFlag{Name: "api-key", Usage: "an API `KEY` that is accepted from now on; made and printed once if none is kept"},
			&cli.StringFlag{Name: "api-key-file", Usage: "`FILE` that holds the API key"},
			&cli.Float64Flag{Name: "send-rate", Value: d.SendRate, Usage: "messages a second for one connection; 0 is no limit"},
			&cli.IntFlag{Name: "send-burst", Value: d.SendBurst, Usage: "messages that may come at once"},
			&cli.IntFlag{Name: "max-frame", Value: d.Frame, Usage: "`BYTES` of one WebSocket message"},
			&cli.IntFlag{Name: "max-body", Value: d.Body, Usage: "`BYTES` of one event's body"},
			&cli.IntFlag{Name: "max-topics", Value: d.Topics, Usage: "topics that one connection may follow"},
			&cli.StringSliceFlag{Name: "retain", Value: cli.NewStringSlice("*=365d/100000"), Usage: "how much is kept: `TOPIC=AGE/COUNT`, as in room:*=30d/10000; the first that matches holds, 0 is no limit"},
			&cli.StringSliceFlag{Name: "allow-origin", Usage: "`ORIGIN` of a web page on another host that may connect in open mode, as in https://example.org; * is all"},
			&cli.StringFlag{Name: "push-addr", Usage: "a second address, of this computer alone, that takes form pushes without a key: `HOST:PORT`, as in 127.0.0.1:6001"},
			&cli.StringSliceFlag{Name: "event-roles", Value: cli.NewStringSlice("user"), Usage: "`ROLES` of the event protocol; the first is that of Teahouse's own users"},
			&cli.StringSliceFlag{Name: "event-push", Usage: "more `EVENTS` that a form push may send, besides user_tabbar and chat*; NAME or PREFIX*"},
			&cli.IntFlag{Name: "queue-bytes", Value: 256 << 10, Usage: "`BYTES` that may wait for one slow client before it is served from the log"},
			&cli.IntFlag{Name: "recent-bytes", Value: 32 << 20, Usage: "`BYTES` of recent events kept in memory for those who come back"},
			&cli.IntFlag{Name: "replay-max", Value: 20_000, Usage: "events that one reconnect may replay; beyond, it gets the newest page"},
			&cli.DurationFlag{Name: "recall-window", Value: 2 * time.Minute, Usage: "how long after it was sent a message can be recalled by its sender; 0: not at all"},
			&cli.StringFlag{Name: "max-upload", Value: "20MB", Usage: "`SIZE` of one uploaded file at most; 0 takes no files"},
			&cli.StringFlag{Name: "files-quota", Value: "2GB", Usage: "`SIZE` that all uploaded files together may take on the disk"},
			&cli.DurationFlag{Name: "reverse-window", Value: 24 * time.Hour, Usage: "how long after it the redemption of a voucher can be reversed"},
			&cli.StringFlag{Name: "voucher-pass", Value: string(chat.PassOptional), Usage: "`MODE` of the number that changes every 30 s in a voucher's QR code: optional (a plain code does as well), required or off"},
			&cli.DurationFlag{Name: "ping-every", Value: 24 * time.Second, Usage: "how long a connection may be silent before it is pinged, 1s to 60s; less than the read timeout of a proxy in front"},
			&cli.DurationFlag{Name: "stop-timeout", Value: 10 * time.Second, Usage: "how long a stop may take before it is cut off"},
			&cli.BoolFlag{Name: "announce", Value: true, Usage: "tell apps in the LAN where the server is (mDNS, UDP port 5353); false keeps it silent"},
			&cli.StringFlag{Name: "qr", Value: "auto", Usage: "show the page's QR code at the start: auto (in a terminal), always or never"},
			&cli.StringFlag{Name: "log-level", Value: "info", Usage: "debug, info, warn or error"},
			&cli.StringSliceFlag{Name: "trusted-proxy", Value: cli.NewStringSlice("loopback"), Usage: "`ADDRESS` or network of a proxy that may say who the client is (X-Forwarded-For); loopback, private, none"},
		}, legacyFlags()...)...),
		Action: func(c *cli.Context) error {
			o, err := serveOptionsFrom(c, stdout, stderr)
			if err != nil {
				return err
			}
			return serve(c.Context, o)
		},
	}
}

// withEnv gives each flag its twin in the environment: --send-rate is
// TEAHOUSE_SEND_RATE.
func withEnv(flags ...cli.Flag) []cli.Flag {
	for _, f := range flags {
		name := "TEAHOUSE_" + strings.ToUpper(strings.ReplaceAll(f.Names()[0], "-", "_"))
		switch f := f.(type) {
		case *cli.StringFlag:
			f.EnvVars = []string{name}
		case *cli.IntFlag:
			f.EnvVars = []string{name}
		case *cli.Float64Flag:
			f.EnvVars = []string{name}
		case *cli.DurationFlag:
			f.EnvVars = []string{name}
		case *cli.StringSliceFlag:
			f.EnvVars = []string{name}
		case *cli.BoolFlag:
			f.EnvVars = []string{name}
		default:
			panic("withEnv does not know this flag: " + f.String())
		}
	}
	return flags
}

func serveOptionsFrom(c *cli.Context, stdout, stderr io.Writer) (*serveOptions, error) {
	if c.NArg() > 0 {
		return nil, usage("serve takes no argument, but got %q; write flags as --name=value", c.Args().First())
	}
	o := &serveOptions{
		addr: c.String("addr"), data: c.String("data"), durability: c.String("durability"),
		allowOrigin: c.StringSlice("allow-origin"), queue: c.Int("queue-bytes"), recent: c.Int("recent-bytes"),
		replayMax: c.Int("replay-max"), stopWait: c.Duration("stop-timeout"), pingEvery: c.Duration("ping-every"), reverseWindow: c.Duration("reverse-window"), recallWindow: c.Duration("recall-window"), qr: c.String("qr"), announce: c.Bool("announce"),
		limits: chat.DefaultLimits(), stdout: stdout, stderr: stderr, language: language(),
	}
	if _, _, err := net.SplitHostPort(o.addr); err != nil {
		return nil, usage("--addr %q is not HOST:PORT; write :8040, or 127.0.0.1:8040 for this computer only", o.addr)
	}
	switch c.String("auth") {
	case "open":
	case "token":
		o.tokens = true
	default:
		return nil, usage("--auth is %q; it can be open or token", c.String("auth"))
	}
	if o.durability != db.Full && o.durability != db.Normal {
		return nil, usage("--durability is %q; it can be full or normal", o.durability)
	}
	if o.qr != "auto" && o.qr != "always" && o.qr != "never" {
		return nil, usage("--qr is %q; it can be auto, always or never", o.qr)
	}
	if err := o.level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, usage("--log-level is %q; it can be debug, info, warn or error", c.String("log-level"))
	}
	l := &o.limits
	l.SendRate, l.SendBurst = c.Float64("send-rate"), c.Int("send-burst")
	l.Frame, l.Body, l.Topics = c.Int("max-frame"), c.Int("max-body"), c.Int("max-topics")
	for name, n := range map[string]int{"max-frame": l.Frame, "max-body": l.Body, "max-topics": l.Topics,
		"queue-bytes": o.queue, "recent-bytes": o.recent, "replay-max": o.replayMax} {
		if n <= 0 {
			return nil, usage("--%s must be above 0", name)
		}
	}
	if o.pingEvery < time.Second || o.pingEvery > time.Minute || o.pingEvery%time.Second != 0 {
		return nil, usage("--ping-every is %s; it can be 1s to 60s, in whole seconds", o.pingEvery)
	}
	if o.recallWindow < 0 {
		return nil, usage("--recall-window must be 0 or above, as in 2m")
	}
	if o.recallWindow == 0 {
		o.recallWindow = -1 // the hub's zero is its default
	}
	if o.reverseWindow <= 0 {
		return nil, usage("--reverse-window must be above 0, as in 24h")
	}
	switch o.passMode = chat.PassMode(c.String("voucher-pass")); o.passMode {
	case chat.PassOptional, chat.PassRequired, chat.PassOff:
	default:
		return nil, usage("--voucher-pass is %q; it can be optional, required or off", o.passMode)
	}
	if l.SendRate < 0 || l.SendBurst < 1 {
		return nil, usage("--send-rate must be 0 or more and --send-burst 1 or more")
	}
	if l.Body > l.Frame {
		return nil, usage("--max-body (%d) cannot be larger than --max-frame (%d)", l.Body, l.Frame)
	}
	for _, rule := range c.StringSlice("retain") {
		r, err := parseRetain(rule)
		if err != nil {
			return nil, err
		}
		o.retain = append(o.retain, r)
	}
	var err error
	if o.maxUpload, err = parseSize("max-upload", c.String("max-upload")); err != nil {
		return nil, err
	}
	if o.filesQuota, err = parseSize("files-quota", c.String("files-quota")); err != nil {
		return nil, err
	}
	if o.maxUpload > o.filesQuota {
		return nil, usage("--max-upload (%s) cannot be larger than --files-quota (%s), which holds all files", c.String("max-upload"), c.String("files-quota"))
	}
	if o.proxies, err = parseProxies(c.StringSlice("trusted-proxy")); err != nil {
		return nil, err
	}
	if o.legacy, err = legacyOptionsFrom(c, !o.tokens); err != nil {
		return nil, err
	}
	if err := o.push.read(c, o.legacy.on); err != nil {
		return nil, err
	}
	o.legacy.wire.EventRoles = o.push.roles
	if o.secrets.Password, err = secret(c, "admin-password"); err != nil {
		return nil, err
	}
	if o.secrets.APIKey, err = secret(c, "api-key"); err != nil {
		return nil, err
	}
	return o, nil
}

// secret reads a flag or its -file twin.
func secret(c *cli.Context, name string) (string, error) {
	value, file := c.String(name), c.String(name+"-file")
	if file == "" {
		return value, nil
	}
	if value != "" {
		return "", usage("give --%s or --%s-file, not both", name, name)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", usage("--%s-file cannot be read: %v", name, err)
	}
	if value = strings.TrimSpace(string(b)); value == "" {
		return "", usage("the file %s is empty; write the secret into it", file)
	}
	return value, nil
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, o *serveOptions) error {
	log := slog.New(slog.NewTextHandler(o.stderr, &slog.HandlerOptions{Level: o.level}))
	// The port first: it is the quickest to tell that a server runs already.
	listener, err := net.Listen("tcp", o.addr)
	if err != nil {
		return listenError(o.addr, err)
	}
	defer listener.Close()
	pushes, err := o.push.listen()
	if err != nil {
		return err
	}
	defer pushes.close()
	store, err := db.Open(ctx, db.Options{Dir: o.data, Durability: o.durability, Retain: o.retain, FilesQuota: o.filesQuota, Logger: log})
	if err != nil {
		return openError(err)
	}
	closed := false
	defer func() {
		if !closed {
			_ = store.Close()
		}
	}()

	made, err := api.Bootstrap(ctx, store, o.secrets, time.Now())
	if err != nil {
		return fmt.Errorf("the operator's password and the API key could not be kept: %w", err)
	}
	tokens, err := api.NewTokens(ctx, store, time.Now)
	if err != nil {
		return fmt.Errorf("the key for client tokens could not be kept: %w", err)
	}
	passKey, err := api.HouseSecret(ctx, store, "voucher_pass_key")
	if err != nil {
		return fmt.Errorf("the key for vouchers' passes could not be kept: %w", err)
	}
	hub := chat.NewHub(store, chat.HubOptions{
		Limits: o.limits, QueueBytes: o.queue, RecentBytes: o.recent, ReplayMax: o.replayMax,
		ReverseWindow: o.reverseWindow, RecallWindow: o.recallWindow, Passes: chat.NewPasses(chat.PassOptions{Mode: o.passMode, Key: passKey}), PingEvery: o.pingEvery, Doors: store, Logger: log,
	})
	sender := webhook.New(webhook.Options{Store: store, Agent: "Teahouse/" + version(), Logger: log})
	local := rand.Text()
	origins := chat.LocalOrigins(o.allowOrigin...)
	web, err := api.New(api.Options{
		Files: store, Uploads: api.FileOptions{Max: o.maxUpload, Quota: o.filesQuota, Tokens: o.tokens, CheckOrigin: origins},
		Hub: hub, Store: store, Tokens: tokens, Courier: sender, LocalKey: local, Addr: o.proxies.client, Folder: o.data, Version: version(),
		StoreStats: func() api.StoreStats { return api.StoreStats(store.Stats()) }, Logger: log,
	})
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           routes(hub, web, tokens, origins, o),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}

	server.RegisterOnShutdown(web.Stop)

	hubDone := make(chan error, 1)
	go func() { hubDone <- hub.Run(context.WithoutCancel(ctx)) }()
	select {
	case <-hub.Started():
	case err := <-hubDone:
		return fmt.Errorf("the hub did not start: %w", err)
	}
	stopHooks := inBackground(ctx, sender.Run)
	defer stopHooks()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	url := localURL(listener.Addr())
	forget, err := writeLocal(o.data, localServer{URL: url, Key: local})
	if err != nil {
		log.Warn("commands on this computer will need --url and --api-key", "err", err)
	}
	defer forget()
	greet(o, listener.Addr(), url, made)
	pushes.serve(o.push.handler(web, true), o, log)
	silence := announce(ctx, o, listener.Addr().(*net.TCPAddr), log)

	var failed error
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err := <-hubDone:
		failed = fmt.Errorf("the hub stopped by itself: %w", err)
		hubDone <- nil
	case failed = <-pushes.failed:
	case err := <-served:
		failed = fmt.Errorf("the HTTP server stopped by itself: %w", err)
	}

	silence() // first, so that nobody is sent here any more
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.stopWait)
	defer cancel()
	httpDown := make(chan error, 1)
	go func() { httpDown <- server.Shutdown(stopCtx) }() // closes the listener at once
	pushDown := pushes.shutdown(stopCtx)
	hooksDown := make(chan struct{})
	go func() { defer close(hooksDown); stopHooks() }()
	err = errors.Join(hub.Shutdown(stopCtx), <-httpDown, <-pushDown)
	if err != nil {
		_ = server.Close()
	}
	<-hubDone
	<-hooksDown
	web.Close()
	closed = true
	if cerr := store.Close(); cerr != nil {
		return fmt.Errorf("the database was not closed cleanly: %w", errors.Join(failed, cerr))
	}
	if failed != nil {
		return failed
	}
	if err != nil {
		return exitf(exitCutOff, "the stop was cut off after %s: %w; nothing acknowledged is lost, and --stop-timeout gives it more time", o.stopWait, err)
	}
	log.Info("stopped")
	return nil
}

// inBackground runs something until stop is called, which waits for its end.
func inBackground(ctx context.Context, run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// routes mounts everything on one port.
func routes(hub *chat.Hub, web *api.API, tokens *api.Tokens, origins func(*http.Request) bool, o *serveOptions) http.Handler {
	mux := http.NewServeMux()
	web.Register(mux)
	native := chat.ServerOptions{Dialect: wire.Native{}, ClientAddr: o.proxies.client, CheckOrigin: origins}
	var legacyAuth chat.Authenticator
	if o.tokens {
		// A token is shown, not sent along by the browser: any page may try.
		native.CheckOrigin = nil
		native.Authenticate = func(_ context.Context, user, token string) (chat.Identity, error) {
			if token == "" {
				return chat.Identity{}, chat.Errorf(chat.CodeUnauthorized, "this server needs a token in hello; your site's backend gets one from /api/v1/tokens")
			}
			proved, expires, err := tokens.Verify(token)
			if err != nil {
				return chat.Identity{}, err
			}
			if user != "" && user != proved {
				return chat.Identity{}, chat.Errorf(chat.CodeBadToken, "the token is for another user than the one in hello")
			}
			return chat.Identity{User: proved, Expires: expires, Proved: true}, nil
		}
		legacyAuth = native.Authenticate
	} else {
		// Nobody needs a token, but who has one may prove by it who they are.
		native.Authenticate = func(ctx context.Context, user, token string) (chat.Identity, error) {
			if proved, expires, err := tokens.Verify(token); err == nil && (user == "" || user == proved) {
				return chat.Identity{User: proved, Proved: true, Proof: expires}, nil
			}
			return chat.Open(ctx, user, token)
		}
	}
	mux.Handle("/ws", hub.Handler(native))
	if o.legacy.on {
		o.push.mount(mux, web)
	}
	sockets := legacyRoutes(mux, hub, o.legacy, legacyAuth, o.proxies.client)
	mux.Handle("/", upgrades(sockets, assets.Handler()))
	return mux
}

func localURL(a net.Addr) string {
	tcp := a.(*net.TCPAddr)
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}

// localName is the file that lets commands on this computer find the running
// server and speak to it as the operator. Who may read the data folder could
// do all of that anyway.
const localName = "local.json"

func localPath(data string) string { return filepath.Join(data, localName) }
