package rollout

import (
	"slices"

	"github.com/telltale-llm/telltale/internal/record"
)

// sentinels are the latest results of a critical regression suite, by case. They are deterministic evidence and come
// before everything else: a case that the candidate fails and the baseline does not withdraws the candidate.
type sentinels struct {
	Cases map[string]result `json:"cases,omitempty"`
	// Passed is how many results of the candidate passed in this stage.
	Passed int64 `json:"passed,omitempty"`
}

// result is the latest of a case: nil for none.
type result struct {
	Baseline  *bool `json:"baseline,omitempty"`
	Candidate *bool `json:"candidate,omitempty"`
}

// mostCases bounds the cases that are remembered, mostCase the length of a name.
const (
	mostCases = 256
	mostCase  = 128
)

func (s *State) sentinel(e *record.Evidence) {
	name := e.Case
	if len(name) > mostCase {
		name = name[:mostCase]
	}
	c, known := s.Sentinels.Cases[name]
	if !known && len(s.Sentinels.Cases) >= mostCases {
		s.refuse(RefusedFull)
		return
	}
	if s.Sentinels.Cases == nil {
		s.Sentinels.Cases = map[string]result{}
	}
	var passed *bool
	if e.Passed != nil {
		passed = new(*e.Passed)
	}
	if e.Variant == s.Candidate.Name {
		c.Candidate = passed
		if passed != nil && *passed {
			s.Sentinels.Passed++
		}
	} else {
		c.Baseline = passed
	}
	s.Sentinels.Cases[name] = c
}

// failing returns the cases that the candidate alone fails, and those that both fail, sorted.
func (t *sentinels) failing() (alone, both []string) {
	for name, c := range t.Cases {
		if c.Candidate == nil || *c.Candidate {
			continue
		}
		if c.Baseline != nil && !*c.Baseline {
			both = append(both, name)
		} else {
			alone = append(alone, name)
		}
	}
	slices.Sort(alone)
	slices.Sort(both)
	return alone, both
}

// satisfied says whether every case of the candidate's has passed, and one did in this stage.
func (t *sentinels) satisfied() bool {
	for _, c := range t.Cases {
		if c.Candidate == nil || !*c.Candidate {
			return false
		}
	}
	return t.Passed > 0
}
