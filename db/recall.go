package db

import (
	"bytes"
	"context"
	"slices"
	"time"

	"teahouse/chat"
)

// What was recalled must not stay in the file. A row that shrinks, grows or
// goes away would leave its old bytes in unused parts of the pages, and a page
// that SQLite splits or joins leaves its neighbours' bytes. So the body keeps
// its length: a row of the same length is written over in its place, on its
// overflow pages too. What is too short for {"recalled":true} becomes spaces.
// secure_delete (see dialWriter) does the rest, where pages are taken back. The
// WAL still holds older versions of the page: it is emptied soon (scrub).

// blanked is what a recalled body becomes in the file.
func blanked(length int) string {
	text := string(chat.RecalledBody())
	if length < len(text) {
		text = ""
	}
	return text + string(bytes.Repeat([]byte(" "), length-len(text)))
}

// body returns a stored body as it is read. A JSON value of ours never ends
// with a space, so this costs others a look at one byte.
func body(stored []byte) []byte {
	n := len(stored)
	if n == 0 || stored[n-1] != ' ' {
		return stored
	}
	if text := bytes.TrimRight(stored, " "); len(text) == 0 || bytes.Equal(text, chat.RecalledBody()) {
		return chat.RecalledBody()
	}
	return stored
}

// Recall implements chat.Store.
func (s *Store) Recall(ctx context.Context, r chat.Recall) (out chat.Event, err error) {
	r.Event.Body = bytes.Clone(r.Event.Body)
	events := []chat.Event{r.Event}
	bytes, hashes := prepare(events)
	err = s.submit(ctx, &op{bytes: bytes, do: func(t *tx) error {
		events[0] = r.Event
		if r.Event.Key != "" {
			first, err := t.find(hashes[0], &r.Event)
			if err != nil {
				return err
			}
			if first != nil {
				events[0] = *first
				events[0].Origin = 0
				return nil
			}
		}
		var message *chat.Event
		if r.Seq <= t.head {
			if message, err = t.w.event(r.Seq); err != nil {
				return err
			}
		}
		if err := r.Check(message, t.at); err != nil {
			return err
		}
		if err := t.blank(message); err != nil {
			return err
		}
		return t.write(events, hashes)
	}})
	if err != nil {
		return chat.Event{}, err
	}
	return events[0], nil
}

// blank takes the body of a message out of the log. It is the one place where
// an event is changed: what hangs on a body must go here.
func (t *tx) blank(message *chat.Event) error {
	t.recalled = append(t.recalled, message.Seq)
	if message.Recalled() {
		return nil // and how long it was is not known any more
	}
	if err := t.unrefer(message.Seq); err != nil {
		return err
	}
	_, err := t.exec(`UPDATE events SET body = ? WHERE seq = ?`, blanked(len(message.Body)), message.Seq)
	return err
}

// blank takes bodies out of the recent events, before the recalls are
// published. Readers may hold the pieces of the memory, so those are replaced
// by changed copies. Writer only.
func (t *tail) blank(seqs []int64) {
	if len(seqs) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chunks = slices.Clone(t.chunks)
	for _, seq := range seqs {
		if seq < t.start {
			continue
		}
		i := seq - t.base
		c := *t.chunks[i/chunkSize]
		c.events[i%chunkSize].Body = chat.RecalledBody()
		t.chunks[i/chunkSize] = &c
	}
}

const (
	scrubEvery = 5 * time.Second       // the WAL is emptied because of recalls at most so often
	scrubWait  = 50 * time.Millisecond // and its readers are waited for so long
)

// scrub empties the WAL if it may hold texts that were recalled. It reports
// that there is still something to do.
func (w *writer) scrub() bool {
	if !w.tainted || time.Since(w.scrubbed) < w.s.opts.scrub {
		return w.tainted
	}
	w.scrubbed = time.Now()
	written := w.pagesWritten()
	_, left, err := w.patiently(scrubWait, "TRUNCATE")
	switch {
	case err != nil:
		w.s.log.Warn("the WAL could not be emptied after a recall; trying again", "err", err)
	case left == 0:
		w.tainted = false
		w.walBegan = written
		w.copier.upTo.Store(written)
	}
	return w.tainted
}
