package record

import (
	"slices"
	"strings"
	"time"
)

// Flakiness is what repeats say of single cases, and what is under quarantine. A case is counted once for each
// snapshot that was asked it.
type Flakiness struct {
	// Flaky cases both passed and failed. Broken ones failed twice or more and never passed. Steady ones passed every
	// repeat, of two or more. Unknown are the others: fewer than two verdicts, or a pass beside errors.
	Flaky   int `json:"flaky"`
	Broken  int `json:"broken"`
	Steady  int `json:"steady"`
	Unknown int `json:"unknown"`
	// Cases are the flaky ones, highest rate first, then the broken ones in the order of the plan, at most MaxHealth of
	// them; and the cases under quarantine, at most MaxQuarantined.
	Cases []CaseHealth `json:"cases,omitempty"`
	// Quarantine has an account of each entry of the suite's list, in its order.
	Quarantine []Quarantine `json:"quarantine,omitempty"`
}

// The bounds of Flakiness.Cases. Only an entry for a tag can reach the second.
const (
	MaxHealth      = 200
	MaxQuarantined = 1000
)

// The states of a case.
const (
	HealthSteady  = "steady"
	HealthFlaky   = "flaky"
	HealthBroken  = "broken"
	HealthUnknown = "unknown"
)

// CaseHealth counts the verdicts of one case's repeats by one snapshot.
type CaseHealth struct {
	Case     string `json:"case"`
	Snapshot string `json:"snapshot,omitempty"`
	Repeats
	// Rate is the flake rate: the chance that two answers to the case get different verdicts, 0 to 0.5,
	// with its 95% interval; nil below two verdicts.
	Rate *float64 `json:"rate,omitempty"`
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	// State is steady, flaky, broken or unknown.
	State string `json:"state"`
	// Quarantine is what holds the case; nil when nothing does.
	Quarantine *Hold `json:"quarantine,omitempty"`
}

// Repeats counts answers by verdict.
type Repeats struct {
	Passed    int `json:"passed"`
	Failed    int `json:"failed"`
	Errored   int `json:"errored,omitempty"`
	Undecided int `json:"undecided,omitempty"`
}

// Judged counts the answers with a verdict.
func (r Repeats) Judged() int { return r.Passed + r.Failed }

// State is the state of a case with these repeats. Errors and answers without a verdict never make one steady.
func (r Repeats) State() string {
	switch {
	case r.Passed > 0 && r.Failed > 0:
		return HealthFlaky
	case r.Failed > 1:
		return HealthBroken
	case r.Passed > 1 && r.Errored == 0 && r.Undecided == 0:
		return HealthSteady
	}
	return HealthUnknown
}

// Hold says until when and why a case does not count.
type Hold struct {
	// Until is a date, YYYY-MM-DD: the last day in UTC on which it holds.
	Until  string `json:"until"`
	Reason string `json:"reason"`
	// Expired says that the day had passed, so that the case counts.
	Expired bool `json:"expired,omitempty"`
}

// Expire sets Expired as it is at the time now.
func (h *Hold) Expire(now time.Time) { h.Expired = now.UTC().Format(time.DateOnly) > h.Until }

// Quarantine is one entry of a suite's quarantine, and what became of its cases: a case under several entries belongs
// to the first that holds, or else to the first. Cases of all verdicts add up to Cases.
type Quarantine struct {
	// Case is an id, or tag=NAME for the cases that have a tag.
	Case string `json:"case"`
	Hold
	Cases int `json:"cases"`
	// Passed cases passed with every answer that was judged, Failed ones failed with each, Mixed did both. Open
	// ones have no verdict.
	Passed int `json:"passed"`
	Failed int `json:"failed"`
	Mixed  int `json:"mixed,omitempty"`
	Open   int `json:"open,omitempty"`
	// Release counts cases that every snapshot passed in all repeats, of two or more, with no error.
	Release int `json:"release,omitempty"`
}

// Quarantines finds what holds a case. Its methods may be called at the same time, and on nil.
type Quarantines struct {
	list []Quarantine
	ids  map[string][]int
	tags map[string][]int
}

// NewQuarantines returns the entries of a list by what they name; nil when there are none.
func NewQuarantines(list []Quarantine) *Quarantines {
	if len(list) == 0 {
		return nil
	}
	q := &Quarantines{list: list, ids: map[string][]int{}, tags: map[string][]int{}}
	for i := range list {
		if tag, ok := strings.CutPrefix(list[i].Case, "tag="); ok {
			q.tags[tag] = append(q.tags[tag], i)
		}
		// An id may look like a tag.
		q.ids[list[i].Case] = append(q.ids[list[i].Case], i)
	}
	return q
}

// Find returns the place in the list of the entry that a case belongs to, -1 for none.
func (q *Quarantines) Find(id string, tags []string) int {
	if q == nil {
		return -1
	}
	found := -1
	better := func(i int) {
		if found < 0 || q.list[found].Expired && !q.list[i].Expired || q.list[found].Expired == q.list[i].Expired && i < found {
			found = i
		}
	}
	for _, i := range q.ids[id] {
		better(i)
	}
	if len(q.tags) > 0 {
		for _, tag := range tags {
			for _, i := range q.tags[tag] {
				better(i)
			}
		}
	}
	return found
}

// Named returns the places of all entries that name a case.
func (q *Quarantines) Named(id string, tags []string) []int {
	if q == nil {
		return nil
	}
	out := slices.Clone(q.ids[id])
	for _, tag := range tags {
		for _, i := range q.tags[tag] {
			if !slices.Contains(out, i) {
				out = append(out, i)
			}
		}
	}
	return out
}

// Hold returns what the entry at a place of the list says, nil for -1.
func (q *Quarantines) Hold(at int) *Hold {
	if q == nil || at < 0 {
		return nil
	}
	h := q.list[at].Hold
	return &h
}

// Holds says whether the case is out of what counts.
func (q *Quarantines) Holds(id string, tags []string) bool {
	at := q.Find(id, tags)
	return at >= 0 && !q.list[at].Expired
}

// Quarantines finds what holds a case of the run.
func (f *Flakiness) Quarantines() *Quarantines {
	if f == nil {
		return nil
	}
	return NewQuarantines(f.Quarantine)
}
