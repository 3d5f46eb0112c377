package app

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
)

const leaseKey = "lease"

// leaseTimes are how often a lease is renewed, and after how long without that another process takes it.
type leaseTimes struct{ every, holds time.Duration }

var defaultLease = leaseTimes{2 * time.Second, 10 * time.Second}

// lease names who decides about rollouts. States are changed by compare-and-set besides, so two who both think that they lead
// for a moment cannot undo each other's work.
type lease struct {
	Holder string `json:"holder"`
	Turn   int64  `json:"turn"`
}

// leads returns once this process leads. The context that it returns ends when it does no longer. Nobody's clock is compared with
// another's: a lease is taken over when it has not changed for a while, as seen here.
func (s *Service) leads(ctx context.Context, bucket *bus.Bucket) (context.Context, func(), error) {
	mine := lease{Holder: rand.Text()}
	var seen uint64
	since := time.Now()
	var revision uint64
	for {
		e, err := bucket.Get(ctx, leaseKey)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return nil, nil, err
		}
		if e.Revision != seen {
			seen, since = e.Revision, time.Now()
		}
		alone := s.state.Load().server.Bus.URL == "" // the directory of an embedded bus is one process' alone
		if err != nil || alone || time.Since(since) >= s.lease.holds {
			if revision, err = renew(ctx, bucket, &mine, e.Revision); err == nil {
				break
			}
			if !errors.Is(err, bus.ErrConflict) {
				return nil, nil, err
			}
		}
		if waitFor(ctx, s.lease.every); ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
	}
	held, lose := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer lose()
		last := time.Now()
		for {
			if waitFor(held, s.lease.every); held.Err() != nil {
				return
			}
			next, err := renew(held, bucket, &mine, revision)
			switch {
			case err == nil:
				revision, last = next, time.Now()
			case errors.Is(err, bus.ErrConflict), time.Since(last) >= s.lease.holds/2:
				return
			}
		}
	}()
	return held, func() {
		lose()
		<-done
		// The next one need not wait for the lease to run out.
		free, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = bucket.Delete(free, leaseKey, revision)
	}, nil
}

func renew(ctx context.Context, bucket *bus.Bucket, l *lease, revision uint64) (uint64, error) {
	l.Turn++
	value, err := json.Marshal(l)
	if err != nil {
		return 0, err
	}
	return bucket.CompareAndSet(ctx, leaseKey, value, revision)
}
