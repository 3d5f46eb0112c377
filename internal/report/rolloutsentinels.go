package report

import (
	"fmt"
	"strings"
	"time"
)

// RolloutSentinels are critical cases that are replayed against both variants of a rollout.
type RolloutSentinels struct {
	Passed int       // of the candidate's
	Alone  []string  // cases that the candidate fails and the baseline does not
	Both   []string  // cases that both fail
	Open   []string  // cases without a result
	Last   time.Time // zero when they have not been replayed yet
	Error  string
}

func (s *RolloutSentinels) text() string {
	cases := s.Passed + len(s.Alone) + len(s.Both) + len(s.Open)
	text := "sentinels: no result yet"
	if cases > 0 {
		text = fmt.Sprintf("sentinels: %d of %d pass", s.Passed, cases)
	}
	for _, o := range []struct {
		names []string
		what  string
	}{{s.Alone, "on the candidate"}, {s.Both, "on both"}} {
		if len(o.names) > 0 {
			text += fmt.Sprintf("; failed %s: %s", o.what, logLine(strings.Join(o.names, ", "), 200))
		}
	}
	if len(s.Open) > 0 {
		text += "; without a result: " + logLine(strings.Join(s.Open, ", "), 200)
	}
	if !s.Last.IsZero() {
		text += "; replayed last " + s.Last.UTC().Format(time.DateTime) + " UTC"
	}
	if s.Error != "" {
		text += ": " + logLine(s.Error, 500)
	}
	return text
}
