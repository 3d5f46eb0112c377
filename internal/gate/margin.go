package gate

import (
	"fmt"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Margin is a parsed margin: how much worse than the baseline a metric may be.
type Margin struct {
	config.Margin
	// Tag restricts the margin to the cases that have it; empty means all.
	Tag string
	// name is the metric as written, with its tag.
	name string
}

// ParseMargin takes the tag off the metric and refuses what cannot be, as far as the metric's name tells. The
// error is a *config.Error.
func ParseMargin(m config.Margin) (Margin, error) {
	r := Rule{Pos: m.Pos, Metric: strings.TrimSpace(m.Metric)}
	if e := r.parseTag(); e != nil {
		e.Pos, e.Value = m.Pos, m.Metric
		return Margin{}, e
	}
	out := Margin{Margin: m, Tag: r.Tag, name: r.Name()}
	out.Metric = r.Metric
	if r.Metric == "" {
		return Margin{}, &config.Error{Pos: m.Pos, Problem: "no metric is named", Want: "a metric such as " + record.MetricPassRate}
	}
	unit, builtin := record.BuiltinUnits()[r.Metric]
	known := record.Metric{Unit: unit}
	switch {
	case builtin && unit == "" || !builtin && m.Unit == unitShare:
		known.Kind = kindRate // a score is from 0 to 1 as well
	case !builtin:
		known.Unit = m.Unit // the metric's is not known yet
	}
	if err := out.Fits(known); err != nil {
		return Margin{}, err
	}
	return out, nil
}

// Kinds of metrics: shares of observations, and ratios of two sums.
const (
	kindRate  = "rate"
	kindRatio = "ratio"
)

// Fits refuses a margin in another unit than the metric's and one that no share can fall by. The error is a
// *config.Error.
func (m *Margin) Fits(known record.Metric) error {
	e := &config.Error{Pos: m.Pos, Value: m.Text}
	switch {
	case m.Relative:
		return nil
	case m.Unit == unitShare && known.Unit != "":
		e.Problem, e.Want = fmt.Sprintf("%s is not a share", m.Metric), "an amount "+inUnit(known.Unit)
		e.Hint = "relative: true makes it a share of the baseline's value"
	case !unitFits(m.Unit, known.Unit):
		e.Problem, e.Want = fmt.Sprintf("%s is not measured in %s", m.Metric, m.Unit), "an amount "+inUnit(known.Unit)
	case known.Kind == kindRate && m.Margin.Margin >= 1:
		e.Problem, e.Want = "can never fail: a share cannot fall by all of it", "a margin below 1"
		if m.Unit == "" && m.Margin.Margin < 100 {
			e.Hint = fmt.Sprintf("write %g%% for a percentage", m.Margin.Margin)
		}
	default:
		return nil
	}
	return e
}

// Name is the metric as written, with its tag.
func (m *Margin) Name() string { return m.name }

// of returns the margin in the metric's own unit; why says what is lacking.
func (m *Margin) of(d *record.Difference) (x float64, why string) {
	if !m.Relative {
		if !unitFits(m.Unit, d.Unit) {
			return 0, fmt.Sprintf("%s is measured %s, and the margin %q is in %s", m.name, inUnit(d.Unit), m.Text, m.Unit)
		}
		return m.Margin.Margin, ""
	}
	x = m.Margin.Margin * *d.Base
	if x < 0 {
		x = -x
	}
	return x, ""
}

// want says what is asked, such as "at most 0.02 below the baseline".
func (m *Margin) want(better string) string {
	amount := m.Text
	if m.Relative {
		amount += " of its value"
	}
	switch better {
	case lower:
		return "at most " + amount + " above the baseline"
	case higher:
		return "at most " + amount + " below the baseline"
	}
	return "at most " + amount + " worse than the baseline"
}

const (
	higher = "higher"
	lower  = "lower"
)
