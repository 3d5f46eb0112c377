package metric

import (
	"fmt"
	"math"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// forecastScore is a score whose value is the forecast, whose judgement the outcome, and whose reason the source.
func forecastScore(name string, p float64, hit bool, source string) record.Score {
	return record.Score{Name: name, Type: "calibration", Value: &p, Pass: &hit, Reason: source}
}

func readForecast(s *record.Score) (f Forecast, known, ok bool) {
	if s.Type != "calibration" {
		return f, false, false
	}
	if s.Error != "" {
		return f, true, false
	}
	return Forecast{P: *s.Value, Hit: *s.Pass, Source: s.Reason}, true, true
}

func TestCurves(t *testing.T) {
	c := NewCurves(2, readForecast)
	var all [2]stats.Forecasts
	for i := range 120 {
		p, hit := float64(i%20)/20, i%3 > 0
		part := i % 2
		s := &record.Sample{Case: fmt.Sprint(i / 4), Scores: []record.Score{{Name: "other", Type: "contains"},
			{Name: "set", Type: "not-assert-set", Scores: []record.Score{forecastScore("inside", p, hit, "a")}},
			{Name: "opaque", Type: "calibration", Error: "no answer", Scores: []record.Score{forecastScore("part", p, hit, "a")}}}}
		if i >= 80 { // groups come in any order
			s.Group = fmt.Sprint("g", i%5)
		}
		c.Add(s, part)
		f := &all[part]
		cluster := i / 4
		if i >= 80 {
			cluster = 1000 + i%5
		}
		f.P, f.Hit, f.Cluster = append(f.P, p), append(f.Hit, hit), append(f.Cluster, cluster)
	}
	got, problem := c.Finish([]string{"s0", "s1"})
	if problem != "" || len(got) != 3 || got[0].Snapshot != "" || got[1].Snapshot != "s0" || got[2].Snapshot != "s1" {
		t.Fatalf("%q %+v", problem, got)
	}
	whole := stats.Forecasts{P: append(all[0].P, all[1].P...), Hit: append(all[0].Hit, all[1].Hit...), Cluster: append(all[0].Cluster, all[1].Cluster...)}
	for i, f := range []stats.Forecasts{whole, all[0], all[1]} {
		want, _ := stats.Calibrate(f, stats.Bins{})
		g := got[i]
		if g.Metric != "inside" || g.Source != "a" || g.N != want.N || len(g.Bins) != len(want.Bins) || math.Abs(g.EqualWidth.ECE-want.ECE) > 1e-12 || math.Abs(*g.EqualWidth.Debiased-want.Root) > 1e-12 {
			t.Errorf("%+v\nwant %+v", g, want)
		}
		for k, b := range want.Bins {
			if math.Abs(g.Bins[k].RateLow-b.Interval.Low) > 1e-12 || math.Abs(g.Bins[k].RateHigh-b.Interval.High) > 1e-12 {
				t.Errorf("bin %d: %+v, want %+v", k, g.Bins[k], b)
			}
		}
	}
}

// Nothing is drawn of answers without a confidence, and two sources never share a curve.
func TestCurvesMissing(t *testing.T) {
	c := NewCurves(1, readForecast)
	add := func(scores ...record.Score) { c.Add(&record.Sample{Case: "c", Scores: scores}, 0) }
	add(record.Score{Name: "none", Type: "calibration", Error: "x"})
	add(forecastScore("two", 0.5, true, "a"))
	add(forecastScore("two", 0.5, true, "b"))
	add(record.Score{Name: "two", Type: "calibration", Error: "x"})
	add(forecastScore("two", math.NaN(), true, "a"))
	add(forecastScore(record.MetricScore, 1, true, "a"))
	got, _ := c.Finish(nil)
	if len(got) != 2 || got[0].Metric != "two" || got[0].N != 1 || got[0].Missing != 3 || got[0].EqualWidth.Debiased != nil || got[1].Metric != record.MetricAssert+record.MetricScore {
		t.Errorf("%+v", got)
	}
}

func TestCurvesBounded(t *testing.T) {
	c := NewCurves(1, readForecast)
	for i := range record.MaxCurves + 5 {
		c.Add(&record.Sample{Case: "c", Scores: []record.Score{forecastScore(fmt.Sprint(i), 0.5, true, "a")}}, 0)
	}
	if got, problem := c.Finish(nil); len(got) != record.MaxCurves || problem == "" {
		t.Errorf("%d curves, %q", len(got), problem)
	}
}
