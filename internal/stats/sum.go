package stats

import "math"

// Sum adds numbers with a running compensation for the digits that rounding loses (Neumaier 1974,
// "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen"). Its error does not
// grow with the number of terms. The zero value is an empty sum.
type Sum struct {
	sum, lost float64
}

// Add adds x.
func (s *Sum) Add(x float64) {
	t := s.sum + x
	if math.Abs(s.sum) >= math.Abs(x) {
		s.lost += (s.sum - t) + x
	} else {
		s.lost += (x - t) + s.sum
	}
	s.sum = t
}

// Merge adds what o has summed.
func (s *Sum) Merge(o Sum) {
	s.Add(o.sum)
	s.Add(o.lost)
}

// Value returns the sum.
func (s *Sum) Value() float64 { return s.sum + s.lost }
