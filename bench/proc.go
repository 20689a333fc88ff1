//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// readyPrefix begins the line with which every server of the bench says
// where it listens.
const readyPrefix = "listening on http://"

// proc is a server in a process of its own, so that its CPU time and memory
// can be read from outside and are its own.
type proc struct {
	cmd    *exec.Cmd // nil: somebody else's, which is neither started nor ended here
	others []int     // the processes of such a one
	addr   string
	ready  time.Duration // from start to the ready line
	stderr tail
	exited chan struct{}
}

// startProc starts a program and waits for its ready line.
func startProc(ctx context.Context, path string, args ...string) (*proc, error) {
	p := &proc{cmd: exec.Command(path, args...), exited: make(chan struct{})}
	// Whatever happens to the bench, its servers go with it. The main
	// goroutine is bound to the main thread for this (see init in main.go).
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = &p.stderr
	pr, pw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout = pw
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		pr.Close()
		pw.Close()
		return nil, err
	}
	pw.Close()
	go func() {
		p.cmd.Wait()
		close(p.exited)
	}()
	addr := make(chan string, 1)
	go func() {
		defer pr.Close()
		defer close(addr)
		in := bufio.NewReader(pr)
		for {
			line, err := in.ReadString('\n')
			if rest, ok := strings.CutPrefix(line, readyPrefix); ok {
				addr <- strings.TrimRight(strings.TrimSpace(rest), "/")
				break
			}
			if err != nil {
				return
			}
		}
		io.Copy(io.Discard, in)
	}()
	select {
	case a, ok := <-addr:
		if !ok {
			p.stop()
			return nil, fmt.Errorf("%s ended before it was ready: %s", filepath.Base(path), p.stderr.String())
		}
		p.addr, p.ready = a, time.Since(began)
		return p, nil
	case <-ctx.Done():
	case <-time.After(60 * time.Second):
	}
	p.stop()
	return nil, fmt.Errorf("%s was not ready in time: %s", filepath.Base(path), p.stderr.String())
}

func (p *proc) pid() int { return p.cmd.Process.Pid }

func (p *proc) pids() []int {
	if p.cmd == nil {
		return p.others
	}
	return []int{p.pid()}
}

// alive tells whether the server still runs, and if not, its last words.
func (p *proc) alive() error {
	if p.cmd == nil {
		return nil
	}
	select {
	case <-p.exited:
		return fmt.Errorf("the server ended (%v): %s", p.cmd.ProcessState, p.stderr.String())
	default:
		return nil
	}
}

// stop asks the server to end and kills it when it does not.
func (p *proc) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// kill ends the server at once: for those whose data nobody wants any more.
func (p *proc) kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.exited
}

// cpu is the CPU time of the process so far, user and system, by the CPU
// clock that the kernel keeps for every process: exact to the nanosecond,
// where /proc/PID/stat counts ticks of ten milliseconds.
func (p *proc) cpu() time.Duration { return sumCPU(p.pids()) }

func cpuClock(pid int) time.Duration {
	const schedClock = 2
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid)<<3|schedClock, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// rss is the resident memory of the process in bytes.
func (p *proc) rss() (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid()))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte("Rss:")); ok {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(rest)), " kB"))
			return kb << 10, err
		}
	}
	return 0, errors.New("no Rss in smaps_rollup")
}

// tail keeps the last bytes written to it: what a server said before it died.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - 2000; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

// buildOurs builds the program of this module.
func buildOurs(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", to, "teahouse")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build teahouse: %w\n%s", err, bytes.TrimSpace(out))
	}
	return nil
}
