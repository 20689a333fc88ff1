package chat

import (
	"log/slog"
	"sync"
	"time"
)

const (
	clockLeap   = 10 * time.Second // less is what a clock is corrected by anyway
	clockLeaps  = 8                // remembered
	clockNotice = time.Hour        // how long staff are told of it
)

// ClockLeap is that the computer's wall clock went another way than time did:
// somebody set it, or the computer slept.
type ClockLeap struct {
	By time.Duration // forwards; below 0 it went back
	At time.Time     // by the clock as it was set

	since time.Time // by the monotonic clock
}

// clockWatch notices when the wall clock leaps, by the monotonic clock.
type clockWatch struct {
	now   func() time.Time
	began time.Time // on both clocks

	mu    sync.Mutex
	ahead time.Duration // the wall clock before the monotonic one, since then
	leaps []ClockLeap   // the newest last
}

func (w *clockWatch) init(now func() time.Time) {
	if now == nil {
		now = time.Now
	}
	w.now, w.began = now, time.Now()
	w.ahead = w.measure()
}

// measure is by how much the wall clock has gone further than time.
func (w *clockWatch) measure() time.Duration {
	return w.now().Round(0).Sub(w.began.Round(0)) - time.Since(w.began)
}

// look is to be called often: a leap is what the clock makes between two
// calls. Slow corrections are followed.
func (w *clockWatch) look(log *slog.Logger) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ahead := w.measure()
	by := ahead - w.ahead
	w.ahead = ahead
	if by.Abs() < clockLeap {
		return
	}
	at := w.now().Round(0)
	log.Warn("the computer's clock leapt: it was set, or the computer slept; check it, for the passes and the times of vouchers go by it",
		"by", by.Round(time.Second).String(), "now", at.Format(time.RFC3339))
	if w.leaps = append(w.leaps, ClockLeap{by.Round(time.Second), at, time.Now()}); len(w.leaps) > clockLeaps {
		w.leaps = w.leaps[1:]
	}
}

// explains reports that a clock which missed the last leaps, as a page's may,
// is off by this much now.
func (w *clockWatch) explains(off time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sum time.Duration
	for i := len(w.leaps) - 1; i >= 0; i-- {
		if sum += w.leaps[i].By; (off + sum).Abs() <= (passSkew+1)*PassStep {
			return true
		}
	}
	return false
}

// lately is the newest leap, as long as it matters: not for ever, and not if
// others took it back.
func (w *clockWatch) lately() (ClockLeap, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sum time.Duration
	for i := len(w.leaps) - 1; i >= 0; i-- {
		if time.Since(w.leaps[i].since) > clockNotice {
			break
		}
		sum += w.leaps[i].By
	}
	if sum.Abs() < clockLeap {
		return ClockLeap{}, false
	}
	return w.leaps[len(w.leaps)-1], true
}

// ClockLeap returns the last leap of the server's clock, if it was lately and
// was not taken back.
func (h *Hub) ClockLeap() (ClockLeap, bool) { return h.passes.clock.lately() }
