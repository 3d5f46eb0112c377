package stats

import (
	"encoding/json"
	"fmt"
	"math"
)

// MeanSequence is the betting confidence sequence for the mean of scores in [0, 1] (Waudby-Smith and Ramdas 2024,
// "Estimating means of bounded random variables by betting", JRSS B 86, theorem 3). Its interval holds at all times at
// once with probability 1 − alpha for scores whose mean, given the past, is the same throughout.
//
// For each mean m of a grid two gamblers bet against it, K⁺ that it is higher and K⁻ that it is lower:
//
//	K^± = Π (1 ± λ_i^±(m)(X_i − m)),  λ_i⁺ = min(λ_i, ½/m), λ_i⁻ = min(λ_i, ½/(1 − m)),
//	λ_i = √(2 ln(2/α) / (σ̂²_{i−1} i ln(1 + i)))
//
// with the mean and variance of the scores before i, and m is left when ½K⁺ or ½K⁻ reaches 1/α. K⁺ falls with m and
// K⁻ rises, so what remains is an interval; the ends returned are the nearest left points of the grid, and means once left
// stay left. A state holds two numbers for each point that remains, at most 2(Grid + 1), and fewer as the interval
// closes. A MeanSequence is not safe for concurrent use.
type MeanSequence struct {
	opt       MeanSequenceOptions
	n         int64
	sum       float64 // of the scores
	ss        float64 // of (X_i − μ̂_i)²
	low       int     // the least point of the grid that remains
	up, down  []float64
	threshold float64
}

// MeanSequenceOptions say how sure and how fine.
type MeanSequenceOptions struct {
	Alpha float64 `json:"alpha"`
	// Grid is the number of steps from 0 to 1; 0 for 1,000.
	Grid int `json:"grid"`
}

const (
	meanKind    = "betting confidence sequence"
	defaultGrid = 1000
	maxGrid     = 10_000
)

// NewMeanSequence returns a MeanSequence that has seen nothing.
func NewMeanSequence(opt MeanSequenceOptions) (*MeanSequence, error) {
	if opt.Grid == 0 {
		opt.Grid = defaultGrid
	}
	if err := opt.validate(); err != nil {
		return nil, err
	}
	return &MeanSequence{
		opt: opt, threshold: math.Log(2 / opt.Alpha),
		up: make([]float64, opt.Grid+1), down: make([]float64, opt.Grid+1),
	}, nil
}

func (o *MeanSequenceOptions) validate() error {
	if !(o.Alpha > 0 && o.Alpha < 1) {
		return fmt.Errorf("alpha is %v, it must be between 0 and 1", o.Alpha)
	}
	if o.Grid < 10 || o.Grid > maxGrid {
		return fmt.Errorf("a grid of %d steps, it must have 10 to %d", o.Grid, maxGrid)
	}
	return nil
}

// Update notes one score in [0, 1]; another is an error and changes nothing.
func (m *MeanSequence) Update(x float64) error {
	if m.opt.Grid == 0 {
		return errUnmade
	}
	if !(x >= 0 && x <= 1) {
		return fmt.Errorf("the score is %v, it must be from 0 to 1", x)
	}
	variance := (0.25 + m.ss) / float64(m.n+1)
	i := float64(m.n + 1)
	bet := math.Sqrt(2 * m.threshold / (variance * i * math.Log(1+i)))
	for k := range m.up {
		at := float64(m.low+k) / float64(m.opt.Grid)
		m.up[k] += math.Log1p(math.Min(bet, 0.5/at) * (x - at))
		m.down[k] += math.Log1p(-math.Min(bet, 0.5/(1-at)) * (x - at))
	}
	for len(m.up) > 0 && m.up[0] >= m.threshold {
		m.up, m.down, m.low = m.up[1:], m.down[1:], m.low+1
	}
	for last := len(m.up) - 1; last >= 0 && m.down[last] >= m.threshold; last-- {
		m.up, m.down = m.up[:last], m.down[:last]
	}
	m.n++
	m.sum += x
	d := x - m.mean()
	m.ss += d * d
	return nil
}

// mean of the scores, drawn to one half by one imagined score.
func (m *MeanSequence) mean() float64 { return (0.5 + m.sum) / float64(m.n+1) }

// Interval is the confidence sequence now. ok is false before the first score and once every mean of the grid is
// left: the mean has moved, or chance did what it does with probability alpha at most.
func (m *MeanSequence) Interval() (i Interval, ok bool) {
	if m.n == 0 || len(m.up) == 0 {
		return Interval{}, false
	}
	grid := float64(m.opt.Grid)
	return Interval{float64(m.low-1) / grid, float64(m.low+len(m.up)) / grid}.Clip(0, 1), true
}

// N is the number of scores seen.
func (m *MeanSequence) N() int64 { return m.n }

type meanState struct {
	Kind  string    `json:"kind"`
	Alpha float64   `json:"alpha"`
	Grid  int       `json:"grid"`
	N     int64     `json:"n"`
	Sum   float64   `json:"sum"`
	SS    float64   `json:"ss"`
	Low   int       `json:"low"`
	Up    []float64 `json:"up"`
	Down  []float64 `json:"down"`
}

// MarshalJSON returns the state.
func (m *MeanSequence) MarshalJSON() ([]byte, error) {
	return json.Marshal(meanState{meanKind, m.opt.Alpha, m.opt.Grid, m.n, m.sum, m.ss, m.low, m.up, m.down})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (m *MeanSequence) UnmarshalJSON(data []byte) error {
	var s meanState
	if err := decodeState(data, meanKind, &s); err != nil {
		return err
	}
	if s.Kind != meanKind {
		return badState(meanKind, "the kind", s.Kind)
	}
	out := MeanSequence{
		opt: MeanSequenceOptions{Alpha: s.Alpha, Grid: s.Grid}, n: s.N, sum: s.Sum, ss: s.SS,
		low: s.Low, up: s.Up, down: s.Down, threshold: math.Log(2 / s.Alpha),
	}
	if err := out.opt.validate(); err != nil {
		return fmt.Errorf("state of a %s: %w", meanKind, err)
	}
	if s.N < 0 || !(s.Sum >= 0 && s.Sum <= float64(s.N)) || !(s.SS >= 0 && s.SS <= float64(s.N)) {
		return badState(meanKind, "the counts", []any{s.N, s.Sum, s.SS})
	}
	if s.Low < 0 || len(s.Up) != len(s.Down) || s.Low+len(s.Up) > s.Grid+1 || s.N == 0 && len(s.Up) != s.Grid+1 {
		return badState(meanKind, "the points that remain", len(s.Up))
	}
	for k := range s.Up {
		if !Finite(s.Up[k]) || !Finite(s.Down[k]) || s.N == 0 && (s.Up[k] != 0 || s.Down[k] != 0) {
			return badState(meanKind, "the capital at a point", s.Up[k])
		}
	}
	*m = out
	return nil
}
