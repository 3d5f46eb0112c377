package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// RateInformation is what the outcome of one request tells about the arm it fell on, in nats: the mutual information
// I(Arm; Outcome) when the canary, served with probability split, has the event at rate candidate and the
// control at rate baseline:
//
//	I = Σ_a P(a) Σ_y P(y|a) ln(P(y|a)/P(y))
//
// ok is false unless 0 < split < 1 and both rates are from 0 to 1.
func RateInformation(baseline, candidate, split float64) (nats float64, ok bool) {
	if !(split > 0 && split < 1) || !(baseline >= 0 && baseline <= 1) || !(candidate >= 0 && candidate <= 1) {
		return 0, false
	}
	return information([]float64{1 - baseline, baseline}, []float64{1 - candidate, candidate}, split), true
}

// information of two distributions over the same outcomes.
func information(control, canary []float64, split float64) float64 {
	var sum Sum
	for y := range control {
		mixed := (1-split)*control[y] + split*canary[y]
		if control[y] > 0 {
			sum.Add((1 - split) * control[y] * math.Log(control[y]/mixed))
		}
		if canary[y] > 0 {
			sum.Add(split * canary[y] * math.Log(canary[y]/mixed))
		}
	}
	return math.Max(0, sum.Value())
}

// InformationBound is the number of requests that any test needs on average to reject "the arms are alike" with a
// chance of at most alpha when it is true: ln(1/alpha)/information, from Wald's (1945) inequality for
// sequential tests of power one. It is infinite when a request tells nothing; ok is false for an alpha outside (0, 1) or
// information that is negative or NaN.
func InformationBound(information, alpha float64) (requests float64, ok bool) {
	if !(alpha > 0 && alpha < 1) || !(information >= 0) {
		return 0, false
	}
	return -math.Log(alpha) / information, true
}

// scoreBins is the number of equal bins on [0, 1] by which ScoreInformation stands for a distribution.
const scoreBins = 400

// ScoreInformation is what one score in [0, 1] tells about the difference of two means, in nats, to a test that
// supposes nothing else of the distributions: the least divergence of what happens from anything in which the means
// are alike, with P(A = 1) = split. By duality that is the greatest growth rate of a bet,
//
//	max_{a,b} E ln(1 + (A/π − (1 − A)/(1 − π))(aY − b)),
//
// and for scores that are 0 or 1 it is RateInformation. The scores are taken to be Beta distributed with these means and the
// standard deviation sd, in 400 bins. ok is false unless 0 < split < 1, both means are between 0 and 1 and
// 0 < sd² < m(1 − m) for both.
func ScoreInformation(baseline, candidate, sd, split float64) (nats float64, ok bool) {
	a, ok1 := betaOf(baseline, sd)
	b, ok2 := betaOf(candidate, sd)
	if !ok1 || !ok2 || !(split > 0 && split < 1) {
		return 0, false
	}
	return growth(binned(a), binned(b), split), true
}

// growth is the greatest growth rate above, by Newton's method on a concave function of two variables.
func growth(control, canary []float64, split float64) float64 {
	var a, b float64
	now := 0.0
	for range 100 {
		var ga, gb, haa, hab, hbb float64
		each(control, canary, split, func(p, w, y float64) {
			f := w / (1 + w*(a*y-b))
			ga, gb = ga+p*f*y, gb-p*f
			haa, hab, hbb = haa+p*f*f*y*y, hab-p*f*f*y, hbb+p*f*f
		})
		det := haa*hbb - hab*hab
		if !(det > 0) {
			return now
		}
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		next := now
		for range 60 {
			if v := growthAt(control, canary, split, a+da, b+db); v > now {
				a, b, next = a+da, b+db, v
				break
			}
			da, db = da/2, db/2
		}
		if next-now <= 1e-12*next {
			return next
		}
		now = next
	}
	return now
}

// growthAt is the growth rate of the bet a, b; −Inf where it can lose everything.
func growthAt(control, canary []float64, split, a, b float64) float64 {
	var sum Sum
	broke := false
	each(control, canary, split, func(p, w, y float64) {
		x := w * (a*y - b)
		broke = broke || x <= -1
		sum.Add(p * math.Log1p(math.Max(x, -0.999999)))
	})
	if broke {
		return math.Inf(-1)
	}
	return sum.Value()
}

// each visits the bins of both arms that can occur with their probability, weight and middle.
func each(control, canary []float64, split float64, visit func(p, w, y float64)) {
	for i := range control {
		y := (float64(i) + 0.5) / float64(len(control))
		if control[i] > 0 {
			visit((1-split)*control[i], -1/(1-split), y)
		}
		if canary[i] > 0 {
			visit(split*canary[i], 1/split, y)
		}
	}
}

// betaOf is the Beta distribution with that mean and standard deviation.
func betaOf(mean, sd float64) (distuv.Beta, bool) {
	total := mean*(1-mean)/(sd*sd) - 1
	if !(mean > 0 && mean < 1) || !(sd > 0) || !(total > 0) || math.IsInf(total, 0) {
		return distuv.Beta{}, false
	}
	return distuv.Beta{Alpha: mean * total, Beta: (1 - mean) * total}, true
}

func binned(d distuv.Beta) []float64 {
	out := make([]float64, scoreBins)
	before := 0.0
	for i := range out {
		at := d.CDF(float64(i+1) / scoreBins)
		out[i], before = math.Max(0, at-before), at
	}
	return out
}
