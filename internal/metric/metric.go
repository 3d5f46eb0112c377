// Package metric turns scored samples into the metrics of a run, each with an interval that fits
// what it is: Wilson or Clopper-Pearson for rates, clustered standard errors for means and ratios, a grouped jackknife
// for corpus metrics such as BLEU.
//
// Samples pass through an Aggregator once, in plan order, and are not kept: memory grows with the
// number of metrics, snapshots and case groups, not with the number of samples. What should have
// been observed and was not (an error, a sample without a verdict, a sample that was never run, a
// NaN) is counted as missing beside each metric, so that a smaller n is never silent. It does not
// decide whether a number is good enough; that is package gate's work.
package metric

import (
	"fmt"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// The limits that bound an Aggregator's memory.
const (
	maxMetrics  = 1000 // distinct metric names of scorers
	maxProblems = 50   // distinct problems reported
	maxCritical = 100  // critical cases listed by name
	maxTags     = 100  // tags that get metrics of their own
)

// Options says what to expect of the samples.
type Options struct {
	// Snapshots is the number of snapshots in the run, at least 1.
	Snapshots int
	// Expect holds the score names that every sample should have: those of the suite's own
	// assertions, a name twice when two assertions share it. nil means that it is not known.
	Expect []string
	// Finishers finds the function that makes the number of a corpus/NAME metric from its summed
	// statistics. It may be nil when there are no corpus metrics.
	Finishers func(name string) (func([]float64) float64, bool)
	// Scale finds, for a corpus metric that is a bent scale of a smoother quantity of at least 0, the smooth one's
	// finisher, what a jackknife does not see (a part of its standard error and an upper end, for so many independent
	// trials an observation), and the rising function that bends it. The interval is made on the smooth scale. nil means
	// that there is no such metric.
	Scale func(name string) (smooth func([]float64) float64, reach func(stats []float64, trials float64) (spread, upper float64), bend func(float64) float64, ok bool)
	// Bounded says that a mean metric's values always lie within 0 to 1, so that what is missing
	// can be bounded. nil means that none of the scorers' means do.
	Bounded func(metric string) bool
	// Exact asks for Clopper-Pearson intervals of rates, whose clusters then count as a trial each at most; without it
	// they are Wilson's.
	Exact bool
	// Tags are tags that get metrics of their own before any others.
	Tags []string
	// Signatures holds the recipes behind each metric or score name. A name that is not found
	// takes the recipes of the scores that feed it.
	Signatures map[string][]string
}

// Observation is one finished sample.
type Observation struct {
	Sample *record.Sample
	// Snapshot is the index of the sample's snapshot, from 0.
	Snapshot int
	// Expect holds the score names this sample should have; nil stands for Options.Expect, an
	// empty list for none.
	Expect []string
	// Quarantined says that the sample's case is in quarantine: it is in the summary and in no metric.
	Quarantined bool
}

// Plan is what was to be run, so that what was not can be counted.
type Plan struct {
	// Samples is the number of planned samples of each snapshot, without those in quarantine.
	Samples []int
	// Quarantined is the number of planned samples in quarantine.
	Quarantined int
	// Critical is the number of planned samples of critical cases.
	Critical int
	// Tags is the number of planned samples of each snapshot whose case has the tag; shorter than
	// Samples where nothing is planned.
	Tags []map[string]int
}

// Result is the account of a run.
type Result struct {
	// Metrics of all samples together; samples of one case are one cluster across snapshots.
	Metrics map[string]record.Metric
	// Snapshots holds the metrics of each snapshot, by its index.
	Snapshots []map[string]record.Metric
	// Tags holds the metrics of the samples whose case has the tag, at most 100 tags; SnapshotTags
	// those of each snapshot.
	Tags         map[string]map[string]record.Metric
	SnapshotTags []map[string]map[string]record.Metric
	Summary      record.Summary
	// Problems are observations that could not be used, one sentence for each kind.
	Problems []string
}

// Aggregator collects samples. It is not safe for concurrent use.
//
// Samples come in plan order with those of one case (prompts, providers, repeats) one after
// another: a case without a group is a cluster that ends when the case id changes. Cases with a
// group are clustered by it; groups stay open to the end and cost about 60 bytes for each metric.
// Float sums depend on the order of samples only in digits that are compensated for, and the same
// order gives the same bits.
type Aggregator struct {
	opts Options

	names   map[string]int // metric name as scorers give it → position in defs
	defs    []definition
	owners  map[string]int // score name → position in owner counts
	ownerOf []string
	groups  map[string]int
	whole   *scope // nil for a single snapshot, whose scope then is the whole
	parts   []*scope
	tags    map[string]*slice
	// at holds the scopes of the sample at hand, cluster is the one it belongs to.
	at      []*scope
	cluster cluster

	seq      int // samples seen
	caseID   string
	caseSeq  uint64
	summary  summary
	problems problems
}

// definition is what all scopes share about one scorer metric.
type definition struct {
	name   string // as published
	key    string // as scorers give it
	kind   string
	unit   string
	owners []int
}

// New returns an empty Aggregator.
func New(o Options) (*Aggregator, error) {
	if o.Snapshots < 1 {
		return nil, fmt.Errorf("metric: %d snapshots, want at least 1", o.Snapshots)
	}
	a := &Aggregator{
		opts:   o,
		names:  map[string]int{},
		owners: map[string]int{},
		groups: map[string]int{},
		tags:   map[string]*slice{},
	}
	for _, tag := range o.Tags {
		a.slice(tag)
	}
	for range o.Snapshots {
		a.parts = append(a.parts, newScope())
	}
	if o.Snapshots > 1 {
		a.whole = newScope()
	}
	for _, name := range o.Expect {
		if _, err := a.owner(name); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Add takes one finished sample. It keeps nothing of it. An error means that the run cannot be
// accounted for: a snapshot that was not announced, or more metric names than an account can hold.
func (a *Aggregator) Add(o Observation) error {
	if o.Snapshot < 0 || o.Snapshot >= len(a.parts) {
		return fmt.Errorf("metric: sample of snapshot %d, want 0 to %d", o.Snapshot, len(a.parts)-1)
	}
	s := o.Sample
	a.seq++
	if a.seq == 1 || s.Case != a.caseID {
		a.caseID = s.Case
		a.caseSeq++
	}
	c := cluster{id: a.caseSeq, group: -1}
	if s.Group != "" {
		id, ok := a.groups[s.Group]
		if !ok {
			id = len(a.groups)
			a.groups[s.Group] = id
		}
		c.group = id
	}
	v := Verdict(s)
	a.summary.add(s, v)
	if o.Quarantined {
		a.summary.quarantine(s, v)
		return nil
	}
	if s.Critical {
		a.summary.critical(s.Case, v)
	}
	a.enter(o.Snapshot, s.Tags)
	all := builtinsOf(s, v)
	a.eachScope(func(sc *scope) { sc.builtins(c, &all) })
	a.cluster = c
	for i := range s.Scores {
		if err := visit(&s.Scores[i], a); err != nil {
			return err
		}
	}
	return a.absent(o, v)
}

// Verdict returns the sample's verdict, Error whenever there is no answer.
func Verdict(s *record.Sample) verdict.Verdict {
	if s.Error != "" {
		return verdict.Error
	}
	return s.Verdict
}

func (a *Aggregator) eachScope(f func(*scope)) {
	for _, sc := range a.at {
		f(sc)
	}
}

// none counts what a score did not give as missing.
func (a *Aggregator) none(s *record.Score) error {
	owner, err := a.owner(s.Name)
	if err != nil {
		return err
	}
	if s.Error == "" {
		a.problems.add(s.Name, "scores had neither a value nor an error", "case "+a.caseID)
	}
	a.eachScope(func(sc *scope) { sc.miss(owner, 1) })
	return nil
}

// measure adds what a score gives to a metric.
func (a *Aggregator) measure(score string, m *record.Measure) error {
	owner, err := a.owner(score)
	if err != nil {
		return err
	}
	id, err := a.define(m, owner)
	if err != nil {
		return err
	}
	d := &a.defs[id]
	why := d.accept(m)
	for _, sc := range a.at {
		a.addTo(sc, id, a.cluster, m, &why)
	}
	if why != "" {
		a.problems.add(d.name, why, "case "+a.caseID)
	}
	return nil
}

func (a *Aggregator) addTo(sc *scope, id int, c cluster, m *record.Measure, why *string) {
	s := sc.at(id)
	s.seen(a.seq)
	if *why == "" {
		*why = s.observe(&a.defs[id], c, m)
	}
	if *why != "" {
		s.missing++
	}
}

// absent counts expected scores that the sample does not have.
func (a *Aggregator) absent(o Observation, v verdict.Verdict) error {
	expect := o.Expect
	if expect == nil {
		expect = a.opts.Expect
	}
	scores := o.Sample.Scores
	if expect == nil {
		// Nobody knows what this sample was to be scored on: it is missing everywhere.
		if len(scores) == 0 && v == verdict.Error {
			a.eachScope(func(sc *scope) { sc.unknown++ })
		}
		return nil
	}
	if sameNames(expect, scores) {
		return nil
	}
	for i, name := range expect {
		want, have := 0, 0
		for j := range expect {
			if expect[j] == name {
				if j < i {
					want = 0
					break
				}
				want++
			}
		}
		if want == 0 {
			continue
		}
		for j := range scores {
			if scores[j].Name == name {
				have++
			}
		}
		if have >= want {
			continue
		}
		owner, err := a.owner(name)
		if err != nil {
			return err
		}
		a.eachScope(func(sc *scope) { sc.miss(owner, want-have) })
	}
	return nil
}

// sameNames says whether the scores are just the expected ones in order, the common case.
func sameNames(expect []string, scores []record.Score) bool {
	if len(expect) != len(scores) {
		return false
	}
	for i := range scores {
		if scores[i].Name != expect[i] {
			return false
		}
	}
	return true
}

// define returns the position of the measure's metric, and enters it when it is new.
func (a *Aggregator) define(m *record.Measure, owner int) (int, error) {
	id, ok := a.names[m.Metric]
	if !ok {
		if len(a.defs) >= maxMetrics {
			return 0, tooMany(m.Metric, "metric")
		}
		id = len(a.defs)
		a.names[m.Metric] = id
		a.defs = append(a.defs, define(m))
	}
	d := &a.defs[id]
	for _, o := range d.owners {
		if o == owner {
			return id, nil
		}
	}
	d.owners = append(d.owners, owner)
	return id, nil
}

func (a *Aggregator) owner(score string) (int, error) {
	id, ok := a.owners[score]
	if !ok {
		if len(a.ownerOf) >= maxMetrics {
			return 0, tooMany(score, "score")
		}
		id = len(a.ownerOf)
		a.owners[score] = id
		a.ownerOf = append(a.ownerOf, score)
	}
	return id, nil
}

func tooMany(name, what string) error {
	return fmt.Errorf("metric: %q would be %s name %d; a run can hold %d: is a metric name made from case data?",
		name, what, maxMetrics+1, maxMetrics)
}

// published keeps a scorer's metric from taking the name of one that every run has.
func published(name string) string {
	if _, taken := builtinUnits[name]; taken {
		return record.MetricAssert + name
	}
	return name
}

// signature names the recipe of a metric: the one it has, or the hash of all when samples differ.
func (a *Aggregator) signature(key string, owners []int) string {
	sigs := a.opts.Signatures[key]
	if len(sigs) == 0 {
		for _, o := range owners {
			name := a.ownerOf[o]
			if a.opts.Signatures[name] == nil {
				name = strings.TrimSuffix(name, invalidSuffix)
			}
			sigs = append(sigs, a.opts.Signatures[name]...)
		}
	}
	return Signature(sigs)
}

// mixed begins the signature of a metric whose cases are judged by several recipes.
const mixed = "mixed:"

// Signature is that of a metric whose samples were judged by these recipes, in any order and named any number of times: the only
// recipe, a hash of several, or empty.
func Signature(recipes []string) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(recipes)))
	switch len(sorted) {
	case 0:
		return ""
	case 1:
		return sorted[0]
	}
	return mixed + record.HashBytes([]byte(strings.Join(sorted, "\n")))
}

// Mixed says whether a signature stands for several recipes.
func Mixed(signature string) bool { return strings.HasPrefix(signature, mixed) }

// number returns p's value when it is a finite number.
func number(p *float64) (float64, bool) {
	if p == nil || !stats.Finite(*p) {
		return 0, false
	}
	return *p, true
}
