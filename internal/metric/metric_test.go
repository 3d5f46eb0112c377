package metric

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func near(t *testing.T, name string, got *float64, want float64) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is not there, want %v", name, want)
		return
	}
	if !(math.Abs(*got-want) <= 6e-7) {
		t.Errorf("%s = %.9g, want %.9g", name, *got, want)
	}
}

func none(t *testing.T, name string, got *float64) {
	t.Helper()
	if got != nil {
		t.Errorf("%s = %v, want none", name, *got)
	}
}

// sample is a judged sample with one yes-or-no score named "ok".
func sample(id string, v verdict.Verdict) *record.Sample {
	s := &record.Sample{Case: id, Verdict: v}
	switch v {
	case verdict.Pass, verdict.Fail:
		x, pass := 0.0, v == verdict.Pass
		if pass {
			x = 1
		}
		s.Score = &x
		s.Scores = []record.Score{{Name: "ok", Value: &x, Pass: &pass,
			Measures: []record.Measure{{Metric: "ok", Value: x, Kind: "rate"}}}}
	case verdict.Error:
		s.Error = "connection: refused"
	}
	return s
}

func measured(id string, ms ...record.Measure) *record.Sample {
	s := sample(id, verdict.Pass)
	x := 1.0
	s.Scores = []record.Score{{Name: "m", Value: &x, Measures: ms}}
	return s
}

func collect(t *testing.T, o Options, p Plan, samples ...*record.Sample) Result {
	t.Helper()
	if o.Snapshots == 0 {
		o.Snapshots = 1
	}
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range samples {
		if err := a.Add(Observation{Sample: s}); err != nil {
			t.Fatal(err)
		}
	}
	if p.Samples == nil {
		p.Samples = []int{len(samples)}
	}
	r, err := a.Finish(p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.Finish(p)
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Fatalf("a second Finish gave another account: %v", err)
	}
	return r
}

func TestNothing(t *testing.T) {
	r := collect(t, Options{}, Plan{Samples: []int{0}})
	m := r.Metrics[record.MetricPassRate]
	if m.N != 0 || m.Missing != 0 {
		t.Errorf("n %d, missing %d", m.N, m.Missing)
	}
	none(t, "mean", m.Mean)
	none(t, "stderr", m.Stderr)
	none(t, "low", m.Low)
	none(t, "high", m.High)
	if _, ok := r.Metrics[record.MetricLatency]; ok {
		t.Error("a latency without any sample")
	}
}

func TestAllErrors(t *testing.T) {
	var in []*record.Sample
	for i := range 20 {
		in = append(in, sample(fmt.Sprint(i), verdict.Error))
	}
	r := collect(t, Options{Expect: []string{"ok"}}, Plan{}, in...)
	m := r.Metrics[record.MetricPassRate]
	none(t, "pass_rate", m.Mean)
	if m.N != 0 || m.Missing != 20 {
		t.Errorf("pass_rate: n %d, missing %d", m.N, m.Missing)
	}
	if m := r.Metrics["ok"]; m.N != 0 || m.Missing != 20 || m.Mean != nil {
		t.Errorf("ok: %+v", m)
	}
	near(t, "error_rate", r.Metrics[record.MetricErrorRate].Mean, 1)
	if r.Summary.Errored != 20 || r.Summary.Errors["connection"] != 20 {
		t.Errorf("summary: %+v", r.Summary)
	}
}

func TestRate(t *testing.T) {
	var in []*record.Sample
	for i := range 263 {
		v := verdict.Fail
		if i < 81 {
			v = verdict.Pass
		}
		in = append(in, sample(fmt.Sprint(i), v))
	}
	r := collect(t, Options{Signatures: map[string][]string{"ok": {"equals|v1"}}}, Plan{}, in...)
	for _, name := range []string{record.MetricPassRate, "ok"} {
		m := r.Metrics[name]
		near(t, name, m.Mean, 81.0/263)
		near(t, "low", m.Low, .255289)
		near(t, "high", m.High, .366210)
		near(t, "count", m.Count, 81)
		none(t, "effective", m.Effective)
		none(t, "least", m.Least)
	}
	if s := r.Metrics["ok"].Signature; s != "equals|v1" {
		t.Errorf("signature %q", s)
	}
}

// One case answered ten times says nothing about other cases.
func TestOneCluster(t *testing.T) {
	var in []*record.Sample
	for i := range 10 {
		in = append(in, sample("only", []verdict.Verdict{verdict.Pass, verdict.Fail}[i%2]))
	}
	r := collect(t, Options{}, Plan{}, in...)
	for _, name := range []string{record.MetricPassRate, record.MetricScore} {
		m := r.Metrics[name]
		near(t, name, m.Mean, 0.5)
		none(t, name+" stderr", m.Stderr)
		none(t, name+" low", m.Low)
		none(t, name+" high", m.High)
	}
}

// Repeats widen the interval: ten clusters that agree in themselves are worth ten trials.
func TestRepeatsAreOneCluster(t *testing.T) {
	var in []*record.Sample
	for c := range 10 {
		for range 10 {
			in = append(in, sample(fmt.Sprint(c), []verdict.Verdict{verdict.Pass, verdict.Fail}[c%2]))
		}
	}
	m := collect(t, Options{}, Plan{}, in...).Metrics[record.MetricPassRate]
	naive, _ := stats.Wilson(50, 100, 0.95)
	if m.N != 100 || m.Clusters != 10 || *m.Low > naive.Low-0.1 {
		t.Errorf("n %d, clusters %d, low %v against the naive %v", m.N, m.Clusters, *m.Low, naive.Low)
	}
	near(t, "stderr", m.Stderr, math.Sqrt(0.25/10))

	for i := range in {
		in[i] = sample(in[i].Case, verdict.Pass)
	}
	m = collect(t, Options{}, Plan{}, in...).Metrics[record.MetricPassRate]
	want, _ := stats.Wilson(10, 10, 0.95)
	near(t, "low of all passed", m.Low, want.Low)
	near(t, "effective", m.Effective, 10)
}

// Groups cluster cases that are far apart, and the vector of statistics.md comes out.
func TestGroups(t *testing.T) {
	xs := []float64{1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0}
	groups := []int{0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4}
	f := func(order []int) {
		t.Helper()
		var in []*record.Sample
		for _, i := range order {
			s := measured(fmt.Sprint(i), record.Measure{Metric: "graded", Value: xs[i]})
			s.Group = fmt.Sprint("g", groups[i])
			in = append(in, s)
		}
		m := collect(t, Options{}, Plan{}, in...).Metrics["graded"]
		near(t, "mean", m.Mean, 7.0/12)
		near(t, "stderr", m.Stderr, .178135)
		if m.Clusters != 5 || m.N != 12 {
			t.Errorf("clusters %d, n %d", m.Clusters, m.N)
		}
	}
	f([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11})
	f([]int{0, 3, 5, 9, 10, 1, 4, 6, 11, 2, 7, 8})
}

func TestUngroupedMeanIsNaive(t *testing.T) {
	var in []*record.Sample
	for i, x := range []float64{1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0} {
		in = append(in, measured(fmt.Sprint(i), record.Measure{Metric: "graded", Value: x}))
	}
	near(t, "stderr", collect(t, Options{}, Plan{}, in...).Metrics["graded"].Stderr, .148647)
}

// The figures of GPT-4 on IFEval: 417 of 541 prompts, 698 of 834 instructions.
func TestIFEvalFigures(t *testing.T) {
	var in []*record.Sample
	instructions, followed := 834, 698
	for i := range 541 {
		w := 1.0
		if extra := instructions - 541; i < extra {
			w = 2
		}
		prompt, v := 0.0, 0.0
		if i < 417 {
			prompt, v = 1, w
		}
		in = append(in, measured(fmt.Sprint(i),
			record.Measure{Metric: "ifeval.prompt_strict", Value: prompt, Kind: "rate"},
			record.Measure{Metric: "ifeval.instruction_strict", Value: v, Weight: w, Kind: "ratio"}))
	}
	// Spread what is left of the followed instructions over prompts that failed.
	left := followed
	for _, s := range in {
		left -= int(s.Scores[0].Measures[1].Value)
	}
	for i := 417; left < 0; i-- {
		if m := &in[i-1].Scores[0].Measures[1]; m.Value > 0 {
			m.Value--
			left++
		}
	}
	r := collect(t, Options{}, Plan{}, in...)
	p := r.Metrics["ifeval.prompt_strict"]
	near(t, "prompt", p.Mean, 0.770795)
	want, _ := stats.Wilson(417, 541, 0.95)
	near(t, "low", p.Low, want.Low)
	near(t, "high", p.High, want.High)
	q := r.Metrics["ifeval.instruction_strict"]
	if q.N != 834 || *q.Count != 698 || q.Clusters != 541 {
		t.Errorf("n %d, count %v, clusters %d", q.N, *q.Count, q.Clusters)
	}
	near(t, "instruction", q.Mean, 0.836930)
}

func TestMissing(t *testing.T) {
	f := func(name string, o Options, p Plan, in []*record.Sample, metric string, n, missing int) {
		t.Helper()
		m, ok := collect(t, o, p, in...).Metrics[metric]
		if !ok || m.N != n || m.Missing != missing {
			t.Errorf("%s: %s has n %d, missing %d (there: %v), want %d, %d", name, metric, m.N, m.Missing, ok, n, missing)
		}
	}
	good := func(id string) *record.Sample {
		return measured(id, record.Measure{Metric: "m.sub", Value: 1, Kind: "rate"},
			record.Measure{Metric: "m.other", Value: 2, Weight: 3, Kind: "ratio"})
	}
	scorerError := sample("x", verdict.Error)
	scorerError.Error = ""
	scorerError.Scores = []record.Score{{Name: "m", Error: "timed out"}}
	noAnswer := sample("y", verdict.Error)

	// A score in error is missing from each metric it feeds, whichever came first.
	f("error first", Options{}, Plan{}, []*record.Sample{scorerError, good("1")}, "m.sub", 1, 1)
	f("error last", Options{}, Plan{}, []*record.Sample{good("1"), scorerError}, "m.other", 3, 1)
	f("only errors", Options{}, Plan{}, []*record.Sample{scorerError}, "m", 0, 1)
	// No answer: missing from what was expected, or from everything when that is not known.
	f("expected", Options{Expect: []string{"m"}}, Plan{}, []*record.Sample{noAnswer, good("1")}, "m.sub", 1, 1)
	f("expected twice", Options{Expect: []string{"m", "m"}}, Plan{}, []*record.Sample{noAnswer, good("1")}, "m.sub", 1, 3)
	f("not known", Options{}, Plan{}, []*record.Sample{noAnswer, good("1")}, "m.other", 3, 1)
	f("not expected here", Options{Expect: []string{}}, Plan{}, []*record.Sample{noAnswer, good("1")}, "m.sub", 1, 0)
	// Never run: missing from everything.
	f("never run", Options{}, Plan{Samples: []int{10}}, []*record.Sample{good("1")}, "m.sub", 1, 9)
	f("never run", Options{}, Plan{Samples: []int{10}}, []*record.Sample{good("1")}, record.MetricPassRate, 1, 9)
	f("none run", Options{Expect: []string{"m"}}, Plan{Samples: []int{10}}, nil, "m", 0, 10)
	// Undecided is missing from the pass rate, and not an error.
	u := sample("u", verdict.Undecided)
	f("undecided", Options{}, Plan{}, []*record.Sample{u, good("1")}, record.MetricPassRate, 1, 1)
	f("undecided", Options{}, Plan{}, []*record.Sample{u, good("1")}, record.MetricErrorRate, 2, 0)
	// Another score's error is nobody else's.
	f("other", Options{}, Plan{}, []*record.Sample{scorerError, sample("1", verdict.Pass)}, "ok", 1, 0)
	// Per-sample expectation stands for the suite's.
	a, _ := New(Options{Snapshots: 1, Expect: []string{"ok"}})
	if err := a.Add(Observation{Sample: noAnswer, Expect: []string{"ok", "extra"}}); err != nil {
		t.Fatal(err)
	}
	r, _ := a.Finish(Plan{Samples: []int{1}})
	if r.Metrics["extra"].Missing != 1 || r.Metrics["ok"].Missing != 1 {
		t.Errorf("per-sample expectation: %+v", r.Metrics)
	}
}

func TestBoundsOfMissing(t *testing.T) {
	in := []*record.Sample{}
	for i := range 96 {
		v := verdict.Pass
		if i < 4 {
			v = verdict.Fail
		}
		in = append(in, sample(fmt.Sprint(i), v))
	}
	for i := range 4 {
		in = append(in, sample(fmt.Sprint("e", i), verdict.Error))
	}
	r := collect(t, Options{}, Plan{}, in...)
	for _, name := range []string{record.MetricPassRate, record.MetricScore, "ok"} {
		near(t, name+" least", r.Metrics[name].Least, 0.92)
		near(t, name+" most", r.Metrics[name].Most, 0.96)
	}
	// A ratio's missing sample may be as heavy as the heaviest seen.
	ratio := func(v, w float64) *record.Sample {
		return measured(fmt.Sprint(v, w), record.Measure{Metric: "r", Value: v, Weight: w, Kind: "ratio"})
	}
	lost := sample("lost", verdict.Error)
	m := collect(t, Options{}, Plan{}, ratio(3, 4), ratio(1, 2), lost).Metrics["r"]
	near(t, "ratio least", m.Least, 0.4)
	near(t, "ratio most", m.Most, 0.8)
	// Bits per byte are no share: nothing bounds them.
	m = collect(t, Options{}, Plan{}, ratio(3.5, 4), ratio(1, 2), lost).Metrics["r"]
	none(t, "least of a quotient", m.Least)
	// A mean has bounds only when the caller says so.
	graded := measured("g", record.Measure{Metric: "r", Value: 0.5})
	none(t, "least of a mean", collect(t, Options{}, Plan{}, graded, lost).Metrics["r"].Least)
	bounded := Options{Bounded: func(string) bool { return true }}
	near(t, "least of a bounded mean", collect(t, bounded, Plan{}, graded, lost).Metrics["r"].Least, 0.25)
	outside := measured("g", record.Measure{Metric: "r", Value: 1.5})
	none(t, "least of a false promise", collect(t, bounded, Plan{}, outside, lost).Metrics["r"].Least)
}

func TestNoNaNEnters(t *testing.T) {
	f := func(m record.Measure) {
		t.Helper()
		good := record.Measure{Metric: "x", Value: 1, Weight: 1, Kind: m.Kind, Stats: []float64{1, 2}}
		o := Options{Finishers: func(string) (func([]float64) float64, bool) {
			return func(s []float64) float64 { return s[0] / s[1] }, true
		}}
		r := collect(t, o, Plan{}, measured("1", good), measured("2", m), measured("3", good))
		x := r.Metrics["x"]
		if x.N != 2 || x.Missing != 1 || x.Mean == nil || !stats.Finite(*x.Mean) {
			t.Errorf("%+v: %+v", m, x)
		}
		if len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "case 2") {
			t.Errorf("problems %q", r.Problems)
		}
	}
	nan, inf := math.NaN(), math.Inf(1)
	f(record.Measure{Metric: "x", Value: nan, Kind: "mean"})
	f(record.Measure{Metric: "x", Value: nan, Kind: "rate"})
	f(record.Measure{Metric: "x", Value: inf, Kind: "mean"})
	f(record.Measure{Metric: "x", Value: nan, Kind: "ratio"})
	f(record.Measure{Metric: "x", Value: 1, Weight: -1, Kind: "ratio"})
	f(record.Measure{Metric: "x", Value: 1, Weight: nan, Kind: "ratio"})
	f(record.Measure{Metric: "x", Stats: []float64{nan, 1}, Kind: "corpus/f"})
	f(record.Measure{Metric: "x", Stats: []float64{1}, Kind: "corpus/f"})
	f(record.Measure{Metric: "x", Kind: "corpus/f"})

	s := sample("n", verdict.Pass)
	s.Score, s.Latency, s.Cost = &nan, &nan, &inf
	r := collect(t, Options{}, Plan{}, s, sample("1", verdict.Pass))
	if m := r.Metrics[record.MetricScore]; m.N != 1 || m.Missing != 1 {
		t.Errorf("score of NaN: %+v", m)
	}
	if r.Summary.Unpriced != 2 || r.Summary.Cost != 0 {
		t.Errorf("cost %v, unpriced %d", r.Summary.Cost, r.Summary.Unpriced)
	}
}

func TestKindsThatDisagree(t *testing.T) {
	rate := record.Measure{Metric: "x", Value: 1, Kind: "rate"}
	mean := record.Measure{Metric: "x", Value: 0.5}
	r := collect(t, Options{}, Plan{}, measured("1", rate), measured("2", mean))
	if m := r.Metrics["x"]; m.Kind != "mean" || m.N != 2 || *m.Mean != 0.75 {
		t.Errorf("a rate and a mean: %+v", m)
	}
	for _, other := range []record.Measure{
		{Metric: "x", Value: 1, Weight: 2, Kind: "ratio"},
		{Metric: "x", Stats: []float64{1}, Kind: "corpus/f"},
		{Metric: "x", Value: 1, Kind: "rate", Unit: "s"},
		{Metric: "x", Value: 1, Kind: "median"},
	} {
		r := collect(t, Options{}, Plan{}, measured("1", rate), measured("2", other))
		if m := r.Metrics["x"]; m.N != 1 || m.Missing != 1 || len(r.Problems) != 1 {
			t.Errorf("%+v after a rate: %+v, %q", other, m, r.Problems)
		}
	}
}

func TestCorpus(t *testing.T) {
	ratio := func(name string) (func([]float64) float64, bool) {
		return func(s []float64) float64 { return s[0] / s[1] }, name == "ratio"
	}
	var in []*record.Sample
	for i := range 30 {
		in = append(in, measured(fmt.Sprint(i),
			record.Measure{Metric: "c", Stats: []float64{float64(i % 3), 3}, Kind: "corpus/ratio"},
			record.Measure{Metric: "r", Value: float64(i % 3), Weight: 3, Kind: "ratio"}))
	}
	r := collect(t, Options{Finishers: ratio}, Plan{}, in...)
	c, plain := r.Metrics["c"], r.Metrics["r"]
	if c.Kind != "corpus" || c.N != 30 || c.Clusters != 30 {
		t.Errorf("corpus: %+v", c)
	}
	near(t, "corpus", c.Mean, *plain.Mean)
	near(t, "corpus stderr", c.Stderr, *plain.Stderr)
	near(t, "corpus low", c.Low, *plain.Low)

	in[0].Scores[0].Measures[0].Kind = "corpus/unheard"
	r = collect(t, Options{Finishers: ratio}, Plan{}, in[:1]...)
	none(t, "a number nobody can finish", r.Metrics["c"].Mean)
	if len(r.Problems) != 1 {
		t.Errorf("problems %q", r.Problems)
	}
	// Groups make clusters here as well.
	for i, s := range in[1:] {
		s.Group = fmt.Sprint(i % 4)
	}
	c = collect(t, Options{Finishers: ratio}, Plan{}, in[1:]...).Metrics["c"]
	if c.Clusters != 4 || c.Stderr == nil {
		t.Errorf("grouped corpus: %+v", c)
	}
}

func TestOperational(t *testing.T) {
	var in []*record.Sample
	for i := range 100 {
		s := sample(fmt.Sprint(i), verdict.Pass)
		lat, usd := float64(i+1)/10, 0.01
		s.Latency, s.Cost = &lat, &usd
		s.Usage = &record.Usage{Prompt: 10, Completion: 5, Total: 15}
		in = append(in, s)
	}
	cached := sample("cached", verdict.Pass)
	slow := 99.0
	cached.Cached, cached.Latency = true, &slow
	in = append(in, cached)
	r := collect(t, Options{}, Plan{}, in...)
	l := r.Metrics[record.MetricLatency]
	if l.N != 100 || l.Missing != 0 || l.Unit != "s" {
		t.Errorf("latency: %+v", l)
	}
	near(t, "mean", l.Mean, 5.05)
	near(t, "p50", l.Quantiles["p50"], 5)
	near(t, "p95", l.Quantiles["p95"], 9.5)
	near(t, "p99", l.Quantiles["p99"], 9.9)
	c := r.Metrics[record.MetricCost]
	near(t, "cost", c.Mean, 0.01)
	near(t, "total cost", c.Count, 1)
	if c.Missing != 1 {
		t.Errorf("cost missing %d: the cached sample has no price", c.Missing)
	}
	none(t, "an interval of equal costs", c.Low)
	near(t, "prompt tokens", r.Metrics[record.MetricTokensPrompt].Count, 1000)
	near(t, "completion tokens", r.Metrics[record.MetricTokensCompletion].Mean, 5)
	if _, ok := r.Metrics[record.MetricTTFT]; ok {
		t.Error("a time to first token that nobody measured")
	}
	if s := r.Summary; s.Cached != 1 || s.Tokens.Total != 1500 || math.Abs(s.Cost-1) > 1e-12 || s.Unpriced != 1 {
		t.Errorf("summary %+v", s)
	}
}

// A mean of equal values has no spread to vouch with, unless its values have bounds.
func TestEqualValues(t *testing.T) {
	var in []*record.Sample
	for i := range 5 {
		in = append(in, sample(fmt.Sprint(i), verdict.Pass))
	}
	want, _ := stats.Wilson(5, 5, 0.95)
	near(t, "score low", collect(t, Options{}, Plan{}, in...).Metrics[record.MetricScore].Low, want.Low)
}

func TestBuiltinNamesAreTaken(t *testing.T) {
	s := measured("1", record.Measure{Metric: "pass_rate", Value: 0.25})
	s.Scores[0].Name = "pass_rate"
	r := collect(t, Options{}, Plan{}, s)
	near(t, "pass_rate", r.Metrics["pass_rate"].Mean, 1)
	near(t, "assert.pass_rate", r.Metrics["assert.pass_rate"].Mean, 0.25)
}

func TestSnapshots(t *testing.T) {
	a, err := New(Options{Snapshots: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		for snap := range 2 {
			v := verdict.Pass
			if snap == 1 && i < 5 {
				v = verdict.Fail
			}
			if err := a.Add(Observation{Sample: sample(fmt.Sprint(i), v), Snapshot: snap}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r, err := a.Finish(Plan{Samples: []int{20, 22}})
	if err != nil {
		t.Fatal(err)
	}
	whole, one, two := r.Metrics["pass_rate"], r.Snapshots[0]["pass_rate"], r.Snapshots[1]["pass_rate"]
	near(t, "whole", whole.Mean, 35.0/40)
	near(t, "first", one.Mean, 1)
	near(t, "second", two.Mean, 0.75)
	if whole.Clusters != 20 || one.Clusters != 20 || whole.Missing != 2 || one.Missing != 0 || two.Missing != 2 {
		t.Errorf("whole %+v, one %+v, two %+v", whole, one, two)
	}
	if err := a.Add(Observation{Sample: sample("x", verdict.Pass), Snapshot: 2}); err == nil {
		t.Error("a snapshot that was not announced was taken")
	}
	for _, p := range []Plan{{}, {Samples: []int{20}}, {Samples: []int{19, 20}}} {
		if _, err := a.Finish(p); err == nil {
			t.Errorf("plan %v was taken", p)
		}
	}
}

func TestSignatures(t *testing.T) {
	x := record.Measure{Metric: "m.sub", Value: 1}
	f := func(sigs map[string][]string, want string) {
		t.Helper()
		got := collect(t, Options{Signatures: sigs}, Plan{}, measured("1", x)).Metrics["m.sub"].Signature
		if got != want && !(want == "mixed:" && strings.HasPrefix(got, want)) {
			t.Errorf("%v: signature %q, want %q", sigs, got, want)
		}
	}
	f(nil, "")
	f(map[string][]string{"m": {"a"}}, "a")
	f(map[string][]string{"m": {"a"}, "m.sub": {"b", "b"}}, "b")
	f(map[string][]string{"m": {"a", "b"}}, "mixed:")
	a := collect(t, Options{Signatures: map[string][]string{"m": {"a", "b"}}}, Plan{}, measured("1", x))
	b := collect(t, Options{Signatures: map[string][]string{"m": {"b", "a", "a"}}}, Plan{}, measured("1", x))
	if a.Metrics["m.sub"].Signature != b.Metrics["m.sub"].Signature {
		t.Error("the order of recipes shows in the signature")
	}
}

func TestCritical(t *testing.T) {
	mark := func(s *record.Sample) *record.Sample { s.Critical = true; return s }
	in := []*record.Sample{
		mark(sample("a", verdict.Fail)), mark(sample("a", verdict.Fail)), mark(sample("b", verdict.Pass)),
		mark(sample("c", verdict.Error)), sample("d", verdict.Fail), mark(sample("e", verdict.Undecided)),
	}
	s := collect(t, Options{}, Plan{Samples: []int{8}, Critical: 6}, in...).Summary
	if !reflect.DeepEqual(s.CriticalFailed, []string{"a"}) || s.CriticalUnproved != 5 {
		t.Errorf("critical failed %v, unproved %d", s.CriticalFailed, s.CriticalUnproved)
	}
	if s.Planned != 8 || s.Finished != 6 || s.Failed != 3 || s.Undecided != 1 {
		t.Errorf("summary %+v", s)
	}
}

func TestErrorReasons(t *testing.T) {
	f := func(message, want string) {
		t.Helper()
		if got := Reason(message); got != want {
			t.Errorf("Reason(%q) = %q, want %q", message, got, want)
		}
	}
	f("", "scorer")
	f("rate_limited (HTTP 429): slow down", "rate_limited")
	f("connection: refused", "connection")
	f("timeout", "timeout")
	f("prompt: no variable x", "prompt")
	f("something else entirely", "other")
}

// The name of a metric must not be made of case data: memory is bounded.
func TestTooManyMetrics(t *testing.T) {
	a, _ := New(Options{Snapshots: 1})
	var err error
	for i := 0; err == nil && i < 2000; i++ {
		err = a.Add(Observation{Sample: measured(fmt.Sprint(i), record.Measure{Metric: fmt.Sprint("m", i), Value: 1})})
	}
	if err == nil || !strings.Contains(err.Error(), `"m1000"`) {
		t.Errorf("err = %v", err)
	}
}

func TestDeterministic(t *testing.T) {
	run := func() []byte {
		a, _ := New(Options{Snapshots: 2})
		for i := range 500 {
			s := measured(fmt.Sprint(i/2), record.Measure{Metric: "x", Value: math.Sin(float64(i)) * 1e3})
			if i%3 == 0 {
				s.Group = fmt.Sprint("g", i%7)
			}
			if err := a.Add(Observation{Sample: s, Snapshot: i % 2}); err != nil {
				t.Fatal(err)
			}
		}
		r, err := a.Finish(Plan{Samples: []int{250, 250}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := run()
	for range 20 {
		if string(run()) != string(first) {
			t.Fatal("the same samples gave other bits")
		}
	}
}
