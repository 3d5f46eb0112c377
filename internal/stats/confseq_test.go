package stats

import (
	"math"
	"testing"
)

// Vector 14: V = 100, tuned to 100, alpha 0.05.
func TestBoundaryVectors(t *testing.T) {
	f := func(name string, bound func(v, alpha float64) (float64, bool), want float64) {
		t.Helper()
		got, ok := bound(100, 0.05)
		if !ok {
			t.Fatalf("%s refused", name)
		}
		near(t, name, got, want, 5.01e-6)
	}
	two, _ := NewNormalMixture(100, 0.05, TwoSided)
	one, _ := NewNormalMixture(100, 0.05, OneSided)
	gamma, _ := NewGammaExponential(100, 0.05, 2)
	beta, _ := NewBetaBinomial(100, 0.05, .2, .8, TwoSided)
	f("normal, two-sided", two.Bound, 30.35209)
	f("normal, one-sided", one.Bound, 27.66071)
	f("gamma-exponential", gamma.Bound, 33.02017)
	f("beta-binomial", beta.Bound, 31.43080)
	f("stitching", PolynomialStitching{VMin: 10, C: 3}.Bound, 64.48755)
}

// Vector 15.
func TestRateSequenceVector(t *testing.T) {
	i, ok := RateSequence(700, 1000, 0.05, 100)
	if !ok {
		t.Fatal("refused")
	}
	near(t, "low", i.Low, .651630, 5.01e-7)
	near(t, "high", i.High, .745950, 5.01e-7)
}

// Vector 17.
func TestAsymptoticVector(t *testing.T) {
	f := func(sides Sides, want float64) {
		t.Helper()
		got, ok := AsymptoticHalfWidth(.01, 5000, 5000, .05, sides)
		if !ok {
			t.Fatal("refused")
		}
		near(t, "half-width", got, want, 5.01e-7)
	}
	f(TwoSided, .030352)
	f(OneSided, .027791)
	if _, ok := AsymptoticHalfWidth(math.NaN(), 10, 10, .05, TwoSided); ok {
		t.Error("NaN gave a width")
	}
}

// The last of vector 14. It prints .08204769, the constant of confseq's own unit test, which confseq is held to within 1e-5:
// confseq 0.0.11 itself gives .0820477877091. Below that the band would be too narrow: the constant's error bound is
// 0.0500015, above alpha.
func TestEmpiricalProcessLILVector(t *testing.T) {
	f := func(n int, alpha, tMin, a, want float64) {
		t.Helper()
		got, ok := EmpiricalProcessLIL(n, alpha, tMin, a)
		if !ok {
			t.Fatal("refused")
		}
		near(t, "radius", got, want, 1e-11*want)
	}
	f(1000, .05, 100, .85, .0820477877091) // confseq 0.0.11, as are those that follow
	f(1000, .05, 1, .85, .0858060719741)
	f(1_000_000, .05, 100, .85, .00274723896436)
	f(1000, .05, 100, .8, .0836081385439)
	f(1000, .05, 100, 1, .0807104672081)
	f(1000, .5, 100, .85, .0743899901878)
	f(1000, 1e-6, 100, .85, .111136867235)
	printed, _ := EmpiricalProcessLIL(1000, .05, 100, .85)
	near(t, "radius, as printed", printed, .08204769, 1.1e-7)
	scaled := .08204769 / .85
	if c := 1000*scaled*scaled - math.Log1p(math.Log(10)); lilError(c, .85) <= .05 {
		t.Error("the printed radius would do")
	}
	for _, bad := range []float64{math.NaN(), 0, 1, -1} {
		if r, ok := EmpiricalProcessLIL(1000, bad, 100, .85); ok {
			t.Errorf("alpha %v gave %v", bad, r)
		}
	}
}

// Further values of confseq 0.0.11 (PyPI), each tuned at the alpha that it is asked at.
func TestBoundaryReference(t *testing.T) {
	f := func(name string, got float64, isOK bool, want float64) {
		t.Helper()
		if !isOK {
			t.Fatalf("%s refused", name)
		}
		near(t, name, got, want, 1e-9*want)
	}
	mixed := func(v, alpha, g, h float64, sides Sides, want float64) {
		t.Helper()
		m, _ := NewBetaBinomial(100, alpha, g, h, sides)
		got, isOK := m.Bound(v, alpha)
		f("beta-binomial", got, isOK, want)
	}
	mixed(50, .01, .2, .8, OneSided, 25.047655796399226)
	mixed(500, .05, .3, .7, OneSided, 65.17632799704151)
	mixed(20, .05, .5, .5, TwoSided, 14.880162896270122)
	others := func(v, alpha, one, two, gamma, stitched float64) {
		t.Helper()
		o, _ := NewNormalMixture(100, alpha, OneSided)
		got, isOK := o.Bound(v, alpha)
		f("normal, one-sided", got, isOK, one)
		w, _ := NewNormalMixture(100, alpha, TwoSided)
		got, isOK = w.Bound(v, alpha)
		f("normal, two-sided", got, isOK, two)
		g, _ := NewGammaExponential(100, alpha, .5)
		got, isOK = g.Bound(v, alpha)
		f("gamma-exponential", got, isOK, gamma)
		got, isOK = PolynomialStitching{VMin: 10, C: .5}.Bound(v, alpha)
		f("stitching", got, isOK, stitched)
	}
	others(10, .01, 13.053837351062612, 13.64843385537634, 14.589631418957651, 14.875824873242099)
	others(1000, .01, 112.08976932795167, 118.69258830840943, 114.57612526265848, 138.295928168605)
	others(1e5, .001, 1484.8681113711848, 1533.9096902109577, 1492.1551039272174, 1564.0950293831975)
	rate := func(k, n int, alpha, low, high float64) {
		t.Helper()
		i, isOK := RateSequence(k, n, alpha, 100)
		if !isOK {
			t.Fatal("refused")
		}
		near(t, "low", i.Low, low, 1e-11)
		near(t, "high", i.High, high, 1e-11)
	}
	rate(0, 50, .05, 0, 0.09298081260550362)
	rate(3, 1000, .01, 1.2354908896856643e-05, 0.014471861174839302)
	rate(50, 50, .05, 0.9070191873947806, 1)
}

// Large counts keep their digits: the logarithms of the gamma function are of 1e10 there, the martingale's of 1 to 10. The
// references are mpmath's with 50 digits.
func TestBoundariesOfLargeCounts(t *testing.T) {
	b, _ := NewBetaBinomial(1e4, .05, .5, .5, TwoSided)
	near(t, "beta-binomial, 1e9 trials", b.LogMartingale(1e5, 2.5e8), 13.9007180500571118, 1e-8)
	b, _ = NewBetaBinomial(100, .05, .001, .999, TwoSided)
	near(t, "beta-binomial, 1e9 trials at .001", b.LogMartingale(1e4, 999_000), 44.231578535013474, 1e-8)
	g, _ := NewGammaExponential(100, .05, 2)
	near(t, "gamma-exponential", g.LogMartingale(25, 100), 1.64531840646619, 1e-9)
	g, _ = NewGammaExponential(1e6, .05, .1)
	near(t, "gamma-exponential, 1e8", g.LogMartingale(3e4, 1e8), 1.95859548144132, 1e-8)
	g, _ = NewGammaExponential(1e4, .05, .5)
	near(t, "gamma-exponential, 1e9", g.LogMartingale(1e5, 1e9), -0.990187106896776, 1e-8)
}

// One-sided beta-binomial boundaries of confseq 0.0.11 at half of alpha on either side of the quantile, over n.
func TestQuantileSharesReference(t *testing.T) {
	f := func(n int, p, alpha float64, tuned int, low, high float64) {
		t.Helper()
		l, h, isOK := QuantileShares(n, p, alpha, tuned)
		if !isOK {
			t.Fatal("refused")
		}
		near(t, "low", l, low, 1e-10)
		near(t, "high", h, high, 1e-10)
	}
	f(1000, 0.5, 0.05, 100, 0.44853060762, 0.55146939238)
	f(1000, 0.9, 0.05, 100, 0.86794172504, 0.92967500981)
	f(2000, 0.99, 0.05, 1000, 0.98244300474, 0.99595852265)
	f(1000000, 0.95, 0.01, 10000, 0.94911978888, 0.95087846969)
	f(100, 0.1, 0.2, 100, 0.035747367291, 0.18137748697)
}

// betting_cs of confseq 0.0.11 with its defaults and running intersection, for the scores frac(0.618…·i)².
func TestMeanSequenceReference(t *testing.T) {
	m := must(NewMeanSequence(MeanSequenceOptions{Alpha: .05}))
	want := map[int]Interval{1: {0, 1}, 10: {.115, .671}, 50: {.221, .454}, 200: {.269, .398}, 300: {.278, .387}}
	for i := 1; i <= 300; i++ {
		_, x := math.Modf(float64(i) * 0.6180339887498949)
		ok(t, m.Update(x*x))
		if w, isWanted := want[i]; isWanted {
			got, _ := m.Interval()
			near(t, "low", got.Low, w.Low, 1e-12)
			near(t, "high", got.High, w.High, 1e-12)
		}
	}
	if m.N() != 300 || len(m.up) > 110 {
		t.Errorf("%d scores, %d points remain", m.N(), len(m.up))
	}
}

// A mean that moves is none: when all are left there is no interval, and that stays so in a state.
func TestMeanSequenceOfAMeanThatMoves(t *testing.T) {
	m := must(NewMeanSequence(MeanSequenceOptions{Alpha: .05, Grid: 100}))
	for range 200 {
		ok(t, m.Update(0))
	}
	if i, isOK := m.Interval(); !isOK || i.Low != 0 || i.High > .1 {
		t.Fatalf("%v, %v after zeros", i, isOK)
	}
	for range 400 {
		ok(t, m.Update(1))
	}
	again := new(MeanSequence)
	ok(t, again.UnmarshalJSON([]byte(marshal(t, m))))
	for _, s := range []*MeanSequence{m, again} {
		ok(t, s.Update(.5))
		if i, isOK := s.Interval(); isOK {
			t.Errorf("%v after a move from 0 to 1", i)
		}
	}
}

func TestBoundariesRefuse(t *testing.T) {
	f := func(name string, isOK bool) {
		t.Helper()
		if isOK {
			t.Errorf("%s gave an answer", name)
		}
	}
	nan, inf := math.NaN(), math.Inf(1)
	two, _ := NewNormalMixture(100, .05, TwoSided)
	one, _ := NewNormalMixture(100, .05, OneSided)
	gamma, _ := NewGammaExponential(100, .05, 1)
	beta, _ := NewBetaBinomial(100, .05, .5, .5, TwoSided)
	for name, bound := range map[string]func(v, alpha float64) (float64, bool){
		"two": two.Bound, "one": one.Bound, "gamma": gamma.Bound, "beta": beta.Bound, "stitching": PolynomialStitching{1, 1}.Bound,
		"zero normal": NormalMixture{}.Bound, "zero gamma": GammaExponential{}.Bound, "zero beta": BetaBinomial{}.Bound, "zero stitching": PolynomialStitching{}.Bound,
	} {
		for _, bad := range [][2]float64{{nan, .05}, {-1, .05}, {inf, .05}, {10, 0}, {10, 1}, {10, nan}} {
			_, isOK := bound(bad[0], bad[1])
			f(name, isOK)
		}
		if name[:1] == "z" {
			_, isOK := bound(10, .05)
			f(name, isOK)
		}
	}
	for _, bad := range []float64{nan, inf, 0, -1} {
		_, isOK := NewNormalMixture(bad, .05, TwoSided)
		f("normal", isOK)
		_, isOK = NewGammaExponential(10, .05, bad)
		f("gamma", isOK)
		_, isOK = NewBetaBinomial(10, .05, bad, .5, TwoSided)
		f("beta", isOK)
	}
	for _, bad := range [][2]int{{0, 0}, {-1, 10}, {11, 10}} {
		_, isOK := RateSequence(bad[0], bad[1], .05, 100)
		f("rate", isOK)
	}
	_, isOK := RateSequence(1, 10, nan, 100)
	f("rate", isOK)
	_, _, isOK = QuantileShares(0, .5, .05, 100)
	f("quantile of nothing", isOK)
	_, _, isOK = QuantileShares(10, nan, .05, 100)
	f("quantile", isOK)
	_, isOK = new(Quantiles).Sequence(.5, .05, 100)
	f("quantile of nothing", isOK)
	_, isOK = must(NewMeanSequence(MeanSequenceOptions{Alpha: .05})).Interval()
	f("mean of nothing", isOK)
	// Few observations cannot bound a high quantile from above, nor any at all a constant bound be reached.
	if _, high, isOK := QuantileShares(10, .99, .05, 100); !isOK || !math.IsInf(high, 1) {
		t.Errorf("10 observations bound the 99th percentile at %v", high)
	}
}
