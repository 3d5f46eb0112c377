package app

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/plan"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
)

func planFor(t *testing.T, suite string, o PlanOptions) *plan.Suite {
	t.Helper()
	path := filepath.Join(t.TempDir(), "suite.yaml")
	if err := os.WriteFile(path, []byte(suite), 0o600); err != nil {
		t.Fatal(err)
	}
	o.RunOptions = RunOptions{Suite: path, NoCache: true, Notice: func(string) {}, LoadOptions: LoadOptions{Env: func(string) (string, bool) { return "", false }}}
	o.Assumed, o.Completion, o.Latency = plan.DefaultAssumed, 100, 2
	p, err := Plan(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What is supposed counts turns, limits of answers, delays, and cases as they are asked.
func TestPlanSupposes(t *testing.T) {
	f := func(suite string, want plan.Spend) {
		t.Helper()
		p := planFor(t, "evaluateOptions: {maxConcurrency: 2}\nprompts: ['{{q}}']\n"+suite, PlanOptions{})
		got := p.Own().Spend
		if got.Samples != want.Samples || got.Prompt != want.Prompt || got.Completion != want.Completion || math.Abs(60*got.Minutes-60*want.Minutes) > 1e-9 {
			t.Errorf("%s\ngot %+v, want %+v", suite, got, want)
		}
	}
	const two = "\ntests: [{vars: {q: [aaaa, bbbbbbbb]}}]"
	f("providers: [echo]"+two, plan.Spend{Samples: 2, Prompt: 3, Completion: 200, Minutes: 2.0 / 60})
	f("providers: [echo]\nsamples: 3"+two, plan.Spend{Samples: 6, Prompt: 9, Completion: 600, Minutes: 6.0 / 60})
	f("providers: [{id: sim, config: {max_tokens: 7}}]"+two, plan.Spend{Samples: 2, Prompt: 3, Completion: 14, Minutes: 2.0 / 60})
	f("providers: [{id: echo, delay: 5000}]"+two, plan.Spend{Samples: 2, Prompt: 3, Completion: 200, Minutes: 10.0 / 60})
	// The second request sends the first turn, its answer and the prompt: 1 + (1 + 100 + 1) tokens.
	f("providers: [echo]\ntests: [{vars: {q: aaaa}, turns: [{user: tttt}]}, {vars: {q: bbbb}, turns: [{user: tttt}]}]", plan.Spend{Samples: 2, Prompt: 206, Completion: 400, Minutes: 4.0 / 60})
	f("providers: [echo, {id: echo, label: b}]\ntests: [{vars: {q: [aaaa, bbbb]}}, {vars: {q: cccc}, providers: [b], options: {repeat: 5}}]", plan.Spend{Samples: 9, Prompt: 9, Completion: 900, Minutes: 9.0 / 60})
}

// usageRun is a run of two snapshots, of which the second has an answer that failed without using anything.
func usageRun(t *testing.T, edit func(*record.Run, []record.Sample)) string {
	t.Helper()
	run := &record.Run{ID: "u", Repeats: 1, Suite: record.SuiteRef{Path: "s.yaml"}, Metrics: map[string]record.Metric{}, Scorers: map[string]string{},
		Summary: record.Summary{Planned: 6, Finished: 6, Unpriced: 1, JudgeCalls: 6, JudgeCost: 0.6, JudgeTokens: record.Usage{Total: 60}}}
	var list []record.Sample
	for i := range 3 {
		for k, label := range []string{"echo", "b"} {
			s := record.Sample{Case: fmt.Sprint("c", i), Provider: label, Prompt: "{{q}}", Scores: []record.Score{}, Usage: &record.Usage{Prompt: 10 * (k + 1), Completion: 5, Total: 15}, Cost: new(0.01 * float64(k+1)), Latency: new(1 + float64(k))}
			if i == 2 && k == 1 {
				s.Error, s.Usage, s.Cost, s.Latency = "timeout", nil, nil, nil
			}
			s.Score = new(float64(i % 2))
			list = append(list, s)
		}
	}
	for _, label := range []string{"echo", "b"} {
		snap := record.Snapshot{Provider: label, Prompt: "{{q}}"}
		snap.Identify()
		run.Snapshots = append(run.Snapshots, snap)
	}
	edit(run, list)
	return storedRun(t, run, list)
}

// storedRun writes the directory of a run.
func storedRun(t *testing.T, run *record.Run, samples []record.Sample) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, values ...any) {
		var b strings.Builder
		for _, v := range values {
			line, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(report.JSONFile, run)
	var lines []any
	for i := range samples {
		lines = append(lines, &samples[i])
	}
	put(samplesFile, lines...)
	return dir
}

func TestPlanMeasures(t *testing.T) {
	f := func(edit func(*record.Run, []record.Sample), cost *float64, seconds float64, note string) {
		t.Helper()
		p := planFor(t, "evaluateOptions: {maxConcurrency: 2}\nprompts: ['{{q}}']\nproviders: [echo, {id: echo, label: b}]\ntests: [{vars: {q: [a, b, c, d]}}]", PlanOptions{From: []string{usageRun(t, edit)}, Metric: "score"})
		got := p.Own().Spend
		if got.Samples != 8 || got.Prompt != 4*10+4*20 || got.Completion != 40 || got.Judging != 80 || math.Abs(60*got.Minutes-seconds) > 1e-9 {
			t.Errorf("%+v, want %g seconds", got, seconds)
		}
		if (cost == nil) != (got.Cost == nil) || cost != nil && math.Abs(*got.Cost-*cost) > 1e-9 {
			t.Errorf("cost %v, want %v", got.Cost, cost)
		}
		if text := strings.Join(p.Notes, "\n") + p.Usage; !strings.Contains(text, note) {
			t.Errorf("want %q in %s", note, text)
		}
	}
	same := func(*record.Run, []record.Sample) {}
	// 4 × (1 + 2) s for answers, and a judgement each as long as the mean answer of 7/5 s.
	f(same, new(4*0.01+4*0.02+8*0.1), (12+8*1.4)/2, "a judgement takes as long as an answer")
	// With the time that the run took, 10 s for each of 6 samples and 3 workers, less the answer.
	f(func(r *record.Run, _ []record.Sample) { r.Times = record.Times{Seconds: 20, Concurrency: 3} }, new(4*0.01+4*0.02+8*0.1), (12+8*(10-1.4))/2, "measured on")
	f(func(r *record.Run, _ []record.Sample) { r.Summary.JudgeUnpriced = 1 }, nil, (12+8*1.4)/2, "price of a model is not known")
	f(func(_ *record.Run, list []record.Sample) { list[0].Cost = nil }, nil, (12+8*1.4)/2, "price of a model is not known")
	f(func(r *record.Run, _ []record.Sample) { r.Summary.Cached = 2 }, new(4*0.01+4*0.02+8*0.1), (12+8*1.4)/2, "2 of the 6 answers")
}
