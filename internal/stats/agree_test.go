package stats

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// The published example of four raters, twelve units and five categories with missing ratings (Krippendorff 2011;
// Gwet 2014, table 5.1).
var fourRaters = Ratings{Items: [][]float64{
	{1, 1, nan, 1}, {2, 2, 3, 2}, {3, 3, 3, 3}, {3, 3, 3, 3}, {2, 2, 2, 2}, {1, 2, 3, 4},
	{4, 4, 4, 4}, {1, 1, 2, 1}, {2, 2, 2, 2}, {nan, 5, 5, 5}, {nan, nan, 1, 1}, {nan, nan, 3, nan},
}}

// Source: irrCAC 0.4.4 (CAC(...).gwet(), .fleiss()) and krippendorff 0.9.0.
func TestAgreementOfFourRaters(t *testing.T) {
	f := func(name string, a Agreement, ok bool, value, se, observed, expected float64) {
		t.Helper()
		if !ok {
			t.Errorf("%s: refused", name)
			return
		}
		near(t, name, a.Value, value, 5.01e-9)
		if se > 0 {
			near(t, name+" SE", a.SE, se, 5.01e-9)
			near(t, name+" observed", a.Observed, observed, 5.01e-9)
			near(t, name+" expected", a.Expected, expected, 5.01e-9)
		}
	}
	a, ok := GwetAC1(fourRaters)
	f("AC1", a, ok, .77544407, .14294995, .81818182, .19032118)
	if a.Items != 11 || a.Ratings != 41 {
		t.Errorf("%d items with two ratings, %d ratings; want 11 and 41", a.Items, a.Ratings)
	}
	i, ok := a.Interval(0.95)
	half := StudentQuantile(0.95, 10) * a.SE
	sameInterval(t, "AC1", i, ok, a.Value-half, 1, 1e-12)

	a, ok = GwetAC2(fourRaters, LinearCredit)
	f("AC2 linear", a, ok, .85873914, .11732902, .93939394, .57096354)
	a, ok = GwetAC2(fourRaters, QuadraticCredit)
	f("AC2 quadratic", a, ok, .91400072, .10396224, .97537879, .71370443)
	a, ok = FleissKappa(fourRaters)
	f("Fleiss", a, ok, .76116928, .1530192, .81818182, .23871528)
	a, ok = KrippendorffAlpha(fourRaters, NominalScale)
	f("alpha nominal", a, ok, .743421052631579, 0, 0, 0)
	// Source of the errors: numerical derivatives of alpha by the items' weights, in NumPy 1.26.4. irrCAC linearises an
	// approximation of alpha and takes 12 units: .14557389 and .12912997 for nominal and interval.
	near(t, "alpha nominal SE", a.SE, .14193693, 1e-8)
	a, ok = KrippendorffAlpha(fourRaters, OrdinalScale)
	f("alpha ordinal", a, ok, .8153875037548814, 0, 0, 0)
	near(t, "alpha ordinal SE", a.SE, .13879220, 1e-8)
	a, ok = KrippendorffAlpha(fourRaters, IntervalScale)
	f("alpha interval", a, ok, .8491071428571428, 0, 0, 0)
	near(t, "alpha interval SE", a.SE, .12590369, 1e-8)
}

// Source: statsmodels 0.15.0, inter_rater.cohens_kappa, of the table (20 5 1, 4 30 6, 2 3 29).
func TestCohenKappa(t *testing.T) {
	var a, b []float64
	for i, row := range [][]int{{20, 5, 1}, {4, 30, 6}, {2, 3, 29}} {
		for j, n := range row {
			for range n {
				a, b = append(a, float64(i)), append(b, float64(j))
			}
		}
	}
	a, b = append(a, nan, 2), append(b, 1, nan) // rated by one only
	f := func(credit Credit, value, se float64) {
		t.Helper()
		k, ok := CohenKappa(a, b, credit)
		if !ok || k.Items != 100 || k.Ratings != 200 {
			t.Errorf("%+v, %v", k, ok)
		}
		near(t, "kappa", k.Value, value, 1e-12)
		near(t, "SE", k.SE, se, 1e-12)
	}
	f(NoCredit, .6808510638297873, .061990523577181794)
	f(LinearCredit, .7142857142857143, .05936425651941823)
	f(QuadraticCredit, .7508305647840532, .06366973701705025)
}

func TestAgreementEdges(t *testing.T) {
	all := func(r Ratings) map[string]bool {
		out := map[string]bool{}
		_, out["Fleiss"] = FleissKappa(r)
		_, out["AC1"] = GwetAC1(r)
		_, out["AC2"] = GwetAC2(r, QuadraticCredit)
		for _, s := range []Scale{NominalScale, OrdinalScale, IntervalScale} {
			_, out["alpha"+string(rune('0'+s))] = KrippendorffAlpha(r, s)
		}
		return out
	}
	refuses := func(why string, r Ratings) {
		t.Helper()
		for name, ok := range all(r) {
			if ok {
				t.Errorf("%s says something about %s", name, why)
			}
		}
	}
	refuses("nothing", Ratings{})
	refuses("no ratings", Ratings{Items: [][]float64{{nan, nan}, {}}})
	refuses("single ratings", Ratings{Items: [][]float64{{1, nan}, {nan, 2}}})
	refuses("a single category", Ratings{Items: [][]float64{{1, 1}, {1, 1}}})
	refuses("infinities", Ratings{Items: [][]float64{{1, math.Inf(1)}, {1, 1}}})
	outside := Ratings{Items: [][]float64{{1, 3}, {1, 1}}, Categories: []float64{1, 2}}
	if _, ok := GwetAC1(outside); ok {
		t.Error("a rating that may not be given was taken")
	}
	// All agree: the value is 1, but no spread was seen.
	same := Ratings{Items: [][]float64{{1, 1}, {2, 2}, {1, 1}}}
	for name, coefficient := range map[string]func(Ratings) (Agreement, bool){
		"Fleiss": FleissKappa, "AC1": GwetAC1,
		"alpha": func(r Ratings) (Agreement, bool) { return KrippendorffAlpha(r, NominalScale) },
	} {
		a, ok := coefficient(same)
		if !ok || math.Abs(a.Value-1) > 1e-12 || a.SE != 0 {
			t.Errorf("%s of agreement throughout is %+v, %v", name, a, ok)
		}
		if i, ok := a.Interval(0.95); ok {
			t.Errorf("%s: an interval %v from no spread", name, i)
		}
	}
	// A second category that nobody used: AC1 can still say something.
	a, ok := GwetAC1(Ratings{Items: [][]float64{{1, 1}, {1, 1}}, Categories: []float64{0, 1}})
	if !ok || a.Value != 1 {
		t.Errorf("AC1 with an unused category: %+v, %v", a, ok)
	}
	for _, pair := range [][2][]float64{
		{nil, nil}, {{1}, {1, 2}}, {{nan}, {1}}, {{1, 1}, {1, 1}}, {{1, math.Inf(1)}, {1, 2}},
	} {
		if k, ok := CohenKappa(pair[0], pair[1], NoCredit); ok {
			t.Errorf("CohenKappa(%v, %v) = %+v, want none", pair[0], pair[1], k)
		}
	}
}

// Intervals of 95% over 100 items cover the coefficient of the population that the items are drawn from. AC2 with
// quadratic credit is biased upwards by its chance term and covers a little less often.
func TestAgreementCoverage(t *testing.T) {
	draw := func(rng *rand.Rand, n int) Ratings {
		items := make([][]float64, n)
		for i := range items {
			truth := math.Floor(4 * rng.Float64() * rng.Float64())
			for range 3 {
				x := truth
				switch u := rng.Float64(); {
				case u < 0.15:
					x = float64(rng.IntN(4))
				case u < 0.25:
					x = math.Min(3, truth+1)
				case u < 0.32:
					x = nan
				}
				items[i] = append(items[i], x)
			}
		}
		return Ratings{Items: items, Categories: []float64{0, 1, 2, 3}}
	}
	f := func(name string, least float64, coefficient func(Ratings) (Agreement, bool)) {
		t.Helper()
		rng := rand.New(rand.NewPCG(21, 22))
		truth, ok := coefficient(draw(rng, 40_000))
		if !ok {
			t.Fatal("refused")
		}
		const draws = 2000
		hit, mean := 0, 0.0
		for range draws {
			a, ok := coefficient(draw(rng, 100))
			i, ok2 := a.Interval(0.95)
			if ok && ok2 && i.Low <= truth.Value && truth.Value <= i.High {
				hit++
			}
			mean += a.Value / draws
		}
		t.Logf("%s %.4f, mean %.4f, coverage %.3f", name, truth.Value, mean, float64(hit)/draws)
		if c := float64(hit) / draws; c < least || c > .975 {
			t.Errorf("%s: coverage %.3f", name, c)
		}
	}
	f("Cohen", .93, func(r Ratings) (Agreement, bool) {
		var a, b []float64
		for _, row := range r.Items {
			a, b = append(a, row[0]), append(b, row[1])
		}
		return CohenKappa(a, b, NoCredit)
	})
	f("Fleiss", .93, FleissKappa)
	f("AC1", .93, GwetAC1)
	f("AC2", .92, func(r Ratings) (Agreement, bool) { return GwetAC2(r, QuadraticCredit) })
	for _, s := range []Scale{NominalScale, OrdinalScale, IntervalScale} {
		f("alpha", .93, func(r Ratings) (Agreement, bool) { return KrippendorffAlpha(r, s) })
	}
}

// Cohen and Fleiss as in the reference document; their errors and the other coefficients from statsmodels 0.15.0 and
// irrCAC 0.4.4.
func TestPandaLM(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(testData(t), "pandalm", "testset-v1.json"))
	if err != nil {
		t.Skipf("no PandaLM labels: %v", err)
	}
	var rows []struct {
		A float64 `json:"annotator1"`
		B float64 `json:"annotator2"`
		C float64 `json:"annotator3"`
	}
	if err := json.Unmarshal(raw, &rows); err != nil {
		t.Fatal(err)
	}
	var by [3][]float64
	var r Ratings
	for _, row := range rows {
		for i, x := range []float64{row.A, row.B, row.C} {
			by[i] = append(by[i], x)
		}
		r.Items = append(r.Items, []float64{row.A, row.B, row.C})
	}
	if len(rows) != 999 {
		t.Fatalf("%d items, want 999", len(rows))
	}
	f := func(a, b int, value, se float64) {
		t.Helper()
		k, ok := CohenKappa(by[a], by[b], NoCredit)
		if !ok {
			t.Fatal("refused")
		}
		near(t, "Cohen", k.Value, value, 5.01e-5)
		near(t, "Cohen SE", k.SE, se, 1e-9)
	}
	f(0, 1, .8520, .015077906144)
	f(0, 2, .8789, .013751797817)
	f(1, 2, .8617, .014556706784)
	k, _ := FleissKappa(r)
	near(t, "Fleiss", k.Value, .8642, 5.01e-5)
	near(t, "Fleiss SE", k.SE, .01155784, 5.01e-9)
	k, _ = GwetAC1(r)
	near(t, "AC1", k.Value, .88644471, 5.01e-9)
	near(t, "AC1 SE", k.SE, .00980279, 5.01e-9)
	k, _ = KrippendorffAlpha(r, NominalScale)
	near(t, "alpha", k.Value, .86422069, 5.01e-9)
	near(t, "alpha SE", k.SE, .01155784, 2e-5)
	t.Logf("alpha SE %v", k.SE)
}
