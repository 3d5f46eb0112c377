package compare

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// A margin that is a share of the base's value allows for the chance in that value. Every answer takes longer by exactly
// the share of the mean, which the difference alone shows without any spread: half of the runs would pass.
func TestRelativeMarginHolds(t *testing.T) {
	const runs, cases, share = 300, 40, 0.2
	mean := math.Exp(0.5)
	passes := 0
	for run := range runs {
		r := rand.New(rand.NewPCG(uint64(run), 1))
		var base, head []answer
		for i := range cases {
			secs := math.Exp(r.NormFloat64())
			b := answer{id: fmt.Sprint(i), verdict: verdict.Pass, score: 1, secs: secs}
			h := b
			h.secs += share*mean + 0.01*r.NormFloat64()
			base, head = append(base, b), append(head, h)
		}
		c, err := Runs(made(t, "base", base), made(t, "head", head), Options{Metrics: []string{"latency"}, Relative: map[Slice]float64{{Metric: "latency"}: share}})
		if err != nil {
			t.Fatal(err)
		}
		d := c.Metrics[0]
		if d.Bound == nil || d.Better != metric.Lower {
			t.Fatalf("%+v", d)
		}
		if *d.Bound < share**d.Base {
			passes++
		}
	}
	if passes > 26 { // 5% and three standard errors of 300 runs
		t.Errorf("%d of %d runs that are slower by the margin are within it", passes, runs)
	}
}

// The bound of a relative margin says of head − s·base what it says of the difference, for either direction, for one right
// or wrong answer a case and for a corpus metric.
func TestRelativeBound(t *testing.T) {
	var base, head []answer
	for i := range 60 {
		a := answer{id: fmt.Sprint(i), score: 1, verdict: verdict.Pass, secs: 1 + float64(i%7), hits: float64(i % 5), words: float64(4 + i%3), stats: []float64{float64(i % 5), 8}}
		b := a
		b.secs, b.hits, b.stats = a.secs*1.1, math.Max(0, a.hits-float64(i%2)), []float64{math.Max(0, a.stats[0]-float64(i%2)), 8}
		if i%10 == 0 {
			b.verdict, b.score = verdict.Fail, 0
		}
		base, head = append(base, a), append(head, b)
	}
	with := func(part float64) map[string]float64 {
		t.Helper()
		o := Options{Relative: map[Slice]float64{}}
		for _, m := range []string{"latency", "hits", "corp", "pass_rate"} {
			if part > 0 {
				o.Relative[Slice{Metric: m}] = part
			}
		}
		out := map[string]float64{}
		c := compared(t, base, head, o)
		for _, d := range c.Metrics {
			if d.Bound != nil {
				out[d.Metric] = *d.Bound
			}
		}
		return out
	}
	plain, none := with(0), with(1e-9)
	for _, m := range []string{"latency", "hits", "corp"} {
		if math.Abs(plain[m]-none[m]) > 1e-6 {
			t.Errorf("%s: bound %g, and %g for a share of nothing", m, plain[m], none[m])
		}
	}
	// Answers 10% slower are within a share of 11% and beyond one of 9%.
	if b := with(0.11)["latency"]; b > 0.11*4 {
		t.Errorf("latency at worst %g", b)
	}
	if b := with(0.09)["latency"]; b < 0.09*3.9 {
		t.Errorf("latency at worst %g", b)
	}
	if b := with(0.5)["pass_rate"]; !(b > -0.5 && b < -0.1) {
		t.Errorf("pass_rate at worst %g", b)
	}
}

// Of n cases none of which changed, a bound says what would be seen nineteen times in twenty: a system that loses more
// than that share of cases passes in at most one run of twenty. The bound of a relative margin is no closer to 0.
func TestNothingChanged(t *testing.T) {
	f := func(cases, repeats int, want float64) {
		t.Helper()
		var list []answer
		for i := range cases {
			for k := range repeats {
				list = append(list, answer{id: fmt.Sprint(i), repeat: k, verdict: verdict.Pass, score: 1})
			}
		}
		o := Options{Metrics: []string{"pass_rate"}}
		d := compared(t, list, list, o).Metrics[0]
		if d.Bound == nil || math.Abs(*d.Bound+want) > 1e-9 {
			t.Errorf("%d cases of %d: bound %v, want %g", cases, repeats, show(d.Bound), -want)
		}
		o.Relative = map[Slice]float64{{Metric: "pass_rate"}: want}
		switch d := compared(t, list, list, o).Metrics[0]; {
		case cases == 1 && (d.Bound != nil || d.Why == ""):
			t.Errorf("one case: bound %s of a relative margin, %q", show(d.Bound), d.Why)
		case cases > 1 && (d.Bound == nil || *d.Bound > -want):
			t.Errorf("%d cases of %d: bound %s of a relative margin, want no more than %g", cases, repeats, show(d.Bound), -want)
		}
	}
	f(1, 1, 0.95)
	f(5, 1, 1-math.Pow(0.05, 0.2))
	f(100, 1, 1-math.Pow(0.05, 0.01))
	f(100, 3, 1-math.Pow(0.05, 0.01))
}

// Of two or three groups Student's quantile is far beyond what a normal level in floating point can say.
func TestFewGroups(t *testing.T) {
	f := func(level, alpha float64) {
		t.Helper()
		var base, head []answer
		for i := range 30 {
			a := answer{id: fmt.Sprint(i), group: fmt.Sprint(i % 3), verdict: verdict.Pass, score: 1}
			b := a
			if i < 2 {
				b.verdict, b.score = verdict.Fail, 0
			}
			base, head = append(base, a), append(head, b)
		}
		d := compared(t, base, head, Options{Metrics: []string{"pass_rate"}, Level: level, Alpha: alpha}).Metrics[0]
		reach := math.Sqrt(3. / 30)
		if d.Low == nil || *d.Low > -0.99*reach || *d.Low < -reach || d.Bound == nil || *d.Bound > -0.99*reach {
			t.Errorf("level %g, alpha %g: from %s, bound %s", level, alpha, show(d.Low), show(d.Bound))
		}
	}
	f(1-1e-4, 1e-4)
	f(1-1e-9, 1e-9)
}
