package stats

import (
	"fmt"
	"math"
	"slices"
)

// Forecasts are probabilities that were stated before the outcome, and what came of them.
type Forecasts struct {
	// P holds the stated probabilities, within [0, 1], Hit whether each came true.
	P   []float64
	Hit []bool
	// Cluster says which forecasts go together, by any number; nil means that all are independent.
	Cluster []int
}

func (f Forecasts) valid() bool {
	if len(f.P) == 0 || len(f.P) != len(f.Hit) || (f.Cluster != nil && len(f.Cluster) != len(f.P)) {
		return false
	}
	for _, p := range f.P {
		if !(p >= 0 && p <= 1) {
			return false
		}
	}
	return true
}

// Bins is how forecasts are put in bins. An error of calibration is a number only together with its binning.
type Bins struct {
	Kind BinKind
	// Count is the number of bins; 0 means CalibrationBins.
	Count int
}

// BinKind says where the edges of bins are. A bin holds what is above its lower edge and up to its upper one; the first
// holds 0 too.
type BinKind uint8

// The kinds of bins.
const (
	// EqualWidth has edges at k/Count (Guo et al. 2017).
	EqualWidth BinKind = iota
	// EqualMass has about as many forecasts in each bin. The sorted forecasts are cut in Count runs, of which the first
	// n mod Count have one more than the others; an edge lies midway between the last of a run and the first of
	// the next, the last edge is 1, and equal edges are one (Kumar, Liang and Ma 2019). Forecasts that are equal
	// are never parted.
	EqualMass
)

// CalibrationBins is the customary number of bins.
const CalibrationBins = 15

// String names everything that the numbers depend on.
func (b Bins) String() string {
	kind := "equal width"
	if b.Kind == EqualMass {
		kind = "equal mass"
	}
	return fmt.Sprintf("%s, %d bins (low, high]", kind, b.count())
}

func (b Bins) count() int {
	if b.Count <= 0 {
		return CalibrationBins
	}
	return b.Count
}

// Edges returns the upper edges of the bins for the probabilities p, from the lowest up; the last is 1. p is used by
// EqualMass only, which has no more bins than there are probabilities.
func (b Bins) Edges(p []float64) []float64 {
	count := b.count()
	var edges []float64
	if b.Kind == EqualMass {
		sorted := slices.Clone(p)
		slices.Sort(sorted)
		count = min(count, len(sorted))
		at := 0
		for k := range count - 1 {
			at += len(sorted) / count
			if k < len(sorted)%count {
				at++
			}
			edges = append(edges, (sorted[at-1]+sorted[at])/2)
		}
	} else {
		for k := 1; k < count; k++ {
			edges = append(edges, float64(k)/float64(count))
		}
	}
	return slices.Compact(append(edges, 1))
}

// assign returns the bin of each probability.
func assign(p, edges []float64) []int {
	out := make([]int, len(p))
	for i, x := range p {
		// The first edge that is not below x.
		out[i], _ = slices.BinarySearch(edges, x)
	}
	return out
}

// CalibrationBin is one bin of a reliability diagram.
type CalibrationBin struct {
	// Low and High are its edges.
	Low, High float64
	N         int
	// Predicted is the mean of the stated probabilities, Observed the share that came true.
	Predicted, Observed float64
	// Interval of the share (Wilson, 95%), on the effective number of trials when forecasts come in clusters.
	Interval Interval
}

// Calibration says how far stated probabilities are from what comes true. All errors are in units of probability, and
// those called squared in squares of it.
type Calibration struct {
	N int
	// Bins are those that hold a forecast.
	Bins []CalibrationBin
	// ECE is Σ n_b/n |d_b| with d_b = Predicted − Observed (L1). It is above 0 even for perfect forecasts: with 15
	// bins of equal width by about 0.09 for 100 forecasts and 0.03 for 1,000. Do not gate on it.
	ECE float64
	// MCE is the largest |d_b|, which one bin of few forecasts decides.
	MCE float64
	// Squared is Σ n_b/n d_b².
	Squared float64
	// Debiased estimates the same for the forecasts' population: Σ n_b/n (d_b² − ȳ(1−ȳ)/(n_b−1)) with ȳ = Observed,
	// over bins of two or more, whose shares are taken to make up 1 (Bröcker 2012; Kumar, Liang and Ma 2019). It is
	// near 0 for perfect forecasts, and may be negative; NaN when no bin holds two. Root is √max(0, Debiased).
	Debiased, Root float64
	// Single is the number of forecasts that are alone in their bin, which Debiased leaves out.
	Single int
}

// Calibrate measures calibration. It fits nothing. ok is false without forecasts, when lengths differ, and for a
// probability outside [0, 1].
func Calibrate(f Forecasts, b Bins) (c Calibration, ok bool) {
	if !f.valid() {
		return Calibration{}, false
	}
	edges := b.Edges(f.P)
	bin := assign(f.P, edges)
	sums := make([]binSum, len(edges))
	trials := make([]Clustered, len(edges))
	for i, k := range bin {
		sums[k].add(f.P[i], f.Hit[i])
		if f.Cluster != nil {
			trials[k].Keyed(f.Cluster[i], indicator(f.Hit[i]), 1)
		}
	}
	return calibrationOf(sums, edges, func(k int) Interval {
		if f.Cluster == nil {
			return shareInterval(sums[k].y, sums[k].n)
		}
		return clusteredShare(&trials[k], int(sums[k].n))
	}), true
}

// calibrationOf measures what forecasts add up to in bins with these upper edges. interval gives that of a bin's share.
func calibrationOf(sums []binSum, edges []float64, interval func(k int) Interval) Calibration {
	var c Calibration
	var n float64
	for _, s := range sums {
		n += s.n
	}
	c.N = int(math.Round(n))
	low := 0.0
	for k, s := range sums {
		if s.n > 0 {
			x := CalibrationBin{Low: low, High: edges[k], N: int(math.Round(s.n)), Predicted: s.p / s.n, Observed: s.y / s.n, Interval: interval(k)}
			c.Bins = append(c.Bins, x)
			gap := math.Abs(x.Predicted - x.Observed)
			c.ECE += s.n / n * gap
			c.MCE = math.Max(c.MCE, gap)
			c.Squared += s.n / n * gap * gap
			if x.N == 1 {
				c.Single++
			}
		}
		low = edges[k]
	}
	c.Debiased, _ = debiased(sums)
	c.Root = math.Sqrt(math.Max(0, c.Debiased))
	return c
}

// shareInterval is the interval of y of n independent trials; everything where there is none, for nothing is known then.
func shareInterval(y, n float64) Interval {
	if i, ok := Wilson(y, n, Level); ok {
		return i
	}
	return Interval{0, 1}
}

// clusteredShare is the same for n trials that come in clusters; nothing is known of a share that one cluster makes up.
func clusteredShare(trials *Clustered, n int) Interval {
	r := trials.Ratio()
	rate, _ := r.Value()
	se, _ := r.ClusteredSE()
	effective := EffectiveTrials(rate, se, n, r.Clusters(), Level)
	return shareInterval(rate*effective, effective)
}

func indicator(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// binSum is what a bin holds.
type binSum struct{ n, p, y float64 }

func (s *binSum) add(p float64, hit bool) {
	s.n++
	s.p += p
	if hit {
		s.y++
	}
}

// debiased returns the debiased squared error and, over the same bins, the plain one. Both are NaN when no bin
// holds two.
func debiased(sums []binSum) (unbiased, plain float64) {
	var weight float64
	for _, s := range sums {
		if s.n < 2 {
			continue
		}
		y := s.y / s.n
		gap := s.p/s.n - y
		weight += s.n
		plain += s.n * gap * gap
		unbiased += s.n * (gap*gap - y*(1-y)/(s.n-1))
	}
	return unbiased / weight, plain / weight
}

// CalibrationInterval returns a bootstrap interval of the debiased squared error, with its ends not below 0; the square
// roots of its ends are an interval of Root. Clusters are drawn with replacement, and bins keep their edges. A
// resample's own truth is the plain squared error of the sample, so that the differences of the resamples from it,
// not the resamples themselves, are turned about the estimate:
//
//	(Debiased − (q_{1−α/2} − plain), Debiased − (q_{α/2} − plain))
//
// ok is false below two clusters, when no bin holds two forecasts, and for a level that needs more draws.
func CalibrationInterval(f Forecasts, b Bins, level float64, d Draws) (i Interval, ok bool) {
	if !f.valid() || !(level > 0 && level < 1) {
		return Interval{}, false
	}
	edges := b.Edges(f.P)
	bin := assign(f.P, edges)
	members := f.members()
	if len(members) < 2 {
		return Interval{}, false
	}
	sums := make([]binSum, len(edges))
	for k := range bin {
		sums[bin[k]].add(f.P[k], f.Hit[k])
	}
	estimate, plain := debiased(sums)
	drawn, ok := resample(len(members), func(index []int) float64 {
		clear(sums)
		for _, c := range index {
			for _, k := range members[c] {
				sums[bin[k]].add(f.P[k], f.Hit[k])
			}
		}
		x, _ := debiased(sums)
		return x
	}, d)
	if !ok || !Finite(estimate) {
		return Interval{}, false
	}
	slices.Sort(drawn)
	low, ok1 := drawnQuantile(drawn, 0.5-level/2)
	high, ok2 := drawnQuantile(drawn, 0.5+level/2)
	i = Interval{math.Max(0, estimate-(high-plain)), math.Max(0, estimate-(low-plain))}
	return i, ok1 && ok2
}

// members returns the forecasts of each cluster, in order of first appearance.
func (f Forecasts) members() [][]int {
	var out [][]int
	at := map[int]int{}
	for i := range f.P {
		if f.Cluster == nil {
			out = append(out, []int{i})
			continue
		}
		k, ok := at[f.Cluster[i]]
		if !ok {
			k = len(out)
			at[f.Cluster[i]] = k
			out = append(out, nil)
		}
		out[k] = append(out[k], i)
	}
	return out
}

// CalibrationP tests whether the forecasts are perfectly calibrated, by consistency resampling (Bröcker and Smith
// 2007): outcomes are drawn from the stated probabilities themselves, and p is the share (1 + draws whose debiased
// squared error is at least the one seen)/(1 + N). It takes the forecasts to be independent of each other and ignores
// Cluster: for clusters use CalibrationInterval. ok is false when no bin holds two forecasts.
func CalibrationP(f Forecasts, b Bins, d Draws) (p float64, ok bool) {
	if !f.valid() {
		return 0, false
	}
	edges := b.Edges(f.P)
	bin := assign(f.P, edges)
	seen := make([]binSum, len(edges))
	for k := range bin {
		seen[bin[k]].add(f.P[k], f.Hit[k])
	}
	observed, _ := debiased(seen)
	if !Finite(observed) {
		return 0, false
	}
	if d.N <= 0 {
		d.N = PermutationDraws
	}
	// A probability on the scale of 53 random bits.
	limit := make([]uint64, len(f.P))
	for k, x := range f.P {
		limit[k] = uint64(x * (1 << 53))
	}
	source := d.source(streamCalibrated)
	extreme := 0
	for range d.N {
		for k := range seen {
			seen[k].y = 0
		}
		for k, l := range limit {
			if source.Uint64()>>11 < l {
				seen[bin[k]].y++
			}
		}
		if x, _ := debiased(seen); x >= observed-tieShare {
			extreme++
		}
	}
	return float64(1+extreme) / float64(1+d.N), true
}
