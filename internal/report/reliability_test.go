package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

// exampleCurve is of a model that is too sure, with an empty bin between.
func exampleCurve() record.CalibrationCurve {
	debiased, mass := 0.19, 0.2
	return record.CalibrationCurve{
		Metric: "calibration", Source: "stated in the output, as the pattern confidence: ([0-9]+) finds it, divided by 100", Binning: "equal width, 4 bins (low, high]", N: 130, Missing: 2,
		Bins: []record.CalibrationBin{
			{Low: 0, High: 0.25, N: 10, Confidence: 0.2, Rate: 0.1, RateLow: 0.018, RateHigh: 0.404},
			{Low: 0.5, High: 0.75, N: 40, Confidence: 0.7, Rate: 0.45, RateLow: 0.307, RateHigh: 0.602},
			{Low: 0.75, High: 1, N: 80, Confidence: 0.95, Rate: 0.75, RateLow: 0.645, RateHigh: 0.832},
		},
		EqualWidth: record.CalibrationErrors{Bins: 3, ECE: 0.2077, MCE: 0.25, Debiased: &debiased}, EqualMass: record.CalibrationErrors{Bins: 3, ECE: 0.21, MCE: 0.25, Debiased: &mass},
		Brier: record.BrierParts{Score: 0.241, Reliability: 0.045, Resolution: 0.04, Uncertainty: 0.2367, WithinBins: -0.0007}, LogLoss: 0.69,
	}
}

// oneAnswer has a bin of its own, which nothing can be debiased by.
func oneAnswer() record.CalibrationCurve {
	return record.CalibrationCurve{Metric: "one", Source: "the case's variable p", Binning: "equal width, 15 bins (low, high]", N: 1,
		Bins:       []record.CalibrationBin{{Low: 14.0 / 15, High: 1, N: 1, Confidence: 1, Rate: 0, RateLow: 0, RateHigh: 0.793}},
		EqualWidth: record.CalibrationErrors{Bins: 1, ECE: 1, MCE: 1}, EqualMass: record.CalibrationErrors{Bins: 1, ECE: 1, MCE: 1},
		Brier: record.BrierParts{Score: 1, Reliability: 1}, LogLoss: 34.5}
}

// hollow has bins that no answers make.
func hollow() record.CalibrationCurve {
	nan := math.NaN()
	return record.CalibrationCurve{Metric: "hollow", Source: "x", N: 3, EqualWidth: record.CalibrationErrors{ECE: nan, MCE: nan, Debiased: &nan}, LogLoss: math.Inf(1),
		Bins: []record.CalibrationBin{{Low: 0, High: 0.5, N: 3, Confidence: nan, Rate: 0.5, RateLow: 0, RateHigh: 1}, {Low: 0.5, High: 0.5, N: 1, Confidence: 0.5}, {Low: 0.5, High: 1, Confidence: 0.7},
			{Low: 0.5, High: 1, N: 2, Confidence: 0.7, Rate: 7, RateLow: 0, RateHigh: 1}}}
}

func TestReliabilityPages(t *testing.T) {
	low, high := 0.12, 0.26
	src := Source{Samples: list(), Run: &record.Run{Calibration: []record.CalibrationCurve{exampleCurve(), oneAnswer(), hollow(), {Metric: "none"}, exampleCurve()},
		Metrics: map[string]record.Metric{"calibration.ece_debiased": {Kind: "corpus", Low: &low, High: &high}}}}
	section := func(s, from, to string) []byte {
		t.Helper()
		_, rest, ok := strings.Cut(s, from)
		body, _, ok2 := strings.Cut(rest, to)
		if !ok || !ok2 {
			t.Fatalf("no %s to %s", from, to)
		}
		return []byte(from + body)
	}
	golden(t, "calibration.html", section(render(t, HTMLFile, scene{src: src}), `<section class="card" id="calibration">`, "</section>"))
	golden(t, "calibration.md", section(render(t, MarkdownFile, scene{src: src}), "### Calibration", "<details>"))
}

// TestReliabilityPlot places what is drawn, and keeps the drawing well-formed whatever a file says.
func TestReliabilityPlot(t *testing.T) {
	c := exampleCurve()
	got := string(reliabilityPlot(&c))
	for _, s := range []string{
		"<title>Reliability diagram of calibration</title>",
		"130 answers in 3 bins. Confidence is above the interval of the share that was right in 2 bins and below it in 0.",
		`class="diagonal" x1="0%" y1="258.0" x2="100%" y2="18.0"`,
		`<svg x="95.00%"><g><title>confidence 0.9500, right 75.00% (95% 64.50–83.20%) of 80</title>`,
		`class="dot" cx="0" cy="78.0"`, // 258 − 0.75·240
		`<rect class="bar" x="75.20%" y="296.0" width="24.60%" height="44.0"><title>0.75–1: 80</title>`,
		`height="5.5"><title>0–0.25: 10</title>`, // 10/80 of 44
	} {
		if !strings.Contains(got, s) {
			t.Errorf("lacks %s: %s", s, got)
		}
	}
	c.Metric = hostile
	for _, s := range []string{got, string(reliabilityPlot(&c))} {
		d := xml.NewDecoder(strings.NewReader(s))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v: %s", err, s)
			}
		}
		if strings.Contains(s, "NaN") || strings.Contains(s, "<script") || strings.Contains(s, "<img") {
			t.Error(s)
		}
	}
	for _, none := range []record.CalibrationCurve{hollow(), {}} {
		if s := reliabilityPlot(&none); s != "" {
			t.Errorf("drew %s", s)
		}
	}
}

// TestReliabilityBounded shows no more diagrams than a reader looks at.
func TestReliabilityBounded(t *testing.T) {
	run := &record.Run{}
	for range record.MaxCurves {
		run.Calibration = append(run.Calibration, exampleCurve())
	}
	src := Source{Run: run, Samples: list()}
	if n := strings.Count(render(t, HTMLFile, scene{src: src}), `class="reliability"`); n != htmlCurves {
		t.Errorf("%d diagrams", n)
	}
	if s := render(t, MarkdownFile, scene{src: src}); strings.Count(s, "#### calibration") != mdCurves || !strings.Contains(s, "36 more are in run.json") {
		t.Error(s)
	}
}
