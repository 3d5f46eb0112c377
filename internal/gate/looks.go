package gate

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// maxLooks bounds how often a gate that draws more repeats decides.
const maxLooks = 5

// noiseShare is the share of a difference's variance that the plan of looks takes to come from the head's own
// answers at the first look: half, as when both runs are equally noisy and cases do not differ. It decides only how
// alpha is spread over the looks, not whether it is kept to.
const noiseShare = 0.5

// Looks is a plan of decisions with more and more repeats, fixed before the first, and those made so far.
type Looks struct {
	// Repeats is the number of answers per case at each look, rising.
	Repeats []int
	// Times is the share of the planned information at each look, rising to 1: by how much of alpha may be spent.
	Times []float64
	// Past are the looks before the present one.
	Past []record.Look
}

// PlanLooks doubles the repeats from samples to most in at most five looks.
func PlanLooks(samples, most int) *Looks {
	l := &Looks{}
	factor := 2.0
	if need := math.Pow(float64(most)/float64(samples), 1.0/(maxLooks-1)); need > factor {
		factor = need
	}
	for n := float64(samples); len(l.Repeats) < maxLooks-1 && int(math.Round(n)) < most; n *= factor {
		l.Repeats = append(l.Repeats, int(math.Round(n)))
	}
	l.Repeats = append(l.Repeats, most)
	variance := func(k int) float64 { return 1 - noiseShare + noiseShare*float64(samples)/float64(k) }
	for _, k := range l.Repeats {
		l.Times = append(l.Times, variance(most)/variance(k))
	}
	return l
}

// now is the index of the present look.
func (l *Looks) now() int { return min(len(l.Past), len(l.Times)-1) }

// Next returns the repeats per case of the look after the present one; ok is false at the last.
func (l *Looks) Next() (repeats int, ok bool) {
	if l == nil || l.now() == len(l.Times)-1 {
		return 0, false
	}
	return l.Repeats[l.now()+1], true
}

// needed returns the level that a p-value must reach at the present look so that all looks together reject
// an unchanged metric with a chance of at most alpha. The information of a look is 1/SE², from the
// clustered standard errors: the head's mean over more and more repeats has independent increments. 0 means
// that the look can reject nothing.
//
// Information that falls says that the looks are not such a sequence: the first repeats of both runs were drawn with
// the same seeds, and their noise went together. What a look may spend then is its own share of alpha, whatever the
// looks have in common (Bonferroni).
func (l *Looks) needed(metric string, d *record.Difference, alpha float64) float64 {
	if l == nil {
		return alpha
	}
	now := l.now()
	spent, info := make([]float64, now+1), make([]float64, now+1)
	for k := range spent {
		spent[k] = stats.SpentOBrienFleming(alpha, l.Times[k])
	}
	if info[now] = information(d.Stderr); info[now] == 0 {
		info[now] = 1 // no spread was seen: the looks count as planned
	}
	for k := now - 1; k >= 0; k-- {
		seen := l.past(k, metric, d.Pair)
		switch {
		case seen == 0 || information(d.Stderr) == 0:
			info[k] = info[k+1] * l.Times[k] / l.Times[k+1]
		case seen > info[k+1]*tooMuch:
			return spent[now] - spent[now-1]
		default:
			info[k] = math.Min(seen, info[k+1])
		}
	}
	bounds, ok := stats.SpendingBounds(spent, info)
	if !ok {
		return 0
	}
	return distuv.UnitNormal.Survival(bounds[now])
}

// tooMuch is by how much the information of a look may be above that of the next before it is more than the
// error of the two estimates.
const tooMuch = 1.05

func (l *Looks) past(k int, metric string, pair int) float64 {
	for i := range l.Past[k].Margins {
		if m := &l.Past[k].Margins[i]; m.Metric == metric && m.Pair == pair {
			return information(m.Stderr)
		}
	}
	return 0
}

func information(stderr *float64) float64 {
	if stderr == nil || !stats.Finite(*stderr) || *stderr <= 0 {
		return 0
	}
	return 1 / (*stderr * *stderr)
}
