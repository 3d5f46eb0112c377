package report

import (
	"bytes"
	"testing"

	"github.com/telltale-llm/telltale/internal/plan"
)

// What was found, what was not waited for and what could not be simulated, in requests from seven to billions and in times
// from seconds to years.
func TestRolloutPlan(t *testing.T) {
	r := &plan.Rollout{Baseline: 0.01, Traffic: 17.5, Alpha: 0.01, Rows: []plan.RolloutRow{
		{Split: 0.5, Candidate: 0.999, Procedure: "full likelihood", Runs: 2000, Found: 1, Bound: 7, BoundHours: 0.4, MeanRequests: new(18.2), LeastMean: 18.2,
			Median: new(18.), P90: new(24.), Horizon: 56},
		{Split: 0.05, Candidate: 0.03, Procedure: "conditional", Runs: 2000, Found: 1, Bound: 7560, BoundHours: 432, MeanRequests: new(9626.), LeastMean: 9626,
			Median: new(8430.), P90: new(18727.), Horizon: 60480},
		{Split: 0.05, Candidate: 0.0125, Procedure: "conditional", Runs: 200, Found: 0.85, Bound: 350_000, BoundHours: 20_000, LeastMean: 912_345,
			Median: new(777_777.), Horizon: 2.8e6},
		{Split: 0.001, Candidate: 0.011, Procedure: "conditional", Runs: 100, Found: 0.27, Bound: 1_985_154, BoundHours: 113_437, LeastMean: 12_697_041, Horizon: 15_881_232},
		{Split: 0.01, Candidate: 0.010001, Procedure: "conditional", Bound: 364_747_498_765, BoundHours: 2.1e10, Horizon: 2.9e12},
	}}
	var out bytes.Buffer
	if err := RolloutPlan(&out, r, TerminalOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	fits(t, "rollout plan", 80, out.String())
	golden(t, "rollout-plan-80.txt", out.Bytes())
}
