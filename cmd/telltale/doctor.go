package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func newDoctorCmd() *cobra.Command {
	var f serveFlags
	var format string
	var offline bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Examine a server's configuration and this machine",
		Long: `Examines what telltale serve needs, before it is started or beside it: the configuration with its keys, the data
directory and its disk, the bus and the store, limits and clock of this machine, and whether upstreams, the NER service
and the scorers' models answer. Upstreams are asked for their list of models, which costs nothing. A server that runs
is asked how it is, with the key in $` + app.APIKeyEnv + `. Nothing is changed and no secret is shown.

Exit codes: 0 nothing failed (there may be warnings), 1 a check failed, 2 usage.`,
		Example: "  telltale doctor\n  telltale doctor --config server.yaml --format json\n  telltale doctor --role worker --nats nats://bus:4222 --store clickhouse://telltale@db:9000/telltale",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("format", format, []string{"text", "json"}); err != nil {
				return err
			}
			if timeout <= 0 {
				return &usageError{fmt.Errorf("--timeout %v: want more than 0", timeout)}
			}
			found, err := app.Doctor(cmd.Context(), app.DoctorOptions{
				Config: f.config, Asked: cmd.Flags().Changed("config"), Placement: f.place, Env: os.LookupEnv, Prices: f.prices, APIKey: os.Getenv(app.APIKeyEnv),
				Offline: offline, Timeout: timeout,
			})
			if err != nil {
				return err
			}
			show := showDiagnoses
			if format == "json" {
				show = func(w io.Writer, all []app.Diagnosis) error {
					e := json.NewEncoder(w)
					e.SetIndent("", "  ")
					return e.Encode(map[string]any{"checks": all})
				}
			}
			if err := show(cmd.OutOrStdout(), found); err != nil {
				return err
			}
			for _, one := range found {
				if one.Result == app.CheckFail {
					return &verdictError{verdict.Fail}
				}
			}
			return nil
		},
	}
	f.addPlace(cmd)
	cmd.Flags().StringVar(&f.prices, "prices", "", "`file` of prices besides the built-in ones")
	cmd.Flags().StringVar(&format, "format", "text", "`format` of the output: text or json")
	cmd.Flags().BoolVar(&offline, "offline", false, "do not ask upstreams and other services")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "`time` that each question to another machine may take")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// showDiagnoses writes a table, with a line below what is not well that says what to do.
func showDiagnoses(w io.Writer, all []app.Diagnosis) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	counts := map[app.Result]int{}
	for _, one := range all {
		counts[one.Result]++
		fmt.Fprintf(t, "%s\t%s\t%s\n", one.Result, one.Part, one.Detail)
		if one.Hint != "" {
			fmt.Fprintf(t, "\t\t→ %s\n", one.Hint)
		}
	}
	fmt.Fprintf(t, "\n%d ok, %d to look at, %d failed\n", counts[app.CheckOK], counts[app.CheckWarn], counts[app.CheckFail])
	return t.Flush()
}
