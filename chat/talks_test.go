package chat_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"teahouse/chat"
	"teahouse/chat/storetest"
)

// talkative is a Store in which something is said in a talk that was silent,
// and then in the inbox, right after a reader asked which talks hold news.
type talkative struct {
	*storetest.Memory
	asked atomic.Int32
}

func (s *talkative) Talks(ctx context.Context, user string, after int64) ([]string, error) {
	talks, err := s.Memory.Talks(ctx, user, after)
	if n := s.asked.Add(1); err == nil && n <= 3 {
		_, err = s.Append(ctx,
			chat.Event{Topic: chat.Talk(user, fmt.Sprintf("friend-%d", n)), Kind: "message", From: user, Body: []byte("1")},
			chat.Event{Topic: chat.Inbox(user), Kind: "notice", Body: []byte("1")})
	}
	return talks, err
}

// TestTalkBeginsDuringReplay: inbox and talks are one stream also while it is
// read from the log: an event of the inbox does not overtake an older one of a
// talk that the read did not know of.
func TestTalkBeginsDuringReplay(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{
		hub:  chat.HubOptions{RecentBytes: 1},
		wrap: func(m *storetest.Memory) chat.Store { return &talkative{Memory: m} },
	})
	h.publish(chat.Inbox("bob"), 2)
	bob, _ := h.hello("bob", `"position":{"epoch":"`+epochOf(h)+`","seq":1}`)
	for seq := int64(2); seq <= 6; seq++ {
		if f := bob.want("event"); f.Seq != seq {
			t.Fatalf("got %+v, want event %d", f, seq)
		}
	}
}

func epochOf(h *house) string {
	head, err := h.store.Head(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return head.Epoch
}

// TestResetOfInboxAndTalks: the newest page after a reset is that of the inbox
// and the talks together, however the two are mixed.
func TestResetOfInboxAndTalks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{hub: chat.HubOptions{RecentBytes: 1, ReplayMax: 50, Page: 20}})
	h.publish(chat.Inbox("bob"), 2)
	for i := range 30 {
		h.publish(chat.Talk("bob", fmt.Sprint("friend-", i%3)), 3)
	}
	h.publish(chat.Inbox("bob"), 1) // 93 events in all
	for _, position := range []string{
		fmt.Sprintf(`"position":{"epoch":%q,"seq":1}`, epochOf(h)), // the limit
		`"position":{"epoch":"ELSEWHERE","seq":80}`,
	} {
		bob, _ := h.hello("bob", position)
		if f := bob.want("reset"); f.Topic != chat.Inbox("bob") || f.After != 73 {
			t.Errorf("%s: %+v", position, f)
		}
		for seq := int64(74); seq <= 93; seq++ {
			if f := bob.want("event"); f.Seq != seq {
				t.Fatalf("%s: got %+v, want event %d", position, f, seq)
			}
		}
		bob.quiet()
	}
}

// TestPresenceOfATalkIsItsMembers: somebody whose name looks like the talk's
// topic is not in it.
func TestPresenceOfATalkIsItsMembers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, houseOptions{})
	talk := chat.Talk("alice", "bob")
	h.hello(talk, "")
	alice, _ := h.hello("alice", "")
	alice.say(`{"op":"presence","id":4,"topic":%q}`, talk)
	if f := alice.want("presence"); fmt.Sprint(f.Users) != "[alice]" {
		t.Fatalf("got %+v", f)
	}
}
