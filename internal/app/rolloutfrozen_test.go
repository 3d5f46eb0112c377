package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/rollout"
	"github.com/telltale-llm/telltale/internal/store"
	"github.com/telltale-llm/telltale/internal/store/duckdb"
)

const frozenDoc = `
name: NAME
route: main
candidate: canary
signals:
  - {kind: error_rate, margin: 1%}
  - {kind: latency_p95, margin: 5%}
  - {kind: latency_p99, margin: 5%, threshold: 3s}
  - {kind: ttft_p99, margin: 1%}
  - {kind: output_length, margin: 5%}
  - {name: short, kind: output_length, worse: lower, margin: 5%}
  - {kind: cost, role: observe}
`

// asks counts what a store is asked for, and can fail.
type asks struct {
	past
	rollups int
	err     error
}

func (a *asks) Rollups(ctx context.Context, q store.RollupQuery) ([]record.Rollup, error) {
	a.rollups++
	if a.err != nil {
		return nil, a.err
	}
	return a.past.Rollups(ctx, q)
}

// TestFrozenQuantiles starts rollouts whose baseline has a past: the signals are held against its quantiles at once.
func TestFrozenQuantiles(t *testing.T) {
	st, err := duckdb.Open(t.Context(), filepath.Join(t.TempDir(), "store"), duckdb.Options{})
	if err != nil {
		t.Skip("without DuckDB: ", err)
	}
	defer st.Close()
	now := time.Now().UTC()
	// Times from 1 to 1,200 ms and lengths of as many tokens; failures, other variants and older days say other things.
	var xs []record.Exchange
	add := func(n int, variant string, age time.Duration, change func(*record.Exchange)) {
		for i := range n {
			latency := float64(i+1) / 1000
			x := record.Exchange{ID: fmt.Sprint(variant, age, i, change != nil), Source: record.SourceGateway, Time: now.Add(-age - time.Duration(i)*time.Millisecond), Route: "main", Variant: variant, Propensity: 1, Inclusion: 1,
				Redaction: "1", Status: 200, Latency: &latency, Usage: &record.Usage{Completion: i + 1}}
			if change != nil {
				change(&x)
			}
			xs = append(xs, x)
		}
	}
	slow := 100.
	add(1200, "baseline", time.Hour, nil)
	add(500, "baseline", time.Hour, func(x *record.Exchange) { x.Latency, x.Status, x.ErrorKind, x.Usage = &slow, 504, record.Timeout, nil })
	add(1500, "canary", time.Hour, func(x *record.Exchange) { x.Latency = &slow })
	add(1500, "baseline", 30*time.Hour, func(x *record.Exchange) { x.Latency = &slow })
	if _, err := st.Put(t.Context(), xs); err != nil {
		t.Fatal(err)
	}
	tokens := record.NewSketch()
	for i := range 1200 {
		tokens.Add(float64(i + 1))
	}
	if err := st.PutRollups(t.Context(), []record.Rollup{{ID: "r", Route: "main", Variant: "baseline", Start: now.Add(-2 * time.Hour).Truncate(10 * time.Second), Length: 10, Sketches: map[string][]byte{pipeline.TokensOut: tokens.Bytes()}}}); err != nil {
		t.Fatal(err)
	}

	start := func(name string, from past) (*keptRollout, rollout.Transition) {
		t.Helper()
		r, _ := atRollouts(t, t.TempDir())
		r.past = func() past { return from }
		doc, err := config.LoadRollout("r.yaml", []byte(strings.Replace(frozenDoc, "NAME", name, 1)), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		k, err := r.Start(t.Context(), doc, "anna", "cheaper")
		if err != nil {
			t.Fatal(err)
		}
		return k, k.transitions()[0]
	}
	near := func(what string, got *float64, want float64) {
		t.Helper()
		if got == nil || math.Abs(*got-want) > .03*want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	counting := &asks{past: st}
	k, first := start("known", counting)
	by := map[string]rollout.SignalStatus{}
	for _, s := range k.S.Statuses() {
		by[s.Name] = s
	}
	near("latency_p95", by["latency_p95"].Threshold, 1.14)
	near("latency_p99", by["latency_p99"].Threshold, 3) // the document's
	near("output_length", by["output_length"].Threshold, 1140)
	near("short", by["short"].Threshold, 60)
	for _, name := range []string{"ttft_p99", "cost"} { // which nothing is known of
		if by[name].State != rollout.Learning {
			t.Errorf("%s: %+v", name, by[name])
		}
	}
	if first.Why != "cheaper" || !strings.Contains(first.Note, "taken from the store, each of at least 1200 answers; 2 are learnt") || counting.rollups != 24 {
		t.Errorf("%d, %+v", counting.rollups, first)
	}

	// Without a store, with one that fails and with too short a past they are learnt, and that is said.
	for want, from := range map[string]past{
		"no store is open":    nil,
		"too much to read":    &asks{past: st, err: errors.New("too much to read")},
		"fewer than 1000 of ": emptyPast{},
	} {
		k, first := start("learnt", from)
		if !strings.Contains(first.Note, want) {
			t.Errorf("%q: %s", want, first.Note)
		}
		for _, s := range k.S.Statuses() {
			if s.Name == "output_length" && s.State != rollout.Learning {
				t.Errorf("%q: %+v", want, s)
			}
		}
	}
}

type emptyPast struct{}

func (emptyPast) Series(context.Context, store.SeriesQuery) ([]store.Point, error) { return nil, nil }
func (emptyPast) Rollups(context.Context, store.RollupQuery) ([]record.Rollup, error) {
	return nil, nil
}
