package runner

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// Back-off between attempts: doubled from firstWait up to maxWait, with up to half of it taken off by
// a hash of the sample, so that clients that failed together do not return together.
const (
	firstWait = 500 * time.Millisecond
	maxWait   = 30 * time.Second
	// longestRetryAfter is the longest pause a server may ask for before the sample is given up.
	longestRetryAfter = 10 * time.Minute
)

// answer gets the answer to a request from the cache or the provider, with retries.
func (r *run) answer(ctx context.Context, j job, req record.Request) (resp record.Response, retries int, err error) {
	var key string
	if r.opts.Cache != nil && j.cell.Cacheable {
		key = Key(&j.cell.Snapshot, &req)
		if !j.c.Timed {
			if resp, ok := r.opts.Cache.Get(key); ok {
				resp.Cached = true
				return resp, 0, nil
			}
		}
	}
	for attempt := 0; ; attempt++ {
		req.Attempt = attempt
		resp, err := r.attempt(ctx, j.cell, req)
		if err == nil {
			r.health.ok()
			if key != "" {
				r.opts.Cache.Put(key, &resp)
			}
			return resp, attempt, nil
		}
		if ctx.Err() != nil {
			return resp, attempt, err
		}
		failure, known := errors.AsType[*record.Failure](err)
		if !known {
			failure = &record.Failure{Kind: record.Server, Message: err.Error(), Err: err}
			return resp, attempt, failure
		}
		if r.health.failed(failure) {
			r.cancel(failure)
			return resp, attempt, failure
		}
		if !failure.Retryable() || attempt >= r.opts.Retries || failure.RetryAfter > longestRetryAfter {
			return resp, attempt, failure
		}
		wait := max(backoff(req.Case, req.Repeat, attempt), failure.RetryAfter)
		if failure.Kind == record.RateLimited || failure.RetryAfter > 0 {
			j.cell.Limit.Pause(wait)
		}
		if !sleep(ctx, wait) {
			return resp, attempt, failure
		}
	}
}

// attempt makes one call within the provider's limit.
func (r *run) attempt(ctx context.Context, cell *Cell, req record.Request) (record.Response, error) {
	if err := cell.Limit.Acquire(ctx); err != nil {
		return record.Response{}, err
	}
	outcome := released
	defer func() { cell.Limit.Release(outcome) }()
	if err := r.pace.wait(ctx); err != nil {
		return record.Response{}, err
	}
	if r.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.opts.Timeout, errTimeout)
		defer cancel()
	}
	resp, err := cell.Provider.Complete(ctx, req)
	if err == nil {
		outcome = succeeded
		return resp, nil
	}
	if errors.Is(context.Cause(ctx), errTimeout) {
		err = &record.Failure{Kind: record.Timeout, Message: fmt.Sprintf("no answer within %v", r.opts.Timeout), Err: err}
	}
	if f, ok := errors.AsType[*record.Failure](err); ok && (f.Kind == record.RateLimited || f.Kind == record.Server || f.Kind == record.Timeout) {
		outcome = overloaded
	}
	return resp, err
}

var errTimeout = errors.New("the attempt took too long")

func backoff(caseID string, repeat, attempt int) time.Duration {
	wait := min(firstWait<<min(attempt, 10), maxWait)
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%d/%d", caseID, repeat, attempt)
	return wait - wait/2*time.Duration(h.Sum32()%1000)/1000
}

// sleep waits and says whether the context is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
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

// pacer keeps the starts of requests apart.
type pacer struct {
	every time.Duration
	mu    sync.Mutex
	next  time.Time
}

func (p *pacer) wait(ctx context.Context) error {
	if p.every <= 0 {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	d := p.next.Sub(now)
	p.next = p.next.Add(p.every)
	p.mu.Unlock()
	if !sleep(ctx, d) {
		return ctx.Err()
	}
	return nil
}

// health notices that a provider is gone: an uninterrupted row of failures that cannot be the fault of
// single requests. A run that goes on in that state would only fill its results with errors.
type health struct {
	limit int
	mu    sync.Mutex
	row   int
}

// giveUpAfter is the length of that row: every request in flight twice over, and at least 10.
func giveUpAfter(concurrency int) int { return max(10, 2*concurrency) }

func (h *health) ok() {
	h.mu.Lock()
	h.row = 0
	h.mu.Unlock()
}

// failed counts a failure and says whether to give up.
func (h *health) failed(f *record.Failure) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch f.Kind {
	case record.Connection, record.Auth, record.NotFound:
		h.row++
	default:
		h.row = 0
	}
	return h.row >= h.limit
}
