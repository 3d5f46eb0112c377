package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func means(ys ...float64) []Unit {
	out := make([]Unit, len(ys))
	for i, y := range ys {
		out[i] = Unit{Y: y, W: 1}
	}
	return out
}

// Ends that were found with SciPy's brentq, both for the most likely distribution and for the end itself.
func TestTiltedScoreVectors(t *testing.T) {
	f := func(units []Unit, reach, level, low, high float64) {
		t.Helper()
		i, ok := TiltedScore(units, reach, NormalQuantile(level))
		if !ok || math.Abs(i.Low-low) > 1e-8 || math.Abs(i.High-high) > 1e-8 {
			t.Errorf("%v within %v at %v: (%.10f, %.10f) %v, want (%.10f, %.10f)", units, reach, level, i.Low, i.High, ok, low, high)
		}
	}
	sparse := means(0, .1, -.2, 0, 0, .05, 0, 0, .3, 0)
	f(sparse, 0, .95, -.06519815995543903, .11911742675690208)
	f(sparse, 1, .95, -.2594711198594614, .2955944798663171)
	groups := []Unit{{3, 4}, {-1, 2}, {0, 3}, {2, 8}, {5, 6}, {-2, 3}}
	f(groups, 1, .95, -.2862449481684662, .6145264854519168)
	f(groups, 1, .90, -.1730387426276493, .5581662755367125)
	f(means(1.5, -.2, .3, 12, -.4, .8, .1, -.3), 0, .95, -2.727493828031257, 5.788918792945735)
}

func TestTiltedScoreIsTango(t *testing.T) {
	f := func(b, c, n int) {
		t.Helper()
		units := make([]Unit, n)
		for i := range units {
			units[i].W = 1
			switch {
			case i < b:
				units[i].Y = -1
			case i < b+c:
				units[i].Y = 1
			}
		}
		for _, level := range []float64{.8, .95, .999} {
			want, _ := Tango(b, c, n, level)
			if got, ok := TiltedScore(units, 1, NormalQuantile(level)); !ok || math.Abs(got.Low-want.Low) > 1e-9 || math.Abs(got.High-want.High) > 1e-9 {
				t.Errorf("%d and %d of %d at %v: %v %v, want %v", b, c, n, level, got, ok, want)
			}
		}
	}
	f(0, 0, 30)
	f(1, 0, 30)
	f(0, 3, 30)
	f(30, 0, 30)
	f(1, 1, 2)
	f(10, 10, 20)
	f(2, 5, 100)
	f(88, 260, 1319)
}

func TestTiltedScoreProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for range 200 {
		n := 2 + r.IntN(60)
		units, scaled, turned := make([]Unit, n), make([]Unit, n), make([]Unit, n)
		for i := range units {
			units[i] = Unit{r.NormFloat64(), 1 + 5*r.Float64()}
			if r.IntN(2) == 0 {
				units[i].Y = 0
			}
			scaled[i] = Unit{units[i].Y * 1e6, units[i].W * 1e3}
			turned[n-1-i] = Unit{-units[i].Y, units[i].W}
		}
		reach := 3 * r.Float64()
		i, ok := TiltedScore(units, reach, NormalQuantile(.95))
		if !ok && reach > 0 {
			t.Fatalf("no interval of %v", units)
		}
		s, _ := TiltedScore(scaled, reach*1e3, NormalQuantile(.95))
		m, _ := TiltedScore(turned, reach, NormalQuantile(.95))
		wide, _ := TiltedScore(units, reach, NormalQuantile(.99))
		far, _ := TiltedScore(units, 10, NormalQuantile(.95))
		near := func(a, b float64) bool { return math.Abs(a-b) <= 1e-8 }
		if !near(s.Low/1e3, i.Low) || !near(s.High/1e3, i.High) || !near(m.Low, -i.High) || !near(m.High, -i.Low) {
			t.Errorf("%v: %v, scaled %v, turned round %v", units, i, s, m)
		}
		if wide.Low > i.Low || wide.High < i.High || far.Low > i.Low+1e-8 || far.High < i.High-1e-8 {
			t.Errorf("%v: %v, at 99%% %v, with a reach of 10 %v", units, i, wide, far)
		}
	}
}

func TestTiltedScoreRefuses(t *testing.T) {
	f := func(units []Unit, reach, z float64) {
		t.Helper()
		if i, ok := TiltedScore(units, reach, z); ok {
			t.Errorf("%v within %v by %v standard errors: %v", units, reach, z, i)
		}
	}
	f(nil, 1, 2)
	f(means(1), 1, 2)
	f(means(0, 0, 0), 0, 2)
	f(means(0, math.NaN()), 1, 2)
	f(means(0, math.Inf(1)), 1, 2)
	f(means(math.MaxFloat64, math.MaxFloat64), 1, 2)
	f([]Unit{{1, 1}, {1, 0}}, 1, 2)
	f([]Unit{{1, 1}, {1, -1}}, 1, 2)
	f([]Unit{{1, 1}, {1, math.NaN()}}, 1, 2)
	f(means(1, 2), math.NaN(), 2)
	f(means(1, 2), -1, 2)
	f(means(1, 2), 1, 0)
	f(means(1, 2), 1, -1)
	f(means(1, 2), 1, math.Inf(1))
	f(means(1, 2), 1, math.NaN())
}

// Few cases that differ, with a rare loss: the bootstrap covers 84% of the first (a share of whose samples have next to
// no spread) and 74% of the second.
func TestTiltedScoreCovers(t *testing.T) {
	f := func(name string, truth, reach float64, n int, draw func(*rand.Rand) float64) {
		t.Helper()
		r := rand.New(rand.NewPCG(7, uint64(n)))
		const runs = 2000
		covers, bound := 0, 0
		units := means(make([]float64, n)...)
		for range runs {
			for i := range units {
				units[i].Y = draw(r)
			}
			if i, ok := TiltedScore(units, reach, NormalQuantile(.95)); ok && i.Low <= truth && truth <= i.High {
				covers++
			}
			if i, ok := TiltedScore(units, reach, NormalQuantile(.90)); ok && i.Low <= truth {
				bound++
			}
		}
		if covers < .935*runs || bound < .93*runs {
			t.Errorf("%s: the interval covers %d of %d, the bound %d", name, covers, runs, bound)
		}
	}
	f("scores, mostly 1", -.02*.75, 0, 30, func(r *rand.Rand) float64 {
		score := func() float64 {
			if r.Float64() < .1 {
				return r.Float64()
			}
			return 1
		}
		x := score() - score()
		if r.Float64() < .02 {
			x -= .75
		}
		return x
	})
	f("rates of ten repeats", -.03*.9, 1, 30, func(r *rand.Rand) float64 {
		p := math.Pow(r.Float64(), 1./9) // 0.9 on average
		head := p
		if r.Float64() < .03 {
			head = 0
		}
		x := 0.
		for range 10 {
			if r.Float64() < head {
				x += .1
			}
			if r.Float64() < p {
				x -= .1
			}
		}
		return x
	})
	f("seconds", 0, 0, 100, func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) - math.Exp(r.NormFloat64()) })
}
