package report

import (
	"testing"
	"time"
)

func TestRolloutSentinels(t *testing.T) {
	f := func(s RolloutSentinels, want string) {
		t.Helper()
		if got := s.text(); got != want {
			t.Errorf("%s\n%s", got, want)
		}
	}
	f(RolloutSentinels{}, "sentinels: no result yet")
	f(RolloutSentinels{Last: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Error: "no answer"}, "sentinels: no result yet; replayed last 2026-03-01 12:00:00 UTC: no answer")
	f(RolloutSentinels{Passed: 2, Alone: []string{"refund", "tone"}, Both: []string{"old"}, Open: []string{"x"}}, "sentinels: 2 of 6 pass; failed on the candidate: refund, tone; failed on both: old; without a result: x")
}
