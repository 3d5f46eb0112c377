package stats

import (
	"fmt"
	"math"
)

// JackknifeGroups is the number of groups at which Jackknife stops making new ones. Up to as many
// clusters each is a group of its own, and the jackknife is the ordinary delete-one.
const JackknifeGroups = 64

// Jackknife estimates the standard error of a statistic that is a function of summed vectors, such
// as BLEU of its n-gram counts. Clusters are dealt to at most 64 groups; leaving out one group at a
// time gives the spread. The first 64 clusters open a group each, later ones go to a group by hash:
// dealing them in turn would give groups that are too much alike when the cases are sorted. Groups
// of unequal size are weighted after Busing, Meijer and van der Leeden (1999), "Delete-m jackknife
// for unequal m":
//
//	h_j = n/m_j,  θ_J = gθ − Σ(1 − m_j/n)θ_(j),  SE² = g⁻¹ Σ (h_jθ − (h_j−1)θ_(j) − θ_J)²/(h_j − 1)
//
// which is (g−1)/g Σ(θ_(j) − θ̄)² when they are equal. The zero value is empty.
type Jackknife struct {
	n      int
	width  int
	groups []jackGroup
}

type jackGroup struct {
	clusters int
	sums     []Sum
}

// Add adds one observation's vector to the cluster of that ordinal (0, 1, 2… in order of first
// appearance). All vectors have the same length and finite values; another is refused.
func (j *Jackknife) Add(cluster int, opened Opened, v []float64) error {
	if len(v) == 0 {
		return fmt.Errorf("no statistics to add")
	}
	if j.n > 0 && len(v) != j.width {
		return fmt.Errorf("%d statistics where earlier ones had %d", len(v), j.width)
	}
	for i, x := range v {
		if !Finite(x) {
			return fmt.Errorf("statistic %d is %v", i, x)
		}
	}
	j.width = len(v)
	slot := cluster
	if slot >= JackknifeGroups {
		slot = int(mix(uint64(cluster)) % JackknifeGroups)
	}
	for len(j.groups) <= slot {
		j.groups = append(j.groups, jackGroup{sums: make([]Sum, j.width)})
	}
	g := &j.groups[slot]
	if opened == NewCluster {
		g.clusters++
	}
	for i, x := range v {
		g.sums[i].Add(x)
	}
	j.n++
	return nil
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Opened says whether an observation is the first of its cluster.
type Opened uint8

// The two answers.
const (
	SameCluster Opened = iota
	NewCluster
)

// N returns the number of vectors added.
func (j *Jackknife) N() int { return j.n }

// Total returns the summed vector; nil when nothing was added.
func (j *Jackknife) Total() []float64 {
	if j.n == 0 {
		return nil
	}
	return j.sumWithout(-1)
}

// SE returns the standard error of f of the summed vector, and the number of groups behind it. ok
// is false below two groups and when f is not finite for the whole or without one group.
func (j *Jackknife) SE(f func([]float64) float64) (se float64, groups int, ok bool) {
	var n float64
	for i := range j.groups {
		if j.groups[i].clusters > 0 {
			groups++
			n += float64(j.groups[i].clusters)
		}
	}
	if groups < 2 {
		return 0, groups, false
	}
	g := float64(groups)
	theta := f(j.sumWithout(-1))
	without := make([]float64, 0, groups)
	h := make([]float64, 0, groups)
	var mean Sum
	mean.Add(g * theta)
	for i := range j.groups {
		m := float64(j.groups[i].clusters)
		if m == 0 {
			continue
		}
		t := f(j.sumWithout(i))
		without, h = append(without, t), append(h, n/m)
		mean.Add(-(1 - m/n) * t)
	}
	var ss Sum
	for i, t := range without {
		d := h[i]*theta - (h[i]-1)*t - mean.Value()
		ss.Add(d * d / (h[i] - 1))
	}
	se = math.Sqrt(ss.Value() / g)
	return se, groups, Finite(se)
}

func (j *Jackknife) sumWithout(skip int) []float64 {
	out := make([]float64, j.width)
	for k := range out {
		var s Sum
		for i := range j.groups {
			if i != skip {
				s.Merge(j.groups[i].sums[k])
			}
		}
		out[k] = s.Value()
	}
	return out
}
