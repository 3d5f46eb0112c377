package metric

import (
	"math"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Forecast is what a score says of an answer: how sure it was, and whether it was right.
type Forecast struct {
	P   float64
	Hit bool
	// Source says where P comes from; forecasts of two sources are never put into one curve.
	Source string
	Bins   stats.Bins
}

// Curves collects the reliability diagrams of a run. Samples pass through it once, in plan order with those of one case
// one after another. It keeps a bounded number of curves, and of each its bins. It is not safe for concurrent use.
type Curves struct {
	// forecast finds what a score forecasts; ok is false for scores that do not, known says that this one should have.
	forecast func(s *record.Score) (f Forecast, known, ok bool)
	parts    int

	curves []*curve
	index  map[curveKey]*curve
	groups map[string]int
	seq    uint64
	caseID string
	more   bool
}

type curveKey struct {
	name string
	part int // -1 for all
}

// curve is one diagram.
type curve struct {
	key     curveKey
	source  string
	bins    stats.Bins
	sums    *stats.Reliability
	missing int
}

// NewCurves returns an empty Curves for a run of so many snapshots. forecast says what a score forecasts, whether it is of
// the kind that does, and whether it did.
func NewCurves(snapshots int, forecast func(*record.Score) (f Forecast, known, ok bool)) *Curves {
	return &Curves{forecast: forecast, parts: snapshots, index: map[curveKey]*curve{}, groups: map[string]int{}}
}

// Add takes one finished sample.
func (c *Curves) Add(s *record.Sample, snapshot int) {
	if s.Case != c.caseID || c.seq == 0 {
		c.caseID = s.Case
		c.seq++
	}
	for i := range s.Scores {
		c.score(s, &s.Scores[i], snapshot)
	}
}

func (c *Curves) score(sample *record.Sample, s *record.Score, snapshot int) {
	if strings.TrimPrefix(s.Type, "not-") == setType { // as visit does
		for i := range s.Scores {
			c.score(sample, &s.Scores[i], snapshot)
		}
	}
	f, known, ok := c.forecast(s)
	if !known {
		return
	}
	c.add(sample, s.Name, -1, f, ok)
	if c.parts > 1 {
		c.add(sample, s.Name, snapshot, f, ok)
	}
}

func (c *Curves) add(sample *record.Sample, name string, part int, f Forecast, ok bool) {
	key := curveKey{name, part}
	at := c.index[key]
	if at == nil {
		if len(c.curves) >= record.MaxCurves {
			c.more = true
			return
		}
		at = &curve{key: key}
		c.index[key] = at
		c.curves = append(c.curves, at)
	}
	if ok && at.sums == nil {
		at.source, at.bins = f.Source, f.Bins
		if at.sums, ok = stats.NewReliability(f.Bins); !ok {
			at.sums = nil
		}
	}
	if !ok || at.sums == nil || f.Source != at.source || f.Bins != at.bins {
		at.missing++
		return
	}
	if sample.Group == "" {
		ok = at.sums.Next(c.seq, f.P, f.Hit)
	} else {
		id, seen := c.groups[sample.Group]
		if !seen {
			id = len(c.groups)
			c.groups[sample.Group] = id
		}
		ok = at.sums.Keyed(id, f.P, f.Hit)
	}
	if !ok {
		at.missing++
	}
}

// Finish returns the curves that hold an answer: of all answers first, then of each snapshot by its place in ids. problem
// says that there were more than a run keeps.
func (c *Curves) Finish(ids []string) (out []record.CalibrationCurve, problem string) {
	for _, whole := range []bool{true, false} {
		for _, at := range c.curves {
			if (at.key.part < 0) != whole || at.sums == nil || at.key.part >= len(ids) {
				continue
			}
			if r, ok := at.finish(); ok {
				if at.key.part >= 0 {
					r.Snapshot = ids[at.key.part]
				}
				out = append(out, r)
			}
		}
	}
	if c.more {
		problem = "there are more reliability diagrams than a run keeps: is a metric name made from case data?"
	}
	return out, problem
}

func (c *curve) finish() (record.CalibrationCurve, bool) {
	d, ok := c.sums.Finish()
	if !ok {
		return record.CalibrationCurve{}, false
	}
	b := d.Brier
	r := record.CalibrationCurve{Metric: published(c.key.name), Source: c.source, Binning: c.bins.String(), N: d.Width.N, Missing: c.missing,
		EqualWidth: calibrationErrors(d.Width), EqualMass: calibrationErrors(d.Mass), LogLoss: d.LogLoss,
		Brier: record.BrierParts{Score: b.Score, Reliability: b.Reliability, Resolution: b.Resolution, Uncertainty: b.Uncertainty, WithinBins: b.WithinVariance - b.WithinCovariance}}
	for _, x := range d.Width.Bins {
		r.Bins = append(r.Bins, record.CalibrationBin{Low: x.Low, High: x.High, N: x.N, Confidence: x.Predicted, Rate: x.Observed, RateLow: x.Interval.Low, RateHigh: x.Interval.High})
	}
	return r, true
}

func calibrationErrors(c stats.Calibration) record.CalibrationErrors {
	e := record.CalibrationErrors{Bins: len(c.Bins), ECE: c.ECE, MCE: c.MCE}
	if !math.IsNaN(c.Debiased) {
		e.Debiased = ptr(c.Root)
	}
	return e
}
