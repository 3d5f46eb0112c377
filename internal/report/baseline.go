package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/telltale-llm/telltale/internal/baseline"
	"github.com/telltale-llm/telltale/internal/record"
)

// shortID is how many digits of a content hash people are shown.
const shortID = 12

// BaselineList writes a table of the baselines in dir.
func BaselineList(w io.Writer, dir string, list []baseline.Entry, opts TerminalOptions) error {
	t := newTerminal(opts)
	if len(list) == 0 {
		t.wrap("", "no baselines in "+logLine(dir, 200))
		return t.flush(w)
	}
	g := newGrid(1)
	g.right(2, 3, 4)
	g.add(dimmed("baseline"), dimmed("suite"), dimmed("cases"), dimmed("pass rate"), dimmed("KB"), dimmed("id"))
	for _, e := range list {
		if e.Err != nil {
			g.add(plain(logLine(e.Name, keepName)), cell{"unusable", []style{red}}, plain(""), plain(""), plain(""), plain(""))
			continue
		}
		rate := e.Run.Metrics[record.MetricPassRate].Mean
		g.add(plain(logLine(e.Name, keepName)), plain(logLine(suiteName(e.Run), keepName)), plain(count(e.Cases)), plain(quantity(rate, "", true)), plain(count(int(e.Bytes+999)/1000)), plain(e.ID[:min(shortID, len(e.ID))]))
	}
	names := []int{0, 1}
	if g.widthWith(shortName, names) > t.Width {
		g.drop(5)
	}
	g.narrow(t.Width, longName, shortName, names...)
	for _, line := range g.lines(t) {
		t.line(line)
	}
	return t.flush(w)
}

// BaselineShow writes what a baseline holds.
func BaselineShow(w io.Writer, s *baseline.Stored, opts TerminalOptions) error {
	t := newTerminal(opts)
	run, c := s.Run(), s.Contents()
	t.line(t.paint(fit(s.Name(), t.Width), bold))
	t.wrap("  ", "content "+s.ContentID()[:min(2*shortID, len(s.ContentID()))])
	outputs := "without outputs"
	if c.Outputs {
		outputs = "with outputs"
	}
	t.wrap("  ", fmt.Sprintf("run %s of %s, by telltale %s", run.ID, logLine(suiteName(run), 100), run.Telltale))
	t.wrap("  ", fmt.Sprintf("%s of %s, %s; %s", numbered(c.Samples, "sample"), numbered(c.Cases, "case"), outputs, "dataset "+run.Dataset.Hash))
	t.wrap("  ", fmt.Sprintf("samples in objects/%s.jsonl, %s bytes; whole", c.Object[:min(shortID, len(c.Object))]+"…", count(int(c.Bytes))))
	t.section("Snapshots")
	for i := range run.Snapshots {
		snap := &run.Snapshots[i]
		t.wrap("  ", logLine(snap.ID+"  "+snap.Provider+" · "+snap.Prompt, 200))
	}
	t.section("Metrics")
	names := slices.Sorted(maps.Keys(run.Metrics))
	g := newGrid(1)
	g.right(1)
	for _, name := range names[:min(len(names), termMetrics)] {
		m := run.Metrics[name]
		share := m.Kind == "rate"
		g.add(plain(logLine(name, keepName)), plain(quantity(m.Mean, m.Unit, share)), plain("n "+count(m.N)), plain(metricInterval(m, share)))
	}
	if named := []int{0}; g.widthWith(shortName, named)+2 > t.Width {
		g.drop(3)
	}
	g.narrow(t.Width-2, longName, shortName, 0)
	for _, line := range g.lines(t) {
		t.line("  " + line)
	}
	if more := len(names) - termMetrics; more > 0 {
		t.line("  … " + strconv.Itoa(more) + " more; --format json has all")
	}
	return t.flush(w)
}

// BaselineChanges writes what a baseline has that the one before it had not.
func BaselineChanges(w io.Writer, c *baseline.Changes, opts TerminalOptions) error {
	t := newTerminal(opts)
	list := func(title string, lines []string) {
		for _, s := range lines[:min(len(lines), termReasons)] {
			t.wrap("  ", title+": "+logLine(s, 400))
		}
		if more := len(lines) - termReasons; more > 0 {
			t.wrap("  ", title+": and "+count(more)+" more")
		}
	}
	if c.FromRun != c.ToRun {
		t.wrap("  ", "run: "+c.ToRun+", was "+c.FromRun)
	}
	list("snapshot", c.Snapshots)
	list("recipe", c.Recipes)
	list("dataset", c.Dataset)
	if c.CasesAdded+c.CasesRemoved+c.InputsChanged > 0 {
		t.wrap("  ", fmt.Sprintf("cases: %s added, %s removed, %s with another input", count(c.CasesAdded), count(c.CasesRemoved), count(c.InputsChanged)))
	}
	t.wrap("  ", fmt.Sprintf("samples: %s in both with the same input; %s with another output, %s pass → fail, %s fail → pass", count(c.Samples), count(c.Outputs), count(c.PassToFail), count(c.FailToPass)))
	for _, m := range c.Metrics[:min(len(c.Metrics), termMetrics)] {
		share := m.Kind == "rate"
		t.wrap("  ", logLine(m.Name, 60)+": "+quantity(m.From, m.Unit, share)+" → "+quantity(m.To, m.Unit, share))
	}
	return t.flush(w)
}
