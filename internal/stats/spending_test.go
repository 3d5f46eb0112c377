package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func obfBounds(t *testing.T, alpha float64, times, info []float64) []float64 {
	t.Helper()
	spent := make([]float64, len(times))
	for i, at := range times {
		spent[i] = SpentOBrienFleming(alpha, at)
	}
	b, ok := SpendingBounds(spent, info)
	if !ok {
		t.Fatalf("no bounds for %v %v", times, info)
	}
	return b
}

// Vector 13 of the statistics: Lan–DeMets O'Brien–Fleming, five equal looks, one-sided 0.025.
func TestSpendingBounds(t *testing.T) {
	times := []float64{0.2, 0.4, 0.6, 0.8, 1}
	b := obfBounds(t, 0.025, times, times)
	for i, want := range []float64{4.877, 3.357, 2.680, 2.291, 2.031} {
		if math.Abs(b[i]-want) > 0.003 {
			t.Errorf("look %d: %.4f, want %.3f", i+1, b[i], want)
		}
	}
	// To more digits, by Gauss-Legendre quadrature of 2,000 points in NumPy 1.26.4.
	for i, want := range []float64{4.876885, 3.357012, 2.680280, 2.289817, 2.031032} {
		near(t, "bound", b[i], want, 3e-6)
	}
	// One look is the fixed test.
	if b := obfBounds(t, 0.05, []float64{1}, []float64{3}); math.Abs(b[0]-1.6448536) > 1e-6 {
		t.Errorf("one look: %v", b)
	}
	// Looks that bring nothing new cost next to nothing; looks that share nothing are Bonferroni's.
	if b := obfBounds(t, 0.05, []float64{0.5, 1}, []float64{1, 1}); math.Abs(b[1]-1.645) > 0.02 {
		t.Errorf("the same look twice: %v", b)
	}
	alone := distuv.UnitNormal.Quantile(1 - (0.05 - SpentOBrienFleming(0.05, 0.9)))
	if b := obfBounds(t, 0.05, []float64{0.9, 1}, []float64{1, 1e6}); math.Abs(b[1]-alone) > 0.03 {
		t.Errorf("independent looks: %v, want %.3f", b, alone)
	}
}

func TestSpendingBoundsRefuses(t *testing.T) {
	f := func(spent, info []float64) {
		t.Helper()
		if b, ok := SpendingBounds(spent, info); ok {
			t.Errorf("%v %v gave %v", spent, info, b)
		}
	}
	f(nil, nil)
	f([]float64{0.1}, nil)
	f([]float64{0.1, 0.05}, []float64{1, 2})
	f([]float64{math.NaN()}, []float64{1})
	f([]float64{0.05}, []float64{0})
	f([]float64{0.05}, []float64{math.Inf(1)})
	if b, ok := SpendingBounds([]float64{0, 0.05}, []float64{1, 2}); !ok || !math.IsInf(b[0], 1) || math.Abs(b[1]-1.645) > 0.01 {
		t.Errorf("nothing spent at first: %v %v", b, ok)
	}
}

// Over sequences without an effect the bounds are crossed as often as alpha says, whatever the information
// at the looks and however it differs from the times.
func TestSpendingBoundsHoldAlpha(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := func(times, info []float64) {
		t.Helper()
		const n = 200_000
		bounds := obfBounds(t, 0.05, times, info)
		crossed := 0
		for range n {
			score, at := 0.0, 0.0
			for k, to := range info {
				score += math.Sqrt(to-at) * r.NormFloat64()
				at = to
				if score/math.Sqrt(to) >= bounds[k] {
					crossed++
					break
				}
			}
		}
		if share := float64(crossed) / n; math.Abs(share-0.05) > 3*math.Sqrt(0.05*0.95/n) {
			t.Errorf("times %v, information %v: %.4f crossed, want 0.05", times, info, share)
		}
	}
	f([]float64{0.2, 0.4, 0.6, 0.8, 1}, []float64{0.2, 0.4, 0.6, 0.8, 1})
	f([]float64{0.54, 0.72, 0.87, 0.96, 1}, []float64{1, 1.05, 1.08, 1.09, 1.1})
	f([]float64{0.54, 0.72, 1}, []float64{1, 4, 20})
}
