package export

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// What MLflow takes in one runs/log-batch request, by the documentation of its REST API; the lengths are
// the least that any of its back ends keep.
const (
	mlflowItems  = 1000 // metrics, parameters and tags together
	mlflowParams = 100
	mlflowTags   = 100
	mlflowKey    = 250
	mlflowParam  = 500
	mlflowTag    = 5000
)

// MLflowBatch is the body of POST /api/2.0/mlflow/runs/log-batch.
type MLflowBatch struct {
	RunID   string         `json:"run_id,omitempty"`
	Metrics []MLflowMetric `json:"metrics"`
	Params  []MLflowPair   `json:"params"`
	Tags    []MLflowPair   `json:"tags"`
}

// MLflowMetric is one value of a metric.
type MLflowMetric struct {
	Key       string  `json:"key"`
	Value     float64 `json:"value"`
	Timestamp int64   `json:"timestamp"` // milliseconds since 1970
	Step      int64   `json:"step"`
}

// MLflowPair is a parameter or a tag.
type MLflowPair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// MLflow makes the batch of a run. A metric's mean has its name; its interval, quantiles and number of
// observations have the name with .low, .high, .p95, .n and so on. Metrics of snapshots and of tags are
// written as snapshot/NAME/METRIC and tag/NAME/METRIC. left is how many values there was no room for;
// the run's own go first.
func MLflow(run *record.Run) (batch MLflowBatch, left int) {
	b := &mlflow{at: run.Times.Finished.UnixMilli(), seen: map[string]int{}}
	if run.Times.Finished.IsZero() {
		b.at = 0
	}
	b.describe(run)
	b.room = mlflowItems - len(b.batch.Params) - len(b.batch.Tags) - 1
	b.summary(run)
	for _, name := range slices.Sorted(maps.Keys(run.Metrics)) {
		b.whole(name, run.Metrics[name])
	}
	names := snapshotNames(run)
	for i, s := range run.Snapshots {
		b.means("snapshot/"+names[i]+"/", run.BySnapshot[s.ID])
	}
	for _, tag := range slices.Sorted(maps.Keys(run.ByTag)) {
		b.means("tag/"+tag+"/", run.ByTag[tag])
	}
	if b.left > 0 {
		b.tag("telltale.metrics_left_out", strconv.Itoa(b.left))
	}
	return b.batch, b.left
}

// WriteMLflow writes the batch as indented JSON.
func WriteMLflow(w io.Writer, batch MLflowBatch) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(batch)
}

type mlflow struct {
	batch MLflowBatch
	at    int64
	room  int
	left  int
	seen  map[string]int
}

func (b *mlflow) metric(key string, value *float64) {
	if !finite(value) {
		return
	}
	if len(b.batch.Metrics) >= b.room {
		b.left++
		return
	}
	b.batch.Metrics = append(b.batch.Metrics, MLflowMetric{Key: b.key(key), Value: *value, Timestamp: b.at})
}

func (b *mlflow) number(key string, n int) { b.metric(key, new(float64(n))) }

// key is a name as MLflow takes it: letters, digits, underscores, dashes, periods, spaces and slashes.
// Two names that become the same are told apart by a number.
func (b *mlflow) key(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("_-. /", r):
			return r
		}
		return '_'
	}, name)
	// What looks like a path out of the store, or has empty parts, is refused.
	parts := strings.Split(name, "/")
	for i, p := range parts {
		if strings.Trim(p, ".") == "" {
			parts[i] = "_" + p
		}
	}
	name = strings.Join(parts, "/")
	if len(name) > mlflowKey-4 {
		name = name[:mlflowKey-4]
	}
	b.seen[name]++
	if n := b.seen[name]; n > 1 {
		name += "_" + strconv.Itoa(n)
	}
	return name
}

func (b *mlflow) param(key, value string) {
	if value != "" && len(b.batch.Params) < mlflowParams {
		b.batch.Params = append(b.batch.Params, MLflowPair{b.key(key), clip(value, mlflowParam)})
	}
}

func (b *mlflow) tag(key, value string) {
	if value != "" && len(b.batch.Tags) < mlflowTags {
		b.batch.Tags = append(b.batch.Tags, MLflowPair{b.key(key), clip(value, mlflowTag)})
	}
}

// describe writes what the run was made with, and what was decided.
func (b *mlflow) describe(run *record.Run) {
	b.batch = MLflowBatch{Metrics: []MLflowMetric{}, Params: []MLflowPair{}, Tags: []MLflowPair{}}
	b.param("suite.hash", run.Suite.Hash)
	b.param("dataset.hash", run.Dataset.Hash)
	b.param("dataset.cases", strconv.Itoa(run.Dataset.Cases))
	b.param("seed", strconv.FormatInt(run.Seed, 10))
	b.param("samples_per_case", strconv.Itoa(run.Repeats))
	for i, s := range run.Snapshots {
		at := "snapshot." + strconv.Itoa(i) + "."
		b.param(at+"id", s.ID)
		b.param(at+"provider", s.Provider)
		b.param(at+"model", s.Model)
		b.param(at+"prompt", s.Prompt)
		if len(s.Params) > 0 {
			// Maps that came from JSON can be written as JSON.
			if text, err := json.Marshal(s.Params); err == nil {
				b.param(at+"params", string(text))
			}
		}
	}
	g := run.Gate
	b.tag("telltale.verdict", g.Verdict.String())
	b.tag("telltale.reason", g.Reason)
	b.tag("telltale.metric", strings.TrimSpace(g.Metric+" "+g.Want))
	b.tag("telltale.run", run.ID)
	b.tag("telltale.version", run.Telltale)
	b.tag("telltale.suite", cmp.Or(run.Suite.Description, run.Suite.Path))
	b.tag("telltale.stopped", run.Summary.Stopped)
	b.tag("mlflow.source.name", run.Suite.Path)
}

func (b *mlflow) summary(run *record.Run) {
	s := run.Summary
	b.number("samples.planned", s.Planned)
	b.number("samples.finished", s.Finished)
	b.number("samples.passed", s.Passed)
	b.number("samples.failed", s.Failed)
	b.number("samples.errored", s.Errored)
	b.number("samples.undecided", s.Undecided)
	b.number("samples.cached", s.Cached)
	b.number("tokens.total", s.Tokens.Total)
	if s.Unpriced < s.Finished {
		b.metric("cost.total", &s.Cost)
		b.number("cost.unpriced", s.Unpriced)
	}
	if s.JudgeCalls > 0 {
		b.number("judge.calls", s.JudgeCalls)
		b.number("judge.invalid", s.JudgeInvalid)
		if s.JudgeUnpriced < s.JudgeCalls {
			b.metric("judge.cost", &s.JudgeCost)
		}
	}
	if run.Times.Seconds > 0 {
		b.metric("seconds", &run.Times.Seconds)
		b.metric("samples_per_second", &run.Times.Throughput)
	}
}

// whole writes a metric with its interval.
func (b *mlflow) whole(name string, m record.Metric) {
	if m.N == 0 {
		return
	}
	b.metric(name, m.Mean)
	b.metric(name+".low", m.Low)
	b.metric(name+".high", m.High)
	b.number(name+".n", m.N)
	if m.Missing > 0 {
		b.number(name+".missing", m.Missing)
	}
	for _, q := range slices.Sorted(maps.Keys(m.Quantiles)) {
		b.metric(name+"."+q, m.Quantiles[q])
	}
}

func (b *mlflow) means(prefix string, metrics map[string]record.Metric) {
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if m := metrics[name]; m.N > 0 {
			b.metric(prefix+name, m.Mean)
		}
	}
}

// snapshotNames are the snapshots as a reader tells them apart: by provider, by prompt too when there
// are several, and by number when that is not enough.
func snapshotNames(run *record.Run) []string {
	names := make([]string, len(run.Snapshots))
	count := map[string]int{}
	for i, s := range run.Snapshots {
		names[i] = s.Provider
		if slices.ContainsFunc(run.Snapshots, func(o record.Snapshot) bool { return o.Prompt != s.Prompt }) {
			names[i] += " " + s.Prompt
		}
		// A slash would be one more level.
		names[i] = clip(strings.ReplaceAll(names[i], "/", "_"), 120)
		count[names[i]]++
	}
	for i := range names {
		if count[names[i]] > 1 {
			names[i] = fmt.Sprintf("%s %d", names[i], i)
		}
	}
	return names
}
