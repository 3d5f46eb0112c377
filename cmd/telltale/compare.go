package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/compare"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// compareFlags are the flags of telltale compare as they are given.
type compareFlags struct {
	app.CompareOptions
	margins    []string
	format     string
	color      string
	ci         string
	quiet      bool
	noProgress bool
}

func newCompareCmd(s streams) *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare BASE HEAD",
		Short: "Say how the same cases fared in two runs, and how sure that is",
		Long: `Pairs the samples of two finished runs by case and repeat, and shows for each metric the difference (head
less base) with its interval and p-value, the tags that differ, and the cases whose verdict changed.

BASE and HEAD are directories of runs or names of stored baselines. Both may be the same run, to compare two
of its providers or prompts. Cases that only one run has, or whose input changed, are counted and left out.
Metrics that were made by different recipes are refused.

Without --margin nothing is decided and the exit code is 0, or 3 when no case is in both runs. With it each
metric must be shown to be no more than that much worse: exit code 0 if all are, 1 if one got worse, 3 if the
data do not tell.
docs/compare.md says which test is used when.

` + exitHelp,
		Example: `  telltale compare runs/main runs/branch
  telltale compare main runs/branch --margin pass_rate=2% --margin latency=200ms
  telltale compare runs/both runs/both --base-provider small --head-provider large
  telltale compare runs/main runs/branch --metric accuracy --out comparison --format json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &usageError{fmt.Errorf("compare takes two runs, BASE and HEAD, got %q", args)}
			}
			return nil
		},
		ValidArgsFunction: completeSides,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := runCompare(cmd, args, &f, s)
			return errors.Join(err, tellCIMistakes(ciKind(f.ci, os.Getenv), err, s.err, os.Getenv))
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.BaseProvider, "base-provider", "", "compare this provider's `label` of the base")
	fl.StringVar(&f.HeadProvider, "head-provider", "", "with this provider's `label` of the head")
	fl.StringVar(&f.BasePrompt, "base-prompt", "", "compare this prompt's `label` of the base")
	fl.StringVar(&f.HeadPrompt, "head-prompt", "", "with this prompt's `label` of the head")
	fl.StringArrayVar(&f.Metrics, "metric", nil, "compare only this `metric` and those below it (NAME.*); may be repeated")
	fl.StringArrayVar(&f.margins, "margin", nil, "how much worse a metric may be, as `METRIC=AMOUNT` such as pass_rate=0.02 or 'cost=5% relative'; may be repeated")
	fl.Float64Var(&f.Alpha, "alpha", config.DefaultAlpha, "chance of calling an unchanged system worse, over all metrics")
	fl.Float64Var(&f.Level, "level", stats.Level, "confidence of the intervals")
	fl.StringVar(&f.Correction, "correction", compare.Holm, "of the tests over all cases: holm, bonferroni or none")
	fl.StringVar(&f.SliceCorrection, "slice-correction", compare.BH, "of the tests by tag: bh, by or none")
	fl.Uint64Var(&f.Seed, "seed", 0, "seed of permutations; the same seed gives the same numbers")
	fl.StringVarP(&f.Out, "out", "o", "", "directory for compare.html, compare.md and compare.json")
	fl.StringVar(&f.format, "format", "text", "what to print: text or json")
	fl.StringVar(&f.ci, "ci", "auto", "tell continuous integration: auto, github, gitlab or none")
	fl.StringVar(&f.color, "color", "auto", "colours: auto, always or never")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print errors only")
	fl.BoolVar(&f.noProgress, "no-progress", false, "show no progress")
	for flag, values := range map[string][]string{"format": compareFormats, "color": {"auto", "always", "never"}, "ci": ciKinds,
		"correction": {compare.Holm, compare.Bonferroni, compare.None}, "slice-correction": {compare.BH, compare.BY, compare.None}} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	for flag, complete := range map[string]cobra.CompletionFunc{
		"metric": completeMetrics(""), "margin": completeMetrics("="),
		"base-provider": completeSnapshots(0, provider), "head-provider": completeSnapshots(1, provider),
		"base-prompt": completeSnapshots(0, prompt), "head-prompt": completeSnapshots(1, prompt),
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, complete)
	}
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

var compareFormats = []string{"text", "json"}

func runCompare(cmd *cobra.Command, args []string, f *compareFlags, s streams) error {
	for _, err := range []error{oneOf("format", f.format, compareFormats), oneOf("color", f.color, []string{"auto", "always", "never"}), oneOf("ci", f.ci, ciKinds)} {
		if err != nil {
			return err
		}
	}
	o := f.CompareOptions
	o.Base, o.Head = filepath.Clean(args[0]), filepath.Clean(args[1])
	if o.Alpha == 0 || o.Level == 0 {
		return &usageError{fmt.Errorf("--alpha and --level: want a number above 0 and below 1")}
	}
	var errs config.Errors
	for _, m := range f.margins {
		at := config.Pos{Key: "--margin"}
		name, amount, ok := strings.Cut(m, "=")
		// A tag is written METRIC[tag=NAME], with an = of its own.
		if i := strings.Index(m, "]="); i >= 0 {
			name, amount, ok = m[:i+1], m[i+2:], true
		}
		if !ok || name == "" || amount == "" {
			errs = append(errs, &config.Error{Pos: at, Value: m, Problem: "not a margin", Want: "METRIC=AMOUNT such as pass_rate=0.02 or latency=200ms"})
			continue
		}
		margin, err := config.GivenMargin(at, name, amount)
		if err != nil {
			errs.Append(at, err)
			continue
		}
		o.Margins = append(o.Margins, margin)
	}
	if err := errs.Err(); err != nil {
		return err
	}
	defer collectEarly()()
	var bar progress = silent{}
	if _, isTerminal := terminalWidth(s.err); isTerminal && !f.quiet && !f.noProgress && os.Getenv("CI") == "" {
		bar = newProgress(s.err)
	}
	total := 0
	o.Planned = func(n int) {
		total = n
		bar.start(n, 0, "")
	}
	o.Progress = func(n int) { bar.update(runner.Progress{Total: total, Done: n}) }
	c, err := app.Compare(o)
	bar.finish()
	if err != nil {
		return err
	}
	if err := showComparison(cmd.OutOrStdout(), c, f); err != nil {
		return &app.CouldNotRun{Err: err}
	}
	if err := tellCICompared(ciKind(f.ci, os.Getenv), c, o.Out, s.err, os.Getenv); err != nil {
		fmt.Fprintln(s.err, "note: continuous integration was not told: "+err.Error())
	}
	switch {
	case c.Gate != nil:
		return &verdictError{c.Gate.Verdict}
	case c.Pairing.Paired == 0:
		return &verdictError{verdict.Undecided} // nothing was compared, which is no success
	}
	return nil
}

func showComparison(w io.Writer, c *app.Compared, f *compareFlags) error {
	switch {
	case f.format == "json":
		return report.ComparisonJSON(w, c.Comparison, c.Gate)
	case f.quiet:
		return nil
	}
	return report.CompareTerminal(w, c.Comparison, c.Gate, terminalOptions(w, f.color, f.Out))
}
