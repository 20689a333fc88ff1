package chat

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Webhook is an endpoint: a URL of another server that is told of events, each
// by a signed POST (Standard Webhooks 1.0).
type Webhook struct {
	ID     string
	URL    string
	Note   string   // what it is for
	Kinds  []string // of events, each whole or as a beginning and "*": "voucher.*"
	Topics []string // where events that are no voucher's must be, in the same form; none: nowhere
	// Private lets it be at an address that the internet cannot reach: this
	// computer, the LAN.
	Private bool
	// Secret is the key of the signatures. It is kept as it is, because it
	// signs; it is shown when it is made and never again, nor logged.
	Secret    []byte
	OldSecret []byte // signs as well until OldUntil; nil: none
	OldUntil  int64  // ms since 1970 UTC

	CreatedAt    int64  // ms since 1970 UTC, like all times
	FailingSince int64  // when attempts began to fail; 0: the last one did not
	DisabledAt   int64  // 0: it is told of events
	DisabledWhy  string // in words
}

// The bounds of a Webhook.
const (
	MaxWebhooks      = 32
	maxWebhookURL    = 1000
	maxWebhookNote   = 100
	maxWebhookKinds  = 50
	minWebhookSecret = 24 // bytes, by the standard
	maxWebhookSecret = 64
)

const voucherKinds = "voucher."

// Check trims what it holds and refuses what cannot be an endpoint.
func (w *Webhook) Check() error {
	w.URL, w.Note = strings.TrimSpace(w.URL), strings.TrimSpace(w.Note)
	if err := firstError(w.checkURL(), checkText("note", w.Note, 0, maxWebhookNote, false),
		checkPatterns("events", "voucher.*", w.Kinds), checkPatterns("topics", "room:*", w.Topics)); err != nil {
		return err
	}
	if len(w.Secret) < minWebhookSecret || len(w.Secret) > maxWebhookSecret {
		return Errorf(CodeBadRequest, "the secret has %d bytes; it must be whsec_ and the base64 of %d to %d random bytes", len(w.Secret), minWebhookSecret, maxWebhookSecret)
	}
	if len(w.Kinds) == 0 {
		return Errorf(CodeBadRequest, "events is empty; say which, for example voucher.*")
	}
	other := slices.ContainsFunc(w.Kinds, func(p string) bool { return !strings.HasPrefix(p, voucherKinds) })
	if other && len(w.Topics) == 0 && !slices.Contains(w.Kinds, "*") {
		return Errorf(CodeBadRequest, "say in topics where these events are to be told from, for example room:*; what people say to each other leaves the house only where you name it")
	}
	for _, t := range w.Topics {
		if t != "*" && !slices.ContainsFunc([]string{RoomPrefix, InboxPrefix, TalkPrefix}, func(p string) bool { return strings.HasPrefix(t, p) }) {
			return Errorf(CodeBadRequest, "the topic %q begins neither with room:, user: nor dm:", t)
		}
	}
	return nil
}

func (w *Webhook) checkURL() error {
	u, err := url.Parse(w.URL)
	switch {
	case len(w.URL) > maxWebhookURL:
		return Errorf(CodeBadRequest, "the URL has %d bytes; at most %d are allowed", len(w.URL), maxWebhookURL)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsFunc(w.URL, unicode.IsSpace) || !utf8.ValidString(w.URL):
		return Errorf(CodeBadRequest, "the URL must be a whole one, like https://shop.example/teahouse.php")
	case u.User != nil:
		return Errorf(CodeBadRequest, "leave name and password out of the URL: the signature proves who calls, and the URL is shown in lists")
	case u.Fragment != "":
		return Errorf(CodeBadRequest, "leave the part from # on out of the URL: it is not sent to a server")
	case w.Private:
		return nil
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil && !PublicAddress(ip) || strings.EqualFold(host, "localhost") {
		return Errorf(CodeBadRequest, "%s is this computer or a private network; if the receiver is there, allow it: allow_private, or --allow-private on the command line", host)
	}
	return nil
}

func checkPatterns(what, example string, patterns []string) error {
	if len(patterns) > maxWebhookKinds {
		return Errorf(CodeBadRequest, "%s has %d entries; at most %d are allowed", what, len(patterns), maxWebhookKinds)
	}
	for _, p := range patterns {
		if begin := strings.TrimSuffix(p, "*"); p == "" || strings.Contains(begin, "*") || len(p) > 200 || checkText(what, p, 1, 200, false) != nil {
			return Errorf(CodeBadRequest, "%s: %q is neither a name nor the beginning of one with a * at its end, as in %s", what, p, example)
		}
	}
	return nil
}

func matchesAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if begin, ok := strings.CutSuffix(p, "*"); p == s || ok && strings.HasPrefix(s, begin) {
			return true
		}
	}
	return false
}

// WantsVoucher reports that it is told of changes of vouchers of this kind,
// whoever owns them.
func (w *Webhook) WantsVoucher(kind string) bool { return matchesAny(w.Kinds, kind) }

// Wants reports that it is told of an event which no change of a voucher made.
// What merely has the kind of one is not told: the receiver would take it for
// a redemption.
func (w *Webhook) Wants(e *Event) bool {
	return len(w.Topics) > 0 && !strings.HasPrefix(e.Kind, voucherKinds) && matchesAny(w.Kinds, e.Kind) && matchesAny(w.Topics, e.Topic)
}

// WebhookState is what became of a delivery.
type WebhookState string

// The states. What is waiting is tried until it is delivered or given up.
const (
	WebhookWaiting   WebhookState = "waiting"
	WebhookDelivered WebhookState = "delivered"
	WebhookFailed    WebhookState = "failed"
)

// WebhookDelivery is one event for one endpoint. Webhook and Event.Seq name it.
type WebhookDelivery struct {
	Webhook string
	Message string // the webhook-id: the same for each attempt, and for other endpoints
	Lane    string // what is told in order: the voucher's code, or the topic
	Event   Event  // Seq, Topic, Kind, From, Body and At
	State   WebhookState
	Since   int64 // it is tried for three days from then on, ms since 1970 UTC
	Due     int64 // when it is tried next; 0: not before the one ahead in its lane, or not again

	Attempts int
	TriedAt  int64  // the last attempt
	Status   int    // what it was answered with; 0: there was no answer
	Error    string // why it was no success, in words; "" after a success
	EndedAt  int64
}

// WebhookAttempt is the outcome of an attempt at a delivery.
type WebhookAttempt struct {
	Webhook string
	Seq     int64
	State   WebhookState // WebhookWaiting: it is tried again at Due
	Due     int64
	At      int64
	Status  int
	Error   string
}

// WebhookQuery selects deliveries of one endpoint, the newest event first.
type WebhookQuery struct {
	Webhook string
	State   WebhookState // "": any
	Before  int64        // only events with a smaller Seq; 0: from the newest on
	Limit   int
}

// WebhookQueue is how an endpoint's deliveries stand.
type WebhookQueue struct {
	Waiting     int
	Failed      int   // given up, as far as they are kept
	DeliveredAt int64 // the last success that is kept; 0: none
}

// never are networks of which no address is somebody's on the internet, beyond
// those that netip knows by name.
var never = func() (list []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10", "::/96",
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

// PublicAddress reports that an address is one of the internet, and not of
// this computer, a private network or nobody. Addresses that only carry
// another one (NAT64, 6to4) are not.
func PublicAddress(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return ip.IsValid() && ip.IsGlobalUnicast() && !ip.IsPrivate() &&
		!slices.ContainsFunc(never, func(p netip.Prefix) bool { return p.Contains(ip) })
}
