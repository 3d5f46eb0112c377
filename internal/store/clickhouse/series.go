package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/telltale-llm/telltale/internal/store"
)

// long is the range from which minutes are read instead of exchanges, where they can answer.
const long = 12 * time.Hour

// Series groups exchanges by interval. Quantiles are of DDSketches with a relative error of 1%. Over long ranges minutes are
// read, in which an exchange that two processes put at the same moment counts twice and one that was deleted still counts.
func (s *Store) Series(ctx context.Context, q store.SeriesQuery) ([]store.Point, error) {
	if err := q.Prepare(); err != nil {
		return nil, err
	}
	points, err := s.series(ctx, q, q.To.Sub(q.From) >= long && rolled(&q))
	if err != nil {
		return nil, fmt.Errorf("store: series: %w", err)
	}
	return points, nil
}

// quantiles is the list of three in seconds. The sketches hold microseconds: ClickHouse puts values below 1 into the wrong
// bucket of a sketch.
func quantiles(function, of string) string {
	return "arrayMap(v -> toFloat64(v) / 1e6, " + function + "(0.01, 0.5, 0.95, 0.99)(" + of + "))"
}

// rolled says whether minutes can answer: by their keys, in whole minutes.
func rolled(q *store.SeriesQuery) bool {
	for _, k := range q.By {
		if k != store.ByRoute && k != store.ByVariant && k != store.BySnapshot {
			return false
		}
	}
	f := q.Filter
	f.From, f.To, f.Routes, f.Variants, f.Snapshots = time.Time{}, time.Time{}, nil, nil, nil
	return f.Everything() && len(q.Scores) == 0 && q.Every%time.Minute == 0 &&
		q.From.Truncate(time.Minute).Equal(q.From) && q.To.Truncate(time.Minute).Equal(q.To)
}

func (s *Store) series(ctx context.Context, q store.SeriesQuery, minutes bool) ([]store.Point, error) {
	var query string
	var args []any
	if minutes {
		query, args = minutesSQL(&q)
	} else {
		bucket := "toInt64(0)"
		if q.Every > 0 {
			bucket = fmt.Sprintf("intDiv(toUnixTimestamp64Micro(x.time), %d)", q.Every.Microseconds())
		}
		query, args = q.SQLFrom("exchanges AS x FINAL", bucket, quantiles("quantilesDDIf", "assumeNotNull(x.%[1]s) * 1e6, isNotNull(x.%[1]s)"), dialect, q.Where(dialect))
		query += final
	}
	points := []store.Point{}
	err := s.each(ctx, query, args, func(r rows) error {
		var number int64
		var latency, ttft []float64
		points = append(points, store.Point{})
		p := &points[len(points)-1]
		if err := r.Scan(p.Targets(&q, &number, &latency, &ttft)...); err != nil {
			return err
		}
		p.Time = q.Start(number)
		p.Latency.Set(latency)
		p.TTFT.Set(ttft)
		return nil
	})
	return points, err
}

// minutesSQL is the same query on minutes, whose columns have the same names.
func minutesSQL(q *store.SeriesQuery) (string, []any) {
	bucket := "toInt64(0)"
	if q.Every > 0 {
		bucket = fmt.Sprintf("intDiv(toInt64(toUnixTimestamp(x.minute)) * 1000000, %d)", q.Every.Microseconds())
	}
	groups, order := "", "bucket"
	for i, k := range q.By {
		groups += fmt.Sprintf(", x.%s AS g%d", k, i)
		order += fmt.Sprintf(", g%d", i)
	}
	f := store.Filter{Routes: q.Routes, Variants: q.Variants, Snapshots: q.Snapshots}
	c := f.Where(dialect)
	c.Add("x.minute >= toDateTime(?, 'UTC')", q.From.Unix())
	c.Add("x.minute < toDateTime(?, 'UTC')", q.To.Unix())
	query := `SELECT ` + bucket + ` AS bucket` + groups + `, sum(x.n), sum(x.errors), sum(x.canceled)`
	for _, column := range []string{"latency", "ttft"} {
		query += fmt.Sprintf(`, sum(x.%[1]s_n), `+quantiles("quantilesDDMerge", "x.%[1]s"), column)
	}
	return query + `, sum(x.prompt_tokens), sum(x.completion_tokens), sum(x.cost) FROM minutes AS x` + c.SQL() + ` GROUP BY ` + order + ` ORDER BY ` + order, c.Args
}
