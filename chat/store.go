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

	// Recall takes a message's text out of the store, where r.Check allows it
	// at the time of the transaction, and appends r.Event, as Append does: the
	// message's Body is RecalledBody from then on, and nothing that is read
	// after the Tail has delivered the event shows the old one. Both are one
	// transaction. An event whose (Topic, From, Key) is in the log already is
	// not asked about again: the first event comes back, with Origin 0, also
	// when the Window is over. The old body is not left behind in unused
	// parts of the store's files, but for what copies of them were made.
	Recall(ctx context.Context, r Recall) (Event, error)

	// Replay returns the oldest events of the topics with Seq > after, in
	// Seq order, at most limit. Those that have expired by the store's clock
	// are left out and do not count.
	Replay(ctx context.Context, topics []string, after int64, limit int) ([]Event, error)

	// Before returns the newest events of the topic with Seq < seq, in Seq
	// order, at most limit; seq 0 or less means from the newest on. Those that
	// have expired are left out and do not count.
	Before(ctx context.Context, topic string, seq int64, limit int) ([]Event, error)

	// Backlog says what a reader of the topic at after has before it, expired
	// events included: they cost a look.
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

	// Mark changes marks, one after another, and returns what became of each.
	// The head that a change's Apply asks for is the Seq of the topic's newest
	// event, 0 if it has none. A talk that holds nothing cannot be marked
	// (NoSuchTalk). Of a user MarksMost marks of other topics are kept; for
	// another one that is neither kept nor muted gives way, the one marked
	// longest ago, and if there is none it is refused (TooManyMarks). A mark
	// survives a crash of the program, but what power loss takes is the
	// store's to choose: a mark is not worth a wait for the disk.
	Mark(ctx context.Context, changes ...MarkChange) ([]Marked, error)

	// Marks returns what the user has marked, in the order of the topics.
	Marks(ctx context.Context, user string) ([]Mark, error)

	// Issue makes the order's vouchers, all or none, by the order's Make, with
	// the event of each in its owner's inbox. An order whose Batch is there
	// already issues nothing: it gets what the order's Again says to the
	// vouchers of that batch, as they are now, in the order of their issue.
	Issue(ctx context.Context, o VoucherOrder) ([]Voucher, error)

	// Import takes the import's rows in, all or none, to be issued by
	// IssueImported. One whose Batch is there already changes nothing: it
	// gets the state of the first one, or CodeKeyReused if its rows are
	// others.
	Import(ctx context.Context, i VoucherImport) (ImportState, error)

	// ImportState returns how far the import of this batch is, or
	// CodeNotFound.
	ImportState(ctx context.Context, batch string) (ImportState, error)

	// IssueImported issues the next chunk of what was imported, in the order
	// of the imports and their rows, each voucher with its event as Issue
	// does, in one transaction that also notes that it is done. It returns how
	// many vouchers that were, 0 if nothing is left.
	IssueImported(ctx context.Context) (int, error)

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

	// Schedule keeps an event for later, for each of s.Topics; ID, N, Made and
	// Count are the store's to fill in, and Expires counts from s.Due. A topic
	// where the event's (From, Key) is in the log already, or is scheduled, is
	// left out: its Delivery is a Duplicate that says where the first one is.
	// The others are scheduled together, all or none. The deliveries come in
	// the order of the topics, and are durable.
	Schedule(ctx context.Context, s Scheduled) ([]Delivery, error)

	// AppendDue appends what is due by the store's clock, in the order of Due
	// and then of scheduling, together as far as at most limit events go, but
	// at least what one Schedule kept: that is never split. It leaves the
	// schedule in the same transaction. What has expired meanwhile is dropped,
	// and an event whose (Topic, From, Key) has come into the log otherwise is
	// not written again. AppendDue returns how many events it took off the
	// schedule, and when the next one is due, in ms since 1970 UTC; that is 0
	// if none is left, and may have passed already.
	AppendDue(ctx context.Context, limit int) (taken int, next int64, err error)

	// Scheduled lists what is to come, in the order in which it will.
	Scheduled(ctx context.Context, q ScheduledQuery) ([]Scheduled, error)

	// Unschedule cancels what one Schedule kept: none of it will be appended.
	// It reports false if nothing of this ID is scheduled, or not any more.
	Unschedule(ctx context.Context, id string) (bool, error)

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

// Scheduled is an event that is to be appended later, in one topic or in many.
type Scheduled struct {
	ID     string   // names it for whoever cancels it
	N      int64    // rises in the order of scheduling; with Due the place in the list
	Due    int64    // when it is to be appended, ms since 1970 UTC
	Made   int64    // when it was scheduled, ms since 1970 UTC
	Count  int      // in how many topics
	Topics []string // they, or the first of them: see ScheduledQuery.Names
	Event  Event    // without Topic, Seq, At and Origin
}

// ScheduledQuery selects what is scheduled. Zero fields do not filter.
type ScheduledQuery struct {
	ID        string
	From, Key string // if Key is set: only what has this key of this sender
	Due, N    int64  // only what comes after this place
	Limit     int    // at most this many; 0 means 50
	Names     int    // how many topics to name of each; 0 means all
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
