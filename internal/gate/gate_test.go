package gate

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// rate is a metric as package metric makes it from independent samples.
func rate(k, n, missing int) record.Metric {
	m := record.Metric{Kind: "rate", N: n, Clusters: n, Missing: missing}
	if n == 0 {
		return m
	}
	p := float64(k) / float64(n)
	m.Mean, m.Count = &p, number(float64(k))
	i, _ := stats.Wilson(float64(k), float64(n), stats.Level)
	m.Low, m.High = &i.Low, &i.High
	if missing > 0 {
		all := float64(n + missing)
		m.Least, m.Most = number(float64(k)/all), number(float64(k+missing)/all)
	}
	return m
}

// exact is a rate of a run whose gate asked for exact intervals.
func exact(k, n, missing int) record.Metric {
	m := rate(k, n, missing)
	i, _ := stats.ClopperPearson(float64(k), float64(n), stats.Level)
	m.Low, m.High, m.Interval = &i.Low, &i.High, record.IntervalExact
	return m
}

// seconds is an unbounded mean with a 95% interval of ±half.
func seconds(mean, half float64, n, missing int) record.Metric {
	p95 := 2 * mean
	return record.Metric{Kind: "mean", Unit: "s", N: n, Clusters: n, Missing: missing, Mean: &mean,
		Low: number(mean - half), High: number(mean + half),
		Quantiles: map[string]*float64{"p50": &mean, "p95": &p95}}
}

func allPassed(n int) record.Summary {
	return record.Summary{Planned: n, Finished: n, Passed: n}
}

func facts(metrics map[string]record.Metric) Facts {
	return Facts{Summary: allPassed(100), Metrics: metrics}
}

func TestDecideRules(t *testing.T) {
	nan := math.NaN()
	broken := rate(95, 100, 0)
	broken.Mean = &nan
	brokenLow := rate(95, 100, 0)
	brokenLow.Low = &nan
	oneCase := rate(9, 10, 0)
	oneCase.Clusters, oneCase.Low, oneCase.High = 1, nil, nil
	noP99 := seconds(0.5, 0.1, 100, 0)
	metrics := map[string]record.Metric{
		"pass_rate":  rate(94, 100, 0),
		"all":        rate(100, 100, 0),
		"lost":       rate(92, 96, 4),
		"clear":      rate(96, 96, 4),
		"none":       rate(0, 0, 0),
		"gone":       rate(0, 0, 20),
		"broken":     broken,
		"broken_low": brokenLow,
		"one_case":   oneCase,
		"latency":    noP99,
		"slow":       seconds(0.5, 0.1, 96, 4),
		"exact":      exact(20, 20, 0),
		"exact_lost": exact(20, 20, 1),
		"ifeval":     rate(0, 0, 541),
		"corpus":     {Kind: "corpus", N: 10, Clusters: 10, Mean: number(48.53)},
	}
	f := func(metric, expr string, want verdict.Verdict, reason string) {
		t.Helper()
		g := Decide([]Rule{parse(t, metric, expr)}, facts(metrics))
		if g.Verdict != want || !strings.Contains(g.Reason, reason) {
			t.Errorf("%s %s: %v, %q; want %v, %q", metric, expr, g.Verdict, g.Reason, want, reason)
		}
		if g.Metric != metric || g.Want != strings.TrimSpace(expr) || len(g.Checks) != 1 {
			t.Errorf("%s %s: %+v", metric, expr, g)
		}
		if _, err := json.Marshal(g); err != nil {
			t.Errorf("%s %s: %v", metric, expr, err)
		}
	}
	f("pass_rate", ">= 0.95", verdict.Fail, "pass_rate 0.9400 (94/100, 95% interval 0.875–0.972) is below 0.95")
	f("pass_rate", ">= 0.94", verdict.Pass, "is at least 0.94")
	f("pass_rate", "> 0.94", verdict.Fail, "is not above 0.94")
	f("pass_rate", "<= 0.94", verdict.Pass, "is at most 0.94")
	f("pass_rate", "< 0.94", verdict.Fail, "is not below 0.94")
	f("pass_rate", "== 94%", verdict.Pass, "is 0.94")
	f("pass_rate", ">= 0.90", verdict.Pass, "reaches to both sides")
	// Fail closed.
	f("none", ">= 0.5", verdict.Undecided, "no data")
	f("none", "n >= 1", verdict.Undecided, "no data")
	f("none", "n <= 1", verdict.Undecided, "no data")
	f("none", "low >= 0.1", verdict.Undecided, "no data")
	f("gone", ">= 0.5", verdict.Undecided, "20 observations, and all are missing")
	f("broken", ">= 0.5", verdict.Undecided, "not a number")
	f("broken", "<= 0.5", verdict.Undecided, "not a number")
	f("broken_low", "low >= 0.1", verdict.Undecided, "no low")
	f("ttft", "<= 2s", verdict.Undecided, "not measured")
	f("pas_rate", ">= 0.5", verdict.Undecided, "did you mean pass_rate")
	f("zzz", ">= 0.5", verdict.Undecided, "the run has all, broken")
	f("ifeval.prompt_strict", ">= 0.5", verdict.Undecided, "ifeval gave no result on 541 samples")
	f("all", "<= 2s", verdict.Error, "the bar \"<= 2s\" is in s")
	f("slow", "<= 20%", verdict.Error, "is measured in s")
	// Evidence.
	f("pass_rate", "low >= 0.8", verdict.Pass, "its 95% interval is at least 0.8")
	f("pass_rate", "low >= 0.98", verdict.Fail, "its 95% interval is below 0.98")
	f("pass_rate", "low >= 0.9", verdict.Undecided, "not enough evidence to tell it from 0.9; about 120 more samples")
	f("pass_rate", "low >= 0.94", verdict.Undecided, "no number of samples settles")
	f("pass_rate", "high < 0.99", verdict.Pass, "")
	f("pass_rate", "high <= 0.8", verdict.Fail, "is above 0.8")
	f("one_case", "low >= 0.5", verdict.Undecided, "at least 2 independent cases, and there is 1")
	f("corpus", "low >= 40", verdict.Undecided, "no spread is known")
	f("latency", "high <= 1s", verdict.Pass, "")
	f("latency", "high <= 550ms", verdict.Undecided, "more samples")
	// Missing observations.
	f("lost", ">= 0.95", verdict.Undecided, "4 of 100 observations have no result; between 0.9200 and 0.9600, and the bar is 0.95")
	f("lost", ">= 0.92", verdict.Pass, "whatever the 4 missing observations would be")
	f("lost", ">= 0.97", verdict.Fail, "is below 0.97")
	f("lost", "n >= 96", verdict.Pass, "lost n 96 is at least 96")
	f("lost", "n >= 97", verdict.Fail, "")
	f("lost", "count >= 92", verdict.Pass, "")
	f("lost", "count >= 94", verdict.Undecided, "")
	f("lost", "count >= 97", verdict.Fail, "")
	f("lost", "count <= 91", verdict.Fail, "")
	f("lost", "low >= 0.8", verdict.Pass, "")
	f("clear", "low >= 0.92", verdict.Undecided, "the 4 missing observations could tip it")
	f("lost", "low >= 0.999", verdict.Fail, "")
	// Wilson's interval of 20 in 20 begins at 0.8389, the exact one at 0.8316.
	f("exact", "low >= 0.83", verdict.Pass, "(20/20, 95% exact interval 0.832–1.000): its 95% interval is at least 0.83")
	f("exact", "low >= 0.835", verdict.Undecided, "about 1 more sample would tell")
	f("exact", "low >= 0.9", verdict.Undecided, "about 16 more samples would tell")
	f("exact_lost", "low >= 0.83", verdict.Undecided, "the 1 missing observation could tip it")
	f("exact_lost", "low >= 0.76", verdict.Undecided, "")
	f("exact_lost", "low >= 0.75", verdict.Pass, "")
	f("slow", "<= 1s", verdict.Undecided, "could be anything")
	f("slow", "p95 <= 2s", verdict.Undecided, "could be anything")
	f("slow", "high <= 2s", verdict.Undecided, "")
	f("slow", "total <= 10s", verdict.Fail, "slow total 48 s is above 10 s")
	f("slow", "total <= 50s", verdict.Undecided, "it could be more")
	// Stats.
	f("latency", "p95 <= 1s", verdict.Pass, "latency p95 1 s is at most 1 s")
	f("latency", "p95 < 1s", verdict.Fail, "is not below 1 s")
	f("latency", "p99 <= 1s", verdict.Undecided, "no p99")
	f("all", "p95 >= 0.5", verdict.Undecided, "no p95")
	f("latency", "total == 50", verdict.Pass, "")
	f("slow", "count >= 1", verdict.Undecided, "no count")
	f("corpus", ">= 48.5", verdict.Pass, "corpus 48.53 (n 10) is at least 48.5")
	f("corpus", "total >= 1", verdict.Undecided, "not a sum")
	f("corpus", "n == 10", verdict.Pass, "")
}

// An error_rate rule that passed accepts as large a share of missing observations, where nothing
// bounds what they would have been.
func TestAcceptedErrors(t *testing.T) {
	f := func(errs, missing int, rules []string, want verdict.Verdict) {
		t.Helper()
		in := map[string]record.Metric{
			"error_rate": rate(errs, 100, 0),
			"latency":    seconds(0.5, 0.1, 100-missing, missing),
			"pass_rate":  rate(95, 100-missing, missing),
		}
		var rs []Rule
		for _, s := range rules {
			metric, expr, _ := strings.Cut(s, " ")
			rs = append(rs, parse(t, metric, expr))
		}
		if g := Decide(rs, facts(in)); g.Verdict != want {
			t.Errorf("%d errors, %d missing, %v: %v, %s", errs, missing, rules, g.Verdict, g.Reason)
		}
	}
	f(2, 2, []string{"latency <= 1s"}, verdict.Undecided)
	f(2, 2, []string{"latency <= 1s", "error_rate <= 0.02"}, verdict.Pass)
	f(2, 2, []string{"latency high <= 1s", "error_rate <= 0.02"}, verdict.Pass)
	f(2, 2, []string{"latency <= 0.1s", "error_rate <= 0.02"}, verdict.Fail)
	f(2, 3, []string{"latency <= 1s", "error_rate <= 0.02"}, verdict.Undecided)
	f(2, 2, []string{"latency <= 1s", "error_rate < 0.03", "error_rate <= 0.5"}, verdict.Pass)
	f(2, 2, []string{"latency <= 1s", "error_rate <= 0.01"}, verdict.Fail)
	f(2, 2, []string{"latency <= 1s", "error_rate >= 0.01"}, verdict.Undecided)
	// A rate is judged by its bounds all the same.
	f(2, 2, []string{"pass_rate >= 0.96", "error_rate <= 0.02"}, verdict.Undecided)
}

func TestDefaultGate(t *testing.T) {
	f := func(s record.Summary, want verdict.Verdict, reason string) {
		t.Helper()
		g := Decide(nil, Facts{Summary: s})
		if g.Verdict != want || !strings.Contains(g.Reason, reason) {
			t.Errorf("%+v: %v, %q; want %v, %q", s, g.Verdict, g.Reason, want, reason)
		}
	}
	f(record.Summary{}, verdict.Undecided, "no sample to judge")
	f(allPassed(3), verdict.Pass, "3 of 3 samples passed")
	f(record.Summary{Planned: 3, Finished: 3, Passed: 2, Failed: 1}, verdict.Fail, "1 of 3 samples failed")
	f(record.Summary{Planned: 3, Finished: 3, Passed: 1, Failed: 1, Errored: 1}, verdict.Fail, "failed")
	f(record.Summary{Planned: 3, Finished: 3, Passed: 2, Errored: 1, Errors: map[string]int{"timeout": 1}},
		verdict.Error, "1 of 3 samples ended in an error: timeout 1×")
	f(record.Summary{Planned: 20, Finished: 20, Errored: 20, Errors: map[string]int{"connection": 20}},
		verdict.Error, "no sample got an answer: connection 20×")
	f(record.Summary{Planned: 3, Finished: 3, Passed: 2, Undecided: 1}, verdict.Undecided, "1 of 3 samples have no verdict")
	f(record.Summary{Planned: 3, Finished: 2, Passed: 2, Stopped: "the budget of $1 was spent"},
		verdict.Undecided, "1 of 3 samples were not run: the budget of $1 was spent")
	f(record.Summary{Planned: 3}, verdict.Undecided, "3 of 3 samples were not run")
	f(record.Summary{Planned: 3, Finished: 3}, verdict.Undecided, "do not add up")
}

func TestAllErrorsWithRules(t *testing.T) {
	f := Facts{Summary: record.Summary{Planned: 20, Finished: 20, Errored: 20, Errors: map[string]int{"connection": 18, "timeout": 2}},
		Metrics: map[string]record.Metric{"pass_rate": rate(0, 0, 20), "error_rate": rate(20, 20, 0)}}
	g := Decide([]Rule{parse(t, "pass_rate", ">= 0.5")}, f)
	if g.Verdict != verdict.Error || g.Reason != "no sample got an answer: connection 18×, timeout 2×" {
		t.Errorf("%+v", g.Decision)
	}
}

func TestCriticalCases(t *testing.T) {
	good := map[string]record.Metric{"pass_rate": rate(99, 100, 0)}
	f := func(s record.Summary, want verdict.Verdict, reason string) {
		t.Helper()
		g := Decide([]Rule{parse(t, "pass_rate", ">= 0.95")}, Facts{Summary: s, Metrics: good})
		if g.Verdict != want || !strings.Contains(g.Reason, reason) {
			t.Errorf("%v, %q; want %v, %q", g.Verdict, g.Reason, want, reason)
		}
	}
	s := allPassed(100)
	f(s, verdict.Pass, "")
	s.CriticalUnproved = 1
	f(s, verdict.Undecided, "1 critical sample without a pass")
	s.CriticalFailed = []string{"refund", "b", "c", "d", "e", "f", "g"}
	f(s, verdict.Fail, "critical cases failed: refund, b, c, d, e and 2 more")
}

func TestSnapshots(t *testing.T) {
	f := Facts{Summary: allPassed(200), Metrics: map[string]record.Metric{"pass_rate": rate(190, 200, 0)},
		Snapshots: []Snapshot{
			{Label: "small", Metrics: map[string]record.Metric{"pass_rate": rate(91, 100, 0)}},
			{Metrics: map[string]record.Metric{"pass_rate": rate(99, 100, 0)}},
		}}
	g := Decide([]Rule{parse(t, "pass_rate", ">= 0.95")}, f)
	if g.Verdict != verdict.Fail || len(g.Checks) != 2 || !strings.HasPrefix(g.Reason, "small: pass_rate 0.9100") ||
		!strings.HasPrefix(g.Checks[1].Reason, "snapshot 2: ") {
		t.Errorf("%+v", g)
	}
	g = Decide([]Rule{parse(t, "pass_rate", ">= 0.9")}, f)
	if g.Verdict != verdict.Pass || !strings.HasPrefix(g.Reason, "all 2 checks passed; small: ") {
		t.Errorf("%+v", g.Decision)
	}
}

// A metric that does not account for samples that were never run is not trusted.
func TestUnfinishedNotAccountedFor(t *testing.T) {
	f := Facts{Summary: record.Summary{Planned: 200, Finished: 100, Passed: 100, Stopped: "interrupted"},
		Metrics: map[string]record.Metric{"pass_rate": rate(100, 100, 0)}}
	g := Decide([]Rule{parse(t, "pass_rate", ">= 0.9")}, f)
	if g.Verdict != verdict.Undecided || !strings.Contains(g.Reason, "100 samples not run: interrupted") {
		t.Errorf("%+v", g.Decision)
	}
	f.Metrics["pass_rate"] = rate(100, 100, 100)
	if g := Decide([]Rule{parse(t, "pass_rate", ">= 0.4")}, f); g.Verdict != verdict.Pass {
		t.Errorf("half the samples are enough for 0.4 whatever the rest gives: %+v", g.Decision)
	}
}

// Whatever a rule asks, one more missing observation never turns a run that did not pass into one
// that does.
func TestMissingNeverHelps(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	passes := 0
	for range 20_000 {
		n := 1 + rng.IntN(60)
		k := rng.IntN(n + 1)
		missing := rng.IntN(5)
		stat := allStats[rng.IntN(len(allStats))]
		bar := rng.Float64()
		unit := seconds(1, 0.2, n, missing)
		if rng.IntN(3) == 0 && n > 0 {
			bar = float64(rng.IntN(n+1)) / float64(n) // on the edge
		}
		if stat == N || stat == Count || stat == Total {
			bar = float64(rng.IntN(70))
		}
		r := Rule{Metric: "x", Stat: stat, Op: ops[rng.IntN(len(ops))], Bar: bar}
		accept := Rule{Metric: "error_rate", Stat: Mean, Op: LessEqual, Bar: rng.Float64() / 5}
		before, after := rate(k, n, missing), rate(k, n, missing+1)
		if rng.IntN(2) == 0 {
			before, after = unit, seconds(1, 0.2, n, missing+1)
			r.Bar *= 3
		}
		decide := func(m record.Metric) verdict.Verdict {
			rules := []Rule{r}
			if accept.Bar < 0.1 {
				rules = append(rules, accept)
			}
			errs := rate(m.Missing, n+m.Missing, 0)
			return Decide(rules, facts(map[string]record.Metric{"x": m, "error_rate": errs})).Verdict
		}
		b, a := decide(before), decide(after)
		if a == verdict.Pass {
			passes++
			if b != verdict.Pass {
				t.Fatalf("%+v on %+v: %v, with one more missing %v", r, before, b, a)
			}
		}
	}
	if passes < 1000 {
		t.Errorf("only %d of 20,000 passed: the property was hardly tried", passes)
	}
}

func TestReasonsTellNumbersApart(t *testing.T) {
	f := func(x, bar float64, want string) {
		t.Helper()
		if got := against(x, bar, ""); got != want {
			t.Errorf("against(%v, %v) = %q, want %q", x, bar, got, want)
		}
	}
	f(0.94, 0.95, "0.9400")
	f(0.949996, 0.95, "0.949996")
	f(0.95, 0.95, "0.95")
	f(0.95-1e-16, 0.95, "0.95")
	f(48.530827, 50, "48.531")
	f(0, 0.5, "0.0000")
	f(1234567, 1, "1234567")
	f(0.00123456, 1, "0.0012346")
}

func TestTagRules(t *testing.T) {
	rate := func(passed, n, missing float64) record.Metric {
		mean := passed / n
		return record.Metric{Kind: "rate", Mean: &mean, N: int(n), Count: &passed, Clusters: int(n), Missing: int(missing),
			Least: new(passed / (n + missing)), Most: new((passed + missing) / (n + missing))}
	}
	facts := Facts{
		Summary: record.Summary{Planned: 20, Finished: 20, Passed: 18, Failed: 2},
		Metrics: map[string]record.Metric{"pass_rate": rate(18, 20, 0)},
		Tags: map[string]map[string]record.Metric{
			"safety": {"pass_rate": rate(5, 5, 0), "quality": {Kind: "derived", Mean: new(0.5), N: 5, Clusters: 5}},
			"cut":    {"pass_rate": rate(5, 5, 1)},
		},
	}
	f := func(metric, expr string, want verdict.Verdict, reason string) {
		t.Helper()
		r, err := Parse(config.Check{Metric: metric, Expr: expr})
		if err != nil {
			t.Errorf("%s: %v", metric, err)
			return
		}
		d := Decide([]Rule{r}, facts).Checks[0]
		if d.Verdict != want || !strings.Contains(d.Reason, reason) || d.Metric != metric {
			t.Errorf("%s %s: %v %q of %s, want %v %q", metric, expr, d.Verdict, d.Reason, d.Metric, want, reason)
		}
	}
	f("pass_rate", ">= 0.95", verdict.Fail, "18/20")
	f("pass_rate[tag=safety]", ">= 0.95", verdict.Pass, "tag safety: pass_rate")
	f("pass_rate[tag=cut]", ">= 0.95", verdict.Undecided, "tag cut")
	f("pass_rate[tag=nope]", ">= 0.95", verdict.Undecided, `no case has the tag "nope"`)
	f("bleu[tag=safety]", ">= 0.95", verdict.Undecided, "bleu")
	f("quality[tag=safety]", "low >= 0.2", verdict.Undecided, "no interval")
	f("quality[tag=safety]", "total >= 0.2", verdict.Undecided, "not a sum")
	f("quality[tag=safety]", ">= 0.2", verdict.Pass, "quality")
	for _, bad := range []string{"pass_rate[tag=]", "pass_rate[safety]", "pass_rate[tag=a", "pass_rate]", "[tag=a]"} {
		if _, err := Parse(config.Check{Metric: bad, Expr: ">= 0.5"}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
