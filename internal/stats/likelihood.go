package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// Likelihood is the full-likelihood mixture e-process for binary outcomes in randomised traffic, for rates above
// about 5%, where requests without the event tell something too. It tests "the canary's rate is at most the
// control's", for every request in the context that it came in.
//
// With the odds ratio ρ_g of a grid and a baseline rate q that is estimated from the past alone,
// P_g(1|control) = q, P_g(1|canary) = ρ_g q/(1 − q + ρ_g q), and W_g is multiplied by
//
//	P_g(Y|A) / (π P_g(Y|canary) + (1 − π) P_g(Y|control));
//
// E is the mean of W_g. Given the outcome and the past, the arm has probability π when the arms are alike, so the
// expected factor is 1 whatever q is and however the true rate moves; a wrong q costs power, not validity. When the
// canary is better the expected factor is below 1, for ρ_g > 1. At small rates odds ratios are rate ratios.
//
// q follows the control's outcomes with a bounded memory. A Likelihood is not safe for concurrent use.
type Likelihood struct {
	evidence
	opt LikelihoodOptions
	n   int64
	// Of the control's outcomes, each counted less by 1/Memory with every later one.
	events, seen float64
}

// LikelihoodOptions say what is tested, and what is thought of the base rate at the start.
type LikelihoodOptions struct {
	// Ratios are odds ratios of canary to control above 1; nil for CanaryRatios.
	Ratios []float64 `json:"ratios"`
	// Baseline is the rate expected of the control, counted like two outcomes; 0 for 0.1.
	Baseline float64 `json:"baseline"`
	// Memory is the number of the control's outcomes that the estimate of its rate looks back on; 0 for 10,000.
	Memory float64 `json:"memory"`
}

const (
	likelihoodKind = "full-likelihood e-process"
	priorOutcomes  = 2.0
	defaultMemory  = 10_000
)

// NewLikelihood returns a Likelihood that has seen nothing.
func NewLikelihood(opt LikelihoodOptions) (*Likelihood, error) {
	if opt.Ratios == nil {
		opt.Ratios = CanaryRatios()
	}
	if opt.Baseline == 0 {
		opt.Baseline = 0.1
	}
	if opt.Memory == 0 {
		opt.Memory = defaultMemory
	}
	if err := opt.validate(); err != nil {
		return nil, err
	}
	opt.Ratios = append([]float64(nil), opt.Ratios...)
	return &Likelihood{evidence: newEvidence(len(opt.Ratios)), opt: opt}, nil
}

func (o *LikelihoodOptions) validate() error {
	if !(o.Baseline > 0 && o.Baseline < 1) {
		return fmt.Errorf("the baseline rate is %v, it must be between 0 and 1", o.Baseline)
	}
	if err := checkMemory(o.Memory); err != nil {
		return err
	}
	if len(o.Ratios) > 0 && !(o.Ratios[0] > 1) {
		return fmt.Errorf("the odds ratio %v must be above 1", o.Ratios[0])
	}
	return checkRatios(o.Ratios, 1)
}

func checkMemory(m float64) error {
	if !(m >= 10) || math.IsInf(m, 0) {
		return fmt.Errorf("a memory of %v outcomes, it must be a finite number of at least 10", m)
	}
	return nil
}

// rate is the estimate of the control's rate, strictly between 0 and 1.
func (l *Likelihood) rate() float64 {
	return (l.events + priorOutcomes*l.opt.Baseline) / (l.seen + priorOutcomes)
}

// Update notes one request, like Conditional.Update.
func (l *Likelihood) Update(arm Arm, pi, y float64) error {
	if len(l.logs) == 0 {
		return errUnmade
	}
	if err := checkAssignment(arm, pi); err != nil {
		return err
	}
	if y != 0 && y != 1 {
		return fmt.Errorf("the outcome is %v, it must be 0 or 1", y)
	}
	l.n++
	if pi > 0 && pi < 1 {
		l.weigh(arm, pi, y)
	}
	if arm == Control {
		keep := 1 - 1/l.opt.Memory
		l.events, l.seen = l.events*keep+y, l.seen*keep+1
	}
	return nil
}

func (l *Likelihood) weigh(arm Arm, pi, y float64) {
	q := l.rate()
	for g, r := range l.opt.Ratios {
		// With the odds ratio in the odds, P_g(y|canary)/P_g(y|control) is 1/d or ρ/d.
		ratio := 1 / (1 - q + r*q)
		if y == 1 {
			ratio *= r
		}
		mixed := pi*ratio + 1 - pi
		if arm == Canary {
			l.logs[g] += math.Log(ratio / mixed)
		} else {
			l.logs[g] -= math.Log(mixed)
		}
	}
	l.settle()
}

// N is the number of requests seen.
func (l *Likelihood) N() int64 { return l.n }

type likelihoodState struct {
	Kind     string    `json:"kind"`
	Ratios   []float64 `json:"ratios"`
	Baseline float64   `json:"baseline"`
	Memory   float64   `json:"memory"`
	N        int64     `json:"n"`
	Events   float64   `json:"events"`
	Seen     float64   `json:"seen"`
	Logs     []float64 `json:"logs"`
	Peak     float64   `json:"peak"`
}

// MarshalJSON returns the state.
func (l *Likelihood) MarshalJSON() ([]byte, error) {
	return json.Marshal(likelihoodState{likelihoodKind, l.opt.Ratios, l.opt.Baseline, l.opt.Memory, l.n, l.events, l.seen, l.logs, l.peak})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (l *Likelihood) UnmarshalJSON(data []byte) error {
	var s likelihoodState
	if err := decodeState(data, likelihoodKind, &s); err != nil {
		return err
	}
	if s.Kind != likelihoodKind {
		return badState(likelihoodKind, "the kind", s.Kind)
	}
	out := Likelihood{
		evidence: evidence{logs: s.Logs, peak: s.Peak}, n: s.N, events: s.Events, seen: s.Seen,
		opt: LikelihoodOptions{Ratios: s.Ratios, Baseline: s.Baseline, Memory: s.Memory},
	}
	if err := out.opt.validate(); err != nil {
		return fmt.Errorf("state of a %s: %w", likelihoodKind, err)
	}
	if s.N < 0 || s.Events < 0 || s.Seen < s.Events || s.Seen > float64(s.N) {
		return badState(likelihoodKind, "the counts", []any{s.N, s.Events, s.Seen})
	}
	if err := out.check(likelihoodKind, len(s.Ratios)); err != nil {
		return err
	}
	if s.N == 0 && (out.now != 0 || out.peak != 0) {
		return badState(likelihoodKind, "evidence without requests", out.now)
	}
	*l = out
	return nil
}
