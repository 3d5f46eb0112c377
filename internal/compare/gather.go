package compare

import (
	"math"

	"github.com/telltale-llm/telltale/internal/stats"
)

// gathered is one metric over the paired observations of a scope, summed by cluster: a group of cases, or a case of
// its own.
type gathered struct {
	// Sums of values and weights of each cluster; the weights are counts of observations except for ratios.
	base, head []sums
	// Statistics of each cluster for a corpus metric, width numbers each.
	baseStats, headStats []float64
	width                int
	cases                int // with a paired observation
	slots                int // paired cases and repeats
	observations         int
	missing              int
	// single says that every slot had one observation of weight 1 on either side.
	single bool
	// binary says that all values were 0 or 1; down counts slots that went from 1 to 0, up the others.
	binary   bool
	down, up int
	// bounded says that all values lay within 0 to 1.
	bounded bool
	// hands are the answers of each cluster where repeats are averaged: value and weight, or the statistics of a corpus
	// metric.
	hands []stats.Hand
}

type sums struct{ y, w float64 }

// gatherer reuses its memory from one metric to the next. It is not safe for concurrent use.
type gatherer struct {
	t       *table
	ordinal []int32 // by group: its cluster, or -1
	g       gathered
}

// gather collects a metric of one pair over the paired cases that keep takes. colB and colH may be nil, when one
// side never observed the metric. An observation enters only when the other side has its counterpart; what lacks it
// is missing.
func (x *gatherer) gather(pair int, colB, colH *column, keep func(*caseRow) bool) *gathered {
	t, g := x.t, &x.g
	*g = gathered{base: g.base[:0], head: g.head[:0], baseStats: g.baseStats[:0], headStats: g.headStats[:0], hands: g.hands[:0], single: true, binary: true, bounded: true}
	if colB != nil && colH != nil && colB.width == colH.width {
		g.width = colB.width
	}
	if cap(x.ordinal) < len(t.groups) {
		x.ordinal = make([]int32, len(t.groups))
	}
	x.ordinal = x.ordinal[:len(t.groups)]
	for i := range x.ordinal {
		x.ordinal[i] = -1
	}
	per := t.base.repeats
	for i := range t.cases {
		row := &t.cases[i]
		if !row.paired() || !keep(row) {
			continue
		}
		if t.averaged {
			x.average(row, i, colB, colH)
			continue
		}
		before := g.slots
		for slot := i * per; slot < (i+1)*per; slot++ {
			nb, nh := colB.count(slot), colH.count(slot)
			if nb != nh || nb == 0 {
				g.missing += max(nb, nh)
				continue
			}
			cluster := x.cluster(row, g.slots == before)
			add(g.baseStats[cluster*g.width:], colB.vector(slot))
			add(g.headStats[cluster*g.width:], colH.vector(slot))
			x.take(cluster, colB.sums(slot), colH.sums(slot), nb)
		}
		if g.slots > before {
			g.cases++
		}
	}
	return g
}

// average takes a case once, whatever its repeats: as the means of its samples. What is missing are the repeats that
// one side should have had, since the other has observations of the case.
func (x *gatherer) average(row *caseRow, i int, colB, colH *column) {
	g := &x.g
	base, head := answersOf(colB, i, x.t.base.repeats), answersOf(colH, i, x.t.head.repeats)
	if base.samples == 0 && head.samples == 0 {
		return
	}
	g.missing += x.t.base.repeats - base.samples + x.t.head.repeats - head.samples
	if base.samples == 0 || head.samples == 0 {
		return
	}
	before := len(g.base)
	cluster := x.cluster(row, true)
	if len(g.base) > before {
		g.hands = append(g.hands, stats.Hand{})
	}
	hand := &g.hands[cluster]
	hand.Base, hand.Head = byRepeat(hand.Base, base.vectors), byRepeat(hand.Head, head.vectors)
	b, h := base.mean(), head.mean()
	if g.width > 0 {
		add(g.baseStats[cluster*g.width:], b)
		add(g.headStats[cluster*g.width:], h)
		b, h = []float64{0, 1}, []float64{0, 1}
	}
	x.take(cluster, sums{b[0], b[1]}, sums{h[0], h[1]}, 1)
	g.single = false
	g.cases++
}

// answered is what one side has of a case: a vector for each repeat.
type answered struct {
	vectors [][]float64
	samples int // repeats that were observed
}

// answersOf collects the repeats of case i. A repeat that is missing stands in with the mean of the others.
func answersOf(c *column, i, repeats int) answered {
	var a answered
	for slot := i * repeats; slot < (i+1)*repeats; slot++ {
		if c.count(slot) == 0 {
			continue
		}
		v := c.vector(slot)
		if c.width == 0 {
			s := c.sums(slot)
			v = []float64{s.y, s.w}
		}
		a.vectors = append(a.vectors, v)
	}
	if a.samples = len(a.vectors); a.samples == 0 {
		return a
	}
	for mean := a.mean(); len(a.vectors) < repeats; {
		a.vectors = append(a.vectors, mean)
	}
	return a
}

func (a *answered) mean() []float64 {
	m := make([]float64, len(a.vectors[0]))
	for _, v := range a.vectors {
		add(m, v)
	}
	for k := range m {
		m[k] /= float64(len(a.vectors))
	}
	return m
}

// add adds v to the first numbers of sum.
func add(sum, v []float64) {
	for k, x := range v {
		sum[k] += x
	}
}

// byRepeat adds a case's vectors to those of its cluster, repeat by repeat.
func byRepeat(cluster, vectors [][]float64) [][]float64 {
	for r, v := range vectors {
		if r == len(cluster) {
			cluster = append(cluster, make([]float64, len(v)))
		}
		add(cluster[r], v)
	}
	return cluster
}

// cluster returns the ordinal of the row's cluster; opens says that no slot of the row has been taken yet.
func (x *gatherer) cluster(row *caseRow, opens bool) int {
	g := &x.g
	if row.group >= 0 {
		if x.ordinal[row.group] >= 0 {
			return int(x.ordinal[row.group])
		}
		x.ordinal[row.group] = int32(len(g.base))
	} else if !opens {
		return len(g.base) - 1
	}
	g.base, g.head = append(g.base, sums{}), append(g.head, sums{})
	for range g.width {
		g.baseStats, g.headStats = append(g.baseStats, 0), append(g.headStats, 0)
	}
	return len(g.base) - 1
}

// take enters n observations of either side.
func (x *gatherer) take(cluster int, b, h sums, n int) {
	g := &x.g
	g.slots++
	g.observations += n
	g.base[cluster].y += b.y
	g.base[cluster].w += b.w
	g.head[cluster].y += h.y
	g.head[cluster].w += h.w
	if n != 1 || b.w != 1 || h.w != 1 {
		g.single = false
	}
	for _, v := range [...]sums{b, h} {
		if v.y < 0 || v.y > v.w {
			g.bounded = false
		}
	}
	switch {
	case (b.y != 0 && b.y != 1) || (h.y != 0 && h.y != 1):
		g.binary = false
	case b.y > h.y:
		g.down++
	case b.y < h.y:
		g.up++
	}
}

// count is the number of observations in a slot.
func (c *column) count(slot int) int {
	if c == nil || slot >= len(c.n) {
		return 0
	}
	return int(c.n[slot])
}

// vector is the statistics of a corpus metric in a slot; empty for other metrics.
func (c *column) vector(slot int) []float64 { return c.stats[slot*c.width : (slot+1)*c.width] }

func (c *column) sums(slot int) sums {
	s := sums{w: float64(c.n[slot])}
	if slot < len(c.y) {
		s.y = c.y[slot]
	}
	if c.w != nil {
		s.w = c.w[slot]
	}
	return s
}

// largest is the largest absolute sum of a cluster on either side, and of its weight.
func (g *gathered) largest() (y, w float64) {
	for i := range g.base {
		y = math.Max(y, math.Max(math.Abs(g.base[i].y), math.Abs(g.head[i].y)))
		w = math.Max(w, math.Max(g.base[i].w, g.head[i].w))
	}
	return y, w
}
