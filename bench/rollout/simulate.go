package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sort"
	"sync"

	"github.com/telltale-llm/telltale/internal/stats"
)

const alpha = 0.01

// scenario is a row of the figures.
type scenario struct {
	name    string
	horizon int
	// ratio is the canary's rate over the baseline's at every moment: 1 for a canary that does no harm.
	ratio float64
	// base is the baseline's rate at a request, split the share of requests that go to the canary, given what was seen.
	base  func(n int) float64
	split func(n int, s *seen) float64
	// medianBar and meanBar are the most that the ratios to the bound may be; 0 for none.
	medianBar, meanBar float64
}

// seen are the counts so far, by arm.
type seen struct {
	n, k [2]float64
	// at is the ramp's step.
	at int
}

func always(x float64) func(int) float64             { return func(int) float64 { return x } }
func fixed(x float64) func(int, *seen) float64       { return func(int, *seen) float64 { return x } }
func third(n, horizon int, parts [3]float64) float64 { return parts[min(2, 3*n/horizon)] }
func rates(from, to, split float64) (bound float64) {
	information, ok := stats.RateInformation(from, to, split)
	if !ok {
		return math.NaN()
	}
	bound, _ = stats.InformationBound(information, alpha)
	return bound
}

var steps = [...]float64{0.01, 0.05, 0.25, 0.5}

// adaptive raises the weight every 1,000 requests while the canary looks no worse, and lowers it while it looks worse.
func adaptive(n int, s *seen) float64 {
	if n%1000 == 0 && n > 0 {
		if s.n[1] > 0 && s.k[1]/s.n[1] > s.k[0]/s.n[0] {
			s.at = max(0, s.at-1)
		} else {
			s.at = min(len(steps)-1, s.at+1)
		}
	}
	return steps[s.at]
}

func scenarios() []scenario {
	const long = 50_000
	return []scenario{
		{name: "1% errors, 1 in 20 to the canary", horizon: long, ratio: 1, base: always(0.01), split: fixed(0.05)},
		{name: "1% errors, half to the canary", horizon: long, ratio: 1, base: always(0.01), split: fixed(0.5)},
		{name: "outage: both arms at 5% for 5,000 requests", horizon: long, ratio: 1, split: fixed(0.05), base: func(n int) float64 {
			if n >= 20_000 && n < 25_000 {
				return 0.05
			}
			return 0.01
		}},
		{name: "ramp 5, 25, 50% while errors go .5, 1, 2%", horizon: long, ratio: 1,
			base:  func(n int) float64 { return third(n, long, [3]float64{0.005, 0.01, 0.02}) },
			split: func(n int, _ *seen) float64 { return third(n, long, [3]float64{0.05, 0.25, 0.5}) }},
		{name: "ramp that follows the outcomes, errors go .5, 1, 2%", horizon: long, ratio: 1, split: adaptive,
			base: func(n int) float64 { return third(n, long, [3]float64{0.005, 0.01, 0.02}) }},
		{name: "1% → 3%, 1 in 20", horizon: 100_000, ratio: 3, base: always(0.01), split: fixed(0.05), medianBar: 1.15, meanBar: 1.3},
		{name: "1% → 3%, half", horizon: long, ratio: 3, base: always(0.01), split: fixed(0.5), medianBar: 1.15, meanBar: 1.3},
		{name: "20% → 26%, 1 in 20", horizon: 100_000, ratio: 1.3, base: always(0.2), split: fixed(0.05), meanBar: 1.5},
		{name: "20% → 26%, half", horizon: long, ratio: 1.3, base: always(0.2), split: fixed(0.5), meanBar: 1.5},
		{name: "1% → 10%, 1 in 20", horizon: long, ratio: 10, base: always(0.01), split: fixed(0.05)},
	}
}

// row is what a scenario came to.
type row struct {
	scenario
	runs  int
	bound float64
	// at are the requests after which each run was taken back, sorted, +Inf for never.
	at [methods][]float64
}

// share is how many runs were taken back within the horizon.
func (r *row) share(m method) float64 { return float64(r.found(m)) / float64(r.runs) }

func (r *row) found(m method) int { return sort.SearchFloat64s(r.at[m], math.Inf(1)) }

func (r *row) interval(m method) (low, high float64) {
	i, _ := stats.ClopperPearson(float64(r.found(m)), float64(r.runs), 0.95)
	return i.Low, i.High
}

// delay returns the median and the mean; runs that were not taken back count with the horizon in the mean.
func (r *row) delay(m method) (median, mean float64) {
	for _, at := range r.at[m] {
		mean += math.Min(at, float64(r.horizon))
	}
	return r.at[m][r.runs/2], mean / float64(r.runs)
}

func (r *row) bar() string {
	switch {
	case r.medianBar > 0:
		return fmt.Sprintf("median ≤ %g×, mean ≤ %g×", r.medianBar, r.meanBar)
	case r.meanBar > 0:
		return fmt.Sprintf("mean ≤ %g×", r.meanBar)
	}
	return "–"
}

// missed says which bars the row misses.
func (r *row) missed() (why []string) {
	if r.ratio == 1 {
		if low, _ := r.interval(ours); low > alpha {
			why = append(why, fmt.Sprintf("%s: %.2f%% false rollbacks, more than %g%%", r.name, 100*r.share(ours), 100*alpha))
		}
		return why
	}
	median, mean := r.delay(ours)
	if r.medianBar > 0 && !(median <= r.medianBar*r.bound) {
		why = append(why, fmt.Sprintf("%s: a median of %.2f× the bound, more than %g", r.name, median/r.bound, r.medianBar))
	}
	if r.meanBar > 0 && !(mean <= r.meanBar*r.bound) {
		why = append(why, fmt.Sprintf("%s: a mean of %.2f× the bound, more than %g", r.name, mean/r.bound, r.meanBar))
	}
	return why
}

// simulate runs a scenario, over all processors. Each run has a generator of its own, so the figures do not depend on their number.
func simulate(sc scenario, runs int, seed uint64) (row, error) {
	r := row{scenario: sc, runs: runs}
	if sc.ratio != 1 {
		r.bound = rates(sc.base(0), sc.base(0)*sc.ratio, sc.split(0, &seen{}))
	}
	for m := range r.at {
		r.at[m] = make([]float64, runs)
	}
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < runs; i += workers {
				at, err := once(&sc, rand.New(rand.NewPCG(seed, uint64(i))))
				if err != nil {
					errs[w] = err
					return
				}
				for m := range at {
					r.at[m][i] = at[m]
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return r, err
		}
	}
	for m := range r.at {
		sort.Float64s(r.at[m])
	}
	return r, nil
}

// once simulates one rollout, and returns when each method took the canary back.
func once(sc *scenario, rng *rand.Rand) (at [methods]float64, err error) {
	var judges [methods]judge
	for m := range judges {
		if judges[m], err = newJudge(method(m)); err != nil {
			return at, err
		}
		at[m] = math.Inf(1)
	}
	var s seen
	left := int(methods)
	for n := 0; n < sc.horizon && left > 0; n++ {
		pi := sc.split(n, &s)
		arm, rate := stats.Control, sc.base(n)
		if rng.Float64() < pi {
			arm, rate = stats.Canary, rate*sc.ratio
		}
		failed := rng.Float64() < rate
		s.n[arm]++
		if failed {
			s.k[arm]++
		}
		for m := range judges {
			if !math.IsInf(at[m], 1) {
				continue
			}
			back, err := judges[m].see(arm, pi, failed)
			if err != nil {
				return at, err
			}
			if back {
				at[m] = float64(n + 1)
				left--
			}
		}
	}
	return at, nil
}
