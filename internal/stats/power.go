package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Sides says in how many directions a planned test looks.
type Sides uint8

// The kinds of tests. A function that is given none plans a two-sided one.
const (
	// TwoSided rejects for a change either way, with alpha shared between them.
	TwoSided Sides = iota
	// OneSided spends all of alpha on one direction, as a gate that asks "is it worse" does.
	OneSided
)

// critical returns z of the test and z of the power; ok is false unless 0 < alpha < 1 and 0 < power < 1, and for a
// power that needs no test at all.
func critical(alpha, power float64, sides []Sides) (za, zb float64, ok bool) {
	if !(alpha > 0 && alpha < 1 && power > 0 && power < 1) {
		return 0, 0, false
	}
	if len(sides) == 0 || sides[0] == TwoSided {
		alpha /= 2
	}
	// Not of 1−alpha, which has no digits left for a small alpha.
	za, zb = -distuv.UnitNormal.Quantile(alpha), distuv.UnitNormal.Quantile(power)
	return za, zb, za+zb > 0
}

// MillerN returns how many independent cases a paired comparison of means takes to find a true difference delta with
// that power (Miller 2024, "Adding Error Bars to Evals", arXiv:2411.00640, §5):
//
//	n = (z_{α/2} + z_β)² (ω² + σ_A²/K_A + σ_B²/K_B) / δ²
//
// omega2 is the variance over cases of the difference of the two systems' true means, sigmaA2 and sigmaB2 the mean
// variance of one answer about its case's mean, kA and kB the answers for each case, all in squares of delta's unit. n
// is not rounded; take the next whole number. For cases in groups, multiply by the design effect. It is NaN for
// what makes no sense: a delta of 0, negative variances, no answers.
func MillerN(omega2, sigmaA2, sigmaB2 float64, kA, kB int, delta, alpha, power float64, sides ...Sides) (n float64) {
	za, zb, ok := critical(alpha, power, sides)
	v, ok2 := millerVariance(omega2, sigmaA2, sigmaB2, kA, kB)
	if !ok || !ok2 || delta == 0 || !Finite(delta) {
		return math.NaN()
	}
	z := (za + zb) / delta
	return z * z * v
}

// MillerMDE returns the least true difference that n cases find with that power: MillerN solved for delta. It is NaN
// for what makes no sense.
func MillerMDE(n, omega2, sigmaA2, sigmaB2 float64, kA, kB int, alpha, power float64, sides ...Sides) (delta float64) {
	za, zb, ok := critical(alpha, power, sides)
	v, ok2 := millerVariance(omega2, sigmaA2, sigmaB2, kA, kB)
	if !ok || !ok2 || !(n > 0) {
		return math.NaN()
	}
	return (za + zb) * math.Sqrt(v/n)
}

// MillerPower returns the chance that n cases find a true difference delta, in its direction: Φ(|δ|/SE − z). It is
// NaN for what makes no sense, and when nothing varies.
func MillerPower(n, omega2, sigmaA2, sigmaB2 float64, kA, kB int, delta, alpha float64, sides ...Sides) (power float64) {
	za, _, ok := critical(alpha, 0.99999, sides)
	v, ok2 := millerVariance(omega2, sigmaA2, sigmaB2, kA, kB)
	if !ok || !ok2 || !(n > 0) || v == 0 || !Finite(delta) {
		return math.NaN()
	}
	return distuv.UnitNormal.CDF(math.Abs(delta)/math.Sqrt(v/n) - za)
}

func millerVariance(omega2, sigmaA2, sigmaB2 float64, kA, kB int) (v float64, ok bool) {
	if !(omega2 >= 0 && sigmaA2 >= 0 && sigmaB2 >= 0) || kA < 1 || kB < 1 {
		return 0, false
	}
	v = omega2 + sigmaA2/float64(kA) + sigmaB2/float64(kB)
	return v, Finite(v)
}

// ConnorN returns how many independent cases McNemar's test takes to find, with that power, that a share p10 of the
// cases is right only in the base and p01 only in the head (Connor 1987, "Sample size for testing differences in
// proportions for the paired-sample design"). With ψ = p10 + p01 and d = p10 − p01:
//
//	n = (z_{α/2} √ψ + z_β √(ψ − d²))² / d²
//
// n is not rounded; take the next whole number. It is NaN when the shares are equal or are no shares.
func ConnorN(p10, p01, alpha, power float64, sides ...Sides) (n float64) {
	za, zb, ok := critical(alpha, power, sides)
	psi, d := p10+p01, p10-p01
	if !ok || !(p10 >= 0 && p01 >= 0 && psi <= 1) || d == 0 {
		return math.NaN()
	}
	root := math.Max(0, za*math.Sqrt(psi)+zb*math.Sqrt(psi-d*d)) / d
	return root * root
}

// McNemarPower returns the chance that McNemar's test over n independent cases finds, in its direction, the
// difference of the shares p10 and p01: ConnorN solved for the power. It is NaN for what is no share.
func McNemarPower(n, p10, p01, alpha float64, sides ...Sides) (power float64) {
	za, _, ok := critical(alpha, 0.99999, sides)
	psi, d := p10+p01, p10-p01
	if !ok || !(n > 0) || !(p10 >= 0 && p01 >= 0 && psi <= 1) || psi == 0 {
		return math.NaN()
	}
	// When every case is discordant in the same direction nothing varies, and z/0 is an infinity with the right sign.
	z := math.Abs(d)*math.Sqrt(n) - za*math.Sqrt(psi)
	return distuv.UnitNormal.CDF(z / math.Sqrt(psi-d*d))
}

// McNemarMDE returns the least difference of two paired rates that McNemar's test over n independent cases finds with
// that power when a share discordant (ψ) of the cases is right in one of the runs only: ConnorN solved for d,
//
//	d = √ψ (z_{α/2} √n + z_β √(n + z_β² − z_{α/2}²)) / (n + z_β²)
//
// ok is false when no difference that ψ allows (d ≤ ψ) is enough, and for what makes no sense.
func McNemarMDE(n, discordant, alpha, power float64, sides ...Sides) (d float64, ok bool) {
	za, zb, ok := critical(alpha, power, sides)
	under := n + zb*zb - za*za
	if !ok || !(n > 0) || !(discordant > 0 && discordant <= 1) || under < 0 {
		return 0, false
	}
	d = math.Sqrt(discordant) * (za*math.Sqrt(n) + zb*math.Sqrt(under)) / (n + zb*zb)
	return d, d > 0 && d <= discordant
}
