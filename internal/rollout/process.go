package rollout

import (
	"math"

	"github.com/telltale-llm/telltale/internal/stats"
)

const (
	// memory is how many outcomes the running estimates look back on.
	memory = 10_000
	// refresh is after how many outcomes a running estimate is taken over: the factors of a bet are then computed
	// seldom. What a bet uses is always of the past.
	refresh = 16

	betShare = 0.9
)

// The prior of a rate: so many imagined outcomes at so much.
const (
	priorRate  = 0.01
	priorCount = 50
)

// grids of the mixtures: see stats.Conditional and stats.Scores.
var (
	ratios  = stats.CanaryRatios()
	effects = stats.ScoreEffects()
	// shares of a margin that a bet supposes to be the distance to it.
	shares = []float64{0.25, 0.5, 1, 2}
)

// rateTest is the e-process of "the candidate's rate of an event is no higher", stats.Likelihood. Of units only those that have
// a rare event can be remembered: while the baseline's rate, estimated from the past, is at most stats.RareRate the factor
// of theirs is that of stats.Conditional, for which others do not count. For each ratio the expected factor is at most 1 given
// the past whichever is taken, so a choice by the past alone keeps the product a test martingale.
type rateTest struct {
	wealth
	Events float64 `json:"events"` // of the baseline, each counted less with every later one
	Seen   float64 `json:"seen"`
	N      int64   `json:"n"`
	// Level is the estimated baseline's rate in tenths of its log-odds; 0 while the event is rare.
	Level int  `json:"level,omitempty"`
	Full  bool `json:"full,omitempty"`
	// Rare says that Full waits for the event to be frequent.
	Rare bool `json:"rare,omitempty"`

	// The factors at the latest propensity and level.
	cached  bool
	pi      float64
	level   int
	full    bool
	factors [2][2][]float64 // by arm and outcome
}

func newRateTest(cash float64) rateTest {
	t := rateTest{wealth: newWealth(len(ratios), cash)}
	t.estimate()
	return t
}

// estimate takes over the estimate of the baseline's rate.
func (t *rateTest) estimate() {
	q := (t.Events + priorRate*priorCount) / (t.Seen + priorCount)
	if t.Full = !t.Rare || q > stats.RareRate; !t.Full {
		t.Level = 0
		return
	}
	q = min(q, 0.999)
	t.Level = int(math.Round(10 * math.Log(q/(1-q))))
}

// note counts an outcome of the baseline.
func (t *rateTest) note(y float64) {
	const keep = 1 - 1.0/memory
	t.Events, t.Seen = t.Events*keep+y, t.Seen*keep+1
	t.N++
}

func (t *rateTest) prepare(pi float64) {
	if t.cached && t.pi == pi && t.level == t.Level && t.full == t.Full {
		return
	}
	if !t.cached {
		all := make([]float64, 4*len(ratios))
		for i := range t.factors {
			for j := range t.factors[i] {
				t.factors[i][j], all = all[:len(ratios):len(ratios)], all[len(ratios):]
			}
		}
	}
	t.cached, t.pi, t.level, t.full = true, pi, t.Level, t.Full
	q := 1 / (1 + math.Exp(-float64(t.Level)/10))
	for g, r := range ratios {
		if !t.Full {
			total := pi*r + 1 - pi
			t.factors[stats.Canary][1][g] = r / total
			t.factors[stats.Control][1][g] = 1 / total
			continue
		}
		for y := range 2 {
			// The odds ratio is r: P(y|candidate)/P(y|baseline) is 1/d or r/d.
			ratio := 1 / (1 - q + r*q)
			if y == 1 {
				ratio *= r
			}
			mixed := pi*ratio + 1 - pi
			t.factors[stats.Canary][y][g] = ratio / mixed
			t.factors[stats.Control][y][g] = 1 / mixed
		}
	}
}

// bet takes up one outcome, y of 0 or 1.
func (t *rateTest) bet(arm stats.Arm, pi float64, y int) {
	if pi <= 0 || pi >= 1 || y == 0 && !t.Full {
		return
	}
	t.prepare(pi)
	t.by(t.factors[arm][y])
}

// pair takes up two answers to one request. Of pairs in which only one has the event, the candidate's share is one half
// when they are alike: that is stats.Conditional at a propensity of one half.
func (t *rateTest) pair(candidate, baseline int) {
	if candidate == baseline {
		return
	}
	sum := 0.0
	for g, r := range ratios {
		f := 2 / (1 + r)
		if candidate == 1 {
			f *= r
		}
		t.W[g] *= f
		sum += t.W[g]
	}
	t.settle(sum)
}

// pool holds the mean and variance of both arms' badness, and what was last taken over of it.
type pool struct {
	N      float64 `json:"n"`
	Sum    float64 `json:"sum"`
	Square float64 `json:"square"`
	Count  int64   `json:"count"`
	// C and V are the mean and the variance in use.
	C float64 `json:"c"`
	V float64 `json:"v"`
}

func newPool() pool { return pool{C: 0.5, V: 0.25} }

func (p *pool) add(bad float64) {
	const keep = 1 - 1.0/memory
	p.N, p.Sum, p.Square = p.N*keep+1, p.Sum*keep+bad, p.Square*keep+bad*bad
	if p.Count++; p.Count%refresh == 0 {
		// One imagined outcome of 1/2 with variance 1/4 keeps the mean off the ends.
		p.C = (p.Sum + 0.5) / (p.N + 1)
		p.V = max((p.Square+0.5)/(p.N+1)-p.C*p.C, 1e-6)
	}
}

// weigh is the weighted distance of a badness from c whose mean is the difference of the arms' means.
func weigh(arm stats.Arm, pi, distance float64) float64 {
	if arm == stats.Canary {
		return distance / pi
	}
	return -distance / (1 - pi)
}

// scoreTest is stats.Scores, the e-process of "the candidate's mean badness is no higher", on the estimates of a pool.
type scoreTest struct {
	wealth
	bets stakes
}

func newScoreTest(cash float64) scoreTest { return scoreTest{wealth: newWealth(len(effects), cash)} }

// stakes are the bets of a mixture, at the latest propensity and estimates.
type stakes struct {
	lambda   []float64
	pi, c, v float64
}

// at says whether the stakes are those of a propensity and of a pool, and takes them over when not.
func (k *stakes) at(p *pool, pi float64, parts int) bool {
	if k.lambda != nil && k.pi == pi && k.c == p.C && k.v == p.V {
		return true
	}
	if k.lambda == nil {
		k.lambda = make([]float64, parts)
	}
	k.pi, k.c, k.v = pi, p.C, p.V
	return false
}

func (t *scoreTest) bet(p *pool, arm stats.Arm, pi, bad float64) {
	if pi <= 0 || pi >= 1 {
		return
	}
	if !t.bets.at(p, pi, len(effects)) {
		most := betShare * min(pi/p.C, (1-pi)/(1-p.C))
		unit := pi * (1 - pi) / math.Sqrt(p.V)
		for g, d := range effects {
			t.bets.lambda[g] = min(unit*d, most)
		}
	}
	z := weigh(arm, pi, bad-p.C)
	sum := 0.0
	for g, l := range t.bets.lambda {
		t.W[g] *= 1 + l*z
		sum += t.W[g]
	}
	t.settle(sum)
}

// pair bets that the candidate's answer to a request is worse than the baseline's by a difference from −1 to 1, whose
// mean is at most 0 when it is not.
func (t *scoreTest) pair(difference float64) {
	sum := 0.0
	for g, d := range effects {
		t.W[g] *= 1 + min(d, betShare)*difference
		sum += t.W[g]
	}
	t.settle(sum)
}

// marginTest is the e-process of "the candidate is worse by the margin or more": where it is large the candidate is within
// the margin. An absolute margin δ is tested by bets 1 + λ(δ − Z) on the weighted distance Z, whose mean is the difference
// of the arms; a relative one by stats.Conditional with its Null at 1 plus the margin.
type marginTest struct {
	wealth
	margin   float64
	relative bool

	bets    stakes
	cached  bool
	pi      float64
	factors [2][]float64
}

func newMarginTest(margin float64, relative bool) marginTest {
	parts := len(shares)
	if relative {
		parts = len(below(margin))
	}
	return marginTest{wealth: newWealth(parts, 0), margin: margin, relative: relative}
}

// below are the ratios that a relative margin is bet against with.
func below(margin float64) []float64 { return stats.LogGrid(0.5, math.Pow(1+margin, 0.6), 6) }

func (t *marginTest) bet(p *pool, arm stats.Arm, pi, bad float64) {
	if pi <= 0 || pi >= 1 {
		return
	}
	if t.relative {
		t.event(arm, pi, bad)
		return
	}
	if !t.bets.at(p, pi, len(shares)) {
		// The factor is least for an outcome of 1 of the candidate's or of 0 of the baseline's.
		worst := max((1-p.C)/pi, p.C/(1-pi)) - t.margin
		most := betShare / max(worst, 1e-9)
		t.size(pi*(1-pi)/p.V, most)
	}
	t.win(weigh(arm, pi, bad-p.C))
}

// size computes the bets that the mean of a weighted distance is below the margin.
func (t *marginTest) size(unit, most float64) {
	for g, share := range shares {
		t.bets.lambda[g] = min(unit*share*t.margin, most)
	}
}

func (t *marginTest) win(z float64) {
	sum := 0.0
	for g, l := range t.bets.lambda {
		t.W[g] *= 1 + l*(t.margin-z)
		sum += t.W[g]
	}
	t.scale(sum)
}

func (t *marginTest) event(arm stats.Arm, pi, y float64) {
	if y == 0 {
		return
	}
	if !t.cached || t.pi != pi {
		t.cached, t.pi = true, pi
		null, grid := 1+t.margin, below(t.margin)
		for i := range t.factors {
			t.factors[i] = make([]float64, len(grid))
		}
		allowed := pi*null + 1 - pi
		for g, r := range grid {
			total := pi*r + 1 - pi
			t.factors[stats.Canary][g] = r / null * allowed / total
			t.factors[stats.Control][g] = allowed / total
		}
	}
	sum := 0.0
	for g, f := range t.factors[arm] {
		t.W[g] *= f
		sum += t.W[g]
	}
	t.scale(sum)
}

// pair takes up two answers to one request. For a relative margin each event counts: the factor of a pair in which both
// have it is below the product of two independent ones, so that pairs being alike costs power and nothing else.
func (t *marginTest) pair(p *pool, candidate, baseline float64) {
	if t.relative {
		t.event(stats.Canary, 0.5, candidate)
		t.event(stats.Control, 0.5, baseline)
		return
	}
	// 1 + λ(δ − d) is positive for λ below 1/(1 − δ); the variance of a difference is at most twice that of one answer.
	if !t.bets.at(p, pairPi, len(shares)) {
		t.size(1/(2*p.V), betShare/(1-t.margin))
	}
	t.win(candidate - baseline)
}

// difference is a confidence sequence for the difference of the arms' mean badness: the predictable plug-in
// empirical-Bernstein sequence of Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by
// betting", theorem 2, on the weighted distance, brought to [0, 1] by its range at each outcome:
//
//	Σ w_i Z_i/Σ w_i ± (ln(2/α) + Σ v_i ψ(λ_i))/Σ w_i,  w_i = λ_i/R_i,  v_i = (Z_i − μ_{i−1})²/R_i²,  ψ(λ) = −ln(1 − λ) − λ.
//
// It holds at all times at once. Where the difference moves it is about its weighted mean so far.
type difference struct {
	N       int64   `json:"n"`
	Weights float64 `json:"weights"`
	Mean    float64 `json:"mean"`   // Σ w_i Z_i
	Spread  float64 `json:"spread"` // Σ v_i ψ(λ_i)
	Sum     float64 `json:"sum"`
	Square  float64 `json:"square"` // Σ (Z_i − μ_{i−1})²
	// Centre and Variance are the mean and the variance in use, taken over every refresh outcomes.
	Centre   float64 `json:"centre"`
	Variance float64 `json:"variance"`

	cached       bool
	pi, c        float64
	weight, cost float64
}

// pairPi stands for the propensity where there is a pair.
const pairPi = -1

const sequenceLog = 3.6888794541139363 // ln(2/0.05): the bets are those for 95%, whatever level is asked for

// lambdaMost is the greatest bet of the sequence.
const lambdaMost = 0.5

func (d *difference) add(p *pool, arm stats.Arm, pi, bad float64) {
	if pi <= 0 || pi >= 1 {
		return
	}
	d.take(pi, p.C, max((1-p.C)/pi, p.C/(1-pi))+max(p.C/pi, (1-p.C)/(1-pi)), weigh(arm, pi, bad-p.C))
}

// pair takes up the difference of two answers to one request.
func (d *difference) pair(z float64) { d.take(pairPi, 0, 2, z) }

// take adds z, which lies in a range of that width; pi and c are what it was made with.
func (d *difference) take(pi, c, width, z float64) {
	if !d.cached || d.pi != pi || d.c != c {
		d.prepare(pi, c, width)
	}
	off := z - d.Centre
	d.Weights += d.weight
	d.Mean += d.weight * z
	d.Spread += off * off * d.cost
	d.Sum += z
	d.Square += off * off
	if d.N++; d.N%refresh == 0 {
		// Within every range that z can have, as the theorem asks for.
		d.Centre = min(max(d.Sum/float64(d.N+1), -0.5), 0.5)
		d.Variance = d.Square / float64(d.N)
		d.cached = false
	}
}

func (d *difference) prepare(pi, c, width float64) {
	d.cached, d.pi, d.c = true, pi, c
	// The estimates of the latest refresh, one imagined outcome of a quarter of the range's square besides.
	n := float64(d.N - d.N%refresh + 1)
	variance := (width*width/4 + d.Variance*(n-1)) / n / (width * width)
	lambda := min(lambdaMost, math.Sqrt(2*sequenceLog/(variance*n*math.Log(1+n))))
	d.weight = lambda / width
	d.cost = (-math.Log1p(-lambda) - lambda) / (width * width)
}

// interval is the confidence sequence now, clipped to [−1, 1]; ok is false before there is anything to say.
func (d *difference) interval(alpha float64) (i stats.Interval, ok bool) {
	if d.N == 0 || !(d.Weights > 0) {
		return i, false
	}
	middle, half := d.Mean/d.Weights, (math.Log(2/alpha)+d.Spread)/d.Weights
	return stats.Interval{Low: middle - half, High: middle + half}.Clip(-1, 1), true
}
