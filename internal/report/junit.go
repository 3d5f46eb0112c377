package report

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Clips of JUnit's texts, in runes and bytes: many CI systems show the message in one line, and
// load the whole file at once.
const (
	junitMessage = 200
	junitOutput  = 1500
	junitReason  = 600
)

// JUnit writes junit.xml: a test suite "gate" with a test for each check, and one test suite per
// provider and prompt with a test for each sample. It makes one pass over src's samples and holds
// none of them; with several suites they are sorted in a temporary file.
//
// CI systems paint skipped tests like passed ones. Therefore an undecided check is an error; an
// undecided sample is skipped, with its reason, for it is the gate that judges the whole.
func JUnit(w io.Writer, src Source) error {
	src, err := src.digested()
	if err != nil {
		return err
	}
	if src.Samples == nil {
		return errors.New("report: junit: no samples")
	}
	out := bufio.NewWriterSize(w, 32<<10)
	j := &junit{w: out, out: out, run: src.Run, held: src.Run.Flaky.Quarantines()}
	checks := gateTests(src.Run)
	gate := Tally{}
	for _, c := range checks {
		gate.add(c.Verdict)
	}
	all := src.Digest.all
	j.text(xml.Header)
	j.open("testsuites", "name", suiteName(src.Run),
		"tests", strconv.Itoa(all.Total()+gate.Total()),
		"failures", strconv.Itoa(all.Failed-src.Digest.held.Failed+gate.Failed),
		"errors", strconv.Itoa(all.Errored-src.Digest.held.Errored+gate.Errored+gate.Undecided),
		"time", fixed(src.Run.Times.Seconds))
	j.gate(checks, gate)
	if err := j.samples(src); err != nil {
		return fmt.Errorf("report: junit: %w", err)
	}
	j.text("</testsuites>\n")
	return out.Flush()
}

// gateTests is what the gate suite holds: the checks, and the run's own verdict when no check says
// the same, so that a run cut short cannot hide behind checks that passed.
func gateTests(run *record.Run) []verdict.Decision {
	for _, c := range run.Gate.Checks {
		if c.Verdict == run.Gate.Verdict {
			return run.Gate.Checks
		}
	}
	d := run.Gate.Decision
	d.Metric = "verdict"
	return append(append([]verdict.Decision(nil), run.Gate.Checks...), d)
}

// sink is what elements are written to.
type sink interface {
	io.Writer
	io.StringWriter
}

// junit writes elements to w: out, or the part of a spool that waits to be copied there. Errors
// of out surface when it is flushed.
type junit struct {
	w, out  sink
	run     *record.Run
	held    *record.Quarantines
	classes []string // class name of each suite's tests
}

func (j *junit) text(s string) { _, _ = j.w.WriteString(s) }

// open writes a start tag with attributes given as name, value, name, value…
func (j *junit) open(name string, attrs ...string) {
	j.tag(name, attrs)
	j.text(">\n")
}

func (j *junit) tag(name string, attrs []string) {
	j.text("<" + name)
	for i := 0; i < len(attrs); i += 2 {
		j.text(" " + attrs[i] + `="`)
		// EscapeText replaces what XML cannot hold, and only fails when the writer does.
		_ = xml.EscapeText(j.w, []byte(attrs[i+1]))
		j.text(`"`)
	}
}

// outcome writes an element with a message and a body.
func (j *junit) outcome(name, kind, message, body string) {
	j.text("    ")
	j.tag(name, []string{"type", kind, "message", message})
	j.text(">")
	j.text(xmlBody(body))
	j.text("</" + name + ">\n")
}

// suite writes the start tag of a test suite. Undecided tests that are not skipped count as errors.
func (j *junit) suite(name string, t Tally, skipped int) {
	attrs := []string{"name", name,
		"tests", strconv.Itoa(t.Total()),
		"failures", strconv.Itoa(t.Failed),
		"errors", strconv.Itoa(t.Errored + t.Undecided - skipped),
		"skipped", strconv.Itoa(skipped)}
	if at := j.run.Times.Started; !at.IsZero() {
		attrs = append(attrs, "timestamp", at.UTC().Format("2006-01-02T15:04:05"))
	}
	j.open("testsuite", attrs...)
}

// gate writes the gate's suite.
func (j *junit) gate(checks []verdict.Decision, t Tally) {
	j.suite("gate", t, 0)
	j.text("<properties>\n")
	for _, p := range [][2]string{
		{"verdict", j.run.Gate.Verdict.String()}, {"reason", reasonOf(j.run.Gate.Decision)}, {"stopped", j.run.Summary.Stopped},
		{"run", j.run.ID}, {"suite_hash", j.run.Suite.Hash}, {"dataset_hash", j.run.Dataset.Hash},
		{"quarantine", flaky(j.run).held}, {"seed", strconv.FormatInt(j.run.Seed, 10)}, {"telltale", j.run.Telltale},
	} {
		if p[1] != "" {
			j.tag("property", []string{"name", p[0], "value", oneLine(p[1], keptTexts.reason)})
			j.text("/>\n")
		}
	}
	j.text("</properties>\n")
	seen := map[string]int{}
	for _, c := range checks {
		name := strings.TrimSpace(c.Metric + " " + c.Want)
		if name == "" {
			name = "verdict"
		}
		// With several snapshots a check is made of each of them, in their order.
		if seen[name]++; seen[name] > 1 {
			name += " #" + strconv.Itoa(seen[name])
		}
		j.tag("testcase", []string{"name", name, "classname", classOf(suiteName(j.run), "gate"), "time", "0"})
		if c.Verdict == verdict.Pass {
			j.text("/>\n")
			continue
		}
		j.text(">\n")
		body := strings.TrimSpace(deciding(j.run, c) + "\n" + reasonOf(c))
		message := oneLine(word(c.Verdict)+": "+reasonOf(c), junitMessage)
		if c.Verdict == verdict.Fail {
			j.outcome("failure", "gate", message, body)
		} else {
			j.outcome("error", c.Verdict.String(), message, body)
		}
		j.text("</testcase>\n")
	}
	j.text("</testsuite>\n")
}

// samples writes the suites of samples.
func (j *junit) samples(src Source) error {
	list := src.Digest.combos.list
	for _, s := range list {
		j.classes = append(j.classes, classOf(suiteName(j.run), comboTitle(s.key)))
	}
	if len(list) == 1 {
		t, skipped := heldTally(list[0].Tally, list[0].held)
		j.suite(comboTitle(list[0].key), t, skipped)
		err := j.pass(src, func(int) sink { return j.out })
		j.text("</testsuite>\n")
		return err
	}
	sp := newSpool(len(list))
	defer sp.close()
	if err := j.pass(src, sp.part); err != nil {
		return err
	}
	for i, s := range list {
		t, skipped := heldTally(s.Tally, s.held)
		j.suite(comboTitle(s.key), t, skipped)
		if err := sp.copy(i, j.w); err != nil {
			return err
		}
		j.text("</testsuite>\n")
	}
	return nil
}

// pass writes each sample to where its suite is collected, and checks that this pass saw what the
// digest counted, for the counts are in the attributes.
func (j *junit) pass(src Source, to func(suite int) sink) error {
	defer func() { j.w = j.out }()
	d := src.Digest
	seen := make([]Tally, len(d.combos.list))
	samples := src.Samples
	if src.Outcomes != nil {
		samples = src.Outcomes
	}
	for s, err := range samples() {
		if err != nil {
			return err
		}
		i, ok := d.combos.at[combo{s.Provider, s.Prompt}]
		if !ok {
			return fmt.Errorf("sample %s of provider %q, prompt %q is not in the digest", s.Case, s.Provider, s.Prompt)
		}
		seen[i].add(s.Verdict)
		j.w = to(i)
		j.sample(&s, j.classes[i])
	}
	for i, s := range d.combos.list {
		if seen[i] != s.Tally {
			return fmt.Errorf("provider %q, prompt %q: the digest counted %s, this pass %s", s.key.provider, s.key.prompt, counts(s.Tally), counts(seen[i]))
		}
	}
	return nil
}

// sample writes one test.
func (j *junit) sample(s *record.Sample, class string) {
	elapsed := 0.0
	if finite(s.Latency) {
		elapsed = *s.Latency
	}
	j.tag("testcase", []string{
		"name", caseName(j.run, oneLine(titled(s), keepName), s.Repeat),
		"classname", class,
		"time", fixed(elapsed),
	})
	if s.Verdict == verdict.Pass {
		j.text("/>\n")
		return
	}
	j.text(">\n")
	why := reasons(s)
	message := oneLine(why[0], junitMessage)
	if len(why) > 1 {
		message += fmt.Sprintf(" (and %d more)", len(why)-1)
	}
	var body strings.Builder
	for _, r := range why {
		body.WriteString(clip(r, junitReason))
		body.WriteByte('\n')
	}
	if s.Output != "" {
		body.WriteString("\noutput:\n")
		body.WriteString(clip(s.Output, junitOutput))
		body.WriteByte('\n')
	}
	switch at := j.held.Hold(j.held.Find(s.Case, s.Tags)); {
	case at != nil && !at.Expired:
		j.outcome("skipped", "quarantine", oneLine(heldMessage(at, s.Verdict, message), 2*junitMessage), body.String())
	case s.Verdict == verdict.Fail:
		kind := "assertion"
		if s.Critical {
			kind = "critical"
		}
		j.outcome("failure", kind, message, body.String())
	case s.Verdict == verdict.Error:
		j.outcome("error", "error", message, body.String())
	default:
		j.outcome("skipped", "undecided", oneLine("UNDECIDED: "+message, junitMessage), body.String())
	}
	j.text("</testcase>\n")
}

// comboTitle names the suite of a provider and a prompt.
func comboTitle(c combo) string {
	return oneLine(strings.TrimSuffix(c.provider+" · "+c.prompt, " · "), keepName)
}

// classOf makes a class name of two parts. CI systems take the dots in it for a hierarchy, so
// those inside a part (gpt-4.1) give way.
func classOf(suite, part string) string {
	undot := func(s string) string { return strings.ReplaceAll(oneLine(s, keepName), ".", "_") }
	return undot(suite) + "." + undot(part)
}

// fixed writes seconds as JUnit wants them.
func fixed(x float64) string { return strconv.FormatFloat(max(x, 0), 'f', 3, 64) }

// xmlBody escapes text for an element's content. Unlike xml.EscapeText it keeps line breaks as
// they are, for people read this in CI.
func xmlBody(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 {
			return r
		}
		return '\uFFFD'
	}, strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\r\n", "\n"))
	return bodyEscaper.Replace(s)
}

var bodyEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
