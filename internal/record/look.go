package record

import "github.com/telltale-llm/telltale/internal/verdict"

// Look is one decision of a gate that draws more repeats while it is undecided: what was seen, and what it
// was held to so that all looks together keep to the gate's alpha.
type Look struct {
	// Repeats is the number of answers per case behind the look.
	Repeats int `json:"samples_per_case"`
	// Time is the share of the planned information that the plan put before this look, 0 to 1; Spent the share
	// of alpha that may be spent by then.
	Time  float64 `json:"time"`
	Spent float64 `json:"alpha_spent"`
	// Level is the one-sided level of the bounds at this look.
	Level   float64         `json:"level"`
	Margins []LookMargin    `json:"margins"`
	Verdict verdict.Verdict `json:"verdict"`
}

// LookMargin is one margin at one look.
type LookMargin struct {
	Metric string `json:"metric"` // with its tag
	// Pair is the index into Comparison.Pairs.
	Pair   int      `json:"pair"`
	Diff   *float64 `json:"diff"`
	Stderr *float64 `json:"stderr"`
	// Bound is the worst difference that the data leave open at the look's level.
	Bound  *float64 `json:"bound"`
	PWorse *float64 `json:"p_worse"`
	// Needed is what PWorse had to be at most for the margin to be called regressed; 0 when it could not be.
	Needed  float64 `json:"p_needed"`
	Outcome string  `json:"outcome,omitempty"`
}
