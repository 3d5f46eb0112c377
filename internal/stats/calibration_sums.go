package stats

import "math"

// BinSums are what forecasts add up to in bins of equal width: for each bin from the lowest up their number n, the sum
// of the stated probabilities and the number of them that came true, one after the other, so three numbers a bin. They
// add up over forecasts and machines, which equal-mass bins do not, for their edges depend on all forecasts.
type BinSums []float64

// NewBinSums returns the sums of a single forecast. ok is false for a probability outside [0, 1], and for bins that are
// not of equal width.
func NewBinSums(p float64, hit bool, b Bins) (s BinSums, ok bool) {
	if !(p >= 0 && p <= 1) || b.Kind != EqualWidth {
		return nil, false
	}
	s = make(BinSums, 3*b.count())
	k := assign([]float64{p}, b.Edges(nil))[0]
	s[3*k], s[3*k+1], s[3*k+2] = 1, p, indicator(hit)
	return s, true
}

// Calibrate measures calibration as the function of that name does; the intervals of the bins take the forecasts to be
// independent. ok is false
// for sums that no forecasts have.
func (s BinSums) Calibrate() (c Calibration, ok bool) {
	if len(s) == 0 || len(s)%3 != 0 {
		return Calibration{}, false
	}
	count := len(s) / 3
	sums := make([]binSum, count)
	var n float64
	for k := range sums {
		x := binSum{n: s[3*k], p: s[3*k+1], y: s[3*k+2]}
		// Sums of which a part was taken away again may be off in the last digit.
		if !(x.n >= 0) || !(math.Abs(x.p) <= x.n+1e-6) || !(math.Abs(x.y) <= x.n+1e-6) {
			return Calibration{}, false
		}
		sums[k] = x
		n += x.n
	}
	if n == 0 {
		return Calibration{}, false
	}
	return calibrationOf(sums, Bins{Count: count}.Edges(nil), func(k int) Interval { return shareInterval(sums[k].y, sums[k].n) }), true
}

// DebiasedSpread is the part of the standard error of Debiased that stays when no bin shows a gap: there its slope is 0,
// so that a jackknife sees next to nothing, however few the forecasts are. With v_b = ỹ(1−ỹ)/n_b, the variance of a share,
// it is
//
//	√(2 Σ w_b² v_b²)
//
// over the bins that Debiased uses, w_b being their share of the forecasts. ỹ = (hits+1)/(n_b+2), for a bin in which all
// came true may have been lucky. NaN when there is no such bin.
func (s BinSums) DebiasedSpread() float64 {
	var weight, sum float64
	for k := 0; k+2 < len(s); k += 3 {
		n, hits := s[k], math.Max(0, s[k+2])
		if n < 2 {
			continue
		}
		y := math.Min(1, (hits+1)/(n+2))
		wv := y * (1 - y) // n·v
		weight += n
		sum += 2 * wv * wv
	}
	if weight == 0 {
		return math.NaN()
	}
	return math.Sqrt(sum) / weight
}

// DebiasedUpper is an upper end of Debiased at 95% (two-sided) that does not rest on a spread that was seen. Where all or
// nearly all answers of a bin came out alike, a standard error is far too small, just where a model is too sure. With
// [l_b, u_b] the Clopper-Pearson interval of a bin's share and g_b = max(|p̄_b − l_b|, |p̄_b − u_b|) it is (Zou and Donner 2008)
//
//	Σ w_b θ_b + √(Σ w_b² (g_b² − θ_b)²),  θ_b = d_b² − ȳ_b(1−ȳ_b)/(n_b−1)
//
// over the bins that Debiased uses; for a single bin that is the square of the largest gap that its interval leaves open.
// trials is the number of independent trials for each forecast, at most 1. NaN when there is no such bin.
func (s BinSums) DebiasedUpper(trials float64) float64 {
	var weight, sum, spread float64
	for k := 0; k+2 < len(s); k += 3 {
		n := s[k]
		if n < 2 {
			continue
		}
		p, y := s[k+1]/n, math.Min(math.Max(s[k+2]/n, 0), 1)
		theta := (p-y)*(p-y) - y*(1-y)/(n-1)
		i, ok := ClopperPearson(y*n*trials, n*trials, Level)
		if !ok {
			return math.NaN()
		}
		gap := math.Max(math.Abs(p-i.Low), math.Abs(p-i.High))
		far := n * (gap*gap - theta)
		weight += n
		sum += n * theta
		spread += far * far
	}
	return (math.Max(0, sum) + math.Sqrt(spread)) / weight
}
