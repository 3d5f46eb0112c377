package stats

import (
	"math"
	"math/rand/v2"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// Detection says how many requests it takes, both arms together, until a canary that is worse is rejected.
type Detection struct {
	// Procedure is the e-process that was simulated.
	Procedure Procedure
	// Bound is the mean that no test with this alpha can go below, see InformationBound.
	Bound float64
	// Runs is how often the procedure was simulated; 0 when that would have taken too long, and then what
	// follows is NaN.
	Runs int
	// Horizon is the number of requests after which a run was given up, Found the share of the runs that rejected
	// before it.
	Horizon float64
	Found   float64
	// Mean, Median and P90 are over the runs, +Inf when too many found nothing: any of them for the mean.
	Mean, Median, P90 float64
	// LeastMean is the mean with the runs that found nothing counted with the horizon: the mean is no less.
	LeastMean float64
}

// Procedure is the name of an e-process for rollouts.
type Procedure string

// The procedures.
const (
	UsesConditional Procedure = "conditional"
	UsesLikelihood  Procedure = "full likelihood"
	UsesScores      Procedure = "betting on scores"
)

// RareRate is the rate above which requests without the event tell enough for Likelihood to be used rather
// than Conditional.
const RareRate = 0.05

// RateChange is a canary's rate of an event that is to be found out.
type RateChange struct {
	// Baseline and Candidate are the event's rates in the two arms, Split the share of requests that go to the canary.
	Baseline, Candidate, Split float64
	Alpha                      float64
	// Seed of the simulation: the same seed gives the same figures.
	Seed uint64
}

// ScoreChange is a canary's mean score, in [0, 1], that is to be found out.
type ScoreChange struct {
	// Baseline and Candidate are the means, SD the standard deviation of a score in either arm.
	Baseline, Candidate, SD, Split float64
	Better                         Better
	Alpha                          float64
	Seed                           uint64
}

const (
	// detectHorizon is in bounds.
	detectHorizon = 8
	// Runs are as many as make about so many updates, within limits. Fewer than the least would tell little; they
	// may make up to the most updates.
	detectUpdates     = 2e6
	mostDetectUpdates = 1e7
	mostRuns          = 2000
	leastRuns         = 100
	// When none of so many first runs finds anything, or fewer than half of the least, the rest is not worth the time:
	// the median is infinite.
	firstRuns = 20
)

// DetectRate simulates the procedure that a rollout uses for a rate: Conditional, or Likelihood when a rate is above
// RareRate. It takes a few seconds at most. ok is false when the candidate is not the worse one (the higher
// rate), a rate or the split is not between 0 and 1, or alpha not within (0, 1).
func DetectRate(c RateChange) (d Detection, ok bool) {
	nats, ok := RateInformation(c.Baseline, c.Candidate, c.Split)
	if !ok || !(c.Baseline > 0) || !(c.Candidate > c.Baseline) || !(c.Candidate < 1) {
		return d, false
	}
	if d.Bound, ok = InformationBound(nats, c.Alpha); !ok || math.IsInf(d.Bound, 0) {
		return d, false
	}
	rates := [2]float64{Control: c.Baseline, Canary: c.Candidate}
	if c.Candidate > RareRate {
		d.Procedure = UsesLikelihood
		d.simulate(c.Seed, 1, func(r *rand.Rand) float64 {
			l, err := NewLikelihood(LikelihoodOptions{Baseline: c.Baseline})
			if err != nil {
				return math.Inf(1)
			}
			for n := 1.0; n <= d.Horizon; n++ {
				arm := drawArm(r, c.Split)
				if l.Update(arm, c.Split, bit(r.Float64() < rates[arm])) != nil || l.Rejects(c.Alpha) {
					return n
				}
			}
			return math.Inf(1)
		})
		return d, true
	}
	d.Procedure = UsesConditional
	pooled := (1-c.Split)*c.Baseline + c.Split*c.Candidate
	onCanary := c.Split * c.Candidate / pooled
	d.simulate(c.Seed, pooled, func(r *rand.Rand) float64 {
		e, err := NewConditional(ConditionalOptions{})
		if err != nil {
			return math.Inf(1)
		}
		// Requests without the event change nothing: their number before the next event is drawn at once.
		for n := 0.0; ; {
			n += 1 + math.Floor(math.Log(1-r.Float64())/math.Log1p(-pooled))
			if n > d.Horizon {
				return math.Inf(1)
			}
			if e.Update(drawArm(r, onCanary), c.Split, 1) != nil || e.Rejects(c.Alpha) {
				return n
			}
		}
	})
	return d, true
}

// DetectScore simulates Scores on Beta distributed scores. It takes a few seconds at most. ok is false when the candidate
// is not the worse one, the means, the split or alpha are not between 0 and 1, or no Beta distribution has that
// standard deviation at either mean (it must be below √(m(1 − m))).
func DetectScore(c ScoreChange) (d Detection, ok bool) {
	if c.Better > LowerIsBetter || c.Candidate == c.Baseline || (c.Candidate < c.Baseline) != (c.Better == HigherIsBetter) {
		return d, false
	}
	nats, ok := ScoreInformation(c.Baseline, c.Candidate, c.SD, c.Split)
	if !ok {
		return d, false
	}
	if d.Bound, ok = InformationBound(nats, c.Alpha); !ok || math.IsInf(d.Bound, 0) {
		return d, false
	}
	control, _ := betaOf(c.Baseline, c.SD)
	canary, _ := betaOf(c.Candidate, c.SD)
	d.Procedure = UsesScores
	d.simulate(c.Seed, 2, func(r *rand.Rand) float64 {
		s, err := NewScores(ScoresOptions{Better: c.Better})
		if err != nil {
			return math.Inf(1)
		}
		arms := [2]distuv.Beta{Control: control, Canary: canary}
		arms[0].Src, arms[1].Src = r, r
		for n := 1.0; n <= d.Horizon; n++ {
			arm := drawArm(r, c.Split)
			if s.Update(arm, c.Split, arms[arm].Rand()) != nil || s.Rejects(c.Alpha) {
				return n
			}
		}
		return math.Inf(1)
	})
	return d, true
}

// simulate fills d from runs, each of which returns the number of requests until it rejected, +Inf for
// never. updates is what a request costs, in updates
// of Conditional or Likelihood.
func (d *Detection) simulate(seed uint64, updates float64, run func(*rand.Rand) float64) {
	d.Horizon = math.Ceil(detectHorizon * d.Bound)
	// On average a run takes about half as many requests again as the bound.
	perRun := 1.5 * d.Bound * updates
	runs := int(math.Max(leastRuns, math.Min(detectUpdates/perRun, mostRuns)))
	if float64(runs)*perRun > mostDetectUpdates {
		d.Found, d.Mean, d.Median, d.P90, d.LeastMean = math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()
		return
	}
	d.repeat(runs, rand.New(rand.NewPCG(seed, 0)), run)
}

// repeat fills d from that many runs, or from the first of them when those mostly do not reject.
func (d *Detection) repeat(runs int, r *rand.Rand, run func(*rand.Rand) float64) {
	took := make([]float64, 0, runs)
	found := 0
	var sum Sum
	for len(took) < runs && !(len(took) == firstRuns && found == 0) && !(len(took) == leastRuns && 2*found < leastRuns) {
		n := run(r)
		took = append(took, n)
		sum.Add(math.Min(n, d.Horizon))
		if !math.IsInf(n, 0) {
			found++
		}
	}
	sort.Float64s(took)
	d.Runs = len(took)
	d.Found = float64(found) / float64(d.Runs)
	d.LeastMean = sum.Value() / float64(d.Runs)
	d.Mean = d.LeastMean
	if found < d.Runs {
		d.Mean = math.Inf(1)
	}
	at := func(p float64) float64 { return took[int(math.Ceil(p*float64(d.Runs)))-1] }
	d.Median, d.P90 = at(0.5), at(0.9)
}

func drawArm(r *rand.Rand, canary float64) Arm {
	if r.Float64() < canary {
		return Canary
	}
	return Control
}

func bit(event bool) float64 {
	if event {
		return 1
	}
	return 0
}
