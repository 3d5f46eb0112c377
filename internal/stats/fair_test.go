package stats

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// Fairness, exactly: what Ville's inequality rests on is that the next factor of an e-process has a mean of at most 1 under the
// null, whatever came before. These tests add up that mean over all that can come next, from states that a stream left behind,
// and so find mistakes that a simulation would need many runs to see.

// after is a copy of an e-process that has seen one more request.
func after(t *testing.T, e eprocess, zero func() eprocess, arm Arm, pi, y float64) float64 {
	t.Helper()
	next := zero()
	ok(t, json.Unmarshal([]byte(marshal(t, e)), next))
	ok(t, next.Update(arm, pi, y))
	return math.Exp(next.LogE() - e.LogE())
}

// Given the outcome and the past, a request fell on the canary with its probability when the arms are alike: the mean factor is
// 1 for every outcome. So the process may not know the arm before it bets, and the base rate may be anything.
func TestFairGivenTheOutcome(t *testing.T) {
	f := func(name string, make, zero func() eprocess, odds float64, outcomes []float64) {
		t.Helper()
		r := rand.New(rand.NewPCG(41, 42))
		e := make()
		for i := range 300 {
			pi := []float64{1e-6, .05, .25, .5, .99}[r.IntN(5)]
			for _, y := range outcomes {
				// The share of the outcomes that fall on the canary when it has odds times the control's.
				on := pi * odds / (pi*odds + 1 - pi)
				mean := on*after(t, e, zero, Canary, pi, y) + (1-on)*after(t, e, zero, Control, pi, y)
				if !(math.Abs(mean-1) < 1e-9) {
					t.Fatalf("%s, request %d at %v with %v: the mean factor is %v", name, i, pi, y, mean)
				}
			}
			ok(t, e.Update(drawArm(r, pi), pi, outcomes[r.IntN(len(outcomes))]))
		}
	}
	binary := []float64{0, 1}
	conditional := func() eprocess { return new(Conditional) }
	likelihood := func() eprocess { return new(Likelihood) }
	scores := func() eprocess { return new(Scores) }
	f("conditional", newConditional, conditional, 1, binary)
	f("conditional, at least twice", func() eprocess {
		return must(NewConditional(ConditionalOptions{Ratios: LogGrid(.5, 1.8, 6), Null: 2}))
	}, conditional, 2, []float64{1})
	f("likelihood", newLikelihood, likelihood, 1, binary)
	f("likelihood, short memory", func() eprocess {
		return must(NewLikelihood(LikelihoodOptions{Baseline: .9, Memory: 10}))
	}, likelihood, 1, binary)
	for _, memory := range []float64{10, 1e4} {
		for _, better := range []Better{HigherIsBetter, LowerIsBetter} {
			f("scores", func() eprocess {
				return must(NewScores(ScoresOptions{Better: better, Memory: memory}))
			}, scores, 1, []float64{0, .2, .5, .97, 1})
		}
	}
}

// A canary that is better makes the mean factor, over its outcomes too, less than 1, and one that is worse more.
func TestUnfairToTheWorse(t *testing.T) {
	f := func(make, zero func() eprocess, worse float64) {
		t.Helper()
		r := rand.New(rand.NewPCG(43, 44))
		e := make()
		for range 2000 {
			arm := drawArm(r, .3)
			ok(t, e.Update(arm, .3, bit(r.Float64() < .3)))
		}
		growth := func(canary float64) float64 {
			mean := 0.0
			for arm, rate := range []float64{Control: .3, Canary: canary} {
				for y, p := range []float64{1 - rate, rate} {
					mean += p * []float64{Control: .7, Canary: .3}[arm] * after(t, e, zero, Arm(arm), .3, float64(y))
				}
			}
			return mean
		}
		better := .6 - worse
		if b, w := growth(better), growth(worse); !(b < 1 && w > 1) {
			t.Errorf("%T: mean factors of %v for a better canary and %v for a worse", e, b, w)
		}
	}
	f(newConditional, func() eprocess { return new(Conditional) }, .4)
	f(newLikelihood, func() eprocess { return new(Likelihood) }, .4)
	f(newScores, func() eprocess { return new(Scores) }, .4)
	f(func() eprocess { return must(NewScores(ScoresOptions{})) }, func() eprocess { return new(Scores) }, .2)
}

// The safe test, for every common rate and block.
func TestFairSafe2x2(t *testing.T) {
	r := rand.New(rand.NewPCG(45, 46))
	s := must(NewSafe2x2(0))
	for range 100 {
		na, nb := 1+r.IntN(3), 1+r.IntN(3)
		for _, p := range []float64{.001, .05, .3, .5, .8, .99} {
			mean := 0.0
			for ka := range na + 1 {
				for kb := range nb + 1 {
					next := new(Safe2x2)
					ok(t, json.Unmarshal([]byte(marshal(t, s)), next))
					ok(t, next.Update(ka, na, kb, nb))
					mean += binomial(ka, na, p) * binomial(kb, nb, p) * math.Exp(next.LogE()-s.LogE())
				}
			}
			if mean > 1+1e-9 {
				t.Fatalf("blocks of %d and %d at %v: the mean factor is %v", na, nb, p, mean)
			}
		}
		ok(t, s.Update(r.IntN(na+1), na, r.IntN(nb+1), nb))
	}
}

// The mean of R less the number of outcomes stands still at the baseline, and falls below it.
func TestFairShiryaevRoberts(t *testing.T) {
	r := rand.New(rand.NewPCG(47, 48))
	s := must(NewShiryaevRoberts(ShiryaevRobertsOptions{Baseline: .02, Threshold: 1e6}))
	for range 300 {
		next := func(p float64) (mean float64) {
			for y, share := range []float64{1 - p, p} {
				n := new(ShiryaevRoberts)
				ok(t, json.Unmarshal([]byte(marshal(t, s)), n))
				ok(t, n.Update(float64(y)))
				mean += share * n.Statistic()
			}
			return mean - s.Statistic()
		}
		if at, below := next(.02), next(.01); !(math.Abs(at-1) < 1e-9*(1+s.Statistic())) || below > 1 {
			t.Fatalf("R grows by %v at the baseline and %v below it", at, below)
		}
		ok(t, s.Update(binary(r, .05)))
	}
}

// Both gamblers of the betting sequence have fair games at the mean that they bet against, for any distribution with it; and the
// sequence leaves a mean when half of either's capital is at 1/alpha.
func TestFairMeanSequence(t *testing.T) {
	r := rand.New(rand.NewPCG(49, 50))
	m := must(NewMeanSequence(MeanSequenceOptions{Alpha: .05, Grid: 20}))
	looked := 0
	for range 60 {
		state := marshal(t, m)
		next := func(x float64) *MeanSequence {
			n := new(MeanSequence)
			ok(t, json.Unmarshal([]byte(state), n))
			ok(t, n.Update(x))
			return n
		}
		for k := range m.up {
			// A score of at/2, or of (1 + at)/2 with a chance of at, has the mean at.
			at := float64(m.low+k) / 20
			a, b := next(at/2), next((1+at)/2)
			ka, kb := m.low+k-a.low, m.low+k-b.low
			if min(ka, kb) < 0 || ka >= len(a.up) || kb >= len(b.up) {
				continue // left at this score
			}
			looked++
			up := (1-at)*math.Exp(a.up[ka]-m.up[k]) + at*math.Exp(b.up[kb]-m.up[k])
			down := (1-at)*math.Exp(a.down[ka]-m.down[k]) + at*math.Exp(b.down[kb]-m.down[k])
			if !(math.Abs(up-1) < 1e-9 && math.Abs(down-1) < 1e-9) {
				t.Fatalf("against %v: mean factors of %v and %v", at, up, down)
			}
		}
		ok(t, m.Update(r.Float64()))
	}
	if looked < 200 {
		t.Errorf("%d bets", looked)
	}
	for k := range m.up {
		if m.up[k] >= math.Log(2/.05) || m.down[k] >= math.Log(2/.05) {
			t.Errorf("%v is still there", float64(m.low+k)/20)
		}
	}
}

// The boundaries' martingales, for the observations that they are for: one more leaves the mean where it is, or lower.
func TestFairBoundaries(t *testing.T) {
	type point struct{ x, p float64 }
	f := func(name string, log func(s, v float64) float64, step float64, exact bool, next []point) {
		t.Helper()
		near(t, name+" at the start", log(0, 0), 0, 1e-9)
		for _, n := range []float64{0, 1, 10, 200} {
			for _, z := range []float64{-2, -.5, 0, 1, 3} {
				// Sums that such observations can have.
				v := n * step
				s := z * math.Sqrt(v)
				if strings.HasPrefix(name, "beta") {
					s = math.Round(n*.2+s) - n*.2
					if s < -n*.2 || s > n*.8 {
						continue
					}
				}
				if strings.HasPrefix(name, "gamma") && s <= -v {
					continue
				}
				mean := 0.0
				for _, q := range next {
					mean += q.p * math.Exp(log(s+q.x, v+step)-log(s, v))
				}
				if mean > 1+1e-6 || exact && mean < 1-1e-6 {
					t.Errorf("%s at %v of %v: the mean factor is %v", name, s, v, mean)
				}
			}
		}
	}
	var gauss, exponential []point
	for i := range 4000 {
		x := -10 + 20*(float64(i)+.5)/4000
		gauss = append(gauss, point{x, normalDensity(x) * 20 / 4000})
		x = 60 * (float64(i) + .5) / 4000
		exponential = append(exponential, point{x - 1, math.Exp(-x) * 60 / 4000})
	}
	for _, sides := range []Sides{TwoSided, OneSided} {
		n, _ := NewNormalMixture(50, .05, sides)
		f("normal", n.LogMartingale, 1, true, gauss)
		b, _ := NewBetaBinomial(8, .05, .2, .8, sides)
		f("beta-binomial", b.LogMartingale, .16, true, []point{{-.2, .8}, {.8, .2}})
	}
	g, _ := NewGammaExponential(50, .05, 1)
	f("gamma-exponential", g.LogMartingale, 1, false, exponential)
}

// For any m, the products of the two-sample test bet fairly at rates of m in both arms; where low's is less or high's more they
// lose on average. E is the least of them.
func TestFairTwoSample(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	var low, high TwoSampleArm
	for range 200 {
		for _, m := range []float64{.01, .2, .5, .9} {
			before := math.Exp(TwoSampleAt(&low, &high, Gap{}, m))
			mean := func(arm *TwoSampleArm, rate float64) (mean float64) {
				kept := *arm
				for x, p := range []float64{1 - rate, rate} {
					ok(t, arm.Add(float64(x)))
					mean += p * math.Exp(TwoSampleAt(&low, &high, Gap{}, m)) / before
					*arm = kept
				}
				return mean
			}
			if a, b := mean(&low, m), mean(&high, m); !(math.Abs(a-1) < 1e-9 && math.Abs(b-1) < 1e-9) {
				t.Fatalf("at %v the mean factors are %v and %v", m, a, b)
			}
			if a, b := mean(&low, m/2), mean(&high, (1+m)/2); a > 1 || b > 1 {
				t.Fatalf("at %v the mean factors are %v and %v where the null has them below 1", m, a, b)
			}
		}
		ok(t, low.Add(binary(r, .4)))
		ok(t, high.Add(r.Float64()))
	}
}
