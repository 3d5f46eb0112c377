package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// Safe2x2 is the safe test of two equal Bernoulli rates (Turner, Ly and Grünwald 2024, "Generic E-variables for exact
// sequential k-sample tests", Statistics and Computing), two-sided, for data that comes in blocks whose sizes were
// fixed beforehand. With rates p_a and p_b estimated from the earlier blocks with Beta(Prior, Prior) priors and
// p₀ = (n_a p_a + n_b p_b)/(n_a + n_b), each block multiplies E by
//
//	p_a^{y_a}(1−p_a)^{n_a−y_a} p_b^{y_b}(1−p_b)^{n_b−y_b} / (p₀^{y_a+y_b}(1−p₀)^{n_a+n_b−y_a−y_b}).
//
// It supposes one rate per arm that does not move; rollouts decide with Conditional. A Safe2x2 is not safe for
// concurrent use.
type Safe2x2 struct {
	evidence
	prior float64
	n, k  [2]int64
}

// SafePrior is the prior that Turner et al. found to do well without knowledge of the rates.
const SafePrior = 0.18

const safeKind = "safe 2×2 test"

// NewSafe2x2 returns a Safe2x2 that has seen nothing; a prior of 0 stands for SafePrior.
func NewSafe2x2(prior float64) (*Safe2x2, error) {
	if prior == 0 {
		prior = SafePrior
	}
	if !(prior >= 1e-6 && prior <= 1e6) {
		return nil, fmt.Errorf("the prior is %v, it must be from 1e-6 to 1e6", prior)
	}
	return &Safe2x2{evidence: newEvidence(1), prior: prior}, nil
}

// Update notes one block: ka events among na observations of the one arm, kb among nb of the other.
func (s *Safe2x2) Update(ka, na, kb, nb int) error {
	if len(s.logs) == 0 {
		return errUnmade
	}
	if na < 1 || nb < 1 || ka < 0 || kb < 0 || ka > na || kb > nb {
		return fmt.Errorf("a block of %d among %d and %d among %d, each arm must have at least one observation and no more events than those", ka, na, kb, nb)
	}
	pa, pb := s.rate(0), s.rate(1)
	p0 := (float64(na)*pa + float64(nb)*pb) / float64(na+nb)
	s.logs[0] += logBinomial(ka, na, pa) + logBinomial(kb, nb, pb) - logBinomial(ka+kb, na+nb, p0)
	for a, block := range [2][2]int{{ka, na}, {kb, nb}} {
		s.k[a] += int64(block[0])
		s.n[a] += int64(block[1])
	}
	s.settle()
	return nil
}

func (s *Safe2x2) rate(a int) float64 {
	return (s.prior + float64(s.k[a])) / (2*s.prior + float64(s.n[a]))
}

// logBinomial is the log likelihood of p, without the coefficient.
func logBinomial(k, n int, p float64) float64 {
	return float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p)
}

type safeState struct {
	Kind  string    `json:"kind"`
	Prior float64   `json:"prior"`
	N     [2]int64  `json:"n"`
	K     [2]int64  `json:"events"`
	Logs  []float64 `json:"logs"`
	Peak  float64   `json:"peak"`
}

// MarshalJSON returns the state.
func (s *Safe2x2) MarshalJSON() ([]byte, error) {
	return json.Marshal(safeState{safeKind, s.prior, s.n, s.k, s.logs, s.peak})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (s *Safe2x2) UnmarshalJSON(data []byte) error {
	var st safeState
	if err := decodeState(data, safeKind, &st); err != nil {
		return err
	}
	if st.Kind != safeKind {
		return badState(safeKind, "the kind", st.Kind)
	}
	out := Safe2x2{evidence: evidence{logs: st.Logs, peak: st.Peak}, prior: st.Prior, n: st.N, k: st.K}
	if !(st.Prior >= 1e-6 && st.Prior <= 1e6) {
		return badState(safeKind, "the prior", st.Prior)
	}
	for a := range st.N {
		if st.K[a] < 0 || st.N[a] < st.K[a] || (st.N[a] == 0) != (st.N[0] == 0) {
			return badState(safeKind, "the events", st.K[a])
		}
	}
	if err := out.check(safeKind, 1); err != nil {
		return err
	}
	if st.N[0] == 0 && (out.now != 0 || out.peak != 0) {
		return badState(safeKind, "evidence without observations", out.now)
	}
	*s = out
	return nil
}
