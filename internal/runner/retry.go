package runner

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
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

// Retry repeats a call that failed as long as that may help, within a provider's limit. It is what a
// run does with every sample, for whoever else asks a provider, such as a judge.
type Retry struct {
	// Times is how often a failed attempt is repeated.
	Times int
	// Timeout bounds one attempt; 0 leaves it to the provider.
	Timeout time.Duration
	// Limit is shared by all who ask the same provider.
	Limit *Limiter

	pace *Pacer
	// gone is told of each failure; true means that the provider is to be given up.
	gone func(*record.Failure) bool
}

// Do makes attempts, numbered from 0, until one succeeds, a failure is not worth another one, or the
// context ends. key tells calls apart, so that those that failed together do not return together. It
// returns the number of repetitions. The error is a *record.Failure unless the context has ended.
func (r *Retry) Do(ctx context.Context, key string, call func(ctx context.Context, attempt int) error) (retries int, err error) {
	for attempt := 0; ; attempt++ {
		err := r.attempt(ctx, attempt, call)
		if err == nil {
			return attempt, nil
		}
		if ctx.Err() != nil {
			return attempt, err
		}
		failure, known := errors.AsType[*record.Failure](err)
		if !known {
			return attempt, &record.Failure{Kind: record.Server, Message: err.Error(), Err: err}
		}
		if r.gone != nil && r.gone(failure) {
			return attempt, failure
		}
		if !failure.Retryable() || attempt >= r.Times || failure.RetryAfter > longestRetryAfter {
			return attempt, failure
		}
		wait := max(backoff(key, attempt), failure.RetryAfter)
		if failure.Kind == record.RateLimited || failure.RetryAfter > 0 {
			r.Limit.Pause(wait)
		}
		if !sleep(ctx, wait) {
			return attempt, failure
		}
	}
}

// attempt makes one call within the provider's limit.
func (r *Retry) attempt(ctx context.Context, attempt int, call func(context.Context, int) error) error {
	if err := r.Limit.Acquire(ctx); err != nil {
		return err
	}
	outcome := released
	defer func() { r.Limit.Release(outcome) }()
	if r.pace != nil {
		if err := r.pace.wait(ctx); err != nil {
			return err
		}
	}
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.Timeout, errTimeout)
		defer cancel()
	}
	err := call(ctx, attempt)
	if err == nil {
		outcome = succeeded
		return nil
	}
	if errors.Is(context.Cause(ctx), errTimeout) {
		err = &record.Failure{Kind: record.Timeout, Message: fmt.Sprintf("no answer within %v", r.Timeout), Err: err}
	}
	if f, ok := errors.AsType[*record.Failure](err); ok && (f.Kind == record.RateLimited || f.Kind == record.Server || f.Kind == record.Timeout) {
		outcome = overloaded
	}
	return err
}

var errTimeout = errors.New("the attempt took too long")

func backoff(key string, attempt int) time.Duration {
	wait := min(firstWait<<min(attempt, 10), maxWait)
	h := fnv.New32a()
	fmt.Fprintf(h, "%s/%d", key, attempt)
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
