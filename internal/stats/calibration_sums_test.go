package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Sums give what the forecasts themselves give.
func TestBinSums(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, count := range []int{0, 1, 10, 15} {
		b := Bins{Count: count}
		var f Forecasts
		total := make(BinSums, 3*b.count())
		for i := range 400 {
			p := rng.Float64()
			if i%10 == 0 {
				p = float64(rng.IntN(16)) / 15 // on an edge
			}
			hit := rng.Float64() < p*p
			f.P, f.Hit = append(f.P, p), append(f.Hit, hit)
			one, ok := NewBinSums(p, hit, b)
			if !ok || len(one) != len(total) {
				t.Fatalf("%v: %v", p, one)
			}
			for k := range one {
				total[k] += one[k]
			}
		}
		want, _ := Calibrate(f, b)
		got, ok := total.Calibrate()
		near := func(a, b float64) bool { return math.Abs(a-b) < 1e-12 }
		if !ok || got.N != want.N || got.Single != want.Single || len(got.Bins) != len(want.Bins) || !near(got.ECE, want.ECE) || !near(got.MCE, want.MCE) ||
			!near(got.Squared, want.Squared) || !near(got.Debiased, want.Debiased) || !near(got.Root, want.Root) {
			t.Fatalf("%d bins: %+v, want %+v", count, got, want)
		}
		for i, w := range want.Bins {
			if g := got.Bins[i]; g.N != w.N || !near(g.Low, w.Low) || !near(g.High, w.High) || !near(g.Observed, w.Observed) || !near(g.Interval.Low, w.Interval.Low) {
				t.Errorf("bin %d: %+v, want %+v", i, g, w)
			}
		}
	}
}

func TestBinSumsRefuse(t *testing.T) {
	for _, p := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if _, ok := NewBinSums(p, true, Bins{}); ok {
			t.Errorf("%v is a probability", p)
		}
	}
	if _, ok := NewBinSums(0.5, true, Bins{Kind: EqualMass}); ok {
		t.Error("equal-mass bins add up")
	}
	for _, s := range []BinSums{nil, {1}, {0, 0, 0}, {1, 2, 1}, {1, 0.5, 2}, {-1, 0, 0}, {math.NaN(), 0, 0}, {1, math.NaN(), 1}} {
		if c, ok := s.Calibrate(); ok {
			t.Errorf("%v: %+v", s, c)
		}
	}
}

// By hand: of a single bin the upper end is the square of the farthest end of its Clopper-Pearson interval, on as many trials as there are.
func TestDebiasedUpper(t *testing.T) {
	s := make(BinSums, 45)
	s[42], s[43], s[44] = 60, 60, 60 // always sure, always right
	low, _ := ClopperPearson(60, 60, 0.95)
	near(t, "all right", s.DebiasedUpper(1), (1-low.Low)*(1-low.Low), 1e-12)
	half, _ := ClopperPearson(30, 30, 0.95)
	near(t, "pairs", s.DebiasedUpper(0.5), (1-half.Low)*(1-half.Low), 1e-12)
	s[44] = 57
	some, _ := ClopperPearson(57, 60, 0.95)
	near(t, "three wrong", s.DebiasedUpper(1), (1-some.Low)*(1-some.Low), 1e-12)
	// Two bins alike: what each may be off adds up in squares.
	two := BinSums{4, 2, 2, 4, 2, 2}
	i, _ := ClopperPearson(2, 4, 0.95)
	gap := 0.5 - i.Low
	theta := -0.25 / 3
	near(t, "two bins", two.DebiasedUpper(1), math.Sqrt2*(gap*gap-theta)/2, 1e-12)
	if x := (BinSums{1, 0.5, 1}).DebiasedUpper(1); !math.IsNaN(x) {
		t.Errorf("%v of a single forecast", x)
	}
}

// Where no bin has a gap, the spread of the debiased error over samples is what DebiasedSpread says, a little more for its
// cautious shares.
func TestDebiasedSpread(t *testing.T) {
	near(t, "all right", (BinSums{60, 60, 60}).DebiasedSpread(), math.Sqrt2*61/62/62/60, 1e-12)
	if x := (BinSums{1, 0.5, 1}).DebiasedSpread(); !math.IsNaN(x) {
		t.Errorf("%v of a single forecast", x)
	}
	rng := rand.New(rand.NewPCG(13, 14))
	const runs = 4000
	var said, squares float64
	for range runs {
		var s BinSums
		var sums []binSum
		for k := range 5 {
			p, n, hits := 0.5+float64(k)/12, 40+10*k, 0.0
			for range n {
				hits += indicator(rng.Float64() < p)
			}
			s = append(s, float64(n), p*float64(n), hits)
			sums = append(sums, binSum{float64(n), p * float64(n), hits})
		}
		said += s.DebiasedSpread() / runs
		x, _ := debiased(sums)
		squares += x * x / runs
	}
	if share := said / math.Sqrt(squares); share < 0.97 || share > 1.1 {
		t.Errorf("said %.5f, is %.5f", said, math.Sqrt(squares))
	}
}

// The upper end is below the true error of a model that is always sure in no more runs than it may be, however rarely it errs.
func TestDebiasedUpperCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	f := func(n int, p, rate float64) {
		t.Helper()
		const runs = 4000
		below := 0
		for range runs {
			hits := 0
			for range n {
				if rng.Float64() < rate {
					hits++
				}
			}
			if s := (BinSums{float64(n), p * float64(n), float64(hits)}); math.Sqrt(s.DebiasedUpper(1)) < math.Abs(p-rate) {
				below++
			}
		}
		if c := float64(below) / runs; c > 0.032 { // nominal 0.025
			t.Errorf("%d forecasts of %v at a rate of %v: below the truth in %.3f", n, p, rate, c)
		}
	}
	for _, n := range []int{30, 60, 100, 400} {
		for _, rate := range []float64{0.9, 0.95, 0.97, 0.99} {
			f(n, 1, rate)
			f(n, 0.95, rate)
		}
	}
}
