package app

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/compare"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gate"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// parseRegression reads the margins and plans the looks of a gate that draws more repeats.
func (s *session) parseRegression() error {
	r := &s.suite.Regression
	if s.o.Baseline != "" {
		r.Baseline, r.BaselinePos = s.o.Baseline, config.Pos{Key: "--baseline"}
	}
	var errs config.Errors
	margins, err := parseMargins(r.Margins)
	errs.Append(r.BaselinePos, err)
	s.margins = margins
	for _, m := range margins {
		s.timed = s.timed || m.Metric == record.MetricLatency || m.Metric == record.MetricTTFT
	}
	if len(s.margins) > 0 && r.Baseline == "" {
		errs = append(errs, &config.Error{Pos: s.margins[0].Pos, Value: s.margins[0].Text, Problem: "a margin without a baseline", Want: "baseline under gate, or --baseline: a stored baseline's name or a run's directory"})
	}
	if r.OnUndecided != "" && len(r.Margins) == 0 && len(s.o.Gate) == 0 {
		errs = append(errs, &config.Error{Pos: r.OnUndecidedPos, Value: r.OnUndecided, Problem: "the gate has no margin that could be undecided", Want: "a margin such as accuracy: {margin: 0.02}"})
	}
	if r.OnUndecided == "extend" && len(s.margins) > 0 {
		most := r.MaxSamples
		if most == 0 {
			most = min(4*s.suite.Samples, 1_000_000)
		}
		if most <= s.suite.Samples {
			errs = append(errs, &config.Error{Pos: r.OnUndecidedPos, Value: r.OnUndecided, Problem: fmt.Sprintf("max_samples is %d, and the suite draws %d of each case already", most, s.suite.Samples), Want: "max_samples above samples"})
		} else {
			s.looks = gate.PlanLooks(s.suite.Samples, most)
		}
	}
	return errs.Err()
}

// openBaseline opens what the run will be compared with.
func (s *session) openBaseline() error {
	r := &s.suite.Regression
	if r.Baseline == "" || s.o.planning {
		return nil
	}
	dir := "."
	if r.BaselinePos.File != "" {
		dir = s.dir()
	}
	side, path, err := openSide(r.Baseline, dir)
	if err != nil {
		if e, ok := errors.AsType[*config.Error](err); ok {
			return &config.Error{Pos: r.BaselinePos, Value: r.Baseline, Problem: e.Problem, Want: e.Want, Hint: e.Hint, Err: e.Err}
		}
		return &config.Error{Pos: r.BaselinePos, Value: r.Baseline, Err: err}
	}
	s.base = &side
	if s.o.Out != "" && path != "" && sameDir(s.o.Out, path) {
		return &config.Error{Pos: r.BaselinePos, Value: r.Baseline, Problem: "is also where the results go", Want: "another directory with --out"}
	}
	return nil
}

func sameDir(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// runSide is a finished run as a side of a comparison.
func runSide(name string, f *Finished) compare.Side {
	return compare.Side{Name: name, Run: f.Run,
		Samples: func() iter.Seq2[record.Sample, error] { return ReadSamples(f.Dir) },
		Numbers: func() iter.Seq2[record.Sample, error] { return complete(readNumbers(f.Dir), f) },
	}
}

// checkBaseline finds out before anything is asked whether the run can be compared: it compares the runs
// without their samples, as far as snapshots, metrics and their recipes are known by now. When only what has no
// margin cannot be compared, the margins alone are.
func (s *session) checkBaseline() error {
	if s.base == nil {
		return nil
	}
	none := func() iter.Seq2[record.Sample, error] { return func(func(record.Sample, error) bool) {} }
	base, head := *s.base, compare.Side{Name: thisRun, Run: s.outline(s.base.Run), Samples: none}
	base.Samples, base.Numbers = none, nil
	var lacking config.Errors
	for _, m := range s.margins {
		known, ok := base.Run.Metrics[m.Metric]
		if ok {
			lacking.Append(m.Pos, m.Fits(known))
		} else {
			lacking = append(lacking, &config.Error{Pos: m.Pos, Value: s.suite.Regression.Baseline, Problem: fmt.Sprintf("the baseline has no metric %q", m.Metric),
				Want: "one of " + strings.Join(slices.Sorted(maps.Keys(base.Run.Metrics)), ", "), Hint: "run the baseline again with the present suite"})
		}
	}
	for _, r := range s.rules {
		lacking.Append(r.Pos, r.Fits(base.Run.Metrics[r.Metric]))
	}
	if err := lacking.Err(); err != nil {
		return err
	}
	_, err := compare.Runs(base, head, s.compareOptions())
	if err != nil && s.onlyMargins(err) {
		if _, second := compare.Runs(base, head, s.compareOptions()); second == nil {
			s.o.Notice("only the metrics with a margin are compared with the baseline: " + firstLine(err))
			return nil
		} else {
			err = second
		}
	}
	if err == nil {
		return nil
	}
	var errs config.Errors
	errs.Append(s.suite.Regression.BaselinePos, err)
	for i, e := range errs {
		if e.File == "" {
			errs[i] = &config.Error{Pos: s.suite.Regression.BaselinePos, Value: s.suite.Regression.Baseline, Problem: e.Problem, Want: e.Want, Hint: e.Hint, Err: e.Err}
		}
	}
	return errs
}

// onlyMargins leaves all metrics without a margin out of the comparison, when that was not done before and err says
// that they cannot be compared.
func (s *session) onlyMargins(err error) bool {
	if len(s.margins) == 0 || s.compared != nil || !isMistake(err) {
		return false
	}
	for _, m := range s.margins {
		if !slices.Contains(s.compared, m.Metric) {
			s.compared = append(s.compared, m.Metric)
		}
	}
	return true
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

const thisRun = "this run"

// outline is the run as far as it is known before it: snapshots, and metrics with their recipes. A metric of the
// baseline of which nothing is known yet is taken to be the same.
func (s *session) outline(base *record.Run) *record.Run {
	run := &record.Run{Suite: record.SuiteRef{Path: s.suite.Path, Hash: s.suite.Hash}, Dataset: s.ref, Repeats: s.suite.Samples,
		Metrics: maps.Clone(base.Metrics), Scorers: maps.Clone(base.Scorers)}
	if run.Metrics == nil {
		run.Metrics = map[string]record.Metric{}
	}
	if run.Scorers == nil {
		run.Scorers = map[string]string{}
	}
	for i := range s.plan.Cells {
		run.Snapshots = append(run.Snapshots, s.plan.Cells[i].Snapshot)
	}
	builtin := record.BuiltinUnits()
	for name, recipes := range s.check.signatureMap() {
		signature := metric.Signature(recipes)
		if _, taken := builtin[name]; taken {
			name = record.MetricAssert + name
		}
		for m := range base.Metrics {
			if within(m, name) {
				known := run.Metrics[m]
				known.Signature, run.Scorers[m] = signature, signature
				run.Metrics[m] = known
			}
		}
		if _, there := run.Metrics[name]; !there {
			run.Metrics[name], run.Scorers[name] = record.Metric{Signature: signature}, signature
		}
	}
	return run
}

func (s *session) compareOptions() compare.Options {
	r := &s.suite.Regression
	o := compare.Options{Metrics: s.compared, Alpha: r.Alpha, Power: r.Power, Correction: r.Correction, Seed: uint64(s.suite.Seed), Finishers: scorer.CorpusFinisher}
	if len(s.suite.Quarantine) > 0 {
		o.Exclude = s.quarantine.held.Holds
	}
	askMargins(&o, s.margins)
	return o
}

// compareRun compares the run, whose samples are in dir, with the baseline. nil means that there is none.
func (s *session) compareRun(run *record.Run, dir string) *gate.Regression {
	if s.base == nil {
		return nil
	}
	if s.o.Comparing != nil {
		defer s.o.Comparing()()
	}
	reg := &gate.Regression{Regression: s.suite.Regression, Margins: s.margins, Looks: s.looks}
	head := runSide(thisRun, &Finished{Run: run, Dir: dir})
	opts := s.compareOptions()
	opts.Alpha = reg.Level()
	var err error
	if reg.Comparison, err = compare.Runs(*s.base, head, opts); err != nil && s.onlyMargins(err) {
		run.Warnings = append(run.Warnings, "only the metrics with a margin are compared with the baseline: "+firstLine(err))
		opts.Metrics = s.compared
		reg.Comparison, err = compare.Runs(*s.base, head, opts)
	}
	// How much a further look may spend is known once its standard errors are.
	if level := reg.Level(); err == nil && level < opts.Alpha*sameLevel {
		opts.Alpha = level
		reg.Comparison, err = compare.Runs(*s.base, head, opts)
	}
	if err != nil {
		reg.Comparison, reg.Problem = nil, firstLine(err)
		run.Warnings = append(run.Warnings, "the run was not compared with the baseline: "+reg.Problem)
	}
	reg.Mark()
	run.Comparison = reg.Comparison
	return reg
}

// sameLevel is how close two levels must be to count as one.
const sameLevel = 1 - 1e-6

// checkCritical reports names in gate.critical that no case has.
func (s *session) checkCritical() error {
	var errs config.Errors
	for _, c := range s.suite.Regression.Critical {
		if !s.criticalSeen[c.Name] {
			errs = append(errs, &config.Error{Pos: c.Pos, Value: c.Name, Problem: "no case has this id or tag", Want: "the id of a case, or tag=NAME"})
		}
	}
	return errs.Err()
}

// namedCritical says whether gate.critical names the case, and remembers the names that it met in seen, which may be
// nil.
func (s *session) namedCritical(id string, tags []string, seen map[string]bool) bool {
	found := false
	for _, c := range s.suite.Regression.Critical {
		if names(c.Name, id, tags) {
			found = true
			if seen != nil {
				seen[c.Name] = true
			}
		}
	}
	return found
}

// names says whether a name, an id or tag=NAME, stands for a case.
func names(name, id string, tags []string) bool {
	tag, isTag := strings.CutPrefix(name, "tag=")
	return name == id || isTag && slices.Contains(tags, tag)
}
