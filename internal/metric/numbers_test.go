package metric

import (
	"math"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// The numbers of a Reader add up to what an Aggregator publishes of the same samples.
func TestReaderAgrees(t *testing.T) {
	num := func(x float64) *float64 { return &x }
	scores := func(x float64, measures ...record.Measure) []record.Score {
		return []record.Score{{Name: "acc", Value: num(x), Measures: measures}}
	}
	samples := []record.Sample{
		{Case: "a", Verdict: verdict.Pass, Score: num(1), Latency: num(0.5), Usage: &record.Usage{Prompt: 4}, Scores: scores(1)},
		{Case: "b", Verdict: verdict.Fail, Score: num(0.25), Latency: num(1.5), Cached: true, Scores: scores(0, record.Measure{Metric: "acc", Value: 0.5}, record.Measure{Metric: "hits", Kind: kindRatio, Value: 2, Weight: 5})},
		{Case: "c", Error: "timeout: late", Scores: []record.Score{{Name: "acc", Error: "no answer"}}},
		{Case: "d", Verdict: verdict.Pass, Cost: num(0.25), Scores: scores(0, record.Measure{Metric: "hits", Kind: kindRatio, Value: 1, Weight: 3}, record.Measure{Metric: "hits", Kind: kindMean, Value: 9}, record.Measure{Metric: "acc", Value: math.NaN()})},
		{Case: "e", Verdict: verdict.Pass, Scores: []record.Score{{Name: "set", Type: setType, Value: num(1), Judge: &record.Judging{Calls: 4, Invalid: 1}, Scores: scores(1)}}},
	}
	agg, err := New(Options{Snapshots: 1})
	if err != nil {
		t.Fatal(err)
	}
	var r Reader
	sums, weights := map[string]float64{}, map[string]float64{}
	for i := range samples {
		if err := agg.Add(Observation{Sample: &samples[i]}); err != nil {
			t.Fatal(err)
		}
		numbers, err := r.Read(&samples[i])
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range numbers {
			name := r.Definition(n.Metric).Name
			sums[name] += n.Value
			weights[name] += n.Weight
		}
	}
	account, err := agg.Finish(Plan{Samples: []int{len(samples)}})
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range account.Metrics {
		if m.Mean == nil {
			if weights[name] != 0 {
				t.Errorf("%s: %v observations, the aggregator has none", name, weights[name])
			}
			continue
		}
		if got := sums[name] / weights[name]; got != *m.Mean || int(weights[name]) != m.N {
			t.Errorf("%s: %v of %v, the aggregator has %v of %d", name, got, weights[name], *m.Mean, m.N)
		}
		delete(sums, name)
	}
	for name := range sums {
		if weights[name] > 0 {
			t.Errorf("%s is not a metric of the aggregator", name)
		}
	}
	for i := range r.Len() {
		d := r.Definition(i)
		if m, ok := account.Metrics[d.Name]; ok && (m.Kind != d.Kind || m.Unit != d.Unit) {
			t.Errorf("%s: %s in %q, the aggregator has %s in %q", d.Name, d.Kind, d.Unit, m.Kind, m.Unit)
		}
	}
}

func TestBetter(t *testing.T) {
	f := func(name, unit, want string) {
		t.Helper()
		if got := Better(name, unit); got != want {
			t.Errorf("%s in %q: %q, want %q", name, unit, got, want)
		}
	}
	f(record.MetricPassRate, "", Higher)
	f(record.MetricScore, "", Higher)
	f("accuracy", "", Higher)
	f("bleu.corpus", "", Higher)
	f("log-likelihood", "nats", Higher)
	f(record.MetricErrorRate, "", Lower)
	for name, unit := range record.BuiltinUnits() {
		if unit != "" {
			f(name, unit, Lower)
		}
	}
	f("perplexity", "ppl", Lower)
	f("perplexity", "bits/byte", Lower)
	f("toxicity", "probability", Lower)
	f("calibration.ece_debiased", "probability", Lower)
	f("calibration.brier", "probability²", Lower)
	f("calibration.log_loss", "nats", Lower)
	f("calibration.confidence", "confidence", "")
	f("levenshtein", "edits", Lower)
	f("similar.distance", "distance", Lower)
	f("rubric.invalid", "", Lower)
	f("pairwise.win", "", Higher)
	f("pairwise.loss", "", Lower)
	f("pairwise.tie", "", "")
	f("word-count", "words", "")
}
