package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/baseline"
	"github.com/telltale-llm/telltale/internal/report"
)

const baselineHelp = `Baselines live in the folder baselines of the working directory, or in the one that TELLTALE_BASELINES or --dir
names. Each is a manifest, NAME.json, and an object with one line for each sample: scores, hashes, times and
tokens, and the answers themselves only with --outputs. Commit the whole folder. docs/baselines.md has more.`

// newBaselineCmd returns telltale baseline: runs to compare with, kept in git.
func newBaselineCmd() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "baseline",
		Short: "Keep runs to compare with, in files meant for git",
		Long:  "Keeps runs to compare with, in files that are meant for git.\n\n" + baselineHelp,
		Example: `  telltale baseline set main .telltale/runs/suite-20260302-093000
  telltale run telltale.yaml --baseline main
  telltale compare main .telltale/runs/suite-20260303-101500`,
		Args: subcommandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&dir, "dir", "", "`folder` of baselines (default $"+app.BaselinesEnv+", or "+app.DefaultBaselines+")")
	_ = cmd.MarkPersistentFlagDirname("dir")
	cmd.AddCommand(newBaselineSetCmd(&dir), newBaselineListCmd(&dir), newBaselineShowCmd(&dir), newBaselineRemoveCmd(&dir))
	return cmd
}

func newBaselineSetCmd(dir *string) *cobra.Command {
	var o app.BaselineOptions
	var format string
	cmd := &cobra.Command{
		Use:   "set NAME RUN_DIR",
		Short: "Make a finished run a baseline",
		Long: `Makes a finished run a baseline. Nothing is asked and nothing run; the same run gives the same bytes.

A run that is not finished is refused, and so is one with errors, unless --allow-errors takes it as it is: what
has no verdict cannot be compared with. A baseline of that name is replaced with --force only, and what changed
is printed.

` + baselineHelp,
		Example: `  telltale baseline set main .telltale/runs/suite-20260302-093000
  telltale baseline set main results --force --outputs`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return &usageError{fmt.Errorf("baseline set takes a name and the directory of a run, got %q", args)}
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return baselineNames(*dir), cobra.ShellCompDirectiveNoFileComp
			}
			return completeDirs(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			o.Dir, o.Name, o.RunDir = *dir, args[0], filepath.Clean(args[1])
			set, err := app.SetBaseline(o)
			if err != nil {
				return err
			}
			return showSet(cmd, set, app.BaselinesDir(*dir), format)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&o.Force, "force", false, "replace a baseline of that name")
	fl.BoolVar(&o.AllowErrors, "allow-errors", false, "take a run of which some samples are errors")
	fl.BoolVar(&o.Outputs, "outputs", false, "keep the answers too, and why they failed")
	formatFlag(cmd, &format)
	return cmd
}

func showSet(cmd *cobra.Command, set *app.BaselineSet, dir, format string) error {
	w := cmd.OutOrStdout()
	c := set.Contents()
	if format == "json" {
		return writeJSON(cmd, struct {
			app.BaselineRef
			Replaced bool              `json:"replaced"`
			Same     bool              `json:"same"`
			Changes  *baseline.Changes `json:"changes,omitempty"`
		}{app.BaselineRef{Name: set.Name(), ID: set.ContentID(), Contents: c, Run: set.RunJSON()}, set.Former, set.Same, set.Changes})
	}
	what := "set"
	switch {
	case set.Same:
		what = "is what it was"
	case set.Former:
		what = "replaced"
	}
	if _, err := fmt.Fprintf(w, "baseline %s %s: %s samples of %s cases in %s, %s KB\n", set.Name(), what, report.Count(c.Samples), report.Count(c.Cases), dir, report.Count(int(c.Bytes+999)/1000)); err != nil {
		return err
	}
	if set.Unreadable != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "note: the former one could not be read: "+set.Unreadable.Error())
	}
	if set.Changes == nil || set.Same {
		return nil
	}
	return report.BaselineChanges(w, set.Changes, plainOptions(cmd))
}

// plainOptions are those of a page for whoever reads the output.
func plainOptions(cmd *cobra.Command) report.TerminalOptions {
	return terminalOptions(cmd.OutOrStdout(), "auto", "")
}

// formatFlag adds --format.
func formatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "text", "what to print: text or json")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(compareFormats, cobra.ShellCompDirectiveNoFileComp))
}

func newBaselineListCmd(dir *string) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the baselines",
		Long:  "Lists the baselines with their suites, sizes and pass rates.\n\n" + baselineHelp,
		Example: `  telltale baseline list
  telltale baseline list --dir ../other/baselines --format json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			list, err := app.Baselines(*dir)
			if err != nil {
				return err
			}
			var bad error
			for _, e := range list {
				bad = errors.Join(bad, e.Err)
			}
			if format == "json" {
				refs := make([]app.BaselineRef, len(list))
				for i, e := range list {
					refs[i] = app.BaselineRef{Name: e.Name, ID: e.ID, Contents: e.Contents, Run: e.RunJSON}
					if e.Err != nil {
						refs[i].Error = e.Err.Error()
					}
				}
				err = writeJSON(cmd, refs)
			} else {
				err = report.BaselineList(cmd.OutOrStdout(), app.BaselinesDir(*dir), list, plainOptions(cmd))
			}
			return errors.Join(err, bad)
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

func newBaselineShowCmd(dir *string) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               "show NAME",
		Short:             "Show what a baseline holds, after checking all of it",
		Long:              "Checks every line of a baseline and shows its snapshots, metrics and sizes.\n\n" + baselineHelp,
		Example:           "  telltale baseline show main\n  telltale baseline show main --format json",
		Args:              oneBaseline,
		ValidArgsFunction: completeBaselines(dir),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			s, err := app.OpenBaseline(*dir, args[0])
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, app.BaselineRef{Name: s.Name(), ID: s.ContentID(), Contents: s.Contents(), Run: s.RunJSON()})
			}
			return report.BaselineShow(cmd.OutOrStdout(), s, plainOptions(cmd))
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

func newBaselineRemoveCmd(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a baseline, and its samples when no other baseline has the same",
		Example:           "  telltale baseline remove main",
		Args:              oneBaseline,
		ValidArgsFunction: completeBaselines(dir),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := app.RemoveBaseline(*dir, args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "baseline %s removed from %s\n", args[0], app.BaselinesDir(*dir))
			return err
		},
	}
}

func oneBaseline(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return &usageError{fmt.Errorf("%s takes one name, got %q", cmd.CommandPath(), args)}
}

func completeBaselines(dir *string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return baselineNames(*dir), cobra.ShellCompDirectiveNoFileComp
	}
}

func baselineNames(dir string) []string {
	names, err := baseline.Names(app.BaselinesDir(dir))
	if err != nil {
		return nil
	}
	return names
}
