package runner

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
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
	retry := Retry{
		Times: r.opts.Retries, Timeout: r.opts.Timeout, Limit: j.cell.Limit, pace: cmp.Or(j.cell.Pace, r.pace),
		gone: func(f *record.Failure) bool {
			gone := r.health.failed(f)
			if gone {
				r.cancel(f)
			}
			return gone
		},
	}
	retries, err = retry.Do(ctx, fmt.Sprintf("%s/%d", req.Case, req.Repeat), func(ctx context.Context, attempt int) (err error) {
		req.Attempt = attempt
		resp, err = j.cell.Provider.Complete(ctx, req)
		return err
	})
	if err != nil {
		return resp, retries, err
	}
	r.health.ok()
	if key != "" {
		r.opts.Cache.Put(key, &resp)
	}
	return resp, retries, nil
}

// Pacer keeps the starts of requests apart. It is safe for concurrent use.
type Pacer struct {
	every time.Duration
	mu    sync.Mutex
	next  time.Time
}

// NewPacer keeps starts at least so far apart; 0 keeps nothing apart.
func NewPacer(every time.Duration) *Pacer { return &Pacer{every: every} }

func (p *Pacer) wait(ctx context.Context) error {
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
