package record

import "time"

// FlakyHistory is how cases fared over several runs: what telltale flaky prints. Runs are pooled where they asked the
// same thing of the same system; each set of such runs is a series.
type FlakyHistory struct {
	Runs   []HistoryRun    `json:"runs"`
	Series []HistorySeries `json:"series"`
}

// HistoryRun is one run, oldest first.
type HistoryRun struct {
	Dir   string `json:"dir"`
	ID    string `json:"id"`
	Suite string `json:"suite"`
	// SuiteHash and Dataset are the hashes of what was asked.
	SuiteHash string    `json:"suite_hash"`
	Dataset   string    `json:"dataset_hash"`
	Started   time.Time `json:"started"`
	Verdict   string    `json:"verdict"`
	Repeats   int       `json:"samples_per_case"`
	Finished  int       `json:"finished"`
}

// HistorySeries is what one snapshot did, judged by one set of recipes, over the runs that have it.
type HistorySeries struct {
	Provider string `json:"provider"`
	Prompt   string `json:"prompt"`
	Snapshot string `json:"snapshot"`
	// Scorers is the hash of the recipes that judged.
	Scorers string `json:"scorers"`
	// Runs are places in FlakyHistory.Runs, oldest first.
	Runs []int `json:"runs"`
	// Cases by state, over all of these runs; a case whose input changed is another case.
	Flaky   int `json:"flaky"`
	Broken  int `json:"broken"`
	Steady  int `json:"steady"`
	Unknown int `json:"unknown"`
	// Again counts answers from telltale's cache that are those of an earlier run of the series. They are shown in
	// the history, and are no evidence for the rate.
	Again int `json:"repeated_from_cache,omitempty"`
	// Cases are the flaky ones that were asked for, highest rate first; then the broken ones, those that turned to
	// passing, and those in quarantine; at most MaxHealth, of which More counts the others.
	Cases []CaseHistory `json:"cases"`
	More  int           `json:"more,omitempty"`
}

// CaseHistory is one case over the runs of a series.
type CaseHistory struct {
	Case string `json:"case"`
	// Input is the hash of its variables.
	Input string `json:"input"`
	Repeats
	// Rate is nil for a case that turned: it takes the chance of passing to be the same in all runs.
	Rate  *float64 `json:"rate,omitempty"`
	Low   *float64 `json:"low,omitempty"`
	High  *float64 `json:"high,omitempty"`
	State string   `json:"state"`
	// FailingSince is the place in FlakyHistory.Runs of the first run since which every answer failed, PassingSince
	// that since which every one passed, when one failed before; nil where that is not so. PassedBefore says that
	// one passed before FailingSince.
	FailingSince *int `json:"failing_since,omitempty"`
	PassingSince *int `json:"passing_since,omitempty"`
	PassedBefore bool `json:"passed_before,omitempty"`
	Critical     bool `json:"critical,omitempty"`
	// Runs has the counts of each run that has the case.
	Runs []CaseRun `json:"runs"`
	// Quarantine is what the series' newest run says of it.
	Quarantine *Hold `json:"quarantine,omitempty"`
}

// CaseRun is a case in one run.
type CaseRun struct {
	Run int `json:"run"`
	Repeats
	// Cached counts answers from telltale's cache.
	Cached int `json:"cached,omitempty"`
}
