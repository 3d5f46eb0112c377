package stats

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Arm is the side of a randomised comparison that an observation fell on.
type Arm uint8

// The two arms. Control is what serves today, Canary what may replace it.
const (
	Control Arm = iota
	Canary
)

var errUnmade = errors.New("it was not made by its constructor or read from a state")

// CanaryRatios is the grid of rate ratios that the canary's e-processes mix over: 12 numbers from 1.25
// to 16, each 1.26 times the one before.
func CanaryRatios() []float64 { return LogGrid(1.25, 16, 12) }

// Conditional is the conditional mixture e-process for rare binary events in randomised traffic: errors, safety
// flags, latencies above the baseline's 99th percentile. It tests "the canary's rate is at most Null times the
// control's" (or at least, when the ratios lie below Null).
//
// Only events count. Given that a request had the event, it fell on the canary with probability
// s = πρ/(πρ + 1 − π), where π is the probability with which it was sent there and ρ the ratio of the two rates for this
// request. For each ratio ρ_g of a grid, W_g is multiplied by s(ρ_g)/s(Null) for an event on the canary and by
// (1 − s(ρ_g))/(1 − s(Null)) for one on the control; E is the mean of W_g. With Null = 1 that is s/π and (1 − s)/(1 − π).
// Since it asks only which arm an event fell on, it is valid when the base rate moves, when an outage hits both
// arms, and while π follows the evidence, as long as π was fixed before the outcome. Source: the likelihood
// ratio of the binomial test of two Poisson rates (Przyborowski and Wilenski 1940), as a test martingale.
//
// The state is a few hundred bytes, whatever was seen. A Conditional is not safe for concurrent use.
type Conditional struct {
	evidence
	opt    ConditionalOptions
	n      int64
	events int64
	// The logarithms of the factors at the latest π: it changes seldom.
	at     float64
	canary []float64
	other  []float64
}

// ConditionalOptions say what is tested.
type ConditionalOptions struct {
	// Ratios of the canary's rate to the control's that E is to be large for, all above or all below Null; nil
	// for CanaryRatios.
	Ratios []float64 `json:"ratios"`
	// Null is the ratio that the hypothesis allows; 0 for 1.
	Null float64 `json:"null"`
}

const conditionalKind = "conditional e-process"

// NewConditional returns a Conditional that has seen nothing.
func NewConditional(opt ConditionalOptions) (*Conditional, error) {
	if opt.Ratios == nil {
		opt.Ratios = CanaryRatios()
	}
	if opt.Null == 0 {
		opt.Null = 1
	}
	if err := opt.validate(); err != nil {
		return nil, err
	}
	opt.Ratios = append([]float64(nil), opt.Ratios...)
	return &Conditional{evidence: newEvidence(len(opt.Ratios)), opt: opt}, nil
}

func (o *ConditionalOptions) validate() error {
	if !(o.Null >= 1/mostRatio && o.Null <= mostRatio) {
		return fmt.Errorf("the null ratio is %v, it must be from %g to %g", o.Null, 1/mostRatio, mostRatio)
	}
	return checkRatios(o.Ratios, o.Null)
}

// maxRatios bounds the state, mostRatio keeps every factor within what a float64 holds.
const (
	maxRatios = 256
	mostRatio = 1e6
)

func checkRatios(ratios []float64, null float64) error {
	if len(ratios) == 0 || len(ratios) > maxRatios {
		return fmt.Errorf("%d ratios, there must be 1 to %d", len(ratios), maxRatios)
	}
	for _, r := range ratios {
		if !(r >= 1/mostRatio && r <= mostRatio) || r == null || (r > null) != (ratios[0] > null) {
			return fmt.Errorf("the ratio %v must be from %g to %g and on the same side of %v as the others", r, 1/mostRatio, mostRatio, null)
		}
	}
	return nil
}

// checkAssignment refuses an assignment that cannot have happened.
func checkAssignment(arm Arm, pi float64) error {
	switch {
	case arm > Canary:
		return fmt.Errorf("arm %d, it must be Control or Canary", arm)
	case !(pi >= 0 && pi <= 1):
		return fmt.Errorf("the probability of the canary is %v, it must be from 0 to 1", pi)
	case arm == Canary && pi == 0:
		return errors.New("a request fell on the canary that had probability 0 of it")
	case arm == Control && pi == 1:
		return errors.New("a request fell on the control that had probability 1 of the canary")
	}
	return nil
}

// Update notes one request: the arm it fell on, the probability pi with which it was sent to the canary,
// fixed before the outcome, and the outcome y, 1 for an event and 0 for none. What cannot be is an error, and changes
// nothing. At pi of 0 or 1 there is nothing to compare and nothing is learnt.
func (c *Conditional) Update(arm Arm, pi, y float64) error {
	if len(c.logs) == 0 {
		return errUnmade
	}
	if err := checkAssignment(arm, pi); err != nil {
		return err
	}
	if y != 0 && y != 1 {
		return fmt.Errorf("the outcome is %v, it must be 0 or 1", y)
	}
	c.n++
	if y == 0 {
		return nil
	}
	c.events++
	if pi == 0 || pi == 1 {
		return nil
	}
	c.prepare(pi)
	factors := c.other
	if arm == Canary {
		factors = c.canary
	}
	for g := range c.logs {
		c.logs[g] += factors[g]
	}
	c.settle()
	return nil
}

// prepare computes the logarithms of the factors at pi.
func (c *Conditional) prepare(pi float64) {
	if c.canary != nil && c.at == pi {
		return
	}
	if c.canary == nil {
		c.canary, c.other = make([]float64, len(c.logs)), make([]float64, len(c.logs))
	}
	c.at = pi
	null := pi*c.opt.Null + 1 - pi
	for g, r := range c.opt.Ratios {
		total := pi*r + 1 - pi
		c.canary[g] = math.Log(r / c.opt.Null * null / total)
		c.other[g] = math.Log(null / total)
	}
}

// N is the number of requests seen, Events the number of those that had the event.
func (c *Conditional) N() int64 { return c.n }

// Events is the number of requests that had the event.
func (c *Conditional) Events() int64 { return c.events }

type conditionalState struct {
	Kind   string    `json:"kind"`
	Ratios []float64 `json:"ratios"`
	Null   float64   `json:"null"`
	N      int64     `json:"n"`
	Events int64     `json:"events"`
	Logs   []float64 `json:"logs"`
	Peak   float64   `json:"peak"`
}

// MarshalJSON returns the state.
func (c *Conditional) MarshalJSON() ([]byte, error) {
	return json.Marshal(conditionalState{conditionalKind, c.opt.Ratios, c.opt.Null, c.n, c.events, c.logs, c.peak})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (c *Conditional) UnmarshalJSON(data []byte) error {
	var s conditionalState
	if err := decodeState(data, conditionalKind, &s); err != nil {
		return err
	}
	if s.Kind != conditionalKind {
		return badState(conditionalKind, "the kind", s.Kind)
	}
	out := Conditional{
		evidence: evidence{logs: s.Logs, peak: s.Peak}, n: s.N, events: s.Events,
		opt: ConditionalOptions{Ratios: s.Ratios, Null: s.Null},
	}
	if err := out.opt.validate(); err != nil {
		return fmt.Errorf("state of a %s: %w", conditionalKind, err)
	}
	if s.Events < 0 || s.N < s.Events {
		return badState(conditionalKind, "the number of events", s.Events)
	}
	if err := out.check(conditionalKind, len(s.Ratios)); err != nil {
		return err
	}
	if s.Events == 0 && (out.now != 0 || out.peak != 0) {
		return badState(conditionalKind, "evidence without events", out.now)
	}
	*c = out
	return nil
}
