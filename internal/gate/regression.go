package gate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// The outcomes of a margin with evidence.
const (
	Regressed    = "regressed"
	NotRegressed = "not regressed"
	Underpowered = "underpowered"
)

// What an underpowered margin does; config.Regression.OnUndecided.
const (
	onFail   = "fail"
	onWarn   = "warn"
	onExtend = "extend"
)

// Regression is what the gate asks of a comparison with a baseline.
//
// With d the difference head − base, oriented so that negative is worse, and m the margin:
//
//   - not regressed: the one-sided lower bound of d at confidence 1 − alpha is above −m. Every margin must show it, so
//     that no correction is needed (Berger 1982, intersection–union);
//   - regressed: the bound is not above −m, and the one-sided test of "no worse" rejects at alpha after the
//     correction over all margins (Holm 1979), so that an unchanged system fails with a chance of at most alpha;
//   - underpowered: neither.
type Regression struct {
	config.Regression
	Margins []Margin
	// Comparison is nil when there is none; Problem then says why.
	Comparison *record.Comparison
	Problem    string
	// Looks is set for a gate that draws more repeats while it is underpowered.
	Looks *Looks
}

func (r *Regression) alpha() float64 { return cmp.Or(r.Alpha, config.DefaultAlpha) }

// claim is one margin on one pair of snapshots.
type claim struct {
	margin *Margin
	pair   int
	d      *record.Difference
	// allowed is the margin in the metric's own unit; why says why the claim cannot be decided.
	allowed float64
	why     string
	// needed is what p must be at most; rejected says that it is, after the correction.
	needed   float64
	rejected bool
}

// Level is the one-sided level at which the bounds of the comparison have to be taken: alpha, or less at a look
// that is not the only one. Without a comparison it is the most that the level can be, and at a first look what it
// is.
func (r *Regression) Level() float64 {
	if r.Looks == nil {
		return r.alpha()
	}
	level := stats.SpentOBrienFleming(r.alpha(), r.Looks.Times[r.Looks.now()])
	if r.Comparison != nil {
		for _, c := range r.claims() {
			if c.why == "" {
				level = math.Min(level, r.Looks.needed(c.margin.name, c.d, r.alpha()))
			}
		}
	}
	return math.Max(level, leastLevel)
}

// leastLevel keeps the level of bounds one that an interval can have. A look that may spend less rejects nothing.
const leastLevel = 1e-9

// claims pairs each margin with its differences and tests them together.
func (r *Regression) claims() []claim {
	var out []claim
	c := r.Comparison
	for i := range r.Margins {
		m := &r.Margins[i]
		for pair := range c.Pairs {
			one := claim{margin: m, pair: pair}
			one.find(c)
			out = append(out, one)
		}
	}
	r.test(out)
	return out
}

// Mark writes every margin that applies to its difference, for those who show the comparison.
func (r *Regression) Mark() {
	if r.Comparison == nil {
		return
	}
	for i := range r.Margins {
		for pair := range r.Comparison.Pairs {
			c := claim{margin: &r.Margins[i], pair: pair}
			if c.find(r.Comparison); c.d != nil && c.why == "" {
				c.d.Margin = &c.allowed
			}
		}
	}
}

// find looks up the difference and says what is lacking in it.
func (c *claim) find(all *record.Comparison) {
	list := all.Metrics
	if c.margin.Tag != "" {
		list = all.Slices
	}
	for i := range list {
		if d := &list[i]; d.Metric == c.margin.Metric && d.Tag == c.margin.Tag && d.Pair == c.pair {
			c.d = d
		}
	}
	finite := func(xs ...*float64) bool {
		for _, x := range xs {
			if x == nil || !stats.Finite(*x) {
				return false
			}
		}
		return true
	}
	name, d := c.margin.name, c.d
	switch {
	case all.Pairing.Paired == 0:
		c.why = fmt.Sprintf("%s cannot be compared: no case is in both runs with the same input", name)
	case d == nil && c.margin.Tag != "":
		c.why = fmt.Sprintf("%s cannot be compared: no case that is in both runs has the tag and the metric", name)
	case d == nil:
		c.why = fmt.Sprintf("%s cannot be compared: it is not a metric of both runs", name)
	case d.Pairs <= 0 || !finite(d.Base, d.Head, d.Diff):
		c.why = fmt.Sprintf("%s cannot be compared: %s", name, cmp.Or(d.Why, "there is no number to compare"))
	case d.Better == "":
		c.why = fmt.Sprintf("%s cannot be compared: whether more of it is better is not known (better: higher or lower beside the margin says it)", name)
	case !finite(d.Bound, d.PWorse) || *d.PWorse < 0 || *d.PWorse > 1:
		c.why = fmt.Sprintf("%s cannot be tested: %s", name, cmp.Or(d.Why, "it has no interval"))
	default:
		c.allowed, c.why = c.margin.of(d)
	}
}

// test says which of the claims reject "no worse", corrected for all that can be tested. Holm's procedure
// holds the smallest p-value to alpha/m, the next to alpha/(m−1), and so on; with looks each is held to the
// bounds that spend so much (Maurer and Bretz 2013).
func (r *Regression) test(all []claim) {
	var open []*claim
	for i := range all {
		if all[i].why == "" {
			open = append(open, &all[i])
		}
	}
	slices.SortStableFunc(open, func(a, b *claim) int { return cmp.Compare(*a.d.PWorse, *b.d.PWorse) })
	family := len(open)
	for len(open) > 0 {
		level := r.alpha()
		switch r.Correction {
		case "none":
		case "bonferroni":
			level /= float64(family)
		default:
			level /= float64(len(open))
		}
		rejected := -1
		for i, c := range open {
			c.needed = r.Looks.needed(c.margin.name, c.d, level)
			if *c.d.PWorse <= c.needed {
				rejected = i
				break
			}
		}
		if rejected < 0 {
			return
		}
		open[rejected].rejected = true
		open = slices.Delete(open, rejected, rejected+1)
	}
}

// decideRegression decides every margin. accepted finds the error_rate rule that lets observations be missing
// in the scope of a pair of snapshots.
func (r *Regression) decide(f *Facts, accepted func(label string) *Rule) (checks []verdict.Decision, look *record.Look) {
	if len(r.Margins) == 0 {
		return nil, nil
	}
	c := r.Comparison
	if c == nil || len(c.Pairs) == 0 {
		v, why := verdict.Undecided, "no snapshot of the run is one of the baseline's"
		if c == nil {
			why = cmp.Or(r.Problem, "the run was not compared with the baseline")
		}
		if c == nil && r.Problem != "" {
			v = verdict.Error
		}
		for i := range r.Margins {
			m := &r.Margins[i]
			checks = append(checks, verdict.Decision{Verdict: v, Metric: m.name, Want: m.want(m.Better), Reason: fmt.Sprintf("%s cannot be compared: %s", m.name, why)})
		}
		return checks, nil
	}
	claims := r.claims()
	if r.Looks != nil {
		now := r.Looks.now()
		look = &record.Look{Repeats: r.Looks.Repeats[now], Time: r.Looks.Times[now], Level: c.Alpha,
			Spent: stats.SpentOBrienFleming(r.alpha(), r.Looks.Times[now]) / r.alpha()}
	}
	for i := range claims {
		one := &claims[i]
		d := r.answer(one, f, accepted(c.Pairs[one.pair].Head))
		if len(c.Pairs) > 1 {
			d.Snapshot = c.Pairs[one.pair].Head
			d.Reason = d.Snapshot + ": " + d.Reason
		}
		checks = append(checks, d)
		if look != nil {
			m := record.LookMargin{Metric: one.margin.name, Pair: one.pair, Needed: one.needed, Outcome: d.Outcome}
			if one.d != nil {
				m.Diff, m.Stderr, m.Bound, m.PWorse = one.d.Diff, one.d.Stderr, one.d.Bound, one.d.PWorse
			}
			look.Margins = append(look.Margins, m)
		}
	}
	return checks, look
}

// answer decides one claim.
func (r *Regression) answer(c *claim, f *Facts, accepted *Rule) verdict.Decision {
	d := verdict.Decision{Metric: c.margin.name, Want: c.margin.want(c.margin.Better)}
	if c.d != nil {
		d.Want = c.margin.want(c.d.Better)
	}
	if left := f.Summary.Planned - f.Summary.Finished; left > 0 {
		d.Reason = fmt.Sprintf("%s is not known: %s not run%s", c.margin.name, plural(left, "sample"), stopped(f.Summary))
		return d
	}
	if c.why != "" {
		d.Reason = c.why
		return d
	}
	d.Value = number(*c.d.Bound)
	worst, lost := c.worst(accepted)
	tol := tolerance(c.allowed)
	switch {
	case worst > -c.allowed+tol:
		d.Verdict, d.Outcome = verdict.Pass, NotRegressed
		d.Reason = r.within(c) + lost
	case c.orient(*c.d.Bound) > -c.allowed+tol:
		d.Reason = fmt.Sprintf("%s%s", r.within(c), lost)
	case c.rejected:
		d.Verdict, d.Outcome = verdict.Fail, Regressed
		d.Reason = r.beyond(c)
	case c.d.Missing > 0:
		d.Reason = fmt.Sprintf("%s; and %s missing", r.unclear(c), plural(c.d.Missing, "observation")+" "+word(c.d.Missing, "is", "are"))
	default:
		d.Outcome, d.Reason = Underpowered, r.unclear(c)
		switch r.OnUndecided {
		case onFail:
			d.Verdict = verdict.Fail
			d.Reason += "; on_undecided: fail"
		case onWarn:
			d.Verdict = verdict.Pass
			d.Reason += "; let through by on_undecided: warn"
		}
	}
	return d
}

// orient turns a difference so that negative is worse.
func (c *claim) orient(x float64) float64 {
	if c.d.Better == lower {
		return -x
	}
	return x
}

// worst is the bound, oriented, with what is missing taken at its worst: an observation of a rate may have
// been lost, and others could be anything. A passed error_rate rule accepts as large a share as it names. The
// share is taken of cases rather than of observations, of which there are at least as many.
func (c *claim) worst(accepted *Rule) (worst float64, note string) {
	worst = c.orient(*c.d.Bound)
	missing := c.d.Missing
	if missing == 0 {
		return worst, ""
	}
	share := float64(missing) / float64(missing+c.d.Pairs)
	if accepted != nil && compare(accepted.Op, share, share, accepted.Bar) == verdict.Pass {
		return worst, fmt.Sprintf("; %s accepted by error_rate %s", plural(missing, "missing observation"), accepted.Text)
	}
	if c.d.Kind != kindRate {
		return math.Inf(-1), fmt.Sprintf("; but %s and could be anything (an error_rate rule that passes accepts as many)", isMissing(missing))
	}
	with := worst*(1-share) - share
	if with > -c.allowed+tolerance(c.allowed) {
		return with, " whatever the " + plural(missing, "missing observation") + " would be"
	}
	return with, fmt.Sprintf("; but %s, and could make the difference %s", isMissing(missing), c.signed(with))
}

func isMissing(n int) string {
	return fmt.Sprintf("%s %s missing", plural(n, "observation"), word(n, "is", "are"))
}

// sides names the metric with its two values, such as "accuracy 0.9120 against the baseline's 0.9080 (300 cases)".
func (c *claim) sides() string {
	unit := c.d.Unit
	behind := plural(c.d.Pairs, "case")
	if c.d.Clusters < c.d.Pairs {
		behind += " in " + plural(c.d.Clusters, "group")
	}
	return fmt.Sprintf("%s %s against the baseline's %s (%s)", c.margin.name, short4(*c.d.Head, unit), short4(*c.d.Base, unit), behind)
}

// probability writes a p-value.
func probability(p float64) string {
	if p > 0 && p < 1e-4 {
		return strconv.FormatFloat(p, 'e', 1, 64)
	}
	return strconv.FormatFloat(p, 'f', 4, 64)
}

func short4(x float64, unit string) string { return withUnit(digits(x, 4), unit) }

// signed writes an oriented difference in the metric's own direction, with its sign.
func (c *claim) signed(x float64) string {
	x = c.orient(x)
	s := short4(math.Abs(x), c.d.Unit)
	if size := math.Abs(x); c.d.Unit == "" && size >= 5e-5 && size < 0.01 {
		s = strconv.FormatFloat(size, 'f', 4, 64)
	}
	switch {
	case x < 0:
		return "-" + s
	case x > 0:
		return "+" + s
	}
	return s
}

// sure is the confidence of the bounds in percent, and which look it is.
func (r *Regression) sure() string {
	s := fmt.Sprintf("%.4g%% confidence", 100*(1-r.Comparison.Alpha))
	if r.Looks != nil {
		s += fmt.Sprintf(", look %d of %d", r.Looks.now()+1, len(r.Looks.Times))
	}
	return s
}

func (r *Regression) within(c *claim) string {
	s := fmt.Sprintf("%s: the difference is %s and at worst %s (%s), within the margin of %s",
		c.sides(), c.signed(c.orient(*c.d.Diff)), c.signed(c.orient(*c.d.Bound)), r.sure(), c.amount())
	if c.rejected {
		s += fmt.Sprintf("; it is worse than before (p %s), but by no more than is allowed", probability(*c.d.PWorse))
	}
	return s
}

// amount is the margin in the metric's own unit.
func (c *claim) amount() string {
	s := withUnit(digits(c.allowed, 4), c.d.Unit)
	if c.margin.Relative {
		s += fmt.Sprintf(" (%s of the baseline's value)", c.margin.Text)
	}
	return s
}

func (r *Regression) beyond(c *claim) string {
	return fmt.Sprintf("%s: worse by %s, which is not chance (p %s, needed %s%s), and at worst %s (%s), beyond the margin of %s",
		c.sides(), short4(math.Abs(*c.d.Diff), c.d.Unit), probability(*c.d.PWorse), probability(c.needed), r.corrected(),
		c.signed(c.orient(*c.d.Bound)), r.sure(), c.amount())
}

// corrected names the correction when there is something to correct.
func (r *Regression) corrected() string {
	if n := len(r.Margins) * len(r.Comparison.Pairs); n > 1 && r.Correction != "none" {
		return fmt.Sprintf(" by %s over %d margins", map[string]string{"": "Holm", "holm": "Holm", "bonferroni": "Bonferroni"}[r.Correction], n)
	}
	return ""
}

func (r *Regression) unclear(c *claim) string {
	s := fmt.Sprintf("%s: not enough evidence: the difference is %s and at worst %s (%s), the margin %s, p %s",
		c.sides(), c.signed(c.orient(*c.d.Diff)), c.signed(c.orient(*c.d.Bound)), r.sure(), c.amount(), probability(*c.d.PWorse))
	need, repeats := r.least(c), ""
	if mde := c.d.MDE; mde != nil && stats.Finite(*mde) && *mde > 0 {
		s += fmt.Sprintf("; with %.3g%% power this comparison finds %s or more", 100*cmp.Or(r.Power, config.DefaultPower), short4(*mde, c.d.Unit))
		// The standard error falls with the root of the number of independent cases.
		if cases := float64(c.d.Pairs) * (*mde / c.allowed) * (*mde / c.allowed); *mde > c.allowed && cases > need {
			need, repeats = cases, ", or fewer with more repeats"
		}
	}
	switch {
	case c.allowed <= 0 || need <= float64(c.d.Pairs):
		return s
	case need > 1e7:
		return s + ", and the margin would take more than ten million cases"
	}
	return s + fmt.Sprintf(", and the margin would take about %.0f cases%s", roundUp(need), repeats)
}

// least is how many cases it takes to show the margin of a rate if none of them changes, however many answers each has.
// 0 where it is not known.
func (r *Regression) least(c *claim) float64 {
	if c.d.Kind != kindRate || c.margin.Relative || c.d.Clusters < c.d.Pairs {
		return 0
	}
	return stats.UnseenTrials(c.allowed, r.Comparison.Alpha)
}
