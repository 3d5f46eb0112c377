package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/rollout"
)

// rolloutPlanFlags are the flags of telltale rollout plan.
type rolloutPlanFlags struct {
	traffic, deviation   float64
	rates                []string
	worse, color, format string
	seed                 uint64
}

func newRolloutForecastCmd(remote *remoteFlags) *cobra.Command {
	var f rolloutPlanFlags
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say how long a rollout will take, and what each of its stages can see",
		Long: `Says of the rollout in a file how long it takes until a candidate that is no worse serves everybody, how long until one that is
worse is withdrawn, and the least harm that each stage can see; and warns of stages that see nothing. It simulates the
rollout with the decisions that the server takes, with a fixed seed.

Of an experiment it says how wide the interval of each difference will be, and which difference is found with 80% power; for a
score --score-sd gives the standard deviation of single values.

The traffic and the rates of the baseline are those of the route's last day on the server; --traffic and --baseline-rate stand
over them. With --traffic and without --server no server is asked. Rates that nothing is known of are taken to be 1%.`,
		Example: `  telltale rollout plan rollout.yaml
  telltale rollout plan rollout.yaml --traffic 5000 --baseline-rate error_rate=0.5% --worse 2%`,
		Args: oneArg("one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, p, note, err := f.prospect(cmd, remote, args[0])
			if err != nil {
				return err
			}
			opts := terminalOptions(cmd.OutOrStdout(), f.color, "")
			if doc.Kind == config.KindExperiment {
				rate := p.Rates[doc.Metric.Name]
				if !(rate > 0 && rate < 1) { // nothing is known of it, or the event has not been seen
					rate = unknownRate
				}
				out, err := rollout.NewPower(doc, p.Requests, rate, f.deviation, f.seed)
				if err != nil {
					return err
				}
				if f.format == "json" {
					return writeJSON(cmd, out)
				}
				return report.ExperimentPower(cmd.OutOrStdout(), out, note, opts)
			}
			out, err := rollout.NewForecast(doc, p)
			if err != nil {
				return err
			}
			if f.format == "json" {
				return writeJSON(cmd, out)
			}
			return report.RolloutForecast(cmd.OutOrStdout(), out, note, opts)
		},
	}
	fl := cmd.Flags()
	fl.Float64Var(&f.traffic, "traffic", 0, "`requests` an hour on the route, of both arms")
	fl.StringArrayVar(&f.rates, "baseline-rate", nil, "the baseline's rate in a `SIGNAL=RATE`, such as error_rate=1%; may be repeated")
	fl.Float64Var(&f.deviation, "score-sd", 0, "standard `deviation` of single scores, for an experiment on a score")
	fl.StringVar(&f.worse, "worse", "", "how much worse the candidate is that is to be found, as a `difference` such as 2%; each signal's margin when it is not given")
	fl.Uint64Var(&f.seed, "seed", 1, "`seed` of the simulation")
	fl.StringVar(&f.color, "color", "auto", "colours: auto, always or never")
	formatFlag(cmd, &f.format)
	return cmd
}

// unknownRate is taken where nothing is known of a rate.
const unknownRate = 0.01

// prospect checks the flags, and asks the server where it must.
func (f *rolloutPlanFlags) prospect(cmd *cobra.Command, remote *remoteFlags, path string) (doc *config.Rollout, p rollout.Prospect, note string, err error) {
	err = errors.Join(oneOf("format", f.format, compareFormats), oneOf("color", f.color, []string{"auto", "always", "never"}))
	given := cmd.Flags().Changed("traffic")
	if given && (!(f.traffic > 0) || math.IsInf(f.traffic, 0)) {
		err = errors.Join(err, &usageError{fmt.Errorf("--traffic %g: want the requests an hour, above 0", f.traffic)})
	}
	if !(f.deviation >= 0 && f.deviation <= 0.5) {
		err = errors.Join(err, &usageError{fmt.Errorf("--score-sd %g: want the standard deviation of scores from 0 to 1, at most 0.5", f.deviation)})
	}
	worse := 0.0
	if f.worse != "" {
		var one error
		worse, one = share("worse", f.worse)
		err = errors.Join(err, one)
	}
	if err != nil {
		return nil, p, "", err
	}
	doc, err = app.LoadPlanned(path)
	if err != nil {
		return nil, p, "", err
	}
	rates, err := f.signalRates(doc)
	if err != nil {
		return nil, p, "", err
	}
	p = rollout.Prospect{Rates: map[string]float64{}}
	if !given || remote.server != "" || os.Getenv(app.ServerEnv) != "" {
		r, err := remote.open()
		if err != nil {
			return nil, p, "", err
		}
		if p, note, err = r.RouteTraffic(cmd.Context(), doc); err != nil && !given {
			return nil, p, "", noTraffic(err)
		}
		if p.Rates == nil { // the route is new, or the server away: what was given has to do
			p.Rates = map[string]float64{}
		}
	}
	if given {
		p.Requests = f.traffic
	}
	for name, rate := range rates {
		p.Rates[name] = rate
	}
	p.Worse, p.Seed = worse, f.seed
	return doc, p, note, nil
}

// noTraffic says what can be done where no server answers.
func noTraffic(err error) error {
	if e, ok := errors.AsType[*app.CouldNotRun](err); ok {
		return &app.CouldNotRun{Err: fmt.Errorf("%w; or give the requests an hour: --traffic", e.Err)}
	}
	return err
}

// signalRates reads the rates that were given for signals of the document.
func (f *rolloutPlanFlags) signalRates(doc *config.Rollout) (map[string]float64, error) {
	var names []string
	for i := range doc.Signals {
		names = append(names, doc.Signals[i].Name)
	}
	if doc.Metric != nil {
		names = append(names, doc.Metric.Name)
	}
	out := map[string]float64{}
	var errs []error
	for _, text := range f.rates {
		name, rate, ok := strings.Cut(text, "=")
		if !ok || !slices.Contains(names, name) {
			errs = append(errs, &usageError{fmt.Errorf("--baseline-rate %q: want SIGNAL=RATE, the signal one of %s", text, strings.Join(names, ", "))})
			continue
		}
		x, err := share("baseline-rate", rate)
		out[name], errs = x, append(errs, err)
	}
	return out, errors.Join(errs...)
}
