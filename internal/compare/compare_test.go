package compare

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answer is one sample of the tests, in short.
type answer struct {
	id      string
	input   string // the variable; empty is the id
	group   string
	tags    []string
	repeat  int
	who     string // provider; empty is "m"
	verdict verdict.Verdict
	score   float64
	words   float64 // weight of the ratio metric; 0 leaves it out
	hits    float64
	stats   []float64
	secs    float64
	failed  string
}

func pass(id string) answer { return answer{id: id, verdict: verdict.Pass, score: 1} }
func fail(id string) answer { return answer{id: id, verdict: verdict.Fail} }

func (a answer) sample() record.Sample {
	if a.who == "" {
		a.who = "m"
	}
	if a.input == "" {
		a.input = a.id
	}
	s := record.Sample{Case: a.id, Group: a.group, Tags: a.tags, Vars: map[string]any{"q": a.input}, Repeat: a.repeat, Provider: a.who, Prompt: "p",
		Verdict: a.verdict, Output: "said " + a.id, Input: []record.Message{{Role: "user", Content: "asked " + a.input}}, Error: a.failed}
	if a.failed != "" {
		s.Verdict, s.Output = verdict.Error, ""
		s.Scores = []record.Score{{Name: "acc", Type: "equals", Error: a.failed}}
		return s
	}
	s.Score = &a.score
	ok := a.verdict == verdict.Pass
	one := record.Score{Name: "acc", Type: "equals", Value: &a.score, Pass: &ok, Reason: "because", Measures: []record.Measure{{Metric: "acc", Kind: "mean", Value: a.score}}}
	if a.words > 0 {
		one.Measures = append(one.Measures, record.Measure{Metric: "hits", Kind: "ratio", Value: a.hits, Weight: a.words})
	}
	if a.stats != nil {
		one.Measures = append(one.Measures, record.Measure{Metric: "corp", Kind: "corpus/share", Stats: a.stats})
	}
	s.Scores = []record.Score{one}
	if a.secs > 0 {
		s.Latency = &a.secs
	}
	return s
}

// share is the finisher of the tests: the first statistic over the second.
func share(name string) (func([]float64) float64, bool) {
	return func(v []float64) float64 { return v[0] / v[1] }, name == "share"
}

// made is a finished run of these answers.
func made(t *testing.T, name string, list []answer) Side {
	t.Helper()
	run := &record.Run{ID: name, Repeats: 1, Dataset: record.DatasetRef{Hash: "d"}, Scorers: map[string]string{"acc": "equals/1"}}
	agg, err := metric.New(metric.Options{Snapshots: 1, Finishers: share, Signatures: map[string][]string{"acc": {"equals/1"}, "hits": {"hits/1"}, "corp": {"corp/1"}}})
	if err != nil {
		t.Fatal(err)
	}
	samples := make([]record.Sample, len(list))
	for i, a := range list {
		samples[i] = a.sample()
		run.Repeats = max(run.Repeats, a.repeat+1)
		if !slices.ContainsFunc(run.Snapshots, func(s record.Snapshot) bool { return s.Provider == samples[i].Provider }) {
			s := record.Snapshot{Provider: samples[i].Provider, Prompt: "p"}
			s.Identify()
			run.Snapshots = append(run.Snapshots, s)
		}
		if err := agg.Add(metric.Observation{Sample: &samples[i]}); err != nil {
			t.Fatal(err)
		}
	}
	if len(run.Snapshots) == 0 {
		run.Snapshots = []record.Snapshot{{ID: "none", Provider: "m", Prompt: "p"}}
	}
	account, err := agg.Finish(metric.Plan{Samples: []int{len(list)}})
	if err != nil {
		t.Fatal(err)
	}
	run.Metrics, run.Summary = account.Metrics, account.Summary
	return Side{Name: name, Run: run, Samples: func() iter.Seq2[record.Sample, error] {
		return func(yield func(record.Sample, error) bool) {
			for _, s := range samples {
				if !yield(s, nil) {
					return
				}
			}
		}
	}}
}

func compared(t *testing.T, base, head []answer, o Options) *record.Comparison {
	t.Helper()
	o.Finishers = share
	c, err := Runs(made(t, "base", base), made(t, "head", head), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func find(t *testing.T, list []record.Difference, metric, tag string) record.Difference {
	t.Helper()
	for _, d := range list {
		if d.Metric == metric && d.Tag == tag {
			return d
		}
	}
	t.Fatalf("no difference of %s[%s]", metric, tag)
	return record.Difference{}
}

func show(p *float64) string {
	if p == nil {
		return "nil"
	}
	return fmt.Sprintf("%.4f", *p)
}

func TestPairing(t *testing.T) {
	f := func(base, head []answer, want record.Pairing) {
		t.Helper()
		got := compared(t, base, head, Options{}).Pairing
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	a, b, c := pass("a"), pass("b"), fail("c")
	other := a
	other.input = "another question"
	f([]answer{a, b}, []answer{a, b}, record.Pairing{Paired: 2})
	f([]answer{a, b}, []answer{b, a}, record.Pairing{Paired: 2}) // the order of cases does not matter
	f([]answer{a, b}, []answer{b, c}, record.Pairing{Paired: 1, OnlyBase: 1, OnlyHead: 1, OnlyBaseIDs: []string{"a"}, OnlyHeadIDs: []string{"c"}})
	f([]answer{a, b}, []answer{other, b}, record.Pairing{Paired: 1, Changed: 1, ChangedIDs: []string{"a"}})
	f([]answer{a}, []answer{b}, record.Pairing{OnlyBase: 1, OnlyHead: 1, OnlyBaseIDs: []string{"a"}, OnlyHeadIDs: []string{"b"}})
}

func TestExclude(t *testing.T) {
	c := compared(t, []answer{pass("a"), pass("b"), pass("c")}, []answer{pass("a"), fail("b"), pass("c")}, Options{Exclude: func(id string, _ []string) bool { return id == "b" }})
	if c.Pairing.Paired != 2 || c.Pairing.Excluded != 1 || c.Counts.Worse != 0 {
		t.Errorf("%+v %+v", c.Pairing, c.Counts)
	}
}

// Nothing to compare is never a difference of 0.
func TestNoData(t *testing.T) {
	f := func(base, head []answer, why string) {
		t.Helper()
		d := find(t, compared(t, base, head, Options{}).Metrics, record.MetricPassRate, "")
		if d.Diff != nil || d.Low != nil || d.Bound != nil || d.P != nil || d.PWorse != nil || d.Adjusted != nil || d.Stderr != nil || d.MDE != nil {
			t.Errorf("numbers without data: %+v", d)
		}
		if !strings.Contains(d.Why, why) {
			t.Errorf("why %q, want %q", d.Why, why)
		}
	}
	down := answer{id: "a", failed: "timeout: late"}
	const none = "no paired case has an observation in both runs"
	f([]answer{pass("a")}, []answer{pass("b")}, none)
	f([]answer{pass("a")}, []answer{down}, none)
	f([]answer{down}, []answer{down}, none)
	f([]answer{{id: "a", verdict: verdict.Undecided}}, []answer{pass("a")}, none)
}

func TestMissing(t *testing.T) {
	base := []answer{pass("a"), pass("b"), pass("c"), fail("d")}
	head := []answer{pass("a"), {id: "b", failed: "timeout: late"}, pass("c"), fail("d")}
	c := compared(t, base, head, Options{})
	d := find(t, c.Metrics, record.MetricPassRate, "")
	if d.Missing != 1 || d.Pairs != 3 || *d.Base != 2./3 || *d.Head != 2./3 {
		t.Errorf("missing %d, pairs %d, base %s, head %s", d.Missing, d.Pairs, show(d.Base), show(d.Head))
	}
	if c.Counts != (record.FlipCounts{ToError: 1, Same: 3}) || len(c.Flips) != 1 || c.Flips[0].HeadReason != "timeout: late" {
		t.Errorf("%+v %+v", c.Counts, c.Flips)
	}
	// A NaN is missing, not a number.
	head[1] = answer{id: "b", verdict: verdict.Pass, score: math.NaN()}
	if d := find(t, compared(t, base, head, Options{}).Metrics, "acc", ""); d.Missing != 1 || d.Pairs != 3 {
		t.Errorf("a NaN: %+v", d)
	}
}

// pairedAnswers are b cases that got worse, c that improved, and the rest unchanged.
func pairedAnswers(b, c, both, neither int) (base, head []answer) {
	add := func(n int, x, y func(string) answer) {
		for range n {
			id := fmt.Sprintf("case %d", len(base))
			base, head = append(base, x(id)), append(head, y(id))
		}
	}
	add(b, pass, fail)
	add(c, fail, pass)
	add(both, pass, pass)
	add(neither, fail, fail)
	return base, head
}

func TestMcNemar(t *testing.T) {
	base, head := pairedAnswers(10, 25, 40, 25)
	d := find(t, compared(t, base, head, Options{}).Metrics, record.MetricPassRate, "")
	if d.Test != testMcNemar || d.Interval != intervalTango || *d.Worse != 10 || *d.Improved != 25 {
		t.Errorf("%+v", d)
	}
	if show(d.P) != "0.0113" || show(d.Diff) != "0.1500" { // statistics.md, vector 6
		t.Errorf("p %s, diff %s", show(d.P), show(d.Diff))
	}
	if *d.PWorse < 0.98 || !(*d.Low < 0.15 && 0.15 < *d.High && *d.Low > 0) {
		t.Errorf("%s %s %s", show(d.PWorse), show(d.Low), show(d.High))
	}
	// SE of paired differences: √(Σd² − (Σd)²/n)/√(n(n−1)).
	want := math.Sqrt((35 - 15.0*15/100) / (100 * 99))
	if math.Abs(*d.Stderr-want) > 1e-12 {
		t.Errorf("stderr %v, want %v", *d.Stderr, want)
	}
	// The two shares as if they were independent.
	if want := math.Sqrt((.5*.5 + .65*.35) / 99); math.Abs(*d.Unpaired-want) > 1e-12 {
		t.Errorf("unpaired %v, want %v", *d.Unpaired, want)
	}
	// An error rate gets better downwards.
	e := find(t, compared(t, base, head, Options{}).Metrics, record.MetricErrorRate, "")
	if e.Better != "lower" || *e.Worse != 0 || *e.PWorse < 0.5 || *e.P != 1 {
		t.Errorf("%+v", e)
	}
}

// mirrored checks that b is a with base and head exchanged.
func mirrored(t *testing.T, a, b record.Difference, tol float64) {
	t.Helper()
	same := func(what string, x, y *float64, sign float64) {
		t.Helper()
		if (x == nil) != (y == nil) || x != nil && math.Abs(*x-sign**y) > tol {
			t.Errorf("%s[%s] %s: %s against %s", a.Metric, a.Tag, what, show(x), show(y))
		}
	}
	same("base", a.Base, b.Head, 1)
	same("head", a.Head, b.Base, 1)
	same("diff", a.Diff, b.Diff, -1)
	same("stderr", a.Stderr, b.Stderr, 1)
	same("unpaired", a.Unpaired, b.Unpaired, 1)
	same("low", a.Low, b.High, -1)
	same("high", a.High, b.Low, -1)
	same("p", a.P, b.P, 1)
	if a.Missing != b.Missing || a.Pairs != b.Pairs || a.Clusters != b.Clusters || a.Test != b.Test || a.Interval != b.Interval {
		t.Errorf("%+v against %+v", a, b)
	}
}

// many are answers with groups, tags, ratios, statistics and times that depend on the seed.
func many(n, repeats int, seed float64) []answer {
	var out []answer
	for i := range n {
		for r := range repeats {
			x := math.Abs(math.Sin(float64(i*7+r*3)*12.9898 + seed))
			a := answer{id: fmt.Sprintf("case %d", i), repeat: r, score: math.Round(x*100) / 100, words: 5 + math.Floor(x*10), hits: math.Floor(x * 5), stats: []float64{x, 1 + x}, secs: 0.1 + x}
			if x > 0.4 {
				a.verdict = verdict.Pass
			} else {
				a.verdict = verdict.Fail
			}
			if i%3 == 0 {
				a.group = fmt.Sprintf("group %d", i%12)
			}
			if i%2 == 0 {
				a.tags = []string{"even"}
			}
			out = append(out, a)
		}
	}
	return out
}

func TestIdenticalRuns(t *testing.T) {
	f := func(list []answer) {
		t.Helper()
		c := compared(t, list, list, Options{})
		for _, d := range slices.Concat(c.Metrics, c.Slices) {
			if d.Diff == nil || *d.Diff != 0 || *d.P != 1 || d.Missing != 0 || *d.PWorse < 0.5 || *d.Adjusted < 0.5 {
				t.Errorf("%s[%s]: diff %s, p %s, one-sided %s, missing %d", d.Metric, d.Tag, show(d.Diff), show(d.P), show(d.PWorse), d.Missing)
			}
			if d.Low != nil && !(*d.Low <= 0 && *d.High >= 0) {
				t.Errorf("%s[%s]: interval %s to %s without 0", d.Metric, d.Tag, show(d.Low), show(d.High))
			}
		}
		if len(c.Flips) > 0 || c.Counts.Worse+c.Counts.Improved > 0 {
			t.Errorf("flips %+v", c.Counts)
		}
	}
	f(many(60, 1, 1))
	f(many(40, 3, 1))
	f([]answer{pass("a"), pass("b"), pass("c")})
}

// Seconds below 1 are no share: nothing says that a case might take a whole one.
func TestStillSeconds(t *testing.T) {
	list := many(10, 1, 1)
	for i := range list {
		list[i].secs = 0.001
	}
	d := find(t, compared(t, list, list, Options{}).Metrics, "latency", "")
	if d.Interval != intervalStill || d.High == nil || *d.High <= 0 || *d.High > 0.001 {
		t.Errorf("%s to %s by %s", show(d.Low), show(d.High), d.Interval)
	}
}

func TestExchangeMirrors(t *testing.T) {
	f := func(a, b []answer, tol float64) {
		t.Helper()
		there, back := compared(t, a, b, Options{}), compared(t, b, a, Options{})
		for i := range there.Metrics {
			mirrored(t, there.Metrics[i], back.Metrics[i], tol)
		}
		for i := range there.Slices {
			mirrored(t, there.Slices[i], back.Slices[i], tol)
		}
		if there.Counts.Worse != back.Counts.Improved || there.Counts.Improved != back.Counts.Worse {
			t.Errorf("%+v against %+v", there.Counts, back.Counts)
		}
	}
	// Resampling makes ends and p-values differ by its noise.
	f(many(90, 1, 1), many(90, 1, 2), 0.02)
	f(many(40, 3, 1), many(40, 3, 2), 0.02)
	f(many(40, 2, 1), many(40, 3, 2), 0.02)
	base, head := pairedAnswers(3, 9, 30, 20)
	f(base, head, 1e-9)
}

func TestProcedures(t *testing.T) {
	f := func(c *record.Comparison, metric, test, interval string) {
		t.Helper()
		d := find(t, c.Metrics, metric, "")
		if d.Test != test || d.Interval != interval {
			t.Errorf("%s: %q, %q (%s), want %q, %q", metric, d.Test, d.Interval, d.Why, test, interval)
		}
	}
	plain := func(list []answer) []answer {
		for i := range list {
			list[i].group = ""
		}
		return list
	}
	c := compared(t, plain(many(60, 1, 1)), plain(many(60, 1, 2)), Options{})
	f(c, "pass_rate", testMcNemar, intervalTango)
	f(c, "acc", testSignFlip, intervalScore)
	f(c, "latency", testSignFlip, intervalScore)
	f(c, "hits", testSwap, intervalScore)
	f(c, "corp", testSwap, intervalScore)
	f(c, "error_rate", testMcNemar, intervalTango)
	// Repeats and groups make clusters.
	c = compared(t, plain(many(60, 2, 1)), plain(many(60, 2, 2)), Options{})
	f(c, "pass_rate", testSignFlip, intervalScore)
	f(c, "error_rate", testSignFlip+", exact", intervalStill)
	// The signs of few clusters can be counted out.
	c = compared(t, plain(many(10, 2, 1)), plain(many(10, 2, 2)), Options{})
	f(c, "pass_rate", testSignFlip+", exact", intervalScore)
}

func TestGroups(t *testing.T) {
	base, head := pairedAnswers(6, 2, 10, 6)
	for i := range base {
		base[i].group, head[i].group = "one", "one"
	}
	d := find(t, compared(t, base, head, Options{}).Metrics, record.MetricPassRate, "")
	if d.Clusters != 1 || d.P != nil || d.Low != nil || d.Stderr != nil || d.Why == "" || d.Diff == nil {
		t.Errorf("one group: %+v", d)
	}
	for i := range head {
		head[i].group = fmt.Sprint("group ", i/2)
	}
	c := compared(t, base, head, Options{})
	d = find(t, c.Metrics, record.MetricPassRate, "")
	if d.Clusters != 12 || *d.Worse != 6 || *d.Improved != 2 || !strings.HasPrefix(d.Test, testSignFlip) {
		t.Errorf("pairs of cases: %+v", d)
	}
	if !slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, "24 cases are in another group") }) {
		t.Errorf("warnings %q", c.Warnings)
	}
}

// With different numbers of repeats a case is the mean of its own.
func TestRepeats(t *testing.T) {
	base := []answer{{id: "a", score: 1, verdict: verdict.Pass}, {id: "b", score: 0.5, verdict: verdict.Pass}}
	var head []answer
	for r, x := range []float64{0, 1, 0.5} {
		head = append(head, answer{id: "a", repeat: r, score: x, verdict: verdict.Pass})
	}
	for r, x := range []float64{0, 0, 0} {
		head = append(head, answer{id: "b", repeat: r, score: x, verdict: verdict.Pass})
	}
	c := compared(t, base, head, Options{})
	d := find(t, c.Metrics, "acc", "")
	if *d.Base != 0.75 || *d.Head != 0.25 || d.Clusters != 2 || d.Missing != 0 {
		t.Errorf("%+v: base %s head %s", d, show(d.Base), show(d.Head))
	}
	// A repeat that is lacking is missing, and the case is the mean of the others.
	head[1] = answer{id: "a", repeat: 1, failed: "timeout: late"}
	d = find(t, compared(t, base, head, Options{}).Metrics, "acc", "")
	if d.Missing != 1 || *d.Head != 0.125 {
		t.Errorf("missing %d, head %s", d.Missing, show(d.Head))
	}
	// With as many repeats, repeat is paired with repeat.
	two := func(x, y float64) []answer {
		return []answer{{id: "a", score: x, verdict: verdict.Pass}, {id: "a", repeat: 1, score: y, verdict: verdict.Pass}, {id: "b", score: 1, verdict: verdict.Pass}, {id: "b", repeat: 1, score: 1, verdict: verdict.Pass}}
	}
	head = two(0, 1)
	head[1] = answer{id: "a", repeat: 1, failed: "timeout: late"}
	d = find(t, compared(t, two(1, 0.5), head, Options{}).Metrics, "acc", "")
	if d.Missing != 1 || d.Pairs != 2 || *d.Base != 1 || math.Abs(*d.Head-2./3) > 1e-15 {
		t.Errorf("%+v: base %s head %s", d, show(d.Base), show(d.Head))
	}
}

func TestSlices(t *testing.T) {
	base, head := pairedAnswers(8, 0, 20, 2)
	for i := range base {
		if i < 12 {
			head[i].tags = []string{"hard", "all", "hard"}
		} else {
			head[i].tags = []string{"all"}
		}
	}
	c := compared(t, base, head, Options{})
	d := find(t, c.Slices, record.MetricPassRate, "hard")
	if d.Pairs != 12 || *d.Worse != 8 || *d.Adjusted < *d.P {
		t.Errorf("%+v", d)
	}
	for _, d := range c.Slices {
		if d.Tag == "all" {
			t.Errorf("the slice of all cases is the whole: %+v", d)
		}
	}
}

// Of many tags the most frequent have slices, and those that are asked for.
func TestManyTags(t *testing.T) {
	base, head := many(400, 1, 1), many(400, 1, 2)
	for i := range base {
		tags := []string{fmt.Sprintf("rare %d", i)}
		if i >= 200 {
			tags = append(tags, fmt.Sprintf("frequent %d", i%100))
		}
		base[i].tags, head[i].tags = tags, tags
	}
	c := compared(t, base, head, Options{Metrics: []string{"acc"}, Tags: []string{"rare 7"}})
	if len(c.Slices) != maxTags || c.Slices[0].Tag != "rare 7" || c.Slices[0].Pairs != 1 {
		t.Errorf("%d slices, the first of %q", len(c.Slices), c.Slices[0].Tag)
	}
	for _, d := range c.Slices[1:] {
		if !strings.HasPrefix(d.Tag, "frequent ") || d.Pairs != 2 {
			t.Errorf("a slice of %q with %d cases", d.Tag, d.Pairs)
		}
	}
	if want := "400 less frequent tags have no slices: the 100 most frequent are compared"; !slices.Contains(c.Warnings, want) {
		t.Errorf("warnings %q, want %q", c.Warnings, want)
	}
}

func TestSignatures(t *testing.T) {
	f := func(change func(*record.Run), metrics []string, want string) {
		t.Helper()
		base, head := made(t, "base", many(10, 1, 1)), made(t, "head", many(10, 1, 2))
		change(head.Run)
		_, err := Runs(base, head, Options{Metrics: metrics, Finishers: share})
		if want == "" {
			if err != nil {
				t.Errorf("%v", err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %q", err, want)
		}
		_, one := errors.AsType[*config.Error](err)
		_, several := errors.AsType[config.Errors](err)
		if !one && !several {
			t.Errorf("%v is not a user's mistake", err)
		}
	}
	signed := func(name, signature string) func(*record.Run) {
		return func(r *record.Run) {
			m := r.Metrics[name]
			m.Signature = signature
			r.Metrics[name] = m
		}
	}
	f(signed("acc", "equals/2"), nil, `metric "acc" was made by different recipes and cannot be compared: base "equals/1", head "equals/2"`)
	f(signed("acc", "equals/2"), []string{"hits"}, "")
	f(signed("acc", "mixed:1"), nil, "different recipes")
	f(func(r *record.Run) { signed("acc", "mixed:1")(r); r.Dataset.Hash = "other" }, nil, "")
	f(func(r *record.Run) { r.Scorers["acc"] = "equals/2" }, nil, `rest on the assertion "acc", whose recipe changed`)
	f(func(r *record.Run) { delete(r.Metrics, "hits") }, nil, "")
	f(func(r *record.Run) { delete(r.Metrics, "hits") }, []string{"hits"}, "the head has no such metric")
	f(func(*record.Run) {}, []string{"nope"}, `"nope": neither run has such a metric; want one of acc, corp, error_rate`)
}

// What one recipe made is refused in one sentence.
func TestRecipes(t *testing.T) {
	base, head := made(t, "base", many(10, 1, 1)), made(t, "head", many(10, 1, 2))
	for _, name := range []string{"judge", "judge.tie", "judge.win"} {
		base.Run.Metrics[name], head.Run.Metrics[name] = record.Metric{Signature: "judge/1|a"}, record.Metric{Signature: "judge/1|b"}
	}
	_, err := Runs(base, head, Options{Finishers: share})
	want := `metrics judge, judge.tie, judge.win were made by different recipes and cannot be compared: base "judge/1|a", head "judge/1|b"`
	if list, several := errors.AsType[config.Errors](err); err == nil || several && len(list) > 1 || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Other assertions on the same case make another pass rate.
func TestJudgedAlike(t *testing.T) {
	base, head := made(t, "base", many(10, 1, 1)), made(t, "head", many(10, 1, 2))
	samples := head.Samples
	head.Samples = func() iter.Seq2[record.Sample, error] {
		return func(yield func(record.Sample, error) bool) {
			for s := range samples() {
				one := 1.0
				s.Scores = append(slices.Clone(s.Scores), record.Score{Name: "more", Value: &one})
				if !yield(s, nil) {
					return
				}
			}
		}
	}
	_, err := Runs(base, head, Options{Finishers: share})
	if err == nil || !strings.Contains(err.Error(), "10 of the paired cases") {
		t.Errorf("got %v", err)
	}
	// The same name for another kind of assertion.
	other := head
	other.Samples = func() iter.Seq2[record.Sample, error] {
		return func(yield func(record.Sample, error) bool) {
			for s := range samples() {
				s.Scores = slices.Clone(s.Scores)
				s.Scores[0].Type = "contains"
				if !yield(s, nil) {
					return
				}
			}
		}
	}
	if _, err := Runs(base, other, Options{Finishers: share}); err == nil || !strings.Contains(err.Error(), "10 of the paired cases") {
		t.Errorf("another type: %v", err)
	}
	if _, err := Runs(base, head, Options{Finishers: share, Metrics: []string{"acc"}}); err != nil {
		t.Errorf("acc alone: %v", err)
	}
}

func TestSnapshots(t *testing.T) {
	f := func(base, head string, o Options, want string) {
		t.Helper()
		side := func(providers string) Side {
			r := &record.Run{}
			for _, p := range strings.Fields(providers) {
				name, prompt, _ := strings.Cut(p, "/")
				r.Snapshots = append(r.Snapshots, record.Snapshot{Provider: name, Prompt: prompt, ID: p})
			}
			return Side{Name: "run", Run: r}
		}
		b, h := side(base), side(head)
		pairs, warnings, err := pairSnapshots(&b, &h, &o)
		var got []string
		for _, p := range pairs {
			got = append(got, p.BaseID+"="+p.HeadID)
		}
		if len(warnings) > 0 {
			got = append(got, fmt.Sprint(len(warnings), " not compared"))
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if s := strings.Join(got, " "); s != want && (err == nil || !strings.Contains(s, want)) {
			t.Errorf("%s with %s: %s, want %s", base, head, s, want)
		}
	}
	f("a/1", "a/1", Options{}, "a/1=a/1")
	f("a/1", "b/2", Options{}, "a/1=b/2")
	f("a/1 b/1", "b/1 a/1", Options{}, "a/1=a/1 b/1=b/1")
	f("a/1 b/1", "a/1 c/1", Options{}, "a/1=a/1 b/1=c/1")
	f("a/1 b/1", "a/1", Options{}, "a/1=a/1 1 not compared")
	f("a/1 b/1", "c/1 d/1", Options{}, `only in the base "a · 1", "b · 1"; only in the head "c · 1", "d · 1"`)
	f("a/1 b/1", "c/1 d/1", Options{BaseProvider: "b", HeadProvider: "c"}, "b/1=c/1")
	f("a/1 b/1", "a/1 b/1", Options{BaseProvider: "a", HeadProvider: "b"}, "a/1=b/1")
	f("a/1 a/2 b/1 b/2", "a/1 a/2 b/1 b/2", Options{BaseProvider: "a", HeadProvider: "b"}, "a/1=b/1 a/2=b/2")
	f("a/1 a/2 b/1 b/2", "a/1 a/2 b/1 b/2", Options{BasePrompt: "1", HeadPrompt: "2"}, "a/1=a/2 b/1=b/2")
	f("a/1 b/1", "a/1 b/1", Options{BaseProvider: "x"}, `--base-provider: "x": run has no such snapshot; want one of "a · 1", "b · 1"`)
	f("a/1 b/1", "a/1 b/1", Options{HeadPrompt: "3"}, `--head-prompt: "3"`)
}

func TestFlips(t *testing.T) {
	base, head := pairedAnswers(2, 1, 3, 2)
	head[3] = answer{id: "case 3", failed: "timeout: late"}
	c := compared(t, base, head, Options{})
	if c.Counts != (record.FlipCounts{Worse: 2, Improved: 1, ToError: 1, Same: 4}) {
		t.Errorf("%+v", c.Counts)
	}
	var got []string
	for _, f := range c.Flips {
		got = append(got, f.Case+": "+f.From+" to "+f.To)
	}
	want := []string{"case 0: pass to fail", "case 1: pass to fail", "case 3: pass to error", "case 2: fail to pass"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	first := c.Flips[0]
	if first.BaseOutput != "said case 0" || first.HeadOutput != "said case 0" || first.Input != "asked case 0" || first.HeadReason != "acc: because" || first.BaseReason != "" {
		t.Errorf("%+v", first)
	}
}

func TestBadSamples(t *testing.T) {
	f := func(list []answer, want string) {
		t.Helper()
		side := made(t, "run", list)
		side.Run.Repeats = 1
		side.Run.Snapshots = side.Run.Snapshots[:1]
		_, err := Runs(side, side, Options{Finishers: share})
		if _, ok := errors.AsType[*config.Error](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f([]answer{pass("a"), pass("a")}, `run: a sample of case "a" is there twice: repeat 0 of m · p`)
	f([]answer{pass("a"), {id: "a", repeat: 1}}, `is repeat 1 of 1`)
	f([]answer{pass("a"), {id: "b", who: "other"}}, `belongs to no snapshot of the run: "other · p"`)
}

func TestOptions(t *testing.T) {
	f := func(o Options, want string) {
		t.Helper()
		_, err := Runs(made(t, "base", many(3, 1, 1)), made(t, "head", many(3, 1, 1)), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(Options{Alpha: 1.5}, `--alpha: "1.5": not a probability`)
	f(Options{Alpha: math.NaN()}, `--alpha: "NaN"`)
	f(Options{Level: -1}, "--level")
	f(Options{Correction: "bh"}, `--correction: "bh": no such correction`)
	f(Options{SliceCorrection: "holm"}, "--slice-correction")
	f(Options{Better: map[string]string{"acc": "up"}}, `acc: "up": not a direction`)
}

// A direction that is given decides what is worse.
func TestBetter(t *testing.T) {
	base, head := pairedAnswers(12, 1, 20, 5)
	c := compared(t, base, head, Options{Better: map[string]string{record.MetricPassRate: "lower"}})
	d := find(t, c.Metrics, record.MetricPassRate, "")
	if *d.Worse != 1 || *d.PWorse < 0.9 || *d.Bound != *d.High && *d.Bound > *d.High {
		t.Errorf("%+v", d)
	}
}

// Vectors 10 and 11 of the reference figures, as differences from a base of zeros.
func TestKnownFigures(t *testing.T) {
	f := func(heads []float64, groups []int, test, interval, p string, stderr float64) {
		t.Helper()
		var base, head []answer
		for i, x := range heads {
			a := answer{id: fmt.Sprintf("case %d", i), verdict: verdict.Pass}
			if groups != nil {
				a.group = fmt.Sprint(groups[i])
			}
			base = append(base, a)
			a.score = x
			head = append(head, a)
		}
		d := find(t, compared(t, base, head, Options{}).Metrics, "acc", "")
		if d.Test != test || d.Interval != interval || p != "" && show(d.P) != p || stderr > 0 && math.Abs(*d.Stderr-stderr) > 1e-6 {
			t.Errorf("%s, %s, p %s, standard error %s", d.Test, d.Interval, show(d.P), show(d.Stderr))
		}
	}
	// Darwin's maize: heights of crossed less self-fertilised plants.
	f([]float64{49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48}, nil, testSignFlip+", exact", intervalScore, "0.0527", 0)
	f([]float64{1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0}, []int{0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4}, testSignFlip+", exact", intervalScore, "", .178135)
}

// The least drop is the formula's, and none where no outcome is significant: one of all 2⁴ exchanges is more than 0.05.
func TestLeastDrop(t *testing.T) {
	f := func(groups int, alpha float64, found bool) {
		t.Helper()
		base, head := many(60, 1, 1), many(60, 1, 2)
		for i := range base {
			base[i].group, head[i].group = fmt.Sprint(i%groups), fmt.Sprint(i%groups)
		}
		d := find(t, compared(t, base, head, Options{Alpha: alpha}).Metrics, "acc", "")
		if (d.MDE != nil) != found {
			t.Fatalf("%d groups at %g: %s", groups, alpha, show(d.MDE))
		}
		if want := (1.6448536 + 0.8416212) * *d.Stderr; found && alpha == 0.05 && math.Abs(*d.MDE/want-1) > 1e-6 {
			t.Errorf("%d groups: %g, want %g", groups, *d.MDE, want)
		}
	}
	f(4, 0.05, false)
	f(5, 0.05, true)
	f(5, 0.01, false)
	f(30, 0.05, true)
	g := func(cases int, found bool) {
		t.Helper()
		base, head := many(cases, 1, 1), many(cases, 1, 1)
		for i := range base {
			base[i].verdict, head[i].verdict = verdict.Pass, verdict.Fail
		}
		head[0].verdict = verdict.Pass
		if d := find(t, compared(t, base, head, Options{}).Metrics, "pass_rate", ""); (d.MDE != nil) != found {
			t.Errorf("%d cases: %s", cases, show(d.MDE))
		}
	}
	g(3, false) // mid-p is 1/16 at least
	g(4, true)
}
