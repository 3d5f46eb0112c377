package stats

import (
	"math"
	"math/rand/v2"
)

// Draws says how many random draws a procedure makes, and from which seed. The same seed gives the same draws on
// every machine.
type Draws struct {
	// N is the number of draws; 0 or less means PermutationDraws or BootstrapDraws.
	N    int
	Seed uint64
}

// The draws made when their number is not given. 9,999 permutations resolve p-values down to 0.0001.
const (
	PermutationDraws = 9999
	BootstrapDraws   = 2000
)

// The second word of each generator's seed keeps procedures that are given the same seed from drawing alike.
const (
	streamFlip = 1 + iota
	streamSwap
	streamBoot
	streamWild
	streamCalibrated
	streamDeal
)

func (d Draws) source(stream uint64) *rand.PCG { return rand.NewPCG(d.Seed, stream) }

// Flipped holds the p-values of a permutation test of a difference.
type Flipped struct {
	// Two is two-sided, Less is small when the difference is unusually small (negative), Greater when it is
	// unusually large.
	Two, Less, Greater float64
	// Exact says that every permutation was looked at, so that no chance of drawing is left in the p-values.
	Exact bool
}

// exactFlips is the number of clusters up to which every sign vector is looked at.
const exactFlips = 20

// tieShare is the part of the scale by which two statistics may differ from rounding and still count as equal.
// Counting a tie as extreme makes p-values larger.
const tieShare = 1e-12

// SignFlip tests whether differences between two systems are centred at zero: had nothing changed, the sign of
// each cluster's difference could as well be the other (Fisher 1935, §21). sums holds, for each independent cluster
// of cases, the sum of its differences, head less base. The statistic is their total.
//
// Clusters whose sum is 0 do not matter to it. Up to 20 others, all 2^k sign vectors are looked at and the p-values are
// exact; beyond, N random ones are, and p = (1 + those at least as extreme)/(1 + N), which never rejects an
// unchanged system more often than it says (Phipson and Smyth 2010). ok is false when there are no clusters or one
// is not finite.
//
// Drawing costs one random bit and an eighth of an addition for each cluster and draw: signs are read a byte at a
// time from tables of the 256 sums of eight clusters.
func SignFlip(sums []float64, d Draws) (f Flipped, ok bool) {
	if len(sums) == 0 {
		return Flipped{}, false
	}
	var total, scale Sum
	moving := make([]float64, 0, len(sums))
	for _, s := range sums {
		if !Finite(s) {
			return Flipped{}, false
		}
		if s != 0 {
			moving = append(moving, s)
			total.Add(s)
			scale.Add(math.Abs(s))
		}
	}
	if !Finite(scale.Value()) {
		return Flipped{}, false
	}
	c := counter{observed: total.Value(), tie: tieShare * scale.Value()}
	if len(moving) <= exactFlips {
		half := len(moving) / 2
		low, high := signedSums(moving[:half]), signedSums(moving[half:])
		for _, h := range high {
			for _, l := range low {
				c.see(h + l)
			}
		}
		return c.exact(), true
	}
	n := d.N
	if n <= 0 {
		n = PermutationDraws
	}
	flipper := newFlipper(n, d.source(streamFlip))
	for len(moving) > 0 {
		block := moving[:min(64, len(moving))]
		flipper.next()
		flipper.add(flipper.drawn, block)
		moving = moving[len(block):]
	}
	for _, u := range flipper.drawn {
		c.see(u)
	}
	return c.drawn(), true
}

// Swap tests the difference f(Σ head) − f(Σ base) of a number that is computed from sums over a whole corpus, such as
// BLEU or a ratio, by approximate randomisation (Noreen 1989): had nothing changed, base and head of a cluster
// could as well be exchanged. base[i] and head[i] hold the additive statistics of cluster i, all of one width. f
// gets a vector of that width, which it must neither keep nor change, and must be pure.
//
// Where there are no more than N+1 ways to exchange the clusters that differ, all are looked at; else N random ones
// are, with p-values as in SignFlip. A permutation for which f is not finite counts as extreme, so that it makes
// no difference significant. ok is false without clusters, when widths differ, when a statistic is not finite, and when f is not
// finite for base or head as they are.
func Swap(base, head [][]float64, f func([]float64) float64, d Draws) (p Flipped, ok bool) {
	s, ok := newSwapping(base, head)
	if !ok {
		return Flipped{}, false
	}
	h, b := s.values(f, s.change)
	c := counter{observed: h - b, tie: tieShare * (math.Abs(h) + math.Abs(b))}
	if !Finite(c.observed) || !Finite(c.tie) {
		return Flipped{}, false
	}
	n := d.N
	if n <= 0 {
		n = PermutationDraws
	}
	signed := make([]float64, s.width)
	if len(s.changes) < 31 && 1<<len(s.changes) <= n+1 {
		for signs := range uint64(1) << len(s.changes) {
			clear(signed)
			for i, v := range s.changes {
				sign := 1 - 2*float64(signs>>i&1)
				for k, x := range v {
					signed[k] += sign * x
				}
			}
			h, b := s.values(f, signed)
			c.see(h - b)
		}
		return c.exact(), true
	}
	all := s.draw(n, d.source(streamSwap))
	for j := range n {
		for k := range signed {
			signed[k] = all[k][j]
		}
		h, b := s.values(f, signed)
		c.see(h - b)
	}
	return c.drawn(), true
}

// swapping holds what exchanging base and head does: their sum stays, and the difference of each cluster turns its
// sign.
type swapping struct {
	width          int
	both, change   []float64   // Σ(head + base) and Σ(head − base)
	changes        [][]float64 // head − base of the clusters that differ
	scratch, other []float64
}

func newSwapping(base, head [][]float64) (s *swapping, ok bool) {
	if len(base) == 0 || len(base) != len(head) || len(base[0]) == 0 {
		return nil, false
	}
	w := len(base[0])
	s = &swapping{
		width: w, both: make([]float64, w), change: make([]float64, w),
		scratch: make([]float64, w), other: make([]float64, w),
	}
	both, change := make([]Sum, w), make([]Sum, w)
	for i := range base {
		if len(base[i]) != w || len(head[i]) != w {
			return nil, false
		}
		var moved []float64
		for k := range w {
			x, y := base[i][k], head[i][k]
			if !Finite(x) || !Finite(y) {
				return nil, false
			}
			both[k].Add(x)
			both[k].Add(y)
			change[k].Add(y)
			change[k].Add(-x)
			if x != y && moved == nil {
				moved = make([]float64, w)
			}
			if moved != nil {
				moved[k] = y - x
			}
		}
		if moved != nil {
			s.changes = append(s.changes, moved)
		}
	}
	for k := range w {
		s.both[k], s.change[k] = both[k].Value(), change[k].Value()
	}
	return s, true
}

// values returns f of the head and of the base whose difference is change.
func (s *swapping) values(f func([]float64) float64, change []float64) (head, base float64) {
	for k := range s.width {
		// Counts are whole numbers, and these then are too: no digit is lost.
		s.scratch[k] = (s.both[k] + change[k]) / 2
		s.other[k] = (s.both[k] - change[k]) / 2
	}
	return f(s.scratch), f(s.other)
}

// draw returns n random signed sums of the changes for each statistic.
func (s *swapping) draw(n int, source *rand.PCG) [][]float64 {
	flipper := newFlipper(n, source)
	out := make([][]float64, s.width)
	for k := range out {
		out[k] = make([]float64, n)
	}
	block := make([]float64, 0, 64)
	for from := 0; from < len(s.changes); from += 64 {
		flipper.next()
		for k := range out {
			block = block[:0]
			for _, v := range s.changes[from:min(from+64, len(s.changes))] {
				block = append(block, v[k])
			}
			flipper.add(out[k], block)
		}
	}
	return out
}

// flipper adds up randomly signed numbers in blocks of 64, one random word for each block and draw.
type flipper struct {
	source *rand.PCG
	signs  []uint64 // of the block at hand, for each draw
	drawn  []float64
	table  [8][256]float64
}

func newFlipper(n int, source *rand.PCG) *flipper {
	return &flipper{source: source, signs: make([]uint64, n), drawn: make([]float64, n)}
}

// next draws the signs of the next block.
func (f *flipper) next() {
	for i := range f.signs {
		f.signs[i] = f.source.Uint64()
	}
}

// add adds the block's numbers, at most 64, with the signs of each draw to into.
func (f *flipper) add(into, block []float64) {
	bytes := (len(block) + 7) / 8
	for t := range bytes {
		var eight [8]float64 // zeros fill up the last one
		copy(eight[:], block[8*t:])
		copy(f.table[t][:], signedSums(eight[:]))
	}
	for i, w := range f.signs {
		var u float64
		for t := range f.table[:bytes] {
			u += f.table[t][byte(w)]
			w >>= 8
		}
		into[i] += u
	}
}

// signedSums returns Σ ±x for all 2^len(xs) signs; a set bit i turns the sign of xs[i].
func signedSums(xs []float64) []float64 {
	out := make([]float64, 1, 1<<len(xs))
	for _, x := range xs {
		for _, u := range out {
			out = append(out, u-x)
		}
		for j := range len(out) / 2 {
			out[j] += x
		}
	}
	return out
}

// counter counts permuted statistics that are at least as extreme as the observed one.
type counter struct {
	observed, tie         float64
	n, two, less, greater int
}

func (c *counter) see(u float64) {
	c.n++
	// Written so that NaN counts.
	if !(u > c.observed+c.tie) {
		c.less++
	}
	if !(u < c.observed-c.tie) {
		c.greater++
	}
	if !(math.Abs(u) < math.Abs(c.observed)-c.tie) {
		c.two++
	}
}

func (c *counter) exact() Flipped { return c.over(0, true) }

// drawn adds the observed arrangement itself, which is one of those that could have come up.
func (c *counter) drawn() Flipped { return c.over(1, false) }

func (c *counter) over(more int, exact bool) Flipped {
	n := float64(c.n + more)
	return Flipped{
		Two: float64(c.two+more) / n, Less: float64(c.less+more) / n, Greater: float64(c.greater+more) / n, Exact: exact,
	}
}
