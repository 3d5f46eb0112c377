package stats

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

var nan = math.NaN()

func sameInterval(t *testing.T, name string, i Interval, ok bool, low, high, tol float64) {
	t.Helper()
	if !ok {
		t.Errorf("%s: refused", name)
		return
	}
	near(t, name+" low", i.Low, low, tol)
	near(t, name+" high", i.High, high, tol)
}

// Source: statsmodels 0.15.0, confint_proportions_2indep(method="newcomb").
func TestNewcombe(t *testing.T) {
	f := func(k1, n1, k2, n2 int, low, high float64) {
		t.Helper()
		i, ok := Newcombe(k1, n1, k2, n2, 0.95)
		sameInterval(t, "Newcombe", i, ok, low, high, 5.01e-7)
	}
	f(56, 70, 48, 80, .052431, .333873)
	f(9, 10, 3, 10, .170523, .809018)
	f(0, 20, 0, 30, -.113513, .161125)
	bad := func(k1, n1, k2, n2 int, level float64) {
		t.Helper()
		if i, ok := Newcombe(k1, n1, k2, n2, level); ok {
			t.Errorf("Newcombe(%d, %d, %d, %d, %v) = %v, want none", k1, n1, k2, n2, level, i)
		}
	}
	bad(0, 0, 1, 2, 0.95)
	bad(1, 2, 0, 0, 0.95)
	bad(3, 2, 1, 2, 0.95)
	bad(1, 2, 1, 2, 1)
	bad(1, 2, 1, 2, nan)
}

func TestPooledZ(t *testing.T) {
	z, p, ok := PooledZ(30, 500, 10, 500)
	if !ok {
		t.Fatal("refused")
	}
	near(t, "z", z, 3.227486, 5.01e-7)
	near(t, "p", p, .001249, 5.01e-7)
	bad := func(k1, n1, k2, n2 int) {
		t.Helper()
		if z, _, ok := PooledZ(k1, n1, k2, n2); ok {
			t.Errorf("PooledZ(%d, %d, %d, %d) = %v, want none", k1, n1, k2, n2, z)
		}
	}
	bad(3, 50, 2, 50) // 2.5 failures are expected
	bad(47, 50, 48, 50)
	bad(0, 0, 10, 500)
	bad(0, 500, 0, 500)
	bad(-1, 500, 10, 500)
	bad(501, 500, 10, 500)
}

// Source: SciPy 1.12.0, stats.fisher_exact.
func TestFisherExact(t *testing.T) {
	f := func(a, b, c, d int, two, less, greater float64) {
		t.Helper()
		x, l, g := FisherExact(a, b, c, d)
		near(t, "two-sided", x, two, 1e-9*two)
		near(t, "less", l, less, 1e-9*less)
		near(t, "greater", g, greater, 1e-9*greater)
	}
	f(3, 1, 1, 3, .4857142857, .9857142857, .2428571429)
	f(8, 42, 10, 940, 6.633407928e-07, .9999999675, 6.633407928e-07)
	f(30, 470, 10, 490, .001808349319, .9997348118, .0009041746595)
	f(0, 5, 4, 0, .007936507937, .007936507937, 1)
	f(100, 200, 150, 180, .001973363266, .00122125574, .9992994716)
	f(2000, 3000, 2100, 2900, .04412145225, .02206072612, .9799929689)
	f(0, 0, 0, 0, 1, 1, 1)
	if x, l, g := FisherExact(1, -1, 1, 1); !math.IsNaN(x) || !math.IsNaN(l) || !math.IsNaN(g) {
		t.Error("a negative count has a p-value")
	}
}

// Source: statsmodels 0.15.0, contingency_tables.mcnemar(exact=True); mid-p from SciPy 1.12.0 stats.binom.
func TestMcNemar(t *testing.T) {
	f := func(b, c int, exact, mid, worse float64) {
		t.Helper()
		p := McNemar(b, c)
		near(t, "exact", p.Exact, exact, 1e-9*exact)
		near(t, "mid", p.Mid, mid, 1e-9*mid)
		near(t, "worse", p.WorseMid, worse, 1e-9*worse)
	}
	f(1, 7, .0703125, .0390625, .98046875)
	f(7, 1, .0703125, .0390625, .01953125)
	f(10, 25, .0166738478, .01133098418, .9943345079)
	f(86, 150, 3.71593614e-05, 2.893389518e-05, .9999855331)
	f(150, 86, 3.71593614e-05, 2.893389518e-05, 1.446694759e-05)
	f(0, 0, 1, 1, .5)
	f(4, 4, 1, 1, .5)
	f(0, 3, .25, .125, .9375)
	if p := McNemar(-1, 3); !math.IsNaN(p.Exact) || !math.IsNaN(p.Mid) || !math.IsNaN(p.WorseMid) {
		t.Errorf("a negative count gives %+v", p)
	}
}

// Source: the definition solved another way, by maximising the likelihood of three cells under the constraint, in
// SciPy 1.12.0 (optimize.minimize_scalar and brentq).
func TestTango(t *testing.T) {
	f := func(b, c, n int, level, low, high float64) {
		t.Helper()
		i, ok := Tango(b, c, n, level)
		sameInterval(t, "Tango", i, ok, low, high, 1e-6)
	}
	f(2, 12, 50, .95, .0611124, .3447087)
	f(12, 2, 50, .95, -.3447087, -.0611124)
	f(86, 150, 1319, .95, .0259134, .0714931)
	f(86, 150, 1319, .9, .0295527, .0677487)
	f(0, 5, 30, .95, .0342344, .3356435)
	f(1, 7, 300, .9, .0055077, .0395834)
	f(0, 10, 10, .95, .4449344, 1)
	f(5, 5, 10, .95, -.5268138, .5268138)
	z2 := math.Pow(NormalQuantile(0.95), 2)
	for _, n := range []int{1, 20, 100_000} {
		f(0, 0, n, .95, -z2/(float64(n)+z2), z2/(float64(n)+z2))
	}
	bad := func(b, c, n int, level float64) {
		t.Helper()
		if i, ok := Tango(b, c, n, level); ok {
			t.Errorf("Tango(%d, %d, %d, %v) = %v, want none", b, c, n, level, i)
		}
	}
	bad(0, 0, 0, .95)
	bad(3, 3, 5, .95)
	bad(-1, 3, 5, .95)
	bad(1, 3, 5, 0)
	bad(1, 3, 5, nan)
}

// The 15 p-values of Benjamini and Hochberg (1995). Adjusted values from statsmodels 0.15.0, multipletests.
func TestMultipleVector(t *testing.T) {
	p := []float64{
		.0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344, .0459, .324, .4262, .5719, .6528, .759, 1,
	}
	// Neither the order nor tests that could not be done change anything.
	rng := rand.New(rand.NewPCG(1, 1))
	place := rng.Perm(len(p) + 3)
	mixed := make([]float64, len(place))
	for i, k := range place {
		mixed[k] = nan
		if i < len(p) {
			mixed[k] = p[i]
		}
	}
	f := func(name string, adjusted func([]float64) []float64, rejects int, want ...float64) {
		t.Helper()
		before := slices.Clone(mixed)
		out := adjusted(mixed)
		n := 0
		for i, x := range p {
			got := out[place[i]]
			if got <= 0.05 {
				n++
			}
			if i < len(want) {
				near(t, name, got, want[i], 5.01e-7)
			}
			if got < x || got > 1 {
				t.Errorf("%s: %v became %v", name, x, got)
			}
		}
		for _, k := range place[len(p):] {
			if !math.IsNaN(out[k]) {
				t.Errorf("%s: NaN became %v", name, out[k])
			}
		}
		for i := range before {
			if before[i] != mixed[i] && !math.IsNaN(before[i]) {
				t.Errorf("%s changed its argument", name)
			}
		}
		if n != rejects {
			t.Errorf("%s rejects %d, want %d", name, n, rejects)
		}
	}
	f("Bonferroni", Bonferroni, 3, .0015, .006, .0285, .1425, .3015, .417, .447, .516, .6885, 1)
	f("Holm", Holm, 3, .0015, .0056, .0247, .114, .2211, .278, .278, .278, .3213, 1)
	f("BH", BH, 4, .0015, .003, .0095, .035625, .0603, .0638571, .0638571, .0645, .0765, .486, .581182, .714875, .753231, .813214, 1)
	f("BY", BY, 3, .00497734, .00995469, .0315232, .118212, .200089, .211893, .211893, .214026, .253845, 1)
	for name, adjusted := range map[string]func([]float64) []float64{"Bonferroni": Bonferroni, "Holm": Holm, "BH": BH, "BY": BY} {
		if out := adjusted(nil); len(out) != 0 {
			t.Errorf("%s of nothing is %v", name, out)
		}
		if out := adjusted([]float64{nan, -1, 2, math.Inf(1)}); slices.ContainsFunc(out, Finite) {
			t.Errorf("%s of no p-values is %v", name, out)
		}
	}
}

// Efron's law-school data: LSAT and GPA of 15 schools.
var lawSchool = [2][]float64{
	{576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594},
	{3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96},
}

func lawCorrelation(index []int) float64 {
	var sx, sy, sxx, syy, sxy float64
	n := float64(len(index))
	for _, i := range index {
		x, y := lawSchool[0][i]-600, lawSchool[1][i]-3
		sx, sy, sxx, syy, sxy = sx+x, sy+y, sxx+x*x, syy+y*y, sxy+x*y
	}
	return (sxy - sx*sy/n) / math.Sqrt((sxx-sx*sx/n)*(syy-sy*sy/n))
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Darwin's maize: height of the crossed plant less the self-fertilised one, in eighths of an inch.
var maize = []float64{49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48}

// Ends of BCa from SciPy 1.12.0, stats.bootstrap with 200,000 resamples; the tolerance is for our 20,000.
func TestBCaVectors(t *testing.T) {
	near(t, "r", lawCorrelation(upTo(15)), .776374, 5.01e-7)
	d, ok := DeleteOne(15, lawCorrelation)
	if !ok {
		t.Fatal("refused")
	}
	near(t, "acceleration", d.Acceleration, -.075672, 5.01e-7)
	near(t, "jackknife SE", d.SE, .142519, 5.01e-7)
	i, ok := BCa(15, lawCorrelation, 0.95, Draws{20_000, 1})
	sameInterval(t, "law school 95%", i, ok, .333471, .942143, .012)
	i, ok = BCa(15, lawCorrelation, 0.90, Draws{20_000, 1})
	sameInterval(t, "law school 90%", i, ok, .432065, .926320, .008)
	mean := func(index []int) float64 {
		s := 0.0
		for _, i := range index {
			s += maize[i]
		}
		return s / float64(len(index))
	}
	i, ok = BCa(15, mean, 0.95, Draws{20_000, 1})
	sameInterval(t, "maize", i, ok, -1.6, 36.266667, .7)
	again, _ := BCa(15, mean, 0.95, Draws{20_000, 1})
	other, _ := BCa(15, mean, 0.95, Draws{20_000, 2})
	if again != i || other == i {
		t.Errorf("the same seed gives %v and %v, another %v", i, again, other)
	}
	// Half of the answers are right: an interval of what is alike on both sides is, too, though many draws are ties.
	i, ok = BCa(30, func(index []int) float64 {
		s := 0
		for _, i := range index {
			s += i % 2
		}
		return float64(s) / float64(len(index))
	}, 0.95, Draws{20_000, 1})
	sameInterval(t, "half", i, ok, 1./3, 2./3, 1e-9)
}

func TestBCaRefuses(t *testing.T) {
	f := func(n int, stat func([]int) float64, level float64, draws int) {
		t.Helper()
		if i, ok := BCa(n, stat, level, Draws{draws, 1}); ok {
			t.Errorf("n=%d level=%v draws=%d: %v, want none", n, level, draws, i)
		}
	}
	first := func(index []int) float64 { return float64(index[0]) }
	f(0, first, 0.95, 100)
	f(1, first, 0.95, 100)
	f(10, first, 1, 100)
	f(10, first, nan, 100)
	f(10, func([]int) float64 { return 3.3 }, 0.95, 100)
	f(10, func([]int) float64 { return nan }, 0.95, 100)
	f(15, lawCorrelation, 0.999, 100)  // the ends lie beyond a hundred draws
	odd := func(index []int) float64 { // not finite for some draws only
		if index[0] == 3 && index[1] == 3 {
			return nan
		}
		return lawCorrelation(index)
	}
	f(15, odd, 0.95, 2000)
}

// The exact p-value is 1726/2¹⁵; SciPy 1.12.0, stats.permutation_test, agrees.
func TestSignFlipDarwin(t *testing.T) {
	f, ok := SignFlip(maize, Draws{})
	if !ok || !f.Exact {
		t.Fatalf("%+v, %v", f, ok)
	}
	near(t, "two-sided", f.Two, 1726./(1<<15), 1e-15)
	near(t, "to the printed digits", f.Two, .052673, 5.01e-7)
	near(t, "greater", f.Greater, 863./(1<<15), 1e-15)
	if f.Less+f.Greater < 1 {
		t.Errorf("less %v and greater %v share no tie", f.Less, f.Greater)
	}
	// Zeros change nothing, and neither does the unit, even one that is no binary fraction.
	scaled := []float64{0, 0}
	for _, x := range maize {
		scaled = append(scaled, x*0.1)
	}
	if g, _ := SignFlip(scaled, Draws{}); g != f {
		t.Errorf("with zeros and in tenths %+v, before %+v", g, f)
	}
	negative := make([]float64, len(maize))
	for i, x := range maize {
		negative[i] = -x
	}
	if g, _ := SignFlip(negative, Draws{}); g.Two != f.Two || g.Less != f.Greater || g.Greater != f.Less {
		t.Errorf("the other way round %+v, before %+v", g, f)
	}
}

// The paired t-test of the same data: Student's interval ends at 0 at the level 1 − p.
func TestPairedTDarwin(t *testing.T) {
	var r Ratio
	for _, x := range maize {
		r.AddCluster(1, x, 1)
	}
	v, _ := r.Value()
	se, ok := r.SE()
	if !ok {
		t.Fatal("refused")
	}
	p := 2 * distuv.StudentsT{Sigma: 1, Nu: 14}.Survival(v/se)
	near(t, "p", p, .049703, 5.01e-7)
	i, ok := r.Interval(1 - p)
	sameInterval(t, "at 1 - p", i, ok, 0, 2*v, 1e-6)
}

// Twenty-one differences of 1 are drawn for, 20 looked at; the number of + signs is binomial.
func TestSignFlipDrawsAgreeWithExact(t *testing.T) {
	f := func(plus, minus int) {
		t.Helper()
		var sums []float64
		for range plus {
			sums = append(sums, 0.1)
		}
		for range minus {
			sums = append(sums, -0.1)
		}
		got, ok := SignFlip(sums, Draws{99_999, 3})
		if !ok || got.Exact != (plus+minus <= 20) {
			t.Fatalf("%d and %d: %+v", plus, minus, got)
		}
		want := McNemar(minus, plus)
		tol := 1e-9
		if !got.Exact {
			tol = 0.006
		}
		near(t, "two-sided", got.Two, want.Exact, tol)
	}
	f(14, 6)
	f(20, 0)
	f(14, 7)
	f(40, 24)
	f(50, 50)
	f(90, 65) // the last block is not full
	f(130, 97)
}

func TestSignFlipEdges(t *testing.T) {
	f := func(want bool, sums ...float64) Flipped {
		t.Helper()
		p, ok := SignFlip(sums, Draws{N: 99, Seed: 1})
		if ok != want {
			t.Errorf("SignFlip(%v): %v", sums, ok)
		}
		return p
	}
	f(false)
	f(false, 1, nan)
	f(false, math.Inf(-1))
	f(false, math.MaxFloat64, math.MaxFloat64)
	if p := f(true, 0, 0, 0); p != (Flipped{1, 1, 1, true}) {
		t.Errorf("no difference at all: %+v", p)
	}
	if p := f(true, 1); p != (Flipped{1, 1, 0.5, true}) {
		t.Errorf("one cluster: %+v", p)
	}
	many := make([]float64, 100)
	for i := range many {
		many[i] = 1
	}
	if p := f(true, many...); p.Two != 0.01 || p.Greater != 0.01 || p.Less != 1 {
		t.Errorf("with 99 draws a p-value cannot be below 0.01: %+v", p)
	}
}

// Over means Swap is SignFlip; a few clusters are looked at in full.
func TestSwap(t *testing.T) {
	mean := func(v []float64) float64 { return v[0] / v[1] }
	pairs := func(diffs []float64) (base, head [][]float64) {
		for i, d := range diffs {
			base = append(base, []float64{float64(i), 1})
			head = append(head, []float64{float64(i) + d, 1})
		}
		return base, head
	}
	base, head := pairs(maize)
	want, _ := SignFlip(maize, Draws{})
	got, ok := Swap(base, head, mean, Draws{1 << 15, 1})
	if !ok || got != want {
		t.Errorf("looked at in full %+v, want %+v", got, want)
	}
	got, ok = Swap(base, head, mean, Draws{30_000, 1})
	if !ok || got.Exact {
		t.Fatalf("%+v, %v", got, ok)
	}
	near(t, "two-sided", got.Two, want.Two, .005)
	near(t, "greater", got.Greater, want.Greater, .005)
	near(t, "less", got.Less, want.Less, .005)

	// A head that is better everywhere, in a ratio whose weights differ.
	base, head = nil, nil
	for i := range 100 {
		w := float64(1 + i%7)
		base, head = append(base, []float64{w, 2 * w}), append(head, []float64{w + 1, 2*w + 1})
	}
	got, ok = Swap(base, head, mean, Draws{999, 1})
	if !ok || got.Two != 0.001 || got.Greater != 0.001 || got.Less != 1 {
		t.Errorf("better everywhere: %+v, %v", got, ok)
	}
	got, ok = Swap(base, base, mean, Draws{999, 1})
	if !ok || got != (Flipped{1, 1, 1, true}) {
		t.Errorf("no difference: %+v, %v", got, ok)
	}
}

func TestSwapRefuses(t *testing.T) {
	first := func(v []float64) float64 { return v[0] }
	f := func(base, head [][]float64, stat func([]float64) float64) {
		t.Helper()
		if p, ok := Swap(base, head, stat, Draws{N: 9}); ok {
			t.Errorf("Swap(%v, %v) = %+v, want none", base, head, p)
		}
	}
	f(nil, nil, first)
	f([][]float64{{1}}, nil, first)
	f([][]float64{{}}, [][]float64{{}}, first)
	f([][]float64{{1}, {1, 2}}, [][]float64{{1}, {1}}, first)
	f([][]float64{{nan}}, [][]float64{{1}}, first)
	f([][]float64{{1}}, [][]float64{{2}}, func([]float64) float64 { return nan })
	// A number that is not finite for permutations makes nothing significant.
	base, head := [][]float64{}, [][]float64{}
	for range 8 {
		base, head = append(base, []float64{0}), append(head, []float64{1})
	}
	onlyWhole := func(v []float64) float64 {
		if v[0] != 0 && v[0] != 8 {
			return nan
		}
		return v[0]
	}
	if p, ok := Swap(base, head, onlyWhole, Draws{N: 999}); !ok || p.Two != 1 || p.Greater < 0.99 {
		t.Errorf("%+v, %v", p, ok)
	}
}

func TestPowerVectors(t *testing.T) {
	ceil := func(name string, got, want float64) {
		t.Helper()
		if math.Ceil(got) != want {
			t.Errorf("%s = %v, want %v when rounded up", name, got, want)
		}
	}
	ceil("Miller", MillerN(1./9, 0, 0, 1, 1, .03, .05, .8), 969)
	ceil("Connor", ConnorN(.10, .05, .05, .8), 469)
	near(t, "Miller's parts", MillerN(1./9, .2, .3, 2, 5, .03, .05, .8), 2364.353895285405, 1e-8)
	near(t, "one-sided", MillerN(1, 0, 0, 1, 1, 1, .05, .8, OneSided), (1.6448536+.8416212)*(1.6448536+.8416212), 1e-5)

	for _, sides := range []Sides{TwoSided, OneSided} {
		for _, power := range []float64{.3, .5, .8, .95} {
			n := MillerN(.1, .2, .3, 2, 5, -.03, .05, power, sides)
			near(t, "Miller's delta", MillerMDE(n, .1, .2, .3, 2, 5, .05, power, sides), .03, 1e-12)
			near(t, "Miller's power", MillerPower(n, .1, .2, .3, 2, 5, -.03, .05, sides), power, 1e-12)
			n = ConnorN(.04, .11, .05, power, sides)
			near(t, "Connor's power", McNemarPower(n, .04, .11, .05, sides), power, 1e-12)
			d, ok := McNemarMDE(n, .15, .05, power, sides)
			near(t, "McNemar's difference", d, .07, 1e-12)
			if !ok {
				t.Error("refused")
			}
		}
	}
	if p := McNemarPower(10, 1, 0, .05); p != 1 {
		t.Errorf("all cases flip one way: power %v", p)
	}
	if d, ok := McNemarMDE(10, .1, .05, .8); ok {
		t.Errorf("one discordant case of ten shows %v", d)
	}
	for i, x := range []float64{
		MillerN(1, 0, 0, 1, 1, 0, .05, .8), MillerN(1, 0, 0, 0, 1, 1, .05, .8), MillerN(-1, 0, 0, 1, 1, 1, .05, .8),
		MillerN(1, 0, 0, 1, 1, 1, 0, .8), MillerN(1, 0, 0, 1, 1, 1, .05, 1), MillerN(nan, 0, 0, 1, 1, 1, .05, .8),
		MillerN(1, 0, 0, 1, 1, 1, .05, .01), MillerMDE(0, 1, 0, 0, 1, 1, .05, .8), MillerPower(10, 0, 0, 0, 1, 1, 1, .05),
		ConnorN(.1, .1, .05, .8), ConnorN(.7, .4, .05, .8), ConnorN(-.1, .4, .05, .8), McNemarPower(0, .1, .2, .05),
		McNemarPower(10, 0, 0, .05),
	} {
		if !math.IsNaN(x) {
			t.Errorf("row %d is %v, want NaN", i, x)
		}
	}
}

// The approximate power is close to that of the mid-p test itself, summed over all outcomes.
func TestMcNemarPowerIsThatOfTheTest(t *testing.T) {
	f := func(n int, p10, p01 float64) {
		t.Helper()
		rng := rand.New(rand.NewPCG(11, uint64(n)))
		const draws = 20_000
		hits := 0
		for range draws {
			b, c := 0, 0
			for range n {
				switch u := rng.Float64(); {
				case u < p10:
					b++
				case u < p10+p01:
					c++
				}
			}
			if McNemar(b, c).WorseMid <= 0.05 {
				hits++
			}
		}
		near(t, "power", float64(hits)/draws, McNemarPower(float64(n), p10, p01, .05, OneSided), .03)
	}
	f(300, .10, .05)
	f(469, .10, .05)
	f(150, .12, .06)
}

func TestWildCluster(t *testing.T) {
	for _, w := range []WildWeights{Rademacher, Webb} {
		mean, square := 0.0, 0.0
		values := wildValues(w)
		for _, v := range values {
			mean += v / float64(len(values))
			square += v * v / float64(len(values))
		}
		near(t, "mean of the weights", mean, 0, 1e-12)
		near(t, "variance of the weights", square, 1, 1e-12)
	}
	sizes := func(n int) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = 1
		}
		return out
	}
	// With equal sizes t is a growing function of the mean, so that Rademacher weights give the sign-flip test.
	want, _ := SignFlip(maize, Draws{})
	got, ok := WildCluster(maize, sizes(15), Rademacher, Draws{1 << 15, 1})
	if !ok || got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	got, ok = WildCluster(maize, sizes(15), WildAuto, Draws{9999, 1})
	if !ok || got.Exact {
		t.Errorf("drawn: %+v, %v", got, ok)
	}
	near(t, "drawn", got.Two, want.Two, .01)
	// Five clusters that agree well: ±1 weights have 32 draws and cannot get below 1/16, Webb's can.
	few := []float64{1, 1.1, 0.9, 1.05, 0.95}
	r, _ := WildCluster(few, sizes(5), Rademacher, Draws{9999, 1})
	w, _ := WildCluster(few, sizes(5), WildAuto, Draws{9999, 1})
	if !r.Exact || r.Two != 2./32 || w.Exact || w.Two > .02 {
		t.Errorf("Rademacher %+v, Webb %+v", r, w)
	}
	bad := func(sums, sizes []float64) {
		t.Helper()
		if p, ok := WildCluster(sums, sizes, Webb, Draws{N: 99}); ok {
			t.Errorf("WildCluster(%v, %v) = %+v, want none", sums, sizes, p)
		}
	}
	bad(nil, nil)
	bad([]float64{1}, []float64{1})
	bad([]float64{1, 2}, []float64{1})
	bad([]float64{1, nan}, []float64{1, 1})
	bad([]float64{1, 2}, []float64{1, 0})
	bad([]float64{.1, .3}, []float64{1, 3}) // the same mean in both
	bad([]float64{0, 0}, []float64{1, 1})
}

// The public outcomes of two models on GSM8K: how many each got right, and their paired comparison. Expected
// figures other than the counts: statsmodels 0.15.0 (McNemar) and the constrained likelihood in SciPy (Tango).
func TestGSM8K(t *testing.T) {
	path := filepath.Join(testData(t), "gsm8k", "solutions_finetuning.jsonl")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("no GSM8K outcomes: %v", err)
	}
	var small, large, b, c int
	var xs, ys, ds []float64
	for line := range strings.Lines(string(raw)) {
		var row struct {
			Small struct {
				Right bool `json:"is_correct"`
			} `json:"6b_finetuning"`
			Large struct {
				Right bool `json:"is_correct"`
			} `json:"175b_finetuning"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		x, y := 0.0, 0.0
		if row.Small.Right {
			x, small = 1, small+1
		}
		if row.Large.Right {
			y, large = 1, large+1
		}
		switch {
		case x > y:
			b++
		case y > x:
			c++
		}
		xs, ys, ds = append(xs, x), append(ys, y), append(ds, y-x)
	}
	n := len(ds)
	if n != 1319 || small != 286 || large != 458 {
		t.Fatalf("%d and %d of %d right, want 286 and 458 of 1319", small, large, n)
	}
	i, ok := Tango(b, c, n, 0.95)
	if !ok || i.Low < 0.1 || i.High > 0.16 {
		t.Errorf("Tango %v, %v", i, ok)
	}
	p := McNemar(b, c)
	if !(p.Mid < 1e-15) || !(p.WorseMid > 0.999) {
		t.Errorf("b=%d c=%d: %+v", b, c, p)
	}
	f, ok := SignFlip(ds, Draws{Seed: 1})
	if !ok || f.Two != 1e-4 || f.Greater != 1e-4 {
		t.Errorf("sign-flip %+v, %v", f, ok)
	}
	sx, _ := NaiveSE(xs)
	sy, _ := NaiveSE(ys)
	sd, _ := NaiveSE(ds)
	t.Logf("b=%d c=%d, Tango %.5f to %.5f, mid-p %.3g, unpaired SE %.3f of the paired", b, c, i.Low, i.High, p.Mid, math.Hypot(sx, sy)/sd)
	if math.Hypot(sx, sy) < 1.15*sd {
		t.Errorf("the unpaired standard error is %v of the paired one, want at least 1.15", math.Hypot(sx, sy)/sd)
	}
}

// testData returns the folder of public records, which are not part of the repository.
func testData(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("TELLTALE_TESTDATA")
	if dir == "" {
		t.Skip("TELLTALE_TESTDATA is not set: the public records are not here")
	}
	return dir
}
