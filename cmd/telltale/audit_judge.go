package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
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

// judgeFlags are the flags of telltale audit judge as they are given.
type judgeFlags struct {
	app.JudgeAuditOptions
	renamed, swaps []string
	scale          string
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

--against compares with an earlier audit.

Exit codes: 0 done, 1 a number has changed since the audit of --against, 2 usage or configuration, 3 no item has
both a label and a verdict, 4 could not be done.`,
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
	fl.StringVar(&f.scale, "scale", string(audit.Nominal), "of the labels: nominal, or ordinal for grades such as 1 to 5")
	fl.StringArrayVar(&f.Invalid, "invalid", nil, "`label` of the judge that is no verdict; may be repeated")
	fl.StringVar(&f.InvalidAs, "invalid-as", "", "`label` that an invalid verdict counts as; they are left out when it is not given")
	fl.StringVarP(&f.out, "out", "o", "", "write the audit to this `file`")
	fl.StringVar(&f.Against, "against", "", "earlier audit `file` to compare with")
	fl.Float64Var(&f.Alpha, "alpha", config.DefaultAlpha, "chance of seeing drift where there is none")
	formatFlag(cmd, &f.format)
	_ = cmd.RegisterFlagCompletionFunc("scale", cobra.FixedCompletions(scales, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

var scales = []string{string(audit.Nominal), string(audit.Ordinal)}

func runAuditJudge(cmd *cobra.Command, f *judgeFlags) (err error) {
	if err := errors.Join(oneOf("format", f.format, compareFormats), oneOf("scale", f.scale, scales)); err != nil {
		return err
	}
	f.Scale = audit.Scale(f.scale)
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

// judgeTable writes an audit within 80 columns.
type judgeTable struct{ strings.Builder }

func (t *judgeTable) wrap(indent, format string, args ...any) {
	for i, line := range report.Wrap(fmt.Sprintf(format, args...), 78-len(indent)) {
		if i > 0 {
			line = "  " + line
		}
		fmt.Fprintln(t, indent+line)
	}
}

func (t *judgeTable) share(name string, s *audit.Share) {
	if s != nil {
		fmt.Fprintf(t, "  %-28s %d/%d = %.4f  [%.4f, %.4f]\n", name, s.K, s.N, s.Rate, s.Low, s.High)
	}
}

func (t *judgeTable) coefficient(name string, c *audit.Coefficient) {
	switch name = report.Line(name, 34); {
	case c == nil:
	case c.Low == nil:
		fmt.Fprintf(t, "  %-28s %.4f  no interval: %s without spread\n", name, c.Value, numbered(c.Items, "item"))
	default:
		fmt.Fprintf(t, "  %-28s %.4f  [%.4f, %.4f]\n", name, c.Value, *c.Low, *c.High)
	}
}

func (t *judgeTable) graded(g audit.Graded) {
	t.coefficient("alpha, ordinal", g.OrdinalAlpha)
	t.coefficient("Gwet's AC2, quadratic", g.AC2)
}

func showJudgeAudit(w io.Writer, a *app.JudgeAudited) error {
	var t judgeTable
	h := &a.Humans
	fmt.Fprintf(&t, "%s, %s; 95%% intervals\n", numbered(a.Items, "item"), people(len(h.Names)))
	if len(h.Names) > 1 {
		fmt.Fprintln(&t, "people with one another")
	}
	for _, p := range h.Pairs {
		t.coefficient("kappa "+p.A+", "+p.B, p.Kappa)
		t.coefficient("  weighted", p.Weighted)
	}
	t.coefficient("Fleiss' kappa", h.Fleiss)
	t.coefficient("Krippendorff's alpha", h.Alpha)
	t.coefficient("Gwet's AC1", h.AC1)
	t.graded(h.Graded)
	fmt.Fprintln(&t, "judge with people")
	t.share("accuracy", a.Accuracy)
	t.share("with invalid as wrong", a.Strict)
	t.coefficient("Cohen's kappa", a.Kappa)
	t.coefficient("Krippendorff's alpha", a.Alpha)
	t.coefficient("Gwet's AC1", a.AC1)
	if a.Kappa == nil && a.Accuracy != nil {
		fmt.Fprintln(&t, "  no kappa, alpha or AC1: only one label was given")
	}
	t.coefficient("Cohen's kappa, quadratic", a.Weighted)
	t.graded(a.Graded)
	t.leftOut(a)
	t.confusion(a.Table)
	fmt.Fprintln(&t, "judge by itself")
	t.share("invalid verdicts", a.Invalid)
	t.share("same in both orders", a.Swap)
	t.share("same when asked again", a.Self)
	if m := a.Mean; m != nil {
		t.wrap("", "people's mean %s: %.4f [%.4f, %.4f] from %s and %s of the judge alone; labels alone %.4f; worth %.2f times as many labels",
			m.Of, m.Value, m.Low, m.High, numbered(m.Labelled, "label"), numbered(m.Others, "verdict"), m.Human, m.Gain)
	}
	t.wrap("", "read so: %s", a.Treatment)
	t.drift(a.Drift)
	_, err := io.WriteString(w, t.String())
	return err
}

// leftOut says which items the agreement says nothing about.
func (t *judgeTable) leftOut(a *app.JudgeAudited) {
	majority := "without a majority"
	if a.Scale == audit.Ordinal {
		majority = "without a median"
	}
	var out []string
	for _, o := range []struct {
		n   int
		why string
	}{{a.Humans.NoMajority, majority}, {a.Humans.Unlabelled, "without a label"}, {a.Unjudged, "that the judge was not asked about"}} {
		if o.n > 0 {
			out = append(out, numbered(o.n, "item")+" "+o.why)
		}
	}
	if len(out) > 0 {
		t.wrap("  ", "left out: %s", strings.Join(out, ", "))
	}
}

// confusion shows where the judge errs, where there is room for it.
func (t *judgeTable) confusion(table map[string]map[string]int) {
	columns := map[string]bool{}
	for _, row := range table {
		for verdict := range row {
			columns[verdict] = true
		}
	}
	if len(table) > 8 || len(columns) > 8 || len(table) == 0 {
		return
	}
	verdicts := slices.Sorted(maps.Keys(columns))
	if verdicts[0] == "" { // no verdict comes last
		verdicts = append(verdicts[1:], "")
	}
	cell := func(s string) string { return report.Line(s, 7) }
	fmt.Fprintf(t, "  %-10s", "people")
	for _, v := range verdicts {
		if v == "" {
			v = "invalid"
		}
		fmt.Fprintf(t, "%8s", cell(v))
	}
	fmt.Fprintln(t, "  judge")
	for _, label := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprintf(t, "  %-10s", report.Line(label, 10))
		for _, v := range verdicts {
			fmt.Fprintf(t, "%8d", table[label][v])
		}
		fmt.Fprintln(t)
	}
}

func (t *judgeTable) drift(changes []audit.Change) {
	if len(changes) == 0 {
		return
	}
	fmt.Fprintln(t, "since the earlier audit")
	drifted := false
	for _, c := range changes {
		word := "no change shown"
		if c.Drifted {
			word, drifted = "changed", true
		}
		fmt.Fprintf(t, "  %-28s %.4f → %.4f: %s\n", report.Line(c.What, 28), c.Was.Rate, c.Is.Rate, word)
		fmt.Fprintf(t, "    difference [%.4f, %.4f], p %.4f\n", c.Low, c.High, c.Adjusted)
	}
	if drifted {
		fmt.Fprintln(t, "the judge has drifted")
	}
}

func people(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}
