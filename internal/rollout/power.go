package rollout

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Power says what an experiment can find, and when.
type Power struct {
	Experiment string  `json:"experiment"`
	Route      string  `json:"route"`
	Metric     string  `json:"metric"`
	Units      float64 `json:"units_per_hour"`
	Rate       float64 `json:"rate"` // mean of the first variant: of an event, or the distance from the best score
	Alpha      float64 `json:"alpha"`
	// Rows are for each variant but the first, at MinDuration, at half of MaxDuration and at its end.
	Rows []PowerRow `json:"rows"`
	// Warnings say what the experiment cannot do.
	Warnings []string `json:"warnings,omitempty"`
}

// PowerRow is what can be said of one variant after some time. Differences are absolute.
type PowerRow struct {
	Variant string  `json:"variant"`
	Hours   float64 `json:"hours"`
	Units   float64 `json:"units"` // of this variant and the first
	// Half is half the width of the interval that is to be expected, Found the least true difference that is found with
	// 80% power, which is 0.84 standard errors more.
	Half  float64 `json:"half_width"`
	Found float64 `json:"found"`
}

const (
	powerRuns  = 8
	powerDraws = 200_000 // of a run; beyond that the width is carried on by its law, √(log n/n)
	powerAt    = 0.8416212335729143
)

// NewPower simulates the interval of the experiment's differences, on variants that are alike, with as many units an hour as
// given and a mean of the first variant of rate; deviation is the standard deviation of single values, 0 for an event's.
func NewPower(doc *config.Rollout, units, rate, deviation float64, seed uint64) (*Power, error) {
	switch {
	case doc == nil || doc.Kind != config.KindExperiment || doc.Metric == nil:
		return nil, errors.New("rollout: the document is not an experiment")
	case !(units > 0) || math.IsInf(units, 0):
		return nil, fmt.Errorf("experiment %s: %v units an hour: want a number above 0", doc.Name, units)
	case !(rate > 0 && rate < 1):
		return nil, fmt.Errorf("experiment %s: a mean of %v: want one between 0 and 1", doc.Name, rate)
	case !(deviation >= 0 && deviation <= 0.5):
		return nil, fmt.Errorf("experiment %s: a standard deviation of %v: want one from 0 to 0.5", doc.Name, deviation)
	}
	if deviation == 0 {
		deviation = math.Sqrt(rate * (1 - rate))
	}
	p := &Power{Experiment: doc.Name, Route: doc.Route, Metric: doc.Metric.Name, Units: units, Rate: rate, Alpha: doc.Alpha}
	alpha := doc.Alpha / float64(len(doc.Arms)-1)
	for i, a := range doc.Arms[1:] {
		first := doc.Arms[0].Weight
		for _, after := range []time.Duration{doc.Stop.MinDuration, doc.Stop.MaxDuration / 2, doc.Stop.MaxDuration} {
			n := units * after.Hours()
			row := PowerRow{Variant: a.Variant, Hours: after.Hours(), Units: n * (first + a.Weight)}
			row.Half = expectedHalf(first, a.Weight, rate, deviation, n, alpha, seed+uint64(i))
			se := deviation * math.Sqrt(1/(n*first)+1/(n*a.Weight))
			row.Found = row.Half + powerAt*se
			p.Rows = append(p.Rows, row)
		}
		last := p.Rows[len(p.Rows)-1]
		if last.Found >= math.Max(rate, 1-rate) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: even at max_duration no difference can be found", a.Variant))
		}
		if f := doc.Stop.Futility; f > 0 && last.Half >= f {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: the interval is wider than the futility bound of %g at max_duration: it cannot end as futile", a.Variant, f))
		}
		if n := units * doc.Stop.MaxDuration.Hours() * math.Min(first, a.Weight); n < float64(doc.Stop.MinSamples) {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: min_samples of %d is not reached: about %.0f by max_duration", a.Variant, doc.Stop.MinSamples, n))
		}
	}
	return p, nil
}

// expectedHalf is half the width of the confidence sequence after n units in all, in the mean of simulated experiments: infinite
// where it says nothing.
func expectedHalf(first, other, rate, deviation, n, alpha float64, seed uint64) float64 {
	draws := int(math.Min(math.Round(n), powerDraws))
	if draws < 1 {
		return 1
	}
	// Values of two kinds with the wanted mean and deviation, within [0, 1].
	spread := math.Min(deviation*deviation/(rate*(1-rate)), 1)
	low, high := rate-rate*math.Sqrt(spread), rate+(1-rate)*math.Sqrt(spread)
	sum := 0.0
	for run := range powerRuns {
		rng := rand.New(rand.NewPCG(seed, uint64(run)))
		p := newPool()
		var d difference
		for range draws {
			v := low
			if rng.Float64() < rate {
				v = high
			}
			u, c := rng.Float64(), p.C
			z := 0.0
			switch {
			case u < first:
				z = -(v - c) / first
			case u < first+other:
				z = (v - c) / other
			}
			width := math.Max((1-c)/other, c/first) + math.Max(c/other, (1-c)/first)
			d.take(other, c, width, z)
			p.add(v)
		}
		i, ok := d.interval(alpha)
		half := 1.0
		if ok {
			half = math.Min(1, (i.High-i.Low)/2)
		}
		sum += half
	}
	half := sum / powerRuns
	if more := n / float64(draws); more > 1 {
		half *= math.Sqrt(math.Log(n) / math.Log(float64(draws)) / more)
	}
	return stats.Interval{Low: 0, High: half}.Clip(0, 1).High
}
