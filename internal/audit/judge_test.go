package audit

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

func TestCanonical(t *testing.T) {
	f := func(label, want string) {
		t.Helper()
		if got := Canonical(label); got != want {
			t.Errorf("%q: %q, want %q", label, got, want)
		}
	}
	f(" 1 ", "1")
	f("1.0", "1")
	f("Tie", "Tie")
	f("NaN", "NaN")
	f("", "")
	f("1e3", "1000")
	f("-0.50", "-0.5")
	// Names that only look like numbers, and numbers of more digits than a float64 tells apart.
	f("007", "007")
	f("0", "0")
	f("0.50", "0.5")
	f("1729000000000000001", "1729000000000000001")
}

func TestMajority(t *testing.T) {
	f := func(want string, ok bool, labels ...string) {
		t.Helper()
		if got, is := Majority(labels); got != want || is != ok {
			t.Errorf("%q: %q %v, want %q %v", labels, got, is, want, ok)
		}
	}
	f("a", true, "a", "b", "a")
	f("", false, "a", "b")
	f("", false, "a", "b", "c")
	f("b", true, "", "b")
	f("", false)
	f("", false, "", "")
}

func TestMedian(t *testing.T) {
	f := func(want string, ok bool, labels ...string) {
		t.Helper()
		if got, is := consensus(labels, Ordinal); is != ok || ok && got != want {
			t.Errorf("%q: %q %v, want %q %v", labels, got, is, want, ok)
		}
	}
	f("3", true, "4", "2", "3")
	f("10", true, "9", "10", "10", "11")
	f("", false, "2", "3")
	f("2", true, "", "2")
	f("", false, "", "")
}

func TestMeasureWithoutData(t *testing.T) {
	j := Measure([]Votes{{Item: "1", Humans: []string{"a"}}, {Item: "2", Humans: []string{""}, Judge: []string{"a"}, Invalid: []bool{false}}}, []string{"ann"}, Nominal)
	if j.Accuracy != nil || j.Strict != nil || j.Kappa != nil || j.AC1 != nil || j.Alpha != nil {
		t.Errorf("numbers of nothing: %+v", j)
	}
	for _, name := range []string{"kappa", "ac1", "alpha", "accuracy", "rho"} {
		if _, ok := j.LowerBound(name); ok {
			t.Errorf("a lower bound of %s", name)
		}
	}
}

// Invalid verdicts are no agreement, and a judge that always agrees has no interval of a coefficient to pass by.
func TestInvalidVerdicts(t *testing.T) {
	var votes []Votes
	for i := range 10 {
		l := []string{"yes", "no"}[i%2]
		v := Votes{Item: fmt.Sprint(i), Humans: []string{l}, Judge: []string{l, l}, Invalid: []bool{false, false}, Swapped: []string{"yes"}}
		if i < 2 {
			v.Judge[0], v.Invalid[0] = "", true
		}
		votes = append(votes, v)
	}
	j := Measure(votes, []string{"ann"}, Nominal)
	if j.Accuracy.K != 8 || j.Accuracy.N != 8 || j.Strict.K != 8 || j.Strict.N != 10 || j.Invalid.K != 2 || j.Invalid.N != 20 {
		t.Errorf("accuracy %+v strict %+v invalid %+v", j.Accuracy, j.Strict, j.Invalid)
	}
	if j.Self.K != 8 || j.Self.N != 8 || j.Swap.K != 4 || j.Swap.N != 8 {
		t.Errorf("self %+v swap %+v", j.Self, j.Swap)
	}
	if _, ok := j.LowerBound("kappa"); ok {
		t.Error("a bound of kappa without spread")
	}
	if low, ok := j.LowerBound("accuracy"); !ok || low > 0.8 {
		t.Errorf("the bound of accuracy is %v %v", low, ok)
	}
}

func TestPredictionPowered(t *testing.T) {
	var votes []Votes
	for i := range 1000 {
		v := Votes{Item: fmt.Sprint(i), Humans: []string{""}, Judge: []string{[]string{"fail", "pass", "pass"}[i%3]}, Invalid: []bool{false}}
		if i < 90 {
			v.Humans[0] = v.Judge[0]
			if i%10 == 0 {
				v.Humans[0] = "fail"
			}
		}
		votes = append(votes, v)
	}
	m := Measure(votes, []string{"ann"}, Nominal).Mean
	if m == nil || m.Labelled != 90 || m.Others != 910 || m.Gain < 1.5 || m.Low > m.Value || m.High < m.Value || math.Abs(m.Value-0.6) > 0.01 {
		t.Errorf("mean %+v", m)
	}
}

func TestDrift(t *testing.T) {
	f := func(k, n, k2, n2 int, drifted bool) {
		t.Helper()
		was := &Judge{Strict: share(k, n), Invalid: share(0, n), Labels: map[string]int{"a": n}}
		is := &Judge{Strict: share(k2, n2), Invalid: share(0, n2), Labels: map[string]int{"a": n2}}
		c := Drift(was, is, 0.05)
		if len(c) != 3 || c[0].Drifted != drifted || c[1].Drifted || c[2].Drifted {
			t.Errorf("%d/%d, %d/%d: %+v", k, n, k2, n2, c)
		}
	}
	f(80, 100, 78, 100, false)
	f(80, 100, 50, 100, true)
	f(50, 100, 80, 100, true)
	f(8, 10, 5, 10, false)
}

// The published labels of PandaLM: three people, and GPT-3.5 with Tie and invalid answers as ties.
func TestPandaLM(t *testing.T) {
	dir := os.Getenv("TELLTALE_TESTDATA")
	if dir == "" {
		t.Skip("TELLTALE_TESTDATA does not name the folder of test data")
	}
	read := func(name string) (out []map[string]any) {
		data, err := os.ReadFile(filepath.Join(dir, "pandalm", name))
		if err == nil {
			err = json.Unmarshal(data, &out)
		}
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	people, judge := read("testset-v1.json"), read("gpt-3.5-turbo-testset-v1.json")
	if len(people) != 999 || len(judge) != 999 {
		t.Fatalf("%d and %d rows", len(people), len(judge))
	}
	names := []string{"annotator1", "annotator2", "annotator3"}
	measure := func(ties bool) *Judge {
		votes := make([]Votes, len(people))
		for i, row := range people {
			v := Votes{Item: fmt.Sprint(row["idx"]), Invalid: []bool{false}}
			for _, n := range names {
				v.Humans = append(v.Humans, Canonical(fmt.Sprint(row[n])))
			}
			label := Canonical(fmt.Sprint(judge[i]["gpt_result"]))
			switch label {
			case "Tie":
				label = "0"
			case "garbage":
				label, v.Invalid[0] = "", true
				if ties {
					label = "0"
				}
			}
			v.Judge = []string{label}
			votes[i] = v
		}
		return Measure(votes, names, Nominal)
	}
	near := func(what string, c *Coefficient, want float64) {
		t.Helper()
		if c == nil || math.Abs(c.Value-want) > 0.00005 || c.Low == nil {
			t.Errorf("%s: %+v, want %v", what, c, want)
		}
	}
	j := measure(true)
	near("1, 2", j.Humans.Pairs[0].Kappa, .8520)
	near("1, 3", j.Humans.Pairs[1].Kappa, .8789)
	near("2, 3", j.Humans.Pairs[2].Kappa, .8617)
	near("Fleiss", j.Humans.Fleiss, .8642)
	if j.Accuracy.K != 710 || j.Accuracy.N != 999 || j.Invalid.K != 25 || j.Humans.NoMajority != 0 {
		t.Errorf("accuracy %+v, invalid %+v", j.Accuracy, j.Invalid)
	}
	if j := measure(false); j.Accuracy.K != 697 || j.Accuracy.N != 974 || j.Strict.K != 697 || j.Strict.N != 999 {
		t.Errorf("without ties: %+v, %+v", j.Accuracy, j.Strict)
	}
}

// On an ordinal scale grades that are near count in part. Source: statsmodels 0.15.0 (cohens_kappa with quadratic weights),
// krippendorff 0.9.0 and irrCAC 0.4.4 of the same 40 grades.
func TestOrdinal(t *testing.T) {
	var votes []Votes
	for i := range 40 {
		grade := 1 + i*7%5
		given := min(5, max(1, grade+[]int{0, 0, 1, 0, -1, 0, 2}[i%7]))
		votes = append(votes, Votes{Humans: []string{fmt.Sprint(grade), fmt.Sprint(grade)}, Judge: []string{fmt.Sprint(given)}, Invalid: []bool{false}})
	}
	j := Measure(votes, []string{"ann", "bob"}, Ordinal)
	f := func(name string, c *Coefficient, value, se float64) {
		t.Helper()
		if c == nil || math.Abs(c.Value-value) > 1e-9 || se > 0 && math.Abs(c.SE-se) > 1e-9 {
			t.Errorf("%s: %+v, want %v", name, c, value)
		}
	}
	f("weighted kappa", j.Weighted, .8641975308641975, .0467118467458702)
	f("ordinal alpha", j.OrdinalAlpha, .8651725612363326, 0)
	f("AC2", j.AC2, .8631415241, .0427817495)
	f("weighted kappa of people", j.Humans.Pairs[0].Weighted, 1, 0)
	for _, name := range []string{"weighted_kappa", "ac2", "ordinal_alpha"} {
		if low, ok := j.LowerBound(name); !ok || !(low > .7 && low < .8) {
			t.Errorf("lower bound of %s %v, %v", name, low, ok)
		}
		if _, ok := Measure(votes, []string{"ann", "bob"}, Nominal).LowerBound(name); ok {
			t.Errorf("%s of a nominal scale", name)
		}
	}
}
