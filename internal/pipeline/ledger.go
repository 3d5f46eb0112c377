package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/bus"
)

// Bucket is the key-value store that a BucketLedger writes to.
type Bucket interface {
	Get(ctx context.Context, key string) (bus.Entry, error)
	CompareAndSet(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
}

// BucketLedger is a Ledger in a bucket of the bus: a key for each scorer, with the day and the sum.
type BucketLedger struct{ Bucket Bucket }

// Spend implements Ledger.
func (l BucketLedger) Spend(ctx context.Context, scorer, day string, dollars float64) (float64, error) {
	key := "spent." + bucketKey(scorer)
	for {
		e, err := l.Bucket.Get(ctx, key)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return 0, err
		}
		sum := 0.0
		if d, v, ok := strings.Cut(string(e.Value), " "); ok && d == day {
			if sum, err = strconv.ParseFloat(v, 64); err != nil {
				return 0, fmt.Errorf("what %s spent: %w", scorer, err)
			}
		} else if ok && d > day {
			return 0, nil // another's clock is in the next day already
		}
		if dollars == 0 {
			return sum, nil
		}
		sum = max(0, sum+dollars)
		_, err = l.Bucket.CompareAndSet(ctx, key, []byte(day+" "+strconv.FormatFloat(sum, 'g', -1, 64)), e.Revision)
		if err == nil {
			return sum, nil
		}
		if !errors.Is(err, bus.ErrConflict) {
			return 0, err
		}
	}
}

// bucketKey writes a name in the letters that keys may have.
func bucketKey(name string) string {
	var b strings.Builder
	for _, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}
