package compare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Label is how a snapshot is named in comparisons.
func Label(s *record.Snapshot) string { return s.Provider + " · " + s.Prompt }

// pairSnapshots says which snapshot of the base is compared with which of the head. First those with the same
// provider and prompt; then, when a flag chose the providers, those with the same prompt, and likewise for prompts;
// then the last one of each side. What is left over on one side alone is a warning, on both a mistake.
func pairSnapshots(base, head *Side, o *Options) (pairs []record.SnapshotPair, warnings []string, err error) {
	b, errB := choose(base, "base", o.BaseProvider, o.BasePrompt)
	h, errH := choose(head, "head", o.HeadProvider, o.HeadPrompt)
	var errs config.Errors
	errs.Append(config.Pos{}, errB)
	errs.Append(config.Pos{}, errH)
	if err := errs.Err(); err != nil {
		return nil, nil, err
	}
	match := func(same func(x, y *record.Snapshot) bool) {
		for i := 0; i < len(b); i++ {
			j := slices.IndexFunc(h, func(s *record.Snapshot) bool { return same(b[i], s) })
			if j < 0 {
				continue
			}
			pairs = append(pairs, record.SnapshotPair{Base: Label(b[i]), Head: Label(h[j]), BaseID: b[i].ID, HeadID: h[j].ID})
			b, h = slices.Delete(b, i, i+1), slices.Delete(h, j, j+1)
			i--
		}
	}
	match(func(x, y *record.Snapshot) bool { return x.Provider == y.Provider && x.Prompt == y.Prompt })
	if o.BaseProvider != "" || o.HeadProvider != "" {
		match(func(x, y *record.Snapshot) bool { return x.Prompt == y.Prompt })
	}
	if o.BasePrompt != "" || o.HeadPrompt != "" {
		match(func(x, y *record.Snapshot) bool { return x.Provider == y.Provider })
	}
	if len(b) == 1 && len(h) == 1 {
		match(func(_, _ *record.Snapshot) bool { return true })
	}
	if len(pairs) == 0 || len(b) > 0 && len(h) > 0 {
		return nil, nil, &config.Error{
			Problem: fmt.Sprintf("the snapshots cannot be paired: only in the base %s; only in the head %s", labels(b), labels(h)),
			Want:    "the same provider and prompt labels, or one of each side to compare",
			Hint:    "choose with --base-provider, --head-provider, --base-prompt and --head-prompt",
		}
	}
	for _, s := range b {
		warnings = append(warnings, fmt.Sprintf("%q is only in the base and is not compared", Label(s)))
	}
	for _, s := range h {
		warnings = append(warnings, fmt.Sprintf("%q is only in the head and is not compared", Label(s)))
	}
	return pairs, warnings, nil
}

// choose returns the snapshots that the flags leave.
func choose(s *Side, which, provider, prompt string) ([]*record.Snapshot, error) {
	var out []*record.Snapshot
	for i := range s.Run.Snapshots {
		one := &s.Run.Snapshots[i]
		if (provider == "" || one.Provider == provider) && (prompt == "" || one.Prompt == prompt) {
			out = append(out, one)
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	all := make([]*record.Snapshot, len(s.Run.Snapshots))
	for i := range all {
		all[i] = &s.Run.Snapshots[i]
	}
	e := &config.Error{Pos: config.Pos{Key: "--" + which + "-provider"}, Value: provider, Problem: s.Name + " has no such snapshot", Want: "one of " + labels(all)}
	switch {
	case provider == "" && prompt == "":
		return nil, &config.Error{Pos: config.Pos{File: s.Name}, Problem: "the run has no snapshot"}
	case provider == "":
		e.Key, e.Value = "--"+which+"-prompt", prompt
	case prompt != "":
		e.Value = provider + " · " + prompt
	}
	return nil, e
}

func labels(list []*record.Snapshot) string {
	if len(list) == 0 {
		return "none"
	}
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = fmt.Sprintf("%q", Label(s))
	}
	return strings.Join(names, ", ")
}
