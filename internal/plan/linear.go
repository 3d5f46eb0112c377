package plan

import (
	"fmt"

	"github.com/telltale-llm/telltale/internal/stats"
)

// Linear turns the answers of one run behind a ratio or a corpus metric, which are not means over answers, into
// numbers that are: each answer's pseudo-value, whose mean over answers is the metric and whose variance is that of
// the metric to first order. So a Pilot measures between cases, within cases and groups as it does for a mean.
//
// It holds 40 bytes and the answer's statistics for each answer, and is not safe for concurrent use.
type Linear struct {
	width   int
	answers []linearAnswer
	stats   []float64 // width for each answer
	total   []stats.Sum
}

type linearAnswer struct {
	key           int
	caseID, group string
}

// Add notes what an answer adds to the sums: Σy and Σw of a ratio, the statistics of a corpus metric. Several additions in
// a row with the same key are one answer. An empty group makes the case a cluster of its own.
func (l *Linear) Add(key int, caseID, group string, v ...float64) error {
	if len(l.answers) == 0 {
		l.width, l.total = len(v), make([]stats.Sum, len(v))
	}
	if len(v) != l.width || l.width == 0 {
		return fmt.Errorf("%d statistics where earlier answers had %d", len(v), l.width)
	}
	for i, x := range v {
		if !stats.Finite(x) {
			return fmt.Errorf("statistic %d is %v", i, x)
		}
	}
	if n := len(l.answers); n == 0 || l.answers[n-1].key != key {
		l.answers = append(l.answers, linearAnswer{key, caseID, group})
		l.stats = append(l.stats, make([]float64, l.width)...)
	}
	last := l.stats[len(l.stats)-l.width:]
	for i, x := range v {
		last[i] += x
		l.total[i].Add(x)
	}
	return nil
}

// Ratio gives the pseudo-values of Σy/Σw to a pilot: with R the ratio and w̄ the mean weight of an answer,
// R + (y − R·w)/w̄, by linearisation (Cochran 1977, Sampling Techniques, section 6.3). ok is false without weight.
func (l *Linear) Ratio(p *Pilot, side int) (ok bool) {
	if l.width != 2 {
		return false
	}
	w := l.total[1].Value()
	r, mean := l.total[0].Value()/w, w/float64(len(l.answers))
	if !(w > 0) || !stats.Finite(r) {
		return false
	}
	p.other = true
	for i := range l.answers {
		a := &l.answers[i]
		p.Add(side, a.caseID, a.group, r+(l.stats[2*i]-r*l.stats[2*i+1])/mean)
	}
	return true
}

// Corpus gives the pseudo-values of f of the summed statistics to a pilot: n·f(T) − (n − 1)·f(T − v) for each of n
// answers (Tukey 1958; Miller 1974, "The jackknife: a review"). f is asked once for each answer. ok is false below
// two answers, and when f is not finite of all answers or without one.
func (l *Linear) Corpus(p *Pilot, side int, f func([]float64) float64) (ok bool) {
	n := float64(len(l.answers))
	if n < 2 {
		return false
	}
	total := make([]float64, l.width)
	for i := range total {
		total[i] = l.total[i].Value()
	}
	all := f(total)
	if !stats.Finite(all) {
		return false
	}
	p.other = true
	without := make([]float64, l.width)
	for i := range l.answers {
		v := l.stats[i*l.width : (i+1)*l.width]
		for k := range v {
			without[k] = total[k] - v[k]
		}
		x := all + (n-1)*(all-f(without))
		if !stats.Finite(x) {
			return false
		}
		p.Add(side, l.answers[i].caseID, l.answers[i].group, x)
	}
	return true
}
