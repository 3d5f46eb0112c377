package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func near(t *testing.T, name string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: got %v, want %v ± %v", name, got, want, tolerance)
	}
}

// Miller's example (arXiv:2411.00640, section 5): ω² = 1/9, no variance within cases, 3 points, two-sided 5%, 80%.
func TestCasesOfMiller(t *testing.T) {
	v := Variance{Between: 1.0 / 9, Design: 1, Mean: 0.5}
	n, ok := Cases(&v, 0.03, 1, Goal{Alpha: 0.025, Power: 0.8})
	if !ok || n != 970 && n != 969 {
		t.Errorf("%d cases, want 969, which is 968.6 rounded up", n)
	}
}

func TestDetectAndCasesAgree(t *testing.T) {
	f := func(v Variance, n, k int, g Goal) {
		t.Helper()
		d, ok := Detect(&v, n, k, g)
		if !ok {
			t.Fatalf("nothing is found with %d cases", n)
		}
		m, ok := Cases(&v, d, k, g)
		if !ok || math.Abs(float64(m-n)) > 2+0.01*float64(n) {
			t.Errorf("%d cases find %g, but %g takes %d cases", n, d, d, m)
		}
		if more, ok := Detect(&v, 4*n, k, g); !ok || !(more < d) {
			t.Errorf("four times the cases find %g instead of %g", more, d)
		}
	}
	g := Goal{Alpha: 0.05, Power: 0.8}
	f(Variance{Between: 0.02, Within: 0.1, Design: 1, Mean: 0.8}, 300, 1, g)
	f(Variance{Between: 0.02, Within: 0.1, Design: 1, Mean: 0.8}, 300, 8, g)
	f(Variance{Between: 0.02, Within: 0.1, Design: 3, Mean: 0.8}, 300, 2, Goal{Alpha: 0.01, Power: 0.9})
	f(DefaultAssumed.Variance(), 400, 1, g)
	f(DefaultAssumed.Variance(), 400, 4, g)
}

func TestDetectKnowsItsLimits(t *testing.T) {
	f := func(v Variance, n, k int, g Goal) {
		t.Helper()
		if d, ok := Detect(&v, n, k, g); ok {
			t.Errorf("found %g", d)
		}
	}
	g := Goal{Alpha: 0.05, Power: 0.8}
	v := DefaultAssumed.Variance()
	f(v, 0, 1, g)
	f(v, 1, 1, g)
	f(v, 2, 1, g) // no result of two cases is significant
	f(v, 100, 0, g)
	f(v, 100, 1, Goal{})
	f(v, 100, 1, Goal{Alpha: 0.05, Power: 1})
	f(Variance{Between: math.NaN(), Design: 1}, 100, 2, g)
	if _, ok := Cases(&v, 0, 1, g); ok {
		t.Error("a drop of nothing takes no number of cases")
	}
}

// More repeats must never find less, and cases bound what repeats can do.
func TestRepeatsHelpWithinLimits(t *testing.T) {
	v := Variance{Between: 0.02, Within: 0.1, Design: 1, Mean: 0.8}
	g := Goal{Alpha: 0.05, Power: 0.8}
	last := math.Inf(1)
	for _, k := range []int{1, 2, 4, 8, 1_000_000} {
		d, ok := Detect(&v, 200, k, g)
		if !ok || !(d < last) {
			t.Errorf("%d answers find %g, fewer found %g", k, d, last)
		}
		last = d
	}
	near(t, "with answers without end", last, factor(g)*math.Sqrt(v.Between/200), 1e-6)
}

// The pilot finds the variances that answers were drawn with.
func TestPilotRecovers(t *testing.T) {
	const cases, repeats, between, within, alike = 4000, 3, 0.04, 0.09, 0.7
	rng := rand.New(rand.NewPCG(1, 2))
	var one, two Pilot
	for i := range cases {
		id := fmt.Sprint(i)
		common := rng.NormFloat64() * math.Sqrt(between*alike)
		for side := range 2 {
			truth := 0.5 + common + rng.NormFloat64()*math.Sqrt(between*(1-alike))
			for range repeats {
				x := truth + rng.NormFloat64()*math.Sqrt(within)
				two.Add(side, id, "", x)
				if side == 0 {
					one.Add(0, id, "", x)
				}
			}
		}
	}
	v, ok := two.Variance(DefaultAssumed)
	if !ok || !v.Measured || v.Binary {
		t.Fatalf("%+v", v)
	}
	near(t, "between, of two runs", v.Between, 2*between*(1-alike), 0.002)
	near(t, "within, of two runs", v.Within, within, 0.002)
	near(t, "mean", v.Mean, 0.5, 0.01)
	near(t, "design", v.Design, 1, 1e-9)
	v, ok = one.Variance(Assumed{Alike: alike})
	if !ok || v.Measured {
		t.Fatalf("%+v", v)
	}
	near(t, "between, of one run", v.Between, 2*between*(1-alike), 0.003)
	near(t, "within, of one run", v.Within, within, 0.002)
}

func TestPilotWithoutRepeats(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var p Pilot
	for i := range 2000 {
		x := 0.0
		if rng.Float64() < 0.8 {
			x = 1
		}
		p.Add(0, fmt.Sprint(i), "", x)
	}
	v, ok := p.Variance(DefaultAssumed)
	if !ok || !v.Binary {
		t.Fatalf("%+v", v)
	}
	want := DefaultAssumed.Variance()
	near(t, "between", v.Between, want.Between, 0.003)
	near(t, "within", v.Within, want.Within, 0.004)
}

// Groups whose cases share their fate count for fewer cases than they have.
func TestPilotSeesGroups(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var p Pilot
	for g := range 200 {
		x := rng.NormFloat64()
		for i := range 10 {
			p.Add(0, fmt.Sprintf("%d/%d", g, i), fmt.Sprint(g), x+0.01*rng.NormFloat64())
		}
	}
	v, ok := p.Variance(DefaultAssumed)
	if !ok {
		t.Fatal("nothing")
	}
	near(t, "design effect", v.Design, 10, 0.3)
}

func TestPilotOfNothing(t *testing.T) {
	var p Pilot
	p.Add(0, "a", "", math.NaN())
	p.Add(7, "a", "", 1)
	if _, ok := p.Variance(DefaultAssumed); ok || p.Cases() != 0 {
		t.Error("something was made of nothing")
	}
	p.Add(0, "a", "", 1)
	if _, ok := p.Variance(DefaultAssumed); ok {
		t.Error("one case has no spread")
	}
	p.Add(1, "b", "", 1)
	if _, ok := p.Variance(DefaultAssumed); ok {
		t.Error("no case is in both runs")
	}
}

// What NewMargin promises an unchanged system is what a simulated one gets.
func TestMarginChance(t *testing.T) {
	v := Variance{Between: 0.02, Within: 0.1, Design: 1}
	g := Goal{Alpha: 0.05, Power: 0.8}
	const n, margin = 400, 0.04
	m := NewMargin(&v, "score", "", margin, n, 1, g)
	rng := rand.New(rand.NewPCG(7, 8))
	within, runs := 0, 4000
	for range runs {
		se := math.Sqrt(v.Of(1) / n)
		if rng.NormFloat64()*se-1.6449*se > -margin {
			within++
		}
	}
	near(t, "chance", m.Chance, float64(within)/float64(runs), 0.025)
	need := NewMargin(&v, "score", "", margin, m.Cases, 1, g)
	near(t, "chance with the cases it asks for", need.Chance, g.Power, 0.005)
}

func TestTableAndSpend(t *testing.T) {
	price := 0.002
	s := Suite{Cases: 100, Repeats: 3, Effect: 0.05, Goal: Goal{Alpha: 0.05, Power: 0.8}, Variance: DefaultAssumed.Variance()}
	s.Table([]Usage{{Prompt: 10, Completion: 20, Cost: &price, Seconds: 2}, {Prompt: 1, Completion: 2, Cost: &price, Seconds: 1, Judging: 0.001}}, 10)
	var ks []int
	for _, o := range s.Options {
		ks = append(ks, o.Repeats)
	}
	if fmt.Sprint(ks) != "[1 2 3 4 8 16]" {
		t.Errorf("repeats %v", ks)
	}
	o := s.Options[2]
	if o.Samples != 600 || o.Prompt != 3300 || o.Completion != 6600 {
		t.Errorf("%+v", o.Spend)
	}
	near(t, "cost", *o.Cost, 300*0.005, 1e-9)
	near(t, "minutes", o.Minutes, 300*3/10.0/60, 1e-9)
	s.Options = nil
	s.Table([]Usage{{Cost: nil}}, 0)
	if s.Options[0].Cost != nil {
		t.Error("a price that is not known makes no cost")
	}
}

// A run in which everything passed shows no spread, which is not a spread of 0.
func TestPilotWithoutSpread(t *testing.T) {
	var one, two, means Pilot
	for i := range 99 {
		id := fmt.Sprint(i)
		one.Add(0, id, "", 1)
		two.Add(0, id, "", 1)
		two.Add(1, id, "", 1)
		means.Add(0, id, "", 7)
	}
	v, ok := one.Variance(Assumed{Share: 1, Alike: 0})
	if !ok || v.Measured || !v.Binary {
		t.Fatalf("%+v", v)
	}
	near(t, "one run", v.Between, 2*0.995*0.005, 1e-12)
	v, ok = two.Variance(DefaultAssumed)
	if !ok || v.Measured || !v.Binary {
		t.Fatalf("%+v", v)
	}
	near(t, "two runs", v.Between, 0.005, 1e-12)
	// With the fewest flips that a test can take for more than chance, it is never nothing.
	if d, ok := Detect(&v, 99, 1, Goal{Alpha: 0.05, Power: 0.8}); !ok || d < 0.02 {
		t.Errorf("found %g", d)
	}
	if v, ok = means.Variance(DefaultAssumed); !ok || v.Between != 0 || v.Within != 0 {
		t.Errorf("a mean: %+v", v)
	}
}
