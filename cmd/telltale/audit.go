package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/audit"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/report"
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
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("unknown command %q; telltale audit --help lists the commands", args[0])}
			}
			return nil
		},
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

// judgeFlags are the flags of telltale audit judge as they are given.
type judgeFlags struct {
	app.JudgeAuditOptions
	renamed, swaps []string
	out, format    string
}

func newAuditJudgeCmd() *cobra.Command {
	var f judgeFlags
	cmd := &cobra.Command{
		Use:   "judge LABELS",
		Short: "Say how well a judge agrees with people",
		Long: `Compares the verdicts of a judge with the labels of people, and people with one another: Cohen's and Fleiss'
kappa, Krippendorff's alpha, Gwet's AC1, accuracy against the majority, each with a 95% interval; how often
the judge gave no verdict, and how often it agrees with itself, in both orders and when asked again.

LABELS is JSON Lines, a JSON list or CSV, one item a row: a column that names it, one for each person, and one for
the judge. --verdicts names another such file with the judge's column, or the directory of a run.

--against compares with an earlier audit: exit code 1 when a number has changed, 0 when none is shown to have.
Exit code 3 when no item has both a label and a verdict.`,
		Example: `  telltale audit judge labels.csv --item id --human ann --human bob --judge verdict --out audit.json
  telltale audit judge labels.jsonl --verdicts runs/judged --metric llm-rubric --map yes=pass --map no=fail
  telltale audit judge labels.jsonl --against audit.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("audit judge takes a file of labels, got %q", args)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Labels = filepath.Clean(args[0])
			return runAuditJudge(cmd, &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Verdicts, "verdicts", "", "file or run with the judge's verdicts, where they are not beside the labels")
	fl.StringVar(&f.Item, "item", "item", "`column` that names the item")
	fl.StringArrayVar(&f.Humans, "human", nil, "`column` of a person's labels; may be repeated (human… and annotator… when it is not given)")
	fl.StringArrayVar(&f.Judges, "judge", nil, "`column` of the judge's verdicts; repeated for repeats (judge when it is not given)")
	fl.StringVar(&f.Swapped, "swapped", "", "`column` of the judge's verdicts with the answers in the other order")
	fl.StringArrayVar(&f.swaps, "swap", nil, "what a label of --swapped means in the first order, as `LABEL=LABEL`; may be repeated")
	fl.StringVar(&f.Metric, "metric", "", "metric of the run that --verdicts names")
	fl.StringVar(&f.Provider, "run-provider", "", "`label` of the run's provider whose answers were labelled")
	fl.StringVar(&f.Name, "name", "", "the judge, as suites name it, such as openai:chat:gpt-4.1")
	fl.StringArrayVar(&f.renamed, "map", nil, "take one label for another, as `LABEL=LABEL`; may be repeated")
	fl.StringArrayVar(&f.Invalid, "invalid", nil, "`label` of the judge that is no verdict; may be repeated")
	fl.StringVar(&f.InvalidAs, "invalid-as", "", "`label` that an invalid verdict counts as; they are left out when it is not given")
	fl.StringVarP(&f.out, "out", "o", "", "write the audit to this `file`")
	fl.StringVar(&f.Against, "against", "", "earlier audit `file` to compare with")
	fl.Float64Var(&f.Alpha, "alpha", config.DefaultAlpha, "chance of seeing drift where there is none")
	formatFlag(cmd, &f.format)
	return cmd
}

func runAuditJudge(cmd *cobra.Command, f *judgeFlags) (err error) {
	if err := oneOf("format", f.format, compareFormats); err != nil {
		return err
	}
	if !(f.Alpha > 0 && f.Alpha < 1) {
		return &usageError{fmt.Errorf("--alpha %v: want a number above 0 and below 1", f.Alpha)}
	}
	if f.Map, err = labelPairs("map", f.renamed); err != nil {
		return err
	}
	if f.SwapLabels, err = labelPairs("swap", f.swaps); err != nil {
		return err
	}
	a, err := app.AuditJudge(f.JudgeAuditOptions)
	if err != nil {
		return err
	}
	if f.out != "" {
		if err := app.WriteAudit(f.out, a.Judge); err != nil {
			return err
		}
	}
	if f.format == "json" {
		err = writeJSON(cmd, a)
	} else {
		err = showJudgeAudit(cmd.OutOrStdout(), a)
	}
	switch {
	case err != nil:
		return err
	case a.Drifted():
		return &verdictError{verdict.Fail}
	case a.Strict == nil:
		return &verdictError{verdict.Undecided} // no item has both a label and a verdict
	}
	return nil
}

func labelPairs(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range list {
		from, to, ok := strings.Cut(p, "=")
		if _, twice := out[from]; !ok || to == "" || twice {
			return nil, &usageError{fmt.Errorf("--%s %q: want LABEL=LABEL, each label once", flag, p)}
		}
		out[from] = to
	}
	return out, nil
}

func showJudgeAudit(w io.Writer, a *app.JudgeAudited) error {
	var b strings.Builder
	share := func(name string, s *audit.Share) {
		if s != nil {
			fmt.Fprintf(&b, "  %-28s %d/%d = %.4f  [%.4f, %.4f]\n", name, s.K, s.N, s.Rate, s.Low, s.High)
		}
	}
	coefficient := func(name string, c *audit.Coefficient) {
		switch {
		case c == nil:
		case c.Low == nil:
			fmt.Fprintf(&b, "  %-28s %.4f  no interval: %s without spread\n", name, c.Value, numbered(c.Items, "item"))
		default:
			fmt.Fprintf(&b, "  %-28s %.4f  [%.4f, %.4f]\n", name, c.Value, *c.Low, *c.High)
		}
	}
	fmt.Fprintf(&b, "%s, %s; 95%% intervals\n", numbered(a.Items, "item"), people(len(a.Humans.Names)))
	if len(a.Humans.Names) > 1 {
		fmt.Fprintln(&b, "people with one another")
	}
	for _, p := range a.Humans.Pairs {
		coefficient("kappa "+p.A+", "+p.B, p.Kappa)
	}
	coefficient("Fleiss' kappa", a.Humans.Fleiss)
	coefficient("Krippendorff's alpha", a.Humans.Alpha)
	coefficient("Gwet's AC1", a.Humans.AC1)
	if a.Humans.NoMajority > 0 {
		fmt.Fprintf(&b, "  %s without a majority left out\n", numbered(a.Humans.NoMajority, "item"))
	}
	fmt.Fprintln(&b, "judge with the majority of people")
	share("accuracy", a.Accuracy)
	share("with invalid as wrong", a.Strict)
	coefficient("Cohen's kappa", a.Kappa)
	coefficient("Krippendorff's alpha", a.Alpha)
	coefficient("Gwet's AC1", a.AC1)
	fmt.Fprintln(&b, "judge by itself")
	share("invalid verdicts", a.Invalid)
	share("same in both orders", a.Swap)
	share("same when asked again", a.Self)
	if m := a.Mean; m != nil {
		fmt.Fprintf(&b, "people's mean %s: %.4f [%.4f, %.4f] from %s and %s of the judge alone; labels alone %.4f; worth %.2f times as many labels\n",
			m.Of, m.Value, m.Low, m.High, numbered(m.Labelled, "label"), numbered(m.Others, "verdict"), m.Human, m.Gain)
	}
	fmt.Fprintf(&b, "read so: %s\n", a.Treatment)
	if len(a.Drift) > 0 {
		fmt.Fprintln(&b, "since the earlier audit")
	}
	for _, c := range a.Drift {
		word := "no change shown"
		if c.Drifted {
			word = "changed"
		}
		fmt.Fprintf(&b, "  %-28s %.4f → %.4f  difference [%.4f, %.4f], p %.4f: %s\n", report.Line(c.What, 60), c.Was.Rate, c.Is.Rate, c.Low, c.High, c.Adjusted, word)
	}
	if slices.ContainsFunc(a.Drift, func(c audit.Change) bool { return c.Drifted }) {
		fmt.Fprintln(&b, "the judge has drifted")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func people(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}
