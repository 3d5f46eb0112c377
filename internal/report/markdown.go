package report

import (
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// Bounds of report.md. A job summary may hold a megabyte; a reader wants a page.
const (
	mdFailures = 50
	mdMetrics  = 200
	mdReasons  = 20
	mdTags     = 40
	mdText     = 200 // runes of an output or a reason
)

// Markdown writes report.md in GitHub's dialect: verdict, gate, metrics, the first failures, errors
// by reason and where the numbers come from.
func Markdown(w io.Writer, src Source) error {
	src, err := src.digested()
	if err != nil {
		return err
	}
	m := &markdown{run: src.Run, d: src.Digest, most: mdFailures}
	m.whole(src)
	_, err = io.WriteString(w, m.b.String())
	return err
}

func (m *markdown) whole(src Source) {
	m.head(src)
	m.gate()
	if m.run.Comparison != nil {
		m.line("### Against the baseline\n")
		m.comparison(m.run.Comparison, m.most)
	}
	m.metrics()
	m.calibration()
	m.parts()
	m.quarantine()
	m.flaky()
	m.failures()
	m.errors()
	m.provenance()
}

type markdown struct {
	b   strings.Builder
	run *record.Run
	d   *Digest
	// most is how many failures are listed.
	most int
}

func (m *markdown) line(format string, args ...any) {
	fmt.Fprintf(&m.b, format+"\n", args...)
}

// table writes a heading row and its ruler; a column whose name starts with ">" is right-aligned.
func (m *markdown) table(columns ...string) {
	names, rulers := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		names[i], rulers[i] = strings.TrimPrefix(c, ">"), "---"
		if strings.HasPrefix(c, ">") {
			rulers[i] = "---:"
		}
	}
	m.row(names...)
	m.row(rulers...)
}

func (m *markdown) row(cells ...string) { m.line("| %s |", strings.Join(cells, " | ")) }

// mdEscape escapes text so that GitHub shows it as it is: no markup, links, mentions, formulas or
// table cells of the text's own making.
func mdEscape(s string, n int) string {
	s = oneLine(s, n)
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '&' || r == '<' || r == '>' || r == '"' || r == '\'':
			b.WriteString(html.EscapeString(string(r)))
		case strings.ContainsRune("|`*_[]~\\#@$:!{}^=", r), r == '.' && strings.HasSuffix(strings.ToLower(s[:i]), "www"):
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// code is text in a fixed-width face, in which GitHub also leaves mentions and numbers alone.
func code(s string, n int) string {
	if strings.TrimSpace(s) == "" {
		return "<em>empty</em>"
	}
	return "<code>" + mdEscape(s, n) + "</code>"
}

func (m *markdown) head(src Source) {
	g := m.run.Gate
	m.line("## %s %s: %s\n", mark(g.Verdict), word(g.Verdict), mdEscape(suiteName(m.run), mdText))
	m.line("**%s**", mdEscape(reasonOf(g.Decision), 2*mdText))
	if s := deciding(m.run, g.Decision); s != "" {
		m.line("<br>%s", mdEscape(s, mdText))
	}
	for _, n := range notices(src) {
		m.line("\n> **%s**", mdEscape(n, 2*mdText))
	}
	if text, ids := criticals(m.run.Summary); text != "" {
		var names []string
		for _, id := range ids[:min(len(ids), mdReasons)] {
			names = append(names, code(id, keepName))
		}
		m.line("\n> **%s** %s", text, strings.Join(names, ", "))
	}
	if held := flaky(m.run).held; held != "" {
		m.line("\n> **%s**", mdEscape(held, 2*mdText))
	}
	for _, n := range m.run.Warnings[:min(len(m.run.Warnings), mdReasons)] {
		m.line("\n> Warning: %s", mdEscape(n, 2*mdText))
	}
	rate := overall(m.run)
	s := m.run.Summary
	m.line("\n| | |\n|---|---|")
	m.row("Pass rate", missing(rate.statement(), rate.Missing))
	m.row("Samples", counts(Tally{s.Passed, s.Failed, s.Errored, s.Undecided})+" of "+count(s.Planned)+" planned")
	m.row("Tokens", noted(tokens(s.Tokens)))
	m.row("Cost", mdValue(noted(cost(s))))
	if total, note := judging(s); total != "" {
		m.row("Judging", mdValue(noted(total, note)))
	}
	m.row("Time", noted(elapsed(m.run.Times)))
	m.line("")
}

// missing appends how many samples a number had to do without.
func missing(s string, n int) string {
	if n > 0 {
		return s + " (" + count(n) + " missing)"
	}
	return s
}

func (m *markdown) gate() {
	if len(m.run.Gate.Checks) == 0 {
		m.line("No gate was set.\n")
		return
	}
	m.line("### Gate\n")
	m.table("", "Check", "Wanted", ">Value", "Reason")
	for _, c := range m.run.Gate.Checks {
		m.row(mark(c.Verdict)+" "+c.Verdict.String(), mdEscape(checkName(c), keepName), mdEscape(c.Want, keepName),
			mdValue(decidingValue(m.run, c)), mdEscape(reasonOf(c), mdText))
	}
	for i, look := range lookLines(m.run) {
		if i == 0 {
			m.line("\nThe gate decided %s times, each time with more answers:\n", count(len(m.run.Looks)))
		}
		m.line("%d. %s", i+1, mdEscape(look, mdText))
	}
	m.line("")
}

func (m *markdown) metrics() {
	rows := metricRows(m.run.Metrics, nil)
	if len(rows) == 0 {
		return
	}
	m.line("### Metrics\n")
	m.metricTable(rows)
	if len(m.run.BySnapshot) < 2 {
		return
	}
	for _, s := range m.run.Snapshots {
		if metrics, ok := m.run.BySnapshot[s.ID]; ok {
			m.line("#### %s\n\nSnapshot %s\n", mdEscape(snapshotName(m.run, s.ID), keepName), code(s.ID, keepName))
			m.metricTable(metricRows(metrics, nil))
		}
	}
}

func (m *markdown) metricTable(rows []metricRow) {
	m.table("Metric", ">Value", ">95% interval", ">n", ">Missing", "Quantiles")
	for _, r := range rows[:min(len(rows), mdMetrics)] {
		m.row(mdEscape(r.name, keepName), mdValue(r.value), mdValue(r.interval), r.count, missingCell(r.Missing), mdValue(r.quantiles()))
	}
	if len(rows) > mdMetrics {
		m.line("\n%s more metrics are in %s.", count(len(rows)-mdMetrics), JSONFile)
	}
	m.line("")
}

// mdValue escapes a formatted number, whose unit is a scorer's word and whose dollar sign could
// start a formula.
func mdValue(s string) string { return mdEscape(s, keepName) }

func missingCell(n int) string {
	if n == 0 {
		return ""
	}
	return count(n)
}

// parts shows pass rates by tag, and by provider and prompt unless the metrics of each snapshot are there.
func (m *markdown) parts() {
	if len(m.run.ByTag) > 0 {
		m.line("### Pass rate by tag\n")
		m.table("Tag", ">Pass rate", ">95% interval", ">Passed", ">Missing")
		tags := tagRates(m.run, m.d, mdTags)
		for _, t := range tags {
			m.row(mdEscape(t.name, keepName), t.row.value, t.row.interval, t.row.count, missingCell(t.row.Missing))
		}
		if n := len(m.run.ByTag); n > len(tags) {
			m.line("\nThe %d most frequent of %s tags; %s has their metrics.", len(tags), count(n), JSONFile)
		}
		m.line("")
	}
	list := byCombo(m.d)
	if len(list) == 0 || len(m.run.BySnapshot) > 1 {
		return
	}
	m.line("### By provider and prompt\n")
	m.table("Provider and prompt", ">Pass rate", ">95% interval", ">Passed", ">Missing")
	for _, p := range list[:min(len(list), mdMetrics)] {
		m.row(mdEscape(p.name, keepName), p.row.value, p.row.interval, p.row.count, missingCell(p.row.Missing))
	}
	m.line("")
}

func (m *markdown) failures() {
	rows := m.d.shown(m.most)
	bad := m.d.all.Failed + m.d.all.Errored + m.d.all.Undecided
	if len(rows) == 0 {
		return
	}
	m.line("### What did not pass\n")
	m.line("Showing %s of %s; all are in %s.\n", count(len(rows)), count(bad), samplesFile)
	columns := []string{"", "Case", "Reason", "Output"}
	multi := len(m.d.combos.list) > 1
	if multi {
		columns = []string{"", "Case", "Provider", "Reason", "Output"}
	}
	m.table(columns...)
	for _, r := range rows {
		name := code(caseName(m.run, r.id, r.repeat), 80)
		if flag := r.flag(); flag != "" {
			name += " " + flag
		}
		why := make([]string, 0, 3)
		for _, w := range r.why[:min(len(r.why), 3)] {
			why = append(why, mdEscape(w, mdText))
		}
		if len(r.why) > 3 {
			why = append(why, fmt.Sprintf("and %d more", len(r.why)-3))
		}
		cells := []string{mark(r.verdict) + " " + r.verdict.String(), name, strings.Join(why, "<br>"), code(r.output, mdText)}
		if multi {
			cells = append(cells[:2:2], append([]string{mdEscape(comboName(r.combo, m.d), 80)}, cells[2:]...)...)
		}
		m.row(cells...)
	}
	m.line("")
}

func (m *markdown) errors() {
	list := errorReasons(m.run.Summary)
	if len(list) == 0 {
		return
	}
	m.line("### Errors by reason\n")
	m.table(">Samples", "Reason")
	for _, e := range list[:min(len(list), mdReasons)] {
		m.row(count(e.n), mdEscape(e.reason, mdText))
	}
	if len(list) > mdReasons {
		m.line("\n%s more reasons are in %s.", count(len(list)-mdReasons), JSONFile)
	}
	m.line("")
}

func (m *markdown) provenance() {
	r := m.run
	m.line("<details><summary>Where these numbers come from</summary>\n")
	m.line("| | |\n|---|---|")
	m.row("Run", code(r.ID, keepName))
	m.row("Suite", code(r.Suite.Path, keepName)+" "+code(r.Suite.Hash, keepName))
	m.row("Dataset", fmt.Sprintf("%s, %s of %s cases", code(r.Dataset.Hash, keepName), count(r.Dataset.Cases), count(r.Dataset.Rows)))
	for _, s := range r.Snapshots[:min(len(r.Snapshots), mdReasons)] {
		text := code(s.ID, keepName) + " " + mdEscape(s.Provider, keepName)
		if s.Model != "" {
			text += ", model " + mdEscape(s.Model, keepName)
		}
		if len(s.Fingerprints) > 0 {
			text += ", fingerprint " + mdEscape(strings.Join(s.Fingerprints, ", "), keepName)
		}
		if s.Prompt != "" {
			text += ", prompt " + mdEscape(s.Prompt, keepName)
		}
		m.row("Snapshot", text)
	}
	m.row("Seed", fmt.Sprint(r.Seed))
	m.row("Answers per case", fmt.Sprint(r.Repeats))
	m.row("telltale", mdEscape(r.Telltale, keepName))
	m.row("Started", mdEscape(stamp(r.Times.Started), keepName))
	m.line("\n</details>")
}
