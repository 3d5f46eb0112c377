// Package gate decides whether a run is good enough: from its metrics and the checks of the suite
// to one verdict with a reason.
//
// A check such as "low >= 0.9" is parsed into a Rule when the suite is read, and decided when the
// run has ended, for each snapshot on its own. The package fails closed: a metric that does not
// exist, has no data or is not a number, an interval too wide to tell, and observations that are
// missing and could tip the balance are Undecided, never Pass. It computes no metrics; package
// metric does. docs/gate.md explains the rules to users.
package gate

import (
	"fmt"
	"sort"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Facts is what a run has to show. Metrics belong to Summary: an observation that was planned and
// not made is counted in their Missing.
type Facts struct {
	// What is in quarantine is in neither: see record.Summary.Counted.
	Summary record.Summary
	// Metrics of the whole run.
	Metrics map[string]record.Metric
	// Tags has the metrics of the cases that have a tag.
	Tags map[string]map[string]record.Metric
	// Snapshots has the metrics of each snapshot when the run has several; every rule must then
	// hold for each of them.
	Snapshots []Snapshot
	// Regression is what is asked of the comparison with a baseline; nil when nothing is.
	Regression *Regression
}

// Ruling is the decision on a run with what follows from it.
type Ruling struct {
	record.Gate
	// Warnings are what was let through without enough evidence.
	Warnings []string
	// Look is the account of this decision when it is one of several; nil otherwise.
	Look *record.Look
	// Repeats is the number of answers per case that would tell more, when the gate is to draw them: all that
	// stands between the run and a pass is too little evidence. 0 when the decision stands.
	Repeats int
}

// Snapshot is the part of a run that one snapshot answered.
type Snapshot struct {
	Label   string
	Metrics map[string]record.Metric
	Tags    map[string]map[string]record.Metric
}

// Decide checks a run. Without rules every sample must pass. Whatever the rules say, a critical
// case that failed fails the run, one that is not proven leaves it undecided, and a run in which
// no sample got a verdict is an error. The parts are merged by verdict.Combine. A gate that has margins alone does
// not ask every sample to pass.
func Decide(rules []Rule, f Facts) Ruling {
	var checks []verdict.Decision
	reg := f.Regression
	margins := reg != nil && len(reg.Margins) > 0
	if len(rules) == 0 && !margins {
		checks = append(checks, everySample(f.Summary))
	}
	scopes := f.scopes()
	for i := range scopes {
		scopes[i].acceptErrors(rules)
	}
	for _, r := range rules {
		for i := range scopes {
			checks = append(checks, scopes[i].decide(r))
		}
	}
	var out Ruling
	if margins {
		var decided []verdict.Decision
		decided, out.Look = reg.decide(&f, func(label string) *Rule {
			for i := range scopes {
				if scopes[i].label == label || len(scopes) == 1 {
					return scopes[i].accepted
				}
			}
			return nil
		})
		checks = append(checks, decided...)
	}
	if (len(rules) > 0 || margins) && allErrors(f.Summary) {
		checks = append(checks, verdict.Decision{Verdict: verdict.Error,
			Metric: record.MetricErrorRate, Value: number(1), Reason: noAnswer(f.Summary)})
	}
	if s := f.Summary; s.Quarantined != nil && s.Planned <= 0 && (len(rules) > 0 || margins) {
		// Whatever the rules make of no data, a gate never passes on nothing.
		checks = append(checks, everySample(s))
	}
	if d, found := critical(f.Summary); found {
		checks = append(checks, d)
	}
	out.Gate = record.Gate{Decision: verdict.Combine(checks), Checks: checks}
	if out.Verdict == verdict.Pass && len(checks) > 1 {
		out.Reason = fmt.Sprintf("all %d checks passed; %s", len(checks), out.Reason)
	}
	if out.Look != nil {
		out.Look.Verdict = out.Verdict
	}
	out.follow(reg)
	return out
}

// follow draws the consequences of what was underpowered.
func (r *Ruling) follow(reg *Regression) {
	if reg == nil {
		return
	}
	more := false
	for _, d := range r.Checks {
		switch {
		case d.Verdict == verdict.Pass && d.Outcome == Underpowered:
			r.Warnings = append(r.Warnings, "the gate let pass what it could not tell: "+d.Reason)
		case d.Verdict == verdict.Pass:
		case d.Outcome == Underpowered:
			more = reg.OnUndecided == onExtend
		default:
			return // nothing that more repeats would change
		}
	}
	if next, ok := reg.Looks.Next(); ok && more {
		r.Repeats = next
	}
}

// scope is the run or one snapshot of it, as the rules see it.
type scope struct {
	label   string // empty for the whole run
	metrics map[string]record.Metric
	tags    map[string]map[string]record.Metric
	facts   *Facts
	// accepted is the strictest error_rate rule that passed: the share of observations it lets be
	// missing. nil when there is none.
	accepted *Rule
}

func (f *Facts) scopes() []scope {
	if len(f.Snapshots) < 2 {
		return []scope{{metrics: f.Metrics, tags: f.Tags, facts: f}}
	}
	out := make([]scope, len(f.Snapshots))
	for i, s := range f.Snapshots {
		out[i] = scope{label: s.Label, metrics: s.Metrics, tags: s.Tags, facts: f}
		if s.Label == "" {
			out[i].label = fmt.Sprintf("snapshot %d", i+1)
		}
	}
	return out
}

// acceptErrors finds the strictest error_rate rule that passes.
func (s *scope) acceptErrors(rules []Rule) {
	for _, r := range rules {
		if r.Metric != record.MetricErrorRate || r.Tag != "" || r.Op != LessEqual && r.Op != Less || r.Stat != Mean && r.Stat != High {
			continue
		}
		if s.decide(r).Verdict == verdict.Pass && (s.accepted == nil || r.Bar < s.accepted.Bar) {
			s.accepted = &r
		}
	}
}

// everySample is the gate of a suite that has none.
func everySample(s record.Summary) verdict.Decision {
	d := verdict.Decision{Metric: record.MetricPassRate, Want: "every sample passes"}
	unfinished := s.Planned - s.Finished
	judged := s.Passed + s.Failed
	if judged > 0 {
		d.Value = number(float64(s.Passed) / float64(judged))
	}
	switch {
	case s.Failed > 0:
		d.Verdict = verdict.Fail
		d.Reason = fmt.Sprintf("%d of %s failed", s.Failed, plural(s.Planned, "sample"))
	case allErrors(s):
		d.Verdict = verdict.Error
		d.Reason = noAnswer(s)
	case s.Errored > 0:
		d.Verdict = verdict.Error
		d.Reason = fmt.Sprintf("%d of %s ended in an error: %s", s.Errored, plural(s.Planned, "sample"), reasons(s.Errors))
	case s.Planned <= 0 && s.Quarantined != nil:
		d.Reason = "every sample is in quarantine: there is nothing to judge"
	case s.Planned <= 0:
		d.Reason = "there was no sample to judge"
	case unfinished > 0:
		d.Reason = fmt.Sprintf("%d of %s were not run%s", unfinished, plural(s.Planned, "sample"), stopped(s))
	case s.Undecided > 0:
		d.Reason = fmt.Sprintf("%d of %s have no verdict", s.Undecided, plural(s.Planned, "sample"))
	case s.Passed == s.Planned && s.Finished == s.Planned:
		d.Verdict = verdict.Pass
		d.Reason = fmt.Sprintf("%d of %s passed", s.Passed, plural(s.Planned, "sample"))
	default:
		d.Reason = fmt.Sprintf("the counts do not add up: %d planned, %d finished, %d passed", s.Planned, s.Finished, s.Passed)
	}
	return d
}

// critical decides on the critical cases; found is false when there is nothing against them.
func critical(s record.Summary) (d verdict.Decision, found bool) {
	d = verdict.Decision{Metric: "critical", Want: "every critical case passes", Value: number(float64(s.CriticalUnproved))}
	if n := len(s.CriticalFailed); n > 0 {
		d.Verdict = verdict.Fail
		d.Reason = fmt.Sprintf("critical %s failed: %s", word(n, "case", "cases"), list(s.CriticalFailed, 5))
		return d, true
	}
	if s.CriticalUnproved > 0 {
		d.Verdict = verdict.Undecided
		d.Reason = plural(s.CriticalUnproved, "critical sample") + " without a pass: in error, undecided or never run"
		return d, true
	}
	return d, false
}

func allErrors(s record.Summary) bool { return s.Finished > 0 && s.Errored >= s.Finished }

func noAnswer(s record.Summary) string {
	if s.Errors["scorer"] > 0 {
		return "no sample got a verdict: " + reasons(s.Errors)
	}
	return "no sample got an answer: " + reasons(s.Errors)
}

func stopped(s record.Summary) string {
	if s.Stopped == "" {
		return ""
	}
	return ": " + s.Stopped
}

// reasons lists error reasons with their counts, the most frequent first.
func reasons(errs map[string]int) string {
	if len(errs) == 0 {
		return "no reason was recorded"
	}
	keys := make([]string, 0, len(errs))
	for k := range errs {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if errs[keys[i]] != errs[keys[j]] {
			return errs[keys[i]] > errs[keys[j]]
		}
		return keys[i] < keys[j]
	})
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s %d×", k, errs[k])
	}
	return strings.Join(keys, ", ")
}
