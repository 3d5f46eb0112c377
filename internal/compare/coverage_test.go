package compare

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/telltale-llm/telltale/internal/stats"
)

// TestLongIntervals draws what docs/statistics.md says of the intervals over clusters, with -v as the rows of its table:
// how often intervals at 95% hold the true difference, and how often a one-sided bound at 95% lies above it, beside the
// BCa bootstrap (Student's t below 20 clusters, as is usual).
func TestLongIntervals(t *testing.T) {
	if os.Getenv("TELLTALE_LONG") == "" {
		t.Skip("simulates for some seconds: set TELLTALE_LONG=1, or run make test-long")
	}
	f := func(name string, n int, truth, reach, mostMissed float64, draw func(*rand.Rand) stats.Unit) {
		t.Helper()
		const runs = 2000
		r := rand.New(rand.NewPCG(11, uint64(n)))
		var ours, usual tally
		units := make([]stats.Unit, n)
		for run := range runs {
			for i := range units {
				units[i] = draw(r)
			}
			interval := tilted(units, reach)
			ours.count(truth, interval)
			usual.count(truth, func(level float64) (stats.Interval, bool) { return resampled(units, level, uint64(run)) })
		}
		t.Logf("| %s | %.1f%%; %.1f%% | %.1f%%; %.1f%% |", name, 100*usual.covers/runs, 100*usual.missed/runs, 100*ours.covers/runs, 100*ours.missed/runs)
		if ours.covers < .935*runs || ours.missed > mostMissed*runs {
			t.Errorf("%s: the interval covers %g of %d, the bound misses %g", name, ours.covers, runs, ours.missed)
		}
	}
	plain := func(draw func(*rand.Rand) float64) func(*rand.Rand) stats.Unit {
		return func(r *rand.Rand) stats.Unit { return stats.Unit{Y: draw(r), W: 1} }
	}
	const noise = .065 // 5% and three standard errors of 2,000 runs
	scores := plain(func(r *rand.Rand) float64 {
		score := func() float64 {
			if r.Float64() < .1 {
				return r.Float64()
			}
			return 1
		}
		x := score() - score()
		if r.Float64() < .02 {
			x -= .75
		}
		return x
	})
	f("30, scores mostly 1, of which 2% fall by 0.75", 30, -.02*.75, 0, noise, scores)
	f("100, the same", 100, -.02*.75, 0, noise, scores)
	repeats := func(k int) func(*rand.Rand) stats.Unit {
		return plain(func(r *rand.Rand) float64 {
			p := math.Pow(r.Float64(), 1./9) // 0.9 on average
			head := p
			if r.Float64() < .03 {
				head = 0
			}
			x := 0.
			for range k {
				if r.Float64() < head {
					x++
				}
				if r.Float64() < p {
					x--
				}
			}
			return x / float64(k)
		})
	}
	f("30, three answers each, 90% right; 3% of the cases lost", 30, -.03*.9, 1, noise, repeats(3))
	f("30, ten answers each, the same", 30, -.03*.9, 1, noise, repeats(10))
	f("100, three answers each, the same", 100, -.03*.9, 1, noise, repeats(3))
	f("15 groups of 1 to 9 cases, 50% right, changed by −30 to 30 points each", 15, 0, math.Sqrt(1./5), noise, unevenGroups())
	f("100 such groups", 100, 0, math.Sqrt(1./5), noise, unevenGroups())
	f("30, log-normal seconds with σ = 1", 30, 0, 0, noise, plain(func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) - math.Exp(r.NormFloat64()) }))
}

// unevenGroups draws groups of 1 to 9 cases in turn, of which half were right and each group changed by a share of its own.
func unevenGroups() func(*rand.Rand) stats.Unit {
	i := 0
	return func(r *rand.Rand) stats.Unit {
		size := 1 + i%9
		i++
		shift := .3 * (2*r.Float64() - 1)
		var y float64
		for range size {
			if r.Float64() < .5+shift {
				y++
			}
			if r.Float64() < .5 {
				y--
			}
		}
		return stats.Unit{Y: y, W: float64(size)}
	}
}

// tally counts intervals that hold the truth, and lower bounds above it.
type tally struct{ covers, missed float64 }

func (c *tally) count(truth float64, interval func(level float64) (stats.Interval, bool)) {
	if i, ok := interval(.95); ok && i.Low <= truth && truth <= i.High {
		c.covers++
	}
	if i, ok := interval(.90); !ok || i.Low > truth {
		c.missed++
	}
}

// resampled is the BCa interval of ΣY/ΣW, or Student's below 20 units; without any spread it is a point.
func resampled(units []stats.Unit, level float64, seed uint64) (stats.Interval, bool) {
	ratio := func(index []int) float64 {
		var y, w float64
		for _, i := range index {
			y += units[i].Y
			w += units[i].W
		}
		return y / w
	}
	if len(units) >= 20 {
		if i, ok := stats.BCa(len(units), ratio, level, stats.Draws{N: 1000, Seed: seed}); ok {
			return i, ok
		}
	}
	var r stats.Ratio
	for _, u := range units {
		r.AddCluster(1, u.Y, u.W)
	}
	mean, _ := r.Value()
	se, _ := r.ClusteredSE()
	n := float64(len(units))
	half := stats.StudentQuantile(level, n-1) * se * math.Sqrt(n/(n-1))
	return stats.Interval{Low: mean - half, High: mean + half}, true
}
