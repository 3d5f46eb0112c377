package metric

import (
	"fmt"
	"math"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// The kinds of record.Metric. On a record.Measure a corpus metric is corpus/NAME.
const (
	kindRate   = "rate"
	kindMean   = "mean"
	kindRatio  = "ratio"
	kindCorpus = "corpus"
	corpusName = kindCorpus + "/"
)

// cluster says to which cluster an observation belongs: group when it is not negative, else the
// case, whose observations come one after another.
type cluster struct {
	id    uint64
	group int
}

// scope is the run or one of its snapshots.
type scope struct {
	builtin [builtinCount]series
	series  []*series // by position in Aggregator.defs; nil when nothing was observed
	// absent counts, for each score name, scores that were expected and not given.
	absent []int
	// unknown counts samples without an answer of which nobody said what they should have had.
	unknown int
	samples int
}

func newScope() *scope { return &scope{} }

func (sc *scope) at(id int) *series {
	for len(sc.series) <= id {
		sc.series = append(sc.series, nil)
	}
	if sc.series[id] == nil {
		sc.series[id] = &series{}
	}
	return sc.series[id]
}

func (sc *scope) miss(owner, n int) {
	for len(sc.absent) <= owner {
		sc.absent = append(sc.absent, 0)
	}
	sc.absent[owner] += n
}

// series collects one metric in one scope.
type series struct {
	est       stats.Clustered
	quantiles stats.Quantiles
	corpus    *corpus
	missing   int
	// outside says that a value lay outside 0 to 1; fractional that a ratio was not one of counts.
	outside    bool
	fractional bool
	negative   bool
	maxWeight  float64
	// Observations of the sample at hand and the most of any sample, which is what a sample that
	// never ran might have had.
	sample, inSample, perSample int
}

// seen notes that the sample numbered seq has one more observation.
func (s *series) seen(seq int) {
	if s.sample != seq {
		s.sample, s.inSample = seq, 0
	}
	s.inSample++
	s.perSample = max(s.perSample, s.inSample)
}

// accept says why a measure cannot be used under d; empty when it can. A rate that is given
// anything but 0 and 1 becomes a mean, whose sums are the same.
func (d *definition) accept(m *record.Measure) string {
	kind := m.Kind
	if kind == "" {
		kind = kindMean
	}
	simple := kind == kindMean || kind == kindRate
	corpus := strings.HasPrefix(kind, corpusName)
	switch {
	case !simple && !corpus && kind != kindRatio:
		return fmt.Sprintf("observations were of the unknown kind %q", kind)
	case m.Unit != d.unit:
		return fmt.Sprintf("observations were in unit %q, earlier ones in %q", m.Unit, d.unit)
	case !corpus && !stats.Finite(m.Value):
		return "values were not finite numbers"
	case kind == kindRatio && (!(m.W() > 0) || !stats.Finite(m.W())):
		return "weights were not finite numbers above 0"
	case simple && (d.kind == kindMean || d.kind == kindRate):
		if kind == kindMean || m.Value != 0 && m.Value != 1 {
			d.kind = kindMean
		}
		return ""
	case kind != d.kind:
		return fmt.Sprintf("observations were of kind %q, earlier ones of kind %q", kind, d.kind)
	}
	return "" // a corpus metric's statistics are checked where they are summed
}

// observe adds an accepted measure, and says why it could not; empty when it could.
func (s *series) observe(d *definition, c cluster, m *record.Measure) string {
	switch d.kind {
	case kindRatio:
		w := m.W()
		s.maxWeight = math.Max(s.maxWeight, w)
		if m.Value != math.Trunc(m.Value) || w != math.Trunc(w) || m.Value < 0 || m.Value > w {
			s.fractional = true
		}
		s.add(c, m.Value, w)
	case kindMean, kindRate:
		s.value(c, m.Value, d.unit)
	default:
		return s.vector(c, m.Stats)
	}
	return ""
}

// value adds one value of a rate or a mean. Quantities with a unit get quantiles.
func (s *series) value(c cluster, x float64, unit string) {
	if x < 0 || x > 1 {
		s.outside = true
	}
	if unit != "" && s.quantiles.Add(x) != nil {
		s.negative = true
	}
	s.add(c, x, 1)
}

func (s *series) add(c cluster, y, w float64) {
	if c.group >= 0 {
		s.est.Keyed(c.group, y, w)
		return
	}
	s.est.Next(c.id, y, w)
}

// corpus holds the summed statistics of a corpus metric and numbers its clusters.
type corpus struct {
	jack    stats.Jackknife
	last    int   // ordinal of the open cluster of cases
	grouped []int // ordinal of each group's cluster
	next    int
	width   int
}

func (s *series) vector(c cluster, v []float64) string {
	if s.corpus == nil {
		s.corpus = &corpus{width: len(v)}
	}
	k := s.corpus
	switch {
	case len(v) == 0 || len(v) != k.width:
		return "statistics were missing or of another length than earlier ones"
	default:
		for _, x := range v {
			if !stats.Finite(x) {
				return "statistics were not finite numbers"
			}
		}
	}
	opened := stats.SameCluster
	var ordinal int
	if c.group >= 0 {
		i, isNew := s.est.Keyed(c.group, 0, 1)
		if isNew {
			opened = stats.NewCluster
			k.grouped = append(k.grouped, k.next)
			k.next++
		}
		ordinal = k.grouped[i]
	} else {
		if s.est.Next(c.id, 0, 1) {
			opened = stats.NewCluster
			k.last = k.next
			k.next++
		}
		ordinal = k.last
	}
	if err := k.jack.Add(ordinal, opened, v); err != nil {
		return err.Error()
	}
	return ""
}
