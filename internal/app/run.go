package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/compare"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/dataset"
	"github.com/telltale-llm/telltale/internal/gate"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// RunOptions says what to run and how.
type RunOptions struct {
	LoadOptions
	Suite string
	// Out is the directory of the results; empty makes one under .telltale/runs.
	Out           string
	Force, Resume bool
	// Baseline is what the run is compared with, instead of the suite's: a stored baseline's name or a run's
	// directory.
	Baseline string
	// Samples, Seed, Sample and Tags override the suite when set.
	Samples int
	Seed    *int64
	Sample  int
	Tags    []string
	// Concurrency 0 takes the suite's or DefaultConcurrency; Retries below 0 takes DefaultRetries.
	Concurrency int
	Retries     int
	Timeout     time.Duration
	NoCache     bool
	CacheDir    string
	Prices      string
	Stdin       io.Reader
	// Providers answer in place of the suite's providers of that id or label; NAME also stands for the id
	// go:NAME. One that the suite has no use for is an error.
	Providers map[string]runner.Provider
	asked     *givenProviders
	// planning says that nothing will be run, so that neither the baseline nor API keys need be there yet; asksJudges that
	// judges are asked nevertheless.
	planning, asksJudges bool
	// alter changes the suite after it was read; may be nil. onlyCritical leaves only critical cases in.
	alter        func(*config.Suite) error
	onlyCritical bool
	// Now is the clock by which a quarantine expires; nil for the system's.
	Now func() time.Time
	// Notice is told of what a user should know, one sentence at a time.
	Notice func(string)
	// Planned is called with the number of samples before the first is made, and again when the gate draws more.
	Planned  func(total, done int, dir string)
	Progress func(runner.Progress)
	// Comparing is called when the run is about to be compared with its baseline, which keeps much in memory, and the
	// function that it returns when that is done.
	Comparing func() (done func())
}

// Defaults of a run.
const (
	DefaultConcurrency = 16
	DefaultRetries     = 4
	cacheLimit         = 2 << 30
)

// Finished is a run with where its results are.
type Finished struct {
	Run *record.Run
	Dir string
	// Resumable says that samples are missing or may be made again, and that the run can be resumed.
	Resumable bool
	// Again counts the samples without an answer that a resumed run makes anew.
	Again int
	// digest is what the reports know of all samples; nil when the run was read from its directory.
	digest *report.Digest
	// lines are those of the suite's gate.
	lines []gateLine
}

// Run executes a suite. Its error is *config.Error or config.Errors for the user's mistakes, with
// nothing written; *CouldNotRun; or *Interrupted. Everything else, a failed gate too, is in the result.
func Run(ctx context.Context, o RunOptions) (f *Finished, err error) {
	o.Notice = once(o.Notice)
	if len(o.Providers) > 0 {
		o.asked = &givenProviders{used: map[string]bool{}}
	}
	s, err := open(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer joinClose(&err, s.Close)
	if err := o.unasked(); err != nil {
		return nil, err
	}
	dir := &runDir{path: o.Out}
	if dir.path == "" {
		dir.path = defaultDir(o.Suite, time.Now())
	}
	if err := dir.check(o.Force, o.Resume); err != nil {
		return nil, err
	}
	if o.Resume && !dir.has(journalFile) {
		if run, err := dir.finished(); err == nil {
			if run.ID != s.plan.ID {
				return nil, &config.Error{Pos: config.Pos{Key: "--resume"}, Value: dir.path, Problem: "holds a finished run of another suite, dataset or configuration", Hint: "name another directory"}
			}
			if err := dir.removeRounds(); err != nil {
				return nil, &CouldNotRun{err}
			}
			o.Notice("the run is finished already; nothing is left to do")
			return &Finished{Run: run, Dir: dir.path}, nil
		}
	}
	if err := s.preflight(ctx); err != nil {
		return nil, err
	}
	journal, err := dir.openJournal(s.header(), o.Force && !o.Resume, o.Resume)
	if err != nil {
		return nil, err
	}
	return s.execute(ctx, dir, journal)
}

// once passes each text on the first time only: what is wrong with a row is found in every pass over
// the dataset. It remembers a bounded number of texts.
func once(notice func(string)) func(string) {
	seen := map[string]bool{}
	return func(text string) {
		if notice == nil || seen[text] {
			return
		}
		if len(seen) < 10_000 {
			seen[text] = true
		}
		notice(text)
	}
}

// session is a loaded suite with everything open that running it needs.
type session struct {
	o       *RunOptions
	suite   *config.Suite
	rules   []gate.Rule
	margins []gate.Margin
	// looks is set when the gate draws more repeats while it is undecided.
	looks *gate.Looks
	// base is what the run is compared with, compared the metrics; nil stands for none and for all.
	base     *compare.Side
	compared []string
	// criticalSeen has the names in gate.critical that a case has.
	criticalSeen map[string]bool
	quarantine   *quarantine
	data         *dataset.Dataset
	ref          record.DatasetRef
	critical     int // samples
	cells        *cells
	// remembers says that a prompt is shown the conversation of the cases before.
	remembers bool
	derived   *metric.Deriver
	check     *checker
	services  *services
	providers []*opened
	plan      *runner.Plan
	// mu guards what is found or made while cases are.
	mu sync.Mutex
	// transforms holds compiled transforms by their source, varsTransforms those that make variables.
	transforms     map[string]*scorer.Transform
	varsTransforms map[string]*scorer.VarsTransform
	// stored holds what stands for the outputs that cases store, by variable. It is never changed, but replaced.
	stored map[string]any
	// timed says that the gate asks for times, so that the cache may not answer.
	timed bool
	parts map[string]string
}

// Close ends what the session keeps open.
func (s *session) Close() error {
	var errs []error
	if s.data != nil {
		errs = append(errs, s.data.Close())
	}
	if s.check != nil {
		errs = append(errs, s.check.Close())
	}
	if s.services != nil {
		errs = append(errs, s.services.Close())
	}
	for _, p := range s.providers {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// open does everything that can go wrong through a user's mistake.
func open(ctx context.Context, o *RunOptions) (s *session, err error) {
	loaded, err := LoadSuite(o.Suite, o.LoadOptions)
	if err != nil {
		return nil, err
	}
	for _, u := range loaded.Unsupported {
		o.Notice("left out: " + u.Error())
	}
	for _, e := range loaded.Ignored {
		o.Notice("ignored: " + e.Error())
	}
	s = &session{o: o, suite: loaded.Suite}
	defer func() {
		if err != nil {
			config.Locate(err, readBounded)
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	override(s.suite, o)
	if o.alter != nil {
		if err := o.alter(s.suite); err != nil {
			return s, err
		}
	}
	s.quarantine = newQuarantine(s.suite.Quarantine, o.today())
	prompts, err := s.compile()
	if err != nil {
		return s, err
	}
	s.cells = newCells(s.suite, s.providers, prompts)
	return s, s.examine(ctx)
}

// compile reads what the suite says, opens what it names, and tells of all mistakes in it at once.
func (s *session) compile() ([]*runner.Prompt, error) {
	var errs config.Errors
	at := func(key string) config.Pos { return config.Pos{File: s.suite.Path, Key: key} }
	for _, c := range s.suite.Gate {
		rule, err := gate.Parse(c)
		if err != nil {
			errs.Append(c.Pos, err)
			continue
		}
		s.rules = append(s.rules, rule)
		// A cached answer has no time of its own.
		s.timed = s.timed || rule.Metric == record.MetricLatency || rule.Metric == record.MetricTTFT
	}
	errs.Append(at("gate"), gate.Contradictions(s.rules))
	errs.Append(at("gate"), s.parseRegression())
	if len(s.suite.Prompts) == 0 {
		errs = append(errs, &config.Error{Pos: at("prompts"), Problem: "no prompt is left that can be sent", Want: "at least one that is no code"})
	}
	var err error
	prompts := make([]*runner.Prompt, len(s.suite.Prompts))
	for i, p := range s.suite.Prompts {
		if prompts[i], err = runner.CompilePrompt(p); err != nil {
			errs.Append(p.Pos, err)
		}
		s.remembers = s.remembers || s.suite.Prompts[i].Remembers()
	}
	if s.providers, err = openProviders(s.suite, s.o); err != nil {
		errs.Append(at("providers"), err)
	}
	if s.derived, err = metric.NewDeriver(s.suite.Derived); err != nil {
		errs.Append(at("derived"), err)
	}
	s.services = newServices(s.suite, s.dir(), s.o, s.concurrency())
	if s.check, err = newChecker(s.suite, s.dir(), s.services.forScorers()); err != nil {
		errs.Append(at("defaultTest"), err)
		s.check = nil
	} else {
		for _, p := range s.providers {
			if p.spec.Transform == "" {
				continue
			}
			p.transform, err = s.transform(p.spec.Transform, p.spec.TransformPos)
			errs.Append(p.spec.Pos, err)
		}
	}
	errs.Append(s.suite.Regression.BaselinePos, s.openBaseline())
	return prompts, errs.Err()
}

// dir is the suite's folder.
func (s *session) dir() string { return filepath.Dir(s.o.Suite) }

// examine reads the cases, and finds the mistakes that show only with them.
func (s *session) examine(ctx context.Context) error {
	if err := s.scan(ctx); err != nil {
		return err
	}
	if err := s.checkCritical(); err != nil {
		return err
	}
	if err := s.quarantine.check(s.o.narrowed(), s.o.Notice); err != nil {
		return err
	}
	if err := s.checkJudges(); err != nil {
		return err
	}
	if s.looks != nil && s.cells.uneven {
		return &config.Error{Pos: s.suite.Regression.OnUndecidedPos, Value: "extend", Problem: "draws the same number of answers to each case, and a test has a repeat of its own", Want: "fail, warn, or no repeat in tests"}
	}
	if err := s.checkMetrics(); err != nil {
		return err
	}
	if err := s.findTools(); err != nil {
		return err
	}
	s.makePlan()
	return s.checkBaseline()
}

// override applies the command line to the suite.
func override(suite *config.Suite, o *RunOptions) {
	if o.Samples > 0 {
		suite.Samples = o.Samples
	}
	if o.Seed != nil {
		suite.Seed = *o.Seed
	}
	for i := range suite.Tests {
		if o.Sample > 0 {
			suite.Tests[i].Sample = o.Sample
		}
		suite.Tests[i].Tags = append(suite.Tests[i].Tags, o.Tags...)
	}
}

// scan reads the whole dataset once: every row is merged with the defaults, its prompts are
// rendered and its checks compiled, so that a run starts only when no row can break it.
func (s *session) scan(ctx context.Context) error {
	unsupported := func(p config.Pos, what string) {
		s.o.Notice(fmt.Sprintf("left out: %s: %s", p, what))
	}
	opts := dataset.Options{
		Dir: s.dir(), Seed: s.suite.Seed, Stdin: s.o.Stdin,
		DecodeTest: func(p config.Pos, raw map[string]any) (config.Test, error) {
			return s.decodeTest(p, raw)
		},
		DecodeTests: func(file string, data []byte) ([]config.Test, error) {
			opts := rowOptions(file, s.o.LoadOptions)
			opts.Default = &s.suite.Default
			tests, left, err := config.DecodeTests(file, data, opts)
			return tests, errors.Join(s.left(left), err)
		},
		DecodeExpected: s.decodeExpected,
		Expand:         s.expand(),
		CacheDir:       cmp.Or(s.o.CacheDir, DefaultCacheDir),
	}
	if s.o.SkipUnsupported {
		opts.Unsupported = unsupported
	}
	var err error
	if s.data, err = dataset.Open(s.suite.Tests, opts); err != nil {
		return err
	}
	s.ref, err = s.data.Scan(ctx, func(row dataset.Row) error {
		c, err := s.newCase(row)
		if err != nil {
			return err
		}
		if s.criticalSeen == nil {
			s.criticalSeen = map[string]bool{}
		}
		s.namedCritical(c.ID, c.Tags, s.criticalSeen)
		if len(s.suite.Quarantine) > 0 {
			s.quarantine.meet(&c, s.criticalAt(&row, &c))
		}
		for _, prompt := range s.cells.promptsOf(c.Cells) {
			if err := runner.CheckPrompt(s.cells.prompts[prompt], &c, row.Test.Pos); err != nil {
				return err
			}
		}
		s.count(&c)
		return nil
	})
	if err != nil && ctx.Err() != nil {
		return &Interrupted{Stopped: "interrupted while reading the dataset"}
	}
	return err
}

// expand makes several cases of a row, or none of one that is not wanted. Nil stands for each row as it is.
func (s *session) expand() func(config.Test) ([]config.Test, error) {
	several := s.suite.Default.Variants()
	if !s.o.onlyCritical {
		return several
	}
	return func(t config.Test) ([]config.Test, error) {
		if !t.Critical && !s.suite.Default.Critical && !s.namedCritical(t.ID, append(t.Tags[:len(t.Tags):len(t.Tags)], s.suite.Default.Tags...), nil) {
			return nil, nil
		}
		if several == nil {
			return []config.Test{t}, nil
		}
		return several(t)
	}
}

func (s *session) decodeTest(p config.Pos, raw map[string]any) (config.Test, error) {
	t, left, err := config.DecodeTest(p, raw, rowOptions(p.File, s.o.LoadOptions))
	return t, errors.Join(s.left(left), err)
}

// left reports what a dataset asks for and telltale cannot do: an error, or a notice with
// --skip-unsupported.
func (s *session) left(us config.Errors) error {
	if len(us) == 0 {
		return nil
	}
	if !s.o.SkipUnsupported {
		return us
	}
	for _, u := range us {
		s.o.Notice("left out: " + u.Error())
	}
	return nil
}

// newCase merges a row with the suite's defaults and compiles its checks.
func (s *session) newCase(row dataset.Row) (runner.Case, error) { return s.caseWith(row, nil) }

// caseWith is newCase with variables that the cases before gave; nil before they have been answered.
func (s *session) caseWith(row dataset.Row, before map[string]any) (runner.Case, error) {
	t := row.Test
	def := s.suite.Default
	def.Assert = nil
	merged := t.Merge(&def)
	if before == nil {
		before = s.later()
	}
	if err := s.transformVars(&merged); err != nil {
		return runner.Case{}, err
	}
	addVars(&merged, before)
	if err := fillVars(&merged); err != nil {
		return runner.Case{}, err
	}
	checks, timed, err := s.check.forTest(&merged)
	if err != nil {
		return runner.Case{}, err
	}
	c := runner.Case{
		Case: record.Case{
			ID: merged.ID, ExplicitID: row.ExplicitID, Description: merged.Description, Vars: merged.Vars, Tags: merged.Tags,
			Group: merged.Group, Critical: merged.Critical, Metadata: merged.Metadata,
		},
		Threshold: merged.Threshold, Checks: checks, Timed: timed || s.timed, Output: merged.Output, Repeats: cmp.Or(merged.Repeat, s.suite.Samples),
	}
	if c.Cells, err = s.asked(&merged); err != nil {
		return c, err
	}
	s.inOrder(&c, &merged, row)
	if err := compares(&c, &merged, len(c.Cells), s.storesAny()); err != nil {
		return c, err
	}
	c.Critical = c.Critical || s.namedCritical(c.ID, c.Tags, nil)
	if err := s.addTurns(&c, &merged); err != nil {
		return c, err
	}
	if merged.Transform != "" {
		if c.Transform, err = s.transform(merged.Transform, merged.TransformPos); err != nil {
			return c, err
		}
	}
	if c.Vars == nil {
		c.Vars = map[string]any{}
	}
	if err := demand(&c, merged.Pos); err != nil {
		return c, err
	}
	for _, part := range []struct {
		from string
		to   *string
		key  string
	}{{merged.Prefix, &c.Prefix, "options.prefix"}, {merged.Suffix, &c.Suffix, "options.suffix"}} {
		if *part.to, err = fillText(part.from, c.Vars); err != nil {
			return c, &config.Error{Pos: merged.Pos.At(part.key), Value: part.from, Err: err}
		}
	}
	if g := s.suite.Groups; g != "" && c.Group == "" {
		v, ok := c.Vars[g]
		if !ok {
			v, ok = c.Metadata[g]
		}
		if !ok {
			return c, &config.Error{Pos: merged.Pos.At("vars." + g), Problem: fmt.Sprintf("the suite groups cases by %q, which this case has neither as a variable nor in its metadata", g), Want: "a value for it"}
		}
		c.Group = fmt.Sprint(v)
	}
	return c, nil
}

// cases reads the dataset again for the runner.
func (s *session) cases(ctx context.Context) iter.Seq2[runner.Case, error] {
	return func(yield func(runner.Case, error) bool) {
		for row, err := range s.data.Rows(ctx) {
			var c runner.Case
			if err == nil {
				c, err = s.newCase(row)
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// makePlan fixes what is run and what determines it.
func (s *session) makePlan() {
	s.plan = &runner.Plan{Cases: s.cases, Count: s.ref.Cases, Repeats: s.cells.repeats, Seed: s.suite.Seed, Stores: s.storesAny()}
	var ids []string
	limits := map[*opened]*runner.Limiter{}
	for _, c := range s.settle() {
		p := c.provider
		if limits[p] == nil {
			most := s.concurrency()
			if m := p.info.MaxConcurrency; m > 0 {
				most = min(most, m)
			}
			limits[p] = runner.NewLimiter(most)
		}
		prompt := &s.suite.Prompts[c.prompt]
		snap := record.Snapshot{Provider: p.spec.Name(), Model: p.info.Model, Prompt: prompt.Label, Template: s.cells.prompts[c.prompt].Source(), Params: p.params()}
		snap.Identify()
		ids = append(ids, snap.ID)
		s.plan.Samples += c.samples
		s.plan.Cells = append(s.plan.Cells, runner.Cell{
			Provider: p.provider, Prompt: s.cells.prompts[c.prompt], Snapshot: snap, ProviderName: p.spec.Name(), PromptName: prompt.Label,
			Cacheable: p.info.Cacheable, Stream: s.check.streams, Limit: limits[p], Pace: p.pace, Transform: p.transform, Tools: p.tools,
			Remembers: prompt.Remembers(),
		})
	}
	s.parts = map[string]string{
		"suite": s.suite.Hash, "dataset": s.ref.Hash, "snapshots": record.HashJSON(ids), "scorers": record.HashJSON(s.check.signatureList()),
		"seed": fmt.Sprint(s.suite.Seed), "samples": fmt.Sprint(s.suite.Samples), "telltale version": Version,
	}
	if s.base != nil {
		s.parts["baseline"] = cmp.Or(s.base.Baseline, s.base.Run.ID)
	}
	s.plan.ID = record.HashJSON(s.parts)
}

// storesAny says that a case stores its output for those after it.
func (s *session) storesAny() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.stored) > 0
}

// transform compiles a test's transform, once for all cases that share it.
func (s *session) transform(source string, p config.Pos) (*scorer.Transform, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.transforms[source]; ok {
		return t, nil
	}
	t, err := scorer.NewTransform(source, p, s.check.dir, s.check.services)
	if err != nil {
		return nil, err
	}
	if s.transforms == nil {
		s.transforms = map[string]*scorer.Transform{}
	}
	if len(s.transforms) < maxTransforms {
		s.transforms[source] = t
	}
	return t, nil
}

// maxTransforms bounds the compiled transforms that are kept.
const maxTransforms = 1000

func (s *session) concurrency() int {
	switch {
	case s.o.Concurrency > 0:
		return s.o.Concurrency
	case s.suite.Evaluate.MaxConcurrency > 0:
		return s.suite.Evaluate.MaxConcurrency
	}
	return DefaultConcurrency
}

func (s *session) header() runner.Header {
	return runner.Header{ID: s.plan.ID, Parts: s.parts, Total: s.plan.Total(), Started: time.Now().UTC()}
}

// preflight asks every provider whether it can work at all.
func (s *session) preflight(ctx context.Context) error {
	for _, p := range s.providers {
		if !s.cells.used(p) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := p.provider.Check(ctx)
		cancel()
		if err == nil {
			continue
		}
		if isMistake(err) {
			return err
		}
		return &CouldNotRun{&config.Error{Pos: p.spec.Pos, Value: p.spec.ID, Problem: "the provider cannot be reached", Err: err}}
	}
	return s.services.preflight(ctx)
}

func isMistake(err error) bool {
	_, one := errors.AsType[*config.Error](err)
	_, many := errors.AsType[config.Errors](err)
	return one || many
}
