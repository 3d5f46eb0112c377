package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
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
	if _, ok := p.Variance(DefaultAssumed); ok || len(p.cases) != 0 {
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

// Of a rate, cases of which none changes leave a drop open, however little varies.
func TestMarginUnseen(t *testing.T) {
	f := func(v Variance, margin float64, n int, chance float64, cases int) {
		t.Helper()
		m := NewMargin(&v, "pass_rate", "", margin, n, 5, Goal{Alpha: 0.05, Power: 0.8})
		near(t, "chance", m.Chance, chance, 1e-9)
		if m.Cases != cases {
			t.Errorf("%d cases, want %d", m.Cases, cases)
		}
	}
	still := Variance{Mean: 1, Design: 1, Binary: true}
	f(still, 0.02, 30, 0, 149)
	f(still, 0.02, 148, 0, 149)
	f(still, 0.02, 149, 1, 149)
	f(still, 0.10, 30, 1, 29)
	f(still, 1, 30, 1, 2)
	f(still, 0, 30, 0, 0)
	f(still, 0.02, 0, 0, 149)
	f(Variance{Mean: 1, Design: 2, Binary: true}, 0.10, 30, 0, 57)
	f(Variance{Mean: 1, Design: 1}, 0.02, 30, 1, 2)
}

func TestTableAndSpend(t *testing.T) {
	price := 0.002
	s := Suite{Cases: 100, Repeats: 3, Effect: 0.05, Goal: Goal{Alpha: 0.05, Power: 0.8}, Variance: DefaultAssumed.Variance()}
	s.Table([]Usage{
		{Cases: 100, Prompt: 10, Completion: 20, Cost: &price, Seconds: 2, JudgeCost: new(float64)},
		{Cases: 90, Own: 50, Prompt: 1, Completion: 2, Cost: &price, Seconds: 1, JudgeCost: new(0.001), JudgeTokens: 7, JudgeSeconds: 3},
	}, 90, 10)
	var ks []int
	for _, o := range s.Options {
		ks = append(ks, o.Repeats)
	}
	if fmt.Sprint(ks) != "[1 2 3 4 8 16]" {
		t.Errorf("repeats %v", ks)
	}
	o := s.Options[2]
	if o.Samples != 300+320 || o.Prompt != 3000+320 || o.Completion != 6000+640 || o.Judging != 7*320 || o.Tokens() != 3320+6640+2240 {
		t.Errorf("%+v", o.Spend)
	}
	near(t, "cost", *o.Cost, 300*0.002+320*0.003, 1e-9)
	near(t, "minutes", o.Minutes, (300*2+320*4)/10.0/60, 1e-9)
	if n := len(s.Sizes); n != 4 || s.Sizes[0].Cases != 45 || *s.Sizes[1].Detect[2] != *o.Detect || s.Sizes[3].Spend.Samples != 4*240 {
		t.Errorf("%+v", s.Sizes)
	}
	s.Options = nil
	s.Table([]Usage{{Cases: 100, JudgeCost: new(float64)}}, 100, 0)
	if s.Options[0].Cost != nil {
		t.Error("a price that is not known makes no cost")
	}
	s.Options = nil
	s.Table([]Usage{{Cases: 100, Cost: &price}}, 100, 0)
	if s.Options[0].Cost != nil {
		t.Error("a judge's price that is not known makes no cost")
	}
}

// The slowest bound decides: requests at a time in all, those of one provider, delays.
func TestTimeOfASpend(t *testing.T) {
	f := func(want float64, concurrency int, cells ...Usage) {
		t.Helper()
		near(t, "seconds", 60*SpendOf(cells, 2, concurrency).Minutes, want, 1e-9)
	}
	f(50, 4, Usage{Cases: 100, Seconds: 1})
	f(200, 4, Usage{Cases: 100, Seconds: 1, JudgeSeconds: 3})
	f(100, 16, Usage{Cases: 100, Seconds: 1, Provider: "a", Most: 2}, Usage{Cases: 100, Seconds: 1, Provider: "b"})
	f(200, 16, Usage{Cases: 100, Seconds: 1, Provider: "a", Most: 2}, Usage{Cases: 100, Seconds: 1, Provider: "a", Most: 2})
	f(60, 16, Usage{Cases: 100, Seconds: 1, Requests: 3, Delay: 0.1})
	f(120, 16, Usage{Cases: 100, Seconds: 1, Requests: 3, Delay: 0.1}, Usage{Cases: 100, Seconds: 1, Requests: 3, Delay: 0.1})
	f(60, 16, Usage{Cases: 100, Seconds: 1, Requests: 3, Delay: 0.1, Pace: "a"}, Usage{Cases: 100, Seconds: 1, Requests: 3, Delay: 0.1, Pace: "b"})
	f(0, 0)
}

// The drop that is foretold is found as often as is foretold, by an exact test by signs of simulated runs, when it breaks
// single cases; with one answer and with repeats. A drop spread over all cases is found at least as often.
func TestDetectIsFound(t *testing.T) {
	f := func(n, k int, rate float64) {
		t.Helper()
		a := DefaultAssumed
		a.Rate = rate
		v, g := a.Variance(), Goal{Alpha: 0.05, Power: 0.8}
		d, ok := Detect(&v, n, k, g)
		if !ok {
			t.Fatalf("nothing is found by %d cases with %d answers at a rate of %g", n, k, rate)
		}
		rng := rand.New(rand.NewPCG(uint64(n), uint64(k)))
		const runs = 300
		broken, spread := 0, 0
		for range runs {
			if foundBySigns(rng, a, n, k, func(p float64) float64 {
				if rng.Float64() < d/rate {
					return 0
				}
				return p
			}) {
				broken++
			}
			if foundBySigns(rng, a, n, k, func(p float64) float64 { return p * (1 - d/rate) }) {
				spread++
			}
		}
		t.Logf("n %d, k %d, rate %g: %.2f points; found in %.1f%% when cases break, in %.1f%% when it is spread", n, k, rate, 100*d, 100*float64(broken)/runs, 100*float64(spread)/runs)
		near(t, "power, cases that break", float64(broken)/runs, 0.82, 0.08)
		if share := float64(spread) / runs; share < 0.74 {
			t.Errorf("power, spread: %g", share)
		}
	}
	f(300, 1, 0.7)
	f(300, 5, 0.9)
	f(1300, 1, 0.97)
	f(1300, 5, 0.97)
}

// foundBySigns draws two runs of n cases with k answers each and says whether the second is worse by the normal form of the
// test by signs at 5%.
func foundBySigns(rng *rand.Rand, a Assumed, n, k int, worse func(float64) float64) bool {
	var sum, squares float64
	for range n {
		base := chanceOf(rng, a)
		head := base
		if rng.Float64() > a.Alike {
			head = chanceOf(rng, a)
		}
		head = worse(head)
		d := 0.0
		for range k {
			if rng.Float64() < base {
				d += 1 / float64(k)
			}
			if rng.Float64() < head {
				d -= 1 / float64(k)
			}
		}
		sum += d
		squares += d * d
	}
	return squares > 0 && sum/math.Sqrt(squares) >= 1.6449
}

// chanceOf draws how likely a case is answered rightly: a Beta with the rate as its mean and the share as its part of the
// variance of an answer.
func chanceOf(rng *rand.Rand, a Assumed) float64 {
	s := 1/a.Share - 1
	return distuv.Beta{Alpha: a.Rate * s, Beta: (1 - a.Rate) * s, Src: rng}.Rand()
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
