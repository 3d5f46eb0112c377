package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
)

func newPrivacyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "privacy",
		Short: "Show what redaction makes of a text",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPrivacyCheckCmd())
	return cmd
}

func newPrivacyCheckCmd() *cobra.Command {
	o := app.PreviewOptions{Env: os.LookupEnv}
	var format string
	cmd := &cobra.Command{
		Use:   "check FILE|-",
		Short: "Redact a file as the server would, to standard output",
		Long: `Redacts a text or a JSON document by the rules of a server's configuration, or by those that hold without one, and
writes it to standard output. What was found is counted on standard error. Nothing is stored. Pseudonyms are those of the
server only if the configuration names its key.`,
		Example: "  telltale privacy check letter.txt\n  echo '{\"phone\": \"212-736-5000\"}' | telltale privacy check - --config server.yaml --route support",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{errors.New("privacy check takes one file, or - for standard input")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, []string{"text", "json"}); err != nil {
				return err
			}
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return &config.Error{Pos: config.Pos{File: args[0]}, Problem: "cannot be read", Err: err}
				}
				defer f.Close()
				in = f
			}
			out, err := app.Preview(cmd.Context(), in, o)
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, out)
			}
			if _, err := io.WriteString(cmd.OutOrStdout(), out.Text); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "found: "+counted(out.Found))
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&o.Config, "config", "c", "", "the server's configuration `file`")
	fl.StringVar(&o.Route, "route", "", "`name` of the route whose rules are used")
	fl.StringVar(&o.Field, "field", "input", "`field` that the text stands for, as in privacy.fields")
	fl.StringVar(&format, "format", "text", "`how` the result is written: text or json")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return cmd
}

// counted lists what was found, such as "2 email, 1 card".
func counted(found map[string]int) string {
	if len(found) == 0 {
		return "nothing"
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(found)) {
		parts = append(parts, fmt.Sprintf("%d %s", found[kind], kind))
	}
	return strings.Join(parts, ", ")
}
