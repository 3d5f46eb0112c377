package stats

import (
	"fmt"
	"math"
	"sort"
)

// The quantile sketch's figures: up to QuantileExact numbers it is exact, beyond that every answer is
// within a relative error of QuantileError.
const (
	QuantileError = 0.01
	QuantileExact = 1024
	// Buckets cover 1e-9 to 1e12, which for seconds is a nanosecond to 30,000 years; what lies
	// outside is counted in the end bucket.
	quantileLow  = 1e-9
	quantileHigh = 1e12
)

var (
	quantileLogGamma = math.Log((1 + QuantileError) / (1 - QuantileError))
	quantileBuckets  = 1 + int(math.Ceil(math.Log(quantileHigh/quantileLow)/quantileLogGamma))
)

// Quantiles finds quantiles of numbers that are not negative, such as times and counts. Up to 1,024
// numbers it is exact. Beyond that it counts them in buckets whose bounds grow by (1+e)/(1−e), so
// that every answer is within a relative error e = 1% of a true one (Masson, Rim and Lee 2019,
// "DDSketch"), in at most 2,500 counters. The zero value is empty.
type Quantiles struct {
	n       int
	exact   []float64
	zeros   int
	buckets []int // nil while exact
	// The least and the greatest of what the buckets count: a bucket's value may lie beyond them.
	low, high float64
}

// Add adds x; a negative, infinite or NaN x is refused.
func (q *Quantiles) Add(x float64) error {
	if !(x >= 0) || math.IsInf(x, 0) {
		return fmt.Errorf("%v is not a finite number of at least 0", x)
	}
	q.n++
	if q.buckets == nil && len(q.exact) < QuantileExact {
		q.exact = append(q.exact, x)
		return nil
	}
	q.spill()
	q.count(x)
	return nil
}

// Merge adds the numbers of o.
func (q *Quantiles) Merge(o Quantiles) {
	q.n += o.n
	if q.buckets == nil && o.buckets == nil && len(q.exact)+len(o.exact) <= QuantileExact {
		q.exact = append(q.exact, o.exact...)
		return
	}
	q.spill()
	for _, x := range o.exact {
		q.count(x)
	}
	q.zeros += o.zeros
	if o.high > 0 {
		q.span(o.low, o.high)
	}
	for i, c := range o.buckets {
		q.buckets[i] += c
	}
}

// N returns how many numbers were added.
func (q *Quantiles) N() int { return q.n }

// At returns the smallest number that at least a share p of all numbers do not exceed (the
// ⌈p·n⌉-th smallest). ok is false when there are none or p is not within (0, 1].
func (q *Quantiles) At(p float64) (x float64, ok bool) {
	if q.n == 0 || !(p > 0) || !(p <= 1) {
		return 0, false
	}
	// The small step back keeps 0.95 × 20 from becoming the 20th.
	rank := int(math.Ceil(p*float64(q.n) - 1e-9))
	rank = min(max(rank, 1), q.n)
	if q.buckets == nil {
		sorted := append([]float64(nil), q.exact...)
		sort.Float64s(sorted)
		return sorted[rank-1], true
	}
	if rank -= q.zeros; rank <= 0 {
		return 0, true
	}
	for i, c := range q.buckets {
		if rank -= c; rank <= 0 {
			return min(max(bucketValue(i), q.low), q.high), true
		}
	}
	return 0, false
}

func (q *Quantiles) spill() {
	if q.buckets != nil {
		return
	}
	q.buckets = make([]int, quantileBuckets)
	for _, x := range q.exact {
		q.count(x)
	}
	q.exact = nil
}

func (q *Quantiles) count(x float64) {
	if x == 0 {
		q.zeros++
		return
	}
	q.span(x, x)
	i := int(math.Ceil(math.Log(x/quantileLow) / quantileLogGamma))
	q.buckets[min(max(i, 0), quantileBuckets-1)]++
}

// span widens the range of what the buckets count, all of it above 0.
func (q *Quantiles) span(low, high float64) {
	if q.high == 0 || low < q.low {
		q.low = low
	}
	q.high = max(q.high, high)
}

// bucketValue is the number whose relative distance to both bounds of bucket i is the same.
func bucketValue(i int) float64 {
	upper := quantileLow * math.Exp(float64(i)*quantileLogGamma)
	return upper * (1 - QuantileError)
}
