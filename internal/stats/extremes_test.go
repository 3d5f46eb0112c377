package stats

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// relative fails unless got is within a share tol of want.
func relative(t *testing.T, name string, got, want, tol float64) {
	t.Helper()
	near(t, name, got, want, tol*math.Abs(want))
}

// Far out in the tails a difference from 1 has no digits left. Source: SciPy 1.12.0 and mpmath 1.4.1.
func TestTailsKeepTheirDigits(t *testing.T) {
	pooled := func(k1, n1, k2, n2 int, want float64) {
		t.Helper()
		_, p, ok := PooledZ(k1, n1, k2, n2)
		if !ok {
			t.Fatal("refused")
		}
		relative(t, "pooled p", p, want, 1e-9)
	}
	pooled(7, 29, 99, 100, 1.8031067788371268e-20)
	pooled(262, 263, 54, 263, 1.4678471511948885e-76)
	pooled(1, 100, 999, 1000, 5.6200554805667665e-236)

	relative(t, "z² at α = 1e-20", MillerN(1, 0, 0, 1, 1, 1, 1e-20, .5, OneSided), 85.79094393908679, 1e-9)
	relative(t, "α spent early", SpentOBrienFleming(.025, .05), 1.19736067642326e-23, 1e-9)
	early, ok := OBrienFleming([]float64{.05, 1}, .025)
	if !ok {
		t.Fatal("refused")
	}
	relative(t, "an early bound", early[0], 9.955145577455843, 1e-9)

	two, _, _ := FisherExact(500, 0, 0, 500)
	relative(t, "Fisher", two, 7.399507995628049e-300, 1e-9)
	for _, df := range []float64{2e6, 1e9, 1e15} {
		z := 1.959963984540054
		relative(t, "Student", StudentQuantile(.95, df), z+z*(z*z+1)/(4*df), 1e-12)
	}
}

// Counts of 1e9 take milliseconds: a weight that has become nothing ends the sum.
func TestLargeCounts(t *testing.T) {
	const n = 1_000_000_000
	two, less, greater := FisherExact(n, 0, 0, n)
	if two != 0 || less != 1 || greater != 0 {
		t.Errorf("Fisher: %v %v %v, want 0, 1, 0", two, less, greater)
	}
	two, less, greater = FisherExact(n/2, n/2+10_000, n/2, n/2)
	near(t, "Fisher two-sided", two, .823099, 1e-5)
	near(t, "Fisher less", less, .411550, 1e-5)
	near(t, "Fisher greater", greater, .588485, 1e-5)
	p := McNemar(n/2, n/2+40_000)
	z := 40_000 / math.Sqrt(n+40_000)
	near(t, "McNemar mid", p.Mid, 2*distuv.UnitNormal.CDF(-z), 1e-5)
	i, ok := ClopperPearson(1, n, .95)
	sameInterval(t, "Clopper-Pearson", i, ok, 2.53178e-11, 5.57164e-9, 1e-14)
}

// A level that is none gives no interval.
func TestLevelsRefused(t *testing.T) {
	var r Ratio
	r.AddCluster(1, 1, 1)
	r.AddCluster(1, 2, 1)
	judged, _ := PredictionPowered([]float64{0, 1, 1}, []float64{.1, .9, .7}, []float64{.2, .8})
	agreed, _ := FleissKappa(fourRaters)
	for _, level := range []float64{0, 1, -1, 2, nan, math.Inf(1)} {
		_, wilson := Wilson(3, 10, level)
		_, exact := ClopperPearson(3, 10, level)
		_, newcombe := Newcombe(3, 10, 4, 10, level)
		_, tango := Tango(1, 3, 10, level)
		_, student := r.Interval(level)
		_, _, flake := FlakeRate(3, 4, level)
		_, bca := BCa(15, lawCorrelation, level, Draws{N: 99})
		_, powered := judged.Interval(level)
		_, agreement := agreed.Interval(level)
		for name, ok := range map[string]bool{
			"Wilson": wilson, "Clopper-Pearson": exact, "Newcombe": newcombe, "Tango": tango, "Student": student, "flake": flake,
			"BCa": bca, "prediction-powered": powered, "agreement": agreement,
		} {
			if ok {
				t.Errorf("%s: an interval at the level %v", name, level)
			}
		}
		if n := EffectiveTrials(.5, .1, 100, 10, level); n != 0 {
			t.Errorf("%v effective trials at the level %v", n, level)
		}
		if n := WilsonTrials(.9, .95, level); !math.IsNaN(n) {
			t.Errorf("%v trials at the level %v", n, level)
		}
	}
	for _, x := range []float64{
		NormalQuantile(2), NormalQuantile(-2), NormalQuantile(nan), StudentQuantile(2, 5), StudentQuantile(-1, 5), StudentQuantile(nan, 5),
		StudentQuantile(.95, 0), StudentQuantile(.95, -1), StudentQuantile(.95, nan),
	} {
		if !math.IsNaN(x) {
			t.Errorf("a quantile %v, want NaN", x)
		}
	}
}

// Clusters that say nothing about a ratio make it no surer, and do not take its digits.
func TestRatioWithoutWeight(t *testing.T) {
	var with, without Ratio
	for i := range 300 {
		with.AddCluster(1, 0, 0)
		if i%60 == 0 {
			y := 1e9 + float64(i)*1e-4
			with.AddCluster(1, y, 1)
			without.AddCluster(1, y, 1)
		}
	}
	a, ok1 := with.Interval(.95)
	b, ok2 := without.Interval(.95)
	if !ok1 || !ok2 || a != b || with.Clusters() != 5 {
		t.Errorf("%v %v of %d clusters, without the empty ones %v %v", a, ok1, with.Clusters(), b, ok2)
	}
	// A sum without weight counts, whichever comes first.
	var first, last Ratio
	first.AddCluster(1, 2, 0)
	for i := range 4 {
		first.AddCluster(1, 1e9+float64(i)/7, 3)
		last.AddCluster(1, 1e9+float64(i)/7, 3)
	}
	last.AddCluster(1, 2, 0)
	x, _ := first.ClusteredSE()
	y, _ := last.ClusteredSE()
	relative(t, "a sum without weight", x, y, 1e-6)
}
