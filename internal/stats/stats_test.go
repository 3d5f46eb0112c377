package stats

import (
	"math"
	"testing"
)

// near fails unless got is within tol of want.
func near(t *testing.T, name string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol) {
		t.Errorf("%s = %.9g, want %.9g ± %g", name, got, want, tol)
	}
}

// Source: docs of the reference values, R binom 1.1 (Wilson) and SciPy (Beta quantiles).
func TestWilsonVectors(t *testing.T) {
	f := func(k, n, low, high float64) {
		t.Helper()
		i, ok := Wilson(k, n, 0.95)
		if !ok {
			t.Fatalf("Wilson(%v, %v) refused", k, n)
		}
		near(t, "low", i.Low, low, 5.01e-7)
		near(t, "high", i.High, high, 5.01e-7)
	}
	f(81, 263, .255289, .366210)
	f(15, 148, .062386, .160487)
	f(0, 20, 0, .161125)
	f(1, 29, .006113, .171755)
	f(20, 20, 1-.161125, 1)
}

func TestWilsonRefuses(t *testing.T) {
	f := func(k, n float64) {
		t.Helper()
		if i, ok := Wilson(k, n, 0.95); ok {
			t.Errorf("Wilson(%v, %v) = %v, want none", k, n, i)
		}
	}
	f(0, 0)
	f(-1, 10)
	f(11, 10)
	f(math.NaN(), 10)
	f(1, math.NaN())
	f(1, math.Inf(1))
}

func TestWilsonTrials(t *testing.T) {
	f := func(p, bar float64) {
		t.Helper()
		n := WilsonTrials(p, bar, 0.95)
		covers := func(n float64) bool {
			i, _ := Wilson(p*n, n, 0.95)
			return i.Low <= bar && bar <= i.High
		}
		if covers(n*1.0001) || !covers(n*0.9999) {
			t.Errorf("WilsonTrials(%v, %v) = %v is not where the interval lets go of the bar", p, bar, n)
		}
	}
	f(0.97, 0.95)
	f(0.5, 0.6)
	f(1, 0.95)
	if n := WilsonTrials(0.9, 0.9, 0.95); !math.IsInf(n, 1) {
		t.Errorf("trials at the bar itself = %v, want +Inf", n)
	}
}

// The first number of trials at which the exact interval lets go of the bar, by a search over scipy.stats.beta.ppf.
func TestClopperPearsonTrials(t *testing.T) {
	f := func(p, bar, want float64) {
		t.Helper()
		if n := ClopperPearsonTrials(p, bar, 0.95); n != want {
			t.Errorf("ClopperPearsonTrials(%v, %v) = %v, want %v", p, bar, n, want)
		}
	}
	f(1, 0.95, 72)
	f(1, 0.83, 20)
	f(0.97, 0.95, 461)
	f(0.5, 0.6, 104)
	f(0, 0.17, 20)
	f(0, 0.01, 368)
	f(0.9, 0.9, math.Inf(1))
	if n := ClopperPearsonTrials(0.9, 0.95, 2); !math.IsNaN(n) {
		t.Errorf("%v trials at a level that is none", n)
	}
}

func TestUnseen(t *testing.T) {
	f := func(n, alpha float64) {
		t.Helper()
		x := Unseen(n, alpha)
		near(t, "chance", math.Exp(n*math.Log1p(-x))/alpha, 1, 1e-9)
		near(t, "trials", UnseenTrials(x, alpha)/n, 1, 1e-9)
	}
	f(1, .05)
	f(7.5, .05)
	f(100, .01)
	f(1e9, .05)
	near(t, "of nothing", Unseen(0, .05), 1, 0)
	// SciPy 1.12, beta.isf(1e-9, 1, 100000)
	none, _ := ClopperPearson(0, 1e5, 1-2e-9)
	all, _ := ClopperPearson(1e5, 1e5, 1-2e-9)
	near(t, "none", none.High, 2.072111869e-4, 1e-10)
	near(t, "all", all.Low, 1-2.072111869e-4, 1e-10)
}

func TestClopperPearsonVectors(t *testing.T) {
	f := func(k, n, low, high float64) {
		t.Helper()
		i, ok := ClopperPearson(k, n, 0.95)
		if !ok {
			t.Fatalf("ClopperPearson(%v, %v) refused", k, n)
		}
		near(t, "low", i.Low, low, 5.01e-7)
		near(t, "high", i.High, high, 5.01e-7)
	}
	f(81, 263, .252737, .367622)
	f(0, 20, 0, .168433)
	f(20, 20, 1-.168433, 1)
	// Fractions of trials, by scipy.stats.beta.ppf.
	f(49.9, 62.5, .677797, .889296)
	f(.05, 20, 0, .172962)
	f(19.95, 20, .827038, 1)
	f(.3, 4.7, .000001, .612254+5e-6)
	for _, bad := range [][2]float64{{0, 0}, {-1, 5}, {6, 5}, {math.NaN(), 5}, {1, math.NaN()}, {1, math.Inf(1)}} {
		if _, ok := ClopperPearson(bad[0], bad[1], 0.95); ok {
			t.Errorf("ClopperPearson(%v) was given", bad)
		}
	}
}

func TestClusteredVector(t *testing.T) {
	xs := []float64{1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 1, 0}
	groups := []int{0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4}
	se, ok := ClusteredSE(xs, groups)
	if !ok {
		t.Fatal("no clustered SE")
	}
	near(t, "clustered SE", se, .178135, 5.01e-7)
	var c Clustered
	for i, x := range xs {
		c.Next(uint64(groups[i]), x, 1)
	}
	r := c.Ratio()
	if published, ok := r.SE(); !ok || published != se {
		t.Errorf("the standard error to publish is %v, want %v", published, se)
	}
	se, ok = NaiveSE(xs)
	if !ok {
		t.Fatal("no naive SE")
	}
	near(t, "naive SE", se, .148647, 5.01e-7)
}

func TestTooLittleForASpread(t *testing.T) {
	if _, ok := NaiveSE(nil); ok {
		t.Error("a spread of nothing")
	}
	if _, ok := NaiveSE([]float64{3}); ok {
		t.Error("a spread of one value")
	}
	if _, ok := ClusteredSE([]float64{1, 2, 3}, []int{7, 7, 7}); ok {
		t.Error("a spread of one cluster")
	}
	if _, ok := ClusteredSE([]float64{1, 2}, []int{7}); ok {
		t.Error("a value without a group")
	}
	var r Ratio
	for range 5 {
		r.AddCluster(1, 0.1, 1)
	}
	if se, ok := r.SE(); !ok || se != 0 {
		t.Errorf("SE of equal values = %v, %v, want 0", se, ok)
	}
	if i, ok := r.Interval(0.95); ok {
		t.Errorf("equal values vouch for %v", i)
	}
	var zero Ratio
	zero.AddCluster(1, 0, 0)
	if v, ok := zero.Value(); ok {
		t.Errorf("a ratio of no weight = %v", v)
	}
}

// A small spread around a large mean keeps its digits.
func TestRatioLargeMean(t *testing.T) {
	var r Ratio
	for i := range 1000 {
		r.AddCluster(1, 1e9+float64(i%2)*1e-3, 1)
	}
	se, ok := r.SE()
	if !ok {
		t.Fatal("no SE")
	}
	near(t, "SE", se, 0.5e-3/math.Sqrt(999), 1e-8)
}

func TestStudentQuantile(t *testing.T) {
	// Source: any table of Student's distribution.
	near(t, "t(1)", StudentQuantile(0.95, 1), 12.7062047, 1e-6)
	near(t, "t(9)", StudentQuantile(0.95, 9), 2.26215716, 1e-7)
	near(t, "t(1e6)", StudentQuantile(0.95, 1e6), 1.95996636, 1e-6)
	near(t, "z", NormalQuantile(0.95), 1.95996398, 1e-8)
	// In the tails, of many degrees of freedom: SciPy 1.12, t.isf.
	near(t, "t(1001)", StudentQuantile(1-2e-9, 1001), 6.05363400, 1e-6)
	near(t, "t(3e4)", StudentQuantile(1-2e-7, 3e4), 5.20055244, 1e-7)
	near(t, "t(1e5)", StudentQuantile(1-2e-9, 1e5), 5.99836141, 1e-6)
}

func TestClip(t *testing.T) {
	f := func(i, want Interval) {
		t.Helper()
		if got := i.Clip(0, 1); got != want {
			t.Errorf("%v within 0 and 1 is %v, want %v", i, got, want)
		}
	}
	f(Interval{0.2, 0.3}, Interval{0.2, 0.3})
	f(Interval{-0.2, 1.3}, Interval{0, 1})
	f(Interval{1.2, 1.3}, Interval{1, 1})
	f(Interval{-0.3, -0.2}, Interval{0, 0})
}

func TestSum(t *testing.T) {
	var s, a, b Sum
	for i, x := range []float64{1, 1e100, 1, -1e100} {
		s.Add(x)
		if i < 2 {
			a.Add(x)
		} else {
			b.Add(x)
		}
	}
	a.Merge(b)
	if s.Value() != 2 || a.Value() != 2 {
		t.Errorf("sums = %v and %v, want 2", s.Value(), a.Value())
	}
	var tenth Sum
	for range 1_000_000 {
		tenth.Add(0.1)
	}
	if got := tenth.Value(); math.Abs(got-1e5) > 1e-10 {
		t.Errorf("a million tenths = %.12f", got)
	}
}

// Efron's law-school data (Efron and Tibshirani 1993, table 3.1): LSAT and GPA of 15 schools.
func TestJackknifeLawSchool(t *testing.T) {
	lsat := []float64{576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594}
	gpa := []float64{3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96}
	var j Jackknife
	for i := range lsat {
		x, y := lsat[i]-600, gpa[i]-3
		if err := j.Add(i, NewCluster, []float64{1, x, y, x * x, y * y, x * y}); err != nil {
			t.Fatal(err)
		}
	}
	corr := func(s []float64) float64 {
		n := s[0]
		return (s[5] - s[1]*s[2]/n) / math.Sqrt((s[3]-s[1]*s[1]/n)*(s[4]-s[2]*s[2]/n))
	}
	near(t, "r", corr(j.Total()), .776374, 5.01e-7)
	se, groups, ok := j.SE(corr)
	if !ok || groups != 15 {
		t.Fatalf("groups %d, ok %v", groups, ok)
	}
	near(t, "jackknife SE", se, .142519, 5.01e-7)
}

// For a mean the delete-one jackknife is the sample standard error, also with unequal groups.
func TestJackknifeOfMean(t *testing.T) {
	f := func(n int, tol float64) {
		t.Helper()
		var j Jackknife
		var xs []float64
		for i := range n {
			x := math.Sin(float64(i) * 1.7)
			xs = append(xs, x)
			if err := j.Add(i, NewCluster, []float64{x, 1}); err != nil {
				t.Fatal(err)
			}
		}
		got, _, ok := j.SE(func(s []float64) float64 { return s[0] / s[1] })
		want, _ := NaiveSE(xs)
		if !ok || math.Abs(got/want-1) > tol {
			t.Errorf("n=%d: jackknife %v, want %v", n, got, want)
		}
	}
	f(2, 1e-9)
	f(64, 1e-9)
	f(6400, 0.35) // 64 groups: the estimate itself has a standard deviation of 9%
}

// Above 64 clusters the groups are unequal. Source: the formula of Busing, Meijer and van der Leeden in NumPy 1.26.4.
func TestJackknifeUnequalGroups(t *testing.T) {
	f := func(n int, want float64) {
		t.Helper()
		var j Jackknife
		for i := range n {
			x := float64(i)
			if err := j.Add(i, NewCluster, []float64{math.Sin(x*1.7) + .3*math.Cos(x*.31), float64(1 + i%5)}); err != nil {
				t.Fatal(err)
			}
		}
		se, groups, ok := j.SE(func(s []float64) float64 { return s[0] / s[1] })
		if !ok || groups != JackknifeGroups {
			t.Fatalf("%d groups, %v", groups, ok)
		}
		near(t, "SE", se, want, 1e-12)
	}
	f(65, 0.03040713580921981)
	f(200, 0.017209637826945894)
	f(1000, 0.007201456214269906)
}

func TestJackknifeRefuses(t *testing.T) {
	var j Jackknife
	one := func(s []float64) float64 { return s[0] }
	if _, _, ok := j.SE(one); ok || j.Total() != nil {
		t.Error("a spread of nothing")
	}
	if err := j.Add(0, NewCluster, []float64{1, 2}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]float64{nil, {1}, {1, math.NaN()}, {math.Inf(1), 0}} {
		if err := j.Add(1, NewCluster, bad); err == nil {
			t.Errorf("%v was added", bad)
		}
	}
	if _, _, ok := j.SE(one); ok {
		t.Error("a spread of one cluster")
	}
	if err := j.Add(1, NewCluster, []float64{1, 2}); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := j.SE(func([]float64) float64 { return math.NaN() }); ok {
		t.Error("a spread of NaN")
	}
}
