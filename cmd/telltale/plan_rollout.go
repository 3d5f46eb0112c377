package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/plan"
	"github.com/telltale-llm/telltale/internal/report"
)

// rolloutFlags are the flags of telltale plan rollout.
type rolloutFlags struct {
	baselineRate, baselineMean, alpha, color, format string
	rates, means, splits                             []string
	traffic, sd                                      float64
	seed                                             uint64
}

func newPlanRolloutCmd() *cobra.Command {
	var f rolloutFlags
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Say how much traffic and time a rollout takes to find a worse canary",
		Long: `Says after how many requests, and hours, a worse canary is withdrawn: by the information bound, which no procedure can
beat, and by the e-process that a rollout uses, simulated with a fixed seed.

A canary is worse by the rate of errors (or refusals, or any other event that can be counted): --baseline-rate and --rate. Or by the
mean of scores from 0 to 1, such as a judge's or a toxicity: --baseline-mean, --mean and --score-sd. A mean below the
baseline's is worse where high scores are good, one above where low ones are.

This is one signal in one stage; telltale rollout plan FILE looks at a whole rollout.`,
		Example: `  telltale plan rollout --baseline-rate 1% --rate 3% --rate 2% --traffic 5000 --split 5% --split 50%
  telltale plan rollout --baseline-rate 0.02 --rate 0.04 --traffic 200 --alpha 0.05 --format json
  telltale plan rollout --baseline-mean 0.80 --mean 0.75 --score-sd 0.2 --traffic 500`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := f.plan(cmd)
			if err != nil {
				return err
			}
			if f.format == "json" {
				return writeJSON(cmd, r)
			}
			return report.RolloutPlan(cmd.OutOrStdout(), &r, terminalOptions(cmd.OutOrStdout(), f.color, ""))
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.baselineRate, "baseline-rate", "", "rate of the event in the control arm, such as 1%")
	fl.StringArrayVar(&f.rates, "rate", nil, "rate of the canary that is to be found; may be repeated")
	fl.StringVar(&f.baselineMean, "baseline-mean", "", "mean of the scores in the control arm, between 0 and 1")
	fl.StringArrayVar(&f.means, "mean", nil, "mean of the canary's scores that is to be found; may be repeated")
	fl.Float64Var(&f.sd, "score-sd", 0, "standard deviation of single scores, in either arm")
	fl.Float64Var(&f.traffic, "traffic", 0, "requests an hour, both arms together")
	fl.StringArrayVar(&f.splits, "split", []string{"1%", "5%", "25%", "50%"}, "share of the requests that go to the canary; may be repeated")
	fl.StringVar(&f.alpha, "alpha", "0.01", "chance of withdrawing a canary that is no worse, over the whole rollout")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the simulation")
	fl.StringVar(&f.format, "format", "text", "what to print: text or json")
	fl.StringVar(&f.color, "color", "auto", "colours: auto, always or never")
	for flag, values := range map[string][]string{"format": compareFormats, "color": {"auto", "always", "never"}} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}

// plan checks the flags and simulates.
func (f *rolloutFlags) plan(cmd *cobra.Command) (r plan.Rollout, err error) {
	rate, score := []string{"baseline-rate", "rate"}, []string{"baseline-mean", "mean", "score-sd"}
	wanted, other := rate, score
	if slices.ContainsFunc(score, cmd.Flags().Changed) {
		wanted, other = score, rate
	}
	for _, name := range other {
		if cmd.Flags().Changed(name) {
			return r, &usageError{fmt.Errorf("--%s with --%s: plan for a rate or for scores, not for both at once", wanted[0], name)}
		}
	}
	for _, name := range append(wanted, "traffic") {
		if !cmd.Flags().Changed(name) {
			return r, &usageError{fmt.Errorf("--%s is needed; %s --help has an example", name, cmd.CommandPath())}
		}
	}
	a, err1 := share("alpha", f.alpha)
	arms, err2 := shares("split", f.splits)
	err = errors.Join(err1, err2, oneOf("format", f.format, []string{"text", "json"}), oneOf("color", f.color, []string{"auto", "always", "never"}))
	if !(f.traffic > 0) || math.IsInf(f.traffic, 0) {
		err = errors.Join(err, &usageError{fmt.Errorf("--traffic %g: want the requests an hour, above 0", f.traffic)})
	}
	if score[0] == wanted[0] {
		base, err1 := share("baseline-mean", f.baselineMean)
		means, err2 := shares("mean", f.means)
		if err = errors.Join(err, err1, err2); err == nil {
			err = f.possible(base, means)
		}
		if err != nil {
			return r, err
		}
		return simulated(plan.NewScoreRollout(plan.Scores{Mean: base, SD: f.sd}, means, arms, f.traffic, a, f.seed))
	}
	base, err1 := share("baseline-rate", f.baselineRate)
	rates, err2 := shares("rate", f.rates)
	if err = errors.Join(err, err1, err2); err != nil {
		return r, err
	}
	for _, c := range rates {
		if c <= base {
			return r, &usageError{fmt.Errorf("--rate %g: want one above the baseline's %g, for it is a worse canary that is to be found", c, base)}
		}
	}
	return simulated(plan.NewRollout(base, rates, arms, f.traffic, a, f.seed))
}

// simulated says what nothing above has: that these figures are out of the simulation's reach.
func simulated(r plan.Rollout, ok bool) (plan.Rollout, error) {
	if !ok {
		return r, &usageError{errors.New("nothing can be said with these figures: the canary's and the baseline's are too close to each other or to 0 or 1")}
	}
	return r, nil
}

// possible refuses means that are not worse and standard deviations that scores between 0 and 1 cannot have.
func (f *rolloutFlags) possible(base float64, means []float64) error {
	for _, m := range means {
		if m == base {
			return &usageError{fmt.Errorf("--mean %g: want another than the baseline's, for it is a worse canary that is to be found", m)}
		}
	}
	for _, m := range append([]float64{base}, means...) {
		if most := math.Sqrt(m * (1 - m)); !(f.sd > 0 && f.sd < most) {
			return &usageError{fmt.Errorf("--score-sd %g: want one above 0 and below %.3g, the most that scores from 0 to 1 with a mean of %g can have; "+
				"for scores that are only 0 or 1 give --baseline-rate and --rate of the worse of them", f.sd, most, m)}
		}
	}
	return nil
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
