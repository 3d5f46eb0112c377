package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// What the terminal shows of a history.
const (
	historyRuns  = 20 // the newest ones
	historyCases = 50
)

// History writes how cases fared over several runs.
func History(w io.Writer, h *record.FlakyHistory, opts TerminalOptions) error {
	t := newTerminal(opts)
	t.historyRuns(h)
	for i := range h.Series {
		t.series(h, &h.Series[i])
	}
	if n := len(h.Series); n > 1 {
		t.line("")
		t.wrap("", fmt.Sprintf("%d series: answers of another snapshot, or judged by other recipes, are told apart and not pooled.", n))
	}
	t.line("")
	which := "oldest first"
	if slices.ContainsFunc(h.Series, func(s record.HistorySeries) bool { return len(s.Runs) > historyRuns }) {
		which = fmt.Sprintf("the newest %d, oldest first", historyRuns)
	}
	t.wrap("", "By run, "+which+": ✓ passed, ✗ failed, ~ did both, ! error, ? no verdict, · not asked. The flake rate is the chance that two answers to the case get different verdicts.")
	return t.flush(w)
}

// historyRuns lists the runs, the newest at the end.
func (t *terminal) historyRuns(h *record.FlakyHistory) {
	t.line(t.paint(numbered(len(h.Runs), "run"), bold))
	first := max(0, len(h.Runs)-historyRuns)
	if first > 0 {
		t.line(fmt.Sprintf("  %s older ones are counted and not listed", count(first)))
	}
	list := func(layout string, samples func(n int) string) *grid {
		g := newGrid(1)
		g.right(0, 3)
		for i, r := range h.Runs[first:] {
			v := verdictNamed(r.Verdict)
			g.add(plain(count(first+i+1)), plain(logLine(r.Dir, keepName)), plain(r.Started.UTC().Format(layout)), plain(samples(r.Finished)), cell{mark(v) + " " + v.String(), []style{hue(v)}})
		}
		return g
	}
	g := list("2006-01-02 15:04", func(n int) string { return numbered(n, "sample") })
	if names := []int{1}; g.widthWith(shortName, names)+2 > t.Width {
		g = list(time.DateOnly, count)
	}
	g.narrow(t.Width-2, longName, shortName, 1)
	for _, line := range g.lines(t) {
		t.line("  " + line)
	}
}

func verdictNamed(name string) (v verdict.Verdict) {
	if v.UnmarshalText([]byte(name)) != nil {
		return verdict.Undecided
	}
	return v
}

// series shows one series.
func (t *terminal) series(h *record.FlakyHistory, s *record.HistorySeries) {
	t.section(fit(s.Provider+" · "+s.Prompt, t.Width))
	suites, datasets := map[string]bool{}, map[string]bool{}
	for _, i := range s.Runs {
		suites[h.Runs[i].SuiteHash], datasets[h.Runs[i].Dataset] = true, true
	}
	all := s.Flaky + s.Broken + s.Steady + s.Unknown
	about := fmt.Sprintf("snapshot %s, %s", s.Snapshot, places(s.Runs))
	if s.Again > 0 {
		about += fmt.Sprintf("; %s from the cache are those of an earlier run, and do not count again", numbered(s.Again, "answer"))
	}
	switch {
	case len(datasets) > 1:
		about += "; the dataset changed between them, and cases with other variables are told apart"
	case len(suites) > 1:
		about += "; the suite changed between them"
	}
	t.wrap("  ", logLine(about, 400), dim)
	t.wrap("  ", fmt.Sprintf("%s flaky, %s broken, %s steady, %s unknown of %s", count(s.Flaky), count(s.Broken), count(s.Steady), count(s.Unknown), numbered(all, "case")))
	if len(s.Cases) == 0 {
		return
	}
	t.line("")
	shown := s.Cases[:min(len(s.Cases), historyCases)]
	g := newGrid(1)
	g.right(2, 3, 4)
	g.add(dimmed("case"), dimmed("by run"), dimmed("passed"), dimmed("rate"), dimmed("95%"), dimmed("state"))
	for i := range shown {
		c := &shown[i]
		judged := fmt.Sprintf("%s/%s", count(c.Passed), count(c.Judged()))
		style := []style{yellow}
		switch c.State {
		case record.HealthBroken:
			style[0] = red
		case record.HealthSteady:
			style[0] = green
		}
		rate := ""
		if c.Rate != nil {
			rate = rateOf(c.Rate)
		}
		g.add(plain(logLine(c.Case, keepName)), plain(runsOf(s, c)), plain(judged), plain(rate), plain(strings.ReplaceAll(interval(c.Low, c.High, "", true), ".00", "")),
			cell{caseState(c), style})
	}
	g.narrow(t.Width-2, 30, shortName, 0)
	// Where even the shortest name leaves too little room, the state goes on a line of its own.
	below := make([]string, len(g.rows))
	const state = 5
	for i, row := range g.rows {
		if g.width()-g.widths[state]+width(row[state].text)+2 > t.Width {
			below[i], row[state].text = row[state].text, ""
			if i == 0 {
				below[i] = "" // the heading
			}
		}
	}
	for i, line := range g.lines(t) {
		t.line("  " + line)
		t.wrap("      ", below[i], dim)
	}
	if n := len(s.Cases) - len(shown) + s.More; n > 0 {
		t.line(fmt.Sprintf("  %s more; --format json has up to %d", count(n), record.MaxHealth))
	}
	t.notes(shown)
}

// notes says what to do about cases in quarantine.
func (t *terminal) notes(shown []record.CaseHistory) {
	for i := range shown {
		c := &shown[i]
		q := c.Quarantine
		switch {
		case q == nil:
		case q.Expired:
			t.wrap("  ", logLine(fmt.Sprintf("%s: the quarantine expired after %s (%s)", short(c.Case), q.Until, q.Reason), 400), yellow)
		case c.State == record.HealthSteady && c.Failed == 0:
			t.wrap("  ", logLine(fmt.Sprintf("%s is in quarantine until %s and passed in all repeats: it can be released", short(c.Case), q.Until), 400))
		}
	}
}

// caseState is the state in a word or two, with when it began. Runs are counted from 1.
func caseState(c *record.CaseHistory) string {
	s := c.State
	switch {
	case c.FailingSince != nil && c.PassedBefore:
		s += fmt.Sprintf(", failing since %d", *c.FailingSince+1)
	case c.PassingSince != nil && c.State != record.HealthFlaky:
		s += fmt.Sprintf(", passing since %d", *c.PassingSince+1)
	}
	if c.Quarantine != nil && !c.Quarantine.Expired {
		s += ", held"
	}
	return s
}

// runsOf is a sign for each of a series' newest runs.
func runsOf(s *record.HistorySeries, c *record.CaseHistory) string {
	var b strings.Builder
	for _, run := range s.Runs[max(0, len(s.Runs)-historyRuns):] {
		at := slices.IndexFunc(c.Runs, func(r record.CaseRun) bool { return r.Run == run })
		if at < 0 {
			b.WriteString("·")
			continue
		}
		switch r := &c.Runs[at]; {
		case r.Passed > 0 && r.Failed > 0:
			b.WriteString("~")
		case r.Passed > 0:
			b.WriteString("✓")
		case r.Failed > 0:
			b.WriteString("✗")
		case r.Errored > 0:
			b.WriteString("!")
		default:
			b.WriteString("?")
		}
	}
	return b.String()
}

// places lists runs by number, such as "runs 1–3, 5".
func places(runs []int) string {
	var parts []string
	for i := 0; i < len(runs); {
		j := i
		for j+1 < len(runs) && runs[j+1] == runs[j]+1 {
			j++
		}
		if j > i {
			parts = append(parts, fmt.Sprintf("%d–%d", runs[i]+1, runs[j]+1))
		} else {
			parts = append(parts, fmt.Sprint(runs[i]+1))
		}
		i = j + 1
	}
	return plural(len(runs), "run") + " " + strings.Join(parts, ", ")
}

// Suggest writes a quarantine block for a suite with the flaky cases of a history, in YAML. A case is suggested once,
// by its highest rate; those in quarantine already are left out, and so are critical ones, which cannot be. Of each provider
// and prompt only the series that ran last counts: what an earlier snapshot did is past.
func Suggest(w io.Writer, h *record.FlakyHistory, until string) error {
	type pick struct {
		c      *record.CaseHistory
		series *record.HistorySeries
	}
	var picks []pick
	var critical []string
	at := map[string]int{}
	broken := map[string]bool{}
	for i := range h.Series {
		s := &h.Series[i]
		if superseded(h, i) {
			continue
		}
		for j := range s.Cases {
			c := &s.Cases[j]
			if c.State == record.HealthBroken {
				broken[c.Case] = true
			}
			if c.State != record.HealthFlaky || c.Rate == nil || c.Quarantine != nil && !c.Quarantine.Expired {
				continue
			}
			if c.Critical {
				critical = append(critical, c.Case)
				continue
			}
			if k, known := at[c.Case]; known {
				if *c.Rate > *picks[k].c.Rate {
					picks[k] = pick{c, s}
				}
				continue
			}
			at[c.Case] = len(picks)
			picks = append(picks, pick{c, s})
		}
	}
	var b strings.Builder
	for _, id := range slices.Compact(slices.Sorted(slices.Values(critical))) {
		fmt.Fprintf(&b, "# %s is flaky and critical; a critical case cannot be in quarantine\n", yamlText(id))
	}
	switch n := len(broken); n {
	case 0:
	case 1:
		b.WriteString("# 1 case is broken, not flaky: mend what broke rather than hide it\n")
	default:
		fmt.Fprintf(&b, "# %s cases are broken, not flaky: mend what broke rather than hide it\n", count(n))
	}
	if len(picks) == 0 {
		b.WriteString("# no flaky case to put into quarantine\n")
	} else {
		b.WriteString("quarantine:\n")
	}
	for _, p := range picks {
		c := p.c
		why := fmt.Sprintf("flaky: %s in %s; two answers differ %s of the time (95%%: %s)", verdictsOf(c.Repeats), numbered(len(c.Runs), "run"), rateOf(c.Rate), interval(c.Low, c.High, "", true))
		fmt.Fprintf(&b, "  - case: %s\n    until: %s\n    reason: %s\n", yamlText(c.Case), until, yamlText(why))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// superseded says that the series' provider and prompt have been run since, with another snapshot or other recipes.
func superseded(h *record.FlakyHistory, i int) bool {
	s := &h.Series[i]
	for j := range h.Series {
		o := &h.Series[j]
		if o.Provider == s.Provider && o.Prompt == s.Prompt && slices.Max(o.Runs) > slices.Max(s.Runs) {
			return true
		}
	}
	return false
}

// yamlText is a text in double quotes. All escapes of Go's are YAML's too.
func yamlText(s string) string { return strconv.Quote(s) }
