package report

import (
	"strings"
	"testing"
)

// A rollout of another router's says so, and that its guarantee is weaker.
func TestRolloutOfAnotherRouter(t *testing.T) {
	row := RolloutRow{Name: "v2", Kind: "rollout", Route: "shop", Baseline: "v1", Candidate: "v2", Phase: "running", Stages: []string{"open"}, Outside: true, Guarantee: "weaker"}
	var one, list strings.Builder
	if err := Rollout(&one, &row, TerminalOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Rollouts(&list, []RolloutRow{row}, TerminalOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(one.String(), "The guarantee is weaker") || !strings.Contains(one.String(), "[open]") || !strings.Contains(list.String(), "open") || strings.Contains(list.String(), "0%") {
		t.Errorf("%s\n%s", one.String(), list.String())
	}
}
