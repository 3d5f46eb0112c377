package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Vector 20, and with more digits R's spc 0.6.7 (xcusum.arl, xewma.arl). Of the EWMA without a shift the vector prints 499.5, which
// is what a Markov chain of 401 to 501 states gives (499.47 to 499.51); the run length is 499.5795501, also spc's.
func TestRunLengthVectors(t *testing.T) {
	f := func(name string, got float64, isOK bool, want, tol float64) {
		t.Helper()
		if !isOK {
			t.Fatalf("%s refused", name)
		}
		near(t, name, got, want, tol)
	}
	cusum := func(h, shift, want, tol float64) {
		t.Helper()
		got, isOK := NormalCUSUMRunLength(NormalCUSUMOptions{.5, h}, shift)
		f("CUSUM", got, isOK, want, tol)
	}
	cusum(4, 0, 167.7, .051)
	cusum(4, 1, 8.38, .0051)
	cusum(5, 0, 465.4, .051)
	cusum(5, 1, 10.38, .0051)
	cusum(4, 0, 167.6837888, 1e-6)
	cusum(4, 1, 8.38313187, 1e-7)
	cusum(5, 0, 465.443506, 1e-6)
	cusum(5, 1, 10.37596992, 1e-7)
	ewma := func(shift, want, tol float64) {
		t.Helper()
		got, isOK := EWMARunLength(EWMAOptions{.1, 2.814}, shift)
		f("EWMA", got, isOK, want, tol)
	}
	ewma(0, 499.5, .08)
	ewma(0, 499.5795501, 1e-6)
	ewma(1, 10.33, .0051)
	ewma(1, 10.33066516, 1e-7)
	// By simulation elsewhere, with three standard errors. Small rises are where the lattice matters.
	bernoulli := func(from, to, h, p, want, se float64) {
		t.Helper()
		got, isOK := BernoulliCUSUMRunLength(BernoulliCUSUMOptions{from, to, h}, p)
		f("Bernoulli CUSUM", got, isOK, want, 3*se)
	}
	bernoulli(.01, .03, 6.6, .01, 115190, 470)
	bernoulli(.01, .03, 6.6, .03, 456.84, .27)
	bernoulli(.05, .055, 3, .05, 67595, 143)
	bernoulli(.01, .011, 2, .01, 96973, 199)
	bernoulli(.01, .0105, 1, .01, 61086, 85)
	bernoulli(.001, .0015, 4, .0015, 29198, 78)
	bernoulli(.9, .95, 3, 1, 56, 1e-10) // ⌈3/ln(.95/.9)⌉
	bernoulli(.01, .03, 1, 1, 1, 1e-10)
}

// A threshold that is calibrated to a run length has it.
func TestCalibration(t *testing.T) {
	f := func(name string, h float64, isOK bool, back func(h float64) (float64, bool), want, tol float64) {
		t.Helper()
		if !isOK {
			t.Fatalf("%s refused", name)
		}
		got, isOK := back(h)
		if !isOK {
			t.Fatalf("%s: no run length at %v", name, h)
		}
		near(t, name, got, want, tol*want)
	}
	for _, arl := range []float64{100, 1e4} {
		h, isOK := CalibrateNormalCUSUM(.5, arl)
		f("normal CUSUM", h, isOK, func(h float64) (float64, bool) { return NormalCUSUMRunLength(NormalCUSUMOptions{.5, h}, 0) }, arl, .001)
		h, isOK = CalibrateEWMA(.1, arl)
		f("EWMA", h, isOK, func(h float64) (float64, bool) { return EWMARunLength(EWMAOptions{.1, h}, 0) }, arl, .001)
	}
	for _, o := range []BernoulliCUSUMOptions{{.01, .03, 0}, {.2, .3, 0}, {.0005, .002, 0}} {
		h, isOK := CalibrateBernoulliCUSUM(o.From, o.To, 20_000)
		o.Threshold = h
		f("Bernoulli CUSUM", h, isOK, func(h float64) (float64, bool) { return BernoulliCUSUMRunLength(o, o.From) }, 20_000, .05)
	}
	refused := func(name string, isOK bool) {
		t.Helper()
		if isOK {
			t.Errorf("%s was calibrated", name)
		}
	}
	for _, bad := range []float64{math.NaN(), 0, -1, 1, math.Inf(1)} {
		_, isOK := CalibrateNormalCUSUM(.5, bad)
		refused("normal CUSUM", isOK)
		_, isOK = CalibrateEWMA(.1, bad)
		refused("EWMA", isOK)
		_, isOK = CalibrateBernoulliCUSUM(.01, .03, bad)
		refused("Bernoulli CUSUM", isOK)
	}
	_, isOK := CalibrateBernoulliCUSUM(.03, .01, 1e4)
	refused("a fall", isOK)
	for _, p := range []float64{math.NaN(), 0, -1, 2} { // at a rate of 0 there is no alarm
		_, isOK = BernoulliCUSUMRunLength(BernoulliCUSUMOptions{.01, .03, 5}, p)
		refused("a rate", isOK)
	}
	_, isOK = NormalCUSUMRunLength(NormalCUSUMOptions{.5, 5}, math.NaN())
	refused("NaN", isOK)
	_, isOK = EWMARunLength(EWMAOptions{.1, math.NaN()}, 0)
	refused("NaN", isOK)
}

// detector is a change detector on one stream.
type detector interface {
	Update(x float64) error
	Alarm() bool
	AlarmAt() int64
}

// runLength is the mean and standard error of the number of observations until the alarm.
func runLength(t *testing.T, runs int, make func() detector, draw func(r *rand.Rand) float64) (mean, se float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(31, 32))
	var m moment
	for range runs {
		d := make()
		for !d.Alarm() {
			ok(t, d.Update(draw(r)))
		}
		m.add(float64(d.AlarmAt()))
	}
	return m.mean, math.Sqrt(m.ss / (m.n - 1) / m.n)
}

// The detectors have the run lengths that the equations say.
func runLengthsHold(t *testing.T, runs int) {
	f := func(name string, make func() detector, draw func(r *rand.Rand) float64, want float64, isOK bool) {
		t.Helper()
		mean, se := runLength(t, runs, make, draw)
		t.Logf("%s: %.1f ± %.1f, computed %.1f", name, mean, se, want)
		if !isOK || math.Abs(mean-want) > 3*se+.01*want {
			t.Errorf("%s: %.2f ± %.2f, computed %.2f", name, mean, se, want)
		}
	}
	for _, shift := range []float64{0, 1} {
		draw := func(r *rand.Rand) float64 { return r.NormFloat64() + shift }
		n := NormalCUSUMOptions{.5, 4}
		want, isOK := NormalCUSUMRunLength(n, shift)
		f("normal CUSUM", func() detector { return must(NewNormalCUSUM(n)) }, draw, want, isOK)
		e := EWMAOptions{.1, 2.3}
		want, isOK = EWMARunLength(e, shift)
		f("EWMA", func() detector { return must(NewEWMA(e)) }, draw, want, isOK)
	}
	for _, c := range []struct {
		o BernoulliCUSUMOptions
		p float64
	}{{BernoulliCUSUMOptions{.01, .03, 3}, .01}, {BernoulliCUSUMOptions{.01, .03, 3}, .03}, {BernoulliCUSUMOptions{.2, .4, 3}, .2}} {
		want, isOK := BernoulliCUSUMRunLength(c.o, c.p)
		f("Bernoulli CUSUM", func() detector { return must(NewBernoulliCUSUM(c.o)) }, func(r *rand.Rand) float64 { return binary(r, c.p) }, want, isOK)
	}
}

func TestRunLengths(t *testing.T) { runLengthsHold(t, 100) }

func TestLongRunLengths(t *testing.T) { long(t); runLengthsHold(t, 20_000) }

// The e-detector's mean time to a false alarm is at least its threshold, and it finds a rise from 1% to 3% within
// 1.25 times the delay of the CUSUM that is calibrated to the same time and told the size of the rise.
func shiryaevHolds(t *testing.T, threshold float64, runs, delays int) {
	make := func() detector {
		return must(NewShiryaevRoberts(ShiryaevRobertsOptions{Baseline: .01, Threshold: threshold}))
	}
	arl, se := runLength(t, runs, make, func(r *rand.Rand) float64 { return binary(r, .01) })
	if arl < threshold-3*se {
		t.Errorf("mean time to a false alarm %.0f ± %.0f, threshold %.0f", arl, se, threshold)
	}
	delay, sd := runLength(t, delays, make, func(r *rand.Rand) float64 { return binary(r, .03) })
	// The run length is known to se only: the CUSUM may have up to two of that more.
	h, isOK := CalibrateBernoulliCUSUM(.01, .03, arl+2*se)
	best, isOK2 := BernoulliCUSUMRunLength(BernoulliCUSUMOptions{.01, .03, h}, .03)
	t.Logf("threshold %.0f: %.0f ± %.0f to a false alarm; delay %.1f ± %.1f, the CUSUM's %.1f (h = %.2f)", threshold, arl, se, delay, sd, best, h)
	if !isOK || !isOK2 || delay-3*sd > 1.25*best {
		t.Errorf("delay %.1f ± %.1f, the calibrated CUSUM's %.1f", delay, sd, best)
	}
}

func TestShiryaevRoberts(t *testing.T) { shiryaevHolds(t, 2000, 60, 200) }

func TestLongShiryaevRoberts(t *testing.T) { long(t); shiryaevHolds(t, 1e5, 1000, 50_000) }

// After its alarm a detector keeps saying when that was, until it is reset.
func TestAlarmStays(t *testing.T) {
	c := must(NewBernoulliCUSUM(BernoulliCUSUMOptions{.01, .03, 3}))
	for range 50 {
		ok(t, c.Update(0))
	}
	if c.Alarm() || c.ChangeAfter() != 50 || c.Statistic() != 0 {
		t.Fatalf("%v %v %v", c.Alarm(), c.ChangeAfter(), c.Statistic())
	}
	for range 3 {
		ok(t, c.Update(1))
	}
	for range 500 {
		ok(t, c.Update(0))
	}
	if !c.Alarm() || c.AlarmAt() != 53 {
		t.Errorf("alarm at %d, want 53", c.AlarmAt())
	}
	c.Reset()
	if c.Alarm() || c.N() != 0 || c.AlarmAt() != 0 {
		t.Error("still alarmed after a reset")
	}
	s := must(NewShiryaevRoberts(ShiryaevRobertsOptions{Baseline: .01, Threshold: 100}))
	for range 2000 {
		ok(t, s.Update(1)) // far beyond what a float64 holds, were it not capped
	}
	if !s.Alarm() || !Finite(s.Statistic()) {
		t.Errorf("%v, %v", s.Alarm(), s.Statistic())
	}
	ok(t, new(ShiryaevRoberts).UnmarshalJSON([]byte(marshal(t, s))))
}
