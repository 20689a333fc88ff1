package chat

import (
	"context"
	"time"
)

// Store is the durable, ordered log and what belongs to it. It is owned by
// its consumer, this package; storetest.Run holds every implementation to the
// words below. All methods may be called at once from many goroutines. A
// failed call returns an *Error whose Code says whether to try again
// (CodeStorageFull, CodeStorage) and leaves nothing half done.
type Store interface {
	// Append makes the events durable, all or none, and returns them with Seq
	// and At filled in, in the order given. When it returns without an error
	// they survive what the store's durability promises. An event whose
	// (Topic, From, Key) is in the log already is not written again: the
	// first event comes back in its place, with Origin 0. Events of calls
	// that overlap may be committed together; one call's failure does not
	// fail another's. A cancelled ctx ends the wait before the events are
	// taken into a transaction, never in the middle of one: then the call
	// waits for the outcome, so that an error always means "not written".
	Append(ctx context.Context, events ...Event) ([]Event, error)

	// Replay returns the oldest events of the topics with Seq > after, in
	// Seq order, at most limit.
	Replay(ctx context.Context, topics []string, after int64, limit int) ([]Event, error)

	// Before returns the newest events of the topic with Seq < seq, in Seq
	// order, at most limit; seq 0 or less means from the newest on.
	Before(ctx context.Context, topic string, seq int64, limit int) ([]Event, error)

	// Backlog says what a reader of the topic at after has before it.
	Backlog(ctx context.Context, topic string, after int64, max int) (Backlog, error)

	// Tail calls deliver with committed batches in Seq order, beginning
	// after the given Seq, until ctx ends (it returns ctx.Err()) or deliver
	// returns an error (it returns that). Every event reaches deliver exactly
	// once, and only when it is durable. The batch may be kept: nobody
	// changes it. A slow deliver slows appends rather than losing anything.
	// It must not append by itself: that would wait for its own end. The hub
	// is its only reader.
	Tail(ctx context.Context, after int64, deliver func([]Event) error) error

	// Head returns the newest Position: every event up to Seq is durable.
	Head(ctx context.Context) (Position, error)

	// Talks returns the "dm:" topics of which user is a member and that hold
	// an event with Seq > after.
	Talks(ctx context.Context, user string, after int64) ([]string, error)

	// Issue makes the order's vouchers, all or none, by the order's Make, with
	// the event of each in its owner's inbox. An order whose Batch is there
	// already issues nothing: it gets what the order's Again says to the
	// vouchers of that batch, as they are now, in the order of their issue.
	Issue(ctx context.Context, o VoucherOrder) ([]Voucher, error)

	// Change does to the voucher what its Apply says at the time of the
	// transaction, and appends the event of the change if it is the first
	// one. State, log and event are one transaction: all of it is durable
	// when Change returns, or nothing was done. Changes of one voucher come
	// one after another, each knowing what the ones before it did.
	Change(ctx context.Context, code string, a VoucherAct) (VoucherChange, error)

	// Expire expires vouchers that are Due, the earliest first, at most
	// limit, each with its event as Change does. It returns how many, and
	// when the next one that is still issued will be due, in ms since 1970
	// UTC, 0 if none will.
	Expire(ctx context.Context, limit int) (expired int, next int64, err error)

	// Voucher returns a voucher and its log, the oldest entry first, or
	// CodeVoucherUnknown.
	Voucher(ctx context.Context, code string) (Voucher, []VoucherEntry, error)

	// Vouchers lists vouchers, the newest first.
	Vouchers(ctx context.Context, q VoucherQuery) ([]Voucher, error)

	// SaveSessions writes the sessions as they are now, each whole, keyed by
	// ID, in one transaction. It may be called for sessions that are new,
	// changed or ended.
	SaveSessions(ctx context.Context, sessions ...Session) error

	// Sessions lists sessions, newest Opened first.
	Sessions(ctx context.Context, q SessionQuery) ([]Session, error)
}

// Backlog is what a reader has before it.
type Backlog struct {
	Events int  // how many events follow, counted up to max+1
	Pruned bool // events after the position were removed by retention
}

// VoucherQuery selects vouchers. Zero fields do not filter.
type VoucherQuery struct {
	Owner  string
	Status VoucherStatus
	Batch  string
	Before int64 // only those with a smaller ID: the last one of the page before
	Limit  int   // at most this many; 0 means 50
}

// Session is one connection of one device of one user, as it is kept.
type Session struct {
	ID       string           // unguessable
	User     string           // who
	Device   string           // what the client calls itself, or ""
	Dialect  string           // the wire protocol's name
	Addr     string           // the client's address without its port
	Agent    string           // the client's User-Agent, cut to 200 bytes
	Opened   int64            // ms since 1970 UTC
	LastSeen int64            // ms since 1970 UTC: when something last came from it
	Ended    int64            // ms since 1970 UTC; 0 while it is online
	Reason   Code             // why it ended, "" for a plain close
	Epoch    string           // the log that Topics speaks of
	Topics   map[string]int64 // followed topics and the last Seq handed to the socket
}

// SessionQuery selects sessions. Zero fields do not filter.
type SessionQuery struct {
	User   string
	Online bool      // only those that have not ended
	Since  time.Time // only those that are online or ended at or after it
	Limit  int       // at most this many; 0 means 1,000
}

// Retention says how much of a topic is kept. Zero values keep everything.
type Retention struct {
	Age   time.Duration
	Count int
}
