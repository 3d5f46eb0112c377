package metric

import (
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Reader takes samples apart into the numbers that they contribute to metrics, by the rules by which an
// Aggregator sums them, for those who need the single numbers. The zero value is ready. It is not safe for
// concurrent use.
type Reader struct {
	names   map[string]int
	defs    []definition
	numbers []Number
}

// Definition describes a metric.
type Definition struct {
	Name string // as published
	// Kind is rate, mean, ratio or corpus/NAME; a rate that was given anything but 0 and 1 is a mean.
	Kind string
	Unit string
}

// Number is what a sample contributes to one metric: Value with Weight 1 for a rate or a mean, Value and
// Weight for a ratio, Stats for a corpus metric.
type Number struct {
	Metric        int // for Reader.Definition
	Value, Weight float64
	Stats         []float64
}

// Read returns the sample's numbers, which are valid until the next call; a metric may have several. What
// could not be used (a NaN, a kind or unit other than the metric had before) is left out, as if it had not
// been observed.
func (r *Reader) Read(s *record.Sample) ([]Number, error) {
	if r.names == nil {
		r.names = map[string]int{}
		for i := range builtins {
			r.defs = append(r.defs, definition{name: builtins[i].name, kind: builtins[i].kind, unit: builtinUnitOf[i]})
		}
	}
	r.numbers = r.numbers[:0]
	for i, g := range builtinsOf(s, Verdict(s)) {
		if g.state == observed {
			r.numbers = append(r.numbers, Number{Metric: i, Value: g.x, Weight: 1})
		}
	}
	for i := range s.Scores {
		if err := visit(&s.Scores[i], r); err != nil {
			return nil, err
		}
	}
	return r.numbers, nil
}

// Len is the number of metrics seen so far.
func (r *Reader) Len() int { return len(r.defs) }

// Definition describes a metric as far as it is known by now.
func (r *Reader) Definition(metric int) Definition {
	d := &r.defs[metric]
	return Definition{Name: d.name, Kind: d.kind, Unit: d.unit}
}

func (r *Reader) measure(_ string, m *record.Measure) error {
	id, ok := r.names[m.Metric]
	if !ok {
		if len(r.defs) >= maxMetrics {
			return tooMany(m.Metric, "metric")
		}
		id = len(r.defs)
		r.names[m.Metric] = id
		r.defs = append(r.defs, define(m))
	}
	if why := r.defs[id].accept(m); why != "" {
		return nil
	}
	n := Number{Metric: id, Value: m.Value, Weight: 1, Stats: m.Stats}
	switch {
	case r.defs[id].kind == kindRatio:
		n.Weight = m.W()
	case len(m.Stats) == 0 && IsCorpus(r.defs[id].kind):
		return nil
	}
	for _, x := range m.Stats {
		if !stats.Finite(x) {
			return nil
		}
	}
	r.numbers = append(r.numbers, n)
	return nil
}

func (r *Reader) none(*record.Score) error { return nil }
