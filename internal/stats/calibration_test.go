package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// patterned is a set of 120 forecasts without chance, so that it can be written down in any language.
func patterned() Forecasts {
	var f Forecasts
	for i := range 120 {
		p := float64(i*37%101) / 100
		f.P = append(f.P, p)
		f.Hit = append(f.Hit, float64((i*53+7)%97) < 97*(0.15+0.7*p))
	}
	return f
}

// Source: uncertainty-calibration 0.1.4 (get_equal_prob_bins, get_equal_bins, plugin_ce, unbiased_square_ce), and
// scikit-learn 1.9.1 (brier_score_loss, log_loss).
func TestCalibrationReference(t *testing.T) {
	f := func(b Bins, bins int, ece, root, debiased float64) {
		t.Helper()
		c, ok := Calibrate(patterned(), b)
		if !ok || len(c.Bins) != bins || c.N != 120 || c.Single != 0 {
			t.Fatalf("%v: %+v, %v", b, c, ok)
		}
		near(t, "ECE", c.ECE, ece, 1e-11)
		near(t, "plain root", math.Sqrt(c.Squared), root, 1e-11)
		near(t, "debiased", c.Debiased, debiased, 1e-11)
		near(t, "debiased root", c.Root, math.Sqrt(debiased), 1e-9)
	}
	f(Bins{}, 15, .150583333333, .186491822168, .004359226190)
	f(Bins{EqualMass, 10}, 10, .144250000000, .173789663738, .010379614899)
	f(Bins{EqualMass, 7}, 7, .146416666667, .157026022815, .010860875545)

	s, ok := BrierScore(patterned(), Bins{})
	near(t, "Brier", s.Score, .247115833333, 1e-11)
	loss, ok2 := LogLoss(patterned())
	near(t, "log loss", loss, 1.003152438733, 1e-11)
	if !ok || !ok2 {
		t.Error("refused")
	}
}

// A diagram worked out by hand: the edges belong to the bin below, 0 to the first, and the largest gap is that of one
// forecast.
func TestReliabilityBins(t *testing.T) {
	f := Forecasts{
		P:   []float64{0, 0.25, 0.25, 0.2500001, 0.5, 1, 1, 1, 1, 0.6},
		Hit: []bool{false, false, true, true, false, true, true, true, false, false},
	}
	c, ok := Calibrate(f, Bins{Count: 4})
	if !ok || len(c.Bins) != 4 {
		t.Fatalf("%+v, %v", c, ok)
	}
	want := []struct {
		low, high float64
		n, hits   int
		predicted float64
	}{
		{0, .25, 3, 1, .5 / 3}, {.25, .5, 2, 1, .75000010 / 2}, {.5, .75, 1, 0, .6}, {.75, 1, 4, 3, 1},
	}
	for k, w := range want {
		b := c.Bins[k]
		if b.Low != w.low || b.High != w.high || b.N != w.n {
			t.Errorf("bin %d is %+v, want %+v", k, b, w)
		}
		near(t, "predicted", b.Predicted, w.predicted, 1e-12)
		near(t, "observed", b.Observed, float64(w.hits)/float64(w.n), 1e-12)
		i, ok := Wilson(float64(w.hits), float64(w.n), 0.95)
		sameInterval(t, "share", b.Interval, ok, i.Low, i.High, 1e-12)
	}
	near(t, "MCE", c.MCE, .6, 1e-12)
	if c.Single != 1 {
		t.Errorf("%d forecasts alone, want 1", c.Single)
	}
	// Three answers to each of two prompts that agree are two trials, not six.
	f = Forecasts{
		P: []float64{.9, .9, .9, .9, .9, .9}, Hit: []bool{true, true, true, false, false, false},
		Cluster: []int{7, 7, 7, 3, 3, 3},
	}
	clustered, _ := Calibrate(f, Bins{})
	f.Cluster = nil
	alone, _ := Calibrate(f, Bins{})
	wide, narrow := clustered.Bins[0].Interval, alone.Bins[0].Interval
	if wide.High-wide.Low < narrow.High-narrow.Low+0.05 {
		t.Errorf("in two clusters %v, as six %v", wide, narrow)
	}
	if got := (Bins{EqualMass, 0}).String(); got != "equal mass, 15 bins (low, high]" {
		t.Errorf("binning %q", got)
	}
}

func TestCalibrationRefuses(t *testing.T) {
	f := func(in Forecasts) {
		t.Helper()
		_, ok1 := Calibrate(in, Bins{})
		_, ok2 := CalibrationInterval(in, Bins{}, 0.95, Draws{N: 99})
		_, ok3 := CalibrationP(in, Bins{}, Draws{N: 99})
		_, ok4 := BrierScore(in, Bins{})
		_, ok5 := LogLoss(in)
		if ok1 || ok2 || ok3 || ok4 || ok5 {
			t.Errorf("%+v was taken: %v %v %v %v %v", in, ok1, ok2, ok3, ok4, ok5)
		}
	}
	f(Forecasts{})
	f(Forecasts{P: []float64{.5}})
	f(Forecasts{P: []float64{.5}, Hit: []bool{true, true}})
	f(Forecasts{P: []float64{.5, nan}, Hit: []bool{true, true}})
	f(Forecasts{P: []float64{.5, 1.01}, Hit: []bool{true, true}})
	f(Forecasts{P: []float64{.5, -.01}, Hit: []bool{true, true}})
	f(Forecasts{P: []float64{.5, .5}, Hit: []bool{true, true}, Cluster: []int{1}})

	// All alone in their bins: there is an ECE, but nothing to debias by.
	alone := Forecasts{P: []float64{.05, .95}, Hit: []bool{false, true}}
	c, ok := Calibrate(alone, Bins{})
	if !ok || !math.IsNaN(c.Debiased) || !math.IsNaN(c.Root) || c.Single != 2 {
		t.Errorf("%+v, %v", c, ok)
	}
	if p, ok := CalibrationP(alone, Bins{}, Draws{N: 99}); ok {
		t.Errorf("p = %v from single forecasts", p)
	}
	if i, ok := CalibrationInterval(alone, Bins{}, 0.95, Draws{N: 99}); ok {
		t.Errorf("interval %v from single forecasts", i)
	}
	one := Forecasts{P: []float64{.5, .5, .5}, Hit: []bool{true, false, true}, Cluster: []int{1, 1, 1}}
	if i, ok := CalibrationInterval(one, Bins{}, 0.95, Draws{N: 99}); ok {
		t.Errorf("interval %v from one cluster", i)
	}
	if l, ok := LogLoss(Forecasts{P: []float64{0}, Hit: []bool{true}}); !ok || !(l > 34 && l < 35) {
		t.Errorf("log loss %v of the impossible", l)
	}
}

// Source: the same bootstrap of 200,000 draws in NumPy 1.26.4; the tolerance is for our 20,000.
func TestCalibrationIntervalReference(t *testing.T) {
	f := patterned()
	for i := range f.Hit {
		f.Hit[i] = float64((i*53+7)%97) < 97*0.2
	}
	i, ok := CalibrationInterval(f, Bins{}, 0.9, Draws{20_000, 1})
	sameInterval(t, "alone", i, ok, .1373, .2525, .002)
	for i := range f.P {
		f.Cluster = append(f.Cluster, i/3)
	}
	i, ok = CalibrationInterval(f, Bins{}, 0.9, Draws{20_000, 1})
	sameInterval(t, "threes", i, ok, .1459, .2448, .002)
}

// The bootstrap interval covers the squared error of the population, for independent forecasts and for clusters.
func TestCalibrationIntervalCovers(t *testing.T) {
	f := func(clusters, size int, shared float64, most int) {
		t.Helper()
		draw := func(rng *rand.Rand, clusters int) Forecasts {
			var f Forecasts
			for c := range clusters {
				whole := rng.Float64()
				for range size {
					p := 0.5 + rng.Float64()/2
					u := rng.Float64()
					if rng.Float64() < shared {
						u = whole
					}
					f.P = append(f.P, p)
					f.Hit = append(f.Hit, u < p*p) // overconfident by up to a quarter
					f.Cluster = append(f.Cluster, c)
				}
			}
			return f
		}
		rng := rand.New(rand.NewPCG(31, uint64(size)))
		population, _ := Calibrate(draw(rng, 200_000/size), Bins{})
		truth := population.Debiased
		hit := 0
		for k := range most {
			i, ok := CalibrationInterval(draw(rng, clusters), Bins{}, 0.95, Draws{N: 500, Seed: uint64(k)})
			if ok && i.Low <= truth && truth <= i.High {
				hit++
			}
		}
		c := float64(hit) / float64(most)
		t.Logf("%d clusters of %d: true root %.3f, coverage %.3f", clusters, size, math.Sqrt(truth), c)
		if c < .92 || c > .985 {
			t.Errorf("%d clusters of %d: coverage %.3f", clusters, size, c)
		}
	}
	f(400, 1, 0, 400)
	f(200, 4, 0.3, 300)
}

// Source: the formulas in NumPy 1.26.4, with sample variances. ppi-python 0.2.3 divides the covariance by n and agrees to that.
func TestPredictionPoweredReference(t *testing.T) {
	var y, predicted, unlabelled []float64
	for i := range 40 {
		label := float64(i*29%17) / 16
		y = append(y, label)
		predicted = append(predicted, math.Min(1, label*.7+float64(i*13%11)/40))
	}
	for i := range 200 {
		unlabelled = append(unlabelled, float64(i*7%23)/23*.9)
	}
	p, ok := PredictionPowered(y, predicted, unlabelled)
	if !ok || p.Labelled != 40 || p.Unlabelled != 200 {
		t.Fatalf("%+v, %v", p, ok)
	}
	near(t, "lambda", p.Lambda, .8767639456058915, 1e-12)
	near(t, "estimate", p.Value, .46018995397335716, 1e-12)
	near(t, "SE", p.SE, .02699879375903613, 1e-12)
	i, ok := p.Interval(0.95)
	half := 2.022690920 * p.SE // t with 39 degrees of freedom
	sameInterval(t, "interval", i, ok, p.Value-half, p.Value+half, 1e-9)
	near(t, "gain", p.Gain, p.HumanSE*p.HumanSE/(p.SE*p.SE), 1e-9)
	se, _ := NaiveSE(y)
	near(t, "SE of the labels alone", p.HumanSE, se, 1e-12)

	// Predictions that say nothing, or the opposite, are not used.
	for name, useless := range map[string]func(i int) float64{
		"constant": func(int) float64 { return .5 },
		"opposite": func(i int) float64 { return 1 - y[i] },
	} {
		for i := range predicted {
			predicted[i] = useless(i)
		}
		p, ok := PredictionPowered(y, predicted, unlabelled)
		if !ok || p.Lambda != 0 || p.Gain != 1 || math.Abs(p.Value-p.HumanOnly) > 1e-12 {
			t.Errorf("%s: %+v, %v", name, p, ok)
		}
	}
	bad := func(y, predicted, unlabelled []float64) {
		t.Helper()
		if p, ok := PredictionPowered(y, predicted, unlabelled); ok {
			t.Errorf("%+v, want none", p)
		}
	}
	two := []float64{0, 1}
	bad(nil, nil, nil)
	bad(two, two, nil)
	bad(two, two, two[:1])
	bad(two[:1], two[:1], two)
	bad(two, two[:1], two)
	bad([]float64{nan, 1}, two, two)
	bad(two, two, []float64{0, math.Inf(1)})
	same, ok := PredictionPowered([]float64{1, 1}, []float64{1, 1}, []float64{1, 1, 1})
	if _, sure := same.Interval(0.95); !ok || sure {
		t.Errorf("an interval from labels that are all alike: %+v", same)
	}
}
