package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// ratio is how much slower users' requests were with a fault: the ratio of the p99, and the 95% interval of it.
type ratio struct{ ratio, low, high float64 }

// clear says whether the interval is on one side of a bar.
func (r ratio) clear(bar float64) bool { return r.low > bar || r.high <= bar }

// seconds are latencies by the second in which they were due: what slows a machine down slows neighbours together, so it is
// seconds that are drawn.
func seconds(replies []reply) [][]float64 {
	by := map[int64][]float64{}
	var order []int64
	for _, r := range replies {
		if r.err != nil {
			continue
		}
		s := r.due.UnixNano() / int64(time.Second)
		if by[s] == nil {
			order = append(order, s)
		}
		by[s] = append(by[s], r.done.Sub(r.due).Seconds())
	}
	slices.Sort(order)
	out := make([][]float64, len(order))
	for i, s := range order {
		out[i] = by[s]
	}
	return out
}

const draws = 1000

// turn is a window without the fault and one with it.
type turn struct{ normal, broken []reply }

// compare draws turns with replacement, and within each the seconds of both windows: what slows the machine down for as long
// as a window makes turns differ. NaN without replies, which is no side of any bar.
func compare(turns []turn, seed uint64) ratio {
	normal, broken := make([][][]float64, len(turns)), make([][][]float64, len(turns))
	for i, t := range turns {
		normal[i], broken[i] = seconds(t.normal), seconds(t.broken)
		if len(normal[i]) == 0 || len(broken[i]) == 0 {
			return ratio{math.NaN(), math.NaN(), math.NaN()}
		}
	}
	var buf []float64
	p99 := func(of [][][]float64, turns []int, pick func(from, i int) int) float64 {
		buf = buf[:0]
		for _, t := range turns {
			for i := range of[t] {
				buf = append(buf, of[t][pick(len(of[t]), i)]...)
			}
		}
		slices.Sort(buf)
		return quantile(buf, .99)
	}
	drawn := make([]int, len(turns))
	for i := range drawn {
		drawn[i] = i
	}
	same := func(_, i int) int { return i }
	out := ratio{ratio: p99(broken, drawn, same) / p99(normal, drawn, same)}
	rng := rand.New(rand.NewPCG(seed, 3))
	any := func(from, _ int) int { return rng.IntN(from) }
	all := make([]float64, draws)
	for i := range all {
		for j := range drawn {
			drawn[j] = rng.IntN(len(turns))
		}
		all[i] = p99(broken, drawn, any) / p99(normal, drawn, any)
	}
	slices.Sort(all)
	out.low, out.high = quantile(all, .025), quantile(all, .975)
	return out
}
