package stats

import (
	"math"
	"slices"
)

// Bonferroni returns p-values that may be compared with alpha as they are when all of p are looked at: p·m, at
// most 1. It bounds the chance of any false rejection under every dependence. In this and the other corrections a
// NaN stands for a test that could not be done: it stays NaN and is not counted in m. A p-value outside [0, 1]
// becomes NaN and is not counted either. The result has the order of p, which is left as it was.
func Bonferroni(p []float64) []float64 {
	return adjust(p, func(sorted []float64) {
		m := float64(len(sorted))
		for i, x := range sorted {
			sorted[i] = math.Min(1, x*m)
		}
	})
}

// Holm returns adjusted p-values of the step-down procedure (Holm 1979): max over j ≤ i of (m−j+1)·p_(j), at most
// 1. It bounds the family-wise chance of a false rejection under every dependence, like Bonferroni, and never
// rejects less.
func Holm(p []float64) []float64 {
	return adjust(p, func(sorted []float64) {
		m, highest := len(sorted), 0.0
		for i, x := range sorted {
			highest = math.Max(highest, math.Min(1, x*float64(m-i)))
			sorted[i] = highest
		}
	})
}

// BH returns adjusted p-values of Benjamini and Hochberg (1995): min over j ≥ i of m·p_(j)/j. Rejecting those up to
// q keeps the expected share of false ones among the rejected at most q when the tests are independent or
// positively dependent.
func BH(p []float64) []float64 {
	return adjust(p, func(sorted []float64) { stepUp(sorted, 1) })
}

// BY returns adjusted p-values of Benjamini and Yekutieli (2001), which are those of BH times Σ 1/j for j up to m.
// It holds under every dependence.
func BY(p []float64) []float64 {
	return adjust(p, func(sorted []float64) {
		harmonic := 0.0
		for j := len(sorted); j > 0; j-- {
			harmonic += 1 / float64(j)
		}
		stepUp(sorted, harmonic)
	})
}

func stepUp(sorted []float64, factor float64) {
	m, lowest := float64(len(sorted)), 1.0
	for i, x := range slices.Backward(sorted) {
		lowest = math.Min(lowest, x*factor*m/float64(i+1))
		sorted[i] = lowest
	}
}

// adjust runs correct over the p-values there are, from the smallest up, and puts them back in their places.
func adjust(p []float64, correct func(sorted []float64)) []float64 {
	out := make([]float64, len(p))
	order := make([]int, 0, len(p))
	for i, x := range p {
		out[i] = math.NaN()
		if x >= 0 && x <= 1 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	sorted := make([]float64, len(order))
	for k, i := range order {
		sorted[k] = p[i]
	}
	correct(sorted)
	for k, i := range order {
		out[i] = sorted[k]
	}
	return out
}
