package gate

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func margin(t *testing.T, m config.Margin) Margin {
	t.Helper()
	out, err := ParseMargin(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// diff is a difference of a share on 300 cases.
func diff(metric string, d, bound, p float64) record.Difference {
	base, head := 0.9, 0.9+d
	return record.Difference{Metric: metric, Kind: "rate", Better: higher, Base: &base, Head: &head, Diff: &d, Stderr: new(0.01),
		Bound: &bound, PWorse: &p, Pairs: 300, Clusters: 300, MDE: new(0.04)}
}

func compared(metrics ...record.Difference) *record.Comparison {
	c := &record.Comparison{Alpha: 0.05, Level: 0.95, Pairs: []record.SnapshotPair{{Base: "a · p", Head: "b · p"}}, Pairing: record.Pairing{Paired: 300}}
	for _, d := range metrics {
		if d.Tag != "" {
			c.Slices = append(c.Slices, d)
		} else {
			c.Metrics = append(c.Metrics, d)
		}
	}
	return c
}

func finished(n int) record.Summary {
	return record.Summary{Planned: n, Finished: n, Passed: n}
}

func TestMarginOutcomes(t *testing.T) {
	f := func(onUndecided string, d record.Difference, want verdict.Verdict, outcome, says string) {
		t.Helper()
		reg := &Regression{Regression: config.Regression{OnUndecided: onUndecided}, Comparison: compared(d),
			Margins: []Margin{margin(t, config.Margin{Metric: "x", Margin: 0.02, Text: "0.02"})}}
		r := Decide(nil, Facts{Summary: finished(300), Regression: reg})
		c := r.Checks[0]
		if r.Verdict != want || c.Verdict != want || c.Outcome != outcome || !strings.Contains(c.Reason, says) {
			t.Errorf("%v %q: %q\nwant %v %q: %q", c.Verdict, c.Outcome, c.Reason, want, outcome, says)
		}
		if want == verdict.Pass && (c.Value == nil || *c.Value != *d.Bound) {
			t.Errorf("the deciding number is %v, want the bound %v", c.Value, *d.Bound)
		}
	}
	ok := diff("x", 0.001, -0.012, 0.55)
	small := diff("x", -0.008, -0.015, 0.01)
	bad := diff("x", -0.06, -0.09, 0.0004)
	unclear := diff("x", -0.01, -0.03, 0.2)
	real := diff("x", -0.015, -0.022, 0.01) // worse for sure, and perhaps by more than allowed
	f("", ok, verdict.Pass, NotRegressed, "the difference is +0.0010 and at worst -0.0120 (95% confidence), within the margin of 0.0200")
	f("", small, verdict.Pass, NotRegressed, "it is worse than before (p 0.0100), but by no more than is allowed")
	f("", bad, verdict.Fail, Regressed, "x 0.8400 against the baseline's 0.9000 (300 cases): worse by 0.0600, which is not chance (p 0.0004, needed 0.0500), and at worst -0.0900")
	f("", real, verdict.Fail, Regressed, "beyond the margin")
	f("", unclear, verdict.Undecided, Underpowered, "not enough evidence: the difference is -0.0100 and at worst -0.0300")
	f("", unclear, verdict.Undecided, Underpowered, "with 80% power this comparison finds 0.0400 or more, and the margin would take about 1200 cases")
	// Nothing got worse, and still the margin is below what so many cases leave open.
	still := diff("x", 0, -0.02, 0.5)
	still.MDE, still.Pairs, still.Clusters = nil, 100, 100
	f("", still, verdict.Undecided, Underpowered, "and the margin would take about 150 cases")
	f("fail", unclear, verdict.Fail, Underpowered, "on_undecided: fail")
	f("warn", unclear, verdict.Pass, Underpowered, "let through by on_undecided: warn")
	f("extend", unclear, verdict.Undecided, Underpowered, "not enough evidence")
	f("warn", bad, verdict.Fail, Regressed, "")

	// The bound must be above −m: on it is not enough but for rounding.
	f("", diff("x", 0, -0.02, 0.5), verdict.Undecided, Underpowered, "")

	// Less is better.
	up := diff("x", 0.06, 0.09, 0.0004)
	up.Better = lower
	f("", up, verdict.Fail, Regressed, "at worst +0.0900")
	down := diff("x", -0.06, -0.03, 0.9999)
	down.Better = lower
	f("", down, verdict.Pass, NotRegressed, "at worst -0.0300")
}

// Whatever is not evidence is no pass, also where doubt is let through.
func TestMarginFailsClosed(t *testing.T) {
	none := compared()
	none.Pairing.Paired = 0
	noPairs := compared(diff("x", 0, -0.001, 0.5))
	noPairs.Pairs = nil
	with := func(change func(*record.Difference)) *record.Comparison {
		d := diff("x", 0, -0.001, 0.5)
		change(&d)
		return compared(d)
	}
	nan, inf := math.NaN(), math.Inf(-1)
	f := func(name string, c *record.Comparison, s record.Summary, says string) {
		t.Helper()
		for _, on := range []string{"", "warn", "extend", "fail"} {
			reg := &Regression{Regression: config.Regression{OnUndecided: on}, Comparison: c, Margins: []Margin{margin(t, config.Margin{Metric: "x", Margin: 0.02, Text: "0.02"})},
				Looks: PlanLooks(1, 12)}
			r := Decide(nil, Facts{Summary: s, Regression: reg})
			if r.Verdict == verdict.Pass || r.Repeats != 0 || len(r.Warnings) > 0 {
				t.Errorf("%s, on_undecided %q: %v, %d repeats", name, on, r.Verdict, r.Repeats)
			}
			if !strings.Contains(r.Reason, says) {
				t.Errorf("%s: %q does not say %q", name, r.Reason, says)
			}
		}
	}
	fine := finished(300)
	f("no comparison", nil, fine, "was not compared")
	f("no snapshots in common", noPairs, fine, "no snapshot of the run is one of the baseline's")
	f("no paired case", none, fine, "no case is in both runs")
	f("no such metric", compared(diff("y", 0, 0, 0.5)), fine, "not a metric of both runs")
	f("no data", with(func(d *record.Difference) { d.Pairs, d.Diff, d.Why = 0, nil, "all observations are missing" }), fine, "all observations are missing")
	f("NaN", with(func(d *record.Difference) { d.Diff = &nan }), fine, "no number")
	f("NaN bound", with(func(d *record.Difference) { d.Bound = &nan }), fine, "cannot be tested")
	f("no bound", with(func(d *record.Difference) { d.Bound = nil }), fine, "cannot be tested")
	f("infinite bound", with(func(d *record.Difference) { d.Bound = &inf }), fine, "cannot be tested")
	f("no p", with(func(d *record.Difference) { d.PWorse = nil }), fine, "cannot be tested")
	f("NaN p", with(func(d *record.Difference) { d.PWorse = &nan }), fine, "cannot be tested")
	f("no base", with(func(d *record.Difference) { d.Base = nil }), fine, "no number")
	f("no direction", with(func(d *record.Difference) { d.Better = "" }), fine, "better: higher or lower")
	f("not run", with(func(*record.Difference) {}), record.Summary{Planned: 300, Finished: 200, Passed: 200, Stopped: "cost budget"}, "100 samples not run: cost budget")
	f("all errors", with(func(*record.Difference) {}), record.Summary{Planned: 300, Finished: 300, Errored: 300, Errors: map[string]int{"timeout": 300}}, "no sample got an answer")
	f("missing", with(func(d *record.Difference) { d.Missing = 20 }), fine, "20 observations are missing, and could make the difference -0.06")
	f("missing and unclear", with(func(d *record.Difference) { d.Missing = 1; d.Bound = new(-0.03) }), fine, "1 observation is missing")
	f("missing of a mean", with(func(d *record.Difference) { d.Missing = 1; d.Kind = "mean" }), fine, "could be anything")
}

func TestMarginMissing(t *testing.T) {
	f := func(missing int, kind, rate string, want verdict.Verdict, says string) {
		t.Helper()
		d := diff("x", 0, -0.001, 0.5)
		d.Missing, d.Kind = missing, kind
		var rules []Rule
		if rate != "" {
			rules = append(rules, parse(t, "error_rate", rate))
		}
		reg := &Regression{Comparison: compared(d), Margins: []Margin{margin(t, config.Margin{Metric: "x", Margin: 0.02, Text: "0.02"})}}
		zero := 0.0
		r := Decide(rules, Facts{Summary: finished(300), Regression: reg, Metrics: map[string]record.Metric{"error_rate": {Kind: "rate", Mean: &zero, N: 300}}})
		c := r.Checks[len(r.Checks)-1]
		if c.Verdict != want || !strings.Contains(c.Reason, says) {
			t.Errorf("%d missing: %v %q, want %v %q", missing, c.Verdict, c.Reason, want, says)
		}
	}
	f(5, "rate", "", verdict.Pass, "whatever the 5 missing observations would be")
	f(6, "rate", "", verdict.Undecided, "could make the difference")
	f(6, "rate", "<= 2%", verdict.Pass, "accepted by error_rate <= 2%")
	f(6, "mean", "<= 2%", verdict.Pass, "accepted by error_rate <= 2%")
	f(7, "mean", "<= 2%", verdict.Undecided, "could be anything")
}

func TestMarginCorrection(t *testing.T) {
	f := func(correction string, ps []float64, want string) {
		t.Helper()
		var ds []record.Difference
		var ms []Margin
		for i, p := range ps {
			name := string(rune('a' + i))
			ds = append(ds, diff(name, -0.06, -0.09, p))
			ms = append(ms, margin(t, config.Margin{Metric: name, Margin: 0.02, Text: "0.02"}))
		}
		reg := &Regression{Regression: config.Regression{Correction: correction}, Comparison: compared(ds...), Margins: ms}
		got := ""
		for _, c := range Decide(nil, Facts{Summary: finished(300), Regression: reg}).Checks {
			got += map[string]string{Regressed: "R", Underpowered: "u"}[c.Outcome]
		}
		if got != want {
			t.Errorf("%s %v: %s, want %s", correction, ps, got, want)
		}
	}
	f("none", []float64{0.04, 0.049, 0.051}, "RRu")
	f("bonferroni", []float64{0.01, 0.02, 0.03}, "Ruu")
	f("holm", []float64{0.01, 0.02, 0.03}, "RRR")
	f("", []float64{0.03, 0.01, 0.02}, "RRR")
	f("holm", []float64{0.01, 0.026, 0.03}, "Ruu")
	f("holm", []float64{0.02, 0.02, 0.02}, "uuu")
}

func TestMarginRelative(t *testing.T) {
	f := func(m config.Margin, d record.Difference, want verdict.Verdict, says string) {
		t.Helper()
		m.Metric = d.Metric
		reg := &Regression{Comparison: compared(d), Margins: []Margin{margin(t, m)}}
		c := Decide(nil, Facts{Summary: finished(300), Regression: reg}).Checks[0]
		if c.Verdict != want || !strings.Contains(c.Reason, says) {
			t.Errorf("%v %q, want %v %q", c.Verdict, c.Reason, want, says)
		}
	}
	slow := diff("latency", 0.05, 0.08, 0.2)
	slow.Unit, slow.Better, slow.Kind = "s", lower, "mean"
	f(config.Margin{Margin: 0.1, Unit: "%", Relative: true, Text: "10%"}, slow, verdict.Pass, "within the margin of 0.0900 s (10% of the baseline's value)")
	f(config.Margin{Margin: 0.05, Unit: "%", Relative: true, Text: "5%"}, slow, verdict.Undecided, "not enough")
	f(config.Margin{Margin: 0.2, Unit: "s", Text: "200ms"}, slow, verdict.Pass, "within the margin of 0.2000 s")
	words := diff("words", 1, -2, 0.5)
	words.Unit = "words"
	f(config.Margin{Margin: 0.2, Unit: "s", Text: "200ms"}, words, verdict.Undecided, "measured in words, and the margin \"200ms\" is in s")
}

func TestMarginTagsAndPairs(t *testing.T) {
	slice := diff("x", -0.06, -0.09, 0.001)
	slice.Tag = "math"
	c := compared(diff("x", 0, -0.01, 0.5), slice)
	c.Pairs = append(c.Pairs, record.SnapshotPair{Base: "a · q", Head: "b · q"})
	second := diff("x", 0.01, 0.001, 0.9)
	second.Pair = 1
	c.Metrics = append(c.Metrics, second)
	reg := &Regression{Comparison: c, Margins: []Margin{
		margin(t, config.Margin{Metric: "x", Margin: 0.02, Text: "0.02"}), margin(t, config.Margin{Metric: "x[tag=math]", Margin: 0.02, Text: "0.02"}),
	}}
	r := Decide(nil, Facts{Summary: finished(300), Regression: reg})
	var got []string
	for _, c := range r.Checks {
		got = append(got, c.Snapshot+" "+c.Metric+" "+c.Verdict.String())
	}
	want := "b · p x pass, b · q x pass, b · p x[tag=math] fail, b · q x[tag=math] undecided"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("%s\nwant %s", s, want)
	}
	if r.Verdict != verdict.Fail || !strings.Contains(r.Reason, "b · p: x[tag=math]") || !strings.Contains(r.Reason, "by Holm over 4 margins") {
		t.Errorf("%v %s", r.Verdict, r.Reason)
	}
}

func TestParseMarginRefuses(t *testing.T) {
	pos := config.Pos{File: "s.yaml", Line: 3, Key: "gate.x.margin"}
	f := func(m config.Margin, want string) {
		t.Helper()
		m.Pos = pos
		_, err := ParseMargin(m)
		e, ok := errors.AsType[*config.Error](err)
		if !ok || e.Pos != pos || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q at %v", m, err, want, pos)
		}
	}
	f(config.Margin{Metric: "", Margin: 1}, "no metric")
	f(config.Margin{Metric: "x[tag=]", Margin: 1}, "METRIC[tag=NAME]")
	f(config.Margin{Metric: "latency", Margin: 0.1, Unit: "%", Text: "10%"}, "relative: true")
	f(config.Margin{Metric: "pass_rate", Margin: 0.2, Unit: "s", Text: "200ms"}, "not measured in s")
	f(config.Margin{Metric: "cost", Margin: 0.2, Unit: "s", Text: "200ms"}, "not measured in s")
	f(config.Margin{Metric: "pass_rate", Margin: 2, Text: "2"}, "write 2%")
	f(config.Margin{Metric: "x", Margin: 1, Unit: "%", Text: "100%"}, "can never fail")
}

func TestWarnedIsSaid(t *testing.T) {
	reg := &Regression{Regression: config.Regression{OnUndecided: "warn"}, Comparison: compared(diff("x", -0.01, -0.03, 0.2)),
		Margins: []Margin{margin(t, config.Margin{Metric: "x", Margin: 0.02, Text: "0.02"})}}
	r := Decide(nil, Facts{Summary: finished(300), Regression: reg})
	if r.Verdict != verdict.Pass || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "not enough evidence") {
		t.Errorf("%v, warnings %q", r.Verdict, r.Warnings)
	}
}

func TestLooks(t *testing.T) {
	plan := func(samples, most int, want ...int) {
		t.Helper()
		l := PlanLooks(samples, most)
		if len(l.Repeats) != len(want) || len(l.Times) != len(want) {
			t.Fatalf("%d to %d: %v %v", samples, most, l.Repeats, l.Times)
		}
		for i := range want {
			if l.Repeats[i] != want[i] || i > 0 && l.Times[i] <= l.Times[i-1] {
				t.Errorf("%d to %d: %v %v, want %v", samples, most, l.Repeats, l.Times, want)
			}
		}
		if l.Times[len(want)-1] != 1 {
			t.Errorf("the last look is at %v", l.Times)
		}
	}
	plan(1, 2, 1, 2)
	plan(1, 12, 1, 2, 4, 8, 12)
	plan(3, 12, 3, 6, 12)
	plan(1, 100, 1, 3, 10, 32, 100)
	plan(2, 1_000_000, 2, 53, 1414, 37606, 1_000_000)
	plan(3, 4, 3, 4)

	// No look is held to more than what may be spent by then, and the last is not starved.
	l := PlanLooks(1, 12)
	last := 0.0
	for k, se := range []float64{0.02, 0.017, 0.0155, 0.0145, 0.0142} {
		d := diff("x", -0.01, -0.03, 0.2)
		d.Stderr = &se
		got := l.needed("x", &d, 0.05)
		if most := stats.SpentOBrienFleming(0.05, l.Times[k]); !(got > 0) || got > most+1e-6 {
			t.Errorf("look %d: level %v, may spend %v", k+1, got, most)
		}
		last = got
		l.Past = append(l.Past, record.Look{Margins: []record.LookMargin{{Metric: "x", Stderr: &se}}})
	}
	if last < 0.03 {
		t.Errorf("the last look has level %v", last)
	}
	// Information that falls leaves each look its own share.
	l = PlanLooks(1, 12)
	l.Past = []record.Look{{Margins: []record.LookMargin{{Metric: "x", Stderr: new(0.001)}}}}
	d := diff("x", -0.01, -0.03, 0.2)
	share := l.needed("x", &d, 0.05)
	l.Past[0].Margins[0].Stderr = new(0.012)
	if joint := l.needed("x", &d, 0.05); share >= joint {
		t.Errorf("falling information gives %v, rising %v", share, joint)
	}
}

func TestExtends(t *testing.T) {
	f := func(d record.Difference, rules []Rule, past int, want int) {
		t.Helper()
		reg := &Regression{Regression: config.Regression{OnUndecided: "extend"}, Comparison: compared(d), Looks: PlanLooks(1, 12),
			Margins: []Margin{margin(t, config.Margin{Metric: "x", Margin: 0.02, Text: "0.02"})}}
		for range past {
			reg.Looks.Past = append(reg.Looks.Past, record.Look{Margins: []record.LookMargin{{Metric: "x", Stderr: d.Stderr}}})
		}
		rate := 0.5
		r := Decide(rules, Facts{Summary: finished(300), Regression: reg, Metrics: map[string]record.Metric{"pass_rate": {Kind: "rate", Mean: &rate, N: 300}}})
		if r.Repeats != want || r.Look == nil || r.Look.Verdict != r.Verdict || len(r.Look.Margins) != 1 {
			t.Errorf("%d repeats, look %+v; want %d", r.Repeats, r.Look, want)
		}
	}
	unclear := diff("x", -0.01, -0.03, 0.2)
	f(unclear, nil, 0, 2)
	f(unclear, nil, 1, 4)
	f(unclear, nil, 4, 0) // the last look
	f(diff("x", 0, -0.01, 0.5), nil, 0, 0)
	f(diff("x", -0.09, -0.12, 1e-9), nil, 0, 0)
	f(unclear, []Rule{parse(t, "pass_rate", ">= 0.9")}, 0, 0) // it fails anyhow
	f(unclear, []Rule{parse(t, "pass_rate", ">= 0.4")}, 0, 2)
	lost := unclear
	lost.Missing = 3
	f(lost, nil, 0, 0) // more repeats do not bring back what is missing
	// At the first look a p-value that would do for a single test does not.
	f(diff("x", -0.03, -0.05, 0.03), nil, 0, 2)
}
