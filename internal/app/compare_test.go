package app

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/compare"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/scorer"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Which way a quantity gets better must be known, or known not to matter.
func TestUnitsHaveDirections(t *testing.T) {
	neither := []string{"words"}
	for _, k := range scorer.Kinds() {
		if metric.Better(k.Name, k.Unit) == "" && !slices.Contains(neither, k.Unit) {
			t.Errorf("%s measures %q, of which package metric does not know the better direction", k.Name, k.Unit)
		}
	}
}

// What comparisons count of a sample is the same whether it is read whole or not.
func TestReadNumbers(t *testing.T) {
	dir := t.TempDir()
	x := 0.5
	s := record.Sample{Case: "a", Vars: map[string]any{"q": []any{"x", 1.0}}, Tags: []string{"t"}, Group: "g", Critical: true, Provider: "p", Prompt: "q", Output: "text",
		Input: []record.Message{{Role: "user", Content: "hi"}}, Turns: []record.Turn{{User: "u"}}, Verdict: verdict.Pass, Score: &x, Latency: &x,
		Usage: &record.Usage{Prompt: 3}, Scores: []record.Score{{Name: "s", Value: &x}}}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, samplesFile), append(b, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	for got, err := range readNumbers(dir) {
		if err != nil {
			t.Fatal(err)
		}
		if got.Output != "" || got.Input != nil || got.Turns != nil {
			t.Errorf("texts were kept: %+v", got)
		}
		got.Output, got.Input, got.Turns = s.Output, s.Input, s.Turns
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("got %s, want %s", again, b)
		}
	}
}

// The two published models of GSM8K, as docs/compare.md compares them.
func TestCompareGSM8K(t *testing.T) {
	data := os.Getenv("TELLTALE_TESTDATA")
	if data == "" {
		t.Skip("TELLTALE_TESTDATA is not set: no GSM8K solutions to compare")
	}
	out := filepath.Join(t.TempDir(), "gsm8k")
	_, err := Run(t.Context(), RunOptions{Suite: "../../examples/gsm8k/telltale.yaml", Out: out, NoCache: true, Notice: func(string) {},
		LoadOptions: LoadOptions{Env: os.LookupEnv, Vars: map[string]string{"input": filepath.Join(data, "gsm8k", "solutions_finetuning.jsonl")}},
		Planned:     func(int, int, string) {}, Progress: func(runner.Progress) {}})
	if err != nil {
		t.Fatal(err)
	}
	margin, err := config.GivenMargin(config.Pos{}, "gsm8k", "2%")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Compare(CompareOptions{Base: out, Head: out, Options: compare.Options{BaseProvider: "6b_finetuning", HeadProvider: "175b_finetuning"}, Margins: []config.Margin{margin}})
	if err != nil {
		t.Fatal(err)
	}
	var d *record.Difference
	for i := range c.Metrics {
		if c.Metrics[i].Metric == "gsm8k" {
			d = &c.Metrics[i]
		}
	}
	if d == nil || d.Pairs != 1319 || math.Round(*d.Base*1319) != 286 || math.Round(*d.Head*1319) != 458 {
		t.Fatalf("%+v", d)
	}
	if *d.Worse != 88 || *d.Improved != 260 || !(*d.P < 1e-12) || *d.PWorse < 0.999 {
		t.Errorf("%d worse, %d improved, p %v, one-sided %v", *d.Worse, *d.Improved, *d.P, *d.PWorse)
	}
	// Tango's interval of (260-88)/1319, by its score equation.
	if math.Abs(*d.Low-0.1037) > 5e-4 || math.Abs(*d.High-0.1575) > 5e-4 {
		t.Errorf("interval %v to %v", *d.Low, *d.High)
	}
	if more := *d.Unpaired / *d.Stderr; more < 1.15 {
		t.Errorf("the unpaired standard error is %v times the paired one", more)
	}
	if s := report.UnpairedSentence(d); !strings.Contains(s, "the unpaired standard error would be 27% larger") {
		t.Errorf("%q", s)
	}
	if c.Gate == nil || c.Gate.Verdict != verdict.Pass {
		t.Errorf("%+v", c.Gate)
	}
	back, err := Compare(CompareOptions{Base: out, Head: out, Options: compare.Options{BaseProvider: "175b_finetuning", HeadProvider: "6b_finetuning"}, Margins: []config.Margin{margin}})
	if err != nil {
		t.Fatal(err)
	}
	if back.Gate == nil || back.Gate.Verdict != verdict.Fail {
		t.Errorf("the other way round: %+v", back.Gate)
	}
}
