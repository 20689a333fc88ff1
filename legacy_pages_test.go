package main

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// oldPage is a page or an app as it was written for its old server, bugs
// included: what it does when it opens, with a frame, and when the connection
// ends. Its times are a fiftieth of the real ones.
type oldPage struct {
	t     testing.TB
	route *route
	query string
	heads []string

	opened  func(c *oldClient)                 // nil: nothing
	message func(frame string) (string, error) // what it shows; an error is what JavaScript throws
	beat    string                             // "": none

	mu     sync.Mutex
	shown  []string
	thrown []error
	socket *oldClient
	opens  int
	over   chan struct{}
}

const (
	pageRetry = 100 * time.Millisecond // of 5 s
	pageBeat  = 300 * time.Millisecond // of 15 s
)

// route leads a page to its server, or nowhere.
type route struct {
	mu   sync.Mutex
	host string
}

func (r *route) set(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.host = host
}

func (r *route) get() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.host
}

// start opens the page; it stays until the test ends.
func (p *oldPage) start() *oldPage {
	p.over = make(chan struct{})
	var living sync.WaitGroup
	living.Go(p.live)
	p.t.Cleanup(func() {
		close(p.over)
		living.Wait()
	})
	return p
}

func (p *oldPage) live() {
	for {
		if host := p.route.get(); host != "" {
			if c, err := dialOld(p.t, "ws://"+host+p.query, p.heads...); err == nil {
				p.serve(c)
			}
		}
		select {
		case <-p.over:
			return
		case <-time.After(pageRetry):
		}
	}
}

// serve handles one socket until it ends.
func (p *oldPage) serve(c *oldClient) {
	p.mu.Lock()
	p.socket, p.opens = c, p.opens+1
	p.mu.Unlock()
	if p.opened != nil {
		p.opened(c)
	}
	beat := time.NewTicker(pageBeat)
	defer beat.Stop()
	for {
		c.mu.Lock()
		frames, over, news := c.heard[c.read:], c.over, c.news
		c.read = len(c.heard)
		c.mu.Unlock()
		for _, frame := range frames {
			line, err := p.message(frame)
			p.mu.Lock()
			if err != nil {
				p.thrown = append(p.thrown, err)
			} else if line != "" {
				p.shown = append(p.shown, line)
			}
			p.mu.Unlock()
		}
		if over {
			return
		}
		select {
		case <-p.over:
			return
		case <-news:
		case <-beat.C:
			if p.beat != "" {
				c.says(p.beat)
			}
		}
	}
}

// shows returns all that the page shows.
func (p *oldPage) shows() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.shown, " ")
}

// print is what the page shows by itself.
func (p *oldPage) print(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown = append(p.shown, line)
}

func (p *oldPage) now() (c *oldClient, opens int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.socket, p.opens
}

// threw is what the page threw.
func (p *oldPage) threw() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.thrown...)
}

var presenceLines = []string{"我上线啦!", "我下线啦!"}

// roomPage prints FROM:MESSAGES, its own lines by itself, and shows nothing of
// who comes and goes, to be easier to compare.
func roomPage(t testing.TB, r *route, query string, heads ...string) *oldPage {
	p := &oldPage{t: t, route: r, query: query, heads: append([]string{"Origin", "https://old.example"}, heads...), beat: "[object Object]"}
	p.message = func(frame string) (string, error) {
		var f struct {
			From     any `json:"from_user"`
			Messages any
		}
		if err := json.Unmarshal([]byte(frame), &f); err != nil {
			return "", err
		}
		text, _ := f.Messages.(string)
		if text == presenceLines[0] || text == presenceLines[1] {
			return "", nil
		}
		return text, nil
	}
	return p
}

// says is the room page's button: it prints the line and sends it.
func (p *oldPage) says(text string) {
	p.print(text)
	c, _ := p.now()
	c.says(`{"message":` + quoted(text) + `}`)
}

// voucherPage parses twice and needs an id and a status.
func voucherPage(t testing.TB, r *route, query string) *oldPage {
	p := &oldPage{t: t, route: r, query: query, beat: `{"type":"ping"}`, heads: []string{"Referer", strings.TrimPrefix(mini, "Referer: ")}}
	p.message = func(frame string) (string, error) {
		var f struct{ Messages string }
		if err := json.Unmarshal([]byte(frame), &f); err != nil {
			return "", err
		}
		var v struct{ ID, Status json.Number }
		if err := json.Unmarshal([]byte(f.Messages), &v); err != nil {
			return "", err
		}
		if v.ID == "" || v.Status == "" {
			return "", errors.New("no id or status: " + frame)
		}
		return v.ID.String() + "=" + v.Status.String(), nil
	}
	return p
}

// relayPage drops the first space and a BOM, and parses JSON.
func relayPage(t testing.TB, r *route, query string) *oldPage {
	p := &oldPage{t: t, route: r, query: query}
	p.message = func(frame string) (string, error) {
		if i := strings.Index(frame, " "); i >= 0 {
			frame = frame[:i] + frame[i+1:]
		}
		var text string
		if err := json.Unmarshal([]byte(strings.TrimPrefix(frame, "\ufeff")), &text); err != nil {
			return "", err
		}
		var line struct{ Text string }
		if json.Unmarshal([]byte(text), &line) == nil {
			text = line.Text
		}
		return text, nil
	}
	return p
}

// typedPage introduces itself when it opens, and evals.
func typedPage(t testing.TB, r *route, query string) *oldPage {
	p := &oldPage{t: t, route: r, query: query, heads: []string{"Origin", "https://old.example"}}
	p.opened = func(c *oldClient) { c.says(`{"type":"connect","text":"‘typed"}`) }
	p.message = func(frame string) (string, error) {
		if strings.ContainsAny(frame, "\u2028\u2029") {
			return "", errors.New("eval does not take " + frame)
		}
		var f struct {
			Type string
			Data *string
		}
		if err := json.Unmarshal([]byte(frame), &f); err != nil {
			return "", err
		}
		if f.Type == "connect" || f.Data == nil {
			return "", nil
		}
		return strings.TrimPrefix(strings.TrimPrefix(*f.Data, "alice: "), ": "), nil
	}
	return p
}

// eventApp tries its first login before the socket is open, so that it really
// comes at the next tick; it repeats a refused one, says that it is there, and
// answers the server's pings.
func eventApp(t testing.TB, r *route, query, user string) *oldPage {
	p := &oldPage{t: t, route: r, query: query, beat: `{"event":"ping","uuid":1790000000123.25}`}
	login := func() {
		time.AfterFunc(pageRetry, func() {
			if c, _ := p.now(); c != nil {
				c.says(eventLogin("user:"+user, "any", "1790000000123"))
			}
		})
	}
	p.opened = func(*oldClient) { login() }
	p.message = func(frame string) (string, error) {
		var f struct {
			Type  string
			Event any
			Msg   any
			UUID  json.Number
			Data  struct {
				Error int
				Body  string
			}
		}
		if err := json.Unmarshal([]byte(frame), &f); err != nil {
			return "", err
		}
		switch f.Type {
		case "ping":
			c, _ := p.now()
			c.says(`{"event":"response","uuid":` + f.UUID.String() + `}`)
		case "respon":
			if f.Data.Error == 1 && strings.HasPrefix(f.Data.Body, "PING") {
				return "", nil // not yet
			}
			if f.Data.Error == 1 {
				login()
			}
			if f.Data.Body == "登录成功" {
				return "in", nil
			}
		case "app":
			text, _ := f.Msg.(string)
			return text, nil
		}
		return "", nil
	}
	return p
}
