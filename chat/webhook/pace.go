package webhook

import (
	"math/rand/v2"
	"time"
)

// The pace of attempts. A delivery that fails waits for itself, longer each
// time, and its endpoint waits as a whole: as long as nothing succeeds, one
// request is made at a time, at last about once a minute, however many wait.
// When it answers again it is first told one after another, and then by up to
// mostTogether at once.
const (
	timeout = 15 * time.Second // of one request

	keepTrying = 3 * 24 * time.Hour // from the event on

	firstRetry = 5 * time.Second // of a delivery that was refused,
	lastRetry  = 15 * time.Minute

	firstPause = time.Second // of an endpoint,
	lastPause  = time.Minute

	mostRetryAfter = time.Hour // what a receiver may ask for

	mostTogether = 4  // requests to one endpoint at once,
	mostAtAll    = 16 // and to all
	growEvery    = 8  // successes until there may be one more at once

	look      = 5 * time.Minute // the clock may be set: look so often at least
	storeWait = 5 * time.Second // after the store failed
	lastWords = 3 * time.Second // for requests that are out when the server stops
)

// backoff doubles from first with each failure up to last, a quarter more or
// less by chance, so that those who failed together do not come together.
func backoff(failures int, first, last time.Duration) time.Duration {
	d := last
	if failures < 20 {
		d = min(first<<max(failures-1, 0), last)
	}
	return d*3/4 + rand.N(d/2)
}

// pace is what is known of an endpoint's health. The sender's lock guards it.
type pace struct {
	flying   map[int64]struct{} // events on their way
	window   int                // how many may be
	grown    int                // successes since it grew
	streak   int                // failures since the last success
	failedAt time.Time          // the last one
	until    time.Time          // nothing is sent before
}

func newPace() *pace { return &pace{flying: make(map[int64]struct{}), window: 1} }

// failed notes a failure of a request that was sent at a time, and reports
// whether it is the first one since a success. Of requests that were out
// together one counts: it is one trouble.
func (p *pace) failed(sent, now time.Time, retryAfter time.Duration) (first bool) {
	first = p.streak == 0
	if first || sent.After(p.failedAt) {
		p.streak++
		p.failedAt = now
	}
	p.window, p.grown = 1, 0
	if until := now.Add(max(backoff(p.streak, firstPause, lastPause), retryAfter)); until.After(p.until) {
		p.until = until
	}
	return first
}

// succeeded notes a success.
func (p *pace) succeeded() {
	if p.streak > 0 {
		p.streak, p.until = 0, time.Time{}
		return
	}
	if p.grown++; p.grown >= growEvery && p.window < mostTogether {
		p.window, p.grown = p.window+1, 0
	}
}
