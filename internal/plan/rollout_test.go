package plan

import "testing"

// The figures that statistics.md's reference program gives for 1% to 3% at α = 0.01: a bound of 1,727 requests at an even
// split and 7,560 at 1:19, and medians of 1,748 and 8,355 for the conditional mixture.
func TestRollout(t *testing.T) {
	r, ok := NewRollout(0.01, []float64{0.03}, []float64{0.5, 0.05}, 1000, 0.01, 1)
	if !ok || len(r.Rows) != 2 {
		t.Fatalf("%+v", r)
	}
	even, uneven := r.Rows[0], r.Rows[1]
	near(t, "bound, even", even.Bound, 1727, 2)
	near(t, "bound, 1:19", uneven.Bound, 7560, 5)
	if even.Median == nil || uneven.Median == nil || even.MedianHours == nil {
		t.Fatalf("%+v", r.Rows)
	}
	near(t, "median, even", *even.Median, 1748, 250)
	near(t, "median, 1:19", *uneven.Median, 8355, 1500)
	near(t, "hours", *even.MedianHours, *even.Median/1000, 1e-9)
}

func TestRolloutRefuses(t *testing.T) {
	f := func(baseline, candidate, split, traffic, alpha float64) {
		t.Helper()
		if r, ok := NewRollout(baseline, []float64{candidate}, []float64{split}, traffic, alpha, 1); ok {
			t.Errorf("%+v", r)
		}
	}
	f(0.01, 0.03, 0.5, 0, 0.01)
	f(0.01, 0.005, 0.5, 100, 0.01)
	f(0, 0.03, 0.5, 100, 0.01)
	f(0.01, 0.03, 0, 100, 0.01)
	f(0.01, 0.03, 0.5, 100, 0)
	if _, ok := NewRollout(0.01, nil, []float64{0.5}, 100, 0.01, 1); ok {
		t.Error("no rate was asked about")
	}
}
