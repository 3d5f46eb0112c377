package stats

import (
	"errors"
	"math"
)

// TwoSampleArm sums up one arm's outcomes for TwoSample. Its zero value has seen none.
type TwoSampleArm struct {
	N int64 `json:"n"`
	// Up and Down are the sums of ln(1 + (r−1)X) and of ln(1 − (1−1/r)X), by ratio.
	Up   [twoSampleParts]float64 `json:"up"`
	Down [twoSampleParts]float64 `json:"down"`
}

const twoSampleParts = 8

// twoSampleRatios are the odds ratios of the mixture; that of 1, which never loses, is taken with them.
var twoSampleRatios = [twoSampleParts]float64{1.05, 1.15, 1.35, 1.75, 2.5, 4, 7, 14}

// Add notes an outcome; one that is not within [0, 1] is an error and changes nothing.
func (a *TwoSampleArm) Add(x float64) error {
	if !(x >= 0 && x <= 1) {
		return errors.New("an outcome of a two-sample test must be from 0 to 1")
	}
	a.N++
	if x == 0 {
		return nil
	}
	for i, r := range twoSampleRatios {
		a.Up[i] += math.Log1p((r - 1) * x)
		a.Down[i] += math.Log1p((1/r - 1) * x)
	}
	return nil
}

// Valid says whether the numbers can be those of outcomes.
func (a *TwoSampleArm) Valid() bool {
	n := float64(a.N)
	for i, r := range twoSampleRatios {
		most := n * math.Log(r) * (1 + 1e-9)
		if !(a.Up[i] >= 0 && a.Up[i] <= most && a.Down[i] <= 0 && a.Down[i] >= -most) {
			return false
		}
	}
	return a.N >= 0
}

// logUp is the logarithm of the capital that bets on means above m; it falls with m.
func (a *TwoSampleArm) logUp(m float64) float64 {
	return a.mix(func(i int, r float64) float64 { return a.Up[i] - float64(a.N)*math.Log1p((r-1)*m) })
}

// logDown is the logarithm of the capital that bets on means below m; it rises with m.
func (a *TwoSampleArm) logDown(m float64) float64 {
	return a.mix(func(i int, r float64) float64 { return a.Down[i] - float64(a.N)*math.Log1p((1/r-1)*m) })
}

// mix is the logarithm of the mean of the parts and of 1.
func (a *TwoSampleArm) mix(part func(i int, r float64) float64) float64 {
	var logs [twoSampleParts]float64
	top := 0.0
	for i, r := range twoSampleRatios {
		logs[i] = part(i, r)
		top = math.Max(top, logs[i])
	}
	sum := math.Exp(-top)
	for _, l := range logs {
		sum += math.Exp(l - top)
	}
	return top + math.Log(sum/(twoSampleParts+1))
}

// Gap says how far above the mean of low that of high is supposed to be: by Add, or Times as high. The zero value is no gap.
type Gap struct {
	Add float64
	// Times is a factor, 0 for 1.
	Times float64
}

func (g Gap) above(m float64) float64 {
	if g.Times > 0 {
		m *= g.Times
	}
	return m + g.Add
}

// most is the greatest m at which the mean of high can be.
func (g Gap) most() float64 {
	m := 1 - g.Add
	if g.Times > 1 {
		m /= g.Times
	}
	return m
}

// TwoSampleAt is what TwoSample takes the minimum of, at m from 0 to 1: never below it, and quick.
func TwoSampleAt(low, high *TwoSampleArm, g Gap, m float64) float64 {
	return low.logUp(m) + high.logDown(math.Min(g.above(m), 1))
}

const (
	twoSampleClose = 0.01 // of ln E
	twoSampleSteps = 200
)

// TwoSample is the logarithm of an e-process about two streams of outcomes in [0, 1] of which nobody wrote down by what chance each went where.
// Its null hypothesis is that there is one number m such that the mean of each outcome of low, given all that came before, is at most m, and that
// of each of high at least Gap(m). Two arms whose rates do not move satisfy it without a gap when that of low is no higher than that of high,
// however their outcomes are interleaved and whatever the share of each arm follows.
//
// For a fixed m and any r > 1 the product over low of (1 + (r−1)X)/(1 + (r−1)m), and that over high of (1 − (1−1/r)X)/(1 − (1−1/r)Gap(m)),
// have factors that are not negative and have a mean of at most 1: for outcomes of 0 and 1 they are the likelihood ratios of rates whose odds are r
// times as high, and as low. So the products, their means over r with equal weights, and the product of the two means are supermartingales, and
//
//	E = min over m of (mean over r of the one) · (mean over r of the other)
//
// is at most the one of the m that is true. It reaches 1/α with a chance of at most α, at all times together (the argument of Wasserman, Ramdas and
// Balakrishnan 2020, "Universal inference", PNAS 117, for a composite null; bets as of Waudby-Smith and Ramdas 2024, JRSS B 86).
//
// It has no defence against means that move: when both arms become worse while more and more of one is seen, it can take that one for worse. Where
// the propensities are known, Conditional, Likelihood and Scores have that defence.
//
// The minimum is enclosed by halving intervals of m: on one the product is at least what falls with m at its right end times what rises at its left.
// What is returned is never above it, and below by a hundredth at most, or by a thousandth of itself where that is more; at
// is the m with the least product that was looked at.
func TwoSample(low, high *TwoSampleArm, g Gap) (logE, at float64) {
	type piece struct{ left, right, up, down float64 } // up at its right, down at its left
	down := func(m float64) float64 { return high.logDown(math.Min(g.above(m), 1)) }
	last := g.most()
	if !(last >= 0) {
		return math.Inf(-1), 0
	}
	first := piece{0, last, low.logUp(last), down(0)}
	best := low.logUp(0) + first.down // of the points that were looked at; at is the point
	if end := first.up + down(last); end < best {
		best, at = end, last
	}
	open := append(make([]piece, 0, 64), first)
	for step := 0; ; step++ {
		k := 0
		for i := range open {
			if open[i].up+open[i].down < open[k].up+open[k].down {
				k = i
			}
		}
		p := open[k]
		bound := p.up + p.down
		mid := p.left + (p.right-p.left)/2
		if best-bound <= twoSampleClose*math.Max(1, math.Abs(best)/10) || step == twoSampleSteps || mid <= p.left || mid >= p.right {
			return bound, at
		}
		upMid, downMid := low.logUp(mid), down(mid)
		if here := upMid + downMid; here < best {
			best, at = here, mid
		}
		open[k] = piece{p.left, mid, upMid, p.down}
		open = append(open, piece{mid, p.right, p.up, downMid})
	}
}
