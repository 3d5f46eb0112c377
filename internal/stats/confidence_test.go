package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// calibrated draws forecasts between ½ and 1 that come true as often as they say.
func calibrated(r *rand.Rand, n int) Forecasts {
	f := Forecasts{P: make([]float64, n), Hit: make([]bool, n)}
	for i := range n {
		f.P[i] = 0.5 + r.Float64()/2
		f.Hit[i] = r.Float64() < f.P[i]
	}
	return f
}

// The error of a perfectly calibrated forecaster: .088 for 100 forecasts, .051 for 300, .028 for 1,000; the debiased one is
// nothing on average.
func TestCalibrationOfThePerfect(t *testing.T) {
	f := func(n int, want float64) {
		t.Helper()
		const runs = 600
		r := rand.New(rand.NewPCG(uint64(n), 1))
		var ece, debiased, squares float64
		for range runs {
			c, ok := Calibrate(calibrated(r, n), Bins{})
			if !ok {
				t.Fatal("nothing")
			}
			ece += c.ECE / runs
			debiased += c.Debiased / runs
			squares += c.Debiased * c.Debiased / runs
		}
		near(t, "ECE", ece, want, 0.003)
		near(t, "debiased", debiased, 0, 4*math.Sqrt(squares/runs))
	}
	f(100, 0.088)
	f(300, 0.051)
	f(1000, 0.028)
}

func TestEqualMassEdges(t *testing.T) {
	edges := Bins{Kind: EqualMass, Count: 3}.Edges([]float64{.3, .5, .2, .3, .5, .7})
	if !slices.Equal(edges, []float64{.3, .5, 1}) {
		t.Errorf("edges %v, want .3, .5, 1", edges)
	}
}

// An overconfident forecaster is found out, a perfect one mostly not.
func TestCalibrationDecides(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	over := Forecasts{}
	for range 1000 {
		over.P = append(over.P, 0.95)
		over.Hit = append(over.Hit, r.Float64() < 0.7)
	}
	// None of 199 draws is as far off, and the forecasts seen are one of those that could have come up.
	if p, ok := CalibrationP(over, Bins{}, Draws{N: 199, Seed: 1}); !ok || p != 1./200 {
		t.Errorf("p %v of an overconfident forecaster", p)
	}
	c, ok := Calibrate(over, Bins{})
	if !ok {
		t.Fatal("nothing")
	}
	near(t, "root", c.Root, 0.25, 0.05)
	low := 0
	const runs = 200
	for i := range runs {
		if p, ok := CalibrationP(calibrated(r, 200), Bins{}, Draws{N: 99, Seed: uint64(i)}); !ok || p <= 0.05 {
			low++
		}
	}
	if share := float64(low) / runs; share > 0.05+3*math.Sqrt(0.05*0.95/runs) {
		t.Errorf("%.3f of perfect forecasters are rejected at 5%%", share)
	}
}

func TestBrierAddsUp(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	f := calibrated(r, 500)
	s, ok := BrierScore(f, Bins{})
	if !ok {
		t.Fatal("nothing")
	}
	direct := 0.0
	for i, p := range f.P {
		d := p - bit(f.Hit[i])
		direct += d * d / 500
	}
	near(t, "Brier score", s.Score, direct, 1e-12)
	near(t, "the parts", s.Reliability-s.Resolution+s.Uncertainty+s.WithinVariance-s.WithinCovariance, direct, 1e-12)
	if !(s.WithinVariance > 1e-6) || s.WithinCovariance == 0 {
		t.Errorf("%+v: binning is said to hide nothing", s)
	}
	loss, ok := LogLoss(Forecasts{P: []float64{0.5, 0.25}, Hit: []bool{true, false}})
	if !ok {
		t.Fatal("nothing")
	}
	near(t, "log loss", loss, -(math.Log(0.5)+math.Log(0.75))/2, 1e-12)
	if _, ok := Calibrate(Forecasts{P: []float64{math.NaN()}, Hit: []bool{true}}, Bins{}); ok {
		t.Error("a NaN was taken for a probability")
	}
	if _, ok := Calibrate(Forecasts{}, Bins{}); ok {
		t.Error("nothing was calibrated")
	}
}

// The interval covers, and good predictions are a gain.
func TestPredictionPoweredCovers(t *testing.T) {
	const runs, labelled, others = 1500, 80, 2000
	r := rand.New(rand.NewPCG(9, 10))
	covered, gain := 0, 0.0
	for range runs {
		draw := func() (y, p float64) {
			p = r.Float64()
			return bit(r.Float64() < 0.1+0.8*p), p
		}
		y, p, u := make([]float64, labelled), make([]float64, labelled), make([]float64, others)
		for i := range y {
			y[i], p[i] = draw()
		}
		for i := range u {
			_, u[i] = draw()
		}
		got, ok := PredictionPowered(y, p, u)
		if !ok {
			t.Fatal("nothing")
		}
		i, ok := got.Interval(0.95)
		if !ok {
			t.Fatal("no interval")
		}
		if i.Low <= 0.5 && 0.5 <= i.High {
			covered++
		}
		gain += got.Gain / runs
	}
	if share := float64(covered) / runs; share < 0.935 {
		t.Errorf("95%% intervals cover in %.3f of runs", share)
	}
	if gain < 1.15 {
		t.Errorf("a gain of %.2f from good predictions", gain)
	}
}

// Families of tests keep what they promise: the chance of any false rejection, and the share of false ones.
func TestFamiliesHold(t *testing.T) {
	const runs, tests, nulls = 2000, 20, 15
	r := rand.New(rand.NewPCG(15, 16))
	family, falseShare := 0, 0.0
	for range runs {
		p := make([]float64, tests)
		for i := range p {
			z := r.NormFloat64()
			if i >= nulls {
				z += 3
			}
			p[i] = math.Erfc(z/math.Sqrt2) / 2
		}
		hit := false
		for _, x := range Holm(p)[:nulls] {
			hit = hit || x <= 0.05
		}
		if hit {
			family++
		}
		wrong, all := 0, 0
		for i, x := range BH(p) {
			if x > 0.05 {
				continue
			}
			all++
			if i < nulls {
				wrong++
			}
		}
		falseShare += float64(wrong) / float64(max(1, all)) / runs
	}
	if share := float64(family) / runs; share > 0.05+3*math.Sqrt(0.05*0.95/runs) {
		t.Errorf("Holm rejects falsely in %.3f of families", share)
	}
	if falseShare > 0.05 {
		t.Errorf("%.3f of what BH rejects is false", falseShare)
	}
}
