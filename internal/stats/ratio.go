package stats

import "math"

// Ratio estimates R = Σy/Σw, a mean when every weight w is 1, with a standard error that allows for
// observations of one cluster going together. With e_c = Σ_{i∈c} (y_i − R w_i), by linearisation
// (Cochran 1977, §6; Miller 2024, "Adding Error Bars to Evals", for w = 1):
//
//	SE² = (Σw)⁻² Σ_c e_c²
//
// It keeps sums over closed clusters only, eight numbers however many there are. The sums are taken
// about the first ratio seen, so that a small spread around a large mean keeps its digits. The zero
// value is empty.
type Ratio struct {
	n, clusters int
	centre      float64 // e below is y − centre·w
	y, w        Sum     // totals
	ee, ew, ww  Sum     // sums over clusters of e², e·w and w²
}

// AddCluster adds a closed cluster of n observations with its sums of y and w. An empty cluster and
// one whose sums are both 0, which says nothing about a ratio, are ignored: counted, they would add
// degrees of freedom that the interval does not have.
func (r *Ratio) AddCluster(n int, y, w float64) {
	if n <= 0 || y == 0 && w == 0 {
		return
	}
	if w != 0 && r.ww.Value() == 0 { // e of clusters without weight is y about any centre
		r.centre = y / w
	}
	e := y - r.centre*w
	r.n += n
	r.clusters++
	r.y.Add(y)
	r.w.Add(w)
	r.ee.Add(e * e)
	r.ew.Add(e * w)
	r.ww.Add(w * w)
}

// Merge adds the clusters of o, none of which may also be in r.
func (r *Ratio) Merge(o Ratio) {
	if o.clusters == 0 {
		return
	}
	if r.clusters == 0 {
		*r = o
		return
	}
	// Move o's sums to r's centre: e' = e + d·w with d = centre_o − centre_r.
	d := o.centre - r.centre
	r.n += o.n
	r.clusters += o.clusters
	r.y.Merge(o.y)
	r.w.Merge(o.w)
	r.ee.Merge(o.ee)
	r.ee.Add(2 * d * o.ew.Value())
	r.ee.Add(d * d * o.ww.Value())
	r.ew.Merge(o.ew)
	r.ew.Add(d * o.ww.Value())
	r.ww.Merge(o.ww)
}

// N returns the number of observations.
func (r *Ratio) N() int { return r.n }

// Clusters returns the number of closed clusters.
func (r *Ratio) Clusters() int { return r.clusters }

// Y returns Σy.
func (r *Ratio) Y() float64 { return r.y.Value() }

// W returns Σw.
func (r *Ratio) W() float64 { return r.w.Value() }

// Value returns Σy/Σw; ok is false when there is no weight.
func (r *Ratio) Value() (v float64, ok bool) {
	w := r.W()
	v = r.Y() / w
	return v, r.clusters > 0 && w != 0 && Finite(v)
}

// ClusteredSE returns the standard error by the formula above; ok is false below two clusters.
func (r *Ratio) ClusteredSE() (se float64, ok bool) {
	v, ok := r.Value()
	if !ok || r.clusters < 2 {
		return 0, false
	}
	d := v - r.centre // Σ(e − d·w)²
	ss := r.ee.Value() - 2*d*r.ew.Value() + d*d*r.ww.Value()
	// Equal values leave a remainder of rounding on either side of zero.
	if ss <= 1e-14*(math.Abs(r.ee.Value())+d*d*r.ww.Value()) {
		ss = 0
	}
	se = math.Sqrt(ss) / math.Abs(r.W())
	return se, Finite(se)
}

// SE returns the standard error to publish: ClusteredSE when observations share clusters, and the
// sample standard deviation (n−1) over √n when every observation is a cluster of its own. ok is
// false below two clusters.
func (r *Ratio) SE() (se float64, ok bool) {
	se, ok = r.ClusteredSE()
	if ok && r.clusters == r.n {
		se *= r.smallSample()
	}
	return se, ok
}

// Interval returns value ± t·SE with clusters−1 degrees of freedom. SE is ClusteredSE·√(C/(C−1)),
// without which the interval of few clusters covers too rarely. ok is false below two clusters, for a
// level outside (0, 1), and when all clusters agree to the last digit: no spread was seen, so none can
// be vouched for.
func (r *Ratio) Interval(level float64) (i Interval, ok bool) {
	se, ok := r.ClusteredSE()
	if !ok || se == 0 || !(level > 0 && level < 1) {
		return Interval{}, false
	}
	v, _ := r.Value()
	half := StudentQuantile(level, float64(r.clusters-1)) * se * r.smallSample()
	return Interval{v - half, v + half}, true
}

// LeastTrials returns the number of independent trials that a rate is worth, in which w counts the observations of a
// cluster, if all observations of a cluster are alike (Kish 1965):
//
//	(Σw)² / Σ_c w_c²
//
// It is the number of clusters when they are of one size. Whatever the clusters have in common, the rate varies no
// more than that of so many trials; no estimate from the data is in it, for sizes that do not depend on the outcome.
// NaN when there is no weight.
func (r *Ratio) LeastTrials() float64 {
	w := r.W()
	return w * w / r.ww.Value()
}

func (r *Ratio) smallSample() float64 {
	c := float64(r.clusters)
	return math.Sqrt(c / (c - 1))
}
