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
