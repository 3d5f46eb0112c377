package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/report"
)

// runFlags are the flags of telltale run as they are given.
type runFlags struct {
	vars        []string
	seed        int64
	format      string
	color       string
	ci          string
	quiet       bool
	noProgress  bool
	concurrency int
	app.RunOptions
}

func newRunCmd(s streams) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [SUITE]",
		Short: "Run a suite and decide",
		Long: `Runs every case of a suite against its providers, judges the answers, and decides by the suite's gate.

SUITE is a YAML file; without it telltale.yaml or promptfooconfig.yaml in the working directory is taken.
The results go to --out: run.json, samples.jsonl, junit.xml, report.md and report.html.
Every finished sample is kept at once, so that a run that was killed or interrupted goes on with --resume.

` + exitHelp,
		Example: `  telltale run telltale.yaml
  telltale run suite.yaml --out results --samples 3 --concurrency 32
  telltale run suite.yaml --var model=gpt-4.1-mini --format json > run.json
  telltale run suite.yaml --out results --resume
  telltale run suite.yaml --baseline .telltale/runs/main --gate 'pass_rate margin 2%'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{fmt.Errorf("run takes one suite, got %q", args)}
			}
			return nil
		},
		ValidArgsFunction: completeSuites,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := runSuite(cmd, args, &f, s)
			return errors.Join(err, tellCIMistakes(ciKind(f.ci, os.Getenv), err, s.err, os.Getenv))
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.Out, "out", "o", "", "directory for the results (default .telltale/runs/NAME-TIME)")
	fl.StringArrayVar(&f.vars, "var", nil, "fill the suite's parameter ${NAME}, as NAME=value; may be repeated")
	fl.BoolVar(&f.Resume, "resume", false, "go on with the unfinished run in --out")
	fl.BoolVar(&f.Force, "force", false, "replace the run in --out")
	fl.IntVar(&f.Samples, "samples", 0, "answers per case, instead of the suite's")
	fl.Int64Var(&f.seed, "seed", 0, "seed of the run, instead of the suite's")
	fl.IntVar(&f.Sample, "sample", 0, "keep this many cases of each source, chosen by hash")
	fl.StringSliceVar(&f.Tags, "tag", nil, "keep cases with this tag; !TAG leaves them out; may be repeated")
	fl.IntVarP(&f.concurrency, "concurrency", "j", 0, fmt.Sprintf("requests at a time for each provider (default the suite's, or %d)", app.DefaultConcurrency))
	fl.DurationVar(&f.Timeout, "timeout", 0, "longest time for one attempt (default the provider's)")
	fl.IntVar(&f.Retries, "retries", app.DefaultRetries, "further attempts after a failure that may pass")
	fl.BoolVar(&f.NoCache, "no-cache", false, "neither use nor keep cached answers")
	fl.StringVar(&f.CacheDir, "cache-dir", "", "directory of the cache (default .telltale/cache)")
	fl.StringVar(&f.Prices, "prices", "", "price table that adds to the built-in one (YAML)")
	fl.StringArrayVar(&f.ProviderIDs, "provider", nil, "ask this provider instead of the suite's own: an id, file://FILE.yaml, or {id: …, config: {…}}; may be repeated")
	fl.StringArrayVar(&f.Gate, "gate", nil, "decide by this check instead of the suite's own, such as 'pass_rate >= 0.9' or 'pass_rate margin 2%'; may be repeated")
	fl.StringVar(&f.Baseline, "baseline", "", "compare the run with this instead of the suite's baseline: a stored baseline's name or a run's directory")
	fl.BoolVar(&f.SkipUnsupported, "skip-unsupported", false, "leave out what telltale cannot run, and list it")
	fl.BoolVar(&f.AllowCode, "allow-code", false, "let the suite run its own JavaScript (node) and Python (python3)")
	fl.StringVar(&f.format, "format", "text", "what to print: text, json, markdown or junit")
	fl.StringVar(&f.color, "color", "auto", "colours: auto, always or never")
	fl.StringVar(&f.ci, "ci", "auto", "tell the service that runs this: auto (by the environment), github, gitlab or none")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print errors only")
	fl.BoolVar(&f.noProgress, "no-progress", false, "show no progress")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("ci", cobra.FixedCompletions(ciKinds, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("baseline", completeOtherRun)
	_ = cmd.MarkFlagDirname("out")
	_ = cmd.MarkFlagDirname("cache-dir")
	return cmd
}

// completeOtherRun offers what a run can be held against: stored baselines and directories.
func completeOtherRun(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	return completeSides(cmd, nil, word)
}

var formats = []string{"text", "json", "markdown", "junit"}

func completeSuites(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func (f *runFlags) check(cmd *cobra.Command) error {
	atLeast := func(flag string, v, least int) error {
		if cmd.Flags().Changed(flag) && v < least {
			return &usageError{fmt.Errorf("--%s %d: want %d or more", flag, v, least)}
		}
		return nil
	}
	timeout := error(nil)
	if cmd.Flags().Changed("timeout") && f.Timeout <= 0 {
		timeout = &usageError{fmt.Errorf("--timeout %v: want a duration above 0 such as 30s", f.Timeout)}
	}
	if f.concurrency > 10_000 {
		return &usageError{fmt.Errorf("--concurrency %d: want at most 10000", f.concurrency)}
	}
	resume := error(nil)
	if f.Resume && f.Out == "" {
		resume = &usageError{errors.New("--resume needs --out DIR: the directory of the unfinished run")}
	}
	return errors.Join(
		oneOf("format", f.format, formats), oneOf("color", f.color, []string{"auto", "always", "never"}), oneOf("ci", f.ci, ciKinds),
		atLeast("samples", f.Samples, 1), atLeast("sample", f.Sample, 1), atLeast("concurrency", f.concurrency, 1), atLeast("retries", f.Retries, 0),
		timeout, resume, exclusive(cmd, "resume", "force"),
	)
}

func runSuite(cmd *cobra.Command, args []string, f *runFlags, s streams) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	o := f.RunOptions
	var err error
	if o.Suite, err = suitePath(args); err != nil {
		return err
	}
	if o.Vars, err = parseVars(f.vars); err != nil {
		return err
	}
	o.Env = os.LookupEnv
	o.Stdin = s.in
	o.Comparing = collectEarly
	o.Concurrency = f.concurrency
	if cmd.Flags().Changed("seed") {
		o.Seed = &f.seed
	}
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(".telltale", "cache")
	}
	var bar progress = silent{}
	if !f.quiet && !f.noProgress {
		bar = newProgress(s.err)
	}
	if !f.quiet {
		o.Notice = func(text string) { bar.note("note: " + text) }
	}
	o.Planned = bar.start
	o.Progress = bar.update
	finished, err := app.Run(cmd.Context(), o)
	bar.finish()
	if err != nil {
		if in, ok := errors.AsType[*app.Interrupted](err); ok && in.Dir != "" {
			return fmt.Errorf("%w\ngo on with: %s", err, resumeCommand(o, f, in.Dir))
		}
		return err
	}
	if err := show(cmd.OutOrStdout(), finished, f); err != nil {
		return &app.CouldNotRun{Err: err}
	}
	if err := tellCI(ciKind(f.ci, os.Getenv), finished, s.err, os.Getenv); err != nil {
		fmt.Fprintln(s.err, "note: continuous integration was not told: "+err.Error())
	}
	if finished.Resumable && !f.quiet {
		fmt.Fprintf(s.err, "%s: %s\n", goOn(finished), resumeCommand(o, f, finished.Dir))
	}
	return &verdictError{finished.Run.Gate.Verdict}
}

// suitePath returns the suite named on the command line, or the one in the working directory.
func suitePath(args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	names := []string{"telltale.yaml", "telltale.yml", "promptfooconfig.yaml", "promptfooconfig.yml"}
	for _, name := range names {
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	}
	return "", &usageError{fmt.Errorf("no suite is named, and the working directory has none of %s", strings.Join(names, ", "))}
}

func show(w io.Writer, finished *app.Finished, f *runFlags) error {
	if f.quiet && f.format == "text" {
		return nil
	}
	src := finished.Source()
	switch f.format {
	case "json":
		return report.JSON(w, finished.Run)
	case "markdown":
		return report.Markdown(w, src)
	case "junit":
		return report.JUnit(w, src)
	}
	return report.Terminal(w, src, terminalOptions(w, f.color, finished.Dir))
}

// goOn says what resuming a run that has results would do.
func goOn(finished *app.Finished) string {
	switch stopped := finished.Run.Summary.Stopped; {
	case strings.Contains(stopped, "budget"):
		return "raise the budget and go on with"
	case stopped != "":
		return "go on with"
	}
	return fmt.Sprintf("try the %d samples again that got no answer with", finished.Again)
}

// resumeCommand is the command that goes on with a run.
func resumeCommand(o app.RunOptions, f *runFlags, dir string) string {
	parts := []string{"telltale run", quote(o.Suite), "--out", quote(dir), "--resume"}
	for _, v := range f.vars {
		parts = append(parts, "--var", quote(v))
	}
	if o.Samples > 0 {
		parts = append(parts, fmt.Sprintf("--samples %d", o.Samples))
	}
	if o.Seed != nil {
		parts = append(parts, fmt.Sprintf("--seed %d", *o.Seed))
	}
	if o.Sample > 0 {
		parts = append(parts, fmt.Sprintf("--sample %d", o.Sample))
	}
	for _, t := range o.Tags {
		parts = append(parts, "--tag", quote(t))
	}
	if o.Concurrency > 0 {
		parts = append(parts, fmt.Sprintf("--concurrency %d", o.Concurrency))
	}
	if o.Timeout > 0 {
		parts = append(parts, "--timeout", o.Timeout.Round(time.Millisecond).String())
	}
	if o.Retries != app.DefaultRetries {
		parts = append(parts, fmt.Sprintf("--retries %d", o.Retries))
	}
	if o.NoCache {
		parts = append(parts, "--no-cache")
	}
	if f.CacheDir != "" {
		parts = append(parts, "--cache-dir", quote(f.CacheDir))
	}
	if o.Prices != "" {
		parts = append(parts, "--prices", quote(o.Prices))
	}
	for _, p := range o.ProviderIDs {
		parts = append(parts, "--provider", quote(p))
	}
	for _, g := range o.Gate {
		parts = append(parts, "--gate", quote(g))
	}
	if o.Baseline != "" {
		parts = append(parts, "--baseline", quote(o.Baseline))
	}
	if o.AllowCode {
		parts = append(parts, "--allow-code")
	}
	if o.SkipUnsupported {
		parts = append(parts, "--skip-unsupported")
	}
	return strings.Join(parts, " ")
}

// quote makes s one word for a shell.
func quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+", r)
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
