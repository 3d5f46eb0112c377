package metric

import (
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// What judging took is summed beside what the answers took, errors and parts of composites included, and
// the share of invalid verdicts is a metric that counts the errors too.
func TestJudging(t *testing.T) {
	one, yes := 1.0, true
	judged := func(id string, s record.Score) *record.Sample {
		x := sample(id, verdict.Pass)
		x.Cost, x.Usage = new(0.5), &record.Usage{Total: 100}
		s.Name, s.Type = "rubric", "llm-rubric"
		x.Scores = []record.Score{s}
		return x
	}
	good := judged("a", record.Score{Value: &one, Pass: &yes, Cost: new(0.01), Usage: &record.Usage{Prompt: 8, Completion: 2, Total: 10}, Judge: &record.Judging{Calls: 1}})
	bad := judged("b", record.Score{Error: "no verdict", Cost: new(0.03), Usage: &record.Usage{Total: 30}, Judge: &record.Judging{Calls: 3, Invalid: 3, Unpriced: 1}})
	bad.Verdict = verdict.Error
	part := record.Score{Name: "rubric", Type: "llm-rubric", Value: &one, Pass: &yes, Cost: new(0.02), Usage: &record.Usage{Total: 20}, Judge: &record.Judging{Calls: 2, Invalid: 1}}
	set := sample("c", verdict.Pass)
	set.Scores = []record.Score{{Name: "set", Type: "assert-set", Value: &one, Pass: &yes, Cost: part.Cost, Usage: part.Usage, Scores: []record.Score{part}}}
	r := collect(t, Options{Snapshots: 1, Signatures: map[string][]string{"rubric": {"sig"}}}, Plan{Samples: []int{3}}, good, bad, set)
	s := r.Summary
	if s.Cost != 1 || s.Tokens.Total != 200 {
		t.Errorf("the answers took %v, %+v", s.Cost, s.Tokens)
	}
	near(t, "judge cost", &s.JudgeCost, 0.06)
	if s.JudgeCalls != 6 || s.JudgeInvalid != 4 || s.JudgeUnpriced != 1 || s.JudgeTokens != (record.Usage{Prompt: 8, Completion: 2, Total: 60}) {
		t.Errorf("judging took %+v", s)
	}
	m := r.Metrics["rubric.invalid"]
	near(t, "invalid", m.Mean, 4.0/6)
	if m.N != 6 || m.Missing != 0 || m.Signature != "sig" {
		t.Errorf("%+v", m)
	}
	if m := r.Metrics["rubric"]; m.N != 2 || m.Missing != 1 {
		t.Errorf("%+v", m)
	}
}
