package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// Endpoint is where OTLP requests are posted.
type Endpoint struct {
	// URL is the address of an OTLP/HTTP receiver; without a path, /v1/logs is added.
	URL string
	// Header is sent with each request; its values are secrets and appear in no message.
	Header http.Header
	// Retries is how often a request is repeated after a failure that may pass; the pause doubles from
	// Wait, and the server's own wish counts when it is longer. Wait 0 means half a second.
	Retries int
	Wait    time.Duration
	// Timeout bounds one attempt; 0 means 10 seconds.
	Timeout time.Duration
}

// longestWait bounds a pause between two attempts.
const longestWait = time.Minute

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// Sent says what became of the events.
type Sent struct {
	Requests, Records int
	// Rejected counts the events that the receiver took note of and refused, Why says what it said.
	Rejected int
	Why      string
}

// target checks the address. Secrets are not sent in clear to other machines.
func (e *Endpoint) target() (*url.URL, error) {
	wrong := &config.Error{Pos: config.Pos{Key: "--endpoint"}, Want: "an address such as http://127.0.0.1:4318"}
	u, err := url.Parse(e.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		wrong.Problem = "not an http or https address"
		return nil, wrong
	}
	wrong.Value = u.Scheme + "://" + u.Host
	if u.User != nil {
		wrong.Problem, wrong.Want = "it holds a user or a password", "a header from the environment, with --header NAME=VARIABLE"
		return nil, wrong
	}
	if len(e.Header) > 0 && u.Scheme == "http" {
		if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
			wrong.Problem, wrong.Want = "headers would be sent in clear to another machine", "an https address"
			return nil, wrong
		}
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/logs"
	}
	return u, nil
}

// Send posts requests one after another and stops at the first that cannot be delivered. A wrong
// endpoint is a *config.Error.
func (e *Endpoint) Send(ctx context.Context, requests iter.Seq2[Request, error]) (Sent, error) {
	var sent Sent
	u, err := e.target()
	if err != nil {
		return sent, err
	}
	client := &http.Client{
		Transport: http.DefaultTransport.(*http.Transport).Clone(),
		Timeout:   e.Timeout,
		// A redirect would take the headers elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if client.Timeout == 0 {
		client.Timeout = 10 * time.Second
	}
	defer client.CloseIdleConnections()
	for r, err := range requests {
		if err != nil {
			return sent, err
		}
		rejected, why, err := e.deliver(ctx, client, u, r)
		if err != nil {
			return sent, fmt.Errorf("%s: after %d events: %w", u.Host, sent.Records, err)
		}
		sent.Requests++
		sent.Records += r.Records - rejected
		sent.Rejected += rejected
		if why != "" {
			sent.Why = why
		}
	}
	return sent, nil
}

// passing is a failure after which the same request may succeed.
type passing struct {
	err   error
	after time.Duration // how long the server asked to wait
}

func (p *passing) Error() string { return p.err.Error() }

func (e *Endpoint) deliver(ctx context.Context, client *http.Client, u *url.URL, r Request) (rejected int, why string, err error) {
	wait := e.Wait
	if wait <= 0 {
		wait = 500 * time.Millisecond
	}
	for attempt := 0; ; attempt++ {
		rejected, why, err := e.post(ctx, client, u, r)
		p, may := errors.AsType[*passing](err)
		if !may || attempt >= e.Retries || ctx.Err() != nil {
			return rejected, why, err
		}
		timer := time.NewTimer(min(max(wait, p.after), longestWait))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return 0, "", ctx.Err()
		}
		wait *= 2
	}
}

// post makes one attempt.
func (e *Endpoint) post(ctx context.Context, client *http.Client, u *url.URL, r Request) (rejected int, why string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return 0, "", err
	}
	for name, values := range e.Header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		// The address may hold a token in its query: the cause alone is told.
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return 0, "", &passing{err: err}
	}
	defer resp.Body.Close()
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		if readErr != nil {
			return 0, "", &passing{err: readErr}
		}
		rejected, why = partial(body)
		return min(rejected, r.Records), why, nil
	// The codes after which OTLP has a client try again.
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 0, "", &passing{err: answered(resp, body), after: retryAfter(resp.Header.Get("Retry-After"))}
	}
	return 0, "", answered(resp, body)
}

func answered(resp *http.Response, body []byte) error {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &status) != nil || status.Message == "" {
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return fmt.Errorf("the receiver answered %s: %s", resp.Status, clip(status.Message, 300))
}

// partial reads how many events a receiver refused although it took the request.
func partial(body []byte) (rejected int, why string) {
	var answer struct {
		Partial struct {
			Rejected json.RawMessage `json:"rejectedLogRecords"` // a string, or a number with some receivers
			Message  string          `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return 0, ""
	}
	n, err := strconv.Atoi(strings.Trim(string(answer.Partial.Rejected), `"`))
	if err != nil || n < 0 {
		n = 0
	}
	return n, clip(answer.Partial.Message, 300)
}

// retryAfter reads the header in seconds or as a date.
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return time.Duration(min(n, 3600)) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}
