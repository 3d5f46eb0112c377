package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/plan"
	"github.com/telltale-llm/telltale/internal/report"
)

func newPlanCmd(s streams) *cobra.Command {
	o := app.PlanOptions{Assumed: plan.DefaultAssumed, Completion: app.DefaultCompletion, Latency: app.DefaultLatency}
	var vars []string
	var format, color string
	cmd := &cobra.Command{
		Use:   "plan [SUITE]",
		Short: "Say what a suite can show before it is run, and what that costs",
		Long: `Says how small a drop a comparison of two versions finds with this suite, how many cases or answers to each a
given drop takes, what an unchanged system can expect of the gate's margins, and the tokens, money and minutes.
No provider is asked.

With --from, spread, tokens, prices and times are measured on a finished run of the suite, or on two runs of
different versions. Without it they are supposed, and the output says what was.

telltale plan rollout answers the same for a rollout with live traffic.`,
		Example: `  telltale plan telltale.yaml --from .telltale/runs/last --effect 2%
  telltale plan telltale.yaml --from runs/v1 --from runs/v2 --power 0.9
  telltale plan telltale.yaml --format json`,
		ValidArgsFunction: completeSuites,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{fmt.Errorf("plan takes one suite, got %q", args)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkPlan(&o, format, color); err != nil {
				return err
			}
			var err error
			if o.Suite, err = suitePath(args); err != nil {
				return err
			}
			if o.Vars, err = parseVars(vars); err != nil {
				return err
			}
			o.Env, o.Stdin = os.LookupEnv, s.in
			if o.CacheDir == "" {
				o.CacheDir = filepath.Join(".telltale", "cache")
			}
			o.Notice = func(text string) { fmt.Fprintln(s.err, "note: "+text) }
			p, err := app.Plan(cmd.Context(), o)
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, p)
			}
			return report.Plan(cmd.OutOrStdout(), p, terminalOptions(cmd.OutOrStdout(), color, ""))
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&vars, "var", nil, "fill the suite's parameter ${NAME}, as NAME=value; may be repeated")
	fl.StringArrayVar(&o.From, "from", nil, "measure on this finished run or baseline; twice for two versions")
	fl.StringVar(&o.Metric, "metric", "pass_rate", "what the comparison is about")
	fl.StringVar(&o.Effect, "effect", "", "`drop` that is to be found, such as 0.02, 2%, 200ms or $0.01")
	fl.Float64Var(&o.Alpha, "alpha", 0, "chance of calling an unchanged system worse (default the gate's, or 0.05)")
	fl.Float64Var(&o.Power, "power", 0, "chance of finding the drop (default the gate's, or 0.8)")
	fl.IntVar(&o.Samples, "samples", 0, "answers per case, instead of the suite's")
	fl.IntVar(&o.Sample, "sample", 0, "keep this many cases of each source, chosen by hash")
	fl.IntVarP(&o.Concurrency, "concurrency", "j", 0, fmt.Sprintf("requests at a time (default the suite's, or %d)", app.DefaultConcurrency))
	fl.StringVar(&o.Prices, "prices", "", "price table that adds to the built-in one (YAML)")
	fl.Float64Var(&o.Assumed.Rate, "suppose-rate", o.Assumed.Rate, "pass rate to suppose without --from")
	fl.Float64Var(&o.Assumed.Share, "suppose-share", o.Assumed.Share, "share of the variance that lies between cases, to suppose where no case was answered twice")
	fl.Float64Var(&o.Assumed.Alike, "suppose-alike", o.Assumed.Alike, "correlation over cases between the versions, to suppose without two runs")
	fl.IntVar(&o.Completion, "suppose-tokens", o.Completion, "tokens of an answer to suppose without --from")
	fl.Float64Var(&o.Latency, "suppose-seconds", o.Latency, "seconds of an answer to suppose without --from")
	fl.StringVar(&format, "format", "text", "what to print: text or json")
	fl.StringVar(&color, "color", "auto", "colours: auto, always or never")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("from", completeOtherRun)
	cmd.AddCommand(newPlanRolloutCmd())
	return cmd
}

func checkPlan(o *app.PlanOptions, format, color string) error {
	share := func(flag string, x, low, high float64) error {
		if x >= low && x <= high {
			return nil
		}
		return &usageError{fmt.Errorf("--%s %g: want a number from %g to %g", flag, x, low, high)}
	}
	atLeast := func(flag string, x, least float64) error {
		if x >= least {
			return nil
		}
		return &usageError{fmt.Errorf("--%s %g: want %g or more", flag, x, least)}
	}
	errs := []error{
		chance("alpha", o.Alpha), chance("power", o.Power), oneOf("format", format, []string{"text", "json"}), oneOf("color", color, []string{"auto", "always", "never"}),
		share("suppose-rate", o.Assumed.Rate, 0.001, 0.999), share("suppose-share", o.Assumed.Share, 0, 1), share("suppose-alike", o.Assumed.Alike, -1, 1),
		atLeast("samples", float64(o.Samples), 0), atLeast("sample", float64(o.Sample), 0), atLeast("concurrency", float64(o.Concurrency), 0),
		share("suppose-tokens", float64(o.Completion), 0, 10_000_000), share("suppose-seconds", o.Latency, 0, 86_400),
	}
	return errors.Join(errs...)
}

// chance refuses what is not a probability; 0 stands for not given.
func chance(flag string, x float64) error {
	if x == 0 || x > 0 && x < 1 {
		return nil
	}
	return &usageError{fmt.Errorf("--%s %g: want a number between 0 and 1", flag, x)}
}

// writeJSON prints v for machines.
func writeJSON(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
