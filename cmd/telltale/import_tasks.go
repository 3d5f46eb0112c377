package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
)

func newImportLMEvalCmd() *cobra.Command {
	return newImportTasksCmd("lmeval", "a task file of lm-evaluation-harness", `Reads a task file of lm-evaluation-harness, or a group of tasks, with the files it includes, and lists what runs, what is
left out, and what has to be mended first, each with file, line and key. No dataset is read and no provider is
asked; the file needs no conversion, telltale run takes it as it is. Exit code 0, unless the file cannot be read.`,
		"  telltale import lmeval task.yaml\n  telltale import lmeval gsm8k.yaml --var dataset_path=./gsm8k")
}

func newImportEvalsCmd() *cobra.Command {
	return newImportTasksCmd("evals", "a registry file of OpenAI's evals", `Reads a registry file of OpenAI's evals and lists what runs, what is left out, and what has to be mended first, each
with file, line and key. No samples are read and no provider is asked; the file needs no conversion, telltale run
takes it as it is. Exit code 0, unless the file cannot be read.`,
		"  telltale import evals registry/evals/arithmetic.yaml")
}

func newImportTasksCmd(name, what, long, example string) *cobra.Command {
	var vars []string
	var format string
	cmd := &cobra.Command{
		Use:               name + " FILE",
		Short:             "Say what of " + what + " runs, what does not, and why",
		Long:              long,
		Example:           example,
		ValidArgsFunction: completeSuites,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{errors.New("import " + name + " takes one file")}
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
			in, err := app.InspectTasks(args[0], app.LoadOptions{Vars: params})
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, in)
			}
			return showTasks(cmd.OutOrStdout(), in)
		},
	}
	cmd.Flags().StringArrayVar(&vars, "var", nil, "a parameter of the file, as NAME=value; may be repeated")
	cmd.Flags().StringVar(&format, "format", "text", "what to print: text or json")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// showTasks prints an inspection as tables.
func showTasks(w io.Writer, in *app.TaskInspection) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nruns\n", in.File)
	if len(in.Runs) == 0 {
		b.WriteString("  nothing\n")
	}
	for _, line := range in.Runs {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	writeFindings(t, in.Findings)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}
