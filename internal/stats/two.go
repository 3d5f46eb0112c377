package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Newcombe returns the hybrid score interval of p1 − p2 for two independent rates k1/n1 and k2/n2 (Newcombe 1998,
// "Interval estimation for the difference between independent proportions", method 10). With Wilson intervals
// (l, u) of the two and d = p1 − p2:
//
//	d − √((p1 − l1)² + (u2 − p2)²), d + √((u1 − p1)² + (p2 − l2)²)
//
// ok is false when one has no trials or its count is not within them, and for a level outside (0, 1).
func Newcombe(k1, n1, k2, n2 int, level float64) (i Interval, ok bool) {
	if !(level > 0 && level < 1) {
		return Interval{}, false
	}
	w1, ok1 := Wilson(float64(k1), float64(n1), level)
	w2, ok2 := Wilson(float64(k2), float64(n2), level)
	if !ok1 || !ok2 {
		return Interval{}, false
	}
	p1, p2 := float64(k1)/float64(n1), float64(k2)/float64(n2)
	d := p1 - p2
	i = Interval{d - math.Hypot(p1-w1.Low, w2.High-p2), d + math.Hypot(w1.High-p1, p2-w2.Low)}
	return i.Clip(-1, 1), true
}

// leastExpected is the expected count in a cell of a 2×2 table below which the normal approximation is not used
// (Cochran 1954).
const leastExpected = 5

// PooledZ tests whether two independent rates k1/n1 and k2/n2 are equal:
//
//	z = (p1 − p2)/√(p̄(1 − p̄)(1/n1 + 1/n2)), p̄ = (k1 + k2)/(n1 + n2)
//
// p is two-sided; for a one-sided test use z. It is for one look at a fixed number of trials. ok is false when one of the four expected counts is
// below 5, where FisherExact is to be used, and for counts that make no sense.
func PooledZ(k1, n1, k2, n2 int) (z, p float64, ok bool) {
	if n1 <= 0 || n2 <= 0 || k1 < 0 || k2 < 0 || k1 > n1 || k2 > n2 {
		return 0, 0, false
	}
	a, b := float64(n1), float64(n2)
	pool := (float64(k1) + float64(k2)) / (a + b)
	if math.Min(a, b)*math.Min(pool, 1-pool) < leastExpected {
		return 0, 0, false
	}
	z = (float64(k1)/a - float64(k2)/b) / math.Sqrt(pool*(1-pool)*(1/a+1/b))
	// Not Survival, which subtracts from 1 and is 0 from z = 8.3 on.
	return z, 2 * distuv.UnitNormal.CDF(-math.Abs(z)), true
}

// leastNormal is the least number with all its digits. Weights below are nothing: multiplied by a ratio above ½, the least
// number of all stays what it is for ever.
const leastNormal = 0x1p-1022

// FisherExact tests the independence of rows and columns of a table of counts
//
//	a b
//	c d
//
// given its margins (Fisher 1935). less and greater are the chances of an a as small and as large as the one seen;
// two sums all tables that are no more likely than the one seen. A negative count gives NaN, an empty table 1. Chances below
// about 1e-307 come out as 0.
func FisherExact(a, b, c, d int) (two, less, greater float64) {
	if a < 0 || b < 0 || c < 0 || d < 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	row, col, n := a+b, a+c, a+b+c+d
	low, high := max(0, row+col-n), min(row, col)
	mode := int((float64(row) + 1) * (float64(col) + 1) / (float64(n) + 2))
	mode = min(max(mode, low), high)
	// Weights relative to the most likely table, by the ratio of neighbours: no factorials, and no digits lost in
	// their logarithms.
	up := func(x int) float64 {
		return float64(row-x) * float64(col-x) / (float64(x+1) * float64(n-row-col+x+1))
	}
	seen := 1.0
	for x := mode; x < a && seen >= leastNormal; x++ {
		seen *= up(x)
	}
	for x := mode; x > a && seen >= leastNormal; x-- {
		seen /= up(x - 1)
	}
	if seen < leastNormal {
		seen = 0
	}
	var all, below, above, rare Sum
	see := func(x int, w float64) {
		all.Add(w)
		if x <= a {
			below.Add(w)
		}
		if x >= a {
			above.Add(w)
		}
		if w <= seen*(1+1e-9) { // tables that are equally likely differ by rounding
			rare.Add(w)
		}
	}
	see(mode, 1)
	for x, w := mode, 1.0; x < high && w >= leastNormal; x++ {
		w *= up(x)
		see(x+1, w)
	}
	for x, w := mode, 1.0; x > low && w >= leastNormal; x-- {
		w /= up(x - 1)
		see(x-1, w)
	}
	total := all.Value()
	clip := func(s Sum) float64 { return math.Min(1, s.Value()/total) }
	return clip(rare), clip(below), clip(above)
}
