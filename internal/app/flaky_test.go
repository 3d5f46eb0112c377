package app

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// TestTrail: what a case is called by its runs. A word is a run, a letter an answer.
func TestTrail(t *testing.T) {
	f := func(runs, state string, failingSince, passingSince int, passedBefore bool) {
		t.Helper()
		tr := trail{since: -1}
		for i, run := range strings.Fields(runs) {
			if i > 0 {
				tr.settle()
			}
			tr.last = int32(i)
			for _, v := range run {
				switch v {
				case 'P':
					tr.passed, tr.runPassed = tr.passed+1, tr.runPassed+1
				case 'F':
					tr.failed, tr.runFailed = tr.failed+1, tr.runFailed+1
				case 'E':
					tr.errored++
				}
			}
		}
		tr.settle()
		h := tr.history()
		at := func(p *int) int {
			if p == nil {
				return -1
			}
			return *p
		}
		if h.State != state || at(h.FailingSince) != failingSince || at(h.PassingSince) != passingSince || h.PassedBefore != passedBefore {
			t.Errorf("%s: %s, failing since %d, passing since %d, passed before %v", runs, h.State, at(h.FailingSince), at(h.PassingSince), h.PassedBefore)
		}
		if turned := h.Passed > 0 && h.Failed > 0 && h.State != record.HealthFlaky; turned == (h.Rate != nil) && h.Judged() > 1 {
			t.Errorf("%s: rate %v", runs, h.Rate)
		}
	}
	f("PP PP PP", record.HealthSteady, -1, -1, false)
	f("FF FF", record.HealthBroken, 0, -1, false)
	f("PP FF FF", record.HealthBroken, 1, -1, true)
	f("P P F F", record.HealthBroken, 2, -1, true)
	f("FF FF PP", record.HealthSteady, -1, 2, false)
	f("PF PF", record.HealthFlaky, -1, -1, false)
	f("PP PF FF", record.HealthFlaky, 2, -1, true)
	f("P F P F", record.HealthFlaky, 3, -1, true)
	// One answer on either side may be chance.
	f("P P P F", record.HealthFlaky, 3, -1, true)
	f("P F F F", record.HealthFlaky, 1, -1, true)
	f("F P P P", record.HealthFlaky, -1, 1, false)
	// A run without verdicts ends no streak.
	f("PP FF EE FF", record.HealthBroken, 1, -1, true)
	f("P", record.HealthUnknown, -1, -1, false)
	f("EE EE", record.HealthUnknown, -1, -1, false)
	f("PP PE", record.HealthUnknown, -1, -1, false)
}

// writeRun writes a run's directory with one case whose answers are given as a letter each; a c before it is one from
// the cache.
func writeRun(t *testing.T, dir string, day int, cases map[string]string) {
	t.Helper()
	snap := record.Snapshot{Provider: "p", Prompt: "q"}
	snap.Identify()
	run := record.Run{ID: dir, Snapshots: []record.Snapshot{snap}, Scorers: map[string]string{"equals": "equals/1"}, Times: record.Times{Started: time.Date(2026, 3, day, 0, 0, 0, 0, time.UTC)}}
	if day%2 == 0 {
		run.Scorers["latency"] = "latency|v1" // a run from the cache has none
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for id, answers := range cases {
		cached, repeat := false, 0
		for _, v := range answers {
			if v == 'c' {
				cached = true
				continue
			}
			s := record.Sample{Case: id, Vars: map[string]any{"x": id}, Provider: "p", Prompt: "q", Repeat: repeat, Cached: cached, Verdict: map[rune]verdict.Verdict{'P': verdict.Pass, 'F': verdict.Fail}[v]}
			b, err := json.Marshal(&s)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&lines, "%s\n", b)
			cached, repeat = false, repeat+1
		}
	}
	b, err := json.Marshal(&run)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"run.json": string(b), samplesFile: lines.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFlakyCached: an answer that an earlier run had is no evidence; in the first run that has the case it is.
func TestFlakyCached(t *testing.T) {
	dir := t.TempDir()
	writeRun(t, filepath.Join(dir, "one"), 1, map[string]string{"a": "cPcF"})
	writeRun(t, filepath.Join(dir, "two"), 2, map[string]string{"a": "cPcF"})
	writeRun(t, filepath.Join(dir, "three"), 3, map[string]string{"a": "cPPP"})
	h, err := Flaky(FlakyOptions{Runs: []string{dir}, Notice: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Series) != 1 || len(h.Series[0].Runs) != 3 || h.Series[0].Again != 3 {
		t.Fatalf("%+v", h.Series)
	}
	c := h.Series[0].Cases[0]
	if c.Passed != 3 || c.Failed != 1 || len(c.Runs) != 3 || c.Runs[1].Cached != 2 || c.Runs[1].Passed != 1 {
		t.Errorf("%+v", c)
	}
}

// TestFlakyBounded: many cases are counted, and few kept.
func TestFlakyBounded(t *testing.T) {
	dir := t.TempDir()
	cases := map[string]string{}
	for i := range 1000 {
		cases[fmt.Sprint("flaky-", i)] = "PF"
		cases[fmt.Sprint("broken-", i)] = "FF"
	}
	cases["worst"] = "PFPFPFPFPF"
	writeRun(t, dir, 1, cases)
	h, err := Flaky(FlakyOptions{Runs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	s := h.Series[0]
	if s.Flaky != 1001 || s.Broken != 1000 || len(s.Cases) != record.MaxHealth || s.More != 2001-record.MaxHealth || s.Cases[0].Case != "worst" {
		t.Errorf("%d flaky, %d broken, %d listed, %d more, first %+v", s.Flaky, s.Broken, len(s.Cases), s.More, s.Cases[0])
	}
	for _, c := range s.Cases {
		if c.Case == "" || len(c.Runs) != 1 {
			t.Errorf("%+v", c)
		}
	}
}
