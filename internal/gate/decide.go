package gate

import (
	"errors"
	"fmt"
	"math"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// reading is what a rule looks at: the value, and the range it would lie in whatever the missing
// observations were. For low and high the range also has the interval in it, so that the rule
// passes when all of the range meets the bar, fails when none of it does, and is else undecided.
type reading struct {
	value    float64
	low      float64
	high     float64
	interval bool // the range is one of evidence, not of missing observations alone
	bounded  bool // the missing observations were allowed for
}

// decide answers one rule in one scope.
func (s *scope) decide(r Rule) verdict.Decision {
	d := verdict.Decision{Metric: r.Name(), Want: r.Text, Snapshot: s.label}
	if r.Tag == "" {
		s.answer(r, &d)
	} else {
		s.answerTag(r, &d)
	}
	if s.label != "" {
		d.Reason = s.label + ": " + d.Reason
	}
	return d
}

// answerTag answers a rule for the cases that have a tag. Their metrics count what was planned for
// them and not run as missing, so that the run as a whole says no more about them.
func (s *scope) answerTag(r Rule, d *verdict.Decision) {
	metrics, ok := s.tags[r.Tag]
	if !ok {
		d.Reason = fmt.Sprintf("no case has the tag %q", r.Tag)
		return
	}
	part := scope{metrics: metrics, facts: &Facts{Metrics: metrics}, accepted: s.accepted}
	part.answer(r, d)
	d.Reason = fmt.Sprintf("tag %s: %s", r.Tag, d.Reason)
}

func (s *scope) answer(r Rule, d *verdict.Decision) {
	m, ok := s.metrics[r.Metric]
	if !ok {
		d.Reason = s.unknown(r.Metric)
		return
	}
	if r.Stat != N && r.Stat != Count && !unitFits(r.Unit, m.Unit) {
		d.Verdict = verdict.Error
		d.Reason = fmt.Sprintf("%s is measured %s, and the bar %q is in %s", r.Metric, inUnit(m.Unit), r.Text, r.Unit)
		return
	}
	if e, ok := errors.AsType[*config.Error](r.Fits(m)); ok {
		d.Verdict = verdict.Error
		d.Reason = fmt.Sprintf("%s is a share, and %q %s", r.Metric, r.Text, e.Problem)
		return
	}
	if m.N <= 0 || m.Mean == nil {
		d.Reason = noData(r.Metric, m)
		return
	}
	if !stats.Finite(*m.Mean) {
		d.Reason = fmt.Sprintf("%s is not a number", r.Metric)
		return
	}
	sum := s.facts.Summary
	if left := sum.Planned - sum.Finished; left > s.facts.Metrics[r.Metric].Missing {
		d.Value = number(*m.Mean)
		d.Reason = fmt.Sprintf("%s is not known: %s not run%s", describe(r.Metric, m), plural(left, "sample"), stopped(sum))
		return
	}
	x, why := read(r.Stat, m)
	if why != "" {
		d.Reason = fmt.Sprintf("%s has no %s: %s", r.Metric, r.Stat, why)
		return
	}
	d.Value = number(x.value)
	s.judge(r, m, x, d)
}

// judge sets verdict and reason from a reading.
func (s *scope) judge(r Rule, m record.Metric, x reading, d *verdict.Decision) {
	d.Verdict = compare(r.Op, x.low, x.high, r.Bar)
	note := ""
	if d.Verdict == verdict.Undecided && m.Missing > 0 && !x.bounded && s.accepts(m) {
		if x.interval {
			d.Verdict = compare(r.Op, *m.Low, *m.High, r.Bar)
		} else {
			d.Verdict = compare(r.Op, x.value, x.value, r.Bar)
		}
		note = fmt.Sprintf("; %s accepted by error_rate %s", plural(m.Missing, "missing observation"), s.accepted.Text)
	} else if m.Missing > 0 && r.Stat != N {
		note = fmt.Sprintf(" whatever the %s would be", plural(m.Missing, "missing observation"))
	}
	what := describe(r.Metric, m)
	unit := unitOf(r.Stat, m)
	bar := against(r.Bar, r.Bar, unit)
	switch {
	case d.Verdict == verdict.Undecided && x.interval:
		d.Reason = fmt.Sprintf("%s: not enough evidence to tell it from %s; %s", what, bar, moreSamples(m, r.Bar))
	case d.Verdict == verdict.Undecided:
		d.Reason = fmt.Sprintf("%s: %s", named(r, m, x, unit), missing(m, x, r, bar))
	case x.interval:
		d.Reason = fmt.Sprintf("%s: its 95%% interval %s %s%s", what, verb(r.Op, d.Verdict), bar, note)
	default:
		d.Reason = fmt.Sprintf("%s %s %s%s%s", named(r, m, x, unit), verb(r.Op, d.Verdict), bar, note, doubt(r, m, x))
	}
}

// named is the metric with its value or, for another stat, that stat with its own.
func named(r Rule, m record.Metric, x reading, unit string) string {
	if r.Stat == Mean {
		return describeAgainst(r.Metric, m, r.Bar)
	}
	return fmt.Sprintf("%s %s %s", r.Metric, r.Stat, against(x.value, r.Bar, unit))
}

// accepts says whether a passed error_rate rule allows as many missing observations as m has.
func (s *scope) accepts(m record.Metric) bool {
	if s.accepted == nil {
		return false
	}
	seen := m.N
	if m.Kind == kindRatio { // n is its total weight; a cluster has one observation or more
		seen = m.Clusters
	}
	share := float64(m.Missing) / float64(seen+m.Missing)
	return compare(s.accepted.Op, share, share, s.accepted.Bar) == verdict.Pass
}

// read takes a stat off a metric; why says what is lacking.
func read(stat Stat, m record.Metric) (x reading, why string) {
	lost := m.Missing > 0
	x = reading{value: *m.Mean, low: *m.Mean, high: *m.Mean}
	switch stat {
	case Mean:
		if lost {
			x.low, x.high, x.bounded = bounds(m)
		}
	case Low, High:
		return readInterval(stat, m)
	case N:
		x.value = float64(m.N)
		x.low, x.high = x.value, x.value
	case Count, Total:
		return readSum(stat, m)
	default:
		q := m.Quantiles[string(stat)]
		if q == nil || !stats.Finite(*q) {
			return x, "only quantities with a unit, such as times, have quantiles"
		}
		x.value, x.low, x.high = *q, *q, *q
		if lost {
			x.low, x.high = math.Inf(-1), math.Inf(1)
		}
	}
	return x, ""
}

// bounds returns the range of the mean over whatever the missing observations were.
func bounds(m record.Metric) (low, high float64, ok bool) {
	if m.Least == nil || m.Most == nil || !(*m.Least <= *m.Mean) || !(*m.Mean <= *m.Most) {
		return math.Inf(-1), math.Inf(1), false
	}
	return *m.Least, *m.Most, true
}

func readInterval(stat Stat, m record.Metric) (x reading, why string) {
	x.interval = true
	if m.Kind == "derived" {
		return x, "it is computed from other metrics, and has no interval"
	}
	if m.Low == nil || m.High == nil || !stats.Finite(*m.Low) || !stats.Finite(*m.High) {
		if m.Clusters < 2 {
			return x, fmt.Sprintf("an interval needs at least 2 independent cases, and there %s %d", word(m.Clusters, "is", "are"), m.Clusters)
		}
		if m.Kind == "corpus" {
			return x, "its answers are too few or too much alike, so that no spread is known"
		}
		return x, "all its values are the same, so that no spread is known"
	}
	x.low, x.high = *m.Low, *m.High
	if m.Missing > 0 {
		x.low, x.high, x.bounded = intervalBounds(m)
	}
	x.value = *m.Low
	if stat == High {
		x.value = *m.High
	}
	return x, ""
}

// intervalBounds returns the interval a rate would have at worst and at best, without counting the
// missing observations as evidence.
func intervalBounds(m record.Metric) (low, high float64, ok bool) {
	least, most, ok := bounds(m)
	if m.Kind != kindRate || !ok {
		return math.Inf(-1), math.Inf(1), false
	}
	n := effective(m)
	interval := stats.Wilson
	if m.Interval == record.IntervalExact {
		interval = stats.ClopperPearson
	}
	worst, ok1 := interval(least*n, n, stats.Level)
	best, ok2 := interval(most*n, n, stats.Level)
	if !ok1 || !ok2 {
		return math.Inf(-1), math.Inf(1), false
	}
	return worst.Low, best.High, true
}

func effective(m record.Metric) float64 {
	if m.Effective != nil {
		return *m.Effective
	}
	return float64(m.N)
}

// readSum reads count and total. Missing observations can only add to a rate's count, to a count
// of counts, and to a total of times, money and tokens.
func readSum(stat Stat, m record.Metric) (x reading, why string) {
	shares := m.Kind == kindRate || m.Kind == kindRatio
	switch {
	case stat == Count && (!shares || m.Count == nil):
		return x, "only rates and ratios have one; total is the sum of all values"
	case m.Kind == "corpus":
		return x, "a corpus metric is not a sum of values"
	case m.Kind == "derived":
		return x, "a derived metric is not a sum of values"
	case m.Count != nil:
		x.value = *m.Count
	default:
		x.value = *m.Mean * float64(m.N)
	}
	if !stats.Finite(x.value) {
		return x, "it is not a number"
	}
	x.low, x.high = x.value, x.value
	if m.Missing == 0 {
		return x, ""
	}
	x.high = math.Inf(1)
	switch {
	case m.Kind == kindRate:
		x.high = x.value + float64(m.Missing)
		x.bounded = true
	case m.Kind == kindRatio && m.Least != nil, m.Unit == "s", m.Unit == "usd", m.Unit == "tokens":
	default:
		x.low = math.Inf(-1)
	}
	return x, ""
}

// compare says whether every number from low to high meets the bar (Pass), none does (Fail), or
// it depends (Undecided). Numbers within one part in 10¹² of the bar count as equal to it, so that
// the rounding of a sum does not decide.
func compare(op Op, low, high, bar float64) verdict.Verdict {
	if math.IsNaN(low) || math.IsNaN(high) || math.IsNaN(bar) || low > high {
		return verdict.Undecided
	}
	tol := tolerance(bar)
	var all, none bool
	switch op {
	case GreaterEqual:
		all, none = low >= bar-tol, high < bar-tol
	case Greater:
		all, none = low > bar+tol, high <= bar+tol
	case LessEqual:
		all, none = high <= bar+tol, low > bar+tol
	case Less:
		all, none = high < bar-tol, low >= bar-tol
	case Equal:
		all = math.Abs(low-bar) <= tol && math.Abs(high-bar) <= tol
		none = high < bar-tol || low > bar+tol
	}
	switch {
	case all:
		return verdict.Pass
	case none:
		return verdict.Fail
	}
	return verdict.Undecided
}

func tolerance(bar float64) float64 { return 1e-12 * math.Max(1, math.Abs(bar)) }
