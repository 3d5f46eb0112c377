package report

import (
	"io"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// mdSlices bounds the tests by tag that report.md and compare.md list.
const mdSlices = 20

// ComparisonMarkdown writes compare.md in GitHub's dialect: the verdict by margins, the differences, those by tag, and
// the first samples whose verdict changed. gate is nil when there were no margins.
func ComparisonMarkdown(w io.Writer, c *record.Comparison, gate *record.Gate) error {
	m := &markdown{}
	base, head := sideNames(c)
	names := mdEscape(head, keepName) + " against " + mdEscape(base, keepName)
	if gate == nil {
		m.line("## Comparison: %s\n\nNo margin was given: nothing was decided. Differences are head less base.\n", names)
	} else {
		m.line("## %s %s: %s\n", mark(gate.Verdict), word(gate.Verdict), names)
		m.line("**%s**\n", mdEscape(reasonOf(gate.Decision), 2*mdText))
		m.margins(c, gate.Checks)
	}
	m.comparison(c, mdFailures)
	_, err := io.WriteString(w, m.b.String())
	return err
}

func (m *markdown) margins(c *record.Comparison, checks []verdict.Decision) {
	m.line("### Margins\n")
	m.table("", "Metric", "Wanted", ">Difference", "Reason")
	for _, d := range checks {
		m.row(mark(d.Verdict)+" "+d.Verdict.String(), mdEscape(checkName(d), keepName), mdEscape(d.Want, keepName), mdValue(comparedValue(c, d)), mdEscape(reasonOf(d), 2*mdText))
	}
	m.line("")
}

// comparison writes what the same cases say about two runs, with at most so many flipped samples.
func (m *markdown) comparison(c *record.Comparison, flips int) {
	m.line("%s.\n", mdEscape(pairingSentence(c.Pairing), 4*mdText))
	for _, n := range c.Warnings[:min(len(c.Warnings), mdReasons)] {
		m.line("> Warning: %s\n", mdEscape(n, 2*mdText))
	}
	for i, p := range c.Pairs {
		rows := shownDifferences(c, i)
		if len(rows) == 0 {
			continue
		}
		m.line("#### %s\n", mdEscape("Differences"+pairTitle(p), keepName))
		m.table("", "Metric", ">Base", ">Head", ">Difference", ">"+levelName(c), ">p", "Notes")
		for _, d := range rows[:min(len(rows), mdMetrics)] {
			m.difference(c, d, mdEscape(metricLabel(d), keepName), probability(d.P))
		}
		if n := len(rows) - mdMetrics; n > 0 {
			m.line("\n%s more are in the JSON file.", count(n))
		}
		m.line("")
	}
	if len(c.Metrics) == 0 {
		m.line("No metric is in both runs: no data.\n")
	}
	if rows, shown := rankedSlices(c); len(rows) > 0 {
		m.line("#### Differences by tag\n\n%s\n", mdEscape(slicesSentence(c, len(rows), shown), mdText))
		m.table("", "Tag", ">Base", ">Head", ">Difference", ">"+levelName(c), ">p, corrected", "Notes")
		for _, d := range rows[:min(len(rows), mdSlices)] {
			m.difference(c, d, mdEscape(d.Tag, keepName)+", "+mdEscape(metricLabel(d), keepName), probability(d.Adjusted))
		}
		m.line("")
	}
	if lines := unpairedSentences(c); len(lines) > 0 {
		m.line("#### What pairing is worth\n")
		for _, s := range lines {
			m.line("- %s", mdEscape(s, 2*mdText))
		}
		m.line("")
	}
	m.flips(c, flips)
}

func (m *markdown) difference(c *record.Comparison, d *record.Difference, name, p string) {
	base, head, diff, interval := differenceCells(d)
	sign := map[int]string{-1: "✗ worse", 1: "✓ better"}[shownSign(c, d)]
	m.row(sign, name, mdValue(base), mdValue(head), mdValue(diff), mdValue(interval), mdValue(p), mdEscape(differenceNotes(c, d), 2*mdText))
}

// flips lists the samples whose verdict changed, newly failing first.
func (m *markdown) flips(c *record.Comparison, most int) {
	m.line("#### Samples whose verdict changed\n\n%s.\n", flipCounts(c.Counts))
	list := c.Flips[:min(len(c.Flips), most)]
	if len(list) == 0 {
		return
	}
	m.table("", "Case", "Reason", "Base", "Head")
	for i := range list {
		f := &list[i]
		v := newFlipView(c, f)
		name := code(v.Name, keepName)
		if f.Critical {
			name += " critical"
		}
		if v.Pair != "" {
			name += "<br>" + mdEscape(v.Pair, keepName)
		}
		why := f.HeadReason
		if why == "" {
			why = f.BaseReason
		}
		m.row(v.From.Mark+" → "+v.To.Mark+" "+v.To.Word, name, mdEscape(why, mdText), mdOutput(v.Base), mdOutput(v.Head))
	}
	if n := len(c.Flips) - len(list); n > 0 {
		m.line("\n%s more are in the JSON file.", count(n))
	}
	m.line("")
}

// mdOutput is an output with what differs marked, and with long stretches of what does not left out.
func mdOutput(o outputView) string {
	if o.None != "" {
		return "<em>" + mdEscape(o.None, keepName) + "</em>"
	}
	var b strings.Builder
	left := mdText
	for i, p := range o.Pieces {
		words := strings.Fields(oneLine(strings.ReplaceAll(p.Text, "\n", " ↵ "), htmlFlipText))
		if p.Op == "" && len(o.Pieces) > 1 {
			words = elided(words, i > 0, i < len(o.Pieces)-1)
		}
		if len(words) == 0 {
			continue
		}
		text := strings.Join(words, " ")
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		shown := mdEscape(text, left)
		if p.Op != "" {
			shown = "<" + p.Op + ">" + shown + "</" + p.Op + ">"
		}
		b.WriteString(shown)
		if left -= len([]rune(text)); left <= 0 {
			break
		}
	}
	return b.String()
}
