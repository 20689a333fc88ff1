//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"time"
)

// Somebody else at work on the machine spoils a measurement, and more so one
// of ours than one of the floor. So the bench looks around.

const (
	// disturbed is how many cores others may use before a measurement is
	// repeated, while there is patience left.
	disturbed = 0.15
	// quietLook is how long the machine is looked at before a measurement.
	quietLook = 250 * time.Millisecond
)

// around is a look at the CPU time of the whole machine.
type around struct {
	began time.Time
	all   time.Duration
	ours  time.Duration
	pids  []int
}

// lookAround begins to look; the pids are servers of the bench.
func lookAround(pids ...int) around {
	pids = append(pids, os.Getpid())
	return around{time.Now(), machineCPU(), sumCPU(pids), pids}
}

func (a around) seconds() float64 { return time.Since(a.began).Seconds() }

// others is how many cores were used since by nobody of the bench.
func (a around) others() float64 {
	return max(0, (machineCPU()-a.all-(sumCPU(a.pids)-a.ours)).Seconds()/a.seconds())
}

func sumCPU(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		sum += cpuClock(pid)
	}
	return sum
}

// calm waits until the machine is quiet, at most for what is left of the
// patience, and takes what it waited off it.
func calm(ctx context.Context, patience *time.Duration) {
	began := time.Now()
	for *patience > time.Since(began) {
		look := lookAround()
		if !sleep(ctx, quietLook) || look.others() < disturbed {
			break
		}
	}
	*patience -= max(0, time.Since(began)-quietLook)
}

// ownCPU is what the bench itself has used.
func ownCPU() time.Duration { return cpuClock(os.Getpid()) }

// machineCPU is what all processes together have used, from /proc/stat. It
// tells whether somebody else was at work while the bench was.
func machineCPU() time.Duration {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	ticks := 0
	for i, f := range strings.Fields(string(line)) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, iowait, guests
			continue
		}
		n, _ := strconv.Atoi(f)
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100)
}
