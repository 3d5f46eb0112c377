package report

import (
	"math"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// word is the verdict as a headline says it.
func word(v verdict.Verdict) string {
	switch v {
	case verdict.Pass:
		return "PASSED"
	case verdict.Fail:
		return "FAILED"
	case verdict.Error:
		return "ERROR"
	}
	return "UNDECIDED"
}

// mark is a sign that tells verdicts apart without colour.
func mark(v verdict.Verdict) string {
	switch v {
	case verdict.Pass:
		return "✓"
	case verdict.Fail:
		return "✗"
	case verdict.Error:
		return "!"
	}
	return "?"
}

// suiteName is what a reader would call the suite.
func suiteName(run *record.Run) string {
	switch {
	case run.Suite.Description != "":
		return run.Suite.Description
	case run.Suite.Path != "":
		return run.Suite.Path
	}
	return "telltale"
}

// caseName is the case with its repeat, counted from 1, when there are several.
func caseName(run *record.Run, id string, repeat int) string {
	if run.Repeats > 1 || repeat > 0 {
		return id + " #" + strconv.Itoa(repeat+1)
	}
	return id
}

// metricRow is a metric as reports show it.
type metricRow struct {
	name string
	record.Metric
	share      bool // a part of 1, shown in percent on a scale from 0 to 100%
	unit01     bool // not a share, but a score that lies between 0 and 1
	value      string
	count      string // numerator/denominator of a share, otherwise the number of observations
	interval   string
	thresholds []threshold
}

// threshold is a limit that the gate sets to the mean or to an end of the interval.
type threshold struct {
	op   string
	at   float64
	stat string
}

// hasData says whether there is a number to show.
func (m *metricRow) hasData() bool { return m.N > 0 && finite(m.Mean) }

// newMetricRow prepares one metric for display.
func newMetricRow(name string, m record.Metric, limits []threshold) metricRow {
	m.Unit = logLine(m.Unit, 20)
	r := metricRow{name: name, Metric: m, thresholds: limits}
	inside := within01(m.Mean) && within01(m.Low) && within01(m.High)
	r.share = m.Unit == "" && inside && (m.Kind == "rate" || m.Kind == "ratio" && m.Count != nil && *m.Count <= float64(m.N))
	r.unit01 = !r.share && m.Unit == "" && inside && m.Kind != "corpus"
	if !r.hasData() {
		r.value = noData
		return r
	}
	r.value = quantity(m.Mean, m.Unit, r.share)
	r.interval = metricInterval(m, r.share)
	r.count = count(m.N)
	if r.share && finite(m.Count) {
		r.count = number(*m.Count) + "/" + count(m.N)
	}
	return r
}

// metricInterval is the interval of a metric, and whether it is an exact one.
func metricInterval(m record.Metric, share bool) string {
	s := interval(m.Low, m.High, m.Unit, share)
	if s != "" && m.Interval == record.IntervalExact {
		s += " exact"
	}
	return s
}

func within01(x *float64) bool { return x == nil || *x >= 0 && *x <= 1 }

// statement is the metric in words, such as "417/541 = 77.08%, 95% 73.35–80.43%".
func (m *metricRow) statement() string {
	if !m.hasData() {
		return noData
	}
	s := m.value
	if m.share {
		s = m.count + " = " + s
	}
	if m.interval != "" {
		s += ", 95% " + m.interval
	}
	return s
}

// quantiles lists p50, p95… in order of their names.
func (m *metricRow) quantiles() string {
	var parts []string
	for _, q := range sortedKeys(m.Quantiles) {
		if v := m.Quantiles[q]; finite(v) {
			parts = append(parts, logLine(q, 20)+" "+quantity(v, m.Unit, m.share))
		}
	}
	return strings.Join(parts, " · ")
}

// metricRows lists metrics by name, the pass rate first.
func metricRows(metrics map[string]record.Metric, limits map[string][]threshold) []metricRow {
	rows := make([]metricRow, 0, len(metrics))
	for _, name := range sortedKeys(metrics) {
		rows = append(rows, newMetricRow(name, metrics[name], limits[name]))
	}
	sort.SliceStable(rows, func(i, j int) bool {
		return rows[i].name == record.MetricPassRate && rows[j].name != record.MetricPassRate
	})
	return rows
}

// overall is the pass rate: the run's own metric, or else one made of the summary's counts.
func overall(run *record.Run) metricRow {
	if m, ok := run.Metrics[record.MetricPassRate]; ok {
		return newMetricRow(record.MetricPassRate, m, nil)
	}
	s := run.Summary.Counted()
	return tallyRow(Tally{s.Passed, s.Failed, s.Errored, s.Undecided})
}

// tallyRow is the pass rate of a tally, with its Wilson interval.
func tallyRow(t Tally) metricRow {
	m := record.Metric{Kind: "rate", N: t.judged(), Missing: t.missing()}
	if m.N > 0 {
		k := float64(t.Passed)
		p := k / float64(m.N)
		m.Mean, m.Count = &p, &k
		if i, ok := stats.Wilson(k, float64(m.N), stats.Level); ok {
			m.Low, m.High = &i.Low, &i.High
		}
	}
	return newMetricRow(record.MetricPassRate, m, nil)
}

// wanted is what a gate asks: [statistic] operator number [unit].
var wanted = regexp.MustCompile(`^\s*([a-z]\w*)?\s*(<=|>=|<|>|==)\s*\$?\s*(-?[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(%|ms|s|usd|\$|)\s*$`)

// limits finds the thresholds of the gate that can be drawn beside a metric.
func limits(run *record.Run) map[string][]threshold {
	out := map[string][]threshold{}
	for _, c := range run.Gate.Checks {
		m := wanted.FindStringSubmatch(c.Want)
		if m == nil || m[1] != "" && m[1] != "mean" && m[1] != "low" && m[1] != "high" {
			continue
		}
		at, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			continue
		}
		switch m[4] {
		case "%":
			at /= 100
		case "ms":
			at /= 1000
		}
		// The same check of several snapshots is one line.
		if l := (threshold{op: m[2], at: at, stat: m[1]}); !slices.Contains(out[c.Metric], l) {
			out[c.Metric] = append(out[c.Metric], l)
		}
	}
	return out
}

// checkName is a check's metric, with the snapshot it was decided on when there are several.
func checkName(d verdict.Decision) string {
	if d.Snapshot == "" {
		return d.Metric
	}
	return d.Metric + " · " + d.Snapshot
}

// deciding is a decision's number with what was asked of it, or "" when it names no metric.
func deciding(run *record.Run, d verdict.Decision) string {
	if d.Metric == "" {
		return ""
	}
	s := d.Metric + " " + decidingValue(run, d)
	if d.Want != "" {
		s += ", wanted " + d.Want
	}
	return s
}

// decidingValue is the deciding number in the unit of its metric.
func decidingValue(run *record.Run, d verdict.Decision) string {
	if !finite(d.Value) {
		return noData
	}
	if m := wanted.FindStringSubmatch(d.Want); m != nil && (m[1] == "n" || m[1] == "count" && *d.Value == math.Trunc(*d.Value)) {
		return number(*d.Value)
	}
	name, _, _ := strings.Cut(d.Metric, "[tag=")
	m, ok := run.Metrics[name]
	row := newMetricRow(name, m, nil)
	share := ok && row.share || !ok && (name == record.MetricPassRate || name == record.MetricErrorRate)
	if d.Outcome != "" { // the worst difference from the baseline that the data leave open
		worst := "at worst " + signed(*d.Value, row.Unit, share)
		if share {
			worst += " pp"
		}
		return worst
	}
	return quantity(d.Value, row.Unit, share && within01(d.Value))
}

// reasonOf never leaves a decision without an explanation.
func reasonOf(d verdict.Decision) string {
	if d.Reason != "" {
		return d.Reason
	}
	return "no reason was given"
}

// counts is the tally in words.
func counts(t Tally) string {
	return count(t.Passed) + " passed, " + count(t.Failed) + " failed, " + count(t.Errored) + plural(t.Errored, " error") + ", " + count(t.Undecided) + " undecided"
}

// notices are what a reader must know before any number: that the run stopped early, and that
// the samples are not those of the summary.
func notices(src Source) []string {
	var out []string
	s, d := src.Run.Summary, src.Digest
	if s.Stopped != "" {
		out = append(out, "Stopped early: "+s.Stopped+". "+count(s.Finished)+" of "+count(s.Planned)+" samples finished.")
	} else if s.Finished < s.Planned {
		out = append(out, "Not finished: "+count(s.Finished)+" of "+count(s.Planned)+" samples.")
	}
	if seen := d.all; seen != (Tally{s.Passed, s.Failed, s.Errored, s.Undecided}) {
		out = append(out, "The samples do not match the summary: they hold "+counts(seen)+".")
	}
	return out
}

// criticals says what happened to critical cases, or "".
func criticals(s record.Summary) (string, []string) {
	n := max(s.CriticalUnproved, len(s.CriticalFailed))
	if n == 0 {
		return "", nil
	}
	return count(n) + plural(n, " critical sample") + " did not pass", s.CriticalFailed
}

// plural adds an s to a noun unless there is one of it.
func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// tokens is the number of tokens used, and its parts.
func tokens(u record.Usage) (total, parts string) {
	n := max(u.Total, u.Prompt+u.Completion)
	if n == 0 {
		return "not reported", ""
	}
	var ps []string
	for _, p := range []struct {
		n    int
		what string
	}{{u.Prompt, "prompt"}, {u.Completion, "completion"}, {u.Cached, "cached by the provider"}, {u.Reasoning, "reasoning"}} {
		if p.n > 0 {
			ps = append(ps, count(p.n)+" "+p.what)
		}
	}
	return count(n), strings.Join(ps, ", ")
}

// cost is what the run cost as far as it is known.
func cost(s record.Summary) (total, note string) {
	switch {
	case s.Finished == 0:
		return noData, ""
	case s.Unpriced >= s.Finished:
		return "unknown", "no sample has a price"
	case s.Unpriced > 0:
		return "≥ " + dollars(s.Cost), count(s.Unpriced) + plural(s.Unpriced, " sample") + " without a price"
	}
	return dollars(s.Cost), ""
}

// judging is what judging took; "" when no judge was asked.
func judging(s record.Summary) (total, note string) {
	if s.JudgeCalls == 0 {
		return "", ""
	}
	var parts []string
	switch {
	case s.JudgeUnpriced >= s.JudgeCalls:
		parts = append(parts, "price unknown")
	case s.JudgeUnpriced > 0:
		parts = append(parts, "≥ "+dollars(s.JudgeCost))
	case s.JudgeCost > 0:
		parts = append(parts, dollars(s.JudgeCost))
	}
	if s.JudgeInvalid > 0 {
		parts = append(parts, count(s.JudgeInvalid)+" without a valid verdict")
	}
	if n := max(s.JudgeTokens.Total, s.JudgeTokens.Prompt+s.JudgeTokens.Completion); n > 0 {
		parts = append(parts, count(n)+plural(n, " token"))
	}
	return count(s.JudgeCalls) + plural(s.JudgeCalls, " call"), strings.Join(parts, ", ")
}

// elapsed is the time a run took, and its speed.
func elapsed(t record.Times) (total, speed string) {
	if t.Seconds <= 0 {
		return "not measured", ""
	}
	speed = number(t.Throughput) + " samples/s"
	if t.Resumed > 0 {
		speed += ", resumed " + count(t.Resumed) + plural(t.Resumed, " time")
	}
	return seconds(t.Seconds), speed
}

// stamp is a moment in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "not recorded"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// noted is a value with its note in brackets, if it has one.
func noted(value, note string) string {
	if note == "" {
		return value
	}
	return value + " (" + note + ")"
}

// reasonCount is a reason for errors and how often it occurred.
type reasonCount struct {
	reason string
	n      int
}

// errorReasons lists the reasons for errors, the most frequent first.
func errorReasons(s record.Summary) []reasonCount {
	var out []reasonCount
	for _, reason := range sortedKeys(s.Errors) {
		out = append(out, reasonCount{reason, s.Errors[reason]})
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].n > out[j].n })
	return out
}

// named is a pass rate of a part of the samples.
type named struct {
	name, title string
	t           Tally
	row         metricRow
}

// byCombo lists the combinations of provider and prompt in plan order, when there are several.
func byCombo(d *Digest) []named {
	if len(d.combos.list) < 2 {
		return nil
	}
	out := make([]named, 0, len(d.combos.list))
	for _, s := range d.combos.list {
		out = append(out, named{name: comboName(s.key, d), title: s.key.provider + " · " + s.key.prompt, t: s.Tally, row: tallyRow(s.less(s.held))})
	}
	return out
}

// comboName leaves the prompt out when there is only one.
func comboName(c combo, d *Digest) string {
	for _, s := range d.combos.list {
		if s.key.prompt != c.prompt {
			return c.provider + " · " + c.prompt
		}
	}
	return c.provider
}

// byTag lists the tags with the most samples, at most n, worst pass rate first.
func byTag(d *Digest, n int) []named {
	list := append([]slice[string](nil), d.tags.list...)
	sort.SliceStable(list, func(i, j int) bool {
		if a, b := list[i].Total(), list[j].Total(); a != b {
			return a > b
		}
		return list[i].key < list[j].key
	})
	return worstFirst(list[:min(len(list), n)])
}

// tagRates lists the pass rates of tags, at most n: those with the most samples, worst first. The
// run's own are taken when it has them, for their intervals allow for groups; otherwise those counted
// here.
func tagRates(run *record.Run, d *Digest, n int) []named {
	if len(run.ByTag) == 0 {
		return byTag(d, n)
	}
	var out []named
	for _, tag := range sortedKeys(run.ByTag) {
		m, ok := run.ByTag[tag][record.MetricPassRate]
		if !ok {
			m = record.Metric{Kind: "rate"}
		}
		out = append(out, named{name: short(tag), title: tag, row: newMetricRow(record.MetricPassRate, m, nil)})
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].row.N+out[i].row.Missing > out[j].row.N+out[j].row.Missing })
	out = out[:min(len(out), n)]
	sortByRate(out)
	return out
}

// byGroup lists the groups with the worst pass rates, at most n, when there are several and one of
// them has several samples.
func byGroup(d *Digest, n int) []named {
	several := false
	for _, g := range d.clusters.list {
		several = several || g.Total() > 1
	}
	if !several || len(d.clusters.list) < 2 {
		return nil
	}
	list := worstFirst(d.clusters.list)
	return list[:min(len(list), n)]
}

func worstFirst(list []slice[string]) []named {
	out := make([]named, 0, len(list))
	for _, s := range list {
		out = append(out, named{name: short(s.key), title: s.key, t: s.Tally, row: tallyRow(s.Tally)})
	}
	sortByRate(out)
	return out
}

// sortByRate puts the worst first, and before them those of which nothing is known.
func sortByRate(list []named) {
	rate := func(r metricRow) float64 {
		if !r.hasData() {
			return -1
		}
		return *r.Mean
	}
	sort.SliceStable(list, func(i, j int) bool { return rate(list[i].row) < rate(list[j].row) })
}

// shown lists the rows to show first: criticals before others, those in quarantine last, failures before errors
// before undecided ones, at most n.
func (d *Digest) shown(n int) []*row {
	var out []*row
	for _, class := range []string{flagCritical, "", flagHeld} {
		for _, v := range []verdict.Verdict{verdict.Fail, verdict.Error, verdict.Undecided} {
			for _, r := range d.kept.of(v) {
				if r.flag() == class && len(out) < n {
					out = append(out, r)
				}
			}
		}
	}
	return out
}

// snapshotName is a snapshot as a reader tells it from the run's others.
func snapshotName(run *record.Run, id string) string {
	for _, s := range run.Snapshots {
		if s.ID != id {
			continue
		}
		name := s.Provider
		for _, o := range run.Snapshots {
			if o.Prompt != s.Prompt {
				name += " · " + s.Prompt
				break
			}
		}
		return name
	}
	return id
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
