package compare

import (
	"math"

	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/stats"
)

// relative sets the bound against which a margin holds that is a share of the base's value. That value comes from the same
// cases and is as uncertain as the difference, so that what is bounded is H − s·B, with s = 1 − share where more is
// better and 1 + share where less is (both turned round below 0), and moved by (s − 1)·B:
//
//	H − s·B > 0 at its bound ⇔ Bound > −share·|B|, and likewise for <
//
// units are the clusters' parts of H − s·B.
func (e *estimate) relative(b float64, units func(s float64) []stats.Unit, reach float64) {
	share, asked := e.opts.Relative[Slice{e.d.Metric, e.d.Tag}]
	if !asked || e.d.Bound == nil {
		return
	}
	if e.d.Better == metric.Higher {
		share = -share
	}
	s := 1 + share
	if b < 0 {
		s = 1 - share
	}
	e.d.Bound = nil
	one, ok := tilted(units(s), reach*math.Max(1, s))(1 - 2*e.opts.Alpha)
	if !ok {
		e.d.Why = "no bound was found for a share of the base's value"
		return
	}
	moved := (s - 1) * b
	e.bound(e.clip(stats.Interval{Low: one.Low + moved, High: one.High + moved}))
}
