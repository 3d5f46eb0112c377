package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/golden"
	"github.com/telltale-llm/telltale/internal/report"
)

const goldenHelp = `An assertion of type golden compares an answer with those that were accepted of its case. They are in a file
beside the suite, golden/SUITE.jsonl or the one that config.file names; commit it. docs/golden.md has more.`

// newGoldenCmd returns telltale golden: outputs that a person has accepted.
func newGoldenCmd(s streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "golden",
		Short: "Accept outputs of a run as those that later runs are compared with",
		Long:  "Accepts outputs of a run as those that later runs are compared with.\n\n" + goldenHelp,
		Example: `  telltale golden accept .telltale/runs/suite-20260302-093000
  telltale golden show golden/suite.jsonl`,
		Args: subcommandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newGoldenAcceptCmd(s), newGoldenShowCmd())
	return cmd
}

// acceptFlags are the flags of telltale golden accept.
type acceptFlags struct {
	app.AcceptOptions
	failed, missing, all bool
	yes, dryRun          bool
	format, color        string
}

func newGoldenAcceptCmd(s streams) *cobra.Command {
	var f acceptFlags
	cmd := &cobra.Command{
		Use:   "accept RUN_DIR",
		Short: "Show how outputs differ from the accepted ones, and accept them",
		Long: `Shows how the outputs of a run differ from those that are accepted, word by word, and then accepts them: those
of cases without an accepted output, and those that matched none. On a terminal it asks before it writes: y takes
them all, c asks about each, anything else takes none. Elsewhere it needs --yes. The file is written whole or not at
all, sorted, one output a line.

What was accepted of a case before stays when an answer of the run matched any of it, and is replaced otherwise;
--keep keeps it in any case.

` + goldenHelp,
		Example: `  telltale golden accept runs/today --dry-run
  telltale golden accept runs/today --missing --yes
  telltale golden accept runs/today --case greeting --case farewell`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("golden accept takes the directory of a run, got %q", args)}
			}
			return nil
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeDirs(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			f.RunDir = filepath.Clean(args[0])
			return runAccept(cmd, &f, s)
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.Cases, "case", nil, "only this case's `id`; may be repeated")
	fl.BoolVar(&f.missing, "missing", false, "only cases without an accepted output")
	fl.BoolVar(&f.failed, "all-failed", false, "only outputs that matched no accepted one")
	fl.BoolVar(&f.all, "all", false, "every answer of the run, in the place of all that was accepted of these cases")
	fl.BoolVar(&f.Keep, "keep", false, "keep all that was accepted before")
	fl.BoolVar(&f.Prune, "prune", false, "remove what is accepted of cases that the run does not have")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show the differences and write nothing")
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fl.StringVar(&f.color, "color", "auto", "colours: auto, always or never")
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	formatFlag(cmd, &f.format)
	return cmd
}

func (f *acceptFlags) check(cmd *cobra.Command) error {
	f.Choice = app.AcceptOpen
	switch {
	case f.all:
		f.Choice = app.AcceptAll
	case f.missing:
		f.Choice = app.AcceptMissing
	case f.failed:
		f.Choice = app.AcceptFailed
	}
	return errors.Join(oneOf("format", f.format, compareFormats), oneOf("color", f.color, []string{"auto", "always", "never"}),
		exclusive(cmd, "prune", "case"), exclusive(cmd, "missing", "all-failed"), exclusive(cmd, "missing", "all"), exclusive(cmd, "all-failed", "all"), exclusive(cmd, "dry-run", "yes"))
}

func runAccept(cmd *cobra.Command, f *acceptFlags, s streams) error {
	a, err := app.Accept(f.AcceptOptions)
	if err != nil {
		return err
	}
	for _, n := range a.Notes {
		fmt.Fprintln(s.err, "note: "+n)
	}
	if n := len(a.Obsolete); n > 0 && !f.Prune {
		fmt.Fprintf(s.err, "note: outputs are accepted of %s that the run does not have: %s; --prune removes them\n", numbered(n, "case"), report.Line(strings.Join(a.Obsolete, ", "), 200))
	}
	write := len(a.Changes) > 0 && !f.dryRun
	if write && !f.yes && !asks(s.in) {
		return &usageError{fmt.Errorf("%s: there is no terminal to ask on; --yes accepts them, --dry-run only shows them", acceptSize(a))}
	}
	if err := showAcceptance(cmd, a, f); err != nil {
		return err
	}
	if !write {
		return nil
	}
	if !f.yes {
		if err := choose(cmd, a, f, s); err != nil {
			return err
		}
		if len(a.Changes) == 0 {
			fmt.Fprintln(s.err, "nothing was accepted")
			return nil
		}
	}
	if err := a.Write(); err != nil {
		return err
	}
	if f.format != "json" {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "accepted in %s; later runs are compared with that\n", strings.Join(a.Files(), ", "))
	}
	return err
}

// acceptSize says what would be done.
func acceptSize(a *app.Acceptance) string {
	gone := map[string]bool{}
	for i := range a.Changes {
		if c := &a.Changes[i]; c.Gone {
			gone[c.Case] = true
		}
	}
	accept, remove := fmt.Sprintf("accept %s of %s", numbered(a.Outputs(), "output"), numbered(a.Cases, "case")), "remove those of "+numbered(len(gone), "case")
	switch {
	case len(gone) == 0:
		return accept
	case a.Outputs() == 0:
		return remove
	}
	return accept + " and " + remove
}

// choose asks what is to be accepted, and leaves that in the acceptance.
func choose(cmd *cobra.Command, a *app.Acceptance, f *acceptFlags, s streams) error {
	in := bufio.NewReader(s.in)
	answer, err := askedFor(s, in, acceptSize(a)+"? [y/N, c to choose] ")
	if err != nil || answer == "y" {
		return err
	}
	more := answer == "c"
	a.Restrict(func(c *app.GoldenChange) bool {
		if !more || err != nil {
			return false
		}
		w := cmd.OutOrStdout()
		if err = report.GoldenChanges(w, shownChanges([]app.GoldenChange{*c}), terminalOptions(w, f.color, "")); err != nil {
			return false
		}
		question := "accept? [y/N, q to end] "
		if c.Gone {
			question = "remove? [y/N, q to end] "
		}
		answer, err = askedFor(s, in, question)
		more = answer != "q"
		return answer == "y"
	})
	return err
}

func numbered(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return report.Count(n) + " " + what + "s"
}

func showAcceptance(cmd *cobra.Command, a *app.Acceptance, f *acceptFlags) error {
	w := cmd.OutOrStdout()
	if f.format == "json" {
		return writeJSON(cmd, a)
	}
	if a.Skipped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s without an answer, which cannot be accepted\n", numbered(a.Skipped, "sample"))
	}
	if len(a.Changes) == 0 {
		_, err := fmt.Fprintln(w, "there is nothing to accept")
		return err
	}
	if err := report.GoldenChanges(w, shownChanges(a.Changes), terminalOptions(w, f.color, "")); err != nil {
		return &app.CouldNotRun{Err: err}
	}
	_, err := fmt.Fprintln(w, strings.TrimPrefix(acceptSize(a), "accept "))
	return err
}

// shownChanges are changes with what a reader calls their cases.
func shownChanges(changes []app.GoldenChange) []report.GoldenChange {
	list := make([]report.GoldenChange, len(changes))
	for i := range changes {
		c := &changes[i]
		title := report.GoldenTitle(golden.Key{Case: c.Case, Provider: c.Provider, Prompt: c.Prompt})
		switch {
		case c.Gone:
			title += ": the run has no such case"
		case c.Description != "":
			title += ": " + report.Line(c.Description, 100)
		}
		list[i] = report.GoldenChange{Title: title, Input: c.Input, Added: c.Added, Kept: c.Kept, Dropped: c.Dropped}
	}
	return list
}

// asks says whether there is somebody to ask.
func asks(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// askedFor asks a question on the terminal and returns the answer in lower case, a word of it as its letter.
func askedFor(s streams, in *bufio.Reader, question string) (string, error) {
	if _, err := fmt.Fprint(s.err, question); err != nil {
		return "", err
	}
	answer, err := in.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	switch answer = strings.ToLower(strings.TrimSpace(answer)); answer {
	case "yes", "choose", "quit":
		answer = answer[:1]
	}
	return answer, nil
}

func newGoldenShowCmd() *cobra.Command {
	var cases []string
	var format string
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show what is accepted",
		Long:  "Checks a golden file and shows what is accepted; with --case in full.\n\n" + goldenHelp,
		Example: `  telltale golden show golden/telltale.jsonl
  telltale golden show golden/telltale.jsonl --case refund-17 --format json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{fmt.Errorf("golden show takes a golden file, got %q", args)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			f, err := app.OpenGolden(filepath.Clean(args[0]))
			if err != nil {
				return err
			}
			if err := knownCases(f, cases); err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, acceptedOf(f, cases))
			}
			return report.GoldenShow(cmd.OutOrStdout(), f, cases, plainOptions(cmd))
		},
	}
	cmd.Flags().StringArrayVar(&cases, "case", nil, "only this case's `id`, with outputs in full; may be repeated")
	formatFlag(cmd, &format)
	return cmd
}

// knownCases refuses a case of which nothing is accepted.
func knownCases(f *golden.File, cases []string) error {
	var all []string
	for _, k := range f.Keys() {
		all = append(all, k.Case)
	}
	for _, id := range cases {
		if slices.Contains(all, id) {
			continue
		}
		e := &config.Error{Pos: config.Pos{Key: "--case"}, Value: id, Problem: "nothing is accepted of this case in " + f.Path()}
		if near := config.Nearest(id, all); near != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return e
	}
	return nil
}

// accepted is what is accepted of a case, for machines.
type accepted struct {
	Case     string   `json:"case"`
	Provider string   `json:"provider,omitempty"`
	Prompt   string   `json:"prompt,omitempty"`
	Outputs  []string `json:"outputs"`
}

func acceptedOf(f *golden.File, cases []string) []accepted {
	out := []accepted{}
	for _, k := range f.Keys() {
		if len(cases) == 0 || slices.Contains(cases, k.Case) {
			out = append(out, accepted{k.Case, k.Provider, k.Prompt, f.Exactly(k)})
		}
	}
	return out
}
