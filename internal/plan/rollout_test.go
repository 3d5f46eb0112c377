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

// Betting on scores: twice the distance takes about a quarter of the requests, and scores that are nearly 0 or 1 about
// what the rate of ones takes.
func TestScoreRollout(t *testing.T) {
	r, ok := NewScoreRollout(Scores{Mean: 0.8, SD: 0.2}, []float64{0.75, 0.7}, []float64{0.5}, 100, 0.01, 1)
	if !ok || len(r.Rows) != 2 || r.Rows[0].Median == nil || r.Rows[1].Median == nil {
		t.Fatalf("%+v", r)
	}
	near(t, "twice the distance, bounds", r.Rows[0].Bound/r.Rows[1].Bound, 4, 0.4)
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Candidate != 0 || row.Found < 0.9 || *row.P90 < *row.Median {
			t.Errorf("%+v", row)
		}
		near(t, "hours", *row.MedianHours, *row.Median/100, 1e-9)
	}
	// Lower is better: the mirror image, drawn anew.
	m, ok := NewScoreRollout(Scores{Mean: 0.2, SD: 0.2}, []float64{0.3}, []float64{0.5}, 100, 0.01, 1)
	if !ok || m.Rows[0].Median == nil {
		t.Fatalf("%+v", m)
	}
	near(t, "mirrored bound", m.Rows[0].Bound, r.Rows[1].Bound, 1e-6*m.Rows[0].Bound)
	near(t, "mirrored median", *m.Rows[0].Median / *r.Rows[1].Median, 1, 0.15)
	rate, ok := NewRollout(0.2, []float64{0.3}, []float64{0.5}, 100, 0.01, 1)
	binary, ok2 := NewScoreRollout(Scores{Mean: 0.2, SD: 0.399}, []float64{0.3}, []float64{0.5}, 100, 0.01, 1)
	if !ok || !ok2 {
		t.Fatal("no plan")
	}
	near(t, "nearly binary", binary.Rows[0].Bound/rate.Rows[0].Bound, 1, 0.15) // they are so in one arm only
}

func TestScoreRolloutRefuses(t *testing.T) {
	f := func(mean, sd, candidate, split, traffic, alpha float64) {
		t.Helper()
		if r, ok := NewScoreRollout(Scores{mean, sd}, []float64{candidate}, []float64{split}, traffic, alpha, 1); ok {
			t.Errorf("%+v", r)
		}
	}
	f(0.8, 0.2, 0.7, 0.5, 0, 0.01)
	f(0.8, 0.2, 0.8, 0.5, 100, 0.01)
	f(0.8, 0.4, 0.7, 0.5, 100, 0.01)
	f(0.8, 0, 0.7, 0.5, 100, 0.01)
	f(1, 0.2, 0.7, 0.5, 100, 0.01)
	f(0.8, 0.2, 0, 0.5, 100, 0.01)
	f(0.8, 0.2, 0.7, 1, 100, 0.01)
	f(0.8, 0.2, 0.7, 0.5, 100, 1)
}
