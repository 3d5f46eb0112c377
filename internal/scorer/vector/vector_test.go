package vector

import (
	"math"
	"testing"
)

func near(got, want float64) bool { return math.Abs(got-want) <= 1e-7 } // vectors are float32

func TestMeasures(t *testing.T) {
	f := func(m Measure, a, b []float32, want float64) {
		t.Helper()
		got, err := m.Of(a, b)
		if err != nil || !near(got, want) {
			t.Errorf("%s of %v and %v is %v, %v; want %v", m, a, b, got, err, want)
		}
	}
	a, b := []float32{3, 4}, []float32{4, 3}
	f(Cosine, a, b, 24.0/25)
	f(Cosine, a, []float32{-6, -8}, -1)
	f(Cosine, []float32{0.1, 0.2, 0.3}, []float32{0.1, 0.2, 0.3}, 1)
	f(Dot, a, b, 24)
	f(Distance, a, b, math.Sqrt2)
	for _, m := range []Measure{Cosine, Dot, Distance} {
		nan := []float32{float32(math.NaN()), 1}
		for _, bad := range [][2][]float32{{nil, nil}, {a, {1}}, {a, nan}} {
			if v, err := m.Of(bad[0], bad[1]); err == nil {
				t.Errorf("%s of %v is %v", m, bad, v)
			}
		}
	}
	if v, err := Cosine.Of(a, []float32{0, 0}); err == nil {
		t.Errorf("the cosine with zeros is %v", v)
	}
}

// By hand. Of the candidate's x and y, the reference's x is matched exactly and z at the cosine 0.6
// with y: P = (1 + 0.6)/2, R = (1 + 0.6)/2 and with the mark, which is matched by none better, the same.
func TestBERTScore(t *testing.T) {
	c := Tokens{Texts: []string{"", "x", "y"}, Vectors: [][]float32{{0, 0, 5}, {2, 0, 0}, {0, 3, 0}}}
	r := Tokens{Texts: []string{"", "x", "z", "w"}, Vectors: [][]float32{{0, 0, 1}, {1, 0, 0}, {0.8, 0.6, 0}, {0, -1, 0}}}
	f := func(weight func(string) float64, p, rec float64) {
		t.Helper()
		got, err := BERTScore(c, r, weight)
		if err != nil || !near(got.Precision, p) || !near(got.Recall, rec) || !near(got.F1, 2*p*rec/(p+rec)) {
			t.Errorf("%+v, %v; want %v, %v", got, err, p, rec)
		}
	}
	f(nil, 0.8, (1+0.8+0)/3)
	f(func(token string) float64 { return map[string]float64{"x": 1, "y": 3, "z": 1}[token] }, (1+3*0.6)/4, (1+0.8)/2)

	rescaled := Score{0.8, 0.5, 0.7}.Rescale(Score{0.5, 0.5, 0.4})
	if !near(rescaled.Precision, 0.6) || !near(rescaled.Recall, 0) || !near(rescaled.F1, 0.5) {
		t.Errorf("rescaled to %+v", rescaled)
	}
	if got, err := BERTScore(Tokens{Texts: []string{""}, Vectors: [][]float32{{1, 0, 0}}}, r, nil); err != nil || got != (Score{}) {
		t.Errorf("an empty candidate: %+v, %v", got, err)
	}
	if got, err := BERTScore(Tokens{}, r, nil); err != nil || got != (Score{}) {
		t.Errorf("no candidate: %+v, %v", got, err)
	}
	bad := func(c, r Tokens, weight func(string) float64) {
		t.Helper()
		if got, err := BERTScore(c, r, weight); err == nil {
			t.Errorf("%+v", got)
		}
	}
	bad(c, Tokens{}, nil)
	bad(c, Tokens{Texts: []string{""}, Vectors: [][]float32{{1, 0, 0}}}, nil)
	bad(c, Tokens{Texts: []string{"x"}, Vectors: [][]float32{{0, 0, 0}}}, nil)
	bad(c, Tokens{Texts: []string{"x"}, Vectors: [][]float32{{1, 0}}}, nil)
	bad(c, Tokens{Texts: []string{"x", "y"}, Vectors: [][]float32{{1, 0, 0}}}, nil)
	bad(c, r, func(string) float64 { return 0 })
}

// ln((N+1)/(df+1)), as get_idf_dict of the bert-score package has it.
func TestIDF(t *testing.T) {
	idf := IDF([][]string{{"a", "b", "a"}, {"a"}, {"a", "c"}})
	for token, want := range map[string]float64{"a": 0, "b": math.Log(2), "c": math.Log(2), "d": math.Log(4)} {
		if got := idf(token); !near(got, want) {
			t.Errorf("%s: %v, want %v", token, got, want)
		}
	}
}
