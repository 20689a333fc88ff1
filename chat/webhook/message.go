package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"teahouse/chat"
)

// payload is the body of a request, in the members that the standard
// recommends and some of ours.
type payload struct {
	Type      string          `json:"type"`      // the event's kind
	Timestamp string          `json:"timestamp"` // of the event
	Data      json.RawMessage `json:"data"`      // the event's body
	Topic     string          `json:"topic,omitempty"`
	From      string          `json:"from,omitempty"`
	Seq       int64           `json:"seq,omitempty"`
}

func body(e *chat.Event) ([]byte, error) {
	return json.Marshal(payload{Type: e.Kind, Timestamp: timestamp(e.At), Data: e.Body, Topic: e.Topic, From: e.From, Seq: e.Seq})
}

func timestamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// sign sets the headers of Standard Webhooks for an attempt at the time now.
// While a secret is being replaced, both sign.
func sign(h http.Header, w *chat.Webhook, message string, body []byte, now time.Time) {
	at := strconv.FormatInt(now.Unix(), 10)
	signatures := signature(w.Secret, message, at, body)
	if len(w.OldSecret) > 0 && now.UnixMilli() < w.OldUntil {
		signatures += " " + signature(w.OldSecret, message, at, body)
	}
	h.Set("Webhook-Id", message)
	h.Set("Webhook-Timestamp", at)
	h.Set("Webhook-Signature", signatures)
}

func signature(secret []byte, message, at string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(message + "." + at + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
