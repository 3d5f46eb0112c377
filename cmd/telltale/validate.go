package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
)

func newValidateCmd() *cobra.Command {
	var vars []string
	var skip, code bool
	cmd := &cobra.Command{
		Use:   "validate FILE…",
		Short: "Check suites, server configurations and rollouts without running them",
		Long: `Reads each suite with everything it refers to, its dataset included, each server's configuration with its
keys, or each rollout, and reports every mistake with file, line and key. A rollout is also held against the server's
configuration when both are given. No provider is asked and nothing is written. Exit code 2 when there is a mistake.`,
		Example:           "  telltale validate telltale.yaml\n  telltale validate suites/*.yaml --var model=gpt-4.1-mini\n  telltale validate server.yaml rollout.yaml",
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
			var servers []string
			for _, file := range args {
				if app.IsServer(file) {
					servers = append(servers, file)
				}
			}
			for _, file := range args {
				if app.IsRollout(file) {
					sum, err := app.ValidateRollout(file, servers, os.LookupEnv)
					if err != nil {
						errs.Append(config.Pos{File: file}, err)
						continue
					}
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: ok: %s\n", file, sum); err != nil {
						return err
					}
					continue
				}
				if slices.Contains(servers, file) {
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
		Use:   "schema [suite|server|rollout]",
		Short: "Print the JSON Schema of suite files, of a server's configuration or of rollouts",
		Long: `Prints the JSON Schema that editors use to complete and check suite files. In VS Code with the YAML extension,
put this line at the top of a suite:

  # yaml-language-server: $schema=./suite.schema.json`,
		Example: "  telltale schema > suite.schema.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && !slices.Contains([]string{"suite", "server", "rollout"}, args[0]) {
				return &usageError{fmt.Errorf("schema takes suite, server or rollout, got %q", args)}
			}
			return nil
		},
		ValidArgs: []string{"suite", "server", "rollout"},
		RunE: func(cmd *cobra.Command, args []string) error {
			of := config.SuiteSchema
			if len(args) == 1 && args[0] == "server" {
				of = config.ServerSchema
			}
			if len(args) == 1 && args[0] == "rollout" {
				of = func(map[string]string) ([]byte, error) { return config.RolloutSchema() }
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
