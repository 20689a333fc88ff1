//go:build linux

// Command bench compares Teahouse with a plain hub and with a floor, in one
// run, and prints one table of ratios. README.md beside it has the method.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The main goroutine starts the servers, and they are to die with the thread
// that started them: so it keeps to the main thread.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "serve-plain":
			raiseFiles()
			return servePlain(ctx, stdout)
		case "serve-floor":
			raiseFiles()
			keep := 0
			if len(args) > 1 {
				keep, _ = strconv.Atoi(args[1])
			}
			return serveFloor(ctx, stdout, keep)
		case "store-run":
			return storeMain(ctx, args[1:], stdout)
		}
	}
	return benchMain(ctx, args, stdout, stderr)
}

// raiseFiles lets this process and its children have many connections.
func raiseFiles() {
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) != nil {
		return
	}
	want := syscall.Rlimit{Cur: max(lim.Max, 65536), Max: max(lim.Max, 65536)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) != nil {
		// Set all the same: children get what was set, not what was found.
		lim.Cur = lim.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
	}
}

type options struct {
	ours, old            string
	scenarios, sides     string
	rounds               int
	warm, span, patience time.Duration
	idle, replay, stored int
	payload              int
	quick, verbose       bool
}

func (o *options) parse(args []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.ours, "ours", "", "a ready teahouse `binary`; without it the module is built")
	fs.StringVar(&o.old, "old", "", "a running old Swoole server that takes part in room4x4 and room1: `HOST:PORT`, and with commas the pids of its processes, whose CPU is counted")
	fs.StringVar(&o.scenarios, "scenarios", "all", "comma separated: "+strings.Join(scenarioNames(), ","))
	fs.StringVar(&o.sides, "sides", "ours,plain,floor", "servers to run, comma separated")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds; the table has the median")
	fs.DurationVar(&o.warm, "warm", time.Second, "load before each measurement")
	fs.DurationVar(&o.span, "span", 3*time.Second, "length of each measurement")
	fs.IntVar(&o.idle, "idle", 10000, "idle connections")
	fs.IntVar(&o.replay, "replay", 1000, "clients that come back at once")
	fs.IntVar(&o.stored, "stored", 1_000_000, "stored events for the start")
	fs.IntVar(&o.payload, "payload", bodyBytes, "bytes of a message of the reference servers; some 235 is what ours delivers")
	fs.DurationVar(&o.patience, "patience", 2*time.Minute, "how long to wait, in each scenario, for other processes to be quiet")
	fs.BoolVar(&o.quick, "quick", false, "a smoke run of some seconds; its numbers mean little")
	fs.BoolVar(&o.verbose, "v", false, "print every sample on standard error")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.quick {
		o.rounds, o.warm, o.span, o.idle, o.stored, o.patience = 1, 100*time.Millisecond, 300*time.Millisecond, 1000, 20000, 0
	}
	return nil
}

// bench is one run.
type bench struct {
	options
	self    string
	dir     string
	targets []target
	rooms   []target // of the scenarios with the old server's frames
	book    book
	stderr  io.Writer
	notes   []string
	left    time.Duration // of the patience
	busy    []float64     // cores that others used, where they used some
}

func benchMain(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	b := &bench{book: make(book), stderr: stderr}
	if err := b.parse(args, stderr); err != nil {
		return err
	}
	raiseFiles()
	debug.SetGCPercent(400) // the generator's memory is cheap, its time is not
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "teahouse-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.prepare(ctx); err != nil {
		return err
	}
	names := scenarioNames()
	if b.scenarios != "all" {
		names = strings.Split(b.scenarios, ",")
	}
	began := time.Now()
	for _, name := range names {
		if err := b.scenario(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	fmt.Fprintf(stdout, "\n%s, %d CPUs, %s, %d rounds of %v, %v in all\n\n",
		runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU(), runtime.Version(), b.rounds, b.span, time.Since(began).Round(time.Second))
	report(stdout, b.book)
	if len(b.busy) > 0 {
		b.notes = append(b.notes, fmt.Sprintf("**the machine was not quiet**: in %d measurements other processes used more than %.2f cores (median %.2f); they count only where there was no other round", len(b.busy), disturbed, median(b.busy)))
	}
	for _, n := range b.notes {
		fmt.Fprintln(stdout, "-", n)
	}
	return nil
}

// prepare decides which servers take part.
func (b *bench) prepare(ctx context.Context) error {
	for _, side := range strings.Split(b.sides, ",") {
		switch side {
		case sideOurs:
			binary := b.ours
			if binary == "" {
				binary = filepath.Join(b.dir, "teahouse")
				if err := buildOurs(ctx, binary); err != nil {
					return err
				}
			}
			b.targets = append(b.targets, ours(binary, b.dir))
			b.rooms = append(b.rooms, oursByRoom(binary, b.dir), oursByNative(binary, b.dir))
			b.ours = binary
		case sidePlain, sideFloor:
			b.targets = append(b.targets, reference(side, b.self, b.payload))
			if side == sidePlain {
				b.rooms = append(b.rooms, plainByRoom(b.self))
			}
		default:
			return fmt.Errorf("no server %q; there are ours, plain and floor", side)
		}
	}
	if b.old != "" {
		t, err := oldServer(b.old)
		if err != nil {
			return err
		}
		b.rooms = append(b.rooms, t)
	}
	return nil
}

func (b *bench) has(side string) bool {
	return slices.ContainsFunc(b.targets, func(t target) bool { return t.name == side })
}

func scenarioNames() []string {
	var names []string
	for _, sc := range liveScenarios {
		names = append(names, sc.name)
	}
	return append(names, "store1000", "store1", "store50", "redeem", "redeem64", "idle", "start", "replay")
}

// scenario runs all rounds of one scenario, the servers taking turns, so that
// a change in the machine's mood meets all of them.
func (b *bench) scenario(ctx context.Context, name string) error {
	b.left = b.patience
	for _, sc := range liveScenarios {
		if sc.name != name {
			continue
		}
		if b.quick {
			sc.each = min(sc.each, 500)
		}
		targets := b.targets
		if sc.old {
			targets = b.rooms
		}
		return b.rotate(ctx, name, targets, func(t target) (sample, error) {
			return runLive(ctx, t, sc, b.warm, b.span)
		})
	}
	switch name {
	case "idle":
		return b.rotate(ctx, name, b.targets, func(t target) (sample, error) {
			return runIdle(ctx, t, b.idle, max(b.span, 500*time.Millisecond))
		})
	case "replay":
		able := slices.DeleteFunc(slices.Clone(b.targets), func(t target) bool { return t.name == sidePlain })
		return b.rotate(ctx, name, able, func(t target) (sample, error) {
			return runReplay(ctx, t, b.replay)
		})
	case "store1000":
		return b.store(ctx, name, 1000, 200, false)
	case "store1":
		return b.store(ctx, name, 50, 1, true)
	case "store50":
		return b.store(ctx, name, 50, 50, true)
	case "redeem":
		span := max(b.span, 5*time.Second) // a p99 of 200 a second needs some
		if b.quick {
			span = b.span
		}
		return b.beside(ctx, name, func(t target) (sample, error) { return runRedeem(ctx, t, span) },
			func() (sample, error) {
				return runStore(ctx, b.self, redeemConns, 1, span, "-redeem", "-rate", strconv.Itoa(redeemRate))
			})
	case "redeem64":
		return b.beside(ctx, name, func(t target) (sample, error) { return runRedeemers(ctx, t, b.span) },
			func() (sample, error) { return runStore(ctx, b.self, redeemers, 1, b.span, "-redeem") })
	case "start":
		return b.start(ctx)
	}
	return fmt.Errorf("no such scenario; there are %s", strings.Join(scenarioNames(), ", "))
}

func (b *bench) rotate(ctx context.Context, name string, targets []target, one func(target) (sample, error)) error {
	for round := range b.rounds {
		for _, t := range targets {
			if err := b.keep(ctx, name, t.name, round, func() (sample, error) { return one(t) }); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// keep runs one measurement and books it. A server that fails is noted, not
// fatal: the others' numbers are still worth having.
func (b *bench) keep(ctx context.Context, name, side string, round int, one func() (sample, error)) error {
	var s sample
	var err error
	for {
		calm(ctx, &b.left)
		began := time.Now()
		s, err = one()
		if errors.Is(err, context.Canceled) {
			return err
		}
		if err != nil {
			b.notes = append(b.notes, fmt.Sprintf("%s, %s, round %d failed: %v", name, side, round+1, err))
			fmt.Fprintf(b.stderr, "%-10s %-6s round %d FAILED: %v\n", name, side, round+1, err)
			return nil
		}
		fmt.Fprintf(b.stderr, "%-10s %-6s round %d %4.1fs", name, side, round+1, time.Since(began).Seconds())
		for _, k := range slices.Sorted(maps.Keys(s)) {
			if b.verbose || headline[k] {
				fmt.Fprintf(b.stderr, "  %s %s", k, number(s[k]))
			}
		}
		if s["others"] < disturbed || b.left <= 0 {
			fmt.Fprintln(b.stderr)
			break
		}
		fmt.Fprintf(b.stderr, "  disturbed (others %.2f cores): again\n", s["others"])
		b.left -= time.Since(began)
	}
	for _, k := range []string{"lost", "missing"} {
		if s[k] != 0 {
			b.notes = append(b.notes, fmt.Sprintf("%s, %s, round %d: %s %.0f", name, side, round+1, k, s[k]))
		}
	}
	if s["others"] >= disturbed {
		b.busy = append(b.busy, s["others"])
	}
	b.book.add(name, side, s)
	return nil
}

// headline are the metrics that the progress lines show without -v.
var headline = map[string]bool{"deliveries": true, "cpu": true, "acks": true, "ack99": true, "persecond": true,
	"p99": true, "perconn": true, "connects": true, "rss": true, "ready": true, "missing": true}

func (b *bench) store(ctx context.Context, name string, writers, topics int, redis bool) error {
	for round := range b.rounds {
		if b.has(sideOurs) {
			err := b.keep(ctx, name, sideOurs, round, func() (sample, error) {
				return runStore(ctx, b.self, writers, topics, b.span)
			})
			if err != nil {
				return err
			}
		}
		if !redis || !hasRedis() {
			continue
		}
		err := b.keep(ctx, name, "redis", round, func() (sample, error) {
			return runRedis(ctx, writers, topics, b.span)
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// beside runs ours and the bare store in turn.
func (b *bench) beside(ctx context.Context, name string, ours func(target) (sample, error), bare func() (sample, error)) error {
	for round := range b.rounds {
		for _, t := range b.targets {
			if t.name != sideOurs {
				continue
			}
			if err := b.keep(ctx, name, sideOurs, round, func() (sample, error) { return ours(t) }); err != nil {
				return err
			}
			if err := b.keep(ctx, name, sideBare, round, bare); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// start fills a folder once and then starts the server on it again and again.
func (b *bench) start(ctx context.Context) error {
	if !b.has(sideOurs) {
		return nil
	}
	data := filepath.Join(b.dir, "stored")
	defer os.RemoveAll(data)
	filled, err := storeRun(ctx, b.self, "-dir", data, "-fill", strconv.Itoa(b.stored))
	if err != nil {
		b.notes = append(b.notes, "start: "+err.Error())
		return nil
	}
	fmt.Fprintf(b.stderr, "%-10s %d events stored at %s a second\n", "start", b.stored, number(filled["persecond"]))
	for round := range b.rounds {
		err := b.keep(ctx, "start", sideOurs, round, func() (sample, error) {
			p, err := startOurs(ctx, b.ours, data)
			if err != nil {
				return nil, err
			}
			defer p.stop()
			rss, err := p.rss()
			return sample{"ready": ms(p.ready), "rss": float64(rss) / 1e6}, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
