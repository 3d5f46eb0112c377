package plan

import (
	"github.com/telltale-llm/telltale/internal/stats"
)

// Rollout is what live traffic can show of a canary that is worse.
type Rollout struct {
	// Baseline is the event's rate in the control arm, Traffic the requests an hour in both arms together.
	Baseline float64 `json:"baseline_rate"`
	Traffic  float64 `json:"requests_per_hour"`
	Alpha    float64 `json:"alpha"`
	// Rows hold each split with each rate.
	Rows []RolloutRow `json:"rows"`
}

// RolloutRow is one split of the traffic with one rate of the canary.
type RolloutRow struct {
	Split     float64 `json:"split"`
	Candidate float64 `json:"candidate_rate"`
	Procedure string  `json:"procedure"`
	// Bound is the mean number of requests, of both arms, that no procedure can go below; BoundHours the time for it.
	Bound      float64 `json:"bound_requests"`
	BoundHours float64 `json:"bound_hours"`
	// Mean, Median and P90 are requests until the procedure used rejects, by simulation; nil when it mostly does
	// not within the horizon. Hours are those of the median and of P90.
	Mean        *float64 `json:"mean_requests"`
	Median      *float64 `json:"median_requests"`
	P90         *float64 `json:"p90_requests"`
	MedianHours *float64 `json:"median_hours"`
	P90Hours    *float64 `json:"p90_hours"`
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
	for _, split := range splits {
		for _, c := range candidates {
			d, ok := stats.DetectRate(stats.RateChange{Baseline: baseline, Candidate: c, Split: split, Alpha: alpha, Seed: seed})
			if !ok {
				return r, false
			}
			row := RolloutRow{
				Split: split, Candidate: c, Procedure: string(d.Procedure), Bound: d.Bound, BoundHours: d.Bound / traffic,
				Mean: known(d.Mean, 1), Median: known(d.Median, 1), P90: known(d.P90, 1), MedianHours: known(d.Median, traffic), P90Hours: known(d.P90, traffic),
				Horizon: d.Horizon, Runs: d.Runs,
			}
			if stats.Finite(d.Found) {
				row.Found = d.Found
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
