package stats

import (
	"math"

	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Average run lengths: the mean number of observations until a detector alarms, from its start. Without a change that is
// the time between false alarms, with one the delay.

// runLengthNodes is the number of Gauss–Legendre nodes of the integral equations; the charts in use are
// exact to 6 digits with 40.
const runLengthNodes = 80

// NormalCUSUMRunLength is the average run length of the two-sided NormalCUSUM for observations with mean shift and
// variance 1. One side satisfies L(u) = 1 + L(0)Φ(k − u − δ) + ∫₀ʰ L(x)φ(x + k − u − δ)dx (Page 1954); both together
// 1/L = 1/L⁺ + 1/L⁻ (Kemp 1961), which holds for k ≥ 0 and starts at 0. ok is false outside the domain.
func NormalCUSUMRunLength(opt NormalCUSUMOptions, shift float64) (mean float64, ok bool) {
	if opt.validate() != nil || !Finite(shift) {
		return 0, false
	}
	up, ok1 := oneSidedRunLength(opt.K, opt.Threshold, shift)
	down, ok2 := oneSidedRunLength(opt.K, opt.Threshold, -shift)
	if !ok1 && !ok2 {
		return 0, false
	}
	inverse := 0.0
	// A side that never alarms, to working precision, adds nothing.
	for i, l := range []float64{up, down} {
		if []bool{ok1, ok2}[i] {
			inverse += 1 / l
		}
	}
	return 1 / inverse, true
}

func oneSidedRunLength(k, h, shift float64) (float64, bool) {
	x, w := make([]float64, runLengthNodes), make([]float64, runLengthNodes)
	quad.Legendre{}.FixedLocations(x, w, 0, h)
	n := runLengthNodes + 1
	a, b := mat.NewDense(n, n, nil), mat.NewVecDense(n, nil)
	// The last unknown is L(0).
	for i := range n {
		u := 0.0
		if i < runLengthNodes {
			u = x[i]
		}
		for j := range runLengthNodes {
			a.Set(i, j, -w[j]*normalDensity(x[j]+k-u-shift))
		}
		a.Set(i, n-1, -distuv.UnitNormal.CDF(k-u-shift))
		a.Set(i, i, a.At(i, i)+1)
		b.SetVec(i, 1)
	}
	return solved(a, b, n-1)
}

// solved is one unknown of a linear system; ok is false when that is singular to working precision or the run
// length is not one.
func solved(a *mat.Dense, b *mat.VecDense, at int) (float64, bool) {
	var out mat.VecDense
	if err := out.SolveVec(a, b); err != nil {
		return 0, false
	}
	l := out.AtVec(at)
	return l, l >= 1-1e-9 && !math.IsInf(l, 0)
}

// EWMARunLength is the average run length of EWMA for observations with mean shift and variance 1 (Crowder 1987):
// L(u) = 1 + ∫ L(x) φ((x − (1 − λ)u)/λ − δ)dx/λ within the limits. ok is false outside the domain.
func EWMARunLength(opt EWMAOptions, shift float64) (mean float64, ok bool) {
	if opt.validate() != nil || !Finite(shift) {
		return 0, false
	}
	// Half of the nodes on each side, and the kernel's width against the range decides how many are enough.
	n := runLengthNodes
	if need := int(12 * opt.limit() / opt.Lambda); need > n {
		n = min(need, 600)
	}
	x, w := make([]float64, n), make([]float64, n)
	quad.Legendre{}.FixedLocations(x, w, -opt.limit(), opt.limit())
	a, b := mat.NewDense(n+1, n+1, nil), mat.NewVecDense(n+1, nil)
	for i := range n + 1 {
		u := 0.0
		if i < n {
			u = x[i]
		}
		for j := range n {
			a.Set(i, j, -w[j]*normalDensity((x[j]-(1-opt.Lambda)*u)/opt.Lambda-shift)/opt.Lambda)
		}
		a.Set(i, i, a.At(i, i)+1)
		b.SetVec(i, 1)
	}
	return solved(a, b, n)
}

// CalibrateNormalCUSUM returns the threshold at which the two-sided NormalCUSUM has that average run length without a
// shift.
func CalibrateNormalCUSUM(k, runLength float64) (threshold float64, ok bool) {
	return calibrate(runLength, 0.05, 60, 1e-6, func(h float64) (float64, bool) {
		return NormalCUSUMRunLength(NormalCUSUMOptions{k, h}, 0)
	})
}

// CalibrateEWMA returns the width at which EWMA has that average run length without a shift.
func CalibrateEWMA(lambda, runLength float64) (width float64, ok bool) {
	return calibrate(runLength, 0.05, 8, 1e-6, func(l float64) (float64, bool) {
		return EWMARunLength(EWMAOptions{lambda, l}, 0)
	})
}

// calibrate finds to within a tolerance where an increasing run length reaches want; a run length that cannot be
// computed counts as too long.
func calibrate(want, low, high, tolerance float64, at func(float64) (float64, bool)) (float64, bool) {
	if !(want > 1) || want > 1e12 {
		return 0, false
	}
	if l, ok := at(low); !ok || l >= want {
		return 0, false
	}
	for high-low > tolerance {
		mid := (low + high) / 2
		if l, ok := at(mid); ok && l < want {
			low = mid
		} else {
			high = mid
		}
	}
	// Where outcomes are few the run length goes up in steps, and may be well above what was wanted.
	l, ok := at(high)
	return high, ok && l >= want
}

// bernoulliSteps is about the number of states of the chain by which a BernoulliCUSUM's run length is computed.
const bernoulliSteps = 2000

// BernoulliCUSUMRunLength is the average run length of BernoulliCUSUM when the rate is p, from a Markov chain on a fine
// lattice (after Reynolds and Stoumbos 1999); good to about 1%. ok is false outside the domain and where there is no alarm.
func BernoulliCUSUMRunLength(opt BernoulliCUSUMOptions, p float64) (mean float64, ok bool) {
	if opt.validate() != nil || !(p >= 0 && p <= 1) {
		return 0, false
	}
	c := newBernoulliChain(opt.From, opt.To, opt.Threshold)
	return c.runLength(opt.Threshold, p)
}

// CalibrateBernoulliCUSUM returns the threshold at which BernoulliCUSUM has that average run length at the rate from.
func CalibrateBernoulliCUSUM(from, to, runLength float64) (threshold float64, ok bool) {
	if !(from > 0 && from < to && to < 1) || !(runLength > 1) || runLength > 1e12 {
		return 0, false
	}
	// The run length is at least e^h (Lorden 1971): the threshold cannot be above ln of it.
	most := math.Log(runLength) + math.Log(to/from)
	c := newBernoulliChain(from, to, most)
	return calibrate(runLength, c.step, most, c.step/4, func(h float64) (float64, bool) { return c.runLength(h, from) })
}

// bernoulliChain is the lattice of a BernoulliCUSUM: the statistic goes down by whole steps in so many outcomes without an
// event, and up by rise with an event, which is no whole number of steps: what is there is interpolated. Rounding it
// instead would change the statistic's drift, which for a small rise of the rate is a small difference of two large numbers.
type bernoulliChain struct {
	step           float64
	outcomes, down int
	rise           float64 // in steps
}

func newBernoulliChain(from, to, h float64) bernoulliChain {
	fall := math.Log1p(-from) - math.Log1p(-to)
	c := bernoulliChain{step: h / bernoulliSteps, outcomes: 1, down: 1}
	if fall >= c.step {
		c.down = int(math.Round(fall / c.step))
		c.step = fall / float64(c.down)
	} else {
		c.outcomes = int(math.Round(c.step / fall))
		c.step = fall * float64(c.outcomes)
	}
	c.rise = math.Log(to/from) / c.step
	return c
}

// runLength solves for the mean number of events L(i) until the alarm from state i: with the chance a of an event among the
// outcomes of one step, and u the mean position after it,
//
//	L(i) = a(1 + L(u)) + (1 − a) L(max(0, i − down)),  L = 0 from h on.
//
// An alarm comes with an event, so that the run length is L(0)/p (Wald). Elimination without pivots: the matrix is diagonally
// dominant, and its band does not fill beyond down and up.
func (c bernoulliChain) runLength(h, p float64) (float64, bool) {
	n := int(math.Ceil(h/c.step - 1e-9))
	if n < 1 || n > 4*bernoulliSteps || !(p > 0) {
		return 0, false
	}
	none := math.Pow(1-p, float64(c.outcomes))
	// The outcomes without an event before the first, of those of a step with one, in steps.
	waited := 0.0
	if c.outcomes > 1 {
		waited = (1-p)/(p*float64(c.outcomes)) - none/(1-none)
	}
	down, up := min(c.down, n-1), min(int(c.rise)+1, n)
	width := down + up + 1
	a := make([]float64, n*width) // a[i*width + j − i + down] is row i, column j
	b := make([]float64, n)
	for i := range n {
		a[i*width+down]++
		a[i*width+max(0, i-c.down)-i+down] -= none
		at := float64(i) + c.rise
		if i > 0 {
			at -= waited
		}
		below := int(math.Floor(at))
		above := at - float64(below)
		if below < n {
			a[i*width+below-i+down] -= (1 - none) * (1 - above)
		}
		if below+1 < n {
			a[i*width+below+1-i+down] -= (1 - none) * above
		}
		b[i] = 1 - none
	}
	for k := range n {
		pivot := a[k*width+down]
		if !(pivot > 0) {
			return 0, false
		}
		for i := k + 1; i < n && i <= k+down; i++ {
			f := a[i*width+k-i+down] / pivot
			if f == 0 {
				continue
			}
			from, to := a[k*width+down+1:(k+1)*width], a[i*width+k-i+down+1:]
			for j, v := range from {
				to[j] -= f * v
			}
			b[i] -= f * b[k]
		}
	}
	for i := n - 1; i >= 0; i-- {
		for j := i + 1; j < n && j <= i+up; j++ {
			b[i] -= a[i*width+j-i+down] * b[j]
		}
		b[i] /= a[i*width+down]
	}
	l := b[0] / p
	return l, l >= 1-1e-9 && !math.IsInf(l, 0)
}
