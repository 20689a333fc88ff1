//go:build unix

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

// BenchmarkOpen measures a start with a million events in the file: after a
// clean stop, and after a kill -9 under full load.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := openIn(b, dir)
	n := 0
	batch := make([]chat.Event, 1000)
	fill := func(events int) {
		for range events / len(batch) {
			for i := range batch {
				batch[i] = message(fmt.Sprintf("room:%d", n%500), fmt.Sprint("user-", n%1000), fmt.Sprint(n), n)
				n++
			}
			add(b, s, batch...)
		}
	}
	fill(1_000_000)
	killed := crash(b, s)
	b.Logf("events whose index rows waited at the kill: %d", s.Stats().Unindexed)
	shut(b, s)
	measure := func(from string) func(*testing.B) {
		return func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				dir := copyFolder(b, from, b.TempDir())
				b.StartTimer()
				s, err := Open(b.Context(), options(dir))
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				s.Close()
			}
		}
	}
	b.Run("clean", measure(dir))
	b.Run("killed", measure(killed))
}

// BenchmarkSaveSessions measures a session that is written, the first time
// and again, in calls of 500.
func BenchmarkSaveSessions(b *testing.B) {
	s := openIn(b, b.TempDir())
	save := func(b *testing.B, seen int64) {
		var list []chat.Session
		for i := range b.N {
			list = append(list, chat.Session{ID: fmt.Sprintf("session-%016d", i*7919%b.N), User: fmt.Sprint("user-", i%1000), Device: "web-1", Dialect: "native",
				Addr: "192.0.2.1", Agent: strings.Repeat("Mozilla/5.0 ", 10), Opened: int64(i), LastSeen: seen, Epoch: "e",
				Topics: map[string]int64{"room:lobby": int64(i), "user:x": seen}})
			if len(list) == 500 || i == b.N-1 {
				if err := s.SaveSessions(b.Context(), list...); err != nil {
					b.Fatal(err)
				}
				list = list[:0]
			}
		}
	}
	b.Run("new", func(b *testing.B) { save(b, 1) })
	b.Run("again", func(b *testing.B) { save(b, 2) })
}

// BenchmarkReplay measures what a client that comes back costs: 50 missed
// events of one of 100 topics, in memory and in the file.
func BenchmarkReplay(b *testing.B) {
	for name, recent := range map[string]int{"memory": 1 << 17, "file": 1} {
		b.Run(name, func(b *testing.B) {
			s := openIn(b, b.TempDir(), func(o *Options) { o.recent = recent })
			var batch []chat.Event
			for i := range 100_000 {
				if batch = append(batch, message(fmt.Sprintf("room:%d", i%100), "u", "", i)); len(batch) == 1000 {
					add(b, s, batch...)
					batch = batch[:0]
				}
			}
			if recent == 1 {
				if _, err := s.indexedUpTo(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			for i := range b.N {
				got, err := s.Replay(b.Context(), []string{fmt.Sprintf("room:%d", i%100)}, 100_000-5000, 100)
				if err != nil || len(got) != 50 {
					b.Fatal(len(got), err)
				}
			}
		})
	}
}
