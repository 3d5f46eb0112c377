package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/report"
)

// exitOthers is for commands whose help says nothing of their own about exit codes.
const exitOthers = `Exit codes: 0 done, 2 usage or configuration, 4 could not be done, 130 interrupted.`

// widestHelp is as wide as lines are easily read.
const widestHelp = 100

// writeHelp writes what a command is for, its synopsis, examples and flags, in the terminal's width or 80 columns.
func writeHelp(w io.Writer, cmd *cobra.Command) error {
	columns, isTerminal := terminalWidth(w)
	if !isTerminal {
		columns = 80
	}
	columns = min(columns, widestHelp)
	var b strings.Builder
	long := strings.TrimSpace(cmd.Long)
	if long == "" {
		long = cmd.Short + "."
	}
	if !strings.Contains(long, "Exit code") {
		long += "\n\n" + exitOthers
	}
	b.WriteString(prose(long, columns) + "\n\nUsage:\n")
	if !cmd.HasAvailableSubCommands() {
		b.WriteString("  " + cmd.UseLine() + "\n")
	} else {
		b.WriteString("  " + cmd.CommandPath() + " [command]\n")
	}
	if cmd.HasExample() {
		b.WriteString("\nExamples:\n" + cmd.Example + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				indent := 3 + c.NamePadding()
				fmt.Fprintf(&b, "  %-*s %s\n", c.NamePadding(), c.Name(), strings.ReplaceAll(prose(c.Short, columns-indent), "\n", "\n"+strings.Repeat(" ", indent)))
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		b.WriteString("\nFlags:\n" + cmd.LocalFlags().FlagUsagesWrapped(columns))
	}
	if cmd.HasAvailableInheritedFlags() {
		b.WriteString("\nFlags of " + cmd.Parent().CommandPath() + ":\n" + cmd.InheritedFlags().FlagUsagesWrapped(columns))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n%s [command] --help says more about a command.\n", cmd.CommandPath())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// prose wraps paragraphs to a number of columns. Lines that are indented stay as they are.
func prose(s string, columns int) string {
	var lines []string
	paragraph := ""
	for line := range strings.SplitSeq(s+"\n", "\n") {
		if line != "" && line[0] != ' ' {
			paragraph += " " + line
			continue
		}
		lines = append(append(lines, report.Wrap(paragraph, columns)...), line)
		paragraph = ""
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// subcommandsOnly refuses words that are no command.
func subcommandsOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return &usageError{fmt.Errorf("unknown command %q; %s%s --help lists the commands", args[0], didYouMean("", args[0], names), cmd.CommandPath())}
}

// didYouMean is a question after the known name that is likely meant, or empty.
func didYouMean(before, name string, known []string) string {
	if best := config.Nearest(name, known); best != "" {
		return "did you mean " + before + best + "? "
	}
	return ""
}

// flagMistake says what is wrong with a flag of a command, without naming the function that found it.
func flagMistake(cmd *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		return fmt.Errorf("%w; %s%s --help lists the flags", err, didYouMean("--", unknown.GetSpecifiedName(), names), cmd.CommandPath())
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := invalid.GetFlag()
		want := map[string]string{"int": "a whole number", "int64": "a whole number", "duration": "a duration such as 30s", "bool": "true or false", "float64": "a number"}[f.Value.Type()]
		if want == "" {
			want = f.Value.Type()
		}
		err = fmt.Errorf("--%s %q: want %s", f.Name, invalid.GetValue(), want)
	}
	return fmt.Errorf("%w; %s --help lists the flags", err, cmd.CommandPath())
}
