package audit

import (
	"slices"
	"strconv"

	"github.com/telltale-llm/telltale/internal/stats"
)

// Change is one number of two audits.
type Change struct {
	What string  `json:"what"`
	Was  Share   `json:"was"`
	Is   Share   `json:"is"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// P is Fisher's exact two-sided p-value, Adjusted that after Holm over all numbers.
	P        float64 `json:"p"`
	Adjusted float64 `json:"p_adjusted"`
	Drifted  bool    `json:"drifted"`
}

// Drift compares an audit with a later one of the same judge, on independent items: agreement, invalid verdicts and
// the shares of the verdicts. The chance of seeing drift in a judge that has not changed is at most alpha.
func Drift(was, is *Judge, alpha float64) []Change {
	var out []Change
	add := func(what string, a, b *Share) {
		if a == nil || b == nil {
			return
		}
		p, _, _ := stats.FisherExact(a.K, a.N-a.K, b.K, b.N-b.K)
		c := Change{What: what, Was: *a, Is: *b, P: p}
		if i, ok := stats.Newcombe(b.K, b.N, a.K, a.N, stats.Level); ok {
			c.Low, c.High = i.Low, i.High
		}
		out = append(out, c)
	}
	add("agreement with people", was.Strict, is.Strict)
	add("invalid verdicts", was.Invalid, is.Invalid)
	add("same verdict in both orders", was.Swap, is.Swap)
	var labels []string
	total := func(m map[string]int) (n int) {
		for l, k := range m {
			n += k
			if !slices.Contains(labels, l) {
				labels = append(labels, l)
			}
		}
		return n
	}
	before, now := total(was.Labels), total(is.Labels)
	slices.Sort(labels)
	if len(labels) == 2 {
		labels = labels[:1] // the other's share says the same
	}
	for _, l := range labels {
		add("verdict "+strconv.Quote(l), share(was.Labels[l], before), share(is.Labels[l], now))
	}
	p := make([]float64, len(out))
	for i := range out {
		p[i] = out[i].P
	}
	for i, adjusted := range stats.Holm(p) {
		out[i].Adjusted, out[i].Drifted = adjusted, adjusted < alpha
	}
	return out
}
