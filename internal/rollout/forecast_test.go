package rollout

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

func forecastDoc(t *testing.T, more string) *config.Rollout {
	t.Helper()
	doc, err := config.LoadRollout("r.yaml", []byte("name: r\nroute: main\ncandidate: new\n"+more), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func forecast(t *testing.T, more string, p Prospect) *Forecast {
	t.Helper()
	f, err := NewForecast(forecastDoc(t, more), p)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const forecastStages = "stages: [{weight: 5%, min_duration: 10m, max_duration: 12h, min_samples: 200}, {weight: 50%, min_duration: 10m, max_duration: 12h, min_samples: 200}, 100%]\nbake: 1h\n"

// A route with much traffic is promoted in a time near the least that the document allows, and what is worse by far more than the margin is
// found within minutes.
func TestForecastMuchTraffic(t *testing.T) {
	p := Prospect{Requests: 20_000, Rates: map[string]float64{"error_rate": 0.01}, Worse: 0.05, Seed: 1}
	f := forecast(t, forecastStages+"signals: [{kind: error_rate, margin: 3%}]", p)
	if f.Promoted != 1 || f.Hours == nil || *f.Hours < 1.3 || *f.Hours > 3 || len(f.Warnings) > 0 {
		t.Errorf("%+v", f)
	}
	for i, s := range f.Stages {
		one := s.Sees[0]
		if one.Found != 1 || one.Hours == nil || *one.Hours > 0.3 || one.AtSample == nil || one.AtEnd == nil || *one.AtEnd >= *one.AtSample || *one.AtEnd > 0.03 {
			t.Errorf("stage %d: %+v", i, one)
		}
		if s.StayHours == nil || *s.StayHours < 1./6 || *s.StayHours > 2 {
			t.Errorf("stage %d: %+v", i, s)
		}
	}
	if want := 200. / 0.05 / 20_000; math.Abs(f.Stages[0].SampleHours-want) > 1e-9 {
		t.Errorf("sample after %g hours, want %g", f.Stages[0].SampleHours, want)
	}
	again, err := NewForecast(forecastDoc(t, forecastStages+"signals: [{kind: error_rate, margin: 3%}]"), p)
	if err != nil || !reflect.DeepEqual(f, again) {
		t.Errorf("another forecast of the same: %v %+v", err, again)
	}
}

// With hardly any traffic nothing can be seen, and it is said.
func TestForecastLittleTraffic(t *testing.T) {
	f := forecast(t, forecastStages+"signals: [{kind: error_rate, margin: 1%}]", Prospect{Requests: 1, Seed: 1})
	if f.Promoted != 0 || f.Hours != nil || f.P90Hours != nil || !f.Signals[0].Assumed {
		t.Errorf("%+v", f)
	}
	if s := f.Stages[0]; s.StayHours != nil || s.Sees[0].Hours != nil || s.Sees[0].Found > 0.2 {
		t.Errorf("%+v", s)
	}
	all := strings.Join(f.Warnings, "\n")
	for _, want := range []string{"stage 5%: it cannot see anything of error_rate", "stage 5%: its sample takes 4e+03 hours", "reaches 100% in 0 of"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not among\n%s", want, all)
		}
	}
}

// Every kind of signal can be simulated: a candidate that is alike passes, one that is worse is found.
func TestForecastOfEachKind(t *testing.T) {
	f := func(signal string) {
		t.Helper()
		unit := ""
		if strings.Contains(signal, "retries") {
			unit = "unit: session\n"
		}
		got := forecast(t, unit+"stages: [{weight: 20%, min_duration: 10m, max_duration: 6h, min_samples: 100}, 100%]\nsignals: [{"+signal+", role: critical}]", Prospect{Requests: 3000, Worse: 0.3, Seed: 1})
		if s := got.Stages[0]; got.Promoted < 0.8 || s.Sees[0].Found < 0.9 || s.Sees[0].Hours == nil {
			t.Errorf("%s: %+v", signal, got)
		}
	}
	for kind := range config.SignalKinds() {
		signal := "kind: " + kind + ", margin: 15%"
		if kind == config.SignalScore {
			signal += ", score: quality"
		}
		f(signal)
	}
	f("kind: output_length, margin: 15%, worse: lower")
	f("kind: refusal, margin: 15%, score: is-refusal")
	f("kind: refusal, margin: 15%, score: not-refusal")
	f("kind: latency_p95, margin: 15%, threshold: 2s")
	f("kind: score, score: toxicity, margin: 15%, worse: higher")
	f("kind: error_rate, margin: 4, relative: true")
}

func TestForecastOfAShadow(t *testing.T) {
	f := forecast(t, "stages: [{weight: shadow, min_duration: 10m, max_duration: 6h, min_samples: 100}, {weight: 50%, min_duration: 10m, max_duration: 6h}, 100%]\nsignals: [{kind: error_rate, margin: 5%}]",
		Prospect{Requests: 3000, Worse: 0.2, Seed: 1})
	if len(f.Stages) != 2 || f.Stages[0].Name != "shadow" || f.Stages[0].Sees[0].Found < 0.9 || f.Promoted < 0.8 || f.Stages[0].StayHours == nil {
		t.Errorf("%+v", f)
	}
}

func TestForecastRefuses(t *testing.T) {
	doc := forecastDoc(t, "")
	for _, n := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if f, err := NewForecast(doc, Prospect{Requests: n}); err == nil {
			t.Errorf("%v requests an hour: %+v", n, f)
		}
	}
	if _, err := NewForecast(nil, Prospect{Requests: 1}); err == nil {
		t.Error("no document and no error")
	}
}
