package plan

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Suite is what a suite can show and what that takes: plan.json.
type Suite struct {
	Path string `json:"suite"`
	// Cases, Groups and Cells are the suite's own; Groups counts independent clusters of cases.
	Cases  int `json:"cases"`
	Groups int `json:"groups"`
	Cells  int `json:"cells"` // prompts × providers
	// Repeats are those of the suite.
	Repeats int    `json:"samples_per_case"`
	Metric  string `json:"metric"`
	Unit    string `json:"unit,omitempty"`
	// Better is "higher", "lower", or "" where it is not known.
	Better string `json:"better,omitempty"`
	Goal   Goal   `json:"goal"`
	// Effect is the drop that is to be found; 0 when none was asked for.
	Effect   float64  `json:"effect,omitempty"`
	Variance Variance `json:"variance"`
	// Options are the suite's repeats and others.
	Options []Option `json:"options"`
	// Margins are those of the suite's gate on metrics of which something is known.
	Margins []Margin `json:"margins,omitempty"`
	// Usage says where tokens, money and time come from, Notes what is not in them and what else to know.
	Usage string   `json:"usage"`
	Notes []string `json:"notes,omitempty"`
}

// Own is the option with the suite's own repeats; nil before Table has made them.
func (s *Suite) Own() *Option {
	for i := range s.Options {
		if s.Options[i].Repeats == s.Repeats {
			return &s.Options[i]
		}
	}
	return nil
}

// Margin is a line of the gate: what an unchanged system can expect of it.
type Margin struct {
	Metric string  `json:"metric"`
	Margin float64 `json:"margin"`
	Unit   string  `json:"unit,omitempty"`
	// Chance is the chance that an unchanged system is shown to be within the margin, with the suite's cases
	// and repeats; Cases is how many cases make it the goal's power, 0 when no number does.
	Chance float64 `json:"chance"`
	Cases  int     `json:"cases"`
	Basis  string  `json:"basis"`
	// Points says that the margin reads as percentage points.
	Points bool `json:"-"`
}

// NewMargin says what a margin asks of n cases with k answers a side.
func NewMargin(v *Variance, metric, unit string, margin float64, n, k int, g Goal) Margin {
	m := Margin{Metric: metric, Margin: margin, Unit: unit, Basis: v.Basis, Points: v.Points(unit)}
	variance := v.Of(k)
	z := distuv.UnitNormal.Quantile(1 - g.Alpha)
	switch {
	case variance == 0:
		m.Chance, m.Cases = 1, 2
	case margin > 0:
		m.Chance = distuv.UnitNormal.CDF(margin/math.Sqrt(variance/float64(n)) - z)
		need := factor(g) / margin
		if cases := math.Ceil(need * need * variance); cases < maxCases {
			m.Cases = int(cases)
		}
	}
	return m
}

// Usage is what one sample of each cell is expected to use.
type Usage struct {
	Prompt, Completion float64 // tokens
	Cost               *float64
	Seconds            float64
	// Judging is what the judges of one sample cost.
	Judging float64
}

// SpendOf is what that many cases with k answers take at the given number of requests at a time.
func SpendOf(cells []Usage, cases, k, concurrency int) Spend {
	each := float64(cases * k)
	out := Spend{Samples: cases * k * len(cells)}
	var cost, seconds float64
	priced := true
	for _, u := range cells {
		out.Prompt += each * u.Prompt
		out.Completion += each * u.Completion
		seconds += each * u.Seconds
		cost += each * u.Judging
		if u.Cost == nil {
			priced = false
			continue
		}
		cost += each * *u.Cost
	}
	if priced {
		out.Cost = &cost
	}
	out.Minutes = seconds / float64(max(1, concurrency)) / 60
	return out
}

// Table makes the options for the suite's own repeats and their doublings up to 16.
func (s *Suite) Table(cells []Usage, concurrency int) {
	ks := []int{1, 2, 4, 8, 16}
	if !slices.Contains(ks, s.Repeats) {
		ks = append(ks, s.Repeats)
		slices.Sort(ks)
	}
	for _, k := range ks {
		o := Option{Repeats: k, Spend: SpendOf(cells, s.Cases, k, concurrency)}
		if d, ok := Detect(&s.Variance, s.Cases, k, s.Goal); ok {
			o.Detect = &d
		}
		if s.Effect > 0 {
			if n, ok := Cases(&s.Variance, s.Effect, k, s.Goal); ok {
				o.Cases = n
			}
		}
		s.Options = append(s.Options, o)
	}
}
