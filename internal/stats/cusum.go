package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// BernoulliCUSUM detects a rise of a known event rate From to To in a stream of outcomes (Page 1954; Reynolds and
// Stoumbos 1999):
//
//	S = max(0, S) + ln(P(y|To)/P(y|From)),  alarm when S ≥ Threshold.
//
// Among tests with that mean time between false alarms it has the shortest delay, in the worst case, of a rise to To (Moustakides 1986).
// CalibrateBernoulliCUSUM gives the threshold for a wanted mean time. A BernoulliCUSUM is not safe for concurrent use.
type BernoulliCUSUM struct {
	alarm
	opt  BernoulliCUSUMOptions
	s    float64
	zero int64
}

// BernoulliCUSUMOptions say what change is looked for.
type BernoulliCUSUMOptions struct {
	From      float64 `json:"from"`
	To        float64 `json:"to"`
	Threshold float64 `json:"threshold"`
}

const bernoulliKind = "Bernoulli CUSUM"

func (o *BernoulliCUSUMOptions) validate() error {
	if !(o.From > 0 && o.From < o.To && o.To < 1) {
		return fmt.Errorf("a rise from the rate %v to %v, both must be between 0 and 1 and the second the greater", o.From, o.To)
	}
	if !(o.Threshold > 0) || math.IsInf(o.Threshold, 0) {
		return fmt.Errorf("the threshold is %v, it must be a finite number above 0", o.Threshold)
	}
	return nil
}

// NewBernoulliCUSUM returns a detector that has seen nothing.
func NewBernoulliCUSUM(opt BernoulliCUSUMOptions) (*BernoulliCUSUM, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	return &BernoulliCUSUM{opt: opt}, nil
}

// Update notes one outcome, 0 or 1.
func (c *BernoulliCUSUM) Update(y float64) error {
	if !(c.opt.Threshold > 0) {
		return errUnmade
	}
	if y != 0 && y != 1 {
		return fmt.Errorf("the outcome is %v, it must be 0 or 1", y)
	}
	if c.s <= 0 {
		c.s, c.zero = 0, c.n
	}
	if y == 1 {
		c.s += math.Log(c.opt.To / c.opt.From)
	} else {
		c.s += math.Log((1 - c.opt.To) / (1 - c.opt.From))
	}
	c.see(c.s >= c.opt.Threshold)
	return nil
}

// Statistic is S, at least 0.
func (c *BernoulliCUSUM) Statistic() float64 { return math.Max(0, c.s) }

// ChangeAfter is the number of observations before the change, as the statistic's last time at 0 estimates it.
func (c *BernoulliCUSUM) ChangeAfter() int64 {
	if c.s <= 0 {
		return c.n
	}
	return c.zero
}

// Reset starts again.
func (c *BernoulliCUSUM) Reset() { *c = BernoulliCUSUM{opt: c.opt} }

type bernoulliState struct {
	Kind string  `json:"kind"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
	H    float64 `json:"threshold"`
	N    int64   `json:"n"`
	At   int64   `json:"alarm_at"`
	Zero int64   `json:"zero_at"`
	S    float64 `json:"s"`
}

// MarshalJSON returns the state.
func (c *BernoulliCUSUM) MarshalJSON() ([]byte, error) {
	return json.Marshal(bernoulliState{bernoulliKind, c.opt.From, c.opt.To, c.opt.Threshold, c.n, c.at, c.zero, c.s})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (c *BernoulliCUSUM) UnmarshalJSON(data []byte) error {
	var s bernoulliState
	if err := decodeState(data, bernoulliKind, &s); err != nil {
		return err
	}
	if s.Kind != bernoulliKind {
		return badState(bernoulliKind, "the kind", s.Kind)
	}
	out := BernoulliCUSUM{alarm{s.N, s.At}, BernoulliCUSUMOptions{s.From, s.To, s.H}, s.S, s.Zero}
	if err := out.opt.validate(); err != nil {
		return fmt.Errorf("state of a %s: %w", bernoulliKind, err)
	}
	if err := out.check(bernoulliKind); err != nil {
		return err
	}
	if s.Zero < 0 || s.Zero > s.N || s.N == 0 && s.S != 0 {
		return badState(bernoulliKind, "the last time at 0", s.Zero)
	}
	if least := math.Log((1 - s.To) / (1 - s.From)); s.S < least && !almost(s.S, least) || s.S > float64(s.N)*math.Log(s.To/s.From)*(1+1e-9) || s.S >= s.H && s.At == 0 {
		return badState(bernoulliKind, "the statistic", s.S)
	}
	*c = out
	return nil
}

// NormalCUSUM detects a shift of the mean, up or down, of observations that are standard normal without one:
//
//	S⁺ = max(0, S⁺ + z − K),  S⁻ = max(0, S⁻ − z − K),  alarm when either is above Threshold.
//
// K is half the shift that is to be found soonest, in standard deviations. A NormalCUSUM is not safe for concurrent use.
type NormalCUSUM struct {
	alarm
	opt      NormalCUSUMOptions
	up, down float64
}

// NormalCUSUMOptions say what shift is looked for.
type NormalCUSUMOptions struct {
	K         float64 `json:"k"`
	Threshold float64 `json:"threshold"`
}

const normalKind = "normal CUSUM"

func (o *NormalCUSUMOptions) validate() error {
	if !(o.K >= 0) || math.IsInf(o.K, 0) || !(o.Threshold > 0) || math.IsInf(o.Threshold, 0) {
		return fmt.Errorf("k is %v and the threshold %v, they must be finite, k at least 0 and the threshold above 0", o.K, o.Threshold)
	}
	return nil
}

// NewNormalCUSUM returns a detector that has seen nothing.
func NewNormalCUSUM(opt NormalCUSUMOptions) (*NormalCUSUM, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	return &NormalCUSUM{opt: opt}, nil
}

// Update notes one standardised observation.
func (c *NormalCUSUM) Update(z float64) error {
	if !(c.opt.Threshold > 0) {
		return errUnmade
	}
	if !Finite(z) {
		return fmt.Errorf("the observation is %v, it must be a finite number", z)
	}
	// The cap keeps a state writable whatever is fed; it is far beyond any threshold.
	c.up = math.Min(math.Max(0, c.up+z-c.opt.K), math.MaxFloat64)
	c.down = math.Min(math.Max(0, c.down-z-c.opt.K), math.MaxFloat64)
	c.see(c.up > c.opt.Threshold || c.down > c.opt.Threshold)
	return nil
}

// Statistic is S⁺ and S⁻.
func (c *NormalCUSUM) Statistic() (up, down float64) { return c.up, c.down }

// Reset starts again.
func (c *NormalCUSUM) Reset() { *c = NormalCUSUM{opt: c.opt} }

type normalState struct {
	Kind string  `json:"kind"`
	K    float64 `json:"k"`
	H    float64 `json:"threshold"`
	N    int64   `json:"n"`
	At   int64   `json:"alarm_at"`
	Up   float64 `json:"up"`
	Down float64 `json:"down"`
}

// MarshalJSON returns the state.
func (c *NormalCUSUM) MarshalJSON() ([]byte, error) {
	return json.Marshal(normalState{normalKind, c.opt.K, c.opt.Threshold, c.n, c.at, c.up, c.down})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (c *NormalCUSUM) UnmarshalJSON(data []byte) error {
	var s normalState
	if err := decodeState(data, normalKind, &s); err != nil {
		return err
	}
	if s.Kind != normalKind {
		return badState(normalKind, "the kind", s.Kind)
	}
	out := NormalCUSUM{alarm{s.N, s.At}, NormalCUSUMOptions{s.K, s.H}, s.Up, s.Down}
	if err := out.opt.validate(); err != nil {
		return fmt.Errorf("state of a %s: %w", normalKind, err)
	}
	if err := out.check(normalKind); err != nil {
		return err
	}
	if s.Up < 0 || s.Down < 0 || s.N == 0 && (s.Up != 0 || s.Down != 0) || s.At == 0 && (s.Up > s.H || s.Down > s.H) {
		return badState(normalKind, "the statistic", []float64{s.Up, s.Down})
	}
	*c = out
	return nil
}
