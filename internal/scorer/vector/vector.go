// Package vector compares texts by their embeddings: cosine, dot product and distance of two vectors,
// and BERTScore over the vectors of tokens.
//
// It is arithmetic alone, in double precision. The vectors come from an embedder, and package scorer
// judges by what comes out.
package vector

import (
	"fmt"
	"math"
	"slices"
)

// Measure is a way to compare two vectors.
type Measure uint8

// The measures of promptfoo's similar. Cosine and Dot grow with likeness, Distance shrinks.
const (
	Cosine   Measure = iota
	Dot              // the dot product, without bounds unless the embedder gives unit vectors
	Distance         // Euclidean
)

var measureNames = [...]string{Cosine: "cosine similarity", Dot: "dot product", Distance: "euclidean distance"}

// String names the measure in a sentence.
func (m Measure) String() string { return measureNames[m] }

// Of compares two vectors. Vectors of different length, of no length, or that hold what is no number
// are an error; so is the cosine of a vector of zeros, which has no direction.
func (m Measure) Of(a, b []float32) (float64, error) {
	if len(a) != len(b) || len(a) == 0 {
		return 0, fmt.Errorf("vectors of %d and of %d numbers cannot be compared", len(a), len(b))
	}
	var dot, aa, bb, dd float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		dot += x * y
		aa += x * x
		bb += y * y
		dd += (x - y) * (x - y)
	}
	v := dot
	switch m {
	case Distance:
		v = math.Sqrt(dd)
	case Cosine:
		if aa == 0 || bb == 0 {
			return 0, fmt.Errorf("a vector of zeros has no direction to compare")
		}
		v = max(-1, min(1, dot/math.Sqrt(aa*bb)))
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("the %s is %v", m, v)
	}
	return v, nil
}

// Tokens are the tokens of a text with a vector each. The empty token is a mark that stands for no
// text, such as [CLS]: it may be matched, and counts for nothing.
type Tokens struct {
	Texts   []string
	Vectors [][]float32
}

// Score is what BERTScore says of a candidate against a reference. All three lie between -1 and 1
// before they are rescaled, and can be below 0 afterwards.
type Score struct {
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
}

// BERTScore matches every token with the likeliest of the other text by cosine (Zhang et al. 2020,
// arXiv:1904.09675, as the bert-score package computes it): precision is the weighted mean over the
// candidate's tokens, recall that over the reference's, and F1 their harmonic mean, 0 when it is not
// defined. weight gives each token its weight; nil counts all alike. An empty candidate scores 0; a
// text none of whose tokens has a weight is an error.
func BERTScore(candidate, reference Tokens, weight func(token string) float64) (Score, error) {
	c, err := units(candidate)
	if err != nil {
		return Score{}, err
	}
	r, err := units(reference)
	if err != nil {
		return Score{}, err
	}
	switch {
	case len(r) == 0:
		return Score{}, fmt.Errorf("the reference has no tokens")
	case !slices.ContainsFunc(candidate.Texts, func(t string) bool { return t != "" }):
		return Score{}, nil
	case len(c[0]) != len(r[0]):
		return Score{}, fmt.Errorf("token vectors of %d and of %d numbers cannot be compared", len(c[0]), len(r[0]))
	}
	best, bestR := fill(len(c)), fill(len(r))
	for i := range c {
		for j := range r {
			dot := 0.0
			for k, x := range c[i] {
				dot += x * r[j][k]
			}
			best[i], bestR[j] = max(best[i], dot), max(bestR[j], dot)
		}
	}
	var s Score
	if s.Precision, err = mean(best, candidate.Texts, weight); err != nil {
		return Score{}, fmt.Errorf("the candidate: %w", err)
	}
	if s.Recall, err = mean(bestR, reference.Texts, weight); err != nil {
		return Score{}, fmt.Errorf("the reference: %w", err)
	}
	if sum := s.Precision + s.Recall; sum != 0 {
		s.F1 = 2 * s.Precision * s.Recall / sum
	}
	return s, nil
}

// Rescale maps a baseline to 0 and 1 to itself: (x-b)/(1-b) for each of the three.
func (s Score) Rescale(baseline Score) Score {
	f := func(x, b float64) float64 { return (x - b) / (1 - b) }
	return Score{f(s.Precision, baseline.Precision), f(s.Recall, baseline.Recall), f(s.F1, baseline.F1)}
}

func fill(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.Inf(-1)
	}
	return out
}

// units returns the vectors as unit vectors.
func units(t Tokens) ([][]float64, error) {
	if len(t.Texts) != len(t.Vectors) {
		return nil, fmt.Errorf("%d tokens have %d vectors", len(t.Texts), len(t.Vectors))
	}
	out := make([][]float64, len(t.Vectors))
	for i, v := range t.Vectors {
		if len(v) != len(t.Vectors[0]) {
			return nil, fmt.Errorf("token vectors of %d and of %d numbers", len(t.Vectors[0]), len(v))
		}
		sum := 0.0
		for _, x := range v {
			sum += float64(x) * float64(x)
		}
		norm := math.Sqrt(sum)
		if !(norm > 0) || math.IsInf(norm, 0) {
			return nil, fmt.Errorf("the vector of token %d, %q, has no direction", i+1, t.Texts[i])
		}
		out[i] = make([]float64, len(v))
		for k, x := range v {
			out[i][k] = float64(x) / norm
		}
	}
	return out, nil
}

func mean(values []float64, tokens []string, weight func(string) float64) (float64, error) {
	var sum, weights float64
	for i, t := range tokens {
		w := 1.0
		switch {
		case t == "":
			w = 0
		case weight != nil:
			w = weight(t)
		}
		sum += w * values[i]
		weights += w
	}
	if !(weights > 0) {
		return 0, fmt.Errorf("no token counts")
	}
	return sum / weights, nil
}

// IDF returns the weight of each token by how rare it is among documents, given as their tokens:
// ln((N+1)/(df+1)), and ln(N+1) for one that no document has.
func IDF(documents [][]string) func(token string) float64 {
	df := map[string]int{}
	for _, tokens := range documents {
		seen := map[string]bool{}
		for _, t := range tokens {
			if !seen[t] {
				seen[t] = true
				df[t]++
			}
		}
	}
	n := float64(len(documents) + 1)
	return func(token string) float64 { return math.Log(n / float64(df[token]+1)) }
}
