package stats

import "math"

// EmpiricalProcessLIL is the radius of a confidence band around an empirical distribution function that holds at all
// values and all times t ≥ tMin at once: sup_x |F̂_t(x) − F(x)| ≤ A √((ln ln(e·t/tMin) + C)/t) with probability
// 1 − alpha (Howard and Ramdas 2022, "Sequential estimation of quantiles", Bernoulli 28, theorem 2). C is the least for
// which
//
//	inf_η 4 exp(−γ²C)(1 + 1/((γ² − 1) ln η)) ≤ alpha,  γ² = (2/η)(A − √(2(η − 1)/C))²,  over η > 1 with γ² > 1.
//
// a must be above 1/√2; 0.85 serves. ok is false outside the domain and for t < tMin.
func EmpiricalProcessLIL(t int, alpha, tMin, a float64) (radius float64, ok bool) {
	if !(alpha > 0 && alpha < 1) || !(tMin >= 1) || !(float64(t) >= tMin) || !(a > math.Sqrt(0.5)) || math.IsInf(a, 0) {
		return 0, false
	}
	low, high := 0.0, 1.0
	for lilError(high, a) > alpha {
		low, high = high, 2*high
		if high > 1e9 {
			return 0, false
		}
	}
	for range 60 {
		mid := (low + high) / 2
		if lilError(mid, a) > alpha {
			low = mid
		} else {
			high = mid
		}
	}
	n := float64(t)
	return a * math.Sqrt((math.Log1p(math.Log(n/tMin))+high)/n), true
}

// lilError is the least error bound over η at c, found on a grid of ln η that is then narrowed; +Inf where there is none.
func lilError(c, a float64) float64 {
	at := func(eta float64) float64 {
		root := a - math.Sqrt(2*(eta-1)/c)
		if root <= 0 {
			return math.Inf(1)
		}
		gamma2 := 2 / eta * root * root
		if gamma2 <= 1 {
			return math.Inf(1)
		}
		return 4 * math.Exp(-gamma2*c) * (1 + 1/((gamma2-1)*math.Log(eta)))
	}
	// γ² > 1 needs η < 2A².
	low, high := 0.0, math.Log(2*a*a)
	best, where := math.Inf(1), 0.0
	const points = 16
	for range 8 {
		step := (high - low) / points
		for i := 1; i < points; i++ {
			x := low + float64(i)*step
			if v := at(math.Exp(x)); v < best {
				best, where = v, x
			}
		}
		if math.IsInf(best, 1) {
			return best
		}
		low, high = math.Max(low, where-step), math.Min(high, where+step)
	}
	return best
}

// QuantileShares returns the shares between which the p-quantile of a distribution lies among n observations, at all n
// at once with probability 1 − alpha: it is at least the ⌈low·n⌉-th smallest observation, and at most
// the ⌊high·n⌋+1-th. low ≤ 0 and high ≥ 1 say that it is not bounded on that side. tuned is the number of observations at
// which the sequence is tightest.
//
// The share of observations at or below the quantile is at least p on average, that below it at most p, and sums of
// such indicators stay within the beta-binomial boundary of a Bernoulli rate p (Howard and Ramdas 2022, theorem 1(b)), alpha/2 for
// each side, for continuous and discrete distributions alike. ok is false outside the domain.
func QuantileShares(n int, p, alpha float64, tuned int) (low, high float64, ok bool) {
	if n < 1 || tuned < 1 || !(p > 0 && p < 1) || !(alpha > 0 && alpha < 1) {
		return 0, 0, false
	}
	v := p * (1 - p)
	side := func(g, h float64) float64 {
		m, _ := NewBetaBinomial(v*float64(tuned), alpha/2, g, h, OneSided)
		s, reached := m.Bound(v*float64(n), alpha/2)
		if !reached {
			return math.Inf(1) // even n observations on one side would not reject
		}
		return s / float64(n)
	}
	return p - side(1-p, p), p + side(p, 1-p), true
}

// Sequence returns the confidence sequence for the p-quantile of what q's numbers come from, for QuantileShares of
// them. The ends of a sketch that is no longer exact are moved outwards by its relative error. Low is 0 and High infinite where
// the numbers do not bound the quantile. ok is false without numbers and outside the domain.
func (q *Quantiles) Sequence(p, alpha float64, tuned int) (i Interval, ok bool) {
	low, high, ok := QuantileShares(q.n, p, alpha, tuned)
	if !ok {
		return Interval{}, false
	}
	n := float64(q.n)
	slack := 0.0
	if q.buckets != nil {
		slack = QuantileError
	}
	i = Interval{0, math.Inf(1)}
	if rank := math.Ceil(low*n - 1e-9); rank >= 1 {
		if x, ok := q.At(rank / n); ok {
			i.Low = x * (1 - slack)
		}
	}
	if rank := math.Floor(high*n+1e-9) + 1; rank <= n {
		if x, ok := q.At(rank / n); ok {
			i.High = x * (1 + slack) / (1 - slack)
		}
	}
	return i, true
}
