package report

import (
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// How many entries and cases each report lists.
const (
	termHeld  = 10
	termFlaky = 5
	mdHeld    = 50
	mdFlaky   = 20
	htmlFlaky = 100
)

// What a sample's line is marked with.
const (
	flagCritical = "critical"
	flagHeld     = "in quarantine"
)

// flag is the mark of a sample's line, "" for most.
func (r *row) flag() string {
	switch {
	case r.held:
		return flagHeld
	case r.critical:
		return flagCritical
	}
	return ""
}

// flakiness is what reports say of flaky cases and the quarantine.
type flakiness struct {
	// held is one line about all cases in quarantine, "" when there are none.
	held    string
	entries []heldEntry
	// cases is one line about the states of all cases, "" when there are no flaky ones.
	cases string
	list  []flakyCase
	// more counts flaky and broken cases that are not in the list.
	more int
	// several says that cases are told apart by their snapshot.
	several bool
}

// heldEntry is one entry of the quarantine.
type heldEntry struct {
	name, until, reason, outcome string
	// notes are what a reader should do about it.
	note    string
	expired bool
}

// flakyCase is one case by one snapshot.
type flakyCase struct {
	name, snapshot, verdicts, rate, interval, state string
	held                                            bool
}

// flaky puts what a run says of its cases into words.
func flaky(run *record.Run) flakiness {
	var f flakiness
	all := run.Flaky
	if all == nil {
		return f
	}
	f.held = heldLine(all.Quarantine)
	for i := range all.Quarantine {
		f.entries = append(f.entries, newHeldEntry(&all.Quarantine[i]))
	}
	if all.Flaky == 0 {
		return f
	}
	parts := []string{count(all.Flaky) + " flaky", count(all.Broken) + " broken", count(all.Steady) + " steady"}
	if all.Unknown > 0 {
		parts = append(parts, count(all.Unknown)+" unknown")
	}
	f.several = len(run.Snapshots) > 1
	what := plural(all.Flaky+all.Broken+all.Steady+all.Unknown, " case")
	if f.several {
		what += " and snapshots"
	}
	f.cases = strings.Join(parts, ", ") + " of " + count(all.Flaky+all.Broken+all.Steady+all.Unknown) + what
	for _, c := range all.Cases {
		if c.State != record.HealthFlaky {
			continue
		}
		one := flakyCase{name: short(c.Case), verdicts: verdictsOf(c.Repeats), rate: rateOf(c.Rate), interval: interval(c.Low, c.High, "", true), state: c.State,
			held: c.Quarantine != nil && !c.Quarantine.Expired}
		if c.Snapshot != "" {
			one.snapshot = snapshotName(run, c.Snapshot)
		}
		f.list = append(f.list, one)
	}
	f.more = all.Flaky - len(f.list)
	return f
}

// heldLine says how many cases are in quarantine, how they fared and when the next entry expires.
func heldLine(list []record.Quarantine) string {
	var sum record.Quarantine
	holding, next := 0, ""
	for _, q := range list {
		if q.Expired {
			continue
		}
		holding++
		sum.Cases, sum.Passed, sum.Failed, sum.Mixed, sum.Open = sum.Cases+q.Cases, sum.Passed+q.Passed, sum.Failed+q.Failed, sum.Mixed+q.Mixed, sum.Open+q.Open
		if next == "" || q.Until < next {
			next = q.Until
		}
	}
	if holding == 0 {
		return ""
	}
	s := count(sum.Cases) + plural(sum.Cases, " case") + " in quarantine"
	if sum.Cases == 0 {
		s = "no case in quarantine was run"
	}
	if text := outcomes(&sum); text != "" {
		s += ": " + text
	}
	return s + "; next expiry " + next
}

// outcomes counts an entry's cases by what became of them.
func outcomes(q *record.Quarantine) string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{q.Failed, "failed"}, {q.Mixed, "both passed and failed"}, {q.Passed, "passed"}, {q.Open, "without a verdict"}} {
		if p.n > 0 {
			parts = append(parts, count(p.n)+" "+p.what)
		}
	}
	return strings.Join(parts, ", ")
}

func newHeldEntry(q *record.Quarantine) heldEntry {
	e := heldEntry{name: short(q.Case), until: q.Until, reason: q.Reason, outcome: outcomes(q), expired: q.Expired}
	switch q.Cases {
	case 0:
		e.outcome = "not run"
	case 1:
		e.outcome = strings.TrimPrefix(e.outcome, "1 ")
	}
	switch {
	case q.Expired:
		e.note = "expired: it counts again"
	case q.Release > 0 && q.Release == q.Cases && q.Cases == 1:
		e.note = "passed in all repeats: it can be released"
	case q.Release > 0 && q.Release == q.Cases:
		e.note = "all passed in all repeats: they can be released"
	case q.Release > 0:
		e.note = count(q.Release) + " of them passed in all repeats"
	}
	return e
}

// line is the entry as one sentence.
func (e heldEntry) line() string {
	s := e.name + " until " + e.until + ": " + e.reason + " (" + e.outcome + ")"
	if e.note != "" {
		s += "; " + e.note
	}
	return s
}

// verdictsOf counts repeats by verdict, such as "3 of 5 passed, 1 error".
func verdictsOf(r record.Repeats) string {
	s := count(r.Passed) + " of " + count(r.Judged()) + " passed"
	if r.Errored > 0 {
		s += ", " + count(r.Errored) + plural(r.Errored, " error")
	}
	if r.Undecided > 0 {
		s += ", " + count(r.Undecided) + " undecided"
	}
	return s
}

// rateOf is a flake rate in percent.
func rateOf(x *float64) string {
	if !finite(x) {
		return noData
	}
	return percent(*x)
}

// quarantine lists what is in quarantine, with the entries that have expired.
func (t *terminal) quarantine() {
	f := flaky(t.run)
	if len(f.entries) == 0 {
		return
	}
	t.section("Quarantine")
	if f.held == "" {
		t.line("  every entry has expired")
	}
	for _, e := range f.entries[:min(len(f.entries), termHeld)] {
		var styles []style
		if e.expired {
			styles = []style{yellow}
		}
		t.wrap("  ", logLine(e.line(), 400), styles...)
	}
	if n := len(f.entries) - termHeld; n > 0 {
		t.line(fmt.Sprintf("  %s more are in %s", count(n), JSONFile))
	}
}

// flaky lists the cases that both passed and failed.
func (t *terminal) flaky() {
	f := flaky(t.run)
	if f.cases == "" {
		return
	}
	t.section("Flaky cases")
	t.line("  " + fit(f.cases, t.Width-2))
	shown := f.list[:min(len(f.list), termFlaky)]
	g := newGrid(1)
	for _, c := range shown {
		name := fit(c.name, min(30, t.Width/3))
		if f.several {
			name = fit(c.name+" · "+c.snapshot, min(40, t.Width/2-4))
		}
		if c.held {
			name += " (quarantine)"
		}
		g.add(plain(name), plain(c.verdicts), plain("differs "+c.rate), plain(c.interval))
	}
	g.right(3)
	for i, line := range g.lines(t) {
		if g.width()+2 > t.Width {
			c := shown[i]
			t.wrap("  ", logLine(c.name+" "+c.snapshot, 80)+": "+c.verdicts+", differs "+c.rate+" ("+c.interval+")")
			continue
		}
		t.line("  " + line)
	}
	if n := len(f.list) - len(shown) + f.more; n > 0 {
		t.line(fmt.Sprintf("  %s more are in %s", count(n), JSONFile))
	}
}

// quarantine is the section of report.md.
func (m *markdown) quarantine() {
	f := flaky(m.run)
	if len(f.entries) == 0 {
		return
	}
	m.line("### Quarantine\n")
	m.table("Case", "Until", "Reason", "Outcome", "")
	for _, e := range f.entries[:min(len(f.entries), mdHeld)] {
		m.row(code(e.name, keepName), mdEscape(e.until, keepName), mdEscape(e.reason, mdText), e.outcome, e.note)
	}
	if n := len(f.entries) - mdHeld; n > 0 {
		m.line("\n%s more are in %s.", count(n), JSONFile)
	}
	m.line("\nThey are run and scored, and count for nothing until the day after.\n")
}

// flaky is the section of report.md.
func (m *markdown) flaky() {
	f := flaky(m.run)
	if f.cases == "" {
		return
	}
	m.line("### Flaky cases\n")
	m.line("%s. The rate is the chance that two answers to the case get different verdicts.\n", f.cases)
	m.table("Case", "Repeats", ">Flake rate", ">95% interval")
	shown := f.list[:min(len(f.list), mdFlaky)]
	for _, c := range shown {
		name := code(c.name, keepName)
		if f.several {
			name += " " + mdEscape(c.snapshot, keepName)
		}
		if c.held {
			name += " " + flagHeld
		}
		m.row(name, c.verdicts, c.rate, c.interval)
	}
	if n := len(f.list) - len(shown) + f.more; n > 0 {
		m.line("\n%s more are in %s.", count(n), JSONFile)
	}
	m.line("")
}

// heldView and flakyView are rows of the page.
type heldView struct {
	Name, Until, Reason, Outcome, Note string
	Expired                            bool
}

type flakyView struct {
	Name, Snapshot, Verdicts, Rate, Interval string
	Held                                     bool
}

// flakyPage is what the page shows of all this.
type flakyPage struct {
	Held      string
	Entries   []heldView
	Cases     string
	List      []flakyView
	More      int
	Snapshots bool
}

func newFlakyPage(run *record.Run) flakyPage {
	f := flaky(run)
	p := flakyPage{Held: f.held, Cases: f.cases, Snapshots: f.several}
	for _, e := range f.entries {
		p.Entries = append(p.Entries, heldView{e.name, e.until, e.reason, e.outcome, e.note, e.expired})
	}
	for _, c := range f.list[:min(len(f.list), htmlFlaky)] {
		p.List = append(p.List, flakyView{c.name, c.snapshot, c.verdicts, c.rate, c.interval, c.held})
	}
	p.More = len(f.list) - len(p.List) + f.more
	return p
}

// heldTally is a tally as JUnit counts it: a test in quarantine that did not pass is skipped, so that it fails no build.
func heldTally(t, held Tally) (out Tally, skipped int) {
	out = t
	out.Failed -= held.Failed
	out.Errored -= held.Errored
	out.Undecided += held.Failed + held.Errored
	return out, out.Undecided
}

// heldMessage says why a test was skipped.
func heldMessage(h *record.Hold, v verdict.Verdict, message string) string {
	return fmt.Sprintf("IN QUARANTINE until %s (%s), %s: %s", h.Until, h.Reason, v, message)
}
