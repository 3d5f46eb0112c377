package stats

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Deleted is what leaving out one unit at a time says about a statistic.
type Deleted struct {
	// SE is the jackknife standard error: √((n−1)/n Σ(θ_(i) − θ̄)²).
	SE float64
	// Acceleration is how fast the statistic's standard error changes with its value, a sixth of the skewness of its
	// influences: Σ(θ̄ − θ_(i))³ / 6(Σ(θ̄ − θ_(i))²)^{3/2}.
	Acceleration float64
}

// DeleteOne evaluates stat without each of the n units in turn (Efron 1987). stat gets the indices of the units to
// use, in a slice it must not keep; the cost of a statistic that looks at each is of the order n². ok is false below
// two units, when stat is not finite without one of them, and when it is the same without each.
func DeleteOne(n int, stat func(index []int) float64) (d Deleted, ok bool) {
	if n < 2 {
		return Deleted{}, false
	}
	index := make([]int, n-1)
	for i := range index {
		index[i] = i + 1
	}
	without := make([]float64, n)
	var mean Sum
	for i := range without {
		without[i] = stat(index)
		if !Finite(without[i]) {
			return Deleted{}, false
		}
		mean.Add(without[i] / float64(n))
		if i < n-1 {
			index[i] = i
		}
	}
	var squares, cubes Sum
	for _, x := range without {
		u := mean.Value() - x
		squares.Add(u * u)
		cubes.Add(u * u * u)
	}
	ss := squares.Value()
	// Equal values leave a remainder of rounding.
	if scale := 1e-15 * math.Abs(mean.Value()); ss <= float64(n)*scale*scale {
		return Deleted{}, false
	}
	d = Deleted{
		SE:           math.Sqrt(float64(n-1) / float64(n) * ss),
		Acceleration: cubes.Value() / (6 * ss * math.Sqrt(ss)),
	}
	return d, Finite(d.SE) && Finite(d.Acceleration)
}

// BCa returns the bias-corrected and accelerated bootstrap interval of a statistic (Efron 1987, "Better bootstrap
// confidence intervals"). The n units, which are independent clusters of cases, are drawn with replacement N times;
// stat gets the indices that were drawn, in a slice it must neither keep nor change. With z0 = Φ⁻¹(share of draws
// below the statistic itself, ties counted half) and the jackknife's acceleration a, the ends are the quantiles of the draws at
//
//	Φ(z0 + (z0 + z)/(1 − a(z0 + z))), z = ±z_{α/2}
//
// ok is false when there is nothing to say: below two units, a statistic that is not finite for some draw or does
// not vary, a level outside (0, 1), and an end that lies beyond the N draws, for which more are needed. Below about
// 20 units it covers too rarely whatever the draws; prefer Student's t then.
func BCa(n int, stat func(index []int) float64, level float64, d Draws) (i Interval, ok bool) {
	if !(level > 0 && level < 1) {
		return Interval{}, false
	}
	out, ok := DeleteOne(n, stat)
	if !ok {
		return Interval{}, false
	}
	index := make([]int, n)
	for k := range index {
		index[k] = k
	}
	whole := stat(index)
	drawn, ok := resample(n, stat, d)
	if !ok || !Finite(whole) {
		return Interval{}, false
	}
	slices.Sort(drawn)
	below, ties := 0, 0
	for _, x := range drawn {
		// The order in which a draw is summed moves its last digits.
		switch tie := tieShare * (math.Abs(x) + math.Abs(whole)); {
		case x < whole-tie:
			below++
		case x <= whole+tie:
			ties++
		}
	}
	z0 := distuv.UnitNormal.Quantile((float64(below) + float64(ties)/2) / float64(len(drawn)))
	if !Finite(z0) {
		return Interval{}, false
	}
	z := NormalQuantile(level)
	low, ok := bcaEnd(drawn, z0, out.Acceleration, -z)
	if !ok {
		return Interval{}, false
	}
	high, ok := bcaEnd(drawn, z0, out.Acceleration, z)
	return Interval{low, high}, ok
}

// bcaEnd returns the quantile of the sorted draws that stands for z standard errors.
func bcaEnd(sorted []float64, z0, a, z float64) (x float64, ok bool) {
	under := 1 - a*(z0+z)
	if !(under > 0) {
		return 0, false
	}
	return drawnQuantile(sorted, distuv.UnitNormal.CDF(z0+(z0+z)/under))
}

// drawnQuantile returns the p-quantile at rank p(N+1) of sorted draws, between neighbours in proportion. ok is
// false when it lies beyond the first or the last.
func drawnQuantile(sorted []float64, p float64) (x float64, ok bool) {
	rank := p*float64(len(sorted)+1) - 1
	if !(rank >= 0) || rank > float64(len(sorted)-1) {
		return 0, false
	}
	k := int(rank)
	if k == len(sorted)-1 {
		return sorted[k], true
	}
	return sorted[k] + (rank-float64(k))*(sorted[k+1]-sorted[k]), true
}

// resample returns stat of N draws of n units with replacement; ok is false when one is not finite.
func resample(n int, stat func(index []int) float64, d Draws) (drawn []float64, ok bool) {
	if d.N <= 0 {
		d.N = BootstrapDraws
	}
	source := d.source(streamBoot)
	drawn = make([]float64, d.N)
	index := make([]int, n)
	for k := range drawn {
		drawIndices(index, source)
		if drawn[k] = stat(index); !Finite(drawn[k]) {
			return nil, false
		}
	}
	return drawn, true
}

// drawIndices fills index with numbers below its length, two from each random word. Scaling 32 bits favours no
// index by more than one part in 2³²/n.
func drawIndices(index []int, source *rand.PCG) {
	n := uint64(len(index))
	for k := 0; k < len(index); k += 2 {
		w := source.Uint64()
		index[k] = int(w >> 32 * n >> 32)
		if k+1 < len(index) {
			index[k+1] = int(w & math.MaxUint32 * n >> 32)
		}
	}
}

// WildWeights are the random weights of a wild bootstrap.
type WildWeights uint8

// The weights. Both have mean 0 and variance 1.
const (
	// WildAuto is Webb below 12 clusters, Rademacher from there on.
	WildAuto WildWeights = iota
	// Rademacher is ±1. C clusters have 2^C different draws, too few to tell p-values apart when C is small.
	Rademacher
	// Webb has six values, ±√½, ±1 and ±√(3/2), hence 6^C different draws (Webb 2014, "Reworking wild bootstrap
	// based inference for clustered errors").
	Webb
)

// webbBelow is the number of clusters under which WildAuto takes Webb's weights.
const webbBelow = 12

// WildCluster tests whether a mean over few clusters is zero, by the wild cluster bootstrap with the null imposed
// (Cameron, Gelbach and Miller 2008). sums holds each cluster's sum of values, sizes its number of values (or weight,
// above 0). The statistic is t = R/SE with R = Σs/Σm and SE² = Σ(s_c − R·m_c)²/(Σm)²; a draw multiplies each cluster's
// sum by its own random weight, and p = (1 + those at least as extreme)/(1 + N). Rademacher weights
// are all looked at when there are no more than N+1 of them, and p is then exact over them.
//
// Unlike SignFlip it allows for clusters of very different size and spread, at the price of holding only
// approximately; it needs about five clusters. ok is false below two, for a size that is not above 0 or a value that is not
// finite, and when all clusters agree, so that there is no spread to judge by.
func WildCluster(sums, sizes []float64, weights WildWeights, d Draws) (f Flipped, ok bool) {
	if len(sums) < 2 || len(sums) != len(sizes) {
		return Flipped{}, false
	}
	for i := range sums {
		if !Finite(sums[i]) || !Finite(sizes[i]) || sizes[i] <= 0 {
			return Flipped{}, false
		}
	}
	observed := clusteredT(sums, sizes)
	if !Finite(observed) {
		return Flipped{}, false
	}
	c := counter{observed: observed, tie: 1e-9 * (1 + math.Abs(observed))}
	if weights == WildAuto {
		weights = Rademacher
		if len(sums) < webbBelow {
			weights = Webb
		}
	}
	if d.N <= 0 {
		d.N = PermutationDraws
	}
	drawn := make([]float64, len(sums))
	if weights == Rademacher && len(sums) < 31 && 1<<len(sums) <= d.N+1 {
		for signs := range uint64(1) << len(sums) {
			for i, s := range sums {
				drawn[i] = s * (1 - 2*float64(signs>>i&1))
			}
			c.see(clusteredT(drawn, sizes))
		}
		return c.exact(), true
	}
	source := rand.New(d.source(streamWild))
	values := wildValues(weights)
	for range d.N {
		for i, s := range sums {
			drawn[i] = s * values[source.IntN(len(values))]
		}
		c.see(clusteredT(drawn, sizes))
	}
	return c.drawn(), true
}

func wildValues(w WildWeights) []float64 {
	if w == Webb {
		return []float64{-math.Sqrt(1.5), -1, -math.Sqrt(0.5), math.Sqrt(0.5), 1, math.Sqrt(1.5)}
	}
	return []float64{-1, 1}
}

// clusteredT is R/SE without the constants that no draw changes. When all clusters agree it is an infinity, or
// NaN for a mean of 0.
func clusteredT(sums, sizes []float64) float64 {
	var y, w float64
	for i, s := range sums {
		y, w = y+s, w+sizes[i]
	}
	r := y / w
	ss, scale := 0.0, 0.0
	for i, s := range sums {
		e := s - r*sizes[i]
		ss, scale = ss+e*e, scale+s*s
	}
	if ss <= 1e-28*scale {
		ss = 0
	}
	return r * w / math.Sqrt(ss)
}
