package report

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/rollout"
)

var rolloutTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func signalOf(name, role, state string, n int64, baseline, candidate, low, high, e float64) rollout.SignalStatus {
	s := rollout.SignalStatus{Name: name, Role: role, State: state, Peak: math.Log(e), LogE: math.Log(e)}
	if role == config.RoleCritical {
		s.Bar = new(math.Log(300))
	}
	if n > 0 {
		s.BaselineN, s.CandidateN, s.BaselineRate, s.CandidateRate, s.Low, s.High = n, n/20, &baseline, &candidate, &low, &high
	}
	return s
}

// oneRollout has every state of a signal.
func oneRollout() RolloutRow {
	return RolloutRow{
		Name: "summer", Kind: config.KindRollout, Route: "support", Baseline: "baseline", Candidate: "new-prompt", Phase: "running", Stage: 1, Stages: []string{"shadow", "5%", "25%", "100%"},
		Weight: 0.05, Created: rolloutTime, Since: rolloutTime.Add(time.Hour), Reason: "error_rate has 12 of 500 samples", BothArms: "latency_p95", Taken: 10_412,
		Refused: map[string]int64{rollout.RefusedRetry: 3, rollout.RefusedStage: 17},
		Signals: []rollout.SignalStatus{
			signalOf("error_rate", config.RoleCritical, rollout.Open, 10_124, 0.0012, 0.0031, -0.0041, 0.0102, 2.345),
			signalOf("latency_p95", config.RoleCritical, rollout.Both, 10_124, 0.05, 1, -0.1234, 1, 1e30),
			signalOf("refusal", config.RoleSupporting, rollout.Within, 10_124, 0, 0, -0.0044, 0.0036, 1.03),
			signalOf("toxicity", config.RoleCritical, rollout.Worse, 900, 0.001, 0.25, 0.1, 0.4, 8123),
			signalOf("format", config.RoleSupporting, rollout.WorseWithin, 900, 0.001, 0.02, 0.001, 0.4, 45.6),
			signalOf("output_length", config.RoleSupporting, rollout.Learning, 0, 0, 0, 0, 0, 1),
			signalOf("cost", config.RoleObserve, rollout.NoData, 0, 0, 0, 0, 0, 1),
		},
		Targets: []RolloutTarget{{Name: "hook: webhook https://example.org/x", Current: true}, {Name: "mesh: HTTPRoute prod/chat", Error: "the API server answers 403"}},
	}
}

func someRollouts() []RolloutRow {
	rows := []RolloutRow{oneRollout(), oneRollout(), oneRollout(), oneRollout(), oneRollout(), oneRollout()}
	for i, phase := range []string{"running", "rolled_back", "done", "paused", "aborted", "running"} {
		rows[i].Name, rows[i].Phase, rows[i].Weight = fmt.Sprintf("summer-%d", i), phase, []float64{0.05, 0, 1, 0.125, 0, 0.5}[i]
	}
	rows[5].Kind, rows[5].Candidate, rows[5].Stages = config.KindExperiment, "", []string{"baseline 50%", "short 50%"}
	return rows
}

func someHistory() []rollout.Transition {
	at := func(minutes int) time.Time { return rolloutTime.Add(time.Duration(minutes) * time.Minute) }
	return []rollout.Transition{
		{At: at(0), To: rollout.Pending, By: "anna", Why: "a cheaper model", Note: "the baseline's quantiles are learnt from its first answers: the store has fewer than 1000 of the last day"},
		{At: at(0), From: rollout.Pending, To: rollout.Running, Weight: 0.05, By: rollout.Self, Why: "started"},
		{At: at(10), From: rollout.Running, To: rollout.Running, Stage: 1, Weight: 0.25, By: rollout.Self, Basis: rollout.BasisNonInferior, Why: "every critical signal is within its margin at alpha 0.05"},
		{At: at(12), From: rollout.Running, To: rollout.Running, Stage: 1, Weight: 0.25, By: rollout.Self, Why: "error_rate has become far worse in both arms, as in an outage of the provider's: nothing is rolled back and nothing promoted"},
		{At: at(13), From: rollout.Running, To: rollout.Paused, Stage: 1, Weight: 0.25, By: "ben"},
		{At: at(14), From: rollout.Paused, To: rollout.RolledBack, Stage: 1, By: rollout.Self, Why: "toxicity is worse: e-value 8123, bar 300"},
	}
}

func TestRolloutPages(t *testing.T) {
	row := oneRollout()
	for _, columns := range []int{80, 120} {
		opts := TerminalOptions{Width: columns}
		var out bytes.Buffer
		if err := Rollouts(&out, someRollouts(), opts); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
		if err := Rollout(&out, &row, opts); err != nil {
			t.Fatal(err)
		}
		out.WriteString("\n")
		if err := RolloutHistory(&out, someHistory(), opts); err != nil {
			t.Fatal(err)
		}
		fits(t, "rollouts", columns, out.String())
		golden(t, fmt.Sprintf("rollouts-%d.txt", columns), out.Bytes())
	}
}

func TestRolloutPagesWithoutAnything(t *testing.T) {
	f := func(want string, write func(*bytes.Buffer) error) {
		t.Helper()
		var out bytes.Buffer
		if err := write(&out); err != nil || out.String() != want {
			t.Errorf("%q, want %q (%v)", out.String(), want, err)
		}
	}
	f("no rollouts\n", func(b *bytes.Buffer) error { return Rollouts(b, nil, TerminalOptions{}) })
	f("", func(b *bytes.Buffer) error { return RolloutHistory(b, nil, TerminalOptions{}) })
}

// Names and reasons are of people's making: they are clipped or wrapped, and act on no terminal.
func TestRolloutPagesFit(t *testing.T) {
	long := strings.Repeat("very-long-", 9)
	row := oneRollout()
	row.Route, row.Candidate, row.Reason, row.BothArms = long+"\x1b[31m", long, long+long+"\r", long
	row.Refused[long] = 5
	for i := range row.Signals {
		row.Signals[i].Name = long
	}
	row.Targets = append(row.Targets, RolloutTarget{Name: long + "\x07", Error: long + long})
	rows := someRollouts()
	rows[0].Route, rows[1].Candidate, rows[2].Name = long, long, long[:60]
	history := someHistory()
	history[1].By, history[2].Why, history[3].Note = long, long+"\x1b"+long, long
	for _, columns := range []int{80, 120} {
		opts := TerminalOptions{Width: columns}
		var a, b, c bytes.Buffer
		if err := Rollout(&a, &row, opts); err != nil {
			t.Fatal(err)
		}
		if err := RolloutHistory(&c, history, opts); err != nil {
			t.Fatal(err)
		}
		fits(t, "rollout", columns, a.String())
		fits(t, "history", columns, c.String())
		if err := Rollouts(&b, rows[:2], opts); err != nil {
			t.Fatal(err)
		}
		fits(t, "rollouts", columns, b.String())
		// The name is what commands take: it stays whole even where the line gets too long.
		b.Reset()
		if err := Rollouts(&b, rows, opts); err != nil || !strings.Contains(b.String(), long[:60]) {
			t.Errorf("%v\n%s", err, b.String())
		}
	}
}
