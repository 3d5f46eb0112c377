package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

const (
	compareSlices = 12
	leastSlices   = 4 // shown even when none of them differs
	compareIDs    = 5
	compareErrors = 5 // metrics whose unpaired standard error is told
)

// CompareTerminal writes what a person reads after a comparison, within opts.Width columns. gate is the verdict by
// margins, nil when there were none. opts.Failures bounds the flipped cases shown.
func CompareTerminal(w io.Writer, c *record.Comparison, gate *record.Gate, opts TerminalOptions) error {
	t := comparison{newTerminal(opts), c}
	if gate != nil {
		t.decided(gate.Decision)
		for _, d := range gate.Checks {
			t.wrap("  ", mark(d.Verdict)+" "+logLine(reasonOf(d), 600))
		}
		t.line("")
	}
	t.head()
	for pair := range c.Pairs {
		t.differences(pair)
	}
	t.slices()
	t.unpaired()
	t.flips()
	if t.Dir != "" {
		t.section("Results in " + fit(t.Dir, t.Width-12))
		t.wrap("  ", ComparisonHTMLFile+" to read, "+ComparisonFile+" for machines")
	}
	if gate != nil {
		t.line("")
		t.decided(gate.Decision)
	}
	return t.flush(w)
}

type comparison struct {
	*terminal
	c *record.Comparison
}

func (t comparison) decided(d verdict.Decision) {
	head := mark(d.Verdict) + " " + word(d.Verdict)
	t.line(t.paint(head, bold, hue(d.Verdict)) + "  " + fit(reasonOf(d), t.Width-width(head)-2))
}

func (t comparison) head() {
	c := t.c
	t.line(t.paint("Comparison", bold) + "  " + fit("head against base; differences are head less base", t.Width-12))
	side := func(which string, r record.RunRef) {
		t.line("  " + which + "  " + fit(sideName(r), t.Width-8))
	}
	side("base", c.Base)
	side("head", c.Head)
	t.wrap("  ", pairingSentence(c.Pairing))
	for _, w := range c.Warnings[:min(len(c.Warnings), termReasons)] {
		t.wrap("  ", "! "+logLine(w, 400), yellow)
	}
}

// sideName is a side as the user named it, with the hash of a baseline.
func sideName(r record.RunRef) string {
	if r.Baseline == "" {
		return r.Name
	}
	return r.Name + " (baseline " + r.Baseline[:min(shortID, len(r.Baseline))] + ")"
}

// pairingSentence counts the cases, and names some of those that are not compared.
func pairingSentence(p record.Pairing) string {
	parts := []string{numbered(p.Paired, "case") + " paired"}
	for _, part := range []struct {
		n    int
		what string
		ids  []string
	}{{p.OnlyBase, "only in the base", p.OnlyBaseIDs}, {p.OnlyHead, "only in the head", p.OnlyHeadIDs}, {p.Changed, "with another input", p.ChangedIDs}, {p.Excluded, "left out", nil}} {
		if part.n == 0 {
			continue
		}
		s := count(part.n) + " " + part.what
		if n := min(len(part.ids), compareIDs); n > 0 {
			names := make([]string, n)
			for i := range names {
				names[i] = logLine(part.ids[i], 40)
			}
			s += " (" + strings.Join(names, ", ")
			if part.n > n {
				s += ", …"
			}
			s += ")"
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, "; ")
}

// shownSign says what was shown of a difference, 1 for better, -1 for worse and 0 for neither: over all cases,
// worse by the corrected test or better by the interval; of a slice, either by the corrected test.
func shownSign(c *record.Comparison, d *record.Difference) int {
	if d.Better == "" || !finite(d.Diff) {
		return 0
	}
	better, above := *d.Diff > 0, finite(d.Low) && *d.Low > 0
	if d.Better == "lower" {
		better, above = *d.Diff < 0, finite(d.High) && *d.High < 0
	}
	shown := finite(d.Adjusted) && *d.Adjusted <= c.Alpha
	switch {
	case shown && (d.Tag == "" || !better):
		return -1
	case d.Tag == "" && above, d.Tag != "" && shown:
		return 1
	}
	return 0
}

func (t comparison) signOf(d *record.Difference) cell {
	switch shownSign(t.c, d) {
	case -1:
		return cell{"✗", []style{red, bold}}
	case 1:
		return cell{"✓", []style{green}}
	}
	return plain(" ")
}

// pairTitle says which snapshots are compared, to follow "Differences".
func pairTitle(p record.SnapshotPair) string {
	if p.Base == p.Head {
		return " of " + p.Head
	}
	// What both labels end on, mostly the prompt, says nothing here.
	base, promptB, _ := cutLast(p.Base, " · ")
	head, promptH, _ := cutLast(p.Head, " · ")
	if promptB != promptH {
		base, head = p.Base, p.Head
	}
	return " of " + head + " from " + base
}

// shownDifferences are those of a pair of which there is something to say.
func shownDifferences(c *record.Comparison, pair int) []*record.Difference {
	var rows []*record.Difference
	for i := range c.Metrics {
		if d := &c.Metrics[i]; d.Pair == pair && (d.Diff != nil || d.Why != "") {
			rows = append(rows, d)
		}
	}
	return rows
}

func (t comparison) differences(pair int) {
	c := t.c
	t.section(fit("Differences"+pairTitle(c.Pairs[pair]), t.Width))
	rows := shownDifferences(c, pair)
	rows = rows[:min(len(rows), termMetrics)]
	g := newGrid(0)
	g.right(2, 3, 4, 6)
	g.add(plain(""), plain(""), dimmed("base"), dimmed("head"), dimmed("difference"), dimmed(fmt.Sprintf("%.4g%% interval", 100*c.Level)), dimmed("p"))
	for _, d := range rows {
		base, head, diff, interval := differenceCells(d)
		g.add(t.signOf(d), plain(logLine(metricLabel(d), keepName)), plain(" "+base), plain(head), plain(diff), plain(" "+interval), plain(probability(d.P)))
	}
	t.fit(g, []int{1}, 2, 3)
	for i, line := range t.table(g) {
		t.line("  " + line)
		if i > 0 {
			t.wrap("      ", differenceNotes(t.c, rows[i-1]), dim)
		}
	}
}

// fit makes a table as wide as the terminal by shorter names, and where the shortest do not do, without the spare columns.
func (t comparison) fit(g *grid, names []int, spare ...int) {
	if g.widthWith(shortName, names)+2 > t.Width {
		g.drop(spare...)
	}
	g.narrow(t.Width-2, longName, shortName, names...)
}

// table returns the lines of a table, clipped and without colours when it is too wide nevertheless.
func (t comparison) table(g *grid) []string {
	as := *t.terminal
	wide := g.width()+2 > t.Width
	if wide {
		as.Color = false
	}
	lines := g.lines(&as)
	for i := range lines {
		if t.ASCII {
			lines[i] = asciiSigns.Replace(lines[i])
		}
		if wide {
			lines[i] = fit(lines[i], t.Width-2)
		}
	}
	return lines
}

func dimmed(s string) cell { return cell{s, []style{dim}} }

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// differenceNotes is what a difference has no column for.
func differenceNotes(c *record.Comparison, d *record.Difference) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if d.Worse != nil && d.Improved != nil {
		add("%s worse, %s improved", count(*d.Worse), count(*d.Improved))
	}
	if d.Pairs != c.Pairing.Paired {
		add("%s", numbered(d.Pairs, "case"))
	}
	if d.Clusters != d.Pairs {
		add("%s", numbered(d.Clusters, "group"))
	}
	if d.Missing > 0 {
		add("%s missing", count(d.Missing))
	}
	switch {
	case d.Tag != "":
		// The two-sided p of a tag is what was corrected, and stands in a column of its own.
		if p := probability(d.P); p != "" && p != probability(d.Adjusted) {
			add("p %s uncorrected", p)
		}
	case finite(d.PWorse):
		p := "worse: p " + probability(d.PWorse)
		if with := probability(d.Adjusted); with != "" && with != probability(d.PWorse) {
			p += fmt.Sprintf(" (%s with %s)", with, corrections[c.Correction])
		}
		add("%s", p)
	}
	if d.Test != "" {
		add("%s", strings.TrimSuffix(d.Test+", "+d.Interval, ", "))
	}
	if finite(d.P) && *d.P <= 1-c.Level && finite(d.Low) && finite(d.High) && *d.Low < 0 && *d.High > 0 {
		add("the interval allows for cases that were not drawn, and holds 0")
	}
	if d.Why != "" {
		add("%s", d.Why)
	}
	return logLine(strings.Join(parts, "; "), 600)
}

// corrections are the names of the corrections for several tests.
var corrections = map[string]string{"holm": "Holm", "bonferroni": "Bonferroni", "bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli", "none": "no correction"}

// metricLabel is a metric with its unit, where the numbers do not have it.
func metricLabel(d *record.Difference) string {
	if d.Unit == "" || d.Unit == "s" || d.Unit == "usd" || strings.HasPrefix(d.Metric, d.Unit) {
		return d.Metric
	}
	return d.Metric + " (" + d.Unit + ")"
}

// partOfOne says whether both values are shares, to be shown in percent and their difference in points.
func partOfOne(d *record.Difference) bool {
	inside := func(x *float64) bool { return x == nil || *x >= 0 && *x <= 1 }
	return d.Unit == "" && (d.Kind == "rate" || d.Kind == "ratio") && inside(d.Base) && inside(d.Head)
}

// differenceCells are both values, the difference and its interval.
func differenceCells(d *record.Difference) (base, head, diff, interval string) {
	share, unit := partOfOne(d), d.Unit
	if unit != "s" && unit != "usd" {
		unit = ""
	}
	base, head, diff = quantity(d.Base, unit, share), quantity(d.Head, unit, share), noData
	if finite(d.Diff) {
		diff = signed(*d.Diff, unit, share)
		if share {
			diff += " pp"
		}
	}
	if finite(d.Low) && finite(d.High) {
		interval = signed(*d.Low, unit, share) + " to " + signed(*d.High, unit, share)
	}
	return base, head, diff, interval
}

// signed writes a difference with its sign; of shares in percentage points, and of quantities in three digits.
func signed(x float64, unit string, share bool) string {
	a := math.Abs(x)
	sign := ""
	switch {
	case x > 0:
		sign = "+"
	case x < 0:
		sign = "-"
	}
	switch {
	case a == 0:
		return "0"
	case share && a >= 0.00005:
		return sign + strconv.FormatFloat(100*a, 'f', 2, 64)
	case share:
		return sign + strconv.FormatFloat(100*a, 'g', 1, 64)
	case unit == "s":
		return sign + seconds(a)
	case unit == "usd" && a < 1e-4:
		return sign + "$" + strconv.FormatFloat(a, 'e', 1, 64)
	case unit == "usd":
		return sign + dollars(a)
	case a < 1e-4:
		return sign + strconv.FormatFloat(a, 'e', 1, 64)
	}
	return sign + commas(strconv.FormatFloat(a, 'f', max(2-int(math.Floor(math.Log10(a))), 0), 64))
}

// probability writes a p-value with four decimals; one that is smaller is not rounded to nothing.
func probability(p *float64) string {
	switch {
	case !finite(p):
		return ""
	case *p < 0.0001:
		return "<0.0001"
	}
	return strconv.FormatFloat(*p, 'f', 4, 64)
}

// rankedSlices are the tests by tag, the smallest corrected p-value first, and how many of them are significant.
func rankedSlices(c *record.Comparison) (rows []*record.Difference, shown int) {
	for i := range c.Slices {
		d := &c.Slices[i]
		if !finite(d.Adjusted) || !finite(d.P) {
			continue
		}
		rows = append(rows, d)
		if *d.Adjusted <= c.Alpha {
			shown++
		}
	}
	slices.SortStableFunc(rows, func(a, b *record.Difference) int {
		return cmp.Or(cmp.Compare(*a.Adjusted, *b.Adjusted), cmp.Compare(*a.P, *b.P))
	})
	return rows, shown
}

func slicesSentence(c *record.Comparison, tests, shown int) string {
	return fmt.Sprintf("%s of %s differ at %.3g with %s.", count(shown), numbered(tests, "test"), c.Alpha, corrections[c.SliceCorrection])
}

// slices shows the tags that differ most, and says what can be said of them.
func (t comparison) slices() {
	c := t.c
	rows, shown := rankedSlices(c)
	if len(rows) == 0 {
		return
	}
	t.section("By tag")
	t.wrap("  ", slicesSentence(c, len(rows), shown))
	rows = rows[:min(len(rows), compareSlices, max(shown, leastSlices))]
	g := newGrid(0)
	g.right(3, 4, 5, 6)
	g.add(plain(""), dimmed("tag"), plain(""), dimmed("base"), dimmed("head"), dimmed("difference"), dimmed("p corr."))
	for _, d := range rows {
		base, head, diff, _ := differenceCells(d)
		g.add(t.signOf(d), plain(logLine(d.Tag, keepName)), plain(logLine(metricLabel(d), keepName)), plain(base), plain(head), plain(diff), plain(probability(d.Adjusted)))
	}
	t.fit(g, []int{1, 2}, 3, 4)
	for _, line := range t.table(g) {
		t.line("  " + line)
	}
}

// unpairedSentences says of the first metrics what pairing was worth.
func unpairedSentences(c *record.Comparison) []string {
	var lines []string
	seen := map[[2]float64]bool{} // a pass rate is often the score and the only metric as well
	for i := range c.Metrics {
		d := &c.Metrics[i]
		s := UnpairedSentence(d)
		if s == "" || len(lines) == compareErrors || seen[[2]float64{*d.Stderr, *d.Unpaired}] {
			continue
		}
		seen[[2]float64{*d.Stderr, *d.Unpaired}] = true
		lines = append(lines, s)
	}
	return lines
}

// unpaired says what pairing was worth.
func (t comparison) unpaired() {
	lines := unpairedSentences(t.c)
	if len(lines) == 0 {
		return
	}
	t.section("What pairing is worth")
	for _, s := range lines {
		t.wrap("  ", s)
	}
}

// leastWorth is the change of a standard error, in percent, that is worth a sentence.
const leastWorth = 5

// UnpairedSentence compares the standard error of a difference with what it would be if the runs had been taken
// for independent; empty where there is nothing to compare, or next to no difference.
func UnpairedSentence(d *record.Difference) string {
	if !finite(d.Stderr) || !finite(d.Unpaired) || *d.Stderr <= 0 || *d.Unpaired <= 0 {
		return ""
	}
	amount := func(x float64) string {
		if partOfOne(d) {
			return strconv.FormatFloat(100*x, 'f', 2, 64) + " points"
		}
		return quantity(&x, d.Unit, false)
	}
	more := 100 * (*d.Unpaired / *d.Stderr - 1)
	if math.Abs(more) < leastWorth {
		return ""
	}
	how := "larger"
	if more < 0 {
		how = "smaller"
	}
	return fmt.Sprintf("%s: standard error %s; the unpaired standard error would be %.0f%% %s (%s).", logLine(d.Metric, 60), amount(*d.Stderr), math.Abs(more), how, amount(*d.Unpaired))
}

func (t comparison) flips() {
	n := t.c.Counts
	t.section("Samples")
	parts := []cell{{count(n.Worse) + " newly failing", []style{red}}, {count(n.Improved) + " newly passing", []style{green}}}
	if n.ToError > 0 {
		parts = append(parts, cell{count(n.ToError) + " lost their verdict", []style{yellow}})
	}
	if n.FromError > 0 {
		parts = append(parts, plain(count(n.FromError)+" got one"))
	}
	line, taken := "", 0
	for _, p := range append(parts, plain(count(n.Same)+" as before")) {
		if taken+3+width(p.text) > t.Width && taken > 0 {
			t.line(line)
			line, taken = "", 0
		}
		gap := "   "
		if taken == 0 {
			gap = "  "
		}
		line += gap + t.paint(p.text, p.styles...)
		taken += len(gap) + width(p.text)
	}
	t.line(line)
	var list []*record.Flip
	for i := range t.c.Flips {
		if f := &t.c.Flips[i]; f.From == "pass" && f.To != "pass" && len(list) < max(t.Failures, 0) {
			list = append(list, f)
		}
	}
	if len(list) == 0 {
		return
	}
	t.section(fmt.Sprintf("No longer passing (%s of %s)", count(len(list)), count(n.Worse+n.ToError)))
	for _, f := range list {
		about := ""
		if f.Critical {
			about = "  critical"
		}
		if len(t.c.Pairs) > 1 {
			about += "  " + t.c.Pairs[f.Pair].Head
		}
		name := f.Case
		if f.Description != "" {
			name = f.Description + " (" + f.Case + ")"
		}
		if t.c.Head.Repeats > 1 {
			name += " #" + strconv.Itoa(f.Repeat+1)
		}
		name = "✗ " + fit(name, min(t.Width-4, 60))
		t.line("  " + t.paint(name, red) + t.paint(aside(about, t.Width-2-width(name)), dim))
		if f.HeadReason != "" {
			t.wrap("      ", logLine(f.HeadReason, 240))
		}
		if !f.NoOutput {
			t.line("      " + t.paint("base "+quoted(f.BaseOutput, t.Width-11), dim))
		}
		if t.c.Head.Baseline == "" || f.HeadOutput != "" {
			t.line("      " + t.paint("head "+quoted(f.HeadOutput, t.Width-11), dim))
		}
	}
}
