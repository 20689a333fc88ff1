package db

import (
	"math/bits"
	"os"
	"sync/atomic"
	"time"
)

// counters are what the writer counts; others read them at any time.
type counters struct {
	commits    atomic.Int64
	events     atomic.Int64
	commitTook atomic.Int64
	batches    [batchSizes]atomic.Int64
	unindexed  atomic.Int64
}

// batchSizes are the powers of two that batches are counted by.
const batchSizes = 13

func (c *counters) observe(events int) {
	c.batches[min(bits.Len(uint(max(events-1, 0))), batchSizes-1)].Add(1)
}

// Stats is what a Store tells of its work since it was opened.
type Stats struct {
	Commits    int64           // transactions of callers' work
	Events     int64           // events appended; duplicates do not count
	Batches    map[int64]int64 // how many commits held at most so many events, and more than half of it; the last holds all above
	LastCommit time.Duration   // how long the newest commit took, its sync included
	WAL        int64           // bytes of the WAL file
	Queue      int             // operations that wait for the writer
	Unindexed  int64           // events whose index rows are held in memory until they are written
	FileBytes  int64           // bytes that files take on the disk, each content once
	Uploading  int64           // bytes that unfinished uploads are to have
	FileQuota  int64           // bytes that both may take
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	st := Stats{Commits: s.stats.commits.Load(), Events: s.stats.events.Load(), Batches: make(map[int64]int64),
		LastCommit: time.Duration(s.stats.commitTook.Load()), Queue: len(s.queue)}
	for i := range s.stats.batches {
		if n := s.stats.batches[i].Load(); n > 0 {
			st.Batches[1<<i] = n
		}
	}
	if fi, err := os.Stat(s.path + "-wal"); err == nil {
		st.WAL = fi.Size()
	}
	st.Unindexed = s.stats.unindexed.Load()
	st.FileBytes, st.Uploading, st.FileQuota = s.files.used.Load(), s.files.reserved.Load(), s.files.quota
	return st
}
