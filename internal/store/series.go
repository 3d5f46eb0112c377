package store

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Key is what exchanges can be grouped by.
type Key string

// The keys of a series.
const (
	ByRoute        Key = "route"
	ByVariant      Key = "variant"
	BySnapshot     Key = "snapshot"
	ByModel        Key = "model"
	ByServed       Key = "served"
	ByUpstream     Key = "upstream"
	BySource       Key = "source"
	ByAPI          Key = "api"
	ByClient       Key = "client"
	ByStatus       Key = "status"
	ByErrorKind    Key = "error_kind"
	ByFinishReason Key = "finish_reason"
)

var keys = map[Key]bool{
	ByRoute: true, ByVariant: true, BySnapshot: true, ByModel: true, ByServed: true, ByUpstream: true, BySource: true,
	ByAPI: true, ByClient: true, ByStatus: true, ByErrorKind: true, ByFinishReason: true,
}

// MaxIntervals bounds the intervals of a series.
const MaxIntervals = 20_000

// SeriesQuery asks for numbers by interval and group. From and To are required. The filter's Text is not used.
type SeriesQuery struct {
	Filter
	// Every is the interval's length, from a millisecond; 0 makes one interval of the whole range. Intervals start at
	// multiples of Every since 1970-01-01 UTC.
	Every time.Duration `json:"every,omitempty"`
	By    []Key         `json:"by,omitempty"`
	// Scores asks for the mean of these scores.
	Scores []string `json:"mean_scores,omitempty"`
}

// Point is one interval of one group.
type Point struct {
	Time  time.Time `json:"time"`            // start of the interval
	Group []string  `json:"group,omitempty"` // values of SeriesQuery.By, in its order
	Count int64     `json:"count"`
	// Errors counts the exchanges without a proper answer, Canceled those that the client gave up, which are not among
	// the errors.
	Errors           int64     `json:"errors"`
	Canceled         int64     `json:"canceled"`
	Latency          Quantiles `json:"latency"` // seconds
	TTFT             Quantiles `json:"ttft"`    // seconds
	PromptTokens     int64     `json:"prompt_tokens"`
	CompletionTokens int64     `json:"completion_tokens"`
	Cost             float64   `json:"cost"` // US dollars, of the exchanges whose cost is known
	Scores           []Mean    `json:"scores,omitempty"`
}

// ErrorRate is Errors/(Count-Canceled); false when there was no exchange to judge.
func (p *Point) ErrorRate() (float64, bool) {
	n := p.Count - p.Canceled
	if n == 0 {
		return 0, false
	}
	return float64(p.Errors) / float64(n), true
}

// Quantiles of Count measured values, within 1% of the exact ones. They are zero when Count is.
type Quantiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
}

// Mean of Count scores; zero when Count is.
type Mean struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	Value float64 `json:"value"`
}

// Prepare checks the query and sets Every where it is not.
func (q *SeriesQuery) Prepare() error {
	if err := q.Check(); err != nil {
		return err
	}
	if q.Text != "" {
		return &QueryError{Field: "text", Value: q.Text, Want: "no text: a series does not read content"}
	}
	if q.From.IsZero() || q.To.IsZero() || !q.From.Before(q.To) {
		return &QueryError{Field: "from", Value: q.From.Format(time.RFC3339), Want: "a time before to; both are required"}
	}
	if q.Every < 0 || q.Every > 0 && q.Every < time.Millisecond {
		return &QueryError{Field: "every", Value: q.Every.String(), Want: "a millisecond or more"}
	}
	if q.Every > 0 && q.To.Sub(q.From)/q.Every > MaxIntervals {
		return &QueryError{Field: "every", Value: q.Every.String(), Want: fmt.Sprintf("at most %d intervals between from and to", MaxIntervals)}
	}
	for _, k := range q.By {
		if !keys[k] {
			return &QueryError{Field: "by", Value: string(k), Want: "route, variant, snapshot, model, served, upstream, source, api, client, status, error_kind or finish_reason"}
		}
	}
	return nil
}

// Start is the start of the interval with this number.
func (q *SeriesQuery) Start(bucket int64) time.Time {
	if q.Every == 0 {
		return q.From.UTC()
	}
	return time.UnixMicro(bucket * q.Every.Microseconds()).UTC()
}

// SQL is the query that both engines run: bucket is the interval's number, quantiles an expression for the list of three
// quantiles with %s for the column.
func (q *SeriesQuery) SQL(bucket, quantiles string, d Dialect, where *Conditions) (string, []any) {
	return q.SQLFrom("exchanges x", bucket, quantiles, d, where)
}

// SQLFrom is SQL on another table expression, which has the alias x.
func (q *SeriesQuery) SQLFrom(table, bucket, quantiles string, d Dialect, where *Conditions) (string, []any) {
	var b, late strings.Builder
	var args, lateArgs []any
	b.WriteString("SELECT " + bucket + " AS bucket")
	order := "bucket"
	for i, k := range q.By {
		column := "x." + string(k)
		if k == ByStatus {
			column = "CAST(x.status AS " + d.Text + ")"
		}
		fmt.Fprintf(&b, ", %s AS g%d", column, i)
		order += fmt.Sprintf(", g%d", i)
	}
	b.WriteString(`, CAST(count(*) AS ` + d.Int + `) AS n, ` + d.countIf("x.failed") + ` AS errors, ` + d.countIf("x.error_kind = 'canceled'") + ` AS canceled`)
	for _, column := range []string{"latency", "ttft"} {
		fmt.Fprintf(&b, ", CAST(count(x.%s) AS %s) AS %s_n, %s AS %s_q", column, d.Int, column, fmt.Sprintf(quantiles, column), column)
	}
	for _, column := range []string{"prompt_tokens", "completion_tokens"} {
		fmt.Fprintf(&b, ", CAST(coalesce(sum(x.%s), 0) AS %s) AS %s_sum", column, d.Int, column)
	}
	b.WriteString(", coalesce(sum(x.cost), 0.0) AS cost_sum")
	for i, name := range q.Scores {
		fmt.Fprintf(&b, ", %s AS s%d_n, avg(CASE WHEN %s THEN %s ELSE late%d.mean END) AS s%d",
			d.countIf(fmt.Sprintf("%s OR late%d.mean IS NOT NULL", d.HasScore, i)), i, d.HasScore, d.Score, i, i)
		args = append(args, clean(name), clean(name), clean(name))
		// Scores that came apart from their exchange count where it came with none of the name.
		fmt.Fprintf(&late, " LEFT JOIN (SELECT id, avg(value) AS mean FROM scores WHERE name = ? GROUP BY id) AS late%d ON late%d.id = x.id", i, i)
		lateArgs = append(lateArgs, clean(name))
	}
	b.WriteString(" FROM " + table + late.String() + where.SQL() + " GROUP BY " + order + " ORDER BY " + order)
	return b.String(), slices.Concat(args, lateArgs, where.Args)
}

// Targets are what a row of SQL is scanned into.
func (p *Point) Targets(q *SeriesQuery, bucket *int64, latency, ttft any) []any {
	p.Group = make([]string, len(q.By))
	p.Scores = make([]Mean, len(q.Scores))
	to := []any{bucket}
	for i := range p.Group {
		to = append(to, &p.Group[i])
	}
	to = append(to, &p.Count, &p.Errors, &p.Canceled, &p.Latency.Count, latency, &p.TTFT.Count, ttft, &p.PromptTokens,
		&p.CompletionTokens, &p.Cost)
	for i := range p.Scores {
		p.Scores[i].Name = q.Scores[i]
		to = append(to, &p.Scores[i].Count, &nullable{&p.Scores[i].Value})
	}
	return to
}

// nullable scans a number that is NULL without values.
type nullable struct{ to *float64 }

// Scan implements sql.Scanner.
func (n *nullable) Scan(v any) error {
	switch v := v.(type) {
	case nil:
	case float64:
		*n.to = v
	case *float64:
		if v != nil {
			*n.to = *v
		}
	default:
		return fmt.Errorf("a number was expected, got %T", v)
	}
	return nil
}

// Set takes the list of three quantiles; it is empty, or of no numbers, without values.
func (q *Quantiles) Set(v []float64) {
	if q.Count > 0 && len(v) == 3 {
		q.P50, q.P95, q.P99 = v[0], v[1], v[2]
	}
}

func (d Dialect) countIf(condition string) string {
	return "CAST(count(CASE WHEN " + condition + " THEN 1 END) AS " + d.Int + ")"
}
