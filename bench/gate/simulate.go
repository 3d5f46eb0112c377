package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"github.com/telltale-llm/telltale/internal/compare"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gate"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

const (
	alpha  = 0.05
	power  = 0.8
	metric = "correct"
	slices = 20
)

// scenario is a row of the figures.
type scenario struct {
	name string
	// cases is the number of cases; 0 stands for 300.
	cases int
	// repeats is the number of answers per case of both runs; most is what extend may reach, 0 for none; base is the
	// baseline's where it is another.
	repeats, most, base int
	// easy makes about 98% of the answers right rather than 77%.
	easy bool
	// sliced adds a margin for each of 20 tags.
	sliced bool
	// graded makes the score one from 0 to 1 rather than right or wrong.
	graded bool
	// group is how many cases a group has, whose answers go together; 0 for none.
	group int
	// timed makes the metric a time, log-normal within and between cases, and the margin a share of the baseline's.
	timed bool
	// margin is the margin in multiples of the planned effect; 0 stands for 1.
	margin float64
	// alike makes four of five first answers of both runs the same, as equal seeds can.
	alike bool
	// drop is the true drop, in multiples of the planned effect.
	drop float64
}

func scenarios() []scenario {
	return []scenario{
		{name: "right or wrong, one answer", repeats: 1},
		{name: "the same with 20 slices, Holm", repeats: 1, sliced: true},
		{name: "right or wrong, three answers", repeats: 3},
		{name: "groups of five cases", repeats: 1, group: 5},
		{name: "groups of ten, 98% right", cases: 100, repeats: 1, group: 10, easy: true},
		{name: "three answers, 98% right", cases: 100, repeats: 3, easy: true},
		{name: "baseline of one answer, run of five, 98% right", cases: 50, repeats: 5, base: 1, easy: true, margin: 0.1},
		{name: "times, share of the baseline's", cases: 100, repeats: 1, timed: true},
		{name: "scores from 0 to 1", repeats: 1, graded: true},
		{name: "extend, up to 8 answers", repeats: 1, most: 8},
		{name: "extend, first answers with equal seeds", repeats: 1, most: 8, alike: true},
		{name: "extend, up to 8 answers, 98% right", cases: 100, repeats: 1, most: 8, easy: true, margin: 0.1},
		{name: "right or wrong, one answer", repeats: 1, drop: 1},
		{name: "right or wrong, one answer", repeats: 1, drop: 2},
		{name: "the same with 20 slices, Holm", repeats: 1, sliced: true, drop: 2},
		{name: "scores from 0 to 1", repeats: 1, graded: true, drop: 2},
		{name: "groups of ten, 98% right", cases: 100, repeats: 1, group: 10, easy: true, drop: 1},
		{name: "three answers, 98% right", cases: 100, repeats: 3, easy: true, drop: 1},
		{name: "baseline of one answer, run of five, 98% right", cases: 50, repeats: 5, base: 1, easy: true, drop: 1},
		{name: "times, share of the baseline's", cases: 100, repeats: 1, timed: true, drop: 1},
		{name: "extend, up to 8 answers", repeats: 1, most: 8, drop: 1},
		{name: "extend, up to 8 answers", repeats: 1, most: 8, drop: 2},
	}
}

// row is what a scenario came to.
type row struct {
	scenario
	runs, failed, passed, undecided int
	answers                         int // per case, summed over the runs
}

// size is the number of cases.
func (sc *scenario) size() int { return cmp.Or(sc.cases, 300) }

// decisive is how many runs went the way that the bar bounds.
func (r *row) decisive() int {
	if r.drop == 1 {
		return r.passed
	}
	return r.failed
}

func (r *row) share(n int) float64 { return float64(n) / float64(r.runs) }

func (r *row) bar() string {
	switch {
	case r.drop == 0:
		return fmt.Sprintf("fails at most %g%%", 100*mostFalse)
	case r.drop >= 2:
		return fmt.Sprintf("fails at least %g%%", 100*leastHits)
	}
	return fmt.Sprintf("passes at most %g%%", 100*mostFalse)
}

func (r *row) missed() string {
	fails, passes := r.share(r.failed), r.share(r.passed)
	if r.drop == 0 && fails > mostFalse || r.drop == 1 && passes > mostFalse || r.drop >= 2 && fails < leastHits {
		return fmt.Sprintf("%s: %.2f%% fail and %.2f%% pass, and the bar is: %s", r.name, 100*fails, 100*passes, r.bar())
	}
	return ""
}

// simulate runs a scenario that many times, on all processors.
func simulate(sc scenario, suites int, seed uint64) (row, error) {
	out := row{scenario: sc}
	var mu sync.Mutex
	var errs []error
	var work sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for i := range next {
				v, answers, err := sc.once(seed, i)
				mu.Lock()
				out.runs++
				out.answers += answers
				switch {
				case err != nil:
					errs = append(errs, err)
				case v == verdict.Fail:
					out.failed++
				case v == verdict.Pass:
					out.passed++
				default:
					out.undecided++
				}
				mu.Unlock()
			}
		})
	}
	for i := range suites {
		next <- i
	}
	close(next)
	work.Wait()
	return out, errors.Join(errs...)
}

// world is a suite's truth: how likely each case is answered rightly by the baseline's system and by the head's.
type world struct {
	base, head []float64
	planned    float64
}

// world draws the cases: logits around 1.5 with a standard deviation of 1.5, so that about 77% of the answers are
// right and single cases are anything from hopeless to sure; easy ones around 5.5. The head's chances are the base's,
// lowered in proportion so that their mean is lower by the drop.
func (sc *scenario) world(r *rand.Rand) world {
	var w world
	var mean, noise float64
	n := sc.size()
	logit, centre := 0.0, 1.5
	if sc.easy {
		centre = 5.5
	}
	for i := range n {
		if sc.group == 0 || i%sc.group == 0 {
			logit = centre + 1.5*r.NormFloat64()
		}
		p := 1 / (1 + math.Exp(-logit))
		w.base = append(w.base, p)
		mean += p / float64(n)
		noise += p * (1 - p) / float64(n)
	}
	if sc.graded {
		noise /= spread
	}
	// Both runs' answers vary around the same chances; the planned effect is what the one-sided test finds, held to
	// the level that Holm leaves the first of all margins.
	se := math.Sqrt(noise * (1/float64(sc.repeats) + 1/float64(cmp.Or(sc.base, sc.repeats))) / float64(n))
	level := alpha
	if sc.sliced {
		level /= 1 + slices
	}
	if sc.alike {
		se /= 3 // so small a margin that the first look cannot tell
	}
	w.planned = (stats.NormalQuantile(1-2*level) + stats.NormalQuantile(2*power-1)) * se
	if sc.timed {
		return sc.times(r)
	}
	for _, p := range w.base {
		w.head = append(w.head, p*(1-sc.drop*w.planned/mean))
	}
	return w
}

// times draws the cases' typical seconds, log-normal around 1. The head takes longer by a share, in each answer.
func (sc *scenario) times(r *rand.Rand) world {
	w := world{planned: (stats.NormalQuantile(1-2*alpha) + stats.NormalQuantile(2*power-1)) * math.Sqrt(2*(math.Exp(slow*slow)-1)*math.Exp(slow*slow)/float64(sc.size()))}
	for range sc.size() {
		x := math.Exp(slow * r.NormFloat64())
		w.base, w.head = append(w.base, x), append(w.head, x*(1+sc.drop*w.planned))
	}
	return w
}

// slow is the standard deviation of the logarithm of times, between cases and within them.
const slow = 0.5

// spread is by how much the variance of a graded score is smaller than that of right or wrong at the same mean.
const spread = 4

// score draws one score of that mean.
func (sc *scenario) score(r *rand.Rand, p float64) float64 {
	if sc.timed {
		return p * math.Exp(slow*r.NormFloat64())
	}
	if !sc.graded {
		if r.Float64() < p {
			return 1
		}
		return 0
	}
	// The mean of four draws has a quarter of the variance.
	n := 0
	for range spread {
		if r.Float64() < p {
			n++
		}
	}
	return float64(n) / spread
}

// answers draws a run's scores by case and repeat. The answers within a group of a run share half their luck.
func (sc *scenario) answers(r *rand.Rand, chances []float64, repeats int) [][]float64 {
	out := make([][]float64, len(chances))
	luck := r.Uint64()
	for i, p := range chances {
		if sc.group > 0 && i%sc.group == 0 {
			luck = r.Uint64()
		}
		for k := range repeats {
			if sc.group > 0 && r.Float64() < 0.5 {
				out[i] = append(out[i], sc.score(rand.New(rand.NewPCG(luck, uint64(k))), p))
				continue
			}
			out[i] = append(out[i], sc.score(r, p))
		}
	}
	return out
}

// once simulates one baseline and one run, and decides as telltale run does.
func (sc *scenario) once(seed uint64, n int) (v verdict.Verdict, answers int, err error) {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	w := sc.world(r)
	most := max(sc.most, sc.repeats)
	baseRepeats := cmp.Or(sc.base, sc.repeats)
	first := sc.answers(r, w.base, baseRepeats)
	base := sc.side("base", first, baseRepeats)
	drawn := sc.answers(r, w.head, most)
	for i := range drawn {
		if sc.alike && r.Float64() < 0.8 {
			copy(drawn[i], first[i])
		}
	}
	reg := &gate.Regression{Regression: config.Regression{Alpha: alpha, Power: power}}
	if reg.Margins, err = sc.margins(w.planned * cmp.Or(sc.margin, 1)); err != nil {
		return v, 0, err
	}
	repeats := sc.repeats
	if sc.most > 0 {
		reg.OnUndecided, reg.Looks = "extend", gate.PlanLooks(sc.repeats, sc.most)
	}
	for {
		reg.Comparison = nil
		opts := compare.Options{Metrics: []string{metric}, Alpha: reg.Level(), Power: power, Seed: seed}
		if sc.timed {
			opts.Relative = map[compare.Slice]float64{{Metric: metric}: reg.Margins[0].Margin.Margin}
		}
		head := sc.side("head", drawn, repeats)
		if reg.Comparison, err = compare.Runs(base, head, opts); err != nil {
			return v, 0, err
		}
		if level := reg.Level(); level < opts.Alpha*0.999999 {
			opts.Alpha = level
			if reg.Comparison, err = compare.Runs(base, head, opts); err != nil {
				return v, 0, err
			}
		}
		ruling := gate.Decide(nil, gate.Facts{Summary: record.Summary{Planned: sc.size() * repeats, Finished: sc.size() * repeats}, Regression: reg})
		if ruling.Repeats == 0 {
			return ruling.Verdict, repeats, nil
		}
		repeats = ruling.Repeats
		reg.Looks.Past = append(reg.Looks.Past, *ruling.Look)
	}
}

// margins are the planned effect for all cases, and with slices for each tag what the fewer cases of it can show.
func (sc *scenario) margins(planned float64) ([]gate.Margin, error) {
	all := []config.Margin{{Metric: metric, Margin: planned, Text: fmt.Sprintf("%.4f", planned), Relative: sc.timed}}
	if sc.sliced {
		for k := range slices {
			m := planned * math.Sqrt(slices)
			all = append(all, config.Margin{Metric: fmt.Sprintf("%s[tag=t%d]", metric, k), Margin: m, Text: fmt.Sprintf("%.4f", m)})
		}
	}
	out := make([]gate.Margin, len(all))
	for i, m := range all {
		var err error
		if out[i], err = gate.ParseMargin(m); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (sc *scenario) unit() string {
	if sc.timed {
		return "s"
	}
	return ""
}

// side makes a run of the first answers to each case.
func (sc *scenario) side(name string, drawn [][]float64, repeats int) compare.Side {
	kind := "rate"
	if sc.graded || sc.timed {
		kind = "mean"
	}
	samples := sc.size() * repeats
	run := &record.Run{ID: name, Repeats: repeats, Summary: record.Summary{Planned: samples, Finished: samples}, Snapshots: []record.Snapshot{{ID: "s", Provider: "p", Prompt: "q"}},
		Metrics: map[string]record.Metric{metric: {Kind: kind, Unit: sc.unit(), Signature: "bench"}}, Scorers: map[string]string{metric: "bench"}}
	return compare.Side{
		Name: name, Run: run, Inputs: func(string) (string, bool) { return "1", true },
		Samples: func() iter.Seq2[record.Sample, error] {
			return func(yield func(record.Sample, error) bool) {
				for i, scores := range drawn {
					for k, x := range scores[:repeats] {
						if !yield(sc.sample(i, k, x), nil) {
							return
						}
					}
				}
			}
		},
	}
}

func (sc *scenario) sample(i, k int, x float64) record.Sample {
	pass := x >= 0.5
	s := record.Sample{Case: fmt.Sprintf("case-%d", i), Repeat: k, Provider: "p", Prompt: "q", Score: &x, Verdict: verdict.Fail,
		Scores: []record.Score{{Name: metric, Type: "equals", Value: &x, Pass: &pass}}}
	if pass {
		s.Verdict = verdict.Pass
	}
	if sc.timed {
		one := &s.Scores[0]
		one.Measures = []record.Measure{{Metric: metric, Value: x, Kind: "mean", Unit: sc.unit()}}
	}
	if sc.sliced {
		s.Tags = []string{fmt.Sprintf("t%d", i%slices)}
	}
	if sc.group > 0 {
		s.Group = fmt.Sprintf("g%d", i/sc.group)
	}
	return s
}
