package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
)

func newValidateCmd() *cobra.Command {
	var vars []string
	var skip, code bool
	cmd := &cobra.Command{
		Use:   "validate FILE…",
		Short: "Check suites and server configurations without running them",
		Long: `Reads each suite with everything it refers to, its dataset included, or each server's configuration with its
keys, and reports every mistake with file, line and key. No provider is asked and nothing is written. Exit code 2 when there is a mistake.`,
		Example:           "  telltale validate telltale.yaml\n  telltale validate suites/*.yaml --var model=gpt-4.1-mini",
		ValidArgsFunction: completeSuites,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("validate needs at least one file")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			params, err := parseVars(vars)
			if err != nil {
				return err
			}
			var errs config.Errors
			for _, file := range args {
				if app.IsServer(file) {
					sum, err := app.ValidateServer(file, os.LookupEnv)
					if err != nil {
						errs.Append(config.Pos{File: file}, err)
						continue
					}
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s\n", file, sum); err != nil {
						return err
					}
					continue
				}
				sum, err := app.Validate(cmd.Context(), app.RunOptions{
					Suite: file, LoadOptions: app.LoadOptions{Vars: params, Env: os.LookupEnv, SkipUnsupported: skip, AllowCode: code},
					Stdin: cmd.InOrStdin(), Notice: func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), "note: "+s) },
				})
				if err != nil {
					errs.Append(config.Pos{File: file}, err)
					continue
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s\n", file, sum); err != nil {
					return err
				}
			}
			return errs.Err()
		},
	}
	cmd.Flags().StringArrayVar(&vars, "var", nil, "fill the suite's parameter ${NAME}, as NAME=value; may be repeated")
	cmd.Flags().BoolVar(&code, "allow-code", false, "suppose that the suite may run its own JavaScript and Python")
	cmd.Flags().BoolVar(&skip, "skip-unsupported", false, "list what telltale cannot run instead of failing")
	return cmd
}

func newSchemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [suite|server]",
		Short: "Print the JSON Schema of suite files, or of a server's configuration",
		Long: `Prints the JSON Schema that editors use to complete and check suite files. In VS Code with the YAML extension,
put this line at the top of a suite:

  # yaml-language-server: $schema=./suite.schema.json`,
		Example: "  telltale schema > suite.schema.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != "suite" && args[0] != "server" {
				return &usageError{fmt.Errorf("schema takes suite or server, got %q", args)}
			}
			return nil
		},
		ValidArgs: []string{"suite", "server"},
		RunE: func(cmd *cobra.Command, args []string) error {
			of := config.SuiteSchema
			if len(args) == 1 && args[0] == "server" {
				of = config.ServerSchema
			}
			b, err := of(app.AssertionKinds())
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
}
