package metric

import (
	"cmp"
	"slices"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Health tells flaky cases from broken ones by their repeats, and keeps the account of the quarantine. Samples pass
// through it once, in plan order with those of one case one after another; it keeps a bounded number of cases. It is
// not safe for concurrent use.
type Health struct {
	held  *record.Quarantines
	out   record.Flakiness
	id    string
	began bool
	// hold is the place of the entry that holds the case at hand, -1 for none.
	hold  int
	cells []record.Repeats // of the case at hand, by snapshot
	// flaky, broken and quarantined are cases to list, with the place of their snapshot.
	flaky, broken, quarantined []ailing
	n                          int
}

// ailing is a case that may be listed.
type ailing struct {
	record.CaseHealth
	snapshot, order int
}

// NewHealth returns a Health for a run of so many snapshots. list is the suite's quarantine, without counts.
func NewHealth(snapshots int, list []record.Quarantine) *Health {
	return &Health{held: record.NewQuarantines(list), out: record.Flakiness{Quarantine: slices.Clone(list)}, cells: make([]record.Repeats, snapshots)}
}

// Add takes one finished sample and says whether its case is in quarantine.
func (h *Health) Add(s *record.Sample, snapshot int) (quarantined bool) {
	if !h.began || s.Case != h.id {
		h.flush()
		h.began, h.id = true, s.Case
		h.hold = h.held.Find(s.Case, s.Tags)
	}
	Count(&h.cells[snapshot], Verdict(s))
	return h.hold >= 0 && !h.out.Quarantine[h.hold].Expired
}

// Count adds an answer of a verdict.
func Count(r *record.Repeats, v verdict.Verdict) {
	switch v {
	case verdict.Pass:
		r.Passed++
	case verdict.Fail:
		r.Failed++
	case verdict.Error:
		r.Errored++
	default:
		r.Undecided++
	}
}

// flush accounts for the case at hand.
func (h *Health) flush() {
	if !h.began {
		return
	}
	hold := h.held.Hold(h.hold)
	var all record.Repeats
	release := true
	for i, r := range h.cells {
		if r == (record.Repeats{}) {
			continue
		}
		h.cells[i] = record.Repeats{}
		all.Passed, all.Failed, all.Errored, all.Undecided = all.Passed+r.Passed, all.Failed+r.Failed, all.Errored+r.Errored, all.Undecided+r.Undecided
		release = release && r.State() == record.HealthSteady
		h.n++
		h.note(r, i, hold)
	}
	if h.hold < 0 {
		return
	}
	q := &h.out.Quarantine[h.hold]
	q.Cases++
	switch {
	case all.Judged() == 0:
		q.Open++
	case all.Failed == 0:
		q.Passed++
	case all.Passed == 0:
		q.Failed++
	default:
		q.Mixed++
	}
	if release {
		q.Release++
	}
}

// note counts a case by its state and keeps it where it may be listed.
func (h *Health) note(r record.Repeats, snapshot int, hold *record.Hold) {
	one := func() ailing {
		a := ailing{CaseHealth: record.CaseHealth{Case: h.id, Repeats: r, State: r.State(), Quarantine: hold}, snapshot: snapshot, order: h.n}
		a.Rate, a.Low, a.High = Flake(r)
		return a
	}
	var list *[]ailing
	switch r.State() {
	case record.HealthFlaky:
		h.out.Flaky++
		list = &h.flaky
	case record.HealthBroken:
		h.out.Broken++
		if len(h.broken) < record.MaxHealth {
			list = &h.broken
		}
	case record.HealthSteady:
		h.out.Steady++
	default:
		h.out.Unknown++
	}
	if hold != nil && !hold.Expired {
		list = nil
		if len(h.quarantined) < record.MaxQuarantined {
			list = &h.quarantined
		}
	}
	if list == nil {
		return
	}
	*list = append(*list, one())
	// The worst are kept, and as many again before they are chosen anew, so that a case costs little.
	if len(h.flaky) >= 2*record.MaxHealth {
		worstFirst(h.flaky)
		h.flaky = h.flaky[:record.MaxHealth]
	}
}

// worstFirst sorts by the rate; of equal ones the surer comes first.
func worstFirst(list []ailing) {
	slices.SortFunc(list, func(a, b ailing) int {
		return cmp.Or(cmp.Compare(*b.Rate, *a.Rate), cmp.Compare(*b.Low, *a.Low), cmp.Compare(a.order, b.order))
	})
}

// Flake is the flake rate of repeats with its interval; nil below two verdicts.
func Flake(r record.Repeats) (rate, low, high *float64) {
	x, i, ok := stats.FlakeRate(r.Passed, r.Failed, stats.Level)
	if !ok {
		return nil, nil, nil
	}
	return &x, &i.Low, &i.High
}

// Finish returns the account of all samples. ids names the snapshots, for a run that has several; it may be shorter.
func (h *Health) Finish(ids []string) *record.Flakiness {
	h.flush()
	h.began = false
	worstFirst(h.flaky)
	out := h.out
	out.Quarantine = slices.Clone(h.out.Quarantine)
	ill := slices.Concat(h.flaky, h.broken)
	for _, a := range slices.Concat(ill[:min(len(ill), record.MaxHealth)], h.quarantined) {
		if a.snapshot < len(ids) {
			a.Snapshot = ids[a.snapshot]
		}
		out.Cases = append(out.Cases, a.CaseHealth)
	}
	return &out
}
