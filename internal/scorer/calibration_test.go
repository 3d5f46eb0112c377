package scorer

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

func calibrating(confidence any, more ...any) config.Assertion {
	c := map[string]any{"confidence": confidence}
	for i := 0; i < len(more); i += 2 {
		c[more[i].(string)] = more[i+1]
	}
	return config.Assertion{Type: "calibration", Config: config.Object{Map: c}, Assert: []config.Assertion{{Type: "contains", Value: "yes"}}}
}

func measureOf(t *testing.T, s record.Score, name string) record.Measure {
	t.Helper()
	for _, m := range s.Measures {
		if m.Metric == name {
			return m
		}
	}
	t.Fatalf("no %s in %+v", name, s)
	return record.Measure{}
}

func TestConfidenceSources(t *testing.T) {
	r := tokenized("yes it is", 0.5, true) // three tokens of ½
	r.Logprobs[0].Logprob = 0
	f := func(confidence any, output string, want float64, more ...any) {
		t.Helper()
		in := r
		if output != "" {
			in = record.Response{Output: output}
		}
		s := scoreWith(t, calibrating(confidence, more...), &Input{Response: &in, Vars: map[string]any{"sure": 0.25, "text": "0.75"}, Metadata: map[string]any{"p": int64(1)}})
		if s.Error != "" {
			t.Errorf("%v: %s", confidence, s.Error)
			return
		}
		if m := measureOf(t, s, "calibration.confidence"); math.Abs(m.Stats[0]-want) > 1e-12 || m.Stats[1] != 1 {
			t.Errorf("%v: %v, want %v", confidence, m.Stats, want)
		}
	}
	at := func(kind, arg string) map[string]any { return map[string]any{kind: arg} }
	f("logprob", "", 2.0/3)
	f("sequence", "", 0.25)
	f(at("regex", `sure: ([0-9.]+)`), "sure: 0.1; no, sure: 0.9", 0.9) // the last statement counts
	f(at("regex", `[0-9]+%`), "yes, 85%", 0.85, "scale", int64(100))
	f(at("json", "judgement.1.p"), `So: {"judgement": [0, {"p": 0.7}]}`, 0.7)
	f(at("json", "p"), `{"p": "70 %"}`, 0.7, "scale", int64(100))
	f(at("var", "sure"), "x", 0.25)
	f(at("var", "text"), "x", 0.75)
	f(at("metadata", "p"), "x", 1)
}

// What has no confidence, or one that is none, is an error and adds nothing.
func TestConfidenceMissing(t *testing.T) {
	f := func(confidence any, output, want string) {
		t.Helper()
		s := scoreWith(t, calibrating(confidence), &Input{Response: &record.Response{Output: output}, Vars: map[string]any{"nan": math.NaN(), "list": []any{1}, "none": nil}})
		if !strings.Contains(s.Error, want) || s.Error == "" || s.Pass != nil || len(s.Measures) > 0 {
			t.Errorf("%v of %q: %+v, want an error with %q", confidence, output, s, want)
		}
	}
	regex := map[string]any{"regex": `sure: (\S+)`}
	f("logprob", "yes", "log-probabilities")
	f("sequence", "yes", "log-probabilities")
	f(regex, "yes", "nothing in it matches")
	f(regex, "yes, sure: very", "no number")
	f(regex, "yes, sure: 85", "say scale: 100")
	f(regex, "yes, sure: -0.1", "not from 0 to 1")
	f(regex, "yes, sure: NaN", "not from 0 to 1")
	f(map[string]any{"json": "p"}, "yes", "no JSON")
	f(map[string]any{"json": "p"}, `{"q": 1}`, `no "p"`)
	f(map[string]any{"json": "p"}, `{"p": true}`, "no number")
	f(map[string]any{"var": "other"}, "yes", `no var "other"`)
	f(map[string]any{"var": "nan"}, "yes", "no number")
	f(map[string]any{"var": "list"}, "yes", "no number")
	f(map[string]any{"var": "none"}, "yes", "no number")
}

func TestCalibrationMistakes(t *testing.T) {
	f := func(a config.Assertion, want string) {
		t.Helper()
		_, err := Compile(a, "", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a.Config.Map, err, want)
		}
	}
	f(calibrating(nil), "where the confidence comes from")
	f(calibrating("guess"), "no such source")
	f(calibrating("regex"), "no such source")
	f(calibrating(0.5), "no such source")
	f(calibrating(map[string]any{"var": "a", "metadata": "b"}), "no such source")
	f(calibrating(map[string]any{"var": ""}), "no such source")
	f(calibrating(map[string]any{"regex": "("}), "regular expression")
	f(calibrating("logprob", "scale", int64(100)), "as they are")
	f(calibrating(map[string]any{"var": "a"}, "scale", int64(0)), "above 0")
	f(calibrating("logprob", "bins", int64(0)), "bins")
	f(calibrating("logprob", "bin", int64(10)), "bin")
	none := calibrating("logprob")
	none.Assert = nil
	f(none, "no parts")
	measures := calibrating("logprob")
	measures.Assert = []config.Assertion{{Type: "perplexity"}}
	f(measures, "no part")
}

// The recipe says where the confidence comes from, how it is binned, and what is right.
func TestCalibrationSignature(t *testing.T) {
	base := compile(t, calibrating("logprob")).Signature()
	if !strings.Contains(base, "confidence:logprob") || !strings.Contains(base, "equal width, 15 bins") {
		t.Error(base)
	}
	if s := compile(t, calibrating("logprob", "bins", int64(15))).Signature(); !strings.Contains(s, "15 bins") {
		t.Error(s)
	}
	other := calibrating("logprob")
	other.Assert = []config.Assertion{{Type: "contains", Value: "no"}}
	for _, a := range []config.Assertion{calibrating("sequence"), calibrating("logprob", "bins", int64(10)), other, calibrating(map[string]any{"var": "a"}), calibrating(map[string]any{"var": "b"})} {
		if s := compile(t, a).Signature(); s == base {
			t.Errorf("%+v has the signature of another: %s", a.Config.Map, s)
		}
	}
}

// aggregate scores answers with stated confidences, and returns the metrics of the run, or only those that end so.
func aggregate(t *testing.T, a *Assertion, n int, answer func(i int) (p float64, right bool), only ...string) metric.Result {
	t.Helper()
	agg, err := metric.New(metric.Options{Snapshots: 1, Expect: []string{"calibration"}, Finishers: CorpusFinisher, Scale: CorpusScale})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		p, right := answer(i)
		s := a.Score(t.Context(), &Input{Response: &record.Response{Output: map[bool]string{true: "yes", false: "no"}[right]}, Vars: map[string]any{"p": p}})
		if len(only) > 0 {
			s.Measures = slices.DeleteFunc(s.Measures, func(m record.Measure) bool {
				return !slices.ContainsFunc(only, func(name string) bool { return strings.HasSuffix(m.Metric, name) })
			})
		}
		if err := agg.Add(metric.Observation{Sample: &record.Sample{Case: fmt.Sprint(i), Output: "x", Scores: []record.Score{s}}}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := agg.Finish(metric.Plan{Samples: []int{n}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The metrics of a run are those that package stats computes from all forecasts at once.
func TestCalibrationOfARun(t *testing.T) {
	a := compile(t, calibrating(map[string]any{"var": "p"}))
	rng := rand.New(rand.NewPCG(1, 2))
	var f stats.Forecasts
	r := aggregate(t, a, 600, func(int) (float64, bool) {
		p := rng.Float64()
		hit := rng.Float64() < 0.2+0.6*p
		f.P, f.Hit = append(f.P, p), append(f.Hit, hit)
		return p, hit
	})
	want, _ := stats.Calibrate(f, stats.Bins{})
	brier, _ := stats.BrierScore(f, stats.Bins{})
	loss, _ := stats.LogLoss(f)
	for name, v := range map[string]float64{"ece": want.ECE, "ece_debiased": want.Root, "mce": want.MCE, "brier": brier.Score, "log_loss": loss} {
		m := r.Metrics["calibration."+name]
		if m.Mean == nil || math.Abs(*m.Mean-v) > 1e-9 || m.Low == nil || m.High == nil || !(*m.Low <= v && v <= *m.High) || m.N != 600 {
			b, _ := json.Marshal(m)
			t.Errorf("%s: %s, want %v", name, b, v)
		}
	}
	if m := r.Metrics["calibration"]; m.Kind != "rate" || m.N != 600 {
		t.Errorf("%+v", m)
	}
	if len(r.Problems) > 0 {
		t.Error(r.Problems)
	}
}

// Of a model that is well calibrated the debiased error has an interval from 0 in nearly all runs, and never none.
func TestDebiasedIntervalAtZero(t *testing.T) {
	a := compile(t, calibrating(map[string]any{"var": "p"}))
	rng := rand.New(rand.NewPCG(3, 4))
	covered := 0
	const runs = 40
	for range runs {
		r := aggregate(t, a, 200, func(int) (float64, bool) {
			p := rng.Float64()
			return p, rng.Float64() < p
		}, ".ece", ".ece_debiased")
		m := r.Metrics["calibration.ece_debiased"]
		if m.Low == nil || m.High == nil || !(*m.High > 0 && *m.High < 0.25) || *m.Mean > *r.Metrics["calibration.ece"].Mean*1.5 {
			t.Fatalf("%+v", m)
		}
		if *m.Low == 0 {
			covered++
		}
	}
	if covered < runs*85/100 {
		t.Errorf("the interval reaches 0 in %d of %d", covered, runs)
	}
}

// Stated confidences that meet the outcomes to the last digit in a few answers vouch for little: by hand, two bins of ten
// with ỹ = 6/12 and v = ¼/10, so at least √(t·√(2·2·(½·¼/10)²)).
func TestFewAnswersVouchForLittle(t *testing.T) {
	a := compile(t, calibrating(map[string]any{"var": "p"}))
	r := aggregate(t, a, 20, func(i int) (float64, bool) { return 0.45 + 0.1*float64(i%2), i/2 < 5 })
	m := r.Metrics["calibration.ece_debiased"]
	if *m.Mean != 0 || m.High == nil || *m.High < math.Sqrt(2.09*0.025) {
		b, _ := json.Marshal(m)
		t.Errorf("%s", b)
	}
	// Always sure and always right.
	r = aggregate(t, a, 20, func(int) (float64, bool) { return 1, true })
	if m := r.Metrics["calibration.ece_debiased"]; m.High == nil || *m.High < 0.05 || *m.High > 0.2 {
		t.Errorf("%+v", m)
	}
}

// A gate on the upper end lets a model that is off by more than its bar pass seldom, also in small samples.
func TestDebiasedUpperEndCovers(t *testing.T) {
	a := compile(t, calibrating(map[string]any{"var": "p"}))
	rng := rand.New(rand.NewPCG(7, 8))
	f := func(n int, off float64) {
		t.Helper()
		const runs = 40
		below := 0
		for range runs {
			r := aggregate(t, a, n, func(int) (float64, bool) {
				p := 0.3 + 0.7*rng.Float64()
				return p, rng.Float64() < p-off
			}, ".ece_debiased")
			m := r.Metrics["calibration.ece_debiased"]
			if m.High == nil {
				t.Fatalf("%+v", m)
			}
			if *m.High < off {
				below++
			}
		}
		t.Logf("%d answers, off by %v: below in %d of %d", n, off, below, runs)
		if below > runs*6/100 { // nominal 2.5%
			t.Errorf("%d answers, off by %v: the upper end is below it in %d of %d", n, off, below, runs)
		}
	}
	f(30, 0.1)
	f(100, 0.05)
	// Always quite sure and nearly always right: few answers or none are wrong, and no spread says how few.
	sure := func(n int, off float64) {
		t.Helper()
		const runs = 40
		below := 0
		for range runs {
			r := aggregate(t, a, n, func(int) (float64, bool) { return 1, rng.Float64() >= off }, ".ece_debiased")
			if m := r.Metrics["calibration.ece_debiased"]; m.High == nil || *m.High < off {
				below++
			}
		}
		t.Logf("%d sure answers, off by %v: below in %d of %d", n, off, below, runs)
		if below > runs*8/100 {
			t.Errorf("%d sure answers, off by %v: the upper end is below it in %d of %d", n, off, below, runs)
		}
	}
	sure(60, 0.05)
}

// Two sources under one name are not pooled.
func TestSourcesAreNotPooled(t *testing.T) {
	agg, err := metric.New(metric.Options{Snapshots: 1, Finishers: CorpusFinisher, Scale: CorpusScale})
	if err != nil {
		t.Fatal(err)
	}
	for i, field := range []string{"p", "q"} {
		s := scoreWith(t, calibrating(map[string]any{"var": field}), &Input{Response: &record.Response{Output: "yes"}, Vars: map[string]any{field: 0.5}})
		if err := agg.Add(metric.Observation{Sample: &record.Sample{Case: fmt.Sprint(i), Output: "x", Scores: []record.Score{s}}}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := agg.Finish(metric.Plan{Samples: []int{2}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ece", "mce", "brier", "log_loss", "confidence"} {
		if m := r.Metrics["calibration."+name]; m.N != 1 || m.Missing != 1 {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if len(r.Problems) == 0 {
		t.Error("nothing is said of it")
	}
}

func TestCalibrationFinisherRefuses(t *testing.T) {
	const good = "corpus/calibration:measure=ece,bins=15,confidence=logprob"
	finish, ok := CorpusFinisher(good)
	if !ok || !math.IsNaN(finish(nil)) || !math.IsNaN(finish(make([]float64, 45))) || !math.IsNaN(finish([]float64{1, 0.5, 1})) {
		t.Error(good)
	}
	for _, kind := range []string{"calibration", "calibration:", "calibration:measure=ece", "calibration:measure=ece,bins=15,confidence=", "calibration:measure=ece,bins=015,confidence=x",
		"calibration:measure=ece,bins=0,confidence=x", "calibration:measure=ece,bins=1000,confidence=x", "calibration:measure=other,bins=15,confidence=x"} {
		if _, ok := CorpusFinisher(kind); ok {
			t.Errorf("%q has a finisher", kind)
		}
	}
	if _, _, _, ok := CorpusScale(good); ok {
		t.Error("ece has a scale")
	}
	if _, _, _, ok := CorpusScale("calibration:measure=ece_debiased,bins=15"); ok {
		t.Error("half a name has a scale")
	}
}

// A score tells its forecast, whichever way round its outcome counts.
func TestForecastOf(t *testing.T) {
	for _, not := range []bool{false, true} {
		a := calibrating(map[string]any{"var": "p"}, "scale", int64(100))
		a.Not = not
		s := scoreWith(t, a, &Input{Response: &record.Response{Output: "yes"}, Vars: map[string]any{"p": 80}})
		f, known, ok := ForecastOf(&s)
		if !known || !ok || f.P != 0.8 || !f.Hit || f.Bins.Count != stats.CalibrationBins {
			t.Errorf("%+v: %+v, %v, %v", s, f, known, ok)
		}
		source, words, ok := compile(t, a).Confidence()
		if !ok || source != f.Source || words != "the case's variable p, divided by 100" {
			t.Errorf("%q, %q, %v", source, words, ok)
		}
	}
	s := scoreWith(t, calibrating(map[string]any{"var": "p"}), &Input{Response: &record.Response{Output: "yes"}, Vars: map[string]any{"p": 80}})
	if f, known, ok := ForecastOf(&s); !known || ok {
		t.Errorf("%+v has a forecast: %+v", s, f)
	}
	other := record.Score{Name: "x", Type: "contains"}
	if _, known, _ := ForecastOf(&other); known {
		t.Error("contains forecasts")
	}
	if _, _, ok := compile(t, config.Assertion{Type: "contains", Value: "x"}).Confidence(); ok {
		t.Error("contains has a confidence")
	}
}
