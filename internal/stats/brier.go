package stats

import "math"

// Brier is the mean squared error of stated probabilities, and what it is made of.
type Brier struct {
	// Score is mean((p − y)²), with y 1 for what came true: 0 is perfect, ¼ is what always saying ½ gets.
	Score float64
	// Reliability is Σ n_b/n (p̄_b − ȳ_b)², the part due to bad calibration; smaller is better.
	Reliability float64
	// Resolution is Σ n_b/n (ȳ_b − ȳ)², how far the forecasts tell cases apart; larger is better.
	Resolution float64
	// Uncertainty is ȳ(1 − ȳ), which no forecast changes.
	Uncertainty float64
	// WithinVariance is mean((p − p̄_b)²) and WithinCovariance 2·mean((p − p̄_b)(y − ȳ_b)): what binning hides.
	WithinVariance, WithinCovariance float64
}

// BrierScore returns the score of Brier (1950) with the decomposition of Murphy (1973), made exact by the two
// within-bin terms of Stephenson, Coelho and Jolliffe (2008):
//
//	Score = Reliability − Resolution + Uncertainty + WithinVariance − WithinCovariance
//
// ok is false without forecasts, when lengths differ, and for a probability outside [0, 1].
func BrierScore(f Forecasts, b Bins) (s Brier, ok bool) {
	if !f.valid() {
		return Brier{}, false
	}
	edges := b.Edges(f.P)
	bin := assign(f.P, edges)
	sums := make([]binSum, len(edges))
	var all binSum
	for i, k := range bin {
		sums[k].add(f.P[i], f.Hit[i])
		all.add(f.P[i], f.Hit[i])
	}
	n, base := all.n, all.y/all.n
	var score, reliability, resolution, variance, covariance Sum
	for i, k := range bin {
		y, in := indicator(f.Hit[i]), sums[k]
		p, predicted, observed := f.P[i], in.p/in.n, in.y/in.n
		score.Add((p - y) * (p - y) / n)
		reliability.Add((predicted - observed) * (predicted - observed) / n)
		resolution.Add((observed - base) * (observed - base) / n)
		variance.Add((p - predicted) * (p - predicted) / n)
		covariance.Add(2 * (p - predicted) * (y - observed) / n)
	}
	return Brier{
		Score: score.Value(), Reliability: reliability.Value(), Resolution: resolution.Value(), Uncertainty: base * (1 - base),
		WithinVariance: variance.Value(), WithinCovariance: covariance.Value(),
	}, true
}

// LogLossFloor is the least probability that LogLoss gives to what came true. Without it a single forecast of 0 that
// came true would make the mean infinite.
const LogLossFloor = 1e-15

// LogLoss returns the mean of −ln of the probability given to what happened, in nats: 0 is perfect, 0.693 is what always saying
// ½ gets. ok is as for BrierScore.
func LogLoss(f Forecasts) (loss float64, ok bool) {
	if !f.valid() {
		return 0, false
	}
	var s Sum
	for i, p := range f.P {
		if !f.Hit[i] {
			p = 1 - p
		}
		s.Add(-math.Log(math.Max(p, LogLossFloor)))
	}
	return s.Value() / float64(len(f.P)), true
}
