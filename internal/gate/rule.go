package gate

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// A check's expression:
//
//	expr   = [ stat ] op number
//	stat   = "mean" | "low" | "high" | "p50" | "p95" | "p99" | "count" | "n" | "total"
//	op     = ">=" | ">" | "<=" | "<" | "=="
//	number = [ "$" ] [ "-" ] digits [ "." digits ] [ ( "e" | "E" ) [ "+" | "-" ] digits ] [ unit ]
//	unit   = "%" | "s" | "ms" | "usd" | "$"
//	digits = "0" … "9" { "0" … "9" }
//
// The metric may be followed by [tag=NAME]. Space may stand between the parts. "mean" is meant when no stat is given.

// Stat is the number of a metric that a rule looks at.
type Stat string

// The stats.
const (
	Mean  Stat = "mean"  // the metric's value: a rate, a mean, a ratio or a corpus number
	Low   Stat = "low"   // the lower end of its 95% interval
	High  Stat = "high"  // the upper end
	P50   Stat = "p50"   // quantiles, of metrics that have a unit
	P95   Stat = "p95"   //
	P99   Stat = "p99"   //
	Count Stat = "count" // the numerator of a rate or a ratio
	N     Stat = "n"     // the number of observations, a ratio's denominator
	Total Stat = "total" // the sum of all values
)

var allStats = []Stat{Mean, Low, High, P50, P95, P99, Count, N, Total}

// Op compares a number with the bar.
type Op string

// The operators. Numbers closer than one part in 10¹² count as equal.
const (
	GreaterEqual Op = ">="
	Greater      Op = ">"
	LessEqual    Op = "<="
	Less         Op = "<"
	Equal        Op = "=="
)

var ops = []Op{GreaterEqual, LessEqual, Equal, Greater, Less} // the longer ones first

// The units of a bar. A share is written in percent.
const (
	unitShare   = "%"
	unitSeconds = "s"
	unitDollars = "usd"
)

// Rule is a parsed check.
type Rule struct {
	Pos    config.Pos
	Metric string
	// Tag restricts the rule to the cases that have it; empty means all.
	Tag  string
	Stat Stat
	Op   Op
	// Bar is in the metric's own unit: percent have become shares and ms seconds.
	Bar float64
	// Unit is the one the bar was written in: %, s, usd, or empty for none.
	Unit string
	// Text is the expression as written, spaces trimmed.
	Text string
}

const grammar = `an operator (>=, >, <=, <, ==) and a number, such as ">= 0.95", "low >= 90%" or "p95 <= 2s"`

// Parse reads a check. The error is a *config.Error that names the place, the expression and what
// was expected; it also refuses what can never fail or never pass, and a low or high that would be
// easier to meet the less is known.
func Parse(c config.Check) (Rule, error) {
	r := Rule{Pos: c.Pos, Metric: strings.TrimSpace(c.Metric), Stat: Mean, Text: strings.TrimSpace(c.Expr)}
	if e := r.parseTag(); e != nil {
		e.Pos, e.Value = c.Pos, c.Metric
		return Rule{}, e
	}
	if e := r.parse(); e != nil {
		e.Pos, e.Value = c.Pos, c.Expr
		return Rule{}, e
	}
	return r, nil
}

// parseTag takes METRIC[tag=NAME] apart.
func (r *Rule) parseTag() *config.Error {
	rest, closed := strings.CutSuffix(r.Metric, "]")
	metric, tag, has := strings.Cut(rest, "[tag=")
	switch tag = strings.TrimSpace(tag); {
	case !has && !closed:
		return nil
	case !has || !closed || tag == "" || strings.ContainsAny(tag, "[]"):
		return &config.Error{Problem: "not a metric and a tag", Want: "METRIC[tag=NAME], such as pass_rate[tag=safety]"}
	}
	r.Metric, r.Tag = strings.TrimSpace(metric), tag
	return nil
}

// Name is the metric as written, with its tag.
func (r *Rule) Name() string {
	if r.Tag == "" {
		return r.Metric
	}
	return r.Metric + "[tag=" + r.Tag + "]"
}

func (r *Rule) parse() *config.Error {
	if r.Metric == "" {
		return &config.Error{Problem: "no metric is named", Want: "a metric such as " + record.MetricPassRate}
	}
	rest := r.Text
	if rest == "" {
		return &config.Error{Problem: "nothing is asked of " + r.Metric, Want: grammar}
	}
	if w := leading(rest, isLetterOrDigit); w != "" && isLetter(w[0]) {
		if rest = strings.TrimSpace(rest[len(w):]); !r.setStat(w) {
			return &config.Error{Problem: fmt.Sprintf("%q is not a statistic", w), Want: "one of " + statNames()}
		}
	}
	for _, op := range ops {
		if after, ok := strings.CutPrefix(rest, string(op)); ok {
			r.Op, rest = op, strings.TrimSpace(after)
			break
		}
	}
	if r.Op == "" {
		return noOperator(rest)
	}
	if e := r.parseBar(rest); e != nil {
		return e
	}
	return r.check()
}

func noOperator(rest string) *config.Error {
	e := &config.Error{Problem: fmt.Sprintf("no operator before %q", rest), Want: grammar}
	switch {
	case strings.HasPrefix(rest, "=>") || strings.HasPrefix(rest, "=<"):
		e.Hint = fmt.Sprintf("write %c= instead of %s", rest[1], rest[:2])
	case strings.HasPrefix(rest, "="):
		e.Hint = "write == for equal"
	case leading(rest, isDigit) != "":
		e.Hint = fmt.Sprintf("write >= %s or <= %s", rest, rest)
	}
	return e
}

func (r *Rule) setStat(w string) bool {
	for _, s := range allStats {
		if string(s) == w {
			r.Stat = s
			return true
		}
	}
	return false
}

func (r *Rule) parseBar(s string) *config.Error {
	unit := ""
	if after, ok := strings.CutPrefix(s, "$"); ok {
		unit, s = unitDollars, strings.TrimSpace(after)
	}
	num := numberPrefix(s)
	x, err := strconv.ParseFloat(num, 64)
	if num == "" || err != nil || math.IsInf(x, 0) {
		return &config.Error{Problem: fmt.Sprintf("no number after %s", r.Op), Want: grammar}
	}
	written := strings.TrimSpace(s[len(num):])
	if written != "" && unit != "" {
		return &config.Error{Problem: fmt.Sprintf("%q after a number of dollars", written), Want: "nothing after it"}
	}
	switch written {
	case "":
	case "%":
		unit, x = unitShare, x/100
	case "s":
		unit = unitSeconds
	case "ms":
		unit, x = unitSeconds, x/1000
	case "usd", "USD", "$":
		unit = unitDollars
	default:
		return &config.Error{Problem: fmt.Sprintf("unknown unit %q", written), Want: "%, s, ms, usd, $, or none"}
	}
	r.Bar, r.Unit = x, unit
	return nil
}

// check refuses rules that ask for what cannot be, as far as the metric's name tells.
func (r *Rule) check() *config.Error {
	unit, builtin := record.BuiltinUnits()[r.Metric]
	if r.Stat == Low && r.Op != GreaterEqual && r.Op != Greater || r.Stat == High && r.Op != LessEqual && r.Op != Less {
		return &config.Error{
			Problem: fmt.Sprintf("%s with %s would be easier to meet the fewer samples there are", r.Stat, r.Op),
			Want:    "low with >= or >, high with <= or <",
		}
	}
	if (r.Stat == Count || r.Stat == N) && r.Unit != "" {
		return &config.Error{Problem: fmt.Sprintf("%s is a number of observations and has no unit", r.Stat), Want: "a plain number"}
	}
	if builtin {
		switch {
		case (r.Stat == P50 || r.Stat == P95 || r.Stat == P99) && unit == "":
			return &config.Error{Problem: fmt.Sprintf("%s has no %s", r.Metric, r.Stat), Want: "mean, low, high, count or n"}
		case r.Stat == Count && unit != "":
			return &config.Error{Problem: fmt.Sprintf("%s has no count", r.Metric), Want: "total for its sum, n for the number of samples"}
		case r.Stat != Count && r.Stat != N && !unitFits(r.Unit, unit):
			return &config.Error{Problem: fmt.Sprintf("%s is not measured in %s", r.Metric, r.Unit), Want: "a number " + inUnit(unit)}
		}
	}
	low, high := math.Inf(-1), math.Inf(1)
	switch {
	case r.Stat == Count || r.Stat == N || unit != "":
		low = 0
	case builtin && r.Stat != Total || r.Unit == unitShare:
		low, high = 0, 1
	}
	return r.checkRange(low, high)
}

// Fits refuses a bar that every value of a rate meets, or none. The error is a *config.Error.
func (r *Rule) Fits(known record.Metric) error {
	if known.Kind != kindRate || !r.ofMean() {
		return nil
	}
	if e := r.checkRange(0, 1); e != nil {
		e.Pos, e.Value = r.Pos, r.Text
		return e
	}
	return nil
}

// ofMean says whether the rule bounds the metric's mean, itself or through its interval.
func (r *Rule) ofMean() bool { return r.Stat == Mean || r.Stat == Low || r.Stat == High }

// Contradictions reports rules that no value of their metric meets together. The error is of type config.Errors.
func Contradictions(rules []Rule) error {
	var errs config.Errors
	for i := range rules {
		for j := range i {
			a, b := &rules[j], &rules[i]
			if a.Name() != b.Name() || a.Stat != b.Stat && !(a.ofMean() && b.ofMean()) {
				continue
			}
			if !a.agrees(b) {
				errs = append(errs, &config.Error{Pos: b.Pos, Value: b.Text, Problem: fmt.Sprintf("nothing can meet this and %q", a.Text), Want: "bounds of " + b.Name() + " that some value meets"})
				break
			}
		}
	}
	return errs.Err()
}

// agrees says whether some value meets both rules.
func (r *Rule) agrees(other *Rule) bool {
	low, high, open := math.Inf(-1), math.Inf(1), false
	for _, x := range [...]*Rule{r, other} {
		if x.Op != Less && x.Op != LessEqual {
			low = math.Max(low, x.Bar)
		}
		if x.Op != Greater && x.Op != GreaterEqual {
			high = math.Min(high, x.Bar)
		}
	}
	for _, x := range [...]*Rule{r, other} {
		open = open || (x.Op == Less || x.Op == Greater) && math.Abs(x.Bar-low) <= tolerance(low)
	}
	if math.Abs(high-low) <= tolerance(low) {
		return !open
	}
	return low < high
}

// checkRange refuses a bar that every value from low to high meets, or none.
func (r *Rule) checkRange(low, high float64) *config.Error {
	all, none := false, false
	switch r.Op {
	case GreaterEqual:
		all, none = r.Bar <= low, r.Bar > high
	case Greater:
		all, none = r.Bar < low, r.Bar >= high
	case LessEqual:
		all, none = r.Bar >= high, r.Bar < low
	case Less:
		all, none = r.Bar > high, r.Bar <= low
	case Equal:
		none = r.Bar < low || r.Bar > high
	}
	if !all && !none {
		return nil
	}
	e := &config.Error{Problem: "can never fail", Want: fmt.Sprintf("a bar above %g", low)}
	if none {
		e.Problem = "can never be met"
	}
	if !math.IsInf(high, 0) {
		e.Want = fmt.Sprintf("a bar that some values from %g to %g meet and some do not", low, high)
		if r.Unit == "" && r.Bar > 1 && r.Bar <= 100 {
			e.Hint = fmt.Sprintf("write %g%% for a percentage", r.Bar)
		}
	}
	return e
}

// unitFits says whether a bar written in unit can be compared with a metric of unit metric.
func unitFits(unit, metric string) bool {
	switch unit {
	case "":
		return true
	case unitShare:
		return metric == ""
	}
	return unit == metric
}

func inUnit(unit string) string {
	if unit == "" {
		return "without a unit, or in percent"
	}
	return "in " + unit
}

func statNames() string {
	names := make([]string, len(allStats))
	for i, s := range allStats {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// numberPrefix returns the number that s begins with, without its unit.
func numberPrefix(s string) string {
	i := 0
	if strings.HasPrefix(s, "-") {
		i = 1
	}
	whole := leading(s[i:], isDigit)
	if whole == "" {
		return ""
	}
	i += len(whole)
	if i < len(s) && s[i] == '.' {
		frac := leading(s[i+1:], isDigit)
		if frac == "" {
			return ""
		}
		i += 1 + len(frac)
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		if exp := leading(s[j:], isDigit); exp != "" {
			i = j + len(exp)
		}
	}
	return s[:i]
}

func leading(s string, is func(byte) bool) string {
	i := 0
	for i < len(s) && is(s[i]) {
		i++
	}
	return s[:i]
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isLetterOrDigit(c byte) bool { return isDigit(c) || isLetter(c) || c == '_' }
