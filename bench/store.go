//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"teahouse/chat"
)

// The bare store: what the log alone commits, without a network. It runs in
// a process of its own, like a server, so that nothing else is on its heap.

// appender is the part of the store that is measured.
type appender interface {
	Append(ctx context.Context, events ...chat.Event) ([]chat.Event, error)
}

// bareStore is the store without a server.
type bareStore interface {
	appender
	redeemer
}

// storeMain is the command store-run: writers, each with one event in
// flight, for a while; one line of JSON tells what they did. With -fill it
// stores that many events in big batches instead.
func storeMain(ctx context.Context, args []string, stdout io.Writer) error {
	fs := flag.NewFlagSet("store-run", flag.ContinueOnError)
	dir := fs.String("dir", "", "data folder")
	writers := fs.Int("writers", 50, "goroutines that append")
	topics := fs.Int("topics", 1, "topics, taken in turn by the writers")
	span := fs.Duration("span", 3*time.Second, "how long")
	redeem := fs.Bool("redeem", false, "redeem vouchers instead of appending")
	rate := fs.Int("rate", 0, "with -redeem: so many a second; 0: as many as they can")
	fill := fs.Int("fill", 0, "store this many events and end")
	if err := fs.Parse(args); err != nil {
		return err
	}
	store, closeStore, err := openStore(ctx, *dir)
	if err != nil {
		return err
	}
	var s sample
	switch {
	case *fill > 0:
		s, err = fillStore(ctx, store, *fill)
	case *redeem:
		s, err = hammerVouchers(ctx, store, *writers, *rate, *span)
	default:
		s, err = hammer(ctx, store, *writers, *topics, *span)
	}
	if err = errors.Join(err, closeStore()); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(s)
}

func fillStore(ctx context.Context, store appender, n int) (sample, error) {
	const batch, topics = 1000, 1000
	began := time.Now()
	events := make([]chat.Event, 0, batch)
	for i := 0; i < n; i++ {
		events = append(events, storeEvent(i%topics, i%97, i))
		if len(events) == batch || i == n-1 {
			if _, err := store.Append(ctx, events...); err != nil {
				return nil, err
			}
			events = events[:0]
		}
	}
	return sample{"persecond": float64(n) / time.Since(began).Seconds()}, nil
}

var storeBody = json.RawMessage(filled(`{"text":"`, `"}`))

func storeEvent(topic, user, k int) chat.Event {
	return chat.Event{Topic: "room:bench" + strconv.Itoa(topic), Kind: "message",
		From: "u" + strconv.Itoa(user), Key: "k-" + strconv.Itoa(firstNumber+k), Body: storeBody}
}

func hammer(ctx context.Context, store appender, writers, topics int, span time.Duration) (sample, error) {
	warm := min(span/4, time.Second)
	began := time.Now()
	from, to := began.Add(warm), began.Add(warm+span)
	lat := make([][]time.Duration, writers)
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			own := make([]time.Duration, 0, 1<<12)
			for k := 0; ctx.Err() == nil; k++ {
				t0 := time.Now()
				if t0.After(to) {
					break
				}
				if _, err := store.Append(ctx, storeEvent(w%topics, w, k)); err != nil {
					errs[w] = err
					break
				}
				if t0.After(from) {
					own = append(own, time.Since(t0))
				}
			}
			lat[w] = own
		})
	}
	sleep(ctx, warm)
	cpu0, look := ownCPU(), lookAround()
	wg.Wait()
	cpu, others := ownCPU()-cpu0, look.others()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return commitSample(lat, span, cpu, others), nil
}

// runStore measures the bare store once, on a fresh folder.
func runStore(ctx context.Context, self string, writers, topics int, span time.Duration, args ...string) (sample, error) {
	dir, err := os.MkdirTemp("", "teahouse-bench-store-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	args = append([]string{"-dir", dir, "-writers", strconv.Itoa(writers), "-topics", strconv.Itoa(topics), "-span", span.String()}, args...)
	return storeRun(ctx, self, args...)
}

func storeRun(ctx context.Context, self string, args ...string) (sample, error) {
	cmd := exec.CommandContext(ctx, self, append([]string{"store-run"}, args...)...)
	var said tail
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("bare store: %w: %s", err, said.String())
	}
	var s sample
	if err := json.Unmarshal(out, &s); err != nil {
		return nil, fmt.Errorf("bare store: %w: %.200q", err, out)
	}
	return s, nil
}
