// Package chat is the domain and the live side: the store is an ordered log,
// the hub is its reader, a client is a cursor in it, and a dialect is a pair of
// pure functions. It knows no other package of this module; what it needs of
// storage it says in Store.
//
// # Nouns
//
//	Event      one entry of the log; Seq rises over the whole log, gaps are legal
//	topic      a named stream of events: room:NAME, user:ID (an inbox), dm:A:B (a talk)
//	Position   a place in one particular log: Epoch names the log, Seq the place
//	Client     one connection of one device of one user; Session is how it is kept
//	subscription  a client in a topic: a cursor that is live, or behind
//	Dialect    one wire protocol: frame -> Command, Event or Reply -> frame
//	Opening    how a connection begins: its dialect, what it asks for unasked, and
//	           the Rules by which a protocol made for another server is served
//	Error      a Code and a sentence; one table says what a Code leads to outside
//
// # The road of an event
//
// A client's read loop decodes a frame and carries it out before it reads the
// next; sends that came in one piece are appended together. A send is checked,
// appended (Store.Append returns when it is durable) and comes back through
// Store.Tail, the only thing that the hub reads. The hub works in rounds: all
// that was committed is handed to its topics, encoded once for each dialect,
// and queued to the live subscriptions; then every socket with something
// queued is written once; then the next round. What is committed meanwhile
// waits and goes out together: that is the coalescing.
// Hub.Publish (HTTP, command line) enters at the same place. Signals and
// presence pass the log by: they are for those who are live.
//
// An ack is told by the hub, not by the read loop: Event.Origin leads it back
// to the sender, so that it stands in its place among the topic's events. For
// a sender that is behind, its replay tells it, where it meets the event
// (ack.go).
//
// The inbox of a user carries the user's talks as well: a talk's event goes to
// its followers and into the inboxes of its two members, except where a client
// joined the talk by itself. So one position covers inbox and talks.
//
// # Behind
//
// Coming back and reading slowly are one thing. A subscription that begins in
// the past, or whose queue is full, is behind: the client's catch-up goroutine
// reads pages from the topic's memory or from the log, and under topic.mu asks
// whether the head is reached; if so the subscription is live. Only who is
// live is handed events, only who is behind reads, so nothing is doubled or
// left out. A position that does not join on to the log is reset first.
//
// # Recalled
//
// A recall is an event like any other, whose transaction takes the text of an
// older one away (recall.go). The hub forgets the text in the round that tells
// the recall. Who reads the log notes before what it surely knows; if a newer
// recall was told in the topic meanwhile it reads again, so that nobody is told
// a text after its recall.
//
// # Promise
//
// Nothing is told before it is durable. In each topic a connection is told
// every event after its cursor once and in the order of Seq, except what it
// sent itself, of which it is told the ack. Between topics there is no order;
// inbox and talks count as one.
// Who comes back with its cursors misses nothing that is still kept, and
// drops what is at or below them. The same (Topic, From, Key) is one event as
// long as that is kept, so that a send may be repeated until it is acked.
//
// # Without a position
//
// Clients of other servers hold no positions and say their name in the URL or
// not at all. What their protocols need stands in Rules, as data: no protocol
// is known here. For those that are to be resumed the hub keeps how far each
// surely got (resume.go, comeback.go): a ping after what was delivered, whose pong proves
// it; the next connection of the same client begins there.
// One connection may have several Clients, one after another: a hello said
// again, a protocol found out by the first frame (opening.go, replace).
//
// # Goroutines
//
//	Hub.Run          the hub's own: Store.Tail calls dispatch in it; it never waits for a client
//	round's flushers one less than processors, help to write at the end of a round
//	Hub.tick         the coarse clock, and the timer wheel that pings and gives up connections
//	laterQueue.run   two: writes who came and who went; asks who is unsure how far it got; 50 ms later, many at once
//	Hub.deliverDue   appends what is scheduled when it is due
//	Hub.expireVouchers  expires vouchers at their time, and tells of it
//	doors.tend       writes down each hour which claimed names are in use, and forgets old claims
//	Hub.keepMarks    writes read positions, many at once, and tells the user's devices
//	recorder.run     writes sessions to the store, many at once, a little later
//	link.read        one for each connection, parked while it is idle
//	Client.runCatchUp  one for a client while one of its subscriptions is behind
//	outbox.drain     one for a socket while it is full
//
// A socket has one writer at a time: whoever finds its outbox idle writes,
// without blocking. Frames are never cut by other frames.
//
// # Locks
//
// In this order; who holds a later one never takes an earlier one, nor a second
// topic's (but for an inbox and then a talk of its user):
//
//	link.turn     carrying out a frame, changing the connection's client
//	doors.changing  setting a room's code and putting out who has not given it
//	Hub.talks     held while a round is told, and while a talk is joined or left
//	Hub.mu        the maps of topics, clients, users, connections, dialects
//	topic.mu      subscriptions, users, recent events, and whether a subscription is live
//	sureness.mu   what a client without positions was asked
//	Client.mu     its list of subscriptions, what is behind, what it sent
//	outbox.mu     the queue of frames
//
// The locks of recorder, awayList, scheduler, wheel, originTable, publishCall and commandGate are
// leaves: nothing is taken while they are held; likewise those of claimed and
// roomLocks, but for the counters of tries below them. No lock is held while the
// store works or a write could block, but link.turn and doors.changing.
//
// Atomics beside the locks: subscription.cursor is moved by the hub while it is
// live and by the catch-up while it is behind; round.covers is the newest Seq
// that the hub was given (all up to it is durable), Hub.told the newest that
// it has handed out.
package chat
