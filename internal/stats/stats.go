// Package stats holds the statistics telltale decides with: intervals for rates, standard errors
// for clustered observations, the jackknife, paired tests, quantiles and sums that do not lose digits;
// and for streams e-processes, confidence sequences and change detectors, whose JSON states are of
// bounded size, go on with the same bits, and are refused when damaged.
//
// Everything in it is pure: no clock, no I/O, no random numbers but those of a seed that it is given, the
// same input in the same order gives the same bits. Accumulators are plain values that are fed one observation or
// one cluster at a time and do not grow with them, but for clusters that stay open; sums, ratios and
// quantiles can be merged. They are not safe for concurrent use. It is not for deciding anything: packages gate, monitor and rollout do that, and they treat
// a number that is not there (ok is false, or a nil interval) as "could not tell".
package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Level is the confidence level of every interval that telltale reports unless it says otherwise.
const Level = 0.95

// Interval is a two-sided confidence interval, both ends included.
type Interval struct {
	Low, High float64
}

// Clip returns the part of i within [low, high].
func (i Interval) Clip(low, high float64) Interval {
	return Interval{math.Min(math.Max(i.Low, low), high), math.Max(math.Min(i.High, high), low)}
}

// NormalQuantile returns z such that a central share level of a standard normal lies within ±z:
// 1.959964 for 0.95. A level below 0 gives the −z of its opposite; it is NaN for one outside [−1, 1].
func NormalQuantile(level float64) float64 {
	if !(math.Abs(level) <= 1) {
		return math.NaN()
	}
	return distuv.UnitNormal.Quantile(0.5 + level/2)
}

// StudentQuantile returns t such that a central share level of Student's distribution with df
// degrees of freedom lies within ±t. It is NaN for a level outside [0, 1] and unless df is above 0.
func StudentQuantile(level, df float64) float64 {
	if !(level >= 0 && level <= 1 && df > 0) {
		return math.NaN()
	}
	if df > 1000 { // the Beta quantile loses digits there, in the tails all of them; Abramowitz and Stegun 26.7.5
		z := NormalQuantile(level)
		x := z * z
		return z + z*(x+1)/(4*df) + z*(x*(5*x+16)+3)/(96*df*df) + z*(x*(x*(3*x+19)+17)-15)/(384*df*df*df)
	}
	return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(0.5 + level/2)
}

// Finite says whether x is neither NaN nor infinite.
func Finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
