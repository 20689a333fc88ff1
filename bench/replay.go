//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

// missed is how many events a returning client has not seen.
const missed = 50

// runReplay lets many clients come back at once, each with events to catch
// up on, and takes the time from the first connect until a client has all of
// them. The clients were there before, as they would have been.
func runReplay(ctx context.Context, t target, clients int) (sample, error) {
	p, err := t.start(ctx, missed)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	g, err := newGenerator(ctx, p.addr)
	if err != nil {
		return nil, err
	}
	defer g.close()
	specs := t.specs(1, clients)
	if _, err := g.connect(specs, width, time.Minute); err != nil {
		return nil, explain(err, p)
	}
	g.quiet(200*time.Millisecond, 20*time.Second)
	var epoch string
	var head int64
	if t.hello != nil {
		if epoch, head, err = position(ctx, p.addr); err != nil {
			return nil, explain(err, p)
		}
	}
	// All go but the first, who writes what the others miss.
	writer, err := newGenerator(ctx, p.addr)
	if err != nil {
		return nil, err
	}
	defer writer.close()
	g.hangUp()
	g.counters = counters{}
	if _, err := writer.connect(t.specs(1, 1), 1, 10*time.Second); err != nil {
		return nil, explain(err, p)
	}
	writer.publish([]int{0}, func(i int) numbered { return t.msg(i, roomName(0)) }, missed, untilAck)
	writer.start()
	writer.sending = false
	if !writer.until(10*time.Second, func() bool { return writer.acks == missed }) {
		return nil, explain(fmt.Errorf("%d of %d acks: %s", writer.acks, missed, writer.firstErr), p)
	}
	if !sleep(ctx, 300*time.Millisecond) { // the leaving of a thousand is done with
		return nil, ctx.Err()
	}
	if t.hello != nil {
		for i := range specs {
			specs[i].hello = t.hello(i, roomName(0), epoch, head)
		}
	}
	g.want = missed
	cpu0, own0, look := p.cpu(), ownCPU(), lookAround(p.pids()...)
	if _, err := g.connect(specs, clients, time.Minute); err != nil {
		return nil, explain(err, p)
	}
	joined := time.Since(g.began)
	if !g.until(30*time.Second, func() bool { return len(g.doneAt) == clients || g.lost > 0 }) || g.lost > 0 {
		return nil, explain(fmt.Errorf("%d of %d complete, %d cut: %s", len(g.doneAt), clients, g.lost, g.firstErr), p)
	}
	others := look.others()
	return sample{
		"p50":    ms(percentile(g.doneAt, 50)),
		"p99":    ms(percentile(g.doneAt, 99)),
		"joined": ms(joined),
		"cpu":    (p.cpu() - cpu0).Seconds() * 1000,
		"gencpu": (ownCPU() - own0).Seconds() * 1000,
		"online": float64(g.online),
		"others": others,
	}, nil
}

// position asks the server where its log ends. This one client may take its
// time, so it is an ordinary one.
func position(ctx context.Context, addr string) (epoch string, head int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+addr+"/ws", nil)
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"op":"hello","id":1,"user":"looker","device":"d"}`)); err != nil {
		return "", 0, err
	}
	_, data, err := conn.ReadMessage()
	if err != nil {
		return "", 0, err
	}
	var w struct {
		Op       string
		Position struct {
			Epoch string
			Seq   int64
		}
	}
	if err := json.Unmarshal(data, &w); err != nil || w.Op != "welcome" {
		return "", 0, fmt.Errorf("not a welcome: %.200s (%v)", data, err)
	}
	return w.Position.Epoch, w.Position.Seq, nil
}
