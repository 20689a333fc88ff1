//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Redis, for the bare store to be compared with: streams, every command
// fsynced before its answer. The client is as cheap as the store's callers
// are: one goroutine for each writer, the command encoded once, the answer's
// first byte looked at.

func hasRedis() bool {
	_, err := exec.LookPath("redis-server")
	return err == nil
}

// runRedis measures XADD once, on a server of its own.
func runRedis(ctx context.Context, clients, streams int, span time.Duration) (sample, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "teahouse-bench-redis-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--daemonize", "no",
		"--save", "", "--appendonly", "yes", "--appendfsync", "always")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	conns := make([]net.Conn, clients)
	for i := range conns {
		if conns[i], err = dialUntil(ctx, addr, 5*time.Second); err != nil {
			return nil, fmt.Errorf("redis-server did not answer: %w", err)
		}
		defer conns[i].Close()
	}
	warm := min(span/4, time.Second)
	began := time.Now()
	from, to := began.Add(warm), began.Add(warm+span)
	lat := make([][]time.Duration, clients)
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() { lat[i], errs[i] = xadd(ctx, c, i%streams, from, to) })
	}
	sleep(ctx, warm)
	cpu0, look := cpuClock(cmd.Process.Pid), lookAround(cmd.Process.Pid)
	wg.Wait()
	cpu, others := cpuClock(cmd.Process.Pid)-cpu0, look.others()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return commitSample(lat, span, cpu, others), nil
}

func xadd(ctx context.Context, c net.Conn, stream int, from, to time.Time) ([]time.Duration, error) {
	cmd := respCommand("XADD", "room:bench"+strconv.Itoa(stream), "*", "b", string(storeBody))
	c.SetDeadline(to.Add(10 * time.Second))
	in := bufio.NewReaderSize(c, 512)
	lat := make([]time.Duration, 0, 1<<12)
	for ctx.Err() == nil {
		t0 := time.Now()
		if t0.After(to) {
			break
		}
		if _, err := c.Write(cmd); err != nil {
			return nil, err
		}
		if err := bulkReply(in); err != nil {
			return nil, err
		}
		if t0.After(from) {
			lat = append(lat, time.Since(t0))
		}
	}
	return lat, nil
}

func respCommand(args ...string) []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b
}

// bulkReply reads one bulk string, which is what XADD answers.
func bulkReply(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if line[0] != '$' || len(line) < 4 {
		return fmt.Errorf("redis answered %q", line)
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil || n < 0 {
		return fmt.Errorf("redis answered %q", line)
	}
	_, err = in.Discard(n + 2)
	return err
}

// freeAddr finds a port that is free now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func dialUntil(ctx context.Context, addr string, limit time.Duration) (net.Conn, error) {
	for end := time.Now().Add(limit); ; {
		c, err := net.Dial("tcp4", addr)
		if err == nil || time.Now().After(end) || !sleep(ctx, 10*time.Millisecond) {
			return c, err
		}
	}
}
