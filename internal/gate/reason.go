package gate

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// describe names a metric with its value and what is behind it, such as
// "pass_rate 0.9400 (94/100, 95% interval 0.875–0.972)".
func describe(name string, m record.Metric) string {
	return describeAgainst(name, m, math.NaN())
}

func describeAgainst(name string, m record.Metric, bar float64) string {
	behind := fmt.Sprintf("n %d", m.N)
	if m.Count != nil && (m.Kind == kindRate || m.Kind == kindRatio) {
		behind = fmt.Sprintf("%s/%d", strconv.FormatFloat(*m.Count, 'g', 12, 64), m.N)
	}
	if m.Low != nil && m.High != nil {
		kind := "interval"
		if m.Interval == record.IntervalExact {
			kind = "exact interval"
		}
		behind += fmt.Sprintf(", 95%% %s %s–%s", kind, short(*m.Low, ""), short(*m.High, m.Unit))
	}
	return fmt.Sprintf("%s %s (%s)", name, against(*m.Mean, bar, m.Unit), behind)
}

// against writes x with its unit, with as many digits as it takes to tell it from the bar.
func against(x, bar float64, unit string) string {
	if math.Abs(x-bar) <= tolerance(bar) {
		x = bar
	}
	s := strconv.FormatFloat(x, 'g', -1, 64)
	if x != bar {
		s = digits(x, 4)
		for n := 5; n <= 17 && s == digits(bar, n-1); n++ {
			s = digits(x, n)
		}
	}
	return withUnit(s, unit)
}

// digits writes x with n decimals when it is a share, else with up to n+1 digits.
func digits(x float64, n int) string {
	size := math.Abs(x)
	switch {
	case x == 0 || size >= 0.01 && size <= 1:
		return strconv.FormatFloat(x, 'f', n, 64)
	case size > 1 && size < 1e15:
		whole := len(strconv.FormatFloat(math.Trunc(size), 'f', 0, 64))
		s := strconv.FormatFloat(x, 'f', max(0, n+1-whole), 64)
		if strings.Contains(s, ".") {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		return s
	}
	return strconv.FormatFloat(x, 'g', n+1, 64)
}

func short(x float64, unit string) string {
	return withUnit(digits(x, 3), unit)
}

func withUnit(s, unit string) string {
	switch unit {
	case "":
		return s
	case unitDollars:
		return "$" + s
	}
	return s + " " + unit
}

// unitOf is the unit of a stat: numbers of observations have none.
func unitOf(stat Stat, m record.Metric) string {
	if stat == N || stat == Count {
		return ""
	}
	return m.Unit
}

func verb(op Op, v verdict.Verdict) string {
	words := map[Op][2]string{
		GreaterEqual: {"is at least", "is below"},
		Greater:      {"is above", "is not above"},
		LessEqual:    {"is at most", "is above"},
		Less:         {"is below", "is not below"},
		Equal:        {"is", "is not"},
	}
	if v == verdict.Pass {
		return words[op][0]
	}
	return words[op][1]
}

// doubt says how close a point value was: the interval leaves room for the opposite, or the
// quantile is not that exact.
func doubt(r Rule, m record.Metric, x reading) string {
	switch r.Stat {
	case Mean:
		if m.Low != nil && m.High != nil && *m.Low < r.Bar && r.Bar < *m.High {
			return ", although its 95% interval reaches to both sides"
		}
	case P50, P95, P99:
		if m.N > stats.QuantileExact && math.Abs(x.value-r.Bar) <= stats.QuantileError*math.Abs(r.Bar) {
			return "; it is known to within 1%"
		}
	}
	return ""
}

// missing explains why missing observations leave a rule undecided.
func missing(m record.Metric, x reading, r Rule, bar string) string {
	have := word(m.Missing, "observation has no result", "observations have no result")
	s := fmt.Sprintf("%d %s", m.Missing, have)
	if m.Kind != kindRatio {
		s = fmt.Sprintf("%d of %d %s", m.Missing, m.N+m.Missing, have)
	}
	unit := unitOf(r.Stat, m)
	if math.IsInf(x.low, 0) && math.IsInf(x.high, 0) {
		return s + fmt.Sprintf(" and could be anything, so that %s cannot be judged (an error_rate rule that passes accepts as many)", bar)
	}
	if math.IsInf(x.high, 0) {
		return s + fmt.Sprintf("; it could be more, and the bar is %s", bar)
	}
	return s + fmt.Sprintf("; between %s and %s, and the bar is %s", against(x.low, r.Bar, unit), against(x.high, r.Bar, unit), bar)
}

// moreSamples estimates how many more samples it takes until the interval lets go of the bar, if
// the value stays what it is.
func moreSamples(m record.Metric, bar float64) string {
	n, d := float64(m.N), math.Abs(*m.Mean-bar)
	var need float64
	if m.Kind == kindRate {
		trials := stats.WilsonTrials
		if m.Interval == record.IntervalExact {
			trials = stats.ClopperPearsonTrials
		}
		need = trials(*m.Mean, bar, stats.Level)*n/effective(m) - n
	} else {
		half := *m.High - *m.Mean // on the bar's side, for an interval need not reach as far to both
		if bar < *m.Mean {
			half = *m.Mean - *m.Low
		}
		need = n*half*half/(d*d) - n
	}
	switch {
	case d <= 1e-9*math.Max(1, math.Abs(bar)) || !stats.Finite(need):
		return "it lies on the bar, which no number of samples settles"
	case need <= 0:
		return fmt.Sprintf("the %s could tip it", plural(m.Missing, "missing observation"))
	case need > 1e6:
		return "it would take more than a million more samples"
	}
	return fmt.Sprintf("about %s would tell, if the value stays", plural(int(roundUp(need)), "more sample"))
}

// roundUp rounds up to two digits.
func roundUp(x float64) float64 {
	step := math.Pow(10, math.Max(0, math.Floor(math.Log10(x))-1))
	return math.Ceil(x/step) * step
}

func noData(name string, m record.Metric) string {
	if m.Missing > 0 {
		return fmt.Sprintf("%s has no data: %s, and all are missing", name, plural(m.Missing, "observation"))
	}
	return name + " has no data"
}

// unknown explains that there is no metric of that name.
func (s *scope) unknown(name string) string {
	if _, ok := record.BuiltinUnits()[name]; ok {
		return name + " has no data: it was not measured"
	}
	// A score that only ever ended in an error has no metrics but its own.
	for parent := name; ; {
		i := strings.LastIndexByte(parent, '.')
		if i < 0 {
			break
		}
		parent = parent[:i]
		if m, ok := s.metrics[parent]; ok && m.N == 0 && m.Missing > 0 {
			return fmt.Sprintf("%s has no data: %s gave no result on %s", name, parent, plural(m.Missing, "sample"))
		}
	}
	names := make([]string, 0, len(s.metrics))
	for n := range s.metrics {
		names = append(names, n)
	}
	sort.Strings(names)
	if len(names) == 0 {
		return fmt.Sprintf("there is no metric %q; the run has none", name)
	}
	if best := similar(name, names); len(best) > 0 {
		return fmt.Sprintf("there is no metric %q; did you mean %s?", name, strings.Join(best, " or "))
	}
	return fmt.Sprintf("there is no metric %q; the run has %s", name, list(names, 10))
}

// similar returns up to three names that share the most pairs of letters with name (Dice's
// coefficient at least one half), the most similar first.
func similar(name string, names []string) []string {
	type match struct {
		name string
		dice float64
	}
	var found []match
	want := pairs(name)
	for _, n := range names {
		have := pairs(n)
		shared := 0
		for p, k := range want {
			shared += min(k, have[p])
		}
		if d := 2 * float64(shared) / float64(size(want)+size(have)); d >= 0.5 {
			found = append(found, match{n, d})
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].dice > found[j].dice })
	var out []string
	for _, f := range found[:min(len(found), 3)] {
		out = append(out, f.name)
	}
	return out
}

func pairs(s string) map[string]int {
	s = "^" + strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(s)) + "$"
	out := map[string]int{}
	for i := 0; i+2 <= len(s); i++ {
		out[s[i:i+2]]++
	}
	return out
}

func size(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}

// list joins at most n names and says how many more there are.
func list(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:n], ", "), len(names)-n)
}

// plural returns n with a noun that takes an s.
func plural(n int, noun string) string { return fmt.Sprintf("%d %s", n, word(n, noun, noun+"s")) }

// word returns the form for n things.
func word(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// number returns x for a decision, or nil when JSON could not hold it.
func number(x float64) *float64 {
	if !stats.Finite(x) {
		return nil
	}
	return &x
}
