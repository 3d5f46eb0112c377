package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// Coverage of the intervals of one and two rates, summed over all outcomes: there is no chance in these figures.
func TestRateIntervalCoverage(t *testing.T) {
	weights := func(n int, p float64) []float64 {
		out := make([]float64, n+1)
		for k := range out {
			out[k] = distuv.Binomial{N: float64(n), P: p}.Prob(float64(k))
		}
		return out
	}
	one := func(name string, n int, p, least, most float64, interval func(k int) (Interval, bool)) {
		t.Helper()
		c := 0.0
		for k, w := range weights(n, p) {
			if i, ok := interval(k); ok && i.Low <= p && p <= i.High {
				c += w
			}
		}
		if c < least || c > most {
			t.Errorf("%s n=%d p=%v: coverage %.4f", name, n, p, c)
		}
	}
	for _, n := range []int{10, 30, 100, 300} {
		for _, p := range []float64{.02, .1, .3, .5, .77, .95} {
			one("Clopper-Pearson", n, p, .95, 1, func(k int) (Interval, bool) { return ClopperPearson(float64(k), float64(n), .95) })
			one("Wilson", n, p, .89, .99, func(k int) (Interval, bool) { return Wilson(float64(k), float64(n), .95) })
		}
	}
	two := func(n1 int, p1 float64, n2 int, p2 float64) {
		t.Helper()
		w2, c := weights(n2, p2), 0.0
		for k1, w1 := range weights(n1, p1) {
			for k2, w2 := range w2 {
				if i, ok := Newcombe(k1, n1, k2, n2, .95); ok && i.Low <= p1-p2 && p1-p2 <= i.High {
					c += w1 * w2
				}
			}
		}
		if c < .93 || c > .98 {
			t.Errorf("Newcombe %v of %d, %v of %d: coverage %.4f", p1, n1, p2, n2, c)
		}
	}
	two(50, .5, 50, .5)
	two(100, .9, 60, .8)
	two(80, .95, 80, .9)
	two(20, .3, 40, .5)
}

// trinomial calls see with every pair of counts of two kinds among n cases that has any weight, and its chance.
func trinomial(n int, p, q float64, see func(b, c int, weight float64)) {
	factorial := func(n int) float64 { l, _ := math.Lgamma(float64(n + 1)); return l }
	for b := range n + 1 {
		for c := range n - b + 1 {
			rest := n - b - c
			l := factorial(n) - factorial(b) - factorial(c) - factorial(rest) +
				float64(b)*math.Log(p) + float64(c)*math.Log(q) + float64(rest)*math.Log(1-p-q)
			if w := math.Exp(l); w > 1e-9 {
				see(b, c, w)
			}
		}
	}
}

// Tango's interval covers, also one-sided; McNemar's mid-p rejects an unchanged system no more than a tenth more often than
// it says and its exact p-value never more often, over all outcomes.
func TestPairedOverAllOutcomes(t *testing.T) {
	f := func(n int, p10, p01 float64) {
		t.Helper()
		both, below := 0.0, 0.0
		trinomial(n, p10, p01, func(b, c int, w float64) {
			d := p01 - p10
			if i, ok := Tango(b, c, n, .95); ok && i.Low <= d && d <= i.High {
				both += w
			}
			if i, ok := Tango(b, c, n, .90); ok && i.Low <= d {
				below += w
			}
		})
		if both < .935 || both > .985 || below < .93 {
			t.Errorf("n=%d shares %v %v: Tango covers %.4f, its lower bound at 95%% %.4f", n, p10, p01, both, below)
		}
	}
	f(50, .1, .1)
	f(50, .05, .2)
	f(100, .02, .02)
	f(100, .04, .1)
	f(200, .3, .25)

	null := func(n int, p float64) {
		t.Helper()
		var exact, mid, worse float64
		trinomial(n, p, p, func(b, c int, w float64) {
			x := McNemar(b, c)
			exact += w * indicator(x.Exact <= .05)
			mid += w * indicator(x.Mid <= .05)
			worse += w * indicator(x.WorseMid <= .05)
		})
		if exact > .05 || mid > .055 || worse > .055 {
			t.Errorf("n=%d, %v discordant each way: exact %.4f, mid-p %.4f, one-sided %.4f of unchanged systems fail", n, p, exact, mid, worse)
		}
		if mid < exact {
			t.Errorf("n=%d p=%v: mid-p rejects less than the exact test", n, p)
		}
	}
	null(30, .1)
	null(100, .02)
	null(100, .1)
	null(200, .05)
	null(300, .2)
}

// Of two equal rates Fisher's test rejects no more than it says, with any share; the pooled z, where it may be used, no more than
// a quarter more often. Over all outcomes.
func TestTwoSampleNull(t *testing.T) {
	f := func(n1, n2 int, p float64) {
		t.Helper()
		var fisher, greater, less, pooled [len(levels)]float64
		for k1 := range n1 + 1 {
			w1 := distuv.Binomial{N: float64(n1), P: p}.Prob(float64(k1))
			for k2 := range n2 + 1 {
				w := w1 * distuv.Binomial{N: float64(n2), P: p}.Prob(float64(k2))
				if w < 1e-9 {
					continue
				}
				two, l, g := FisherExact(k1, n1-k1, k2, n2-k2)
				_, z, ok := PooledZ(k1, n1, k2, n2)
				for k, a := range levels {
					fisher[k] += w * indicator(two <= a)
					less[k] += w * indicator(l <= a)
					greater[k] += w * indicator(g <= a)
					pooled[k] += w * indicator(ok && z <= a)
				}
			}
		}
		for k, a := range levels {
			if fisher[k] > a || less[k] > a || greater[k] > a || pooled[k] > 1.25*a {
				t.Errorf("%d and %d of rate %v: Fisher %.4f, one-sided %.4f and %.4f, pooled z %.4f rejected at %v",
					n1, n2, p, fisher[k], less[k], greater[k], pooled[k], a)
			}
			if a > .01 && (pooled[k] < .75*a || fisher[k] < .4*a) {
				t.Errorf("%d and %d of rate %v: only %.4f and %.4f rejected at %v", n1, n2, p, fisher[k], pooled[k], a)
			}
		}
	}
	f(50, 50, .5)
	f(60, 120, .3)
	f(100, 80, .2)
}

// rejections counts the p-values that are at most each of the levels.
type rejections struct {
	n    int
	hits [3]int
}

var levels = [3]float64{.01, .05, .2}

func (r *rejections) see(p float64) {
	r.n++
	for k, a := range levels {
		if p <= a {
			r.hits[k]++
		}
	}
}

// hold fails when more than a share factor·level is rejected, beyond four standard errors of the simulation.
func (r *rejections) hold(t *testing.T, name string, factor float64) {
	t.Helper()
	for k, a := range levels {
		share := float64(r.hits[k]) / float64(r.n)
		if share > factor*a+4*math.Sqrt(a*(1-a)/float64(r.n)) {
			t.Errorf("%s: %.4f of unchanged systems are rejected at %v", name, share, a)
		}
	}
}

// P-values of unchanged systems are at least uniform, and not much more than that.
func TestPermutationNull(t *testing.T) {
	f := func(name string, runs, clusters int, draw func(*rand.Rand) float64) {
		t.Helper()
		rng := rand.New(rand.NewPCG(41, uint64(clusters)))
		var two, less, greater rejections
		sums := make([]float64, clusters)
		for k := range runs {
			for i := range sums {
				sums[i] = draw(rng)
			}
			p, ok := SignFlip(sums, Draws{N: 499, Seed: uint64(k)})
			if !ok || p.Exact != (clusters <= exactFlips) {
				t.Fatalf("%+v, %v", p, ok)
			}
			two.see(p.Two)
			less.see(p.Less)
			greater.see(p.Greater)
		}
		two.hold(t, name+" two-sided", 1)
		less.hold(t, name+" less", 1)
		greater.hold(t, name+" greater", 1)
		if share := float64(two.hits[2]) / float64(runs); name == "normal" && share < .17 {
			t.Errorf("%s, %d clusters: only %.3f rejected at 0.2", name, clusters, share)
		}
	}
	normal := func(r *rand.Rand) float64 { return r.NormFloat64() }
	heavy := func(r *rand.Rand) float64 { x := r.NormFloat64(); return x * x * x }
	f("normal", 4000, 10, normal)
	f("normal", 4000, 60, normal)
	f("heavy tails", 4000, 12, heavy)
	f("heavy tails", 2000, 100, heavy)
	f("thirds", 4000, 12, func(r *rand.Rand) float64 { return float64(r.IntN(5)-2) / 3 })

	rng := rand.New(rand.NewPCG(43, 44))
	var swap rejections
	for k := range 1500 {
		var base, head [][]float64
		for range 30 {
			shared := rng.NormFloat64()
			one := func() []float64 { w := 1 + float64(rng.IntN(4)); return []float64{(shared + rng.NormFloat64()) * w, w} }
			base, head = append(base, one()), append(head, one())
		}
		p, ok := Swap(base, head, func(v []float64) float64 { return v[0] / v[1] }, Draws{N: 199, Seed: uint64(k)})
		if !ok {
			t.Fatal("refused")
		}
		swap.see(p.Two)
	}
	swap.hold(t, "swap", 1)
}

// Few clusters of unequal size: the wild bootstrap rejects an unchanged system about as often as it says, where a
// normal approximation rejects far more often.
func TestWildClusterNull(t *testing.T) {
	rng := rand.New(rand.NewPCG(51, 52))
	const runs = 2000
	var wild rejections
	naive := 0
	for k := range runs {
		const clusters = 8
		sums, sizes := make([]float64, clusters), make([]float64, clusters)
		var r Ratio
		for c := range sums {
			sizes[c] = float64(3 + 3*c)
			shared := rng.NormFloat64()
			sums[c] = sizes[c]*shared + math.Sqrt(sizes[c])*rng.NormFloat64()
			r.AddCluster(int(sizes[c]), sums[c], sizes[c])
		}
		p, ok := WildCluster(sums, sizes, WildAuto, Draws{N: 399, Seed: uint64(k)})
		if !ok {
			t.Fatal("refused")
		}
		wild.see(p.Two)
		v, _ := r.Value()
		se, _ := r.ClusteredSE()
		naive += int(indicator(math.Abs(v) > 1.96*se))
	}
	wild.hold(t, "wild bootstrap", 1.15)
	t.Logf("of unchanged systems %.3f rejected at 5%%, by z %.3f", float64(wild.hits[1])/runs, float64(naive)/runs)
	if float64(naive)/runs < .08 {
		t.Errorf("z rejects only %.3f: the simulation is too kind", float64(naive)/runs)
	}
}

// BCa covers a skewed mean and a correlation near its level.
func TestBCaCoverage(t *testing.T) {
	f := func(name string, n int, truth, least float64, stat func(x, y []float64, index []int) float64, draw func(r *rand.Rand) (x, y float64)) {
		t.Helper()
		rng := rand.New(rand.NewPCG(61, uint64(n)))
		const runs = 500
		x, y := make([]float64, n), make([]float64, n)
		hit, under, over := 0, 0, 0
		for k := range runs {
			for i := range x {
				x[i], y[i] = draw(rng)
			}
			i, ok := BCa(n, func(index []int) float64 { return stat(x, y, index) }, .95, Draws{N: 2000, Seed: uint64(k)})
			switch {
			case !ok:
				t.Fatal("refused")
			case truth < i.Low:
				over++
			case truth > i.High:
				under++
			default:
				hit++
			}
		}
		c := float64(hit) / runs
		t.Logf("%s, %d: coverage %.3f, too high %d, too low %d", name, n, c, over, under)
		if c < least || c > .98 {
			t.Errorf("%s, %d: coverage %.3f", name, n, c)
		}
	}
	mean := func(x, _ []float64, index []int) float64 {
		s := 0.0
		for _, i := range index {
			s += x[i]
		}
		return s / float64(len(index))
	}
	ratio := func(x, y []float64, index []int) float64 {
		var a, b float64
		for _, i := range index {
			a, b = a+x[i], b+y[i]
		}
		return a / b
	}
	f("exponential mean", 50, 1, .91, mean, func(r *rand.Rand) (x, y float64) { return r.ExpFloat64(), 0 })
	f("normal mean", 100, 0, .925, mean, func(r *rand.Rand) (x, y float64) { return r.NormFloat64(), 0 })
	f("ratio", 80, .5, .92, ratio, func(r *rand.Rand) (x, y float64) {
		w := 1 + r.ExpFloat64()
		return w*.5 + .3*r.NormFloat64(), w
	})
}

// BY keeps its promise when the tests are as dependent as can be, one half against the other.
func TestBYUnderDependence(t *testing.T) {
	rng := rand.New(rand.NewPCG(71, 72))
	const runs, tests = 4000, 20
	wrong := 0
	for range runs {
		z := rng.NormFloat64()
		p := make([]float64, tests)
		for i := range p {
			side := z + .2*rng.NormFloat64()
			if i%2 == 0 {
				side = -side
			}
			p[i] = distuv.UnitNormal.Survival(side / math.Sqrt(1.04))
		}
		for _, x := range BY(p) {
			if x <= .05 {
				wrong++
				break
			}
		}
	}
	if share := float64(wrong) / runs; share > .05 {
		t.Errorf("BY finds something in %.3f of families without anything to find", share)
	}
}

// What the corrections promise, when 15 of 20 tests have nothing to find: Holm and Bonferroni a false rejection in at most α of
// families, BH at most a share 15/20·α of false ones among the rejected, e-BH at most α also when all tests go together.
func TestCorrectionsHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(73, 74))
	const runs, tests, real, alpha = 6000, 20, 5, .1
	var bonferroni, holm, found int
	var bh, ebh, power float64
	falseShare := func(rejects func(i int) bool) (wrong int, share float64) {
		all := 0
		for i := range tests {
			if rejects(i) {
				all++
				wrong += int(indicator(i >= real))
			}
		}
		return wrong, float64(wrong) / math.Max(1, float64(all))
	}
	for range runs {
		p, e := make([]float64, tests), make([]float64, tests)
		shared := rng.NormFloat64()
		for i := range p {
			shift := 0.0
			if i < real {
				shift = 3
			}
			p[i] = distuv.UnitNormal.CDF(-(rng.NormFloat64() + shift))
			// The likelihood ratio of 3 against 0, whose mean is 1 without an effect, of statistics that go together.
			e[i] = math.Exp(3*(.9*shared+math.Sqrt(.19)*rng.NormFloat64()+shift) - 4.5)
		}
		at := func(adjusted []float64) (wrong int, share float64) {
			return falseShare(func(i int) bool { return adjusted[i] <= alpha })
		}
		h, b := Holm(p), Bonferroni(p)
		wrong, _ := at(b)
		bonferroni += min(1, wrong)
		wrong, _ = at(h)
		holm += min(1, wrong)
		_, share := at(BH(p))
		bh += share / runs
		rejected := EBH(e, alpha)
		_, share = falseShare(func(i int) bool { return rejected[i] })
		ebh += share / runs
		for i := range real {
			found += int(indicator(h[i] <= alpha)) - int(indicator(b[i] <= alpha))
			power += indicator(rejected[i]) / (real * runs)
		}
	}
	slack := 4 * math.Sqrt(alpha*(1-alpha)/runs)
	for name, x := range map[string]float64{"Bonferroni": float64(bonferroni) / runs, "Holm": float64(holm) / runs, "e-BH": ebh} {
		if x > alpha+slack {
			t.Errorf("%s errs in %.4f, want at most %v", name, x, alpha)
		}
	}
	want := alpha * float64(tests-real) / tests // exactly, for independent tests
	if math.Abs(bh-want) > slack {
		t.Errorf("BH: a share of %.4f is false, want %.4f", bh, want)
	}
	if found <= 0 || power < .2 {
		t.Errorf("Holm finds %d more than Bonferroni, e-BH %.2f of what there is", found, power)
	}
	t.Logf("Bonferroni %.4f, Holm %.4f, BH %.4f, e-BH %.4f with power %.2f", float64(bonferroni)/runs, float64(holm)/runs, bh, ebh, power)
}

func BenchmarkSignFlip(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	sums := make([]float64, 10_000)
	for i := range sums {
		sums[i] = rng.NormFloat64()
	}
	for b.Loop() {
		if _, ok := SignFlip(sums, Draws{N: 9999, Seed: 1}); !ok {
			b.Fatal("refused")
		}
	}
}

func BenchmarkSignFlipExact(b *testing.B) {
	for b.Loop() {
		if p, ok := SignFlip(append(maize, 1, 2, 3, 4, 5), Draws{}); !ok || !p.Exact {
			b.Fatal("refused")
		}
	}
}

func BenchmarkSwap(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var base, head [][]float64
	for range 1300 {
		one := func() []float64 {
			v := make([]float64, 10)
			for k := range v {
				v[k] = float64(rng.IntN(30))
			}
			return v
		}
		base, head = append(base, one()), append(head, one())
	}
	for b.Loop() {
		if _, ok := Swap(base, head, func(v []float64) float64 { return v[0] / v[1] }, Draws{N: 9999, Seed: 1}); !ok {
			b.Fatal("refused")
		}
	}
}

func BenchmarkBCa(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	xs := make([]float64, 1300)
	for i := range xs {
		xs[i] = rng.ExpFloat64()
	}
	mean := func(index []int) float64 {
		s := 0.0
		for _, i := range index {
			s += xs[i]
		}
		return s / float64(len(index))
	}
	for b.Loop() {
		if _, ok := BCa(len(xs), mean, .95, Draws{N: 2000, Seed: 1}); !ok {
			b.Fatal("refused")
		}
	}
}
