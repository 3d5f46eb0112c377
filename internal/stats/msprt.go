package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// NormalMSPRT is the mixture likelihood ratio of a difference d, normal with that variance, against 0, with the
// alternatives drawn from N(0, tau²) (Robbins 1970; Johari, Koomen, Pekelis and Walsh 2022, "Always valid inference"):
//
//	Λ = √(V/(V + τ²)) exp(τ²d²/(2V(V + τ²)))
//
// lambda is +Inf above about e^709. ok is false unless variance and tau are finite and above 0 and d is finite.
func NormalMSPRT(d, variance, tau float64) (lambda float64, ok bool) {
	l, ok := logMSPRT(d, variance, tau)
	return math.Exp(l), ok
}

func logMSPRT(d, v, tau float64) (float64, bool) {
	if !Finite(d) || !(v > 0) || !(tau > 0) || math.IsInf(v, 0) || math.IsInf(tau, 0) {
		return 0, false
	}
	t2 := tau * tau
	l := 0.5*math.Log(v/(v+t2)) + t2*d*d/(2*v*(v+t2))
	return l, Finite(l)
}

// MSPRT watches the difference of two rates with the normal mixture above and unpooled variances, two-sided. It is
// here for comparison: it supposes constant rates and many observations, and its false alarms are not bounded when
// the base rate moves during a ramp. Rollouts decide with Conditional, Likelihood and Scores.
//
// An MSPRT is not safe for concurrent use. The zero value has no tau and refuses observations.
type MSPRT struct {
	tau  float64
	n, k [2]int64
	now  float64
	peak float64
}

const (
	msprtKind = "mixture sequential test"
	leastTau  = 1e-9
)

// NewMSPRT returns an MSPRT that has seen nothing, for differences of about tau.
func NewMSPRT(tau float64) (*MSPRT, error) {
	if !(tau >= leastTau && tau <= 1) {
		return nil, fmt.Errorf("tau is %v, it must be a difference of rates from %g to 1", tau, leastTau)
	}
	return &MSPRT{tau: tau}, nil
}

// Update notes one outcome, 0 or 1.
func (m *MSPRT) Update(arm Arm, y float64) error {
	if !(m.tau > 0) {
		return errUnmade
	}
	if arm > Canary {
		return checkAssignment(arm, 0.5)
	}
	if y != 0 && y != 1 {
		return fmt.Errorf("the outcome is %v, it must be 0 or 1", y)
	}
	m.n[arm]++
	m.k[arm] += int64(y)
	if l, ok := m.log(); ok {
		m.now = l
		m.peak = math.Max(m.peak, l)
	}
	return nil
}

// log is the statistic; there is none while an arm has no outcomes or no outcome differs from another in its arm.
func (m *MSPRT) log() (float64, bool) {
	var p, v [2]float64
	for a := range p {
		if m.n[a] == 0 {
			return 0, false
		}
		p[a] = float64(m.k[a]) / float64(m.n[a])
		v[a] = p[a] * (1 - p[a]) / float64(m.n[a])
		if v[a] == 0 {
			return 0, false
		}
	}
	return logMSPRT(p[Canary]-p[Control], v[0]+v[1], m.tau)
}

// LogLambda is the logarithm of the mixture likelihood ratio now, 0 while there is none.
func (m *MSPRT) LogLambda() float64 { return m.now }

// Rejects says whether the ratio has once been at 1/alpha or above.
func (m *MSPRT) Rejects(alpha float64) bool {
	return alpha > 0 && alpha < 1 && m.peak >= -math.Log(alpha)
}

type msprtState struct {
	Kind string   `json:"kind"`
	Tau  float64  `json:"tau"`
	N    [2]int64 `json:"n"`
	K    [2]int64 `json:"events"`
	Now  float64  `json:"now"`
	Peak float64  `json:"peak"`
}

// MarshalJSON returns the state.
func (m *MSPRT) MarshalJSON() ([]byte, error) {
	return json.Marshal(msprtState{msprtKind, m.tau, m.n, m.k, m.now, m.peak})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (m *MSPRT) UnmarshalJSON(data []byte) error {
	var s msprtState
	if err := decodeState(data, msprtKind, &s); err != nil {
		return err
	}
	if s.Kind != msprtKind {
		return badState(msprtKind, "the kind", s.Kind)
	}
	out := MSPRT{tau: s.Tau, n: s.N, k: s.K, now: s.Now, peak: s.Peak}
	if !(s.Tau >= leastTau && s.Tau <= 1) {
		return badState(msprtKind, "tau", s.Tau)
	}
	for a := range s.N {
		if s.K[a] < 0 || s.N[a] < s.K[a] {
			return badState(msprtKind, "the events", s.K[a])
		}
	}
	if l, ok := out.log(); ok && !almost(l, s.Now) || !ok && s.Now != 0 && s.N[0]+s.N[1] == 0 {
		return badState(msprtKind, "the ratio", s.Now)
	}
	if s.Peak < 0 || s.Peak < s.Now {
		return badState(msprtKind, "the peak", s.Peak)
	}
	*m = out
	return nil
}
