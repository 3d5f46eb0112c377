package rollout

import (
	"encoding/json"
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

// rare is the test of a rare event, as units have it.
func rare(cash float64) rateTest {
	t := newRateTest(cash)
	t.Rare = true
	t.estimate()
	return t
}

// The vector 19 of docs/statistics.md: without a reserve the test is the conditional e-process.
func TestRateVector(t *testing.T) {
	r := rare(0)
	for _, arm := range []stats.Arm{stats.Canary, stats.Canary, stats.Control, stats.Canary} {
		r.bet(arm, 0.05, 1)
	}
	near(t, "mixture", math.Exp(r.logE()), 115.273275, 1e-6)
	near(t, "peak", math.Exp(r.Peak), 115.273275, 1e-6)
	r = rare(reserve)
	for _, arm := range []stats.Arm{stats.Canary, stats.Canary, stats.Control, stats.Canary} {
		r.bet(arm, 0.05, 1)
	}
	near(t, "mixture with a reserve", math.Exp(r.logE()), (1-reserve)*115.273275+reserve, 1e-6)
}

// Each process is the one of package stats, or its formula written out, on the same numbers.
func TestProcessesAreThoseOfStats(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	rate, full, score := rare(0), newRateTest(0), newScoreTest(0)
	full.Level = -14
	conditional, err := stats.NewConditional(stats.ConditionalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	margin := newMarginTest(0.5, true)
	null, err := stats.NewConditional(stats.ConditionalOptions{Null: 1.5, Ratios: below(0.5)})
	if err != nil {
		t.Fatal(err)
	}
	const q = 0.19781611144141825 // of log-odds −1.4
	likelihood, betting := make([]float64, len(ratios)), make([]float64, len(effects))
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
		for g, r := range ratios {
			odds := r * q / (1 - q)
			chance := [2]float64{q, odds / (1 + odds)}
			if y == 0 {
				chance = [2]float64{1 - chance[0], 1 - chance[1]}
			}
			likelihood[g] += math.Log(chance[arm] / (pi*chance[1] + (1-pi)*chance[0]))
		}
		for g, d := range effects {
			lambda := min(pi*(1-pi)*d/math.Sqrt(p.V), 0.9*min(pi/p.C, (1-pi)/(1-p.C)))
			betting[g] += math.Log1p(lambda * (float64(arm)/pi - (1-float64(arm))/(1-pi)) * (float64(y) - p.C))
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
	}
	mean := func(logs []float64) float64 {
		sum := 0.0
		for _, l := range logs {
			sum += math.Exp(l)
		}
		return math.Log(sum / float64(len(logs)))
	}
	near(t, "conditional", rate.logE(), conditional.LogE(), 1e-9)
	near(t, "its peak", rate.Peak, conditional.PeakLogE(), 1e-9)
	near(t, "margin", margin.logE(), null.LogE(), 1e-9)
	near(t, "full likelihood", full.logE(), mean(likelihood), 1e-9)
	near(t, "betting", score.logE(), mean(betting), 1e-9)
}

// Capital that grows or shrinks beyond what a float64 holds is kept.
func TestWealthIsScaled(t *testing.T) {
	f := func(arm stats.Arm, n int) {
		t.Helper()
		r := rare(0)
		want, err := stats.NewConditional(stats.ConditionalOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			r.bet(arm, 0.5, 1)
			if err := want.Update(arm, 0.5, 1); err != nil {
				t.Fatal(err)
			}
		}
		near(t, "ln E", r.log(r.sum()), want.LogE(), 1e-6)
		near(t, "its peak", r.Peak, want.PeakLogE(), 1e-6)
		b, err := json.Marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		var again rateTest
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		near(t, "ln E that was read", again.log(again.sum()), want.LogE(), 1e-6)
	}
	f(stats.Canary, 5000)
	f(stats.Control, 5000)
	r := rare(reserve)
	for range 5000 {
		r.bet(stats.Control, 0.5, 1)
	}
	near(t, "what is left is the reserve", r.logE(), math.Log(reserve), 1e-9)
	r.stake()
	near(t, "also after a stake", r.logE(), math.Log(reserve), 1e-9)
	for range 40 {
		r.bet(stats.Canary, 0.5, 1)
	}
	if r.Peak < 15 {
		t.Errorf("the stake does not grow: %v", r.Peak)
	}
}

// The threshold that is learnt is the least of the outcomes beyond the quantile.
func TestLearntQuantile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	f := func(p float64, n int) {
		t.Helper()
		var q frozen
		var seen []float64
		for !q.Ready {
			x := float64(rng.IntN(100_000))
			seen = append(seen, x)
			q.learn(x, p)
		}
		beyond := 0
		for _, x := range seen {
			if x > q.Threshold {
				beyond++
			}
		}
		if len(seen) != n || beyond != learnBeyond || q.Ends != nil {
			t.Errorf("%v: %d outcomes, %d of them beyond", p, len(seen), beyond)
		}
	}
	f(0.95, 200)
	f(0.99, 1000)
	var same frozen
	for range 200 {
		same.learn(3, 0.95)
	}
	if !same.Ready || same.Threshold != 3 {
		t.Errorf("%+v", same)
	}
}
