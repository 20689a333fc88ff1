//go:build linux

package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// sample is what one round of one scenario measured.
type sample map[string]float64

// percentile returns the p-th percentile (0 to 100) by the nearest rank; it
// sorts what it is given. Nothing has percentile 0.
func percentile[T cmp.Ordered](s []T, p float64) T {
	var zero T
	if len(s) == 0 {
		return zero
	}
	slices.Sort(s)
	i := int(math.Ceil(float64(len(s)) * p / 100))
	return s[min(max(i, 1), len(s))-1]
}

// median of an even number is the mean of the middle two.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// book holds all samples of a run: scenario, side, rounds.
type book map[string]map[string][]sample

func (b book) add(scenario, side string, s sample) {
	if b[scenario] == nil {
		b[scenario] = make(map[string][]sample)
	}
	b[scenario][side] = append(b[scenario][side], s)
}

// get returns the median over the rounds; ok is false when none has it.
// Rounds that other processes disturbed count only when there are no others.
func (b book) get(scenario, side, metric string) (v float64, ok bool) {
	var calm, all []float64
	for _, s := range b[scenario][side] {
		if x, has := s[metric]; has {
			all = append(all, x)
			if s["others"] < disturbed {
				calm = append(calm, x)
			}
		}
	}
	if len(calm) > 0 {
		return median(calm), true
	}
	return median(all), len(all) > 0
}

// commitSample sums up what writers, each with one commit in flight, saw in
// span: lat has the time of each commit, by writer.
func commitSample(lat [][]time.Duration, span, cpu time.Duration, others float64) sample {
	all := slices.Concat(lat...)
	return sample{
		"persecond": float64(len(all)) / span.Seconds(),
		"p50":       ms(percentile(all, 50)),
		"p99":       ms(percentile(all, 99)),
		"cpu":       cpu.Seconds() / float64(max(len(all), 1)) * 1e6,
		"others":    others,
	}
}
