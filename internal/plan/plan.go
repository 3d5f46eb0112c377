// Package plan says, before anything is spent, how small a change a suite can show and what that takes: cases,
// repeats, tokens, money and time; and for a rollout, how much traffic and how many hours.
//
// It computes from counts and variances that the caller has measured in earlier runs (Pilot) or supposes
// (Assumed), and every figure says which of the two it rests on. It reads no files and asks no provider. The
// procedures are those the gate decides with, see package stats and docs/statistics.md.
package plan

import (
	"math"

	"github.com/telltale-llm/telltale/internal/stats"
)

// Variance says how much the difference of two runs on one case varies, from case to case and from
// answer to answer, in squares of the metric's unit (Miller 2024, arXiv:2411.00640, section 5).
type Variance struct {
	// Mean of the metric.
	Mean float64 `json:"mean"`
	// Between is the variance over cases of the difference of the two systems' true means, Within that of
	// the answers to one case by one system.
	Between float64 `json:"between"`
	Within  float64 `json:"within"`
	// Design is how many times larger the variance of the mean is because cases come in groups; 1 for none.
	Design float64 `json:"design_effect"`
	// Binary says that the metric is 0 or 1 for each answer.
	Binary bool `json:"binary"`
	// Corpus says that the metric is a number of all answers together, such as BLEU, whose scale is its own.
	Corpus bool `json:"corpus,omitempty"`
	// Basis says where the numbers come from, in words.
	Basis string `json:"basis"`
	// Measured says that nothing of it was supposed.
	Measured bool `json:"measured"`
	// Rises says that the metric gets worse by rising, as a rate of errors does.
	Rises bool `json:"-"`
}

// Room is how far a metric from 0 to 1 can get worse.
func (v *Variance) Room() float64 {
	if v.Rises {
		return 1 - v.Mean
	}
	return v.Mean
}

// Points says whether differences of the metric, in that unit, read as percentage points.
func (v *Variance) Points(unit string) bool {
	return unit == "" && !v.Corpus && v.Mean >= 0 && v.Mean <= 1
}

// Of is the variance of one case's difference with k answers a side.
func (v *Variance) Of(k int) float64 {
	return v.Design * (v.Between + 2*v.Within/float64(k))
}

// Goal is how sure the decision must be.
type Goal struct {
	// Alpha is that of one test: the gate's, divided by its margins where they are corrected for.
	Alpha float64 `json:"alpha"`
	Power float64 `json:"power"`
	// TwoSided is for a metric of which neither direction is better.
	TwoSided bool `json:"two_sided,omitempty"`
}

func (g Goal) sides() stats.Sides {
	if g.TwoSided {
		return stats.TwoSided
	}
	return stats.OneSided
}

// fewest is the number of cases below which no result is significant: an exact test by signs has no p-value below
// one of all their patterns. (McNemar's mid-p has half of that, so that one case less might do.)
func (g Goal) fewest() float64 {
	if g.TwoSided {
		return math.Log2(2 / g.Alpha)
	}
	return math.Log2(1 / g.Alpha)
}

// Option is what a number of repeats gives and takes.
type Option struct {
	Repeats int `json:"samples_per_case"`
	// Detect is the least true drop that the test finds with the goal's power, in the metric's unit; nil when
	// there is none.
	Detect *float64 `json:"detect"`
	// Cases is how many cases a drop of the wanted effect takes; 0 when no effect is wanted.
	Cases int `json:"cases_for_effect,omitempty"`
	Spend
}

// Spend is what a run is expected to use.
type Spend struct {
	Samples int `json:"samples"`
	// Tokens of prompts and answers, and of what judges and embedders read and wrote.
	Prompt     float64 `json:"prompt_tokens"`
	Completion float64 `json:"completion_tokens"`
	Judging    float64 `json:"judge_tokens,omitempty"`
	// Cost in US dollars; nil when a price is not known.
	Cost    *float64 `json:"cost"`
	Minutes float64  `json:"minutes"`
}

// Tokens are all of them.
func (s *Spend) Tokens() float64 { return s.Prompt + s.Completion + s.Judging }

// Detect is the least drop found with the goal's power over n cases with k answers a side. A mean's is the normal
// approximation with the variance as it is (Miller 2024). A drop of a metric of 0 and 1 adds variance of its own, see
// detectBroken.
func Detect(v *Variance, n, k int, g Goal) (drop float64, ok bool) {
	cases := float64(n) / v.Design
	if k < 1 || !(g.Alpha > 0 && g.Alpha < 1) || !(g.Power > g.Alpha && g.Power < 1) || !(cases >= g.fewest()) {
		return 0, false
	}
	if v.Binary {
		return detectBroken(v, cases, k, g)
	}
	d := stats.MillerMDE(cases, v.Between, v.Within, v.Within, k, k, g.Alpha, g.Power, g.sides())
	return d, stats.Finite(d) && d > 0
}

// detectBroken is Detect for a drop that is a share d of cases which were right and are now wrong in every answer: of
// all drops of that size the one that adds most to the spread of differences, and so the hardest to find. With one
// answer it is McNemar's test (Connor 1987), where an unchanged system flips half of the share V = ω² + 2σ² each way. With
// k answers V is ω² + 2σ²/k, and the test by signs has the same form: differences have V + d for their mean square
// and V + d − d² for their variance. The drop is found by halving the gap.
func detectBroken(v *Variance, n float64, k int, g Goal) (drop float64, ok bool) {
	churn := v.Between + 2*v.Within/float64(k)
	power := func(d float64) float64 {
		return stats.McNemarPower(n, churn/2+d, churn/2, g.Alpha, g.sides())
	}
	low, high := 0.0, min(v.Room(), 1-churn)
	if !(high > 0) || !(power(high) >= g.Power) {
		return 0, false
	}
	for high-low > 1e-6*high {
		if mid := (low + high) / 2; power(mid) >= g.Power {
			high = mid
		} else {
			low = mid
		}
	}
	return high, true
}

// Cases is the number of cases with which a drop of that size is found with the goal's power.
func Cases(v *Variance, drop float64, k int, g Goal) (n int, ok bool) {
	if !(drop > 0) || k < 1 {
		return 0, false
	}
	// Doubling, then halving the gap: Detect falls with n.
	found := func(n int) bool {
		d, ok := Detect(v, n, k, g)
		return ok && d <= drop
	}
	high := 2
	for !found(high) {
		if high > maxCases {
			return 0, false
		}
		high *= 2
	}
	low := high / 2
	for high-low > 1 {
		if mid := (low + high) / 2; found(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high, true
}

// maxCases is where the search for a number of cases ends.
const maxCases = 1 << 27

// factor is z for a one-sided test plus z for the power.
func factor(g Goal) float64 {
	return stats.NormalQuantile(2*g.Power-1) - stats.NormalQuantile(2*g.Alpha-1)
}
