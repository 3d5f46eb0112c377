package app

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/compare"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gate"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// CompareOptions say what telltale compare does.
type CompareOptions struct {
	// Base and Head are directories of finished runs or names of stored baselines.
	Base, Head string
	compare.Options
	// Margins are what the comparison must show; none leaves it without a verdict.
	Margins []config.Margin
	// Out is the directory for compare.json and the reports; empty writes nothing.
	Out string
	// Planned is told how many samples will be read, when that is known; nil for none.
	Planned func(samples int)
}

// Compared is a comparison with its verdict.
type Compared struct {
	*record.Comparison
	// Gate is nil without margins.
	Gate *record.Gate
}

// Compare compares two runs and decides by the margins. Mistakes of the user are *config.Error or config.Errors.
func Compare(o CompareOptions) (*Compared, error) {
	margins, err := parseMargins(o.Margins)
	if err != nil {
		return nil, err
	}
	base, errBase := OpenSide(o.Base)
	head, errHead := OpenSide(o.Head)
	var errs config.Errors
	for _, err := range []error{errBase, errHead} {
		if err != nil && !isMistake(err) {
			return nil, err
		}
		errs.Append(config.Pos{}, err)
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	if err := knownMargins(margins, base.Run, head.Run); err != nil {
		return nil, err
	}
	if o.Planned != nil {
		o.Planned(base.Run.Summary.Finished + head.Run.Summary.Finished)
	}
	opts := o.Options
	opts.Finishers = scorer.CorpusFinisher
	if a, b := base.Run.Flaky.Quarantines(), head.Run.Flaky.Quarantines(); a != nil || b != nil {
		opts.Exclude = func(id string, tags []string) bool { return a.Holds(id, tags) || b.Holds(id, tags) }
	}
	askMargins(&opts, margins)
	for _, m := range margins {
		if len(opts.Metrics) > 0 && !slices.ContainsFunc(opts.Metrics, func(asked string) bool { return within(m.Metric, asked) }) {
			opts.Metrics = append(opts.Metrics, m.Metric)
		}
	}
	c, err := compare.Runs(base, head, opts)
	if err != nil {
		return nil, err
	}
	out := &Compared{Comparison: c}
	if len(margins) > 0 {
		reg := &gate.Regression{Regression: config.Regression{Alpha: o.Alpha, Power: o.Power, Correction: o.Correction}, Margins: margins, Comparison: c}
		reg.Mark()
		decided := gate.Decide(nil, gate.Facts{Summary: head.Run.Summary.Counted(), Metrics: head.Run.Metrics, Regression: reg}).Gate
		out.Gate = &decided
	}
	if o.Out != "" {
		if err := writeComparison(o.Out, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// askMargins asks a comparison for what the margins are about.
func askMargins(o *compare.Options, margins []gate.Margin) {
	o.Better, o.Relative = map[string]string{}, map[compare.Slice]float64{}
	for _, m := range margins {
		if m.Tag != "" {
			o.Tags = append(o.Tags, m.Tag)
		}
		if m.Relative {
			o.Relative[compare.Slice{Metric: m.Metric, Tag: m.Tag}] = m.Margin.Margin
		}
		if m.Better != "" {
			o.Better[m.Metric] = m.Better
		}
	}
}

func parseMargins(list []config.Margin) ([]gate.Margin, error) {
	var out []gate.Margin
	var errs config.Errors
	for _, m := range list {
		margin, err := gate.ParseMargin(m)
		if err == nil && slices.ContainsFunc(out, func(o gate.Margin) bool { return o.Name() == margin.Name() }) {
			err = &config.Error{Pos: m.Pos, Value: m.Text, Problem: margin.Name() + " has a margin already", Want: "one margin for each metric and tag"}
		}
		if unit, builtin := record.BuiltinUnits()[margin.Metric]; err == nil && builtin && unit == "" && m.Better != "" && m.Better != metric.Better(margin.Metric, unit) {
			err = &config.Error{Pos: m.Pos, Value: "better: " + m.Better, Problem: fmt.Sprintf("of %s %s is better", margin.Metric, metric.Better(margin.Metric, unit)), Want: "no better beside this metric"}
		}
		if err != nil {
			errs.Append(m.Pos, err)
			continue
		}
		out = append(out, margin)
	}
	return out, errs.Err()
}

// knownMargins reports margins on metrics that neither run has: a name that is misspelt would be undecided for ever.
func knownMargins(margins []gate.Margin, base, head *record.Run) error {
	var errs config.Errors
	for _, m := range margins {
		if _, there := base.Metrics[m.Metric]; there {
			continue
		}
		if _, there := head.Metrics[m.Metric]; there {
			continue
		}
		if _, builtin := record.BuiltinUnits()[m.Metric]; builtin {
			continue // it was just not measured
		}
		names := slices.Sorted(maps.Keys(head.Metrics))
		e := &config.Error{Pos: m.Pos, Value: m.Metric, Problem: "neither run has such a metric", Want: "one of " + strings.Join(names, ", ")}
		if near := config.Nearest(m.Metric, names); near != "" {
			e.Hint = "did you mean \"" + near + "\"?"
		}
		errs = append(errs, e)
	}
	return errs.Err()
}

func writeComparison(dir string, c *Compared) error {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return &config.Error{Pos: config.Pos{Key: "--out"}, Value: dir, Problem: "is a file", Want: "a directory"}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return &config.Error{Pos: config.Pos{Key: "--out"}, Value: dir, Problem: "cannot be created", Err: cause(err)}
	}
	if err := report.WriteComparison(dir, c.Comparison, c.Gate); err != nil {
		return &CouldNotRun{err}
	}
	return nil
}

// OpenSide opens the directory of a finished run, or a stored baseline, for a comparison.
func OpenSide(name string) (compare.Side, error) {
	side, _, err := openSide(name, "")
	return side, err
}

// counted is a sample as comparisons count it: without messages, answers and log-probabilities.
type counted struct {
	judged
	Vars      map[string]any `json:"vars"`
	Output    skipped        `json:"output"`
	Raw       skipped        `json:"raw"`
	Turns     skipped        `json:"turns"`
	ToolCalls skipped        `json:"tool_calls"`
}

// complete yields all samples of a run, and a mistake where the file has lost some or has others: their cases would look
// like cases that only the other run has.
func complete(samples iter.Seq2[record.Sample, error], f *Finished) iter.Seq2[record.Sample, error] {
	return func(yield func(record.Sample, error) bool) {
		n := 0
		for s, err := range samples {
			if !yield(s, err) || err != nil {
				return
			}
			n++
		}
		if want := f.Run.Summary.Finished; n != want {
			yield(record.Sample{}, &config.Error{Pos: config.Pos{File: filepath.Join(f.Dir, samplesFile)},
				Problem: fmt.Sprintf("has %d samples where %s counts %d", n, report.JSONFile, want), Want: "the file that telltale run wrote"})
		}
	}
}

// readNumbers is ReadSamples for what is counted.
func readNumbers(dir string) iter.Seq2[record.Sample, error] {
	return readSamples(dir, func(line []byte, s *record.Sample) error {
		var c counted
		if err := json.Unmarshal(line, &c); err != nil {
			return err
		}
		*s = c.Sample
		s.Vars = c.Vars
		return nil
	})
}
