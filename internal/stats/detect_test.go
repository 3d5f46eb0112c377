package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestDetectRate(t *testing.T) {
	c := RateChange{Baseline: .2, Candidate: .4, Split: .5, Alpha: .05, Seed: 1}
	d, isOK := DetectRate(c)
	if !isOK || d.Procedure != UsesLikelihood || d.Runs < leastRuns || d.Found != 1 {
		t.Fatalf("%+v", d)
	}
	if d.Mean < .9*d.Bound || d.Mean > 2*d.Bound || d.Median > d.P90 {
		t.Errorf("%+v", d)
	}
	if again, _ := DetectRate(c); again != d {
		t.Errorf("%+v, then %+v", d, again)
	}
	// One that would take too long to simulate has its bound.
	d, isOK = DetectRate(RateChange{Baseline: .2, Candidate: .2001, Split: .5, Alpha: .05})
	if !isOK || d.Runs != 0 || !math.IsNaN(d.Median) || !Finite(d.Bound) {
		t.Errorf("%+v", d)
	}
	for _, bad := range []RateChange{
		{0, .1, .5, .05, 1}, {.1, .1, .5, .05, 1}, {.2, .1, .5, .05, 1}, {.1, 1, .5, .05, 1}, {.1, .2, 0, .05, 1}, {.1, .2, 1, .05, 1},
		{.1, .2, .5, 0, 1}, {.1, .2, .5, 1, 1}, {math.NaN(), .2, .5, .05, 1}, {.1, math.NaN(), .5, .05, 1}, {.1, .2, math.NaN(), .05, 1}, {.1, .2, .5, math.NaN(), 1},
	} {
		if d, isOK := DetectRate(bad); isOK {
			t.Errorf("%+v gave %+v", bad, d)
		}
	}
}

func TestDetectScore(t *testing.T) {
	c := ScoreChange{Baseline: .8, Candidate: .6, SD: .2, Split: .5, Alpha: .05, Seed: 1}
	d, isOK := DetectScore(c)
	if !isOK || d.Procedure != UsesScores || d.Runs < leastRuns || d.Found != 1 {
		t.Fatalf("%+v", d)
	}
	if d.Mean < .9*d.Bound || d.Mean > 2*d.Bound || d.Median > d.P90 {
		t.Errorf("%+v", d)
	}
	// The mirror image, where lower is better.
	m, isOK := DetectScore(ScoreChange{Baseline: .2, Candidate: .4, SD: .2, Split: .5, Better: LowerIsBetter, Alpha: .05, Seed: 1})
	if !isOK || math.Abs(m.Bound/d.Bound-1) > 1e-6 || math.Abs(m.Mean/d.Mean-1) > .2 {
		t.Errorf("%+v, mirrored %+v", d, m)
	}
	for _, bad := range []ScoreChange{
		{.8, .9, .2, .5, HigherIsBetter, .05, 1}, {.8, .7, .2, .5, LowerIsBetter, .05, 1}, {.8, .8, .2, .5, HigherIsBetter, .05, 1},
		{.8, .7, .6, .5, HigherIsBetter, .05, 1}, {.8, .7, 0, .5, HigherIsBetter, .05, 1}, {.8, .7, .2, 1, HigherIsBetter, .05, 1},
		{.8, .7, .2, .5, 2, .05, 1}, {.8, .7, .2, .5, HigherIsBetter, math.NaN(), 1}, {math.NaN(), .7, .2, .5, HigherIsBetter, .05, 1}, {.8, .7, math.NaN(), .5, HigherIsBetter, .05, 1},
	} {
		if d, isOK := DetectScore(bad); isOK {
			t.Errorf("%+v gave %+v", bad, d)
		}
	}
}

// What is mostly not found is said not to be, and is not simulated for long.
func TestDetectionOfWhatIsNotFound(t *testing.T) {
	f := func(every, wantRuns int, median float64, found float64) {
		t.Helper()
		var d Detection
		n := 0
		d.repeat(1000, rand.New(rand.NewPCG(1, 1)), func(*rand.Rand) float64 {
			n++
			if every > 0 && n%every == 0 {
				return 7
			}
			return math.Inf(1)
		})
		if d.Runs != wantRuns || d.Median != median || math.Abs(d.Found-found) > 1e-12 || math.IsInf(d.Mean, 1) != (found < 1) {
			t.Errorf("every %d: %+v", every, d)
		}
	}
	f(0, firstRuns, math.Inf(1), 0)
	f(10, leastRuns, math.Inf(1), .1)
	f(2, 1000, 7, .5)
	f(1, 1000, 7, 1)
}
