package plan

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/telltale-llm/telltale/internal/stats"
)

// Suite is what a suite can show and what that takes: plan.json.
type Suite struct {
	Path string `json:"suite"`
	// Cases are the suite's own, without those in quarantine; Groups counts groups of them and cases without one; Cells
	// are prompts × providers.
	Cases  int `json:"cases"`
	Groups int `json:"groups"`
	Cells  int `json:"cells"`
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
	// Options are the suite's repeats and others, Sizes other numbers of cases.
	Options []Option `json:"options"`
	Sizes   []Size   `json:"sizes"`
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
	if !(margin > 0) {
		return m
	}
	variance := v.Of(k)
	z := -distuv.UnitNormal.Quantile(g.Alpha)
	if n > 0 && margin > v.unseen(float64(n), g.Alpha) {
		// Certain where nothing varies, for the quotient is infinite.
		m.Chance = distuv.UnitNormal.CDF(margin/math.Sqrt(variance/float64(n)) - z)
	}
	need := factor(g) / margin
	cases := max(math.Ceil(need*need*variance), v.seen(margin, g.Alpha), 2)
	if cases < maxCases {
		m.Cases = int(cases)
	}
	return m
}

// unseen is the drop of a rate that n cases leave open even when not one of them changes. 0 for other metrics.
func (v *Variance) unseen(n, alpha float64) float64 {
	if !v.Binary {
		return 0
	}
	return stats.Unseen(n/v.Design, alpha)
}

// seen is how many cases leave no drop by the margin unseen.
func (v *Variance) seen(margin, alpha float64) float64 {
	if !v.Binary || margin >= 1 {
		return 0
	}
	return math.Floor(v.Design*stats.UnseenTrials(margin, alpha)) + 1
}

// Usage is what the samples of a cell, a provider with a prompt, are expected to use.
type Usage struct {
	// Cases are those that are answered as often as the suite says; Own are the samples of those with a number of answers
	// of their own.
	Cases, Own int
	// The rest is of one sample. Tokens of the prompt and of the answer:
	Prompt, Completion float64
	Cost               *float64 // nil when the price is not known
	Seconds            float64  // of all its answers
	Requests           float64  // 1, and more in a conversation
	// What its judges take: US dollars (nil when a price is not known), tokens, seconds.
	JudgeCost    *float64
	JudgeTokens  float64
	JudgeSeconds float64
	// Provider is asked no more than Most requests at a time; 0 is no bound of its own.
	Provider string
	Most     int
	// Delay is the least time in seconds between the starts of two requests of all cells with the same Pace.
	Delay float64
	Pace  string
}

// SpendOf is what a run with k answers to each case takes at the given number of requests at a time. Its time is the
// longest that any of the bounds asks for: that number, those of providers, and delays.
func SpendOf(cells []Usage, k, concurrency int) Spend {
	var out Spend
	var seconds, cost float64
	busy, paced := map[string]float64{}, map[string]float64{}
	priced := true
	for i := range cells {
		u := &cells[i]
		n := float64(u.Cases*k + u.Own)
		out.Samples += u.Cases*k + u.Own
		out.Prompt += n * u.Prompt
		out.Completion += n * u.Completion
		out.Judging += n * u.JudgeTokens
		seconds += n * (u.Seconds + u.JudgeSeconds)
		if u.Most > 0 {
			busy[u.Provider] += n * u.Seconds / float64(u.Most)
		}
		paced[u.Pace] += n * u.Requests * u.Delay
		if u.Cost == nil || u.JudgeCost == nil {
			priced = false
			continue
		}
		cost += n * (*u.Cost + *u.JudgeCost)
	}
	if priced {
		out.Cost = &cost
	}
	seconds /= float64(max(1, concurrency))
	for _, bound := range []map[string]float64{busy, paced} {
		for _, least := range bound {
			seconds = max(seconds, least)
		}
	}
	out.Minutes = seconds / 60
	return out
}

// Size is what the suite would find with another number of cases.
type Size struct {
	Cases int `json:"cases"`
	// Detect is the least drop for each of Suite.Options; nil when there is none.
	Detect []*float64 `json:"detect"`
	// Spend is that of one answer to each case; that of k answers is about k times as much.
	Spend Spend `json:"one_answer_each"`
}

// Table makes the options for the suite's own repeats and their doublings up to 16, and sizes from half to four times
// the suite's cases. n is how many cases a snapshot is decided by.
func (s *Suite) Table(cells []Usage, n, concurrency int) {
	ks := []int{1, 2, 4, 8, 16}
	if !slices.Contains(ks, s.Repeats) {
		ks = append(ks, s.Repeats)
		slices.Sort(ks)
	}
	for _, k := range ks {
		o := Option{Repeats: k, Detect: s.detect(n, k), Spend: SpendOf(cells, k, concurrency)}
		if s.Effect > 0 {
			if n, ok := Cases(&s.Variance, s.Effect, k, s.Goal); ok {
				o.Cases = n
			}
		}
		s.Options = append(s.Options, o)
	}
	for _, times := range []float64{0.5, 1, 2, 4} {
		size := Size{Cases: int(math.Round(times * float64(n)))}
		for _, k := range ks {
			size.Detect = append(size.Detect, s.detect(size.Cases, k))
		}
		size.Spend = SpendOf(cells, 1, concurrency).times(times)
		s.Sizes = append(s.Sizes, size)
	}
}

func (s *Suite) detect(n, k int) *float64 {
	if d, ok := Detect(&s.Variance, n, k, s.Goal); ok {
		return &d
	}
	return nil
}

// times is the use of so many times the cases.
func (s Spend) times(x float64) Spend {
	s.Samples = int(math.Round(x * float64(s.Samples)))
	s.Prompt, s.Completion, s.Judging, s.Minutes = x*s.Prompt, x*s.Completion, x*s.Judging, x*s.Minutes
	if s.Cost != nil {
		s.Cost = new(x * *s.Cost)
	}
	return s
}
