package report

import (
	"math"

	"github.com/telltale-llm/telltale/internal/record"
)

// spreadBins is the number of bins of a spread, even so that neighbours can be merged in pairs.
const spreadBins = 48

// maxSpreads bounds the scores whose values are counted by size, by name.
const maxSpreads = 60

// spread is a histogram of values whose range is not known beforehand. A bin's width is a power of
// two and its edges are multiples of it; when a value lies outside, the width doubles and
// neighbouring bins are merged, so that every count stays exact. Values that all lie within 0 to 1
// are also counted on that scale, which is what scores are mostly read on.
type spread struct {
	name    string
	unit    [scoreBins]Tally // values from 0 to 1
	outside bool             // a value was not

	bins  [spreadBins]Tally
	width float64 // 0: no value yet
	low   int64   // the first bin's lower edge in widths
	n     int
	min   float64
	max   float64
	sum   float64
}

// add counts a value with the verdict of its score; Undecided stands for measured, not judged.
func (s *spread) add(x float64, sc *record.Score) {
	if s.n == 0 {
		s.min, s.max = x, x
	}
	s.n++
	s.sum += x
	s.min, s.max = math.Min(s.min, x), math.Max(s.max, x)
	if x >= 0 && x <= 1 {
		tallyScore(&s.unit[min(int(x*scoreBins), scoreBins-1)], sc)
	} else {
		s.outside = true
	}
	tallyScore(&s.bins[s.bin(x)], sc)
}

func tallyScore(t *Tally, sc *record.Score) {
	switch {
	case sc.Pass == nil:
		t.Undecided++
	case *sc.Pass:
		t.Passed++
	default:
		t.Failed++
	}
}

// bin returns the bin of x and widens the histogram until there is one.
func (s *spread) bin(x float64) int {
	if s.width == 0 {
		// A first width far below the value's own size keeps what follows apart; beyond 2^40 widths
		// from zero the edges could not be told apart.
		exponent := -20
		if x != 0 {
			exponent = max(exponent, math.Ilogb(x)-8)
		}
		s.width = math.Ldexp(1, exponent)
		s.low = int64(math.Floor(x/s.width)) - spreadBins/2
	}
	for {
		at := math.Floor(x/s.width) - float64(s.low)
		if at >= 0 && at < spreadBins {
			return int(at)
		}
		s.widen(at < 0)
	}
}

// widen doubles the width. The new room is put below or above; edges stay multiples of the width.
func (s *spread) widen(below bool) {
	var merged [spreadBins]Tally
	low := s.low >> 1 // rounds down for negative numbers too
	shift := int(s.low - low*2)
	if below {
		low -= spreadBins/2 - 1
		shift += spreadBins - 2
	}
	for i, t := range s.bins {
		if t.Total() == 0 {
			continue
		}
		m := &merged[(i+shift)/2]
		m.Passed += t.Passed
		m.Failed += t.Failed
		m.Undecided += t.Undecided
	}
	s.bins, s.low = merged, low
	s.width *= 2
}

// used returns the range of bins that hold values.
func (s *spread) used() (first, last int) {
	first = -1
	for i, t := range s.bins {
		if t.Total() > 0 {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	return max(first, 0), last
}

// judged says whether any value came with a judgement.
func (s *spread) judged() bool {
	for _, t := range s.bins {
		if t.judged() > 0 {
			return true
		}
	}
	return false
}
