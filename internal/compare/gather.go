package compare

import (
	"math"
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
	*g = gathered{base: g.base[:0], head: g.head[:0], baseStats: g.baseStats[:0], headStats: g.headStats[:0], single: true, binary: true, bounded: true}
	if colB != nil && colB.width > 0 {
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
	if t.averaged {
		per = 1
	}
	for i := range t.cases {
		row := &t.cases[i]
		if !row.paired() || !keep(row) {
			continue
		}
		before := g.slots
		for slot := i * per; slot < (i+1)*per; slot++ {
			nb, nh := colB.count(slot), colH.count(slot)
			if t.averaged {
				g.missing += x.lacking(colB, colH, slot)
				if nb == 0 || nh == 0 {
					continue
				}
			} else if nb != nh || nb == 0 {
				g.missing += max(nb, nh)
				continue
			}
			x.take(x.cluster(row, g.slots == before), slot, colB, colH)
		}
		if g.slots > before {
			g.cases++
		}
	}
	return g
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

// lacking counts, where repeats are averaged, the repeats that one side should have had, since the other has
// observations of the case.
func (x *gatherer) lacking(colB, colH *column, slot int) int {
	kb, kh := colB.samplesOf(slot), colH.samplesOf(slot)
	if kb == 0 && kh == 0 {
		return 0
	}
	return max(x.t.base.repeats-kb, 0) + max(x.t.head.repeats-kh, 0)
}

func (x *gatherer) take(cluster, slot int, colB, colH *column) {
	g := &x.g
	g.slots++
	b, h := colB.sums(slot), colH.sums(slot)
	nb := colB.count(slot)
	scaleB, scaleH := 1.0, 1.0
	if x.t.averaged {
		// A case counts once, whatever its repeats: as the mean of its samples.
		scaleB, scaleH = 1/float64(colB.samples[slot]), 1/float64(colH.samples[slot])
		b, h = sums{b.y * scaleB, b.w * scaleB}, sums{h.y * scaleH, h.w * scaleH}
		nb = 1
	}
	g.observations += nb
	if g.width > 0 {
		at := cluster * g.width
		for k := range g.width {
			g.baseStats[at+k] += scaleB * colB.stats[slot*g.width+k]
			g.headStats[at+k] += scaleH * colH.stats[slot*g.width+k]
		}
	}
	g.base[cluster].y += b.y
	g.base[cluster].w += b.w
	g.head[cluster].y += h.y
	g.head[cluster].w += h.w
	if nb != 1 || b.w != 1 || h.w != 1 || x.t.averaged {
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

func (c *column) samplesOf(slot int) int {
	if c == nil || slot >= len(c.samples) {
		return 0
	}
	return int(c.samples[slot])
}

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
