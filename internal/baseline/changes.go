package baseline

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Changes is what a baseline has that the one before it had not. It says what is different, not whether it matters:
// that takes a comparison.
type Changes struct {
	// FromRun and ToRun are the ids of the runs.
	FromRun string `json:"from_run"`
	ToRun   string `json:"to_run"`
	// Snapshots holds a sentence for each snapshot that came, went or changed; Dataset and Recipes likewise.
	Snapshots []string       `json:"snapshots,omitempty"`
	Dataset   []string       `json:"dataset,omitempty"`
	Recipes   []string       `json:"recipes,omitempty"`
	Metrics   []MetricChange `json:"metrics,omitempty"`
	// CasesAdded, CasesRemoved and InputsChanged count cases; the rest counts samples that both have with the same input.
	CasesAdded    int `json:"cases_added"`
	CasesRemoved  int `json:"cases_removed"`
	InputsChanged int `json:"inputs_changed"`
	Samples       int `json:"samples"`
	Outputs       int `json:"outputs_changed"`
	PassToFail    int `json:"pass_to_fail"`
	FailToPass    int `json:"fail_to_pass"`
}

// MetricChange is a metric before and after; nil where there is none.
type MetricChange struct {
	Name string   `json:"name"`
	Kind string   `json:"kind,omitempty"`
	Unit string   `json:"unit,omitempty"`
	From *float64 `json:"from"`
	To   *float64 `json:"to"`
}

// Before is a baseline as it was before it was replaced, with what Changes needs of it in memory: about 100 bytes for a
// sample.
type Before struct {
	run     *record.Run
	inputs  map[string]uint64
	samples map[place]outcome
}

// place is where a sample stands in a run.
type place struct {
	id, provider, prompt string
	repeat               int
}

func placeOf(s *record.Sample) place { return place{s.Case, s.Provider, s.Prompt, s.Repeat} }

// outcome is what became of a sample.
type outcome struct {
	verdict verdict.Verdict
	output  string // hash
}

// Remember reads a baseline that is about to be replaced.
func Remember(s *Stored) (*Before, error) {
	b := &Before{run: s.run, inputs: s.inputs, samples: make(map[place]outcome, s.contents.Samples)}
	for l, err := range s.lines() {
		if err != nil {
			return nil, err
		}
		b.samples[placeOf(&l.sample)] = outcome{l.sample.Verdict, l.output}
	}
	return b, nil
}

// To says what to has that the former baseline had not.
func (b *Before) To(to *Stored) (*Changes, error) {
	c := &Changes{FromRun: b.run.ID, ToRun: to.run.ID, Snapshots: snapshotChanges(b.run.Snapshots, to.run.Snapshots), Recipes: recipeChanges(b.run.Scorers, to.run.Scorers)}
	if was, is := b.run.Dataset, to.run.Dataset; was.Hash != is.Hash {
		c.Dataset = append(c.Dataset, fmt.Sprintf("%d rows, %d cases; before %d rows, %d cases", is.Rows, is.Cases, was.Rows, was.Cases))
	}
	if was, is := b.run.Repeats, to.run.Repeats; was != is {
		c.Dataset = append(c.Dataset, fmt.Sprintf("%d samples of each case; before %d", is, was))
	}
	all := maps.Clone(b.run.Metrics)
	if all == nil {
		all = map[string]record.Metric{}
	}
	maps.Copy(all, to.run.Metrics)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, is := b.run.Metrics[name].Mean, to.run.Metrics[name].Mean
		if !reflect.DeepEqual(was, is) {
			c.Metrics = append(c.Metrics, MetricChange{name, all[name].Kind, all[name].Unit, was, is})
		}
	}
	for id, is := range to.inputs {
		if was, known := b.inputs[id]; !known {
			c.CasesAdded++
		} else if was != is {
			c.InputsChanged++
		}
	}
	for id := range b.inputs {
		if _, still := to.inputs[id]; !still {
			c.CasesRemoved++
		}
	}
	for l, err := range to.lines() {
		if err != nil {
			return nil, err
		}
		if was, known := b.samples[placeOf(&l.sample)]; known && b.inputs[l.sample.Case] == l.vars {
			c.count(was, outcome{l.sample.Verdict, l.output})
		}
	}
	return c, nil
}

// count adds a sample that both have.
func (c *Changes) count(was, is outcome) {
	c.Samples++
	if was.output != is.output {
		c.Outputs++
	}
	switch {
	case was.verdict == verdict.Pass && is.verdict == verdict.Fail:
		c.PassToFail++
	case was.verdict == verdict.Fail && is.verdict == verdict.Pass:
		c.FailToPass++
	}
}

func snapshotChanges(from, to []record.Snapshot) []string {
	var out []string
	label := func(s *record.Snapshot) cell { return cell{s.Provider, s.Prompt} }
	find := func(list []record.Snapshot, l cell) *record.Snapshot {
		for i := range list {
			if label(&list[i]) == l {
				return &list[i]
			}
		}
		return nil
	}
	for i := range to {
		s := &to[i]
		name := fmt.Sprintf("%q", s.Provider+" · "+s.Prompt)
		was := find(from, label(s))
		switch {
		case was == nil:
			out = append(out, name+" is new")
		case was.ID != s.ID:
			out = append(out, name+" changed: "+differences(was, s))
		}
	}
	for i := range from {
		if s := &from[i]; find(to, label(s)) == nil {
			out = append(out, fmt.Sprintf("%q is gone", s.Provider+" · "+s.Prompt))
		}
	}
	return out
}

// differences names the parts in which two snapshots differ.
func differences(a, b *record.Snapshot) string {
	var parts []string
	if a.Model != b.Model {
		parts = append(parts, fmt.Sprintf("model %s, was %s", b.Model, a.Model))
	}
	if a.Template != b.Template {
		parts = append(parts, "prompt template")
	}
	if !slices.Equal(a.Fingerprints, b.Fingerprints) {
		parts = append(parts, "served fingerprint")
	}
	keys := map[string]bool{}
	for k := range a.Params {
		keys[k] = true
	}
	for k := range b.Params {
		keys[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !reflect.DeepEqual(a.Params[k], b.Params[k]) {
			parts = append(parts, k)
		}
	}
	if len(parts) == 0 {
		return "its id"
	}
	out := parts[0]
	for _, p := range parts[1:] {
		out += ", " + p
	}
	return out
}

func recipeChanges(from, to map[string]string) []string {
	keys := map[string]bool{}
	for k := range from {
		keys[k] = true
	}
	for k := range to {
		keys[k] = true
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		a, inA := from[k]
		b, inB := to[k]
		switch {
		case !inA:
			out = append(out, fmt.Sprintf("%s is new: %s", k, b))
		case !inB:
			out = append(out, k+" is gone")
		case a != b:
			out = append(out, fmt.Sprintf("%s is made by another recipe: %s, was %s", k, b, a))
		}
	}
	return out
}
