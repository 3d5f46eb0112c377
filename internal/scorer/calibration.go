package scorer

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// CalibrationType is the name of the kind that holds stated confidence against outcomes.
const CalibrationType = "calibration"

// maxBins is more than any published binning has.
const maxBins = 100

func calibrationKinds() []Kind {
	return []Kind{{
		Name: CalibrationType, Version: "1", Threshold: Optional, Build: buildCalibration,
		Summary: "passes as an assert-set of assert does, and holds the confidence of each answer against that: .ece, .ece_debiased, .mce, .brier, .log_loss and .confidence",
	}}
}

// calibrated judges by its parts, and measures how far the stated confidence is from the outcome.
type calibrated struct {
	*setScorer
	source confidence
	bins   stats.Bins
}

func buildCalibration(s Spec) (Scorer, error) {
	r := s.Config.Reader()
	c := &calibrated{source: readConfidence(r), bins: stats.Bins{Count: readOrder(r, "bins", stats.CalibrationBins, 1, maxBins)}}
	var errs config.Errors
	errs.Append(s.Pos, r.Finish())
	if err := errs.Err(); err != nil {
		return nil, err
	}
	set, err := buildSet(s)
	if err != nil {
		return nil, err
	}
	c.setScorer = set.(*setScorer)
	return c, nil
}

func (c *calibrated) shape() shape { return shape{graded: true, timed: c.timed, judges: true} }

func (c *calibrated) convention() string { return c.recipe(nil) }

func (c *calibrated) recipe(written []config.Assertion) string {
	return fmt.Sprintf("confidence:%s|bins:%s|%s", c.source.name(), c.bins, c.setScorer.recipe(written))
}

// Score judges as the set does. An answer without a confidence is an error, whatever the set says, for leaving it out
// would measure the calibration of the others.
func (c *calibrated) Score(ctx context.Context, in *Input) (Result, error) {
	res, err := c.setScorer.Score(ctx, in)
	if err != nil {
		return res, err
	}
	p, err := c.source.of(in)
	if err != nil {
		return res, err
	}
	hit := *res.Pass
	sums, ok := stats.NewBinSums(p, hit, c.bins)
	if !ok {
		return res, fmt.Errorf("the confidence %v is not from 0 to 1", p)
	}
	res.Value = 0
	if hit {
		res.Value = 1
	}
	forecast := stats.Forecasts{P: []float64{p}, Hit: []bool{hit}}
	brier, _ := stats.BrierScore(forecast, c.bins)
	loss, _ := stats.LogLoss(forecast)
	res.Measures = []record.Measure{{Metric: ".", Value: res.Value, Kind: "rate"}}
	for _, m := range calibrationMeasures {
		v := []float64(sums)
		switch m.name {
		case "brier":
			v = []float64{brier.Score, 1}
		case "log_loss":
			v = []float64{loss, 1}
		case "confidence":
			v = []float64{p, 1}
		}
		res.Measures = append(res.Measures, record.Measure{Metric: "." + m.name, Kind: "corpus/" + c.finisher(m.name), Stats: v, Unit: m.unit})
	}
	return res, nil
}

// calibrationMeasures are the metrics of a calibration. finish makes the number of summed statistics, and is NaN where
// there is none.
var calibrationMeasures = [...]struct {
	name, unit string
	finish     func(stats []float64) float64
}{
	{"ece", "probability", binned(func(c stats.Calibration) float64 { return c.ECE })},
	{"ece_debiased", "probability", binned(rootOfDebiased)},
	{"mce", "probability", binned(func(c stats.Calibration) float64 { return c.MCE })},
	{"brier", "probability²", quotient},
	{"log_loss", "nats", quotient},
	{"confidence", "confidence", quotient},
}

func binned(f func(stats.Calibration) float64) func([]float64) float64 {
	return func(v []float64) float64 {
		c, ok := stats.BinSums(v).Calibrate()
		if !ok {
			return math.NaN()
		}
		return f(c)
	}
}

// rootOfDebiased is NaN when no bin holds two forecasts: c.Root would make 0 of that.
func rootOfDebiased(c stats.Calibration) float64 {
	if math.IsNaN(c.Debiased) {
		return c.Debiased
	}
	return c.Root
}

func quotient(v []float64) float64 {
	if len(v) != 2 || !(v[1] > 0) {
		return math.NaN()
	}
	return v[0] / v[1]
}

// finisher names a measure together with the source of the confidence, so that the confidences of two sources are
// never put into one number.
func (c *calibrated) finisher(measure string) string {
	n := c.bins.Count
	return fmt.Sprintf("calibration:measure=%s,bins=%d,confidence=%s", measure, n, c.source.name())
}

// Confidence says where the assertion takes its confidence from: the name by which Forecast tells sources apart, and the same in
// words. ok is false for assertions of other kinds.
func (a *Assertion) Confidence() (source, words string, ok bool) {
	c, ok := a.scorer.(*calibrated)
	if !ok {
		return "", "", false
	}
	return c.source.name(), c.source.words(), true
}

// Forecast is what a calibration says of an answer.
type Forecast struct {
	P      float64
	Hit    bool
	Source string
	Bins   stats.Bins
}

// ForecastOf reads the forecast of a score. known says that the score is a calibration's, ok that it has a forecast.
func ForecastOf(s *record.Score) (f Forecast, known, ok bool) {
	kind, not := strings.CutPrefix(s.Type, "not-")
	if kind != CalibrationType {
		return f, false, false
	}
	if s.Error != "" {
		return f, true, false
	}
	outcome, stated := false, false
	for i := range s.Measures {
		m := &s.Measures[i]
		if m.Kind == "rate" && m.Metric == s.Name {
			f.Hit, outcome = (m.Value == 1) != not, true // not- turns the rate round, and no other measure
		}
		params, found := strings.CutPrefix(m.Kind, "corpus/"+CalibrationType+":measure=confidence,bins=")
		bins, source, named := strings.Cut(params, ",confidence=")
		n, err := strconv.Atoi(bins)
		if found && named && err == nil && n >= 1 && n <= maxBins && len(m.Stats) == 2 {
			f.P, f.Source, f.Bins, stated = m.Stats[0], source, stats.Bins{Count: n}, true
		}
	}
	return f, true, outcome && stated
}

// calibrationFinisher is CorpusFinisher for the kinds that finisher names.
func calibrationFinisher(params string) (func([]float64) float64, bool) {
	measure, rest, _ := strings.Cut(strings.TrimPrefix(params, "measure="), ",bins=")
	bins, source, _ := strings.Cut(rest, ",confidence=")
	n, err := strconv.Atoi(bins)
	if err != nil || n < 1 || n > maxBins || source == "" || fmt.Sprintf("measure=%s,bins=%d,confidence=%s", measure, n, source) != params {
		return nil, false
	}
	for _, m := range calibrationMeasures {
		if m.name != measure {
			continue
		}
		width := 3 * n
		switch m.name {
		case "brier", "log_loss", "confidence":
			width = 2
		}
		return func(v []float64) float64 {
			if len(v) != width {
				return math.NaN()
			}
			return m.finish(v)
		}, true
	}
	return nil, false
}

// CorpusScale says, for a corpus metric that is a bent scale of a smoother quantity, how its interval is made: by the
// smooth one's finisher, what a jackknife does not see, and the rising function that bends it. Of the former reach gives a part
// of the standard error and an upper end, for so many independent trials an answer, at most 1. The root of a debiased error has a corner at 0, just where a well calibrated model is, and has no usable
// standard error there.
func CorpusScale(kind string) (smooth func(stats []float64) float64, reach func(stats []float64, trials float64) (spread, upper float64), bend func(float64) float64, ok bool) {
	name, params, _ := strings.Cut(strings.TrimPrefix(kind, "corpus/"), ":")
	if name != CalibrationType || !strings.HasPrefix(params, "measure=ece_debiased,") {
		return nil, nil, nil, false
	}
	if _, ok := calibrationFinisher(params); !ok {
		return nil, nil, nil, false
	}
	smooth = binned(func(c stats.Calibration) float64 { return c.Debiased })
	reach = func(v []float64, trials float64) (spread, upper float64) {
		s := stats.BinSums(v)
		return s.DebiasedSpread() / trials, s.DebiasedUpper(trials)
	}
	return smooth, reach, func(x float64) float64 { return math.Sqrt(math.Max(0, x)) }, true
}
