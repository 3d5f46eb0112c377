package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
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
	s.sizes()
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
func points(x float64) string {
	n := rounded(100 * x)
	if n == "1" {
		return "1 point"
	}
	return n + " points"
}

// rounded writes a number that is an estimate: three digits say more than it knows.
func rounded(x float64) string {
	if math.Abs(x) >= 1000 {
		return number(math.Round(x))
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

func (s planText) head() {
	p := s.p
	s.line(s.paint("Plan", bold) + "  " + fit(p.Path, s.Width-6))
	cases := count(p.Cases) + " cases"
	if p.Groups < p.Cases {
		cases += " in " + numbered(p.Groups, "group")
	}
	s.line(fmt.Sprintf("  %s × %s × %s each", cases, numbered(p.Cells, "snapshot"), numbered(p.Repeats, "answer")))
	sides := "one-sided"
	if p.Goal.TwoSided {
		sides = "two-sided"
	}
	s.wrap("  ", fmt.Sprintf("%s, %s test at α %.3g, power %s%%", p.Metric, sides, p.Goal.Alpha, rounded(100*p.Goal.Power)))
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
	o := s.p.Own()
	if o != nil && o.Detect != nil && *o.Detect <= s.p.Effect && o.Cases > 0 {
		s.wrap("  ", fmt.Sprintf("A %s of %s is found; %s cases with %s each would be enough.", s.worse(), s.amount(s.p.Effect), count(o.Cases), numbered(o.Repeats, "answer")))
		return
	}
	if o != nil && o.Cases > 0 {
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
		g.add(append(row, plain(count(o.Samples)), plain(rough(o.Tokens())), plain(cost), plain(seconds(math.Ceil(60*o.Minutes))))...)
	}
	for _, line := range g.lines(s.terminal) {
		s.line("  " + line)
	}
}

// sizes shows what other numbers of cases would find.
func (s planText) sizes() {
	s.section("Found with other numbers of cases, by answers to each")
	g := newGrid(1)
	head := []cell{{"cases", []style{dim}}}
	for i := range s.p.Options {
		head = append(head, cell{count(s.p.Options[i].Repeats), []style{dim}})
	}
	for i := range head {
		g.right(i)
	}
	head = append(head, cell{"one answer each takes", []style{dim}})
	g.add(head...)
	for i := range s.p.Sizes {
		size := &s.p.Sizes[i]
		row := []cell{plain(count(size.Cases))}
		for _, d := range size.Detect {
			text := strings.TrimSuffix(strings.TrimSuffix(s.detect(d), "s"), " point")
			row = append(row, plain(text))
		}
		takes := rough(size.Spend.Tokens()) + " tokens"
		if c := size.Spend.Cost; c != nil && *c > 0 {
			takes = dollars(*c)
		}
		g.add(append(row, plain(takes+", "+seconds(math.Ceil(60*size.Spend.Minutes))))...)
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
		return rounded(x/1e6) + "M"
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
			need = fmt.Sprintf("%s cases make it %s", count(m.Cases), rounded(100*s.p.Goal.Power)+"%")
		}
		s.wrap("  ", fmt.Sprintf("%s, margin %s: shown to be within it in %s of runs; %s", m.Metric, amount(m.Margin, m.Unit, m.Points), rounded(100*m.Chance)+"%", need))
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
	what, of, amount := "events at a rate of "+exactPercent(r.Baseline), "its rate", func(row *plan.RolloutRow) string { return exactPercent(row.Candidate) }
	if r.Scores != nil {
		what = fmt.Sprintf("scores with a mean of %g and a standard deviation of %g", r.Scores.Mean, r.Scores.SD)
		of, amount = "its mean", func(row *plan.RolloutRow) string { return fmt.Sprintf("%g", row.Mean) }
	}
	t.wrap("  ", fmt.Sprintf("%s in the control arm, %s requests an hour, α %g", what, number(r.Traffic), r.Alpha))
	t.section("Until a worse canary is withdrawn, in requests of both arms and in time")
	g := newGrid(1)
	head := []cell{plain("share"), plain(of), plain("bound"), plain("mean"), plain("median"), plain("9 of 10"), plain("mean"), plain("9 of 10")}
	for i := range head {
		head[i].styles = []style{dim}
		g.right(i)
	}
	g.add(head...)
	for i := range r.Rows {
		row := &r.Rows[i]
		cells := []cell{plain(exactPercent(row.Split)), plain(amount(row)), plain(requests(row.Bound))}
		if row.Runs == 0 {
			unknown := plain("unknown")
			cells = append(cells, unknown, unknown, unknown, unknown, unknown)
		} else {
			mean, meanTime := spans(row.MeanRequests, row.LeastMean, r.Traffic)
			median, _ := spans(row.Median, row.Horizon, r.Traffic)
			most, mostTime := spans(row.P90, row.Horizon, r.Traffic)
			cells = append(cells, plain(mean), plain(median), plain(most), plain(meanTime), plain(mostTime))
		}
		g.add(cells...)
	}
	for _, line := range g.lines(t) {
		t.line("  " + line)
	}
	t.line("")
	t.wrap("  ", fmt.Sprintf("No procedure has a mean below the bound. The others are of %s, by simulation. A figure with > is one that the simulation did not wait for.", procedures(r)))
	for i := range r.Rows {
		row := &r.Rows[i]
		stage := fmt.Sprintf("! with %s of the traffic a %s of %s ", exactPercent(row.Split), strings.TrimPrefix(of, "its "), amount(row))
		switch {
		case row.Runs == 0:
			t.wrap("  ", stage+fmt.Sprintf("takes too long to simulate; it is not found in fewer than %s requests on average (%s)", requests(row.Bound), longTime(row.BoundHours)), yellow)
		case row.Median == nil:
			t.wrap("  ", stage+fmt.Sprintf("is found in %s of rollouts within %s requests: this stage cannot see it", percent(row.Found), requests(row.Horizon)), yellow)
		}
	}
	return t.flush(w)
}

// procedures names the e-processes that were simulated.
func procedures(r *plan.Rollout) string {
	var names []string
	for i := range r.Rows {
		if name := r.Rows[i].Procedure; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		return "the e-process that a rollout uses (" + names[0] + ")"
	}
	return "the e-processes that a rollout uses (" + strings.Join(names, ", ") + ")"
}

// exactPercent writes a share with the digits that were given for it, up to six.
func exactPercent(x float64) string { return strconv.FormatFloat(100*x, 'g', 6, 64) + "%" }

// spans writes a number of requests and the time for them, or what they are above.
func spans(x *float64, above, traffic float64) (n, time string) {
	sign := ""
	if !finite(x) {
		sign, x = ">", &above
	}
	return sign + requests(*x), sign + longTime(*x/traffic)
}

// requests writes a number of requests, from a hundred thousand on with three digits.
func requests(x float64) string {
	switch {
	case x < 1e5:
		return count(int(math.Ceil(x)))
	case x < 999.5e3:
		return strconv.FormatFloat(x/1e3, 'f', 0, 64) + "k"
	case x < 999.5e6:
		return strconv.FormatFloat(x/1e6, 'g', 3, 64) + "M"
	default:
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
}

// hours writes a time in hours.
func hours(x *float64) string {
	if !finite(x) {
		return "never"
	}
	return seconds(3600 * *x)
}

// longTime writes a time in hours that may be years.
func longTime(x float64) string {
	switch days := x / 24; {
	case x < 100:
		return hours(&x)
	case days < 1000:
		return strings.TrimSuffix(strconv.FormatFloat(days, 'f', 1, 64), ".0") + " days"
	default:
		return strconv.FormatFloat(days/365.25, 'g', 3, 64) + " years"
	}
}
