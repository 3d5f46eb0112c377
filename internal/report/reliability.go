package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// How many reliability diagrams the page shows, and how many tables of bins report.md.
const (
	htmlCurves = 20
	mdCurves   = 4
)

// curveView is one reliability diagram, with its bins as a table.
type curveView struct {
	Name, Snapshot, Source string
	Facts                  []fact
	Plot                   template.HTML
	Bins                   []curveBin
}

// curveBin is a bin as a row of a table.
type curveBin struct{ Range, N, Confidence, Rate, Interval, Gap string }

func newCurveView(run *record.Run, c *record.CalibrationCurve) curveView {
	v := curveView{Name: short(c.Metric), Source: clip(c.Source, keptTexts.reason), Facts: curveFacts(run, c), Plot: reliabilityPlot(c), Bins: curveBins(c)}
	if c.Snapshot != "" {
		v.Snapshot = snapshotName(run, c.Snapshot)
	}
	return v
}

// drawable says whether a bin is one that answers can have; a file may hold anything.
func drawable(b *record.CalibrationBin) bool {
	for _, x := range []float64{b.Low, b.High, b.Confidence, b.Rate, b.RateLow, b.RateHigh} {
		if !(x >= -1e-9 && x <= 1+1e-9) {
			return false
		}
	}
	return b.N > 0 && b.Low < b.High
}

func curveBins(c *record.CalibrationCurve) []curveBin {
	var out []curveBin
	for i := range c.Bins[:min(len(c.Bins), record.MaxCurveBins)] {
		b := &c.Bins[i]
		if !drawable(b) {
			continue
		}
		out = append(out, curveBin{binRange(b), count(b.N), number(b.Confidence), percent(b.Rate), interval(&b.RateLow, &b.RateHigh, "", true),
			signed(b.Confidence-b.Rate, "", true) + " pp"})
	}
	return out
}

// binRange names a bin by its edges: above the lower one, up to the upper one.
func binRange(b *record.CalibrationBin) string { return fmt.Sprintf("%.3g–%.3g", b.Low, b.High) }

// curveFacts are the numbers of a diagram; the debiased error comes with the interval that gates look at.
func curveFacts(run *record.Run, c *record.CalibrationCurve) []fact {
	metrics := run.Metrics
	if c.Snapshot != "" {
		metrics = run.BySnapshot[c.Snapshot]
	}
	number := func(x float64) string { return quantity(&x, "", false) } // of what is no number it says so
	debiased := noData
	if x := c.EqualWidth.Debiased; finite(x) {
		debiased = number(*x)
		if m, ok := metrics[c.Metric+".ece_debiased"]; ok && finite(m.Low) && finite(m.High) {
			debiased += ", 95% " + interval(m.Low, m.High, "", false)
		}
	}
	mass := number(c.EqualMass.ECE) + " in " + numbered(c.EqualMass.Bins, "bin")
	if x := c.EqualMass.Debiased; finite(x) {
		mass += ", debiased " + number(*x)
	}
	b := c.Brier
	return []fact{
		{"Answers", missing(count(c.N), c.Missing)},
		{"ECE, debiased", debiased},
		{"ECE, equal width", number(c.EqualWidth.ECE) + " in " + numbered(c.EqualWidth.Bins, "bin")},
		{"ECE, equal mass", mass},
		{"Largest gap (MCE)", number(c.EqualWidth.MCE)},
		{"Brier score", number(b.Score)},
		{"Brier score, parts", fmt.Sprintf("reliability %s − resolution %s + uncertainty %s + within bins %s", number(b.Reliability), number(b.Resolution), number(b.Uncertainty), number(b.WithinBins))},
		{"Log loss", number(c.LogLoss) + " nats"},
	}
}

// The parts of a reliability diagram in pixels: the square of the curve, and the bars of counts below it.
const (
	curveTop, curveBottom = 18.0, 258.0
	barsTop, barsBottom   = 296.0, 340.0
	curveHeight           = 360
)

// reliabilityPlot draws mean confidence against the share that was right, bin by bin, with the interval of the share. On the
// diagonal the model is as sure as it should be; below it is too sure.
func reliabilityPlot(c *record.CalibrationCurve) template.HTML {
	var bins []*record.CalibrationBin
	most := 0
	for i := range c.Bins[:min(len(c.Bins), record.MaxCurveBins)] {
		if b := &c.Bins[i]; drawable(b) {
			bins = append(bins, b)
			most = max(most, b.N)
		}
	}
	if len(bins) == 0 {
		return ""
	}
	s := &svg{}
	fmt.Fprintf(&s.b, `<svg class="reliability" width="100%%" height="%d" role="img"><title>%s</title><desc>%s</desc>`, curveHeight,
		html.EscapeString("Reliability diagram of "+oneLine(c.Metric, keepName)), html.EscapeString(curveWords(c, bins)))
	y := func(share float64) float64 { return curveBottom - share*(curveBottom-curveTop) }
	for _, t := range []float64{0, 0.25, 0.5, 0.75, 1} {
		s.lineTo("grid", "0%", px(y(t)), "100%", px(y(t)))
		s.lineTo("grid", pc(t), px(curveTop), pc(t), px(curveBottom))
		s.text("tick", pc(t), px(curveBottom+16), "middle", strconv.FormatFloat(t, 'g', -1, 64))
		s.text("tick", "-7", px(y(t)+4), "end", strconv.FormatFloat(t, 'g', -1, 64))
	}
	s.text("tick", "0%", px(curveTop-7), "start", "share that was right")
	s.lineTo("diagonal", "0%", px(curveBottom), "100%", px(curveTop))
	for i := 1; i < len(bins); i++ {
		a, b := bins[i-1], bins[i]
		s.lineTo("curve", pc(a.Confidence), px(y(a.Rate)), pc(b.Confidence), px(y(b.Rate)))
	}
	for _, b := range bins {
		s.point(b, y(b.Rate), y(b.RateLow), y(b.RateHigh))
	}
	s.lineTo("grid", "0%", px(barsBottom), "100%", px(barsBottom))
	s.text("tick", "0%", px(barsTop-6), "start", "answers, at most "+count(most)+" in a bin")
	for _, b := range bins {
		h := math.Max(float64(b.N)/float64(most)*(barsBottom-barsTop), 1.5)
		gap := math.Min(0.002, (b.High-b.Low)/8)
		s.rect("bar", pc(b.Low+gap), px(barsBottom-h), pc(b.High-b.Low-2*gap), px(h), binRange(b)+": "+count(b.N))
	}
	s.text("tick", "50%", px(barsBottom+16), "middle", "confidence")
	return s.close()
}

// point draws a bin: whiskers of fixed width in a drawing of their own, for the place is a percentage.
func (s *svg) point(b *record.CalibrationBin, at, low, high float64) {
	fmt.Fprintf(&s.b, `<svg x="%s"><g><title>%s</title>`, pc(b.Confidence), html.EscapeString(binWords(b)))
	s.lineTo("span", "0", px(low), "0", px(high))
	s.lineTo("cap", "-5", px(low), "5", px(low))
	s.lineTo("cap", "-5", px(high), "5", px(high))
	fmt.Fprintf(&s.b, `<circle class="dot" cx="0" cy="%s" r="4.5"/></g></svg>`, px(at))
}

func binWords(b *record.CalibrationBin) string {
	return fmt.Sprintf("confidence %s, right %s (95%% %s) of %s", number(b.Confidence), percent(b.Rate), interval(&b.RateLow, &b.RateHigh, "", true), count(b.N))
}

// curveWords says what the diagram shows to those who do not see it.
func curveWords(c *record.CalibrationCurve, bins []*record.CalibrationBin) string {
	var n, over, under int
	for _, b := range bins {
		n += b.N
		switch {
		case b.Confidence > b.RateHigh:
			over++
		case b.Confidence < b.RateLow:
			under++
		}
	}
	return fmt.Sprintf("%s answers in %d bins. Confidence is above the interval of the share that was right in %d bins and below it in %d.", count(n), len(bins), over, under)
}

func (p *page) calibration(run *record.Run) {
	for i := range run.Calibration {
		if len(p.Curves) == htmlCurves {
			p.CurvesMore = len(run.Calibration) - htmlCurves
			return
		}
		p.Curves = append(p.Curves, newCurveView(run, &run.Calibration[i]))
	}
}

// calibration writes the bins of the first reliability diagrams.
func (m *markdown) calibration() {
	if len(m.run.Calibration) == 0 {
		return
	}
	m.line("### Calibration\n")
	for i := range m.run.Calibration[:min(len(m.run.Calibration), mdCurves)] {
		c := &m.run.Calibration[i]
		name := mdEscape(c.Metric, keepName)
		if c.Snapshot != "" {
			name += ", " + mdEscape(snapshotName(m.run, c.Snapshot), keepName)
		}
		m.line("#### %s\n\nConfidence: %s. Bins: %s.\n", name, mdEscape(c.Source, mdText), mdEscape(c.Binning, keepName))
		bins := curveBins(c)
		if len(bins) == 0 {
			m.line("No bin holds an answer: no data.\n")
			continue
		}
		m.table("Confidence", ">n", ">Mean confidence", ">Right", fmt.Sprintf(">%g%% interval", 100*stats.Level), ">Gap")
		for _, b := range bins {
			m.row(b.Range, b.N, b.Confidence, b.Rate, b.Interval, b.Gap)
		}
		m.line("\n| | |\n|---|---|")
		for _, f := range curveFacts(m.run, c) {
			m.row(f.Name, mdValue(f.Value))
		}
		m.line("")
	}
	if n := len(m.run.Calibration) - mdCurves; n > 0 {
		m.line("%s more are in %s.\n", count(n), JSONFile)
	}
}
