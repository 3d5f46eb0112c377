package stats

import "sort"

// EBH says which of several hypotheses the e-BH procedure rejects, in the input order, with a false discovery rate of
// at most alpha however the e-values depend on each other and whenever each was stopped: with e sorted downwards,
// those with the k̂ largest, k̂ the largest k with e_(k) ≥ K/(kα) (Wang and Ramdas 2022, "False discovery rate control with
// e-values", JRSS B 84). K counts every hypothesis; an e-value that is NaN or negative is no evidence and is not
// rejected. An alpha outside (0, 1) rejects none.
func EBH(e []float64, alpha float64) []bool {
	out := make([]bool, len(e))
	if !(alpha > 0 && alpha < 1) {
		return out
	}
	order := make([]int, 0, len(e))
	for i, x := range e {
		if x >= 0 {
			order = append(order, i)
		}
	}
	sort.SliceStable(order, func(a, b int) bool { return e[order[a]] > e[order[b]] })
	for k := len(order); k > 0; k-- {
		if e[order[k-1]] >= float64(len(e))/(float64(k)*alpha) {
			for _, i := range order[:k] {
				out[i] = true
			}
			break
		}
	}
	return out
}
