package metric

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Exact is for rates, and for scores whose clusters all agree, of the run and of its tags; nothing else changes.
func TestExact(t *testing.T) {
	var in []*record.Sample
	for i := range 20 {
		s := sample(fmt.Sprint(i), verdict.Pass)
		s.Tags = []string{"core"}
		s.Latency = ptr(1 + float64(i)/10)
		in = append(in, s)
	}
	plan := Plan{Samples: []int{20}, Tags: []map[string]int{{"core": 20}}}
	wilson, exact := collect(t, Options{}, plan, in...), collect(t, Options{Exact: true}, plan, in...)
	f := func(name string, m record.Metric, low, high float64) {
		t.Helper()
		near(t, name+" low", m.Low, low)
		near(t, name+" high", m.High, high)
		if m.Interval != record.IntervalExact {
			t.Errorf("the interval of %s is called %q", name, m.Interval)
		}
	}
	f("pass_rate", exact.Metrics[record.MetricPassRate], 1-.168433, 1)
	f("error_rate", exact.Metrics[record.MetricErrorRate], 0, .168433)
	f("score", exact.Metrics[record.MetricScore], 1-.168433, 1)
	f("tag", exact.Tags["core"][record.MetricPassRate], 1-.168433, 1)
	if m := wilson.Metrics[record.MetricPassRate]; m.Interval != "" || math.Abs(*m.Low-(1-.161125)) > 1e-6 {
		t.Errorf("unasked %q %v", m.Interval, *m.Low)
	}
	if a, b := wilson.Metrics[record.MetricLatency], exact.Metrics[record.MetricLatency]; b.Interval != "" || *a.Low != *b.Low {
		t.Errorf("latency %q from %v, was from %v", b.Interval, *b.Low, *a.Low)
	}
}

// Each end of an exact interval of a clustered rate misses in at most 2.5% of runs, with few clusters, near 0 and 1, and
// whatever the answers of a cluster have in common; Wilson's, on an estimated design effect, misses far more often.
func TestExactCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	const draws = 2_000
	worst := 0.0
	f := func(p, rho float64, clusters int, sizes ...int) {
		t.Helper()
		missed := func(a *Aggregator, r *stats.Ratio) (below, above float64) {
			v, _ := r.Value()
			m := record.Metric{Kind: kindRate, Mean: &v, N: r.N(), Clusters: r.Clusters()}
			a.finishRate(&m, r)
			if *m.Low > p {
				above = 1. / draws
			}
			if *m.High < p {
				below = 1. / draws
			}
			return below, above
		}
		var below, above, wilson float64
		for range draws {
			var r stats.Ratio
			for c := range clusters {
				size := sizes[c%len(sizes)]
				agree, first, k := rng.Float64() < rho, rng.Float64() < p, 0.
				for range size {
					if agree && first || !agree && rng.Float64() < p {
						k++
					}
				}
				r.AddCluster(size, k, float64(size))
			}
			b, a := missed(&Aggregator{opts: Options{Exact: true}}, &r)
			below, above = below+b, above+a
			b, a = missed(&Aggregator{}, &r)
			wilson += a + b
		}
		worst = math.Max(worst, wilson)
		const most = .025 + 3*.0035 // and three standard errors of the simulation
		if below > most || above > most {
			t.Errorf("p=%v rho=%v, %d clusters of %v: the upper end misses %.4f, the lower %.4f", p, rho, clusters, sizes, below, above)
		}
	}
	for _, p := range []float64{.02, .1, .5, .95} {
		for _, rho := range []float64{0, .3, 1} {
			f(p, rho, 5, 3)
			f(p, rho, 10, 10)
			f(p, rho, 20, 1, 5, 20)
		}
	}
	f(.05, .6, 50, 10)
	if worst < .1 {
		t.Errorf("Wilson misses %.3f at its worst: the simulation does not cluster", worst)
	}
}

// What the answers of a case have in common is at worst that they are all alike: of all distributions of the clusters'
// rates on two values, none makes an end miss in more than 2.5% of runs. Summed over all outcomes, without chance.
func TestExactOverAllOutcomes(t *testing.T) {
	for _, clusters := range []int{2, 5, 12} {
		for low := 0.; low < 1; low += .25 {
			for high := low + .25; high <= 1; high += .25 {
				for q := .01; q < 1; q += .01 {
					p := q*high + (1-q)*low
					below, above := 0., 0.
					for k := range clusters + 1 {
						n, x := float64(clusters), float64(k)
						choose, _ := math.Lgamma(n + 1)
						a, _ := math.Lgamma(x + 1)
						b, _ := math.Lgamma(n - x + 1)
						w := math.Exp(choose - a - b + x*math.Log(q) + (n-x)*math.Log(1-q))
						i, ok := stats.ClopperPearson(math.Min(n, x*high+(n-x)*low), n, stats.Level)
						switch {
						case !ok:
							t.Fatalf("no interval for %v of %v", x*high+(n-x)*low, n)
						case i.Low > p+1e-12:
							above += w
						case i.High < p-1e-12:
							below += w
						}
					}
					if below > .025 || above > .025 {
						t.Errorf("%d clusters at %v or %v, %v of them: misses %.4f and %.4f", clusters, low, high, q, below, above)
					}
				}
			}
		}
	}
}
