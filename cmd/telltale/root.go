package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
)

func newRootCmd(s streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "telltale",
		Short: "Says whether a language-model system is still good, and how sure that is",
		Long: `telltale runs regression suites against language models and decides, with stated
uncertainty, whether the system is still good.

  telltale run telltale.yaml      run a suite and decide
  telltale validate telltale.yaml check a suite without running it
  telltale compare BASE HEAD      say how the same cases fared in two runs
  telltale flaky DIR...           tell flaky cases from broken ones
  telltale plan telltale.yaml     say what a suite can show before it is run
  telltale baseline set NAME DIR  keep a run to compare with, in git
  telltale golden accept DIR      accept outputs as those to compare with
  telltale audit scorers SUITE    list the assertions that cannot fail
  telltale view                   show runs in a browser, those under way too
  telltale export mlflow DIR      write a run's results for another tool
  telltale serve                  run the gateway and keep what it sees
  telltale doctor                 examine a server's configuration
  telltale exchanges list         find, show and export what a server has seen
  telltale stats ROUTE            requests, errors, times and cost of a route
  telltale replay ID              send a request again and show what differs
  telltale sim                    serve a simulated model for trying things out

` + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       app.Version,
		Args:          subcommandsOnly,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{flagMistake(cmd, err)}
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		if err := writeHelp(cmd.OutOrStdout(), cmd); err != nil {
			cmd.PrintErrln("error: " + err.Error())
		}
	})
	root.AddCommand(newRunCmd(s), newValidateCmd(), newSchemaCmd(), newSimCmd(), newViewCmd(), newExportCmd(), newImportCmd(), newPlanCmd(s), newCompareCmd(s), newBaselineCmd(), newGoldenCmd(s), newAuditCmd(), newFlakyCmd(s),
		newServeCmd(), newDoctorCmd(), newExchangesCmd(), newStatsCmd(), newRolloutCmd(), newReplayCmd(), newForgetCmd(), newKeysCmd(), newPrivacyCmd(), newGuardCmd(), newVersionCmd())
	return root
}

func newVersionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "telltale %s (%s, %s/%s)\n", app.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args)}
}

// parseVars reads NAME=value pairs.
func parseVars(pairs []string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range pairs {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, &usageError{fmt.Errorf("--var %q: want NAME=value", p)}
		}
		if _, twice := out[name]; twice {
			return nil, &usageError{fmt.Errorf("--var %s is given twice", name)}
		}
		out[name] = value
	}
	return out, nil
}

// oneOf refuses a flag's value that is not allowed.
func oneOf(flag, value string, allowed []string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return &usageError{fmt.Errorf("--%s %q: want %s", flag, value, strings.Join(allowed, ", "))}
}

// exclusive refuses two flags that contradict one another.
func exclusive(cmd *cobra.Command, a, b string) error {
	if cmd.Flags().Changed(a) && cmd.Flags().Changed(b) {
		return &usageError{errors.New("--" + a + " and --" + b + " cannot be used together")}
	}
	return nil
}
