package app

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/gate"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// execute runs the plan into the journal and writes the results. A gate that draws more repeats while it is
// undecided adds a journal for each further round.
func (s *session) execute(ctx context.Context, dir *runDir, journal *runner.Journal) (f *Finished, err error) {
	r := &rounds{began: time.Now()}
	r.add(journal, s.plan.Repeats, s.plan.Planned())
	open := true
	defer func() {
		if open {
			err = errors.Join(err, r.close())
		}
	}()
	if err := s.resumeRounds(dir, r); err != nil {
		return nil, err
	}
	opts, err := s.runnerOptions()
	if err != nil {
		if r.done() > 0 {
			return nil, err
		}
		open = false
		return nil, errors.Join(err, r.close(), dir.undo())
	}
	for {
		if s.o.Planned != nil {
			s.o.Planned(r.total(), r.done(), dir.path)
		}
		out, err := r.run(ctx, s.plan, opts)
		if err != nil {
			return nil, s.broken(dir, r, err)
		}
		if opts.Cache != nil {
			s.tidyCache(opts.Cache)
		}
		if out.Unreachable != nil {
			if r.done() == 0 {
				open = false
				return nil, &CouldNotRun{errors.Join(fmt.Errorf("the provider gave no answer: %w", out.Unreachable), r.close(), dir.undo())}
			}
			return nil, &CouldNotRun{fmt.Errorf("given up after %d of %d samples: %w; --resume goes on with %s", r.done(), r.total(), out.Unreachable, dir.path)}
		}
		if out.Interrupted {
			return nil, &Interrupted{Dir: dir.path, Done: r.done(), Total: r.total(), Stopped: out.Stopped}
		}
		var ruling gate.Ruling
		if f, ruling, err = s.results(dir, r, out); err != nil {
			return nil, s.broken(dir, r, err)
		}
		if ruling.Repeats == 0 || out.Stopped != "" {
			break
		}
		if why := s.beyondBudget(r, ruling.Repeats); why != "" {
			f.Run.Warnings = append(f.Run.Warnings, why)
			break
		}
		if err := s.nextRound(dir, r, ruling.Look, ruling.Repeats); err != nil {
			return nil, err
		}
	}
	src := f.Source()
	src.Outcomes = func() iter.Seq2[record.Sample, error] { return readOutcomes(dir.path) }
	if err := report.WriteDir(dir.path, src); err != nil {
		return nil, s.broken(dir, r, err)
	}
	open = false
	if err := r.close(); err != nil {
		return nil, &CouldNotRun{err}
	}
	if !f.Resumable {
		if err := dir.removeRounds(); err != nil {
			return nil, &CouldNotRun{err}
		}
	}
	return f, nil
}

// broken says that the machinery failed and what is kept nevertheless.
func (s *session) broken(dir *runDir, r *rounds, err error) error {
	return &CouldNotRun{fmt.Errorf("%w; %d of %d samples are kept, and --resume goes on with %s", err, r.done(), r.total(), dir.path)}
}

func (s *session) runnerOptions() (runner.Options, error) {
	e := s.suite.Evaluate
	opts := runner.Options{
		Concurrency: s.concurrency(), Timeout: s.o.Timeout, Retries: s.o.Retries, Budget: s.suite.Budget,
		Delay: time.Duration(e.DelayMS) * time.Millisecond, Progress: s.o.Progress,
	}
	if opts.Retries < 0 {
		opts.Retries = DefaultRetries
	}
	if opts.Timeout == 0 && e.TimeoutMS > 0 {
		opts.Timeout = time.Duration(e.TimeoutMS) * time.Millisecond
	}
	if s.o.NoCache || e.Cache != nil && !*e.Cache || !s.anyCacheable() {
		return opts, nil
	}
	cache, err := runner.OpenCache(s.o.CacheDir)
	if err != nil {
		return opts, &CouldNotRun{fmt.Errorf("%w; --no-cache runs without it", err)}
	}
	opts.Cache = cache
	s.services.cache.Store(cache)
	return opts, nil
}

func (s *session) anyCacheable() bool {
	for i := range s.plan.Cells {
		if s.plan.Cells[i].Cacheable {
			return true
		}
	}
	return s.services.cacheable()
}

// tidyCache keeps the cache within its bound; its troubles never fail a run.
func (s *session) tidyCache(c *runner.Cache) {
	if err := errors.Join(c.Err(), c.Prune(cacheLimit)); err != nil {
		s.o.Notice("the cache does not work: " + err.Error())
	}
}

// results turns the journals into samples.jsonl, metrics and the gate's decision. It also counts the samples that
// may get an answer if they are tried again.
func (s *session) results(dir *runDir, r *rounds, out runner.Outcome) (*Finished, gate.Ruling, error) {
	var none gate.Ruling
	acc, err := metric.New(metric.Options{
		Snapshots: len(s.plan.Cells), Expect: s.check.expected(), Finishers: scorer.CorpusFinisher, Scale: scorer.CorpusScale,
		Bounded: s.check.bounded, Signatures: s.check.signatureMap(), Tags: s.gateTags(), Exact: s.suite.Regression.Exact,
	})
	if err != nil {
		return nil, none, err
	}
	served := newServed(s.plan)
	health := metric.NewHealth(len(s.plan.Cells), s.quarantine.list)
	curves := metric.NewCurves(len(s.plan.Cells), s.check.forecast)
	collector := report.NewCollector()
	collector.Hold(s.quarantine.held)
	again := 0
	repeats := r.all()
	perCase := len(s.plan.Cells) * repeats
	err = report.WriteFile(dir.file(samplesFile), func(w io.Writer) error {
		for j, err := range journaled(r) {
			if err != nil {
				return err
			}
			if _, err := w.Write(j.line); err != nil {
				return err
			}
			sample := &j.sample.Sample
			if collector.Keeps(sample.Verdict) {
				sample = &record.Sample{}
				if err := json.Unmarshal(j.line, sample); err != nil {
					return fmt.Errorf("sample %d: %w", j.index, err)
				}
			}
			cell := j.index % perCase / repeats
			served.add(cell, sample)
			collector.Add(sample)
			if mayPass(sample.Error) {
				again++
			}
			held := health.Add(sample, cell)
			if !held {
				curves.Add(sample, cell)
			}
			if err := acc.Add(metric.Observation{Sample: sample, Snapshot: cell, Expect: []string{}, Quarantined: held}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, none, err
	}
	planned := make([]int, len(s.plan.Cells))
	tags := make([]map[string]int, len(s.plan.Cells))
	for i, c := range s.cells.list {
		if at := s.cells.index[i]; at >= 0 {
			planned[at], tags[at] = r.scaled(c.samples-c.quarantined), r.scaledTags(c.tags)
		}
	}
	account, err := acc.Finish(metric.Plan{Samples: planned, Critical: r.scaled(s.critical), Quarantined: r.scaled(s.quarantine.samples), Tags: tags})
	if err != nil {
		return nil, none, err
	}
	run, ruling := s.newRun(dir, r, out, account, served.snapshots(), health, curves)
	f := &Finished{Run: run, Dir: dir.path, Resumable: out.Stopped != "" || again > 0, Again: again, digest: collector.Digest(), lines: gateLines(s.suite)}
	return f, ruling, nil
}

// entry is a finished sample of the journal.
type entry struct {
	index  int
	line   []byte
	sample judged
}

// journaled yields the samples of all rounds by case, cell and repeat.
func journaled(r *rounds) iter.Seq2[entry, error] {
	lines := func(yield func([]byte, error) bool) {
		stopped := errors.New("stopped")
		err := runner.EachOf(r.journals, r.repeats, func(index int, line []byte) error {
			// The index travels before the line, since the goroutines that decode see only bytes.
			head := binary.AppendUvarint(nil, uint64(index))
			if !yield(append(head, line...), nil) {
				return stopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, stopped) {
			yield(nil, err)
		}
	}
	return inOrder(lines, func(_ int, line []byte) (entry, error) {
		index, n := binary.Uvarint(line)
		e := entry{index: int(index), line: line[n:]}
		if err := json.Unmarshal(e.line, &e.sample); err != nil {
			return e, fmt.Errorf("sample %d: %w", index, err)
		}
		return e, nil
	})
}

// mayPass says whether a sample's error is of a kind that may pass, such as a time-out.
func mayPass(sampleError string) bool {
	kind := sampleError
	if end := strings.IndexAny(kind, " :"); end >= 0 {
		kind = kind[:end]
	}
	return (&record.Failure{Kind: record.FailureKind(kind)}).Retryable()
}

func (s *session) newRun(dir *runDir, r *rounds, out runner.Outcome, account metric.Result, snaps []record.Snapshot, health *metric.Health, curves *metric.Curves) (*record.Run, gate.Ruling) {
	now := time.Now().UTC()
	elapsed := r.elapsed().Seconds()
	run := &record.Run{
		ID: s.plan.ID, Telltale: Version, Seed: s.suite.Seed, Repeats: r.all(),
		Suite:   record.SuiteRef{Path: s.suite.Path, Description: s.suite.Description, Tags: s.suite.Tags, Hash: s.suite.Hash},
		Dataset: s.ref, Snapshots: snaps, Scorers: map[string]string{}, Summary: account.Summary, Metrics: account.Metrics,
		Golden: s.check.goldenRefs(),
		Times:  record.Times{Started: r.journals[0].Header.Started, Finished: now, Seconds: elapsed, Resumed: r.sittings(), Concurrency: s.concurrency()},
	}
	if elapsed > 0 {
		run.Times.Throughput = float64(r.done()) / elapsed
	}
	run.Summary.Stopped = out.Stopped
	run.Flaky = s.flaky(health.Finish(snapshotIDs(snaps)), run)
	var tooMany string
	if run.Calibration, tooMany = curves.Finish(snapshotIDs(snaps)); tooMany != "" {
		run.Warnings = append(run.Warnings, tooMany)
	}
	problems := s.derive(&account)
	run.ByTag = account.Tags
	for name, m := range account.Metrics {
		run.Scorers[name] = m.Signature
	}
	facts := gate.Facts{Summary: run.Summary.Counted(), Metrics: account.Metrics, Tags: account.Tags}
	if len(snaps) > 1 {
		run.BySnapshot = map[string]map[string]record.Metric{}
		for i, m := range account.Snapshots {
			run.BySnapshot[snaps[i].ID] = m
			facts.Snapshots = append(facts.Snapshots, gate.Snapshot{Label: snaps[i].Provider + " · " + snaps[i].Prompt, Metrics: m, Tags: account.SnapshotTags[i]})
		}
	}
	facts.Regression = s.compareRun(run, dir.path)
	ruling := gate.Decide(s.rules, facts)
	run.Gate = ruling.Gate
	if ruling.Look != nil {
		run.Looks = append(slices.Clip(s.looks.Past), *ruling.Look)
	}
	run.Warnings = slices.Concat(run.Warnings, ruling.Warnings, s.check.warnings(s.rules), account.Problems, problems)
	for _, sn := range snaps {
		if len(sn.Fingerprints) > 1 {
			run.Warnings = append(run.Warnings, fmt.Sprintf("%s was served by %d systems during the run (fingerprints %v): its answers may not be comparable", sn.Provider, len(sn.Fingerprints), sn.Fingerprints))
		}
	}
	return run, ruling
}

// snapshotIDs names the snapshots where there are several to tell apart.
func snapshotIDs(snaps []record.Snapshot) []string {
	if len(snaps) < 2 {
		return nil
	}
	out := make([]string, len(snaps))
	for i := range snaps {
		out[i] = snaps[i].ID
	}
	return out
}

// derive adds the derived metrics wherever there are metrics. What is wrong with them is said once, of
// the whole run.
func (s *session) derive(account *metric.Result) []string {
	problems := s.derived.Add(account.Metrics)
	for i, m := range account.Snapshots {
		if len(account.Snapshots) > 1 {
			s.derived.Add(m)
		}
		for _, tag := range account.SnapshotTags[i] {
			if len(account.Snapshots) > 1 {
				s.derived.Add(tag)
			}
		}
	}
	for _, m := range account.Tags {
		s.derived.Add(m)
	}
	return problems
}

// gateTags are the tags that the gate asks about.
func (s *session) gateTags() []string {
	var out []string
	for _, r := range s.rules {
		if r.Tag != "" && !slices.Contains(out, r.Tag) {
			out = append(out, r.Tag)
		}
	}
	for _, m := range s.margins {
		if m.Tag != "" && !slices.Contains(out, m.Tag) {
			out = append(out, m.Tag)
		}
	}
	return out
}

// served collects what actually answered: the fingerprints and models that each snapshot was served by.
type served struct {
	snaps  []record.Snapshot
	prints []map[string]bool
}

// maxPrints bounds the fingerprints kept for one snapshot.
const maxPrints = 100

func newServed(p *runner.Plan) *served {
	s := &served{}
	for i := range p.Cells {
		s.snaps = append(s.snaps, p.Cells[i].Snapshot)
		s.prints = append(s.prints, map[string]bool{})
	}
	return s
}

func (s *served) add(cell int, sample *record.Sample) {
	if sample.Fingerprint != "" && len(s.prints[cell]) < maxPrints {
		s.prints[cell][sample.Fingerprint] = true
	}
}

// snapshots returns the snapshots with what served them in their ids.
func (s *served) snapshots() []record.Snapshot {
	for i := range s.snaps {
		for p := range s.prints[i] {
			s.snaps[i].Fingerprints = append(s.snaps[i].Fingerprints, p)
		}
		sort.Strings(s.snaps[i].Fingerprints)
		s.snaps[i].Identify()
	}
	return s.snaps
}
