package record

import (
	"time"

	"github.com/telltale-llm/telltale/internal/verdict"
)

// Run is run.json: an immutable account of one execution of a suite.
type Run struct {
	// ID is the hash of everything that determines the run: suite, dataset, snapshots, scorers, seed, version.
	ID       string     `json:"id"`
	Telltale string     `json:"telltale"` // version that wrote the file
	Suite    SuiteRef   `json:"suite"`
	Dataset  DatasetRef `json:"dataset"`
	Seed     int64      `json:"seed"`
	Repeats  int        `json:"samples_per_case"`

	Snapshots []Snapshot        `json:"snapshots"`
	Scorers   map[string]string `json:"scorers"` // metric name → signature
	Summary   Summary           `json:"summary"`
	Metrics   map[string]Metric `json:"metrics"`
	// BySnapshot holds the metrics of each snapshot by its id, when the run has more than one.
	BySnapshot map[string]map[string]Metric `json:"by_snapshot,omitempty"`
	// ByTag holds the metrics of the samples whose case has a tag, at most 100 tags, over all snapshots.
	ByTag map[string]map[string]Metric `json:"by_tag,omitempty"`
	Gate  Gate                         `json:"gate"`
	// Calibration are the reliability diagrams of calibration scores, at most MaxCurves: of all answers, and of each snapshot
	// when there are several.
	Calibration []CalibrationCurve `json:"calibration,omitempty"`
	// Golden are the files of accepted outputs that answers were compared with, by metric and file.
	Golden []GoldenRef `json:"golden,omitempty"`
	// Comparison is with the gate's baseline; nil when it has none.
	Comparison *Comparison `json:"comparison,omitempty"`
	// Looks are the decisions of a gate that draws more repeats while it is undecided, in their order.
	Looks []Look `json:"looks,omitempty"`
	// Flaky is what repeats say of single cases, and what is under quarantine; nil for one answer per case and no
	// quarantine.
	Flaky    *Flakiness `json:"flaky,omitempty"`
	Warnings []string   `json:"warnings,omitempty"`
	Times    Times      `json:"times"`
}

// SuiteRef names the suite file and the hash of its resolved content.
type SuiteRef struct {
	Path        string            `json:"path"`
	Description string            `json:"description,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Hash        string            `json:"hash"`
}

// DatasetRef says which cases were read: the hash of all of them, how many there were, and how
// many were kept after filters and sampling.
type DatasetRef struct {
	Hash  string `json:"hash"`
	Rows  int    `json:"rows"`
	Cases int    `json:"cases"`
}

// GoldenRef says what the golden assertions of a metric compared with.
type GoldenRef struct {
	Metric string `json:"metric"`
	// File is the path as seen from where the run was made, as SuiteRef.Path is; Hash that of what it held.
	File  string `json:"file"`
	Hash  string `json:"hash"`
	Match string `json:"match"` // exact, normalized, semantic, judged
	// PerSnapshot says that outputs are accepted of one provider and prompt, not of the case alone.
	PerSnapshot bool `json:"per_snapshot,omitempty"`
}

// Summary counts samples by verdict and totals what they used.
type Summary struct {
	Planned   int `json:"planned"`
	Finished  int `json:"finished"`
	Passed    int `json:"passed"`
	Failed    int `json:"failed"`
	Errored   int `json:"errored"`
	Undecided int `json:"undecided"`
	// Quarantined is the part of the counts above that is in quarantine and counts for nothing; nil for none. See Counted.
	Quarantined *Quarantined `json:"quarantined,omitempty"`
	// Cached counts samples answered from telltale's cache.
	Cached int   `json:"cached,omitempty"`
	Tokens Usage `json:"tokens"`
	// Cost in US dollars of the samples whose price is known; Unpriced counts the others.
	Cost     float64 `json:"cost"`
	Unpriced int     `json:"unpriced,omitempty"`
	// JudgeCost, JudgeTokens and JudgeCalls are what judging took, besides Cost and Tokens: the calls of
	// judge models, and the tokens of embedders. JudgeInvalid counts calls whose answer was no verdict,
	// JudgeUnpriced those whose price is not known.
	JudgeCost     float64 `json:"judge_cost,omitempty"`
	JudgeTokens   Usage   `json:"judge_tokens,omitzero"`
	JudgeCalls    int     `json:"judge_calls,omitempty"`
	JudgeInvalid  int     `json:"judge_invalid,omitempty"`
	JudgeUnpriced int     `json:"judge_unpriced,omitempty"`
	// Stopped says why the run ended before every sample was finished; empty when it did not.
	Stopped string `json:"stopped,omitempty"`
	// Errors counts error reasons.
	Errors map[string]int `json:"errors,omitempty"`
	// CriticalFailed lists critical cases with a failed sample, at most 100 of them.
	CriticalFailed []string `json:"critical_failed,omitempty"`
	// CriticalUnproved counts critical samples with no Pass: failed, errored, undecided or never run.
	CriticalUnproved int `json:"critical_unproved,omitempty"`
}

// Quarantined counts the samples of cases in quarantine.
type Quarantined struct {
	Planned   int            `json:"planned"`
	Finished  int            `json:"finished"`
	Passed    int            `json:"passed"`
	Failed    int            `json:"failed"`
	Errored   int            `json:"errored"`
	Undecided int            `json:"undecided"`
	Errors    map[string]int `json:"errors,omitempty"`
}

// Counted is the summary without what is in quarantine: what a gate may look at. What was used stays whole.
func (s Summary) Counted() Summary {
	q := s.Quarantined
	if q == nil {
		return s
	}
	s.Planned -= q.Planned
	s.Finished -= q.Finished
	s.Passed -= q.Passed
	s.Failed -= q.Failed
	s.Errored -= q.Errored
	s.Undecided -= q.Undecided
	errors := map[string]int{}
	for reason, n := range s.Errors {
		if n -= q.Errors[reason]; n > 0 {
			errors[reason] = n
		}
	}
	s.Errors = errors
	return s
}

// IntervalExact is the Interval of a Metric whose gate asked for exact intervals.
const IntervalExact = "exact"

// Metric is one aggregated number. Mean is nil when there was nothing to aggregate.
type Metric struct {
	// Kind is rate (share of n, Wilson or Clopper-Pearson interval), mean (clustered standard error, t interval), ratio
	// (Σvalue/Σweight, clustered), corpus (from summed statistics, grouped jackknife) or derived (from
	// other metrics, without an interval; N is the least of theirs, Missing the most).
	Kind   string   `json:"kind"`
	Mean   *float64 `json:"mean"`
	Stderr *float64 `json:"stderr"`
	Low    *float64 `json:"low"`
	High   *float64 `json:"high"`
	// Interval is IntervalExact when Low and High are the ends of a Clopper-Pearson interval; empty otherwise.
	Interval string `json:"interval,omitempty"`
	// N is the number of observations: samples, or for a ratio its total weight.
	N int `json:"n"`
	// Count is Σvalue: the numerator of a rate or a ratio, the total of cost and tokens.
	Count *float64 `json:"count,omitempty"`
	// Clusters is the number of independent groups behind the standard error.
	Clusters int `json:"clusters"`
	// Effective is how many independent observations a rate's interval rests on, when clustering
	// makes that less than N.
	Effective *float64 `json:"effective,omitempty"`
	// Missing counts observations that should have been made and were not: errors, samples without
	// a verdict, samples that were never run.
	Missing int `json:"missing,omitempty"`
	// Least and Most bound Mean whatever the missing observations would have been; nil when nothing
	// is missing or when the values have no bounds.
	Least     *float64            `json:"least,omitempty"`
	Most      *float64            `json:"most,omitempty"`
	Unit      string              `json:"unit,omitempty"`
	Quantiles map[string]*float64 `json:"quantiles,omitempty"` // p50, p95, p99 where they mean something
	Signature string              `json:"signature"`
}

// Gate is the decision on the run with each of its parts.
type Gate struct {
	verdict.Decision
	Checks []verdict.Decision `json:"checks"`
}

// Times holds everything in run.json that may differ between two runs of a deterministic provider.
type Times struct {
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	// Seconds is the wall time spent, over all sittings of a resumed run.
	Seconds float64 `json:"seconds"`
	// Throughput is finished samples per second of wall time.
	Throughput float64 `json:"samples_per_second"`
	Resumed    int     `json:"resumed,omitempty"` // how often the run was resumed
	// Concurrency is how many requests the last sitting had under way at most.
	Concurrency int `json:"concurrency,omitempty"`
}
