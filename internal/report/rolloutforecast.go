package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/telltale-llm/telltale/internal/rollout"
)

// RolloutForecast writes what a rollout can be expected to take and to see. Note says where the traffic's figures come from, empty for
// from the command line.
func RolloutForecast(w io.Writer, f *rollout.Forecast, note string, opts TerminalOptions) error {
	t := newTerminal(opts)
	t.line(t.paint("Rollout plan", bold) + "  " + logLine(f.Rollout, 64))
	t.wrap("  ", fmt.Sprintf("%s requests an hour, α %g", number(f.Requests), f.Alpha))
	if note != "" {
		t.wrap("  ", note)
	}
	t.section("A candidate that is no worse")
	g := newGrid(1)
	g.right(1, 2, 3)
	g.add(heads("stage", "has its sample after", "stays, median", "undecided after")...)
	for i := range f.Stages {
		s := &f.Stages[i]
		stays := "to its end"
		if s.StayHours != nil {
			stays = hours(s.StayHours)
		}
		g.add(plain(s.Name), plain(hours(&s.SampleHours)), plain(stays), plain(hours(&s.MaxHours)))
	}
	for _, line := range g.lines(t) {
		t.line("  " + line)
	}
	promoted := fmt.Sprintf("%.0f of %d simulated rollouts reach 100%%", f.Promoted*float64(f.Simulated), f.Simulated)
	if f.Hours != nil {
		promoted += fmt.Sprintf("; done, with the bake time, after %s in the median", hours(f.Hours))
	}
	if f.P90Hours != nil {
		promoted += fmt.Sprintf(", in 9 of 10 after %s at most", hours(f.P90Hours))
	}
	t.line("")
	t.wrap("  ", promoted+".")
	t.section("A candidate that is worse")
	g = newGrid(1)
	g.right(2, 3, 4, 5)
	g.add(heads("stage", "signal", "sample shows", "end shows", "worse by", "found after")...)
	for i := range f.Stages {
		for j := range f.Stages[i].Sees {
			s, about := &f.Stages[i].Sees[j], &f.Signals[j]
			found := fmt.Sprintf("in %.0f%%", 100*s.Found)
			if s.Hours != nil {
				found = hours(s.Hours)
			}
			g.add(plain(f.Stages[i].Name), plain(logLine(s.Signal, 20)), plain(shows(s.AtSample)), plain(shows(s.AtEnd)), plain(difference(about.Worse-about.Baseline)), plain(found))
		}
	}
	for _, line := range g.lines(t) {
		t.line("  " + line)
	}
	t.line("")
	t.wrap("  ", "The least that a stage's sample shows and that shows at its end, and the median time until a candidate that is worse by so much is withdrawn, or in how many simulated rollouts it is.")
	var from []string
	for i := range f.Signals {
		s := &f.Signals[i]
		text := fmt.Sprintf("%s %s", logLine(s.Name, 20), percent(s.Baseline))
		if s.Assumed {
			text += " (assumed)"
		}
		from = append(from, text)
	}
	t.wrap("  ", "Baseline: "+strings.Join(from, ", ")+".")
	for _, warning := range f.Warnings {
		t.wrap("  ", "! "+logLine(warning, 500), yellow)
	}
	return t.flush(w)
}

func heads(names ...string) (out []cell) {
	for _, n := range names {
		out = append(out, dimmed(n))
	}
	return out
}

// shows is a difference that is seen.
func shows(x *float64) string {
	if x == nil {
		return "nothing"
	}
	return difference(*x)
}

func difference(x float64) string { return fmt.Sprintf("%.2f points", 100*x) }

// ExperimentPower writes what an experiment can find, and when. Note is as in RolloutForecast.
func ExperimentPower(w io.Writer, p *rollout.Power, note string, opts TerminalOptions) error {
	t := newTerminal(opts)
	t.line(t.paint("Experiment plan", bold) + "  " + logLine(p.Experiment, 64))
	t.wrap("  ", fmt.Sprintf("%s units an hour, %s of %.3g%% in the first variant, α %g", number(p.Units), logLine(p.Metric, 40), 100*p.Rate, p.Alpha))
	if note != "" {
		t.wrap("  ", note)
	}
	t.line("")
	g := newGrid(1)
	g.right(1, 2, 3, 4)
	g.add(heads("variant", "after", "units in both", "interval ±", "found with 80% power")...)
	for i := range p.Rows {
		r := &p.Rows[i]
		g.add(plain(logLine(r.Variant, 32)), plain(hours(&r.Hours)), plain(number(r.Units)), plain(difference(r.Half)), plain(difference(r.Found)))
	}
	for _, line := range g.lines(t) {
		t.line("  " + line)
	}
	for _, warning := range p.Warnings {
		t.line("")
		t.wrap("  ", warning+".", yellow)
	}
	return t.flush(w)
}
