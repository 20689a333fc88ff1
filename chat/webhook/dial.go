package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"teahouse/chat"
)

// refused is the error of an address that an endpoint may not be at.
type refused struct{ addr netip.Addr }

func (r refused) Error() string {
	return fmt.Sprintf("its address %s is of this computer or a private network, which is not allowed for this webhook (allow_private)", r.addr)
}

// metadata are addresses at which clouds tell secrets to whoever asks from
// inside. No receiver is there.
var metadata = []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200")}

// mayDial judges each address that is about to be connected to: after the
// name was looked up, so that no name leads around it.
func mayDial(addr netip.Addr, private bool) error {
	addr = addr.Unmap()
	if !private && !chat.PublicAddress(addr) || addr.IsUnspecified() || addr.IsMulticast() || slices.Contains(metadata, addr.WithZone("")) {
		return refused{addr}
	}
	return nil
}

// transport connects to the internet, and with private to this computer and
// the LAN as well. A proxy of the environment is not used: it would do the
// dialling.
func transport(private bool) *http.Transport {
	d := &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("no address: %w", err)
		}
		return mayDial(at.Addr(), private)
	}}
	return &http.Transport{
		DialContext:         d.DialContext,
		TLSHandshakeTimeout: timeout,
		MaxIdleConnsPerHost: mostTogether,
		MaxIdleConns:        2 * mostAtAll,
		IdleConnTimeout:     20 * time.Second,
		// Of an answer only the status counts.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// client follows no redirect: it would lead to where the operator did not say.
func client(t http.RoundTripper) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is what came of a request.
type answer struct {
	status     int           // 0: there was none
	problem    string        // why it is no success; "" if it is one
	retryAfter time.Duration // what the receiver asked for, bounded
}

// away reports that it says nothing about the very event: nobody answered, or
// only who stands in front.
func (a answer) away() bool {
	switch a.status {
	case 0, http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// answerRead is how much of an answer is read, so that its connection can be
// used again. The rest is not wanted.
const answerRead = 64 << 10

// post makes one request.
func (s *Sender) post(ctx context.Context, w *chat.Webhook, message string, body []byte) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return answer{problem: "the URL is not one"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.opts.Agent)
	// Not sent: it says that the request may go out again when the connection
	// that was kept turns out to be closed.
	req.Header["X-Idempotency-Key"] = nil
	now := s.opts.Now()
	sign(req.Header, w, message, body, now)
	c := s.public
	if w.Private {
		c = s.private
	}
	res, err := c.Do(req)
	if err != nil {
		return answer{problem: problem(err)}
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, answerRead)
	a := answer{status: res.StatusCode}
	switch {
	case a.status/100 == 2:
	case a.status/100 == 3:
		a.problem = "it answered " + status(a.status) + ", and redirects are not followed: give the webhook the URL where it leads"
	case a.status == http.StatusGone:
		a.problem = "it answered 410 Gone: it wants no more"
	default:
		a.problem = "it answered " + status(a.status)
		a.retryAfter = retryAfter(res.Header.Get("Retry-After"), now)
	}
	return a
}

func status(code int) string { return strings.TrimSpace(fmt.Sprint(code, " ", http.StatusText(code))) }

// retryAfter reads seconds or a date.
func retryAfter(s string, now time.Time) time.Duration {
	d := time.Duration(0)
	if n, err := time.ParseDuration(s + "s"); err == nil && strings.Trim(s, "0123456789") == "" {
		d = n
	} else if at, err := http.ParseTime(s); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), mostRetryAfter)
}

// problem says in words why there was no answer. The URL, which net/http puts
// in, is left out: it may hold what is not for a log.
func problem(err error) string {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	var no refused
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &no):
		return no.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("it did not answer within %s", timeout)
	case errors.Is(err, context.Canceled):
		return "it was broken off"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "its host name is not known"
	case errors.As(err, &dns):
		return "its host name could not be looked up"
	case errors.As(err, &cert):
		return cut("its certificate is not good: " + cert.Err.Error())
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there (connection refused)"
	case errors.As(err, &op) && op.Op == "dial":
		return cut("it cannot be reached: " + op.Err.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it closed the connection without an answer"
	}
	return cut("there was no good answer: " + err.Error())
}

func cut(s string) string {
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
