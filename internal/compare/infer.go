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
	intervalTango = "Tango score"
	intervalBCa   = "BCa bootstrap"
	intervalT     = "clustered t"
	intervalStill = "no spread seen"
)

const (
	// fewClusters is where the bootstrap's intervals begin to cover about as often as they say; below, Student's t
	// with clusters-1 degrees of freedom is wider and holds better.
	fewClusters = 20
	// manyClusters is where skewness no longer moves an interval by more than a few percent of its width, and the
	// jackknife behind the bootstrap's acceleration, which takes the square of their number, becomes slow.
	manyClusters = 2000
	// manyInSlice is manyClusters for slices, of which there may be a thousand.
	manyInSlice = 300
	// resamples of a bootstrap: the ends of a 95% interval then move by about 3% of its half width. Each end is
	// to have tailResamples beyond it; where that takes more than mostResamples, Student's t stands in.
	resamples     = 2000
	tailResamples = 20
	mostResamples = 20_000
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
	if e.g.binary && e.g.single {
		e.discordant()
	}
	if e.g.binary && e.g.single && e.clusters() == e.g.slots {
		e.paired()
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
	e.interval(h-b, func(index []int) float64 {
		var yb, wb, yh, wh float64
		for _, i := range index {
			yb += e.g.base[i].y
			wb += e.g.base[i].w
			yh += e.g.head[i].y
			wh += e.g.head[i].w
		}
		return yh/wh - yb/wb
	})
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

// mde is (z_{1−α} + z_power)·SE, two-sided without a direction.
func (e *estimate) mde() {
	if e.d.Stderr == nil || *e.d.Stderr == 0 {
		return
	}
	level := 1 - 2*e.opts.Alpha
	if e.d.Better == "" {
		level = 1 - e.opts.Alpha
	}
	e.d.MDE = finite((stats.NormalQuantile(level) + stats.NormalQuantile(2*e.opts.Power-1)) * *e.d.Stderr)
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

// paired is for a yes or no on each case, once in either run: McNemar's mid-p test and Tango's score interval.
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
	var f stats.Flipped
	var ok bool
	if e.sameWeights() {
		e.d.Test = testSignFlip
		e.draws.N = e.permutations(1 + e.clusters()/8) // SignFlip adds eight clusters at a time
		f, ok = stats.SignFlip(e.sums(), e.draws)
	} else {
		e.d.Test = testSwap
		base, head := make([][]float64, e.clusters()), make([][]float64, e.clusters())
		for i := range base {
			base[i], head[i] = []float64{e.g.base[i].y, e.g.base[i].w}, []float64{e.g.head[i].y, e.g.head[i].w}
		}
		e.draws.N = e.permutations(4 * e.clusters())
		f, ok = stats.Swap(base, head, func(v []float64) float64 { return v[0] / v[1] }, e.draws)
	}
	e.flipped(f, ok)
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
		if e.g.base[i].w != e.g.head[i].w {
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

// bootstraps says whether BCa is the interval to take, and sets the number of resamples.
func (e *estimate) bootstraps() bool {
	tail := math.Min(e.opts.Alpha, (1-e.opts.Level)/2)
	e.draws.N = max(resamples, int(math.Min(tailResamples/tail, mostResamples+1)))
	most := manyClusters
	if e.d.Tag != "" {
		most = manyInSlice
	}
	return e.clusters() >= fewClusters && e.clusters() <= most && e.draws.N <= mostResamples
}

// interval chooses BCa where there are enough clusters for it and not so many that Student's t is as good.
func (e *estimate) interval(diff float64, stat func(index []int) float64) {
	if c := e.clusters(); e.bootstraps() {
		e.d.Interval = intervalBCa
		if e.ends(func(level float64) (stats.Interval, bool) { return stats.BCa(c, stat, level, e.draws) }) {
			return
		}
	}
	e.student(diff, *e.d.Stderr, e.clusters())
}

// student sets the interval by Student's t with one degree of freedom less than there are clusters.
func (e *estimate) student(diff, se float64, clusters int) {
	c := float64(clusters)
	if e.clusters() != e.g.observations && e.g.width == 0 {
		se *= math.Sqrt(c / (c - 1)) // without it, few clusters cover too rarely
	}
	e.d.Interval = intervalT
	e.ends(func(level float64) (stats.Interval, bool) {
		half := stats.StudentQuantile(level, c-1) * se
		return stats.Interval{Low: diff - half, High: diff + half}, stats.Finite(half)
	})
}

// still is for clusters that all differ alike, mostly not at all. No spread was seen, yet some clusters may differ
// that were not drawn: how many is bounded by the score interval of a share of which none was seen, and by how much
// by the largest values that were seen.
func (e *estimate) still(diff float64) {
	y, w := e.g.largest()
	if e.g.bounded {
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

// ends sets Low and High at the options' level and Bound on the worse side at 1-alpha. It reports whether there is
// an interval.
func (e *estimate) ends(interval func(level float64) (stats.Interval, bool)) bool {
	i, ok := interval(e.opts.Level)
	if !ok || !stats.Finite(i.Low) || !stats.Finite(i.High) {
		e.d.Interval = ""
		return false
	}
	i = e.clip(i)
	e.d.Low, e.d.High = &i.Low, &i.High
	if e.d.Better == "" {
		return true
	}
	one, ok := interval(1 - 2*e.opts.Alpha)
	if !ok {
		return true
	}
	one = e.clip(one)
	e.d.Bound = finite(one.Low)
	if e.d.Better == metric.Lower {
		e.d.Bound = finite(one.High)
	}
	return true
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
	var both, base, head stats.Jackknife
	difference := func(v []float64) float64 { return f(v[width:]) - f(v[:width]) }
	vectorsB, vectorsH := make([][]float64, c), make([][]float64, c)
	pair := make([]float64, 0, 2*width)
	for i := range c {
		vectorsB[i], vectorsH[i] = e.g.baseStats[i*width:(i+1)*width], e.g.headStats[i*width:(i+1)*width]
		err := base.Add(i, stats.NewCluster, vectorsB[i])
		if err == nil {
			err = head.Add(i, stats.NewCluster, vectorsH[i])
		}
		if err == nil {
			pair = append(append(pair[:0], vectorsB[i]...), vectorsH[i]...)
			err = both.Add(i, stats.NewCluster, pair)
		}
		if err != nil {
			e.d.Why = err.Error()
			return
		}
	}
	b, h := f(base.Total()), f(head.Total())
	if !stats.Finite(b) || !stats.Finite(h) {
		e.d.Why = "the corpus number is not finite"
		return
	}
	e.values(b, h)
	if c < 2 {
		e.d.Why = "all paired cases are one group, and a single group has no spread"
		return
	}
	se, groups, ok := both.SE(difference)
	if !ok {
		e.d.Why = fmt.Sprintf("without some of its %d clusters the corpus number is not finite", c)
		return
	}
	e.d.Stderr = &se
	seB, _, okB := base.SE(f)
	seH, _, okH := head.SE(f)
	if okB && okH {
		e.d.Unpaired = finite(math.Hypot(seB, seH))
	}
	e.mde()
	e.d.Test = testSwap
	e.draws.N = e.permutations(c * width)
	e.flipped(stats.Swap(vectorsB, vectorsH, f, e.draws))
	if se == 0 {
		e.d.Why = "all clusters differ alike: there is no spread to judge by"
		return
	}
	if e.bootstraps() {
		e.d.Interval = intervalBCa
		sumB, sumH := make([]float64, width), make([]float64, width)
		stat := func(index []int) float64 {
			clear(sumB)
			clear(sumH)
			for _, i := range index {
				for k := range width {
					sumB[k] += vectorsB[i][k]
					sumH[k] += vectorsH[i][k]
				}
			}
			return f(sumH) - f(sumB)
		}
		if e.ends(func(level float64) (stats.Interval, bool) { return stats.BCa(c, stat, level, e.draws) }) {
			return
		}
	}
	e.student(h-b, se, groups)
}
