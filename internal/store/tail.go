package store

import (
	"context"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// TailOptions say how Tail looks.
type TailOptions struct {
	// Every is the time between two looks, 1 s when 0.
	Every time.Duration
	// Late is how much an exchange may be stored after its time and still be seen, 1 minute when 0: a long answer is
	// stored when it ends, with the time of its request.
	Late time.Duration
	// Since is where it starts; zero is now.
	Since time.Time
}

// Tail calls f for each exchange that the query finds and that is stored from now on, each once, the oldest of a look first, until
// the context ends or f returns an error, which it returns. It asks again and again; nothing is held open in the store.
func Tail(ctx context.Context, list func(context.Context, Query) (Page, error), q Query, opts TailOptions, f func(record.Exchange) error) error {
	if opts.Every <= 0 {
		opts.Every = time.Second
	}
	if opts.Late <= 0 {
		opts.Late = time.Minute
	}
	since := opts.Since
	if since.IsZero() {
		since = time.Now()
	}
	shown := map[string]time.Time{}
	tick := time.NewTicker(opts.Every)
	defer tick.Stop()
	for newest := since; ; {
		q.From = newest.Add(-opts.Late)
		if q.From.Before(since) {
			q.From = since
		}
		var batch []record.Exchange
		q.Cursor = ""
		for {
			page, err := list(ctx, q)
			if err != nil {
				return err
			}
			batch = append(batch, page.Exchanges...)
			if q.Cursor = page.Next; q.Cursor == "" {
				break
			}
		}
		for i := len(batch) - 1; i >= 0; i-- {
			x := batch[i]
			if _, again := shown[x.ID]; again {
				continue
			}
			shown[x.ID] = x.Time
			if x.Time.After(newest) {
				newest = x.Time
			}
			if err := f(x); err != nil {
				return err
			}
		}
		for id, at := range shown {
			if at.Before(newest.Add(-opts.Late)) {
				delete(shown, id)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
