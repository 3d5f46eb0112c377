package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
)

// newImportCmd returns telltale import: what becomes of files written for other tools.
func newImportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Say what of another tool's files runs here",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImportPromptfooCmd(), newImportLMEvalCmd(), newImportEvalsCmd())
	return cmd
}

func newImportPromptfooCmd() *cobra.Command {
	var vars []string
	var format string
	var allowCode bool
	cmd := &cobra.Command{
		Use:   "promptfoo FILE",
		Short: "Say what of a promptfoo configuration runs, what does not, and why",
		Long: `Reads a promptfoo configuration as telltale run would and lists what runs, what is left out, what is
ignored, and what has to be mended first, each with file, line and key. No provider is asked and nothing is
written; the file needs no conversion, telltale run takes it as it is. Exit code 0, unless the file
cannot be read.`,
		Example:           "  telltale import promptfoo promptfooconfig.yaml\n  telltale import promptfoo promptfooconfig.yaml --format json",
		ValidArgsFunction: completeSuites,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{errors.New("import promptfoo takes one file")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			params, err := parseVars(vars)
			if err != nil {
				return err
			}
			if err := oneOf("format", format, []string{"text", "json"}); err != nil {
				return err
			}
			in, err := app.Inspect(cmd.Context(), app.RunOptions{
				Suite: args[0], LoadOptions: app.LoadOptions{Vars: params, Env: os.LookupEnv, AllowCode: allowCode}, Stdin: cmd.InOrStdin(),
			})
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, in)
			}
			return showInspection(cmd.OutOrStdout(), in)
		},
	}
	cmd.Flags().StringArrayVar(&vars, "var", nil, "fill the suite's parameter ${NAME}, as NAME=value; may be repeated")
	cmd.Flags().StringVar(&format, "format", "text", "what to print: text or json")
	cmd.Flags().BoolVar(&allowCode, "allow-code", false, "suppose that the suite may run its own JavaScript and Python")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// showInspection prints an inspection as tables.
func showInspection(w io.Writer, in *app.Inspection) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", in.Suite, in.Summary())
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	if len(in.Assertions) > 0 {
		fmt.Fprint(t, "\nruns\n")
		for _, name := range slices.Sorted(maps.Keys(in.Assertions)) {
			fmt.Fprintf(t, "  %s\t%d×\n", name, in.Assertions[name])
		}
	}
	writeFindings(t, in.Findings)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeFindings lists what does not run as written, by what becomes of it.
func writeFindings(t io.Writer, findings []app.Finding) {
	for _, standing := range []app.Standing{app.Mistake, app.LeftOut, app.Ignored} {
		first := true
		for i := range findings {
			f := &findings[i]
			if f.Standing != standing {
				continue
			}
			if first {
				fmt.Fprintf(t, "\n%s\n", standing)
				first = false
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", f.Place(), f.Key, oneLine(f.Value), f.Why)
		}
	}
}

// oneLine shortens a value for a table.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return s
}
