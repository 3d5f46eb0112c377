package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/telltale-llm/telltale/internal/provider"
	"github.com/telltale-llm/telltale/internal/record"
)

// TransportFailure says why there was no answer, or only half of one. other is the kind of what is
// neither the caller's doing nor a time limit: Connection before the answer, Cut in the middle.
func (c *Client) TransportFailure(ctx context.Context, err error, other record.FailureKind) *record.Failure {
	host := c.HostPort()
	if f := provider.Interrupted(ctx); f != nil {
		if f.Kind == record.Timeout {
			f.Message = host + " gave no complete answer in time"
		}
		return f
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return &record.Failure{Kind: record.Timeout, Message: host + ": " + c.Clean(plain(err), ShownText), Err: hide(err)}
	}
	f := &record.Failure{Kind: other, Err: hide(err)}
	if other == record.Cut {
		f.Message = host + " ended the connection in the middle of its answer: " + c.Clean(plain(err), ShownText)
		return f
	}
	f.Message = "cannot reach " + host + ": " + c.Clean(plain(err), ShownText)
	if certificate(err) {
		never := false // the next attempt meets the same certificate
		f.Retry = &never
	}
	return f
}

// hide keeps of a cause only what callers test for: a cause may repeat the URL with its secrets.
func hide(err error) error {
	for _, known := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	return nil
}

// plain strips the address and the system call from a network error.
func plain(err error) string {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	if de, ok := errors.AsType[*net.DNSError](err); ok {
		return "no such host: " + de.Name
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok {
		err = oe.Err
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return err.Error()
}

func certificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &name)
}

// HostPort names the server in messages.
func (c *Client) HostPort() string {
	port := c.base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[c.base.Scheme]
	}
	return net.JoinHostPort(c.base.Hostname(), port)
}

// KindOf maps an HTTP status to a reason.
func KindOf(status int) record.FailureKind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return record.Auth
	case status == http.StatusNotFound:
		return record.NotFound
	case status == http.StatusRequestTimeout:
		return record.Timeout
	case status == http.StatusTooManyRequests:
		return record.RateLimited
	case status >= 500:
		return record.Server
	}
	return record.BadRequest
}

// StatusFailure turns an answer other than 2xx into a failure.
func (c *Client) StatusFailure(ctx context.Context, resp *http.Response) *record.Failure {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil && provider.Interrupted(ctx) != nil {
		return c.TransportFailure(ctx, err, record.Cut)
	}
	f := &record.Failure{
		Kind: KindOf(resp.StatusCode), Status: resp.StatusCode,
		RetryAfter: retryAfter(resp.Header, time.Now()), Retry: shouldRetry(resp.Header),
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		// Following it could hand the key to somebody else, and would turn the request into a GET.
		f.Message = "redirects are not followed; the server sends to " + c.location(resp.Header.Get("Location"))
		return f
	}
	message, code := c.ErrorText(body)
	if message == "" {
		message = http.StatusText(resp.StatusCode)
	}
	f.Message = message
	if f.Retry == nil {
		f.Retry = retryByCode(resp.StatusCode, code)
	}
	if f.RetryAfter == 0 {
		f.RetryAfter = retryInfo(body)
	}
	return f
}

// retryInfo reads how long to wait from the details of a Google error.
func retryInfo(body []byte) time.Duration {
	if !bytes.Contains(body, []byte(`"retryDelay"`)) {
		return 0
	}
	var w struct {
		Error struct {
			Details []struct {
				RetryDelay string `json:"retryDelay"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &w) != nil {
		return 0
	}
	for _, d := range w.Error.Details {
		if after, err := time.ParseDuration(d.RetryDelay); err == nil && after > 0 {
			return min(after, longestWait)
		}
	}
	return 0
}

// retryByCode says what status and error code tell beyond the kind: an account without credit stays
// so, a conflict passes.
func retryByCode(status int, code string) *bool {
	yes, no := true, false
	switch {
	case code == "insufficient_quota" || code == "billing_hard_limit_reached":
		return &no
	case status == http.StatusConflict:
		return &yes
	case status == http.StatusNotImplemented:
		return &no
	}
	return nil
}

// location shows where a redirect leads: scheme and host, for the rest may hold a token.
func (c *Client) location(s string) string {
	u, err := c.base.Parse(s)
	if err != nil || s == "" {
		return "nowhere"
	}
	return c.Clean(u.Scheme+"://"+u.Host, ShownText)
}

// shouldRetry reads the header by which OpenAI overrides a client's own judgement.
func shouldRetry(h http.Header) *bool {
	switch strings.ToLower(h.Get("X-Should-Retry")) {
	case "true":
		v := true
		return &v
	case "false":
		v := false
		return &v
	}
	return nil
}

// longestWait caps what a server may ask for, so that a nonsense value does not overflow.
const longestWait = 24 * time.Hour

// retryAfter reads retry-after-ms, or retry-after in seconds or as a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if d, ok := wait(h.Get("Retry-After-Ms"), time.Millisecond); ok {
		return d
	}
	s := h.Get("Retry-After")
	if d, ok := wait(s, time.Second); ok {
		return d
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(at.Sub(now), 0), longestWait)
	}
	return 0
}

func wait(s string, unit time.Duration) (time.Duration, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(v >= 0) {
		return 0, false
	}
	if v > float64(longestWait)/float64(unit) {
		return longestWait, true
	}
	return time.Duration(v * float64(unit)), true
}

// APIError is an error as servers write it: an object, or only a text.
type APIError struct {
	Message string
	Type    string
	Code    string // a word, or a number that is an HTTP status
}

// Says reports whether there is an error: some servers write an empty one beside a good answer.
func (e *APIError) Says() bool { return e != nil && *e != APIError{} }

// UnmarshalJSON takes {"message","type","code"} with any kind of code, or a string.
func (e *APIError) UnmarshalJSON(b []byte) error {
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &e.Message)
	}
	var w struct {
		Message string          `json:"message"`
		Type    string          `json:"type"`
		Code    json.RawMessage `json:"code"`
	}
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	e.Message, e.Type = w.Message, w.Type
	if code := strings.Trim(string(w.Code), `"`); code != "null" {
		e.Code = code
	}
	return nil
}

// ErrorText finds the message and code in an error's body, whatever its shape.
func (c *Client) ErrorText(body []byte) (message, code string) {
	var w struct {
		Error   *APIError       `json:"error"`
		Message json.RawMessage `json:"message"`
		Detail  json.RawMessage `json:"detail"`
		Code    json.RawMessage `json:"code"`
	}
	if json.Unmarshal(body, &w) == nil {
		switch {
		case w.Error != nil && w.Error.Message != "":
			return c.Clean(OneLine(w.Error.Message), ShownText), w.Error.Code
		case w.Error != nil:
			return c.Clean(w.Error.Type+" "+w.Error.Code, ShownText), w.Error.Code
		case len(w.Message) > 0:
			text, _ := provider.Text(w.Message) // it was just parsed
			return c.Clean(OneLine(text), ShownText), strings.Trim(string(w.Code), `"`)
		case len(w.Detail) > 0:
			text, _ := provider.Text(w.Detail)
			return c.Clean(OneLine(text), ShownText), ""
		}
	}
	return c.Excerpt(body), ""
}

// Excerpt shows the start of a body that is not what was expected.
func (c *Client) Excerpt(body []byte) string {
	body = body[:min(len(body), maxErrorBody)]
	return c.Clean(OneLine(strings.ToValidUTF8(string(body), "\uFFFD")), ShownText)
}

// OneLine joins lines and runs of white space.
func OneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// APIFailure is an error that came with status 200, as a whole answer, a choice or an event.
func (c *Client) APIFailure(e *APIError) *record.Failure {
	f := &record.Failure{Kind: record.Server, Message: c.Clean(OneLine(e.Message), ShownText)}
	if f.Message == "" {
		f.Message = c.Clean(fmt.Sprintf("error %s %s", e.Type, e.Code), ShownText)
	}
	if status, err := strconv.Atoi(e.Code); err == nil && status >= 400 && status <= 599 {
		f.Kind = KindOf(status)
		f.Retry = retryByCode(status, "")
		return f
	}
	switch e.Type + "/" + e.Code {
	case "invalid_request_error/" + e.Code:
		f.Kind = record.BadRequest
	case "requests/rate_limit_exceeded", "tokens/rate_limit_exceeded", "/rate_limit_exceeded", "rate_limit_exceeded/" + e.Code, "rate_limit_error/" + e.Code:
		f.Kind = record.RateLimited
	case "insufficient_quota/" + e.Code:
		f.Kind = record.RateLimited
	case "authentication_error/" + e.Code, "permission_error/" + e.Code:
		f.Kind = record.Auth
	case "not_found_error/" + e.Code:
		f.Kind = record.NotFound
	}
	f.Retry = retryByCode(0, e.Code)
	return f
}

// BadEvent is an event of a stream that is not what was expected: a server's words on an error, or
// not of the format.
func (c *Client) BadEvent(name string, data []byte, err error) *record.Failure {
	if name == "error" {
		return &record.Failure{Kind: record.Server, Message: c.Excerpt(data)}
	}
	return &record.Failure{Kind: record.Malformed, Message: "an event of the stream is not JSON: " + c.Clean(err.Error(), 100) + ": " + c.Excerpt(data)}
}
