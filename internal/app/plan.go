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
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// PlanOptions says what to plan for.
type PlanOptions struct {
	RunOptions
	// From are finished runs or baselines to measure by: one of this suite, or two of different versions.
	From []string
	// Metric is pass_rate when empty; Effect the drop that is to be found, in its unit, or 0.
	Metric string
	Effect float64
	// Alpha and Power override the gate's; 0 takes its own.
	Alpha, Power float64
	Assumed      plan.Assumed
	// Completion, in tokens, and Latency, in seconds, are supposed of an answer where nothing was measured.
	Completion int
	Latency    float64
}

// What is supposed of an answer when nothing is known of it.
const (
	DefaultCompletion = 256
	DefaultLatency    = 2.0
)

// bytesPerToken is the usual rule of thumb for English text.
const bytesPerToken = 4

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
	p = &plan.Suite{
		Path: o.Suite, Cases: s.plan.Count, Cells: len(s.plan.Cells), Repeats: s.plan.Repeats, Metric: o.Metric, Unit: m.unit(o.Metric), Better: m.better(o.Metric), Effect: o.Effect, Goal: s.first(g),
	}
	if p.Cases < 2 {
		return nil, &config.Error{Pos: config.Pos{File: o.Suite, Key: "tests"}, Value: fmt.Sprint(p.Cases), Problem: "too few cases to plan for", Want: "2 or more"}
	}
	if p.Variance, err = m.variance(o.Metric, o.Assumed); err != nil {
		return nil, err
	}
	usage, err := s.usage(ctx, m, o, p)
	if err != nil {
		return nil, err
	}
	p.Table(usage, s.concurrency())
	s.planMargins(p, m, g, o.Assumed)
	s.planNotes(p, m)
	return p, nil
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
		name, _, _ := strings.Cut(m.Metric, "[tag=")
		out[name] = true
	}
	return out
}

// measured is what earlier runs show.
type measured struct {
	names  []string
	runs   []*record.Run
	pilots map[string]*plan.Pilot
	units  map[string]string
	kinds  map[string]string
	// linear holds the answers behind those ratios and corpus metrics that are planned for.
	linear map[linearPart]*plan.Linear
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
		m.runs = append(m.runs, opened.Run)
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
		key, snapshot := sample.Case, ""
		if len(opened.Run.Snapshots) > 1 {
			snapshot = sample.Provider + "\x00" + sample.Prompt
			key += "\x00" + snapshot
		}
		answer++
		for _, n := range numbers {
			d := r.Definition(n.Metric)
			m.units[d.Name], m.kinds[d.Name] = d.Unit, d.Kind
			v := n.Stats
			if d.Kind == "ratio" {
				v = []float64{n.Value, n.Weight}
			}
			if len(v) == 0 {
				m.pilot(d.Name).Add(side, key, sample.Group, n.Value)
				continue
			}
			if !wanted[d.Name] {
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

// usage is what a sample of each cell takes: measured where the run in --from has the same snapshot label,
// else supposed from the length of the prompts.
func (s *session) usage(ctx context.Context, m *measured, o PlanOptions, p *plan.Suite) ([]plan.Usage, error) {
	if len(m.runs) > 0 {
		last := m.runs[len(m.runs)-1]
		if u, ok := usageOf(last); ok {
			p.Usage = "measured on " + m.names[len(m.names)-1]
			return slices.Repeat([]plan.Usage{u}, len(s.plan.Cells)), nil
		}
	}
	p.Usage = fmt.Sprintf("supposed: a token for %d bytes of the prompts, %d tokens and %g s an answer", bytesPerToken, o.Completion, o.Latency)
	bytes, err := s.promptBytes(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]plan.Usage, len(s.plan.Cells))
	for i := range out {
		u := record.Usage{Prompt: bytes[i] / (bytesPerToken * max(1, s.plan.Count)), Completion: o.Completion}
		out[i] = plan.Usage{Prompt: float64(u.Prompt), Completion: float64(u.Completion), Seconds: o.Latency, Cost: s.quote(i, u)}
	}
	return out, nil
}

// quote is the price of a sample of a cell; an answer that no vendor sells costs nothing.
func (s *session) quote(cell int, u record.Usage) *float64 {
	for _, p := range s.providers {
		if p.spec.Name() != s.plan.Cells[cell].ProviderName {
			continue
		}
		if p.info.Quote == nil {
			return new(float64)
		}
		return p.info.Quote(u)
	}
	return nil
}

// promptBytes is the length of all cases' prompts for each cell.
func (s *session) promptBytes(ctx context.Context) ([]int, error) {
	out := make([]int, len(s.plan.Cells))
	for c, err := range s.cases(ctx) {
		if err != nil {
			return nil, err
		}
		for i := range s.plan.Cells {
			n, err := promptLength(s.plan.Cells[i].Prompt, &c)
			if err != nil {
				return nil, err
			}
			out[i] += n
		}
	}
	return out, nil
}

func promptLength(p *runner.Prompt, c *runner.Case) (int, error) {
	messages, err := p.Render(c)
	n := 0
	for _, msg := range messages {
		n += len(msg.Content)
		for _, part := range msg.Parts {
			n += len(part.Text)
		}
	}
	return n, err
}

// usageOf is what a sample of a run took on average; ok is false when no tokens were counted.
func usageOf(run *record.Run) (u plan.Usage, ok bool) {
	mean := func(name string) float64 {
		if m := run.Metrics[name]; m.Mean != nil {
			return *m.Mean
		}
		return 0
	}
	u = plan.Usage{Prompt: mean(record.MetricTokensPrompt), Completion: mean(record.MetricTokensCompletion), Seconds: mean(record.MetricLatency)}
	n := float64(run.Summary.Finished)
	if run.Summary.Unpriced == 0 && n > 0 {
		cost := run.Summary.Cost / n
		u.Cost = &cost
	}
	if n > 0 {
		u.Judging = run.Summary.JudgeCost / n
	}
	return u, u.Prompt > 0 || u.Completion > 0
}

// planMargins says what the gate's margins can expect. Every margin must show it at the full alpha.
func (s *session) planMargins(p *plan.Suite, m *measured, g plan.Goal, a plan.Assumed) {
	for _, want := range s.suite.Regression.Margins {
		name, _, tagged := strings.Cut(want.Metric, "[tag=")
		v, err := m.variance(name, a)
		if err != nil || tagged {
			p.Notes = append(p.Notes, fmt.Sprintf("margin of %s: nothing is known of its spread; telltale compare shows it once there are two runs", want.Metric))
			continue
		}
		size := want.Margin
		if want.Relative {
			size *= v.Mean
		}
		p.Margins = append(p.Margins, plan.NewMargin(&v, want.Metric, m.unit(name), size, p.Cases, p.Repeats, g))
	}
}

// planNotes says what the figures do not hold.
func (s *session) planNotes(p *plan.Suite, m *measured) {
	if s.suite.Groups != "" && len(m.runs) == 0 {
		p.Notes = append(p.Notes, fmt.Sprintf("cases are grouped by %s, and answers within a group are alike: what is found is larger than shown; --from DIR measures by how much", s.suite.Groups))
	}
	if p.Cells > 1 {
		p.Notes = append(p.Notes, fmt.Sprintf("each of %d snapshots is decided on by itself; samples, tokens, money and time are of all of them", p.Cells))
	}
	if len(m.runs) == 0 && s.services.cacheable() {
		p.Notes = append(p.Notes, "what judges and embedders cost is not in it; --from DIR measures it")
	}
	if p.Own().Cost == nil {
		p.Notes = append(p.Notes, "the price of a model is not known: --prices FILE gives it")
	}
	b, own := s.suite.Budget, p.Own()
	if b.Cost > 0 && own.Cost != nil && *own.Cost > b.Cost || b.Tokens > 0 && own.Prompt+own.Completion > float64(b.Tokens) || b.Time > 0 && own.Minutes*60 > b.Time {
		p.Notes = append(p.Notes, "the suite's budget will end the run before its last sample")
	}
}
