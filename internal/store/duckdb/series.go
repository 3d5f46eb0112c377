//go:build cgo

package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"sort"

	engine "github.com/duckdb/duckdb-go/v2"

	"github.com/telltale-llm/telltale/internal/store"
)

// exactRows is the number of exchanges up to which quantiles are exact. With more, all values of a group in memory would be
// too much: they are counted in bins instead, each 2% wide, so that the middle of one is within 1% of its values (as in
// DDSketch, Masson et al. 2019). The bins count in microseconds; what is shorter is one.
const (
	exactRows = 300_000
	bins      = "histogram(CAST(floor(ln(CASE WHEN x.%[1]s > 1e-6 THEN x.%[1]s * 1e6 WHEN x.%[1]s IS NOT NULL THEN 1 END) * 50) AS SMALLINT))"
	exact     = "quantile_cont(x.%[1]s, [0.5, 0.95, 0.99])"
)

// Series groups exchanges by interval. Quantiles are exact, interpolated between neighbours, for up to exactRows exchanges.
func (s *Store) Series(ctx context.Context, q store.SeriesQuery) ([]store.Point, error) {
	if err := q.Prepare(); err != nil {
		return nil, err
	}
	points, err := s.series(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("store: series: %w", err)
	}
	return points, nil
}

func (s *Store) series(ctx context.Context, q store.SeriesQuery) ([]store.Point, error) {
	bucket := "0"
	if q.Every > 0 {
		bucket = fmt.Sprintf("epoch_us(x.time) // %d", q.Every.Microseconds())
	}
	var n int64
	inRange := store.Filter{From: q.From, To: q.To}
	c := inRange.Where(dialect)
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM exchanges x`+c.SQL(), c.Args...).Scan(&n); err != nil {
		return nil, err
	}
	quantiles := exact
	if n > s.exactRows {
		quantiles = bins
	}
	query, args := q.SQL(bucket, quantiles, dialect, q.Where(dialect))
	points := []store.Point{}
	err := s.each(ctx, query, args, func(rows *sql.Rows) error {
		var number int64
		var latency, ttft spread
		points = append(points, store.Point{})
		p := &points[len(points)-1]
		if err := rows.Scan(p.Targets(&q, &number, &latency, &ttft)...); err != nil {
			return err
		}
		p.Time = q.Start(number)
		p.Latency.Set(latency.quantiles)
		p.TTFT.Set(ttft.quantiles)
		return nil
	})
	return points, err
}

// spread scans three quantiles, or a histogram to compute them from.
type spread struct{ quantiles []float64 }

// Scan implements sql.Scanner.
func (s *spread) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		for _, q := range v {
			f, ok := q.(float64)
			if !ok {
				return fmt.Errorf("a quantile was expected, got %T", q)
			}
			s.quantiles = append(s.quantiles, f)
		}
		return nil
	case engine.OrderedMap:
		return s.fromBins(v.Keys(), v.Values())
	}
	return fmt.Errorf("quantiles were expected, got %T", v)
}

func (s *spread) fromBins(keys, counts []any) error {
	type bin struct {
		at int16
		n  uint64
	}
	found := make([]bin, len(keys))
	total := uint64(0)
	for i := range keys {
		at, ok := keys[i].(int16)
		n, counted := counts[i].(uint64)
		if !ok || !counted {
			return fmt.Errorf("bins were expected, got %T of %T", counts[i], keys[i])
		}
		found[i] = bin{at, n}
		total += n
	}
	sort.Slice(found, func(i, k int) bool { return found[i].at < found[k].at })
	for _, p := range []float64{.5, .95, .99} {
		rank := uint64(p * float64(total-1))
		for _, b := range found {
			if rank < b.n {
				// The value whose relative distance to both ends of the bin is the same.
				low, high := math.Exp(float64(b.at)/50), math.Exp(float64(b.at+1)/50)
				s.quantiles = append(s.quantiles, 2*low*high/(low+high)/1e6)
				break
			}
			rank -= b.n
		}
	}
	return nil
}
