package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Forecasts one at a time give what all at once give.
func TestReliability(t *testing.T) {
	f := func(n, bins int, draw func(*rand.Rand) float64, mass float64) {
		t.Helper()
		rng := rand.New(rand.NewPCG(uint64(n), uint64(bins)))
		b := Bins{Count: bins}
		r, ok := NewReliability(b)
		if !ok {
			t.Fatal("refused")
		}
		var all Forecasts
		for i := range n {
			p := draw(rng)
			hit := rng.Float64() < 0.1+0.7*p
			all.P, all.Hit, all.Cluster = append(all.P, p), append(all.Hit, hit), append(all.Cluster, i/3)
			if !r.Next(uint64(i/3), p, hit) {
				t.Fatalf("%v refused", p)
			}
		}
		d, ok := r.Finish()
		width, _ := Calibrate(all, b)
		brier, _ := BrierScore(all, b)
		loss, _ := LogLoss(all)
		equal, _ := Calibrate(all, Bins{EqualMass, bins})
		if !ok || d.Width.N != n || d.Mass.N != n || len(d.Width.Bins) != len(width.Bins) {
			t.Fatalf("%+v, want %+v", d, width)
		}
		near(t, "ECE", d.Width.ECE, width.ECE, 1e-10)
		near(t, "MCE", d.Width.MCE, width.MCE, 1e-10)
		if !math.IsNaN(width.Debiased) || !math.IsNaN(d.Width.Debiased) {
			near(t, "debiased", d.Width.Debiased, width.Debiased, 1e-10)
		}
		for k, w := range width.Bins {
			g := d.Width.Bins[k]
			sameInterval(t, "share", g.Interval, g.N == w.N, w.Interval.Low, w.Interval.High, 1e-10)
		}
		near(t, "Brier", d.Brier.Score, brier.Score, 1e-10)
		near(t, "reliability", d.Brier.Reliability, brier.Reliability, 1e-10)
		near(t, "resolution", d.Brier.Resolution, brier.Resolution, 1e-10)
		near(t, "uncertainty", d.Brier.Uncertainty, brier.Uncertainty, 1e-10)
		near(t, "variance", d.Brier.WithinVariance, brier.WithinVariance, 1e-10)
		near(t, "covariance", d.Brier.WithinCovariance, brier.WithinCovariance, 1e-10)
		near(t, "log loss", d.LogLoss, loss, 1e-10)
		near(t, "equal-mass ECE", d.Mass.ECE, equal.ECE, mass)
		near(t, "equal-mass MCE", d.Mass.MCE, equal.MCE, 20*mass)
		if mass < 1e-9 && len(d.Mass.Bins) != len(equal.Bins) {
			t.Errorf("%d bins of equal mass, want %d", len(d.Mass.Bins), len(equal.Bins))
		}
	}
	stated := func(rng *rand.Rand) float64 { return float64(rng.IntN(201)) / 200 }
	f(1, 15, stated, 1e-10)
	f(2, 15, stated, 1e-10)
	f(14, 15, stated, 1e-10)
	f(400, 15, stated, 1e-10)
	f(3001, 10, stated, 1e-10)
	f(500, 1, stated, 1e-10)
	f(300, 15, func(*rand.Rand) float64 { return 1 }, 1e-10)
	f(300, 15, func(rng *rand.Rand) float64 { return float64(rng.IntN(2)) }, 1e-10)
	f(2000, 15, (*rand.Rand).Float64, 0.004)
	f(2000, 15, func(rng *rand.Rand) float64 { return 1 - math.Pow(rng.Float64(), 9)/10 }, 0.004) // most are near 1
}

func TestReliabilityRefuses(t *testing.T) {
	if _, ok := NewReliability(Bins{Kind: EqualMass}); ok {
		t.Error("equal-mass bins add up")
	}
	r, _ := NewReliability(Bins{})
	for _, p := range []float64{nan, -0.1, 1.1, math.Inf(1)} {
		if r.Next(1, p, true) || r.Keyed(1, p, true) {
			t.Errorf("%v is a probability", p)
		}
	}
	if d, ok := r.Finish(); ok {
		t.Errorf("a diagram of nothing: %+v", d)
	}
}

// Answers of a group are no independent trials, in whatever order they come.
func TestReliabilityKeyed(t *testing.T) {
	r, _ := NewReliability(Bins{})
	for i := range 6 {
		r.Keyed(i%2, 0.9, i%2 == 0)
	}
	d, _ := r.Finish()
	all := Forecasts{P: []float64{.9, .9, .9, .9, .9, .9}, Hit: []bool{true, false, true, false, true, false}, Cluster: []int{0, 1, 0, 1, 0, 1}}
	want, _ := Calibrate(all, Bins{})
	if d.Width.Bins[0].Interval != want.Bins[0].Interval {
		t.Errorf("%+v, want %+v", d.Width.Bins[0], want.Bins[0])
	}
}
