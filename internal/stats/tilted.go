package stats

import (
	"cmp"
	"math"
	"slices"
)

// Unit is what one independent unit, such as a cluster of cases, adds to a ratio of sums.
type Unit struct {
	Y float64
	W float64 // above 0; 1 for a plain mean
}

// TiltedScore returns the score interval of the ratio R = ΣY/ΣW of independent units. It holds the values r with
//
//	|Ȳ − r·W̄| ≤ z √(V(r)/n)
//
// where V(r) is the variance of u = Y − r·W under the most likely distribution in which u has mean 0. That is found over
// the units themselves and two more values that were not seen, the worst and the best that a unit of mean weight
// may have, ±reach·W̄: unit i has the probability 1/n(1 + λu_i), and where that cannot be balanced, the rest lies on the
// unseen value (empirical likelihood, Owen 1988 and 2001; the score with a variance under the hypothesis, Wilson 1927).
//
// For differences of −1, 0 and 1 with a reach of 1 this is Tango's interval. Like that one it has width where few units
// differ or none does, where the bootstrap and Student's t cover far too rarely since the spread that they need has
// hardly been seen. It draws nothing at random.
//
// z is NormalQuantile of the level, or Student's of it where the spread of few units is badly known; that of the level
// 1 − 2α gives one-sided bounds at 1 − α.
//
// reach is not less than the largest |Y|/W̄ of a unit, which is taken when it is larger. ok is false below two units,
// for a weight or a z that is not above 0, what is not finite, and when nothing is known of the reach: all values and
// reach are 0.
func TiltedScore(units []Unit, reach, z float64) (i Interval, ok bool) {
	if len(units) < 2 || !(z > 0) || !Finite(z) || !(reach >= 0) || !Finite(reach) {
		return Interval{}, false
	}
	var weight, sum Sum
	for _, u := range units {
		if !(u.W > 0) || !Finite(u.W) || !Finite(u.Y) {
			return Interval{}, false
		}
		weight.Add(u.W)
		sum.Add(u.Y)
	}
	t := tilting{n: float64(len(units)), z: z, r: sum.Value() / weight.Value(), reach: reach}
	mean := weight.Value() / t.n
	if !Finite(t.r) || !Finite(mean) {
		return Interval{}, false
	}
	all := make([]tiltedUnit, len(units))
	for k, u := range units {
		all[k] = tiltedUnit{u.Y / mean, u.W / mean, 1}
		t.reach = math.Max(t.reach, math.Abs(all[k].y))
	}
	if t.reach == 0 || !Finite(t.reach) {
		return Interval{}, false
	}
	// Units that are alike, mostly those that did not change, are counted instead of visited.
	slices.SortFunc(all, func(a, b tiltedUnit) int { return cmp.Or(cmp.Compare(a.y, b.y), cmp.Compare(a.w, b.w)) })
	t.units = all[:1]
	for _, u := range all[1:] {
		if last := &t.units[len(t.units)-1]; last.y == u.y && last.w == u.w {
			last.count++
			continue
		}
		t.units = append(t.units, u)
	}
	low := t.end()
	for k := range t.units {
		t.units[k].y = -t.units[k].y
	}
	t.r, t.lambda = -t.r, 0
	return Interval{Low: low, High: -t.end()}, true
}

type tiltedUnit struct{ y, w, count float64 }

// tilting looks for the lower end of an interval.
type tilting struct {
	units          []tiltedUnit // scaled to a mean weight of 1
	n, z, r, reach float64
	lambda         float64 // where the last search ended, near which the next one will
}

// end looks between r, which the interval holds, and -reach for the least value that it holds.
func (t *tilting) end() float64 {
	inner, outer := t.r, -t.reach
	// Each step halves what is left or does better: the chord of a curve that bends one way is nearly the curve.
	inside, beyond := t.excess(inner), t.r+t.reach
	if beyond <= 0 {
		return outer
	}
	stuck := 0
	for range 200 {
		if inner-outer <= 1e-11*t.reach {
			break
		}
		x := inner + (outer-inner)*inside/(inside-beyond)
		if stuck > 1 || !(x > outer && x < inner) {
			x = outer + (inner-outer)/2
		}
		before := inner - outer
		if e := t.excess(x); e <= 0 {
			inner, inside = x, e
		} else {
			outer, beyond = x, e
		}
		if stuck++; inner-outer < before/2 {
			stuck = 0
		}
	}
	return inner
}

// excess is how far the mean of u = y − d·w lies beyond z standard errors, for a d below r.
func (t *tilting) excess(d float64) float64 {
	far := -t.reach - d // below 0, as is the smallest u
	least := far
	for _, x := range t.units {
		least = math.Min(least, x.y-d*x.w)
	}
	l := 0.0
	if d < t.r {
		l = t.tilt(d, -1/least)
	}
	var variance, mass float64
	for _, x := range t.units {
		u := x.y - d*x.w
		p := x.count / (t.n * (1 + l*u))
		variance += p * u * u
		mass += p
	}
	if mass < 1 {
		variance += (1 - mass) * far * far
	}
	return t.r - d - t.z*math.Sqrt(variance/t.n)
}

// tilt solves Σu/(1 + λu) = 0 for λ from 0 to most, which is where the most extreme value that may be takes all the
// probability that is left; it is most where there is no such λ.
func (t *tilting) tilt(d, most float64) float64 {
	slope := func(l float64) (f, df float64) {
		for _, x := range t.units {
			u := x.y - d*x.w
			q := u / (1 + l*u)
			f += x.count * q
			df -= x.count * q * q
		}
		return f, df
	}
	if f, _ := slope(most); f >= 0 { // minus infinity or NaN where a unit itself is the most extreme
		return most
	}
	low, high := 0.0, most
	l := t.lambda
	for range 100 {
		if !(l > low && l < high) {
			l = low + (high-low)/2
		}
		f, df := slope(l)
		if f > 0 {
			low = l
		} else {
			high = l
		}
		step := f / df
		if high-low <= 1e-14*high || math.Abs(step) <= 1e-9*l {
			break
		}
		l -= step
	}
	t.lambda = l
	return l
}
