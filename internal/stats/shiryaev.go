package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// ShiryaevRoberts is an e-detector of a rise of a known event rate by an unknown factor: for each odds ratio ρ_g of
// a grid R_g = (1 + R_g)Λ_g with Λ_g the likelihood ratio of one outcome, and alarm when the mean of R_g reaches
// Threshold. Without a change the mean less the number of outcomes is a martingale, so the mean time to a
// false alarm is at least Threshold outcomes, for any grid and as long as the rate, given the past, is at most Baseline
// (Roberts 1966; Shin, Ramdas and Rinaldo 2024, "E-detectors", New England Journal of Statistics in Data Science).
//
// A ShiryaevRoberts is not safe for concurrent use.
type ShiryaevRoberts struct {
	alarm
	opt ShiryaevRobertsOptions
	r   []float64
}

// ShiryaevRobertsOptions say what change is looked for.
type ShiryaevRobertsOptions struct {
	// Baseline is the rate without a change.
	Baseline float64 `json:"baseline"`
	// Ratios are odds ratios above 1; nil for CanaryRatios.
	Ratios []float64 `json:"ratios"`
	// Threshold is the least mean number of outcomes to a false alarm.
	Threshold float64 `json:"threshold"`
}

const (
	shiryaevKind = "Shiryaev–Roberts detector"
	// mostR keeps a state writable however long a detector runs on after its alarm.
	mostR = 1e300
)

// NewShiryaevRoberts returns a detector that has seen nothing.
func NewShiryaevRoberts(opt ShiryaevRobertsOptions) (*ShiryaevRoberts, error) {
	if opt.Ratios == nil {
		opt.Ratios = CanaryRatios()
	}
	if err := opt.validate(); err != nil {
		return nil, err
	}
	opt.Ratios = append([]float64(nil), opt.Ratios...)
	return &ShiryaevRoberts{opt: opt, r: make([]float64, len(opt.Ratios))}, nil
}

func (o *ShiryaevRobertsOptions) validate() error {
	if !(o.Baseline > 0 && o.Baseline < 1) {
		return fmt.Errorf("the baseline rate is %v, it must be between 0 and 1", o.Baseline)
	}
	if !(o.Threshold >= 1 && o.Threshold < mostR) {
		return fmt.Errorf("the threshold is %v, it must be a finite number of at least 1", o.Threshold)
	}
	if len(o.Ratios) > 0 && !(o.Ratios[0] > 1) {
		return fmt.Errorf("the odds ratio %v must be above 1", o.Ratios[0])
	}
	return checkRatios(o.Ratios, 1)
}

// Update notes one outcome, 0 or 1.
func (s *ShiryaevRoberts) Update(y float64) error {
	if len(s.r) == 0 {
		return errUnmade
	}
	if y != 0 && y != 1 {
		return fmt.Errorf("the outcome is %v, it must be 0 or 1", y)
	}
	p := s.opt.Baseline
	for g, rho := range s.opt.Ratios {
		ratio := 1 / (1 - p + rho*p)
		if y == 1 {
			ratio *= rho
		}
		s.r[g] = math.Min((1+s.r[g])*ratio, mostR)
	}
	s.see(s.Statistic() >= s.opt.Threshold)
	return nil
}

// Statistic is the mean of R_g.
func (s *ShiryaevRoberts) Statistic() float64 {
	sum := 0.0
	for _, r := range s.r {
		sum += r / float64(len(s.r))
	}
	return sum
}

// Reset starts again.
func (s *ShiryaevRoberts) Reset() {
	*s = ShiryaevRoberts{opt: s.opt, r: make([]float64, len(s.r))}
}

type shiryaevState struct {
	Kind      string    `json:"kind"`
	Baseline  float64   `json:"baseline"`
	Ratios    []float64 `json:"ratios"`
	Threshold float64   `json:"threshold"`
	N         int64     `json:"n"`
	At        int64     `json:"alarm_at"`
	R         []float64 `json:"r"`
}

// MarshalJSON returns the state.
func (s *ShiryaevRoberts) MarshalJSON() ([]byte, error) {
	return json.Marshal(shiryaevState{shiryaevKind, s.opt.Baseline, s.opt.Ratios, s.opt.Threshold, s.n, s.at, s.r})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (s *ShiryaevRoberts) UnmarshalJSON(data []byte) error {
	var st shiryaevState
	if err := decodeState(data, shiryaevKind, &st); err != nil {
		return err
	}
	if st.Kind != shiryaevKind {
		return badState(shiryaevKind, "the kind", st.Kind)
	}
	out := ShiryaevRoberts{alarm{st.N, st.At}, ShiryaevRobertsOptions{st.Baseline, st.Ratios, st.Threshold}, st.R}
	if err := out.opt.validate(); err != nil {
		return fmt.Errorf("state of a %s: %w", shiryaevKind, err)
	}
	if err := out.check(shiryaevKind); err != nil {
		return err
	}
	if len(st.R) != len(st.Ratios) {
		return badState(shiryaevKind, "the number of parts", len(st.R))
	}
	for _, r := range st.R {
		if !(r >= 0 && r <= mostR) || st.N == 0 && r != 0 {
			return badState(shiryaevKind, "a part", r)
		}
	}
	if st.At == 0 && out.Statistic() >= st.Threshold {
		return badState(shiryaevKind, "a statistic without alarm", out.Statistic())
	}
	*s = out
	return nil
}
