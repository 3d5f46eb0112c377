package record

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSketch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	f := func(name string, draw func() float64) {
		t.Helper()
		parts := []*Sketch{NewSketch(), NewSketch(), NewSketch()}
		var all []float64
		for i := range 20_000 {
			v := draw()
			all = append(all, v)
			parts[i%3].Add(v)
		}
		whole := Rollup{}
		for _, p := range parts {
			if err := whole.Merge(&Rollup{Counts: map[string]float64{"n": p.Count()}, Sketches: map[string][]byte{"x": p.Bytes()}}); err != nil {
				t.Fatal(err)
			}
		}
		s, err := ReadSketch(whole.Sketches["x"])
		if err != nil {
			t.Fatal(err)
		}
		if s.Count() != 20_000 || whole.Counts["n"] != 20_000 {
			t.Errorf("%s: %v, %v", name, s.Count(), whole.Counts)
		}
		slices.Sort(all)
		for _, q := range []float64{0, .01, .5, .95, .99, .999, 1} {
			exact := all[int(q*float64(len(all)-1))]
			if got := s.Quantile(q); math.Abs(got-exact) > 1.000001*SketchError*math.Abs(exact) {
				t.Errorf("%s: quantile %v is %v, want %v within 1%%", name, q, got, exact)
			}
		}
	}
	f("latency", func() float64 { return math.Exp(r.NormFloat64()) })
	f("wide", func() float64 { return math.Exp(5 * r.NormFloat64()) })
	f("tokens", func() float64 { return float64(r.IntN(4000)) })
	f("zero", func() float64 { return 0 })
	f("negative", func() float64 { return -math.Exp(r.NormFloat64()) })
	s := NewSketch()
	if !math.IsNaN(s.Quantile(.5)) {
		t.Error("an empty sketch has a median")
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64} {
		s.Add(v)
	}
	if s.Count() > 1 {
		t.Errorf("counted %v", s.Count())
	}
}

func FuzzReadSketch(f *testing.F) {
	s := NewSketch()
	for i := range 100 {
		s.Add(float64(i))
	}
	f.Add(s.Bytes())
	f.Add(NewSketch().Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadSketch(b)
		if err != nil {
			return
		}
		s.Quantile(.5)
		own := NewSketch()
		own.Add(1)
		_ = own.Merge(s)
	})
}
