package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// Scores is the e-process for bounded scores in randomised traffic: judge scores, feedback, anything in [0, 1]. It
// tests "the canary's mean is no worse than the control's", for every request in the context that it came in.
//
// With badness b (the score, or 1 minus it where higher is better) it bets on
//
//	1 + λ (A/π − (1 − A)/(1 − π)) (b − c)
//
// with A = 1 on the canary. The bracket's mean is the difference of the arms' means, whatever c is, so the expected
// factor is at most 1 when the canary is no worse and λ ≥ 0. c, the pooled mean, and σ, the pooled standard
// deviation, are estimated from the past alone. For each standardised effect d of a grid λ = π(1 − π)d/σ, which is the
// growth-optimal bet for that effect to first order, kept within 0.9 of the range that leaves every factor positive:
// λ < min(π/c, (1 − π)/(1 − c)). E is the mean over the grid. For binary scores this is the full likelihood ratio
// with c as the pooled rate. Source: betting martingales after Waudby-Smith and Ramdas (2024), JRSS B 86, with inverse
// propensity weights as in Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro (2024), "Anytime-valid off-policy inference".
//
// A Scores is not safe for concurrent use.
type Scores struct {
	evidence
	opt ScoresOptions
	n   int64
	arm [2]recent // Control, Canary: badness
}

// Better says which scores are good.
type Better uint8

// The two directions.
const (
	HigherIsBetter Better = iota
	LowerIsBetter
)

// ScoresOptions say what is tested.
type ScoresOptions struct {
	Better Better `json:"better"`
	// Effects are differences of the means in standard deviations of a score that E is to be large for; nil for
	// ScoreEffects.
	Effects []float64 `json:"effects"`
	// Memory is the number of an arm's scores that the estimates look back on; 0 for 10,000.
	Memory float64 `json:"memory"`
}

// ScoreEffects is the grid of standardised effects that Scores mixes over: 12 numbers from 0.03 to 1.5.
func ScoreEffects() []float64 { return LogGrid(0.03, 1.5, 12) }

const (
	scoresKind = "betting e-process"
	// betShare of the greatest possible bet is the most that is staked: a score at the end of its range must not
	// take everything.
	betShare = 0.9
)

// recent are moments of an arm's badness in which an observation counts less by 1/memory with every later one.
type recent struct {
	N, Sum, Square float64
}

func (r *recent) add(x, memory float64) {
	keep := 1 - 1/memory
	r.N, r.Sum, r.Square = r.N*keep+1, r.Sum*keep+x, r.Square*keep+x*x
}

// mean and variance start from one imagined observation of 1/2 with variance 1/4.
func (r *recent) mean() float64 { return (r.Sum + 0.5) / (r.N + 1) }

func (r *recent) square() float64 { return (r.Square + 0.5) / (r.N + 1) }

// NewScores returns a Scores that has seen nothing.
func NewScores(opt ScoresOptions) (*Scores, error) {
	if opt.Effects == nil {
		opt.Effects = ScoreEffects()
	}
	if opt.Memory == 0 {
		opt.Memory = defaultMemory
	}
	if err := opt.validate(); err != nil {
		return nil, err
	}
	opt.Effects = append([]float64(nil), opt.Effects...)
	return &Scores{evidence: newEvidence(len(opt.Effects)), opt: opt}, nil
}

func (o *ScoresOptions) validate() error {
	if o.Better > LowerIsBetter {
		return fmt.Errorf("direction %d, it must be HigherIsBetter or LowerIsBetter", o.Better)
	}
	if len(o.Effects) == 0 || len(o.Effects) > maxRatios {
		return fmt.Errorf("%d effects, there must be 1 to %d", len(o.Effects), maxRatios)
	}
	for _, d := range o.Effects {
		if !(d > 0) || math.IsInf(d, 0) {
			return fmt.Errorf("the effect %v must be a finite number above 0", d)
		}
	}
	return checkMemory(o.Memory)
}

// Update notes one request: the arm it fell on, the probability pi with which it was sent to the canary, fixed before
// the score was known, and the score in [0, 1]. What cannot be is an error, and changes nothing.
func (s *Scores) Update(arm Arm, pi, score float64) error {
	if len(s.logs) == 0 {
		return errUnmade
	}
	if err := checkAssignment(arm, pi); err != nil {
		return err
	}
	if !(score >= 0 && score <= 1) {
		return fmt.Errorf("the score is %v, it must be from 0 to 1", score)
	}
	bad := score
	if s.opt.Better == HigherIsBetter {
		bad = 1 - score
	}
	s.n++
	if pi > 0 && pi < 1 {
		s.bet(arm, pi, bad)
	}
	s.arm[arm].add(bad, s.opt.Memory)
	return nil
}

func (s *Scores) bet(arm Arm, pi, bad float64) {
	control, canary := &s.arm[Control], &s.arm[Canary]
	c := pi*canary.mean() + (1-pi)*control.mean()
	variance := pi*canary.square() + (1-pi)*control.square() - c*c
	// Scores that never differed leave a variance of rounding errors.
	sd := math.Sqrt(math.Max(variance, 1e-6))
	most := betShare * math.Min(pi/c, (1-pi)/(1-c))
	weighted := (bad - c) / pi
	if arm == Control {
		weighted = -(bad - c) / (1 - pi)
	}
	for g, d := range s.opt.Effects {
		s.logs[g] += math.Log1p(math.Min(pi*(1-pi)*d/sd, most) * weighted)
	}
	s.settle()
}

// N is the number of requests seen.
func (s *Scores) N() int64 { return s.n }

type scoresState struct {
	Kind    string    `json:"kind"`
	Better  Better    `json:"better"`
	Effects []float64 `json:"effects"`
	Memory  float64   `json:"memory"`
	N       int64     `json:"n"`
	Control recent    `json:"control"`
	Canary  recent    `json:"canary"`
	Logs    []float64 `json:"logs"`
	Peak    float64   `json:"peak"`
}

// MarshalJSON returns the state.
func (s *Scores) MarshalJSON() ([]byte, error) {
	return json.Marshal(scoresState{scoresKind, s.opt.Better, s.opt.Effects, s.opt.Memory, s.n, s.arm[Control], s.arm[Canary], s.logs, s.peak})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (s *Scores) UnmarshalJSON(data []byte) error {
	var st scoresState
	if err := decodeState(data, scoresKind, &st); err != nil {
		return err
	}
	if st.Kind != scoresKind {
		return badState(scoresKind, "the kind", st.Kind)
	}
	out := Scores{
		evidence: evidence{logs: st.Logs, peak: st.Peak}, n: st.N, arm: [2]recent{st.Control, st.Canary},
		opt: ScoresOptions{Better: st.Better, Effects: st.Effects, Memory: st.Memory},
	}
	if err := out.opt.validate(); err != nil {
		return fmt.Errorf("state of a %s: %w", scoresKind, err)
	}
	for _, r := range out.arm {
		if !(0 <= r.Square && r.Square <= r.Sum && r.Sum <= r.N && r.N <= float64(st.N)) {
			return badState(scoresKind, "the moments of an arm", r)
		}
	}
	if err := out.check(scoresKind, len(st.Effects)); err != nil {
		return err
	}
	if st.N <= 0 && (st.N < 0 || out.now != 0 || out.peak != 0) {
		return badState(scoresKind, "evidence without requests", out.now)
	}
	*s = out
	return nil
}
