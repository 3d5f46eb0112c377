package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// quarantineCase has repeats, of which some differ, and cases in quarantine.
func quarantineCase() scene {
	d := small()
	d.cases, d.repeats, d.passShare = 12, 4, 0.9
	src := d.source()
	list := []record.Quarantine{
		{Case: "1003", Hold: record.Hold{Until: "2026-12-01", Reason: "times out upstream"}},
		{Case: "tag=style", Hold: record.Hold{Until: "2026-12-31", Reason: "the style guide changes | often"}},
		{Case: "1000", Hold: record.Hold{Until: "2026-03-01", Reason: "an old bug", Expired: true}},
		{Case: "1006", Hold: record.Hold{Until: "2027-01-01", Reason: "was flaky in May"}},
	}
	h := metric.NewHealth(1, list)
	run := src.Run
	run.Repeats = 4
	q := &record.Quarantined{}
	for s, err := range d.samples() {
		if err != nil {
			panic(err)
		}
		if s.Case == "1006" {
			continue
		}
		if h.Add(&s, 0) {
			q.Planned++
			q.Finished++
			switch s.Verdict {
			case verdict.Pass:
				q.Passed++
			case verdict.Fail:
				q.Failed++
			case verdict.Error:
				q.Errored++
			default:
				q.Undecided++
			}
		}
	}
	run.Flaky, run.Summary.Quarantined = h.Finish(nil), q
	run.Flaky.Quarantine[3].Cases, run.Flaky.Quarantine[3].Passed, run.Flaky.Quarantine[3].Release = 1, 1, 1
	return scene{"quarantine", src, TerminalOptions{Width: 80, Failures: 8}}
}

func TestHeldLine(t *testing.T) {
	f := func(want string, list ...record.Quarantine) {
		t.Helper()
		if got := heldLine(list); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	held := func(until string, q record.Quarantine) record.Quarantine {
		q.Until = until
		return q
	}
	f("")
	f("1 case in quarantine: 1 failed; next expiry 2026-12-01", held("2026-12-01", record.Quarantine{Cases: 1, Failed: 1}))
	f("3 cases in quarantine: 2 failed, 1 passed; next expiry 2026-12-01", held("2027-01-01", record.Quarantine{Cases: 2, Failed: 2}), held("2026-12-01", record.Quarantine{Cases: 1, Passed: 1}))
	f("2 cases in quarantine: 1 both passed and failed, 1 without a verdict; next expiry 2026-12-01", held("2026-12-01", record.Quarantine{Cases: 2, Mixed: 1, Open: 1}))
	f("no case in quarantine was run; next expiry 2026-12-01", held("2026-12-01", record.Quarantine{}))
	f("", record.Quarantine{Cases: 1, Hold: record.Hold{Until: "2020-01-01", Expired: true}})
}

func TestHistory(t *testing.T) {
	one, two := 1, 2
	h := &record.FlakyHistory{
		Runs: []record.HistoryRun{{Dir: "runs/a-very-long-name-of-a-directory-that-somebody-gave-to-a-run/a", Verdict: "pass", Finished: 1234, Started: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)},
			{Dir: "b", Verdict: "fail", Finished: 4, Started: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)}, {Dir: "c", Verdict: "nonsense"}},
		Series: []record.HistorySeries{
			{Provider: hostile, Prompt: "p", Snapshot: "s", Runs: []int{0, 2}, Flaky: 1, Broken: 1, Again: 3, More: 4, Cases: []record.CaseHistory{
				{Case: hostile, Repeats: record.Repeats{Passed: 6, Failed: 2}, Rate: new(0.4286), Low: new(0.1), High: new(0.5), State: record.HealthFlaky, Runs: []record.CaseRun{{Run: 0, Repeats: record.Repeats{Passed: 6}}, {Run: 2, Repeats: record.Repeats{Failed: 2}}}, FailingSince: &two, PassedBefore: true},
				{Case: "broken", Repeats: record.Repeats{Failed: 2}, Rate: new(0.0), State: record.HealthBroken, Critical: true, Runs: []record.CaseRun{{Run: 2, Repeats: record.Repeats{Failed: 2}}}},
				{Case: "held", Repeats: record.Repeats{Passed: 4}, Rate: new(0.0), State: record.HealthSteady, Runs: []record.CaseRun{{Run: 0, Repeats: record.Repeats{Errored: 1}}, {Run: 2, Repeats: record.Repeats{Undecided: 1}}}, Quarantine: &record.Hold{Until: "2026-12-01", Reason: "x"}},
			}},
			{Provider: "q", Prompt: "p", Snapshot: "old", Runs: []int{1}, Flaky: 1, Cases: []record.CaseHistory{{Case: "past", Repeats: record.Repeats{Passed: 1, Failed: 1}, Rate: new(0.5), State: record.HealthFlaky, Runs: []record.CaseRun{{Run: 1}}}}},
			{Provider: "q", Prompt: "p", Snapshot: "new", Runs: []int{2}, Flaky: 3, Cases: []record.CaseHistory{
				{Case: "- \"a\": b", Repeats: record.Repeats{Passed: 1, Failed: 1}, Rate: new(0.5), Low: new(0.1), High: new(0.5), State: record.HealthFlaky, Runs: []record.CaseRun{{Run: 2}}, PassingSince: &one},
				{Case: "vital", Repeats: record.Repeats{Passed: 1, Failed: 1}, Rate: new(0.5), State: record.HealthFlaky, Critical: true, Runs: []record.CaseRun{{Run: 2}}},
				{Case: "held", Repeats: record.Repeats{Passed: 1, Failed: 1}, Rate: new(0.5), State: record.HealthFlaky, Quarantine: &record.Hold{Until: "2026-12-01"}, Runs: []record.CaseRun{{Run: 2}}},
			}},
		},
	}
	for _, columns := range []int{50, 80, 120} {
		var b bytes.Buffer
		if err := History(&b, h, TerminalOptions{Width: columns}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if w := width(strings.TrimRight(line, "\n")); w > columns {
				t.Errorf("%d columns, the terminal has %d: %q", w, columns, line)
			}
			if strings.HasPrefix(strings.TrimLeft(line, " "), "::") || strings.ContainsAny(strings.TrimRight(line, "\n"), "\x1b\r\x00") {
				t.Errorf("a line of somebody else's making: %q", line)
			}
		}
		golden(t, "history-"+count(columns)+".txt", b.Bytes())
		var colours bytes.Buffer
		if err := History(&colours, h, TerminalOptions{Width: columns, Color: true}); err != nil {
			t.Fatal(err)
		}
		if s := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(colours.String(), ""); strings.ReplaceAll(s, " \n", "\n") != b.String() {
			t.Errorf("colours change what is written to %d columns:\n%s", columns, s)
		}
	}
	var b bytes.Buffer
	if err := Suggest(&b, h, "2026-12-31"); err != nil {
		t.Fatal(err)
	}
	golden(t, "history-suggest.yaml", b.Bytes())
	if strings.Contains(b.String(), "past") {
		t.Error("a case of an earlier snapshot is suggested")
	}
}

// Where only the newest runs of a series are shown, the legend says so.
func TestHistoryOfManyRuns(t *testing.T) {
	f := func(runs int, want string) {
		t.Helper()
		h := &record.FlakyHistory{Runs: make([]record.HistoryRun, runs), Series: []record.HistorySeries{{Provider: "p", Runs: make([]int, runs)}}}
		var b bytes.Buffer
		if err := History(&b, h, TerminalOptions{Width: 80}); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%d runs: %v, no %q in %s", runs, err, want, b.String())
		}
	}
	f(historyRuns, "By run, oldest first")
	f(historyRuns+1, "By run, the newest 20, oldest first")
}
