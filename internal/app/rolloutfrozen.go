package app

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/rollout"
	"github.com/telltale-llm/telltale/internal/store"
)

const (
	// frozenPast is how far the baseline's past is looked at for its quantiles, frozenLeast how many outcomes they need:
	// as many as would be learnt from for a 99th percentile.
	frozenPast  = 24 * time.Hour
	frozenLeast = 1000
	// frozenPlenty is when no older roll-ups are read; they are read by frozenPiece, since there may be many.
	frozenPlenty = 10_000
	frozenPiece  = time.Hour
	frozenTime   = 15 * time.Second
)

// past is the part of a store in which quantiles are found.
type past interface {
	Series(ctx context.Context, q store.SeriesQuery) ([]store.Point, error)
	Rollups(ctx context.Context, q store.RollupQuery) ([]record.Rollup, error)
}

// frozenQuantiles are the quantiles of a baseline's traffic before a rollout, by signal, with a sentence about where each
// comes from. Signals that the store cannot tell of are not among them: they learn their quantile.
type frozenQuantiles struct {
	of   map[string]float64
	note string
}

// freeze looks up what the document's signals are held against. That no store is here, or that it fails, is no error: the
// quantiles are learnt then, and the note says so.
func freeze(ctx context.Context, st past, doc *config.Rollout, baseline string, now time.Time) frozenQuantiles {
	var wanted []*config.Signal
	for i := range doc.Signals {
		if _, ok := rollout.Frozen(&doc.Signals[i]); ok {
			wanted = append(wanted, &doc.Signals[i])
		}
	}
	if doc.Metric != nil {
		if _, ok := rollout.Frozen(doc.Metric); ok {
			wanted = append(wanted, doc.Metric)
		}
	}
	if len(wanted) == 0 {
		return frozenQuantiles{}
	}
	const learnt = "the baseline's quantiles are learnt from its first answers: "
	if st == nil {
		return frozenQuantiles{note: learnt + "no store is open in this process"}
	}
	ctx, cancel := context.WithTimeout(ctx, frozenTime)
	defer cancel()
	out := frozenQuantiles{of: map[string]float64{}}
	least := int64(math.MaxInt64)
	found, err := readPast(ctx, st, wanted, doc.Route, baseline, now)
	for _, g := range wanted {
		f := found[g.Name]
		if f.n >= frozenLeast && f.value > 0 && !math.IsInf(f.value, 0) {
			out.of[g.Name] = f.value
			least = min(least, f.n)
		}
	}
	switch {
	case len(out.of) > 0:
		out.note = fmt.Sprintf("quantiles of the baseline's answers since %s are taken from the store, each of at least %d answers", now.Add(-frozenPast).UTC().Format(time.RFC3339), least)
		if n := len(wanted) - len(out.of); n > 0 {
			out.note += fmt.Sprintf("; %d are learnt from its first answers", n)
		}
	case err != nil:
		out.note = learnt + "the store cannot tell them"
	default:
		out.note = learnt + fmt.Sprintf("the store has fewer than %d of the last day", frozenLeast)
	}
	if err != nil {
		out.note += " (" + err.Error() + ")"
	}
	return out
}

// pastQuantile is a quantile of n outcomes.
type pastQuantile struct {
	value float64
	n     int64
}

// readPast finds what it can. Times are of answers alone, for a time-out would stand for a time that no answer has; what
// answers take is seen in the roll-ups.
func readPast(ctx context.Context, st past, wanted []*config.Signal, route, baseline string, now time.Time) (map[string]pastQuantile, error) {
	out := map[string]pastQuantile{}
	times, sketched := false, map[string]string{}
	for _, g := range wanted {
		switch g.Kind {
		case config.SignalOutputLength:
			sketched[g.Name] = pipeline.TokensOut
		case config.SignalCost:
			sketched[g.Name] = pipeline.Cost
		default:
			times = true
		}
	}
	var errs []error
	if times {
		points, err := st.Series(ctx, store.SeriesQuery{Filter: store.Filter{From: now.Add(-frozenPast), To: now, Routes: []string{route}, Variants: []string{baseline}, Outcome: store.Answered}})
		errs = append(errs, err)
		for _, p := range points { // one, of the whole day
			for _, g := range wanted {
				switch g.Kind {
				case config.SignalLatencyP95:
					out[g.Name] = pastQuantile{p.Latency.P95, p.Latency.Count}
				case config.SignalLatencyP99:
					out[g.Name] = pastQuantile{p.Latency.P99, p.Latency.Count}
				case config.SignalTTFTP95:
					out[g.Name] = pastQuantile{p.TTFT.P95, p.TTFT.Count}
				case config.SignalTTFTP99:
					out[g.Name] = pastQuantile{p.TTFT.P99, p.TTFT.Count}
				}
			}
		}
	}
	if len(sketched) == 0 {
		return out, errors.Join(errs...)
	}
	merged, err := readSketches(ctx, st, sketched, route, baseline, now)
	errs = append(errs, err)
	for _, g := range wanted {
		s := merged[sketched[g.Name]]
		if s == nil {
			continue
		}
		if q, ok := rollout.Frozen(g); ok && s.Count() > 0 {
			out[g.Name] = pastQuantile{s.Quantile(q), int64(s.Count())}
		}
	}
	return out, errors.Join(errs...)
}

// readSketches merges the sketches that signals need, the newest first, until there is plenty of each.
func readSketches(ctx context.Context, st past, of map[string]string, route, baseline string, now time.Time) (map[string]*record.Sketch, error) {
	out := map[string]*record.Sketch{}
	names := map[string]bool{}
	for _, name := range of {
		names[name] = true
	}
	for to := now; to.After(now.Add(-frozenPast)); to = to.Add(-frozenPiece) {
		rs, err := st.Rollups(ctx, store.RollupQuery{From: to.Add(-frozenPiece), To: to, Routes: []string{route}, Variants: []string{baseline}})
		if err != nil {
			return out, err
		}
		plenty := true
		for name := range names {
			if out[name] == nil {
				out[name] = record.NewSketch()
			}
			for i := range rs {
				b := rs[i].Sketches[name]
				if len(b) == 0 {
					continue
				}
				one, err := record.ReadSketch(b)
				if err == nil {
					err = out[name].Merge(one)
				}
				if err != nil {
					return out, fmt.Errorf("roll-up %s: %w", rs[i].ID, err)
				}
			}
			plenty = plenty && out[name].Count() >= frozenPlenty
		}
		if plenty {
			break
		}
	}
	return out, nil
}
