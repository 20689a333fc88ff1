package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

func webhookPath(id, rest string) string { return "webhooks/" + url.PathEscape(id) + rest }

// AddWebhook makes a webhook. The answer is the only place where its secret
// stands.
func (c *Client) AddWebhook(ctx context.Context, w NewWebhook) (out WebhookSecret, err error) {
	err = c.call(ctx, http.MethodPost, "webhooks", w, &out)
	return out, err
}

// ListWebhooks lists the webhooks.
func (c *Client) ListWebhooks(ctx context.Context) ([]WebhookInfo, error) {
	var out struct{ Webhooks []WebhookInfo }
	err := c.call(ctx, http.MethodGet, "webhooks", nil, &out)
	return out.Webhooks, err
}

// ChangeWebhook changes a webhook.
func (c *Client) ChangeWebhook(ctx context.Context, id string, w WebhookChange) (out WebhookInfo, err error) {
	err = c.call(ctx, http.MethodPatch, webhookPath(id, ""), w, &out)
	return out, err
}

// RemoveWebhook removes a webhook and what waits for it.
func (c *Client) RemoveWebhook(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, webhookPath(id, ""), nil, nil)
}

// RotateWebhook replaces a webhook's secret.
func (c *Client) RotateWebhook(ctx context.Context, id string) (out WebhookSecret, err error) {
	err = c.call(ctx, http.MethodPost, webhookPath(id, "/rotate"), nil, &out)
	return out, err
}

// PingWebhook sends a test event.
func (c *Client) PingWebhook(ctx context.Context, id string) (out WebhookPing, err error) {
	err = c.call(ctx, http.MethodPost, webhookPath(id, "/ping"), nil, &out)
	return out, err
}

// ListDeliveries reads one page of a webhook's deliveries. An empty state does
// not filter; cursor is what the page before gave.
func (c *Client) ListDeliveries(ctx context.Context, id, state, cursor string, limit int) (out WebhookDeliveries, err error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	for name, value := range map[string]string{"state": state, "cursor": cursor} {
		if value != "" {
			q.Set(name, value)
		}
	}
	err = c.call(ctx, http.MethodGet, webhookPath(id, "/deliveries?"+q.Encode()), nil, &out)
	return out, err
}

// Resend has an event sent to a webhook again.
func (c *Client) Resend(ctx context.Context, id string, seq int64) (out WebhookDelivery, err error) {
	err = c.call(ctx, http.MethodPost, webhookPath(id, "/deliveries/"+strconv.FormatInt(seq, 10)+"/resend"), nil, &out)
	return out, err
}

// ResendFailed has all sent again that a webhook did not take, and returns how
// many.
func (c *Client) ResendFailed(ctx context.Context, id string) (int, error) {
	var out Resent
	err := c.call(ctx, http.MethodPost, webhookPath(id, "/resend-failed"), nil, &out)
	return out.Count, err
}
