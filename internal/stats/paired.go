package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// McNemarP holds the p-values of McNemar's test.
type McNemarP struct {
	// Exact is two-sided and never rejects an unchanged system more often than it says.
	Exact float64
	// Mid is two-sided and counts half of the observed outcome's own probability, which makes it less timid. Its
	// error rate passes the nominal one by a little, if at all (Fagerland, Lydersen and Laake 2013).
	Mid float64
	// WorseMid is one-sided and small when b is larger than c: P(X > b) + P(X = b)/2.
	WorseMid float64
}

// McNemar tests whether two systems that answered the same cases are right equally often (McNemar 1947). b is how
// many cases only the base got right, c how many only the head; cases on which they agree say nothing. Had nothing
// changed, b would be X ~ Binomial(b+c, ½). With m = min(b, c), F its distribution function and f its probabilities:
//
//	Exact = 2F(m), Mid = 2F(m) − f(m)
//
// at most 1. The cases must be independent of each other; for cases in groups see SignFlip. Without a discordant
// case Exact and Mid are 1 and WorseMid is ½. A negative count gives NaN, which no comparison takes for small.
func McNemar(b, c int) McNemarP {
	if b < 0 || c < 0 {
		return McNemarP{math.NaN(), math.NaN(), math.NaN()}
	}
	if b == c { // so also without a discordant case
		return McNemarP{Exact: 1, Mid: 1, WorseMid: 0.5}
	}
	x := distuv.Binomial{N: float64(b + c), P: 0.5}
	m := float64(min(b, c))
	tail, here := x.CDF(m), x.Prob(m)
	p := McNemarP{Exact: math.Min(1, 2*tail), Mid: math.Min(1, 2*tail-here)}
	// P(X > b) + P(X = b)/2 is by symmetry P(X < c) + P(X = c)/2.
	p.WorseMid = tail - here/2
	if c > b {
		p.WorseMid = 1 - p.WorseMid
	}
	return p
}

// Tango returns the score interval of the difference (c − b)/n of two rates over the same n independent cases, of
// which b were right only in the base and c only in the head (Tango 1998, "Equivalence test and confidence interval
// for the difference in proportions for the paired-sample design"). It holds the differences d with
//
//	|c − b − n·d| ≤ z √(n (2q + d(1 − d)))
//
// where q is the most likely share of cases only the base gets right, given d: q = (√(B² − 4AC) − B)/2A with
// A = 2n, B = (2n − c + b)d − b − c, C = −b·d(1 − d). Unlike Wald's it has width when b and c are 0:
// ±z²/(n + z²). A level of 1 − 2α gives one-sided bounds at 1 − α. ok is false without cases, for counts that
// do not fit and for a level outside (0, 1).
func Tango(b, c, n int, level float64) (i Interval, ok bool) {
	if n <= 0 || b < 0 || c < 0 || b > n-c || !(level > 0 && level < 1) {
		return Interval{}, false
	}
	z := NormalQuantile(level)
	estimate := float64(c-b) / float64(n)
	return Interval{
		Low:  tangoEnd(b, c, n, -z, -1, estimate),
		High: tangoEnd(b, c, n, z, 1, estimate),
	}, true
}

// tangoEnd looks between inner, which the interval holds, and outer for the last difference that it holds.
func tangoEnd(b, c, n int, z, outer, inner float64) float64 {
	holds := func(d float64) bool {
		away := math.Abs(float64(c-b) - float64(n)*d)
		return away <= math.Abs(z)*math.Sqrt(float64(n)*tangoVariance(float64(b), float64(c), float64(n), d))
	}
	if holds(outer) {
		return outer
	}
	// 64 halvings leave less than the distance of two neighbouring numbers.
	for range 64 {
		mid := inner + (outer-inner)/2
		if holds(mid) {
			inner = mid
		} else {
			outer = mid
		}
	}
	return inner
}

// tangoVariance is that of one case's difference, given that its mean is d.
func tangoVariance(b, c, n, d float64) float64 {
	lin := (2*n-c+b)*d - b - c
	con := -b * d * (1 - d)
	root := math.Sqrt(math.Max(0, lin*lin-8*n*con))
	q := (root - lin) / (4 * n)
	if lin > 0 && root+lin > 0 { // the same root, without the loss of digits
		q = -2 * con / (root + lin)
	}
	return math.Max(0, 2*q+d*(1-d))
}
