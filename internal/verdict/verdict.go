// Package verdict holds the four answers telltale can give and how they combine.
//
// It is for every package that decides something: a scorer's sample, a gate, a run. It is not for
// scores; those are numbers and live in package record. Its one rule is to fail closed: the zero
// value is Undecided, and nothing combines to Pass unless at least one part passed and no part
// did anything else.
package verdict

import "fmt"

// Verdict is the outcome of a decision. The zero value is Undecided.
type Verdict uint8

// The four verdicts.
const (
	Undecided Verdict = iota // could not tell: no data, too little data, or a run cut short
	Pass                     // met what was asked
	Fail                     // did not meet what was asked
	Error                    // the judgement itself could not be carried out
)

var names = [...]string{"undecided", "pass", "fail", "error"}

// String returns the lower-case name.
func (v Verdict) String() string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// MarshalText writes the lower-case name.
func (v Verdict) MarshalText() ([]byte, error) {
	if int(v) >= len(names) {
		return nil, fmt.Errorf("verdict: %d is not a verdict", uint8(v))
	}
	return []byte(names[v]), nil
}

// UnmarshalText reads the lower-case name.
func (v *Verdict) UnmarshalText(b []byte) error {
	for i, n := range names {
		if n == string(b) {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("verdict: %q is not one of undecided, pass, fail, error", b)
}

// Decision is a verdict with its reason and the number that decided it.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Metric names the deciding quantity, such as "pass_rate"; empty if none.
	Metric string `json:"metric,omitempty"`
	// Value is the deciding number; nil when there was none to decide on.
	Value *float64 `json:"value,omitempty"`
	// Want is what was asked of it, such as ">= 0.95".
	Want   string `json:"want,omitempty"`
	Reason string `json:"reason"`
	// Outcome names the answer of a comparison with a baseline: regressed, not regressed or underpowered; empty
	// when there was no evidence, and for all other decisions.
	Outcome string `json:"outcome,omitempty"`
	// Snapshot labels what was decided on when a run has several snapshots; empty for the whole run.
	Snapshot string `json:"snapshot,omitempty"`
}

// Combine merges the decisions of one gate. A certain failure outranks an error, an error outranks
// doubt, and Pass needs every part to pass. The combination of nothing is Undecided.
func Combine(ds []Decision) Decision {
	if len(ds) == 0 {
		return Decision{Reason: "nothing was decided"}
	}
	rank := map[Verdict]int{Pass: 0, Undecided: 1, Error: 2, Fail: 3}
	worst := ds[0]
	for _, d := range ds[1:] {
		if rank[d.Verdict] > rank[worst.Verdict] {
			worst = d
		}
	}
	return worst
}
