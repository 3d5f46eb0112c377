package stats

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// Wilson returns the score interval for a rate of successes k out of n independent trials
// (Wilson 1927; Brown, Cai and DasGupta 2001):
//
//	(p̂ + z²/2n ± z √(p̂q̂/n + z²/4n²)) / (1 + z²/n)
//
// k and n may be fractions, as they are when n is an effective sample size. ok is false when there
// were no trials, k is not within [0, n] or level not within (0, 1).
func Wilson(k, n, level float64) (i Interval, ok bool) {
	if !(n > 0) || !(k >= 0) || !(k <= n) || math.IsInf(n, 0) || !(level > 0 && level < 1) {
		return Interval{}, false
	}
	p, z := k/n, NormalQuantile(level)
	z2 := z * z
	mid := p + z2/(2*n)
	half := z * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	i = Interval{(mid - half) / (1 + z2/n), (mid + half) / (1 + z2/n)}
	// The ends are exactly 0 and 1 here; rounding must not say otherwise.
	if k == 0 {
		i.Low = 0
	}
	if k == n {
		i.High = 1
	}
	return i.Clip(0, 1), true
}

// WilsonTrials returns the number of independent trials at which a Wilson interval around the
// rate p no longer covers bar: from |p − b| = z √(b(1−b)/n). It is infinite when p equals bar, and
// 0 when bar is 0 or 1, NaN for a level outside (0, 1).
func WilsonTrials(p, bar, level float64) float64 {
	z := NormalQuantile(level)
	d := p - bar
	switch {
	case !(level > 0 && level < 1):
		return math.NaN()
	case bar <= 0 || bar >= 1:
		return 0
	}
	return z * z * bar * (1 - bar) / (d * d)
}

// ClopperPearson returns the exact interval for a rate of successes k out of n independent trials (Clopper
// and Pearson 1934), by quantiles of the Beta distribution. It covers at least as often as level
// says, usually more often. k and n may be fractions, as they are when n is an effective sample size (Korn and
// Graubard 1998). ok is false when there were no trials, k is not within [0, n] or level not within (0, 1).
func ClopperPearson(k, n, level float64) (i Interval, ok bool) {
	if !(n > 0) || !(k >= 0) || !(k <= n) || math.IsInf(n, 0) || !(level > 0 && level < 1) {
		return Interval{}, false
	}
	tail := (1 - level) / 2
	switch k { // of none and of all the Beta distribution is a power, whose quantile loses digits when it is not taken as one
	case 0:
		return Interval{0, Unseen(n, tail)}, true
	case n:
		return Interval{1 - Unseen(n, tail), 1}, true
	}
	return Interval{distuv.Beta{Alpha: k, Beta: n - k + 1}.Quantile(tail), distuv.Beta{Alpha: k + 1, Beta: n - k}.Quantile(1 - tail)}, true
}

// ClopperPearsonTrials is WilsonTrials for ClopperPearson: the least whole number of trials, searched up to 2³⁰
// and infinite beyond.
func ClopperPearsonTrials(p, bar, level float64) float64 {
	if !(level > 0 && level < 1) {
		return math.NaN()
	}
	const most = 1 << 30
	n := 1 + sort.Search(most, func(n int) bool {
		i, ok := ClopperPearson(p*float64(n+1), float64(n+1), level)
		return ok && (bar < i.Low || bar > i.High)
	})
	if n > most {
		return math.Inf(1)
	}
	return float64(n)
}

// Unseen is the rate of which n independent trials show nothing with a chance of alpha, 1 − α^(1/n): the one-sided exact
// bound, at 1 − α, of none in n. n may be a fraction; alpha is above 0 and below 1.
func Unseen(n, alpha float64) float64 { return -math.Expm1(math.Log(alpha) / n) }

// UnseenTrials is the number of trials, not rounded, of which Unseen is the given rate.
func UnseenTrials(rate, alpha float64) float64 { return math.Log(alpha) / math.Log1p(-rate) }

// EffectiveTrials returns how many independent trials a rate is worth whose n observations come in
// fewer than n clusters. By the design effect (Kish 1965) that is p(1−p)/SE² with the clustered
// standard error se; se is itself an estimate from few clusters, so the figure is reduced by
// (z/t)² with clusters−1 degrees of freedom (Korn and Graubard 1998). At a rate of 0 or 1 there is
// no spread to estimate a design effect from: the clusters are then counted as one trial each.
// By simulation the Wilson interval of it covers 92% of the time with 10 to 20 clusters and 94% or
// more with 50 (nominal 95%), less near 0 and 1, where few clusters show how much they spread: see
// Ratio.LeastTrials. The result is at most n; 0 means that it cannot be told, as with a single cluster or for a
// level outside (0, 1).
func EffectiveTrials(p, se float64, n, clusters int, level float64) float64 {
	if clusters >= n {
		return float64(n)
	}
	if clusters < 2 || !(level > 0 && level < 1) {
		return 0
	}
	if p <= 0 || p >= 1 || !(se > 0) {
		return float64(clusters)
	}
	c := float64(clusters)
	se2 := se * se * c / (c - 1)
	z, t := NormalQuantile(level), StudentQuantile(level, c-1)
	return math.Min(float64(n), p*(1-p)/se2*(z*z)/(t*t))
}
