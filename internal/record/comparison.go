package record

// Comparison is compare.json: what the same cases say about two runs. Differences are head minus base.
type Comparison struct {
	Base RunRef `json:"base"`
	Head RunRef `json:"head"`
	// Pairs says which snapshot of the base each snapshot of the head was compared with.
	Pairs   []SnapshotPair `json:"pairs"`
	Pairing Pairing        `json:"pairing"`
	// Alpha is the chance of calling an unchanged metric worse, over all Differences that block together.
	Alpha float64 `json:"alpha"`
	// Level of the two-sided intervals, such as 0.95.
	Level float64 `json:"level"`
	// Correction of the whole-run tests (holm, bonferroni, none) and SliceCorrection of the slices' (bh, by, none).
	Correction      string `json:"correction"`
	SliceCorrection string `json:"slice_correction"`
	// Metrics are the differences over all paired cases, Slices those over the cases with a tag.
	Metrics []Difference `json:"metrics"`
	Slices  []Difference `json:"slices,omitzero"`
	// Flips are paired samples whose verdict changed, newly failing first, at most MaxFlips; Counts counts all.
	Flips    []Flip     `json:"flips,omitzero"`
	Counts   FlipCounts `json:"flip_counts"`
	Warnings []string   `json:"warnings,omitzero"`
}

// MaxFlips bounds Comparison.Flips; critical and newly failing cases come first.
const MaxFlips = 1000

// RunRef names one side of a comparison.
type RunRef struct {
	// Name is as the user gave it: a directory or a baseline's name.
	Name string `json:"name"`
	// Baseline is the content hash of a stored baseline; empty for a run's directory.
	Baseline  string     `json:"baseline,omitempty"`
	ID        string     `json:"id"`
	Suite     SuiteRef   `json:"suite"`
	Dataset   DatasetRef `json:"dataset"`
	Repeats   int        `json:"samples_per_case"`
	Snapshots []Snapshot `json:"snapshots"`
}

// SnapshotPair is a snapshot of the base with the one of the head that it was compared with, by their labels
// "PROVIDER · PROMPT" and their ids.
type SnapshotPair struct {
	Base   string `json:"base"`
	Head   string `json:"head"`
	BaseID string `json:"base_id"`
	HeadID string `json:"head_id"`
}

// Pairing counts cases. A case is paired when both runs have it with the same input.
type Pairing struct {
	Paired int `json:"paired"`
	// OnlyBase, OnlyHead and Changed (same id, other input) are not in the differences.
	OnlyBase int `json:"only_base"`
	OnlyHead int `json:"only_head"`
	Changed  int `json:"changed"`
	// Excluded counts cases that were left out on purpose, such as those a caller names.
	Excluded int `json:"excluded,omitempty"`
	// The ids of the cases that are not compared, at most 100 of each.
	OnlyBaseIDs []string `json:"only_base_ids,omitempty"`
	OnlyHeadIDs []string `json:"only_head_ids,omitempty"`
	ChangedIDs  []string `json:"changed_ids,omitempty"`
}

// Difference is one metric on the same cases in two runs. Numbers that could not be had are nil.
type Difference struct {
	Metric string `json:"metric"`
	Tag    string `json:"tag,omitempty"`
	// Pair is the index into Comparison.Pairs.
	Pair int    `json:"pair"`
	Kind string `json:"kind"` // as Metric.Kind
	Unit string `json:"unit,omitempty"`
	// Better is "higher", "lower", or empty when the metric has no better direction; worse is then either.
	Better string `json:"better,omitempty"`
	// Base and Head are the metric's values over the paired observations alone.
	Base *float64 `json:"base"`
	Head *float64 `json:"head"`
	Diff *float64 `json:"diff"`
	// Stderr is the paired, clustered standard error; Unpaired what it would be if the runs were independent.
	Stderr   *float64 `json:"stderr"`
	Unpaired *float64 `json:"unpaired_stderr"`
	// Low and High are the two-sided interval of Diff at Comparison.Level.
	Low  *float64 `json:"low"`
	High *float64 `json:"high"`
	// Bound is the end of the one-sided interval at confidence 1-Alpha on the side where head is worse: the
	// worst difference the data leave open. Against a relative margin it also allows for the chance in Base. Nil without
	// a better direction.
	Bound *float64 `json:"bound,omitempty"`
	// Margin is how much worse the gate lets head be, in the metric's own unit; nil when it asks nothing of it.
	Margin *float64 `json:"margin,omitempty"`
	// P tests for any difference, two-sided; PWorse, one-sided, that head is worse than base. Adjusted is P
	// (slices) or PWorse (whole run) corrected for all that were tested together.
	P        *float64 `json:"p"`
	PWorse   *float64 `json:"p_worse,omitempty"`
	Adjusted *float64 `json:"p_adjusted"`
	// Test and Interval name the procedures, such as "McNemar mid-p" and "tilted score".
	Test     string `json:"test,omitempty"`
	Interval string `json:"interval,omitempty"`
	// Pairs is the number of paired cases, Clusters that of independent groups of them.
	Pairs    int `json:"pairs"`
	Clusters int `json:"clusters"`
	// Worse and Improved count the discordant cases of a binary metric with one repeat: pass to fail, fail to pass.
	Worse    *int `json:"worse,omitempty"`
	Improved *int `json:"improved,omitempty"`
	// Missing counts observations of either run that the other has and that are lacking: errors and the like.
	Missing int `json:"missing,omitempty"`
	// MDE is the least true drop that a test at Alpha finds in 80% (or the gate's power) of such comparisons.
	MDE       *float64 `json:"mde,omitempty"`
	Signature string   `json:"signature"`
	// Why says why there is no difference, interval or test; empty when there is.
	Why string `json:"why,omitempty"`
}

// Flip is a paired sample whose verdict changed.
type Flip struct {
	Case        string   `json:"case"`
	Description string   `json:"description,omitempty"`
	Pair        int      `json:"pair"`
	Repeat      int      `json:"repeat"`
	Critical    bool     `json:"critical,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	From        string   `json:"from"` // verdicts: pass, fail, error, undecided
	To          string   `json:"to"`
	// BaseOutput and HeadOutput are clipped; a baseline stored without outputs has none (BaseHash then tells
	// whether they differ).
	BaseOutput string `json:"base_output,omitempty"`
	HeadOutput string `json:"head_output,omitempty"`
	NoOutput   bool   `json:"no_base_output,omitempty"`
	// Input is the last message that was sent, clipped.
	Input string `json:"input,omitempty"`
	// Reasons of the scores that failed, per side.
	BaseReason string `json:"base_reason,omitempty"`
	HeadReason string `json:"head_reason,omitempty"`
}

// FlipCounts counts paired samples by what became of them.
type FlipCounts struct {
	Worse     int `json:"worse"`    // pass to fail
	Improved  int `json:"improved"` // fail to pass
	ToError   int `json:"to_error"` // a verdict to an error or none
	FromError int `json:"from_error"`
	Same      int `json:"same"`
}
