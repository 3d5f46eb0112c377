package compare

import (
	"fmt"
	"math"

	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// The procedures as Difference names them.
const (
	testMcNemar   = "McNemar mid-p"
	testSignFlip  = "sign-flip permutation"
	testSwap      = "swap permutation"
	testDeal      = "answer permutation"
	intervalTango = "Tango score"
	intervalScore = "tilted score"
	intervalStill = "no spread seen"
)

const (
	// flips of a permutation test that is not exact, for p-values down to 0.0001; a smaller alpha takes more. work
	// and moreWork bound the additions that these and those take.
	flips    = 9999
	work     = 200_000_000
	moreWork = 30_000_000
)

// estimate makes one difference of what was gathered.
type estimate struct {
	d     *record.Difference
	g     *gathered
	opts  *Options
	draws stats.Draws
}

func (e *estimate) clusters() int { return len(e.g.base) }

// ratio estimates Σy/Σw of the head less that of the base. Each cluster's part of the difference, by linearisation
// of both ratios, is
//
//	e_c = (y_hc − H·w_hc)/W_h − (y_bc − B·w_bc)/W_b
//
// and SE² = Σ e_c², which for weights of 1 is Miller's paired, clustered standard error.
func (e *estimate) ratio() {
	var base, head stats.Ratio
	for i := range e.g.base {
		base.AddCluster(1, e.g.base[i].y, e.g.base[i].w)
		head.AddCluster(1, e.g.head[i].y, e.g.head[i].w)
	}
	b, okB := base.Value()
	h, okH := head.Value()
	if !okB || !okH {
		e.d.Why = "the sums left the range of numbers"
		return
	}
	e.values(b, h)
	se, spread := e.linear(b, h, base.W(), head.W())
	if e.clusters() > 1 {
		e.d.Stderr = finite(se)
		seB, _ := e.side(&base)
		seH, _ := e.side(&head)
		e.d.Unpaired = finite(math.Hypot(seB, seH))
	}
	e.mde()
	units := func(s float64) []stats.Unit { return e.units(s, b, h, base.W(), head.W()) }
	if e.g.binary && e.g.single {
		e.discordant()
	}
	if e.yesOrNo() {
		e.paired()
		e.relative(b, units, e.reach())
		return
	}
	if e.clusters() < 2 {
		e.d.Why = "all paired cases are one group, and a single group has no spread"
		return
	}
	e.flip()
	if !spread {
		e.still(h - b)
		return
	}
	e.scored(units(1), e.reach())
	e.relative(b, units, e.reach())
}

func (e *estimate) values(b, h float64) {
	diff := h - b
	e.d.Base, e.d.Head, e.d.Diff = &b, &h, &diff
}

// side is the standard error of one side alone, by the rule for the difference.
func (e *estimate) side(r *stats.Ratio) (float64, bool) {
	se, ok := r.ClusteredSE()
	return se * e.smallSample(), ok
}

// smallSample is √(C/(C−1)) where every observation is a cluster of its own, as in a standard deviation.
func (e *estimate) smallSample() float64 {
	c := float64(e.clusters())
	if e.clusters() != e.g.observations || c < 2 {
		return 1
	}
	return math.Sqrt(c / (c - 1))
}

// linear returns the standard error of the difference; spread is false when all clusters agree to rounding.
func (e *estimate) linear(b, h, wb, wh float64) (se float64, spread bool) {
	var ss, scale stats.Sum
	for i := range e.g.base {
		x := (e.g.head[i].y-h*e.g.head[i].w)/wh - (e.g.base[i].y-b*e.g.base[i].w)/wb
		size := (math.Abs(e.g.head[i].y)+math.Abs(h)*e.g.head[i].w)/wh + (math.Abs(e.g.base[i].y)+math.Abs(b)*e.g.base[i].w)/wb
		ss.Add(x * x)
		scale.Add(size * size)
	}
	if ss.Value() <= 1e-28*scale.Value() {
		return 0, false
	}
	return math.Sqrt(ss.Value()) * e.smallSample(), true
}

// yesOrNo says that each case is a cluster of its own, with a yes or no once in either run.
func (e *estimate) yesOrNo() bool {
	return e.g.binary && e.g.single && e.clusters() == e.g.slots
}

// mde is (z_{1−α} + z_power)·SE, two-sided without a direction. So few clusters that one of all exchanges of base and head
// (mid-p: half of it) is more than alpha find no drop; answers that are dealt have more ways.
func (e *estimate) mde() {
	if e.d.Stderr == nil || *e.d.Stderr == 0 {
		return
	}
	alpha := e.opts.Alpha
	if e.d.Better == "" {
		alpha /= 2
	}
	least := math.Exp2(-float64(e.clusters()))
	if e.yesOrNo() {
		least /= 2
	}
	if least > alpha && len(e.g.hands) == 0 {
		return
	}
	e.d.MDE = finite((stats.NormalQuantile(1-2*alpha) + stats.NormalQuantile(2*e.opts.Power-1)) * *e.d.Stderr)
}

// discordant counts what got worse and what improved.
func (e *estimate) discordant() {
	worse, improved := e.g.down, e.g.up
	switch e.d.Better {
	case metric.Lower:
		worse, improved = improved, worse
	case "":
		return
	}
	e.d.Worse, e.d.Improved = &worse, &improved
}

// paired is for yesOrNo: McNemar's mid-p test and Tango's score interval.
func (e *estimate) paired() {
	down, up, n := e.g.down, e.g.up, e.g.slots
	e.d.Test, e.d.Interval = testMcNemar, intervalTango
	both := stats.McNemar(down, up)
	e.d.P = finite(both.Mid)
	switch e.d.Better {
	case metric.Higher:
		e.d.PWorse = finite(both.WorseMid)
	case metric.Lower:
		e.d.PWorse = finite(stats.McNemar(up, down).WorseMid)
	}
	e.ends(func(level float64) (stats.Interval, bool) { return stats.Tango(down, up, n, level) })
}

// flip tests the difference by permutation: had nothing changed, head and base of a cluster could as well be
// exchanged. Where both sides have the same weights that only turns the sign of the cluster's difference.
func (e *estimate) flip() {
	ratio := func(v []float64) float64 { return v[0] / v[1] }
	switch {
	case len(e.g.hands) > 0:
		e.deal(ratio)
	case e.sameWeights():
		e.d.Test = testSignFlip
		e.draws.N = e.permutations(1 + e.clusters()/8) // SignFlip adds eight clusters at a time
		e.flipped(stats.SignFlip(e.sums(), e.draws))
	default:
		e.d.Test = testSwap
		base, head := make([][]float64, e.clusters()), make([][]float64, e.clusters())
		for i := range base {
			base[i], head[i] = []float64{e.g.base[i].y, e.g.base[i].w}, []float64{e.g.head[i].y, e.g.head[i].w}
		}
		e.draws.N = e.permutations(4 * e.clusters())
		e.flipped(stats.Swap(base, head, ratio, e.draws))
	}
}

// deal is flip for runs with other numbers of repeats. Their answers can be exchanged, their means cannot.
func (e *estimate) deal(f func([]float64) float64) {
	e.d.Test = testDeal
	cost := 0
	for _, h := range e.g.hands {
		cost += (len(h.Base) + len(h.Head)) * len(h.Base[0])
	}
	e.draws.N = e.permutations(4 * cost)
	e.flipped(stats.Deal(e.g.hands, f, e.draws))
}

// permutations is how many are drawn when each costs so many additions.
func (e *estimate) permutations(cost int) int {
	small := int(math.Min(100/e.opts.Alpha, float64(moreWork/cost)))
	return max(min(flips, max(999, work/cost)), small)
}

func (e *estimate) flipped(f stats.Flipped, ok bool) {
	if !ok {
		e.d.Test = ""
		return
	}
	if f.Exact {
		e.d.Test += ", exact"
	}
	e.d.P = finite(f.Two)
	switch e.d.Better {
	case metric.Higher:
		e.d.PWorse = finite(f.Less)
	case metric.Lower:
		e.d.PWorse = finite(f.Greater)
	}
}

func (e *estimate) sameWeights() bool {
	for i := range e.g.base {
		if e.g.base[i].w != e.g.head[i].w || e.g.base[i].w <= 0 {
			return false
		}
	}
	return true
}

func (e *estimate) sums() []float64 {
	out := make([]float64, e.clusters())
	for i := range out {
		out[i] = e.g.head[i].y - e.g.base[i].y
	}
	return out
}

// scored sets the score interval over the clusters' parts of the difference, which are values below reach or those that
// were seen. Of few clusters the spread is badly known: Student's quantile stands in for the normal's, with one degree of
// freedom less than there are clusters of equal weight, (Σw)²/Σw² (Kish 1965).
func (e *estimate) scored(units []stats.Unit, reach float64) {
	e.d.Interval = intervalScore
	e.ends(tilted(units, reach))
}

func tilted(units []stats.Unit, reach float64) func(level float64) (stats.Interval, bool) {
	var w, squares stats.Sum
	for i := range units {
		w.Add(units[i].W)
		squares.Add(units[i].W * units[i].W)
	}
	free := w.Value()*w.Value()/squares.Value() - 1
	return func(level float64) (stats.Interval, bool) {
		return stats.TiltedScore(units, reach, stats.StudentQuantile(level, free))
	}
}

// units are the clusters' parts of h − s·b, which for s = 1 is the difference. Where base and head have the same weights it
// is one ratio; else it is taken to first order, as for the standard error.
func (e *estimate) units(s, b, h, wb, wh float64) []stats.Unit {
	out := make([]stats.Unit, e.clusters())
	n := float64(len(out))
	same := e.sameWeights()
	for i := range out {
		base, head := e.g.base[i], e.g.head[i]
		if same {
			out[i] = stats.Unit{Y: head.y - s*base.y, W: head.w}
			continue
		}
		out[i] = stats.Unit{Y: h - s*b + n*((head.y-h*head.w)/wh-s*(base.y-b*base.w)/wb), W: 1}
	}
	return out
}

// reach is the largest difference to reckon with beside those that were seen, as a share of the mean cluster. A rate may
// fall from all to nothing in a case of a kind that was not drawn. Of a group of m cases the root is taken to fall together:
// one alone would be too few where their answers go together, and all of them as if they always did.
func (e *estimate) reach() float64 {
	if e.g.bounded && (e.g.binary || e.d.Kind == kindRate || e.d.Kind == kindRatio) {
		return math.Sqrt(float64(e.clusters()) / float64(e.g.cases))
	}
	return 0
}

// still is for clusters that all differ alike, mostly not at all. No spread was seen, yet some clusters may differ
// that were not drawn: how many is bounded by the score interval of a share of which none was seen, and by how much
// by the largest values that were seen.
func (e *estimate) still(diff float64) {
	y, w := e.g.largest()
	if e.g.bounded && e.d.Unit == "" { // seconds below 1 are no share
		y = w
	}
	if y == 0 {
		e.d.Why = "all values are 0: there is no spread to judge by"
		return
	}
	e.d.Interval = intervalStill
	var weight stats.Sum
	for i := range e.g.base {
		weight.Add(e.g.base[i].w)
	}
	reach := y*float64(e.clusters())/weight.Value() + math.Abs(diff)
	e.ends(func(level float64) (stats.Interval, bool) {
		share, ok := stats.Tango(0, 0, e.clusters(), level)
		return stats.Interval{Low: diff + reach*share.Low, High: diff + reach*share.High}, ok
	})
}

// ends sets Low and High at the options' level and Bound on the worse side at 1-alpha.
func (e *estimate) ends(interval func(level float64) (stats.Interval, bool)) {
	i, ok := interval(e.opts.Level)
	if !ok || !stats.Finite(i.Low) || !stats.Finite(i.High) {
		e.d.Interval = ""
		return
	}
	i = e.clip(i)
	e.d.Low, e.d.High = &i.Low, &i.High
	if e.d.Better == "" {
		return
	}
	if one, ok := interval(1 - 2*e.opts.Alpha); ok {
		e.bound(e.clip(one))
	}
}

// bound sets Bound to the worse end of a one-sided interval.
func (e *estimate) bound(one stats.Interval) {
	if x := e.unseen(); x > 0 {
		one = stats.Interval{Low: math.Min(one.Low, -x), High: math.Max(one.High, x)}
	}
	e.d.Bound = finite(one.Low)
	if e.d.Better == metric.Lower {
		e.d.Bound = finite(one.High)
	}
}

// unseen is the drop of a rate that is left open when no cluster differs: no bound may be closer to 0. Score intervals say a
// little less, z²/(n + z²), and much less with a handful of cases. 0 when a cluster differs and for other metrics.
func (e *estimate) unseen() float64 {
	reach := e.reach()
	if reach == 0 {
		return 0
	}
	for i := range e.g.base {
		if e.g.head[i].y != e.g.base[i].y {
			return 0
		}
	}
	return reach * stats.Unseen(float64(e.clusters()), e.opts.Alpha)
}

// clip keeps the difference of two numbers between 0 and 1 between -1 and 1.
func (e *estimate) clip(i stats.Interval) stats.Interval {
	if e.g.bounded && e.g.width == 0 && e.d.Unit == "" {
		return i.Clip(-1, 1)
	}
	return i
}

// corpus estimates f of the summed statistics of the head less that of the base.
func (e *estimate) corpus(finisher string) {
	var f func([]float64) float64
	ok := false
	if e.opts.Finishers != nil {
		f, ok = e.opts.Finishers(finisher)
	}
	if !ok {
		e.d.Why = "no way is known to finish a corpus metric " + finisher
		return
	}
	width, c := e.g.width, e.clusters()
	if width == 0 || len(e.g.headStats) != c*width {
		e.d.Why = "the statistics of base and head are of different lengths"
		return
	}
	vectorsB, vectorsH := make([][]float64, c), make([][]float64, c)
	for i := range c {
		vectorsB[i], vectorsH[i] = e.g.baseStats[i*width:(i+1)*width], e.g.headStats[i*width:(i+1)*width]
	}
	b, without := deleted(vectorsB, f)
	h, withoutH := deleted(vectorsH, f)
	if !stats.Finite(b) || !stats.Finite(h) {
		e.d.Why = "the corpus number is not finite"
		return
	}
	e.values(b, h)
	if c < 2 {
		e.d.Why = "all paired cases are one group, and a single group has no spread"
		return
	}
	seB, seH := jackknife(without), jackknife(withoutH)
	units := func(s float64) []float64 {
		out := make([]float64, c)
		for i := range out {
			out[i] = withoutH[i] - s*without[i]
		}
		return out
	}
	se := jackknife(units(1))
	if !stats.Finite(se) {
		e.d.Why = fmt.Sprintf("without some of its %d clusters the corpus number is not finite", c)
		return
	}
	e.d.Stderr, e.d.Unpaired = &se, finite(math.Hypot(seB, seH))
	e.mde()
	if len(e.g.hands) > 0 {
		e.deal(f)
	} else {
		e.d.Test = testSwap
		e.draws.N = e.permutations(c * width)
		e.flipped(stats.Swap(vectorsB, vectorsH, f, e.draws))
	}
	if se == 0 {
		e.d.Why = "all clusters differ alike: there is no spread to judge by"
		return
	}
	e.scored(pseudo(h-b, units(1)), 0)
	e.relative(b, func(s float64) []stats.Unit { return pseudo(h-s*b, units(s)) }, 0)
}

// deleted returns f of the summed vectors, and of their sums without each in turn.
func deleted(vectors [][]float64, f func([]float64) float64) (all float64, without []float64) {
	sums := make([]stats.Sum, len(vectors[0]))
	for _, v := range vectors {
		for k, x := range v {
			sums[k].Add(x)
		}
	}
	rest := make([]float64, len(sums))
	for k := range sums {
		rest[k] = sums[k].Value()
	}
	all = f(rest)
	without = make([]float64, len(vectors))
	for i, v := range vectors {
		for k, x := range v {
			rest[k] = sums[k].Value() - x
		}
		without[i] = f(rest)
	}
	return all, without
}

func mean(xs []float64) float64 {
	var s stats.Sum
	for _, x := range xs {
		s.Add(x)
	}
	return s.Value() / float64(len(xs))
}

// jackknife is the standard error √((C−1)/C Σ(θ_(c) − θ̄)²) of a number that is θ_(c) without cluster c (Tukey 1958); 0 where
// these are equal but for rounding.
func jackknife(without []float64) float64 {
	m, c := mean(without), float64(len(without))
	var ss, scale stats.Sum
	for _, x := range without {
		ss.Add((x - m) * (x - m))
		scale.Add(x * x)
	}
	if ss.Value() <= 1e-28*scale.Value() {
		return 0
	}
	return math.Sqrt((c - 1) / c * ss.Value())
}

// pseudo are the clusters' parts of a corpus number, to first order: Tukey's pseudo-values, moved to have it as mean.
func pseudo(all float64, without []float64) []stats.Unit {
	m, c := mean(without), float64(len(without))
	out := make([]stats.Unit, len(without))
	for i, x := range without {
		out[i] = stats.Unit{Y: all + (c-1)*(m-x), W: 1}
	}
	return out
}
