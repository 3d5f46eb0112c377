package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/guard"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func newGuardCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Show what a guard does to a text",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newGuardCheckCmd())
	return cmd
}

func newGuardCheckCmd() *cobra.Command {
	o := app.GuardCheckOptions{Env: os.LookupEnv}
	var words, format string
	cmd := &cobra.Command{
		Use:   "check SERVER_YAML [FILE|-]",
		Short: "Send a text through a guard, as if a model had answered it",
		Long: `Sends a text through a guard of a server's configuration and writes what a user would read to standard output, and what the guard
found to standard error. No model is asked and nothing is stored. Where the guard would have the model asked again, what
follows is for a model that says the same again.

The exit code is 0 when the text passes, also masked, and 1 when it is blocked or cannot be checked.`,
		Example: "  telltale guard check server.yaml --guard hotfix-42 --text \"write to jane@acme.org\"\n  telltale guard check server.yaml --guard hotfix-42 --stream answer.txt",
		Args: func(cmd *cobra.Command, args []string) error {
			switch given := cmd.Flags().Changed("text"); {
			case len(args) < 1 || len(args) > 2:
				return &usageError{errors.New("guard check takes the server's configuration, and a file, - for standard input, or --text")}
			case given && len(args) == 2:
				return &usageError{fmt.Errorf("guard check takes one text, got --text and %q", args[1])}
			case !given && len(args) == 1:
				return &usageError{errors.New("guard check has no text: want a file, - for standard input, or --text")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			o.Config = args[0]
			var in io.Reader = strings.NewReader(words)
			switch {
			case len(args) == 1:
				o.File = "--text"
			case args[1] == "-":
				in, o.File = cmd.InOrStdin(), "standard input"
			default:
				f, err := os.Open(args[1])
				if err != nil {
					return &config.Error{Pos: config.Pos{File: args[1]}, Problem: "cannot be read", Err: err}
				}
				defer f.Close()
				in, o.File = f, args[1]
			}
			got, err := app.CheckGuard(in, o)
			if err != nil {
				return err
			}
			if err := showGuardCheck(cmd, got, format); err != nil {
				return err
			}
			if got.Stopped() {
				return &verdictError{verdict.Fail}
			}
			return nil
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.Guard, "guard", "", "`name` of the guard; not needed where there is one only")
	fl.StringVar(&words, "text", "", "the `text` itself")
	fl.BoolVar(&o.Stream, "stream", false, "the text comes as a stream, three characters at a time")
	fl.StringVar(&format, "format", "text", "`how` the result is written: text or json")
	return cmd
}

func showGuardCheck(cmd *cobra.Command, got *app.GuardCheck, format string) error {
	if format == "json" {
		return writeJSON(cmd, got)
	}
	text := got.Last().Text
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
		return err
	}
	var b strings.Builder
	if !got.Answers {
		fmt.Fprintf(&b, "guard %s changes requests only\n", got.Guard)
	}
	for i := range got.Attempts {
		if i > 0 {
			b.WriteString("when the model says the same again: ")
		}
		b.WriteString(guardLine(&got.Attempts[i].Report) + "\n")
	}
	_, err := io.WriteString(cmd.ErrOrStderr(), b.String())
	return err
}

// guardLine says what a guard did, such as "changed; found: ids 1, person/email 2".
func guardLine(r *guard.Report) string {
	line := r.Outcome
	if r.Failure != "" {
		line += ": " + string(r.Failure)
	}
	if r.Outcome == guard.Again.String() {
		line = "asks the model again because of " + r.Asked
		if r.Model != "" {
			line = "asks " + r.Model + " because of " + r.Asked
		}
	}
	if r.Repaired {
		line += "; repaired"
	}
	var hits []string
	for _, h := range r.Hits {
		name := h.Filter
		if h.Kind != "" {
			name += "/" + h.Kind
		}
		hits = append(hits, fmt.Sprintf("%s %d", name, h.Count))
	}
	if len(hits) > 0 {
		line += "; found: " + strings.Join(hits, ", ")
	}
	if r.Held > 0 {
		line += fmt.Sprintf("; at most %d bytes held back", r.Held)
	}
	return line
}
