package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/compare"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/plan"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// PlanOptions says what to plan for.
type PlanOptions struct {
	RunOptions
	// From are finished runs or baselines to measure by: one of this suite, or two of different versions.
	From []string
	// Metric is pass_rate when empty; Effect the drop that is to be found, written as a margin is, such as 2%, or empty.
	Metric string
	Effect string
	// Alpha and Power override the gate's; 0 takes its own.
	Alpha, Power float64
	Assumed      plan.Assumed
	// Completion, in tokens, and Latency, in seconds, are supposed of an answer where nothing was measured.
	Completion int
	Latency    float64
}

// Plan says what a suite can show and what it takes, without asking a provider.
func Plan(ctx context.Context, o PlanOptions) (p *plan.Suite, err error) {
	o.Notice, o.planning = once(o.Notice), true
	s, err := open(ctx, &o.RunOptions)
	if err != nil {
		return nil, err
	}
	defer joinClose(&err, s.Close)
	if o.Metric == "" {
		o.Metric = record.MetricPassRate
	}
	m, err := measure(o.From, s.planned(o.Metric))
	if err != nil {
		return nil, err
	}
	g := s.goal(o)
	if g.Power <= g.Alpha {
		return nil, &config.Error{Pos: config.Pos{Key: "--power"}, Value: fmt.Sprint(g.Power), Problem: "a test finds a drop with at least the chance of a false alarm, whatever it is",
			Want: fmt.Sprintf("more than alpha, which is %g", g.Alpha)}
	}
	counted, fewest := s.counted()
	p = &plan.Suite{
		Path: o.Suite, Cases: counted, Groups: s.cells.clusters, Cells: len(s.plan.Cells), Repeats: s.suite.Samples, Metric: o.Metric, Unit: m.unit(o.Metric), Better: s.better(m, o.Metric), Goal: s.first(g),
	}
	p.Goal.TwoSided = p.Better == ""
	if fewest < 2 {
		return nil, &config.Error{Pos: config.Pos{File: o.Suite, Key: "tests"}, Value: fmt.Sprint(fewest), Problem: "too few cases to plan for", Want: "2 or more"}
	}
	if p.Variance, err = m.variance(o.Metric, o.Assumed); err != nil {
		return nil, err
	}
	p.Variance.Rises = p.Better == metric.Lower
	if p.Effect, err = o.effect(p); err != nil {
		return nil, err
	}
	usage, err := s.usage(ctx, m, o, p)
	if err != nil {
		return nil, err
	}
	p.Table(usage, fewest, s.concurrency())
	s.planMargins(p, m, g, fewest, o.Assumed)
	s.planNotes(p, m, fewest)
	return p, nil
}

// counted is how many cases the suite has that are not in quarantine, and how many of them the snapshot with the
// fewest is asked.
func (s *session) counted() (all, fewest int) {
	first := true
	for i, c := range s.cells.list {
		if s.cells.index[i] < 0 {
			continue
		}
		if first || c.counted < fewest {
			first, fewest = false, c.counted
		}
	}
	return s.cells.counted, fewest
}

// better is the direction in which a metric improves: that of the gate's margin where it says, else the metric's own.
func (s *session) better(m *measured, name string) string {
	for _, margin := range s.suite.Regression.Margins {
		if margin.Metric == name && margin.Better != "" {
			return margin.Better
		}
	}
	return m.better(name)
}

// effect is the drop that is to be found, 0 for none.
func (o *PlanOptions) effect(p *plan.Suite) (float64, error) {
	if o.Effect == "" {
		return 0, nil
	}
	at := config.Pos{Key: "--effect"}
	want, mistake := config.NewMargin(at, p.Metric, o.Effect)
	if mistake != nil {
		mistake.Want = "how large a change is to be found, such as 0.02, 2%, 200ms or $0.01"
		return 0, mistake
	}
	shares := p.Variance.Points(p.Unit)
	switch {
	case want.Margin == 0:
		return 0, &config.Error{Pos: at, Value: o.Effect, Problem: "no number of cases finds a change of nothing", Want: "more than 0"}
	case want.Unit == "%" && !shares, want.Unit != "" && want.Unit != "%" && want.Unit != p.Unit:
		return 0, &config.Error{Pos: at, Value: o.Effect, Problem: fmt.Sprintf("%s is not measured in %s", p.Metric, want.Unit), Want: "an amount in the metric's own unit, such as " + cmp.Or(p.Unit, "0.02")}
	case p.Variance.Binary && shares && want.Margin > p.Variance.Room():
		e := &config.Error{Pos: at, Value: o.Effect, Problem: fmt.Sprintf("%s is %.3g here and cannot get worse by that much", p.Metric, p.Variance.Mean), Want: fmt.Sprintf("at most %.3g", p.Variance.Room())}
		if want.Unit == "" && want.Margin >= 1 {
			e.Hint = fmt.Sprintf("write %g%% for a percentage", want.Margin)
		}
		return 0, e
	}
	return want.Margin, nil
}

// goal is how sure the gate is.
func (s *session) goal(o PlanOptions) plan.Goal {
	r := s.suite.Regression
	return plan.Goal{Alpha: cmp.Or(o.Alpha, r.Alpha, config.DefaultAlpha), Power: cmp.Or(o.Power, r.Power, config.DefaultPower)}
}

// first is the goal of Holm's first step, which compares with alpha over the number of margins.
func (s *session) first(g plan.Goal) plan.Goal {
	if r := s.suite.Regression; len(r.Margins) > 1 && r.Correction != "none" {
		g.Alpha /= float64(len(r.Margins))
	}
	return g
}

// planned are the metrics that are planned for: the one asked for and those of the gate's margins.
func (s *session) planned(name string) map[string]bool {
	out := map[string]bool{name: true}
	for _, m := range s.suite.Regression.Margins {
		name, _, _ := tagOf(m.Metric)
		out[name], out[m.Metric] = true, true
	}
	return out
}

// tagOf parts metric[tag=NAME].
func tagOf(margin string) (name, tag string, tagged bool) {
	name, tag, tagged = strings.Cut(margin, "[tag=")
	return strings.TrimSpace(name), strings.TrimSuffix(tag, "]"), tagged
}

// snapshotKey names a snapshot of a run.
func snapshotKey(provider, prompt string) string { return provider + "\x00" + prompt }

// measured is what earlier runs show.
type measured struct {
	names  []string
	runs   []*record.Run
	pilots map[string]*plan.Pilot
	units  map[string]string
	kinds  map[string]string
	// linear holds the answers behind those ratios and corpus metrics that are planned for.
	linear map[linearPart]*plan.Linear
	// used is what the answers of the last run took, by snapshotKey.
	used map[string]*took
}

// linearPart is a metric of one snapshot of one run.
type linearPart struct {
	metric   string
	side     int
	snapshot string
}

// measure reads the runs that are to be measured by. wanted are the metrics that are planned for.
func measure(from []string, wanted map[string]bool) (*measured, error) {
	m := &measured{names: from, pilots: map[string]*plan.Pilot{}, units: record.BuiltinUnits(), kinds: map[string]string{}, linear: map[linearPart]*plan.Linear{}}
	if len(from) > 2 {
		return nil, &config.Error{Pos: config.Pos{Key: "--from"}, Value: strings.Join(from, ", "), Problem: "too many runs", Want: "one run of this suite, or two of different versions"}
	}
	for side, name := range from {
		opened, err := OpenSide(name)
		if err != nil {
			return nil, err
		}
		m.runs, m.used = append(m.runs, opened.Run), map[string]*took{}
		if err := m.read(side, &opened, wanted); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *measured) read(side int, opened *compare.Side, wanted map[string]bool) error {
	var r metric.Reader
	answer := 0
	for sample, err := range opened.Samples() {
		if err != nil {
			return err
		}
		numbers, err := r.Read(&sample)
		if err != nil {
			return err
		}
		// What other snapshots answered are no repeats.
		key, snapshot := sample.Case, snapshotKey(sample.Provider, sample.Prompt)
		if len(opened.Run.Snapshots) > 1 {
			key += "\x00" + snapshot
		}
		if m.used[snapshot] == nil {
			m.used[snapshot] = &took{}
		}
		m.used[snapshot].add(&sample)
		answer++
		for _, n := range numbers {
			d := r.Definition(n.Metric)
			m.units[d.Name], m.kinds[d.Name] = d.Unit, d.Kind
			if !wanted[d.Name] {
				continue
			}
			v := n.Stats
			if d.Kind == "ratio" {
				v = []float64{n.Value, n.Weight}
			}
			if len(v) == 0 {
				m.pilot(d.Name).Add(side, key, sample.Group, n.Value)
				for _, tag := range sample.Tags {
					if name := d.Name + "[tag=" + tag + "]"; wanted[name] {
						m.kinds[name], m.units[name] = d.Kind, d.Unit
						m.pilot(name).Add(side, key, sample.Group, n.Value)
					}
				}
				continue
			}
			at := linearPart{d.Name, side, snapshot}
			if m.linear[at] == nil {
				m.linear[at] = &plan.Linear{}
			}
			if err := m.linear[at].Add(answer, key, sample.Group, v...); err != nil {
				return fmt.Errorf("%s: metric %s of case %s: %w", opened.Name, d.Name, sample.Case, err)
			}
		}
	}
	return nil
}

func (m *measured) pilot(name string) *plan.Pilot {
	p, ok := m.pilots[name]
	if !ok {
		p = &plan.Pilot{}
		m.pilots[name] = p
	}
	return p
}

func (m *measured) unit(name string) string { return m.units[name] }

// better is the direction in which a metric improves; "" when it is not known.
func (m *measured) better(name string) string { return metric.Better(name, m.units[name]) }

// variance of a metric: measured where it can be, supposed for rates where nothing was measured.
func (m *measured) variance(name string, a plan.Assumed) (plan.Variance, error) {
	at := config.Pos{Key: "--metric"}
	if len(m.runs) == 0 {
		if name != record.MetricPassRate && name != record.MetricScore {
			return plan.Variance{}, &config.Error{Pos: at, Value: name, Problem: "nothing is known of this metric's spread: that of a pass rate follows from its value, that of any other metric does not", Hint: "--from DIR measures it on a finished run or a baseline"}
		}
		return a.Variance(), nil
	}
	for _, run := range m.runs {
		if run.Metrics[name].Kind == "derived" {
			return plan.Variance{}, &config.Error{Pos: at, Value: name, Problem: "is computed from other metrics and has no observations of its own", Want: "one of the metrics it is made of"}
		}
	}
	kind, known := m.kinds[name]
	if len(m.kinds) == 0 {
		return plan.Variance{}, &config.Error{Pos: config.Pos{Key: "--from"}, Value: strings.Join(m.names, ", "), Problem: "there is no sample with a number"}
	}
	if !known {
		return plan.Variance{}, &config.Error{Pos: at, Value: name, Problem: "the run in --from has no such metric", Want: "one of " + strings.Join(slices.Sorted(maps.Keys(m.kinds)), ", ")}
	}
	p, how := m.pilots[name], ""
	if kind == "ratio" || metric.IsCorpus(kind) {
		var err error
		if p, how, err = m.linearised(name, kind); err != nil {
			return plan.Variance{}, err
		}
	}
	v, ok := p.Variance(a)
	if !ok {
		return v, &config.Error{Pos: at, Value: name, Problem: "fewer than 2 cases of the run in --from have it"}
	}
	if v.Between == 0 && v.Within == 0 {
		return v, &config.Error{Pos: at, Value: name, Problem: "all cases of the run in --from agree: no spread was seen that could be planned with", Want: "a run in which cases differ"}
	}
	v.Basis, v.Corpus = v.Basis+how, metric.IsCorpus(kind)
	return v, nil
}

// linearised is the pilot of a ratio or a corpus metric, from what each answer adds to it to first order. Each snapshot of
// each run is taken by itself.
func (m *measured) linearised(name, kind string) (p *plan.Pilot, how string, err error) {
	mistake := func(problem, hint string) error {
		return &config.Error{Pos: config.Pos{Key: "--metric"}, Value: name, Problem: problem, Hint: hint}
	}
	p, how = &plan.Pilot{}, "; of a ratio, by linearisation"
	var f func([]float64) float64
	if kind != "ratio" {
		finisher := strings.TrimPrefix(kind, "corpus/")
		how = "; of a number of all answers together, by the jackknife's pseudo-values"
		if _, _, _, bent := scorer.CorpusScale(finisher); bent {
			return nil, "", mistake("has a corner at 0, where it has no standard error", "plan for another calibration metric, such as the one that ends in .brier")
		}
		var ok bool
		if f, ok = scorer.CorpusFinisher(finisher); !ok {
			return nil, "", mistake("no way is known to finish "+kind, "")
		}
	}
	parts := slices.SortedFunc(maps.Keys(m.linear), func(a, b linearPart) int {
		return cmp.Or(cmp.Compare(a.side, b.side), cmp.Compare(a.snapshot, b.snapshot))
	})
	for _, at := range parts {
		if at.metric != name {
			continue
		}
		l := m.linear[at]
		if f == nil && !l.Ratio(p, at.side) {
			return nil, "", mistake("the weights of "+m.names[at.side]+" are all 0", "")
		}
		if f != nil && !l.Corpus(p, at.side, f) {
			return nil, "", mistake("is not a finite number for "+m.names[at.side]+", or would not be without one of its answers", "")
		}
	}
	return p, how, nil
}

// planMargins says what the gate's margins can expect. Every margin must show it at the full alpha.
func (s *session) planMargins(p *plan.Suite, m *measured, g plan.Goal, cases int, a plan.Assumed) {
	for _, want := range s.suite.Regression.Margins {
		name, tag, tagged := tagOf(want.Metric)
		known := name
		if tagged && len(m.runs) > 0 {
			known = want.Metric
		}
		v, err := m.variance(known, a)
		if err != nil {
			hint := "--from DIR measures it on a finished run"
			if len(m.runs) > 0 {
				hint = "telltale compare shows it once there are two runs"
			}
			p.Notes = append(p.Notes, fmt.Sprintf("margin of %s: nothing is known of its spread; %s", want.Metric, hint))
			continue
		}
		n := cases
		if tagged {
			if n = s.tagged(tag); n == 0 {
				p.Notes = append(p.Notes, fmt.Sprintf("margin of %s: no case has the tag, and nothing can be shown", want.Metric))
			}
		}
		size := want.Margin
		if want.Relative {
			size *= v.Mean
		}
		p.Margins = append(p.Margins, plan.NewMargin(&v, want.Metric, m.unit(name), size, n, p.Repeats, g))
	}
}

// tagged is how many cases with a tag the snapshot with the fewest is asked.
func (s *session) tagged(tag string) int {
	least, first := 0, true
	for i, c := range s.cells.list {
		if n := c.tags[tag] / max(1, s.suite.Samples); s.cells.index[i] >= 0 && (first || n < least) {
			least, first = n, false
		}
	}
	return least
}

// planNotes says what the figures do not hold.
func (s *session) planNotes(p *plan.Suite, m *measured, fewest int) {
	for i, run := range m.runs {
		if run.Dataset.Hash != s.ref.Hash {
			p.Notes = append(p.Notes, fmt.Sprintf("%s was made with another dataset (%d cases) than the suite has now", m.names[i], run.Dataset.Cases))
		}
		if run.Summary.Finished < run.Summary.Planned {
			p.Notes = append(p.Notes, fmt.Sprintf("%s has %d of its %d samples", m.names[i], run.Summary.Finished, run.Summary.Planned))
		}
	}
	if v := &p.Variance; p.Own().Detect == nil && v.Binary && v.Room() < 0.05 {
		p.Notes = append(p.Notes, fmt.Sprintf("%s is %.3g, and has hardly any room to get worse", p.Metric, v.Mean))
	}
	if p.Groups < p.Cases && len(m.runs) == 0 {
		note := "cases come in groups, and answers within a group are alike: what is found is larger than shown"
		if d, ok := plan.Detect(&p.Variance, min(p.Groups, fewest), p.Repeats, p.Goal); ok && p.Variance.Points(p.Unit) {
			note += fmt.Sprintf(", at most %.3g points", 100*d)
		}
		p.Notes = append(p.Notes, note+"; --from DIR measures it")
	}
	if p.Cells > 1 {
		p.Notes = append(p.Notes, fmt.Sprintf("each of %d snapshots is decided on by itself; samples, tokens, money and time are of all of them", p.Cells))
	}
	if fewest < p.Cases {
		p.Notes = append(p.Notes, fmt.Sprintf("one snapshot is asked only %d cases; what is found is said of that one", fewest))
	}
	if s.cells.uneven {
		p.Notes = append(p.Notes, "some cases have a number of answers of their own, which stays; what is found is for all of them with the number in the table")
	}
	if p.Own().Cost == nil {
		p.Notes = append(p.Notes, "the price of a model is not known: --prices FILE gives it")
	}
	b, own := s.suite.Budget, p.Own()
	if b.Cost > 0 && own.Cost != nil && *own.Cost > b.Cost || b.Tokens > 0 && own.Tokens() > float64(b.Tokens) || b.Time > 0 && own.Minutes*60 > b.Time {
		p.Notes = append(p.Notes, "the suite's budget will end the run before its last sample")
	}
}
