package metric

import (
	"math"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func someMetrics() map[string]record.Metric {
	rate := func(mean float64, n, missing int) record.Metric {
		return record.Metric{Kind: kindRate, Mean: &mean, N: n, Missing: missing, Count: ptr(mean * float64(n)), Clusters: n, Signature: "s"}
	}
	low := 0.1
	a := rate(0.5, 10, 2)
	a.Low = &low
	return map[string]record.Metric{
		"a": a, "b": rate(0.25, 8, 0), "ifeval.prompt_strict": rate(0.75, 4, 1), "rouge-1": {Kind: kindMean, Mean: ptr(2.0), N: 5, Clusters: 5},
		"none": {Missing: 3}, record.MetricErrorRate: rate(0, 20, 0),
	}
}

func TestDerived(t *testing.T) {
	f := func(expr string, sums bool, want float64, wantN, wantMissing int) {
		t.Helper()
		d, err := NewDeriver([]config.Derived{{Name: "x", Expr: expr, Sums: sums}})
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			return
		}
		ms := someMetrics()
		problems := d.Add(ms)
		m := ms["x"]
		if math.IsNaN(want) {
			if m.Mean != nil || m.N != 0 || len(problems) != 1 {
				t.Errorf("%s: %v, n %d, problems %v", expr, m.Mean, m.N, problems)
			}
			return
		}
		if m.Mean == nil || math.Abs(*m.Mean-want) > 1e-12 || m.N != wantN || m.Missing != wantMissing || m.Kind != kindDerived || m.Low != nil || len(problems) > 0 {
			t.Errorf("%s: %+v %v, want %v of %d with %d missing", expr, m, problems, want, wantN, wantMissing)
		}
	}
	f("(a + b) / 2", false, 0.375, 8, 2)
	f("ifeval.prompt_strict - 1", false, -0.25, 4, 1)
	f(`metrics["rouge-1"] * 3`, false, 6, 5, 0)
	f(`sum["a"] / n["a"]`, false, 0.5, 10, 2)
	f("a > 0.4 ? a : 0", false, 0.5, 10, 2)
	f("math.least(a, b)", false, 0.25, 8, 2)
	f("2 * a * b / (a + b)", false, 1.0/3, 8, 2)
	f("a / (b - 0.25)", false, math.NaN(), 0, 0)
	f("a + nowhere", false, math.NaN(), 0, 0)
	f("a + none", false, math.NaN(), 0, 0)
	f(`low["b"] + 0`, false, math.NaN(), 0, 0)
	f(`low["a"] + 0`, false, 0.1, 10, 2)
	f("a / __count", true, 0.25, 10, 2)
	f("a + b * 2 - -1", true, 10, 8, 2)
	f("2 ^ 3 ^ 0 * sqrt(b * 2) + max(a, b, 1) % 3", true, 6, 8, 2)
}

func TestDerivedMistakes(t *testing.T) {
	f := func(expr string, sums bool, want string) {
		t.Helper()
		_, err := NewDeriver([]config.Derived{{Name: "x", Expr: expr, Sums: sums, Pos: config.Pos{File: "s.yaml", Line: 4}}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "s.yaml:4") {
			t.Errorf("%s: %v, want %q", expr, err, want)
		}
	}
	f("a +", false, "invalid CEL")
	f("1 + 2", false, "uses no metric")
	f("a > 1", false, "gives bool")
	f("metrics.a", false, `metrics["NAME"]`)
	f("metrics[a]", false, "written out")
	f("a + 'x'", false, "no matching overload")
	f("a b", true, "unexpected")
	f("foo(a)", true, "not a function")
	f("sqrt(a, b)", true, "takes 1")
	f("1", true, "uses no metric")
	f("a +", true, "ends too early")
	f(strings.Repeat("(", 200)+"a", true, "nested too deeply")
	if _, err := NewDeriver([]config.Derived{{Name: "pass_rate", Expr: "a"}}); err == nil {
		t.Error("a derived metric may be called pass_rate")
	}
	d, err := NewDeriver([]config.Derived{{Name: "a", Expr: "b"}, {Name: "c", Expr: "b + 1"}, {Name: "d", Expr: "c + 1"}})
	if err != nil {
		t.Fatal(err)
	}
	ms := someMetrics()
	if problems := d.Add(ms); len(problems) != 1 || *ms["a"].Mean != 0.5 || *ms["d"].Mean != 2.25 {
		t.Errorf("%v, a %v, d %v", problems, *ms["a"].Mean, *ms["d"].Mean)
	}
}

func FuzzArithmetic(f *testing.F) {
	for _, s := range []string{"a / __count", "max(a, b) ^ 2", "((a", "1e5 - .5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := NewDeriver([]config.Derived{{Name: "x", Expr: s, Sums: true}})
		if err == nil {
			d.Add(someMetrics())
		}
	})
}

func TestTags(t *testing.T) {
	a, err := New(Options{Snapshots: 2, Tags: []string{"kept", "unseen"}})
	if err != nil {
		t.Fatal(err)
	}
	one := func(id string, snapshot int, pass bool, tags ...string) {
		t.Helper()
		s := sampleOf(id, pass)
		s.Tags = tags
		if err := a.Add(Observation{Sample: s, Snapshot: snapshot, Expect: []string{}}); err != nil {
			t.Fatal(err)
		}
	}
	one("1", 0, true, "x", "y", "x")
	one("1", 1, false, "x", "y")
	one("2", 0, true, "y")
	r, err := a.Finish(Plan{Samples: []int{3, 3}, Tags: []map[string]int{{"x": 1, "y": 2, "kept": 1}, {"x": 1, "y": 2, "kept": 1}}})
	if err != nil {
		t.Fatal(err)
	}
	f := func(tag string, wantN int, wantCount float64, wantMissing int) {
		t.Helper()
		m := r.Tags[tag][record.MetricPassRate]
		count := 0.0
		if m.Count != nil {
			count = *m.Count
		}
		if m.N != wantN || count != wantCount || m.Missing != wantMissing {
			t.Errorf("%s: %d, count %v, missing %d", tag, m.N, count, m.Missing)
		}
	}
	f("x", 2, 1, 0)
	f("y", 3, 2, 1)
	f("kept", 0, 0, 2)
	if len(r.Tags) != 3 || r.SnapshotTags[1]["x"][record.MetricPassRate].N != 1 {
		t.Errorf("tags %v", r.Tags)
	}
	for i := range 200 {
		one("many", 0, true, strings.Repeat("t", i+1))
	}
	r, err = a.Finish(Plan{Samples: []int{300, 300}})
	if err != nil || len(r.Tags) != maxTags-2 || len(r.Problems) != 1 {
		t.Errorf("%d tags, %v, %v", len(r.Tags), r.Problems, err)
	}
}

func sampleOf(id string, pass bool) *record.Sample {
	v := 0.0
	s := &record.Sample{Case: id, Verdict: 2}
	if pass {
		v, s.Verdict = 1, 1
	}
	s.Scores = []record.Score{{Name: "contains", Type: "contains", Value: &v, Pass: &pass}}
	return s
}

// The parts of a set feed metrics of their own, also when the set itself could not be judged.
func TestSetParts(t *testing.T) {
	a, err := New(Options{Snapshots: 1})
	if err != nil {
		t.Fatal(err)
	}
	yes, one := true, 1.0
	part := record.Score{Name: "p", Type: "contains", Value: &one, Pass: &yes, Measures: []record.Measure{{Metric: "p", Value: 1, Kind: "rate"}}}
	lost := record.Score{Name: "q", Type: "cost", Error: "no"}
	add := func(id string, set record.Score) {
		t.Helper()
		s := sampleOf(id, true)
		s.Scores = []record.Score{set}
		if err := a.Add(Observation{Sample: s, Expect: []string{}}); err != nil {
			t.Fatal(err)
		}
	}
	add("1", record.Score{Name: "set", Type: "assert-set", Value: &one, Pass: &yes, Scores: []record.Score{part}})
	add("2", record.Score{Name: "set", Type: "assert-set", Error: "no", Scores: []record.Score{part, lost}})
	r, err := a.Finish(Plan{Samples: []int{2}})
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Metrics["p"]; m.N != 2 || m.Missing != 0 {
		t.Errorf("p: %+v", m)
	}
	if r.Metrics["q"].Missing != 1 || r.Metrics["set"].N != 1 || r.Metrics["set"].Missing != 1 {
		t.Errorf("q %+v, set %+v", r.Metrics["q"], r.Metrics["set"])
	}
}
