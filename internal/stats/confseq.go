package stats

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// The uniform boundaries below bound a sum S_t of centred observations at all times at once: when S and its
// intrinsic time V (variance times count, for example) belong together as each type says,
// P(S_t ≥ Bound(V_t, α) for any t) ≤ α; the TwoSided ones bound |S_t|. They are those of Howard, Ramdas, McAuliffe and
// Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49. Each is
// tightest near an intrinsic time that its constructor takes.

// boundaryRho tunes a two-sided normal mixture to be tightest at intrinsic time v (Howard et al. 2021, section 3.5).
func boundaryRho(v, alpha float64) float64 {
	l := -2 * math.Log(alpha)
	return v / (l + math.Log1p(l))
}

func boundaryArgs(v, alpha float64) bool {
	return v > 0 && !math.IsInf(v, 0) && alpha > 0 && alpha < 1
}

// rootBound is the least s at which the increasing log martingale reaches the threshold, from above.
func rootBound(log func(s float64) float64, threshold, start, most float64) (float64, bool) {
	low, high := 0.0, math.Min(start, most)
	for log(high) < threshold {
		if high >= most || math.IsInf(high, 0) {
			return 0, false
		}
		low, high = high, math.Min(2*high, most)
	}
	for range 200 {
		mid := low + (high-low)/2
		if mid <= low || mid >= high {
			break
		}
		if log(mid) < threshold {
			low = mid
		} else {
			high = mid
		}
	}
	return high, true
}

// NormalMixture is a boundary for sub-Gaussian sums: V is the sum of the variance proxies. Its martingale is
// √(ρ/(V+ρ)) exp(S²/2(V+ρ)), one-sided with 2Φ(S/√(V+ρ)) before it.
type NormalMixture struct {
	rho   float64
	sides Sides
}

// NewNormalMixture returns the mixture that is tightest at intrinsic time v for that alpha. ok is false unless v > 0
// and 0 < alpha < 1.
func NewNormalMixture(v, alpha float64, sides Sides) (m NormalMixture, ok bool) {
	if !boundaryArgs(v, alpha) {
		return m, false
	}
	if sides == OneSided {
		// Twice an alpha of one half or more would be no level.
		return NormalMixture{boundaryRho(v, math.Min(2*alpha, 0.999)), sides}, true
	}
	return NormalMixture{boundaryRho(v, alpha), sides}, true
}

// LogMartingale is the logarithm of the mixture martingale at (s, v).
func (m NormalMixture) LogMartingale(s, v float64) float64 {
	out := 0.5*math.Log(m.rho/(v+m.rho)) + s*s/(2*(v+m.rho))
	if m.sides == OneSided {
		out += math.Ln2 + logNormalCDF(s/math.Sqrt(v+m.rho))
	}
	return out
}

// logNormalCDF is ln Φ(z), by Mills' ratio where Φ is next to nothing.
func logNormalCDF(z float64) float64 {
	if z < -30 {
		return -z*z/2 - math.Log(-z) - 0.5*math.Log(2*math.Pi)
	}
	return math.Log(0.5 * math.Erfc(-z/math.Sqrt2))
}

// Bound is the boundary at intrinsic time v ≥ 0. ok is false outside the domain.
func (m NormalMixture) Bound(v, alpha float64) (s float64, ok bool) {
	if !(v >= 0) || math.IsInf(v, 0) || !(alpha > 0 && alpha < 1) || !(m.rho > 0) {
		return 0, false
	}
	if m.sides == TwoSided {
		return math.Sqrt((v + m.rho) * (math.Log1p(v/m.rho) - 2*math.Log(alpha))), true
	}
	return rootBound(func(s float64) float64 { return m.LogMartingale(s, v) }, -math.Log(alpha), math.Sqrt(v+m.rho), math.Inf(1))
}

// GammaExponential is a one-sided boundary for sub-exponential sums of scale c: observations in [0, c'] after
// centring, or with Bernstein's moment condition. Its martingale mixes exp(λS − ψ(λ)V), ψ(λ) = (−ln(1−cλ) − cλ)/c², over a
// gamma distribution (Howard et al. 2021, proposition 9).
type GammaExponential struct {
	rho, c float64
}

// NewGammaExponential returns the mixture that is tightest near intrinsic time v. ok is false unless v > 0, c > 0 and
// 0 < alpha < 1.
func NewGammaExponential(v, alpha, c float64) (m GammaExponential, ok bool) {
	if !boundaryArgs(v, alpha) || !(c > 0) || math.IsInf(c, 0) {
		return m, false
	}
	return GammaExponential{boundaryRho(v, math.Min(2*alpha, 0.999)), c}, true
}

// LogMartingale is the logarithm of the mixture martingale at (s, v). With ρ and v over c², a = v + ρ and u = s/c it is
// ρ^ρ Γ(a)P(a, a + u) e^{a+u−ρ} / (Γ(ρ)P(ρ, ρ) (a + u)^a), of which Stirling's formula takes what is large out of Γ(a).
func (m GammaExponential) LogMartingale(s, v float64) float64 {
	rho, a, u := m.rho/(m.c*m.c), (v+m.rho)/(m.c*m.c), s/m.c
	if a+u <= 0 {
		return math.Inf(-1)
	}
	return u - a*logRatio(a+u, a, u) + 0.5*math.Log(rho/a) + stirling(a) - stirling(rho) + logGammaP(a, a+u) - logGammaP(rho, rho)
}

// logRatio is ln(x/y), where x − y is known better than as the difference of the two.
func logRatio(x, y, difference float64) float64 {
	if math.Abs(difference) < y/2 {
		return math.Log1p(difference / y)
	}
	return math.Log(x / y)
}

// stirling is lnΓ(x) less (x − ½)ln x − x + ½ln 2π.
func stirling(x float64) float64 {
	if x < 16 {
		return lgamma(x) - (x-0.5)*math.Log(x) + x - 0.5*math.Log(2*math.Pi)
	}
	y := 1 / (x * x)
	return (1./12 - y*(1./360-y*(1./1260-y/1680))) / x
}

func lgamma(x float64) float64 {
	v, _ := math.Lgamma(x)
	return v
}

// logGammaP is the logarithm of the regularised lower incomplete gamma function.
func logGammaP(a, x float64) float64 { return math.Log(mathext.GammaIncReg(a, x)) }

// Bound is the boundary at intrinsic time v ≥ 0. ok is false outside the domain.
func (m GammaExponential) Bound(v, alpha float64) (s float64, ok bool) {
	if !(v >= 0) || math.IsInf(v, 0) || !(alpha > 0 && alpha < 1) || !(m.rho > 0) {
		return 0, false
	}
	return rootBound(func(s float64) float64 { return m.LogMartingale(s, v) }, -math.Log(alpha), math.Sqrt(v+m.rho), math.Inf(1))
}

// BetaBinomial is a boundary for sub-Bernoulli sums: observations within [−g, h] after centring, with V = g·h times
// their number. For a Bernoulli rate p, g = p and h = 1 − p, and its martingale is then exact: the likelihood
// ratio of a Beta mixture to p (Howard et al. 2021, proposition 7).
type BetaBinomial struct {
	a, b, g, h float64
	sides      Sides
}

// NewBetaBinomial returns the mixture that is tightest near intrinsic time v. ok is false unless v, g and h are above 0
// and 0 < alpha < 1.
func NewBetaBinomial(v, alpha, g, h float64, sides Sides) (m BetaBinomial, ok bool) {
	if !boundaryArgs(v, alpha) || !(g > 0) || !(h > 0) || math.IsInf(g+h, 0) {
		return m, false
	}
	if sides == OneSided {
		alpha = math.Min(2*alpha, 0.999)
	}
	r := math.Max(boundaryRho(v, alpha)-g*h, 1e-3*g*h)
	return BetaBinomial{r / (h * (g + h)), r / (g * (g + h)), g, h, sides}, true
}

// LogMartingale is the logarithm of the mixture martingale at (s, v): with k successes in n trials of rate p, as many as s
// and v are for a Bernoulli rate, B(a + k, b + n − k) / (B(a, b) p^k (1 − p)^{n−k}), of which Stirling's formula takes what is
// large out of B.
func (m BetaBinomial) LogMartingale(s, v float64) float64 {
	p, q, d := m.g/(m.g+m.h), m.h/(m.g+m.h), s/(m.g+m.h)
	n, c := v/(m.g*m.h), m.a+m.b
	up, down, all := m.a+n*p+d, m.b+n*q-d, c+n
	out := up*logRatio(up, all*p, d) + down*logRatio(down, all*q, -d) + 0.5*math.Log(m.a/up*(m.b/down)*(all/c)) +
		stirling(up) + stirling(down) - stirling(all) - stirling(m.a) - stirling(m.b) + stirling(c)
	if m.sides == OneSided {
		// Only alternatives above the null: the share of the Beta distribution beyond it.
		out += math.Log(mathext.RegIncBeta(down, up, q)) - math.Log(mathext.RegIncBeta(m.b, m.a, q))
	}
	return out
}

// Bound is the boundary at intrinsic time v > 0. ok is false outside the domain and where no sum within
// the range of the observations reaches the threshold.
func (m BetaBinomial) Bound(v, alpha float64) (s float64, ok bool) {
	if !(v > 0) || math.IsInf(v, 0) || !(alpha > 0 && alpha < 1) || !(m.a > 0) {
		return 0, false
	}
	// Every observation at its upper end.
	most := v / m.g
	return rootBound(func(s float64) float64 { return m.LogMartingale(s, v) }, -math.Log(alpha), math.Min(math.Sqrt(v), most), most)
}

// PolynomialStitching is a closed-form one-sided boundary for sub-gamma sums of scale C, which grows like
// √(V ln ln V) (Howard et al. 2021, theorem 1). VMin is the intrinsic time from which it is tight.
type PolynomialStitching struct {
	VMin, C float64
}

// The exponent and the ratio of the epochs, as in the paper's figures.
const (
	stitchS   = 1.4
	stitchEta = 2.0
)

// Bound is the boundary at intrinsic time v ≥ 0. ok is false outside the domain.
func (p PolynomialStitching) Bound(v, alpha float64) (s float64, ok bool) {
	if !(v >= 0) || math.IsInf(v, 0) || !(alpha > 0 && alpha < 1) || !(p.VMin > 0) || !(p.C >= 0) {
		return 0, false
	}
	v = math.Max(v, p.VMin)
	k1 := (math.Pow(stitchEta, 0.25) + math.Pow(stitchEta, -0.25)) / math.Sqrt2
	k2 := (math.Sqrt(stitchEta) + 1) / 2
	l := stitchS*math.Log(math.Log(stitchEta*v/p.VMin)) + math.Log(mathext.Zeta(stitchS, 1)/math.Pow(math.Log(stitchEta), stitchS)) - math.Log(alpha)
	second := k2 * p.C * l
	return math.Sqrt(k1*k1*v*l+second*second) + second, true
}

// AsymptoticHalfWidth is the half-width of the asymptotic confidence sequence for a mean whose standard error
// after n observations is se, tightest at tuned observations (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024,
// "Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics 52):
//
//	se·√n · √(2(nρ²+1)/(n²ρ²) · ln(√(nρ²+1)/α)),  ρ = √((−2 ln α + ln(1 − 2 ln α))/tuned);
//
// one-sided, ln(1 + √(nρ²+1)/2α) with ρ at 2α. It holds for large n only. ok is false outside the domain.
func AsymptoticHalfWidth(se float64, n, tuned int, alpha float64, sides Sides) (half float64, ok bool) {
	if !(se >= 0) || math.IsInf(se, 0) || n < 1 || tuned < 1 || !(alpha > 0 && alpha < 0.5) {
		return 0, false
	}
	at := alpha
	if sides == OneSided {
		at = 2 * alpha
	}
	rho2 := (-2*math.Log(at) + math.Log1p(-2*math.Log(at))) / float64(tuned)
	x := float64(n)*rho2 + 1
	l := math.Log(math.Sqrt(x) / alpha)
	if sides == OneSided {
		l = math.Log1p(math.Sqrt(x) / (2 * alpha))
	}
	return se * math.Sqrt(2*x/(float64(n)*rho2)*l), true
}

// RateSequence returns the confidence sequence for a Bernoulli rate after k successes in n trials: the rates
// that the two-sided beta-binomial mixture, tuned to that many trials at each rate, does not reject. It holds at all
// n at once. ok is false when there were no trials, k is not within [0, n], or alpha not within (0, 1).
func RateSequence(k, n int, alpha float64, tuned int) (i Interval, ok bool) {
	if n < 1 || k < 0 || k > n || tuned < 1 || !(alpha > 0 && alpha < 1) {
		return Interval{}, false
	}
	trials := float64(n)
	rejected := func(p float64) bool {
		if p <= 0 || p >= 1 {
			// A rate of 0 has no successes and a rate of 1 no failures.
			return p <= 0 && k > 0 || p >= 1 && k < n
		}
		m, ok := NewBetaBinomial(p*(1-p)*float64(tuned), alpha, p, 1-p, TwoSided)
		return ok && m.LogMartingale(float64(k)-trials*p, trials*p*(1-p)) >= -math.Log(alpha)
	}
	rate := float64(k) / trials
	// Both ends lie on the rejected side of the root, or at the end of the range.
	i.Low = edge(0, rate, rejected)
	i.High = edge(1, rate, rejected)
	return i, true
}

// edge is the point nearest to inside, on the way from outside, that is rejected; outside itself when that is not.
func edge(outside, inside float64, rejected func(float64) bool) float64 {
	if !rejected(outside) {
		return outside
	}
	for range 100 {
		mid := outside + (inside-outside)/2
		if mid == outside || mid == inside {
			break
		}
		if rejected(mid) {
			outside = mid
		} else {
			inside = mid
		}
	}
	return outside
}
