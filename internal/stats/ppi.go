package stats

import "math"

// Powered is a prediction-powered estimate of a mean.
type Powered struct {
	Value, SE float64
	// Lambda is how far the predictions are relied on: 0 not at all, 1 fully.
	Lambda float64
	// Labelled and Unlabelled are the numbers of cases.
	Labelled, Unlabelled int
	// HumanOnly and HumanSE are the mean of the labels alone and its standard error.
	HumanOnly, HumanSE float64
	// Gain is how many times as many labels would give the same standard error without predictions: (HumanSE/SE)².
	Gain float64
}

// PredictionPowered estimates the mean of a label that is known for few cases, with the help of a prediction, such as
// a judge's score, that is known for all (Angelopoulos et al. 2023, "Prediction-powered inference"; λ from
// Angelopoulos, Duchi and Zrnic 2023, "PPI++"). y and predicted belong to the same n labelled cases, unlabelled are the
// predictions Ŷ for N other cases drawn from the same population:
//
//	θ = mean(λŶ_unlabelled) + mean(Y − λŶ)
//	λ = Cov(Y, Ŷ)/((1 + n/N) Var Ŷ), within [0, 1]
//	SE² = Var(λŶ_unlabelled)/N + Var(Y − λŶ)/n
//
// Cov is over the labelled cases, Var Ŷ over all. However wrong the predictions are, the estimate is right on average;
// they only move its precision. Which cases are labelled must be chosen by chance, and all must be independent. ok is
// false below two labelled or unlabelled cases and for values that are not finite.
func PredictionPowered(y, predicted, unlabelled []float64) (p Powered, ok bool) {
	n, m := len(y), len(unlabelled)
	if n != len(predicted) || n < 2 || m < 2 {
		return Powered{}, false
	}
	for _, xs := range [][]float64{y, predicted, unlabelled} {
		for _, x := range xs {
			if !Finite(x) {
				return Powered{}, false
			}
		}
	}
	a, b := float64(n), float64(m)
	p = Powered{Labelled: n, Unlabelled: m}
	meanY, varY := meanAndVariance(y)
	meanP, _ := meanAndVariance(predicted)
	all := make([]float64, 0, n+m)
	_, spread := meanAndVariance(append(append(all, predicted...), unlabelled...))
	var cov Sum
	for i := range y {
		cov.Add((y[i] - meanY) * (predicted[i] - meanP) / (a - 1))
	}
	if spread > 0 {
		p.Lambda = math.Min(math.Max(cov.Value()/((1+a/b)*spread), 0), 1)
	}
	rest := make([]float64, n)
	for i := range y {
		rest[i] = y[i] - p.Lambda*predicted[i]
	}
	meanRest, varRest := meanAndVariance(rest)
	meanU, varU := meanAndVariance(unlabelled)
	p.Value = p.Lambda*meanU + meanRest
	p.SE = math.Sqrt(p.Lambda*p.Lambda*varU/b + varRest/a)
	p.HumanOnly, p.HumanSE = meanY, math.Sqrt(varY/a)
	p.Gain = 1
	if p.SE > 0 {
		p.Gain = varY / a / (p.SE * p.SE)
	}
	return p, Finite(p.Value) && Finite(p.SE) && Finite(p.Gain)
}

// Interval returns Value ± t·SE with one degree of freedom less than there are labels. ok is false when SE is 0: no
// spread was seen, so none can be vouched for.
func (p Powered) Interval(level float64) (i Interval, ok bool) {
	if p.Labelled < 2 || !(p.SE > 0) || !(level > 0 && level < 1) {
		return Interval{}, false
	}
	half := StudentQuantile(level, float64(p.Labelled-1)) * p.SE
	return Interval{p.Value - half, p.Value + half}, true
}

// meanAndVariance returns the mean and the sample variance (n−1) of at least two values.
func meanAndVariance(xs []float64) (mean, variance float64) {
	n := float64(len(xs))
	var sum, squares Sum
	for _, x := range xs {
		sum.Add(x)
	}
	mean = sum.Value() / n
	for _, x := range xs {
		squares.Add((x - mean) * (x - mean))
	}
	return mean, squares.Value() / (n - 1)
}
