package plan

import (
	"github.com/telltale-llm/telltale/internal/stats"
)

// Rollout is what live traffic can show of a canary that is worse.
type Rollout struct {
	// Baseline is the event's rate in the control arm; 0 when the plan is about scores.
	Baseline float64 `json:"baseline_rate,omitempty"`
	// Scores is the control arm's scores, when the plan is about those; nil for a rate.
	Scores *Scores `json:"scores,omitempty"`
	// Traffic is the requests an hour in both arms together.
	Traffic float64 `json:"requests_per_hour"`
	Alpha   float64 `json:"alpha"`
	// Rows hold each split with each rate.
	Rows []RolloutRow `json:"rows"`
}

// Scores are scores in [0, 1], such as a judge's, a similarity or a toxicity, with their standard deviation in either arm.
type Scores struct {
	Mean float64 `json:"baseline_mean"`
	SD   float64 `json:"sd"`
}

// RolloutRow is one split of the traffic with one rate of the canary.
type RolloutRow struct {
	Split float64 `json:"split"`
	// Candidate is the canary's rate, Mean that of its scores; 0 for the one that the plan is not about.
	Candidate float64 `json:"candidate_rate,omitempty"`
	Mean      float64 `json:"candidate_mean,omitempty"`
	Procedure string  `json:"procedure"`
	// Bound is the mean number of requests, of both arms, that no procedure can go below; BoundHours the time for it.
	Bound      float64 `json:"bound_requests"`
	BoundHours float64 `json:"bound_hours"`
	// MeanRequests, Median and P90 are requests until the procedure used rejects, by simulation, and the hours for them;
	// nil when too many of the simulated rollouts did not reject within the horizon, any of them for the mean.
	MeanRequests *float64 `json:"mean_requests"`
	Median       *float64 `json:"median_requests"`
	P90          *float64 `json:"p90_requests"`
	MeanHours    *float64 `json:"mean_hours"`
	MedianHours  *float64 `json:"median_hours"`
	P90Hours     *float64 `json:"p90_hours"`
	// LeastMean is what the mean is at least: those that did not reject are counted with the horizon.
	LeastMean float64 `json:"mean_requests_at_least"`
	// Found is the share of the simulated rollouts that rejected within Horizon requests.
	Found   float64 `json:"found"`
	Horizon float64 `json:"horizon_requests"`
	Runs    int     `json:"simulated"`
}

// NewRollout simulates every split with every rate of the canary. ok is false when the baseline, a rate, a split or alpha
// is not between 0 and 1, a rate is not above the baseline, or there is no traffic.
func NewRollout(baseline float64, candidates, splits []float64, traffic, alpha float64, seed uint64) (r Rollout, ok bool) {
	r = Rollout{Baseline: baseline, Traffic: traffic, Alpha: alpha}
	if !(traffic > 0) {
		return r, false
	}
	return r.rows(candidates, splits, func(c, split float64) (stats.Detection, RolloutRow, bool) {
		d, ok := stats.DetectRate(stats.RateChange{Baseline: baseline, Candidate: c, Split: split, Alpha: alpha, Seed: seed})
		return d, RolloutRow{Candidate: c}, ok
	})
}

// NewScoreRollout simulates every split with every mean of the canary's scores: one below the control's is worse when higher scores are
// better, one above when lower are. ok is false when a mean, a split or alpha is not between 0 and 1, no scores between 0
// and 1 have that standard deviation at one of the means, a mean is the control's, or there is no traffic.
func NewScoreRollout(control Scores, means, splits []float64, traffic, alpha float64, seed uint64) (r Rollout, ok bool) {
	r = Rollout{Scores: &control, Traffic: traffic, Alpha: alpha}
	if !(traffic > 0) {
		return r, false
	}
	return r.rows(means, splits, func(m, split float64) (stats.Detection, RolloutRow, bool) {
		better := stats.HigherIsBetter
		if m > control.Mean {
			better = stats.LowerIsBetter
		}
		d, ok := stats.DetectScore(stats.ScoreChange{Baseline: control.Mean, Candidate: m, SD: control.SD, Split: split, Better: better, Alpha: alpha, Seed: seed})
		return d, RolloutRow{Mean: m}, ok
	})
}

// rows fills the plan with every split and canary.
func (r Rollout) rows(canaries, splits []float64, detect func(canary, split float64) (stats.Detection, RolloutRow, bool)) (Rollout, bool) {
	for _, split := range splits {
		for _, c := range canaries {
			d, row, ok := detect(c, split)
			if !ok {
				return r, false
			}
			row.Split, row.Procedure = split, string(d.Procedure)
			row.Bound, row.BoundHours = d.Bound, d.Bound/r.Traffic
			row.MeanRequests, row.Median, row.P90 = known(d.Mean, 1), known(d.Median, 1), known(d.P90, 1)
			row.MeanHours = known(d.Mean, r.Traffic)
			row.MedianHours, row.P90Hours = known(d.Median, r.Traffic), known(d.P90, r.Traffic)
			row.Horizon, row.Runs = d.Horizon, d.Runs
			if stats.Finite(d.Found) {
				row.Found, row.LeastMean = d.Found, d.LeastMean
			}
			r.Rows = append(r.Rows, row)
		}
	}
	return r, len(r.Rows) > 0
}

// known is x over a divisor, nil for what is infinite or not known.
func known(x, over float64) *float64 {
	if !stats.Finite(x) {
		return nil
	}
	x /= over
	return &x
}
