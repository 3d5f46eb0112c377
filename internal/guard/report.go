package guard

import (
	"slices"
	"strings"
)

// Outcome is what became of an answer.
type Outcome uint8

// The outcomes.
const (
	Passed  Outcome = iota // byte for byte as it came
	Changed                // something was masked or repaired
	Blocked                // a refusal took its place
	Again                  // nothing was passed on: the model is to be asked again, see Verdict.Next
	Failed                 // the guard could not read it; an error took its place unless on_error is pass
)

func (o Outcome) String() string {
	return [...]string{"passed", "changed", "blocked", "again", "failed"}[o]
}

// Failure says why a guard could not do its work. It is used as a label.
type Failure string

// The failures.
const (
	FailEncoding  Failure = "encoding"  // compressed
	FailMalformed Failure = "malformed" // not the API's JSON
	FailTooLarge  Failure = "too_large" // more than max_answer has to be held
	FailBound     Failure = "bound"     // a phrase stretched with signs that are not seen
	FailCut       Failure = "cut"       // the answer ended early
	FailSchema    Failure = "schema"    // not what the schema says, and beyond repair
)

// Hit is what one filter found.
type Hit struct {
	Filter string `json:"filter"`
	Kind   string `json:"kind,omitempty"` // of personal data, or secret
	Count  int    `json:"count"`
}

// Report is what a guard did. It holds nothing of the text.
type Report struct {
	Guard   string  `json:"guard"`
	Version string  `json:"version,omitempty"`
	ID      string  `json:"id"`
	Outcome string  `json:"outcome"`
	Hits    []Hit   `json:"hits,omitempty"` // by filter and kind
	Failure Failure `json:"failure,omitempty"`
	// Repaired says that the answer was made to conform to the schema without asking again.
	Repaired bool `json:"repaired,omitempty"`
	// Asked says why the model was asked again: the filter's name, or schema; Model is the fallback it went to.
	Asked string `json:"asked,omitempty"`
	Model string `json:"model,omitempty"`
	// Held is the most text that was held back of a stream at one time, in bytes.
	Held int `json:"held,omitempty"`
}

// hit counts a finding.
func (r *Report) hit(filter, kind string) {
	i := slices.IndexFunc(r.Hits, func(h Hit) bool { return h.Filter == filter && h.Kind == kind })
	if i < 0 {
		i = len(r.Hits)
		r.Hits = append(r.Hits, Hit{Filter: filter, Kind: kind})
	}
	r.Hits[i].Count++
}

func (r *Report) sort() {
	slices.SortFunc(r.Hits, func(a, b Hit) int {
		if c := strings.Compare(a.Filter, b.Filter); c != 0 {
			return c
		}
		return strings.Compare(a.Kind, b.Kind)
	})
}

// Next is how the model is to be asked again: Retry changes the request.
type Next struct {
	Text  string // what it is told besides its system prompt; empty for nothing
	Model string // the model that is asked instead; empty for the same
}

// Verdict is what a guard says at the end of an answer.
type Verdict struct {
	Outcome Outcome
	// Status is the status to answer with, 0 for the upstream's. The content type is then application/json.
	Status int
	Next   Next // with Again
	Report Report

	tried tried
}

// tried is what has been tried for a call already, so that each is tried once.
type tried struct{ ask, model bool }
