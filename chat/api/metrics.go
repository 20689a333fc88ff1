package api

import (
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"teahouse/chat"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// StoreStats are the store's counters. It has db.Stats' fields, so that main
// converts the one into the other.
type StoreStats struct {
	Commits    int64           // transactions of callers' work
	Events     int64           // events appended
	Batches    map[int64]int64 // commits by their size: a power of two -> how many held at most so many events, and more than half of it; 4096 also holds all above
	LastCommit time.Duration   // how long the newest commit took
	WAL        int64           // bytes of the WAL file
	Queue      int             // operations that wait for the writer
	Unindexed  int64           // events held in memory until they are indexed
	FileBytes  int64           // bytes that files take on the disk
	Uploading  int64           // bytes that unfinished uploads are to have
	FileQuota  int64           // bytes that both may take
}

// metrics is what /metrics shows. Nothing is labelled by user or topic: their
// number has no bound.
type metrics struct {
	calls   *prometheus.CounterVec
	handler func() http.Handler // made by the first scrape: many houses have none
}

func (m *metrics) init(a *API) {
	m.calls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "teahouse_http_requests_total", Help: "Calls of the HTTP API, by operation and status.",
	}, []string{"operation", "status"})
	m.handler = sync.OnceValue(func() http.Handler {
		reg := prometheus.NewRegistry()
		reg.MustRegister(
			collectors.NewGoCollector(),
			collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
			m.calls,
			&collector{api: a},
		)
		return promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 2, Timeout: 10 * time.Second})
	})
}

func (m *metrics) count(operation string, status int) {
	if operation == "" {
		operation = "unknown" // one label for all paths that do not exist
	}
	m.calls.WithLabelValues(operation, strconv.Itoa(status)).Inc()
}

// metrics serves /metrics: openly to this machine, with an API key to others.
// A request that a proxy passed on is not from this machine, wherever the
// proxy runs.
func (a *API) metrics(w http.ResponseWriter, r *http.Request) {
	r, _ = a.with(r)
	if !loopback(r) {
		who, err := a.identify(r)
		if err == nil && who.role < roleKey {
			err = chat.Errorf(chat.CodeForbidden, "the metrics need an API key")
		}
		if err != nil {
			a.challenge(w, r, roleKey, err)
			return
		}
	}
	a.stats.handler().ServeHTTP(w, r)
}

func loopback(r *http.Request) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
		}
	}
	ip, err := netip.ParseAddr(peerAddr(r))
	return err == nil && ip.Unmap().IsLoopback()
}

// A metric is one number of the hub or of the store.
type metric[S any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(S) float64
}

func counter[S any, N int | int64](name, help string, value func(S) N) metric[S] {
	return metric[S]{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, func(s S) float64 { return float64(value(s)) }}
}

func gauge[S any, N int | int64 | float64](name, help string, value func(S) N) metric[S] {
	return metric[S]{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, func(s S) float64 { return float64(value(s)) }}
}

var hubMetrics = sync.OnceValue(func() []metric[chat.HubStats] {
	type s = chat.HubStats
	return []metric[s]{
		gauge("teahouse_connections", "Open WebSocket connections.", func(s s) int { return s.Connections }),
		gauge("teahouse_sessions", "Connections that said hello.", func(s s) int { return s.Sessions }),
		gauge("teahouse_topics", "Topics in memory.", func(s s) int { return s.Topics }),
		gauge("teahouse_subscriptions_behind", "Subscriptions that are being served from the log.", func(s s) int { return s.Behind }),
		gauge("teahouse_recent_bytes", "Bytes of recent events kept encoded in memory.", func(s s) int { return s.RecentBytes }),
		gauge("teahouse_told_seq", "The seq up to which every event was handed to the live connections.", func(s s) int64 { return s.Told }),
		counter("teahouse_events_published_total", "Events that entered the log.", func(s s) int64 { return s.Published }),
		counter("teahouse_events_delivered_total", "Events queued to live connections.", func(s s) int64 { return s.Delivered }),
		counter("teahouse_events_replayed_total", "Events queued to connections from the log.", func(s s) int64 { return s.Replayed }),
		counter("teahouse_resets_total", "Positions of returning clients that did not join on.", func(s s) int64 { return s.Resets }),
		counter("teahouse_slow_clients_total", "Times that a client fell behind or was closed for being slow.", func(s s) int64 { return s.Slow }),
		counter("teahouse_signals_total", "Signals passed on.", func(s s) int64 { return s.Signals }),
		counter("teahouse_append_failures_total", "Appends that failed.", func(s s) int64 { return s.Failures }),
		counter("teahouse_sessions_opened_total", "Sessions opened.", func(s s) int64 { return s.Opened }),
	}
})

var storeMetrics = sync.OnceValue(func() []metric[StoreStats] {
	type s = StoreStats
	return []metric[s]{
		counter("teahouse_store_commits_total", "Transactions committed.", func(s s) int64 { return s.Commits }),
		counter("teahouse_store_events_total", "Events appended.", func(s s) int64 { return s.Events }),
		gauge("teahouse_store_last_commit_seconds", "How long the newest commit took, with its sync to the disk.", func(s s) float64 { return s.LastCommit.Seconds() }),
		gauge("teahouse_store_wal_bytes", "Size of the write-ahead log.", func(s s) int64 { return s.WAL }),
		gauge("teahouse_store_queue", "Operations that wait for the writer.", func(s s) int { return s.Queue }),
		gauge("teahouse_store_unindexed_events", "Events held in memory until they are indexed.", func(s s) int64 { return s.Unindexed }),
		gauge("teahouse_files_bytes", "Bytes that files take on the disk, each content once.", func(s s) int64 { return s.FileBytes }),
		gauge("teahouse_files_uploading_bytes", "Bytes that are set aside for unfinished uploads.", func(s s) int64 { return s.Uploading }),
		gauge("teahouse_files_quota_bytes", "Bytes that files and unfinished uploads may take.", func(s s) int64 { return s.FileQuota }),
	}
})

// The store counts batches by powers of two up to this one, which also holds
// all above it.
const (
	lastBatch   = 4096
	batchMetric = "teahouse_store_commit_events"
)

// collector reads the counters of hub and store when it is asked.
type collector struct{ api *API }

var (
	infoDesc  = prometheus.NewDesc("teahouse_build_info", "1, with the version as a label.", []string{"version"}, nil)
	readyDesc = prometheus.NewDesc("teahouse_ready", "1 while clients are served.", nil, nil)
	batchDesc = prometheus.NewDesc(batchMetric, "How many events were committed together.", nil, nil)
)

// Describe is for Prometheus.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- infoDesc
	ch <- readyDesc
	ch <- batchDesc
	for _, m := range hubMetrics() {
		ch <- m.desc
	}
	for _, m := range storeMetrics() {
		ch <- m.desc
	}
}

// Collect is for Prometheus.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	o := &c.api.opts
	ready := 0.0
	if o.Hub.Ready() == nil {
		ready = 1
	}
	ch <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1, o.Version)
	ch <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, ready)
	hub := o.Hub.Stats()
	for _, m := range hubMetrics() {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(hub))
	}
	if o.StoreStats == nil {
		return
	}
	store := o.StoreStats()
	for _, m := range storeMetrics() {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(store))
	}
	buckets := make(map[float64]uint64)
	var count uint64
	for size := int64(1); size <= lastBatch; size *= 2 {
		count += uint64(store.Batches[size])
		if size < lastBatch {
			buckets[float64(size)] = count
		}
	}
	ch <- prometheus.MustNewConstHistogram(batchDesc, count, float64(store.Events), buckets)
}
