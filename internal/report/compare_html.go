package report

import (
	_ "embed" // the comparison's part of the page
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"
	"strings"

	gold "github.com/telltale-llm/telltale/internal/golden"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

//go:embed assets/compare.html.tmpl
var compareTemplate string

// How much of a comparison a page shows.
const (
	htmlSlices   = 60
	htmlFlips    = 200
	htmlFlipText = 8000 // bytes of an output
)

// pages parses the templates of all pages; they share their parts.
func pages() (*template.Template, error) {
	t, err := template.New("report").Parse(pageTemplate)
	if err == nil {
		_, err = t.New("comparison-page").Parse(compareTemplate)
	}
	if err != nil {
		return nil, fmt.Errorf("report: html: %w", err)
	}
	return t, nil
}

// ComparisonHTML writes compare.html: one file that loads nothing, has no script, and whose policy allows its style
// sheet alone. gate is the verdict by margins, nil when there were none.
func ComparisonHTML(w io.Writer, c *record.Comparison, gate *record.Gate) error {
	t, err := pages()
	if err != nil {
		return err
	}
	base, head := sideNames(c)
	p := comparisonPage{
		Policy:         "default-src 'none'; style-src " + sourceHash(pageStyle) + "; base-uri 'none'; form-action 'none'",
		Style:          template.CSS(pageStyle),
		Title:          "Comparison of " + head + " with " + base,
		Base:           base,
		Head:           head,
		Reason:         pairingSentence(c.Pairing),
		comparisonView: newComparisonView(c),
	}
	if gate != nil {
		p.Decided, p.Verdict, p.Reason = true, newBadge(gate.Verdict), reasonOf(gate.Decision)
		p.Title = word(gate.Verdict) + ": " + p.Title
		for _, d := range gate.Checks {
			p.Checks = append(p.Checks, checkView{newBadge(d.Verdict), checkName(d), comparedValue(c, d), d.Want, reasonOf(d)})
		}
	}
	if err := t.ExecuteTemplate(w, "comparison-page", &p); err != nil {
		return fmt.Errorf("report: html: %w", err)
	}
	return nil
}

// sideNames names both sides as a headline does: by their snapshots as well when both are of one run.
func sideNames(c *record.Comparison) (base, head string) {
	base, head = sideName(c.Base), sideName(c.Head)
	if base == head && len(c.Pairs) == 1 && c.Pairs[0].Base != c.Pairs[0].Head {
		base, head = base+", "+c.Pairs[0].Base, head+", "+c.Pairs[0].Head
	}
	return oneLine(base, keepName), oneLine(head, keepName)
}

// comparisonPage is compare.html. As in page, numbers are formatted and all other strings escaped by the template.
type comparisonPage struct {
	Policy                    string
	Style                     template.CSS
	Title, Base, Head, Reason string
	Decided                   bool
	Verdict                   badge
	Checks                    []checkView
	comparisonView
}

// comparisonView is what a page shows of a comparison: its own, or that of a run with its baseline.
type comparisonView struct {
	Pairing, Level string
	Warnings       []string
	Pairs          []pairView
	SliceNote      string
	Slices         forestView
	Worth          []string
	Counts         string
	Flips          []flipView
	FlipsNote      string
}

type pairView struct {
	Title string
	forestView
}

// forestView is a table of differences with their intervals drawn on one scale, as far as they have one.
type forestView struct {
	Level       string
	Left, Right string // ends of the scale that the shares have in common; empty when there are none
	Rows        []differenceView
	Tagged      bool
	More        string
}

type differenceView struct {
	Class, Mark, Said                 string
	Name, Tag, Base, Head             string
	Diff, Interval, P, Adjusted, Note string
	NoData                            bool
	Plot                              template.HTML
}

type flipView struct {
	From, To               badge
	Name, Pair, Input      string
	Critical               bool
	Tags                   []string
	BaseReason, HeadReason string
	Base, Head             outputView
}

// outputView is one side's output, in pieces with their part in the difference: "", "del" or "ins".
type outputView struct {
	Pieces []piece
	None   string // why there is no output to show
}

type piece struct{ Op, Text string }

func newComparisonView(c *record.Comparison) comparisonView {
	v := comparisonView{Pairing: pairingSentence(c.Pairing), Warnings: c.Warnings[:min(len(c.Warnings), htmlReasons)], Worth: unpairedSentences(c), Level: levelName(c)}
	for i, p := range c.Pairs {
		rows := shownDifferences(c, i)
		if len(rows) == 0 {
			continue
		}
		v.Pairs = append(v.Pairs, pairView{"Differences" + short(pairTitle(p)), newForest(c, rows, htmlMetrics)})
	}
	if rows, shown := rankedSlices(c); len(rows) > 0 {
		v.SliceNote = slicesSentence(c, len(rows), shown)
		v.Slices = newForest(c, rows, htmlSlices)
		v.Slices.Tagged = true
	}
	v.Counts = flipCounts(c.Counts)
	for i := range c.Flips[:min(len(c.Flips), htmlFlips)] {
		v.Flips = append(v.Flips, newFlipView(c, &c.Flips[i]))
	}
	n := c.Counts
	if all := n.Worse + n.Improved + n.ToError + n.FromError; all > len(v.Flips) {
		v.FlipsNote = fmt.Sprintf("%s of %s are shown; %s has up to %s.", count(len(v.Flips)), count(all), ComparisonFile, count(record.MaxFlips))
	}
	return v
}

func levelName(c *record.Comparison) string { return fmt.Sprintf("%.4g%% interval", 100*c.Level) }

// flipCounts counts what became of the samples, in words.
func flipCounts(n record.FlipCounts) string {
	parts := []string{count(n.Worse) + " newly failing", count(n.Improved) + " newly passing"}
	if n.ToError > 0 {
		parts = append(parts, count(n.ToError)+" lost their verdict")
	}
	if n.FromError > 0 {
		parts = append(parts, count(n.FromError)+" got one")
	}
	return strings.Join(append(parts, count(n.Same)+" as before"), ", ")
}

// comparedValue is the deciding number of a margin in the unit of its difference.
func comparedValue(c *record.Comparison, d verdict.Decision) string {
	if !finite(d.Value) {
		return noData
	}
	name, _, _ := strings.Cut(d.Metric, "[tag=")
	for i := range c.Metrics {
		m := &c.Metrics[i]
		if m.Metric != name || !finite(m.Diff) {
			continue
		}
		return "at worst " + signedOf(m, *d.Value)
	}
	return "at worst " + signed(*d.Value, "", false)
}

// signedOf writes a difference of a metric with its unit.
func signedOf(d *record.Difference, x float64) string {
	if partOfOne(d) {
		return signed(x, "", true) + " pp"
	}
	unit := d.Unit
	if unit != "s" && unit != "usd" {
		unit = ""
	}
	return signed(x, unit, false)
}

func newForest(c *record.Comparison, rows []*record.Difference, most int) forestView {
	v := forestView{Level: levelName(c)}
	if n := len(rows) - most; n > 0 {
		v.More = fmt.Sprintf("%s more are in %s.", count(n), ComparisonFile)
		rows = rows[:most]
	}
	reach := 0.0
	for _, d := range rows {
		if partOfOne(d) {
			reach = math.Max(reach, reachOf(d))
		}
	}
	if reach > 0 {
		reach = roundUp(reach)
		end := strconv.FormatFloat(100*reach, 'g', 4, 64)
		v.Left, v.Right = "-"+end, "+"+end+" pp"
	}
	for _, d := range rows {
		base, head, diff, interval := differenceCells(d)
		row := differenceView{Name: short(metricLabel(d)), Tag: short(d.Tag), Base: base, Head: head, Diff: diff, Interval: interval, P: probability(d.P),
			Adjusted: probability(d.Adjusted), Note: differenceNotes(c, d), NoData: !finite(d.Diff)}
		switch shownSign(c, d) {
		case -1:
			row.Class, row.Mark, row.Said = "fail", "✗", "worse"
		case 1:
			row.Class, row.Mark, row.Said = "pass", "✓", "better"
		}
		row.Plot = forestBar(d, row.Class, reach)
		v.Rows = append(v.Rows, row)
	}
	return v
}

// reachOf is how far from zero the drawing of a difference extends.
func reachOf(d *record.Difference) float64 {
	reach := 0.0
	for _, x := range []*float64{d.Diff, d.Low, d.High, d.Margin} {
		if finite(d.Diff) && finite(x) {
			reach = math.Max(reach, math.Abs(*x))
		}
	}
	return reach
}

// roundUp is the next number of one digit or one and a half.
func roundUp(x float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8} {
		if x <= m*unit {
			return m * unit
		}
	}
	return 10 * unit
}

// forestBar draws a difference with its interval around a line at zero, and the gate's margin. Shares have the
// scale from -reach to reach, everything else one of its own with its ends below.
func forestBar(d *record.Difference, class string, reach float64) template.HTML {
	if !finite(d.Diff) {
		return ""
	}
	height, own := 22, !partOfOne(d)
	if own {
		reach, height = reachOf(d), 34
		if reach > 0 {
			reach = roundUp(reach)
		}
	}
	if reach == 0 || math.IsInf(reach, 0) {
		reach = 1
	}
	at := func(x float64) string { return pc(0.5 + x/reach/2) }
	_, _, diff, interval := differenceCells(d)
	label := logLine(d.Metric, 60) + " " + diff
	if interval != "" {
		label += ", " + interval
	}
	s := &svg{}
	margin := math.NaN()
	if finite(d.Margin) {
		margin = -*d.Margin
		if d.Better == "lower" {
			margin = *d.Margin
		}
		label += ", margin " + signedOf(d, margin)
	}
	s.open(strings.TrimSpace("whisker forest "+class), height, label)
	s.lineTo("grid", "0%", "11", "100%", "11")
	s.lineTo("zero", "50%", "0", "50%", "22")
	if finite(d.Low) && finite(d.High) {
		s.lineTo("span", at(*d.Low), "11", at(*d.High), "11")
		s.lineTo("cap", at(*d.Low), "6", at(*d.Low), "16")
		s.lineTo("cap", at(*d.High), "6", at(*d.High), "16")
	}
	fmt.Fprintf(&s.b, `<circle class="dot" cx="%s" cy="11" r="4.5"/>`, at(*d.Diff))
	if !math.IsNaN(margin) {
		s.lineTo("limit", at(margin), "1", at(margin), "21")
	}
	if own {
		s.text("tick", "0%", "32", "start", signedOf(d, -reach))
		s.text("tick", "100%", "32", "end", signedOf(d, reach))
	}
	return s.close()
}

func newFlipView(c *record.Comparison, f *record.Flip) flipView {
	v := flipView{From: verdictBadge(f.From), To: verdictBadge(f.To), Name: flipName(c, f), Input: clip(f.Input, htmlFlipText), Critical: f.Critical, Tags: f.Tags,
		BaseReason: clip(f.BaseReason, keptTexts.reason), HeadReason: clip(f.HeadReason, keptTexts.reason)}
	if len(c.Pairs) > 1 && f.Pair >= 0 && f.Pair < len(c.Pairs) {
		v.Pair = short(c.Pairs[f.Pair].Head)
	}
	base, _ := cut(f.BaseOutput, htmlFlipText)
	head, _ := cut(f.HeadOutput, htmlFlipText)
	noBase := f.NoOutput
	noHead := head == "" && c.Head.Baseline != ""
	switch {
	case noBase:
		v.Base.None = "not stored in the baseline"
	case base == "":
		v.Base.None = "empty"
	}
	switch {
	case noHead:
		v.Head.None = "not stored in the baseline"
	case head == "":
		v.Head.None = "empty"
	}
	if base == "" || head == "" {
		if base != "" {
			v.Base.Pieces = []piece{{"", base}}
		}
		if head != "" {
			v.Head.Pieces = []piece{{"", head}}
		}
		return v
	}
	for _, p := range gold.Words(base, head) {
		switch p.Op {
		case gold.Removed:
			v.Base.Pieces = append(v.Base.Pieces, piece{"del", p.Text})
		case gold.Added:
			v.Head.Pieces = append(v.Head.Pieces, piece{"ins", p.Text})
		default:
			v.Base.Pieces = append(v.Base.Pieces, piece{"", p.Text})
			v.Head.Pieces = append(v.Head.Pieces, piece{"", p.Text})
		}
	}
	return v
}

// flipName is a flipped sample as people know it.
func flipName(c *record.Comparison, f *record.Flip) string {
	name := oneLine(f.Case, keepName)
	if f.Description != "" {
		name = oneLine(f.Description, keepName) + " (" + name + ")"
	}
	if c.Head.Repeats > 1 {
		name += " #" + strconv.Itoa(f.Repeat+1)
	}
	return name
}

// verdictBadge is the badge of a verdict's name; what is none of them shows as undecided.
func verdictBadge(name string) badge {
	for _, v := range order {
		if v.String() == name {
			return badge{v.String(), mark(v), v.String()}
		}
	}
	return badge{"undecided", mark(verdict.Undecided), "undecided"}
}
