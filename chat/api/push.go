package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"teahouse/chat"
)

// The form push is what backends of the old event server post (docs/http.md):
// fields event, msg and to, and an answer of one word. It appends one event
// for each recipient, of the kind "app", in that user's inbox. The protocol
// "event" shows it as the old server did; its body is that frame, except for
// the recipient.

// PushOptions says what a form push may do.
type PushOptions struct {
	// User returns our name for a recipient ROLE:ID.
	User func(address string) (string, error)
	// Events are what may be pushed besides user_tabbar and chat*: names, or
	// beginnings with a * at their end.
	Events []string
	// Open takes pushes without a key. It is for a listener that only this
	// machine reaches.
	Open bool
}

const (
	kindApp = "app" // the protocol "event" knows it

	fieldKey      = "key"
	headerReason  = "X-Teahouse-Reason"
	headerSkipped = "X-Teahouse-Skipped"

	maxRecipients = 10_000
)

// pushable are the events that the old server passed on.
var pushable = []string{"user_tabbar", "chat*"}

type pusher struct {
	api  *API
	opts PushOptions
	log  *rate.Limiter // lines about recipients: not as many as there are pushes
}

// Push returns the handler of form pushes.
func (a *API) Push(o PushOptions) http.Handler {
	o.Events = slices.Concat(pushable, o.Events)
	return &pusher{api: a, opts: o, log: rate.NewLimiter(rate.Every(time.Second), 10)}
}

// ServeHTTP answers "ok", "fail", or "fail: " and a sentence.
func (p *pusher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r, c := p.api.with(r)
	c.operation = "push"
	query := r.URL.Query().Get(fieldKey)
	bare := *r.URL
	bare.RawQuery = "" // there may be a key in it: it must not come into a log
	r.URL, r.RequestURI = &bare, bare.RequestURI()
	sw := &statusWriter{ResponseWriter: w}
	h := w.Header()
	h.Set("X-Request-Id", c.id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	defer func() { p.api.stats.count(c.operation, sw.status) }()
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler || sw.status != 0 {
				panic(http.ErrAbortHandler)
			}
			p.api.opts.Logger.Error("request panicked", "request", c.id, "operation", c.operation, "panic", v, "stack", string(debug.Stack()))
			p.refuse(sw, r, chat.Errorf(chat.CodeInternal, ""))
		}
	}()
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetReadDeadline(time.Now().Add(callTimeout))
	_ = deadlines.SetWriteDeadline(time.Now().Add(2 * callTimeout))
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	r = r.WithContext(ctx)

	if r.Method != http.MethodPost {
		h.Set("Allow", http.MethodPost)
		p.write(sw, http.StatusMethodNotAllowed, "fail: this takes pushes, by POST; WebSockets and pages are at the server's main address")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, eventsBody)
	err := p.authenticate(r, query)
	var form *formValue
	if err == nil {
		form, err = readForm(r)
	}
	if err == nil && c.caller.role == roleNone {
		err = p.byField(r, form)
	}
	var events []chat.Event
	skipped := 0
	if err == nil {
		events, skipped, err = p.events(c, r, form)
	}
	if err == nil {
		err = p.publish(r, events)
	}
	var old *oldFail
	switch {
	case errors.As(err, &old):
		h.Set(headerReason, old.reason)
		p.write(sw, old.status, "fail")
	case err != nil:
		p.refuse(sw, r, err)
	default:
		if skipped > 0 {
			h.Set(headerSkipped, strconv.Itoa(skipped))
			if p.log.AllowN(p.api.opts.Now(), 1) {
				p.api.opts.Logger.Warn("a push named recipients that are not ROLE:ID of a known role; --event-roles names the roles", "request", c.id, "skipped", skipped, "reached", len(events))
			}
		}
		p.write(sw, http.StatusOK, "ok")
	}
}

// oldFail is a refusal in the words of the old server.
type oldFail struct {
	status int
	reason string // for people, in a header
}

func (e *oldFail) Error() string { return e.reason }

func (p *pusher) write(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// refuse answers what the old server had no answer for.
func (p *pusher) refuse(w http.ResponseWriter, r *http.Request, err error) {
	problem := fail(r.Context(), err)
	for k, v := range problem.GetHeaders() {
		w.Header()[k] = v
	}
	if problem.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="teahouse"`)
	}
	p.write(w, problem.Status, "fail: "+problem.Detail)
}

// authenticate finds out who pushes, by what can be known without the body. A
// key in a field is looked at later.
func (p *pusher) authenticate(r *http.Request, key string) error {
	c := callOf(r.Context())
	if p.opts.Open {
		return p.local(r, c)
	}
	var who caller
	var err error
	switch {
	case r.Header.Get("Authorization") != "":
		who, err = p.api.identify(r)
	case key != "":
		who, err = p.api.byKey(r, key)
	default:
		return nil
	}
	return p.admit(c, who, err)
}

func (p *pusher) byField(r *http.Request, form *formValue) error {
	key, ok := form.plain(fieldKey)
	if !ok {
		return chat.Errorf(chat.CodeUnauthorized, "a push needs an API key: Authorization: Bearer KEY, a field key, or ?key= in the URL")
	}
	who, err := p.api.byKey(r, key)
	return p.admit(callOf(r.Context()), who, err)
}

func (p *pusher) admit(c *call, who caller, err error) error {
	if err == nil && who.role < roleKey {
		err = chat.Errorf(chat.CodeForbidden, "only an API key may push")
	}
	if err == nil {
		c.caller = who
	}
	return err
}

// local accepts a program on this machine, and neither a page in a browser on
// it, which could be anybody's, nor what a proxy passes on from elsewhere.
func (p *pusher) local(r *http.Request, c *call) error {
	for _, name := range []string{"Origin", "Sec-Fetch-Site"} {
		if r.Header.Get(name) != "" {
			return chat.Errorf(chat.CodeForbidden, "this address takes pushes from programs on this computer, not from pages")
		}
	}
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded"} {
		if r.Header.Get(name) != "" {
			return chat.Errorf(chat.CodeForbidden, "a proxy passes this on, so anybody could have sent it; let it pass on to the main address, where pushes need an API key")
		}
	}
	c.caller = caller{id: "local push", role: roleKey}
	return nil
}

// events makes the events of a push. What was posted is the body, except for
// the recipients, who must not see each other, and a key. skipped counts
// recipients that cannot be ours.
func (p *pusher) events(c *call, r *http.Request, form *formValue) (events []chat.Event, skipped int, err error) {
	users, skipped, err := p.users(form)
	if err != nil {
		return nil, 0, err
	}
	name, _ := form.plain("event")
	switch {
	case len(users) == 0 && skipped > 0:
		return nil, 0, &oldFail{http.StatusBadRequest, "no recipient is ROLE:ID of a known role; --event-roles names the roles"}
	case len(users) == 0:
		return nil, 0, &oldFail{http.StatusBadRequest, "the field to is empty; it takes ROLE:ID, several with commas or as an array"}
	case !p.mayPush(name):
		return nil, 0, &oldFail{http.StatusOK, "this event is not passed on; user_tabbar and chat* are, and what --event-push names"}
	}
	e := chat.Event{Kind: kindApp, Body: pushBody(name, form)}
	if key := r.Header.Get(headerKey); key != "" {
		e.Key = "idem." + onceKey(c.caller.id, "form push", key)[:26]
	}
	events = make([]chat.Event, len(users))
	for i, user := range users {
		events[i] = e
		events[i].Topic = chat.Inbox(user)
	}
	// Here, so that the sentence is about what was posted.
	if limit := p.api.opts.Hub.Limits().Body; len(e.Body) > limit {
		return nil, 0, chat.Errorf(chat.CodeTooLarge, "what was posted, without to, makes %d bytes; at most %d are allowed", len(e.Body), limit)
	}
	return events, skipped, nil
}

// users returns the recipients, each once.
func (p *pusher) users(form *formValue) (users []string, skipped int, err error) {
	limits := p.api.opts.Hub.Limits()
	seen := make(map[string]bool)
	for _, list := range form.texts("to") {
		for address := range strings.SplitSeq(list, ",") {
			address = strings.TrimSpace(address)
			address = strings.TrimSpace(strings.TrimPrefix(address, "online:"))
			if address == "" {
				continue
			}
			user, err := p.opts.User(address)
			if err != nil || limits.CheckTopic(chat.Inbox(user)) != nil || limits.CheckUser(user) != nil {
				skipped++
				continue
			}
			if !seen[user] {
				seen[user] = true
				users = append(users, user)
			}
			if len(users) > maxRecipients {
				return nil, 0, chat.Errorf(chat.CodeTooLarge, "one push goes to at most %d recipients; send to fewer at once", maxRecipients)
			}
		}
	}
	return users, skipped, nil
}

func (p *pusher) mayPush(name string) bool {
	return slices.ContainsFunc(p.opts.Events, func(pattern string) bool {
		if begin, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(name, begin)
		}
		return name == pattern
	})
}

// pushBody makes the body of what was posted.
func pushBody(name string, form *formValue) []byte {
	b := appendText([]byte(`{"event":`), name)
	b = append(b, `,"msg":`...)
	if text, ok := form.plain("msg"); ok {
		b = appendDecoded(b, text)
	} else if v := form.items["msg"]; v != nil {
		b = v.appendJSON(b)
	} else {
		b = append(b, "null"...)
	}
	for _, name := range form.names {
		switch name {
		case "event", "msg", "to", "type", fieldKey:
			// Never a field key, even where none is needed: it may be one.
		default:
			b = append(appendText(append(b, ','), name), ':')
			b = form.items[name].appendJSON(b)
		}
	}
	return append(b, `,"type":"app"}`...)
}

func (p *pusher) publish(r *http.Request, events []chat.Event) error {
	deliveries, err := p.api.opts.Hub.Publish(r.Context(), events)
	if err != nil {
		return logged(callOf(r.Context()), err)
	}
	for i, d := range deliveries {
		if d.Duplicate && !bytes.Equal(d.Event.Body, events[i].Body) {
			return chat.Errorf(chat.CodeKeyReused, "this %s was used with another body; take a new one for a new request", headerKey)
		}
	}
	return nil
}
