package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/telltale-llm/telltale/internal/stats"
)

// f1 of true positives, false positives and false negatives.
func f1(v []float64) float64 { return 2 * v[0] / (2*v[0] + v[1] + v[2]) }

// precision is the geometric mean of two precisions, as in BLEU: of matched and all words, matched and all pairs.
func precision(v []float64) float64 { return 100 * math.Sqrt(v[0]/v[1]*v[2]/v[3]) }

func ratioOf(v []float64) float64 { return v[0] / v[1] }

// A system of the simulation: what an answer to a case of a given length and difficulty adds to the sums.
type system func(rng *rand.Rand, length, hard float64) []float64

func words(rng *rand.Rand, n, p float64) float64 {
	k := 0.0
	for range int(n) {
		if rng.Float64() < p {
			k++
		}
	}
	return k
}

// simulated draws a suite and the answers of two versions to it; groups of four cases are alike.
func simulated(rng *rand.Rand, cases, repeats int, answer system, visit func(side, id, group int, v []float64)) {
	var length, hard float64
	for id := range cases {
		if id%4 == 0 {
			hard = rng.Float64()
		}
		length = 5 + math.Floor(20*rng.Float64()*rng.Float64())
		own := 0.5*hard + 0.5*rng.Float64()
		for side := range 2 {
			for range repeats {
				visit(side, id, id/4, answer(rng, length, own))
			}
		}
	}
}

// The standard error that a plan predicts, from a pilot with other numbers of cases and repeats, is the one that suites
// of that size turn out to have, to within a few percent.
func TestPredictedErrorOfRatiosAndCorpusMetrics(t *testing.T) {
	const pilotCases, pilotRepeats, cases, repeats, suites = 8000, 3, 400, 2, 2000
	f := func(name string, number func([]float64) float64, ratio bool, answer system) {
		t.Helper()
		rng := rand.New(rand.NewPCG(11, 12))
		var parts [2]Linear
		answers := 0
		simulated(rng, pilotCases, pilotRepeats, answer, func(side, id, group int, v []float64) {
			answers++
			if err := parts[side].Add(answers, fmt.Sprint(id), fmt.Sprint(group), v...); err != nil {
				t.Fatal(err)
			}
		})
		var p Pilot
		for side := range parts {
			var ok bool
			if ratio {
				ok = parts[side].Ratio(&p, side)
			} else {
				ok = parts[side].Corpus(&p, side, number)
			}
			if !ok {
				t.Fatalf("%s: no pseudo-values", name)
			}
		}
		v, ok := p.Variance(DefaultAssumed)
		if !ok || !v.Measured || v.Binary || !(v.Within > 0) {
			t.Fatalf("%s: %+v", name, v)
		}
		predicted := math.Sqrt(v.Of(repeats) / cases)
		var sum, squares float64
		for range suites {
			var total [2][]float64
			simulated(rng, cases, repeats, answer, func(side, _, _ int, v []float64) {
				if total[side] == nil {
					total[side] = make([]float64, len(v))
				}
				for k, x := range v {
					total[side][k] += x
				}
			})
			d := number(total[1]) - number(total[0])
			sum, squares = sum+d, squares+d*d
		}
		realised := math.Sqrt((squares - sum*sum/suites) / (suites - 1))
		// The pilot's own error is about 1/√(2·2000 groups), that of the simulation 1/√4000.
		if off := predicted/realised - 1; math.Abs(off) > 0.06 {
			t.Errorf("%s: predicted %.5g, realised %.5g, off by %.1f%%", name, predicted, realised, 100*off)
		} else {
			t.Logf("%s: predicted %.5g, realised %.5g, off by %.1f%%", name, predicted, realised, 100*off)
		}
	}
	f("ratio", ratioOf, true, func(rng *rand.Rand, length, hard float64) []float64 {
		return []float64{words(rng, length, 1-0.6*hard), length}
	})
	f("ratio as a corpus metric", ratioOf, false, func(rng *rand.Rand, length, hard float64) []float64 {
		return []float64{words(rng, length, 1-0.6*hard), length}
	})
	f("cost of a right answer", ratioOf, true, func(rng *rand.Rand, length, hard float64) []float64 {
		right := 0.0
		if rng.Float64() < 1-0.5*hard {
			right = 1
		}
		return []float64{length * (1 + rng.Float64()), right}
	})
	f("f1", f1, false, func(rng *rand.Rand, _, hard float64) []float64 {
		truth := rng.Float64() < 0.3
		said := truth
		if rng.Float64() < 0.4*hard {
			said = !said
		}
		switch {
		case truth && said:
			return []float64{1, 0, 0}
		case said:
			return []float64{0, 1, 0}
		case truth:
			return []float64{0, 0, 1}
		}
		return []float64{0, 0, 0}
	})
	f("precision of words", precision, false, func(rng *rand.Rand, length, hard float64) []float64 {
		one := words(rng, length, 1-0.6*hard)
		return []float64{one, length, words(rng, one-1, 0.8), length - 1}
	})
}

// A ratio with weights of 1 is a mean, and the pseudo-values of a mean are the values themselves.
func TestLinearOfAMean(t *testing.T) {
	var l Linear
	for i, x := range []float64{1, 0, 1, 1} {
		if err := l.Add(i, fmt.Sprint(i/2), "", x, 1); err != nil {
			t.Fatal(err)
		}
	}
	var r, c, plain Pilot
	if !l.Ratio(&r, 0) || !l.Corpus(&c, 0, ratioOf) {
		t.Fatal("no pseudo-values")
	}
	for i, x := range []float64{1, 0, 1, 1} {
		plain.Add(0, fmt.Sprint(i/2), "", x)
	}
	want, _ := plain.Variance(DefaultAssumed)
	for _, p := range []*Pilot{&r, &c} {
		got, ok := p.Variance(DefaultAssumed)
		if !ok || got.Binary {
			t.Fatalf("%+v", got)
		}
		near(t, "mean", got.Mean, want.Mean, 1e-12)
		near(t, "between", got.Between, want.Between, 1e-12)
		near(t, "within", got.Within, want.Within, 1e-12)
	}
}

// The variance of one run is that of its published standard error: by linearisation, and by the delete-one jackknife.
func TestLinearAgreesWithStats(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var l Linear
	var ratio stats.Ratio
	var jack stats.Jackknife
	const n = 60 // below stats.JackknifeGroups, each a group
	for i := range n {
		w := 1 + math.Floor(10*rng.Float64())
		y := words(rng, w, 0.7)
		ratio.AddCluster(1, y, w)
		if err := jack.Add(i, stats.NewCluster, []float64{y, w}); err != nil {
			t.Fatal(err)
		}
		// In two parts, as when two assertions measure the same.
		if err := l.Add(i, fmt.Sprint(i), "", 0, w); err != nil {
			t.Fatal(err)
		}
		if err := l.Add(i, fmt.Sprint(i), "", y, 0); err != nil {
			t.Fatal(err)
		}
	}
	se := func(p *Pilot) float64 {
		v, ok := p.Variance(Assumed{Share: 1, Alike: 0.5}) // twice the variance of one side, half of it shared
		if !ok {
			t.Fatal("no variance")
		}
		return math.Sqrt(v.Of(1) / n)
	}
	var r, c Pilot
	if !l.Ratio(&r, 0) || !l.Corpus(&c, 0, ratioOf) {
		t.Fatal("no pseudo-values")
	}
	want, _ := ratio.SE()
	near(t, "linearised", se(&r), want, 1e-12)
	want, _, _ = jack.SE(ratioOf)
	near(t, "jackknife", se(&c), want, 1e-12)
}

func TestLinearRefuses(t *testing.T) {
	var l Linear
	var p Pilot
	if l.Ratio(&p, 0) || l.Corpus(&p, 0, f1) {
		t.Error("something was made of nothing")
	}
	if l.Add(0, "a", "", math.NaN()) == nil || l.Add(0, "a", "") == nil {
		t.Error("NaN or nothing was taken")
	}
	for i := range 3 {
		if err := l.Add(i, fmt.Sprint(i), "", 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if l.Add(3, "d", "", 1, 2, 3) == nil {
		t.Error("another number of statistics was taken")
	}
	if l.Ratio(&p, 0) {
		t.Error("a ratio without weight")
	}
	if l.Corpus(&p, 0, ratioOf) {
		t.Error("a number that is not finite")
	}
	if l.Corpus(&p, 0, func(v []float64) float64 { return 1 / (v[0] - 2) }) {
		t.Error("a number that is not finite without one answer")
	}
	if len(p.cases) != 0 && p.sides == 2 {
		t.Error("a side was filled")
	}
}
