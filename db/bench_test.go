package db

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"teahouse/chat"
)

// BenchmarkAppend measures durable appends of 100-byte messages with a key,
// one in flight per writer. Besides rows/s it reports the time a caller waits.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 50, 1000} {
		for _, topics := range []int{1, 50, 1000} {
			b.Run(fmt.Sprintf("writers=%d/topics=%d", writers, topics), func(b *testing.B) {
				benchAppend(b, openIn(b, b.TempDir()), writers, topics, "k")
			})
		}
	}
	b.Run("writers=50/nokey-topics=1000", func(b *testing.B) {
		benchAppend(b, openIn(b, b.TempDir()), 50, 1000, "")
	})
	b.Run("writers=50/nokey-topics=50", func(b *testing.B) {
		benchAppend(b, openIn(b, b.TempDir()), 50, 50, "")
	})
}

func benchAppend(b *testing.B, s *Store, writers, topics int, key string) {
	body := []byte(`{"text":"` + strings.Repeat("x", 89) + `"}`)
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprintf("room:%d", i)
	}
	var next atomic.Int64
	waits := make([][]time.Duration, writers)
	var wg sync.WaitGroup
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			from := fmt.Sprintf("user-%d", w)
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				e := chat.Event{Topic: names[i%int64(topics)], Kind: "message", From: from, Body: body}
				if key != "" {
					e.Key = fmt.Sprintf("%s-%d", key, i)
				}
				began := time.Now()
				if _, err := s.Append(b.Context(), e); err != nil {
					b.Error(err)
					return
				}
				waits[w] = append(waits[w], time.Since(began))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := func(u *syscall.Rusage) int64 { return u.Utime.Nano() + u.Stime.Nano() }
	b.ReportMetric(float64(cpu(&after)-cpu(&before))/1e3/float64(b.N), "cpu-µs/row")
	b.ReportMetric(float64(after.Oublock-before.Oublock)*512/float64(b.N), "disk-B/row")
	all := slices.Sorted(slices.Values(slices.Concat(waits...)))
	if n := len(all); n > 0 {
		b.ReportMetric(float64(all[n/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(all[n*99/100].Microseconds()), "p99-µs")
		b.ReportMetric(float64(all[n-1].Microseconds()), "max-µs")
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
	}
}
