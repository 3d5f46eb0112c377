package metric

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func lines(t *testing.T, f func(i int, line []byte), path ...string) {
	t.Helper()
	dir := os.Getenv("TELLTALE_TESTDATA")
	if dir == "" {
		t.Skip("TELLTALE_TESTDATA is not set")
	}
	file, err := os.Open(filepath.Join(append([]string{dir}, path...)...))
	if err != nil {
		t.Skipf("no data: %v", err)
	}
	defer file.Close()
	sc := bufio.NewScanner(file)
	sc.Buffer(nil, 1<<24)
	for i := 0; sc.Scan(); i++ {
		f(i, sc.Bytes())
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
}

// GSM8K as published: 286 and 458 of 1,319 (statistics.md, vector 22).
func TestGSM8K(t *testing.T) {
	a, err := New(Options{Snapshots: 2})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	lines(t, func(i int, line []byte) {
		var row map[string]json.RawMessage
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		n++
		for snap, key := range []string{"6b_finetuning", "175b_finetuning"} {
			var one struct {
				Correct bool `json:"is_correct"`
			}
			if err := json.Unmarshal(row[key], &one); err != nil {
				t.Fatal(err)
			}
			v := verdict.Fail
			if one.Correct {
				v = verdict.Pass
			}
			if err := a.Add(Observation{Sample: sample(fmt.Sprint(i), v), Snapshot: snap}); err != nil {
				t.Fatal(err)
			}
		}
	}, "gsm8k", "solutions_finetuning.jsonl")
	r, err := a.Finish(Plan{Samples: []int{n, n}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{286, 458} {
		m := r.Snapshots[i][record.MetricPassRate]
		if m.N != 1319 || *m.Count != want {
			t.Errorf("snapshot %d: %v of %d, want %v of 1319", i, *m.Count, m.N, want)
		}
	}
	m := r.Metrics[record.MetricPassRate]
	t.Logf("both: %.4f ± %.4f, %.4f–%.4f, effective %.0f of %d", *m.Mean, *m.Stderr, *m.Low, *m.High, *m.Effective, m.N)
	if *m.Effective >= float64(m.N) {
		t.Error("two models on the same question are not independent, and the interval says they are")
	}
}

// The reference verdicts of a model on IFEval: the rate and the ratio equal plain counting.
func TestIFEvalReference(t *testing.T) {
	var in []*record.Sample
	prompts, instructions, followed := 0, 0, 0
	lines(t, func(i int, line []byte) {
		var row struct {
			All  bool   `json:"follow_all_instructions"`
			Each []bool `json:"follow_instruction_list"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		all, n := 0.0, 0
		for _, ok := range row.Each {
			if ok {
				n++
			}
		}
		if row.All {
			all = 1
			prompts++
		}
		instructions += len(row.Each)
		followed += n
		in = append(in, measured(fmt.Sprint(i),
			record.Measure{Metric: "ifeval.prompt_strict", Value: all, Kind: "rate"},
			record.Measure{Metric: "ifeval.instruction_strict", Value: float64(n), Weight: float64(len(row.Each)), Kind: "ratio"}))
	}, "ifeval", "gpt-4o-mini-2024-07-18__strict.jsonl")
	r := collect(t, Options{}, Plan{}, in...)
	p, q := r.Metrics["ifeval.prompt_strict"], r.Metrics["ifeval.instruction_strict"]
	t.Logf("prompt %.4f ± %.4f (%.4f–%.4f), instruction %.4f ± %.4f (%.4f–%.4f)",
		*p.Mean, *p.Stderr, *p.Low, *p.High, *q.Mean, *q.Stderr, *q.Low, *q.High)
	if p.N != len(in) || *p.Count != float64(prompts) || q.N != instructions || *q.Count != float64(followed) {
		t.Errorf("%v of %d, %v of %d", *p.Count, p.N, *q.Count, q.N)
	}
}
