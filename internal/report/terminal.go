package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/rivo/uniseg"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// TerminalOptions says what the summary is shown on.
type TerminalOptions struct {
	// Width in columns; 0 means 80, and less than 50 counts as 50. Lines are wrapped or clipped to it.
	Width int
	// Color allows ANSI colours. The caller has looked at NO_COLOR, CI and whether it is a terminal.
	Color bool
	// ASCII keeps telltale's own signs to ASCII, for terminals that are not UTF-8.
	ASCII bool
	// Failures is how many of them are listed; 0 means 5, negative none.
	Failures int
	// Dir is where the results are; empty means that none were written.
	Dir string
}

const (
	termMetrics = 40
	termReasons = 8
	termTags    = 12
	barCells    = 21 // an odd number gives 50% a cell of its own
)

// Terminal writes the summary a person reads after a run. The verdict is its first line and its
// last. No line starts with text of a model's making, and no such text keeps control characters.
func Terminal(w io.Writer, src Source, opts TerminalOptions) error {
	src, err := src.digested()
	if err != nil {
		return err
	}
	t := newTerminal(opts)
	t.run, t.d = src.Run, src.Digest
	t.head(src)
	t.gate()
	t.metrics()
	t.parts()
	t.quarantine()
	t.flaky()
	t.samples()
	t.errors()
	t.usage()
	t.verdictLine()
	return t.flush(w)
}

// newTerminal returns an empty page with opts made whole.
func newTerminal(opts TerminalOptions) *terminal {
	if opts.Width == 0 {
		opts.Width = 80
	}
	opts.Width = min(max(opts.Width, 50), 200)
	if opts.Failures == 0 {
		opts.Failures = 5
	}
	return &terminal{TerminalOptions: opts}
}

// flush writes what has been put together.
func (t *terminal) flush(w io.Writer) error {
	out := t.b.String()
	if t.ASCII {
		out = asciiSigns.Replace(out)
	}
	_, err := io.WriteString(w, out)
	return err
}

// asciiSigns replaces the signs the summary is drawn with, those that clipped text holds by one as wide.
var asciiSigns = strings.NewReplacer("✓", "+", "✗", "x", "–", "-", "…", "~", "·", ".", "●", "o", "├", "[", "┤", "]",
	"─", "-", "╎", "|", "≥", ">=", "“", "\"", "”", "\"", "↵", "|")

type terminal struct {
	TerminalOptions
	b   strings.Builder
	run *record.Run
	d   *Digest
}

// line writes one line. GitHub takes "::" at the start of a line, after white space, for a command.
func (t *terminal) line(s string) {
	s = strings.TrimRight(s, " ")
	if text := strings.TrimLeft(s, " "); strings.HasPrefix(text, "::") {
		s = s[:len(s)-len(text)] + ": " + text[1:]
	}
	t.b.WriteString(s)
	t.b.WriteByte('\n')
}

// style names an ANSI sequence.
type style string

const (
	bold    style = "\x1b[1m"
	dim     style = "\x1b[2m"
	red     style = "\x1b[31m"
	green   style = "\x1b[32m"
	yellow  style = "\x1b[33m"
	magenta style = "\x1b[35m"
	reset   style = "\x1b[0m"
)

func (t *terminal) paint(s string, styles ...style) string {
	if !t.Color || s == "" || len(styles) == 0 {
		return s
	}
	var b strings.Builder
	for _, st := range styles {
		b.WriteString(string(st))
	}
	b.WriteString(s)
	b.WriteString(string(reset))
	return b.String()
}

func hue(v verdict.Verdict) style {
	switch v {
	case verdict.Pass:
		return green
	case verdict.Fail:
		return red
	case verdict.Error:
		return magenta
	}
	return yellow
}

// verdictLine says what was decided and by which number.
func (t *terminal) verdictLine() {
	g := t.run.Gate
	head := mark(g.Verdict) + " " + word(g.Verdict)
	rest := deciding(t.run, g.Decision)
	if rest == "" {
		rest = reasonOf(g.Decision)
	}
	if t.run.Summary.Stopped != "" {
		rest = "stopped early; " + rest
	}
	t.line(t.paint(head, bold, hue(g.Verdict)) + "  " + fit(rest, t.Width-width(head)-2))
}

// section writes a heading, set off by an empty line.
func (t *terminal) section(title string) {
	t.line("")
	t.line(t.paint(title, bold))
}

// wrap writes s on as many lines as needed, each with the indent.
func (t *terminal) wrap(indent, s string, styles ...style) {
	if t.ASCII {
		s = asciiSigns.Replace(s)
	}
	for _, line := range Wrap(s, t.Width-len(indent)) {
		t.line(indent + t.paint(line, styles...))
	}
}

// Wrap breaks s between words into lines of at most room columns.
func Wrap(s string, room int) (lines []string) {
	words := strings.Fields(s)
	line := ""
	for i := 0; i < len(words); i++ {
		w := words[i]
		if runes := []rune(w); width(w) > room {
			// Even a word without a break must not stick out: its rest becomes the next word.
			w = string(runes[:room/2])
			words[i] = string(runes[room/2:])
			i--
		}
		if line != "" && width(line)+1+width(w) > room {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func (t *terminal) head(src Source) {
	t.verdictLine()
	g := t.run.Gate
	if deciding(t.run, g.Decision) != "" {
		t.wrap("  ", logLine(reasonOf(g.Decision), 400))
	}
	for _, n := range notices(src) {
		t.wrap("  ", "! "+logLine(n, 400), bold, yellow)
	}
	if text, ids := criticals(t.run.Summary); text != "" {
		t.wrap("  ", "! "+text+": "+logLine(strings.Join(ids, ", "), 200), bold, red)
	}
	if held := flaky(t.run).held; held != "" {
		t.wrap("  ", "! "+logLine(held, 400), yellow)
	}
	about := suiteName(t.run)
	if p := t.run.Suite.Path; p != "" && p != about {
		about += " · " + p
	}
	t.line("  " + t.paint(fit(about, t.Width-2), dim))
	for _, n := range t.run.Warnings[:min(len(t.run.Warnings), termReasons)] {
		t.wrap("  ", "! warning: "+logLine(n, 400), yellow)
	}
}

func (t *terminal) gate() {
	t.section("Gate")
	checks := t.run.Gate.Checks
	if len(checks) == 0 {
		t.line("  no gate was set")
		return
	}
	g := newGrid(1)
	for _, c := range checks[:min(len(checks), termMetrics)] {
		g.add(cell{mark(c.Verdict), []style{hue(c.Verdict), bold}}, plain(logLine(checkName(c), keepName)),
			plain(decidingValue(t.run, c)), plain(logLine(c.Want, 30)))
	}
	g.right(2)
	g.narrow(t.Width-2, 60, leastName, 1)
	if g.width()+2 > t.Width {
		for _, c := range checks[:min(len(checks), termMetrics)] {
			t.wrap("  ", t.paint(mark(c.Verdict), hue(c.Verdict), bold)+" "+logLine(deciding(t.run, c), 200))
			t.wrap("      ", logLine(reasonOf(c), 300), dim)
		}
		t.looks()
		return
	}
	for i, line := range g.lines(t) {
		c := checks[i]
		reason := logLine(reasonOf(c), 300)
		if w := g.width() + 2 + 2 + width(reason); w <= t.Width {
			line += "  " + t.paint(reason, dim)
			reason = ""
		}
		t.line("  " + line)
		if reason != "" && c.Verdict != verdict.Pass {
			t.wrap("      ", reason, dim)
		}
	}
	t.looks()
}

// looks tells how a gate that drew more repeats came to its verdict.
func (t *terminal) looks() {
	for i, look := range lookLines(t.run) {
		t.wrap("      ", fmt.Sprintf("look %d: %s", i+1, look), dim)
	}
}

func (t *terminal) metrics() {
	rows := metricRows(t.run.Metrics, limits(t.run))
	if len(rows) == 0 {
		return
	}
	title := "Metrics"
	if len(t.run.BySnapshot) > 1 {
		title = "Metrics of all snapshots together"
	}
	t.section(title)
	t.metricGrid(rows[:min(len(rows), termMetrics)])
	if len(rows) > termMetrics {
		t.line(fmt.Sprintf("  %s more are in %s", count(len(rows)-termMetrics), JSONFile))
	}
	if len(t.run.BySnapshot) < 2 {
		return
	}
	for _, s := range t.run.Snapshots {
		if metrics, ok := t.run.BySnapshot[s.ID]; ok {
			t.section("Metrics of " + fit(snapshotName(t.run, s.ID), t.Width-12))
			t.metricGrid(metricRows(metrics, limits(t.run))[:min(len(metrics), termMetrics)])
		}
	}
}

func (t *terminal) metricGrid(rows []metricRow) {
	g := newGrid(2)
	g.right(1, 3)
	g.add(plain("  "), cell{"value", []style{dim}}, cell{"95% interval", []style{dim}}, cell{"n", []style{dim}})
	for _, r := range rows {
		value := plain(r.value)
		if !r.hasData() {
			value.styles = []style{yellow}
		}
		g.add(plain("  "+logLine(r.name, keepName)), value, plain(sameUnit(r.value, r.interval)), plain(r.count))
	}
	g.narrow(t.Width, 43, leastName, 0)
	if g.width() > t.Width {
		for _, r := range rows {
			t.line("  " + middle(logLine(r.name, keepName), t.Width-2))
			t.wrap("    ", r.statement())
			t.metricNotes(r)
		}
		return
	}
	bars := g.width()+2+barCells <= t.Width && anyShare(rows)
	for i, line := range g.lines(t) {
		if i == 0 {
			if bars {
				line += "  " + t.paint("0%"+strings.Repeat(" ", barCells-6)+"100%", dim)
			}
			t.line(line)
			continue
		}
		r := rows[i-1]
		if bars && r.share && r.hasData() {
			line += "  " + bar(r)
		}
		t.line(line)
		t.metricNotes(r)
	}
}

// sameUnit is an interval without the unit that the value beside it has.
func sameUnit(value, interval string) string {
	if at := strings.LastIndexByte(value, ' '); at > 0 {
		return strings.TrimSuffix(interval, value[at:])
	}
	return interval
}

// metricNotes writes what a metric's line has no column for.
func (t *terminal) metricNotes(r metricRow) {
	var notes []string
	if r.Missing > 0 {
		notes = append(notes, count(r.Missing)+" missing")
	}
	if q := r.quantiles(); q != "" {
		notes = append(notes, q)
	}
	if len(notes) > 0 {
		t.wrap("    ", strings.Join(notes, " · "), dim)
	}
}

func anyShare(rows []metricRow) bool {
	for _, r := range rows {
		if r.share && r.hasData() {
			return true
		}
	}
	return false
}

// bar draws the interval of a share on a scale from 0 to 100%, with the gate's thresholds.
func bar(m metricRow) string {
	at := func(x float64) int { return min(max(int(math.Round(x*(barCells-1))), 0), barCells-1) }
	cells := []rune(strings.Repeat("·", barCells))
	if finite(m.Low) && finite(m.High) {
		for i := at(*m.Low); i <= at(*m.High); i++ {
			cells[i] = '─'
		}
		cells[at(*m.Low)], cells[at(*m.High)] = '├', '┤'
	}
	for _, l := range m.thresholds {
		if l.at >= 0 && l.at <= 1 {
			cells[at(l.at)] = '╎'
		}
	}
	cells[at(*m.Mean)] = '●'
	return string(cells)
}

// parts shows pass rates by tag, and by provider and prompt unless the metrics of each snapshot are there.
func (t *terminal) parts() {
	if len(t.run.ByTag) > 0 {
		t.section("Pass rate by tag")
		var rows []metricRow
		for _, p := range tagRates(t.run, t.d, termTags) {
			p.row.name = p.name
			rows = append(rows, p.row)
		}
		t.metricGrid(rows)
		if n := len(t.run.ByTag); n > termTags {
			t.line(fmt.Sprintf("  %s more are in %s", count(n-termTags), JSONFile))
		}
	}
	list := byCombo(t.d)
	if len(list) == 0 || len(t.run.BySnapshot) > 1 {
		return
	}
	t.section("By provider and prompt")
	rows := make([]metricRow, 0, len(list))
	for _, p := range list[:min(len(list), termMetrics)] {
		p.row.name = p.name
		rows = append(rows, p.row)
	}
	t.metricGrid(rows)
}

func (t *terminal) samples() {
	s := t.run.Summary
	t.section("Samples")
	part := func(v verdict.Verdict, n int, what string) string {
		text := mark(v) + " " + count(n) + " " + what
		if n == 0 {
			return t.paint(text, dim)
		}
		return t.paint(text, hue(v))
	}
	parts := []string{part(verdict.Pass, s.Passed, "passed"), part(verdict.Fail, s.Failed, "failed"),
		part(verdict.Error, s.Errored, plural(s.Errored, "error")), part(verdict.Undecided, s.Undecided, "undecided"), "of " + count(s.Planned)}
	if t.Width < 72 {
		t.line("  " + strings.Join(parts[:2], "   "))
		parts = parts[2:]
	}
	t.line("  " + strings.Join(parts, "   "))
	rows := t.d.shown(max(t.Failures, 0))
	if len(rows) == 0 {
		return
	}
	bad := t.d.all.Failed + t.d.all.missing()
	t.section(fmt.Sprintf("What did not pass (%s of %s)", count(len(rows)), count(bad)))
	for _, r := range rows {
		name := mark(r.verdict) + " " + fit(caseName(t.run, r.id, r.repeat), min(t.Width-4, 60))
		about := ""
		if flag := r.flag(); flag != "" {
			about += "  " + flag
		}
		if len(t.d.combos.list) > 1 {
			about += "  " + comboName(r.combo, t.d)
		}
		t.line("  " + t.paint(name, hue(r.verdict)) + t.paint(aside(about, t.Width-2-width(name)), dim))
		for _, w := range r.why[:min(len(r.why), 3)] {
			t.wrap("      ", logLine(w, 240))
		}
		if len(r.why) > 3 {
			t.line(fmt.Sprintf("      and %d more reasons", len(r.why)-3))
		}
		if r.verdict != verdict.Error || r.output != "" {
			t.line("      " + t.paint("output "+quoted(r.output, t.Width-13), dim))
		}
	}
}

// aside is the second part of a line with a gap before it, when there is room.
func aside(s string, columns int) string {
	if s == "" || columns < 12 {
		return ""
	}
	return "  " + fit(s, columns-2)
}

// quoted is text in quotes, or a word for an empty one.
func quoted(s string, columns int) string {
	if strings.TrimSpace(s) == "" {
		return "(empty)"
	}
	return "“" + fit(s, columns-2) + "”"
}

// fit is logLine clipped to a number of columns, the mark of the cut included.
func fit(s string, columns int) string {
	out := logLine(s, columns)
	for n := columns - 1; n > 0 && width(out) > columns; n-- {
		out = logLine(s, n)
	}
	return out
}

// middle clips a name to a number of columns in its middle: names that begin alike are told apart by their ends.
func middle(s string, columns int) string {
	if width(s) <= columns {
		return s
	}
	var clusters []string
	for g := uniseg.NewGraphemes(s); g.Next(); {
		clusters = append(clusters, g.Str())
	}
	head, tail := "", ""
	first, last := 0, len(clusters)-1
	for room := columns - 1; first <= last; {
		// Two columns of the beginning for each of the end.
		next, side := clusters[last], &tail
		if width(head) <= 2*width(tail) {
			next, side = clusters[first], &head
		}
		if room -= width(next); room < 0 {
			break
		}
		if side == &head {
			head += next
			first++
		} else {
			tail = next + tail
			last--
		}
	}
	return head + "…" + tail
}

func (t *terminal) errors() {
	list := errorReasons(t.run.Summary)
	if len(list) == 0 {
		return
	}
	t.section("Errors by reason")
	for _, e := range list[:min(len(list), termReasons)] {
		t.line(fmt.Sprintf("  %8s  %s", count(e.n), fit(e.reason, t.Width-12)))
	}
	if len(list) > termReasons {
		t.line(fmt.Sprintf("  %s more reasons are in %s", count(len(list)-termReasons), JSONFile))
	}
}

func (t *terminal) usage() {
	s, times := t.run.Summary, t.run.Times
	t.section("Used")
	t.line("  tokens  " + noted(tokens(s.Tokens)))
	t.line("  cost    " + noted(cost(s)))
	if total, note := judging(s); total != "" {
		t.line("  judging " + noted(total, note))
	}
	took, speed := elapsed(times)
	if s.Cached > 0 {
		speed += ", " + count(s.Cached) + " samples from the cache"
	}
	t.line("  time    " + noted(took, strings.TrimPrefix(speed, ", ")))
	if t.Dir != "" {
		t.section("Results in " + fit(t.Dir, t.Width-12))
		t.wrap("  ", HTMLFile+" to read, "+samplesFile+" has every answer, "+JSONFile+" for machines")
	}
	t.line("")
}

// width is the number of columns s takes.
func width(s string) int { return uniseg.StringWidth(s) }

// cell is a piece of a table with its styles.
type cell struct {
	text   string
	styles []style
}

func plain(s string) cell { return cell{text: s} }

// grid aligns cells in columns.
type grid struct {
	gap     int
	rows    [][]cell
	widths  []int
	rightAt map[int]bool
}

func newGrid(gap int) *grid { return &grid{gap: gap + 1, rightAt: map[int]bool{}} }

func (g *grid) right(columns ...int) {
	for _, c := range columns {
		g.rightAt[c] = true
	}
}

func (g *grid) add(cells ...cell) {
	g.rows = append(g.rows, cells)
	for i, c := range cells {
		if i == len(g.widths) {
			g.widths = append(g.widths, 0)
		}
		g.widths[i] = max(g.widths[i], width(c.text))
	}
}

// How many columns a name has at most, and at least before something else gives way: a name that is all there is of a row
// needs more of them to say anything.
const (
	longName  = 40
	leastName = 16
	shortName = 8
)

// narrow clips the names in some columns until the grid has a width, to at most so many columns each and no less than least.
// The grid is wider nevertheless where that does not do.
func (g *grid) narrow(to, most, least int, columns ...int) {
	for most > least && g.widthWith(most, columns) > to {
		most--
	}
	for _, c := range columns {
		g.widths[c] = 0
		for _, row := range g.rows {
			row[c].text = middle(row[c].text, most)
			g.widths[c] = max(g.widths[c], width(row[c].text))
		}
	}
}

// widthWith is the width of the grid with so many columns for each name.
func (g *grid) widthWith(most int, columns []int) int {
	n := g.width()
	for _, c := range columns {
		n += min(0, most-g.widths[c])
	}
	return n
}

// drop empties columns, which then take no room but their gap.
func (g *grid) drop(columns ...int) {
	for _, c := range columns {
		g.widths[c] = 0
		for _, row := range g.rows {
			row[c].text = ""
		}
	}
}

// width is that of a whole line.
func (g *grid) width() int {
	n := g.gap * max(len(g.widths)-1, 0)
	for _, w := range g.widths {
		n += w
	}
	return n
}

// lines returns the rows, all of the same width.
func (g *grid) lines(t *terminal) []string {
	out := make([]string, 0, len(g.rows))
	for _, row := range g.rows {
		var b strings.Builder
		for i, c := range row {
			if i > 0 {
				b.WriteString(strings.Repeat(" ", g.gap))
			}
			fill := strings.Repeat(" ", g.widths[i]-width(c.text))
			if g.rightAt[i] {
				b.WriteString(fill)
			}
			b.WriteString(t.paint(c.text, c.styles...))
			if !g.rightAt[i] {
				b.WriteString(fill)
			}
		}
		out = append(out, b.String())
	}
	return out
}
