package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"teahouse/chat"
)

// Client speaks to a running server, for the command line. Its errors are
// *chat.Error, with the code that the server gave.
type Client struct {
	URL  string       // of the server: http://HOST:PORT
	Key  string       // an API key, or the local key
	HTTP *http.Client // nil: http.DefaultClient
}

// Publish appends and delivers an event.
func (c *Client) Publish(ctx context.Context, r PublishRequest) (out Published, err error) {
	err = c.call(ctx, http.MethodPost, "events", r, &out)
	return out, err
}

// IssueToken makes a client token; a ttl of 0 means the server's default.
func (c *Client) IssueToken(ctx context.Context, user string, ttl time.Duration) (out Token, err error) {
	if ttl < 0 || ttl > 0 && ttl < time.Second {
		return out, chat.Errorf(chat.CodeBadRequest, "a token is good for at least a second")
	}
	err = c.call(ctx, http.MethodPost, "tokens", TokenRequest{User: user, TTL: int64(ttl / time.Second)}, &out)
	return out, err
}

// CreateKey makes an API key. The answer is the only place where it stands.
func (c *Client) CreateKey(ctx context.Context, name string) (out NewKey, err error) {
	err = c.call(ctx, http.MethodPost, "keys", map[string]string{"name": name}, &out)
	return out, err
}

// ListKeys lists the API keys, revoked ones too.
func (c *Client) ListKeys(ctx context.Context) ([]KeyInfo, error) {
	var out struct{ Keys []KeyInfo }
	err := c.call(ctx, http.MethodGet, "keys", nil, &out)
	return out.Keys, err
}

// RevokeKey ends an API key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "keys/"+url.PathEscape(id), nil, nil)
}

// Backup writes a copy of the server's database to w and returns its size. It
// is an error if less than the whole arrived.
func (c *Client) Backup(ctx context.Context, w io.Writer) (int64, error) {
	res, err := c.do(ctx, http.MethodGet, "backup", nil)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := io.Copy(w, res.Body)
	if err != nil {
		return n, &chat.Error{Code: chat.CodeStorage, Message: "the backup did not arrive whole; do not use what was written", Err: err}
	}
	return n, nil
}

func (c *Client) call(ctx context.Context, method, path string, in, out any, header ...string) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return &chat.Error{Code: chat.CodeBadRequest, Message: "the request is not valid JSON", Err: err}
		}
	}
	res, err := c.do(ctx, method, path, body, header...)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return c.stranger(err)
	}
	return nil
}

// do sends a request and returns a successful response, or an error. header
// are pairs.
func (c *Client) do(ctx context.Context, method, path string, body []byte, header ...string) (*http.Response, error) {
	var in io.Reader = http.NoBody
	if body != nil {
		in = bytes.NewReader(body)
	}
	return c.send(ctx, method, path, in, header...)
}

func (c *Client) send(ctx context.Context, method, path string, body io.Reader, header ...string) (*http.Response, error) {
	target := strings.TrimRight(c.URL, "/") + "/api/v1/" + path
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, &chat.Error{Code: chat.CodeBadRequest, Message: "the server's address " + c.URL + " is not a URL; write it like http://127.0.0.1:8040", Err: err}
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	req.Header.Set("Accept", "application/json")
	if body != http.NoBody {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := cmp.Or(c.HTTP, http.DefaultClient).Do(req)
	if err != nil {
		return nil, c.unreached(ctx, err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	var p Problem
	b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if json.Unmarshal(b, &p) != nil || p.Code == "" {
		return nil, c.stranger(errors.New(res.Status))
	}
	e := &chat.Error{Code: p.Code, Message: p.Detail, Err: rowErrors(p.Errors), Retry: time.Duration(p.RetryMS) * time.Millisecond}
	if p.RequestID != "" {
		e.Message += " (in the server's log: request " + p.RequestID + ")"
	}
	return nil, e
}

// unreached says what it means that there was no answer.
func (c *Client) unreached(ctx context.Context, err error) error {
	var op *net.OpError
	message := "the connection to the server at " + c.URL + " broke off; try again"
	switch {
	case ctx.Err() != nil:
		message = "the server at " + c.URL + " did not answer in time"
	case errors.As(err, &op) && op.Op == "dial":
		message = "no server answers at " + c.URL + "; is `teahouse serve` running there?"
	}
	return &chat.Error{Code: chat.CodeBusy, Message: message, Err: err}
}

func (c *Client) stranger(err error) error {
	return &chat.Error{Code: chat.CodeBadRequest, Message: "what answers at " + c.URL + " is not a Teahouse server", Err: err}
}
