package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func arms(t *testing.T, outcomes [2][]float64) (control, canary TwoSampleArm) {
	t.Helper()
	for i, a := range []*TwoSampleArm{&control, &canary} {
		for _, x := range outcomes[i] {
			if err := a.Add(x); err != nil {
				t.Fatal(err)
			}
		}
	}
	return control, canary
}

// The minimum is that of a fine grid, and never above it.
func TestTwoSampleMinimum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		var low, high TwoSampleArm
		a, b := rng.Float64()*rng.Float64(), rng.Float64()*rng.Float64()
		for range rng.IntN(400) {
			_ = low.Add(event01(rng, a))
			_ = high.Add(event01(rng, b) * rng.Float64())
		}
		for _, g := range []Gap{{}, {Add: .05}, {Times: 1.5}} {
			got, at := TwoSample(&low, &high, g)
			if there := TwoSampleAt(&low, &high, g, at); there < got || there > got+.02+.002*math.Abs(got) {
				t.Errorf("%v at %v, where it is %v", got, at, there)
			}
			grid := math.Inf(1)
			for i := range 4001 {
				m := float64(i) / 4000 * g.most()
				grid = math.Min(grid, low.logUp(m)+high.logDown(g.above(m)))
			}
			if got > grid+1e-9 || got < grid-.02-.002*math.Abs(grid) {
				t.Errorf("%d and %d outcomes, %+v: %v, the grid has %v", low.N, high.N, g, got, grid)
			}
		}
	}
}

func event01(rng *rand.Rand, p float64) float64 {
	if rng.Float64() < p {
		return 1
	}
	return 0
}

func TestTwoSampleSmall(t *testing.T) {
	f := func(low, high []float64, g Gap, least, most float64) {
		t.Helper()
		h, l := arms(t, [2][]float64{high, low})
		if got, _ := TwoSample(&l, &h, g); !(got >= least && got <= most) {
			t.Errorf("%v and %v, %+v: ln E = %v, want %v to %v", low, high, g, got, least, most)
		}
	}
	ones, none := make([]float64, 40), make([]float64, 40)
	for i := range ones {
		ones[i] = 1
	}
	f(nil, nil, Gap{}, 0, 0)
	f(ones, nil, Gap{}, math.Inf(-1), 0) // nothing to compare with
	f(nil, ones, Gap{}, math.Inf(-1), 0)
	f(ones, none, Gap{}, 4.6, 60)
	f(none, ones, Gap{}, math.Inf(-1), 0)
	f(none, none, Gap{Add: .2}, 1, 9)             // as high as the other and .2 more: not with 40 of 0
	f(none, none, Gap{Add: 1.5}, math.Inf(-1), 0) // cannot be
	f(none, none, Gap{Add: math.NaN()}, math.Inf(-1), 0)
	var a TwoSampleArm
	for _, x := range []float64{-.1, 1.1, math.NaN(), math.Inf(1)} {
		if a.Add(x) == nil || a.N != 0 {
			t.Errorf("%v was taken", x)
		}
	}
	a.Up[0] = math.NaN()
	if a.Valid() {
		t.Error("NaN is valid")
	}
}

// With equal rates the share of runs that ever reach 1/α is at most α, whatever the share of the arms, also one that follows the evidence; and
// with a difference it is found.
func TestTwoSampleVille(t *testing.T) {
	const runs, alpha, every = 200, .05, 20
	f := func(name string, horizon int, share func(i int, logE float64) float64, draw func(rng *rand.Rand, canary bool) float64, low, high float64) {
		t.Helper()
		reached := 0
		for seed := range runs {
			rng := rand.New(rand.NewPCG(uint64(seed), 6))
			var a [2]TwoSampleArm
			logE, sum := 0.0, 0.0
			for i := range horizon {
				canary := rng.Float64() < share(i, logE)
				arm := &a[0]
				if canary {
					arm = &a[1]
				}
				x := draw(rng, canary)
				sum += x
				_ = arm.Add(x)
				if i%every == 0 {
					// A bound from above tells most looks in which there is nothing to see.
					if logE = TwoSampleAt(&a[1], &a[0], Gap{}, sum/float64(i+1)); logE < -math.Log(alpha) {
						continue
					}
					if logE, _ = TwoSample(&a[1], &a[0], Gap{}); logE >= -math.Log(alpha) {
						reached++
						break
					}
				}
			}
		}
		if got := float64(reached) / runs; got < low || got > high {
			t.Errorf("%s: %v of the runs reached 1/α, want %v to %v", name, got, low, high)
		} else {
			t.Logf("%s: %v", name, got)
		}
	}
	fixed := func(w float64) func(int, float64) float64 { return func(int, float64) float64 { return w } }
	ramp := func(i int, _ float64) float64 { return []float64{.05, .25, .5}[min(i/700, 2)] }
	greedy := func(_ int, logE float64) float64 {
		if logE > 0 {
			return .9
		}
		return .1
	}
	rate := func(p, q float64) func(*rand.Rand, bool) float64 {
		return func(rng *rand.Rand, canary bool) float64 {
			if canary {
				return event01(rng, q)
			}
			return event01(rng, p)
		}
	}
	score := func(rng *rand.Rand, canary bool) float64 { return math.Min(1, .2*rng.ExpFloat64()) }
	f("2% and 2%, 1:19", 2000, fixed(.05), rate(.02, .02), 0, alpha)
	f("30% and 30%, 1:1", 2000, fixed(.5), rate(.3, .3), 0, alpha)
	f("ramp", 2000, ramp, rate(.1, .1), 0, alpha)
	f("follows the evidence", 2000, greedy, rate(.1, .1), 0, alpha)
	f("scores", 1000, fixed(.3), score, 0, alpha)
	f("better", 1000, fixed(.5), rate(.2, .1), 0, alpha/2)
	f("5% and 15%", 2000, fixed(.3), rate(.05, .15), .97, 1)
}

func BenchmarkTwoSample(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var low, high TwoSampleArm
	for range 20_000 {
		_ = low.Add(event01(rng, .02))
		_ = high.Add(event01(rng, .02))
	}
	for b.Loop() {
		TwoSample(&low, &high, Gap{})
	}
}
