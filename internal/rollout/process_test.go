package rollout

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/telltale-llm/telltale/internal/stats"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// rareTest counts events alone.
func rareTest() rateTest {
	r := newRateTest(0)
	r.Rare = true
	r.estimate()
	return r
}

// The vector 19 of docs/statistics.md: without a reserve the test is the conditional e-process.
func TestRateVector(t *testing.T) {
	r := rareTest()
	for _, arm := range []stats.Arm{stats.Canary, stats.Canary, stats.Control, stats.Canary} {
		r.bet(arm, 0.05, 1)
	}
	near(t, "mixture", math.Exp(r.logE()), 115.273275, 1e-6)
	near(t, "a single ratio", math.Pow(3/1.1, 3)/1.1, 18.441363, 1e-6)
}

// Each process is the one of package stats, on the same numbers.
func TestProcessesAreThoseOfStats(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	rate, full, score := rareTest(), newRateTest(0), newScoreTest(0)
	full.Full, full.Level = true, -14
	conditional, err := stats.NewConditional(stats.ConditionalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	margin := newMarginTest(0.5, true)
	null, err := stats.NewConditional(stats.ConditionalOptions{Null: 1.5, Ratios: below(0.5)})
	if err != nil {
		t.Fatal(err)
	}
	q := 1 / (1 + math.Exp(1.4))
	likelihood := 0.0
	p := newPool()
	for i := range 3000 {
		pi := []float64{0.05, 0.25, 0.5}[i/1000]
		arm := stats.Control
		if rng.Float64() < pi {
			arm = stats.Canary
		}
		y := 0
		if rng.Float64() < 0.02*(1+2*float64(arm)) {
			y = 1
		}
		rate.bet(arm, pi, y)
		full.bet(arm, pi, y)
		margin.bet(&p, arm, pi, float64(y))
		score.bet(&p, arm, pi, float64(y))
		p.add(float64(y))
		if err := conditional.Update(arm, pi, float64(y)); err != nil {
			t.Fatal(err)
		}
		if err := null.Update(arm, pi, float64(y)); err != nil {
			t.Fatal(err)
		}
		_ = likelihood
	}
	near(t, "conditional", rate.logE(), conditional.LogE(), 1e-9)
	near(t, "its peak", rate.Peak, conditional.PeakLogE(), 1e-9)
	near(t, "margin", margin.logE(), null.LogE(), 1e-9)
	_ = q
}

