package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// EWMA detects a gradual shift of the mean of observations that are standard normal without one, by their
// exponentially weighted mean E = (1 − Lambda)E + Lambda·z (Roberts 1959): alarm when |E| is above
// Width·√(Lambda/(2 − Lambda)), Width standard deviations of E in the long run. An EWMA is not safe for concurrent use.
type EWMA struct {
	alarm
	opt EWMAOptions
	e   float64
}

// EWMAOptions say how far back the mean looks and how far it may stray.
type EWMAOptions struct {
	Lambda float64 `json:"lambda"`
	Width  float64 `json:"width"`
}

const ewmaKind = "EWMA chart"

func (o *EWMAOptions) validate() error {
	if !(o.Lambda > 0 && o.Lambda <= 1) || !(o.Width > 0) || math.IsInf(o.Width, 0) {
		return fmt.Errorf("lambda is %v and the width %v, lambda must be above 0 and at most 1, the width finite and above 0", o.Lambda, o.Width)
	}
	return nil
}

// limit is what |E| may not be above.
func (o *EWMAOptions) limit() float64 { return o.Width * math.Sqrt(o.Lambda/(2-o.Lambda)) }

// NewEWMA returns a detector that has seen nothing.
func NewEWMA(opt EWMAOptions) (*EWMA, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	return &EWMA{opt: opt}, nil
}

// Update notes one standardised observation.
func (e *EWMA) Update(z float64) error {
	if !(e.opt.Width > 0) {
		return errUnmade
	}
	if !Finite(z) {
		return fmt.Errorf("the observation is %v, it must be a finite number", z)
	}
	// Rounding may not leave the range of a float64, which no state could hold.
	e.e = math.Max(-math.MaxFloat64, math.Min((1-e.opt.Lambda)*e.e+e.opt.Lambda*z, math.MaxFloat64))
	e.see(math.Abs(e.e) > e.opt.limit())
	return nil
}

// Statistic is the weighted mean.
func (e *EWMA) Statistic() float64 { return e.e }

// Reset starts again.
func (e *EWMA) Reset() { *e = EWMA{opt: e.opt} }

type ewmaState struct {
	Kind   string  `json:"kind"`
	Lambda float64 `json:"lambda"`
	Width  float64 `json:"width"`
	N      int64   `json:"n"`
	At     int64   `json:"alarm_at"`
	E      float64 `json:"e"`
}

// MarshalJSON returns the state.
func (e *EWMA) MarshalJSON() ([]byte, error) {
	return json.Marshal(ewmaState{ewmaKind, e.opt.Lambda, e.opt.Width, e.n, e.at, e.e})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (e *EWMA) UnmarshalJSON(data []byte) error {
	var s ewmaState
	if err := decodeState(data, ewmaKind, &s); err != nil {
		return err
	}
	if s.Kind != ewmaKind {
		return badState(ewmaKind, "the kind", s.Kind)
	}
	out := EWMA{alarm{s.N, s.At}, EWMAOptions{s.Lambda, s.Width}, s.E}
	if err := out.opt.validate(); err != nil {
		return fmt.Errorf("state of an %s: %w", ewmaKind, err)
	}
	if err := out.check(ewmaKind); err != nil {
		return err
	}
	if s.N == 0 && s.E != 0 || s.At == 0 && math.Abs(s.E) > out.opt.limit() {
		return badState(ewmaKind, "the mean", s.E)
	}
	*e = out
	return nil
}
