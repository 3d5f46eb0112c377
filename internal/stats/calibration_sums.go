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
	c.N = int(math.Round(n))
	for k, x := range sums {
		if x.n == 0 {
			continue
		}
		b := CalibrationBin{Low: float64(k) / float64(count), High: float64(k+1) / float64(count), N: int(math.Round(x.n)), Predicted: x.p / x.n, Observed: x.y / x.n}
		b.Interval, ok = Wilson(x.y, x.n, Level)
		if !ok {
			b.Interval = Interval{0, 1}
		}
		c.Bins = append(c.Bins, b)
		gap := math.Abs(b.Predicted - b.Observed)
		c.ECE += x.n / n * gap
		c.MCE = math.Max(c.MCE, gap)
		c.Squared += x.n / n * gap * gap
		if b.N == 1 {
			c.Single++
		}
	}
	c.Debiased, _ = debiased(sums)
	c.Root = math.Sqrt(math.Max(0, c.Debiased))
	return c, true
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
