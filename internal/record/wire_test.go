package record

import (
	"math"
	"testing"
)

func TestLogprobMeter(t *testing.T) {
	var m LogprobMeter
	if m.Summary() != nil {
		t.Error("nothing has a summary")
	}
	m.Add(math.NaN(), nil)
	m.Add(math.Inf(-1), nil)
	if m.Summary() != nil {
		t.Error("what is no log-probability counts")
	}
	m.Add(-.5, []float64{math.Log(.5), math.Log(.25)})
	m.Add(-9999, nil)
	m.Add(0, []float64{0})
	s := m.Summary()
	// The first token: ½ and ¼ listed, ¼ left over; the third is certain.
	entropy := (.5*math.Log(2) + .5*math.Log(4)) / 2
	if s.Tokens != 3 || s.Min != -9999 || math.Abs(s.Mean+9999.5/3) > 1e-9 || math.Abs(*s.Entropy-entropy) > 1e-12 || math.Abs(*s.Top1-.75) > 1e-12 {
		t.Errorf("got %+v, entropy %v, top1 %v", s, *s.Entropy, *s.Top1)
	}
	total := 0
	for _, n := range s.Histogram {
		total += n
	}
	if len(s.Histogram) != len(LogprobBounds)+1 || total != 3 || s.Histogram[0] != 1 || s.Histogram[len(LogprobBounds)] != 1 {
		t.Errorf("got %v", s.Histogram)
	}
}

func TestFinishClass(t *testing.T) {
	f := func(reason, want string) {
		t.Helper()
		if got := FinishClass(reason); got != want {
			t.Errorf("%q is %q, want %q", reason, got, want)
		}
	}
	f("", "")
	f("stop", "stop")
	f("end_turn", "stop")
	f("completed", "stop")
	f("max_tokens", "length")
	f("max_output_tokens", "length")
	f("tool_use", "tool_calls")
	f("content_filter", "content_filter")
	f("refusal", "refusal")
	f("pause_turn", "pause")
	f("whatever", "other")
}
