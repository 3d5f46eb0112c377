package record

import (
	"math"
	"time"
)

// What an Evidence reports: values of Evidence.Kind.
const (
	EvidenceExchange = ""         // an exchange has ended
	EvidenceOutcome  = "outcome"  // something learnt later of an exchange: feedback, a late judge
	EvidenceSentinel = "sentinel" // a case of a critical regression suite was replayed
)

// Evidence is what a rollout or an experiment needs to know of one exchange: how it was assigned and what came of it,
// without any of its content. It is made of every exchange that a plan assigned, never of a sample. Times are seconds; nil
// means not known.
type Evidence struct {
	// ID is the exchange's. Evidence of kind outcome has that of the exchange it is about.
	ID   string `json:"id"`
	Kind string `json:"kind,omitempty"`
	// Time is when the request arrived; also for an outcome that was learnt later.
	Time    time.Time `json:"time"`
	Route   string    `json:"route"`
	Rollout string    `json:"rollout"` // name; empty for a tester's override, which is no evidence
	Stage   int       `json:"stage"`
	Variant string    `json:"variant"` // baseline, the variant's name, or VariantShadow
	// Propensity is the probability, fixed before the outcome, with which the exchange went to the candidate, whichever
	// arm it fell on: that of the variant, or 1 minus that of the baseline.
	Propensity float64 `json:"propensity"`
	// Unrouted says that another router shared out the requests and the probability is not known; it is then 0.
	Unrouted bool `json:"unrouted,omitempty"`
	// Unit is the keyed hash of what was assigned as one, 16 hex digits; empty when each request is a unit.
	Unit string `json:"unit,omitempty"`
	// Retries is how many times the client had sent this request before.
	Retries      int         `json:"retries,omitempty"`
	ErrorKind    FailureKind `json:"error_kind,omitempty"`
	Status       int         `json:"status,omitempty"`
	Latency      *float64    `json:"latency,omitempty"`
	TTFT         *float64    `json:"ttft,omitempty"`
	FinishReason string      `json:"finish_reason,omitempty"`
	Refused      bool        `json:"refused,omitempty"`
	OutputTokens *int        `json:"output_tokens,omitempty"`
	Cost         *float64    `json:"cost,omitempty"`
	// Scores are those that were made, each at most once by name.
	Scores []EvidenceScore `json:"scores,omitempty"`
	// Canceled says that the client went away before the answer ended.
	Canceled bool `json:"canceled,omitempty"`
	// Paired is the exchange of which this one, a shadow's, is a copy.
	Paired string `json:"paired,omitempty"`
	// Alone says of an exchange of a shadow stage that it has no copy, so that none need be waited for.
	Alone bool `json:"alone,omitempty"`
	// Case is the case of a sentinel suite that was replayed; Passed whether it passed, nil when that could not be told.
	Case   string `json:"case,omitempty"`
	Passed *bool  `json:"passed,omitempty"`
}

// EvidenceScore is an online score without what explains it. A score with neither Value nor Pass could not be made.
type EvidenceScore struct {
	Name  string   `json:"name"`
	Value *float64 `json:"value,omitempty"`
	Pass  *bool    `json:"pass,omitempty"`
}

// NewEvidence returns what x is evidence of; ok is false when no plan assigned it, or one elsewhere.
func NewEvidence(x *Exchange) (e Evidence, ok bool) {
	a := x.Assigned
	if a == nil || a.Rollout == "" || a.Elsewhere {
		return Evidence{}, false
	}
	e = outcomeOf(x)
	e.Rollout, e.Stage, e.Variant, e.Unit, e.Paired, e.Alone = a.Rollout, a.Stage, x.Variant, a.Unit, a.Pairs, a.Alone
	switch x.Variant {
	case "baseline":
		// Rounded, so that both arms of a stage have the same number.
		e.Propensity = math.Round((1-x.Propensity)*1e12) / 1e12
	case VariantShadow:
	default:
		e.Propensity = x.Propensity
	}
	return e, true
}

// UnroutedEvidence returns what x is evidence of when it is one of a variant that another router gave it.
func UnroutedEvidence(x *Exchange, rollout, variant, unit string) Evidence {
	e := outcomeOf(x)
	e.Rollout, e.Variant, e.Unit, e.Unrouted = rollout, variant, unit, true
	return e
}

// outcomeOf is what came of x, without how it was assigned.
func outcomeOf(x *Exchange) Evidence {
	e := Evidence{
		ID: x.ID, Time: x.Time, Route: x.Route, Retries: x.Retries,
		ErrorKind: x.ErrorKind, Status: x.Status, Latency: x.Latency, TTFT: x.TTFT, FinishReason: x.FinishReason, Refused: x.Refused,
		Cost: x.Cost, Canceled: x.ErrorKind == Canceled,
	}
	if x.Usage != nil {
		n := x.Usage.Completion
		e.OutputTokens = &n
	}
	for _, s := range x.Scores {
		// Candidates' content is kept more often than the baseline's: which scores there are must not depend on the variant.
		if (s.Value != nil || s.Pass != nil) && (x.Assigned == nil || !x.Assigned.Picked) {
			e.Scores = append(e.Scores, EvidenceScore{Name: s.Name, Value: s.Value, Pass: s.Pass})
		}
	}
	return e
}
