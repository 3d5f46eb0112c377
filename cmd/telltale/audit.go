package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// newAuditCmd returns telltale audit: whether what judges can be relied on.
func newAuditCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Say whether assertions can fail, and whether a judge agrees with people",
		Long:  "Audits what judges: the assertions of a suite, or a judge model.\n\ndocs/audits.md has more.",
		Example: `  telltale audit scorers telltale.yaml
  telltale audit judge labels.csv --out audit.json`,
		Args: subcommandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditScorersCmd(), newAuditJudgeCmd())
	return cmd
}

func newAuditScorersCmd() *cobra.Command {
	var o app.ScorerAuditOptions
	var vars []string
	var format string
	cmd := &cobra.Command{
		Use:   "scorers SUITE",
		Short: "List the assertions that no bad output fails",
		Long: `Runs each assertion of a suite against outputs that are known to be bad: blank, a refusal, the same words for
all, without end, unsafe, an unwanted call of a function, and a good output cut in half or of another case. Good outputs are those of the run
that --run names, else those that the suite holds. Assertions that pass them all are listed: they cannot fail.
Of a large dataset --cases cases are tried; an assertion that only others have is tried once.

No provider of the suite is asked. Assertions that ask a model are left out unless --judges is given.
Exit code 0 when each assertion failed a bad output, 1 when one passed them all, 3 when none could be tried,
or not all of them.`,
		Example: "  telltale audit scorers telltale.yaml\n  telltale audit scorers telltale.yaml --run runs/main --judges --format json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("audit scorers takes a suite, got %q", args)}
			}
			return nil
		},
		ValidArgsFunction: completeSuites,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			if o.Cases < 0 {
				return &usageError{fmt.Errorf("--cases %d: want a number of cases, or 0 for all", o.Cases)}
			}
			params, err := parseVars(vars)
			if err != nil {
				return err
			}
			o.Suite, o.Vars, o.Env, o.Stdin, o.Retries = args[0], params, os.LookupEnv, cmd.InOrStdin(), -1
			o.Notice = func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), "note: "+s) }
			a, err := app.AuditScorers(cmd.Context(), o)
			if err != nil {
				return err
			}
			return showScorerAudit(cmd, a, format)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&o.Judges, "judges", false, "also try assertions that ask a model, at its price")
	fl.IntVar(&o.Cases, "cases", app.DefaultAuditCases, "cases that are tried, drawn by their ids; 0 for all")
	fl.StringVar(&o.RunDir, "run", "", "finished run whose outputs are cut and swapped")
	fl.StringArrayVar(&vars, "var", nil, "fill the suite's parameter ${NAME}, as NAME=value; may be repeated")
	fl.BoolVar(&o.AllowCode, "allow-code", false, "let the suite run its own JavaScript and Python")
	fl.BoolVar(&o.SkipUnsupported, "skip-unsupported", false, "list what telltale cannot run instead of failing")
	_ = cmd.MarkFlagDirname("run")
	formatFlag(cmd, &format)
	return cmd
}

func showScorerAudit(cmd *cobra.Command, a *app.ScorerAudit, format string) error {
	w := cmd.OutOrStdout()
	if format == "json" {
		if err := writeJSON(cmd, a); err != nil {
			return err
		}
	} else {
		for _, u := range a.Unfailing {
			where := "cannot fail"
			if u.Passed < u.Cases {
				where = fmt.Sprintf("cannot fail in %d of %s: %s", u.Passed, numbered(u.Cases, "case"), strings.Join(u.Examples, ", "))
			}
			fmt.Fprintf(w, "%s: %s %s\n    passes %s\n", u.Place(), u.Metric, where, strings.Join(u.Probes, ", "))
		}
		for _, s := range a.Skipped {
			fmt.Fprintf(w, "%s: %s was not tried: %s\n", s.Place(), s.Metric, s.Why)
		}
		over := numbered(a.Cases, "case")
		if a.Drawn < a.Cases {
			over = fmt.Sprintf("%s, drawn by their ids from %s (--cases 0 tries all)", numbered(a.Drawn, "case"), over)
		}
		if a.Unlisted > 0 {
			fmt.Fprintf(w, "%s more than can be listed were not tried\n", numbered(a.Unlisted, "assertion"))
		}
		if _, err := fmt.Fprintf(w, "%s over %s: %d can fail, %d cannot, %d not tried\n", numbered(a.Tried+len(a.Skipped), "assertion"), over, a.Sound, len(a.Unfailing), len(a.Skipped)); err != nil {
			return err
		}
	}
	switch {
	case len(a.Unfailing) > 0:
		return &verdictError{verdict.Fail}
	case a.Tried == 0 || a.Unlisted > 0:
		return &verdictError{verdict.Undecided}
	}
	return nil
}
