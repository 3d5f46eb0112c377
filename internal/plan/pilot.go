package plan

import (
	"fmt"

	"github.com/telltale-llm/telltale/internal/stats"
)

// Assumed stands for what no earlier run has shown.
type Assumed struct {
	// Rate is the mean of a metric between 0 and 1.
	Rate float64
	// Share is how much of the variance of an answer's result is between cases rather than between
	// answers to the same case: 1 for a system that always answers the same.
	Share float64
	// Alike is the correlation over cases of how hard they are for the two systems.
	Alike float64
}

// DefaultAssumed is for a suite about which nothing is known: a rate in its upper range, results that are
// mostly the case's, and two versions of one system.
var DefaultAssumed = Assumed{Rate: 0.8, Share: 0.7, Alike: 0.9}

// Variance of a metric that is 0 or 1, when nothing was measured.
func (a Assumed) Variance() Variance {
	total := a.Rate * (1 - a.Rate)
	return Variance{
		Mean: a.Rate, Between: 2 * a.Share * total * (1 - a.Alike), Within: (1 - a.Share) * total, Design: 1, Binary: true,
		Basis: fmt.Sprintf("supposed: a rate of %.3g, %g of its variance between cases, a correlation of %g between versions", a.Rate, a.Share, a.Alike),
	}
}

// Pilot measures variances from the answers of one earlier run, or of two runs of different versions. It holds
// about 100 bytes a case, and is not safe for concurrent use.
type Pilot struct {
	at    map[string]int
	cases []pilotCase
	other bool // something other than 0 and 1 was seen
	group map[string]int
	sides int
	// clusters counts the groups and the cases without one.
	clusters int
}

type pilotCase struct {
	sides [2]moments
	group int
}

// moments are the count, the mean and the sum of squared deviations (Welford 1962).
type moments struct {
	n    int
	mean float64
	ss   float64
}

func (m *moments) add(x float64) {
	m.n++
	d := x - m.mean
	m.mean += d / float64(m.n)
	m.ss += d * (x - m.mean)
}

// Add notes an answer's result: side 0 is the one run, or the earlier of two, side 1 the later. An empty group
// makes the case a cluster of its own.
func (p *Pilot) Add(side int, caseID, group string, x float64) {
	if !stats.Finite(x) || side < 0 || side > 1 {
		return
	}
	if p.at == nil {
		p.at, p.group = map[string]int{}, map[string]int{}
	}
	i, ok := p.at[caseID]
	if !ok {
		i = len(p.cases)
		p.at[caseID] = i
		p.cases = append(p.cases, pilotCase{group: p.cluster(group)})
	}
	p.cases[i].sides[side].add(x)
	p.other = p.other || x != 0 && x != 1
	p.sides = max(p.sides, side+1)
}

// cluster is the number of a group, or a new one for a case on its own.
func (p *Pilot) cluster(group string) int {
	if group != "" {
		if g, ok := p.group[group]; ok {
			return g
		}
		p.group[group] = p.clusters
	}
	p.clusters++
	return p.clusters - 1
}

// Variance is what the answers show, completed by what is assumed. ok is false with fewer than two cases.
func (p *Pilot) Variance(a Assumed) (v Variance, ok bool) {
	if p.sides == 2 {
		return p.paired()
	}
	means := make([]float64, 0, len(p.cases))
	groups := make([]int, 0, len(p.cases))
	var w spread
	var all moments
	for i := range p.cases {
		m := &p.cases[i].sides[0]
		w.add(m)
		all.add(m.mean)
		means, groups = append(means, m.mean), append(groups, p.cases[i].group)
	}
	if all.n < 2 {
		return v, false
	}
	v = Variance{Mean: all.mean, Binary: !p.other, Design: design(means, groups)}
	ofMeans := all.ss / float64(all.n-1)
	between := ofMeans * a.Share
	v.Within = ofMeans - between
	v.Basis = fmt.Sprintf("variance measured on %d cases; supposed: %g of it between cases, for no case was answered twice; a correlation of %g between versions", all.n, a.Share, a.Alike)
	if within, measured := w.within(); measured {
		between = max(0, ofMeans-within*w.inverse())
		v.Within = within
		v.Basis = fmt.Sprintf("variances measured on %d cases with repeats; supposed: a correlation of %g between versions", all.n, a.Alike)
	}
	if !p.other && all.ss == 0 {
		return a.unseen(&v, all.n), true
	}
	v.Between = 2 * between * (1 - a.Alike)
	return v, true
}

// unseen is the variance of a metric of 0 and 1 that was the same in all n cases: that of the rate with half a case
// added that was not, as a run of this size can easily have missed one.
func (a Assumed) unseen(v *Variance, n int) Variance {
	a.Rate = (v.Mean*float64(n) + 0.5) / float64(n+1)
	out := a.Variance()
	out.Design = v.Design
	out.Basis = fmt.Sprintf("all %d cases agree, which shows no spread; %s", n, out.Basis)
	return out
}

// paired measures the differences themselves.
func (p *Pilot) paired() (v Variance, ok bool) {
	var diffs []float64
	var groups []int
	var d, all moments
	var w [2]spread
	for i := range p.cases {
		s := &p.cases[i].sides
		if s[0].n == 0 || s[1].n == 0 {
			continue
		}
		w[0].add(&s[0])
		w[1].add(&s[1])
		d.add(s[1].mean - s[0].mean)
		all.add(s[0].mean)
		diffs, groups = append(diffs, s[1].mean-s[0].mean), append(groups, p.cases[i].group)
	}
	if d.n < 2 {
		return v, false
	}
	v = Variance{Mean: all.mean, Binary: !p.other, Design: design(diffs, groups), Between: d.ss / float64(d.n-1), Measured: true}
	if !p.other && d.ss == 0 {
		v.Between, v.Measured = 0.5/float64(d.n+1), false
		v.Basis = fmt.Sprintf("none of %d cases differs between the runs, which shows no spread; supposed: half a case of as many that does", d.n)
		return v, true
	}
	first, ok0 := w[0].within()
	second, ok1 := w[1].within()
	v.Basis = fmt.Sprintf("measured on the differences of %d cases between two runs; what repeats add is not known, for no case was answered twice", d.n)
	if ok0 && ok1 {
		v.Between = max(0, v.Between-first*w[0].inverse()-second*w[1].inverse())
		v.Within = (first + second) / 2
		v.Basis = fmt.Sprintf("measured on the differences of %d cases between two runs with repeats", d.n)
	}
	return v, true
}

// spread pools the variance within cases.
type spread struct {
	ss       float64
	df       int
	cases    int
	inverses float64
}

func (s *spread) add(m *moments) {
	s.ss += m.ss
	s.df += m.n - 1
	s.cases++
	s.inverses += 1 / float64(m.n)
}

// within is the pooled variance of answers to one case; ok is false when no case was answered twice.
func (s *spread) within() (float64, bool) {
	if s.df == 0 {
		return 0, false
	}
	return s.ss / float64(s.df), true
}

// inverse is the mean of one over the number of answers.
func (s *spread) inverse() float64 { return s.inverses / float64(s.cases) }

// design is the ratio of the clustered to the naive variance of the mean, at least 1.
func design(xs []float64, groups []int) float64 {
	naive, ok0 := stats.NaiveSE(xs)
	clustered, ok1 := stats.ClusteredSE(xs, groups)
	if !ok0 || !ok1 || naive == 0 {
		return 1
	}
	return max(1, clustered*clustered/(naive*naive))
}
