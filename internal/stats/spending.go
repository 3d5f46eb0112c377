package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// SpentOBrienFleming is the share of a one-sided alpha that the O'Brien–Fleming-like function of Lan and
// DeMets (1983) spends by time t, from 0 to 1: 2 − 2Φ(z_{1−α/2}/√t). It is next to nothing at first and alpha at the end.
func SpentOBrienFleming(alpha, t float64) float64 {
	switch {
	case !(t > 0) || !(alpha > 0):
		return 0
	case t >= 1:
		return alpha
	}
	return 2 * distuv.UnitNormal.CDF(distuv.UnitNormal.Quantile(alpha/2)/math.Sqrt(t))
}

// The grid on which SpendingBounds integrates: so many standard errors to each side, and so many points.
const (
	boundGridReach  = 8.0
	boundGridPoints = 401
	// leastGain is the least relative growth of information between two looks. Growth that was measured to
	// be less is taken to be as much, which makes the looks less alike than they are and the bounds stricter.
	leastGain = 0.004
)

// SpendingBounds returns the one-sided bounds of a sequence of looks: look k rejects when its z statistic is at
// least bounds[k]. spent[k] is the chance of a false rejection in the looks up to k; info[k] is the information
// at look k, in any unit, such as 1/SE². The statistics are taken to be normal with independent increments:
// Cov(z_j, z_k) = √(info_j/info_k). The times by which error is spent need not be those of the information (Lan
// and DeMets 1989). ok is false for an empty or decreasing sequence, or one that is not finite. A look that may
// spend nothing has the bound +Inf.
//
// It is the recursive integration of Armitage, McPherson and Rowe (1969), by Simpson's rule.
func SpendingBounds(spent, info []float64) (bounds []float64, ok bool) {
	if len(spent) == 0 || len(spent) != len(info) {
		return nil, false
	}
	before := 0.0
	for k := range spent {
		if !Finite(spent[k]) || !Finite(info[k]) || spent[k] < before || spent[k] >= 1 || info[k] <= 0 {
			return nil, false
		}
		before = spent[k]
	}
	var d walk
	at := 0.0
	before = 0
	for k := range spent {
		to := math.Max(info[k], at*(1+leastGain))
		c := d.bound(at, to, spent[k]-before)
		bounds = append(bounds, c)
		if k < len(spent)-1 {
			d = d.step(at, to, c)
		}
		at, before = to, spent[k]
	}
	return bounds, true
}

// walk is the density of the score z·√info on a grid, of the sequences that have not rejected yet. The zero
// value stands before the first look.
type walk struct {
	low, h  float64
	density []float64 // times Simpson's weight
}

// bound is the z at information to that spends alpha.
func (w walk) bound(from, to, alpha float64) float64 {
	if alpha <= 0 {
		return math.Inf(1)
	}
	if w.density == nil {
		return -distuv.UnitNormal.Quantile(alpha)
	}
	low, high := -boundGridReach, boundGridReach+2
	for range 60 {
		mid := (low + high) / 2
		if w.beyond(from, to, mid*math.Sqrt(to)) > alpha {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// beyond is the chance that the score at information to is above s.
func (w walk) beyond(from, to, s float64) float64 {
	sd := math.Sqrt(to - from)
	sum := 0.0
	for i, f := range w.density {
		z := (s - (w.low + float64(i)*w.h)) / sd
		if z < boundGridReach {
			sum += f * 0.5 * math.Erfc(z/math.Sqrt2)
		}
	}
	return sum
}

// step moves the density on to information to and cuts off what the bound c rejects.
func (w walk) step(from, to, c float64) walk {
	scale := math.Sqrt(to)
	top := math.Min(c, boundGridReach) * scale
	low := -boundGridReach * scale
	n := boundGridPoints
	if w.density != nil {
		// The kernel must be wider than the distance of two points.
		if need := int((top - low) / math.Sqrt(to-from) * 3); need > n {
			n = min(need|1, 4001)
		}
	}
	out := walk{low: low, h: (top - low) / float64(n-1), density: make([]float64, n)}
	sd := math.Sqrt(to - from)
	for i := range out.density {
		s := low + float64(i)*out.h
		f := 0.0
		if w.density == nil {
			f = normalDensity(s/sd) / sd
		} else {
			first := max(0, int((s-boundGridReach*sd-w.low)/w.h))
			last := min(len(w.density)-1, int((s+boundGridReach*sd-w.low)/w.h)+1)
			for j := first; j <= last; j++ {
				f += w.density[j] * normalDensity((s-w.low-float64(j)*w.h)/sd) / sd
			}
		}
		weight := 4.0
		switch {
		case i == 0 || i == n-1:
			weight = 1
		case i%2 == 0:
			weight = 2
		}
		out.density[i] = f * weight * out.h / 3
	}
	return out
}

func normalDensity(z float64) float64 { return math.Exp(-z*z/2) / math.Sqrt(2*math.Pi) }
