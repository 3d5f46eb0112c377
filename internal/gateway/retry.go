package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// firstBackoff is how long the first retry waits where the upstream does not say; each further one twice as long.
const firstBackoff = 200 * time.Millisecond

// again says whether an answer is one to try again before anything has been passed on. The upstream's own word counts
// more than the status.
func again(resp *http.Response) bool {
	switch resp.Header.Get("X-Should-Retry") {
	case "true":
		return true
	case "false":
		return false
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return resp.StatusCode >= http.StatusInternalServerError
}

// asked returns how long an upstream asks to wait.
func asked(h http.Header, now time.Time) (time.Duration, bool) {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms >= 0 {
		return seconds(ms / 1000), true
	}
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s >= 0 {
		return seconds(s), true
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// seconds turns a number that came from outside into a duration that cannot overflow.
func seconds(s float64) time.Duration { return time.Duration(min(s, 1e6) * float64(time.Second)) }

// backoff returns how long the n-th retry waits, from 0: between three quarters and the whole of a time that doubles.
func backoff(n int) time.Duration {
	d := firstBackoff << min(n, 4)
	return d - time.Duration(rand.Int64N(int64(d/4)))
}

// pause waits, or returns false when the client goes away first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// kindOf names why an attempt brought no answer.
func kindOf(ctx context.Context, err error) record.FailureKind {
	if ctx.Err() != nil {
		return record.Canceled
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || errors.Is(err, errBusyConns) || errors.Is(err, context.DeadlineExceeded) {
		return record.Timeout
	}
	if errors.Is(err, errAnswerHead) || errors.Is(err, errAnswer) {
		return record.Malformed
	}
	return record.Connection
}

// kindOfStatus names what an answer's status means; empty for one that is none of a failure.
func kindOfStatus(status int) record.FailureKind {
	switch {
	case status < http.StatusBadRequest:
		return ""
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return record.Auth
	case status == http.StatusNotFound:
		return record.NotFound
	case status == http.StatusTooManyRequests:
		return record.RateLimited
	case status == http.StatusRequestTimeout, status == http.StatusGatewayTimeout:
		return record.Timeout
	case status >= http.StatusInternalServerError:
		return record.Server
	}
	return record.BadRequest
}

// unanswered is what the client is told when no upstream answered. It names neither address nor cause: the log and
// the exchange do.
func unanswered(kind record.FailureKind) *refusal {
	switch kind {
	case record.Timeout:
		return &refusal{status: http.StatusGatewayTimeout, code: "upstream_timeout", message: "The upstream did not answer in time."}
	case record.Malformed:
		return &refusal{status: http.StatusBadGateway, code: "upstream_malformed", message: "The upstream's answer could not be understood."}
	}
	return &refusal{status: http.StatusBadGateway, code: "upstream_unreachable", message: "The upstream could not be reached."}
}
