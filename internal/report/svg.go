package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/verdict"
)

// Plots are SVG drawn here, so that the page needs no library and shows them without scripts.
// Horizontal places are percentages of the drawing's width and everything else is in pixels: a
// plot then fits any width while its text and line widths keep their size. Colours come from
// the page's style sheet by class; none of the attributes is text of a model's making.

// svg collects elements.
type svg struct{ b strings.Builder }

// pc writes a share of the width, clamped to it.
func pc(x float64) string {
	return strconv.FormatFloat(100*math.Min(math.Max(x, 0), 1), 'f', 2, 64) + "%"
}

// px writes a length in pixels.
func px(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// open starts the drawing. The label says in words what it shows.
func (s *svg) open(class string, height int, label string) {
	fmt.Fprintf(&s.b, `<svg class="%s" width="100%%" height="%d" role="img" aria-label="%s">`, class, height, html.EscapeString(label))
}

func (s *svg) rect(class, x, y, w, h, title string) {
	fmt.Fprintf(&s.b, `<rect class="%s" x="%s" y="%s" width="%s" height="%s">`, class, x, y, w, h)
	if title != "" {
		fmt.Fprintf(&s.b, `<title>%s</title>`, html.EscapeString(title))
	}
	s.b.WriteString(`</rect>`)
}

func (s *svg) lineTo(class, x1, y1, x2, y2 string) {
	fmt.Fprintf(&s.b, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, x1, y1, x2, y2)
}

func (s *svg) text(class, x, y, anchor, text string) {
	fmt.Fprintf(&s.b, `<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>`, class, x, y, anchor, html.EscapeString(text))
}

func (s *svg) close() template.HTML {
	s.b.WriteString(`</svg>`)
	return template.HTML(s.b.String())
}

// whisker draws a mean with its interval and the gate's thresholds. Shares and scores lie on a scale from 0
// to 1, everything else on a scale of its own with its ends written below.
func whisker(m metricRow) template.HTML {
	if !m.hasData() {
		return ""
	}
	low, high := 0.0, 1.0
	height := 22
	own := !m.share && !m.unit01
	if own {
		low, high = ownScale(m)
		height = 34
	}
	at := func(x float64) string { return pc((x - low) / (high - low)) }
	s := &svg{}
	label := m.name + " " + m.statement()
	for _, l := range m.thresholds {
		label += ", gate " + l.stat + " " + l.op + " " + number(l.at)
	}
	s.open("whisker", height, label)
	s.lineTo("grid", "0%", "11", "100%", "11")
	if !own {
		for _, x := range []string{"0%", "25%", "50%", "75%", "100%"} {
			s.lineTo("grid", x, "5", x, "17")
		}
	}
	if finite(m.Low) && finite(m.High) {
		s.lineTo("span", at(*m.Low), "11", at(*m.High), "11")
		s.lineTo("cap", at(*m.Low), "6", at(*m.Low), "16")
		s.lineTo("cap", at(*m.High), "6", at(*m.High), "16")
	}
	fmt.Fprintf(&s.b, `<circle class="dot" cx="%s" cy="11" r="4.5"/>`, at(*m.Mean))
	for _, l := range m.thresholds {
		x := at(l.at)
		s.lineTo("limit", x, "1", x, "21")
	}
	if own {
		s.text("tick", "0%", "32", "start", quantity(&low, m.Unit, false))
		s.text("tick", "100%", "32", "end", quantity(&high, m.Unit, false))
	}
	return s.close()
}

// ownScale is a range around everything the row shows, from zero if that is near.
func ownScale(m metricRow) (low, high float64) {
	low, high = *m.Mean, *m.Mean
	take := func(x float64) { low, high = math.Min(low, x), math.Max(high, x) }
	if finite(m.Low) && finite(m.High) {
		take(*m.Low)
		take(*m.High)
	}
	for _, l := range m.thresholds {
		take(l.at)
	}
	if low > 0 && low < high {
		low = 0
	}
	span := high - low
	if span == 0 {
		span = math.Max(math.Abs(high), 1)
	}
	if low != 0 {
		low -= 0.15 * span
	}
	return low, high + 0.15*span
}

// verdictBar shows the samples by verdict in one bar, on hatchings that differ without colour.
func verdictBar(t Tally) template.HTML {
	total := t.Total()
	if total == 0 {
		return ""
	}
	s := &svg{}
	s.open("verdicts", 34, counts(t))
	x := 0.0
	for _, v := range []verdict.Verdict{verdict.Pass, verdict.Fail, verdict.Error, verdict.Undecided} {
		n := t.of(v)
		if n == 0 {
			continue
		}
		w := float64(n) / float64(total)
		s.rect("f-"+v.String(), pc(x), "0", pc(w), "34", count(n)+" "+v.String())
		x += w
	}
	return s.close()
}

// plotArea is the plot area of a histogram in pixels.
type plotArea struct {
	top, bottom float64
	height      int
}

var (
	fullPlot  = plotArea{top: 14, bottom: 150, height: 184}
	smallPlot = plotArea{top: 14, bottom: 74, height: 102}
)

// bin is one bar of a histogram: where it lies as shares of the width, and what it holds.
type bin struct {
	from, to float64
	t        Tally
	title    string
}

// histogram draws bars, stacked by verdict, with tick labels below.
func histogram(area plotArea, label string, bins []bin, ticks []tick, marks []tick) template.HTML {
	top := 0
	for _, b := range bins {
		top = max(top, b.t.Total())
	}
	s := &svg{}
	s.open("hist", area.height, label)
	for _, y := range []float64{area.top, (area.top + area.bottom) / 2, area.bottom} {
		s.lineTo("grid", "0%", px(y), "100%", px(y))
	}
	s.text("tick", "0%", px(area.top-3), "start", count(top))
	for _, b := range bins {
		y := area.bottom
		for _, v := range []verdict.Verdict{verdict.Pass, verdict.Fail, verdict.Error, verdict.Undecided} {
			n := b.t.of(v)
			if n == 0 {
				continue
			}
			// A bar of a pixel and a half can be seen; less would hide a rare outcome.
			h := math.Max(float64(n)/float64(top)*(area.bottom-area.top), 1.5)
			y -= h
			gap := math.Min(0.002, (b.to-b.from)/8)
			s.rect("f-"+v.String(), pc(b.from+gap), px(y), pc(b.to-b.from-2*gap), px(h), b.title)
		}
	}
	for i, m := range marks {
		s.lineTo("quantile", pc(m.at), px(area.top), pc(m.at), px(area.bottom))
		anchor := "start"
		if m.at > 0.8 {
			anchor = "end"
		}
		s.text("tick mark", pc(m.at), px(area.top+10+13*float64(i)), anchor, " "+m.label+" ")
	}
	for _, t := range ticks {
		anchor := "middle"
		switch {
		case t.at < 0.03:
			anchor = "start"
		case t.at > 0.97:
			anchor = "end"
		}
		s.lineTo("grid", pc(t.at), px(area.bottom), pc(t.at), px(area.bottom+5))
		s.text("tick", pc(t.at), px(area.bottom+19), anchor, t.label)
	}
	return s.close()
}

// tick is a labelled place on an axis.
type tick struct {
	at    float64
	label string
}

// scoreHistogram draws the weighted scores of samples, 0 to 1.
func scoreHistogram(d *Digest) template.HTML {
	if d.scored == 0 {
		return ""
	}
	bins := make([]bin, scoreBins)
	for i, t := range d.scores {
		from, to := float64(i)/scoreBins, float64(i+1)/scoreBins
		bins[i] = bin{from, to, t, fmt.Sprintf("score %.2f to %.2f: %s", from, to, counts(t))}
	}
	ticks := []tick{{0, "0"}, {0.25, "0.25"}, {0.5, "0.5"}, {0.75, "0.75"}, {1, "1"}}
	return histogram(fullPlot, fmt.Sprintf("Histogram of the scores of %s samples", count(d.scored)), bins, ticks, nil)
}

// spreadHistogram draws the values of one score: from 0 to 1 when they all lie there, else on a scale
// of their own.
func spreadHistogram(s *spread) template.HTML {
	label := fmt.Sprintf("Histogram of %s values of %s", count(s.n), short(s.name))
	if !s.outside {
		bins := make([]bin, scoreBins)
		for i, t := range s.unit {
			from, to := float64(i)/scoreBins, float64(i+1)/scoreBins
			bins[i] = bin{from, to, t, fmt.Sprintf("%.2f to %.2f: %s", from, to, scoreCounts(t))}
		}
		return histogram(smallPlot, label, bins, []tick{{0, "0"}, {0.5, "0.5"}, {1, "1"}}, nil)
	}
	first, last := s.used()
	n := last - first + 1
	edge := func(i int) float64 { return (float64(s.low) + float64(first+i)) * s.width }
	bins := make([]bin, n)
	for i := range bins {
		t := s.bins[first+i]
		bins[i] = bin{float64(i) / float64(n), float64(i+1) / float64(n), t, number(edge(i)) + " to " + number(edge(i+1)) + ": " + scoreCounts(t)}
	}
	return histogram(smallPlot, label, bins, []tick{{0, number(edge(0))}, {1, number(edge(n))}}, nil)
}

// scoreCounts is a tally of scores in words.
func scoreCounts(t Tally) string {
	if t.judged() == 0 {
		return count(t.Undecided)
	}
	return count(t.Passed) + " passed, " + count(t.Failed) + " failed, " + count(t.Undecided) + " measured"
}

// latencyBars is how many bars the latency histogram has at most.
const latencyBars = 32

// latencyHistogram draws latencies on a logarithmic scale.
func latencyHistogram(d *Digest) template.HTML {
	if d.timed == 0 {
		return ""
	}
	first, last := -1, 0
	for i, n := range d.latency {
		if n > 0 {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	// Bars are whole numbers of counting bins, so that their heights compare; a narrow
	// distribution gets some room to both sides.
	for last-first+1 < latencyPerOct/2 {
		first, last = max(first-1, 0), min(last+1, latencyBins-1)
	}
	each := (last - first + latencyBars) / latencyBars
	n := (last - first + each) / each
	end := first + n*each
	logAt := func(x float64) float64 {
		return (math.Log2(x/latencyLow)*latencyPerOct - float64(first)) / float64(end-first)
	}
	bins := make([]bin, n)
	for i := range bins {
		lo := first + i*each
		total := 0
		for j := lo; j < min(lo+each, latencyBins); j++ {
			total += d.latency[j]
		}
		bins[i] = bin{float64(i) / float64(n), float64(i+1) / float64(n), Tally{Passed: total},
			fmt.Sprintf("%s to %s: %s", seconds(latencyEdge(lo)), seconds(latencyEdge(lo+each)), count(total))}
	}
	var marks []tick
	for _, q := range latencyQuantiles {
		marks = append(marks, tick{logAt(d.quantile(q.at)), q.name})
	}
	return histogram(fullPlot, fmt.Sprintf("Histogram of the latencies of %s samples, logarithmic scale", count(d.timed)), bins,
		logTicks(latencyEdge(first), latencyEdge(end), logAt), marks)
}

var latencyQuantiles = [...]struct {
	name string
	at   float64
}{{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}}

// logTicks puts labels at round numbers, as many as there is room for.
func logTicks(low, high float64, at func(float64) float64) []tick {
	var last []tick
	for _, steps := range [][]float64{{1}, {1, 3}, {1, 2, 5}, {1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9}} {
		var ticks []tick
		for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
			for _, m := range steps {
				if x := m * math.Pow(10, e); x >= low && x <= high {
					ticks = append(ticks, tick{at(x), roundSeconds(x)})
				}
			}
		}
		if len(ticks) > 6 {
			break
		}
		last = ticks
		if len(ticks) >= 4 {
			break
		}
	}
	return last
}

// roundSeconds is seconds without the zeros that a round number does not need.
func roundSeconds(x float64) string {
	value, unit, _ := strings.Cut(seconds(x), " ")
	if strings.Contains(value, ".") {
		value = strings.TrimSuffix(strings.TrimRight(value, "0"), ".")
	}
	return value + " " + unit
}
