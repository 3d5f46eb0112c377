package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func dealMean(v []float64) float64 { return v[0] / v[1] }

// answers are vectors of a value and a weight of 1.
func answers(xs ...float64) [][]float64 {
	var out [][]float64
	for _, x := range xs {
		out = append(out, []float64{x, 1})
	}
	return out
}

// Two cases of one against two answers have nine ways to be dealt.
func TestDealByHand(t *testing.T) {
	hands := []Hand{{answers(1), answers(0, 0)}, {answers(1), answers(1, 0)}}
	// Head less base, summed: −1 − ½. The first case gives −1 one time in three, else ½; the second −½ two times in three
	// (a right answer is the base's), else 1. So −1½ or less comes up in 2/9 and all else is above.
	p, ok := Deal(hands, dealMean, Draws{N: 90_000, Seed: 1})
	if !ok || math.Abs(p.Less-2.0/9) > 0.006 || p.Greater != 1 || p.Exact {
		t.Errorf("%+v, %v", p, ok)
	}
	same := []Hand{{answers(1), answers(1, 1)}, {answers(0), answers(0, 0)}}
	if p, ok := Deal(same, dealMean, Draws{N: 99}); !ok || p.Less != 1 || p.Greater != 1 || p.Two != 1 {
		t.Errorf("nothing moves: %+v, %v", p, ok)
	}
}

// An unchanged system with one answer a case in the base and five in the head is called worse at 5% in at most 5% of
// runs, where turning signs does so in a fifth of them.
func TestDealHolds(t *testing.T) {
	const runs, cases = 400, 50
	r := rand.New(rand.NewPCG(5, 6))
	dealt, signs := 0, 0
	for run := range runs {
		hands, sums := make([]Hand, cases), make([]float64, cases)
		for i := range hands {
			right := func() float64 {
				if r.Float64() < 0.98 {
					return 1
				}
				return 0
			}
			b := right()
			var h [5]float64
			for k := range h {
				h[k] = right()
				sums[i] += h[k] / 5
			}
			sums[i] -= b
			hands[i] = Hand{answers(b), answers(h[:]...)}
		}
		p, ok := Deal(hands, dealMean, Draws{N: 499, Seed: uint64(run)})
		q, ok2 := SignFlip(sums, Draws{N: 499, Seed: uint64(run)})
		if !ok || !ok2 {
			t.Fatal(run)
		}
		if p.Less <= 0.05 {
			dealt++
		}
		if q.Less <= 0.05 {
			signs++
		}
	}
	if dealt > 34 { // 5% and three standard errors of 400 runs
		t.Errorf("%d of %d runs of an unchanged system are called worse", dealt, runs)
	}
	if signs < 50 {
		t.Errorf("the case is too easy: signs call %d of %d worse", signs, runs)
	}
}

func TestDealRefuses(t *testing.T) {
	f := func(hands ...Hand) {
		t.Helper()
		if p, ok := Deal(hands, dealMean, Draws{N: 9}); ok {
			t.Errorf("%v: %+v", hands, p)
		}
	}
	f()
	f(Hand{answers(1), nil})
	f(Hand{nil, answers(1)})
	f(Hand{answers(1), answers(math.NaN())})
	f(Hand{answers(1), [][]float64{{1}}})
	f(Hand{[][]float64{{}}, [][]float64{{}}})
	f(Hand{[][]float64{{1, 0}}, answers(1)}) // 1/0
}
