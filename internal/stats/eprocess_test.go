package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Vector 19: π = .05, errors on canary, canary, control, canary.
func TestConditionalVectors(t *testing.T) {
	f := func(ratios []float64, want float64) {
		t.Helper()
		c := must(NewConditional(ConditionalOptions{Ratios: ratios}))
		for _, arm := range []Arm{Canary, Canary, Control, Canary} {
			// Requests without the event leave it as it is.
			ok(t, c.Update(Control, .05, 0))
			ok(t, c.Update(arm, .05, 1))
		}
		near(t, "E", math.Exp(c.LogE()), want, 5.01e-7)
		if c.N() != 8 || c.Events() != 4 {
			t.Errorf("%d requests, %d events", c.N(), c.Events())
		}
	}
	f(nil, 115.273275)
	f([]float64{3}, 18.441363)
}

// The factor for a null ratio other than 1 is the one for null 1 at the ratio, over that at the null.
func TestConditionalNull(t *testing.T) {
	at := func(ratio, null, pi float64, arm Arm) float64 {
		c := must(NewConditional(ConditionalOptions{Ratios: []float64{ratio}, Null: null}))
		ok(t, c.Update(arm, pi, 1))
		return c.LogE()
	}
	for _, arm := range []Arm{Control, Canary} {
		near(t, "log factor", at(1.1, 2, .3, arm), at(1.1, 1, .3, arm)-at(2, 1, .3, arm), 1e-12)
	}
}

// Vector 16.
func TestSafe2x2Vectors(t *testing.T) {
	f := func(a, b string, want, tol float64) {
		t.Helper()
		s := must(NewSafe2x2(0))
		for i := range a {
			ok(t, s.Update(int(a[i]-'0'), 1, int(b[i]-'0'), 1))
		}
		near(t, "E", math.Exp(s.LogE()), want, tol)
	}
	f("1010001", "1011101", 1.09550462, 5.01e-9)
	f("0000000000", "1111111111", 107147.985, 5.01e-4)
}

// Vector 18, by the function and by the stream.
func TestMSPRTVector(t *testing.T) {
	p1, p0 := .03, .01
	lambda, isOK := NormalMSPRT(p1-p0, p1*(1-p1)/1000+p0*(1-p0)/1000, .02)
	if !isOK {
		t.Fatal("refused")
	}
	near(t, "Λ", lambda, 31.885628, 5.01e-7)
	m := must(NewMSPRT(.02))
	for i := range 1000 {
		ok(t, m.Update(Canary, bit(i%100 < 3)))
		ok(t, m.Update(Control, bit(i%100 < 1)))
	}
	near(t, "Λ of the stream", math.Exp(m.LogLambda()), 31.885628, 5.01e-7)
	for _, bad := range [][3]float64{{math.NaN(), 1, 1}, {1, 0, 1}, {1, 1, math.NaN()}, {1, math.Inf(1), 1}} {
		if l, isOK := NormalMSPRT(bad[0], bad[1], bad[2]); isOK {
			t.Errorf("%v gave %v", bad, l)
		}
	}
}

// Vector 8.
func TestEBHVector(t *testing.T) {
	f := func(e []float64, alpha float64, want int) {
		t.Helper()
		got := 0
		for _, r := range EBH(e, alpha) {
			if r {
				got++
			}
		}
		if got != want {
			t.Errorf("EBH(%v, %v) rejects %d, want %d", e, alpha, got, want)
		}
	}
	e := []float64{200, 90, 45, 12, 3, 1.2, .9, .5, .2, .1}
	f(e, .05, 1)
	f([]float64{100, 100, 1}, .05, 2) // 2 of 3 need 30 each
	f([]float64{math.Inf(1), math.NaN(), -1}, .05, 1)
	f([]float64{25, math.NaN()}, .05, 0) // a missing e-value still counts as a hypothesis
	f([]float64{math.NaN()}, .05, 0)
	f(nil, .05, 0)
	for _, alpha := range []float64{0, 1, -1, math.NaN()} {
		f(e, alpha, 0)
	}
	if r := EBH([]float64{1, 500, 2}, .05); !r[1] || r[0] || r[2] {
		t.Errorf("the order of the input was lost: %v", r)
	}
}

// Without anything to find e-BH rejects something with a chance of at most alpha, and comes near it: e-values that are m with
// chance 1/m and else 0, each for itself and all together, have a mean of 1 and leave no room.
func TestEBHHolds(t *testing.T) {
	const alpha, tests, runs = .1, 20, 20_000
	r := rand.New(rand.NewPCG(53, 54))
	for _, m := range []float64{10, 20, 40, 50, 100, 200} {
		for _, together := range []bool{false, true} {
			some := 0
			for range runs {
				e := make([]float64, tests)
				shared := r.Float64()
				for i := range e {
					if u := r.Float64(); together && shared < 1/m || !together && u < 1/m {
						e[i] = m
					}
				}
				some += int(bit(slices.Contains(EBH(e, alpha), true)))
			}
			if share := float64(some) / runs; share > alpha+4*math.Sqrt(alpha*(1-alpha)/runs) || together && m == 10 && share < .09 {
				t.Errorf("e-values of %v, together %v: something is rejected in %.4f", m, together, share)
			}
		}
	}
}

// For binary scores with the same estimates a bet on scores is a likelihood ratio: it grows at the information rate.
func TestScoreInformationOfBinaryScores(t *testing.T) {
	f := func(p0, p1, split float64) {
		t.Helper()
		want, isOK := RateInformation(p0, p1, split)
		if !isOK {
			t.Fatal("refused")
		}
		// Two bins with middles 1/4 and 3/4 are an affine image of 0 and 1, which the bet is free to undo.
		near(t, "information", growth([]float64{1 - p0, p0}, []float64{1 - p1, p1}, split), want, 1e-9*want)
	}
	f(.2, .26, .05)
	f(.01, .03, .5)
	f(.9, .5, .3)
}

func TestInformationBound(t *testing.T) {
	f := func(p0, p1, split, alpha, want float64) {
		t.Helper()
		nats, _ := RateInformation(p0, p1, split)
		got, isOK := InformationBound(nats, alpha)
		if !isOK {
			t.Fatal("refused")
		}
		near(t, "bound", got, want, .51)
	}
	f(.01, .03, .05, .01, 7560)
	f(.01, .03, .5, .01, 1727)
	if b, isOK := InformationBound(0, .01); !isOK || !math.IsInf(b, 1) {
		t.Errorf("no information: %v %v", b, isOK)
	}
	for _, bad := range [][2]float64{{math.NaN(), .01}, {-1, .01}, {1, 0}, {1, 1}, {1, math.NaN()}} {
		if b, isOK := InformationBound(bad[0], bad[1]); isOK {
			t.Errorf("%v gave %v", bad, b)
		}
	}
	for _, bad := range [][3]float64{{math.NaN(), .1, .5}, {.1, 2, .5}, {.1, .2, 0}, {.1, .2, 1}} {
		if b, isOK := RateInformation(bad[0], bad[1], bad[2]); isOK {
			t.Errorf("%v gave %v", bad, b)
		}
	}
	for _, bad := range [][4]float64{{.5, .5, .5, .5}, {.5, .4, 0, .5}, {0, .4, .1, .5}, {.5, .4, .1, math.NaN()}} {
		if b, isOK := ScoreInformation(bad[0], bad[1], bad[2], bad[3]); isOK {
			t.Errorf("%v gave %v", bad, b)
		}
	}
}

// What cannot be is an error, and leaves the state as it was.
func TestStreamsRefuse(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	f := func(name string, s stream, update func() error) {
		t.Helper()
		before := marshal(t, s)
		if err := update(); err == nil {
			t.Errorf("%s took it", name)
		}
		if after := marshal(t, s); after != before {
			t.Errorf("%s changed: %s, was %s", name, after, before)
		}
	}
	c, l := must(NewConditional(ConditionalOptions{})), must(NewLikelihood(LikelihoodOptions{}))
	s := must(NewScores(ScoresOptions{}))
	for _, p := range []struct {
		name string
		e    eprocess
	}{{"conditional", c}, {"likelihood", l}, {"scores", s}} {
		ok(t, p.e.Update(Canary, .5, 1))
		for _, bad := range []struct {
			arm   Arm
			pi, y float64
		}{{Canary, nan, 1}, {Canary, -.1, 1}, {Canary, 1.1, 1}, {Canary, 0, 1}, {Control, 1, 1}, {2, .5, 1}, {Canary, .5, nan}, {Canary, .5, 2}, {Canary, .5, -1}, {Canary, .5, inf}} {
			f(p.name, p.e, func() error { return p.e.Update(bad.arm, bad.pi, bad.y) })
		}
		// Nothing is learnt while all traffic goes one way.
		before := p.e.LogE()
		ok(t, p.e.Update(Canary, 1, 1))
		ok(t, p.e.Update(Control, 0, 0))
		if p.e.LogE() != before {
			t.Errorf("%s learnt from traffic that was not randomised", p.name)
		}
	}
	for _, y := range []float64{nan, inf, .5, -1} {
		f("conditional", c, func() error { return c.Update(Canary, .5, y) })
		f("likelihood", l, func() error { return l.Update(Canary, .5, y) })
		m := must(NewMSPRT(.02))
		f("msprt", m, func() error { return m.Update(Canary, y) })
		b := must(NewBernoulliCUSUM(BernoulliCUSUMOptions{.01, .03, 5}))
		f("Bernoulli CUSUM", b, func() error { return b.Update(y) })
		r := must(NewShiryaevRoberts(ShiryaevRobertsOptions{Baseline: .01, Threshold: 1e4}))
		f("Shiryaev–Roberts", r, func() error { return r.Update(y) })
	}
	for _, z := range []float64{nan, inf, -inf} {
		n, e, g := must(NewNormalCUSUM(NormalCUSUMOptions{.5, 4})), must(NewEWMA(EWMAOptions{.1, 2.8})), must(NewGroupSequential(.025))
		f("normal CUSUM", n, func() error { return n.Update(z) })
		f("EWMA", e, func() error { return e.Update(z) })
		f("looks", g, func() error { _, err := g.Look(.5, z); return err })
		f("looks", g, func() error { _, err := g.Look(z, 1); return err })
		m := must(NewMeanSequence(MeanSequenceOptions{Alpha: .05}))
		f("mean sequence", m, func() error { return m.Update(z) })
	}
	x := must(NewSafe2x2(0))
	f("safe 2×2", x, func() error { return x.Update(2, 1, 0, 1) })
	f("safe 2×2", x, func() error { return x.Update(0, 0, 0, 1) })
}

func TestConstructorsRefuse(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	f := func(name string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s was made", name)
		}
	}
	for _, r := range [][]float64{{}, {1}, {2, .5}, {nan}, {inf}, {-1}, make([]float64, 1000)} {
		_, err := NewConditional(ConditionalOptions{Ratios: r})
		f("conditional", err)
		_, err = NewLikelihood(LikelihoodOptions{Ratios: r})
		f("likelihood", err)
		_, err = NewShiryaevRoberts(ShiryaevRobertsOptions{Baseline: .1, Ratios: r, Threshold: 100})
		f("Shiryaev–Roberts", err)
	}
	_, err := NewLikelihood(LikelihoodOptions{Ratios: []float64{.5}})
	f("likelihood below 1", err)
	for _, x := range []float64{nan, inf, -1} {
		_, err := NewConditional(ConditionalOptions{Null: x})
		f("conditional", err)
		_, err = NewLikelihood(LikelihoodOptions{Baseline: x})
		f("likelihood", err)
		_, err = NewLikelihood(LikelihoodOptions{Memory: x})
		f("likelihood", err)
		_, err = NewScores(ScoresOptions{Effects: []float64{x}})
		f("scores", err)
		_, err = NewScores(ScoresOptions{Memory: x})
		f("scores", err)
		_, err = NewMeanSequence(MeanSequenceOptions{Alpha: x})
		f("mean sequence", err)
		_, err = NewMSPRT(x)
		f("msprt", err)
		_, err = NewSafe2x2(x)
		f("safe 2×2", err)
		_, err = NewBernoulliCUSUM(BernoulliCUSUMOptions{.01, .03, x})
		f("Bernoulli CUSUM", err)
		_, err = NewBernoulliCUSUM(BernoulliCUSUMOptions{.01, x, 5})
		f("Bernoulli CUSUM", err)
		_, err = NewNormalCUSUM(NormalCUSUMOptions{x, 5})
		f("normal CUSUM", err)
		_, err = NewNormalCUSUM(NormalCUSUMOptions{.5, x})
		f("normal CUSUM", err)
		_, err = NewEWMA(EWMAOptions{x, 2})
		f("EWMA", err)
		_, err = NewEWMA(EWMAOptions{.1, x})
		f("EWMA", err)
		_, err = NewShiryaevRoberts(ShiryaevRobertsOptions{Baseline: x, Threshold: 100})
		f("Shiryaev–Roberts", err)
		_, err = NewShiryaevRoberts(ShiryaevRobertsOptions{Baseline: .1, Threshold: x})
		f("Shiryaev–Roberts", err)
		_, err = NewGroupSequential(x)
		f("looks", err)
	}
}

// A zero value has nothing to say and takes nothing.
func TestZeroValuesTakeNothing(t *testing.T) {
	f := func(name string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("the zero %s took an observation", name)
		}
	}
	f("conditional", new(Conditional).Update(Canary, .5, 1))
	f("likelihood", new(Likelihood).Update(Canary, .5, 1))
	f("scores", new(Scores).Update(Canary, .5, 1))
	f("mean sequence", new(MeanSequence).Update(.5))
	f("msprt", new(MSPRT).Update(Canary, 1))
	f("safe 2×2", new(Safe2x2).Update(0, 1, 1, 1))
	f("Bernoulli CUSUM", new(BernoulliCUSUM).Update(1))
	f("normal CUSUM", new(NormalCUSUM).Update(1))
	f("EWMA", new(EWMA).Update(1))
	f("Shiryaev–Roberts", new(ShiryaevRoberts).Update(1))
	_, err := new(GroupSequential).Look(.5, 1)
	f("looks", err)
	if new(Conditional).Rejects(.05) {
		t.Error("a zero value rejects")
	}
	if c := must(NewConditional(ConditionalOptions{})); c.Rejects(.5) || c.Rejects(0) || c.Rejects(1) || c.Rejects(math.NaN()) || c.PValue() != 1 {
		t.Error("no observations reject")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
