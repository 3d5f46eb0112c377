package stats

import (
	"math"
	"slices"
)

// Scale says what distances between ratings mean.
type Scale uint8

// The scales of Krippendorff's alpha.
const (
	// NominalScale knows only the same and not the same.
	NominalScale Scale = iota
	// OrdinalScale counts how many ratings, of all that were given, lie between the two.
	OrdinalScale
	// IntervalScale takes the square of the difference of the numbers.
	IntervalScale
)

// KrippendorffAlpha is the agreement of any number of raters, of whom not all need have rated each item (Krippendorff
// 2011, "Computing Krippendorff's Alpha-Reliability"): 1 − D_o/D_e, with D_o the mean squared distance of two ratings
// of one item, and D_e that of any two ratings. Items with fewer than two ratings are left out, and Categories is
// not used. With m_u ratings of item u, N in all, δ² the squared distance and sums over ordered pairs:
//
//	α = 1 − (N − 1) A/B, A = Σ_u Σ_{i≠j∈u} δ²/(m_u − 1), B = Σ δ² over all ratings
//
// The squared distance on the ordinal scale is that of the ratings' mean ranks. The standard error is the
// infinitesimal jackknife over items, with ranks taken as given:
// the derivative of α by each item's weight, their variance (n−1) times n. Observed and Expected are 1 − D_o and 1 − D_e, which
// on the ordinal and interval scales are no shares. ok is false when no item has two ratings and when all ratings
// are equal.
func KrippendorffAlpha(r Ratings, scale Scale) (a Agreement, ok bool) {
	units, ok := alphaUnits(r)
	if !ok {
		return Agreement{}, false
	}
	var all []float64
	for _, u := range units {
		all = append(all, u...)
	}
	slices.Sort(all)
	if all[0] == all[len(all)-1] {
		return Agreement{}, false
	}
	var within, without []float64 // Σδ² of ordered pairs in u; of u's ratings with all
	switch scale {
	case NominalScale:
		within, without = nominalDistances(units, all)
	case OrdinalScale:
		for _, u := range units {
			for i, x := range u {
				u[i] = meanRank(all, x)
			}
		}
		within, without = squaredDistances(units)
	case IntervalScale:
		within, without = squaredDistances(units)
	default:
		return Agreement{}, false
	}
	n := float64(len(all))
	var sumA, sumB Sum
	for u := range units {
		within[u] /= float64(len(units[u]) - 1)
		sumA.Add(within[u])
		sumB.Add(without[u])
	}
	inner, total := sumA.Value(), sumB.Value()
	a = Agreement{
		Value: 1 - (n-1)*inner/total, Observed: 1 - inner/n, Expected: 1 - total/(n*(n-1)),
		Items: len(units), Ratings: len(all),
	}
	if !Finite(a.Value) {
		return Agreement{}, false
	}
	slopes := make([]float64, len(units))
	var mean Sum
	for u := range units {
		m := float64(len(units[u]))
		// Each rating of u is in twice as many ordered pairs as without counts.
		slopes[u] = -((m*inner+(n-1)*within[u])/total - (n-1)*inner*2*without[u]/(total*total))
		mean.Add(slopes[u] / float64(len(units)))
	}
	var squares Sum
	for _, s := range slopes {
		squares.Add((s - mean.Value()) * (s - mean.Value()))
	}
	c := float64(len(units))
	a.SE = math.Sqrt(c / (c - 1) * squares.Value())
	a.settle()
	return a, true
}

// alphaUnits returns the ratings of the items that have two or more.
func alphaUnits(r Ratings) (units [][]float64, ok bool) {
	for _, row := range r.Items {
		var u []float64
		for _, x := range row {
			if math.IsInf(x, 0) {
				return nil, false
			}
			if !math.IsNaN(x) {
				u = append(u, x)
			}
		}
		if len(u) > 1 {
			units = append(units, u)
		}
	}
	return units, len(units) > 0
}

// nominalDistances counts, for each item, the ordered pairs of ratings within it that differ, and the pairs of one of
// its ratings with any rating that differ. all is sorted.
func nominalDistances(units [][]float64, all []float64) (within, without []float64) {
	for _, u := range units {
		var in, out float64
		for _, x := range u {
			for _, y := range u {
				if x != y {
					in++
				}
			}
			from, to := span(all, x)
			out += float64(len(all) - (to - from))
		}
		within, without = append(within, in), append(without, out)
	}
	return within, without
}

// squaredDistances is the same with (x−y)²: Σ_{y∈S}(x−y)² = |S|(x−ȳ)² + Σ(y−ȳ)².
func squaredDistances(units [][]float64) (within, without []float64) {
	n := 0.0
	var sum, squares Sum
	for _, u := range units {
		for _, x := range u {
			sum.Add(x)
			n++
		}
	}
	mean := sum.Value() / n
	for _, u := range units {
		for _, x := range u {
			squares.Add((x - mean) * (x - mean))
		}
	}
	for _, u := range units {
		m, centre := float64(len(u)), 0.0
		for _, x := range u {
			centre += x / m
		}
		var in, out float64
		for _, x := range u {
			in += 2 * m * (x - centre) * (x - centre)
			out += n*(x-mean)*(x-mean) + squares.Value()
		}
		within, without = append(within, in), append(without, out)
	}
	return within, without
}

// span is where the ratings equal to x lie among all sorted ones.
func span(all []float64, x float64) (from, to int) {
	from, _ = slices.BinarySearch(all, x)
	to, _ = slices.BinarySearch(all, math.Nextafter(x, math.Inf(1)))
	return from, to
}

// meanRank is the mean rank of the ratings equal to x: the distance of two of them is the number of ratings between,
// with half of each end.
func meanRank(all []float64, x float64) float64 {
	from, to := span(all, x)
	return float64(from+to) / 2
}
