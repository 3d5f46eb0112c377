package stats

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// Coverage at all times at once, by simulation: the share of runs in which a confidence sequence is ever wrong is at
// most alpha.

const anytimeAlpha = .05

// everWrong fails when more runs than chance allows are ever wrong. wrong simulates one run.
func everWrong(t *testing.T, name string, runs int, wrong func(r *rand.Rand) bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(21, 22))
	k := 0
	for range runs {
		if wrong(r) {
			k++
		}
	}
	share := float64(k) / float64(runs)
	t.Logf("%s: %.4f of %d ever wrong", name, share, runs)
	if share > anytimeAlpha+3*math.Sqrt(anytimeAlpha*(1-anytimeAlpha)/float64(runs)) {
		t.Errorf("%s: %.4f of %d runs ever wrong at %v", name, share, runs, anytimeAlpha)
	}
}

// table of a boundary at intrinsic times step, 2·step, … n·step.
func table(t *testing.T, n int, step float64, bound func(v, alpha float64) (float64, bool)) []float64 {
	t.Helper()
	out := make([]float64, n)
	for i := range out {
		b, isOK := bound(step*float64(i+1), anytimeAlpha)
		if !isOK {
			b = math.Inf(1) // not to be reached so early
		}
		out[i] = b
	}
	return out
}

// crosses says whether a walk is ever at or above the boundary.
func crosses(bounds []float64, sides Sides, draw func() float64) bool {
	s := 0.0
	for _, b := range bounds {
		s += draw()
		if s >= b || sides == TwoSided && -s >= b {
			return true
		}
	}
	return false
}

func boundariesHold(t *testing.T, runs, n int) {
	v := float64(n) / 4
	f := func(name string, step float64, bound func(v, alpha float64) (float64, bool), sides Sides, draw func(r *rand.Rand) float64) {
		t.Helper()
		bounds := table(t, n, step, bound)
		everWrong(t, name, runs, func(r *rand.Rand) bool {
			return crosses(bounds, sides, func() float64 { return draw(r) })
		})
	}
	gauss := func(r *rand.Rand) float64 { return r.NormFloat64() }
	for _, sides := range []Sides{TwoSided, OneSided} {
		m, _ := NewNormalMixture(v, anytimeAlpha, sides)
		f("normal mixture", 1, m.Bound, sides, gauss)
		b, _ := NewBetaBinomial(v*.16, anytimeAlpha, .2, .8, sides)
		f("beta-binomial", .16, b.Bound, sides, func(r *rand.Rand) float64 { return binary(r, .2) - .2 })
	}
	g, _ := NewGammaExponential(v, anytimeAlpha, 1)
	f("gamma-exponential", 1, g.Bound, OneSided, func(r *rand.Rand) float64 { return r.ExpFloat64() - 1 })
	f("stitching", 1, PolynomialStitching{VMin: 10}.Bound, OneSided, gauss)
	f("stitching, exponential", 1, PolynomialStitching{VMin: 10, C: 1}.Bound, OneSided, func(r *rand.Rand) float64 { return r.ExpFloat64() - 1 })
}

func TestAnytimeBoundaries(t *testing.T) { boundariesHold(t, 1000, 300) }

func TestLongAnytimeBoundaries(t *testing.T) { long(t); boundariesHold(t, 10_000, 10_000) }

// looksAt are times that rise by a twentieth, from first to n.
func looksAt(first, n int) []int {
	var at []int
	for i := first; i <= n; i = max(i+1, i*21/20) {
		at = append(at, i)
	}
	return at
}

// lookedAt draws n observations one by one and asks at the times whether it is wrong.
func lookedAt(at []int, draw func(), wrong func(n int) bool) bool {
	n := 0
	for _, to := range at {
		for ; n < to; n++ {
			draw()
		}
		if wrong(n) {
			return true
		}
	}
	return false
}

func sequencesHold(t *testing.T, runs, n int) {
	for _, p := range []float64{.02, .5, .9} {
		everWrong(t, "rate", runs, func(r *rand.Rand) bool {
			k := 0
			return lookedAt(looksAt(1, n), func() { k += int(binary(r, p)) }, func(n int) bool {
				i, isOK := RateSequence(k, n, anytimeAlpha, 100)
				return !isOK || p < i.Low || p > i.High
			})
		})
	}
	for name, draw := range map[string]func(r *rand.Rand) float64{
		"mean of scores":        func(r *rand.Rand) float64 { return beta(r, .3) },
		"mean of binary scores": func(r *rand.Rand) float64 { return binary(r, .3) },
	} {
		everWrong(t, name, runs, func(r *rand.Rand) bool {
			m := must(NewMeanSequence(MeanSequenceOptions{Alpha: anytimeAlpha, Grid: 50}))
			for range n {
				ok(t, m.Update(draw(r)))
				if i, isOK := m.Interval(); !isOK || i.Low > .3 || i.High < .3 {
					return true
				}
			}
			return false
		})
	}
	everWrong(t, "asymptotic", runs, func(r *rand.Rand) bool {
		var m moment
		return lookedAt(looksAt(100, max(n, 300)), func() { m.add(r.ExpFloat64()) }, func(n int) bool {
			half, isOK := AsymptoticHalfWidth(math.Sqrt(m.ss/float64(n-1)/float64(n)), n, 200, anytimeAlpha, TwoSided)
			return !isOK || math.Abs(m.mean-1) > half
		})
	})
	quantilesHold(t, runs, n)
}

// moment are a mean and a sum of squared deviations.
type moment struct{ n, mean, ss float64 }

func (m *moment) add(x float64) {
	m.n++
	d := x - m.mean
	m.mean += d / m.n
	m.ss += d * (x - m.mean)
}

func quantilesHold(t *testing.T, runs, n int) {
	for name, c := range map[string]struct {
		draw  func(r *rand.Rand) float64
		p, at float64
	}{
		"median of a continuous distribution": {func(r *rand.Rand) float64 { return r.ExpFloat64() }, .5, math.Ln2},
		"90th percentile":                     {func(r *rand.Rand) float64 { return r.Float64() }, .9, .9},
		"median of a discrete distribution":   {func(r *rand.Rand) float64 { return float64(r.IntN(4)) }, .5, 1},
	} {
		everWrong(t, name, runs, func(r *rand.Rand) bool {
			var q Quantiles
			return lookedAt(looksAt(1, n), func() { ok(t, q.Add(c.draw(r))) }, func(n int) bool {
				i, isOK := q.Sequence(c.p, anytimeAlpha, 200)
				return !isOK || c.at < i.Low || c.at > i.High
			})
		})
	}
	band := looksAt(50, max(n, 100))
	radius := map[int]float64{}
	for _, n := range band {
		var isOK bool
		if radius[n], isOK = EmpiricalProcessLIL(n, anytimeAlpha, 50, .85); !isOK {
			t.Fatal("refused")
		}
	}
	everWrong(t, "distribution function", runs, func(r *rand.Rand) bool {
		var xs []float64
		return lookedAt(band, func() { xs = append(xs, r.Float64()) }, func(n int) bool {
			sort.Float64s(xs)
			for i, x := range xs {
				if math.Abs(float64(i)/float64(n)-x) > radius[n] || math.Abs(float64(i+1)/float64(n)-x) > radius[n] {
					return true
				}
			}
			return false
		})
	})
}

func TestAnytimeSequences(t *testing.T) { sequencesHold(t, 40, 100) }

func TestLongAnytimeSequences(t *testing.T) { long(t); sequencesHold(t, 2000, 2000) }

// A quantile's sequence closes in on it, and a sketch's own error is outside of it.
func TestQuantileSequence(t *testing.T) {
	var q Quantiles
	r := rand.New(rand.NewPCG(23, 24))
	for range 20_000 {
		ok(t, q.Add(r.ExpFloat64()))
	}
	i, isOK := q.Sequence(.99, .05, 20_000)
	want := -math.Log(.01)
	if !isOK || i.Low > want || i.High < want || i.High-i.Low > .6 {
		t.Errorf("%v around %v", i, want)
	}
	if point, _ := q.At(.99); i.Low > point*.99 || i.High < point*1.01 {
		t.Errorf("%v is closer than the sketch's error around %v", i, point)
	}
}

// Group-sequential looks at times that nobody planned reject an unchanged system as often as alpha says, and
// stream and list agree.
func TestGroupSequential(t *testing.T) {
	want, _ := OBrienFleming([]float64{.2, .4, .6, .8, 1}, .025)
	for i, w := range []float64{4.877, 3.357, 2.680, 2.291, 2.031} { // vector 13
		near(t, "bound", want[i], w, .003)
	}
	g := must(NewGroupSequential(.025))
	for i, at := range []float64{.2, .4, .6, .8, 1} {
		l, err := g.Look(at, 2.1)
		ok(t, err)
		near(t, "bound of the stream", l.Bound, want[i], 1e-12)
		near(t, "spent", l.Spent, SpentOBrienFleming(.025, at), 1e-15)
		if l.Rejects != (i == 4) {
			t.Errorf("look %d rejects: %v", i+1, l.Rejects)
		}
	}
	for _, bad := range []float64{1, .5, 1.1} {
		if _, err := g.Look(bad, 1); err == nil {
			t.Errorf("a look at %v after 1", bad)
		}
	}
	for _, bad := range [][]float64{nil, {0}, {.5, .5}, {.5, 1.2}, {math.NaN()}} {
		if b, isOK := OBrienFleming(bad, .05); isOK {
			t.Errorf("%v gave %v", bad, b)
		}
	}
}

func groupHolds(t *testing.T, runs int) {
	// The bounds do not depend on the results, so that of each sequence of looks is computed once.
	var bounds [][]float64
	fractions := [][]float64{{.1, .37, .4, .9, 1}, {.5, 1}, {.05, .1, .15, .2, .25, .3, .9, .95, 1}}
	for _, f := range fractions {
		b, isOK := OBrienFleming(f, anytimeAlpha)
		if !isOK {
			t.Fatal("refused")
		}
		bounds = append(bounds, b)
	}
	everWrong(t, "group-sequential", runs, func(r *rand.Rand) bool {
		i := r.IntN(len(fractions))
		s, at := 0.0, 0.0
		for k, to := range fractions[i] {
			s += math.Sqrt(to-at) * r.NormFloat64()
			at = to
			if s/math.Sqrt(to) >= bounds[i][k] {
				return true
			}
		}
		return false
	})
}

func TestGroupSequentialErrors(t *testing.T) { groupHolds(t, 20_000) }

func TestLongGroupSequentialErrors(t *testing.T) { long(t); groupHolds(t, 1_000_000) }
