package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/plan"
	"github.com/telltale-llm/telltale/internal/report"
)

func newPlanRolloutCmd() *cobra.Command {
	var baseline, alpha, color, format string
	var rates, splits []string
	var traffic float64
	var seed uint64
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Say how much traffic and time a rollout takes to find a worse canary",
		Long: `Says after how many requests, and hours, a canary whose rate of errors (or refusals, or any other event that can be
counted) is higher than the control's is withdrawn: by the information bound, which no procedure can beat, and by the
e-process that a rollout uses, simulated with a fixed seed.`,
		Example: `  telltale plan rollout --baseline-rate 1% --rate 3% --rate 2% --traffic 5000 --split 5% --split 50%
  telltale plan rollout --baseline-rate 0.02 --rate 0.04 --traffic 200 --alpha 0.05 --format json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range []string{"baseline-rate", "rate", "traffic"} {
				if !cmd.Flags().Changed(name) {
					return &usageError{fmt.Errorf("--%s is needed; %s --help has an example", name, cmd.CommandPath())}
				}
			}
			base, err1 := share("baseline-rate", baseline)
			a, err2 := share("alpha", alpha)
			candidates, err3 := shares("rate", rates)
			arms, err4 := shares("split", splits)
			err := errors.Join(err1, err2, err3, err4, oneOf("format", format, []string{"text", "json"}), oneOf("color", color, []string{"auto", "always", "never"}))
			if err != nil {
				return err
			}
			for _, c := range candidates {
				if c <= base {
					return &usageError{fmt.Errorf("--rate %g: want one above the baseline's %g, for it is a worse canary that is to be found", c, base)}
				}
			}
			r, ok := plan.NewRollout(base, candidates, arms, traffic, a, seed)
			if !ok {
				return &usageError{fmt.Errorf("--traffic %g: want the requests an hour, above 0", traffic)}
			}
			if format == "json" {
				return writeJSON(cmd, r)
			}
			return report.RolloutPlan(cmd.OutOrStdout(), &r, terminalOptions(cmd.OutOrStdout(), color, ""))
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&baseline, "baseline-rate", "", "rate of the event in the control arm, such as 1%")
	fl.StringArrayVar(&rates, "rate", nil, "rate of the canary that is to be found; may be repeated")
	fl.Float64Var(&traffic, "traffic", 0, "requests an hour, both arms together")
	fl.StringArrayVar(&splits, "split", []string{"1%", "5%", "25%", "50%"}, "share of the requests that go to the canary; may be repeated")
	fl.StringVar(&alpha, "alpha", "0.01", "chance of withdrawing a canary that is no worse, over the whole rollout")
	fl.Uint64Var(&seed, "seed", 1, "seed of the simulation")
	fl.StringVar(&format, "format", "text", "what to print: text or json")
	fl.StringVar(&color, "color", "auto", "colours: auto, always or never")
	return cmd
}

// share reads a number between 0 and 1, or a percentage.
func share(flag, text string) (float64, error) {
	digits, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if percent {
		x /= 100
	}
	if err != nil || !(x > 0 && x < 1) {
		return 0, &usageError{fmt.Errorf("--%s %q: want a share between 0 and 1, such as 0.01 or 1%%", flag, text)}
	}
	return x, nil
}

func shares(flag string, texts []string) ([]float64, error) {
	var out []float64
	var errs []error
	for _, t := range texts {
		x, err := share(flag, t)
		out, errs = append(out, x), append(errs, err)
	}
	return out, errors.Join(errs...)
}
