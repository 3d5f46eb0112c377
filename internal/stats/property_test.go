package stats

import (
	"math"
	"math/rand/v2"
	"sort"
	"testing"
)

// Coverage of Wilson by simulation: 20,000 draws, so that a true 95% shows as 95% ± 0.3%.
func TestWilsonCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := func(p float64, n int) {
		t.Helper()
		const draws = 20_000
		hit := 0
		for range draws {
			k := 0
			for range n {
				if rng.Float64() < p {
					k++
				}
			}
			if i, ok := Wilson(float64(k), float64(n), 0.95); ok && i.Low <= p && p <= i.High {
				hit++
			}
		}
		if c := float64(hit) / draws; c < 0.93 || c > 0.98 {
			t.Errorf("p=%v n=%d: coverage %.3f", p, n, c)
		}
	}
	f(0.5, 50)
	f(0.9, 100)
	f(0.97, 200)
}

// clusterDraw returns a cluster's success rate with mean p and intra-cluster correlation rho.
func clusterDraw(rng *rand.Rand, p, rho float64) float64 {
	if rng.Float64() < rho { // a mixture: with probability rho the whole cluster agrees
		if rng.Float64() < p {
			return 1
		}
		return 0
	}
	return p
}

// The t interval of a clustered mean covers near its level with few clusters, where a naive
// interval does not.
func TestClusteredIntervalCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	f := func(clusters, size int, rho, least float64) {
		t.Helper()
		const draws, mu = 4_000, 3.0
		hit, naive := 0, 0
		for range draws {
			var c Clustered
			var flat []float64
			for id := range clusters {
				shared := rng.NormFloat64() * math.Sqrt(rho)
				for range size {
					x := mu + shared + rng.NormFloat64()*math.Sqrt(1-rho)
					c.Next(uint64(id), x, 1)
					flat = append(flat, x)
				}
			}
			r := c.Ratio()
			if i, ok := r.Interval(0.95); ok && i.Low <= mu && mu <= i.High {
				hit++
			}
			m, _ := r.Value()
			se, _ := NaiveSE(flat)
			if math.Abs(m-mu) <= 1.96*se {
				naive++
			}
		}
		if c := float64(hit) / draws; c < least || c > 0.965 {
			t.Errorf("%d clusters of %d, rho %v: coverage %.3f (naive %.3f)", clusters, size, rho, c, float64(naive)/draws)
		}
		if rho > 0.3 && float64(naive)/draws > 0.9 {
			t.Errorf("the naive interval covers %.3f: the simulation is not clustered", float64(naive)/draws)
		}
	}
	f(5, 10, 0.5, 0.94)
	f(20, 5, 0.5, 0.94)
	f(30, 1, 0, 0.94)
}

// A clustered rate: Wilson on the effective number of trials covers, on all observations does not.
func TestEffectiveTrialsCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	f := func(p float64, clusters, size int, rho, least float64) {
		t.Helper()
		const draws = 4_000
		hit, naive := 0, 0
		for range draws {
			var c Clustered
			k := 0.0
			for id := range clusters {
				q := clusterDraw(rng, p, rho)
				for range size {
					y := 0.0
					if rng.Float64() < q {
						y = 1
					}
					k += y
					c.Next(uint64(id), y, 1)
				}
			}
			r := c.Ratio()
			n := clusters * size
			se, _ := r.ClusteredSE()
			eff := EffectiveTrials(k/float64(n), se, n, clusters, 0.95)
			if i, ok := Wilson(k/float64(n)*eff, eff, 0.95); ok && i.Low <= p && p <= i.High {
				hit++
			}
			if i, ok := Wilson(k, float64(n), 0.95); ok && i.Low <= p && p <= i.High {
				naive++
			}
		}
		c, w := float64(hit)/draws, float64(naive)/draws
		t.Logf("p=%v, %d clusters of %d, rho %v: effective %.3f, naive %.3f", p, clusters, size, rho, c, w)
		if c < least {
			t.Errorf("p=%v, %d clusters of %d, rho %v: coverage %.3f", p, clusters, size, rho, c)
		}
		if rho > 0.4 && w > 0.9 {
			t.Errorf("naive coverage %.3f: the simulation is not clustered", w)
		}
	}
	f(0.5, 20, 5, 0.5, 0.94)
	f(0.8, 20, 5, 0.5, 0.915)
	f(0.9, 50, 5, 0.8, 0.94)
	f(0.95, 100, 3, 0.9, 0.94)
	f(0.7, 200, 3, 0.1, 0.94)
	f(0.9, 10, 10, 0.3, 0.91) // ten clusters are few: about 92%
}

func TestEffectiveTrialsEdges(t *testing.T) {
	f := func(p, se float64, n, clusters int, want float64) {
		t.Helper()
		near(t, "effective", EffectiveTrials(p, se, n, clusters, 0.95), want, 1e-9)
	}
	f(0.5, 0.01, 100, 100, 100) // not clustered
	f(1, 0, 100, 10, 10)        // no spread: a cluster is one trial
	f(0, 0, 100, 10, 10)
	f(0.5, 0.1, 100, 1, 0) // one cluster tells nothing
	f(0.5, 1e-9, 100, 10, 100)
	// SE² is 0.01·10/9 for ten clusters, and z and t are those of any table.
	near(t, "effective", EffectiveTrials(0.5, 0.1, 100, 10, 0.95), 22.5*(1.9599639845*1.9599639845)/(2.2621571627*2.2621571627), 1e-6)
}

// Streaming, keyed, merged and batch forms agree with the definition.
func TestStreamingEqualsBatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for round := range 200 {
		clusters := 2 + rng.IntN(20)
		var ys, ws []float64
		var ids []int
		offset := []float64{0, 1e6, -40}[round%3]
		for id := range clusters {
			for range 1 + rng.IntN(4) {
				ys = append(ys, offset+rng.NormFloat64())
				ws = append(ws, float64(1+rng.IntN(5)))
				ids = append(ids, id)
			}
		}
		var next, keyed Clustered
		for i, y := range ys {
			next.Next(uint64(ids[i]), y, ws[i])
		}
		for _, i := range rng.Perm(len(ys)) {
			keyed.Keyed(ids[i], ys[i], ws[i])
		}
		var left, right Ratio
		for id := range clusters {
			var n int
			var y, w float64
			for i := range ys {
				if ids[i] == id {
					n, y, w = n+1, y+ys[i], w+ws[i]
				}
			}
			if id%2 == 0 {
				left.AddCluster(n, y, w)
			} else {
				right.AddCluster(n, y, w)
			}
		}
		left.Merge(right)

		var sy, sw, ss float64
		for i := range ys {
			sy, sw = sy+ys[i], sw+ws[i]
		}
		want := sy / sw
		for id := range clusters {
			var e float64
			for i := range ys {
				if ids[i] == id {
					e += ys[i] - want*ws[i]
				}
			}
			ss += e * e
		}
		wantSE := math.Sqrt(ss) / sw
		for name, r := range map[string]Ratio{"next": next.Ratio(), "keyed": keyed.Ratio(), "merged": left} {
			v, ok := r.Value()
			se, ok2 := r.ClusteredSE()
			if !ok || !ok2 || r.N() != len(ys) || r.Clusters() != clusters {
				t.Fatalf("%s: n %d of %d, clusters %d of %d", name, r.N(), len(ys), r.Clusters(), clusters)
			}
			near(t, name+" value", v, want, 1e-9*math.Abs(want)+1e-12)
			near(t, name+" SE", se, wantSE, 1e-6*wantSE)
		}
	}
}

func TestQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	f := func(n int, draw func() float64) {
		t.Helper()
		var q, a, b Quantiles
		xs := make([]float64, n)
		for i := range xs {
			xs[i] = draw()
			for _, into := range []*Quantiles{&q, []*Quantiles{&a, &b}[i%2]} {
				if err := into.Add(xs[i]); err != nil {
					t.Fatal(err)
				}
			}
		}
		a.Merge(b)
		sort.Float64s(xs)
		for _, p := range []float64{0.001, 0.5, 0.95, 0.99, 1} {
			want := xs[max(int(math.Ceil(p*float64(n)-1e-9)), 1)-1]
			got, ok := q.At(p)
			merged, ok2 := a.At(p)
			if !ok || !ok2 || got != merged {
				t.Fatalf("n=%d p=%v: %v, merged %v", n, p, got, merged)
			}
			tol := 1e-12
			if n > QuantileExact {
				tol = QuantileError * 1.0001
			}
			if math.Abs(got-want) > tol*want {
				t.Errorf("n=%d p=%v: %v, want %v", n, p, got, want)
			}
			if got < xs[0] || got > xs[n-1] {
				t.Errorf("n=%d p=%v: %v is not within %v and %v, the least and the greatest", n, p, got, xs[0], xs[n-1])
			}
		}
	}
	f(1, func() float64 { return 0 })
	f(20, rng.Float64)
	f(QuantileExact, rng.Float64)
	f(QuantileExact+1, rng.Float64)
	f(50_000, rng.ExpFloat64)
	f(50_000, func() float64 { return float64(rng.IntN(3)) })
	f(5_000, func() float64 { return 1 })
	f(5_000, func() float64 { return 0.9 + 0.1*rng.Float64() })
	f(50_000, func() float64 { return math.Exp(3 * rng.NormFloat64()) })

	var q Quantiles
	for _, bad := range []float64{-1, math.NaN(), math.Inf(1)} {
		if q.Add(bad) == nil {
			t.Errorf("%v was added", bad)
		}
	}
	if _, ok := q.At(0.5); ok || q.N() != 0 {
		t.Error("a quantile of nothing")
	}
}

func BenchmarkClusteredNext(b *testing.B) {
	var c Clustered
	i := 0
	for b.Loop() {
		c.Next(uint64(i/3), float64(i&1), 1)
		i++
	}
}

func BenchmarkQuantilesAdd(b *testing.B) {
	var q Quantiles
	x := 0.0
	for b.Loop() {
		x += 0.001
		if err := q.Add(x); err != nil {
			b.Fatal(err)
		}
	}
}
