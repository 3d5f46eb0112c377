package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/plan"
)

// Plan writes what a suite can show, and what that takes, for a person to read.
func Plan(w io.Writer, p *plan.Suite, opts TerminalOptions) error {
	t := newTerminal(opts)
	s := planText{t, p}
	s.head()
	s.table()
	s.margins()
	s.basis()
	return t.flush(w)
}

type planText struct {
	*terminal
	p *plan.Suite
}

// worse is what a metric does when it gets worse.
func (s planText) worse() string {
	switch s.p.Better {
	case metric.Higher:
		return "drop"
	case metric.Lower:
		return "rise"
	}
	return "change"
}

func (s planText) amount(x float64) string { return amount(x, s.p.Unit, s.p.Variance.Points(s.p.Unit)) }

// amount writes a difference in its unit, or in percentage points.
func amount(x float64, unit string, asPoints bool) string {
	if asPoints {
		return points(x)
	}
	return quantity(&x, unit, false)
}

// points writes a difference of shares in percentage points.
func points(x float64) string { return number(math.Round(1e4*x)/100) + " points" }

func (s planText) head() {
	p := s.p
	s.line(s.paint("Plan", bold) + "  " + fit(p.Path, s.Width-6))
	s.line(fmt.Sprintf("  %s cases × %s × %s each", count(p.Cases), numbered(p.Cells, "snapshot"), numbered(p.Repeats, "answer")))
	s.line(fmt.Sprintf("  %s, one-sided test at α %s, power %s", p.Metric, number(p.Goal.Alpha), percent(p.Goal.Power)))
	s.line("")
	if own := p.Own(); own == nil || own.Detect == nil {
		s.wrap("  ", fmt.Sprintf("With these cases no %s can be told from chance with that power.", s.worse()), bold, yellow)
	} else {
		s.wrap("  ", fmt.Sprintf("Least %s that a comparison finds: %s.", s.worse(), s.amount(*own.Detect)), bold)
	}
	if p.Effect > 0 {
		s.effect()
	}
}

// effect says what a wanted drop takes.
func (s planText) effect() {
	var ways []string
	if o := s.p.Own(); o != nil && o.Cases > 0 {
		ways = append(ways, fmt.Sprintf("%s cases with %s each", count(o.Cases), numbered(o.Repeats, "answer")))
	}
	for i := range s.p.Options {
		o := &s.p.Options[i]
		if o.Repeats > s.p.Repeats && o.Detect != nil && *o.Detect <= s.p.Effect {
			ways = append(ways, fmt.Sprintf("%s answers to each of these cases", count(o.Repeats)))
			break
		}
	}
	text := "no number of cases is enough"
	if len(ways) > 0 {
		text = strings.Join(ways, ", or ")
	}
	s.wrap("  ", fmt.Sprintf("A %s of %s takes %s.", s.worse(), s.amount(s.p.Effect), text))
}

func (s planText) table() {
	s.section("Answers to each case")
	g := newGrid(1)
	head := []cell{{"", nil}, {"finds", []style{dim}}}
	if s.p.Effect > 0 {
		head = append(head, cell{"cases for " + s.amount(s.p.Effect), []style{dim}})
	}
	for _, name := range []string{"samples", "tokens", "cost", "time"} {
		head = append(head, cell{name, []style{dim}})
	}
	for i := range head {
		g.right(i)
	}
	g.add(head...)
	for i := range s.p.Options {
		o := &s.p.Options[i]
		name := count(o.Repeats)
		if o.Repeats == s.p.Repeats {
			name = "now " + name
		}
		row := []cell{plain(name), plain(s.detect(o.Detect))}
		if s.p.Effect > 0 {
			row = append(row, plain(orNone(o.Cases)))
		}
		cost := "unknown"
		if o.Cost != nil {
			cost = dollars(*o.Cost)
		}
		g.add(append(row, plain(count(o.Samples)), plain(rough(o.Prompt+o.Completion)), plain(cost), plain(seconds(math.Ceil(60*o.Minutes))))...)
	}
	for _, line := range g.lines(s.terminal) {
		s.line("  " + line)
	}
}

func (s planText) detect(d *float64) string {
	if d == nil {
		return "nothing"
	}
	return s.amount(*d)
}

func orNone(n int) string {
	if n == 0 {
		return "none"
	}
	return count(n)
}

// rough writes a number of tokens in thousands or millions.
func rough(x float64) string {
	switch {
	case x >= 1e6:
		return number(math.Round(x/1e4)/100) + "M"
	case x >= 1e4:
		return number(math.Round(x/1e3)) + "k"
	}
	return number(math.Round(x))
}

func (s planText) margins() {
	if len(s.p.Margins) == 0 {
		return
	}
	s.section("Margins of the gate, for a system that did not change")
	for _, m := range s.p.Margins {
		need := "no number of cases is enough"
		if m.Cases > 0 {
			need = fmt.Sprintf("%s cases make it %s", count(m.Cases), percent(s.p.Goal.Power))
		}
		s.wrap("  ", fmt.Sprintf("%s, margin %s: shown to be within it in %s of runs; %s", m.Metric, amount(m.Margin, m.Unit, m.Points), percent(m.Chance), need))
	}
}

func (s planText) basis() {
	s.section("What this rests on")
	s.wrap("  ", "spread: "+s.p.Variance.Basis)
	s.wrap("  ", "use: "+s.p.Usage)
	for _, n := range s.p.Notes {
		s.wrap("  ", "note: "+n)
	}
}

// numbered writes a number with its noun.
func numbered(n int, noun string) string { return count(n) + " " + plural(n, noun) }

// RolloutPlan writes how long a rollout takes to find a canary that is worse.
func RolloutPlan(w io.Writer, r *plan.Rollout, opts TerminalOptions) error {
	t := newTerminal(opts)
	t.line(t.paint("Rollout plan", bold))
	what, of, amount := "events at a rate of "+percent(r.Baseline), "its rate", func(row *plan.RolloutRow) string { return percent(row.Candidate) }
	if r.Scores != nil {
		what = fmt.Sprintf("scores with a mean of %g and a standard deviation of %g", r.Scores.Mean, r.Scores.SD)
		of, amount = "its mean", func(row *plan.RolloutRow) string { return fmt.Sprintf("%g", row.Mean) }
	}
	t.wrap("  ", fmt.Sprintf("%s in the control arm, %s requests an hour, α %g", what, number(r.Traffic), r.Alpha))
	t.section("Until a worse canary is withdrawn")
	g := newGrid(1)
	head := []cell{plain("canary"), plain(of), plain("bound"), plain("median"), plain("9 of 10"), plain("median"), plain("9 of 10")}
	for i := range head {
		head[i].styles = []style{dim}
		g.right(i)
	}
	g.add(head...)
	for i := range r.Rows {
		row := &r.Rows[i]
		cells := []cell{plain(percent(row.Split)), plain(amount(row)), plain(requests(&row.Bound)), plain(requests(row.Median)), plain(requests(row.P90)), plain(hours(row.MedianHours)), plain(hours(row.P90Hours))}
		for i := range cells {
			if i > 2 && row.Runs == 0 {
				cells[i] = plain("unknown")
			}
		}
		g.add(cells...)
	}
	for _, line := range g.lines(t) {
		t.line("  " + line)
	}
	t.line("")
	t.wrap("  ", "Requests are of both arms. No procedure finds the change in fewer than the bound, on average; the others are of the e-process that a rollout uses, by simulation.")
	for i := range r.Rows {
		row := &r.Rows[i]
		stage := fmt.Sprintf("! with %s of the traffic a %s of %s ", percent(row.Split), strings.TrimPrefix(of, "its "), amount(row))
		switch {
		case row.Runs == 0:
			t.wrap("  ", stage+fmt.Sprintf("takes too long to simulate; it is not found in fewer than %s requests on average (%s)", requests(&row.Bound), hours(&row.BoundHours)), yellow)
		case row.Median == nil:
			t.wrap("  ", stage+fmt.Sprintf("is found in %s of rollouts within %s requests: this stage cannot see it", percent(row.Found), requests(&row.Horizon)), yellow)
		}
	}
	return t.flush(w)
}

func requests(x *float64) string {
	if !finite(x) {
		return "never"
	}
	return count(int(math.Ceil(*x)))
}

func hours(x *float64) string {
	if !finite(x) {
		return "never"
	}
	return seconds(3600 * *x)
}
