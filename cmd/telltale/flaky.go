package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/report"
)

// defaultQuarantine is how long a suggested quarantine lasts, in days.
const defaultQuarantine = 14

// newFlakyCmd returns telltale flaky: how cases fared over runs.
func newFlakyCmd(s streams) *cobra.Command {
	var o app.FlakyOptions
	var format, until string
	var suggest bool
	cmd := &cobra.Command{
		Use:   "flaky RUN...",
		Short: "Tell flaky cases from broken ones, over the repeats of one or more runs",
		Long: `Shows for each case how its answers fared over runs, its flake rate with an interval, and since when it fails.

RUN is the directory of a finished run, or a folder that holds some, such as .telltale/runs. The order does not
matter: the time at which a run was started does. Answers are pooled over runs of the same snapshot that were judged
by the same recipes; others are shown apart. An answer that came from the cache and was there in an earlier run
does not count again.

The flake rate is the chance that two answers to the case get different verdicts. Nothing is decided: the exit code
is 0 when the runs could be read. docs/flaky.md has more.

` + exitHelp,
		Example: `  telltale flaky .telltale/runs
  telltale flaky runs/monday runs/tuesday --min-rate 0.1
  telltale flaky .telltale/runs --suggest --until 2026-12-31 >> telltale.yaml`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{fmt.Errorf("flaky takes the directories of runs, or folders of several; telltale flaky --help says more")}
			}
			return nil
		},
		ValidArgsFunction: completeDirs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			if suggest && cmd.Flags().Changed("format") {
				return exclusive(cmd, "suggest", "format")
			}
			if !(o.MinRate >= 0 && o.MinRate <= 0.5) {
				return &usageError{fmt.Errorf("--min-rate %v: want a number from 0 to 0.5", o.MinRate)}
			}
			if until != "" && !suggest {
				return &usageError{fmt.Errorf("--until says when a suggested quarantine ends: give --suggest too")}
			}
			now := time.Now().UTC()
			if until == "" {
				until = now.AddDate(0, 0, defaultQuarantine).Format(time.DateOnly)
			} else if day, err := time.Parse(time.DateOnly, until); err != nil {
				return &usageError{fmt.Errorf("--until %q: want a date as YYYY-MM-DD", until)}
			} else if day.Format(time.DateOnly) < now.Format(time.DateOnly) {
				return &usageError{fmt.Errorf("--until %s: has passed; want today or later", until)}
			}
			for _, dir := range args {
				o.Runs = append(o.Runs, filepath.Clean(dir))
			}
			o.Notice = func(text string) { fmt.Fprintln(s.err, "note: "+text) }
			h, err := app.Flaky(o)
			switch {
			case err != nil:
				return err
			case format == "json":
				err = writeJSON(cmd, h)
			case suggest:
				err = report.Suggest(cmd.OutOrStdout(), h, until)
			default:
				err = report.History(cmd.OutOrStdout(), h, plainOptions(cmd))
			}
			if err != nil {
				return &app.CouldNotRun{Err: err}
			}
			return nil
		},
	}
	fl := cmd.Flags()
	fl.Float64Var(&o.MinRate, "min-rate", 0, "leave out flaky cases with a lower flake `rate`, 0 to 0.5")
	fl.BoolVar(&suggest, "suggest", false, "print a quarantine block for the suite with the flaky cases")
	fl.StringVar(&until, "until", "", fmt.Sprintf("last `day` of the suggested quarantine (default in %d days)", defaultQuarantine))
	formatFlag(cmd, &format)
	_ = cmd.RegisterFlagCompletionFunc("until", cobra.NoFileCompletions)
	return cmd
}
