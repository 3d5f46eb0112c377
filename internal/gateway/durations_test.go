package gateway

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	var d durations
	for _, took := range []time.Duration{0, 10 * time.Millisecond, 11 * time.Millisecond, time.Second, 81920 * time.Millisecond, time.Hour} {
		d.observe(took)
	}
	got := d.snapshot()
	if got.Count != 6 || got.Sum != 81931*time.Millisecond+10*time.Millisecond+time.Second+time.Hour {
		t.Errorf("count %d, sum %v", got.Count, got.Sum)
	}
	for bound, n := range map[float64]uint64{.01: 2, .02: 3, .64: 3, 1.28: 4, 40.96: 4, 81.92: 5} {
		if got.Within[bound] != n {
			t.Errorf("within %v s: %d, want %d", bound, got.Within[bound], n)
		}
	}
	if len(got.Within) != len(durationBounds) {
		t.Errorf("%d bounds", len(got.Within))
	}
}

func BenchmarkDurations(b *testing.B) {
	var d durations
	b.ReportAllocs()
	for b.Loop() {
		d.observe(300 * time.Millisecond)
	}
}
