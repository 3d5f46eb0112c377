// Package compare says how the same cases fared in two runs: for each metric the difference over the paired
// cases with its interval and p-value, over all of them and by tag, and which cases flipped.
//
// Both runs' samples pass through once, in any order of cases as long as those of a case come together; of each only
// numbers, a verdict and hashes are kept (about 20 bytes for each metric of a case). The outputs of flipped cases are
// fetched in a second pass. Nothing is dropped in silence: cases that only one run has, cases whose input changed and
// observations that one side lacks are counted. The package decides nothing; whether a difference is too much is for
// package gate, which sees the record.Comparison.
//
// docs/compare.md says which procedure is used when; docs/statistics.md why.
package compare

import (
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Side is one of the two runs that are compared.
type Side struct {
	// Name is as the user gave it: a directory or a baseline's name.
	Name string
	// Baseline is the content hash of a stored baseline; empty for a run's directory.
	Baseline string
	Run      *record.Run
	// Samples yields the run's samples, those of a case one after another. It is called at most twice.
	Samples func() iter.Seq2[record.Sample, error]
	// Numbers is Samples without messages, outputs and log-probabilities, which the first pass does not need;
	// nil stands for Samples.
	Numbers func() iter.Seq2[record.Sample, error]
	// NoOutputs says that the samples have no outputs: those of a baseline of scores and hashes.
	NoOutputs bool
	// Inputs returns the hash of a case's variables where the samples do not carry them; nil takes record.HashVars
	// of Sample.Vars.
	Inputs func(caseID string) (hash string, ok bool)
}

// Slice names a metric over all cases, or over those of a tag.
type Slice struct{ Metric, Tag string }

// Options say what is compared and how sure it must be. The zero value is usable.
type Options struct {
	// The snapshots to compare, by provider label and prompt label; empty pairs those with the same labels.
	BaseProvider, HeadProvider string
	BasePrompt, HeadPrompt     string
	// Metrics restricts the comparison to these metrics, each with those below it (NAME.*); nil takes all.
	Metrics []string
	// Tags get slices before any others, and also when all paired cases have them.
	Tags []string
	// Alpha of the one-sided tests, 0 means config.DefaultAlpha; Level of the two-sided intervals, 0 means
	// stats.Level; Power of Difference.MDE, 0 means config.DefaultPower.
	Alpha, Level, Power float64
	// Correction over the whole-run tests: holm (also when empty), bonferroni, none.
	Correction string
	// SliceCorrection over the tests of slices: bh (also when empty), by, none.
	SliceCorrection string
	// Exclude takes cases out of the comparison; nil for none. They are counted.
	Exclude func(caseID string, tags []string) bool
	// Seed of the resampling; the same seed gives the same numbers.
	Seed uint64
	// Better overrides what is known of a metric's direction: higher or lower.
	Better map[string]string
	// Relative holds the margins that are shares of the base's value, for which Difference.Bound then holds.
	Relative map[Slice]float64
	// Finishers makes the number of a corpus metric from its summed statistics; it must be safe for concurrent
	// use. nil when there are no corpus metrics.
	Finishers func(name string) (func([]float64) float64, bool)
	// Progress is called now and then with the number of samples read so far; nil for none.
	Progress func(samples int)
}

// The names of corrections.
const (
	Holm       = "holm"
	Bonferroni = "bonferroni"
	BH         = "bh"
	BY         = "by"
	None       = "none"
)

func (o *Options) complete() error {
	for _, p := range []struct {
		name string
		x    *float64
		def  float64
	}{{"alpha", &o.Alpha, config.DefaultAlpha}, {"level", &o.Level, stats.Level}, {"power", &o.Power, config.DefaultPower}} {
		if *p.x == 0 {
			*p.x = p.def
		}
		if !(*p.x > 0 && *p.x < 1) {
			return &config.Error{Pos: config.Pos{Key: "--" + p.name}, Value: fmt.Sprint(*p.x), Problem: "not a probability", Want: "a number above 0 and below 1"}
		}
	}
	if o.Alpha > 0.5 {
		return &config.Error{Pos: config.Pos{Key: "--alpha"}, Value: fmt.Sprint(o.Alpha), Problem: "too large for a test", Want: "at most 0.5, such as 0.05"}
	}
	for _, c := range []struct {
		name string
		s    *string
		all  []string
	}{{"correction", &o.Correction, []string{Holm, Bonferroni, None}}, {"slice-correction", &o.SliceCorrection, []string{BH, BY, None}}} {
		if *c.s == "" {
			*c.s = c.all[0]
		}
		if !slices.Contains(c.all, *c.s) {
			return &config.Error{Pos: config.Pos{Key: "--" + c.name}, Value: *c.s, Problem: "no such correction", Want: fmt.Sprintf("one of %q", c.all)}
		}
	}
	for name, b := range o.Better {
		if b != metric.Higher && b != metric.Lower {
			return &config.Error{Pos: config.Pos{Key: name}, Value: b, Problem: "not a direction", Want: "higher or lower"}
		}
	}
	return nil
}

// Runs compares head with base. A user's mistake (snapshots that cannot be paired, signatures that differ,
// a metric that neither has) is a *config.Error or config.Errors.
func Runs(base, head Side, opts Options) (*record.Comparison, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	pairs, left, err := pairSnapshots(&base, &head, &opts)
	if err != nil {
		return nil, err
	}
	chosen, warnings, err := chooseMetrics(&base, &head, opts.Metrics)
	if err != nil {
		return nil, err
	}
	c := &record.Comparison{
		Base: ref(&base), Head: ref(&head), Pairs: pairs, Alpha: opts.Alpha, Level: opts.Level,
		Correction: opts.Correction, SliceCorrection: opts.SliceCorrection,
		Warnings: slices.Concat(left, unfinished("base", &base), unfinished("head", &head), warnings),
	}
	t := newTable(&base, &head, c.Pairs, &opts)
	if err := t.read(); err != nil {
		return nil, err
	}
	if err := t.judgedAlike(chosen); err != nil {
		return nil, err
	}
	c.Pairing = t.pairing()
	c.Warnings = append(c.Warnings, t.warnings()...)
	e := &estimator{table: t, opts: &opts, head: head.Run}
	tags, more := e.tags()
	if more > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("%d less frequent tags have no slices: the %d most frequent are compared", more, maxTags))
	}
	c.Metrics, c.Slices = e.all(chosen, tags)
	correct(c)
	if err := t.flips(c); err != nil {
		return nil, err
	}
	return c, nil
}

func ref(s *Side) record.RunRef {
	r := s.Run
	return record.RunRef{Name: s.Name, Baseline: s.Baseline, ID: r.ID, Suite: r.Suite, Dataset: r.Dataset, Repeats: repeats(r), Snapshots: r.Snapshots}
}

func repeats(r *record.Run) int { return max(r.Repeats, 1) }

// unfinished warns of a run that lacks samples: what it has may not be like what it lacks.
func unfinished(which string, s *Side) []string {
	sum := s.Run.Summary
	if lacking := sum.Planned - sum.Finished; lacking > 0 {
		return []string{fmt.Sprintf("%s %s lacks %d of its %d planned samples; their cases are not compared, or with fewer repeats", which, s.Name, lacking, sum.Planned)}
	}
	return nil
}

// correct fills in Adjusted: the whole-run tests are corrected together, and so are those of the slices.
func correct(c *record.Comparison) {
	adjust(c.Metrics, c.Correction, func(d *record.Difference) *float64 {
		if d.Better == "" {
			return d.P
		}
		return d.PWorse
	})
	adjust(c.Slices, c.SliceCorrection, func(d *record.Difference) *float64 { return d.P })
}

func adjust(list []record.Difference, how string, p func(*record.Difference) *float64) {
	raw := make([]float64, len(list))
	for i := range list {
		raw[i] = math.NaN() // not tested, not counted
		if x := p(&list[i]); x != nil {
			raw[i] = *x
		}
	}
	adjusted := raw
	switch how {
	case Holm:
		adjusted = stats.Holm(raw)
	case Bonferroni:
		adjusted = stats.Bonferroni(raw)
	case BH:
		adjusted = stats.BH(raw)
	case BY:
		adjusted = stats.BY(raw)
	}
	for i := range list {
		list[i].Adjusted = finite(adjusted[i])
	}
}

// finite returns x, or nil when it is not a number.
func finite(x float64) *float64 {
	if !stats.Finite(x) {
		return nil
	}
	return &x
}
