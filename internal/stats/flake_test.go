package stats

import (
	"math"
	"testing"
)

func TestFlakeRate(t *testing.T) {
	f := func(passed, failed int, rate, low, high float64) {
		t.Helper()
		got, i, ok := FlakeRate(passed, failed, Level)
		near := func(a, b float64) bool { return math.Abs(a-b) < 5e-5 }
		if !ok || !near(got, rate) || !near(i.Low, low) || !near(i.High, high) {
			t.Errorf("%d passed, %d failed: %.4f [%.4f, %.4f] %v, want %.4f [%.4f, %.4f]", passed, failed, got, i.Low, i.High, ok, rate, low, high)
		}
	}
	// By hand from Wilson's interval: 9 of 10 is [0.59585, 0.98212], 10 of 10 [0.72247, 1].
	f(9, 1, 0.2, 0.0351, 0.4816)
	f(10, 0, 0, 0, 0.4010)
	f(0, 10, 0, 0, 0.4010)
	f(5, 5, 0.5, 0.3612, 0.5)
	f(1, 1, 0.5, 0.1712, 0.5)
	f(2, 0, 0, 0, 0.5)
	for _, n := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {-1, 5}, {5, -1}} {
		if _, _, ok := FlakeRate(n[0], n[1], Level); ok {
			t.Errorf("%v gives a rate", n)
		}
	}
}

// TestFlakeRateHolds checks what any count must satisfy, and that the two verdicts are treated alike.
func TestFlakeRateHolds(t *testing.T) {
	for n := 2; n <= 60; n++ {
		for k := 0; k <= n; k++ {
			rate, i, ok := FlakeRate(k, n-k, Level)
			if !ok || !(0 <= i.Low && i.Low <= rate && rate <= i.High && i.High <= 0.5) {
				t.Fatalf("%d of %d: %v %+v %v", k, n, rate, i, ok)
			}
			if again, j, _ := FlakeRate(n-k, k, Level); math.Abs(again-rate)+math.Abs(j.Low-i.Low)+math.Abs(j.High-i.High) > 1e-12 {
				t.Fatalf("%d of %d: %v %+v, the other way round %v %+v", k, n, rate, i, again, j)
			}
		}
	}
	if rate, i, ok := FlakeRate(math.MaxInt/2, math.MaxInt/2, Level); !ok || math.Abs(rate-0.5) > 1e-9 || i.High != 0.5 {
		t.Errorf("large counts: %v %+v %v", rate, i, ok)
	}
}

// binomial is the chance of k successes in n.
func binomial(k, n int, p float64) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return math.Exp(a - b - c + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

// TestFlakeRateCoverage sums the exact chance that the interval holds the true rate, over pass shares evenly spread.
func TestFlakeRateCoverage(t *testing.T) {
	for _, n := range []int{2, 3, 5, 10, 20, 50} {
		sum, worst, bias := 0.0, 1.0, 0.0
		const grid = 400
		for g := range grid {
			p := (float64(g) + 0.5) / grid
			truth := 2 * p * (1 - p)
			covered, mean := 0.0, 0.0
			for k := 0; k <= n; k++ {
				weight := binomial(k, n, p)
				_, i, _ := FlakeRate(k, n-k, Level)
				if i.Low-1e-12 <= truth && truth <= i.High+1e-12 {
					covered += weight
				}
				mean += weight * 2 * float64(k) * float64(n-k) / float64(n*(n-1))
			}
			sum, worst, bias = sum+covered, min(worst, covered), max(bias, math.Abs(mean-truth))
		}
		if mean := sum / grid; mean < 0.95 {
			t.Errorf("%d repeats: covers %.4f of the time on average, want 0.95 or more", n, mean)
		}
		// Wilson's interval covers 0.82 at its worst, next to 0 and 1.
		if worst < 0.82 {
			t.Errorf("%d repeats: covers only %.4f of the time at its worst", n, worst)
		}
		if bias > 1e-9 {
			t.Errorf("%d repeats: the share of differing pairs is biased by %g", n, bias)
		}
	}
}
